import fc from 'fast-check';
import { expect, test } from 'vitest';
import { calendar } from '../../src/calendar/calendar.ts';
import type { CalendarSpec } from '../../src/calendar/spec.ts';
import { DbError } from '../../src/base/errors.ts';
import { civilDay, civilText, instantText, julianDay } from '../../src/calendar/civil.ts';
import { InstantTexts } from '../../src/calendar/instant-texts.ts';
import { parseInstantMs } from '../../src/calendar/instants.ts';
import { findZone, zoneOf } from '../../src/calendar/zones.ts';

const at = (text: string): number => Date.parse(text);
const iso = (ms: number): string => new Date(ms).toISOString().replace('.000Z', 'Z');

/** What is thrown: its code, the field, the hint. */
function refusal(action: () => unknown): string {
  try {
    action();
  } catch (cause) {
    if (!(cause instanceof DbError)) throw cause;
    return `${cause.code} ${cause.field ?? ''}: ${cause.message} | ${cause.hint ?? ''}`;
  }
  return 'nothing';
}

// ── Windows ────────────────────────────────────────────────────────────────────────────────────────────────────

test('a calendar without a spec is UTC, weeks from Monday, years from January', () => {
  const c = calendar();
  const t = at('2026-11-22T10:20:30.456Z');
  expect(
    [
      'second',
      'minute',
      '15min',
      '30min',
      'hour',
      '6h',
      'day',
      'week',
      'isoWeek',
      'month',
      'quarter',
      'year',
      'fiscalQuarter',
      'fiscalYear',
      'businessDay',
    ].map((unit) => `${unit} ${c.window(t, unit).label} ${iso(c.startOf(t, unit))}`),
  ).toEqual([
    'second 2026-11-22T10:20:30+00:00 2026-11-22T10:20:30Z',
    'minute 2026-11-22T10:20+00:00 2026-11-22T10:20:00Z',
    '15min 2026-11-22T10:15+00:00 2026-11-22T10:15:00Z',
    '30min 2026-11-22T10:00+00:00 2026-11-22T10:00:00Z',
    'hour 2026-11-22T10:00+00:00 2026-11-22T10:00:00Z',
    '6h 2026-11-22T06:00+00:00 2026-11-22T06:00:00Z',
    'day 2026-11-22 2026-11-22T00:00:00Z',
    'week 2026-11-16 2026-11-16T00:00:00Z',
    'isoWeek 2026-11-16 2026-11-16T00:00:00Z',
    'month 2026-11-01 2026-11-01T00:00:00Z',
    'quarter 2026-10-01 2026-10-01T00:00:00Z',
    'year 2026-01-01 2026-01-01T00:00:00Z',
    'fiscalQuarter 2026-10-01 2026-10-01T00:00:00Z',
    'fiscalYear 2026-01-01 2026-01-01T00:00:00Z',
    'businessDay 2026-11-20 2026-11-20T00:00:00Z',
  ]);
  expect(c.tzVersion).toBe(process.versions.tz);
});

test('units are written as people write them, and in multiples that fill what is above them', () => {
  const c = calendar({ weekStart: 'sunday', fiscalYearStart: 'february' });
  const t = at('2026-11-22T10:20:30Z');
  const label = (unit: string): string => c.window(t, unit).label;
  expect(
    [
      'd',
      'Days',
      '1 day',
      'w',
      'M',
      'mo',
      'm',
      'min',
      '5 minutes',
      'h',
      '2h',
      'q',
      'y',
      'fiscal quarter',
      'fiscal_year',
      'business days',
    ].map(label),
  ).toEqual([
    '2026-11-22',
    '2026-11-22',
    '2026-11-22',
    '2026-11-22',
    '2026-11-01',
    '2026-11-01',
    '2026-11-22T10:20+00:00',
    '2026-11-22T10:20+00:00',
    '2026-11-22T10:20+00:00',
    '2026-11-22T10:00+00:00',
    '2026-11-22T10:00+00:00',
    '2026-10-01',
    '2026-01-01',
    '2026-11-01',
    '2026-02-01',
    '2026-11-20',
  ]);
  // Multiples of days and weeks are counted from Monday 3 January 2000 (or the week's own start), of months from January.
  expect(
    [
      '2 weeks',
      '7 days',
      '10 days',
      '2 months',
      '6 months',
      '2 quarters',
      '2 years',
      '10 years',
    ].map(label),
  ).toEqual([
    '2026-11-15',
    '2026-11-16',
    '2026-11-22',
    '2026-11-01',
    '2026-07-01',
    '2026-07-01',
    '2026-01-01',
    '2020-01-01',
  ]);
  for (let week = 1; week <= 7; week += 1) {
    const start = calendar({ weekStart: week }).window(t, 'week').label;
    expect(civilDay(start)! % 7).toBe((week + 3) % 7);
  }
});

test('what is no unit is refused by name, and multiples that have no place too', () => {
  const c = calendar();
  expect(
    ['dya', '', '0 days', '7', 'fortnight', '1.5h', 'fiscalqarter'].map((unit) =>
      refusal(() => c.window(0, unit)),
    ),
  ).toEqual([
    '22023 unit: "dya" is no unit or length of time | Did you mean "day"?',
    `22023 unit: "" is no unit or length of time | Write it like '15min', 'hour', '7 days', 'month' or 'fiscalQuarter'.`,
    `22023 unit: "0 days" is no length of time: it is empty | Write a number from 1, such as '7 days'.`,
    `22023 unit: "7" is no unit or length of time | Write it like '15min', 'hour', '7 days', 'month' or 'fiscalQuarter'.`,
    `22023 unit: "fortnight" is no unit or length of time | Write it like '15min', 'hour', '7 days', 'month' or 'fiscalQuarter'.`,
    `22023 unit: "1.5h" is no unit or length of time | Write it like '15min', 'hour', '7 days', 'month' or 'fiscalQuarter'.`,
    '22023 unit: "fiscalqarter" is no unit or length of time | Did you mean "fiscalQuarter"?',
  ]);
  expect(
    ['5 months', '18 months', '7h', '36h', '2 business days', '3 retail weeks', 'retailYear'].map(
      (unit) => refusal(() => c.window(0, unit)).split(' | ')[0],
    ),
  ).toEqual([
    '22023 unit: windows of 5 months do not make up years',
    '22023 unit: windows of 18 months do not make up years',
    '22023 unit: windows of 25200 seconds do not make up a day',
    '22023 unit: windows of 129600 seconds do not make up a day',
    '22023 unit: windows of 2 businessDays have no place to begin',
    '22023 unit: windows of 3 retailWeeks have no place to begin',
    '22023 unit: the calendar has no retail year, which "retailYear" needs',
  ]);
  expect(refusal(() => c.window(0, 7 as never))).toMatch(/^22023 unit/);
});

test('windows are those that touch a span, and too many are refused', () => {
  const c = calendar({ zone: 'Europe/Berlin' });
  expect(
    c.windows('2026-10-24T12:00', '2026-10-26T00:00', 'day').map(({ label }) => label),
  ).toEqual(['2026-10-24', '2026-10-25']);
  expect(c.windows('2026-10-26', '2026-10-24', 'day')).toEqual([]);
  expect(refusal(() => c.windows('1970-01-01', '2070-01-01', 'minute'))).toMatch(
    /^54000 : more than 100000 windows of "minute"/,
  );
});

test('a window is a law: any instant lies in its window, and the next begins where it ends', () => {
  const zones = [
    'UTC',
    'America/Havana',
    'Australia/Lord_Howe',
    'Pacific/Apia',
    'America/St_Johns',
    'Europe/Dublin',
  ];
  const units = [
    '5min',
    'hour',
    '12h',
    'day',
    '3 days',
    'week',
    'month',
    'fiscalQuarter',
    'businessDay',
    'retailPeriod',
    'retailQuarter',
    'retailWeek',
    'retailYear',
  ];
  fc.assert(
    fc.property(
      fc.constantFrom(...zones),
      fc.constantFrom(...units),
      fc.integer({ min: at('1900-01-01'), max: at('2300-01-01') }),
      fc.integer({ min: -30, max: 30 }),
      (zone, unit, t, count) => {
        const c = calendar({
          zone,
          fiscalYearStart: 10,
          retail: {
            pattern: '5-4-4',
            ends: 'last',
            weekday: 'friday',
            month: 'december',
            leapWeek: 'drop',
          },
        });
        const ruler = c.ruler(unit);
        const seconds = Math.floor(t / 1000);
        const window = ruler.at(seconds);
        expect(window.start <= seconds && seconds < window.end).toBe(true);
        expect(ruler.next(window).start).toBe(window.end);
        expect(ruler.at(window.start)).toEqual(window);
        expect(ruler.at(window.end - 1)).toEqual(window);
        // There and back again.
        const there = ruler.at(ruler.shift(window, count));
        if (
          ruler.kind === 'civil' &&
          there.start === ruler.shift(window, count) &&
          zone !== 'Pacific/Apia'
        )
          expect(ruler.shift(there, -count)).toBe(window.start);
        if (ruler.kind === 'clock') expect(ruler.shift(there, -count)).toBe(window.start);
      },
    ),
    { numRuns: 400 },
  );
});

test('merged hours go on and back by local time', () => {
  const ruler = calendar({ zone: 'America/New_York' }).ruler('hour', { mergeRepeated: true });
  const repeated = ruler.at(at('2026-11-01T05:30:00Z') / 1000);
  expect(iso(ruler.shift(repeated, 1) * 1000)).toBe('2026-11-01T07:00:00Z');
  expect(iso(ruler.shift(repeated, -1) * 1000)).toBe('2026-11-01T04:00:00Z');
  expect(ruler.describe(ruler.next(repeated)).label).toBe('2026-11-01T02:00-05:00');
  // The whole window is missing where the hour is skipped.
  expect(ruler.describe(ruler.at(at('2026-03-08T07:00:00Z') / 1000)).label).toBe(
    '2026-03-08T03:00-04:00',
  );
});

test('an hour in which one table of offsets is followed by the next is one window, from whichever side it is asked for', () => {
  // Tables are of 2 ** 29 seconds.
  for (const asked of ['2004-01-10T13:30:00Z', '2004-01-10T13:40:00Z']) {
    const ruler = calendar({ zone: 'Europe/Berlin' }).ruler('hour');
    const { start, end } = ruler.at(at(asked) / 1000);
    expect([iso(start * 1000), iso(end * 1000)]).toEqual([
      '2004-01-10T13:00:00Z',
      '2004-01-10T14:00:00Z',
    ]);
  }
});

// ── Instants ───────────────────────────────────────────────────────────────────────────────────────────────────

test('an instant is a number, a Date, a text, or what has milliseconds', () => {
  const c = calendar({ zone: 'Europe/Berlin' });
  const noon = at('2026-11-22T11:00:00Z');
  for (const instant of [
    noon,
    new Date(noon),
    { toMillis: () => noon },
    { epochMilliseconds: noon },
    '2026-11-22T11:00:00Z',
    '2026-11-22T11:00:00z',
    '2026-11-22 12:00',
    '2026-11-22T12:00:00,000',
    '2026-11-22T12:00+01:00',
    '2026-11-22T12:00:00+01',
    '2026-11-22T06:03:58-04:56:02',
    '2026-11-22T12:00:00+0100',
  ])
    expect(c.local(instant)).toBe('2026-11-22T12:00:00.000+01:00');
  expect(c.local('2026-11-22T24:00')).toBe('2026-11-23T00:00:00.000+01:00');
  expect(c.local('2026-11-22')).toBe('2026-11-22T00:00:00.000+01:00');
  expect(c.local('2026-11-22T12:00:00.123456Z')).toBe('2026-11-22T13:00:00.123+01:00');
  expect(c.local('-000001-01-01T00:00:00Z').slice(0, 13)).toBe('-000001-01-01');
  expect(c.local('+012026-01-01T00:00:00Z').slice(0, 13)).toBe('+012026-01-01');
  expect(calendar({ zone: 'America/New_York' }).local(at('1880-01-01T00:00:00Z'))).toBe(
    '1879-12-31T19:03:58.000-04:56:02',
  );
  expect(c.instant('2026-10-25T02:30')).toBe(at('2026-10-25T00:30:00Z'));
  expect(c.instant('2026-10-25T02:30:00.5', { disambiguation: 'later' })).toBe(
    at('2026-10-25T01:30:00.500Z'),
  );
});

test('what is no instant is refused', () => {
  const c = calendar();
  for (const text of [
    '',
    'now',
    '2026-02-30',
    '2026-13-01',
    '2026-1-1',
    '2026-11-22T25:00',
    '2026-11-22T24:01',
    '2026-11-22T10:60',
    '2026-11-22T10:00:61',
  ])
    expect(refusal(() => c.window(text, 'day'))).toMatch(/^22007 instant: ".*" is no instant/);
  for (const value of [null, undefined, {}, true, 10n, { toMillis: 5 }, { epochMilliseconds: 'x' }])
    expect(refusal(() => c.window(value as never, 'day'))).toMatch(
      /^22023 instant: "instant" is no instant/,
    );
  for (const value of [NaN, Infinity, -Infinity, 8.64e15 + 1, new Date(NaN)])
    expect(refusal(() => c.window(value, 'day'))).toMatch(/^22008 instant/);
});

// ── Arithmetic ─────────────────────────────────────────────────────────────────────────────────────────────────

test('durations add up: months are clamped, days go by the wall, the rest exactly', () => {
  const c = calendar({ zone: 'America/New_York', holidays: ['2026-11-26'] });
  const t = at('2026-11-25T15:00:00.250Z');
  expect(
    iso(
      c.add(t, {
        year: 1,
        quarter: 1,
        month: 1,
        week: 1,
        day: 1,
        hour: 1,
        minute: 1,
        second: 1,
        millisecond: 1,
      }),
    ),
  ).toBe('2028-04-02T15:01:01.251Z');
  expect(c.add(t, {})).toBe(t);
  expect(iso(c.add(t, { businessDay: 1 }))).toBe('2026-11-27T15:00:00.250Z');
  expect(iso(c.add(t, { businessDay: -2 }))).toBe('2026-11-23T15:00:00.250Z');
  // From a day that is none, the first step is to the next business day.
  expect(iso(c.add(at('2026-11-28T15:00:00Z'), { businessDay: 1 }))).toBe('2026-12-01T15:00:00Z');
  expect(iso(c.add(at('0001-03-31T12:00:00Z'), { month: -1 }))).toBe('0001-02-28T12:00:00Z');
});

test('a duration that is none is refused', () => {
  const c = calendar();
  expect(refusal(() => c.add(0, { days: 1 } as never))).toBe(
    '22023 duration.days: unknown field "duration.days" | Did you mean "day"?',
  );
  expect(refusal(() => c.add(0, { eon: 1 } as never))).toMatch(/The fields are year, quarter/);
  expect(refusal(() => c.add(0, { day: 0.5 }))).toMatch(/^22023 duration.day: /);
  expect(refusal(() => c.add(0, { day: 1e13 }))).toMatch(/^22023 duration.day: /);
  expect(refusal(() => c.add(0, { businessDay: 1e9 }))).toMatch(/^22023 duration.businessDay: /);
  expect(refusal(() => c.add(0, null as never))).toMatch(
    /^22023 duration: "duration" is no object/,
  );
  expect(refusal(() => c.add(0, { year: 500_000 }))).toMatch(/^22008 duration: /);
  expect(refusal(() => c.add(0, { day: 1 }, { disambiguation: 'compatble' as never }))).toMatch(
    /Did you mean "compatible"/,
  );
  expect(refusal(() => c.add(0, { day: 1 }, { disambiguation: 5 as never }))).toMatch(/Use one of/);
});

test('relative windows have names, and what has none is refused', () => {
  const c = calendar({
    zone: 'America/New_York',
    fiscalYearStart: 2,
    retail: { pattern: '4-5-4' },
  });
  const now = at('2026-11-22T15:00:00Z');
  const span = (name: string): string => {
    const { startMs, endMs } = c.relative(name, now);
    return `${c.local(startMs).slice(0, 16)} ${c.local(endMs).slice(0, 16)}`;
  };
  expect(
    [
      'today',
      'yesterday',
      'tomorrow',
      'last7Days',
      'last30Days',
      'trailing7dWallClock',
      'previousWeek',
      'thisMonth',
      'nextMonth',
      'quarterToDate',
      'yearToDateLastYear',
      'sameDayLastWeek',
      'sameDayLastYear364',
      'previousFiscalYear',
      'fiscalQuarterToDate',
      'previousRetailPeriod',
      'previousHour',
      'previousBusinessDay',
      'thisRetailYear',
    ].map((name) => `${name} ${span(name)}`),
  ).toEqual([
    'today 2026-11-22T00:00 2026-11-23T00:00',
    'yesterday 2026-11-21T00:00 2026-11-22T00:00',
    'tomorrow 2026-11-23T00:00 2026-11-24T00:00',
    'last7Days 2026-11-15T00:00 2026-11-22T00:00',
    'last30Days 2026-10-23T00:00 2026-11-22T00:00',
    'trailing7dWallClock 2026-11-15T10:00 2026-11-22T10:00',
    'previousWeek 2026-11-09T00:00 2026-11-16T00:00',
    'thisMonth 2026-11-01T00:00 2026-12-01T00:00',
    'nextMonth 2026-12-01T00:00 2027-01-01T00:00',
    'quarterToDate 2026-10-01T00:00 2026-11-22T10:00',
    'yearToDateLastYear 2025-01-01T00:00 2025-11-22T10:00',
    'sameDayLastWeek 2026-11-15T00:00 2026-11-16T00:00',
    'sameDayLastYear364 2025-11-23T00:00 2025-11-24T00:00',
    'previousFiscalYear 2025-02-01T00:00 2026-02-01T00:00',
    'fiscalQuarterToDate 2026-11-01T00:00 2026-11-22T10:00',
    'previousRetailPeriod 2026-10-04T00:00 2026-11-01T00:00',
    'previousHour 2026-11-22T09:00 2026-11-22T10:00',
    'previousBusinessDay 2026-11-19T00:00 2026-11-20T00:00',
    'thisRetailYear 2026-02-01T00:00 2027-01-31T00:00',
  ]);
  expect(refusal(() => c.relative('yesturday', now))).toBe(
    '22023 name: "yesturday" is no relative window | Did you mean "yesterday"?',
  );
  expect(refusal(() => c.relative('previousEon', now))).toMatch(/no relative window/);
  expect(refusal(() => c.relative('', now))).toMatch(/Use one such as/);
  expect(refusal(() => c.relative(undefined as never, now))).toMatch(/^22023 name/);
});

// ── Business days ──────────────────────────────────────────────────────────────────────────────────────────────

const HOLIDAYS = ['2026-12-25', '2026-11-26', '2027-01-01', '2026-12-26'];

test('business days are those of the week without holidays', () => {
  const c = calendar({
    holidays: [...HOLIDAYS, { date: '2026-05-25', name: 'Memorial Day' }, { date: '2026-07-03' }],
  });
  expect(['2026-11-25', '2026-11-26', '2026-11-28'].map((date) => c.isBusinessDay(date))).toEqual([
    true,
    false,
    false,
  ]);
  expect(
    ['2026-05-25', '2026-07-03', '2026-12-25', '2026-12-24'].map((date) => c.holiday(date)),
  ).toEqual(['Memorial Day', '', '', undefined]);
  expect(c.addBusinessDays('2026-11-25', 1)).toBe('2026-11-27');
  expect(c.addBusinessDays('2026-11-27', 0)).toBe('2026-11-27');
  expect(
    ['forward', 'backward', 'modifiedForward', 'modifiedBackward'].map((roll) =>
      c.addBusinessDays('2026-10-31', 0, { roll: roll as 'forward' }),
    ),
  ).toEqual(['2026-11-02', '2026-10-30', '2026-10-30', '2026-10-30']);
  expect(
    ['modifiedForward', 'modifiedBackward'].map((roll) =>
      c.addBusinessDays('2026-11-01', 0, { roll: roll as 'modifiedForward' }),
    ),
  ).toEqual(['2026-11-02', '2026-11-02']);
  expect(refusal(() => c.addBusinessDays('2026-11-26', 1))).toMatch(
    /^22008 : 2026-11-26 is no business day \| Say where to begin/,
  );
  expect(refusal(() => c.addBusinessDays('2026-11-25', 0.5))).toMatch(/^22023 days/);
  expect(refusal(() => c.addBusinessDays('2026-11-25', 1e9))).toMatch(/^22023 days/);
  expect(refusal(() => c.addBusinessDays('26-11-2026', 1))).toMatch(
    /^22007 date: "26-11-2026" is no date/,
  );
  expect(refusal(() => c.addBusinessDays('2026-11-25', 1, { roll: 'forwards' as never }))).toMatch(
    /Did you mean "forward"/,
  );
});

test('business days added and counted are what counting one by one gives', () => {
  const date = fc.integer({ min: civilDay('2024-01-01')!, max: civilDay('2028-12-31')! });
  fc.assert(
    fc.property(
      date,
      date,
      fc.integer({ min: -300, max: 300 }),
      fc.uniqueArray(fc.constantFrom(...[1, 2, 3, 4, 5, 6, 7]), { maxLength: 6 }),
      fc.uniqueArray(date, { maxLength: 60 }),
      fc.boolean(),
      (from, to, count, weekend, holidays, byYear) => {
        const dates = holidays.map(civilText);
        const c = calendar({
          weekend,
          holidays: byYear
            ? (year) => dates.filter((each) => Number(each.slice(0, 4)) === year)
            : dates,
        });
        const isOpen = (day: number): boolean =>
          !weekend.includes(((day + 3) % 7) + 1) && !holidays.includes(day);
        let expected = 0;
        for (let day = Math.min(from, to); day < Math.max(from, to); day += 1)
          if (isOpen(day)) expected += 1;
        expect(c.businessDaysBetween(civilText(from), civilText(to)) + 0).toBe(
          (to < from ? -expected : expected) + 0,
        );
        let day = from;
        while (!isOpen(day)) day += 1;
        for (let left = Math.abs(count); left > 0;) {
          day += Math.sign(count);
          if (isOpen(day)) left -= 1;
        }
        expect(c.addBusinessDays(civilText(from), count, { roll: 'forward' })).toBe(civilText(day));
      },
    ),
    { numRuns: 150 },
  );
});

test('a calendar whose holidays leave no day says so and does not search for ever', () => {
  const c = calendar({
    holidays: (year) =>
      Array.from({ length: 366 }, (_, index) =>
        civilText(civilDay(`${year}-01-01`)! + index),
      ).filter((date) => date.startsWith(String(year))),
  });
  expect(refusal(() => c.addBusinessDays('2026-11-25', 1, { roll: 'forward' }))).toMatch(
    /^22008 holidays: there is no business day within ten years/,
  );
});

test('hours: by weekday, by span of weekdays, by date, several a day', () => {
  const c = calendar({
    zone: 'America/New_York',
    holidays: ['2026-11-26'],
    hours: {
      mon_fri: '09:30-16:00',
      saturday: ['10:00-12:00', '14:00 – 16:00'],
      '2026-11-27': '09:30-13:00',
      '2026-12-25': [],
    },
    weekend: ['sunday'],
  });
  const openings = (date: string): string[] =>
    c
      .openings(date)
      .map(
        ({ startMs, endMs }) => `${c.local(startMs).slice(11, 16)}-${c.local(endMs).slice(11, 16)}`,
      );
  expect(
    ['2026-11-25', '2026-11-26', '2026-11-27', '2026-11-28', '2026-11-29', '2026-12-25'].map(
      openings,
    ),
  ).toEqual([['09:30-16:00'], [], ['09:30-13:00'], ['10:00-12:00', '14:00-16:00'], [], []]);
  expect(
    [
      '2026-11-25T14:29:59Z',
      '2026-11-25T14:30:00Z',
      '2026-11-25T21:00:00Z',
      '2026-11-28T18:00:00Z',
    ].map((text) => c.isOpen(text)),
  ).toEqual([false, true, false, false]);
  const hour = 3_600_000;
  expect(c.openMsBetween('2026-11-25T15:00', '2026-11-27T10:30')).toBe(2 * hour);
  expect(c.openMsBetween('2026-11-27T10:30', '2026-11-25T15:00')).toBe(-2 * hour);
  expect(refusal(() => c.openMsBetween('0001-01-01', '2026-01-01'))).toMatch(/^54000/);
  const always = calendar({ hours: '08:00-24:00' });
  expect(always.openMsBetween('2026-11-20', '2026-11-23')).toBe(16 * hour);
  const whole = calendar({ hours: { '2026-11-27': '10:00-11:00' } });
  expect(
    [whole.openings('2026-11-26'), whole.openings('2026-11-27')].map(
      ([span]) => (span!.endMs - span!.startMs) / hour,
    ),
  ).toEqual([24, 1]);
  const only = calendar({ hours: { 'friday-monday': '10:00-11:00' }, weekend: [] });
  expect(
    ['2026-11-27', '2026-11-28', '2026-11-30', '2026-12-01'].map(
      (date) => only.openings(date).length,
    ),
  ).toEqual([1, 1, 1, 0]);
  // 02:30 does not exist on that day: the opening is cut to what does.
  const night = calendar({ zone: 'Europe/Berlin', hours: '02:00-02:30', weekend: [] });
  expect(night.openings('2026-03-29')).toEqual([]);
  expect(night.isOpen('2026-03-29T03:00')).toBe(false);
});

// ── 52/53-week years ───────────────────────────────────────────────────────────────────────────────────────────

test('a retail year is found by its end or by a date in it', () => {
  const c = calendar({
    retail: { pattern: '4-5-4', ends: 'nearest', weekday: 'saturday', month: 1 },
  });
  expect(c.retailYear({ endsIn: 2024 })).toEqual({
    endsIn: 2024,
    start: '2023-01-29',
    endExclusive: '2024-02-04',
    weeks: 53,
    periodStarts: [
      '2023-01-29',
      '2023-02-26',
      '2023-04-02',
      '2023-04-30',
      '2023-05-28',
      '2023-07-02',
      '2023-07-30',
      '2023-08-27',
      '2023-10-01',
      '2023-10-29',
      '2023-11-26',
      '2023-12-31',
    ],
  });
  expect(c.retailYear({ containing: '2024-02-03' }).endsIn).toBe(2024);
  expect(c.retailYear({ containing: '2024-02-04' }).endsIn).toBe(2025);
  expect(c.window('2024-02-01T12:00', 'retailPeriod').label).toBe('2023-12-31');
  expect(c.window('2024-02-01T12:00', 'retailQuarter').label).toBe('2023-10-29');
  expect(c.window('2024-02-03T12:00', 'retailWeek').label).toBe('2024-01-28');
  expect(refusal(() => calendar().retailYear({ endsIn: 2024 }))).toMatch(
    /^22023 retail: the calendar has no retail year/,
  );
  expect(refusal(() => c.retailYear({ endsIn: 2024.5 }))).toMatch(/^22023 endsIn/);
  expect(refusal(() => c.retailYear({ endsin: 2024 } as never))).toMatch(/Did you mean "endsIn"/);
  expect(refusal(() => c.retailYear({ containing: 'x' }))).toMatch(/^22007 containing/);
  // Many years are looked at, few are kept.
  for (let endsIn = 1; endsIn < 1200; endsIn += 1)
    expect(c.retailYear({ endsIn }).weeks).toBeGreaterThanOrEqual(52);
});

// ── Specs ──────────────────────────────────────────────────────────────────────────────────────────────────────

test('every field of a spec that is wrong is named, with what helps', () => {
  const cases: readonly [spec: unknown, expected: RegExp][] = [
    [null, /^22023 : the value is no object/],
    [[], /^22023 : the value is no object/],
    [{ tz: 'UTC' }, /^22023 tz: unknown field "tz"/],
    [{ timezone: 'UTC' }, /^22023 timezone/],
    [{ weekstart: 1 }, /Did you mean "weekStart"/],
    [{ zone: 'Mars/Olympus' }, /^22023 .*time zone "Mars\/Olympus" not recognized/],
    [{ zone: 'xyzzy' }, /Use an IANA name/],
    [{ zone: { name: 'UTC' } }, /^22023 zone.changes/],
    [{ zone: { name: 'UTC', changes: [], more: 1 } }, /^22023 zone.more/],
    [
      { zone: { name: 'UTC', changes: [{ from: 0, offsetSeconds: 1e6 }] } },
      /^22023 zone.changes.0.offsetSeconds/,
    ],
    [
      { zone: { name: 'UTC', changes: [{ from: 'x', offsetSeconds: 1 }] } },
      /^22007 zone.changes.0.from/,
    ],
    [
      {
        zone: {
          name: 'UTC',
          changes: [
            { from: 1000, offsetSeconds: 1 },
            { from: 0, offsetSeconds: 2 },
          ],
        },
      },
      /not in the order of time/,
    ],
    [{ weekStart: 'mnday' }, /Did you mean "monday"/],
    [{ weekStart: 8 }, /^22023 weekStart: "8" is no weekday \| Use monday/],
    [{ fiscalYearStart: 13 }, /^22023 fiscalYearStart: "13" is no month \| Use 1 to 12/],
    [{ fiscalYearStart: 'octobre' }, /Did you mean "october"/],
    [{ weekend: 'saturday' }, /^22023 weekend/],
    [{ weekend: [1, 2, 3, 4, 5, 6, 7] }, /leaves no business day/],
    [{ holidays: '2026-12-25' }, /^22023 holidays: "holidays" is no list/],
    [{ holidays: ['2026-02-30'] }, /^22023 holidays: holidays has "2026-02-30"/],
    [{ holidays: [7] }, /^22023 holidays.0: "holidays.0" is no object/],
    [{ holidays: [{ date: 7 }] }, /holidays has "7"/],
    [{ holidays: [{ day: '2026-12-25' }] }, /unknown field "holidays.0.day"/],
    [{ hours: 7 }, /^22023 hours/],
    [{ hours: null }, /^22023 hours/],
    [{ hours: '9-17' }, /which is no opening/],
    [{ hours: '09:70-17:00' }, /which is no opening/],
    [{ hours: '09:00-17:70' }, /which is no opening/],
    [{ hours: '09:00-25:00' }, /which is no opening/],
    [{ hours: '17:00-09:00' }, /which is no opening/],
    [{ hours: ['09:00-12:00', '11:00-13:00'] }, /overlap/],
    [{ hours: { someday: '09:00-10:00' } }, /^22023 hours.someday/],
    [{ hours: { 'monday-friday-sunday': '09:00-10:00' } }, /names no weekdays/],
    [{ retail: 'nrf' }, /^22023 retail: "retail" is no object/],
    [{ retail: { patern: '4-4-5' } }, /Did you mean "pattern"/],
    [{ retail: { pattern: '4-4-4' } }, /^22023 retail.pattern/],
    [{ retail: { ends: 'first' } }, /^22023 retail.ends/],
    [{ retail: { leapWeek: 'restated' } }, /Did you mean "restate"/],
    [{ retail: { weekday: 0 } }, /^22023 retail.weekday/],
    [{ retail: { month: 0 } }, /^22023 retail.month/],
  ];
  for (const [spec, expected] of cases)
    expect(
      refusal(() => calendar(spec as CalendarSpec)),
      JSON.stringify(spec),
    ).toMatch(expected);
  expect(
    refusal(() => calendar({ holidays: (() => 'x') as never }).isBusinessDay('2026-11-25')),
  ).toMatch(/gives no list of dates/);
});

test('a spec is plain data and makes the same calendar', () => {
  const spec: CalendarSpec = {
    zone: 'europe/berlin',
    weekStart: 7,
    fiscalYearStart: 'apr',
    weekend: ['fri', 'sat'] as never,
    holidays: ['2026-12-25', { date: '2026-12-26', name: 'second' }, { date: '2026-12-27' }],
    hours: { 'sunday-thursday': '09:00-17:00' },
    retail: { pattern: '4-5-4', leapWeek: 'shift' },
  };
  const plain = calendar(spec).spec;
  expect(plain).toEqual({
    zone: 'Europe/Berlin',
    weekStart: 'sunday',
    fiscalYearStart: 4,
    weekend: ['friday', 'saturday'],
    holidays: ['2026-12-25', { date: '2026-12-26', name: 'second' }, '2026-12-27'],
    hours: { 'sunday-thursday': '09:00-17:00' },
    retail: { pattern: '4-5-4', ends: 'nearest', weekday: 'saturday', month: 1, leapWeek: 'shift' },
  });
  expect(calendar(JSON.parse(JSON.stringify(plain)) as CalendarSpec).spec).toEqual(plain);
  expect(calendar().spec).toEqual({
    zone: 'UTC',
    weekStart: 'monday',
    fiscalYearStart: 1,
    weekend: ['saturday', 'sunday'],
    holidays: [],
  });
  expect(refusal(() => calendar({ holidays: () => [] }).spec)).toMatch(
    /^22023 holidays: a function of holidays cannot be kept/,
  );
});

test('caches are bounded: many units, many years', () => {
  const c = calendar({ holidays: (year) => [`${String(year).padStart(4, '0')}-01-01`] });
  for (let count = 1; count < 400; count += 1)
    expect(c.window(0, `${count} days`).startMs).toBeLessThanOrEqual(0);
  for (let year = 1000; year < 3400; year += 1)
    expect(c.isBusinessDay(`${year}-01-01`)).toBe(false);
  expect(c.isoWeek(at('2026-01-01T00:00:00Z'))).toEqual({
    isoYear: 2026,
    isoWeek: 1,
    isoWeekday: 4,
    ordinal: 1,
  });
});

test('zones: fixed offsets of PostgreSQL, any case, aliases are one zone', () => {
  expect(zoneOf('FOO+3').fixedOffsetSeconds).toBe(-10_800);
  expect(zoneOf('<+05>-5').fixedOffsetSeconds).toBe(18_000);
  expect(zoneOf('-3:30').fixedOffsetSeconds).toBe(12_600);
  expect(zoneOf('-3:30:15').fixedOffsetSeconds).toBe(12_615);
  expect(zoneOf('europe/BERLIN')).toBe(zoneOf('Europe/Berlin'));
  expect(zoneOf('UTC')).toBe(zoneOf('Etc/UTC'));
  expect(() => zoneOf('FOO+25')).toThrow(/not recognized/);
  expect(() => zoneOf('+02:00 ')).toThrow(/not recognized/);
  expect(calendar({ zone: 'FOO+3' }).window(at('2026-11-22T02:00:00Z'), 'day').label).toBe(
    '2026-11-21',
  );
  expect(calendar({ zone: 'FOO+3' }).add(at('2026-11-22T02:00:00Z'), { day: 1 })).toBe(
    at('2026-11-23T02:00:00Z'),
  );
  // Where no SQL is spoken, what people and POSIX read differently is refused, and what to write is said.
  for (const [zone, hint] of [
    ['UTC+2', /'Etc\/GMT-2' for east of Greenwich, 'Etc\/GMT\+2' for west/],
    ['gmt-11', /'Etc\/GMT-11' for east/],
    ['+02:00', /'Etc\/GMT-2' for east/],
    ['+0530', /'<\+5:30>-5:30' for east of Greenwich, '<-5:30>\+5:30' for west/],
  ] as const)
    expect(() => calendar({ zone })).toThrow(
      expect.objectContaining({ code: '22023', field: 'zone', hint: expect.stringMatching(hint) }),
    );
  for (const [zone, offset] of [
    ['Etc/GMT-2', 7200],
    ['<+5:30>-5:30', 19_800],
    ['<-5:30>+5:30', -19_800],
  ] as const)
    expect(calendar({ zone }).offsetSeconds(0)).toBe(offset);
  expect(() => calendar({ zone: { name: '-05', changes: [] } })).toThrow(
    expect.objectContaining({ field: 'zone.name' }),
  );
  expect(() => calendar({ zone: 'Europe/Berln' })).toThrow(
    expect.objectContaining({ field: 'zone', hint: 'Did you mean "Europe/Berlin"?' }),
  );
  expect(julianDay(0)).toBe(2_440_588);
  // Invented names are forgotten again.
  for (let index = 0; index < 5000; index += 1)
    expect(findZone(`Nowhere/${index}`)).toBeUndefined();
});

test('an instant is written as Date writes it, whole seconds without their nought thousandths', () => {
  const wide = fc.double({ min: -8.64e15, max: 8.64e15, noNaN: true });
  const near = fc.integer({ min: -62_200_000_000_000, max: 253_500_000_000_000 });
  fc.assert(
    fc.property(
      fc.oneof(
        wide,
        near,
        near.map((ms) => ms * 1000).filter((ms) => Math.abs(ms) < 8.64e15),
      ),
      (ms) => {
        expect(instantText(ms)).toBe(new Date(ms).toISOString().replace('.000Z', 'Z'));
      },
    ),
  );
  for (const ms of [0, 1, 10, 100, -1, 8.64e15, -8.64e15, -8.64e15 + 7, 8.64e15 - 100])
    expect(instantText(ms)).toBe(new Date(ms).toISOString().replace('.000Z', 'Z'));
  expect(() => instantText(NaN)).toThrow(RangeError);
});

test('texts that are remembered are the texts of their instants, and windows that a calendar remembers are nobody else’s', () => {
  const texts = new InstantTexts();
  const ms = fc.oneof(
    fc.integer({ min: -9_000_000_000_000, max: 9_000_000_000_000 }),
    fc.integer({ min: -4000, max: 4000 }).map((hour) => hour * 3_600_000),
    fc.constantFrom(0, -1000, 0.5, 8.64e15, -8.64e15),
  );
  fc.assert(
    fc.property(ms, (instant) => {
      for (let time = 0; time < 2; time += 1) expect(texts.of(instant)).toBe(instantText(instant));
    }),
  );
  expect(() => texts.of(NaN)).toThrow(RangeError);

  // Three years: more days than are remembered, and hours that come twice.
  for (const [unit, span] of [
    ['day', 1100 * 86_400_000],
    ['hour', 30 * 86_400_000],
  ] as const) {
    const known = calendar({ zone: 'America/Havana' });
    const from = Date.UTC(2026, 9, 20);
    const first = known.windows(from, from + span, unit);
    const expected = structuredClone(first);
    for (const each of first as { label: string; startMs: number }[]) {
      each.label = 'mine';
      each.startMs = 0;
    }
    expect(known.windows(from, from + span, unit)).toEqual(expected);
    for (const { startMs, endMs, label } of expected.toReversed())
      expect(known.window((startMs + endMs) / 2, unit)).toMatchObject({ startMs, endMs, label });
  }
});

test('a text as Date writes it is read as any other that means the same', () => {
  const utc = zoneOf('UTC');
  const read = (text: string): number | string => {
    try {
      return parseInstantMs(text, utc, 'now');
    } catch (cause) {
      return (cause as DbError).code;
    }
  };
  const two = fc.integer({ min: 0, max: 70 }).map((each) => String(each).padStart(2, '0'));
  const digitsOf = fc.tuple(
    fc.integer({ min: 0, max: 9999 }),
    two,
    two,
    two,
    two,
    two,
    fc.option(fc.nat(999)),
  );
  fc.assert(
    fc.property(
      digitsOf,
      fc.option(fc.tuple(fc.nat(23), fc.constantFrom('x', '-', ' ', '9'))),
      (parts, spoiled) => {
        const [year, month, day, hour, minute, second, ms] = parts;
        let text = `${String(year).padStart(4, '0')}-${month}-${day}T${hour}:${minute}:${second}${ms === null ? '' : `.${String(ms).padStart(3, '0')}`}Z`;
        if (spoiled !== null && spoiled[0] !== 10)
          text = text.slice(0, spoiled[0]) + spoiled[1] + text.slice(spoiled[0] + 1);
        // Not as Date writes it, and so by another way.
        expect(read(text)).toBe(read(text.replace('T', ' ')));
      },
    ),
  );
  fc.assert(
    fc.property(fc.integer({ min: -62_100_000_000_000, max: 253_400_000_000_000 }), (ms) => {
      expect(read(new Date(ms).toISOString())).toBe(ms);
    }),
  );
});

test('a zone has the name that IANA has for it today, whatever Intl still shows, and the old ones lead to it', () => {
  expect(() => calendar({ zone: 'Asia/Kolkatta' })).toThrow(
    expect.objectContaining({ hint: 'Did you mean "Asia/Kolkata"?' }),
  );
  for (const [old, name] of [
    ['Asia/Calcutta', 'Asia/Kolkata'],
    ['asia/katmandu', 'Asia/Kathmandu'],
    ['Europe/Kiev', 'Europe/Kyiv'],
    ['America/Buenos_Aires', 'America/Argentina/Buenos_Aires'],
  ] as const) {
    expect(calendar({ zone: old }).zone).toBe(name);
    expect(calendar({ zone: name }).zone).toBe(name);
    expect(zoneOf(old)).toBe(zoneOf(name));
  }
});

test('milliseconds are no minutes', () => {
  for (const unit of ['500ms', '1000 msec', '60000 milliseconds'])
    expect(() => calendar().window(0, unit), unit).toThrow(/is in milliseconds/);
  expect(calendar().window(61_000, '1m').startMs).toBe(60_000);
});
