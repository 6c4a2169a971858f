/** Rises when a node is replaced or stopped: what was begun in an earlier epoch and calls back late is dropped. */
export class Epoch {
  #current = 0;

  get current(): number {
    return this.#current;
  }

  advance(): number {
    this.#current += 1;
    return this.#current;
  }
}
