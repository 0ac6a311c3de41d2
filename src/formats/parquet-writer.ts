import type { ColumnChunk, FileMetaData, RowGroup, SchemaElement } from 'hyparquet';
import { ByteWriter } from 'hyparquet-writer/src/bytewriter.js';
import { writePageHeader } from 'hyparquet-writer/src/datapage.js';
import { writeMetadata } from 'hyparquet-writer/src/metadata.js';
import { snappyCompress } from 'hyparquet-writer/src/snappy.js';
import type { Batch } from '../columns/batch.ts';
import { datumAt } from '../columns/build.ts';
import { bytesAt } from '../columns/cells.ts';
import { Dictionary } from '../columns/dictionary.ts';
import { isTextType, type SqlType } from '../columns/types.ts';
import { encodeText } from '../columns/utf8.ts';
import type { Vector } from '../columns/vector.ts';
import { BatchPages } from './batch-pages.ts';
import { nameForFile, TYPE_KEY } from './type-names.ts';
import {
  bytesOf,
  coefficientOf,
  dateOf,
  int64Of,
  numberOf,
  packedBits,
  presentRows,
} from './write-numbers.ts';
import {
  distinctNames,
  type FormatWriter,
  type WriterColumn,
  type WriterOptions,
  type Written,
} from './writer-contract.ts';

/** A row group is held, packed, until it is whole. */
const GROUP_ROW_COUNT = 1 << 17;
const GROUP_BYTES = 1 << 26;
/** A column chunk's dictionary; further values stand as they are. */
const DICTIONARY_SIZE_MAX = 1 << 14;
const DICTIONARY_BYTES_MAX = 1 << 20;

const MAGIC = encodeText('PAR1');

/**
 * Parquet, a page of a column at a time: each is a piece of work of about a millisecond. Snappy, since every reader knows it. Pages are
 * written here and not by hyparquet-writer's front door, which encodes a whole row group in one go; headers and directory are its.
 */
export class ParquetWriter implements FormatWriter {
  readonly #columns: readonly WriterColumn[];
  readonly #options: WriterOptions;
  readonly #elements: readonly SchemaElement[];
  readonly #pages = new BatchPages();
  readonly #groups: RowGroup[] = [];
  #chunks: Chunk[];
  #rowCount = 0;
  #groupRowCount = 0;
  #offset = 0;

  constructor(columns: readonly WriterColumn[], options: WriterOptions) {
    this.#columns = columns;
    this.#options = options;
    const names = distinctNames(columns);
    this.#elements = columns.map(({ type }, index) => elementOf(names[index]!, type));
    this.#chunks = this.#emptyChunks();
  }

  *begin(): Written {
    yield this.#out(MAGIC.slice());
  }

  *write(batch: Batch): Written {
    const page = this.#pages.add(batch);
    if (page !== undefined) yield* this.#page(page);
  }

  *end(): Written {
    const rest = this.#pages.rest();
    if (rest !== undefined) yield* this.#page(rest);
    yield* this.#group();
    const writer = new ByteWriter();
    const names = this.#columns.flatMap(({ type }, index) => {
      const name = nameForFile(type);
      return name === undefined ? [] : [[this.#elements[index]!.name, name] as const];
    });
    const metadata: Omit<FileMetaData, 'metadata_length'> = {
      version: 2,
      created_by: 'analyticdb',
      schema: [{ name: 'root', num_children: this.#elements.length }, ...this.#elements],
      num_rows: BigInt(this.#rowCount),
      row_groups: this.#groups,
      ...(names.length === 0
        ? {}
        : {
            key_value_metadata: [
              { key: TYPE_KEY, value: JSON.stringify(Object.fromEntries(names)) },
            ],
          }),
    };
    writeMetadata(writer, metadata as FileMetaData);
    writer.appendBytes(MAGIC);
    yield this.#out(writer.getBytes().slice());
  }

  *#page({ rowCount, columns }: Batch): Written {
    for (const [index, chunk] of this.#chunks.entries()) {
      chunk.add(columns[index]!, rowCount);
      yield undefined;
    }
    this.#groupRowCount += rowCount;
    const bytes = this.#chunks.reduce((total, chunk) => total + chunk.byteLength, 0);
    if (this.#groupRowCount >= GROUP_ROW_COUNT || bytes >= GROUP_BYTES) yield* this.#group();
  }

  *#group(): Written {
    if (this.#groupRowCount === 0) return;
    const start = this.#offset;
    const columns: ColumnChunk[] = [];
    for (const chunk of this.#chunks) {
      const { pieces, column } = chunk.finish(this.#offset);
      columns.push(column);
      for (const piece of pieces) yield this.#out(piece);
    }
    this.#groups.push({
      columns,
      total_byte_size: columns.reduce(
        (total, { meta_data }) => total + meta_data!.total_uncompressed_size,
        0n,
      ),
      num_rows: BigInt(this.#groupRowCount),
      file_offset: BigInt(start),
      total_compressed_size: BigInt(this.#offset - start),
    });
    this.#rowCount += this.#groupRowCount;
    this.#groupRowCount = 0;
    this.#chunks = this.#emptyChunks();
  }

  #emptyChunks(): Chunk[] {
    return this.#columns.map(
      ({ type }, index) => new Chunk(this.#elements[index]!, type, this.#options),
    );
  }

  #out(bytes: Uint8Array): Uint8Array {
    this.#offset += bytes.length;
    return bytes;
  }
}

/** One column of one row group. */
class Chunk {
  byteLength = 0;
  readonly #element: SchemaElement;
  readonly #type: SqlType;
  readonly #options: WriterOptions;
  readonly #pages: Uint8Array[] = [];
  #uncompressed = 0;
  #rowCount = 0;
  #nullCount = 0;
  #min: number | bigint | undefined;
  #max: number | bigint | undefined;
  /** Texts of the chunk, until there are too many different ones. */
  #dictionary: Dictionary | undefined;
  #dictionaryPages = 0;
  /** By code of the dictionary that the rows come with: the code here, or −1. */
  #codes: { readonly source: Dictionary; readonly known: Map<number, number> } | undefined;

  constructor(element: SchemaElement, type: SqlType, options: WriterOptions) {
    this.#element = element;
    this.#type = type;
    this.#options = options;
    if (isTextType(type)) this.#dictionary = new Dictionary();
  }

  add(vector: Vector, rowCount: number): void {
    const { rows, count } = presentRows(vector, rowCount);
    const levels = levelBytes(rowCount, rows, count);
    const codes = this.#codesOf(vector, rows, count);
    const body =
      codes === undefined
        ? this.#plain(vector, rows, count)
        : codeBytes(codes, this.#dictionary!.size);
    const page = new Uint8Array(levels.length + body.length);
    page.set(levels);
    page.set(body, levels.length);
    this.#pages.push(
      this.#pageBytes(page, {
        type: 'DATA_PAGE',
        data_page_header: {
          num_values: rowCount,
          encoding: codes === undefined ? 'PLAIN' : 'RLE_DICTIONARY',
          definition_level_encoding: 'RLE',
          repetition_level_encoding: 'RLE',
        },
      }),
    );
    if (codes !== undefined) this.#dictionaryPages += 1;
    this.#rowCount += rowCount;
    this.#nullCount += rowCount - count;
  }

  /** Its pages in order, and what the directory says of them. */
  finish(offset: number): { readonly pieces: readonly Uint8Array[]; readonly column: ColumnChunk } {
    const pieces = [...this.#pages];
    const hasDictionary = this.#dictionaryPages > 0;
    let dataAt = offset;
    if (hasDictionary) {
      const dictionary = this.#dictionary!;
      const values = Array.from({ length: dictionary.size }, (_, code) => dictionary.bytes(code));
      const page = this.#pageBytes(lengthPrefixed(values), {
        type: 'DICTIONARY_PAGE',
        dictionary_page_header: { num_values: dictionary.size, encoding: 'PLAIN' },
      });
      pieces.unshift(page);
      dataAt += page.length;
    }
    const isPlain = this.#dictionaryPages < this.#pages.length;
    return {
      pieces,
      column: {
        file_offset: BigInt(offset),
        meta_data: {
          type: this.#element.type!,
          encodings: [
            'RLE',
            ...(isPlain || hasDictionary ? (['PLAIN'] as const) : []),
            ...(hasDictionary ? (['RLE_DICTIONARY'] as const) : []),
          ],
          path_in_schema: [this.#element.name],
          codec: 'SNAPPY',
          num_values: BigInt(this.#rowCount),
          total_uncompressed_size: BigInt(this.#uncompressed),
          total_compressed_size: BigInt(this.byteLength),
          data_page_offset: BigInt(dataAt),
          ...(hasDictionary ? { dictionary_page_offset: BigInt(offset) } : {}),
          statistics: {
            null_count: BigInt(this.#nullCount),
            // The format has only one order for zeros: the smallest is −0, the largest is 0.
            ...(this.#min === undefined ? {} : { min_value: this.#min === 0 ? -0 : this.#min }),
            ...(this.#max === undefined ? {} : { max_value: this.#max === 0 ? 0 : this.#max }),
          },
        },
      },
    };
  }

  #pageBytes(
    page: Uint8Array,
    header: Omit<
      Parameters<typeof writePageHeader>[1],
      'uncompressed_page_size' | 'compressed_page_size'
    >,
  ): Uint8Array {
    const packed = snappyCompress(page);
    const writer = new ByteWriter();
    writePageHeader(writer, {
      ...header,
      uncompressed_page_size: page.length,
      compressed_page_size: packed.length,
    });
    this.#uncompressed += writer.offset + page.length;
    writer.appendBytes(packed);
    const bytes = writer.getBytes().slice();
    this.byteLength += bytes.length;
    return bytes;
  }

  /** Codes of the present rows in the chunk's dictionary; undefined where it has grown too large. */
  #codesOf(vector: Vector, rows: Int32Array, count: number): Int32Array | undefined {
    const dictionary = this.#dictionary;
    if (dictionary === undefined || vector.rep !== 'dictionary') return undefined;
    if (this.#codes?.source !== vector.dictionary)
      this.#codes = { source: vector.dictionary, known: new Map() };
    const { source, known } = this.#codes;
    const codes = new Int32Array(count);
    for (let index = 0; index < count; index += 1) {
      const given = vector.codes[rows[index]!]!;
      let code = known.get(given);
      if (code === undefined) {
        // No further pages with codes: those before keep theirs.
        if (
          dictionary.size >= DICTIONARY_SIZE_MAX ||
          dictionary.memoryBytes >= DICTIONARY_BYTES_MAX
        )
          return undefined;
        code = dictionary.addBytes(source.bytes(given));
        known.set(given, code);
      }
      codes[index] = code;
    }
    return codes;
  }

  #plain(vector: Vector, rows: Int32Array, count: number): Uint8Array {
    const type = this.#type;
    switch (type.kind) {
      case 'boolean':
        return packedBits(count, (index) => datumAt(vector, rows[index]!) === true);
      case 'int2':
      case 'int4':
      case 'date': {
        const values = new Int32Array(count);
        const read = type.kind === 'date' ? dateOf : numberOf;
        for (let index = 0; index < count; index += 1) values[index] = read(vector, rows[index]!);
        this.#note(values);
        return bytesOf(values);
      }
      case 'float4': {
        const values = new Float32Array(count);
        for (let index = 0; index < count; index += 1)
          values[index] = numberOf(vector, rows[index]!);
        this.#note(values);
        return bytesOf(values);
      }
      case 'float8': {
        const values = new Float64Array(count);
        for (let index = 0; index < count; index += 1)
          values[index] = numberOf(vector, rows[index]!);
        this.#note(values);
        return bytesOf(values);
      }
      case 'int8':
      case 'time':
      case 'timestamp':
      case 'timestamptz': {
        const values = new BigInt64Array(count);
        for (let index = 0; index < count; index += 1)
          values[index] = int64Of(vector, rows[index]!);
        this.#note(values);
        return bytesOf(values);
      }
      case 'numeric': {
        const width = decimalWidth(type);
        if (width === undefined) break;
        const scale = type.scale ?? 0;
        if (width === 8) {
          const values = new BigInt64Array(count);
          for (let index = 0; index < count; index += 1)
            values[index] = coefficientOf(vector, rows[index]!, scale);
          return bytesOf(values);
        }
        const bytes = new Uint8Array(count * width);
        for (let index = 0; index < count; index += 1) {
          let value = coefficientOf(vector, rows[index]!, scale);
          for (let at = (index + 1) * width - 1; at >= index * width; at -= 1) {
            bytes[at] = Number(value & 255n);
            value >>= 8n;
          }
        }
        return bytes;
      }
      case 'uuid': {
        const bytes = new Uint8Array(count * 16);
        for (let index = 0; index < count; index += 1)
          bytes.set(bytesAt(vector, rows[index]!), index * 16);
        return bytes;
      }
      default:
    }
    const isBytes = isTextType(type) || type.kind === 'bytea';
    return lengthPrefixed(
      Array.from(rows.subarray(0, count), (row) =>
        isBytes
          ? bytesAt(vector, row)
          : encodeText(this.#options.toText(datumAt(vector, row)!, type)),
      ),
    );
  }

  /** NaN is in no order. */
  #note(values: Int32Array | Float32Array | Float64Array | BigInt64Array): void {
    let min = this.#min;
    let max = this.#max;
    for (let index = 0; index < values.length; index += 1) {
      const value = values[index]!;
      if (min === undefined || value < min) if (value === value) min = value;
      if (max === undefined || value > max) if (value === value) max = value;
    }
    this.#min = min;
    this.#max = max;
  }
}

/** Definition levels of a first-version page: their length in bytes, then runs. */
function levelBytes(rowCount: number, rows: Int32Array, count: number): Uint8Array {
  const present = new Uint8Array(rowCount);
  for (let index = 0; index < count; index += 1) present[rows[index]!] = 1;
  const runs =
    count === 0 || count === rowCount
      ? [...varint(rowCount * 2), count === 0 ? 0 : 1]
      : [
          ...varint(Math.ceil(rowCount / 8) * 2 + 1),
          ...packedBits(rowCount, (row) => present[row] === 1),
        ];
  const bytes = new Uint8Array(4 + runs.length);
  new DataView(bytes.buffer).setUint32(0, runs.length, true);
  bytes.set(runs, 4);
  return bytes;
}

/** Codes: their width in bits, then one bit-packed run. */
function codeBytes(codes: Int32Array, size: number): Uint8Array {
  const width = Math.max(1, Math.ceil(Math.log2(size)));
  const groups = Math.ceil(codes.length / 8);
  const head = [width, ...varint(groups * 2 + 1)];
  const bytes = new Uint8Array(head.length + groups * width);
  bytes.set(head);
  let at = head.length;
  let pending = 0;
  let pendingBits = 0;
  for (let index = 0; index < groups * 8; index += 1) {
    pending |= (codes[index] ?? 0) << pendingBits;
    pendingBits += width;
    while (pendingBits >= 8) {
      bytes[at] = pending;
      at += 1;
      pending >>>= 8;
      pendingBits -= 8;
    }
  }
  return bytes;
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push((value & 127) | 128);
  bytes.push(value);
  return bytes;
}

function lengthPrefixed(values: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(values.reduce((total, value) => total + 4 + value.length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const value of values) {
    view.setUint32(at, value.length, true);
    bytes.set(value, at + 4);
    at += 4 + value.length;
  }
  return bytes;
}

/** Bytes of a decimal; undefined where readers know no decimal that wide. */
function decimalWidth(type: Extract<SqlType, { kind: 'numeric' }>): 8 | 16 | undefined {
  if (type.precision === undefined || type.precision > 38) return undefined;
  return type.precision <= 18 ? 8 : 16;
}

function elementOf(name: string, type: SqlType): SchemaElement {
  const shared = { name, repetition_type: 'OPTIONAL' } as const;
  switch (type.kind) {
    case 'boolean':
      return { ...shared, type: 'BOOLEAN' };
    case 'int2':
      // Without the newer annotation: hyparquet-writer gives its width 32 bits where 8 belong, and strict readers refuse the file.
      return { ...shared, type: 'INT32', converted_type: 'INT_16' };
    case 'int4':
      return { ...shared, type: 'INT32' };
    case 'int8':
      return { ...shared, type: 'INT64' };
    case 'float4':
      return { ...shared, type: 'FLOAT' };
    case 'float8':
      return { ...shared, type: 'DOUBLE' };
    case 'date':
      return { ...shared, type: 'INT32', converted_type: 'DATE', logical_type: { type: 'DATE' } };
    case 'time':
      return {
        ...shared,
        type: 'INT64',
        converted_type: 'TIME_MICROS',
        logical_type: { type: 'TIME', isAdjustedToUTC: false, unit: 'MICROS' },
      };
    case 'timestamp':
      return {
        ...shared,
        type: 'INT64',
        logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: false, unit: 'MICROS' },
      };
    case 'timestamptz':
      return {
        ...shared,
        type: 'INT64',
        converted_type: 'TIMESTAMP_MICROS',
        logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'MICROS' },
      };
    case 'uuid':
      return {
        ...shared,
        type: 'FIXED_LEN_BYTE_ARRAY',
        type_length: 16,
        logical_type: { type: 'UUID' },
      };
    case 'bytea':
      return { ...shared, type: 'BYTE_ARRAY' };
    case 'numeric': {
      const width = decimalWidth(type);
      if (width === undefined) break;
      const { precision, scale = 0 } = type;
      const decimal = {
        converted_type: 'DECIMAL',
        precision: precision!,
        scale,
        logical_type: { type: 'DECIMAL', precision: precision!, scale },
      } as const;
      return width === 8
        ? { ...shared, type: 'INT64', ...decimal }
        : { ...shared, type: 'FIXED_LEN_BYTE_ARRAY', type_length: 16, ...decimal };
    }
    default:
  }
  return {
    ...shared,
    type: 'BYTE_ARRAY',
    converted_type: 'UTF8',
    logical_type: { type: 'STRING' },
  };
}
