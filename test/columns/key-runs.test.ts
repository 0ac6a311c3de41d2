import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MemoryAccount } from '../../src/base/memory.ts';
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
      /** Of the rows, the share that is gone for ever. */
      gone: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { freq: 2 }),
    }),
    { minLength: 1, maxLength: 8 },
  );
  fc.assert(
    fc.property(steps, (given) => {
      const runs = new KeyRuns(new MemoryLease(undefined));
      let rowIdOf = new Map<number, number>();
      let nextKey = -50;
      let nextRowId = 0;
      let goneTo = 0;
      let goneKey = -50;
      for (const { runs: count, keyGap, rowGap, length, undone, gone } of given) {
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
          nextRowId = Math.max(goneTo, nextRowId - undone);
          runs.forgetFrom(nextRowId);
          rowIdOf = new Map([...rowIdOf].filter(([, rowId]) => rowId < nextRowId));
          nextKey = Math.max(goneKey, ...[...rowIdOf.keys()].map((key) => key + 1));
        }
        if (gone !== null) {
          goneTo = Math.max(goneTo, Math.floor(nextRowId * gone));
          runs.forgetBefore(goneTo);
          for (const [key, rowId] of rowIdOf)
            if (rowId < goneTo) goneKey = Math.max(goneKey, key + 1);
          // Nobody asks for them.
          rowIdOf = new Map([...rowIdOf].filter(([, rowId]) => rowId >= goneTo));
        }
        const firstKey = Math.min(nextKey, ...rowIdOf.keys());
        for (let key = goneTo === 0 ? -55 : firstKey; key < nextKey + 5; key += 1)
          expect(runs.find(key)).toBe(rowIdOf.get(key) ?? -1);
        // In order, as rows are mostly asked for, and in leaps.
        const rowIds = new Set(rowIdOf.values());
        for (let rowId = goneTo === 0 ? -2 : goneTo; rowId < nextRowId + 5; rowId += 1)
          expect(runs.hasRow(rowId)).toBe(rowIds.has(rowId));
        for (let leap = 0; leap < 50; leap += 1) {
          const rowId = goneTo + ((leap * 7_919) % (nextRowId + 5 - goneTo));
          expect(runs.hasRow(rowId)).toBe(rowIds.has(rowId));
        }
      }
    }),
    { numRuns: 60 },
  );
});

test('runs of rows that are gone give their room back', () => {
  const memory = new MemoryAccount('test');
  const runs = new KeyRuns(new MemoryLease(memory));
  for (let run = 0; run < 200_000; run += 1) {
    runs.addRun(run * 100, run * 20, 20);
    if (run % 100 === 0) runs.forgetBefore((run - 1000) * 20);
  }
  // 200,000 of 24 bytes.
  expect(memory.usedBytes).toBeLessThan(500_000);
  for (let run = 199_000; run < 200_000; run += 1) {
    expect(runs.find(run * 100 + 19)).toBe(run * 20 + 19);
    expect(runs.find(run * 100 + 20)).toBe(-1);
    expect(runs.hasRow(run * 20)).toBe(true);
  }
  runs.clear();
  expect(memory.usedBytes).toBe(0);
});
