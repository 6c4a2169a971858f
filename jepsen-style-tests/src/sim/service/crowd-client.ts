import type { ClientMessage, RawMessage } from '@lockd/client/protocol';
import { Chance } from '../world/chance.ts';
import type { SimulatedProcess } from '../world/process.ts';
import { Violation } from '../world/violation.ts';
import { workloadTime } from './client-parts.ts';
import { LoneClient } from './lone-client.ts';
import type { RawSurroundings } from './raw-client.ts';
import { RawLink } from './raw-link.ts';
import type { Truth } from './truth.ts';

interface CrowdSurroundings extends RawSurroundings {
  readonly truth: Truth;
}

/** More than a session may have without an answer (docs/limits.md). */
const AT_ONCE = 4_200;
const ATTEMPTS = 20;
const FRAME = 1_000;
/** What it asks for once more, of what was refused. */
const AGAIN = 50;
/** It waits so long for its answers. */
const PATIENCE_MS = 4_000;

/**
 * Asks for more at once than anybody may have under way. What is refused because of that has not been done, may be asked for
 * again, and is; and its session lives on.
 */
export class CrowdClient extends LoneClient {
  readonly #around: CrowdSurroundings;
  readonly #chance: Chance;
  #answered = 0;
  #refused: number[] = [];

  constructor(host: string, around: CrowdSurroundings) {
    super(host, around);
    this.#around = around;
    this.#chance = Chance.of(around.seed, `crowd ${host}`);
  }

  protected override async run(process: SimulatedProcess): Promise<void> {
    const { world, internet, nodes, urlOf } = this.#around;
    const time = workloadTime(world, process, () => 1);
    for (let attempt = 1; attempt <= ATTEMPTS && !this.isFinished; attempt += 1) {
      const node = this.#chance.pick(nodes);
      const link = new RawLink(world, internet, process, { host: this.host, node, url: urlOf(node) }, (message) =>
        this.#hears(message),
      );
      const isDone = await this.#crowd(link, time, `${this.host}-${attempt}`.padEnd(32, '0'));
      link.close();
      if (isDone) return;
      await time.sleep(500);
    }
  }

  /** Whether it got as far as asking. */
  async #crowd(link: RawLink, time: ReturnType<typeof workloadTime>, nonce: string): Promise<boolean> {
    if (!(await link.isWelcome())) return false;
    const { counters, ttlMs, truth } = this.#around;
    const opened = await link.ask(['open', 1, nonce, ttlMs, link.index, null], 'opened', 'error');
    if (opened?.[0] !== 'opened') return false;
    const session = opened[2] as number;
    this.#answered = 0;
    this.#refused = [];
    const acquires = Array.from({ length: AT_ONCE }, (_, at): ClientMessage => {
      // Most of it comes to names that it has, and no answer is to be kept: the state stays small, and costs little to compare.
      return ['acquire', session, at + 1, at, `crowd:${at % 100}`, 0, null, null];
    });
    for (let from = 0; from < AT_ONCE; from += FRAME) link.say(...acquires.slice(from, from + FRAME));
    for (let waitedMs = 0; waitedMs < PATIENCE_MS && this.#answered < AT_ONCE && !link.isClosed; waitedMs += 100)
      await time.sleep(100);
    const refused = this.#refused;
    counters.add('acquire refused early', refused.length);
    for (const seq of refused)
      if (truth.request(session, seq) !== undefined)
        throw new Violation(
          'refused early',
          `acquire ${seq} of session ${session} was refused as not applied, and is in the log`,
        );
    if (link.isClosed || this.#answered < AT_ONCE) return true;
    // Under new numbers, a few at a time, acknowledging what it knows.
    let seq = AT_ONCE;
    for (let again = Math.min(AGAIN, refused.length); again > 0; again -= 1) {
      seq += 1;
      const answer = await link.ask(
        ['acquire', session, seq, seq - 1, `crowd:again:${again}`, 0, null, null],
        'granted',
        'ended',
        'ok',
        'error',
      );
      if (answer === undefined) return true;
      if (answer[0] === 'granted' || answer[0] === 'ended') counters.add('refused early, and served later');
    }
    const end = await link.ask(['close', session, seq + 1, seq], 'session-ended', 'error');
    if (end?.[0] === 'session-ended') counters.add('session survived the crowd');
    return true;
  }

  #hears(message: RawMessage): void {
    switch (message[0]) {
      case 'granted':
      case 'ended':
        this.#answered += 1;
        break;
      case 'error':
        if (message[1] === 0) return;
        this.#answered += 1;
        if (message[3] === 'LOCKD_OVERLOADED' && message[5] === 'not-applied' && message[6] === true)
          this.#refused.push(message[2] as number);
        break;
      default:
    }
  }
}
