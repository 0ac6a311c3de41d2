import { assert } from '../base/errors.ts';
import { BATCH_ROW_COUNT_MAX, type Batch } from '../columns/batch.ts';
import { sliceBatch } from '../columns/build.ts';
import { FLOAT8 } from '../columns/types.ts';
import type { Vector } from '../columns/vector.ts';
import { resolveAggregate } from '../expressions/aggregates.ts';
import { coerce } from '../expressions/coercion.ts';
import type { Expression } from '../expressions/expression.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import { GroupTable } from '../operators/group-table.ts';
import type { AggregateCall } from '../plan/logical.ts';
import { column, constant } from '../plan/nodes.ts';
import type { KeptAddition, KeptShape, KeptTerm, Stretch } from './kept-tiles.ts';
import { isMeasurable, type Policy, type Resolution } from './policy.ts';
import { SQUARES, TileMeasures } from './tile-measures.ts';
import { timesOf } from './window-source.ts';

/** What a policy keeps of a table's rows. */
export function shapeOf(
  { by, measures, time }: Policy,
  columns: readonly {
    readonly name: string;
    readonly type: KeptTerm['type'];
    readonly nullable: boolean;
  }[],
  keys: ReadonlySet<number>,
): KeptShape {
  const indexOf = (name: string): number => {
    const index = columns.findIndex((each) => each.name === name);
    assert(index >= 0, 'a policy speaks of columns that are there');
    return index;
  };
  const chosen =
    measures?.map((each) => ({ index: indexOf(each.column), percentiles: each.percentiles })) ??
    columns.flatMap(({ name, type }, index) =>
      isMeasurable(type) && !keys.has(index) && !by.includes(name)
        ? [{ index, percentiles: false }]
        : [],
    );
  const timeIndex = indexOf(time);
  // First and last times are asked for wherever there are times.
  const all = [
    { index: timeIndex, percentiles: false },
    ...chosen.filter(({ index }) => index !== timeIndex),
  ];
  const terms = all.flatMap(({ index, percentiles }): KeptTerm[] => {
    const { type, nullable } = columns[index]!;
    const isNumber = SUMMED.has(type.kind);
    const ownBuckets = percentiles && type.kind === 'float8';
    const own: KeptTerm = {
      column: index,
      type,
      nullable,
      isDouble: false,
      shape: { counts: nullable, sums: isNumber, extremes: true, buckets: ownBuckets },
    };
    const kept = isNumber ? [own, { ...own, isSquare: true, shape: SQUARES }] : [own];
    if (!percentiles || ownBuckets) return kept;
    return [
      ...kept,
      {
        ...own,
        isDouble: true,
        shape: { counts: true, sums: false, extremes: false, buckets: true },
      },
    ];
  });
  return {
    by: by.map(indexOf).map((index) => ({ column: index, type: columns[index]!.type })),
    terms,
  };
}

const SUMMED: ReadonlySet<string> = new Set([
  'int2',
  'int4',
  'int8',
  'float4',
  'float8',
  'numeric',
]);

/** What a term adds up: the column, or its value as a double. */
export function argumentOf(term: KeptTerm): Expression {
  const own = column(term.column, { name: '', type: term.type, nullable: term.nullable });
  return term.isDouble ? coerce(own, FLOAT8, 'implicit') : own;
}

/** Aggregates whose tiles have a shape's terms, in their order. */
function callsOf({ terms }: KeptShape): AggregateCall[] {
  return terms.flatMap((term) => {
    const argument = argumentOf(term);
    if (term.isSquare === true) return [callOf('var_pop', [argument])];
    const names = [
      'count',
      ...(term.shape.sums ? ['sum'] : []),
      ...(term.shape.extremes ? ['min', 'max'] : []),
      ...(term.shape.buckets ? ['approx_percentile'] : []),
    ];
    return names.map((name) =>
      callOf(name, name === 'approx_percentile' ? [argument, constant(0.5, FLOAT8)] : [argument]),
    );
  });
}

function callOf(name: string, args: readonly Expression[]): AggregateCall {
  const resolved = resolveAggregate(name, args);
  assert(resolved !== undefined, 'what is measured has its aggregates');
  return { ...resolved, distinct: false, orderBy: [] };
}

/** Adds rows up by stretch of time and group, for one shape. */
export class KeptCellMaker {
  readonly shape: KeptShape;
  readonly #context: EvaluationContext;
  #measures: TileMeasures;

  constructor(shape: KeptShape, context: EvaluationContext) {
    this.shape = shape;
    this.#context = context;
    this.#measures = new TileMeasures(callsOf(shape), context);
    assert(
      this.#measures.layout.shapes.length === shape.terms.length,
      'tiles have the terms that are kept',
    );
  }

  /**
   * Adds rows up, each in the stretch of its time; `rows` has all columns of the table, dense. Rows whose values tiles cannot hold are
   * left out, and told by their number.
   */
  make(
    rows: Batch,
    time: number,
    stretchOf: (time: number) => { readonly unit: Resolution } & Stretch,
  ): { readonly additions: KeptAddition[]; readonly refused: number[] } {
    assert(rows.rowCount <= BATCH_ROW_COUNT_MAX, 'rows are added up batch by batch');
    if (rows.rowCount === 0) return { additions: [], refused: [] };
    if (!this.#holds(rows)) {
      if (rows.rowCount === 1) return { additions: [], refused: [0] };
      // Halves, until those are found that it is for.
      const middle = rows.rowCount >>> 1;
      const [first, second] = [
        this.make(sliceBatch(rows, 0, middle), time, stretchOf),
        this.make(sliceBatch(rows, middle, rows.rowCount), time, stretchOf),
      ];
      return {
        additions: [...first.additions, ...second.additions],
        refused: [...first.refused, ...second.refused.map((row) => row + middle)],
      };
    }
    return { additions: this.#added(rows, time, stretchOf), refused: [] };
  }

  #holds(rows: Batch): boolean {
    const isHeld =
      this.#measures.load(rows) &&
      this.#measures.layout.ranges.every(({ to }) => to <= BIN_END_MAX);
    // What could not be held has perhaps made room for itself: others need none of it.
    if (!isHeld) this.#measures = new TileMeasures(callsOf(this.shape), this.#context);
    return isHeld;
  }

  #added(
    rows: Batch,
    time: number,
    stretchOf: (time: number) => { readonly unit: Resolution } & Stretch,
  ): KeptAddition[] {
    const { layout } = this.#measures;
    const { by } = this.shape;
    const groups = new GroupTable(
      by.map(({ type }) => type),
      undefined,
    );
    const keys: Vector[] = by.map((each) => rows.columns[each.column]!);
    const groupOf = groups.intern(keys, rows.rowCount);
    const times = timesOf(rows.columns[time]!, rows.rowCount);
    const { stride } = layout;
    const made = new Map<Resolution, Map<number, Cells>>();
    let data = layout.tiles(CELLS_AT_FIRST);
    let count = 0;
    let cells: Cells | undefined;
    for (let row = 0; row < rows.rowCount; row += 1) {
      const at = times[row]!;
      // Rows come nearly in the order of time: most lie where the one before did.
      if (cells === undefined || at < cells.start || at >= cells.end)
        cells = cellsAt(made, stretchOf(at));
      const group = groupOf[row]!;
      let cell = cells.byGroup.get(group);
      if (cell === undefined) {
        cells.byGroup.set(group, (cell = count));
        count += 1;
        if (count * stride > data.length) {
          const grown = layout.tiles(count * 2);
          grown.set(data);
          data = grown;
        }
      }
      this.#measures.add(data, cell * stride, layout, row, 1);
    }
    const shown = Int32Array.from({ length: groups.groupCount }, (_, group) => group);
    const keyBatch: Batch = {
      rowCount: shown.length,
      columns: groups.keys(shown, shown.length),
    };
    const additions = [...made].map(([unit, stretches]): KeptAddition => {
      const inOrder = [...stretches.values()].sort((a, b) => a.start - b.start);
      const cellCount = inOrder.reduce((sum, { byGroup }) => sum + byGroup.size, 0);
      const own = new Float64Array(cellCount * stride);
      const cellGroups = new Int32Array(cellCount);
      const offsets = new Int32Array(inOrder.length + 1);
      let at = 0;
      for (const [index, { byGroup }] of inOrder.entries()) {
        for (const [group, cell] of byGroup) {
          own.set(data.subarray(cell * stride, (cell + 1) * stride), at * stride);
          cellGroups[at] = group;
          at += 1;
        }
        offsets[index + 1] = at;
      }
      return {
        kind: 'add',
        shape: this.shape,
        unit,
        cells: {
          starts: Float64Array.from(inOrder, ({ start }) => start),
          ends: Float64Array.from(inOrder, ({ end }) => end),
          offsets,
          groups: cellGroups,
          keys: keyBatch,
          ranges: layout.ranges,
          data: own,
        },
      };
    });
    groups.close();
    return additions;
  }
}

/** By group, the number of the cell. */
type Cells = Stretch & { readonly byGroup: Map<number, number> };

function cellsAt(
  made: Map<Resolution, Map<number, Cells>>,
  { unit, start, end }: { readonly unit: Resolution } & Stretch,
): Cells {
  let stretches = made.get(unit);
  if (stretches === undefined) made.set(unit, (stretches = new Map()));
  let cells = stretches.get(start);
  if (cells === undefined) stretches.set(start, (cells = { start, end, byGroup: new Map() }));
  return cells;
}

const CELLS_AT_FIRST = 64;

/** Bins above are kept free for sums of many rows. */
const BIN_END_MAX = 31;
