import { ENTRY_KIND } from '@lockd/raft';
import type { Chance } from '../world/chance.ts';
import type { Counters } from '../world/counters.ts';
import type { Trace } from '../world/trace.ts';
import { Violation } from '../world/violation.ts';
import type { World } from '../world/world.ts';
import type { RaftChecker } from './checker.ts';
import type { Profile } from './profile.ts';
import type { SimNode } from './sim-node.ts';

/** Some clients give up early: they are the ones who see a new leader while an old one still answers others. */
const TIMEOUTS_US = [300_000, 1_000_000, 3_000_000];
const RETRY_US = 50_000;

/** One client, with numbers of its own: another one that is left out changes nothing for it. */
interface Client {
  readonly name: string;
  readonly chance: Chance;
}

interface Request {
  readonly isRead: boolean;
  /** Every position that had been answered to anyone when this was asked. */
  readonly floor: number;
  readonly serial: number;
  isOver: boolean;
}

/**
 * Clients that append numbered commands and read. Linearizable means here: whoever asks after somebody got an answer
 * sees at least what that answer saw. Positions are log indexes, so the check is one comparison.
 */
export class Clients {
  readonly #world: World;
  readonly #trace: Trace;
  readonly #counters: Counters;
  readonly #checker: RaftChecker;
  readonly #chance: Chance;
  readonly #profile: Profile;
  readonly #nodes: () => readonly SimNode[];
  #floor = 0;
  #serial = 0;
  #waiting = 0;
  #isClosed = false;
  #readPerMille: number;
  writesDone = 0;
  readsDone = 0;
  unknown = 0;

  constructor(parts: {
    readonly world: World;
    readonly trace: Trace;
    readonly counters: Counters;
    readonly checker: RaftChecker;
    readonly chance: Chance;
    readonly profile: Profile;
    readonly nodes: () => readonly SimNode[];
  }) {
    this.#world = parts.world;
    this.#trace = parts.trace;
    this.#counters = parts.counters;
    this.#checker = parts.checker;
    this.#chance = parts.chance;
    this.#profile = parts.profile;
    this.#readPerMille = parts.profile.readPerMille;
    this.#nodes = parts.nodes;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** The last position that anyone was told of. */
  get floor(): number {
    return this.#floor;
  }

  start(): void {
    for (let number = 1; number <= this.#profile.clients; number += 1) {
      const name = `c${number}`;
      this.#think({ name, chance: this.#chance.split(name) }, undefined);
    }
  }

  /** From now on as many reads as writes, whatever they were: both are waited for. */
  askForBoth(): void {
    this.#readPerMille = 500;
  }

  /** No further requests. */
  close(): void {
    this.#isClosed = true;
  }

  #think(client: Client, hint: SimNode | undefined): void {
    const { chance } = client;
    const delayUs = chance.oneIn(4) ? 0 : chance.below(2 * this.#profile.thinkUs);
    this.#world.in(delayUs, () => {
      if (!this.#isClosed) this.#ask(client, hint);
    });
  }

  #ask(client: Client, hint: SimNode | undefined): void {
    const { name, chance } = client;
    const isRead = chance.perMille(this.#readPerMille);
    this.#serial += 1;
    const request: Request = { isRead, floor: this.#floor, serial: this.#serial, isOver: false };
    this.#waiting += 1;
    this.#world.in(chance.pick(TIMEOUTS_US), () => {
      if (request.isOver) return;
      this.#finish(request);
      this.unknown += 1;
      this.#counters.add('request without an answer');
      this.#trace.event(this.#world.nowUs, name, 'hears nothing of', () => `request ${request.serial}`, request.serial);
      this.#think(client, undefined);
    });
    this.#send(client, request, hint);
  }

  #send(client: Client, request: Request, hint: SimNode | undefined): void {
    const { chance } = client;
    const node = hint !== undefined && !chance.oneIn(20) ? hint : chance.pick(this.#nodes());
    const process = node.process;
    this.#world.in(chance.between(50, 2_000), () => {
      if (process === undefined || node.process !== process) {
        this.#retry(client, request, undefined);
        return;
      }
      process.arrive(() => {
        if (request.isRead) {
          node.read((answer) =>
            this.#back(client, node, process, () => {
              if (answer.type === 'done') this.#answered(client, request, node, answer.state.index, answer.state.chain);
              else
                this.#retry(
                  client,
                  request,
                  this.#nodes().find((other) => other.id === answer.leader),
                );
            }),
          );
          return;
        }
        node.write(this.#command(request.serial), (answer) =>
          this.#back(client, node, process, () => {
            if (answer.type === 'done') this.#answered(client, request, node, answer.index, undefined);
            // Another entry stands there now: this one will never be committed.
            else
              this.#retry(
                client,
                request,
                this.#nodes().find((other) => other.id === answer.leader),
              );
          }),
        );
      });
    });
  }

  #back(client: Client, node: SimNode, process: SimNode['process'], deliver: () => void): void {
    this.#world.in(client.chance.between(50, 2_000), () => {
      if (node.process === process) deliver();
    });
  }

  #retry(client: Client, request: Request, hint: SimNode | undefined): void {
    if (request.isOver) return;
    this.#world.in(hint === undefined ? RETRY_US : 0, () => {
      if (!request.isOver) this.#send(client, request, hint);
    });
  }

  #answered(client: Client, request: Request, node: SimNode, index: number, chain: number | undefined): void {
    const { name } = client;
    const { isRead, floor, serial } = request;
    this.#trace.event(
      this.#world.nowUs,
      name,
      'gets',
      () => `${isRead ? 'a read of' : 'its write at'} index ${index} from ${node.id} (request ${serial})`,
      index,
      serial,
    );
    if (isRead ? index < floor : index <= floor)
      throw new Violation(
        'linearizability',
        `${name} got ${isRead ? 'a read of' : 'a write at'} index ${index} from ${node.id}, having asked after somebody saw index ${floor}`,
      );
    if (chain !== undefined && this.#checker.chainAt(index) !== chain)
      throw new Violation('linearizability', `${node.id} answered a read with a list that never was`);
    if (this.#checker.committedTerm(index) === undefined && index > 0)
      throw new Violation('linearizability', `${node.id} answered with index ${index}, which nobody committed`);
    this.#floor = Math.max(this.#floor, index);
    if (request.isOver) return;
    this.#finish(request);
    if (isRead) this.readsDone += 1;
    else this.writesDone += 1;
    this.#think(client, node);
  }

  #finish(request: Request): void {
    request.isOver = true;
    this.#waiting -= 1;
  }

  #command(serial: number): Uint8Array {
    const bytes = new Uint8Array(Math.max(5, this.#profile.commandBytes));
    bytes[0] = ENTRY_KIND.command;
    new DataView(bytes.buffer).setUint32(1, serial);
    return bytes;
  }
}
