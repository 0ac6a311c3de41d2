import { DbError } from '../../base/errors.ts';
import { zoneOf } from '../../calendar/zones.ts';
import { withoutTrailingBlanks } from '../../columns/compare.ts';
import type { SqlType, TypeKind } from '../../columns/types.ts';
import { Interval } from '../../columns/values.ts';
import type { Datum, Decimal } from '../../columns/values.ts';
import {
  dateToTimestamp,
  dateToTimestamptz,
  MICROS_A_DAY,
  roundHalfEven,
  timeOfTimestamp,
  timestampToDate,
  timestamptzToTimestamp,
  timestampToTimestamptz,
} from '../datetime.ts';
import type { Instant } from '../datetime.ts';
import { decimalOf, fromFloat, toDouble, toInteger } from '../decimal-arithmetic.ts';
import { float4FromText } from '../float-text.ts';
import type { EvaluationContext } from '../function-def.ts';
import { datumFromText, datumToText, fitToType } from '../text-io.ts';
import {
  checkedInteger,
  floatOverflow,
  floatUnderflow,
  INTEGER_KINDS,
  integerName,
  integerOutOfRange,
} from './define.ts';
import type { IntegerKind } from './define.ts';

/** Where a cast may be applied without being written: anywhere, only when storing, or nowhere. */
export type CastContext = 'implicit' | 'assignment' | 'explicit';

/**
 * A conversion from one kind of type to another (PostgreSQL's pg_cast, and its conversions through text). NULL stays
 * NULL without a call. The length or precision of `to` is applied as well: `explicit` casts cut what is too long.
 */
export type CastDef = {
  readonly from: TypeKind;
  readonly to: TypeKind;
  readonly context: CastContext;
  readonly evaluate: (
    value: Exclude<Datum, null>,
    to: SqlType,
    explicit: boolean,
    context: EvaluationContext,
  ) => Datum;
  /** `zoned` where the session's zone takes part, `stable` where the statement's instant may too. Default immutable. */
  readonly volatility?: 'zoned' | 'stable';
  /** As of FunctionDef, for number lanes. */
  readonly inline?: (value: string) => string;
  readonly guard?: 'int2' | 'int4' | 'safe' | 'finite';
};

type Extra = Pick<CastDef, 'volatility' | 'inline' | 'guard'>;

function cast(
  from: TypeKind,
  to: TypeKind,
  context: CastContext,
  evaluate: CastDef['evaluate'],
  extra: Extra = {},
): CastDef {
  return { from, to, context, evaluate, ...extra };
}

const ZONED: Extra = { volatility: 'zoned' };
const STABLE: Extra = { volatility: 'stable' };
const SAME: Extra = { inline: (value) => `(${value})` };

const VALUE_KINDS = [
  'boolean',
  'int2',
  'int4',
  'int8',
  'float4',
  'float8',
  'numeric',
  'date',
  'time',
  'timestamp',
  'timestamptz',
  'interval',
  'uuid',
  'bytea',
] as const satisfies readonly TypeKind[];
const TEXT_KINDS = ['text', 'varchar', 'bpchar'] as const satisfies readonly TypeKind[];
/** Their text depends on the session's zone, or may be a word such as `now`. */
const ZONED_KINDS: readonly TypeKind[] = ['date', 'time', 'timestamp', 'timestamptz'];

/** Every cast; at most one of a pair of kinds. A kind onto itself stands for fitting a length or a precision. */
export const ALL_CASTS: readonly CastDef[] = [
  ...numberCasts(),
  ...dateTimeCasts(),
  ...textCasts(),
  ...textConversions(),
];

function numberCasts(): CastDef[] {
  const casts: CastDef[] = [
    cast('boolean', 'int4', 'explicit', (value) => (value === true ? 1 : 0)),
    cast('int4', 'boolean', 'explicit', (value) => value !== 0, {
      inline: (value) => `(${value} !== 0)`,
    }),
    cast('float4', 'float8', 'implicit', (value) => value, SAME),
    cast('float8', 'float4', 'assignment', (value) => toFloat4(value as number)),
    cast('float4', 'numeric', 'assignment', (value, to) =>
      fitToType(fromFloat(value as number, 6), to, false),
    ),
    cast('float8', 'numeric', 'assignment', (value, to) =>
      fitToType(fromFloat(value as number, 15), to, false),
    ),
    cast('numeric', 'float4', 'implicit', (value) => decimalToFloat4(value as Decimal)),
    cast('numeric', 'float8', 'implicit', (value) => decimalToFloat8(value as Decimal)),
    cast('numeric', 'numeric', 'implicit', (value, to) => fitToType(value, to, false)),
  ];
  for (const kind of INTEGER_KINDS) {
    for (const other of INTEGER_KINDS) {
      if (kind === other) continue;
      const widens = INTEGER_KINDS.indexOf(kind) < INTEGER_KINDS.indexOf(other);
      casts.push(
        cast(
          kind,
          other,
          widens ? 'implicit' : 'assignment',
          (value) => checkedInteger(value as number | bigint, other),
          widens ? SAME : { ...SAME, guard: other as 'int2' | 'int4' },
        ),
      );
    }
    casts.push(
      cast(kind, 'float4', 'implicit', (value) => integerToFloat4(value as number | bigint)),
      cast(kind, 'float8', 'implicit', (value) => Number(value), SAME),
      cast(kind, 'numeric', 'implicit', (value, to) =>
        fitToType(decimalOf(value as number | bigint), to, false),
      ),
      cast('float4', kind, 'assignment', (value) => floatToInteger(value as number, kind)),
      cast('float8', kind, 'assignment', (value) => floatToInteger(value as number, kind)),
      cast('numeric', kind, 'assignment', (value) =>
        toInteger(value as Decimal, integerName(kind)),
      ),
    );
  }
  return casts;
}

function toFloat4(value: number): number {
  const rounded = Math.fround(value);
  if (!Number.isFinite(rounded) && Number.isFinite(value)) throw floatOverflow();
  if (rounded === 0 && value !== 0) throw floatUnderflow();
  return rounded;
}

/** Beyond 2^53 the text rounds once, where going through a double would round twice. */
function integerToFloat4(value: number | bigint): number {
  return typeof value === 'number' ? Math.fround(value) : float4FromText(value.toString());
}

function decimalToFloat4(value: Decimal): number {
  return value.special === undefined ? float4FromText(value.toString()) + 0 : Number(value.special);
}

function decimalToFloat8(value: Decimal): number {
  const double = toDouble(value);
  if (
    value.special === undefined &&
    (!Number.isFinite(double) || (double === 0 && value.coefficient !== 0n))
  ) {
    throw new DbError('22003', `"${value.toString()}" is out of range for type double precision`);
  }
  return double;
}

/** Half to even, as the processor rounds. */
function floatToInteger(value: number, kind: IntegerKind): number | bigint {
  const rounded = roundHalfEven(value);
  // 2^63 is the least double that int8 cannot hold.
  if (!(rounded >= -9_223_372_036_854_775_808 && rounded < 9_223_372_036_854_775_808)) {
    throw integerOutOfRange(kind);
  }
  return checkedInteger(Number.isSafeInteger(rounded) ? rounded + 0 : BigInt(rounded), kind);
}

function dateTimeCasts(): CastDef[] {
  const zone = (context: EvaluationContext) => zoneOf(context.zone);
  return [
    cast('date', 'timestamp', 'implicit', (value) => dateToTimestamp(value as number), {
      inline: (value) => `(${value} * ${MICROS_A_DAY})`,
      guard: 'safe',
    }),
    cast(
      'date',
      'timestamptz',
      'implicit',
      (value, _to, _explicit, context) => dateToTimestamptz(value as number, zone(context)),
      ZONED,
    ),
    cast('timestamp', 'date', 'assignment', (value) => timestampToDate(value as Instant), {
      inline: (value) => `Math.floor(${value} / ${MICROS_A_DAY})`,
    }),
    cast('timestamp', 'time', 'assignment', (value) => timeOfTimestamp(value as Instant)),
    cast(
      'timestamp',
      'timestamptz',
      'implicit',
      (value, _to, _explicit, context) => timestampToTimestamptz(value as Instant, zone(context)),
      ZONED,
    ),
    cast(
      'timestamptz',
      'date',
      'assignment',
      (value, _to, _explicit, context) =>
        timestampToDate(timestamptzToTimestamp(value as Instant, zone(context))),
      ZONED,
    ),
    cast(
      'timestamptz',
      'time',
      'assignment',
      (value, _to, _explicit, context) =>
        timeOfTimestamp(timestamptzToTimestamp(value as Instant, zone(context))),
      ZONED,
    ),
    cast(
      'timestamptz',
      'timestamp',
      'assignment',
      (value, _to, _explicit, context) => timestamptzToTimestamp(value as Instant, zone(context)),
      ZONED,
    ),
    cast('time', 'interval', 'implicit', (value) => new Interval(0, 0, value as number)),
    cast('interval', 'time', 'assignment', (value) => {
      const { micros } = value as Interval;
      return micros - Math.floor(micros / MICROS_A_DAY) * MICROS_A_DAY;
    }),
  ];
}

/** Between the text types. char(n) loses its trailing blanks on the way out, and gets them on the way in. */
function textCasts(): CastDef[] {
  const casts: CastDef[] = [];
  for (const from of TEXT_KINDS) {
    for (const to of TEXT_KINDS) {
      if (from === 'text' && to === 'text') continue;
      casts.push(
        cast(from, to, 'implicit', (value, type, explicit) =>
          fitToType(
            from === 'bpchar' && to !== 'bpchar' ? withoutTrailingBlanks(value as string) : value,
            type,
            explicit,
          ),
        ),
      );
    }
  }
  return casts;
}

/** Through a type's own text: into text when storing, out of it when asked to; a bare literal becomes anything. */
function textConversions(): CastDef[] {
  const casts: CastDef[] = [];
  for (const kind of VALUE_KINDS) {
    for (const text of TEXT_KINDS) {
      casts.push(
        cast(
          kind,
          text,
          'assignment',
          (value, to, explicit, context) => fitToType(textOf(value, kind, context), to, explicit),
          kind === 'timestamptz' ? ZONED : {},
        ),
        cast(
          text,
          kind,
          'explicit',
          (value, to, _explicit, context) => datumFromText(value as string, to, context),
          ZONED_KINDS.includes(kind) ? STABLE : {},
        ),
      );
    }
  }
  for (const kind of [...VALUE_KINDS, ...TEXT_KINDS]) {
    casts.push(
      cast(
        'unknown',
        kind,
        'implicit',
        (value, to, explicit, context) =>
          to.kind === 'varchar' || to.kind === 'bpchar'
            ? fitToType(value, to, explicit)
            : datumFromText(value as string, to, context),
        ZONED_KINDS.includes(kind) ? STABLE : {},
      ),
    );
  }
  return casts;
}

/** What a cast to text gives: a boolean casts to `true` and `false`, though it prints as `t` and `f`. */
export function textOf(
  value: Exclude<Datum, null>,
  kind: TypeKind,
  context: EvaluationContext,
): string {
  if (kind === 'boolean') return value === true ? 'true' : 'false';
  return datumToText(value, { kind } as SqlType, context);
}
