/** Which windows a spec means: P6 … P8 of the list that the semantics came from, and every way to say when. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DbError } from '../../src/base/errors.ts';
import { calendar, type Calendar } from '../../src/calendar/calendar.ts';
import { planWindows, type WindowSpec } from '../../src/windows/window-spec.ts';

const NEW_YORK = calendar({ zone: 'America/New_York' });
const at = (text: string): number => Date.parse(text);

/** `start > end`, local; `~` where partial, `…` where not complete; `| start > end` what it is compared with. */
function shown(spec: WindowSpec, now: string, c: Calendar = NEW_YORK): string[] {
  const { windows, compared } = planWindows(spec, c, at(now));
  const text = (ms: number): string =>
    c.local(ms).replace(':00.000', '').slice(0, -6).replace('T00:00', '');
  return windows.map(({ startMs, endMs, partial, complete }, index) => {
    const span = compared?.[index];
    const beside =
      compared === undefined
        ? ''
        : span === undefined
          ? ' | none'
          : ` | ${text(span.startMs)} > ${text(span.endMs)}`;
    return `${text(startMs)} > ${text(endMs)}${partial ? ' ~' : ''}${complete ? '' : ' …'}${beside}`;
  });
}

function refusal(spec: unknown, c: Calendar = NEW_YORK): string {
  try {
    planWindows(spec as WindowSpec, c, at('2026-11-22T15:00:00Z'));
  } catch (cause) {
    if (!(cause instanceof DbError)) throw cause;
    return `${cause.code} ${cause.field ?? ''}: ${cause.message} | ${cause.hint ?? ''}`;
  }
  return 'nothing';
}

// ── When ───────────────────────────────────────────────────────────────────────────────────────────────────────

test('P6: last 24h is exact, last 1d goes by the wall, lastComplete 7d is seven whole days', () => {
  const now = '2026-11-02T17:30:00Z'; // 12:30, a day and a half after the clocks went back
  expect(shown({ last: '48h' }, now)).toEqual(['2026-10-31T13:30 > 2026-11-02T12:30']);
  expect(shown({ last: '2d' }, now)).toEqual(['2026-10-31T12:30 > 2026-11-02T12:30']);
  expect(shown({ lastComplete: '2d' }, now)).toEqual(['2026-10-31 > 2026-11-02']);
});

test('every way to say when', () => {
  const now = '2026-11-22T15:20:30Z';
  const c = calendar({
    zone: 'America/New_York',
    fiscalYearStart: 2,
    weekStart: 'sunday',
    holidays: ['2026-11-11'],
    retail: { pattern: '4-5-4' },
  });
  const cases: readonly [WindowSpec, string][] = [
    [{ last: '1 month' }, '2026-10-22T10:20:30.000 > 2026-11-22T10:20:30.000'],
    [{ last: '2 quarters' }, '2026-05-22T10:20:30.000 > 2026-11-22T10:20:30.000'],
    [{ last: '1 fiscalYear' }, '2025-11-22T10:20:30.000 > 2026-11-22T10:20:30.000'],
    [{ last: '2 business days' }, '2026-11-19T10:20:30.000 > 2026-11-22T10:20:30.000'],
    [{ lastComplete: '3 hours' }, '2026-11-22T07:00 > 2026-11-22T10:00'],
    [{ lastComplete: '45 min' }, '2026-11-22T09:35 > 2026-11-22T10:20'],
    [{ lastComplete: '2 weeks' }, '2026-11-08 > 2026-11-22'],
    [{ lastComplete: '7 business days' }, '2026-11-10 > 2026-11-20'],
    [{ lastComplete: '2 retail periods' }, '2026-08-30 > 2026-11-01'],
    [{ previous: 'quarter' }, '2026-07-01 > 2026-10-01'],
    [{ previous: 'fiscalQuarter' }, '2026-08-01 > 2026-11-01'],
    [{ toDate: 'month' }, '2026-11-01 > 2026-11-22T10:20:30.000 ~'],
    [{ toDate: 'hour' }, '2026-11-22T10:00 > 2026-11-22T10:20:30.000 ~'],
    [{ toDate: '2 weeks' }, '2026-11-15 > 2026-11-22T10:20:30.000 ~'],
    [{ current: 'week' }, '2026-11-22 > 2026-11-29 …'],
    [{ current: 'fiscalQuarter' }, '2026-11-01 > 2027-02-01 …'],
    [{ range: ['2026-11-01', '2026-11-08T12:00'] }, '2026-11-01 > 2026-11-08T12:00'],
    [{ range: [0, new Date(3_600_000)] }, '1969-12-31T19:00 > 1969-12-31T20:00'],
    [{ text: 'now-7d/d' }, '2026-11-15 > 2026-11-22T10:20:30.000'],
    [{ text: 'now-7d/d to now/d' }, '2026-11-15 > 2026-11-23 …'],
    [{ text: 'now/d to now/d' }, '2026-11-22 > 2026-11-23 …'],
    [{ text: 'now-1M/M to now-1M/M' }, '2026-10-01 > 2026-11-01'],
    [{ text: 'now-1Q/Q' }, '2026-07-01 > 2026-11-22T10:20:30.000'],
    [{ text: 'now/fQ to now+1fy/fy' }, '2026-11-01 > 2028-02-01 …'],
    [{ text: 'now-5m' }, '2026-11-22T10:15:30.000 > 2026-11-22T10:20:30.000'],
    [{ text: 'now-1w/w to now - 30s' }, '2026-11-15 > 2026-11-22T10:20'],
    [{ text: '2026-11-01 to 2026-11-03T06:00' }, '2026-11-01 > 2026-11-03T06:00'],
    [{ text: 'last7Days' }, '2026-11-15 > 2026-11-22'],
    [{ text: 'monthToDate' }, '2026-11-01 > 2026-11-22T10:20:30.000'],
  ];
  for (const [spec, expected] of cases)
    expect([spec, shown(spec, now, c)]).toEqual([spec, [expected]]);
  expect(shown({ range: ['2026-11-01', '2026-11-01'] }, now)).toEqual([]);
  expect(shown({ range: ['2026-11-01', '2026-11-01'], every: 'day' }, now)).toEqual([]);
  expect(shown({ range: ['2026-11-01', '2026-11-01'], every: '1h', hop: '5min' }, now)).toEqual([]);
  expect(
    planWindows({ range: ['2026-11-01', '2026-11-01'], compare: 'previous' }, NEW_YORK, at(now))
      .compared,
  ).toEqual([]);
});

test('what is asked until now is one empty window at its very beginning, beside one that had not begun either', () => {
  const midnight = '2026-11-23T05:00:00Z'; // a Monday
  const c = calendar({
    zone: 'America/New_York',
    retail: { pattern: '4-5-4', ends: 'last', weekday: 'sunday', month: 11 },
  });
  const cases: readonly [WindowSpec, string][] = [
    [{ toDate: 'day' }, '2026-11-23 > 2026-11-23 ~'],
    [{ toDate: 'hour' }, '2026-11-23 > 2026-11-23 ~'],
    [{ toDate: 'minute' }, '2026-11-23 > 2026-11-23 ~'],
    [{ toDate: 'week' }, '2026-11-23 > 2026-11-23 ~'],
    [{ toDate: 'business day' }, '2026-11-23 > 2026-11-23 ~'],
    [{ text: 'now/d' }, '2026-11-23 > 2026-11-23'],
    [{ text: 'dayToDate' }, '2026-11-23 > 2026-11-23'],
    [{ toDate: 'day', compare: 'previous' }, '2026-11-23 > 2026-11-23 ~ | 2026-11-22 > 2026-11-22'],
    [{ toDate: 'day', compare: 'yearAgo' }, '2026-11-23 > 2026-11-23 ~ | 2025-11-23 > 2025-11-23'],
    [
      { toDate: 'hour', compare: 'previous' },
      '2026-11-23 > 2026-11-23 ~ | 2026-11-22T23:00 > 2026-11-22T23:00',
    ],
    [
      { toDate: 'week', compare: { weeksAgo: 52 } },
      '2026-11-23 > 2026-11-23 ~ | 2025-11-24 > 2025-11-24',
    ],
    [
      { toDate: 'day', compare: { to: 'previous', align: 'fullPeriod' } },
      '2026-11-23 > 2026-11-23 ~ | 2026-11-22 > 2026-11-23',
    ],
    [
      { toDate: 'day', compare: { to: 'previous', align: 'elapsed' } },
      '2026-11-23 > 2026-11-23 ~ | 2026-11-22 > 2026-11-22',
    ],
    // The 16th business day of a month, and a week that begins with it.
    [
      { toDate: 'day', compare: { sameBusinessDay: 'monthAgo' } },
      '2026-11-23 > 2026-11-23 ~ | 2026-10-22 > 2026-10-22',
    ],
    [
      { toDate: 'week', compare: { sameBusinessDay: 'monthAgo' } },
      '2026-11-23 > 2026-11-23 ~ | 2026-10-22 > 2026-10-22',
    ],
    [
      { toDate: 'retailWeek', compare: { to: 'yearAgo', align: 'fiscalWeek' } },
      '2026-11-23 > 2026-11-23 ~ | 2025-11-24 > 2025-11-24',
    ],
  ];
  for (const [spec, expected] of cases)
    expect([spec, shown(spec, midnight, c)]).toEqual([spec, [expected]]);
  // Where the clocks leave midnight out the day begins later, with an empty window of its own.
  const santiago = calendar({ zone: 'America/Santiago' });
  expect(shown({ toDate: 'day' }, '2026-09-06T04:00:00Z', santiago)).toEqual([
    '2026-09-06T01:00 > 2026-09-06T01:00 ~',
  ]);
  // In a series there is no window yet, and none between sessions.
  expect(shown({ toDate: 'day', every: 'hour' }, midnight)).toEqual([]);
  expect(shown({ toDate: 'day', every: '2h', hop: 'hour' }, midnight)).toEqual([]);
  expect(shown({ toDate: 'day', gap: '30min' }, midnight)).toEqual([]);
});

test('windows of every unit are cut to the span, and say so', () => {
  expect(shown({ last: '3d', every: 'day' }, '2026-11-02T17:30:00Z')).toEqual([
    '2026-10-30T12:30 > 2026-10-31 ~',
    '2026-10-31 > 2026-11-01',
    '2026-11-01 > 2026-11-02',
    '2026-11-02 > 2026-11-02T12:30 ~',
  ]);
  expect(shown({ current: 'week', every: 'day' }, '2026-11-04T17:30:00Z')).toEqual([
    '2026-11-02 > 2026-11-03',
    '2026-11-03 > 2026-11-04',
    '2026-11-04 > 2026-11-05 …',
    '2026-11-05 > 2026-11-06 …',
    '2026-11-06 > 2026-11-07 …',
    '2026-11-07 > 2026-11-08 …',
    '2026-11-08 > 2026-11-09 …',
  ]);
  // P2: the repeated hour is two windows; and P5: a skipped day is none.
  const hours = planWindows(
    { range: ['2026-11-01', '2026-11-01T04:00'], every: 'hour' },
    NEW_YORK,
    0,
  );
  expect(hours.windows.map(({ label }) => label)).toEqual([
    '2026-11-01T00:00-04:00',
    '2026-11-01T01:00-04:00',
    '2026-11-01T01:00-05:00',
    '2026-11-01T02:00-05:00',
    '2026-11-01T03:00-05:00',
  ]);
  const merged = planWindows(
    { range: ['2026-11-01', '2026-11-01T04:00'], every: 'hour', mergeRepeated: true },
    NEW_YORK,
    0,
  );
  expect(merged.windows.length).toBe(4);
  const apia = calendar({ zone: 'Pacific/Apia' });
  expect(
    shown({ range: ['2011-12-29', '2012-01-01'], every: 'day' }, '2026-01-01T00:00:00Z', apia),
  ).toEqual(['2011-12-29 > 2011-12-31', '2011-12-31 > 2012-01-01']);
});

test('hopping windows end at each hop and overlap', () => {
  expect(
    shown(
      { range: ['2026-11-01T12:00', '2026-11-01T12:12'], every: '1h', hop: '5min' },
      '2026-11-01T17:08:00Z',
    ),
  ).toEqual([
    '2026-11-01T11:05 > 2026-11-01T12:05',
    '2026-11-01T11:10 > 2026-11-01T12:10 …',
    '2026-11-01T11:15 > 2026-11-01T12:12 ~ …',
  ]);
  // Seven days that end each midnight: by the wall, across the change.
  expect(
    shown({ lastComplete: '2 days', every: '7 days', hop: 'day' }, '2026-11-04T17:00:00Z'),
  ).toEqual(['2026-10-27 > 2026-11-03', '2026-10-28 > 2026-11-04']);
});

test('the next change is the next boundary of what the windows move with, `~` where an end moves along', () => {
  const next = (spec: WindowSpec, now = '2026-11-22T15:20:30Z'): string | undefined => {
    const { nextChangeMs, moves } = planWindows(spec, NEW_YORK, at(now));
    const change = nextChangeMs === undefined ? 'never' : new Date(nextChangeMs).toISOString();
    return `${change.replace(':00.000Z', '')}${moves ? ' ~' : ''}`;
  };
  expect([
    next({ last: '24h' }),
    next({ last: '24h', every: 'hour' }),
    next({ lastComplete: '7 days' }),
    next({ lastComplete: '2 hours' }),
    next({ toDate: 'month' }),
    next({ toDate: 'month', every: 'hour' }),
    next({ current: 'month' }),
  ]).toEqual([
    'never ~',
    '2026-11-22T16:00 ~',
    '2026-11-23T05:00',
    '2026-11-22T16:00',
    '2026-12-01T05:00 ~',
    '2026-11-22T16:00 ~',
    '2026-12-01T05:00',
  ]);
  expect([
    next({ range: ['2026-11-01', '2026-12-01'], every: 'hour' }),
    next({ range: ['2026-12-01', '2026-12-02'], every: 'hour' }),
    next({ range: ['2026-12-01', '2026-12-02'] }),
    next({ range: ['2026-11-01', '2026-12-01'] }),
    next({ range: ['2026-11-01', '2026-11-02'], every: 'hour' }),
  ]).toEqual([
    '2026-11-22T16:00',
    '2026-12-01T05:00',
    '2026-12-02T05:00',
    '2026-12-01T05:00',
    'never',
  ]);
  expect([
    next({ text: 'now-7d/d to now/d' }),
    next({ text: 'now-7d/d' }),
    next({ text: 'now-6h/h to now/h' }),
    next({ text: 'now-24h to now/d' }),
    next({ text: '2026-11-01 to now-1d/d' }),
    next({ text: '2026-11-01 to 2026-11-02' }),
    // A day that begins at six, also on the day whose clocks went back.
    next({ text: 'now-6h/d to now-6h/d' }, '2026-11-22T10:59:59Z'),
    next({ text: 'now-6h/d to now-6h/d' }, '2026-11-01T09:59:59Z'),
    next({ text: 'now-7d/d to now-7d/d' }, '2026-11-08T12:00:00Z'),
    next({ text: 'yesterday' }),
    next({ text: 'yesterday', every: 'hour' }),
    next({ text: 'today', every: 'hour' }),
    next({ text: 'previousHour' }),
    next({ text: 'thisMinute' }),
    next({ text: 'yearToDateLastYear' }),
    next({ text: 'trailing7dWallClock' }),
  ]).toEqual([
    '2026-11-23T05:00',
    '2026-11-23T05:00 ~',
    '2026-11-22T16:00',
    '2026-11-23T05:00 ~',
    '2026-11-23T05:00',
    'never',
    '2026-11-22T11:00',
    '2026-11-01T10:00',
    '2026-11-09T05:00',
    '2026-11-23T05:00',
    '2026-11-23T05:00',
    '2026-11-22T16:00',
    '2026-11-22T16:00',
    '2026-11-22T15:21',
    '2026-11-23T05:00 ~',
    '2026-11-23T05:00 ~',
  ]);
});

test('what Grafana writes into addresses is read as text, and told where it stands in a range', () => {
  expect(shown({ text: '1793500000000 to 1793503600000' }, '2026-11-22T15:20:30Z')).toEqual([
    '2026-10-31T22:26:40.000 > 2026-10-31T23:26:40.000',
  ]);
  expect(shown({ text: 'now-d to now' }, '2026-11-22T15:20:00Z')).toEqual(
    shown({ text: 'now-1d to now' }, '2026-11-22T15:20:00Z'),
  );
  expect(shown({ text: 'now to now+2d' }, '2026-11-22T15:20:00Z')).toEqual([
    '2026-11-22T10:20 > 2026-11-24T10:20 …',
  ]);
  // The week that the month begins in.
  expect(shown({ text: 'now/M/w to now' }, '2026-11-22T15:20:00Z')).toEqual([
    '2026-10-26 > 2026-11-22T10:20',
  ]);
  expect(shown({ text: 'last 7 days' }, '2026-11-22T15:20:00Z')).toEqual(
    shown({ text: 'last7Days' }, '2026-11-22T15:20:00Z'),
  );
  expect(refusal({ text: 'last fortnight' })).toContain(
    '22023 text: "lastFortnight" is no relative',
  );
  expect(refusal({ range: ['now-7d/d', 'now/d'] })).toBe(
    `22023 range: "range" is of instants, and has what is relative to now | Write text: 'now-7d/d to now/d'.`,
  );
});

// ── Compared with ──────────────────────────────────────────────────────────────────────────────────────────────

const RETAIL = calendar({
  zone: 'America/New_York',
  holidays: ['2026-11-26', '2025-11-27', '2026-01-01'],
  retail: { pattern: '4-5-4', ends: 'nearest', weekday: 'saturday', month: 1 },
});

test('P7: a running period is compared as far as it has run, by the wall unless asked otherwise', () => {
  const now = '2026-11-22T15:00:00Z';
  expect(shown({ toDate: 'month', compare: 'previous' }, now)).toEqual([
    '2026-11-01 > 2026-11-22T10:00 ~ | 2026-10-01 > 2026-10-22T10:00',
  ]);
  // The October before the clocks went back: the same elapsed time is another hour on the wall.
  expect(shown({ toDate: 'month', compare: { to: 'previous', align: 'elapsed' } }, now)).toEqual([
    '2026-11-01 > 2026-11-22T10:00 ~ | 2026-10-01 > 2026-10-22T11:00',
  ]);
  expect(shown({ toDate: 'month', compare: { to: 'previous', align: 'fullPeriod' } }, now)).toEqual(
    ['2026-11-01 > 2026-11-22T10:00 ~ | 2026-10-01 > 2026-11-01'],
  );
  expect(shown({ toDate: 'year', compare: 'yearAgo' }, now)).toEqual([
    '2026-01-01 > 2026-11-22T10:00 ~ | 2025-01-01 > 2025-11-22T10:00',
  ]);
  expect(shown({ toDate: 'year', compare: { to: 'yearAgo', align: 'fullPeriod' } }, now)).toEqual([
    '2026-01-01 > 2026-11-22T10:00 ~ | 2025-01-01 > 2026-01-01',
  ]);
  expect(shown({ toDate: 'year', compare: { to: 'yearAgo', align: 'elapsed' } }, now)).toEqual([
    '2026-01-01 > 2026-11-22T10:00 ~ | 2025-01-01 > 2025-11-22T10:00',
  ]);
  // March has run further than February is long.
  expect(shown({ toDate: 'month', compare: 'previous' }, '2026-03-31T15:00:00Z')).toEqual([
    '2026-03-01 > 2026-03-31T11:00 ~ | 2026-02-01 > 2026-03-01',
  ]);
  expect(shown({ toDate: 'hour', compare: 'previous' }, '2026-11-22T15:20:00Z')).toEqual([
    '2026-11-22T10:00 > 2026-11-22T10:20 ~ | 2026-11-22T09:00 > 2026-11-22T09:20',
  ]);
  expect(
    shown(
      { toDate: 'hour', compare: { to: 'previous', align: 'fullPeriod' } },
      '2026-11-22T15:20:00Z',
    ),
  ).toEqual(['2026-11-22T10:00 > 2026-11-22T10:20 ~ | 2026-11-22T09:00 > 2026-11-22T10:00']);
});

test('what is before a span: its own length, in its own units', () => {
  const now = '2026-11-22T15:00:00Z';
  const cases: readonly [WindowSpec, string][] = [
    [
      { last: '24h', compare: 'previous' },
      '2026-11-21T10:00 > 2026-11-22T10:00 | 2026-11-20T10:00 > 2026-11-21T10:00',
    ],
    [
      { last: '7d', compare: 'previous' },
      '2026-11-15T10:00 > 2026-11-22T10:00 | 2026-11-08T10:00 > 2026-11-15T10:00',
    ],
    [
      { last: '1 month', compare: 'previous' },
      '2026-10-22T10:00 > 2026-11-22T10:00 | 2026-09-22T10:00 > 2026-10-22T10:00',
    ],
    [
      { last: '2 weeks', compare: 'previous' },
      '2026-11-08T10:00 > 2026-11-22T10:00 | 2026-10-25T10:00 > 2026-11-08T10:00',
    ],
    [
      { last: '2 business days', compare: 'previous' },
      '2026-11-19T10:00 > 2026-11-22T10:00 | 2026-11-17T10:00 > 2026-11-19T10:00',
    ],
    [
      { lastComplete: '7 days', compare: 'previous' },
      '2026-11-15 > 2026-11-22 | 2026-11-08 > 2026-11-15',
    ],
    [
      { previous: 'quarter', compare: 'previous' },
      '2026-07-01 > 2026-10-01 | 2026-04-01 > 2026-07-01',
    ],
    [
      { lastComplete: '3 hours', compare: 'previous' },
      '2026-11-22T07:00 > 2026-11-22T10:00 | 2026-11-22T04:00 > 2026-11-22T07:00',
    ],
    [
      { range: ['2026-11-01', '2026-11-08'], compare: 'previous' },
      '2026-11-01 > 2026-11-08 | 2026-10-25 > 2026-11-01',
    ],
    [
      { range: ['2026-11-01', '2026-11-01T06:00'], compare: 'previous' },
      '2026-11-01 > 2026-11-01T06:00 | 2026-10-31T17:00 > 2026-11-01',
    ],
    [
      { lastComplete: '7 days', compare: { weeksAgo: 52 } },
      '2026-11-15 > 2026-11-22 | 2025-11-16 > 2025-11-23',
    ],
    [
      { lastComplete: '7 days', compare: { to: 'yearAgo', align: 'dayOfWeek' } },
      '2026-11-15 > 2026-11-22 | 2025-11-16 > 2025-11-23',
    ],
    [
      { toDate: '2 weeks', compare: 'previous' },
      '2026-11-16 > 2026-11-22T10:00 ~ | 2026-11-02 > 2026-11-08T10:00',
    ],
  ];
  for (const [spec, expected] of cases)
    expect([spec, shown(spec, now)]).toEqual([spec, [expected]]);
});

test('each day is beside the same day of the month, and beside nothing where that month has none', () => {
  expect(
    shown(
      { range: ['2026-03-27', '2026-04-01'], every: 'day', compare: 'yearAgo' },
      '2026-05-01T00:00:00Z',
    ),
  ).toEqual([
    '2026-03-27 > 2026-03-28 | 2025-03-27 > 2025-03-28',
    '2026-03-28 > 2026-03-29 | 2025-03-28 > 2025-03-29',
    '2026-03-29 > 2026-03-30 | 2025-03-29 > 2025-03-30',
    '2026-03-30 > 2026-03-31 | 2025-03-30 > 2025-03-31',
    '2026-03-31 > 2026-04-01 | 2025-03-31 > 2025-04-01',
  ]);
  expect(
    shown({ previous: 'month', every: 'day', compare: 'previous' }, '2026-04-10T00:00:00Z').slice(
      27,
    ),
  ).toEqual([
    '2026-03-28 > 2026-03-29 | 2026-02-28 > 2026-03-01',
    '2026-03-29 > 2026-03-30 | none',
    '2026-03-30 > 2026-03-31 | none',
    '2026-03-31 > 2026-04-01 | none',
  ]);
  expect(
    shown(
      { range: ['2024-02-28', '2024-03-01'], every: 'day', compare: 'yearAgo' },
      '2026-05-01T00:00:00Z',
    ),
  ).toEqual([
    '2024-02-28 > 2024-02-29 | 2023-02-28 > 2023-03-01',
    '2024-02-29 > 2024-03-01 | none',
  ]);
  // P5: the day that Samoa skipped.
  const apia = calendar({ zone: 'Pacific/Apia' });
  expect(
    shown(
      { range: ['2012-12-29', '2013-01-01'], every: 'day', compare: 'yearAgo' },
      '2026-01-01T00:00:00Z',
      apia,
    ),
  ).toEqual([
    '2012-12-29 > 2012-12-30 | 2011-12-29 > 2011-12-31',
    '2012-12-30 > 2012-12-31 | 2011-12-31 > 2012-01-01',
    '2012-12-31 > 2013-01-01 | 2011-12-31 > 2012-01-01',
  ]);
});

test('weeks, months and hours are beside their like', () => {
  expect(
    shown(
      { lastComplete: '2 weeks', every: 'week', compare: { weeksAgo: 52 } },
      '2026-11-22T15:00:00Z',
    ),
  ).toEqual([
    '2026-11-02 > 2026-11-09 | 2025-11-03 > 2025-11-10',
    '2026-11-09 > 2026-11-16 | 2025-11-10 > 2025-11-17',
  ]);
  expect(
    shown(
      { lastComplete: '2 weeks', every: 'week', compare: { to: 'previous', align: 'dayOfWeek' } },
      '2026-11-22T15:00:00Z',
    ),
  ).toEqual([
    '2026-11-02 > 2026-11-09 | 2026-10-19 > 2026-10-26',
    '2026-11-09 > 2026-11-16 | 2026-10-26 > 2026-11-02',
  ]);
  // By the wall a week a year ago begins on another weekday.
  expect(
    shown({ lastComplete: '1 week', every: 'week', compare: 'yearAgo' }, '2026-11-22T15:00:00Z'),
  ).toEqual(['2026-11-09 > 2026-11-16 | 2025-11-09 > 2025-11-16']);
  expect(
    shown({ previous: 'quarter', every: 'month', compare: 'previous' }, '2026-11-22T15:00:00Z'),
  ).toEqual([
    '2026-07-01 > 2026-08-01 | 2026-04-01 > 2026-05-01',
    '2026-08-01 > 2026-09-01 | 2026-05-01 > 2026-06-01',
    '2026-09-01 > 2026-10-01 | 2026-06-01 > 2026-07-01',
  ]);
  expect(
    shown({ toDate: 'quarter', every: 'month', compare: 'previous' }, '2026-11-22T15:00:00Z'),
  ).toEqual([
    '2026-10-01 > 2026-11-01 | 2026-07-01 > 2026-08-01',
    '2026-11-01 > 2026-11-22T10:00 ~ | 2026-08-01 > 2026-08-22T10:00',
  ]);
  expect(
    shown(
      { toDate: 'quarter', every: 'month', compare: { to: 'previous', align: 'fullPeriod' } },
      '2026-11-22T15:00:00Z',
    )[1],
  ).toBe('2026-11-01 > 2026-11-22T10:00 ~ | 2026-08-01 > 2026-09-01');
  expect(
    shown(
      { toDate: 'month', every: 'week', compare: { to: 'previous', align: 'dayOfWeek' } },
      '2026-11-10T15:00:00Z',
    ),
  ).toEqual([
    '2026-11-01 > 2026-11-02 ~ | 2026-10-04 > 2026-10-05',
    '2026-11-02 > 2026-11-09 | 2026-10-05 > 2026-10-12',
    '2026-11-09 > 2026-11-10T10:00 ~ | 2026-10-12 > 2026-10-13T10:00',
  ]);
  expect(
    shown(
      { toDate: 'quarter', every: 'month', compare: { to: 'previous', align: 'elapsed' } },
      '2026-11-22T15:00:00Z',
    ),
  ).toEqual([
    '2026-10-01 > 2026-11-01 | 2026-07-01 > 2026-08-01',
    '2026-11-01 > 2026-11-22T10:00 ~ | 2026-08-01 > 2026-08-22T11:00',
  ]);
  // The repeated hour is beside the hour of the day before; its second pass beside nothing.
  expect(
    shown(
      { range: ['2026-11-01', '2026-11-01T03:00'], every: 'hour', compare: { weeksAgo: 1 } },
      '2026-11-22T15:00:00Z',
    ),
  ).toEqual([
    '2026-11-01 > 2026-11-01T01:00 | 2026-10-25 > 2026-10-25T01:00',
    '2026-11-01T01:00 > 2026-11-01T01:00 | 2026-10-25T01:00 > 2026-10-25T02:00',
    '2026-11-01T01:00 > 2026-11-01T02:00 | none',
    '2026-11-01T02:00 > 2026-11-01T03:00 | 2026-10-25T02:00 > 2026-10-25T03:00',
  ]);
  // Two repeated hours are beside each other, pass by pass.
  expect(
    shown(
      { range: ['2026-11-01T01:00', '2026-11-01T02:00'], every: 'hour', compare: { weeksAgo: 52 } },
      '2026-11-22T15:00:00Z',
    ),
  ).toEqual([
    '2026-11-01T01:00 > 2026-11-01T01:00 | 2025-11-02T01:00 > 2025-11-02T01:00',
    '2026-11-01T01:00 > 2026-11-01T02:00 | 2025-11-02T01:00 > 2025-11-02T02:00',
  ]);
  expect(shown({ last: '2h', every: 'hour', compare: 'previous' }, '2026-11-22T15:30:00Z')).toEqual(
    [
      '2026-11-22T08:30 > 2026-11-22T09:00 ~ | 2026-11-22T06:30 > 2026-11-22T07:00',
      '2026-11-22T09:00 > 2026-11-22T10:00 | 2026-11-22T07:00 > 2026-11-22T08:00',
      '2026-11-22T10:00 > 2026-11-22T10:30 ~ | 2026-11-22T08:00 > 2026-11-22T08:30',
    ],
  );
  // Hopping windows have no unit of their own: both ends go back, also of one alone, which is longer than the span.
  expect(
    shown(
      { lastComplete: '1 day', every: '7 days', hop: 'day', compare: 'yearAgo' },
      '2026-11-22T15:00:00Z',
    ),
  ).toEqual(['2026-11-15 > 2026-11-22 | 2025-11-15 > 2025-11-22']);
  expect(
    shown(
      { lastComplete: '2 days', every: '7 days', hop: 'day', compare: { weeksAgo: 1 } },
      '2026-11-22T15:00:00Z',
    ),
  ).toEqual([
    '2026-11-14 > 2026-11-21 | 2026-11-07 > 2026-11-14',
    '2026-11-15 > 2026-11-22 | 2026-11-08 > 2026-11-15',
  ]);
  // A day that begins at 01:00 is beside the whole day a year before.
  const havana = calendar({ zone: 'America/Havana' });
  expect(
    shown(
      { range: ['2026-03-08', '2026-03-10'], every: 'day', compare: { weeksAgo: 52 } },
      '2026-05-01T00:00:00Z',
      havana,
    ),
  ).toEqual([
    '2026-03-08T01:00 > 2026-03-09 | 2025-03-09T01:00 > 2025-03-10',
    '2026-03-09 > 2026-03-10 | 2025-03-10 > 2025-03-11',
  ]);
});

test('business days are beside the same business day of the month', () => {
  const spec: WindowSpec = {
    range: ['2026-11-25', '2026-12-01'],
    every: 'day',
    compare: { sameBusinessDay: 'yearAgo' },
  };
  expect(shown(spec, '2026-12-22T15:00:00Z', RETAIL)).toEqual([
    '2026-11-25 > 2026-11-26 | 2025-11-26 > 2025-11-27',
    '2026-11-26 > 2026-11-27 | none',
    '2026-11-27 > 2026-11-28 | 2025-11-28 > 2025-11-29',
    '2026-11-28 > 2026-11-29 | none',
    '2026-11-29 > 2026-11-30 | none',
    '2026-11-30 > 2026-12-01 | none',
  ]);
  // The 23rd business day of a month is beside nothing in a month of 20.
  expect(
    shown(
      {
        range: ['2026-03-30', '2026-04-01'],
        every: 'day',
        compare: { sameBusinessDay: 'monthAgo' },
      },
      '2026-12-22T15:00:00Z',
      RETAIL,
    ),
  ).toEqual(['2026-03-30 > 2026-03-31 | none', '2026-03-31 > 2026-04-01 | none']);
  expect(
    shown(
      { lastComplete: '2 business days', every: 'business day', compare: 'previous' },
      '2026-11-30T15:00:00Z',
      RETAIL,
    ),
  ).toEqual([
    '2026-11-25 > 2026-11-27 | 2026-11-23 > 2026-11-24',
    '2026-11-27 > 2026-11-30 | 2026-11-24 > 2026-11-25',
  ]);
  expect(
    shown(
      { lastComplete: '2 business days', every: 'day', compare: 'previous' },
      '2026-11-30T15:00:00Z',
      RETAIL,
    )[1],
  ).toBe('2026-11-26 > 2026-11-27 | none');
  expect(
    shown(
      { previous: 'month', every: 'day', compare: { to: 'previous', align: 'businessDay' } },
      '2026-12-10T15:00:00Z',
      RETAIL,
    )[1],
  ).toBe('2026-11-02 > 2026-11-03 | 2026-10-01 > 2026-10-02');
});

test('a question that is not cut is beside business days, too', () => {
  const yearAgo = (spec: WindowSpec, now: string): string[] =>
    shown({ ...spec, compare: { sameBusinessDay: 'yearAgo' } }, now, RETAIL);
  // One day alone: the 12th business day, which was a Tuesday, and one with none beside it.
  expect(yearAgo({ previous: 'businessDay' }, '2026-11-18T15:00:00Z')).toEqual([
    '2026-11-17 > 2026-11-18 | 2025-11-18 > 2025-11-19',
  ]);
  expect(yearAgo({ toDate: 'day' }, '2026-11-18T15:00:00Z')).toEqual([
    '2026-11-18 > 2026-11-18T10:00 ~ | 2025-11-19 > 2025-11-19T10:00',
  ]);
  expect(yearAgo({ previous: 'day' }, '2026-11-16T15:00:00Z')).toEqual([
    '2026-11-15 > 2026-11-16 | none',
  ]);
  // A month to date: as many business days, on a day without business those before it.
  expect(yearAgo({ toDate: 'month' }, '2026-11-18T15:00:00Z')).toEqual([
    '2026-11-01 > 2026-11-18T10:00 ~ | 2025-11-01 > 2025-11-19T10:00',
  ]);
  expect(yearAgo({ toDate: 'month' }, '2026-11-21T15:00:00Z')).toEqual([
    '2026-11-01 > 2026-11-21T10:00 ~ | 2025-11-01 > 2025-11-22',
  ]);
  expect(yearAgo({ toDate: 'month' }, '2026-11-01T15:00:00Z')).toEqual([
    '2026-11-01 > 2026-11-01T10:00 ~ | none',
  ]);
  // More business days than the month there has: all of it.
  const before = (spec: WindowSpec, now: string): string[] =>
    shown({ ...spec, compare: { to: 'previous', align: 'businessDay' } }, now, RETAIL);
  expect(before({ toDate: 'month' }, '2026-03-31T15:00:00Z')).toEqual([
    '2026-03-01 > 2026-03-31T11:00 ~ | 2026-02-01 > 2026-03-01',
  ]);
  expect(before({ previous: 'month' }, '2026-03-31T15:00:00Z')).toEqual([
    '2026-02-01 > 2026-03-01 | 2026-01-01 > 2026-02-01',
  ]);
  expect(
    shown(
      { range: ['2026-03-30', '2026-04-01'], compare: { sameBusinessDay: 'monthAgo' } },
      '2026-12-01T00:00:00Z',
      RETAIL,
    ),
  ).toEqual(['2026-03-30 > 2026-04-01 | none']);
  expect(
    shown(
      { range: ['2026-03-20', '2026-03-31'], compare: { sameBusinessDay: 'monthAgo' } },
      '2026-12-01T00:00:00Z',
      RETAIL,
    ),
  ).toEqual(['2026-03-20 > 2026-03-31 | 2026-02-20 > 2026-03-01']);
  expect(yearAgo({ range: ['2026-11-14', '2026-11-18'] }, '2026-12-01T00:00:00Z')).toEqual([
    '2026-11-14 > 2026-11-18 | 2025-11-15 > 2025-11-19',
  ]);
  expect(yearAgo({ range: ['2026-11-14T12:00', '2026-11-16'] }, '2026-12-01T00:00:00Z')).toEqual([
    '2026-11-14T12:00 > 2026-11-16 | none',
  ]);
  expect(refusal({ toDate: 'week', compare: { to: 'previous', align: 'businessDay' } })).toContain(
    '"businessDay" aligns months',
  );
});

test('a question that is not cut is beside weeks of the retail year, too', () => {
  const yearAgo = (
    spec: WindowSpec,
    now: string,
    leapWeek: 'restate' | 'shift' | 'drop' = 'restate',
  ): string[] =>
    shown({ ...spec, compare: { to: 'yearAgo', align: 'fiscalWeek', leapWeek } }, now, RETAIL);
  expect(yearAgo({ toDate: 'retailYear' }, '2026-11-18T15:00:00Z')).toEqual([
    '2026-02-01 > 2026-11-18T10:00 ~ | 2025-02-02 > 2025-11-19T10:00',
  ]);
  expect(yearAgo({ previous: 'day' }, '2026-11-18T15:00:00Z')).toEqual([
    '2026-11-17 > 2026-11-18 | 2025-11-18 > 2025-11-19',
  ]);
  // Retail 2023 has 53 weeks: 2023-01-29 … 2024-02-03; the year before 52, the one after, too.
  const whole = { range: ['2023-01-29', '2024-02-04'] as const };
  expect(yearAgo(whole, '2026-11-18T15:00:00Z', 'restate')).toEqual([
    '2023-01-29 > 2024-02-04 | 2022-01-30 > 2023-02-05',
  ]);
  expect(yearAgo(whole, '2026-11-18T15:00:00Z', 'drop')).toEqual([
    '2023-01-29 > 2024-02-04 | 2022-01-30 > 2023-01-29',
  ]);
  const week53 = { range: ['2024-01-28', '2024-02-04'] as const };
  expect(yearAgo(week53, '2026-11-18T15:00:00Z', 'drop')).toEqual([
    '2024-01-28 > 2024-02-04 | none',
  ]);
  expect(yearAgo(week53, '2026-11-18T15:00:00Z', 'shift')).toEqual([
    '2024-01-28 > 2024-02-04 | 2023-01-29 > 2023-02-05',
  ]);
  expect(yearAgo({ toDate: 'retailYear' }, '2024-02-01T15:00:00Z', 'drop')).toEqual([
    '2023-01-29 > 2024-02-01T10:00 ~ | 2022-01-30 > 2023-01-29',
  ]);
  // 52 weeks beside the first 52 of 53.
  expect(yearAgo({ range: ['2024-02-04', '2025-02-02'] }, '2026-11-18T15:00:00Z', 'shift')).toEqual(
    ['2024-02-04 > 2025-02-02 | 2023-01-29 > 2024-01-28'],
  );
});

test('windows of a month that is longer than the one before are beside none of its own days', () => {
  expect(
    shown({ toDate: 'month', every: 'week', compare: 'previous' }, '2026-03-31T15:00:00Z').slice(
      -3,
    ),
  ).toEqual([
    '2026-03-16 > 2026-03-23 | 2026-02-16 > 2026-02-23',
    '2026-03-23 > 2026-03-30 | 2026-02-23 > 2026-03-01',
    '2026-03-30 > 2026-03-31T11:00 ~ | none',
  ]);
});

test('A10: a year of 53 weeks under the three ways to compare it', () => {
  // Retail 2023 has 53 weeks: 2023-01-29 … 2024-02-03.
  const weeks = (
    range: readonly [string, string],
    leapWeek: 'restate' | 'shift' | 'drop',
  ): string[] =>
    shown(
      { range, every: 'retailWeek', compare: { to: 'yearAgo', align: 'fiscalWeek', leapWeek } },
      '2026-12-22T15:00:00Z',
      RETAIL,
    );
  const after: [string, string] = ['2024-02-04', '2024-02-11'];
  expect(weeks(after, 'restate')).toEqual(['2024-02-04 > 2024-02-11 | 2023-02-05 > 2023-02-12']);
  expect(weeks(after, 'shift')).toEqual(['2024-02-04 > 2024-02-11 | 2023-01-29 > 2023-02-05']);
  expect(weeks(after, 'drop')).toEqual(['2024-02-04 > 2024-02-11 | 2023-01-29 > 2023-02-05']);
  const leap: [string, string] = ['2024-01-21', '2024-02-04'];
  expect(weeks(leap, 'restate')[1]).toBe('2024-01-28 > 2024-02-04 | 2023-01-29 > 2023-02-05');
  expect(weeks(leap, 'shift')).toEqual([
    '2024-01-21 > 2024-01-28 | 2023-01-22 > 2023-01-29',
    '2024-01-28 > 2024-02-04 | 2023-01-29 > 2023-02-05',
  ]);
  expect(weeks(leap, 'drop')[1]).toBe('2024-01-28 > 2024-02-04 | none');
  expect(
    shown(
      { previous: 'retailPeriod', every: 'retailWeek', compare: 'previous' },
      '2026-11-22T15:00:00Z',
      RETAIL,
    ),
  ).toEqual([
    '2026-10-04 > 2026-10-11 | 2026-08-30 > 2026-09-06',
    '2026-10-11 > 2026-10-18 | 2026-09-06 > 2026-09-13',
    '2026-10-18 > 2026-10-25 | 2026-09-13 > 2026-09-20',
    '2026-10-25 > 2026-11-01 | 2026-09-20 > 2026-09-27',
  ]);
  // Five weeks beside four: the fifth has nothing there.
  expect(
    shown(
      {
        range: ['2026-08-30', '2026-10-04'],
        every: 'retailWeek',
        compare: { to: 'yearAgo', align: 'fiscalWeek' },
      },
      '2026-11-22T15:00:00Z',
      RETAIL,
    ).length,
  ).toBe(5);
  const five = shown(
    { previous: 'retailPeriod', every: 'retailWeek', compare: 'previous' },
    '2026-10-10T15:00:00Z',
    RETAIL,
  );
  expect(five.at(-1)).toBe('2026-09-27 > 2026-10-04 | none');
});

// ── Laws ───────────────────────────────────────────────────────────────────────────────────────────────────────

test('windows of a unit fill their span, and every compared window of a whole one is not empty', () => {
  const zones = [
    'UTC',
    'America/Havana',
    'Australia/Lord_Howe',
    'Pacific/Apia',
    'America/St_Johns',
  ];
  const aligns = ['wallClock', 'elapsed', 'dayOfWeek', 'fullPeriod'] as const;
  fc.assert(
    fc.property(
      fc.constantFrom(...zones),
      fc.constantFrom<WindowSpec>(
        { last: '30h' },
        { last: '9d' },
        { lastComplete: '5 days' },
        { toDate: 'month' },
        { current: 'week' },
        { previous: 'quarter' },
        { text: 'now-3d/d to now/d' },
      ),
      fc.constantFrom('hour', '6h', 'day', 'week', 'month'),
      fc.integer({ min: at('2005-01-01'), max: at('2030-01-01') }),
      fc.constantFrom(...aligns),
      fc.constantFrom<'previous' | 'yearAgo' | { weeksAgo: number }>('previous', 'yearAgo', {
        weeksAgo: 5,
      }),
      (zone, when, every, now, align, to) => {
        const c = calendar({ zone });
        const series = planWindows({ ...when, every, compare: { to, align } }, c, now);
        let end = series.startMs;
        for (const [index, window] of series.windows.entries()) {
          expect(window.startMs).toBe(end);
          expect(window.endMs).toBeGreaterThan(window.startMs);
          expect(window.complete).toBe(window.endMs <= now);
          const span = series.compared![index];
          if (span !== undefined) {
            expect(span.endMs).toBeGreaterThan(span.startMs);
            expect(span.startMs).toBeLessThan(window.startMs);
          }
          end = window.endMs;
        }
        expect(end).toBe(series.endMs);
        if (series.nextChangeMs !== undefined) expect(series.nextChangeMs).toBeGreaterThan(now);
      },
    ),
    { numRuns: 120 },
  );
});

// ── What is refused ────────────────────────────────────────────────────────────────────────────────────────────

test('a spec that is wrong is refused with the field and what helps', () => {
  const cases: readonly [unknown, RegExp][] = [
    [{}, /^22023 last: the window query does not say when \| Give one of last, lastComplete/],
    [
      { last: '24h', toDate: 'month' },
      /^22023 toDate: the window query says when 2 times: last, toDate/,
    ],
    [{ last: 'yesterday' }, /^22023 last: "yesterday" is no unit/],
    [{ last: '2 retail weeks' }, /^22023 last: .* Use lastComplete: '2 retailWeeks'/],
    [{ lastComplete: '1 dya' }, /Did you mean "day"/],
    [{ lastComplete: '1 retail week' }, /^22023 lastComplete: the calendar has no retail year/],
    [{ lastComplete: '99999999 min' }, /^54000 lastComplete/],
    [{ toDate: '7 months' }, /^22023 toDate/],
    [{ current: 'fortnight' }, /^22023 current/],
    [{ range: '2026' }, /^22023 range: "range" is no pair/],
    [{ range: ['2026-01-01'] }, /^22023 range/],
    [{ range: ['2026-01-01', 'x'] }, /^22007 range.1/],
    [{ range: ['2026-02-01', '2026-01-01'] }, /ends before it begins/],
    [{ range: ['2026-02-01', '9000-01-01'] }, /^22008 : the windows lie out of range/],
    [{ range: ['1000-02-01', '2026-01-01'] }, /^22008 : the windows lie out of range/],
    [{ text: 7 }, /^22023 text/],
    [{ text: 'now-7x' }, /^22023 text: "now-7x" is no span of time/],
    [{ text: 'now-7d to now to now' }, /is no span of time/],
    [{ text: 'lastweek' }, /no relative window/],
    [{ last: '1h', every: '7min' }, /^22023 every: windows of 420 seconds/],
    [{ last: '1h', hop: '5min' }, /^22023 every: "hop" needs "every"/],
    [{ last: '1h', every: '5min', hop: '10min' }, /^22023 hop: "hop" is longer than "every"/],
    [
      { last: '1h', every: '1 retail week', hop: '10min' },
      /^22023 every: hopping windows cannot be retailWeeks long/,
    ],
    [{ last: '1h', every: '1h', hop: '7min' }, /^22023 hop/],
    [{ last: '1h', gap: '30min', every: '1h' }, /^22023 gap/],
    [{ last: '1h', gap: '30min', hop: '1h' }, /^22023 gap/],
    [{ last: '1h', gap: '1 day' }, /^22023 gap: "gap" is no length of time by the clock/],
    [{ last: '1h', gap: '30min', fill: 'zero' }, /^22023 fill/],
    [{ last: '1h', gap: '30min', compare: 'previous' }, /^22023 compare/],
    [{ last: '1h', fill: 'zeros' }, /^22023 fill: .*Did you mean "zero"/],
    [{ last: '1h', compare: 'lastYear' }, /^22023 compare.to/],
    [{ last: '1h', compare: { to: 'previous', aling: 'x' } }, /Did you mean "align"/],
    [{ last: '1h', compare: { to: 'previous', align: 'wallclock' } }, /Did you mean "wallClock"/],
    [{ last: '1h', compare: { weeksAgo: 0 } }, /^22023 compare.to.weeksAgo/],
    [{ last: '1h', compare: { weeksAgo: 1.5 } }, /^22023 compare.to.weeksAgo/],
    [{ last: '1h', compare: { weeksAgo: 1e9 } }, /^22023 compare.to.weeksAgo/],
    [{ last: '1h', compare: { daysAgo: 1 } }, /^22023 compare.to.daysAgo/],
    [{ last: '1h', compare: null }, /^22023 compare/],
    [{ last: '1h', compare: { sameBusinessDay: 'weekAgo' } }, /^22023 compare.to.sameBusinessDay/],
    [
      { last: '1h', compare: { to: 'yearAgo', align: 'fiscalWeek' } },
      /^22023 compare.align: the calendar has no retail year/,
    ],
    [{ last: '1h', compare: { to: 'yearAgo', leapWeek: 'x' } }, /^22023 compare.leapWeek/],
    [
      { last: '2h', every: 'hour', compare: { to: 'previous', align: 'businessDay' } },
      /^22023 compare.align: "businessDay" aligns months/,
    ],
    [
      {
        lastComplete: '2 days',
        every: 'day',
        compare: { to: { weeksAgo: 1 }, align: 'businessDay' },
      },
      /"businessDay" aligns months/,
    ],
  ];
  for (const [spec, expected] of cases)
    expect(refusal(spec), JSON.stringify(spec)).toMatch(expected);
  expect(refusal({ last: '1h', compare: { to: 'previous', align: 'fiscalWeek' } }, RETAIL)).toMatch(
    /"fiscalWeek" aligns years/,
  );
});

// Blanks were looked through from each of them: a hundred thousand took half a minute, three million for ever.
test('long texts are refused at once, and shown by their beginning', () => {
  const long = (text: string): string => `${text}${' '.repeat(2_000_000)}`;
  for (const spec of [
    { text: long('now') },
    { text: `${long('now')}x` },
    { text: `now${'-1d'.repeat(100_000)}` },
    { text: long('last 7 days') },
    { last: `${long('1')}x y` },
    { last: '1d', every: `1 a${' '.repeat(2_000_000)}1` },
    { last: '1d', gap: `${long('')}1min` },
    { range: [`${long('')}x`, '2026-01-01'] },
  ]) {
    const told = refusal(spec);
    expect(told).toMatch(/^220(23|07)/);
    expect(told.length).toBeLessThan(600);
  }
});

test('a comparison of retail periods has no months to align business days by', () => {
  expect(
    refusal(
      {
        previous: 'retailPeriod',
        every: 'day',
        compare: { to: 'previous', align: 'businessDay' },
      },
      RETAIL,
    ),
  ).toMatch(/"businessDay" aligns months/);
});

test('extreme questions are refused before they are planned: a century by second, a year by second, hops too', () => {
  const century: WindowSpec = { range: ['1950-01-01', '2050-01-01'] };
  for (const spec of [
    { ...century, every: 'second' },
    { ...century, every: 'hour' },
    { ...century, every: '1h', hop: 'second' },
    { range: ['2026-01-01T00:00', '2026-01-01T06:00'], every: 'second' },
    { range: ['2026-01-01T00:00', '2026-01-01T06:00'], every: '1 min', hop: 'second' },
  ] as const)
    expect(refusal(spec)).toMatch(/^54000 .*more than 20000 windows/);
  // A century by day is too many too, by week it is an answer.
  expect(refusal({ ...century, every: 'day' })).toMatch(/^54000/);
  expect(planWindows({ ...century, every: 'week' }, NEW_YORK, 0).windows.length).toBe(5219);
});
