// One of several processes that call an API as fast as they are allowed to.
//
//   node worker.js '{"name":"worker-1","url":"http://…","endpoints":["ws://…"] or null,"seconds":4}'

import { connect } from '@lockd/client';

const { name, url, endpoints, seconds } = JSON.parse(process.argv[2]);
const end = Date.now() + seconds * 1000;
let calls = 0;

async function call() {
  calls += 1;
  await (await fetch(url)).text();
}

async function asFastAsItGoes() {
  while (Date.now() < end) await call();
}

async function atTheAgreedRate() {
  const client = await connect({ endpoints });
  const slots = client.semaphore('partner-api', { limit: 10 });
  while (Date.now() < end) {
    // A slot that is given back early stays reserved until a second after its grant: ten slots, ten calls a second.
    const permit = await slots.acquire({ minHold: '1s', wait: '30s' });
    await call();
    await permit.release();
  }
  await client.close();
}

await (endpoints === null ? asFastAsItGoes() : atTheAgreedRate());
process.stdout.write(`${JSON.stringify({ name, event: 'done', calls })}\n`);
