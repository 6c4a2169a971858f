import { monotonicNs, sleep, waitFor } from '../clock.ts';
import type { Random } from '../random.ts';
import { type Fault, type FaultContext, LEADER_WITHIN_MS, NOBODY_LEADS } from './fault.ts';

function sinceMs(startNs: number): string {
  return `${((monotonicNs() - startNs) / 1e6).toFixed(0)} ms`;
}

const killLeader: Fault = {
  kind: 'kill-leader',
  track: 'server',
  what: 'kill -9 of the leader, started again a moment later',
  async run({ cluster, signal }: FaultContext, random: Random) {
    await cluster.waitForLeader(LEADER_WITHIN_MS);
    const old = cluster.leader();
    if (old === undefined) return NOBODY_LEADS;
    const startNs = monotonicNs();
    await cluster.node(old.name).kill();
    const leader = await cluster.waitForLeader(LEADER_WITHIN_MS, old);
    const took = sinceMs(startNs);
    await sleep(random.between(100, 1200), signal);
    await cluster.node(old.name).start();
    return {
      target: old.name,
      worked: leader !== undefined && leader !== old.name,
      evidence:
        leader === undefined
          ? 'no new leader'
          : `${leader} led ${took} later (term ${old.term} to ${cluster.leader()?.term})`,
    };
  },
};

const killFollower: Fault = {
  kind: 'kill-follower',
  track: 'server',
  what: 'kill -9 of a follower, started again a moment later',
  async run({ cluster, signal }: FaultContext, random: Random) {
    await cluster.waitForLeader(LEADER_WITHIN_MS);
    const target = random.pick(cluster.followers());
    const pid = cluster.node(target).pid;
    await cluster.node(target).kill();
    const silent = await waitFor(() => (cluster.status(target) === undefined ? true : undefined), 3000);
    await sleep(random.between(200, 1800), signal);
    await cluster.node(target).start();
    return {
      target,
      worked: silent === true,
      evidence: `process ${pid} gone, ${target} started again as ${cluster.node(target).pid}`,
    };
  },
};

const killAll: Fault = {
  kind: 'kill-all',
  track: 'server',
  what: 'kill -9 of all nodes at the same moment',
  async run({ cluster, signal }: FaultContext, random: Random) {
    const old = cluster.leader();
    await Promise.all(cluster.names.map((name) => cluster.node(name).kill()));
    const allDead = cluster.names.every((name) => cluster.node(name).state === 'dead');
    await sleep(random.between(50, 800), signal);
    const startNs = monotonicNs();
    await Promise.all(cluster.names.map((name) => cluster.node(name).start()));
    const leader = await cluster.waitForLeader(LEADER_WITHIN_MS, old);
    return {
      target: 'all',
      worked: allDead && leader !== undefined,
      evidence:
        leader === undefined
          ? 'no leader afterwards'
          : `all dead; ${leader} led ${sinceMs(startNs)} after the start (term ${old?.term ?? '?'} to ${cluster.leader()?.term})`,
    };
  },
};

const rollingRestart: Fault = {
  kind: 'rolling-restart',
  track: 'server',
  what: 'SIGTERM and start of every node in turn',
  async run({ cluster, signal }: FaultContext, random: Random) {
    const stopped: string[] = [];
    for (const name of random.shuffle(cluster.names)) {
      if (signal.aborted) break;
      const startNs = monotonicNs();
      const byItself = await cluster.node(name).terminate();
      stopped.push(`${name} ${byItself ? `ended in ${sinceMs(startNs)}` : 'had to be killed'}`);
      await cluster.node(name).start();
      await cluster.waitForLeader(LEADER_WITHIN_MS);
      await sleep(random.between(50, 400), signal);
    }
    return {
      target: 'all',
      worked: stopped.length === cluster.names.length && stopped.every((text) => text.includes('ended in')),
      evidence: stopped.join(', '),
    };
  },
};

const pauseLeader: Fault = {
  kind: 'pause-leader',
  track: 'server',
  what: 'SIGSTOP of the leader for longer than the session TTL',
  async run({ cluster, ttlMs, signal }: FaultContext, random: Random) {
    await cluster.waitForLeader(LEADER_WITHIN_MS);
    const old = cluster.leader();
    if (old === undefined) return NOBODY_LEADS;
    const startNs = monotonicNs();
    const stopped = await cluster.node(old.name).pause();
    const leader = await cluster.waitForLeader(LEADER_WITHIN_MS, old);
    const took = sinceMs(startNs);
    const leftMs = ttlMs + random.between(200, 1200) - (monotonicNs() - startNs) / 1e6;
    if (leftMs > 0) await sleep(leftMs, signal);
    const pausedMs = (monotonicNs() - startNs) / 1e6;
    cluster.node(old.name).resume();
    return {
      target: old.name,
      worked: stopped && leader !== undefined && pausedMs > ttlMs,
      evidence:
        leader === undefined
          ? 'no new leader'
          : `stopped for ${pausedMs.toFixed(0)} ms (TTL ${ttlMs} ms); ${leader} led after ${took}`,
    };
  },
};

const stallLeader: Fault = {
  kind: 'stall-leader',
  track: 'server',
  what: 'SIGSTOP of the leader for a moment, several times: about the length of an election time-out',
  async run({ cluster, signal }: FaultContext, random: Random) {
    await cluster.waitForLeader(LEADER_WITHIN_MS);
    const target = cluster.leader()?.name;
    if (target === undefined) return NOBODY_LEADS;
    const lengths: number[] = [];
    let allStopped = true;
    for (let i = 0; i < 4 && !signal.aborted; i++) {
      const startNs = monotonicNs();
      allStopped = (await cluster.node(target).pause()) && allStopped;
      await sleep(random.between(150, 900), signal);
      cluster.node(target).resume();
      lengths.push(Math.round((monotonicNs() - startNs) / 1e6));
      await sleep(random.between(50, 400), signal);
    }
    return { target, worked: allStopped && lengths.length === 4, evidence: `stopped for ${lengths.join(', ')} ms` };
  },
};

const pauseFollower: Fault = {
  kind: 'pause-follower',
  track: 'server',
  what: 'SIGSTOP of a follower for longer than the session TTL',
  async run({ cluster, ttlMs, signal }: FaultContext, random: Random) {
    await cluster.waitForLeader(LEADER_WITHIN_MS);
    const target = random.pick(cluster.followers());
    const startNs = monotonicNs();
    const stopped = await cluster.node(target).pause();
    await sleep(ttlMs + random.between(100, 1000), signal);
    const pausedMs = (monotonicNs() - startNs) / 1e6;
    const silent = cluster.status(target) === undefined;
    cluster.node(target).resume();
    return {
      target,
      worked: stopped && silent && pausedMs > ttlMs,
      evidence: `stopped and silent for ${pausedMs.toFixed(0)} ms (TTL ${ttlMs} ms)`,
    };
  },
};

const pauseAll: Fault = {
  kind: 'pause-all',
  track: 'server',
  what: 'SIGSTOP of all nodes for longer than the session TTL',
  async run({ cluster, ttlMs, signal }: FaultContext, random: Random) {
    const startNs = monotonicNs();
    const stopped = await Promise.all(cluster.names.map((name) => cluster.node(name).pause()));
    await sleep(ttlMs + random.between(100, 800), signal);
    const pausedMs = (monotonicNs() - startNs) / 1e6;
    for (const name of random.shuffle(cluster.names)) {
      cluster.node(name).resume();
      await sleep(random.between(0, 60), signal);
    }
    const leader = await cluster.waitForLeader(LEADER_WITHIN_MS);
    return {
      target: 'all',
      worked: stopped.every(Boolean) && pausedMs > ttlMs && leader !== undefined,
      evidence: `all stopped for ${pausedMs.toFixed(0)} ms (TTL ${ttlMs} ms); then ${leader ?? 'nobody'} led`,
    };
  },
};

export const PROCESS_FAULTS: readonly Fault[] = [
  killLeader,
  killFollower,
  killAll,
  rollingRestart,
  pauseLeader,
  stallLeader,
  pauseFollower,
  pauseAll,
];
