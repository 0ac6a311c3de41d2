import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CountsScratch } from '../../src/views/counts-scratch.ts';
import { ValueList } from '../../src/views/value-list.ts';

function valuesOf(list: ValueList): number[] {
  return list
    .chunks()
    .flatMap((chunk) => [...chunk])
    .toSorted((a, b) => a - b);
}

// Around the 1,024 values of an array, where a list gets another and loses it: room that was made for what was not pushed then, and the last
// value of an array that takes its own place, had lost count.
test('a list holds what was pushed and has not been taken out or moved, whatever its arrays', () => {
  const steps = fc.array(
    fc.oneof(
      fc.record({
        kind: fc.constant('push' as const),
        count: fc.constantFrom(1, 3, 60, 1023, 1024, 1025, 3000),
        range: fc.constantFrom(1, 2, 1000, 1e9),
        above: fc.constantFrom(NaN, 0.2),
        most: fc.constantFrom(0.8, Infinity, -1),
      }),
      fc.record({
        kind: fc.constant('take' as const),
        count: fc.constantFrom(1, 2, 100, 1023, 1024, 1025, Infinity),
        from: fc.constantFrom(0, 0.5, 1),
      }),
      fc.record({
        kind: fc.constant('move' as const),
        share: fc.double({ min: 0, max: 1, noNaN: true }),
      }),
      fc.record({
        kind: fc.constant('remove' as const),
        share: fc.double({ min: 0, max: 1, noNaN: true }),
      }),
    ),
    { maxLength: 25 },
  );
  fc.assert(
    fc.property(steps, (given) => {
      const list = new ValueList();
      const scratch = new CountsScratch();
      let there: number[] = [];
      let seed = 1;
      for (const step of given) {
        if (step.kind === 'push') {
          const values = Float64Array.from({ length: step.count }, () => {
            seed = (Math.imul(seed, 48_271) >>> 0) % 2_147_483_647;
            return Math.floor((seed / 2_147_483_647) * step.range) / step.range;
          });
          const all = [...values];
          const isWithin = (value: number): boolean => !(value <= step.above) && value <= step.most;
          const others = list.pushWithin(values, values.length, step.above, step.most);
          expect([...values.subarray(0, others)]).toEqual(all.filter((value) => !isWithin(value)));
          there.push(...all.filter(isWithin));
        } else if (step.kind === 'take') {
          const count = Math.min(step.count, there.length);
          const gone = there.splice(Math.floor((there.length - count) * step.from), count);
          if (gone.length === 0) continue;
          const leaving = new ValueList();
          for (const value of gone) leaving.push(value);
          scratch.note(leaving);
          list.removeNoted(scratch);
        } else if (there.length > 0) {
          const value = there[Math.min(there.length - 1, Math.floor(there.length * step.share))]!;
          if (step.kind === 'remove') {
            expect(list.remove(value)).toBe(true);
            there.splice(there.indexOf(value), 1);
            expect(list.remove(value + 0.5 ** 40)).toBe(false);
          } else {
            const other = new ValueList();
            list.moveGreater(value, other);
            expect(valuesOf(other)).toEqual(
              there.filter((each) => each > value).toSorted((a, b) => a - b),
            );
            there = there.filter((each) => each <= value);
          }
        }
        expect(list.count).toBe(there.length);
        expect(list.least()).toBe(there.reduce((a, b) => Math.min(a, b), Infinity));
        expect(list.greatest()).toBe(there.reduce((a, b) => Math.max(a, b), -Infinity));
      }
      expect(valuesOf(list)).toEqual(there.toSorted((a, b) => a - b));
    }),
    { numRuns: 150 },
  );
});

test('how many values differ is told about right, whether one of them comes often or not', () => {
  const scratch = new CountsScratch();
  for (const [distinct, often] of [
    [10, 0],
    [3_000, 0],
    [30_000, 0],
    [30_000, 60_000],
    [100_000, 20_000],
  ] as const) {
    const list = new ValueList();
    for (let step = 0; step < Math.max(100_000, distinct); step += 1) list.push(step % distinct);
    for (let copy = 0; copy < often; copy += 1) list.push(7);
    // Of few, it is only told that they are few.
    const error = Math.abs(scratch.distinctCount(list) - distinct);
    expect(error).toBeLessThan(distinct / 3 + list.count / 100);
  }
});
