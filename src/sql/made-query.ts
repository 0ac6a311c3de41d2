import type { FromItem, Query, SelectBody, SelectItem } from './ast.ts';

/** A SELECT that nobody wrote. */
export function madeSelect(
  items: readonly SelectItem[],
  from: readonly FromItem[],
  more: Partial<Pick<SelectBody, 'where' | 'groupBy'>> = {},
): Query & { readonly body: SelectBody } {
  return {
    body: {
      kind: 'select',
      distinct: 'no',
      items,
      from,
      groupBy: [],
      groupDistinct: false,
      windows: [],
      ...more,
    },
    orderBy: [],
    withTies: false,
    locking: [],
  };
}
