import { monotonicNs, sleep } from '../clock.ts';
import type { Cluster } from '../cluster/cluster.ts';
import type { Random } from '../random.ts';
import { type Fault, type FaultContext, type FaultOutcome, LEADER_WITHIN_MS, NOBODY_LEADS } from './fault.ts';

type Pair = readonly [from: string, to: string];

/** Bytes withheld and connections ended on these links since the returned function was made. */
function meter(
  cluster: Cluster,
  pairs: readonly Pair[],
): () => { readonly withheldBytes: number; readonly resets: number } {
  const total = (): { withheldBytes: number; resets: number } => {
    const sum = { withheldBytes: 0, resets: 0 };
    for (const [from, to] of pairs) {
      const counters = cluster.network.counters(from, to);
      sum.withheldBytes += counters.withheldBytes;
      sum.resets += counters.resets;
    }
    return sum;
  };
  const before = total();
  return () => {
    const now = total();
    return { withheldBytes: now.withheldBytes - before.withheldBytes, resets: now.resets - before.resets };
  };
}

function commits(cluster: Cluster, names: readonly string[]): number[] {
  return names.map((name) => cluster.status(name)?.commitIndex ?? -1);
}

/**
 * Cuts directed links, waits, and tells what that did. `cutOff`: nodes that see no majority, whose commit index must
 * stand still meanwhile, because acknowledgements do not reach them.
 */
async function partition(
  { cluster, signal }: FaultContext,
  random: Random,
  pairs: readonly Pair[],
  options: {
    readonly target: string;
    readonly forMs: number;
    readonly cutOff: readonly string[];
    readonly oneWay?: boolean;
  },
): Promise<FaultOutcome> {
  // A one-way link cannot be reset: TCP would tell the other side too.
  const mode = options.oneWay !== true && random.chance(0.4) ? 'reset' : 'silence';
  const measure = meter(cluster, pairs);
  const old = cluster.leader();
  const startNs = monotonicNs();
  for (const [from, to] of pairs) cluster.network.set(from, to, { mode });
  // Entries that were under way may still commit: what counts is the rest of the time.
  await sleep(Math.min(700, options.forMs / 3), signal);
  const before = commits(cluster, options.cutOff);
  const majority = cluster.names.filter((name) => !options.cutOff.includes(name));
  const majorityBefore = Math.max(...commits(cluster, majority));
  await sleep(options.forMs - (monotonicNs() - startNs) / 1e6, signal);
  const after = commits(cluster, options.cutOff);
  const majorityAfter = Math.max(...commits(cluster, majority));
  const leader = cluster.leader();
  cluster.network.heal({ reset: random.chance(0.5), links: pairs });
  const { withheldBytes, resets } = measure();
  const stoodStill = options.cutOff.every((_, index) => before[index] === after[index]);
  const healed = await cluster.waitForLeader(LEADER_WITHIN_MS);
  return {
    target: options.target,
    worked: (withheldBytes > 0 || resets > 0) && stoodStill && healed !== undefined,
    evidence:
      `${mode} for ${options.forMs} ms: ${withheldBytes} bytes withheld, ${resets} connections reset` +
      (options.cutOff.length > 0
        ? `; commit index of ${options.cutOff.join(', ')} ${stoodStill ? 'stood still' : 'MOVED'}, of the others ${majorityAfter - majorityBefore} further`
        : '') +
      (old !== undefined && leader !== undefined && leader.name !== old.name
        ? `; ${leader.name} took over from ${old.name}`
        : ''),
  };
}

function between(a: readonly string[], b: readonly string[]): Pair[] {
  return a.flatMap((from) =>
    b.flatMap((to): Pair[] => [
      [from, to],
      [to, from],
    ]),
  );
}

const isolateLeader: Fault = {
  kind: 'isolate-leader',
  track: 'server',
  what: 'the leader is cut off from all peers, and sometimes from all clients',
  async run(context: FaultContext, random: Random) {
    const { cluster, ttlMs } = context;
    const leader = await cluster.waitForLeader(LEADER_WITHIN_MS);
    if (leader === undefined) return NOBODY_LEADS;
    const others = cluster.names.filter((name) => name !== leader);
    const alsoClients = random.chance(0.3) ? context.victims().map(({ name }) => name) : [];
    return partition(context, random, between([leader], [...others, ...alsoClients]), {
      target: leader,
      forMs: ttlMs + random.between(200, 1200),
      cutOff: [leader],
    });
  },
};

const minority: Fault = {
  kind: 'partition-minority',
  track: 'server',
  what: 'as many followers as a minority has are cut off',
  async run(context: FaultContext, random: Random) {
    const { cluster } = context;
    await cluster.waitForLeader(LEADER_WITHIN_MS);
    const size = Math.floor((cluster.names.length - 1) / 2);
    const cutOff = random.shuffle(cluster.followers()).slice(0, size);
    const rest = cluster.names.filter((name) => !cutOff.includes(name));
    return partition(context, random, between(cutOff, rest), {
      target: cutOff.join(', '),
      forMs: random.between(2000, 3500),
      cutOff,
    });
  },
};

const halves: Fault = {
  kind: 'partition-halves',
  track: 'server',
  what: 'the nodes fall into two random parts, clients into the same',
  async run(context: FaultContext, random: Random) {
    const { cluster } = context;
    const names = random.shuffle(cluster.names);
    const small = names.slice(0, Math.floor(names.length / 2));
    const large = names.slice(small.length);
    const clients = random.shuffle(context.victims().map(({ name }) => name));
    const smallClients = clients.slice(0, Math.floor(clients.length / 2));
    const largeClients = clients.slice(smallClients.length);
    const pairs = [...between(small, [...large, ...largeClients]), ...between(large, smallClients)];
    return partition(context, random, pairs, {
      target: `${small.join(', ')} | ${large.join(', ')}`,
      forMs: random.between(2000, 3500),
      cutOff: small,
    });
  },
};

const oneWay: Fault = {
  kind: 'one-way',
  track: 'server',
  what: 'the leader hears nobody, or nobody hears the leader',
  async run(context: FaultContext, random: Random) {
    const { cluster } = context;
    const leader = await cluster.waitForLeader(LEADER_WITHIN_MS);
    if (leader === undefined) return NOBODY_LEADS;
    const isDeaf = random.chance(0.5);
    const pairs = cluster.names
      .filter((name) => name !== leader)
      .map((name): Pair => (isDeaf ? [name, leader] : [leader, name]));
    const outcome = await partition(context, random, pairs, {
      target: leader,
      forMs: random.between(1800, 3200),
      // A leader nobody hears still hears; what it was acknowledged before may still commit, but nothing new.
      cutOff: [leader],
      oneWay: true,
    });
    return { ...outcome, evidence: `${leader} ${isDeaf ? 'hears nobody' : 'is heard by nobody'}; ${outcome.evidence}` };
  },
};

const bridge: Fault = {
  kind: 'bridge',
  track: 'server',
  what: 'two parts that see each other only through one node in the middle',
  async run(context: FaultContext, random: Random) {
    const names = random.shuffle(context.cluster.names);
    const [middle, ...rest] = names as [string, ...string[]];
    const left = rest.slice(0, Math.floor(rest.length / 2));
    const right = rest.slice(left.length);
    return partition(context, random, between(left, right), {
      target: `${left.join(', ')} - ${middle} - ${right.join(', ')}`,
      forMs: random.between(2000, 3500),
      cutOff: [],
    });
  },
};

const ring: Fault = {
  kind: 'ring',
  track: 'server',
  what: 'each node sees its two neighbours only',
  unavailable: ({ cluster }) =>
    cluster.names.length < 5
      ? 'a ring of fewer than five nodes cuts nobody off from a majority in another way than the other partitions do'
      : undefined,
  async run(context: FaultContext, random: Random) {
    const names = random.shuffle(context.cluster.names);
    const pairs: Pair[] = [];
    for (let i = 0; i < names.length; i++) {
      for (let j = i + 1; j < names.length; j++) {
        if (j - i === 1 || j - i === names.length - 1) continue;
        pairs.push(...between([names[i] as string], [names[j] as string]));
      }
    }
    return partition(context, random, pairs, {
      target: names.join(' - '),
      forMs: random.between(2000, 3500),
      cutOff: [],
    });
  },
};

const slowLinks: Fault = {
  kind: 'slow-links',
  track: 'server',
  what: 'every byte between nodes is late by tens to hundreds of milliseconds',
  async run({ cluster, signal }: FaultContext, random: Random) {
    const delayMs = random.between(20, 150);
    const jitterMs = random.between(0, 200);
    const pairs = cluster.peerLinks;
    const passed = (): number =>
      pairs.reduce((sum, [from, to]) => sum + cluster.network.counters(from, to).passedBytes, 0);
    const before = passed();
    for (const [from, to] of pairs) cluster.network.set(from, to, { delayMs, jitterMs });
    await sleep(random.between(1500, 2500), signal);
    const bytes = passed() - before;
    cluster.network.heal({ links: pairs });
    return {
      target: 'all',
      worked: bytes > 0,
      evidence: `${bytes} bytes were ${delayMs} to ${delayMs + jitterMs} ms late`,
    };
  },
};

const halfOpen: Fault = {
  kind: 'half-open',
  track: 'server',
  what: 'connections of the leader end for one side and stay open, silent, for the other',
  async run({ cluster, signal }: FaultContext, random: Random) {
    const leader = await cluster.waitForLeader(LEADER_WITHIN_MS);
    if (leader === undefined) return NOBODY_LEADS;
    let connections = 0;
    for (const name of cluster.names) {
      if (name !== leader)
        connections += random.chance(0.5)
          ? cluster.network.halfOpen(leader, name)
          : cluster.network.halfOpen(name, leader);
    }
    await sleep(random.between(1200, 2200), signal);
    cluster.network.heal({ links: cluster.peerLinks });
    return { target: leader, worked: connections > 0, evidence: `${connections} connections left half open` };
  },
};

const midFrame: Fault = {
  kind: 'mid-frame-cut',
  track: 'server',
  what: 'connections of the leader, and of clients to it, are cut within a frame',
  async run(context: FaultContext, random: Random) {
    const { cluster, signal } = context;
    const leader = await cluster.waitForLeader(LEADER_WITHIN_MS);
    if (leader === undefined) return NOBODY_LEADS;
    const ends = [...cluster.names.filter((name) => name !== leader), ...context.victims().map(({ name }) => name)];
    const measure = meter(cluster, between([leader], ends));
    let connections = 0;
    for (const end of ends) {
      connections += random.chance(0.5)
        ? cluster.network.cutWithinFrame(leader, end, random.between(1, 40))
        : cluster.network.cutWithinFrame(end, leader, random.between(1, 40));
    }
    await sleep(random.between(800, 1500), signal);
    const { resets } = measure();
    return {
      target: leader,
      worked: resets > 0,
      evidence: `${connections} connections marked, ${resets} cut within a frame`,
    };
  },
};

const cutAcks: Fault = {
  kind: 'cut-acks',
  track: 'client',
  what: "a client's requests arrive and the answers do not; then the connection is reset, so that it has to repeat them",
  async run(context: FaultContext, random: Random) {
    const { cluster, signal } = context;
    const victim = random.pick(context.victims());
    const pairs = cluster.everyone.map((name): Pair => [name, victim.name]);
    const measure = meter(cluster, pairs);
    for (const [from, to] of pairs) cluster.network.set(from, to, { mode: 'silence' });
    await sleep(random.between(500, 1200), signal);
    for (const [from, to] of pairs) {
      cluster.network.cut(from, to);
      cluster.network.set(from, to, { mode: 'open' });
    }
    const { withheldBytes } = measure();
    return {
      target: victim.name,
      worked: withheldBytes > 0,
      evidence: `${withheldBytes} bytes of answers never arrived`,
    };
  },
};

const isolateClient: Fault = {
  kind: 'isolate-client',
  track: 'client',
  what: 'a client is cut off from all nodes for longer than its session TTL',
  async run(context: FaultContext, random: Random) {
    const { cluster, ttlMs, signal } = context;
    const victim = random.pick(context.victims());
    const pairs = between([victim.name], cluster.everyone);
    const measure = meter(cluster, pairs);
    const forMs = ttlMs + random.between(300, 1500);
    const mode = random.chance(0.3) ? 'reset' : 'silence';
    for (const [from, to] of pairs) cluster.network.set(from, to, { mode });
    await sleep(forMs, signal);
    for (const [from, to] of pairs) cluster.network.set(from, to, { mode: 'open' });
    const { withheldBytes, resets } = measure();
    return {
      target: victim.name,
      worked: withheldBytes > 0 || resets > 0,
      evidence: `${mode} for ${forMs} ms (TTL ${ttlMs} ms): ${withheldBytes} bytes withheld, ${resets} connections reset`,
    };
  },
};

export const NETWORK_FAULTS: readonly Fault[] = [
  isolateLeader,
  minority,
  halves,
  oneWay,
  bridge,
  ring,
  slowLinks,
  halfOpen,
  midFrame,
  cutAcks,
  isolateClient,
];
