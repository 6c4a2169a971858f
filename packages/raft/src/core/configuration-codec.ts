import type { Configuration } from './configuration.ts';
import { ENTRY_KIND } from './entry-run.ts';
import type { NodeId } from './ids.ts';

const VERSION = 1;
const MAX_ID_LENGTH = 255;

/**
 * A configuration as bytes, for entries and snapshots: version, autoLeave, then the four lists, each a count and
 * its ids, each id a count of UTF-16 code units and those. Numbers are unsigned LEB128, so ASCII ids take a byte a
 * letter. The encoding of a configuration is unique: nodes can compare bytes.
 */
export function encodeConfiguration(configuration: Configuration): Uint8Array {
  const out: number[] = [VERSION, configuration.autoLeave ? 1 : 0];
  for (const list of [
    configuration.voters,
    configuration.outgoing,
    configuration.learners,
    configuration.learnersNext,
  ]) {
    pushNumber(out, list.length);
    for (const id of list) {
      pushNumber(out, id.length);
      for (let position = 0; position < id.length; position += 1) pushNumber(out, id.charCodeAt(position));
    }
  }
  return Uint8Array.from(out);
}

/** The inverse of {@link encodeConfiguration}; undefined for any other bytes. Never throws. */
export function decodeConfiguration(bytes: Uint8Array): Configuration | undefined {
  const reader = new Reader(bytes);
  if (reader.number() !== VERSION) return undefined;
  const autoLeave = reader.number();
  const voters = readList(reader);
  const outgoing = readList(reader);
  const learners = readList(reader);
  const learnersNext = readList(reader);
  if (reader.failed || !reader.atEnd || autoLeave > 1) return undefined;
  return { voters, outgoing, learners, learnersNext, autoLeave: autoLeave === 1 };
}

/** A whole entry, kind byte included. */
export function configurationEntry(configuration: Configuration): Uint8Array {
  const body = encodeConfiguration(configuration);
  const entry = new Uint8Array(body.length + 1);
  entry[0] = ENTRY_KIND.configuration;
  entry.set(body, 1);
  return entry;
}

function pushNumber(out: number[], value: number): void {
  let rest = value;
  while (rest > 0x7f) {
    out.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  out.push(rest);
}

function readList(reader: Reader): readonly NodeId[] {
  const count = reader.number();
  const list: NodeId[] = [];
  for (let item = 0; item < count && !reader.failed; item += 1) {
    const length = reader.number();
    if (length === 0 || length > MAX_ID_LENGTH) reader.failed = true;
    let id = '';
    for (let position = 0; position < length && !reader.failed; position += 1)
      id += String.fromCharCode(reader.number());
    list.push(id as NodeId);
  }
  return list;
}

/** Reads numbers until something does not fit; `failed` stays set and further numbers are 0. */
class Reader {
  failed = false;
  readonly #bytes: Uint8Array;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get atEnd(): boolean {
    return this.#offset === this.#bytes.length;
  }

  number(): number {
    let value = 0;
    for (let shift = 0; shift <= 14 && !this.failed; shift += 7) {
      const byte = this.#bytes[this.#offset];
      if (byte === undefined) break;
      this.#offset += 1;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) {
        // Refuse a padded form and what is no code unit: one configuration, one encoding.
        if ((byte === 0 && shift > 0) || value > 0xffff) break;
        return value;
      }
    }
    this.failed = true;
    return 0;
  }
}
