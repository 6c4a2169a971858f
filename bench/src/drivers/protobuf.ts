/** The few lines of Protocol Buffers that etcd's lock calls need: varints, bytes, nested messages. */

export class ProtobufWriter {
  readonly #parts: Buffer[] = [];

  /** Integers and enums, below 2^63. Zero is the default and not written. */
  integer(field: number, value: number | bigint): this {
    if (BigInt(value) !== 0n) this.#parts.push(varint(BigInt(field) << 3n), varint(BigInt(value)));
    return this;
  }

  /** Bytes, strings and nested messages. Written also when empty: an empty nested message is not an absent one. */
  bytes(field: number, value: Buffer | string): this {
    const bytes = typeof value === 'string' ? Buffer.from(value) : value;
    this.#parts.push(varint((BigInt(field) << 3n) | 2n), varint(BigInt(bytes.length)), bytes);
    return this;
  }

  finish(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

/** Top-level fields of a message: varints as bigint, bytes as Buffer; of a repeated field the last. Throws on what it cannot read. */
export function readProtobuf(message: Buffer): ReadonlyMap<number, bigint | Buffer> {
  const fields = new Map<number, bigint | Buffer>();
  let offset = 0;
  const next = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = message[offset++];
      if (byte === undefined || shift > 63n) throw new Error('protobuf: broken varint');
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (offset < message.length) {
    const tag = next();
    const field = Number(tag >> 3n);
    switch (Number(tag & 7n)) {
      case 0:
        fields.set(field, next());
        break;
      case 1:
        offset += 8;
        break;
      case 2: {
        const length = Number(next());
        fields.set(field, message.subarray(offset, offset + length));
        offset += length;
        break;
      }
      case 5:
        offset += 4;
        break;
      default:
        throw new Error(`protobuf: wire type ${tag & 7n}`);
    }
  }
  return fields;
}

function varint(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 0x7fn) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}
