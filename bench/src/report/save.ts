import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { chartToSvg } from './chart.ts';
import { reportToMarkdown } from './markdown.ts';
import type { Report } from './report.ts';

const RESULTS = join(import.meta.dirname, '..', '..', 'results');

/**
 * Writes NAME.md, NAME.json and NAME.svg (NAME-2.svg, … for more charts) to bench/results, replacing what is there.
 * Returns the names of the files. Throws a RangeError on a name that is not one plain word.
 */
export function saveReport(report: Report, name: string, directory: string = RESULTS): readonly string[] {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name))
    throw new RangeError(`--save takes a plain name, not ${JSON.stringify(name)}`);
  mkdirSync(directory, { recursive: true });
  const charts = report.charts.map((chart, index) => ({
    file: index === 0 ? `${name}.svg` : `${name}-${index + 1}.svg`,
    content: chartToSvg(chart),
  }));
  const files = [
    {
      file: `${name}.md`,
      content: reportToMarkdown(
        report,
        charts.map(({ file }) => file),
      ),
    },
    { file: `${name}.json`, content: `${JSON.stringify(report, undefined, 2)}\n` },
    ...charts,
  ];
  for (const { file, content } of files) writeFileSync(join(directory, file), content);
  return files.map(({ file }) => file);
}
