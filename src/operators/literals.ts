import { DbError } from '../base/errors.ts';
import { BATCH_ROW_COUNT_MAX, type Batch } from '../columns/batch.ts';
import { datumAt, vectorFromData } from '../columns/build.ts';
import { readCells } from '../columns/read-cells.ts';
import type { Vector } from '../columns/vector.ts';
import { compileExpression } from '../expressions/compile.ts';
import type { Expression } from '../expressions/expression.ts';
import { evaluateConstant } from '../expressions/fold.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import { assigned, literal } from '../plan/bind-expression.ts';
import type { LiteralsNode, OutputColumn } from '../plan/logical.ts';
import type { Budget, Operator, Step } from './operator.ts';
import { EMPTY_BATCH } from './row-operators.ts';

/** Literals become columns a batch at a time, most of them without a string or an object each. */
export class LiteralsOperator implements Operator {
  readonly id: number;
  readonly columns: readonly OutputColumn[];
  batch: Batch = EMPTY_BATCH;
  readonly #node: LiteralsNode;
  readonly #context: EvaluationContext;
  #at = 0;

  constructor(node: LiteralsNode, context: EvaluationContext) {
    this.id = node.id;
    this.columns = node.columns;
    this.#node = node;
    this.#context = context;
  }

  next(budget: Budget): Step {
    const { rows, defaults } = this.#node;
    const first = this.#at;
    const rowCount = Math.min(BATCH_ROW_COUNT_MAX, rows.rowCount - first);
    if (rowCount === 0) return 'done';
    this.#at += rowCount;
    budget.charge(rowCount * Math.max(1, this.columns.length));
    const numbers = Int32Array.from({ length: rowCount }, (_, row) => first + row);
    let failed: Failed | undefined;
    const columns = this.columns.map((column, index) => {
      const vector = this.#read(numbers, column, index, (row, cause) => {
        // Columns are read one after the other: the first row that is wrong may be found last.
        if (failed === undefined || row < failed.row) failed = { row, column: index, cause };
      });
      const byDefault = defaults[index];
      return byDefault === undefined
        ? vector
        : this.#withDefault(vector, numbers, index, byDefault);
    });
    if (failed !== undefined) throw this.#failure(first, failed);
    this.batch = { rowCount, columns };
    return 'batch';
  }

  close(): void {
    this.#at = this.#node.rows.rowCount;
  }

  #read(
    numbers: Int32Array,
    { name, type }: OutputColumn,
    index: number,
    onBad: (row: number, cause: DbError) => void,
  ): Vector {
    return readCells(
      this.#node.rows,
      numbers,
      numbers.length,
      { name, type, index },
      {
        fromText: (text, _, quoted) =>
          evaluateConstant(assigned(literal(text, quoted), type, name, undefined), this.#context),
        isUtc: this.#context.zone === 'UTC',
        nullText: NO_BYTES,
        quote: QUOTE,
        areLiterals: true,
      },
      (row, _, cause) => onBad(row, cause),
    );
  }

  /** A default is evaluated for the rows that ask for it: a sequence gives no others its numbers. */
  #withDefault(vector: Vector, numbers: Int32Array, column: number, byDefault: Expression): Vector {
    const { rows } = this.#node;
    const wanted = numbers.filter((row) => rows.isDefault(row, column));
    if (wanted.length === 0) return vector;
    const values = compileExpression(byDefault).evaluate(
      { rowCount: wanted.length, columns: [] },
      this.#context,
    );
    if (wanted.length === numbers.length) return values;
    const data = Array.from(numbers, (_, at) => datumAt(vector, at));
    for (const [at, row] of wanted.entries()) data[row - numbers[0]!] = datumAt(values, at);
    return vectorFromData(vector.type, data);
  }

  #failure(first: number, { row, column, cause }: Failed): DbError {
    if (cause.at !== undefined) return cause;
    const at = this.#node.rows.placeOf(first + row, column);
    return new DbError(cause.code, cause.message, {
      at,
      column: cause.column,
      detail: cause.detail,
      hint: cause.hint,
    });
  }
}

type Failed = { readonly row: number; readonly column: number; readonly cause: DbError };

const NO_BYTES = new Uint8Array(0);
const QUOTE = 39;
