import { ClientCore } from './client-core.ts';
import { type Clock, realClock } from './clock.ts';
import { invalid } from './errors.ts';
import { HoldingContext } from './holding.ts';
import { LockClient } from './lock-client.ts';
import { checkDuration, checkMetadata } from './options.ts';
import { type Duration, LIMITS } from './protocol/index.ts';
import { type Random, realRandom } from './random.ts';
import type { Transport } from './transport.ts';
import { webSocketTransport } from './websocket-transport.ts';

export interface ConnectOptions {
  /** WebSocket addresses of any nodes, `ws://…` or `wss://…`, at most 64; the others are learnt from them. */
  readonly endpoints?: readonly string[];
  /** How frames travel, where it is not WebSocket. @default webSocketTransport() */
  readonly transport?: Transport;
  /**
   * How long everything held outlives the last renewal; also how long the loss of this process blocks others. From 1 s, or
   * four election time-outs of the cluster, to which it is raised, to 24 h. @default '15s'
   */
  readonly sessionTtl?: Duration;
  /** Bearer credential, where the cluster asks for one. */
  readonly credentials?: string;
  /** Strings for people, shown with the session: at most 32 keys, and 4096 characters in all. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** `release`: everything is released at once when the connection breaks, without waiting for the TTL and outside of the lease guarantees. @default 'keep' */
  readonly onDisconnect?: 'keep' | 'release';
  /** Bound on `connect` itself, which rejects with LOCKD_NO_QUORUM and the last failure then. @default '10s' */
  readonly connectTimeout?: Duration;
  /** Bound on the answer to what does not wait, over as many connections as that takes: reads, `wait: 0`. @default '10s' */
  readonly requestTimeout?: Duration;
  /** Bound on disposal and `close`; what is not acknowledged by then goes to `onReleaseError`. @default '5s' */
  readonly releaseTimeout?: Duration;
  /** Acquires that may wait to be sent before more are refused with LOCKD_OVERLOADED. @default 100000 */
  readonly maxPending?: number;
  /** Whether `withLock` tells the cluster what its caller holds, for re-entry and deadlock detection (Node). @default true */
  readonly trackHolding?: boolean;
  /** Called with what went wrong in a release that nobody awaits. @default nothing */
  readonly onReleaseError?: (error: unknown) => void;
  /** Called with what an event listener or hook has thrown. @default nothing */
  readonly onListenerError?: (error: unknown) => void;
  /** Name of this software in the servers' logs. */
  readonly clientName?: string;
  /** Time and chance, for simulation. */
  readonly clock?: Clock;
  readonly random?: Random;
}

const MAX_ENDPOINTS = 64;

function nothing(): void {}

/**
 * Connects, opens a session and resolves with the client. Rejects with LOCKD_INVALID (options), LOCKD_NO_QUORUM (no session
 * within `connectTimeout`), LOCKD_UNAUTHORIZED or LOCKD_PROTOCOL (another version, another kind of server).
 *
 * A connected client keeps the process alive, like any open socket, until it is closed. Without a connection it does so only
 * while somebody awaits an answer.
 */
export async function connect(options: ConnectOptions): Promise<LockClient> {
  const endpoints = [...(options.endpoints ?? (options.transport === undefined ? [] : ['local']))];
  if (endpoints.length === 0) throw invalid("connect needs `endpoints`, like ['ws://127.0.0.1:7101']");
  if (endpoints.length > MAX_ENDPOINTS) throw invalid(`connect takes at most ${MAX_ENDPOINTS} endpoints`);
  for (const endpoint of endpoints) {
    if (typeof endpoint !== 'string') throw invalid('an endpoint is a string');
    if (options.transport === undefined && !/^wss?:\/\//.test(endpoint))
      throw invalid(`an endpoint begins with ws:// or wss://, unlike ${JSON.stringify(endpoint)}`);
  }
  const bound = (value: Duration | undefined, what: string, fallbackMs: number): number =>
    value === undefined ? fallbackMs : checkDuration(value, what, 1);
  const releasesOnDisconnect = options.onDisconnect === 'release';
  const metadata = options.metadata === undefined ? undefined : checkMetadata(options.metadata);
  const core = new ClientCore(
    {
      endpoints,
      ttlMs:
        options.sessionTtl === undefined
          ? 15_000
          : checkDuration(options.sessionTtl, '`sessionTtl`', LIMITS.minTtlMs, LIMITS.maxTtlMs),
      openOptions:
        releasesOnDisconnect || metadata !== undefined
          ? {
              ...(releasesOnDisconnect ? { releaseOnDisconnect: true } : undefined),
              ...(metadata === undefined ? undefined : { metadata }),
            }
          : null,
      credentials: options.credentials ?? null,
      clientName: options.clientName ?? 'lockd-client-js/0.1.0',
      connectTimeoutMs: bound(options.connectTimeout, '`connectTimeout`', 10_000),
      requestTimeoutMs: bound(options.requestTimeout, '`requestTimeout`', 10_000),
      releaseTimeoutMs: bound(options.releaseTimeout, '`releaseTimeout`', 5000),
      maxPending: options.maxPending ?? 100_000,
      onReleaseError: options.onReleaseError ?? nothing,
      onListenerError: options.onListenerError ?? nothing,
    },
    {
      clock: options.clock ?? realClock,
      random: options.random ?? realRandom,
      transport: options.transport ?? webSocketTransport(),
    },
  );
  const client = new LockClient(core, new HoldingContext(options.trackHolding !== false));
  await core.connect();
  return client;
}
