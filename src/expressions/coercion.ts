import { DbError, type TextPlace } from '../base/errors.ts';
import {
  isTextType,
  sameType,
  TEXT,
  typeName,
  type SqlType,
  type TypeKind,
} from '../columns/types.ts';
import type { CastExpression, Expression } from './expression.ts';
import { ALL_CASTS, type CastContext, type CastDef } from './functions/casts.ts';
import { datumFromText, fitToType } from './text-io.ts';

/** PostgreSQL's categories: a preferred type wins where several would do. */
export type TypeCategory =
  | 'boolean'
  | 'number'
  | 'string'
  | 'datetime'
  | 'timespan'
  | 'other'
  | 'unknown';

export function categoryOf(kind: TypeKind): TypeCategory {
  switch (kind) {
    case 'boolean':
      return 'boolean';
    case 'int2':
    case 'int4':
    case 'int8':
    case 'float4':
    case 'float8':
    case 'numeric':
      return 'number';
    case 'text':
    case 'varchar':
    case 'bpchar':
      return 'string';
    case 'date':
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      return 'datetime';
    case 'interval':
      return 'timespan';
    case 'unknown':
    case 'null':
      return 'unknown';
    case 'uuid':
    case 'bytea':
      return 'other';
  }
}

const PREFERRED = new Set<TypeKind>(['boolean', 'float8', 'text', 'timestamptz', 'interval']);

export function isPreferred(kind: TypeKind): boolean {
  return PREFERRED.has(kind);
}

const casts = new Map<string, CastDef>(ALL_CASTS.map((cast) => [`${cast.from}>${cast.to}`, cast]));

export function castOf(from: TypeKind, to: TypeKind): CastDef | undefined {
  return casts.get(`${from}>${to}`);
}

const STRENGTH: Readonly<Record<CastContext, number>> = { implicit: 0, assignment: 1, explicit: 2 };

export function canCoerce(from: TypeKind, to: TypeKind, context: CastContext): boolean {
  if (from === to || from === 'unknown' || from === 'null') return true;
  const cast = castOf(from, to);
  return cast !== undefined && STRENGTH[cast.context] <= STRENGTH[context];
}

/**
 * The expression as type `to`: itself, a converted constant, or a cast around it. 42804 where a value of the one type
 * cannot be stored as the other, 42846 where no cast is known. Bare text constants and parameters without a type take
 * `to`.
 */
export function coerce(
  expression: Expression,
  to: SqlType,
  context: CastContext,
  at?: TextPlace,
): Expression {
  const from = expression.type;
  if (from.kind === 'null') return { kind: 'constant', type: to, value: null };
  if (from.kind === 'unknown') {
    if (to.kind === 'unknown') return expression;
    if (expression.kind === 'parameter') {
      const typed = { ...expression, type: withoutModifiers(to) };
      return retyped(typed, typed.type, to, context, at);
    }
    if (expression.kind === 'constant')
      return constantOf(expression.value as string | null, to, context, at);
    return retyped(expression, TEXT, to, context, at);
  }
  return retyped(expression, from, to, context, at);
}

function retyped(
  expression: Expression,
  from: SqlType,
  to: SqlType,
  context: CastContext,
  at: TextPlace | undefined,
): Expression {
  if (from.kind === to.kind) {
    if (!hasModifier(to) || sameType(from, to)) return expression;
    if (expression.kind === 'constant') {
      return {
        kind: 'constant',
        type: to,
        value:
          expression.value === null
            ? null
            : fitToType(expression.value, to, context === 'explicit'),
      };
    }
    return { kind: 'cast', arg: expression, type: to, explicit: context === 'explicit', at };
  }
  if (!canCoerce(from.kind, to.kind, context)) throw cannotCast(from, to, context, at);
  const explicit = context === 'explicit';
  if (DATETIME_KINDS.has(from.kind) && DATETIME_KINDS.has(to.kind) && hasModifier(to)) {
    const arg = {
      kind: 'cast',
      arg: expression,
      type: withoutModifiers(to),
      explicit,
      at,
    } as const;
    return { kind: 'cast', arg, type: to, explicit, at };
  }
  return { kind: 'cast', arg: expression, type: to, explicit, at };
}

/** Casts among these convert; another fits the precision. */
const DATETIME_KINDS = new Set<TypeKind>(['date', 'time', 'timestamp', 'timestamptz', 'interval']);

/** Texts of date and time types may depend on the zone or on now: those are converted when the statement runs. */
const CONVERTED_WHEN_RUN = new Set<TypeKind>(['date', 'time', 'timestamp', 'timestamptz']);

function constantOf(
  text: string | null,
  to: SqlType,
  context: CastContext,
  at: TextPlace | undefined,
): Expression {
  if (text === null) return { kind: 'constant', type: to, value: null };
  const settled = to.kind === 'timestamptz' ? false : /^\s*\d{4}-/.test(text);
  if (CONVERTED_WHEN_RUN.has(to.kind) && !settled) {
    return {
      kind: 'cast',
      arg: { kind: 'constant', type: TEXT, value: text },
      type: to,
      explicit: true,
      at,
    };
  }
  try {
    // The fields of an interval say what a bare number in the text counts.
    const read = isTextType(to) ? TEXT : to.kind === 'interval' ? to : withoutModifiers(to);
    const value = datumFromText(text, read, {
      zone: 'UTC',
      nowMicros: 0,
    });
    return {
      kind: 'constant',
      type: to,
      value: hasModifier(to) ? fitToType(value, to, context === 'explicit') : value,
    };
  } catch (cause) {
    if (!(cause instanceof DbError) || at === undefined || cause.at !== undefined) throw cause;
    throw new DbError(cause.code, cause.message, { at, detail: cause.detail, hint: cause.hint });
  }
}

export function hasModifier(type: SqlType): boolean {
  return (
    (type.kind === 'numeric' && type.precision !== undefined) ||
    ((type.kind === 'varchar' || type.kind === 'bpchar') && type.length !== undefined) ||
    ((type.kind === 'time' || type.kind === 'timestamp' || type.kind === 'timestamptz') &&
      type.precision !== undefined) ||
    (type.kind === 'interval' && (type.fields !== undefined || type.precision !== undefined))
  );
}

/** A cast that gives each value itself, and equal values for none but equal ones: to a larger integer, from varchar to text. */
export function isWidening({ arg, type }: CastExpression): boolean {
  const width = (kind: TypeKind): number => INTEGER_WIDTHS.indexOf(kind);
  return (
    (width(arg.type.kind) >= 0 && width(type.kind) >= width(arg.type.kind)) ||
    (arg.type.kind === 'varchar' && type.kind === 'text')
  );
}

const INTEGER_WIDTHS: readonly TypeKind[] = ['int2', 'int4', 'int8'];

export function withoutModifiers(type: SqlType): SqlType {
  return hasModifier(type) ? ({ kind: type.kind } as SqlType) : type;
}

function cannotCast(
  from: SqlType,
  to: SqlType,
  context: CastContext,
  at: TextPlace | undefined,
): DbError {
  if (context === 'explicit')
    return new DbError('42846', `cannot cast type ${typeName(from)} to ${typeName(to)}`, { at });
  return new DbError(
    '42804',
    `expression is of type ${typeName(from)}, but ${typeName(to)} is needed`,
    { at, hint: `You will need to rewrite or cast the expression, such as (…)::${typeName(to)}.` },
  );
}

/**
 * The type that several expressions share (CASE, UNION, COALESCE, VALUES, IN, …), by PostgreSQL's rules; `what` names the
 * construct in 42804. All of them unknown: text.
 */
export function commonType(types: readonly SqlType[], what: string, at?: TextPlace): SqlType {
  const known = types.filter(({ kind }) => kind !== 'unknown' && kind !== 'null');
  if (known.length === 0) return TEXT;
  const first = known[0]!;
  if (known.every((type) => sameType(type, first)) && known.length === types.length) return first;
  let best = first;
  for (const type of known.slice(1)) {
    if (type.kind === best.kind) continue;
    if (categoryOf(type.kind) !== categoryOf(best.kind)) {
      throw new DbError(
        '42804',
        `${what} types ${typeName(best)} and ${typeName(type)} cannot be matched`,
        { at, hint: 'Cast one side to the type of the other.' },
      );
    }
    if (
      !isPreferred(best.kind) &&
      canCoerce(best.kind, type.kind, 'implicit') &&
      !canCoerce(type.kind, best.kind, 'implicit')
    )
      best = type;
  }
  for (const type of known) {
    if (!canCoerce(type.kind, best.kind, 'implicit')) {
      throw new DbError(
        '42846',
        `${what} could not convert type ${typeName(type)} to ${typeName(best)}`,
        { at },
      );
    }
  }
  // Bare text beside a char(3) may be longer: only what all of them have is kept. A NULL has no length.
  const isShared = types.every((type) => type.kind === 'null' || sameType(type, best));
  return isShared ? best : withoutModifiers(best);
}

export function haveCommonType(types: readonly SqlType[]): boolean {
  try {
    commonType(types, 'these');
    return true;
  } catch (cause) {
    if (cause instanceof DbError) return false;
    throw cause;
  }
}
