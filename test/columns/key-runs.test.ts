import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MemoryLease } from '../../src/base/memory-lease.ts';
import { KeyRuns } from '../../src/columns/key-runs.ts';

test('a key is found under the row id it came with, and the row by its id, in however many runs, and what was undone is forgotten', () => {
  const steps = fc.array(
    fc.record({
      runs: fc.integer({ min: 1, max: 90 }),
      keyGap: fc.integer({ min: 0, max: 3 }),
      rowGap: fc.integer({ min: 0, max: 2 }),
      length: fc.integer({ min: 1, max: 5 }),
      undone: fc.option(fc.nat({ max: 400 }), { freq: 3 }),
    }),
    { minLength: 1, maxLength: 8 },
  );
  fc.assert(
    fc.property(steps, (given) => {
      const runs = new KeyRuns(new MemoryLease(undefined));
      let rowIdOf = new Map<number, number>();
      let nextKey = -50;
      let nextRowId = 0;
      for (const { runs: count, keyGap, rowGap, length, undone } of given) {
        for (let run = 0; run < count; run += 1) {
          nextKey += keyGap;
          nextRowId += rowGap;
          runs.addRun(nextKey, nextRowId, length);
          for (let step = 0; step < length; step += 1)
            rowIdOf.set(nextKey + step, nextRowId + step);
          nextKey += length;
          nextRowId += length;
        }
        if (undone !== null) {
          nextRowId = Math.max(0, nextRowId - undone);
          runs.forgetFrom(nextRowId);
          rowIdOf = new Map([...rowIdOf].filter(([, rowId]) => rowId < nextRowId));
          nextKey = Math.max(-50, ...[...rowIdOf.keys()].map((key) => key + 1));
        }
        for (let key = -55; key < nextKey + 5; key += 1)
          expect(runs.find(key)).toBe(rowIdOf.get(key) ?? -1);
        // In order, as rows are mostly asked for, and in leaps.
        const rowIds = new Set(rowIdOf.values());
        for (let rowId = -2; rowId < nextRowId + 5; rowId += 1)
          expect(runs.hasRow(rowId)).toBe(rowIds.has(rowId));
        for (let leap = 0; leap < 50; leap += 1) {
          const rowId = (leap * 7_919) % (nextRowId + 5);
          expect(runs.hasRow(rowId)).toBe(rowIds.has(rowId));
        }
      }
    }),
    { numRuns: 60 },
  );
});
