import type { Batch } from '../columns/batch.ts';
import { datumAt, isNullAt } from '../columns/build.ts';
import { bytesAt } from '../columns/cells.ts';
import { isTextType, type SqlType } from '../columns/types.ts';
import { encodeText } from '../columns/utf8.ts';
import type { Interval } from '../columns/values.ts';
import type { Vector } from '../columns/vector.ts';
import {
  batchMessage,
  decimalBits,
  footer,
  schemaMessage,
  type ArrowBlock,
} from './arrow-schema.ts';
import { BatchPages } from './batch-pages.ts';
import {
  bytesOf,
  coefficientOf,
  dateOf,
  int64Of,
  numberOf,
  packedBits,
  putWords,
} from './write-numbers.ts';
import {
  distinctNames,
  type FormatWriter,
  type WriterColumn,
  type WriterOptions,
  type Written,
} from './writer-contract.ts';

const MAGIC = encodeText('ARROW1');
/** Up to a multiple of eight bytes. */
const FILE_MARK = Uint8Array.from([...MAGIC, 0, 0]);
const END_OF_STREAM = Uint8Array.of(255, 255, 255, 255, 0, 0, 0, 0);

/**
 * Arrow IPC, a record batch at a time. numeric without a precision is text, since Arrow's decimals have one scale; what SQL calls
 * a column is kept in its metadata.
 */
export class ArrowWriter implements FormatWriter {
  readonly #columns: readonly WriterColumn[];
  readonly #options: WriterOptions;
  readonly #pages = new BatchPages();
  readonly #blocks: ArrowBlock[] = [];
  #offset = 0;

  constructor(columns: readonly WriterColumn[], options: WriterOptions) {
    const names = distinctNames(columns);
    this.#columns = columns.map(({ type }, index) => ({ name: names[index]!, type }));
    this.#options = options;
  }

  *begin(): Written {
    if (this.#options.arrow === 'file') yield this.#out(FILE_MARK.slice());
    yield this.#out(schemaMessage(this.#columns));
  }

  *write(batch: Batch): Written {
    const page = this.#pages.add(batch);
    if (page !== undefined) yield* this.#recordBatch(page);
  }

  *end(): Written {
    const rest = this.#pages.rest();
    if (rest !== undefined) yield* this.#recordBatch(rest);
    yield this.#out(END_OF_STREAM.slice());
    if (this.#options.arrow !== 'file') return;
    yield this.#out(footer(this.#columns, this.#blocks));
    yield this.#out(MAGIC.slice());
  }

  *#recordBatch({ rowCount, columns }: Batch): Written {
    const nullCounts: number[] = [];
    const regions: { offset: number; length: number }[] = [];
    const buffers: Uint8Array[] = [];
    let bodyLength = 0;
    for (const [index, { type }] of this.#columns.entries()) {
      const vector = columns[index]!;
      let nullCount = 0;
      for (let row = 0; row < rowCount; row += 1) if (isNullAt(vector, row)) nullCount += 1;
      nullCounts.push(nullCount);
      const validity =
        nullCount === 0 ? NO_BYTES : packedBits(rowCount, (row) => !isNullAt(vector, row));
      for (const buffer of [validity, ...valueBuffers(vector, type, rowCount, this.#options)]) {
        regions.push({ offset: bodyLength, length: buffer.length });
        buffers.push(buffer);
        bodyLength += (buffer.length + 7) & ~7;
      }
      yield undefined;
    }
    const metadata = batchMessage(rowCount, nullCounts, regions, bodyLength);
    this.#blocks.push({ offset: this.#offset, metadataLength: metadata.length, bodyLength });
    const whole = new Uint8Array(metadata.length + bodyLength);
    whole.set(metadata);
    for (const [index, { offset }] of regions.entries())
      whole.set(buffers[index]!, metadata.length + offset);
    yield this.#out(whole);
  }

  #out(bytes: Uint8Array): Uint8Array {
    this.#offset += bytes.length;
    return bytes;
  }
}

const NO_BYTES = new Uint8Array(0);

function valueBuffers(
  vector: Vector,
  type: SqlType,
  rowCount: number,
  options: WriterOptions,
): Uint8Array[] {
  const each = (put: (row: number) => void): void => {
    for (let row = 0; row < rowCount; row += 1) if (!isNullAt(vector, row)) put(row);
  };
  switch (type.kind) {
    case 'boolean':
      return [packedBits(rowCount, (row) => datumAt(vector, row) === true)];
    case 'int2': {
      const values = new Int16Array(rowCount);
      each((row) => (values[row] = numberOf(vector, row)));
      return [bytesOf(values)];
    }
    case 'int4':
    case 'date': {
      const values = new Int32Array(rowCount);
      const read = type.kind === 'date' ? dateOf : numberOf;
      each((row) => (values[row] = read(vector, row)));
      return [bytesOf(values)];
    }
    case 'float4': {
      const values = new Float32Array(rowCount);
      each((row) => (values[row] = numberOf(vector, row)));
      return [bytesOf(values)];
    }
    case 'float8': {
      const values = new Float64Array(rowCount);
      each((row) => (values[row] = numberOf(vector, row)));
      return [bytesOf(values)];
    }
    case 'int8':
    case 'time':
    case 'timestamp':
    case 'timestamptz': {
      const values = new BigInt64Array(rowCount);
      each((row) => (values[row] = int64Of(vector, row)));
      return [bytesOf(values)];
    }
    case 'numeric': {
      const bits = decimalBits(type);
      if (bits === undefined) return texts(vector, rowCount, (row) => encodeText(text(row)));
      const words = bits / 64;
      const values = new BigUint64Array(rowCount * words);
      const scale = type.scale ?? 0;
      each((row) => putWords(values, row * words, words, coefficientOf(vector, row, scale)));
      return [bytesOf(values)];
    }
    case 'interval': {
      const parts = new Int32Array(rowCount * 4);
      const nanos = new BigInt64Array(parts.buffer);
      each((row) => {
        const { months, days, micros } = datumAt(vector, row) as Interval;
        parts[row * 4] = months;
        parts[row * 4 + 1] = days;
        nanos[row * 2 + 1] = BigInt(micros) * 1000n;
      });
      return [bytesOf(parts)];
    }
    case 'uuid': {
      const values = new Uint8Array(rowCount * 16);
      each((row) => values.set(bytesAt(vector, row), row * 16));
      return [values];
    }
    default:
      return texts(vector, rowCount, (row) =>
        isTextType(type) || type.kind === 'bytea' ? bytesAt(vector, row) : encodeText(text(row)),
      );
  }

  function text(row: number): string {
    return options.toText(datumAt(vector, row)!, type);
  }
}

function texts(vector: Vector, rowCount: number, of: (row: number) => Uint8Array): Uint8Array[] {
  const offsets = new Int32Array(rowCount + 1);
  const pieces: Uint8Array[] = [];
  for (let row = 0; row < rowCount; row += 1) {
    const piece = isNullAt(vector, row) ? NO_BYTES : of(row);
    pieces.push(piece);
    offsets[row + 1] = offsets[row]! + piece.length;
  }
  const bytes = new Uint8Array(offsets[rowCount]!);
  for (let row = 0; row < rowCount; row += 1) bytes.set(pieces[row]!, offsets[row]!);
  return [bytesOf(offsets), bytes];
}
