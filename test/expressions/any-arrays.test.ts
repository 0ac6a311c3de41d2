/**
 * ANY and ALL of an array say what OR and AND of comparisons say, with three truth values, for every type and every comparison: whether the array
 * is a parameter, a text, or written out.
 */
import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { DbError } from '../../src/base/errors.ts';
import { open } from '../../src/open.ts';
import { both, either, NAMES, opposite, quoted, tables, TYPES, type Truth } from './every-type.ts';

// Nothing here asserts time; a loaded machine may take long.
vi.setConfig({ testTimeout: 120_000 });

const OPERATORS = ['=', '<>', '<', '<=', '>', '>='] as const;
const FORMS = [
  'parameter',
  'cast parameter',
  'text',
  'constructor',
  'text of a parameter',
] as const;

/** PostgreSQL's text of an array. */
function arrayText(items: readonly (string | null)[]): string {
  return `{${items
    .map((item) => (item === null ? 'NULL' : `"${item.replaceAll(/["\\]/g, String.raw`\$&`)}"`))
    .join(',')}}`;
}

test('ANY is OR and ALL is AND of comparisons', async () => {
  const { db, rowCount } = await tables();
  const compared = new Map<string, readonly Truth[]>();
  const compare = async (at: number, operator: string, text: string | null) => {
    const name = `${at} ${operator} ${String(text)}`;
    const known = compared.get(name);
    if (known !== undefined) return known;
    const sql = `SELECT c${at} ${operator} ${quoted(text)}::${NAMES[at]!} AS is FROM few ORDER BY id`;
    const truths = (await db.query(sql)).rows.map((row) => row['is'] as Truth);
    compared.set(name, truths);
    return truths;
  };
  const cases = fc.nat(NAMES.length - 1).chain((at) =>
    fc.record({
      at: fc.constant(at),
      items: fc.array(fc.constantFrom(null, ...TYPES[NAMES[at]!]!), { maxLength: 8 }),
      operator: fc.constantFrom(...OPERATORS),
      all: fc.boolean(),
      isNegated: fc.boolean(),
      form: fc.constantFrom(...FORMS),
    }),
  );
  await fc.assert(
    fc.asyncProperty(cases, async ({ at, items, operator, all, isNegated, form }) => {
      const type = NAMES[at]!;
      const params: unknown[] =
        form === 'parameter' || form === 'cast parameter'
          ? [items]
          : form === 'text of a parameter'
            ? [arrayText(items)]
            : [];
      const array =
        form === 'text'
          ? `${quoted(arrayText(items))}::${type}[]`
          : form === 'constructor'
            ? `ARRAY[${items.map(quoted).join()}]::${type}[]`
            : form === 'parameter'
              ? '$1'
              : `$1::${type}[]`;
      const condition = `${isNegated ? 'NOT ' : ''}c${at} ${operator} ${all ? 'ALL' : 'ANY'} (${array})`;
      const columns = await Promise.all(items.map((text) => compare(at, operator, text)));
      const expected = Array.from({ length: rowCount }, (_, row): Truth => {
        const truth = (all ? both : either)(columns.map((truths) => truths[row]!));
        return isNegated ? opposite(truth) : truth;
      });
      const told = await db.query(`SELECT ${condition} AS is FROM few ORDER BY id`, { params });
      expect(told.rows.map((row) => row['is'])).toEqual(expected);
      const passed = expected.flatMap((truth, row) => (truth === true ? [row] : []));
      for (const sql of [
        `SELECT id FROM few WHERE ${condition} ORDER BY id`,
        `SELECT DISTINCT id FROM many WHERE ${condition} ORDER BY id`,
        `SELECT id FROM few GROUP BY id, c${at} HAVING ${condition} ORDER BY id`,
        `SELECT a.id FROM few a LEFT JOIN (SELECT id, c${at} FROM few) b ON b.id = a.id WHERE ${condition.replace(/\bc\d+/, 'b.$&')} ORDER BY a.id`,
      ])
        expect((await db.query(sql, { params })).rows.map((row) => row['id'])).toEqual(passed);
    }),
    { numRuns: 300 },
  );
  await db.close();
});

test('one plan takes arrays of every length, and NULL', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, s text)');
  await db.exec("INSERT INTO t SELECT i, 's' || i FROM generate_series(1, 100) i(i)");
  const ids = async (condition: string, ...params: unknown[]): Promise<unknown[]> =>
    (await db.query(`SELECT id FROM t WHERE ${condition} ORDER BY id`, { params })).rows.map(
      ({ id }) => id,
    );
  for (const [array, found] of [
    [
      [3, 1],
      [1, 3],
    ],
    [[], []],
    [[7, 7, null, 999], [7]],
    [null, []],
    [Int32Array.of(5, 6), [5, 6]],
    [BigInt64Array.of(8n), [8]],
    [Float64Array.of(9), [9]],
    ['{10, 11}', [10, 11]],
    [
      ['12', 13n],
      [12, 13],
    ],
  ] as const)
    expect(await ids('id = ANY ($1)', array)).toEqual(found);
  expect(await ids('s = ANY ($1) AND id <> ALL ($2)', ['s1', 's2', 's3'], [2])).toEqual([1, 3]);
  expect(await ids('s LIKE ANY ($1) AND s NOT LIKE ALL ($2)', ['s1_', '%9'], ['%9', 'x'])).toEqual([
    10, 11, 12, 13, 14, 15, 16, 17, 18,
  ]);
  expect(await ids('($1::int[] IS NULL OR id = ANY ($1)) AND id < 3', null)).toEqual([1, 2]);
  expect(await ids('($1::int[] IS NULL OR id = ANY ($1)) AND id < 3', [2])).toEqual([2]);
  expect(await ids('id = ANY (ARRAY(SELECT id + 1 FROM t WHERE id = ANY ($1)))', [1, 5])).toEqual([
    2, 6,
  ]);
  expect(await ids('id = ANY ($1::bigint[])', ['1', '9007199254740993'])).toEqual([1]);
  expect(await ids('id = ANY ($1) AND s = ANY ($2::text[])', [1, 2], ['s2'])).toEqual([2]);
});

test('UPDATE, DELETE, INSERT … SELECT, transactions, views and EXECUTE take arrays', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, n int)');
  await db.exec('INSERT INTO t SELECT i, 0 FROM generate_series(1, 10) i(i)');
  await db.exec(
    'CREATE MATERIALIZED VIEW picked AS SELECT id, n FROM t WHERE id = ANY (ARRAY[1, 2, 3])',
  );
  await db.exec("CREATE VIEW others AS SELECT id FROM picked WHERE n <> ALL ('{0,NULL}'::int[])");
  const rows = async (sql: string): Promise<unknown[]> => (await db.query(sql)).rows;
  await db.exec('UPDATE t SET n = 1 WHERE id = ANY ($1)', { params: [[1, 5]] });
  expect(await rows('SELECT id FROM t WHERE n = 1 ORDER BY id')).toEqual([{ id: 1 }, { id: 5 }]);
  expect(await rows('SELECT * FROM picked ORDER BY id')).toEqual([
    { id: 1, n: 1 },
    { id: 2, n: 0 },
    { id: 3, n: 0 },
  ]);
  expect(await rows('SELECT * FROM others')).toEqual([]);
  const gone = await db.query(
    'DELETE FROM t WHERE id = ANY ($1) RETURNING id, id = ANY ($2) AS is',
    {
      params: [[2, 3, 3], [3]],
    },
  );
  expect(gone.rows).toEqual([
    { id: 2, is: false },
    { id: 3, is: true },
  ]);
  await db.exec(
    'INSERT INTO t VALUES (1, 7) ON CONFLICT (id) DO UPDATE SET n = 8 WHERE t.n = ANY ($1)',
    { params: [[1]] },
  );
  expect(await rows('SELECT * FROM picked')).toEqual([{ id: 1, n: 8 }]);
  await db.transaction(async (tx) => {
    await tx.exec('INSERT INTO t VALUES (20, 2)');
    const { rows: seen } = await tx.query('SELECT id FROM t WHERE id = ANY ($1) ORDER BY id', {
      params: [[20, 4, 21]],
    });
    expect(seen).toEqual([{ id: 4 }, { id: 20 }]);
  });
  const session = db.session();
  await session.exec('PREPARE p (int[]) AS SELECT id FROM t WHERE id = ANY ($1) ORDER BY id');
  for (const [given, found] of [
    ['ARRAY[1, 4]', [1, 4]],
    ["'{4,5,99}'", [4, 5]],
    ['NULL', []],
    ['ARRAY[]::int[]', []],
  ] as const)
    expect((await session.query(`EXECUTE p(${given})`)).rows.map(({ id }) => id)).toEqual(found);
  await session.close();
});

test('what is followed with an array is told', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY)');
  await db.exec('INSERT INTO t VALUES (1), (2)');
  for (const [array, seen] of [
    [[1, 3], [1]],
    [[], []],
    [null, []],
  ] as const) {
    const stop = new AbortController();
    const told: unknown[] = [];
    const followed = db.subscribe('SELECT id FROM t WHERE id = ANY ($1)', {
      params: [array],
      signal: stop.signal,
    });
    for await (const event of followed) {
      if (event.kind !== 'snapshot') continue;
      told.push(...event.rows.map((row) => (row as { readonly id: number }).id));
      break;
    }
    expect(told).toEqual(seen);
  }
});

test('keys of an array are looked up, and segments without one are passed by', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, n int)');
  await db.exec('INSERT INTO t SELECT i, i FROM generate_series(0, 199999) i(i)');
  const work = async (sql: string, ...params: unknown[]): Promise<number> =>
    (await db.query(sql, { params })).meta.work;
  const keys = Array.from({ length: 1000 }, (_, at) => at * 190);
  const placed = keys.map((_, at) => `$${at + 1}`).join();
  expect(await work('SELECT n FROM t WHERE id = ANY ($1)', keys)).toBe(
    await work(`SELECT n FROM t WHERE id IN (${placed})`, ...keys),
  );
  expect(await work('SELECT n FROM t WHERE id = ANY ($1)', [])).toBeLessThan(100);
  expect(
    (
      await db.query('EXPLAIN SELECT n FROM t WHERE id = ANY ($1) AND n < ANY ($2)', {
        params: [[1], [2]],
      })
    ).rows
      .map((row) => String(Object.values(row)[0]))
      .join('\n'),
  ).toMatch(/id = ANY \(\$1\).*n < ANY \(\$2\)/s);
});

test('what is no array, and what of it is wrong, is told', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, s text)');
  await db.exec("INSERT INTO t VALUES (1, 'a')");
  const refused = async (condition: string, ...params: unknown[]): Promise<unknown> =>
    db.query(`SELECT id FROM t WHERE ${condition}`, { params }).then(
      () => 'taken',
      (cause: unknown) => {
        const { code, message, field } = cause as DbError;
        return [code, message, field];
      },
    );
  expect(await refused('id = ANY ($1)', [1, 'x', 3])).toEqual([
    '22P02',
    'parameter $1, item 2: invalid input syntax for type integer: "x"',
    'params.0.1',
  ]);
  expect(await refused('id = ANY ($1)', [1, 2 ** 40])).toMatchObject([
    '22003',
    expect.stringMatching(/^parameter \$1, item 2: /),
    'params.0.1',
  ]);
  expect(await refused('id = ANY ($1)', [1, undefined])).toEqual([
    '22023',
    'parameter $1, item 2 is undefined',
    'params.0.1',
  ]);
  expect(await refused('id = ANY ($1)', Array.from({ length: 3 }))).toMatchObject({ 0: '22023' });
  expect(await refused('id = ANY ($1)', [1, [2]])).toMatchObject({ 0: '0A000', 2: 'params.0.1' });
  expect(await refused('id = ANY ($1)', 5)).toEqual([
    '22023',
    'parameter $1 is no array',
    'params.0',
  ]);
  expect(await refused('id = ANY ($1)', '1,2')).toMatchObject({ 0: '22P02', 2: 'params.0' });
  expect(await refused('id = ANY ($1)', { 0: 1 })).toMatchObject({ 0: '22023' });
  expect(await refused('id = ANY ($1)', new Float64Array(70_000))).toMatchObject({ 0: '54000' });
  expect(await refused('s LIKE ANY ($1)', Array.from({ length: 101 }, String))).toMatchObject({
    0: '54000',
  });
  expect(await refused('id = $1 OR id = ANY ($1)', 1)).toMatchObject({ 0: '42P08' });
  expect(await refused('id = ANY ($1) OR id = $1', [1])).toMatchObject({ 0: '0A000' });
  expect(await refused('id = ANY (id)')).toMatchObject({ 0: '42809' });
  expect(await refused('id + ANY ($1) > 1', [1])).toMatchObject({ 0: '42809' });
  expect(await refused("id = ANY ('{1,x}')")).toMatchObject({ 0: '22P02' });
  expect(await refused("id = ANY ('{1,{2}}')")).toMatchObject({ 0: '0A000' });
  expect(await refused('id = ANY (ARRAY[ARRAY[1]])')).toMatchObject({ 0: '0A000' });
  expect(await refused('id IN ($1)', [[1, 2]])).toMatchObject({ 0: '22023' });
  await expect(db.exec('CREATE VIEW v AS SELECT id FROM t WHERE id = ANY ($1)')).rejects.toThrow(
    'a view cannot have parameters',
  );
  await expect(db.exec('CREATE TABLE u (a int[])')).rejects.toThrow(DbError);
});

test('tiles, windows and progressive answers take arrays', async () => {
  await using db = await open({ workers: 0 });
  await db.exec("CREATE TABLE t (ts timestamptz NOT NULL, g text, x int) WITH (time = 'ts')");
  await db.exec(
    "INSERT INTO t SELECT timestamptz '2026-01-01Z' + i * interval '10 seconds', 'g' || i % 7, i FROM generate_series(0, 99999) i(i)",
  );
  const ask = async (tiles: string, condition: string, ...params: unknown[]) => {
    const session = db.session();
    await session.exec(`SET enable_window_tiles = ${tiles}`);
    const { rows, meta } = await session.query(
      `SELECT date_trunc('day', ts) AS day, count(*), sum(x) FROM t WHERE ts >= '2026-01-02Z' AND ts < '2026-01-09Z' AND ${condition} GROUP BY 1 ORDER BY 1`,
      { params },
    );
    await session.close();
    return { rows, source: meta.source };
  };
  for (const array of [['g1', 'g5'], ['g1', null], [], null])
    for (const condition of ['g = ANY ($1)', 'g <> ALL ($1)', 'g > ANY ($1)', 'g LIKE ALL ($1)']) {
      const [scanned, tiled] = [
        await ask('off', condition, array),
        await ask('on', condition, array),
      ];
      expect(tiled.rows).toEqual(scanned.rows);
    }
  expect((await ask('on', 'g = ANY ($1)', ['g1'])).source).toBe('windows');
  expect(
    (await ask('on', 'ts >= ALL ($1) AND g = ANY ($2)', ['2026-01-03Z'], ['g1', 'g2'])).rows,
  ).toEqual((await ask('off', 'ts >= $1 AND g IN ($2, $3)', '2026-01-03Z', 'g1', 'g2')).rows);
  const progressive = db.progressive('SELECT count(*) AS n FROM t WHERE g = ANY ($1)', {
    params: [['g1', 'g5']],
  });
  expect((await progressive.result()).rows).toMatchObject([{ n: { value: 28_571 } }]);
});
