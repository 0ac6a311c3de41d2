import { DbError } from '../base/errors.ts';
import type { Batch } from '../columns/batch.ts';
import { datumAt, vectorFromData } from '../columns/build.ts';
import type { Vector } from '../columns/vector.ts';
import { compileExpression, type CompiledExpression } from '../expressions/compile.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import { datumToText } from '../expressions/text-io.ts';
import { bindRowExpressions } from '../plan/bind.ts';
import type { TableEntry } from './catalog.ts';
import { RowReader, type InputBatch, type TargetColumn } from './rows-in.ts';

/** What rows of a table need before they can be written: defaults, generated columns, checks. Made once a definition. */
export type RowShape = {
  readonly columns: readonly TargetColumn[];
  /** undefined: NULL. Over no columns. */
  readonly defaults: readonly (CompiledExpression | undefined)[];
  /** Over the row. */
  readonly generated: readonly (CompiledExpression | undefined)[];
  readonly checks: readonly { readonly name: string; readonly condition: CompiledExpression }[];
  readonly hasGenerated: boolean;
  /** Reads rows as users give them. */
  readonly reader: RowReader;
};

const shapes = new WeakMap<TableEntry, RowShape>();

export function rowShapeOf(entry: TableEntry): RowShape {
  const known = shapes.get(entry);
  if (known !== undefined) return known;
  const { defaults, generated, checks } = bindRowExpressions(entry.info);
  const columns = entry.definition.columns.map(({ name, type }) => ({ name, type }));
  const shape: RowShape = {
    columns,
    reader: new RowReader(columns),
    defaults: defaults.map((expression) =>
      expression === undefined ? undefined : compileExpression(expression),
    ),
    generated: generated.map((expression) =>
      expression === undefined ? undefined : compileExpression(expression),
    ),
    checks: checks.map(({ name, expression }) => ({
      name,
      condition: compileExpression(expression),
    })),
    hasGenerated: generated.some((expression) => expression !== undefined),
  };
  shapes.set(entry, shape);
  return shape;
}

/** All columns of the rows: what was given, defaults for the rest, generated columns last. */
export function completeRows(
  entry: TableEntry,
  shape: RowShape,
  input: InputBatch,
  context: EvaluationContext,
): Batch {
  const { rowCount } = input;
  if (!shape.hasGenerated && isComplete(input)) return input;
  const none: Batch = { rowCount, columns: [] };
  const columns = input.columns.map((given, index): Vector => {
    if (shape.generated[index] !== undefined) {
      if (given !== undefined) throw generatedColumn(entry, shape.columns[index]!.name);
      return nulls(shape.columns[index]!, rowCount);
    }
    const missing = input.missing[index];
    if (given !== undefined && missing === undefined) return given;
    const byDefault =
      shape.defaults[index]?.evaluate(none, context) ?? nulls(shape.columns[index]!, rowCount);
    return given === undefined ? byDefault : chosen(given, byDefault, missing!);
  });
  return withGenerated(shape, { rowCount, columns }, context);
}

/** Every row gives every column. */
function isComplete(
  input: InputBatch,
): input is InputBatch & { readonly columns: readonly Vector[] } {
  for (let index = 0; index < input.columns.length; index += 1)
    if (input.columns[index] === undefined || input.missing[index] !== undefined) return false;
  return true;
}

export function withGenerated(shape: RowShape, rows: Batch, context: EvaluationContext): Batch {
  if (!shape.hasGenerated) return rows;
  const columns = rows.columns.map(
    (column, index) => shape.generated[index]?.evaluate(rows, context) ?? column,
  );
  return { ...rows, columns };
}

/** 23514 for the first row that fails a check; a check that is NULL holds. */
export function assertChecks(
  entry: TableEntry,
  shape: RowShape,
  rows: Batch,
  context: EvaluationContext,
): void {
  for (const { name, condition } of shape.checks) {
    const result = condition.evaluate(rows, context);
    for (let row = 0; row < rows.rowCount; row += 1) {
      if (datumAt(result, row) !== false) continue;
      throw new DbError(
        '23514',
        `new row for relation "${entry.definition.name}" violates check constraint "${name}"`,
        {
          table: entry.definition.name,
          constraint: name,
          detail: `Failing row contains (${rowText(entry, rows, row, context.zone)}).`,
          hint: `It asks for ${entry.definition.checks.find((check) => check.name === name)!.text}.`,
        },
      );
    }
  }
}

/** Rows of `first`, or of `second` where `takeSecond` is 1. */
export function chosen(first: Vector, second: Vector, takeSecond: Uint8Array): Vector {
  return vectorFromData(
    first.type,
    Array.from(takeSecond, (other, row) => datumAt(other === 1 ? second : first, row)),
  );
}

function rowText(entry: TableEntry, rows: Batch, row: number, zone: string): string {
  return rows.columns
    .map((column, index) => {
      const datum = datumAt(column, row);
      return datum === null
        ? 'null'
        : datumToText(datum, entry.definition.columns[index]!.type, { zone });
    })
    .join(', ');
}

function nulls(column: TargetColumn, rowCount: number): Vector {
  return vectorFromData(
    column.type,
    Array.from({ length: rowCount }, () => null),
  );
}

function generatedColumn(entry: TableEntry, column: string): DbError {
  return new DbError('428C9', `cannot insert a non-DEFAULT value into column "${column}"`, {
    table: entry.definition.name,
    column,
    detail: `Column "${column}" is a generated column.`,
    hint: 'Leave the column out.',
  });
}
