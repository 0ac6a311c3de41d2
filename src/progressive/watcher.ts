import type { MemoryLease } from '../base/memory-lease.ts';
import { BATCH_ROW_COUNT_MAX } from '../columns/batch.ts';
import type { Range } from '../columns/table-contract.ts';
import type { Vector } from '../columns/vector.ts';
import { expressionEquals } from '../expressions/fold.ts';
import type { AggregateObserver } from '../operators/aggregate.ts';
import type { Budget } from '../operators/operator.ts';
import type { AggregateCall } from '../plan/logical.ts';
import { grownStates } from './group-states.ts';
import { plainDoubles, writeDoubles, writePresence } from './doubles.ts';
import { NO_RANGE } from './ranges.ts';
import { SortedRuns } from './sorted-runs.ts';
import type { Draws, PowerTerms, QuantileValues, RatioTerms, Track } from './tracks.ts';
import type { ProductTerms } from './ratio-sequence.ts';
import type { DrawBatch } from './mean-sequence.ts';
import { ValueSums, type Reading, type Series, type Tally } from './value-sums.ts';

/** Groups settled between two looks at the budget. */
const SETTLE_GROUPS = 256;
/** So many values, of all groups, are kept for quantiles: an interval of a fifth of a percent of the ranks where there is one group. */
const QUANTILE_VALUES_MAX = 1 << 19;

const NO_VALUES = new Float64Array(0);
const EVERY_ROW: Series = { values: new Float64Array(BATCH_ROW_COUNT_MAX).fill(1), isGiven: true };

type Accumulator = {
  ensure(groupCount: number): void;
  add(reading: Reading, groups: Int32Array, rowCount: number): void;
  fold(from: number, to: number): void;
  endDraw(): void;
  readonly memoryBytes: number;
};

/**
 * Watches an aggregation while its input is drawn: what each of its calls takes is turned to doubles once, added up by group for the tracks that
 * estimate, and handed to them round by round.
 */
export class Watcher implements AggregateObserver {
  reading: Reading = { kind: 'tails', round: 0 };
  isWatching = true;
  groupCount = 0;
  /** When draws were looked at last: how many watched ones tell what they can of all groups; 0 if they have. */
  drawsWanted = Infinity;
  readonly #lease: MemoryLease;
  readonly #series: {
    readonly call: number;
    readonly arg: number | 'presence';
    readonly series: Series;
    /** Where its values are written if they cannot be taken as they are; made when that is first so. */
    own: Float64Array | undefined;
  }[] = [];
  readonly #accumulators: Accumulator[] = [];
  readonly #tracks: Track[] = [];
  readonly #sums: { readonly series: Series; readonly sums: ValueSums }[] = [];
  #groups: Int32Array = new Int32Array(0);
  #rowCount = 0;
  #settledTo = 0;
  #wantedSoFar = 0;
  #bytes = 0;
  readonly #calls: readonly AggregateCall[];

  constructor(calls: readonly AggregateCall[], lease: MemoryLease) {
    this.#calls = calls;
    this.#lease = lease;
  }

  // ── What is watched ────────────────────────────────────────────────────────────────────────────────────────

  /** The argument of a call as numbers, or whether it is there; calls that take the same share it. */
  series(call: number, arg: number | 'presence'): Series {
    const same = this.#series.find(
      (each) => each.arg === arg && takesAlike(this.#calls[each.call]!, this.#calls[call]!),
    );
    if (same !== undefined) return same.series;
    const series: Series = { values: NO_VALUES, isGiven: false };
    this.#series.push({ call, arg, series, own: undefined });
    return series;
  }

  /** 1 for every row. */
  everyRow(): Series {
    return EVERY_ROW;
  }

  sums(
    series: Series,
    range: Range,
    options: { readonly isClustered: boolean; readonly tally: (group: number) => Tally },
  ): ValueSums {
    const known = this.#sums.find((each) => each.series === series);
    if (known !== undefined) return known.sums;
    const sums = new ValueSums(series, range, options);
    this.#sums.push({ series, sums });
    this.#accumulators.push(sums);
    return sums;
  }

  pairs(u: ValueSums, v: ValueSums | RowTally, isClustered: boolean): RatioTerms {
    const pairs = new PairSums(u, v, isClustered);
    this.#accumulators.push(pairs);
    return pairs;
  }

  powers(series: Series, range: Range, shift: number): PowerTerms {
    const powers = new PowerSums(series, range, shift);
    this.#accumulators.push(powers);
    return powers;
  }

  values(series: Series): QuantileValues {
    const values = new KeptValues(series);
    this.#accumulators.push(values);
    return values;
  }

  track(track: Track): void {
    this.#tracks.push(track);
  }

  // ── Watching ───────────────────────────────────────────────────────────────────────────────────────────────

  begin(groups: Int32Array, rowCount: number, groupCount: number): void {
    this.#groups = groups;
    this.#rowCount = rowCount;
    for (const { series } of this.#series) series.isGiven = false;
    this.ensure(groupCount);
  }

  take(
    call: number,
    args: readonly Vector[],
    rowCount: number,
    places: Int32Array | undefined,
  ): void {
    for (const each of this.#series) {
      if (each.call !== call) continue;
      const { series, arg } = each;
      series.isGiven = true;
      const plain = arg === 'presence' ? undefined : plainDoubles(args[arg]!, rowCount, places);
      if (plain !== undefined) {
        series.values = plain;
        continue;
      }
      const own = (each.own ??= new Float64Array(BATCH_ROW_COUNT_MAX));
      series.values = own;
      if (places !== undefined) own.fill(Number.NaN, 0, this.#rowCount);
      if (arg === 'presence') writePresence(args[0], rowCount, places, own);
      else writeDoubles(args[arg]!, rowCount, places, own);
    }
  }

  end(): void {
    for (const each of this.#accumulators) each.add(this.reading, this.#groups, this.#rowCount);
  }

  /** The rows of one draw are through, where a draw is more than a row. */
  endDraw(): void {
    for (const each of this.#accumulators) each.endDraw();
  }

  /** A round is read. */
  drew(round: number): void {
    for (const { sums } of this.#sums) sums.drew(round);
  }

  /** Draws are looked at: the sums of the new ones go to the tracks, then join the others. True when all groups had their turn. */
  settle(
    { draws, byNow }: { readonly draws: DrawBatch; readonly byNow: Draws },
    groups: {
      readonly riskOf: (group: number) => number;
      readonly riskOfUnmet: number;
      readonly isEstimated: (group: number) => boolean;
    },
    budget: Budget,
  ): boolean {
    while (this.#settledTo < this.groupCount) {
      if (budget.exhausted) return false;
      const from = this.#settledTo;
      const to = Math.min(this.groupCount, from + SETTLE_GROUPS);
      for (const track of this.#tracks) track.settle?.(from, to, draws, groups.riskOf);
      for (const each of this.#accumulators) each.fold(from, to);
      for (let group = from; this.#wantedSoFar < byNow.N && group < to; group += 1)
        if (groups.isEstimated(group))
          for (const track of this.#tracks)
            this.#wantedSoFar = Math.max(this.#wantedSoFar, track.drawsWanted?.(group, byNow) ?? 0);
      this.#settledTo = to;
      budget.charge((to - from) * (this.#tracks.length + this.#accumulators.length));
    }
    for (const track of this.#tracks) track.close?.(draws, groups.riskOfUnmet);
    this.#settledTo = 0;
    this.drawsWanted = this.#wantedSoFar;
    this.#wantedSoFar = 0;
    this.account();
    return true;
  }

  ensure(groupCount: number): void {
    if (groupCount <= this.groupCount) return;
    this.groupCount = groupCount;
    for (const each of this.#accumulators) each.ensure(groupCount);
    for (const track of this.#tracks) track.ensure?.(groupCount);
    this.account();
  }

  /** Reserves what is held by now. Throws 53200. */
  account(): void {
    let bytes = this.#series.length * BATCH_ROW_COUNT_MAX * 8;
    for (const each of this.#accumulators) bytes += each.memoryBytes;
    for (const track of this.#tracks) bytes += track.memoryBytes ?? 0;
    if (bytes <= this.#bytes) return;
    this.#lease.take(bytes - this.#bytes);
    this.#bytes = bytes;
  }

  close(): void {
    this.#lease.close();
  }
}

function takesAlike(a: AggregateCall, b: AggregateCall): boolean {
  const isSame = (x: typeof a.filter, y: typeof a.filter): boolean =>
    x === y || (x !== undefined && y !== undefined && expressionEquals(x, y));
  return (
    a === b ||
    (isSame(a.filter, b.filter) &&
      a.args.length === b.args.length &&
      a.args.every((arg, index) => expressionEquals(arg, b.args[index]!)))
  );
}

// ── Accumulators ───────────────────────────────────────────────────────────────────────────────────────────────

/** Rows of a group, all of them: what count(*) has. */
export type RowTally = {
  readonly series: Series;
  readonly range: Range;
  /** Draws by now, and up to the last look. */
  allCount(group: number): number;
  count(group: number): number;
  knownCount(group: number): number;
};

/** Products of two arguments over the watched draws: new ones, all, and a cluster's. */
const PAIR_WIDTH = 12;

class PairSums implements Accumulator, RatioTerms {
  readonly #u: ValueSums;
  readonly #v: ValueSums | RowTally;
  readonly #isClustered: boolean;
  /** By group: u, v, uu, uv, vv of new draws, then of all; a cluster's u and v. */
  #states = new Float64Array(0);
  readonly #touched = new Set<number>();
  readonly #isCountU: boolean;

  constructor(u: ValueSums, v: ValueSums | RowTally, isClustered: boolean) {
    this.#u = u;
    this.#v = v;
    this.#isClustered = isClustered;
    this.#isCountU = u.range.min === 1 && u.range.max === 1;
  }

  get memoryBytes(): number {
    return this.#states.byteLength;
  }

  ensure(groupCount: number): void {
    this.#states = grownStates(this.#states, groupCount, PAIR_WIDTH);
  }

  add(reading: Reading, groups: Int32Array, rowCount: number): void {
    // What is not drawn is the sums' business.
    if (reading.kind !== 'round') return;
    const states = this.#states;
    const { series: us, range: uRange } = this.#u;
    const { series: vs, range: vRange } = this.#v;
    for (let row = 0; row < rowCount; row += 1) {
      const rawU = us.isGiven ? us.values[row]! : Number.NaN;
      const rawV = vs.isGiven ? vs.values[row]! : Number.NaN;
      const at = groups[row]! * PAIR_WIDTH;
      const u = rawU >= uRange.min && rawU <= uRange.max ? rawU : 0;
      const v = rawV >= vRange.min && rawV <= vRange.max ? rawV : 0;
      if (this.#isClustered) {
        this.#touched.add(at);
        states[at + 10]! += u;
        states[at + 11]! += v;
      } else this.#draw(at, u, v);
    }
  }

  endDraw(): void {
    for (const at of this.#touched) {
      this.#draw(at, this.#states[at + 10]!, this.#states[at + 11]!);
      this.#states[at + 10] = 0;
      this.#states[at + 11] = 0;
    }
    this.#touched.clear();
  }

  fold(from: number, to: number): void {
    const states = this.#states;
    for (let at = from * PAIR_WIDTH; at < to * PAIR_WIDTH; at += PAIR_WIDTH)
      for (let term = 0; term < 5; term += 1) {
        states[at + 5 + term]! += states[at + term]!;
        states[at + term] = 0;
      }
  }

  fresh(group: number): ProductTerms {
    return this.#terms(group * PAIR_WIDTH);
  }

  watched(group: number): ProductTerms {
    return this.#terms(group * PAIR_WIDTH + 5);
  }

  drawn(group: number): { u: number; v: number } {
    return { u: this.#isCountU ? this.#u.count(group) : this.#u.sum(group), v: this.#ofV(group) };
  }

  drawnByNow(group: number): { u: number; v: number } {
    const v = this.#v;
    return {
      u: this.#isCountU ? this.#u.allCount(group) : this.#u.allSum(group),
      v: v instanceof ValueSums && !isCount(v) ? v.allSum(group) : v.allCount(group),
    };
  }

  known(group: number): { u: number; v: number } {
    const v = this.#v;
    return {
      u: this.#isCountU ? this.#u.knownCount(group) : this.#u.knownSum(group),
      v: v instanceof ValueSums && !isCount(v) ? v.knownSum(group) : v.knownCount(group),
    };
  }

  #ofV(group: number): number {
    const v = this.#v;
    return v instanceof ValueSums && !isCount(v) ? v.sum(group) : v.count(group);
  }

  #terms(at: number): ProductTerms {
    const states = this.#states;
    return {
      u: states[at]!,
      v: states[at + 1]!,
      uu: states[at + 2]!,
      uv: states[at + 3]!,
      vv: states[at + 4]!,
    };
  }

  #draw(at: number, u: number, v: number): void {
    const states = this.#states;
    states[at]! += u;
    states[at + 1]! += v;
    states[at + 2]! += u * u;
    states[at + 3]! += u * v;
    states[at + 4]! += v * v;
  }
}

function isCount({ range }: ValueSums): boolean {
  return range.min === 1 && range.max === 1;
}

const POWER_WIDTH = 8;

/** Powers of the distances to a number near the middle, so that little is lost between them. */
class PowerSums implements Accumulator, PowerTerms {
  readonly #series: Series;
  readonly range: Range;
  readonly shift: number;
  knownRange: Range = NO_RANGE;
  #states = new Float64Array(0);
  #groupCount = 0;

  constructor(series: Series, range: Range, shift: number) {
    this.#series = series;
    this.range = range;
    this.shift = shift;
  }

  get memoryBytes(): number {
    return this.#states.byteLength;
  }

  ensure(groupCount: number): void {
    this.#states = grownStates(this.#states, groupCount, POWER_WIDTH);
    this.#groupCount = groupCount;
  }

  add(reading: Reading, groups: Int32Array, rowCount: number): void {
    if (!this.#series.isGiven) return;
    if (reading.kind !== 'round') this.#know(reading, groups, rowCount);
    else if (this.#groupCount === 1) this.#drawOne(rowCount);
    else this.#draw(groups, rowCount);
  }

  #draw(groups: Int32Array, rowCount: number): void {
    const { values } = this.#series;
    const { min, max } = this.range;
    const states = this.#states;
    for (let row = 0; row < rowCount; row += 1) {
      const value = values[row]!;
      // NaN is neither.
      if (!(value >= min && value <= max)) continue;
      const at = groups[row]! * POWER_WIDTH;
      const x = value - this.shift;
      const square = x * x;
      states[at]! += 1;
      states[at + 1]! += x;
      states[at + 2]! += square;
      states[at + 3]! += square * x;
      states[at + 4]! += square * square;
    }
  }

  /** All rows are of group 0: the same additions, of what stays in registers. */
  #drawOne(rowCount: number): void {
    const { values } = this.#series;
    const { min, max } = this.range;
    const { shift } = this;
    const states = this.#states;
    let count = states[0]!;
    let first = states[1]!;
    let second = states[2]!;
    let third = states[3]!;
    let fourth = states[4]!;
    for (let row = 0; row < rowCount; row += 1) {
      const value = values[row]!;
      if (!(value >= min && value <= max)) continue;
      const x = value - shift;
      const square = x * x;
      count += 1;
      first += x;
      second += square;
      third += square * x;
      fourth += square * square;
    }
    states[0] = count;
    states[1] = first;
    states[2] = second;
    states[3] = third;
    states[4] = fourth;
  }

  /** Rows read whole, and extreme ones, of which those within the range are draws like others. */
  #know(reading: Reading, groups: Int32Array, rowCount: number): void {
    const { values } = this.#series;
    const isTails = reading.kind === 'tails';
    const { min, max } = this.range;
    const { shift } = this;
    const states = this.#states;
    let { min: knownMin, max: knownMax } = this.knownRange;
    for (let row = 0; row < rowCount; row += 1) {
      const value = values[row]!;
      // NaN is none.
      if (!(value >= -Infinity) || (isTails && value >= min && value <= max)) continue;
      const at = groups[row]! * POWER_WIDTH;
      const x = value - shift;
      states[at + 5]! += 1;
      states[at + 6]! += x;
      states[at + 7]! += x * x;
      if (value < knownMin) knownMin = value;
      if (value > knownMax) knownMax = value;
    }
    if (knownMin < this.knownRange.min || knownMax > this.knownRange.max)
      this.knownRange = { min: knownMin, max: knownMax };
  }

  endDraw(): void {
    // Clusters' variances are not estimated.
  }

  fold(): void {
    // Only totals are looked at.
  }

  drawn(group: number): readonly [number, number, number, number, number] {
    const at = group * POWER_WIDTH;
    const states = this.#states;
    return [states[at]!, states[at + 1]!, states[at + 2]!, states[at + 3]!, states[at + 4]!];
  }

  known(group: number): readonly [number, number, number] {
    const at = group * POWER_WIDTH;
    return [this.#states[at + 5]!, this.#states[at + 6]!, this.#states[at + 7]!];
  }
}

/** The values themselves, for quantiles: extreme ones are drawn like any other. */
class KeptValues implements Accumulator, QuantileValues {
  readonly #series: Series;
  readonly #drawn: SortedRuns[] = [];
  readonly #known: SortedRuns[] = [];
  #isFrozen = false;
  #size = 0;

  constructor(series: Series) {
    this.#series = series;
  }

  get memoryBytes(): number {
    let bytes = 0;
    for (const runs of this.#drawn) bytes += runs.memoryBytes;
    for (const runs of this.#known) bytes += runs.memoryBytes;
    return bytes;
  }

  ensure(groupCount: number): void {
    while (this.#drawn.length < groupCount) {
      this.#drawn.push(new SortedRuns());
      this.#known.push(new SortedRuns());
    }
  }

  add(reading: Reading, groups: Int32Array, rowCount: number): void {
    const { kind } = reading;
    if (!this.#series.isGiven || kind === 'tails' || (kind === 'round' && this.#isFrozen)) return;
    const { values } = this.#series;
    const runs = kind === 'round' ? this.#drawn : this.#known;
    for (let row = 0; row < rowCount; row += 1) {
      const value = values[row]!;
      if (Number.isNaN(value)) continue;
      runs[groups[row]!]!.add(value);
      this.#size += 1;
    }
  }

  endDraw(): void {
    // Clusters' quantiles are not estimated.
  }

  fold(): void {
    // Values are looked at where they are.
  }

  freezeIfMany(): boolean {
    if (this.#size >= QUANTILE_VALUES_MAX) this.#isFrozen = true;
    return this.#isFrozen;
  }

  drawn(group: number): SortedRuns {
    return this.#drawn[group]!;
  }

  known(group: number): SortedRuns {
    return this.#known[group]!;
  }
}
