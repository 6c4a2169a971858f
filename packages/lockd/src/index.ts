/** `lockd`: a node inside your own process. The service as processes of its own is the `lockd` command. */
import type { NodeConfiguration } from './config.ts';
import { LockNode, type NodeEnvironment } from './node/lock-node.ts';

export { ConfigurationError, type HostPort, type NodeConfiguration } from './config.ts';
export { createLogger, type Logger, type LogLevel, silentLogger } from './log.ts';
export { LockNode, type NodeEnvironment } from './node/lock-node.ts';
export { NodeStartError, type StartErrorCode } from './node/node-error.ts';

/** Starts a node. Resolves once it has recovered and listens, leader or not; rejects with a `NodeStartError`. */
export function createNode(configuration: NodeConfiguration, environment: NodeEnvironment = {}): Promise<LockNode> {
  return LockNode.start(configuration, environment);
}
