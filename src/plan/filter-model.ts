import { DbError } from '../base/errors.ts';
import { valueText } from '../base/value-text.ts';
import { nearestOf } from '../base/nearest.ts';
import { quoteName } from '../base/keywords.ts';

/**
 * A condition as a visual builder makes it. `{ and: [] }` is true and `{ or: [] }` is not; react-querybuilder's own form
 * (`{ combinator, not, rules: [{ field, operator, value, valueSource }] }`) is taken as it is, where no rules are no condition.
 */
export type Filter =
  | { readonly and: readonly Filter[] }
  | { readonly or: readonly Filter[] }
  | { readonly not: Filter }
  | {
      readonly column: string;
      readonly op: FilterOperator;
      /** Of `in` and `between` a list. */
      readonly value?: unknown;
      /** Instead of a value: another column. */
      readonly valueColumn?: string | undefined;
    }
  | {
      readonly combinator: string;
      readonly not?: boolean | undefined;
      readonly rules: readonly unknown[];
    };

export type FilterOperator = (typeof OPERATORS)[number];

const COMPARISONS = ['=', '!=', '<', '<=', '>', '>='] as const;
const TEXTS = {
  contains: ['%', '%'],
  beginsWith: ['', '%'],
  endsWith: ['%', ''],
} as const;
const OPERATORS = [
  ...COMPARISONS,
  'in',
  'notIn',
  'between',
  'notBetween',
  'null',
  'notNull',
  'contains',
  'beginsWith',
  'endsWith',
  'doesNotContain',
  'doesNotBeginWith',
  'doesNotEndWith',
] as const;

/** Conditions, lists and values of one filter. */
const FILTER_PARTS_MAX = 10_000;
/** As deep as anybody nests, and no deeper than the parser goes. */
const FILTER_DEPTH_MAX = 100;

/** A filter as SQL: its values are parameters, so that nothing of them is ever read as SQL. Throws 22023 and 54000 with the `field`. */
export function filterSql(
  filter: unknown,
  field: string,
): { readonly text: string; readonly params: readonly unknown[] } {
  const writer = new FilterWriter();
  return { text: writer.condition(filter, field, 0), params: writer.params };
}

class FilterWriter {
  readonly params: unknown[] = [];
  #parts = 0;

  condition(filter: unknown, field: string, depth: number): string {
    this.#count(field);
    if (depth > FILTER_DEPTH_MAX)
      throw new DbError('54000', `a filter is nested more than ${FILTER_DEPTH_MAX} deep`, {
        field,
        limit: 'filter',
        hint: 'Make it flatter: conditions of one "and" or "or" need no nesting.',
      });
    if (!isRecord(filter)) throw notAFilter(field);
    if ('rules' in filter) return this.#rules(filter, field, depth);
    if ('field' in filter) return this.#rule(filter, field);
    const [kind, ...others] = Object.keys(filter).filter((key) => filter[key] !== undefined);
    if (kind === 'and' || kind === 'or') {
      if (others.length > 0) throw notAFilter(field);
      return this.#joined(filter[kind], kind, `${field}.${kind}`, depth);
    }
    if (kind === 'not') {
      if (others.length > 0) throw notAFilter(field);
      return `NOT ${this.condition(filter['not'], `${field}.not`, depth + 1)}`;
    }
    const unknown = Object.keys(filter).find(
      (key) => !['column', 'op', 'value', 'valueColumn'].includes(key),
    );
    if (unknown !== undefined)
      throw new DbError('22023', `"${unknown}" is no part of a filter`, {
        field: `${field}.${unknown}`,
        hint: FILTER_HINT,
      });
    return this.#comparison(filter, field);
  }

  #rules(group: Readonly<Record<string, unknown>>, field: string, depth: number): string {
    const { combinator, rules, not } = group;
    const word = typeof combinator === 'string' ? combinator.toLowerCase() : undefined;
    if (word !== 'and' && word !== 'or')
      throw new DbError('22023', '"combinator" is neither "and" nor "or"', {
        field: `${field}.combinator`,
        hint: "Write { combinator: 'and', rules: [ … ] }.",
      });
    const text =
      Array.isArray(rules) && rules.length === 0
        ? 'TRUE'
        : this.#joined(rules, word, `${field}.rules`, depth);
    return not === true ? `NOT ${text}` : text;
  }

  /** react-querybuilder's names for the parts of a comparison. */
  #rule(rule: Readonly<Record<string, unknown>>, field: string): string {
    const { field: column, operator: op, value, valueSource } = rule;
    if (valueSource === 'field') return this.#comparison({ column, op, valueColumn: value }, field);
    // Lists come as texts with commas from its plain editors.
    const isList = LISTS.has(valueText(op)) && typeof value === 'string';
    return this.#comparison(
      { column, op, value: isList ? value.split(',').map((each) => each.trim()) : value },
      field,
    );
  }

  #joined(list: unknown, word: 'and' | 'or', field: string, depth: number): string {
    if (!Array.isArray(list))
      throw new DbError('22023', `"${field}" is no list of conditions`, {
        field,
        hint: FILTER_HINT,
      });
    if (list.length === 0) return word === 'and' ? 'TRUE' : 'FALSE';
    const parts = list.map((each, index) => this.condition(each, `${field}.${index}`, depth + 1));
    return `(${parts.join(word === 'and' ? ' AND ' : ' OR ')})`;
  }

  #comparison(filter: Readonly<Record<string, unknown>>, field: string): string {
    const { column, op, value, valueColumn } = filter;
    if (typeof column !== 'string' || column === '')
      throw new DbError('22023', 'a condition names no column', {
        field: `${field}.column`,
        hint: FILTER_HINT,
      });
    const name = quoteName(column);
    const operator = OPERATORS.find((each) => each === op);
    if (operator === undefined) {
      const nearest = nearestOf(valueText(op), OPERATORS);
      throw new DbError('22023', `"${valueText(op)}" is no operator of a filter`, {
        field: `${field}.op`,
        hint:
          nearest === undefined
            ? `Operators are ${OPERATORS.join(' ')}.`
            : `Did you mean "${nearest}"?`,
      });
    }
    if (operator === 'null' || operator === 'notNull')
      return `(${name} IS ${operator === 'null' ? '' : 'NOT '}NULL)`;
    if (valueColumn !== undefined) {
      if (typeof valueColumn !== 'string' || !isComparison(operator))
        throw new DbError('22023', `"${operator}" compares with no column`, {
          field: `${field}.valueColumn`,
          hint: `Two columns are compared by ${COMPARISONS.join(' ')}.`,
        });
      return `(${name} ${sqlOf(operator)} ${quoteName(valueColumn)})`;
    }
    if (isComparison(operator)) return `(${name} ${sqlOf(operator)} ${this.#value(value, field)})`;
    switch (operator) {
      case 'in':
      case 'notIn': {
        const values = listOf(value, operator, field).map((each) => this.#value(each, field));
        if (values.length === 0) return operator === 'in' ? 'FALSE' : 'TRUE';
        return `(${name} ${operator === 'in' ? '' : 'NOT '}IN (${values.join(', ')}))`;
      }
      case 'between':
      case 'notBetween': {
        const values = listOf(value, operator, field);
        if (values.length !== 2) throw noList(operator, field);
        const [from, to] = values.map((each) => this.#value(each, field));
        return `(${name} ${operator === 'between' ? '' : 'NOT '}BETWEEN ${from!} AND ${to!})`;
      }
      default:
        return this.#like(name, operator, value, field);
    }
  }

  #like(
    name: string,
    operator: Exclude<FilterOperator, (typeof COMPARISONS)[number]>,
    value: unknown,
    field: string,
  ): string {
    if (typeof value !== 'string')
      throw new DbError('22023', `"${operator}" looks for a text`, {
        field: `${field}.value`,
        hint: `Write { column, op: '${operator}', value: 'abc' }.`,
      });
    const isNot = operator.startsWith('doesNot');
    const plain = isNot ? PLAIN_FORMS[operator] : operator;
    const [before, after] = TEXTS[plain as keyof typeof TEXTS];
    const pattern = `${before}${value.replace(/[\\%_]/g, '\\$&')}${after}`;
    return `(${name} ${isNot ? 'NOT ' : ''}LIKE ${this.#value(pattern, field)})`;
  }

  #value(value: unknown, field: string): string {
    if (value === undefined || value === null)
      throw new DbError('22023', 'a condition compares with nothing', {
        field: `${field}.value`,
        hint: "Use op: 'null' or 'notNull' to ask for NULLs.",
      });
    this.#count(field);
    this.params.push(value);
    return `$${this.params.length}`;
  }

  #count(field: string): void {
    this.#parts += 1;
    if (this.#parts > FILTER_PARTS_MAX)
      throw new DbError('54000', `a filter has more than ${FILTER_PARTS_MAX} parts`, {
        field,
        limit: 'filter',
        hint: 'Put the values into a table, and ask with a condition in SQL.',
      });
  }
}

const PLAIN_FORMS: Readonly<Record<string, keyof typeof TEXTS>> = {
  doesNotContain: 'contains',
  doesNotBeginWith: 'beginsWith',
  doesNotEndWith: 'endsWith',
};

const LISTS = new Set(['in', 'notIn', 'between', 'notBetween']);

const FILTER_HINT =
  "Write { column: 'region', op: '=', value: 'EU' }, { and: [ … ] }, { or: [ … ] } or { not: … }.";

function isComparison(operator: FilterOperator): operator is (typeof COMPARISONS)[number] {
  return (COMPARISONS as readonly string[]).includes(operator);
}

function sqlOf(operator: (typeof COMPARISONS)[number]): string {
  return operator === '!=' ? '<>' : operator;
}

function listOf(value: unknown, operator: string, field: string): readonly unknown[] {
  if (!Array.isArray(value)) throw noList(operator, field);
  return value;
}

function noList(operator: string, field: string): DbError {
  const isPair = operator.toLowerCase().includes('between');
  return new DbError('22023', `"${operator}" compares with ${isPair ? 'two values' : 'a list'}`, {
    field: `${field}.value`,
    hint: isPair ? 'Write value: [from, to].' : "Write value: ['EU', 'US'].",
  });
}

function notAFilter(field: string): DbError {
  return new DbError('22023', `"${field}" is no filter`, { field, hint: FILTER_HINT });
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
