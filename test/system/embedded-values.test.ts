import { afterEach, beforeEach, expect, test } from 'vitest';
import { DbError, open, type Database, type ValueOptions } from '../../src/index.ts';

/** The table "Values" of docs/api.md, row by row: how types come out, and what is taken in for them. */
let db: Database;
beforeEach(async () => {
  db = await open();
});
afterEach(() => db.close());

async function out(expression: string, values?: ValueOptions): Promise<unknown> {
  const { rows } = await db.query(
    `SELECT ${expression} AS x`,
    values === undefined ? {} : { values },
  );
  return rows[0]!['x'];
}

/** What a column of a type shows after a value was inserted; the SQLSTATE where it is refused. */
async function taken(type: string, value: unknown): Promise<unknown> {
  await db.exec(`DROP TABLE IF EXISTS t; CREATE TABLE t (x ${type})`);
  try {
    await db.insert('t', [{ x: value }]);
  } catch (cause) {
    expect(cause).toBeInstanceOf(DbError);
    expect((cause as DbError).column).toBe('x');
    expect((cause as DbError).hint).toBeTruthy();
    return (cause as DbError).code;
  }
  return (await db.query('SELECT x FROM t', { values: { int8: 'string' } })).rows[0]!['x'];
}

test('int2, int4, float4 and float8 are numbers, NaN, infinities and −0 included', async () => {
  expect(await out('7::int2')).toBe(7);
  expect(await out('(-2147483648)::int4')).toBe(-2_147_483_648);
  expect(await out("'NaN'::float8")).toBeNaN();
  expect(await out("'-Infinity'::float4")).toBe(-Infinity);
  expect(await out("'-0'::float8")).toBe(-0);
  expect(await out('0.1::float4')).toBe(Math.fround(0.1));
  for (const value of [NaN, undefined, Infinity, 1.5, {}, [], true, new Date(NaN), Symbol('x')])
    expect([value, await taken('int', value)]).toEqual([value, '22023']);
  expect(await taken('int', 2 ** 31)).toBe('22003');
  expect(await taken('int', 12n)).toBe(12);
  expect(await taken('int', '12')).toBe(12);
  expect(await taken('int', 'x')).toBe('22P02');
  expect(await taken('float8', NaN)).toBeNaN();
  expect(await taken('float8', undefined)).toBe('22023');
  expect(await taken('float4', 1e300)).toBe('22003');
});

test('int8 is a number, beyond 2^53 an error that names the option; or a bigint, or a text', async () => {
  expect(await out('count(*)')).toBe(1);
  expect(await out('9007199254740991::int8')).toBe(9_007_199_254_740_991);
  const failure = await out('9007199254740993::int8').catch((cause: unknown) => cause);
  expect(failure).toMatchObject({
    code: '22003',
    column: 'x',
    hint: expect.stringContaining("int8: 'bigint'"),
  });
  expect(await out('9007199254740993::int8', { int8: 'bigint' })).toBe(9_007_199_254_740_993n);
  expect(await out('1::int8', { int8: 'bigint' })).toBe(1n);
  expect(await out('9007199254740993::int8', { int8: 'string' })).toBe('9007199254740993');
  expect(await out('1::int8', { int8: 'string' })).toBe('1');
  expect(await taken('int8', 2n ** 62n)).toBe(String(2n ** 62n));
  expect(await taken('int8', '9223372036854775807')).toBe('9223372036854775807');
  expect(await taken('int8', 2n ** 63n)).toBe('22003');
  expect(await taken('int8', NaN)).toBe('22023');
});

test('numeric is a text that keeps its scale, or the nearest number', async () => {
  expect(await out('1.50::numeric')).toBe('1.50');
  expect(await out('sum(x)', undefined).catch(() => 'no column')).toBe('no column');
  expect(await out('(SELECT sum(x) FROM (VALUES (1::int8), (2::int8)) AS v(x))')).toBe('3');
  expect(await out('(SELECT avg(x) FROM (VALUES (1), (2)) AS v(x))')).toBe('1.5000000000000000');
  expect(await out('0.1::numeric', { numeric: 'number' })).toBe(0.1);
  expect(await out("'NaN'::numeric")).toBe('NaN');
  expect(await taken('numeric', 0.1)).toBe('0.1');
  expect(await taken('numeric', 10n ** 30n)).toBe(`1${'0'.repeat(30)}`);
  expect(await taken('numeric(4,2)', '1.005')).toBe('1.01');
  expect(await taken('numeric(4,2)', 100)).toBe('22003');
});

test('timestamptz is ISO 8601 in UTC with its microseconds, or milliseconds or a Date, downwards', async () => {
  const instant = "'2026-11-22 11:00:00.000123+01'::timestamptz";
  expect(await out(instant)).toBe('2026-11-22T10:00:00.000123Z');
  expect(await out(instant, { timestamptz: 'ms' })).toBe(Date.UTC(2026, 10, 22, 10));
  expect(await out(instant, { timestamptz: 'date' })).toEqual(new Date(Date.UTC(2026, 10, 22, 10)));
  expect(await out("'1969-12-31T23:59:59.999999Z'::timestamptz", { timestamptz: 'ms' })).toBe(-1);
  for (const value of [
    '2026-11-22T10:00:00Z',
    '2026-11-22 11:00+01',
    new Date(Date.UTC(2026, 10, 22, 10)),
    Date.UTC(2026, 10, 22, 10),
    BigInt(Date.UTC(2026, 10, 22, 10)) * 1000n,
  ])
    expect(await taken('timestamptz', value)).toBe('2026-11-22T10:00:00Z');
  expect(await taken('timestamptz', new Date(NaN))).toBe('22023');
  expect(await taken('timestamptz', NaN)).toBe('22023');
  expect(await taken('timestamptz', 'soon')).toBe('22007');
});

test('timestamp, date, time and interval are ISO texts and never a Date; what comes out goes in again', async () => {
  for (const [type, text, shown] of [
    ['timestamp', '2026-11-22 10:00', '2026-11-22T10:00:00'],
    ['date', 'Nov 22 2026', '2026-11-22'],
    ['time', '10:00', '10:00:00'],
    ['interval', '1 day 2 hours', 'P1DT2H'],
    ['interval', '-1 mon 3 days -00:00:00.5', 'P-1M3DT-0.5S'],
    ['date', '4713-01-01 BC', '-004712-01-01'],
    ['timestamp', '20000-01-01', '+020000-01-01T00:00:00'],
    ['date', 'infinity', 'infinity'],
  ] as const) {
    expect(await taken(type, text)).toBe(shown);
    expect(await taken(type, shown)).toBe(shown);
  }
  expect(await taken('date', new Date(Date.UTC(2026, 10, 22)))).toBe('2026-11-22');
  expect(await taken('date', new Date(NaN))).toBe('22023');
  expect(await taken('time', 5)).toBe('22023');
});

test('bytea is a Uint8Array, uuid and text are texts, boolean a boolean, NULL null', async () => {
  expect(await out("'\\x00ff'::bytea")).toEqual(Uint8Array.of(0, 255));
  expect(await out("'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid")).toBe(
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
  );
  expect(await out('true')).toBe(true);
  expect(await out('NULL::int')).toBeNull();
  expect(await taken('bytea', Uint8Array.of(1, 2))).toEqual(Uint8Array.of(1, 2));
  expect(await taken('bytea', Buffer.from('ab'))).toEqual(Uint8Array.of(97, 98));
  expect(await taken('uuid', 'nope')).toBe('22P02');
  expect(await taken('boolean', 'yes')).toBe(true);
  expect(await taken('boolean', 1)).toBe('22023');
  expect(await taken('text', 5)).toBe('5');
  expect(await taken('text', 'a\0b')).toBe('22021');
  expect(await taken('text', {})).toBe('22023');
});

test('values hold for open, session, query, stream and subscription', async () => {
  await db.close();
  db = await open({ values: { int8: 'bigint' } });
  await db.exec('CREATE TABLE t (n int8)');
  await db.insert('t', { n: 1 });
  expect((await db.query('SELECT n FROM t')).rows).toEqual([{ n: 1n }]);
  expect((await db.query('SELECT n FROM t', { values: { int8: 'string' } })).rows).toEqual([
    { n: '1' },
  ]);
  for await (const batch of db.stream('SELECT n FROM t')) expect(batch.columnar()).toEqual([[1n]]);
  for await (const change of db.subscribe('t')) {
    expect(change).toMatchObject({ rows: [{ n: 1n }] });
    break;
  }
  for await (const change of db.subscribe('t', { values: { int8: 'number' } })) {
    expect(change).toMatchObject({ rows: [{ n: 1 }] });
    break;
  }
  await using session = db.session({ values: { int8: 'string' } });
  expect((await session.query('SELECT n FROM t')).rows).toEqual([{ n: '1' }]);
  expect((await session.query('SELECT n FROM t', { values: { int8: 'number' } })).rows).toEqual([
    { n: 1 },
  ]);
});

test('rows go in as objects, one object, columns, typed arrays, values with a mask, or streams of them', async () => {
  const columns = 'id int, n int8, f float8, t timestamptz, b bytea, s text';
  await db.exec(`CREATE TABLE t (${columns})`);
  const shapes: unknown[] = [
    [
      { id: 1, s: 'a' },
      { id: 2, f: 0.5 },
    ],
    { id: 3, b: Uint8Array.of(1) },
    { id: [4, 5], s: ['x', null] },
    {
      id: Int32Array.of(6, 7),
      n: BigInt64Array.of(1n, 2n ** 60n),
      f: Float64Array.of(1, -0),
      t: Float64Array.of(0, 1500),
    },
    { id: [8], t: BigInt64Array.of(1_500_000n) },
    {
      id: { values: Int32Array.of(9, 10), valid: Uint8Array.of(1, 1) },
      f: { values: Float64Array.of(1, NaN), valid: Uint8Array.of(1, 0) },
    },
    [],
    {},
  ];
  let rows = 0;
  for (const shape of shapes) rows += (await db.insert('t', shape as never)).rows;
  async function* stream(): AsyncGenerator<never> {
    yield { id: 12 } as never;
    yield [{ id: 13 }, { id: 14 }] as never;
    yield { id: [15, 16] } as never;
  }
  const before = db.position;
  const streamed = await db.insert('t', stream());
  expect([streamed.rows, db.position - before]).toEqual([5, 3]);
  const all = await db.query('SELECT * FROM t ORDER BY id NULLS LAST', {
    values: { int8: 'string' },
  });
  expect(all.rowCount).toBe(rows + 5);
  expect(all.rows[2]).toMatchObject({ id: 3, b: Uint8Array.of(1) });
  expect(all.rows[6]).toMatchObject({
    id: 7,
    n: String(2n ** 60n),
    f: -0,
    t: '1970-01-01T00:00:01.5Z',
  });
  expect(all.rows[7]).toMatchObject({ id: 8, t: '1970-01-01T00:00:01.5Z' });
  expect(all.rows[9]).toMatchObject({ id: 10, f: null });
  // A row of nothing but bytes is a row, where the column holds bytes.
  await db.exec('CREATE TABLE raw (b bytea)');
  await db.insert('raw', { b: Uint8Array.of(1, 2) });
  await db.insert('raw', { b: [Uint8Array.of(3)] });
  expect((await db.query('SELECT b FROM raw')).rows).toEqual([
    { b: Uint8Array.of(1, 2) },
    { b: Uint8Array.of(3) },
  ]);
  for (const [shape, code] of [
    [{ id: [1, 2], s: ['x'] }, '22023'],
    [{ id: { values: [1, 2], valid: Uint8Array.of(1) } }, '22023'],
    [[{ id: 1 }, 5], '22023'],
    ['text', '22023'],
    [null, '22023'],
    [undefined, '22023'],
    [[{ nope: 1 }], '42703'],
    [{ id: Float64Array.of(1.5) }, '22023'],
    [{ n: Float64Array.of(2 ** 70) }, '22003'],
    [[{ id: 1, s: undefined }], '22023'],
  ] as const)
    expect([
      shape,
      await db.insert('t', shape as never).catch((cause: DbError) => cause.code),
    ]).toEqual([shape, code]);
});

test('a row that comes out may go in again', async () => {
  await db.exec(
    'CREATE TABLE a (i int, n int8, d numeric, f float8, s text, t timestamptz, l timestamp, dt date, tm time, iv interval, u uuid, b bytea, o boolean)',
  );
  await db.exec(`INSERT INTO a VALUES (1, 2, 3.40, 'NaN', 'x', now(), '2026-01-01 00:00', '0044-03-15 BC', '24:00', '1 mon -1 day', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\\x01', true),
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)`);
  await db.exec('CREATE TABLE b AS SELECT * FROM a LIMIT 0');
  await db.insert('b', (await db.query('SELECT * FROM a')).rows);
  const text = async (table: string): Promise<unknown> =>
    (await db.query(`SELECT * FROM ${table}`, { format: 'text' })).rows;
  expect(await text('b')).toEqual(await text('a'));
});

test('a write with a key is done once, and may be tried again when it failed', async () => {
  await db.exec('CREATE TABLE t (id int PRIMARY KEY)');
  const first = await db.insert('t', { id: 1 }, { idempotencyKey: 'a' });
  expect(await db.insert('t', { id: 1 }, { idempotencyKey: 'a' })).toEqual(first);
  await expect(db.insert('t', { id: 1 }, { idempotencyKey: 'b' })).rejects.toMatchObject({
    code: '23505',
  });
  expect((await db.insert('t', { id: 2 }, { idempotencyKey: 'b' })).rows).toBe(1);
  await expect(
    db.transaction(async (tx) => tx.insert('t', { id: 3 }, { idempotencyKey: 'c' })),
  ).rejects.toMatchObject({ code: '0A000' });
});

test('what was given is copied: Buffers, flags of any kind, arrays of any kind', async () => {
  await using db = await open({ workers: 0 });
  await db.exec(`CREATE TABLE t (id int, i2 smallint, x double precision, s text, c text, b bytea);
    CREATE MATERIALIZED VIEW v AS SELECT b, s, c, count(*) AS n, count(x) AS xs, sum(i2) AS i FROM t GROUP BY b, s, c`);
  for (const count of [1, 9, 100, 70_000]) {
    await db.exec('DELETE FROM t');
    const ids = new Uint8ClampedArray(count).fill(4);
    const smalls = Buffer.alloc(count, 3);
    const codes = Buffer.alloc(count, 0);
    const valid = Buffer.alloc(count, 255);
    valid[0] = 0;
    const bytes = Buffer.of(1, 2);
    await db.insert('t', {
      id: ids,
      i2: smalls,
      x: { values: new Float64Array(count), valid },
      s: { codes, dictionary: ['a', 'b'], valid: valid.map((flag) => 255 - flag + 7) },
      c: { codes: Int32Array.from(codes), dictionary: ['a', 'b'] },
      b: Array.from({ length: count }, () => bytes),
    });
    for (const array of [ids, smalls, codes, bytes]) array.fill(1);
    valid.fill(0);
    const one = { b: Uint8Array.of(1, 2), s: 'a', c: 'a' };
    const expected = [{ ...one, n: count, xs: count - 1, i: 3 * count }];
    const asked = `SELECT b, s, c, count(*) AS n, count(x) AS xs, sum(i2) AS i FROM t WHERE id = 4 GROUP BY b, s, c`;
    for (let round = 0; round < 2; round += 1) {
      expect((await db.query('SELECT * FROM v')).rows).toEqual(expected);
      expect((await db.query(asked)).rows).toEqual(expected);
      await db.recovery.rebuild('t');
    }
  }
});

test('an array that loses values while it is read is refused', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int, x double precision)');
  const count = 20_000;
  const given = (): { id: number[]; x: { values: Float64Array; valid: Uint8Array } } => ({
    id: Array.from({ length: count }, (_, row) => row),
    x: { values: new Float64Array(count), valid: new Uint8Array(count).fill(1) },
  });
  const [cut, away] = [given(), given()];
  const inserts = [db.insert('t', cut), db.insert('t', away)];
  cut.id.length = 5;
  structuredClone(away.x.valid, { transfer: [away.x.valid.buffer as ArrayBuffer] });
  for (const insert of inserts)
    await expect(insert).rejects.toMatchObject({ code: '22023', message: /has lost values/ });
  expect((await db.query('SELECT count(*) AS n FROM t')).rows).toEqual([{ n: 0 }]);
});
