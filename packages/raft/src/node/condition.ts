import type { DriverEvents, NodeCondition } from './driver-api.ts';

/** What the node is, beyond Raft's roles, and why. Each change is told once. */
export class Condition {
  readonly #events: Pick<DriverEvents, 'onConditionChanged'>;
  #current: NodeCondition = 'joining';
  #reason: string | undefined;

  constructor(events: Pick<DriverEvents, 'onConditionChanged'>) {
    this.#events = events;
  }

  get current(): NodeCondition {
    return this.#current;
  }

  /** In words, for people. */
  get reason(): string | undefined {
    return this.#reason;
  }

  /** The node takes no more part, whatever comes. */
  get isFinal(): boolean {
    return this.#current === 'stopped' || this.#current === 'damaged';
  }

  set(condition: NodeCondition, reason: string | undefined): void {
    if (this.#current === condition && this.#reason === reason) return;
    this.#current = condition;
    this.#reason = reason;
    this.#events.onConditionChanged(condition, reason);
  }

  /** `stopped`, by the one who runs the node: nobody has to be told. */
  close(): void {
    this.#current = 'stopped';
  }
}
