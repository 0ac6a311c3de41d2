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

test('pairs that have gone give their room back, whatever their hashes, and those that stay are found', () => {
  const hash = fc.oneof(
    fc.constant((index: number) => Math.imul(index, 0x9e37_79b1)),
    // All in few parts; all in one, which no split divides; most in one.
    fc.constant((index: number) => index),
    fc.constant(() => 5),
    fc.constant((index: number) => (index % 3 === 0 ? Math.imul(index, 0x85eb_ca6b) : 7 << 20)),
  );
  const phase = fc.record({
    to: fc.oneof(fc.nat(20_000), fc.nat(40), fc.constant(0)),
    isNewestFirst: fc.boolean(),
  });
  fc.assert(
    fc.property(
      hash,
      fc.constantFrom(0, 2 ** 32 - 100),
      fc.array(phase, { minLength: 1, maxLength: 6 }),
      (hashOf, base, phases) => {
        const memory = new MemoryAccount('test');
        const parts = new HashParts(new MemoryLease(memory));
        const living: number[] = [];
        let next = 0;
        for (const { to, isNewestFirst } of phases) {
          // Of equal hashes each removal looks at all.
          const end = hashOf(1) === hashOf(2) ? to % 2000 : to;
          while (living.length < end) {
            parts.add(hashOf(next), base + next);
            living.push(next);
            next += 1;
          }
          const going = isNewestFirst
            ? living.splice(end)
            : living.splice(0, living.length - end).reverse();
          for (const each of going.reverse())
            expect(parts.remove(hashOf(each), base + each)).toBe(true);
          expect(parts.count).toBe(living.length);
          for (let at = 0; at < living.length; at += 1 + (living.length >>> 6))
            expect(valuesOf(parts, hashOf(living[at]!))).toContain(base + living[at]!);
          for (const each of going.slice(0, 20))
            expect(valuesOf(parts, hashOf(each))).not.toContain(base + each);
          // Hashes that are alike lead to a directory as deep as may be.
          const deep = hashOf(1) !== 0x9e37_79b1 << 0 && living.length > 0 ? 2 ** 22 : 0;
          expect(memory.usedBytes).toBeLessThan(1024 + living.length * 200 + deep);
        }
        parts.clear();
        expect(memory.usedBytes).toBe(0);
      },
    ),
    { numRuns: 20 },
  );
});

test('of a hundred thousand pairs that have gone but for ten, a few hundred bytes stay', () => {
  const memory = new MemoryAccount('test');
  const parts = new HashParts(new MemoryLease(memory));
  const hashOf = (index: number): number => Math.imul(index, 0x9e37_79b1);
  for (let index = 0; index < 100_000; index += 1) parts.add(hashOf(index), index);
  expect(memory.usedBytes).toBeGreaterThan(800_000);
  for (let index = 0; index < 100_000; index += 1)
    if (index % 10_000 !== 0) parts.remove(hashOf(index), index);
  expect(memory.usedBytes).toBeLessThan(1000);
  for (let index = 0; index < 100_000; index += 1)
    expect(parts.first(hashOf(index))).toBe(index % 10_000 === 0 ? index : -1);
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
