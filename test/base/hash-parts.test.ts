import fc from 'fast-check';
import { expect, test } from 'vitest';
import { HashParts } from '../../src/base/hash-parts.ts';
import { MemoryAccount } from '../../src/base/memory.ts';
import { MemoryLease } from '../../src/base/memory-lease.ts';

const value = fc.oneof(
  fc.nat(20),
  fc.integer({ min: 2 ** 32 - 3, max: 2 ** 32 + 3 }),
  fc.constant(2 ** 52),
);
const step = fc.record({
  adds: fc.integer({ min: 0, max: 3 }).map((kind) => kind > 0),
  hash: fc.oneof(fc.integer({ min: -3, max: 3 }), fc.integer()),
  value,
});

test('hash parts are a multiset of pairs, and account for their bytes', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), fc.nat(4000), (steps, filler) => {
      const memory = new MemoryAccount('test');
      const parts = new HashParts(new MemoryLease(memory));
      const model = new Map<number, number[]>();
      for (let index = 0; index < filler; index += 1)
        add(parts, model, Math.imul(index, 0x9e37_79b1), index);
      for (const { adds, hash, value: each } of steps) {
        if (adds) add(parts, model, hash, each);
        else {
          const values = model.get(hash) ?? [];
          const at = values.indexOf(each);
          expect(parts.remove(hash, each)).toBe(at >= 0);
          if (at >= 0) values.splice(at, 1);
        }
        expect(valuesOf(parts, hash)).toEqual([...(model.get(hash) ?? [])].sort((a, b) => a - b));
      }
      let count = 0;
      for (const [hash, values] of model) {
        count += values.length;
        expect(valuesOf(parts, hash)).toEqual([...values].sort((a, b) => a - b));
      }
      expect(parts.count).toBe(count);
      expect(memory.usedBytes).toBeGreaterThanOrEqual(count * 8);
      parts.clear();
      expect(memory.usedBytes).toBe(0);
    }),
    { numRuns: 60 },
  );
});

test('ten thousand values under one hash are kept, in one large part', () => {
  const parts = new HashParts(new MemoryLease(undefined));
  for (let index = 0; index < 10_000; index += 1) parts.add(7, index);
  expect(valuesOf(parts, 7).length).toBe(10_000);
  expect(parts.remove(7, 5000)).toBe(true);
  expect(valuesOf(parts, 7)).not.toContain(5000);
});

function add(parts: HashParts, model: Map<number, number[]>, hash: number, value: number): void {
  parts.add(hash, value);
  const values = model.get(hash);
  if (values === undefined) model.set(hash, [value]);
  else values.push(value);
}

function valuesOf(parts: HashParts, hash: number): number[] {
  const values: number[] = [];
  for (let each = parts.first(hash); each >= 0; each = parts.next()) values.push(each);
  return values.sort((a, b) => a - b);
}
