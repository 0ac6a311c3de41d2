import fc from 'fast-check';
import { expect, test } from 'vitest';
import { open } from '../../src/open.ts';
import { MemoryAccount } from '../../src/base/memory.ts';
import { vectorFromData } from '../../src/columns/build.ts';
import type { AggregateCall } from '../../src/plan/logical.ts';
import { Budget } from '../../src/operators/operator.ts';
import { createOrderedState } from '../../src/operators/aggregates/ordered.ts';
import { Selection } from '../../src/operators/aggregates/selection.ts';

test('the values at two neighbouring ranks are those of sorting, whatever the steps', () => {
  const near = fc.constantFrom(
    1,
    1 + 2 ** -52,
    1 - 2 ** -53,
    NaN,
    -0,
    0,
    -1e-310,
    5e-324,
    Infinity,
  );
  fc.assert(
    fc.property(
      fc.array(fc.oneof({ weight: 3, arbitrary: near }, fc.double()), { minLength: 1 }),
      fc.integer({ min: 1, max: 9000 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.integer({ min: 1, max: 20_000 }),
      (some, count, share, units) => {
        const values = Float64Array.from({ length: count }, (_, at) => some[at % some.length]!);
        const sorted = values.slice().sort();
        const place = share * (count - 1);
        const [low, high] = [Math.floor(place), Math.ceil(place)];
        const selection = new Selection(values, count, low, high);
        const budget = new Budget(units);
        let found;
        while ((found = selection.step(budget)) === undefined) budget.refill(units);
        expect([found[0] + 0, found[1] + 0]).toEqual([sorted[low]! + 0, sorted[high]! + 0]);
        expect(budget.spent).toBe(2 * count);
      },
    ),
    { numRuns: 300 },
  );
});

test('groups of few values are gone through in steps, too, and what a step left half done is let go', () => {
  const type = { kind: 'float8' } as const;
  const column = (index: number) =>
    ({ kind: 'column', index, type, nullable: false, name: 'x' }) as const;
  for (const fn of ['percentile_cont', 'percentile_disc'] as const) {
    const memory = new MemoryAccount('a test');
    const args = [column(0), column(1)];
    const orderBy = [{ expression: args[1]!, descending: false, nullsFirst: false }];
    const call: AggregateCall = { fn, args, distinct: false, orderBy, type };
    const state = createOrderedState(call, memory);
    state.ensure(100);
    const values = Array.from({ length: 2000 }, (_, at) => (at * 7919) % 2003);
    const vectors = [
      vectorFromData(
        type,
        values.map(() => 0.5),
      ),
      vectorFromData(type, values),
    ];
    state.add(
      Int32Array.from(values, (_, at) => at % 100),
      values.length,
      vectors,
      undefined,
    );
    const groups = Int32Array.from({ length: 100 }, (_, group) => group);
    const budget = new Budget(50);
    let steps = 1;
    for (; state.settle!(groups, 100, budget) === false; steps += 1) {
      expect(budget.remaining).toBeGreaterThan(-400);
      budget.refill(50);
    }
    expect(steps).toBeGreaterThan(40);
    // Of what is added afterwards all is gone through anew: it ends in the middle of a group.
    state.add(new Int32Array(2000), values.length, vectors, undefined);
    expect(state.settle!(groups, 100, new Budget(1))).toBe(false);
    state.close!();
    expect(memory.usedBytes).toBe(0);
  }
});

type Row = { readonly g: number; readonly k: number | null; readonly s: string | null };

test('string_agg, mode and percentiles are those of going through a list', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int, g int, k int, s text, f double precision)');
  const rows: Row[] = Array.from({ length: 20_000 }, (_, at) => ({
    g: at % 3 === 0 ? 0 : at % 977,
    k: at % 13 === 0 ? null : (at * 7919) % 101,
    s: at % 17 === 0 ? null : `text ${(at * 31) % 57}`,
  }));
  await db.insert(
    't',
    rows.map((row, id) => ({ id, ...row, f: row.k })),
  );
  const answer = await db.query(
    `SELECT g, string_agg(s, '-' ORDER BY k DESC NULLS LAST, id) AS joined, string_agg(s, ',') IS NULL AS none,
      mode() WITHIN GROUP (ORDER BY k) AS most, mode() WITHIN GROUP (ORDER BY s DESC) AS last,
      percentile_disc(0.3) WITHIN GROUP (ORDER BY s) AS third, percentile_cont(0.25) WITHIN GROUP (ORDER BY f DESC) AS quarter,
      string_agg(s, '+' ORDER BY s) FILTER (WHERE k = 5) AS five
     FROM t GROUP BY g ORDER BY g`,
  );
  const groups = new Map<number, (Row & { readonly id: number })[]>();
  rows.forEach((row, id) => {
    const own = groups.get(row.g) ?? [];
    own.push({ ...row, id });
    groups.set(row.g, own);
  });
  const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
  const mostOf = <Value>(values: readonly Value[], isLater: (a: Value, b: Value) => boolean) => {
    const counts = new Map<Value, number>();
    for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
    let best: Value | null = null;
    for (const [value, count] of counts) {
      const most = best === null ? 0 : counts.get(best)!;
      if (count > most || (count === most && isLater(best!, value))) best = value;
    }
    return best;
  };
  expect(answer.rows).toEqual(
    [...groups]
      .sort(([a], [b]) => a - b)
      .map(([g, own]) => {
        const texts = own.filter(({ s }) => s !== null).map(({ s }) => s!);
        const ordered = own
          .filter(({ s }) => s !== null)
          .sort((a, b) => (b.k ?? -1) - (a.k ?? -1) || a.id - b.id);
        const numbers = own.flatMap(({ k }) => (k === null ? [] : [k])).sort((a, b) => b - a);
        const place = 0.25 * (numbers.length - 1);
        const low = numbers[Math.floor(place)]!;
        const fives = own.filter(({ k, s }) => k === 5 && s !== null).map(({ s }) => s!);
        return {
          g,
          joined: texts.length === 0 ? null : ordered.map(({ s }) => s).join('-'),
          none: texts.length === 0,
          most: mostOf(numbers, (a, b) => b < a),
          last: mostOf(texts, (a, b) => b > a),
          third: texts.sort(compare)[Math.max(0, Math.ceil(0.3 * texts.length) - 1)] ?? null,
          quarter:
            numbers.length === 0
              ? null
              : low + (numbers[Math.ceil(place)]! - low) * (place - Math.floor(place)),
          five: fives.length === 0 ? null : fives.sort(compare).join('+'),
        };
      }),
  );
});

test('what ordered aggregates keep is accounted, in one group as in many, and let go', async () => {
  await using db = await open({ memory: '24 MB', workers: 0 });
  const before = db.metrics.snapshot().memoryBytes;
  for (const call of [
    "string_agg(i::text, ',')",
    'mode() WITHIN GROUP (ORDER BY i)',
    'percentile_cont(0.5) WITHIN GROUP (ORDER BY i::float8)',
    'percentile_disc(0.5) WITHIN GROUP (ORDER BY i::text)',
  ]) {
    const text = (count: number): string =>
      `SELECT ${call} AS v FROM generate_series(1, ${count}) g(i)`;
    await expect(db.query(text(4_000_000))).rejects.toMatchObject({ code: '53200' });
    expect((await db.query(text(10))).rows).toHaveLength(1);
  }
  expect(db.metrics.snapshot().memoryBytes).toBe(before);
});
