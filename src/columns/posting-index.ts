import { ChunkedInt32, ChunkedUint53 } from '../base/chunked.ts';
import { assert, DbError } from '../base/errors.ts';
import { HashParts } from '../base/hash-parts.ts';
import type { MemoryLease } from '../base/memory-lease.ts';
import { datumAt, equalCells } from './cells.ts';
import { hashRow } from './build.ts';
import { hashesOf, hasNull } from './unique-index.ts';
import type { Dictionary } from './dictionary.ts';
import type { IndexSchema } from './table-contract.ts';
import type { StoredColumn } from './stored-column.ts';
import type { Vector } from './vector.ts';
import { VectorBuilder } from './vector-builder.ts';

/** Keys a chunk of the key columns holds. */
const KEY_CHUNK_ROWS = 8192;
const KEY_CHUNK_BITS = 13;
/** Where there is room for so many pairs, and one in SPARSE_SHARE is there, the others move to where they take as much as they need. */
const SPARSE_ROOM_MIN = 4096;
const SPARSE_SHARE = 8;
/** Pairs that move with each that comes or goes meanwhile. */
const MOVED_AT_ONCE = 4;
/** A block's cells: the next block, what `blockMeta` packs, then row ids. */
const BLOCK_HEAD = 2;
const BLOCK_SIZE_LOG_MIN = 1;
const BLOCK_SIZE_LOG_MAX = 10;

/** Size (a power of two), entries used, and whether they ascend, in one cell. */
const blockMeta = (sizeLog: number, used: number, isSorted: boolean): number =>
  sizeLog | (used << 4) | (isSorted ? 1 << 20 : 0);
/** What a pair of its own key takes, about. */
const PAIR_BYTES = 80;

const sizeLogOf = (meta: number): number => meta & 15;
const usedOf = (meta: number): number => (meta >>> 4) & 0xffff;
const isSortedOf = (meta: number): boolean => meta >>> 20 === 1;

/**
 * Keys → lists of row ids, for joins and look-ups: a secondary index, and the arrangement that join views share. Holds each
 * distinct key once (texts as codes of the table's dictionary) and its row ids in linked blocks of one arena, doubling from 2 to 1,024.
 * Like UniqueIndex it holds pairs for every version that a reader may see, as a multiset; keys with a NULL are not in it.
 *
 * Neither groups nor blocks are moved. When most pairs have gone the others are copied to another index, some with each change, and what
 * comes and goes meanwhile does so in both; then that one's room is this one's. Nobody remembers groups or blocks beyond a call.
 */
export class PostingIndex {
  /** Column positions follow the table's columns when one is dropped. */
  schema: IndexSchema;
  readonly #lease: MemoryLease;
  readonly #columns: readonly StoredColumn[];
  /** Hash of a key → its group. */
  #hashes: HashParts;
  /** The keys by group, in chunks, one list a column. */
  #keys: VectorBuilder[][];
  #heads: ChunkedInt32;
  #tails: ChunkedInt32;
  #counts: ChunkedInt32;
  #arena: ChunkedUint53;
  /** First free block by the logarithm of its size, linked; 0: none. */
  #freeBlocks: number[] = Array.from({ length: BLOCK_SIZE_LOG_MAX + 1 }, () => 0);
  /** First freed group, linked by `#heads`; −1: none. */
  #freeGroup = -1;
  #groupCount = 0;
  #rowCount = 0;
  /** Where the pairs of groups below `#movedTo` are, too. */
  #next: PostingIndex | undefined;
  #movedTo = 0;
  /** Where there was no memory for that it is tried again with fewer pairs. */
  #triedAt = Infinity;

  constructor(schema: IndexSchema, lease: MemoryLease, columns: readonly StoredColumn[]) {
    this.schema = schema;
    this.#lease = lease;
    this.#columns = columns;
    this.#hashes = new HashParts(lease);
    this.#keys = columns.map(() => []);
    this.#heads = new ChunkedInt32(lease);
    this.#tails = new ChunkedInt32(lease);
    this.#counts = new ChunkedInt32(lease);
    this.#arena = new ChunkedUint53(lease);
  }

  /** Distinct keys. */
  get keyCount(): number {
    return this.#groupCount;
  }

  /** Pairs held. */
  get rowCount(): number {
    return this.#rowCount;
  }

  /** Adds rows [start, start + rowCount) under row ids from `firstRowId` on; nothing was added when it throws 53200. */
  insertRange(keys: readonly Vector[], start: number, rowCount: number, firstRowId: number): void {
    const end = start + rowCount;
    const hashes = hashesOf(keys, start, end);
    let row = start;
    try {
      for (; row < end; row += 1) {
        this.#insert(keys, row, hashes[row - start]!, firstRowId + row - start);
      }
    } catch (cause) {
      for (let undo = start; undo < row; undo += 1)
        this.remove(keys, undo, firstRowId + undo - start);
      throw cause;
    }
  }

  insert(keys: readonly Vector[], row: number, rowId: number): void {
    this.#insert(keys, row, hashRow(keys, row), rowId);
  }

  remove(keys: readonly Vector[], row: number, rowId: number): void {
    if (hasNull(keys, row)) return;
    const hash = hashRow(keys, row);
    const group = this.find(keys, row, hash);
    if (group < 0) return;
    if (!this.#removeFrom(group, rowId)) return;
    this.#rowCount -= 1;
    const count = this.#counts.get(group) - 1;
    this.#counts.set(group, count);
    if (group < this.#movedTo) this.#next!.remove(keys, row, rowId);
    if (count === 0) this.#freeGroupOf(group, hash);
    this.#shrink();
  }

  /** The group of the key in entry `row`, or −1; keys with a NULL have none. */
  find(keys: readonly Vector[], row: number, hash: number): number {
    if (hasNull(keys, row)) return -1;
    for (let group = this.#hashes.first(hash); group >= 0; group = this.#hashes.next()) {
      if (this.#hasKey(group, keys, row)) return group;
    }
    return -1;
  }

  countOf(group: number): number {
    return this.#counts.get(group);
  }

  /** Appends the block's row ids to `out`; returns the next block, 0 at the end. */
  #readBlock(block: number, out: number[]): number {
    const used = usedOf(this.#arena.get(block + 1));
    for (let index = 0; index < used; index += 1)
      out.push(this.#arena.get(block + BLOCK_HEAD + index));
    return this.#arena.get(block);
  }

  candidates(keys: readonly Vector[], row: number, hash: number, out: number[]): void {
    const group = this.find(keys, row, hash);
    if (group < 0) return;
    for (let block = this.#heads.get(group); block !== 0;) block = this.#readBlock(block, out);
  }

  /** Chunks of keys that hold codes of another dictionary than their column's: by the key's column and number. */
  *chunksToRecode(column: StoredColumn): Generator<readonly [position: number, chunk: number]> {
    // What has moved is moved again: then to codes of today.
    this.#giveUpMoving();
    for (let position = 0; position < this.#columns.length; position += 1) {
      if (this.#columns[position]!.id !== column.id) continue;
      const chunks = this.#keys[position]!;
      for (let chunk = 0; chunk < chunks.length; chunk += 1) {
        const { dictionary } = chunks[chunk]!;
        if (dictionary !== undefined && dictionary !== column.dictionaryIfAny)
          yield [position, chunk];
      }
    }
  }

  /** Keys become codes of the table's dictionary; undefined stands in for the code of a key that is gone. */
  recode(
    column: StoredColumn,
    [position, chunk]: readonly [number, number],
    codeOf: (from: Dictionary, code: number | undefined) => number,
  ): void {
    const builder = this.#keys[position]![chunk]!;
    const from = builder.dictionary!;
    const first = chunk * KEY_CHUNK_ROWS;
    builder.recode(column.dictionary!, (code, row) =>
      codeOf(from, this.#counts.get(first + row) === 0 ? undefined : code),
    );
  }

  close(): void {
    this.#giveUpMoving();
    this.#hashes.clear();
    for (const chunks of this.#keys) for (const chunk of chunks) chunk.close();
    this.#heads.clear();
    this.#tails.clear();
    this.#counts.clear();
    this.#arena.clear();
  }

  #insert(keys: readonly Vector[], row: number, hash: number, rowId: number): void {
    let group = this.find(keys, row, hash);
    if (group < 0) {
      if (hasNull(keys, row)) return;
      group = this.#newGroup(keys, row, hash);
    }
    try {
      this.#append(group, rowId);
    } catch (cause) {
      if (this.#counts.get(group) === 0) this.#freeGroupOf(group, hash);
      throw cause;
    }
    this.#counts.set(group, this.#counts.get(group) + 1);
    this.#rowCount += 1;
    if (this.#next === undefined) return;
    this.#withinMemory(() => {
      if (group < this.#movedTo) this.#next!.#insert(keys, row, hash, rowId);
      this.#moveSome();
    });
  }

  /** Some pair has gone: begins to move the others where they are few, or goes on. Never refused. */
  #shrink(): void {
    if (this.#next !== undefined) {
      this.#withinMemory(() => this.#moveSome());
      return;
    }
    const room = this.#arena.length / 2;
    if (room < SPARSE_ROOM_MIN || this.#rowCount * SPARSE_SHARE > room) return;
    if (this.#rowCount * 2 > this.#triedAt && this.#rowCount > 0) return;
    // Both are held until the last has moved, and what is kept for deleting is not for that.
    if (!this.#lease.hasRoomFor(this.#rowCount * PAIR_BYTES)) this.#triedAt = this.#rowCount;
    else
      this.#withinMemory(() => {
        this.#next = new PostingIndex(this.schema, this.#lease, this.#columns);
        this.#moveSome();
      });
  }

  /** The pairs of the next groups go where they will be; with the last of them the room they had is given back. */
  #moveSome(): void {
    const next = this.#next!;
    const end = this.#rowCount === 0 ? 0 : this.#heads.length;
    let left = MOVED_AT_ONCE;
    for (; this.#movedTo < end && left > 0; this.#movedTo += 1) {
      const group = this.#movedTo;
      left -= 1 / SPARSE_SHARE;
      if (this.#counts.get(group) === 0) continue;
      const keys = this.#keysOf(group);
      const hash = hashRow(keys, 0);
      const rowIds: number[] = [];
      for (let block = this.#heads.get(group); block !== 0;) block = this.#readBlock(block, rowIds);
      const found = next.find(keys, 0, hash);
      const copy = found < 0 ? next.#newGroup(keys, 0, hash) : found;
      for (const rowId of rowIds) next.#append(copy, rowId);
      next.#counts.set(copy, next.#counts.get(copy) + rowIds.length);
      next.#rowCount += rowIds.length;
      left -= rowIds.length;
    }
    if (this.#movedTo < end) return;
    assert(next.#rowCount === this.#rowCount, 'all pairs have moved');
    next.#giveUpMoving();
    this.#next = undefined;
    this.#movedTo = 0;
    this.#triedAt = Infinity;
    this.close();
    this.#hashes = next.#hashes;
    this.#keys = next.#keys;
    this.#heads = next.#heads;
    this.#tails = next.#tails;
    this.#counts = next.#counts;
    this.#arena = next.#arena;
    this.#freeBlocks = next.#freeBlocks;
    this.#freeGroup = next.#freeGroup;
    this.#groupCount = next.#groupCount;
  }

  #keysOf(group: number): readonly Vector[] {
    const at = group & (KEY_CHUNK_ROWS - 1);
    return this.#keys.map((chunks) => chunks[group >>> KEY_CHUNK_BITS]!.slice(at, at + 1));
  }

  #giveUpMoving(): void {
    this.#next?.close();
    this.#next = undefined;
    this.#movedTo = 0;
  }

  /** Where memory is short the pairs stay where they are. */
  #withinMemory(action: () => void): void {
    try {
      action();
    } catch (cause) {
      if (!(cause instanceof DbError && cause.code === '53200')) throw cause;
      this.#giveUpMoving();
      this.#triedAt = this.#rowCount;
    }
  }

  #hasKey(group: number, keys: readonly Vector[], row: number): boolean {
    const chunkIndex = group >>> KEY_CHUNK_BITS;
    const at = group & (KEY_CHUNK_ROWS - 1);
    for (let column = 0; column < keys.length; column += 1) {
      const chunk = this.#keys[column]![chunkIndex]!;
      const mine = chunk.peek();
      if (
        mine === undefined
          ? !equalCells(chunk.slice(at, at + 1), 0, keys[column]!, row)
          : !equalCells(mine, at, keys[column]!, row)
      ) {
        return false;
      }
    }
    return true;
  }

  #newGroup(keys: readonly Vector[], row: number, hash: number): number {
    const reused = this.#freeGroup;
    const group = reused >= 0 ? reused : this.#heads.length;
    const chunkIndex = group >>> KEY_CHUNK_BITS;
    const at = group & (KEY_CHUNK_ROWS - 1);
    for (let column = 0; column < keys.length; column += 1) {
      const chunks = this.#keys[column]!;
      if (chunks.length === chunkIndex) chunks.push(this.#newKeyChunk(this.#columns[column]!));
      const chunk = chunks[chunkIndex]!;
      if (chunk.length <= at) chunk.append(keys[column]!, undefined, row, 1);
      else chunk.setDatum(at, datumAt(keys[column]!, row));
    }
    this.#heads.reserve(group + 1);
    this.#tails.reserve(group + 1);
    this.#counts.reserve(group + 1);
    this.#hashes.add(hash, group);
    if (reused >= 0) {
      this.#freeGroup = this.#heads.get(reused);
      this.#heads.set(group, 0);
      this.#tails.set(group, 0);
      this.#counts.set(group, 0);
    } else {
      this.#heads.push(0);
      this.#tails.push(0);
      this.#counts.push(0);
    }
    this.#groupCount += 1;
    return group;
  }

  #newKeyChunk(column: StoredColumn): VectorBuilder {
    const raw = column.isRaw;
    return new VectorBuilder(column.type, {
      lease: this.#lease,
      capacityMax: KEY_CHUNK_ROWS,
      raw,
      dictionary: raw ? undefined : column.dictionary,
    });
  }

  #freeGroupOf(group: number, hash: number): void {
    for (let block = this.#heads.get(group); block !== 0;) {
      const next = this.#arena.get(block);
      this.#freeBlock(block);
      block = next;
    }
    this.#hashes.remove(hash, group);
    this.#heads.set(group, this.#freeGroup);
    this.#freeGroup = group;
    this.#groupCount -= 1;
  }

  #append(group: number, rowId: number): void {
    const tail = this.#tails.get(group);
    let sizeLog = BLOCK_SIZE_LOG_MIN;
    if (tail !== 0) {
      const meta = this.#arena.get(tail + 1);
      const used = usedOf(meta);
      if (used < 1 << sizeLogOf(meta)) {
        const isSorted = isSortedOf(meta) && this.#arena.get(tail + BLOCK_HEAD + used - 1) <= rowId;
        this.#arena.set(tail + BLOCK_HEAD + used, rowId);
        this.#arena.set(tail + 1, blockMeta(sizeLogOf(meta), used + 1, isSorted));
        return;
      }
      sizeLog = Math.min(BLOCK_SIZE_LOG_MAX, sizeLogOf(meta) + 1);
    }
    const block = this.#newBlock(sizeLog);
    this.#arena.set(block + BLOCK_HEAD, rowId);
    this.#arena.set(block + 1, blockMeta(sizeLog, 1, true));
    if (tail === 0) this.#heads.set(group, block);
    else this.#arena.set(tail, block);
    this.#tails.set(group, block);
  }

  #removeFrom(group: number, rowId: number): boolean {
    let before = 0;
    for (let block = this.#heads.get(group); block !== 0;) {
      const meta = this.#arena.get(block + 1);
      const used = usedOf(meta);
      const next = this.#arena.get(block);
      const index = this.#indexIn(block, used, isSortedOf(meta), rowId);
      if (index >= 0) {
        for (let later = index + 1; later < used; later += 1) {
          this.#arena.set(
            block + BLOCK_HEAD + later - 1,
            this.#arena.get(block + BLOCK_HEAD + later),
          );
        }
        this.#arena.set(block + 1, blockMeta(sizeLogOf(meta), used - 1, isSortedOf(meta)));
        if (used === 1) this.#unlink(group, before, block, next);
        return true;
      }
      before = block;
      block = next;
    }
    return false;
  }

  /** Row ids mostly arrive in order: long lists are walked by block, not by row. */
  #indexIn(block: number, used: number, isSorted: boolean, rowId: number): number {
    const first = block + BLOCK_HEAD;
    if (!isSorted) {
      for (let index = 0; index < used; index += 1)
        if (this.#arena.get(first + index) === rowId) return index;
      return -1;
    }
    let low = 0;
    let high = used;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#arena.get(first + middle) < rowId) low = middle + 1;
      else high = middle;
    }
    return low < used && this.#arena.get(first + low) === rowId ? low : -1;
  }

  #unlink(group: number, before: number, block: number, next: number): void {
    if (before === 0) this.#heads.set(group, next);
    else this.#arena.set(before, next);
    if (next === 0) this.#tails.set(group, before);
    this.#freeBlock(block);
  }

  #newBlock(sizeLog: number): number {
    const free = this.#freeBlocks[sizeLog]!;
    if (free !== 0) {
      this.#freeBlocks[sizeLog] = this.#arena.get(free);
      this.#arena.set(free, 0);
      return free;
    }
    // Address 0 means none: the arena begins with an unused cell.
    const block = Math.max(1, this.#arena.length);
    this.#arena.extend(block + BLOCK_HEAD + (1 << sizeLog));
    this.#arena.set(block, 0);
    return block;
  }

  #freeBlock(block: number): void {
    const sizeLog = sizeLogOf(this.#arena.get(block + 1));
    this.#arena.set(block, this.#freeBlocks[sizeLog]!);
    this.#freeBlocks[sizeLog] = block;
  }
}
