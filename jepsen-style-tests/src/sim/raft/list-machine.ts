import type { EntryRun, LogIndex } from '@lockd/raft';
import type { SnapshotReader, SnapshotWriter, StateMachine } from '@lockd/raft/node';

/** A number for the bytes of an entry: entries that differ have different ones, up to a chance in four thousand million. */
export function fingerprint(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < bytes.length; at += 1) hash = Math.imul(hash ^ (bytes[at] as number), 0x01000193);
  return hash >>> 0;
}

export interface ListState {
  readonly index: number;
  /** Of all entries up to the index, in order. */
  readonly chain: number;
  /** The last few of them, so that a snapshot is not all of one size. */
  readonly recent: readonly number[];
}

const EMPTY: ListState = { index: 0, chain: 0, recent: [] };
const RECENT = 40;

/** A list of everything that was ever committed, kept as one running number: whoever applies something else has another number. */
export class ListMachine implements StateMachine {
  #state: ListState = EMPTY;
  readonly #onEntry: (index: number, term: number, entry: Uint8Array, chain: number) => void;
  readonly #onRestored: (state: ListState) => void;

  constructor(
    onEntry: (index: number, term: number, entry: Uint8Array, chain: number) => void,
    onRestored: (state: ListState) => void,
  ) {
    this.#onEntry = onEntry;
    this.#onRestored = onRestored;
  }

  get state(): ListState {
    return this.#state;
  }

  apply(run: EntryRun): void {
    const recent = [...this.#state.recent];
    let { chain } = this.#state;
    for (let index: number = run.firstIndex; index <= run.lastIndex; index += 1) {
      const entry = run.entry(index as LogIndex);
      const print = fingerprint(entry);
      chain = (Math.imul(chain ^ print, 0x85ebca6b) ^ run.term) >>> 0;
      recent.push(print);
      this.#onEntry(index, run.term, entry, chain);
    }
    this.#state = { index: run.lastIndex, chain, recent: recent.slice(-RECENT) };
  }

  beginSnapshot(): SnapshotReader {
    const state = this.#state;
    const parts = [JSON.stringify([state.index, state.chain]), ...state.recent.map((print) => `,${print}`)];
    return {
      next: () => {
        const slice = parts.splice(0, 8);
        return slice.length === 0 ? undefined : Buffer.from(slice.join(''));
      },
      cancel: () => undefined,
    };
  }

  beginRestore(): SnapshotWriter {
    const chunks: Uint8Array[] = [];
    return {
      write: (chunk) => chunks.push(chunk),
      finish: () => {
        const text = Buffer.concat(chunks).toString();
        const end = text.indexOf(']') + 1;
        const [index, chain] = JSON.parse(text.slice(0, end)) as [number, number];
        const recent = text
          .slice(end)
          .split(',')
          .filter((part) => part !== '')
          .map(Number);
        this.#state = { index, chain, recent };
        this.#onRestored(this.#state);
      },
    };
  }

  reset(): void {
    this.#state = EMPTY;
    this.#onRestored(EMPTY);
  }
}
