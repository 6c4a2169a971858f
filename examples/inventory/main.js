// The story: 8 tickets are left, 4 shops sell them at the same time.
//
//   node examples/inventory/main.js        (after `npm start` or `npm test` has built the packages)
//
// It starts a cluster of its own, tells what happens, checks the outcome and exits with 1 if it is not as promised.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findLeader, startCluster } from '@lockd/example-support/cluster';
import { chapter, check, play, startProcess, tell } from '@lockd/example-support/processes';
import { openStore } from './store.js';

const ITEM = 'ticket';
const STOCK = 8;
const SHOPS = ['shop-1', 'shop-2', 'shop-3', 'shop-4'];

const folder = mkdtempSync(join(tmpdir(), 'lockd-inventory-'));
const file = join(folder, 'store.db');
const store = openStore(file);
const script = fileURLToPath(new URL('./order-process.js', import.meta.url));

/** Starts order processes and opens them all once all are ready; `onEvent` sees what they say. */
function openShops(names, options, onEvent = () => {}) {
  const waiting = [];
  return names.map((name) =>
    startProcess(script, { name, file, item: ITEM, chargeMs: 40, orders: STOCK, ...options }, (event, child) => {
      onEvent(event, child);
      if (event.event !== 'ready') return;
      waiting.push(child);
      if (waiting.length === names.length) for (const shop of waiting) shop.stdin.write('open\n');
    }),
  );
}

/** All that these processes said, once they have ended. */
async function ended(shops) {
  return (await Promise.all(shops.map((shop) => shop.ended))).flat();
}

function tellSales() {
  const sales = store.sales(ITEM);
  const byShop = SHOPS.map((shop) => `${shop}: ${sales.filter((sale) => sale.buyer === shop).length}`);
  tell(`${sales.length} tickets sold of ${STOCK} (${byShop.join(', ')}), the shelf says ${store.stock(ITEM)}`);
  return sales;
}

async function withoutLock() {
  chapter(`1. Without a lock: ${SHOPS.length} shops, ${STOCK} tickets`);
  store.reset(ITEM, STOCK);
  await ended(openShops(SHOPS, { mode: 'none' }));
  const sales = tellSales();
  check(`it oversells: ${sales.length - STOCK} tickets were sold that do not exist`, sales.length > STOCK);
}

async function withLockd(endpoints) {
  chapter('2. With lockd, and the leader is killed (kill -9) in the middle');
  store.reset(ITEM, STOCK);
  let sold = 0;
  /** @type {Promise<{ name: string, pid: number }> | undefined} */
  let killed;
  const onEvent = (event) => {
    if (event.event === 'error') tell(`${event.name}: ${event.code ?? ''} ${event.message}`);
    if (event.event !== 'sold') return;
    tell(`${event.name} sold a ticket with token ${event.token}, ${event.left} left`);
    if (++sold === Math.floor(STOCK / 2)) {
      killed = findLeader(endpoints).then((leader) => {
        process.kill(leader.pid, 'SIGKILL');
        tell(`kill -9 ${leader.name}, the leader`);
        return leader;
      });
    }
  };
  await ended(openShops(SHOPS, { mode: 'lockd', endpoints, chargeMs: 400 }, onEvent));
  const leader = await killed;
  const sales = tellSales();
  const tokens = sales.map((sale) => sale.token);
  check('exactly the tickets that exist were sold', sales.length === STOCK && store.stock(ITEM) === 0);
  check(
    'every token is larger than the one before',
    tokens.every((token, position) => position === 0 || token > tokens[position - 1]),
  );
  const next = await findLeader(endpoints);
  check(
    `the leader was killed and another one took over (${leader?.name} → ${next.name}, term ${next.term})`,
    leader !== undefined && next.pid !== leader.pid,
  );
}

async function frozenHolder(endpoints) {
  chapter('3. With lockd, and the holder is frozen (SIGSTOP) past its lease');
  store.reset(ITEM, STOCK);
  const sessionTtl = '3s';
  let frozenToken;
  let wakeUp = () => {};
  const frozen = new Promise((resolve) => {
    wakeUp = resolve;
  });
  const [sleeper] = openShops(
    ['shop-1'],
    { mode: 'lockd', endpoints, sessionTtl, chargeMs: 300, orders: 1 },
    (event, child) => {
      if (event.event === 'charging' && frozenToken === undefined) {
        frozenToken = event.token;
        child.kill('SIGSTOP');
        tell(
          `shop-1 holds the lock with token ${event.token}, has read "${event.stock} left", charges the card … and is frozen`,
        );
        wakeUp();
      }
      if (event.event === 'refused')
        tell(`shop-1 wakes up and writes what it computed before; the store refuses token ${event.token}`);
      if (event.event === 'sold') tell(`shop-1 sold with token ${event.token}`);
      if (event.event === 'told-of-loss') tell(`shop-1 is told by its lock: ${event.reason}`);
    },
  );
  await frozen;
  const onSold = (event) => {
    if (event.event === 'sold')
      tell(`shop-2 got the lock when the lease had ended, and sold with token ${event.token}, ${event.left} left`);
  };
  const other = await ended(openShops(['shop-2'], { mode: 'lockd', endpoints, sessionTtl, orders: 3 }, onSold));
  sleeper.child.kill('SIGCONT');
  const asleep = await sleeper.ended;
  const sales = tellSales();
  check('the others went on after the lease had ended', other.filter((event) => event.event === 'sold').length === 3);
  check(
    'the stale write was refused by the store',
    asleep.some((event) => event.event === 'refused' && event.token === frozenToken),
  );
  check(
    'the frozen process was told that it had lost the lock',
    asleep.some((event) => event.event === 'told-of-loss'),
  );
  check('nothing was lost or sold twice', sales.length === 3 && store.stock(ITEM) === STOCK - 3);
}

let cluster;
await play(
  async () => {
    await withoutLock();
    cluster = await startCluster(join(folder, 'cluster'));
    const endpoints = cluster.nodes.map((node) => node.client);
    tell('');
    tell(`a cluster of three nodes is up, ${cluster.leader} leads: ${endpoints.join(' ')}`);
    await withLockd(endpoints);
    await frozenHolder(endpoints);
  },
  async () => {
    await cluster?.stop();
    store.close();
    rmSync(folder, { recursive: true, force: true });
  },
);
