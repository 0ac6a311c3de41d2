import type { Calendar, Span } from '../calendar/calendar.ts';
import { civilText } from '../calendar/civil.ts';
import { nextChange } from '../calendar/zones.ts';

const NOTES_MAX = 50;

/** Days within the span that have other than 24 hours, and days that are skipped: those in which an offset changes. */
export function offsetNotes({ startMs, endMs }: Span, calendar: Calendar): string[] {
  const notes: string[] = [];
  const ruler = calendar.ruler('day');
  const zone = calendar.timeZone;
  const first = ruler.at(Math.floor(startMs / 1000));
  const until = Math.ceil(endMs / 1000) + LONGEST_DAY_SECONDS;
  let noted = -Infinity;
  // The instant of the change lies in the day before a skipped one, or begins the day after: both are looked at.
  for (let at = first.start - 1; notes.length < NOTES_MAX;) {
    const change = nextChange(zone, at, until);
    if (change === undefined) break;
    at = change.at;
    for (const instant of [at - 1, at]) {
      const day = ruler.at(instant);
      if (day.start <= noted || day.start < first.start || day.start * 1000 >= endMs) continue;
      noted = day.start;
      const hours = (day.end - day.start) / 3600;
      if (hours !== 24) notes.push(`${civilText(day.day)} has ${hoursText(hours)}`);
      const next = ruler.next(day);
      for (let skipped = day.day + 1; skipped < next.day; skipped += 1)
        notes.push(`${civilText(skipped)} does not exist`);
    }
  }
  return notes;
}

/** No day has been longer. */
const LONGEST_DAY_SECONDS = 48 * 3600;

export function hoursText(hours: number): string {
  return `${Number(hours.toFixed(4))} ${hours === 1 ? 'hour' : 'hours'}`;
}
