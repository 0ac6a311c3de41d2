import fc from 'fast-check';
import { expect, test } from 'vitest';
import { printDml, printExpression, printTypeName } from '../../src/sql/print.ts';
import type { SqlExpression } from '../../src/sql/ast.ts';
import { DML, QUERIES } from './corpus.ts';
import { bare, expressionOf, only, parser, unsupportedIn } from './parsed.ts';

test.each([...QUERIES, ...DML])('printed and parsed again the tree is the same: %s', (text) => {
  const { statement } = only(text);
  expect(unsupportedIn(statement)).toEqual([]);
  const printed = printDml(statement);
  expect(bare(only(printed).statement), printed).toEqual(bare(statement));
  expect(printDml(only(printed).statement)).toBe(printed);
});

test.each([
  ['a+b*c', 'a + (b * c)'],
  ['(a)', 'a'],
  ['a AND b AND NOT c', 'a AND b AND (NOT c)'],
  ['extract(year from ts) = 2026', 'extract(year FROM ts) = 2026'],
  ["date_trunc('day', ts)::date", "date_trunc('day', ts)::date"],
  ['"Order"."select" is not null', '"Order"."select" IS NOT NULL'],
  ['-5 + -a', '(-5) + (- a)'],
  ["x not like 'it''s%'", "x NOT LIKE 'it''s%'"],
  ['a in (1,2) or b = any($1)', '(a IN (1, 2)) OR (b = ANY ($1))'],
  ["cast('1' as numeric(10,2))", "'1'::numeric(10,2)"],
  ['count(distinct a) filter (where b > 0)', 'count(DISTINCT a) FILTER (WHERE b > 0)'],
])('%s prints as %s', (text, printed) => {
  expect(printExpression(expressionOf(text))).toBe(printed);
});

test.each([
  'integer',
  'bigint',
  'numeric(10,2)',
  'varchar(30)',
  'char(3)',
  'timestamp(3) with time zone',
  'interval day to second(3)',
  'interval(3)',
  'int[]',
  'double precision',
  '"My Type"',
])('the type %s prints to what parses to it', (text) => {
  const type = parser.parseType(text);
  expect(bare(parser.parseType(printTypeName(type)))).toEqual(bare(type));
});

test('any name of up to 63 bytes, where PostgreSQL cuts them off, and any text survive printing', () => {
  const name = fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 12 })
    .filter((text) => !text.includes('\0') && Buffer.byteLength(text) <= 63);
  fc.assert(
    fc.property(name, name, fc.string({ unit: 'grapheme' }), (table, column, value) => {
      fc.pre(!value.includes('\0'));
      const tree: SqlExpression = {
        kind: 'binary',
        operator: '=',
        left: { kind: 'column', parts: [table, column] },
        right: { kind: 'string', value },
      };
      expect(bare(expressionOf(printExpression(tree)))).toEqual(tree);
    }),
  );
});

/** Trees of the operators that differ in how strongly they bind; the parser is the oracle. */
function trees(): fc.Arbitrary<SqlExpression> {
  return fc.letrec<{ tree: SqlExpression }>((tie) => {
    const tree = tie('tree');
    return {
      tree: fc.oneof(
        { depthSize: 'small', withCrossShrink: true },
        fc.constantFrom<SqlExpression>(
          { kind: 'column', parts: ['a'] },
          { kind: 'number', text: '1' },
          { kind: 'number', text: '-2' },
          { kind: 'null' },
          { kind: 'string', value: 'x' },
        ),
        fc.record({
          kind: fc.constant('binary' as const),
          operator: fc.constantFrom('+', '-', '*', '^', '<', '=', '||', '<>', '->>'),
          left: tree,
          right: tree,
        }),
        fc.record({
          kind: fc.constant('unary' as const),
          operator: fc.constantFrom('-', '~', '@'),
          arg: tree,
        }),
        fc.record({ kind: fc.constant('not' as const), arg: tree }),
        fc.record({ kind: fc.constantFrom('isNull' as const, 'isNotNull' as const), arg: tree }),
        fc.record({
          kind: fc.constant('isDistinct' as const),
          left: tree,
          right: tree,
          negated: fc.boolean(),
        }),
        fc.record({
          kind: fc.constant('between' as const),
          arg: tree,
          low: tree,
          high: tree,
          negated: fc.boolean(),
          symmetric: fc.boolean(),
        }),
        fc.record({
          kind: fc.constant('like' as const),
          arg: tree,
          pattern: tree,
          caseInsensitive: fc.boolean(),
          similar: fc.constant(false),
          negated: fc.boolean(),
        }),
        fc.record({
          kind: fc.constant('inList' as const),
          arg: tree,
          values: fc.array(tree, { minLength: 1, maxLength: 3 }),
          negated: fc.boolean(),
        }),
        fc.record({
          kind: fc.constant('collate' as const),
          arg: tree,
          collation: fc.constant('C'),
        }),
        fc.record({ kind: fc.constant('atTimeZone' as const), arg: tree, zone: tree }),
        fc.record({
          kind: fc.constant('case' as const),
          // oxlint-disable-next-line unicorn/no-thenable -- WHEN … THEN.
          branches: fc.array(fc.record({ when: tree, then: tree }), { minLength: 1, maxLength: 2 }),
          otherwise: tree,
        }),
        fc.record({
          kind: fc.constant('cast' as const),
          arg: tree,
          type: fc.constant({ name: 'int4', modifiers: [], arrayDimensions: 0, setOf: false }),
        }),
      ),
    };
  }).tree;
}

test('any tree of operators is printed so that it parses to itself', () => {
  fc.assert(
    fc.property(trees(), (tree) => {
      expect(bare(expressionOf(printExpression(tree))), printExpression(tree)).toEqual(bare(tree));
    }),
    { numRuns: 400 },
  );
});
