import { expect, test } from 'vitest';
import type { DbError } from '../../src/base/errors.ts';
import { open, type Database } from '../../src/index.ts';
import { VALUES_TEXT_LENGTH_MIN } from '../../src/sql/parse.ts';

/** Long texts are read by our own reader of rows, short ones by the parser; blanks behind the rows move no place. */
const PADDING = ' '.repeat(VALUES_TEXT_LENGTH_MIN);

// prettier-ignore
const TYPES = [
  'smallint', 'int', 'bigint', 'real', 'double precision', 'numeric', 'numeric(6,2)', 'numeric(3,-1)', 'text', 'varchar', 'varchar(3)',
  'char(4)', 'boolean', 'date', 'time', 'time(0)', 'timestamp', 'timestamp(0)', 'timestamptz', 'timestamptz(3)', 'interval',
  'interval day', 'uuid', 'bytea',
];
// prettier-ignore
const LITERALS = [
  '1', '007', '-5', '- 5', '-0', '-0.0', '-  0.00', '1.005', '.5', '1.', '-2.675', '1e2', '1E-3', '32768', '2147483648', '-2147483649',
  '9007199254740993', '9223372036854775807', '9223372036854775808', '123456.789', '99999.995', '1e400', '20260101', 'true', 'FALSE', 'null',
  'DEFAULT', "''", "'x'", "'it''s'", "'äö€'", "'😀😀'", "'abcd'", "'abc  '", "' 12 '", "'-0'", "'12.5'", "'1e3'", "'NaN'", "'-Infinity'",
  "'infinity'", "'t'", "'F'", "'yes'", "'true'", "'2026-01-31'", "'2026-02-30'", "'2026-03-29 02:30:00'", "'2026-01-01 12:34:56.789'",
  "'2026-01-01T12:34:56.5Z'", "'2026-01-01 12:34:56+02'", "'12:34:56.7'", "'1 day 2 hours'", "'3'", "'\\x0aff'",
  "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'1_000'", "'0x1F'",
];

test.each(['UTC', 'Europe/Berlin'])(
  'every literal becomes what the parser’s way makes of it in every type, or the same error in its place (%s)',
  async (zone) => {
    const db = await open({ zone });
    const outcome = async (values: string, table: string): Promise<Record<string, unknown>> => {
      await db.exec(`DELETE FROM ${table}`);
      return db
        .query(`INSERT INTO ${table} VALUES ${values} RETURNING v, v::text AS t`, {
          format: 'text',
        })
        .then(
          ({ rows }) => ({ values: values.trim(), rows }),
          ({ code, message, column }: DbError) => ({ values, code, message, column }),
        );
    };
    for (const [index, type] of TYPES.entries()) {
      const table = `t${index}`;
      await db.exec(`CREATE TABLE ${table} (v ${type})`);
      const taken: string[] = [];
      const rows: unknown[] = [];
      for (const literal of LITERALS) {
        const short = await outcome(`(${literal})`, table);
        expect(await outcome(`(${literal})${PADDING}`, table), type).toEqual({
          ...short,
          values: expect.any(String),
        });
        if (short['rows'] === undefined) continue;
        taken.push(literal);
        rows.push(...(short['rows'] as unknown[]));
      }
      const all = taken.map((literal) => `(${literal})`).join(', ');
      expect(await outcome(all + PADDING, table), type).toMatchObject({ rows });
    }
    await db.close();
  },
  60_000,
);

async function opened(): Promise<Database> {
  const db = await open();
  await db.exec(
    "CREATE TABLE t (id serial PRIMARY KEY, v int NOT NULL, w text DEFAULT 'none', x int GENERATED ALWAYS AS (v * 2) STORED)",
  );
  return db;
}

const ROWS = 5_000;

function insert(value: (row: number) => string, rest = '', columns = 'id, v, w'): string {
  const rows = Array.from({ length: ROWS }, (_, row) => `(${value(row)})`);
  return `INSERT INTO t (${columns}) VALUES ${rows.join(',\n')} ${rest}`;
}

test('an INSERT of many rows is one commit, all or none, and tells the first value that is wrong with its place', async () => {
  const db = await opened();
  const { meta } = await db.query(insert((row) => `${row}, ${row}, 'w${row % 7}'`));
  const sums = 'SELECT count(*)::int AS n, sum(v)::int AS v, sum(x)::int AS x FROM t';
  const whole = { n: ROWS, v: (ROWS * (ROWS - 1)) / 2, x: ROWS * (ROWS - 1) };
  expect((await db.query(sums)).rows).toEqual([whole]);

  // Columns are read one after the other: the second one is wrong in an earlier row.
  const wrong = (row: number): string =>
    `${row === 4_321 ? "'many'" : row + ROWS}, ${row === 4_320 ? "'few'" : row}, 'w'`;
  await expect(db.query(insert(wrong))).rejects.toMatchObject({
    code: '22P02',
    message: 'invalid input syntax for type integer: "few"',
    at: { line: 4_321, column: '(9320, '.length + 1 },
  });
  await expect(db.query(insert((row) => `${row + ROWS}, true, 'w'`))).rejects.toMatchObject({
    code: '42804',
    column: 'v',
    at: { line: 1 },
  });
  const twice = (row: number): string => `${row === ROWS - 1 ? 7 : row + ROWS}, 1, 'w'`;
  await expect(db.query(insert(twice))).rejects.toMatchObject({ code: '23505' });
  await expect(
    db.query(insert((row) => `${row + ROWS}, ${row === ROWS - 1 ? 'NULL' : 1}, 'w'`)),
  ).rejects.toMatchObject({ code: '23502' });
  expect((await db.query(sums)).rows).toEqual([whole]);

  const again = insert((row) => `${row + ROWS}, 1, 'w'`, 'RETURNING id, x');
  const returned = await db.query(again);
  expect(returned.meta.position).toBe(meta.position + 1);
  expect(returned.rows).toEqual(
    Array.from({ length: ROWS }, (_, row) => ({ id: row + ROWS, x: 2 })),
  );
  await db.close();
});

test('DEFAULT stands for the column’s own, and takes a number of a sequence only where it stands', async () => {
  const db = await opened();
  await db.query(insert((row) => `DEFAULT, ${row}, ${row % 2 === 0 ? 'DEFAULT' : "'w'"}`));
  await db.query(insert((row) => `${row % 2 === 0 ? 'DEFAULT' : 20_000 + row}, ${row}, NULL`));
  const counts = 'SELECT w, count(*)::int AS n, max(id) AS id FROM t GROUP BY w ORDER BY w';
  expect((await db.query(counts)).rows).toEqual([
    { w: 'none', n: ROWS / 2, id: ROWS - 1 },
    { w: 'w', n: ROWS / 2, id: ROWS },
    { w: null, n: ROWS, id: 24_999 },
  ]);
  const next = await db.query('INSERT INTO t (v) VALUES (1) RETURNING id');
  expect(next.rows).toEqual([{ id: ROWS * 1.5 + 1 }]);
  const generated = insert((row) => `${row}, DEFAULT`, '', 'v, x');
  expect((await db.query(generated)).rowCount).toBe(ROWS);
  await expect(db.query(insert((row) => `${row}, 1`, '', 'v, x'))).rejects.toMatchObject({
    code: '428C9',
  });
  await db.close();
});

test('a conflict is looked for among all rows of the statement', async () => {
  const db = await opened();
  await db.query(insert((row) => `${row}, 1, 'old'`));
  const upsert = insert(
    (row) => `${row * 2}, ${row}, 'new'`,
    'ON CONFLICT (id) DO UPDATE SET v = excluded.v, w = excluded.w',
  );
  expect((await db.query(upsert)).rowCount).toBe(ROWS);
  expect(
    (await db.query('SELECT w, count(*)::int AS n FROM t GROUP BY w ORDER BY w')).rows,
  ).toEqual([
    { w: 'new', n: ROWS },
    { w: 'old', n: ROWS / 2 },
  ]);
  await expect(
    db.query(
      insert((row) => `${row % 4_999}, 1, 'x'`, 'ON CONFLICT (id) DO UPDATE SET v = excluded.v'),
    ),
  ).rejects.toMatchObject({ code: '21000' });
  await db.close();
});

test('a long INSERT keeps its place in its session, and others run while it is read', async () => {
  const db = await opened();
  await db.exec('CREATE TABLE u (v int)');
  const session = db.session();
  const long = session.query(insert((row) => `${row}, ${row}, '${'w'.repeat(200)}'`));
  const after = session.query('SELECT count(*)::int AS n FROM t');
  let isDone = false;
  void long.then(() => (isDone = true));
  await db.insert('u', { v: 1 });
  expect(isDone).toBe(false);
  expect((await after).rows).toEqual([{ n: ROWS }]);
  await session.query('BEGIN');
  await session.query(insert((row) => `${row + ROWS}, ${row}, '${'w'.repeat(200)}'`));
  expect((await session.query('SELECT count(*)::int AS n FROM t')).rows).toEqual([{ n: 2 * ROWS }]);
  await session.query('ROLLBACK');
  expect((await session.query('SELECT count(*)::int AS n FROM t')).rows).toEqual([{ n: ROWS }]);
  await db.close();
});
