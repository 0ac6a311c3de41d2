import { afterAll, beforeAll, expect, test } from 'vitest';
import { open, type Database, type Server } from '../../src/index.ts';
import { EventStream, type WireEvent } from '../server/event-stream.ts';
import { untilSealed } from './until-sealed.ts';

let db: Database;
let server: Server;
let base: string;

beforeAll(async () => {
  db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int, x double precision NOT NULL)');
  const n = 150_000;
  await db.insert('t', {
    id: Int32Array.from({ length: n }, (_, id) => id),
    x: Float64Array.from({ length: n }, (_, id) => (id * 7919) % 1000),
  });
  await untilSealed(db, 't');
  server = await db.listen({ http: '127.0.0.1:0' });
  base = server.http!;
});

afterAll(() => db.close());

const post = (path: string, body: unknown, accept?: string): Promise<Response> =>
  fetch(`${base}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(accept === undefined ? {} : { accept }) },
    body: JSON.stringify(body),
  });

test('a progressive answer comes as lines, the last of them exact', async () => {
  const response = await post('/v1/query', {
    sql: 'SELECT sum(x) AS s FROM t',
    mode: 'progressive',
  });
  expect(response.headers.get('content-type')).toContain('application/x-ndjson');
  const events = (await response.text())
    .trim()
    .split('\n')
    .map(
      (line) =>
        JSON.parse(line) as { kind: string; reason?: string; rows: { s: { value: number } }[] },
    );
  const plain = await db.query<{ s: number }>('SELECT sum(x) AS s FROM t');
  expect(events.at(-1)).toMatchObject({ kind: 'final', reason: 'exact' });
  expect(events.at(-1)!.rows[0]!.s.value).toBe(plain.rows[0]!.s);
});

const stream = (path: string, body?: unknown): Promise<EventStream> =>
  EventStream.open(`${base}${path}`, {
    headers: { 'content-type': 'application/json', accept: 'text/event-stream' },
    ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
  });

/** All that comes until the server ends the stream. */
async function restOf(events: EventStream): Promise<Record<string, unknown>[]> {
  const all: Record<string, unknown>[] = [];
  for (;;) {
    const next = await events.next();
    if (next === undefined) return all;
    all.push(next.data);
  }
}

const ASKED = { sql: 'SELECT avg(x) AS a FROM t WHERE id % 2 = 0', mode: 'progressive' };

test('a reader that was told what it stopped at refines by id, and reads on in the same request', async () => {
  const first = await restOf(await stream('/v1/query', { ...ASKED, stop: { rows: 1 } }));
  expect(first.at(-1)).toMatchObject({ kind: 'final', reason: 'stop' });
  const { queryId: id, rowsSeen } = first.at(-1) as { queryId: string; rowsSeen: number };
  // As lines, to a rule; then as events, to the end.
  const lines = await post(
    `/v1/queries/${id}/refine`,
    { stop: { rows: rowsSeen + 1 } },
    'application/x-ndjson',
  );
  expect(lines.headers.get('adb-query-id')).toBe(id);
  const further = (await lines.text())
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { kind: string; reason?: string; rowsSeen: number });
  expect(further.at(-1)).toMatchObject({ kind: 'final', reason: 'stop' });
  expect(further.at(-1)!.rowsSeen).toBeGreaterThan(rowsSeen);
  for (const { kind } of further.slice(0, -1)) expect(kind).toBe('estimate');
  const last = (await restOf(await stream(`/v1/queries/${id}/refine`, { stop: 'exact' }))).at(-1)!;
  expect(last).toMatchObject({ kind: 'final', reason: 'exact', queryId: id });
  const plain = await db.query<{ a: number }>(ASKED.sql);
  expect(last['rows']).toMatchObject([{ a: { value: plain.rows[0]!.a } }]);
  // A rule that is met already ends at once; without a stream the answer is a word.
  const again = (await restOf(await stream('/v1/query', { ...ASKED, stop: { rows: 1 } }))).at(-1)!;
  const met = await stream(`/v1/queries/${again['queryId'] as string}/refine`, {
    stop: { rows: 1 },
  });
  expect(await restOf(met)).toMatchObject([{ kind: 'final', reason: 'stop' }]);
  const plainly = await post(`/v1/queries/${again['queryId'] as string}/refine`, {
    stop: { rows: 1 },
  });
  expect(await plainly.json()).toEqual({ id: again['queryId'], stop: { rows: 1 } });
  await fetch(`${base}/v1/queries/${again['queryId'] as string}`, { method: 'DELETE' });
});

test('an answer of many rows leaves in pieces that make one event', async () => {
  const sql = 'SELECT id / 25 AS g, count(*) AS n FROM t WHERE id >= 0 GROUP BY 1';
  const lines = await post('/v1/query', { sql, mode: 'progressive' });
  const events = (await lines.text())
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { kind: string; rows: { g: number }[] });
  expect(events.at(-1)!.rows.map(({ g }) => g)).toEqual(Array.from({ length: 6000 }, (_, g) => g));
  const last = (await restOf(await stream('/v1/query', { sql, mode: 'progressive' }))).at(-1)!;
  expect(last['rows']).toEqual(events.at(-1)!.rows);
});

test('an answer is paused, resumed and watched by its id; who only watches may leave', async () => {
  // It waits for a position, so that it is there to be steered however fast this machine is.
  const { position } = await db.insert('t', [{ id: -1, x: 1 }]);
  const asked = stream('/v1/query', { ...ASKED, atLeast: position + 1, label: 'steered' });
  const reader = await asked;
  const waiting = (await reader.next())!.data;
  expect(waiting).toMatchObject({
    kind: 'estimate',
    rows: [],
    why: expect.stringContaining('not visible yet'),
  });
  const id = waiting['queryId'] as string;
  const listed = (await (await fetch(`${base}/v1/queries`)).json()) as { queries: object[] };
  expect(listed.queries).toMatchObject([{ id, label: 'steered', state: 'planned' }]);
  expect(await (await post(`/v1/queries/${id}/pause`, {})).json()).toEqual({ id, paused: true });
  await db.exec('DELETE FROM t WHERE id = -1');
  const stateOf = async (): Promise<string> =>
    ((await (await fetch(`${base}/v1/queries/${id}`)).json()) as { state: string }).state;
  while ((await stateOf()) !== 'paused') await new Promise((resolve) => setTimeout(resolve, 2));
  const watcher = await stream(`/v1/queries/${id}`);
  expect((await watcher.next())!.data).toMatchObject({ queryId: id, kind: 'estimate' });
  watcher.close();
  const other = stream(`/v1/queries/${id}`);
  const observer = await other;
  expect(await (await post(`/v1/queries/${id}/resume`, {})).json()).toEqual({ id, paused: false });
  const [told, seen] = await Promise.all([restOf(reader), restOf(observer)]);
  expect(told.at(-1)).toMatchObject({ kind: 'final', reason: 'exact' });
  expect(seen.at(-1)).toEqual(told.at(-1));
  expect((await fetch(`${base}/v1/queries/${id}`)).status).toBe(404);
});

test('DELETE ends an answer with what it had, and its reader is told so', async () => {
  const stopped = (await restOf(await stream('/v1/query', { ...ASKED, stop: { rows: 1 } }))).at(
    -1,
  )!;
  // The other one waits for a position that does not come.
  const reader = await stream('/v1/query', { ...ASKED, atLeast: 1e9 });
  const waiting = (await reader.next())!.data;
  for (const { queryId } of [stopped, waiting] as { queryId: string }[]) {
    const deleted = await fetch(`${base}/v1/queries/${queryId}`, { method: 'DELETE' });
    expect(await deleted.json()).toEqual({ id: queryId, canceled: true });
    const refined = await post(`/v1/queries/${queryId}/refine`, { stop: 'exact' });
    expect(refined.status).toBe(404);
  }
  expect((await restOf(reader)).at(-1)).toMatchObject({ kind: 'final', reason: 'cancelled' });
});

test('progressive answers come over one live stream beside what is followed; one that fails ends itself alone', async () => {
  await db.exec('CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM t');
  const live = await stream('/v1/live', {
    items: {
      whole: { sql: 'SELECT sum(x) AS s FROM t', mode: 'progressive', seed: 3 },
      rough: { sql: 'SELECT avg(x) AS a FROM t', mode: 'progressive', stop: { rows: 1 } },
      many: { sql: 'SELECT id / 25 AS g, count(*) AS n FROM t GROUP BY 1', mode: 'progressive' },
      broken: { sql: 'SELECT sum(1 / (id - $1)) AS s FROM t', params: [7], mode: 'progressive' },
      counted: { view: 'counted' },
    },
  });
  const missing = new Set(['whole', 'rough', 'many', 'broken', 'counted']);
  const events = await live.until(({ event, data }) => {
    if (['final', 'error', 'snapshot'].includes(event) && data['more'] !== true)
      missing.delete(data.item!);
    return missing.size === 0;
  });
  const of = (item: string): typeof events => events.filter(({ data }) => data.item === item);
  for (const { event, data, id } of events) {
    expect(data['item']).toBeDefined();
    if (event === 'estimate' || event === 'final')
      expect(data).toMatchObject({
        kind: event,
        position: db.position,
        queryId: expect.any(String),
      });
    // What is asked again is asked with its own mark; the place of the stream is that of what is followed.
    if (id !== undefined) expect(id).not.toMatch(/whole|rough|many|broken/);
  }
  const plain = await db.query<{ s: number }>('SELECT sum(x) AS s FROM t');
  expect(of('whole')[0]).toMatchObject({ event: 'hello', data: { protocol: 1 } });
  expect(of('whole').at(-1)!.data).toMatchObject({
    reason: 'exact',
    rows: [{ s: { value: plain.rows[0]!.s } }],
  });
  expect(of('rough').at(-1)!.data).toMatchObject({ kind: 'final', reason: 'stop' });
  expect(of('broken').at(-1)).toMatchObject({ event: 'error', data: { code: '22012' } });
  const finals = of('many').filter(({ event }) => event === 'final');
  expect(finals.map(({ data }) => [data.rows!.length, data['more']])).toEqual(
    Array.from({ length: 12 }, (_, piece) => [500, piece < 11 ? true : undefined]),
  );
  // What was followed goes on; what has stopped is refined, and read on in, by its id.
  await db.exec('INSERT INTO t VALUES (-1, 1)');
  await live.until(({ event, data }) => event === 'delta' && data.item === 'counted');
  live.close();
  const id = of('rough').at(-1)!.data['queryId'] as string;
  const refined = await restOf(await stream(`/v1/queries/${id}/refine`, { stop: 'exact' }));
  expect(refined.at(-1)).toMatchObject({ kind: 'final', reason: 'exact' });
  await db.exec('DELETE FROM t WHERE id = -1; DROP MATERIALIZED VIEW counted');
});

test('answers of a live stream end with it, and it with them', async () => {
  const waiting = { ...ASKED, atLeast: 1e9 };
  const refused = await post('/v1/live', { items: { a: waiting } });
  expect(await refused.json()).toMatchObject({ code: '22023', field: 'atLeast' });
  // Two hundred million pairs: it is not over when its reader leaves.
  const long = 'SELECT sum(a.x) AS s FROM t a JOIN t b ON a.id % 100 = b.id % 100';
  const live = await stream('/v1/live', { items: { a: { sql: long, mode: 'progressive' } } });
  const [{ data }] = (await live.until(({ event }) => event === 'hello')) as [WireEvent];
  const runs = async (): Promise<boolean> =>
    (await db.queries.list()).some(({ id }) => id === data['queryId']);
  expect(await runs()).toBe(true);
  live.close();
  while (await runs()) await new Promise((resolve) => setTimeout(resolve, 2));
  const alone = await restOf(await stream('/v1/live', { items: { a: ASKED } }));
  expect(alone.at(-2)).toMatchObject({ item: 'a', kind: 'final', reason: 'exact' });
  expect(alone.at(-1)).toEqual({ reason: 'all was answered' });
  // The last event is an error, or says that all is told: who sees neither comes again.
  const broken = { sql: 'SELECT sum(1 / (id - id)) AS s FROM t', mode: 'progressive' };
  const failed = await restOf(await stream('/v1/live', { items: { broken } }));
  expect(failed.at(-1)).toMatchObject({ item: 'broken', code: '22012' });
  const mixed = await restOf(await stream('/v1/live', { items: { broken, a: ASKED } }));
  expect(mixed.at(-1)).not.toMatchObject({ kind: 'final' });
  for (const [item, field] of [
    [{ ...ASKED, stop: {} }, 'items.a.stop'],
    [{ ...ASKED, stop: { relError: 1 } }, 'items.a.stop.relError'],
    [{ ...ASKED, maxRate: 1 }, 'items.a.maxRate'],
    [{ view: 't', mode: 'progressive' }, 'items.a.view'],
    [{ view: 't', seed: 1 }, 'items.a.seed'],
    [{ view: 't', mode: 'fast' }, 'items.a.mode'],
    [{ mode: 'progressive' }, 'items.a.sql'],
  ] as const) {
    const response = await post('/v1/live', { items: { a: item } });
    expect([response.status, ((await response.json()) as { field: string }).field]).toEqual([
      400,
      field,
    ]);
  }
});

test('what makes no sense is refused before anything is sent', async () => {
  const bad = [
    { body: { sql: 'SELECT 1', mode: 'fast' }, field: 'mode' },
    { body: { sql: 'SELECT 1', stop: 'exact' }, field: 'stop' },
    {
      body: { sql: 'SELECT sum(x) FROM t', mode: 'progressive', stop: { speed: 1 } },
      field: 'stop.speed',
    },
  ];
  for (const { body, field } of bad) {
    const response = await post('/v1/query', body);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ code: '22023', field });
  }
  const window = { table: 't', last: '1h' };
  const windowed = await post('/v1/query', { window, mode: 'progressive' });
  expect(await windowed.json()).toMatchObject({ code: '0A000', field: 'window' });
  const unknown = await post('/v1/query', { sql: 'SELECT sum(y) FROM t', mode: 'progressive' });
  expect(await unknown.json()).toMatchObject({ code: '42703' });
  expect((await post('/v1/queries/nobody/refine', { stop: 'exact' })).status).toBe(404);
});
