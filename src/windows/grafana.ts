import { DbError } from '../base/errors.ts';
import { valueText } from '../base/value-text.ts';
import type { Calendar } from '../calendar/calendar.ts';
import { parseInstantMs } from '../calendar/instants.ts';

/** Grafana's letters: months and minutes differ in case, `f` is fiscal. */
const UNITS: Readonly<
  Record<string, { readonly unit: string; readonly add: readonly [string, number] }>
> = {
  s: { unit: 'second', add: ['second', 1] },
  m: { unit: 'minute', add: ['minute', 1] },
  h: { unit: 'hour', add: ['hour', 1] },
  d: { unit: 'day', add: ['day', 1] },
  w: { unit: 'week', add: ['day', 7] },
  M: { unit: 'month', add: ['month', 1] },
  Q: { unit: 'quarter', add: ['month', 3] },
  y: { unit: 'year', add: ['month', 12] },
  fQ: { unit: 'fiscalQuarter', add: ['month', 3] },
  fy: { unit: 'fiscalYear', add: ['month', 12] },
};

/** Nobody writes longer ones. Blanks before what is none are looked through from each of them. */
const TEXT_LENGTH_MAX = 1000;

/** A span as it is at one instant. */
export type GrafanaSpan = {
  readonly startMs: number;
  readonly endMs: number;
  /** Which of its ends go along with now, and are not rounded. */
  readonly along: { readonly start: boolean; readonly end: boolean };
  /** Until when its other ends stay where they are; Infinity: for ever. */
  readonly nextChangeMs: number;
};

/**
 * A span as Grafana writes it: `now-7d/d to now/d`, or its beginning alone. `now-7d` goes back, by the wall from days on;
 * `/d` rounds: down where the span begins, up where it ends (so `now/d to now/d` is today). Or a name of
 * `calendar.relative`: `yesterday`, `last7Days`, which may be written in words: `last 7 days`.
 */
export function grafanaSpan(text: string, calendar: Calendar, nowMs: number): GrafanaSpan {
  if (typeof text !== 'string')
    throw new DbError('22023', '"text" is no text', {
      field: 'text',
      hint: "Write 'now-7d/d to now/d', or 'last7Days'.",
    });
  if (text.length > TEXT_LENGTH_MAX) throw wrong(text);
  if (!/^\s*(now|[-+]?\d)/.test(text)) return namedSpan(oneWord(text), calendar, nowMs);
  const [from, to, more] = text.split(/\s+to\s+/);
  if (more !== undefined) throw wrong(text);
  const start = endOf(from!, calendar, nowMs, 'down');
  const end = to === undefined ? { ...ALONG, ms: nowMs } : endOf(to, calendar, nowMs, 'up');
  return {
    startMs: start.ms,
    endMs: end.ms,
    along: { start: start.moves, end: end.moves },
    nextChangeMs: Math.min(start.nextChangeMs, end.nextChangeMs),
  };
}

/** `last 7 days` as `last7Days`. */
function oneWord(text: string): string {
  return text
    .trim()
    .split(/\s+/)
    .map((word, index) => (index === 0 ? word : word[0]!.toUpperCase() + word.slice(1)))
    .join('');
}

function namedSpan(name: string, calendar: Calendar, nowMs: number): GrafanaSpan {
  const { startMs, endMs } = calendar.relative(name, nowMs, { field: 'text' });
  const unit = /(minute|hour)/i.exec(name)?.[0].toLowerCase() ?? 'day';
  return {
    startMs,
    endMs,
    along: { start: /WallClock/.test(name), end: /ToDate|WallClock/.test(name) },
    nextChangeMs: calendar.ruler(unit).at(Math.floor(nowMs / 1000)).end * 1000,
  };
}

/** One end of a span. */
type End = { readonly ms: number; readonly moves: boolean; readonly nextChangeMs: number };

const ALONG = { moves: true, nextChangeMs: Infinity } as const;

function endOf(text: string, calendar: Calendar, nowMs: number, rounding: 'down' | 'up'): End {
  const trimmed = text.trim();
  if (!trimmed.startsWith('now')) {
    // As the addresses of its dashboards have instants: milliseconds since 1970.
    const given = /^\d{11,16}$/.test(trimmed) ? Number(trimmed) : trimmed;
    const ms = parseInstantMs(given, calendar.timeZone, 'text');
    return { ms, moves: false, nextChangeMs: Infinity };
  }
  let at = nowMs;
  let known: Omit<End, 'ms'> = ALONG;
  let rest = trimmed.slice(3).trimStart();
  while (rest !== '') {
    const match = /^(?:([+-])\s*(\d{0,9})|(\/))\s*(fQ|fy|[smhdwMQy])/.exec(rest);
    if (match === null) throw wrong(text);
    const { unit, add } = UNITS[match[4]!]!;
    if (match[3] === undefined) {
      const [part, times] = add;
      const count = match[2] === '' ? 1 : Number(match[2]);
      at = calendar.add(at, { [part]: (match[1] === '-' ? -1 : 1) * count * times });
    } else {
      const { start, end } = calendar.ruler(unit).at(Math.floor(at / 1000));
      if (known === ALONG)
        known = {
          moves: false,
          nextChangeMs: untilRounded(unit, end * 1000 - at, calendar, nowMs),
        };
      at = (rounding === 'down' ? start : end) * 1000;
    }
    rest = rest.slice(match[0].length).trimStart();
  }
  return { ms: at, ...known };
}

/**
 * When what is rounded to a unit may be another: once now has gone as far as the unit's end is away, if it goes as fast; by the wall it does not where a clock is
 * changed, but then no unit begins before one does here.
 */
function untilRounded(unit: string, awayMs: number, calendar: Calendar, nowMs: number): number {
  const own = CLOCK_UNITS.has(unit) ? unit : 'day';
  const here = calendar.ruler(own).at(Math.floor(nowMs / 1000)).end * 1000;
  return Math.min(nowMs + awayMs, here);
}

const CLOCK_UNITS: ReadonlySet<string> = new Set(['second', 'minute', 'hour']);

function wrong(text: string): DbError {
  return new DbError('22023', `"${valueText(text)}" is no span of time`, {
    field: 'text',
    hint: "Write it as Grafana does: 'now-7d/d to now/d', with s, m, h, d, w, M, Q, y, fQ and fy.",
  });
}
