import type { Failure } from '../checker/verdict.ts';
import { groupBy } from '../group-by.ts';
import type { HistoryLine } from '../history/history-line.ts';
import { escapeHtml } from './html.ts';

const WIDTH = 1000;
const LEFT = 110;
const RIGHT = 24;
const ROW = 54;
const TOP = 14;

/** The window of one failure, drawn to scale: a row for each handle, and one for readers. */
export function windowSvg({ window }: Failure): string {
  if (window.length === 0) return '';
  const rows = [...groupBy(window, (line) => line.owner ?? `${line.client} reads`)];
  // An expire far in the future would squeeze everything else: it is drawn as an arrow to the edge.
  const instants = window
    .flatMap((line) => (line.op === 'expire' ? [line.lastHeld, line.told] : [line.call, line.return ?? line.call]))
    .filter((at): at is number => at !== undefined);
  const fromNs = Math.min(...instants);
  const span = Math.max(1000, Math.max(...instants) - fromNs);
  const originNs = fromNs - span * 0.04;
  const endNs = fromNs + span * 1.12;
  const x = (instantNs: number): number =>
    LEFT + ((Math.min(Math.max(instantNs, originNs), endNs) - originNs) / (endNs - originNs)) * (WIDTH - LEFT - RIGHT);
  const height = TOP + rows.length * ROW + 34;
  const parts: string[] = [];
  for (const { at, label } of ticks(originNs, endNs, fromNs)) {
    const at1 = x(at).toFixed(1);
    parts.push(
      `<line class="grid" x1="${at1}" x2="${at1}" y1="${TOP}" y2="${height - 26}"/><text class="tick" x="${at1}" y="${height - 10}">${label}</text>`,
    );
  }
  rows.forEach(([name, lines], row) => {
    const y = TOP + row * ROW + ROW / 2;
    parts.push(
      `<text class="owner" x="${LEFT - 12}" y="${y + 4}">${escapeHtml(name)}</text><line class="base" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y}" y2="${y}"/>`,
    );
    const grant = lines.find((line) => line.op === 'acquire' && line.result === 'ok');
    if (grant !== undefined) parts.push(holdShape(grant, lines, x, y, endNs));
    for (const line of lines) parts.push(shape(line, x, y));
  });
  return `<svg class="window" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="The operations of the failure, to scale">${parts.join('')}</svg>`;
}

function holdShape(
  grant: HistoryLine,
  lines: readonly HistoryLine[],
  x: (ns: number) => number,
  y: number,
  endNs: number,
): string {
  const release = lines.find((line) => line.op === 'release' && line.result !== 'fail');
  const expire = lines.find((line) => line.op === 'expire');
  const until = release?.call ?? expire?.told ?? endNs;
  const left = x(grant.return ?? grant.call);
  const right = Math.max(left + 2, x(until));
  const isNarrow = right - left < 90;
  const isOpen = release === undefined && expire?.told === undefined;
  const mayEnd =
    expire === undefined || expire.call > endNs
      ? ''
      : `<path class="expire" d="M${x(expire.call).toFixed(1)} ${y - 15}v30"/><text class="note" x="${(x(expire.call) + 4).toFixed(1)}" y="${y - 9}">may end</text>`;
  const lastHeld =
    expire?.lastHeld === undefined
      ? ''
      : `<circle class="look" cx="${x(expire.lastHeld).toFixed(1)}" cy="${y}" r="3.5"/>`;
  return (
    `<rect class="hold${isOpen ? ' open' : ''}" x="${left.toFixed(1)}" y="${y - 9}" width="${(right - left).toFixed(1)}" height="18" rx="3"/>` +
    `<text class="${isNarrow ? 'note' : 'token'}" x="${(isNarrow ? right + 6 : left + 6).toFixed(1)}" y="${y + 4}">token ${grant.token}</text>${mayEnd}${lastHeld}`
  );
}

function shape(line: HistoryLine, x: (ns: number) => number, y: number): string {
  const left = x(line.call);
  const right = line.return === null ? left + 10 : Math.max(left + 2, x(line.return));
  switch (line.op) {
    case 'acquire':
      return `<path class="call ${line.result}" d="M${left.toFixed(1)} ${y - 5}v10M${left.toFixed(1)} ${y}H${right.toFixed(1)}"/>${line.result === 'ok' ? '' : `<text class="note" x="${(right + 4).toFixed(1)}" y="${y - 5}">${line.result === 'fail' ? `refused${line.holder === null ? '' : `: ${escapeHtml(line.holder)}`}` : 'unknown'}</text>`}`;
    case 'release':
      return `<path class="release ${line.result}" d="M${left.toFixed(1)} ${y + 9}v6H${right.toFixed(1)}v-6"/><text class="note" x="${left.toFixed(1)}" y="${y + 27}">${line.result === 'fail' ? 'told: not held' : 'release'}</text>`;
    case 'upgrade':
    case 'downgrade':
      return `<path class="call ${line.result}" d="M${left.toFixed(1)} ${y - 5}v10M${left.toFixed(1)} ${y}H${right.toFixed(1)}v-8"/><text class="note" x="${left.toFixed(1)}" y="${y - 12}">${line.op}${line.result === 'ok' ? '' : `: ${line.result}`}</text>`;
    case 'read': {
      const holders = line.holders ?? (line.holder === null ? [] : [line.holder]);
      return `<rect class="read" x="${left.toFixed(1)}" y="${y - 4}" width="${(right - left).toFixed(1)}" height="8" rx="4"/><text class="note" x="${left.toFixed(1)}" y="${y - 8}">${escapeHtml(holders.join(', ') || 'nobody')}</text>`;
    }
    case 'expire':
      return line.told === undefined
        ? ''
        : `<path class="told" d="M${x(line.told).toFixed(1)} ${y - 12}v24"/><text class="note" x="${(x(line.told) + 4).toFixed(1)}" y="${y + 18}">told</text>`;
  }
}

function ticks(fromNs: number, toNs: number, zeroNs: number): { readonly at: number; readonly label: string }[] {
  const step = niceStep((toNs - fromNs) / 6);
  const list: { at: number; label: string }[] = [];
  for (let at = Math.ceil((fromNs - zeroNs) / step) * step; at + zeroNs <= toNs; at += step) {
    list.push({
      at: at + zeroNs,
      label:
        step >= 1e8
          ? `${(at / 1e9).toFixed(step >= 1e9 ? 0 : 1)} s`
          : step >= 1e5
            ? `${(at / 1e6).toFixed(step >= 1e6 ? 0 : 1)} ms`
            : `${(at / 1e3).toFixed(0)} µs`,
    });
  }
  return list;
}

function niceStep(raw: number): number {
  const power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= raw) ?? power * 10;
}
