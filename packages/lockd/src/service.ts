/** `lockd/service`: a node without listeners and directory, for whoever brings its own network, disk and time: the simulator. */
export { type FrameSocket, SOCKET_OPEN } from './frame-socket.ts';
export { type Command, decodeCommand, OP } from './lock-table/command.ts';
export { LockTable } from './lock-table/lock-table.ts';
export type { TableSink } from './lock-table/sink.ts';
export { silentLogger } from './log.ts';
export {
  NodeService,
  type ServiceAddresses,
  type ServiceConfiguration,
  type ServiceEnvironment,
} from './node/node-service.ts';
