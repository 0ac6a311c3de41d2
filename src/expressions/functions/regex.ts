import { DbError } from '../../base/errors.ts';
import type { Datum } from '../../columns/values.ts';
import type { FunctionDef, TypePattern } from '../function-def.ts';
import { newSteps, Regex } from '../regex/regex.ts';
import { flagsOf } from '../regex/syntax.ts';
import { characterCount, offsetOfCharacter } from '../text-io.ts';
import { define, type Evaluate } from './define.ts';

/** ~ and its kin, regexp_… and SIMILAR TO, as PostgreSQL 15 has them. What returns an array is not here. */
export const REGEX: readonly FunctionDef[] = [
  ...operators(),
  ...searches(),
  ...replacements(),
  ...similar(),
];

/** Makes a regular expression of a pattern, or finds the one it made before. */
type Compile = (pattern: string, flags: string) => Regex;

const MEMORY_MAX = 32;

function compiler(): Compile {
  const made = new Map<string, Regex>();
  return (pattern, flags) => {
    const key = `${flags}/${pattern}`;
    let regex = made.get(key);
    if (regex === undefined) {
      if (made.size >= MEMORY_MAX) made.clear();
      regex = new Regex(pattern, flagsOf(flags));
      made.set(key, regex);
    }
    return regex;
  };
}

function regexFunction(
  name: string,
  args: readonly TypePattern[],
  returns: FunctionDef['returns'],
  evaluate: (compile: Compile, args: readonly Datum[]) => Datum,
): FunctionDef {
  const prepare = (): Evaluate => {
    const compile = compiler();
    return (given) => evaluate(compile, given);
  };
  return define(name, args, returns, (given) => evaluate(compiler(), given), { prepare });
}

function operators(): FunctionDef[] {
  return (['text', 'bpchar'] as const).flatMap((kind) =>
    (['', '!'] as const).flatMap((not) =>
      (['', 'i'] as const).map((flags) =>
        regexFunction(
          `${not}~${flags === 'i' ? '*' : ''}`,
          [kind, 'text'],
          'boolean',
          (compile, [value, pattern]) =>
            compile(pattern as string, flags).test(value as string) !== (not === '!'),
        ),
      ),
    ),
  );
}

// ── Searching ──────────────────────────────────────────────────────────────────────────────────────────────────

/** Every match from a character on (1 is the first), at most `most`. An empty match moves on by a character. */
function matchesIn(regex: Regex, text: string, start: number, most: number): number[][] {
  const matches: number[][] = [];
  const steps = newSteps();
  let at = offsetOfCharacter(text, start - 1);
  while (at <= text.length && matches.length < most) {
    const found = regex.exec(text, at, steps);
    if (found === undefined) break;
    matches.push(found);
    at = found[1]!;
    if (found[0] === found[1]) at += at < text.length && text.codePointAt(at)! > 0xffff ? 2 : 1;
  }
  return matches;
}

function positive(value: Datum | undefined, name: string, least = 1): number {
  if ((value as number) < least)
    throw new DbError('22023', `invalid value for parameter "${name}": ${String(value)}`);
  return value as number;
}

function withoutGlobal(flags: Datum | undefined, what: string): string {
  const letters = (flags as string | undefined) ?? '';
  if (letters.includes('g'))
    throw new DbError('22023', `${what} does not support the "global" option`);
  return letters;
}

function searches(): FunctionDef[] {
  const group = (found: readonly number[] | undefined, subexpression: number): number[] => {
    const [from, to] = [found?.[subexpression * 2], found?.[subexpression * 2 + 1]];
    return from === undefined || to === undefined || from < 0 ? [] : [from, to];
  };
  const count: Parameters<typeof regexFunction>[3] = (compile, [text, pattern, start, flags]) => {
    const first = positive(start ?? 1, 'start');
    const regex = compile(pattern as string, withoutGlobal(flags, 'regexp_count()'));
    return matchesIn(regex, text as string, first, Infinity).length;
  };
  const like: Parameters<typeof regexFunction>[3] = (compile, [text, pattern, flags]) =>
    compile(pattern as string, withoutGlobal(flags, 'regexp_like()')).test(text as string);
  const nth = (
    compile: Compile,
    what: string,
    [text, pattern, start, wanted, flags, subexpression]: readonly (Datum | undefined)[],
  ): number[] => {
    const first = positive(start ?? 1, 'start');
    const n = positive(wanted ?? 1, 'n');
    const part = positive(subexpression ?? 0, 'subexpr', 0);
    const regex = compile(pattern as string, withoutGlobal(flags, `${what}()`));
    if (part > regex.groupCount) return [];
    return group(matchesIn(regex, text as string, first, n)[n - 1], part);
  };
  const instr: Parameters<typeof regexFunction>[3] = (
    compile,
    [text, pattern, start, n, end, flags, part],
  ) => {
    if (end !== undefined && end !== 0 && end !== 1)
      throw new DbError('22023', `invalid value for parameter "endoption": ${String(end)}`);
    const [from, to] = nth(compile, 'regexp_instr', [text, pattern, start, n, flags, part]);
    if (from === undefined) return 0;
    return characterCount((text as string).slice(0, end === 1 ? to : from)) + 1;
  };
  const substr: Parameters<typeof regexFunction>[3] = (compile, args) => {
    const [from, to] = nth(compile, 'regexp_substr', args);
    return from === undefined ? null : (args[0] as string).slice(from, to);
  };
  const INT = 'int4';
  const T = 'text';
  const prefixes = (
    name: string,
    all: readonly TypePattern[],
    returns: FunctionDef['returns'],
    evaluate: Parameters<typeof regexFunction>[3],
  ): FunctionDef[] =>
    all.slice(1).map((_, index) => regexFunction(name, all.slice(0, index + 2), returns, evaluate));
  return [
    ...prefixes('regexp_count', [T, T, INT, T], INT, count),
    ...prefixes('regexp_like', [T, T, T], 'boolean', like),
    ...prefixes('regexp_instr', [T, T, INT, INT, INT, T, INT], INT, instr),
    ...prefixes('regexp_substr', [T, T, INT, INT, T, INT], T, substr),
    regexFunction('substring', [T, T], T, (compile, [text, pattern]) =>
      firstPart(compile(pattern as string, ''), text as string),
    ),
  ];
}

/** The first group of the first match, or the match where there are no groups. */
function firstPart(regex: Regex, text: string): string | null {
  const found = regex.exec(text);
  if (found === undefined) return null;
  const at = regex.groupCount > 0 ? 2 : 0;
  return found[at]! < 0 ? null : text.slice(found[at], found[at + 1]);
}

// ── Replacing ──────────────────────────────────────────────────────────────────────────────────────────────────

function replacements(): FunctionDef[] {
  const T = 'text';
  return [
    regexFunction('regexp_replace', [T, T, T], T, (compile, [text, pattern, by]) =>
      replaced(compile(pattern as string, ''), text as string, by as string, 1, 1),
    ),
    regexFunction('regexp_replace', [T, T, T, T], T, (compile, [text, pattern, by, flags]) => {
      const letters = flags as string;
      if (/^\d/.test(letters))
        throw new DbError('22023', `invalid regular expression option: "${letters[0]}"`, {
          hint: 'If you meant to use regexp_replace() with a start parameter, cast the fourth argument to integer explicitly.',
        });
      const regex = compile(pattern as string, letters.replaceAll('g', ''));
      return replaced(regex, text as string, by as string, 1, letters.includes('g') ? 0 : 1);
    }),
    ...[3, 4, 5].map((count) =>
      regexFunction(
        'regexp_replace',
        [T, T, T, 'int4', 'int4', T].slice(0, count + 1) as TypePattern[],
        T,
        (compile, [text, pattern, by, start, wanted, flags]) => {
          const letters = (flags as string | undefined) ?? '';
          const n =
            wanted === undefined ? (letters.includes('g') ? 0 : 1) : positive(wanted, 'n', 0);
          const regex = compile(pattern as string, letters.replaceAll('g', ''));
          return replaced(regex, text as string, by as string, positive(start, 'start'), n);
        },
      ),
    ),
  ];
}

/** Replaces match number `n`, or every one where it is 0. */
function replaced(regex: Regex, text: string, by: string, start: number, n: number): string {
  const matches = matchesIn(regex, text, start, n === 0 ? Infinity : n);
  let out = '';
  let done = 0;
  matches.forEach((match, index) => {
    if (n !== 0 && index !== n - 1) return;
    const [from, to] = match as [number, number];
    out += text.slice(done, from);
    out += by.replaceAll(/\\([\s\S])/g, (whole, escaped: string) => {
      if (escaped === '&') return text.slice(from, to);
      if (escaped === '\\') return '\\';
      if (!/[1-9]/.test(escaped)) return whole;
      const group = Number(escaped) * 2;
      return match[group] === undefined || match[group] < 0
        ? ''
        : text.slice(match[group], match[group + 1]);
    });
    done = to;
  });
  return out + text.slice(done);
}

// ── SIMILAR TO ─────────────────────────────────────────────────────────────────────────────────────────────────

function similar(): FunctionDef[] {
  const T = 'text';
  return [
    define('similar_to_escape', [T], T, ([pattern]) => similarPattern(pattern as string, '\\')),
    define('similar_to_escape', [T, T], T, ([pattern, escape]) =>
      similarPattern(pattern as string, escape as string),
    ),
    // SUBSTRING(text SIMILAR pattern ESCAPE escape).
    regexFunction('substring', [T, T, T], T, (compile, [text, pattern, escape]) =>
      firstPart(compile(similarPattern(pattern as string, escape as string), ''), text as string),
    ),
  ];
}

/** The SQL standard's pattern as an advanced one, as PostgreSQL's similar_escape_internal writes it. */
function similarPattern(pattern: string, escape: string): string {
  const escapes = Array.from(escape);
  if (escapes.length > 1)
    throw new DbError('22025', 'invalid escape string', {
      hint: 'Escape string must be empty or one character.',
    });
  let out = '^(?:';
  let inBrackets = false;
  let quotes = 0;
  const all = Array.from(pattern);
  for (let at = 0; at < all.length; at += 1) {
    const character = all[at]!;
    if (character === escapes[0]) {
      at += 1;
      const next = all[at];
      if (next === undefined) break;
      if (next === '"' && !inBrackets) {
        // The parts before, inside and after the two marks; what is inside is what SUBSTRING gives.
        if (quotes === 0) out += '){1,1}?(';
        else if (quotes === 1) out += '){1,1}(?:';
        else
          throw new DbError(
            '2200C',
            'SQL regular expression may not contain more than two escape-double-quote separators',
          );
        quotes += 1;
      } else out += `\\${next}`;
    } else if (inBrackets) {
      if (character === '\\') out += '\\';
      out += character;
      if (character === ']') inBrackets = false;
    } else if (character === '[') {
      out += character;
      inBrackets = true;
    } else if (character === '%') out += '.*';
    else if (character === '_') out += '.';
    else if (character === '(') out += '(?:';
    else if (character === '\\' || character === '.' || character === '^' || character === '$')
      out += `\\${character}`;
    else out += character;
  }
  return `${out})$`;
}
