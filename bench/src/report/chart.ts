/** Grouped bars: one group per label, one bar per series. */
export interface Chart {
  readonly title: string;
  /** What the bars measure, with its unit. */
  readonly unit: string;
  readonly labels: readonly string[];
  /** One value per label; `undefined` where nothing was measured: no bar. */
  readonly series: readonly { readonly name: string; readonly values: readonly (number | undefined)[] }[];
  /** Logarithmic where the values lie more than two powers of ten apart. */
  readonly scale: 'linear' | 'log';
}

// Okabe and Ito's palette: told apart by colour-blind readers too.
const COLOURS = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00', '#999999'];
const WIDTH = 860;
const PLOT = { left: 70, right: 20, top: 70, height: 300 } as const;

/** A chart as one SVG file without scripts, fonts or anything from outside. */
export function chartToSvg(chart: Chart): string {
  const values = chart.series.flatMap((series) => series.values).filter((value) => value !== undefined && value > 0);
  const largest = Math.max(1, ...(values as number[]));
  const smallest = Math.min(largest, ...(values as number[]));
  const axis = chart.scale === 'log' ? logAxis(smallest, largest) : linearAxis(largest);
  const bottom = PLOT.top + PLOT.height;
  const plotWidth = WIDTH - PLOT.left - PLOT.right;
  const groupWidth = plotWidth / Math.max(1, chart.labels.length);
  const barWidth = (groupWidth * 0.8) / Math.max(1, chart.series.length);

  const grid = axis.ticks.map((tick) => {
    const y = round(bottom - axis.share(tick) * PLOT.height);
    return (
      `<line x1="${PLOT.left}" y1="${y}" x2="${WIDTH - PLOT.right}" y2="${y}" stroke="#ddd"/>` +
      `<text x="${PLOT.left - 8}" y="${y + 4}" text-anchor="end">${tick.toLocaleString('en-US')}</text>`
    );
  });
  const bars = chart.labels.flatMap((_, group) =>
    chart.series.map((series, index) => {
      const value = series.values[group];
      if (value === undefined || !(value > 0)) return '';
      const height = Math.max(1, axis.share(value) * PLOT.height);
      const x = PLOT.left + group * groupWidth + groupWidth * 0.1 + index * barWidth;
      const label = value >= 100 ? Math.round(value).toLocaleString('en-US') : value.toPrecision(3);
      return (
        `<rect x="${round(x)}" y="${round(bottom - height)}" width="${round(barWidth * 0.92)}" height="${round(height)}" fill="${colourOf(index)}">` +
        `<title>${escape(`${series.name}, ${chart.labels[group]}: ${label} ${chart.unit}`)}</title></rect>` +
        `<text x="${round(x + barWidth * 0.46)}" y="${round(bottom - height - 4)}" text-anchor="middle" font-size="9">${label}</text>`
      );
    }),
  );
  const labels = chart.labels.map(
    (label, group) =>
      `<text x="${round(PLOT.left + (group + 0.5) * groupWidth)}" y="${bottom + 18}" text-anchor="middle">${escape(label)}</text>`,
  );
  const legend = chart.series.map((series, index) => {
    const x = PLOT.left + index * 130;
    return `<rect x="${x}" y="44" width="12" height="12" fill="${colourOf(index)}"/><text x="${x + 17}" y="54">${escape(series.name)}</text>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${bottom + 40}" font-family="sans-serif" font-size="12">`,
    `<rect width="100%" height="100%" fill="white"/>`,
    `<text x="${PLOT.left}" y="24" font-size="15" font-weight="bold">${escape(chart.title)}</text>`,
    `<text x="${WIDTH - PLOT.right}" y="24" text-anchor="end">${escape(chart.unit)}${chart.scale === 'log' ? ', logarithmic' : ''}</text>`,
    ...grid,
    ...bars.filter((bar) => bar !== ''),
    `<line x1="${PLOT.left}" y1="${bottom}" x2="${WIDTH - PLOT.right}" y2="${bottom}" stroke="#333"/>`,
    ...labels,
    ...legend,
    '</svg>',
    '',
  ].join('\n');
}

interface Axis {
  readonly ticks: readonly number[];
  /** 0 at the bottom, 1 at the top. */
  share(value: number): number;
}

function logAxis(smallest: number, largest: number): Axis {
  const from = Math.floor(Math.log10(smallest));
  const to = Math.max(from + 1, Math.ceil(Math.log10(largest)));
  return {
    ticks: Array.from({ length: to - from + 1 }, (_, step) => 10 ** (from + step)),
    share: (value) => Math.max(0, (Math.log10(value) - from) / (to - from)),
  };
}

function linearAxis(largest: number): Axis {
  const rough = largest / 5;
  const magnitude = 10 ** Math.floor(Math.log10(rough));
  const step = magnitude * ([1, 2, 5, 10].find((factor) => factor * magnitude >= rough) ?? 10);
  const steps = Math.ceil(largest / step);
  return {
    ticks: Array.from({ length: steps + 1 }, (_, count) => Number((count * step).toPrecision(6))),
    share: (value) => value / (steps * step),
  };
}

function colourOf(index: number): string {
  return COLOURS[index % COLOURS.length] as string;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
