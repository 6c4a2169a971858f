import { ENTRY_KIND, type EntryRun } from '../../src/core/entry-run.ts';
import { type LogIndex, type NodeId, nodeId, type ReadRound } from '../../src/core/ids.ts';
import type { RaftStatus } from '../../src/core/options.ts';
import type { Clock } from '../../src/node/clock.ts';
import { openDriver } from '../../src/node/driver.ts';
import type { NodeCondition } from '../../src/node/driver-api.ts';
import type { DriverOptions, OpenDriver } from '../../src/node/driver-options.ts';
import type { SnapshotReader, SnapshotWriter, StateMachine } from '../../src/node/state-machine.ts';
import type { LogStorage } from '../../src/node/storage.ts';
import type { MemoryNetwork } from '../../src/testing/memory-network.ts';
import { seededRandom } from '../../src/testing/seeded-random.ts';

/** Keeps the text of every command, in order, with its index. */
export class ListMachine implements StateMachine {
  commands: { index: number; text: string }[] = [];
  restores = 0;
  resets = 0;
  sliceCommands = 50;

  apply(run: EntryRun): void {
    for (let index = run.firstIndex as number; index <= run.lastIndex; index++) {
      if (run.kindOf(index as LogIndex) !== ENTRY_KIND.command) continue;
      this.commands.push({ index, text: Buffer.from(run.entry(index as LogIndex).subarray(1)).toString() });
    }
  }

  beginSnapshot(): SnapshotReader {
    const commands = [...this.commands];
    let at = 0;
    return {
      next: () => {
        if (at >= commands.length) return undefined;
        const slice = commands.slice(at, at + this.sliceCommands);
        at += slice.length;
        return Buffer.from(slice.map((command) => `${JSON.stringify(command)}\n`).join(''));
      },
      cancel: () => undefined,
    };
  }

  beginRestore(): SnapshotWriter {
    const chunks: Uint8Array[] = [];
    return {
      write: (chunk) => chunks.push(chunk),
      finish: () => {
        const lines = Buffer.concat(chunks)
          .toString()
          .split('\n')
          .filter((line) => line !== '');
        this.commands = lines.map((line) => JSON.parse(line) as { index: number; text: string });
        this.restores += 1;
      },
    };
  }

  reset(): void {
    this.commands = [];
    this.resets += 1;
  }

  get texts(): string[] {
    return this.commands.map(({ text }) => text);
  }
}

/** What the driver's events said. */
export class Record {
  conditions: { condition: NodeCondition; reason: string | undefined }[] = [];
  statuses: RaftStatus[] = [];
  confirmed: ReadRound | undefined;
  turns = 0;

  onReadsConfirmed = (round: ReadRound): void => {
    this.confirmed = round;
  };
  onStatusChanged = (status: RaftStatus): void => {
    this.statuses.push(status);
  };
  onConditionChanged = (condition: NodeCondition, reason: string | undefined): void => {
    this.conditions.push({ condition, reason });
  };
  onTurnEnd = (): void => {
    this.turns += 1;
  };
}

export interface TestNode {
  readonly id: NodeId;
  readonly driver: OpenDriver;
  readonly machine: ListMachine;
  readonly record: Record;
}

export const IDS = ['n1', 'n2', 'n3'].map(nodeId);

export async function openNode(
  id: NodeId,
  parts: {
    readonly storage: LogStorage;
    readonly clock: Clock;
    readonly network: MemoryNetwork;
    readonly seed?: number;
  },
  options: Partial<DriverOptions> = {},
): Promise<TestNode> {
  const machine = new ListMachine();
  const record = new Record();
  const { storage, clock, network } = parts;
  const driver = await openDriver(
    {
      id,
      initialCluster: IDS,
      newClusterId: () => `cluster-of-${id}`,
      minFreeBytes: 0,
      snapshotSliceBytes: 1,
      ...options,
    },
    {
      storage,
      transport: network.transport(id),
      stateMachine: machine,
      clock,
      events: record,
      random: seededRandom((parts.seed ?? 1) * 7919 + id.charCodeAt(1)),
    },
  );
  network.attach(id, driver);
  return { id, driver, machine, record };
}

/** Proposes texts, each as one command. */
export function propose(node: TestNode, ...texts: string[]): ReturnType<OpenDriver['propose']> {
  const entries = texts.map((text) => Buffer.concat([Uint8Array.of(ENTRY_KIND.command), Buffer.from(text)]));
  const ends = new Uint32Array(entries.length);
  let end = 0;
  entries.forEach((entry, position) => {
    end += entry.length;
    ends[position] = end;
  });
  return node.driver.propose(Buffer.concat(entries), 0, ends);
}

export function leaderOf(nodes: readonly TestNode[]): TestNode | undefined {
  return nodes.find(
    ({ driver }) => driver.condition() === 'serving' && driver.status().role === 'leader' && driver.status().isReady,
  );
}

/** Waits in real time, for tests on real disks. */
export async function until(condition: () => boolean, withinMs = 10_000): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error('condition not met in time');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
