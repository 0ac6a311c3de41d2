/** Ids of one chunk: 4 KB, so that a view of a few rows stays small. */
const CHUNK_BITS = 9;
const CHUNK_SIZE = 1 << CHUNK_BITS;

/** Row ids by ordinal, both below 2^53, for ordinals that may only ever grow: chunks without an entry are let go. */
export class RowIdMap {
  readonly #chunks: (Chunk | undefined)[] = [];

  /** −1 where there is none. */
  get(ordinal: number): number {
    const chunk = this.#chunks[Math.floor(ordinal / CHUNK_SIZE)];
    return chunk === undefined ? -1 : chunk.ids[ordinal % CHUNK_SIZE]!;
  }

  /** `rowId` −1 takes the entry out. */
  set(ordinal: number, rowId: number): void {
    const index = Math.floor(ordinal / CHUNK_SIZE);
    let chunk = this.#chunks[index];
    if (chunk === undefined) {
      if (rowId < 0) return;
      while (this.#chunks.length <= index) this.#chunks.push(undefined);
      chunk = { ids: new Float64Array(CHUNK_SIZE).fill(-1), count: 0 };
      this.#chunks[index] = chunk;
    }
    const at = ordinal % CHUNK_SIZE;
    if (chunk.ids[at]! >= 0) chunk.count -= 1;
    if (rowId >= 0) chunk.count += 1;
    chunk.ids[at] = rowId;
    if (chunk.count === 0) this.#chunks[index] = undefined;
  }
}

type Chunk = { readonly ids: Float64Array; count: number };
