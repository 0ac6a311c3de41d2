import { carry, relaid, type TileLayout } from './tile-layout.ts';

/** The groups of one window, each a tile. */
export class Accumulator {
  layout: TileLayout;
  data: Float64Array;
  readonly groups: number[] = [];
  count = 0;
  /** By group, slot + 1 of the window at hand: others are of windows before. */
  #slots = new Int32Array(16);
  #windows = new Int32Array(16);
  #window = 1;

  constructor(layout: TileLayout) {
    this.layout = layout;
    this.data = layout.tiles(1);
  }

  reset(layout: TileLayout): void {
    this.#window += 1;
    this.count = 0;
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
    return slot * stride;
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
