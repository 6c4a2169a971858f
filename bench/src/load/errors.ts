/** Counts failures by their stable code where they have one, else by message; bounded, so that a storm of texts cannot fill memory. */
export class ErrorCounts {
  readonly #counts = new Map<string, number>();

  add(error: unknown): void {
    const key = nameOf(error);
    const known = this.#counts.get(key);
    if (known === undefined && this.#counts.size >= 50)
      this.#counts.set('others', (this.#counts.get('others') ?? 0) + 1);
    else this.#counts.set(key, (known ?? 0) + 1);
  }

  toRecord(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }
}

function nameOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as { code?: unknown };
  return typeof code === 'string' ? code : error.message.slice(0, 80);
}
