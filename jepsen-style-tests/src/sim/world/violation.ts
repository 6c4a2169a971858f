/** A promise was broken: the run ends here, and its seed replays it. */
export class Violation extends Error {
  override readonly name = 'Violation';
  /** The promise in two or three words; the message begins with it. */
  readonly promise: string;

  constructor(promise: string, what: string) {
    super(`${promise}: ${what}`);
    this.promise = promise;
  }
}
