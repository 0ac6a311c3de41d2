import { isUtf8 } from 'node:buffer';
import { DbError } from '../base/errors.ts';
import { datumAt, isNullAt, vectorFromData } from '../columns/build.ts';
import type { Dictionary } from '../columns/dictionary.ts';
import { isTextType, type SqlType } from '../columns/types.ts';
import type { Datum } from '../columns/values.ts';
import type { BytesVector, Vector } from '../columns/vector.ts';
import type { OpenedReader, RawBatch, ReaderOptions } from './contract.ts';
import { converterTo } from './convert.ts';
import { matchTargets, uniqueNames } from './targets.ts';

/**
 * A file that has types of its own (Parquet, Arrow), read for the columns that are wanted: names matched, values checked and
 * converted.
 */
export function typedReader(raw: OpenedReader, options: ReaderOptions): OpenedReader {
  const names = raw.columns.map(({ name }) => name);
  const targets =
    options.targets === undefined
      ? uniqueNames(names).map((name, index) => ({
          name,
          type: options.types?.[name] ?? raw.columns[index]!.declared ?? raw.columns[index]!.type,
        }))
      : matchTargets(names, options.targets, { byPlace: false });
  const reads = raw.columns.map(({ type, name }, index) => {
    const check = checkerOf(type, name);
    const convert = converterTo(type, targets[index]!.type, name, options);
    return (vector: Vector, rowCount: number): Vector => convert(check(vector, rowCount), rowCount);
  });
  async function* batches(): AsyncGenerator<RawBatch, void, undefined> {
    for await (const { rowCount, columns } of raw.batches) {
      const converted: Vector[] = [];
      for (const [index, column] of columns.entries()) {
        converted.push(reads[index]!(column, rowCount));
        await options.pause?.();
      }
      yield { rowCount, columns: converted };
    }
  }
  return {
    ...raw,
    columns: targets.map(({ name, type }, index) => ({
      name,
      type,
      nullable: raw.columns[index]!.nullable,
    })),
    batches: batches(),
  };
}

/** What a file may hold and a column of ours may not: texts that are no UTF-8 or have NULs; and infinities as numbers. */
function checkerOf(type: SqlType, column: string): (vector: Vector, rowCount: number) => Vector {
  if (isTextType(type)) {
    const known = new WeakMap<Dictionary, number>();
    return (vector, rowCount) => {
      if (vector.rep === 'bytes') checkBytes(vector, rowCount, column);
      if (vector.rep === 'dictionary') {
        const { dictionary } = vector;
        for (let code = known.get(dictionary) ?? 0; code < dictionary.size; code += 1) {
          const bytes = dictionary.bytes(code);
          if (!isUtf8(bytes) || bytes.includes(0)) throw badText(column);
        }
        known.set(dictionary, dictionary.size);
      }
      return vector;
    };
  }
  if (type.kind === 'date' || type.kind === 'timestamp' || type.kind === 'timestamptz')
    return (vector, rowCount) => withInfinities(vector, rowCount, type, column);
  return (vector) => vector;
}

function checkBytes(vector: BytesVector, rowCount: number, column: string): void {
  const { bytes, offsets } = vector;
  const whole = bytes.subarray(offsets[0]!, offsets[rowCount]!);
  if (!isUtf8(whole) || whole.includes(0)) throw badText(column);
  // Together they may be well-formed while a character is cut in two between them.
  for (let row = 0; row < rowCount; row += 1)
    if (offsets[row + 1]! > offsets[row]! && (bytes[offsets[row]!]! & 0xc0) === 0x80)
      throw badText(column);
}

function badText(column: string): DbError {
  return new DbError('22021', 'invalid byte sequence for encoding "UTF8"', {
    column,
    hint: `Column "${column}" of the file holds texts that are no UTF-8, or NUL characters.`,
  });
}

/** The numbers that stand for ±infinity: those of DuckDB, which has none of its own for −infinity, and of PostgreSQL. */
const DATE_INFINITY = 2_147_483_647;
const INSTANT_INFINITY = 2n ** 63n - 1n;
/** From 4713 BC, and for dates to 5874897, as in PostgreSQL; instants to what 64 bits hold. */
const DATE_MIN = -2_440_588;
const DATE_MAX = 2_145_042_905;
const INSTANT_MIN = -210_866_803_200_000_000n;

function withInfinities(vector: Vector, rowCount: number, type: SqlType, column: string): Vector {
  if (vector.rep === 'number' && type.kind !== 'date') return vector;
  const isPlain = (datum: Datum): boolean =>
    type.kind === 'date'
      ? (datum as number) >= DATE_MIN && (datum as number) <= DATE_MAX
      : typeof datum === 'number' ||
        ((datum as bigint) >= INSTANT_MIN && (datum as bigint) < INSTANT_INFINITY);
  let all = true;
  for (let row = 0; row < rowCount && all; row += 1)
    if (!isNullAt(vector, row)) all = isPlain(datumAt(vector, row));
  if (all) return vector;
  return vectorFromData(
    type,
    Array.from({ length: rowCount }, (_, row): Datum => {
      const datum = datumAt(vector, row);
      if (datum === null || isPlain(datum) || !Number.isFinite(Number(datum))) return datum;
      const end = type.kind === 'date' ? BigInt(DATE_INFINITY) : INSTANT_INFINITY;
      const value = BigInt(datum as number | bigint);
      if (value === end) return Infinity;
      if (value === -end || value === -end - 1n) return -Infinity;
      throw new DbError('22008', `${type.kind} out of range: ${value}`, {
        column,
        hint: `Column "${column}" of the file holds times that PostgreSQL's types do not reach.`,
      });
    }),
  );
}
