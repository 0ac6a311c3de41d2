import { assert } from '../base/errors.ts';
import { slabDoubles, slabInts } from '../base/slab.ts';
import type { MemoryAccount } from '../base/memory.ts';
import { BATCH_ROW_COUNT_MAX, type Batch } from '../columns/batch.ts';
import { datumAt, denseBatch, gather, vectorFromData } from '../columns/build.ts';
import { canonicalText } from '../columns/compare.ts';
import type { Vector } from '../columns/vector.ts';
import {
  compileExpression,
  compileFilter,
  type CompiledExpression,
  type CompiledFilter,
} from '../expressions/compile.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import { scalesAlone, withoutScale } from '../operators/aggregates/distinct-numerics.ts';
import {
  createAggregateState,
  FloatSumState,
  type AggregateState,
} from '../operators/aggregates/state.ts';
import type { Budget, Operator, Step } from '../operators/operator.ts';
import { EMPTY_BATCH } from '../operators/row-operators.ts';
import type { AggregateCall, AggregateNode, OutputColumn } from '../plan/logical.ts';
import { isScaleFree } from '../plan/shown-keys.ts';
import type { StatefulOperator } from './delta-operator.ts';
import { identicalCells } from '../columns/identical.ts';
import { GroupSlots } from './group-slots.ts';
import { createExtremes, ExtremeCounts, ExtremeEnd, type Extremes } from './extremes.ts';

const WORK_PER_GROUP = 4;
/** Room for so many groups is given back where there is none of them any more. */
const FORGOTTEN_MIN = 1024;

/**
 * GROUP BY of deltas. Each aggregate keeps its exact state by group; a change is added with its weight. When a commit's last change
 * is in, the groups it touched are finished anew, and those whose row looks different leave as −old, +new, next to each
 * other; a group without rows has none, and without keys there is always one. Row ids of the output number the groups. The number of one that has
 * lost its rows is given to another when nothing can bring them back.
 *
 * Everything a state takes can be taken back, so undoing a commit is adding it with negated weights.
 */
export class DeltaGroup implements StatefulOperator {
  readonly id: number;
  readonly columns: readonly OutputColumn[];
  batch: Batch = EMPTY_BATCH;
  readonly #input: Operator;
  /** False where whoever reads the output knows what the groups look like: then each touched group leaves or is shown, by its number. */
  readonly #showsOld: boolean;
  readonly #keys: readonly CompiledExpression[];
  readonly #groups: GroupSlots;
  readonly #node: AggregateNode;
  #calls: readonly CallState[];
  readonly #context: EvaluationContext;
  #rowCounts = new Float64Array(64);
  /** The commit that touched a group last. */
  #touchedIn = new Int32Array(64);
  #commit = 0;
  #touched: number[] = [];
  /** By group: 1 where it had rows before this commit touched it. */
  #wasLive = new Uint8Array(64);
  /**
   * The touched groups once they are shown, in the order they were touched: their numbers depend on when the view was made. Where all of them stay, and so
   * do their places, by number: they are stored in that order.
   */
  #shownGroups: Int32Array = NO_GROUPS;
  /** What the touched groups looked like, in pieces of consecutive touched groups; only where that is shown. */
  #before: {
    readonly start: number;
    readonly live: Uint8Array;
    readonly columns: readonly Vector[];
  }[] = [];
  #emitting = -1;
  #globalShown: boolean;
  readonly #log: { readonly commit: number; readonly applied: Applied[] }[] = [];
  /** Groups whose numbers are given again as soon as no commit that touched them can be undone. */
  readonly #emptied = new Set<number>();
  readonly #shownLog: boolean[] = [];

  constructor(
    node: AggregateNode,
    input: Operator,
    context: EvaluationContext,
    memory: MemoryAccount | undefined,
    showsOld: boolean,
  ) {
    this.id = node.id;
    this.#node = node;
    this.#showsOld = showsOld;
    this.columns = node.columns;
    this.#input = input;
    this.#context = context;
    this.#keys = node.keys.map(compileExpression);
    this.#groups = new GroupSlots({ types: node.keys.map((key) => key.type), memory });
    this.#calls = callStates(node.calls);
    this.#globalShown = node.keys.length > 0;
    this.#commit = 1;
    if (node.keys.length === 0) this.#ensure(1);
  }

  next(budget: Budget): Step {
    while (this.#emitting < 0) {
      const step = this.#input.next(budget);
      if (step === 'more') return 'more';
      if (step === 'batch') {
        this.#take(denseBatch(this.#input.batch));
        budget.charge(this.#input.batch.rowCount * (1 + this.#calls.length));
        if (budget.exhausted) return 'more';
        continue;
      }
      if (this.#touched.length === 0 && this.#globalShown) return 'done';
      // The one row of an aggregate without keys is there from the start.
      if (!this.#globalShown && this.#touched.length === 0) this.#touch(new Int32Array(1), 1);
      this.#emitting = 0;
      if (!this.#showsOld) this.#shownGroups = this.#groupsToShow();
    }
    for (;;) {
      const start = this.#emitting * GROUPS_PER_BATCH;
      const before = this.#before[this.#emitting];
      if (this.#showsOld ? before === undefined : start >= this.#shownGroups.length) break;
      const made = this.#showsOld ? this.#changes(before!) : this.#shown(start);
      this.#emitting += 1;
      budget.charge(this.#touched.length * WORK_PER_GROUP);
      if (made === undefined) continue;
      this.batch = made;
      return 'batch';
    }
    this.#globalShown = true;
    this.#noteEmptied(this.#touched, this.#touched.length);
    this.#settle();
    return 'done';
  }

  checkpoint(): void {
    this.#settle();
    this.#log.push({ commit: this.#commit, applied: [] });
    this.#shownLog.push(this.#globalShown);
  }

  rollback(): void {
    const undone = this.#log.pop();
    assert(undone !== undefined, 'only a commit with a checkpoint is undone');
    // Of a batch that was refused nothing was added, but its groups have their numbers.
    this.#noteEmptied(this.#touched, this.#touched.length);
    for (const { groups, rowCount, batch, weights } of undone.applied.toReversed()) {
      const back = new Int32Array(rowCount);
      for (let row = 0; row < rowCount; row += 1)
        back[row] = weights === undefined ? -1 : -weights[row]!;
      this.#apply(groups, rowCount, batch, back);
      this.#noteEmptied(groups, rowCount);
    }
    this.#globalShown = this.#shownLog.pop()!;
    this.#settle();
  }

  release(): void {
    const { commit } = this.#log.shift()!;
    this.#shownLog.shift();
    for (const group of this.#emptied) {
      if (this.#rowCounts[group] === 0) {
        // A commit that came after may still be undone: it names the group.
        if (this.#touchedIn[group]! > commit) continue;
        this.#groups.free(group);
      }
      this.#emptied.delete(group);
    }
    this.#groups.settle();
    if (this.#groups.slotCount === 0 && this.#rowCounts.length >= FORGOTTEN_MIN) this.#beginAnew();
  }

  /** There is no group any more, nor will an undo bring one back: what was kept of them goes. */
  #beginAnew(): void {
    this.#calls = callStates(this.#node.calls);
    this.#rowCounts = new Float64Array(64);
    this.#touchedIn = new Int32Array(64);
    this.#wasLive = new Uint8Array(64);
  }

  close(): void {
    this.#input.close();
    this.#groups.close();
  }

  #settle(): void {
    this.#touched = [];
    this.#shownGroups = NO_GROUPS;
    this.#before = [];
    this.#emitting = -1;
    this.#commit += 1;
  }

  #take(batch: Batch): void {
    const { rowCount } = batch;
    const keys = this.#keys.map((key) => key.evaluate(batch, this.#context));
    const groups = this.#groups.intern(keys, rowCount);
    this.#ensure(this.#groups.slotCount);
    this.#touch(groups, rowCount);
    this.#apply(groups, rowCount, batch, batch.weights);
    this.#log.at(-1)?.applied.push({ groups, rowCount, batch, weights: batch.weights });
  }

  #apply(
    groups: Int32Array,
    rowCount: number,
    batch: Batch,
    weights: Int32Array | undefined,
  ): void {
    // Expressions may refuse a row: they are evaluated before any state has changed, so that there is nothing to be undone.
    for (const call of this.#calls) call.evaluate(batch, groups, weights, this.#context);
    if (weights === undefined) countArrivals(this.#rowCounts, groups, rowCount);
    else countChanges(this.#rowCounts, groups, weights, rowCount);
    for (const call of this.#calls) call.add();
  }

  #noteEmptied(groups: ArrayLike<number>, count: number): void {
    if (this.#keys.length === 0) return;
    for (let at = 0; at < count; at += 1)
      if (this.#rowCounts[groups[at]!] === 0) this.#emptied.add(groups[at]!);
  }

  /** Takes down the groups that this commit touches for the first time, and how they look where that will be shown. */
  #touch(groups: Int32Array, rowCount: number): void {
    const first = this.#touched.length;
    for (let row = 0; row < rowCount; row += 1) {
      const group = groups[row]!;
      if (this.#touchedIn[group] === this.#commit) continue;
      this.#touchedIn[group] = this.#commit;
      this.#wasLive[group] = this.#isShown(group) ? 1 : 0;
      this.#touched.push(group);
    }
    if (!this.#showsOld) return;
    for (let start = first; start < this.#touched.length; start += GROUPS_PER_BATCH) {
      const piece = Int32Array.from(this.#touched.slice(start, start + GROUPS_PER_BATCH));
      this.#before.push({ start, live: this.#live(piece), columns: this.#finish(piece) });
    }
  }

  #groupsToShow(): Int32Array {
    const touched = this.#touched;
    const groupCount = this.#groups.slotCount;
    if (this.#keys.length === 0 || touched.length * 4 < groupCount) return intsOf(touched);
    for (let at = 0; at < touched.length; at += 1) {
      const group = touched[at]!;
      if (this.#wasLive[group] === 0 || this.#rowCounts[group] === 0) return intsOf(touched);
    }
    const groups = slabInts(touched.length);
    let next = 0;
    for (let group = 0; group < groupCount; group += 1) {
      if (this.#touchedIn[group] !== this.#commit) continue;
      groups[next] = group;
      next += 1;
    }
    return groups;
  }

  /** Whether there was a row of the group before the rows at hand. */
  #isShown(group: number): boolean {
    return this.#keys.length === 0 ? this.#globalShown : this.#rowCounts[group]! > 0;
  }

  #live(groups: Int32Array): Uint8Array {
    const live = new Uint8Array(groups.length);
    for (let at = 0; at < groups.length; at += 1) live[at] = this.#isShown(groups[at]!) ? 1 : 0;
    return live;
  }

  #finish(groups: Int32Array): Vector[] {
    return [
      ...this.#groups.keys(groups, groups.length, slabDoubles),
      ...this.#calls.map((call) => call.finish(groups, groups.length)),
    ];
  }

  /** −old, +new of one piece of touched groups. */
  #changes({
    start,
    live,
    columns,
  }: {
    readonly start: number;
    readonly live: Uint8Array;
    readonly columns: readonly Vector[];
  }): Batch | undefined {
    const count = live.length;
    const groups = Int32Array.from(this.#touched.slice(start, start + count));
    const after = this.#finish(groups);
    // Rows of both versions in one batch: version 0 first, then version 1 behind it.
    const rows: number[] = [];
    const weights: number[] = [];
    for (let at = 0; at < count; at += 1) {
      const isLive = this.#keys.length === 0 || this.#rowCounts[groups[at]!]! > 0;
      const wasLive = live[at] === 1;
      if (
        wasLive &&
        isLive &&
        columns.every((vector, column) => identicalCells(vector, at, after[column]!, at))
      )
        continue;
      if (wasLive) {
        rows.push(at);
        weights.push(-1);
      }
      if (isLive) {
        rows.push(count + at);
        weights.push(1);
      }
    }
    if (rows.length === 0) return undefined;
    const selection = Int32Array.from(rows);
    const both = columns.map((vector, column) =>
      pick(vector, after[column]!, count, selection, this.columns[column]!),
    );
    return {
      rowCount: rows.length,
      columns: both,
      weights: Int32Array.from(weights),
      rowIds: Float64Array.from(rows, (row) => groups[row % count]!),
    };
  }

  /**
   * A batch of the touched groups, as they look now, from number `start` on: +1 for those that have rows (whoever stores them knows
   * whether they look as before), −1 for those that have none any more.
   */
  #shown(start: number): Batch | undefined {
    const all = this.#shownGroups;
    const groups =
      all.length <= GROUPS_PER_BATCH ? all : all.subarray(start, start + GROUPS_PER_BATCH);
    const count = groups.length;
    const rowIds = slabDoubles(count);
    let weights: Int32Array | undefined;
    let told = 0;
    for (let at = 0; at < count; at += 1) {
      const group = groups[at]!;
      rowIds[at] = group;
      if (this.#keys.length === 0 || this.#rowCounts[group]! > 0) {
        told += 1;
        continue;
      }
      weights ??= new Int32Array(count).fill(1);
      weights[at] = this.#wasLive[group] === 1 ? -1 : 0;
      if (weights[at] !== 0) told += 1;
    }
    if (told === 0) return undefined;
    const columns = this.#finish(groups);
    if (told === count) return { rowCount: count, columns, weights, rowIds };
    const selection = new Int32Array(told);
    let next = 0;
    for (let at = 0; at < count; at += 1) {
      if (weights![at] === 0) continue;
      selection[next] = at;
      next += 1;
    }
    return { rowCount: told, columns, selection, weights, rowIds };
  }

  #ensure(groupCount: number): void {
    if (groupCount > this.#rowCounts.length) {
      let next = this.#rowCounts.length;
      while (next < groupCount) next *= 2;
      const counts = new Float64Array(next);
      counts.set(this.#rowCounts);
      this.#rowCounts = counts;
      const touched = new Int32Array(next);
      touched.set(this.#touchedIn);
      this.#touchedIn = touched;
      const live = new Uint8Array(next);
      live.set(this.#wasLive);
      this.#wasLive = live;
    }
    for (const call of this.#calls) call.ensure(groupCount);
  }
}

function intsOf(numbers: readonly number[]): Int32Array {
  const array = slabInts(numbers.length);
  for (let at = 0; at < array.length; at += 1) array[at] = numbers[at]!;
  return array;
}

function countArrivals(counts: Float64Array, groups: Int32Array, rowCount: number): void {
  for (let row = 0; row < rowCount; row += 1) {
    const group = groups[row]!;
    counts[group] = counts[group]! + 1;
  }
}

function countChanges(
  counts: Float64Array,
  groups: Int32Array,
  weights: Int32Array,
  rowCount: number,
): void {
  for (let row = 0; row < rowCount; row += 1) {
    const group = groups[row]!;
    counts[group] = counts[group]! + weights[row]!;
  }
}

const NO_GROUPS = new Int32Array(0);
const NO_VECTORS: readonly Vector[] = [];
const GROUPS_PER_BATCH = BATCH_ROW_COUNT_MAX / 2;

type Applied = {
  readonly groups: Int32Array;
  readonly rowCount: number;
  readonly batch: Batch;
  readonly weights: Int32Array | undefined;
};

/** Rows of two vectors that stand behind each other. */
function pick(
  before: Vector,
  after: Vector,
  count: number,
  selection: Int32Array,
  { type }: OutputColumn,
): Vector {
  if (before.rep === 'number' && after.rep === 'number' && before.scale === after.scale) {
    const values = new Float64Array(selection.length);
    let validity: Uint8Array | undefined;
    for (let at = 0; at < selection.length; at += 1) {
      const row = selection[at]!;
      const vector = row < count ? before : after;
      const inner = row < count ? row : row - count;
      if (vector.validity !== undefined && vector.validity[inner] === 0) {
        validity ??= new Uint8Array(selection.length).fill(1);
        validity[at] = 0;
      } else values[at] = vector.values[inner]! * vector.factor + vector.base;
    }
    return { rep: 'number', type, values, validity, factor: 1, base: 0, scale: before.scale };
  }
  return vectorFromData(
    type,
    Array.from(selection, (row) =>
      row < count ? datumAt(before, row) : datumAt(after, row - count),
    ),
  );
}

/**
 * The states of a view's aggregates. min and max of one argument share the order of its values, sum and avg of doubles their exact sum:
 * the rows are added to the first of both.
 */
function callStates(calls: readonly AggregateCall[]): CallState[] {
  const extremes = new Map<string, Extremes>();
  const sums = new Map<string, FloatSumState>();
  return calls.map((call) => {
    const key = JSON.stringify([call.args, call.filter, call.distinct], (_, value: unknown) =>
      typeof value === 'bigint' ? `${value}n` : value,
    );
    if (call.fn === 'min' || call.fn === 'max') {
      const known = extremes.get(key);
      const shared = known ?? createExtremes(call.type);
      if (shared === undefined) return new CallState(call, new ExtremeCounts(call));
      extremes.set(key, shared);
      return new CallState(call, new ExtremeEnd(shared, call.fn), known !== undefined);
    }
    const known = sums.get(key);
    if (known !== undefined && (call.fn === 'sum' || call.fn === 'avg'))
      return new CallState(call, known.other(call.type, call.fn === 'avg'), true);
    const state = createAggregateState(call);
    if (state instanceof FloatSumState) sums.set(key, state);
    return new CallState(call, state);
  });
}

/** One aggregate of a view: its arguments, FILTER, DISTINCT, and a state that can give rows back. */
class CallState {
  readonly #state: AggregateState;
  readonly #args: readonly CompiledExpression[];
  readonly #filter: CompiledFilter | undefined;
  readonly #distinct: DistinctCounts | undefined;
  readonly #isSum: boolean;
  /** DISTINCT values that may be shown at several scales. */
  readonly #isScaleFree: boolean;
  /** Another call adds the rows to what both share. */
  readonly #isFed: boolean;
  /** What was evaluated and is not added yet: so many rows, their groups, arguments, and weights. */
  #rowCount = 0;
  #ids: Int32Array = NO_GROUPS;
  #vectors = NO_VECTORS;
  #copies: Int32Array | undefined;

  constructor(call: AggregateCall, state: AggregateState, isFed = false) {
    this.#state = state;
    this.#isFed = isFed;
    this.#args = call.args.map(compileExpression);
    this.#filter = call.filter === undefined ? undefined : compileFilter(call.filter);
    this.#distinct = call.distinct ? new DistinctCounts(call) : undefined;
    this.#isSum = call.fn === 'sum';
    this.#isScaleFree = call.distinct && call.fn !== 'count' && isScaleFree(call.args[0]!.type);
  }

  ensure(groupCount: number): void {
    this.#state.ensure(groupCount);
  }

  /** What FILTER and the arguments make of some rows; `add` takes it. */
  evaluate(
    batch: Batch,
    groups: Int32Array,
    weights: Int32Array | undefined,
    context: EvaluationContext,
  ): void {
    this.#rowCount = 0;
    if (this.#isFed) return;
    let rows = batch;
    this.#ids = groups;
    this.#copies = weights;
    if (this.#filter !== undefined) {
      const kept = this.#filter.select(batch, context);
      if (kept === undefined) return;
      if (kept.selection !== undefined) {
        const { selection } = kept;
        this.#ids = selection.map((row) => groups[row]!);
        this.#copies = weights === undefined ? undefined : selection.map((row) => weights[row]!);
        rows = kept;
      }
    }
    this.#vectors = this.#args.map((arg) => arg.evaluate(rows, context));
    this.#rowCount = rows.rowCount;
  }

  /** Adds what was evaluated. */
  add(): void {
    let rowCount = this.#rowCount;
    if (rowCount === 0) return;
    let ids = this.#ids;
    let args = this.#vectors;
    let copies = this.#copies;
    this.#ids = NO_GROUPS;
    this.#vectors = NO_VECTORS;
    this.#copies = undefined;
    if (this.#distinct !== undefined) {
      const crossings = this.#distinct.crossings(ids, args[0]!, copies, rowCount);
      if (this.#isSum && this.#isScaleFree)
        this.#state.add(ids, rowCount, [scalesAlone(args[0]!, rowCount)], copies);
      args = args.map((vector) => gather(vector, crossings.rows, crossings.rows.length));
      ids = crossings.rows.map((row) => ids[row]!);
      copies = crossings.weights;
      rowCount = crossings.rows.length;
      if (this.#isScaleFree) args = [withoutScale(args[0]!, rowCount)];
    }
    if (rowCount > 0) this.#state.add(ids, rowCount, args, copies);
  }

  finish(groups: Int32Array, count: number): Vector {
    return this.#state.finish(groups, count, slabDoubles);
  }
}

/** How often each value is in each group: a value counts while it is there at all. */
class DistinctCounts {
  readonly #counts: (Map<string, number> | undefined)[] = [];
  readonly #type: OutputColumn['type'];

  constructor(call: AggregateCall) {
    this.#type = call.args[0]!.type;
  }

  /** Rows at which a value came into its group (+1) or left it (−1). */
  crossings(
    groups: Int32Array,
    values: Vector,
    weights: Int32Array | undefined,
    rowCount: number,
  ): { readonly rows: Int32Array; readonly weights: Int32Array } {
    const rows: number[] = [];
    const signs: number[] = [];
    for (let row = 0; row < rowCount; row += 1) {
      const datum = datumAt(values, row);
      if (datum === null) continue;
      const group = groups[row]!;
      const counts = (this.#counts[group] ??= new Map());
      const key = canonicalText(datum, this.#type.kind);
      const before = counts.get(key) ?? 0;
      const after = before + (weights === undefined ? 1 : weights[row]!);
      if (after !== 0) counts.set(key, after);
      else if (counts.delete(key) && counts.size === 0) this.#counts[group] = undefined;
      if (before > 0 === after > 0) continue;
      rows.push(row);
      signs.push(after > 0 ? 1 : -1);
    }
    return { rows: Int32Array.from(rows), weights: Int32Array.from(signs) };
  }
}
