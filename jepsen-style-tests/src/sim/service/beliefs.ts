import type { Hold } from '../../workload/recorder.ts';
import { Violation } from '../world/violation.ts';
import type { World } from '../world/world.ts';
import type { ServiceProfile } from './profile.ts';
import type { SimClient } from './sim-client.ts';
import type { KnownRequest, Truth, TruthEvents } from './truth.ts';

/** The service counts by another clock than the client, and both in whole milliseconds. */
const ROUNDING_MS = 3;

/**
 * What clients believe against what the log says, at the very moment at which an entry takes effect: nobody believes to
 * hold what is somebody else's by now, and nobody lost anything before its time.
 */
export class Beliefs implements TruthEvents {
  readonly #world: World;
  readonly #profile: ServiceProfile;
  readonly #clients: () => readonly SimClient[];
  readonly #truth: () => Truth;
  readonly #expiredUs = new Map<number, number>();
  /** Comparisons made, so that it is known that there were some. */
  checked = 0;

  constructor(world: World, profile: ServiceProfile, clients: () => readonly SimClient[], truth: () => Truth) {
    this.#world = world;
    this.#profile = profile;
    this.#clients = clients;
    this.#truth = truth;
  }

  granted(request: KnownRequest): void {
    if (request.isThief) return;
    for (const [client, hold] of this.#holds()) {
      const { lock } = hold;
      if (lock.session === request.session && (lock.handle === request.handle || request.isPrivileged)) continue;
      const other = this.#truth().request(lock.session, lock.handle);
      // Whoever was robbed hears of it afterwards.
      if (other === undefined || other.isStolen || (other.isShared && request.isShared)) continue;
      const shared = request.names.find((name) => other.names.includes(name));
      if (shared === undefined || (request.isPermit && other.slot !== request.slot)) continue;
      this.#mustHaveLost(client, hold, `${shared} is granted to session ${request.session}`);
    }
  }

  endedByItself(request: KnownRequest, why: string): void {
    for (const [client, hold] of this.#holds()) {
      if (hold.lock.session === request.session && hold.lock.handle === request.handle)
        this.#mustHaveLost(client, hold, `the service ends it: ${why}`);
    }
  }

  sessionExpired(session: number): void {
    this.#expiredUs.set(session, this.#world.nowUs);
    this.#notTooSoon(session, this.#world.nowUs, this.#clients());
    for (const client of this.#clients()) {
      // The same as for locks, and also where it happens to hold nothing: with its session goes all that it believes.
      if (client.countsOn !== session || !client.hasRunFreelyForUs(this.#profile.ttlMs * 1000)) continue;
      this.checked += 1;
      throw new Violation('told before lost', `${client.host} still counts on session ${session} when that expires`);
    }
  }

  /** A client has received something: an acknowledgement may have come for what is over. */
  received(client: SimClient): void {
    for (const [session, expiredUs] of this.#expiredUs) this.#notTooSoon(session, expiredUs, [client]);
  }

  #notTooSoon(session: number, expiredUs: number, clients: readonly SimClient[]): void {
    for (const client of clients) {
      const mayEndNs = client.sessionMayEndNs(session);
      if (mayEndNs === undefined) continue;
      this.checked += 1;
      const slackUs = ROUNDING_MS * 1000 + Math.ceil((this.#profile.ttlMs * 1000 * this.#profile.driftPpm) / 1_000_000);
      const earlyUs = mayEndNs / 1000 - expiredUs;
      if (earlyUs > slackUs)
        throw new Violation(
          'lease lower bound',
          `session ${session} of ${client.host} expired ${Math.ceil(earlyUs / 1000)} ms before the TTL after the sending of a renewal that was acknowledged`,
        );
    }
  }

  #mustHaveLost(client: SimClient, hold: Hold, what: string): void {
    this.checked += 1;
    const { lock, owner } = hold;
    if (lock.held)
      throw new Violation(
        'told before lost',
        `${owner} still sees ${lock.name} (token ${lock.token}) as held, for another ${lock.remaining} ms, when ${what} at index ${this.#truth().index}`,
      );
    // The margin of the SDK is 1 % of the TTL and 100 ms: a loop that has run freely for longer has had its timers.
    const isFree = client.hasRunFreelyForUs(this.#profile.ttlMs * 1000);
    if (isFree && lock.state === 'lost' && !lock.signal.aborted)
      throw new Violation('told before lost', `${owner} has lost ${lock.name} without a signal, when ${what}`);
  }

  *#holds(): Generator<[SimClient, Hold]> {
    for (const client of this.#clients()) for (const hold of client.holds) yield [client, hold];
  }
}
