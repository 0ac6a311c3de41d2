import { DbError } from '../base/errors.ts';

const UNITS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  sec: 1_000,
  second: 1_000,
  min: 60_000,
  m: 60_000,
  minute: 60_000,
  h: 3_600_000,
  hour: 3_600_000,
  d: 86_400_000,
  day: 86_400_000,
};

/** Milliseconds, or a text such as `'36h'`, `'1h 30m'`, `'250ms'`, `'2 days'`. A day is 24 hours here: it is a length, no date. */
export type Duration = number | string;

export function durationMs(field: string, value: Duration): number {
  if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value;
  let total = 0;
  let rest = typeof value === 'string' ? value.trim() : '';
  while (rest !== '') {
    const match = /^(\d+(?:\.\d+)?)\s*([a-z]+)\s*/i.exec(rest);
    const unit = match === null ? undefined : unitMs(match[2]!);
    if (match === null || unit === undefined) break;
    total += Number(match[1]) * unit;
    rest = rest.slice(match[0].length);
    if (rest === '') return total;
  }
  throw new DbError('22023', `"${String(value)}" is not a length of time`, {
    field,
    hint: "Give milliseconds, or a text such as '36h', '1h 30m' or '250ms'.",
  });
}

/** A span to draw from: `'5ms'` or `'1ms..20ms'`. */
export function durationRange(field: string, value: Duration): readonly [number, number] {
  if (typeof value === 'string' && value.includes('..')) {
    const [least, most] = value.split('..') as [string, string];
    const range = [durationMs(field, least), durationMs(field, most)] as const;
    if (range[0] <= range[1]) return range;
  }
  const ms = durationMs(field, value);
  return [ms, ms];
}

/** Times a millisecond, of a text such as `'1/h'`, `'3/min'`, `'2.5/day'`. */
export function ratePerMs(field: string, value: string): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*\/\s*([a-z]+)\s*$/i.exec(String(value));
  const unit = match === null ? undefined : unitMs(match[2]!);
  if (match !== null && unit !== undefined) return Number(match[1]) / unit;
  throw new DbError('22023', `"${String(value)}" is not a rate`, {
    field,
    hint: "Give a text such as '1/h', '3/min' or '2/day'.",
  });
}

/**
 * Milliseconds since 1970, of a number or of a text that names its offset: without one it would mean another instant on another
 * machine.
 */
export function instantOf(field: string, value: number | string): number {
  if (typeof value === 'number' && Number.isFinite(value)) return Math.floor(value);
  const text = String(value);
  const ms = /(?:z|[+-]\d{2}:?\d{2})$/i.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(ms)) return ms;
  throw new DbError('22023', `"${text}" is not an instant`, {
    field,
    hint: "Give epoch milliseconds, or a text with its offset such as '2026-03-08T03:00:00-04:00'.",
  });
}

/** A share of 0 … 1. */
export function probabilityOf(field: string, value: number): number {
  if (typeof value === 'number' && value >= 0 && value <= 1) return value;
  throw new DbError('22023', `"${field}" is not a share`, {
    field,
    hint: 'Give a number from 0 (never) to 1 (always).',
  });
}

function unitMs(name: string): number | undefined {
  const lower = name.toLowerCase();
  return UNITS_MS[lower] ?? (lower.endsWith('s') ? UNITS_MS[lower.slice(0, -1)] : undefined);
}
