import fc from 'fast-check';
import { type Command, MODE, OP, type Options } from '../../src/lock-table/command.ts';

/**
 * Scripts of commands as fast-check draws and shrinks them. Steps name sessions and handles by how long ago they were made,
 * so that a script stays meaningful when steps before it are taken out.
 */
export type Step =
  | { readonly do: 'open'; readonly nonce: number; readonly flags: number }
  | {
      readonly do: 'acquire';
      readonly by: number;
      readonly name: number;
      readonly waits: boolean;
      readonly lease: boolean;
      readonly options: OptionsDraw | null;
    }
  | {
      readonly do: 'acquire-all';
      readonly by: number;
      readonly names: readonly number[];
      readonly waits: boolean;
      readonly minHold: boolean;
    }
  | { readonly do: 'on-handle'; readonly op: number; readonly by: number; readonly back: number }
  | { readonly do: 'set-limit'; readonly by: number; readonly name: number; readonly limit: number }
  | { readonly do: 'close'; readonly by: number }
  | { readonly do: 'repeat'; readonly back: number }
  | { readonly do: 'attach' | 'detach' | 'expire'; readonly by: number; readonly isLate: boolean }
  | { readonly do: 'end'; readonly what: number; readonly by: number; readonly back: number; readonly isLate: boolean }
  | { readonly do: 'end-reserve'; readonly which: number }
  | { readonly do: 'new-term' };

interface OptionsDraw {
  readonly mode: number;
  readonly limit: number;
  readonly maxHold: boolean;
  readonly minHold: boolean;
  readonly delay: boolean;
  readonly reenter: readonly number[];
  readonly holding: readonly number[];
  readonly steal: boolean;
  readonly once: boolean;
}

const by = fc.nat(5);
const back = fc.nat(6);
const rarely = fc.integer({ min: 0, max: 7 }).map((draw) => draw === 7);
const options: fc.Arbitrary<OptionsDraw> = fc.record({
  mode: fc.constantFrom(0, 0, 1, 1, 1, 2),
  limit: fc.integer({ min: 1, max: 3 }),
  maxHold: rarely,
  minHold: rarely,
  delay: rarely,
  reenter: fc.array(back, { maxLength: 2 }),
  holding: fc.oneof({ weight: 4, arbitrary: fc.constant([]) }, fc.array(back, { maxLength: 3 })),
  steal: rarely,
  once: rarely,
});

export const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('open' as const),
      nonce: fc.nat(12),
      flags: fc.constantFrom(0, 0, 0, 1, 3),
    }),
  },
  {
    weight: 20,
    arbitrary: fc.record({
      do: fc.constant('acquire' as const),
      by,
      name: fc.nat(3),
      waits: fc.boolean(),
      lease: rarely,
      options: fc.option(options),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('acquire-all' as const),
      by,
      names: fc.uniqueArray(fc.nat(3), { minLength: 1, maxLength: 3 }),
      waits: fc.boolean(),
      minHold: rarely,
    }),
  },
  {
    weight: 20,
    arbitrary: fc.record({
      do: fc.constant('on-handle' as const),
      op: fc.constantFrom(
        OP.release,
        OP.release,
        OP.release,
        OP.cancel,
        OP.cancel,
        OP.extend,
        OP.downgrade,
        OP.upgrade,
        OP.complete,
      ),
      by,
      back,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('set-limit' as const),
      by,
      name: fc.nat(3),
      limit: fc.integer({ min: 1, max: 3 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('close' as const), by }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('repeat' as const), back: fc.nat(8) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom('attach' as const, 'detach' as const, 'expire' as const),
      by,
      isLate: rarely,
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('end' as const), what: fc.nat(3), by, back, isLate: rarely }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('end-reserve' as const), which: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('new-term' as const) }) },
);

export const script = (maxLength: number): fc.Arbitrary<Step[]> => fc.array(step, { maxLength, size: 'max' });

/** What a script needs to know of the table to say something meaningful. */
export interface ScriptView {
  attachmentOf(session: number): number | undefined;
  epochOf(session: number): number | undefined;
  generationOf(session: number, handle: number): number;
  completionGenerationOf(key: string): number;
  /** Generations of the reservations that stand. */
  reservations(): readonly number[];
}

interface Author {
  readonly id: number;
  readonly nonce: string;
  seq: number;
  /** Unacknowledged by its client, so that repetitions are answered. */
  acked: number;
}

const NAMES = ['a', 'b', 'c', 'd'];

/** Turns steps into commands, one at a time. Keeps the books that clients and leaders would keep. */
export class ScriptWriter {
  index = 0;
  term = 1;
  readonly sent: Command[] = [];
  readonly #authors: Author[] = [];
  readonly #view: ScriptView;

  constructor(view: ScriptView) {
    this.#view = view;
  }

  /** The next command, for the entry `this.index`; undefined where the step says nothing here. */
  next(step: Step): Command | undefined {
    const command = this.#command(step);
    if (command === undefined) return undefined;
    this.index++;
    if (command[0] === OP.open) {
      this.#authors.push({ id: this.index, nonce: command[1], seq: 0, acked: 0 });
    }
    this.sent.push(command);
    return command;
  }

  #command(step: Step): Command | undefined {
    if (step.do === 'open') return [OP.open, `nonce-${step.nonce}`, 15_000, this.index, step.flags, []];
    if (step.do === 'repeat') return this.sent[this.sent.length - 1 - step.back];
    if (step.do === 'new-term') {
      this.term++;
      return [OP.continueWork];
    }
    if (step.do === 'end-reserve') {
      const standing = this.#view.reservations();
      return standing.length === 0 ? undefined : [OP.endReserve, standing[step.which % standing.length]!, this.term];
    }
    const author = this.#authors[this.#authors.length - 1 - step.by];
    if (author === undefined) return undefined;
    const { id } = author;
    const epoch = this.#view.epochOf(id) ?? 1;
    switch (step.do) {
      case 'attach':
        return [OP.attach, id, author.nonce, step.isLate ? epoch : epoch + 1];
      case 'detach':
        return [OP.detach, id, step.isLate ? Math.max(1, epoch - 1) : epoch];
      case 'expire':
        return [OP.endSession, id, step.isLate ? this.term - 1 : this.term, this.#view.attachmentOf(id) ?? id];
      case 'end': {
        const handle = author.seq - step.back;
        if (handle < 1) return undefined;
        const term = step.isLate ? this.term - 1 : this.term;
        if (step.what === 0) return [OP.endGrant, id, handle, term, this.#view.generationOf(id, handle)];
        if (step.what === 1) return [OP.endWait, id, handle, term];
        if (step.what === 2) return [OP.endMaxHold, id, handle, term];
        return [OP.endOnce, '1:ak', this.#view.completionGenerationOf('1:ak'), term];
      }
      default:
    }
    // Acknowledges with a lag, as clients do.
    const seq = ++author.seq;
    const acked = Math.max(author.acked, seq - 6);
    author.acked = acked;
    const older = (distance: number): number => Math.max(1, seq - 1 - distance);
    switch (step.do) {
      case 'acquire': {
        const name = NAMES[step.name]!;
        const waitMs = step.waits ? 1000 : 0;
        if (step.options === null && !step.lease) return [OP.acquire, id, epoch, seq, acked, name, waitMs];
        return [OP.acquire, id, epoch, seq, acked, name, waitMs, step.lease ? 500 : 0, optionsOf(step.options, older)];
      }
      case 'acquire-all': {
        const names = step.names.map((name) => NAMES[name]!);
        const minHoldMs = step.minHold ? 300 : 0;
        return [
          OP.acquireAll,
          id,
          epoch,
          seq,
          acked,
          names,
          step.waits ? 1000 : 0,
          0,
          [0, 0, 0, minHoldMs, 0, [], [], [], 0, ''],
        ];
      }
      case 'set-limit':
        return [OP.setLimit, id, epoch, seq, acked, NAMES[step.name]!, step.limit];
      case 'close':
        return [OP.close, id, epoch, seq, acked];
      default:
    }
    const handle = older(step.back);
    switch (step.op) {
      case OP.extend:
        return [OP.extend, id, epoch, seq, acked, handle, 700];
      case OP.complete:
        return [OP.complete, id, epoch, seq, acked, handle, 'k', 60_000];
      default:
        return [step.op as typeof OP.release, id, epoch, seq, acked, handle];
    }
  }
}

function optionsOf(draw: OptionsDraw | null, older: (distance: number) => number): Options {
  if (draw === null) return [0, 0, 0, 0, 0, [], [], [], 0, ''];
  return [
    draw.mode,
    draw.mode === MODE.permit ? draw.limit : 0,
    draw.maxHold ? 900 : 0,
    draw.minHold ? 300 : 0,
    draw.delay ? 200 : 0,
    [],
    draw.reenter.map(older),
    draw.holding.map(older),
    draw.steal && draw.mode === MODE.exclusive ? 1 : 0,
    draw.once ? 'k' : '',
  ];
}
