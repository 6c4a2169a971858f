const BITS = 32;

/** The slots of a semaphore, numbered from 1: a bitmap, and where to begin looking for a free one. */
export class Slots {
  readonly #words: number[] = [];
  /** No word before this one has a free slot. */
  #firstFreeWord = 0;

  /** Takes the lowest free slot and returns its number. */
  takeLowest(): number {
    let word = this.#firstFreeWord;
    while ((this.#words[word] ?? 0) === -1) word++;
    this.#firstFreeWord = word;
    const bits = this.#words[word] ?? 0;
    // The lowest zero bit of `bits` is the lowest set bit of its complement.
    const bit = BITS - 1 - Math.clz32(~bits & -~bits);
    this.#set(word, bits | (1 << bit));
    return word * BITS + bit + 1;
  }

  take(slot: number): void {
    const word = Math.floor((slot - 1) / BITS);
    this.#set(word, (this.#words[word] ?? 0) | (1 << ((slot - 1) % BITS)));
  }

  free(slot: number): void {
    const word = Math.floor((slot - 1) / BITS);
    this.#set(word, (this.#words[word] ?? 0) & ~(1 << ((slot - 1) % BITS)));
    if (word < this.#firstFreeWord) this.#firstFreeWord = word;
  }

  #set(word: number, bits: number): void {
    while (this.#words.length <= word) this.#words.push(0);
    this.#words[word] = bits;
  }
}
