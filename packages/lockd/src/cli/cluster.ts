import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join, relative, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { pause, realClock } from '../clock.ts';
import { DEFAULTS } from '../config.ts';
import { CommandFailure, EXIT } from './exit-codes.ts';
import { askNode } from './node-client.ts';
import { type Settings, usage } from './settings.ts';

const HOST = '127.0.0.1';
const LOCKD = fileURLToPath(new URL('../../bin/lockd.js', import.meta.url));
const READY_TIMEOUT_MS = 60_000;
const RESTART_DELAY_MS = 200;
const KILL_AFTER_MS = 15_000;

interface ClusterNode {
  readonly name: string;
  readonly clientPort: number;
  readonly peerPort: number;
  readonly dataDir: string;
  child: ChildProcess | undefined;
  isReady: boolean;
}

/** `lockd cluster`: N node processes on this machine. Resolves to the exit code once all of them have stopped. */
export async function cluster(settings: Settings): Promise<number> {
  const run = new ClusterRun(settings);
  return await run.run();
}

class ClusterRun {
  readonly #settings: Settings;
  readonly #isJson: boolean;
  readonly #restarts: boolean;
  readonly #nodes: ClusterNode[] = [];
  readonly #initialCluster: string;
  #isStopping = false;
  #isAnnounced = false;
  #failure: CommandFailure | undefined;
  #onChange: () => void = () => {};

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#isJson = settings.text('output') === 'json';
    this.#restarts = settings.flag('restart');
    const count = settings.integer('nodes') ?? 3;
    if (count < 1 || count > 9) throw usage(`--nodes ${count}: from 1 to 9`);
    const clientPort = settings.integer('client-port') ?? DEFAULTS.clientPort;
    const peerPort = settings.integer('peer-port') ?? DEFAULTS.peerPort;
    if (Math.max(clientPort, peerPort) + count > 65_536 || Math.min(clientPort, peerPort) < 1) {
      throw usage('--client-port and --peer-port: from 1 on, and all of the cluster below 65536');
    }
    if (Math.abs(clientPort - peerPort) < count) throw usage('the ports of --client-port and --peer-port overlap');
    const dataDir = resolve(settings.text('data-dir') ?? DEFAULTS.dataDir);
    for (let i = 0; i < count; i++) {
      const name = `n${i + 1}`;
      this.#nodes.push({
        name,
        clientPort: clientPort + i,
        peerPort: peerPort + i,
        dataDir: join(dataDir, name),
        child: undefined,
        isReady: false,
      });
    }
    this.#initialCluster = this.#nodes.map(({ name, peerPort: port }) => `${name}=${HOST}:${port}`).join(',');
  }

  async run(): Promise<number> {
    for (const node of this.#nodes) {
      for (const port of [node.clientPort, node.peerPort]) await checkPort(port, node.name);
    }
    await Promise.all(this.#nodes.map((node) => mkdir(node.dataDir, { recursive: true }))).catch((error: unknown) => {
      throw new CommandFailure(error instanceof Error ? error.message : String(error), EXIT.dataDirectory);
    });
    let isImpatient = false;
    const onSignal = (signal: string): void => {
      if (isImpatient) for (const { child } of this.#nodes) child?.kill('SIGKILL');
      isImpatient = this.#isStopping;
      this.#stop(signal);
    };
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => onSignal(signal));
    for (const node of this.#nodes) this.#spawn(node);
    void this.#announce();
    await new Promise<void>((done) => {
      this.#onChange = () => {
        const areAllGone = this.#nodes.every((node) => node.child === undefined);
        if (areAllGone && (this.#isStopping || !this.#restarts)) done();
      };
    });
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#isStopping) return EXIT.ok;
    throw new CommandFailure('all nodes have ended', EXIT.failed);
  }

  #spawn(node: ClusterNode): void {
    const settings = this.#settings;
    const passed = ['election-timeout', 'heartbeat', 'client-token', 'log-format'].flatMap((name) => {
      const value = settings.text(name);
      return value === undefined ? [] : [`--${name}`, value];
    });
    const child = spawn(
      process.execPath,
      [
        ...process.execArgv,
        LOCKD,
        'start',
        ...['--name', node.name, '--data-dir', node.dataDir],
        ...['--listen-client', `${HOST}:${node.clientPort}`, '--listen-peer', `${HOST}:${node.peerPort}`],
        ...['--initial-cluster', this.#initialCluster, '--output', 'json'],
        ...['--log-level', settings.text('log-level') ?? 'warn'],
        ...passed,
      ],
      {
        // The channel tells the node when this process is gone.
        stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
        env: withoutSettings(process.env),
      },
    );
    node.child = child;
    node.isReady = false;
    if (child.stdout !== null) {
      createInterface({ input: child.stdout }).on('line', (line) => {
        if (!line.includes('"ready"')) return;
        node.isReady = true;
        if (this.#isAnnounced)
          this.#say(
            { event: 'node-started', name: node.name, pid: child.pid },
            `${node.name} is back (pid ${child.pid}).`,
          );
      });
    }
    child.on('error', (error) =>
      this.#say({ event: 'node-failed', name: node.name, reason: error.message }, error.message),
    );
    child.on('exit', (code, signal) => this.#onExit(node, child, code, signal));
  }

  #onExit(node: ClusterNode, child: ChildProcess, code: number | null, signal: NodeJS.Signals | null): void {
    node.child = undefined;
    node.isReady = false;
    if (!this.#isStopping) {
      const how = signal === null ? `ended with exit code ${code}` : `was killed by ${signal}`;
      const isHopeless = !this.#isAnnounced && signal === null && code !== 0;
      const next = isHopeless
        ? ''
        : this.#restarts
          ? ' It is started again.'
          : ' It is not started again (--restart does).';
      this.#say(
        { event: 'node-exited', name: node.name, pid: child.pid, code, signal },
        `${node.name} (pid ${child.pid}) ${how}.${next}`,
      );
      if (isHopeless) {
        this.#failure = new CommandFailure(`${node.name} could not be started (see above)`, code ?? EXIT.failed);
        this.#stop('a node could not be started');
      } else if (this.#restarts) {
        void pause(RESTART_DELAY_MS).then(() => {
          if (!this.#isStopping) this.#spawn(node);
        });
      }
    }
    this.#onChange();
  }

  #stop(reason: string): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    if (!this.#isJson) process.stderr.write(`\nStopping (${reason}) …\n`);
    for (const { child } of this.#nodes) child?.kill('SIGTERM');
    realClock.after(KILL_AFTER_MS, () => {
      for (const { child } of this.#nodes) child?.kill('SIGKILL');
    });
    this.#onChange();
  }

  /** Once a leader serves. */
  async #announce(): Promise<void> {
    const endMs = realClock.nowMs() + READY_TIMEOUT_MS;
    let leader: string | undefined;
    while (!this.#isStopping && leader === undefined) {
      await pause(30);
      leader = await this.#servingLeader();
      if (leader === undefined && realClock.nowMs() > endMs) {
        this.#failure = new CommandFailure(`no leader within ${READY_TIMEOUT_MS / 1000} s`, EXIT.unavailable);
        this.#stop('no leader');
      }
    }
    if (leader === undefined || this.#isStopping) return;
    this.#isAnnounced = true;
    const nodes = this.#nodes.map((node) => ({
      name: node.name,
      pid: node.child?.pid ?? null,
      client: clientUrl(node),
      peer: `${HOST}:${node.peerPort}`,
      dataDir: node.dataDir,
    }));
    this.#say({ event: 'ready', leader, nodes }, this.#welcome(leader));
  }

  async #servingLeader(): Promise<string | undefined> {
    if (!this.#nodes.every((node) => node.isReady)) return undefined;
    const credentials = this.#settings.text('client-token');
    const answers = await Promise.all(
      this.#nodes.map((node) => askNode(clientUrl(node), credentials, 1000, realClock)),
    );
    for (const answer of answers) if (answer.isReachable && answer.welcome.isLeader) return answer.welcome.node;
    return undefined;
  }

  #welcome(leader: string): string {
    const [first] = this.#nodes;
    const isDefault = first?.clientPort === DEFAULTS.clientPort && this.#nodes.length === 3;
    const endpoints = this.#nodes.map(clientUrl).join(',');
    const command = howThisWasStarted();
    const flag = isDefault ? '' : ` --endpoints ${endpoints}`;
    const lines = this.#nodes.map(
      (node) => `  ${node.name}  ${clientUrl(node)}  pid ${node.child?.pid}${node.name === leader ? '  (leader)' : ''}`,
    );
    return [
      `lockd: ${this.#nodes.length} nodes run, ${leader} leads.`,
      ...lines,
      '',
      'Try, in another terminal:',
      `  ${command} status${flag}`,
      `  ${command} run${flag} nightly -- sh -c 'echo "I hold $LOCKD_NAME, token $LOCKD_TOKEN"; sleep 10'`,
      `  ${command} run${flag} -n nightly -- echo "not while somebody else does"`,
      '',
      `Data is in ${first?.dataDir.replace(/[/\\]n1$/, '')}. Ctrl-C stops all of them.`,
    ].join('\n');
  }

  #say(event: Readonly<Record<string, unknown>>, words: string): void {
    process.stdout.write(this.#isJson ? `${JSON.stringify(event)}\n` : `${words}\n`);
  }
}

function clientUrl(node: ClusterNode): string {
  return `ws://${HOST}:${node.clientPort}`;
}

/** What this command was told is not meant for its nodes: they get flags. */
function withoutSettings(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !name.startsWith('LOCKD_')));
}

/** Rejects with a {@link CommandFailure} that says which port. */
function checkPort(port: number, node: string): Promise<void> {
  return new Promise((done, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      const reason = error.code === 'EADDRINUSE' ? 'is in use' : `cannot be used (${error.message})`;
      reject(
        new CommandFailure(
          `port ${port} for ${node} ${reason}: is a cluster running already? Choose others with --client-port and --peer-port`,
          EXIT.listen,
        ),
      );
    });
    server.listen(port, HOST, () => server.close(() => done()));
  });
}

/**
 * What to type for this very program: from a clone `npx lockd` would fetch whatever the registry has under that name.
 */
function howThisWasStarted(): string {
  const script = process.argv[1] ?? '';
  return script.endsWith('.js') ? `node ${relative(process.cwd(), script) || script}` : 'npx lockd';
}
