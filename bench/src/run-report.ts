import { loadavg } from 'node:os';
import { describeMachine, machineLine } from './measure/machine.ts';
import { createScratch } from './processes/scratch.ts';
import { reportToMarkdown } from './report/markdown.ts';
import type { Findings, Report } from './report/report.ts';
import { saveReport } from './report/save.ts';
import type { Context } from './scenarios/context.ts';

/** Options that every command of the bench has. */
export interface CommonOptions {
  readonly output: 'text' | 'json';
  readonly save?: string;
  readonly dataDir?: string;
  readonly keep?: boolean;
}

/**
 * Runs a scenario with a directory of its own, prints its report on stdout (progress goes to stderr), saves it when
 * asked to, and removes the directory.
 */
export async function runReport(
  options: CommonOptions,
  scenario: (context: Context) => Promise<Findings>,
): Promise<void> {
  const scratch = createScratch(options.dataDir, options.keep === true);
  try {
    const begun = performance.now();
    const date = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
    const machine = describeMachine(scratch.directory);
    const context: Context = { scratch, log: (line) => void process.stderr.write(`${line}\n`) };
    context.log(machineLine(machine));
    const busy = (loadavg()[0] ?? 0) / machine.cores;
    const findings = await scenario(context);
    const notes =
      busy > 0.5
        ? [
            `The machine was busy with other work when the run began (load ${machine.loadAverage.toFixed(1)} on ${machine.cores} cores): the figures are noisy, and worse than on an idle one.`,
          ]
        : [];
    const report: Report = {
      ...findings,
      notes: [...notes, ...findings.notes],
      machine,
      date,
      seconds: (performance.now() - begun) / 1000,
    };
    process.stdout.write(options.output === 'json' ? `${JSON.stringify(report)}\n` : `\n${reportToMarkdown(report)}`);
    if (options.save !== undefined)
      context.log(`saved in bench/results: ${saveReport(report, options.save).join(', ')}`);
    if (options.keep === true) context.log(`kept: ${scratch.directory}`);
  } finally {
    scratch.remove();
  }
}
