import type { MemoryAccount } from '../base/memory.ts';
import { checksumOfColumn } from './checksum.ts';
import { Deletes } from './deletes.ts';
import { Dictionary } from './dictionary.ts';
import { recodedColumn, type SealedColumn } from './encode.ts';
import type { OpenSegment } from './open-segment.ts';
import type { PostingIndex } from './posting-index.ts';
import type { SegmentStore } from './segment-store.ts';
import type { SealedSegment, SegmentList, SegmentState } from './segment.ts';
import type { StoredColumn } from './stored-column.ts';

/** What the renewal of texts needs of its table. */
export type TextRenewalHost = {
  readonly store: SegmentStore;
  readonly memory: MemoryAccount;
  columns(): readonly StoredColumn[];
  /** Those that hold keys as codes. */
  postings(): readonly PostingIndex[];
  /** What is published, and then what readers see who came earlier. */
  seen(): readonly SegmentList[];
  /** A truncation is staged: its undoing would bring segments back. */
  isTruncating(): boolean;
  /** The left dictionary is neither a row's nor an index's any more. */
  left(dictionary: Dictionary): void;
  /** In `segment`, `moved` stands in for the column `before`, which gives its bytes back when nobody can read it any more. */
  replace(segment: SealedSegment, id: number, before: SealedColumn, moved: SealedColumn): void;
};

/** When a dictionary is looked at, and renewed. */
export type TextBounds = {
  /** Smaller ones are not worth a look. */
  readonly bytesMin: number;
  /** Where fewer rows died since the last look, it is the bytes that came that ask for one. */
  readonly diedMin: number;
  /** That many died, as a share of those that lived at the last look, ask for one. */
  readonly diedShare: number;
  /** It is renewed where texts of living rows are not more of its bytes than this. */
  readonly livingShare: number;
  /** Commits between two questions whether a look is due; large ones count as many. */
  readonly commits: number;
};

const TEXT_BOUNDS: TextBounds = {
  bytesMin: 256 * 2 ** 10,
  diedMin: 4096,
  diedShare: 1 / 2,
  livingShare: 1 / 2,
  commits: 16,
};
/** Rows of a commit that count as one more. */
const ROWS_AS_A_COMMIT = 64;
/** Forced, it looks at all rows within a commit: at no more than this many (a few milliseconds). */
const FORCED_ROWS_MAX = 131_072;
/** What an entry of a dictionary takes beside its bytes, about. */
const ENTRY_BYTES = 20;
const STEP_ROWS = 8192;
/** One part in so many of a dictionary. */
const LITTLE_SHARE = 16;

/**
 * A dictionary only grows. When most of its bytes are texts that no living row has, its column gets another one with the others, and rows
 * follow segment by segment: in steps, beside readers, who go on with what they have. The old one is closed when nobody reads it and
 * history does not name it any more.
 *
 * It looks whenever the dictionary has doubled, or half the rows have died, since it looked last, so looking costs a constant a change, and texts take at
 * most some four times the bytes of those that live.
 */
export class TextRenewal {
  readonly #host: TextRenewalHost;
  readonly #bounds: TextBounds;
  /** Rows that died so far. */
  #died = 0;
  #commits = 0;
  #steps: Generator<number, void> | undefined;
  #isDue = false;
  /** By the id of the column: what the last look found. */
  readonly #looks: (Look | undefined)[] = [];

  constructor(host: TextRenewalHost, bounds = TEXT_BOUNDS) {
    this.#host = host;
    this.#bounds = bounds;
  }

  get isWanted(): boolean {
    return this.#isDue;
  }

  /** Rows of a published commit died, or were overwritten. */
  died(rowCount: number): void {
    this.#died += rowCount;
    this.#commits += 1 + rowCount / ROWS_AS_A_COMMIT;
    if (this.#isDue || this.#commits < this.#bounds.commits) return;
    this.#commits = 0;
    this.#isDue = this.#host.columns().some((column) => this.#isLookDue(column));
  }

  /** Works for `units` values and returns the units left: all of it done when some are. */
  run(units: number): number {
    let left = units;
    while (left > 0 && this.#isDue) {
      this.#steps ??= this.#renewal(false);
      const step = this.#steps.next();
      if (step.done !== true) {
        left -= step.value;
        continue;
      }
      this.#steps = undefined;
      this.#wait();
    }
    return left;
  }

  /** Memory is short: looks now, whatever it finds. Not where that would take long. */
  force(): void {
    const rows = this.#host.store.list.states.reduce(
      (sum, state) =>
        state === undefined || isAllDead(state) ? sum : sum + state.segment.rowCount,
      0,
    );
    if (rows > FORCED_ROWS_MAX) return;
    this.abandon();
    for (const _ of this.#renewal(true));
    this.#wait();
  }

  /** Done; what could not be ended yet is gone on with after the next commit. */
  #wait(): void {
    this.#isDue = false;
    this.#commits = this.#bounds.commits;
  }

  /** The columns change, or the table goes: what is done is done, and the rest begins anew. */
  abandon(): void {
    this.#steps?.return();
    this.#steps = undefined;
  }

  #isLookDue(column: StoredColumn): boolean {
    if (column.leftDictionary !== undefined) return true;
    const bytes = column.dictionaryIfAny?.memoryBytes ?? 0;
    const { bytesMin, diedMin, diedShare } = this.#bounds;
    if (bytes === 0 || bytes < bytesMin) return false;
    const look = this.#looks[column.id];
    const died = this.#died - (look?.died ?? 0);
    if (look === undefined || died === 0) return died > 0;
    return bytes >= 2 * look.bytes || died >= Math.max(diedMin, look.rows * diedShare);
  }

  *#renewal(isForced: boolean): Generator<number, void> {
    for (const column of this.#host.columns()) {
      if (column.leftDictionary === undefined) {
        const bytes = column.dictionaryIfAny?.memoryBytes ?? 0;
        const isDue = isForced
          ? bytes > 0 &&
            bytes >= this.#bounds.bytesMin &&
            this.#died > (this.#looks[column.id]?.died ?? 0)
          : this.#isLookDue(column);
        if (!isDue || !(yield* this.#begin(column, isForced))) continue;
      }
      yield* this.#move(column);
    }
  }

  /** Looks at the texts of a column; where most are dead, it gets another dictionary. */
  *#begin(column: StoredColumn, isForced: boolean): Generator<number, boolean> {
    const dictionary = column.dictionaryIfAny!;
    const died = this.#died;
    const living = yield* this.#livingTexts(column, dictionary);
    const { memoryBytes } = dictionary;
    // Both are held until history names the old one no more: where there is no room for that, it is for later, when fewer rows live.
    // Little is worth it at any rate.
    const hasRoom =
      isForced ||
      living.bytes * LITTLE_SHARE < memoryBytes ||
      this.#host.memory.hasRoomFor(2 * living.bytes);
    if (living.bytes > memoryBytes * this.#bounds.livingShare || !hasRoom) {
      this.#looks[column.id] = { bytes: memoryBytes, died, rows: living.rows };
      return false;
    }
    const next = new Dictionary(this.#host.memory);
    next.limits = false;
    let isDone = false;
    try {
      for (let code = 0; code < dictionary.size; code += 1) {
        if ((living.codes[code >>> 3]! & (1 << (code & 7))) === 0) continue;
        addText(dictionary, code, next);
        yield 8 + (dictionary.byteLength(code) >>> 4);
      }
      isDone = true;
    } finally {
      if (!isDone) next.close();
    }
    column.supersede(next, living.rows);
    this.#looks[column.id] = { bytes: next.memoryBytes, died, rows: living.rows };
    return true;
  }

  /** Those that rows have which live now, rows that came meanwhile perhaps not among them: a bit for each code. */
  *#livingTexts(
    column: StoredColumn,
    dictionary: Dictionary,
  ): Generator<
    number,
    { readonly codes: Uint8Array; readonly bytes: number; readonly rows: number }
  > {
    const { size } = dictionary;
    const seen = new Uint8Array((size >>> 3) + 1);
    let bytes = 0;
    let rows = 0;
    const see = (code: number): void => {
      const bit = 1 << (code & 7);
      if (code >= size || (seen[code >>> 3]! & bit) !== 0) return;
      seen[code >>> 3]! |= bit;
      bytes += dictionary.byteLength(code) + ENTRY_BYTES;
    };
    for (const state of this.#host.store.list.states) {
      if (state === undefined || isAllDead(state)) continue;
      const { segment, deletes } = state;
      rows += segment.rowCount - (deletes?.count ?? 0);
      for (let start = 0; start < segment.rowCount; start += STEP_ROWS) {
        const end = Math.min(start + STEP_ROWS, segment.rowCount);
        if (segment.kind === 'open' && segment.isClosed) break;
        const vector =
          segment.kind === 'open'
            ? segment.chunkVector(column, start / STEP_ROWS)
            : segment.columns[column.id]?.vector;
        if (vector?.rep === 'dictionary' && vector.dictionary === dictionary) {
          const { codes, validity } = vector;
          const first = segment.kind === 'open' ? start : 0;
          for (let place = start; place < end; place += 1) {
            const at = place - first;
            if (validity !== undefined && validity[at] === 0) continue;
            if (deletes?.has(place) !== true) see(codes[at]!);
          }
        }
        yield end - start;
      }
    }
    return { codes: seen, bytes, rows };
  }

  /** Whatever has its texts elsewhere than in the column's dictionary gets them there. */
  *#move(column: StoredColumn): Generator<number, void> {
    const codes = new Recoding(column);
    // What an undone commit brings back may have to be moved then.
    for (;;) {
      let moved = 0;
      for (const state of this.#host.store.list.states) {
        if (state === undefined) continue;
        moved +=
          state.segment.kind === 'open'
            ? yield* this.#moveOpen(column, state, codes)
            : yield* this.#moveSealed(column, state.segment, codes);
      }
      for (const index of this.#host.postings()) moved += yield* moveKeys(column, index, codes);
      if (moved === 0) break;
    }
    if (this.#host.isTruncating()) return;
    this.#host.left(column.releaseLeft());
  }

  *#moveOpen(
    column: StoredColumn,
    { segment }: SegmentState,
    codes: Recoding,
  ): Generator<number, number> {
    if (segment.kind !== 'open') return 0;
    let moved = 0;
    for (const chunk of segment.chunksToRecode(column)) {
      if (segment.isClosed) break;
      // Rows of an open segment are read where they stand by whoever came before they died.
      const isDead = deadFor(this.#host.seen(), segment);
      segment.recode(column, chunk, (from, code, place) =>
        isDead(place) ? codes.blank() : codes.of(from, code),
      );
      moved += 1;
      yield STEP_ROWS * 2;
    }
    return moved;
  }

  *#moveSealed(
    column: StoredColumn,
    segment: SealedSegment,
    codes: Recoding,
  ): Generator<number, number> {
    const sealed = segment.columns[column.id];
    if (
      sealed?.vector.rep !== 'dictionary' ||
      sealed.ownDictionary !== undefined ||
      sealed.vector.dictionary === column.dictionaryIfAny
    )
      return 0;
    const from = sealed.vector.dictionary;
    // Who came before goes on with the segment as it is. A copy: commits to come mark their deletes in that bitmap.
    const state = stateIn(this.#host.seen()[0]!, segment.number);
    const dead =
      state?.segment === segment && state.deletes !== undefined
        ? new Deletes(-1, state.deletes)
        : undefined;
    const encoded = yield* recodedColumn(sealed, column.dictionaryIfAny!, (code, slot) =>
      dead?.has(slot) === true ? codes.blank() : codes.of(from, code),
    );
    const moved: SealedColumn = { ...encoded, checksum: yield* checksumOfColumn(encoded) };
    const now = stateIn(this.#host.store.list, segment.number)?.segment;
    // Compacted or truncated away meanwhile, or its columns are others: it is met again if it is still there.
    if (now === segment && segment.columns[column.id] === sealed)
      this.#host.replace(segment, column.id, sealed, moved);
    return 1;
  }
}

type Look = { readonly bytes: number; readonly died: number; readonly rows: number };

const NOBODY = (): boolean => false;

/** Codes of a column's dictionary for those of others. */
class Recoding {
  readonly #column: StoredColumn;
  /** Code + 1 by that of the dictionary met last; 0 where not known yet. */
  #codes = new Int32Array(0);
  #from: Dictionary | undefined;

  constructor(column: StoredColumn) {
    this.#column = column;
  }

  of(from: Dictionary, code: number): number {
    if (from !== this.#from || code >= this.#codes.length) {
      const codes = new Int32Array(from.size);
      if (from === this.#from) codes.set(this.#codes);
      this.#codes = codes;
      this.#from = from;
    }
    const known = this.#codes[code]!;
    if (known > 0) return known - 1;
    const added = addText(from, code, this.#column.dictionary!);
    this.#codes[code] = added + 1;
    return added;
  }

  /** Of a row that nobody reads any more. */
  blank(): number {
    const dictionary = this.#column.dictionary!;
    return dictionary.size === 0 ? dictionary.add('') : 0;
  }
}

function* moveKeys(
  column: StoredColumn,
  index: PostingIndex,
  codes: Recoding,
): Generator<number, number> {
  let moved = 0;
  for (const chunk of index.chunksToRecode(column)) {
    index.recode(column, chunk, (from, code) =>
      code === undefined ? codes.blank() : codes.of(from, code),
    );
    moved += 1;
    yield STEP_ROWS;
  }
  return moved;
}

function addText(from: Dictionary, code: number, to: Dictionary): number {
  const start = from.byteStart(code);
  return to.addBytes(from.byteChunk(code), start, start + from.byteLength(code));
}

function isAllDead({ segment, deletes }: SegmentState): boolean {
  return deletes !== undefined && deletes.count >= segment.rowCount;
}

function stateIn(list: SegmentList, number: number): SegmentState | undefined {
  return list.states[number - list.first];
}

/** Whether the row at a place of a segment is dead in each list that has the segment, the first of which is what is published. */
function deadFor(lists: readonly SegmentList[], segment: OpenSegment): (place: number) => boolean {
  const states = lists.map((list) => stateIn(list, segment.number));
  if (states[0]?.segment !== segment) return NOBODY;
  const all = states.flatMap((state) => (state?.segment === segment ? [state.deletes] : []));
  return (place) => all.every((deletes) => deletes?.has(place) === true);
}
