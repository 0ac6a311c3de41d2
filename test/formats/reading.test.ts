import { gzipSync } from 'node:zlib';
import { tableFromArrays, tableFromIPC, tableToIPC } from '@uwdata/flechette';
import fc from 'fast-check';
import { afterEach, expect, test } from 'vitest';
import { DbError, type Database, type LoadOptions } from '../../src/index.ts';
import { open } from '../../src/open.ts';
import { PACKED_FEATHER } from './feather-files.ts';

let db: Database;
afterEach(() => db?.close());

/** In pieces of `size` bytes. */
async function* pieces(bytes: Uint8Array, size = 7): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** The rows of a table made from a file, and the types of its columns. */
async function made(
  content: string | Uint8Array,
  options: LoadOptions = {},
): Promise<{ rows: unknown[]; types: string[] }> {
  db = await open({ workers: 0 });
  const bytes = typeof content === 'string' ? Buffer.from(content) : content;
  await db.load('t', pieces(bytes), { create: true, ...options });
  const { rows, columns } = await db.query('SELECT * FROM t');
  return { rows, types: columns.map(({ name, type }) => `${name} ${type}`) };
}

async function refused(content: string | Uint8Array, options: LoadOptions = {}): Promise<DbError> {
  const failure = await made(content, options).catch((cause: unknown) => cause);
  expect(failure).toBeInstanceOf(DbError);
  return failure as DbError;
}

test('types of a CSV file are the narrowest that take every value', async () => {
  const { types, rows } = await made(
    [
      'id,code,price,big,ok,day,at,seen,clock,note',
      '1,007,1.5,12345678901234567890,true,2026-01-31,2026-01-31 10:00:00,2026-01-31T10:00:00Z,10:00:00,a',
      '-2,010,3,1,false,2026-02-01,2026-02-01 00:00,2026-02-01 10:00:00+02,23:59:59.5,',
    ].join('\n'),
  );
  expect(types).toEqual([
    'id bigint',
    'code text',
    'price double precision',
    'big numeric',
    'ok boolean',
    'day date',
    'at timestamp without time zone',
    'seen timestamp with time zone',
    'clock time without time zone',
    'note text',
  ]);
  expect(rows[1]).toEqual({
    id: -2,
    code: '010',
    price: 3,
    big: '1',
    ok: false,
    day: '2026-02-01',
    at: '2026-02-01T00:00:00',
    seen: '2026-02-01T08:00:00Z',
    clock: '23:59:59.5',
    note: null,
  });
});

test('delimiter and header are found out, and can be said', async () => {
  expect(await made('a;b\n1;"x;y"\n')).toEqual({
    rows: [{ a: 1, b: 'x;y' }],
    types: ['a bigint', 'b text'],
  });
  expect((await made('a\tb\n1,5\t2\n')).rows).toEqual([{ a: '1,5', b: 2 }]);
  expect((await made('1,x\n2,y\n')).rows).toEqual([
    { column0: 1, column1: 'x' },
    { column0: 2, column1: 'y' },
  ]);
  expect((await made('1,x\n2,y\n', { csv: { header: true } })).rows).toEqual([{ '1': 2, x: 'y' }]);
  expect(
    (await made('a|b,c|d\nNULL|2,3|4\n', { csv: { delimiter: ',', null: 'NULL|2' } })).rows,
  ).toEqual([{ 'a|b': null, 'c|d': '3|4' }]);
  expect((await made("'a,1','b'\n'it''s',2\n", { csv: { quote: "'" } })).rows).toEqual([
    { 'a,1': "it's", b: 2 },
  ]);
});

test('a byte order mark, CR LF, empty lines and a last line without its end are no rows', async () => {
  const { rows } = await made('\uFEFFa,b\r\n1,"two\r\nlines"\r\n\r\n3,\r\n4,""');
  expect(rows).toEqual([
    { a: 1, b: 'two\r\nlines' },
    { a: 3, b: null },
    { a: 4, b: '' },
  ]);
});

test('in a file of one column an empty line is NULL', async () => {
  expect((await made('a\n1\n\n2\n')).rows).toEqual([{ a: 1 }, { a: null }, { a: 2 }]);
});

test('CSV that is cut anywhere reads as it does whole', async () => {
  db = await open({ workers: 0 });
  const field = fc.oneof(
    fc.string({ unit: 'grapheme', maxLength: 6 }),
    fc.constantFrom('"', ',', '\r\n', '\n', '€', '😀', ' ', '""'),
  );
  const clean = field.filter((text) => text.isWellFormed() && !text.includes('\0'));
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(clean, clean), { minLength: 1, maxLength: 20 }),
      fc.integer({ min: 1, max: 40 }),
      fc.constantFrom('\n', '\r\n'),
      async (rows, size, end) => {
        await db.exec('DROP TABLE IF EXISTS t; CREATE TABLE t (a text, b text)');
        const quote = (text: string): string => `"${text.replaceAll('"', '""')}"`;
        const lines = [['a', 'b'], ...rows].map((row) => row.map(quote).join(',')).join(end);
        await db.load('t', pieces(Buffer.from(lines), size), { format: 'csv' });
        expect((await db.query('SELECT * FROM t')).rows).toEqual(rows.map(([a, b]) => ({ a, b })));
      },
    ),
    { numRuns: 60 },
  );
});

test('a line that cannot be read is an error with its number, or is skipped and counted', async () => {
  const content = ['id,n', '1,1', '2,x', '3', '4,4,4', '5,"a"b', '6,6', '7,\xff'].join('\n');
  const bytes = Buffer.from(content, 'latin1');
  db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int, n int)');
  const failure = await db.load('t', bytes).catch((cause: unknown) => cause);
  expect(failure).toMatchObject({ code: '22P02', column: 'n' });
  expect((failure as DbError).message).toMatch(/^line 3: /);
  const loaded = await db.load('t', bytes, { onError: 'skip' });
  expect(loaded).toMatchObject({ rows: 2, skipped: 5 });
  expect(loaded.errors.map(({ line }) => line).sort()).toEqual([3, 4, 5, 6, 8]);
  expect((await db.query('SELECT * FROM t')).rows).toEqual([
    { id: 1, n: 1 },
    { id: 6, n: 6 },
  ]);
});

test('a line is counted in lines of the file, not in rows', async () => {
  expect((await refused('a,b\n1,"x\ny\nz"\n2,x\nz,1\n', { types: { a: 'int' } })).message).toMatch(
    /^line 6: /,
  );
});

test('columns are found by name whatever their order and case, and others are refused', async () => {
  db = await open({ workers: 0 });
  await db.exec("CREATE TABLE t (id int PRIMARY KEY, name text, kind text DEFAULT 'new')");
  await db.load('t', Buffer.from('Name,ID\nx,1\n'));
  await db.load('t', Buffer.from('2,y\n'));
  await db.load('t', Buffer.from('{"id": 3}\n{"id": 4, "kind": null}\n'));
  expect((await db.query('SELECT * FROM t ORDER BY id')).rows).toEqual([
    { id: 1, name: 'x', kind: 'new' },
    { id: 2, name: 'y', kind: 'new' },
    { id: 3, name: null, kind: 'new' },
    { id: 4, name: null, kind: null },
  ]);
  const load = (text: string): Promise<unknown> =>
    db.load('t', Buffer.from(text)).catch((cause: unknown) => cause);
  expect(await load('id,nope\n5,1\n')).toMatchObject({ code: '42703', column: 'nope' });
  expect(await load('{"id": 5, "nope": 1}')).toMatchObject({ code: '42703' });
  expect(await load('id,id\n5,6\n')).toMatchObject({ code: '42701' });
  expect(await load('id,name\n1,again\n')).toMatchObject({ code: '23505' });
});

test('JSON keeps the digits of its numbers, and knows instants, bytes and nested values', async () => {
  db = await open({ workers: 0 });
  await db.exec(
    'CREATE TABLE t (i bigint, n numeric, f double precision, at timestamptz, raw bytea, nested text, s text)',
  );
  const row =
    '{"i": 9007199254740993, "n": 0.10, "f": 1e-7, "at": 1500, "raw": "AAH/", "nested": {"a": [1,"}"]}, "s": "\\u00e9\\ud83d\\ude00\\n\\"\\/"}';
  for (const [content, format] of [
    [`${row}\n`, 'ndjson'],
    [`[${row}]`, 'json'],
    [` [\n${row}\n] `, undefined],
    [row.replaceAll(', "', ',\n "'), 'json'],
  ] as const) {
    await db.exec('TRUNCATE t');
    await db.load('t', pieces(Buffer.from(content), 3), { format });
    expect((await db.query('SELECT * FROM t', { values: { int8: 'string' } })).rows).toEqual([
      {
        i: '9007199254740993',
        n: '0.10',
        f: 1e-7,
        at: '1970-01-01T00:00:01.5Z',
        raw: Uint8Array.of(0, 1, 255),
        nested: '{"a": [1,"}"]}',
        s: 'é😀\n"/',
      },
    ]);
  }
});

test('types of NDJSON come from what JSON says', async () => {
  const { types, rows } = await made(
    '{"a": 1, "b": "1", "c": true, "d": "2026-01-01", "e": 1.5}\n{"a": null, "f": [1]}\n',
    { format: 'ndjson' },
  );
  expect(types).toEqual([
    'a bigint',
    'b text',
    'c boolean',
    'd date',
    'e double precision',
    'f text',
  ]);
  expect(rows[1]).toEqual({ a: null, b: null, c: null, d: null, e: null, f: '[1]' });
});

test('JSON that is not well-formed is refused where it is', async () => {
  const bad: [string, LoadOptions['format'], string, RegExp][] = [
    ['{"a": 1}\n{"a": 01}\n', 'ndjson', '22P02', /^line 2: /],
    ['{"a": 1}\n[1]\n', 'ndjson', '22P02', /^line 2: .*not a JSON object/],
    ['{"a": 1}\n{"a": "x', 'ndjson', '22P02', /^line 2: /],
    ['{"a": "\\ud800"}\n', 'ndjson', '22021', /^line 1: /],
    ['{"a": "\\u0000"}\n', 'ndjson', '22021', /^line 1: /],
    ['{"a": {"b": }}\n', 'ndjson', '22P02', /^line 1: /],
    ['[{"a": 1}\n {"a": 2}]', 'json', '22P02', /^line 2: a comma/],
    ['[{"a": 1},\n 2]', 'json', '22P02', /^line 2: /],
    ['[{"a": 1}', 'json', '22P02', /ends in the middle/],
    ['[{"a": 1}] x', 'json', '22P02', /something follows/],
    ['"text"', 'json', '22P02', /not an array/],
  ];
  for (const [content, format, code, message] of bad) {
    const failure = await refused(content, { format, types: { a: 'text' } });
    expect([content, failure.code, failure.message]).toEqual([
      content,
      code,
      expect.stringMatching(message),
    ]);
  }
});

test('a damaged Arrow or Parquet file is refused with 22P04 or 0A000 and never breaks anything', async () => {
  db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (a int, b text, c numeric(8,2), d timestamp)');
  await db.exec(
    "INSERT INTO t SELECT x, 'text ' || x % 7, x * 1.5, '2026-01-01' FROM generate_series(1, 300) AS g(x)",
  );
  for (const format of ['arrow', 'parquet'] as const) {
    const whole: Uint8Array[] = [];
    for await (const chunk of db.stream('SELECT * FROM t', { format })) whole.push(chunk);
    const bytes = Buffer.concat(whole);
    await db.exec('CREATE TABLE u (a int, b text, c numeric(8,2), d timestamp)');
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat({ max: bytes.length - 1 }), fc.integer({ min: 0, max: 255 })), {
          minLength: 1,
          maxLength: 4,
        }),
        fc.integer({ min: 0, max: bytes.length }),
        fc.boolean(),
        async (changes, length, isCut) => {
          const damaged = Uint8Array.from(bytes);
          for (const [at, byte] of changes) damaged[at] = byte;
          const failure: unknown = await db
            .load('u', isCut ? damaged.subarray(0, length) : damaged, { format })
            .catch((cause: unknown) => cause);
          if (failure instanceof Error && !(failure instanceof DbError)) throw failure;
        },
      ),
      { numRuns: Number(process.env['RUNS'] ?? 150) },
    );
    await db.exec('DROP TABLE u');
  }
});

test('the Arrow that is written is read by another implementation, and the other way round', async () => {
  db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (i int, s text, f double precision, d date, n numeric(9,2))');
  await db.insert('t', [
    { i: 1, s: 'a', f: 0.5, d: '2026-01-02', n: '1.50' },
    { i: null, s: null, f: null, d: null, n: null },
    { i: -3, s: 'é€😀', f: -0, d: '1969-12-31', n: '-0.01' },
  ]);
  const result = await db.query('SELECT * FROM t');
  const table = tableFromIPC(result.toArrow(), { useDate: true });
  expect(table.toArray()).toEqual([
    { i: 1, s: 'a', f: 0.5, d: new Date('2026-01-02'), n: 1.5 },
    { i: null, s: null, f: null, d: null, n: null },
    { i: -3, s: 'é€😀', f: -0, d: new Date('1969-12-31'), n: -0.01 },
  ]);
  // Texts come from there as a dictionary.
  const theirs = tableFromArrays({
    i: [1, null, 3],
    s: ['x', 'y', 'x'],
    f: Float64Array.of(1, 2, 3),
    at: [new Date(0), new Date(1500), null],
  });
  for (const format of ['stream', 'file'] as const) {
    await db.exec('DROP TABLE IF EXISTS u');
    await db.load('u', pieces(tableToIPC(theirs, { format })!, 11), { create: true });
    expect((await db.query('SELECT i, s, f, at::timestamp AS at FROM u')).rows).toEqual([
      { i: 1, s: 'x', f: 1, at: '1970-01-01T00:00:00' },
      { i: null, s: 'y', f: 2, at: '1970-01-01T00:00:01.5' },
      { i: 3, s: 'x', f: 3, at: null },
    ]);
  }
});

test('Feather files that are packed with LZ4 or ZSTD are unpacked', async () => {
  for (const file of Object.values(PACKED_FEATHER)) {
    const { rows } = await made(Buffer.from(file, 'base64'));
    expect(rows).toEqual(
      Array.from({ length: 64 }, (_, a) => ({
        a,
        s: `value ${a % 3}`,
        v: `a longer view number ${Math.floor(a / 8)}`,
      })),
    );
    await db.close();
  }
});

test('columns of files of other types are converted to those of the table, or refused', async () => {
  db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (a bigint, b double precision, c text)');
  await db.insert('t', { a: [1, 40_000], b: [1.5, 2], c: ['2026-01-01', 'x'] });
  const bytes: Uint8Array[] = [];
  for await (const chunk of db.stream('SELECT * FROM t', { format: 'parquet' })) bytes.push(chunk);
  const file = Buffer.concat(bytes);
  const into = async (definition: string): Promise<unknown> => {
    await db.exec(`DROP TABLE IF EXISTS u; CREATE TABLE u (${definition})`);
    const failure = await db.load('u', file).catch((cause: unknown) => cause as DbError);
    return failure instanceof DbError
      ? `${failure.code} ${failure.column}`
      : (await db.query('SELECT * FROM u')).rows;
  };
  expect(await into('a int, b real, c varchar(10)')).toEqual([
    { a: 1, b: 1.5, c: '2026-01-01' },
    { a: 40_000, b: 2, c: 'x' },
  ]);
  expect(await into('a smallint, b real, c text')).toBe('22003 a');
  expect(await into('a int, b int, c text')).toBe('22P02 b');
  expect(await into('a int, b real, c date')).toBe('22007 c');
  expect(await into('a uuid, b int, c text')).toBe('42804 a');
});

test('an instant is rounded to the precision of its column', async () => {
  db = await open();
  await db.exec('CREATE TABLE u (a timestamptz(0), b timestamp(1))');
  await db.load('u', Buffer.from('a,b\n2026-01-01 10:00:00.7Z,2026-01-01 10:00:00.77\n'));
  expect((await db.query('SELECT a::text, b::text FROM u')).rows).toEqual([
    { a: '2026-01-01 10:00:01+00', b: '2026-01-01 10:00:00.8' },
  ]);
});

test('gzip is unpacked, and damaged gzip is told', async () => {
  const packed = gzipSync('a,b\n1,x\n');
  expect((await made(packed)).rows).toEqual([{ a: 1, b: 'x' }]);
  expect((await refused(packed.subarray(0, 20))).code).toBe('22P04');
});

test('a file is pulled as it is written: what is read ahead does not grow with it', async () => {
  db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int, note text)');
  const piece = Buffer.from(`1,${'x'.repeat(100)}\n`.repeat(500));
  const rowBytes = piece.length / 500;
  for (const format of ['csv', 'ndjson'] as const) {
    let pulled = 0;
    let written = 0;
    let ahead = 0;
    async function* source(): AsyncGenerator<Uint8Array> {
      for (let count = 0; count < 200; count += 1) {
        pulled += piece.length;
        ahead = Math.max(ahead, pulled - written);
        yield format === 'csv'
          ? piece
          : Buffer.from(`{"id":1,"note":"${'x'.repeat(rowBytes - 21)}"}\n`.repeat(500));
      }
    }
    const { rows } = await db.load('t', source(), {
      format,
      csv: { header: false },
      onProgress: (progress) => (written = progress.rows * rowBytes),
    });
    expect(rows).toBe(100_000);
    // Ten megabytes: one is looked at for delimiter and types, a quarter is cut at a time.
    expect([format, ahead < 2_000_000]).toEqual([format, true]);
  }
});
