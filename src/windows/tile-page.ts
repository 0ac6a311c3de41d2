import { assert } from '../base/errors.ts';
import type { MemoryLease } from '../base/memory-lease.ts';
import { KeyCounts, type KeySpace } from './key-counts.ts';
import { NoTiles } from './no-tiles.ts';
import { addTile, addTiles, carry, isNearTop, relaid, type TileLayout } from './tile-layout.ts';
import type { TileMeasures } from './tile-measures.ts';
import { BEFORE_AT, type Cut, dayRuns, FROM_AT, QUARTERS, roomForDayRuns } from './tile-time.ts';

/** What a page is beside its tiles: the object, its map. */
const PAGE_BYTES = 256;
/** What a typed array is beside its elements. */
const BLOCK_BYTES = 128;
const NO_TILES = new Float64Array(0);
/** Times in a row that a day is cut at one quarter before what lies on either side of it is added up for good: panels in turn of two zones do not add up in vain. */
const SPLIT_ASKS = 3;
/** Rows of such a day at most: so much that its sums stay exact whatever of it they are of. */
const SPLIT_ROWS_MAX = 2 ** 24;
/** Of the keys that a group counts in one page of several tiles: what is more is read from rows. */
const KEY_BYTES_MAX = 2 ** 22;

/**
 * The tiles of one stretch of time, by group: a block of doubles each, one tile behind the other, and beside it the keys that its tiles
 * count, where they count some. Pages are what is built, accounted and evicted.
 */
export class TilePage {
  layout: TileLayout;
  /**
   * The group that was asked for last, and its tiles. Most pages have one group, and a page is in no cache when a late row comes: each
   * object on the way to its tiles costs more than adding the row.
   */
  #group = -1;
  #block: Float64Array = NO_TILES;
  #keysOfGroup: KeyCounts | undefined;
  /** Of a day: what its quarters are cut into. */
  pieces: TilePage | undefined;
  /** Of pieces: how. */
  cut: Cut | undefined;
  /** Rows in it. */
  rows = 0;
  /** Rows added since sums were carried. */
  #additions = 0;
  /** How many groups it has. */
  groupCount = 0;
  readonly places: number;
  readonly blocks = new Map<number, Float64Array>();
  /** The same, for whoever reads all of them: one behind the other. */
  readonly groups: number[] = [];
  readonly data: Float64Array[] = [];
  /** In the same order, if keys are counted. */
  readonly keys: KeyCounts[] = [];
  readonly #keysOf = new Map<number, KeyCounts>();
  readonly #keySpace: KeySpace | undefined;
  /** Rows of the table in the same time: those that the filter refuses are read, too, where no tile ends. */
  sourceRows = 0;
  /** Of these, those that were read since it was made, or its pieces. */
  edgeRows = 0;
  /** Beyond it, it is no more worth its place. */
  bytesMax = Infinity;
  /** Reads, halved now and then: what was of use will be. */
  uses = 1;
  /** Of a day: the quarter at which it is split, or −1; the one that was asked for last, and how often. */
  #split = -1;
  #splitAsked = -1;
  #splitAsks = 0;
  #bytes = PAGE_BYTES;
  readonly #lease: MemoryLease;

  /** Throws 53200. */
  constructor(
    places: number,
    { layout, keySpace }: Pick<TileMeasures, 'layout' | 'keySpace'>,
    lease: MemoryLease,
  ) {
    this.places = places;
    this.layout = layout;
    this.#keySpace = keySpace;
    this.#lease = lease;
    lease.take(PAGE_BYTES);
  }

  get bytes(): number {
    return this.#bytes;
  }

  get countsKeys(): boolean {
    return this.#keySpace !== undefined;
  }

  /** The group of a page that has one alone, where it was the last that was asked for; else −1. */
  get onlyGroup(): number {
    return this.groupCount === 1 ? this.#group : -1;
  }

  /** The tiles of a group; throws 53200 where there is no room for them. */
  block(group: number): Float64Array {
    if (group === this.#group) return this.#block;
    let block = this.blocks.get(group);
    if (block === undefined) {
      this.#take(this.places * this.layout.stride * 8 + BLOCK_BYTES);
      if (this.#keySpace !== undefined) this.#addKeys(group, this.#keySpace);
      block = this.layout.tiles(this.places);
      this.blocks.set(group, block);
      this.groups.push(group);
      this.data.push(block);
      this.groupCount += 1;
    }
    this.#group = group;
    this.#block = block;
    if (this.#keySpace !== undefined) this.#keysOfGroup = this.#keysOf.get(group);
    return block;
  }

  #addKeys(group: number, { kinds, scratch }: KeySpace): void {
    let held = 0;
    const keys = new KeyCounts(this.places * kinds, scratch, (bytes) => {
      // One tile alone has no more keys than there are.
      if (this.places > 1 && held + bytes > KEY_BYTES_MAX) throw new NoTiles(true);
      this.#take(bytes);
      held += bytes;
    });
    // One tile alone is asked again and again, and stands for many.
    keys.isDense = this.places === 1;
    this.keys.push(keys);
    this.#keysOf.set(group, keys);
  }

  /** What the tiles of a group count; the group has a block. */
  keysOf(group: number): KeyCounts {
    const keys = group === this.#group ? this.#keysOfGroup : this.#keysOf.get(group);
    assert(keys !== undefined, 'a group that counts keys has a block');
    return keys;
  }

  /** Entries of keys in one tile, of all groups. */
  entriesAt(place: number): number {
    let entries = 0;
    for (const keys of this.keys)
      for (let kind = 0; kind < this.#keySpace!.kinds; kind += 1)
        entries += keys.size(place * this.#keySpace!.kinds + kind);
    return entries;
  }

  /** Keys of each group take as much room as they are. */
  trim(): void {
    for (const keys of this.keys) keys.trim();
  }

  /** Rows of all groups in one tile. */
  rowsAt(place: number): number {
    const at = place * this.layout.stride;
    // On the way lie as few objects as can be.
    if (this.onlyGroup >= 0) return this.#block[at]!;
    let rows = 0;
    const { data } = this;
    for (let index = 0; index < data.length; index += 1) rows += data[index]![at]!;
    return rows;
  }

  /** A number that depends on what a group's tile holds in memory, and says nothing. */
  lookAt(group: number, place: number): number {
    if (group !== this.#group) return 0;
    const rows = this.#block[place * this.layout.stride]!;
    const keys = this.#keysOfGroup;
    return keys === undefined ? rows : rows + keys.lookAt(place * this.#keySpace!.kinds);
  }

  /**
   * Of a day, all extremes of which are known: whether its tile at BEFORE_AT is what lies before a quarter, and that at FROM_AT the rest. Days of a zone begin at
   * one quarter for months, and a window that is one of them is two tiles then, and not twelve. A row that comes or goes ends it.
   */
  isSplitAt(quarter: number): boolean {
    if (quarter === this.#split) return true;
    if (quarter !== this.#splitAsked) {
      this.#splitAsked = quarter;
      this.#splitAsks = 0;
    }
    this.#splitAsks += 1;
    if (this.#splitAsks < SPLIT_ASKS || this.countsKeys || this.rows > SPLIT_ROWS_MAX) return false;
    const runs = roomForDayRuns();
    dayRuns(runs, 0, quarter);
    this.#addUp(runs, BEFORE_AT);
    dayRuns(runs, quarter, QUARTERS);
    this.#addUp(runs, FROM_AT);
    this.#split = quarter;
    return true;
  }

  #addUp(runs: Uint8Array, to: number): void {
    const { layout } = this;
    const { stride } = layout;
    for (const block of this.data) {
      block.set(layout.empty, to * stride);
      for (let run = 0; run < runs.length; run += 2)
        addTiles(block, to * stride, layout, block, runs[run]! * stride, layout, runs[run + 1]!);
    }
  }

  /** Takes the newest layout, in which every loaded row has room. */
  adopt(layout: TileLayout): void {
    if (layout === this.layout) return;
    const before = this.layout;
    this.#take(this.blocks.size * this.places * (layout.stride - before.stride) * 8);
    for (let index = 0; index < this.data.length; index += 1) {
      const moved = relaid(this.data[index]!, before, layout);
      this.data[index] = moved;
      this.blocks.set(this.groups[index]!, moved);
    }
    this.#group = -1;
    this.layout = layout;
  }

  /** To be called for each row added or taken back: sums stay exact however many there are. */
  noteAddition(measures: TileMeasures, most: number): void {
    this.#split = -1;
    this.#additions += 1;
    if (this.#additions < most) return;
    this.#additions = 0;
    this.settle(measures);
  }

  /** Carries all sums, and widens the layout where one comes near its end. */
  settle(measures: TileMeasures): void {
    if (!this.#carried()) return;
    if (measures.layout !== this.layout) {
      // Others may have widened it already.
      this.adopt(measures.layout);
      if (!this.#carried()) return;
    }
    measures.widenTops();
    this.adopt(measures.layout);
  }

  /** Carries all sums; gives whether one is near its end. */
  #carried(): boolean {
    const { layout } = this;
    let isNear = false;
    for (const block of this.data) {
      for (let at = 0; at < block.length; at += layout.stride) {
        carry(block, at, layout);
        if (isNearTop(block, at, layout)) isNear = true;
      }
    }
    return isNear;
  }

  /** The tile at `to` becomes the sum of `count` tiles from place `from` on, in every block. */
  rollUp(from: number, count: number, to: number): void {
    this.#split = -1;
    const { layout } = this;
    const { stride } = layout;
    for (const block of this.data) {
      block.set(layout.empty, to * stride);
      for (let place = from; place < from + count; place += 1)
        if (block[place * stride]! !== 0)
          addTile(block, to * stride, layout, block, place * stride, layout);
    }
    if (this.#keySpace === undefined) return;
    const { kinds } = this.#keySpace;
    for (const keys of this.keys) {
      for (let kind = 0; kind < kinds; kind += 1) {
        keys.clear(to * kinds + kind);
        for (let place = from; place < from + count; place += 1)
          keys.addSlice(to * kinds + kind, keys, place * kinds + kind);
      }
    }
  }

  close(): void {
    this.#lease.give(this.#bytes);
    this.#bytes = 0;
    this.#group = -1;
    this.#block = NO_TILES;
    this.groupCount = 0;
    this.blocks.clear();
    this.groups.length = 0;
    this.data.length = 0;
    this.keys.length = 0;
    this.#keysOf.clear();
  }

  /** Fewer than nought are given back. */
  #take(bytes: number): void {
    if (bytes < 0) this.#lease.give(-bytes);
    else this.#lease.take(bytes);
    this.#bytes += bytes;
  }
}
