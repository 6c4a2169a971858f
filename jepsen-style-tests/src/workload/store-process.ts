import { createServer } from 'node:net';
import { readJsonLines } from '../cluster/json-lines.ts';
import type { StoreAnswer, StoreRequest } from './store-client.ts';

/**
 * The resource that locks protect: named sets in one process, each with the largest token it has seen. A request with a
 * token raises it, or is refused when it is smaller; token and data change in the same step.
 */
const sets = new Map<string, { values: readonly string[]; token: number }>();

function answer(request: StoreRequest): StoreAnswer {
  let set = sets.get(request.set);
  if (set === undefined) {
    set = { values: [], token: 0 };
    sets.set(request.set, set);
  }
  if (request.token !== undefined) {
    if (request.token < set.token) return { ok: false };
    set.token = request.token;
  }
  if (request.op === 'read') return { ok: true, values: set.values };
  set.values = request.values ?? [];
  process.stdout.write(`${JSON.stringify({ event: 'write', set: request.set, client: request.client })}\n`);
  return { ok: true };
}

const server = createServer((socket) => {
  socket.on('error', () => {});
  readJsonLines(socket, (value) => {
    const request = value as StoreRequest & { readonly id: number };
    socket.write(`${JSON.stringify({ id: request.id, ...answer(request) })}\n`);
  });
});
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`${JSON.stringify({ event: 'ready', port: (server.address() as { port: number }).port })}\n`);
});
// The harness is gone when its end of the pipe is.
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
