// One order process: sells pieces of one item until the shelf is empty. Started several times by main.js.
//
//   node order-process.js '{"name":"shop-1","file":"…","item":"ticket","mode":"lockd","endpoints":["ws://…"]}'
//
// It says what it does as one JSON line each on standard output.

import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { connect } from '@lockd/client';
import { openStore } from './store.js';

const { name, file, item, mode, endpoints, sessionTtl, chargeMs, orders } = JSON.parse(process.argv[2]);
const store = openStore(file);

function say(event) {
  process.stdout.write(`${JSON.stringify({ name, ...event })}\n`);
}

/** The slow part between reading and writing: here the card is charged. */
function chargeCard() {
  return pause(chargeMs);
}

/** Sells one piece; false when the shelf is empty. Read, charge, write back: correct only for one process at a time. */
async function sellOne(token) {
  const stock = store.stock(item);
  if (stock === 0) return false;
  say({ event: 'charging', stock, token });
  await chargeCard();
  if (store.sell(item, stock - 1, name, token)) say({ event: 'sold', left: stock - 1, token });
  else say({ event: 'refused', token });
  return true;
}

async function sellWithoutLock() {
  for (let order = 0; order < orders; order++) if (!(await sellOne(0))) return;
}

async function sellWithLock() {
  const client = await connect({ endpoints, ...(sessionTtl === undefined ? {} : { sessionTtl }) });
  try {
    for (let order = 0; order < orders; order++) {
      const sold = await client.withLock(`inventory:${item}`, { wait: '60s' }, async (lock) => {
        // A careful process would also give `lock.signal` to everything it starts. This one does not, on purpose:
        // it stands for a request that was already on its way when the lock was lost. The fence is for that.
        if (!store.raiseFence(item, lock.token)) return true;
        const more = await sellOne(lock.token);
        if (lock.signal.aborted)
          say({ event: 'told-of-loss', reason: String(lock.signal.reason?.message ?? lock.signal.reason) });
        return more;
      });
      if (!sold) return;
    }
  } finally {
    await client.close();
  }
}

// All shops open at the same moment, however long each took to start.
say({ event: 'ready' });
await once(process.stdin, 'data');
process.stdin.destroy();

try {
  await (mode === 'lockd' ? sellWithLock() : sellWithoutLock());
  say({ event: 'done' });
} catch (error) {
  say({ event: 'error', code: error?.code, message: String(error?.message ?? error) });
  process.exitCode = 1;
} finally {
  store.close();
}
