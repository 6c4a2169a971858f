import type { Configuration } from '../core/configuration.ts';
import type { NodeId } from '../core/ids.ts';
import { isMember } from '../core/membership.ts';
import type { Registry } from './registry.ts';
import type { PeerIdentity, PeerVerdict } from './transport.ts';

/** What the judging node knows at that moment. */
export interface JudgeStanding {
  readonly clusterId: string | undefined;
  readonly configuration: Configuration;
  /** Whom it hears, or itself. */
  readonly leader: NodeId | undefined;
  readonly isConfigurationConfirmed: boolean;
}

type Start = Pick<PeerIdentity, 'incarnation' | 'start'>;
type RefusalCode = Extract<PeerVerdict, { readonly accept: false }>['code'];

/** So many directories are remembered; the one that was seen first is forgotten first. */
const DIRECTORIES_MAX = 1000;

/** Which data directory each peer has come with, and whether it is the one that the cluster knows. */
export class PeerIdentities {
  readonly #registry: Registry;
  /** The directory that each peer came with last. */
  readonly #peers = new Map<NodeId, string>();
  /** Of each directory, the latest start seen, whoever it stood for. */
  readonly #starts = new Map<string, Start>();
  /** Peers that have not been heard from since they were last missed: their directory may be another one by now. */
  readonly #absent = new Set<NodeId>();

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /** Everybody who has ever come, but for those that left the cluster. */
  names(): Iterable<NodeId> {
    return this.#peers.keys();
  }

  missed(peer: NodeId): void {
    this.#absent.add(peer);
  }

  /** The name has left the cluster, and may come back with another directory. */
  departed(peer: NodeId): void {
    this.#absent.add(peer);
    this.#peers.delete(peer);
  }

  /** The directory that the peer has now, as far as that is known. */
  presentInstanceOf(peer: NodeId): string | undefined {
    return this.#absent.has(peer) ? undefined : this.#peers.get(peer);
  }

  /** True where it was missed, or has come with another directory or a later start. */
  remember(peer: NodeId, identity: PeerIdentity): boolean {
    const wasAbsent = this.#absent.delete(peer);
    const { instanceId, incarnation, start } = identity;
    const isSame = this.#peers.get(peer) === instanceId;
    this.#peers.set(peer, instanceId);
    const seen = this.#starts.get(instanceId);
    const isLater = seen === undefined || seen.incarnation < incarnation;
    if (isLater || (seen.incarnation === incarnation && seen.start === undefined)) {
      this.#starts.set(instanceId, { incarnation, start });
      if (this.#starts.size > DIRECTORIES_MAX) this.#starts.delete(this.#starts.keys().next().value as string);
    }
    return wasAbsent || !isSame || isLater;
  }

  /** Whether the data directory behind this name is the one the cluster knows. */
  judge(peer: NodeId, identity: PeerIdentity, standing: JudgeStanding): PeerVerdict {
    const { clusterId, instanceId, incarnation } = identity;
    if (clusterId !== undefined && standing.clusterId !== undefined && clusterId !== standing.clusterId) {
      return refuse('another-cluster', `${peer} belongs to cluster ${clusterId}, this node to ${standing.clusterId}`);
    }
    const registered = this.#registry.instanceOf(peer);
    // Who hears no leader, or none but this peer, may be behind.
    const isLedByOthers = standing.leader !== undefined && standing.leader !== peer;
    // Then the directory may be one that replaced the registered one meanwhile, perhaps the leader's own. It holds this
    // cluster's log, so it was admitted once; and not before, for it has not left.
    const mayBeLater = !isLedByOthers && clusterId !== undefined && !this.#registry.hasRemoved(instanceId);
    if (registered !== undefined && registered !== instanceId && !mayBeLater) {
      return refuse('another-instance', `${peer} is registered with data directory ${registered}, not ${instanceId}`);
    }
    const seen = this.#starts.get(instanceId);
    if (seen !== undefined && seen.incarnation > incarnation) {
      return refuse(
        'rolled-back',
        `${peer} comes with start ${incarnation} of its data directory, after start ${seen.incarnation}`,
      );
    }
    if (seen !== undefined && isOfAnotherCopy(seen, identity)) {
      return refuse(
        'rolled-back',
        `${peer} comes with start ${incarnation} of its data directory, which had another start ${seen.incarnation}`,
      );
    }
    const known = this.#peers.get(peer);
    // Founded and not yet registered: whoever comes with another directory now may have lost a vote that it gave.
    if (
      registered === undefined &&
      known !== undefined &&
      known !== instanceId &&
      standing.configuration.voters.includes(peer)
    ) {
      return refuse('another-instance', `${peer} came with data directory ${known}, now with ${instanceId}`);
    }
    // Who may be behind may be needed by the other, or need it.
    const isRemoved = this.#registry.hasRemoved(instanceId) && !isMember(standing.configuration, peer);
    if (isLedByOthers && isRemoved && standing.isConfigurationConfirmed) {
      return refuse('removed', `${peer} was removed from the cluster`);
    }
    return { accept: true };
  }
}

function refuse(code: RefusalCode, reason: string): PeerVerdict {
  return { accept: false, code, reason };
}

/** The directory has gone through another start of that number than the one seen: it is an older copy, started once more or oftener. */
function isOfAnotherCopy(seen: Start, { incarnation, start, earlierStarts }: PeerIdentity): boolean {
  const age = incarnation - seen.incarnation;
  const own = age === 0 ? start : earlierStarts?.[age - 1];
  return seen.start !== undefined && own !== undefined && seen.start !== own;
}
