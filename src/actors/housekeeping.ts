import type { TableDelta } from '../columns/table-contract.ts';
import { isStored } from './catalog.ts';
import type { Engine } from './engine.ts';
import type { MaintainedView } from './maintained-view.ts';
import type { Shadow } from './view-builder.ts';

/**
 * Looks at what commits have changed and tells the actors whose business it is: tables and views that want upkeep, views that
 * are refreshed by time, views that broke.
 */
export class Housekeeping {
  readonly #engine: Engine;
  #pressureTold = false;
  /** The position that changed a relation last. */
  readonly #versions = new Map<number, number>();
  /** Grows when tables have grown so much that plans may want to change. */
  statisticsEpoch = 0;
  #plannedRows = 0;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  published(position: number, deltas: ReadonlyMap<number, readonly TableDelta[]>): void {
    for (const [relation, changes] of deltas) {
      this.#versions.set(relation, position);
      for (const { inserted } of changes) this.#plannedRows += inserted?.rowCount ?? 0;
      this.#lookAfter(relation);
    }
    if (this.#plannedRows > PLANNED_ROWS_MAX * (this.statisticsEpoch + 1)) {
      this.#plannedRows = 0;
      this.statisticsEpoch += 1;
    }
    const { memory, events } = this.#engine;
    const pressed = memory.usedBytes > memory.limitBytes * 0.9;
    if (pressed && !this.#pressureTold)
      events.emit('memory.pressure', {
        usedBytes: memory.usedBytes,
        limitBytes: memory.limitBytes,
      });
    this.#pressureTold = pressed;
  }

  /**
   * What has another definition, and other rows with it, maybe: it may want upkeep, views that are refreshed by time look, and so does one of
   * them that may have to be refreshed sooner now.
   */
  defined(relations: readonly number[]): void {
    const { state, tree } = this.#engine;
    for (const relation of relations) {
      if (state.catalog.byId(relation)?.kind === 'materializedView')
        tree.tellView(relation, CHANGED);
      this.#lookAfter(relation);
    }
  }

  #lookAfter(relation: number): void {
    const entry = this.#engine.state.catalog.byId(relation);
    if (isStored(entry) && entry.data.needsUpkeep) this.maintain(relation);
    this.#tellDependants(relation, CHANGED);
  }

  /** Moves with every change of the relation's rows. */
  versionOf(relation: number): number {
    return this.#versions.get(relation) ?? 0;
  }

  /** It is dropped: its number is nobody else's. */
  forget(relation: number): void {
    this.#versions.delete(relation);
  }

  maintain(relation: number): void {
    this.#engine.tree.tellTable(relation);
  }

  /** Commit views broke: they serve what they had, and are made anew beside it, each after those it reads. */
  viewsFailed(views: readonly MaintainedView[], cause: unknown): void {
    const { events, metrics, tree } = this.#engine;
    for (const view of views) {
      events.emit('view.failed', { view: view.definition.name, position: view.failedAfter, cause });
      metrics.viewFailed();
      tree.tellView(view.relation, REMAKE);
    }
  }

  /** Whether a table or view that this one reads has failed and does not serve again. */
  sourcesLag(view: MaintainedView): boolean {
    const { state } = this.#engine;
    return view.sources.some((source) => {
      const entry = state.catalog.byId(source);
      if (entry?.kind === 'materializedView') return entry.view.lags || !entry.view.serving;
      return state.isDead(source);
    });
  }

  /** Views that are refreshed by time begin anew, too: what the table told them of its changes is not to be trusted. */
  tableBroke(relation: number, cause: unknown): void {
    for (const dependant of this.#engine.state.catalog.dependantsOf(relation)) {
      if (dependant.kind !== 'materializedView') continue;
      const { view } = dependant;
      if (view.status === 'live' && !view.inCommit) this.refreshFailed(view, cause);
    }
  }

  /** It serves again: who reads it is made anew, and who follows it learns of it. */
  tableMended(relation: number): void {
    const { state, subscriptions, tree } = this.#engine;
    subscriptions.wake(relation);
    for (const dependant of state.catalog.dependantsOf(relation)) {
      if (dependant.kind !== 'materializedView') continue;
      tree.tellView(dependant.view.relation, dependant.view.lags ? REMAKE : CHANGED);
    }
  }

  viewRemade(view: MaintainedView, startedMs: number, { checked, differed }: Shadow): void {
    const { events, metrics, ports, subscriptions, visiblePosition } = this.#engine;
    metrics.viewRebuilt(differed);
    this.#engine.compaction.forget(view.relation);
    subscriptions.wake(view.relation);
    events.emit('view.rebuilt', {
      view: view.definition.name,
      position: visiblePosition,
      elapsedMs: ports.clock.monotonicMs() - startedMs,
      checked,
      differed,
    });
    this.#tellDependants(view.relation, REMAKE);
  }

  /** A view that is refreshed by time has other rows now. */
  viewRefreshed(view: MaintainedView): void {
    this.#engine.subscriptions.wake(view.relation);
    this.#tellDependants(view.relation, CHANGED);
  }

  refreshFailed(view: MaintainedView, cause: unknown): void {
    view.fail(cause, view.position, 'gaveUp');
    this.#engine.events.emit('view.failed', {
      view: view.definition.name,
      position: view.position,
      cause,
    });
  }

  /** Its actor has tried often enough: the view stays as it is, and so do those above it. */
  viewGivenUp(view: MaintainedView, cause: unknown): void {
    if (!view.lags) return;
    view.fail(cause, view.failedAfter, 'gaveUp');
    this.#engine.events.emit('view.failed', {
      view: view.definition.name,
      position: view.failedAfter,
      cause,
    });
    for (const dependant of this.#engine.state.catalog.dependantsOf(view.relation))
      if (dependant.kind === 'materializedView') this.viewGivenUp(dependant.view, cause);
  }

  #tellDependants(relation: number, message: typeof REMAKE | typeof CHANGED): void {
    for (const dependant of this.#engine.state.catalog.dependantsOf(relation)) {
      if (dependant.kind !== 'materializedView') continue;
      if (message === REMAKE ? dependant.view.lags : !dependant.view.inCommit)
        this.#engine.tree.tellView(dependant.view.relation, message);
    }
  }
}

const CHANGED = { kind: 'changed' } as const;
const REMAKE = { kind: 'remake' } as const;
/** Rows written before plans are made anew; the next time it takes twice, three times, … as many. */
const PLANNED_ROWS_MAX = 10_000;
