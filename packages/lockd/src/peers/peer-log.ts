import type { Logger } from '../log.ts';

/** So many strangers' last words are remembered; at the bound all are forgotten, and may be said once more. */
const STRANGERS_MAX = 64;

/** Logs what happens with peers, each change once: a peer that refuses again and again is not news. */
export class PeerLog {
  readonly #log: Logger;
  /** What was last said about each peer. */
  readonly #peers = new Map<string, string>();
  /** And about names that are not peers. */
  readonly #strangers = new Map<string, string>();

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Nothing was said about this peer yet. */
  begin(peer: string): void {
    this.#peers.set(peer, '');
  }

  /** It is a stranger from now on. */
  forget(peer: string): void {
    this.#peers.delete(peer);
  }

  /** Logs, unless it is what was last said about this name. */
  say(
    about: string,
    level: 'info' | 'warn' | 'error',
    message: string,
    fields: Record<string, string | number | boolean> = {},
  ): void {
    const words = `${message} ${JSON.stringify(fields)}`;
    const known = this.#peers.has(about) ? this.#peers : this.#strangers;
    if (known.get(about) === words) return;
    if (known === this.#strangers && known.size >= STRANGERS_MAX) known.clear();
    known.set(about, words);
    this.#log[level](message, { peer: about, ...fields });
  }
}
