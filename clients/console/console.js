/**
 * The live dashboard of the flight demo. One SSE connection feeds every chart; each view is folded from its snapshot and
 * deltas, and drawn at most once an animation frame, in place: nothing blanks, nothing flickers.
 */
import uPlot from './uplot.js';

const VIEWS = [
  'totals',
  'flights_by_hour',
  'flights_by_origin',
  'delay_histogram',
  'flights_by_state',
  'flights_by_day',
];
const HOUR_MS = 3_600_000;
const byId = (id) => document.getElementById(id);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A view as the server has it: rows by key. */
class FoldedView {
  rows = new Map();
  position = 0;
  asOf = '';
  changes = 0;
  key = [];

  keyOf(row) {
    return this.key.length === 0
      ? JSON.stringify(row)
      : this.key.map((name) => row[name]).join('\u0000');
  }

  take(kind, event) {
    this.position = event.position;
    if (kind === 'snapshot') for (const row of event.rows) this.rows.set(this.keyOf(row), row);
    if (kind === 'reset') this.rows.clear();
    if (kind === 'delta') {
      for (const row of event.deleted) this.rows.delete(this.keyOf(row));
      for (const row of event.inserted) this.rows.set(this.keyOf(row), row);
      this.changes += event.inserted.length + event.deleted.length;
    }
    if (event.asOf !== undefined) this.asOf = event.asOf;
  }
}

const views = new Map(VIEWS.map((name) => [name, new FoldedView()]));
const dirty = new Set();
let frame = 0;

function touch(name) {
  dirty.add(name);
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    for (const each of dirty) draw[each]?.(views.get(each));
    for (const each of dirty) footer(each);
    dirty.clear();
  });
}

// ── The connection ─────────────────────────────────────────────────────────────────────────────────────────────

function connect() {
  for (const view of views.values()) view.rows.clear();
  const source = new EventSource(`/v1/live?views=${VIEWS.join(',')}&maxRate=10`);
  source.addEventListener('open', () => connection('live'));
  source.addEventListener('error', () => {
    connection('lost');
    // A browser comes again by itself after a broken line, but not after a refusal: the server was starting, say.
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 1000);
  });
  source.addEventListener('hello', (message) => {
    const { item, key } = JSON.parse(message.data);
    const view = views.get(item);
    if (view !== undefined) view.key = key ?? [];
  });
  for (const kind of ['snapshot', 'delta', 'progress', 'reset']) {
    source.addEventListener(kind, (message) => {
      const event = JSON.parse(message.data);
      const view = views.get(event.item);
      if (view === undefined) return;
      view.take(kind, event);
      byId('position').textContent = event.position.toLocaleString('en-US');
      if (kind === 'delta' && event.sentMs !== undefined) latency(Date.now() - event.sentMs);
      if (kind !== 'progress') touch(event.item);
    });
  }
}

function connection(state) {
  const dot = byId('connection');
  dot.dataset.state = state;
  dot.textContent = state === 'live' ? 'live' : 'reconnecting';
}

let smoothedMs = 0;
function latency(ms) {
  smoothedMs = smoothedMs === 0 ? ms : smoothedMs * 0.9 + ms * 0.1;
  byId('latency').textContent = smoothedMs < 1 ? '<1' : smoothedMs.toFixed(0);
}

// ── Drawing ────────────────────────────────────────────────────────────────────────────────────────────────────

const number = new Intl.NumberFormat('en-US');
const compact = new Intl.NumberFormat('en-US', { notation: 'compact', maximumFractionDigits: 2 });
const minutes = (value) => `${Number(value).toFixed(1)} min`;

const draw = {
  totals(view) {
    const [row] = view.rows.values();
    if (row === undefined) return;
    byId('total-flights').textContent = number.format(row.flights);
    byId('total-delay').textContent = minutes(row.avg_delay);
    byId('total-late').textContent = `${((100 * row.late) / row.flights).toFixed(1)} %`;
    byId('total-miles').textContent = compact.format(Number(row.miles));
    byId('total-front').textContent = String(row.front).replace('T', ' ').slice(0, 16);
    arrived = row.flights;
  },
  flights_by_hour(view) {
    const rows = [...view.rows.values()].map((row) => [
      Date.parse(`${row.hour}Z`),
      row.flights,
      Number(row.avg_delay),
    ]);
    rows.sort((a, b) => a[0] - b[0]);
    const front = rows.at(-1)?.[0] ?? 0;
    const shown = rows.filter(([at]) => at > front - 14 * 24 * HOUR_MS);
    plots.hours.setData([
      shown.map(([at]) => at / 1000),
      shown.map(([, flights]) => flights),
      shown.map(([, , delay]) => delay),
    ]);
  },
  flights_by_origin(view) {
    const top = [...view.rows.values()]
      .sort((a, b) => b.flights - a.flights || (a.origin < b.origin ? -1 : 1))
      .slice(0, 10);
    bars(
      'origins',
      top.map((row) => ({
        label: row.origin,
        value: row.flights,
        text: compact.format(row.flights),
      })),
    );
  },
  flights_by_state(view) {
    const top = [...view.rows.values()]
      .filter((row) => row.flights > 1000)
      .sort((a, b) => Number(b.avg_delay) - Number(a.avg_delay) || (a.state < b.state ? -1 : 1))
      .slice(0, 10);
    bars(
      'states',
      top.map((row) => ({
        label: row.state,
        value: Number(row.avg_delay),
        text: minutes(row.avg_delay),
      })),
      'warm',
    );
  },
  delay_histogram(view) {
    const rows = [...view.rows.values()]
      .filter((row) => row.minutes >= -60 && row.minutes <= 180)
      .sort((a, b) => a.minutes - b.minutes);
    plots.histogram.setData([rows.map((row) => row.minutes), rows.map((row) => row.flights)]);
  },
  flights_by_day(view) {
    const rows = [...view.rows.values()]
      .map((row) => [Date.parse(`${row.day}Z`), row.flights])
      .sort((a, b) => a[0] - b[0]);
    plots.days.setData([rows.map(([at]) => at / 1000), rows.map(([, flights]) => flights)]);
  },
};

/** Bars that keep their elements: only text and one transform change. */
function bars(id, items, tone = '') {
  const host = byId(id);
  const most = Math.max(...items.map(({ value }) => value), 1e-9);
  while (host.children.length < items.length) {
    const bar = document.createElement('div');
    bar.className = 'bar';
    bar.append(
      document.createElement('span'),
      document.createElement('i'),
      document.createElement('span'),
    );
    host.append(bar);
  }
  while (host.children.length > items.length) host.lastChild.remove();
  items.forEach(({ label, value, text }, index) => {
    const [name, fill, figure] = host.children[index].children;
    host.children[index].dataset.tone = tone;
    if (name.textContent !== label) name.textContent = label;
    if (figure.textContent !== text) figure.textContent = text;
    fill.style.transform = `scaleX(${Math.max(0, value) / most})`;
  });
}

function footer(name) {
  const card = document.querySelector(`[data-view='${name}'] footer`);
  if (card === null) return;
  const view = views.get(name);
  card.textContent = `from view ${name} · exact · position ${number.format(view.position)} · ${number.format(view.rows.size)} rows · ${number.format(view.changes)} changes pushed`;
}

/** Measured whether something arrives or not, so that it falls to zero when the feed is paused. */
let arrived = 0;
let seen = { at: 0, rows: 0 };
let shownRate = 0;
setInterval(() => {
  const at = performance.now();
  if (seen.rows > 0) {
    const now = ((arrived - seen.rows) / (at - seen.at)) * 1000;
    shownRate = shownRate * 0.5 + now * 0.5;
    byId('rate').textContent = number.format(Math.round(shownRate));
  }
  seen = { at, rows: arrived };
}, 500);

// ── Charts ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** Bars are compared by their lengths: they begin at zero. */
const fromZero = { range: (_plot, _low, high) => [0, Math.max(1, high * 1.05)] };
const figures = () => ({
  ...axis(),
  values: (_plot, ticks) => ticks.map((tick) => compact.format(tick)),
});
const axis = () => ({
  stroke: css('--soft'),
  grid: { stroke: css('--line'), width: 1 },
  ticks: { stroke: css('--line') },
  font: '11px system-ui',
});

function plot(id, options, data) {
  const host = byId(id);
  const size = () => ({ width: host.clientWidth, height: host.clientHeight });
  const chart = new uPlot(
    {
      ...size(),
      cursor: { y: false },
      tzDate: (s) => uPlot.tzDate(new Date(s * 1000), 'Etc/UTC'),
      ...options,
    },
    data,
    host,
  );
  new ResizeObserver(() => chart.setSize(size())).observe(host);
  return chart;
}

const stepped = uPlot.paths.bars({ size: [0.9, 60] });
const plots = {
  hours: plot(
    'hours',
    {
      scales: { delay: {} },
      axes: [axis(), axis(), { ...axis(), scale: 'delay', side: 1, grid: { show: false } }],
      series: [
        {},
        {
          label: 'flights',
          stroke: css('--accent'),
          width: 1.5,
          fill: `color-mix(in srgb, ${css('--accent')} 14%, transparent)`,
          points: { show: false },
        },
        {
          label: 'delay',
          stroke: css('--warm'),
          width: 1.5,
          scale: 'delay',
          points: { show: false },
        },
      ],
    },
    [[], [], []],
  ),
  histogram: plot(
    'histogram',
    {
      scales: { x: { time: false }, y: fromZero },
      axes: [axis(), figures()],
      series: [
        {},
        {
          label: 'flights',
          stroke: css('--accent'),
          fill: css('--accent'),
          paths: stepped,
          points: { show: false },
        },
      ],
    },
    [[], []],
  ),
  days: plot(
    'days',
    {
      scales: { y: fromZero },
      axes: [axis(), figures()],
      series: [
        {},
        {
          label: 'flights',
          stroke: css('--accent'),
          fill: css('--accent'),
          paths: stepped,
          points: { show: false },
        },
      ],
    },
    [[], []],
  ),
};

// ── Speed ──────────────────────────────────────────────────────────────────────────────────────────────────────

const speed = byId('speed');

function showSpeed(value) {
  for (const button of speed.querySelectorAll('button'))
    button.setAttribute('aria-pressed', String(Number(button.dataset.speed) === value));
}

speed.addEventListener('click', async ({ target }) => {
  if (!(target instanceof HTMLButtonElement)) return;
  const answer = await fetch('/v1/demo', {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ speed: Number(target.dataset.speed) }),
  });
  if (answer.ok) showSpeed((await answer.json()).speed);
  else problem((await answer.json()).detail ?? 'the speed could not be changed');
});

function problem(text) {
  const box = byId('problem');
  box.textContent = text;
  box.hidden = false;
  setTimeout(() => (box.hidden = true), 6000);
}

const demo = await fetch('/v1/demo').then((answer) => (answer.ok ? answer.json() : undefined));
if (demo === undefined) problem('The flight demo is not running: start the server with --demo.');
else showSpeed(demo.speed);
connect();
