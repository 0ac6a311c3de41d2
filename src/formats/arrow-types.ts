import { notSupported } from '../base/errors.ts';
import {
  BOOLEAN,
  BYTEA,
  DATE,
  FLOAT4,
  FLOAT8,
  INT2,
  INT4,
  INT8,
  INTERVAL,
  NUMERIC,
  TEXT,
  TIME,
  TIMESTAMP,
  TIMESTAMPTZ,
  UUID,
  type SqlType,
} from '../columns/types.ts';
import type { FlatTable } from './flatbuffers.ts';
import { typeFromName, TYPE_KEY } from './type-names.ts';

/** How values stand in the buffers of an Arrow column. */
export type ArrowLayout =
  | { readonly kind: 'null' }
  | { readonly kind: 'bool' }
  | { readonly kind: 'int'; readonly bits: 8 | 16 | 32 | 64; readonly signed: boolean }
  | { readonly kind: 'float'; readonly bits: 16 | 32 | 64 }
  | { readonly kind: 'bytes'; readonly wide: boolean }
  | { readonly kind: 'views' }
  | { readonly kind: 'fixed'; readonly stride: number }
  | { readonly kind: 'decimal'; readonly bits: 32 | 64 | 128 | 256; readonly scale: number }
  /** Counts of a unit, as microseconds or days; what is divided is rounded downwards. */
  | { readonly kind: 'count'; readonly bits: 32 | 64; readonly unit: TimeUnit }
  | { readonly kind: 'months' }
  | { readonly kind: 'daysAndMillis' }
  | { readonly kind: 'monthsDaysNanos' }
  | { readonly kind: 'duration'; readonly unit: TimeUnit };

export type TimeUnit = { readonly multiply: number; readonly divide: number };

export type ArrowColumn = {
  readonly name: string;
  readonly nullable: boolean;
  readonly layout: ArrowLayout;
  readonly type: SqlType;
  /** What the file calls the column in SQL, where that is more than its type. */
  readonly declared: SqlType | undefined;
  /** Values stand in a dictionary, and the column holds their numbers. */
  readonly dictionary:
    | { readonly id: number; readonly index: Extract<ArrowLayout, { kind: 'int' }> }
    | undefined;
};

/** The columns of a schema; 0A000 for lists, structs and the like. */
export function arrowColumns(schema: FlatTable): ArrowColumn[] {
  if (schema.int16(0, 0) !== 0)
    throw notSupported('an Arrow file in big-endian order', 'Write it on another machine.');
  return schema.tables(1).map((field): ArrowColumn => {
    const name = field.text(0) ?? '';
    const { layout, type } = layoutOf(field, name);
    const encoding = field.table(4);
    const index = encoding?.table(1);
    const metadata = metadataOf(field, 6);
    return {
      name,
      nullable: field.uint8(1, 0) === 1,
      layout,
      type:
        metadata.get('ARROW:extension:name') === 'arrow.uuid' &&
        layout.kind === 'fixed' &&
        layout.stride === 16
          ? UUID
          : type,
      declared: typeFromName(metadata.get(TYPE_KEY), type),
      dictionary:
        encoding === undefined
          ? undefined
          : {
              id: encoding.int64(0, 0),
              index:
                index === undefined
                  ? { kind: 'int', bits: 32, signed: true }
                  : {
                      kind: 'int',
                      bits: bitsOf(index.int32(0, 32), name),
                      signed: index.uint8(1, 0) === 1,
                    },
            },
    };
  });
}

function metadataOf(table: FlatTable, field: number): Map<string, string> {
  return new Map(table.tables(field).map((entry) => [entry.text(0) ?? '', entry.text(1) ?? '']));
}

function bitsOf(bits: number, name: string): 8 | 16 | 32 | 64 {
  if (bits === 8 || bits === 16 || bits === 32 || bits === 64) return bits;
  throw unreadable(name, `integers of ${bits} bits`);
}

function unreadable(name: string, what: string): Error {
  return notSupported(
    `column "${name}" of an Arrow file (${what})`,
    'Flatten the column, or turn it into text, before loading the file.',
  );
}

/** Arrow's units in microseconds: seconds, milli-, micro- and nanoseconds. */
const UNITS: readonly TimeUnit[] = [
  { multiply: 1_000_000, divide: 1 },
  { multiply: 1000, divide: 1 },
  { multiply: 1, divide: 1 },
  { multiply: 1, divide: 1000 },
];
const DAYS: TimeUnit = { multiply: 1, divide: 1 };
const MILLIS_TO_DAYS: TimeUnit = { multiply: 1, divide: 86_400_000 };

function layoutOf(field: FlatTable, name: string): { layout: ArrowLayout; type: SqlType } {
  const type = field.table(3);
  const id = field.uint8(2, 0);
  const unitOf = (number: number): TimeUnit => {
    const unit = UNITS[number];
    if (unit === undefined) throw unreadable(name, 'an unknown unit of time');
    return unit;
  };
  switch (id) {
    case 1:
      return { layout: { kind: 'null' }, type: TEXT };
    case 2: {
      const bits = bitsOf(type?.int32(0, 0) ?? 0, name);
      const signed = type?.uint8(1, 0) === 1;
      return { layout: { kind: 'int', bits, signed }, type: integerType(bits, signed) };
    }
    case 3: {
      const bits = ([16, 32, 64] as const)[type?.int16(0, 0) ?? 0];
      if (bits === undefined) throw unreadable(name, 'floats of an unknown precision');
      return { layout: { kind: 'float', bits }, type: bits === 64 ? FLOAT8 : FLOAT4 };
    }
    case 4:
    case 19:
      return { layout: { kind: 'bytes', wide: id === 19 }, type: BYTEA };
    case 5:
    case 20:
      return { layout: { kind: 'bytes', wide: id === 20 }, type: TEXT };
    case 6:
      return { layout: { kind: 'bool' }, type: BOOLEAN };
    case 7: {
      const precision = type?.int32(0, 0) ?? 0;
      const scale = type?.int32(1, 0) ?? 0;
      const bits = type?.int32(2, 128) ?? 128;
      if (bits !== 32 && bits !== 64 && bits !== 128 && bits !== 256)
        throw unreadable(name, `decimals of ${bits} bits`);
      if (scale < 0 || scale > precision) throw unreadable(name, `decimals of scale ${scale}`);
      return {
        layout: { kind: 'decimal', bits, scale },
        type: { kind: 'numeric', precision, scale },
      };
    }
    case 8: {
      // Days in 32 bits, or milliseconds in 64 that are whole days.
      const inDays = (type?.int16(0, 1) ?? 1) === 0;
      return inDays
        ? { layout: { kind: 'count', bits: 32, unit: DAYS }, type: DATE }
        : { layout: { kind: 'count', bits: 64, unit: MILLIS_TO_DAYS }, type: DATE };
    }
    case 9: {
      const bits = (type?.int32(1, 32) ?? 32) === 64 ? 64 : 32;
      return {
        layout: { kind: 'count', bits, unit: unitOf(type?.int16(0, 1) ?? 1) },
        type: TIME,
      };
    }
    case 10: {
      const zoned = (type?.text(1) ?? '') !== '';
      return {
        layout: { kind: 'count', bits: 64, unit: unitOf(type?.int16(0, 0) ?? 0) },
        type: zoned ? TIMESTAMPTZ : TIMESTAMP,
      };
    }
    case 11: {
      const layouts = ['months', 'daysAndMillis', 'monthsDaysNanos'] as const;
      const kind = layouts[type?.int16(0, 0) ?? 0];
      if (kind === undefined) throw unreadable(name, 'intervals of an unknown unit');
      return { layout: { kind }, type: INTERVAL };
    }
    case 15:
      return { layout: { kind: 'fixed', stride: type?.int32(0, 0) ?? 0 }, type: BYTEA };
    case 18:
      return {
        layout: { kind: 'duration', unit: unitOf(type?.int16(0, 1) ?? 1) },
        type: INTERVAL,
      };
    case 23:
      return { layout: { kind: 'views' }, type: BYTEA };
    case 24:
      return { layout: { kind: 'views' }, type: TEXT };
    default:
      throw unreadable(name, NESTED[id] ?? `type ${id}`);
  }
}

const NESTED: Readonly<Record<number, string>> = {
  12: 'lists',
  13: 'structs',
  14: 'unions',
  16: 'lists',
  17: 'maps',
  21: 'lists',
  22: 'runs',
  25: 'lists',
  26: 'lists',
};

function integerType(bits: 8 | 16 | 32 | 64, signed: boolean): SqlType {
  if (bits === 64) return signed ? INT8 : NUMERIC;
  if (bits === 32) return signed ? INT4 : INT8;
  return bits === 16 && !signed ? INT4 : INT2;
}
