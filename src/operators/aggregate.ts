import { assert } from '../base/errors.ts';
import type { MemoryAccount } from '../base/memory.ts';
import { BATCH_ROW_COUNT_MAX, type Batch } from '../columns/batch.ts';
import { gather, gatherInts } from '../columns/build.ts';
import type { Vector } from '../columns/vector.ts';
import {
  compileArgument,
  compileExpression,
  compileFilter,
  type CompiledExpression,
  type CompiledFilter,
} from '../expressions/compile.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import type { AggregateCall, AggregateNode, OutputColumn } from '../plan/logical.ts';
import { isScaleFree } from '../plan/shown-keys.ts';
import { scalesAlone, withoutScale } from './aggregates/distinct-numerics.ts';
import { createAggregateState, RowCounts, type AggregateState } from './aggregates/state.ts';
import { EVERYTHING, isDemanded, unseenVector, type Demand } from './demand.ts';
import type { GroupOrder } from './group-order.ts';
import { GroupTable } from './group-table.ts';
import { createInterner, PairInterner, type ColumnInterner } from './interner.ts';
import type { Budget, Operator, Step } from './operator.ts';
import { EMPTY_BATCH } from './row-operators.ts';

/** Sees what the states of an aggregation are given: how a sample is watched. */
export interface AggregateObserver {
  /** Whether it looks at the rows that come now. */
  readonly isWatching: boolean;
  /** A batch begins: the group of each of its rows. */
  begin(groups: Int32Array, rowCount: number, groupCount: number): void;
  /** Rows that an aggregate with arguments or a FILTER takes; `places`: where they are among the batch's rows (undefined: all). */
  take(
    call: number,
    args: readonly Vector[],
    rowCount: number,
    places: Int32Array | undefined,
  ): void;
  /** All aggregates have had the batch. */
  end(): void;
}

/** GROUP BY and plain aggregates: reads all of its input, then gives the groups in the order of their keys. */
export class AggregateOperator implements Operator {
  readonly id: number;
  readonly columns: readonly OutputColumn[];
  batch: Batch = EMPTY_BATCH;
  readonly #input: Operator;
  readonly #keys: readonly CompiledExpression[];
  readonly #calls: readonly CallState[];
  readonly #groups: GroupTable;
  readonly #context: EvaluationContext;
  readonly #memory: MemoryAccount;
  readonly #work: number;
  readonly #demand: Demand;
  /** By key: what is given where nobody looks at it. */
  readonly #unseen: readonly (Vector | undefined)[];
  /** A group is there while it has rows. */
  readonly #rows = new RowCounts();
  readonly #observer: AggregateObserver | undefined;
  /** A batch of the input whose groups wait for room: its keys, and its groups once they are known. */
  #waiting: { readonly keys: readonly Vector[]; groups: Int32Array | undefined } | undefined;
  #groupCount = 0;
  #ordering: GroupOrder | undefined;
  #order: Int32Array | undefined;
  #at = 0;
  #accounted = 0;
  /** The groups that there was room for when memory was accounted last: at first those that a state begins with. */
  #roomAccounted = this.#rows.values.length;

  constructor(
    node: AggregateNode,
    input: Operator,
    context: EvaluationContext,
    memory: MemoryAccount,
    demand: Demand = EVERYTHING,
    observer?: AggregateObserver,
  ) {
    this.id = node.id;
    this.columns = node.columns;
    this.#input = input;
    this.#context = context;
    this.#memory = memory;
    this.#demand = demand;
    this.#observer = observer;
    this.#unseen = node.keys.map(({ type }, column) =>
      isDemanded(demand, column) ? undefined : unseenVector(type),
    );
    this.#keys = node.keys.map(compileExpression);
    this.#groups = new GroupTable(
      node.keys.map((key) => key.type),
      memory,
    );
    this.#calls = node.calls.map((call) => new CallState(call, memory, this.#rows));
    this.#work = node.keys.length + node.calls.length;
    if (node.keys.length === 0) this.#ensure(1);
  }

  get groupCount(): number {
    return this.#groups.groupCount;
  }

  /**
   * Reads what the input has, without going on to the answer: it may have more later. `counted` false: the rows are shown to the observer
   * only, and are not in the answer.
   */
  absorb(budget: Budget, counted: boolean): 'more' | 'done' {
    for (;;) {
      const step = this.#waiting === undefined ? this.#input.next(budget) : 'batch';
      if (step !== 'batch') return step;
      if (!this.#take(this.#input.batch, budget, counted)) return 'more';
      budget.charge(this.#input.batch.rowCount * this.#work);
      if (budget.exhausted) return 'more';
    }
  }

  /** The answer as far as it is known, of some groups: keys, then calls; NULL in the place of calls that are not wanted. */
  peek(groups: Int32Array, count: number, isWanted: (call: number) => boolean): Vector[] {
    return [
      ...this.#keys.map((_, column) => this.#groups.key(column, groups, count)),
      ...this.#calls.map(({ state, type }, call) =>
        isWanted(call) ? state.finish(groups, count) : unseenVector(type),
      ),
    ];
  }

  /** What a call has taken of a group so far: of count, sum and avg. */
  tally(call: number, group: number): { readonly sum: number; readonly count: number } {
    const { state } = this.#calls[call]!;
    assert(state.tally !== undefined, 'counts, sums and averages are tallied');
    return state.tally(group);
  }

  /** The groups of these keys, some of which may have no rows (yet). */
  intern(keys: readonly Vector[], rowCount: number): Int32Array {
    const groups = this.#groups.intern(keys, rowCount).slice(0, rowCount);
    this.#ensure(this.#groups.groupCount);
    return groups;
  }

  /** The groups that have rows by now, and those that are known to have some, in the order of their keys; the caller closes it. */
  orderSoFar(known?: Iterable<number>): GroupOrder {
    // Without keys there is one group, be it of no rows.
    let rows: { readonly values: Float64Array } =
      this.#keys.length === 0 ? { values: ONE_ROW } : this.#rows;
    if (known !== undefined) {
      const values = rows.values.slice(0, this.#groups.groupCount);
      for (const group of known) values[group] = 1;
      rows = { values };
    }
    return this.#groups.order(rows, { ordered: this.#demand.ordered, memory: this.#memory });
  }

  /** Rows counted so far, by group. */
  get rowCounts(): Float64Array {
    return this.#rows.values;
  }

  next(budget: Budget): Step {
    while (this.#order === undefined) {
      if (this.#ordering !== undefined) {
        this.#order = this.#ordering.step(budget);
        if (this.#order === undefined) return 'more';
        continue;
      }
      const step = this.#waiting === undefined ? this.#input.next(budget) : 'batch';
      if (step === 'more') return 'more';
      if (step === 'batch') {
        if (!this.#take(this.#input.batch, budget)) return 'more';
        budget.charge(this.#input.batch.rowCount * this.#work);
        if (budget.exhausted) return 'more';
        continue;
      }
      // Without keys there is one group, be it of no rows.
      if (this.#keys.length === 0) this.#order = Int32Array.of(0);
      else
        this.#ordering = this.#groups.order(this.#rows, {
          ordered: this.#demand.ordered,
          memory: this.#memory,
        });
    }
    if (this.#at >= this.#order.length) return 'done';
    const count = Math.min(BATCH_ROW_COUNT_MAX, this.#order.length - this.#at);
    const groups = this.#order.subarray(this.#at, this.#at + count);
    for (const { state } of this.#calls)
      if (state.settle?.(groups, count, budget) === false) return 'more';
    this.#at += count;
    budget.charge(count * this.#work);
    this.batch = {
      rowCount: count,
      columns: [
        ...this.#unseen.map((unseen, column) => unseen ?? this.#groups.key(column, groups, count)),
        ...this.#calls.map((call) => call.state.finish(groups, count)),
      ],
    };
    return 'batch';
  }

  close(): void {
    this.#input.close();
    this.#groups.close();
    this.#ordering?.close();
    for (const call of this.#calls) call.close();
    this.#rows.close();
    this.#memory.release(this.#accounted);
    this.#accounted = 0;
  }

  /** False: there is no room yet for the batch's groups; it is to be given again. */
  #take(batch: Batch, budget: Budget, counted = true): boolean {
    const { rowCount } = batch;
    const observer = this.#observer?.isWatching === true ? this.#observer : undefined;
    const waiting = (this.#waiting ??= {
      keys: this.#keys.map((key) => key.evaluate(batch, this.#context)),
      groups: undefined,
    });
    const groups = (waiting.groups ??= this.#groups.internWithin(waiting.keys, rowCount, budget));
    if (groups === undefined) return false;
    const { groupCount } = this.#groups;
    if (!this.#ensure(groupCount, budget)) return false;
    this.#waiting = undefined;
    const weights = denseWeights(batch);
    observer?.begin(groups, rowCount, groupCount);
    if (!counted) {
      if (observer === undefined) return true;
      this.#calls.forEach((call, index) => call.show(batch, this.#context, observer, index));
      observer.end();
      return true;
    }
    if (this.#keys.length > 0 || weights !== undefined)
      this.#rows.addAll(groups, weights, rowCount);
    else this.#rows.values[0] = this.#rows.values[0]! + rowCount;
    for (let index = 0; index < this.#calls.length; index += 1)
      this.#calls[index]!.add(batch, groups, groupCount, weights, this.#context, observer, index);
    observer?.end();
    return true;
  }

  #ensure(groupCount: number, budget?: Budget): boolean {
    if (groupCount <= this.#groupCount) return true;
    if (!this.#rows.ensure(groupCount, budget)) return false;
    for (const { state } of this.#calls) if (!state.ensure(groupCount, budget)) return false;
    this.#groupCount = groupCount;
    // A few groups are nobody's burden: a query that counts must run where memory is full, too.
    if (this.#rows.values.length === this.#roomAccounted) return true;
    this.#roomAccounted = this.#rows.values.length;
    let bytes = this.#rows.values.byteLength;
    for (const call of this.#calls) bytes += call.state.memoryBytes;
    if (bytes > this.#accounted) {
      this.#memory.reserve(bytes - this.#accounted);
      this.#accounted = bytes;
    }
    return true;
  }
}

const ONE_ROW = Float64Array.of(1);

/** One aggregate call: its arguments, its FILTER, its DISTINCT, and its state. */
class CallState {
  readonly state: AggregateState;
  readonly type: AggregateCall['type'];
  readonly #args: readonly CompiledExpression[];
  readonly #filter: CompiledFilter | undefined;
  readonly #distinct: DistinctRows | undefined;
  readonly #isCount: boolean;
  readonly #isSum: boolean;
  /** DISTINCT values that may be shown at several scales. */
  readonly #isScaleFree: boolean;
  /** Every row of a group counts: `rows` has counted it. */
  readonly #seesAll: boolean;

  constructor(call: AggregateCall, memory: MemoryAccount, rows: RowCounts) {
    this.#seesAll = call.filter === undefined && !call.distinct;
    this.type = call.type;
    this.#isCount = call.fn === 'count';
    this.#isSum = call.fn === 'sum';
    this.#isScaleFree = call.distinct && !this.#isCount && isScaleFree(call.args[0]!.type);
    this.state = createAggregateState(call, this.#seesAll ? rows : undefined, memory);
    // ORDER BY keys travel behind the arguments.
    this.#args = [
      ...call.args,
      ...(call.fn === 'string_agg' ? call.orderBy.map((key) => key.expression) : []),
    ].map(compileArgument);
    this.#filter = call.filter === undefined ? undefined : compileFilter(call.filter);
    this.#distinct = call.distinct
      ? new DistinctRows(
          call.args.map((arg) => arg.type),
          memory,
        )
      : undefined;
  }

  add(
    batch: Batch,
    groups: Int32Array,
    groupCount: number,
    weights: Int32Array | undefined,
    context: EvaluationContext,
    observer?: AggregateObserver,
    index = 0,
  ): void {
    if (this.#seesAll && this.#isCount && this.#args.length === 0) return;
    let rows = batch;
    let ids = groups;
    let copies = weights;
    let places: Int32Array | undefined;
    if (this.#filter !== undefined) {
      const kept = this.#filter.select(batch, context);
      if (kept === undefined) return;
      if (kept.rowCount < batch.rowCount) {
        ({ ids, copies, places } = narrowed(batch, kept, groups, weights));
        rows = kept;
      }
    }
    let args = this.#args.map((arg) => arg.evaluate(rows, context));
    let { rowCount } = rows;
    observer?.take(index, args, rowCount, places);
    if (this.#distinct !== undefined) {
      const first = this.#distinct.firsts(ids, groupCount, args, rowCount);
      if (this.#isSum && this.#isScaleFree)
        this.state.add(ids, rowCount, [scalesAlone(args[0]!, rowCount)], undefined);
      args =
        this.#isCount && !args.some(mayBeNull)
          ? []
          : args.map((vector) => gather(vector, first, first.length));
      ids = gatherInts(ids, first, first.length);
      copies = undefined;
      rowCount = first.length;
      if (this.#isScaleFree && args.length === 1) args = [withoutScale(args[0]!, rowCount)];
    }
    this.state.add(ids, rowCount, args, copies);
  }

  /** Shows an observer the rows that would be added. */
  show(batch: Batch, context: EvaluationContext, observer: AggregateObserver, index: number): void {
    if (this.#seesAll && this.#isCount && this.#args.length === 0) return;
    let rows = batch;
    let places: Int32Array | undefined;
    if (this.#filter !== undefined) {
      const kept = this.#filter.select(batch, context);
      if (kept === undefined) return;
      if (kept.rowCount < batch.rowCount) {
        places = placesOf(batch, kept);
        rows = kept;
      }
    }
    observer.take(
      index,
      this.#args.map((arg) => arg.evaluate(rows, context)),
      rows.rowCount,
      places,
    );
  }

  close(): void {
    this.#distinct?.close();
    this.state.close?.();
  }
}

function mayBeNull(vector: Vector): boolean {
  return vector.validity !== undefined || vector.rep === 'object';
}

/** Where the rows that a filter kept are among the batch's, both sides being ordered alike. */
function placesOf(batch: Batch, kept: Batch): Int32Array {
  const places = new Int32Array(kept.rowCount);
  let row = 0;
  for (let at = 0; at < kept.rowCount; at += 1) {
    const physical = kept.selection![at]!;
    while ((batch.selection === undefined ? row : batch.selection[row]!) !== physical) row += 1;
    places[at] = row;
    row += 1;
  }
  return places;
}

/** Group ids and weights of the rows that a filter kept. */
function narrowed(
  batch: Batch,
  kept: Batch,
  groups: Int32Array,
  weights: Int32Array | undefined,
): { ids: Int32Array; copies: Int32Array | undefined; places: Int32Array } {
  const places = placesOf(batch, kept);
  return {
    ids: gatherInts(groups, places, places.length),
    copies: weights === undefined ? undefined : gatherInts(weights, places, places.length),
    places,
  };
}

/** Which rows bring a value that their group has not had: (group, value) pairs, a bit each while they are few. */
class DistinctRows {
  readonly #columns: readonly ColumnInterner[];
  readonly #tuples: PairInterner[];
  readonly #pairs: PairInterner;
  #codes = new Int32Array(0);
  #other = new Int32Array(0);
  /** A bit for each value code, by group: a look instead of a search, for the groups and codes that came while there was room. */
  readonly #seen: (Uint8Array | undefined)[] = [];
  #isFull = false;
  #groupsSeen = 0;
  #codesSeen = 0;

  constructor(types: readonly OutputColumn['type'][], memory: MemoryAccount) {
    this.#columns = types.map((type) => createInterner(type, memory));
    this.#tuples = types.slice(1).map(() => new PairInterner(memory));
    this.#pairs = new PairInterner(memory);
  }

  firsts(
    groups: Int32Array,
    groupCount: number,
    args: readonly Vector[],
    rowCount: number,
  ): Int32Array {
    if (this.#codes.length < rowCount) {
      this.#codes = new Int32Array(Math.max(rowCount, BATCH_ROW_COUNT_MAX));
      this.#other = new Int32Array(this.#codes.length);
    }
    const codes = this.#codes;
    this.#columns[0]!.codes(args[0]!, rowCount, codes, true);
    for (let column = 1; column < this.#columns.length; column += 1) {
      this.#columns[column]!.codes(args[column]!, rowCount, this.#other, true);
      this.#tuples[column - 1]!.codes(codes, this.#other, rowCount, codes, true);
    }
    const first = new Int32Array(rowCount);
    let count = 0;
    const size = this.#tuples.at(-1)?.size ?? this.#columns[0]!.size;
    if (!this.#isFull && (groupCount * size) / 8 > SEEN_BYTES_MAX) this.#isFull = true;
    if (!this.#isFull) {
      this.#groupsSeen = groupCount;
      this.#codesSeen = size;
    }
    const seen = this.#seen;
    for (let row = 0; row < rowCount; row += 1) {
      const group = groups[row]!;
      const code = codes[row]!;
      if (group >= this.#groupsSeen || code >= this.#codesSeen) {
        const before = this.#pairs.size;
        this.#pairs.codeOf(group, code, true);
        if (this.#pairs.size === before) continue;
        first[count] = row;
        count += 1;
        continue;
      }
      let bytes = seen[group];
      if (bytes === undefined || bytes.length <= code >>> 3) {
        const grown = new Uint8Array(
          Math.max(128, 2 ** Math.ceil(Math.log2(this.#codesSeen / 8 + 1))),
        );
        if (bytes !== undefined) grown.set(bytes);
        bytes = grown;
        seen[group] = grown;
      }
      const bits = bytes[code >>> 3]!;
      const bit = 1 << (code & 7);
      if ((bits & bit) === 0) {
        bytes[code >>> 3] = bits | bit;
        first[count] = row;
        count += 1;
      }
    }
    return first.subarray(0, count);
  }

  close(): void {
    for (const interner of this.#columns) interner.close();
    for (const tuples of this.#tuples) tuples.close();
    this.#pairs.close();
  }
}

const SEEN_BYTES_MAX = 64 * 1024 * 1024;

/** Weights by logical row; undefined: all are 1. */
export function denseWeights({ weights, selection, rowCount }: Batch): Int32Array | undefined {
  if (weights === undefined || selection === undefined) return weights;
  const dense = new Int32Array(rowCount);
  for (let row = 0; row < rowCount; row += 1) dense[row] = weights[selection[row]!]!;
  return dense;
}
