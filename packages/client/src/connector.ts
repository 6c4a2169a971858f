import type { Clock, Instant } from './clock.ts';
import type { LeaderRouting } from './leader-routing.ts';
import { Link, type LinkOwner } from './link.ts';
import { type Hello, PROTOCOL_VERSION, type ServerMessage, type Welcome } from './protocol/index.ts';
import type { Transport } from './transport.ts';

/** What the connector tells the client it belongs to. */
export interface ConnectorOwner {
  /** The sessions to go on with, each under its next epoch, for a hello. Not asked again while that hello has no answer. */
  claimSessions(): readonly (readonly [session: number, nonce: string, epoch: number])[];
  /** This link carries the sessions from now on. `isAttaching`: those of its hello are being attached there already. */
  onLink(link: Link, isAttaching: boolean, now: Instant): void;
  /** The link carries them no more. What comes next is on its way. */
  onUnlinked(link: Link, reason: string, now: Instant): void;
  /** Called before anything is made of what has happened: see `Timetable.enforce`. */
  enforceLeases(now: Instant): void;
  onMessage(link: Link, message: ServerMessage): void;
  onFrameEnd(): void;
  /** Something has become due at another time: see `dueMs`. */
  arm(now: Instant): void;
}

export interface ConnectorOptions {
  readonly credentials: string | null;
  readonly clientName: string;
}

/** A node that accepts a connection but says no welcome is given up after this. */
const DIAL_TIMEOUT_MS = 2000;
/** A node that answers nothing at all for a sixth of the TTL, within these bounds, is taken for dead. */
const MIN_SILENCE_MS = 500;
const MAX_SILENCE_MS = 5000;
/** Long before that, who says nothing is doubted, and another node is asked beside it: one election time-out, and up to a fifth. */
const DOUBT_MS = 500;
/** A node that knows no leader is doubted as well: perhaps only it is cut off. Longer than an election. */
const LEADERLESS_MS = 1500;
/** Between two probes, doubling. */
const PROBE_MAX_MS = 4000;
/** On a follower although its leader has an address: when to try that one again, doubling. */
const MOVE_BASE_MS = 5000;
const MOVE_MAX_MS = 60_000;
/** Dials at once. */
const MAX_DIALS = 2;
/** Hops from node to node that name each other as leader. */
const MAX_HOPS = 4;

/**
 * Finds the node to speak to and stays with it: the leader where it can be reached, else one that forwards. Knows nothing
 * of sessions but that one link at a time carries them.
 *
 * Nothing is waited for alone. A dial that takes long gets a second one beside it; and while the link says nothing, or
 * knows no leader, other nodes are probed on connections of their own. A probe that finds the leader takes over. One that
 * finds a follower stays as the lookout, because that follower tells at once when somebody is elected. The link can be used
 * all the while, and when it speaks again the probes go. Probes do not name the sessions: a hello that attaches them would
 * take them from a link that is only slow.
 */
export class Connector implements LinkOwner {
  readonly #owner: ConnectorOwner;
  readonly #options: ConnectorOptions;
  readonly #routing: LeaderRouting;
  readonly #clock: Clock;
  readonly #transport: Transport;
  readonly #random: () => number;

  /** Carries the sessions. */
  #link: Link | undefined;
  /** Without a welcome yet, oldest first. */
  #dials: Link[] = [];
  /** A node that answered and is not the leader: kept while the leader is dialled, or the link is doubted. */
  #lookout: Link | undefined;
  /** Its hello names the sessions, and it has not said what becomes of them. */
  #claim: Link | undefined;
  #hops = 0;
  #dialAtMs: number | undefined;
  /** Probes since the link is doubted, and when the next one is due. */
  #probeCount = 0;
  #probeAtMs = 0;
  /** The next try to get from a follower to the leader it names. */
  #moveAtMs = Number.POSITIVE_INFINITY;
  #moveDelayMs = MOVE_BASE_MS;
  #doubtMs = DOUBT_MS;
  #leaderlessSinceMs: number | undefined;
  #silenceMs = MAX_SILENCE_MS;
  #clusterId: string | null = null;
  #lastFailure = 'no endpoint has answered yet';
  #isStopped = false;

  constructor(
    owner: ConnectorOwner,
    options: ConnectorOptions,
    routing: LeaderRouting,
    parts: { readonly clock: Clock; readonly transport: Transport; readonly random: () => number },
  ) {
    this.#owner = owner;
    this.#options = options;
    this.#routing = routing;
    this.#clock = parts.clock;
    this.#transport = parts.transport;
    this.#random = parts.random;
  }

  get link(): Link | undefined {
    return this.#link;
  }

  get clusterId(): string | null {
    return this.#clusterId;
  }

  /** The last thing that went wrong with a connection, for people. */
  get lastFailure(): string {
    return this.#lastFailure;
  }

  /** The link is given up after a sixth of this without a word. */
  set ttlMs(ttlMs: number) {
    this.#silenceMs = Math.min(MAX_SILENCE_MS, Math.max(MIN_SILENCE_MS, ttlMs / 6));
  }

  start(now: Instant): void {
    this.#search(now);
  }

  stop(): void {
    this.#isStopped = true;
    for (const link of [...this.#dials, this.#lookout, this.#link]) link?.leave();
    this.#dials = [];
    this.#lookout = undefined;
    this.#link = undefined;
  }

  /** A node that has attached or opened a session: what went wrong there before is forgotten. */
  succeeded(link: Link): void {
    this.#routing.succeeded(link.endpoint);
  }

  /** The link does not do its work: away from that node. */
  giveUp(link: Link, reason: string, now: Instant): void {
    this.#routing.failed(link.endpoint, now.monotonicMs);
    link.fail(reason);
  }

  /** For people: something was refused that will be tried again. */
  noteFailure(text: string): void {
    this.#lastFailure = `${this.#link?.endpoint ?? ''}: ${text}`;
  }

  // Time.

  /** When `onTime` should be called next; infinity where nothing is due. */
  dueMs(now: Instant): number {
    const nowMs = now.monotonicMs;
    let due = this.#dialAtMs ?? Number.POSITIVE_INFINITY;
    for (const dial of this.#dials) {
      due = Math.min(due, dial.startedMs + DIAL_TIMEOUT_MS);
      const slowMs = dial.startedMs + DOUBT_MS;
      if (this.#link === undefined && slowMs > nowMs) due = Math.min(due, slowMs);
    }
    const link = this.#link;
    if (link === undefined) return due;
    due = Math.min(due, this.#moveAtMs);
    if (link.silentSinceMs !== undefined) due = Math.min(due, link.silentSinceMs + this.#silenceMs);
    const doubtfulMs = this.#doubtfulAtMs(link);
    return Math.min(due, doubtfulMs > nowMs || this.#probeCount === 0 ? doubtfulMs : this.#probeAtMs);
  }

  onTime(now: Instant): void {
    const nowMs = now.monotonicMs;
    for (const dial of [...this.#dials]) {
      if (nowMs - dial.startedMs >= DIAL_TIMEOUT_MS) {
        dial.fail(`${dial.endpoint} did not answer within ${DIAL_TIMEOUT_MS} ms`);
      }
    }
    const link = this.#link;
    if (link === undefined) this.#hurry(now);
    else if (link.silentSinceMs !== undefined && nowMs - link.silentSinceMs >= this.#silenceMs) {
      this.giveUp(link, `${link.endpoint} has answered nothing for ${Math.round(this.#silenceMs)} ms`, now);
    } else {
      if (this.#moveAtMs <= nowMs) this.#move(link, now);
      if (this.#isDoubtful(link, now)) this.#probe(now);
    }
    if (this.#dialAtMs !== undefined && this.#dialAtMs <= nowMs) {
      this.#dialAtMs = undefined;
      this.#search(now);
    }
  }

  /** Silent for a while, or without a leader. */
  #isDoubtful(link: Link, now: Instant): boolean {
    return this.#doubtfulAtMs(link) <= now.monotonicMs;
  }

  #doubtfulAtMs(link: Link): number {
    return Math.min(
      (link.silentSinceMs ?? Number.POSITIVE_INFINITY) + this.#doubtMs,
      (this.#leaderlessSinceMs ?? Number.POSITIVE_INFINITY) + LEADERLESS_MS,
    );
  }

  /** Another node is asked, beside the link. */
  #probe(now: Instant): void {
    if (this.#probeCount > 0 && this.#probeAtMs > now.monotonicMs) return;
    this.#probeCount++;
    this.#probeAtMs =
      now.monotonicMs + Math.min(PROBE_MAX_MS, DOUBT_MS * 2 ** this.#probeCount) * (0.75 + this.#random() / 2);
    if (this.#dials.length >= MAX_DIALS) return;
    const endpoint = this.#routing.next(now.monotonicMs, this.#busy());
    if (endpoint === undefined) return;
    this.#hops = 0;
    this.#dial(endpoint, now, true);
  }

  /** To the leader that the link, a follower, names. */
  #move(link: Link, now: Instant): void {
    this.#moveAtMs = now.monotonicMs + this.#moveDelayMs;
    this.#moveDelayMs = Math.min(MOVE_MAX_MS, this.#moveDelayMs * 2);
    const endpoint = link.welcome?.leader?.client ?? undefined;
    if (endpoint === undefined || this.#busy().has(endpoint)) return;
    this.#hops = 0;
    this.#dial(endpoint, now, false);
  }

  #moveLater(isWanted: boolean, now: Instant): void {
    this.#moveDelayMs = MOVE_BASE_MS;
    this.#moveAtMs = isWanted ? now.monotonicMs + MOVE_BASE_MS : Number.POSITIVE_INFINITY;
  }

  /** The link is as it should be again. */
  #standDown(): void {
    this.#probeCount = 0;
    this.#lookout?.leave();
    this.#lookout = undefined;
    this.#dials = this.#dials.filter((dial) => {
      if (dial.isProbe) dial.leave();
      return !dial.isProbe;
    });
  }

  /** There is no link, and what is dialled takes long: a powered-off node does not even refuse. */
  #hurry(now: Instant): void {
    const newest = this.#dials.at(-1);
    if (newest === undefined || now.monotonicMs - newest.startedMs < DOUBT_MS) return;
    if (this.#lookout !== undefined) {
      // It forwards; the leader it names is still welcome when it answers.
      this.#adopt(this.#lookout, now);
      const leader = this.#routing.leaderToTry(now.monotonicMs);
      if (leader !== undefined && !this.#busy().has(leader)) this.#dial(leader, now, false);
    } else if (this.#dials.length < MAX_DIALS) {
      const endpoint = this.#routing.next(now.monotonicMs, this.#busy());
      if (endpoint !== undefined) this.#dial(endpoint, now, false);
    }
  }

  // Dialling.

  /** Without a link: what is known already, or the next endpoint. */
  #search(now: Instant): void {
    if (this.#isStopped || this.#link !== undefined) return;
    this.#hops = 0;
    this.#probeCount = 0;
    const lookout = this.#lookout;
    if (lookout !== undefined) this.#consider(lookout, now);
    if (this.#link !== undefined || this.#dials.length > 0) return;
    const endpoint = this.#routing.next(now.monotonicMs, this.#busy());
    if (endpoint !== undefined) this.#dial(endpoint, now, false);
  }

  #dial(endpoint: string, now: Instant, isProbe: boolean): void {
    const dial = new Link(this.#transport, endpoint, this, now.monotonicMs);
    dial.isProbe = isProbe;
    this.#dials.push(dial);
    if (this.#dials.length > MAX_DIALS) this.#leave(this.#dials.shift() as Link);
    this.#owner.arm(now);
  }

  #dialLater(now: Instant): void {
    this.#dialAtMs = now.monotonicMs + this.#routing.backoffMs();
    this.#owner.arm(now);
  }

  /** Endpoints of the connections there are. */
  #busy(): ReadonlySet<string> {
    const busy = new Set<string>();
    for (const link of [...this.#dials, this.#lookout, this.#link]) if (link !== undefined) busy.add(link.endpoint);
    return busy;
  }

  #leave(link: Link): void {
    if (link === this.#claim) this.#claim = undefined;
    // Or it would be gone back to, and say nothing for ever.
    if (link === this.#lookout) this.#lookout = undefined;
    link.leave();
  }

  /** One attachment at a time is asked for: a hello names the sessions only where nothing else carries or claims them. */
  helloOf(link: Link): Hello {
    const mayClaim = this.#link === undefined && this.#claim === undefined;
    const sessions = mayClaim ? this.#owner.claimSessions() : [];
    if (sessions.length > 0) this.#claim = link;
    return {
      version: PROTOCOL_VERSION,
      client: this.#options.clientName,
      credentials: this.#options.credentials,
      clusterId: this.#clusterId,
      sessions,
      onlyLeader: true,
    };
  }

  onWelcome(link: Link, welcome: Welcome): void {
    const position = this.#dials.indexOf(link);
    if (position < 0) return;
    this.#routing.learnMembers(welcome.members);
    if (welcome.version !== PROTOCOL_VERSION) {
      link.fail(`${link.endpoint} speaks version ${welcome.version} of the protocol, this client ${PROTOCOL_VERSION}`);
      return;
    }
    // A node that has not learnt it from the log yet says nothing.
    if (welcome.clusterId !== '') {
      if (this.#clusterId !== null && this.#clusterId !== welcome.clusterId) {
        link.fail(`${link.endpoint} belongs to another cluster (${welcome.clusterId}, not ${this.#clusterId})`);
        return;
      }
      this.#clusterId = welcome.clusterId;
    }
    this.#dials.splice(position, 1);
    // It may lead and not serve yet; its answers come then.
    link.welcome = { ...welcome, isLeader: welcome.isLeader || welcome.leader?.name === welcome.node };
    if (link === this.#claim && !welcome.attaching) this.#claim = undefined;
    this.#consider(link, this.#clock.now());
  }

  /** A node has said who leads, and does not carry the sessions: what is it good for? */
  #consider(link: Link, now: Instant): void {
    const { leader, isLeader } = link.welcome as Welcome;
    const held = this.#link;
    if (isLeader) {
      // A probe that comes too late may be an old leader's, who does not know yet.
      if (held !== undefined && link.isProbe && !this.#isDoubtful(held, now)) this.#leave(link);
      else this.#adopt(link, now);
      return;
    }
    const named = leader?.client ?? undefined;
    if (held !== undefined && (leader === null || leader.name === held.welcome?.node)) {
      // It knows no more than we do, and will say when it does.
      this.#watch(link, now);
      return;
    }
    this.#routing.learnLeader(named);
    const endpoint = link === this.#claim ? undefined : this.#routing.leaderToTry(now.monotonicMs);
    if (endpoint !== undefined && endpoint !== link.endpoint && this.#hops < MAX_HOPS) {
      this.#hops++;
      this.#watch(link, now);
      if (!this.#dials.some((dial) => dial.endpoint === endpoint)) this.#dial(endpoint, now, link.isProbe);
      else if (held === undefined) this.#hurry(now);
    } else if (held === undefined || this.#isDoubtful(held, now)) {
      // Whoever leads cannot be reached from here: this node forwards.
      this.#adopt(link, now);
    } else {
      this.#leave(link);
    }
  }

  /** Kept while it may be of use. */
  #watch(link: Link, now: Instant): void {
    if (this.#link !== undefined && !this.#isDoubtful(this.#link, now)) {
      if (link === this.#lookout) this.#lookout = undefined;
      this.#leave(link);
    } else if (link !== this.#lookout) {
      if (this.#lookout !== undefined) this.#leave(this.#lookout);
      this.#lookout = link;
    }
  }

  /** From now on this link carries the sessions. */
  #adopt(link: Link, now: Instant): void {
    const isAttaching = link === this.#claim;
    const former = this.#link;
    if (former !== undefined) {
      former.leave();
      this.#link = undefined;
      this.#owner.onUnlinked(former, 'moved to another node', now);
    }
    if (this.#lookout !== undefined && this.#lookout !== link) this.#leave(this.#lookout);
    this.#lookout = undefined;
    const welcome = link.welcome as Welcome;
    if (welcome.isLeader) this.#routing.learnLeader(link.endpoint);
    // Whom it names as leader may still answer. Not one that was asked for the sessions: they are attached here.
    this.#dials = this.#dials.filter((dial) => {
      const isUseful = !welcome.isLeader && dial.endpoint === welcome.leader?.client && dial !== this.#claim;
      if (isUseful) dial.isProbe = false;
      else dial.leave();
      return isUseful;
    });
    this.#claim = undefined;
    this.#link = link;
    this.#dialAtMs = undefined;
    this.#probeCount = 0;
    this.#doubtMs = DOUBT_MS * (1 + this.#random() / 5);
    this.#leaderlessSinceMs = welcome.leader === null ? now.monotonicMs : undefined;
    this.#moveLater(!welcome.isLeader, now);
    this.#owner.onLink(link, isAttaching, now);
  }

  onLinkClosed(link: Link, reason: string): void {
    const now = this.#clock.now();
    this.#owner.enforceLeases(now);
    this.#lastFailure = `${link.endpoint}: ${reason}`;
    if (link === this.#claim) this.#claim = undefined;
    if (link === this.#lookout) {
      this.#lookout = undefined;
      return;
    }
    const position = this.#dials.indexOf(link);
    if (position >= 0) {
      this.#dials.splice(position, 1);
      this.#routing.failed(link.endpoint, now.monotonicMs);
      // Perhaps that was the leader it names: then it has to forward.
      if (this.#lookout !== undefined) this.#consider(this.#lookout, now);
      if (this.#link === undefined && this.#dials.length === 0) this.#dialLater(now);
      return;
    }
    if (link !== this.#link) return;
    this.#routing.lost(link.endpoint);
    this.#link = undefined;
    link.leave();
    for (const dial of this.#dials) dial.isProbe = false;
    this.#owner.onUnlinked(link, reason, now);
    this.#search(now);
  }

  // What nodes say.

  onFrameBegin(link: Link): void {
    const now = this.#clock.now();
    this.#owner.enforceLeases(now);
    if (this.#probeCount > 0 && link === this.#link && !this.#isDoubtful(link, now)) this.#standDown();
  }

  onMessage(link: Link, message: ServerMessage): void {
    this.#owner.onMessage(link, message);
  }

  onFrameEnd(): void {
    this.#owner.onFrameEnd();
  }

  /** Who leads has changed, says this node. */
  leaderChanged(link: Link, leader: Welcome['leader']): void {
    const { welcome } = link;
    if (welcome === undefined) return;
    link.welcome = { ...welcome, leader, isLeader: leader?.name === welcome.node };
    const now = this.#clock.now();
    if (link === this.#lookout) this.#consider(link, now);
    if (link !== this.#link) return;
    this.#leaderlessSinceMs = leader === null ? (this.#leaderlessSinceMs ?? now.monotonicMs) : undefined;
    this.#moveLater(leader !== null && !link.welcome.isLeader, now);
    // What an earlier leader answers is news no more.
    for (const dial of this.#dials) dial.isProbe = true;
    if (leader === null || link.welcome.isLeader) {
      this.#routing.learnLeader(leader === null ? undefined : link.endpoint);
      this.#owner.arm(now);
      return;
    }
    this.#routing.learnLeader(leader.client ?? undefined);
    const endpoint = this.#routing.leaderToTry(now.monotonicMs);
    if (endpoint === undefined || endpoint === link.endpoint) return;
    this.#hops = 0;
    // The sessions stay here until the new leader has answered, and are attached there then.
    const dial = this.#dials.find((candidate) => candidate.endpoint === endpoint);
    if (dial === undefined) this.#dial(endpoint, now, false);
    else dial.isProbe = false;
  }

  membersChanged(members: Welcome['members']): void {
    this.#routing.learnMembers(members);
  }
}
