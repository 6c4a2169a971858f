import type { HeldLock } from './held-lock.ts';

/** The locks whose `withLock` encloses the present call, innermost first. */
interface Holding {
  readonly lock: HeldLock;
  readonly outer: Holding | undefined;
}

interface AsyncStorage {
  getStore(): Holding | undefined;
  run<Value>(store: Holding, action: () => Value): Value;
}

/** `process.getBuiltinModule` (Node 20.16) needs no import, so this file loads in browsers, which go without. */
interface Runtime {
  readonly process?: {
    readonly getBuiltinModule?: (name: string) => { readonly AsyncLocalStorage: new () => AsyncStorage } | undefined;
  };
}

/** Deep enough for any real nesting, and below what a server takes. */
const MAX_DEPTH = 1000;

/** Knows, where the runtime can tell, which locks the asynchronous context holds through `withLock`. */
export class HoldingContext {
  readonly #storage: AsyncStorage | undefined;

  /** Without `isEnabled` nothing is tracked, and on Node 20 promises cost less. */
  constructor(isEnabled: boolean) {
    const hooks = !isEnabled ? undefined : (globalThis as Runtime).process?.getBuiltinModule?.('node:async_hooks');
    this.#storage = hooks === undefined ? undefined : new hooks.AsyncLocalStorage();
  }

  get isKnown(): boolean {
    return this.#storage !== undefined;
  }

  /** Innermost first. Locks of every client of this storage; the caller picks its own. */
  locks(): readonly HeldLock[] {
    const locks: HeldLock[] = [];
    for (
      let holding = this.#storage?.getStore();
      holding !== undefined && locks.length < MAX_DEPTH;
      holding = holding.outer
    ) {
      locks.push(holding.lock);
    }
    return locks;
  }

  get isEmpty(): boolean {
    return this.#storage?.getStore() === undefined;
  }

  run<Value>(lock: HeldLock, action: () => Value): Value {
    const storage = this.#storage;
    if (storage === undefined) return action();
    return storage.run({ lock, outer: storage.getStore() }, action);
  }
}
