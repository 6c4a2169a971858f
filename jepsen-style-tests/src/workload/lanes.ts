import { LockdError } from '@lockd/client';
import type { Time } from '../clock.ts';
import type { Random } from '../random.ts';
import type { WorkerReport, WorkloadName } from './messages.ts';
import type { Hold, Recorder } from './recorder.ts';
import type { StoreClient } from './store-client.ts';

export interface LaneContext {
  readonly client: string;
  readonly recorder: Recorder;
  readonly time: Time;
  readonly store: StoreClient;
  readonly random: Random;
  readonly ttlMs: number;
  readonly report: (report: WorkerReport) => void;
  readonly stop: AbortSignal;
}

/** One thing done over and over by one client. Resolves when `stop` aborts, with nothing held. */
type Lane = (context: LaneContext) => Promise<void>;

/** Until told to stop, or the lock is lost. */
async function work(hold: Hold, ms: number, time: Time, stop: AbortSignal): Promise<void> {
  await time.sleep(ms, AbortSignal.any([stop, hold.lock.signal]));
}

/** Mostly trying once, sometimes waiting; sometimes looking who has it. */
const exclusive: Lane = async ({ recorder, time, random, stop }) => {
  while (!stop.aborted) {
    const key = `exclusive:${random.between(1, 6)}`;
    const isTry = random.chance(0.5);
    const hold = await recorder.acquire({ keys: [key], waitMs: isTry ? 0 : random.between(500, 8000), isTry });
    if (hold !== undefined) {
      await work(hold, random.chance(0.05) ? random.between(300, 1500) : random.between(0, 30), time, stop);
      await recorder.release(hold);
    }
    if (random.chance(0.15)) await recorder.read(key, 'exclusive');
    await time.sleep(random.between(20, 260), stop);
  }
};

/** Everybody waits for one name. */
const fifo: Lane = async ({ recorder, time, random, stop }) => {
  while (!stop.aborted) {
    const hold = await recorder.acquire({ keys: ['fifo:1'], waitMs: 20_000 });
    if (hold !== undefined) {
      await work(hold, random.between(0, 4), time, stop);
      await recorder.release(hold);
    }
    await time.sleep(random.between(10, 120), stop);
  }
};

/** Gives up waiting at any moment, also while the grant is on its way. */
const cancel: Lane = async ({ recorder, time, random, stop }) => {
  while (!stop.aborted) {
    const key = `cancel:${random.between(1, 2)}`;
    const hold = await recorder.acquire({
      keys: [key],
      waitMs: 10_000,
      ...(random.chance(0.6) ? { cancelAfterMs: random.between(0, 40) } : {}),
    });
    if (hold !== undefined) {
      await work(hold, random.between(0, 25), time, stop);
      await recorder.release(hold);
    }
    if (random.chance(0.1)) await recorder.read(key, 'exclusive');
    await time.sleep(random.between(10, 160), stop);
  }
};

/** Leases of their own, which nobody renews: sometimes extended, sometimes left to end. */
const lease: Lane = async ({ recorder, time, random, stop }) => {
  while (!stop.aborted) {
    const leaseMs = random.between(500, 1500);
    const hold = await recorder.acquire({ keys: [`lease:${random.between(1, 2)}`], waitMs: 10_000, leaseMs });
    if (hold !== undefined) {
      if (random.chance(0.3)) {
        await work(hold, leaseMs / 3, time, stop);
        if (hold.lock.held) await recorder.extend(hold, leaseMs);
      }
      await work(hold, random.chance(0.3) ? leaseMs * 1.5 : random.between(0, leaseMs / 2), time, stop);
      await recorder.release(hold);
    }
    await time.sleep(random.between(20, 260), stop);
  }
};

const shared: Lane = async ({ recorder, time, random, stop }) => {
  while (!stop.aborted) {
    const mode = random.chance(0.75) ? 'shared' : 'exclusive';
    const key = `shared:${random.between(1, 2)}`;
    const hold = await recorder.acquire({ keys: [key], mode, waitMs: random.between(500, 8000) });
    if (hold !== undefined) {
      await work(hold, random.between(0, 25), time, stop);
      await recorder.release(hold);
    }
    if (random.chance(0.1)) await recorder.read(key, 'shared');
    await time.sleep(random.between(20, 260), stop);
  }
};

const semaphore: Lane = async ({ recorder, time, random, stop }) => {
  while (!stop.aborted) {
    const hold = await recorder.acquire({
      keys: ['semaphore:1'],
      mode: 'permit',
      limit: 3,
      waitMs: random.between(500, 8000),
      isTry: random.chance(0.3),
    });
    if (hold !== undefined) {
      await work(hold, random.between(0, 40), time, stop);
      await recorder.release(hold);
    }
    await time.sleep(random.between(20, 260), stop);
  }
};

/** Several names in one step, in any order: must neither deadlock nor be granted in part. */
const multi: Lane = async ({ recorder, time, random, stop }) => {
  const names = ['multi:1', 'multi:2', 'multi:3', 'multi:4'];
  while (!stop.aborted) {
    const keys = random.shuffle(names).slice(0, random.between(1, 3));
    const hold = await recorder.acquire({ keys, waitMs: random.between(500, 8000) });
    if (hold !== undefined) {
      await work(hold, random.between(0, 25), time, stop);
      await recorder.release(hold);
    }
    await time.sleep(random.between(20, 260), stop);
  }
};

/** An inner acquire by the holder shares the hold: the same token, a count of two, and the lock stays until both are back. */
const reentrant: Lane = async ({ recorder, time, random, report, stop }) => {
  while (!stop.aborted) {
    const key = `reentrant:${random.between(1, 2)}`;
    const hold = await recorder.acquire({ keys: [key], waitMs: random.between(500, 8000) });
    if (hold !== undefined) {
      const { lock } = hold;
      try {
        const inner = await recorder.client.acquire(key, {
          reentrant: lock,
          wait: 5000,
          metadata: { owner: hold.owner },
        });
        if (inner.token !== lock.token && lock.held) {
          report({
            type: 'violation',
            check: 're-entry',
            what: `${hold.owner} holds ${key} with token ${lock.token} and re-entered with ${inner.token}`,
          });
        }
        const count = lock.holdCount;
        if (lock.held && inner.held && count !== 2) {
          report({
            type: 'violation',
            check: 're-entry',
            what: `${hold.owner} re-entered ${key} once and is told a hold count of ${count}`,
          });
        }
        await work(hold, random.between(0, 20), time, stop);
        await inner.release();
        await recorder.read(key, 'exclusive');
      } catch (error) {
        if (!(error instanceof LockdError)) throw error;
        report({ type: 'error', code: error.code, message: error.message });
      }
      await recorder.release(hold);
    }
    await time.sleep(random.between(20, 260), stop);
  }
};

/** A job that several clients want to do once for each key. */
const once: Lane = async ({ recorder, time, random, report, stop }) => {
  while (!stop.aborted) {
    // Everybody wants the same job at about the same time; a new one every quarter of a second.
    const key = `job-${Math.floor(time.nowNs() / 2.5e8)}`;
    let startNs: number | undefined;
    let endNs = 0;
    try {
      const result = await recorder.client.once('once:1', { key, wait: 10_000, keep: 600_000 }, async (lock) => {
        startNs = time.nowNs();
        await time.sleep(random.between(0, 15), AbortSignal.any([stop, lock.signal]));
        endNs = time.nowNs();
      });
      if (result.ran && startNs !== undefined)
        report({ type: 'once', key, start: startNs, end: endNs, completed: time.nowNs() });
    } catch (error) {
      if (!(error instanceof LockdError)) throw error;
      if (startNs !== undefined)
        report({ type: 'once', key, start: startNs, end: Math.max(startNs, endNs), completed: null });
      report({ type: 'error', code: error.code, message: error.message });
    }
    await time.sleep(random.between(20, 200), stop);
  }
};

/**
 * Reads a set from a store, works, adds an element and writes the whole set back, as an application would that trusts
 * the lock alone: it does not look at the lock again before it writes. With a fence the store refuses an old token, and
 * the holder raises it before it reads.
 */
function readModifyWrite(isFenced: boolean): Lane {
  const set = isFenced ? 'fenced' : 'unfenced';
  return async ({ client, recorder, time, store, random, report, stop }) => {
    for (let count = 1; !stop.aborted; count++) {
      const hold = await recorder.acquire({ keys: [`${set}:1`], waitMs: 20_000 });
      if (hold === undefined) {
        await time.sleep(random.between(10, 50), stop);
        continue;
      }
      const { token } = hold.lock;
      const fence = isFenced ? { token } : {};
      const values = await store.ask({ op: 'read', set, client, ...fence });
      if (values.ok) {
        report({ type: 'work', set, isOn: true });
        await time.sleep(random.between(30, 150));
        const element = `${client}-${count}`;
        const written = await store.ask({
          op: 'write',
          set,
          client,
          values: [...(values.values ?? []), element],
          ...fence,
        });
        report({ type: 'work', set, isOn: false });
        report(written.ok ? { type: 'added', set, element } : { type: 'rejected', set });
      } else {
        report({ type: 'rejected', set });
      }
      await recorder.release(hold);
      await time.sleep(random.between(10, 60), stop);
    }
  };
}

/** Shared to exclusive and back, which others that share it may stand in the way of. */
const convert: Lane = async ({ recorder, time, random, stop }) => {
  while (!stop.aborted) {
    const key = `convert:${random.between(1, 2)}`;
    const mode = random.chance(0.6) ? 'shared' : 'exclusive';
    const hold = await recorder.acquire({ keys: [key], mode, waitMs: random.between(500, 8000) });
    if (hold !== undefined) {
      let isShared = mode === 'shared';
      for (let changes = random.between(0, 3); changes > 0 && hold.lock.held; changes--) {
        await work(hold, random.between(0, 15), time, stop);
        if (await recorder.convert(hold, isShared ? 'upgrade' : 'downgrade')) isShared = !isShared;
      }
      await work(hold, random.between(0, 15), time, stop);
      await recorder.release(hold);
    }
    if (random.chance(0.15)) await recorder.read(key, 'shared');
    await time.sleep(random.between(20, 260), stop);
  }
};

/** Now and then somebody does not wait, but takes it. */
const steal: Lane = async ({ recorder, time, random, ttlMs, stop }) => {
  while (!stop.aborted) {
    const key = `steal:${random.between(1, 2)}`;
    const isThief = random.chance(0.3);
    const hold = await recorder.acquire({ keys: [key], waitMs: 10_000, ...(isThief ? { steal: true } : {}) });
    if (hold !== undefined) {
      await work(hold, random.chance(0.1) ? ttlMs * 2 : random.between(0, 80), time, stop);
      await recorder.release(hold);
    }
    if (random.chance(0.15)) await recorder.read(key, 'exclusive');
    await time.sleep(random.between(20, 260), stop);
  }
};

/** However well the session is renewed, the hold ends: sometimes before its holder is done. */
const maxhold: Lane = async ({ recorder, time, random, stop }) => {
  while (!stop.aborted) {
    const maxHoldMs = random.between(500, 1500);
    const hold = await recorder.acquire({ keys: [`maxhold:${random.between(1, 2)}`], waitMs: 10_000, maxHoldMs });
    if (hold !== undefined) {
      await work(hold, random.chance(0.3) ? maxHoldMs * 2 : random.between(0, maxHoldMs / 3), time, stop);
      await recorder.release(hold);
    }
    await time.sleep(random.between(20, 260), stop);
  }
};

/** At most once in a while, however soon it is given back. */
const minhold: Lane = async ({ recorder, time, random, stop }) => {
  while (!stop.aborted) {
    const hold = await recorder.acquire({
      keys: [`minhold:${random.between(1, 3)}`],
      waitMs: random.between(500, 8000),
      isTry: random.chance(0.3),
      minHoldMs: random.between(100, 700),
    });
    if (hold !== undefined) {
      await work(hold, random.between(0, 40), time, stop);
      await recorder.release(hold);
    }
    await time.sleep(random.between(20, 260), stop);
  }
};

/** After an end that was no release the name rests: some leases are left to run out. */
const lockdelay: Lane = async ({ recorder, time, random, stop }) => {
  while (!stop.aborted) {
    const isDeadline = random.chance(0.5);
    const endsMs = random.between(300, 700);
    const deadline = random.chance(0.5) ? { leaseMs: endsMs } : { maxHoldMs: endsMs };
    const hold = await recorder.acquire({
      keys: [`lockdelay:${random.between(1, 3)}`],
      waitMs: random.between(500, 8000),
      isTry: random.chance(0.3),
      lockDelayMs: random.between(200, 900),
      ...(isDeadline ? deadline : {}),
    });
    if (hold !== undefined) {
      await work(hold, isDeadline && random.chance(0.4) ? 2000 : random.between(0, 40), time, stop);
      await recorder.release(hold);
    }
    await time.sleep(random.between(20, 260), stop);
  }
};

export const LANES: Readonly<Record<WorkloadName, Lane>> = {
  exclusive,
  fifo,
  cancel,
  lease,
  shared,
  semaphore,
  multi,
  reentrant,
  once,
  convert,
  steal,
  maxhold,
  minhold,
  lockdelay,
  unfenced: readModifyWrite(false),
  fenced: readModifyWrite(true),
};
