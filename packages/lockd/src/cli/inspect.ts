import type { NameInfo } from '@lockd/client';
import { keepAlive } from '../clock.ts';
import { connectFor, failureOf } from './connection.ts';
import { EXIT } from './exit-codes.ts';
import type { Settings } from './settings.ts';

/** `lockd inspect NAME`: who holds it and who waits. */
export async function inspect(name: string, settings: Settings): Promise<number> {
  const [info] = await withClient(settings, async (client) => [await client.inspect(name)]);
  if (info === undefined) return EXIT.failed;
  process.stdout.write(settings.text('output') === 'json' ? `${JSON.stringify(info)}\n` : describe(info));
  return EXIT.ok;
}

/** `lockd ls [PREFIX]`: the names on which something stands. */
export async function list(prefix: string, settings: Settings): Promise<number> {
  const rows = await withClient(settings, (client) => client.list(prefix));
  if (settings.text('output') === 'json') {
    for (const row of rows) process.stdout.write(`${JSON.stringify(row)}\n`);
  } else {
    for (const row of rows) {
      const tokens = row.holders.map((holder) => holder.token).join(', ');
      const rest = (row.holderCount ?? 0) > row.holders.length ? ', …' : '';
      const held =
        row.holders.length === 0 ? 'free' : `${row.holderCount ?? row.holders.length} held (token ${tokens}${rest})`;
      process.stdout.write(`${printable(row.name)}  ${held}, ${row.waiterCount ?? row.waiters.length} waiting\n`);
    }
  }
  return EXIT.ok;
}

async function withClient<Value>(
  settings: Settings,
  use: (client: Awaited<ReturnType<typeof connectFor>>) => Promise<Value>,
): Promise<Value> {
  const release = keepAlive();
  try {
    const client = await connectFor(settings);
    try {
      return await use(client);
    } catch (error) {
      throw failureOf(error);
    } finally {
      await client.close();
    }
  } finally {
    release();
  }
}

function describe(info: NameInfo): string {
  const lines = [`${printable(info.name)}: ${info.kind}${info.limit === null ? '' : ` with ${info.limit} slots`}`];
  if (info.holders.length === 0) lines.push('  nobody holds it');
  for (const holder of info.holders) {
    const metadata = Object.entries(holder.metadata ?? {}).map(([key, value]) => ` ${key}=${printable(value)}`);
    lines.push(`  held (${holder.mode}) by session ${holder.session}, token ${holder.token}${metadata.join('')}`);
  }
  for (const waiter of info.waiters)
    lines.push(`  ${waiter.position}. session ${waiter.session} waits (${waiter.mode})`);
  const holders = (info.holderCount ?? 0) - info.holders.length;
  const waiters = (info.waiterCount ?? 0) - info.waiters.length;
  if (holders > 0 || waiters > 0) lines.push(`  not shown: ${holders} more holders, ${waiters} more waiters`);
  return `${lines.join('\n')}\n`;
}

/** Names come from anybody: a terminal is not to obey them. */
function printable(text: string): string {
  return /^[\x20-\x7e\u00a0-\uffff]*$/.test(text) ? text : JSON.stringify(text);
}
