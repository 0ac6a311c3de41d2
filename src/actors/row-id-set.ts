/**
 * Row ids as bits: row ids are dense where many are meant, and a Set of a million numbers takes a second to fill and half a second to
 * empty. Whoever adds or takes away rows that lie together finds their bits without a look-up.
 */
export class RowIdSet {
  readonly #blocks = new Map<number, Uint32Array>();
  #block: Uint32Array | undefined;
  #blockIndex = -1;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** What the bits take, about; a block has its array and its place in the map. */
  get bytes(): number {
    return this.#blocks.size * (WORDS * 4 + 120);
  }

  has(id: number): boolean {
    const block = this.#blockOf(id);
    if (block === undefined) return false;
    const bit = id % BITS;
    return ((block[bit >>> 5]! >>> (bit & 31)) & 1) === 1;
  }

  /** False: it was there. */
  add(id: number): boolean {
    let block = this.#blockOf(id);
    if (block === undefined) {
      block = new Uint32Array(WORDS);
      this.#block = block;
      this.#blocks.set(this.#blockIndex, block);
    }
    const bit = id % BITS;
    const word = block[bit >>> 5]!;
    const next = word | (1 << (bit & 31));
    if (next >>> 0 === word) return false;
    block[bit >>> 5] = next;
    this.#size += 1;
    return true;
  }

  /** A block without bits stays: as many as there were may come again. */
  delete(id: number): boolean {
    if (!this.has(id)) return false;
    const bit = id % BITS;
    this.#block![bit >>> 5]! &= ~(1 << (bit & 31));
    this.#size -= 1;
    return true;
  }

  clear(): void {
    this.#blocks.clear();
    this.#block = undefined;
    this.#blockIndex = -1;
    this.#size = 0;
  }

  /** The one it is in is the one at hand, be there one or not. */
  #blockOf(id: number): Uint32Array | undefined {
    const index = Math.floor(id / BITS);
    if (index !== this.#blockIndex) {
      this.#blockIndex = index;
      this.#block = this.#blocks.get(index);
    }
    return this.#block;
  }
}

/** A block's array is small enough to lie in the heap: few rows here and there are no thousand allocations outside of it. */
const WORDS = 16;
const BITS = WORDS * 32;
