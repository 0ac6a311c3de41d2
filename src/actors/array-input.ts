import { DbError } from '../base/errors.ts';
import type { SqlType } from '../columns/types.ts';
import type { Datum } from '../columns/values.ts';
import {
  ARRAY_ITEMS_MAX,
  arrayItemsOf,
  ArrayValue,
  severalDimensions,
} from '../expressions/arrays.ts';
import { converterOf, type InputContext } from './rows-in.ts';

/**
 * An array, a typed array, or PostgreSQL's text of one, as data of `element`. What does not fit throws what the item throws, which is named after
 * the array: `named` and its number from 1, `field` and its index.
 */
export function arrayFrom(
  value: unknown,
  element: SqlType,
  context: InputContext,
  { named, field }: { readonly named: string; readonly field: string },
): ArrayValue {
  const items = itemsOf(value, named, field);
  if (items.length > ARRAY_ITEMS_MAX)
    throw new DbError(
      '54000',
      `${named} is an array of ${items.length} items, more than ${ARRAY_ITEMS_MAX}`,
      { field, limit: 'array', hint: 'Put the items into a table and join it.' },
    );
  const convert = converterOf(element);
  return new ArrayValue(
    // Holes are items, too.
    Array.from(items, (item, index): Datum => {
      if (item === null) return null;
      const place = { field: `${field}.${index}` };
      if (item === undefined)
        throw new DbError('22023', `${named}, item ${index + 1} is undefined`, {
          ...place,
          hint: 'Give null for NULL.',
        });
      try {
        if (Array.isArray(item)) throw severalDimensions();
        return convert(item, context);
      } catch (cause) {
        if (!(cause instanceof DbError)) throw cause;
        throw new DbError(cause.code, `${named}, item ${index + 1}: ${cause.message}`, {
          ...place,
          hint: cause.hint,
        });
      }
    }),
  );
}

function itemsOf(value: unknown, named: string, field: string): ArrayLike<unknown> {
  if (Array.isArray(value)) return value;
  if (ArrayBuffer.isView(value) && !(value instanceof DataView))
    return value as unknown as ArrayLike<unknown>;
  if (typeof value !== 'string')
    throw new DbError('22023', `${named} is no array`, {
      field,
      hint: "Give an array, such as [1, 2], or a text such as '{1,2}'.",
    });
  try {
    return arrayItemsOf(value);
  } catch (cause) {
    if (!(cause instanceof DbError)) throw cause;
    throw new DbError(cause.code, `${named}: ${cause.message}`, {
      field,
      detail: cause.detail,
      hint: cause.hint,
    });
  }
}
