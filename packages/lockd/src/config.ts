/** What a node is started with that cannot be right: told to the operator in words, before anything is opened. */
export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError';
}

export interface HostPort {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
}

/** Everything one node needs to know (see `createNode`). */
export interface NodeConfiguration {
  /** Unique in the cluster: letters, digits, `.`, `_` and `-`. */
  readonly name: string;
  /** Made if it is not there. Belongs to this node alone. */
  readonly dataDir: string;
  readonly listenClient: HostPort;
  readonly listenPeer: HostPort;
  /** Where clients reach this node, as a WebSocket URL. Default: from the listener. */
  readonly advertiseClient?: string | undefined;
  /** Where peers reach this node. Default: what `initialCluster` says. */
  readonly advertisePeer?: string | undefined;
  /** Name and peer address (`host:port`) of every founding member, this node among them. Empty: see `join`. */
  readonly initialCluster: ReadonlyMap<string, string>;
  /** Instead of `initialCluster`: some members of the cluster that this node is added to (`lockd member add`). */
  readonly join?: ReadonlyMap<string, string> | undefined;
  /** T: the election time-out is drawn from [T, 2T). Default 500. */
  readonly electionTimeoutMs?: number | undefined;
  /** At most T / 5. Default 100. */
  readonly heartbeatMs?: number | undefined;
  /** A snapshot is made after at least so many bytes of log. Default 64 MiB. */
  readonly snapshotMinBytes?: number | undefined;
  /** What clients have to show (`credentials` in their hello). Default: nothing. */
  readonly clientToken?: string | undefined;
  /** Accept clients from beyond loopback although nothing proves who they are. Default false. */
  readonly insecureListen?: boolean | undefined;
  /** Accept peers from beyond loopback although nothing proves who they are. Default false. */
  readonly insecurePeerListen?: boolean | undefined;
}

export const DEFAULTS = {
  electionTimeoutMs: 500,
  heartbeatMs: 100,
  clientPort: 7101,
  peerPort: 7201,
  dataDir: '.lockd',
} as const;

const NAME = /^[A-Za-z0-9._-]{1,64}$/;

/** Throws {@link ConfigurationError}, with what to do about it. */
export function checkConfiguration(configuration: NodeConfiguration): void {
  const { name, initialCluster } = configuration;
  if (!NAME.test(name))
    throw new ConfigurationError(`--name ${JSON.stringify(name)}: up to 64 letters, digits, ".", "_" and "-"`);
  if (configuration.dataDir === '') throw new ConfigurationError('--data-dir is empty');
  if (configuration.join !== undefined) {
    if (initialCluster.size > 0) throw new ConfigurationError('give --initial-cluster or --join, not both');
    if (configuration.join.size === 0) throw new ConfigurationError('--join names nobody: give n1=HOST:PORT,…');
  } else if (!initialCluster.has(name)) {
    throw new ConfigurationError(
      `--initial-cluster does not name this node: ${name} is not one of ${[...initialCluster.keys()].join(', ')}. Add ${name}=HOST:PORT, or correct --name`,
    );
  }
  const electionTimeoutMs = configuration.electionTimeoutMs ?? DEFAULTS.electionTimeoutMs;
  const heartbeatMs = configuration.heartbeatMs ?? DEFAULTS.heartbeatMs;
  if (!Number.isInteger(electionTimeoutMs) || electionTimeoutMs < 50 || electionTimeoutMs > 60_000) {
    throw new ConfigurationError(`--election-timeout ${electionTimeoutMs}: whole milliseconds from 50 to 60000`);
  }
  if (!Number.isInteger(heartbeatMs) || heartbeatMs < 5 || heartbeatMs > electionTimeoutMs / 5) {
    throw new ConfigurationError(
      `--heartbeat ${heartbeatMs}: whole milliseconds from 5 to a fifth of --election-timeout (${Math.floor(electionTimeoutMs / 5)})`,
    );
  }
  if (
    !isLoopback(configuration.listenClient.host) &&
    configuration.clientToken === undefined &&
    configuration.insecureListen !== true
  ) {
    throw new ConfigurationError(
      `--listen-client ${formatHostPort(configuration.listenClient)} is reachable beyond this machine, and nothing proves who connects: ` +
        'give --client-token, or --insecure-listen if the network itself is trusted',
    );
  }
  if (!isLoopback(configuration.listenPeer.host) && configuration.insecurePeerListen !== true) {
    throw new ConfigurationError(
      `--listen-peer ${formatHostPort(configuration.listenPeer)} is reachable beyond this machine, and nothing proves who connects: ` +
        'give --insecure-peer-listen if the network itself is trusted',
    );
  }
}

/** `HOST:PORT`, an IPv6 host in brackets. */
export function parseHostPort(text: string, what: string): HostPort {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:\s/[\]]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535)
    throw new ConfigurationError(`${what} ${JSON.stringify(text)}: give HOST:PORT, such as 127.0.0.1:7101`);
  return { host: (match[1] ?? match[2]) as string, port };
}

export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** `n1=HOST:PORT,n2=HOST:PORT,…` */
export function parseInitialCluster(text: string, flag = '--initial-cluster'): Map<string, string> {
  const members = new Map<string, string>();
  for (const part of text.split(',')) {
    const [name, address, ...rest] = part.trim().split('=');
    if (name === undefined || !NAME.test(name) || address === undefined || rest.length > 0) {
      throw new ConfigurationError(`${flag}: ${JSON.stringify(part)} is not NAME=HOST:PORT`);
    }
    if (members.has(name)) throw new ConfigurationError(`${flag} names ${name} twice`);
    const hostPort = formatHostPort(parseHostPort(address, `${flag} ${name}`));
    for (const [other, taken] of members) {
      if (taken === hostPort)
        throw new ConfigurationError(`${flag} gives ${other} and ${name} the same address ${hostPort}`);
    }
    members.set(name, hostPort);
  }
  return members;
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}
