import type { Configuration } from '../core/configuration.ts';
import { decodeConfiguration, encodeConfiguration } from '../core/configuration-codec.ts';
import type { LogIndex, NodeId, Term } from '../core/ids.ts';
import type { SnapshotMetadata } from '../core/message.ts';
import type { HardState } from '../core/ready.ts';
import { seal, unseal } from './digest.ts';

/** Keys in the database. All blocks lie between `BLOCK_PREFIX` and the first other key. */
export const KEYS = {
  clusterId: 'm/cluster-id',
  hardState: 'm/hard-state',
  instance: 'm/instance',
  snapshot: 'm/snapshot',
} as const;

const BLOCK_PREFIX = 'b/';
/** 2^53 has 16 digits. */
const INDEX_DIGITS = 16;

export function blockKey(firstIndex: number): string {
  return BLOCK_PREFIX + String(firstIndex).padStart(INDEX_DIGITS, '0');
}

/** Undefined for a key that is no block's. */
export function firstIndexOfKey(key: string): number | undefined {
  return /^b\/\d{16}$/.test(key) ? Number(key.slice(BLOCK_PREFIX.length)) : undefined;
}

export function encodeText(text: string): Uint8Array {
  return seal(Buffer.from(text));
}

/** Undefined if the record changed. */
export function decodeText(record: Uint8Array): string | undefined {
  const bytes = unseal(record);
  return bytes === undefined ? undefined : Buffer.from(bytes).toString();
}

export function encodeHardState(hardState: HardState): Uint8Array {
  return encodeText(JSON.stringify([hardState.term, hardState.votedFor ?? null, hardState.commitIndex]));
}

export function decodeHardState(record: Uint8Array): HardState | undefined {
  const text = decodeText(record);
  if (text === undefined) return undefined;
  const [term, votedFor, commitIndex] = JSON.parse(text) as [number, string | null, number];
  return {
    term: term as Term,
    votedFor: (votedFor ?? undefined) as NodeId | undefined,
    commitIndex: commitIndex as LogIndex,
  };
}

/** A snapshot as the database names it. */
export interface NamedSnapshot {
  readonly metadata: SnapshotMetadata;
  readonly file: string;
  readonly byteLength: number;
  readonly contentHash: string;
}

export function encodeNamedSnapshot(snapshot: NamedSnapshot): Uint8Array {
  const { metadata, file, byteLength, contentHash } = snapshot;
  const configuration = Buffer.from(encodeConfiguration(metadata.configuration)).toString('base64');
  return encodeText(
    JSON.stringify({ index: metadata.index, term: metadata.term, configuration, file, byteLength, contentHash }),
  );
}

export function decodeNamedSnapshot(record: Uint8Array): NamedSnapshot | undefined {
  const text = decodeText(record);
  if (text === undefined) return undefined;
  const { index, term, configuration, file, byteLength, contentHash } = JSON.parse(text) as {
    index: number;
    term: number;
    configuration: string;
    file: string;
    byteLength: number;
    contentHash: string;
  };
  const decoded: Configuration | undefined = decodeConfiguration(Buffer.from(configuration, 'base64'));
  if (decoded === undefined) return undefined;
  return {
    metadata: { index: index as LogIndex, term: term as Term, configuration: decoded },
    file,
    byteLength,
    contentHash,
  };
}

/** The identity file: readable by people, and its first line by every later version. */
const IDENTITY_FORMAT = 1;

export function encodeIdentity(instanceId: string): Uint8Array {
  const body = `lockd raft data, format ${IDENTITY_FORMAT}\ninstance ${instanceId}\n`;
  const sealed = seal(Buffer.from(body));
  return Buffer.from(`${body}checksum ${Buffer.from(sealed.subarray(body.length)).toString('hex')}\n`);
}

export type Identity =
  | { readonly type: 'known'; readonly instanceId: string }
  | { readonly type: 'newer'; readonly format: number }
  | { readonly type: 'bad' };

export function decodeIdentity(bytes: Uint8Array): Identity {
  const text = Buffer.from(bytes).toString();
  const match = /^(lockd raft data, format (\d+)\n[\s\S]*?)checksum ([0-9a-f]+)\n$/.exec(text);
  if (match === null) return { type: 'bad' };
  const [, body = '', format = '', checksum = ''] = match;
  if (unseal(Buffer.concat([Buffer.from(body), Buffer.from(checksum, 'hex')])) === undefined) return { type: 'bad' };
  if (Number(format) > IDENTITY_FORMAT) return { type: 'newer', format: Number(format) };
  const instanceId = /\ninstance (\S+)\n/.exec(body)?.[1];
  return instanceId === undefined ? { type: 'bad' } : { type: 'known', instanceId };
}
