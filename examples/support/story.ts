import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

/** An example tells its story, checks it, and says so in its last line. */
export function expectStory(main: URL): void {
  test('the story comes out as its own checks say', () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [fileURLToPath(main)], {
      encoding: 'utf8',
      timeout: 110_000,
    });
    expect(stdout + stderr).toContain('As promised.');
    expect(status).toBe(0);
  }, 120_000);
}
