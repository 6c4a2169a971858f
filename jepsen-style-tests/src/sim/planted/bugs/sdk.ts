import type { PlantedBug } from '../planted-bug.ts';

/** What a client believes. */
export const SDK_BUGS: readonly PlantedBug[] = [
  {
    name: 'lease-counted-from-answer',
    what: 'the SDK counts its lease from the acknowledgement of a renewal, not from its sending',
    edits: [
      { module: 'client/dist/lease-renewer', find: 'acknowledged(stamp) {', replace: 'acknowledged(stamp, now) {' },
      { module: 'client/dist/lease-renewer', find: 'this.#since = sentAt;', replace: 'this.#since = now;' },
      {
        module: 'client/dist/session-keeper',
        find: 'this.#current.renewer?.acknowledged(stamp);',
        replace: 'this.#current.renewer?.acknowledged(stamp, now());',
      },
    ],
    shownBy: { world: 'service', seed: 1, faults: ['client hears late, and is not heard then'] },
  },
  {
    name: 'held-cached',
    what: 'the SDK remembers that a lock is held until its signal says otherwise',
    edits: [
      {
        module: 'client/dist/held-lock',
        find: 'return this.#request.isHeld(this.#request.host.now());',
        replace: `this.wasHeld ??= this.#request.isHeld(this.#request.host.now());
        return this.wasHeld && !this.#request.isReleased && this.#request.lossReason === undefined;`,
      },
    ],
    shownBy: { world: 'service', seed: 1, faults: ['client stalled beyond the TTL'] },
  },
];
