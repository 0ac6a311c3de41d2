import { DbError } from '../base/errors.ts';
import { valueText } from '../base/value-text.ts';
import { civilDay, daysFromCivil, daysInMonth } from './civil.ts';
import { localInstants, type Zone } from './zones.ts';

/**
 * What stands for an instant at the edge: milliseconds since 1970, a Date, a luxon DateTime, a Temporal.Instant or ZonedDateTime, an
 * ISO 8601 text. Inside there are only milliseconds.
 */
export type InstantInput =
  | number
  | string
  | Date
  | { toMillis(): number }
  | { readonly epochMilliseconds: number };

/** As far as a Date reaches: 100,000,000 days around 1970. */
export const INSTANT_MS_MAX = 8.64e15;

/** Milliseconds since 1970. A text without an offset is local time in the zone, read as `compatible`. Else 22007, 22008 or 22023. */
export function parseInstantMs(value: InstantInput, zone: Zone, field: string): number {
  const ms = typeof value === 'string' ? textMs(value, zone, field) : objectMs(value, field);
  if (Number.isNaN(ms))
    throw new DbError('22008', `"${field}" is an invalid date`, {
      field,
      hint: 'Look where it was made: it holds no time.',
    });
  if (Math.abs(ms) > INSTANT_MS_MAX)
    throw new DbError('22008', `"${field}" is out of range`, {
      field,
      hint: 'Give milliseconds since 1970, at most 8.64e15 of them.',
    });
  return ms;
}

function objectMs(value: Exclude<InstantInput, string>, field: string): number {
  if (typeof value === 'number') return value;
  if (value instanceof Date) return value.getTime();
  if (typeof value === 'object' && value !== null) {
    if ('toMillis' in value && typeof value.toMillis === 'function') return value.toMillis();
    if ('epochMilliseconds' in value && typeof value.epochMilliseconds === 'number')
      return value.epochMilliseconds;
  }
  throw new DbError('22023', `"${field}" is no instant`, {
    field,
    hint: "Give milliseconds since 1970, a Date, a DateTime, or a text such as '2026-11-22T10:00:00Z'.",
  });
}

const ISO =
  /^((?:\d{4}|[+-]\d{6})-\d{2}-\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?)?\s*(Z|[+-]\d{2}(?::?\d{2}(?::?\d{2})?)?)?$/i;

/** Digits [at, at + length) of a text; NaN where something else stands there. */
function digits(text: string, at: number, length: number): number {
  let value = 0;
  for (let index = at; index < at + length; index += 1) {
    const digit = text.charCodeAt(index) - 48;
    if (!(digit >= 0 && digit <= 9)) return NaN;
    value = value * 10 + digit;
  }
  return value;
}

/** What `Date.prototype.toISOString` writes, with or without thousandths, read in a tenth of the time; NaN for all else. */
function plainTextMs(text: string): number {
  const { length } = text;
  if ((length !== 24 && length !== 20) || text[length - 1] !== 'Z' || text[10] !== 'T') return NaN;
  if (text[4] !== '-' || text[7] !== '-' || text[13] !== ':' || text[16] !== ':') return NaN;
  if (length === 24 && text[19] !== '.') return NaN;
  const [year, month, day] = [digits(text, 0, 4), digits(text, 5, 2), digits(text, 8, 2)];
  const [hour, minute, second] = [digits(text, 11, 2), digits(text, 14, 2), digits(text, 17, 2)];
  const isDate = month >= 1 && month <= 12 && day >= 1 && day <= daysInMonth(year, month);
  if (!isDate || !(hour <= 23 && minute <= 59 && second <= 59)) return NaN;
  const ms = length === 24 ? digits(text, 20, 3) : 0;
  const seconds = daysFromCivil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
  return seconds * 1000 + ms;
}

function textMs(text: string, zone: Zone, field: string): number {
  const plain = plainTextMs(text);
  if (!Number.isNaN(plain)) return plain;
  const match = ISO.exec(text.trim());
  const day = match === null ? undefined : civilDay(match[1]!);
  if (match === null || day === undefined) throw notAnInstant(text, field);
  const [hour, minute, second] = [match[2], match[3], match[4]].map((part) =>
    Number(part ?? 0),
  ) as [number, number, number];
  const isEndOfDay = hour === 24 && minute === 0 && second === 0;
  if ((hour > 23 && !isEndOfDay) || minute > 59 || second > 59) throw notAnInstant(text, field);
  const localSeconds = day * 86_400 + hour * 3600 + minute * 60 + second;
  const ms = Number((match[5] ?? '').padEnd(3, '0').slice(0, 3));
  const offset = match[6];
  if (offset === undefined) return localInstants(zone, localSeconds).compatible * 1000 + ms;
  return (localSeconds - offsetSecondsOf(offset)) * 1000 + ms;
}

function offsetSecondsOf(text: string): number {
  if (text === 'Z' || text === 'z') return 0;
  const digits = text.replaceAll(':', '').slice(1);
  const seconds =
    Number(digits.slice(0, 2)) * 3600 +
    Number(digits.slice(2, 4)) * 60 +
    Number(digits.slice(4, 6));
  return text.startsWith('-') ? -seconds : seconds;
}

function notAnInstant(text: string, field: string): DbError {
  return new DbError('22007', `"${valueText(text)}" is no instant`, {
    field,
    hint: "Write it as '2026-11-22T10:00:00Z', '2026-11-22T11:00:00+01:00', or '2026-11-22' for a local midnight.",
  });
}
