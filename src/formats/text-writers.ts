import type { Batch } from '../columns/batch.ts';
import { datumAt } from '../columns/build.ts';
import { encodeText } from '../columns/utf8.ts';
import type { Datum } from '../columns/values.ts';
import type { FormatWriter, WriterColumn, WriterOptions, Written } from './writer-contract.ts';

/** Cells that are made into text in one piece of work. */
const CELLS_PER_PIECE = 8192;

/**
 * RFC 4180 with a header line: NULL is the empty field, the empty text is in quotes. Instants are in ISO 8601 and UTC, everything
 * else is as PostgreSQL prints it.
 */
export class CsvWriter implements FormatWriter {
  readonly #columns: readonly WriterColumn[];
  readonly #options: WriterOptions;
  readonly #delimiter: string;
  readonly #null: string;
  readonly #special: RegExp;

  constructor(columns: readonly WriterColumn[], options: WriterOptions) {
    this.#columns = columns;
    this.#options = options;
    this.#delimiter = options.csv?.delimiter ?? ',';
    this.#null = options.csv?.null ?? '';
    this.#special = new RegExp(`["\\r\\n${this.#delimiter.replace(/[\\\]^-]/, '\\$&')}]`);
  }

  *begin(): Written {
    if (this.#options.csv?.header === false || this.#columns.length === 0) return;
    // A byte order mark at the beginning of a name would be read as one of the file.
    const names = this.#columns.map(({ name }) =>
      name.startsWith('\uFEFF') ? quoted(name) : this.#field(name),
    );
    yield encodeText(`${names.join(this.#delimiter)}\r\n`);
  }

  *write(batch: Batch): Written {
    const columns = this.#columns.map(({ type }, index) => {
      const vector = batch.columns[index]!;
      const isNumber = ['int2', 'int4', 'int8', 'float8', 'date', 'uuid'].includes(type.kind);
      const toText = type.kind === 'timestamptz' ? this.#options.toIso : this.#options.toText;
      return (row: number): string => {
        const datum = datumAt(vector, row);
        if (datum === null) return this.#null;
        const text = toText(datum, type);
        return isNumber && text !== this.#null ? text : this.#field(text);
      };
    });
    for (const [first, end] of pieces(batch, columns.length)) {
      let text = '';
      for (let row = first; row < end; row += 1) {
        const at = batch.selection === undefined ? row : batch.selection[row]!;
        for (let index = 0; index < columns.length; index += 1)
          text += index === 0 ? columns[index]!(at) : this.#delimiter + columns[index]!(at);
        text += '\r\n';
      }
      yield encodeText(text);
    }
  }

  *end(): Written {
    // A CSV file has no end of its own.
  }

  /** In quotes where it must be, and where it would be read as NULL. */
  #field(text: string): string {
    return this.#special.test(text) || text === this.#null ? quoted(text) : text;
  }
}

function quoted(text: string): string {
  return `"${text.replaceAll('"', '""')}"`;
}

/**
 * NDJSON, an object a line, or JSON, an array of objects a line each. int8 is a number with all its digits, numeric a text;
 * NaN and the infinities are texts, bytes are in base64, times in ISO 8601.
 */
export class JsonWriter implements FormatWriter {
  readonly #columns: readonly (WriterColumn & { readonly index: number; readonly key: string })[];
  readonly #options: WriterOptions;
  readonly #isArray: boolean;
  #isEmpty = true;

  constructor(columns: readonly WriterColumn[], isArray: boolean, options: WriterOptions) {
    const keyed = columns.map((column, index) => ({
      ...column,
      index,
      key: `${JSON.stringify(column.name)}:`,
    }));
    // Of columns of one name the last one shows, as in rows.
    this.#columns = keyed.filter(
      ({ name, index }) => !keyed.some((other) => other.name === name && other.index > index),
    );
    this.#options = options;
    this.#isArray = isArray;
  }

  *begin(): Written {
    if (this.#isArray) yield encodeText('[');
  }

  *write(batch: Batch): Written {
    const columns = this.#columns.map(({ type, index, key }, position) => {
      const vector = batch.columns[index]!;
      const start = position === 0 ? key : `,${key}`;
      return (row: number): string => start + this.#value(datumAt(vector, row), type);
    });
    for (const [first, end] of pieces(batch, columns.length)) {
      let text = '';
      for (let row = first; row < end; row += 1) {
        const at = batch.selection === undefined ? row : batch.selection[row]!;
        if (this.#isArray) text += this.#isEmpty ? '\n' : ',\n';
        this.#isEmpty = false;
        text += '{';
        for (const column of columns) text += column(at);
        text += this.#isArray ? '}' : '}\n';
      }
      yield encodeText(text);
    }
  }

  *end(): Written {
    if (this.#isArray) yield encodeText(this.#isEmpty ? ']\n' : '\n]\n');
  }

  #value(datum: Datum, type: WriterColumn['type']): string {
    if (datum === null) return 'null';
    switch (typeof datum) {
      case 'string':
        return JSON.stringify(datum);
      case 'boolean':
      case 'bigint':
        if (type.kind !== 'timestamp' && type.kind !== 'timestamptz') return String(datum);
        break;
      case 'number':
        switch (type.kind) {
          case 'int2':
          case 'int4':
          case 'int8':
            return String(datum);
          case 'float4':
          case 'float8':
            if (!Number.isFinite(datum)) return `"${datum}"`;
            // JSON.stringify writes −0 as 0. The shortest digits of a float4 are fewer than those of its double.
            if (Object.is(datum, -0)) return '-0.0';
            return type.kind === 'float4' ? this.#options.toText(datum, type) : String(datum);
        }
    }
    if (datum instanceof Uint8Array) return `"${Buffer.from(datum).toString('base64')}"`;
    return JSON.stringify(this.#options.toIso(datum, type));
  }
}

function* pieces(
  batch: Batch,
  columnCount: number,
): Generator<readonly [first: number, end: number]> {
  const rows = Math.max(1, Math.floor(CELLS_PER_PIECE / Math.max(1, columnCount)));
  for (let first = 0; first < batch.rowCount; first += rows)
    yield [first, Math.min(first + rows, batch.rowCount)];
}
