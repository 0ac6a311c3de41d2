import fc from 'fast-check';
import { MemoryAccount } from '../../src/base/memory.ts';
import type { Batch } from '../../src/columns/batch.ts';
import { datumAt, vectorFromData } from '../../src/columns/build.ts';
import { createTable, type Table } from '../../src/columns/table.ts';
import type { TableSchema, TableWrite } from '../../src/columns/table-contract.ts';
import { FLOAT8, INT8, TEXT, TIMESTAMPTZ, type SqlType } from '../../src/columns/types.ts';
import { Decimal, type Datum } from '../../src/columns/values.ts';
import { resolveOperator } from '../../src/expressions/catalog.ts';
import { resolveAggregate } from '../../src/expressions/aggregates.ts';
import { Budget } from '../../src/operators/operator.ts';
import type { AggregateCall, OutputColumn } from '../../src/plan/logical.ts';
import { column, constant, node } from '../../src/plan/nodes.ts';
import { TileStore } from '../../src/windows/tile-store.ts';
import {
  scannedWindows,
  type WindowBounds,
  type WindowOperator,
  type WindowPlan,
  type WindowSource,
} from '../../src/windows/window-source.ts';

/** Random lives of a table whose windows are answered from tiles and, for comparison, from rows. */
export const PRICE: SqlType = { kind: 'numeric', precision: 12, scale: 2 };
export const COLUMNS: readonly OutputColumn[] = [
  { name: 'ts', type: TIMESTAMPTZ, nullable: true },
  { name: 'team', type: TEXT, nullable: true },
  { name: 'amount', type: FLOAT8, nullable: true },
  { name: 'price', type: PRICE, nullable: true },
  { name: 'n', type: INT8, nullable: false },
];

const SCHEMA: TableSchema = { columns: COLUMNS, indexes: [], seed: 3, timeColumn: 0 };
const MINUTE = 60_000_000;
const DAY = 1440 * MINUTE;
/** 2026-03-07T22:00Z: near where New York changes its clocks. */
const BASE = 1_772_920_800_000_000;

export type Row = readonly Datum[];

const near = fc
  .tuple(fc.integer({ min: -3 * 1440, max: 3 * 1440 }), fc.nat(MINUTE - 1))
  .map(([minute, rest]) => BASE + minute * MINUTE + rest);
export const time = fc.oneof(
  { weight: 20, arbitrary: near },
  { weight: 4, arbitrary: fc.integer({ min: -900, max: 900 }).map((day) => BASE + day * DAY) },
  { weight: 1, arbitrary: fc.constantFrom<Datum>(null, Infinity, -Infinity, 2n ** 60n) },
);
const amount = fc.oneof(
  { weight: 10, arbitrary: fc.integer({ min: -1000, max: 1000 }).map((each) => each / 8) },
  { weight: 10, arbitrary: fc.integer({ min: -1e9, max: 1e9 }).map((each) => each / 997) },
  { weight: 1, arbitrary: fc.constantFrom<Datum>(null, NaN, Infinity, -Infinity, -0, 1e-30, 1e30) },
);
export const row: fc.Arbitrary<Row> = fc.tuple(
  time,
  fc.constantFrom<Datum>('red', 'blue', 'green', null),
  amount,
  fc.option(
    fc.integer({ min: -99_999, max: 99_999 }).map((each) => new Decimal(BigInt(each), 2)),
    { nil: null },
  ),
  fc.oneof({ weight: 30, arbitrary: fc.integer() }, { weight: 1, arbitrary: fc.constant(2 ** 52) }),
);

export type ProgramStep =
  | { readonly kind: 'insert'; readonly rows: readonly Row[]; readonly publish: boolean }
  | { readonly kind: 'update'; readonly picks: readonly number[]; readonly rows: readonly Row[] }
  | { readonly kind: 'delete'; readonly picks: readonly number[] }
  | {
      readonly kind: 'bulk';
      readonly count: number;
      readonly minute: number;
      readonly span: number;
    }
  | { readonly kind: 'truncate' }
  | { readonly kind: 'open'; readonly query: Question }
  | { readonly kind: 'step'; readonly pick: number; readonly units: number }
  | { readonly kind: 'ask'; readonly query: Question }
  | { readonly kind: 'past'; readonly back: number; readonly query: Question }
  | { readonly kind: 'shed'; readonly bytes: number }
  | { readonly kind: 'maintain'; readonly units: number };

export type Question = {
  readonly grouped: boolean;
  readonly filtered: boolean;
  readonly measures: number;
  readonly windows: readonly (readonly [from: number, to: number])[];
};

const instant = fc.oneof(
  near,
  fc
    .integer({ min: -300, max: 300 })
    .map((quarter) => Math.floor(BASE / (15 * MINUTE)) * 15 * MINUTE + quarter * 15 * MINUTE),
  fc.integer({ min: -1100, max: 1100 }).map((day) => Math.floor(BASE / DAY) * DAY + day * DAY),
);
const question: fc.Arbitrary<Question> = fc.record({
  grouped: fc.boolean(),
  filtered: fc.boolean(),
  measures: fc.integer({ min: 1, max: MEASURE_COUNT() }),
  windows: fc.array(fc.tuple(instant, instant), { minLength: 1, maxLength: 6 }).map((all) =>
    all
      .filter(([a, b]) => a !== b)
      .map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const)
      .sort((a, b) => a[0] - b[0]),
  ),
});

export const program: fc.Arbitrary<ProgramStep[]> = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('insert' as const),
        rows: fc.array(row, { minLength: 1, maxLength: 20 }),
        publish: fc.boolean(),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('update' as const),
        picks: fc.oneof(
          fc.array(fc.nat(), { minLength: 1, maxLength: 4 }),
          fc.array(fc.nat(), { minLength: 1, maxLength: 90 }),
        ),
        rows: fc.array(row, { minLength: 4, maxLength: 4 }),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('delete' as const),
        picks: fc.array(fc.nat(), { minLength: 1, maxLength: 6 }),
      }),
    },
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('ask' as const), query: question }) },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('bulk' as const),
        count: fc.integer({ min: 300, max: 4000 }),
        minute: fc.integer({ min: -1440, max: 1440 }),
        span: fc.constantFrom(1, 20, 2000),
      }),
    },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('open' as const), query: question }) },
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('step' as const),
        pick: fc.nat(),
        units: fc.integer({ min: 1, max: 60 }),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('past' as const),
        back: fc.nat(20),
        query: question,
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constant('shed' as const), bytes: fc.nat(200_000) }),
    },
    { weight: 1, arbitrary: fc.constant<ProgramStep>({ kind: 'truncate' }) },
  ),
  { minLength: 1, maxLength: 60 },
);

function MEASURE_COUNT(): number {
  return 2 ** CALLS().length - 1;
}

function CALLS(): AggregateCall[] {
  const [, team, float, numeric, integer] = COLUMNS.map((each, index) => column(index, each));
  const filter = resolveOperator('>', integer!, constant(0, INT8));
  const call = (fn: string, arg = float!): AggregateCall => {
    const resolved = resolveAggregate(fn, [arg])!;
    return { ...resolved, distinct: false, orderBy: [] };
  };
  return [
    { fn: 'count', args: [], distinct: false, orderBy: [], type: INT8 },
    call('sum'),
    call('avg'),
    call('min'),
    call('max'),
    call('count'),
    call('sum', numeric),
    { ...call('avg', numeric), filter },
    call('max', numeric),
    call('sum', integer),
    call('avg', integer),
    { fn: 'count', args: [], distinct: false, orderBy: [], type: INT8, filter },
    call('min', column(0, COLUMNS[0]!)),
    percentile(0.5),
    percentile(0.99),
    call('stddev'),
    call('var_pop'),
    call('variance', numeric),
    { ...call('stddev_pop', numeric), filter },
    call('stddev', integer),
    call('approx_count_distinct', integer),
    call('approx_count_distinct', numeric),
    call('approx_count_distinct', float),
    { ...call('approx_count_distinct', team), filter },
    { ...call('count', integer), distinct: true },
    { ...call('count', numeric), distinct: true },
    { ...call('count', team), distinct: true, filter },
    { ...call('count', float), distinct: true },
  ];
}

function percentile(fraction: number): AggregateCall {
  const resolved = resolveAggregate('approx_percentile', [
    column(2, COLUMNS[2]!),
    constant(fraction, FLOAT8),
  ])!;
  return { ...resolved, distinct: false, orderBy: [] };
}

export function planOf({ grouped, filtered, measures }: Question): WindowPlan {
  const columns = COLUMNS.map((each, index) => column(index, each));
  return {
    input: node({
      kind: 'scan',
      relation: 1,
      name: 't',
      alias: 't',
      columnIndexes: [0, 1, 2, 3, 4],
      columns: COLUMNS,
      filter: filtered ? resolveOperator('>=', columns[2]!, constant(0, FLOAT8)) : undefined,
      withRowIds: false,
      rowIdColumn: false,
    }),
    time: columns[0]!,
    keys: grouped ? [columns[1]!] : [],
    calls: CALLS().filter((_, index) => ((measures >> index) & 1) === 1),
  };
}

export function boundsOf({ windows }: Question): WindowBounds {
  return {
    from: Float64Array.from(windows, ([from]) => from),
    to: Float64Array.from(windows, ([, to]) => to),
  };
}

/** A table and its tiles, moved by steps; `mismatch` tells the first answer that differs. */
export class TileWorld {
  readonly memory = new MemoryAccount('test', undefined, 256 * 2 ** 20);
  readonly table: Table;
  readonly store: TileStore;
  operations = 0;
  answers = 0;
  /** Rows of answers: windows, by group. */
  windows = 0;
  tiles = 0;
  /** Rows that were read for answers from tiles. */
  rowsRead = 0;
  #position = 0;
  readonly #pending: { deltas: Map<number, ReturnType<Table['stage']>[]> }[] = [];
  readonly #open: {
    readonly operator: WindowOperator;
    readonly rows: Datum[][];
    readonly expected: Datum[][];
    readonly release: () => void;
  }[] = [];

  readonly #tell: (answer: string) => void;

  /** `tell` hears every answer; `tileMemory` is what tiles take a quarter of; a row counts as `density` where it is decided how fine they are. */
  constructor(
    tell: (answer: string) => void = () => undefined,
    tileMemory?: MemoryAccount,
    density = 1,
  ) {
    this.#tell = tell;
    this.table = createTable(SCHEMA, { memory: this.memory });
    this.store = new TileStore({ memory: tileMemory ?? this.memory, dataOf: () => this.table });
    this.store.density = density;
  }

  get position(): number {
    return this.#position;
  }

  run(step: ProgramStep): void {
    this.operations += 1;
    switch (step.kind) {
      case 'insert':
        this.stage([{ kind: 'insert', rows: batchOf(step.rows) }]);
        if (step.publish) this.publish();
        else this.undo();
        return;
      case 'update': {
        const ids = this.#pick(step.picks);
        if (ids.length === 0) return;
        this.stage([
          {
            kind: 'update',
            rowIds: ids,
            rows: batchOf(Array.from(ids, (_, at) => step.rows[at % step.rows.length]!)),
          },
        ]);
        this.publish();
        return;
      }
      case 'delete': {
        const ids = this.#pick(step.picks);
        if (ids.length === 0) return;
        this.stage([{ kind: 'delete', rowIds: ids }]);
        this.publish();
        return;
      }
      case 'bulk': {
        const rows = Array.from({ length: step.count }, (_, at): Row => [
          BASE +
            step.minute * MINUTE +
            ((at * 7919) % step.count) * ((step.span * MINUTE) / step.count),
          ['red', 'blue', null][at % 3]!,
          (at % 97) / 8 - 3,
          new Decimal(BigInt((at * 31) % 10_007), 2),
          at % 11,
        ]);
        this.stage([
          {
            kind: 'insert',
            rows: batchOf(rows.map((each) => [Math.floor(each[0] as number), ...each.slice(1)])),
          },
        ]);
        this.publish();
        return;
      }
      case 'truncate':
        this.stage([{ kind: 'truncate' }]);
        this.publish();
        return;
      case 'maintain':
        this.table.maintain(step.units);
        return;
      case 'shed':
        this.store.shed(step.bytes);
        return;
      case 'ask':
        this.ask(step.query);
        return;
      case 'past': {
        const position = Math.max(0, this.#position - step.back);
        const snapshot = this.table.snapshotAt(position);
        if (snapshot === undefined) return;
        this.#compare(step.query, snapshot);
        return;
      }
      case 'open': {
        const snapshot = this.table.snapshot();
        const expected = this.#answer(scannedWindows, step.query, snapshot);
        const operator = this.store.open(planOf(step.query), boundsOf(step.query), {
          snapshotOf: () => snapshot,
          context: CONTEXT,
          memory: this.memory,
        });
        this.#open.push({ operator, rows: [], expected, release: () => snapshot.release() });
        this.finish(4);
        return;
      }
      case 'step':
        if (this.#open.length > 0) this.#advance(step.pick % this.#open.length, step.units);
    }
  }

  /** What is open is read to its end, until so many are left. */
  finish(left = 0): void {
    // In turns: one may wait for what another is in the middle of.
    for (let turn = 0; this.#open.length > left; turn += 1)
      this.#advance(turn % this.#open.length, 1000);
  }

  end(): void {
    this.finish();
    this.store.close();
    this.table.close();
    if (this.memory.usedBytes !== 0) throw new Error(`${this.memory.usedBytes} bytes are left`);
  }

  stage(writes: readonly TableWrite[]): void {
    const delta = this.table.stage(writes, { limits: true });
    this.#pending.push({ deltas: new Map([[1, [delta]]]) });
  }

  publish(): void {
    const pending = this.#pending.shift()!;
    this.#position += 1;
    this.table.publish(this.#position);
    this.store.published(pending.deltas, this.#position);
  }

  undo(): void {
    this.#pending.pop();
    this.table.undo();
  }

  ask(query: Question): void {
    this.#compare(query, this.table.snapshot());
  }

  #compare(query: Question, snapshot: ReturnType<Table['snapshot']>): void {
    const expected = this.#answer(scannedWindows, query, snapshot);
    const found = this.#answer(this.store, query, snapshot);
    snapshot.release();
    this.#assertSame(found, expected);
  }

  #answer(
    source: WindowSource,
    query: Question,
    snapshot: ReturnType<Table['snapshot']>,
  ): Datum[][] {
    const operator = source.open(planOf(query), boundsOf(query), {
      snapshotOf: () => snapshot,
      context: CONTEXT,
      memory: this.memory,
    });
    const rows: Datum[][] = [];
    const budget = new Budget(1e9);
    // It may wait for what an open reader is in the middle of.
    for (let turn = 0; !readTo(operator, rows, budget, true); turn += 1) {
      budget.refill(1000);
      if (this.#open.length > 0) this.#advance(turn % this.#open.length, 1000);
    }
    this.tiles += operator.tiles;
    if (source === this.store) this.rowsRead += operator.rowsScanned;
    operator.close();
    return rows;
  }

  #advance(index: number, units: number): void {
    const each = this.#open[index]!;
    const isDone = readTo(each.operator, each.rows, new Budget(units), false);
    if (!isDone) return;
    this.#open.splice(index, 1);
    this.tiles += each.operator.tiles;
    each.operator.close();
    each.release();
    this.#assertSame(each.rows, each.expected);
  }

  #assertSame(found: Datum[][], expected: Datum[][]): void {
    this.answers += 1;
    this.windows += expected.length;
    const [a, b] = [found, expected].map((rows) =>
      rows.map((each) => each.map(shown).join(' ')).join('\n'),
    );
    this.#tell(a!);
    if (a !== b) throw new Error(`tiles:\n${a}\nrows:\n${b}`);
  }

  /** Row ids of living rows, ascending. */
  #pick(picks: readonly number[]): Float64Array {
    const snapshot = this.table.snapshot();
    const all: number[] = [];
    const scan = snapshot.scan({ columnIndexes: [], ordered: true, withRowIds: true });
    for (let batch = scan.next(); batch !== undefined; batch = scan.next())
      for (let at = 0; at < batch.rowCount; at += 1)
        all.push(batch.rowIds![batch.selection === undefined ? at : batch.selection[at]!]!);
    snapshot.release();
    if (all.length === 0) return new Float64Array(0);
    return Float64Array.from(new Set(picks.map((pick) => all[pick % all.length]!))).sort();
  }
}

/** Bits, not only values. */
function shown(datum: Datum): string {
  if (datum instanceof Decimal) return datum.toString();
  return Object.is(datum, -0) ? '-0' : String(datum);
}

/** Reads until it gives the thread back, or, where not `isAll`, its next batch; whether it has ended. */
function readTo(
  operator: WindowOperator,
  rows: Datum[][],
  budget: Budget,
  isAll: boolean,
): boolean {
  for (;;) {
    const step = operator.next(budget);
    if (step === 'done') return true;
    if (step === 'more') return false;
    const { batch } = operator;
    for (let at = 0; at < batch.rowCount; at += 1) {
      const physical = batch.selection === undefined ? at : batch.selection[at]!;
      rows.push(batch.columns.map((each) => datumAt(each, physical)));
    }
    if (!isAll) return false;
  }
}

export function batchOf(rows: readonly Row[]) {
  return {
    rowCount: rows.length,
    columns: COLUMNS.map(({ type }, index) =>
      vectorFromData(
        type,
        rows.map((each) => each[index]!),
      ),
    ),
  };
}

/** Rows of three teams, of all kinds of numbers. */
export function rows(
  count: number,
  at: (row: number) => number,
  value: (row: number) => Datum = (each) => (each % 97) / 8,
): Batch {
  return batchOf(
    Array.from({ length: count }, (_, each): Row => [
      Math.floor(at(each)),
      ['red', 'blue', null][each % 3]!,
      value(each),
      new Decimal(BigInt((each * 31) % 10_007), 2),
      each % 11,
    ]),
  );
}

export function insert(world: TileWorld, batch: Batch): void {
  world.stage([{ kind: 'insert', rows: batch }]);
  world.publish();
}

/** A table of these rows, and a reader that has not begun to read. */
export function begun(question: Question, first: readonly Batch[]): TileWorld {
  const world = new TileWorld();
  for (const batch of first) insert(world, batch);
  world.run({ kind: 'open', query: question });
  return world;
}

export const CONTEXT = {
  nowMicros: 0,
  zone: 'UTC',
  parameters: [],
  random: { unit: () => 0, uint32: () => 0 },
  setting: () => undefined,
};
