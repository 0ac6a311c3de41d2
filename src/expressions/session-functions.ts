import { DbError } from '../base/errors.ts';
import { didYouMean } from '../base/nearest.ts';
import { quoteName } from '../base/keywords.ts';
import {
  civilFromDays,
  dayOfYear,
  daysFromCivil,
  isoWeek,
  isoWeekday,
  isoYear,
  julianDay,
} from '../calendar/civil.ts';
import { localToUtc, offsetSecondsAt, utcToLocal, zoneOf } from '../calendar/zones.ts';
import { bareTypeName, TEXT, typeName, type SqlType } from '../columns/types.ts';
import { Decimal, normalInteger, type Datum, Interval } from '../columns/values.ts';
import {
  dateToTimestamp,
  dayOf,
  instantOf,
  isFinite as isFiniteInstant,
  MICROS_A_MINUTE,
  MICROS_A_SECOND,
  MICROS_AN_HOUR,
  microsOfDay,
  roundHalfEven,
  type Instant,
  timestampOutOfRange,
} from './datetime.ts';
import * as decimals from './decimal-arithmetic.ts';
import type { EvaluationContext, FunctionDef } from './function-def.ts';
import { textOf } from './functions/casts.ts';
import { define } from './functions/define.ts';
import { matchesLike } from './like.ts';
import { datumToText } from './text-io.ts';

type Call = (
  args: readonly Datum[],
  context: EvaluationContext,
  types: readonly SqlType[],
) => Datum;

const text = (
  name: string,
  args: readonly FunctionDef['args'][number][],
  returns: FunctionDef['returns'],
  evaluate: Call,
  extra: Parameters<typeof define>[4] = {},
): FunctionDef => define(name, args, returns, evaluate, extra);

/** Functions of texts, numbers, sequences and the session that PostgreSQL users reach for first. */
export const SESSION_FUNCTIONS: readonly FunctionDef[] = [
  ...textFunctions(),
  ...likeOperators(),
  ...mathFunctions(),
  ...sessionFunctions(),
];

// ── Texts ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** What a text function may make at most: larger results are refused with 54000. */
const TEXT_LENGTH_MAX = 64 * 1024 * 1024;

function textFunctions(): FunctionDef[] {
  const characters = (value: Datum | undefined): string[] => Array.from(value as string);
  const trimmed = (side: 'both' | 'left' | 'right', value: string, set: string): string => {
    const all = Array.from(value);
    const chars = new Set(Array.from(set));
    let start = 0;
    let end = all.length;
    if (side !== 'right') while (start < end && chars.has(all[start]!)) start += 1;
    if (side !== 'left') while (end > start && chars.has(all[end - 1]!)) end -= 1;
    return all.slice(start, end).join('');
  };
  const trims = (['btrim', 'ltrim', 'rtrim'] as const).flatMap((name) => {
    const side = name === 'btrim' ? 'both' : name === 'ltrim' ? 'left' : 'right';
    return [
      text(name, ['text'], 'text', ([value]) => trimmed(side, value as string, ' ')),
      text(name, ['text', 'text'], 'text', ([value, set]) =>
        trimmed(side, value as string, set as string),
      ),
    ];
  });
  const pad = (value: string, length: number, fill: string, left: boolean): string => {
    if (length > TEXT_LENGTH_MAX) throw tooLong();
    const all = Array.from(value);
    if (length <= 0) return '';
    if (all.length >= length) return all.slice(0, length).join('');
    const filler = Array.from(fill);
    if (filler.length === 0) return value;
    const added: string[] = [];
    for (let at = 0; at < length - all.length; at += 1) added.push(filler[at % filler.length]!);
    return left ? added.join('') + value : value + added.join('');
  };
  const substring = (
    value: Datum | undefined,
    start: number,
    count: number | undefined,
  ): string => {
    const all = characters(value);
    if (count !== undefined && count < 0)
      throw new DbError('22011', 'negative substring length not allowed');
    const from = start - 1;
    const to = count === undefined ? all.length : from + count;
    return all.slice(Math.max(0, from), Math.max(0, to)).join('');
  };
  return [
    text('length', ['text'], 'int4', ([value]) => characters(value).length),
    text('length', ['bytea'], 'int4', ([value]) => (value as Uint8Array).length),
    text('char_length', ['text'], 'int4', ([value]) => characters(value).length),
    text('character_length', ['text'], 'int4', ([value]) => characters(value).length),
    text('octet_length', ['text'], 'int4', ([value]) => Buffer.byteLength(value as string)),
    // The blanks that fill it count, as they do not for length().
    text('octet_length', ['bpchar'], 'int4', ([value]) => Buffer.byteLength(value as string)),
    text('octet_length', ['bytea'], 'int4', ([value]) => (value as Uint8Array).length),
    text('bit_length', ['text'], 'int4', ([value]) => Buffer.byteLength(value as string) * 8),
    text('lower', ['text'], 'text', ([value]) => (value as string).toLowerCase()),
    text('upper', ['text'], 'text', ([value]) => (value as string).toUpperCase()),
    text('initcap', ['text'], 'text', ([value]) =>
      (value as string)
        .toLowerCase()
        .replace(/[\p{L}\p{N}]+/gu, (word) => word.charAt(0).toUpperCase() + word.slice(1)),
    ),
    text('reverse', ['text'], 'text', ([value]) => characters(value).reverse().join('')),
    text('ascii', ['text'], 'int4', ([value]) => (value as string).codePointAt(0) ?? 0),
    text('chr', ['int4'], 'text', ([code]) => {
      if (
        (code as number) <= 0 ||
        (code as number) > 0x10_ffff ||
        ((code as number) >= 0xd800 && (code as number) <= 0xdfff)
      )
        throw new DbError(
          '54000',
          code === 0
            ? 'null character not permitted'
            : (code as number) < 0
              ? 'character number must be positive'
              : 'requested character not valid for encoding',
        );
      return String.fromCodePoint(code as number);
    }),
    ...trims,
    text('lpad', ['text', 'int4'], 'text', ([value, length]) =>
      pad(value as string, length as number, ' ', true),
    ),
    text('lpad', ['text', 'int4', 'text'], 'text', ([value, length, fill]) =>
      pad(value as string, length as number, fill as string, true),
    ),
    text('rpad', ['text', 'int4'], 'text', ([value, length]) =>
      pad(value as string, length as number, ' ', false),
    ),
    text('rpad', ['text', 'int4', 'text'], 'text', ([value, length, fill]) =>
      pad(value as string, length as number, fill as string, false),
    ),
    text('repeat', ['text', 'int4'], 'text', ([value, count]) => {
      const times = Math.max(0, count as number);
      if (times * (value as string).length > TEXT_LENGTH_MAX) throw tooLong();
      return (value as string).repeat(times);
    }),
    text('replace', ['text', 'text', 'text'], 'text', ([value, from, to]) =>
      from === '' ? value! : (value as string).replaceAll(from as string, () => to as string),
    ),
    text('left', ['text', 'int4'], 'text', ([value, count]) =>
      characters(value)
        .slice(0, count as number)
        .join(''),
    ),
    text('right', ['text', 'int4'], 'text', ([value, count]) => {
      const all = characters(value);
      const wanted = count as number;
      return wanted >= 0
        ? all.slice(Math.max(0, all.length - wanted)).join('')
        : all.slice(-wanted).join('');
    }),
    text('strpos', ['text', 'text'], 'int4', ([value, part]) =>
      placeOf(value as string, part as string),
    ),
    text('position', ['text', 'text'], 'int4', ([value, part]) =>
      placeOf(value as string, part as string),
    ),
    text('starts_with', ['text', 'text'], 'boolean', ([value, part]) =>
      (value as string).startsWith(part as string),
    ),
    ...['substring', 'substr'].flatMap((name) => [
      text(name, ['text', 'int4'], 'text', ([value, start]) =>
        substring(value!, start as number, undefined),
      ),
      text(name, ['text', 'int4', 'int4'], 'text', ([value, start, count]) =>
        substring(value!, start as number, count as number),
      ),
    ]),
    text('overlay', ['text', 'text', 'int4'], 'text', ([value, part, from]) =>
      overlay(value as string, part as string, from as number, characters(part!).length),
    ),
    text('overlay', ['text', 'text', 'int4', 'int4'], 'text', ([value, part, from, count]) =>
      overlay(value as string, part as string, from as number, count as number),
    ),
    text('split_part', ['text', 'text', 'int4'], 'text', ([value, delimiter, field]) => {
      const wanted = field as number;
      if (wanted === 0) throw new DbError('22023', 'field position must not be zero');
      const parts =
        delimiter === '' ? [value as string] : (value as string).split(delimiter as string);
      return parts.at(wanted > 0 ? wanted - 1 : wanted) ?? '';
    }),
    text('translate', ['text', 'text', 'text'], 'text', ([value, from, to]) => {
      const target = Array.from(to as string);
      const map = new Map<string, string>();
      Array.from(from as string).forEach((each, index) => {
        if (!map.has(each)) map.set(each, target[index] ?? '');
      });
      return characters(value!)
        .map((each) => map.get(each) ?? each)
        .join('');
    }),
    text(
      'concat',
      ['any'],
      'text',
      (args, context, types) =>
        args
          .map((value, index) => (value === null ? '' : shown(value, types[index]!, context)))
          .join(''),
      { variadic: true, strict: false },
    ),
    text(
      'concat_ws',
      ['text', 'any'],
      'text',
      ([separator, ...values], context, types) =>
        separator === null || separator === undefined
          ? null
          : values
              .flatMap((value, index) =>
                value === null ? [] : [shown(value, types[index + 1]!, context)],
              )
              .join(separator as string),
      { variadic: true, strict: false },
    ),
    text('||', ['text', 'text'], 'text', ([a, b]) => (a as string) + (b as string)),
    text(
      '||',
      ['text', 'any'],
      'text',
      ([a, b], context, types) => (a as string) + textOf(b!, types[1]!.kind, context),
    ),
    text(
      '||',
      ['any', 'text'],
      'text',
      ([a, b], context, types) => textOf(a!, types[0]!.kind, context) + (b as string),
    ),
    text('quote_ident', ['text'], 'text', ([value]) => quoteName(value as string)),
    text('to_hex', ['int4'], 'text', ([value]) => ((value as number) >>> 0).toString(16)),
    text('to_hex', ['int8'], 'text', ([value]) =>
      BigInt.asUintN(64, BigInt(value as number | bigint)).toString(16),
    ),
  ];
}

function overlay(value: string, part: string, from: number, count: number): string {
  if (from < 1) throw new DbError('22011', 'negative substring length not allowed');
  const all = Array.from(value);
  return all.slice(0, from - 1).join('') + part + all.slice(Math.max(0, from - 1 + count)).join('');
}

function placeOf(value: string, part: string): number {
  const at = value.indexOf(part);
  return at < 0 ? 0 : Array.from(value.slice(0, at)).length + 1;
}

function tooLong(): DbError {
  return new DbError('54000', 'requested length too large', {
    hint: `A text function makes at most ${TEXT_LENGTH_MAX} characters.`,
  });
}

/** As casting to text prints it; booleans in full, as concat does not: t and f. */
function shown(value: Exclude<Datum, null>, type: SqlType, context: EvaluationContext): string {
  return datumToText(value, type.kind === 'unknown' ? TEXT : type, context);
}

// ── LIKE ───────────────────────────────────────────────────────────────────────────────────────────────────────

function likeOperators(): FunctionDef[] {
  const kinds = ['text', 'bpchar'] as const;
  return kinds
    .flatMap((kind) => [
      text('~~', [kind, 'text'], 'boolean', ([value, pattern]) =>
        matchesLike(value as string, pattern as string),
      ),
      text(
        '!~~',
        [kind, 'text'],
        'boolean',
        ([value, pattern]) => !matchesLike(value as string, pattern as string),
      ),
      text('~~*', [kind, 'text'], 'boolean', ([value, pattern]) =>
        matchesLike((value as string).toLowerCase(), (pattern as string).toLowerCase()),
      ),
      text(
        '!~~*',
        [kind, 'text'],
        'boolean',
        ([value, pattern]) =>
          !matchesLike((value as string).toLowerCase(), (pattern as string).toLowerCase()),
      ),
    ])
    .concat([
      text('like_escape', ['text', 'text'], 'text', ([pattern, escape]) => {
        const character = escape as string;
        if (Array.from(character).length > 1)
          throw new DbError('22025', 'invalid escape string', {
            hint: 'Escape string must be empty or one character.',
          });
        if (character === '\\') return pattern!;
        let out = '';
        const all = Array.from(pattern as string);
        for (let at = 0; at < all.length; at += 1) {
          if (character !== '' && all[at] === character) {
            at += 1;
            out += `\\${all[at] ?? ''}`;
          } else out += all[at] === '\\' ? '\\\\' : all[at]!;
        }
        return out;
      }),
    ]);
}

// ── Numbers ────────────────────────────────────────────────────────────────────────────────────────────────────

function mathFunctions(): FunctionDef[] {
  const float = (name: string, compute: (x: number) => number): FunctionDef =>
    text(name, ['float8'], 'float8', ([value]) =>
      checkedFloat(compute(value as number), value as number),
    );
  const domain = (
    name: string,
    compute: (x: number) => number,
    test: (x: number) => boolean,
    message: string,
    code = '2201F',
  ): FunctionDef =>
    text(name, ['float8'], 'float8', ([value]) => {
      if (!test(value as number)) throw new DbError(code, message);
      return checkedFloat(compute(value as number), value as number);
    });
  const halfEven = (x: number): number => {
    const floor = Math.floor(x);
    const part = x - floor;
    const rounded = part < 0.5 || (part === 0.5 && floor % 2 === 0) ? floor : floor + 1;
    // What rounds to zero from below is −0, as C's rint has it.
    return rounded === 0 && x < 0 ? -0 : rounded;
  };
  const isNan = (x: number): boolean => x !== x;
  return [
    float('floor', Math.floor),
    float('ceil', Math.ceil),
    float('ceiling', Math.ceil),
    float('trunc', Math.trunc),
    float('round', halfEven),
    float('exp', (x) => notUnderflown(Math.exp(x), x)),
    float('cbrt', Math.cbrt),
    float('atan', Math.atan),
    float('tanh', Math.tanh),
    float('asinh', Math.asinh),
    float('degrees', (x) => notUnderflown(x / RADIANS_A_DEGREE, x)),
    float('radians', (x) => notUnderflown(x * RADIANS_A_DEGREE, x)),
    domain(
      'sqrt',
      Math.sqrt,
      (x) => x >= 0 || isNan(x),
      'cannot take square root of a negative number',
    ),
    domain(
      'ln',
      Math.log,
      (x) => x > 0 || isNan(x),
      'cannot take logarithm of a negative number or zero',
      '2201E',
    ),
    domain(
      'log',
      Math.log10,
      (x) => x > 0 || isNan(x),
      'cannot take logarithm of a negative number or zero',
      '2201E',
    ),
    domain(
      'log10',
      Math.log10,
      (x) => x > 0 || isNan(x),
      'cannot take logarithm of a negative number or zero',
      '2201E',
    ),
    domain(
      'asin',
      Math.asin,
      (x) => Math.abs(x) <= 1 || isNan(x),
      'input is out of range',
      '22003',
    ),
    domain(
      'acos',
      Math.acos,
      (x) => Math.abs(x) <= 1 || isNan(x),
      'input is out of range',
      '22003',
    ),
    domain('acosh', Math.acosh, (x) => x >= 1 || isNan(x), 'input is out of range', '22003'),
    text('atanh', ['float8'], 'float8', ([x]) => {
      if (Math.abs(x as number) > 1) throw new DbError('22003', 'input is out of range');
      return Math.atanh(x as number);
    }),
    text('atan2', ['float8', 'float8'], 'float8', ([y, x]) => Math.atan2(y as number, x as number)),
    text('pi', [], 'float8', () => Math.PI),
    ...['power', 'pow', '^'].map((name) =>
      text(name, ['float8', 'float8'], 'float8', ([base, exponent]) => {
        const [x, y] = [base as number, exponent as number];
        if (x === 0 && y < 0)
          throw new DbError('2201F', 'zero raised to a negative power is undefined');
        if (x < 0 && !Number.isInteger(y) && Number.isFinite(y))
          throw new DbError(
            '2201F',
            'a negative number raised to a non-integer power yields a complex result',
          );
        const isUnit = x === 1 || (x === -1 && !Number.isFinite(y) && !Number.isNaN(y));
        const result = isUnit || y === 0 ? 1 : x ** y;
        if (Number.isFinite(x) && Number.isFinite(y)) {
          if (!Number.isFinite(result)) throw new DbError('22003', 'value out of range: overflow');
          if (result === 0 && x !== 0) throw new DbError('22003', 'value out of range: underflow');
        }
        return result;
      }),
    ),
    text('random', [], 'float8', (_args, { random }) => random.unit(), { volatility: 'volatile' }),
    text('gen_random_uuid', [], 'uuid', (_args, { random }) => uuidOf(random), {
      volatility: 'volatile',
    }),
    text('floor', ['numeric'], 'numeric', ([value]) => decimals.floor(value as Decimal)),
    text('ceil', ['numeric'], 'numeric', ([value]) => decimals.ceiling(value as Decimal)),
    text('ceiling', ['numeric'], 'numeric', ([value]) => decimals.ceiling(value as Decimal)),
    text('round', ['numeric'], 'numeric', ([value]) => decimals.round(value as Decimal, 0)),
    text('round', ['numeric', 'int4'], 'numeric', ([value, places]) =>
      decimals.round(value as Decimal, places as number),
    ),
    text('trunc', ['numeric'], 'numeric', ([value]) => decimals.truncate(value as Decimal, 0)),
    text('trunc', ['numeric', 'int4'], 'numeric', ([value, places]) =>
      decimals.truncate(value as Decimal, places as number),
    ),
    text('sign', ['numeric'], 'numeric', ([value]) => {
      const sign = decimals.signOf(value as Decimal);
      return Number.isNaN(sign) ? Decimal.NaN : new Decimal(BigInt(sign), 0);
    }),
    text('scale', ['numeric'], 'int4', ([value]) =>
      (value as Decimal).special === undefined ? (value as Decimal).scale : null,
    ),
    text('div', ['numeric', 'numeric'], 'numeric', ([a, b]) =>
      decimals.divideTruncated(a as Decimal, b as Decimal),
    ),
  ];
}

const RADIANS_A_DEGREE = Math.PI / 180;

/** Nought of what is none, and of what no infinity has made so. */
function notUnderflown(result: number, argument: number): number {
  if (result === 0 && argument !== 0 && Number.isFinite(argument))
    throw new DbError('22003', 'value out of range: underflow');
  return result;
}

function checkedFloat(result: number, argument: number): number {
  if (!Number.isFinite(result) && Number.isFinite(argument))
    throw new DbError('22003', 'value out of range: overflow');
  return result;
}

function uuidOf(random: { uint32(): number }): string {
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setUint32(0, random.uint32());
  for (const at of [4, 8, 12]) new DataView(bytes.buffer).setUint32(at, random.uint32());
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = Buffer.from(bytes).toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

// ── Time and session ───────────────────────────────────────────────────────────────────────────────────────────

function sessionFunctions(): FunctionDef[] {
  const zoned = { volatility: 'zoned' } as const;
  const stable = { volatility: 'stable' } as const;
  const volatile = { volatility: 'volatile' } as const;
  const now: Call = (_args, context) => context.nowMicros;
  const local = (context: EvaluationContext): Instant =>
    utcToLocal(zoneOf(context.zone), context.nowMicros);
  const sequences = (context: EvaluationContext) => {
    if (context.sequences === undefined)
      throw new DbError('55000', 'sequences cannot be used here');
    return context.sequences;
  };
  return [
    ...[
      'now',
      'current_timestamp',
      'statement_timestamp',
      'transaction_timestamp',
      'clock_timestamp',
    ].map((name) => text(name, [], 'timestamptz', now, stable)),
    text('localtimestamp', [], 'timestamp', (_args, context) => local(context), stable),
    text('current_date', [], 'date', (_args, context) => dayOf(local(context)), stable),
    text(
      'localtime',
      [],
      'time',
      (_args, context) => microsOfDay(local(context), dayOf(local(context))),
      stable,
    ),
    ...(['timestamp', 'timestamptz', 'date', 'interval', 'time'] as const).flatMap((kind) => [
      text(
        'date_part',
        ['text', kind],
        'float8',
        ([field, value], context) => {
          // date_part sees the midnight of a date, where extract refuses its hours.
          const [of, as] =
            kind === 'date' ? [dateToTimestamp(value as number), 'timestamp'] : [value!, kind];
          const part = extractField(field as string, of, as, context);
          return part === null ? null : decimals.toDouble(part);
        },
        kind === 'timestamptz' ? zoned : {},
      ),
      text(
        'extract',
        ['text', kind],
        'numeric',
        ([field, value], context) => extractField(field as string, value!, kind, context),
        kind === 'timestamptz' ? zoned : {},
      ),
    ]),
    text('date_trunc', ['text', 'timestamp'], 'timestamp', ([field, value]) =>
      truncated(field as string, value as Instant),
    ),
    text('date_trunc', ['text', 'interval'], 'interval', ([field, value]) =>
      truncatedInterval(field as string, value as Interval),
    ),
    text(
      'date_trunc',
      ['text', 'timestamptz'],
      'timestamptz',
      ([field, value], context) => truncatedIn(field as string, value as Instant, context.zone),
      zoned,
    ),
    text('date_trunc', ['text', 'timestamptz', 'text'], 'timestamptz', ([field, value, zone]) =>
      truncatedIn(field as string, value as Instant, zone as string),
    ),
    text('timezone', ['text', 'timestamptz'], 'timestamp', ([zone, value]) =>
      utcToLocal(zoneOf(zone as string), value as Instant),
    ),
    text('timezone', ['text', 'timestamp'], 'timestamptz', ([zone, value]) =>
      localToUtc(zoneOf(zone as string), value as Instant),
    ),
    text('to_timestamp', ['float8'], 'timestamptz', ([seconds]) => {
      const value = seconds as number;
      if (Number.isNaN(value)) throw new DbError('22008', 'timestamp cannot be NaN');
      if (value === Infinity || value === -Infinity) return value;
      const whole = Math.trunc(value);
      if (Math.abs(whole) > 9_300_000_000_000) throw timestampOutOfRange(String(value));
      return instantOf(
        Math.floor(whole / 86_400),
        (whole - Math.floor(whole / 86_400) * 86_400) * MICROS_A_SECOND +
          roundHalfEven((value - whole) * 1e6),
      );
    }),
    text(
      'isfinite',
      ['timestamp'],
      'boolean',
      ([value]) => typeof value === 'bigint' || Number.isFinite(value as number),
    ),
    text(
      'isfinite',
      ['timestamptz'],
      'boolean',
      ([value]) => typeof value === 'bigint' || Number.isFinite(value as number),
    ),
    text('isfinite', ['date'], 'boolean', ([value]) => Number.isFinite(value as number)),
    text('pg_typeof', ['any'], 'text', (_args, _context, types) => bareTypeName(types[0]!), {
      strict: false,
    }),
    text('version', [], 'text', () => 'PostgreSQL 15.0 (AnalyticDB 0.1.0)', stable),
    text(
      'current_setting',
      ['text'],
      'text',
      ([name], context) => {
        const value = context.setting(name as string);
        if (value === undefined)
          throw new DbError('42704', `unrecognized configuration parameter "${String(name)}"`);
        return value;
      },
      stable,
    ),
    text(
      'current_setting',
      ['text', 'boolean'],
      'text',
      ([name], context) => context.setting(name as string) ?? null,
      stable,
    ),
    text('num_nulls', ['any'], 'int4', (args) => args.filter((value) => value === null).length, {
      variadic: true,
      strict: false,
    }),
    text('num_nonnulls', ['any'], 'int4', (args) => args.filter((value) => value !== null).length, {
      variadic: true,
      strict: false,
    }),
    text(
      'nextval',
      ['text'],
      'int8',
      ([name], context) => sequences(context).next(name as string),
      volatile,
    ),
    text(
      'currval',
      ['text'],
      'int8',
      ([name], context) => sequences(context).current(name as string),
      volatile,
    ),
    text('lastval', [], 'int8', (_args, context) => sequences(context).last(), volatile),
    text(
      'setval',
      ['text', 'int8'],
      'int8',
      ([name, value], context) => sequences(context).set(name as string, Number(value), true),
      volatile,
    ),
    text(
      'setval',
      ['text', 'int8', 'boolean'],
      'int8',
      ([name, value, called], context) =>
        sequences(context).set(name as string, Number(value), called === true),
      volatile,
    ),
  ];
}

function truncatedIn(field: string, value: Instant, zoneName: string): Instant {
  if (!isFiniteInstant(value)) return value;
  const zone = zoneOf(zoneName);
  const unit = unitOf(field);
  const local = utcToLocal(zone, value);
  const start = truncated(unit, local);
  // Within a day an instant keeps its offset, as in PostgreSQL: the two halves of a repeated hour are two hours.
  return WITHIN_A_DAY.has(unit)
    ? normalInteger(BigInt(value) - (BigInt(local) - BigInt(start)))
    : localToUtc(zone, start);
}

/** Each part by itself, towards zero: a month has no number of days. */
function truncatedInterval(field: string, { months, days, micros }: Interval): Interval {
  const unit = unitOf(field);
  const whole = (value: number, size: number): number => value - (value % size);
  const wholeMonths = Object.hasOwn(MONTHS_OF_UNIT, unit) ? MONTHS_OF_UNIT[unit] : undefined;
  if (wholeMonths !== undefined) return new Interval(whole(months, wholeMonths), 0, 0);
  const sizes: Readonly<Record<string, number>> = { ...MICROS_OF_UNIT, day: Infinity };
  const size = Object.hasOwn(sizes, unit) ? sizes[unit] : undefined;
  if (size === undefined)
    throw new DbError('0A000', `unit "${field}" not supported for type interval`, {
      detail: unit === 'week' ? 'Months usually have fractional weeks.' : undefined,
      hint: 'Cut it to days, or divide extract(epoch from …).',
    });
  return new Interval(months, days, size === Infinity ? 0 : whole(micros, size));
}

const MONTHS_OF_UNIT: Readonly<Record<string, number>> = {
  month: 1,
  quarter: 3,
  year: 12,
  decade: 120,
  century: 1200,
  millennium: 12_000,
};
const MICROS_OF_UNIT: Readonly<Record<string, number>> = {
  microsecond: 1,
  millisecond: 1000,
  second: MICROS_A_SECOND,
  minute: MICROS_A_MINUTE,
  hour: MICROS_AN_HOUR,
};

const WITHIN_A_DAY = new Set(['microsecond', 'millisecond', 'second', 'minute', 'hour']);

/** PostgreSQL's spellings of a unit, under the one used here. */
const UNITS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    microsecond: [
      'microseconds',
      'microsec',
      'microsecs',
      'us',
      'usec',
      'usecs',
      'usecond',
      'useconds',
    ],
    millisecond: [
      'milliseconds',
      'msec',
      'msecs',
      'ms',
      'msecond',
      'mseconds',
      'millisecon',
      'millisec',
    ],
    second: ['seconds', 'sec', 'secs', 's'],
    minute: ['minutes', 'min', 'mins', 'm'],
    hour: ['hours', 'hr', 'hrs', 'h'],
    day: ['days', 'd'],
    week: ['weeks', 'w'],
    month: ['months', 'mon', 'mons'],
    quarter: ['qtr'],
    year: ['years', 'yr', 'yrs', 'y'],
    decade: ['decades', 'dec', 'decs'],
    century: ['centuries', 'cent', 'c'],
    millennium: ['millennia', 'mil', 'mils', 'millenniu'],
    timezone: ['timezone'],
    timezone_hour: ['timezone_h'],
    timezone_minute: ['timezone_m'],
    julian: ['jd'],
  }).flatMap(([unit, spellings]) => [unit, ...spellings].map((each) => [each, unit] as const)),
);

function unitOf(field: string): string {
  const written = field.toLowerCase();
  return UNITS.get(written) ?? written;
}

function truncated(field: string, value: Instant): Instant {
  if (!isFiniteInstant(value)) return value;
  const unit = unitOf(field);
  const day = dayOf(value);
  const micros = microsOfDay(value, day);
  const cut = (size: number): Instant => instantOf(day, micros - (micros % size));
  const { year, month } = civilFromDays(day);
  switch (unit) {
    case 'microsecond':
      return value;
    case 'millisecond':
      return cut(1000);
    case 'second':
      return cut(MICROS_A_SECOND);
    case 'minute':
      return cut(MICROS_A_MINUTE);
    case 'hour':
      return cut(MICROS_AN_HOUR);
    case 'day':
      return instantOf(day, 0);
    case 'week':
      return instantOf(day - (isoWeekday(day) - 1), 0);
    case 'month':
      return instantOf(daysFromCivil(year, month, 1), 0);
    case 'quarter':
      return instantOf(daysFromCivil(year, month - ((month - 1) % 3), 1), 0);
    case 'year':
      return instantOf(daysFromCivil(year, 1, 1), 0);
    case 'decade':
      return instantOf(daysFromCivil(Math.floor(year / 10) * 10, 1, 1), 0);
    case 'century':
      return instantOf(daysFromCivil(Math.floor((year - 1) / 100) * 100 + 1, 1, 1), 0);
    case 'millennium':
      return instantOf(daysFromCivil(Math.floor((year - 1) / 1000) * 1000 + 1, 1, 1), 0);
    default:
      throw new DbError('22023', `unit "${field}" not recognized for type timestamp`, {
        hint: unitMeant(field) ?? 'Use second, minute, hour, day, week, month, quarter or year.',
      });
  }
}

function extractField(
  field: string,
  value: Exclude<Datum, null>,
  kind: string,
  context: EvaluationContext,
): Decimal | null {
  const unit = unitOf(field);
  const whole = (number: number): Decimal => new Decimal(BigInt(number), 0);
  const scaled = (micros: number, places: number): Decimal => new Decimal(BigInt(micros), places);
  if (kind === 'interval') {
    const { months, days, micros } = value as Interval;
    const years = Math.trunc(months / 12);
    switch (unit) {
      case 'year':
        return whole(years);
      case 'month':
        return whole(months % 12);
      case 'quarter':
        return whole(Math.trunc((months % 12) / 3) + 1);
      case 'day':
        return whole(days);
      case 'hour':
        return whole(Math.trunc(micros / MICROS_AN_HOUR));
      case 'minute':
        return whole(Math.trunc((micros % MICROS_AN_HOUR) / MICROS_A_MINUTE));
      case 'second':
        return scaled(micros % MICROS_A_MINUTE, 6);
      case 'millisecond':
        return scaled(micros % MICROS_A_MINUTE, 3);
      case 'microsecond':
        return whole(micros % MICROS_A_MINUTE);
      case 'decade':
        return whole(Math.trunc(years / 10));
      case 'century':
        return whole(Math.trunc(years / 100));
      case 'millennium':
        return whole(Math.trunc(years / 1000));
      case 'epoch':
        return new Decimal(
          BigInt(micros) +
            (BigInt(days) * 86_400n +
              BigInt(years) * 31_557_600n +
              BigInt(months % 12) * 2_592_000n) *
              1_000_000n,
          6,
        );
      default:
        throw badField(field, kind);
    }
  }
  if (kind === 'time') {
    const micros = value as number;
    switch (unit) {
      case 'hour':
        return whole(Math.floor(micros / MICROS_AN_HOUR));
      case 'minute':
        return whole(Math.floor((micros % MICROS_AN_HOUR) / MICROS_A_MINUTE));
      case 'second':
        return scaled(micros % MICROS_A_MINUTE, 6);
      case 'millisecond':
        return scaled(micros % MICROS_A_MINUTE, 3);
      case 'microsecond':
        return whole(micros % MICROS_A_MINUTE);
      case 'epoch':
        return scaled(micros, 6);
      default:
        throw badField(field, kind);
    }
  }
  const instant =
    kind === 'date'
      ? (value as number) === Infinity || (value as number) === -Infinity
        ? (value as number)
        : instantOf(value as number, 0)
      : (value as Instant);
  if (!isFiniteInstant(instant)) {
    const monotonic = [
      'epoch',
      'year',
      'isoyear',
      'decade',
      'century',
      'millennium',
      'julian',
    ].includes(unit);
    // A unit that is none is an error at infinity too.
    if (!monotonic) extractField(field, 0, kind, context);
    return monotonic
      ? (instant as number) > 0
        ? Decimal.Infinity
        : Decimal.NegativeInfinity
      : null;
  }
  const localInstant = kind === 'timestamptz' ? utcToLocal(zoneOf(context.zone), instant) : instant;
  const day = dayOf(localInstant);
  const micros = microsOfDay(localInstant, day);
  const civil = civilFromDays(day);
  const shownYear = civil.year > 0 ? civil.year : civil.year - 1;
  if (
    kind === 'date' &&
    [
      'hour',
      'minute',
      'second',
      'millisecond',
      'microsecond',
      'timezone',
      'timezone_hour',
      'timezone_minute',
    ].includes(unit)
  )
    throw new DbError('0A000', `unit "${field}" not supported for type date`, {
      hint: 'A date has no time of day: extract it from a timestamp.',
    });
  switch (unit) {
    case 'year':
      return whole(shownYear);
    case 'month':
      return whole(civil.month);
    case 'day':
      return whole(civil.day);
    case 'hour':
      return whole(Math.floor(micros / MICROS_AN_HOUR));
    case 'minute':
      return whole(Math.floor((micros % MICROS_AN_HOUR) / MICROS_A_MINUTE));
    case 'second':
      return scaled(micros % MICROS_A_MINUTE, 6);
    case 'millisecond':
      return scaled(micros % MICROS_A_MINUTE, 3);
    case 'microsecond':
      return whole(micros % MICROS_A_MINUTE);
    case 'quarter':
      return whole(Math.floor((civil.month - 1) / 3) + 1);
    case 'dow':
      return whole(isoWeekday(day) % 7);
    case 'isodow':
      return whole(isoWeekday(day));
    case 'doy':
      return whole(dayOfYear(day));
    case 'week':
      return whole(isoWeek(day));
    case 'isoyear':
      return whole(isoYear(day) > 0 ? isoYear(day) : isoYear(day) - 1);
    case 'decade':
      return whole(Math.floor(civil.year / 10));
    case 'century':
      return whole(
        civil.year > 0
          ? Math.floor((civil.year + 99) / 100)
          : -Math.floor((99 - (civil.year - 1)) / 100),
      );
    case 'millennium':
      return whole(
        civil.year > 0
          ? Math.floor((civil.year + 999) / 1000)
          : -Math.floor((999 - (civil.year - 1)) / 1000),
      );
    case 'julian':
      return kind === 'date'
        ? whole(julianDay(day))
        : decimals.add(
            whole(julianDay(day)),
            decimals.divide(whole(micros), new Decimal(86_400_000_000n, 0)),
          );
    case 'epoch':
      return kind === 'date'
        ? new Decimal(BigInt(value as number) * 86_400n, 0)
        : new Decimal(BigInt(instant), 6);
    case 'timezone':
      if (kind === 'timestamptz') return whole(offsetSecondsAt(zoneOf(context.zone), instant));
      throw badField(field, kind);
    case 'timezone_hour':
      if (kind === 'timestamptz')
        return whole(Math.trunc(offsetSecondsAt(zoneOf(context.zone), instant) / 3600));
      throw badField(field, kind);
    case 'timezone_minute':
      if (kind === 'timestamptz')
        return whole(Math.trunc((offsetSecondsAt(zoneOf(context.zone), instant) % 3600) / 60));
      throw badField(field, kind);
    default:
      throw badField(field, kind);
  }
}

function unitMeant(field: string): string | undefined {
  return didYouMean(field, UNITS.values());
}

const OF_CALENDARS = new Set(['dow', 'doy', 'isodow', 'isoyear', 'epoch']);

function badField(field: string, kind: string): DbError {
  if (UNITS.has(field.toLowerCase()) || OF_CALENDARS.has(field.toLowerCase()))
    return new DbError(
      '0A000',
      `unit "${field}" not supported for type ${typeName({ kind } as SqlType)}`,
      { hint: 'Extract it from a timestamp, or a unit that the type has, such as hour or epoch.' },
    );
  return new DbError(
    '22023',
    `unit "${field}" not recognized for type ${typeName({ kind } as SqlType)}`,
    {
      hint:
        unitMeant(field) ?? 'Use year, quarter, month, week, day, hour, minute, second or epoch.',
    },
  );
}
