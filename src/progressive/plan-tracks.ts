import type { Range, TableSample, TableSnapshot } from '../columns/table-contract.ts';
import { isNullable } from '../plan/nodes.ts';
import type { Expression } from '../expressions/expression.ts';
import { evaluateConstant, referencedColumns } from '../expressions/fold.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import type { AggregateCall, PlanNode } from '../plan/logical.ts';
import { isNumeric, quotientOf } from './outputs.ts';
import { NO_RANGE, numberOf, rangeOf, rangesOf, type ColumnRanges } from './ranges.ts';
import { readsAlone, sourceOf, type SampledShape } from './shape.ts';
import {
  CertainTrack,
  CountTrack,
  QuantileTrack,
  RatioTrack,
  SumTrack,
  VarianceTrack,
  type RatioLimits,
  type RatioTerms,
  type Track,
} from './tracks.ts';
import type { Tally, ValueSums } from './value-sums.ts';
import type { RowTally, Watcher } from './watcher.ts';

/** How the value of a call is told. */
export type CallTrack =
  | { readonly kind: 'track'; readonly track: Track }
  /** min and max: between what was seen and what bounds the rows to come. */
  | {
      readonly kind: 'extreme';
      readonly isMax: boolean;
      readonly all: Range;
      /** Values that are sure to be among the rows to come. */
      readonly certain: Range;
    }
  /** DISTINCT counts: between what was seen and that with every row to come. */
  | { readonly kind: 'distinct' }
  | { readonly kind: 'none' };

export type Tracks = {
  readonly calls: readonly CallTrack[];
  quotient(over: number, under: number): Track | undefined;
};

export type TrackOptions = {
  readonly shape: SampledShape;
  readonly sample: TableSample;
  readonly snapshot: TableSnapshot;
  readonly watcher: Watcher;
  readonly context: EvaluationContext;
  /** Bounds of the columns of the other relations. */
  readonly otherRanges: (scan: Extract<PlanNode, { kind: 'scan' }>) => ColumnRanges;
  /** What a call has taken of a group: counts, sums and averages. */
  readonly tally: (call: number, group: number) => Tally;
  /** Rows counted by the aggregation, by group, and those of them that were read whole. */
  readonly rowCounts: () => Float64Array;
  readonly wholeCounts: () => Float64Array;
  readonly outputs: readonly Expression[];
};

const UNBOUNDED: Range = { min: -Infinity, max: Infinity };

/** The tracks of an aggregation's calls, and of the quotients of them that the answer shows. */
export function planTracks(options: TrackOptions): Tracks {
  const { shape, sample, snapshot, watcher, context, outputs } = options;
  const { aggregate, driving, isSingle, isWhole } = shape;
  const isClustered = !isSingle;
  const population = isClustered ? sample.population / CLUSTER_ROWS : sample.population;
  const ranges = (which: 'rest' | 'all'): ColumnRanges =>
    rangesOf(
      aggregate.input,
      (scan) =>
        scan.id === driving.id
          ? driving.columnIndexes.map((column, index) =>
              isNumeric(driving.columns[index]!) ? sample.bounds(column)?.[which] : undefined,
            )
          : options.otherRanges(scan),
      context,
    );
  const rest = ranges('rest');
  const all = ranges('all');
  const rangeIn = (expression: Expression, columns: ColumnRanges): Range =>
    rangeOf(expression, columns, context) ?? UNBOUNDED;
  const hasKeys = aggregate.keys.length > 0;

  const valueSums = (call: number, arg: number): ValueSums => {
    const expression = aggregate.calls[call]!.args[arg]!;
    return watcher.sums(watcher.series(call, arg), drawable(rangeIn(expression, rest)), {
      isClustered,
      tally: (group) => options.tally(call, group),
    });
  };
  /** Rows that bring an argument; `counted`: the call itself counts them. */
  const presence = (call: number): ValueSums =>
    watcher.sums(
      watcher.series(call, 'presence'),
      { min: 1, max: 1 },
      {
        isClustered,
        tally: (group) => {
          const { count } = options.tally(call, group);
          return { sum: count, count };
        },
      },
    );
  /** Every row of a group counts. */
  const countsAll = (call: AggregateCall): boolean =>
    call.args.length === 0 && call.filter === undefined;
  const knownRows = isWhole && !hasKeys && !isClustered ? snapshot.rowCount : undefined;

  const drawnRows = (group: number): number =>
    (options.rowCounts()[group] ?? 0) - (options.wholeCounts()[group] ?? 0);
  const countTrack = (index: number): Track => {
    const call = aggregate.calls[index]!;
    if (countsAll(call)) {
      if (knownRows !== undefined) return new CertainTrack(knownRows);
      if (!isClustered)
        return new CountTrack(drawnRows, (group) => options.wholeCounts()[group] ?? 0);
    }
    const sums = presence(index);
    return isClustered
      ? new SumTrack(sums, { population, of: 'count', factor: 1, isClustered })
      : new CountTrack(sums.count, sums.knownCount);
  };

  const certainOf = ({ args, filter }: AggregateCall): Range => {
    const [argument] = args;
    const column =
      argument?.kind === 'column' && !hasKeys && filter === undefined
        ? sourceOf(aggregate.input, argument.index)
        : undefined;
    return column === undefined || !readsAlone(aggregate.input, driving)
      ? NO_RANGE
      : (sample.bounds(driving.columnIndexes[column]!)?.certain ?? NO_RANGE);
  };
  const callTrack = (call: AggregateCall, index: number): CallTrack => {
    const argument = call.args.at(-1);
    if (call.distinct)
      return call.fn === 'count' && !isClustered ? { kind: 'distinct' } : { kind: 'none' };
    switch (call.fn) {
      case 'count':
        return { kind: 'track', track: countTrack(index) };
      case 'sum': {
        if (!isNumeric(argument!)) return { kind: 'none' };
        const sums = valueSums(index, 0);
        return {
          kind: 'track',
          track: new SumTrack(sums, { population, of: 'sum', factor: 1, isClustered }),
        };
      }
      case 'avg': {
        if (!isNumeric(argument!)) return { kind: 'none' };
        const sums = valueSums(index, 0);
        const isCounted =
          knownRows !== undefined && call.filter === undefined && !isNullable(argument!);
        if (isCounted && knownRows! > 0)
          return {
            kind: 'track',
            track: new SumTrack(sums, {
              population,
              of: 'sum',
              factor: 1 / knownRows!,
              isClustered,
            }),
          };
        return {
          kind: 'track',
          track: new RatioTrack(averageTerms(sums), averageLimits(sums, rangeIn(argument!, all)), {
            population,
            isClustered,
          }),
        };
      }
      case 'var_pop':
      case 'var_samp':
      case 'stddev_pop':
      case 'stddev_samp': {
        if (isClustered || !isNumeric(argument!)) return { kind: 'none' };
        const range = drawable(rangeIn(argument!, rest));
        if (!Number.isFinite(range.max - range.min)) return { kind: 'none' };
        return {
          kind: 'track',
          track: new VarianceTrack(
            watcher.powers(watcher.series(index, 0), range, (range.min + range.max) / 2),
            {
              isSample: call.fn.endsWith('_samp'),
              isRoot: call.fn.startsWith('stddev'),
              all: rangeIn(argument!, all),
            },
          ),
        };
      }
      case 'percentile_cont':
      case 'percentile_disc': {
        const range = rangeIn(argument!, all);
        // NaN and infinities have their place in the order, which doubles do not tell.
        if (isClustered || !isNumeric(argument!) || !Number.isFinite(range.max - range.min))
          return { kind: 'none' };
        if (referencedColumns(call.args[0]!).size > 0) return { kind: 'none' };
        const share = numberOf(evaluateConstant(call.args[0]!, context));
        if (share === undefined || !(share >= 0 && share <= 1)) return { kind: 'none' };
        const isDescending = call.orderBy[0]?.descending === true;
        if (isDescending && call.fn === 'percentile_disc') return { kind: 'none' };
        const values = watcher.values(watcher.series(index, 1));
        const isCounted =
          knownRows !== undefined && call.filter === undefined && !isNullable(argument!);
        return {
          kind: 'track',
          track: new QuantileTrack(values, {
            share: isDescending ? 1 - share : share,
            isContinuous: call.fn === 'percentile_cont',
            all: range,
            rows: isCounted ? knownRows : undefined,
          }),
        };
      }
      case 'min':
      case 'max':
        return isNumeric(argument!)
          ? {
              kind: 'extreme',
              isMax: call.fn === 'max',
              all: rangeIn(argument!, all),
              certain: certainOf(call),
            }
          : { kind: 'none' };
      default:
        return { kind: 'none' };
    }
  };

  const calls = aggregate.calls.map(callTrack);
  const quotients = new Map<string, Track>();
  const quotientTrack = (over: number, under: number): Track | undefined => {
    const u = termOf(aggregate.calls[over]!, over);
    const v = termOf(aggregate.calls[under]!, under);
    if (u === undefined || v === undefined) return undefined;
    if (u.sums === undefined) return undefined;
    const terms = watcher.pairs(u.sums, v.sums ?? everyRow, isClustered);
    return new RatioTrack(terms, quotientLimits(u, v), { population, isClustered });
  };
  const everyRow: RowTally = {
    series: watcher.everyRow(),
    range: { min: 1, max: 1 },
    allCount: drawnRows,
    count: drawnRows,
    knownCount: (group) => options.wholeCounts()[group] ?? 0,
  };
  /** What a call adds of each row: 1 of a count, a value of a sum. */
  const termOf = (call: AggregateCall, index: number): Term | undefined => {
    if (call.distinct) return undefined;
    if (call.fn === 'count') {
      const isAll = countsAll(call);
      return {
        sums: isAll ? undefined : presence(index),
        range: { min: 1, max: 1 },
        isCount: true,
        isEveryRow: isAll,
      };
    }
    if (call.fn !== 'sum' || !isNumeric(call.args[0]!)) return undefined;
    const sums = valueSums(index, 0);
    return { sums, range: sums.range, isCount: false, isEveryRow: false };
  };
  for (const output of outputs) visitQuotients(output);
  function visitQuotients(expression: Expression): void {
    const quotient = quotientOf(expression, aggregate.keys.length, context);
    if (quotient !== undefined) {
      const key = `${quotient.over.call}/${quotient.under.call}`;
      if (!quotients.has(key)) {
        const track = quotientTrack(quotient.over.call, quotient.under.call);
        if (track !== undefined) quotients.set(key, track);
      }
    }
    for (const part of 'args' in expression ? expression.args : []) visitQuotients(part);
    if (expression.kind === 'cast') visitQuotients(expression.arg);
    if (expression.kind === 'case') visitQuotients(expression.otherwise);
  }
  for (const call of calls) if (call.kind === 'track') watcher.track(call.track);
  for (const track of quotients.values()) watcher.track(track);
  return { calls, quotient: (over, under) => quotients.get(`${over}/${under}`) };
}

/** Where a row meets many others, so many rows that lie side by side are one draw. */
export const CLUSTER_ROWS = 64;

type Term = {
  /** Undefined: every row. */
  readonly sums: ValueSums | undefined;
  readonly range: Range;
  readonly isCount: boolean;
  readonly isEveryRow: boolean;
};

/** No value is ever drawn of an empty range; 0 stands for it. */
function drawable(range: Range): Range {
  return range.min <= range.max ? range : { min: 0, max: 0 };
}

function averageTerms(sums: ValueSums): RatioTerms {
  return {
    fresh: (group) => ({
      u: sums.newSum(group),
      v: sums.newCount(group),
      uu: sums.newSquares(group),
      uv: sums.newProducts(group),
      vv: sums.newCountSquares(group),
    }),
    watched: (group) => ({
      u: sums.watchedSum(group),
      v: sums.watchedCount(group),
      uu: sums.squares(group),
      uv: sums.products(group),
      vv: sums.countSquares(group),
    }),
    drawn: (group) => ({ u: sums.sum(group), v: sums.count(group) }),
    drawnByNow: (group) => ({ u: sums.allSum(group), v: sums.allCount(group) }),
    known: (group) => ({ u: sums.knownSum(group), v: sums.knownCount(group) }),
  };
}

/** A row that passes brings its value and 1, so that u − θv is its distance to θ. */
function averageLimits(sums: ValueSums, all: Range): RatioLimits {
  const { min, max } = sums.range;
  const isFinite = Number.isFinite(max - min);
  return {
    tested: isFinite ? { min, max } : undefined,
    spread: (theta) => Math.max(Math.abs(max - theta), Math.abs(min - theta)),
    spreadMax: max - min,
    logical: () => ({
      min: Math.min(all.min, sums.knownMin),
      max: Math.max(all.max, sums.knownMax),
    }),
  };
}

function quotientLimits(u: Term, v: Term): RatioLimits {
  const lowU = Math.min(0, u.range.min);
  const highU = Math.max(0, u.range.max);
  const highV = v.range.max;
  const spread = (theta: number): number =>
    Math.max(
      ...[lowU, highU].flatMap((each) => [Math.abs(each), Math.abs(each - theta * highV)]),
      ...(v.isCount ? [] : [Math.abs(theta) * Math.abs(v.range.min) + Math.max(-lowU, highU)]),
    );
  const tested = v.isCount ? { min: lowU, max: highU } : undefined;
  const isShare = u.isCount && v.isEveryRow;
  return {
    tested,
    spread,
    // Of a row that is in the denominator, u − θ lies within the range; a row that is in the numerator alone brings u itself.
    spreadMax: isShare ? 1 : Math.max(highU - lowU, Math.abs(lowU), Math.abs(highU)),
    logical: () => (isShare ? { min: 0, max: 1 } : UNBOUNDED),
  };
}
