import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DbError } from '../../src/base/errors.ts';
import { VALUES_TEXT_LENGTH_MIN } from '../../src/sql/parse.ts';
import type { ParsedStatement } from '../../src/sql/ast.ts';
import { readLongValues as reading, type LongValues } from '../../src/sql/literal-rows.ts';
import { parser, statementOf } from './parsed.ts';

function readLongValues(text: string, restLengthMax: number): LongValues | undefined {
  const steps = reading(text, restLengthMax);
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}

/** The rows of an INSERT of literals as a tree, as the parser gives them. */
function withValues({ statement, ...rest }: ParsedStatement): ParsedStatement {
  const source = statement.kind === 'insert' ? statement.source : undefined;
  if (statement.kind !== 'insert' || source?.body.kind !== 'literals')
    return { statement, ...rest };
  const body = { kind: 'values', rows: source.body.rows.values(), at: source.body.at } as const;
  return { statement: { ...statement, source: { ...source, body } }, ...rest };
}

// prettier-ignore
const LITERALS = [
  '1', '007', '-5', '- 5', '-0', '0', '-0.0', '1.50', '.5', '1.', '-1e10', '1E-3', '2147483647', '2147483648',
  '-2147483648', '00012345678901', "'x'", "''", "'it''s'", "''''", "'a,(b)'", "'ä€😀'", "'line\nbreak'",
  "'-- no comment'", 'null', 'NULL', 'True', 'false', 'DEFAULT',
];
/** The parser must read these; our reader must not guess. */
const OTHERS = [
  "'a'::text",
  "E'a\\n'",
  '1 + 1',
  '(1)',
  'now()',
  '$1',
  'a',
  "'a' 'b'",
  "'a'\n'b'",
  '0x1F',
  '1_000',
  '+1',
  "date '2026-01-01'",
  '- -1',
  'nulls',
  "'a' || 'b'",
];

test('our reader and the parser give the same tree, places included', () => {
  const literal = fc.constantFrom(...LITERALS);
  const blank = fc.constantFrom('', ' ', '\n', ' /* ), ( */ ', '--x\n', '\t\r\n');
  const row = fc.record({
    values: fc.tuple(literal, literal, literal),
    before: blank,
    after: blank,
  });
  const head = fc.constantFrom(
    'insert into t values',
    'INSERT INTO s."values" AS x (a, "ä", c)\nVALUES',
    '/* values */ insert into t (a, b, c) overriding user value values',
  );
  const tail = fc.constantFrom(
    '',
    ';',
    ' on conflict (a) do update set b = excluded.b',
    '\nreturning a, x.b -- end',
    '; select nope',
  );
  fc.assert(
    fc.property(head, fc.array(row, { minLength: 1, maxLength: 5 }), tail, (start, rows, end) => {
      const list = rows.map(
        ({ values, before, after }) =>
          `${before}(${before}${values.join(`${after},${before}`)}${after})${after}`,
      );
      const text = start + list.join(',') + end;
      expect(readLongValues(text, text.length), text).toBeDefined();
      // A row of blanks between the head and the rest makes the text long without moving to other lines.
      const padding = ' '.repeat(VALUES_TEXT_LENGTH_MIN);
      const long = `${text}${padding}`;
      const short = parser.parse(text);
      const [first, ...others] = parser.parse(long);
      const { statement: long0 } = first!;
      expect(long0.kind === 'insert' && long0.source?.body.kind).toBe('literals');
      expect([first!, ...others].map(withValues)).toEqual(
        short.map(({ statement, parameterCount }) => ({
          statement,
          parameterCount,
          text: expect.any(String),
        })),
      );
    }),
  );
});

test('anything but a literal is left to the parser', () => {
  for (const other of OTHERS) {
    for (const text of [
      `insert into t values (${other})`,
      `insert into t values (1), (${other})`,
      `insert into t values (1, 2), (1, ${other})`,
    ]) {
      expect(readLongValues(text, text.length), text).toBeUndefined();
    }
  }
  for (const text of [
    'select 1',
    'values (1)',
    'insert into t select * from (values (1)) v',
    'insert into t default values',
    'insert into t values',
    "insert into t values ('",
  ]) {
    expect(readLongValues(text, text.length), text).toBeUndefined();
  }
});

test('an INSERT of literals may be longer than the parser takes', () => {
  const rows = Array.from({ length: 60_000 }, (_, i) => `(${i}, 'name ${i}', -${i}.5)`);
  const text = `insert into t (a, b, c) values ${rows.join(',\n')} returning nope`;
  expect(text.length).toBeGreaterThan(1 << 20);
  const insert = statementOf(text, 'insert');
  if (insert.source?.body.kind !== 'literals') throw new Error('literals');
  const { rows: read } = insert.source.body;
  expect(read.rowCount).toBe(60_000);
  expect(read.values()[59_999]).toMatchObject([
    { text: '59999' },
    { value: 'name 59999' },
    { text: '-59999.5' },
  ]);
  const [item] = insert.returning;
  expect(item?.kind === 'expression' ? item.expression.at : undefined).toEqual({
    offset: text.indexOf('nope'),
    line: 60_000,
    column: rows[59_999]!.length + ' returning '.length + 1,
  });
});

test('rows of differing lengths and errors in what follows the rows have their place', () => {
  const rows = Array.from({ length: 8000 }, () => '(1, 22222)').join(',\n');
  const parse = (text: string): DbError => {
    try {
      parser.parse(text);
    } catch (error) {
      return error as DbError;
    }
    throw new Error('no error');
  };
  expect(parse(`insert into t values ${rows},\n(1)`)).toMatchObject({
    code: '42601',
    message: 'VALUES lists must all be the same length',
    at: { line: 8001, column: 2 },
  });
  expect(parse(`insert into t values ${rows} retruning a`)).toMatchObject({
    code: '42601',
    at: { line: 8000, column: 12 },
  });
});
