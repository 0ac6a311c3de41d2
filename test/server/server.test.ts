import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { request } from 'node:http';
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import type { FastifyInstance } from 'fastify';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { nodePorts } from '../../src/base/node-ports.ts';
import type { Database } from '../../src/index.ts';
import { open } from '../../src/open.ts';
import { createApp } from '../../src/server/app.ts';
import { listenHttp, parseAddress } from '../../src/server/listen.ts';
import { EventStream, Folded } from './event-stream.ts';
import { checkedMetrics } from './prometheus-text.ts';

let db: Database;
let app: FastifyInstance;
let url: string;
let ready: boolean;

beforeEach(async () => {
  ready = true;
  db = await open({ memory: '512 MB' });
  app = createApp({
    database: db,
    clock: nodePorts().clock,
    logger: undefined,
    page: undefined,
    demo: undefined,
    ready: () => ready,
  });
  url = await listenHttp(app, parseAddress('127.0.0.1:0'), {
    authenticated: false,
    nextFree: false,
  });
});
afterEach(async () => {
  await app.close();
  await db.close();
});

const JSON_TYPE = { 'content-type': 'application/json' };

async function post(
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Response> {
  const plain = typeof body === 'string' || body instanceof Uint8Array;
  return fetch(url + path, {
    method: 'POST',
    headers: { ...JSON_TYPE, ...headers },
    body: plain ? (body as string) : JSON.stringify(body),
  });
}

async function problem(answer: Response): Promise<Record<string, unknown>> {
  expect(answer.headers.get('content-type')).toContain('application/problem+json');
  const body = (await answer.json()) as Record<string, unknown>;
  expect(body['status']).toBe(answer.status);
  expect(body).toMatchObject({
    type: `https://analyticdb.dev/errors#${body['code']}`,
    title: expect.any(String),
    detail: expect.any(String),
    message: expect.any(String),
  });
  return body;
}

async function orders(): Promise<void> {
  await db.exec(
    'CREATE TABLE orders (id bigint PRIMARY KEY, ts timestamptz, region text, amount double precision, price numeric(12,2), raw bytea)',
  );
  await db.insert('orders', [
    { id: 1, ts: 0, region: 'EU', amount: Number.NaN, price: '10.50', raw: Uint8Array.of(1, 255) },
    { id: 2, ts: null, region: 'a "b", c', amount: Infinity, price: null, raw: null },
  ]);
}

describe('queries', () => {
  test('JSON has rows, columns and what the answer is', async () => {
    await orders();
    const answer = await post('/v1/query', {
      sql: 'SELECT * FROM orders WHERE id <= $1 ORDER BY id',
      params: [2],
    });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toBe('application/json; charset=utf-8');
    expect(answer.headers.get('adb-position')).toBe('2');
    const body = (await answer.json()) as Record<string, unknown>;
    expect(body['rows']).toEqual([
      {
        id: 1,
        ts: '1970-01-01T00:00:00Z',
        region: 'EU',
        amount: 'NaN',
        price: '10.50',
        raw: 'Af8=',
      },
      { id: 2, ts: null, region: 'a "b", c', amount: 'Infinity', price: null, raw: null },
    ]);
    expect(body['columns']).toContainEqual({
      name: 'price',
      type: 'numeric(12,2)',
      nullable: true,
    });
    expect(body['meta']).toMatchObject({
      position: 2,
      source: 'scan',
      sources: [{ kind: 'table', name: 'orders' }],
      guarantee: 'exact',
      lagMs: 0,
    });
  });

  test('NDJSON has a row a line, CSV a header, whatever the size', async () => {
    await orders();
    const sql = 'SELECT id, region, price FROM orders ORDER BY id';
    const lines = await post('/v1/query', { sql }, { accept: 'application/x-ndjson' });
    expect(lines.headers.get('content-type')).toContain('application/x-ndjson');
    expect(await lines.text()).toBe(
      '{"id":1,"region":"EU","price":"10.50"}\n{"id":2,"region":"a \\"b\\", c","price":null}\n',
    );
    const csv = await post('/v1/query', { sql }, { accept: 'text/csv' });
    expect(csv.headers.get('content-type')).toContain('text/csv');
    expect(await csv.text()).toBe('id,region,price\r\n1,EU,10.50\r\n2,"a ""b"", c",\r\n');
    const many = await post(
      '/v1/query',
      { sql: 'SELECT n FROM generate_series(1, 100000) AS s(n)' },
      { accept: 'application/x-ndjson' },
    );
    expect((await many.text()).split('\n').length).toBe(100_001);
  });

  test('an answer without rows is an empty stream, and CSV keeps its header', async () => {
    await orders();
    const sql = 'SELECT id, region FROM orders WHERE id < 0';
    expect(
      await (await post('/v1/query', { sql }, { accept: 'application/x-ndjson' })).text(),
    ).toBe('');
    expect(await (await post('/v1/query', { sql }, { accept: 'text/csv' })).text()).toBe(
      'id,region\r\n',
    );
  });

  test('GET reads, and only reads', async () => {
    await orders();
    const read = await fetch(`${url}/v1/query?sql=${encodeURIComponent('SELECT 1 AS one')}`);
    expect(await read.json()).toMatchObject({ rows: [{ one: 1 }] });
    const write = await fetch(`${url}/v1/query?sql=${encodeURIComponent('DELETE FROM orders')}`);
    expect(write.status).toBe(400);
    expect(await problem(write)).toMatchObject({ code: '25006' });
    expect((await db.query('SELECT count(*) AS n FROM orders')).rows).toEqual([{ n: 2 }]);
    const none = await fetch(`${url}/v1/query`);
    expect(await problem(none)).toMatchObject({ code: '22023', field: 'sql' });
  });

  test('values, position and limits of time are taken from the body', async () => {
    await db.exec('CREATE TABLE big (n bigint)');
    await db.insert('big', { n: 2n ** 60n });
    const plain = await post('/v1/query', { sql: 'SELECT n FROM big' });
    expect(await problem(plain)).toMatchObject({ code: '22003', column: 'n' });
    const text = await post('/v1/query', { sql: 'SELECT n FROM big', values: { int8: 'string' } });
    expect(await text.json()).toMatchObject({ rows: [{ n: String(2n ** 60n) }] });
    await db.insert('big', { n: 1n });
    const before = await post('/v1/query', { sql: 'SELECT count(*) AS n FROM big', asOf: 2 });
    expect(await before.json()).toMatchObject({ rows: [{ n: 1 }], meta: { position: 2 } });
    const slow = await post('/v1/query', {
      sql: 'SELECT count(*) FROM generate_series(1, 3000000) a, generate_series(1, 1000) b',
      timeoutMs: 20,
    });
    expect(slow.status).toBe(499);
    expect(await problem(slow)).toMatchObject({ code: '57014' });
  });

  test('a client that goes away ends its query', async () => {
    const abort = new AbortController();
    const answer = fetch(`${url}/v1/query`, {
      method: 'POST',
      headers: JSON_TYPE,
      body: JSON.stringify({
        sql: 'SELECT count(*) FROM generate_series(1, 3000000) a, generate_series(1, 100000) b',
      }),
      signal: abort.signal,
    });
    await eventually(async () => (await db.queries.list()).length === 1);
    abort.abort();
    await expect(answer).rejects.toThrow();
    await eventually(async () => (await db.queries.list()).length === 0);
  });

  test('a client that goes away while it waits for rows waits no more', async () => {
    await db.exec('CREATE TABLE held (id int PRIMARY KEY, v int); INSERT INTO held VALUES (1, 0)');
    const holder = db.session();
    await holder.exec('BEGIN; UPDATE held SET v = 1');
    const requests: readonly (readonly [string, string, unknown])[] = [
      ['POST', '/v1/query', { sql: 'UPDATE held SET v = v + 10' }],
      ['POST', '/v1/tables/held/rows?mode=upsert', { id: 1, v: 10 }],
      ['DELETE', '/v1/tables/held/rows', { id: 1 }],
    ];
    for (const [method, path, body] of requests) {
      const abort = new AbortController();
      const answer = fetch(url + path, {
        method,
        headers: JSON_TYPE,
        body: JSON.stringify(body),
        signal: abort.signal,
      });
      answer.catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, 100));
      abort.abort();
      await expect(answer).rejects.toThrow();
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await holder.exec('COMMIT');
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect((await db.query('SELECT v FROM held')).rows).toEqual([{ v: 1 }]);
  });

  test('closing the server with the database does not wait for who waits for rows', async () => {
    await db.exec('CREATE TABLE held (id int PRIMARY KEY, v int); INSERT INTO held VALUES (1, 0)');
    const holder = db.session();
    await holder.exec('BEGIN; UPDATE held SET v = 1');
    const server = await db.listen({ http: '127.0.0.1:0' });
    const answer = fetch(`${server.http}/v1/query`, {
      method: 'POST',
      headers: JSON_TYPE,
      body: JSON.stringify({ sql: 'UPDATE held SET v = v + 10' }),
    });
    await new Promise((resolve) => setTimeout(resolve, 100));
    const begin = performance.now();
    await db.close();
    expect(performance.now() - begin).toBeLessThan(4000);
    expect(await (await answer).json()).toMatchObject({ code: '57P01' });
  });

  test('a reader of a stream that leaves ends its query', async () => {
    const stream = await fetch(`${url}/v1/query`, {
      method: 'POST',
      headers: { ...JSON_TYPE, accept: 'application/x-ndjson' },
      body: JSON.stringify({
        sql: 'SELECT a.n, b.n AS m FROM generate_series(1, 100000) AS a(n), generate_series(1, 100000) AS b(n)',
      }),
    });
    const reader = stream.body!.getReader();
    await reader.read();
    expect((await db.queries.list()).length).toBe(1);
    await reader.cancel();
    await eventually(async () => (await db.queries.list()).length === 0);
  });

  test('many requests over one connection leave nothing behind', async () => {
    const warnings: Error[] = [];
    const listen = (warning: Error): number => warnings.push(warning);
    process.on('warning', listen);
    const sockets = new Set<Socket>();
    app.server.on('request', ({ socket }: { socket: Socket }) => sockets.add(socket));
    for (let each = 0; each < 40; each += 1)
      await (await post('/v1/query', { sql: 'SELECT 1' })).text();
    await new Promise((resolve) => setImmediate(resolve));
    process.off('warning', listen);
    expect(sockets.size).toBeLessThan(4);
    for (const socket of sockets) expect(socket.listenerCount('close')).toBeLessThan(10);
    expect(warnings).toEqual([]);
  });
});

describe('errors', () => {
  test('an error of SQL is a problem with the fields of DbError', async () => {
    await orders();
    const answer = await post('/v1/query', { sql: 'SELECT id,\n  regio FROM orders' });
    expect(answer.status).toBe(400);
    expect(await problem(answer)).toMatchObject({
      code: '42703',
      at: { offset: 13, line: 2, column: 3 },
      hint: expect.stringContaining('region'),
      retryable: false,
    });
    const missing = await post('/v1/query', { sql: 'SELECT * FROM order' + 's2' });
    expect(missing.status).toBe(404);
    expect(await problem(missing)).toMatchObject({ code: '42P01' });
    const twice = await post('/v1/tables/orders/rows', [{ id: 1 }]);
    expect(twice.status).toBe(409);
    expect(await problem(twice)).toMatchObject({
      code: '23505',
      table: 'orders',
      constraint: 'orders_pkey',
    });
    const unsupported = await post('/v1/query', { query: { from: 'orders' } });
    expect(unsupported.status).toBe(501);
    expect(await problem(unsupported)).toMatchObject({ code: '0A000' });
  });

  test('what may succeed later says when to come again', async () => {
    await app.close();
    await db.close();
    db = await open({ memory: '24 MB', journal: { kind: 'memory', keep: '1 MB' } });
    app = createApp({
      database: db,
      clock: nodePorts().clock,
      logger: undefined,
      page: undefined,
      demo: undefined,
      ready: () => ready,
    });
    url = await listenHttp(app, parseAddress(0), { authenticated: false, nextFree: false });
    await db.exec('CREATE TABLE t (a text)');
    const rows = Array.from({ length: 4000 }, (_, row) => ({ a: `${row}`.padEnd(2000, 'x') }));
    let answer: Response;
    do answer = await post('/v1/tables/t/rows', rows);
    while (answer.status === 200);
    expect(answer.status).toBe(503);
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    expect(await problem(answer)).toMatchObject({ code: '53200', retryable: true });
    const busy = await post('/v1/query', {
      sql: 'SELECT count(*) FROM generate_series(1, 1000000)',
      maxWork: 10,
    });
    expect(busy.status).toBe(429);
    expect(Number(busy.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    expect(await problem(busy)).toMatchObject({ code: '53400', retryable: true });
  });

  test('requests that are not right are told so in HTTP and in words', async () => {
    await orders();
    const broken = await post('/v1/query', '{"sql": ');
    expect(broken.status).toBe(400);
    expect(await problem(broken)).toMatchObject({ code: '22023' });
    for (const body of ['[]', '"SELECT 1"', 'null', '{}', '{"sql": 1}'])
      expect((await problem(await post('/v1/query', body)))['code']).toBe('22023');
    expect(await problem(await post('/v1/query', { sql: 'SELECT 1', params: {} }))).toMatchObject({
      code: '22023',
      field: 'params',
    });

    const nowhere = await fetch(`${url}/v1/nothing`);
    expect(nowhere.status).toBe(404);
    expect(await problem(nowhere)).toMatchObject({ hint: expect.stringContaining('/v1/tables') });
    expect((await fetch(`${url}/v1/tables/nope`)).status).toBe(404);
    const near = await fetch(`${url}/v1/tabels`);
    expect(await problem(near)).toMatchObject({ status: 404, hint: 'Did you mean /v1/tables?' });

    // A slip of the pen in the query string is told, and not missed.
    for (const [method, path, meant] of [
      ['POST', '/v1/tables/orders/rows?mod=upsert', 'mode'],
      ['GET', '/v1/query?sql=SELECT+1&fromat=csv', 'format'],
      ['GET', '/v1/views/sales/rows?limt=1', 'limit'],
      ['GET', '/v1/live?view=sales', 'views'],
      ['POST', '/v1/query?tennant=acme', 'tenant'],
    ] as const)
      expect(
        await problem(
          method === 'GET' ? await fetch(`${url}${path}`) : await post(path, { sql: 'SELECT 1' }),
        ),
      ).toMatchObject({ code: '22023', hint: `Did you mean "${meant}"?` });
    const model = await post('/v1/query', { query: { from: 'orders' } });
    expect(await problem(model)).toMatchObject({ status: 501, code: '0A000' });
    const latin = await post('/v1/tables/orders/rows', 'id', {
      'content-type': 'text/csv; charset=latin1',
    });
    expect(await problem(latin)).toMatchObject({ status: 415, field: 'content-type' });

    const wrongMethod = await fetch(`${url}/v1/query?sql=1`, { method: 'PUT' });
    expect(wrongMethod.status).toBe(405);
    expect(wrongMethod.headers.get('allow')!.split(', ')).toEqual(
      expect.arrayContaining(['GET', 'POST']),
    );
    await problem(wrongMethod);
    const wrongRows = await fetch(`${url}/v1/tables/orders/rows`, { method: 'PATCH' });
    expect(wrongRows.status).toBe(405);

    const large = await post('/v1/query', `{"sql": "${' '.repeat(65 * 1024 * 1024)}"}`);
    expect(large.status).toBe(413);
    expect(await problem(large)).toMatchObject({ code: '54000' });

    const odd = await fetch(`${url}/v1/query`, {
      method: 'POST',
      headers: { 'content-type': 'application/yaml' },
      body: 'sql: SELECT 1',
    });
    expect(odd.status).toBe(415);
    expect(await problem(odd)).toMatchObject({ code: '22023', field: 'content-type' });
  });
});

describe('writes', () => {
  test('exec runs several statements as one transaction', async () => {
    const done = await post('/v1/exec', {
      sql: 'CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1), (2)',
    });
    expect(await done.json()).toEqual({ position: 1, rows: 2, command: 'INSERT' });
    const undone = await post('/v1/exec', {
      sql: 'INSERT INTO t VALUES (3); INSERT INTO t VALUES (1)',
    });
    expect(undone.status).toBe(409);
    expect((await db.query('SELECT count(*) AS n FROM t')).rows).toEqual([{ n: 2 }]);
    const bound = await post('/v1/exec', { sql: 'DELETE FROM t WHERE a = $1', params: [2] });
    expect(await bound.json()).toEqual({ position: 2, rows: 1, command: 'DELETE' });
    expect(await problem(await post('/v1/exec', {}))).toMatchObject({ field: 'sql' });
    expect(await problem(await post('/v1/exec', { sq: 'SELECT 1' }))).toMatchObject({
      field: 'sq',
      hint: 'Did you mean "sql"?',
    });
  });

  test('rows come as JSON, NDJSON or CSV, in a piece that is kept or refused whole', async () => {
    await db.exec('CREATE TABLE t (a int PRIMARY KEY, b text)');
    expect(await (await post('/v1/tables/t/rows', [{ a: 1, b: 'x' }])).json()).toEqual({
      position: 2,
      rows: 1,
    });
    const columns = await post('/v1/tables/t/rows', { a: [2, 3], b: ['y', null] });
    expect(await columns.json()).toEqual({ position: 3, rows: 2 });
    const lines = await post('/v1/tables/t/rows', '{"a":4,"b":"z"}\n{"a":5}\n', {
      'content-type': 'application/x-ndjson',
    });
    expect(await lines.json()).toMatchObject({ rows: 2 });
    const csv = await post('/v1/tables/t/rows', 'a,b\r\n6,"q, r"\r\n7,\r\n', {
      'content-type': 'text/csv; charset=utf-8',
    });
    expect(await csv.json()).toMatchObject({ rows: 2 });
    const refused = await post('/v1/tables/t/rows', 'a,b\n8,ok\n1,again\n', {
      'content-type': 'text/csv',
    });
    expect(refused.status).toBe(409);
    const upsert = await post('/v1/tables/t/rows?mode=upsert', [{ a: 1, b: 'X' }]);
    expect(await upsert.json()).toMatchObject({ rows: 1 });
    const gone = await fetch(`${url}/v1/tables/t/rows?a=7`, { method: 'DELETE' });
    expect(await gone.json()).toMatchObject({ rows: 1 });
    expect((await db.query('SELECT a, b FROM t ORDER BY a')).rows).toEqual([
      { a: 1, b: 'X' },
      { a: 2, b: 'y' },
      { a: 3, b: null },
      { a: 4, b: 'z' },
      { a: 5, b: null },
      { a: 6, b: 'q, r' },
    ]);
    expect(await problem(await post('/v1/tables/t/rows?mode=replace', []))).toMatchObject({
      field: 'mode',
    });
  });

  test('a write that is sent again with its key is done once, whatever its format', async () => {
    await db.exec('CREATE TABLE t (a int)');
    const send = (key: string, body: string, type: string): Promise<unknown> =>
      post('/v1/tables/t/rows', body, { 'idempotency-key': key, 'content-type': type }).then(
        (answer) => answer.json(),
      );
    const first = await send('k1', '[{"a":1}]', 'application/json');
    expect(await send('k1', '[{"a":1}]', 'application/json')).toEqual(first);
    const csv = await send('k2', 'a\n2\n', 'text/csv');
    expect(await send('k2', 'a\n2\n', 'text/csv')).toEqual(csv);
    // Two at once, as a client does whose first answer is late.
    const [one, two] = await Promise.all([
      send('k3', '[{"a":3}]', 'application/json'),
      send('k3', '[{"a":3}]', 'application/json'),
    ]);
    expect(two).toEqual(one);
    expect((await db.query('SELECT a FROM t ORDER BY a')).rows).toEqual([
      { a: 1 },
      { a: 2 },
      { a: 3 },
    ]);
  });
});

describe('what is there', () => {
  test('tables and views are described', async () => {
    await orders();
    await db.exec(
      'CREATE MATERIALIZED VIEW sales AS SELECT region, count(*) AS n FROM orders GROUP BY region',
    );
    const { tables } = (await (await fetch(`${url}/v1/tables`)).json()) as { tables: object[] };
    expect(tables).toMatchObject([
      {
        name: 'orders',
        kind: 'table',
        primaryKey: ['id'],
        rowCount: 2,
        bytes: expect.any(Number),
        columns: expect.arrayContaining([{ name: 'id', type: 'bigint', nullable: false }]),
      },
    ]);
    const { views } = (await (await fetch(`${url}/v1/views`)).json()) as { views: object[] };
    expect(views).toMatchObject([
      { name: 'sales', kind: 'materializedView', state: 'live', rowCount: 2 },
    ]);
    expect(await (await fetch(`${url}/v1/tables/orders`)).json()).toMatchObject({ rowCount: 2 });
    expect((await fetch(`${url}/v1/tables/sales`)).status).toBe(404);
    expect(await (await fetch(`${url}/v1/views/sales`)).json()).toMatchObject({ name: 'sales' });
  });

  test('the pages of a view belong to one position, and its ETag is the position', async () => {
    await db.exec(
      'CREATE TABLE t (a int PRIMARY KEY); CREATE MATERIALIZED VIEW v AS SELECT a, a * 2 AS b FROM t',
    );
    await db.insert('t', { a: Int32Array.from({ length: 25 }, (_, row) => row) });
    const seen: number[] = [];
    let next: string | undefined = '/v1/views/v/rows?limit=10';
    let pages = 0;
    while (next !== undefined) {
      const answer: Response = await fetch(url + next);
      expect(answer.status).toBe(200);
      expect(answer.headers.get('etag')).toBe('"2"');
      const body = (await answer.json()) as { position: number; rows: { a: number }[] };
      expect(body.position).toBe(2);
      seen.push(...body.rows.map(({ a }) => a));
      next = /^<([^>]+)>; rel="next"$/.exec(answer.headers.get('link') ?? '')?.[1];
      pages += 1;
      await db.exec(`DELETE FROM t WHERE a = ${pages}; INSERT INTO t VALUES (${100 + pages})`);
    }
    expect(pages).toBe(3);
    expect(seen.sort((a, b) => a - b)).toEqual(Array.from({ length: 25 }, (_, row) => row));
    const etag = (await fetch(`${url}/v1/views/v/rows`)).headers.get('etag')!;
    const same = await fetch(`${url}/v1/views/v/rows`, { headers: { 'if-none-match': etag } });
    expect(same.status).toBe(304);
    expect(await problem(await fetch(`${url}/v1/views/v/rows?cursor=zzz`))).toMatchObject({
      field: 'cursor',
    });
  });

  test('metrics are valid Prometheus text and count', async () => {
    await orders();
    await post('/v1/query', { sql: 'SELECT * FROM orders' });
    await post('/v1/query', { sql: 'SELECT nope FROM orders' });
    const answer = await fetch(`${url}/metrics`);
    expect(answer.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
    const text = await answer.text();
    const series = checkedMetrics(text);
    // Prometheus's own checker, where it is installed.
    const promtool = spawnSync('promtool', ['check', 'metrics'], { input: text });
    if (promtool.error === undefined) expect(promtool.stderr.toString()).toBe('');
    expect(series.get('analyticdb_position{}')).toBe(2);
    expect(series.get('analyticdb_errors_total{}')).toBe(1);
    expect(series.get('analyticdb_rows_written_total{}')).toBe(2);
    expect(series.get('analyticdb_memory_limit_bytes{}')).toBe(512 * 1024 * 1024);
    expect(series.get('analyticdb_memory_bytes{}')).toBeGreaterThan(0);
    expect(
      series.get('analyticdb_http_requests_total{method="POST",route="/v1/query",status="400"}'),
    ).toBe(1);
    const scrape = async (): Promise<string[]> => [
      ...checkedMetrics(await (await fetch(`${url}/metrics`)).text()).keys(),
    ];
    expect(await scrape()).toEqual(expect.arrayContaining([...series.keys()]));
    expect(await scrape()).toEqual(await scrape());
  });

  test('health is told at once, readiness when it is there', async () => {
    ready = false;
    expect(await (await fetch(`${url}/healthz`)).json()).toEqual({ status: 'ok' });
    const early = await fetch(`${url}/readyz`);
    expect(early.status).toBe(503);
    expect(early.headers.get('retry-after')).toBe('1');
    ready = true;
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
  });
});

describe('live', () => {
  async function twoViews(): Promise<void> {
    await db.exec(
      `CREATE TABLE t (id int PRIMARY KEY, g text, x int);
       CREATE MATERIALIZED VIEW a AS SELECT g, sum(x) AS s FROM t GROUP BY g;
       CREATE MATERIALIZED VIEW b AS SELECT count(*) AS n FROM t WHERE x > 5`,
    );
    await db.insert('t', [
      { id: 1, g: 'p', x: 1 },
      { id: 2, g: 'q', x: 10 },
    ]);
  }

  test('a stream begins with hello and snapshot of each view and goes on with deltas', async () => {
    await twoViews();
    const stream = await EventStream.open(`${url}/v1/live?views=a,b`);
    expect(stream.response!.headers.get('content-type')).toContain('text/event-stream');
    const first = [
      await stream.next(),
      await stream.next(),
      await stream.next(),
      await stream.next(),
    ];
    expect(first.map((each) => `${each!.event} ${each!.data.item}`).sort()).toEqual([
      'hello a',
      'hello b',
      'snapshot a',
      'snapshot b',
    ]);
    expect(first.find((each) => each!.event === 'hello')!.data).toMatchObject({
      protocol: 1,
      columns: [
        { name: 'g', type: 'text' },
        { name: 's', type: 'bigint' },
      ],
      key: ['g'],
    });
    expect(first.find((each) => each!.event === 'snapshot')!.data).toMatchObject({
      item: 'a',
      position: 2,
      rows: expect.arrayContaining([{ g: 'p', s: 1 }]),
      more: false,
    });
    expect(stream.lastEventId).toBe('2');
    await db.insert('t', { id: 3, g: 'p', x: 2 });
    const delta = (await stream.next())!;
    expect(delta).toMatchObject({
      event: 'delta',
      id: '3',
      data: {
        item: 'a',
        from: 2,
        position: 3,
        inserted: [{ g: 'p', s: 3 }],
        deleted: [{ g: 'p', s: 1 }],
      },
    });
    // One commit that changes both views is told of both at its position.
    await db.insert('t', { id: 4, g: 'q', x: 6 });
    const both = [(await stream.next())!, (await stream.next())!];
    expect(both.map(({ event, data }) => [event, data.position])).toEqual([
      ['delta', 4],
      ['delta', 4],
    ]);
    expect(both.map(({ data }) => data.item).sort()).toEqual(['a', 'b']);
    expect(both[1]!.id).toBe('4');
    stream.close();
    await eventually(() => db.metrics.snapshot()['subscribers'] === 0);
  });

  test('a stream resumes by Last-Event-ID with what was missed and nothing else', async () => {
    await twoViews();
    const stream = await EventStream.open(`${url}/v1/live?views=a,b`);
    const folded = new Folded();
    for (let each = 0; each < 4; each += 1) folded.take((await stream.next())!);
    stream.close();
    await db.insert('t', { id: 3, g: 'r', x: 7 });
    await db.delete('t', { id: 1 });
    const again = await EventStream.open(`${url}/v1/live?views=a,b`, {
      headers: { 'last-event-id': stream.lastEventId! },
    });
    const events = [
      ...(await again.until(({ data }) => data.item === 'a' && data.position === 4)),
    ].filter(({ event }) => event !== 'hello');
    expect(events.every(({ event }) => event === 'delta')).toBe(true);
    for (const event of events) folded.take(event);
    expect(folded.rows('a')).toEqual(await rowsOf('a'));
    expect(folded.rows('b')).toEqual(await rowsOf('b'));
    again.close();
  });

  test('wherever a connection breaks, the resumed stream folds to the views', async () => {
    await twoViews();
    const folded = new Folded();
    let lastEventId: string | undefined;
    let id = 10;
    const seen = new Set<string>();
    for (let cut = 0; cut < 24; cut += 1) {
      const stream = await EventStream.open(`${url}/v1/live?views=a,b`, {
        headers: lastEventId === undefined ? {} : { 'last-event-id': lastEventId },
      });
      // The n-th event is the last one that arrives: in the middle of what one commit has changed, too.
      for (let event = 0; event < 2 + (cut % 6); event += 1) {
        if (event === 2) await db.insert('t', { id: (id += 1), g: 'pqr'[id % 3], x: id % 10 });
        const read = await Promise.race([stream.next(), after(200)]);
        if (read === undefined) break;
        folded.take(read);
        seen.add(read.id === undefined ? 'none' : read.id.includes(';') ? 'mixed' : 'one');
      }
      lastEventId = stream.lastEventId ?? lastEventId;
      stream.close();
      await db.insert('t', { id: (id += 1), g: 'pqr'[id % 3], x: id % 10 });
    }
    expect([...seen].sort()).toEqual(['mixed', 'none', 'one']);
    const stream = await EventStream.open(`${url}/v1/live?views=a,b`, {
      headers: { 'last-event-id': lastEventId! },
    });
    for (;;) {
      const read = await Promise.race([stream.next(), after(300)]);
      if (read === undefined) break;
      folded.take(read);
    }
    stream.close();
    expect(folded.rows('a')).toEqual(await rowsOf('a'));
    expect(folded.rows('b')).toEqual(await rowsOf('b'));
  });

  test('a position that is gone, or of another life of the database, is a reset and a snapshot', async () => {
    await twoViews();
    const stream = await EventStream.open(`${url}/v1/live?views=b`, {
      headers: { 'last-event-id': '99' },
    });
    const events = await stream.until(({ event }) => event === 'snapshot');
    expect(events.map(({ event }) => event)).toEqual(['hello', 'reset', 'snapshot']);
    stream.close();
    const wrong = await fetch(`${url}/v1/live?views=b`, { headers: { 'last-event-id': 'x' } });
    expect(await problem(wrong)).toMatchObject({ field: 'Last-Event-ID' });
  });

  test('an idle stream says up to where nothing has changed', async () => {
    await twoViews();
    const beats = db.subscribe('b', { from: 'now', heartbeatMs: 30 });
    for await (const change of beats) {
      expect(change).toMatchObject({ kind: 'progress', position: 2, asOf: expect.any(String) });
      break;
    }
  });

  test('a query is followed like a view', async () => {
    await twoViews();
    const stream = await EventStream.open(`${url}/v1/live`, {
      method: 'POST',
      headers: JSON_TYPE,
      body: JSON.stringify({
        items: { high: { sql: 'SELECT id, x FROM t WHERE x >= 10' } },
      }),
    });
    const [, snapshot] = await stream.until(({ event }) => event === 'snapshot');
    expect(snapshot!.data.rows).toEqual([{ id: 2, x: 10 }]);
    await db.exec('UPDATE t SET x = 20 WHERE id = 1');
    expect((await stream.next())!.data).toMatchObject({
      item: 'high',
      inserted: [{ id: 1, x: 20 }],
      deleted: [],
    });
    stream.close();
  });

  test('a view that is not there is 404, one that is dropped ends the stream with an error', async () => {
    await twoViews();
    const missing = await fetch(`${url}/v1/live?views=a,nope`);
    expect(missing.status).toBe(404);
    expect(await problem(missing)).toMatchObject({ code: '42P01' });
    expect(await problem(await fetch(`${url}/v1/live`))).toMatchObject({ field: 'views' });
    const stream = await EventStream.open(`${url}/v1/live?views=b`);
    await stream.until(({ event }) => event === 'snapshot');
    await db.exec('DROP MATERIALIZED VIEW b');
    const [error] = await stream.until(({ event }) => event === 'error');
    expect(error!.data).toMatchObject({ code: '42P01', table: 'b' });
    expect(await stream.next()).toBeUndefined();
  });

  test('a snapshot and a delta of many rows come in pieces', async () => {
    await db.exec(
      'CREATE TABLE t (id int PRIMARY KEY); CREATE MATERIALIZED VIEW v AS SELECT id FROM t',
    );
    await db.insert('t', { id: Int32Array.from({ length: 5000 }, (_, row) => row) });
    const stream = await EventStream.open(`${url}/v1/live?views=v`);
    const snapshot = await stream.until(
      ({ event, data }) => event === 'snapshot' && data['more'] === false,
    );
    const folded = new Folded();
    for (const event of snapshot) folded.take(event);
    expect(snapshot.length).toBeGreaterThan(3);
    expect(folded.rows('v').length).toBe(5000);
    await db.exec('UPDATE t SET id = id + 10000');
    const delta = await stream.until(
      ({ event, data }) => event === 'delta' && data['more'] === false,
    );
    for (const event of delta) folded.take(event);
    expect(delta.length).toBeGreaterThan(3);
    expect(folded.rows('v')).toEqual(await rowsOf('v'));
    stream.close();
  });

  test('a reader that does not read costs a bounded number of bytes and then gets the difference', async () => {
    await db.exec(
      'CREATE TABLE t (id int PRIMARY KEY, x int, pad text); CREATE MATERIALIZED VIEW v AS SELECT id, x, pad FROM t',
    );
    const sockets: Socket[] = [];
    app.server.on('connection', (socket: Socket) => sockets.push(socket));
    const call = request(`${url}/v1/live?views=v`);
    call.end();
    const [response] = (await once(call, 'response')) as [import('node:http').IncomingMessage];
    response.pause();
    const pad = 'x'.repeat(500);
    let buffered = 0;
    for (let round = 0; round < 300; round += 1) {
      await db.upsert(
        't',
        Array.from({ length: 200 }, (_, id) => ({ id, x: round, pad })),
      );
      if (round % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
      buffered = Math.max(buffered, sockets[0]!.writableLength);
    }
    // 300 rounds are 60 MB of deltas; one event of 400 rows is 220 kB.
    expect(buffered).toBeLessThan(1_000_000);
    const folded = new Folded();
    let text = '';
    let events = 0;
    response.setEncoding('utf8');
    for await (const piece of response) {
      text += piece as string;
      const blocks = text.split('\n\n');
      text = blocks.pop()!;
      let position = 0;
      for (const block of blocks) {
        const data = /^data: (.*)$/m.exec(block)?.[1];
        if (data === undefined) continue;
        events += 1;
        const event = {
          event: /^event: (.*)$/m.exec(block)![1]!,
          id: undefined,
          data: JSON.parse(data),
        };
        folded.take(event);
        position = event.data.position;
      }
      if (position >= db.position) break;
    }
    call.destroy();
    expect(events).toBeLessThan(200);
    expect(folded.rows('v')).toEqual(await rowsOf('v'));
  });

  test('maxRate merges what comes in between', async () => {
    await twoViews();
    const stream = await EventStream.open(`${url}/v1/live?views=a&maxRate=20`);
    await stream.until(({ event }) => event === 'snapshot');
    for (let id = 100; id < 200; id += 1) await db.insert('t', { id, g: 'p', x: 1 });
    const deltas = await stream.until(({ data }) => data.position === db.position);
    expect(deltas.length).toBeLessThan(20);
    expect(deltas.at(-1)!.data.inserted).toEqual([{ g: 'p', s: 101 }]);
    stream.close();
  });

  test('closing the server says bye', async () => {
    await twoViews();
    const stream = await EventStream.open(`${url}/v1/live?views=a`);
    await stream.until(({ event }) => event === 'snapshot');
    const closed = app.close();
    const [bye] = await stream.until(({ event }) => event === 'bye');
    expect(bye!.data).toEqual({ reason: 'the server is shutting down' });
    await closed;
  });

  async function rowsOf(view: string): Promise<string[]> {
    const { rows } = await db.query(`SELECT * FROM ${view}`);
    return rows.map((row) => JSON.stringify(row)).sort();
  }
});

describe('the process', () => {
  test('a public address is refused without authentication', async () => {
    for (const address of ['0.0.0.0:0', '[::]:0', '192.0.2.1:0', 'example.org:0'])
      await expect(
        listenHttp(app, parseAddress(address), { authenticated: false, nextFree: true }),
      ).rejects.toMatchObject({ code: '28000', hint: expect.stringContaining('127.0.0.1') });
    for (const text of ['', 'x', '127.0.0.1', '70000', '1:2:3'])
      expect(() => parseAddress(text), text).toThrow(expect.objectContaining({ code: '22023' }));
    expect(parseAddress('[::1]:42')).toEqual({ host: '::1', port: 42 });
    expect(parseAddress(4200)).toEqual({ host: '127.0.0.1', port: 4200 });
  });

  test('serve answers, refuses a public address, and on SIGTERM ends what is under way and exits 0', async () => {
    expect(existsSync('dist/src/main.js'), 'run npm run build first').toBe(true);
    const env = { ...process.env, PORT: undefined };
    const start = (...args: string[]): ReturnType<typeof spawn> =>
      spawn(process.execPath, ['dist/src/main.js', 'serve', ...args], { env });

    const refused = start('--http', '0.0.0.0:0');
    let said = '';
    refused.stderr!.on('data', (bytes: Buffer) => (said += bytes.toString()));
    expect(await once(refused, 'close')).toEqual([1, null]);
    expect(said).toContain('without authentication');

    const server = start('--http', '127.0.0.1:0');
    const lines = createInterface({ input: server.stdout! });
    const [line] = (await once(lines, 'line')) as [string];
    const at = /^AnalyticDB is ready: (http:\/\/127\.0\.0\.1:\d+)$/.exec(line)![1]!;
    expect((await fetch(`${at}/readyz`)).status).toBe(200);
    expect((await fetch(`${at}/`)).headers.get('content-type')).toContain('text/html');
    await fetch(`${at}/v1/exec`, {
      method: 'POST',
      headers: JSON_TYPE,
      body: JSON.stringify({ sql: 'CREATE TABLE t (a int)' }),
    });
    const live = await EventStream.open(`${at}/v1/live?views=t`);
    await live.until(({ event }) => event === 'snapshot');
    const query = fetch(`${at}/v1/query`, {
      method: 'POST',
      headers: JSON_TYPE,
      body: JSON.stringify({
        sql: 'SELECT count(*) AS n FROM generate_series(1, 3000) a, generate_series(1, 3000) b',
      }),
    });
    const running = async (): Promise<boolean> => {
      const { queries } = (await (await fetch(`${at}/v1/queries`)).json()) as { queries: object[] };
      return queries.length > 0;
    };
    await eventually(running);
    const exited = once(server, 'exit');
    server.kill('SIGTERM');
    await live.until(({ event }) => event === 'bye');
    expect(await (await query).json()).toMatchObject({ rows: [{ n: 9_000_000 }] });
    expect(await exited).toEqual([0, null]);
    await expect(fetch(`${at}/healthz`)).rejects.toThrow();
  });
});

async function eventually(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let each = 0; each < 500; each += 1) {
    if (await holds()) return;
    await after(10);
  }
  throw new Error('it did not come to hold');
}

function after(ms: number): Promise<undefined> {
  return new Promise((resolve) => setTimeout(() => resolve(undefined), ms));
}
