import { existsSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** The library of the package libfaketime, as distributions install it. `undefined`: it is not there. */
export function fakeTimeLibrary(): string | undefined {
  const folders = ['/usr/lib64', '/usr/lib', '/usr/local/lib'];
  try {
    folders.push(...readdirSync('/usr/lib').map((name) => join('/usr/lib', name)));
  } catch {
    return undefined;
  }
  return folders.map((folder) => join(folder, 'faketime', 'libfaketime.so.1')).find((path) => existsSync(path));
}

/**
 * The wall clock of one process, which reads its offset from a file at every call. Its monotonic clock stays the machine's:
 * what depends on it must not notice.
 */
export class FakeClock {
  readonly environment: Readonly<Record<string, string>>;
  offsetMs = 0;
  readonly #file: string;

  constructor(library: string, file: string) {
    this.#file = file;
    this.environment = {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      NO_FAKE_STAT: '1',
    };
    this.jumpTo(0);
  }

  jumpTo(offsetMs: number): void {
    this.offsetMs = offsetMs;
    // Renamed into place: half an offset is never read.
    writeFileSync(`${this.#file}.new`, `${offsetMs < 0 ? '-' : '+'}${Math.abs(offsetMs) / 1000}\n`);
    renameSync(`${this.#file}.new`, this.#file);
  }
}
