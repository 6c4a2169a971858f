/** `@lockd/client`: the SDK. Begin with `connect`. */
export type { Clock, Instant } from './clock.ts';
export { type ConnectOptions, connect } from './connect.ts';
export { LockdError, LockLost, type LossReason } from './errors.ts';
export type { ClientEvents } from './events.ts';
export type { HeldLock, LockState } from './held-lock.ts';
export type { LockBody, LockClient, OnceOptions, OnceResult } from './lock-client.ts';
export type { AcquireLockOptions } from './options.ts';
export type { Duration, ErrorCode, HolderInfo, NameInfo, NodeStatus, Outcome } from './protocol/index.ts';
export type { Random } from './random.ts';
export type { TryResult } from './request-spec.ts';
export type { PermitOptions, Semaphore } from './semaphore.ts';
export type { Connection, ConnectionHandler, Transport } from './transport.ts';
export { type WebSocketTransportOptions, webSocketTransport } from './websocket-transport.ts';
