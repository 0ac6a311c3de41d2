import { DateTime } from 'luxon';
import { DbError } from '../base/errors.ts';
import type { Calendar } from './calendar.ts';
import { parseInstantMs, type InstantInput } from './instants.ts';
import { UTC } from './zones.ts';

/**
 * The edge towards luxon. Everything that takes an instant takes a DateTime; this gives one back, in the calendar's zone. Nothing
 * else of luxon is used: its own boundaries differ at repeated midnights (docs/calendars.md).
 */
export function toDateTime(calendar: Calendar, instant: InstantInput): DateTime<true> {
  const ms = parseInstantMs(instant, UTC, 'instant');
  const made = DateTime.fromMillis(ms, { zone: calendar.zone });
  if (!made.isValid)
    throw new DbError('22023', `luxon does not know the time zone "${calendar.zone}"`, {
      field: 'zone',
      hint: 'Use an IANA name for a calendar whose instants become DateTimes.',
    });
  return made;
}
