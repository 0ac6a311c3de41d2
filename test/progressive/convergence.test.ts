/** What is told of an answer while it is made, and afterwards; what goes first when many are asked for; and that no step is long. */
import { EndedQueries } from '../../src/actors/ended-queries.ts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ProgressiveEvent } from '../../src/actors/api-types.ts';
import type { Engine } from '../../src/actors/engine.ts';
import { open, type Database, type Server } from '../../src/index.ts';
import { untilSealed } from './until-sealed.ts';

const ROWS = 210_000;
let db: Database;
let engine: Engine;
let server: Server;

beforeAll(async () => {
  db = await open({ workers: 0 });
  ({ engine } = db as unknown as { readonly engine: Engine });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, g int NOT NULL, x double precision NOT NULL)');
  await db.insert('t', {
    id: Int32Array.from({ length: ROWS }, (_, id) => id),
    g: Int32Array.from({ length: ROWS }, (_, id) => (id * 48_271) % 100_003),
    x: Float64Array.from({ length: ROWS }, (_, id) => (id * 7919) % 1000),
  });
  await untilSealed(db, 't');
  server = await db.listen({ http: '127.0.0.1:0' });
});

afterAll(() => db.close());

type GroupRow = { readonly g: number } & Record<'s' | 'n', { lower: number; upper: number }>;

test('adb.queries tells how far an answer is, and adb.query_history how it went', async () => {
  const answer = db.progressive('SELECT sum(x) AS s FROM t', {
    stop: { rows: 1 },
    label: 'mine',
    seed: 1,
  });
  const stopped = await answer.result();
  expect(stopped.etaMs).toBeGreaterThanOrEqual(0);
  const { rows: now } = await db.query<Record<string, unknown>>(
    "SELECT state, rows, rows_total, relative_error, eta_ms FROM adb.queries WHERE label = 'mine'",
  );
  expect(now).toEqual([
    {
      state: 'stopped',
      rows: stopped.rowsSeen,
      rows_total: ROWS,
      relative_error: stopped.convergence.at(-1)!.relativeError,
      eta_ms: expect.any(Number),
    },
  ]);
  expect(await db.queries.get(answer.queryId)).toMatchObject({ convergence: stopped.convergence });
  await answer.refineTo('exact');
  const last = await answer.result();
  const { rows: rounds } = await db.query<Record<string, number>>(
    "SELECT round, rows, relative_error AS e, work, state, ended IS NOT NULL AS over FROM adb.query_history WHERE label = 'mine' ORDER BY round",
  );
  expect(rounds.length).toBe(last.convergence.length);
  expect(rounds.length).toBeGreaterThan(3);
  expect(rounds.at(-1)).toMatchObject({
    rows: ROWS,
    e: 0,
    work: last.work,
    state: 'exact',
    over: true,
  });
  for (let at = 1; at < rounds.length; at += 1) {
    expect(rounds[at]!['rows']!).toBeGreaterThan(rounds[at - 1]!['rows']!);
    expect(rounds[at]!['e']!).toBeLessThan(rounds[at - 1]!['e']!);
  }
  expect((await db.query("SELECT 1 FROM adb.queries WHERE label = 'mine'")).rows).toEqual([]);
  // Bounded, whatever was asked.
  for (let at = 0; at < 105; at += 1)
    await db.progressive('SELECT sum(x) AS s FROM t WHERE id = 1').result();
  expect(engine.ended.of('main')).toHaveLength(100);
});

test('what cannot be estimated tells how far it is, and adb.queries too', async () => {
  const { clock } = engine.ports;
  const after = clock.after.bind(clock);
  let tick = (): void => undefined;
  (clock as { after: typeof after }).after = (ms, run) => {
    if (ms === 200) tick = run;
    return after(ms, run);
  };
  try {
    // Of tens of millions of pairs: it is not over when it is looked at.
    const answer = db.progressive(
      'SELECT avg(n) AS a FROM (SELECT a.g % 10 AS k, count(*) AS n FROM t a JOIN t b ON a.g % 1000 = b.g % 1000 GROUP BY 1) x',
    );
    let last: ProgressiveEvent | undefined;
    for await (const event of answer) {
      expect(event).toMatchObject({
        kind: 'estimate',
        rows: [],
        rowsTotal: 2 * ROWS,
        why: expect.stringContaining('whole'),
      });
      expect(event.work).toBeGreaterThanOrEqual(last?.work ?? 0);
      last = event;
      if (event.rowsSeen > ROWS) break;
      await new Promise((resolve) => setImmediate(resolve));
      tick();
    }
    expect(last!.fraction).toBeLessThan(1);
    expect(await answer.result()).toMatchObject({ reason: 'cancelled' });
    expect((await answer.result()).rowsSeen).toBeGreaterThan(ROWS);
  } finally {
    (clock as { after: typeof after }).after = after;
  }
});

test('the time to a wanted error is that of the rule that is met first, and pauses do not count', async () => {
  const { clock } = engine.ports as { clock: { monotonicMs(): number } };
  const monotonicMs = clock.monotonicMs.bind(clock);
  let jumpMs = 0;
  clock.monotonicMs = () => monotonicMs() + jumpMs;
  try {
    for (const stop of [
      { relativeError: 0.001 },
      { absoluteError: 40_000 },
      { relativeError: 0.001, rows: 150_000 },
      { relativeError: 1e-9, work: 1_000_000 },
    ]) {
      const answer = db.progressive('SELECT sum(x) AS s FROM t', { stop, seed: 1 });
      jumpMs += 1e6;
      let looks = 0;
      for await (const event of answer) {
        const { kind, rows, fraction, elapsedMs, etaMs, rowsTotal, convergence, work } = event;
        if (kind === 'final' || rows.length === 0) continue;
        looks += 1;
        const width = convergence.at(-1)!;
        // Widths are as the root of (1 − f) ÷ f.
        const shareAt = (wanted: number | undefined, have: number): number =>
          wanted === undefined ? 1 : 1 / (1 + (wanted / have) ** 2 * (1 / fraction - 1));
        const target = Math.min(
          shareAt(stop.relativeError, width.relativeError!),
          shareAt(stop.absoluteError, width.absoluteError!),
          (stop.rows ?? rowsTotal) / rowsTotal,
          stop.work === undefined ? 1 : (stop.work / work) * fraction,
        );
        const expected = Math.max(0, (target - fraction) / fraction);
        expect(Math.abs(etaMs! / elapsedMs - expected)).toBeLessThan(0.01 * (1 + expected));
      }
      expect(looks).toBeGreaterThan(0);
    }
    const rested = db.progressive('SELECT sum(x) AS s FROM t', { stop: { rows: 1 } });
    const { elapsedMs } = await rested.result();
    jumpMs += 1e9;
    await rested.refineTo({ ms: elapsedMs + 1e8 });
    expect((await rested.result()).reason).toBe('exact');
  } finally {
    clock.monotonicMs = monotonicMs;
  }
});

test('over HTTP an answer is paused, resumed, refined and cancelled by its id, and its convergence is seen', async () => {
  const post = (path: string, body: unknown, accept: string): Promise<Response> =>
    fetch(`${server.http!}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept },
      body: JSON.stringify(body),
    });
  for (const accept of ['text/event-stream', 'application/x-ndjson']) {
    const held = db.progressive('SELECT sum(x) AS s FROM t', { stop: { rows: 1 } });
    await held.result();
    const json = (path: string, body: unknown = {}): Promise<Response> =>
      post(path, body, 'application/json');
    expect((await json(`/v1/queries/${held.queryId}/pause`)).status).toBe(200);
    expect((await json(`/v1/queries/${held.queryId}/resume`)).status).toBe(200);
    const seen = (await (await fetch(`${server.http!}/v1/queries/${held.queryId}`)).json()) as {
      readonly convergence: readonly unknown[];
      readonly relativeError: number;
    };
    expect(seen.convergence.length).toBeGreaterThan(0);
    expect(seen.relativeError).toBeGreaterThan(0);
    expect(
      (await json(`/v1/queries/${held.queryId}/refine`, { stop: { rows: 100_000 } })).status,
    ).toBe(200);
    expect((await held.result()).rowsSeen).toBeGreaterThanOrEqual(100_000);
    const gone = await fetch(`${server.http!}/v1/queries/${held.queryId}`, { method: 'DELETE' });
    expect(gone.status).toBeLessThan(300);
    expect((await held.result()).reason).toBe('cancelled');
    // A stream of its own, to its end.
    const response = await post(
      '/v1/query',
      { sql: 'SELECT avg(x) AS a FROM t', mode: 'progressive', stop: { relativeError: 0.05 } },
      accept,
    );
    expect(response.headers.get('content-type')).toContain(accept);
    // What has stopped may be refined by its id: the stream ends with it.
    const text = await response.text();
    expect(text).toMatch(/"reason":"(stop|exact)"/);
  }
});

test('the first answers of all come before the second look of any, and a write before the rest', async () => {
  // However slow this machine is, nobody is put off for too long.
  const { clock } = engine.ports;
  const after = clock.after.bind(clock);
  (clock as { after: typeof after }).after = (ms, run) =>
    ms === 100 ? { cancel: () => undefined } : after(ms, run);
  const order: string[] = [];
  const answers = Array.from({ length: 12 }, (_, at) =>
    db.progressive(`SELECT avg(x) AS a${at} FROM t WHERE x > ${at}`, { seed: at, label: 'many' }),
  );
  const looks = answers.map(async (answer, at) => {
    for await (const { kind, rows } of answer) {
      if (rows.length > 0) order.push(kind === 'final' ? `end ${at}` : `look ${at}`);
      // A write that is asked for when all refine.
      if (at === 11 && !order.includes('asked')) {
        order.push('asked');
        void db
          .exec('CREATE TABLE IF NOT EXISTS w (a int); INSERT INTO w VALUES (1)')
          .then(() => order.push('written'));
      }
    }
  });
  await Promise.all(looks);
  (clock as { after: typeof after }).after = after;
  const first = answers.map((_, at) => order.findIndex((each) => each.endsWith(` ${at}`)));
  const ends = order.flatMap((each, at) => (each.startsWith('end') ? [at] : []));
  // Everybody has a first answer before anybody has a second one, let alone is through.
  const second = answers.map((_, at) =>
    order.findIndex((each, place) => each.endsWith(` ${at}`) && place > first[at]!),
  );
  expect(Math.max(...first)).toBeLessThan(Math.min(...second));
  expect(Math.max(...first)).toBeLessThan(Math.min(...ends));
  expect(order.indexOf('written')).toBeGreaterThan(0);
  expect(order.indexOf('written')).toBeLessThan(Math.min(...ends));
  await db.exec('DROP TABLE w');
});

/** Root cause: what had stopped, or was paused, was taken for one that has shown nothing when it went on. */
test('who wants more of what has stopped waits for the first answers of others', async () => {
  const { clock } = engine.ports;
  const after = clock.after.bind(clock);
  (clock as { after: typeof after }).after = (ms, run) =>
    ms === 100 ? { cancel: () => undefined } : after(ms, run);
  try {
    const refined = db.progressive('SELECT avg(x) AS a FROM t WHERE x > 1', { stop: { rows: 1 } });
    const { rowsSeen } = await refined.result();
    const isAnswered = engine.firstAnswers.begin('main');
    await refined.refineTo('exact');
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    const waiting = await db.queries.get(refined.queryId);
    expect(waiting.rows).toBe(rowsSeen);
    isAnswered();
    expect(await refined.result()).toMatchObject({ reason: 'exact' });
  } finally {
    (clock as { after: typeof after }).after = after;
  }
});

/**
 * Root cause: refinements were actors like others, so that beside eight of them whoever came next had a ninth of the machine. The test before had
 * nobody come but a write, which goes before all.
 */
test('beside what refines a query that comes has most of the machine, and a write is next', async () => {
  const steps: { readonly name: string; readonly units: number }[] = [];
  const settle = engine.runQueue.settle.bind(engine.runQueue);
  const queue = engine.runQueue as { settle: typeof settle };
  queue.settle = (entry, step, more) => {
    steps.push({ name: (entry as unknown as { name: string }).name, units: step.workUnits });
    settle(entry, step, more);
  };
  await db.exec('CREATE TABLE w (a int)');
  // Planned once: a new text lets others have the thread while it is parsed and planned.
  const comes = 'SELECT sum(x * 2) AS s, avg(x) AS a, max(g) AS m FROM t';
  await db.query(comes);
  try {
    const answers = Array.from({ length: 8 }, (_, at) =>
      db.progressive(`SELECT g % 1000 AS k, avg(x) AS a${at}, stddev(x) AS d FROM t GROUP BY 1`, {
        seed: at,
      }),
    );
    const firsts = answers.map(async (answer) => {
      for await (const { rows } of answer.watch()) if (rows.length > 0) return;
    });
    await Promise.all(firsts);
    const isRefining = (name: string): boolean =>
      answers.some(({ queryId }) => name === `query ${queryId}`);
    const unitsOf = (refining: boolean): number =>
      steps.reduce((sum, { name, units }) => sum + (isRefining(name) === refining ? units : 0), 0);
    steps.length = 0;
    await db.query(comes);
    // A fifth, and a step.
    expect(unitsOf(false)).toBeGreaterThan(3 * ROWS);
    expect(unitsOf(true)).toBeLessThan(unitsOf(false) / 2);
    steps.length = 0;
    await db.insert('w', [{ a: 1 }]);
    // The commit is the next step, or the one after.
    expect([0, 1]).toContain(steps.findIndex(({ name }) => name === 'journal'));
    // All of them are still at it.
    for (const { queryId } of answers)
      expect(await db.queries.get(queryId)).toMatchObject({ state: 'refining' });
    for (const answer of answers) await answer.cancel();
  } finally {
    queue.settle = settle;
    await db.exec('DROP TABLE w');
  }
});

test('an answer of a hundred thousand groups is read, shown and ended in steps that others may run between', async () => {
  const charged: number[] = [];
  const settle = engine.runQueue.settle.bind(engine.runQueue);
  const queue = engine.runQueue as { settle: typeof settle };
  queue.settle = (entry, step, more) => {
    charged.push(step.workUnits);
    settle(entry, step, more);
  };
  try {
    const answer = db.progressive('SELECT g, sum(x) AS s, count(*) AS n FROM t GROUP BY g', {
      seed: 1,
      stop: { rows: 1 },
      simultaneous: true,
      confidence: 0.999999,
    });
    const first = await answer.result();
    expect(first.rows.length).toBeGreaterThan(2000);
    // Few rows of each are seen: what is said of it holds all the same.
    const sums = new Map<number, { s: number; n: number }>();
    for (let id = 0; id < ROWS; id += 1) {
      const g = (id * 48_271) % 100_003;
      const { s, n } = sums.get(g) ?? { s: 0, n: 0 };
      sums.set(g, { s: s + ((id * 7919) % 1000), n: n + 1 });
    }
    const isMissed = (row: GroupRow): boolean =>
      (['s', 'n'] as const).some((name) => {
        const truth = sums.get(row.g)![name];
        return !(row[name].lower <= truth && truth <= row[name].upper);
      });
    expect((first.rows as unknown as readonly GroupRow[]).filter(isMissed)).toEqual([]);
    await answer.refineTo('exact');
    expect((await answer.result()).rows.length).toBe(100_003);
  } finally {
    queue.settle = settle;
  }
  const all = charged.reduce((sum, each) => sum + each, 0);
  expect(Math.max(...charged)).toBeLessThan(Math.max(all / 20, 2_000_000));
});

test('what ended is remembered by tenant: who asks a lot forgets nobody else’s', () => {
  const ended = new EndedQueries<{ tenant: string; id: number }>();
  ended.add({ tenant: 'quiet', id: -1 });
  for (let id = 0; id < 5000; id += 1) ended.add({ tenant: `tenant ${id % 20}`, id });
  for (let id = 0; id < 500; id += 1) ended.add({ tenant: 'noisy', id });
  expect(ended.of('quiet')).toEqual([{ tenant: 'quiet', id: -1 }]);
  const counts = [...Array(20).keys()].map((each) => ended.of(`tenant ${each}`).length);
  const noisy = ended.of('noisy');
  expect(counts.reduce((sum, each) => sum + each, 0) + noisy.length + 1).toBe(1000);
  expect(Math.min(...counts)).toBeGreaterThan(40);
  expect(noisy.at(-1)).toEqual({ tenant: 'noisy', id: 499 });
  expect(ended.of('nobody')).toEqual([]);
});
