import { DbError } from '../base/errors.ts';
import type { Batch } from './batch.ts';
import { datumAt } from './cells.ts';
import { keyText } from './key-text.ts';
import type { ColumnSchema, IndexSchema, TableSchema } from './table-contract.ts';
import type { Vector } from './vector.ts';

/** As PostgreSQL words them. */
export function nullRefused(
  table: TableSchema,
  column: ColumnSchema,
  rows: Batch,
  row: number,
): DbError {
  const relation = table.name === undefined ? '' : ` of relation "${table.name}"`;
  const data = rows.columns.map((vector) => datumAt(vector, row));
  const types = rows.columns.map(({ type }) => type);
  return new DbError(
    '23502',
    `null value in column "${column.name}"${relation} violates not-null constraint`,
    {
      detail: `Failing row contains (${keyText(data, types)}).`,
      hint: `Give "${column.name}" a value, or a DEFAULT, or drop its NOT NULL constraint.`,
      table: table.name,
      column: column.name,
    },
  );
}

export function duplicateRefused(
  table: TableSchema,
  index: IndexSchema,
  keys: readonly Vector[],
  row: number,
): DbError {
  return new DbError('23505', `duplicate key value violates unique constraint "${index.name}"`, {
    detail: `Key ${keyDetail(table, index, keys, row)} already exists.`,
    hint: 'Use INSERT … ON CONFLICT to change the row that is there, or give another key.',
    table: table.name,
    constraint: index.name,
  });
}

export function duplicateInTable(
  table: TableSchema,
  index: IndexSchema,
  keys: readonly Vector[],
  row: number,
): DbError {
  return new DbError('23505', `could not create unique index "${index.name}"`, {
    detail: `Key ${keyDetail(table, index, keys, row)} is duplicated.`,
    hint: 'Delete or change the rows with equal keys first.',
    table: table.name,
    constraint: index.name,
  });
}

function keyDetail(
  table: TableSchema,
  index: IndexSchema,
  keys: readonly Vector[],
  row: number,
): string {
  const names = index.columnIndexes.map((column) => table.columns[column]!.name).join(', ');
  const data = keys.map((vector) => datumAt(vector, row));
  return `(${names})=(${keyText(
    data,
    keys.map(({ type }) => type),
  )})`;
}
