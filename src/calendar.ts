/** `analyticdb/calendar`: time zones, business and fiscal calendars. Pure; needs no database. */
export { calendar, Calendar } from './calendar/calendar.ts';
export type {
  CalendarWindow,
  Disambiguation,
  Duration,
  Span,
  WindowOptions,
} from './calendar/calendar.ts';
export type { Roll } from './calendar/business-days.ts';
export type { InstantInput } from './calendar/instants.ts';
export type { CalendarSpec, Holiday, HoursText, LeapWeek, Weekday } from './calendar/spec.ts';
export type { UnitName } from './calendar/units.ts';
export { TZ_VERSION as tzVersion } from './calendar/zones.ts';
export { DbError } from './base/errors.ts';
export {
  holidaysFromICal,
  holidaysFromJson,
  holidaysFromPackage,
  type YearRange,
} from './calendar/holidays.ts';
export { toDateTime } from './calendar/luxon.ts';
