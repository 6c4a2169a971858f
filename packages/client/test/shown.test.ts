import { type HolderInfo, LockdError } from '@lockd/client';
import { describe, expect, test } from 'vitest';
import { connected, outcome } from './support/setup.ts';

/** Not well-formed, and with the character that escapes. */
const ODD = 'a\ud800b\ufdd0';

describe('names and metadata with lone surrogates', () => {
  test('travel well-formed', async () => {
    const { world, cluster, client } = await connected();
    void outcome(client.acquire(ODD, { metadata: { [ODD]: ODD, plain: 'text' } }));
    await world.settle();
    const [, , , , name, , , options] = cluster.sent('acquire')[0] ?? [];
    expect(name).toBe('a\ufdd0d800b\ufdd0fdd0');
    expect(options?.metadata).toEqual({ [name as string]: name, plain: 'text' });
  });

  test('are shown by inspect, list and busy results as they were written', async () => {
    const { world, client } = await connected();
    const metadata = { [ODD]: ODD, plain: 'text' };
    void outcome(client.acquire(ODD, { metadata }));
    await world.settle();
    const inspecting = outcome(client.inspect(ODD));
    const listing = outcome(client.list());
    const trying = outcome(client.tryAcquire(ODD));
    const failing = outcome(client.acquire(ODD, { wait: 0 }));
    await world.settle();
    expect(inspecting.value).toMatchObject({ name: ODD, holders: [{ metadata }] });
    expect(listing.value).toMatchObject([{ name: ODD, holders: [{ metadata }] }]);
    expect(trying.value).toMatchObject({ ok: false, holder: { metadata } });
    expect(failing.error).toMatchObject({ code: 'LOCKD_BUSY', holder: { metadata } });
  });

  test('and so is the cycle of a deadlock', () => {
    const detail = { cycle: ['a\ufdd0d800', 'b'] };
    const error = new LockdError('LOCKD_DEADLOCK', 'x', { retryable: true, outcome: 'not-applied', detail });
    expect(error.cycle).toEqual(['a\ud800', 'b']);
  });

  test('what needs no change is not copied', () => {
    const holder: HolderInfo = { session: 1, handle: 1, token: 1, mode: 'exclusive', metadata: { host: 'höst' } };
    const error = new LockdError('LOCKD_BUSY', 'x', { retryable: true, outcome: 'not-applied', detail: { holder } });
    expect(error.holder?.metadata).toBe(holder.metadata);
  });
});
