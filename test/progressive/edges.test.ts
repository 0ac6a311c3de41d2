import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ProgressiveEvent } from '../../src/actors/api-types.ts';
import type { Engine } from '../../src/actors/engine.ts';
import { open, type Database } from '../../src/index.ts';
import { MeanSequence } from '../../src/progressive/mean-sequence.ts';
import { manualClock } from '../../src/testing.ts';
import { untilSealed } from './until-sealed.ts';

const ROWS = 140_000;
let db: Database;
let engine: Engine;

beforeAll(async () => {
  db = await open({ workers: 0 });
  engine = (db as unknown as { readonly engine: Engine }).engine;
  await db.exec(
    'CREATE TABLE t (id int PRIMARY KEY, g int NOT NULL, far double precision, low double precision, x double precision)',
  );
  let state = 5;
  const random = (): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return state / 0x8000_0000;
  };
  await db.insert('t', {
    id: Int32Array.from({ length: ROWS }, (_, id) => id),
    g: Int32Array.from({ length: ROWS }, (_, id) => id % 3),
    far: Float64Array.from({ length: ROWS }, () => 1e15 + Math.floor(random() * 100)),
    low: Float64Array.from({ length: ROWS }, () => (random() < 0.4 ? -Infinity : random())),
    x: Float64Array.from({ length: ROWS }, () => random()),
  });
});

afterAll(() => db.close());

type Cell = { readonly lower: number | null; readonly upper: number | null };

async function expectCovered(sql: string, seeds: readonly number[]): Promise<void> {
  const { rows } = await db.query<Record<string, number>>(sql);
  let looks = 0;
  for (const seed of seeds)
    for await (const event of db.progressive(sql, { seed, confidence: 0.999999 })) {
      if (event.kind === 'final') continue;
      looks += event.rows.length;
      for (const row of event.rows as readonly Record<string, Cell & number>[]) {
        const truth = rows.find(({ g }) => g === row['g'])!;
        for (const [name, { lower, upper }] of Object.entries(row)) {
          if (name === 'g') continue;
          expect(lower ?? -Infinity).toBeLessThanOrEqual(truth[name]!);
          expect(upper ?? Infinity).toBeGreaterThanOrEqual(truth[name]!);
        }
      }
    }
  expect(looks).toBeGreaterThan(0);
}

test('averages of values that are huge beside their spread are not narrower than doubles are', () =>
  expectCovered('SELECT g, avg(far) AS a, round(avg(far)) AS r FROM t GROUP BY g', [1, 3]));

test('−∞ lies below all numbers for quantiles', () =>
  expectCovered('SELECT percentile_disc(0.7) WITHIN GROUP (ORDER BY low) AS p FROM t', [1]));

test('a group that is met late has bounds of its own risk, not of one that was met before', () => {
  const batch = { draws: 1000, watched: 1000 };
  const sequence = new MeanSequence(1_000_000, 0, 1);
  sequence.ensure(1);
  const early = Math.log(10);
  const late = Math.log(1e9);
  for (let round = 0; round < 5; round += 1) {
    sequence.add(0, batch, { sum: 0, squares: 0 }, 0, late);
    sequence.close(batch, early);
  }
  sequence.ensure(2);
  for (const group of [0, 1]) sequence.add(group, batch, { sum: 1, squares: 1 }, 1, late);
  sequence.close(batch, late);
  // Bets were of another size, and that is all.
  expect(sequence.bounds(1).upper).toBeGreaterThan(sequence.bounds(0).upper * 0.7);
});

test('every ending gives back memory and snapshots', async () => {
  const sql = 'SELECT id % 5000 AS k, sum(x) AS s, avg(x) AS a, stddev(x) AS d FROM t GROUP BY 1';
  await db.query(sql);
  const before = engine.memory.usedBytes;
  const first = async (answer: AsyncIterable<ProgressiveEvent>): Promise<void> => {
    for await (const { rows } of answer) if (rows.length > 0) return;
  };
  // Exact, left, cancelled while it waits, aborted, stopped and then cancelled.
  await db.progressive(sql).result();
  await first(db.progressive(sql));
  await db.progressive(sql).cancel();
  const abort = new AbortController();
  const aborted = db.progressive(sql, { signal: abort.signal });
  abort.abort();
  await expect(aborted.result()).rejects.toMatchObject({ code: '57014' });
  const stopped = db.progressive(sql, { stop: { rows: 1 } });
  expect((await stopped.result()).reason).toBe('stop');
  expect(engine.memory.usedBytes).toBeGreaterThan(before);
  await stopped.cancel();
  // Work that is too much, and a query that fails while it reads.
  await expect(db.progressive(sql, { maxWork: 1000 }).result()).rejects.toMatchObject({
    code: '53400',
  });
  await expect(
    db.progressive('SELECT sum(1 / (id - 100)) AS s FROM t').result(),
  ).rejects.toMatchObject({ code: '22012' });
  expect(engine.memory.usedBytes).toBe(before);
  expect(engine.answers.size).toBe(0);
});

test('memory that runs out half-way is 53200, and is given back', async () => {
  const small = await open({ workers: 0, memory: '24 MB' });
  const own = (small as unknown as { readonly engine: Engine }).engine;
  await small.exec('CREATE TABLE many (k int NOT NULL, x double precision NOT NULL)');
  await small.insert('many', {
    k: Int32Array.from({ length: ROWS }, (_, id) => id % 70_000),
    x: Float64Array.from({ length: ROWS }, (_, id) => (id * 7919) % 1000),
  });
  // What tidies up after the insert takes and gives meanwhile; memory that is not given back is missed by every run.
  let used = own.memory.usedBytes;
  for (let run = 0, before = -1; used !== before; run += 1) {
    expect(run).toBeLessThan(50);
    before = used;
    await expect(
      small
        .progressive(
          'SELECT k, sum(x) AS s, avg(x) AS a, stddev(x) AS d, sum(x * 2) AS t FROM many GROUP BY k',
        )
        .result(),
    ).rejects.toMatchObject({ code: '53200' });
    used = own.memory.usedBytes;
  }
  await small.close();
});

test('what is paused is given up after a minute even if a rule is changed; what has stopped, even if it is resumed', async () => {
  const after = engine.ports.clock.after.bind(engine.ports.clock);
  let idle = 0;
  const { clock } = engine.ports;
  const timed = clock as { after: typeof clock.after };
  timed.after = (ms, run) => {
    const timer = after(ms, run);
    if (ms !== 60_000) return timer;
    idle += 1;
    let isGone = false;
    return {
      cancel: () => {
        if (!isGone) idle -= 1;
        isGone = true;
        timer.cancel();
      },
    };
  };
  try {
    const sql = 'SELECT sum(x) AS s FROM t';
    const stopped = db.progressive(sql, { stop: { rows: 1 } });
    await stopped.result();
    expect(idle).toBe(1);
    await stopped.resume();
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(idle).toBe(1);
    await stopped.cancel();
    expect(idle).toBe(0);
    const paused = db.progressive(sql);
    await paused.pause();
    await new Promise((resolve) => setTimeout(resolve, 5));
    await paused.refineTo({ rows: 100_000 });
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(idle).toBe(1);
    await paused.cancel();
    expect(idle).toBe(0);
  } finally {
    timed.after = after;
  }
});

test('inside a transaction its own writes count, and the answer is exact', async () => {
  await db
    .transaction(async (tx) => {
      await tx.exec('INSERT INTO t (id, g, x) VALUES (-1, 9, 1e6)');
      const plain = await tx.query<{ s: number }>('SELECT sum(x) AS s FROM t');
      const last = await (tx as unknown as Database)
        .progressive('SELECT sum(x) AS s FROM t')
        .result();
      expect(last.reason).toBe('exact');
      // As outside of it, what has an aggregate holds its value.
      const { s: value } = plain.rows[0]!;
      const cell = { estimate: value, lower: value, upper: value, guarantee: 'exact', value };
      expect(last.rows).toEqual([{ s: cell }]);
      throw new Error('back');
    })
    .catch((cause: unknown) => expect(String(cause)).toContain('back'));
});

test('a column of NULLs only, in sealed rows, gives what SQL says of it, and intervals that do not contradict', async () => {
  await db.exec('ALTER TABLE t ADD COLUMN z double precision');
  await db.exec('CREATE TABLE nulls (id int, z double precision, x double precision)');
  await db.insert('nulls', {
    id: Int32Array.from({ length: ROWS }, (_, id) => id),
    z: Array.from({ length: ROWS }, () => null),
    x: Float64Array.from({ length: ROWS }, (_, id) => id % 10),
  });
  // Of one, segments are older than the column; of the other, they have it.
  for (const table of ['t', 'nulls']) {
    const sql = `SELECT count(z) AS n, sum(z) AS s, avg(z) AS a, min(z) AS lo, stddev(z) AS d, sum(z) / sum(x) AS r,
      percentile_cont(0.5) WITHIN GROUP (ORDER BY z) AS m FROM ${table}`;
    let last: ProgressiveEvent | undefined;
    for await (const event of db.progressive(sql, { seed: 2 })) {
      last = event;
      for (const row of event.rows as unknown as readonly Record<string, Cell>[]) {
        expect(row['n']!.lower).toBe(0);
        for (const { lower, upper } of Object.values(row))
          expect(lower ?? -Infinity).toBeLessThanOrEqual(upper ?? Infinity);
      }
    }
    const { rows } = await db.query<Record<string, unknown>>(sql);
    const values = Object.entries(last!.rows[0] as Record<string, { value: unknown }>);
    expect(Object.fromEntries(values.map(([name, { value }]) => [name, value]))).toEqual(rows[0]);
  }
});

test('db.queries pauses, resumes and refines answers by id, and those alone', async () => {
  const answer = db.progressive('SELECT sum(x) AS s FROM t', { stop: { rows: 1 }, label: 'one' });
  const stopped = await answer.result();
  const { queryId: id } = answer;
  expect(await db.queries.get(id)).toMatchObject({ id, label: 'one', state: 'stopped' });
  await db.queries.refine(id, { rows: stopped.rowsSeen + 1 });
  const further = await answer.result();
  expect(further.rowsSeen).toBeGreaterThan(stopped.rowsSeen);
  await expect(db.queries.refine(id, { rowz: 1 } as never)).rejects.toMatchObject({
    field: 'stop.rowz',
    hint: 'Did you mean "rows"?',
  });
  await expect(db.as({ tenant: 'other' }).queries.refine(id, 'exact')).rejects.toMatchObject({
    code: '42704',
  });
  await db.queries.cancel(id);
  await expect(db.queries.pause(id)).rejects.toMatchObject({ code: '42704' });
  // What waits is there already, and may be told what to do once it begins.
  const waiting = db.progressive('SELECT sum(x) AS s FROM t', { atLeast: 1e9 });
  await db.queries.pause(waiting.queryId);
  await db.queries.resume(waiting.queryId);
  expect(await db.queries.get(waiting.queryId)).toMatchObject({ state: 'planned' });
  await db.queries.cancel(waiting.queryId);
  expect(await waiting.result()).toMatchObject({ reason: 'cancelled', rowsSeen: 0 });
  for await (const _ of db.stream('SELECT id FROM t', { batchRows: 10 })) {
    const [plain] = await db.queries.list();
    for (const steer of ['pause', 'resume'] as const)
      await expect(db.queries[steer](plain!.id)).rejects.toMatchObject({ code: '55000' });
    break;
  }
});

test('of answers that have stopped a tenant keeps a bounded number', async () => {
  const used = engine.memory.usedBytes;
  const answers = Array.from({ length: 203 }, (_, seed) =>
    db.progressive('SELECT sum(x) AS s FROM t', { stop: { rows: 1 }, seed }),
  );
  const stopped = await Promise.all(answers.map((answer) => answer.result()));
  for (const { reason } of stopped) expect(reason).toBe('stop');
  const other = db.as({ tenant: 'other' });
  expect(await other.queries.list()).toEqual([]);
  while ((await db.queries.list()).length > 200)
    await new Promise((resolve) => setTimeout(resolve, 1));
  for (const answer of answers.slice(0, 3))
    await expect(answer.refineTo('exact')).rejects.toMatchObject({
      code: '72000',
      hint: expect.stringContaining('resume'),
    });
  expect(await answers[0]!.result()).toBe(stopped[0]);
  await answers[3]!.refineTo({ rows: stopped[3]!.rowsSeen + 1 });
  expect((await answers[3]!.result()).reason).toBe('stop');
  for (const answer of answers.slice(3)) await answer.cancel();
  expect(engine.memory.usedBytes).toBe(used);
});

test('a database that closes ends what waits', async () => {
  const own = await open({ workers: 0 });
  const waiting = own.progressive('SELECT 1 AS one', { atLeast: 1e9 });
  const outcome = waiting.result().catch((cause: unknown) => cause);
  await own.close();
  expect(await outcome).toMatchObject({ code: '57P01' });
});

test('what tiles have is answered exactly at once; what they do not have yet is sampled, and nothing is made for it', async () => {
  await db.exec(
    "CREATE TABLE timed (ts timestamptz NOT NULL, x double precision NOT NULL) WITH (time = 'ts')",
  );
  await db.insert('timed', {
    ts: Float64Array.from({ length: ROWS }, (_, row) => Date.UTC(2026, 0, 1) + row * 10_000),
    x: Float64Array.from({ length: ROWS }, (_, row) => (row * 7919) % 1000),
  });
  await untilSealed(db, 'timed');
  const sql = `SELECT time_bucket('1 day', ts) AS d, sum(x) AS s, count(*) AS n FROM timed
    WHERE ts >= '2026-01-03T00:00:00Z' AND ts < '2026-01-13T00:00:00Z' GROUP BY 1 ORDER BY 1`;
  const first = db.progressive(sql, { stop: { rows: 1 }, seed: 1 });
  const stopped = await first.result();
  expect(stopped).toMatchObject({ reason: 'stop', source: 'sample' });
  const plain = await db.query<Record<string, unknown>>(sql);
  const tiled = await db.query<Record<string, unknown>>(sql);
  expect(tiled.meta.source).toBe('windows');
  const events: ProgressiveEvent[] = [];
  for await (const event of db.progressive(sql)) events.push(event);
  expect(events).toMatchObject([
    { kind: 'final', reason: 'exact', source: 'windows', fraction: 1 },
  ]);
  expect(events[0]!.work).toBeLessThan(ROWS / 10);
  const shown = (events[0]!.rows as readonly Record<string, { value: unknown }>[]).map((row) => ({
    d: row['d'],
    s: row['s']!.value,
    n: row['n']!.value,
  }));
  expect(shown).toEqual(plain.rows);
  // A sample that was begun is gone on with, and had again by its mark.
  await first.refineTo('exact');
  expect(await first.result()).toMatchObject({ source: 'sample', rows: events[0]!.rows });
  const again = db.progressive(sql, { resume: stopped.resume, stop: { rows: 1 } });
  expect(await again.result()).toMatchObject({ reason: 'stop', rows: stopped.rows });
  await again.cancel();
  // Off for the session, off here.
  const session = db.session();
  await session.exec('SET enable_window_tiles = off');
  const off = await session.progressive(sql, { stop: { rows: 1 } }).result();
  expect(off.source).toBe('sample');
  await session.close();
});

test('with a clock that stands still answers are given, and pauses are as long as it says', async () => {
  const clock = manualClock('2026-03-08T00:00:00Z');
  const own = await open({ clock, workers: 0 });
  await own.exec('CREATE TABLE t (x int)');
  await own.insert('t', { x: Int32Array.from({ length: 70_000 }, (_, x) => x) });
  await untilSealed(own, 't');
  const answer = own.progressive('SELECT sum(x) AS s FROM t', { stop: { rows: 1 } });
  expect(await answer.result()).toMatchObject({ reason: 'stop', elapsedMs: 0 });
  await clock.advance('50s');
  await answer.refineTo({ ms: 1 });
  expect(await answer.result()).toMatchObject({ reason: 'exact', elapsedMs: 50_000 });
  // A time limit is for the time to a stop, and anew for that to the next.
  const limited = own.progressive('SELECT sum(x) AS s FROM t', {
    stop: { rows: 1 },
    timeoutMs: 5000,
  });
  const { rowsSeen } = await limited.result();
  await clock.advance('50s');
  await limited.refineTo({ rows: rowsSeen + 1 });
  expect(await limited.result()).toMatchObject({ reason: 'stop' });
  void limited.refineTo('exact');
  await limited.pause();
  await clock.advance('6s');
  await expect(limited.result()).rejects.toMatchObject({ code: '57014' });
  // A minute alone, and it is given up.
  const left = own.progressive('SELECT sum(x) AS s FROM t', { stop: { rows: 1 } });
  await left.result();
  await clock.advance('61s');
  await expect(left.refineTo('exact')).rejects.toMatchObject({ code: '72000' });
  await own.close();
});

test('of columns of one name the last is shown, as the plain query does', async () => {
  for (const columns of [
    'count(*) AS c, sum(x) AS c, 7 AS c',
    'g AS c, avg(x) AS c',
    'avg(x) AS c, g AS c',
  ]) {
    const sql = `SELECT ${columns} FROM t GROUP BY g ORDER BY g`;
    const { rows } = await db.query<{ c: number }>(sql);
    const shown = (await db.progressive(sql).result()).rows as readonly {
      c: number | { value: number };
    }[];
    expect(shown.map(({ c }) => (typeof c === 'number' ? c : c.value))).toEqual(
      rows.map(({ c }) => c),
    );
  }
});

test('what SQL of ours does not have yet is told as that, and what is no query as that', async () => {
  const first = (sql: string): Promise<unknown> =>
    db.progressive(sql)[Symbol.asyncIterator]().next();
  await expect(
    first('SELECT * FROM ROWS FROM (generate_series(1, 2), generate_series(1, 3))'),
  ).rejects.toMatchObject({
    code: '0A000',
  });
  await expect(first('DELETE FROM t')).rejects.toMatchObject({ code: '42601' });
});
