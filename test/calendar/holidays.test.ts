import { expect, test } from 'vitest';
import { calendar } from '../../src/calendar/calendar.ts';
import type { CalendarSpec } from '../../src/calendar/spec.ts';
import {
  holidaysFromICal,
  holidaysFromJson,
  holidaysFromPackage,
  readingICal,
} from '../../src/calendar/holidays.ts';

const YEARS = { from: 2025, to: 2027 };
const ical = (...lines: readonly string[]): string =>
  ['BEGIN:VCALENDAR', 'VERSION:2.0', ...lines, 'END:VCALENDAR', ''].join('\r\n');
const event = (...lines: readonly string[]): string =>
  ical('BEGIN:VEVENT', 'UID:1', ...lines, 'END:VEVENT');
const dates = (text: string): string[] =>
  holidaysFromICal(text, { years: YEARS }).map(({ date }) => date);

test('an iCalendar of whole days becomes holidays, in order, with their names', () => {
  const text = ical(
    'BEGIN:VTIMEZONE',
    'TZID:Europe/Berlin',
    'BEGIN:STANDARD',
    'DTSTART:19701025T030000',
    'END:STANDARD',
    'END:VTIMEZONE',
    'BEGIN:VEVENT',
    'DTSTART;VALUE=DATE:20261225',
    'DTEND;VALUE=DATE:20261227',
    'SUMMARY:Weihnachten\\, beide',
    '  Tage',
    'BEGIN:VALARM',
    'SUMMARY:not this',
    'END:VALARM',
    'END:VEVENT',
    'BEGIN:VEVENT',
    'DTSTART;VALUE=DATE:20260101',
    'SUMMARY:Neujahr',
    'END:VEVENT',
    'BEGIN:VEVENT',
    'DTSTART;TZID=Europe/Berlin:20260301T100000',
    'SUMMARY:a meeting',
    'END:VEVENT',
    'BEGIN:VEVENT',
    'DTSTART;VALUE=DATE:20260401',
    'STATUS:CANCELLED',
    'END:VEVENT',
    'BEGIN:VEVENT',
    'DTSTART;VALUE=DATE:20261225',
    'SUMMARY:Christmas\\nDay',
    'END:VEVENT',
  );
  const holidays = holidaysFromICal(text, { years: YEARS });
  expect(holidays).toEqual([
    { date: '2026-01-01', name: 'Neujahr' },
    { date: '2026-12-25', name: 'Weihnachten, beide Tage / Christmas Day' },
    { date: '2026-12-26', name: 'Weihnachten, beide Tage' },
  ]);
  const c = calendar({ holidays });
  expect([c.holiday('2026-12-26'), c.isBusinessDay('2026-12-25')]).toEqual([
    'Weihnachten, beide Tage',
    false,
  ]);
});

test('what repeats yearly is written out for the years asked for', () => {
  const rule = (start: string, text: string): string[] =>
    dates(event(`DTSTART;VALUE=DATE:${start}`, `RRULE:${text}`));
  expect(rule('20001225', 'FREQ=YEARLY')).toEqual(['2025-12-25', '2026-12-25', '2027-12-25']);
  // The fourth Thursday of November, the last Monday of May.
  expect(rule('20001123', 'FREQ=YEARLY;BYMONTH=11;BYDAY=4TH')).toEqual([
    '2025-11-27',
    '2026-11-26',
    '2027-11-25',
  ]);
  expect(rule('20000529', 'FREQ=YEARLY;BYMONTH=5;BYDAY=-1MO;WKST=SU')).toEqual([
    '2025-05-26',
    '2026-05-25',
    '2027-05-31',
  ]);
  // A fifth Monday that some years do not have.
  expect(rule('20240130', 'FREQ=YEARLY;BYMONTH=3;BYDAY=5MO')).toEqual([
    '2025-03-31',
    '2026-03-30',
    '2027-03-29',
  ]);
  expect(rule('20240130', 'FREQ=YEARLY;BYMONTH=2;BYDAY=5MO')).toEqual([]);
  expect(rule('20240229', 'FREQ=YEARLY')).toEqual([]);
  expect(rule('20240131', 'FREQ=YEARLY;BYMONTH=1;BYMONTHDAY=-1')).toEqual([
    '2025-01-31',
    '2026-01-31',
    '2027-01-31',
  ]);
  expect(rule('20240401', 'FREQ=YEARLY;INTERVAL=2')).toEqual(['2026-04-01']);
  expect(rule('20240401', 'FREQ=YEARLY;COUNT=2')).toEqual(['2025-04-01']);
  expect(rule('20240401', 'FREQ=YEARLY;UNTIL=20260401T000000Z')).toEqual([
    '2025-04-01',
    '2026-04-01',
  ]);
  expect(rule('20240401', 'FREQ=YEARLY;UNTIL=20260331')).toEqual(['2025-04-01']);
  // The rule's first day lies before its start.
  expect(rule('20250601', 'FREQ=YEARLY;BYMONTH=3')).toEqual(['2026-03-01', '2027-03-01']);
  expect(
    dates(
      event(
        'DTSTART;VALUE=DATE:20251231',
        'DURATION:P2D',
        'RRULE:FREQ=YEARLY',
        'EXDATE;VALUE=DATE:20261231',
        'EXDATE:20270101T120000',
        'RDATE;VALUE=DATE:20260704',
      ),
    ),
  ).toEqual(['2025-12-31', '2026-01-01', '2026-07-04', '2026-07-05', '2027-12-31']);
  expect(dates(event('DTSTART;VALUE=DATE:20260101', 'DURATION:P1W')).length).toBe(7);
});

test('rules as calendars in use have them: lists, places, months, weeks and days', () => {
  const rule = (start: string, ...lines: readonly string[]): string =>
    dates(event(`DTSTART;VALUE=DATE:${start}`, ...lines)).join(' ');
  expect(rule('20250101', 'RRULE:FREQ=YEARLY;BYMONTH=1,7;BYMONTHDAY=1;COUNT=3')).toBe(
    '2025-01-01 2025-07-01 2026-01-01',
  );
  // Election day: the Tuesday after the first Monday of November.
  expect(rule('20241105', 'RRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8')).toBe(
    '2025-11-04 2026-11-03 2027-11-02',
  );
  expect(rule('20251127', 'RRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=TH;BYSETPOS=4')).toBe(
    '2025-11-27 2026-11-26 2027-11-25',
  );
  // The last weekday of a month.
  expect(rule('20261201', 'RRULE:FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1;COUNT=2')).toBe(
    '2026-12-31 2027-01-29',
  );
  expect(rule('20251231', 'RRULE:FREQ=MONTHLY;COUNT=3')).toBe('2025-12-31 2026-01-31 2026-03-31');
  expect(rule('20261102', 'RRULE:FREQ=MONTHLY;INTERVAL=2;BYDAY=1MO;UNTIL=20270201')).toBe(
    '2026-11-02 2027-01-04',
  );
  // Every second week, which begins as the rule says: RFC 5545 has this pair.
  const weeks = (weekStart: string): string =>
    rule('20250805', `RRULE:FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=${weekStart}`);
  expect(weeks('MO')).toBe('2025-08-05 2025-08-10 2025-08-19 2025-08-24');
  expect(weeks('SU')).toBe('2025-08-05 2025-08-17 2025-08-19 2025-08-31');
  expect(rule('20271224', 'RRULE:FREQ=WEEKLY')).toBe('2027-12-24 2027-12-31');
  expect(rule('20261230', 'RRULE:FREQ=DAILY;COUNT=3')).toBe('2026-12-30 2026-12-31 2027-01-01');
  expect(rule('20261230', 'RRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=-1;UNTIL=20271231')).toBe(
    '2027-02-28',
  );
  // Without a month, of the year: its last Friday, its hundredth day, its last but one.
  expect(rule('20250101', 'RRULE:FREQ=YEARLY;BYDAY=-1FR;COUNT=1')).toBe('2025-12-26');
  expect(rule('20240101', 'RRULE:FREQ=YEARLY;BYYEARDAY=100,-2')).toBe(
    '2025-04-10 2025-12-30 2026-04-10 2026-12-30 2027-04-10 2027-12-30',
  );
  // Every rule of an event counts, and what its exceptions name does not.
  expect(
    rule(
      '20250101',
      'RRULE:FREQ=YEARLY;BYMONTH=1;BYMONTHDAY=1',
      'RRULE:FREQ=YEARLY;BYMONTH=7;BYMONTHDAY=4',
      'EXRULE:FREQ=YEARLY;INTERVAL=2;BYMONTH=7;BYMONTHDAY=4',
    ),
  ).toBe('2025-01-01 2026-01-01 2026-07-04 2027-01-01');
});

test('what repeats since long ago is looked for where it is asked for, and what would take for ever is refused', () => {
  const since = (rule: string): string[] =>
    dates(event('DTSTART;VALUE=DATE:00010101', `RRULE:${rule};BYMONTH=1;BYMONTHDAY=1,2`));
  for (const rule of ['FREQ=YEARLY', 'FREQ=MONTHLY', 'FREQ=WEEKLY', 'FREQ=DAILY'])
    expect([rule, since(rule).length]).toEqual([rule, 6]);
  // Every third year from the first one.
  expect(since('FREQ=YEARLY;INTERVAL=3')).toEqual(['2026-01-01', '2026-01-02']);
  expect(since('FREQ=DAILY;COUNT=9')).toEqual([]);
  expect(
    dates(event('DTSTART;VALUE=DATE:20250101', 'DURATION:P365D', 'RRULE:FREQ=YEARLY')).length,
  ).toBe(3 * 365);
  const daily = ['BEGIN:VEVENT', 'DTSTART:20000101', 'RRULE:FREQ=DAILY;COUNT=9999', 'END:VEVENT'];
  const many = ical(...Array.from({ length: 110 }, () => daily).flat());
  expect(() => holidaysFromICal(many, { years: { from: 2000, to: 2027 } })).toThrow(
    expect.objectContaining({ code: '54000', limit: 'days' }),
  );
});

test('a holiday that was moved is on its new day alone, and one that was taken out on none', () => {
  const yearly = ['UID:a', 'DTSTART;VALUE=DATE:20251226', 'RRULE:FREQ=YEARLY'];
  const text = ical(
    ...['BEGIN:VEVENT', 'UID:a', 'RECURRENCE-ID;VALUE=DATE:20261226'],
    ...['DTSTART;VALUE=DATE:20261228', 'SUMMARY:moved', 'END:VEVENT'],
    ...['BEGIN:VEVENT', ...yearly, 'SUMMARY:Boxing Day', 'END:VEVENT'],
    ...['BEGIN:VEVENT', 'UID:a', 'RECURRENCE-ID;VALUE=DATE:20271226'],
    ...['DTSTART;VALUE=DATE:20271226', 'STATUS:CANCELLED', 'END:VEVENT'],
    ...['BEGIN:VEVENT', 'UID:b', 'DTSTART;VALUE=DATE:20271226', 'END:VEVENT'],
  );
  expect(holidaysFromICal(text, { years: YEARS })).toEqual([
    { date: '2025-12-26', name: 'Boxing Day' },
    { date: '2026-12-28', name: 'moved' },
    { date: '2027-12-26' },
  ]);
});

// Each was looked for among all, and every name joined to all before it: minutes, in one piece, for what one request may hold.
test('very many events, moved ones, names of one day and numbers of a rule are read in their number', () => {
  const [count, years] = [20_000, { from: 2026, to: 2026 }];
  const events = Array.from({ length: count }, (_, each) =>
    [
      'BEGIN:VEVENT',
      `RECURRENCE-ID:2026${String(1 + (each % 12)).padStart(2, '0')}${String(1 + (each % 28)).padStart(2, '0')}`,
      'DTSTART:20261224',
      `SUMMARY:n${each}`,
      'END:VEVENT',
      ...['BEGIN:VEVENT', 'DTSTART:20261231', 'END:VEVENT'],
    ].join('\r\n'),
  );
  const text = ical(events.join('\r\n'));
  const steps = readingICal(text, { years });
  let pauses = 0;
  let step = steps.next();
  for (; step.done !== true; step = steps.next()) pauses += 1;
  expect(pauses).toBeGreaterThan(200);
  expect(step.value.map(({ date }) => date)).toEqual(['2026-12-24', '2026-12-31']);
  expect(step.value[0]!.name!.split(' / ')).toHaveLength(count);
  const named = Array.from({ length: 50_000 }, (_, each) => ({
    date: '2026-01-01',
    name: `n${each}`,
  }));
  expect(holidaysFromJson(named)).toHaveLength(1);
  const numbers = Array.from({ length: 300_000 }, (_, each) => 1 + (each % 366)).join(',');
  const days = Array.from({ length: 300_000 }, () => 'MO').join(',');
  expect(
    holidaysFromICal(
      event(
        'DTSTART:20260101',
        `RRULE:FREQ=YEARLY;BYYEARDAY=${numbers};BYSETPOS=${numbers};BYDAY=${days}`,
      ),
      { years: { from: 2026, to: 2125 } },
    ),
  ).toHaveLength(5218);
  expect(() => holidaysFromICal(ical(`X:${'x'.repeat(2 ** 22)}`), { years })).toThrow(
    expect.objectContaining({ code: '54000', limit: 'bytes' }),
  );
});

test('a calendar has as many holidays as anybody reads, and no more', () => {
  const days = (count: number): string[] =>
    Array.from({ length: count }, (_, day) =>
      new Date(Date.UTC(1900, 0, 1) + day * 86_400_000).toISOString().slice(0, 10),
    );
  expect(calendar({ holidays: days(40_000) }).isBusinessDay('1970-01-01')).toBe(false);
  const many = days(40_001);
  for (const [spec, field] of [
    [{ holidays: many }, 'holidays'],
    [{ hours: Object.fromEntries(many.map((day) => [day, '09:00-17:00'])) }, 'hours'],
    [{ hours: many.map(() => '09:00-17:00') }, 'hours'],
    [{ weekend: many.map(() => 'sunday') }, 'weekend'],
    [
      { zone: { name: 'UTC', changes: many.map((from) => ({ from, offsetSeconds: 0 })) } },
      'zone.changes',
    ],
  ] as const)
    expect(() => calendar(spec as CalendarSpec), field).toThrow(
      expect.objectContaining({ code: '54000', field }),
    );
});

test('whole days are also what lasts from midnight to midnight', () => {
  const days = (...lines: readonly string[]): string => dates(event(...lines)).join(' ');
  expect(days('DTSTART:20261224T000000', 'DTEND:20261226T000000')).toBe('2026-12-24 2026-12-25');
  expect(days('DTSTART;TZID=Europe/Berlin:20261224T000000', 'DURATION:PT24H')).toBe('2026-12-24');
  expect(days('DTSTART;VALUE=DATE:20261224', 'DURATION:P1DT24H0M0S')).toBe('2026-12-24 2026-12-25');
  expect(days('DTSTART:20261224T000000', 'DTEND:20261224T120000')).toBe('');
  expect(days('DTSTART:20261224T000000', 'DURATION:PT90M')).toBe('');
  expect(days('DTSTART:20261224T000000', 'DTEND:20261224T000000')).toBe('');
  expect(days('DTSTART:20261224T000000')).toBe('');
  expect(days('DTSTART:20261224T000000Z', 'DTEND:20261225T000000Z')).toBe('');
});

test('what cannot be read is an error with its line, never a holiday less', () => {
  const cases: readonly [text: string, message: RegExp][] = [
    ['', /is no iCalendar/],
    ['2026-12-25', /is no iCalendar/],
    [event('SUMMARY:x'), /line 3 .* has no DTSTART/],
    [event('DTSTART:yesterday'), /line 5 .*"yesterday" is no date/],
    [event('DTSTART:20260230'), /"20260230" is no date/],
    [event('DTSTART;VALUE=DATE:20260101', 'DTEND;VALUE=DATE:20280101'), /lasts 730 days/],
    [event('DTSTART;VALUE=DATE:20260101', 'DURATION:PT2H'), /ends within one/],
    [event('DTSTART;VALUE=DATE:20260101', 'DURATION:2D'), /"2D" is no duration/],
    [event('DTSTART;VALUE=DATE:20260101', 'DURATION:P'), /"P" is no duration/],
    [event('DTSTART;VALUE=DATE:20260101', 'DURATION:P1DT'), /"P1DT" is no duration/],
    [event('DTSTART;VALUE=DATE:20260101', 'RRULE:FREQ=HOURLY'), /line 6 .* repeats FREQ=HOURLY/],
    [event('DTSTART;VALUE=DATE:20260101', 'RRULE:COUNT=2'), /repeats FREQ=/],
    [event('DTSTART;VALUE=DATE:20260101', 'RRULE:FREQ=YEARLY;BYWEEKNO=1'), /by BYWEEKNO/],
    [event('DTSTART;VALUE=DATE:20260101', 'EXRULE:FREQ=YEARLY;BYHOUR=1'), /by BYHOUR/],
    [event('DTSTART;VALUE=DATE:20260101', 'RRULE:FREQ=YEARLY;BYMONTH=1,X'), /by BYMONTH=1,X/],
    [event('DTSTART;VALUE=DATE:20260101', 'RRULE:FREQ=YEARLY;BYMONTHDAY=-32'), /BYMONTHDAY=-32/],
    [event('DTSTART;VALUE=DATE:20260101', 'RRULE:FREQ=YEARLY;COUNT=1,2'), /by COUNT=1,2/],
    [event('DTSTART;VALUE=DATE:20260101', 'RRULE:FREQ=YEARLY;WKST=XX'), /by WKST=XX/],
    [event('DTSTART;VALUE=DATE:20260101', 'RRULE:FREQ=YEARLY;BYDAY=0MO'), /by BYDAY=0MO/],
    [event('DTSTART;VALUE=DATE:20260101', 'RRULE:FREQ=WEEKLY;BYDAY=1MO'), /by BYDAY=1MO/],
    [
      event('DTSTART;VALUE=DATE:20260101', 'RECURRENCE-ID;RANGE=THISANDFUTURE:20260101'),
      /all that follow/,
    ],
    [event('DTSTART;VALUE=DATE:20260101', 'RRULE:FREQ=YEARLY;BYMONTH=13'), /is not read/],
    [event('DTSTART;VALUE=DATE:20260101', 'RRULE:FREQ=YEARLY;INTERVAL=-1'), /is not read/],
    [event('DTSTART;VALUE=DATE:20260101', 'RRULE:FREQ=YEARLY;COUNT=0'), /by COUNT=0/],
    [event('DTSTART;VALUE=DATE:20260101', 'RRULE:FREQ=YEARLY;BYMONTH'), /by BYMONTH=/],
    [event('DTSTART;VALUE=DATE:20260101', 'RRULE:FREQ=YEARLY;BYDAY=XX'), /by BYDAY=XX/],
    [event('DTSTART;VALUE=DATE:20260101', 'RRULE:FREQ=YEARLY;UNTIL=soon'), /is no date/],
    [
      event('DTSTART;VALUE=DATE:20260101', 'RDATE;VALUE=PERIOD:20260101T000000Z/P1D'),
      /periods is not read/,
    ],
    [ical('this is no line'), /line 3 .* no name and value/],
    ['BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20260101', /does not end/],
  ];
  for (const [text, message] of cases) expect(() => dates(text), text).toThrow(message);
  expect(() => holidaysFromICal(7 as never, { years: YEARS })).toThrow(/is no iCalendar/);
  for (const years of [
    // Of days so far away none followed the other: the search for the next one never ended.
    { from: 1e16, to: 1e16 },
    { from: -5, to: 3 },
    { from: 9999, to: 10_000 },
    { from: 2027, to: 2025 },
    { from: 1, to: 5000 },
    { from: 1.5, to: 2 },
    { from: 1, to: NaN },
  ])
    expect(() => holidaysFromICal(ical(), { years })).toThrow(/"years" is no span/);
});

test('JSON: dates, dates with names, names by date, and what date-holidays gives', () => {
  expect(holidaysFromJson(['2026-12-25', '2026-01-01', '2026-12-25'])).toEqual([
    { date: '2026-01-01' },
    { date: '2026-12-25' },
  ]);
  expect(holidaysFromJson({ '2026-12-25': 'Christmas' })).toEqual([
    { date: '2026-12-25', name: 'Christmas' },
  ]);
  expect(holidaysFromJson([{ date: '2026-12-25', name: 'Christmas', type: 'observance' }])).toEqual(
    [],
  );
  expect(holidaysFromJson([{ date: '2026-12-25', name: 7, type: 7 }])).toEqual([
    { date: '2026-12-25' },
  ]);
  const source = {
    getHolidays: (year: number) => [
      { date: `${year}-12-24 14:00:00`, name: 'Heiligabend', type: 'optional' },
      {
        date: `${year}-12-25 00:00:00`,
        start: new Date(`${year}-12-25T00:00:00Z`),
        end: new Date(`${year}-12-27T00:00:00Z`),
        name: 'Weihnachten',
        type: 'public',
      },
    ],
  };
  expect(
    holidaysFromPackage(source, { years: { from: 2026, to: 2026 } }).map(({ date }) => date),
  ).toEqual(['2026-12-25', '2026-12-26']);
  expect(
    holidaysFromPackage(source, { years: YEARS, types: ['optional'] }).map(({ date }) => date),
  ).toEqual(['2025-12-24', '2026-12-24', '2027-12-24']);
  expect(() => holidaysFromJson('2026-12-25')).toThrow(/neither a list nor an object/);
  expect(() => holidaysFromJson(null)).toThrow(/neither a list nor an object/);
  for (const bad of [7, null, {}, { date: 7 }])
    expect(() => holidaysFromJson([bad])).toThrow(/holidays.0 is no holiday/);
  expect(() => holidaysFromJson(['25.12.2026'])).toThrow(/which is no date/);
});
