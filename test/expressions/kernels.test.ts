/**
 * A generated kernel says what `interpret` says, to the bit, and refuses what it refuses: for every cast and every function of
 * the catalog over every layout of a column, and for random expressions made of them.
 */
import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import type { DbError } from '../../src/base/errors.ts';
import type { Batch } from '../../src/columns/batch.ts';
import { datumAt, vectorFromData } from '../../src/columns/build.ts';
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
  VARCHAR,
  type SqlType,
  type TypeKind,
} from '../../src/columns/types.ts';
import { Decimal, Interval, type Datum } from '../../src/columns/values.ts';
import { castOf } from '../../src/expressions/coercion.ts';
import { compileExpression, compileFilter } from '../../src/expressions/compile.ts';
import { DATETIME_OPERATORS } from '../../src/expressions/datetime-operators.ts';
import type { Expression } from '../../src/expressions/expression.ts';
import type { EvaluationContext, FunctionDef } from '../../src/expressions/function-def.ts';
import { ALL_FUNCTIONS } from '../../src/expressions/functions/all.ts';
import { ALL_CASTS } from '../../src/expressions/functions/casts.ts';
import { interpret } from '../../src/expressions/interpret.ts';

// Nothing here asserts time; a loaded machine may take long.
vi.setConfig({ testTimeout: 120_000 });

const CONTEXT: EvaluationContext = {
  nowMicros: 1_772_000_000_000_000,
  zone: 'America/New_York',
  parameters: [],
  random: { unit: () => 0.5, uint32: () => 7 },
  setting: () => undefined,
};

/** Columns by layout: plain numbers, wide ones, objects; each with values at which something changes. */
const COLUMNS: readonly (readonly [type: SqlType, texts: readonly string[]])[] = [
  [BOOLEAN, ['true', 'false']],
  [INT2, ['0', '1', '-1', '7', '32767', '-32768']],
  [INT4, ['0', '1', '-1', '2', '12', '100', '2147483647', '-2147483648']],
  [INT8, ['0', '1', '-7', '64', '9007199254740991', '-9007199254740991']],
  [INT8, ['0', '3', '9007199254740993', '9223372036854775807', '-9223372036854775808']],
  [FLOAT4, ['0', '-0', '1.5', '-2.5', '0.1', '3e38', '1e-45', 'NaN', 'Infinity']],
  [FLOAT8, ['0', '-0', '0.5', '1.5', '-2.5', '1e16', '1e308', '5e-324', 'NaN', '-Infinity']],
  [{ kind: 'numeric', precision: 8, scale: 2 }, ['0.00', '1.00', '-2.55', '0.05', '123456.78']],
  [NUMERIC, ['0', '0.0', '1', '-1.50', 'NaN', '1e20', '0.000000001', '12345678901234567890.5']],
  [TEXT, ['', 'a', 'Ab ', 'ü%', '12', '2024-02-29', 'true', '😀b']],
  [VARCHAR, ['', 'a', 'b_', '-1.5']],
  [{ kind: 'bpchar', length: 3 }, ['a  ', 'bc', '']],
  [DATE, ['2024-02-29', '1970-01-01', '1969-12-31', '0001-01-01', 'infinity']],
  [TIME, ['00:00', '23:59:59.999999', '24:00', '12:30']],
  [TIMESTAMP, ['2024-03-10 02:30', '1969-12-31 23:59:59.5', '2026-11-01 01:30', '-infinity']],
  [TIMESTAMPTZ, ['2024-03-10 02:30-05', '2026-11-01 05:30+00', '1900-01-01 00:00+00', 'infinity']],
  [TIMESTAMPTZ, ['2024-03-10 07:00+00', '290000-01-01 00:00+00']],
  [INTERVAL, ['0', '1 mon', '-1 day 3 hours', '1 year 00:00:00.000001']],
  [UUID, ['00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff']],
  [BYTEA, [String.raw`\x`, String.raw`\x00ff`, String.raw`\x616263`]],
].map(([type, texts]) => [type as SqlType, texts as readonly string[]] as const);

const DATA: readonly (readonly Datum[])[] = COLUMNS.map(([type, texts]) =>
  texts.map((text) => fromText(text, type)),
);

function fromText(text: string, type: SqlType): Datum {
  return type.kind === 'text'
    ? text
    : castOf('text', type.kind)!.evaluate(text, type, true, CONTEXT);
}

/** mulberry32: a stream of numbers that a seed gives. */
function dice(seed: number): (count: number) => number {
  let state = seed >>> 0;
  return (count) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % count;
  };
}

const ROWS = 24;

/** Every column over again, with NULLs or without; `rows` where only some rows are to be there. */
function rowsOf(roll: (count: number) => number, hasNulls: boolean): Datum[][] {
  return DATA.map((data) =>
    Array.from({ length: ROWS }, () =>
      hasNulls && roll(4) === 0 ? null : data[roll(data.length)]!,
    ),
  );
}

function batchOf(columns: readonly (readonly Datum[])[], rows: readonly number[]): Batch {
  return {
    rowCount: rows.length,
    columns: columns.map((data, index) =>
      vectorFromData(
        COLUMNS[index]![0],
        rows.map((row) => data[row]!),
      ),
    ),
  };
}

type Outcome = { readonly value: Datum } | { readonly code: string };

function outcome(what: string, work: () => Datum): Outcome {
  try {
    return { value: work() };
  } catch (cause) {
    const { code } = cause as DbError;
    if (typeof code !== 'string') throw new Error(`${what} crashed`, { cause });
    return { code };
  }
}

function same(a: Datum, b: Datum): boolean {
  if (a instanceof Decimal && b instanceof Decimal)
    return a.coefficient === b.coefficient && a.scale === b.scale && a.special === b.special;
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b) === 0;
  if (a !== null && typeof a === 'object') return JSON.stringify(a) === JSON.stringify(b);
  return Object.is(a, b);
}

const INTEGERS: ReadonlyMap<TypeKind, readonly [bigint, bigint]> = new Map([
  ['int2', [-32_768n, 32_767n]],
  ['int4', [-(2n ** 31n), 2n ** 31n - 1n]],
  ['int8', [-(2n ** 63n), 2n ** 63n - 1n]],
]);
const INSTANTS: ReadonlySet<TypeKind> = new Set(['date', 'timestamp', 'timestamptz']);
const TEXTS: ReadonlySet<TypeKind> = new Set(['text', 'varchar', 'bpchar', 'uuid']);

/** Whether a value is one of its type, in the one form that it has. */
function isOf(value: Datum, kind: TypeKind): boolean {
  if (value === null) return true;
  const range = INTEGERS.get(kind);
  if (range !== undefined || INSTANTS.has(kind)) {
    if (range === undefined && (value === Infinity || value === -Infinity)) return true;
    if (
      typeof value === 'number'
        ? !Number.isSafeInteger(value) || Object.is(value, -0)
        : typeof value !== 'bigint'
    )
      return false;
    if (typeof value === 'bigint' && Number.isSafeInteger(Number(value))) return false;
    return (
      range === undefined ||
      (BigInt(value as number) >= range[0] && BigInt(value as number) <= range[1])
    );
  }
  if (TEXTS.has(kind))
    return typeof value === 'string' && value.isWellFormed() && !value.includes('\0');
  if (kind === 'boolean') return typeof value === 'boolean';
  if (kind === 'numeric') return value instanceof Decimal && value.scale >= 0;
  if (kind === 'float4') return typeof value === 'number' && Object.is(Math.fround(value), value);
  if (kind === 'float8') return typeof value === 'number';
  if (kind === 'time')
    return (
      typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 86_400_000_000
    );
  if (kind === 'interval') return value instanceof Interval;
  return kind !== 'bytea' || value instanceof Uint8Array;
}

/** Evaluates by row and by kernel, all rows that can be, those of a selection, and those that are refused one by one. */
function expectSame(expression: Expression, columns: readonly (readonly Datum[])[]): void {
  const what = JSON.stringify(expression, (_, value: unknown) =>
    typeof value === 'bigint' ? `${value}n` : value,
  );
  const byRow = Array.from({ length: ROWS }, (_, row) =>
    outcome(what, () => interpret(expression, (column) => columns[column]![row]!, CONTEXT)),
  );
  for (const each of byRow)
    if ('value' in each && !isOf(each.value, expression.type.kind))
      expect.fail(
        `no ${expression.type.kind}: ${typeof each.value} ${String(each.value)}, of ${what}`,
      );
  const fine = byRow.flatMap((each, row) => ('value' in each ? [row] : []));
  const compiled = compileExpression(expression);
  const check = (batch: Batch, rows: readonly number[]): void => {
    const vector = compiled.evaluate(batch, CONTEXT);
    rows.forEach((row, at) => {
      const wanted = (byRow[row] as { value: Datum }).value;
      const got = datumAt(vector, at);
      if (!same(wanted, got))
        expect.fail(`${String(wanted)} by row, ${String(got)} by kernel in row ${row} of ${what}`);
    });
    if (expression.type.kind !== 'boolean') return;
    const kept = compileFilter(expression).select(batch, CONTEXT)?.rowCount ?? 0;
    expect(kept, what).toBe(
      rows.filter((row) => (byRow[row] as { value: Datum }).value === true).length,
    );
  };
  const whole = batchOf(columns, fine);
  check(whole, fine);
  const odd = fine.flatMap((_, at) => (at % 2 === 1 ? [at] : []));
  if (odd.length > 0)
    check(
      { ...whole, rowCount: odd.length, selection: Int32Array.from(odd) },
      odd.map((at) => fine[at]!),
    );
  byRow.forEach((each, row) => {
    if ('value' in each) return;
    const got = outcome(what, () =>
      datumAt(compiled.evaluate(batchOf(columns, [row]), CONTEXT), 0),
    );
    expect(got, `${what} of row ${row}`).toEqual(each);
  });
}

const columnOf = (index: number): Expression => {
  const [type] = COLUMNS[index]!;
  return { kind: 'column', index, type, nullable: true, name: `c${index}` };
};

/** By kind of value: the columns of it. */
const BY_KIND = new Map<TypeKind, number[]>();
COLUMNS.forEach(([{ kind }], index) => BY_KIND.set(kind, [...(BY_KIND.get(kind) ?? []), index]));

const FUNCTIONS: readonly FunctionDef[] = [...ALL_FUNCTIONS, ...DATETIME_OPERATORS].filter(
  ({ volatility, name }) =>
    volatility !== 'volatile' && !/^(repeat|lpad|rpad|factorial)$/.test(name),
);

/** The call over given arguments; undefined where a type is meant that no column has. */
function callOf(
  def: FunctionDef,
  arg: (kind: TypeKind) => Expression | undefined,
): Expression | undefined {
  const args = def.args.map((pattern) =>
    arg(pattern === 'anyelement' || pattern === 'any' ? 'int4' : pattern),
  );
  if (args.includes(undefined)) return undefined;
  const types = args.map((each) => each!.type);
  const type =
    typeof def.returns === 'function'
      ? def.returns(types)
      : def.returns === 'anyelement' || def.returns === 'any'
        ? INT4
        : ({ kind: def.returns } as SqlType);
  return { kind: 'call', fn: def.id, args: args as Expression[], type };
}

test('every cast', () => {
  const roll = dice(1);
  for (const hasNulls of [false, true])
    for (const { from, to } of ALL_CASTS)
      for (const index of BY_KIND.get(from) ?? [])
        for (const explicit of [true, false]) {
          const type = { kind: to } as SqlType;
          expectSame(
            { kind: 'cast', arg: columnOf(index), type, explicit },
            rowsOf(roll, hasNulls),
          );
        }
});

test('every function', () => {
  const roll = dice(2);
  for (const hasNulls of [false, true])
    for (const def of FUNCTIONS)
      for (let turn = 0; turn < 3; turn += 1) {
        const call = callOf(def, (kind) => {
          const indexes = BY_KIND.get(kind);
          return indexes === undefined
            ? undefined
            : columnOf(indexes[(turn + roll(2)) % indexes.length]!);
        });
        if (call !== undefined) expectSame(call, rowsOf(roll, hasNulls));
      }
});

test('expressions of them', () => {
  const returning = new Map<TypeKind, FunctionDef[]>();
  for (const def of FUNCTIONS)
    if (typeof def.returns !== 'function')
      returning.set(def.returns as TypeKind, [
        ...(returning.get(def.returns as TypeKind) ?? []),
        def,
      ]);
  const kinds = [...BY_KIND.keys()];
  fc.assert(
    fc.property(fc.nat(), fc.boolean(), (seed, hasNulls) => {
      const roll = dice(seed);
      const one = <Item>(items: readonly Item[]): Item => items[roll(items.length)]!;
      const leaf = (kind: TypeKind): Expression => {
        const index = one(BY_KIND.get(kind)!);
        if (roll(3) > 0) return columnOf(index);
        return { kind: 'constant', type: COLUMNS[index]![0], value: one(DATA[index]!) };
      };
      const made = (kind: TypeKind, depth: number): Expression => {
        if (depth === 0) return leaf(kind);
        const next = (other: TypeKind): Expression => made(other, depth - 1);
        switch (roll(kind === 'boolean' ? 9 : 5)) {
          case 0: {
            const branches = Array.from({ length: 1 + roll(2) }, () => ({
              when: next('boolean'),
              then: next(kind),
            }));
            return { kind: 'case', branches, otherwise: next(kind), type: { kind } as SqlType };
          }
          case 1:
            return { kind: 'coalesce', args: [next(kind), next(kind)], type: { kind } as SqlType };
          case 2: {
            const froms = ALL_CASTS.filter(({ from, to }) => to === kind && BY_KIND.has(from));
            if (froms.length === 0) return leaf(kind);
            return {
              kind: 'cast',
              arg: next(one(froms).from),
              type: { kind } as SqlType,
              explicit: true,
            };
          }
          case 3:
          case 4: {
            const def = one(returning.get(kind) ?? [undefined!]);
            const call =
              def && callOf(def, (other) => (BY_KIND.has(other) ? next(other) : undefined));
            return call ?? leaf(kind);
          }
          case 5:
            return {
              kind: one(['and', 'or'] as const),
              args: [next('boolean'), next('boolean')],
              type: BOOLEAN,
            };
          case 6:
            return { kind: 'not', arg: next('boolean'), type: BOOLEAN };
          case 7:
            return {
              kind: one(['isNull', 'isNotNull'] as const),
              arg: next(one(kinds)),
              type: BOOLEAN,
            };
          default: {
            const width = 1 + roll(2);
            const columns = Array.from({ length: width }, () => roll(COLUMNS.length));
            const rowsOfList = (count: number): Datum[] =>
              Array.from({ length: count }, () =>
                columns.map((index) => one([null, ...DATA[index]!])),
              ).flat();
            const values = rowsOfList(1 + roll(12));
            // What an execution settles; a text may be none of the type.
            const others = rowsOfList(roll(3)).map((value, at): Expression => {
              const type = COLUMNS[columns[at % width]!]![0];
              const arg: Expression = { kind: 'constant', type, value };
              return roll(8) > 0
                ? { kind: 'coalesce', args: [arg], type }
                : {
                    kind: 'cast',
                    arg: { kind: 'constant', type: TEXT, value: '1' },
                    type,
                    explicit: true,
                  };
            });
            const args = columns.map((index) => next(COLUMNS[index]![0].kind));
            const negated = roll(2) === 0;
            return { kind: 'inList', args, values, others, negated, type: BOOLEAN };
          }
        }
      };
      expectSame(made(one(kinds), 1 + roll(3)), rowsOf(roll, hasNulls));
    }),
    { numRuns: 500 },
  );
});
