import { expect, test } from 'vitest';
import type { EndReason } from '../src/protocol/index.ts';
import { endError, type RequestSpec } from '../src/request-spec.ts';

const spec: RequestSpec = {
  name: 'orders/1',
  wireNames: 'orders/1',
  waitMs: 1000,
  leaseMs: undefined,
  options: null,
  signal: undefined,
  isTry: false,
};

const ENDS_GRANTS: readonly EndReason[] = [
  'stolen',
  'forced',
  'revoked',
  'lease-expired',
  'max-hold',
  'session-ended',
  'cancelled',
  'unknown',
];

test.each(ENDS_GRANTS)('an acquire whose first news is its end (%s) may have held the lock, and says so', (reason) => {
  expect(endError(reason, spec).outcome).toBe('unknown');
});

test.each<EndReason>(['wait-timeout', 'deadlock'])('one that only ends a wait (%s) was never granted', (reason) => {
  expect(endError(reason, spec).outcome).toBe('not-applied');
});
