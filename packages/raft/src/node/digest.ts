import { createHash, hash } from 'node:crypto';

/** Length of a digest in bytes. */
export const DIGEST_BYTES = 8;

/** The digest before the first block. */
export const NO_DIGEST: Uint8Array = new Uint8Array(DIGEST_BYTES);

/**
 * The first 8 bytes of SHA-1: against decay and mix-ups, not against an attacker. Measured on Node 20: 1.3 µs, and
 * 0.6 µs a KiB. A CRC-32 is cheaper below 1 KiB, but 32 bits are too few for a chain of a million blocks, and 64-bit
 * CRCs or xxHash would be a dependency or slower in JavaScript.
 */
export function digestOf(bytes: Uint8Array): Uint8Array {
  return hash('sha1', bytes, 'buffer').subarray(0, DIGEST_BYTES);
}

export function equalBytes(left: Uint8Array, right: Uint8Array): boolean {
  if (left.length !== right.length) return false;
  for (let at = 0; at < left.length; at++) if (left[at] !== right[at]) return false;
  return true;
}

/** The running digest of a file's content, as hexadecimal text. */
export class ContentHash {
  readonly #hash = createHash('sha1');

  update(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  /** The digest of what came so far; more may follow. */
  value(): string {
    return this.#hash.copy().digest('hex');
  }
}

/** `bytes` followed by their digest. */
export function seal(bytes: Uint8Array): Uint8Array {
  const sealed = new Uint8Array(bytes.length + DIGEST_BYTES);
  sealed.set(bytes);
  sealed.set(digestOf(bytes), bytes.length);
  return sealed;
}

/** What `seal` was given, without copying; undefined if anything of it changed. */
export function unseal(sealed: Uint8Array): Uint8Array | undefined {
  if (sealed.length < DIGEST_BYTES) return undefined;
  const bytes = sealed.subarray(0, sealed.length - DIGEST_BYTES);
  return equalBytes(digestOf(bytes), sealed.subarray(bytes.length)) ? bytes : undefined;
}
