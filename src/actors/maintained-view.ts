import { assert, DbError } from '../base/errors.ts';
import type { TableData, TableDelta } from '../columns/table-contract.ts';
import type { Budget } from '../operators/operator.ts';
import type { OutputColumn } from '../plan/logical.ts';
import type { Query } from '../sql/ast.ts';
import type { FillSource, StandingPlan } from '../views/standing-plan.ts';
import type { ViewWriter } from '../views/view-writer.ts';
import { nextState } from '../supervisor/lifecycle.ts';
import type { ViewEntry } from './catalog.ts';
import { workOfStaged } from './commit-turn.ts';
import { VIEW_LIFECYCLE, type ViewEvent, type ViewState } from './lifecycles.ts';
import type { IndexDefinition, MaterializedViewDefinition, ViewOptions } from './records.ts';

export type ViewParts = {
  readonly plan: StandingPlan;
  readonly writer: ViewWriter;
  readonly data: TableData;
};

/** What keeping a view has taken so far, commits that were undone included. */
export type ViewUpkeep = {
  /** Commits that changed something it reads. */
  commits: number;
  /** Rows that arrived or left in what it reads. */
  rowsIn: number;
  /** Rows of its own that arrived or left for it. */
  rowsOut: number;
  /** Work units. */
  work: number;
};

/** A materialized view: a standing plan, the stored rows it keeps, and the lifecycle of both. */
export class MaintainedView {
  /** As the catalog has it: renamed, altered. */
  definition: MaterializedViewDefinition;
  readonly query: Query;
  readonly columns: readonly OutputColumn[];
  readonly sources: readonly number[];
  readonly indexes: readonly IndexDefinition[];
  /** One above the highest view it reads: a commit runs views from low to high. */
  readonly height: number;
  /** Days and hours in its query depend on its zone. */
  readonly isZoned: boolean;
  /** See VIEW_LIFECYCLE. */
  status: ViewState = VIEW_LIFECYCLE.initial;
  failure: unknown;
  /** Changes when the rows were replaced as a whole. */
  generation = 0;
  /** The position its rows are true at, for a view that is refreshed by time. */
  position = 0;
  /** It was filled inside a commit from views that the clock moves, whose rows are of other positions: it is made anew first. */
  isProvisional = false;
  /** Rows are those of the last good position, at least. */
  serving = false;
  /** Since it went live; what filling it took is not in it. */
  readonly upkeep: ViewUpkeep = { commits: 0, rowsIn: 0, rowsOut: 0, work: 0 };
  /** A commit view that has failed: its rows are true up to here. */
  failedAfter = Infinity;
  /** Which making of the views it reads its own rows were made from, by relation. */
  madeFrom: ReadonlyMap<number, number> = new Map();
  /** While it is filled aside: the columns of tables as they were when it was planned, by relation. */
  plannedOver: ReadonlyMap<number, readonly string[]> = new Map();
  /** While it is filled aside: the plain views in its query as they were when that was read. */
  writtenOver: readonly ViewEntry[] = [];
  #parts: ViewParts;
  /** Deltas of the commit that is being staged. */
  #staged: TableDelta[] = [];
  #stagedBatches = 0;
  #closed = false;
  /** Batches staged by each commit that is not published, oldest first. */
  readonly #commits: number[] = [];
  /** Who waits until it is not being made anew any more. */
  #waiting: (() => void)[] = [];
  /** What fills it is not published yet: it is the oldest of those commits, and cannot be undone. */
  #fill: { readonly position: number | undefined } | undefined;

  constructor(options: {
    readonly definition: MaterializedViewDefinition;
    readonly query: Query;
    readonly columns: readonly OutputColumn[];
    readonly sources: readonly number[];
    readonly indexes: readonly IndexDefinition[];
    readonly height: number;
    readonly isZoned: boolean;
    readonly parts: ViewParts;
  }) {
    this.definition = options.definition;
    this.query = options.query;
    this.columns = options.columns;
    this.sources = options.sources;
    this.indexes = options.indexes;
    this.height = options.height;
    this.isZoned = options.isZoned;
    this.#parts = options.parts;
  }

  get relation(): number {
    return this.definition.id;
  }

  /** Something it reads has lost a column that it does not use; gives what undoes it. */
  columnDropped(relation: number, index: number): () => void {
    return this.#parts.plan.columnDropped(relation, index);
  }

  get options(): ViewOptions {
    return this.definition.options;
  }

  get data(): TableData {
    return this.#parts.data;
  }

  /** Kept by every commit: live, and not refreshed by time. */
  get inCommit(): boolean {
    return this.status === 'live' && this.options.refresh === 'commit';
  }

  /** A commit view that has failed and is not live again. */
  get lags(): boolean {
    return (
      (this.status === 'failed' || this.status === 'rebuilding') &&
      this.options.refresh === 'commit'
    );
  }

  /** The newest position, up to the visible one, at which its rows are what its query gives. */
  rowsPosition(visible: number): number {
    if (this.inCommit) return visible;
    return Math.min(visible, this.lags ? this.failedAfter : this.position);
  }

  get stagedDeltas(): readonly TableDelta[] {
    return this.#staged;
  }

  /**
   * Takes all rows that there are in, as one change; `run` goes on with it, and `filled` ends it. It is not undone: a view that cannot be
   * filled is closed. `position`: of those rows, where that is known; then what is made of them is not held until the end.
   */
  fill(sourceOf: FillSource, position: number | undefined): void {
    assert(this.#commits.length === 0, 'a view is filled before it follows anything');
    this.#staged = [];
    this.#stagedBatches = 0;
    this.#commits.push(0);
    this.#fill = { position };
    this.#parts.plan.fill(sourceOf);
  }

  /** Reads one relation, once: it can be filled by a reading that others share. */
  get onlyScan(): StandingPlan['onlyScan'] {
    return this.#parts.plan.onlyScan;
  }

  takeParts(): ViewParts {
    return this.#parts;
  }

  /** Begins a commit; false: nothing that it reads has changed. */
  push(deltas: ReadonlyMap<number, readonly TableDelta[]>): boolean {
    const { upkeep } = this;
    let hasBegun = false;
    for (const source of this.sources) {
      const changes = deltas.get(source);
      if (changes === undefined || changes.length === 0) continue;
      if (!hasBegun) {
        hasBegun = true;
        this.#staged = [];
        this.#stagedBatches = 0;
        this.#parts.plan.checkpoint();
        this.#commits.push(0);
        upkeep.commits += 1;
      }
      for (const delta of changes) {
        upkeep.rowsIn += (delta.inserted?.rowCount ?? 0) + (delta.deleted?.rowCount ?? 0);
        this.#parts.plan.push(source, delta);
      }
    }
    return hasBegun;
  }

  /** Goes on with the commit that was begun; true when it is staged. */
  run(budget: Budget, options: { readonly limits: boolean } = { limits: true }): boolean {
    const spentBefore = budget.spent;
    try {
      return this.#advance(budget, options);
    } finally {
      if (this.status === 'live') this.upkeep.work += budget.spent - spentBefore;
    }
  }

  #advance(budget: Budget, options: { readonly limits: boolean }): boolean {
    const { plan, writer } = this.#parts;
    for (;;) {
      const step = plan.next(budget);
      if (step === 'done') return true;
      if (step === 'more') return false;
      const delta = writer.stage(plan.batch, options);
      const fillsAt = this.#commits.length === 1 ? this.#fill?.position : undefined;
      if (fillsAt !== undefined) {
        if (delta !== undefined) {
          // A commit's work is what its operators do; of rows by the million what their table does is most.
          budget.charge(workOfStaged(delta, this.data.schema.columns.length));
          writer.publish(fillsAt);
        }
      } else if (delta !== undefined) {
        this.#staged.push(delta);
        this.#stagedBatches += 1;
        this.#commits[this.#commits.length - 1] = this.#stagedBatches;
        if (this.status === 'live')
          this.upkeep.rowsOut += (delta.inserted?.rowCount ?? 0) + (delta.deleted?.rowCount ?? 0);
      }
      if (budget.exhausted) return false;
    }
  }

  /** Undoes the newest commit that is not published, be it half done. */
  undo(): void {
    const batches = this.#commits.pop();
    if (batches === undefined) return;
    assert(this.#fill === undefined || this.#commits.length > 0, 'what fills a view is not undone');
    for (let batch = 0; batch < batches; batch += 1) this.#parts.writer.undo();
    this.#parts.plan.rollback();
    this.#staged = [];
  }

  /** The oldest commit is acknowledged. */
  publish(position: number): void {
    const batches = this.#commits.shift();
    if (batches === undefined) return;
    for (let batch = 0; batch < batches; batch += 1) this.#parts.writer.publish(position);
    if (this.#fill === undefined) this.#parts.plan.release();
    this.#fill = undefined;
    this.position = position;
  }

  /** What it was filled with is published; its history begins there. */
  filled(position: number): void {
    this.publish(position);
    this.data.beginHistory(position);
    this.position = position;
  }

  wentLive(position: number): void {
    this.#happened(this.status === 'rebuilding' || this.status === 'failed' ? 'rebuilt' : 'filled');
    this.serving = true;
    this.isProvisional = false;
    this.failure = undefined;
    this.failedAfter = Infinity;
    this.position = position;
  }

  /** Its rows are true up to `after`, and are not kept up any more. */
  fail(cause: unknown, after: number, event: 'broke' | 'gaveUp'): void {
    this.#happened(event);
    this.failure = cause;
    this.failedAfter = Math.min(this.failedAfter, after);
  }

  /** Other operators and rows take the place of the present ones: a rebuild that has caught up. */
  replace(parts: ViewParts): void {
    const before = this.#parts;
    this.#parts = parts;
    this.#commits.length = 0;
    this.#fill = undefined;
    this.generation += 1;
    before.plan.close();
    before.writer.close();
    before.data.close();
  }

  /** Resolves when it is not being made anew (any more), whether it serves its newest rows then, was given up, or is gone. */
  untilSettled(): Promise<void> {
    if (this.status !== 'rebuilding') return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  #happened(event: ViewEvent): void {
    this.status = nextState(VIEW_LIFECYCLE, this.status, event);
    if (this.status === 'rebuilding') return;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#happened('drop');
    this.#parts.plan.close();
    this.#parts.writer.close();
    this.#parts.data.close();
  }
}

/** It could not be filled when the database was opened. */
export function viewHasNoRows(view: MaintainedView): DbError {
  return new DbError('55000', `materialized view "${view.definition.name}" has failed`, {
    table: view.definition.name,
    cause: view.failure,
    detail: view.failure instanceof Error ? view.failure.message : undefined,
    hint:
      view.options.refresh === 'commit'
        ? 'It is being made anew: try again in a moment.'
        : 'Mend the rows that its query cannot take, and REFRESH MATERIALIZED VIEW.',
  });
}
