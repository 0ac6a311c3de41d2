import type { MemoryAccount } from '../base/memory.ts';
import { assert, DbError, notSupported } from '../base/errors.ts';
import { BagHash } from '../columns/bag-hash.ts';
import type { TableDelta, TableScan, TableSnapshot } from '../columns/table-contract.ts';
import { createTable } from '../columns/table.ts';
import { foldInContext, isImmutable } from '../expressions/fold.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import { buildOperator } from '../operators/build.ts';
import { Budget, type Operator } from '../operators/operator.ts';
import { bindStatement } from '../plan/bind.ts';
import { catalogWithout, readsWithout, viewCatalog, type PlanCatalog } from '../plan/catalog.ts';
import type { BoundQuery, PlanNode, ScanNode } from '../plan/logical.ts';
import { mapPlanExpressions, visitScans } from '../plan/nodes.ts';
import type { FromItem, ParsedStatement, Query } from '../sql/ast.ts';
import { viewContext } from '../views/evaluate.ts';
import { createStandingPlan, whyNotMaintained } from '../views/standing-plan.ts';
import { ViewWriter } from '../views/view-writer.ts';
import {
  catalogOfIds,
  idOf,
  isStored,
  viewInfo,
  type Catalog,
  type CatalogEntry,
  type CatalogView,
  type MaterializedViewEntry,
  type ViewEntry,
} from './catalog.ts';
import { assertNotAborted } from './deadline.ts';
import { DefinitionChanged, FellBehind } from './definition-changed.ts';
import type { Engine } from './engine.ts';
import { MaintainedView, type ViewParts } from './maintained-view.ts';
import type {
  IndexDefinition,
  MaterializedViewDefinition,
  Operation,
  ViewDefinition,
  ViewOptions,
} from './records.ts';
import { refuseSystemRelation } from './system-relations.ts';

/** Makes views of their texts: plans them, fills them, builds them anew. */
export class ViewBuilder {
  readonly #parse: (text: string) => readonly ParsedStatement[];
  readonly #memory: MemoryAccount;
  /** Asked for twice, before a definition and in its commit turn: `usesColumn` said no. */
  readonly #unusedColumns = new WeakMap<ViewEntry | MaterializedViewEntry, Set<string>>();

  constructor(options: {
    readonly parse: (text: string) => readonly ParsedStatement[];
    readonly memory: MemoryAccount;
    readonly zone: string;
  }) {
    this.#parse = options.parse;
    this.#memory = options.memory;
  }

  columnsOf(
    definition: ViewDefinition,
    query: Query,
    catalog: CatalogView,
  ): BoundQuery['plan']['columns'] {
    return boundQuery(query, viewCatalog(catalogOfIds(catalog), definition.reads)).plan.columns;
  }

  /** Whether what the view shows has to do with a column of a relation; without it the query means what it meant. */
  usesColumn(
    entry: ViewEntry | MaterializedViewEntry,
    relation: number,
    index: number,
    catalog: CatalogView,
  ): boolean {
    const reads = entry.definition.reads.filter(
      (read) => read.relation === relation && index < read.columns.length,
    );
    if (reads.length === 0) return false;
    const unused = this.#unusedColumns.get(entry) ?? new Set<string>();
    const place = `${relation}.${index}`;
    if (unused.has(place)) return false;
    if (this.#findUse(entry, reads, relation, index, catalog)) return true;
    this.#unusedColumns.set(entry, unused.add(place));
    return false;
  }

  #findUse(
    { definition, query }: ViewEntry | MaterializedViewEntry,
    reads: ViewDefinition['reads'],
    relation: number,
    index: number,
    catalog: CatalogView,
  ): boolean {
    // Its names for columns are given by place.
    if (namesColumns(query, new Set(reads.map(({ name }) => name)), index)) return true;
    const ids = catalogOfIds(catalog);
    const { plan } = boundQuery(query, viewCatalog(ids, definition.reads));
    try {
      const without = viewCatalog(
        catalogWithout(ids, relation, index),
        readsWithout(definition.reads, relation, index),
      );
      const bound = boundQuery(query, without);
      return textOfPlan(plan, relation, index) !== textOfPlan(bound.plan, relation, undefined);
    } catch (cause) {
      // Its text names what no row of it depends on.
      if (cause instanceof DbError) return true;
      throw cause;
    }
  }

  /** Throws 0A000 where the query cannot be kept up to date. */
  check(definition: MaterializedViewDefinition, catalog: CatalogView): void {
    const { plan } = this.#plan(definition, catalog);
    visitScans(plan, ({ relation }) => {
      refuseSystemRelation(relation);
      const source = catalog.byId(relation);
      if (definition.options.refresh === 'commit' && isByTime(source))
        throw followsClock(definition, source.definition);
    });
    const why = whyNotMaintained(plan);
    if (why !== undefined) throw why;
  }

  /** Builds and fills a view in steps, inside the commit that creates it. */
  *build(
    definition: MaterializedViewDefinition,
    catalog: Catalog,
    options: { readonly limits: boolean },
  ): Generator<void, MaintainedView> {
    const view = this.#prepare(definition, catalog);
    let whole = false;
    try {
      const budget = new Budget(FILL_UNITS);
      const steps = this.#fill(view, (relation) => storedData(catalog, relation).staged(), budget, {
        position: undefined,
        ...options,
      });
      for (const _ of steps) {
        yield;
        budget.refill(FILL_UNITS);
      }
      whole = true;
      return view;
    } finally {
      if (!whole) view.close();
    }
  }

  /**
   * Fills views that have no rows, all of one height, from the published rows of `position`: yields where the budget is used up. Those
   * that read one relation alone share its reading. Memory is not refused.
   */
  *fillTogether(
    views: readonly MaintainedView[],
    catalog: Catalog,
    { position, budget }: { readonly position: number; readonly budget: Budget },
    failed: (view: MaintainedView, cause: unknown) => void,
  ): Generator<void> {
    const options = { position, limits: false };
    const shared = new Map<number, MaintainedView[]>();
    for (const view of views) {
      const { onlyScan } = view;
      if (onlyScan === undefined) {
        try {
          const snapshotOf = (relation: number): TableSnapshot =>
            storedData(catalog, relation).snapshot();
          yield* this.#fill(view, snapshotOf, budget, options);
          view.filled(position);
        } catch (cause) {
          failed(view, cause);
        }
        continue;
      }
      const readers = shared.get(onlyScan.relation);
      if (readers === undefined) shared.set(onlyScan.relation, [view]);
      else readers.push(view);
    }
    for (const [relation, readers] of shared) {
      let snapshot: TableSnapshot;
      try {
        snapshot = storedData(catalog, relation).snapshot();
      } catch (cause) {
        for (const view of readers) failed(view, cause);
        continue;
      }
      try {
        yield* fillFromOne(snapshot, readers, options, budget, failed);
      } finally {
        snapshot.release();
      }
    }
  }

  /** A view without rows. */
  unfilled(definition: MaterializedViewDefinition, catalog: Catalog): MaintainedView {
    return this.#prepare(definition, catalog);
  }

  /** Fills a view from snapshots while writes go on; what was committed meanwhile is caught up afterwards. */
  async buildAside(
    engine: Engine,
    definition: MaterializedViewDefinition,
    signal: AbortSignal | undefined,
  ): Promise<MaintainedView> {
    const view = this.#prepare(definition, engine.state.catalog);
    view.writtenOver = plainViewsOf(definition, engine.state.catalog);
    view.plannedOver = columnsOf(view.sources, engine.state.catalog);
    let isWhole = false;
    try {
      await this.#refreshSources(engine, view);
      const budget = new Budget(FILL_UNITS);
      // A loop that is left ends the generator, which gives its snapshots back.
      for (const _ of this.#fillAside(engine, view, undefined, budget)) {
        assertNotAborted(signal);
        await engine.pause();
        budget.refill(FILL_UNITS);
      }
      for (const _ of this.#catchUpMost(engine, view, budget)) {
        await engine.pause();
        budget.refill(FILL_UNITS);
      }
      isWhole = true;
      return view;
    } finally {
      if (!isWhole) view.close();
    }
  }

  /** Inside a commit turn: brings a view that was filled aside to the newest published position. */
  catchUpNow(engine: Engine, view: MaintainedView): void {
    refuseLagging(engine, view);
    const { catalog } = engine.state;
    for (const entry of view.writtenOver)
      if (catalog.byId(idOf(entry)) !== entry) throw new DefinitionChanged(entry.definition.name);
    view.writtenOver = [];
    // It reads columns by their places.
    for (const [relation, columns] of view.plannedOver) {
      const now = columnNames(catalog.byId(relation));
      if (columns.some((name, place) => now[place] !== name))
        throw new DefinitionChanged(view.definition.name);
    }
    view.plannedOver = new Map();
    for (const [source, generation] of view.madeFrom) {
      const entry = engine.state.catalog.byId(source);
      if (entry?.kind === 'materializedView' && entry.view.generation !== generation)
        throw behind(view);
    }
    if (!this.#catchUpAtOnce(engine, view)) throw behind(view);
  }

  /** A view that is refreshed by time takes what has come since, and who follows it is told. */
  async refresh(engine: Engine, view: MaintainedView): Promise<void> {
    // A table that is made anew has no changes for readers yet.
    if (engine.turn.definesUnacknowledged) await engine.untilDefined(undefined);
    if (view.inCommit || (view.status !== 'live' && view.status !== 'failed')) return;
    // It will be told when what it reads serves again.
    if (engine.housekeeping.sourcesLag(view)) return;
    const before = view.position;
    try {
      // One that could not be refreshed begins anew.
      if (view.status === 'failed' || view.isProvisional || !this.#catchUpAtOnce(engine, view))
        await this.rebuild(engine, view);
    } catch (cause) {
      // Whoever asked for it: what it has taken in by half is not gone on from.
      if (isInCatalog(engine, view)) engine.housekeeping.refreshFailed(view, cause);
      throw cause;
    }
    if (view.position !== before) engine.housekeeping.viewRefreshed(view);
  }

  /** How often a view of these relations may be refreshed at most: those that the clock moves change outside of commits. */
  refreshOver(plan: PlanNode, catalog: CatalogView): ViewOptions['refresh'] {
    let refresh: ViewOptions['refresh'] = 'commit';
    visitScans(plan, ({ relation }) => {
      if (isByTime(catalog.byId(relation))) refresh = 1;
    });
    return refresh;
  }

  /** What it is filled from must be of one position, which the history still has: views that the clock moves come forward first. */
  async #refreshSources(engine: Engine, view: MaintainedView): Promise<void> {
    for (const source of view.sources) {
      const entry = engine.state.catalog.byId(source);
      if (isByTime(entry)) await this.refresh(engine, entry.view);
    }
  }

  /**
   * Whether one that it reads is moved by the clock, and was not filled in the same commit: what else that commit has staged is not
   * among its rows.
   */
  readsBehind(view: MaintainedView, catalog: CatalogView): boolean {
    return view.sources.some((source) => {
      const entry = catalog.byId(source);
      return isByTime(entry) && (entry.view.isProvisional || entry.view.position > 0);
    });
  }

  /** Views that were refreshed by time and that `operations` put into the care of commits. */
  takenOver(engine: Engine, operations: readonly Operation[]): readonly MaintainedView[] {
    return operations.flatMap((operation) => {
      if (operation.op !== 'alterMaterializedView' || operation.options.refresh !== 'commit')
        return [];
      const entry = engine.state.catalog.byId(operation.relation);
      return isByTime(entry) ? [entry.view] : [];
    });
  }

  /** Inside the commit turn: a view that was refreshed by time takes in what has come since; from then on only changes reach it. */
  takeOver(engine: Engine, view: MaintainedView): void {
    if (view.status !== 'live') throw notLive(view);
    refuseLagging(engine, view);
    try {
      if (!this.#catchUpAtOnce(engine, view)) throw behind(view);
    } catch (cause) {
      engine.housekeeping.refreshFailed(view, cause);
      throw cause;
    }
  }

  /** Replay: a view that was refreshed by time has none of the changes since it was made, and nobody keeps them: it is built anew. */
  *buildTakenOver(view: MaintainedView, catalog: Catalog): Generator<void, MaintainedView> {
    const fresh = yield* this.build(view.definition, catalog, { limits: false });
    const { sources } = view;
    fresh.filled(
      Math.max(fresh.position, ...sources.map((source) => storedData(catalog, source).position)),
    );
    return fresh;
  }

  /** Builds a view anew beside the present rows, then puts it in their place. */
  async rebuild(engine: Engine, view: MaintainedView): Promise<void> {
    await this.#refreshSources(engine, view);
    const budget = new Budget(FILL_UNITS);
    const steps = this.shadow(engine, view, budget);
    for (;;) {
      const step = steps.next();
      if (step.done === true) return this.putInPlace(engine, view, step.value);
      await engine.pause();
      budget.refill(FILL_UNITS);
    }
  }

  /**
   * Builds a view anew beside its present rows, which go on serving: yields where `budget` is used up. What it gives has been compared
   * with what it is to replace, at the position whose rows those are; where they differ, or that position is not kept any more,
   * with the answer of the view's query. An InvariantError where that differs, too.
   */
  *shadow(engine: Engine, view: MaintainedView, budget: Budget): Generator<void, Shadow> {
    const fresh = this.#prepare(view.definition, engine.state.catalog);
    fresh.plannedOver = columnsOf(fresh.sources, engine.state.catalog);
    let isWhole = false;
    try {
      const at = this.#comparableAt(engine, view);
      yield* this.#fillAside(engine, fresh, at, budget);
      const before = at === undefined ? undefined : yield* hashOfPresent(view, budget);
      const differed =
        before !== undefined && !before.equals(yield* hashOfRows(fresh.data.snapshot(), budget));
      yield* this.#catchUpMost(engine, fresh, budget);
      if (before === undefined || differed) yield* this.#compareWithQuery(engine, fresh, budget);
      isWhole = true;
      return { fresh, checked: before === undefined || differed ? 'query' : 'rows', differed };
    } finally {
      if (!isWhole) fresh.close();
    }
  }

  /** The shadow's rows and operators take the place of the view's, in a commit turn of their own. */
  async putInPlace(engine: Engine, view: MaintainedView, { fresh }: Shadow): Promise<void> {
    let taken = false;
    try {
      await engine.commit({
        tenant: view.definition.tenant,
        relations: [view.relation, ...view.sources],
        ephemeral: true,
        prepare: () => {
          // Dropped meanwhile: nothing is put back.
          if (!isInCatalog(engine, view)) return [];
          this.catchUpNow(engine, fresh);
          engine.state.replaceView(view, fresh);
          taken = true;
          return [];
        },
      });
    } finally {
      if (!taken) fresh.close();
    }
  }

  /** The position whose rows the view still shows, if those of everything it reads can be told there, too. */
  #comparableAt(engine: Engine, view: MaintainedView): number | undefined {
    if (!view.serving || (view.status !== 'rebuilding' && view.status !== 'failed'))
      return undefined;
    // Refreshed by time, it met rows that its query cannot take: the way to those that were mended is not by them.
    if (view.failure instanceof DbError) return undefined;
    const at = view.rowsPosition(engine.visiblePosition);
    if (!Number.isSafeInteger(at)) return undefined;
    const reachBack = view.sources.every((source) => {
      const entry = engine.state.catalog.byId(source);
      return isStored(entry) && entry.data.covers(at);
    });
    return reachBack ? at : undefined;
  }

  *#compareWithQuery(engine: Engine, fresh: MaintainedView, budget: Budget): Generator<void> {
    // Both of one position: nobody commits between here and the snapshots.
    if (!this.#catchUpAtOnce(engine, fresh)) throw behind(fresh);
    const { catalog } = engine.state;
    const snapshots = new Map<number, TableSnapshot>();
    const memory = engine.memory.child(`the comparison of view ${fresh.definition.name}`);
    let rows: TableSnapshot | undefined = fresh.data.snapshot();
    try {
      for (const source of fresh.sources) {
        const data = storedData(catalog, source);
        const isNewest = fresh.position === engine.visiblePosition;
        const snapshot = isNewest ? data.snapshot() : data.snapshotAt(fresh.position);
        if (snapshot === undefined) throw behind(fresh);
        snapshots.set(source, snapshot);
      }
      const { plan } = this.#plan(fresh.definition, catalog);
      const query = buildOperator(plan, {
        snapshotOf: (relation) => snapshots.get(relation)!,
        context: viewContext(fresh.definition.zone),
        memory,
      });
      let answer: BagHash;
      try {
        answer = yield* hashOfAnswer(query, budget);
      } finally {
        query.close();
      }
      const snapshot = rows;
      rows = undefined;
      assert(
        answer.equals(yield* hashOfRows(snapshot, budget)),
        `a view that was made anew has the rows of its query (${fresh.definition.name})`,
      );
    } finally {
      rows?.release();
      for (const snapshot of snapshots.values()) snapshot.release();
      if (memory.usedBytes > 0) memory.release(memory.usedBytes);
    }
  }

  /** What a transaction's catalog shows of a view that it has created: read as its query until the commit. */
  placeholder(definition: MaterializedViewDefinition, catalog: CatalogView): CatalogEntry {
    const query = this.#query(definition);
    const columns = this.columnsOf(definition, query, catalog);
    return {
      kind: 'view',
      definition,
      query,
      info: viewInfo(definition, 'view', columns, query, []),
    };
  }

  #query(definition: ViewDefinition): Query {
    const statement = this.#parse(definition.text)[0]?.statement;
    if (statement?.kind !== 'query')
      throw new DbError('XX000', `the text of view "${definition.name}" is no query`);
    return statement.query;
  }

  #plan(
    definition: MaterializedViewDefinition,
    catalog: CatalogView,
  ): {
    readonly plan: PlanNode;
    readonly sources: readonly number[];
    readonly query: Query;
    readonly isZoned: boolean;
  } {
    const query = this.#query(definition);
    const bound = boundQuery(query, viewCatalog(catalogOfIds(catalog), definition.reads));
    const context = {
      ...CREATION_CONTEXT,
      nowMicros: definition.createdMicros,
      zone: definition.zone,
    };
    let isZoned = false;
    const plan = mapPlanExpressions(bound.plan, (each) => {
      isZoned ||= !isImmutable(each);
      return foldInContext(each, context);
    });
    return { plan, sources: bound.relations, query, isZoned };
  }

  #prepare(definition: MaterializedViewDefinition, catalog: CatalogView): MaintainedView {
    const { plan, sources, query, isZoned } = this.#plan(definition, catalog);
    const why = whyNotMaintained(plan);
    if (why !== undefined) throw why;
    const indexes = indexesOf(plan, definition);
    const height =
      1 +
      Math.max(
        0,
        ...sources.map((source) => {
          const entry = catalog.byId(source);
          return entry?.kind === 'materializedView' ? entry.view.height : 0;
        }),
      );
    return new MaintainedView({
      definition,
      query,
      columns: plan.columns,
      sources,
      indexes,
      height,
      isZoned,
      parts: this.#parts(plan, definition, indexes),
    });
  }

  #parts(
    plan: PlanNode,
    definition: MaterializedViewDefinition,
    indexes: readonly IndexDefinition[],
  ): ViewParts {
    const standing = createStandingPlan(plan, {
      context: viewContext(definition.zone),
      memory: this.#memory,
    });
    const data = createTable(
      {
        columns: plan.columns.map(({ name, type, nullable }, index) => ({
          name: definition.columnNames[index] ?? name,
          type,
          nullable,
        })),
        indexes: indexes.map(({ name, columnIndexes, unique, primary }) => ({
          name,
          columnIndexes,
          unique,
          primary,
        })),
        seed: definition.seed,
      },
      { memory: this.#memory },
    );
    return { plan: standing, data, writer: new ViewWriter(data, standing.identity, this.#memory) };
  }

  *#fill(
    view: MaintainedView,
    snapshotOf: (relation: number) => TableSnapshot,
    budget: Budget,
    { position, limits }: { readonly position: number | undefined; readonly limits: boolean },
  ): Generator<void> {
    const snapshots = new Map<number, TableSnapshot>();
    try {
      view.fill(({ relation, columnIndexes }) => {
        const snapshot = snapshots.get(relation) ?? snapshotOf(relation);
        snapshots.set(relation, snapshot);
        const rows = rowsOf(snapshot, columnIndexes);
        return () => rows.next();
      }, position);
      while (!view.run(budget, { limits })) yield;
    } finally {
      for (const snapshot of snapshots.values()) snapshot.release();
    }
  }

  /** `at`: the position of the rows it is filled with; undefined: the visible one. */
  *#fillAside(
    engine: Engine,
    view: MaintainedView,
    at: number | undefined,
    budget: Budget,
  ): Generator<void> {
    const position = at ?? reachOf(engine, view);
    const { catalog } = engine.state;
    view.madeFrom = new Map(
      view.sources.flatMap((source) => {
        const entry = catalog.byId(source);
        return entry?.kind === 'materializedView' ? [[source, entry.view.generation] as const] : [];
      }),
    );
    yield* this.#fill(
      view,
      (relation) => {
        const data = storedData(catalog, relation);
        const isNewest = at === undefined && position === engine.visiblePosition;
        const snapshot = isNewest ? data.snapshot() : data.snapshotAt(position);
        if (snapshot === undefined) throw behind(view);
        return snapshot;
      },
      budget,
      { position, limits: true },
    );
    view.filled(position);
  }

  /** Most of what came meanwhile is caught up before the turn, so that the turn is short. */
  *#catchUpMost(engine: Engine, view: MaintainedView, budget: Budget): Generator<void> {
    for (
      let round = 0;
      round < CATCH_UP_ROUNDS && view.position < reachOf(engine, view);
      round += 1
    ) {
      if (!(yield* this.#catchUp(engine, view, budget))) throw behind(view);
      yield;
    }
  }

  #catchUpAtOnce(engine: Engine, view: MaintainedView): boolean {
    const budget = new Budget(Infinity);
    const steps = this.#catchUp(engine, view, budget);
    for (;;) {
      const step = steps.next();
      if (step.done === true) return step.value;
      budget.refill(Infinity);
    }
  }

  /** Applies published changes after the view's position; false when they are no longer kept. */
  *#catchUp(engine: Engine, view: MaintainedView, budget: Budget): Generator<void, boolean> {
    const head = reachOf(engine, view);
    if (view.position >= head) return true;
    const byPosition = new Map<number, Map<number, TableDelta[]>>();
    for (const source of view.sources) {
      const changes = storedData(engine.state.catalog, source).changes(view.position, head);
      if (changes === undefined) return false;
      for (const { position, delta } of changes) {
        const deltas = byPosition.get(position) ?? new Map<number, TableDelta[]>();
        byPosition.set(position, deltas);
        deltas.set(source, [...(deltas.get(source) ?? []), delta]);
      }
    }
    for (const position of [...byPosition.keys()].sort((a, b) => a - b)) {
      if (!view.push(byPosition.get(position)!)) continue;
      while (!view.run(budget)) yield;
      view.publish(position);
      if (budget.exhausted) yield;
    }
    view.position = head;
    return true;
  }
}

/** In the order of arrival: groups are shown in the order in which they are met. */
function rowsOf(snapshot: TableSnapshot, columnIndexes: readonly number[]): TableScan {
  return snapshot.scan({ columnIndexes, ordered: true, withRowIds: false });
}

/** Fills views that read one relation, batch by batch: all have taken one before the next is read. */
function* fillFromOne(
  snapshot: TableSnapshot,
  views: readonly MaintainedView[],
  { position, limits }: { readonly position: number; readonly limits: boolean },
  budget: Budget,
  failed: (view: MaintainedView, cause: unknown) => void,
): Generator<void> {
  const columnIndexes = [...new Set(views.flatMap(({ onlyScan }) => onlyScan!.columnIndexes))].sort(
    (a, b) => a - b,
  );
  const rows = rowsOf(snapshot, columnIndexes);
  let batch = rows.next();
  let going = views.map((view) => ({ view, hasTaken: false }));
  for (const each of going) {
    const places = each.view.onlyScan!.columnIndexes.map((index) => columnIndexes.indexOf(index));
    each.view.fill(
      () => () => {
        if (each.hasTaken) return 'later';
        each.hasTaken = true;
        return (
          batch && {
            rowCount: batch.rowCount,
            columns: places.map((place) => batch!.columns[place]!),
            selection: batch.selection,
          }
        );
      },
      position,
    );
  }
  while (going.length > 0) {
    for (const each of [...going]) {
      const { view } = each;
      try {
        if (!view.run(budget, { limits })) continue;
        view.filled(position);
      } catch (cause) {
        failed(view, cause);
      }
      going = going.filter((other) => other !== each);
    }
    // Behind the last batch, everyone goes on with what came of it.
    if (batch !== undefined && going.every(({ hasTaken }) => hasTaken)) {
      batch = rows.next();
      for (const each of going) each.hasTaken = false;
    }
    if (budget.exhausted) yield;
  }
}

/** A view that was made anew and is not in its place yet. */
export type Shadow = {
  readonly fresh: MaintainedView;
  /** What its rows were compared with last. */
  readonly checked: 'rows' | 'query';
  /** The rows that it replaces were not those of the view's query. */
  readonly differed: boolean;
};

function* hashOfPresent(
  view: MaintainedView,
  budget: Budget,
): Generator<void, BagHash | undefined> {
  try {
    return yield* hashOfRows(view.data.snapshot(), budget);
  } catch (cause) {
    if (cause instanceof DbError) throw cause;
    // It broke so badly that it cannot be read: its query has to do.
    return undefined;
  }
}

/** Of a snapshot, which is released. */
function* hashOfRows(snapshot: TableSnapshot, budget: Budget): Generator<void, BagHash> {
  const hash = new BagHash();
  try {
    const columnIndexes = snapshot.schema.columns.map((_, index) => index);
    const scan = snapshot.scan({ columnIndexes, ordered: false, withRowIds: false });
    for (let batch = scan.next(); batch !== undefined; batch = scan.next()) {
      hash.add(batch);
      budget.charge(batch.rowCount * (1 + columnIndexes.length));
      if (budget.exhausted) yield;
    }
    return hash;
  } finally {
    snapshot.release();
  }
}

function* hashOfAnswer(query: Operator, budget: Budget): Generator<void, BagHash> {
  const hash = new BagHash();
  for (;;) {
    const step = query.next(budget);
    if (step === 'done') return hash;
    if (step === 'batch') {
      hash.add(query.batch);
      budget.charge(query.batch.rowCount);
    }
    if (step === 'more' || budget.exhausted) yield;
  }
}

/** Beside the zone and the instant. */
const CREATION_CONTEXT: Omit<EvaluationContext, 'nowMicros' | 'zone'> = {
  parameters: [],
  random: { unit: () => 0, uint32: () => 0 },
  setting: () => undefined,
};

const FILL_UNITS = 5000;
const CATCH_UP_ROUNDS = 8;

function storedData(
  catalog: CatalogView,
  relation: number,
): Extract<CatalogEntry, { kind: 'table' | 'materializedView' }>['data'] {
  const entry = catalog.byId(relation);
  if (!isStored(entry))
    throw new DbError('42P01', 'a relation that the view reads was dropped', {
      hint: 'Create the view again.',
    });
  return entry.data;
}

export function isInCatalog(engine: Engine, view: MaintainedView): boolean {
  const entry = engine.state.catalog.byId(view.relation);
  return entry?.kind === 'materializedView' && entry.view === view;
}

function refuseLagging(engine: Engine, { sources }: MaintainedView): void {
  for (const source of sources) {
    const entry = engine.state.catalog.byId(source);
    if (entry?.kind !== 'materializedView' || !entry.view.lags) continue;
    const { name } = entry.definition;
    throw new DbError('55000', `materialized view "${name}" has failed and is being built anew`, {
      table: name,
      hint: 'Try again once it is live.',
      cause: entry.view.failure,
    });
  }
}

/** The newest position at which the rows of everything it reads are known: views that the clock moves tell theirs later. */
function reachOf(engine: Engine, view: MaintainedView): number {
  let reach = engine.visiblePosition;
  for (const source of view.sources) {
    const entry = engine.state.catalog.byId(source);
    if (isByTime(entry)) reach = Math.min(reach, knownUpTo(engine, entry.view));
  }
  return reach;
}

/** Nobody refreshes a view that the clock moves while what it reads rests: its rows are those of all positions since. */
function knownUpTo(engine: Engine, view: MaintainedView): number {
  const { position } = view;
  const isAtRest = view.sources.every((source) => {
    const entry = engine.state.catalog.byId(source);
    return isStored(entry) && entry.data.covers(position) && entry.data.position <= position;
  });
  return isAtRest && !view.isProvisional ? Math.max(position, reachOf(engine, view)) : position;
}

function isByTime(entry: CatalogEntry | undefined): entry is MaterializedViewEntry {
  return entry?.kind === 'materializedView' && entry.definition.options.refresh !== 'commit';
}

/** A view that commits keep, over one that the clock moves: no commit would tell it. */
export function followsClock(above: ViewDefinition, below: MaterializedViewDefinition): DbError {
  const { refresh } = below.options;
  return new DbError(
    '55000',
    `materialized view "${above.name}" is kept by commits, and "${below.name}", which it reads, is refreshed by time`,
    {
      table: above.name,
      hint: `Make it WITH (refresh = '${String(refresh)}ms'), or let commits keep what it reads: ALTER MATERIALIZED VIEW ${below.name} SET (refresh = 'commit').`,
    },
  );
}

function notLive(view: MaintainedView): DbError {
  return new DbError(
    '55000',
    `materialized view "${view.definition.name}" has no rows to go on from`,
    {
      table: view.definition.name,
      hint: 'REFRESH MATERIALIZED VIEW says why; mend that first.',
      cause: view.failure,
    },
  );
}

/** To compare plans by: columns of a relation stand at the places that they have without the one that is `dropped`. */
function textOfPlan(plan: PlanNode, relation: number, dropped: number | undefined): string {
  const placed = (each: unknown): unknown => {
    if (typeof each === 'bigint') return String(each);
    const scan = each as ScanNode | null;
    if (scan?.kind !== 'scan' || scan.relation !== relation) return each;
    if (scan.countsOnly === true) return { ...scan, columnIndexes: [], columns: [] };
    if (dropped === undefined) return each;
    return {
      ...scan,
      columnIndexes: scan.columnIndexes.map((index) =>
        index === dropped ? -1 : index < dropped ? index : index - 1,
      ),
    };
  };
  return JSON.stringify(plan, (_, each: unknown) => placed(each));
}

/** FROM t AS x (p, q): columns of one of these relations get names, at least up to a place. */
function namesColumns(tree: unknown, names: ReadonlySet<string>, place: number): boolean {
  if (typeof tree !== 'object' || tree === null) return false;
  const item = tree as FromItem;
  if (
    item.kind === 'relation' &&
    names.has(item.name.name) &&
    (item.alias?.columns.length ?? 0) > place
  )
    return true;
  return Object.values(tree).some((child) => namesColumns(child, names, place));
}

function columnsOf(
  relations: readonly number[],
  catalog: CatalogView,
): ReadonlyMap<number, readonly string[]> {
  return new Map(relations.map((each) => [each, columnNames(catalog.byId(each))] as const));
}

function columnNames(entry: CatalogEntry | undefined): readonly string[] {
  return entry?.kind === 'table' ? entry.definition.columns.map(({ name }) => name) : [];
}

/** The plain views that are written out in its query, those in others included. */
function plainViewsOf(
  definition: ViewDefinition,
  catalog: CatalogView,
  found = new Set<ViewEntry>(),
): readonly ViewEntry[] {
  for (const { relation } of definition.reads) {
    const entry = catalog.byId(relation);
    if (entry?.kind !== 'view' || found.has(entry)) continue;
    found.add(entry);
    plainViewsOf(entry.definition, catalog, found);
  }
  return [...found];
}

function behind({ definition }: MaintainedView): FellBehind {
  return new FellBehind(definition.name);
}

/** Group keys that the view shows identify its rows. */
function indexesOf(plan: PlanNode, definition: MaterializedViewDefinition): IndexDefinition[] {
  const key = keyOf(plan);
  return key === undefined || key.length === 0
    ? []
    : [
        {
          name: `${definition.name}_key`,
          columnIndexes: key,
          unique: true,
          primary: false,
          constraint: false,
        },
      ];
}

/** Output columns that hold all group keys, if the plan shows them. */
function keyOf(plan: PlanNode): readonly number[] | undefined {
  switch (plan.kind) {
    case 'aggregate':
      return plan.keys.map((_, index) => index);
    case 'distinct':
      return plan.columns.map((_, index) => index);
    case 'filter':
      return keyOf(plan.input);
    case 'project': {
      const inner = keyOf(plan.input);
      const shown = inner?.map((index) =>
        plan.expressions.findIndex((each) => each.kind === 'column' && each.index === index),
      );
      return shown?.every((index) => index >= 0) === true ? shown : undefined;
    }
    default:
      return undefined;
  }
}

function boundQuery(query: Query, catalog: PlanCatalog): BoundQuery {
  const bound = bindStatement({ kind: 'query', query }, catalog);
  if (bound.kind !== 'query') throw notSupported('a view of a statement that changes data');
  return bound;
}
