import { register } from 'node:module';
import { bugNamed, PLANTED_BUGS } from './bugs.ts';

/** Puts a bug into the modules that are loaded from now on, in this process only. False where there is no such bug. */
export function plant(name: string): boolean {
  const bug = bugNamed(name);
  if (bug === undefined) {
    const list = PLANTED_BUGS.map((known) => `  ${known.name.padEnd(34)} ${known.what}`).join('\n');
    process.stderr.write(`${name === 'list' ? '' : `there is no bug called ${name}; `}planted bugs:\n${list}\n`);
    process.exitCode = name === 'list' ? 0 : 2;
    return false;
  }
  register(new URL('./loader-worker.js', import.meta.url), { data: { bug } });
  return true;
}
