/**
 * IN and NOT IN say what OR of equalities says, with three truth values, for every type: whatever of the list is written, given as a parameter,
 * cast, or made by a function of the statement.
 */
import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { open } from '../../src/open.ts';
import { both, either, NAMES, opposite, quoted, tables, TYPES, type Truth } from './every-type.ts';

// Nothing here asserts time; a loaded machine may take long.
vi.setConfig({ testTimeout: 120_000 });

const FORMS = ['literal', 'parameter', 'cast', 'settled'] as const;

type Listed = { readonly text: string | null; readonly form: (typeof FORMS)[number] };
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
