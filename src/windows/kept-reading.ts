import { assert, DbError } from '../base/errors.ts';
import { countUpTo } from '../base/search.ts';
import { BATCH_ROW_COUNT_MAX, type Batch } from '../columns/batch.ts';
import { datumAt } from '../columns/build.ts';
import type { TimeStretch } from '../columns/table-contract.ts';
import { BOOLEAN, type SqlType } from '../columns/types.ts';
import { compileExpression, compileFilter } from '../expressions/compile.ts';
import type { Expression } from '../expressions/expression.ts';
import { referencedColumns } from '../expressions/fold.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import type { ExecutionEnvironment } from '../operators/environment.ts';
import type { Budget } from '../operators/operator.ts';
import type { AggregateCall } from '../plan/logical.ts';
import { conjunction, conjunctsOf, constant } from '../plan/nodes.ts';
import type { KeptColumn, KeptEra, KeptTerm, KeptTile, KeptTiles, Slab } from './kept-tiles.ts';
import type { KeyCounts } from './key-counts.ts';
import { writtenPolicy, type Policy } from './policy.ts';
import {
  addTile,
  TilePlaces,
  visitBuckets,
  type TermPlace,
  type TileLayout,
} from './tile-layout.ts';
import { NoTiles } from './no-tiles.ts';
import { BUCKET_KEY } from './tile-measures.ts';
import type { TileSet, Tiling } from './tile-set.ts';
import type { TilePlan } from './tile-plan.ts';
import { metBetween, rowEnds, scannedEnds, type TimesMet } from './time-ends.ts';
import { isOfTime, timeReach, type TimeReach } from './time-reach.ts';
import type { WindowBounds } from './window-source.ts';

/** A table's demoted rows, and how errors speak of them. */
export type KeptTable = {
  readonly tiles: KeptTiles;
  readonly name: string;
  readonly columns: readonly { readonly name: string }[];
  readonly policy: Policy | undefined;
};

/** Where sums of a window go: a tile by group. */
export interface GroupTotals {
  readonly data: Float64Array;
  readonly layout: TileLayout;
  readonly keys: KeyCounts | undefined;
  slotOf(group: number): number;
  /** The first slice of what is counted for the tile that begins there. */
  sliceAt(at: number): number;
}

/** Demoted rows as one reader sees them: at a position, for one question. What they cannot answer is `ADB_RESOLUTION`. */
export class KeptReading {
  readonly #table: KeptTable;
  readonly #position: number;
  readonly #release: () => void;
  readonly #plan: TilePlan;
  readonly #context: EvaluationContext;
  readonly #eras = new Map<KeptEra, EraReading>();
  /** What FILTERs say of time alone. */
  #timed: TimedFilters = NO_TIMED_FILTERS;

  constructor(table: KeptTable, position: number, plan: TilePlan, context: EvaluationContext) {
    this.#table = table;
    this.#position = position;
    this.#plan = plan;
    this.#context = { ...context, parameters: [] };
    this.#release = table.tiles.hold(position);
  }

  close(): void {
    this.#release();
  }

  /** Makes room in a set for what demoted rows bring; its pages are as they were. */
  *begin(set: TileSet, calls: readonly number[], budget: () => Budget): Tiling<void> {
    const hull = this.#table.tiles.hull(this.#position);
    assert(hull !== undefined, 'demoted rows are read where there are some');
    const all = { from: hull.start, to: hull.end };
    this.#timed = yield* timedFilters(this.#plan, this.#context, all, budget);
    for (const era of this.#table.tiles.eras) {
      if (era.isEmpty) continue;
      const read = new EraReading(era, this.#plan, set, calls, this.#context, this.#timed.byCall);
      if (read.missing === undefined) yield* read.mapGroups(budget);
      this.#eras.set(era, read);
    }
  }

  /** Adds the demoted rows of a window. */
  *addTo(
    set: TileSet,
    totals: GroupTotals,
    from: number,
    to: number,
    budget: () => Budget,
  ): Tiling<void> {
    const { cuts } = this.#timed;
    let start = from;
    for (let next = countUpTo(cuts, from); start < to; next += 1) {
      const end = Math.min(to, next < cuts.length ? cuts[next]! : Infinity);
      yield* this.#addBetween(set, totals, start, end, budget);
      start = end;
    }
  }

  /** The same of a stretch in which each FILTER's conditions on time hold always or never. */
  *#addBetween(
    set: TileSet,
    totals: GroupTotals,
    from: number,
    to: number,
    budget: () => Budget,
  ): Tiling<void> {
    for (const read of this.#eras.values()) read.enter(from);
    for (const tile of this.#table.tiles.summed(this.#position, from, to)) {
      // An era that began later than this reader has nothing at its position.
      const read = this.#eras.get(tile.era)!;
      if (read.missing !== undefined) throw resolutionError(this.#table, read.missing, tile);
      const { slab } = tile;
      if (tile.start < from || tile.end > to) {
        if (read.meets(slab.groups)) throw resolutionError(this.#table, undefined, tile);
        continue;
      }
      const { stride } = slab.layout;
      for (let at = 0; at < slab.groups.length; at += 1) {
        const mapped = read.groupOf(slab.groups[at]!);
        if (mapped < 0) continue;
        const slot = totals.slotOf(mapped);
        addTile(
          totals.data,
          slot,
          totals.layout,
          slab.data,
          at * stride,
          read.layoutOf(slab.layout, slab.groups[at]!),
        );
        if (totals.keys !== undefined) read.addKeys(totals.keys, totals.sliceAt(slot), slab, at);
      }
      budget().charge(1 + slab.groups.length);
      if (!budget().exhausted) continue;
      yield 'go';
      if (set.isClosed) throw new NoTiles(false);
    }
  }
}

/** FILTERs of a question's calls, of which time tells a part. */
type TimedFilters = {
  /** By call: its conditions on what is not time alone, and when the others hold; undefined: always. */
  readonly byCall: readonly {
    readonly rest: readonly Expression[];
    readonly reach: TimeReach | undefined;
  }[];
  /** Where any of them begins or ceases to hold, ascending. */
  readonly cuts: Float64Array;
};

const NO_TIMED_FILTERS: TimedFilters = { byCall: [], cuts: new Float64Array(0) };

/** When FILTERs hold, found in steps. */
function* timedFilters(
  { time, calls }: TilePlan,
  context: EvaluationContext,
  all: TimeStretch,
  budget: () => Budget,
): Tiling<TimedFilters> {
  const byCall: TimedFilters['byCall'][number][] = [];
  const cuts = new Set<number>();
  for (const { filter } of calls) {
    const conditions = filter === undefined ? [] : conjunctsOf(filter);
    const own = conditions.filter(
      (each) => isOfTime(each, time) && referencedColumns(each).size > 0,
    );
    const reach = own.length === 0 ? undefined : yield* reachOf(own, time, context, all, budget);
    const rest = conditions.filter((each) => reach === undefined || !own.includes(each));
    byCall.push({ rest, reach });
    for (const { from, to } of reach?.stretches ?? []) cuts.add(from).add(to);
  }
  return { byCall, cuts: Float64Array.from(cuts).sort() };
}

function* reachOf(
  conditions: readonly Expression[],
  time: number,
  context: EvaluationContext,
  all: TimeStretch,
  budget: () => Budget,
): Tiling<TimeReach | undefined> {
  const search = { budget, looksLeft: LOOKS_MAX, changesMax: LOOKS_MAX };
  const steps = timeReach(conditions, time, context, metBetween(all), search);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    yield 'go';
  }
}

/** Looks for the times at which a FILTER begins or ceases to hold. */
const LOOKS_MAX = 65_536;

/** How the tiles of an era answer a question, or what they lack. */
class EraReading {
  readonly missing: string | undefined;
  readonly #era: KeptEra;
  readonly #plan: TilePlan;
  readonly #set: TileSet;
  readonly #context: EvaluationContext;
  /** By term of the set that the question needs: the era's term, −1 where all rows count, and its FILTER's number. */
  readonly #terms: readonly {
    readonly term: number;
    readonly own: number;
    readonly filter: number;
  }[];
  /** By keys of the set that the question needs: the era's term, whose buckets they are, or the column by which its groups are apart. */
  readonly #keyed: readonly {
    readonly kind: number;
    readonly own: number;
    readonly column: Expression;
    readonly filter: number;
  }[];
  /** In the same order: by group, the key of that column's value. */
  readonly #keys: Int32Array[] = [];
  readonly #filters: readonly Expression[];
  /** By group of the era: the set's group, −1 where the filter refuses it. */
  #groups = new Int32Array(0);
  /** By group: the FILTERs that it meets, a bit each. */
  #masks = new Int32Array(0);
  /** By FILTER, when it holds; undefined: always. */
  readonly #times: readonly (TimeReach | undefined)[];
  /** FILTERs that hold now. */
  #held = -1;
  readonly #layouts = new WeakMap<TileLayout, Map<number, TilePlaces>>();

  constructor(
    era: KeptEra,
    plan: TilePlan,
    set: TileSet,
    calls: readonly number[],
    context: EvaluationContext,
    timed: TimedFilters['byCall'],
  ) {
    this.#era = era;
    this.#plan = plan;
    this.#set = set;
    this.#context = context;
    const filters: Expression[] = [];
    const times: (TimeReach | undefined)[] = [];
    const terms = new Map<
      number,
      { readonly term: number; readonly own: number; readonly filter: number }
    >();
    const keyed: { kind: number; own: number; column: Expression; filter: number }[] = [];
    let missing = this.#missingKeys(plan);
    for (const [index, call] of plan.calls.entries()) {
      const number = set.measures.termOf(calls[index]!);
      if (number < 0 || missing !== undefined) continue;
      const found = this.#termOf(call, set.measures.plainArgument(calls[index]!));
      if (typeof found === 'string') {
        missing = found;
        continue;
      }
      const { rest, reach } = timed[index]!;
      const condition = conjunction([
        ...rest,
        // Of a column that rows are apart by, groups tell which have a value.
        ...call.args
          .filter((argument) => found < 0 && this.#isOfGroups(argument))
          .map((arg) => ({ kind: 'isNotNull' as const, arg, type: BOOLEAN })),
      ]);
      let filter = -1;
      if (condition !== undefined && !this.#isOfGroups(condition)) {
        missing = `conditions of "${this.#strangers(condition)}"`;
        continue;
      }
      if (condition !== undefined || reach !== undefined) {
        filter = filters.push(condition ?? constant(true, BOOLEAN)) - 1;
        times.push(reach);
      }
      terms.set(number, { term: number, own: found, filter });
      const kind = set.measures.keysOf(calls[index]!);
      if (kind >= 0 && !keyed.some((each) => each.kind === kind))
        keyed.push({ kind, own: found, column: call.args[0]!, filter });
      if (found < 0) continue;
      const { type } = era.shape.terms[found]!;
      set.measures.admit(number, era.layout.ranges[found]!, shownScale(type));
      const squared = set.measures.squaresOf(calls[index]!);
      if (squared < 0) continue;
      // Squares stand behind what they are of.
      terms.set(squared, { term: squared, own: found + 1, filter });
      set.measures.admit(squared, era.layout.ranges[found + 1]!, undefined);
    }
    if (filters.length > FILTERS_MAX) missing ??= `more than ${FILTERS_MAX} FILTERs`;
    this.missing = missing;
    this.#terms = [...terms.values()];
    this.#keyed = keyed;
    this.#filters = filters;
    this.#times = times;
  }

  /** Era's groups are looked up in the set's, in steps. */
  *mapGroups(budget: () => Budget): Tiling<void> {
    const { groupCount } = this.#era.groups;
    this.#groups = new Int32Array(groupCount).fill(-1);
    this.#masks = new Int32Array(groupCount);
    for (const _ of this.#keyed) this.#keys.push(new Int32Array(groupCount));
    const columns = this.#keyed.map(({ own, column }) =>
      own < 0 ? compileExpression(column) : undefined,
    );
    const filter = this.#plan.filter === undefined ? undefined : compileFilter(this.#plan.filter);
    const keys = this.#plan.keys.map(compileExpression);
    const conditions = this.#filters.map(compileExpression);
    for (let start = 0; start < groupCount; start += BATCH_ROW_COUNT_MAX) {
      const count = Math.min(BATCH_ROW_COUNT_MAX, groupCount - start);
      const numbers = Int32Array.from({ length: count }, (_, row) => start + row);
      const all: Batch = {
        rowCount: count,
        columns: this.#era.keysByColumn(numbers, count),
        selection: undefined,
      };
      const rows = filter === undefined ? all : filter.select(all, this.#context);
      if (rows === undefined || rows.rowCount === 0) continue;
      const found =
        keys.length === 0
          ? undefined
          : this.#set.groups.intern(
              keys.map((key) => key.evaluate(rows, this.#context)),
              rows.rowCount,
            );
      const shown = conditions.map((each) => each.evaluate(rows, this.#context));
      for (let row = 0; row < rows.rowCount; row += 1) {
        const group = start + (rows.selection === undefined ? row : rows.selection[row]!);
        this.#groups[group] = found === undefined ? 0 : found[row]!;
        let mask = 0;
        for (let bit = 0; bit < shown.length; bit += 1)
          if (datumAt(shown[bit]!, row) === true) mask |= 1 << bit;
        this.#masks[group] = mask;
      }
      for (const [index, column] of columns.entries()) {
        if (column === undefined) continue;
        const { kind } = this.#keyed[index]!;
        const vector = column.evaluate(rows, this.#context);
        const found = this.#set.measures.otherKeys(kind, vector, rows.rowCount);
        for (let row = 0; row < rows.rowCount; row += 1)
          this.#keys[index]![start + (rows.selection === undefined ? row : rows.selection[row]!)] =
            found[row]!;
      }
      budget().charge(count * (1 + keys.length + conditions.length));
      if (budget().exhausted) yield 'go';
    }
  }

  /** Tiles that begin at `time` are looked at, or later ones, as far as what FILTERs say of time stays the same. */
  enter(time: number): void {
    let held = -1;
    for (const [bit, reach] of this.#times.entries())
      if (reach?.stretches.some(({ from, to }) => time >= from && time < to) === false)
        held &= ~(1 << bit);
    this.#held = held;
  }

  /** Whether the question is about some of these groups. */
  meets(groups: Int32Array): boolean {
    return groups.some((group) => this.groupOf(group) >= 0);
  }

  groupOf(group: number): number {
    return this.#groups[group]!;
  }

  /** The places of the question's terms in a tile of a group, in the set's order of terms. */
  layoutOf(layout: TileLayout, group: number): TilePlaces {
    const mask = this.#masks[group]! & this.#held;
    let byMask = this.#layouts.get(layout);
    if (byMask === undefined) this.#layouts.set(layout, (byMask = new Map()));
    let mapped = byMask.get(mask);
    if (mapped === undefined) byMask.set(mask, (mapped = this.#mapped(layout, mask)));
    return mapped;
  }

  /** Counts the keys of a cell of a slab from slice `slice` on. */
  addKeys(counts: KeyCounts, slice: number, { groups, data, layout }: Slab, cell: number): void {
    const group = groups[cell]!;
    const at = cell * layout.stride;
    const mask = this.#masks[group]! & this.#held;
    for (const [index, { kind, own, filter }] of this.#keyed.entries()) {
      if (filter >= 0 && (mask & (1 << filter)) === 0) continue;
      if (own < 0) {
        counts.addMany(slice + kind, this.#keys[index]![group]!, data[at]!);
        continue;
      }
      const { buckets, range } = layout.terms[own]!;
      visitBuckets(data, at + buckets, range, (bucket, count) =>
        counts.addMany(slice + kind, BUCKET_KEY + bucket, count),
      );
    }
  }

  #mapped(layout: TileLayout, mask: number): TilePlaces {
    const target = this.#set.measures.layout;
    const terms: TermPlace[] = target.terms.map(() => NOTHING);
    for (const { term, own, filter } of this.#terms) {
      if (filter >= 0 && (mask & (1 << filter)) === 0) continue;
      const { shape } = this.#set.measures.term(term);
      const place = own < 0 ? NOTHING : layout.terms[own]!;
      terms[term] = {
        ...place,
        // A tile's first double counts its rows: of a column without NULLs they are the values.
        count: !shape.counts ? -1 : place.count >= 0 ? place.count : 0,
        ...(shape.sums ? {} : { sum: -1, bins: 0 }),
        extremes: shape.extremes ? place.extremes : -1,
        // What buckets count goes beside the doubles.
        buckets: -1,
        special: target.terms[term]!.special >= 0 ? place.special : -1,
      };
    }
    return new TilePlaces(terms);
  }

  #missingKeys({ filter, keys }: TilePlan): string | undefined {
    for (const expression of filter === undefined ? keys : [filter, ...keys])
      if (!this.#isOfGroups(expression)) return `rows apart by "${this.#strangers(expression)}"`;
    return undefined;
  }

  #isOfGroups(expression: Expression): boolean {
    for (const column of referencedColumns(expression))
      if (!this.#era.shape.by.some((each) => each.column === column)) return false;
    return true;
  }

  #strangers(expression: Expression): string {
    return [...referencedColumns(expression)]
      .filter((column) => !this.#era.shape.by.some((each) => each.column === column))
      .map((column) => this.#set.columns[column]!.name)
      .join(', ');
  }

  /** The era's term of a call; −1: all rows count; or what is missing. */
  #termOf(call: AggregateCall, argument: Expression | undefined): number | string {
    if (argument === undefined) return -1;
    const inner = argument.kind === 'cast' ? argument.arg : argument;
    if (inner.kind !== 'column') return `${call.fn} of an expression`;
    const { name } = this.#set.columns[inner.index]!;
    const isDouble = argument.kind === 'cast' && argument.type.kind === 'float8';
    if (argument.kind === 'cast' && !isDouble) return `${call.fn} of an expression`;
    const { terms } = this.#era.shape;
    const isGroup = this.#era.shape.by.some(({ column }) => column === inner.index);
    // Values are told apart where rows are.
    if (call.distinct || call.fn === 'approx_count_distinct')
      return isGroup && argument.kind === 'column'
        ? -1
        : `${call.distinct ? 'distinct values' : call.fn} of "${name}"`;
    const has = ({ shape, isSquare }: KeptTerm, index: number): boolean => {
      if (isSquare === true) return false;
      switch (call.fn) {
        case 'count':
          return true;
        case 'sum':
        case 'avg':
          return shape.sums;
        case 'min':
        case 'max':
          return shape.extremes;
        case 'approx_percentile':
          return shape.buckets;
        default:
          return terms[index + 1]?.isSquare === true;
      }
    };
    const found = terms.findIndex(
      (term, index) =>
        term.column === inner.index && term.isDouble === isDouble && has(term, index),
    );
    if (found >= 0) return found;
    return call.fn === 'count' && argument.kind === 'column' && (isGroup || !inner.nullable)
      ? -1
      : `${call.fn} of "${name}"`;
  }
}

const NOTHING: TermPlace = {
  count: -1,
  sum: -1,
  binFrom: 0,
  bins: 0,
  extremes: -1,
  special: -1,
  buckets: -1,
  range: { from: 0, to: 0, negativeFrom: 0, negativeTo: 0 },
};

const FILTERS_MAX = 30;

/** Digits after the point of a numeric's values: a scale below nought rounds before it. */
function shownScale(type: SqlType): number | undefined {
  return type.kind === 'numeric' ? Math.max(0, type.scale!) : undefined;
}

/** The first tile that lies in some window, wholly or in part. */
export function firstKept(
  { tiles }: KeptTable,
  position: number,
  { from, to }: WindowBounds,
): KeptTile | undefined {
  const hull = tiles.hull(position);
  if (hull === undefined) return undefined;
  for (let window = 0; window < from.length; window += 1) {
    if (from[window]! >= hull.end || to[window]! <= hull.start) continue;
    for (const tile of tiles.overlapping(position, from[window]!, to[window]!)) return tile;
  }
  return undefined;
}

/** At which position a reader sees demoted rows of a relation: tiles become coarser where no row changes. */
export function keptPosition(
  { position, snapshotOf }: Pick<ExecutionEnvironment, 'position' | 'snapshotOf'>,
  relation: number,
): number {
  if (snapshotOf(relation).isTruncated === true) return -1;
  assert(position !== undefined, 'who may meet demoted rows reads at a position');
  return position;
}

/** The first time of a table's rows, demoted ones included, and just after the last; `isBounded`: rows of no time at all do not matter. */
export function* timeEnds(
  { tiles }: KeptTable,
  environment: Pick<ExecutionEnvironment, 'position' | 'snapshotOf'>,
  relation: number,
  column: number,
  isBounded: boolean,
  budget: () => Budget,
): Generator<void, TimesMet> {
  const hull = tiles.hull(keptPosition(environment, relation));
  assert(hull !== undefined, 'ends are asked for where something was demoted');
  const snapshot = environment.snapshotOf(relation);
  const met =
    (yield* rowEnds(snapshot, column, isBounded, budget)) ??
    (yield* scannedEnds(snapshot, column, budget));
  return { ...met, from: Math.min(hull.start, met.from), to: Math.max(hull.end, met.to) };
}

/** What was demoted of a table, and by which policy, where some of it lies in [from, to). */
export function demotedNote(
  kept: KeptTable,
  position: number,
  from: number,
  to: number,
): string | undefined {
  const windows = { from: Float64Array.of(from), to: Float64Array.of(to) };
  const hull = kept.tiles.hull(position);
  if (hull === undefined || firstKept(kept, position, windows) === undefined) return undefined;
  return tilesNote(kept, hull.end);
}

/** What is said where ends of windows lie where tiles do. */
export function drawnNote(kept: KeptTable, position: number): string {
  const hull = kept.tiles.hull(position);
  assert(hull !== undefined, 'ends are drawn in where something was demoted');
  return `${tilesNote(kept, hull.end)}: ends that go along with now lie where these do`;
}

function tilesNote({ name, policy }: KeptTable, end: number): string {
  const by = policy === undefined ? 'a policy that is no more' : policyText(policy);
  return `rows of "${name}" before ${new Date(end / 1000).toISOString()} are tiles (${by})`;
}

/** The finest question that could be answered where rows were demoted. */
export function resolutionError(
  { name, columns, policy }: KeptTable,
  missing: string | undefined,
  { era, unit, start, end }: KeptTile,
): DbError {
  const nameOf = ({ column }: KeptColumn): string => columns[column]!.name;
  const measured = era.shape.terms
    .filter(({ column, isDouble, isSquare }) => column >= 0 && !isDouble && isSquare !== true)
    .map(nameOf);
  const spread = era.shape.terms.some(({ column, isSquare }) => column >= 0 && isSquare === true);
  const groups = era.shape.by.filter(({ column }) => column >= 0).map(nameOf);
  const [from, to] = [start, end].map((micros) => new Date(micros / 1000).toISOString());
  const stretch = ` from ${from!} to ${to!}`;
  const zoneText = unit === '1m' || unit === '15m' ? '' : ` of ${policy?.zone ?? 'another zone'}`;
  return new DbError(
    'ADB_RESOLUTION',
    missing === undefined
      ? `rows of "${name}"${stretch} are kept as one tile of ${unit}${zoneText}`
      : `rows of "${name}"${stretch} were demoted: ${missing} are not kept`,
    {
      table: name,
      detail:
        policy === undefined
          ? 'They were demoted by a policy that is no more.'
          : `The policy is ${policyText(policy)}.`,
      hint:
        missing === undefined
          ? `The finest windows there are ${unit}${zoneText}: ask for windows that begin and end where they do.`
          : `Kept are count, sum, ${spread ? 'min, max and stddev' : 'min and max'} of ${measured.join(', ') || 'nothing'}${
              groups.length === 0 ? '' : `, by ${groups.join(', ')}`
            }; ask for those, or for later rows.`,
    },
  );
}

function policyText(policy: Policy): string {
  return Object.entries(writtenPolicy(policy))
    .map(([key, value]) => `${key} = '${Array.isArray(value) ? value.join(', ') : String(value)}'`)
    .join(', ');
}
