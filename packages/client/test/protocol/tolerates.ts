import { ProtocolError } from '@lockd/client/protocol';

/** Runs `action`; lets a ProtocolError pass and any other exception fail the test. */
export function toleratesProtocolError(action: () => unknown): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
  }
}
