/** Tells what one client of the SDK says and hears about sessions and locks, as far as a reader needs it, in words. */
export class ClientStory {
  readonly #nowUs: () => number;
  readonly #say: (what: string, details: string, number: number) => void;
  /** When each renewal without an answer was sent, by session and stamp. */
  readonly #renewals = new Map<string, number>();
  /** What was asked for, by session and handle. */
  readonly #names = new Map<string, string>();

  constructor(nowUs: () => number, say: (what: string, details: string, number: number) => void) {
    this.#nowUs = nowUs;
    this.#say = say;
  }

  /** A message of the protocol has passed, of whatever kind. */
  passed(what: 'sent' | 'got', [kind, ...rest]: readonly unknown[]): void {
    const [session, second] = rest.map(Number) as [number, number];
    if (what === 'sent') this.#sent(String(kind), session, second, rest);
    else this.#got(String(kind), session, second, rest);
  }

  #sent(kind: string, session: number, second: number, rest: readonly unknown[]): void {
    switch (kind) {
      case 'renew':
        this.#renewals.set(`${session} ${second}`, this.#nowUs());
        return;
      case 'acquire':
      case 'acquire-all':
        this.#names.set(`${session} ${second}`, [rest[3]].flat().join(', '));
        return;
      case 'release':
        this.#say('gives back', this.#request(session, Number(rest[3])), session);
        return;
      default:
    }
  }

  #got(kind: string, session: number, second: number, rest: readonly unknown[]): void {
    switch (kind) {
      case 'opened':
        this.#say('has opened', `session ${second}`, second);
        return;
      case 'renewed': {
        const sentUs = this.#renewals.get(`${session} ${second}`);
        if (sentUs === undefined) return;
        this.#renewals.delete(`${session} ${second}`);
        const agoMs = Math.round((this.#nowUs() - sentUs) / 1000);
        this.#say('hears of', `its renewal of session ${session}: acknowledged, ${agoMs} ms after its sending`, agoMs);
        return;
      }
      case 'granted':
        this.#say('is granted', `${this.#request(session, second)}: token ${String(rest[2])}`, session);
        return;
      case 'ended':
        this.#say('hears the end of', `${this.#request(session, second)}: ${String(rest[2])}`, session);
        return;
      case 'session-ended':
        this.#say('hears the end of', `session ${session}: ${String(rest[1])}`, session);
        return;
      default:
    }
  }

  #request(session: number, handle: number): string {
    const names = this.#names.get(`${session} ${handle}`);
    return `${names === undefined ? '' : `${names}, `}handle ${handle} of session ${session}`;
  }
}
