import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Whether this system tells which process has which socket. */
export function canTellDialers(): boolean {
  return existsSync('/proc/net/tcp') && existsSync('/proc/self/fd');
}

/**
 * Which of these processes has the other end of a connection over loopback: `ports` as the accepting end sees them. The
 * kernel's table of connections names the socket, and a process's open files name it again. `undefined`: none of them,
 * or the connection is over already.
 */
export function dialerAmong(
  ports: { readonly local: number; readonly remote: number },
  processes: ReadonlyMap<string, number | undefined>,
  readTable: () => string = () => readFileSync('/proc/net/tcp', 'utf8'),
): string | undefined {
  const inode = socketOf(readTable(), ports.remote, ports.local);
  if (inode === undefined) return undefined;
  for (const [name, pid] of processes) if (pid !== undefined && hasSocket(pid, inode)) return name;
  return undefined;
}

/** The inode of the socket that is bound to port `own` and connected to port `other`. */
export function socketOf(table: string, own: number, other: number): string | undefined {
  for (const line of table.split('\n')) {
    const [, local = '', remote = '', , , , , , , inode] = line.trim().split(/\s+/);
    if (portOf(local) === own && portOf(remote) === other && inode !== undefined && inode !== '0') return inode;
  }
  return undefined;
}

function portOf(address: string): number {
  return Number.parseInt(address.slice(address.lastIndexOf(':') + 1), 16);
}

function hasSocket(pid: number, inode: string): boolean {
  const directory = `/proc/${pid}/fd`;
  try {
    return readdirSync(directory).some((file) => {
      try {
        return readlinkSync(`${directory}/${file}`) === `socket:[${inode}]`;
      } catch {
        // Closed meanwhile.
        return false;
      }
    });
  } catch {
    return false;
  }
}
