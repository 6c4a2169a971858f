/** A stretch of time in which something was broken on purpose: for everybody, or for one client. */
export interface Excuse {
  readonly fromNs: number;
  readonly toNs: number;
  readonly client?: string;
}

/** Whether anything was broken between the two instants that `client` could suffer from. */
export function isExcused(excuses: readonly Excuse[], fromNs: number, toNs: number, client: string): boolean {
  return excuses.some(
    (excuse) =>
      excuse.fromNs < toNs && excuse.toNs > fromNs && (excuse.client === undefined || excuse.client === client),
  );
}
