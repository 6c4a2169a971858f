/** Chance, as the SDK uses it. Tests and the simulator have their own. */
export interface Random {
  /** Uniform in [0, 1): jitter of back-offs. */
  next(): number;
  /** 128 bits that nobody can guess, as 32 hex digits: the secret of a session. */
  secret(): string;
}

interface Crypto {
  getRandomValues(target: Uint32Array): Uint32Array;
}

const words = new Uint32Array(4);

function randomWords(): Uint32Array {
  return (globalThis as unknown as { readonly crypto: Crypto }).crypto.getRandomValues(words);
}

export const realRandom: Random = {
  next: () => (randomWords()[0] as number) / 4294967296,
  secret: () => Array.from(randomWords(), (word) => word.toString(16).padStart(8, '0')).join(''),
};
