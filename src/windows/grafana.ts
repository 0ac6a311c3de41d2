import { DbError } from '../base/errors.ts';
import type { Calendar } from '../calendar/calendar.ts';
import { parseInstantMs } from '../calendar/instants.ts';
import { zoneOf } from '../calendar/zones.ts';

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

/**
 * A span as Grafana writes it: `now-7d/d to now/d`, or its beginning alone. `now-7d` goes back, by the wall from days on;
 * `/d` rounds: down where the span begins, up where it ends (so `now/d to now/d` is today). Or a name of
 * `calendar.relative`: `yesterday`, `last7Days`.
 */
export function grafanaSpan(
  text: string,
  calendar: Calendar,
  nowMs: number,
): { readonly startMs: number; readonly endMs: number; readonly moves: boolean } {
  if (typeof text !== 'string')
    throw new DbError('22023', '"text" is no text', {
      field: 'text',
      hint: "Write 'now-7d/d to now/d', or 'last7Days'.",
    });
  if (!/^\s*(now|[-+]?\d)/.test(text)) {
    const { startMs, endMs } = calendar.relative(text.trim(), nowMs);
    return { startMs, endMs, moves: endMs === nowMs };
  }
  const [from, to, more] = text.split(/\s+to\s+/);
  if (more !== undefined) throw wrong(text);
  const startMs = instantOf(from!, calendar, nowMs, 'down');
  const endMs = to === undefined ? nowMs : instantOf(to, calendar, nowMs, 'up');
  return { startMs, endMs, moves: to === undefined || !to.includes('/') };
}

function instantOf(
  text: string,
  calendar: Calendar,
  nowMs: number,
  rounding: 'down' | 'up',
): number {
  const trimmed = text.trim();
  if (!trimmed.startsWith('now')) return parseInstantMs(trimmed, zoneOf(calendar.zone), 'text');
  let at = nowMs;
  let rest = trimmed.slice(3).trimStart();
  while (rest !== '') {
    const match = /^(?:([+-])\s*(\d{1,9})|(\/))\s*(fQ|fy|[smhdwMQy])/.exec(rest);
    if (match === null) throw wrong(text);
    const { unit, add } = UNITS[match[4]!]!;
    if (match[3] === undefined) {
      const [part, times] = add;
      at = calendar.add(at, { [part]: (match[1] === '-' ? -1 : 1) * Number(match[2]) * times });
    } else {
      const { start, end } = calendar.ruler(unit).at(Math.floor(at / 1000));
      at = (rounding === 'down' ? start : end) * 1000;
    }
    rest = rest.slice(match[0].length).trimStart();
  }
  return at;
}

function wrong(text: string): DbError {
  return new DbError('22023', `"${text}" is no span of time`, {
    field: 'text',
    hint: "Write it as Grafana does: 'now-7d/d to now/d', with s, m, h, d, w, M, Q, y, fQ and fy.",
  });
}
