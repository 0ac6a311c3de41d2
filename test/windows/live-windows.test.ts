import { expect, test } from 'vitest';
import type { Change } from '../../src/actors/api-types.ts';
import type { Database } from '../../src/actors/database.ts';
import type { Engine } from '../../src/actors/engine.ts';
import type { WindowResultRow } from '../../src/actors/window-query.ts';
import { open } from '../../src/open.ts';
import { HandClock } from '../actors/hand-clock.ts';

/** Follows a window query under a clock that is moved by hand, and remembers what it is told. */
function follow(
  db: Database,
  clock: HandClock,
  query: Record<string, unknown>,
  options: Record<string, unknown> = {},
) {
  const subscription = db.subscribe(
    { window: { table: 't', measures: { n: 'count(*)' }, ...query } as never },
    options,
  );
  const told: Change<WindowResultRow>[] = [];
  let failure: unknown;
  const reading = (async () => {
    for await (const change of subscription) told.push(change);
  })().catch((cause: unknown) => (failure = cause));
  /** Time passes in small steps, between which everybody who waits has run. */
  const pass = async (ms: number): Promise<void> => {
    await settled();
    const step = Math.max(1, Math.ceil(ms / 8));
    for (let left = ms; left > 0; left -= step) {
      clock.advance(Math.min(step, left));
      await settled();
    }
  };
  return { subscription, told, pass, reading, failure: () => failure };
}

async function settled(): Promise<void> {
  for (let turn = 0; turn < 12; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

const shown = (change: Change<WindowResultRow>): unknown => {
  const rows = (all: readonly WindowResultRow[]): string[] =>
    all.map(
      ({ label, values, by }) => `${label} ${Object.values(by).join()}${String(values['n'])}`,
    );
  switch (change.kind) {
    case 'snapshot':
      return ['snapshot', ...rows(change.rows)];
    case 'delta':
      return [
        'delta',
        ...rows(change.deleted).map((row) => `-${row}`),
        ...rows(change.inserted).map((row) => `+${row}`),
      ];
    default:
      return [change.kind];
  }
};

async function database(): Promise<{ db: Database; clock: HandClock }> {
  const clock = new HandClock();
  const db = await open({ workers: 0, clock });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, ts timestamptz, team text)');
  return { db, clock };
}

test('a window that is followed is told when a row comes, late ones too, and not when nothing has changed', async () => {
  const { db, clock } = await database();
  const { told, pass, subscription, reading } = follow(db, clock, {
    current: 'day',
    every: 'hour',
  });
  await pass(10);
  await db.insert('t', [{ id: 1, ts: '2026-01-01T00:30:00Z' }]);
  await pass(1100);
  // Of another day: read, and no difference.
  await db.insert('t', [{ id: 2, ts: '2025-12-31T00:30:00Z' }]);
  await pass(1100);
  await db.insert('t', [{ id: 3, ts: '2026-01-01T00:10:00Z' }]);
  await db.exec('DELETE FROM t WHERE id = 1');
  await db.insert('t', [{ id: 4, ts: '2026-01-01T05:00:00Z' }]);
  await pass(1100);
  expect(told.map(shown)).toEqual([
    ['snapshot'],
    ['delta', '+2026-01-01T00:00+00:00 1'],
    ['delta', '+2026-01-01T05:00+00:00 1'],
  ]);
  await subscription.close();
  await reading;
  await db.close();
});

test('A6: at midnight in the zone, and not at another, the windows are told anew, also across a change of the clocks', async () => {
  const { db, clock } = await database();
  await db.insert('t', [
    { id: 1, ts: '2026-01-01T03:30:00Z' },
    { id: 2, ts: '2026-01-01T05:30:00Z' },
  ]);
  const { told, pass, subscription } = follow(
    db,
    clock,
    { lastComplete: '1 day', every: 'day', fill: 'zero', zone: 'America/New_York' },
    { heartbeatMs: 1e12 },
  );
  await pass(4 * 3_600_000 + 3_599_000); // 23:59:59
  expect(told.map(shown)).toEqual([['snapshot', '2025-12-30 0']]);
  await pass(1000);
  expect(told.slice(1).map(shown)).toEqual([['delta', '-2025-12-30 0', '+2025-12-31 1']]);
  await pass(86_400_000);
  expect(told.slice(2).map(shown)).toEqual([['delta', '-2025-12-31 1', '+2026-01-01 1']]);
  await subscription.close();
  await db.close();
});

test('A6: live hours across the changes of clocks of twelve zones come exactly when they begin', async () => {
  const cases = [
    ['America/New_York', '2026-03-08T05:00:00Z'],
    ['Europe/Berlin', '2026-03-28T23:00:00Z'],
    ['Australia/Lord_Howe', '2026-04-04T13:00:00Z'],
    ['Australia/Lord_Howe', '2026-10-03T13:30:00Z'],
    ['America/Havana', '2026-03-08T03:00:00Z'],
    ['America/Santiago', '2026-04-05T02:00:00Z'],
    ['Africa/Cairo', '2026-04-23T20:00:00Z'],
    ['Asia/Beirut', '2026-03-28T20:00:00Z'],
    ['Pacific/Chatham', '2026-04-04T12:15:00Z'],
    ['Antarctica/Troll', '2026-03-28T23:00:00Z'],
    ['Atlantic/Azores', '2026-03-28T23:00:00Z'],
    ['Africa/Casablanca', '2026-02-14T23:00:00Z'],
    ['Asia/Jerusalem', '2026-03-26T22:00:00Z'],
  ] as const;
  for (const [zone, start] of cases) {
    const { db, clock } = await database();
    clock.advance(Date.parse(start) - clock.now());
    const { told, subscription } = follow(
      db,
      clock,
      { current: 'hour', fill: 'zero', zone },
      { heartbeatMs: 1e12 },
    );
    await settled();
    for (let minute = 0; minute < 5 * 60; minute += 15) {
      clock.advance(15 * 60_000);
      await settled();
    }
    const seen = told.flatMap((change) =>
      change.kind === 'snapshot' ? change.rows : change.kind === 'delta' ? change.inserted : [],
    );
    const expected = await db.window('t', {
      range: [Date.parse(start), Date.parse(start) + 5 * 3_600_000],
      zone,
      every: 'hour',
      fill: 'zero',
      measures: { n: 'count(*)' },
    });
    const starts = (rows: readonly WindowResultRow[]): string[] => rows.map((row) => row.start);
    expect([zone, ...starts(seen).slice(0, expected.rows.length)]).toEqual([
      zone,
      ...starts(expected.rows),
    ]);
    await subscription.close();
    await db.close();
  }
});

test('changes are told as often as their windows are long: minutes at once, days seldom; maxRate says otherwise', async () => {
  const { db, clock } = await database();
  const day = follow(db, clock, { current: 'day' });
  const rolling = follow(db, clock, { last: '30min' });
  const fast = follow(db, clock, { current: 'month' }, { maxRate: 1000 });
  await settled();
  const month = follow(db, clock, { current: 'month' });
  await settled();
  for (let id = 0; id < 8; id += 1) {
    await db.insert('t', [{ id, ts: '2026-01-01T00:00:00Z' }]);
    await day.pass(1000);
  }
  expect(
    [day, rolling, fast, month].map(
      ({ told }) => told.filter(({ kind }) => kind === 'delta').length,
    ),
  ).toEqual([0, 8, 8, 0]);
  await day.pass(14_000);
  expect(day.told.filter(({ kind }) => kind === 'delta').map(shown)).toEqual([
    ['delta', '-2026-01-01 0', '+2026-01-01 8'],
  ]);
  await day.pass(60_000);
  expect(month.told.filter(({ kind }) => kind === 'delta').length).toBe(1);
  await db.close();
  await settled();
  await day.pass(60_000);
  expect(day.failure()).toMatchObject({ code: '57P01' });
});

test('what ends now is told each minute, or as seldom as its policy says, though no row changes: rows of the future come in, and what it is beside goes on', async () => {
  const { db, clock } = await database();
  await db.insert('t', [
    { id: 1, ts: '2025-12-31T00:00:30Z' },
    { id: 2, ts: '2026-01-01T00:01:30Z' },
  ]);
  const options = { heartbeatMs: 1e12 };
  const toDate = follow(db, clock, { toDate: 'day', compare: 'previous' }, options);
  await toDate.pass(10);
  const values = (change: Change<WindowResultRow>): unknown =>
    change.kind === 'delta' &&
    change.inserted.map(({ values: now, previous }) => [now['n'], previous?.['n']]);
  await toDate.pass(61_000);
  expect(toDate.told.slice(1).map(values)).toEqual([[[0, 1]]]);
  await toDate.pass(60_000);
  expect(toDate.told.slice(2).map(values)).toEqual([[[1, 1]]]);
  await db.exec(`ALTER TABLE t SET (refresh = 'second 10m')`);
  await toDate.pass(25 * 60_000);
  expect(toDate.told.slice(3)).toHaveLength(2);
  await db.close();
});

test('the day to date is a row at midnight, too: of nothing, and then of what comes', async () => {
  const { db, clock } = await database();
  await db.insert('t', [
    { id: 1, ts: '2026-01-01T10:00:00Z' },
    { id: 2, ts: '2026-01-02T00:00:00Z' },
  ]);
  clock.advance(Date.parse('2026-01-01T23:59:00Z') - clock.now());
  const live = follow(db, clock, { toDate: 'day' }, { heartbeatMs: 1e12 });
  await live.pass(60_000);
  await live.pass(60_000);
  expect(live.told.map(shown)).toEqual([
    ['snapshot', '2026-01-01 1'],
    ['delta', '-2026-01-01 1', '+2026-01-02 0'],
    ['delta', '-2026-01-02 0', '+2026-01-02 1'],
  ]);
  await db.close();
});

test('a condition that speaks of now is told each minute, be it in a view', async () => {
  const { db, clock } = await database();
  await db.exec(
    `CREATE VIEW recent AS SELECT * FROM t WHERE ts > now() - interval '5 minutes';
     INSERT INTO t VALUES (1, '2026-01-01T00:00:30Z', 'a'), (2, '2025-12-31T23:58:00Z', 'b')`,
  );
  const range = ['2025-12-01', '2026-02-01'];
  const lives = [
    { where: `ts > now() - interval '5 minutes'` },
    { measures: { n: `count(*) FILTER (WHERE ts > now() - interval '5 minutes')` } },
    { table: 'recent' },
  ].map((query) => follow(db, clock, { range, ...query }));
  for (let minute = 0; minute < 7; minute += 1) await lives[0]!.pass(60_000);
  for (const { told, subscription } of lives) {
    const counts = told.flatMap((change) =>
      change.kind === 'snapshot'
        ? change.rows.map(({ values }) => values['n'])
        : change.kind === 'delta'
          ? change.inserted.map(({ values }) => values['n'])
          : [],
    );
    expect(counts).toEqual([2, 1, 0]);
    await subscription.close();
  }
  await db.close();
});

test('a session is told to be complete when nothing has come for its gap', async () => {
  const { db, clock } = await database();
  await db.insert('t', [{ id: 1, ts: '2026-01-01T00:00:00Z' }]);
  // The gap of the last session may end after the span.
  const lives = [{ current: 'day' }, { range: ['2025-12-31', '2026-01-01T00:02:00Z'] }].map(
    (span) => follow(db, clock, { ...span, gap: '5min' }, { heartbeatMs: 1e12 }),
  );
  await lives[0]!.pass(5 * 60_000 - 2000);
  for (const { told } of lives) expect(told.map(({ kind }) => kind)).toEqual(['snapshot']);
  await lives[0]!.pass(61_000);
  for (const { told } of lives) {
    const [, delta] = told;
    expect(delta?.kind === 'delta' && delta.inserted.map(({ complete }) => complete)).toEqual([
      true,
    ]);
    expect(told.length).toBe(2);
  }
  await db.close();
});

test('a day that begins at six is told at six, and not at midnight', async () => {
  const { db, clock } = await database();
  await db.insert('t', [{ id: 1, ts: '2026-01-01T00:30:00Z' }]);
  const { told, pass } = follow(
    db,
    clock,
    { text: 'now-6h/d to now-6h/d', every: 'day' },
    { heartbeatMs: 1e12 },
  );
  await pass(6 * 3_600_000 - 1000);
  expect(told.map(shown)).toEqual([['snapshot', '2025-12-31 0']]);
  await pass(1000);
  expect(told.slice(1).map(shown)).toEqual([['delta', '-2025-12-31 0', '+2026-01-01 1']]);
  await db.close();
});

test('another calendar is told at once, and one that is dropped ends it; another policy holds for a change that waits', async () => {
  const { db, clock } = await database();
  await db.calendars.set('acme', {});
  await db.insert('t', [{ id: 1, ts: '2025-12-30T12:00:00Z' }]);
  const named = follow(db, clock, { previous: 'businessDay', every: 'day', calendar: 'acme' });
  const month = follow(db, clock, { current: 'month' });
  await named.pass(10);
  await db.calendars.set('other', {});
  await named.pass(1000);
  expect(named.told.map(shown)).toEqual([['snapshot', '2025-12-31 0']]);
  await db.calendars.set('acme', { holidays: ['2025-12-31'] });
  await settled();
  expect(named.told.slice(1).map(shown)).toEqual([['delta', '-2025-12-31 0', '+2025-12-30 1']]);
  await db.exec(`ALTER TABLE t SET (refresh = 'month 10h')`);
  await db.insert('t', [{ id: 2, ts: '2026-01-01T00:00:00Z' }]);
  await named.pass(60_000);
  expect(month.told.map(shown)).toEqual([['snapshot', '2026-01-01 0']]);
  await db.exec(`ALTER TABLE t SET (refresh = 'month 1m')`);
  await settled();
  expect(month.told.slice(1).map(shown)).toEqual([['delta', '-2026-01-01 0', '+2026-01-01 1']]);
  await db.calendars.drop('acme');
  await settled();
  expect(named.failure()).toMatchObject({ code: '42704' });
  await db.close();
});

test('buckets by a named calendar are asked again when one is set anew, and not each minute', async () => {
  const { db, clock } = await database();
  await db.calendars.set('acme', {});
  await db.insert('t', [
    { id: 1, ts: '2025-12-29T12:00:00Z' }, // A Monday.
    { id: 2, ts: '2025-12-28T12:00:00Z' },
  ]);
  const week = `extract(day FROM time_bucket('7 days', ts, 'UTC', 'acme'))`;
  const query = { range: ['2025-12-01', '2026-01-01'], by: [week] };
  const live = follow(db, clock, query, { heartbeatMs: 1e12 });
  // Whose windows are those of its rows.
  const newest = follow(
    db,
    clock,
    { ...query, range: undefined, last: '40 days', now: 'watermark' },
    { heartbeatMs: 1e12 },
  );
  await live.pass(10);
  const { metrics } = (db as unknown as { engine: Engine }).engine;
  const finished = metrics.finished.bind(metrics);
  let runs = 0;
  metrics.finished = (outcome) => {
    runs += 1;
    finished(outcome);
  };
  await live.pass(10 * 60_000);
  expect(runs).toBe(0);
  await db.calendars.set('other', {});
  await live.pass(1000);
  await db.calendars.set('acme', { weekStart: 'sunday' });
  await settled();
  // The day a bucket begins on, and how many rows are in it.
  const counts = (change: Change<WindowResultRow>): string[] =>
    (shown(change) as string[]).map((row) => row.replace(/^([-+]?).* /, '$1'));
  for (const { told } of [live, newest])
    expect(told.map(counts)).toEqual([
      ['snapshot', '221', '291'],
      ['delta', '-221', '-291', '+282'],
    ]);
  await db.calendars.drop('acme');
  await settled();
  expect(live.failure()).toMatchObject({ code: '42704' });
  // What speaks of now is told each minute, though its windows go by the newest row.
  const speaking = follow(
    db,
    clock,
    {
      last: '40 days',
      now: 'watermark',
      where: `ts > now() - interval '3 days 12 hours 12 minutes'`,
    },
    { heartbeatMs: 1e12 },
  );
  await speaking.pass(3 * 60_000);
  expect(speaking.told.map(({ kind }) => kind)).toEqual(['snapshot', 'delta']);
  await db.close();
});

// A boundary that the newest row, or an instant of long ago, has yet to pass was passed by the clock: the question was asked again and again, without a pause.
test('of another now than the clock’s nothing is told by the clock', async () => {
  const { db, clock } = await database();
  await db.insert('t', [{ id: 1, ts: '2025-11-29T12:00:00Z' }]);
  const queries = [
    { current: 'day', now: 'watermark' },
    { toDate: 'day', now: 'watermark', every: 'hour' },
    { current: 'day', now: '2025-11-29T13:00:00Z' },
    { last: '3h', now: '2025-11-29T13:00:00Z', every: 'hour' },
  ];
  const lives = queries.map((query) => follow(db, clock, query, { heartbeatMs: 1e12 }));
  const { metrics } = (db as unknown as { engine: Engine }).engine;
  let runs = 0;
  metrics.finished = () => void (runs += 1);
  await lives[0]!.pass(10 * 60_000);
  expect(runs).toBe(lives.length);
  await db.insert('t', [{ id: 2, ts: '2025-11-29T12:10:00Z' }]);
  await lives[0]!.pass(60_000);
  expect(
    lives.map(({ told }) =>
      told.map((change) =>
        (change.kind === 'delta' ? change.inserted : []).map(({ values }) => values['n']),
      ),
    ),
  ).toEqual(queries.map(() => [[], [2]]));
  await db.close();
});

test('where nothing changes, progress says so; a reader begins now, or where it was; a signal ends it', async () => {
  const { db, clock } = await database();
  await db.insert('t', [{ id: 1, ts: '2026-01-01T00:00:00Z', team: 'a' }]);
  const before = db.position;
  await db.insert('t', [{ id: 2, ts: '2026-01-01T00:00:00Z', team: 'b' }]);
  const range = ['2026-01-01', '2026-01-02'];
  const quiet = follow(db, clock, { range }, { heartbeatMs: 1000 });
  const abort = new AbortController();
  const later = follow(db, clock, { range, by: 'team' }, { from: before, signal: abort.signal });
  const now = follow(db, clock, { range }, { from: 'now' });
  await quiet.pass(2500);
  expect(quiet.told.map(({ kind }) => kind).slice(0, 3)).toEqual([
    'snapshot',
    'progress',
    'progress',
  ]);
  expect(later.told.map(shown)).toEqual([['delta', '+2026-01-01 b1']]);
  expect(now.told).toEqual([]);
  await db.insert('t', [{ id: 3, ts: '2026-01-01T00:00:00Z' }]);
  await quiet.pass(15_000);
  expect(now.told.map(shown)).toEqual([['delta', '-2026-01-01 2', '+2026-01-01 3']]);
  expect(now.subscription.unchanged(1, 1)).toBe(true);
  expect(now.subscription.unchanged(1, 2)).toBe(false);
  expect(await now.subscription.key).toEqual(['start', 'label', 'by']);
  expect(await later.subscription.columns).toEqual([
    { name: 'team', type: 'text', nullable: true },
    { name: 'n', type: 'bigint', nullable: true },
  ]);
  abort.abort();
  await settled();
  expect(later.failure()).toMatchObject({ code: '57014' });
  const gone = follow(db, clock, { range }, { from: 1_000_000 });
  await settled();
  expect(gone.told.map(({ kind }) => kind)).toEqual(['reset', 'snapshot']);
  await gone.subscription[Symbol.asyncDispose]();
  const wrong = follow(db, clock, { range, evry: 'day' });
  await settled();
  expect(wrong.failure()).toMatchObject({ code: '22023', field: 'evry' });
  await expect(wrong.subscription.columns).rejects.toMatchObject({ field: 'evry' });
  await db.close();
});
