import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { HistoryLine } from '../src/history/history-line.ts';
import { parseHistoryLine, readHistory } from '../src/history/history-reader.ts';
import { HistoryWriter } from '../src/history/history-writer.ts';

const directory = mkdtempSync(join(tmpdir(), 'lockd-history-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const line: HistoryLine = {
  client: 'c1',
  op: 'acquire',
  key: 'k',
  owner: 'c1/1',
  token: 41,
  call: 10,
  return: 20,
  result: 'ok',
  holder: null,
};

describe('a history file', () => {
  test('gives back what was written, in order, also when it is larger than the buffer', async () => {
    const path = join(directory, 'history-long.jsonl');
    const writer = new HistoryWriter(path, { maxBufferedBytes: 100_000 });
    for (let token = 1; token <= 5000; token++) await writer.write({ ...line, token, queued: 15, mode: 'shared' });
    await writer.close();
    const lines = await readHistory(path);
    expect(lines).toHaveLength(5000);
    expect(lines[4999]).toEqual({ ...line, token: 5000, queued: 15, mode: 'shared' });
    expect(Object.keys(JSON.parse(readFileSync(path, 'utf8').split('\n')[0] as string)).slice(0, 9)).toEqual([
      'client',
      'op',
      'key',
      'owner',
      'token',
      'call',
      'return',
      'result',
      'holder',
    ]);
  });

  test('that cannot be read says where and why', async () => {
    const path = join(directory, 'history-bad.jsonl');
    writeFileSync(path, `${JSON.stringify(line)}\n\n${JSON.stringify({ ...line, result: 'maybe' })}\n`);
    await expect(readHistory(path)).rejects.toThrow(/history-bad\.jsonl:3: "result" must be one of ok, fail, unknown/);
  });
});

describe('a line is refused', () => {
  const cases: readonly (readonly [string, object | string, RegExp])[] = [
    ['that is not JSON', '{', /not JSON/],
    ['without a client', { ...line, client: '' }, /"client" must be a non-empty string/],
    ['with a fraction for an instant', { ...line, call: 1.5 }, /"call" must be a whole number/],
    ['that returns before it is called', { ...line, return: 5 }, /"return" must not be before "call"/],
    ['whose unknown outcome has a return', { ...line, result: 'unknown' }, /"return" must be null/],
    ['that was answered at no time', { ...line, return: null }, /"return" must be an instant/],
    ['that grants without a token', { ...line, token: null }, /"token" must be set/],
    ['with an unknown operation', { ...line, op: 'steal' }, /"op" must be one of/],
    ['whose grant ends for certain by itself', { ...line, op: 'expire', token: null }, /"result" of an expire/],
    [
      'with a reason nobody knows',
      { ...line, result: 'fail', token: null, because: 'mood' },
      /"because" must be one of/,
    ],
  ];
  for (const [name, value, message] of cases) {
    test(`one ${name}`, () => {
      expect(() => parseHistoryLine(typeof value === 'string' ? value : JSON.stringify(value), 'h:1')).toThrow(message);
    });
  }
});
