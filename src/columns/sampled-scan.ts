import { SeededRandom } from '../base/random.ts';
import { BATCH_ROW_COUNT_MAX, type Batch } from './batch.ts';
import { BatchBuilder, constantVector } from './build.ts';
import { DELETES_PAGE_ROWS, livingRows, type Deletes } from './deletes.ts';
import {
  gatheredSlots,
  lentSlice,
  SegmentScan,
  segmentCovers,
  segmentPasses,
  slotsOf,
} from './scan.ts';
import { RareRowScan } from './rare-rows.ts';
import { SEGMENT_ROWS, segmentOf, type SealedSegment } from './segment.ts';
import type { Snapshot } from './snapshot.ts';
import type { StoredColumn } from './stored-column.ts';
import { SampleRounds, type RoundDraws } from './sample-rounds.ts';
import type { Range, RareRows, SampleOptions, TableSample } from './table-contract.ts';
import { Decimal, type Datum } from './values.ts';
import type { Vector } from './vector.ts';

/** A full segment is begun with one of its blocks, anywhere in it; the others follow in a circle. */
const BLOCK_SLOTS = 4096;
const BLOCKS = SEGMENT_ROWS / BLOCK_SLOTS;
const OFFSET_STEP = 64;

/** What a batch of rows that are counted and not looked at costs, in rows. */
const COVERED_BATCH_ROWS = 16;

type Sampled = {
  readonly segment: SealedSegment;
  readonly deletes: Deletes | undefined;
  /** Full segments: the block that is read first, and where in it. Shorter ones: where they are begun. */
  readonly block: number;
  readonly offset: number;
};

/** In a list of numbers: a segment's rows, its block's first slot, its offset. */
const PLACE_WIDTH = 3;

type CoveredSegment = Pick<Sampled, 'segment' | 'deletes'>;

type ColumnBounds = { readonly rest: Range; readonly all: Range; readonly certain: Range };

/** Extreme slots of a segment that live, by the round that draws them: those of round r are [starts[r], starts[r + 1]). */
type SegmentTails = {
  readonly segment: SealedSegment;
  readonly slots: Int32Array;
  readonly starts: Int32Array;
};

/**
 * Sealed segments lie in an order that is random and different in each of them, so the same share of every segment is a stratified sample of the
 * table, read in sequence. Where each segment is begun depends on the query's seed: dashboards do not all share one unlucky sample.
 */
export class SampledScan implements TableSample {
  readonly #snapshot: Snapshot;
  readonly #columns: readonly StoredColumn[];
  readonly #tailColumns: readonly StoredColumn[];
  readonly #sampled: readonly Sampled[];
  /** Segments all of whose rows pass, where rows are counted only. */
  readonly #covered: readonly CoveredSegment[];
  /** Of a full segment, in the round in hand. */
  #full: RoundDraws = { from: 0, to: 0, watchedTo: 0 };
  #coveredAt = 0;
  #coveredSlot = 0;
  #coveredRows = 0;
  isCovered = false;
  readonly #isSampled: (segment: number) => boolean;
  readonly #options: SampleOptions;
  readonly #whole: SegmentScan;
  readonly #batchRowsMax: number;
  readonly population: number;
  readonly wholeFrom: number;
  readonly identity: number;
  phase: 'tails' | 'whole' | 'round';
  isWatched = true;
  drawn = 0;
  watched = 0;
  firstRound = 0;
  readonly #rounds: SampleRounds;
  readonly #hasTails: boolean;
  readonly #watches: 'all' | 'some';
  /** Of the draws of the round in hand, those that are watched. */
  #watchedShare = 0;
  round = 0;
  /**
   * What rounds ask of segments, side by side: a round visits each of them once, and by then what was looked up in it has long left the
   * cache. `#vectors` has those of each segment's columns; undefined where a segment is older than the column.
   */
  readonly #places: Int32Array;
  readonly #deletes: readonly (Deletes | undefined)[];
  #vectors: readonly (Vector | undefined)[] | undefined;
  /** Rows of the segments that are not full; all others have as many as each other. */
  readonly #shortRows: readonly number[];
  #segmentAt = 0;
  /** Of the segment in hand, in the order of the sample: read up to here, and read in this round up to there. */
  #at = 0;
  #end = 0;
  #watchedEnd = 0;
  #isBegun = false;
  #tails: readonly SegmentTails[] | undefined;
  /** By column, once they were asked for. */
  readonly #bounds = new Map<number, ColumnBounds | undefined>();
  readonly #tailBuilder: BatchBuilder;
  #rowsRead = 0;

  constructor(snapshot: Snapshot, options: SampleOptions) {
    const { view } = snapshot;
    this.#snapshot = snapshot;
    this.#options = options;
    this.#columns = options.columnIndexes.map((index) => view.columns[index]!);
    this.#tailColumns = options.tailColumns.map((index) => view.columns[index]!);
    this.#batchRowsMax = options.batchRowsMax ?? BATCH_ROW_COUNT_MAX;
    const random = new SeededRandom(options.seed);
    const wholeFrom = options.wholeFrom ?? Infinity;
    const sampled: Sampled[] = [];
    const covered: CoveredSegment[] = [];
    const isSampled = new Set<number>();
    let population = 0;
    let identity = 0;
    const revived = deletedSince(snapshot);
    let firstOpen = Math.ceil(view.rowIdEnd / SEGMENT_ROWS);
    view.list.states.forEach((state, index) => {
      const number = view.list.first + index;
      if (state === undefined) return;
      const { segment } = state;
      if (segment.kind !== 'sealed' || number >= wholeFrom) {
        firstOpen = Math.min(firstOpen, number);
        return;
      }
      // Rows of the past lie where they lay, but for those that a compaction left out.
      const alive = revived.get(number)?.map((ordinal) => segment.placeOf(ordinal));
      const isReadable =
        view.rowIdEnd >= (number + 1) * SEGMENT_ROWS && alive?.includes(-1) !== true;
      if (!isReadable) return;
      const deletes = alive === undefined ? state.deletes : state.deletes?.without(alive);
      isSampled.add(number);
      for (const part of [number, segment.generation, segment.rowCount, deletes?.count ?? 0])
        identity = (Math.imul(identity, 31) + part) >>> 0;
      const isPruned = options.prune.some(
        (test) => !segmentPasses(segment, view.columns[test.column]!, test),
      );
      this.#rowsRead += 1;
      if (isPruned || segment.rowCount === 0) return;
      if (options.isCounting === true && this.#covers(segment)) {
        covered.push({ segment, deletes });
        return;
      }
      const own = random.split(`segment/${number}`);
      const isFull = segment.rowCount === SEGMENT_ROWS;
      sampled.push({
        segment,
        deletes,
        block: isFull ? own.below(BLOCKS) : 0,
        offset: isFull
          ? own.below(BLOCK_SLOTS / OFFSET_STEP) * OFFSET_STEP
          : own.below(segment.rowCount),
      });
      population += segment.rowCount;
    });
    this.#sampled = sampled;
    this.#covered = covered;
    this.#deletes = sampled.map(({ deletes }) => deletes);
    this.#shortRows = sampled.flatMap(({ segment }) =>
      segment.rowCount === SEGMENT_ROWS ? [] : [segment.rowCount],
    );
    this.#places = new Int32Array(sampled.length * PLACE_WIDTH);
    sampled.forEach(({ segment, block, offset }, at) =>
      this.#places.set([segment.rowCount, block * BLOCK_SLOTS, offset], at * PLACE_WIDTH),
    );
    this.#isSampled = (segment) => isSampled.has(segment);
    this.population = population;
    this.wholeFrom = firstOpen;
    this.identity = identity;
    this.#whole = new SegmentScan(snapshot, {
      columnIndexes: options.columnIndexes,
      ordered: false,
      withRowIds: false,
      prune: options.prune,
      reads: (segment) => !this.#isSampled(segment),
    });
    this.#hasTails = sampled.some(({ segment }) =>
      this.#tailColumns.some((column) => segment.columns[column.id]?.tails !== undefined),
    );
    this.#rounds = new SampleRounds(population);
    this.#watches = options.batchRowsMax === undefined ? 'some' : 'all';
    this.#tailBuilder = new BatchBuilder(this.#columns.map(({ type }) => type));
    this.phase = this.#hasTails ? 'tails' : 'whole';
  }

  get rowsRead(): number {
    return this.#rowsRead + this.#whole.rowsRead;
  }

  get wholeRows(): number {
    return this.#coveredRows + this.#whole.rowsRead;
  }

  next(): Batch | undefined {
    switch (this.phase) {
      case 'tails':
        return this.#nextTails();
      case 'whole':
        return this.#nextCovered() ?? this.#whole.next();
      case 'round':
        return this.#nextOfRound();
    }
  }

  advance(watchedWanted = Infinity): boolean {
    this.#segmentAt = 0;
    this.#at = 0;
    this.#isBegun = false;
    if (this.phase === 'tails') {
      this.phase = 'whole';
      this.round = -1;
      return true;
    }
    if (this.drawn >= this.population) return false;
    this.round = this.phase === 'round' ? this.round + 1 : 0;
    this.phase = 'round';
    this.drawn = 0;
    this.#watchedShare = this.#rounds.watchedShare(this.round, {
      watches: this.#watches,
      wanted: watchedWanted,
      watched: this.watched,
    });
    this.#full = this.#rounds.drawsOf(this.round, SEGMENT_ROWS, this.#watchedShare);
    const fullCount = this.#sampled.length - this.#shortRows.length;
    this.drawn = fullCount * this.#full.to;
    this.watched += fullCount * (this.#full.watchedTo - this.#full.from);
    for (const rowCount of this.#shortRows) {
      const draws = this.#drawsIn(rowCount);
      this.drawn += draws.to;
      this.watched += draws.watchedTo - draws.from;
    }
    if (this.round === 0) this.firstRound = this.drawn;
    return true;
  }

  bounds(columnIndex: number): ColumnBounds | undefined {
    if (!this.#bounds.has(columnIndex)) this.#bounds.set(columnIndex, this.#boundsOf(columnIndex));
    return this.#bounds.get(columnIndex);
  }

  #boundsOf(columnIndex: number): ColumnBounds | undefined {
    const column = this.#snapshot.view.columns[columnIndex]!;
    let all: Range = NO_RANGE;
    let rest: Range = NO_RANGE;
    let certain: Range = NO_RANGE;
    for (const { segment, deletes } of this.#sampled) {
      const sealed = segment.columns[column.id];
      const zone = sealed?.zone ?? {
        min: column.missing,
        max: column.missing,
        rowCount: 1,
        nullCount: column.missing === null ? 1 : 0,
      };
      if (zone.nullCount === zone.rowCount) continue;
      const min = numberOf(zone.min);
      const max = numberOf(zone.max);
      if (min === undefined || max === undefined) return undefined;
      all = widened(all, min, max);
      // What other types of numbers are as doubles may be rounded.
      if (
        typeof zone.min === 'number' &&
        Number.isFinite(max) &&
        Number.isFinite(min) &&
        (deletes === undefined || deletes.count === 0) &&
        this.#covers(segment)
      )
        certain = widened(certain, min, max);
      const tails = sealed?.tails;
      if (tails === undefined || !this.#tailColumns.includes(column)) {
        rest = widened(rest, min, max);
        continue;
      }
      const vector = sealed!.vector;
      const unit = vector.rep === 'number' ? 10 ** -vector.scale : 1;
      if (tails.min <= tails.max) rest = widened(rest, tails.min * unit, tails.max * unit);
    }
    return { rest, all, certain };
  }

  /** Whether all rows of a segment are known to pass. */
  #covers(segment: SealedSegment): boolean {
    const { columns } = this.#snapshot.view;
    return (
      this.#options.cover?.every((test) => segmentCovers(segment, columns[test.column]!, test)) ===
      true
    );
  }

  #nextCovered(): Batch | undefined {
    this.isCovered = true;
    while (this.#coveredAt < this.#covered.length) {
      const { segment, deletes } = this.#covered[this.#coveredAt]!;
      const start = this.#coveredSlot;
      const end = Math.min(start + BATCH_ROW_COUNT_MAX, segment.rowCount);
      this.#coveredSlot = end;
      if (end >= segment.rowCount) {
        this.#coveredAt += 1;
        this.#coveredSlot = 0;
      }
      this.#coveredRows += end - start;
      this.#rowsRead += COVERED_BATCH_ROWS;
      const selection = livingRows(deletes, start, end);
      if (selection !== undefined && selection.length === 0) continue;
      return {
        rowCount: selection?.length ?? end - start,
        columns: this.#columns.map((column) => slotsOf(segment, column, start, end)),
        selection,
      };
    }
    this.isCovered = false;
    return undefined;
  }

  rareRows(columnIndex: number, wanted?: readonly Datum[]): RareRows {
    const { columnIndexes, prune } = this.#options;
    return new RareRowScan(this.#snapshot, {
      column: this.#snapshot.view.columns[columnIndex]!,
      columnIndex,
      columns: this.#columns,
      columnIndexes,
      segments: [...this.#covered, ...this.#sampled],
      isSampled: this.#isSampled,
      prune,
      wanted,
    });
  }

  /** Round by round, and of each the segments' few rows together. */
  #nextTails(): Batch | undefined {
    this.#tails ??= this.#sampled.map((each) => this.#tailsOf(each));
    const builder = this.#tailBuilder;
    while (this.round < this.#rounds.count) {
      while (this.#segmentAt < this.#tails.length) {
        const { segment, slots, starts } = this.#tails[this.#segmentAt]!;
        const from = starts[this.round]! + this.#at;
        const own = slots.subarray(from, Math.min(starts[this.round + 1]!, from + builder.room));
        if (own.length === 0) {
          // The segment's are through, or the batch is full.
          if (builder.isFull) break;
          this.#segmentAt += 1;
          this.#at = 0;
          continue;
        }
        this.#at += own.length;
        this.#rowsRead += own.length;
        builder.append({
          rowCount: own.length,
          columns: this.#columns.map((column) => gatheredSlots(segment, column, own, own.length)),
        });
      }
      const batch = builder.take();
      if (batch !== undefined) return batch;
      this.round += 1;
      this.#segmentAt = 0;
      this.#at = 0;
    }
    return undefined;
  }

  #tailsOf(sampled: Sampled): SegmentTails {
    const { segment, deletes } = sampled;
    const lists = this.#tailColumns.flatMap(
      (column) => segment.columns[column.id]?.tails?.slots ?? [],
    );
    const marked = new Uint8Array(lists.length > 1 ? SEGMENT_ROWS : 0);
    const roundCount = this.#rounds.count;
    const starts = new Int32Array(roundCount + 1);
    const slots: number[] = [];
    const rounds: number[] = [];
    for (const list of lists)
      for (const slot of list) {
        if (deletes?.has(slot) === true || marked[slot] === 1) continue;
        if (lists.length > 1) marked[slot] = 1;
        const round = this.#rounds.roundOf(drawOf(sampled, slot), segment.rowCount);
        slots.push(slot);
        rounds.push(round);
        starts[round + 1]! += 1;
      }
    for (let round = 0; round < roundCount; round += 1) starts[round + 1]! += starts[round]!;
    const next = starts.slice();
    const ordered = new Int32Array(slots.length);
    for (let at = 0; at < slots.length; at += 1) {
      const round = rounds[at]!;
      ordered[next[round]!] = slots[at]!;
      next[round]! += 1;
    }
    return { segment, slots: ordered, starts };
  }

  /** Draws of a segment in the round in hand, and up to where they are watched. Nearly all segments are full. */
  #drawsIn(rowCount: number): RoundDraws {
    return rowCount === SEGMENT_ROWS
      ? this.#full
      : this.#rounds.drawsOf(this.round, rowCount, this.#watchedShare);
  }

  #nextOfRound(): Batch | undefined {
    const places = this.#places;
    while (this.#segmentAt < this.#sampled.length) {
      const place = this.#segmentAt * PLACE_WIDTH;
      const rowCount = places[place]!;
      if (!this.#isBegun) {
        this.#isBegun = true;
        const draws = this.#drawsIn(rowCount);
        this.#at = draws.from;
        this.#end = draws.to;
        this.#watchedEnd = draws.watchedTo;
      }
      const at = this.#at;
      if (at >= this.#end) {
        this.#segmentAt += 1;
        this.#isBegun = false;
        continue;
      }
      const start = slotAt(rowCount, places[place + 1]!, places[place + 2]!, at);
      this.isWatched = at < this.#watchedEnd;
      const deletes = this.#deletes[this.#segmentAt];
      // Sums of squares are rounded where batches end: those that are watched end at the pages, deletes or not.
      const isPaged = this.isWatched || deletes !== undefined;
      const count = Math.min(
        (this.isWatched ? this.#watchedEnd : this.#end) - at,
        isPaged ? runFrom(rowCount, start, at) : circleFrom(rowCount, start, at),
        this.#batchRowsMax,
      );
      this.#at = at + count;
      this.#rowsRead += count;
      const selection = livingRows(deletes, start, start + count);
      if (selection !== undefined && selection.length === 0) continue;
      return {
        rowCount: selection?.length ?? count,
        columns: this.#slots(this.#segmentAt, start, start + count),
        selection,
      };
    }
    return undefined;
  }

  /** The columns of a range of a segment's slots. */
  #slots(segmentAt: number, start: number, end: number): Vector[] {
    this.#vectors ??= this.#sampled.flatMap(({ segment }) =>
      this.#columns.map((column) => segment.columns[column.id]?.vector),
    );
    const vectors = this.#vectors;
    const first = segmentAt * this.#columns.length;
    // `map` makes a list of the right length: one that grows has room for seventeen.
    return this.#columns.map((column, at) => {
      const vector = vectors[first + at];
      return vector === undefined
        ? constantVector(column.type, column.missing, end - start)
        : lentSlice(vector, start, end);
    });
  }
}

/** Of a reader of the past: by segment, the ordinals of rows that it sees and that are dead by now. */
function deletedSince(snapshot: Snapshot): ReadonlyMap<number, number[]> {
  const bySegment = new Map<number, number[]>();
  for (const rowId of snapshot.overlay?.rowIds() ?? []) {
    const number = segmentOf(rowId);
    const ordinals = bySegment.get(number);
    if (ordinals === undefined) bySegment.set(number, [rowId - number * SEGMENT_ROWS]);
    else ordinals.push(rowId - number * SEGMENT_ROWS);
  }
  return bySegment;
}

const NO_RANGE: Range = { min: Infinity, max: -Infinity };

function widened(range: Range, min: number, max: number): Range {
  return { min: Math.min(range.min, min), max: Math.max(range.max, max) };
}

function numberOf(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isNaN(value) ? Infinity : value;
  if (typeof value === 'bigint') return Number(value);
  if (value instanceof Decimal && value.special === undefined)
    return Number(value.coefficient) / 10 ** value.scale;
  return undefined;
}

/** The slot of draw `at`: blocks in a circle from the segment's own, the first one in a circle of its own. */
function slotAt(rowCount: number, blockStart: number, offset: number, at: number): number {
  if (rowCount !== SEGMENT_ROWS) return (offset + at) % rowCount;
  if (at < BLOCK_SLOTS) return blockStart + ((offset + at) % BLOCK_SLOTS);
  return (blockStart + at) % SEGMENT_ROWS;
}

/** Which draw a slot is: the other way round. */
function drawOf({ segment, block, offset }: Sampled, slot: number): number {
  const { rowCount } = segment;
  if (rowCount !== SEGMENT_ROWS) return (slot - offset + rowCount) % rowCount;
  const from = block * BLOCK_SLOTS;
  const within = slot - from;
  return within >= 0 && within < BLOCK_SLOTS
    ? (within - offset + BLOCK_SLOTS) % BLOCK_SLOTS
    : (slot - from + SEGMENT_ROWS) % SEGMENT_ROWS;
}

/** Draws from `at` on that lie side by side, within one page of deletes; `slot`: where the first of them is. */
function runFrom(rowCount: number, slot: number, at: number): number {
  const page = DELETES_PAGE_ROWS - (slot % DELETES_PAGE_ROWS);
  return Math.min(page, circleFrom(rowCount, slot, at));
}

/** The same, across pages: up to where its circle closes, or a block that is read in one of its own. */
function circleFrom(rowCount: number, slot: number, at: number): number {
  if (rowCount !== SEGMENT_ROWS) return rowCount - slot;
  return at < BLOCK_SLOTS
    ? Math.min(BLOCK_SLOTS - (slot % BLOCK_SLOTS), BLOCK_SLOTS - at)
    : SEGMENT_ROWS - slot;
}
