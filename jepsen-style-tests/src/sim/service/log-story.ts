import { type Command, OP } from 'lockd/service';
import type { Trace } from '../world/trace.ts';
import type { World } from '../world/world.ts';
import { type KnownRequest, type LogEvents, SESSION_EXPIRED, type TruthEvents } from './truth.ts';

/** Tells the trace, as `log`, what the committed log asks for and what comes of it; then whoever judges it. */
export class LogStory implements LogEvents {
  readonly #world: World;
  readonly #trace: Trace;
  readonly #judge: TruthEvents;

  constructor(world: World, trace: Trace, judge: TruthEvents) {
    this.#world = world;
    this.#trace = trace;
    this.#judge = judge;
  }

  applies(command: Command, index: number): void {
    const words = inWords(command);
    if (words !== undefined) this.#say(words[0], () => `${words[1]} (index ${index})`, index);
  }

  sessionOpened(session: number): void {
    this.#say('opens', () => `session ${session}`, session);
  }

  granted(request: KnownRequest): void {
    const { names, handle, session, token } = request;
    this.#say('grants', () => `${names.join(', ')} to handle ${handle} of session ${session}: token ${token}`, token);
    this.#judge.granted(request);
  }

  endedByItself(request: KnownRequest, why: string): void {
    const { names, handle, session } = request;
    // With its session go all its requests, and one line tells of that.
    if (why !== SESSION_EXPIRED)
      this.#say('ends', () => `${names.join(', ')} of handle ${handle} of session ${session}: ${why}`, session, handle);
    this.#judge.endedByItself(request, why);
  }

  sessionExpired(session: number): void {
    this.#say('expires', () => `session ${session}`, session);
    this.#judge.sessionExpired(session);
  }

  #say(what: string, details: () => string, first: number, second = 0): void {
    this.#trace.event(this.#world.nowUs, 'log', what, details, first, second);
  }
}

/** What a client or a leader asks for, verb and rest; undefined for what says nothing about sessions and locks. */
function inWords(command: Command): readonly [verb: string, rest: string] | undefined {
  switch (command[0]) {
    case OP.acquire:
    case OP.acquireAll:
      return ['is asked for', `${[command[5]].flat().join(', ')} as handle ${command[3]} of session ${command[1]}`];
    case OP.release:
      return ['is given back', `handle ${command[5]} of session ${command[1]}`];
    case OP.cancel:
      return ['is told to cancel', `handle ${command[5]} of session ${command[1]}`];
    case OP.open:
      return ['is asked to open', `a session by the secret ${command[1].slice(0, 8)}`];
    case OP.close:
      return ['is told to close', `session ${command[1]}`];
    case OP.endSession:
      return ['is told by a leader to end', `session ${command[1]}, in term ${command[2]}`];
    default:
      return undefined;
  }
}
