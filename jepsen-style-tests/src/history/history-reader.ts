import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import type { HistoryLine } from './history-line.ts';

/** A history that cannot be read: says the file, the line and what is wrong with it. */
export class HistoryFormatError extends Error {
  override readonly name = 'HistoryFormatError';
}

const OPS: ReadonlySet<unknown> = new Set(['acquire', 'release', 'read', 'expire', 'upgrade', 'downgrade']);
const RESULTS: ReadonlySet<unknown> = new Set(['ok', 'fail', 'unknown']);
const REASONS: ReadonlySet<unknown> = new Set([undefined, null, 'waiter', 'delay', 'break', 'minHold']);
const MODES: ReadonlySet<unknown> = new Set([undefined, null, 'exclusive', 'shared', 'permit']);

/** All lines of a file, in its order. Empty lines are skipped. Rejects with HistoryFormatError. */
export async function readHistory(path: string): Promise<HistoryLine[]> {
  const lines: HistoryLine[] = [];
  let number = 0;
  const input = createInterface({ input: createReadStream(path, 'utf8'), crlfDelay: Infinity });
  for await (const text of input) {
    number++;
    if (text.trim() === '') continue;
    lines.push(parseHistoryLine(text, `${path}:${number}`));
  }
  return lines;
}

/** One line. `where` begins the message of a HistoryFormatError. Fields it does not know are dropped. */
export function parseHistoryLine(text: string, where = 'history'): HistoryLine {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new HistoryFormatError(`${where}: not JSON (${(error as Error).message})`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new HistoryFormatError(`${where}: not an object`);
  }
  const fields = value as Record<string, unknown>;
  const complain = (what: string): never => {
    throw new HistoryFormatError(`${where}: ${what} in ${text.length > 200 ? `${text.slice(0, 200)}…` : text}`);
  };
  const text1 = (name: string): string => {
    const field = fields[name];
    return typeof field === 'string' && field !== '' ? field : complain(`"${name}" must be a non-empty string`);
  };
  const textOrNull = (name: string): string | null => {
    const field = fields[name] ?? null;
    return field === null || typeof field === 'string' ? field : complain(`"${name}" must be a string or null`);
  };
  const integerOrNull = (name: string): number | null => {
    const field = fields[name] ?? null;
    if (field === null) return null;
    return Number.isSafeInteger(field) && (field as number) >= 0
      ? (field as number)
      : complain(`"${name}" must be a whole number from 0 to 2^53 - 1, or null`);
  };
  const oneOf = <T>(name: string, allowed: ReadonlySet<unknown>): T => {
    const field = fields[name];
    return allowed.has(field) ? (field as T) : complain(`"${name}" must be one of ${[...allowed].join(', ')}`);
  };

  const op = oneOf<HistoryLine['op']>('op', OPS);
  const result = oneOf<HistoryLine['result']>('result', RESULTS);
  const call = integerOrNull('call') ?? complain('"call" must be a whole number');
  const returned = integerOrNull('return');
  const owner = textOrNull('owner');
  const token = integerOrNull('token');
  if (result === 'unknown' ? returned !== null : returned === null) {
    complain(`"return" must be ${result === 'unknown' ? 'null for "unknown"' : 'an instant'}`);
  }
  if (returned !== null && returned < call) complain('"return" must not be before "call"');
  if (op !== 'read' && owner === null) complain(`"owner" must be set for "${op}"`);
  if ((op === 'acquire' || op === 'upgrade') && result === 'ok' && token === null)
    complain('"token" must be set for a grant');
  if (op === 'expire' && result !== 'unknown') complain('"result" of an expire must be "unknown"');
  const because = oneOf<HistoryLine['because'] | null>('because', REASONS) ?? undefined;
  const mode = oneOf<HistoryLine['mode'] | null>('mode', MODES) ?? undefined;
  const limit = integerOrNull('limit') ?? undefined;
  if (op === 'acquire' && mode === 'permit' && limit === undefined) complain('"limit" must be set for a permit');
  const holders = fields['holders'];
  if (holders !== undefined && !(Array.isArray(holders) && holders.every((holder) => typeof holder === 'string'))) {
    complain('"holders" must be a list of strings');
  }

  const queued = integerOrNull('queued') ?? undefined;
  const until = integerOrNull('until') ?? undefined;
  const heard = integerOrNull('heard') ?? undefined;
  const lastHeld = integerOrNull('lastHeld') ?? undefined;
  const told = integerOrNull('told') ?? undefined;
  const lease = integerOrNull('lease') ?? undefined;
  const group = textOrNull('group') ?? undefined;
  const maxHold = integerOrNull('maxHold') ?? undefined;
  const minHold = integerOrNull('minHold') ?? undefined;
  const lockDelay = integerOrNull('lockDelay') ?? undefined;
  const thief = textOrNull('thief') ?? undefined;
  const latest = integerOrNull('latest') ?? undefined;
  return {
    client: text1('client'),
    op,
    key: text1('key'),
    owner,
    token,
    call,
    return: returned,
    result,
    holder: textOrNull('holder'),
    ...(because === undefined ? {} : { because }),
    ...(mode === undefined ? {} : { mode }),
    ...(limit === undefined ? {} : { limit }),
    ...(holders === undefined ? {} : { holders: holders as string[] }),
    ...(queued === undefined ? {} : { queued }),
    ...(until === undefined ? {} : { until }),
    ...(heard === undefined ? {} : { heard }),
    ...(fields['disconnected'] === true ? { disconnected: true } : {}),
    ...(lease === undefined ? {} : { lease }),
    ...(group === undefined ? {} : { group }),
    ...(fields['steal'] === true ? { steal: true } : {}),
    ...(maxHold === undefined ? {} : { maxHold }),
    ...(minHold === undefined ? {} : { minHold }),
    ...(lockDelay === undefined ? {} : { lockDelay }),
    ...(thief === undefined ? {} : { thief }),
    ...(latest === undefined ? {} : { latest }),
    ...(lastHeld === undefined ? {} : { lastHeld }),
    ...(told === undefined ? {} : { told }),
    ...(fields['stalled'] === true ? { stalled: true } : {}),
  };
}
