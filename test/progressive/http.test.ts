import { afterAll, beforeAll, expect, test } from 'vitest';
import { open, type Database, type Server } from '../../src/index.ts';
import { EventStream } from '../server/event-stream.ts';
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

test('an answer is paused, resumed and watched by its id; who only watches may leave', async () => {
  // It waits for a position, so that it is there to be steered however fast this machine is.
  const { position } = await db.insert('t', [{ id: -1, x: 1 }]);
  const asked = stream('/v1/query', { ...ASKED, atLeast: position + 1, label: 'steered' });
  const reader = await asked;
  const waiting = (await reader.next())!.data;
  expect(waiting).toMatchObject({ kind: 'estimate', rows: [], why: /not visible yet/ });
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
  const unknown = await post('/v1/query', { sql: 'SELECT sum(y) FROM t', mode: 'progressive' });
  expect(await unknown.json()).toMatchObject({ code: '42703' });
  expect((await post('/v1/queries/nobody/refine', { stop: 'exact' })).status).toBe(404);
});
