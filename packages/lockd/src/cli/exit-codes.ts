/** What the process says when it ends (docs/cli.md). Where there is a convention, sysexits.h is it. */
export const EXIT = {
  ok: 0,
  /** `run`: the lock was not to be had (-E changes it). Otherwise: what was asked for failed. */
  failed: 1,
  /** Wrong or missing flags, or a configuration that cannot be right. */
  usage: 64,
  /** No node of the cluster answers, or none leads. */
  unavailable: 69,
  /** A bug in lockd: please report it with the log. */
  internal: 70,
  /** A port is in use, or cannot be listened on. */
  listen: 71,
  /** The data directory is used by another process, is of a newer version, or cannot be written. */
  dataDirectory: 73,
  /** The storage failed while the node ran: a full or broken device. Starting it again recovers from what is there. */
  storage: 74,
  /** `run`: the lock was lost while the command ran; the command was killed. */
  lockLost: 75,
  /** `run`: the command cannot be executed, or is not found. */
  notExecutable: 126,
  notFound: 127,
} as const;

export const EXIT_CODES_HELP = `
Exit codes:
    0  done
    1  failed; for "run": the lock is held by someone else (-E changes it)
   64  wrong usage or configuration
   69  no node of the cluster answers, or there is no leader
   70  a bug in lockd: please report it with the log
   71  a port is in use
   73  the data directory is in use by another process, or cannot be used
   74  the storage failed while the node ran; start it again to recover
   75  run: the lock was lost while the command ran; the command was killed
  126  run: the command cannot be executed (127: it is not found)
  "run" otherwise ends with the command's own status, 128 + N where signal N ended it.`;

/** Ends the command with a message for the user and an exit code. */
export class CommandFailure extends Error {
  override readonly name = 'CommandFailure';
  readonly exitCode: number;

  constructor(message: string, exitCode: number) {
    super(message);
    this.exitCode = exitCode;
  }
}
