import { DbError } from '../base/errors.ts';

/**
 * SQL with its parameters kept apart: values never become text. `Row` is the type of a result row, for the compiler
 * only.
 */
export class SqlText<Row = Record<string, unknown>> {
  readonly parts: readonly string[];
  readonly values: readonly unknown[];
  /** Never there; carries `Row`. */
  declare readonly row: Row;

  constructor(parts: readonly string[], values: readonly unknown[]) {
    this.parts = parts;
    this.values = values;
  }

  /** The text with $1, $2, … for the values, in order. */
  get text(): string {
    let text = this.parts[0] ?? '';
    for (let index = 1; index < this.parts.length; index += 1)
      text += `$${index}${this.parts[index]}`;
    return text;
  }
}

type SqlTag = {
  <Row = Record<string, unknown>>(
    strings: TemplateStringsArray,
    ...values: readonly unknown[]
  ): SqlText<Row>;
  /** A quoted identifier: `sql.id('orders')`, `sql.id('public', 'orders')`. */
  id(...names: readonly string[]): SqlText;
  /** Pieces side by side; anything that is not SQL is a parameter. */
  join(items: readonly unknown[], separator?: string): SqlText;
  /** Text that goes into the statement as it is. Never from a user. */
  raw(text: string): SqlText;
};

/** The tag: every `${value}` is a parameter, a nested `sql` is text. */
export const sql: SqlTag = Object.assign(
  <Row>(strings: TemplateStringsArray, ...values: readonly unknown[]): SqlText<Row> => {
    if (!Array.isArray(strings))
      throw new DbError('22023', 'sql is a tag, not a function', {
        hint: 'Write sql`SELECT ${1}`; a text that has no parameters goes to db.query as it is, or is sql.raw(text).',
      });
    return compose<Row>(strings, values);
  },
  {
    id: (...names: readonly string[]): SqlText => {
      for (const name of names.length === 0 ? [''] : names) {
        if (typeof name !== 'string' || name === '' || name.includes('\0')) {
          throw new DbError('42602', 'sql.id takes names: texts that are not empty', {
            hint: "Write sql.id('orders').",
          });
        }
      }
      return new SqlText([names.map(quoteIdentifier).join('.')], []);
    },
    join: (items: readonly unknown[], separator = ', '): SqlText => {
      const strings = items.map((_, index) => (index === 0 ? '' : separator));
      return items.length === 0 ? new SqlText([''], []) : compose([...strings, ''], items);
    },
    raw: (text: string): SqlText => new SqlText([text], []),
  },
);

export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

function compose<Row>(strings: readonly string[], values: readonly unknown[]): SqlText<Row> {
  const parts: string[] = [strings[0] ?? ''];
  const flat: unknown[] = [];
  values.forEach((value, index) => {
    const after = strings[index + 1] ?? '';
    if (value instanceof SqlText) {
      parts[parts.length - 1] += value.parts[0] ?? '';
      for (let part = 1; part < value.parts.length; part += 1) {
        flat.push(value.values[part - 1]);
        parts.push(value.parts[part]!);
      }
      parts[parts.length - 1] += after;
    } else {
      flat.push(value);
      parts.push(after);
    }
  });
  return new SqlText<Row>(parts, flat);
}
