import { DbError } from '../base/errors.ts';
import { slabDoubles } from '../base/slab.ts';
import { datumAt } from '../columns/build.ts';
import type { Batch } from '../columns/batch.ts';
import { compareDatums, equalDatums, hashDatum } from '../columns/compare.ts';
import { FLOAT8, type SqlType } from '../columns/types.ts';
import { Decimal, type Datum } from '../columns/values.ts';
import { Budget } from '../operators/operator.ts';
import { StepwiseSort } from '../operators/stepwise-sort.ts';
import type { Vector } from '../columns/vector.ts';
import type { WindowBounds } from './window-source.ts';
import type { ComparedSpan, PlannedWindow, WindowSeries } from './window-spec.ts';

/**
 * For one look at them: the windows of a series and those they are compared with as one list for a source, and whose each is: entry i belongs to window
 * `owners[i]`, or is what window `−1 − owners[i]` is compared with.
 */
export type AskedWindows = {
  readonly bounds: WindowBounds;
  /** Undefined: entry i belongs to window i, and there is nothing else. */
  readonly owners: Int32Array | undefined;
};

export function askedWindows({ windows, compared }: WindowSeries): AskedWindows {
  if (compared === undefined && isAscending(windows)) {
    const from = slabDoubles(windows.length);
    const to = slabDoubles(windows.length);
    for (let index = 0; index < windows.length; index += 1) {
      from[index] = windows[index]!.startMs * 1000;
      to[index] = windows[index]!.endMs * 1000;
    }
    return { bounds: { from, to }, owners: undefined };
  }
  const all: { readonly span: ComparedSpan; readonly owner: number }[] = windows.map(
    (span, owner) => ({ span, owner }),
  );
  compared?.forEach((span, owner) => {
    if (span !== undefined) all.push({ span, owner: -1 - owner });
  });
  all.sort((a, b) => a.span.startMs - b.span.startMs);
  return {
    bounds: {
      from: Float64Array.from(all, ({ span }) => span.startMs * 1000),
      to: Float64Array.from(all, ({ span }) => span.endMs * 1000),
    },
    owners: Int32Array.from(all, ({ owner }) => owner),
  };
}

function isAscending(windows: readonly PlannedWindow[]): boolean {
  for (let index = 1; index < windows.length; index += 1)
    if (windows[index]!.startMs < windows[index - 1]!.startMs) return false;
  return true;
}

/** A value between two others, which is a double whatever they are. */
export class Interpolated {
  readonly value: number;

  constructor(value: number) {
    this.value = value;
  }
}

/** One row of the answer. */
export type WindowRow = {
  readonly window: PlannedWindow;
  readonly by: readonly Datum[];
  readonly values: readonly (Datum | Interpolated)[];
  /** No row of the data is in it. */
  readonly isFilled: boolean;
  /** What it is compared with: undefined where nothing is asked, null where there is nothing to compare with. */
  readonly previous: (ComparedSpan & { readonly values: readonly Datum[] }) | null | undefined;
};

/** Rows an answer may have, filled ones included. */
export const ANSWER_ROW_COUNT_MAX = 500_000;
/** Rows made between two pauses. */
const ROWS_A_STEP = 256;
/** Work units of sorting groups between two pauses. */
const SORT_UNITS = 20_000;

/** Windows looked at between two pauses, rows or not. */
const LOOKS_A_STEP = 4096;

type Group = { readonly by: readonly Datum[]; readonly hash: number };

/**
 * Takes the batches of a window operator (window number, keys, values) and makes rows of them: in the order of windows, then of
 * keys.
 */
export class WindowAnswer {
  readonly #series: WindowSeries;
  readonly #owners: Int32Array | undefined;
  readonly #keyTypes: readonly SqlType[];
  readonly #valueTypes: readonly SqlType[];
  /** The places behind the point that a zero shows, where it stands for a sum that would. */
  readonly #valueScales: readonly number[];
  /** What the values are of no rows at all: count 0, sum NULL. */
  readonly #makeEmpty: () => readonly Datum[];
  /** Each window has a row of each group, whatever lies in it. */
  readonly #fills: boolean;
  #emptyMade: readonly Datum[] | undefined;
  readonly #groups: Group[] = [];
  readonly #byHash = new Map<number, number[]>();
  readonly #current: Cells;
  readonly #previous: Cells;
  #cellCount = 0;

  constructor(
    series: WindowSeries,
    asked: AskedWindows,
    options: {
      readonly keyTypes: readonly SqlType[];
      readonly valueTypes: readonly SqlType[];
      readonly valueScales?: readonly number[];
      readonly empty: () => readonly Datum[];
    },
  ) {
    this.#series = series;
    this.#owners = asked.owners;
    this.#keyTypes = options.keyTypes;
    this.#valueTypes = options.valueTypes;
    this.#valueScales = options.valueScales ?? [];
    this.#makeEmpty = options.empty;
    const isAlone = this.#keyTypes.length === 0;
    this.#fills = series.fill !== 'none' || (isAlone && series.isOne);
    this.#current = new Cells(isAlone);
    this.#previous = new Cells(isAlone);
    // Without keys there is one group, be it of no rows.
    if (isAlone) this.#groupOf([]);
  }

  /** Most answers have no empty window. */
  get #empty(): readonly Datum[] {
    return (this.#emptyMade ??= this.#makeEmpty());
  }

  take(batch: Batch): void {
    const keyCount = this.#keyTypes.length;
    this.#cellCount += batch.rowCount;
    if (this.#cellCount > 2 * ANSWER_ROW_COUNT_MAX) throw tooManyRows();
    for (let row = 0; row < batch.rowCount; row += 1) {
      const at = batch.selection === undefined ? row : batch.selection[row]!;
      const data = batch.columns.map((column) => datumAt(column, at));
      const group = keyCount === 0 ? 0 : this.#groupOf(data.slice(1, 1 + keyCount));
      this.#put(data[0] as number, group, data.slice(1 + keyCount));
    }
  }

  /** The same of the first `count` rows of what tiles hold: `numbers` are of windows, `valuesOf` gives what the rows show in a column. */
  takeTiles(
    count: number,
    numbers: readonly number[],
    keys: readonly Vector[],
    valuesOf: (column: number) => readonly Datum[],
  ): void {
    this.#cellCount += count;
    if (this.#cellCount > 2 * ANSWER_ROW_COUNT_MAX) throw tooManyRows();
    const columns = this.#valueTypes.map((_, column) => valuesOf(column));
    for (let row = 0; row < count; row += 1) {
      const group = keys.length === 0 ? 0 : this.#groupOf(keys.map((key) => datumAt(key, row)));
      const values = columns.map((column) => column[row]!);
      this.#put(numbers[row]!, group, values);
    }
  }

  #put(number: number, group: number, values: readonly Datum[]): void {
    const owner = this.#owners === undefined ? number : this.#owners[number]!;
    if (owner >= 0) this.#current.set(owner, group, values);
    else this.#previous.set(-1 - owner, group, values);
  }

  /** Rows of the answer, if every window has every group that was met. */
  get rowCountMax(): number {
    return this.#series.windows.length * Math.max(1, this.#groups.length);
  }

  /** Rows, a few at a time. */
  *rows(): Generator<readonly WindowRow[]> {
    const { windows, compared, fill } = this.#series;
    const order = this.#groups.length > 1 ? yield* this.#sorted() : Array.from(this.#groups.keys());
    const ranks = new Int32Array(order.length);
    for (let rank = 0; rank < order.length; rank += 1) ranks[order[rank]!] = rank;
    const carried = fill === 'previous' ? new Map<number, readonly Datum[]>() : undefined;
    let rows: WindowRow[] = [];
    let looks = 0;
    for (let index = 0; index < windows.length; index += 1) {
      const window = windows[index]!;
      looks += 1;
      if (looks % LOOKS_A_STEP === 0) yield [];
      for (const group of this.#fills ? order : this.#groupsOf(index, ranks)) {
        const known = this.#current.get(index, group);
        if (known !== undefined) carried?.set(group, known);
        rows.push({
          window,
          by: this.#groups[group]!.by,
          values: known ?? this.#filled(fill, index, group, carried),
          isFilled: known === undefined,
          previous: this.#previousOf(index, group, compared),
        });
        if (rows.length >= ROWS_A_STEP) {
          yield rows;
          rows = [];
        }
      }
    }
    yield rows;
  }

  *#sorted(): Generator<readonly WindowRow[], Int32Array> {
    const sort = new StepwiseSort(this.#groups.length, (a, b) => this.#compareGroups(a, b), {
      memory: undefined,
    });
    const budget = new Budget(SORT_UNITS);
    while (!sort.step(budget)) {
      yield [];
      budget.refill(SORT_UNITS);
    }
    return sort.sorted;
  }

  /** The groups that a window, or what it is compared with, has rows of; in order. */
  #groupsOf(window: number, ranks: Int32Array): readonly number[] {
    const groups = this.#current.groupsOf(window);
    for (const group of this.#previous.groupsOf(window))
      if (this.#current.get(window, group) === undefined) groups.push(group);
    for (let at = 1; at < groups.length; at += 1)
      // They come in order, but for those of two sources.
      if (ranks[groups[at - 1]!]! > ranks[groups[at]!]!)
        return groups.sort((a, b) => ranks[a]! - ranks[b]!);
    return groups;
  }

  #previousOf(
    index: number,
    group: number,
    compared: WindowSeries['compared'],
  ): WindowRow['previous'] {
    if (compared === undefined) return undefined;
    const span = compared[index];
    if (span === undefined) return null;
    const values = this.#previous.get(index, group) ?? this.#standIn(this.#series.fill);
    return { ...span, values };
  }

  #filled(
    fill: WindowSeries['fill'],
    index: number,
    group: number,
    carried: ReadonlyMap<number, readonly Datum[]> | undefined,
  ): readonly (Datum | Interpolated)[] {
    switch (fill) {
      case 'previous':
        return carried!.get(group) ?? this.#empty.map(() => null);
      case 'linear':
        return this.#empty.map((_, value) => this.#between(index, group, value));
      default:
        return this.#standIn(fill);
    }
  }

  /** What stands for a window without rows, whatever is beside it. */
  #standIn(fill: WindowSeries['fill']): readonly Datum[] {
    switch (fill) {
      case 'zero':
        return this.#empty.map(
          (datum, value) =>
            datum ?? zeroOf(this.#valueTypes[value]!, this.#valueScales[value] ?? 0),
        );
      case 'null':
        return this.#empty.map(() => null);
      default:
        return this.#empty;
    }
  }

  /** On the line between the nearest windows that have rows; NULL before the first and after the last. */
  #between(index: number, group: number, value: number): Datum | Interpolated {
    const left = this.#nearest(index, group, -1);
    const right = this.#nearest(index, group, 1);
    if (left === undefined || right === undefined) return null;
    const { windows } = this.#series;
    const [from, to] = [left, right].map((each) =>
      numberOf(this.#current.get(each, group)![value]!),
    );
    if (from === undefined || to === undefined) return null;
    const startOf = (each: number): number => windows[each]!.startMs;
    const share = (startOf(index) - startOf(left)) / (startOf(right) - startOf(left));
    return new Interpolated(from + (to - from) * share);
  }

  readonly #nearestKnown = new Map<
    number,
    { readonly index: number; readonly found: number | undefined }
  >();

  #nearest(index: number, group: number, step: 1 | -1): number | undefined {
    // What was found for the window before holds until it is passed.
    const key = group * 2 + (step === 1 ? 1 : 0);
    const known = this.#nearestKnown.get(key);
    if (known !== undefined && step === 1 && (known.found === undefined || known.found > index))
      return known.found;
    let found: number | undefined;
    if (step === -1 && known !== undefined) {
      found = known.found;
      for (let each = known.index; each < index; each += 1)
        if (this.#current.get(each, group) !== undefined) found = each;
    } else {
      const end = step === 1 ? this.#series.windows.length : -1;
      for (let each = index + step; each !== end; each += step)
        if (this.#current.get(each, group) !== undefined) {
          found = each;
          break;
        }
    }
    this.#nearestKnown.set(key, { index, found });
    return found;
  }

  #groupOf(by: readonly Datum[]): number {
    let hash = 0;
    for (const [column, datum] of by.entries())
      hash = (Math.imul(hash, 31) + hashDatum(datum, this.#keyTypes[column]!.kind)) | 0;
    const candidates = this.#byHash.get(hash);
    for (const group of candidates ?? [])
      if (
        this.#groups[group]!.by.every((datum, column) =>
          equalDatums(datum, by[column]!, this.#keyTypes[column]!.kind),
        )
      )
        return group;
    const group = this.#groups.length;
    // Every window gets every group: what would be refused in the end is refused now.
    if (this.#fills && this.#series.windows.length * (group + 1) > ANSWER_ROW_COUNT_MAX)
      throw tooManyRows();
    this.#groups.push({ by, hash });
    if (candidates === undefined) this.#byHash.set(hash, [group]);
    else candidates.push(group);
    return group;
  }

  #compareGroups(a: number, b: number): number {
    const [left, right] = [this.#groups[a]!.by, this.#groups[b]!.by];
    for (const [column, { kind }] of this.#keyTypes.entries()) {
      const order = compareDatums(left[column]!, right[column]!, kind);
      if (order !== 0) return order;
    }
    return 0;
  }
}

/** Values by window and group. */
class Cells {
  readonly #windows: (Map<number, readonly Datum[]> | undefined)[];
  /** Where there is one group. */
  readonly #values: (readonly Datum[] | undefined)[] | undefined;

  constructor(isAlone: boolean) {
    this.#windows = [];
    this.#values = isAlone ? [] : undefined;
  }

  get(window: number, group: number): readonly Datum[] | undefined {
    if (this.#values !== undefined) return this.#values[window];
    return this.#windows[window]?.get(group);
  }

  set(window: number, group: number, values: readonly Datum[]): void {
    if (this.#values !== undefined) this.#values[window] = values;
    else (this.#windows[window] ??= new Map()).set(group, values);
  }

  groupsOf(window: number): number[] {
    if (this.#values !== undefined) return this.#values[window] === undefined ? [] : [0];
    const groups = this.#windows[window];
    return groups === undefined ? [] : [...groups.keys()];
  }
}

export function tooManyRows(): DbError {
  return new DbError('54000', `the answer has more than ${ANSWER_ROW_COUNT_MAX} rows`, {
    limit: 'rows',
    hint: 'Ask for longer windows, fewer groups, or a shorter time; db.query streams larger ones.',
  });
}

/** The datum of nought; NULL for types that have none. */
function zeroOf({ kind }: SqlType, scale: number): Datum {
  switch (kind) {
    case 'int2':
    case 'int4':
    case 'int8':
    case 'float4':
    case 'float8':
      return 0;
    case 'numeric':
      return new Decimal(0n, scale);
    default:
      return null;
  }
}

function numberOf(datum: Datum): number | undefined {
  if (datum === null) return undefined;
  const value = Number(datum instanceof Decimal ? datum.toString() : datum);
  return Number.isFinite(value) ? value : undefined;
}

/** Whether values of a type lie on lines. */
export function isInterpolable({ kind }: SqlType): boolean {
  return ['int2', 'int4', 'int8', 'float4', 'float8', 'numeric'].includes(kind);
}

export const INTERPOLATED_TYPE = FLOAT8;
