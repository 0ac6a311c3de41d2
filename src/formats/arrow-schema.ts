import type { SqlType } from '../columns/types.ts';
import { FlatBuilder, type FlatField } from './flatbuffers.ts';
import { nameForFile, TYPE_KEY } from './type-names.ts';
import type { WriterColumn } from './writer-contract.ts';

/** Writes the messages of an Arrow IPC stream (Schema.fbs, Message.fbs, File.fbs of format version 5). */

const VERSION_5 = 4;

export type ArrowBlock = {
  readonly offset: number;
  readonly metadataLength: number;
  readonly bodyLength: number;
};

export function schemaMessage(columns: readonly WriterColumn[]): Uint8Array {
  const builder = new FlatBuilder();
  return message(builder, 1, schema(builder, columns), 0);
}

export function batchMessage(
  rowCount: number,
  nullCounts: readonly number[],
  regions: readonly { readonly offset: number; readonly length: number }[],
  bodyLength: number,
): Uint8Array {
  const builder = new FlatBuilder();
  const buffers = builder.structs(
    regions.map(({ offset, length }) => [offset, length]),
    2,
  );
  const nodes = builder.structs(
    nullCounts.map((nullCount) => [rowCount, nullCount]),
    2,
  );
  const batch = builder.table([
    { size: 8, value: BigInt(rowCount) },
    { ref: nodes },
    { ref: buffers },
  ]);
  return message(builder, 3, batch, bodyLength);
}

/** The directory at the end of a file, its length included. */
export function footer(
  columns: readonly WriterColumn[],
  blocks: readonly ArrowBlock[],
): Uint8Array {
  const builder = new FlatBuilder();
  const batches = builder.structs(
    // The length of the metadata has 32 bits, and 32 bits of nothing behind it.
    blocks.map(({ offset, metadataLength, bodyLength }) => [offset, metadataLength, bodyLength]),
    3,
  );
  const dictionaries = builder.structs([], 3);
  const root = builder.table([
    { size: 2, value: VERSION_5 },
    { ref: schema(builder, columns) },
    { ref: dictionaries },
    { ref: batches },
  ]);
  const bytes = builder.finish(root);
  const whole = new Uint8Array(bytes.length + 4);
  whole.set(bytes);
  new DataView(whole.buffer).setInt32(bytes.length, bytes.length, true);
  return whole;
}

/** The mark of a message, its length, and its metadata up to a multiple of eight bytes. */
function message(
  builder: FlatBuilder,
  headerType: number,
  header: number,
  bodyLength: number,
): Uint8Array {
  const bytes = builder.finish(
    builder.table([
      { size: 2, value: VERSION_5 },
      { size: 1, value: headerType },
      { ref: header },
      { size: 8, value: BigInt(bodyLength) },
    ]),
  );
  const whole = new Uint8Array((8 + bytes.length + 7) & ~7);
  const view = new DataView(whole.buffer);
  view.setInt32(0, -1, true);
  view.setInt32(4, whole.length - 8, true);
  whole.set(bytes, 8);
  return whole;
}

function schema(builder: FlatBuilder, columns: readonly WriterColumn[]): number {
  const fields = columns.map(({ name, type }) => {
    const { id, fields: parts } = arrowType(builder, type);
    const shown = builder.text(name);
    const typeTable = builder.table(parts);
    const metadata = metadataOf(builder, type);
    const children = builder.refs([]);
    return builder.table([
      { ref: shown },
      { size: 1, value: 1 },
      { size: 1, value: id },
      { ref: typeTable },
      undefined,
      { ref: children },
      metadata === undefined ? undefined : { ref: metadata },
    ]);
  });
  const list = builder.refs(fields);
  return builder.table([{ size: 2, value: 0 }, { ref: list }]);
}

function metadataOf(builder: FlatBuilder, type: SqlType): number | undefined {
  const entries: [string, string][] = [];
  const name = nameForFile(type);
  if (name !== undefined) entries.push([TYPE_KEY, name]);
  if (type.kind === 'uuid')
    entries.push(['ARROW:extension:name', 'arrow.uuid'], ['ARROW:extension:metadata', '']);
  if (entries.length === 0) return undefined;
  return builder.refs(
    entries.map(([key, value]) => {
      const keyText = builder.text(key);
      const valueText = builder.text(value);
      return builder.table([{ ref: keyText }, { ref: valueText }]);
    }),
  );
}

/** Bits of Arrow's decimal that holds the type; undefined: there is none, and it is written as text. */
export function decimalBits(type: Extract<SqlType, { kind: 'numeric' }>): 128 | 256 | undefined {
  if (type.precision === undefined || type.precision > 76) return undefined;
  return type.precision <= 38 ? 128 : 256;
}

const UTF8 = 5;
const MICROSECOND = 2;

function arrowType(
  builder: FlatBuilder,
  type: SqlType,
): { readonly id: number; readonly fields: readonly FlatField[] } {
  const int = (bits: number): { id: number; fields: FlatField[] } => ({
    id: 2,
    fields: [
      { size: 4, value: bits },
      { size: 1, value: 1 },
    ],
  });
  switch (type.kind) {
    case 'boolean':
      return { id: 6, fields: [] };
    case 'int2':
      return int(16);
    case 'int4':
      return int(32);
    case 'int8':
      return int(64);
    case 'float4':
      return { id: 3, fields: [{ size: 2, value: 1 }] };
    case 'float8':
      return { id: 3, fields: [{ size: 2, value: 2 }] };
    case 'numeric': {
      const bits = decimalBits(type);
      if (bits === undefined) return { id: UTF8, fields: [] };
      return {
        id: 7,
        fields: [
          { size: 4, value: type.precision! },
          { size: 4, value: type.scale ?? 0 },
          { size: 4, value: bits },
        ],
      };
    }
    case 'date':
      return { id: 8, fields: [{ size: 2, value: 0 }] };
    case 'time':
      return {
        id: 9,
        fields: [
          { size: 2, value: MICROSECOND },
          { size: 4, value: 64 },
        ],
      };
    case 'timestamp':
      return { id: 10, fields: [{ size: 2, value: MICROSECOND }] };
    case 'timestamptz':
      return { id: 10, fields: [{ size: 2, value: MICROSECOND }, { ref: builder.text('UTC') }] };
    case 'interval':
      return { id: 11, fields: [{ size: 2, value: 2 }] };
    case 'uuid':
      return { id: 15, fields: [{ size: 4, value: 16 }] };
    case 'bytea':
      return { id: 4, fields: [] };
    default:
      return { id: UTF8, fields: [] };
  }
}
