import { DbError, type TextPlace } from '../base/errors.ts';
import {
  BOOLEAN,
  FLOAT8,
  INT8,
  NUMERIC,
  TEXT,
  type SqlType,
  type TypeKind,
} from '../columns/types.ts';
import { coerce } from './coercion.ts';
import type { Expression } from './expression.ts';

export type AggregateFunction =
  | 'count'
  | 'sum'
  | 'avg'
  | 'min'
  | 'max'
  | 'var_pop'
  | 'var_samp'
  | 'stddev_pop'
  | 'stddev_samp'
  | 'covar_pop'
  | 'covar_samp'
  | 'corr'
  | 'regr_count'
  | 'regr_avgx'
  | 'regr_avgy'
  | 'regr_sxx'
  | 'regr_syy'
  | 'regr_sxy'
  | 'regr_slope'
  | 'regr_intercept'
  | 'regr_r2'
  | 'bool_and'
  | 'bool_or'
  | 'bit_and'
  | 'bit_or'
  | 'bit_xor'
  | 'string_agg'
  | 'percentile_cont'
  | 'percentile_disc'
  | 'mode'
  | 'approx_percentile'
  | 'approx_count_distinct';

const NAMES: Readonly<Record<string, AggregateFunction>> = {
  count: 'count',
  sum: 'sum',
  avg: 'avg',
  min: 'min',
  max: 'max',
  var_pop: 'var_pop',
  var_samp: 'var_samp',
  variance: 'var_samp',
  stddev_pop: 'stddev_pop',
  stddev_samp: 'stddev_samp',
  stddev: 'stddev_samp',
  covar_pop: 'covar_pop',
  covar_samp: 'covar_samp',
  corr: 'corr',
  regr_count: 'regr_count',
  regr_avgx: 'regr_avgx',
  regr_avgy: 'regr_avgy',
  regr_sxx: 'regr_sxx',
  regr_syy: 'regr_syy',
  regr_sxy: 'regr_sxy',
  regr_slope: 'regr_slope',
  regr_intercept: 'regr_intercept',
  regr_r2: 'regr_r2',
  bool_and: 'bool_and',
  every: 'bool_and',
  bool_or: 'bool_or',
  bit_and: 'bit_and',
  bit_or: 'bit_or',
  bit_xor: 'bit_xor',
  string_agg: 'string_agg',
  percentile_cont: 'percentile_cont',
  percentile_disc: 'percentile_disc',
  mode: 'mode',
  approx_percentile: 'approx_percentile',
  approx_count_distinct: 'approx_count_distinct',
};

export const AGGREGATE_NAMES: readonly string[] = Object.keys(NAMES);

export function isAggregateName(name: string): boolean {
  return Object.hasOwn(NAMES, name);
}

export type ResolvedAggregate = {
  readonly fn: AggregateFunction;
  readonly args: readonly Expression[];
  readonly type: SqlType;
};

/** undefined: no aggregate of that name. 42883 where it does not take such arguments. */
export function resolveAggregate(
  name: string,
  args: readonly Expression[],
  at?: TextPlace,
): ResolvedAggregate | undefined {
  const fn = Object.hasOwn(NAMES, name) ? NAMES[name] : undefined;
  if (fn === undefined) return undefined;
  const wrong = (): DbError =>
    new DbError(
      '42883',
      `function ${name}(${args.map(({ type }) => (type.kind === 'null' ? 'unknown' : type.kind)).join(', ')}) does not exist`,
      {
        at,
        hint: 'No aggregate of that name takes arguments of these types. You might need to add explicit casts.',
      },
    );
  const to = (types: readonly SqlType[], type: SqlType): ResolvedAggregate => {
    if (types.length !== args.length) throw wrong();
    return { fn, args: args.map((arg, index) => coerce(arg, types[index]!, 'implicit', at)), type };
  };
  const first = args[0]?.type.kind;
  switch (fn) {
    case 'count':
      if (args.length > 1) throw wrong();
      return {
        fn,
        args: args.map((arg) =>
          arg.type.kind === 'unknown' ? coerce(arg, TEXT, 'implicit') : arg,
        ),
        type: INT8,
      };
    case 'sum':
      switch (first) {
        case 'int2':
        case 'int4':
          return { fn, args, type: INT8 };
        case 'int8':
        case 'numeric':
          return { fn, args, type: NUMERIC };
        case 'float4':
        case 'float8':
        case 'interval':
          return { fn, args, type: args[0]!.type };
        case 'unknown':
        case 'null':
          return to([FLOAT8], FLOAT8);
        default:
          throw wrong();
      }
    case 'avg':
      switch (first) {
        case 'int2':
        case 'int4':
        case 'int8':
        case 'numeric':
          return { fn, args, type: NUMERIC };
        case 'float4':
        case 'float8':
          return { fn, args, type: FLOAT8 };
        case 'interval':
          return { fn, args, type: args[0]!.type };
        case 'unknown':
        case 'null':
          return to([FLOAT8], FLOAT8);
        default:
          throw wrong();
      }
    case 'min':
    case 'max':
      if (args.length !== 1 || first === 'boolean' || first === 'uuid' || first === 'bytea')
        throw wrong();
      if (first === 'unknown' || first === 'null' || first === 'varchar') return to([TEXT], TEXT);
      return { fn, args, type: args[0]!.type.kind === 'numeric' ? NUMERIC : args[0]!.type };
    case 'var_pop':
    case 'var_samp':
    case 'stddev_pop':
    case 'stddev_samp': {
      if (args.length !== 1) throw wrong();
      const exact: readonly (TypeKind | undefined)[] = ['int2', 'int4', 'int8', 'numeric'];
      return exact.includes(first) ? to([NUMERIC], NUMERIC) : to([FLOAT8], FLOAT8);
    }
    case 'regr_count':
      return to([FLOAT8, FLOAT8], INT8);
    case 'covar_pop':
    case 'covar_samp':
    case 'corr':
    case 'regr_avgx':
    case 'regr_avgy':
    case 'regr_sxx':
    case 'regr_syy':
    case 'regr_sxy':
    case 'regr_slope':
    case 'regr_intercept':
    case 'regr_r2':
      return to([FLOAT8, FLOAT8], FLOAT8);
    case 'bool_and':
    case 'bool_or':
      return to([BOOLEAN], BOOLEAN);
    case 'bit_and':
    case 'bit_or':
    case 'bit_xor':
      if (args.length !== 1 || (first !== 'int2' && first !== 'int4' && first !== 'int8'))
        throw wrong();
      return { fn, args, type: args[0]!.type };
    case 'string_agg':
      if (first === 'bytea') return to([args[0]!.type, args[0]!.type], args[0]!.type);
      return to([TEXT, TEXT], TEXT);
    case 'percentile_cont': {
      // The fraction, then what is ordered.
      if (args.length !== 2) throw wrong();
      const ordered = args[1]!.type.kind === 'interval' ? args[1]!.type : FLOAT8;
      return to([FLOAT8, ordered], ordered);
    }
    case 'percentile_disc':
      if (args.length !== 2) throw wrong();
      return to([FLOAT8, args[1]!.type], args[1]!.type);
    case 'mode':
      if (args.length !== 1) throw wrong();
      return { fn, args, type: args[0]!.type };
    case 'approx_percentile':
      return to([FLOAT8, FLOAT8], FLOAT8);
    case 'approx_count_distinct':
      if (args.length !== 1) throw wrong();
      return {
        fn,
        args: args.map((arg) =>
          arg.type.kind === 'unknown' ? coerce(arg, TEXT, 'implicit') : arg,
        ),
        type: INT8,
      };
  }
}
