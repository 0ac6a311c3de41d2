import type { MemoryLease } from '../base/memory-lease.ts';
import { BATCH_ROW_COUNT_MAX } from '../columns/batch.ts';
import type { Range } from '../columns/table-contract.ts';
import type { Vector } from '../columns/vector.ts';
import { expressionEquals } from '../expressions/fold.ts';
import type { AggregateObserver } from '../operators/aggregate.ts';
import type { Budget } from '../operators/operator.ts';
import type { AggregateCall } from '../plan/logical.ts';
import { writeDoubles, writePresence } from './doubles.ts';
import { NO_RANGE } from './ranges.ts';
import { SortedRuns } from './sorted-runs.ts';
import type { PowerTerms, QuantileValues, RatioTerms, Track } from './tracks.ts';
import { ValueSums, type Reading, type Series } from './value-sums.ts';

/** Groups settled between two looks at the budget. */
const SETTLE_GROUPS = 256;
/** Of one group's values, as many as are drawn at first are kept for its quantiles: an interval of a fifth of a percent of the ranks. */
const QUANTILE_VALUES_MAX = 1 << 18;

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
  reading: Reading = 'tails';
  groupCount = 0;
  readonly #lease: MemoryLease;
  readonly #series: { readonly call: number; readonly arg: number | 'presence'; readonly series: Series }[] = [];
  readonly #accumulators: Accumulator[] = [];
  readonly #tracks: Track[] = [];
  readonly #sums: { readonly series: Series; readonly sums: ValueSums }[] = [];
  #groups: Int32Array = new Int32Array(0);
  #rowCount = 0;
  #settledTo = 0;
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
    const series = { values: new Float64Array(BATCH_ROW_COUNT_MAX), isGiven: false };
    this.#series.push({ call, arg, series });
    return series;
  }

  /** 1 for every row. */
  everyRow(): Series {
    return EVERY_ROW;
  }

  sums(series: Series, range: Range, isClustered: boolean): ValueSums {
    const known = this.#sums.find((each) => each.series === series);
    if (known !== undefined) return known.sums;
    const sums = new ValueSums(series, range, isClustered);
    this.#sums.push({ series, sums });
    this.#accumulators.push(sums);
    return sums;
  }

  pairs(u: Series, v: Series, ranges: { readonly u: Range; readonly v: Range }, isClustered: boolean): RatioTerms {
    const pairs = new PairSums(u, v, ranges, isClustered);
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
    if (groupCount > this.groupCount) this.#ensure(groupCount);
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
      if (places !== undefined) series.values.fill(Number.NaN, 0, this.#rowCount);
      if (arg === 'presence') writePresence(args[0], rowCount, places, series.values);
      else writeDoubles(args[arg]!, rowCount, places, series.values);
    }
  }

  end(): void {
    for (const each of this.#accumulators) each.add(this.reading, this.#groups, this.#rowCount);
  }

  /** The rows of one draw are through, where a draw is more than a row. */
  endDraw(): void {
    for (const each of this.#accumulators) each.endDraw();
  }

  /** The round is over: its sums go to the tracks, then join the others. True when all groups had their turn. */
  settle(
    draws: number,
    risks: { readonly of: (group: number) => number; readonly unmet: number },
    budget: Budget,
  ): boolean {
    while (this.#settledTo < this.groupCount) {
      if (budget.exhausted) return false;
      const from = this.#settledTo;
      const to = Math.min(this.groupCount, from + SETTLE_GROUPS);
      for (const track of this.#tracks) track.settle(from, to, draws, risks.of);
      for (const each of this.#accumulators) each.fold(from, to);
      this.#settledTo = to;
      budget.charge((to - from) * (this.#tracks.length + this.#accumulators.length));
    }
    for (const track of this.#tracks) track.close(draws, risks.unmet);
    this.#settledTo = 0;
    this.account();
    return true;
  }

  #ensure(groupCount: number): void {
    this.groupCount = groupCount;
    for (const each of this.#accumulators) each.ensure(groupCount);
    for (const track of this.#tracks) track.ensure(groupCount);
    this.account();
  }

  /** Reserves what is held by now. Throws 53200. */
  account(): void {
    let bytes = this.#series.length * BATCH_ROW_COUNT_MAX * 8;
    for (const each of this.#accumulators) bytes += each.memoryBytes;
    for (const track of this.#tracks) bytes += track.memoryBytes;
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

const PAIR_WIDTH = 19;

/** Sums of two arguments and of their products. */
class PairSums implements Accumulator, RatioTerms {
  readonly #u: Series;
  readonly #v: Series;
  readonly #ranges: { readonly u: Range; readonly v: Range };
  readonly #isClustered: boolean;
  /** By group: the round's u, v, uu, uv, vv; then all rounds'; known u, v; a cluster's u, v. */
  #states = new Float64Array(0);
  readonly #touched = new Set<number>();

  constructor(u: Series, v: Series, ranges: { readonly u: Range; readonly v: Range }, isClustered: boolean) {
    this.#u = u;
    this.#v = v;
    this.#ranges = ranges;
    this.#isClustered = isClustered;
  }

  get memoryBytes(): number {
    return this.#states.byteLength;
  }

  ensure(groupCount: number): void {
    this.#states = widened(this.#states, groupCount * PAIR_WIDTH);
  }

  add(reading: Reading, groups: Int32Array, rowCount: number): void {
    const states = this.#states;
    const { u: uRange, v: vRange } = this.#ranges;
    const us = this.#u;
    const vs = this.#v;
    for (let row = 0; row < rowCount; row += 1) {
      const rawU = us.isGiven ? us.values[row]! : Number.NaN;
      const rawV = vs.isGiven ? vs.values[row]! : Number.NaN;
      const at = groups[row]! * PAIR_WIDTH;
      const isDrawnU = rawU >= uRange.min && rawU <= uRange.max;
      const isDrawnV = rawV >= vRange.min && rawV <= vRange.max;
      if (reading !== 'round') {
        if (!Number.isNaN(rawU) && (reading === 'whole' || !isDrawnU)) states[at + 15]! += rawU;
        if (!Number.isNaN(rawV) && (reading === 'whole' || !isDrawnV)) states[at + 16]! += rawV;
        continue;
      }
      const u = isDrawnU ? rawU : 0;
      const v = isDrawnV ? rawV : 0;
      if (this.#isClustered) {
        this.#touched.add(at);
        states[at + 17]! += u;
        states[at + 18]! += v;
      } else this.#draw(at, u, v);
    }
  }

  endDraw(): void {
    for (const at of this.#touched) {
      this.#draw(at, this.#states[at + 17]!, this.#states[at + 18]!);
      this.#states[at + 17] = 0;
      this.#states[at + 18] = 0;
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

  round(group: number): { u: number; v: number; uu: number; uv: number; vv: number } {
    return this.#terms(group * PAIR_WIDTH);
  }

  total(group: number): { u: number; v: number; uu: number; uv: number; vv: number } {
    return this.#terms(group * PAIR_WIDTH + 5);
  }

  known(group: number): { u: number; v: number } {
    const at = group * PAIR_WIDTH;
    return { u: this.#states[at + 15]!, v: this.#states[at + 16]! };
  }

  #terms(at: number): { u: number; v: number; uu: number; uv: number; vv: number } {
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

const POWER_WIDTH = 8;

/** Powers of the distances to a number near the middle, so that little is lost between them. */
class PowerSums implements Accumulator, PowerTerms {
  readonly #series: Series;
  readonly range: Range;
  readonly shift: number;
  knownRange: Range = NO_RANGE;
  #states = new Float64Array(0);

  constructor(series: Series, range: Range, shift: number) {
    this.#series = series;
    this.range = range;
    this.shift = shift;
  }

  get memoryBytes(): number {
    return this.#states.byteLength;
  }

  ensure(groupCount: number): void {
    this.#states = widened(this.#states, groupCount * POWER_WIDTH);
  }

  add(reading: Reading, groups: Int32Array, rowCount: number): void {
    if (!this.#series.isGiven) return;
    const { values } = this.#series;
    const { min, max } = this.range;
    const states = this.#states;
    for (let row = 0; row < rowCount; row += 1) {
      const value = values[row]!;
      if (Number.isNaN(value)) continue;
      const isDrawn = value >= min && value <= max;
      const at = groups[row]! * POWER_WIDTH;
      const x = value - this.shift;
      if (reading === 'round') {
        if (!isDrawn) continue;
        const square = x * x;
        states[at]! += 1;
        states[at + 1]! += x;
        states[at + 2]! += square;
        states[at + 3]! += square * x;
        states[at + 4]! += square * square;
      } else if (reading === 'whole' || !isDrawn) {
        states[at + 5]! += 1;
        states[at + 6]! += x;
        states[at + 7]! += x * x;
        if (value < this.knownRange.min || value > this.knownRange.max)
          this.knownRange = {
            min: Math.min(value, this.knownRange.min),
            max: Math.max(value, this.knownRange.max),
          };
      }
    }
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
  /** Groups that are full by the end of a round take no more: what they have stays a sample. */
  #full = new Uint8Array(0);

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
    if (this.#full.length < groupCount) {
      const full = new Uint8Array(groupCount * 2);
      full.set(this.#full);
      this.#full = full;
    }
  }

  add(reading: Reading, groups: Int32Array, rowCount: number): void {
    if (reading === 'tails' || !this.#series.isGiven) return;
    const { values } = this.#series;
    const runs = reading === 'round' ? this.#drawn : this.#known;
    for (let row = 0; row < rowCount; row += 1) {
      const value = values[row]!;
      if (Number.isNaN(value)) continue;
      const group = groups[row]!;
      if (reading === 'round' && this.#full[group] === 1) continue;
      runs[group]!.add(value);
    }
  }

  endDraw(): void {
    // Clusters' quantiles are not estimated.
  }

  fold(from: number, to: number): void {
    for (let group = from; group < to; group += 1)
      if (this.#drawn[group]!.size >= QUANTILE_VALUES_MAX) this.#full[group] = 1;
  }

  drawn(group: number): SortedRuns {
    return this.#drawn[group]!;
  }

  known(group: number): SortedRuns {
    return this.#known[group]!;
  }
}

function widened(states: Float64Array<ArrayBuffer>, length: number): Float64Array<ArrayBuffer> {
  if (length <= states.length) return states;
  const wider = new Float64Array(Math.max(32, length + (length >>> 1)));
  wider.set(states);
  return wider;
}
