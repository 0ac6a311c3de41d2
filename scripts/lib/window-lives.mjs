#!/usr/bin/env node
/**
 * Random lives of databases under a clock moved by hand, each near a change of the clocks of one of twelve zones: rows come, late ones too, change
 * and leave; tiles are evicted; time jumps; in some, policies demote rows. What `db.window` answers is compared with two recomputations: `Ledger` below, which keeps
 * plain rows and adds them up anew with integers, and the same query by a column that has no tiles. Prints one line of JSON.
 *
 *     node scripts/lib/window-lives.mjs --operations 50000 --seed 1 [--life 17]
 *
 * A life that fails is shrunk to the fewest steps that fail, and told.
 */
import { createHash } from 'node:crypto';
import { parseArgs } from 'node:util';
import { calendar } from '../../dist/src/calendar.js';
import { open } from '../../dist/src/index.js';
import { manualClock } from '../../dist/src/testing.js';

const { values: given } = parseArgs({
  options: {
    operations: { type: 'string', default: '20000' },
    seed: { type: 'string', default: '1' },
    life: { type: 'string' },
  },
});
const OPERATIONS = Number(given.operations);
const SEED = Number(given.seed);

/** Zones with changes of the clocks of every kind, and the local dates of two of them. */
const CHANGES = [
  ['America/New_York', '2026-03-08', '2026-11-01'],
  ['Europe/Berlin', '2026-03-29', '2026-10-25'],
  ['Australia/Lord_Howe', '2026-04-05', '2026-10-04'],
  ['America/Havana', '2026-03-08', '2026-11-01'],
  ['America/Santiago', '2026-04-05', '2026-09-06'],
  ['Africa/Cairo', '2026-04-24', '2026-10-30'],
  ['Atlantic/Azores', '2026-03-29', '2026-10-25'],
  ['Antarctica/Troll', '2026-03-29', '2026-10-25'],
  ['Africa/Casablanca', '2026-02-15', '2026-03-22'],
  ['America/St_Johns', '2026-03-08', '2026-11-01'],
  ['Pacific/Chatham', '2026-04-05', '2026-09-27'],
  ['Asia/Beirut', '2026-03-29', '2026-10-25'],
];
const ZONES = CHANGES.map(([zone]) => zone);
const CALENDARS = new Map(ZONES.map((zone) => [zone, calendar({ zone })]));

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const UNITS_MS = { s: 1000, min: 60_000, h: HOUR };

/** sfc32. */
function chance(seed) {
  let a = seed | 0;
  let b = Math.imul(seed, 0x9e3779b9) | 0;
  let c = (seed ^ 0x85ebca6b) | 0;
  let d = 1;
  const next = () => {
    const t = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + t) | 0;
    return (t >>> 0) / 4294967296;
  };
  for (let round = 0; round < 20; round += 1) next();
  const below = (count) => Math.floor(next() * count);
  return { next, below, of: (list) => list[below(list.length)], may: (share) => next() < share };
}

// ── What happens ─────────────────────────────────────────────────────────────────────────────────────────────────

const TEAMS = ['red', 'blue', 'green', null];

/** In every fourth life values that tiles cannot hold, some or all of them. */
function amountOf(random, isWild) {
  const kind = random.below(24);
  if (kind === 0) return null;
  if (kind === 1)
    return random.of(isWild ? [NaN, Infinity, -Infinity, 1e-30, 1e30, -1e30] : [0, -0, NaN]);
  if (kind < 12) return (random.below(8800) - 800) / 8;
  return isWild
    ? (random.below(2_000_000_001) - 1_000_000_000) / 997
    : (997 + random.below(1_000_000)) / 997;
}

/** The values of a row, its time being so long before (or a little after) now. */
function rowOf(random, agoMs, isWild) {
  return {
    agoMs,
    team: random.of(TEAMS),
    amount: amountOf(random, isWild),
    cents: random.may(0.1) ? null : random.below(200_000) - 100_000,
    n: random.may(0.03) ? 2 ** 52 : random.below(2000) - 1000,
  };
}

function agoOf(random, isLate) {
  if (!isLate) return random.below(20 * 60_000) - 5 * 60_000;
  // From minutes to more than a year, each length as likely; some exactly on a boundary.
  const ago = Math.floor(60_000 * 10_000 ** random.next());
  return random.may(0.1) ? ago - (ago % 60_000) : ago;
}

function stepOf(random, isWild) {
  const pick = random.below(100);
  if (pick < 28)
    return {
      kind: 'insert',
      rows: some(random, 3, () => rowOf(random, agoOf(random, false), isWild)),
    };
  if (pick < 46)
    return {
      kind: 'insert',
      rows: some(random, 3, () => rowOf(random, agoOf(random, true), isWild)),
    };
  if (pick < 47)
    return { kind: 'bulk', seed: random.below(1e9), count: 50 + random.below(500), isWild };
  if (pick < 60)
    return {
      kind: 'update',
      pick: random.below(1e9),
      row: rowOf(random, agoOf(random, true), isWild),
      movesTime: random.may(0.4),
    };
  if (pick < 72) return { kind: 'delete', picks: some(random, 4, () => random.below(1e9)) };
  if (pick < 74) return { kind: 'rollback', row: rowOf(random, agoOf(random, true), isWild) };
  if (pick < 77) return { kind: 'evict', share: random.next() ** 2 };
  if (pick < 86) return { kind: 'jump', ms: jumpOf(random) };
  if (pick < 95) return { kind: 'ask', question: random.below(1e9) };
  if (pick < 98)
    return {
      kind: 'meanwhile',
      question: random.below(1e9),
      rows: some(random, 3, () => rowOf(random, agoOf(random, true), isWild)),
    };
  if (pick < 99) return { kind: 'past', question: random.below(1e9), back: random.below(12) };
  if (random.may(0.5)) return { kind: 'policy', pick: random.below(RETENTIONS.length) };
  return random.may(0.2)
    ? { kind: 'truncate' }
    : { kind: 'statement', cents: random.below(200_000) - 100_000 };
}

/** What a table may keep in a life with a policy; undefined: all that comes from then on. */
const RETENTIONS = [
  'raw 4d, 15m 30d, hour forever',
  'raw 3d, 15m forever',
  'raw 5d, 15m 60d, day forever',
  'raw 400d, day forever',
  undefined,
];
/** Rows younger than this are never demoted, and may be changed. */
const RAW_MS = 2 * DAY;
/** How long the tiles are that such policies keep. */
const TILES_MS = [15 * 60_000, HOUR, DAY];

function jumpOf(random) {
  const ms = random.of([1000, 60_000, 15 * 60_000, HOUR, 6 * HOUR]);
  return random.may(0.3) ? ms : 1 + random.below(ms);
}

function some(random, most, make) {
  return Array.from({ length: 1 + random.below(most) }, make);
}

// ── What is asked ────────────────────────────────────────────────────────────────────────────────────────────────

const MEASURES = {
  n: 'count(*)',
  s: 'sum(amount)',
  a: 'avg(amount)',
  lo: 'min(amount)',
  hi: 'max(amount)',
  k: 'count(amount)',
  p: 'sum(price)',
  i: 'sum(n)',
  pm: 'max(price)',
  f: 'sum(price) FILTER (WHERE amount > 0)',
  ap: 'avg(price)',
  q: 'approx_percentile(amount, 0.9)',
  v: 'var_pop(amount)',
  sd: 'stddev(price)',
  vi: 'var_samp(n) FILTER (WHERE amount > 0)',
  dt: 'count(DISTINCT team)',
  at: 'approx_count_distinct(team)',
  dp: 'count(DISTINCT price)',
  da: 'count(DISTINCT amount) FILTER (WHERE n > 0)',
  an: 'approx_count_distinct(n)',
};
/** Of rows that were demoted these are not kept. */
const OF_ROWS = new Set(['dp', 'da', 'an']);
const COUNTED = ['n', 's', 'a', 'lo', 'hi', 'k', 'p', 'i', 'pm', 'f', 'v', 'dt', 'dp'];

const WHERES = [
  undefined,
  undefined,
  undefined,
  ['amount > 0', (row) => row.amount !== null && (row.amount > 0 || Number.isNaN(row.amount))],
  ["team = 'red'", (row) => row.team === 'red'],
  ['n < 0', (row) => row.n < 0],
];

/** When, as the query says it, and the span it means by calendar windows alone. */
const WHENS = [
  ...['day', 'week', 'month', 'quarter', 'year', 'hour'].map((unit) => ({
    when: { toDate: unit },
    span: (own, now) => [own.window(now, unit).startMs, now],
    moves: ['end'],
    unit,
  })),
  ...['day', 'week', 'month', 'hour'].map((unit) => ({
    when: { current: unit },
    span: (own, now) => [own.window(now, unit).startMs, own.window(now, unit).endMs],
    unit,
  })),
  ...['day', 'week', 'month', 'year'].map((unit) => ({
    when: { previous: unit },
    span: (own, now) => whole(own, now, unit, 1),
    unit,
  })),
  ...[
    [7, 'day'],
    [30, 'day'],
    [3, 'week'],
    [13, 'month'],
    [5, 'hour'],
    [2, 'day'],
  ].map(([count, unit]) => ({
    when: { lastComplete: `${count} ${unit}s` },
    span: (own, now) => whole(own, now, unit, count),
    unit,
  })),
  ...[
    [24, 'h'],
    [90, 'min'],
    [3600, 's'],
    [100, 'h'],
  ].map(([count, unit]) => ({
    when: { last: `${count}${unit}` },
    span: (_, now) => [now - count * UNITS_MS[unit], now],
    moves: ['start', 'end'],
    unit: 'hour',
  })),
  { when: { last: '7d' }, unit: 'day' },
  { when: { last: '1 month' }, unit: 'week' },
  { when: { last: '1 year' }, unit: 'year' },
  ...['now-2d/d to now', 'now-7d/d', 'now-1M/M to now/M', 'now-36h to now+6h'].map((text) => ({
    when: { text },
    unit: 'day',
  })),
];

function whole(own, now, unit, count) {
  const end = own.window(now, unit).startMs;
  let start = end;
  for (let left = count; left > 0; left -= 1) start = own.window(start - 1, unit).startMs;
  return [start, end];
}

const EVERYS = {
  hour: [undefined, '15min', '5min', 'hour', '1min'],
  day: [undefined, 'hour', '15min', '6 hours', 'day'],
  week: [undefined, 'day', 'hour'],
  month: [undefined, 'day', 'week', 'month', '6 hours'],
  quarter: [undefined, 'day', 'week', 'month'],
  year: [undefined, 'week', 'month', 'quarter'],
};
/** Those of which the calendar tells the window of any instant. */
const TOLD = new Set(['15min', 'hour', 'day', 'week', 'month', 'quarter', 'year']);
const COMPARES = ['previous', 'yearAgo', { weeksAgo: 52 }, { to: 'previous', align: 'elapsed' }];

/** A question, always the same for a number; the few that a dashboard has are numbers below `POOL`. */
const POOL = 9;
function questionOf(number, life) {
  const random = chance(life * 7919 + (number % 4 === 0 ? number : number % POOL));
  const when = random.of(WHENS);
  const names = Object.keys(MEASURES).filter(
    (name) => random.may(0.4) && !(hasPolicyIn(life) && OF_ROWS.has(name)),
  );
  if (names.length === 0) names.push('n', 's');
  const where = random.of(WHERES);
  const zone = random.may(0.5) ? zoneOf(life) : random.of(ZONES);
  const query = {
    ...when.when,
    zone,
    measures: Object.fromEntries(names.map((name) => [name, MEASURES[name]])),
  };
  if (random.may(0.4)) query.by = ['team'];
  if (where !== undefined) query.where = where[0];
  const every = random.of(EVERYS[when.unit]);
  if (every !== undefined) query.every = every;
  const extra = random.below(12);
  if (extra === 0 && every !== undefined && every !== 'quarter') query.fill = 'previous';
  if (extra === 1) query.fill = 'zero';
  if (extra === 2 && query.last === undefined && every !== undefined)
    Object.assign(
      query,
      ['day', 'week', 'month', 'quarter'].includes(every)
        ? { every: '7 days', hop: 'day' }
        : { every: '24h', hop: every },
    );
  if (extra === 3 && query.text === undefined) query.compare = random.of(COMPARES);
  if (extra === 4) {
    delete query.every;
    query.gap = '2h';
  }
  const isTold =
    when.span !== undefined &&
    query.hop === undefined &&
    query.gap === undefined &&
    query.compare === undefined &&
    query.fill === undefined &&
    (every === undefined || TOLD.has(every));
  return {
    query,
    names,
    keeps: where?.[1] ?? (() => true),
    spans: isTold ? (now) => spansOf(when, CALENDARS.get(zone), now) : undefined,
    windowsOf: (span) => windowsOf(span, CALENDARS.get(zone), every),
  };
}

/** The span that is meant, and what it may be where ends that go along with now are drawn in to the end of a tile that they cut. */
function spansOf({ span, moves = [] }, own, now) {
  const [start, end] = span(own, now);
  const starts = moves.includes('start')
    ? TILES_MS.map((tileMs) => Math.ceil(start / tileMs) * tileMs)
    : [];
  const ends = moves.includes('end')
    ? TILES_MS.map((tileMs) => Math.floor(end / tileMs) * tileMs)
    : [];
  return [start, ...starts].flatMap((from) =>
    [end, ...ends].map((to) => ({
      span: [from, to],
      cut: [
        [start, from],
        [to, end],
      ],
    })),
  );
}

function windowsOf([start, end], own, every) {
  if (every === undefined) return start < end ? [[start, end]] : [];
  const windows = [];
  for (let at = start; at < end;) {
    const { endMs } = own.window(at, every);
    windows.push([at, Math.min(endMs, end)]);
    at = endMs;
  }
  return windows;
}

const zoneOf = (life) => ZONES[life % ZONES.length];

// ── The recomputation ────────────────────────────────────────────────────────────────────────────────────────────

/** A double as a whole number of 2^−160. */
function whole160(value) {
  if (value === 0) return 0n;
  const scaled = value * 2 ** 160;
  return BigInt(scaled);
}

const compareBytes = (a, b) =>
  a === b ? 0 : a === null ? 1 : b === null ? -1 : Buffer.compare(Buffer.from(a), Buffer.from(b));

function decimal(cents) {
  if (cents === undefined) return null;
  const text = String(cents < 0n ? -cents : cents).padStart(3, '0');
  return `${cents < 0n ? '-' : ''}${text.slice(0, -2)}.${text.slice(-2)}`;
}

class Ledger {
  rows = new Map();

  set(id, row) {
    const { amount, cents } = row;
    const isFinite = amount !== null && Number.isFinite(amount);
    this.rows.set(id, {
      ...row,
      exact: isFinite ? whole160(amount) : undefined,
      money: cents === null ? undefined : BigInt(cents),
      whole: BigInt(row.n),
    });
  }

  /** The rows `db.window` should give. */
  answer(question, span) {
    const { query, names, keeps } = question;
    const windows = question.windowsOf(span);
    const cells = new Map();
    const starts = windows.map(([start]) => start);
    for (const row of this.rows.values()) {
      if (!keeps(row)) continue;
      let low = 0;
      let high = starts.length;
      while (low < high) {
        const middle = (low + high) >>> 1;
        if (starts[middle] <= row.ms) low = middle + 1;
        else high = middle;
      }
      if (low === 0 || row.ms >= windows[low - 1][1]) continue;
      const team = query.by === undefined ? undefined : row.team;
      const key = `${low - 1} ${team}`;
      const cell = cells.get(key);
      if (cell === undefined) cells.set(key, { window: low - 1, team, rows: [row] });
      else cell.rows.push(row);
    }
    if (windows.length === 1 && query.by === undefined && cells.size === 0)
      cells.set('', { window: 0, team: undefined, rows: [] });
    return [...cells.values()]
      .sort((a, b) => a.window - b.window || compareBytes(a.team, b.team))
      .map(({ window, team, rows }) => ({
        startMs: windows[window][0],
        endMs: windows[window][1],
        by: query.by === undefined ? {} : { team },
        values: Object.fromEntries(
          names.filter((name) => COUNTED.includes(name)).map((name) => [name, MADE[name](rows)]),
        ),
      }));
  }
}

function sumOf(rows) {
  const known = rows.filter((row) => row.amount !== null);
  if (known.length === 0) return null;
  const [plus, minus, none] = [Infinity, -Infinity, NaN].map((each) =>
    known.some((row) => Object.is(row.amount, each)),
  );
  if (none || (plus && minus)) return NaN;
  if (plus || minus) return plus ? Infinity : -Infinity;
  return Number(known.reduce((sum, row) => sum + row.exact, 0n)) * 2 ** -160;
}

/** NaN is the largest; nought has one face. */
function extreme(rows, sign) {
  let best = null;
  for (const { amount } of rows) {
    if (amount === null) continue;
    const isMore =
      best === null ||
      (sign > 0
        ? Number.isNaN(amount) || (!Number.isNaN(best) && amount > best)
        : Number.isNaN(best) || amount < best);
    if (isMore) best = amount;
  }
  return best === 0 ? 0 : best;
}

/** The double nearest to (n·Σx² − (Σx)²) / n². */
function varianceOf(rows) {
  const known = rows.filter((row) => row.amount !== null);
  if (known.length === 0) return null;
  if (known.some((row) => row.exact === undefined)) return NaN;
  const count = BigInt(known.length);
  const sum = known.reduce((total, row) => total + row.exact, 0n);
  const squares = known.reduce((total, row) => total + row.exact ** 2n, 0n);
  // In units of 2^−320; what is left of a quotient with bits to spare only decides how it is rounded.
  const top = (count * squares - sum * sum) << 128n;
  const quotient = top / (count * count);
  return Number(quotient * (count * count) === top ? quotient : quotient | 1n) * 2 ** -448;
}

const distinct = (rows, of) => new Set(rows.map(of).filter((each) => each !== null)).size;

const money = (rows) => {
  const known = rows.filter((row) => row.money !== undefined);
  return known.length === 0 ? undefined : known.reduce((sum, row) => sum + row.money, 0n);
};
const isPlus = (row) => row.amount !== null && (row.amount > 0 || Number.isNaN(row.amount));

const MADE = {
  n: (rows) => rows.length,
  s: sumOf,
  a: (rows) => {
    const sum = sumOf(rows);
    return sum === null ? null : sum / rows.filter((row) => row.amount !== null).length;
  },
  lo: (rows) => extreme(rows, -1),
  hi: (rows) => extreme(rows, 1),
  k: (rows) => rows.filter((row) => row.amount !== null).length,
  p: (rows) => decimal(money(rows)),
  i: (rows) => (rows.length === 0 ? null : String(rows.reduce((sum, row) => sum + row.whole, 0n))),
  pm: (rows) =>
    decimal(
      rows.reduce(
        (most, { money: each }) =>
          each !== undefined && (most === undefined || each > most) ? each : most,
        undefined,
      ),
    ),
  f: (rows) => decimal(money(rows.filter(isPlus))),
  v: varianceOf,
  dt: (rows) => distinct(rows, ({ team }) => team),
  dp: (rows) => distinct(rows, ({ cents }) => cents),
};

const shown = (value) =>
  JSON.stringify(value, (_, each) =>
    typeof each === 'number' && (!Number.isFinite(each) || Object.is(each, -0))
      ? Object.is(each, -0)
        ? '-0'
        : String(each)
      : each,
  );

// ── A life ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** With little of it tiles are evicted all the time. */
const MEMORY = ['1 GB', '256 MB', '64 MB'];

class Wrong extends Error {}

async function live(life, steps, tell) {
  const [, ...dates] = CHANGES[life % CHANGES.length];
  const own = CALENDARS.get(zoneOf(life));
  const start = own.window(Date.parse(`${dates[life % 2]}T12:00:00Z`), 'day').startMs;
  const clock = manualClock(start - ((life * 2_654_435) % (30 * HOUR)) - 3 * HOUR);
  const db = await open({ clock, workers: 0, memory: MEMORY[life % 3], history: '48 hours' });
  // Few rows are cut as finely as many.
  if (life % 2 === 1) db.engine.tiles.density = 3000;
  const ledger = new Ledger();
  const count = { operations: 0, answers: 0, windows: 0, tiled: 0, refused: 0 };
  let nextId = 1;
  const hasPolicy = hasPolicyIn(life);
  const idOf = (pick) => {
    const ids = [...ledger.rows.keys()].filter(
      (id) => !hasPolicy || ledger.rows.get(id).ms > clock.now() - RAW_MS,
    );
    return ids.length === 0 ? undefined : ids[pick % ids.length];
  };
  const timed = (row) => ({ ...row, ms: clock.now() - row.agoMs });
  const columns = (id, { ms, team, amount, cents, n }) => ({
    id,
    ts: ms,
    at: ms,
    team,
    amount,
    price: cents === null ? null : decimal(BigInt(cents)),
    n,
  });
  const insert = async (rows) => {
    const made = rows.map((row) => [nextId++, timed(row)]);
    await db.insert(
      'orders',
      made.map(([id, row]) => columns(id, row)),
    );
    for (const [id, row] of made) ledger.set(id, row);
  };
  const compare = (found, expected, question, what) => {
    const [a, b] = [shown(found), shown(expected)];
    if (a !== b)
      throw new Wrong(
        `${what} at ${clock.iso}\n${shown(question.query)}\nfound    ${a.slice(0, 3000)}\nexpected ${b.slice(0, 3000)}`,
      );
  };
  const check = async (question, { rows, meta }, options = {}) => {
    const scan = await db.window(
      'orders',
      { ...question.query, time: 'at', now: meta.now },
      options,
    );
    compare(rows, scan.rows, question, 'tiles and scan differ');
    count.answers += 1;
    count.windows += rows.length;
    if (meta.source === 'windows') count.tiled += 1;
    tell(shown(rows));
  };
  const ask = async (number) => {
    const question = questionOf(number, life);
    const answer = await db.window('orders', question.query).catch((cause) => {
      if (!hasPolicy || cause.code !== 'ADB_RESOLUTION') throw cause;
    });
    if (answer === undefined) {
      count.refused += 1;
      return;
    }
    if (question.spans !== undefined) {
      const found = answer.rows.map(({ startMs, endMs, by, values }) => ({
        startMs,
        endMs,
        by,
        values: Object.fromEntries(Object.entries(values).filter(([name]) => name in MADE)),
      }));
      const [meant, ...drawn] = question.spans(clock.now());
      const isOf = ({ span }) => shown(ledger.answer(question, span)) === shown(found);
      if (
        !hasPolicy ||
        isOf(meant) ||
        !drawn.some((each) => isOf(each) && mayBe(each, answer.rows))
      )
        compare(found, ledger.answer(question, meant.span), question, 'tiles and ledger differ');
    }
    if (!hasPolicy) return check(question, answer);
    // What was demoted no scan sees.
    count.answers += 1;
    count.windows += answer.rows.length;
    if (answer.meta.source === 'windows') count.tiled += 1;
    tell(shown(answer.rows));
  };
  /** Whether there are demoted rows in the tiles that both ends cut, and it is said that they are left out. */
  const mayBe = ({ span, cut }, rows) =>
    cut.every(
      ([from, to]) =>
        from === to ||
        [...ledger.rows.values()].some(
          ({ ms }) => ms > from - DAY && ms < to + DAY && ms < clock.now() - RAW_MS,
        ),
    ) &&
    rows.every(
      ({ startMs, endMs, partial }) =>
        partial ||
        ((startMs !== span[0] || cut[0][0] === cut[0][1]) &&
          (endMs !== span[1] || cut[1][0] === cut[1][1])),
    );
  const take = async (step) => {
    count.operations += 1;
    switch (step.kind) {
      case 'insert':
        return insert(step.rows);
      case 'bulk': {
        const random = chance(step.seed);
        const from = agoOf(random, true);
        return insert(
          Array.from({ length: step.count }, () =>
            rowOf(random, from - random.below(2 * HOUR), step.isWild),
          ),
        );
      }
      case 'update': {
        const id = idOf(step.pick);
        if (id === undefined) return;
        const before = ledger.rows.get(id);
        const row = step.movesTime ? timed(step.row) : { ...step.row, ms: before.ms };
        await db.upsert('orders', [columns(id, row)]);
        ledger.set(id, row);
        return;
      }
      case 'delete': {
        const ids = [...new Set(step.picks.map(idOf).filter((id) => id !== undefined))];
        if (ids.length === 0) return;
        await db.delete('orders', { id: ids });
        for (const id of ids) ledger.rows.delete(id);
        return;
      }
      case 'rollback':
        await db
          .transaction(async (tx) => {
            await tx.insert('orders', [columns(nextId, timed(step.row))]);
            throw new Wrong('undone');
          })
          .catch((cause) => {
            if (!(cause instanceof Wrong)) throw cause;
          });
        return;
      case 'statement': {
        // Rows of one stretch of a day, as users correct them.
        const until = clock.now() - HOUR;
        await db.exec(
          `UPDATE orders SET price = ${decimal(BigInt(step.cents))} WHERE ts >= to_timestamp(${(until - 3 * HOUR) / 1000}) AND ts < to_timestamp(${until / 1000})`,
        );
        for (const [id, row] of ledger.rows)
          if (row.ms >= until - 3 * HOUR && row.ms < until)
            ledger.set(id, { ...row, cents: step.cents });
        return;
      }
      case 'truncate':
        await db.exec('TRUNCATE orders');
        ledger.rows.clear();
        return;
      case 'evict':
        db.engine.tiles.shed(step.share * 2_000_000);
        return;
      case 'jump':
        return clock.advance(step.ms);
      case 'ask':
        return ask(step.question);
      case 'policy':
        if (hasPolicy)
          await db.policies.set('orders', { retention: RETENTIONS[step.pick] ?? null });
        return;
      case 'meanwhile': {
        if (hasPolicy) {
          for (const row of step.rows) await insert([row]);
          return ask(step.question);
        }
        const question = questionOf(step.question, life);
        const asked = db.window('orders', question.query);
        for (const row of step.rows) await insert([row]);
        const answer = await asked;
        await check(question, answer, { asOf: answer.meta.position });
        return;
      }
      case 'past': {
        if (hasPolicy) return ask(step.question);
        const question = questionOf(step.question, life);
        const newest = (await db.query('SELECT 1')).meta.position;
        const asOf = Math.max(created, newest - step.back);
        await check(question, await db.window('orders', question.query, { asOf }), { asOf });
      }
    }
  };
  let created = 0;
  try {
    created = (
      await db.exec(
        `CREATE TABLE orders (id int PRIMARY KEY, ts timestamptz, at timestamptz, team text, amount double precision, price numeric(12,2), n bigint) WITH (time = 'ts')`,
      )
    ).position;
    if (hasPolicy)
      await db.exec(
        `ALTER TABLE orders SET (retention = '${RETENTIONS[life % 4]}', by = 'team', zone = '${zoneOf(life)}')`,
      );
    for (const step of steps) await take(step);
    // At the end of a life every question of its dashboard.
    for (let number = 0; number < POOL; number += 1)
      await ask(number + (number % 4 === 0 ? POOL : 0));
  } finally {
    await db.close();
  }
  return count;
}

/** In every fifth life a policy demotes rows: they are known to tiles alone. */
const hasPolicyIn = (life) => life % 5 === 4;

function stepsOf(life) {
  const random = chance(SEED * 1_000_003 + life);
  return Array.from({ length: 100 + random.below(900) }, () =>
    stepOf(random, life % 4 === 3 && !hasPolicyIn(life)),
  );
}

/** Whether steps fail, and how. */
async function failureOf(life, steps) {
  try {
    await live(life, steps, () => undefined);
    return undefined;
  } catch (cause) {
    return cause;
  }
}

/** The fewest steps found that still fail. */
async function shrunk(life, all) {
  let steps = all;
  const until = process.hrtime.bigint() + 120_000_000_000n;
  for (let size = steps.length >> 1; size >= 1; size >>= 1) {
    for (let at = 0; at < steps.length && process.hrtime.bigint() < until;) {
      const fewer = [...steps.slice(0, at), ...steps.slice(at + size)];
      if ((await failureOf(life, fewer)) === undefined) at += size;
      else steps = fewer;
    }
  }
  return steps;
}

const digest = createHash('sha256');
const total = { operations: 0, lives: 0, answers: 0, windows: 0, tiled: 0, refused: 0 };
for (
  let life = Number(given.life ?? 0);
  total.operations < OPERATIONS && (given.life === undefined || total.lives === 0);
  life += 1
) {
  const steps = stepsOf(life);
  try {
    const count = await live(life, steps, (text) => digest.update(text));
    total.lives += 1;
    for (const name of Object.keys(count)) total[name] += count[name];
  } catch (cause) {
    console.error(`life ${life} of seed ${SEED} fails: ${cause.stack}`);
    const fewest = await shrunk(life, steps);
    console.error(`${fewest.length} steps fail: ${JSON.stringify(fewest)}`);
    console.error((await failureOf(life, fewest))?.message);
    process.exit(1);
  }
}
console.log(JSON.stringify({ ...total, digest: digest.digest('hex') }));
