import { keptArray, keptDoubles } from '../base/kept-arrays.ts';
import type { MemoryAccount } from '../base/memory.ts';
import { SeededRandom } from '../base/random.ts';
import { checksumOfColumn, checksumOfSegment } from './checksum.ts';
import { kernelsOf } from './array-kernels.ts';
import { gather } from './build.ts';
import { encodeColumn, type EncodeSource, type SealedColumn } from './encode.ts';
import { CHUNK_ROWS } from './chunk-pool.ts';
import type { OpenSegment } from './open-segment.ts';
import { SealedSegment } from './segment.ts';
import type { StoredColumn } from './stored-column.ts';
import { sliceVector } from './vector.ts';

/**
 * Makes the sealed form of a segment's rows in bounded pieces: yields the number of values handled since the last yield, some tens of
 * microseconds of work each. The source goes on serving readers meanwhile.
 */
export function* seal(job: SealJob): Generator<number, SealedSegment> {
  const { source, columns } = job;
  const { rowCount } = source;
  const slotOf = yield* permutation(rowCount, job.seed, `segment/${job.number}/${job.generation}`);
  const sealed: (SealedColumn | undefined)[] = [];
  let byteLength = slotOf.byteLength + (job.ordinals?.byteLength ?? 0);
  let timeOrder: Uint16Array | undefined;
  let isDone = false;
  try {
    for (const column of columns) {
      while (sealed.length <= column.id) sealed.push(undefined);
      const encoded = yield* encodeColumn(column, source, slotOf, job.memory);
      let checksum: number | undefined;
      try {
        checksum = yield* checksumOfColumn(encoded);
      } finally {
        if (checksum === undefined) encoded.ownDictionary?.close();
      }
      sealed[column.id] = { ...encoded, checksum };
      byteLength += encoded.byteLength;
    }
    if (job.timeColumn !== undefined) {
      timeOrder = yield* orderByTime(job.timeColumn, source, slotOf);
      // Rows that arrived in the order of time share the permutation itself.
      if (timeOrder !== slotOf) byteLength += timeOrder.byteLength;
    }
    isDone = true;
  } finally {
    // Abandoned at a yield: the dictionaries made so far account for themselves.
    if (!isDone) for (const column of sealed) column?.ownDictionary?.close();
  }
  const { number, firstOrdinal, ordinals, generation } = job;
  const rows = { number, rowCount, firstOrdinal, slotOf, ordinals, timeOrder, generation };
  const checksum = checksumOfSegment(rows);
  return new SealedSegment({
    ...rows,
    columns: sealed,
    timeColumn: job.timeColumn?.id,
    byteLength,
    checksum,
  });
}

export type SealJob = {
  readonly source: EncodeSource;
  readonly number: number;
  readonly firstOrdinal: number;
  readonly ordinals: Uint16Array | undefined;
  readonly generation: number;
  readonly columns: readonly StoredColumn[];
  readonly timeColumn: StoredColumn | undefined;
  readonly seed: number;
  readonly memory: MemoryAccount | undefined;
};

/** All rows of a full open segment. */
export function openSource(segment: OpenSegment): EncodeSource {
  return {
    rowCount: segment.rowCount,
    read(column, start, count) {
      const { vector, offset } = segment.view(column, start);
      const first = (start % CHUNK_ROWS) + offset;
      return sliceVector(vector, first, first + count);
    },
  };
}

/** Some rows of a sealed segment, by slot, in arrival order. */
export function sealedSource(segment: SealedSegment, slots: Int32Array): EncodeSource {
  return {
    rowCount: slots.length,
    read(column, start, count) {
      const vector = gather(segment.vectorOf(column), slots.subarray(start, start + count), count);
      if (vector.rep !== 'number') return vector;
      const values = new Float64Array(count);
      kernelsOf(vector.values).decode(
        vector.values,
        0,
        count,
        vector.factor,
        vector.base,
        values,
        0,
      );
      return { ...vector, values, factor: 1, base: 0 };
    },
  };
}

/** A random order of `count` slots: Fisher and Yates by the stream that `label` names. */
function* permutation(count: number, seed: number, label: string): Generator<number, Uint16Array> {
  const slots = keptArray(Uint16Array, count);
  for (let from = 0; from < count; from += SHUFFLE_STEP) {
    number(slots, from, Math.min(count, from + SHUFFLE_STEP));
    yield SHUFFLE_STEP / 4;
  }
  const random = new SeededRandom(seed, label);
  const draws = new Uint32Array(Math.min(count, SHUFFLE_STEP));
  for (let last = count - 1; last > 0; last -= SHUFFLE_STEP) {
    const step = draws.subarray(0, Math.min(last, SHUFFLE_STEP));
    random.fill(step);
    shuffle(slots, last, step);
    yield SHUFFLE_STEP;
  }
  return slots;
}

function number(slots: Uint16Array, from: number, to: number): void {
  for (let index = from; index < to; index += 1) slots[index] = index;
}

/** A step for each draw: the slot at `last`, then the one before it, changes places with one that is drawn among those up to it. */
function shuffle(slots: Uint16Array, last: number, draws: Uint32Array): void {
  for (let index = 0; index < draws.length; index += 1) {
    const at = last - index;
    // A product of two 32-bit numbers fits a double; the bias of 2^−16 a draw is far below what a sample can show.
    const pick = Math.floor((draws[index]! * (at + 1)) / 0x1_0000_0000);
    const slot = slots[at]!;
    slots[at] = slots[pick]!;
    slots[pick] = slot;
  }
}

const SHUFFLE_STEP = 4096;

/** Slots ordered by the time column, ties and NULLs (last) in arrival order. */
function* orderByTime(
  column: StoredColumn,
  source: EncodeSource,
  slotOf: Uint16Array,
): Generator<number, Uint16Array> {
  const { rowCount } = source;
  const times = keptDoubles(rowCount);
  let isAscending = true;
  let before = -Infinity;
  for (let start = 0; start < rowCount; start += CHUNK_ROWS) {
    const count = Math.min(CHUNK_ROWS, rowCount - start);
    readTimes(source, column, start, count, times);
    if (isAscending) isAscending = isAscendingFrom(before, times, start, start + count);
    before = times[start + count - 1]!;
    yield count;
  }
  if (isAscending) return slotOf;
  return yield* radixOrder(times, slotOf);
}

function isAscendingFrom(before: number, times: Float64Array, start: number, end: number): boolean {
  let last = before;
  for (let row = start; row < end; row += 1) {
    const time = times[row]!;
    if (!(time >= last)) return false;
    last = time;
  }
  return true;
}

/** NULLs become NaN, which sorts last. Beyond 2^53 µs neighbours may tie: the order only narrows searches, values decide. */
function readTimes(
  source: EncodeSource,
  column: StoredColumn,
  start: number,
  count: number,
  times: Float64Array,
): void {
  // A source reads within one chunk of 8,192 rows.
  const vector = source.read(column, start, count);
  if (vector.rep === 'number' && vector.validity === undefined) {
    times.set(vector.values as Float64Array, start);
    return;
  }
  for (let row = 0; row < count; row += 1) {
    const isNull = vector.validity !== undefined && vector.validity[row] === 0;
    let time = NaN;
    if (!isNull && (vector.rep === 'number' || vector.rep === 'bigint'))
      time = Number(vector.values[row]!);
    else if (!isNull && vector.rep === 'object' && vector.values[row] !== null)
      time = Number(vector.values[row]);
    times[start + row] = time;
  }
}

/** Least significant digit first, 16 bits a pass, over doubles made to sort as unsigned integers; passes without effect are skipped. */
function* radixOrder(times: Float64Array, slotOf: Uint16Array): Generator<number, Uint16Array> {
  const count = times.length;
  const words = new Uint32Array(times.buffer);
  for (let row = 0; row < count; row += 1) {
    const high = words[2 * row + 1]!;
    if (times[row] !== times[row]) {
      words[2 * row] = 0xffff_ffff;
      words[2 * row + 1] = 0xffff_ffff;
    } else if (high >= 0x8000_0000) {
      words[2 * row] = ~words[2 * row]!;
      words[2 * row + 1] = ~high;
    } else {
      words[2 * row + 1] = high | 0x8000_0000;
    }
  }
  yield count;
  let order = new Uint16Array(count);
  let other = new Uint16Array(count);
  for (let row = 0; row < count; row += 1) order[row] = row;
  const halves = new Uint16Array(times.buffer);
  for (let digit = 0; digit < 4; digit += 1) {
    const starts = new Uint32Array(65_537);
    for (let row = 0; row < count; row += 1) starts[halves[4 * row + digit]! + 1]! += 1;
    yield count;
    if (starts[halves[digit]! + 1] === count) continue;
    for (let value = 0; value < 65_536; value += 1) starts[value + 1]! += starts[value]!;
    for (let index = 0; index < count; index += 1) {
      const row = order[index]!;
      const value = halves[4 * row + digit]!;
      other[starts[value]!] = row;
      starts[value]! += 1;
    }
    [order, other] = [other, order];
    yield count * 2;
  }
  for (let index = 0; index < count; index += 1) order[index] = slotOf[order[index]!]!;
  return order;
}
