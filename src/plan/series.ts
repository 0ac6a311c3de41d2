import { DbError, type TextPlace } from '../base/errors.ts';
import { hasDate, type SqlType } from '../columns/types.ts';
import { coerce, commonType } from '../expressions/coercion.ts';
import type { Expression } from '../expressions/expression.ts';
import { foldConstants } from '../expressions/fold.ts';

/** A call of generate_series, its arguments brought to one type. */
export type SeriesCall = {
  readonly type: SqlType;
  readonly start: Expression;
  readonly stop: Expression;
  readonly step: Expression | undefined;
  readonly at: TextPlace | undefined;
};

/** Column indexes from here on name calls in a select list, until a lateral join puts them behind the input's columns. */
export const SERIES_INDEX_BASE = 2_000_000;

export function seriesOf(args: readonly Expression[], at: TextPlace | undefined): SeriesCall {
  if (args.length < 2 || args.length > 3)
    throw new DbError(
      '42883',
      `function generate_series with ${args.length} arguments does not exist`,
      { at },
    );
  const kinds = args.slice(0, 2).map(({ type }) => type);
  const time = kinds.some(hasDate);
  let type: SqlType;
  if (time) {
    type = kinds.some(({ kind }) => kind === 'timestamptz')
      ? { kind: 'timestamptz' }
      : { kind: 'timestamp' };
    if (args.length < 3)
      throw new DbError('42883', 'generate_series of timestamps needs a step', {
        at,
        hint: "Give an interval such as '1 hour'.",
      });
  } else
    type = commonType(
      args
        .map((arg) => arg.type)
        .map((each) => (each.kind === 'unknown' || each.kind === 'int2' ? { kind: 'int4' } : each)),
      'generate_series',
      at,
    );
  const [start, stop] = args
    .slice(0, 2)
    .map((arg) => foldConstants(coerce(arg, type, 'implicit', at)));
  const step =
    args[2] === undefined
      ? undefined
      : foldConstants(coerce(args[2], time ? { kind: 'interval' } : type, 'implicit', at));
  return { type, start: start!, stop: stop!, step, at };
}
