import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DbError, type Database } from '../../src/index.ts';
import { open } from '../../src/open.ts';
import { stateHash } from './state-hash.ts';

/**
 * Whatever comes in is either taken or refused with a DbError that has a SQLSTATE of its own, and what is refused leaves no
 * trace: never an InvariantError, an error of JavaScript's, a crash, or a changed row.
 */
let db: Database;
let before: string;
let refused = 0;

const COLUMNS = {
  id: 'int PRIMARY KEY',
  i2: 'smallint CHECK (i2 < 1000)',
  i4: 'int',
  i8: 'bigint',
  f4: 'real',
  f8: 'double precision',
  n: 'numeric(10,2)',
  b: 'boolean',
  v: 'varchar(5)',
  s: 'text UNIQUE',
  d: 'date',
  tm: 'time',
  ts: 'timestamp',
  tz: 'timestamptz',
  iv: 'interval',
  u: 'uuid',
  raw: 'bytea',
  req: 'int NOT NULL DEFAULT 1',
  __proto__x: 'int',
} as const;

beforeAll(async () => {
  db = await open({ memory: '512 MB', workers: 0 });
  const columns = Object.entries(COLUMNS).map(([name, type]) => `${name} ${type}`);
  await db.exec(`
    CREATE TABLE t (${columns.join(', ')}, "__proto__" int, "constructor" int);
    CREATE TABLE other (id int PRIMARY KEY, name text);
    CREATE VIEW plain AS SELECT id, i4 FROM t;
    CREATE MATERIALIZED VIEW sums AS SELECT i4, count(*) AS n, sum(f8) AS s FROM t GROUP BY i4;
    CREATE MATERIALIZED VIEW inverse AS SELECT id, 10 / (i4 - 7) AS x FROM t`);
  await db.insert(
    't',
    Array.from({ length: 300 }, (_, id) => ({ id, i4: id % 5, i8: id, f8: id / 8, s: `s${id}` })),
  );
  await db.insert('other', [{ id: 1, name: 'one' }]);
  before = await stateHash(db);
});

afterAll(async () => {
  // The database goes on: a row goes in, and the views follow.
  await db.insert('t', { id: 1000, i4: 99, f8: 2 });
  expect((await db.query('SELECT n, s FROM sums WHERE i4 = 99')).rows).toEqual([{ n: 1, s: 2 }]);
  await db.close();
});

/** The SQLSTATE with which an action is refused; undefined where it is taken. Throws for every other kind of failure. */
async function refusal(what: string, action: () => Promise<unknown>): Promise<string | undefined> {
  try {
    await action();
    return undefined;
  } catch (cause) {
    if (
      !(cause instanceof DbError) ||
      !/^([0-9A-Z]{5}|ADB_[A-Z_]+)$/.test(cause.code) ||
      cause.code === 'XX000'
    )
      throw new Error(`${what.slice(0, 300)} ended with ${describeError(cause)}`, { cause });
    expect(cause.message.length, what.slice(0, 300)).toBeLessThan(1000);
    expect(cause.message).not.toBe('');
    expect(cause.hint, `${cause.code} ${cause.message}: ${what.slice(0, 300)}`).toBeTruthy();
    JSON.stringify(cause);
    refused += 1;
    return cause.code;
  }
}

function describeError(cause: unknown): string {
  return cause instanceof Error
    ? `${cause.name} ${(cause as DbError).code}: ${cause.message} ${cause.stack?.split('\n').slice(1, 4).join('|')}`
    : String(cause);
}

async function unchanged(what: string): Promise<void> {
  expect(await stateHash(db), `the state after ${what.slice(0, 200)}`).toBe(before);
}

const DEEP = 10_000;
const MEGA = 'x'.repeat(1_000_000);

/** Texts by what is wrong with them, and how they are to be refused; `ok` where PostgreSQL takes them too. */
const TEXTS: readonly (readonly [sql: string, code: RegExp])[] = [
  [`SELECT ${'('.repeat(DEEP)}1${')'.repeat(DEEP)}`, /^54001$/],
  [`SELECT ${'('.repeat(DEEP)}1`, /^(42601|54001)$/],
  [`SELECT ${'-'.repeat(1)}${'- '.repeat(DEEP)}1`, /^(54001|42601|ok)$/],
  [`SELECT ${'NOT '.repeat(DEEP)}true`, /^(54001|ok)$/],
  [`SELECT ${'1 + '.repeat(DEEP)}1`, /^(54001|ok)$/],
  [`SELECT ${'CASE WHEN true THEN '.repeat(DEEP)}1${' END'.repeat(DEEP)}`, /^54001$/],
  [`SELECT ${'CASE WHEN false THEN 1 ELSE '.repeat(DEEP)}1${' END'.repeat(DEEP)}`, /^54001$/],
  [`SELECT ${'abs('.repeat(DEEP)}1${')'.repeat(DEEP)}`, /^54001$/],
  [`SELECT * FROM ${'(SELECT * FROM '.repeat(2000)}t${') AS x'.repeat(2000)}`, /^54001$/],
  [`${'WITH a AS ('.repeat(1000)}SELECT 1${') SELECT 1'.repeat(1000)}`, /^(54001|ok)$/],
  [`SELECT 1${' UNION ALL SELECT 1'.repeat(DEEP)}`, /^(54001|ok)$/],
  [`SELECT * FROM t WHERE ${'id = 1 OR '.repeat(DEEP)}id = 2`, /^(54001|ok)$/],
  [`SELECT * FROM t WHERE ${'(id = 1 OR '.repeat(DEEP)}id = 2${')'.repeat(DEEP)}`, /^54001$/],
  [`SELECT ${'ARRAY['.repeat(DEEP)}1${']'.repeat(DEEP)}`, /^(54001|0A000)$/],
  [`SELECT x${'::int'.repeat(DEEP)} FROM (SELECT 1 AS x) AS q`, /^(54001|ok)$/],
  [
    `SELECT * FROM t WHERE id IN (${Array.from({ length: 100_000 }, (_, n) => n).join(', ')}, x)`,
    /^(42703|54001)$/,
  ],
  [`SELECT * FROM t WHERE id IN (${`'a', `.repeat(10_000)}1)`, /^22P02$/],
  [`SELECT "${MEGA}" FROM t`, /^(42703|42622)$/],
  [`SELECT ${MEGA} FROM t`, /^(42703|42622)$/],
  [`SELECT * FROM "${MEGA}"`, /^(42P01|42622)$/],
  [`SELECT '${MEGA}'::int`, /^22P02$/],
  [`SELECT '${MEGA}'::numeric`, /^22P02$/],
  [`SELECT '${'9'.repeat(200_000)}'::numeric`, /^22003$/],
  [`SELECT ${'9'.repeat(200_000)}`, /^(22003|42601)$/],
  [`SELECT '${MEGA}'::date`, /^(22007|22008|22P02)$/],
  [`SELECT '${MEGA}'::interval`, /^(22007|22008|22P02|22015)$/],
  [`SELECT '${MEGA}'::uuid`, /^22P02$/],
  [`SELECT repeat('x', 2000000000)`, /^(54000|53200|22023)$/],
  [`SELECT repeat(repeat('x', 60000), 60000)`, /^(54000|53200|22023)$/],
  [`SELECT lpad('x', 2000000000)`, /^(54000|53200|22023)$/],
  [`SELECT * FROM t WHERE ${'id = 1 AND '.repeat(DEEP)}i4 / 0 = 1`, /^22012$/],
  [`SELECT CASE ${'WHEN id = 1 THEN 1 '.repeat(DEEP)}END FROM t`, /^ok$/],
  [`SELECT coalesce(${'f4, '.repeat(5000)}1) FROM t`, /^(ok|54023)$/],
  [`SELECT ${'id + '.repeat(500)}id FROM t`, /^(22003|ok)$/],
  [`SELECT ${'id + '.repeat(3000)}id FROM t`, /^54001$/],
  [`SELECT ${'s || '.repeat(900)}s FROM t`, /^ok$/],
  [`SELECT ${'CASE WHEN id > 5 THEN id ELSE '.repeat(200)}0${' END'.repeat(200)} FROM t`, /^ok$/],
  [
    `SELECT ${Array.from({ length: 5000 }, (_, n) => `id + ${n} AS c${n}`).join(', ')} FROM t`,
    /^(54011|ok)$/,
  ],
  [`SELECT * FROM t WHERE id IN (${'id, '.repeat(5000)}1)`, /^(54001|ok)$/],
  [
    `INSERT INTO t (id) VALUES ${Array.from({ length: 20_000 }, (_, n) => `(${n + 5000})`).join(', ')}, (1)`,
    /^23505$/,
  ],
  [`SELECT 10.0 ^ 200000`, /^22003$/],
  [`SELECT power(10::numeric, 200000)`, /^22003$/],
  [`SELECT exp(100000::numeric)`, /^22003$/],
  [`SELECT exp(100000::float8)`, /^22003$/],
  [`SELECT round(1.5, 2000000000)`, /^(22003|22023|ok)$/],
  [`SELECT '\0'`, /^(22021|42601)$/],
  ['SELECT 1\0 FROM t', /^(22021|42601)$/],
  ["SELECT '\ud800'", /^(22021|42601)$/],
  ['SELECT "\udc00" FROM t', /^(22021|42601|42703)$/],
  ["SELECT U&'\\D800'", /^(42601|22021|22025)$/],
  ["SELECT E'\\x00'", /^(22021|42601|22P05)$/],
  ["SELECT E'\\xff'", /^(22021|42601)$/],
  ['SELECT chr(0)', /^54000$/],
  ['SELECT chr(55296)', /^(54000|22021|22023)$/],
  ['', /^(ok|42601)$/],
  [';;;', /^(ok|42601)$/],
  ["SELECT 'unbalanced", /^42601$/],
  ['SELECT "unbalanced', /^42601$/],
  ['SELECT $$unbalanced', /^42601$/],
  ['SELECT $a$unbalanced$b$', /^42601$/],
  ['SELECT /* /* */ 1', /^42601$/],
  ["SELECT E'\\", /^42601$/],
  ['SELECT ""', /^42601$/],
  ['SELECT (1', /^42601$/],
  ['SELECT 1)', /^42601$/],
  ['SELEC 1', /^42601$/],
  ['SELECT 1 FROM', /^42601$/],
  ['SELECT FROM WHERE', /^42601$/],
  ['SELECT 1; SELECT', /^(42601|ok)$/],
  ['SELECT 0x', /^42601$/],
  ['SELECT 1e', /^42601$/],
  ['SELECT 1__0', /^42601$/],
  ['SELECT $1', /^(42P02|08P01|22023|07001)$/],
  ['SELECT $0', /^(42P02|42601)$/],
  ['SELECT $99999999999', /^(42601|42P02|22003)$/],
  ['SELECT $70000', /^(42P02|54000|08P01)$/],
  ['SELECT * FROM t, t', /^42712$/],
  ['SELECT id FROM t, other', /^42702$/],
  ['SELECT t.nope FROM t', /^42703$/],
  ['SELECT x.id FROM t', /^42P01$/],
  ['SELECT nope(1)', /^42883$/],
  ['SELECT sum(s) FROM t', /^42883$/],
  ['SELECT id, count(*) FROM t', /^42803$/],
  ['SELECT count(*) FROM t WHERE count(*) > 1', /^42803$/],
  ['SELECT sum(sum(id)) FROM t', /^42803$/],
  ['SELECT id FROM t GROUP BY 99', /^42P10$/],
  ['SELECT id FROM t ORDER BY 99', /^42P10$/],
  ['SELECT id FROM t LIMIT -1', /^2201W$/],
  ['SELECT id FROM t OFFSET -1', /^2201X$/],
  ['SELECT id FROM t LIMIT 1.5e300', /^(22003|ok)$/],
  ["SELECT id FROM t LIMIT 'x'", /^22P02$/],
  ['SELECT 1 UNION SELECT 1, 2', /^42601$/],
  ["SELECT 1 UNION SELECT 'x'", /^22P02$/],
  ['SELECT 1 UNION SELECT true', /^42804$/],
  ['SELECT CASE WHEN 1 THEN 2 END', /^42804$/],
  ["SELECT CASE WHEN true THEN 1 ELSE 'x' END", /^22P02$/],
  ['SELECT true + 1', /^42883$/],
  ['SELECT 1 AND true', /^42804$/],
  ['SELECT * FROM t WHERE id', /^42804$/],
  ['SELECT (SELECT id FROM t)', /^21000$/],
  ['SELECT (SELECT id, i4 FROM t LIMIT 1)', /^42601$/],
  ['SELECT 1 WHERE 1 IN (SELECT 1, 2)', /^42601$/],
  ['SELECT 1/0', /^22012$/],
  ['SELECT 1 % 0', /^22012$/],
  ['SELECT 1.0/0', /^22012$/],
  ['SELECT 1::float8/0', /^22012$/],
  ['SELECT id / (id - id) FROM t', /^22012$/],
  ['SELECT 2147483647 + 1', /^22003$/],
  ['SELECT -2147483648::int - 1', /^22003$/],
  ['SELECT (-2147483648)::int / -1', /^22003$/],
  ['SELECT abs((-2147483648)::int)', /^22003$/],
  ['SELECT 9223372036854775807 + 1', /^22003$/],
  ['SELECT 9223372036854775807::bigint * 2', /^22003$/],
  ['SELECT (-9223372036854775807 - 1)::bigint / -1', /^22003$/],
  ['SELECT 40000::smallint', /^22003$/],
  ['SELECT 3000000000::int', /^22003$/],
  ["SELECT '3000000000'::int", /^22003$/],
  ["SELECT '1e400'::float8", /^22003$/],
  ["SELECT '1e-400'::float8", /^22003$/],
  ['SELECT 1e300::float8 * 1e300::float8', /^22003$/],
  ["SELECT 'NaN'::float8::int", /^22003$/],
  ["SELECT 'Infinity'::float8::bigint", /^22003$/],
  ["SELECT 'NaN'::numeric::int", /^(22003|0A000)$/],
  ['SELECT 12345678901::numeric(10,2)', /^22003$/],
  ['SELECT 1::numeric(0)', /^22023$/],
  ['SELECT 1::numeric(2000)', /^22023$/],
  ["SELECT 'abc'::varchar(0)", /^22023$/],
  ["SELECT 'maybe'::boolean", /^22P02$/],
  ["SELECT '2026-02-30'::date", /^22008$/],
  ["SELECT '2026-13-01'::date", /^22008$/],
  ["SELECT '25:00'::time", /^22008$/],
  ["SELECT 'xx'::timestamp", /^22007$/],
  ["SELECT '2026-01-01 Nowhere/Land'::timestamptz", /^(22023|22007)$/],
  ["SELECT '999999-01-01'::timestamp", /^22008$/],
  ["SELECT 'infinity'::timestamp - 'infinity'::timestamp", /^(22008|ok)$/],
  ["SELECT '2026-01-01'::timestamp + '1000000 years'::interval", /^22008$/],
  ["SELECT date_trunc('fortnight', now())", /^22023$/],
  ['SELECT extract(nope FROM now())', /^(22023|42601)$/],
  ["SELECT now() AT TIME ZONE 'Mars/Olympus'", /^22023$/],
  ["SELECT 'zz'::bytea", /^(22P02|ok)$/],
  ["SELECT '\\xzz'::bytea", /^(22P02|22023)$/],
  ["SELECT 'a' ~ '('", /^(2201B|42883)$/],
  ["SELECT 'a' LIKE 'a' ESCAPE 'xx'", /^22025$/],
  ["SELECT 'ab' LIKE 'a\\'", /^22025$/],
  ["SELECT substring('a' FROM 1 FOR -1)", /^22011$/],
  ['SELECT sqrt(-1)', /^2201F$/],
  ['SELECT ln(0)', /^2201E$/],
  ['SELECT log(-1)', /^2201E$/],
  ['SELECT 0::float8 ^ -1', /^2201F$/],
  ['SELECT width_bucket(1, 1, 1, 5)', /^(2201G|42883)$/],
  ['SELECT * FROM generate_series(1, 10, 0)', /^22023$/],
  ['INSERT INTO t VALUES (1, 2)', /^23505$/],
  ['INSERT INTO t (id) VALUES (1)', /^23505$/],
  ['INSERT INTO t (id) VALUES (5000), (5001), (5000)', /^23505$/],
  ["INSERT INTO t (id, s) VALUES (5000, 'a'), (5001, 'a')", /^23505$/],
  ['INSERT INTO t (id, id) VALUES (5000, 5001)', /^42701$/],
  ['INSERT INTO t (nope) VALUES (1)', /^42703$/],
  ['INSERT INTO t (id, i4) VALUES (5000)', /^42601$/],
  ['INSERT INTO t (id) VALUES (5000, 1)', /^42601$/],
  ['INSERT INTO t (id) VALUES (5000), (5001, 2)', /^42601$/],
  ['INSERT INTO t (id, req) VALUES (5000, NULL)', /^23502$/],
  ['INSERT INTO t (i4) VALUES (1)', /^23502$/],
  ['INSERT INTO t (id, i2) VALUES (5000, 1000)', /^23514$/],
  ['INSERT INTO t (id, i2) VALUES (5000, 70000)', /^22003$/],
  ["INSERT INTO t (id, v) VALUES (5000, 'toolong')", /^22001$/],
  ['INSERT INTO t (id, n) VALUES (5000, 123456789012)', /^22003$/],
  ["INSERT INTO t (id, d) VALUES (5000, 'x')", /^22007$/],
  ["INSERT INTO t (id, s) VALUES (5000, E'\\x01'), ('x', 'y')", /^22P02$/],
  ['INSERT INTO t (id, i4) VALUES (5000, 7)', /^22012$/],
  ['INSERT INTO t (id) SELECT 5000 UNION ALL SELECT 1', /^23505$/],
  ['INSERT INTO t SELECT id + 5000, 1/(id - 250) FROM t', /^22012$/],
  ['INSERT INTO t (id) VALUES (1) ON CONFLICT (i4) DO NOTHING', /^42P10$/],
  ['INSERT INTO t (id) VALUES (5000), (5000) ON CONFLICT (id) DO UPDATE SET i4 = 1', /^21000$/],
  ['INSERT INTO t (id) VALUES (5000) RETURNING nope', /^42703$/],
  ['INSERT INTO sums VALUES (1)', /^(42809|55000)$/],
  ['INSERT INTO plain VALUES (1)', /^(42809|55000|0A000)$/],
  ['INSERT INTO nope VALUES (1)', /^42P01$/],
  ['UPDATE t SET id = 1', /^23505$/],
  ['UPDATE t SET id = NULL WHERE id = 1', /^23502$/],
  ['UPDATE t SET i2 = 2000', /^23514$/],
  ['UPDATE t SET i4 = 7 WHERE id = 250', /^22012$/],
  ['UPDATE t SET i4 = i4 / (id - 299)', /^22012$/],
  ['UPDATE t SET i4 = 1, i4 = 2', /^42601$/],
  ['UPDATE t SET nope = 1', /^42703$/],
  ["UPDATE t SET i4 = 'x'", /^22P02$/],
  ['UPDATE t SET i4 = s', /^42804$/],
  ['UPDATE sums SET n = 1', /^(42809|55000)$/],
  ['DELETE FROM t WHERE 1/(id - 299) > 0', /^22012$/],
  ['DELETE FROM nope', /^42P01$/],
  ['DELETE FROM sums', /^(42809|55000)$/],
  ['TRUNCATE t, nope', /^42P01$/],
  ['CREATE TABLE t (a int)', /^42P07$/],
  ['CREATE TABLE x (a int, a int)', /^42701$/],
  ['CREATE TABLE x (a nope)', /^42704$/],
  ['CREATE TABLE x (a int PRIMARY KEY, b int PRIMARY KEY)', /^42P16$/],
  ['CREATE TABLE x (a int, PRIMARY KEY (b))', /^42703$/],
  ["CREATE TABLE x (a int DEFAULT 'x')", /^22P02$/],
  ['CREATE TABLE x (a int DEFAULT b)', /^(0A000|42703)$/],
  ['CREATE TABLE x (a int CHECK (b > 1))', /^42703$/],
  ["CREATE TABLE x (a int CHECK ('nope'))", /^(22P02|42804)$/],
  ['CREATE TABLE x (a int) WITH (nope = 1)', /^22023$/],
  ["CREATE TABLE x (a int) WITH (time = 'b')", /^(42703|22023)$/],
  ['CREATE TABLE "" (a int)', /^42601$/],
  [
    `CREATE TABLE x (a nope, ${Array.from({ length: 1601 }, (_, n) => `c${n} int`).join(', ')})`,
    /^(54011|42704)$/,
  ],
  ['CREATE MATERIALIZED VIEW x AS SELECT nope FROM t', /^42703$/],
  ['CREATE MATERIALIZED VIEW x AS SELECT 1/(id - 1) AS a FROM t', /^22012$/],
  ['CREATE MATERIALIZED VIEW x AS SELECT id, id FROM t', /^42701$/],
  ["CREATE MATERIALIZED VIEW x WITH (refresh = 'sometimes') AS SELECT id FROM t", /^22023$/],
  ['CREATE MATERIALIZED VIEW x AS SELECT random() AS r FROM t', /^(0A000|42P17)$/],
  ['CREATE VIEW plain AS SELECT 1', /^42P07$/],
  ['CREATE UNIQUE INDEX ON t (i4)', /^23505$/],
  ['CREATE INDEX ON t (nope)', /^42703$/],
  ['DROP TABLE t', /^2BP01$/],
  ['DROP TABLE nope', /^42P01$/],
  ['DROP VIEW t', /^42809$/],
  ['DROP TABLE plain', /^42809$/],
  ['ALTER TABLE t ADD COLUMN id int', /^42701$/],
  ['ALTER TABLE t ADD COLUMN x int NOT NULL', /^(23502|0A000)$/],
  ['ALTER TABLE t DROP COLUMN i4', /^(2BP01|0A000)$/],
  ['ALTER TABLE t DROP COLUMN nope', /^42703$/],
  ['ALTER TABLE t ALTER COLUMN s TYPE int', /^(42804|22P02|0A000)$/],
  [
    'ALTER TABLE t ALTER COLUMN i8 SET NOT NULL; ALTER TABLE t ALTER COLUMN f4 SET NOT NULL',
    /^23502$/,
  ],
  ['ALTER TABLE t ADD CONSTRAINT c CHECK (id < 5)', /^23514$/],
  ['ALTER TABLE t RENAME TO other', /^42P07$/],
  ['COMMIT', /^(ok|25P01)$/],
  ['SAVEPOINT a', /^25P01$/],
  ['ROLLBACK TO a', /^(25P01|3B001)$/],
  ['SET nope = 1', /^42704$/],
  ["SET timezone = 'Mars/Olympus'", /^22023$/],
  ["SET tenant = 'acme'", /^42501$/],
  ['EXECUTE nope', /^26000$/],
  ['LOCK TABLE nope', /^(42P01|0A000)$/],
  ['COPY t FROM STDIN', /^(0A000|22023)$/],
  ['SELECT pg_sleep(1e9)', /^(42883|0A000|22023)$/],
  ['VACUUM FULL nope nope', /^42601$/],
  ['GRANT SELECT ON t TO', /^42601$/],
  ['SUBSCRIBE TO sums', /^0A000$/],
  ['SELECT * FROM t WHERE (id, i4) = (1)', /^(42601|42883|0A000)$/],
  ['SELECT ROW(1, 2) = ROW(1)', /^(42601|0A000)$/],
  ['SELECT string_agg(s) FROM t', /^42883$/],
  ['SELECT count(DISTINCT *) FROM t', /^42601$/],
  ['SELECT id FROM t FOR UPDATE; SELECT 1/0', /^22012$/],
  ['SELECT row_number() FROM t', /^(42809|42883|0A000)$/],
  [
    'WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r',
    /^(0A000|53200|53400|54001)$/,
  ],
];

test('texts that are wrong in every known way are refused as PostgreSQL refuses them', async () => {
  const wrong: string[] = [];
  for (const [text, code] of TEXTS) {
    const what = shortened(text);
    const got = await refusal(what, () => db.exec(text, { timeoutMs: 20_000 })).catch(
      (cause: unknown) => String((cause as Error).message),
    );
    if (!code.test(got ?? 'ok')) wrong.push(`${what}: ${got ?? 'ok'}, not ${code}`);
    if ((await stateHash(db)) !== before) wrong.push(`${what}: changed the state`);
  }
  expect(wrong).toEqual([]);
});

/** Right texts, to be cut up. */
const RIGHT = [
  'SELECT id, i4 + 1 AS x, upper(s) FROM t WHERE i8 BETWEEN 5 AND 10 AND s LIKE $$s%$$ ORDER BY 1 DESC LIMIT 3',
  'SELECT i4, count(*), sum(f8) FILTER (WHERE id > 5), avg(n) FROM t GROUP BY i4 HAVING count(*) > 1',
  "SELECT t.id, o.name FROM t LEFT JOIN other AS o ON o.id = t.id WHERE t.d IS NULL OR o.name IN ('one', 'two')",
  'WITH a AS (SELECT id FROM t WHERE id < 5) SELECT * FROM a UNION ALL SELECT id FROM other',
  "SELECT CASE WHEN id > 3 THEN 'a' ELSE 'b' END, cast(s AS varchar(2)), date_trunc('day', tz) FROM t",
  "INSERT INTO t (id, s, d) VALUES (5000, 'x', '2026-01-01'), (5001, 'y', NULL) ON CONFLICT (id) DO NOTHING RETURNING id",
  'UPDATE t SET i4 = i4 + 1, s = NULL WHERE id IN (SELECT id FROM other)',
  'DELETE FROM t WHERE id > 100 AND EXISTS (SELECT 1 FROM other AS o WHERE o.id = t.i4)',
  'CREATE TABLE made (a int PRIMARY KEY, b numeric(5,2) DEFAULT 1.5 CHECK (b > 0), c timestamptz NOT NULL)',
  'CREATE MATERIALIZED VIEW made AS SELECT s, count(*) AS n FROM t GROUP BY s',
  'ALTER TABLE other ADD COLUMN extra int DEFAULT 5',
  'EXPLAIN SELECT id FROM t',
].map((text) => text.match(/\w+|\$\$.*?\$\$|'[^']*'|\S/g)!);

const token = fc.oneof(
  fc.constantFrom(...new Set(RIGHT.flat())),
  fc.constantFrom('(', ')', ',', ';', "'", '"', '::', '--', '/*', '*/', '$1', '.', '\\', '@', '~'),
  fc.constantFrom(
    'NULL',
    '1e999',
    '-1',
    '99999999999999999999',
    "'\u{1F600}'",
    '"ä"',
    '0x',
    "E'\\u'",
  ),
  fc.string({ unit: 'binary', maxLength: 8 }),
  fc.stringMatching(/^[a-z_]{1,70}$/),
);
const edit = fc.record({
  at: fc.nat(),
  kind: fc.constantFrom('drop', 'insert', 'replace', 'swap'),
  token,
});

test('texts cut up and put together at random are refused, or undone, without a trace', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...RIGHT),
      fc.array(edit, { minLength: 1, maxLength: 5 }),
      async (right, edits) => {
        const tokens = [...right];
        for (const { at, kind, token: given } of edits) {
          const index = at % (tokens.length + 1);
          if (kind === 'drop') tokens.splice(index, 1);
          else if (kind === 'swap')
            tokens.splice(index, 2, ...tokens.slice(index, index + 2).reverse());
          else tokens.splice(index, kind === 'insert' ? 0 : 1, given);
        }
        const text = tokens.join(' ');
        const session = db.session();
        await session.exec('BEGIN');
        await refusal(text, () => session.exec(text, { timeoutMs: 20_000 }));
        await session.exec('ROLLBACK');
        await session.close();
      },
    ),
    { numRuns: 700, endOnFailure: true },
  );
  await unchanged('a random text');
  expect(refused).toBeGreaterThan(700);
});

/** Values by column that no row may have. */
const VALUES: readonly (readonly [column: string, value: unknown, code: RegExp])[] = [
  ['id', null, /^23502$/],
  ['id', 1, /^23505$/],
  ['i2', 32_768, /^22003$/],
  ['i2', -32_769, /^22003$/],
  ['i2', 1000, /^23514$/],
  ['i4', 1.5, /^22023$/],
  ['i4', Number.NaN, /^22023$/],
  ['i4', Infinity, /^22023$/],
  ['i4', 2 ** 31, /^22003$/],
  ['i4', -(2 ** 31) - 1, /^22003$/],
  ['i4', 2n ** 31n, /^22003$/],
  ['i4', 7, /^22012$/],
  ['i4', 'seven', /^22P02$/],
  ['i4', '', /^22P02$/],
  ['i4', true, /^22023$/],
  ['i4', undefined, /^22023$/],
  ['i4', {}, /^22023$/],
  ['i4', [], /^22023$/],
  ['i4', Symbol('x'), /^22023$/],
  ['i4', () => 1, /^22023$/],
  ['i4', new Date(), /^22023$/],
  ['i4', Object.create(null), /^22023$/],
  ['i4', { valueOf: () => 1 }, /^22023$/],
  ['i8', 2n ** 63n, /^22003$/],
  ['i8', -(2n ** 63n) - 1n, /^22003$/],
  ['i8', 1e30, /^22003$/],
  ['i8', 0.5, /^22023$/],
  ['i8', '9223372036854775808', /^22003$/],
  ['f4', 1e39, /^22003$/],
  ['f4', 'one', /^22P02$/],
  ['f8', '1e999', /^22003$/],
  ['f8', true, /^22023$/],
  ['f8', [1], /^22023$/],
  ['n', 1e9, /^22003$/],
  ['n', '1,5', /^22P02$/],
  ['n', 'NaN1', /^22P02$/],
  ['n', Infinity, /^22003$/],
  ['n', '9'.repeat(200_000), /^22003$/],
  ['b', 1, /^22023$/],
  ['b', 'maybe', /^22P02$/],
  ['v', 'sixsix', /^22001$/],
  ['v', 123_456, /^22001$/],
  ['v', 'a\0', /^22021$/],
  ['s', '\ud800', /^22021$/],
  ['s', 'x\udfff', /^22021$/],
  ['s', '\0', /^22021$/],
  ['s', 's5', /^23505$/],
  ['s', {}, /^22023$/],
  ['s', Symbol.iterator, /^22023$/],
  ['d', '2026-02-29', /^22008$/],
  ['d', 'soon', /^22007$/],
  ['d', new Date(Number.NaN), /^22023$/],
  ['d', 20_000, /^22023$/],
  ['tm', '24:61', /^22008$/],
  ['tm', 5, /^22023$/],
  ['ts', Number.NaN, /^22023$/],
  ['ts', Infinity, /^22023$/],
  ['ts', 2n ** 70n, /^22008$/],
  ['ts', 1e18, /^(22008|22023)$/],
  ['ts', '2026-13-01', /^22008$/],
  ['tz', new Date(Number.NaN), /^22023$/],
  ['tz', '2026-01-01 10:00 Nowhere/Land', /^(22007|22023)$/],
  ['tz', -(2n ** 64n), /^22008$/],
  ['iv', 'a while', /^22007$/],
  ['iv', 5, /^22023$/],
  ['u', '123', /^22P02$/],
  ['u', 5, /^22023$/],
  ['raw', [1, 2], /^22023$/],
  ['raw', new ArrayBuffer(2), /^22023$/],
  ['raw', '\\xz', /^(22P02|22023)$/],
  ['req', null, /^23502$/],
  ['__proto__x', 'y', /^22P02$/],
  ['constructor', {}, /^22023$/],
  ['constructor', 'x', /^22P02$/],
  ['nope', 1, /^42703$/],
  ['toString', 1, /^42703$/],
  ['__proto__', 'x', /^22P02$/],
];

/** A row object with own properties, whatever their names. */
function rowOf(entries: readonly (readonly [string, unknown])[]): Record<string, unknown> {
  const row: Record<string, unknown> = {};
  for (const [name, value] of entries)
    Object.defineProperty(row, name, {
      value,
      enumerable: true,
      configurable: true,
      writable: true,
    });
  return row;
}

test('values that do not fit are refused in every shape that rows come in', async () => {
  const wrong: string[] = [];
  const expectRefused = async (
    what: string,
    code: RegExp,
    action: () => Promise<unknown>,
  ): Promise<void> => {
    const got = await refusal(what, action).catch((cause: unknown) => (cause as Error).message);
    if (got === undefined || !code.test(got)) wrong.push(`${what}: ${got ?? 'taken'}, not ${code}`);
  };
  for (const [column, value, code] of VALUES) {
    const what = `${column} = ${typeof value} ${describeValue(value)}`;
    const bad = rowOf([...(column === 'id' ? [] : [['id', 6000] as const]), [column, value]]);
    const good = Array.from({ length: 5 }, (_, row) => ({ id: 7000 + row }));
    await expectRefused(`one row, ${what}`, code, () => db.insert('t', bad));
    await expectRefused(`among rows, ${what}`, code, () =>
      db.insert('t', [...good.slice(0, 3), bad, ...good.slice(3)]),
    );
    await expectRefused(`columns, ${what}`, code, () =>
      db.insert(
        't',
        rowOf([
          ...(column === 'id' ? [] : [['id', [6000, 6001]] as const]),
          [column, [value, value]],
        ]) as never,
      ),
    );
    await expectRefused(`async chunks, ${what}`, code, () =>
      db.insert(
        't',
        (async function* () {
          yield [bad];
        })(),
      ),
    );
    if (column !== 'id')
      await expectRefused(`upsert, ${what}`, code, () =>
        db.upsert(
          't',
          rowOf([
            ['id', 250],
            [column, value],
          ]),
        ),
      );
    if (!/^(nope|toString)$/.test(column) && value !== undefined && column !== 'id')
      await expectRefused(`parameter, ${what}`, /./, () =>
        db.query(`INSERT INTO t (id, "${column}") VALUES (6000, $1)`, { params: [value] }),
      );
  }
  expect(wrong).toEqual([]);
  await unchanged('values that do not fit');
});

test('shapes that are no rows are refused', async () => {
  const detached = new Float64Array([6000, 6001]);
  structuredClone(detached.buffer, { transfer: [detached.buffer] });
  const throwing = {
    get id(): number {
      throw new Error('no');
    },
  };
  const later = {
    id: 6000,
    get i4(): number {
      throw new TypeError('later');
    },
  };
  const proxy = new Proxy(
    { id: 6000 },
    {
      get: () => {
        throw new Error('trap');
      },
      ownKeys: () => {
        throw new Error('trap');
      },
    },
  );
  const sparse: unknown[] = [];
  sparse[3] = { id: 6000 };
  const sparseColumn: number[] = [];
  sparseColumn[2] = 6000;
  const ids = [6000, 6001];
  const shapes: readonly (readonly [string, unknown])[] = [
    ['null', null],
    ['undefined', undefined],
    ['a number', 5],
    ['a text', 'id=5'],
    ['a function', () => []],
    ['a row that is null', [null]],
    ['a row that is an array', [[1, 2]]],
    ['a row that is a text', ['x']],
    ['a row that is a Date', [{ id: 6000 }, 5]],
    ['a Map', [new Map([['id', 6000]])]],
    ['sparse rows', sparse],
    ['a sparse column', { id: sparseColumn }],
    ['a getter that throws', throwing],
    ['a getter that throws later', [{ id: 6001 }, later]],
    ['a proxy that throws', [proxy]],
    ['columns of unequal lengths', { id: ids, i4: [1] }],
    ['a detached column', { id: detached }],
    ['a detached column beside others', { id: ids, f8: detached }],
    ['a DataView', { id: new DataView(new ArrayBuffer(16)) }],
    ['an ArrayBuffer', { id: new ArrayBuffer(16) }],
    ['NaN in a Float64Array of integers', { id: Float64Array.of(6000, Number.NaN) }],
    ['a fraction in a Float64Array of integers', { id: Float64Array.of(6000, 0.5) }],
    ['an integer that is too large', { id: ids, i2: Int32Array.of(1, 70_000) }],
    ['an unsigned integer that is too large', { id: Uint32Array.of(6000, 2 ** 31) }],
    ['a BigInt64Array that is too large', { id: ids, i4: BigInt64Array.of(1n, 2n ** 40n) }],
    ['a BigUint64Array that is too large', { id: ids, i8: BigUint64Array.of(1n, 2n ** 63n) }],
    ['numbers for booleans', { id: ids, b: Uint8Array.of(0, 1) }],
    ['numbers for uuids', { id: ids, u: Float64Array.of(0, 1) }],
    ['numbers for dates', { id: ids, d: Float64Array.of(0, 1) }],
    ['times that are none', { id: ids, ts: Float64Array.of(0, Number.NaN) }],
    ['bigints beyond a timestamp', { id: ids, tz: BigInt64Array.of(0n, -(2n ** 63n)) }],
    ['floats beyond a float4', { id: ids, f4: Float64Array.of(0, 1e300) }],
    ['valid that is no Uint8Array', { id: ids, i4: { values: [1, 2], valid: [1, 0] } }],
    ['valid that is too short', { id: ids, i4: { values: [1, 2], valid: Uint8Array.of(1) } }],
    ['values that are none', { id: ids, i4: { values: 5, valid: Uint8Array.of(1) } }],
    ['a column that is an object', { id: ids, i4: {} }],
    ['a column that is null', { id: ids, i4: null }],
    ['a NULL in a key', { id: { values: ids, valid: Uint8Array.of(1, 0) } }],
    ['a key twice in a column', { id: Int32Array.of(6000, 6000) }],
    ['a key twice in rows', [{ id: 6000 }, { id: 6000 }]],
    [
      'a unique text twice',
      [
        { id: 6000, s: 'q' },
        { id: 6001, s: 'q' },
      ],
    ],
    ['an inherited column', Object.create({ id: 6000, nope: 1 })],
  ];
  const wrong: string[] = [];
  for (const [what, rows] of shapes) {
    const got = await refusal(what, () => db.insert('t', rows as never)).catch(
      (cause: unknown) => (cause as Error).message,
    );
    if (got === undefined || got.length > 15) wrong.push(`${what}: ${got ?? 'taken'}`);
  }
  const chunk = async function* (): AsyncGenerator<never> {
    yield 5 as never;
  };
  expect(await refusal('a chunk that is no rows', () => db.insert('t', chunk()))).toBe('22023');
  // What a source throws is the source's own.
  const source = async function* (): AsyncGenerator<{ id: number }[]> {
    yield [];
    throw new Error('the line is dead');
  };
  await expect(db.insert('t', source())).rejects.toThrow('the line is dead');
  expect(wrong).toEqual([]);
  await unchanged('shapes that are no rows');
});

test('what was to give rows is refused, and is no row of NULLs', async () => {
  const free = await open({ workers: 0 });
  await free.exec('CREATE TABLE f (a int, b int DEFAULT 7)');
  const row = { a: 1 };
  const given: readonly (readonly [what: string, rows: unknown])[] = [
    ['a promise', Promise.resolve([row])],
    ['a promise', [Promise.resolve(row)]],
    ['iterable, and no array', new Set([row])],
    ['iterable, and no array', new Map([['a', [1]]]).values()],
    ['iterable, and no array', [new Map([['a', 1]])]],
    ['iterable, and no array', [row].values()],
    ['an object without keys', new Date()],
    ['an object without keys', [new Error('a')]],
    [
      'an object without keys',
      new (class {
        get a(): number {
          return 1;
        }
      })(),
    ],
  ];
  for (const [what, rows] of given)
    await expect(free.insert('f', rows as never)).rejects.toMatchObject({
      code: '22023',
      message: `row 1 is ${what}`,
      hint: expect.stringMatching(/./) as string,
    });
  await free.insert('f', [row, {}, Object.create(null)] as never);
  await free.insert('f', {});
  const { rows } = await free.query('SELECT * FROM f');
  expect(rows).toEqual([{ a: 1, b: 7 }, ...Array.from({ length: 3 }, () => ({ a: null, b: 7 }))]);
  await free.close();
});

test('rows of anything at all, with a key that is there, are refused', async () => {
  const names = fc.constantFrom(
    'i2',
    'i4',
    'i8',
    'f4',
    'f8',
    'n',
    'b',
    'v',
    's',
    'd',
    'tm',
    'ts',
    'tz',
    'iv',
    'u',
    'raw',
    'req',
    '__proto__',
    'constructor',
  );
  const anything = fc.oneof(
    fc.anything({
      withBigInt: true,
      withDate: true,
      withTypedArray: true,
      withSparseArray: true,
      withNullPrototype: true,
      withBoxedValues: true,
    }),
    fc.double(),
    fc.bigInt(),
    fc.string({ unit: 'binary' }),
    fc.constantFrom(null, '1', 'true', '2026-01-01', '10:00', '1 day', '\\x00'),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(fc.tuple(names, anything), { maxLength: 4 }), { maxLength: 4 }),
      fc.boolean(),
      async (rows, upsert) => {
        const given = rows.map((entries, row) => rowOf([['id', 6000 + row], ...entries]));
        // Whatever the others are, the last one is wrong.
        const all = [...given, upsert ? { id: null } : { id: 1 }];
        const code = await refusal(JSON.stringify(fc.stringify(rows)), () =>
          upsert ? db.upsert('t', all) : db.insert('t', all),
        );
        expect(code).toBeDefined();
      },
    ),
    { numRuns: 400, endOnFailure: true },
  );
  await unchanged('rows of anything');
});

test('parameters and options that are wrong are refused', async () => {
  const wrong: string[] = [];
  const calls: readonly (readonly [string, () => Promise<unknown>, RegExp])[] = [
    [
      'too few parameters',
      () => db.query('SELECT $1::int + $2::int', { params: [1] }),
      /^(08P01|42P02|22023|07001)$/,
    ],
    [
      'too many parameters',
      () => db.query('SELECT $1::int', { params: [1, 2] }),
      /^(08P01|42P02|22023|07001)$/,
    ],
    ['no parameters', () => db.query('SELECT $1::int'), /^(08P01|42P02|22023|07001)$/],
    [
      'a parameter of the wrong type',
      () => db.query('SELECT $1::int', { params: ['x'] }),
      /^22P02$/,
    ],
    [
      'a parameter that is NaN',
      () => db.query('SELECT id FROM t WHERE id = $1', { params: [Number.NaN] }),
      /^(22023|22003)$/,
    ],
    [
      'a parameter that is an object',
      () => db.query('SELECT $1::int', { params: [{}] }),
      /^22023$/,
    ],
    [
      'a parameter that is a symbol',
      () => db.query('SELECT $1::text', { params: [Symbol('x')] }),
      /^22023$/,
    ],
    ['a parameter with NUL', () => db.query('SELECT $1::text', { params: ['a\0'] }), /^22021$/],
    [
      'a parameter with half a character',
      () => db.query('SELECT $1::text', { params: ['\ud83d'] }),
      /^22021$/,
    ],
    [
      'parameters that are no array',
      () => db.query('SELECT $1', { params: 5 as never }),
      /^22023$/,
    ],
    ['a text that is none', () => db.query(5 as never), /^22023$/],
    ['a text that is null', () => db.query(null as never), /^22023$/],
    ['a text that is undefined', () => db.exec(undefined as never), /^22023$/],
    ['a table that is none', () => db.insert(5 as never, { id: 1 }), /^(22023|42P01)$/],
    [
      'a table that is undefined',
      () => db.insert(undefined as never, { id: 1 }),
      /^(22023|42P01)$/,
    ],
    ['a table with NUL', () => db.insert('t\0', { id: 1 }), /^42P01$/],
    ['a table named __proto__', () => db.insert('__proto__', { id: 1 }), /^42P01$/],
    ['a time limit that is NaN', () => db.query('SELECT 1', { timeoutMs: Number.NaN }), /^22023$/],
    ['a time limit below zero', () => db.query('SELECT 1', { timeoutMs: -1 }), /^22023$/],
    [
      'a position that is a fraction',
      () => db.query('SELECT * FROM t', { asOf: 1.5 }),
      /^(22023|ADB_POSITION_GONE)$/,
    ],
    [
      'a position to wait for that is NaN',
      () => db.query('SELECT 1', { atLeast: Number.NaN }),
      /^22023$/,
    ],
    [
      'a position that is not there yet',
      () => db.query('SELECT * FROM t', { asOf: 1e9 }),
      /^ADB_POSITION_GONE$/,
    ],
    [
      'a position below zero',
      () => db.query('SELECT * FROM t', { asOf: -1 }),
      /^(22023|ADB_POSITION_GONE)$/,
    ],
    [
      'a position that is NaN',
      () => db.query('SELECT * FROM t', { asOf: Number.NaN }),
      /^(22023|ADB_POSITION_GONE)$/,
    ],
    [
      'a zone that is none',
      () => db.query("SELECT '2026-01-01'::timestamptz::text", { zone: 'Mars/Olympus' }),
      /^22023$/,
    ],
    ['a delete without a key', () => db.delete('t', {}), /^22023$/],
    ['a delete by another column', () => db.delete('t', { i4: 1 }), /^(22023|42703|42P10)$/],
    ['a delete of no value', () => db.delete('t', { id: undefined }), /^(22023|23502)$/],
    ['a delete of the wrong type', () => db.delete('t', { id: 'x' }), /^22P02$/],
    ['an upsert without a key', () => db.upsert('t', { i4: 1 }), /^23502$/],
    ['a subscription to nothing', () => first(db.subscribe('nope')), /^42P01$/],
    ['a subscription to two queries', () => first(db.subscribe('SELECT 1; SELECT 2')), /^42601$/],
    [
      'a subscription from NaN',
      async () => first(db.subscribe('sums', { from: Number.NaN })),
      /^22023$/,
    ],
    ['a rate below zero', async () => first(db.subscribe('sums', { maxRate: -1 })), /^22023$/],
    ['a file that is not there', () => db.load('t', 'nope.csv'), /^58P01$/],
    [
      'a Parquet file that is none',
      () => db.load('t', Buffer.from('nothing'), { format: 'parquet' }),
      /^22[0-9A-Z]{3}$/,
    ],
    [
      'an Arrow file that is none',
      () => db.load('t', Buffer.from('nothing'), { format: 'arrow' }),
      /^(22[0-9A-Z]{3}|0A000)$/,
    ],
    [
      'JSON that is none',
      () => db.load('t', Buffer.from('{"id": '), { format: 'ndjson' }),
      /^22[0-9A-Z]{3}$/,
    ],
    [
      'CSV with a key twice',
      () => db.load('t', Buffer.from('id\n6000\n6000\n'), { format: 'csv' }),
      /^23505$/,
    ],
    [
      'CSV that is no UTF-8',
      () =>
        db.load('t', Buffer.from([105, 100, 44, 115, 10, 54, 48, 48, 48, 44, 255, 10]), {
          format: 'csv',
        }),
      /^22021$/,
    ],
    [
      'CSV with NUL',
      () => db.load('t', Buffer.from('id,s\n6000,a\0b\n'), { format: 'csv' }),
      /^22021$/,
    ],
    [
      'NDJSON with half a character',
      () => db.load('t', Buffer.from('{"id":6000,"s":"\\ud800"}\n'), { format: 'ndjson' }),
      /^22021$/,
    ],
    [
      'NDJSON with NUL in a key',
      () => db.load('t', Buffer.from('{"id":6000,"s\\u0000":"x"}\n'), { format: 'ndjson' }),
      /^(22021|42703)$/,
    ],
    [
      'CSV that fails half-way, atomic',
      () =>
        db.load(
          't',
          Buffer.from(`id\n${Array.from({ length: 9000 }, (_, n) => n + 6000).join('\n')}\nx\n`),
          { format: 'csv', atomic: true },
        ),
      /^22P02$/,
    ],
    [
      'a transaction that throws',
      () =>
        db.transaction(async (tx) => {
          await tx.insert('t', { id: 6000 });
          await tx.insert('t', { id: 6000 });
        }),
      /^23505$/,
    ],
  ];
  for (const [what, call, code] of calls) {
    const got = await refusal(what, async () => call()).catch(
      (cause: unknown) => (cause as Error).message,
    );
    if (got === undefined || !code.test(got)) wrong.push(`${what}: ${got ?? 'taken'}, not ${code}`);
  }
  expect(wrong).toEqual([]);
  await unchanged('wrong parameters and options');
});

test('a memory limit met half-way leaves what was there, and room for what is small', async () => {
  const small = await open({
    memory: '20 MB',
    journal: { kind: 'memory', keep: '1 MB' },
    workers: 0,
  });
  try {
    await small.exec(
      'CREATE TABLE t (id bigint PRIMARY KEY, s text); CREATE MATERIALIZED VIEW v AS SELECT s, count(*) AS n FROM t GROUP BY s',
    );
    await small.insert('t', {
      id: Array.from({ length: 1000 }, (_, id) => id),
      s: Array.from({ length: 1000 }, (_, id) => `s${id}`),
    });
    const state = await stateHash(small);
    const wide = 'x'.repeat(200);
    const count = 400_000;
    const attempts: readonly (readonly [string, () => Promise<unknown>])[] = [
      [
        'INSERT … SELECT',
        () =>
          small.exec(
            `INSERT INTO t SELECT n, n::text || '${wide}' FROM generate_series(10000, ${count + 10_000}) AS g(n)`,
          ),
      ],
      [
        'one batch of columns',
        () =>
          small.insert('t', {
            id: Float64Array.from({ length: count }, (_, row) => row + 10_000),
            s: Array.from({ length: count }, (_, row) => `${row}${wide}`),
          }),
      ],
      [
        'a load in one commit',
        () =>
          small.load(
            't',
            Buffer.from(
              `id,s\n${Array.from({ length: 100_000 }, (_, row) => `${row + 10_000},${row}${wide}`).join('\n')}\n`,
            ),
            { format: 'csv', atomic: true },
          ),
      ],
      [
        'a transaction',
        () =>
          small.transaction(async (tx) => {
            for (let chunk = 0; chunk < 15; chunk += 1)
              await tx.insert(
                't',
                Array.from({ length: 5000 }, (_, row) => ({
                  id: 10_000 + chunk * 5000 + row,
                  s: `${chunk} ${row}${wide}`,
                })),
              );
          }),
      ],
      ['an UPDATE', () => small.exec(`UPDATE t SET s = repeat(s, 20000)`)],
      [
        'a sort',
        () =>
          small.query(
            `SELECT n, repeat('x', 1000) || n FROM generate_series(1, 50000) AS g(n) ORDER BY 2 LIMIT 1 OFFSET 40000`,
          ),
      ],
      [
        'a group',
        () =>
          small.query(
            `SELECT n::text || repeat('x', 1000), count(*) FROM generate_series(1, 50000) AS g(n) GROUP BY 1`,
          ),
      ],
    ];
    const wrong: string[] = [];
    for (const [what, attempt] of attempts) {
      const got = await refusal(what, attempt).catch((cause: unknown) => (cause as Error).message);
      if (got === undefined || !/^(53200|54000)$/.test(got))
        wrong.push(`${what}: ${got ?? 'taken'}`);
      if ((await stateHash(small)) !== state) wrong.push(`${what} changed the state`);
    }
    expect(wrong).toEqual([]);
    await small.insert('t', { id: 5000, s: 'small' });
    expect((await small.query("SELECT n FROM v WHERE s = 'small'")).rows).toEqual([{ n: 1 }]);
  } finally {
    await small.close();
  }
});

test('a thousand inputs and more were refused', () => {
  expect(refused).toBeGreaterThan(1000);
});

async function first(subscription: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of subscription) return;
}

function shortened(text: string): string {
  return text.length > 120 ? `${text.slice(0, 120)}…` : text;
}

function describeValue(value: unknown): string {
  return shortened(typeof value === 'object' ? fc.stringify(value) : String(value));
}
