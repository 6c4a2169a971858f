import type { Failure, Verdict } from '../checker/verdict.ts';
import type { ClusterEvent } from '../cluster/cluster.ts';
import { groupBy } from '../group-by.ts';
import type { HistoryLine } from '../history/history-line.ts';
import type { FaultRecord } from '../nemesis/fault.ts';
import { escapeHtml, scriptJson } from './html.ts';
import { PAGE_SCRIPT } from './page-script.ts';
import { PAGE_STYLE } from './page-style.ts';
import { type TimelineData, timelineData } from './timeline-data.ts';
import { windowSvg } from './window-svg.ts';

export interface ReportInput {
  readonly command: string;
  readonly options: { readonly seed: number; readonly nodes: number; readonly seconds: number; readonly ttlMs: number };
  readonly exitCode: 0 | 1 | 2;
  readonly verdicts: readonly Verdict[];
  readonly missing: readonly string[];
  readonly skipped: readonly { readonly kind: string; readonly why: string }[];
  readonly collector: {
    readonly lines: readonly HistoryLine[];
    readonly operationCount: number;
    readonly errors: ReadonlyMap<string, number>;
  };
  readonly faults: readonly FaultRecord[];
  readonly events: readonly ClusterEvent[];
  readonly startNs: number;
  readonly endNs: number;
}

const STAMPS = [
  { text: 'CLEAN', style: 'pass' },
  { text: 'FAILED', style: 'fail' },
  { text: 'INCONCLUSIVE', style: 'undecided' },
] as const;
const MARKS = { pass: '✓', fail: '✗', undecided: '?', nothing: '–' } as const;
const ORDER = { fail: 0, undecided: 1, pass: 2, nothing: 3 } as const;

/** One page with everything in it: no other file, no network. */
export function renderReport(input: ReportInput): string {
  const { options, exitCode, verdicts } = input;
  const data = timelineData({
    lines: input.collector.lines,
    faults: input.faults,
    events: input.events,
    startNs: input.startNs,
    endNs: input.endNs,
  });
  const stamp = STAMPS[exitCode];
  const inOrder = [...verdicts].sort((a, b) => ORDER[a.outcome] - ORDER[b.outcome]);
  const failures = verdicts.flatMap((verdict) =>
    verdict.failures.slice(0, 5).map((failure) => ({ check: verdict.check, failure })),
  );
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>lockd fault injection, seed ${options.seed}: ${stamp.text}</title><style>${PAGE_STYLE}</style></head>
<body><main>
<header class="banner"><h1>lockd under fault injection</h1><span class="stamp ${stamp.style}">${stamp.text}</span></header>
<div class="command"><code id="command">${escapeHtml(input.command)}</code><button id="copy">Copy</button></div>
<ul class="numbers">${numbers(input, data)
    .map(([value, name]) => `<li><b>${value}</b><span>${name}</span></li>`)
    .join('')}</ul>
${input.missing.length === 0 ? '' : `<h2>Too little happened to judge</h2><ul>${input.missing.map((text) => `<li>${escapeHtml(text)}</li>`).join('')}</ul>`}
<h2>Verdicts</h2>
<div class="verdicts">${inOrder.map(verdictCard).join('')}</div>
${failures.length === 0 ? '' : `<h2>What went wrong</h2>${failures.map(({ check, failure }) => failureCard(check, failure, input.startNs)).join('')}`}
<h2>Timeline</h2>
<div class="toolbar">
<button id="by-client" aria-pressed="true">By client</button><button id="by-key" aria-pressed="false">By name</button>
<button id="all">Whole run</button><button id="in" aria-label="Zoom in">+</button><button id="out" aria-label="Zoom out">−</button><button id="loss">Next loss</button>
<span class="legend"><span><i style="background:var(--leader)"></i>leads / holds</span><span><i style="background:var(--follower)"></i>follows</span><span><i style="background:var(--candidate)"></i>candidate / ran out</span><span><i style="background:var(--odd)"></i>learner, joining, removed / stolen</span><span><i style="background:var(--silent)"></i>silent</span><span><i style="background:var(--fault)"></i>fault of nodes</span><span><i style="background:var(--client-fault)"></i>of a client</span><span><i style="background:var(--wait)"></i>waits</span><span><i style="background:var(--lost)"></i>lost</span><span><i style="background:var(--dead)"></i>ended without its holder</span></span>
</div>
<p class="hint">Scroll to zoom, drag to move, point at anything to read it. Rows with much in view show how much is held and waited for at a time; closer in they show each hold, coloured by name (or by client), and a thin line before it for its wait.</p>
<div class="chart"><canvas id="timeline" tabindex="0" aria-label="Timeline of nodes, faults and clients; drag to move, scroll to zoom"></canvas><div id="tip" role="status"></div></div>
<h2>Faults</h2>
${faultTable(input, data)}
${errorTable(input)}
</main>
<script type="application/json" id="data">${scriptJson(data)}</script>
<script>${PAGE_SCRIPT}</script>
</body></html>
`;
}

function numbers(input: ReportInput, data: TimelineData): readonly (readonly [value: string, name: string])[] {
  const terms = new Set(input.events.flatMap(({ status }) => (status?.role === 'leader' ? [status.term] : [])));
  const losses = data.holds.filter((hold) => hold[6] === 1).length;
  const ranOut = data.holds.filter((hold) => hold[6] === 3).length;
  const stolen = data.holds.filter((hold) => hold[6] === 4).length;
  const dead = data.holds.filter((hold) => hold[6] === 2).length;
  const worked = input.faults.filter(({ worked }) => worked).length;
  return [
    [String(input.options.seed), 'seed'],
    [String(input.options.nodes), 'nodes'],
    [`${((input.endNs - input.startNs) / 1e9).toFixed(0)} s`, 'long'],
    [input.collector.operationCount.toLocaleString('en-US'), 'answered operations'],
    [data.holds.length.toLocaleString('en-US'), 'grants'],
    [`${worked}<small> / ${input.faults.length}</small>`, 'faults that worked'],
    [String(terms.size), 'terms with a leader'],
    [String(losses), 'locks lost and told'],
    [String(ranOut), 'ran out, as asked for'],
    [String(stolen), 'stolen'],
    [String(dead), 'ended without its holder'],
  ];
}

function verdictCard({ check, outcome, summary }: Verdict): string {
  return `<section class="verdict ${outcome}"><h3><span class="mark">${MARKS[outcome]}</span>${escapeHtml(check)}</h3><p>${escapeHtml(summary)}</p></section>`;
}

function failureCard(check: string, failure: Failure, startNs: number): string {
  const times = failure.window.flatMap((line) => (line.op === 'expire' ? [] : [line.call, line.return ?? line.call]));
  const jump =
    times.length === 0
      ? ''
      : ` <button data-from="${(Math.min(...times) - startNs) / 1e6}" data-to="${(Math.max(...times) - startNs) / 1e6}">Show in the timeline</button>`;
  const story =
    failure.story.length === 0
      ? ''
      : `<ol>${failure.story.map((text) => `<li>${escapeHtml(text)}</li>`).join('')}</ol>`;
  return `<article class="failure"><p class="what">${escapeHtml(check)}: ${escapeHtml(failure.what)}${jump}</p>${windowSvg(failure)}${story}</article>`;
}

function faultTable(input: ReportInput, data: TimelineData): string {
  if (input.faults.length === 0 && input.skipped.length === 0) return '<p>None were chosen.</p>';
  const rows = [...groupBy(data.faults, ({ kind }) => kind)].map(([kind, faults]) => {
    const worked = faults.filter((fault) => fault.worked).length;
    return `<tr${worked < faults.length ? ' class="miss"' : ''}><td>${escapeHtml(kind)}</td><td class="n">${worked} of ${faults.length}</td><td>${escapeHtml(faults[0]?.evidence ?? '')}</td></tr>`;
  });
  const skipped = input.skipped.map(
    ({ kind, why }) =>
      `<tr class="miss"><td>${escapeHtml(kind)}</td><td class="n">skipped</td><td>${escapeHtml(why)}</td></tr>`,
  );
  const each = data.faults.map(
    (fault) =>
      `<tr class="jump${fault.worked ? '' : ' miss'}" data-from="${fault.fromMs}" data-to="${fault.toMs}"><td class="n">${(fault.fromMs / 1000).toFixed(1)} s</td><td class="n">${((fault.toMs - fault.fromMs) / 1000).toFixed(1)} s</td><td>${escapeHtml(fault.kind)}</td><td>${escapeHtml(fault.target)}</td><td>${fault.worked ? '' : 'did not work: '}${escapeHtml(fault.evidence)}</td></tr>`,
  );
  return `<table><thead><tr><th>kind</th><th>worked</th><th>what the first one did</th></tr></thead><tbody>${[...rows, ...skipped].join('')}</tbody></table>
<details><summary>Each of the ${data.faults.length} faults; a click shows it in the timeline</summary><table><thead><tr><th>at</th><th>for</th><th>kind</th><th>on</th><th>evidence</th></tr></thead><tbody>${each.join('')}</tbody></table></details>`;
}

function errorTable(input: ReportInput): string {
  if (input.collector.errors.size === 0) return '';
  const rows = [...input.collector.errors]
    .sort((a, b) => b[1] - a[1])
    .map(([code, count]) => `<tr><td><code>${escapeHtml(code)}</code></td><td class="n">${count}</td></tr>`);
  return `<h2>Errors that clients were told</h2><table><thead><tr><th>code</th><th>times</th></tr></thead><tbody>${rows.join('')}</tbody></table>`;
}
