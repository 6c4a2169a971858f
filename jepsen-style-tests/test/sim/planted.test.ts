import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { PLANTED_BUGS } from '../../src/sim/planted/bugs.ts';
import { applyEdits } from '../../src/sim/planted/edit.ts';
import { SEEDS_ON } from '../../src/sim/planted/table.ts';
import { simulate } from '../support/sim-cli.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));

describe('an edit', () => {
  const edit = { module: 'm', find: 'if (a) b;', replace: 'c;' };

  test('is made whatever the white space', () => {
    expect(applyEdits('x\nif (a)\n    b;\ny', [edit])).toBe('x\nc;\ny');
  });

  test('that fits nowhere or twice is refused: the code has moved on', () => {
    expect(() => applyEdits('x', [edit])).toThrow('fits 0 places');
    expect(() => applyEdits('if (a) b; if (a) b;', [edit])).toThrow('fits 2 places');
  });
});

describe('a bug planted in the shipped code', () => {
  test.concurrent.each(PLANTED_BUGS)(
    '$name is caught: $what',
    async ({ name, edits, shownBy: { seed } }) => {
      for (const module of new Set(edits.map((edit) => edit.module))) {
        const built = readFileSync(`${root}packages/${module}.js`, 'utf8');
        const own = edits.filter((edit) => edit.module === module);
        expect(applyEdits(built, own)).not.toBe(built);
      }
      const range = `${seed}..${seed + SEEDS_ON}`;
      const { code, output } = await simulate(
        '--planted',
        name,
        '--seeds',
        range,
        '--jobs',
        '1',
        '--shrink-seconds',
        '0',
      );
      expect(output).toMatch(/^FAIL /m);
      expect(output).toMatch(
        new RegExp(
          `^ {2}replay: npm run sim -- --seed \\d+ --world \\w+( --fault '[^']+')* --planted ${name} --trace`,
          'm',
        ),
      );
      expect(code).toBe(1);
    },
    120_000,
  );

  test('has a name of its own, and a row in docs/track-record.md with the command that shows it', () => {
    const rows = readFileSync(`${root}docs/track-record.md`, 'utf8')
      .split('\n')
      .filter((line) => line.includes('npm run sim -- --planted'))
      .map((line) => line.split('|').map((cell) => cell.trim()))
      .filter((cells) => cells.length === 6)
      .map(([, what, row, command]) => `${what} | ${row} | ${command}`);
    const expected = PLANTED_BUGS.map(
      ({ name, what, row }) => `${what} | ${row ?? ''} | \`npm run sim -- --planted ${name}\``,
    );
    expect(rows).toEqual(expected);
  });

  test('leaves other processes alone: the same seed without it is clean', async () => {
    const { code } = await simulate('--seed', '1');
    expect(code).toBe(0);
  }, 120_000);
});
