import type { EntryRun } from '../core/entry-run.ts';
import { type LogIndex, ZERO_INDEX, ZERO_TERM } from '../core/ids.ts';
import type { HardState } from '../core/ready.ts';
import { type BlockList, BlockReader } from './block-list.ts';
import { ContentHash } from './digest.ts';
import type { Disk, LogDatabase } from './disk.ts';
import {
  decodeHardState,
  decodeIdentity,
  decodeNamedSnapshot,
  decodeText,
  encodeIdentity,
  encodeText,
  firstIndexOfKey,
  KEYS,
  type NamedSnapshot,
} from './log-records.ts';
import { decodeMarkerFile, initialMarkerFile, type Marker } from './marker.ts';
import { StorageError } from './storage-error.ts';

export const FILES = { damaged: 'damaged', identity: 'identity', marker: 'marker' } as const;
const SNAPSHOT_PREFIX = 'snapshot-';
const READ_BYTES = 1024 * 1024;

export const INITIAL_HARD_STATE: HardState = { term: ZERO_TERM, votedFor: undefined, commitIndex: ZERO_INDEX };

export function snapshotFileName(index: number, term: number, incarnation: number, attempt: number): string {
  return `${SNAPSHOT_PREFIX}${index}-${term}-${incarnation}-${attempt}`;
}

/** A data directory that was found whole; the database is open. */
export interface OpenDirectory {
  readonly database: LogDatabase;
  readonly instanceId: string;
  readonly clusterId: string | undefined;
  readonly hardState: HardState;
  readonly list: BlockList;
  readonly runs: readonly EntryRun[];
  readonly snapshot: NamedSnapshot | undefined;
  readonly marker: Marker;
  readonly markerSequence: number;
}

/** What recovery decides on: a reason says that the directory is damaged. */
class Damaged extends Error {
  readonly isDurable: boolean;

  constructor(reason: string, isDurable = false) {
    super(reason);
    /** The directory itself will say the same at the next start. */
    this.isDurable = isDurable;
  }
}

/**
 * Opens a data directory, or makes a new one, and checks that it holds everything it has ever promised. The answer
 * 'damage' is remembered in the directory, which is closed again. Rejects with a `StorageError` where the directory
 * cannot be judged now: in use, of a newer format, or an error of the device.
 */
export async function openDirectory(
  disk: Disk,
  newInstanceId: () => string,
): Promise<OpenDirectory | { readonly damage: { readonly reason: string } }> {
  let database: LogDatabase | undefined;
  try {
    const remembered = await disk.readFile(FILES.damaged);
    if (remembered !== undefined) throw new Damaged(Buffer.from(remembered).toString().trim(), true);
    const instanceId = await readIdentity(disk);
    if (instanceId === undefined) return await createDirectory(disk, newInstanceId());
    const markerBytes = await disk.readFile(FILES.marker);
    if (markerBytes === undefined) throw new Damaged('the marker file is missing', true);
    if (!(await disk.hasDatabase())) throw new Damaged("the log's database is missing", true);
    refuseComplaints(await disk.databaseComplaints(), true);
    database = await disk.openDatabase({ create: false });
    // Opening has rewritten the files by now: what the database says in its own log is the only trace, so look at once.
    refuseComplaints(await disk.databaseComplaints(), false);
    const marker = decodeMarkerFile(markerBytes);
    if (marker === undefined) throw new Damaged('both slots of the marker file have a bad checksum', true);
    return { ...(await readDatabase(disk, database, instanceId, marker.marker)), markerSequence: marker.sequence };
  } catch (error) {
    await database?.close().catch(() => undefined);
    const reason = damageReason(error);
    if (reason === undefined) throw error;
    // Where this write fails too, most damage is found again; dropped bytes are, for as long as LevelDB keeps that LOG.
    if (!(error instanceof Damaged && error.isDurable)) await rememberDamage(disk, reason).catch(() => undefined);
    return { damage: { reason } };
  }
}

/** Durable when resolved; every later start says so. */
export async function rememberDamage(disk: Disk, reason: string): Promise<void> {
  await disk.writeFile(FILES.damaged, Buffer.from(`${reason}\n`));
}

/** Removes snapshots that were never named, or no longer are, and unfinished files. */
export async function sweepLeftovers(disk: Disk, snapshot: NamedSnapshot | undefined): Promise<void> {
  for (const name of await disk.listFiles()) {
    const isLeftover = name.endsWith('.tmp') || (name.startsWith(SNAPSHOT_PREFIX) && name !== snapshot?.file);
    if (isLeftover) await disk.removeFile(name);
  }
}

function damageReason(error: unknown): string | undefined {
  if (error instanceof Damaged) return error.message;
  return error instanceof StorageError && error.code === 'STORAGE_DAMAGED' ? error.message : undefined;
}

function refuseComplaints(complaints: readonly string[], isDurable: boolean): void {
  const [first] = complaints;
  if (first !== undefined)
    throw new Damaged(`the log's database dropped what it could not read: ${first.trim()}`, isDurable);
}

/** Undefined where the directory was never used, also when its creation was interrupted. */
async function readIdentity(disk: Disk): Promise<string | undefined> {
  const bytes = await disk.readFile(FILES.identity);
  if (bytes !== undefined) {
    const identity = decodeIdentity(bytes);
    if (identity.type === 'known') return identity.instanceId;
    if (identity.type === 'bad') throw new Damaged('the identity file has a bad checksum', true);
    throw new StorageError(
      'STORAGE_FORMAT_NEWER',
      `the data directory has format ${identity.format}, which this version does not know`,
    );
  }
  // The identity is written last: without it nothing was ever promised, unless it was lost beside other traces.
  const missing = 'the identity file is missing beside data';
  if ((await disk.listFiles()).some((name) => name.startsWith(SNAPSHOT_PREFIX) && !name.endsWith('.tmp'))) {
    throw new Damaged(missing, true);
  }
  const markerBytes = await disk.readFile(FILES.marker);
  if (markerBytes !== undefined) {
    const marker = decodeMarkerFile(markerBytes)?.marker;
    if (marker === undefined || marker.incarnation > 0) throw new Damaged(missing, true);
  }
  return undefined;
}

/** Each step is durable before the next; the identity comes last and says that all is there. */
async function createDirectory(disk: Disk, instanceId: string): Promise<OpenDirectory> {
  const database = await disk.openDatabase({ create: true });
  try {
    await database.scan((key) => {
      // Left from an interrupted creation; anything else means that identity and marker were lost.
      if (key !== KEYS.instance) throw new Damaged('the identity file is missing beside data', true);
    });
    await database.batch([{ type: 'put', key: KEYS.instance, value: encodeText(instanceId) }], { sync: true });
    const marker: Marker = {
      incarnation: 0,
      starts: [],
      lastIndex: ZERO_INDEX,
      lastTerm: ZERO_TERM,
      hardState: INITIAL_HARD_STATE,
    };
    const file = initialMarkerFile(marker);
    await disk.writeFile(FILES.marker, file);
    await disk.writeFile(FILES.identity, encodeIdentity(instanceId));
    const blocks = new BlockReader(ZERO_INDEX, ZERO_TERM).finish();
    if (typeof blocks === 'string') throw new Damaged(blocks);
    return {
      database,
      instanceId,
      clusterId: undefined,
      hardState: INITIAL_HARD_STATE,
      ...blocks,
      snapshot: undefined,
      marker,
      markerSequence: decodeMarkerFile(file)?.sequence ?? 0,
    };
  } catch (error) {
    await database.close().catch(() => undefined);
    throw error;
  }
}

async function readDatabase(
  disk: Disk,
  database: LogDatabase,
  instanceId: string,
  marker: Marker,
): Promise<Omit<OpenDirectory, 'markerSequence'>> {
  const records = new Map<string, Uint8Array>();
  const blocks: { readonly key: string; readonly value: Uint8Array }[] = [];
  // Blocks sort before the other records, and cannot be judged without them.
  await database.scan((key, value) => {
    if (firstIndexOfKey(key) === undefined) records.set(key, value);
    else blocks.push({ key, value });
  });
  const take = <Value>(key: string, decode: (record: Uint8Array) => Value | undefined): Value | undefined => {
    const record = records.get(key);
    if (record === undefined) return undefined;
    records.delete(key);
    const value = decode(record);
    if (value === undefined) throw new Damaged(`the record ${key} has a bad checksum`);
    return value;
  };
  const instanceInside = take(KEYS.instance, decodeText);
  if (instanceInside === undefined) throw new Damaged('the log does not say whose it is');
  if (instanceInside !== instanceId)
    throw new Damaged(`the log belongs to instance ${instanceInside}, the directory to ${instanceId}`);
  const clusterId = take(KEYS.clusterId, decodeText);
  const hardState = take(KEYS.hardState, decodeHardState) ?? INITIAL_HARD_STATE;
  const snapshot = take(KEYS.snapshot, decodeNamedSnapshot);
  const [unknown] = records.keys();
  if (unknown !== undefined) throw new Damaged(`the log holds an unknown record ${JSON.stringify(unknown)}`);

  const snapshotIndex = snapshot?.metadata.index ?? ZERO_INDEX;
  const reader = new BlockReader(snapshotIndex, snapshot?.metadata.term ?? ZERO_TERM);
  for (const { key, value } of blocks) {
    const problem = reader.read(key, value);
    if (problem !== undefined) throw new Damaged(problem);
  }
  const recovered = reader.finish();
  if (typeof recovered === 'string') throw new Damaged(recovered);
  compareWithMarker(recovered.list, snapshotIndex, hardState, marker);
  if (snapshot !== undefined) await verifySnapshot(disk, snapshot);
  return { database, instanceId, clusterId, hardState, ...recovered, snapshot, marker };
}

/** The marker claims only what was durable: less than that means that the database has forgotten something. */
function compareWithMarker(list: BlockList, snapshotIndex: LogIndex, hardState: HardState, marker: Marker): void {
  const { lastIndex, lastTerm } = marker;
  if (lastIndex > list.lastIndex) {
    throw new Damaged(`the log ends at index ${list.lastIndex}, but ${lastIndex} was acknowledged`);
  }
  if (lastIndex > snapshotIndex && list.termAt(lastIndex) !== lastTerm) {
    throw new Damaged(`the log holds another entry at index ${lastIndex} than was acknowledged`);
  }
  const promised = marker.hardState;
  const isForgotten =
    hardState.term < promised.term ||
    (hardState.term === promised.term && promised.votedFor !== undefined && hardState.votedFor !== promised.votedFor);
  if (isForgotten)
    throw new Damaged(`the log holds term ${hardState.term} and its vote, but term ${promised.term} was promised`);
}

async function verifySnapshot(disk: Disk, snapshot: NamedSnapshot): Promise<void> {
  const source = await disk.openStream(snapshot.file);
  if (source === undefined) throw new Damaged(`the snapshot file ${snapshot.file} is missing`);
  try {
    if (source.byteLength !== snapshot.byteLength)
      throw new Damaged(`the snapshot file ${snapshot.file} has a wrong length`);
    const hash = new ContentHash();
    for (let offset = 0; offset < snapshot.byteLength; ) {
      const chunk = await source.read(offset, READ_BYTES);
      if (chunk.length === 0) throw new Damaged(`the snapshot file ${snapshot.file} is cut short`);
      hash.update(chunk);
      offset += chunk.length;
    }
    if (hash.value() !== snapshot.contentHash)
      throw new Damaged(`the snapshot file ${snapshot.file} has a bad checksum`);
  } finally {
    await source.close();
  }
}
