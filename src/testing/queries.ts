import type { Arbitrary } from 'fast-check';
import { DbError } from '../base/errors.ts';
import type { Handle, RelationDescription } from '../actors/database.ts';
import { quoteIdentifier } from '../actors/sql-tag.ts';
import { fastCheck } from './fast-check.ts';
import { describe } from './tables.ts';

/**
 * Tables to be: their statement, and their name. Names of columns tell what they are for: `id` is the key, `k…` are few-valued keys
 * that join and group, `v…` are measures, `t…` instants.
 */
export type TableSchemaText = { readonly name: string; readonly sql: string };

/** One to `maxTables` tables (2) with a primary key, keys to group by and values of every common type. */
export function schemas(
  options: { readonly maxTables?: number | undefined } = {},
): Arbitrary<readonly TableSchemaText[]> {
  const fc = fastCheck();
  const column = fc.oneof(
    fc.constantFrom('k int', 'k text', 'k smallint', 'k varchar(8)', 'k boolean', 'k date'),
    fc.constantFrom(
      'v int',
      'v bigint',
      'v numeric(10, 2)',
      'v numeric(6, 0)',
      'v double precision',
      'v text',
    ),
    fc.constantFrom('t timestamptz', 't timestamp', 't date'),
  );
  const modifier = fc.constantFrom('', '', ' NOT NULL');
  const table = fc.array(fc.tuple(column, modifier), { minLength: 1, maxLength: 5 });
  return fc.array(table, { minLength: 1, maxLength: options.maxTables ?? 2 }).map((tables) =>
    tables.map((columns, index) => {
      const name = `t${index}`;
      const rest = columns.map(([text, not], at) => `${text.replace(' ', `${at} `)}${not}`);
      return { name, sql: `CREATE TABLE ${name} (${['id int PRIMARY KEY', ...rest].join(', ')})` };
    }),
  );
}

export type QueryOptionsOf = {
  /** Keeps to what a materialized view can be: no ORDER BY, no LIMIT. */
  readonly forViews?: boolean | undefined;
};

/**
 * Queries over tables of yours, as dashboards ask: filters, groups with count, sum, avg, min and max, HAVING, joins on columns of one
 * type, and the ten first of an order that leaves nothing open. The database and `model(db)` both answer them.
 */
export function queries(
  db: Handle,
  tables: readonly string[],
  options: QueryOptionsOf = {},
): Arbitrary<string> {
  const fc = fastCheck();
  if (tables.length === 0)
    throw new DbError('22023', 'there are no tables to ask', {
      field: 'tables',
      hint: "queries(db, ['orders'])",
    });
  const all = tables.map((table) => describe(db, table));
  const sources = [...all.map((table) => sourceOf(table, 'a')), ...joinsOf(all)];
  return fc.constantFrom(...sources).chain((source) => queryOver(source, options));
}

type Field = { readonly text: string; readonly name: string; readonly type: string };
type Source = { readonly from: string; readonly fields: readonly Field[] };

function sourceOf(table: RelationDescription, alias: string): Source {
  return {
    from: `${quoteIdentifier(table.name)} ${alias}`,
    fields: table.columns.map(({ name, type }) => ({
      text: `${alias}.${quoteIdentifier(name)}`,
      name: `${alias}_${name}`,
      type,
    })),
  };
}

/** Two tables on a pair of columns of one type, inner and left. */
function joinsOf(tables: readonly RelationDescription[]): Source[] {
  return tables.flatMap((first) =>
    tables.flatMap((second) => {
      const [left, right] = [sourceOf(first, 'a'), sourceOf(second, 'b')];
      const pairs = left.fields.flatMap((a) =>
        right.fields
          .filter((b) => a.type === b.type && isKeyType(a.type))
          .map((b) => [a, b] as const),
      );
      return pairs.slice(0, 3).flatMap(([a, b]) =>
        ['JOIN', 'LEFT JOIN'].map((kind) => ({
          from: `${left.from} ${kind} ${right.from} ON ${a.text} = ${b.text}`,
          fields: [...left.fields, ...right.fields],
        })),
      );
    }),
  );
}

const isKeyType = (type: string): boolean =>
  /^(smallint|integer|bigint|text|boolean|date|character varying)/.test(type);
const isNumber = (type: string): boolean =>
  /^(smallint|integer|bigint|numeric|double precision|real)/.test(type);
const isOrdered = (type: string): boolean => type !== 'boolean' && !/^(uuid|bytea)/.test(type);

function queryOver(source: Source, options: QueryOptionsOf): Arbitrary<string> {
  const fc = fastCheck();
  const field = fc.constantFrom(...source.fields);
  const where = fc.option(fc.array(conditionOf(source), { minLength: 1, maxLength: 2 }), {
    nil: undefined,
  });
  const whereText = where.map((conditions) =>
    conditions === undefined ? '' : ` WHERE ${conditions.join(' AND ')}`,
  );
  const measure = fc.oneof(
    fc.constant('count(*)'),
    field.map(({ text }) => `count(${text})`),
    ...measuresOf(source),
  );
  const grouped = fc
    .record({
      keys: fc.uniqueArray(field, { maxLength: 2, selector: ({ text }) => text }),
      measures: fc.array(measure, { minLength: 1, maxLength: 3 }),
      filter: whereText,
      having: fc.option(fc.integer({ min: 1, max: 3 }), { freq: 3, nil: undefined }),
    })
    .map(({ keys, measures, filter, having }) => {
      const shown = [
        ...keys.map(({ text, name }) => `${text} AS ${quoteIdentifier(name)}`),
        ...measures.map((text, index) => `${text} AS m${index}`),
      ];
      const by = keys.length === 0 ? '' : ` GROUP BY ${keys.map(({ text }) => text).join(', ')}`;
      const least =
        having === undefined || keys.length === 0 ? '' : ` HAVING count(*) >= ${having}`;
      return `SELECT ${shown.join(', ')} FROM ${source.from}${filter}${by}${least}`;
    });
  const plain = fc
    .record({
      shown: fc.uniqueArray(field, { minLength: 1, maxLength: 3, selector: ({ text }) => text }),
      filter: whereText,
      distinct: fc.boolean(),
    })
    .map(({ shown, filter, distinct }) => {
      const list = shown.map(({ text, name }) => `${text} AS ${quoteIdentifier(name)}`).join(', ');
      return `SELECT ${distinct ? 'DISTINCT ' : ''}${list} FROM ${source.from}${filter}`;
    });
  if (options.forViews === true) return fc.oneof(grouped, plain);
  // All that is shown is sorted by: what is left open is equal.
  const first = fc
    .record({
      shown: fc.uniqueArray(field, { minLength: 1, maxLength: 3, selector: ({ text }) => text }),
      filter: whereText,
      descending: fc.boolean(),
      limit: fc.integer({ min: 0, max: 5 }),
    })
    .map(({ shown, filter, descending, limit }) => {
      const list = shown.map(({ text, name }) => `${text} AS ${quoteIdentifier(name)}`).join(', ');
      const order = shown.map((_, index) => `${index + 1}${descending ? ' DESC' : ''}`).join(', ');
      return `SELECT ${list} FROM ${source.from}${filter} ORDER BY ${order} LIMIT ${limit}`;
    });
  return fc.oneof(
    { weight: 3, arbitrary: grouped },
    { weight: 1, arbitrary: plain },
    { weight: 1, arbitrary: first },
  );
}

function measuresOf(source: Source): Arbitrary<string>[] {
  const fc = fastCheck();
  const found: Arbitrary<string>[] = [];
  const numbers = source.fields.filter(({ type }) => isNumber(type));
  const ordered = source.fields.filter(({ type }) => isOrdered(type));
  if (numbers.length > 0)
    found.push(
      fc
        .tuple(fc.constantFrom('sum', 'avg'), fc.constantFrom(...numbers))
        .map(([name, { text }]) => `${name}(${text})`),
    );
  if (ordered.length > 0)
    found.push(
      fc
        .tuple(fc.constantFrom('min', 'max'), fc.constantFrom(...ordered))
        .map(([name, { text }]) => `${name}(${text})`),
    );
  return found;
}

function conditionOf(source: Source): Arbitrary<string> {
  const fc = fastCheck();
  const one = fc.constantFrom(...source.fields).chain((field): Arbitrary<string> => {
    const nullness = fc.constantFrom(`${field.text} IS NULL`, `${field.text} IS NOT NULL`);
    if (isNumber(field.type)) {
      return fc.oneof(
        nullness,
        fc
          .tuple(fc.constantFrom('=', '<>', '<', '>='), fc.integer({ min: -3, max: 9 }))
          .map(([operator, value]) => `${field.text} ${operator} ${value}`),
        fc
          .array(fc.integer({ min: -3, max: 9 }), { minLength: 1, maxLength: 3 })
          .map((values) => `${field.text} IN (${values.join(', ')})`),
      );
    }
    if (field.type === 'text' || field.type.startsWith('character varying'))
      return fc.oneof(
        nullness,
        fc
          .tuple(fc.constantFrom('=', '<>'), fc.constantFrom('a', 'b', 'ü', ''))
          .map(([operator, value]) => `${field.text} ${operator} '${value}'`),
        fc.constantFrom(`${field.text} LIKE 'a%'`),
      );
    if (field.type === 'boolean') return fc.oneof(nullness, fc.constant(field.text));
    return nullness;
  });
  return fc.oneof(
    { weight: 4, arbitrary: one },
    {
      weight: 1,
      arbitrary: fc
        .tuple(one, fc.constantFrom('AND', 'OR'), one)
        .map(([a, joined, b]) => `(${a} ${joined} ${b})`),
    },
  );
}
