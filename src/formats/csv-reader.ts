import { DbError } from '../base/errors.ts';
import { isTextType } from '../columns/types.ts';
import { encodeText } from '../columns/utf8.ts';
import { PeekedBytes, byteLengthOf } from './byte-sources.ts';
import {
  SAMPLE_ROW_COUNT_DEFAULT,
  type FormatSource,
  type OpenedReader,
  type ReaderOptions,
} from './contract.ts';
import { PLAIN } from '../base/text-cells.ts';
import { RecordCutter, type Records } from './csv-records.ts';
import { inferType, type SampleCell } from './infer-types.ts';
import { matchTargets, uniqueNames } from './targets.ts';
import { cellText, type CellColumn } from '../columns/read-cells.ts';
import { openText } from './text-reader.ts';

/** What is looked at to find delimiter, header and types, unless its first records are longer. */
const SAMPLE_BYTES = 1 << 20;
const SAMPLE_BYTES_MAX = 1 << 26;

/** Records that decide the delimiter. */
const DELIMITER_ROW_COUNT = 50;
const DELIMITERS = [',', '\t', ';', '|'];

/** RFC 4180, with any delimiter; an empty field without quotes is NULL, an empty one in quotes the empty text. */
export async function openCsv(source: FormatSource, options: ReaderOptions): Promise<OpenedReader> {
  const bytes = new PeekedBytes(source.bytes);
  try {
    return await open(source, bytes, options);
  } catch (cause) {
    await bytes.close();
    throw cause;
  }
}

async function open(
  source: FormatSource,
  bytes: PeekedBytes,
  options: ReaderOptions,
): Promise<OpenedReader> {
  const quote = oneByte(options.csv?.quote ?? '"', 'quote');
  const nullText = encodeText(options.csv?.null ?? '');
  const sampleRowCount = options.sampleRowCount ?? SAMPLE_ROW_COUNT_DEFAULT;
  let delimiter = 0;
  let sample: Records | undefined;
  for (let size = SAMPLE_BYTES; sample === undefined && size <= SAMPLE_BYTES_MAX; size *= 8) {
    const head = withoutMark(await bytes.head(size));
    delimiter =
      options.csv?.delimiter === undefined
        ? likelyDelimiter(head, quote, bytes.exhausted, source.name)
        : oneByte(options.csv.delimiter, 'delimiter');
    const cutter = new RecordCutter({ delimiter, quote });
    cutter.push(head);
    sample = cutter.cut(sampleRowCount + 1, bytes.exhausted);
    if (bytes.exhausted) break;
  }
  if (delimiter === quote) {
    throw new DbError('22023', 'the delimiter and the quote are the same character', {
      field: 'csv.delimiter',
      hint: "Give another one, such as { delimiter: ';' } or { quote: \"'\" }.",
    });
  }
  if (sample === undefined && !bytes.exhausted) {
    throw new DbError('54000', 'the first line of the file is longer than 64 MB', {
      hint: 'Is it a CSV file? Is a closing quote missing?',
    });
  }
  const first = sample === undefined ? [] : textsOf(sample, 0, quote);
  const header =
    first.length > 0 &&
    (options.csv?.header ?? looksLikeHeader(first, sample!, quote, nullText, options));
  const columns = await columnsOf(first, header, sample, quote, nullText, options);
  return openText(
    {
      format: 'csv',
      cutter: new RecordCutter({ delimiter, quote }),
      bytes: markless(bytes),
      bytesTotal: byteLengthOf(source.bytes),
      columns,
      width: first.length,
      header,
      cells: {
        fromText: options.fromText,
        isUtc: options.zone === undefined || options.zone === 'UTC',
        nullText,
        quote,
      },
    },
    options,
  );
}

async function columnsOf(
  first: readonly string[],
  header: boolean,
  sample: Records | undefined,
  quote: number,
  nullText: Uint8Array,
  options: ReaderOptions,
): Promise<CellColumn[]> {
  const names = uniqueNames(header ? first : first.map(() => ''));
  if (options.targets !== undefined) {
    // Names that repeat must not be told apart where they are looked for.
    const given = header ? first.map((name) => name.trim()) : names;
    const targets = matchTargets(given, options.targets, { byPlace: !header });
    return targets.map(({ name, type }, index) => ({ name, type, index }));
  }
  const columns: CellColumn[] = [];
  for (const [index, name] of names.entries()) {
    const cells = sampleCells(sample!, header ? 1 : 0, index, quote, nullText);
    const type = options.types?.[name] ?? inferType(cells, options.fromText);
    columns.push({ name, type, index });
    await options.pause?.();
  }
  return columns;
}

/**
 * The first record is the header where it names the columns asked for; where types are inferred, where it does not read as
 * the rows below it do. In a file of nothing but texts it is.
 */
function looksLikeHeader(
  first: readonly string[],
  sample: Records,
  quote: number,
  nullText: Uint8Array,
  options: ReaderOptions,
): boolean {
  const reads = (text: string, type: Parameters<ReaderOptions['fromText']>[1]): boolean => {
    try {
      options.fromText(text, type);
      return true;
    } catch {
      return false;
    }
  };
  const { targets } = options;
  if (targets !== undefined) {
    const known = new Set(targets.map(({ name }) => name.toLowerCase()));
    if (first.some((name) => known.has(name.trim().toLowerCase()))) return true;
    const typed = first.filter(
      (text, index) =>
        targets[index] !== undefined && !isTextType(targets[index].type) && text !== '',
    );
    return (
      typed.length === 0 ||
      first.length > targets.length ||
      !first.every((text, index) => text === '' || reads(text, targets[index]!.type))
    );
  }
  let typed = 0;
  for (const [index, text] of first.entries()) {
    const type = inferType(sampleCells(sample, 1, index, quote, nullText), options.fromText);
    if (isTextType(type) || text === '') continue;
    if (!reads(text, type)) return true;
    typed += 1;
  }
  return typed === 0;
}

function sampleCells(
  sample: Records,
  from: number,
  index: number,
  quote: number,
  nullText: Uint8Array,
): SampleCell[] {
  const cells: SampleCell[] = [];
  const nothing = new TextDecoder().decode(nullText);
  const malformed = new Set(sample.malformed.map(({ row }) => row));
  for (let record = from; record < sample.rowCount; record += 1) {
    const cell = sample.firstCell[record]! + index;
    if (cell >= sample.firstCell[record + 1]! || malformed.has(record)) continue;
    const quoted = sample.flags[cell] !== PLAIN;
    const text = cellText(sample, cell, quote);
    if (quoted || text !== nothing) cells.push({ text, quoted });
  }
  return cells;
}

function textsOf(records: Records, record: number, quote: number): string[] {
  const cause = records.malformed.find(({ row }) => row === record)?.cause;
  if (cause !== undefined)
    throw new DbError(cause.code, `line 1: ${cause.message}`, { hint: cause.hint });
  const texts: string[] = [];
  for (let cell = records.firstCell[record]!; cell < records.firstCell[record + 1]!; cell += 1)
    texts.push(cellText(records, cell, quote));
  return texts;
}

/** The delimiter that cuts the first records into the same number of fields, more than one; of several the one that cuts most. */
function likelyDelimiter(
  head: Uint8Array,
  quote: number,
  exhausted: boolean,
  name: string | undefined,
): number {
  let best = { delimiter: name?.endsWith('.tsv') === true ? '\t' : ',', fields: 1, same: false };
  for (const delimiter of DELIMITERS) {
    const cutter = new RecordCutter({ delimiter: delimiter.charCodeAt(0), quote });
    cutter.push(head.subarray(0, 1 << 16));
    const records = cutter.cut(DELIMITER_ROW_COUNT, exhausted && head.length <= 1 << 16);
    if (records === undefined) continue;
    const counts = Array.from(
      { length: records.rowCount },
      (_, row) => records.firstCell[row + 1]! - records.firstCell[row]!,
    ).filter((count, row) => count > 1 || row === 0);
    const fields = counts[0]!;
    const same = counts.every((count) => count === fields);
    if (fields < 2) continue;
    if ((same && !best.same) || (same === best.same && fields > best.fields))
      best = { delimiter, fields, same };
  }
  return best.delimiter.charCodeAt(0);
}

function oneByte(text: string, field: string): number {
  if (text.length === 1 && text.charCodeAt(0) < 0x80 && !/[\r\n\0]/.test(text))
    return text.charCodeAt(0);
  throw new DbError('22023', `"${field}" is not one ASCII character`, {
    field: `csv.${field}`,
    hint: `Give one such as ${field === 'quote' ? "'\"'" : "',' or '\\t'"}.`,
  });
}

/** Without the byte order mark that some programs put first. */
export function withoutMark(head: Uint8Array): Uint8Array {
  if ((head[0] === 0xff && head[1] === 0xfe) || (head[0] === 0xfe && head[1] === 0xff)) {
    throw new DbError('22021', 'the file is in UTF-16', {
      hint: 'Convert the file to UTF-8 first, with iconv for example.',
    });
  }
  return head[0] === 0xef && head[1] === 0xbb && head[2] === 0xbf ? head.subarray(3) : head;
}

export async function* markless(bytes: PeekedBytes): AsyncGenerator<Uint8Array, void, undefined> {
  // The mark is in one piece: somebody has looked at the beginning before.
  let first = true;
  for await (const piece of bytes) {
    yield first ? withoutMark(piece) : piece;
    first = false;
  }
}
