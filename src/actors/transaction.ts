import { assert, DbError } from '../base/errors.ts';
import { didYouMean } from '../base/nearest.ts';
import type { Batch } from '../columns/batch.ts';
import type {
  TableData,
  TableDelta,
  TableSnapshot,
  TableWrite,
} from '../columns/table-contract.ts';
import { columnOf } from '../columns/rows-by-column.ts';
import { compileFilter, type CompiledFilter } from '../expressions/compile.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import type { PlanNode, ScanNode } from '../plan/logical.ts';
import { visitScans } from '../plan/nodes.ts';
import {
  CatalogOverlay,
  isStored,
  type Catalog,
  type CatalogEntry,
  type MaterializedViewEntry,
} from './catalog.ts';
import { newClaimOwner, type ClaimMark, type ClaimOwner, type Claims } from './claims.ts';
import { Overlay } from './overlay.ts';
import type { Operation } from './records.ts';
import { isSystemRelation } from './system-relations.ts';
import type { IsolationLevel } from '../sql/ast.ts';

/**
 * A transaction that is open: what it reads (snapshots), what it has written and not committed (overlays over shared
 * tables, private tables that it created or rewrote, definitions), and what it claims. Its statements see all of
 * that; nobody else does.
 *
 * Isolation: READ COMMITTED reads the newest position at each statement. REPEATABLE READ and SERIALIZABLE read the position of the first
 * statement; their read set is tested by each later commit in that commit's turn, and a transaction that it hits is
 * doomed at once (40001). A read-only transaction is a snapshot and never fails.
 */
export class Transaction {
  readonly tenant: string;
  isolation: IsolationLevel;
  readOnly: boolean;
  readonly owner: ClaimOwner = newClaimOwner();
  readonly catalog: CatalogOverlay;
  /** Instant of its start, microseconds: now(). */
  readonly nowMicros: number;
  readonly startedMonotonicMs: number;
  /** The position it reads at; undefined: the newest at each statement. */
  position: number | undefined;
  /** Something was asked of the database: from then on it is what it is. */
  hasAsked = false;
  /** Set once a statement failed: only ROLLBACK is heard (25P02). */
  failed = false;
  /** What the first statement that failed said. */
  failure: unknown;
  doomed: DbError | undefined;
  readonly #overlays = new Map<number, Overlay>();
  readonly #private = new Map<number, TableData>();
  /** What a definition has put others in the place of: a rollback puts it back. */
  readonly #replaced = new Set<TableData | Overlay>();
  readonly #definitions: Operation[] = [];
  readonly #undo: (() => void)[] = [];
  readonly #savepoints: {
    readonly name: string;
    readonly mark: number;
    readonly claims: ClaimMark;
  }[] = [];
  readonly #reads = new Map<number, ReadSet>();
  readonly #rests = new Map<number, Set<number>>();
  /** Queries whose rows are still taken, and how much had been written when they began. */
  readonly #streams = new Set<{ readonly mark: number; stop(cause: DbError): void }>();

  constructor(options: {
    readonly tenant: string;
    readonly catalog: Catalog;
    readonly isolation: IsolationLevel;
    readonly readOnly: boolean;
    readonly nowMicros: number;
    readonly startedMonotonicMs: number;
    readonly visiblePosition: number;
  }) {
    this.tenant = options.tenant;
    this.isolation = options.isolation;
    this.readOnly = options.readOnly;
    this.nowMicros = options.nowMicros;
    this.startedMonotonicMs = options.startedMonotonicMs;
    this.catalog = new CatalogOverlay(options.catalog);
    this.position = isSnapshot(options.isolation) ? options.visiblePosition : undefined;
  }

  /** SET TRANSACTION, or BEGIN in a text that has begun it: what it has claimed and set stays. */
  setModes(
    { isolation = this.isolation, readOnly = this.readOnly }: TransactionModes,
    visiblePosition: number,
  ): void {
    if (this.hasAsked && isolation !== this.isolation)
      throw new DbError(
        '25001',
        'SET TRANSACTION ISOLATION LEVEL must be called before any query',
        {
          hint: 'Say it in BEGIN: BEGIN ISOLATION LEVEL SERIALIZABLE.',
        },
      );
    if (this.hasAsked && this.readOnly && !readOnly)
      throw new DbError('25001', 'transaction read-write mode must be set before any query', {
        hint: 'Say it in BEGIN: BEGIN READ WRITE.',
      });
    if (isolation !== this.isolation)
      this.position = isSnapshot(isolation) ? visiblePosition : undefined;
    this.isolation = isolation;
    this.readOnly = readOnly;
  }

  /** True when a commit would write nothing. */
  get isEmpty(): boolean {
    return (
      this.#definitions.length === 0 &&
      [...this.#overlays.values()].every((overlay) => overlay.isEmpty)
    );
  }

  get memoryBytes(): number {
    let bytes = 0;
    for (const overlay of this.#overlays.values()) bytes += overlay.memoryBytes;
    for (const table of this.#private.values()) bytes += table.memoryBytes;
    for (const replaced of this.#replaced) bytes += replaced.memoryBytes;
    return bytes;
  }

  /** Whether its plans are nobody else's: names mean something else to it, or views are read as their queries. */
  bindsForItself(views: { readonly someLag: boolean; readonly newestMadeAt: number }): boolean {
    return (
      !this.isEmpty ||
      views.someLag ||
      (this.position !== undefined && this.position < views.newestMadeAt)
    );
  }

  /** What a statement of this transaction reads of a relation. */
  snapshotOf(entry: CatalogEntry): TableSnapshot {
    assert(isStored(entry), 'rows are read from tables and materialized views');
    const id = entry.definition.id;
    const own = this.#private.get(id);
    if (own !== undefined) return own.staged();
    const base =
      this.position === undefined ? entry.data.snapshot() : entry.data.snapshotAt(this.position);
    if (base === undefined) throw snapshotTooOld(entry.definition.name);
    return this.#overlays.get(id)?.over(base) ?? base;
  }

  /** Whether a materialized view must be read as its query: something it reads has uncommitted changes here. */
  readsAsQuery(entry: MaterializedViewEntry): boolean {
    const { data, view } = entry;
    // What lags, or was made after this transaction's position, is not what the tables say.
    if (view.lags || (this.position !== undefined && !data.covers(this.position))) return true;
    if (this.#overlays.size === 0 && this.#definitions.length === 0) return false;
    for (const source of entry.view.sources) {
      if (this.#overlays.get(source)?.isEmpty === false || this.#private.has(source)) return true;
      const upstream = this.catalog.byId(source);
      if (upstream?.kind === 'materializedView' && this.readsAsQuery(upstream)) return true;
    }
    return this.#definitions.some(
      (operation) =>
        operation.op === 'createMaterializedView' && operation.view.id === entry.definition.id,
    );
  }

  /** Rows that a statement wrote. */
  write(
    entry: CatalogEntry,
    writes: readonly TableWrite[],
    privateCopy: (data: TableData) => TableData,
  ): void {
    assert(entry.kind === 'table', 'rows are written to tables');
    const id = entry.definition.id;
    const own = this.#private.get(id);
    if (own !== undefined) {
      own.stage(writes, { limits: true });
      const length = this.#definitions.length;
      this.#definitions.push({ op: 'rows', relation: id, writes });
      this.#undo.push(() => {
        own.undo();
        this.#definitions.length = length;
      });
      return;
    }
    let overlay = this.#overlays.get(id);
    if (overlay === undefined) {
      overlay = new Overlay(privateCopy(entry.data));
      this.#overlays.set(id, overlay);
    }
    const target = overlay;
    const mark = target.mark();
    this.#undo.push(() => target.rollbackTo(mark));
    for (const write of writes) {
      switch (write.kind) {
        case 'insert':
          target.insert(write.rows);
          break;
        case 'delete':
          target.delete(write.rowIds);
          break;
        case 'update':
          target.update(write.rowIds, write.rows);
          break;
        case 'truncate':
          target.truncate();
          break;
      }
    }
  }

  overlayOf(relation: number): Overlay | undefined {
    return this.#overlays.get(relation);
  }

  isPrivate(relation: number): boolean {
    return this.#private.has(relation);
  }

  /**
   * A change of definitions. `entry` is what the catalog shows from now on (undefined: the relation is gone);
   * `data` the private rows of a table that was created or rewritten.
   */
  define(
    operation: Operation,
    change: {
      readonly entry?: CatalogEntry | undefined;
      readonly removed?: number | undefined;
      readonly data?: TableData | undefined;
      readonly schema?:
        | { readonly tenant: string; readonly name: string; readonly present: boolean }
        | undefined;
    },
  ): void {
    const length = this.#definitions.length;
    this.#definitions.push(operation);
    const undo: (() => void)[] = [() => void (this.#definitions.length = length)];
    if (change.entry !== undefined) undo.push(this.catalog.put(change.entry));
    if (change.removed !== undefined) undo.push(this.catalog.remove(change.removed));
    if (change.schema !== undefined)
      undo.push(
        this.catalog.setSchema(change.schema.tenant, change.schema.name, change.schema.present),
      );
    const relation = change.entry?.definition.id ?? change.removed;
    if (relation !== undefined && (change.data !== undefined || change.removed !== undefined)) {
      const before = this.#private.get(relation);
      const overlay = this.#overlays.get(relation);
      if (change.data === undefined) this.#private.delete(relation);
      else this.#private.set(relation, change.data);
      this.#overlays.delete(relation);
      const replaced = [before, overlay].filter((each) => each !== undefined);
      for (const each of replaced) this.#replaced.add(each);
      undo.push(() => {
        if (change.data !== undefined) change.data.close();
        if (before === undefined) this.#private.delete(relation);
        else this.#private.set(relation, before);
        if (overlay !== undefined) this.#overlays.set(relation, overlay);
        for (const each of replaced) this.#replaced.delete(each);
      });
    }
    this.#undo.push(() => {
      for (const each of undo.toReversed()) each();
    });
  }

  /** An entry is another for a definition of something else: the commit finds that by itself. */
  show(entry: CatalogEntry): void {
    this.#undo.push(this.catalog.put(entry));
  }

  /** Something outside of the transaction that its rollback takes back. */
  undoWith(action: () => void): void {
    this.#undo.push(action);
  }

  /** For a statement that fails half-way: everything since `mark()` is undone. */
  mark(): number {
    return this.#undo.length;
  }

  /** Everything, as it ends: `close` follows. */
  rollback(): void {
    for (const overlay of this.#overlays.values()) overlay.leave();
    this.rollbackToMark(0);
  }

  rollbackToMark(mark: number): void {
    for (const stream of this.#streams) if (stream.mark > mark) stream.stop(undone());
    while (this.#undo.length > mark) this.#undo.pop()!();
  }

  /** A query whose rows are taken while others run: `stop` is told when rows that it reads are undone. Returns what to call at its end. */
  streams(stop: (cause: DbError) => void): () => void {
    const stream = { mark: this.#undo.length, stop };
    this.#streams.add(stream);
    return () => void this.#streams.delete(stream);
  }

  savepoint(name: string, claims: Claims): void {
    this.#savepoints.push({ name, mark: this.#undo.length, claims: claims.mark(this.owner) });
  }

  /** What was written since is undone; what was claimed since is free for others. */
  rollbackTo(name: string, claims: Claims): void {
    const index = this.#savepointIndex(name);
    const savepoint = this.#savepoints[index]!;
    this.rollbackToMark(savepoint.mark);
    claims.giveBackTo(this.owner, savepoint.claims);
    this.#savepoints.length = index + 1;
    this.failed = false;
    this.failure = undefined;
  }

  releaseSavepoint(name: string): void {
    this.#savepoints.length = this.#savepointIndex(name);
  }

  get definitions(): readonly Operation[] {
    return this.#definitions;
  }

  /** What committing it appends: row changes of shared tables first, then definitions with the rows of private tables. */
  operations(): Iterable<Operation> {
    const { first, others, ofViews } = inOrder(this.#definitions);
    const last = [...others, ...ofViews.map((each) => this.#asReadNow(each))];
    const overlays = [...this.#overlays].filter(([, overlay]) => !overlay.isEmpty);
    overlays.sort(([a], [b]) => a - b);
    return overlays.some(([, overlay]) => overlay.isLarge)
      ? joined(first, overlays, last)
      : [...joined(first, overlays, last)];
  }

  /** A view that is made behind all else finds its tables without the columns that have been dropped since. */
  #asReadNow(operation: Operation): Operation {
    if (!('view' in operation)) return operation;
    const now = this.catalog.byId(operation.view.id);
    if (now === undefined || !('reads' in now.definition)) return operation;
    const { text, reads } = now.definition;
    if (text !== operation.view.text) return operation;
    return { ...operation, view: { ...operation.view, reads } } as Operation;
  }

  relationsWritten(): number[] {
    const relations = [...this.#overlays.keys()];
    for (const operation of this.#definitions) {
      if ('relation' in operation) relations.push(operation.relation);
      else if ('table' in operation) relations.push(operation.table.id);
      else if ('view' in operation) relations.push(operation.view.id);
    }
    return relations;
  }

  /**
   * Remembers what a statement read, for the test by later commits. Those between this transaction's position and the visible
   * one came before it was read: they are tested now. `changesOf` gives what has changed since, undefined where that is gone.
   */
  noteReads(
    plan: PlanNode,
    context: EvaluationContext,
    changesOf: (relation: number, since: number) => ReturnType<TableData['changes']>,
  ): void {
    const { position } = this;
    // One that writes no more may have written: what it reads counts.
    if (position === undefined || (this.readOnly && this.isEmpty)) return;
    visitScans(plan, (scan) => {
      // What the system says of itself is no row of a commit.
      if (isSystemRelation(scan.relation)) return;
      const reads = this.#reads.get(scan.relation) ?? { whole: false, tests: [] };
      this.#reads.set(scan.relation, reads);
      if (
        scan.filter === undefined ||
        reads.tests.length >= PREDICATES_PER_TABLE_MAX ||
        hasOuterColumns(scan)
      ) {
        reads.whole = true;
        reads.tests.length = 0;
      }
      if (!reads.whole)
        reads.tests.push({
          filter: compileFilter(scan.filter!),
          columnIndexes: scan.columnIndexes,
          context,
        });
      if (this.#private.has(scan.relation)) return;
      const changes = changesOf(scan.relation, position);
      if (changes === undefined) throw snapshotTooOld(`relation ${scan.relation}`);
      for (const change of changes)
        this.testAgainst(new Map([[scan.relation, [change.delta]]]), change.position);
    });
    if (this.doomed !== undefined && !this.isEmpty) throw this.doomed;
  }

  /** A commit of somebody else: if it changes what this transaction has read, it cannot commit any more. */
  testAgainst(deltas: ReadonlyMap<number, readonly TableDelta[]>, position: number): void {
    if (this.doomed !== undefined || this.#reads.size === 0) return;
    for (const [relation, changes] of deltas) {
      const reads = this.#reads.get(relation);
      if (reads === undefined) continue;
      if (
        reads.whole ||
        changes.some((delta) => hits(reads, delta.deleted) || hits(reads, delta.inserted))
      ) {
        this.doomed = conflict(
          position,
          'A transaction that committed meanwhile changed rows that this one has read.',
        );
        return;
      }
    }
  }

  /**
   * In the turn that commits it: 40001 where a row that it changes, by key and without having read it, or goes by was changed or
   * deleted since its position. `deltasOf` gives what has become of a relation since, undefined where that is gone.
   */
  assertRowsUnchanged(
    deltasOf: (relation: number, since: number) => readonly TableDelta[] | undefined,
    visible: number,
  ): void {
    if (this.position === undefined) return;
    for (const [relation, overlay] of this.#overlays)
      if (!overlay.truncated) this.#assertUnchanged(relation, overlay.hidden, deltasOf, visible);
    for (const [relation, ids] of this.#rests)
      this.#assertUnchanged(relation, ids, deltasOf, visible);
  }

  #assertUnchanged(
    relation: number,
    ids: Pick<ReadonlySet<number>, 'has' | 'size'>,
    deltasOf: (relation: number, since: number) => readonly TableDelta[] | undefined,
    visible: number,
  ): void {
    if (ids.size === 0 || this.#private.has(relation)) return;
    const deltas = deltasOf(relation, this.position!);
    if (deltas === undefined || changedAmong(ids, deltas).length > 0)
      throw conflict(visible, 'A row that this one changes, or goes by, was changed meanwhile.');
  }

  /** Rows that its position has and that it has left as they are, having wanted to insert what they are: they must be there when it commits. */
  goesBy(relation: number, rowIds: readonly number[]): void {
    if (this.position === undefined || rowIds.length === 0) return;
    const rests = this.#rests.get(relation) ?? new Set();
    this.#rests.set(relation, rests);
    for (const rowId of rowIds) rests.add(rowId);
  }

  /** A relation that it has read is not what it was, and no delta says how. */
  testReplaced(relation: number, position: number): void {
    if (this.doomed === undefined && this.#reads.has(relation))
      this.doomed = conflict(position, 'A view that this one has read broke meanwhile.');
  }

  close(): void {
    for (const overlay of this.#overlays.values()) overlay.close();
    for (const table of this.#private.values()) table.close();
    for (const replaced of this.#replaced) replaced.close();
    this.#replaced.clear();
    this.#overlays.clear();
    this.#private.clear();
    this.#definitions.length = 0;
    this.#undo.length = 0;
    this.#reads.clear();
  }

  #savepointIndex(name: string): number {
    const index = this.#savepoints.findLastIndex((each) => each.name === name);
    if (index < 0)
      throw new DbError('3B001', `savepoint "${name}" does not exist`, {
        hint: didYouMean(
          name,
          this.#savepoints.map((each) => each.name),
        ),
      });
    return index;
  }
}

export type TransactionModes = {
  readonly isolation?: IsolationLevel | undefined;
  readonly readOnly?: boolean | undefined;
};

/** Predicates remembered a table; beyond it the whole table counts as read. */
const PREDICATES_PER_TABLE_MAX = 64;

type ReadSet = {
  whole: boolean;
  readonly tests: {
    readonly filter: CompiledFilter;
    readonly columnIndexes: readonly number[];
    readonly context: EvaluationContext;
  }[];
};

function conflict(position: number, detail: string): DbError {
  return new DbError(
    '40001',
    'could not serialize access due to read/write dependencies among transactions',
    {
      position,
      detail,
      hint: 'Run the transaction again; db.transaction(fn, { retries: 3 }) does.',
    },
  );
}

/** Which of some rows are deleted, or given other values. */
export function changedAmong(
  ids: Pick<ReadonlySet<number>, 'has'>,
  deltas: readonly TableDelta[],
): number[] {
  const changed: number[] = [];
  for (const { deleted } of deltas) {
    if (deleted === undefined) continue;
    const { rowCount, selection, rowIds } = deleted;
    // Of a small change that is read where it stands there are more of them than rows.
    for (let row = 0; row < rowCount; row += 1) {
      const id = rowIds![selection === undefined ? row : selection[row]!]!;
      if (ids.has(id)) changed.push(id);
    }
  }
  return changed;
}

export function isSnapshot(isolation: IsolationLevel): boolean {
  return isolation === 'serializable' || isolation === 'repeatable read';
}

export function snapshotTooOld(name: string): DbError {
  return new DbError(
    '72000',
    `snapshot too old: "${name}" is no longer kept at the position of this reader`,
    {
      table: name,
      hint: 'Begin again, or open the database with a longer history.',
    },
  );
}

function hits(reads: ReadSet, rows: Batch | undefined): boolean {
  if (rows === undefined) return false;
  return reads.tests.some(({ filter, columnIndexes, context }) => {
    const { rowCount, selection } = rows;
    const columns = columnIndexes.map((index) => columnOf(rows, index));
    try {
      return filter.select({ rowCount, columns, selection }, context) !== undefined;
    } catch {
      // A row on which the predicate fails would have failed the statement: it depends on it.
      return true;
    }
  });
}

/** A filter that speaks of an outer query's row cannot be tested on its own. */
function hasOuterColumns(scan: ScanNode): boolean {
  return JSON.stringify(scan.filter, (_, value: unknown) =>
    typeof value === 'bigint' ? String(value) : value,
  ).includes('"outerColumn"');
}

/** Large overlays give an operation for each of their writes, when it is asked for. */
function* joined(
  first: readonly Operation[],
  overlays: readonly (readonly [number, Overlay])[],
  last: readonly Operation[],
): Generator<Operation> {
  yield* first;
  for (const [relation, overlay] of overlays) {
    if (overlay.isLarge)
      for (const write of overlay.writes()) yield { op: 'rows', relation, writes: [write] };
    else {
      const writes = [...overlay.writes()];
      if (writes.length > 0) yield { op: 'rows', relation, writes };
    }
  }
  yield* last;
}

/**
 * A materialized view is filled from what the whole transaction has written: it comes last, and behind it what speaks of it. Views
 * that were made and dropped again are left out. One that commits take over from the clock has the rows of what stood before: first.
 */
function inOrder(
  definitions: readonly Operation[],
): Record<'first' | 'others' | 'ofViews', Operation[]> {
  const dropped = new Set(
    definitions.flatMap((each) => (each.op === 'dropRelation' ? [each.relation] : [])),
  );
  const passing = new Set(
    definitions.flatMap((each) =>
      'view' in each && dropped.has(each.view.id) ? [each.view.id] : [],
    ),
  );
  const late = new Set<number>();
  const order = { first: [], others: [], ofViews: [] } as ReturnType<typeof inOrder>;
  for (const operation of definitions) {
    const view = 'view' in operation ? operation.view : undefined;
    const relation = view?.id ?? ('relation' in operation ? operation.relation : undefined);
    if (relation !== undefined && passing.has(relation)) continue;
    if (
      operation.op === 'createMaterializedView' ||
      view?.reads.some((read) => late.has(read.relation)) === true
    )
      late.add(relation!);
    if (relation !== undefined && late.has(relation)) order.ofViews.push(operation);
    else if (operation.op === 'alterMaterializedView') order.first.push(operation);
    else order.others.push(operation);
  }
  return order;
}

/** Asked of the `tx` of db.transaction, which has ended. */
export function tooLate(): DbError {
  return new DbError('25P02', 'the function of the transaction has ended, and it with it', {
    hint: 'Await whatever its function asks tx before it returns or throws.',
  });
}

/** The code of a query's end whose rows were rolled back: PostgreSQL's of a cursor that is no more. */
export const ROWS_UNDONE = '24000';

function undone(): DbError {
  return new DbError(ROWS_UNDONE, 'rows that the query reads were rolled back', {
    hint: 'Take all of its rows before you roll back, or before the function of db.transaction ends.',
  });
}
