import { expect, test } from 'vitest';
import { calendar, type Calendar } from '../../src/calendar/calendar.ts';
import { daysFromCivil } from '../../src/calendar/civil.ts';
import type { RulerWindow } from '../../src/calendar/calendar.ts';

/**
 * Windows tile the line: no gap, no overlap, start ≤ t < end, and the start of a start is itself. Every day from 1972 to 2037 in
 * every zone that Intl knows and all units is `npm run check:zones`; here a few zones that have what is hard.
 */
const SAMPLE = [
  'America/Havana',
  'America/St_Johns',
  'Asia/Gaza',
  'Australia/Lord_Howe',
  'Pacific/Apia',
  'Antarctica/Casey',
];
const isFull = process.env['ADB_ZONES'] === 'all';
const zones = isFull ? Intl.supportedValuesOf('timeZone') : SAMPLE;
const [firstYear, lastYear] = isFull ? [1972, 2037] : [2008, 2012];

const CIVIL = [
  'day',
  'week',
  'isoWeek',
  'month',
  'quarter',
  'year',
  'fiscalQuarter',
  'fiscalYear',
  'businessDay',
  'retailWeek',
  'retailPeriod',
  'retailQuarter',
  'retailYear',
];
const CLOCK = ['15min', '30min', 'hour', '6h'];

test(
  'A2: windows of all units tile the line',
  () => {
    const begun = performance.now();
    let checked = 0;
    for (const zone of zones) checked += tilesTheLine(zone);
    if (isFull)
      console.log(
        `${zones.length} zones, ${firstYear} to ${lastYear}, ${CIVIL.length + CLOCK.length} units: ${checked} checks in ${((performance.now() - begun) / 1000).toFixed(1)} s`,
      );
    expect(checked).toBeGreaterThan(1000);
  },
  30 * 60_000,
);

function tilesTheLine(zone: string): number {
  const c = calendar({
    zone,
    weekStart: 'sunday',
    fiscalYearStart: 4,
    holidays: (year) => [`${year}-01-01`, `${year}-12-25`],
    retail: { pattern: '4-5-4', ends: 'nearest', weekday: 'saturday', month: 1 },
  });
  const from = daysFromCivil(firstYear, 1, 1) * 86_400;
  const to = daysFromCivil(lastYear + 1, 1, 1) * 86_400;
  let checked = 0;
  const starts: number[] = [];
  for (const unit of CIVIL) {
    const ruler = c.ruler(unit);
    let before: RulerWindow | undefined;
    for (let at = ruler.at(from); at.start < to; at = ruler.next(at)) {
      checked += 1;
      holds(at.start < at.end, zone, unit, at);
      if (before !== undefined) holds(before.end === at.start, zone, unit, at);
      // By another way than the memory of the last window.
      holds(ruler.at(at.end - 1).start === at.start, zone, unit, at);
      holds(ruler.at(at.start - 1).end === at.start, zone, unit, at);
      holds(ruler.at(at.start).end === at.end, zone, unit, at);
      before = at;
      if (unit === 'day') starts.push(at.start);
    }
  }
  checked += everyDay(c, zone, starts);
  return checked;
}

/** Around each local midnight, and within each day: every unit has one window there, which its neighbours touch. */
function everyDay(c: Calendar, zone: string, starts: readonly number[]): number {
  let checked = 0;
  for (const unit of [...CIVIL, ...CLOCK]) {
    const ruler = c.ruler(unit);
    for (let index = 0; index < starts.length; index += 1) {
      const start = starts[index]!;
      for (const t of [start, start - 1, start + ((index * 7919) % 86_400)]) {
        checked += 1;
        const at = ruler.at(t);
        if (!(at.start <= t && t < at.end)) holds(false, zone, unit, at);
        // Nothing longer than a day ends within one.
        if (ruler.kind === 'civil') {
          if (ruler.at(at.start) !== at) holds(false, zone, unit, at);
          continue;
        }
        if (at.end - at.start > 6 * 3600) holds(false, zone, unit, at);
        if (ruler.at(at.start).end !== at.end) holds(false, zone, unit, at);
        if (ruler.at(at.end).start !== at.end) holds(false, zone, unit, at);
        if (ruler.at(at.start - 1).end !== at.start) holds(false, zone, unit, at);
      }
    }
  }
  return checked;
}

function holds(condition: boolean, zone: string, unit: string, at: RulerWindow): void {
  if (condition) return;
  throw new Error(
    `${unit} in ${zone}: ${new Date(at.start * 1000).toISOString()} to ${new Date(at.end * 1000).toISOString()}`,
  );
}

test(
  'A3: a table of offsets is what Intl says, at random instants',
  () => {
    let seed = 1;
    const random = (): number => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
    const count = isFull ? 5000 : 300;
    for (const zone of zones) {
      const c = calendar({ zone });
      const format = new Intl.DateTimeFormat('en-US', {
        timeZone: zone,
        timeZoneName: 'longOffset',
      });
      for (let each = 0; each < count; each += 1) {
        // From 1890, with its local mean times, to 2500, where rules repeat.
        const seconds = Math.floor((random() * 610 - 80) * 31_556_952);
        const [, sign, hours, minutes, rest] =
          /GMT(?:([+-])(\d\d):(\d\d)(?::(\d\d))?)?$/.exec(format.format(seconds * 1000)) ?? [];
        const size = Number(hours ?? 0) * 3600 + Number(minutes ?? 0) * 60 + Number(rest ?? 0);
        expect(c.offsetSeconds(seconds * 1000), `${zone} at ${seconds}`).toBe(
          sign === '-' ? -size : size,
        );
      }
    }
  },
  30 * 60_000,
);
