import { assert } from '../base/errors.ts';
import type { MemoryAccount } from '../base/memory.ts';
import { MemoryLease } from '../base/memory-lease.ts';
import type { Batch } from '../columns/batch.ts';
import type { SqlType } from '../columns/types.ts';
import type { Vector } from '../columns/vector.ts';
import { GroupTable } from '../operators/group-table.ts';
import type { Resolution } from './policy.ts';
import {
  addTile,
  carry,
  isSameRange,
  NO_BINS,
  TileLayout,
  TilePlaces,
  unionOf,
  type BinRange,
  type TermShape,
} from './tile-layout.ts';
import { DAY } from './tile-time.ts';

/**
 * What is left of the rows that a table's policy has demoted: aggregates by stretch of time and group, which are state and no cache: the
 * journal's records make them, snapshots hold them, nothing evicts them. Invariants:
 *
 * 1. A row is in the table or in one tile, never in both and never in none: the record that deletes it adds it here.
 * 2. Tiles are added up, whatever their lengths: that some overlap in time (of a policy before, or not yet folded) matters to nobody.
 * 3. What a reader at a position sees does not change: a tile that changes is another version, the one before stays until `expire`.
 */
export class KeptTiles {
  readonly #lease: MemoryLease;
  readonly #eras: KeptEra[] = [];
  /** Positions that are being read, with how many read them. */
  readonly #held = new Map<number, number>();
  /** Of the newest published change. */
  position = 0;

  constructor(memory: MemoryAccount) {
    this.#lease = new MemoryLease(memory);
  }

  get bytes(): number {
    return this.#lease.bytes;
  }

  get eras(): readonly KeptEra[] {
    return this.#eras;
  }

  /** Nothing is kept, nor was at any position that can still be read. */
  get isEmpty(): boolean {
    return this.#eras.every((era) => era.isEmpty);
  }

  /** Stretches that have tiles, or had until lately. */
  get count(): number {
    let count = 0;
    for (const era of this.#eras) for (const level of era.levels.values()) count += level.count;
    return count;
  }

  /** The stretch of time in which there are tiles at a position: from the first one's start to the last one's end. */
  hull(position: number): Stretch | undefined {
    let [start, end] = [Infinity, -Infinity];
    for (const era of this.#eras) {
      for (const level of era.levels.values()) {
        const hull = level.hull(position);
        if (hull === undefined) continue;
        start = Math.min(start, hull.start);
        end = Math.max(end, hull.end);
      }
    }
    return start < end ? { start, end } : undefined;
  }

  /** Tiles at a position that lie in [from, to) at least in part, by era. */
  *overlapping(position: number, from: number, to: number): Generator<KeptTile> {
    for (const era of this.#eras)
      for (const [unit, level] of era.levels)
        for (const { start, end, slab } of level.between(position, from, to))
          yield { era, unit, start, end, slab };
  }

  /** The same for who adds them up: whole days as one tile, where many shorter ones are in them. */
  *summed(position: number, from: number, to: number): Generator<KeptTile> {
    for (const era of this.#eras)
      for (const [unit, level] of era.levels)
        for (const { start, end, slab } of level.summed(position, from, to, era, this.#lease))
          yield { era, unit, start, end, slab };
  }

  /** Applies a change in steps, to be published or undone; where it throws, nothing has changed. */
  *apply(change: KeptChange, limits: boolean): Generator<void, KeptUndo> {
    const staged: Staged[] = [];
    const undo = (): void => {
      for (const { level, entry, slab } of staged.toReversed()) {
        assert(entry.slab === slab, 'kept tiles are undone newest first');
        this.#lease.give(slabBytes(slab));
        level.changed(entry, this.#lease);
        if (slab.older === undefined) level.remove(entry);
        else entry.slab = slab.older;
      }
    };
    this.#lease.limits = limits;
    let isDone = false;
    try {
      switch (change.kind) {
        case 'add':
          yield* this.#add(change, staged);
          break;
        case 'fold':
          yield* this.#fold(change, staged);
          break;
        case 'drop':
          yield* this.#drop(change.until, staged);
          break;
      }
      isDone = true;
    } finally {
      this.#lease.limits = true;
      if (!isDone) undo();
    }
    return {
      undo,
      published: (position) => {
        for (const { slab } of staged) slab.position = position;
        this.position = position;
      },
    };
  }

  *#add({ shape, unit, cells }: KeptAddition, staged: Staged[]): Generator<void> {
    const era = this.#eraOf(shape);
    const layout = new TileLayout(era.shapes, cells.ranges);
    const groups = era.intern(cells.keys, this.#lease);
    const level = era.level(unit);
    let from = 0;
    for (let bucket = 0; bucket < cells.starts.length; bucket += 1) {
      const to = cells.offsets[bucket + 1]!;
      const [start, end] = [cells.starts[bucket]!, cells.ends[bucket]!];
      const before = level.find(start, end)?.slab;
      const places = new Map<number, number>();
      const old = before?.groups ?? NO_GROUPS;
      for (let at = 0; at < old.length; at += 1) places.set(old[at]!, at);
      for (let at = from; at < to; at += 1) {
        const group = groups[cells.groups[at]!]!;
        if (!places.has(group)) places.set(group, places.size);
      }
      const widened = layoutFor(era, before?.layout, layout);
      const parts: Part[] = [];
      for (let at = 0; at < old.length; at += 1)
        parts.push({
          place: at,
          data: before!.data,
          at: at * before!.layout.stride,
          layout: before!.layout,
        });
      for (let at = from; at < to; at += 1)
        parts.push({
          place: places.get(groups[cells.groups[at]!]!)!,
          data: cells.data,
          at: at * layout.stride,
          layout,
        });
      const target = { era, level, start, end };
      this.#put(staged, target, Int32Array.from(places.keys()), parts, widened);
      from = to;
      if (parts.length > CELLS_A_STEP) yield;
    }
  }

  /** All tiles of [start, end) become one of it. */
  *#fold({ unit, start, end }: KeptFolding, staged: Staged[]): Generator<void> {
    for (const era of this.#eras) {
      const found: { level: KeptLevel; entry: Entry }[] = [];
      for (const level of era.levels.values())
        for (const entry of level.entriesBetween(start, end))
          if (entry.start >= start && entry.end <= end && entry.slab.groups.length > 0)
            found.push({ level, entry });
      const isTarget = ({ level, entry }: (typeof found)[number]): boolean =>
        level === era.levels.get(unit) && entry.start === start && entry.end === end;
      if (found.every(isTarget)) continue;
      const places = new Map<number, number>();
      const parts: Part[] = [];
      let layout: TileLayout | undefined;
      let cells = 0;
      for (const { entry } of found) {
        const { slab } = entry;
        layout = layoutFor(era, layout, slab.layout);
        for (let at = 0; at < slab.groups.length; at += 1) {
          const group = slab.groups[at]!;
          const place = places.get(group) ?? places.size;
          places.set(group, place);
          parts.push({ place, data: slab.data, at: at * slab.layout.stride, layout: slab.layout });
        }
        cells += slab.groups.length;
        if (cells < CELLS_A_STEP) continue;
        cells = 0;
        yield;
      }
      const target = { era, level: era.level(unit), start, end };
      this.#put(staged, target, Int32Array.from(places.keys()), parts, layout!);
      for (const each of found)
        if (!isTarget(each))
          this.#put(staged, { era, level: each.level, ...each.entry }, NO_GROUPS, [], layout!);
    }
  }

  *#drop(until: number, staged: Staged[]): Generator<void> {
    let dropped = 0;
    for (const era of this.#eras) {
      for (const level of era.levels.values()) {
        for (const entry of level.entriesBetween(-Infinity, until)) {
          if (entry.end > until || entry.slab.groups.length === 0) continue;
          this.#put(staged, { era, level, ...entry }, NO_GROUPS, [], entry.slab.layout);
          dropped += 1;
          if (dropped % CELLS_A_STEP === 0) yield;
        }
      }
    }
  }

  /** The next version of a tile: the sum of `parts` by place. */
  #put(
    staged: Staged[],
    { era, level, start, end }: Stretch & { readonly era: KeptEra; readonly level: KeptLevel },
    groups: Int32Array,
    parts: readonly Part[],
    layout: TileLayout,
  ): void {
    const known = level.find(start, end);
    const slab: Slab = {
      groups,
      ...sumOf(era, groups.length, parts, layout),
      position: STAGED,
      older: known?.slab,
    };
    this.#lease.take(slabBytes(slab));
    const entry = known ?? level.add({ start, end, slab });
    entry.slab = slab;
    level.changed(entry, this.#lease);
    staged.push({ level, entry, slab });
  }

  #eraOf(shape: KeptShape): KeptEra {
    const same = this.#eras.find((era) => era.shape === shape);
    if (same !== undefined) return same;
    const text = shapeText(shape);
    const known = this.#eras.find((era) => shapeText(era.shape) === text);
    if (known !== undefined) {
      // The next record of the same demotion finds it at once.
      known.shape = shape;
      return known;
    }
    const made = new KeptEra(shape);
    this.#eras.push(made);
    return made;
  }

  /** Somebody reads at a position, until what is given back is called, once. */
  hold(position: number): () => void {
    this.#held.set(position, (this.#held.get(position) ?? 0) + 1);
    return () => {
      const left = this.#held.get(position)! - 1;
      if (left === 0) this.#held.delete(position);
      else this.#held.set(position, left);
    };
  }

  /** Versions before this position are read by nobody any more, but for who holds one. */
  expire(given: number): void {
    let position = given;
    for (const held of this.#held.keys()) position = Math.min(position, held);
    for (const era of this.#eras)
      for (const level of era.levels.values())
        level.expire(position, (slab) => this.#lease.give(slabBytes(slab)));
  }

  /** A column of the table is no more: those behind it move up, and what was kept of it answers nothing. */
  columnDropped(index: number): () => void {
    const before = this.#eras.map((era) => era.shape);
    for (const era of this.#eras) era.shape = withoutColumn(era.shape, index);
    return () => {
      for (const [at, shape] of before.entries()) this.#eras[at]!.shape = shape;
    };
  }

  /** The column of times by which rows were demoted; −1 where it is no more. */
  get time(): number {
    const era = this.#eras.find((each) => !each.isEmpty);
    assert(era !== undefined, 'something was demoted where its time is asked for');
    return era.shape.terms[0]!.column;
  }

  /** Whether the values of a column are kept, by group or added up. */
  keeps(column: number): boolean {
    return this.#eras.some(
      ({ shape, isEmpty }) =>
        !isEmpty &&
        (shape.by.some((each) => each.column === column) ||
          shape.terms.some((each) => each.column === column)),
    );
  }

  /**
   * All that a reader at a position sees, for snapshots: additions to nothing, made one by one while others go on; to be given back
   * with `release`.
   */
  image(position: number): { readonly pieces: () => Generator<KeptAddition>; release(): void } {
    const eras = this.#eras.map((era) => ({ era, shape: era.shape }));
    return {
      release: this.hold(position),
      *pieces() {
        for (const { era, shape } of eras) {
          for (const [unit, level] of era.levels) {
            let waiting: (Stretch & { readonly slab: Slab })[] = [];
            let cells = 0;
            for (const each of level.between(position, -Infinity, Infinity)) {
              waiting.push(each);
              cells += each.slab.groups.length;
              if (cells < CELLS_A_PIECE) continue;
              yield { kind: 'add', shape, unit, cells: era.cells(waiting) };
              waiting = [];
              cells = 0;
            }
            if (waiting.length > 0) yield { kind: 'add', shape, unit, cells: era.cells(waiting) };
          }
        }
      },
    };
  }

  close(): void {
    this.#lease.close();
    for (const era of this.#eras) era.levels.clear();
    this.#eras.length = 0;
  }
}

export type Stretch = { readonly start: number; readonly end: number };

/** What a record does to the tiles of a table. */
export type KeptChange =
  | KeptAddition
  | KeptFolding
  | { readonly kind: 'drop'; readonly until: number };

export type KeptAddition = {
  readonly kind: 'add';
  readonly shape: KeptShape;
  readonly unit: Resolution;
  readonly cells: KeptCells;
};

/** Tiles that lie in [start, end) become one of it: the stretch is in the record, so no zone's rules matter to replay. */
export type KeptFolding = {
  readonly kind: 'fold';
  readonly unit: Resolution;
  readonly start: number;
  readonly end: number;
};

export type KeptUndo = {
  readonly undo: () => void;
  readonly published: (position: number) => void;
};

/** What is kept of a row: columns by their number in the table, −1 once they are no more. */
export type KeptShape = {
  readonly by: readonly KeptColumn[];
  readonly terms: readonly KeptTerm[];
};
export type KeptColumn = { readonly column: number; readonly type: SqlType };
export type KeptTerm = KeptColumn & {
  readonly nullable: boolean;
  /** Of its values as doubles: what percentiles are of. */
  readonly isDouble: boolean;
  /** Of the squares of the term before: what variances are of, beside that. Rows demoted before these were kept have none. */
  readonly isSquare?: boolean;
  readonly shape: TermShape;
};

/** Aggregates by stretch and group: those of stretch i are [offsets[i], offsets[i + 1]), and cell j is `data[j · stride]` on. */
export type KeptCells = {
  readonly starts: Float64Array;
  readonly ends: Float64Array;
  readonly offsets: Int32Array;
  /** By cell, the row of `keys`. */
  readonly groups: Int32Array;
  readonly keys: Batch;
  readonly ranges: readonly BinRange[];
  readonly data: Float64Array;
};

/** A version of one tile: never changed. */
export type Slab = {
  readonly groups: Int32Array;
  readonly data: Float64Array;
  readonly layout: TileLayout;
  position: number;
  older: Slab | undefined;
};

export type KeptTile = {
  readonly era: KeptEra;
  readonly unit: Resolution;
  readonly start: number;
  readonly end: number;
  readonly slab: Slab;
};

type Entry = Stretch & { slab: Slab };
type Staged = { readonly level: KeptLevel; readonly entry: Entry; readonly slab: Slab };
type Part = {
  readonly place: number;
  readonly data: Float64Array;
  readonly at: number;
  readonly layout: TileLayout;
};

/** Seen by nobody yet. */
const STAGED = Infinity;
const NO_GROUPS = new Int32Array(0);
/** Tiles by group that are added up in one step. */
const CELLS_A_STEP = 4096;
/** In one piece of a snapshot. */
const CELLS_A_PIECE = 8192;
/** Fewer are added up one by one. */
const DAY_TILES_MIN = 8;
/** What a version is beside its numbers. */
const SLAB_BYTES = 320;
const GROUP_BYTES = 96;

function slabBytes({ groups, data }: Slab): number {
  return SLAB_BYTES + groups.byteLength + data.byteLength;
}

/** Tiles of one shape: a policy that keeps something else begins another era. */
export class KeptEra {
  shape: KeptShape;
  readonly shapes: readonly TermShape[];
  readonly levels = new Map<Resolution, KeptLevel>();
  readonly groups: GroupTable;
  /** Has room for the values of every tile. */
  layout: TileLayout;

  constructor(shape: KeptShape) {
    this.shape = shape;
    this.shapes = shape.terms.map((term) => term.shape);
    this.layout = new TileLayout(
      this.shapes,
      this.shapes.map(() => NO_BINS),
    );
    this.groups = new GroupTable(
      shape.by.map(({ type }) => type),
      undefined,
    );
  }

  get isEmpty(): boolean {
    for (const level of this.levels.values()) if (!level.isEmpty) return false;
    return true;
  }

  level(unit: Resolution): KeptLevel {
    let level = this.levels.get(unit);
    if (level === undefined) this.levels.set(unit, (level = new KeptLevel()));
    return level;
  }

  /** The era's numbers of groups by row of `keys`. */
  intern(keys: Batch, lease: MemoryLease): Int32Array {
    if (this.shape.by.length === 0) return new Int32Array(Math.max(1, keys.rowCount));
    const before = this.groups.groupCount;
    const groups = this.groups.intern(keys.columns, keys.rowCount).slice(0, keys.rowCount);
    // They are there, whether there is room or not.
    const { limits } = lease;
    lease.limits = false;
    lease.take((this.groups.groupCount - before) * GROUP_BYTES * this.shape.by.length);
    lease.limits = limits;
    return groups;
  }

  /** Key vectors of some groups, by the table's columns. */
  keysByColumn(groups: Int32Array, count: number): Vector[] {
    const wide: Vector[] = [];
    for (const [at, { column }] of this.shape.by.entries())
      if (column >= 0) wide[column] = this.groups.key(at, groups, count);
    return wide;
  }

  /** Tiles as an addition has them. */
  cells(tiles: readonly (Stretch & { readonly slab: Slab })[]): KeptCells {
    const places = new Map<number, number>();
    let layout: TileLayout | undefined;
    let count = 0;
    for (const { slab } of tiles) {
      layout = layoutFor(this, layout, slab.layout);
      count += slab.groups.length;
      for (const group of slab.groups) if (!places.has(group)) places.set(group, places.size);
    }
    const { stride } = layout!;
    const data = layout!.tiles(count);
    const groups = new Int32Array(count);
    const offsets = new Int32Array(tiles.length + 1);
    let at = 0;
    for (const [index, { slab }] of tiles.entries()) {
      for (let cell = 0; cell < slab.groups.length; cell += 1, at += 1) {
        groups[at] = places.get(slab.groups[cell]!)!;
        addTile(data, at * stride, layout!, slab.data, cell * slab.layout.stride, slab.layout);
      }
      offsets[index + 1] = at;
    }
    const shown = Int32Array.from(places.keys());
    return {
      starts: Float64Array.from(tiles, ({ start }) => start),
      ends: Float64Array.from(tiles, ({ end }) => end),
      offsets,
      groups,
      keys: {
        rowCount: shown.length,
        columns: this.groups.keys(shown, shown.length),
      },
      ranges: layout!.ranges,
      data,
    };
  }
}

/** Parts added up by place, in a layout that has room for the sums. */
function sumOf(
  era: KeptEra,
  count: number,
  parts: readonly Part[],
  given: TileLayout,
): { readonly data: Float64Array; readonly layout: TileLayout } {
  const room = given.wider;
  const data = room.tiles(count);
  for (const { place, data: from, at, layout } of parts)
    addTile(data, place * room.stride, room, from, at, layout);
  let isNear = false;
  for (let place = 0; place < count; place += 1) {
    carry(data, place * room.stride, room);
    if (isTopUsed(data, place * room.stride, room)) isNear = true;
  }
  // The bin on top is kept where a sum has come so far.
  if (isNear) return { data, layout: layoutFor(era, undefined, room) };
  const narrow = given.tiles(count);
  const shown = narrowed(room, given);
  for (let place = 0; place < count; place += 1)
    addTile(narrow, place * given.stride, given, data, place * room.stride, shown);
  return { data: narrow, layout: given };
}

/** Tiles of one resolution in the order of time. */
export class KeptLevel {
  /**
   * Days of many tiles added up: a help for who reads years, made when somebody does. One holds what the newest versions of its tiles do,
   * all of them published at `position` or before: a change takes it away.
   */
  readonly #days = new Map<number, Slab>();

  /** Ascending by start, then end. */
  readonly #entries: Entry[] = [];
  /** The longest there has been: how far back a tile may begin that reaches into a stretch. */
  #longest = 0;

  get isEmpty(): boolean {
    return this.#entries.length === 0;
  }

  get count(): number {
    return this.#entries.length;
  }

  find(start: number, end: number): Entry | undefined {
    const entry = this.#entries[this.#lowerBound(start, end)];
    return entry?.start === start && entry.end === end ? entry : undefined;
  }

  /** One that is not there yet. */
  add(entry: Entry): Entry {
    const { start, end } = entry;
    this.#entries.splice(this.#lowerBound(start, end), 0, entry);
    this.#longest = Math.max(this.#longest, end - start);
    return entry;
  }

  remove({ start, end }: Stretch): void {
    this.#entries.splice(this.#lowerBound(start, end), 1);
  }

  /** Those that lie in [from, to) at least in part. */
  entriesBetween(from: number, to: number): Entry[] {
    const found: Entry[] = [];
    for (
      let at = from === -Infinity ? 0 : this.#lowerBound(from - this.#longest, -Infinity);
      at < this.#entries.length && this.#entries[at]!.start < to;
      at += 1
    )
      if (this.#entries[at]!.end > from) found.push(this.#entries[at]!);
    return found;
  }

  /** The same as a reader at a position sees them. */
  *between(
    position: number,
    from: number,
    to: number,
  ): Generator<Stretch & { readonly slab: Slab }> {
    // Changes meanwhile are of later positions; those that were found stay.
    for (const { start, end, slab: newest } of this.entriesBetween(from, to)) {
      const slab = versionAt(newest, position);
      if (slab !== undefined && slab.groups.length > 0) yield { start, end, slab };
    }
  }

  /** The same with whole days as one, where that is less to add. */
  *summed(
    position: number,
    from: number,
    to: number,
    era: KeptEra,
    lease: MemoryLease,
  ): Generator<Stretch & { readonly slab: Slab }> {
    if (this.#longest > DAY / DAY_TILES_MIN) {
      yield* this.between(position, from, to);
      return;
    }
    const entries = this.entriesBetween(from, to);
    for (let first = 0; first < entries.length;) {
      const day = Math.floor(entries[first]!.start / DAY);
      const [start, end] = [day * DAY, (day + 1) * DAY];
      let last = first + 1;
      while (last < entries.length && entries[last]!.start < end) last += 1;
      const isWhole = start >= from && end <= to && last - first >= DAY_TILES_MIN;
      const sum = isWhole
        ? this.#day(day, position, entries.slice(first, last), era, lease)
        : undefined;
      if (sum !== undefined) yield { start, end, slab: sum };
      else
        for (let at = first; at < last; at += 1) {
          const { start: tileStart, end: tileEnd, slab: newest } = entries[at]!;
          const slab = versionAt(newest, position);
          if (slab !== undefined && slab.groups.length > 0)
            yield { start: tileStart, end: tileEnd, slab };
        }
      first = last;
    }
  }

  #day(
    day: number,
    position: number,
    entries: readonly Entry[],
    era: KeptEra,
    lease: MemoryLease,
  ): Slab | undefined {
    const known = this.#days.get(day);
    if (known !== undefined) return known.position <= position ? known : undefined;
    let cells = 0;
    let newest = 0;
    for (const { slab, end } of entries) {
      if (slab.position > position || end > (day + 1) * DAY) return undefined;
      cells += slab.groups.length;
      newest = Math.max(newest, slab.position);
    }
    if (cells > CELLS_A_STEP) return undefined;
    const places = new Map<number, number>();
    const parts: Part[] = [];
    let layout: TileLayout | undefined;
    for (const { slab } of entries) {
      const { groups, data, layout: own } = slab;
      if (groups.length > 0) layout = layoutFor(era, layout, own);
      for (let at = 0; at < groups.length; at += 1) {
        const place = places.get(groups[at]!) ?? places.size;
        places.set(groups[at]!, place);
        parts.push({ place, data, at: at * own.stride, layout: own });
      }
    }
    if (layout === undefined) return undefined;
    const sum: Slab = {
      groups: Int32Array.from(places.keys()),
      ...sumOf(era, places.size, parts, layout),
      position: newest,
      older: undefined,
    };
    try {
      lease.take(slabBytes(sum));
    } catch {
      // No room: they are added one by one.
      return undefined;
    }
    this.#days.set(day, sum);
    return sum;
  }

  /** A tile has another version: days that it lies in are added up anew. */
  changed({ start, end }: Stretch, lease: MemoryLease): void {
    if (this.#days.size === 0) return;
    for (let day = Math.floor(start / DAY); day * DAY < end; day += 1) {
      const sum = this.#days.get(day);
      if (sum === undefined) continue;
      lease.give(slabBytes(sum));
      this.#days.delete(day);
    }
  }

  hull(position: number): Stretch | undefined {
    const isSeen = ({ slab }: Entry): boolean =>
      (versionAt(slab, position)?.groups.length ?? 0) > 0;
    const first = this.#entries.find(isSeen);
    if (first === undefined) return undefined;
    const last = this.#entries.findLast(isSeen)!;
    let { end } = last;
    for (const entry of this.entriesBetween(last.start, last.end))
      if (isSeen(entry)) end = Math.max(end, entry.end);
    return { start: first.start, end };
  }

  expire(position: number, gone: (slab: Slab) => void): void {
    let kept = 0;
    for (const entry of this.#entries) {
      const seen = versionAt(entry.slab, position);
      if (seen !== undefined) {
        for (let slab = seen.older; slab !== undefined; slab = slab.older) gone(slab);
        seen.older = undefined;
        // Nothing is left of it for anybody.
        if (seen === entry.slab && seen.groups.length === 0) {
          gone(seen);
          continue;
        }
      }
      this.#entries[kept] = entry;
      kept += 1;
    }
    this.#entries.length = kept;
  }

  /** The first that does not begin earlier or, beginning then, end earlier. */
  #lowerBound(start: number, end: number): number {
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const entry = this.#entries[middle]!;
      if (entry.start < start || (entry.start === start && entry.end < end)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function versionAt(newest: Slab, position: number): Slab | undefined {
  let slab: Slab | undefined = newest;
  while (slab !== undefined && slab.position > position) slab = slab.older;
  return slab;
}

/** A layout with room for both, which the era has room for from then on. */
function layoutFor(era: KeptEra, a: TileLayout | undefined, b: TileLayout): TileLayout {
  if (a === undefined && era.layout === b) return b;
  const ranges = b.ranges.map((range, index) => unionOf(a?.ranges[index] ?? NO_BINS, range));
  const isEras = ranges.every((range, index) => isSameRange(range, era.layout.ranges[index]!));
  if (isEras) return era.layout;
  const whole = ranges.map((range, index) => unionOf(range, era.layout.ranges[index]!));
  if (!whole.every((range, index) => isSameRange(range, era.layout.ranges[index]!)))
    era.layout = new TileLayout(era.shapes, whole);
  return ranges.every((range, index) => isSameRange(range, era.layout.ranges[index]!))
    ? era.layout
    : new TileLayout(era.shapes, ranges);
}

/** Whether the bin that `wider` has put on top is needed: something has come there, or nearly. */
function isTopUsed(data: Float64Array, at: number, wider: TileLayout): boolean {
  for (const { sum, bins } of wider.terms) {
    if (bins === 0) continue;
    if (data[at + sum + bins - 1] !== 0) return true;
  }
  return false;
}

/** A layout whose places are `wider`'s, without its bins on top: what is added from it to one without them. */
function narrowed(wider: TileLayout, layout: TileLayout): TilePlaces {
  return new TilePlaces(
    wider.terms.map((place, index) =>
      place.bins === 0 ? place : { ...place, bins: layout.terms[index]!.bins },
    ),
  );
}

function shapeText(shape: KeptShape): string {
  return JSON.stringify([
    shape.by.map(({ column, type }) => [column, type]),
    shape.terms.map(({ column, type, nullable, isDouble, isSquare, shape: kept }) => [
      column,
      type,
      nullable,
      isDouble,
      isSquare === true,
      kept.counts,
      kept.sums,
      kept.extremes,
      kept.buckets,
    ]),
  ]);
}

function withoutColumn({ by, terms }: KeptShape, dropped: number): KeptShape {
  const moved = <Column extends KeptColumn>(each: Column): Column => ({
    ...each,
    column: each.column === dropped ? -1 : each.column > dropped ? each.column - 1 : each.column,
  });
  return { by: by.map(moved), terms: terms.map(moved) };
}
