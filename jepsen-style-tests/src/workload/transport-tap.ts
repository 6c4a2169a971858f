import type { Connection, ConnectionHandler, Transport } from '@lockd/client';
import { type Codec, jsonCodec, msgpackCodec } from '@lockd/client/protocol';
import type { Time } from '../clock.ts';

const RECENT_MESSAGES = 4000;
const ALWAYS_TRACED: ReadonlySet<string> = new Set([
  'hello',
  'welcome',
  'open',
  'opened',
  'attach',
  'attached',
  'reattach',
  'session-ended',
  'goodbye',
  'closed',
  'leader',
]);

const OPERATIONS: ReadonlySet<string> = new Set(['acquire', 'acquire-all', 'release', 'cancel', 'extend']);
const ANSWERS: ReadonlySet<string> = new Set(['ok', 'granted', 'waiting', 'ended']);

/**
 * Stands between the SDK and its transport: leads it over this client's own links, and takes down when what was sent and
 * answered. From that the bounds of the service's promises follow without asking the SDK, which is under test too.
 */
export class TransportTap implements Transport {
  readonly #inner: Transport;
  readonly #links: Readonly<Record<string, string>>;
  readonly #time: Pick<Time, 'nowNs'>;
  readonly #sessions = new Map<number, { ttlNs: number; sinceNs: number; readonly renewals: Map<number, number> }>();
  readonly #opens = new Map<number, { readonly nonce: string; readonly sentNs: number }>();
  /** When each nonce was first sent: an open that is repeated starts the lease only once. */
  readonly #nonces = new Map<string, number>();
  readonly #owners = new Map<string, string>();
  readonly #queuedNs = new Map<string, number>();
  readonly #sentNs = new Map<string, number>();
  readonly #sessionOf = new Map<string, number>();
  readonly #handleOf = new Map<string, number>();
  readonly #recent: (readonly [atNs: number, what: string, message: readonly unknown[]])[] = [];
  /** When each operation without an answer was last sent. */
  readonly #unanswered = new Map<string, number>();
  readonly #onPassed: ((what: 'sent' | 'got', message: readonly unknown[]) => void) | undefined;
  #disconnects = 0;
  #heardUntilNs = -Infinity;

  /** `onPassed`: for each message as it is sent or received. */
  constructor(
    inner: Transport,
    links: Readonly<Record<string, string>>,
    time: Pick<Time, 'nowNs'>,
    onPassed?: (what: 'sent' | 'got', message: readonly unknown[]) => void,
  ) {
    this.#inner = inner;
    this.#links = links;
    this.#time = time;
    this.#onPassed = onPassed;
  }

  /** How many connections have ended so far, or were given up. */
  get disconnects(): number {
    return this.#disconnects;
  }

  /**
   * A request that was sent then has been answered: until then, at least, there was a connection. What the other end has made
   * of it since is not known.
   */
  get heardUntilNs(): number {
    return this.#heardUntilNs;
  }

  /** When this owner's request was known to stand in the queue. */
  queuedNs(owner: string): number | undefined {
    return this.#queuedNs.get(owner);
  }

  /** When this owner's request was first sent. */
  sentNs(owner: string): number | undefined {
    return this.#sentNs.get(owner);
  }

  /** Earliest instant at which the service may end the session: TTL after the sending of the last acknowledged renewal. */
  sessionMayEndNs(session: number): number | undefined {
    const known = this.#sessions.get(session);
    return known === undefined ? undefined : known.sinceNs + known.ttlNs;
  }

  /** The same for the session on which this owner's request was sent. */
  ownerMayEndNs(owner: string): number | undefined {
    const session = this.#sessionOf.get(owner);
    return session === undefined ? undefined : this.sessionMayEndNs(session);
  }

  /**
   * The last that went over the wire about this owner's request, and about connections and sessions as a whole. Not to
   * be called after `forget`.
   */
  trace(owner: string): readonly string[] {
    const session = this.#sessionOf.get(owner);
    const handle = this.#handleOf.get(owner);
    return this.#recent
      .filter(([, , message]) => {
        const [name, first, second] = message;
        if (ALWAYS_TRACED.has(String(name))) return true;
        if (first !== session) return false;
        return second === handle || message[4] === handle || name === 'requests' || name === 'ask';
      })
      .slice(-200)
      .map(([atNs, what, message]) => `${(atNs / 1e6).toFixed(3)} ms ${what} ${JSON.stringify(message).slice(0, 400)}`);
  }

  forget(owner: string): void {
    this.#queuedNs.delete(owner);
    this.#sentNs.delete(owner);
    this.#sessionOf.delete(owner);
    this.#handleOf.delete(owner);
  }

  open(endpoint: string, handler: ConnectionHandler): Connection {
    let codec: Codec = msgpackCodec;
    let isOver = false;
    const ended = (): void => {
      if (!isOver) this.#disconnects++;
      isOver = true;
    };
    const connection = this.#inner.open(this.#links[endpoint.replace(/\/$/, '')] ?? endpoint, {
      onOpen: (subprotocol) => {
        codec = subprotocol === jsonCodec.subprotocol ? jsonCodec : msgpackCodec;
        handler.onOpen(subprotocol);
      },
      onFrame: (frame) => {
        const atNs = this.#time.nowNs();
        for (const message of codec.decode(frame)) {
          this.#remember(atNs, 'got', message);
          this.#onPassed?.('got', message);
          this.#received(message, atNs);
        }
        handler.onFrame(frame);
      },
      onClose: (reason) => {
        ended();
        this.#remember(this.#time.nowNs(), 'closed', ['closed', endpoint, reason]);
        handler.onClose(reason);
      },
    });
    return {
      send: (frame) => {
        const atNs = this.#time.nowNs();
        for (const message of codec.decode(frame)) {
          this.#remember(atNs, 'sent', message);
          this.#onPassed?.('sent', message);
          this.#sent(message, atNs);
        }
        connection.send(frame);
      },
      close: () => {
        // That it is closed is heard of later, and not by all means before its requests are over.
        ended();
        connection.close();
      },
    };
  }

  #remember(atNs: number, what: string, message: readonly unknown[]): void {
    this.#recent.push([atNs, what, message]);
    if (this.#recent.length > 2 * RECENT_MESSAGES) this.#recent.splice(0, RECENT_MESSAGES);
  }

  #sent(message: readonly unknown[], atNs: number): void {
    if (OPERATIONS.has(String(message[0]))) this.#unanswered.set(operationOf(message), atNs);
    if (this.#unanswered.size > 4096) this.#unanswered.delete(this.#unanswered.keys().next().value as string);
    switch (message[0]) {
      case 'open': {
        const nonce = String(message[2]);
        const first = this.#nonces.get(nonce) ?? atNs;
        this.#nonces.set(nonce, first);
        this.#opens.set(Number(message[1]), { nonce, sentNs: first });
        return;
      }
      case 'renew':
        this.#sessions.get(Number(message[1]))?.renewals.set(Number(message[2]), atNs);
        return;
      case 'acquire':
      case 'acquire-all': {
        const options = message[7] as { readonly metadata?: Readonly<Record<string, string>> } | null;
        const owner = options?.metadata?.['owner'];
        if (owner === undefined) return;
        this.#owners.set(operationOf(message), owner);
        if (!this.#sentNs.has(owner)) this.#sentNs.set(owner, atNs);
        this.#sessionOf.set(owner, Number(message[1]));
        this.#handleOf.set(owner, Number(message[2]));
        if (this.#owners.size > 4096) this.#owners.delete(this.#owners.keys().next().value as string);
        return;
      }
      default:
    }
  }

  #received(message: readonly unknown[], atNs: number): void {
    const sentNs = this.#unanswered.get(operationOf(message));
    if (sentNs !== undefined && ANSWERS.has(String(message[0]))) {
      this.#unanswered.delete(operationOf(message));
      this.#heardUntilNs = Math.max(this.#heardUntilNs, sentNs);
    }
    switch (message[0]) {
      case 'opened': {
        const open = this.#opens.get(Number(message[1]));
        if (open === undefined) return;
        this.#opens.delete(Number(message[1]));
        this.#sessions.set(Number(message[2]), {
          ttlNs: Number(message[3]) * 1e6,
          sinceNs: open.sentNs,
          renewals: new Map(),
        });
        return;
      }
      case 'renewed': {
        const session = this.#sessions.get(Number(message[1]));
        const sentNs = session?.renewals.get(Number(message[2]));
        if (session === undefined || sentNs === undefined) return;
        session.sinceNs = Math.max(session.sinceNs, sentNs);
        for (const stamp of session.renewals.keys()) if (stamp <= Number(message[2])) session.renewals.delete(stamp);
        return;
      }
      case 'waiting': {
        const owner = this.#owners.get(operationOf(message));
        if (owner !== undefined && !this.#queuedNs.has(owner)) this.#queuedNs.set(owner, atNs);
        return;
      }
      default:
    }
  }
}

/** Of an operation and of its answer. */
function operationOf([, session, seq]: readonly unknown[]): string {
  return `${String(session)} ${String(seq)}`;
}
