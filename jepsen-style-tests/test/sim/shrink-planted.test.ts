import { describe, expect, test } from 'vitest';
import { simulate } from '../support/sim-cli.ts';

/** Bugs that show in the seed only after faults, so that there is something to leave out. */
const BUGS = [
  ['commit-beyond-verified', 1],
  ['earlier-term-counted', 1],
  ['conflict-keeps-tail', 3],
  ['late-append-truncates', 1],
] as const;
/** The code moves on, and with it what a seed does: one of the next ones shows the bug then. */
const SEEDS = 40;
/** A bound on the search for machines under load; it ends before, when nothing more can go. */
const SECONDS = '60';

describe('a failing run of a planted bug', () => {
  test.concurrent.each(BUGS)(
    '%s is shrunk to a third of its faults at most, breaks the same promise, and the line replays it',
    async (bug, seed) => {
      const range = `${seed}..${seed + SEEDS}`;
      const { output } = await simulate('--planted', bug, '--seeds', range, '--jobs', '1', '--shrink-seconds', SECONDS);
      const [whole, shrunk] = [
        ...output.matchAll(/^FAIL ([^:]+): .*\n.*\n {2}replay: npm run sim -- ([^#]*) {6}# (.*)$/gm),
      ];
      const sizes = /^shrunk: faults (\d+) -> (\d+), /m.exec(output);
      process.stdout.write(`${bug}: ${sizes?.input.match(/^shrunk: .*$/m)?.[0]}\n`);
      const [, before, after] = sizes?.map(Number) ?? [];
      expect(shrunk?.[1]).toBe(whole?.[1]);
      // Of very few faults more than a third may be needed.
      expect(after).toBeLessThanOrEqual(Math.max(2, (before ?? 0) / 3));

      const again = await simulate(...(shrunk?.[2] ?? '').trim().split(' '));
      expect(again.code).toBe(1);
      expect(again.output).toContain(`FAIL ${/^FAIL (.*)$/gm.exec(output.slice(shrunk?.index))?.[1]}\n`);
      expect(again.output).toContain(`\n${shrunk?.[3]} `);
    },
    300_000,
  );
});
