import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DbError } from '../../src/base/errors.ts';
import { MemoryAccount } from '../../src/base/memory.ts';
import { MemoryLease } from '../../src/base/memory-lease.ts';
import { datumAt, vectorFromData } from '../../src/columns/build.ts';
import type { Vector } from '../../src/columns/vector.ts';
import { Arrangement } from '../../src/views/arrangement.ts';

const TEXT = { kind: 'text' } as const;
const INT = { kind: 'int4' } as const;

/** Rows of a number and a text under a key, and the slow model: how many copies there are of each row, by commit. */
class Subject {
  readonly memory = new MemoryAccount('test');
  readonly lease = new MemoryLease(this.memory);
  readonly arrangement = new Arrangement([INT, TEXT], [TEXT], this.lease);
  readonly keyCount: number;
  weights = new Map<number, number>();
  /** As they were before each commit that may be undone. */
  readonly #before: Map<number, number>[] = [];

  constructor(keyCount: number) {
    this.keyCount = keyCount;
  }

  get commitCount(): number {
    return this.#before.length;
  }

  add(row: number, weight: number): void {
    const columns = [vectorFromData(INT, [row]), vectorFromData(TEXT, [`row ${row}`])];
    this.arrangement.add(columns, this.#keysOf(row % this.keyCount), 0, weight);
    const after = (this.weights.get(row) ?? 0) + weight;
    if (after === 0) this.weights.delete(row);
    else this.weights.set(row, after);
  }

  checkpoint(): void {
    this.arrangement.checkpoint();
    this.#before.push(new Map(this.weights));
  }

  rollback(): void {
    this.lease.limits = false;
    this.arrangement.rollback();
    this.lease.limits = true;
    this.weights = this.#before.pop()!;
  }

  release(): void {
    this.arrangement.release();
    this.#before.shift();
    this.lease.limits = false;
    this.arrangement.shrink();
    this.lease.limits = true;
  }

  check(): void {
    expect(this.arrangement.rowCount).toBeGreaterThanOrEqual(this.weights.size);
    const found = new Map<number, number>();
    const keys = new Set(Array.from(this.weights.keys(), (row) => row % this.keyCount));
    for (const key of keys) {
      const slots: number[] = [];
      let slot = this.arrangement.first(this.#keysOf(key), 0);
      for (; slot >= 0; slot = this.arrangement.after(slot)) slots.push(slot);
      const [rows, texts] = this.arrangement.gather(Int32Array.from(slots), slots.length);
      slots.forEach((each, at) => {
        const row = datumAt(rows!, at) as number;
        expect(datumAt(texts!, at)).toBe(`row ${row}`);
        expect(row % this.keyCount).toBe(key);
        found.set(row, this.arrangement.weight(each));
      });
    }
    expect(found).toEqual(this.weights);
  }

  #keysOf(key: number): readonly Vector[] {
    return [vectorFromData(TEXT, [`key ${key}`])];
  }
}

const commit = fc.record({
  arrives: fc.oneof(fc.nat(30), fc.nat(3000)),
  leaves: fc.oneof(fc.nat(30), fc.nat(4000), fc.constant(Infinity)),
  end: fc.constantFrom('release', 'release', 'release', 'rollback', 'wait'),
  isRefused: fc.boolean(),
});

test('a side of a join has the rows that the model has, under their keys, whatever is undone, refused or moved', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(1, 7, 100_000),
      fc.array(commit, { minLength: 2, maxLength: 10 }),
      (keyCount, commits) => {
        const subject = new Subject(keyCount);
        let next = 0;
        for (const { arrives, leaves, end, isRefused } of commits) {
          subject.checkpoint();
          if (isRefused) subject.memory.limitBytes = subject.memory.usedBytes + arrives * 8;
          let refused = false;
          try {
            const leaving = [...subject.weights.keys()].filter((row) => row % 97 !== 0);
            for (const row of leaving.slice(0, leaves))
              subject.add(row, -subject.weights.get(row)!);
            for (let row = 0; row < arrives; row += 1, next += 1) {
              // Some come twice, and some that were there before.
              subject.add(next % 13 === 0 ? (next * 7) % (next + 1) : next, 1 + (next % 2));
            }
          } catch (cause) {
            if (!(cause instanceof DbError && cause.code === '53200')) throw cause;
            refused = true;
          }
          subject.memory.limitBytes = Infinity;
          if (refused || end === 'rollback') subject.rollback();
          else if (end === 'release') subject.release();
          subject.check();
        }
        while (subject.commitCount > 0) subject.release();
        subject.check();
        subject.lease.close();
        expect(subject.memory.usedBytes).toBe(0);
      },
    ),
    { numRuns: 25 },
  );
});

test('rows that have left give their room back, but for that of commits that may be undone', () => {
  const subject = new Subject(5000);
  subject.checkpoint();
  for (let row = 0; row < 20_000; row += 1) subject.add(row, 1);
  subject.release();
  const full = subject.memory.usedBytes;
  for (let from = 0; from < 20_000; from += 500) {
    subject.checkpoint();
    for (let row = from; row < from + 500; row += 1) if (row % 400 !== 7) subject.add(row, -1);
    subject.release();
  }
  for (let commit = 0; commit < 40; commit += 1) {
    subject.checkpoint();
    subject.release();
  }
  subject.check();
  expect(subject.arrangement.rowCount).toBe(50);
  expect(subject.memory.usedBytes).toBeLessThan(full / 5);
  subject.checkpoint();
  for (const row of [...subject.weights.keys()]) subject.add(row, -1);
  subject.rollback();
  subject.check();
  subject.lease.close();
});
