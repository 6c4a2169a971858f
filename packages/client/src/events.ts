import type { LossReason } from './errors.ts';

/** What happens to a client's connection and session, by name. */
export interface ClientEvents {
  /** Attached to a node; operations flow. */
  connected: { readonly endpoint: string; readonly node: string; readonly isLeader: boolean };
  disconnected: { readonly endpoint: string; readonly reason: string };
  /** Half of the TTL has passed without an acknowledged renewal: everything is still held, but something is wrong. */
  suspect: { readonly session: number; readonly remainingMs: number };
  /** A renewal was acknowledged after `suspect`. */
  recovered: { readonly session: number };
  /** The session is over and all it held is lost; a new one is opened. The locks' signals have aborted before this. */
  lost: { readonly session: number; readonly reason: LossReason };
  /** A session is open: the first one, or the one after a loss. */
  opened: { readonly session: number };
}

type Listener<Name extends keyof ClientEvents> = (event: ClientEvents[Name]) => void;

/** Listeners by event name. What a listener throws goes to `onError`, never to whoever emits. */
export class Emitter {
  readonly #listeners = new Map<keyof ClientEvents, Set<(event: never) => void>>();
  readonly #onError: (error: unknown) => void;

  constructor(onError: (error: unknown) => void) {
    this.#onError = onError;
  }

  /** Returns a function that removes the listener. */
  on<Name extends keyof ClientEvents>(name: Name, listener: Listener<Name>): () => void {
    let listeners = this.#listeners.get(name);
    if (listeners === undefined) {
      listeners = new Set();
      this.#listeners.set(name, listeners);
    }
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  emit<Name extends keyof ClientEvents>(name: Name, event: ClientEvents[Name]): void {
    const listeners = this.#listeners.get(name);
    if (listeners === undefined) return;
    for (const listener of listeners) {
      try {
        (listener as Listener<Name>)(event);
      } catch (error) {
        this.#onError(error);
      }
    }
  }
}
