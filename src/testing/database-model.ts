import { DbError } from '../base/errors.ts';
import type { Handle, RelationDescription } from '../actors/database.ts';
import { quoteIdentifier } from '../actors/sql-tag.ts';
import { Model, ModelError, type ModelResult } from '../model/model.ts';

export type ModelAnswer = {
  readonly columns: readonly { readonly name: string; readonly type: string }[];
  /** As PostgreSQL prints them: what `db.query(sql, { format: 'text' })` gives. */
  readonly rows: readonly (readonly (string | null)[])[];
  /** The position whose rows were asked. */
  readonly position: number;
};

/** Two answers to one question. */
export class DisagreementError extends Error {
  readonly sql: string;
  readonly position: number;

  constructor(sql: string, position: number, found: readonly string[], wanted: readonly string[]) {
    const lines = [
      `the database and the model answer differently at position ${position}: ${sql}`,
      ...missing(wanted, found).map((row) => `  missing ${row}`),
      ...missing(found, wanted).map((row) => `  instead ${row}`),
    ];
    super(lines.join('\n'));
    this.name = 'DisagreementError';
    this.sql = sql;
    this.position = position;
  }
}

/**
 * The naive interpreter over the rows of a database: nested loops over lists of rows, exact arithmetic, no plan and no index, and
 * no line of the engine's code. It knows the queries of everyday dashboards (docs/testing.md has the list), in UTC; what it does
 * not know it refuses with 0A000, and never guesses.
 */
export class DatabaseModel {
  readonly #db: Handle;
  #loaded: { readonly position: number; readonly model: Model } | undefined;

  constructor(db: Handle) {
    this.#db = db;
  }

  /** The answer over the rows that are there now. Materialized views are their queries, run anew. */
  async query(sql: string): Promise<ModelAnswer> {
    const { model, position } = await this.#load();
    const { columns, rows } = asked(() => model.query(sql));
    return { columns, rows, position };
  }

  /** Asks the database, too, at the same position; throws a DisagreementError that shows the rows where the answers differ. */
  async check(sql: string): Promise<ModelAnswer> {
    const answer = await this.query(sql);
    const found = await this.#db.query(sql, {
      format: 'text',
      asOf: answer.position,
      zone: 'UTC',
    });
    const isOrdered = /\border\s+by\b(?![^(]*\))/i.test(sql);
    const texts = (rows: ModelAnswer['rows']): string[] => {
      const all = rows.map((row) => JSON.stringify(row));
      return isOrdered ? all : all.sort();
    };
    const [given, wanted] = [texts(found.rows), texts(answer.rows)];
    if (given.join('\n') !== wanted.join('\n'))
      throw new DisagreementError(sql, answer.position, given, wanted);
    return answer;
  }

  /** Compares every materialized view with its query. */
  async checkViews(): Promise<void> {
    for (const { kind, name, schema } of this.#db.describe()) {
      if (kind !== 'materializedView' || schema !== 'public') continue;
      await this.check(`SELECT * FROM ${quoteIdentifier(name)}`);
    }
  }

  async #load(): Promise<{ readonly position: number; readonly model: Model }> {
    await Model.load();
    // A position that nothing can change while the tables are read one after the other.
    const { meta } = await this.#db.query('SELECT 1');
    const { position } = meta;
    if (this.#loaded?.position === position) return this.#loaded;
    const model = new Model();
    for (const relation of this.#db.describe()) {
      if (relation.schema !== 'public') continue;
      const name = quoteIdentifier(relation.name);
      if (relation.kind === 'table') {
        model.exec(`CREATE TABLE ${name} (${definitionOf(relation)})`);
        const { rows } = await this.#db.query(`SELECT * FROM ${name}`, {
          format: 'text',
          asOf: position,
          zone: 'UTC',
        });
        for (let start = 0; start < rows.length; start += ROWS_A_STATEMENT) {
          const values = rows
            .slice(start, start + ROWS_A_STATEMENT)
            .map((row) => `(${row.map(literal).join(', ')})`);
          model.exec(`INSERT INTO ${name} VALUES ${values.join(', ')}`);
        }
      } else {
        const names = relation.columns.map((column) => quoteIdentifier(column.name)).join(', ');
        asked(() => model.exec(`CREATE VIEW ${name} (${names}) AS ${relation.definition}`));
      }
    }
    this.#loaded = { position, model };
    return this.#loaded;
  }
}

/** The model over the tables and views of a database, or of a tenant (`model(db.as({ tenant }))`). */
export function model(db: Handle): DatabaseModel {
  return new DatabaseModel(db);
}

const ROWS_A_STATEMENT = 500;

/** Constraints have done their work when the rows came in. */
function definitionOf({ columns }: RelationDescription): string {
  return columns
    .map(({ name, type }) => `${quoteIdentifier(name)} ${UNKNOWN_TYPES.test(type) ? 'text' : type}`)
    .join(', ');
}

/** Types that the model knows as texts only. */
const UNKNOWN_TYPES = /^(uuid|bytea|bpchar|character\(|time( |\())/;

function literal(text: string | null): string {
  return text === null ? 'NULL' : `'${text.replaceAll("'", "''")}'`;
}

function asked(action: () => ModelResult): ModelResult {
  try {
    return action();
  } catch (cause) {
    if (!(cause instanceof ModelError)) throw cause;
    throw new DbError(cause.code, cause.message.replace(`${cause.code}: `, ''), {
      cause,
      ...(cause.code === '0A000'
        ? {
            hint: 'The model of analyticdb/testing knows less SQL than the database: docs/testing.md.',
          }
        : {}),
    });
  }
}

const SHOWN_ROWS_MAX = 10;

/** Rows of `all` that `others` does not have, as often as it lacks them. */
function missing(all: readonly string[], others: readonly string[]): string[] {
  const counts = new Map<string, number>();
  for (const row of others) counts.set(row, (counts.get(row) ?? 0) + 1);
  const found: string[] = [];
  for (const row of all) {
    const left = counts.get(row) ?? 0;
    if (left > 0) counts.set(row, left - 1);
    else found.push(row);
  }
  if (found.length > SHOWN_ROWS_MAX)
    return [...found.slice(0, SHOWN_ROWS_MAX), `and ${found.length - SHOWN_ROWS_MAX} more`];
  // The same rows in another order.
  return found;
}
