import { machineLine } from '../measure/machine.ts';
import type { Report, Table } from './report.ts';

/** A table in Markdown with its columns aligned, so that it reads as well in a terminal. */
export function tableToMarkdown(table: Table): string {
  const cells = [table.columns, ...table.rows].map((row) => row.map((cell) => cell.replaceAll('|', '\\|')));
  const widths = table.columns.map((_, column) => Math.max(3, ...cells.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    `| ${widths.map((width, column) => align(row[column] ?? '', width, column)).join(' | ')} |`;
  const [head, ...body] = cells;
  const rule = `| ${widths.map((width, column) => (column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)).join(' | ')} |`;
  const notes = (table.notes ?? []).map((note) => `\n${note}`).join('\n');
  return (
    [`### ${table.title}`, '', line(head ?? []), rule, ...body.map(line)].join('\n') +
    (notes === '' ? '' : `\n${notes}`)
  );
}

function align(cell: string, width: number, column: number): string {
  return column === 0 ? cell.padEnd(width) : cell.padStart(width);
}

/** The whole report. `chartFiles` are the names of the charts saved beside it, in the report's order. */
export function reportToMarkdown(report: Report, chartFiles: readonly string[] = []): string {
  const systems = report.systems.map((system) => `- **${system.name}** (${system.version}): ${system.description}`);
  const parts = [
    `## ${report.title}`,
    `${report.date} · ${report.seconds.toFixed(0)} s · ${machineLine(report.machine)}`,
    ...(systems.length > 0 ? [systems.join('\n')] : []),
    ...report.tables.map(tableToMarkdown),
    ...chartFiles.map((file, index) => `![${report.charts[index]?.title ?? 'chart'}](${file})`),
    ...(report.notes.length > 0 ? [report.notes.map((note) => `- ${note}`).join('\n')] : []),
  ];
  return `${parts.join('\n\n')}\n`;
}
