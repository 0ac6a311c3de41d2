import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable, Writable } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DbError, open, sql, type Database } from '../../src/index.ts';

let db: Database;
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'analyticdb-'));
  db = await open();
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, name text)');
  await db.insert('t', [
    { id: 1, name: 'one' },
    { id: 2, name: null },
  ]);
});
afterEach(async () => {
  await db.close();
  await rm(folder, { recursive: true });
});

test('a table, a view or a query goes to a path by its ending, and comes back from there', async () => {
  await db.exec('CREATE VIEW v AS SELECT * FROM t');
  for (const name of [
    'a.csv',
    'a.tsv',
    'a.ndjson',
    'a.jsonl',
    'a.json',
    'a.parquet',
    'a.arrow',
    'a.arrows',
    'a.csv.gz',
    'a.json.gz',
  ]) {
    const path = join(folder, name);
    expect(await db.export('t', path)).toEqual({ rows: 2, bytes: expect.any(Number) });
    await db.exec('DROP TABLE IF EXISTS u; CREATE TABLE u (id int, name text)');
    expect(await db.load('u', path)).toMatchObject({ rows: 2, skipped: 0, errors: [] });
    expect((await db.query('SELECT * FROM u')).rows).toEqual(
      (await db.query('SELECT * FROM t')).rows,
    );
  }
  expect(gunzipSync(await readFile(join(folder, 'a.csv.gz'))).toString()).toBe(
    'id,name\r\n1,one\r\n2,\r\n',
  );
  const path = join(folder, 'q.csv');
  await db.export(sql`SELECT id FROM v WHERE id > ${1}`, path, { csv: { header: false } });
  expect(await readFile(path, 'utf8')).toBe('2\r\n');
  await db.export('v', pathToFileURL(path), { csv: { delimiter: ';', null: '-' } });
  expect(await readFile(path, 'utf8')).toBe('id;name\r\n1;one\r\n2;-\r\n');
  expect(
    await db.load('w', pathToFileURL(path), { create: true, csv: { null: '-' } }),
  ).toMatchObject({ rows: 2 });
});

test('a file appears whole or not at all, and a failure leaves the old one', async () => {
  const path = join(folder, 'x.csv');
  await writeFile(path, 'old');
  await expect(
    db.export('SELECT 1 / (20000 - x) FROM generate_series(1, 30000) AS g(x)', path),
  ).rejects.toMatchObject({ code: '22012' });
  await expect(db.export('SELECT nope FROM t', path)).rejects.toMatchObject({ code: '42703' });
  await expect(
    db.export('t', path, {
      onProgress: () => {
        throw new DbError('57014', 'enough');
      },
    }),
  ).rejects.toMatchObject({ code: '57014' });
  await expect(
    db.export('t', path, { onProgress: async () => Promise.reject(new Error('later')) }),
  ).rejects.toThrow('later');
  // Who waits for what never comes is given up all the same.
  const never = { onProgress: () => new Promise(() => undefined), timeoutMs: 20 };
  await expect(db.export('t', path, never)).rejects.toMatchObject({ code: '57014' });
  const csv = () => Readable.from([Buffer.from('id,name\n7,seven\n')]);
  await expect(
    db.load('t', csv(), { ...never, format: 'csv', atomic: true }),
  ).rejects.toMatchObject({ code: '57014' });
  const other = await open();
  await other.exec('CREATE TABLE t (id int, name text)');
  const closed = other.load('t', csv(), { onProgress: never.onProgress, format: 'csv' });
  const told = expect(closed).rejects.toMatchObject({ code: '57P01' });
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  await other.close();
  await told;
  expect([await readFile(path, 'utf8'), await readdir(folder)]).toEqual(['old', ['x.csv']]);
  await expect(db.export('t', join(folder, 'no', 'x.csv'))).rejects.toMatchObject({
    code: '58P01',
  });
  await expect(db.export('t', join(folder, 'x.xlsx'))).rejects.toMatchObject({
    code: '22023',
    field: 'format',
  });
  await expect(db.export('t', 5 as never)).rejects.toMatchObject({
    code: '22023',
    field: 'target',
  });
  await expect(db.export('t', path, { format: 'xml' as never })).rejects.toMatchObject({
    code: '22023',
    field: 'format',
  });
  await expect(db.load('t', join(folder, 'none.csv'))).rejects.toMatchObject({ code: '58P01' });
  await expect(db.load('t', 5 as never)).rejects.toMatchObject({ code: '22023', field: 'source' });
  await expect(db.load('t', path, { onError: 'ignore' as never })).rejects.toMatchObject({
    code: '22023',
    field: 'onError',
  });
  for (const [bytes, options, hint] of [
    ['', { format: 'ndjson' }, /make the table first/],
    ['[]', { format: 'json' }, /make the table first/],
    ['a,b', { format: 'csv', csv: { delimiter: '"' } }, /delimiter: ';'/],
    ['\x1f\x8bnot packed', { format: 'csv' }, /copy or pack it anew/],
  ] as const)
    await expect(
      db.load('fresh', Buffer.from(bytes, 'latin1'), { create: true, ...options }),
    ).rejects.toMatchObject({
      name: 'DbError',
      hint: expect.stringMatching(hint) as string,
    });
});

test('a Writable sets the pace, is ended unless asked not to be, and its failure ends the export', async () => {
  await db.exec(
    "CREATE TABLE big AS SELECT x, repeat('y', 100) AS y FROM generate_series(1, 20000) AS g(x)",
  );
  let waiting = 0;
  let most = 0;
  let length = 0;
  const slow = new Writable({
    highWaterMark: 1,
    write(piece: Uint8Array, _, done) {
      waiting += 1;
      most = Math.max(most, waiting);
      length += piece.length;
      setImmediate(() => {
        waiting -= 1;
        done();
      });
    },
  });
  const seen: number[] = [];
  const { rows, bytes } = await db.export('big', slow, {
    format: 'ndjson',
    onProgress: (p) => seen.push(p.rows),
  });
  expect([rows, bytes, most, slow.writableFinished]).toEqual([20_000, length, 1, true]);
  expect(seen.at(-1)).toBe(20_000);
  expect(seen.length).toBeGreaterThan(5);
  const open = new PassThrough();
  await db.export('t', open, { end: false });
  open.end('more');
  expect((await open.toArray()).join('')).toBe('id,name\r\n1,one\r\n2,\r\nmore');
  const broken = new Writable({
    write(_piece, _encoding, done) {
      done(new Error('the disk is gone'));
    },
  });
  await expect(db.export('big', broken)).rejects.toMatchObject({
    code: '58030',
    detail: 'the disk is gone',
  });
  const gone = new PassThrough({ highWaterMark: 1 });
  setTimeout(() => gone.destroy(), 5);
  await expect(db.export('big', gone)).rejects.toMatchObject({ code: '58030' });
  // So it is with a signal: one that was aborted while a piece was handed over left the export waiting for a stream that takes no more.
  const abort = new AbortController();
  const full = new Writable({ highWaterMark: 1, write: () => abort.abort() });
  await expect(db.export('big', full, { signal: abort.signal })).rejects.toMatchObject({
    code: '57014',
    name: 'AbortError',
  });
  // Nobody hears of what has gone before: an export into it waited for ever, now and then on a busy machine.
  await expect(db.export('big', gone)).rejects.toMatchObject({ code: '58030' });
  expect(await db.queries.list()).toEqual([]);
});

test('a load takes bytes, buffers, Node and web streams, and addresses through the network port', async () => {
  const csv = 'id,name\n3,x\n';
  const sources = [
    Buffer.from(csv),
    new Uint8Array(Buffer.from(csv)).buffer,
    Readable.from([Buffer.from(csv)]),
    new Blob([csv]).stream(),
  ];
  for (const source of sources) {
    await db.exec('DELETE FROM t WHERE id = 3');
    expect(await db.load('t', source as never)).toMatchObject({ rows: 1 });
  }
  await db.close();
  const asked: string[] = [];
  db = await open({
    network: {
      fetch: async (url) => {
        asked.push(url);
        return {
          status:
            url.endsWith('.csv.gz') || url.endsWith('x=1')
              ? 200
              : url.includes('moved')
                ? 302
                : 404,
          body: Readable.from([Buffer.from(csv)]),
        };
      },
    },
  });
  expect(await db.load('t', 'https://example.com/a.csv?x=1', { create: true })).toMatchObject({
    rows: 1,
  });
  expect(await db.load('t', new URL('https://example.com/a.csv.gz'))).toMatchObject({ rows: 1 });
  expect(asked).toHaveLength(2);
  for (const name of ['none', 'moved'])
    await expect(db.load('t', `https://example.com/${name}`)).rejects.toMatchObject({
      code: '58030',
    });
});

test('a load tells how far it is, commits chunk by chunk, or all at once', async () => {
  const lines = Array.from({ length: 10_000 }, (_, id) => `${id + 10},n${id}`);
  const path = join(folder, 'many.csv');
  await writeFile(path, ['id,name', ...lines, '1,again'].join('\n'));
  const before = db.position;
  await expect(db.load('t', path, { atomic: true })).rejects.toMatchObject({ code: '23505' });
  expect((await db.query('SELECT count(*) AS n FROM t')).rows).toEqual([{ n: 2 }]);
  await expect(db.load('t', path)).rejects.toMatchObject({ code: '23505' });
  expect(db.position).toBeGreaterThan(before + 1);
  await db.exec('TRUNCATE t');
  const told: { rows: number; bytes: number; bytesTotal: number | undefined }[] = [];
  const { rows, position } = await db.load('t', path, {
    onProgress: (progress) => told.push(progress),
  });
  expect([rows, position]).toEqual([10_001, db.position]);
  expect(told.at(-1)).toMatchObject({ rows: 10_001, skipped: 0, bytes: told[0]!.bytesTotal });
  await db.exec('TRUNCATE t');
  const start = db.position;
  await db.load('t', path, { atomic: true });
  expect(db.position).toBe(start + 1);
});

test('create makes a table only for a file that can be read, with types as asked', async () => {
  await expect(db.load('made', Buffer.from('a,b\n1,"x\n'), { create: true })).rejects.toMatchObject(
    { code: '22P04' },
  );
  await expect(db.query('SELECT * FROM made')).rejects.toMatchObject({ code: '42P01' });
  await db.load('made', Buffer.from('a,b,c\n1,2,3\n'), {
    create: true,
    types: { a: 'numeric(6,2)', b: 'text' },
  });
  const { rows, columns } = await db.query('SELECT * FROM made');
  expect(rows).toEqual([{ a: '1.00', b: '2', c: 3 }]);
  expect(columns.map(({ type }) => type)).toEqual(['numeric(6,2)', 'text', 'bigint']);
  await db.load('made', Buffer.from('a,b,c\n4,5,6\n'), { create: true });
  expect((await db.query('SELECT count(*) AS n FROM made')).rows).toEqual([{ n: 2 }]);
  await expect(db.load('nope', Buffer.from('a\n1\n'))).rejects.toMatchObject({ code: '42P01' });
  await expect(
    db.load('x', Buffer.from('a\n1\n'), { create: true, types: { a: 'intt' } }),
  ).rejects.toMatchObject({ code: '42704' });
  await db.load('header_only', Buffer.from('a,b\n'), { create: true });
  expect((await db.query('SELECT * FROM header_only')).columns.map(({ name }) => name)).toEqual([
    'a',
    'b',
  ]);
});

test('inside a transaction a load is part of it, and a stream of it may be written while it is read', async () => {
  await db.transaction(async (tx) => {
    await tx.insert(
      't',
      (async function* () {
        yield [
          {
            id: 10,
            name: (
              await tx.query<{ n: number }>('SELECT count(*)::int AS n FROM t')
            ).rows[0]!.n.toString(),
          },
        ];
      })(),
    );
  });
  expect((await db.query('SELECT name FROM t WHERE id = 10')).rows).toEqual([{ name: '2' }]);
  await using session = db.session();
  await session.exec('BEGIN');
  await session.load('t', Buffer.from('id,name\n20,x\n21,y\n'));
  for await (const batch of session.stream<{ id: number }>('SELECT id FROM t'))
    await session.upsert(
      't',
      batch.rows.map(({ id }) => ({ id, name: `was ${id}` })),
    );
  expect((await db.query('SELECT count(*) AS n FROM t WHERE id > 10')).rows).toEqual([{ n: 0 }]);
  await session.exec('COMMIT');
  expect((await db.query('SELECT name FROM t WHERE id >= 20 ORDER BY id')).rows).toEqual([
    { name: 'was 20' },
    { name: 'was 21' },
  ]);
});
