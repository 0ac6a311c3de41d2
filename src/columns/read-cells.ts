import { DbError } from '../base/errors.ts';
import { ESCAPED, PLAIN, type TextCells } from '../base/text-cells.ts';
import { vectorFromData } from './build.ts';
import type { SqlType } from './types.ts';
import { decodeText } from './utf8.ts';
import type { Datum } from './values.ts';
import type { Vector } from './vector.ts';

/** Text cells in a column of their own type; what is not written in the plainest way goes through PostgreSQL's functions. */
export type CellColumn = {
  readonly name: string;
  readonly type: SqlType;
  /** Its place among a record's cells. */
  readonly index: number;
};

export type CellOptions = {
  /** `quoted`: the cell was written in quotes. */
  readonly fromText: (text: string, type: SqlType, quoted: boolean) => Datum;
  readonly isUtc: boolean;
  /** How NULL is written without quotes. */
  readonly nullText: Uint8Array;
  readonly quote: number;
  /** What stands without quotes is a number, TRUE or FALSE of SQL: a text of it is what its value is as a text, and there is no −0. */
  readonly areLiterals?: boolean;
};

/** Told of each cell that cannot be read; it throws, or the row is left out. */
export type OnBadCell = (row: number, column: CellColumn, cause: DbError) => void;

/** The cells of one column of the records `rows` (numbers of records). */
export function readCells(
  records: TextCells,
  rows: Int32Array,
  rowCount: number,
  column: CellColumn,
  options: CellOptions,
  onBad: OnBadCell,
): Vector {
  const validity = presentCells(records, rows, rowCount, column.index, options.nullText);
  const { type } = column;
  switch (type.kind) {
    case 'text':
    case 'varchar':
    case 'bpchar':
      if (areTexts(records, rows, rowCount, column, validity, options))
        return readTexts(records, rows, rowCount, column, validity, options);
      return readData(records, rows, rowCount, column, validity, options, onBad);
    case 'boolean':
      return readBooleans(records, rows, rowCount, column, validity, options, onBad);
    case 'int2':
    case 'int4':
    case 'int8':
      return readNumbers(integerAt, records, rows, rowCount, column, validity, options, onBad);
    case 'float8':
      return readNumbers(floatAt, records, rows, rowCount, column, validity, options, onBad);
    case 'date':
      return readNumbers(dateAt, records, rows, rowCount, column, validity, options, onBad);
    case 'timestamp':
      if (type.precision !== undefined)
        return readData(records, rows, rowCount, column, validity, options, onBad);
      return readNumbers(localInstantAt, records, rows, rowCount, column, validity, options, onBad);
    case 'timestamptz':
      if (type.precision !== undefined)
        return readData(records, rows, rowCount, column, validity, options, onBad);
      return readNumbers(
        options.isUtc ? instantAt : zonedInstantAt,
        records,
        rows,
        rowCount,
        column,
        validity,
        options,
        onBad,
      );
    case 'numeric':
      if (type.precision !== undefined && type.precision <= 15) {
        return readDecimals(
          records,
          rows,
          rowCount,
          column,
          type.precision,
          type.scale ?? 0,
          validity,
          options,
          onBad,
        );
      }
      return readData(records, rows, rowCount, column, validity, options, onBad);
    default:
      return readData(records, rows, rowCount, column, validity, options, onBad);
  }
}

/** Whether each cell is the value as it stands. */
function areTexts(
  records: TextCells,
  rows: Int32Array,
  rowCount: number,
  { type, index }: CellColumn,
  validity: Uint8Array | undefined,
  { areLiterals = false }: CellOptions,
): boolean {
  const { starts, ends, flags, firstCell } = records;
  const length = type.kind === 'text' ? undefined : (type as { length?: number }).length;
  if (length === undefined && !areLiterals) return true;
  // Shorter ones are filled up.
  if (type.kind === 'bpchar' && length !== undefined) return false;
  for (let row = 0; row < rowCount; row += 1) {
    if (validity !== undefined && validity[row] === 0) continue;
    const cell = firstCell[rows[row]!]! + index;
    if (areLiterals && flags[cell] === PLAIN) return false;
    // There are no more characters than bytes.
    if (length !== undefined && ends[cell]! - starts[cell]! > length) return false;
  }
  return true;
}

/** undefined: all cells are present. */
function presentCells(
  records: TextCells,
  rows: Int32Array,
  rowCount: number,
  index: number,
  nullText: Uint8Array,
): Uint8Array | undefined {
  const { starts, ends, flags, firstCell, bytes } = records;
  let validity: Uint8Array | undefined;
  for (let row = 0; row < rowCount; row += 1) {
    const cell = firstCell[rows[row]!]! + index;
    const start = starts[cell]!;
    const length = ends[cell]! - start;
    if (length !== nullText.length || flags[cell] !== PLAIN) continue;
    let same = true;
    for (let at = 0; at < length; at += 1) if (bytes[start + at] !== nullText[at]) same = false;
    if (same) (validity ??= new Uint8Array(rowCount).fill(1))[row] = 0;
  }
  return validity;
}

export function cellText(records: TextCells, cell: number, quote: number): string {
  const text = decodeText(records.bytes, records.starts[cell]!, records.ends[cell]!);
  if (records.flags[cell] !== ESCAPED) return text;
  const mark = String.fromCharCode(quote);
  return text.replaceAll(mark + mark, mark);
}

function readTexts(
  records: TextCells,
  rows: Int32Array,
  rowCount: number,
  column: CellColumn,
  validity: Uint8Array | undefined,
  options: CellOptions,
): Vector {
  const { starts, ends, flags, firstCell, bytes: source } = records;
  const offsets = new Uint32Array(rowCount + 1);
  let total = 0;
  for (let row = 0; row < rowCount; row += 1) {
    const cell = firstCell[rows[row]!]! + column.index;
    total += ends[cell]! - starts[cell]!;
    // Room for cells with doubled quotes is counted too large; the second pass closes up.
    offsets[row + 1] = total;
  }
  const bytes = new Uint8Array(total);
  let to = 0;
  for (let row = 0; row < rowCount; row += 1) {
    const cell = firstCell[rows[row]!]! + column.index;
    const start = starts[cell]!;
    const end = ends[cell]!;
    if (flags[cell] === ESCAPED) {
      for (let at = start; at < end; at += 1) {
        bytes[to] = source[at]!;
        to += 1;
        if (source[at] === options.quote) at += 1;
      }
    } else if (end - start > 48) {
      bytes.set(source.subarray(start, end), to);
      to += end - start;
    } else {
      for (let at = start; at < end; at += 1) {
        bytes[to] = source[at]!;
        to += 1;
      }
    }
    offsets[row + 1] = to;
  }
  return { rep: 'bytes', type: column.type, offsets, bytes: bytes.subarray(0, to), validity };
}

/** Whatever the type: each cell through its input function. */
function readData(
  records: TextCells,
  rows: Int32Array,
  rowCount: number,
  column: CellColumn,
  validity: Uint8Array | undefined,
  options: CellOptions,
  onBad: OnBadCell,
): Vector {
  const data: Datum[] = [];
  for (let row = 0; row < rowCount; row += 1) {
    if (validity !== undefined && validity[row] === 0) data.push(null);
    else data.push(slowly(records, rows, row, column, options, onBad));
  }
  return vectorFromData(column.type, data);
}

/** NULL for a cell that was reported as bad: its row is on its way out. */
function slowly(
  records: TextCells,
  rows: Int32Array,
  row: number,
  column: CellColumn,
  options: CellOptions,
  onBad: OnBadCell,
): Datum {
  const cell = records.firstCell[rows[row]!]! + column.index;
  const text = cellText(records, cell, options.quote);
  try {
    return options.fromText(text, column.type, records.flags[cell] !== PLAIN);
  } catch (cause) {
    if (!(cause instanceof DbError)) throw cause;
    onBad(row, column, cause);
    return null;
  }
}

function readBooleans(
  records: TextCells,
  rows: Int32Array,
  rowCount: number,
  column: CellColumn,
  validity: Uint8Array | undefined,
  options: CellOptions,
  onBad: OnBadCell,
): Vector {
  const { areLiterals = false } = options;
  const values = new Uint8Array(rowCount);
  for (let row = 0; row < rowCount; row += 1) {
    if (validity !== undefined && validity[row] === 0) continue;
    const cell = records.firstCell[rows[row]!]! + column.index;
    const length = records.ends[cell]! - records.starts[cell]!;
    const first = records.bytes[records.starts[cell]!]! | 0x20;
    const isWord = length === 1 || (areLiterals && records.flags[cell] === PLAIN);
    if (isWord && (first === LOWER_T || first === LOWER_F)) values[row] = first === LOWER_T ? 1 : 0;
    else values[row] = slowly(records, rows, row, column, options, onBad) === true ? 1 : 0;
  }
  return { rep: 'boolean', type: column.type, values, validity };
}

/** Reads a cell's number; undefined where it is not written in the plainest way. Nothing is allocated. */
type NumberReader = (bytes: Uint8Array, start: number, end: number) => number | undefined;

const INTEGER_LIMITS: Readonly<Record<string, number>> = { int2: 32_768, int4: 2_147_483_648 };

function readNumbers(
  read: NumberReader,
  records: TextCells,
  rows: Int32Array,
  rowCount: number,
  column: CellColumn,
  validity: Uint8Array | undefined,
  options: CellOptions,
  onBad: OnBadCell,
): Vector {
  const { starts, ends, firstCell, bytes, flags } = records;
  const { areLiterals = false } = options;
  const { type } = column;
  const limit = INTEGER_LIMITS[type.kind] ?? Infinity;
  const values =
    type.kind === 'int2' || type.kind === 'int4' || type.kind === 'date'
      ? new Int32Array(rowCount)
      : new Float64Array(rowCount);
  let wide: Map<number, Datum> | undefined;
  for (let row = 0; row < rowCount; row += 1) {
    if (validity !== undefined && validity[row] === 0) continue;
    const cell = firstCell[rows[row]!]! + column.index;
    const value = read(bytes, starts[cell]!, ends[cell]!);
    if (value !== undefined && value < limit && value >= -limit) {
      const isLiteral = areLiterals && flags[cell] === PLAIN;
      values[row] = isLiteral && value === 0 ? 0 : value;
      continue;
    }
    const datum = slowly(records, rows, row, column, options, onBad);
    if (typeof datum === 'number') values[row] = datum;
    // 64-bit values, and infinite dates in an array of integers.
    if (datum !== null && datum !== values[row] && !Number.isNaN(datum))
      (wide ??= new Map()).set(row, datum);
  }
  if (wide === undefined)
    return { rep: 'number', type, values, validity, factor: 1, base: 0, scale: 0 };
  const data: Datum[] = [];
  for (let row = 0; row < rowCount; row += 1) {
    data.push(
      validity !== undefined && validity[row] === 0 ? null : (wide.get(row) ?? values[row]!),
    );
  }
  return vectorFromData(type, data);
}

function readDecimals(
  records: TextCells,
  rows: Int32Array,
  rowCount: number,
  column: CellColumn,
  precision: number,
  scale: number,
  validity: Uint8Array | undefined,
  options: CellOptions,
  onBad: OnBadCell,
): Vector {
  const { starts, ends, firstCell, bytes } = records;
  const values = new Float64Array(rowCount);
  const limit = 10 ** precision;
  let wide: Map<number, Datum> | undefined;
  for (let row = 0; row < rowCount; row += 1) {
    if (validity !== undefined && validity[row] === 0) continue;
    const cell = firstCell[rows[row]!]! + column.index;
    const value = coefficientAt(bytes, starts[cell]!, ends[cell]!, scale);
    if (value !== undefined && value < limit && value > -limit) values[row] = value;
    else (wide ??= new Map()).set(row, slowly(records, rows, row, column, options, onBad));
  }
  const vector: Vector = {
    rep: 'number',
    type: column.type,
    values,
    validity,
    factor: 1,
    base: 0,
    scale,
  };
  if (wide === undefined) return vector;
  const data: Datum[] = [];
  const decimal = (coefficient: number): Datum =>
    options.fromText(`${coefficient}e-${scale}`, column.type, true);
  for (let row = 0; row < rowCount; row += 1) {
    if (validity !== undefined && validity[row] === 0) data.push(null);
    else data.push(wide.has(row) ? wide.get(row)! : decimal(values[row]!));
  }
  return vectorFromData(column.type, data);
}

// ── Numbers, dates and instants in bytes ───────────────────────────────────────────────────────────────────────

/** Fifteen digits are exact in a double. */
const DIGITS_MAX = 15;

function integerAt(bytes: Uint8Array, start: number, end: number): number | undefined {
  let at = start;
  const negative = bytes[at] === MINUS;
  if (negative) at += 1;
  const count = end - at;
  if (count < 1 || count > DIGITS_MAX) return undefined;
  let value = 0;
  for (; at < end; at += 1) {
    const digit = bytes[at]! - ZERO;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  return negative && value !== 0 ? -value : value;
}

/** Digits and point: the quotient of two exact doubles is the nearest double (Clinger 1990). */
function floatAt(bytes: Uint8Array, start: number, end: number): number | undefined {
  let at = start;
  const negative = bytes[at] === MINUS;
  if (negative) at += 1;
  let value = 0;
  let digits = 0;
  let scale = -1;
  for (; at < end; at += 1) {
    const byte = bytes[at]!;
    if (byte === DOT) {
      if (scale >= 0) return undefined;
      scale = 0;
      continue;
    }
    const digit = byte - ZERO;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
    digits += 1;
    if (scale >= 0) scale += 1;
  }
  if (digits === 0 || digits > DIGITS_MAX) return undefined;
  const result = scale > 0 ? value / POWERS_OF_TEN[scale]! : value;
  return negative ? -result : result;
}

/** value × 10^scale, rounded half away from zero, for numbers of up to fifteen digits. */
function coefficientAt(
  bytes: Uint8Array,
  start: number,
  end: number,
  scale: number,
): number | undefined {
  let at = start;
  const negative = bytes[at] === MINUS;
  if (negative) at += 1;
  let value = 0;
  let digits = 0;
  let point = -1;
  for (; at < end; at += 1) {
    const byte = bytes[at]!;
    if (byte === DOT) {
      if (point >= 0) return undefined;
      point = 0;
      continue;
    }
    const digit = byte - ZERO;
    if (digit < 0 || digit > 9) return undefined;
    if (point >= scale) {
      // The first digit beyond the scale decides, those after it no longer do.
      if (point === scale && digit >= 5) value += 1;
      point += 1;
      continue;
    }
    value = value * 10 + digit;
    digits += 1;
    if (point >= 0) point += 1;
  }
  if (end - start - (negative ? 1 : 0) < 1 || digits === 0) return undefined;
  const missing = scale - Math.min(Math.max(point, 0), scale);
  if (digits + missing > DIGITS_MAX) return undefined;
  value *= POWERS_OF_TEN[missing]!;
  return negative && value !== 0 ? -value : value;
}

const POWERS_OF_TEN = Float64Array.from({ length: 23 }, (_, exponent) => Number(`1e${exponent}`));

function twoDigits(bytes: Uint8Array, at: number): number {
  const tens = bytes[at]! - ZERO;
  const ones = bytes[at + 1]! - ZERO;
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : -1;
}

/** YYYY-MM-DD as days since 1970-01-01. */
function dateAt(bytes: Uint8Array, start: number, end: number): number | undefined {
  return end - start === 10 ? daysAt(bytes, start) : undefined;
}

function daysAt(bytes: Uint8Array, start: number): number | undefined {
  const century = twoDigits(bytes, start);
  const ofCentury = twoDigits(bytes, start + 2);
  const month = twoDigits(bytes, start + 5);
  const day = twoDigits(bytes, start + 8);
  if (century < 0 || ofCentury < 0 || bytes[start + 4] !== MINUS || bytes[start + 7] !== MINUS)
    return undefined;
  const year = century * 100 + ofCentury;
  if (year < 1 || month < 1 || month > 12 || day < 1 || day > daysOfMonth(year, month))
    return undefined;
  return daysFromCivil(year, month, day);
}

function daysOfMonth(year: number, month: number): number {
  if (month === 2) return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0 ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

/** Howard Hinnant's days_from_civil: years begin in March, so that the leap day is the last. */
function daysFromCivil(year: number, month: number, day: number): number {
  const shifted = month <= 2 ? year - 1 : year;
  const era = Math.floor(shifted / 400);
  const yearOfEra = shifted - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  return (
    era * 146_097 +
    yearOfEra * 365 +
    Math.floor(yearOfEra / 4) -
    Math.floor(yearOfEra / 100) +
    dayOfYear -
    719_468
  );
}

/** A local time; a zone behind it is read over, as PostgreSQL does for `timestamp`. */
function localInstantAt(bytes: Uint8Array, start: number, end: number): number | undefined {
  return readInstant(bytes, start, end, 'ignored');
}

/** Without a zone it is UTC. */
function instantAt(bytes: Uint8Array, start: number, end: number): number | undefined {
  return readInstant(bytes, start, end, 'UTC');
}

/** Only with a zone: local times are left to whoever knows the zone. */
function zonedInstantAt(bytes: Uint8Array, start: number, end: number): number | undefined {
  return readInstant(bytes, start, end, 'required');
}

/** YYYY-MM-DD[ T]HH:MM[:SS[.ffffff]][Z | ±HH[[:]MM]] as microseconds since 1970; a date alone is its midnight. */
function readInstant(
  bytes: Uint8Array,
  start: number,
  end: number,
  zone: 'ignored' | 'UTC' | 'required',
): number | undefined {
  if (end - start < 10) return undefined;
  const days = daysAt(bytes, start);
  if (days === undefined) return undefined;
  let micros = days * 86_400_000_000;
  let at = start + 10;
  if (at === end) return zone === 'required' ? undefined : exactly(micros);
  if (bytes[at] !== SPACE && bytes[at] !== UPPER_T) return undefined;
  const hour = twoDigits(bytes, at + 1);
  const minute = twoDigits(bytes, at + 4);
  if (end - at < 6 || bytes[at + 3] !== COLON || hour < 0 || hour > 23 || minute < 0 || minute > 59)
    return undefined;
  micros += hour * 3_600_000_000 + minute * 60_000_000;
  at += 6;
  if (at < end && bytes[at] === COLON) {
    const second = at + 3 <= end ? twoDigits(bytes, at + 1) : -1;
    if (second < 0 || second > 59) return undefined;
    micros += second * 1_000_000;
    at += 3;
    if (at < end && bytes[at] === DOT) {
      let unit = 100_000;
      const first = at + 1;
      for (at = first; at < end; at += 1) {
        const digit = bytes[at]! - ZERO;
        if (digit < 0 || digit > 9) break;
        // A seventh digit would round; that is left to the input function.
        if (at - first === 6) return undefined;
        micros += digit * unit;
        unit /= 10;
      }
      if (at === first) return undefined;
    }
  }
  if (at === end) return zone === 'required' ? undefined : exactly(micros);
  const offset = zoneOffsetAt(bytes, at, end);
  if (offset === undefined) return undefined;
  return exactly(zone === 'ignored' ? micros : micros - offset);
}

/** Instants beyond 2^53 microseconds have been rounded: they are read again. */
function exactly(micros: number): number | undefined {
  return Number.isSafeInteger(micros) ? micros : undefined;
}

/** Microseconds east of Greenwich. */
function zoneOffsetAt(bytes: Uint8Array, start: number, end: number): number | undefined {
  if (bytes[start] === UPPER_Z) return end === start + 1 ? 0 : undefined;
  const sign = bytes[start] === PLUS ? 1 : bytes[start] === MINUS ? -1 : 0;
  const hours = end - start >= 3 ? twoDigits(bytes, start + 1) : -1;
  if (sign === 0 || hours < 0 || hours > 15) return undefined;
  let at = start + 3;
  if (at < end && bytes[at] === COLON) at += 1;
  if (at === end) return end === start + 3 ? sign * hours * 3_600_000_000 : undefined;
  const minutes = end - at === 2 ? twoDigits(bytes, at) : -1;
  return minutes < 0 || minutes > 59
    ? undefined
    : sign * (hours * 3_600_000_000 + minutes * 60_000_000);
}

const ZERO = 48;
const MINUS = 45;
const PLUS = 43;
const DOT = 46;
const COLON = 58;
const SPACE = 32;
const UPPER_T = 84;
const UPPER_Z = 90;
const LOWER_T = 116;
const LOWER_F = 102;
