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

/** Where a member is reached. What is absent is not known. */
export interface MemberAddress {
  /** By the other nodes, `host:port`. */
  readonly peer: string | undefined;
  /** By clients, a URL. */
  readonly client: string | undefined;
  /** An operator has said so: it stands above what the member says of itself, and above any node's own settings. */
  readonly isGiven: boolean;
}

/** The whole entry that registers a member's data directory. */
export function registrationEntry(node: NodeId, instanceId: string): Uint8Array {
  return entryOf({ node, instanceId });
}

/** The whole entry that says where a member is reached. */
export function addressEntry(node: NodeId, address: MemberAddress): Uint8Array {
  return entryOf({ node, peer: address.peer, client: address.client, given: address.isGiven });
}

function entryOf(fields: object): Uint8Array {
  const body = Buffer.from(JSON.stringify(fields));
  const entry = new Uint8Array(body.length + 1);
  entry[0] = ENTRY_KIND.registration;
  entry.set(body, 1);
  return entry;
}

/** Length field of the preamble, in bytes. */
const LENGTH_BYTES = 4;
const PREAMBLE_BYTES_MAX = 1024 * 1024;
const ADDRESS_LENGTH_MAX = 1024;
/** So many data directories that have left are remembered; older ones are strangers again. */
const REMOVED_MAX = 1000;

/**
 * What the driver itself keeps from the log: the cluster's id, which data directory each member's name stands for,
 * where each member is reached, and which directories have left. The same on every node at the same index. It precedes the state machine's content in every snapshot.
 */
export class Registry {
  #clusterId: string | undefined;
  #instances = new Map<string, string>();
  #addresses = new Map<string, MemberAddress>();
  /** Oldest first. */
  #removed: string[] = [];
  #departed: NodeId[] = [];

  get clusterId(): string | undefined {
    return this.#clusterId;
  }

  instanceOf(node: NodeId): string | undefined {
    return this.#instances.get(node);
  }

  /** Whose data directory that is. */
  nameOf(instanceId: string): string | undefined {
    for (const [name, instance] of this.#instances) if (instance === instanceId) return name;
    return undefined;
  }

  addressOf(node: NodeId): MemberAddress | undefined {
    return this.#addresses.get(node);
  }

  /** This data directory was a member's, and has left with it. */
  hasRemoved(instanceId: string): boolean {
    return this.#removed.includes(instanceId);
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
    this.#addresses = new Map();
    this.#removed = [];
  }

  /** The head of a snapshot's content. */
  preamble(): Uint8Array {
    const fields = {
      clusterId: this.#clusterId ?? null,
      instances: [...this.#instances],
      addresses: [...this.#addresses].map(([node, { peer, client, isGiven }]) => [
        node,
        peer ?? null,
        client ?? null,
        isGiven,
      ]),
      removed: this.#removed,
    };
    const body = seal(Buffer.from(JSON.stringify(fields)));
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
    const { clusterId, instances, addresses, removed } = fields as {
      clusterId: string | null;
      instances: [string, string][];
      // Absent in snapshots of the first versions.
      addresses?: [string, string | null, string | null, boolean][];
      removed?: string[];
    };
    this.#clusterId = clusterId ?? undefined;
    this.#instances = new Map(instances);
    this.#addresses = new Map(
      (addresses ?? []).map(([node, peer, client, isGiven]) => [
        node,
        { peer: peer ?? undefined, client: client ?? undefined, isGiven },
      ]),
    );
    this.#removed = removed ?? [];
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
      return fields !== undefined && this.#applyRegistration(fields);
    }
    if (kind === ENTRY_KIND.configuration) {
      const configuration = decodeConfiguration(body);
      if (configuration === undefined) return false;
      // A name that left may come back with another data directory.
      const members = new Set<string>([...configuration.voters, ...configuration.outgoing, ...configuration.learners]);
      for (const node of this.#instances.keys()) {
        if (!members.has(node)) this.#depart(node);
      }
      for (const node of this.#addresses.keys()) if (!members.has(node)) this.#addresses.delete(node);
      return true;
    }
    return false;
  }

  #applyRegistration(fields: Record<string, unknown>): boolean {
    const { node, instanceId, peer, client, given } = fields;
    if (typeof node !== 'string') return false;
    if (typeof instanceId === 'string') {
      if (this.#instances.has(node)) return false;
      this.#instances.set(node, instanceId);
      // An operator has added the very directory that was removed.
      this.#removed = this.#removed.filter((removed) => removed !== instanceId);
      return true;
    }
    const before = this.#addresses.get(node);
    const isGiven = given === true;
    // What a member says of itself does not touch what an operator has said.
    if (before?.isGiven === true && !isGiven) return false;
    this.#addresses.set(node, {
      peer: addressIn(peer) ?? (isGiven ? undefined : before?.peer),
      client: addressIn(client) ?? before?.client,
      isGiven,
    });
    return true;
  }

  #depart(node: string): void {
    const instanceId = this.#instances.get(node);
    if (instanceId === undefined) return;
    this.#instances.delete(node);
    this.#removed = [...this.#removed, instanceId].slice(-REMOVED_MAX);
    this.#departed.push(node as NodeId);
  }
}

function addressIn(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' && value.length <= ADDRESS_LENGTH_MAX ? value : undefined;
}

function parseObject(body: Uint8Array): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(body).toString());
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
