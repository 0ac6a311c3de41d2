import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const EDGE = 'calendar/edge-cases.test.ts';
const PLAN = 'windows/plan-windows.test.ts';
const QUERY = 'windows/window-query.test.ts';
const LIVE = 'windows/live-windows.test.ts';

/**
 * The list of hard cases that calendars and windows were built from (facts of the tz data, where luxon differs, policies, what must
 * hold of the whole), line by line, and the test that names each. A line without a test, or a test that is renamed, fails here.
 */
const LINES: readonly (readonly [line: string, file: string, name: string])[] = [
  // Facts.
  ['days of 21 to 27 hours', EDGE, 'F1:'],
  ['local midnight skipped', EDGE, 'F2:'],
  ['changes off the quarter hour: St Johns, Goose Bay, Moncton at 00:01', EDGE, 'F3:'],
  ['day boundaries off the quarter hour: Kiritimati before 1979-10', EDGE, 'F4:'],
  ['local mean time has seconds; Monrovia until 1972', EDGE, 'F5:'],
  ['changes less than seven days apart', EDGE, 'F6:'],
  ['halving seconds beyond 2^32; rules beyond the table', EDGE, 'F7:'],
  ['days of no length: Apia, Enderbury, Fakaofo, Kiritimati, Kwajalein', EDGE, 'F8:'],
  ['leap years 1900, 2000, 2100', EDGE, 'F9:'],
  ['local date entered again: St Johns, Casey', EDGE, 'L7:'],
  ['changes off the quarter hour: Gaza, Hebron, Casey, Guam, Saipan, and all others', EDGE, 'F10:'],
  ['changes by 40, 44:30, 45, 90 minutes, 2, 3, 7 and 24 hours', EDGE, 'F11:'],
  ['ISO years of 53 weeks', EDGE, 'F12:'],
  ['any step from Intl gives the table: 10^5 random instants', 'calendar/tiling.test.ts', 'A3:'],
  // Where luxon is wrong, or chooses otherwise.
  ['L1 repeated midnight', EDGE, 'L1:'],
  ['L2 the eve of a repeated midnight', EDGE, 'L2:'],
  ['L3 a month that begins with one', EDGE, 'L3:'],
  ['L4 Lord Howe, 30 minutes back', EDGE, 'L4:'],
  ['L5 the hour before a gap', EDGE, 'L5:'],
  ['L6 jumps of 15, 30, 40, 44:30, 45 minutes', EDGE, 'L6:'],
  ['L7 second pass of 00:01', EDGE, 'L7:'],
  ['L8 sums that land in a repeated hour', EDGE, 'L8:'],
  ['L9 a day that does not exist', EDGE, 'L9:'],
  ['L10 negative summer time: Dublin, Casablanca', EDGE, 'L10:'],
  ['L11 unknown zone, invalid date', EDGE, 'L11:'],
  ['L12 a day is no number of hours', EDGE, 'L12:'],
  // Policies.
  ['P1 contiguous, half-open, first instant not before', EDGE, 'P1:'],
  ['P2 sub-day windows are cut at changes; mergeRepeated', EDGE, 'P2:'],
  ['P3 a date entered again', EDGE, 'P3:'],
  ['P4 sums of local time', EDGE, 'P4:'],
  ['P5 windows of no length', EDGE, 'P5:'],
  ['P5 and a comparison with one', PLAN, 'each day is beside the same day of the month'],
  ['P6 three words of rolling windows', PLAN, 'P6:'],
  ['P7 comparison of running windows, 53 weeks', PLAN, 'P7:'],
  ['P8 one now', QUERY, 'P8:'],
  // What must hold of the whole; A1 is test/conformance/time; A4 at length is `npm run check:tiles`.
  ['A2 every unit tiles the line', 'calendar/tiling.test.ts', 'A2:'],
  ['A4 random lives of a table', 'windows/tiles.test.ts', 'long lives of a table'],
  ['A5 the zone of the process', EDGE, 'A5:'],
  ['A6 live windows across changes of clocks', LIVE, 'A6: live hours'],
  ['A6 midnight in the right zone', LIVE, 'A6: at midnight'],
  ['A7 no data, one row, the future', QUERY, 'A7:'],
  [
    'A7 windows finer than what is kept',
    'windows/demoted-tables.test.ts',
    'a window finer than what is kept is refused',
  ],
  ['A8 no Intl on the way of a query', EDGE, 'A8:'],
  ['A9 rules given by hand', EDGE, 'A9:'],
  ['A10 53 weeks under three leap weeks', PLAN, 'A10:'],
  // What the files of conformance/time leave to tests.
  ['retention', 'windows/demoted-tables.test.ts', 'a retention that ends deletes'],
  ['local mean time before 1973', EDGE, 'F5:'],
  ['a tz override', EDGE, 'A9:'],
  ['comparisons across years of 53 weeks', PLAN, 'A10:'],
  ['session windows', QUERY, 'sessions:'],
  ['hopping windows', PLAN, 'hopping windows'],
  ['gap fill', QUERY, 'fill:'],
  ['late data', LIVE, 'a window that is followed is told when a row comes, late ones too'],
];

test('every line of the list of hard cases is named by a test', () => {
  const texts = new Map<string, string>();
  const missing = LINES.filter(([, file, name]) => {
    const text = texts.get(file) ?? readFileSync(join(root, file), 'utf8');
    texts.set(file, text);
    return !new RegExp(`test\\(\\s*['"\`]${name.replaceAll(/[.*+?^$()|[\]\\]/g, '\\$&')}`).test(
      text,
    );
  });
  expect(missing).toEqual([]);
});
