import { connect, type LockClient, LockdError } from '@lockd/client';
import type { Collector } from '../../jepsen/collector.ts';
import { Random } from '../../random.ts';
import { LANES, type LaneContext } from '../../workload/lanes.ts';
import type { WorkerReport, WorkloadName } from '../../workload/messages.ts';
import { type Hold, Recorder, type RequestOptions } from '../../workload/recorder.ts';
import { TransportTap } from '../../workload/transport-tap.ts';
import { Chance } from '../world/chance.ts';
import type { Counters } from '../world/counters.ts';
import { SimulatedProcess } from '../world/process.ts';
import type { Trace } from '../world/trace.ts';
import type { World } from '../world/world.ts';
import { ClientClock, clientRandom, simulatedTransport, workloadTime } from './client-parts.ts';
import { ClientStory } from './client-story.ts';
import type { Internet, Party } from './internet.ts';
import type { ServiceProfile } from './profile.ts';

/** What the clients of one simulation share. */
export interface ClientSurroundings {
  readonly seed: number;
  readonly world: World;
  readonly trace: Trace;
  readonly counters: Counters;
  readonly internet: Internet;
  readonly profile: ServiceProfile;
  readonly collector: Collector;
  readonly endpoints: readonly string[];
  /** A frame has been received, and the client has made of it what it does. */
  onReceived(client: SimClient): void;
}

const RECONNECT_MS = 100;
/** Beside 2 % of the TTL, what the SDK counts less than the service (lease-clock.ts). */
const SDK_MARGIN_US = 100_000;
/** What all clients ask for together before they take their time, and in each second. More only costs time. */
const OPERATIONS_AT_ONCE = 100;
const OPERATIONS_PER_S = 5;
const SLOW_PACE = 20;

/** Knows what its client believes to hold. */
class BelievingRecorder extends Recorder {
  readonly holds: Set<Hold> = new Set();

  override async acquire(options: RequestOptions): Promise<Hold | undefined> {
    const hold = await super.acquire(options);
    if (hold !== undefined) this.holds.add(hold);
    return hold;
  }

  override async release(hold: Hold): Promise<void> {
    await super.release(hold);
    this.holds.delete(hold);
  }
}

/** One program with the SDK on a machine of its own; it crashes and is started again. */
export class SimClient {
  readonly host: string;
  readonly #around: ClientSurroundings;
  readonly #lanes: readonly WorkloadName[];
  readonly #ratePpm: number;
  readonly #subprotocol: string;
  /** Costs every promise of the process something, so only some runs do it. */
  readonly #tracksHolding: boolean;
  readonly #chance: Chance;
  #starts = 0;
  #process: SimulatedProcess | undefined;
  #recorder: BelievingRecorder | undefined;
  #client: LockClient | undefined;
  #clock: ClientClock | undefined;
  #tap: TransportTap | undefined;
  #isReporting = false;
  #stop = new AbortController();
  /** Ended in an orderly way: all its lanes have come to their end, and it is closed. */
  isDone = false;
  #isClosing = false;
  #hasBeenSuspended = false;
  /** When its event loop last stood still, until when. */
  #stalledUntilUs = -1;

  constructor(host: string, lanes: readonly WorkloadName[], around: ClientSurroundings) {
    this.host = host;
    this.#lanes = lanes;
    this.#around = around;
    this.#chance = Chance.of(around.seed, `client ${host}`);
    const { driftPpm } = around.profile;
    this.#ratePpm = driftPpm === 0 ? 0 : this.#chance.between(-driftPpm, driftPpm);
    this.#tracksHolding = around.seed % 8 === 0;
    this.#subprotocol = this.#chance.oneIn(2) ? 'lockd.v1.json' : 'lockd.v1.msgpack';
  }

  /** In the history, where each process is a client of its own. */
  get name(): string {
    return this.#starts <= 1 ? this.host : `${this.host}.${this.#starts}`;
  }

  get isUp(): boolean {
    return this.#process !== undefined;
  }

  /** What it believes to hold, or is giving back. */
  get holds(): Iterable<Hold> {
    return this.#recorder?.holds ?? [];
  }

  /** When the service may end this session by itself, says the wire; undefined for a session that is not known here. */
  sessionMayEndNs(session: number): number | undefined {
    return this.#tap?.sessionMayEndNs(session);
  }

  /** When the SDK gives up its session unless a renewal is acknowledged before; undefined where it has none. */
  get givesUpAtUs(): number | undefined {
    const mayEndNs = this.#client === undefined ? undefined : this.sessionMayEndNs(this.#client.session);
    const { ttlMs } = this.#around.profile;
    return mayEndNs === undefined ? undefined : Math.floor(mayEndNs / 1000) - 20 * ttlMs - SDK_MARGIN_US;
  }

  /**
   * The session that its locks hang on, as the SDK has it; undefined once it is on its way out, and on a host that has been
   * suspended: its timers are late by that, and `held` alone looks at both clocks.
   */
  get countsOn(): number | undefined {
    return this.#isClosing || this.#hasBeenSuspended ? undefined : this.#client?.session;
  }

  /** Whether its event loop has run freely for so long. */
  hasRunFreelyForUs(us: number): boolean {
    return this.#stalledUntilUs + us < this.#around.world.nowUs;
  }

  start(): void {
    if (this.#process !== undefined || this.isDone) return;
    const { world, profile } = this.#around;
    this.#starts += 1;
    this.#say('starts', this.name);
    const process = new SimulatedProcess(this.host, world, {
      originMs: this.#chance.below(1_000_000),
      ratePpm: profile.driftPpm === 0 ? 0 : this.#ratePpm,
    });
    this.#process = process;
    this.#isReporting = true;
    this.#stop = new AbortController();
    this.#around.internet.lit(this.host);
    process.arrive(() => {
      world.touch();
      this.#run(process, this.name).then(
        () => {
          if (this.#process !== process) return;
          this.isDone = true;
          this.#say('is done');
        },
        (error: unknown) => world.fail(error),
      );
    });
  }

  /** The process is gone; `isDark`: its machine too, so that no node is told. */
  crash(isDark: boolean): void {
    const process = this.#process;
    if (process === undefined || this.isDone) return;
    this.abandon();
    this.#say(isDark ? 'loses power' : 'is killed');
    process.die();
    this.#around.internet.ended(process, isDark ? 'dark' : 'closed');
    if (isDark) this.#around.internet.wentDark(this.host);
    this.#around.collector.died(this.name);
    this.#process = undefined;
    this.#recorder = undefined;
    this.#client = undefined;
    this.#tap = undefined;
  }

  /** Nobody does anything in it any more, but Node keeps signals that somebody listens to until they abort. */
  abandon(): void {
    this.#isReporting = false;
    this.#process?.die();
    this.#process = undefined;
    this.#stop.abort();
  }

  stall(us: number): void {
    const { world } = this.#around;
    this.#say('stalls', `for ${Math.floor(us / 1000)} ms`, us);
    this.#process?.stall(us);
    this.#stalledUntilUs = Math.max(this.#stalledUntilUs, world.nowUs + us);
  }

  wakeUp(): void {
    this.#stalledUntilUs = Math.min(this.#stalledUntilUs, this.#around.world.nowUs);
    this.#process?.wakeUp();
  }

  /** Its host is suspended; whether it may be: one of its clocks has to show it (docs/guarantees.md). */
  suspend(us: number): boolean {
    if (this.#process === undefined || (this.#clock?.jumpedMs ?? 0) < 0) return false;
    this.#say('is suspended', `for ${Math.floor(us / 1000)} ms`, us);
    this.#process.suspend(us);
    this.#hasBeenSuspended = true;
    this.#stalledUntilUs = Math.max(this.#stalledUntilUs, this.#around.world.nowUs + us);
    return true;
  }

  /** Not back where a suspension shows on this clock only. */
  setWallClock(byMs: number): boolean {
    if (byMs < 0 && (this.#process?.sleptMs ?? 0) > 0) return false;
    this.#say('sets its wall clock', `by ${byMs} ms`, byMs);
    if (this.#clock !== undefined) this.#clock.jumpedMs += byMs;
    return true;
  }

  /** Its lanes begin nothing new, and it ends when they are through. */
  finish(): void {
    this.#process?.arrive(() => {
      this.#stop.abort();
      this.#around.world.touch();
    });
  }

  async #run(process: SimulatedProcess, name: string): Promise<void> {
    const { world, internet, profile, collector, counters, endpoints, seed } = this.#around;
    const party: Party = { host: this.host, process, usesPromises: true };
    const pace = (): number =>
      counters.get('client operations') > OPERATIONS_AT_ONCE + (OPERATIONS_PER_S * world.nowUs) / 1_000_000
        ? SLOW_PACE
        : 1;
    const time = workloadTime(world, process, pace);
    const report = (message: WorkerReport): void => {
      if (!this.#isReporting || this.#process !== process) return;
      if (isAsked(message)) counters.add('client operations');
      collector.take(name, message);
    };
    const story = new ClientStory(
      () => world.nowUs,
      (what, details, number) => this.#say(what, details, number),
    );
    const tap = new TransportTap(
      simulatedTransport(internet, party, [this.#subprotocol], () => this.#onFrame()),
      {},
      time,
      (what, message) => story.passed(what, message),
    );
    const clock = new ClientClock(world, process);
    this.#tap = tap;
    this.#clock = clock;
    const { signal } = this.#stop;
    let client: LockClient | undefined;
    while (client === undefined) {
      try {
        client = await connect({
          endpoints,
          transport: tap,
          clock,
          random: clientRandom(this.#chance),
          sessionTtl: profile.ttlMs,
          requestTimeout: 5000,
          trackHolding: this.#tracksHolding,
          metadata: { client: name },
        });
      } catch (error) {
        report({
          type: 'error',
          code: error instanceof LockdError ? error.code : 'UNEXPECTED',
          message: String(error),
        });
        if (!(error instanceof LockdError)) throw error;
        await time.sleep(RECONNECT_MS, signal);
        if (signal.aborted) return;
      }
    }
    this.#client = client;
    const { session } = client;
    let speaksWith: string | undefined;
    client.on('lost', (lost) => this.#say('gives up', `session ${lost.session}: ${lost.reason}`, lost.session));
    client.on('connected', ({ node }) => {
      if (speaksWith !== undefined && speaksWith !== node && client.session === session)
        counters.add('session resumed on another node');
      speaksWith = node;
    });
    const recorder = new BelievingRecorder(name, client, tap, report, time);
    this.#recorder = recorder;
    await Promise.all(
      this.#lanes.map(async (lane, position) => {
        const context: LaneContext = {
          client: name,
          recorder,
          time,
          // No lane that is run here protects a store.
          store: undefined as never,
          random: Random.split(seed, `${name} ${lane} ${position}`),
          ttlMs: profile.ttlMs,
          report,
          stop: signal,
        };
        await LANES[lane](context);
      }),
    );
    recorder.close();
    this.#isClosing = true;
    await client.close();
  }

  #onFrame(): void {
    try {
      this.#around.onReceived(this);
    } catch (error) {
      this.#around.world.fail(error);
    }
  }

  #say(what: string, details?: string, number = 0): void {
    this.#around.trace.event(
      this.#around.world.nowUs,
      this.host,
      what,
      details === undefined ? undefined : () => details,
      number,
    );
  }
}

/** A client asks for something: a lock, its end, who has it. */
function isAsked(report: WorkerReport): boolean {
  return (
    report.type === 'begin' || report.type === 'releasing' || (report.type === 'line' && report.line.op === 'read')
  );
}
