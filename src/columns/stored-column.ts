import { assert } from '../base/errors.ts';
import type { MemoryAccount } from '../base/memory.ts';
import type { MemoryLease } from '../base/memory-lease.ts';
import { Dictionary } from './dictionary.ts';
import { DistinctSketch } from './distinct-sketch.ts';
import { isTextType, type SqlType } from './types.ts';
import type { Datum } from './values.ts';

/**
 * Up to here a text column keeps one dictionary for the whole table, however seldom texts repeat: grouping and joining then
 * index arrays by code, and a LIKE looks at each distinct text once. The first million rows of a large domain are nearly all new,
 * so judging earlier would drop the dictionaries that pay most.
 */
const DICTIONARY_SIZE_FREE = 1 << 20;
/** Arrays indexed by code stay below 64 MB. */
const DICTIONARY_SIZE_MAX = 1 << 22;

/**
 * What a table knows of one column for its whole life, whatever position or name the schema gives it. Segments hold their
 * columns by `id`.
 */
export class StoredColumn {
  readonly id: number;
  readonly type: SqlType;
  /** What rows of segments older than the column show. */
  readonly missing: Datum;
  readonly #memory: MemoryAccount | undefined;
  #dictionary: Dictionary | undefined;
  /** The one before it, which some rows still have their texts in. */
  #left: Dictionary | undefined;
  #limits = true;
  #sketch: DistinctSketch | undefined;
  readonly #lease: MemoryLease;
  /** Rows that went through the dictionary. */
  codedRowCount = 0;

  constructor(
    id: number,
    type: SqlType,
    missing: Datum,
    memory: MemoryAccount | undefined,
    lease: MemoryLease,
  ) {
    this.id = id;
    this.type = type;
    this.missing = missing;
    this.#memory = memory;
    this.#lease = lease;
  }

  /** Texts of the table, made when the first is to be stored; undefined for other types. */
  get dictionary(): Dictionary | undefined {
    if (this.#dictionary === undefined && isTextType(this.type)) {
      this.#dictionary = new Dictionary(this.#memory);
      this.#dictionary.limits = this.#limits;
    }
    return this.#dictionary;
  }

  get dictionaryIfAny(): Dictionary | undefined {
    return this.#dictionary;
  }

  /** While rows move from one dictionary to another: the one they leave. */
  get leftDictionary(): Dictionary | undefined {
    return this.#left;
  }

  /** Texts to come go into `dictionary`, which is filled with those of rows that live; the rows are to follow. */
  supersede(dictionary: Dictionary, rowCount: number): void {
    assert(this.#left === undefined, 'one dictionary is left at a time');
    this.#left = this.#dictionary!;
    this.#left.isSuperseded = true;
    dictionary.limits = this.#limits;
    this.#dictionary = dictionary;
    this.codedRowCount = rowCount;
  }

  /** No row needs the left dictionary any more: it is the caller's, to be closed when its last reader has gone. */
  releaseLeft(): Dictionary {
    const left = this.#left!;
    this.#left = undefined;
    return left;
  }

  /** False while a replay writes: memory is then never refused. */
  set limits(limits: boolean) {
    this.#limits = limits;
    if (this.#dictionary !== undefined) this.#dictionary.limits = limits;
    if (this.#left !== undefined) this.#left.limits = limits;
  }

  get isRaw(): boolean {
    return this.type.kind === 'uuid' || this.type.kind === 'bytea' || this.isDictionaryDropped;
  }

  /** Beyond `DICTIONARY_SIZE_FREE`, texts that hardly repeat (more than one new in four) do not pay: new chunks keep raw bytes. */
  get isDictionaryDropped(): boolean {
    const size = this.#dictionary?.size ?? 0;
    return (
      size > DICTIONARY_SIZE_FREE && (size >= DICTIONARY_SIZE_MAX || size > this.codedRowCount / 4)
    );
  }

  /** Distinct values of sealed segments, estimated; undefined before the first is sealed. */
  get sketch(): DistinctSketch | undefined {
    return this.#sketch;
  }

  sketchForSealing(): DistinctSketch {
    if (this.#sketch === undefined) {
      this.#sketch = new DistinctSketch();
      this.#lease.take(this.#sketch.byteLength);
    }
    return this.#sketch;
  }

  /** What a column of the same table knew when it was kept. */
  restore(kept: {
    readonly codedRowCount: number;
    readonly sketch?: Uint8Array | undefined;
  }): void {
    this.codedRowCount = kept.codedRowCount;
    if (kept.sketch === undefined) return;
    this.#sketch = new DistinctSketch(kept.sketch);
    this.#lease.take(this.#sketch.byteLength);
  }

  /** The dictionaries' memory; the rest is the lease's. */
  get memoryBytes(): number {
    return (this.#dictionary?.memoryBytes ?? 0) + (this.#left?.memoryBytes ?? 0);
  }

  close(): void {
    this.#dictionary?.close();
    this.#left?.close();
    if (this.#sketch !== undefined) this.#lease.give(this.#sketch.byteLength);
    this.#sketch = undefined;
  }
}
