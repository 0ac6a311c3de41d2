import { keptArray, keptInts } from '../base/kept-arrays.ts';
import { assert } from '../base/errors.ts';
import type { MemoryAccount } from '../base/memory.ts';
import { kernelsOf } from './array-kernels.ts';
import { datumAt, hashDouble, hashNumber } from './cells.ts';
import { Dictionary } from './dictionary.ts';
import { hashRows } from './build.ts';
import type { DistinctSketch } from './distinct-sketch.ts';
import type { StoredColumn } from './stored-column.ts';
import { isTextType } from './types.ts';
import { compareBytes, decodeText, mixHash } from './utf8.ts';
import { Decimal, normalInteger, type Datum } from './values.ts';
import { NumberStats } from './number-stats.ts';
import { countsOf, rareValuesBytes, rareValuesOf, type RareValues } from './rare-values.ts';
import { tailsOf, type Tails } from './tails.ts';
import type { NumberArray, Vector } from './vector.ts';
import { objectBytes } from './vector-builder.ts';
import type { ZoneMap } from './zone-map.ts';

/** A column of a sealed segment, by slot. */
export type SealedColumn = EncodedColumn & {
  /** Of all there is of it (`checksumOfColumn`), taken when it was sealed. */
  readonly checksum: number;
};

export type EncodedColumn = {
  readonly vector: Vector;
  readonly zone: ZoneMap;
  /** Bytes of the arrays (the dictionaries aside, which account for themselves). */
  readonly byteLength: number;
  /** A dictionary of this segment alone: closed with it. */
  readonly ownDictionary: Dictionary | undefined;
} & SampleNotes;

/** What a sample of the rows wants to know beforehand; it follows from the values. */
export type SampleNotes = {
  /** Numbers only, and only where some lie far from the others. */
  readonly tails?: Tails | undefined;
  /** Of columns that rows are grouped by: texts of the table's dictionary and whole numbers, where there are not too many. */
  readonly rare?: RareValues | undefined;
};

/**
 * `isOwn`: its texts have a dictionary that is the segment's alone. `counts`: of numbers that were encoded in at most two bytes without a
 * sign, how often each occurs; not to be used any more.
 */
export function* sampleNotesOf(
  vector: Vector,
  isOwn: boolean,
  counts?: Uint32Array,
): Generator<number, SampleNotes> {
  if (vector.rep === 'dictionary') {
    const { codes, type, validity } = vector;
    // Of bpchar, texts that differ may be equal.
    if (isOwn || type.kind === 'bpchar' || codes instanceof Int32Array) return {};
    return { rare: yield* rareValuesOf(codes, validity) };
  }
  if (vector.rep !== 'number') return {};
  const { values, validity, factor, base, bounds, type } = vector;
  const codes = isKey(type.kind) ? codesOf(values) : undefined;
  return {
    tails:
      bounds !== undefined && isMeasure(type.kind)
        ? tailsOf(values, validity, { factor, base, bounds })
        : undefined,
    rare: codes === undefined ? undefined : yield* rareValuesOf(codes, validity, counts),
  };
}

/** Numbers of at most two bytes as such of no sign. */
function codesOf(values: NumberArray): Uint8Array | Uint16Array | undefined {
  const { buffer, byteOffset, length } = values;
  if (values instanceof Int8Array) return new Uint8Array(buffer, byteOffset, length);
  if (values instanceof Int16Array) return new Uint16Array(buffer, byteOffset, length);
  return values instanceof Uint8Array || values instanceof Uint16Array ? values : undefined;
}

function notesBytes({ tails, rare }: SampleNotes): number {
  return (tails?.slots.byteLength ?? 0) + (rare === undefined ? 0 : rareValuesBytes(rare));
}

/** Rows in arrival order, as the column to be encoded gives them. */
export type EncodeSource = {
  readonly rowCount: number;
  /** Rows [start, start + count), which lie in one chunk of 8,192, from entry 0 on. Valid until the next call. */
  read(column: StoredColumn, start: number, count: number): Vector;
};

const NAN_HASH = hashNumber(NaN);

/** Rows looked at between two yields: some tens of microseconds of work. */
const STEP_ROWS = 4096;

/**
 * Encodes one column: looks at all values, chooses the narrowest arrays that give every value back exactly, fills them by slot.
 * Yields the number of values handled since the last yield, so that the caller can stop in between.
 */
export function* encodeColumn(
  column: StoredColumn,
  source: EncodeSource,
  slotOf: Uint16Array,
  memory: MemoryAccount | undefined,
): Generator<number, EncodedColumn> {
  const { type } = column;
  if (isTextType(type) || type.kind === 'uuid' || type.kind === 'bytea') {
    return yield* encodeTexts(column, source, slotOf, memory);
  }
  if (type.kind === 'boolean') return yield* encodeBooleans(column, source, slotOf);
  if (type.kind === 'interval') return yield* encodeObjects(column, source, slotOf);
  return yield* encodeNumbers(column, source, slotOf);
}

// ── numbers ────────────────────────────────────────────────────────────────────────────────────────────────────

function* encodeNumbers(
  column: StoredColumn,
  source: EncodeSource,
  slotOf: Uint16Array,
): Generator<number, EncodedColumn> {
  const isFloat = column.type.kind === 'float8' || column.type.kind === 'float4';
  const stats = new NumberStats();
  let bigMin: bigint | undefined;
  let bigMax: bigint | undefined;
  let scale: number | undefined;
  let isObject = false;
  for (let start = 0; start < source.rowCount; start += STEP_ROWS) {
    const count = Math.min(STEP_ROWS, source.rowCount - start);
    const vector = source.read(column, start, count);
    const nulls = nullCountOf(vector, count);
    stats.nullCount += nulls;
    const allNull = nulls === count;
    if (vector.rep === 'object' && !allNull) isObject = true;
    if ((vector.rep === 'number' || vector.rep === 'bigint') && !allNull) {
      if (scale === undefined) scale = vector.scale;
      else if (scale !== vector.scale) isObject = true;
    }
    if (vector.rep === 'number') {
      const values = vector.values as Float64Array;
      if (isFloat) stats.addDoubles(values, vector.validity, count);
      else stats.addWhole(values, vector.validity, count);
    } else if (vector.rep === 'bigint') {
      for (let row = 0; row < count; row += 1) {
        if (vector.validity !== undefined && vector.validity[row] === 0) continue;
        const value = vector.values[row]!;
        if (bigMin === undefined || value < bigMin) bigMin = value;
        if (bigMax === undefined || value > bigMax) bigMax = value;
      }
    }
    yield count;
  }
  if (isObject) {
    yield* sketchRows(column, source);
    return yield* encodeObjects(column, source, slotOf);
  }
  if (bigMin !== undefined && !(isSafe(bigMin) && isSafe(bigMax!))) {
    yield* sketchRows(column, source);
    return yield* encodeBigints(column, source, slotOf, stats, bigMin, bigMax!, scale ?? 0);
  }
  if (bigMin !== undefined) {
    // The large value that made the chunk one of 64-bit integers was overwritten since.
    stats.addValue(Number(bigMin));
    stats.addValue(Number(bigMax));
    stats.divisor = 1;
  }
  return yield* fillNumbers(column, source, slotOf, stats, scale ?? 0, isFloat);
}

/** Has the column's sketch see every row. */
function* sketchRows(column: StoredColumn, source: EncodeSource): Generator<number, void> {
  const sketch = column.sketchForSealing();
  for (let start = 0; start < source.rowCount; start += STEP_ROWS) {
    const count = Math.min(STEP_ROWS, source.rowCount - start);
    const vector = source.read(column, start, count);
    sketch.addAll(hashRows([vector], count), vector.validity, count);
    yield count;
  }
}

/** The same for numbers that were encoded in at most two bytes: what occurs is hashed, not what repeats. */
function addCodes(
  sketch: DistinctSketch,
  counts: Uint32Array,
  { factor, base }: { readonly factor: number; readonly base: number },
  from: number,
  to: number,
): void {
  for (let code = from; code < to; code += 1)
    if (counts[code]! > 0) sketch.add(mixHash(hashNumber(code * factor + base)));
}

/** What decides about plans need not tell 1.5 from 1.50: the coefficients are hashed. */
function addNumbers(
  sketch: DistinctSketch,
  values: Float64Array,
  validity: Uint8Array | undefined,
  count: number,
): void {
  const words = new Int32Array(values.buffer, values.byteOffset, count * 2);
  for (let row = 0; row < count; row += 1) {
    if (validity !== undefined && validity[row] === 0) continue;
    const value = values[row]!;
    sketch.add(
      mixHash(value === value ? hashDouble(value, words[2 * row]!, words[2 * row + 1]!) : NAN_HASH),
    );
  }
}

function* fillNumbers(
  column: StoredColumn,
  source: EncodeSource,
  slotOf: Uint16Array,
  stats: NumberStats,
  scale: number,
  isFloat: boolean,
): Generator<number, EncodedColumn> {
  const { rowCount } = source;
  const encoding = stats.encoding(column.type.kind === 'float4');
  const values = keptArray<NumberArray>(encoding.array, rowCount);
  const kernels = kernelsOf(values);
  const validity = stats.nullCount > 0 ? new Uint8Array(rowCount) : undefined;
  const codes = values instanceof Uint8Array || values instanceof Uint16Array ? values : undefined;
  const sketch = column.sketchForSealing();
  for (let start = 0; start < rowCount; start += STEP_ROWS) {
    const count = Math.min(STEP_ROWS, rowCount - start);
    const vector = source.read(column, start, count);
    const slots = slotOf.subarray(start, start + count);
    if (vector.rep === 'number') {
      if (codes === undefined)
        addNumbers(sketch, vector.values as Float64Array, vector.validity, count);
      kernels.encode(
        vector.values as Float64Array,
        slots,
        0,
        count,
        encoding.factor,
        encoding.base,
        values,
      );
    } else if (vector.rep === 'bigint') {
      const numbers = Float64Array.from(vector.values.subarray(0, count), Number);
      if (codes === undefined) addNumbers(sketch, numbers, vector.validity, count);
      kernels.encode(numbers, slots, 0, count, encoding.factor, encoding.base, values);
    }
    fillValidity(validity, vector, slots, count);
    yield count;
  }
  const { factor, base } = encoding;
  const bounds = stats.bounds(isFloat);
  let counts: Uint32Array | undefined;
  if (codes !== undefined) {
    const codeEnd = bounds === undefined ? 1 : (bounds.max - base) / factor + 1;
    counts = yield* countsOf(codes, validity, codeEnd);
    for (let from = 0; from < codeEnd; from += STEP_ROWS) {
      const to = Math.min(codeEnd, from + STEP_ROWS);
      addCodes(sketch, counts, encoding, from, to);
      yield to - from;
    }
  }
  const vector: Vector = {
    rep: 'number',
    type: column.type,
    values,
    validity,
    factor,
    base,
    scale,
    bounds,
  };
  const notes = yield* sampleNotesOf(vector, false, counts);
  yield STEP_ROWS;
  const present = rowCount > stats.nullCount;
  const datum = (value: number): Datum =>
    column.type.kind === 'numeric' ? new Decimal(BigInt(value), scale) : value;
  return {
    vector,
    zone: {
      rowCount,
      nullCount: stats.nullCount,
      min: present ? datum(stats.sqlMin) : undefined,
      max: present ? datum(stats.sqlMax) : undefined,
    },
    byteLength: values.byteLength + (validity?.byteLength ?? 0) + notesBytes(notes),
    ownDictionary: undefined,
    ...notes,
  };
}

/** Whether sums of it are asked for: not of instants. */
function isMeasure(kind: StoredColumn['type']['kind']): boolean {
  return (
    kind === 'int2' ||
    kind === 'int4' ||
    kind === 'int8' ||
    kind === 'float4' ||
    kind === 'float8' ||
    kind === 'numeric'
  );
}

/** Whether groups are asked for by it. */
function isKey(kind: StoredColumn['type']['kind']): boolean {
  return kind === 'int2' || kind === 'int4' || kind === 'int8' || kind === 'date';
}

function* encodeBigints(
  column: StoredColumn,
  source: EncodeSource,
  slotOf: Uint16Array,
  stats: NumberStats,
  bigMin: bigint,
  bigMax: bigint,
  scale: number,
): Generator<number, EncodedColumn> {
  const { rowCount } = source;
  const values = keptArray(BigInt64Array, rowCount);
  const validity = stats.nullCount > 0 ? new Uint8Array(rowCount) : undefined;
  let min = bigMin;
  let max = bigMax;
  for (let start = 0; start < rowCount; start += STEP_ROWS) {
    const count = Math.min(STEP_ROWS, rowCount - start);
    const vector = source.read(column, start, count);
    const slots = slotOf.subarray(start, start + count);
    if (vector.rep === 'number' && stats.nonFinite)
      return yield* encodeObjects(column, source, slotOf);
    for (let row = 0; row < count; row += 1) {
      if (vector.validity !== undefined && vector.validity[row] === 0) continue;
      const value =
        vector.rep === 'bigint'
          ? vector.values[row]!
          : vector.rep === 'number'
            ? BigInt(vector.values[row]!)
            : 0n;
      if (value < min) min = value;
      if (value > max) max = value;
      values[slots[row]!] = value;
    }
    fillValidity(validity, vector, slots, count);
    yield count;
  }
  const datum = (value: bigint): Datum =>
    column.type.kind === 'numeric' ? new Decimal(value, scale) : normalInteger(value);
  return {
    vector: { rep: 'bigint', type: column.type, values, validity, scale },
    zone: { rowCount, nullCount: stats.nullCount, min: datum(min), max: datum(max) },
    byteLength: values.byteLength + (validity?.byteLength ?? 0),
    ownDictionary: undefined,
  };
}

function isSafe(value: bigint): boolean {
  return value >= -9007199254740991n && value <= 9007199254740991n;
}

// ── booleans, data ─────────────────────────────────────────────────────────────────────────────────────────────

function* encodeBooleans(
  column: StoredColumn,
  source: EncodeSource,
  slotOf: Uint16Array,
): Generator<number, EncodedColumn> {
  const { rowCount } = source;
  const values = new Uint8Array(rowCount);
  let nullCount = 0;
  let trueCount = 0;
  let validity: Uint8Array | undefined;
  for (let start = 0; start < rowCount; start += STEP_ROWS) {
    const count = Math.min(STEP_ROWS, rowCount - start);
    const vector = source.read(column, start, count);
    const slots = slotOf.subarray(start, start + count);
    const nulls = nullCountOf(vector, count);
    nullCount += nulls;
    if (nulls > 0) validity ??= new Uint8Array(rowCount).fill(1);
    if (vector.rep === 'boolean') {
      for (let row = 0; row < count; row += 1) {
        const isNull = vector.validity !== undefined && vector.validity[row] === 0;
        const value = isNull ? 0 : vector.values[row]!;
        values[slots[row]!] = value;
        trueCount += value;
      }
    }
    fillValidity(validity, vector, slots, count);
    yield count;
  }
  const present = rowCount - nullCount;
  return {
    vector: { rep: 'boolean', type: column.type, values, validity },
    zone: {
      rowCount,
      nullCount,
      min: present === 0 ? undefined : trueCount === present,
      max: present === 0 ? undefined : trueCount > 0,
    },
    byteLength: values.byteLength + (validity?.byteLength ?? 0),
    ownDictionary: undefined,
  };
}

function* encodeObjects(
  column: StoredColumn,
  source: EncodeSource,
  slotOf: Uint16Array,
): Generator<number, EncodedColumn> {
  const { rowCount } = source;
  const values: Datum[] = [];
  let nullCount = 0;
  let byteLength = rowCount * 8;
  for (let row = 0; row < rowCount; row += 1) values.push(null);
  for (let start = 0; start < rowCount; start += STEP_ROWS) {
    const count = Math.min(STEP_ROWS, rowCount - start);
    const vector = source.read(column, start, count);
    for (let row = 0; row < count; row += 1) {
      const datum = datumAt(vector, row);
      if (datum === null) nullCount += 1;
      byteLength += objectBytes(datum);
      values[slotOf[start + row]!] = datum;
    }
    yield count;
  }
  const validity =
    nullCount === 0 ? undefined : Uint8Array.from(values, (datum) => (datum === null ? 0 : 1));
  return {
    vector: { rep: 'object', type: column.type, values, validity },
    zone: { rowCount, nullCount, min: undefined, max: undefined },
    byteLength: byteLength + (validity?.byteLength ?? 0),
    ownDictionary: undefined,
  };
}

// ── texts and bytes ────────────────────────────────────────────────────────────────────────────────────────────

function* encodeTexts(
  column: StoredColumn,
  source: EncodeSource,
  slotOf: Uint16Array,
  memory: MemoryAccount | undefined,
): Generator<number, EncodedColumn> {
  const { rowCount } = source;
  let allCodes = true;
  let codeMax = 0;
  let nullCount = 0;
  for (let start = 0; start < rowCount; start += STEP_ROWS) {
    const count = Math.min(STEP_ROWS, rowCount - start);
    const vector = source.read(column, start, count);
    nullCount += nullCountOf(vector, count);
    if (vector.rep === 'dictionary' && vector.dictionary === column.dictionary) {
      codeMax = largestCode(vector.codes as Int32Array, count, codeMax);
    } else {
      allCodes = false;
    }
    yield count;
  }
  if (allCodes && column.dictionary !== undefined) {
    return yield* encodeCodes(
      column,
      source,
      slotOf,
      column.dictionary,
      codeMax,
      nullCount,
      undefined,
    );
  }
  if (isTextType(column.type)) {
    const dictionary = yield* segmentDictionary(column, source, memory);
    if (dictionary !== undefined) {
      return yield* encodeCodes(
        column,
        source,
        slotOf,
        dictionary,
        dictionary.size - 1,
        nullCount,
        dictionary,
      );
    }
  }
  return yield* encodeBytes(column, source, slotOf, nullCount);
}

function largestCode(codes: Int32Array, count: number, codeMax: number): number {
  let largest = codeMax;
  for (let row = 0; row < count; row += 1) if (codes[row]! > largest) largest = codes[row]!;
  return largest;
}

/** A dictionary of this segment's texts, or undefined where more than a quarter of the rows are distinct. */
function* segmentDictionary(
  column: StoredColumn,
  source: EncodeSource,
  memory: MemoryAccount | undefined,
): Generator<number, Dictionary | undefined> {
  const { rowCount } = source;
  const dictionary = new Dictionary(memory);
  dictionary.limits = false;
  let isWorthIt = false;
  try {
    for (let start = 0; start < rowCount; start += STEP_ROWS / 4) {
      const count = Math.min(STEP_ROWS / 4, rowCount - start);
      const vector = source.read(column, start, count);
      eachBytes(vector, count, (_row, bytes, from, to) => dictionary.addBytes(bytes, from, to));
      if (dictionary.size > rowCount / 4) return undefined;
      yield count * 4;
    }
    isWorthIt = true;
    return dictionary;
  } finally {
    // Not worth it, or the job was abandoned at a yield.
    if (!isWorthIt) dictionary.close();
  }
}

function* encodeCodes(
  column: StoredColumn,
  source: EncodeSource,
  slotOf: Uint16Array,
  dictionary: Dictionary,
  codeMax: number,
  nullCount: number,
  ownDictionary: Dictionary | undefined,
): Generator<number, EncodedColumn> {
  const { rowCount } = source;
  const codes =
    codeMax < 2 ** 8
      ? keptArray(Uint8Array, rowCount)
      : codeMax < 2 ** 16
        ? keptArray(Uint16Array, rowCount)
        : keptInts(rowCount);
  const validity = nullCount > 0 ? new Uint8Array(rowCount) : undefined;
  const kernels = kernelsOf(codes);
  const seen = new Uint8Array((codeMax >>> 3) + 1);
  const range = new CodeRange(dictionary);
  let isDone = false;
  try {
    for (let start = 0; start < rowCount; start += STEP_ROWS) {
      const count = Math.min(STEP_ROWS, rowCount - start);
      const vector = source.read(column, start, count);
      const slots = slotOf.subarray(start, start + count);
      if (vector.rep === 'dictionary' && vector.dictionary === dictionary) {
        // Of a segment that is compacted they may be narrower.
        const given =
          vector.codes instanceof Int32Array ? vector.codes : new Int32Array(vector.codes);
        kernels.scatter(given, slots, count, codes);
        if (!range.isGivenUp) range.addAll(given, vector.validity, count, seen);
      } else {
        eachBytes(vector, count, (row, bytes, from, to) => {
          const code = dictionary.findBytes(bytes, from, to);
          codes[slots[row]!] = code;
          range.add(code);
        });
      }
      fillValidity(validity, vector, slots, count);
      yield count * 2;
    }
    isDone = true;
  } finally {
    if (!isDone) ownDictionary?.close();
  }
  const vector: Vector = { rep: 'dictionary', type: column.type, codes, validity, dictionary };
  const notes = yield* sampleNotesOf(vector, ownDictionary !== undefined);
  return {
    vector,
    zone: {
      rowCount,
      nullCount,
      min: range.text(range.min, column),
      max: range.text(range.max, column),
    },
    byteLength: codes.byteLength + (validity?.byteLength ?? 0) + notesBytes(notes),
    ownDictionary,
    ...notes,
  };
}

/** A column of codes as one of another dictionary, of the table's: `codeOf` is told a code and its slot. The rows' texts stay, and so do their bounds. */
export function* recodedColumn(
  { vector, zone }: SealedColumn,
  dictionary: Dictionary,
  codeOf: (code: number, slot: number) => number,
): Generator<number, EncodedColumn> {
  assert(vector.rep === 'dictionary', 'codes are what is recoded');
  const { codes, validity } = vector;
  const wide = new Int32Array(codes.length);
  let codeMax = 0;
  for (let start = 0; start < codes.length; start += STEP_ROWS) {
    const end = Math.min(start + STEP_ROWS, codes.length);
    for (let slot = start; slot < end; slot += 1) {
      if (validity !== undefined && validity[slot] === 0) continue;
      const code = codeOf(codes[slot]!, slot);
      wide[slot] = code;
      if (code > codeMax) codeMax = code;
    }
    yield (end - start) * 2;
  }
  const recoded: Vector = { ...vector, codes: narrowed(wide, codeMax), dictionary };
  const notes = yield* sampleNotesOf(recoded, false);
  return {
    vector: recoded,
    zone,
    byteLength: recoded.codes.byteLength + (validity?.byteLength ?? 0) + notesBytes(notes),
    ownDictionary: undefined,
    ...notes,
  };
}

function narrowed(codes: Int32Array, codeMax: number): Uint8Array | Uint16Array | Int32Array {
  if (codeMax < 2 ** 8) return new Uint8Array(codes);
  return codeMax < 2 ** 16 ? new Uint16Array(codes) : codes;
}

/** Comparing texts all over the arena costs a cache miss each, and a segment of that many texts is seldom skipped. */
const CODE_RANGE_MAX = 1024;

/** The least and the greatest text among codes. */
class CodeRange {
  readonly #dictionary: Dictionary;
  min = -1;
  max = -1;
  /** Distinct codes looked at. */
  #count = 0;

  constructor(dictionary: Dictionary) {
    this.#dictionary = dictionary;
  }

  /** Whether more codes than are worth comparing have come: then nothing is known. */
  get isGivenUp(): boolean {
    return this.#count > CODE_RANGE_MAX;
  }

  /** Each code once: `seen` has a bit for it. */
  addAll(
    codes: Int32Array,
    validity: Uint8Array | undefined,
    count: number,
    seen: Uint8Array,
  ): void {
    for (let row = 0; row < count; row += 1) {
      const code = codes[row]!;
      const bit = 1 << (code & 7);
      if ((seen[code >>> 3]! & bit) !== 0) continue;
      if (validity !== undefined && validity[row] === 0) continue;
      seen[code >>> 3]! |= bit;
      this.add(code);
      if (this.isGivenUp) return;
    }
  }

  add(code: number): void {
    this.#count += 1;
    if (this.#count > CODE_RANGE_MAX) return;
    if (this.min < 0) {
      this.min = code;
      this.max = code;
    } else if (this.#dictionary.compare(code, this.min) < 0) this.min = code;
    else if (this.#dictionary.compare(code, this.max) > 0) this.max = code;
  }

  text(code: number, column: StoredColumn): Datum | undefined {
    if (code < 0 || this.isGivenUp) return undefined;
    // Blanks at the end do not count in a bpchar, bytes do: their orders differ.
    return column.type.kind === 'bpchar' ? undefined : zoneText(this.#dictionary.bytes(code));
  }
}

function* encodeBytes(
  column: StoredColumn,
  source: EncodeSource,
  slotOf: Uint16Array,
  nullCount: number,
): Generator<number, EncodedColumn> {
  const { rowCount } = source;
  const isUuid = column.type.kind === 'uuid';
  // Values of one width share their offsets with every other such column.
  const offsets = isUuid ? UUID_OFFSETS.subarray(0, rowCount + 1) : new Uint32Array(rowCount + 1);

  const validity = nullCount > 0 ? new Uint8Array(rowCount) : undefined;
  if (!isUuid) {
    for (let start = 0; start < rowCount; start += STEP_ROWS) {
      const count = Math.min(STEP_ROWS, rowCount - start);
      eachBytes(source.read(column, start, count), count, (row, _bytes, from, to) => {
        offsets[slotOf[start + row]! + 1] = to - from;
      });
      yield count;
    }
    for (let slot = 0; slot < rowCount; slot += 1) offsets[slot + 1]! += offsets[slot]!;
  }
  const bytes = new Uint8Array(offsets[rowCount]!);
  const sketch = column.sketchForSealing();
  let min: Uint8Array | undefined;
  let max: Uint8Array | undefined;
  let minPrefix = Infinity;
  let maxPrefix = -1;
  for (let start = 0; start < rowCount; start += STEP_ROWS / 2) {
    const count = Math.min(STEP_ROWS / 2, rowCount - start);
    const vector = source.read(column, start, count);
    const slots = slotOf.subarray(start, start + count);
    eachBytes(vector, count, (row, from, begin, end) => {
      const to = offsets[slots[row]!]!;
      const length = end - begin;
      if (length <= 32) for (let at = 0; at < length; at += 1) bytes[to + at] = from[begin + at]!;
      else bytes.set(from.subarray(begin, end), to);
      // Most values are told from the bounds by their first bytes.
      const prefix = prefixOf(from, begin, end);
      if (prefix <= minPrefix) {
        const value = bytes.subarray(to, to + length);
        if (min === undefined || compareBytes(value, min) < 0) min = value;
        minPrefix = prefix;
      }
      if (prefix >= maxPrefix) {
        const value = bytes.subarray(to, to + length);
        if (max === undefined || compareBytes(value, max) > 0) max = value;
        maxPrefix = prefix;
      }
    });
    sketch.addAll(hashRows([vector], count), vector.validity, count);
    fillValidity(validity, vector, slots, count);
    yield count * 4;
  }
  const isText = column.type.kind === 'text' || column.type.kind === 'varchar';
  return {
    vector: { rep: 'bytes', type: column.type, offsets, bytes, validity },
    zone: {
      rowCount,
      nullCount,
      min: isText && min !== undefined ? zoneText(min) : undefined,
      max: isText && max !== undefined ? zoneText(max) : undefined,
    },
    byteLength: (isUuid ? 0 : offsets.byteLength) + bytes.byteLength + (validity?.byteLength ?? 0),
    ownDictionary: undefined,
  };
}

/** Multiples of 16: the offsets of every column of uuids. */
const UUID_OFFSETS = Uint32Array.from({ length: 65_537 }, (_, index) => index * 16);

/** A bound for pruning; a long text is not worth keeping twice. */
function zoneText(bytes: Uint8Array): Datum | undefined {
  return bytes.length > 256 ? undefined : decodeText(bytes, 0, bytes.length);
}

/** The first four bytes as a number that orders as they do; shorter values are padded with 0. */
function prefixOf(bytes: Uint8Array, start: number, end: number): number {
  const length = end - start;
  const first = length > 0 ? bytes[start]! : 0;
  const second = length > 1 ? bytes[start + 1]! : 0;
  const third = length > 2 ? bytes[start + 2]! : 0;
  const fourth = length > 3 ? bytes[start + 3]! : 0;
  return first * 0x100_0000 + ((second << 16) | (third << 8) | fourth);
}

/** The present values of the first `count` entries as bytes. */
function eachBytes(
  vector: Vector,
  count: number,
  visit: (row: number, bytes: Uint8Array, start: number, end: number) => void,
): void {
  for (let row = 0; row < count; row += 1) {
    if (vector.validity !== undefined && vector.validity[row] === 0) continue;
    if (vector.rep === 'bytes') {
      visit(row, vector.bytes, vector.offsets[row]!, vector.offsets[row + 1]!);
    } else if (vector.rep === 'dictionary') {
      const code = vector.codes[row]!;
      const start = vector.dictionary.byteStart(code);
      visit(
        row,
        vector.dictionary.byteChunk(code),
        start,
        start + vector.dictionary.byteLength(code),
      );
    }
  }
}

function nullCountOf(vector: Vector, count: number): number {
  const { validity } = vector;
  let nulls = 0;
  if (validity !== undefined) for (let row = 0; row < count; row += 1) nulls += 1 - validity[row]!;
  else if (vector.rep === 'object')
    for (let row = 0; row < count; row += 1) if (vector.values[row] === null) nulls += 1;
  return nulls;
}

function fillValidity(
  validity: Uint8Array | undefined,
  vector: Vector,
  slots: Uint16Array,
  count: number,
): void {
  if (validity === undefined) return;
  for (let row = 0; row < count; row += 1) {
    validity[slots[row]!] =
      vector.validity === undefined
        ? vector.rep === 'object' && vector.values[row] === null
          ? 0
          : 1
        : vector.validity[row]!;
  }
}
