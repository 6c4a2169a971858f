/** The part of ZooKeeper's wire format (jute) that a lock needs: big-endian integers, length-prefixed strings. */

export const OPCODE = { create: 1, delete: 2, exists: 3, getChildren: 8, ping: 11, close: -11 } as const;
export const ERROR = { ok: 0, noNode: -101, nodeExists: -110 } as const;
export const CREATE_FLAGS = { persistent: 0, ephemeral: 1, ephemeralSequential: 3 } as const;
/** Every permission for everyone. */
const OPEN_ACL = { permissions: 31, scheme: 'world', id: 'anyone' } as const;

export class JuteWriter {
  readonly #parts: Buffer[] = [];

  int(value: number): this {
    const bytes = Buffer.allocUnsafe(4);
    bytes.writeInt32BE(value);
    this.#parts.push(bytes);
    return this;
  }

  long(value: bigint): this {
    const bytes = Buffer.allocUnsafe(8);
    bytes.writeBigInt64BE(value);
    this.#parts.push(bytes);
    return this;
  }

  bool(value: boolean): this {
    this.#parts.push(Buffer.from([value ? 1 : 0]));
    return this;
  }

  bytes(value: Buffer): this {
    this.int(value.length);
    this.#parts.push(value);
    return this;
  }

  string(value: string): this {
    return this.bytes(Buffer.from(value));
  }

  /** With the four bytes of length that begin every frame. */
  frame(): Buffer {
    const body = Buffer.concat(this.#parts);
    const length = Buffer.allocUnsafe(4);
    length.writeInt32BE(body.length);
    return Buffer.concat([length, body]);
  }
}

/** Reads in order; throws a RangeError beyond the end. */
export class JuteReader {
  readonly #bytes: Buffer;
  #offset = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  int(): number {
    this.#offset += 4;
    return this.#bytes.readInt32BE(this.#offset - 4);
  }

  long(): bigint {
    this.#offset += 8;
    return this.#bytes.readBigInt64BE(this.#offset - 8);
  }

  /** Length −1 is an absent buffer, read as an empty one. */
  bytes(): Buffer {
    const length = Math.max(0, this.int());
    this.#offset += length;
    return this.#bytes.subarray(this.#offset - length, this.#offset);
  }

  string(): string {
    return this.bytes().toString();
  }

  strings(): string[] {
    return Array.from({ length: Math.max(0, this.int()) }, () => this.string());
  }
}

export interface ConnectRequest {
  readonly timeoutMs: number;
  /** 0 for a new session. */
  readonly session: bigint;
  readonly password: Buffer;
}

export function connectFrame(request: ConnectRequest): Buffer {
  return new JuteWriter()
    .int(0)
    .long(0n)
    .int(request.timeoutMs)
    .long(request.session)
    .bytes(request.password)
    .bool(false)
    .frame();
}

export function readConnectResponse(bytes: Buffer): ConnectRequest {
  const reader = new JuteReader(bytes);
  reader.int();
  return { timeoutMs: reader.int(), session: reader.long(), password: Buffer.from(reader.bytes()) };
}

export function createFrame(xid: number, path: string, flags: number): Buffer {
  return new JuteWriter()
    .int(xid)
    .int(OPCODE.create)
    .string(path)
    .bytes(Buffer.alloc(0))
    .int(1)
    .int(OPEN_ACL.permissions)
    .string(OPEN_ACL.scheme)
    .string(OPEN_ACL.id)
    .int(flags)
    .frame();
}

export function deleteFrame(xid: number, path: string): Buffer {
  return new JuteWriter().int(xid).int(OPCODE.delete).string(path).int(-1).frame();
}

export function existsFrame(xid: number, path: string, watch: boolean): Buffer {
  return new JuteWriter().int(xid).int(OPCODE.exists).string(path).bool(watch).frame();
}

export function getChildrenFrame(xid: number, path: string): Buffer {
  return new JuteWriter().int(xid).int(OPCODE.getChildren).string(path).bool(false).frame();
}

export function headerFrame(xid: number, opcode: number): Buffer {
  return new JuteWriter().int(xid).int(opcode).frame();
}
