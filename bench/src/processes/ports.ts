import { createServer } from 'node:net';

// Below the range from which systems take the local ports of outgoing connections (32768 on Linux, 49152 on macOS):
// otherwise a client's socket could take a server's port between this check and the server's start.
const LOWEST = 20_000;
const HIGHEST = 32_000;

/** The first of `count` consecutive ports that nobody on loopback listens on. Rejects after 100 tries. */
export async function findFreePorts(count: number): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const first = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST - count));
    const ports = Array.from({ length: count }, (_, offset) => first + offset);
    const free = await Promise.all(ports.map(isFree));
    if (free.every(Boolean)) return first;
  }
  throw new Error(`no ${count} consecutive free ports between ${LOWEST} and ${HIGHEST}`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
