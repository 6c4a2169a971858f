import type { ChildProcess } from 'node:child_process';

const children = new Set<ChildProcess>();
const cleanups = new Set<() => void>();
let isInstalled = false;

/**
 * Everything a run starts is ended with it, however it ends: killed at exit, on Ctrl-C, on SIGTERM and after an
 * uncaught error. A stopped (SIGSTOP) process dies of SIGKILL too.
 */
export function registerChild(child: ChildProcess): void {
  install();
  children.add(child);
  child.once('exit', () => children.delete(child));
}

/** Runs `cleanup`, which must be synchronous, at exit unless the returned function is called first. */
export function atExit(cleanup: () => void): () => void {
  install();
  cleanups.add(cleanup);
  return () => cleanups.delete(cleanup);
}

export function killAllChildren(): void {
  for (const child of children) child.kill('SIGKILL');
}

function install(): void {
  if (isInstalled) return;
  isInstalled = true;
  process.on('exit', () => {
    killAllChildren();
    for (const cleanup of cleanups) {
      try {
        cleanup();
      } catch {
        // Best effort: the next clean-up must still run.
      }
    }
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => process.exit(signal === 'SIGINT' ? 130 : 143));
  }
}
