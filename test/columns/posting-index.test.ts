import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MemoryAccount } from '../../src/base/memory.ts';
import { MemoryLease } from '../../src/base/memory-lease.ts';
import { hashRow, vectorFromData } from '../../src/columns/build.ts';
import { PostingIndex } from '../../src/columns/posting-index.ts';
import { StoredColumn } from '../../src/columns/stored-column.ts';
import type { Datum } from '../../src/columns/values.ts';
import type { Vector } from '../../src/columns/vector.ts';

const TEXT = { kind: 'text' } as const;
const INT = { kind: 'int4' } as const;

/** An index over a text and a number, and the slow model: pairs as they are. */
class Subject {
  readonly memory = new MemoryAccount('test');
  readonly #lease = new MemoryLease(this.memory);
  readonly #columns = [TEXT, INT].map(
    (type, id) => new StoredColumn(id, type, null, this.memory, this.#lease),
  );
  readonly index = new PostingIndex(
    { name: 'i', columnIndexes: [0, 1], unique: false, primary: false },
    this.#lease,
    this.#columns,
  );
  readonly pairs = new Map<string, number[]>();
  readonly living: { readonly key: number; readonly rowId: number }[] = [];

  keysOf(key: number): readonly Vector[] {
    const text: Datum = key % 11 === 10 ? '' : `key ${key}`;
    return [vectorFromData(TEXT, [text]), vectorFromData(INT, [key])];
  }

  insert(key: number, rowId: number): void {
    this.index.insert(this.keysOf(key), 0, rowId);
    const known = this.pairs.get(String(key));
    if (known === undefined) this.pairs.set(String(key), [rowId]);
    else known.push(rowId);
    this.living.push({ key, rowId });
  }

  /** The pair that came `at`-th of those that are there. */
  remove(at: number): void {
    const { key, rowId } = this.living[at]!;
    this.living[at] = this.living.at(-1)!;
    this.living.pop();
    this.index.remove(this.keysOf(key), 0, rowId);
    const known = this.pairs.get(String(key))!;
    known.splice(known.indexOf(rowId), 1);
    if (known.length === 0) this.pairs.delete(String(key));
  }

  check(key: number): void {
    const found: number[] = [];
    const keys = this.keysOf(key);
    this.index.candidates(keys, 0, hashRow(keys, 0), found);
    expect(found.sort((a, b) => a - b)).toEqual(
      [...(this.pairs.get(String(key)) ?? [])].sort((a, b) => a - b),
    );
  }

  checkAll(): void {
    expect(this.index.rowCount).toBe(this.living.length);
    expect(this.index.keyCount).toBe(this.pairs.size);
    for (const key of this.pairs.keys()) this.check(Number(key));
  }

  close(): void {
    this.index.close();
    for (const column of this.#columns) column.close();
    this.#lease.close();
    expect(this.memory.usedBytes).toBe(0);
  }
}

test('an index leads to the rows that have a key, and takes the room of those, whatever comes and goes', () => {
  const phase = fc.record({
    to: fc.oneof(fc.nat(9000), fc.nat(300), fc.constant(0)),
    keyCount: fc.constantFrom(1, 3, 200, 1_000_000),
    /** Of a hundred changes so many go the other way. */
    against: fc.nat(40),
    seed: fc.nat(1000),
  });
  fc.assert(
    fc.property(fc.array(phase, { minLength: 2, maxLength: 5 }), (phases) => {
      const subject = new Subject();
      let rowId = 0;
      for (const { to, keyCount, against, seed } of phases) {
        const grows = subject.living.length < to;
        for (let step = 0; subject.living.length !== to; step += 1) {
          const isAgainst = (step * 37 + seed) % 100 < against;
          if (grows !== isAgainst || subject.living.length === 0) {
            // Now and then a pair that is there already.
            const again = rowId % 50 === 49 ? subject.living.at(-1) : undefined;
            const key = (Math.imul(rowId, 7919) >>> 3) % keyCount;
            subject.insert(again?.key ?? key, again?.rowId ?? rowId);
            rowId += 1;
          } else subject.remove((Math.imul(step, 7919) >>> 1) % subject.living.length);
          if (step % 512 === 0) subject.check(step % keyCount);
        }
        subject.checkAll();
      }
      // A few more changes, until what had begun to move is there.
      while (subject.living.length > 0) subject.remove(subject.living.length - 1);
      subject.checkAll();
      expect(subject.index.rowCount).toBe(0);
      subject.close();
    }),
    { numRuns: 30 },
  );
});

test('pairs that have gone give their room back', () => {
  for (const keyCount of [10, 20_000]) {
    const subject = new Subject();
    for (let rowId = 0; rowId < 20_000; rowId += 1) subject.insert(rowId % keyCount, rowId);
    const full = subject.memory.usedBytes;
    while (subject.living.length > 100) subject.remove(subject.living.length - 1);
    subject.checkAll();
    // The texts are the column's.
    const texts = keyCount === 10 ? 0 : 800_000;
    expect(subject.memory.usedBytes - texts).toBeLessThan(full / 4);
    subject.close();
  }
});

test('where memory is short pairs stay where they are, and none is lost', () => {
  const subject = new Subject();
  for (let rowId = 0; rowId < 10_000; rowId += 1) subject.insert(rowId, rowId);
  for (let round = 0; subject.living.length > 50; round += 1) {
    // By now and then a little more, it is refused at many places.
    subject.memory.limitBytes = subject.memory.usedBytes + (round % 97) * 200;
    subject.remove((round * 7919) % subject.living.length);
  }
  subject.checkAll();
  subject.memory.limitBytes = Infinity;
  for (let rowId = 10_000; rowId < 10_100; rowId += 1) subject.insert(rowId, rowId);
  subject.checkAll();
  subject.close();
});
