import { DbError } from '../base/errors.ts';
import type { Batch } from '../columns/batch.ts';
import { sameKindOfArray, slabOfKind } from '../columns/array-kernels.ts';
import { constantVector, datumAt, gather, vectorFromData } from '../columns/build.ts';
import type { Datum } from '../columns/values.ts';
import type { Vector } from '../columns/vector.ts';
import type { Expression } from './expression.ts';
import { isVolatile, referencedColumns, someNode, withItemsOfArrays } from './fold.ts';
import type { EvaluationContext } from './function-def.ts';
import { interpret } from './interpret.ts';
import { generateKernel, type Kernel } from './kernel-generator.ts';

/**
 * An expression ready to run on batches. `evaluate` gives a vector that is dense over the batch's logical rows, whatever
 * its selection. A bare column without selection is the input's own vector.
 */
export type CompiledExpression = {
  readonly expression: Expression;
  evaluate(batch: Batch, context: EvaluationContext): Vector;
};

/** `select` gives the batch with only the rows for which the condition is true; undefined when there are none. */
export type CompiledFilter = {
  select(batch: Batch, context: EvaluationContext): Batch | undefined;
};

export function compileExpression(expression: Expression): CompiledExpression {
  switch (expression.kind) {
    case 'column':
      return compiledColumn(expression, sameKindOfArray);
    case 'constant': {
      const { type, value } = expression;
      return { expression, evaluate: (batch) => constantVector(type, value, batch.rowCount) };
    }
    default: {
      const variants = new Variants(expression, 'vector');
      return { expression, evaluate: (batch, context) => variants.vector(batch, context) };
    }
  }
}

/** The same for what is added up and forgotten: the selected rows of a column lie in pieces of slabs. */
export function compileArgument(expression: Expression): CompiledExpression {
  return expression.kind === 'column'
    ? compiledColumn(expression, slabOfKind)
    : compileExpression(expression);
}

/** `made` makes the array of the rows that are selected. */
function compiledColumn(
  expression: Extract<Expression, { kind: 'column' }>,
  made: typeof sameKindOfArray,
): CompiledExpression {
  const { index } = expression;
  return {
    expression,
    evaluate: (batch) => {
      const vector = batch.columns[index]!;
      return batch.selection === undefined
        ? vector
        : gather(vector, batch.selection, batch.rowCount, made);
    },
  };
}

export function compileProjection(expressions: readonly Expression[]): {
  evaluate(batch: Batch, context: EvaluationContext): Vector[];
} {
  const compiled = expressions.map(compileExpression);
  return { evaluate: (batch, context) => compiled.map((each) => each.evaluate(batch, context)) };
}

export function compileFilter(condition: Expression): CompiledFilter {
  if (condition.kind === 'constant')
    return { select: (batch) => (condition.value === true ? batch : undefined) };
  const variants = new Variants(condition, 'selection');
  return { select: (batch, context) => variants.select(batch, context) };
}

/** Kernels of one expression, one for each combination of input layouts that has been met. */
class Variants {
  readonly #written: Expression;
  readonly #hasArrays: boolean;
  /** As an execution has it: with the items of arrays in it. */
  #expression: Expression;
  #context: EvaluationContext | undefined;
  readonly #columns: readonly number[];
  readonly #output: 'vector' | 'selection';
  readonly #volatile: boolean;
  readonly #kernels = new Map<string, Kernel>();
  #lastSignature = '';
  #last: Kernel | undefined;

  constructor(expression: Expression, output: 'vector' | 'selection') {
    this.#written = expression;
    this.#expression = expression;
    this.#hasArrays = someNode(expression, ({ kind }) => kind === 'anyArray');
    this.#columns = [...referencedColumns(expression)].sort((a, b) => a - b);
    this.#output = output;
    this.#volatile = isVolatile(expression);
  }

  vector(batch: Batch, context: EvaluationContext): Vector {
    const made = this.#run(batch, context);
    if (made !== undefined) return made as Vector;
    return interpretVector(this.#expression, batch, context);
  }

  select(batch: Batch, context: EvaluationContext): Batch | undefined {
    const selection = this.#selection(batch, context);
    if (selection.length === 0) return undefined;
    return selection.length === batch.rowCount
      ? batch
      : { ...batch, rowCount: selection.length, selection };
  }

  #selection(batch: Batch, context: EvaluationContext): Int32Array {
    const made = this.#run(batch, context);
    if (made !== undefined) return made as Int32Array;
    const kept = new Int32Array(batch.rowCount);
    let count = 0;
    let physical = 0;
    const row = (column: number): Datum => datumAt(batch.columns[column]!, physical);
    for (let logical = 0; logical < batch.rowCount; logical += 1) {
      physical = batch.selection === undefined ? logical : batch.selection[logical]!;
      if (interpret(this.#expression, row, context) === true) {
        kept[count] = physical;
        count += 1;
      }
    }
    return kept.subarray(0, count);
  }

  /** Undefined where the rows are to say it, one by one. */
  #run(batch: Batch, context: EvaluationContext): Vector | Int32Array | undefined {
    if (this.#volatile) return undefined;
    try {
      const kernel = this.#kernel(batch, context);
      return kernel.run(batch, context);
    } catch (cause) {
      // A kernel evaluates arguments beside a NULL, a row does not: whether it is an error the rows say.
      if (cause instanceof DbError) return undefined;
      throw cause;
    }
  }

  #kernel(batch: Batch, context: EvaluationContext): Kernel {
    if (this.#hasArrays && context !== this.#context) {
      this.#context = context;
      this.#expression = withItemsOfArrays(this.#written, context);
      this.#kernels.clear();
      this.#last = undefined;
    }
    const signature = signatureOf(batch, this.#columns);
    if (signature === this.#lastSignature && this.#last !== undefined) return this.#last;
    let kernel = this.#kernels.get(signature);
    if (kernel === undefined) {
      kernel = generateKernel(this.#expression, this.#columns, batch, this.#output, signature);
      this.#kernels.set(signature, kernel);
    }
    this.#lastSignature = signature;
    this.#last = kernel;
    return kernel;
  }
}

/** Array classes, validity, encoding and selection: what a kernel's text depends on. */
function signatureOf(batch: Batch, columns: readonly number[]): string {
  let signature = batch.selection === undefined ? 'd' : 's';
  for (let at = 0; at < columns.length; at += 1) {
    const vector = batch.columns[columns[at]!]!;
    switch (vector.rep) {
      case 'number':
        signature += `n${arrayTag(vector.values)}${vector.factor === 1 && vector.base === 0 ? '' : 'e'}${vector.scale === 0 ? '' : vector.scale}`;
        break;
      case 'bigint':
        signature += 'b';
        break;
      case 'boolean':
        signature += 'o';
        break;
      case 'dictionary':
        signature += `t${arrayTag(vector.codes)}`;
        break;
      case 'bytes':
        signature += 'y';
        break;
      case 'object':
        signature += 'j';
        break;
    }
    if (vector.validity !== undefined) signature += 'v';
  }
  return signature;
}

function arrayTag(array: { readonly BYTES_PER_ELEMENT: number }): string {
  if (array instanceof Float64Array) return 'F';
  if (array instanceof Int32Array) return 'I';
  if (array instanceof Uint8Array) return 'B';
  if (array instanceof Uint16Array) return 'H';
  if (array instanceof Int16Array) return 'h';
  if (array instanceof Uint32Array) return 'U';
  if (array instanceof Int8Array) return 'c';
  return 'f';
}

/** The slow, general lane: a datum a row. */
function interpretVector(expression: Expression, batch: Batch, context: EvaluationContext): Vector {
  const data: Datum[] = [];
  let physical = 0;
  const row = (column: number): Datum => datumAt(batch.columns[column]!, physical);
  for (let logical = 0; logical < batch.rowCount; logical += 1) {
    physical = batch.selection === undefined ? logical : batch.selection[logical]!;
    data.push(interpret(expression, row, context));
  }
  return vectorFromData(expression.type, data);
}
