/**
 * The page's script: one canvas that draws what is in view, so that 100,000 operations stay quick. Far out it shows how
 * busy each row is, close in each hold with its token. Plain JavaScript: it runs as it stands here.
 */
export const PAGE_SCRIPT: string = String.raw`
'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const canvas = document.getElementById('timeline'), tip = document.getElementById('tip'), draw2d = canvas.getContext('2d');
const LEFT = 128, AXIS = 26, PAD = 12;
const style = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
let colours = {}, rows = [], view = { from: 0, to: data.lengthMs }, by = 'client', width = 0, height = 0, hot = [];
const hue = i => (i * 137.508) % 360;
const dark = () => matchMedia('(prefers-color-scheme: dark)').matches;
const holdColour = i => 'hsl(' + hue(i) + (dark() ? ' 48% 58%)' : ' 52% 50%)');

// Operations of a row, each on the first sub-row that is free: what overlaps is never drawn over one another.
function lanesOf(ops) {
  const free = [];
  for (const op of ops) {
    let lane = free.findIndex(until => until <= op.from);
    if (lane < 0) lane = free.length;
    free[lane] = op.to;
    op.lane = lane;
  }
  return Math.max(1, free.length);
}
const ends = (ops, what) => { let low = Infinity, high = -Infinity; for (const op of ops) { low = Math.min(low, op[what]); high = Math.max(high, op[what]); } return [low, high]; };
function buildRows() {
  rows = [];
  rows.push({ kind: 'rate', label: 'answers / s', height: 40 });
  for (const track of ['server', 'client']) if (data.faults.some(f => f.track === track))
    rows.push({ kind: 'faults', track, label: track === 'server' ? 'faults of nodes' : 'faults of clients', height: 22 });
  for (const node of data.nodes) rows.push({ kind: 'node', node, label: node.name, height: 22 });
  const names = by === 'client' ? data.clients : data.keys, column = by === 'client' ? 0 : 1;
  const groups = names.map(() => []);
  for (const [client, key, call, grant, end, token, how] of data.holds)
    groups[column ? key : client].push({ from: call, grant, to: end, token, how, client, key, colour: column ? client : key });
  for (const [client, key, call, end, outcome] of data.refusals)
    groups[column ? key : client].push({ from: call, to: end, outcome, client, key });
  const byName = (a, b) => a.label.localeCompare(b.label, 'en', { numeric: true });
  let shown = names.map((label, i) => ({ label, ops: groups[i] })).filter(g => g.ops.length).sort(byName);
  // A client that takes the place of one that was killed goes on in its row.
  if (!column) {
    const packed = [];
    for (const group of shown) {
      const from = Math.min(...ends(group.ops, 'from')), to = Math.max(...ends(group.ops, 'to'));
      const row = packed.find(r => r.to <= from);
      if (row) { row.names.push(group.label); row.ops = row.ops.concat(group.ops); row.to = to; }
      else packed.push({ names: [group.label], ops: group.ops, to });
    }
    shown = packed.map(r => ({ label: r.names.length > 2 ? r.names[0] + ' … ' + r.names[r.names.length - 1] : r.names.join(', '), ops: r.ops }));
  }
  shown
    .forEach(({ label, ops }) => {
      ops.sort((a, b) => a.from - b.from);
      let longest = 0;
      for (const op of ops) longest = Math.max(longest, op.to - op.from);
      const lanes = lanesOf(ops), each = Math.max(3, Math.min(9, Math.floor(96 / lanes)));
      rows.push({ kind: 'ops', label, ops, lanes, each, longest, full: Math.max(20, lanes * each + 8), height: 20 });
    });
}
const x = ms => LEFT + (ms - view.from) / (view.to - view.from) * (width - LEFT - PAD);
const msAt = px => view.from + (px - LEFT) / (width - LEFT - PAD) * (view.to - view.from);
const time = ms => { const span = view.to - view.from; return (ms / 1000).toFixed(span > 60000 ? 0 : span > 6000 ? 1 : span > 600 ? 2 : 4) + ' s'; };
const firstAt = (ops, ms) => { let lo = 0, hi = ops.length; while (lo < hi) { const mid = (lo + hi) >> 1; ops[mid].from < ms ? lo = mid + 1 : hi = mid; } return lo; };

function draw() {
  const ratio = devicePixelRatio || 1;
  width = canvas.parentElement.clientWidth;
  // Rows with nothing in view, such as clients that were killed long ago, take no room.
  for (const row of rows) if (row.kind === 'ops') {
    let at = firstAt(row.ops, view.from - row.longest);
    const end = firstAt(row.ops, view.to);
    while (at < end && row.ops[at].to < view.from) at++;
    row.height = at < end ? row.full : 14;
  }
  height = AXIS + rows.reduce((sum, row) => sum + row.height, 0) + 8;
  canvas.width = width * ratio; canvas.height = height * ratio; canvas.style.height = height + 'px';
  const c = draw2d; c.setTransform(ratio, 0, 0, ratio, 0, 0); c.clearRect(0, 0, width, height);
  for (const name of ['ink','soft','faint','line','grid','leader','follower','candidate','silent','odd','fault','fault-bg','client-fault','client-fault-bg','wait','lost','dead','rate','card']) colours[name] = style('--' + name);
  hot = [];
  c.font = '12px system-ui, sans-serif'; c.textBaseline = 'middle';
  // Faults shade everything below them, so that one sees what they did.
  c.save(); c.beginPath(); c.rect(LEFT, 0, width - LEFT - PAD, height); c.clip();
  for (const fault of data.faults) {
    c.fillStyle = colours[fault.track === 'server' ? 'fault-bg' : 'client-fault-bg'];
    c.fillRect(x(fault.fromMs), AXIS, Math.max(1, x(fault.toMs) - x(fault.fromMs)), height);
  }
  const raw = (view.to - view.from) / Math.max(4, (width - LEFT) / 110), power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map(f => f * power).find(s => s >= raw);
  c.textAlign = 'center';
  for (let at = Math.ceil(view.from / step) * step; at <= view.to; at += step) {
    c.fillStyle = colours.grid; c.fillRect(x(at), AXIS, 1, height); c.fillStyle = colours.faint; const half = c.measureText(time(at)).width / 2 + 2; c.fillText(time(at), Math.max(LEFT + half, Math.min(width - PAD - half, x(at))), AXIS / 2 + 2);
  }
  c.restore();
  let y = AXIS;
  for (const row of rows) {
    row.y = y;
    c.fillStyle = colours.line; c.fillRect(0, y, width, 1);
    c.textAlign = 'right'; c.fillStyle = row.kind === 'ops' ? colours.soft : colours.ink;
    c.fillText(row.label.length > 17 ? row.label.slice(0, 16) + '…' : row.label, LEFT - 12, y + row.height / 2);
    c.save(); c.beginPath(); c.rect(LEFT, y, width - LEFT - PAD, row.height); c.clip();
    ({ rate: drawRate, faults: drawFaults, node: drawNode, ops: drawOps })[row.kind](row, y, c);
    c.restore();
    y += row.height;
  }
}
function drawRate(row, y, c) {
  const top = Math.max(1, ...data.rate);
  c.fillStyle = colours.rate;
  data.rate.forEach((n, i) => { const h = n / top * (row.height - 10); c.fillRect(x(i * 1000), y + row.height - 2 - h, Math.max(1, x(i * 1000 + 1000) - x(i * 1000) - .5), h); });
  c.textAlign = 'left'; c.fillStyle = colours.card; c.globalAlpha = .8; c.fillRect(LEFT, y + 1, c.measureText('up to ' + top).width + 10, 16); c.globalAlpha = 1; c.fillStyle = colours.soft; c.fillText('up to ' + top, LEFT + 5, y + 10);
}
function drawFaults(row, y, c) {
  for (const fault of data.faults) {
    if (fault.track !== row.track || fault.toMs < view.from || fault.fromMs > view.to) continue;
    const left = x(fault.fromMs), w = Math.max(2, x(fault.toMs) - left);
    const colour = colours[fault.track === 'server' ? 'fault' : 'client-fault'];
    c.globalAlpha = fault.worked ? 1 : .35; c.fillStyle = colour; c.fillRect(left, y + 4, w, row.height - 8); c.globalAlpha = 1;
    label(c, fault.kind, left, w, y + row.height / 2, colours.card);
    hot.push([left, y, w, row.height, fault.kind + ' on ' + fault.target + (fault.worked ? '' : ' (did not work)') + '\n' + fault.evidence + '\n' + time(fault.fromMs) + ' to ' + time(fault.toMs)]);
  }
}
function drawNode(row, y, c) {
  for (const [from, to, role, term] of row.node.roles) {
    if (to < view.from || from > view.to) continue;
    const left = x(from), w = Math.max(1, x(to) - left), name = data.roles[role];
    if (name === 'away') continue;
    c.fillStyle = colours[name] || colours.odd; c.fillRect(left, y + 3, w, row.height - 6);
    if (name !== 'follower' && name !== 'silent') label(c, name + ' ' + term, left, w, y + row.height / 2, '#fff');
    hot.push([left, y, w, row.height, row.node.name + ': ' + name + (term ? ', term ' + term : '') + '\n' + time(from) + ' to ' + time(to)]);
  }
}
function label(c, text, left, w, y, colour) {
  const from = Math.max(left, LEFT), room = Math.min(left + w, width - PAD) - from - 8;
  if (room < 20 || c.measureText(text).width > room) return;
  c.textAlign = 'left'; c.fillStyle = colour; c.fillText(text, from + 4, y + .5);
}
function drawOps(row, y, c) {
  const first = firstAt(row.ops, view.from - row.longest), last = firstAt(row.ops, view.to);
  if (last - first > 2500) { drawBusy(row, y, c, first, last); return; }
  for (let i = first; i < last; i++) {
    const op = row.ops[i];
    if (op.to < view.from) continue;
    const top = y + 4 + op.lane * row.each, tall = Math.max(2, row.each - 1), left = x(op.from);
    if (op.grant === undefined) {
      c.fillStyle = colours.wait; c.globalAlpha = op.outcome ? .9 : .55; c.fillRect(left, top + tall / 2 - .5, Math.max(1, x(op.to) - left), 1); c.globalAlpha = 1;
      hot.push([left, top, Math.max(2, x(op.to) - left), tall, () => describe(op)]);
      continue;
    }
    c.fillStyle = colours.wait; c.fillRect(left, top + tall / 2 - .5, Math.max(0, x(op.grant) - left), 1);
    const from = x(op.grant), w = Math.max(1, x(op.to) - from);
    c.fillStyle = op.how === 2 ? colours.dead : holdColour(op.colour); c.fillRect(from, top, w, tall);
    if (op.how && op.how !== 2) { c.fillStyle = endColour(op.how); c.fillRect(from + w - 3, top - 1, 3, tall + 2); }
    if (row.each >= 9) { c.font = '9px ui-monospace, monospace'; label(c, op.token + '', from, w, top + tall / 2, '#fff'); c.font = '12px system-ui, sans-serif'; }
    hot.push([left, top, from + w - left, tall, () => describe(op)]);
  }
}
// Too many to tell apart: how much of each pixel's time is spent holding and waiting, and where something was lost.
function drawBusy(row, y, c, first, last) {
  const columns = Math.ceil(width - LEFT - PAD), hold = new Float32Array(columns), wait = new Float32Array(columns), losses = [];
  const per = (view.to - view.from) / columns;
  const add = (sums, from, to) => {
    const a = Math.max(from, view.from), b = Math.min(to, view.to);
    for (let at = a; at < b;) { const i = Math.min(columns - 1, Math.floor((at - view.from) / per)), end = Math.min(b, view.from + (i + 1) * per); sums[i] += end - at; at = end > at ? end : b; }
  };
  for (let i = first; i < last; i++) {
    const op = row.ops[i];
    if (op.grant === undefined) { add(wait, op.from, op.to); continue; }
    add(wait, op.from, op.grant); add(hold, op.grant, op.to);
    if (op.how) losses.push(op);
  }
  const full = row.height - 8, colour = colours.leader;
  // Scaled to the busiest pixel in view: rows differ by far in how many requests they have at a time.
  let most = 0;
  for (let i = 0; i < columns; i++) most = Math.max(most, (hold[i] + wait[i]) / per);
  for (let i = 0; i < columns; i++) {
    const h = Math.min(full, hold[i] / per / most * full), w = Math.min(full - h, wait[i] / per / most * full);
    c.fillStyle = colours.wait; c.globalAlpha = .6; c.fillRect(LEFT + i, y + row.height - 4 - h - w, 1, w);
    c.fillStyle = colour; c.globalAlpha = .9; c.fillRect(LEFT + i, y + row.height - 4 - h, 1, h);
  }
  c.globalAlpha = 1;
  for (const op of losses) { c.fillStyle = endColour(op.how); const tall = row.height * (op.how > 2 ? .25 : 1) - 6; c.fillRect(x(op.to) - 1, y + 3, 2, tall); hot.push([x(op.to) - 3, y, 6, row.height, () => describe(op)]); }
  hot.unshift([LEFT, y, columns, row.height, row.label + ': ' + (last - first) + ' requests in view\nzoom in to see each']);
}
function describe(op) {
  const who = data.clients[op.client] + ', ' + data.keys[op.key];
  if (op.grant === undefined) return who + '\n' + data.outcomes[op.outcome] + ' after ' + (op.to - op.from).toFixed(1) + ' ms';
  return who + ', token ' + op.token + '\nwaited ' + (op.grant - op.from).toFixed(1) + ' ms, held ' + (op.to - op.grant).toFixed(1) + ' ms\n' + data.ends[op.how] + ' at ' + time(op.to);
}
function endColour(how) { return [colours.leader, colours.lost, colours.dead, colours.candidate, colours.odd][how]; }
let scheduled = false;
function soon() { if (!scheduled) { scheduled = true; requestAnimationFrame(() => { scheduled = false; draw(); }); } }
function show(from, to) {
  const span = Math.min(data.lengthMs, Math.max(2, to - from));
  from = Math.max(0, Math.min(from, data.lengthMs - span));
  view = { from, to: from + span }; soon();
}
function zoom(factor, at) { show(at - (at - view.from) * factor, at + (view.to - at) * factor); }
canvas.addEventListener('wheel', event => {
  if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) { event.preventDefault(); const move = event.deltaX / width * (view.to - view.from); show(view.from + move, view.to + move); return; }
  if (!event.ctrlKey && !event.shiftKey && !event.metaKey && !event.altKey && view.to - view.from >= data.lengthMs && event.deltaY > 0) return;
  event.preventDefault(); zoom(1.0015 ** event.deltaY, msAt(event.offsetX));
}, { passive: false });
let grabbed = null;
canvas.addEventListener('pointerdown', event => { grabbed = { px: event.offsetX, from: view.from, to: view.to }; canvas.setPointerCapture(event.pointerId); });
canvas.addEventListener('pointerup', () => grabbed = null);
canvas.addEventListener('pointermove', event => {
  if (grabbed) { const move = (grabbed.px - event.offsetX) / (width - LEFT - PAD) * (grabbed.to - grabbed.from); show(grabbed.from + move, grabbed.to + move); return; }
  const px = event.offsetX, py = event.offsetY; let text = '';
  if (px > LEFT) for (let i = hot.length - 1; i >= 0; i--) { const [hx, hy, w, h, t] = hot[i]; if (px >= hx - 1 && px <= hx + w + 1 && py >= hy && py <= hy + h) { text = typeof t === 'function' ? t() : t; break; } }
  tip.style.opacity = text ? 1 : 0;
  if (text) { tip.textContent = text; tip.style.left = Math.min(px + 14, width - tip.offsetWidth - 8) + 'px'; tip.style.top = py + 16 + 'px'; }
});
canvas.addEventListener('pointerleave', () => tip.style.opacity = 0);
canvas.addEventListener('dblclick', event => zoom(.3, msAt(event.offsetX)));
canvas.addEventListener('keydown', event => {
  const move = (view.to - view.from) / 5, mid = (view.from + view.to) / 2;
  const act = { ArrowLeft: () => show(view.from - move, view.to - move), ArrowRight: () => show(view.from + move, view.to + move), '+': () => zoom(.5, mid), '=': () => zoom(.5, mid), '-': () => zoom(2, mid), Home: () => show(0, data.lengthMs) }[event.key];
  if (act) { event.preventDefault(); act(); }
});
const on = (id, act) => document.getElementById(id)?.addEventListener('click', act);
on('in', () => zoom(.5, (view.from + view.to) / 2)); on('out', () => zoom(2, (view.from + view.to) / 2)); on('all', () => show(0, data.lengthMs));
function setBy(value) { by = value; for (const name of ['client', 'key']) document.getElementById('by-' + name).setAttribute('aria-pressed', name === by); buildRows(); soon(); }
on('by-client', () => setBy('client')); on('by-key', () => setBy('key'));
const losses = data.holds.filter(h => h[6] === 1 || h[6] === 2).map(h => h[4]).sort((a, b) => a - b);
on('loss', () => { if (!losses.length) return; const mid = (view.from + view.to) / 2; const next = losses.find(at => at > mid + 1) ?? losses[0]; show(next - 2500, next + 2500); });
for (const row of document.querySelectorAll('[data-from]')) row.addEventListener('click', () => { const from = +row.dataset.from, to = +row.dataset.to; show(from - (to - from) * .6 - 200, to + (to - from) * .6 + 200); canvas.scrollIntoView({ block: 'center', behavior: 'smooth' }); });
on('copy', () => navigator.clipboard?.writeText(document.getElementById('command').textContent));
addEventListener('resize', soon); matchMedia('(prefers-color-scheme: dark)').addEventListener('change', soon);
const wanted = /^#(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)(?:-(client|key))?$/.exec(location.hash);
setBy(wanted?.[3] ?? 'client');
if (wanted) show(+wanted[1] * 1000, +wanted[2] * 1000);
draw();
`;
