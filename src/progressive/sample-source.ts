import type { Batch } from '../columns/batch.ts';
import type { TableScan } from '../columns/table-contract.ts';
import { compileFilter, type CompiledFilter } from '../expressions/compile.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import type { Budget, Operator, Step } from '../operators/operator.ts';
import { EMPTY_BATCH } from '../operators/row-operators.ts';
import type { OutputColumn, ScanNode } from '../plan/logical.ts';

type SampledRows = TableScan & { readonly isCovered?: boolean };

/** Stands for the scan of the driving relation: says 'done' at the end of each phase and round, and goes on when the sample does. */
export class SampleSource implements Operator {
  readonly id: number;
  readonly columns: readonly OutputColumn[];
  batch: Batch = EMPTY_BATCH;
  readonly #sample: SampledRows;
  readonly #filter: CompiledFilter | undefined;
  readonly #context: EvaluationContext;
  /** Told before each batch: all that came of the one before is through. */
  readonly #endDraw: (() => void) | undefined;
  readonly #watch: (() => void) | undefined;
  #charged = 0;

  constructor(
    node: ScanNode,
    sample: SampledRows,
    context: EvaluationContext,
    options: {
      /** Told of each batch before it is given. */
      readonly watch?: () => void;
      readonly endDraw?: (() => void) | undefined;
    } = {},
  ) {
    this.id = node.id;
    this.columns = node.columns;
    this.#sample = sample;
    this.#context = context;
    this.#filter = node.filter === undefined ? undefined : compileFilter(node.filter);
    this.#endDraw = options.endDraw;
    this.#watch = options.watch;
  }

  next(budget: Budget): Step {
    for (;;) {
      this.#endDraw?.();
      const batch = this.#sample.next();
      budget.charge(this.#sample.rowsRead - this.#charged);
      this.#charged = this.#sample.rowsRead;
      if (batch === undefined) return 'done';
      this.#watch?.();
      const kept =
        this.#filter === undefined || this.#sample.isCovered === true
          ? batch
          : this.#filter.select(batch, this.#context);
      if (kept !== undefined && kept.rowCount > 0) {
        this.batch = kept;
        return 'batch';
      }
      if (budget.exhausted) return 'more';
    }
  }

  close(): void {
    this.batch = EMPTY_BATCH;
  }
}
