import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Random } from '../random.ts';
import { atExit } from './child-registry.ts';

/** Where a node lives that has a network of its own. */
export interface NodeHost {
  /** Its end of the link that everything takes but the watch. */
  readonly address: string;
  /** Our end of it: here a node reaches others. */
  readonly gateway: string;
  /** Its end of a link that no fault touches. */
  readonly watchAddress: string;
  /** Runs a command in its network. */
  readonly prefix: readonly string[];
}

export type PacketDirection = 'to' | 'from';

/** Why nodes cannot have networks of their own here; `undefined`: they can. */
export function namespaceProblem(): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'network namespaces need root, on Linux';
  if (!runs('ip', '-V') || !runs('tc', '-V')) return 'ip or tc is not installed (Debian: apt-get install iproute2)';
  const probe = `lockd-probe-${process.pid}`;
  const device = `lp${process.pid % 1_000_000}`;
  try {
    run('ip', 'netns', 'add', probe);
    run('ip', 'link', 'add', device, 'type', 'veth', 'peer', 'name', 't0', 'netns', probe);
    run('tc', 'qdisc', 'replace', 'dev', device, 'root', 'pfifo', 'limit', '0');
    run('ip', 'link', 'add', `${device}b`, 'type', 'bridge');
    return undefined;
  } catch (error) {
    return `network namespaces are not allowed here: ${(error as Error).message}`;
  } finally {
    runs('ip', 'link', 'del', `${device}b`);
    runs('ip', 'netns', 'del', probe);
  }
}

/**
 * A network of its own for each node: two pairs of virtual cables to us, one for all it does and one to watch it. What a queue
 * without room drops at either end of the first cable never arrives, and nobody is told: a partition between kernels, where the
 * proxies of `Network` only keep bytes to themselves.
 */
export class Namespaces {
  readonly #tag: string;
  readonly #hosts = new Map<string, NodeHost & { readonly namespace: string; readonly device: string }>();
  readonly #forget: () => void;

  /** `random`: for addresses that no other run has. Throws where it is not allowed: see `namespaceProblem`. */
  constructor(names: readonly string[], random: Random) {
    this.#tag = `lj${process.pid % 100_000}`;
    const subnet = `10.${random.between(64, 250)}.${random.between(0, 126) * 2}`;
    const watchSubnet = subnet.replace(/\d+$/, (last) => `${Number(last) + 1}`);
    this.#forget = atExit(() => this.#remove());
    for (const [bridge, net] of [
      ['t', subnet],
      ['w', watchSubnet],
    ]) {
      run('ip', 'link', 'add', `${this.#tag}${bridge}`, 'type', 'bridge');
      run('ip', 'addr', 'add', `${net}.254/24`, 'dev', `${this.#tag}${bridge}`);
      run('ip', 'link', 'set', `${this.#tag}${bridge}`, 'up');
    }
    names.forEach((name, index) => {
      const namespace = `lockd-${process.pid}-${name}`;
      const prefix = ['ip', 'netns', 'exec', namespace];
      run('ip', 'netns', 'add', namespace);
      run(...prefix, 'ip', 'link', 'set', 'lo', 'up');
      for (const [bridge, net] of [
        ['t', subnet],
        ['w', watchSubnet],
      ]) {
        const device = `${this.#tag}${bridge}${index}`;
        run('ip', 'link', 'add', device, 'type', 'veth', 'peer', 'name', `${bridge}0`, 'netns', namespace);
        run('ip', 'link', 'set', device, 'master', `${this.#tag}${bridge}`, 'up');
        run(...prefix, 'ip', 'addr', 'add', `${net}.${index + 1}/24`, 'dev', `${bridge}0`);
        run(...prefix, 'ip', 'link', 'set', `${bridge}0`, 'up');
      }
      this.#hosts.set(name, {
        address: `${subnet}.${index + 1}`,
        gateway: `${subnet}.254`,
        watchAddress: `${watchSubnet}.${index + 1}`,
        prefix,
        namespace,
        device: `${this.#tag}t${index}`,
      });
    });
  }

  host(name: string): NodeHost | undefined {
    return this.#hosts.get(name);
  }

  /** Who has this address. */
  nameOf(address: string): string | undefined {
    for (const [name, host] of this.#hosts) if (host.address === address) return name;
    return undefined;
  }

  /** From now on no packet passes to the node, or from it, but on the watch's link. */
  drop(name: string, direction: PacketDirection): void {
    run(...this.#at(name, direction, 'qdisc', 'replace', ['root', 'pfifo', 'limit', '0']));
  }

  /** How many packets have been dropped since `drop`. */
  dropped(name: string, direction: PacketDirection): number {
    const text = run(...this.#at(name, direction, '-s qdisc', 'show', []));
    return Number(/dropped (\d+)/.exec(text)?.[1] ?? 0);
  }

  /** Packets that have passed so far. */
  passed(name: string, direction: PacketDirection): number {
    const { device } = this.#host(name);
    // Seen from our end: what it receives is what came from the node.
    const counter = direction === 'from' ? 'rx_packets' : 'tx_packets';
    return Number(readFileSync(`/sys/class/net/${device}/statistics/${counter}`, 'utf8'));
  }

  /** Packets pass again, both ways. */
  heal(name: string): void {
    for (const direction of ['to', 'from'] as const) {
      const [command, ...args] = this.#at(name, direction, 'qdisc', 'del', ['root']);
      runs(command as string, ...args);
    }
  }

  close(): void {
    this.#forget();
    this.#remove();
  }

  #host(name: string): NodeHost & { readonly namespace: string; readonly device: string } {
    const host = this.#hosts.get(name);
    if (host === undefined) throw new Error(`${name} has no network of its own`);
    return host;
  }

  /** A queue drops what leaves: to the node at our end of the cable, from it at its own. */
  #at(name: string, direction: PacketDirection, object: string, verb: string, rest: readonly string[]): string[] {
    const { prefix, device } = this.#host(name);
    return [
      ...(direction === 'to' ? [] : prefix),
      'tc',
      ...object.split(' '),
      verb,
      'dev',
      direction === 'to' ? device : 't0',
      ...rest,
    ];
  }

  #remove(): void {
    for (const { namespace } of this.#hosts.values()) runs('ip', 'netns', 'del', namespace);
    for (const bridge of ['t', 'w']) runs('ip', 'link', 'del', `${this.#tag}${bridge}`);
  }
}

function runs(command: string, ...args: readonly string[]): boolean {
  return spawnSync(command, args, { stdio: 'ignore', timeout: 5000 }).status === 0;
}

function run(...words: readonly string[]): string {
  const [command = '', ...args] = words;
  const done = spawnSync(command, args, { encoding: 'utf8', timeout: 5000 });
  if (done.status !== 0) throw new Error(`${words.join(' ')}: ${done.stderr?.trim() || String(done.error ?? '')}`);
  return done.stdout;
}
