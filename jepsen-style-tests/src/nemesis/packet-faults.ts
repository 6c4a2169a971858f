import { monotonicNs, sleep } from '../clock.ts';
import type { PacketDirection } from '../cluster/namespaces.ts';
import type { Random } from '../random.ts';
import { type Fault, type FaultContext, LEADER_WITHIN_MS, NOBODY_LEADS } from './fault.ts';

const packetLoss: Fault = {
  kind: 'packet-loss',
  track: 'server',
  what: "no packet passes to a node, from it, or either way: a partition in the kernel, that the node's TCP has to notice",
  unavailable: ({ packets }) => (typeof packets === 'string' ? packets : undefined),
  async run({ cluster, packets, ttlMs, signal }: FaultContext, random: Random) {
    const leader = await cluster.waitForLeader(LEADER_WITHIN_MS);
    if (leader === undefined || typeof packets === 'string') return NOBODY_LEADS;
    const target = random.chance(0.6) ? leader : random.pick(cluster.followers());
    const directions = random.pick<readonly PacketDirection[]>([['to', 'from'], ['to', 'from'], ['to'], ['from']]);
    const startNs = monotonicNs();
    for (const direction of directions) packets.drop(target, direction);
    // What was under way has arrived by then.
    await sleep(200, signal);
    const passedBefore = directions.map((direction) => packets.passed(target, direction));
    await sleep(ttlMs + random.between(0, 1000), signal);
    // A queue's own counter at our end counts as sent what it is given: there the drops are what tells.
    const dropped = directions.map((direction) => packets.dropped(target, direction));
    const leaked = directions.map((direction, at) => packets.passed(target, direction) - (passedBefore[at] ?? 0));
    const next = cluster.leader();
    packets.heal(target);
    const healed = await cluster.waitForLeader(LEADER_WITHIN_MS);
    const lengthMs = (monotonicNs() - startNs) / 1e6;
    return {
      target,
      worked: dropped.every((count) => count > 0) && leaked.every((count) => count === 0) && healed !== undefined,
      evidence:
        `${directions.map((direction, at) => `${dropped[at]} packets ${direction} ${target} dropped, ${leaked[at]} passed`).join('; ')} in ${lengthMs.toFixed(0)} ms` +
        (target === leader && next !== undefined && next.name !== leader
          ? `; ${next.name} took over from ${leader}`
          : ''),
    };
  },
};

export const PACKET_FAULTS: readonly Fault[] = [packetLoss];
