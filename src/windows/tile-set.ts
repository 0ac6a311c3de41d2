import { assert, DbError } from '../base/errors.ts';
import type { MemoryAccount } from '../base/memory.ts';
import { MemoryLease } from '../base/memory-lease.ts';
import { BATCH_ROW_COUNT_MAX, type Batch } from '../columns/batch.ts';
import { sliceBatch } from '../columns/build.ts';
import type {
  TableData,
  TableDelta,
  TableScan,
  TableSnapshot,
  TimedScan,
  TimeStretch,
} from '../columns/table-contract.ts';
import { columnOf } from '../columns/rows-by-column.ts';
import type { Vector } from '../columns/vector.ts';
import {
  compileExpression,
  compileFilter,
  type CompiledExpression,
  type CompiledFilter,
} from '../expressions/compile.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import { GroupTable } from '../operators/group-table.ts';
import type { Budget } from '../operators/operator.ts';
import { Accumulator } from './accumulator.ts';
import { KeyScratch } from './key-counts.ts';
import { NoTiles, whyNoTiles } from './no-tiles.ts';
import { ADDITIONS_MAX, addTile } from './tile-layout.ts';
import { TileMeasures } from './tile-measures.ts';
import { TilePage } from './tile-page.ts';
import type { TilePlan } from './tile-plan.ts';
import {
  cutFor,
  DAY,
  DAY_PLACES,
  DaySet,
  FOURS_AT,
  HOURS_AT,
  MINUTE,
  QUARTER,
  QUARTERS,
  roomForDayRuns,
  SECOND,
  SPANS,
  WHOLE_AT,
  type Cut,
} from './tile-time.ts';
import { changedTimes, timesInto } from './window-source.ts';

/** Groups a set has tiles for; a question with more is read from rows. */
const GROUP_COUNT_MAX = 16_384;
/** Rows changed at once beyond which tiles are made anew rather than kept. */
const CATCH_UP_ROWS_MAX = 1_000_000;
/** Rows changed between a reader and the set beyond which the reader is answered from rows. */
const CHANGED_ROWS_MAX = BATCH_ROW_COUNT_MAX * 16;
/** Fewer days are added tile by tile. */
export const SPAN_DAYS_MIN = 16;
/** Stretches of days that are remembered: the panels of a dashboard ask for a few. */
const SPANS_KEPT = 16;
/** Doubles that are added up for one within the step of whoever asks: a tenth of a millisecond, a few where keys are counted. */
const SPAN_DOUBLES_MAX = 65_536;
/** Entries of keys count less: whoever asks without a tile of the stretch adds them up all the same, each time. */
const ENTRIES_A_DOUBLE = 4;
/** Quarters whose extremes are not known, beyond which their days are made anew. */
const STALE_COUNT_MAX = 1024;
/** Of a day's rows, those that are read at the ends of windows before its quarters are cut: who asks once or twice does not pay for it. */
const EDGE_SHARE = 1 / 32;
/** Of the memory of tiles: where it is used up, quarters stay whole. */
const PIECES_MEMORY_SHARE = 1 / 2;
/** A day is cut anew where that makes so many times as many pieces. */
const CUT_ANEW = 3;
/** Pieces grow by groups and by values of other kinds: up to so many times what they took at first. */
const PIECES_GROWTH_MAX = 2;

/** Work on tiles in steps: 'go' where the budget is used up, 'wait' where somebody else must first finish a step of theirs. */
export type Tiling<Result> = Generator<'go' | 'wait', Result>;

/**
 * Whole days [from, to) as one tile, since they are asked for again and again: a year to date is twenty tiles otherwise, which for percentiles are hundreds of
 * buckets each. It counts and costs as those it is the sum of.
 */
export type SpanTile = {
  readonly page: TilePage;
  readonly pieces: number;
  readonly work: number;
};

/** A stretch that was asked for; its tile, from the second time on. */
type Span = {
  from: number;
  to: number;
  askedAt: number;
  asks: number;
  tile: SpanTile | undefined;
};

/** Rows of a stretch of time, loaded batch by batch. */
export interface TileRows {
  /** Loads the next batch: its rows, or undefined at the end. */
  next(): number | undefined;
  /** Rows read since the last call, those that the filter refused included. */
  takeRead(): number;
}

/** The same of several stretches. */
export interface TimedRows extends TileRows {
  /** Rows read of stretch number `index`. */
  readOf(index: number): number;
}

/**
 * The tiles of one question about one table: filter, groups and measures. They are built for the days that are asked for and follow
 * every published commit. Invariants:
 *
 * 1. At rest every tile holds exactly the rows of the table at `position`, but for the extremes of `stale` quarters, and of the pieces of
 *    `#ragged` ones.
 * 2. A day is known or not; one that is known and has no page has no rows.
 * 3. While `isBusy` a change is half applied: nobody reads.
 */
export class TileSet {
  readonly plan: TilePlan;
  readonly data: TableData;
  readonly measures: TileMeasures;
  readonly groups: GroupTable;
  /** The table's columns when it was made: once they change it is of no use. */
  readonly columns: TableData['schema']['columns'];
  position: number;
  isBusy = false;
  isClosed = false;
  /** The number of the question that was asked last: sets of other questions go first. */
  askedAt = 0;
  /** Grows when something is evicted: who reads in steps looks again. */
  evictions = 0;
  #resets = 0;
  /** Quarters, counted from 1970, of which an extreme has left: to be read from rows. */
  readonly stale = new Set<number>();
  /** Quarters of which an extreme of a piece has left. */
  readonly #ragged = new Set<number>();
  readonly #context: EvaluationContext;
  readonly #memory: MemoryAccount;
  /** Rows count as so many where it is decided how fine tiles are. */
  readonly #density: number;
  readonly #lease: MemoryLease;
  readonly #filter: CompiledFilter | undefined;
  readonly #keys: readonly CompiledExpression[];
  readonly #known = new DaySet();
  readonly #days = new Map<number, TilePage>();
  /** By level: tiles of 8, 64 and 512 days. */
  readonly #tops: readonly Map<number, TilePage>[] = SPANS.map(() => new Map());
  readonly #spans: Span[] = [];
  #spansAsked = 0;
  /** Days that have `pieces`. */
  #piecesCount = 0;
  /** Minutes of a quarter hour, by quarter; seconds of a minute, by minute. */
  readonly #minutes = new Map<number, TilePage>();
  readonly #seconds = new Map<number, TilePage>();
  #building = false;
  /** The rows at hand: their times and groups. */
  readonly #times = new Float64Array(BATCH_ROW_COUNT_MAX);
  /** The vectors of the rows at hand, by the table's columns. */
  readonly #wide: Vector[] = [];
  #rowGroups: Int32Array = new Int32Array(0);
  /** Scratch for `dayRuns`. */
  readonly runs = roomForDayRuns();
  #spare: Accumulator | undefined;
  #order: { readonly groupCount: number; readonly ranks: Int32Array } | undefined;

  constructor(
    plan: TilePlan,
    data: TableData,
    context: EvaluationContext,
    memory: MemoryAccount,
    density = 1,
    scratch = new KeyScratch(),
  ) {
    this.plan = plan;
    this.#density = density;
    this.data = data;
    this.columns = data.schema.columns;
    this.position = data.position;
    // Whatever depended on the statement is a constant by now, but for the zone.
    this.#context = { ...context, parameters: [] };
    this.#memory = memory;
    this.#lease = new MemoryLease(memory);
    this.measures = new TileMeasures(plan.calls, this.#context, { scratch, memory });
    this.groups = new GroupTable(
      plan.keys.map(({ type }) => type),
      memory,
    );
    this.#filter = plan.filter === undefined ? undefined : compileFilter(plan.filter);
    this.#keys = plan.keys.map(compileExpression);
  }

  get bytes(): number {
    return this.#lease.bytes;
  }

  get pageCount(): number {
    return this.#days.size + this.#piecesCount + this.#minutes.size + this.#seconds.size;
  }

  get isBuilding(): boolean {
    return this.#building;
  }

  /** Nothing is known: the next who asks builds. */
  get isEmpty(): boolean {
    return this.#known.isEmpty;
  }

  // ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────

  knows(day: number): boolean {
    return this.#known.has(day);
  }

  /** Knows all of days [from, to). */
  covers(from: number, to: number): boolean {
    return from >= to || this.#known.covers(from, to);
  }

  gaps(from: number, to: number): { readonly from: number; readonly to: number }[] {
    return this.#known.gaps(from, to);
  }

  day(day: number): TilePage | undefined {
    const page = this.#days.get(day);
    if (page !== undefined) page.uses += 1;
    return page;
  }

  /** The tile of 8, 64 or 512 days, if all of them are known: made of those below. */
  top(level: number, index: number): TilePage | undefined {
    const known = this.#tops[level]!.get(index);
    if (known !== undefined) return known;
    const span = SPANS[level]!;
    if (!this.#known.covers(index * span, (index + 1) * span)) return undefined;
    const page = new TilePage(1, this.measures, this.#lease);
    let isMade = false;
    try {
      for (let part = index * 8; part < (index + 1) * 8; part += 1) {
        const below = level === 0 ? this.#days.get(part) : this.top(level - 1, part);
        if (below === undefined) continue;
        addPlace(page, below, level === 0 ? WHOLE_AT : 0, this.measures);
      }
      page.trim();
      page.settle(this.measures);
      isMade = true;
    } finally {
      if (!isMade) page.close();
    }
    this.#tops[level]!.set(index, page);
    return page;
  }

  /** Days [from, to), all of which are known and none stale, as one tile; undefined where they are to be added tile by tile. */
  span(from: number, to: number): SpanTile | undefined {
    this.#spansAsked += 1;
    const span = this.#spanOf(from, to);
    span.askedAt = this.#spansAsked;
    if (span.tile !== undefined) return span.tile;
    span.asks += 1;
    if (span.asks < 2 || !this.#known.covers(from, to)) return undefined;
    // Where it is too much, it is not looked at again soon.
    span.asks = -64;
    span.tile = this.#spanTile(from, to);
    return span.tile;
  }

  #spanOf(from: number, to: number): Span {
    const spans = this.#spans;
    let oldest = 0;
    for (let index = 0; index < spans.length; index += 1) {
      const span = spans[index]!;
      if (span.from === from && span.to === to) return span;
      if (span.askedAt < spans[oldest]!.askedAt) oldest = index;
    }
    if (spans.length < SPANS_KEPT) {
      const made: Span = { from, to, askedAt: 0, asks: 0, tile: undefined };
      spans.push(made);
      return made;
    }
    const span = spans[oldest]!;
    dropSpan(span);
    span.from = from;
    span.to = to;
    return span;
  }

  #spanTile(from: number, to: number): SpanTile | undefined {
    const parts: { readonly page: TilePage; readonly place: number }[] = [];
    let doubles = 0;
    let work = 0;
    for (let day = from; day < to;) {
      let level = SPANS.length - 1;
      while (level >= 0 && (day % SPANS[level]! !== 0 || day + SPANS[level]! > to)) level -= 1;
      const top = level < 0 ? undefined : this.top(level, day / SPANS[level]!);
      const page = level < 0 ? this.#days.get(day) : top;
      day += level < 0 ? 1 : SPANS[level]!;
      if (page === undefined) continue;
      const place = level < 0 ? WHOLE_AT : 0;
      parts.push({ page, place });
      const entries = page.entriesAt(place);
      doubles += page.data.length * page.layout.stride + entries / ENTRIES_A_DOUBLE;
      work += tileWork(page, entries);
      if (doubles > SPAN_DOUBLES_MAX) return undefined;
    }
    const page = new TilePage(1, this.measures, this.#lease);
    let isMade = false;
    try {
      for (const { page: part, place } of parts) addPlace(page, part, place, this.measures);
      page.trim();
      page.settle(this.measures);
      isMade = true;
    } finally {
      if (!isMade) page.close();
    }
    return { page, pieces: parts.length, work };
  }

  /** The pieces of the quarters of a day, where those of this quarter can be added. */
  pieces(quarter: number): TilePage | undefined {
    const pieces = this.#days.get(Math.floor(quarter / QUARTERS))?.pieces;
    return pieces === undefined || this.#ragged.has(quarter) ? undefined : pieces;
  }

  /** An extreme of one of its pieces is not known: `repair` finds it. */
  isRagged(quarter: number): boolean {
    return this.#ragged.has(quarter);
  }

  /** Windows have begun or ended inside the quarters of a day so often that cutting them is worth it. */
  wantsPieces(day: number): boolean {
    const page = this.#days.get(day);
    if (page === undefined) return false;
    const rows = Math.max(page.rows, page.sourceRows);
    if (page.edgeRows * this.#density <= rows * EDGE_SHARE) return false;
    const cut = this.#cutOf(page, rows);
    return cut !== undefined && cut.count >= CUT_ANEW * (page.pieces?.cut!.count ?? 1);
  }

  #cutOf(page: TilePage, rows = Math.max(page.rows, page.sourceRows)): Cut | undefined {
    const { usedBytes, limitBytes } = this.#memory;
    if (usedBytes > limitBytes * PIECES_MEMORY_SHARE) return undefined;
    const { layout, keyBytes } = this.measures;
    // Keys that are told apart take more than a piece may.
    if (keyBytes === undefined) return undefined;
    const tileBytes = (layout.stride * 8 + keyBytes) * page.groupCount;
    return cutFor(rows * this.#density, tileBytes);
  }

  /** Rows of a day were read, since a window begins or ends there. */
  noteEdge(time: number, rows: number): void {
    const page = this.#days.get(Math.floor(time / DAY));
    if (page !== undefined) page.edgeRows += rows;
  }

  /** Rows of the tile that a time lies in: of a piece where quarters are cut, else of the quarter. */
  rowsAround(time: number): number {
    const quarter = Math.floor(time / QUARTER);
    const day = Math.floor(quarter / QUARTERS);
    const pieces = this.pieces(quarter);
    if (pieces !== undefined)
      return pieces.rowsAt(Math.floor((time - day * DAY) / pieces.cut!.length));
    return this.day(day)?.rowsAt(quarter - day * QUARTERS) ?? 0;
  }

  minutes(quarter: number): TilePage | undefined {
    return this.#minutes.get(quarter);
  }

  seconds(minute: number): TilePage | undefined {
    return this.#seconds.get(minute);
  }

  /** Where the groups of a window are added up; to be given back. */
  takeAccumulator(): Accumulator {
    const spare = this.#spare;
    this.#spare = undefined;
    if (spare !== undefined) spare.rowCount = 0;
    return spare ?? new Accumulator(this.measures, this.#memory);
  }

  giveAccumulator(accumulator: Accumulator): void {
    if (accumulator.isSmall) this.#spare = accumulator;
    else accumulator.close();
  }

  /**
   * Looks at what a window that begins and ends inside of quarters is read from. Little of it is in a cache: together it is waited for once, and one after the other
   * each is. Of the tiles that follow each the processor fetches some unasked.
   */
  lookAtEnds(snapshot: TableSnapshot, from: number, to: number): void {
    let seen = snapshot.lookAtTime!(from) + snapshot.lookAtTime!(to);
    seen += this.#lookAt(from) + this.#lookAt(to);
    assert(!Number.isNaN(seen), 'tiles count rows');
  }

  #lookAt(time: number): number {
    const day = Math.floor(time / DAY);
    const page = this.#days.get(day);
    if (page === undefined || page.onlyGroup < 0) return 0;
    const ofDay = time - day * DAY;
    return lookAhead(page, Math.floor(ofDay / QUARTER), page.onlyGroup, ofDay);
  }

  /** Rows of a snapshot in [from, to), to be handled batch by batch: another load takes the one before away. */
  rowsOf(
    snapshot: TableSnapshot,
    from: number,
    to: number,
    times: 'read' | 'known' = 'known',
  ): TileRows {
    if (to - from < Infinity && snapshot.scanTimes !== undefined)
      return this.rowsIn(snapshot, [{ from, to }], times);
    // A transaction's own rows are in no order of time: whoever reads them looks at `timeOf`.
    const { columnIndexes } = this.plan;
    const scan = snapshot.scan({ columnIndexes, ordered: false, withRowIds: false });
    return new LoadedRows(scan, (batch) =>
      this.#load(batch.rowCount, batch.selection, batch.columns),
    );
  }

  /**
   * The same of stretches that do not overlap. Where nobody asks for it, their time is not read: each value of a row that lies anywhere costs as much as
   * adding it.
   */
  rowsIn(
    snapshot: TableSnapshot,
    stretches: readonly TimeStretch[],
    times: 'read' | 'known' = 'known',
  ): TimedRows {
    const { time } = this.plan;
    const isKnown = times === 'known' && this.plan.valueColumns.length > 0;
    const columnIndexes = isKnown ? this.plan.valueColumns : this.plan.columnIndexes;
    const scan = snapshot.scanTimes!({ column: time, stretches, columnIndexes });
    return new LoadedTimedRows(scan, (batch) => {
      for (let index = 0; index < columnIndexes.length; index += 1)
        this.#wide[columnIndexes[index]!] = batch.columns[index]!;
      return this.#loadWide(batch.rowCount, batch.selection, isKnown);
    });
  }

  /** The group of a loaded row. */
  groupOf(row: number): number {
    return this.#rowGroups[row]!;
  }

  /** The time of a loaded row; NaN where it has none. */
  timeOf(row: number): number {
    return this.#times[row]!;
  }

  /** The place of each group in the order of keys, found in steps. */
  *ranks(budget: () => Budget): Tiling<Int32Array> {
    for (;;) {
      const { groupCount } = this.groups;
      if (this.#order?.groupCount === groupCount) return this.#order.ranks;
      const order = this.groups.order(
        { values: new Float64Array(groupCount).fill(1) },
        {
          ordered: true,
          memory: this.#memory,
        },
      );
      try {
        let found = order.step(budget());
        while (found === undefined) {
          yield 'go';
          if (this.isClosed) throw new NoTiles(false);
          found = order.step(budget());
        }
        const ranks = new Int32Array(groupCount);
        for (let rank = 0; rank < found.length; rank += 1) ranks[found[rank]!] = rank;
        this.#order = { groupCount, ranks };
      } finally {
        order.close();
      }
    }
  }

  /** Quarters in which rows have come or gone between two positions, ascending; undefined where nobody knows any more. */
  changedQuarters(a: number, b: number): Float64Array | undefined {
    if (a === b) return NO_QUARTERS;
    const span = { from: Math.min(a, b), to: Math.max(a, b) };
    const changed = changedTimes(this.data, this.plan.time, span, CHANGED_ROWS_MAX);
    if (changed === undefined) return undefined;
    const quarters = new Set<number>();
    for (const times of changed)
      for (const time of times) if (Number.isFinite(time)) quarters.add(Math.floor(time / QUARTER));
    return Float64Array.from(quarters).sort();
  }

  // ── following the table ──────────────────────────────────────────────────────────────────────────────────────

  /** A commit of few rows was published, the set being at the one before it: applied at once. */
  apply(deltas: readonly TableDelta[], position: number): void {
    try {
      for (let index = 0; index < deltas.length; index += 1) {
        const { deleted, inserted } = deltas[index]!;
        if (deleted !== undefined) this.#applyAtOnce(deleted, -1);
        if (inserted !== undefined) this.#applyAtOnce(inserted, 1);
      }
      this.position = position;
    } catch (cause) {
      // What cannot be applied leaves no half of it: the tiles go, the commit does not notice.
      whyNoTiles(cause);
      this.reset();
    }
  }

  #applyAtOnce(batch: Batch, sign: 1 | -1): void {
    for (let start = 0; start < batch.rowCount; start += BATCH_ROW_COUNT_MAX)
      this.#applyRows(batch, start, Math.min(batch.rowCount, start + BATCH_ROW_COUNT_MAX), sign);
  }

  /** Applies what was published since, in steps. */
  *catchUp(budget: () => Budget): Tiling<void> {
    while (this.isBusy) yield 'wait';
    while (!this.isClosed && this.position < this.data.position) {
      const { position } = this.data;
      if (this.isEmpty) {
        this.position = position;
        return;
      }
      const changes = this.data.changes(this.position, position);
      if (changes === undefined || rowCountOf(changes) > CATCH_UP_ROWS_MAX) {
        this.reset();
        return;
      }
      this.isBusy = true;
      let isDone = false;
      try {
        for (const { delta } of changes) {
          for (const count of this.#applyDelta(delta)) {
            budget().charge(count * this.measures.work);
            if (!budget().exhausted) continue;
            yield 'go';
            if (this.isClosed) return;
          }
        }
        this.position = position;
        isDone = true;
      } finally {
        this.isBusy = false;
        if (!isDone) this.reset();
      }
    }
  }

  /** All tiles go; what is asked for next is built from rows. */
  reset(): void {
    for (const { pieces } of this.#days.values()) pieces?.close();
    this.#piecesCount = 0;
    for (const pages of [this.#days, ...this.#tops, this.#minutes, this.#seconds]) {
      for (const page of pages.values()) page.close();
      pages.clear();
    }
    for (const span of this.#spans) dropSpan(span);
    this.#known.clear();
    this.stale.clear();
    this.#ragged.clear();
    this.position = this.data.position;
    this.evictions += 1;
    this.#resets += 1;
  }

  /** Once. */
  close(): void {
    this.reset();
    this.isClosed = true;
    // Pages that are being built give themselves back, and so do readers.
    this.groups.close();
    this.measures.close();
  }

  /** Pages of days, for whoever looks for something to evict. */
  pages(): IterableIterator<[number, TilePage]> {
    return this.#days.entries();
  }

  /** Gives back what a day is cut into, or where it is whole the day. */
  shedDay(day: number): void {
    if (this.#days.get(day)?.pieces !== undefined) this.#dropPieces(day);
    else this.evictDay(day);
  }

  evictDay(day: number): void {
    this.#dropPieces(day);
    this.#days.get(day)?.close();
    this.#days.delete(day);
    this.#known.remove(day);
    this.#dropTops(day);
    this.#dropDetails(day);
    for (let quarter = day * QUARTERS; quarter < (day + 1) * QUARTERS; quarter += 1)
      this.stale.delete(quarter);
    this.evictions += 1;
  }

  #dropTops(day: number): void {
    for (const [level, pages] of this.#tops.entries()) {
      const index = Math.floor(day / SPANS[level]!);
      pages.get(index)?.close();
      pages.delete(index);
    }
    this.#dropSpans(day);
  }

  #dropSpans(day: number): void {
    for (const span of this.#spans) if (day >= span.from && day < span.to) dropSpan(span);
  }

  #dropPieces(day: number): void {
    const page = this.#days.get(day);
    if (page?.pieces === undefined) return;
    page.pieces.close();
    page.pieces = undefined;
    this.#piecesCount -= 1;
    if (this.#ragged.size === 0) return;
    for (let quarter = day * QUARTERS; quarter < (day + 1) * QUARTERS; quarter += 1)
      this.#ragged.delete(quarter);
  }

  #dropDetails(day: number): void {
    for (const quarter of this.#minutes.keys())
      if (Math.floor(quarter / QUARTERS) === day) this.#dropMinutes(quarter);
  }

  #dropMinutes(quarter: number): void {
    this.#minutes.get(quarter)?.close();
    this.#minutes.delete(quarter);
    for (let minute = quarter * 15; minute < (quarter + 1) * 15; minute += 1) {
      this.#seconds.get(minute)?.close();
      this.#seconds.delete(minute);
    }
  }

  /** Yields the rows applied since the last yield. */
  *#applyDelta(delta: TableDelta): Generator<number, void> {
    for (const [batch, sign] of [
      [delta.deleted, -1],
      [delta.inserted, 1],
    ] as const) {
      if (batch === undefined || batch.rowCount === 0) continue;
      for (let start = 0; start < batch.rowCount; start += BATCH_ROW_COUNT_MAX) {
        const end = Math.min(batch.rowCount, start + BATCH_ROW_COUNT_MAX);
        this.#applyRows(batch, start, end, sign);
        yield end - start;
      }
    }
  }

  #applyRows(batch: Batch, start: number, end: number, sign: 1 | -1): void {
    const rows = start === 0 && end === batch.rowCount ? batch : this.#pick(batch, start, end);
    const { columnIndexes } = this.plan;
    const isPicked = rows !== batch;
    for (let index = 0; index < columnIndexes.length; index += 1) {
      const column = columnIndexes[index]!;
      this.#wide[column] = isPicked ? rows.columns[index]! : columnOf(batch, column);
    }
    const rowCount = this.#loadWide(rows.rowCount, rows.selection);
    for (let row = 0; row < rowCount; row += 1) this.#change(row, sign);
  }

  /** Rows [start, end) of a batch of the table's columns, those of the plan alone. */
  #pick(batch: Batch, start: number, end: number): Batch {
    const picked: Batch = {
      rowCount: batch.rowCount,
      columns: this.plan.columnIndexes.map((index) => columnOf(batch, index)),
      selection: batch.selection,
    };
    return start === 0 && end === batch.rowCount ? picked : sliceBatch(picked, start, end);
  }

  /** Evaluates rows; gives how many the filter left. `columns` are those of the plan. */
  #load(rowCount: number, selection: Int32Array | undefined, columns: readonly Vector[]): number {
    for (let index = 0; index < columns.length; index += 1)
      this.#wide[this.plan.columnIndexes[index]!] = columns[index]!;
    return this.#loadWide(rowCount, selection);
  }

  #loadWide(rowCount: number, selection: Int32Array | undefined, isTimed = false): number {
    const batch: Batch = { rowCount, columns: this.#wide, selection };
    try {
      return this.#evaluate(batch, isTimed);
    } catch (cause) {
      // Tiles have rows that nobody has asked for, and some that are gone by now: an error of theirs is told to who reads them.
      if (cause instanceof DbError && cause.code !== '53200') throw new NoTiles(true, cause);
      throw cause;
    }
  }

  #evaluate(batch: Batch, isTimed: boolean): number {
    const rows = this.#filter === undefined ? batch : this.#filter.select(batch, this.#context);
    if (rows === undefined || rows.rowCount === 0) return 0;
    if (!isTimed)
      timesInto(this.#times, this.#wide[this.plan.time]!, rows.rowCount, rows.selection);
    this.#rowGroups =
      this.#keys.length === 0
        ? ONE_GROUP
        : this.groups.intern(
            this.#keys.map((key) => key.evaluate(rows, this.#context)),
            rows.rowCount,
          );
    if (this.groups.groupCount > GROUP_COUNT_MAX) throw new NoTiles(true);
    if (!this.measures.load(rows)) throw new NoTiles(true);
    return rows.rowCount;
  }

  /** A loaded row comes or goes, in every tile that is there. */
  #change(row: number, sign: 1 | -1): void {
    const time = this.#times[row]!;
    if (!Number.isFinite(time)) return;
    const day = Math.floor(time / DAY);
    if (!this.#known.has(day)) return;
    const group = this.#rowGroups[row]!;
    let page = this.#days.get(day);
    if (page === undefined) {
      page = new TilePage(DAY_PLACES, this.measures, this.#lease);
      this.#days.set(day, page);
    }
    const quarter = Math.floor(time / QUARTER);
    const leaf = quarter - day * QUARTERS;
    assert(!Number.isNaN(lookAhead(page, leaf, group, time - day * DAY)), 'tiles count rows');
    this.#prepare(page, row, sign);
    page.rows += sign;
    const { groupCount } = page;
    const block = page.block(group);
    // What a stretch is the sum of has changed, and so has what it costs.
    if (page.groupCount !== groupCount) this.#dropSpans(day);
    const { stride } = page.layout;
    const { measures } = this;
    const isSure = measures.addPrepared(block, leaf * stride);
    measures.addPrepared(block, (HOURS_AT + (leaf >> 2)) * stride);
    measures.addPrepared(block, (FOURS_AT + (leaf >> 4)) * stride);
    measures.addPrepared(block, WHOLE_AT * stride);
    if (measures.keySpace !== undefined) {
      const { kinds } = measures.keySpace;
      const keys = page.keysOf(group);
      measures.addKeys(keys, leaf * kinds, row, sign);
      measures.addKeys(keys, (HOURS_AT + (leaf >> 2)) * kinds, row, sign);
      measures.addKeys(keys, (FOURS_AT + (leaf >> 4)) * kinds, row, sign);
      measures.addKeys(keys, WHOLE_AT * kinds, row, sign);
    }
    page.noteAddition(measures, ADDITIONS_MAX);
    if (!isSure) this.#extremeLeft(quarter, day);
    else this.#changeTops(day, group, row, sign);
    if (page.pieces !== undefined) this.#changePieces(page.pieces, time, day, group, row, sign);
    if (this.#minutes.size > 0) this.#changeDetails(time, quarter, group, row, sign);
  }

  #changeKeys(page: TilePage, group: number, place: number, row: number, sign: 1 | -1): void {
    const { measures } = this;
    measures.addKeys(page.keysOf(group), place * measures.keySpace!.kinds, row, sign);
  }

  /** A page keeps its layout as long as the rows fit: one that is rare elsewhere does not move every page. */
  #prepare(page: TilePage, row: number, sign: 1 | -1): void {
    const { measures } = this;
    if (measures.prepare(page.layout, row, sign)) return;
    page.adopt(measures.layout);
    const fits = measures.prepare(page.layout, row, sign);
    assert(fits, 'the newest layout has room for every loaded row');
  }

  #extremeLeft(quarter: number, day: number): void {
    if (this.stale.size >= STALE_COUNT_MAX) {
      this.evictDay(day);
      return;
    }
    this.stale.add(quarter);
    this.#dropTops(day);
  }

  /**
   * Reads a quarter's rows anew, whose extremes are not known, or those of its pieces; gives how many. Undefined where the set is not at the
   * table's newest position.
   */
  repair(quarter: number): number | undefined {
    const day = Math.floor(quarter / QUARTERS);
    const page = this.#days.get(day);
    // Its day was evicted meanwhile.
    if (page === undefined) return 0;
    const { pieces } = page;
    const cut = pieces?.cut;
    const count = cut === undefined ? 0 : cut.count;
    const snapshot = this.data.snapshot();
    // The quarter, then its pieces.
    const fresh = new TilePage(1 + count, this.measures, this.#lease);
    try {
      if (snapshot.position !== this.position) return undefined;
      const start = quarter * QUARTER;
      const rows = this.rowsOf(snapshot, start, start + QUARTER, count > 0 ? 'read' : 'known');
      for (let rowCount = rows.next(); rowCount !== undefined; rowCount = rows.next()) {
        fresh.adopt(this.measures.layout);
        for (let row = 0; row < rowCount; row += 1) {
          const { layout } = fresh;
          const group = this.#rowGroups[row]!;
          const block = fresh.block(group);
          this.measures.add(block, 0, layout, row, 1);
          if (this.measures.keySpace !== undefined) this.#changeKeys(fresh, group, 0, row, 1);
          if (count > 0) {
            const piece = 1 + Math.floor((this.#times[row]! - start) / (QUARTER / count));
            this.measures.add(block, piece * layout.stride, layout, row, 1);
            if (this.measures.keySpace !== undefined) this.#changeKeys(fresh, group, piece, row, 1);
          }
          fresh.noteAddition(this.measures, ADDITIONS_MAX);
        }
      }
      fresh.adopt(this.measures.layout);
      const leaf = quarter - day * QUARTERS;
      takePlaces(page, leaf, fresh, 0, 1);
      rollUpDay(page, leaf, leaf + 1);
      if (pieces !== undefined) {
        takePlaces(pieces, leaf * count, fresh, 1, count);
        rollUpRuns(pieces, cut!, leaf);
      }
      this.stale.delete(quarter);
      this.#ragged.delete(quarter);
      return rows.takeRead();
    } finally {
      fresh.close();
      snapshot.release();
    }
  }

  #changeTops(day: number, group: number, row: number, sign: 1 | -1): void {
    for (let level = 0; level < SPANS.length; level += 1) {
      const top = this.#tops[level]!.get(Math.floor(day / SPANS[level]!));
      if (top !== undefined) this.#changeWhole(top, group, row, sign);
    }
    const spans = this.#spans;
    for (let index = 0; index < spans.length; index += 1) {
      const { from, to, tile } = spans[index]!;
      if (tile !== undefined && day >= from && day < to)
        this.#changeWhole(tile.page, group, row, sign);
    }
  }

  /** In a page of one tile. */
  #changeWhole(page: TilePage, group: number, row: number, sign: 1 | -1): void {
    this.#prepare(page, row, sign);
    this.measures.addPrepared(page.block(group), 0);
    if (this.measures.keySpace !== undefined) this.#changeKeys(page, group, 0, row, sign);
    page.rows += sign;
    page.noteAddition(this.measures, ADDITIONS_MAX);
  }

  #changePieces(
    pieces: TilePage,
    time: number,
    day: number,
    group: number,
    row: number,
    sign: 1 | -1,
  ): void {
    const { length, run, runsAt } = pieces.cut!;
    const { measures } = this;
    const place = Math.floor((time - day * DAY) / length);
    this.#prepare(pieces, row, sign);
    pieces.rows += sign;
    const block = pieces.block(group);
    const { stride } = pieces.layout;
    // What was no extreme of its piece was none of its run.
    if (!measures.addPrepared(block, place * stride)) this.#ragged.add(Math.floor(time / QUARTER));
    if (measures.keySpace !== undefined) this.#changeKeys(pieces, group, place, row, sign);
    if (run > 0) {
      const above = runsAt + Math.floor(place / run);
      measures.addPrepared(block, above * stride);
      if (measures.keySpace !== undefined) this.#changeKeys(pieces, group, above, row, sign);
    }
    pieces.noteAddition(measures, ADDITIONS_MAX);
    if (pieces.bytes > pieces.bytesMax) this.#dropPieces(day);
  }

  #changeDetails(time: number, quarter: number, group: number, row: number, sign: 1 | -1): void {
    const minutes = this.#minutes.get(quarter);
    if (minutes === undefined) return;
    const minute = Math.floor(time / MINUTE);
    const isSure = this.#changePage(minutes, minute - quarter * 15, group, row, sign);
    const seconds = this.#seconds.get(minute);
    const second = Math.floor((time - minute * MINUTE) / (MINUTE / 60));
    const isSecondSure =
      seconds === undefined || this.#changePage(seconds, second, group, row, sign);
    if (!isSure || !isSecondSure) this.#dropMinutes(quarter);
  }

  #changePage(page: TilePage, place: number, group: number, row: number, sign: 1 | -1): boolean {
    this.#prepare(page, row, sign);
    page.rows += sign;
    const isSure = this.measures.addPrepared(page.block(group), place * page.layout.stride);
    if (this.measures.keySpace !== undefined) this.#changeKeys(page, group, place, row, sign);
    page.noteAddition(this.measures, ADDITIONS_MAX);
    return isSure;
  }

  // ── building ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** Makes the pages of days [from, to) from rows; gives the rows read. Throws 53200 and NoTiles. */
  *buildDays(from: number, to: number, budget: () => Budget): Tiling<number> {
    const left: number[] = [];
    return yield* this.#build(from * DAY, to * DAY, budget, {
      places: DAY_PLACES,
      pageOf: (time) => Math.floor(time / DAY),
      placeOf: (time, day) => Math.floor(time / QUARTER) - day * QUARTERS,
      tree: {
        steps: 1,
        rollUp: (page) => rollUpDay(page, 0, QUARTERS),
        above: (leaf) => [HOURS_AT + (leaf >> 2), FOURS_AT + (leaf >> 4), WHOLE_AT],
      },
      extremeLeft: noteQuarterOf(left),
      install: (pages, read) => {
        for (const [day, page] of pages) {
          const before = this.#days.get(day);
          page.pieces = before?.pieces;
          before?.close();
          page.sourceRows = read / (to - from);
          this.#days.set(day, page);
        }
        this.#known.add(from, to);
        for (const quarter of left) this.#extremeLeft(quarter, Math.floor(quarter / QUARTERS));
      },
    });
  }

  /** Cuts the quarters of a day that `wantsPieces`, as finely as is worth it by now. */
  *buildPieces(day: number, budget: () => Budget): Tiling<number> {
    const ofDay = this.#days.get(day);
    assert(ofDay !== undefined, 'a day that is cut is there');
    // Whatever comes of it, it is not tried again at once.
    ofDay.edgeRows = 0;
    const cut = this.#cutOf(ofDay);
    assert(cut !== undefined, 'whoever has a day cut has asked whether it wants that');
    const { run, runsAt } = cut;
    const left: number[] = [];
    return yield* this.#build(day * DAY, (day + 1) * DAY, budget, {
      places: cut.places,
      pageOf: () => day,
      placeOf: (time) => Math.floor((time - day * DAY) / cut.length),
      tree:
        run === 0
          ? undefined
          : {
              steps: QUARTERS,
              rollUp: (page, leaf) => rollUpRuns(page, cut, leaf),
              above: (piece) => [runsAt + Math.floor(piece / run)],
            },
      extremeLeft: noteQuarterOf(left),
      install: (pages) => {
        const known = this.#days.get(day);
        // It was evicted meanwhile.
        if (known === undefined) throw new NoTiles(false);
        this.#dropPieces(day);
        // These are finer than minutes, but where many rows are in one.
        this.#dropDetails(day);
        for (const page of pages.values()) {
          page.cut = cut;
          page.bytesMax = page.bytes * PIECES_GROWTH_MAX;
          known.pieces = page;
          this.#piecesCount += 1;
        }
        for (const quarter of left) this.#ragged.add(quarter);
      },
    });
  }

  *buildMinutes(quarter: number, budget: () => Budget): Tiling<number> {
    return yield* this.#build(quarter * QUARTER, (quarter + 1) * QUARTER, budget, {
      places: 15,
      pageOf: () => quarter,
      placeOf: (time) => Math.floor(time / MINUTE) - quarter * 15,
      tree: undefined,
      extremeLeft: notNow,
      install: (pages) => {
        // Of a day that was evicted meanwhile nobody would tell them what changes.
        if (!this.#known.has(Math.floor(quarter / QUARTERS))) throw new NoTiles(false);
        this.#dropMinutes(quarter);
        for (const page of pages.values()) this.#minutes.set(quarter, page);
      },
    });
  }

  *buildSeconds(minute: number, budget: () => Budget): Tiling<number> {
    return yield* this.#build(minute * MINUTE, (minute + 1) * MINUTE, budget, {
      places: 60,
      pageOf: () => minute,
      placeOf: (time) => Math.floor((time - minute * MINUTE) / SECOND),
      tree: undefined,
      extremeLeft: notNow,
      install: (pages) => {
        if (!this.#minutes.has(Math.floor(minute / 15))) throw new NoTiles(false);
        this.#seconds.get(minute)?.close();
        for (const page of pages.values()) this.#seconds.set(minute, page);
      },
    });
  }

  /**
   * Reads the rows of [from, to) as they are now, adds what was published meanwhile, and installs the pages: after each step the set is
   * what it was, or has them. Gives the rows read.
   */
  *#build(
    from: number,
    to: number,
    budget: () => Budget,
    parts: {
      readonly places: number;
      pageOf(time: number): number;
      placeOf(time: number, page: number): number;
      /** Where pages have tiles above those that rows go to. */
      readonly tree: Tree | undefined;
      extremeLeft(time: number): void;
      install(pages: ReadonlyMap<number, TilePage>, read: number): void;
    },
  ): Tiling<number> {
    while (this.#building) yield 'wait';
    yield* this.catchUp(budget);
    if (this.isClosed) throw new NoTiles(false);
    this.#building = true;
    const resets = this.#resets;
    const { measures } = this;
    const pages = new Map<number, TilePage>();
    const snapshot = this.data.snapshot();
    let isInstalled = false;
    const add = (rowCount: number, sign: 1 | -1, isWhole: boolean): void => {
      for (let row = 0; row < rowCount; row += 1) {
        const time = this.#times[row]!;
        if (!(time >= from && time < to)) continue;
        const number = parts.pageOf(time);
        let page = pages.get(number);
        if (page === undefined) {
          page = new TilePage(parts.places, measures, this.#lease);
          pages.set(number, page);
        }
        page.adopt(measures.layout);
        const group = this.#rowGroups[row]!;
        const block = page.block(group);
        const place = parts.placeOf(time, number);
        const { layout } = page;
        if (!measures.add(block, place * layout.stride, layout, row, sign)) parts.extremeLeft(time);
        if (isWhole && parts.tree !== undefined)
          for (const above of parts.tree.above(place))
            measures.add(block, above * layout.stride, layout, row, sign);
        if (measures.keySpace !== undefined) {
          this.#changeKeys(page, group, place, row, sign);
          if (isWhole && parts.tree !== undefined)
            for (const above of parts.tree.above(place))
              this.#changeKeys(page, group, above, row, sign);
        }
        page.rows += sign;
        page.noteAddition(measures, ADDITIONS_MAX);
      }
    };
    try {
      const { columnIndexes, time } = this.plan;
      const scan = snapshot.scanTimes!({ column: time, stretches: [{ from, to }], columnIndexes });
      let charged = 0;
      for (let batch = scan.next(); batch !== undefined; batch = scan.next()) {
        add(this.#load(batch.rowCount, batch.selection, batch.columns), 1, false);
        budget().charge((scan.rowsRead - charged) * measures.work);
        charged = scan.rowsRead;
        if (!budget().exhausted) continue;
        yield 'go';
        if (this.isClosed) throw new NoTiles(false);
      }
      const { tree } = parts;
      if (tree !== undefined) {
        for (const page of pages.values()) {
          for (let step = 0; step < tree.steps; step += 1) {
            tree.rollUp(page, step);
            budget().charge((page.places * page.groupCount) / tree.steps);
            if (budget().exhausted) yield 'go';
          }
          page.settle(measures);
        }
      }
      while (this.isBusy) yield 'wait';
      assert(snapshot.position !== undefined, 'tiles are built from published rows');
      // A set that was reset meanwhile begins anew, and so does this.
      if (this.isClosed || this.#resets !== resets) throw new NoTiles(false);
      const changes = this.data.changes(snapshot.position, this.position, 'atOnce');
      if (changes === undefined) throw new NoTiles(false);
      for (const { delta } of changes) {
        for (const [batch, sign] of [
          [delta.deleted, -1],
          [delta.inserted, 1],
        ] as const) {
          if (batch === undefined) continue;
          for (let start = 0; start < batch.rowCount; start += BATCH_ROW_COUNT_MAX) {
            const end = Math.min(batch.rowCount, start + BATCH_ROW_COUNT_MAX);
            const rows = this.#pick(batch, start, end);
            add(this.#load(rows.rowCount, rows.selection, rows.columns), sign, true);
          }
        }
      }
      for (const page of pages.values()) page.trim();
      parts.install(pages, charged);
      isInstalled = true;
      return charged;
    } finally {
      this.#building = false;
      snapshot.release();
      if (!isInstalled) for (const page of pages.values()) page.close();
    }
  }
}

class LoadedRows implements TileRows {
  readonly #scan: TableScan;
  readonly #load: (batch: Batch) => number;
  #taken = 0;

  constructor(scan: TableScan, load: (batch: Batch) => number) {
    this.#scan = scan;
    this.#load = load;
  }

  next(): number | undefined {
    for (;;) {
      const batch = this.#scan.next();
      if (batch === undefined) return undefined;
      const rowCount = this.#load(batch);
      if (rowCount > 0) return rowCount;
    }
  }

  takeRead(): number {
    const read = this.#scan.rowsRead - this.#taken;
    this.#taken = this.#scan.rowsRead;
    return read;
  }
}

class LoadedTimedRows extends LoadedRows implements TimedRows {
  readonly #timed: TimedScan;

  constructor(scan: TimedScan, load: (batch: Batch) => number) {
    super(scan, load);
    this.#timed = scan;
  }

  readOf(index: number): number {
    return this.#timed.rowsReadOf(index);
  }
}

function rowCountOf(changes: readonly { readonly delta: TableDelta }[]): number {
  let rows = 0;
  for (const { delta } of changes)
    rows += (delta.deleted?.rowCount ?? 0) + (delta.inserted?.rowCount ?? 0);
  return rows;
}

function dropSpan(span: Span): void {
  span.tile?.page.close();
  span.tile = undefined;
  span.asks = 0;
}

/** Work units of adding a tile with so many keys. */
export function tileWork({ groupCount }: TilePage, entries: number): number {
  return 1 + groupCount + (entries >> 6);
}

/** Adds the tiles at a place of a page to those of one that has a single place. */
function addPlace(into: TilePage, from: TilePage, place: number, measures: TileMeasures): void {
  into.adopt(measures.layout);
  const at = place * from.layout.stride;
  for (let index = 0; index < from.data.length; index += 1) {
    const block = from.data[index]!;
    if (block[at] === 0) continue;
    const group = from.groups[index]!;
    addTile(into.block(group), 0, into.layout, block, at, from.layout);
    if (measures.keySpace === undefined) continue;
    const { kinds } = measures.keySpace;
    const keys = into.keysOf(group);
    for (let kind = 0; kind < kinds; kind += 1)
      keys.addSlice(kind, from.keys[index]!, place * kinds + kind);
  }
  into.rows += from.rows;
}

/** Tiles of a page become those of a fresh one, which has the newest layout. */
function takePlaces(
  into: TilePage,
  at: number,
  fresh: TilePage,
  from: number,
  count: number,
): void {
  const { layout } = fresh;
  const { stride } = layout;
  into.adopt(layout);
  for (const [index, keys] of into.keys.entries()) {
    const group = into.groups[index]!;
    const read = fresh.blocks.has(group) ? fresh.keysOf(group) : undefined;
    const kinds = keys.slices / into.places;
    for (let slice = 0; slice < count * kinds; slice += 1) {
      keys.clear(at * kinds + slice);
      if (read !== undefined) keys.addSlice(at * kinds + slice, read, from * kinds + slice);
    }
  }
  for (const [group, block] of into.blocks) {
    const read = fresh.blocks.get(group);
    if (read !== undefined)
      block.set(read.subarray(from * stride, (from + count) * stride), at * stride);
    else
      for (let place = at; place < at + count; place += 1) block.set(layout.empty, place * stride);
  }
}

/**
 * Looks at each tile of a day that a time in it lies in. They lie far apart in memory and in no cache: together they are waited for once, and one
 * after the other each is.
 */
function lookAhead(page: TilePage, leaf: number, group: number, ofDay: number): number {
  const { pieces } = page;
  let seen = page.lookAt(group, leaf);
  seen += page.lookAt(group, HOURS_AT + (leaf >> 2));
  seen += page.lookAt(group, FOURS_AT + (leaf >> 4));
  seen += page.lookAt(group, WHOLE_AT);
  if (pieces === undefined) return seen;
  const { length, run, runsAt } = pieces.cut!;
  const place = Math.floor(ofDay / length);
  seen += pieces.lookAt(group, place);
  return run > 0 ? seen + pieces.lookAt(group, runsAt + Math.floor(place / run)) : seen;
}

/** Notes the quarters an extreme has left: which one is next is looked for among their rows. */
function noteQuarterOf(quarters: number[]): (time: number) => void {
  return (time) => void quarters.push(Math.floor(time / QUARTER));
}

/** A finer tile whose extremes are not known is not made. */
function notNow(): void {
  throw new NoTiles(false);
}

/** The tiles of a page that are sums of others of it. */
type Tree = {
  /** Calls of `rollUp` that make them. */
  readonly steps: number;
  rollUp(page: TilePage, step: number): void;
  /** Those above a place. */
  above(place: number): readonly number[];
};

/** Makes the runs of a quarter's pieces anew. */
function rollUpRuns(page: TilePage, { run, runs, runsAt }: Cut, leaf: number): void {
  for (let each = leaf * runs; each < (leaf + 1) * runs; each += 1)
    page.rollUp(each * run, run, runsAt + each);
}

/** Makes the tiles above quarters [from, to) anew. */
function rollUpDay(page: TilePage, from: number, to: number): void {
  for (let hour = from >> 2; hour < (to + 3) >> 2; hour += 1)
    page.rollUp(hour * 4, 4, HOURS_AT + hour);
  for (let four = from >> 4; four < (to + 15) >> 4; four += 1)
    page.rollUp(HOURS_AT + four * 4, 4, FOURS_AT + four);
  page.rollUp(FOURS_AT, 6, WHOLE_AT);
}

const NO_QUARTERS = new Float64Array(0);

/** Of questions without keys. */
const ONE_GROUP = new Int32Array(BATCH_ROW_COUNT_MAX);
