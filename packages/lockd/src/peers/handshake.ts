import type { PeerIdentity } from '@lockd/raft/node';

export const PEER_PROTOCOL_VERSION = 1;
/** Members that one hello tells of. */
const MEMBERS_MAX = 64;
/** Earlier starts of the data directory that one hello tells of. */
const STARTS_MAX = 64;

/**
 * First frame of a link in each direction, as JSON text, so that nodes of any two versions can tell each other why
 * they do not get on.
 */
export interface PeerHello {
  readonly version: number;
  readonly name: string;
  readonly identity: PeerIdentity;
  /** Hash of the initial cluster; undefined where the node was started without one. */
  readonly bootstrapHash: string | undefined;
  /** Where clients reach this node. */
  readonly client: string | undefined;
  /** Where the other nodes reach this node, `host:port`. */
  readonly peer?: string | undefined;
  /** The members this node knows and where they are reached: for one that has just come and knows few of them. */
  readonly members?: Readonly<Record<string, string>> | undefined;
  /** Only a question whether anybody is there: the link is closed again at once. */
  readonly probe: boolean;
}

/** Frames besides the hello that travel as JSON text. */
export type LinkText =
  | { readonly type: 'hello'; readonly hello: PeerHello }
  | { readonly type: 'refused'; readonly code: string; readonly reason: string }
  | { readonly type: 'goodbye'; readonly reason: string };

export function encodeText(frame: LinkText): string {
  if (frame.type !== 'hello') return JSON.stringify(frame);
  const { hello } = frame;
  return JSON.stringify({
    type: 'hello',
    version: hello.version,
    name: hello.name,
    instanceId: hello.identity.instanceId,
    incarnation: hello.identity.incarnation,
    start: hello.identity.start ?? null,
    earlierStarts: hello.identity.earlierStarts ?? null,
    clusterId: hello.identity.clusterId ?? null,
    bootstrapHash: hello.bootstrapHash ?? null,
    client: hello.client ?? null,
    peer: hello.peer ?? null,
    members: hello.members ?? null,
    probe: hello.probe,
  });
}

/** Undefined: not such a frame. */
export function decodeText(json: string): LinkText | undefined {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const {
    type,
    version,
    name,
    instanceId,
    incarnation,
    start,
    earlierStarts,
    clusterId,
    bootstrapHash: hash,
    client,
    peer,
    members,
    probe,
    code,
    reason,
  } = value as Record<string, unknown>;
  if (type === 'goodbye') return { type, reason: shortText(reason) };
  if (type === 'refused') return { type, code: shortText(code), reason: shortText(reason) };
  if (type !== 'hello' || typeof version !== 'number' || typeof name !== 'string' || name === '' || name.length > 255)
    return undefined;
  // Beyond version and name, another version may look different: it is refused by its version.
  const known = version === PEER_PROTOCOL_VERSION;
  if (
    known &&
    (typeof instanceId !== 'string' ||
      instanceId === '' ||
      !Number.isSafeInteger(incarnation) ||
      (incarnation as number) < 0)
  )
    return undefined;
  return {
    type,
    hello: {
      version,
      name,
      identity: {
        instanceId: shortText(instanceId),
        incarnation: typeof incarnation === 'number' ? incarnation : 0,
        start: typeof start === 'string' ? start.slice(0, 255) : undefined,
        earlierStarts: startsIn(earlierStarts),
        clusterId: typeof clusterId === 'string' ? clusterId.slice(0, 255) : undefined,
      },
      bootstrapHash: typeof hash === 'string' ? hash.slice(0, 255) : undefined,
      client: typeof client === 'string' ? client.slice(0, 1024) : undefined,
      peer: typeof peer === 'string' ? peer.slice(0, 1024) : undefined,
      members: membersIn(members),
      probe: probe === true,
    },
  };
}

function membersIn(value: unknown): Readonly<Record<string, string>> | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const entries = Object.entries(value).slice(0, MEMBERS_MAX);
  return Object.fromEntries(
    entries.filter(
      (entry): entry is [string, string] =>
        entry[0].length <= 255 && typeof entry[1] === 'string' && entry[1].length <= 1024,
    ),
  );
}

/** Undefined from nodes that do not say, and where anything but names stands there. */
function startsIn(value: unknown): readonly string[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const starts: unknown[] = value.slice(0, STARTS_MAX);
  return starts.every((start): start is string => typeof start === 'string' && start.length <= 255)
    ? starts
    : undefined;
}

function shortText(value: unknown): string {
  return typeof value === 'string' ? value.slice(0, 1000) : '';
}

/** Everything about a peer's hello that the driver does not judge (see `TransportHandler.onPeerIdentity`). Undefined: fine. */
export function refusalOf(
  own: { readonly name: string; readonly bootstrapHash: string | undefined; readonly clusterId: string | undefined },
  theirs: PeerHello,
  expectedName: string | undefined,
  isMember: (name: string) => boolean,
  hasRemoved: (instanceId: string) => boolean,
): { readonly code: string; readonly reason: string } | undefined {
  if (theirs.version !== PEER_PROTOCOL_VERSION) {
    return {
      code: 'another-version',
      reason: `${own.name} speaks peer protocol ${PEER_PROTOCOL_VERSION}, ${theirs.name} speaks ${theirs.version}`,
    };
  }
  if (theirs.name === own.name) {
    return { code: 'same-name', reason: `both nodes are called ${own.name}: each needs a name of its own (--name)` };
  }
  if (expectedName !== undefined && theirs.name !== expectedName) {
    return {
      code: 'wrong-address',
      reason: `the address of ${expectedName} belongs to ${theirs.name}: check --initial-cluster`,
    };
  }
  if (!isMember(theirs.name)) {
    return hasRemoved(theirs.identity.instanceId)
      ? { code: 'removed', reason: `${theirs.name} was removed from the cluster` }
      : {
          code: 'unknown-node',
          reason: `${theirs.name} is not a member of the cluster that ${own.name} knows: add it with lockd member add ${theirs.name} --peer HOST:PORT, or check --initial-cluster`,
        };
  }
  const founding = own.clusterId === undefined || theirs.identity.clusterId === undefined;
  if (
    founding &&
    own.bootstrapHash !== undefined &&
    theirs.bootstrapHash !== undefined &&
    own.bootstrapHash !== theirs.bootstrapHash
  ) {
    return {
      code: 'another-bootstrap',
      reason: `${own.name} and ${theirs.name} were started with different --initial-cluster lists: a new cluster needs the same one on every node`,
    };
  }
  return undefined;
}
