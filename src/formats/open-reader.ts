import { DbError } from '../base/errors.ts';
import { valueText } from '../base/value-text.ts';
import { byteLengthOf, gunzipped, isGzip, isRandomAccess, PeekedBytes } from './byte-sources.ts';
import { formatOfName } from './format-names.ts';
import type { Format, FormatSource, OpenedReader, ReaderOptions } from './contract.ts';
import { openArrow } from './arrow-reader.ts';
import { openCsv } from './csv-reader.ts';
import { openJson } from './json-reader.ts';
import { openParquet } from './parquet-reader.ts';
import { typedReader } from './typed-reader.ts';

/** Opens a file of any format that is read; told by `format`, by the name's ending, else by the first bytes. */
export async function openReader(
  given: FormatSource,
  options: ReaderOptions,
): Promise<OpenedReader> {
  const source = await unpacked(given);
  const format = source.format ?? formatOfName(source.name) ?? (await formatOfBytes(source));
  switch (format) {
    case 'parquet':
      return typedReader(await openParquet(source, options), options);
    case 'arrow':
      return typedReader(await openArrow(source, options), options);
    case 'csv':
      return openCsv(source, options);
    case 'ndjson':
    case 'json':
      return openJson(source, format, options);
    default:
      throw new DbError('22023', `"${valueText(format)}" is not a format`, {
        field: 'format',
        hint: "Use 'csv', 'ndjson', 'json', 'parquet' or 'arrow'.",
      });
  }
}

/** The source without its gzip packing; a stream comes with its beginning looked at. */
async function unpacked(source: FormatSource): Promise<FormatSource> {
  const { bytes } = source;
  if (bytes instanceof Uint8Array || isRandomAccess(bytes)) {
    const head = await headOf(source);
    if (!isGzip(head)) return source;
    return { ...source, bytes: new PeekedBytes(gunzipped(new PeekedBytes(bytes))) };
  }
  const peeked = new PeekedBytes(bytes);
  const head = await peeked.head(2);
  return { ...source, bytes: isGzip(head) ? new PeekedBytes(gunzipped(peeked)) : peeked };
}

/** By what the formats begin with: texts that are no JSON are CSV. */
async function formatOfBytes(source: FormatSource): Promise<Format> {
  const head = await headOf(source);
  const starts = (...bytes: number[]): boolean => bytes.every((byte, at) => head[at] === byte);
  if (starts(0x50, 0x41, 0x52, 0x31)) return 'parquet';
  if (starts(0x41, 0x52, 0x52, 0x4f, 0x57, 0x31) || starts(0xff, 0xff, 0xff, 0xff)) return 'arrow';
  const text = Buffer.from(head)
    .toString('latin1')
    .replace(/^\u00ef\u00bb\u00bf/, '')
    .trimStart();
  if (text.startsWith('{')) return 'ndjson';
  return text.startsWith('[') ? 'json' : 'csv';
}

const HEAD_BYTES = 64;

async function headOf({ bytes }: FormatSource): Promise<Uint8Array> {
  if (bytes instanceof Uint8Array) return bytes.subarray(0, HEAD_BYTES);
  if (isRandomAccess(bytes)) return bytes.slice(0, Math.min(HEAD_BYTES, byteLengthOf(bytes)!));
  return bytes instanceof PeekedBytes ? bytes.head(HEAD_BYTES) : new Uint8Array(0);
}
