import type { Configuration, LogIndex, Message, NodeId, ReadRound, Term } from '@lockd/raft';
import { EntryRun } from '@lockd/raft';
import type { JoinProbe, SnapshotTransfer } from '@lockd/raft/node';
import { Packr } from 'msgpackr';
import type { AppPayload } from './app-payload.ts';
import { PEER_LIMITS } from './limits.ts';

/**
 * The binary frames between nodes: a MessagePack list of items, an item a list that begins with a number (ITEM).
 * Sender and receiver are those of the link, not of the item. Bytes of entries are shared with the frame on the way
 * in and with the log on the way out.
 */
export const ITEM = {
  voteRequest: 1,
  voteResponse: 2,
  appendRequest: 3,
  appendResponse: 4,
  heartbeat: 5,
  heartbeatResponse: 6,
  timeoutNow: 7,
  snapshotRequest: 8,
  snapshotChunk: 9,
  snapshotProgress: 10,
  joinProbe: 11,
  forward: 20,
  forwardRefused: 21,
  renew: 22,
  renewed: 23,
  readIndex: 24,
  readAnswer: 25,
  admin: 26,
  adminAnswer: 27,
  ping: 30,
} as const;

/** Ready to be packed. */
export type Item = readonly unknown[];

/** What a frame's item turns out to be. */
export type PeerItem =
  | { readonly kind: 'raft'; readonly message: Message }
  | { readonly kind: 'snapshot'; readonly transfer: SnapshotTransfer }
  | { readonly kind: 'probe'; readonly probe: JoinProbe }
  | { readonly kind: 'app'; readonly payload: AppPayload }
  | { readonly kind: 'ping' };

/** What a peer sent cannot be read. Ends that link, nothing else. */
export class MalformedFrame extends Error {
  override readonly name = 'MalformedFrame';
}

const packr = new Packr({ useRecords: false, int64AsType: 'number' });

export function packFrame(items: readonly Item[]): Uint8Array {
  return packr.pack(items);
}

/** The items of one frame, each decoded and checked. Throws {@link MalformedFrame}. */
export function unpackFrame(bytes: Uint8Array, from: NodeId, to: NodeId): PeerItem[] {
  let frame: unknown;
  try {
    frame = packr.unpack(bytes);
  } catch (error) {
    throw new MalformedFrame(`not MessagePack: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (!Array.isArray(frame)) throw new MalformedFrame('a frame is a list');
  if (frame.length > PEER_LIMITS.maxItemsPerFrame) throw new MalformedFrame(`${frame.length} items in one frame`);
  return frame.map((item: unknown) => decodeItem(item, from, to));
}

// Encoding -------------------------------------------------------------------------------------------------------

export function encodeMessage(message: Message): Item {
  switch (message.type) {
    case 'vote-request':
      return [
        ITEM.voteRequest,
        message.term,
        message.preVote,
        message.lastLogIndex,
        message.lastLogTerm,
        message.transfer,
      ];
    case 'vote-response':
      return [ITEM.voteResponse, message.term, message.preVote, message.granted];
    case 'append-request': {
      const item: unknown[] = [
        ITEM.appendRequest,
        message.term,
        message.previousIndex,
        message.previousTerm,
        message.commitIndex,
      ];
      for (const run of message.runs)
        item.push(run.firstIndex, run.term, packOffsets(run.ends, run.start), run.payload());
      return item;
    }
    case 'append-response':
      return [
        ITEM.appendResponse,
        message.term,
        message.success,
        message.matchIndex,
        message.hintIndex,
        message.hintTerm,
      ];
    case 'heartbeat':
      return [ITEM.heartbeat, message.term, message.commitIndex, message.round];
    case 'heartbeat-response':
      return [ITEM.heartbeatResponse, message.term, message.round];
    case 'timeout-now':
      return [ITEM.timeoutNow, message.term];
    case 'snapshot-request':
      return [
        ITEM.snapshotRequest,
        message.term,
        message.metadata.index,
        message.metadata.term,
        encodeConfiguration(message.metadata.configuration),
      ];
  }
}

export function encodeTransfer(transfer: SnapshotTransfer): Item {
  if (transfer.type === 'snapshot-progress') {
    return [ITEM.snapshotProgress, transfer.term, transfer.index, transfer.nextOffset, transfer.refused];
  }
  const { term, index, snapshotTerm, configuration, byteLength, offset, bytes, checksum, contentHash } = transfer;
  return [
    ITEM.snapshotChunk,
    term,
    index,
    snapshotTerm,
    configuration,
    byteLength,
    offset,
    bytes,
    checksum,
    contentHash,
  ];
}

export function encodeProbe(probe: JoinProbe): Item {
  const { instanceId, incarnation, clusterId, start } = probe.identity;
  return [
    ITEM.joinProbe,
    probe.type,
    instanceId,
    incarnation,
    clusterId ?? null,
    probe.phase,
    probe.bootstrapHash ?? null,
    probe.verdict,
    start ?? null,
  ];
}

export function encodeApp(payload: AppPayload): Item {
  switch (payload.type) {
    case 'forward':
      return [
        ITEM.forward,
        payload.batch,
        packOffsets(payload.ends, payload.start),
        payload.bytes.subarray(payload.start, payload.ends[payload.ends.length - 1]),
      ];
    case 'forward-refused':
      return [ITEM.forwardRefused, payload.batch, payload.reason];
    case 'renew':
      return [ITEM.renew, payload.renewals];
    case 'renewed':
      return [ITEM.renewed, payload.renewals];
    case 'read-index':
      return [ITEM.readIndex, payload.id];
    case 'read-answer':
      return [ITEM.readAnswer, payload.id, payload.index ?? null];
    case 'admin':
      return [ITEM.admin, payload.id, Buffer.from(payload.json)];
    case 'admin-answer':
      return [ITEM.adminAnswer, payload.id, Buffer.from(payload.json)];
  }
}

export const PING: Item = [ITEM.ping];

/** Little-endian 32-bit offsets counted from the first entry's first byte. */
function packOffsets(ends: Uint32Array, start: number): Uint8Array {
  const bytes = new Uint8Array(ends.length * 4);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < ends.length; i++) view.setUint32(i * 4, (ends[i] as number) - start, true);
  return bytes;
}

function encodeConfiguration(configuration: Configuration): unknown[] {
  const { voters, outgoing, learners, learnersNext, autoLeave } = configuration;
  return [voters, outgoing, learners, learnersNext, autoLeave];
}

// Decoding -------------------------------------------------------------------------------------------------------

function decodeItem(item: unknown, from: NodeId, to: NodeId): PeerItem {
  if (!Array.isArray(item)) throw new MalformedFrame('an item is a list');
  const fields = item as readonly unknown[];
  switch (fields[0]) {
    case ITEM.appendRequest:
      return {
        kind: 'raft',
        message: {
          type: 'append-request',
          from,
          to,
          term: integer(fields[1]) as Term,
          previousIndex: integer(fields[2]) as LogIndex,
          previousTerm: integer(fields[3]) as Term,
          commitIndex: integer(fields[4]) as LogIndex,
          runs: decodeRuns(fields, 5, integer(fields[2])),
        },
      };
    case ITEM.appendResponse:
      return {
        kind: 'raft',
        message: {
          type: 'append-response',
          from,
          to,
          term: integer(fields[1]) as Term,
          success: flag(fields[2]),
          matchIndex: integer(fields[3]) as LogIndex,
          hintIndex: integer(fields[4]) as LogIndex,
          hintTerm: integer(fields[5]) as Term,
        },
      };
    case ITEM.heartbeat:
      return {
        kind: 'raft',
        message: {
          type: 'heartbeat',
          from,
          to,
          term: integer(fields[1]) as Term,
          commitIndex: integer(fields[2]) as LogIndex,
          round: integer(fields[3]) as ReadRound,
        },
      };
    case ITEM.heartbeatResponse:
      return {
        kind: 'raft',
        message: {
          type: 'heartbeat-response',
          from,
          to,
          term: integer(fields[1]) as Term,
          round: integer(fields[2]) as ReadRound,
        },
      };
    case ITEM.voteRequest:
      return {
        kind: 'raft',
        message: {
          type: 'vote-request',
          from,
          to,
          term: integer(fields[1]) as Term,
          preVote: flag(fields[2]),
          lastLogIndex: integer(fields[3]) as LogIndex,
          lastLogTerm: integer(fields[4]) as Term,
          transfer: flag(fields[5]),
        },
      };
    case ITEM.voteResponse:
      return {
        kind: 'raft',
        message: {
          type: 'vote-response',
          from,
          to,
          term: integer(fields[1]) as Term,
          preVote: flag(fields[2]),
          granted: flag(fields[3]),
        },
      };
    case ITEM.timeoutNow:
      return { kind: 'raft', message: { type: 'timeout-now', from, to, term: integer(fields[1]) as Term } };
    case ITEM.snapshotRequest:
      return {
        kind: 'raft',
        message: {
          type: 'snapshot-request',
          from,
          to,
          term: integer(fields[1]) as Term,
          metadata: {
            index: integer(fields[2]) as LogIndex,
            term: integer(fields[3]) as Term,
            configuration: decodeConfiguration(fields[4]),
          },
        },
      };
    case ITEM.snapshotChunk:
      return {
        kind: 'snapshot',
        transfer: {
          type: 'snapshot-chunk',
          term: integer(fields[1]),
          index: integer(fields[2]),
          snapshotTerm: integer(fields[3]),
          configuration: binary(fields[4]),
          byteLength: integer(fields[5]),
          offset: integer(fields[6]),
          bytes: binary(fields[7]),
          checksum: integer(fields[8]),
          contentHash: text(fields[9]),
        },
      };
    case ITEM.snapshotProgress:
      return {
        kind: 'snapshot',
        transfer: {
          type: 'snapshot-progress',
          term: integer(fields[1]),
          index: integer(fields[2]),
          nextOffset: integer(fields[3]),
          refused: flag(fields[4]),
        },
      };
    case ITEM.joinProbe:
      return { kind: 'probe', probe: decodeProbe(fields) };
    case ITEM.forward: {
      const bytes = binary(fields[3]);
      return {
        kind: 'app',
        payload: {
          type: 'forward',
          batch: integer(fields[1]),
          start: 0,
          ends: unpackOffsets(fields[2], bytes.length),
          bytes,
        },
      };
    }
    case ITEM.forwardRefused:
      return { kind: 'app', payload: { type: 'forward-refused', batch: integer(fields[1]), reason: text(fields[2]) } };
    case ITEM.renew:
      return { kind: 'app', payload: { type: 'renew', renewals: pairs(fields[1]) } };
    case ITEM.renewed:
      return { kind: 'app', payload: { type: 'renewed', renewals: pairs(fields[1]) } };
    case ITEM.readIndex:
      return { kind: 'app', payload: { type: 'read-index', id: integer(fields[1]) } };
    case ITEM.readAnswer:
      return {
        kind: 'app',
        payload: {
          type: 'read-answer',
          id: integer(fields[1]),
          index: fields[2] === null ? undefined : integer(fields[2]),
        },
      };
    case ITEM.admin:
    case ITEM.adminAnswer:
      return {
        kind: 'app',
        payload: {
          type: fields[0] === ITEM.admin ? 'admin' : 'admin-answer',
          id: integer(fields[1]),
          json: Buffer.from(binary(fields[2])).toString(),
        },
      };
    case ITEM.ping:
      return { kind: 'ping' };
    default:
      throw new MalformedFrame(`unknown item ${String(fields[0]).slice(0, 40)}`);
  }
}

function decodeRuns(fields: readonly unknown[], first: number, previousIndex: number): EntryRun[] {
  const runs: EntryRun[] = [];
  let next = previousIndex + 1;
  for (let i = first; i < fields.length; i += 4) {
    const firstIndex = integer(fields[i]);
    if (firstIndex !== next) throw new MalformedFrame(`a run begins at ${firstIndex} where ${next} is due`);
    const bytes = binary(fields[i + 3]);
    const ends = unpackOffsets(fields[i + 2], bytes.length);
    next = integer(firstIndex + ends.length);
    runs.push(new EntryRun(firstIndex as LogIndex, integer(fields[i + 1]) as Term, bytes, 0, ends));
  }
  return runs;
}

/** Ascending, each entry at least its kind byte long, the last one at the end of the bytes. */
function unpackOffsets(value: unknown, byteLength: number): Uint32Array {
  const packed = binary(value);
  const count = packed.length / 4;
  if (!Number.isInteger(count) || count === 0 || count > PEER_LIMITS.maxEntriesPerRun)
    throw new MalformedFrame('offsets of a run');
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  const ends = new Uint32Array(count);
  let previous = 0;
  for (let i = 0; i < count; i++) {
    const end = view.getUint32(i * 4, true);
    if (end <= previous) throw new MalformedFrame('offsets of a run rise');
    ends[i] = end;
    previous = end;
  }
  if (previous !== byteLength) throw new MalformedFrame('offsets of a run end at the end of its bytes');
  return ends;
}

function decodeConfiguration(value: unknown): Configuration {
  if (!Array.isArray(value) || value.length < 5) throw new MalformedFrame('a configuration');
  const names = (list: unknown): NodeId[] => {
    if (!Array.isArray(list)) throw new MalformedFrame('a list of members');
    return list.map((name: unknown) => {
      const checked = text(name);
      if (checked.length === 0 || checked.length > 255) throw new MalformedFrame('name of a member');
      return checked as NodeId;
    });
  };
  return {
    voters: names(value[0]),
    outgoing: names(value[1]),
    learners: names(value[2]),
    learnersNext: names(value[3]),
    autoLeave: flag(value[4]),
  };
}

function decodeProbe(fields: readonly unknown[]): JoinProbe {
  const [, type, instanceId, incarnation, clusterId, phase, bootstrapHash, verdict, start] = fields;
  if (type !== 'join-request' && type !== 'join-answer') throw new MalformedFrame('type of a join probe');
  if (phase !== 'empty' && phase !== 'fresh' && phase !== 'used') throw new MalformedFrame('phase of a join probe');
  if (verdict !== 'admitted' && verdict !== 'another-instance' && verdict !== 'undecided')
    throw new MalformedFrame('verdict of a join probe');
  return {
    type,
    identity: {
      instanceId: text(instanceId),
      incarnation: integer(incarnation),
      start: typeof start === 'string' ? text(start) : undefined,
      clusterId: clusterId === null ? undefined : text(clusterId),
    },
    phase,
    bootstrapHash: bootstrapHash === null ? undefined : text(bootstrapHash),
    verdict,
  };
}

function integer(value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    throw new MalformedFrame('an unsigned integer below 2^53');
  return value;
}

function flag(value: unknown): boolean {
  if (typeof value !== 'boolean') throw new MalformedFrame('true or false');
  return value;
}

function text(value: unknown): string {
  if (typeof value !== 'string' || value.length > 4096) throw new MalformedFrame('a short text');
  return value;
}

function binary(value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array)) throw new MalformedFrame('bytes');
  return value;
}

function pairs(value: unknown): number[] {
  if (!Array.isArray(value) || value.length % 2 !== 0) throw new MalformedFrame('pairs of integers');
  return value.map(integer);
}
