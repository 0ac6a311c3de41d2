/**
 * IN and NOT IN say what OR of equalities says, with three truth values, for every type: whatever of the list is written, given as a parameter,
 * cast, or made by a function of the statement.
 */
import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { open } from '../../src/open.ts';

// Nothing here asserts time; a loaded machine may take long.
vi.setConfig({ testTimeout: 120_000 });

/** Texts of each type at which something changes, several of them equal to others. */
const TYPES: Readonly<Record<string, readonly string[]>> = {
  boolean: ['true', 'false', 'f'],
  smallint: ['0', '1', '-1', '32767', '-32768'],
  int: ['0', '1', '-1', '7', '2147483647', '-2147483648'],
  bigint: ['0', '1', '9007199254740991', '9007199254740993', '-9223372036854775808'],
  numeric: ['0', '0.00', '1', '1.0', '-1.50', '-1.5', 'NaN', '1e20', '12345678901234567890.50'],
  'numeric(8, 2)': ['0', '1', '1.50', '-2.55', '0.05', '123456.78'],
  real: ['0', '-0', '1.5', '0.1', 'NaN', 'Infinity', '1e-45'],
  'double precision': ['0', '-0', '0.1', '-2.5', '1e308', '5e-324', 'NaN', '-Infinity'],
  text: ['', 'a', 'a ', 'A', 'ü', '😀', '1'],
  'varchar(3)': ['', 'a', 'a ', 'b_'],
  'char(3)': ['a', 'a  ', '', 'bc'],
  date: ['2024-02-29', '1970-01-01', '0001-01-01', 'infinity'],
  time: ['00:00', '24:00', '12:30', '12:30:00.000001'],
  timestamp: ['2024-03-10 02:30', '1969-12-31 23:59:59.5', '-infinity'],
  timestamptz: ['2024-03-10 07:00+00', '2024-03-10 08:00+01', '290000-01-01 00:00+00'],
  interval: ['0', '1 mon', '30 days', '720:00:00', '-1 day 3 hours'],
  uuid: ['00000000-0000-0000-0000-000000000000', 'FFFFFFFF-ffff-ffff-ffff-ffffffffffff'],
  bytea: [String.raw`\x`, String.raw`\x00ff`, String.raw`\x00FF`, String.raw`\x6162`],
};
const NAMES = Object.keys(TYPES);

const FORMS = ['literal', 'parameter', 'cast', 'settled'] as const;

type Listed = { readonly text: string | null; readonly form: (typeof FORMS)[number] };
type Truth = boolean | null;

function either(truths: readonly Truth[]): Truth {
  return truths.includes(true) ? true : truths.includes(null) ? null : false;
}

function both(truths: readonly Truth[]): Truth {
  return truths.includes(false) ? false : truths.includes(null) ? null : true;
}

function opposite(truth: Truth): Truth {
  return truth === null ? null : !truth;
}

function quoted(text: string | null): string {
  return text === null ? 'NULL' : `'${text.replaceAll("'", "''")}'`;
}

/** A table of one column a type, each with all of its texts and NULL, in two layouts: in rows that are open, and sealed. */
async function tables() {
  const db = await open({ workers: 0 });
  const columns = NAMES.map((type, at) => `c${at} ${type}`).join(', ');
  await db.exec(`CREATE TABLE few (id int PRIMARY KEY, ${columns})`);
  const rowCount = Math.max(...NAMES.map((type) => TYPES[type]!.length)) + 1;
  for (let row = 0; row < rowCount; row += 1) {
    const values = NAMES.map((type) => quoted(TYPES[type]![row] ?? null)).join(', ');
    await db.exec(`INSERT INTO few VALUES (${row}, ${values})`);
  }
  // Whole segments, whose columns are encoded: each row a few thousand times.
  await db.exec(`CREATE TABLE many (n int, id int, ${columns})`);
  await db.exec(
    `INSERT INTO many SELECT n, few.* FROM generate_series(1, ${Math.ceil(70_000 / rowCount)}) s(n), few`,
  );
  return { db, rowCount };
}

const listed = (type: string): fc.Arbitrary<Listed> =>
  fc.record({
    text: fc.constantFrom(null, ...TYPES[type]!),
    form: fc.constantFrom(...FORMS),
  });

test('IN is OR of equalities, whatever is listed', async () => {
  const { db, rowCount } = await tables();
  // What one value equals, asked alone.
  const equals = new Map<string, readonly Truth[]>();
  for (const [at, type] of NAMES.entries()) {
    for (const text of [null, ...TYPES[type]!]) {
      const sql = `SELECT c${at} = ${quoted(text)}::${type} AS is FROM few ORDER BY id`;
      const { rows } = await db.query(sql);
      equals.set(
        `${at} ${String(text)}`,
        rows.map((row) => row['is'] as Truth),
      );
    }
  }
  const lists = fc
    .uniqueArray(fc.nat(NAMES.length - 1), { minLength: 1, maxLength: 3 })
    .chain((columns) =>
      fc.record({
        columns: fc.constant(columns),
        rows: fc.array(fc.tuple(...columns.map((at) => listed(NAMES[at]!))), {
          minLength: 1,
          maxLength: 24,
        }),
        isNegated: fc.boolean(),
      }),
    );
  await fc.assert(
    fc.asyncProperty(lists, async ({ columns, rows, isNegated }) => {
      const params: (string | null)[] = [];
      const written = rows.map((row) => {
        const items = row.map(({ text, form }, place) => {
          const type = NAMES[columns[place]!]!;
          if (form === 'literal') return `${quoted(text)}::${type}`;
          params.push(text);
          if (form === 'parameter') return `$${params.length}`;
          const value = `$${params.length}::text::${type}`;
          return form === 'cast' ? value : `coalesce(${value}, ${value})`;
        });
        return items.length === 1 ? items[0]! : `(${items.join(', ')})`;
      });
      const left = columns.map((at) => `c${at}`);
      const shown = left.length === 1 ? left[0]! : `(${left.join(', ')})`;
      const condition = `${shown} ${isNegated ? 'NOT ' : ''}IN (${written.join(', ')})`;
      const expected = Array.from({ length: rowCount }, (_, row): Truth => {
        const found = either(
          rows.map((items) =>
            both(
              items.map(
                ({ text }, place) => equals.get(`${columns[place]!} ${String(text)}`)![row]!,
              ),
            ),
          ),
        );
        return isNegated ? opposite(found) : found;
      });
      const told = await db.query(`SELECT ${condition} AS is FROM few ORDER BY id`, { params });
      expect(told.rows.map((row) => row['is'])).toEqual(expected);
      const passed = expected.flatMap((truth, row) => (truth === true ? [row] : []));
      const some = await db.query(`SELECT id FROM few WHERE ${condition} ORDER BY id`, { params });
      expect(some.rows.map((row) => row['id'])).toEqual(passed);
      const sealed = await db.query(`SELECT DISTINCT id FROM many WHERE ${condition} ORDER BY id`, {
        params,
      });
      expect(sealed.rows.map((row) => row['id'])).toEqual(passed);
      const grouped = await db.query(
        `SELECT id FROM few GROUP BY id, ${left.join(', ')} HAVING ${condition} ORDER BY id`,
        { params },
      );
      expect(grouped.rows.map((row) => row['id'])).toEqual(passed);
    }),
    { numRuns: 150 },
  );
  await db.close();
});

test('what is listed and fails tells so only where a row gets there', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (x int, s text)');
  await db.exec("INSERT INTO t VALUES (1, '1'), (1, NULL)");
  expect((await db.query('SELECT x FROM t WHERE x IN (1, $1 / 0)', { params: [4] })).rows).toEqual([
    { x: 1 },
    { x: 1 },
  ]);
  await expect(db.query('SELECT x FROM t WHERE x IN (2, $1 / 0)', { params: [4] })).rejects.toThrow(
    'division by zero',
  );
  await expect(
    db.query('SELECT x FROM t WHERE x IN (2, $1::text::int)', { params: ['no'] }),
  ).rejects.toThrow('invalid input syntax for type integer: "no"');
  await expect(
    db.query('SELECT x FROM t WHERE x IN ($1, $2)', { params: [1, 'no'] }),
  ).rejects.toThrow('parameter $2: ');
  await db.exec('DELETE FROM t');
  expect((await db.query('SELECT x FROM t WHERE x IN (2, $1 / 0)', { params: [4] })).rows).toEqual(
    [],
  );
});

test('a list that changes from row to row, or with each look, is no set', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int, x int)');
  await db.exec('INSERT INTO t VALUES (1, 1), (2, 5), (3, NULL)');
  const ids = async (condition: string, params: unknown[] = []): Promise<unknown[]> =>
    (await db.query(`SELECT id FROM t WHERE ${condition} ORDER BY id`, { params })).rows.map(
      (row) => row['id'],
    );
  expect(await ids('x IN (id, $1)', [5])).toEqual([1, 2]);
  expect(await ids('x IN (floor(random())::int + 5, $1, 7)', [8])).toEqual([2]);
  expect(await ids('x NOT IN ($1, $2)', [5, null])).toEqual([]);
  expect(await ids('x IN ((SELECT max(x) FROM t), $1)', [8])).toEqual([2]);
  expect(await ids('EXISTS (SELECT 1 FROM t i WHERE i.x IN (t.id, $1))', [8])).toEqual([1]);
  expect(await ids('(id, x) IN (($1, 1), (2, id + 3), (9, 9))', [1])).toEqual([1, 2]);
  expect(await ids('(id, x) NOT IN ((1, 1), (3, 4))')).toEqual([2]);
});
