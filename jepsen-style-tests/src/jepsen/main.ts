import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkHistory } from '../checker/check-history.ts';
import type { Verdict } from '../checker/verdict.ts';
import { monotonicNs } from '../clock.ts';
import { killAllChildren } from '../cluster/child-registry.ts';
import { RunDirectoryError } from '../cluster/run-directory.ts';
import { runEtcdControl } from '../control/control.ts';
import { groupBy } from '../group-by.ts';
import { readHistory } from '../history/history-reader.ts';
import { ALL_FAULTS } from '../nemesis/nemesis.ts';
import { Random } from '../random.ts';
import { renderReport } from '../report/report.ts';
import { WORKLOADS } from '../workload/messages.ts';
import { parseCommand, USAGE, UsageError } from './options.ts';
import { PLANTED_IN_NODES } from './planted-bugs.ts';
import { commandOf, runJepsen } from './run.ts';

const print = (line: string): void => void process.stdout.write(`${line}\n`);

function printVerdict({ check, outcome, summary, failures }: Verdict): void {
  const mark = { pass: 'ok  ', fail: 'FAIL', undecided: '??  ', nothing: '-   ' }[outcome];
  print(`${mark}  ${check}: ${summary}`);
  for (const failure of failures.slice(0, 3)) {
    print(`      ${failure.what}`);
    for (const line of failure.story.slice(0, 40)) print(`        ${line}`);
  }
}

async function main(args: readonly string[]): Promise<number> {
  const command = parseCommand(args, Math.floor(new Random(monotonicNs()).next() * 2 ** 31));
  switch (command.type) {
    case 'help':
      print(USAGE);
      return 0;
    case 'list':
      print('faults');
      for (const { kind, track, what } of ALL_FAULTS) print(`  ${kind.padEnd(20)} ${track.padEnd(7)} ${what}`);
      print(`workloads\n  ${WORKLOADS.join(', ')}`);
      return 0;
    case 'list-planted':
      for (const { name, what, check } of PLANTED_IN_NODES) print(`  ${name.padEnd(24)} ${what}: seen by "${check}"`);
      return 0;
    case 'check': {
      let worst = 0;
      for (const file of command.files) {
        print(file);
        for (const verdict of checkHistory(await readHistory(file))) {
          printVerdict(verdict);
          worst = Math.max(worst, verdict.outcome === 'fail' ? 3 : verdict.outcome === 'undecided' ? 2 : 0);
        }
      }
      return worst === 3 ? 1 : worst;
    }
    case 'control': {
      print(`seed ${command.seed}`);
      const { outcome, text, verdicts } = await runEtcdControl(command, print);
      if (verdicts.length > 0)
        print('what the checkers say of a client that learns of its loss from the service alone:');
      for (const verdict of verdicts) printVerdict(verdict);
      print(text);
      return { shown: 0, 'not-shown': 1, 'too-little': 2, skipped: 2 }[outcome];
    }
    case 'run': {
      const { options } = command;
      print(`seed ${options.seed}`);
      print(commandOf(options));
      process.once('exit', (code) => {
        if (code >= 128) process.stderr.write('ended by a signal: nothing is judged\n');
      });
      const result = await runJepsen(options, print);
      const page = join(result.directory, 'report.html');
      writeFileSync(page, renderReport(result));
      print('');
      for (const verdict of result.verdicts) printVerdict(verdict);
      print('');
      const kinds = groupBy(result.faults, ({ kind }) => kind);
      print(
        `faults that worked: ${[...kinds].map(([kind, records]) => `${kind} ${records.filter(({ worked }) => worked).length}/${records.length}`).join(', ') || 'none'}`,
      );
      print(
        `operations: ${[...result.collector.operations].map(([workload, count]) => `${workload} ${count}`).join(', ')}`,
      );
      if (result.collector.errors.size > 0)
        print(
          `errors told to clients: ${[...result.collector.errors].map(([code, count]) => `${code} ${count}`).join(', ')}`,
        );
      for (const text of result.missing) print(`too little happened: ${text}`);
      print(`report: ${page}`);
      print(['CLEAN', 'FAILED', 'INCONCLUSIVE'][result.exitCode] as string);
      if (result.exitCode === 1) print(`replay: ${result.command}`);
      return result.exitCode;
    }
  }
}

main(process.argv.slice(2)).then(
  (code) => {
    killAllChildren();
    process.exit(code);
  },
  (error: unknown) => {
    killAllChildren();
    if (error instanceof UsageError) process.stderr.write(`${error.message}\n\n${USAGE}\n`);
    else if (error instanceof RunDirectoryError) process.stderr.write(`${error.message}\n`);
    else
      process.stderr.write(
        `could not be run: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
      );
    process.exit(2);
  },
);
