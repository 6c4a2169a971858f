import { type ConnectOptions, connect, type LockClient, LockdError } from '@lockd/client';
import { CommandFailure, EXIT } from './exit-codes.ts';
import { DEFAULT_ENDPOINTS, type Settings } from './settings.ts';

/** A client for one command. Rejects with a {@link CommandFailure}. */
export async function connectFor(settings: Settings, more: Partial<ConnectOptions> = {}): Promise<LockClient> {
  const credentials = settings.text('credentials');
  try {
    return await connect({
      endpoints: settings.list('endpoints') ?? DEFAULT_ENDPOINTS,
      clientName: 'lockd-cli',
      ...(credentials === undefined ? {} : { credentials }),
      ...more,
    });
  } catch (error) {
    throw failureOf(error);
  }
}

/** What the SDK rejected with, as the end of a command. */
export function failureOf(error: unknown): unknown {
  if (!(error instanceof LockdError)) return error;
  switch (error.code) {
    case 'LOCKD_INVALID':
      return new CommandFailure(error.message, EXIT.usage);
    case 'LOCKD_NO_QUORUM':
    case 'LOCKD_OUTCOME_UNKNOWN':
    case 'LOCKD_UNAUTHORIZED':
    case 'LOCKD_PROTOCOL':
    case 'LOCKD_OVERLOADED':
      return new CommandFailure(`${error.message} (${error.code})`, EXIT.unavailable);
    default:
      return new CommandFailure(`${error.message} (${error.code})`, EXIT.failed);
  }
}
