import { readFileSync } from 'node:fs';
import { ERROR_CODES, jsonCodec, parseClientMessage, parseServerMessage } from '@lockd/client/protocol';
import { describe, expect, test } from 'vitest';

const page = readFileSync(new URL('../../../../docs/protocol.md', import.meta.url), 'utf8');
const messages = readFileSync(new URL('../../src/protocol/messages.ts', import.meta.url), 'utf8');

describe('docs/protocol.md', () => {
  test('has one heading for every error code, and none for others', () => {
    const headings = [...page.matchAll(/^### (LOCKD_\w+)$/gm)].map((match) => match[1]);
    expect(headings).toHaveLength(ERROR_CODES.length);
    expect(new Set(headings)).toEqual(new Set(ERROR_CODES));
  });

  test('names every message of the protocol', () => {
    const names = [...messages.matchAll(/\| readonly \['([a-z-]+)'/g)].map((match) => match[1] as string);
    expect(names.length).toBeGreaterThan(30);
    for (const name of names) expect(page).toContain(`["${name}"`);
  });

  test('its worked example is what both sides accept', () => {
    const lines = [...page.matchAll(/^([→←]) (\[\[.*\]\])/gm)].map(
      (match) =>
        [
          match[1] as string,
          (match[2] as string)
            .replaceAll('[…]', '[]')
            .replaceAll('{…}', '{}')
            .replace('{…,"node"', '{"version":1,"clusterId":"c1","members":[],"index":95,"node"')
            .replace('"attaching":true,…}', '"attaching":true}'),
        ] as const,
    );
    expect(lines.length).toBeGreaterThan(12);
    for (const [direction, text] of lines) {
      for (const message of jsonCodec.decode(text)) {
        expect(direction === '→' ? parseClientMessage(message) : parseServerMessage(message)).toBeDefined();
      }
    }
  });
});
