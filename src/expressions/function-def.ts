import type { Calendar } from '../calendar/calendar.ts';
import type { SqlType, TypeKind } from '../columns/types.ts';
import type { Datum } from '../columns/values.ts';
import type { ParameterValue } from './arrays.ts';

/** What an evaluation may know beside its arguments. One per statement: `now` never moves inside a statement. */
export type EvaluationContext = {
  /** Microseconds since 1970 of the statement's (transaction's) instant: now(), current_date, … */
  readonly nowMicros: number;
  /** The session's time zone, an IANA name known to `calendar`. */
  readonly zone: string;
  readonly parameters: readonly ParameterValue[];
  /** For random(), gen_random_uuid(): a stream of this statement. */
  readonly random: { unit(): number; uint32(): number };
  /** current_setting(); undefined where it is not set. */
  setting(name: string): string | undefined;
  /** nextval() and its kin; absent where there are no sequences. */
  readonly sequences?: SequenceAccess | undefined;
  /** A calendar by its name, in its own zone or another (42704 where there is none); absent where names would not stay what they are. */
  readonly calendar?: ((name: string, zone: string | undefined) => Calendar) | undefined;
};

/** The sequences a session may use. Throws 42P01, 55000, 2200H. */
export type SequenceAccess = {
  next(name: string): number;
  current(name: string): number;
  last(): number;
  set(name: string, value: number, called: boolean): number;
};

/**
 * What a value depends on beside the arguments: nothing; the session's zone; that, settings and the statement's instant; every
 * call anew. PostgreSQL calls the two in the middle stable.
 */
export type Volatility = 'immutable' | 'zoned' | 'stable' | 'volatile';

/** How an argument or a result type is declared in the catalog. */
export type TypePattern =
  | TypeKind
  /** All `any…` of one signature agree on one type, which the result may name too. */
  | 'anyelement'
  /** Any type at all, each for itself. */
  | 'any';

/**
 * A scalar function, operator or cast. Overloads are separate definitions; `id` is unique, of the form
 * `name(kind,kind)`, and is what plans hold.
 */
export type FunctionDef = {
  readonly id: string;
  /** As written in SQL: `lower`, or an operator's symbol: `+`, `||`, `~~`. */
  readonly name: string;
  readonly args: readonly TypePattern[];
  /** The last argument may be given any number of times (once at least). */
  readonly variadic?: boolean;
  readonly returns: TypePattern | ((args: readonly SqlType[]) => SqlType);
  /** NULL in, NULL out, without a call. Default true. */
  readonly strict?: boolean;
  readonly volatility?: Volatility;
  /**
   * The meaning, on data in their one form (see values.ts). Throws DbError (22003, 22012, …) on bad values.
   * Must be a pure function of its arguments and the context.
   */
  readonly evaluate: (
    args: readonly Datum[],
    context: EvaluationContext,
    types: readonly SqlType[],
  ) => Datum;
  /** The same meaning with a memory of its own, one for each kernel: what is made of an argument is made once. */
  readonly prepare?: () => FunctionDef['evaluate'];
  /**
   * JavaScript for the fast lane, where every argument is a number lane (see compile.ts): a pure expression over
   * the argument texts. Must agree with `evaluate` bit for bit wherever its guard holds; `guard` names what is
   * checked on the result: 'int2' | 'int4' ranges throw 22003, 'safe' leaves the fast lane for `evaluate` when
   * the result is not a safe integer, 'finite' throws 22003 for a new infinity.
   */
  readonly inline?: (...args: string[]) => string;
  readonly guard?: 'int2' | 'int4' | 'safe' | 'finite';
};
