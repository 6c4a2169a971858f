/**
 * What the other side sent is not this protocol: a frame that cannot be decoded, a message with missing or wrong
 * fields, a bound exceeded. The receiver answers `error` with code LOCKD_PROTOCOL and closes the connection.
 */
export class ProtocolError extends Error {
  readonly code = 'LOCKD_PROTOCOL';

  constructor(message: string) {
    super(message);
    this.name = 'ProtocolError';
  }
}
