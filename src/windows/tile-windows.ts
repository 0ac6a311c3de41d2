import { DbError } from '../base/errors.ts';
import { countBelow } from '../base/search.ts';
import { BATCH_ROW_COUNT_MAX, type Batch } from '../columns/batch.ts';
import { datumAt, vectorFromData } from '../columns/build.ts';
import type { TableSnapshot, TimeStretch } from '../columns/table-contract.ts';
import { INT4 } from '../columns/types.ts';
import type { Vector } from '../columns/vector.ts';
import type { Datum } from '../columns/values.ts';
import type { ExecutionEnvironment } from '../operators/environment.ts';
import { Budget, type Step } from '../operators/operator.ts';
import { EMPTY_BATCH } from '../operators/row-operators.ts';
import type { OutputColumn } from '../plan/logical.ts';
import type { Accumulator } from './accumulator.ts';
import type { KeptReading } from './kept-reading.ts';
import { addTiles } from './tile-layout.ts';
import type { TileMeasures } from './tile-measures.ts';
import type { TilePage } from './tile-page.ts';
import { NoTiles, whyNoTiles } from './no-tiles.ts';
import type { TimeReach } from './time-reach.ts';
import {
  SPAN_DAYS_MIN,
  type SpanTile,
  type TileRows,
  type TileSet,
  tileWork,
  type Tiling,
} from './tile-set.ts';
import {
  BEFORE_AT,
  DAY,
  dayRuns,
  FOURS_AT,
  FROM_AT,
  HOURS_AT,
  MINUTE,
  QUARTER,
  QUARTERS,
  SECOND,
  SPANS,
  TILES_BEFORE,
  TILES_FROM,
  WHOLE_AT,
} from './tile-time.ts';
import {
  scannedWindows,
  windowColumns,
  type WindowBounds,
  type WindowOperator,
  type WindowPlan,
} from './window-source.ts';

/** A tile of more rows is read through finer ones where a window begins or ends inside. */
const DENSE_ROWS = 512;
/** Days built at once: what a query that is called off leaves behind is whole. */
const BUILD_DAYS = 64;
/** The same before anything was read. */
const BUILD_DAYS_FIRST = 8;
/** What a step costs in which nothing could be done, so that others have their turn. */
const WAIT_WORK = 64;
/** Work units of a window, whatever lies in it: many may have no rows. */
const WINDOW_WORK = 8;
const NO_KEYS: readonly Vector[] = [];
const NO_QUARTERS = new Float64Array(0);
/** Of whoever was not called yet; nobody charges it. */
const NO_BUDGET = new Budget(0);
/** A reader of the past reads changed quarters one by one, each as many rows as were changed near it: of more of them it reads all rows once. */
const CHANGED_QUARTERS_MAX = 64;
/** Windows whose ends are looked at for finer tiles. */
const FINE_WINDOWS_MAX = 4096;

/** What may be worth making where a window begins or ends. */
type Lacking = 'repair' | 'pieces' | 'minutes' | 'seconds';

/**
 * Windows from tiles: each is the sum of a few tiles and, at its ends, of rows. The reader is at the position of its snapshot, whatever
 * the set has followed since: where rows have come or gone between the two it reads rows, tiles elsewhere. What tiles cannot
 * answer is scanned.
 */
export class TiledWindows implements WindowOperator {
  readonly id = 0;
  batch: Batch = EMPTY_BATCH;
  #columns: readonly OutputColumn[] | undefined;
  #tiles = 0;
  #rows = 0;
  readonly #plan: WindowPlan;
  readonly #windows: WindowBounds;
  readonly #environment: ExecutionEnvironment;
  readonly #set: TileSet;
  /** By call of the plan, the call of the set. */
  readonly #calls: readonly number[];
  readonly #snapshot: TableSnapshot;
  /** Rows that were demoted, where the windows may meet some. */
  readonly #kept: KeptReading | undefined;
  /** A set of its own, in which nothing is built: rows are read one by one. */
  readonly #isPlain: boolean;
  readonly #reaches: readonly TimeReach[] | undefined;
  readonly #otherwise: ((windows: WindowBounds) => WindowOperator) | undefined;
  readonly #refused: ((always: boolean) => void) | undefined;
  readonly #total: Accumulator;
  #isClosed = false;
  #budget = NO_BUDGET;
  #steps: Tiling<void> | undefined;
  #scan: WindowOperator | undefined;
  /** Windows before this one are finished. */
  #window = 0;
  /** Days before this one are there, as far as windows yet to be read lie in them. */
  #preparedTo = -Infinity;
  /** Rows of the answer that were given, of those that `#total` has. */
  #given = 0;
  /** Quarters that are read from rows, as of the set's position `#changedAt`. */
  #changed: Float64Array = NO_QUARTERS;
  #changedAt = NaN;

  constructor(options: {
    readonly plan: WindowPlan;
    readonly windows: WindowBounds;
    readonly environment: ExecutionEnvironment;
    readonly set: TileSet;
    readonly calls: readonly number[];
    readonly snapshot: TableSnapshot;
    readonly kept?: KeptReading | undefined;
    readonly isPlain?: boolean;
    /** By window, what lies in it, where that is not all between its ends: of a plain reader alone. */
    readonly reaches?: readonly TimeReach[] | undefined;
    /** What answers where these tiles cannot; by default rows do. */
    readonly otherwise?: ((windows: WindowBounds) => WindowOperator) | undefined;
    /** The set cannot answer, this time or ever; a plain reader's is its own. */
    readonly refused?: (always: boolean) => void;
  }) {
    this.#plan = options.plan;
    this.#windows = options.windows;
    this.#environment = options.environment;
    this.#set = options.set;
    this.#calls = options.calls;
    this.#snapshot = options.snapshot;
    this.#kept = options.kept;
    this.#isPlain = options.isPlain ?? false;
    this.#reaches = options.reaches;
    this.#otherwise = options.otherwise;
    this.#refused = options.refused;
    this.#total = options.set.takeAccumulator();
  }

  get columns(): readonly OutputColumn[] {
    return (this.#columns ??= windowColumns(this.#plan));
  }

  /** All of the answer so far has come from tiles, and rows at the ends of windows. */
  get isTiled(): boolean {
    return this.#scan === undefined;
  }

  /** Nothing has to be built, followed or read anew before windows are read. */
  get isReady(): boolean {
    const set = this.#set;
    if (set.isBusy || set.position !== set.data.position) return false;
    for (const quarter of set.stale) if (this.#touches(quarter)) return false;
    // Windows that follow one another lie in one stretch of days.
    const { from, to } = this.#windows;
    for (let window = 0; window < from.length;) {
      const first = Math.floor(from[window]! / DAY);
      let end = first;
      for (; window < from.length && Math.floor(from[window]! / DAY) <= end; window += 1) {
        if (this.#wantsPieces(from[window]!) || this.#wantsPieces(to[window]!)) return false;
        end = Math.max(end, Math.ceil(to[window]! / DAY));
      }
      if (!set.covers(first, end)) return false;
    }
    return true;
  }

  #wantsPieces(time: number): boolean {
    return !isQuarter(time) && this.#set.wantsPieces(Math.floor(time / DAY));
  }

  get tiles(): number {
    return this.#tiles;
  }

  get rowsScanned(): number {
    return this.#rows + (this.#scan?.rowsScanned ?? 0);
  }

  next(budget: Budget): Step {
    if (this.#scan !== undefined) return this.#scanned(budget);
    this.#budget = budget;
    this.#steps ??= this.#readAll();
    try {
      const step = this.#steps.next();
      if (step.done !== true) {
        if (step.value === 'wait') budget.charge(WAIT_WORK);
        return this.#ungiven >= BATCH_ROW_COUNT_MAX / 2 ? this.#give() : 'more';
      }
    } catch (cause) {
      const why = whyNoTiles(cause);
      if (this.#isPlain) throw why.cause ?? beyondTiles();
      this.#refuse(why);
      // What was given stays: the rest comes from rows.
      this.#scanRest();
      return this.#ungiven > 0 ? this.#give() : this.#scanned(budget);
    }
    return this.#ungiven > 0 ? this.#give() : 'done';
  }

  /**
   * All windows within a budget, where nothing has to be scanned: how many rows of the answer there are, of which the getters below tell until this is closed.
   * Undefined: it is more than that, and to be begun anew.
   */
  nextAtOnce(budget: Budget): number | undefined {
    this.#budget = budget;
    try {
      if (!this.#isReadAtOnce()) {
        if (budget.exhausted) return undefined;
        const steps = this.#runReady();
        this.#steps = steps;
        if (steps.next().done !== true) return undefined;
      }
    } catch (cause) {
      this.#refuse(whyNoTiles(cause));
      return undefined;
    }
    return this.#total.rowCount;
  }

  /** Numbers of windows by row of the answer, ascending. */
  get rowWindows(): readonly number[] {
    return this.#total.rowWindows;
  }

  /** Keys of the rows, by key. */
  get rowKeys(): readonly Vector[] {
    if (this.#plan.keys.length === 0) return NO_KEYS;
    const { rowGroups, rowCount } = this.#total;
    return this.#set.groups.keys(Int32Array.from(rowGroups.slice(0, rowCount)), rowCount);
  }

  /** Values of a call of the plan, by row. */
  rowValues(call: number): readonly Datum[] {
    return this.#total.rowValues[this.#calls[call]!]!;
  }

  get #ungiven(): number {
    return this.#total.rowCount - this.#given;
  }

  /** Others are told, but where only this reader is at fault. */
  #refuse({ always, cause }: NoTiles): void {
    if (always || cause !== undefined) this.#refused?.(always);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#steps?.return(undefined);
    this.#kept?.close();
    this.#scan?.close();
    this.#set.giveAccumulator(this.#total);
    if (this.#isPlain) this.#set.close();
  }

  // ── steps ────────────────────────────────────────────────────────────────────────────────────────────────────

  *#runReady(): Tiling<void> {
    this.#preparedTo = Infinity;
    yield* this.#refineEnds();
    yield* this.#readAll();
  }

  /**
   * Reads windows of one group as long as nothing has to be made and the budget lasts; false where some are left, from `#window` on. Without
   * generators, each of which costs as much as a tile.
   */
  #isReadAtOnce(): boolean {
    const { from, to } = this.#windows;
    const set = this.#set;
    if (this.#kept !== undefined || this.#plan.keys.length > 0) return false;
    this.#compare();
    for (; this.#window < from.length; this.#window += 1) {
      const start = from[this.#window]!;
      const end = to[this.#window]!;
      if (!isQuarter(start) && !isQuarter(end)) set.lookAtEnds(this.#snapshot, start, end);
      if (this.#budget.exhausted || this.#lacking(start) !== undefined) return false;
      if (this.#lacking(end) !== undefined) return false;
      this.#total.reset(set.measures.layout.wider, true);
      let ends: TimeStretch[] | undefined;
      for (let time = this.#addTiles(start, end); time < end; time = this.#addTiles(time, end)) {
        if (this.#budget.exhausted) return false;
        const next = this.#nextTileAfter(time, end);
        (ends ??= []).push({ from: time, to: next });
        time = next;
      }
      if (ends !== undefined && !this.#isAddedAtOnce(ends)) return false;
      this.#finish(undefined);
    }
    return true;
  }

  /** Adds the rows where no tile ends, all together: they are waited for less often so. False where the budget is used up. */
  #isAddedAtOnce(ends: readonly TimeStretch[]): boolean {
    const rows = this.#set.rowsIn(this.#snapshot, ends);
    for (let rowCount = rows.next(); rowCount !== undefined; rowCount = rows.next()) {
      this.#addLoaded(rows, rowCount, -Infinity, Infinity);
      if (this.#budget.exhausted) return false;
    }
    this.#rows += rows.takeRead();
    for (let index = 0; index < ends.length; index += 1)
      this.#noteEdge(rows.readOf(index), ends[index]!.from);
    return true;
  }

  *#readAll(): Tiling<void> {
    const { from, to } = this.#windows;
    const current = (): Budget => this.#budget;
    const set = this.#set;
    if (this.#kept !== undefined) yield* this.#kept.begin(set, this.#calls, current);
    let ranks: Int32Array | undefined;
    let { evictions } = set;
    for (; this.#window < from.length; this.#window += 1) {
      if (this.#budget.exhausted || this.#ungiven >= BATCH_ROW_COUNT_MAX / 2) {
        yield* this.#pause();
      }
      if (!this.#isPlain && !this.#isPrepared(evictions)) {
        // As of before: what goes meanwhile is missing, too.
        ({ evictions } = set);
        yield* this.#prepare();
      }
      if (!this.#isPlain && set.position !== this.#changedAt) this.#compare();
      this.#total.reset(set.measures.layout.wider);
      const start = from[this.#window]!;
      const end = to[this.#window]!;
      // What is not kept at all is told before rows are, of which tiles may hold even less.
      if (this.#isPlain)
        for (const stretch of this.#reaches?.[this.#window]?.stretches ?? [
          { from: start, to: end },
        ])
          yield* this.#kept!.addTo(set, this.#total, stretch.from, stretch.to, current);
      const time = this.#isPlain ? start : this.#addTiles(start, end);
      if (time < end) yield* this.#read(time, end);
      if (this.#kept !== undefined && !this.#isPlain)
        yield* this.#kept.addTo(set, this.#total, start, end, current);
      if (this.#plan.keys.length > 0 && this.#total.count > 1) ranks = yield* set.ranks(current);
      this.#finish(ranks);
    }
  }

  /** The days of the next window are there, as they were when so much had been evicted. */
  #isPrepared(evictions: number): boolean {
    const to = this.#windows.to[this.#window]!;
    if (to > this.#preparedTo * DAY) return false;
    if (this.#set.evictions === evictions) return true;
    const from = this.#windows.from[this.#window]!;
    return this.#set.covers(Math.floor(from / DAY), Math.ceil(to / DAY));
  }

  /**
   * Brings the set up to date and builds what is missing of the days that the next window lies in, and some after: whoever takes the answer may refuse
   * it for its first windows.
   */
  *#prepare(): Tiling<void> {
    const set = this.#set;
    const current = (): Budget => this.#budget;
    yield* set.catchUp(current);
    if (set.isClosed) throw new NoTiles(false);
    this.#preparedTo = yield* this.#buildDays();
    for (const quarter of [...set.stale]) {
      if (!this.#touches(quarter)) continue;
      if (!this.#repair(quarter)) break;
      if (this.#budget.exhausted) yield* this.#pause();
    }
    yield* this.#refineEnds();
  }

  /** Gives the day before which none is missing. */
  *#buildDays(): Tiling<number> {
    const set = this.#set;
    const needed = this.#windows.to[this.#window]! / DAY;
    let built = 0;
    for (const stretch of this.#stretches()) {
      for (const gap of set.gaps(stretch.from, stretch.to)) {
        for (let day = gap.from; day < gap.to;) {
          if (built > 0 && day >= needed) return day;
          const isFirst = built === 0 && this.#window === 0;
          const end = Math.min(gap.to, day + (isFirst ? BUILD_DAYS_FIRST : BUILD_DAYS));
          this.#rows += yield* set.buildDays(day, end, () => this.#budget);
          built += end - day;
          day = end;
        }
      }
    }
    return Infinity;
  }

  *#refineEnds(): Tiling<void> {
    const { from, to } = this.#windows;
    const fine = Math.min(from.length, FINE_WINDOWS_MAX);
    for (let window = this.#window; window < fine; window += 1) {
      if (from[window]! >= this.#preparedTo * DAY) break;
      if (this.#lacking(from[window]!) !== undefined) yield* this.#refine(from[window]!);
      if (this.#lacking(to[window]!) !== undefined) yield* this.#refine(to[window]!);
    }
  }

  /** Reads a quarter anew; false where the set is at another position than the table. */
  #repair(quarter: number): boolean {
    const set = this.#set;
    const read = set.repair(quarter);
    if (read === undefined) return false;
    this.#rows += read;
    this.#budget.charge(read * set.measures.work);
    return true;
  }

  /** Whole days that windows yet to be read lie in, ascending. */
  #stretches(): { readonly from: number; readonly to: number }[] {
    const { from, to } = this.#windows;
    const stretches: { from: number; to: number }[] = [];
    for (let window = this.#window; window < from.length; window += 1) {
      const first = Math.floor(from[window]! / DAY);
      const end = Math.ceil(to[window]! / DAY);
      const last = stretches.at(-1);
      if (last !== undefined && first <= last.to) last.to = Math.max(last.to, end);
      else stretches.push({ from: first, to: end });
    }
    return stretches;
  }

  #touches(quarter: number): boolean {
    const start = quarter * QUARTER;
    const { from, to } = this.#windows;
    return start < to.at(-1)! + DAY && start >= from[0]! - DAY;
  }

  /** What is worth making where a window begins or ends inside of a tile of many rows. */
  #lacking(time: number): Lacking | undefined {
    const set = this.#set;
    const quarter = Math.floor(time / QUARTER);
    if (quarter * QUARTER === time) return undefined;
    if (set.isRagged(quarter)) return 'repair';
    if (set.wantsPieces(Math.floor(quarter / QUARTERS))) return 'pieces';
    if (set.rowsAround(time) <= DENSE_ROWS) return undefined;
    const minutes = set.minutes(quarter);
    if (minutes === undefined) return 'minutes';
    const minute = Math.floor(time / MINUTE);
    if (minute * MINUTE === time || set.seconds(minute) !== undefined) return undefined;
    return minutes.rowsAt(minute - quarter * 15) > DENSE_ROWS ? 'seconds' : undefined;
  }

  /** Finer tiles, until none is lacking or what was made is of no help. */
  *#refine(time: number): Tiling<void> {
    const set = this.#set;
    const current = (): Budget => this.#budget;
    const quarter = Math.floor(time / QUARTER);
    let made: Lacking | undefined;
    try {
      for (;;) {
        const lacking = this.#lacking(time);
        if (lacking === undefined || lacking === made) return;
        made = lacking;
        switch (lacking) {
          case 'repair':
            this.#repair(quarter);
            break;
          case 'pieces':
            this.#rows += yield* set.buildPieces(Math.floor(quarter / QUARTERS), current);
            break;
          case 'minutes':
            this.#noteRead(yield* set.buildMinutes(quarter, current), time);
            break;
          case 'seconds':
            this.#noteRead(yield* set.buildSeconds(Math.floor(time / MINUTE), current), time);
            break;
        }
      }
    } catch (cause) {
      // Finer tiles are a help, no need: but for what no tile can hold, and a set that is no more.
      if (!(cause instanceof NoTiles) || cause.always || set.isClosed) throw cause;
    }
  }

  #noteRead(rows: number, time: number): void {
    this.#rows += rows;
    this.#noteEdge(rows, time);
  }

  /** Rows were read since no tile ends at `time`, or after it. */
  #noteEdge(rows: number, time: number): void {
    if (this.#changed.length === 0) this.#set.noteEdge(time, rows);
  }

  /** What differs between the snapshot and the set. */
  #compare(): void {
    const { position } = this.#set;
    const changed = this.#set.changedQuarters(this.#snapshot.position!, position);
    if (changed === undefined || changed.length > CHANGED_QUARTERS_MAX) throw new NoTiles(false);
    this.#changed = changed;
    this.#changedAt = position;
  }

  // ── one window ───────────────────────────────────────────────────────────────────────────────────────────────

  /** Adds tiles as far as they reach, and the budget. */
  #addTiles(from: number, to: number): number {
    const set = this.#set;
    let time = from;
    while (time < to && !this.#budget.exhausted) {
      const quarter = Math.floor(time / QUARTER);
      const day = Math.floor(quarter / QUARTERS);
      const leaf = quarter - day * QUARTERS;
      const leafEnd = Math.min(QUARTERS, leaf + Math.floor((to - time) / QUARTER));
      if (time === day * DAY && to - time >= SPAN_DAYS_MIN * DAY) {
        const days = Math.floor((to - time) / DAY);
        const span = this.#spanOf(day, day + days);
        if (span !== undefined) {
          this.#addPage(span.page, 0, 1);
          this.#tiles += span.pieces;
          this.#budget.charge(span.work);
          time += days * DAY;
          continue;
        }
      }
      if (
        quarter * QUARTER === time &&
        leafEnd > leaf &&
        leafEnd - leaf < QUARTERS &&
        this.#changed.length === 0 &&
        set.stale.size === 0 &&
        set.knows(day)
      ) {
        const page = set.day(day);
        if (page !== undefined) this.#addQuarters(page, leaf, leafEnd);
        time += (leafEnd - leaf) * QUARTER;
        continue;
      }
      const end = this.#addTileAt(time, to);
      if (end === time) break;
      time = end;
    }
    return time;
  }

  #spanOf(from: number, to: number): SpanTile | undefined {
    const set = this.#set;
    return this.#changed.length === 0 && set.stale.size === 0 ? set.span(from, to) : undefined;
  }

  /** Adds quarters [from, to) of a day, not all of them, in which nothing has changed. */
  #addQuarters(page: TilePage, from: number, to: number): void {
    if (from === 0) {
      if (page.isSplitAt(to)) {
        this.#addJoint(page, BEFORE_AT, TILES_BEFORE[to]!);
        return;
      }
    } else if (to === QUARTERS && page.isSplitAt(from)) {
      this.#addJoint(page, FROM_AT, TILES_FROM[from]!);
      return;
    }
    const { runs } = this.#set;
    dayRuns(runs, from, to);
    for (let run = 0; run < runs.length; run += 2) this.#add(page, runs[run]!, runs[run + 1]!);
  }

  /** Adds the tile that is the sum of `count` others: it counts and costs as those. */
  #addJoint(page: TilePage, place: number, count: number): void {
    this.#addPage(page, place, 1);
    this.#tiles += count;
    this.#budget.charge(count * tileWork(page, 0));
  }

  /**
   * Each piece is exact at the snapshot's position when it is added, so what the set follows between two steps does not matter to those
   * that are in.
   */
  *#read(from: number, to: number): Tiling<void> {
    if (this.#isPlain) {
      yield* this.#addRows(from, to);
      return;
    }
    let time = from;
    while (time < to) {
      const end = this.#addTileAt(time, to);
      if (end === time) {
        time = this.#nextTileAfter(time, to);
        yield* this.#addRows(end, time);
      } else time = end;
      if (this.#budget.exhausted && time < to) yield* this.#pause();
    }
  }

  /** Gives the thread back between two windows, or pieces of one. */
  *#pause(): Tiling<void> {
    const set = this.#set;
    yield 'go';
    while (set.isBusy) yield 'wait';
    if (set.isClosed) throw new NoTiles(false);
    if (!this.#isPlain && set.position !== this.#changedAt) this.#compare();
  }

  /** Adds the largest tile that begins at `time` and does not reach beyond `to`; where it ends, or `time` where there is none. */
  #addTileAt(time: number, to: number): number {
    const set = this.#set;
    const quarter = Math.floor(time / QUARTER);
    const start = quarter * QUARTER;
    if (start === time && to - time >= QUARTER) {
      const span = this.#addLargest(quarter, Math.floor((to - time) / QUARTER));
      if (span > 0) return time + span * QUARTER;
    }
    const day = Math.floor(quarter / QUARTERS);
    if (!set.knows(day) || this.#isChanged(quarter, 1)) return time;
    const rows = set.day(day)?.rowsAt(quarter - day * QUARTERS) ?? 0;
    if (rows === 0) return Math.min(to, start + QUARTER);
    const minutes = set.minutes(quarter);
    if (minutes !== undefined) return this.#addFine(minutes, quarter, time, to);
    const pieces = set.pieces(quarter);
    return pieces === undefined ? time : this.#addPieces(pieces, day, time, to);
  }

  /** Adds pieces of a quarter as far as they reach. */
  #addPieces(pieces: TilePage, day: number, time: number, to: number): number {
    const { length, run, runsAt } = pieces.cut!;
    let place = Math.floor((time - day * DAY) / length);
    const start = day * DAY + place * length;
    if (start < time || start + length > to)
      return pieces.rowsAt(place) === 0 ? Math.min(to, start + length) : time;
    const until = Math.min(to, (Math.floor(time / QUARTER) + 1) * QUARTER);
    const end = place + Math.floor((until - start) / length);
    const runFrom = run === 0 ? 0 : Math.ceil(place / run);
    const runEnd = run === 0 ? 0 : Math.floor(end / run);
    if (runFrom < runEnd) {
      this.#add(pieces, place, runFrom * run - place);
      this.#add(pieces, runsAt + runFrom, runEnd - runFrom);
      place = runEnd * run;
    }
    this.#add(pieces, place, end - place);
    return day * DAY + end * length;
  }

  /** The same of minutes and seconds. */
  #addFine(minutes: TilePage, quarter: number, time: number, to: number): number {
    const minute = Math.floor(time / MINUTE);
    const place = minute - quarter * 15;
    const end = (minute + 1) * MINUTE;
    if (minutes.rowsAt(place) === 0) return Math.min(to, end);
    if (minute * MINUTE === time && end <= to) {
      this.#add(minutes, place);
      return end;
    }
    const seconds = this.#set.seconds(minute);
    if (seconds === undefined || time % SECOND !== 0 || to - time < SECOND) return time;
    this.#add(seconds, time / SECOND - minute * 60);
    return time + SECOND;
  }

  /** Where rows need not be read any more: the next tile may begin there. */
  #nextTileAfter(time: number, to: number): number {
    let quarter = Math.floor(time / QUARTER);
    if (this.#isChanged(quarter, 1)) {
      do quarter += 1;
      while (quarter * QUARTER < to && this.#isChanged(quarter, 1));
      return Math.min(to, quarter * QUARTER);
    }
    const fine = this.#lengthAt(time, quarter);
    return Math.min(to, (Math.floor(time / fine) + 1) * fine);
  }

  /** How long the finest tiles of a quarter are there. */
  #lengthAt(time: number, quarter: number): number {
    const set = this.#set;
    if (set.minutes(quarter) !== undefined)
      return set.seconds(Math.floor(time / MINUTE)) === undefined ? MINUTE : SECOND;
    const pieces = set.pieces(quarter);
    return pieces === undefined ? QUARTER : pieces.cut!.length;
  }

  /** Adds the largest tile that begins with a quarter and is not longer than `room` quarters; its length, or 0 where there is none. */
  #addLargest(quarter: number, room: number): number {
    const set = this.#set;
    const day = Math.floor(quarter / QUARTERS);
    const leaf = quarter - day * QUARTERS;
    if (leaf === 0 && room >= QUARTERS) {
      for (let level = SPANS.length - 1; level >= 0; level -= 1) {
        const span = SPANS[level]!;
        if (room < span * QUARTERS || day % span !== 0) continue;
        if (this.#isChanged(quarter, span * QUARTERS)) continue;
        const top = set.top(level, day / span);
        if (top === undefined) continue;
        this.#add(top, 0);
        return span * QUARTERS;
      }
    }
    if (!set.knows(day)) return 0;
    let length = 0;
    let place = leaf;
    if (leaf === 0 && room >= QUARTERS && !this.#isChanged(quarter, QUARTERS)) {
      length = QUARTERS;
      place = WHOLE_AT;
    } else if ((leaf & 15) === 0 && room >= 16 && !this.#isChanged(quarter, 16)) {
      length = 16;
      place = FOURS_AT + (leaf >> 4);
    } else if ((leaf & 3) === 0 && room >= 4 && !this.#isChanged(quarter, 4)) {
      length = 4;
      place = HOURS_AT + (leaf >> 2);
    } else if (!this.#isChanged(quarter, 1)) length = 1;
    else return 0;
    const page = set.day(day);
    if (page !== undefined) this.#add(page, place);
    return length;
  }

  #isChanged(quarter: number, length: number): boolean {
    const { stale } = this.#set;
    const changed = this.#changed;
    if (changed.length > 0) {
      const low = countBelow(changed, quarter);
      if (low < changed.length && changed[low]! < quarter + length) return true;
    }
    if (stale.size === 0) return false;
    for (const each of stale) if (each >= quarter && each < quarter + length) return true;
    return false;
  }

  /** Adds `count` tiles of a page from a place on. */
  #add(page: TilePage, place: number, count = 1): void {
    if (count === 0) return;
    this.#tiles += count;
    if (!page.countsKeys) {
      this.#addPage(page, place, count);
      this.#budget.charge(count * tileWork(page, 0));
      return;
    }
    for (let each = place; each < place + count; each += 1)
      this.#budget.charge(tileWork(page, this.#addPage(page, each, 1)));
  }

  /** Gives how many entries of keys; where keys are counted, tiles are added one by one. */
  #addPage(page: TilePage, place: number, count: number): number {
    const { layout, groups, data, keys } = page;
    const at = place * layout.stride;
    const total = this.#total;
    // On the way to the tiles of a page lie as few objects as can be: few are in a cache.
    const { onlyGroup } = page;
    if (onlyGroup >= 0) {
      const block = page.block(onlyGroup);
      if (!hasRows(block, at, layout.stride, count)) return 0;
      const slot = total.slotOf(onlyGroup);
      addTiles(total.data, slot, total.layout, block, at, layout, count);
      return page.countsKeys ? total.addKeys(slot, page.keysOf(onlyGroup), place) : 0;
    }
    let entries = 0;
    for (let index = 0; index < data.length; index += 1) {
      const block = data[index]!;
      if (!hasRows(block, at, layout.stride, count)) continue;
      const slot = total.slotOf(groups[index]!);
      addTiles(total.data, slot, total.layout, block, at, layout, count);
      if (page.countsKeys) entries += total.addKeys(slot, keys[index]!, place);
    }
    return entries;
  }

  *#addRows(from: number, to: number): Tiling<void> {
    const rows = this.#set.rowsOf(this.#snapshot, from, to, this.#isPlain ? 'read' : 'known');
    for (let rowCount = rows.next(); rowCount !== undefined; rowCount = rows.next()) {
      this.#noteEdge(this.#addLoaded(rows, rowCount, from, to), from);
      if (this.#budget.exhausted) yield* this.#pause();
    }
    this.#noteRead(rows.takeRead(), from);
  }

  /** Adds the rows that were just loaded, a plain reader those of [from, to) alone; gives how many were read for it. */
  #addLoaded(rows: TileRows, rowCount: number, from: number, to: number): number {
    const set = this.#set;
    const { measures } = set;
    const total = this.#total;
    total.adopt(measures.layout.wider);
    const isWhole = this.#plan.keys.length === 0 && !this.#isPlain;
    if (isWhole) {
      const slot = total.slotOf(0);
      measures.addAll(total.data, slot, total.layout, rowCount);
      if (total.keys !== undefined)
        for (let row = 0; row < rowCount; row += 1) measures.addKeys(total.keys, 0, row, 1);
    }
    for (let row = isWhole ? rowCount : 0; row < rowCount; row += 1) {
      if (this.#isPlain && !this.#liesIn(set.timeOf(row), from, to)) continue;
      // A new group may take the tiles to a larger array.
      const slot = total.slotOf(set.groupOf(row));
      measures.add(total.data, slot, total.layout, row, 1);
      if (total.keys !== undefined) measures.addKeys(total.keys, total.sliceAt(slot), row, 1);
    }
    total.settle();
    const read = rows.takeRead();
    this.#rows += read;
    this.#budget.charge(read * measures.work);
    return read;
  }

  /** Rows of a plain reader come as they lie. */
  #liesIn(time: number, from: number, to: number): boolean {
    const reach = this.#reaches?.[this.#window];
    if (reach === undefined) return time >= from && time < to;
    if (Number.isNaN(time)) return reach.isTimeless;
    return reach.stretches.some(
      (each) => time >= each.from && (time < each.to || each.to === Infinity),
    );
  }

  #finish(ranks: Int32Array | undefined): void {
    this.#budget.charge(WINDOW_WORK);
    const total = this.#total;
    const { measures } = this.#set;
    const { count, groups } = total;
    if (ranks !== undefined && count > 1) {
      const ordered = groups.slice(0, count).sort((a, b) => ranks[a]! - ranks[b]!);
      for (let at = 0; at < count; at += 1) this.#finishGroup(ordered[at]!, measures);
    } else for (let at = 0; at < count; at += 1) this.#finishGroup(groups[at]!, measures);
    this.#budget.charge(count * (1 + this.#calls.length));
  }

  #finishGroup(group: number, measures: TileMeasures): void {
    const total = this.#total;
    const slot = total.slotOf(group);
    const slice = total.shownSlice(slot);
    const row = total.rowCount;
    total.rowCount = row + 1;
    total.rowWindows[row] = this.#window;
    total.rowGroups[row] = group;
    const calls = this.#calls;
    for (let index = 0; index < calls.length; index += 1) {
      const call = calls[index]!;
      measures.finish(
        total.rowValues[call]!,
        row,
        call,
        total.data,
        slot,
        total.layout,
        total.shownKeys,
        slice,
      );
    }
  }

  // ── output ───────────────────────────────────────────────────────────────────────────────────────────────────

  #give(): Step {
    const total = this.#total;
    const from = this.#given;
    const to = Math.min(total.rowCount, from + BATCH_ROW_COUNT_MAX);
    const rowCount = to - from;
    const groups = Int32Array.from(total.rowGroups.slice(from, to));
    this.batch = {
      rowCount,
      columns: [
        {
          rep: 'number',
          type: INT4,
          values: Int32Array.from(total.rowWindows.slice(from, to)),
          factor: 1,
          base: 0,
          scale: 0,
        },
        ...this.#set.groups.keys(groups, rowCount),
        ...this.#plan.calls.map(({ type }, index) =>
          vectorFromData(type, this.rowValues(index).slice(from, to)),
        ),
      ],
    };
    this.#given = to;
    if (to === total.rowCount) this.#given = total.rowCount = 0;
    return 'batch';
  }

  /** Windows from `#window` on from rows, numbered as they are. */
  #scanRest(): void {
    const { from, to } = this.#windows;
    const rest = { from: from.subarray(this.#window), to: to.subarray(this.#window) };
    this.#scan =
      this.#otherwise?.(rest) ?? scannedWindows.open(this.#plan, rest, this.#environment);
  }

  #scanned(budget: Budget): Step {
    if (this.#ungiven > 0) return this.#give();
    const step = this.#scan!.next(budget);
    if (step !== 'batch') return step;
    const { batch } = this.#scan!;
    if (this.#window === 0) {
      this.batch = batch;
      return 'batch';
    }
    const numbers = batch.columns[0]!;
    const shifted = new Int32Array(batch.rowCount);
    for (let row = 0; row < batch.rowCount; row += 1)
      shifted[row] = (datumAt(numbers, row) as number) + this.#window;
    this.batch = {
      ...batch,
      columns: [
        { rep: 'number', type: INT4, values: shifted, factor: 1, base: 0, scale: 0 },
        ...batch.columns.slice(1),
      ],
    };
    return 'batch';
  }
}

/** A remainder of such doubles takes three times as long as a quotient. */
function isQuarter(time: number): boolean {
  return Math.floor(time / QUARTER) * QUARTER === time;
}

/** Whether there are rows in `count` tiles that lie one behind the other. */
function hasRows(block: Float64Array, at: number, stride: number, count: number): boolean {
  for (let tile = 0; tile < count; tile += 1) if (block[at + tile * stride] !== 0) return true;
  return false;
}

/** Rows were demoted to tiles, and what lies beside them tiles do not hold. */
function beyondTiles(): DbError {
  return new DbError(
    '54000',
    'rows of these windows were demoted to tiles, which cannot hold what lies beside them',
    {
      hint: 'There are more than 16,384 groups, or values that tiles do not add up: ask for fewer groups, or for later windows.',
    },
  );
}
