import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { DbError } from '../../src/base/errors.ts';
import { Regex } from '../../src/expressions/regex/regex.ts';
import { flagsOf } from '../../src/expressions/regex/syntax.ts';

function compiled(pattern: string): Regex {
  return new Regex(pattern, flagsOf(''));
}

function codeOf(run: () => unknown): string | undefined {
  try {
    run();
    return undefined;
  } catch (cause) {
    return (cause as DbError).code;
  }
}

test('what stands behind is found as JavaScript finds it, be it short or of any length', () => {
  const patterns = [
    '(?<=a)b',
    '(?<!a)b',
    '(?<=ab?)c',
    '(?<=^a)b',
    '(?<=a.{1,2})c',
    '(?<=(a|bc)b)c',
    '(?<=a*)c',
    '(?<!a.*)c',
    '(?<=[^a]{2})b',
    'a(?=.*c)',
    // What stands behind is looked at with what follows it.
    '(?<=a$)b',
    '(?<=b|$)c',
    '(?<=\\y)b',
    '(?<=a\\y)\u{1f600}',
    '(?<!\\y)b',
    '(?<=a(?=b)).',
  ];
  fc.assert(
    fc.property(
      fc.constantFrom(...patterns),
      fc.string({ unit: fc.constantFrom('a', 'b', 'c', '\u{1f600}'), maxLength: 12 }),
      (pattern, text) => {
        const found = new RegExp(pattern.replaceAll('\\y', '\\b'), 'su').exec(text);
        const expected = found === null ? undefined : found.index;
        expect([pattern, compiled(pattern).exec(text)?.[0]]).toEqual([pattern, expected]);
        expect(compiled(pattern).test(text)).toBe(found !== null);
      },
    ),
    { numRuns: 2_000 },
  );
});

// Each place looked at all that stands before it: over a megabyte it would not have ended this week.
test('a text is looked at within a bound, and looking back a little costs a little', () => {
  const text = 'the quick brown fox '.repeat(10_000);
  expect(compiled('(?<!q)uzz').exec(text)).toBeUndefined();
  for (const pattern of ['(?<=q.*)uzz', '(?<=z*)uzz', 'x(?=.*zzz)'])
    expect([pattern, codeOf(() => compiled(pattern).exec(text))]).toEqual([pattern, '54000']);
  expect(compiled('(zzz)').exec(text.repeat(10))).toBeUndefined();
  expect(codeOf(() => compiled('(zzz)').exec(text.repeat(60)))).toBe('54000');
  expect(compiled('zzz|zebra').test(text.repeat(60))).toBe(false);
});
