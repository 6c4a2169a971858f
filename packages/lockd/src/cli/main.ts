import { readFileSync } from 'node:fs';
import { Command, CommanderError, Option } from 'commander';
import { realClock } from '../clock.ts';
import { DEFAULTS } from '../config.ts';
import { cluster } from './cluster.ts';
import { CommandFailure, EXIT, EXIT_CODES_HELP } from './exit-codes.ts';
import { inspect, list } from './inspect.ts';
import { addMember, listMembers, promoteMember, removeMember, replaceMember, transferLeader } from './member.ts';
import { run } from './run.ts';
import { DEFAULT_ENDPOINTS, Settings, usage } from './settings.ts';
import { start } from './start.ts';
import { clusterStatus, describeStatus, statusExitCode } from './status.ts';
import { verify } from './verify.ts';

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

async function main(argv: readonly string[]): Promise<number> {
  let exitCode: number = EXIT.ok;
  // What follows `--` is not ours to read.
  const separator = argv[0] === 'run' ? argv.indexOf('--') : -1;
  const own = separator === -1 ? argv : argv.slice(0, separator);
  const operands = separator === -1 ? undefined : argv.slice(separator + 1);
  const program = new Command('lockd');
  const finish = (run: (settings: Settings) => number | Promise<number>) =>
    async function (this: Command): Promise<void> {
      exitCode = await run(new Settings(flagsOf(this), process.env));
    };
  program
    .description('A distributed lock service with no external store.')
    .version(version)
    .exitOverride()
    .enablePositionalOptions()
    .showHelpAfterError('(lockd --help, or lockd COMMAND --help, shows what there is)')
    .addHelpText(
      'after',
      `
Examples:
  lockd cluster                                       three nodes on this machine, to try it
  lockd status                                        who leads, who is there
  lockd run nightly -- ./report.sh                    run a command while holding a lock
${EXIT_CODES_HELP}

Every flag also comes from a variable (--data-dir: LOCKD_DATA_DIR) or from the
JSON file of --config ({"data-dir": "…"}); the flag wins, then the variable.`,
    );

  program
    .command('start')
    .description('run one node in the foreground')
    .option('--name <NAME>', 'name of this node, unique in the cluster')
    .option('--data-dir <DIR>', 'where this node, and no other, keeps its log')
    .option('--listen-client <HOST:PORT>', 'listen for clients (WebSocket, /livez, /readyz, /metrics)')
    .option('--listen-peer <HOST:PORT>', 'listen for the other nodes')
    .option('--initial-cluster <LIST>', 'the founding members: n1=HOST:PORT,n2=HOST:PORT,…; the same on every node')
    .option('--join <LIST>', 'instead: some members of the cluster this node was added to: n1=HOST:PORT,…')
    .option('--advertise-client <URL>', 'where clients reach this node, if not where it listens')
    .option('--advertise-peer <HOST:PORT>', 'where peers reach this node, if not where it listens')
    .option(
      '--election-timeout <MS>',
      `T: without a leader for T to 2T a node campaigns (${DEFAULTS.electionTimeoutMs})`,
    )
    .option('--heartbeat <MS>', `at most a fifth of it (${DEFAULTS.heartbeatMs})`)
    .option('--snapshot-min-bytes <BYTES>', 'log after which a snapshot is made, at least (67108864)')
    .option('--client-token <TOKEN>', 'what clients have to show; better as LOCKD_CLIENT_TOKEN')
    .option(
      '--insecure-listen',
      'let anybody who reaches the client port take locks (needed beyond loopback without a token)',
    )
    .option('--insecure-peer-listen', 'let anybody who reaches the peer port be a node (needed beyond loopback)')
    .addOption(outputOption())
    .option('--log-level <LEVEL>', 'debug, info, warn or error (info)')
    .option('--log-format <FORMAT>', 'human or json (human on a terminal)')
    .option('--config <FILE>', 'JSON object with any of these')
    .addHelpText(
      'after',
      `
Example, one of three:
  lockd start --name n1 --data-dir ./data/n1 --listen-client 127.0.0.1:7101 --listen-peer 127.0.0.1:7201 \\
    --initial-cluster n1=127.0.0.1:7201,n2=127.0.0.1:7202,n3=127.0.0.1:7203

SIGTERM hands leadership over, finishes what is in flight, closes the log and exits with 0.
${EXIT_CODES_HELP}`,
    )
    .action(finish(start));

  program
    .command('cluster')
    .description('run several nodes on this machine, each a process of its own')
    .option('--nodes <N>', 'how many (3)')
    .option('--data-dir <DIR>', `their data, in a folder for each; kept for the next start (${DEFAULTS.dataDir})`)
    .option('--client-port <PORT>', `first of N consecutive ports for clients (${DEFAULTS.clientPort})`)
    .option('--peer-port <PORT>', `first of N consecutive ports for nodes (${DEFAULTS.peerPort})`)
    .option('--restart', 'start a node that died again')
    .option('--election-timeout <MS>', 'see lockd start')
    .option('--heartbeat <MS>', 'see lockd start')
    .option('--client-token <TOKEN>', 'see lockd start')
    .addOption(outputOption())
    .option('--log-level <LEVEL>', 'of the nodes (warn)')
    .option('--log-format <FORMAT>', 'human or json')
    .option('--config <FILE>', 'JSON object with any of these')
    .action(finish(cluster));

  withEndpoints(program.command('status').description('all members: who leads, how far each is, who cannot be reached'))
    .addOption(outputOption())
    .action(
      finish(async (settings) => {
        const endpoints = settings.list('endpoints') ?? DEFAULT_ENDPOINTS;
        const status = await clusterStatus(endpoints, settings.text('credentials'), realClock);
        process.stdout.write(
          settings.text('output') === 'json' ? `${JSON.stringify(status)}\n` : describeStatus(status),
        );
        return statusExitCode(status);
      }),
    );

  withEndpoints(
    program
      .command('run')
      .description('run a command while holding a lock, like flock(1)')
      .usage('NAME [options] -- COMMAND [ARGUMENTS…]')
      .argument('<NAME>', 'of the lock')
      .option('-x, --exclusive', 'nobody else holds it (default)')
      .option('-s, --shared', 'others may hold it shared, nobody exclusively')
      .option('-n, --nonblock', 'do not wait: end with 1 if it is not free')
      .option('-w, --wait <SECONDS>', 'wait so long at most, then end with 1 (default: as long as it takes)')
      .option('-E, --conflict-exit-code <CODE>', 'instead of 1')
      .option('--session-ttl <DURATION>', 'how long the lock outlives this process if it dies: 15s'),
  )
    .addHelpText(
      'after',
      `
Examples:
  lockd run nightly -- ./report.sh                    waits its turn
  lockd run nightly -n -- ./report.sh                 or ends with 1 if somebody else runs it
  lockd run deploy -w 60 -E 99 -- sh -c 'echo "$LOCKD_NAME $LOCKD_TOKEN"'

The command finds LOCKD_NAME and LOCKD_TOKEN in its environment. Give the token to what it writes to, and let that refuse
smaller ones. If the cluster does not answer for half of the session's TTL the command gets SIGTERM, and if the lock is
lost SIGKILL, with everything it has started in its process group, before anybody else can have the lock.
${EXIT_CODES_HELP}`,
    )
    .action(async function (this: Command): Promise<void> {
      if (operands === undefined) throw usage('separate the command with --, as in: lockd run NAME -- COMMAND');
      exitCode = await run(this.args[0] as string, operands, new Settings(flagsOf(this), withoutLockVariables()));
    });

  withEndpoints(program.command('inspect').description('who holds a name, and who waits for it').argument('<NAME>'))
    .addOption(outputOption())
    .action(async function (this: Command): Promise<void> {
      exitCode = await inspect(this.args[0] as string, new Settings(flagsOf(this), process.env));
    });

  withEndpoints(program.command('ls').description('names on which something stands').argument('[PREFIX]'))
    .addOption(outputOption())
    .action(async function (this: Command): Promise<void> {
      exitCode = await list(this.args[0] ?? '', new Settings(flagsOf(this), process.env));
    });

  memberCommands(program, finish, (code) => {
    exitCode = code;
  });

  program
    .command('verify')
    .description("check a stopped node's data directory, as its next start would")
    .option('--data-dir <DIR>', 'of the node')
    .addOption(outputOption())
    .option('--config <FILE>', 'JSON object with any of these')
    .action(finish(verify));

  try {
    await program.parseAsync(own, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    if (error instanceof CommandFailure) {
      process.stderr.write(`lockd: ${error.message}\n`);
      return error.exitCode;
    }
    throw error;
  }
}

function memberCommands(
  program: Command,
  finish: (run: (settings: Settings) => Promise<number>) => (this: Command) => Promise<void>,
  ended: (exitCode: number) => void,
): void {
  const named = (run: (name: string, settings: Settings) => Promise<number>) =>
    async function (this: Command): Promise<void> {
      ended(await run(this.args[0] as string, new Settings(flagsOf(this), process.env)));
    };
  const member = program
    .command('member')
    .description('who belongs to the cluster')
    .addHelpText(
      'after',
      `
A node more:
  lockd member add n4 --peer 10.0.0.4:7201
  lockd start --name n4 --join n1=10.0.0.1:7201,n2=10.0.0.2:7201 --data-dir …      (on its machine)
  lockd member promote n4 --wait

A node whose disk is lost or damaged: start it with an empty data directory, and
  lockd member replace n3`,
    );
  withEndpoints(member.command('list').description('the members, where they are, and how much of the log each has'))
    .addOption(outputOption())
    .action(finish(listMembers));
  withEndpoints(
    member.command('add').description('add a node as a learner: it gets the log and has no vote').argument('<NAME>'),
  )
    .option('--peer <HOST:PORT>', 'where the other nodes reach it')
    .option('--client <URL>', 'where clients reach it, if it does not say so itself')
    .addOption(outputOption())
    .action(named(addMember));
  withEndpoints(member.command('promote').description('give a learner that has caught up a vote').argument('<NAME>'))
    .option('--wait', 'until it has caught up, and say how far it is')
    .option('--timeout <SECONDS>', 'wait so long at most (600)')
    .addOption(outputOption())
    .action(named(promoteMember));
  withEndpoints(
    member.command('remove').description('take a node out, also the leader or one that is gone').argument('<NAME>'),
  )
    .option('--force', 'although no majority of the others can be reached')
    .addOption(outputOption())
    .action(named(removeMember));
  withEndpoints(
    member
      .command('replace')
      .description('let a member come back with an empty data directory: remove, add, catch up, promote')
      .argument('<NAME>'),
  )
    .option('--peer <HOST:PORT>', 'where the other nodes reach it, if that has changed')
    .option('--client <URL>', 'where clients reach it, if it does not say so itself')
    .option('--learner', 'do not wait to promote it')
    .option('--timeout <SECONDS>', 'wait so long at most for it to catch up (600)')
    .option('--force', 'see member remove')
    .addOption(outputOption())
    .action(named(replaceMember));
  withEndpoints(
    program
      .command('transfer-leader')
      .description('let another node lead: NAME, or the one that has most of the log')
      .argument('[NAME]'),
  )
    .addOption(outputOption())
    .action(async function (this: Command): Promise<void> {
      ended(await transferLeader(this.args[0], new Settings(flagsOf(this), process.env)));
    });
}

function withEndpoints(command: Command): Command {
  return command
    .option('--endpoints <LIST>', `client addresses (${DEFAULT_ENDPOINTS.join(',')})`)
    .option('--credentials <TOKEN>', 'where the cluster asks for it; better as LOCKD_CREDENTIALS')
    .option('--config <FILE>', 'JSON object with any of these');
}

/** A `run` inside a `run` is not to take the outer lock's variables for settings. */
function withoutLockVariables(): NodeJS.ProcessEnv {
  const { LOCKD_NAME: _name, LOCKD_TOKEN: _token, ...others } = process.env;
  return others;
}

function outputOption(): Option {
  return new Option('-o, --output <FORMAT>', 'json: lines for programs').choices(['text', 'json']);
}

/** By the names on the command line: `data-dir`, not `dataDir`. */
function flagsOf(command: Command): Record<string, unknown> {
  const values = command.opts<Record<string, unknown>>();
  return Object.fromEntries(
    command.options
      .map((option) => [option.long?.slice(2) ?? '', values[option.attributeName()]])
      .filter(([, value]) => value !== undefined),
  );
}

main(process.argv.slice(2)).then(
  (exitCode) => {
    process.exitCode = exitCode;
    // A socket that lingers must not keep a finished command waiting.
    process.exit();
  },
  (error: unknown) => {
    process.stderr.write(
      `lockd: a bug, please report it: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
    process.exit(EXIT.internal);
  },
);
