import fc from 'fast-check';
import { expect, test } from 'vitest';
import { open } from '../../src/index.ts';
import { filterSql, type Filter } from '../../src/plan/filter-model.ts';

type Row = { id: number; a: number | null; b: number | null; t: string | null };
const TEXTS = ['', 'a', 'ab', 'b%a', 'a_b', 'back\\slash', "quote'd", '$1', 'ABa'];
const ROWS: Row[] = Array.from({ length: 60 }, (_, id) => ({
  id,
  a: id % 7 === 0 ? null : id % 5,
  b: id % 11 === 0 ? null : id % 4,
  t: id % 9 === 0 ? null : TEXTS[id % TEXTS.length]!,
}));

/** What a filter is of a row in three-valued logic; null is unknown. */
function truth(filter: Filter, row: Row): boolean | null {
  const all = filter as Record<string, unknown>;
  const not = (value: boolean | null): boolean | null => (value === null ? null : !value);
  const joined = (list: readonly Filter[], isAnd: boolean): boolean | null => {
    const values = list.map((each) => truth(each, row));
    if (values.includes(!isAnd)) return !isAnd;
    return values.includes(null) ? null : isAnd;
  };
  if ('and' in all) return joined(all['and'] as Filter[], true);
  if ('or' in all) return joined(all['or'] as Filter[], false);
  if ('rules' in all) {
    const rules = all['rules'] as Filter[];
    const value = rules.length === 0 ? true : joined(rules, all['combinator'] === 'and');
    return all['not'] === true ? not(value) : value;
  }
  if ('not' in all) return not(truth(all['not'] as Filter, row));
  const name = (all['column'] ?? all['field']) as 'a' | 'b' | 't';
  const op = (all['op'] ?? all['operator']) as string;
  const left = row[name] as number | null;
  if (op === 'null') return left === null;
  if (op === 'notNull') return left !== null;
  const right =
    all['valueColumn'] === undefined ? all['value'] : row[all['valueColumn'] as 'a' | 'b'];
  if (left === null || right === null) return null;
  const value = right as never as number;
  const text = String(left);
  switch (op) {
    case '=':
      return left === value;
    case '!=':
      return left !== value;
    case '<':
      return left < value;
    case '<=':
      return left <= value;
    case '>':
      return left > value;
    case '>=':
      return left >= value;
    case 'in':
      return (right as unknown[]).includes(left);
    case 'notIn':
      return !(right as unknown[]).includes(left);
    case 'between':
      return left >= (right as number[])[0]! && left <= (right as number[])[1]!;
    case 'notBetween':
      return !(left >= (right as number[])[0]! && left <= (right as number[])[1]!);
    case 'contains':
      return text.includes(String(value));
    case 'beginsWith':
      return text.startsWith(String(value));
    case 'endsWith':
      return text.endsWith(String(value));
    case 'doesNotContain':
      return !text.includes(String(value));
    case 'doesNotBeginWith':
      return !text.startsWith(String(value));
    default:
      return !text.endsWith(String(value));
  }
}

const number = fc.integer({ min: -1, max: 5 });
const numbers = fc.constantFrom('a', 'b');
const comparison = fc.constantFrom('=', '!=', '<', '<=', '>', '>=');
const { filter } = fc.letrec<{ filter: Filter; leaf: Filter }>((tie) => ({
  leaf: fc.oneof(
    fc.record({ column: numbers, op: comparison, value: number }),
    fc.record({ column: numbers, op: comparison, valueColumn: numbers }),
    fc.record({ field: numbers, operator: comparison, value: number }),
    fc.record({ column: numbers, op: fc.constantFrom('null', 'notNull') }),
    fc.record({
      column: numbers,
      op: fc.constantFrom('in', 'notIn'),
      value: fc.array(number, { maxLength: 3 }),
    }),
    fc.record({
      column: numbers,
      op: fc.constantFrom('between', 'notBetween'),
      value: fc.tuple(number, number),
    }),
    fc.record({
      column: fc.constant('t'),
      op: fc.constantFrom(
        '=',
        'contains',
        'beginsWith',
        'endsWith',
        'doesNotContain',
        'doesNotBeginWith',
        'doesNotEndWith',
      ),
      value: fc.constantFrom(...TEXTS, '%', '_', '\\', '1'),
    }),
  ) as fc.Arbitrary<Filter>,
  filter: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    tie('leaf'),
    fc.record({ and: fc.array(tie('filter'), { maxLength: 3 }) }),
    fc.record({ or: fc.array(tie('filter'), { maxLength: 3 }) }),
    fc.record({ not: tie('filter') }),
    fc.record({
      combinator: fc.constantFrom('and', 'or'),
      not: fc.boolean(),
      rules: fc.array(tie('filter'), { maxLength: 3 }),
    }),
  ) as fc.Arbitrary<Filter>,
}));

test('a filter keeps the rows of which it is true', async () => {
  const db = await open({ workers: 0 });
  try {
    await db.exec('CREATE TABLE t (id int PRIMARY KEY, a int, b int, t text)');
    await db.insert('t', ROWS);
    await fc.assert(
      fc.asyncProperty(filter, async (each) => {
        const { text, params } = filterSql(each, 'where');
        // An empty list holds nothing, also of NULL.
        const isWhole = !JSON.stringify(each).includes('"value":[]');
        const { rows } = await db.query<{ id: number }>(
          `SELECT id FROM t WHERE ${text} ORDER BY id`,
          { params },
        );
        const kept = ROWS.filter((row) => truth(each, row) === true).map(({ id }) => id);
        if (isWhole) expect(rows.map(({ id }) => id)).toEqual(kept);
      }),
      { numRuns: 150 },
    );
  } finally {
    await db.close();
  }
});

test('what is no filter is refused, and told where', () => {
  const refusal = (each: unknown): unknown => {
    try {
      filterSql(each, 'where');
      return undefined;
    } catch (cause) {
      const { code, message, field, hint } = cause as Record<string, string>;
      return [code, field, message, hint !== undefined];
    }
  };
  const cases: [unknown, unknown[]][] = [
    [[], ['22023', 'where', '"where" is no filter']],
    [{ and: {} }, ['22023', 'where.and', '"where.and" is no list of conditions']],
    [{ and: [], or: [] }, ['22023', 'where', '"where" is no filter']],
    [{ not: {}, and: [] }, ['22023', 'where', '"where" is no filter']],
    [{ and: [3] }, ['22023', 'where.and.0', '"where.and.0" is no filter']],
    [{ op: '=', value: 1 }, ['22023', 'where.column', 'a condition names no column']],
    [{ column: '', op: '=' }, ['22023', 'where.column', 'a condition names no column']],
    [{ colunm: 'a', op: '=' }, ['22023', 'where.colunm', '"colunm" is no part of a filter']],
    [{ column: 'a', op: 'is' }, ['22023', 'where.op', '"is" is no operator of a filter']],
    [{ column: 'a', op: 'contain' }, ['22023', 'where.op', '"contain" is no operator of a filter']],
    [{ column: 'a', op: '=' }, ['22023', 'where.value', 'a condition compares with nothing']],
    [
      { column: 'a', op: '=', value: null },
      ['22023', 'where.value', 'a condition compares with nothing'],
    ],
    [{ column: 'a', op: 'in', value: 1 }, ['22023', 'where.value', '"in" compares with a list']],
    [
      { column: 'a', op: 'between', value: [1] },
      ['22023', 'where.value', '"between" compares with two values'],
    ],
    [
      { column: 'a', op: 'contains', value: 1 },
      ['22023', 'where.value', '"contains" looks for a text'],
    ],
    [
      { column: 'a', op: 'in', valueColumn: 'b' },
      ['22023', 'where.valueColumn', '"in" compares with no column'],
    ],
    [
      { combinator: 'xor', rules: [] },
      ['22023', 'where.combinator', '"combinator" is neither "and" nor "or"'],
    ],
    [
      { combinator: 'and', rules: 1 },
      ['22023', 'where.rules', '"where.rules" is no list of conditions'],
    ],
    [
      { column: 'a', op: 'in', value: Array.from({ length: 10_001 }, (_, at) => at) },
      ['54000', 'where', 'a filter has more than 10000 parts'],
    ],
  ];
  for (const [each, told] of cases) expect(refusal(each)).toEqual([...told, true]);
  let deep: Filter = { column: 'a', op: 'null' };
  for (let depth = 0; depth < 102; depth += 1) deep = { not: deep };
  expect((refusal(deep) as string[])[0]).toBe('54000');
});

test("react-querybuilder's lists come as texts, and its fields as values", () => {
  expect(
    filterSql(
      {
        combinator: 'AND',
        rules: [
          { field: 'a', operator: 'in', value: '1, 2' },
          { field: 'a', operator: '<', value: 'b', valueSource: 'field' },
          { field: 'Odd name', operator: 'between', value: '1,3' },
        ],
      },
      'where',
    ),
  ).toEqual({
    text: '((a IN ($1, $2)) AND (a < b) AND ("Odd name" BETWEEN $3 AND $4))',
    params: ['1', '2', '1', '3'],
  });
});

test('a window query takes a filter as its condition', async () => {
  const db = await open({ workers: 0 });
  try {
    await db.exec(`CREATE TABLE t (ts timestamptz, a int, "Odd ""name" text) WITH (time = 'ts')`);
    await db.insert(
      't',
      Array.from({ length: 20 }, (_, a) => ({
        ts: `2026-01-01T${String(a).padStart(2, '0')}:00:00Z`,
        a,
        'Odd "name': `x'${a % 3}`,
      })),
    );
    const count = async (where: Filter): Promise<unknown> => {
      const { rows } = await db.window('t', {
        range: ['2026-01-01', '2026-01-02'],
        measures: { n: 'count(*)' },
        where,
      });
      return rows[0]!.values['n'];
    };
    expect(await count({ column: 'a', op: '>=', value: 5 })).toBe(15);
    expect(await count({ column: 'Odd "name', op: '=', value: "x'0" })).toBe(7);
    expect(
      await count({
        column: 'ts',
        op: 'between',
        value: ['2026-01-01T03:00:00Z', '2026-01-01T05:00:00Z'],
      }),
    ).toBe(3);
    await expect(count({ column: 'b', op: '=', value: 1 })).rejects.toMatchObject({
      code: '42703',
    });
  } finally {
    await db.close();
  }
});
