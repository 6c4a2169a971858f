import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { PLANTED_BUGS } from '../../src/sim/planted/bugs.ts';
import { applyEdits } from '../../src/sim/planted/edit.ts';
import { simulate } from '../support/sim-cli.ts';

const packages = fileURLToPath(new URL('../../../packages/', import.meta.url));

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
    async ({ name, edits, seed }) => {
      for (const module of new Set(edits.map((edit) => edit.module))) {
        const built = readFileSync(`${packages}${module}.js`, 'utf8');
        const own = edits.filter((edit) => edit.module === module);
        expect(applyEdits(built, own)).not.toBe(built);
      }
      // The code moves on, and with it what a seed does: one of the next ones shows it then.
      const range = `${seed}..${seed + 40}`;
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
        new RegExp(`^ {2}replay: npm run sim -- --seed \\d+ --world \\w+ --planted ${name} --trace`, 'm'),
      );
      expect(code).toBe(1);
    },
    120_000,
  );

  test('leaves other processes alone: the same seed without it is clean', async () => {
    const { code } = await simulate('--seed', '1');
    expect(code).toBe(0);
  }, 120_000);
});
