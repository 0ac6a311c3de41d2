import { expect, test } from 'vitest';
import { calendar } from '../../src/calendar/calendar.ts';
import {
  holidaysFromICal,
  holidaysFromJson,
  holidaysFromPackage,
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

test('what cannot be read is an error with its line, never a holiday less', () => {
  const cases: readonly [text: string, message: RegExp][] = [
    ['', /is no iCalendar/],
    ['2026-12-25', /is no iCalendar/],
    [event('SUMMARY:x'), /line 3 .* has no DTSTART/],
    [event('DTSTART:yesterday'), /line 5 .*"yesterday" is no date/],
    [event('DTSTART:20260230'), /"20260230" is no date/],
    [event('DTSTART;VALUE=DATE:20260101', 'DTEND;VALUE=DATE:20280101'), /lasts 730 days/],
    [event('DTSTART;VALUE=DATE:20260101', 'DURATION:PT2H'), /no duration in days/],
    [event('DTSTART;VALUE=DATE:20260101', 'RRULE:FREQ=MONTHLY'), /repeats FREQ=MONTHLY/],
    [event('DTSTART;VALUE=DATE:20260101', 'RRULE:COUNT=2'), /repeats FREQ=/],
    [event('DTSTART;VALUE=DATE:20260101', 'RRULE:FREQ=YEARLY;BYSETPOS=1'), /by BYSETPOS/],
    [event('DTSTART;VALUE=DATE:20260101', 'RRULE:FREQ=YEARLY;BYMONTH=1,2'), /by BYMONTH=1,2/],
    [event('DTSTART;VALUE=DATE:20260101', 'RRULE:FREQ=YEARLY;BYMONTH=13'), /is not read/],
    [event('DTSTART;VALUE=DATE:20260101', 'RRULE:FREQ=YEARLY;INTERVAL=-1'), /is not read/],
    [event('DTSTART;VALUE=DATE:20260101', 'RRULE:FREQ=YEARLY;COUNT=0'), /by COUNT=0/],
    [event('DTSTART;VALUE=DATE:20260101', 'RRULE:FREQ=YEARLY;BYMONTH'), /by BYMONTH=/],
    [event('DTSTART;VALUE=DATE:20260101', 'RRULE:FREQ=YEARLY;BYDAY=MO'), /by BYDAY=MO/],
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
