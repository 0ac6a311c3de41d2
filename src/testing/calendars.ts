import type { Arbitrary } from 'fast-check';
import type { CalendarSpec } from '../calendar/spec.ts';
import { fastCheck } from './fast-check.ts';

const WEEKDAYS = [
  'monday',
  'tuesday',
  'wednesday',
  'thursday',
  'friday',
  'saturday',
  'sunday',
] as const;

/** Zones where much happens: hours that change by day, by half an hour, at midnight, by a whole day, or never. */
const ZONES = [
  'UTC',
  'Europe/Berlin',
  'America/New_York',
  'Australia/Lord_Howe',
  'America/Sao_Paulo',
  'Asia/Kathmandu',
  'Pacific/Apia',
  'Africa/Casablanca',
  'Asia/Tokyo',
];

/** What `calendar()` and `db.calendars.set` take: every field now and then, all of them right. */
export function calendars(): Arbitrary<CalendarSpec> {
  const fc = fastCheck();
  const date = fc
    .tuple(fc.integer({ min: 2023, max: 2028 }), fc.integer({ min: 0, max: 364 }))
    .map(([year, day]) => new Date(Date.UTC(year, 0, 1 + day)).toISOString().slice(0, 10));
  const hours = fc
    .tuple(fc.integer({ min: 0, max: 11 }), fc.integer({ min: 12, max: 23 }))
    .map(([from, to]) => `${String(from).padStart(2, '0')}:30-${String(to).padStart(2, '0')}:00`);
  const month = fc.integer({ min: 1, max: 12 });
  return fc.record(
    {
      zone: fc.constantFrom(...ZONES),
      weekStart: fc.constantFrom(...WEEKDAYS),
      fiscalYearStart: month,
      weekend: fc.uniqueArray(fc.constantFrom(...WEEKDAYS), { maxLength: 3 }),
      holidays: fc.uniqueArray(date, { maxLength: 6 }),
      hours: fc.oneof(
        hours,
        fc.record({ 'monday-thursday': hours, friday: hours }),
        fc.record({ 'monday-friday': hours, '2026-12-24': hours }),
      ),
      retail: fc.record(
        {
          pattern: fc.constantFrom('4-4-5' as const, '4-5-4' as const, '5-4-4' as const),
          ends: fc.constantFrom('nearest' as const, 'last' as const),
          weekday: fc.constantFrom(...WEEKDAYS),
          month,
          leapWeek: fc.constantFrom('restate' as const, 'shift' as const, 'drop' as const),
        },
        { requiredKeys: [] },
      ),
    },
    { requiredKeys: [] },
  );
}
