import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DbError } from '../../src/base/errors.ts';
import { TREE_DEPTH_MAX } from '../../src/sql/raw-tree.ts';
import { DML, QUERIES } from './corpus.ts';
import { parser } from './parsed.ts';

function errorOf(text: string): DbError {
  try {
    parser.parse(text);
  } catch (error) {
    if (error instanceof DbError) return error;
    throw error;
  }
  throw new Error(`no error: ${text}`);
}

test.each([
  ['SELCT 1', 'SELCT', 'SELECT'],
  ['select * form t', 'form', 'FROM'],
  ['select a frm t', ' t', 'FROM'],
  ['select a from t gruop by a', 'by', 'GROUP'],
  ['select a from t where a = 1 odrer by 1', 'odrer', 'ORDER'],
  ['insert into t valus (1)', 'valus', 'VALUES'],
  ['udpate t set a = 1', 'udpate', 'UPDATE'],
  ['create tabel t (a int)', 'tabel', 'TABLE'],
  ["select 'ä😀';\nslect count(*) form flights gorup by 1", 'slect', 'SELECT'],
])('in %s the error is at %s and the hint says %s', (text, near, keyword) => {
  const error = errorOf(text);
  expect(error.code).toBe('42601');
  expect(error.message).toBe(`syntax error at or near "${near.trim()}"`);
  expect(error.hint).toBe(`Did you mean "${keyword}"?`);
  expect(error.at?.offset).toBe(
    near.startsWith(' ') ? text.lastIndexOf(near) + 1 : text.indexOf(near),
  );
});

test.each([
  ['select (1', 'syntax error at end of input', 'A closing parenthesis is missing.'],
  [
    'select a, from t',
    'syntax error at or near "from"',
    'Remove the comma before "from", or write what should follow it.',
  ],
  ['select a b c from t', 'syntax error at or near "c"', 'A comma is missing before "c".'],
  [
    'create table user (a int)',
    'syntax error at or near "user"',
    '"user" is a reserved word; as a name it is written in double quotes.',
  ],
  [
    'select order from t',
    'syntax error at or near "from"',
    '"order" is a reserved word; as a name it is written in double quotes.',
  ],
  [
    'select `a` from t',
    'syntax error at or near "from"',
    'Names are quoted with double quotes, not with backticks.',
  ],
  [
    'select case when a then 1 from t',
    'syntax error at or near "from"',
    'END of CASE is missing before "from".',
  ],
  [
    'select 1 limit 1, 2',
    'LIMIT #,# syntax is not supported',
    'Use separate LIMIT and OFFSET clauses.',
  ],
  [
    "select 'abc",
    'unterminated quoted string at or near "\'abc"',
    "Inside a text a quote is written twice: 'it''s'.",
  ],
])('%s: %s', (text, message, hint) => {
  expect(errorOf(text)).toMatchObject({ code: '42601', message, hint });
});

test('what is no text is refused where it stands: NUL bytes and halves of surrogate pairs', () => {
  expect(errorOf('select 1\0, 2')).toMatchObject({
    code: '22021',
    at: { offset: 8, line: 1, column: 9 },
  });
  expect(errorOf("select\n'\ud800'")).toMatchObject({
    code: '22021',
    at: { offset: 8, line: 2, column: 2 },
  });
  expect(errorOf("select '\udc00\ud800'").code).toBe('22021');
  expect(errorOf("select E'\\0'").code).toBe('22021');
  expect(parser.parse("select '\ud83d\ude00'")).toHaveLength(1);
});

test('a text beyond a megabyte is refused', () => {
  expect(errorOf(`select ${' '.repeat(1 << 20)} 1`).code).toBe('54000');
});

test('what is nested too deeply is 54001, whoever runs out first, and parsing goes on working', () => {
  const deep = [
    `select ${'('.repeat(20_000)}1${')'.repeat(20_000)}`,
    `select ${'1 + '.repeat(10_000)}1`,
    `select ${'(select '.repeat(2000)}1${')'.repeat(2000)}`,
    `select ${'not '.repeat(5000)}true`,
    `select ${'case when true then '.repeat(3000)}1${' end'.repeat(3000)}`,
    `select 1${' union all select 1'.repeat(5000)}`,
    `select * from a${' join a using (x)'.repeat(5000)}`,
    `select ${'array['.repeat(3000)}${']'.repeat(3000)}`,
  ];
  for (const text of deep) {
    expect(errorOf(text).code).toBe('54001');
    expect(parser.parse('select 1')).toHaveLength(1);
  }
  expect(parser.parse(`select ${'('.repeat(5000)}1${')'.repeat(5000)}`)).toHaveLength(1);
  expect(parser.parse(`select ${'1 + '.repeat(TREE_DEPTH_MAX - 100)}1`)).toHaveLength(1);
  expect(parser.parse(`select ${'a = 1 or '.repeat(10_000)}true`)).toHaveLength(1);
});

test('a message never carries a megabyte of the text back', () => {
  const error = errorOf(`select 1 1 ${'x'.repeat(500_000)}`);
  expect(error.message.length).toBeLessThan(300);
  expect(errorOf(`selec "${'x'.repeat(500_000)}"`).message.length).toBeLessThan(300);
});

const PIECES = [
  '(',
  ')',
  ',',
  ';',
  "'",
  '"',
  '$1',
  '$$',
  '/*',
  '--',
  '::',
  '.',
  '*',
  'select',
  'from',
  'where',
  'null',
  '\0',
  '\ud800',
  '😀',
  '\\',
  "E'",
  '1e',
  '0x',
  ' ',
  '\n',
  'subscribe',
  'create or replace materialized view',
];

test('a thousand mutilated texts parse or give a DbError with a place inside the text', () => {
  const text = fc.constantFrom(...QUERIES, ...DML);
  const edit = fc.record({
    at: fc.nat(400),
    cut: fc.nat(12),
    piece: fc.constantFrom('', ...PIECES),
  });
  fc.assert(
    fc.property(text, fc.array(edit, { minLength: 1, maxLength: 4 }), (original, edits) => {
      let mutated = original;
      for (const { at, cut, piece } of edits) {
        const start = at % (mutated.length + 1);
        mutated = mutated.slice(0, start) + piece + mutated.slice(start + cut);
      }
      try {
        parser.parse(mutated);
      } catch (error) {
        expect(error, mutated).toBeInstanceOf(DbError);
        const { code, at } = error as DbError;
        expect(code).toMatch(/^(42601|22021|22025|22003|22023|42P02|42P20|0A000|54001)$/);
        if (code === '42601') expect(at!.offset).toBeLessThanOrEqual(mutated.length);
        // There is no parameter of that number: only where one is written.
        if (code === '42P02') expect(mutated).toMatch(/\$\d/);
      }
    }),
    { numRuns: 1000 },
  );
});
