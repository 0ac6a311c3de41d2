import { keptArray, keptBuffer, keptDoubles, keptInts } from '../base/kept-arrays.ts';
import { assert, DbError } from '../base/errors.ts';
import { nearestOf } from '../base/nearest.ts';
import { hasKernels } from '../columns/array-kernels.ts';
import { datumAt } from '../columns/cells.ts';
import { Dictionary } from '../columns/dictionary.ts';
import { TextScratch } from '../columns/utf8.ts';
import { typeName, type SqlType } from '../columns/types.ts';
import { Decimal, Interval, normalInteger, type Datum } from '../columns/values.ts';
import type { NumberArray, Vector } from '../columns/vector.ts';
import { datumFromText } from '../expressions/text-io.ts';
import { bytesFromBase64 } from '../formats/base64.ts';

/** What users may hand in for rows (docs/api.md, "Values"). */
export type InputRow = Readonly<Record<string, unknown>>;
export type InputColumn =
  | readonly unknown[]
  | NumberArray
  | Uint8ClampedArray
  | BigInt64Array
  | {
      readonly values: readonly unknown[] | NumberArray | BigInt64Array;
      readonly valid: Uint8Array;
    }
  /** Few distinct values, as Arrow's dictionaries and pandas' categoricals have them: row r is `dictionary[codes[r]]`. */
  | {
      readonly codes: Uint8Array | Uint16Array | Int32Array;
      readonly dictionary: readonly unknown[];
      readonly valid?: Uint8Array | undefined;
    };
export type InputColumns = Readonly<Record<string, InputColumn>>;

/** Columns by their place in the table; undefined where one is left to its default. */
export type GivenColumns = {
  readonly rowCount: number;
  readonly inputs: readonly (InputColumn | undefined)[];
};

/** A column that rows are read for. */
export type TargetColumn = { readonly name: string; readonly type: SqlType };

/** How texts without a zone are read; the statement's instant, for 'now'. */
export type InputContext = {
  readonly zone: string;
  readonly nowMicros: number;
  /** What a text for bytea is: PostgreSQL's own spelling, or base64, as JSON has bytes. */
  readonly bytes?: 'base64' | undefined;
};

/** Columns that the input names, as vectors; `undefined` for those that it leaves to their defaults. */
export type InputBatch = {
  readonly rowCount: number;
  readonly columns: readonly (Vector | undefined)[];
  /** By column: 1 for rows that leave it out while others give it. */
  readonly missing: readonly (Uint8Array | undefined)[];
};

/**
 * Reads rows for the columns of one table: names and converters are found once, not once a call, since most commits
 * are of one row.
 */
export class RowReader {
  readonly columns: readonly TargetColumn[];
  readonly #indexOf: ReadonlyMap<string, number>;
  readonly #converters: readonly Converter[];
  readonly #fields: (FieldKernels | undefined)[] = [];
  readonly #copies = new ArraysOfBatches();

  constructor(columns: readonly TargetColumn[]) {
    this.columns = columns;
    this.#indexOf = new Map(columns.map(({ name }, index) => [name, index]));
    this.#converters = columns.map(({ type }) => converterOf(type));
  }

  /**
   * Rows given as objects. A key that is missing leaves the column to its default; a key of no column is 42703, a value
   * that does not fit is 22P02/22003/22023 with table, column and row number, counted from `before` rows that were read earlier.
   * `texts` goes from one piece of an insert to the next.
   */
  objects(
    table: string,
    rows: readonly InputRow[],
    context: InputContext,
    before = 0,
    texts = new InputTexts(),
  ): InputBatch {
    const { columns } = this;
    const counts = this.#countGiven(table, rows, before);
    const vectors: (Vector | undefined)[] = [];
    const missing: (Uint8Array | undefined)[] = [];
    for (let index = 0; index < columns.length; index += 1) {
      const count = counts[index]!;
      missing.push(undefined);
      if (count === 0) {
        vectors.push(undefined);
        continue;
      }
      const column = columns[index]!;
      const { name } = column;
      if (count === rows.length) {
        vectors.push(
          this.#fast(index, rows, context, texts) ??
            this.#build(
              table,
              index,
              rows.length,
              before,
              context,
              (row) => rows[row]![name],
              NEVER,
            ),
        );
        continue;
      }
      const given = giver(name);
      if (!rows.every(given)) missing[index] = Uint8Array.from(rows, (row) => (given(row) ? 0 : 1));
      vectors.push(
        this.#build(
          table,
          index,
          rows.length,
          before,
          context,
          (row) => (given(rows[row]!) ? rows[row]![name] : undefined),
          (row) => !given(rows[row]!),
        ),
      );
    }
    return { rowCount: rows.length, missing, columns: vectors };
  }

  /** A column that every row gives, without an object a value; undefined where some value needs a converter, or is refused. */
  #fast(
    index: number,
    rows: readonly InputRow[],
    context: InputContext,
    texts: InputTexts,
  ): Vector | undefined {
    const column = this.columns[index]!;
    const { kind } = column.type;
    if (rows.length < FIELD_ROWS_MIN) return numbersOf(column, rows);
    const isText = kind === 'text' || kind === 'varchar';
    if (!isText && !isNumberInput(kind)) return undefined;
    const fields = (this.#fields[index] ??= new FieldKernels(column.name));
    if (isText) return this.#texts(index, fields.values(rows), 0, rows.length, context, texts);
    return numberFields(column.type, fields, rows);
  }

  /** Entries [start, start + count) of an array of texts. */
  #texts(
    index: number,
    values: readonly unknown[],
    start: number,
    count: number,
    context: InputContext,
    texts: InputTexts,
  ): Vector | undefined {
    const { type } = this.columns[index]!;
    const convert = this.#converters[index]!;
    return compactTexts(texts.coder(index, type), values, start, count, (value) =>
      convert(value, context),
    );
  }

  /** Whether all of these are columns of bytea. */
  areBytes(names: readonly string[]): boolean {
    return names.every((name) => {
      const index = this.#indexOf.get(name);
      return index !== undefined && this.columns[index]!.type.kind === 'bytea';
    });
  }

  /** What is given for each column: all must have one length. What the object has under a name is asked for once. */
  given(table: string, given: InputColumns): GivenColumns {
    const inputs: (InputColumn | undefined)[] = this.columns.map(() => undefined);
    let rowCount = -1;
    for (const key of Object.keys(given)) {
      const index = this.#indexOf.get(key);
      if (index === undefined) throw unknownColumn(table, key, this.columns);
      const input = given[key]!;
      inputs[index] = input;
      const { length, valid } = isCoded(input)
        ? { length: codesOf(table, key, input).length, valid: input.valid }
        : lengthOf(valuesOf(table, key, input));
      if (rowCount >= 0 && length !== rowCount) {
        throw new DbError(
          '22023',
          `column "${key}" has ${length} values, the columns before it ${rowCount}`,
          {
            table,
            column: key,
            hint: 'Give every column the same number of values.',
          },
        );
      }
      rowCount = length;
      if (valid !== undefined && valid.length < rowCount) {
        throw new DbError('22023', `"valid" of column "${key}" is shorter than its values`, {
          table,
          column: key,
        });
      }
    }
    return { rowCount: Math.max(0, rowCount), inputs };
  }

  /**
   * Rows [start, end) of what is given. Typed arrays are copied once, never read again; `texts` goes from one
   * piece of an insert to the next.
   */
  vectors(
    table: string,
    { inputs }: GivenColumns,
    context: InputContext,
    { start, end }: { readonly start: number; readonly end: number },
    texts: InputTexts,
  ): InputBatch {
    const { columns } = this;
    const rowCount = end - start;
    const copies = this.#copies;
    copies.begin(this.#bytesCopied(inputs, rowCount));
    return {
      rowCount,
      missing: columns.map(() => undefined),
      columns: columns.map((column, index) => {
        const input = inputs[index];
        if (input === undefined) return undefined;
        if (isCoded(input)) {
          assertHolds(table, column.name, [input.codes, input.valid], end);
          return this.#ofCodes(table, index, { start, end }, input, context, texts.coded);
        }
        const { values, valid } = valuesOf(table, column.name, input);
        assertHolds(table, column.name, [values, valid], end);
        const { kind } = column.type;
        if ((kind === 'text' || kind === 'varchar') && !ArrayBuffer.isView(values)) {
          const given =
            valid === undefined
              ? values
              : Array.from({ length: rowCount }, (_, row) =>
                  valid[start + row] === 0 ? null : values[start + row],
                );
          const from = valid === undefined ? start : 0;
          const compact = this.#texts(index, given, from, rowCount, context, texts);
          if (compact !== undefined) return compact;
        }
        const direct = directVector(
          column.type,
          ArrayBuffer.isView(values) ? part(values, start, end) : values,
          valid === undefined ? undefined : part(valid, start, end),
          copies,
        );
        if (direct !== undefined) return direct;
        const get = (row: number): unknown =>
          valid !== undefined && valid[start + row] === 0 ? null : values[start + row];
        return this.#build(table, index, rowCount, start, context, get, NEVER);
      }),
    };
  }

  /** What `vectors` copies as it is of so many rows. */
  #bytesCopied(inputs: GivenColumns['inputs'], rowCount: number): number {
    if (rowCount > ROWS_OF_ONE_BUFFER_MAX) return 0;
    let bytes = 0;
    for (let index = 0; index < inputs.length; index += 1) {
      const values = inputs[index];
      if (!(values instanceof Float64Array || values instanceof Int32Array)) continue;
      if (isCopied(this.columns[index]!.type, values))
        bytes += ArraysOfBatches.roomOf(values.BYTES_PER_ELEMENT * rowCount);
    }
    return bytes;
  }

  /** Each entry of the dictionary is converted once, and texts stay codes all the way into their table. */
  #ofCodes(
    table: string,
    index: number,
    { start, end }: { readonly start: number; readonly end: number },
    { codes, dictionary, valid }: CodedColumn,
    context: InputContext,
    known: CodedTexts,
  ): Vector {
    const { name, type } = this.columns[index]!;
    const rowCount = end - start;
    const isValid = (row: number): boolean => valid === undefined || valid[row] !== 0;
    for (let row = start; row < end; row += 1) {
      const code = codes[row]!;
      if (!isValid(row) || (code >= 0 && code < dictionary.length)) continue;
      throw new DbError('22023', `code ${code} of column "${name}" is not in its dictionary`, {
        table,
        column: name,
        detail: `Row ${row + 1}; the dictionary has ${dictionary.length} values.`,
      });
    }
    if (!known.has(index)) known.set(index, this.#textsOf(table, index, dictionary, context));
    const texts = known.get(index);
    if (texts === undefined) {
      const get = (row: number): unknown =>
        isValid(start + row) ? dictionary[codes[start + row]!] : null;
      if (type.kind === 'text' || type.kind === 'varchar') {
        const values = Array.from({ length: rowCount }, (_, row) => get(row));
        const compact = this.#texts(index, values, 0, rowCount, context, new InputTexts());
        if (compact !== undefined) return compact;
      }
      return this.#build(table, index, rowCount, start, context, get, NEVER);
    }
    const own = keptInts(rowCount);
    for (let row = 0; row < rowCount; row += 1)
      if (isValid(start + row)) own[row] = texts.codeOf[codes[start + row]!]!;
    return {
      rep: 'dictionary',
      type,
      codes: own,
      dictionary: texts.entries,
      ...(valid === undefined ? {} : { validity: validityOf(part(valid, start, end)) }),
    };
  }

  /** Undefined where codes are no use: entries that are NULL, or no texts. */
  #textsOf(
    table: string,
    index: number,
    dictionary: CodedColumn['dictionary'],
    context: InputContext,
  ): { readonly entries: Dictionary; readonly codeOf: Int32Array } | undefined {
    const { type } = this.columns[index]!;
    const holdsNull = dictionary.some((value) => value === null || value === undefined);
    if ((type.kind !== 'text' && type.kind !== 'varchar') || holdsNull) return undefined;
    const get = (entry: number): unknown => dictionary[entry];
    const texts = this.#build(table, index, dictionary.length, 0, context, get, NEVER);
    const entries = new Dictionary();
    // Entries may repeat; codes of a vector may not.
    const codeOf = Int32Array.from(dictionary, (_, entry) => entries.add(textAt(texts, entry)));
    return { entries, codeOf };
  }

  /** By column: how many rows have it as a key of their own. */
  #countGiven(table: string, rows: readonly InputRow[], before: number): Float64Array {
    const counts = new Float64Array(this.columns.length);
    let lastKeys: readonly string[] = [];
    let lastIndexes: readonly number[] = [];
    for (let row = 0; row < rows.length; row += 1) {
      const given = rows[row];
      if (typeof given !== 'object' || given === null || Array.isArray(given)) {
        throw new DbError('22023', `row ${before + row + 1} is not an object`, {
          table,
          hint: 'Give an array of objects such as { id: 1, … }, or an object of columns such as { id: [1, 2] }.',
        });
      }
      // Rows of one maker have their keys in one order.
      if (!hasKeys(given, lastKeys)) {
        const keys = Object.keys(given);
        lastIndexes = keys.map((key) => {
          const index = this.#indexOf.get(key);
          if (index === undefined) throw unknownColumn(table, key, this.columns);
          return index;
        });
        lastKeys = keys;
      }
      if (lastKeys.length === 0) assertIsRow(table, given, before + row + 1);
      for (let key = 0; key < lastIndexes.length; key += 1) counts[lastIndexes[key]!]! += 1;
    }
    return counts;
  }

  /** One value after the other, by the type's converter. */
  #build(
    table: string,
    index: number,
    rowCount: number,
    before: number,
    context: InputContext,
    get: (row: number) => unknown,
    isMissing: (row: number) => boolean,
  ): Vector {
    const { name, type } = this.columns[index]!;
    const convert = this.#converters[index]!;
    const data: Datum[] = [];
    let validity: Uint8Array | undefined;
    let allNumbers = true;
    for (let row = 0; row < rowCount; row += 1) {
      const value = get(row);
      if (value === null || (value === undefined && isMissing(row))) {
        validity ??= new Uint8Array(rowCount).fill(1);
        validity[row] = 0;
        data.push(null);
        continue;
      }
      try {
        const datum = convert(value, context);
        data.push(datum);
        if (typeof datum !== 'number') allNumbers = false;
      } catch (cause) {
        const reason = cause instanceof DbError ? cause : new DbError('22023', String(cause));
        throw new DbError(reason.code, reason.message, {
          table,
          column: name,
          detail: `Row ${before + row + 1}, column "${name}" of type ${typeName(type)}.`,
          hint: reason.hint ?? `Write ${typeName(type)} as PostgreSQL does, or give null.`,
        });
      }
    }
    return vectorOf(type, data, validity, allNumbers);
  }
}

/** What one insert has learnt of its texts, from one piece to the next. */
export class InputTexts {
  readonly coded: CodedTexts = new Map();
  readonly #coders: (TextCoder | undefined)[];

  /** `before`: of rows that came earlier and were given on their own, as the chunks of a stream are. Dictionaries that they brought are no others' rows. */
  constructor(before?: InputTexts) {
    this.#coders = before === undefined ? [] : before.#coders;
  }

  coder(column: number, type: SqlType): TextCoder {
    const known = this.#coders[column];
    // Between two chunks the column may have become another.
    if (known?.type === type) return known;
    const coder = new TextCoder(type);
    this.#coders[column] = coder;
    return coder;
  }
}

/** By column: what the entries of its dictionary were converted to. */
type CodedTexts = Map<
  number,
  { readonly entries: Dictionary; readonly codeOf: Int32Array } | undefined
>;

const NEVER = (): boolean => false;

/** Shorter columns are not worth a dictionary. */
const COMPACT_ROWS_MIN = 64;
/** Distinct texts in one column of a batch, at most; beyond the first of them, one in four rows at most. */
const CODED_TEXTS_MAX = 1024;
const CODED_TEXTS_FREE = 512;

/**
 * A column of texts without a JavaScript string a row, which the journal would hold: codes where they repeat, each text being checked
 * and encoded once, bytes where they hardly do. undefined where some value is no text or is refused: then one value after the
 * other tells.
 */
function compactTexts(
  coder: TextCoder,
  values: readonly unknown[],
  start: number,
  count: number,
  convert: (value: string) => Datum,
): Vector | undefined {
  if (count < COMPACT_ROWS_MIN) return undefined;
  try {
    return (
      coder.codes(values, start, count, convert) ??
      bytesOfTexts(coder.type, values, start, count, convert)
    );
  } catch (cause) {
    if (cause instanceof DbError) return undefined;
    throw cause;
  }
}

/**
 * Codes of a column's texts. It remembers the texts of the pieces before, since those of the next are mostly the same: an insert of
 * a hundred thousand rows then has one dictionary a column, not one every two thousand rows.
 */
class TextCoder {
  readonly type: SqlType;
  #dictionary = new Dictionary();
  #known = new Map<string, number>();
  /** The text seen last under each value of a cheap hash: comparing with it is several times faster than looking into the map. */
  readonly #slotTexts: (string | undefined)[] = Array.from(
    { length: CODER_SLOTS },
    () => undefined,
  );
  readonly #slotCodes = new Int32Array(CODER_SLOTS);
  /** Pieces in a row whose texts hardly repeated, and pieces before the next attempt. */
  #failures = 0;
  #pause = 0;

  constructor(type: SqlType) {
    this.type = type;
  }

  codes(
    values: readonly unknown[],
    start: number,
    count: number,
    convert: (value: string) => Datum,
  ): Vector | undefined {
    if (this.#pause > 0) {
      this.#pause -= 1;
      return undefined;
    }
    // There are never more than CODED_TEXTS_MAX.
    const codes = keptArray(Uint16Array, count);
    const slotTexts = this.#slotTexts;
    const slotCodes = this.#slotCodes;
    const known = this.#known;
    const before = known.size;
    let validity: Uint8Array | undefined;
    for (let row = 0; row < count; row += 1) {
      const value = values[start + row];
      if (typeof value === 'string') {
        const slot = slotOf(value);
        if (slotTexts[slot] === value) {
          codes[row] = slotCodes[slot]!;
          continue;
        }
        let code = known.get(value);
        if (code === undefined) {
          if (
            known.size >= CODED_TEXTS_MAX ||
            known.size - before > CODED_TEXTS_FREE + (row >>> 2)
          ) {
            this.#forget();
            // What was learnt from other pieces makes room for what this one brings.
            if (before > 0) return this.codes(values, start, count, convert);
            this.#failures += 1;
            this.#pause = Math.min(PIECES_PAUSED_MAX, 2 ** this.#failures);
            return undefined;
          }
          code = this.#dictionary.add(convert(value) as string);
          known.set(value, code);
        }
        slotTexts[slot] = value;
        slotCodes[slot] = code;
        codes[row] = code;
      } else if (value === null) {
        validity ??= new Uint8Array(count).fill(1);
        validity[row] = 0;
      } else return undefined;
    }
    this.#failures = 0;
    const dictionary = this.#dictionary;
    // A vector of NULLs alone has no text to lend.
    return dictionary.size === 0
      ? undefined
      : { rep: 'dictionary', type: this.type, codes, dictionary, validity };
  }

  /** Codes that were given out go on meaning what they meant: the next piece gets a dictionary of its own. */
  #forget(): void {
    this.#dictionary = new Dictionary();
    this.#known = new Map();
    this.#slotTexts.fill(undefined);
  }
}

const CODER_SLOTS = 1024;
const PIECES_PAUSED_MAX = 32;

/** Tells short texts such as codes, names and labels apart; others go the way through the map. */
function slotOf(text: string): number {
  const { length } = text;
  if (length < 2) return length === 0 ? 0 : text.charCodeAt(0) & (CODER_SLOTS - 1);
  const ends = (text.charCodeAt(0) << 5) ^ (text.charCodeAt(length - 1) << 2);
  return (ends ^ (text.charCodeAt(length >>> 1) * 7) ^ length) & (CODER_SLOTS - 1);
}

function bytesOfTexts(
  type: SqlType,
  values: readonly unknown[],
  start: number,
  rowCount: number,
  convert: (value: string) => Datum,
): Vector | undefined {
  const scratch = new TextScratch();
  const offsets = new Uint32Array(rowCount + 1);
  let bytes = new Uint8Array(rowCount * 32);
  let end = 0;
  let validity: Uint8Array | undefined;
  for (let row = 0; row < rowCount; row += 1) {
    const value = values[start + row];
    if (typeof value === 'string') {
      const length = scratch.encode(convert(value) as string);
      if (end + length > bytes.length) {
        const longer = new Uint8Array(Math.max(bytes.length * 2, end + length));
        longer.set(bytes);
        bytes = longer;
      }
      const from = scratch.bytes;
      for (let at = 0; at < length; at += 1) bytes[end + at] = from[at]!;
      end += length;
    } else if (value === null) {
      validity ??= new Uint8Array(rowCount).fill(1);
      validity[row] = 0;
    } else return undefined;
    offsets[row + 1] = end;
  }
  // The journal keeps the whole buffer: no more of it than is used.
  return { rep: 'bytes', type, offsets, bytes: bytes.slice(0, end), validity };
}

function lengthOf({ values, valid }: ReturnType<typeof valuesOf>): {
  readonly length: number;
  readonly valid: Uint8Array | undefined;
} {
  return { length: values.length, valid };
}

/** A row of defaults is written `{}`. Whatever else has no keys is something that was to give rows: it is not one of NULLs. */
function assertIsRow(table: string, given: object, number: number): void {
  const prototype = Object.getPrototypeOf(given) as object | null;
  // Of any realm.
  if (prototype === null || Object.getPrototypeOf(prototype) === null) return;
  const [what, hint] =
    'then' in given
      ? ['a promise', 'Await it: the rows are what it resolves with.']
      : Symbol.iterator in given
        ? ['iterable, and no array', 'Give an array: Array.from(rows).']
        : ['an object without keys', 'Give objects whose own keys are columns, such as { id: 1 }.'];
  throw new DbError('22023', `row ${number} is ${what}`, { table, hint });
}

/** Whether `Object.keys(row)` are these; asked without making the list. */
function hasKeys(row: InputRow, keys: readonly string[]): boolean {
  let count = 0;
  // What an object inherits comes after its own keys.
  for (const key in row) {
    if (count < keys.length) {
      if (key !== keys[count]) return false;
    } else if (Object.hasOwn(row, key)) return false;
    else break;
    count += 1;
  }
  return count === keys.length && (count === 0 || Object.hasOwn(row, keys[count - 1]!));
}

/** A column of plain numbers that are all the type's own; undefined where some value needs a converter. */
function numbersOf({ name, type }: TargetColumn, rows: readonly InputRow[]): Vector | undefined {
  const { kind } = type;
  if (kind !== 'float8' && kind !== 'int2' && kind !== 'int4' && kind !== 'int8') return undefined;
  const limit = kind === 'float8' ? 0 : INT_LIMITS[kind];
  const values = new Float64Array(rows.length);
  for (let row = 0; row < rows.length; row += 1) {
    const value = rows[row]![name];
    if (typeof value !== 'number') return undefined;
    if (limit > 0 && !(value > -limit && value < limit && Math.floor(value) === value))
      return undefined;
    // An integer has no negative zero.
    values[row] = limit > 0 && value === 0 ? 0 : value;
  }
  // No `numberVector`: after large inserts, whose vectors live long, V8 would put these among the old objects, too.
  return {
    rep: 'number',
    type,
    values,
    validity: undefined,
    factor: 1,
    base: 0,
    scale: 0,
    bounds: undefined,
  };
}

/** As many rows are worth code of their own. */
const FIELD_ROWS_MIN = 64;

/**
 * Loops over one field of many objects, made for its name: the engine then knows where the field lies, and a number goes from the object
 * into the array without becoming an object itself.
 */
class FieldKernels {
  readonly name: string;
  /** out[i] = rows[i][name], while these are numbers; the first row whose value is none. */
  readonly numbers: (rows: readonly InputRow[], from: number, out: Float64Array) => number;
  /** The same for whole numbers of 32 bits. */
  readonly integers: (rows: readonly InputRow[], from: number, out: Int32Array) => number;
  readonly #values: (rows: readonly InputRow[], out: unknown[]) => void;

  constructor(name: string) {
    this.name = name;
    const field = JSON.stringify(name);
    this.numbers = new Function(
      'rows',
      'from',
      'out',
      `'use strict'; for (let i = from; i < out.length; i += 1) {
        const value = rows[i][${field}];
        if (typeof value !== 'number') return i;
        out[i] = value;
      }
      return out.length;`,
    ) as FieldKernels['numbers'];
    this.integers = new Function(
      'rows',
      'from',
      'out',
      `'use strict'; for (let i = from; i < out.length; i += 1) {
        const value = rows[i][${field}];
        if ((value | 0) !== value) return i;
        out[i] = value;
      }
      return out.length;`,
    ) as FieldKernels['integers'];
    this.#values = new Function(
      'rows',
      'out',
      `'use strict'; for (let i = 0; i < rows.length; i += 1) out.push(rows[i][${field}]);`,
    ) as (rows: readonly InputRow[], out: unknown[]) => void;
  }

  values(rows: readonly InputRow[]): unknown[] {
    const out: unknown[] = [];
    this.#values(rows, out);
    return out;
  }
}

function isNumberInput(kind: SqlType['kind']): boolean {
  return (
    kind === 'float8' ||
    kind === 'int2' ||
    kind === 'int4' ||
    kind === 'int8' ||
    kind === 'timestamp' ||
    kind === 'timestamptz'
  );
}

/** Numbers, NULLs and, for timestamps, Dates; undefined where there is something else, or a number that does not fit. */
function numberFields(
  type: SqlType,
  fields: FieldKernels,
  rows: readonly InputRow[],
): Vector | undefined {
  const { kind } = type;
  if (kind === 'int2' || kind === 'int4') return integerFields(type, fields, rows);
  const values = keptDoubles(rows.length);
  let validity: Uint8Array | undefined;
  const isTime = kind === 'timestamp' || kind === 'timestamptz';
  for (let row = fields.numbers(rows, 0, values); row < rows.length;) {
    const value = rows[row]![fields.name];
    if (value === null) {
      validity ??= new Uint8Array(rows.length).fill(1);
      validity[row] = 0;
    } else if (isTime && value instanceof Date) values[row] = value.getTime();
    else return undefined;
    row = fields.numbers(rows, row + 1, values);
  }
  if (isTime) return microsOf(values, validity) ? numberVector(type, values, validity) : undefined;
  if (kind === 'int8' && !areWhole(values, INT_LIMITS.int8)) return undefined;
  return numberVector(type, values, validity);
}

/** The same for what fits 32 bits: half the memory until the rows are sealed. */
function integerFields(
  type: SqlType,
  fields: FieldKernels,
  rows: readonly InputRow[],
): Vector | undefined {
  const values = keptInts(rows.length);
  let validity: Uint8Array | undefined;
  for (let row = fields.integers(rows, 0, values); row < rows.length;) {
    if (rows[row]![fields.name] !== null) return undefined;
    validity ??= new Uint8Array(rows.length).fill(1);
    validity[row] = 0;
    row = fields.integers(rows, row + 1, values);
  }
  if (type.kind === 'int2')
    for (let row = 0; row < values.length; row += 1)
      if ((values[row]! << 16) >> 16 !== values[row]) return undefined;
  return numberVector(type, values, validity);
}

/** Whether all are whole numbers between −limit and limit. An integer has no negative zero: it loses its sign. */
function areWhole(values: Float64Array, limit: number): boolean {
  for (let row = 0; row < values.length; row += 1) {
    const value = values[row]!;
    if (!(value > -limit && value < limit && Math.floor(value) === value)) return false;
    if (value === 0) values[row] = 0;
  }
  return true;
}

/** Epoch milliseconds, fractions included, become microseconds where they stand; false where one is beyond what a double counts. */
function microsOf(values: Float64Array, validity: Uint8Array | undefined): boolean {
  for (let row = 0; row < values.length; row += 1) {
    const value = Math.round(values[row]! * 1000);
    // In a double every whole number up to this one is itself; NaN fails too.
    if (!(value <= Number.MAX_SAFE_INTEGER && value >= Number.MIN_SAFE_INTEGER)) {
      if (validity === undefined || validity[row] === 1) return false;
      values[row] = 0;
    } else values[row] = value === 0 ? 0 : value;
  }
  return true;
}

/** Numbers as they are; one shape for all, so that reading them stays fast. */
function numberVector(
  type: SqlType,
  values: NumberArray,
  validity: Uint8Array | undefined,
  scale = 0,
): Vector {
  return { rep: 'number', type, values, validity, factor: 1, base: 0, scale, bounds: undefined };
}

/** Whether a row gives a column. Names that every object inherits, such as "constructor", must be its own. */
function giver(name: string): (row: InputRow) => boolean {
  return name in Object.prototype ? (row) => Object.hasOwn(row, name) : (row) => name in row;
}

function valuesOf(
  table: string,
  name: string,
  input: InputColumn,
): { values: readonly unknown[] | NumberArray | BigInt64Array; valid: Uint8Array | undefined } {
  if (Array.isArray(input)) return { values: input as readonly unknown[], valid: undefined };
  if (ArrayBuffer.isView(input) && !(input instanceof DataView))
    return { values: attached(table, name, input as NumberArray), valid: undefined };
  const pair = input as { readonly values?: unknown; readonly valid?: unknown };
  if (
    typeof input === 'object' &&
    input !== null &&
    pair.valid instanceof Uint8Array &&
    (Array.isArray(pair.values) || ArrayBuffer.isView(pair.values))
  ) {
    const values = pair.values as readonly unknown[] | NumberArray;
    return {
      values: ArrayBuffer.isView(values) ? attached(table, name, values) : values,
      valid: pair.valid,
    };
  }
  throw new DbError('22023', `column "${name}" is not an array`, {
    table,
    column: name,
    hint: 'Give an array, a typed array, { values, valid: Uint8Array } or { codes, dictionary }.',
  });
}

type CodedColumn = Extract<InputColumn, { readonly codes: unknown }>;

function isCoded(input: InputColumn): input is CodedColumn {
  return typeof input === 'object' && input !== null && 'codes' in input;
}

/** The codes, once they and their dictionary are known to be what they should. */
function codesOf(table: string, name: string, input: CodedColumn): CodedColumn['codes'] {
  const { codes, dictionary, valid } = input as {
    readonly [key in keyof CodedColumn]: unknown;
  };
  if (
    !(codes instanceof Uint8Array || codes instanceof Uint16Array || codes instanceof Int32Array) ||
    !Array.isArray(dictionary) ||
    (valid !== undefined && !(valid instanceof Uint8Array))
  ) {
    throw new DbError('22023', `column "${name}" is not a column of codes`, {
      table,
      column: name,
      hint: 'Give { codes: Uint8Array | Uint16Array | Int32Array, dictionary: […], valid?: Uint8Array }.',
    });
  }
  return attached(table, name, codes) as CodedColumn['codes'];
}

/** Large inserts are read piece by piece: an array that was long enough may have been cut off since. */
function assertHolds(
  table: string,
  name: string,
  arrays: readonly ({ readonly length: number } | undefined)[],
  end: number,
): void {
  for (const array of arrays)
    if (array !== undefined && array.length < end)
      throw new DbError('22023', `the array of column "${name}" has lost values`, {
        table,
        column: name,
        hint: 'Leave arrays as they are until the insert has resolved, or give a copy.',
      });
}

/** A typed array whose memory was given away is empty: that is no column of no rows. */
function attached(table: string, name: string, values: NumberArray): NumberArray {
  if (values.length > 0) return values;
  try {
    // Refuses a detached buffer.
    new Uint8Array(values.buffer);
    return values;
  } catch (cause) {
    throw new DbError('22023', `the array of column "${name}" is detached`, {
      table,
      column: name,
      hint: 'It was transferred, to a worker perhaps: give a copy.',
      cause,
    });
  }
}

const INT_LIMITS = { int2: 32_768, int4: 2_147_483_648, int8: 2 ** 53 } as const;

function textAt(texts: Vector, entry: number): string {
  const text = datumAt(texts, entry);
  assert(typeof text === 'string', 'the entries of a dictionary of texts are texts');
  return text;
}

/** More rows are worth a buffer a column. */
const ROWS_OF_ONE_BUFFER_MAX = 512;

/** What a buffer for the batches of a table grows to: some twenty of a hundred rows. */
const BUFFER_BYTES_MAX = 64 * 1024;

/**
 * Doubles and ints of small batches of a table, one behind the other in shared buffers: a buffer costs more than what a hundred rows write into
 * it, and all of them are kept about as long, until their segment is sealed. Buffers grow with what is written: a table that is hardly
 * written to has little beside its rows.
 */
class ArraysOfBatches {
  #buffer: ArrayBufferLike = new ArrayBuffer(0);
  #used = 0;
  /** What may be used for the batch at hand. */
  #end = 0;

  /** Begins a batch; what does not fit into so many bytes gets buffers of its own. */
  begin(byteLength: number): void {
    if (byteLength > this.#buffer.byteLength - this.#used) {
      const grown = Math.min(BUFFER_BYTES_MAX, this.#buffer.byteLength * 2);
      this.#buffer = keptBuffer(Math.max(byteLength, grown));
      this.#used = 0;
    }
    this.#end = this.#used + byteLength;
  }

  static roomOf(byteLength: number): number {
    return (byteLength + 7) & ~7;
  }

  /** A copy; with a buffer of its own where there is no room for it. */
  copy(values: NumberArray): NumberArray {
    if (!(values instanceof Float64Array || values instanceof Int32Array))
      return values.slice() as NumberArray;
    const { length, byteLength } = values;
    const offset = this.#used;
    if (offset + byteLength > this.#end) {
      const own = values instanceof Float64Array ? keptDoubles(length) : keptInts(length);
      own.set(values);
      return own;
    }
    this.#used += ArraysOfBatches.roomOf(byteLength);
    const copy =
      values instanceof Float64Array
        ? new Float64Array(this.#buffer, offset, length)
        : new Int32Array(this.#buffer, offset, length);
    copy.set(values);
    return copy;
  }
}

/** Typed arrays that `directVector` may copy as they are. */
function isCopied(type: SqlType, values: NumberArray | BigInt64Array | BigUint64Array): boolean {
  // Others are read value by value: a Buffer, whose `slice` is no copy, and what a test runner gives from its own realm.
  if (!hasKernels(values)) return false;
  switch (type.kind) {
    case 'float8':
    case 'timestamptz':
    case 'timestamp':
      return values instanceof Float64Array;
    case 'float4':
      return values instanceof Float32Array;
    case 'int2':
    case 'int4':
    case 'int8':
      return !(
        values instanceof BigInt64Array ||
        values instanceof BigUint64Array ||
        values instanceof Float32Array
      );
    default:
      return false;
  }
}

/** The array itself where all of it is meant: to make a view of it takes as long as to copy a hundred numbers. */
function part<Values extends NumberArray | BigInt64Array>(
  values: Values,
  start: number,
  end: number,
): Values {
  return start === 0 && end === values.length ? values : (values.subarray(start, end) as Values);
}

/** A copy of its own, in which whatever is not 0 is 1: what is kept is counted by sums. */
function validityOf(valid: Uint8Array): Uint8Array {
  const own = new Uint8Array(valid);
  for (let row = 0; row < own.length; row += 1) if (own[row]! > 1) own[row] = 1;
  return own;
}

/** Typed arrays whose values are the type's own: one copy, one check. */
function directVector(
  type: SqlType,
  values: readonly unknown[] | NumberArray | BigInt64Array,
  valid: Uint8Array | undefined,
  copies: ArraysOfBatches,
): Vector | undefined {
  if (!ArrayBuffer.isView(values)) return undefined;
  const validity = valid === undefined ? undefined : validityOf(valid);
  if (type.kind === 'numeric' && values instanceof Float64Array)
    return decimalsOf(type, values, validity);
  if (!isCopied(type, values)) return undefined;
  const numbers = values as NumberArray;
  if (type.kind === 'int2' || type.kind === 'int4' || type.kind === 'int8') {
    const limit = INT_LIMITS[type.kind];
    if (
      numbers instanceof Float64Array ||
      numbers instanceof Uint32Array ||
      (numbers instanceof Int32Array && type.kind === 'int2')
    ) {
      for (let row = 0; row < numbers.length; row += 1) {
        const value = numbers[row]!;
        if (
          (validity === undefined || validity[row] === 1) &&
          !(Math.floor(value) === value && value >= -limit && value < limit)
        )
          return undefined;
      }
    } else if (type.kind === 'int2' && numbers instanceof Uint16Array) {
      return undefined;
    }
  }
  const own = copies.copy(numbers);
  const isTime = type.kind === 'timestamptz' || type.kind === 'timestamp';
  return !isTime || microsOf(own as Float64Array, validity)
    ? numberVector(type, own, validity)
    : undefined;
}

/**
 * Doubles for a numeric(p, s): the decimal that a double is written as. A decimal of at most fifteen digits that rounds to the double
 * is that one, for no other is as short; where there is none, the text decides.
 */
function decimalsOf(
  type: Extract<SqlType, { kind: 'numeric' }>,
  values: Float64Array,
  validity: Uint8Array | undefined,
): Vector | undefined {
  const { precision, scale } = type;
  if (precision === undefined || scale === undefined || scale < 0 || scale > 15) return undefined;
  const power = 10 ** scale;
  const end = 10 ** Math.min(precision, 15);
  const coefficients = new Float64Array(values.length);
  for (let row = 0; row < values.length; row += 1) {
    if (validity !== undefined && validity[row] === 0) continue;
    const value = values[row]!;
    const coefficient = Math.round(value * power);
    if (!(coefficient < end && coefficient > -end && coefficient / power === value))
      return undefined;
    // A numeric has no negative zero.
    coefficients[row] = coefficient === 0 ? 0 : coefficient;
  }
  return numberVector(type, coefficients, validity, scale);
}

function vectorOf(
  type: SqlType,
  data: Datum[],
  validity: Uint8Array | undefined,
  allNumbers: boolean,
): Vector {
  switch (type.kind) {
    case 'boolean': {
      const values = new Uint8Array(data.length);
      for (let row = 0; row < data.length; row += 1) values[row] = data[row] === true ? 1 : 0;
      return { rep: 'boolean', type, values, validity };
    }
    case 'int2':
    case 'int4':
    case 'int8':
    case 'float4':
    case 'float8':
    case 'date':
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      if (allNumbers) {
        const values = new Float64Array(data.length);
        for (let row = 0; row < data.length; row += 1)
          values[row] = (data[row] as number | null) ?? 0;
        return numberVector(type, values, validity);
      }
      return { rep: 'object', type, values: data, validity };
    case 'numeric': {
      const scale = type.scale;
      if (
        scale !== undefined &&
        data.every(
          (datum) =>
            datum === null ||
            ((datum as Decimal).special === undefined &&
              (datum as Decimal).scale === scale &&
              isSafe((datum as Decimal).coefficient)),
        )
      ) {
        const values = new Float64Array(data.length);
        for (let row = 0; row < data.length; row += 1)
          values[row] = data[row] === null ? 0 : Number((data[row] as Decimal).coefficient);
        return numberVector(type, values, validity, scale);
      }
      return { rep: 'object', type, values: data, validity };
    }
    default:
      return { rep: 'object', type, values: data, validity };
  }
}

function isSafe(coefficient: bigint): boolean {
  return coefficient >= -9007199254740991n && coefficient <= 9007199254740991n;
}

/** Makes a datum of a JavaScript value that is not null. */
export type Converter = (value: unknown, context: InputContext) => Datum;

export function converterOf(type: SqlType): Converter {
  const fromText = (text: string, context: InputContext): Datum =>
    datumFromText(checkedText(text), type, context);
  switch (type.kind) {
    case 'boolean':
      return (value, context) => {
        if (typeof value === 'boolean') return value;
        if (typeof value === 'string') return fromText(value, context);
        throw mismatch(value, type, 'true or false');
      };
    case 'int2':
    case 'int4': {
      const limit = INT_LIMITS[type.kind];
      return (value, context) => {
        if (typeof value === 'number') {
          if (!Number.isInteger(value)) throw mismatch(value, type, 'a whole number');
          if (value < -limit || value >= limit) throw outOfRange(type, value);
          return value === 0 ? 0 : value;
        }
        if (typeof value === 'bigint') {
          if (value < BigInt(-limit) || value >= BigInt(limit)) throw outOfRange(type, value);
          return Number(value);
        }
        if (typeof value === 'string') return fromText(value, context);
        throw mismatch(value, type, 'a whole number');
      };
    }
    case 'int8':
      return (value, context) => {
        if (typeof value === 'number') {
          if (!Number.isInteger(value)) throw mismatch(value, type, 'a whole number');
          if (Number.isSafeInteger(value)) return value === 0 ? 0 : value;
          return int8(BigInt(value));
        }
        if (typeof value === 'bigint') return int8(value);
        if (typeof value === 'string') return fromText(value, context);
        throw mismatch(value, type, 'a whole number, a bigint or a text');
      };
    case 'float4':
    case 'float8':
      return (value, context) => {
        if (typeof value === 'number') return type.kind === 'float4' ? float4(value) : value;
        if (typeof value === 'bigint')
          return type.kind === 'float4' ? float4(Number(value)) : Number(value);
        if (typeof value === 'string') return fromText(value, context);
        throw mismatch(value, type, 'a number');
      };
    case 'numeric':
      return (value, context) => {
        if (typeof value === 'number' || typeof value === 'bigint')
          return fromText(String(value), context);
        if (typeof value === 'string') return fromText(value, context);
        if (value instanceof Decimal) return fromText(value.toString(), context);
        throw mismatch(value, type, 'a number, a bigint or a text');
      };
    case 'text':
    case 'varchar':
    case 'bpchar':
      return (value, context) => {
        if (typeof value === 'string') {
          const text = checkedText(value);
          return type.kind === 'text' ? text : fromText(text, context);
        }
        if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean')
          return fromText(String(value), context);
        throw mismatch(value, type, 'a text');
      };
    case 'timestamp':
    case 'timestamptz':
      return (value, context) => {
        if (typeof value === 'number') return microsOfMs(value, type);
        if (value instanceof Date) return microsOfMs(value.getTime(), type);
        if (typeof value === 'bigint') return micros(value, type);
        if (typeof value === 'string') return fromText(value, context);
        throw mismatch(
          value,
          type,
          'a text, a Date, milliseconds as a number or microseconds as a bigint',
        );
      };
    case 'date':
      return (value, context) => {
        if (value instanceof Date) {
          const days = Math.floor(value.getTime() / 86_400_000);
          if (!Number.isFinite(days)) throw mismatch(value, type, 'a valid Date');
          return days;
        }
        if (typeof value === 'string') return fromText(value, context);
        throw mismatch(value, type, "a text such as '2026-11-22'");
      };
    case 'interval':
      return (value, context) => {
        if (value instanceof Interval) return value;
        if (typeof value === 'string') return fromText(value, context);
        throw mismatch(value, type, "a text such as 'P1DT2H' or '1 day 02:00'");
      };
    case 'bytea':
      return (value, context) => {
        if (value instanceof Uint8Array) return new Uint8Array(value);
        if (typeof value !== 'string') throw mismatch(value, type, 'a Uint8Array');
        return context.bytes === undefined || value.startsWith('\\x')
          ? fromText(value, context)
          : bytesFromBase64(value);
      };
    case 'time':
    case 'uuid':
      return (value, context) => {
        if (typeof value === 'string') return fromText(value, context);
        throw mismatch(value, type, 'a text');
      };
    case 'unknown':
    case 'null':
      return (value) => {
        if (typeof value === 'string') return checkedText(value);
        throw mismatch(value, type, 'a text');
      };
  }
}

/** Text that can be stored: no NUL, no lone surrogate (22021). */
export function checkedText(text: string): string {
  if (text.includes('\0')) {
    throw new DbError('22021', 'invalid byte sequence for encoding "UTF8": 0x00', {
      hint: 'Remove NUL characters from the text.',
    });
  }
  if (!text.isWellFormed()) {
    throw new DbError('22021', 'invalid byte sequence for encoding "UTF8": a lone surrogate', {
      hint: 'Call toWellFormed() on the text, or repair what cut a surrogate pair in two.',
    });
  }
  return text;
}

function int8(value: bigint): number | bigint {
  if (value < -(2n ** 63n) || value >= 2n ** 63n) throw outOfRange({ kind: 'int8' }, value);
  return normalInteger(value);
}

function float4(value: number): number {
  const rounded = Math.fround(value);
  if (!Number.isFinite(rounded) && Number.isFinite(value))
    throw outOfRange({ kind: 'float4' }, value);
  return rounded;
}

function microsOfMs(ms: number, type: SqlType): number {
  const micros = Math.round(ms * 1000);
  if (!Number.isSafeInteger(micros))
    throw mismatch(ms, type, 'a valid Date, or milliseconds since 1970');
  return micros;
}

/** From 4713 BC, as in PostgreSQL, to what 64 bits hold. */
const MICROS_MIN = -210_866_803_200_000_000n;
const MICROS_END = 2n ** 63n;

function micros(value: bigint, type: SqlType): number | bigint {
  if (value >= MICROS_MIN && value < MICROS_END) return normalInteger(value);
  throw new DbError('22008', `${type.kind} out of range: ${value} microseconds since 1970`, {
    hint: 'Give microseconds as a bigint, milliseconds as a number.',
  });
}

function outOfRange(type: SqlType, value: number | bigint): DbError {
  return new DbError('22003', `value "${value}" is out of range for type ${typeName(type)}`, {
    hint:
      type.kind === 'int8'
        ? 'Use numeric for larger numbers.'
        : 'Use a wider type: bigint, double precision or numeric.',
  });
}

function mismatch(value: unknown, type: SqlType, wanted: string): DbError {
  return new DbError('22023', `${describe(value)} is not a value of type ${typeName(type)}`, {
    hint: `Give ${wanted}, or null.`,
  });
}

function describe(value: unknown): string {
  if (value === undefined) return 'undefined';
  if (typeof value === 'number') return `the number ${value}`;
  if (typeof value === 'string') return 'a text';
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'an invalid Date' : 'a Date';
  if (Array.isArray(value)) return 'an array';
  return `a value of JavaScript type ${typeof value}`;
}

function unknownColumn(table: string, key: string, columns: readonly TargetColumn[]): DbError {
  const nearest = nearestOf(
    key,
    columns.map(({ name }) => name),
  );
  return new DbError('42703', `column "${key}" of relation "${table}" does not exist`, {
    table,
    column: key,
    hint:
      nearest === undefined
        ? `The columns are ${columns.map(({ name }) => name).join(', ')}.`
        : `Did you mean "${nearest}"?`,
  });
}
