/**
 * The hard cases of local time, one by one, each named as in the list that the calendar was built from: L1 … L12 are the cases in which
 * luxon is wrong or differs, F the facts of the tz data that break naive code, P the policies.
 */
import { execFileSync } from 'node:child_process';
import { DateTime } from 'luxon';
import { expect, test, vi } from 'vitest';
import { calendar } from '../../src/calendar/calendar.ts';
import { toDateTime } from '../../src/calendar/luxon.ts';
import { zoneOf } from '../../src/calendar/zones.ts';

const at = (text: string): number => Date.parse(text);
const iso = (ms: number): string => new Date(ms).toISOString().replace('.000Z', 'Z');
const window = (zone: string, instant: string, unit: string): string => {
  const { startMs, endMs, label } = calendar({ zone }).window(at(instant), unit);
  return `${iso(startMs)} ${iso(endMs)} ${label}`;
};
const hours = (zone: string, instant: string): number => {
  const { startMs, endMs } = calendar({ zone }).window(at(instant), 'day');
  return (endMs - startMs) / 3_600_000;
};

// ── F: facts ───────────────────────────────────────────────────────────────────────────────────────────────────

test('F1: a day has 21 to 27 hours, never simply 86,400 seconds', () => {
  expect([
    hours('America/New_York', '2026-03-08T12:00:00Z'),
    hours('America/New_York', '2026-11-01T12:00:00Z'),
    hours('Australia/Lord_Howe', '2026-10-04T12:00:00Z'),
    hours('Australia/Lord_Howe', '2026-04-05T12:00:00Z'),
    hours('Antarctica/Troll', '2026-03-29T12:00:00Z'),
    hours('Antarctica/Troll', '2026-10-25T12:00:00Z'),
    hours('Europe/Berlin', '2026-11-22T12:00:00Z'),
    hours('Antarctica/Casey', '2020-10-04T03:00:00Z'),
    hours('Antarctica/Casey', '2010-03-05T03:00:00Z'),
    hours('Asia/Kathmandu', '1986-01-01T03:00:00Z'),
    hours('Africa/Monrovia', '1972-01-07T12:00:00Z'),
  ]).toEqual([23, 25, 23.5, 24.5, 22, 26, 24, 21, 27, 23.75, 24 - 44.5 / 60]);
});

test('F2: a local midnight that is skipped: the day begins at the change', () => {
  for (const [zone, date, start] of [
    ['America/Santiago', '2026-09-06', '2026-09-06T04:00:00Z'],
    ['America/Havana', '2026-03-08', '2026-03-08T05:00:00Z'],
    ['Africa/Cairo', '2026-04-24', '2026-04-23T22:00:00Z'],
    ['Asia/Beirut', '2026-03-29', '2026-03-28T22:00:00Z'],
    ['America/Asuncion', '2023-10-01', '2023-10-01T04:00:00Z'],
    ['America/Scoresbysund', '2023-03-26', '2023-03-26T01:00:00Z'],
    ['Atlantic/Azores', '2026-03-29', '2026-03-29T01:00:00Z'],
    ['America/Sao_Paulo', '2018-11-04', '2018-11-04T03:00:00Z'],
  ] as const) {
    const { startMs, label } = calendar({ zone }).window(at(`${date}T18:00:00Z`), 'day');
    expect([zone, label, iso(startMs)]).toEqual([zone, date, start]);
  }
});

test('F3: changes that lie not on a quarter hour: Newfoundland at 00:01', () => {
  expect(window('America/St_Johns', '2010-11-07T02:40:00Z', 'day')).toBe(
    '2010-11-07T02:30:00Z 2010-11-08T03:30:00Z 2010-11-07',
  );
  expect(window('America/St_Johns', '2008-03-09T03:31:01Z', 'hour')).toBe(
    '2008-03-09T03:31:00Z 2008-03-09T04:30:00Z 2008-03-09T01:00-02:30',
  );
});

test('F4: Kiritimati is at −10:40 until October 1979, so its days begin off the quarter hours of UTC', () => {
  expect(window('Pacific/Kiritimati', '1979-03-01T12:00:00Z', 'day')).toBe(
    '1979-03-01T10:40:00Z 1979-03-02T10:40:00Z 1979-03-01',
  );
  expect(calendar({ zone: 'Pacific/Kiritimati' }).offsetSeconds(at('1980-01-01T00:00:00Z'))).toBe(
    -36_000,
  );
});

test('F5: local mean times have seconds: New York −4:56:02, Monrovia −0:44:30 until 1972', () => {
  expect(calendar({ zone: 'America/New_York' }).offsetSeconds(at('1880-01-01T00:00:00Z'))).toBe(
    -17_762,
  );
  expect(window('America/New_York', '1880-01-01T12:34:56Z', 'day')).toBe(
    '1880-01-01T04:56:02Z 1880-01-02T04:56:02Z 1880-01-01',
  );
  expect(calendar({ zone: 'Africa/Monrovia' }).offsetSeconds(at('1971-12-31T00:00:00Z'))).toBe(
    -2670,
  );
  expect(
    calendar({ zone: 'America/New_York' }).window(at('1880-01-01T12:34:56Z'), 'hour').label,
  ).toBe('1880-01-01T07:00-04:56:02');
});

test('F6: two changes less than seven days apart are both seen: Recife in 2000', () => {
  const c = calendar({ zone: 'America/Recife' });
  expect([
    c.offsetSeconds(at('2000-10-07T12:00:00Z')),
    c.offsetSeconds(at('2000-10-10T12:00:00Z')),
    c.offsetSeconds(at('2000-10-16T12:00:00Z')),
  ]).toEqual([-10_800, -7200, -10_800]);
});

test('F7: beyond 2038, where halving a sum of seconds in 32 bits went wrong, and beyond 2200, where rules repeat', () => {
  for (const year of [2038, 2044, 2106, 2199, 2237, 2600, 2999, 9999]) {
    const [offset] = [
      calendar({ zone: 'Europe/Berlin' }).offsetSeconds(at(`${year}-07-01T00:00:00Z`)),
    ];
    expect([year, offset]).toEqual([year, 7200]);
  }
  expect(window('Europe/Berlin', '2450-07-01T00:00:00Z', 'month')).toBe(
    '2450-06-30T22:00:00Z 2450-07-31T22:00:00Z 2450-07-01',
  );
});

test('F8: six zones have a day of no length; it has no window, and its neighbours touch', () => {
  for (const [zone, instant, before, after] of [
    ['Pacific/Apia', '2011-12-30T10:00:00Z', '2011-12-29', '2011-12-31'],
    ['Pacific/Fakaofo', '2011-12-30T11:00:00Z', '2011-12-29', '2011-12-31'],
    ['Pacific/Kiritimati', '1994-12-31T10:00:00Z', '1994-12-30', '1995-01-01'],
    ['Pacific/Kanton', '1994-12-31T11:00:00Z', '1994-12-30', '1995-01-01'],
    ['Pacific/Enderbury', '1994-12-31T11:00:00Z', '1994-12-30', '1995-01-01'],
    ['Pacific/Kwajalein', '1993-08-21T12:00:00Z', '1993-08-20', '1993-08-22'],
  ] as const) {
    const c = calendar({ zone });
    const [last, first] = [c.window(at(instant) - 1, 'day'), c.window(at(instant), 'day')];
    expect([zone, last.label, last.endMs, first.label, first.startMs]).toEqual([
      zone,
      before,
      at(instant),
      after,
      at(instant),
    ]);
  }
});

// ── L: where luxon is wrong, or chooses otherwise ──────────────────────────────────────────────────────────────

test('L1: one start for a date whose midnight is repeated, before the second midnight and after it', () => {
  for (const minute of ['04:00', '04:59', '05:00', '23:00'])
    expect(window('America/Havana', `2025-11-02T${minute}:00Z`, 'day')).toBe(
      '2025-11-02T04:00:00Z 2025-11-03T05:00:00Z 2025-11-02',
    );
  expect(window('Atlantic/Azores', '2025-10-26T00:30:00Z', 'day').slice(0, 20)).toBe(
    '2025-10-26T00:00:00Z',
  );
  expect(window('America/Scoresbysund', '2023-10-29T00:30:00Z', 'day').slice(0, 20)).toBe(
    '2023-10-29T00:00:00Z',
  );
});

test('L2: the day before a repeated midnight ends at the first of them', () => {
  expect(window('America/Havana', '2025-11-01T12:00:00Z', 'day')).toBe(
    '2025-11-01T04:00:00Z 2025-11-02T04:00:00Z 2025-11-01',
  );
});

test('L3: the same for a month that begins with a repeated midnight', () => {
  for (const hour of ['04', '05'])
    expect(window('America/Havana', `2020-11-01T${hour}:30:00Z`, 'month').slice(0, 20)).toBe(
      '2020-11-01T04:00:00Z',
    );
});

test('L4: Lord Howe goes back by half an hour: the hour is cut at the change', () => {
  expect(window('Australia/Lord_Howe', '2026-04-04T14:40:00Z', 'hour')).toBe(
    '2026-04-04T14:00:00Z 2026-04-04T15:00:00Z 2026-04-05T01:00+11:00',
  );
  expect(window('Australia/Lord_Howe', '2026-04-04T15:10:00Z', 'hour')).toBe(
    '2026-04-04T15:00:00Z 2026-04-04T15:30:00Z 2026-04-05T01:00+10:30',
  );
});

test('L5: the hour before a gap ends at the change, and no hour begins after its instant', () => {
  const c = calendar({ zone: 'Australia/Lord_Howe' });
  const change = at('2026-10-03T15:30:00Z');
  const [before, after] = [c.window(change - 1, 'hour'), c.window(change, 'hour')];
  expect([iso(before.startMs), iso(before.endMs), before.partial]).toEqual([
    '2026-10-03T14:30:00Z',
    '2026-10-03T15:30:00Z',
    false,
  ]);
  expect([iso(after.startMs), iso(after.endMs), after.partial]).toEqual([
    '2026-10-03T15:30:00Z',
    '2026-10-03T16:00:00Z',
    true,
  ]);
  for (const zone of ['Pacific/Chatham', 'Asia/Gaza', 'America/St_Johns'])
    for (let t = at('2010-03-26T00:00:00Z'); t < at('2010-04-05T00:00:00Z'); t += 600_000) {
      const { startMs, endMs } = calendar({ zone }).window(t, 'hour');
      expect(startMs <= t && t < endMs, `${zone} ${iso(t)}`).toBe(true);
    }
});

test('L6: jumps of 15 and 45 minutes: Kathmandu 1986, Pyongyang, Caracas', () => {
  expect(window('Asia/Kathmandu', '1985-12-31T18:40:00Z', 'hour')).toBe(
    '1985-12-31T18:30:00Z 1985-12-31T19:15:00Z 1986-01-01T00:00+05:45',
  );
  expect(window('Asia/Pyongyang', '2018-05-04T15:10:00Z', 'hour')).toBe(
    '2018-05-04T15:00:00Z 2018-05-04T16:00:00Z 2018-05-05T00:00+09:00',
  );
  expect(window('America/Caracas', '2007-12-09T07:10:00Z', 'hour')).toBe(
    '2007-12-09T07:00:00Z 2007-12-09T07:30:00Z 2007-12-09T02:00-04:30',
  );
});

test('L7: a date that is entered again belongs to the day that has begun', () => {
  // 00:01 on the 7th becomes 23:01 on the 6th.
  for (const minute of ['02:29', '02:31', '03:00', '03:29', '03:31'])
    expect(window('America/St_Johns', `2010-11-07T${minute}:00Z`, 'day').slice(-10)).toBe(
      minute === '02:29' ? '2010-11-06' : '2010-11-07',
    );
  expect(window('America/Goose_Bay', '2010-11-07T03:30:00Z', 'day').slice(-10)).toBe('2010-11-07');
  expect(window('America/Moncton', '2006-10-29T03:30:00Z', 'day').slice(-10)).toBe('2006-10-29');
  expect(window('Antarctica/Casey', '2010-03-04T16:00:00Z', 'day').slice(-10)).toBe('2010-03-05');
});

test('L8: a sum that lands in a repeated hour takes the first of them, from whichever side it comes', () => {
  const c = calendar({ zone: 'America/New_York' });
  const first = at('2026-11-01T05:30:00Z');
  expect(c.add(at('2026-10-31T05:30:00Z'), { day: 1 })).toBe(first);
  expect(c.add(at('2026-11-02T06:30:00Z'), { day: -1 })).toBe(first);
  expect(c.add(at('2026-11-02T06:30:00Z'), { day: -1 }, { disambiguation: 'later' })).toBe(
    first + 3_600_000,
  );
});

test('L9: one day on from the eve of a skipped day is the day after it; windows are counted, not added', () => {
  const c = calendar({ zone: 'Pacific/Apia' });
  const eve = at('2011-12-29T12:00:00Z');
  expect(c.local(c.add(eve, { day: 1 }))).toBe('2011-12-31T02:00:00.000+14:00');
  expect(
    c
      .windows(at('2011-12-29T12:00:00Z'), at('2011-12-31T12:00:00Z'), 'day')
      .map(({ label }) => label),
  ).toEqual(['2011-12-29', '2011-12-31', '2012-01-01']);
});

test('L10: offsets, never "is summer time": Dublin’s winter is its exception, Casablanca’s is Ramadan', () => {
  const dublin = calendar({ zone: 'Europe/Dublin' });
  expect([
    dublin.offsetSeconds(at('2026-07-01T00:00:00Z')),
    dublin.offsetSeconds(at('2026-01-01T00:00:00Z')),
  ]).toEqual([3600, 0]);
  const casablanca = calendar({ zone: 'Africa/Casablanca' });
  expect([
    casablanca.offsetSeconds(at('2026-03-01T00:00:00Z')),
    casablanca.offsetSeconds(at('2026-07-01T00:00:00Z')),
  ]).toEqual([0, 3600]);
});

test('L11: an unknown zone is an error that names the nearest, and an invalid date one that says so', () => {
  expect(() => calendar({ zone: 'Europe/Berln' })).toThrow(
    expect.objectContaining({ code: '22023', hint: 'Did you mean "Europe/Berlin"?' }),
  );
  expect(() => calendar().window(NaN, 'day')).toThrow(expect.objectContaining({ code: '22008' }));
  expect(() => calendar().window(DateTime.invalid('because'), 'day')).toThrow(
    expect.objectContaining({ code: '22008' }),
  );
});

test('L12: a day is counted on the wall, an hour by the clock', () => {
  const c = calendar({ zone: 'America/New_York' });
  const start = at('2026-03-07T12:00:00Z');
  expect(c.add(start, { day: 1 }) - start).toBe(23 * 3_600_000);
  expect(c.add(start, { hour: 24 }) - start).toBe(24 * 3_600_000);
});

// ── P: policies ────────────────────────────────────────────────────────────────────────────────────────────────

test('P1: a boundary is the first instant whose local time is at or after it', () => {
  // In the gap of 25 October 2015 São Paulo has no midnight: month, week, day begin at 01:00.
  expect(window('America/Sao_Paulo', '2015-10-18T12:00:00Z', 'day').slice(0, 20)).toBe(
    '2015-10-18T03:00:00Z',
  );
  expect(window('America/Sao_Paulo', '2015-10-20T12:00:00Z', 'week').slice(0, 20)).toBe(
    '2015-10-19T02:00:00Z',
  );
});

test('P2: a repeated hour is two windows with two offsets; mergeRepeated makes them one', () => {
  const c = calendar({ zone: 'America/New_York' });
  const labels = c
    .windows(at('2026-11-01T04:00:00Z'), at('2026-11-01T08:00:00Z'), 'hour')
    .map(({ label, partial }) => `${label} ${partial}`);
  expect(labels).toEqual([
    '2026-11-01T00:00-04:00 false',
    '2026-11-01T01:00-04:00 false',
    '2026-11-01T01:00-05:00 false',
    '2026-11-01T02:00-05:00 false',
  ]);
  const merged = c
    .windows(at('2026-11-01T04:00:00Z'), at('2026-11-01T08:00:00Z'), 'hour', {
      mergeRepeated: true,
    })
    .map(({ label, startMs, endMs }) => `${label} ${(endMs - startMs) / 3_600_000}`);
  expect(merged).toEqual([
    '2026-11-01T00:00-04:00 1',
    '2026-11-01T01:00-04:00 2',
    '2026-11-01T02:00-05:00 1',
  ]);
  expect(c.window(at('2026-11-01T06:30:00Z'), 'hour', { mergeRepeated: true }).label).toBe(
    '2026-11-01T01:00-04:00',
  );
  // Newfoundland, 2010: what comes after the second 23:01 belongs to the quarter that has begun.
  const newfoundland = calendar({ zone: 'America/St_Johns' });
  expect(
    newfoundland.window(at('2010-11-07T02:45:00Z'), '15min', { mergeRepeated: true }).label,
  ).toBe('2010-11-07T00:00-02:30');
});

test('P3: see L7', () => {
  expect(window('America/St_Johns', '2010-11-07T03:00:00Z', 'week').slice(-10)).toBe('2010-11-01');
});

test('P4: sums clamp the day of the month, go forward over a gap, and take the earlier of two', () => {
  const c = calendar({ zone: 'Europe/Berlin' });
  expect(c.local(c.add('2026-01-31T12:00', { month: 1 }))).toBe('2026-02-28T12:00:00.000+01:00');
  expect(c.local(c.add('2024-02-29T12:00', { year: 1 }))).toBe('2025-02-28T12:00:00.000+01:00');
  expect(c.local(c.add('2026-03-28T02:30', { day: 1 }))).toBe('2026-03-29T03:30:00.000+02:00');
  expect(c.local(c.add('2026-03-28T02:30', { day: 1 }, { disambiguation: 'earlier' }))).toBe(
    '2026-03-29T01:30:00.000+01:00',
  );
  expect(() => c.add('2026-03-28T02:30', { day: 1 }, { disambiguation: 'reject' })).toThrow(
    /02:30 does not exist in Europe\/Berlin/,
  );
  expect(() => c.add('2026-10-24T02:30', { day: 1 }, { disambiguation: 'reject' })).toThrow(
    /02:30 comes twice in Europe\/Berlin/,
  );
  expect(c.add('2026-10-24T12:00', { day: 1 }, { disambiguation: 'reject' })).toBe(
    at('2026-10-25T11:00:00Z'),
  );
});

test('P5: a skipped day has no window in a series', () => {
  const c = calendar({ zone: 'Pacific/Kwajalein' });
  expect(
    c
      .windows(at('1993-08-20T00:00:00Z'), at('1993-08-23T00:00:00Z'), 'day')
      .map(({ label }) => label),
  ).toEqual(['1993-08-19', '1993-08-20', '1993-08-22', '1993-08-23']);
  const { startMs, endMs } = c.relative('yesterday', at('1993-08-22T00:00:00Z'));
  expect(endMs - startMs).toBe(0);
});

// ── A: what must hold of the whole ─────────────────────────────────────────────────────────────────────────────

test('A5: the process’s own time zone changes nothing', () => {
  const script = `
    const { calendar } = await import(process.argv[1]);
    const out = [];
    for (const zone of ['America/Havana', 'Asia/Kathmandu', 'Pacific/Apia', 'UTC', 'Australia/Lord_Howe']) {
      const c = calendar({ zone });
      for (let ms = Date.UTC(2009, 0, 1); ms < Date.UTC(2013, 0, 1); ms += 600_000_000)
        for (const unit of ['hour', 'day', 'week', 'month', 'fiscalYear'])
          out.push(c.window(ms, unit), c.add(ms, { month: 1 }), c.relative('last7Days', ms), c.local(ms));
    }
    console.log(JSON.stringify(out));
  `;
  const bundle = new URL('../../dist/src/calendar.js', import.meta.url).href;
  const outputs = ['America/Havana', 'Asia/Kathmandu', 'Pacific/Apia', 'UTC'].map((TZ) =>
    execFileSync(process.execPath, ['--input-type=module', '-e', script, bundle], {
      env: { ...process.env, TZ },
      maxBuffer: 2 ** 28,
      encoding: 'utf8',
    }),
  );
  expect(new Set(outputs).size).toBe(1);
  expect(outputs[0]!.length).toBeGreaterThan(50_000);
});

test('A8: known time is answered without Intl', () => {
  const c = calendar({ zone: 'America/New_York', holidays: ['2026-11-26'] });
  const instants = Array.from(
    { length: 500 },
    (_, index) => at('2020-01-01T00:00:00Z') + index * 4e8,
  );
  const ask = (): void => {
    for (const ms of instants) {
      for (const unit of ['15min', 'hour', 'day', 'week', 'month', 'year', 'businessDay'])
        c.window(ms, unit);
      c.add(ms, { month: 1, hour: 3 });
      c.relative('yearToDateLastYear', ms);
      c.offsetSeconds(ms);
    }
  };
  ask();
  const made = vi.spyOn(Intl, 'DateTimeFormat');
  try {
    ask();
    expect(made.mock.calls.length).toBe(0);
  } finally {
    made.mockRestore();
  }
});

test('A9: rules given by hand hold in their calendar from the first of them on, and nowhere else', () => {
  const spec = {
    zone: {
      name: 'Europe/Berlin',
      changes: [
        { from: '2027-01-01T00:00:00Z', offsetSeconds: 7200 },
        { from: '2070-01-01T00:00:00Z', offsetSeconds: 3600 },
      ],
    },
  };
  const c = calendar(spec);
  const plain = calendar({ zone: 'Europe/Berlin' });
  for (const [text, offset, before] of [
    ['2026-12-31T23:59:59Z', 3600, 3600],
    ['2027-01-01T00:00:00Z', 7200, 3600],
    ['2027-07-01T00:00:00Z', 7200, 7200],
    ['2060-01-01T00:00:00Z', 7200, 3600],
    ['2500-01-01T00:00:00Z', 3600, 3600],
    ['2500-07-01T00:00:00Z', 3600, 7200],
    ['1990-07-01T00:00:00Z', 7200, 7200],
  ] as const)
    expect([text, c.offsetSeconds(at(text)), plain.offsetSeconds(at(text))]).toEqual([
      text,
      offset,
      before,
    ]);
  expect(zoneOf('Europe/Berlin').override).toBeUndefined();
  // As plain data it is the same calendar.
  expect(calendar(c.spec).offsetSeconds(at('2027-01-01T00:00:00Z'))).toBe(7200);
  expect(
    calendar({
      zone: { name: 'UTC', changes: [{ from: at('2030-01-01T00:00:00Z'), offsetSeconds: 60 }] },
    }).offsetSeconds(at('2031-01-01T00:00:00Z')),
  ).toBe(60);
  expect(calendar({ zone: { name: 'UTC', changes: [] } }).zone).toBe('UTC');
});

test('F9: centuries are no leap years unless they are multiples of 400', () => {
  const lengths = [1900, 2000, 2100, 2400].map((year) => {
    const { startMs, endMs } = calendar().window(Date.UTC(year, 1, 10), 'month');
    return (endMs - startMs) / 86_400_000;
  });
  expect(lengths).toEqual([28, 29, 28, 29]);
  const c = calendar();
  expect(
    [1900, 2000].map((year) => c.local(c.add(`${year}-01-31`, { month: 1 })).slice(0, 10)),
  ).toEqual(['1900-02-28', '2000-02-29']);
});

test('F10: every zone whose clocks have changed off the quarter hour: hours are cut there, days begin on quarter hours all the same', () => {
  for (const [zone, text] of [
    ['America/St_Johns', '1987-04-05T03:31:00Z'],
    ['America/St_Johns', '2011-03-13T03:31:00Z'],
    ['America/Goose_Bay', '1987-10-25T03:01:00Z'],
    ['America/Goose_Bay', '2011-03-13T04:01:00Z'],
    ['America/Moncton', '1993-04-04T04:01:00Z'],
    ['America/Moncton', '2006-10-29T03:01:00Z'],
    ['Antarctica/Casey', '2020-10-03T16:01:00Z'],
    ['Antarctica/Casey', '2022-10-01T16:01:00Z'],
    ['Asia/Gaza', '2010-03-26T22:01:00Z'],
    ['Asia/Gaza', '2011-03-31T22:01:00Z'],
    ['Asia/Hebron', '2011-03-31T22:01:00Z'],
    ['Pacific/Guam', '1976-08-21T15:01:00Z'],
    ['Pacific/Saipan', '1976-08-21T15:01:00Z'],
  ] as const) {
    const c = calendar({ zone });
    const change = at(text);
    expect([zone, text, iso(c.window(change - 1, 'hour').endMs)]).toEqual([zone, text, text]);
    expect(c.window(change, 'hour').startMs).toBe(change);
    let end = c.window(change - 86_400_000, 'day').endMs;
    for (let day = 0; day < 3; day += 1) {
      const { startMs, endMs } = c.window(end, 'day');
      expect([startMs, startMs % 900_000, endMs % 900_000]).toEqual([end, 0, 0]);
      end = endMs;
    }
  }
});

test('F11: clocks have jumped by 40, 44½, 45 and 90 minutes, by two, three, seven and twenty-four hours', () => {
  for (const [zone, text, minutes] of [
    ['Pacific/Kiritimati', '1979-10-01T10:40:00Z', 40],
    ['Africa/Monrovia', '1972-01-07T00:44:30Z', 44.5],
    ['America/Guyana', '1975-08-01T03:45:00Z', 45],
    ['America/Montevideo', '1974-01-13T03:00:00Z', 90],
    ['America/Argentina/La_Rioja', '1991-03-01T02:00:00Z', -120],
    ['America/Danmarkshavn', '1996-01-01T03:00:00Z', 180],
    ['Antarctica/Vostok', '1994-01-31T17:00:00Z', -420],
    ['Antarctica/Vostok', '1994-11-01T00:00:00Z', 420],
    ['Pacific/Enderbury', '1994-12-31T11:00:00Z', 1440],
    ['Pacific/Apia', '2011-12-30T10:00:00Z', 1440],
  ] as const) {
    const c = calendar({ zone });
    const change = at(text);
    expect([zone, (c.offsetSeconds(change) - c.offsetSeconds(change - 1)) / 60]).toEqual([
      zone,
      minutes,
    ]);
    expect([c.window(change - 1, 'hour').endMs, c.window(change, 'hour').startMs]).toEqual([
      change,
      change,
    ]);
    let { startMs } = c.window(change - 86_400_000, 'day');
    for (let day = 0; day < 4; day += 1) {
      const next = c.window(startMs, 'day');
      expect([zone, next.startMs]).toEqual([zone, startMs]);
      startMs = next.endMs;
    }
    expect(startMs).toBeGreaterThan(change + 86_400_000);
  }
});

test('F12: a year of ISO weeks may have 53 of them', () => {
  const c = calendar({ zone: 'America/New_York' });
  for (const year of [1976, 2004, 2009, 2015, 2020, 2026]) {
    expect(c.isoWeek(at(`${year}-12-31T12:00:00Z`))).toMatchObject({ isoYear: year, isoWeek: 53 });
    expect(c.isoWeek(at(`${year + 1}-01-04T12:00:00Z`)).isoYear).toBe(year + 1);
  }
  expect(c.isoWeek(at('2027-01-03T12:00:00Z'))).toMatchObject({ isoYear: 2026, isoWeek: 53 });
  expect(c.isoWeek(at('2027-01-04T12:00:00Z'))).toMatchObject({ isoYear: 2027, isoWeek: 1 });
});

test('luxon stands at the edge: a DateTime goes in and comes out', () => {
  const c = calendar({ zone: 'Europe/Berlin' });
  const noon = DateTime.fromISO('2026-11-22T12:00', { zone: 'Europe/Berlin' });
  expect(toDateTime(c, c.window(noon, 'day').startMs).toISO()).toBe(
    '2026-11-22T00:00:00.000+01:00',
  );
  expect(() => toDateTime(calendar({ zone: 'FOO+3' }), 0)).toThrow(
    expect.objectContaining({ code: '22023', field: 'zone' }),
  );
});
