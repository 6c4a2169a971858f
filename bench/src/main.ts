#!/usr/bin/env node
import { Command, InvalidArgumentError, Option } from 'commander';
import { names, positiveNumber, wholeNumber, wholeNumbers } from './cli-options.ts';
import { type CompareOptions, compare } from './compare.ts';
import { type CommonOptions, runReport } from './run-report.ts';
import type { Timing } from './scenarios/context.ts';
import { type MicroScenarioOptions, runMicroScenario } from './scenarios/micro.ts';
import { runStability, type StabilityOptions } from './scenarios/stability.ts';
import { runW4 } from './scenarios/w4-held-locks.ts';
import { runW5 } from './scenarios/w5-sessions.ts';
import { DIMENSIONS, type Dimension, runW6 } from './scenarios/w6-growth.ts';
import { runW7 } from './scenarios/w7-nodes.ts';
import { etcdSystem } from './systems/etcd-system.ts';
import { lockdSystem } from './systems/lockd-system.ts';
import { memorySystem } from './systems/memory-system.ts';
import { redisSystem, redlockSystem } from './systems/redis-system.ts';
import type { LockSystem } from './systems/system.ts';
import { zookeeperSystem } from './systems/zookeeper-system.ts';

const PEERS: readonly LockSystem[] = [etcdSystem, zookeeperSystem, redlockSystem, redisSystem];

interface LoadOptions extends CommonOptions {
  readonly repeats: number;
  readonly seconds: number;
  readonly warmUp: number;
  readonly workers: readonly number[];
  readonly connections: number;
  readonly nodes: number;
  readonly rate?: number;
  readonly compare?: boolean;
  readonly systems?: readonly string[];
  readonly kills: number;
  readonly waiters: number;
  readonly nodeOptions?: string;
  readonly loadNodeOptions?: string;
}

/** Options that belong to every command. */
function withCommon(command: Command): Command {
  return command
    .addOption(
      new Option('-o, --output <format>', 'what is printed on stdout').choices(['text', 'json']).default('text'),
    )
    .option('--save <name>', 'also write bench/results/<name>.md, .json and .svg')
    .option(
      '--data-dir <dir>',
      'where the servers’ data goes: on the disk you want measured (default: the system’s temporary directory)',
    )
    .option('--keep', 'leave data and logs behind to look at');
}

interface TimingOptions {
  readonly repeats: number;
  readonly seconds: number;
  readonly warmUp: number;
  readonly nodes: number;
}

function withTiming(command: Command): Command {
  return command
    .option('--repeats <n>', 'how often each figure is taken; the median is shown', wholeNumber, 3)
    .option('--seconds <s>', 'measured time of each repeat', positiveNumber, 4)
    .option('--warm-up <s>', 'load before the measured time', positiveNumber, 1.5)
    .option('--nodes <n>', 'nodes of the cluster', wholeNumber, 3);
}

function timingOf(options: TimingOptions): Timing {
  return { repeats: options.repeats, warmUpMs: options.warmUp * 1000, measureMs: options.seconds * 1000 };
}

function dimensionNamed(name: string): Dimension {
  const found = DIMENSIONS.find((dimension) => dimension === name);
  if (found === undefined) throw new InvalidArgumentError(`one of ${DIMENSIONS.join(', ')} is expected.`);
  return found;
}

/** Options of commands that put load on systems. */
function withLoad(command: Command, workers: string): Command {
  return withCommon(command)
    .option('--repeats <n>', 'how often each figure is taken; the median is shown', wholeNumber, 3)
    .option('--seconds <s>', 'measured time of each repeat', positiveNumber, 5)
    .option('--warm-up <s>', 'load before the measured time', positiveNumber, 1.5)
    .option('--workers <list>', 'workers of W1', wholeNumbers, wholeNumbers(workers))
    .option('--connections <n>', 'connections the workers share', wholeNumber, 8)
    .option('--nodes <n>', 'nodes of the lockd cluster', wholeNumber, 3)
    .option(
      '--rate <n>',
      'W1 in an open loop with so many cycles a second (latency from the instant each was due)',
      positiveNumber,
    )
    .option('--kills <n>', 'how often W3 kills the leader', wholeNumber, 5)
    .option('--waiters <n>', 'waiters of W2', wholeNumber, 64)
    .option('--compare', 'the same for etcd, ZooKeeper, Redlock and Redis where they are installed')
    .option(
      '--systems <list>',
      'which systems: lockd, etcd, zookeeper, redlock, redis, memory (the load generator alone)',
      names,
    )
    .option('--node-options <flags>', 'flags for the nodes’ node, such as "--cpu-prof --cpu-prof-dir=/tmp/prof"')
    .option('--load-node-options <flags>', 'flags for the load generator’s node');
}

function chooseSystems(options: LoadOptions, withRestart: boolean): readonly LockSystem[] {
  const lockd = lockdSystem({
    nodes: options.nodes,
    restart: withRestart,
    ...(options.nodeOptions === undefined ? {} : { nodeOptions: options.nodeOptions }),
  });
  const all = [lockd, ...PEERS, memorySystem];
  if (options.systems !== undefined) {
    return options.systems.map((name) => {
      const system = all.find((candidate) => candidate.name.toLowerCase() === name);
      if (system === undefined)
        throw new Error(`no system named ${name}; there are ${all.map((each) => each.name.toLowerCase()).join(', ')}`);
      return system;
    });
  }
  return options.compare === true ? [lockd, ...PEERS] : [lockd];
}

async function runWorkloads(
  options: LoadOptions,
  title: string,
  workloads: readonly ('w1' | 'w2' | 'w3')[],
): Promise<void> {
  const timing = { repeats: options.repeats, warmUpMs: options.warmUp * 1000, measureMs: options.seconds * 1000 };
  const chosen: CompareOptions = {
    title,
    ...(workloads.includes('w1')
      ? {
          w1: {
            ...timing,
            workers: options.workers,
            connections: options.connections,
            ...(options.rate === undefined ? {} : { ratePerSecond: options.rate }),
            ...(options.loadNodeOptions === undefined ? {} : { loadNodeOptions: options.loadNodeOptions.split(' ') }),
          },
        }
      : {}),
    ...(workloads.includes('w2') ? { w2: { ...timing, waiters: options.waiters } } : {}),
    ...(workloads.includes('w3') ? { w3: { kills: options.kills, workers: 16 } } : {}),
  };
  await runReport(options, (context) => compare(context, chooseSystems(options, workloads.includes('w3')), chosen));
}

const program = new Command('bench')
  .description(
    'Benchmarks of lockd, on real processes with fsync on. Without a command: W1 at 1 and 256 workers; with --compare ' +
      'W1 to W3 for lockd and its peers in one run. Progress goes to stderr, the report to stdout.',
  )
  .enablePositionalOptions()
  .showHelpAfterError()
  .addHelpText(
    'after',
    `
Examples:
  npm run bench                                          the two figures to watch, in under a minute
  npm run bench -- --compare --save peers                one table with etcd, ZooKeeper, Redlock and Redis, saved with a chart
  npm run bench -- w1 --workers 64 --rate 5000           latency at a fixed rate, without coordinated omission
  npm run bench -- w1 --workers 256 --node-options "--cpu-prof --cpu-prof-dir=/tmp/prof"
  npm run bench -- stability --seconds 60 --kills 5 --stops 2

Peers come from Debian's packages: apt-get install etcd-server zookeeper redis-server. How to read the
figures: docs/performance.md.`,
  );

withLoad(program, '1,256').action(async (options: LoadOptions) => {
  const comparing = options.compare === true;
  const workers =
    comparing && program.getOptionValueSource('workers') === 'default' ? [1, 16, 64, 256] : options.workers;
  await runWorkloads(
    { ...options, workers },
    comparing ? 'lockd and its peers' : 'lockd',
    comparing ? ['w1', 'w2', 'w3'] : ['w1'],
  );
});

withLoad(program.command('w1'), '1,16,64,256')
  .description('uncontended acquire + release: cycles/s, latency, CPU of each process')
  .action((options: LoadOptions) => runWorkloads(options, 'W1', ['w1']));

withLoad(program.command('w2'), '64')
  .description('one contended name: hand-offs/s, time of a hand-off, fairness')
  .action((options: LoadOptions) => runWorkloads(options, 'W2', ['w2']));

withLoad(program.command('w3'), '16')
  .description('kill -9 of the leader: longest time without any grant')
  .action((options: LoadOptions) => runWorkloads(options, 'W3', ['w3']));

withCommon(program.command('w4'))
  .description('many held locks: time, memory per lock and node, snapshot, restart')
  .option('--held <n>', 'locks to hold', wholeNumber, 100_000)
  .option('--million', 'the same as --held 1000000')
  .option('--nodes <n>', 'nodes of the cluster', wholeNumber, 3)
  .action(async (options: CommonOptions & { held: number; million?: boolean; nodes: number }) => {
    const held = options.million === true ? 1_000_000 : options.held;
    await runReport(options, (context) => runW4(context, { held, nodes: options.nodes }));
  });

withTiming(withCommon(program.command('w5')))
  .description('many sessions: memory, renewals a second')
  .option('--sessions <n>', 'sessions to open', wholeNumber, 100_000)
  .action(async (options: CommonOptions & TimingOptions & { sessions: number }) => {
    await runReport(options, (context) => runW5(context, { ...timingOf(options), ...options }));
  });

withTiming(withCommon(program.command('w6')))
  .description('growth: does an operation cost the same with 10 and 100 times as much of everything?')
  .option('--base <n>', 'size at the first step', wholeNumber, 1000)
  .addOption(
    new Option('--of <list>', 'what grows')
      .argParser((text: string) => text.split(',').map((name) => dimensionNamed(name.trim())))
      .default(DIMENSIONS, DIMENSIONS.join(', ')),
  )
  .action(async (options: CommonOptions & TimingOptions & { base: number; of: readonly Dimension[] }) => {
    await runReport(options, (context) => runW6(context, { ...timingOf(options), ...options, dimensions: options.of }));
  });

withTiming(withCommon(program.command('w7')))
  .description('W1 on clusters of 3, 5 and 7 nodes')
  .option('--sizes <list>', 'sizes of the clusters', wholeNumbers, [3, 5, 7])
  .option('--workers <list>', 'workers of W1', wholeNumbers, [1, 64, 256])
  .action(async (options: CommonOptions & TimingOptions & { sizes: readonly number[]; workers: readonly number[] }) => {
    await runReport(options, (context) =>
      runW7(context, { ...timingOf(options), sizes: options.sizes, workers: options.workers }),
    );
  });

withCommon(program.command('stability'))
  .description('full load with GC pressure: no leader may change; then kill -9 and SIGSTOP of the leader')
  .option('--seconds <s>', 'full load without faults', positiveNumber, 600)
  .option('--kills <n>', 'kill -9 of the leader', wholeNumber, 50)
  .option('--stops <n>', 'SIGSTOP of the leader', wholeNumber, 20)
  .option('--workers <n>', 'workers of the full load', wholeNumber, 256)
  .option('--held <n>', 'locks held all the time', wholeNumber, 100_000)
  .option('--garbage <mb>', 'megabytes a second of short-lived objects in every node', wholeNumber, 20)
  .option('--nodes <n>', 'nodes of the cluster', wholeNumber, 3)
  .action(async (options: CommonOptions & Omit<StabilityOptions, 'garbageMbPerSecond'> & { garbage: number }) => {
    await runReport(options, (context) => runStability(context, { ...options, garbageMbPerSecond: options.garbage }));
  });

withCommon(program.command('micro'))
  .description('hot paths by themselves, in this process: codec, core step, table apply, storage append')
  .option('--operations <n>', 'operations in each sample', wholeNumber, 20_000)
  .option('--samples <n>', 'samples of each path', wholeNumber, 7)
  .option('--only <text>', 'paths whose name contains this')
  .action(async (options: CommonOptions & MicroScenarioOptions) => {
    await runReport(options, (context) => runMicroScenario(context, options));
  });

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  // `exit` handlers stop the servers and remove their data.
  process.once(signal, () => process.exit(signal === 'SIGINT' ? 130 : 143));
}

try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exitCode = 1;
}
