import type { MemoryAccount } from '../base/memory.ts';
import { MemoryLease } from '../base/memory-lease.ts';
import type { Datum } from '../columns/values.ts';
import { KeyCounts } from './key-counts.ts';
import { carry, relaid, type TileLayout } from './tile-layout.ts';
import type { TileMeasures } from './tile-measures.ts';

/** Doubles of one that is kept for the next window: those of many groups are not. */
const SPARE_LENGTH_MAX = 4096;
/** Rows of the answer that it keeps room for. */
const SPARE_ROWS_MAX = 1024;
/** Of what is counted: what is more is accounted. */
const FREE_BYTES = 2 ** 16;

/** The groups of one window, each a tile; and the rows of the answer that they have become, until somebody takes them. */
export class Accumulator {
  layout: TileLayout;
  data: Float64Array;
  readonly groups: number[] = [];
  count = 0;
  /** Rows of the answer: written anew for each, so that none makes arrays. The first `rowCount` of all count. */
  rowCount = 0;
  readonly rowWindows: number[] = [];
  readonly rowGroups: number[] = [];
  /** Values, by call of the set. */
  readonly rowValues: readonly Datum[][];
  /** By group, slot + 1 of the window at hand: others are of windows before. */
  #slots = new Int32Array(16);
  #windows = new Int32Array(16);
  #window = 1;
  /** What groups count, by slot. */
  readonly #keys: KeyCounts | undefined;
  /** Keys of the only tile that was added, at a place of its page: they are read there, as long as there is no other. */
  #lent: KeyCounts | undefined;
  #lentPlace = 0;
  #mayLend = false;
  readonly kinds: number;
  readonly #lease: MemoryLease;
  #keyBytes = 0;

  constructor({ layout, keySpace, callCount }: TileMeasures, memory: MemoryAccount) {
    this.rowValues = Array.from({ length: callCount }, () => []);
    this.layout = layout.wider;
    this.data = this.layout.tiles(1);
    this.kinds = keySpace?.kinds ?? 0;
    this.#lease = new MemoryLease(memory);
    if (keySpace === undefined) return;
    this.#keys = new KeyCounts(this.kinds, keySpace.scratch, (bytes) => {
      // It only grows, until it is closed.
      this.#lease.take(
        Math.max(0, this.#keyBytes + bytes - FREE_BYTES) - Math.max(0, this.#keyBytes - FREE_BYTES),
      );
      this.#keyBytes += bytes;
    });
  }

  /** As small as one that is kept for the next window. */
  get isSmall(): boolean {
    return (
      this.data.length <= SPARE_LENGTH_MAX &&
      this.rowWindows.length <= SPARE_ROWS_MAX &&
      this.#lease.bytes === 0
    );
  }

  /** Once. */
  close(): void {
    this.#lease.close();
  }

  /** `mayLend`: pages stay what they are until the window is finished. */
  reset(layout: TileLayout, mayLend = false): void {
    this.#window += 1;
    this.count = 0;
    this.#keys?.reset();
    this.#lent = undefined;
    this.#mayLend = mayLend;
    if (layout === this.layout) return;
    this.layout = layout;
    this.data = layout.tiles(1);
  }

  /** Where the group's tile begins. */
  slotOf(group: number): number {
    if (group >= this.#slots.length) this.#grow(group);
    const { stride } = this.layout;
    if (this.#windows[group] === this.#window) return this.#slots[group]! * stride;
    const slot = this.count;
    this.#windows[group] = this.#window;
    this.#slots[group] = slot;
    this.groups[slot] = group;
    this.count += 1;
    if (this.count * stride > this.data.length) {
      const grown = new Float64Array(this.data.length * 2);
      grown.set(this.data);
      this.data = grown;
    }
    this.data.set(this.layout.empty, slot * stride);
    this.#keys?.grow(this.count * this.kinds);
    return slot * stride;
  }

  /** The first slice of what is counted for the tile that begins there. */
  sliceAt(at: number): number {
    return (at / this.layout.stride) * this.kinds;
  }

  /** To be added to. */
  get keys(): KeyCounts | undefined {
    this.#takeLent();
    return this.#keys;
  }

  /** What the groups have come to count, and the first slice of it for the tile that begins at `at`: to be read. */
  get shownKeys(): KeyCounts | undefined {
    return this.#lent ?? this.#keys;
  }

  shownSlice(at: number): number {
    return this.#lent === undefined ? this.sliceAt(at) : this.#lentPlace * this.kinds;
  }

  /** Adds what the tile at a place of a group's keys counts to that of the tile that begins at `at`; gives how many entries. */
  addKeys(at: number, from: KeyCounts, place: number): number {
    let entries = 0;
    for (let kind = 0; kind < this.kinds; kind += 1)
      entries += from.size(place * this.kinds + kind);
    if (this.#mayLend) {
      this.#mayLend = false;
      this.#lent = from;
      this.#lentPlace = place;
      return entries;
    }
    this.#takeLent();
    this.#addSlices(at, from, place);
    return entries;
  }

  /** Other keys come to those that were lent, which were of the first group. */
  #takeLent(): void {
    this.#mayLend = false;
    const lent = this.#lent;
    if (lent === undefined) return;
    this.#lent = undefined;
    this.#addSlices(0, lent, this.#lentPlace);
  }

  #addSlices(at: number, from: KeyCounts, place: number): void {
    const slice = this.sliceAt(at);
    for (let kind = 0; kind < this.kinds; kind += 1)
      this.#keys!.addSlice(slice + kind, from, place * this.kinds + kind);
  }

  adopt(layout: TileLayout): void {
    if (layout === this.layout) return;
    this.data = relaid(this.data, this.layout, layout);
    this.layout = layout;
  }

  /** Sums have room for another batch of rows. */
  settle(): void {
    for (let slot = 0; slot < this.count; slot += 1)
      carry(this.data, slot * this.layout.stride, this.layout);
  }

  #grow(group: number): void {
    let room = this.#slots.length;
    while (room <= group) room *= 2;
    const slots = new Int32Array(room);
    slots.set(this.#slots);
    this.#slots = slots;
    const windows = new Int32Array(room);
    windows.set(this.#windows);
    this.#windows = windows;
  }
}
