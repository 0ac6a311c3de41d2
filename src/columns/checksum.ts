import { crc32 } from 'node:zlib';
import type { Dictionary } from './dictionary.ts';
import type { EncodedColumn } from './encode.ts';
import type { SealedParts } from './segment.ts';
import { Decimal, Interval, type Datum } from './values.ts';
import type { Vector } from './vector.ts';

/**
 * Checksums (CRC-32) of what must not change any more: they tell damaged memory and a stray write from the rows that were
 * written. All of them go on from the checksum before, so that parts are chained in one number.
 */
export function checksumOfArray(array: ArrayBufferView | undefined, before = 0): number {
  // Of no bytes at all zlib says 0, whatever came before: all that would be lost.
  if (array === undefined || array.byteLength === 0) return crc32('-', before);
  return crc32(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), before);
}

/** What the vector holds, and all that says how to read it. Texts behind codes are their dictionary's business. */
export function* checksumOfVector(vector: Vector, before = 0): Generator<number, number> {
  let sum = checksumOfArray(vector.validity, crc32(vector.rep, before));
  switch (vector.rep) {
    case 'number': {
      const { factor, base, scale, bounds } = vector;
      sum = crc32(`${factor} ${base} ${scale} ${textOfBounds(bounds)}`, sum);
      return checksumOfArray(vector.values, sum);
    }
    case 'bigint':
      return checksumOfArray(vector.values, crc32(`${vector.scale}`, sum));
    case 'boolean':
      return checksumOfArray(vector.values, sum);
    case 'dictionary':
      return checksumOfArray(vector.codes, sum);
    case 'bytes': {
      sum = checksumOfArray(vector.offsets, sum);
      // Texts may be long: a megabyte takes a third of a millisecond.
      for (let start = 0; start < vector.bytes.length; start += STEP_BYTES) {
        sum = crc32(vector.bytes.subarray(start, start + STEP_BYTES), sum);
        yield STEP_VALUES;
      }
      return sum;
    }
    case 'object': {
      const { values } = vector;
      for (let start = 0; start < values.length; start += STEP_VALUES) {
        const texts = values.slice(start, start + STEP_VALUES).map(textOfDatum);
        sum = crc32(texts.join('\n'), sum);
        yield STEP_VALUES * 4;
      }
      return sum;
    }
  }
}

/** Of a sealed column: values, zone map, what samples want to know, and the dictionary that is its alone. */
export function* checksumOfColumn(column: EncodedColumn): Generator<number, number> {
  const { vector, zone, ownDictionary, tails, rare } = column;
  const { rowCount, nullCount, min, max } = zone;
  let sum = yield* checksumOfVector(vector);
  sum = crc32(`${rowCount} ${nullCount} ${textOfDatum(min)} ${textOfDatum(max)}`, sum);
  if (tails !== undefined)
    sum = checksumOfArray(tails.slots, crc32(`${tails.min} ${tails.max}`, sum));
  if (rare !== undefined)
    for (const array of [rare.frequent, rare.codes, rare.starts, rare.slots])
      sum = checksumOfArray(array, sum);
  return ownDictionary === undefined
    ? sum
    : yield* checksumOfCodes(ownDictionary, 0, ownDictionary.size, sum);
}

/** Of a sealed segment, its columns aside. */
export function checksumOfSegment(
  segment: Omit<SealedParts, 'columns' | 'byteLength' | 'checksum'>,
): number {
  const { number, rowCount, firstOrdinal, generation, slotOf, ordinals, timeOrder } = segment;
  let sum = crc32(`${number} ${rowCount} ${firstOrdinal} ${generation}`);
  sum = checksumOfArray(ordinals, checksumOfArray(slotOf, sum));
  return timeOrder === slotOf ? sum : checksumOfArray(timeOrder, sum);
}

/** Texts of the codes [from, to): a dictionary only grows, so the checksum of a prefix goes on where it stood. */
export function* checksumOfCodes(
  dictionary: Dictionary,
  from: number,
  to: number,
  before = 0,
): Generator<number, number> {
  let sum = before;
  for (let code = from; code < to; code += 1) {
    const start = dictionary.byteStart(code);
    const end = start + dictionary.byteLength(code);
    LENGTH[0] = end - start;
    sum = crc32(dictionary.byteChunk(code).subarray(start, end), crc32(LENGTH_BYTES, sum));
    if (code % STEP_VALUES === STEP_VALUES - 1) yield STEP_VALUES * 8;
  }
  return sum;
}

/** At once, whatever it takes. */
export function drained<Result>(steps: Generator<number, Result>): Result {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/** Between two yields: some tens of microseconds. */
const STEP_VALUES = 256;
const STEP_BYTES = 1 << 18;
const LENGTH = new Uint32Array(1);
const LENGTH_BYTES = new Uint8Array(LENGTH.buffer);

type Bounds = Extract<Vector, { rep: 'number' }>['bounds'];

function textOfBounds(bounds: Bounds): string {
  if (bounds === undefined) return '';
  const { min, max, bitMin, bitEnd, finite } = bounds;
  return `${min} ${max} ${bitMin} ${bitEnd} ${finite}`;
}

/** Different for different data: the kind is told, and −0 from 0. */
function textOfDatum(datum: Datum | undefined): string {
  if (datum === undefined) return 'u';
  if (datum === null) return 'n';
  switch (typeof datum) {
    case 'boolean':
      return datum ? 't' : 'f';
    case 'number':
      return Object.is(datum, -0) ? 'd-0' : `d${datum}`;
    case 'bigint':
      return `i${datum}`;
    case 'string':
      return `s${datum.length}:${datum}`;
    default:
      if (datum instanceof Decimal) return `c${datum.coefficient} ${datum.scale} ${datum.special}`;
      if (datum instanceof Interval) return `v${datum.months} ${datum.days} ${datum.micros}`;
      return `b${checksumOfArray(datum)}`;
  }
}
