import { DbError } from '../../base/errors.ts';
import { offsetSecondsAt, zoneOf } from '../../calendar/zones.ts';
import { TEXT, type SqlType } from '../../columns/types.ts';
import type { Datum, Decimal, Interval } from '../../columns/values.ts';
import { isFinite, timestamptzToTimestamp, timestampToTimestamptz } from '../datetime.ts';
import { instantOf, MICROS_A_SECOND, type Instant } from '../datetime.ts';
import { formatInstant, formatInterval, readTime } from '../datetime-format.ts';
import { decimalOf } from '../decimal-arithmetic.ts';
import type { EvaluationContext, FunctionDef } from '../function-def.ts';
import { formatNumber, readNumber } from '../number-format.ts';
import { characterCount, datumToText } from '../text-io.ts';
import { define } from './define.ts';

const ZONED = { volatility: 'zoned' } as const;

/** to_char, to_date, to_timestamp, to_number, format and their kin. */
export const FORMATTING: readonly FunctionDef[] = [
  define('to_char', ['timestamp', 'text'], 'text', ([value, template]) =>
    isFinite(value as Instant)
      ? formatInstant(value as Instant, template as string, undefined)
      : null,
  ),
  define(
    'to_char',
    ['timestamptz', 'text'],
    'text',
    ([value, template], context) => {
      if (!isFinite(value as Instant)) return null;
      const zone = zoneOf(context.zone);
      return formatInstant(timestamptzToTimestamp(value as Instant, zone), template as string, {
        name: context.zone,
        offsetSeconds: offsetSecondsAt(zone, value as Instant),
      });
    },
    ZONED,
  ),
  define('to_char', ['interval', 'text'], 'text', ([value, template]) =>
    formatInterval(value as Interval, template as string),
  ),
  define('to_char', ['int4', 'text'], 'text', ([value, template]) =>
    formatNumber(decimalOf(value as number), template as string),
  ),
  define('to_char', ['int8', 'text'], 'text', ([value, template]) =>
    formatNumber(decimalOf(value as number | bigint), template as string),
  ),
  define('to_char', ['numeric', 'text'], 'text', ([value, template]) =>
    formatNumber(value as Decimal, template as string),
  ),
  define('to_char', ['float4', 'text'], 'text', ([value, template]) =>
    formatNumber(value as number, template as string, 6),
  ),
  define('to_char', ['float8', 'text'], 'text', ([value, template]) =>
    formatNumber(value as number, template as string, 15),
  ),
  define('to_number', ['text', 'text'], 'numeric', ([value, template]) =>
    template === '' ? null : readNumber(value as string, template as string),
  ),
  define('to_date', ['text', 'text'], 'date', ([value, template]) =>
    template === '' ? null : readTime(value as string, template as string).day,
  ),
  define(
    'to_timestamp',
    ['text', 'text'],
    'timestamptz',
    ([value, template], { zone }) => {
      if (template === '') return null;
      const { day, micros, offsetSeconds } = readTime(value as string, template as string);
      const local = instantOf(day, micros);
      return offsetSeconds === undefined
        ? timestampToTimestamptz(local, zoneOf(zone))
        : instantOf(day, micros - offsetSeconds * MICROS_A_SECOND);
    },
    ZONED,
  ),
  define('format', ['text'], 'text', ([template], context) =>
    formatted(template as string, [], [], context),
  ),
  define(
    'format',
    ['text', 'any'],
    'text',
    ([template, ...values], context, types) =>
      template === null || template === undefined
        ? null
        : formatted(template as string, values, types.slice(1), context),
    { variadic: true, strict: false },
  ),
  define(
    'quote_nullable',
    ['text'],
    'text',
    ([value]) => (value === null ? 'NULL' : quotedLiteral(value as string)),
    { strict: false },
  ),
  define('quote_literal', ['text'], 'text', ([value]) => quotedLiteral(value as string)),
  define('unistr', ['text'], 'text', ([value]) => unescaped(value as string)),
  define('^@', ['text', 'text'], 'boolean', ([value, part]) =>
    (value as string).startsWith(part as string),
  ),
];

export function quotedLiteral(value: string): string {
  const quoted = `'${value.replaceAll("'", "''").replaceAll('\\', '\\\\')}'`;
  return value.includes('\\') ? `E${quoted}` : quoted;
}

function unescaped(value: string): string {
  let high = 0;
  return value.replaceAll(
    /\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|\+([0-9a-fA-F]{6})|([0-9a-fA-F]{4})|(\\)|([\s\S]|$))/g,
    (_, a?: string, b?: string, c?: string, d?: string, backslash?: string) => {
      if (backslash !== undefined) return '\\';
      const digits = a ?? b ?? c ?? d;
      if (digits === undefined)
        throw new DbError('42601', 'invalid Unicode escape', {
          hint: 'Unicode escapes must be \\XXXX, \\+XXXXXX, \\uXXXX, or \\UXXXXXXXX.',
        });
      const code = Number.parseInt(digits, 16);
      if (code === 0 || code > 0x10_ffff)
        throw new DbError('42601', `invalid Unicode code point: ${code.toString(16)}`);
      if (high !== 0) {
        if (code < 0xdc00 || code > 0xdfff)
          throw new DbError('42601', 'invalid Unicode surrogate pair');
        const pair = String.fromCharCode(high, code);
        high = 0;
        return pair;
      }
      if (code >= 0xd800 && code <= 0xdbff) {
        high = code;
        return '';
      }
      if (code >= 0xdc00 && code <= 0xdfff)
        throw new DbError('42601', 'invalid Unicode surrogate pair');
      return String.fromCodePoint(code);
    },
  );
}

/** format(): %s, %I and %L with position, width and the flag −. */
function formatted(
  template: string,
  values: readonly Datum[],
  types: readonly SqlType[],
  context: EvaluationContext,
): string {
  let next = 0;
  const take = (position: number | undefined): { value: Datum; type: SqlType } => {
    const index = position === undefined ? next : position - 1;
    if (position === 0)
      throw new DbError('22023', 'format specifies argument 0, but arguments are numbered from 1');
    if (index >= values.length) throw new DbError('22023', 'too few arguments for format()');
    next = index + 1;
    return { value: values[index]!, type: types[index]! };
  };
  const text = ({ value, type }: { value: Datum; type: SqlType }): string | null =>
    value === null ? null : datumToText(value, type.kind === 'unknown' ? TEXT : type, context);
  let out = '';
  for (let at = 0; at < template.length;) {
    if (template[at] !== '%') {
      out += template[at];
      at += 1;
      continue;
    }
    if (template[at + 1] === '%') {
      out += '%';
      at += 2;
      continue;
    }
    const found = /^%(?:(\d+)\$)?(-?)(?:(\*)(?:(\d+)\$)?|(\d+))?/.exec(template.slice(at))!;
    at += found[0].length;
    const [, position, minus, star, starPosition, digits] = found;
    const kind = template[at];
    at += 1;
    if (kind === undefined)
      throw new DbError('22023', 'unterminated format() type specifier', {
        hint: 'For a single "%" use "%%".',
      });
    if (kind !== 's' && kind !== 'I' && kind !== 'L')
      throw new DbError('22023', `unrecognized format() type specifier "${kind}"`, {
        hint: 'For a single "%" use "%%".',
      });
    let width = digits === undefined ? 0 : Number(digits);
    let left = minus === '-';
    if (star !== undefined) {
      const given = take(starPosition === undefined ? undefined : Number(starPosition));
      width = given.value === null ? 0 : Number(text(given));
      if (width < 0) {
        left = true;
        width = -width;
      }
    }
    const value = text(take(position === undefined ? undefined : Number(position)));
    let shown: string;
    if (kind === 's') shown = value ?? '';
    else if (kind === 'L') shown = value === null ? 'NULL' : quotedLiteral(value);
    else {
      if (value === null)
        throw new DbError('22004', 'null values cannot be formatted as an SQL identifier');
      shown = /^[a-z_][a-z0-9_$]*$/.test(value) ? value : `"${value.replaceAll('"', '""')}"`;
    }
    const missing = ' '.repeat(Math.max(0, width - characterCount(shown)));
    out += left ? shown + missing : missing + shown;
  }
  return out;
}
