import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ChunkedFloat64 } from '../../src/base/chunked.ts';
import { MemoryAccount } from '../../src/base/memory.ts';
import { MemoryLease } from '../../src/base/memory-lease.ts';
import { vectorFromData } from '../../src/columns/build.ts';
import { compareDatums } from '../../src/columns/compare.ts';
import type { SqlType } from '../../src/columns/types.ts';
import { Decimal, type Datum } from '../../src/columns/values.ts';
import type { SortNode } from '../../src/plan/logical.ts';
import { KeyColumn, sortByKeys } from '../../src/operators/key-column.ts';
import { Budget, type Operator } from '../../src/operators/operator.ts';
import { SortOperator } from '../../src/operators/sort.ts';
import { StepwiseSort } from '../../src/operators/stepwise-sort.ts';

function sortInSteps(sort: StepwiseSort, units: number): { numbers: number[]; work: number } {
  const budget = new Budget(units);
  while (!sort.step(budget)) budget.refill(units);
  return { numbers: [...sort.sorted], work: budget.spent };
}

test('sorting in steps is sorting: stable, cut to what is kept, whatever the steps', () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(40), { maxLength: 3000 }),
      fc.integer({ min: 1, max: 5000 }),
      fc.option(fc.nat(3100), { nil: undefined }),
      (values, units, keep) => {
        const memory = new MemoryAccount('a test');
        const sort = new StepwiseSort(values.length, (a, b) => values[a]! - values[b]!, {
          memory,
          ...(keep === undefined ? {} : { keep }),
        });
        const { numbers } = sortInSteps(sort, units);
        const expected = values
          .map((_, index) => index)
          .sort((a, b) => values[a]! - values[b]! || a - b)
          .slice(0, keep);
        expect(numbers).toEqual(expected);
        sort.close();
        expect(memory.usedBytes).toBe(0);
      },
    ),
    { numRuns: 60 },
  );
});

test('the work of sorting depends on the count alone', () => {
  const work = (values: number[]): number =>
    sortInSteps(
      new StepwiseSort(values.length, (a, b) => values[a]! - values[b]!, { memory: undefined }),
      1000,
    ).work;
  const ascending = Array.from({ length: 10_000 }, (_, index) => index);
  expect(work(ascending)).toBe(work(ascending.toReversed()));
  // Two units a comparison: nine levels within runs of 512, five of merging twenty runs.
  expect(work(ascending)).toBe(10_000 * 2 * (9 + 5));
});

test('a top-k of thousands costs the same however long its steps are', () => {
  const type: SqlType = { kind: 'int4' };
  const columns = [{ name: 'a', type, nullable: false }];
  const batches = Array.from({ length: 80 }, (_, index) => ({
    rowCount: 2048,
    columns: [
      vectorFromData(
        type,
        Array.from({ length: 2048 }, (_, at) => ((index * 2048 + at) * 7919) % 1009),
      ),
    ],
  }));
  const workInStepsOf = (units: number): number => {
    let at = -1;
    const input: Operator = {
      id: 1,
      columns,
      get batch() {
        return batches[at]!;
      },
      next: () => ((at += 1) < batches.length ? 'batch' : 'done'),
      close: () => undefined,
    };
    const expression = { kind: 'column', index: 0, type, nullable: false, name: 'a' } as const;
    const node = {
      kind: 'sort',
      id: 2,
      columns,
      keys: [{ expression, descending: false, nullsFirst: false }],
      keep: { kind: 'constant', type, value: 3000 },
    } as unknown as SortNode;
    const context = {
      nowMicros: 0,
      zone: 'UTC',
      parameters: [],
      random: { unit: () => 0, uint32: () => 0 },
      setting: () => undefined,
    };
    const memory = new MemoryAccount('a test');
    const sort = new SortOperator(node, input, context, memory);
    const budget = new Budget(units);
    let rowCount = 0;
    for (let step = sort.next(budget); step !== 'done'; step = sort.next(budget)) {
      if (step === 'batch') rowCount += sort.batch.rowCount;
      else budget.refill(units);
    }
    expect(rowCount).toBe(3000);
    sort.close();
    expect(memory.usedBytes).toBe(0);
    return budget.spent;
  };
  const work = workInStepsOf(1000);
  for (const units of [3000, 9000, 70_000, Infinity]) expect(workInStepsOf(units)).toBe(work);
});

const ORDER = fc.record({ descending: fc.boolean(), nullsFirst: fc.boolean() });
const TEXT: SqlType = { kind: 'text' };
const KINDS: readonly { readonly type: SqlType; readonly data: fc.Arbitrary<Datum> }[] = [
  { type: TEXT, data: fc.string({ unit: 'binary', maxLength: 30 }).map(wellFormed) },
  // Long common beginnings, where the first bytes tell nothing.
  { type: TEXT, data: fc.nat(3).map((n) => `a common beginning ${'x'.repeat(n)}`) },
  {
    type: TEXT,
    data: fc.string({ unit: fc.constantFrom('a', 'b', 'ä', '😀', '～'), maxLength: 14 }),
  },
  { type: { kind: 'bpchar' }, data: fc.string({ unit: fc.constantFrom('a', ' '), maxLength: 20 }) },
  { type: { kind: 'float8' }, data: fc.double() },
  { type: { kind: 'int4' }, data: fc.integer({ min: -5, max: 5 }) },
  {
    type: { kind: 'int8' },
    data: fc.oneof(
      fc.integer(),
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(smallest),
      fc.bigInt({ min: 2n ** 53n - 2n, max: 2n ** 53n + 2n }).map(smallest),
    ),
  },
  {
    type: { kind: 'numeric' },
    data: fc.oneof(
      fc
        .tuple(fc.bigInt({ min: -(10n ** 20n), max: 10n ** 20n }), fc.nat(25))
        .map(([coefficient, scale]) => new Decimal(coefficient, scale)),
      fc.tuple(fc.integer(), fc.nat(3)).map(([n, scale]) => new Decimal(BigInt(n), scale)),
      fc.integer({ min: -50, max: 50 }).map((n) => new Decimal(BigInt(n), 2)),
      fc.bigInt({ min: 2n ** 52n, max: 2n ** 52n + 3n }).map((n) => new Decimal(n, 2)),
    ),
  },
  { type: { kind: 'boolean' }, data: fc.boolean() },
  { type: { kind: 'bytea' }, data: fc.uint8Array({ maxLength: 14 }) },
];

function wellFormed(text: string): string {
  return text.toWellFormed().replaceAll('\0', '');
}

function smallest(value: bigint): number | bigint {
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

test('keys compare as the values do, in every type and layout, NULL at its place', () => {
  for (const { type, data } of KINDS) {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.option(data, { freq: 6 }), { minLength: 1, maxLength: 12 }), {
          minLength: 1,
          maxLength: 4,
        }),
        fc.boolean(),
        fc.boolean(),
        (batches, descending, nullsFirst) => {
          const column = new KeyColumn(
            type,
            { descending, nullsFirst },
            new MemoryLease(undefined),
          );
          for (const batch of batches) column.append(vectorFromData(type, batch), batch.length);
          const values = batches.flat();
          for (let a = 0; a < values.length; a += 1) {
            for (let b = 0; b < values.length; b += 1) {
              const [x, y] = [values[a]!, values[b]!];
              const expected =
                x === null || y === null
                  ? x === y
                    ? 0
                    : (x === null) === nullsFirst
                      ? -1
                      : 1
                  : compareDatums(x, y, type.kind) * (descending ? -1 : 1);
              expect(Math.sign(column.compare(a, b)) + 0).toBe(expected + 0);
            }
          }
        },
      ),
      { numRuns: 60 },
    );
  }
});

test('by the doubles of its keys a sort gives the order of comparing them, whatever tells ties', () => {
  const kinds = fc.constantFrom(...KINDS);
  const keyed = fc.tuple(kinds, kinds, fc.nat(4)).chain(([first, second, ties]) =>
    fc.record({
      types: fc.constant([first.type, second.type] as const),
      rows: fc.array(
        fc.tuple(fc.option(first.data, { freq: 6 }), fc.option(second.data, { freq: 6 })),
        { minLength: 1, maxLength: 80 },
      ),
      ties: fc.constant(ties),
      orders: fc.tuple(ORDER, ORDER),
      keys: fc.integer({ min: 1, max: 2 }),
      arrives: fc.boolean(),
      keep: fc.option(fc.nat(900), { nil: undefined }),
    }),
  );
  fc.assert(
    fc.property(keyed, ({ types, rows: few, ties, orders, keys, arrives, keep }) => {
      // Rows come again and again: more than a run, and many that tie.
      const rows = Array.from(
        { length: few.length * (1 + ties * 4) },
        (_, at) => few[at % few.length]!,
      );
      const columns = types.slice(0, keys).map((type, index) => {
        const column = new KeyColumn(type, orders[index]!, new MemoryLease(undefined));
        column.append(
          vectorFromData(
            type,
            rows.map((row) => row[index]!),
          ),
          rows.length,
        );
        return column;
      });
      const arrivals = rows.map((_, at) => (at * 7919) % rows.length);
      const compare = (a: number, b: number): number => {
        for (const column of columns) {
          const order = column.compare(a, b);
          if (order !== 0) return order;
        }
        return arrives ? arrivals[a]! - arrivals[b]! : 0;
      };
      const given = new ChunkedFloat64(new MemoryLease(undefined));
      for (const arrival of arrivals) given.push(arrival);
      const sort = sortByKeys(rows.length, columns, {
        memory: undefined,
        arrivals: arrives ? given : undefined,
        ...(keep === undefined ? {} : { keep }),
      });
      const expected = rows
        .map((_, at) => at)
        .sort((a, b) => compare(a, b) || a - b)
        .slice(0, keep);
      expect(sortInSteps(sort, 700).numbers).toEqual(expected);
    }),
    { numRuns: 150 },
  );
});
