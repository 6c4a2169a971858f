import type { Clock, Connection, ConnectionHandler, Random, Transport } from '@lockd/client';
import type { Time } from '../../clock.ts';
import type { Chance } from '../world/chance.ts';
import type { SimulatedProcess } from '../world/process.ts';
import type { World } from '../world/world.ts';
import type { Internet, Party } from './internet.ts';

/** Milliseconds since 1970 of a wall clock when its process starts. */
const WALL_ORIGIN_MS = 1_700_000_000_000;
const BILLION = 1_000_000_000;

/** The clocks of a simulated client, as the SDK sees them. */
export class ClientClock implements Clock {
  readonly #world: World;
  readonly #process: SimulatedProcess;
  /** How far the wall clock has been set. */
  jumpedMs = 0;

  constructor(world: World, process: SimulatedProcess) {
    this.#world = world;
    this.#process = process;
  }

  now(): { readonly monotonicMs: number; readonly wallMs: number } {
    const monotonicMs = this.#process.nowMs();
    return { monotonicMs, wallMs: WALL_ORIGIN_MS + monotonicMs + this.#process.sleptMs + this.jumpedMs };
  }

  after(delayMs: number, callback: () => void): () => void {
    return this.#process.clock.after(delayMs, () => {
      callback();
      this.#world.touch();
    });
  }

  endOfTurn(callback: () => void): void {
    this.#process.clock.endOfTurn(callback);
  }
}

/** Chance, as the SDK uses it. */
export function clientRandom(chance: Chance): Random {
  return {
    next: () => chance.below(BILLION) / BILLION,
    secret: () =>
      Array.from({ length: 4 }, () =>
        (chance.below(65_536) * 65_536 + chance.below(65_536)).toString(16).padStart(8, '0'),
      ).join(''),
  };
}

/** What is done over and over is done this often at most: beliefs are compared at every grant anyway. */
const LOOK_EVERY_MS = 50;
/** Longer sleeps are part of what a lane does, shorter ones are what it does in between. */
const THINKING_MS = 300;

/**
 * Time of a workload: instants of true time, delays by the client's own clock, nothing once its process has ended.
 * `pace`: how many times as long a client thinks.
 */
export function workloadTime(world: World, process: SimulatedProcess, pace: () => number): Time {
  const after = (ms: number, fn: () => void): (() => void) =>
    process.clock.after(ms, () => {
      fn();
      world.touch();
    });
  return {
    nowNs: () => world.nowUs * 1000,
    after,
    every(ms, fn) {
      let cancel = (): void => {};
      const again = (): void => {
        cancel = process.clock.after(Math.max(ms, LOOK_EVERY_MS), () => {
          again();
          fn();
        });
      };
      again();
      return () => cancel();
    },
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted === true) {
          resolve();
          return;
        }
        const done = (): void => {
          cancel();
          signal?.removeEventListener('abort', done);
          resolve();
          world.touch();
        };
        const cancel = after(ms > THINKING_MS ? ms : ms * pace(), done);
        signal?.addEventListener('abort', done, { once: true });
      }),
  };
}

/** Connections of a client to the nodes that listen at `ws://NAME`. */
export function simulatedTransport(
  internet: Internet,
  party: Party,
  subprotocols: readonly string[],
  onReceived: () => void,
): Transport {
  return {
    open(endpoint: string, handler: ConnectionHandler): Connection {
      const socket = internet.dial(party, endpoint.replace('ws://', ''), endpoint, subprotocols);
      socket.on('open', () => handler.onOpen(socket.protocol));
      socket.on('message', (data: Buffer, isBinary: boolean) => {
        handler.onFrame(isBinary ? data : data.toString());
        onReceived();
      });
      socket.on('close', () => handler.onClose(socket.reason));
      return { send: (frame) => socket.send(frame), close: () => socket.close() };
    },
  };
}
