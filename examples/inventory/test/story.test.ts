import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

test('the story of the last tickets comes out as its own checks say', () => {
  const main = fileURLToPath(new URL('../main.js', import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, [main], { encoding: 'utf8', timeout: 110_000 });
  expect(stdout + stderr).toContain('As promised.');
  expect(status).toBe(0);
}, 120_000);
