import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { monotonicNs, sleep, waitFor, within } from '../clock.ts';
import { atExit, registerChild } from '../cluster/child-registry.ts';
import type { Random } from '../random.ts';
import { type Fault, type FaultContext, LEADER_WITHIN_MS, NOBODY_LEADS } from './fault.ts';

const SYNC_CALLS = 'fsync,fdatasync';

let straceWorks: boolean | undefined;

/** Whether strace is there and may attach to a process of ours. */
function straceProblem(): string | undefined {
  straceWorks ??= ((): boolean => {
    const probe = spawnSync('strace', ['-f', '-qq', '-e', 'trace=none', 'true'], { stdio: 'ignore', timeout: 5000 });
    return probe.status === 0;
  })();
  return straceWorks ? undefined : 'strace is not installed, or may not trace here';
}

interface Injection {
  /** Ends the injection; resolves to how many calls it changed. */
  stop(): Promise<number>;
  count(): number;
}

async function inject(pid: number, how: string, logFile: string): Promise<Injection> {
  const strace = spawn(
    'strace',
    ['-f', '-qq', '-p', `${pid}`, '-o', logFile, '-e', `trace=${SYNC_CALLS}`, '-e', `inject=${SYNC_CALLS}:${how}`],
    { stdio: 'ignore' },
  );
  registerChild(strace);
  const ended = new Promise<void>((resolve) => strace.once('exit', () => resolve()));
  strace.once('error', () => {});
  // Attached once the kernel names a tracer.
  await waitFor(
    () => {
      try {
        return /^TracerPid:\s+[1-9]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8')) ? true : undefined;
      } catch {
        return true;
      }
    },
    2000,
    10,
  );
  const count = (): number =>
    existsSync(logFile) ? (readFileSync(logFile, 'utf8').match(/\((?:DELAYED|INJECTED)\)/g)?.length ?? 0) : 0;
  return {
    count,
    async stop() {
      strace.kill('SIGINT');
      if (
        (await within(
          ended.then(() => true),
          3000,
        )) !== true
      )
        strace.kill('SIGKILL');
      await ended;
      return count();
    },
  };
}

const diskStall: Fault = {
  kind: 'disk-stall',
  track: 'server',
  what: "the leader's fsync takes seconds while its process runs on",
  unavailable: straceProblem,
  async run({ cluster, signal }: FaultContext, random: Random) {
    const leader = await cluster.waitForLeader(LEADER_WITHIN_MS);
    const old = cluster.leader();
    const pid = leader === undefined ? undefined : cluster.node(leader).pid;
    if (leader === undefined || pid === undefined || old === undefined) return NOBODY_LEADS;
    const startNs = monotonicNs();
    const stallMs = random.between(900, 2500);
    const logFile = join(cluster.node(leader).spec.logFile, '..', `${leader}.strace`);
    const injection = await inject(pid, `delay_enter=${stallMs * 1000}`, logFile);
    const next = await cluster.waitForLeader(4000, old);
    const took = ((monotonicNs() - startNs) / 1e6).toFixed(0);
    await sleep(random.between(200, 800), signal);
    const calls = await injection.stop();
    return {
      target: leader,
      worked: calls > 0 || next !== undefined,
      evidence: `${calls} syncs took ${stallMs} ms more; ${next === undefined ? `${leader} went on leading` : `${next} led after ${took} ms`}`,
    };
  },
};

const diskError: Fault = {
  kind: 'disk-error',
  track: 'server',
  what: 'fsync of a node fails with EIO: it must stop, and recover when it is started again',
  unavailable: straceProblem,
  async run({ cluster }: FaultContext, random: Random) {
    await cluster.waitForLeader(LEADER_WITHIN_MS);
    const leader = cluster.leader()?.name;
    const target = leader !== undefined && random.chance(0.5) ? leader : random.pick(cluster.followers());
    const node = cluster.node(target);
    if (node.pid === undefined) return { target, worked: false, evidence: `${target} was not running` };
    node.expectEnd();
    const injection = await inject(node.pid, 'error=EIO', join(node.spec.logFile, '..', `${target}.strace`));
    const ended = await node.ended(4000);
    const role = cluster.status(target)?.role;
    const calls = await injection.stop();
    if (!ended) await node.kill();
    await node.start();
    const left = ended ? 'it stopped itself' : `it went on as ${role ?? 'silent'}`;
    return { target, worked: calls > 0 && ended, evidence: `${calls} syncs failed with EIO; ${left}; started again` };
  },
};

const diskFull: Fault = {
  kind: 'disk-full',
  track: 'server',
  what: "a node's volume has no room left; then it has again",
  unavailable: ({ smallVolume }) =>
    smallVolume === undefined ? 'no small volume: mounting a tmpfs needs root' : undefined,
  async run({ cluster, smallVolume, signal }: FaultContext, random: Random) {
    const { node: target, directory } = smallVolume as NonNullable<typeof smallVolume>;
    const ballast = join(directory, 'ballast');
    cluster.node(target).expectEnd();
    fill(directory, ballast);
    const noticed = await waitFor(() => {
      const status = cluster.status(target);
      return status === undefined ? 'silent' : status.role === 'disk-full' ? 'disk-full' : undefined;
    }, 8000);
    await sleep(random.between(200, 1000), signal);
    const freeBytes = statfsSync(directory).bavail * statfsSync(directory).bsize;
    rmSync(ballast, { force: true });
    const restarted = cluster.node(target).state === 'dead';
    if (restarted) await cluster.node(target).start();
    const back = await waitFor(
      () => (['leader', 'follower'].includes(cluster.status(target)?.role ?? '') ? true : undefined),
      15_000,
    );
    return {
      target,
      worked: freeBytes < 64 * 1024 && back === true,
      evidence: `${freeBytes} bytes left; the node ${noticed === undefined ? 'needed no room' : `became ${noticed}`}${restarted ? ', was started again' : ''} and ${back === true ? 'is back' : 'did NOT come back'}`,
    };
  },
};

/** Writes until nothing more fits. */
function fill(directory: string, ballast: string): void {
  for (let size = 1 << 24; size >= 4096; size >>= 1) {
    for (;;) {
      const stat = statfsSync(directory);
      if (stat.bavail * stat.bsize < size) break;
      try {
        writeFileSync(ballast, Buffer.alloc(size), { flag: 'a' });
      } catch {
        break;
      }
    }
  }
}

/** A tmpfs of a size, unmounted at exit. `undefined` where that is not allowed. */
export function mountSmallVolume(directory: string, megabytes: number): { unmount(): void } | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return undefined;
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', directory], {
    stdio: 'ignore',
  });
  if (mounted.status !== 0) return undefined;
  const unmount = (): void => void spawnSync('umount', ['-l', directory], { stdio: 'ignore' });
  const forget = atExit(unmount);
  return {
    unmount() {
      forget();
      unmount();
    },
  };
}

export const DISK_FAULTS: readonly Fault[] = [diskStall, diskError, diskFull];
