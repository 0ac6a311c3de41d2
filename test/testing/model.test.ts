/** The oracle itself, against answers that PostgreSQL 15 gave. */
import { beforeAll, expect, test } from 'vitest';
import { Model, ModelError } from '../../src/model/model.ts';

beforeAll(() => Model.load());

const rowsOf = (sql: string, model = new Model()): readonly (readonly (string | null)[])[] =>
  model.query(sql).rows;

test('expressions have the types and the text PostgreSQL gives them', () => {
  expect(
    rowsOf(
      "SELECT 7 / 2, -7 % 3, 7 / 2.0, 1 / 3.0, 1e15::float8, 1e-5::float8, 0.1::float8 + 0.2::float8, 'a' || 1",
    ),
  ).toEqual([
    [
      '3',
      '-1',
      '3.5000000000000000',
      '0.33333333333333333333',
      '1e+15',
      '1e-05',
      '0.30000000000000004',
      'a1',
    ],
  ]);
  expect(
    rowsOf(
      "SELECT DATE '2024-02-28' + 2, TIMESTAMP '2024-01-31 10:00' + INTERVAL '1 month', DATE '2024-03-01' - DATE '2024-02-01'",
    ),
  ).toEqual([['2024-03-01', '2024-02-29 10:00:00', '29']]);
  expect(
    rowsOf(
      "SELECT extract(hour FROM TIMESTAMP '2024-01-02 03:04:05.5'), extract(second FROM TIMESTAMP '2024-01-02 03:04:05.5'), date_trunc('week', TIMESTAMP '2024-01-03')",
    ),
  ).toEqual([['3', '5.500000', '2024-01-01 00:00:00']]);
  expect(
    rowsOf(
      'SELECT round(2.5), round(-2.5), round(2.5::float8), round(1234.567, -2), 2.5::int, 3.5::float8::int, 2.5::float8::int',
    ),
  ).toEqual([['3', '-3', '2', '1200', '3', '4', '2']]);
});

test('logic has three values', () => {
  expect(
    rowsOf(
      'SELECT NULL AND false, NULL OR true, NULL AND true, NOT NULL::bool, 1 IN (2, NULL), 1 NOT IN (1, NULL), NULL IS NOT DISTINCT FROM NULL',
    ),
  ).toEqual([['f', 't', null, null, null, 'f', 't']]);
});

test('sums of doubles are exact and rounded once', () => {
  expect(
    rowsOf('SELECT sum(x), avg(x) FROM (VALUES (1e16::float8), (1), (-1e16)) AS t(x)'),
  ).toEqual([['1', '0.3333333333333333']]);
  expect(rowsOf("SELECT sum(x) FROM (VALUES ('NaN'::float8), (1)) AS t(x)")).toEqual([['NaN']]);
  expect(
    rowsOf(
      'SELECT sum(x), var_pop(x), stddev(x) FROM (VALUES (0.1::float8), (0.1), (0.1)) AS t(x)',
    ),
  ).toEqual([['0.30000000000000004', '0', '0']]);
});

test('HAVING hides no overflow of an aggregate', () => {
  const sql =
    'SELECT sum(x) FROM (VALUES (1.7e308::float8, -1), (1.7e308, -2)) t (x, k) HAVING sum(k) > 0';
  expect(() => rowsOf(sql)).toThrow(expect.objectContaining({ code: '22003' }));
});

test('aggregates of integers and numerics are as wide and as precise as PostgreSQL makes them', () => {
  expect(
    rowsOf(
      'SELECT sum(x), avg(x), var_samp(x), stddev(x), var_pop(x) FROM (VALUES (1), (2), (4)) AS t(x)',
    ),
  ).toEqual([
    ['7', '2.3333333333333333', '2.3333333333333333', '1.5275252316519467', '1.5555555555555556'],
  ]);
  expect(rowsOf('SELECT avg(x), sum(x) FROM (VALUES (1.50), (2.1)) AS t(x)')).toEqual([
    ['1.8000000000000000', '3.60'],
  ]);
  expect(
    rowsOf('SELECT count(*), count(x), sum(x), min(x) FROM (SELECT 1 AS x WHERE false) AS t'),
  ).toEqual([['0', '0', null, null]]);
});

test('groups, having, distinct, order and limit', () => {
  const model = new Model();
  model.exec(
    "CREATE TABLE t (a int, b text, x float8); INSERT INTO t VALUES (1, 'p', 1), (2, 'q', 2), (1, 'p', 4), (NULL, NULL, '-0'), (NULL, 'r', 0)",
  );
  expect(
    rowsOf(
      'SELECT a, count(*), sum(x) FROM t GROUP BY a HAVING count(*) > 1 ORDER BY a NULLS FIRST',
      model,
    ),
  ).toEqual([
    [null, '2', '0'],
    ['1', '2', '5'],
  ]);
  expect(rowsOf('SELECT DISTINCT b FROM t ORDER BY b DESC LIMIT 2', model)).toEqual([
    [null],
    ['r'],
  ]);
  expect(rowsOf('SELECT DISTINCT ON (b) b, x FROM t ORDER BY b, x DESC', model)).toEqual([
    ['p', '4'],
    ['q', '2'],
    ['r', '0'],
    [null, '-0'],
  ]);
  expect(rowsOf('SELECT x AS k, count(*) FROM t WHERE a IS NULL GROUP BY x', model)).toEqual([
    ['0', '2'],
  ]);
});

test('joins, subqueries and set operations', () => {
  const model = new Model();
  model.exec('CREATE TABLE l (k int, v text); CREATE TABLE r (k int, w text)');
  model.exec(
    "INSERT INTO l VALUES (1, 'a'), (2, 'b'), (NULL, 'c'); INSERT INTO r VALUES (2, 'x'), (2, 'y'), (3, 'z'), (NULL, 'n')",
  );
  expect(rowsOf('SELECT v, w FROM l JOIN r USING (k) ORDER BY w', model)).toEqual([
    ['b', 'x'],
    ['b', 'y'],
  ]);
  expect(rowsOf('SELECT k, v, w FROM l FULL JOIN r USING (k) ORDER BY v, w', model)).toEqual([
    ['1', 'a', null],
    ['2', 'b', 'x'],
    ['2', 'b', 'y'],
    [null, 'c', null],
    [null, null, 'n'],
    ['3', null, 'z'],
  ]);
  expect(rowsOf('SELECT v FROM l WHERE EXISTS (SELECT FROM r WHERE r.k = l.k)', model)).toEqual([
    ['b'],
  ]);
  expect(rowsOf('SELECT v FROM l WHERE k NOT IN (SELECT k FROM r)', model)).toEqual([]);
  expect(
    rowsOf('SELECT v, (SELECT count(*) FROM r WHERE r.k = l.k) FROM l ORDER BY v', model),
  ).toEqual([
    ['a', '0'],
    ['b', '2'],
    ['c', '0'],
  ]);
  expect(rowsOf('SELECT k FROM l UNION SELECT k FROM r ORDER BY 1', model)).toEqual([
    ['1'],
    ['2'],
    ['3'],
    [null],
  ]);
  expect(rowsOf('SELECT k FROM r EXCEPT ALL SELECT k FROM l ORDER BY k', model)).toEqual([
    ['2'],
    ['3'],
  ]);
  expect(
    rowsOf(
      'SELECT s.n, l.v FROM generate_series(1, 2) AS s(n) CROSS JOIN LATERAL (SELECT v FROM l WHERE k = s.n) AS l ORDER BY 1',
      model,
    ),
  ).toEqual([
    ['1', 'a'],
    ['2', 'b'],
  ]);
});

test('a statement that fails changes nothing, a failed transaction neither', () => {
  const model = new Model();
  model.exec('CREATE TABLE t (id int PRIMARY KEY, x int NOT NULL DEFAULT 5 CHECK (x > 0))');
  model.exec('INSERT INTO t (id) VALUES (1), (2)');
  const code = (sql: string): string | undefined => {
    try {
      model.exec(sql);
    } catch (cause) {
      return (cause as ModelError).code;
    }
    return undefined;
  };
  expect(code('INSERT INTO t VALUES (3, 1), (1, 1)')).toBe('23505');
  expect(code('INSERT INTO t VALUES (3, NULL)')).toBe('23502');
  expect(code('UPDATE t SET x = x - 5')).toBe('23514');
  expect(code('UPDATE t SET x = x / 0')).toBe('22012');
  expect(code('BEGIN; DELETE FROM t')).toBe(undefined);
  expect(code('SELECT nothing')).toBe('42703');
  expect(code('SELECT 1')).toBe('25P02');
  expect(code('COMMIT')).toBe(undefined);
  model.exec(
    'INSERT INTO t VALUES (2, 9), (3, 7) ON CONFLICT (id) DO UPDATE SET x = excluded.x + t.x',
  );
  expect(model.exec('UPDATE t SET id = 4 - id WHERE id <> 2 RETURNING id, x').rows).toEqual([
    ['3', '5'],
    ['1', '7'],
  ]);
  expect(rowsOf('SELECT * FROM t ORDER BY id', model)).toEqual([
    ['1', '7'],
    ['2', '14'],
    ['3', '5'],
  ]);
  expect(model.exec('DELETE FROM t USING (VALUES (2)) AS v(id) WHERE t.id = v.id').count).toBe(1);
});

test('a view is its query, run again', () => {
  const model = new Model();
  model.exec(
    'CREATE TABLE t (g int, x numeric(6, 2)); CREATE MATERIALIZED VIEW v AS SELECT g, sum(x) AS s FROM t GROUP BY g; CREATE VIEW w (total) AS SELECT sum(s) FROM v',
  );
  model.exec('INSERT INTO t VALUES (1, 1.005), (1, 2), (2, 3)');
  expect(rowsOf('SELECT * FROM v ORDER BY g', model)).toEqual([
    ['1', '3.01'],
    ['2', '3.00'],
  ]);
  expect(rowsOf('SELECT total FROM w', model)).toEqual([['6.01']]);
});
