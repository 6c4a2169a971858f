import { describe, expect, test } from 'vitest';
import { configurationEntry } from '../../src/core/configuration-codec.ts';
import { runOf } from '../../src/core/entry-run.ts';
import { nodeId, term } from '../../src/core/ids.ts';
import { configurationOf } from '../../src/core/membership.ts';
import { addressEntry, Registry, registrationEntry } from '../../src/node/registry.ts';

const [n1, n2, n3] = ['n1', 'n2', 'n3'].map(nodeId) as [
  ReturnType<typeof nodeId>,
  ReturnType<typeof nodeId>,
  ReturnType<typeof nodeId>,
];
const given = (peer: string) => ({ peer, client: undefined, isGiven: true });
const said = (peer: string, client?: string) => ({ peer, client, isGiven: false });

/** A registry after these entries, and one restored from its preamble: both must say the same. */
async function registriesAfter(...entries: readonly Uint8Array[]): Promise<readonly Registry[]> {
  const registry = new Registry();
  registry.apply(runOf(1, term(1), entries));
  const preamble = registry.preamble();
  const restored = new Registry();
  const end = await restored.restore(async (offset, length) => preamble.subarray(offset, offset + length));
  expect(end).toBe(preamble.length);
  return [registry, restored];
}

describe('what the log says of the members', () => {
  test("an address that an operator gave stands above the member's own word, before and after", async () => {
    for (const registry of await registriesAfter(
      addressEntry(n1, said('a:1', 'ws://a:2')),
      addressEntry(n2, said('b:1')),
      addressEntry(n1, given('c:1')),
      addressEntry(n1, said('d:1', 'ws://d:2')),
      addressEntry(n2, said('e:1', 'ws://e:2')),
    )) {
      expect(registry.addressOf(n1)).toEqual({ peer: 'c:1', client: 'ws://a:2', isGiven: true });
      expect(registry.addressOf(n2)).toEqual({ peer: 'e:1', client: 'ws://e:2', isGiven: false });
    }
  });

  test('a name that leaves takes its directory and its address along, and may come back with others', async () => {
    const without = configurationEntry(configurationOf([n1, n2]));
    for (const registry of await registriesAfter(
      registrationEntry(n3, 'old'),
      addressEntry(n3, given('a:1')),
      without,
      configurationEntry(configurationOf([n1, n2], [n3])),
      registrationEntry(n3, 'new'),
    )) {
      expect(registry.instanceOf(n3)).toBe('new');
      expect(registry.addressOf(n3)).toBeUndefined();
      expect(registry.hasRemoved('old')).toBe(true);
      expect(registry.hasRemoved('new')).toBe(false);
      expect(registry.nameOf('new')).toBe(n3);
    }
  });

  test('a directory that is added again is no longer one that has left', async () => {
    for (const registry of await registriesAfter(
      registrationEntry(n3, 'same'),
      configurationEntry(configurationOf([n1, n2])),
      configurationEntry(configurationOf([n1, n2], [n3])),
      registrationEntry(n3, 'same'),
    ))
      expect(registry.hasRemoved('same')).toBe(false);
  });

  test('the first directory of a name stands', async () => {
    for (const registry of await registriesAfter(registrationEntry(n3, 'first'), registrationEntry(n3, 'second')))
      expect(registry.instanceOf(n3)).toBe('first');
  });

  test('of those that have left a thousand are remembered', async () => {
    const entries: Uint8Array[] = [];
    for (let count = 0; count < 1001; count++)
      entries.push(registrationEntry(n3, `d${count}`), configurationEntry(configurationOf([n1, n2])));
    for (const registry of await registriesAfter(...entries)) {
      expect(registry.hasRemoved('d0')).toBe(false);
      expect(registry.hasRemoved('d1')).toBe(true);
      expect(registry.hasRemoved('d1000')).toBe(true);
    }
  });
});
