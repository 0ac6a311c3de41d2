#!/usr/bin/env node
/**
 * The cases of time/ in the conformance corpus, through the public API of `analyticdb/calendar`. The cases of one kind of
 * question all go through one function, whatever their zone.
 *
 *     node test/conformance/time.mjs FOLDER [--json FILE] [--max-fail-print N]
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { calendar } from '../../dist/src/calendar.js';

const WEEKDAYS = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'];

const [folder, ...flags] = process.argv.slice(2);
const flag = (name) => (flags.includes(name) ? flags[flags.indexOf(name) + 1] : undefined);
const { cases, holidaySets } = JSON.parse(
  gunzipSync(readFileSync(join(folder, 'time-cases.json.gz'))),
);

const calendars = new Map();
function calendarOf(spec) {
  const key = JSON.stringify(spec);
  let made = calendars.get(key);
  if (made === undefined) calendars.set(key, (made = calendar(spec)));
  return made;
}

const ANSWERS = {
  window: ({ zone, ms, unit, weekStart, fiscalStart }) =>
    calendarOf({
      zone,
      ...(weekStart === undefined ? {} : { weekStart: WEEKDAYS[weekStart - 1] }),
      ...(fiscalStart === undefined ? {} : { fiscalYearStart: fiscalStart }),
    }).window(ms, unit),
  add: ({ zone, ms, unit, amount }) => ({ ms: calendarOf({ zone }).add(ms, { [unit]: amount }) }),
  relativeWindow: ({ zone, ms, name }) => calendarOf({ zone }).relative(name, ms),
  offset: ({ zone, ms }) => ({ seconds: calendarOf({ zone }).offsetSeconds(ms) }),
  isoWeek: ({ zone, ms }) => calendarOf({ zone }).isoWeek(ms),
  retailYear: ({ calendar: rule, endsInCalendarYear }) =>
    calendarOf({
      retail: {
        pattern: rule.pattern,
        ends: rule.rule,
        weekday: WEEKDAYS[rule.endWeekday - 1],
        month: rule.endMonth,
      },
    }).retailYear({ endsIn: endsInCalendarYear }),
  businessDayOffset: ({ date, n, roll, ...rest }) => ({
    date: businessCalendar(rest).addBusinessDays(date, n, { roll }),
  }),
  businessDayCount: ({ date, to, ...rest }) => ({
    count: businessCalendar(rest).businessDaysBetween(date, to),
  }),
};

function businessCalendar({ weekmask, holidaySet }) {
  return calendarOf({
    weekend: WEEKDAYS.filter((_, index) => weekmask[index] === '0'),
    holidays: holidaySets[holidaySet],
  });
}

let passed = 0;
const failures = [];
for (const each of cases) {
  let given;
  try {
    given = ANSWERS[each.op](each);
  } catch (cause) {
    given = { error: `${cause.code}: ${cause.message}` };
  }
  const expected = Object.entries(each.expected).filter(
    // The same instant as a text; sub-day windows have no label there.
    ([name]) => !['start', 'end', 'instant'].includes(name) || each.op === 'retailYear',
  );
  const good = expected.every(
    ([name, value]) => JSON.stringify(given[name]) === JSON.stringify(value),
  );
  if (good) passed += 1;
  else failures.push({ each, given });
}

const shown = Number(flag('--max-fail-print') ?? 10);
for (const { each, given } of failures.slice(0, shown))
  console.log(`FAIL ${each.id} ${JSON.stringify(each)} => ${JSON.stringify(given)}`);
console.log(`${passed} passed, ${failures.length} failed`);
const file = flag('--json');
if (file !== undefined) writeFileSync(file, JSON.stringify({ passed, failed: failures.length }));
process.exitCode = failures.length === 0 ? 0 : 1;
