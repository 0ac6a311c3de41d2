/**
 * The live dashboard of the flight demo. Drawn at most once an animation frame, in place: nothing blanks, nothing flickers.
 */
import {
  daysPlot,
  drawBars,
  drawMap,
  histogramPlot,
  hoursPlot,
  setText,
  Sparkline,
} from './charts.js';
import { FoldedView, follow, getJson } from './feed.js';
import { age, civilDay, civilTime, compact, milliseconds, number, whole } from './format.js';

const NAMES = [
  'totals',
  'flights_by_hour',
  'flights_by_origin',
  'delay_histogram',
  'flights_by_state',
  'flights_by_day',
];
const HOUR_MS = 3_600_000;
/** Delays from here on share one bar. */
const DELAY_FIRST = -45;
const DELAY_LAST = 150;
const LATE = 15;
/** The average of fewer flights than this in an hour says little; the night has few. */
const FLIGHTS_TO_AVERAGE = 25;
const byId = (id) => document.getElementById(id);

const views = new Map(NAMES.map((name) => [name, new FoldedView()]));
const cities = new Map();
const plots = { hours: hoursPlot(), histogram: histogramPlot(DELAY_LAST), days: daysPlot() };

// ── Drawing ────────────────────────────────────────────────────────────────────────────────────────────────────

const draw = {
  totals({ rows }) {
    const [row] = rows.values();
    if (row === undefined || row.flights === 0) return;
    flights = row.flights;
    setText(byId('total-flights'), number.format(row.flights));
    setText(byId('total-delay'), Number(row.avg_delay).toFixed(2));
    setText(byId('total-late'), `${((100 * row.late) / row.flights).toFixed(1)} %`);
    setText(byId('total-miles'), compact.format(Number(row.miles)));
    setText(byId('total-front'), civilTime(row.front));
    setText(byId('front-note'), `${civilDay(row.front)}, moved from 2001`);
  },
  flights_by_hour({ rows }) {
    const hours = [...rows.values()].map((row) => [
      Date.parse(`${row.hour}Z`),
      row.flights,
      Number(row.avg_delay),
    ]);
    if (hours.length === 0) return;
    hours.sort((a, b) => a[0] - b[0]);
    const last = hours.at(-1)[0];
    const shown = hours.filter(([at]) => at > last - 14 * 24 * HOUR_MS);
    const [, count, delay] = shown.at(-1);
    plots.hours(
      [
        shown.map(([at]) => at / 1000),
        shown.map(([, each]) => each),
        shown.map(([, each, late]) => (each < FLIGHTS_TO_AVERAGE ? null : late)),
      ],
      `Line chart of the last 14 days by hour. The last hour has ${number.format(count)} flights so far, ${delay.toFixed(1)} minutes late on average.`,
    );
  },
  flights_by_origin({ rows }) {
    const top = [...rows.values()]
      .sort((a, b) => b.flights - a.flights || (a.origin < b.origin ? -1 : 1))
      .slice(0, 10);
    drawBars(
      'origins',
      top.map((row) => ({
        label: cities.has(row.origin) ? `${row.origin}  ${cities.get(row.origin)}` : row.origin,
        value: row.flights,
        texts: [compact.format(row.flights), `${Number(row.avg_delay).toFixed(1)} min`],
      })),
    );
  },
  flights_by_state({ rows }) {
    const states = new Map([...rows.values()].map((row) => [row.state, row]));
    const values = new Map(
      [...rows.values()]
        .filter((row) => row.flights >= 200)
        .map((row) => [row.state, Number(row.avg_delay)]),
    );
    const scale = drawMap('states', values, (state) => {
      const row = states.get(state);
      return row === undefined
        ? `${state}: no flights`
        : `${state}: ${Number(row.avg_delay).toFixed(1)} min average delay of ${number.format(row.flights)} flights`;
    });
    if (scale === undefined) return;
    const [low, , high] = byId('states-scale').children;
    setText(low, whole(scale.low));
    setText(high, `${whole(scale.high)} min`);
  },
  delay_histogram({ rows }) {
    const counts = new Map();
    for (const row of rows.values()) {
      const bar = Math.min(DELAY_LAST, Math.max(DELAY_FIRST, row.minutes));
      counts.set(bar, (counts.get(bar) ?? 0) + row.flights);
    }
    if (counts.size === 0) return;
    const from = [];
    for (let bar = DELAY_FIRST; bar <= DELAY_LAST; bar += 15) from.push(bar);
    const late = from.map((bar) => (bar >= LATE ? (counts.get(bar) ?? 0) : null));
    plots.histogram(
      [from, from.map((bar) => (bar < LATE ? (counts.get(bar) ?? 0) : null)), late],
      `Histogram of delays in steps of 15 minutes; ${number.format(late.reduce((sum, each) => sum + (each ?? 0), 0))} flights are late by 15 minutes or more.`,
    );
  },
  flights_by_day({ rows }) {
    const days = [...rows.values()]
      .map((row) => [Date.parse(`${row.day}Z`), row.flights])
      .sort((a, b) => a[0] - b[0]);
    if (days.length === 0) return;
    plots.days(
      [days.map(([at]) => at / 1000), days.map(([, each]) => each)],
      `Bar chart of ${days.length} days; the last one has ${number.format(days.at(-1)[1])} flights.`,
    );
  },
};

const dirty = new Set();
/** When the newest commit that a frame shows was made. */
let newestMs = 0;
let frame = 0;

function changed(name, kind, event) {
  dirty.add(name);
  if (kind === 'delta') newestMs = Math.max(newestMs, event.committedMs);
  setText(byId('position'), number.format(event.position));
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    for (const each of dirty) draw[each](views.get(each));
    for (const each of dirty) footer(each);
    dirty.clear();
    if (newestMs > 0) latencies.push(Math.max(0, Date.now() - newestMs));
    newestMs = 0;
  });
}

function footer(name) {
  const line = document.querySelector(`[data-view='${name}'] > footer`);
  const view = views.get(name);
  if (line === null || view.committedMs === 0) return;
  if (line.children.length === 0) line.append(document.createElement('b'), '');
  setText(line.firstChild, `from view ${name}`);
  const text = ` · exact · ${number.format(view.rows.size)} rows · ${number.format(view.changes)} changes · ${age(Date.now() - view.committedMs)}`;
  if (line.lastChild.data !== text) line.lastChild.data = text;
}

// ── Figures of the feed ────────────────────────────────────────────────────────────────────────────────────────

let flights = 0;
let seen = { at: 0, flights: 0 };
let rate = 0;
let latencies = [];
const rateLine = new Sparkline('rate-line');
const latencyLine = new Sparkline('latency-line');

/** Measured whether something arrives or not, so that it falls to zero when the feed is paused. */
setInterval(() => {
  const at = performance.now();
  if (seen.flights > 0) {
    const now = (Math.max(0, flights - seen.flights) / (at - seen.at)) * 1000;
    rate = now === 0 && rate < 1 ? 0 : rate * 0.5 + now * 0.5;
    setText(byId('rate'), number.format(Math.round(rate)));
    rateLine.push(rate);
  }
  seen = { at, flights };
  if (latencies.length > 0) {
    const middle = latencies.sort((a, b) => a - b)[latencies.length >> 1];
    setText(byId('latency'), milliseconds(middle));
    latencyLine.push(middle);
    latencies = [];
  }
  for (const name of NAMES) footer(name);
}, 500);

function connection(state) {
  const pill = byId('connection');
  document.body.dataset.connection = state;
  pill.dataset.state = state;
  setText(pill, state === 'live' ? 'live' : 'reconnecting');
}

// ── The demo: how far it is, how fast it goes ──────────────────────────────────────────────────────────────────

const speed = byId('speed');

function showDemo(demo) {
  document.body.dataset.phase = demo.phase;
  for (const button of speed.querySelectorAll('button')) {
    const pressed = String(Number(button.dataset.speed) === demo.speed);
    if (button.getAttribute('aria-pressed') !== pressed)
      button.setAttribute('aria-pressed', pressed);
    button.disabled = demo.phase === 'starting' || demo.phase === 'ended';
  }
  const share = demo.toLoad === 0 ? 0 : demo.loaded / demo.toLoad;
  const bar = byId('progress');
  bar.hidden = demo.phase !== 'loading';
  bar.setAttribute('aria-valuenow', String(Math.round(share * 100)));
  bar.firstElementChild.style.transform = `scaleX(${share})`;
  setText(
    byId('phase'),
    {
      starting: 'opening the flights',
      loading: `history ${Math.round(share * 100)} %`,
      replaying: demo.speed === 0 ? 'paused' : `${number.format(demo.held)} flights to come`,
      ended: 'the feed has ended',
    }[demo.phase] ?? '',
  );
}

speed.addEventListener('click', async ({ target }) => {
  if (!(target instanceof HTMLButtonElement)) return;
  const answer = await getJson('/v1/demo', {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ speed: Number(target.dataset.speed) }),
  });
  if (answer.body !== undefined) showDemo(answer.body);
  else problem(answer.problem.message);
});

let problemTimer = 0;
function problem(text) {
  const box = byId('problem');
  box.textContent = text;
  box.hidden = false;
  clearTimeout(problemTimer);
  problemTimer = setTimeout(() => (box.hidden = true), 6000);
}

// ── The table of views ─────────────────────────────────────────────────────────────────────────────────────────

function kindOf({ definition = '', name }, others) {
  const text = definition.replace(/\s+/g, ' ');
  const kinds = [];
  if (others.some((other) => other !== name && new RegExp(`\\b${other}\\b`).test(text)))
    kinds.push('view on a view');
  if (/\bjoin\b/i.test(text)) kinds.push('join');
  kinds.push(
    /\bgroup by\b/i.test(text) ? 'group by' : /\b(count|sum|avg)\(/i.test(text) ? 'total' : 'rows',
  );
  return kinds.join(', ');
}

function showViews(list) {
  const body = byId('views');
  if (list.length === 0) {
    body.innerHTML = '<tr><td colspan="6" class="empty">No views yet.</td></tr>';
    return;
  }
  const names = list.map(({ name }) => name);
  while (body.children.length > list.length) body.lastChild.remove();
  list.forEach((view, index) => {
    const { upkeep = { rowsIn: 0, rowsOut: 0, work: 0 } } = view;
    const row = body.children[index] ?? body.insertRow();
    if (row.cells.length !== 6) {
      row.replaceChildren();
      for (let cell = 0; cell < 6; cell += 1) row.insertCell().className = cell > 1 ? 'n' : '';
    }
    [
      view.name,
      view.state === 'live' ? kindOf(view, names) : `${view.state ?? 'plain view'}`,
      view.rowCount === undefined ? '' : number.format(view.rowCount),
      number.format(upkeep.rowsIn),
      number.format(upkeep.rowsOut),
      upkeep.rowsIn === 0 ? '–' : (upkeep.work / upkeep.rowsIn).toFixed(1),
    ].forEach((text, cell) => setText(row.cells[cell], text));
    row.title = view.definition ?? '';
  });
}

// ── Asking ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** Where there are no flights. */
const BARE_EXAMPLES = [
  ['tables', 'SHOW TABLES'],
  ['views', 'SHOW VIEWS'],
  ['actors', 'SHOW ACTORS'],
];
const EXAMPLES = [
  [
    'a view',
    `SELECT origin, flights, round(avg_delay, 2) AS avg_delay, max_delay\nFROM flights_by_origin ORDER BY flights DESC LIMIT 20`,
  ],
  [
    'a scan',
    `SELECT origin, destination, count(*) AS flights, round(avg(delay), 1) AS delay\nFROM flights GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 20`,
  ],
  [
    'a join',
    `SELECT a.city, count(*) AS flights, max(f.delay) AS worst\nFROM flights f JOIN airports a ON a.iata = f.destination\nWHERE f.delay > 120 GROUP BY 1 ORDER BY 2 DESC LIMIT 20`,
  ],
  ['the plan', 'EXPLAIN SELECT count(*) FROM flights WHERE distance > 2000'],
];
const ROWS_SHOWN_MAX = 100;
const sql = byId('sql');

function showExamples(examples) {
  sql.value = examples[0][1];
  byId('examples').replaceChildren(
    ...examples.map(([label, text]) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = label;
      button.addEventListener('click', () => {
        sql.value = text;
        void ask();
      });
      return button;
    }),
  );
}
showExamples(EXAMPLES);
byId('ask').addEventListener('submit', (event) => {
  event.preventDefault();
  void ask();
});
sql.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) void ask();
});

let asked = 0;
async function ask() {
  const turn = (asked += 1);
  const text = sql.value.trim().replace(/;\s*$/, '');
  if (text === '') return;
  // A screenful is enough, and three million rows are too many for a page.
  const bounded = /^(select|with|values|table)\b/i.test(text)
    ? `SELECT * FROM (${text}\n) AS answer LIMIT ${ROWS_SHOWN_MAX}`
    : text;
  let answer = await getJson(`/v1/query?timeoutMs=20000&sql=${encodeURIComponent(bounded)}`);
  // What is wrong is told of the text as it was written.
  if (answer.body === undefined && bounded !== text && answer.status === 400)
    answer = await getJson(`/v1/query?timeoutMs=20000&sql=${encodeURIComponent(text)}`);
  if (turn !== asked) return;
  const { body, problem: refused } = answer;
  if (body === undefined) {
    const message = document.createElement('pre');
    const caret = refused.at === undefined ? '' : `\n${caretUnder(text, refused.at)}`;
    message.textContent = `${refused.code ?? ''} ${refused.message}${caret}${refused.hint === undefined ? '' : `\n${refused.hint}`}`;
    byId('answer').replaceChildren(message);
    setText(byId('answer-meta'), 'nothing was changed');
    return;
  }
  byId('answer').replaceChildren(tableOf(body));
  const { meta } = body;
  const from = meta.sources.map(({ kind, name }) => `${kind} ${name}`).join(', ');
  byId('answer-meta').innerHTML = '<b></b>';
  byId('answer-meta').firstChild.textContent =
    meta.source === 'view' ? `from ${from}` : `${meta.source}${from === '' ? '' : ` of ${from}`}`;
  byId('answer-meta').append(
    ` · ${meta.guarantee} · ${milliseconds(meta.elapsedMs)} ms · ${number.format(meta.work)} work units · position ${number.format(meta.position)}`,
  );
}

function caretUnder(text, { line, column }) {
  return `${text.split('\n')[line - 1] ?? ''}\n${' '.repeat(Math.max(0, column - 1))}^`;
}

function tableOf({ rows, columns }) {
  const table = document.createElement('table');
  const head = table.createTHead().insertRow();
  const isNumber = columns.map(({ type }) => /int|numeric|double|real/.test(type));
  columns.forEach(({ name }, index) => {
    const cell = document.createElement('th');
    cell.scope = 'col';
    cell.className = isNumber[index] ? 'n' : '';
    cell.textContent = name;
    head.append(cell);
  });
  const body = table.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    columns.forEach(({ name }, index) => {
      const cell = line.insertCell();
      const value = row[name];
      cell.className = isNumber[index] ? 'n' : '';
      cell.textContent =
        value === null ? '∅' : typeof value === 'number' ? number.format(value) : String(value);
    });
  }
  return table;
}

// ── The beginning ──────────────────────────────────────────────────────────────────────────────────────────────

let following = false;
let hasDemo = true;

/** Looks after what is not pushed: the demo, the table of views; and begins to follow when there is something to follow. */
async function look() {
  const demo = hasDemo ? await getJson('/v1/demo') : {};
  if (demo.body !== undefined) showDemo(demo.body);
  else if (demo.status === 404) {
    hasDemo = false;
    document.body.dataset.phase = 'none';
    speed.hidden = true;
    setText(byId('subtitle'), 'Live views over what is in memory');
    showExamples(BARE_EXAMPLES);
    void ask();
  } else if (demo.status === 0) connection('lost');
  const list = await getJson('/v1/views');
  if (list.body === undefined) connection('lost');
  else {
    showViews(list.body.views);
    if (!hasDemo) connection('live');
    const names = new Set(list.body.views.map(({ name }) => name));
    if (!following && NAMES.every((name) => names.has(name))) {
      following = true;
      follow(views, { connection, changed });
      void ask();
    }
  }
  if (cities.size === 0 && following) {
    const airports = await getJson(
      `/v1/query?sql=${encodeURIComponent('SELECT iata, city FROM airports')}`,
    );
    for (const { iata, city } of airports.body?.rows ?? []) cities.set(iata, city);
  }
  setTimeout(look, following || !hasDemo ? 1000 : 250);
}
void look();
