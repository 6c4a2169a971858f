/** Which directions between two hosts are cut, and by how many faults each. */
export class Cuts {
  readonly #counts = new Map<string, number>();

  cut(from: string, to: string): void {
    const key = `${from}>${to}`;
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
  }

  /** One fault less; whether nothing cuts the direction any more. */
  mend(from: string, to: string): boolean {
    const key = `${from}>${to}`;
    const left = (this.#counts.get(key) ?? 0) - 1;
    if (left <= 0) return this.#counts.delete(key);
    this.#counts.set(key, left);
    return false;
  }

  /** Whatever cuts this host off is over. */
  mendHost(host: string): void {
    for (const key of [...this.#counts.keys()]) if (key.split('>').includes(host)) this.#counts.delete(key);
  }

  mendAll(): void {
    this.#counts.clear();
  }

  has(from: string, to: string): boolean {
    return this.#counts.has(`${from}>${to}`);
  }
}
