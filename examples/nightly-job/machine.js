// One of the machines: at each "night" its cron starts the job. All machines do; the job must run once.
//
//   node machine.js '{"name":"web-1","endpoints":["ws://…"],"nights":["2026-11-23"],"skewMs":40,"jobMs":300}'

import { setTimeout as pause } from 'node:timers/promises';
import { connect } from '@lockd/client';

const { name, endpoints, nights, skewMs, jobMs } = JSON.parse(process.argv[2]);

function say(event) {
  process.stdout.write(`${JSON.stringify({ name, ...event })}\n`);
}

const client = await connect({ endpoints, sessionTtl: '2s' });
for (const night of nights) {
  await pause(skewMs);
  // The completion record is kept for a day: longer than any machine's cron can be late.
  const result = await client.once('nightly-report', { key: night, keep: '24h', wait: '30s' }, async (lock) => {
    say({ event: 'started', night, token: lock.token });
    await pause(jobMs);
    say({ event: 'finished', night, token: lock.token });
  });
  say({ event: 'night-over', night, ran: result.ran });
}
await client.close();
