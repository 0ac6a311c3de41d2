import { Writable } from 'node:stream';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Database } from '../../src/index.ts';
import { open } from '../../src/open.ts';

/**
 * What was exported and is loaded again is the same: every type, its extremes, NULLs, in every format. Compared as PostgreSQL
 * prints it, which tells 1.0 from 1.00 and '1 mon' from '30 days'.
 */
let db: Database;
beforeAll(async () => {
  db = await open({ workers: 0 });
});
afterAll(() => db.close());

const COLUMNS = {
  b: 'boolean',
  i2: 'smallint',
  i4: 'integer',
  i8: 'bigint',
  f4: 'real',
  f8: 'double precision',
  n: 'numeric',
  d12: 'numeric(12,2)',
  d38: 'numeric(38,10)',
  d60: 'numeric(60,30)',
  s: 'text',
  v: 'varchar(12)',
  c: 'char(4)',
  dt: 'date',
  tm: 'time',
  ts: 'timestamp',
  tz: 'timestamptz',
  iv: 'interval',
  u: 'uuid',
  raw: 'bytea',
} as const;

const digits = (count: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(...'0123456789'), minLength: 1, maxLength: count });
const signed = (text: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc.tuple(fc.constantFrom('', '-'), text).map(([sign, value]) => sign + value);
const decimal = (whole: number, scale: number): fc.Arbitrary<string> =>
  signed(fc.tuple(digits(whole), digits(scale)).map(([left, right]) => `${left}.${right}`));
const text = fc
  .oneof(
    fc.string({ unit: 'grapheme' }),
    fc.constantFrom(
      '',
      ' ',
      ',',
      '"',
      '""',
      "'",
      '\n',
      '\r\n',
      '\t',
      '\\N',
      'NULL',
      'null',
      '\uFEFF',
      'a;b|c',
      '€😀',
      '{"a":1}',
      '\u0001\u007f',
    ),
  )
  .filter((value) => !value.includes('\0') && value.isWellFormed());
const micros = (min: bigint, max: bigint): fc.Arbitrary<bigint> =>
  fc.oneof(
    fc.bigInt({ min, max }),
    fc.constantFrom(min, max, 0n, -1n, 2n ** 53n, -(2n ** 53n) - 1n),
  );

const VALUES: { readonly [Name in keyof typeof COLUMNS]: fc.Arbitrary<unknown> } = {
  b: fc.boolean(),
  i2: fc.oneof(fc.integer({ min: -32_768, max: 32_767 }), fc.constantFrom(-32_768, 32_767)),
  i4: fc.oneof(fc.integer(), fc.constantFrom(-2_147_483_648, 2_147_483_647)),
  i8: fc.oneof(
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    fc.bigInt({ min: -100n, max: 100n }),
    fc.constantFrom(-(2n ** 63n), 2n ** 63n - 1n, 2n ** 53n, 2n ** 53n + 1n),
  ),
  f4: fc.oneof(
    fc.float(),
    fc.constantFrom(-0, NaN, Infinity, -Infinity, 1e-45, 3.4028234663852886e38),
  ),
  f8: fc.oneof(
    fc.double(),
    fc.constantFrom(-0, NaN, Infinity, -Infinity, 5e-324, Number.MAX_VALUE),
  ),
  n: fc.oneof(
    decimal(30, 30),
    signed(digits(100)),
    fc.constantFrom('0', '0.00', '1.0', '1.00', 'NaN', 'Infinity', '-Infinity', '1e-200', '1e300'),
  ),
  d12: decimal(10, 2),
  d38: decimal(28, 10),
  d60: decimal(30, 30),
  s: text,
  v: text.map((value) => Array.from(value).slice(0, 12).join('')),
  c: text.map((value) => Array.from(value).slice(0, 4).join('')),
  dt: fc.constantFrom(
    '1970-01-01',
    '4714-11-24 BC',
    '5874897-12-31',
    '0001-01-01',
    '0001-12-31 BC',
    '9999-12-31',
    '10000-01-01',
    'infinity',
    '-infinity',
    '2024-02-29',
  ),
  tm: fc.oneof(
    fc.integer({ min: 0, max: 86_399 }).map((s) => new Date(s * 1000).toISOString().slice(11, 19)),
    fc.constantFrom('00:00:00', '23:59:59.999999', '24:00:00', '12:00:00.000001'),
  ),
  ts: fc.oneof(
    micros(-210_866_803_200_000_000n, 9_223_371_244_799_999_999n),
    fc.constantFrom('infinity', '-infinity', '4714-11-24 BC', '0001-01-01 00:00:00'),
  ),
  tz: fc.oneof(
    micros(-210_866_803_200_000_000n, 9_223_371_244_799_999_999n),
    fc.constantFrom('infinity', '-infinity', '1969-12-31 23:59:59.999999Z'),
  ),
  iv: fc.oneof(
    fc
      .tuple(
        fc.integer({ min: -9999, max: 9999 }),
        fc.integer({ min: -999, max: 999 }),
        fc.integer(),
      )
      .map(([months, days, us]) => `${months} months ${days} days ${us} microseconds`),
    fc.constantFrom(
      '0',
      '-178000000 years',
      '178000000 years',
      '2000000 hours',
      '1 mon -1 day',
      '-00:00:00.000001',
    ),
  ),
  u: fc.uuid(),
  raw: fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc.constantFrom(new Uint8Array(0), Uint8Array.of(0), Uint8Array.from(Buffer.from('\\x00'))),
  ),
};

const row = fc.record(
  Object.fromEntries(
    Object.entries(VALUES).map(([name, value]) => [name, fc.option(value, { freq: 6 })]),
  ),
);

async function exported(
  source: string,
  format: 'csv' | 'ndjson' | 'json' | 'parquet' | 'arrow',
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  const target = new Writable({
    write(piece: Uint8Array, _, done) {
      pieces.push(piece);
      setImmediate(done);
    },
  });
  await db.export(source, target, { format });
  return Buffer.concat(pieces);
}

/** In pieces of odd lengths: characters, quotes and messages are cut anywhere. */
async function* cut(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

const DEFINITION = Object.entries(COLUMNS)
  .map(([name, type]) => `${name} ${type}`)
  .join(', ');

for (const format of ['csv', 'ndjson', 'json', 'parquet', 'arrow'] as const) {
  test(`rows of every type that leave as ${format} come back the same`, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(row, { maxLength: 20 }),
        fc.integer({ min: 1, max: 997 }),
        async (rows, size) => {
          await db.exec(
            `DROP TABLE IF EXISTS a; DROP TABLE IF EXISTS b; CREATE TABLE a (${DEFINITION}); CREATE TABLE b (${DEFINITION})`,
          );
          await db.insert('a', rows);
          const bytes = await exported('a', format);
          const loaded = await db.load('b', cut(bytes, size), { format });
          expect(loaded).toMatchObject({ rows: rows.length, skipped: 0 });
          const all = async (table: string): Promise<unknown> =>
            (await db.query(`SELECT * FROM ${table}`, { format: 'text' })).rows;
          expect(await all('b')).toEqual(await all('a'));
        },
      ),
      { numRuns: 25 },
    );
  });
}

for (const format of ['parquet', 'arrow'] as const) {
  test(`a table made from ${format} of ours has the types it had, and rows across pages`, async () => {
    await db.exec(`DROP TABLE IF EXISTS a; DROP TABLE IF EXISTS b; CREATE TABLE a (${DEFINITION})`);
    const rows = fc.sample(row, { numRuns: 300, seed: 7 });
    await db.insert('a', rows);
    for (let rowCount = 300; rowCount < 9000; rowCount *= 2)
      await db.exec('INSERT INTO a SELECT * FROM a');
    const bytes = await exported('a', format);
    await db.load('b', bytes, { create: true });
    const ofTable = async (table: string): Promise<{ shown: string; types: string[] }> => {
      const { rows: shown, columns } = await db.query(`SELECT * FROM ${table}`, { format: 'text' });
      return {
        shown: JSON.stringify(shown),
        types: columns.map(({ name, type }) => `${name} ${type}`),
      };
    };
    const [given, made] = [await ofTable('a'), await ofTable('b')];
    expect(made.types).toEqual(given.types);
    // As one text: a comparison cell by cell takes minutes.
    expect(made.shown === given.shown).toBe(true);
  });
}
