import { expect, test } from 'vitest';
import { localToUtc, offsetOfText, utcToLocal, zoneOf } from '../../src/calendar/zones.ts';

test('an infinite time is infinite in every zone, and is found without a walk', () => {
  // Was an endless loop: the search for the next change of offset went on to the infinity.
  const denver = zoneOf('America/Denver');
  for (const infinity of [Infinity, -Infinity]) {
    expect(localToUtc(denver, infinity)).toBe(infinity);
    expect(utcToLocal(denver, infinity)).toBe(infinity);
  }
});

test('local times become instants as PostgreSQL chooses: before the gap, after the repeated hour', () => {
  const berlin = zoneOf('Europe/Berlin');
  const micros = (text: string): number => Date.parse(`${text}Z`) * 1000;
  for (const [local, utc] of [
    ['2026-03-29T01:59', '2026-03-29T00:59'],
    // The clock goes from 02:00 to 03:00.
    ['2026-03-29T02:00', '2026-03-29T01:00'],
    ['2026-03-29T02:30', '2026-03-29T01:30'],
    ['2026-03-29T03:00', '2026-03-29T01:00'],
    // And from 03:00 to 02:00: of two the later.
    ['2026-10-25T01:59', '2026-10-24T23:59'],
    ['2026-10-25T02:30', '2026-10-25T01:30'],
    ['2026-10-25T03:00', '2026-10-25T02:00'],
    ['2026-11-22T12:00', '2026-11-22T11:00'],
  ] as const) {
    expect([local, localToUtc(berlin, micros(local))]).toEqual([local, micros(utc)]);
  }
  expect(localToUtc(zoneOf('Asia/Kolkata'), micros('2026-11-22T12:00'))).toBe(
    micros('2026-11-22T06:30'),
  );
  expect(localToUtc(zoneOf('FOO+3'), micros('2026-11-22T12:00'))).toBe(micros('2026-11-22T15:00'));
});

test('times beyond 2^53 microseconds are exact', () => {
  const berlin = zoneOf('Europe/Berlin');
  // The summer of 4400, and one of long ago, which is local mean time.
  const summer = BigInt(Date.UTC(4400, 6, 1)) * 1000n;
  expect(utcToLocal(berlin, summer)).toBe(summer + 7_200_000_000n);
  expect(localToUtc(berlin, summer)).toBe(summer - 7_200_000_000n);
  const past = BigInt(Date.UTC(-2000, 6, 1)) * 1000n - 1n;
  expect(utcToLocal(berlin, past)).toBe(past + 3_208_000_000n);
  // Back below 2^53 it is a number again.
  expect(utcToLocal(zoneOf('FOO+3'), 2n ** 53n + 5n)).toBe(
    Number(2n ** 53n + 5n - 10_800_000_000n),
  );
  expect(utcToLocal(zoneOf('FOO+3'), -(2 ** 53) + 1)).toBe(-(2n ** 53n) + 1n - 10_800_000_000n);
});

test('Europe/London is at nought in winter', () => {
  expect(utcToLocal(zoneOf('Europe/London'), 0)).toBe(3_600_000_000);
  expect(utcToLocal(zoneOf('Europe/London'), Date.UTC(2026, 0, 1) * 1000)).toBe(
    Date.UTC(2026, 0, 1) * 1000,
  );
});

test('an offset is read as whatever version of ICU writes it', () => {
  expect(['05 GMT-04:56:02', '00h GMT+00:00', '12 GMT', '01 GMT+13:45'].map(offsetOfText)).toEqual([
    -17_762, 0, 0, 49_500,
  ]);
});
