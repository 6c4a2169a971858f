/** Why a node could not be started, for people and for exit codes. */
export type StartErrorCode = 'configuration' | 'listen' | 'data-directory';

export class NodeStartError extends Error {
  override readonly name = 'NodeStartError';
  readonly code: StartErrorCode;

  constructor(code: StartErrorCode, message: string, cause: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

/** Undefined for any other error. */
export function startErrorCode(error: unknown): StartErrorCode | undefined {
  return error instanceof NodeStartError ? error.code : undefined;
}
