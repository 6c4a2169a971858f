import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { type MicroCase, runMicro } from '../src/micro/harness.ts';
import { microCases } from '../src/scenarios/micro.ts';

const directory = mkdtempSync(join(tmpdir(), 'lockd-bench-micro-'));
afterAll(() => rmSync(directory, { recursive: true, force: true, maxRetries: 5 }));

// For the harness and the cases to stay right, not for their speed: nothing here looks at a clock.
describe('each micro-benchmark', () => {
  test.each(microCases(directory).map((each) => [each.name, each] as const))('%s', async (_, each) => {
    const [result] = await runMicro([each], { operations: 70, samples: 2 });
    expect(result?.operations).toBeGreaterThanOrEqual(2);
    expect(result?.nanosMedian).toBeGreaterThan(0);
  });
});

describe('the harness', () => {
  test('lets samples take turns, after one run that is not measured', async () => {
    const order: string[] = [];
    const named = (name: string): MicroCase => ({
      name,
      prepare: () => ({
        run(operations) {
          order.push(name);
          return operations;
        },
        close: () => void order.push(`${name} closed`),
      }),
    });
    const results = await runMicro([named('a'), named('b')], { operations: 10, samples: 2 });
    expect(order).toEqual(['a', 'b', 'a', 'b', 'a', 'b', 'a closed', 'b closed']);
    expect(results.map(({ name, operations }) => [name, operations])).toEqual([
      ['a', 20],
      ['b', 20],
    ]);
  });

  test('closes what it prepared when a case fails', async () => {
    let closed = false;
    const failing: MicroCase = {
      name: 'failing',
      prepare: () => ({
        run: () => Promise.reject(new Error('wrong')),
        close: () => {
          closed = true;
        },
      }),
    };
    await expect(runMicro([failing], { operations: 1, samples: 1 })).rejects.toThrow('wrong');
    expect(closed).toBe(true);
  });
});
