import { afterAll, beforeAll, expect, test } from 'vitest';
import { open, type Database, type Server } from '../../src/index.ts';

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

test('as server-sent events it can be stopped, refined by its id, and goes on in the same stream', async () => {
  const response = await post(
    '/v1/query',
    { sql: 'SELECT avg(x) AS a FROM t WHERE id % 2 = 0', mode: 'progressive' },
    'text/event-stream',
  );
  expect(response.headers.get('content-type')).toContain('text/event-stream');
  const id = response.headers.get('adb-query-id')!;
  const paused = await post(`/v1/queries/${id}/pause`, {});
  // It may be over already; then there is nothing to pause.
  expect([200, 404]).toContain(paused.status);
  await post(`/v1/queries/${id}/resume`, {});
  const text = await response.text();
  expect(text).toMatch(/event: final\ndata: \{/);
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
