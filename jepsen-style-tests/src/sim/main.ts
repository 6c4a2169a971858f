import { wallMs } from '../clock.ts';
import { parseOptions, USAGE } from './options.ts';
import { bugNamed } from './planted/bugs.ts';
import { plant } from './planted/plant.ts';
import { runPlantedTable } from './planted/table.ts';

const args = process.argv.slice(2);
const options = parseOptions(args, (planted) => bugNamed(planted)?.shownBy.seed ?? wallMs() % 1_000_000_000);
if (args.includes('--help') || args.includes('-h')) {
  process.stdout.write(USAGE);
} else if (typeof options === 'string') {
  process.stderr.write(`${options}\n\n${USAGE}`);
  process.exitCode = 2;
} else if (options.planted === 'all') {
  process.exitCode = await runPlantedTable(options.jobs, (line) => {
    process.stdout.write(`${line}\n`);
  });
} else if (options.planted === undefined || plant(options.planted)) {
  // Only now: a planted bug must be in place before the code it spoils is loaded.
  const { run } = await import('./run.ts');
  process.exitCode = await run(options);
}
