import type { NodeId } from '../core/ids.ts';
import type { Epoch } from './epoch.ts';
import type { Registry } from './registry.ts';
import type { LogStorage, Recovered } from './storage.ts';
import { StorageError, toStorageError } from './storage-error.ts';
import type { PeerIdentity } from './transport.ts';

/** Whose data directory this node has, and of which cluster: what it says about itself to peers. */
export class OwnDirectory {
  readonly #id: NodeId;
  readonly #storage: LogStorage;
  readonly #registry: Registry;
  readonly #epoch: Epoch;
  readonly #storageFailed: (error: Error) => void;
  #recovered: Recovered | undefined;
  #clusterId: string | undefined;

  constructor(options: {
    readonly id: NodeId;
    readonly storage: LogStorage;
    readonly registry: Registry;
    readonly epoch: Epoch;
    readonly storageFailed: (error: Error) => void;
  }) {
    this.#id = options.id;
    this.#storage = options.storage;
    this.#registry = options.registry;
    this.#epoch = options.epoch;
    this.#storageFailed = options.storageFailed;
  }

  /** What was last read from it. Undefined before that, and where it was damaged from the beginning. */
  get recovered(): Recovered | undefined {
    return this.#recovered;
  }

  get instanceId(): string | undefined {
    return this.#recovered?.instanceId;
  }

  /** Undefined until the node has learnt it. */
  get clusterId(): string | undefined {
    return this.#clusterId;
  }

  /** Undefined where nothing was recovered. */
  identity(): PeerIdentity | undefined {
    if (this.#recovered === undefined) return undefined;
    const { instanceId, incarnation, starts } = this.#recovered;
    const [start, ...earlierStarts] = starts;
    return { instanceId, incarnation, start, earlierStarts, clusterId: this.#clusterId };
  }

  wasRecovered(recovered: Recovered): void {
    this.#recovered = recovered;
    this.#clusterId = recovered.clusterId;
  }

  /** It is empty no more. */
  wasBootstrapped(): void {
    if (this.#recovered !== undefined) this.#recovered = { ...this.#recovered, isEmpty: false };
  }

  /** The snapshot may know the cluster id where the directory forgot it. */
  snapshotWasRestored(): void {
    this.#clusterId ??= this.#registry.clusterId;
  }

  /** The log gives this data directory to another member: with it, that member would act twice. */
  misplacedBy(registry: Registry): StorageError | undefined {
    const owner = this.#recovered === undefined ? undefined : registry.nameOf(this.#recovered.instanceId);
    if (owner === undefined || owner === this.#id) return undefined;
    return new StorageError('STORAGE_MISPLACED', `the data directory is that of ${owner}, not of ${this.#id}`);
  }

  /** Takes what the log says, and writes it down. */
  learnClusterId(): void {
    const { clusterId } = this.#registry;
    if (clusterId === undefined || clusterId === this.#clusterId) return;
    this.#clusterId = clusterId;
    const begun = this.#epoch.current;
    this.#storage.rememberClusterId(clusterId).catch((error: unknown) => {
      if (begun === this.#epoch.current) this.#storageFailed(toStorageError(error, 'writing the cluster id'));
    });
  }
}
