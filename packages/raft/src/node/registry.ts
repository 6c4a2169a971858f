import { decodeConfiguration } from '../core/configuration-codec.ts';
import { ENTRY_KIND, type EntryRun } from '../core/entry-run.ts';
import type { LogIndex, NodeId } from '../core/ids.ts';
import { seal, unseal } from './digest.ts';

/** What the first entry of a term says (`RaftOptions.termStartPayload`). */
export interface TermStart {
  /** The name the leader proposes for the cluster, or knows already. The first one in the log stands. */
  readonly clusterId: string;
}

export function encodeTermStart(termStart: TermStart): Uint8Array {
  return Buffer.from(JSON.stringify({ clusterId: termStart.clusterId }));
}

/** `body` without the kind byte. Undefined for anything else; never throws. */
export function decodeTermStart(body: Uint8Array): TermStart | undefined {
  const fields = parseObject(body);
  return typeof fields?.['clusterId'] === 'string' ? { clusterId: fields['clusterId'] } : undefined;
}

/** The whole entry that registers a member's data directory. */
export function registrationEntry(node: NodeId, instanceId: string): Uint8Array {
  const body = Buffer.from(JSON.stringify({ node, instanceId }));
  const entry = new Uint8Array(body.length + 1);
  entry[0] = ENTRY_KIND.registration;
  entry.set(body, 1);
  return entry;
}

/** Length field of the preamble, in bytes. */
const LENGTH_BYTES = 4;
const PREAMBLE_BYTES_MAX = 1024 * 1024;

/**
 * What the driver itself keeps from the log: the cluster's id, and which data directory each member's name stands
 * for. The same on every node at the same index. It precedes the state machine's content in every snapshot.
 */
export class Registry {
  #clusterId: string | undefined;
  #instances = new Map<string, string>();
  #departed: NodeId[] = [];

  get clusterId(): string | undefined {
    return this.#clusterId;
  }

  instanceOf(node: NodeId): string | undefined {
    return this.#instances.get(node);
  }

  /** Names that have left since the last call. */
  takeDeparted(): readonly NodeId[] {
    const departed = this.#departed;
    this.#departed = [];
    return departed;
  }

  /** Takes in committed entries, in order. True where something changed. */
  apply(run: EntryRun): boolean {
    let isChanged = false;
    for (let index: number = run.firstIndex; index <= run.lastIndex; index++) {
      const kind = run.kindOf(index as LogIndex);
      if (kind !== ENTRY_KIND.command)
        isChanged = this.#applyOne(kind, run.entry(index as LogIndex).subarray(1)) || isChanged;
    }
    return isChanged;
  }

  reset(): void {
    this.#clusterId = undefined;
    this.#instances = new Map();
  }

  /** The head of a snapshot's content. */
  preamble(): Uint8Array {
    const body = seal(
      Buffer.from(JSON.stringify({ clusterId: this.#clusterId ?? null, instances: [...this.#instances] })),
    );
    const preamble = Buffer.alloc(LENGTH_BYTES + body.length);
    preamble.writeUInt32LE(body.length, 0);
    preamble.set(body, LENGTH_BYTES);
    return preamble;
  }

  /** Takes over the registry at the head of a snapshot's content, read by `read`; resolves to where the rest begins. */
  async restore(read: (offset: number, length: number) => Promise<Uint8Array>): Promise<number> {
    const head = Buffer.from(await read(0, LENGTH_BYTES));
    const length = head.length === LENGTH_BYTES ? head.readUInt32LE(0) : 0;
    const sealed = length > 0 && length <= PREAMBLE_BYTES_MAX ? await read(LENGTH_BYTES, length) : new Uint8Array();
    const body = unseal(sealed);
    const fields = body === undefined ? undefined : parseObject(body);
    if (fields === undefined) throw new Error('the snapshot does not begin with a registry');
    const { clusterId, instances } = fields as { clusterId: string | null; instances: [string, string][] };
    this.#clusterId = clusterId ?? undefined;
    this.#instances = new Map(instances);
    return LENGTH_BYTES + length;
  }

  #applyOne(kind: number, body: Uint8Array): boolean {
    if (kind === ENTRY_KIND.termStart) {
      const termStart = decodeTermStart(body);
      if (termStart === undefined || this.#clusterId !== undefined) return false;
      this.#clusterId = termStart.clusterId;
      return true;
    }
    if (kind === ENTRY_KIND.registration) {
      const fields = parseObject(body);
      const node = fields?.['node'];
      const instanceId = fields?.['instanceId'];
      if (typeof node !== 'string' || typeof instanceId !== 'string' || this.#instances.has(node)) return false;
      this.#instances.set(node, instanceId);
      return true;
    }
    if (kind === ENTRY_KIND.configuration) {
      const configuration = decodeConfiguration(body);
      if (configuration === undefined) return false;
      // A name that left may come back with another data directory.
      const members = new Set<string>([...configuration.voters, ...configuration.outgoing, ...configuration.learners]);
      for (const node of this.#instances.keys()) {
        if (!members.has(node) && this.#instances.delete(node)) this.#departed.push(node as NodeId);
      }
      return true;
    }
    return false;
  }
}

function parseObject(body: Uint8Array): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(body).toString());
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
