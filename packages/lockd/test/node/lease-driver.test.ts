import type { RaftStatus } from '@lockd/raft';
import { expect, test } from 'vitest';
import { LeaseManager } from '../../src/leases/lease-manager.ts';
import { OP } from '../../src/lock-table/command.ts';
import { LockTable } from '../../src/lock-table/lock-table.ts';
import { SILENT_SINK } from '../../src/lock-table/state.ts';
import { LeaseDriver } from '../../src/node/lease-driver.ts';
import { FakeClock } from '../support/fake-clock.ts';

test('every stall of a leader puts its deadlines off, also one that another follows before anything is due', () => {
  const clock = new FakeClock();
  const table = new LockTable();
  const leases = new LeaseManager();
  table.apply([OP.open, 'n', 15_000, 0, 0, []], 1, 1, SILENT_SINK);
  let lastStall: { lengthMs: number; endedAtMs: number } | undefined;
  const driver = new LeaseDriver({
    clock,
    leases,
    table,
    propose: () => ({ type: 'refused', reason: 'not-leader', leader: undefined }),
    lastStall: () => lastStall,
  });
  driver.onStatus({ role: 'leader', isReady: true, term: 1 } as RaftStatus);
  for (const lengthMs of [6000, 5000]) {
    clock.advance(lengthMs);
    lastStall = { lengthMs, endedAtMs: clock.nowMs() };
    driver.arm();
  }
  expect(leases.nextDeadlineMs()).toBe(15_000 + 6000 + 5000);
  driver.stop();
});
