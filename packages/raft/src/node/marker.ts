import type { LogIndex, NodeId, Term } from '../core/ids.ts';
import { invariant } from '../core/invariant.ts';
import type { HardState } from '../core/ready.ts';
import type { Clock } from './clock.ts';
import { seal, unseal } from './digest.ts';
import type { SlotFile } from './disk.ts';

/** What this directory has promised at least: the log holds this entry, and the hard state is no older. */
export interface Marker {
  readonly incarnation: number;
  /** Random names of the latest starts, this one first, at most `STARTS_KEPT`. Markers of the first version have none. */
  readonly starts: readonly string[];
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
  readonly hardState: HardState;
}

/** Two slots, in sectors and pages of their own: a torn write spoils one of them. */
const SLOT_BYTES = 4096;
const FORMAT = 2;
/** Without the names of starts. */
const FIRST_FORMAT = 1;
/** So many starts of a directory can be told apart from those of an older copy of it. */
export const STARTS_KEPT = 16;

function encodeSlot(sequence: number, marker: Marker): Uint8Array {
  const { incarnation, starts, lastIndex, lastTerm, hardState } = marker;
  const fields = [
    FORMAT,
    sequence,
    incarnation,
    lastIndex,
    lastTerm,
    hardState.term,
    hardState.votedFor ?? null,
    hardState.commitIndex,
    starts,
  ];
  const sealed = seal(Buffer.from(JSON.stringify(fields)));
  invariant(sealed.length + 2 <= SLOT_BYTES, 'a marker fits its slot');
  const slot = Buffer.alloc(SLOT_BYTES);
  slot.writeUInt16LE(sealed.length, 0);
  slot.set(sealed, 2);
  return slot;
}

function decodeSlot(slot: Buffer): { readonly sequence: number; readonly marker: Marker } | undefined {
  if (slot.length < 2) return undefined;
  const length = slot.readUInt16LE(0);
  if (2 + length > slot.length) return undefined;
  const bytes = unseal(slot.subarray(2, 2 + length));
  if (bytes === undefined) return undefined;
  const fields: unknown = JSON.parse(Buffer.from(bytes).toString());
  if (!Array.isArray(fields) || (fields[0] !== FORMAT && fields[0] !== FIRST_FORMAT)) return undefined;
  const starts = fields[0] === FORMAT ? (fields[8] as readonly string[]) : [];
  const [, sequence, incarnation, lastIndex, lastTerm, term, votedFor, commitIndex] = fields as number[];
  return {
    sequence: sequence as number,
    marker: {
      incarnation: incarnation as number,
      starts,
      lastIndex: lastIndex as LogIndex,
      lastTerm: lastTerm as Term,
      hardState: {
        term: term as Term,
        votedFor: ((votedFor as unknown) ?? undefined) as NodeId | undefined,
        commitIndex: commitIndex as LogIndex,
      },
    },
  };
}

/** The first content of a marker file. */
export function initialMarkerFile(marker: Marker): Uint8Array {
  return Buffer.concat([encodeSlot(2, marker), encodeSlot(1, marker)]);
}

/** The newest readable slot; undefined if neither is. */
export function decodeMarkerFile(
  bytes: Uint8Array,
): { readonly sequence: number; readonly marker: Marker } | undefined {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const first = decodeSlot(buffer.subarray(0, SLOT_BYTES));
  const second = decodeSlot(buffer.subarray(SLOT_BYTES, 2 * SLOT_BYTES));
  if (first === undefined || second === undefined) return first ?? second;
  return first.sequence > second.sequence ? first : second;
}

/**
 * Writes the marker, one write at a time, slots in turn. The marker must follow the data: claim only
 * what is durable in the log. Rejects as the file does; after that nothing is written any more.
 */
export class MarkerWriter {
  readonly #file: SlotFile;
  readonly #clock: Clock;
  readonly #lagMs: number;
  #sequence: number;
  #current: Marker;
  #isDirty = false;
  #writing: Promise<void> | undefined;
  #cancelTimer: (() => void) | undefined;
  #failure: Error | undefined;
  readonly #onFailure: (error: Error) => void;

  constructor(options: {
    readonly file: SlotFile;
    readonly clock: Clock;
    /** A claim set without `flush` is durable at most this much later, plus one write. Milliseconds. */
    readonly lagMs: number;
    readonly sequence: number;
    readonly current: Marker;
    /** A write in the background failed. */
    readonly onFailure: (error: Error) => void;
  }) {
    this.#file = options.file;
    this.#clock = options.clock;
    this.#lagMs = options.lagMs;
    this.#sequence = options.sequence;
    this.#current = options.current;
    this.#onFailure = options.onFailure;
  }

  get current(): Marker {
    return this.#current;
  }

  /** Changes what is claimed of the log, and of the hard state where it is given: in memory at once, on the disk within the lag. */
  claim(lastIndex: LogIndex, lastTerm: Term, hardState: HardState = this.#current.hardState): void {
    const { incarnation, starts } = this.#current;
    this.#current = { incarnation, starts, lastIndex, lastTerm, hardState };
    this.#isDirty = true;
    if (this.#cancelTimer !== undefined || this.#failure !== undefined) return;
    this.#cancelTimer = this.#clock.after(this.#lagMs, () => {
      this.#cancelTimer = undefined;
      this.flush().catch(this.#onFailure);
    });
  }

  /** The newest claim is durable when resolved. */
  async flush(): Promise<void> {
    while (this.#isDirty || this.#writing !== undefined) {
      if (this.#failure !== undefined) throw this.#failure;
      this.#writing ??= this.#write();
      await this.#writing;
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Flushes and closes. */
  async close(): Promise<void> {
    try {
      await this.flush();
    } finally {
      this.abandon();
      await this.#file.close();
    }
  }

  /** Closes without another write. */
  async discard(): Promise<void> {
    this.abandon();
    this.#isDirty = false;
    await this.#writing?.catch(() => undefined);
    await this.#file.close();
  }

  /** Stops the timer without writing. */
  abandon(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  async #write(): Promise<void> {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#isDirty = false;
    this.#sequence += 1;
    try {
      await this.#file.write((this.#sequence % 2) * SLOT_BYTES, encodeSlot(this.#sequence, this.#current));
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(String(error));
      throw error;
    } finally {
      this.#writing = undefined;
    }
  }
}
