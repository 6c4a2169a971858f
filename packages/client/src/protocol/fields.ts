/** Checks of single fields. Each throws a ProtocolError that names the field; none allocates where the field is right. */
import { LIMITS } from './limits.ts';
import { ProtocolError } from './protocol-error.ts';

export type Fields = Readonly<Record<string, unknown>>;

function wrong(what: string, wanted: string): never {
  throw new ProtocolError(`${what} is not ${wanted}`);
}

/** An unsigned integer below 2^53. */
export function uint(value: unknown, what: string): number {
  if (typeof value === 'number' && value >= 0 && Number.isSafeInteger(value)) return value;
  return wrong(what, 'an unsigned integer below 2^53');
}

/** A string of at most `maxLength` UTF-16 units. */
export function text(value: unknown, what: string, maxLength: number): string {
  if (typeof value !== 'string') return wrong(what, 'a string');
  if (value.length > maxLength) throw new ProtocolError(`${what} is longer than ${maxLength}`);
  return value;
}

export function bool(value: unknown, what: string): boolean {
  return typeof value === 'boolean' ? value : wrong(what, 'true or false');
}

export function list(value: unknown, what: string, maxLength: number): readonly unknown[] {
  if (!Array.isArray(value)) return wrong(what, 'a list');
  if (value.length > maxLength) throw new ProtocolError(`${what} has more than ${maxLength} elements`);
  return value as readonly unknown[];
}

/** A map. */
export function fields(value: unknown, what: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return wrong(what, 'a map');
  return value as Fields;
}

/** One of the strings in `choices`. */
export function choice<Choice extends string>(value: unknown, what: string, choices: readonly Choice[]): Choice {
  for (const candidate of choices) if (value === candidate) return candidate;
  return wrong(what, `one of ${choices.join(', ')}`);
}

/** A list of unsigned integers. */
export function uints(value: unknown, what: string, maxLength: number): readonly number[] {
  const items = list(value, what, maxLength);
  for (const item of items) uint(item, what);
  return items as readonly number[];
}

/** Strings by strings, within the bounds for metadata. */
export function metadata(value: unknown, what: string): Readonly<Record<string, string>> {
  const record = fields(value, what);
  const keys = Object.keys(record);
  if (keys.length > LIMITS.maxMetadataKeys)
    throw new ProtocolError(`${what} has more than ${LIMITS.maxMetadataKeys} keys`);
  let length = 0;
  for (const key of keys) length += key.length + text(record[key], `${what}.${key}`, LIMITS.maxMetadataLength).length;
  if (length > LIMITS.maxMetadataLength)
    throw new ProtocolError(`${what} is longer than ${LIMITS.maxMetadataLength} in all`);
  return record as Readonly<Record<string, string>>;
}

export function isAbsent(value: unknown): value is null | undefined {
  return value === null || value === undefined;
}
