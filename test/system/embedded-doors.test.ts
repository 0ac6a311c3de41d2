import { createServer, type IncomingMessage, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { DbError, open, type Database } from '../../src/index.ts';

let db: Database;
let own: HttpServer | undefined;
afterEach(async () => {
  await db?.close();
  await new Promise((resolve) => (own === undefined ? resolve(undefined) : own.close(resolve)));
  own = undefined;
});

async function serve(
  answer: (
    request: IncomingMessage,
    response: Parameters<ReturnType<Database['handler']>>[1],
  ) => void,
): Promise<string> {
  own = createServer(answer);
  await new Promise<void>((resolve) => own!.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(own!.address() as AddressInfo).port}`;
}

const post = (
  url: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Response> =>
  fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });

test('listen serves the REST door of this database until it is closed', async () => {
  db = await open();
  await db.exec('CREATE TABLE t (a int)');
  await using server = await db.listen({ http: 0 });
  expect(server.http).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
  await db.insert('t', { a: 7 });
  const answer = await post(`${server.http}/v1/query`, { sql: 'SELECT a FROM t' });
  expect([answer.status, ((await answer.json()) as { rows: unknown }).rows]).toEqual([
    200,
    [{ a: 7 }],
  ]);
  await server.close();
  await expect(fetch(`${server.http}/healthz`)).rejects.toThrow();
  for (const [options, code] of [
    [{ http: 'nowhere' }, '22023'],
    [{ http: '0.0.0.0:0' }, '28000'],
    [{ http: 0, pg: 5433 }, '0A000'],
    [{ http: 0, https: true }, '22023'],
    [{}, '22023'],
    [undefined, '22023'],
  ] as const)
    await expect(db.listen(options as never)).rejects.toMatchObject({ code });
});

test('closing the database closes what it listens to', async () => {
  db = await open();
  const server = await db.listen({ http: 0 });
  await db.close();
  await expect(fetch(`${server.http}/healthz`)).rejects.toThrow();
  await server.close();
});

test('a handler answers inside a server of one’s own, as whoever that says', async () => {
  db = await open();
  const handler = db.handler({
    prefix: '/adb',
    as: async ({ headers }) => {
      if (headers.authorization === undefined) return undefined;
      if (headers.authorization === 'banned') throw new DbError('42501', 'you may not');
      return { tenant: headers.authorization, user: 'ann' };
    },
  });
  const url = await serve((request, response) => {
    if (request.url!.startsWith('/adb/')) handler(request, response);
    else response.end('mine');
  });
  expect(await (await fetch(url)).text()).toBe('mine');
  const ask = async (sql: string, authorization?: string): Promise<[number, unknown]> => {
    const answer = await post(
      `${url}/adb/v1/exec`,
      { sql },
      // What a client claims counts for nothing here.
      { 'x-tenant': 'main', ...(authorization === undefined ? {} : { authorization }) },
    );
    const { code, rows } = (await answer.json()) as { code?: string; rows?: unknown };
    return [answer.status, code ?? rows];
  };
  await db.exec('CREATE TABLE secret (a int)');
  expect(await ask('CREATE TABLE t (a int)', 'acme')).toEqual([200, 0]);
  expect(await ask('INSERT INTO t VALUES (1), (2)', 'acme')).toEqual([200, 2]);
  expect(await ask('INSERT INTO secret VALUES (1)', 'acme')).toEqual([404, '42P01']);
  expect(await ask('SELECT 1')).toEqual([401, '28000']);
  expect(await ask('SELECT 1', 'banned')).toEqual([403, '42501']);
  expect((await db.as({ tenant: 'acme' }).query('SELECT sum(a) AS s FROM t')).rows).toEqual([
    { s: 3 },
  ]);
  expect((await fetch(`${url}/adb/metrics`, { headers: { authorization: 'acme' } })).status).toBe(
    404,
  );
});

test('a handler takes bodies that were parsed before it, and a host of any name', async () => {
  db = await open();
  const handler = db.handler();
  const url = await serve((request, response) => {
    // As Express does it: the mount path cut off, the body read by express.json().
    void (async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const parsed = Object.assign(request, {
        body: JSON.parse(Buffer.concat(chunks).toString()) as unknown,
        url: request.url!.replace('/adb', ''),
      });
      parsed.headers.host = 'dashboards.example.com';
      handler(parsed, response);
    })();
  });
  const answer = await post(`${url}/adb/v1/query`, {
    sql: "SELECT $1::text || 'é' AS t",
    params: ['x'],
  });
  const told = (await answer.json()) as { rows?: unknown };
  expect(told).toMatchObject({ rows: [{ t: 'xé' }] });
});

test('what goes wrong in "as" is told to the server it is in', async () => {
  db = await open();
  const mine = new Error('mine');
  const handler = db.handler({
    as: () => {
      throw mine;
    },
  });
  let told: unknown;
  const url = await serve((request, response) =>
    handler(request, response, (cause) => {
      told = cause;
      response.statusCode = 418;
      response.end();
    }),
  );
  expect((await fetch(`${url}/v1/tables`)).status).toBe(418);
  expect(told).toBe(mine);
  expect(() => db.handler({ as: 'acme' as never })).toThrow(DbError);
});

test('bytes are base64 in JSON, both ways', async () => {
  db = await open();
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, raw bytea)');
  await using server = await db.listen({ http: 0 });
  const rows = [
    { id: 1, raw: 'AAH/' },
    { id: 2, raw: '\\x00ff' },
    { id: 3, raw: '' },
  ];
  expect((await post(`${server.http}/v1/tables/t/rows`, rows)).status).toBe(200);
  const answer = await post(`${server.http}/v1/query`, {
    sql: 'SELECT id, raw FROM t WHERE raw IN ($1::bytea, $2::bytea, $3::bytea) ORDER BY id',
    params: ['AAH/', 'AP8=', ''],
  });
  expect(await answer.json()).toMatchObject({
    rows: [
      { id: 1, raw: 'AAH/' },
      { id: 2, raw: 'AP8=' },
      { id: 3, raw: '' },
    ],
  });
  expect((await db.query('SELECT raw FROM t WHERE id = 1')).rows).toEqual([
    { raw: Uint8Array.of(0, 1, 255) },
  ]);
  const wrong = await post(`${server.http}/v1/tables/t/rows`, { id: 4, raw: 'no base64!' });
  expect(await wrong.json()).toMatchObject({ code: '22P02', column: 'raw' });
  // Embedded, a text is PostgreSQL's own spelling.
  await db.upsert('t', { id: 1, raw: 'AAH/' });
  expect((await db.query('SELECT raw FROM t WHERE id = 1')).rows).toEqual([
    { raw: Uint8Array.from(Buffer.from('AAH/')) },
  ]);
});
