import { once } from 'node:events';
import { createServer, request, type IncomingMessage } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { Writable } from 'node:stream';
import { tableFromIPC } from '@uwdata/flechette';
import fc from 'fast-check';
import type { FastifyInstance } from 'fastify';
import { parquetReadObjects } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { nodePorts } from '../../src/base/node-ports.ts';
import type { Database } from '../../src/index.ts';
import { open } from '../../src/open.ts';
import { createApp } from '../../src/server/app.ts';
import { hasLongNumber, parseExactJson } from '../../src/server/exact-json.ts';
import { listenHttp, parseAddress } from '../../src/server/listen.ts';

/** docs/wire.md, as a client reads it. */
let db: Database;
let app: FastifyInstance;
let url: string;

async function serve(history?: number): Promise<void> {
  db = await open({ memory: '512 MB', ...(history === undefined ? {} : { history }) });
  app = createApp({
    database: db,
    clock: nodePorts().clock,
    logger: undefined,
    page: undefined,
    demo: undefined,
    ready: () => true,
    allowedHosts: ['db.test'],
  });
  url = await listenHttp(app, parseAddress('127.0.0.1:0'), {
    authenticated: false,
    nextFree: false,
  });
}

beforeEach(() => serve());
afterEach(async () => {
  await app.close();
  await db.close();
});

function post(
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Response> {
  return fetch(url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

function get(path: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(url + path, { headers });
}

async function problem(answer: Response): Promise<Record<string, unknown>> {
  expect(answer.headers.get('content-type')).toContain('application/problem+json');
  return { httpStatus: answer.status, ...((await answer.json()) as object) };
}

const SELECT = `/v1/query?sql=${encodeURIComponent('SELECT 1 AS a, $1::text AS b')}`;

describe('what a client accepts', () => {
  test('the best liked format is given, JSON where there is no wish, 406 where there is none', async () => {
    const path = `${SELECT}&params=${encodeURIComponent('["x"]')}`;
    const typeOf = async (accept: string): Promise<string> =>
      (await get(path, { accept })).headers.get('content-type')!.split(';')[0]!;
    expect(await typeOf('*/*')).toBe('application/json');
    expect(await typeOf('text/html,application/xhtml+xml,*/*;q=0.8')).toBe('application/json');
    expect(await typeOf('text/*')).toBe('text/csv');
    expect(await typeOf('application/json;q=0.5, text/csv')).toBe('text/csv');
    expect(await typeOf('application/x-ndjson')).toBe('application/x-ndjson');
    expect(await typeOf('application/json, */*;q=0')).toBe('application/json');
    const none = await get(path, { accept: 'image/png' });
    expect(await problem(none)).toMatchObject({
      httpStatus: 406,
      title: 'Not acceptable',
      code: '22023',
      field: 'accept',
    });
    expect(await (await get(`${path}&format=csv`)).text()).toBe('a,b\r\n1,x\r\n');
    expect(await problem(await get(`${path}&format=pdf`))).toMatchObject({ field: 'format' });
    expect(await problem(await get(`${SELECT}&params=x`))).toMatchObject({ field: 'params' });
  });

  test('Parquet is read by a Parquet library; a query that fails is a problem', async () => {
    const accept = 'application/vnd.apache.parquet';
    const sql = 'SELECT n::int AS n, n::text AS t FROM generate_series(1, 3) s(n)';
    const answer = await post('/v1/query', { sql }, { accept });
    expect(answer.headers.get('content-type')).toBe(accept);
    const rows = await parquetReadObjects({ file: await answer.arrayBuffer(), compressors });
    expect(rows).toEqual([1, 2, 3].map((n) => ({ n, t: String(n) })));
    expect(await problem(await post('/v1/query', { sql: 'SELECT 1/0' }, { accept }))).toMatchObject(
      {
        httpStatus: 400,
        code: '22012',
      },
    );
  });

  test('Arrow is read by an Arrow library', async () => {
    const sql =
      'SELECT n, n * 0.5::float8 AS half, n::text AS t FROM generate_series(1, 10000) s(n)';
    const answer = await post(
      '/v1/query',
      { sql },
      { accept: 'application/vnd.apache.arrow.stream' },
    );
    expect(answer.headers.get('adb-position')).toBe('0');
    const table = tableFromIPC(new Uint8Array(await answer.arrayBuffer()));
    expect(table.numRows).toBe(10_000);
    expect(table.names).toEqual(['n', 'half', 't']);
    expect(table.getChild('half').at(9_999)).toBe(5000);
    expect(table.getChild('t').at(41)).toBe('42');
  });

  test('a long JSON answer leaves in pieces and is the same JSON', async () => {
    const sql = `SELECT n, n::text AS t, CASE WHEN n % 3 = 0 THEN 'NaN'::float8 END AS f FROM generate_series(1, 10000) s(n)`;
    const answer = await post('/v1/query', { sql }, { origin: 'http://localhost:3000' });
    expect(answer.headers.get('access-control-allow-origin')).toBe('http://localhost:3000');
    expect(answer.headers.get('adb-source')).toBe('catalog');
    const { rows, columns, meta } = (await answer.json()) as {
      rows: object[];
      columns: object[];
      meta: object;
    };
    expect(rows.length).toBe(10_000);
    expect(rows[2999]).toEqual({ n: 3000, t: '3000', f: 'NaN' });
    expect(columns.length).toBe(3);
    expect(meta).toMatchObject({ guarantee: 'exact' });
  });

  test('a reader of 100,000 rows that stops reading holds up its query and nobody else', async () => {
    const sockets: Socket[] = [];
    app.server.on('connection', (socket: Socket) => sockets.push(socket));
    const call = request(`${url}/v1/query`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/x-ndjson' },
    });
    call.end(
      JSON.stringify({
        sql: `SELECT n, repeat('x', 200) AS pad FROM generate_series(1, 100000) s(n)`,
      }),
    );
    const [answer] = (await once(call, 'response')) as [IncomingMessage];
    answer.pause();
    let buffered = 0;
    for (let each = 0; each < 40; each += 1) {
      expect((await get('/healthz')).status).toBe(200);
      buffered = Math.max(buffered, sockets[0]!.writableLength);
    }
    // All of it would be 22 MB.
    expect(buffered).toBeLessThan(4_000_000);
    expect((await db.queries.list()).length).toBe(1);
    let lines = 0;
    for await (const piece of answer)
      for (const byte of piece as Uint8Array) if (byte === 10) lines += 1;
    expect(lines).toBe(100_000);
    expect((await db.queries.list()).length).toBe(0);
  });
});

describe('queries that run', () => {
  test('one is listed, looked at and cancelled by its id', async () => {
    const slow = post('/v1/query', {
      sql: 'SELECT count(*) FROM generate_series(1, 3000000) a, generate_series(1, 100000) b',
      label: 'panel 7',
    });
    let id: string | undefined;
    while (id === undefined) {
      const { queries } = (await (await get('/v1/queries')).json()) as {
        queries: { id: string }[];
      };
      id = queries[0]?.id;
    }
    expect(await (await get(`/v1/queries/${id}`)).json()).toMatchObject({ id, label: 'panel 7' });
    const canceled = await fetch(`${url}/v1/queries/${id}`, { method: 'DELETE' });
    expect(await canceled.json()).toEqual({ id, canceled: true });
    expect(await problem(await slow)).toMatchObject({ httpStatus: 499, code: '57014' });
    for (const method of ['GET', 'DELETE'])
      expect(await problem(await fetch(`${url}/v1/queries/${id}`, { method }))).toMatchObject({
        httpStatus: 404,
        code: '42704',
      });
    const other = await fetch(`${url}/v1/queries/${id}`, {
      method: 'DELETE',
      headers: { 'x-tenant': 'main' },
    });
    expect(other.status).toBe(404);
  });
});

describe('views', () => {
  beforeEach(async () => {
    await db.exec(
      `CREATE TABLE t (id int PRIMARY KEY, g text); CREATE TABLE other (a int);
       CREATE MATERIALIZED VIEW v AS SELECT g, count(*) AS n FROM t GROUP BY g`,
    );
    await db.insert('t', { id: 1, g: 'a' });
  });

  test('a tag outlives what happens elsewhere, and dies with a change', async () => {
    const etag = (await get('/v1/views/v/rows')).headers.get('etag')!;
    await db.exec('INSERT INTO other VALUES (1)');
    const same = await get('/v1/views/v/rows', { 'if-none-match': etag });
    expect([same.status, same.headers.get('etag')]).toEqual([304, etag]);
    expect(await same.text()).toBe('');
    await db.insert('t', { id: 2, g: 'a' });
    const changed = await get('/v1/views/v/rows', { 'if-none-match': etag });
    expect(changed.status).toBe(200);
    expect(await changed.json()).toMatchObject({ rows: [{ g: 'a', n: 2 }] });
  });

  test('a long poll answers at once when something has changed, else with the change, else 304', async () => {
    const { position } = (await (await get('/v1/views/v/rows')).json()) as { position: number };
    const none = await get(`/v1/views/v/rows?after=${position}&waitMs=30`);
    expect([none.status, none.headers.get('etag')]).toEqual([304, `"${position}"`]);
    const later = get(`/v1/views/v/rows?after=${position}&waitMs=20000`);
    await db.exec('INSERT INTO other VALUES (1)');
    await db.insert('t', { id: 2, g: 'b' });
    const answer = (await (await later).json()) as { position: number; rows: object[] };
    expect(answer.rows).toContainEqual({ g: 'b', n: 1 });
    expect(answer.position).toBeGreaterThan(position);
    const past = await get(`/v1/views/v/rows?after=${position}&waitMs=20000`);
    expect(past.status).toBe(200);
    // A position of another life of the database.
    expect((await get('/v1/views/v/rows?after=999&waitMs=20000')).status).toBe(200);
    for (const query of ['after=-1', 'after=x', 'after=1&waitMs=99999999', 'limit=0', 'limit=1e9'])
      expect(await problem(await get(`/v1/views/v/rows?${query}`)), query).toMatchObject({
        httpStatus: 400,
        field: query.includes('waitMs') ? 'waitMs' : query.split('=')[0],
      });
    await db.exec('CREATE VIEW plain AS SELECT * FROM t');
    expect(await problem(await get('/v1/views/plain/rows?after=1'))).toMatchObject({
      httpStatus: 501,
    });
  });

  test('a long poll ends when its client leaves, and when the server closes', async () => {
    const { position } = db;
    const leave = new AbortController();
    const left = fetch(`${url}/v1/views/v/rows?after=${position}&waitMs=60000`, {
      signal: leave.signal,
    });
    await eventually(() => db.metrics.snapshot()['subscribers'] === 1);
    leave.abort();
    await expect(left).rejects.toThrow();
    await eventually(() => db.metrics.snapshot()['subscribers'] === 0);
    const waiting = get(`/v1/views/v/rows?after=${position}&waitMs=60000`);
    await eventually(() => db.metrics.snapshot()['subscribers'] === 1);
    await Promise.all([app.close(), waiting.then((answer) => expect(answer.status).toBe(304))]);
  });

  test('a page of a position that is no longer kept is 410', async () => {
    await app.close();
    await db.close();
    await serve(1);
    await db.exec(
      'CREATE TABLE t (id int PRIMARY KEY); CREATE MATERIALIZED VIEW v AS SELECT id FROM t',
    );
    await db.insert('t', { id: Int32Array.of(1, 2, 3) });
    const first = await get('/v1/views/v/rows?limit=1');
    const next = /^<([^>]+)>/.exec(first.headers.get('link')!)![1]!;
    expect((await get(next)).status).toBe(200);
    await eventually(async () => {
      await db.exec('UPDATE t SET id = id + 10');
      return (await get(next)).status === 410;
    });
    expect(await problem(await get(next))).toMatchObject({ code: 'ADB_POSITION_GONE' });
  });

  test('a name that is not there is 404 with the one that is meant', async () => {
    for (const path of ['/v1/views/vv', '/v1/views/vv/rows', '/v1/views/t/rows'])
      expect(await problem(await get(path)), path).toMatchObject({
        httpStatus: 404,
        code: '42P01',
      });
    expect(await problem(await get('/v1/tables/tt'))).toMatchObject({ hint: 'Did you mean "t"?' });
  });
});

describe('numbers in JSON', () => {
  test('reach int8 and numeric as they were written', async () => {
    await db.exec('CREATE TABLE t (a bigint, b numeric, c float8, d text)');
    const body = `[{"a": 9007199254740993, "b": 0.1000000000000000055511151231257827, "c": 0.1000000000000000055511151231257827, "d": "id 9007199254740993 \\" 1"},
      {"a": -9223372036854775808, "b": 12345678901234567890.10, "c": 1e300, "d": null}]`;
    expect((await post('/v1/tables/t/rows', body)).status).toBe(200);
    const { rows } = await db.query('SELECT a::text, b::text, c, d FROM t');
    expect(rows).toEqual([
      {
        a: '9007199254740993',
        b: '0.1000000000000000055511151231257827',
        c: 0.1,
        d: 'id 9007199254740993 " 1',
      },
      { a: '-9223372036854775808', b: '12345678901234567890.10', c: 1e300, d: null },
    ]);
  });

  test('are left alone wherever a double holds them', () => {
    const held = fc
      .double({ noNaN: true, noDefaultInfinity: true })
      .filter((value) => !Number.isInteger(value) || Math.abs(value) <= 2 ** 53);
    const values = fc.array(fc.oneof(held, fc.string(), fc.dictionary(fc.string(), held)));
    fc.assert(
      fc.property(values, (value) => {
        const text = JSON.stringify(value);
        expect(parseExactJson(text)).toEqual(JSON.parse(text));
      }),
    );
    fc.assert(
      fc.property(fc.bigInt(), (value) => {
        const read = parseExactJson(`[${value}]`) as (number | string)[];
        expect(BigInt(read[0]!)).toBe(value);
      }),
    );
    for (const text of [
      '[1,',
      '{"a":01}',
      '[12345678901234567 8]',
      '{"a": 1234567890123456789',
      '',
    ])
      expect(() => parseExactJson(text), text).toThrow(SyntaxError);
  });
});

describe('rows by line', () => {
  test('are upserted, or refused with the line', async () => {
    await db.exec('CREATE TABLE t (a int PRIMARY KEY, b text)');
    const type = { 'content-type': 'application/x-ndjson' };
    const path = '/v1/tables/t/rows?mode=upsert';
    expect((await post(path, '{"a":1,"b":"x"}\n\n{"a":2}\n', type)).status).toBe(200);
    expect((await post(path, '{"a":1,"b":"y"}', type)).status).toBe(200);
    expect(await problem(await post(path, '{"a":3}\n{"a":', type))).toMatchObject({
      message: 'line 2: a value is not valid JSON',
    });
    expect((await db.query('SELECT * FROM t ORDER BY a')).rows).toEqual([
      { a: 1, b: 'y' },
      { a: 2, b: null },
    ]);
  });
});

describe('rows of a file', () => {
  test('are upserted by their key in every format: what is not given is kept, the last of a key counts', async () => {
    const ROWS = 9000;
    await db.exec("CREATE TABLE t (a int PRIMARY KEY, b text, kept text DEFAULT 'new')");
    await db.exec('CREATE TABLE source (a int, b text)');
    await db.exec("INSERT INTO t VALUES (1, 'old', 'mine'), (8999, 'old', 'mine too')");
    const path = '/v1/tables/t/rows?mode=upsert';
    for (const [format, type] of [
      ['csv', 'text/csv'],
      ['ndjson', 'application/x-ndjson'],
      ['parquet', 'application/vnd.apache.parquet'],
      ['arrow', 'application/vnd.apache.arrow.stream'],
    ] as const) {
      await db.exec('TRUNCATE source');
      await db.exec(
        `INSERT INTO source SELECT i, '${format}' FROM generate_series(0, ${ROWS - 1}) AS i UNION ALL SELECT 1, 'last ${format}'`,
      );
      const parts: Buffer[] = [];
      const target = new Writable({
        write: (part: Buffer, _encoding, done) => {
          parts.push(Buffer.from(part));
          done();
        },
      });
      await db.export('source', target, { format });
      const answer = await fetch(`${url}${path}`, {
        method: 'POST',
        headers: { 'content-type': type },
        body: Buffer.concat(parts),
      });
      expect(await answer.json(), format).toMatchObject({ rows: ROWS + 1 });
      expect(
        (await db.query("SELECT a, b, kept FROM t WHERE kept <> 'new' OR a = 5000 ORDER BY a"))
          .rows,
        format,
      ).toEqual([
        { a: 1, b: `last ${format}`, kept: 'mine' },
        { a: 5000, b: format, kept: 'new' },
        { a: 8999, b: format, kept: 'mine too' },
      ]);
      expect((await db.query('SELECT count(*) AS n FROM t')).rows, format).toEqual([{ n: ROWS }]);
    }
    await db.exec('CREATE TABLE keyless (a int)');
    const refused = await post('/v1/tables/keyless/rows?mode=upsert', 'a\n1\n', {
      'content-type': 'text/csv',
    });
    expect(await problem(refused)).toMatchObject({ code: '42P10' });
    await expect(
      db.load('unmade', new TextEncoder().encode('a\n1\n'), { create: true, mode: 'upsert' }),
    ).rejects.toMatchObject({ code: '42P10' });
    await expect(db.query('SELECT * FROM unmade')).rejects.toMatchObject({ code: '42P01' });
  });
});

describe('HTTP itself', () => {
  test('HEAD is GET without a body, and a stream has none', async () => {
    const head = await fetch(`${url}/v1/tables`, { method: 'HEAD' });
    expect([head.status, await head.text()]).toEqual([200, '']);
    await db.exec('CREATE TABLE t (a int)');
    expect((await fetch(`${url}/v1/live?views=t`, { method: 'HEAD' })).status).toBe(405);
    const options = await fetch(`${url}/v1/query`, { method: 'OPTIONS' });
    expect(options.headers.get('allow')).toContain('POST');
  });

  test('pages of this machine may ask from anywhere on it, others neither read nor write', async () => {
    const local = 'http://localhost:5173';
    const preflight = await fetch(`${url}/v1/query`, {
      method: 'OPTIONS',
      headers: { origin: local, 'access-control-request-method': 'POST' },
    });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get('access-control-allow-origin')).toBe(local);
    expect(preflight.headers.get('access-control-allow-headers')).toContain('content-type');
    const read = await get('/v1/tables', { origin: local });
    expect(read.headers.get('access-control-allow-origin')).toBe(local);
    const foreign = { origin: 'https://evil.example' };
    expect(
      (await get('/v1/tables', foreign)).headers.get('access-control-allow-origin'),
    ).toBeNull();
    expect(await problem(await post('/v1/exec', { sql: 'SELECT 1' }, foreign))).toMatchObject({
      httpStatus: 403,
      code: '42501',
      field: 'origin',
    });
    expect((await fetch(`${url}/v1/exec`, { method: 'OPTIONS', headers: foreign })).status).toBe(
      403,
    );
  });

  test('a name that is not of this machine is refused: a website that points its name here reads nothing', async () => {
    const { port } = app.server.address() as AddressInfo;
    const ask = async (host: string): Promise<number> => {
      const call = request({ host: '127.0.0.1', port, path: '/v1/tables', headers: { host } });
      call.end();
      const [answer] = (await once(call, 'response')) as [IncomingMessage];
      answer.resume();
      return answer.statusCode!;
    };
    expect(await ask('evil.example')).toBe(421);
    expect(await ask(`localhost:${port}`)).toBe(200);
    expect(await ask(`[::1]:${port}`)).toBe(200);
    expect(await ask('db.test')).toBe(200);
  });

  test('bodies that cannot be read are refused before anything happens', async () => {
    await db.exec('CREATE TABLE t (a int)');
    const gzip = await post('/v1/tables/t/rows', '[]', { 'content-encoding': 'gzip' });
    expect(await problem(gzip)).toMatchObject({ httpStatus: 415, field: 'content-encoding' });
    const form = await fetch(`${url}/v1/query`, {
      method: 'POST',
      body: new URLSearchParams('a=1'),
    });
    expect(await problem(form)).toMatchObject({
      httpStatus: 415,
      hint: expect.stringContaining('curl'),
    });
    for (const body of ['', '{"a"', 'null', '3'])
      expect(await problem(await post('/v1/tables/t/rows', body)), body).toMatchObject({
        httpStatus: 400,
        code: '22023',
      });
    const wrong = [
      [{ sql: 'SELECT 1', atLeast: -1 }, 'atLeast'],
      [{ sql: 'SELECT 1', asOf: 1.5 }, 'asOf'],
      [{ sql: 'SELECT 1', timeoutMs: 'x' }, 'timeoutMs'],
      [{ sql: 'SELECT 1', maxWork: 0 }, 'maxWork'],
      [{ sql: 'SELECT 1', priority: 'high' }, 'priority'],
      [{ sql: 'SELECT 1', label: 7 }, 'label'],
      [{ sql: 'SELECT 1', values: { int8: 'text' } }, 'values.int8'],
      [{ sql: 'SELECT 1', values: { nt8: 'number' } }, 'nt8'],
      [{ sql: 'SELECT 1', parms: [] }, 'parms'],
    ] as const;
    for (const [body, field] of wrong)
      expect(await problem(await post('/v1/query', body)), field).toMatchObject({
        httpStatus: 400,
        code: '22023',
        field,
      });
    const items = [
      [{}, 'items'],
      [{ items: [] }, undefined],
      [{ items: { a: 1 } }, 'items.a'],
      [{ items: { a: {} } }, 'items.a'],
      [{ items: { a: { view: 't', params: 1 } } }, 'items.a.params'],
      [{ items: { a: { view: 't', maxRate: -1 } } }, 'items.a.maxRate'],
    ] as const;
    for (const [body, field] of items)
      expect(await problem(await post('/v1/live', body)), JSON.stringify(body)).toMatchObject({
        httpStatus: 400,
        code: '22023',
        ...(field === undefined ? {} : { field }),
      });
  });

  test('a port that is taken is said so, or the next free one is used', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    const options = {
      database: db,
      clock: nodePorts().clock,
      logger: undefined,
      page: undefined,
      demo: undefined,
      ready: () => true,
    };
    await expect(
      listenHttp(createApp(options), parseAddress(port), { authenticated: false, nextFree: false }),
    ).rejects.toMatchObject({
      code: '58000',
      message: `port ${port} is in use`,
      hint: expect.stringContaining('--http'),
    });
    const other = createApp(options);
    const at = await listenHttp(other, parseAddress(port), {
      authenticated: false,
      nextFree: true,
    });
    expect(Number(new URL(at).port)).toBeGreaterThan(port);
    expect((await fetch(`${at}/healthz`)).status).toBe(200);
    await other.close();
    taken.close();
  });
});

async function eventually(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let each = 0; each < 500; each += 1) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error('it did not come to hold');
}

describe('what is no request', () => {
  const answerTo = async (
    text: string,
  ): Promise<{ status: string; type: string; body: Record<string, unknown> }> => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    const pieces: Buffer[] = [];
    socket.on('data', (piece: Buffer) => pieces.push(piece)).on('error', () => undefined);
    socket.write(text);
    await once(socket, 'close');
    const [head, body] = Buffer.concat(pieces).toString().split('\r\n\r\n');
    return {
      status: head!.split(' ')[1]!,
      type: /^content-type: (.*)$/im.exec(head!)![1]!.trim(),
      body: JSON.parse(body!) as Record<string, unknown>,
    };
  };
  const host = 'Host: 127.0.0.1\r\n';

  test.each([
    ['no first line', 'hello\r\n\r\n', '400', '22023'],
    [
      'another length',
      `POST /v1/query HTTP/1.1\r\n${host}Content-Length: -5\r\n\r\n`,
      '400',
      '22023',
    ],
    [
      'a long address',
      `GET /v1/query?sql=${'x'.repeat(40_000)} HTTP/1.1\r\n${host}\r\n`,
      '431',
      '54000',
    ],
    [
      'an address that is none',
      `GET /v1/tables/%zz HTTP/1.1\r\n${host}Connection: close\r\n\r\n`,
      '400',
      '22023',
    ],
  ])('%s is answered as any error is', async (_, text, status, code) => {
    const told = await answerTo(text);
    expect([told.status, told.type.split(';')[0]]).toEqual([status, 'application/problem+json']);
    expect(told.body).toMatchObject({ status: Number(status), code, retryable: false });
    expect(told.body['hint']).toMatch(/./);
  });
});

test('an item of a stream that says two things is refused, and not followed by one of them', async () => {
  await post('/v1/exec', { sql: 'CREATE TABLE t (id int PRIMARY KEY)' });
  const answer = await post('/v1/live', { items: { a: { view: 't', sql: 'SELECT 1' } } });
  expect([answer.status, await answer.json()]).toMatchObject([
    400,
    { code: '22023', field: 'items.a.sql' },
  ]);
});

test('a long run of digits is found wherever it stands, as the regular expression for it finds it', () => {
  const piece = fc.oneof(
    fc.constantFrom('1', '0', '.', '..', '9'.repeat(7), '.'.repeat(20), ' ', 'a', '"', 'é', '-'),
    fc.nat({ max: 999_999_999 }).map(String),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
      const text = pieces.join('');
      expect(hasLongNumber(text), text).toBe(/\d[\d.]{15}/.test(text));
    }),
    { numRuns: 2000 },
  );
});
