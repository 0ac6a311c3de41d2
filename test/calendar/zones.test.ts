import { expect, test } from 'vitest';
import { localToUtc, utcToLocal, zoneOf } from '../../src/calendar/zones.ts';

test('an infinite time is infinite in every zone, and is found without a walk', () => {
  // Was an endless loop: the search for the next change of offset went on to the infinity.
  const denver = zoneOf('America/Denver');
  for (const infinity of [Infinity, -Infinity]) {
    expect(localToUtc(denver, infinity)).toBe(infinity);
    expect(utcToLocal(denver, infinity)).toBe(infinity);
  }
});
