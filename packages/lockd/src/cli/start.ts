import { realClock } from '../clock.ts';
import { DEFAULTS, type NodeConfiguration, parseHostPort, parseInitialCluster } from '../config.ts';
import { createLogger, LOG_LEVELS } from '../log.ts';
import { LockNode } from '../node/lock-node.ts';
import { type NodeStartError, startErrorCode } from '../node/node-error.ts';
import { CommandFailure, EXIT } from './exit-codes.ts';
import type { Settings } from './settings.ts';

/** `lockd start`: one node in the foreground. Resolves to the exit code once it has stopped. */
export async function start(settings: Settings): Promise<number> {
  const configuration = nodeConfiguration(settings);
  const log = createLogger({
    level: settings.oneOf('log-level', LOG_LEVELS) ?? 'info',
    format: settings.oneOf('log-format', ['human', 'json'] as const) ?? (process.stderr.isTTY ? 'human' : 'json'),
    write: (line) => process.stderr.write(line),
    clock: realClock,
    name: configuration.name,
  });
  let stop: (reason: string, exitCode: number) => void = () => {};
  const stopped = new Promise<{ readonly reason: string; readonly exitCode: number }>((resolve) => {
    stop = (reason, exitCode) => resolve({ reason, exitCode });
  });
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => stop(signal, EXIT.ok));
  // `lockd cluster` holds the other end: without it there is nobody left to stop this node.
  process.on('disconnect', () => stop('the process that started this node is gone', EXIT.ok));

  const node = await LockNode.start(configuration, {
    log,
    onFatal: (reason) => {
      log.error('the node cannot go on', { reason });
      stop(reason, EXIT.storage);
    },
  }).catch((error: unknown) => {
    throw startFailure(error);
  });
  const { clientUrl, peerAddress, name } = node;
  if (settings.text('output') === 'json') {
    process.stdout.write(
      `${JSON.stringify({ event: 'ready', name, client: clientUrl, peer: peerAddress, pid: process.pid })}\n`,
    );
  } else {
    process.stdout.write(
      `${name} listens for clients on ${clientUrl} and for peers on ${peerAddress}. Ctrl-C stops it.\n`,
    );
  }
  // Nothing else keeps the process alive when every socket is closed.
  const { reason, exitCode } = await stopped;
  await node.stop(reason);
  return exitCode;
}

function nodeConfiguration(settings: Settings): NodeConfiguration {
  const name = settings.required('name', 'n1');
  const join = settings.text('join');
  return {
    name,
    dataDir: settings.required('data-dir', `./data/${name}`),
    listenClient: parseHostPort(
      settings.required('listen-client', `127.0.0.1:${DEFAULTS.clientPort}`),
      '--listen-client',
    ),
    listenPeer: parseHostPort(settings.required('listen-peer', `127.0.0.1:${DEFAULTS.peerPort}`), '--listen-peer'),
    initialCluster:
      join !== undefined && settings.text('initial-cluster') === undefined
        ? new Map()
        : parseInitialCluster(
            settings.required('initial-cluster', 'n1=127.0.0.1:7201,n2=127.0.0.1:7202,n3=127.0.0.1:7203'),
          ),
    join: join === undefined ? undefined : parseInitialCluster(join, '--join'),
    advertiseClient: advertisedUrl(settings.text('advertise-client')),
    advertisePeer: settings.text('advertise-peer'),
    electionTimeoutMs: settings.integer('election-timeout'),
    heartbeatMs: settings.integer('heartbeat'),
    snapshotMinBytes: settings.integer('snapshot-min-bytes'),
    clientToken: settings.text('client-token'),
    insecureListen: settings.flag('insecure-listen'),
    insecurePeerListen: settings.flag('insecure-peer-listen'),
  };
}

function advertisedUrl(given: string | undefined): string | undefined {
  return given === undefined || /^wss?:\/\//.test(given) ? given : `ws://${given}`;
}

function startFailure(error: unknown): unknown {
  switch (startErrorCode(error)) {
    case 'configuration':
      return new CommandFailure((error as NodeStartError).message, EXIT.usage);
    case 'listen':
      return new CommandFailure((error as NodeStartError).message, EXIT.listen);
    case 'data-directory':
      return new CommandFailure((error as NodeStartError).message, EXIT.dataDirectory);
    case undefined:
      return error;
  }
}
