import type { TimerHandle } from '../base/ports.ts';
import { tenantId } from '../base/units.ts';
import type { TableDelta } from '../columns/table-contract.ts';
import type { ActorRef } from '../mailbox/actor.ts';
import { isStored } from './catalog.ts';
import type { Engine } from './engine.ts';
import type { MaintainedView } from './maintained-view.ts';
import { isInCatalog } from './view-builder.ts';

/**
 * What must be done some time, in short steps between everything else: sealing full segments, refreshing interval views,
 * building failed views anew. Runs as an actor of the database's own tenant in the bulk lane, so nobody waits for it.
 */
export class Housekeeping {
  readonly #engine: Engine;
  readonly #actor: ActorRef<'step'>;
  readonly #timers = new Map<number, TimerHandle>();
  /** Tables with steps to do. */
  readonly #pending = new Set<number>();
  #pressureTold = false;
  /** The position that changed a relation last. */
  readonly #versions = new Map<number, number>();
  /** Grows when tables have grown so much that plans may want to change. */
  statisticsEpoch = 0;
  #plannedRows = 0;
  readonly #broken = new Set<MaintainedView>();
  #rebuilding = false;

  constructor(engine: Engine) {
    this.#engine = engine;
    this.#actor = engine.dispatcher.spawn<'step'>({
      name: 'housekeeping',
      tenant: tenantId('adb'),
      start: () => (_message, context) => {
        const relation = this.#pending.values().next().value;
        if (relation === undefined) return 'continue';
        const entry = engine.state.catalog.byId(relation);
        const units = Math.min(context.stepBudget, MAINTAIN_UNITS_MAX);
        const more = isStored(entry) && entry.data.maintain(units);
        context.charge(units);
        // The next table first, so that a large one does not hold up the others.
        this.#pending.delete(relation);
        if (more) this.#pending.add(relation);
        if (this.#pending.size > 0) context.self.tell('step', 'bulk');
        return 'continue';
      },
    });
  }

  published(position: number, deltas: ReadonlyMap<number, readonly TableDelta[]>): void {
    const { catalog } = this.#engine.state;
    for (const [relation, changes] of deltas) {
      this.#versions.set(relation, position);
      for (const { inserted } of changes) this.#plannedRows += inserted?.rowCount ?? 0;
      const entry = catalog.byId(relation);
      if (!isStored(entry)) continue;
      if (entry.data.needsUpkeep) this.maintain(relation);
      for (const dependant of catalog.dependantsOf(relation)) {
        if (dependant.kind === 'materializedView' && !dependant.view.inCommit)
          this.#scheduleRefresh(dependant.view);
      }
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

  /** Moves with every change of the relation's rows. */
  versionOf(relation: number): number {
    return this.#versions.get(relation) ?? 0;
  }

  maintain(relation: number): void {
    const wasIdle = this.#pending.size === 0;
    this.#pending.add(relation);
    if (wasIdle) this.#actor.tell('step', 'bulk');
  }

  /** Commit views broke: they serve what they had, and are built anew aside, each after those it reads. */
  viewsFailed(views: readonly MaintainedView[], cause: unknown): void {
    const engine = this.#engine;
    for (const view of views) {
      engine.events.emit('view.failed', {
        view: view.definition.name,
        position: view.failedAfter,
        cause,
      });
      engine.metrics.viewFailed();
      this.#broken.add(view);
    }
    if (!this.#rebuilding) void this.#rebuildAll();
  }

  async #rebuildAll(): Promise<void> {
    this.#rebuilding = true;
    const engine = this.#engine;
    const { clock } = engine.ports;
    const attempts = new Map<MaintainedView, number>();
    while (this.#broken.size > 0 && !engine.closed) {
      const [view] = [...this.#broken].sort((a, b) => a.height - b.height);
      if (!isInCatalog(engine, view!)) {
        this.#broken.delete(view!);
        continue;
      }
      const started = clock.monotonicMs();
      try {
        await engine.views.rebuild(engine, view!);
        if (!isInCatalog(engine, view!)) continue;
        // It may have broken again in the commit that came right after.
        if (!view!.inCommit) continue;
        this.#broken.delete(view!);
        engine.subscriptions.wake(view!.relation);
        engine.events.emit('view.rebuilt', {
          view: view!.definition.name,
          position: engine.visiblePosition,
          elapsedMs: clock.monotonicMs() - started,
        });
      } catch (failure) {
        const attempt = (attempts.get(view!) ?? 0) + 1;
        attempts.set(view!, attempt);
        if (attempt < REBUILD_ATTEMPTS_MAX) {
          await new Promise<void>((resolve) => void clock.after(50 * 2 ** attempt, resolve));
          continue;
        }
        this.#broken.delete(view!);
        view!.fail(failure, view!.failedAfter, 'failed');
      }
    }
    this.#rebuilding = false;
  }

  close(): void {
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
    this.#actor.stop();
  }

  #scheduleRefresh(view: MaintainedView): void {
    if (this.#timers.has(view.relation) || typeof view.options.refresh !== 'number') return;
    const timer = this.#engine.ports.clock.after(view.options.refresh, () => {
      this.#timers.delete(view.relation);
      if (this.#engine.closed) return;
      this.#engine.views.refresh(this.#engine, view).then(
        (changed) => {
          if (!changed) return;
          this.#engine.subscriptions.wake(view.relation);
          for (const dependant of this.#engine.state.catalog.dependantsOf(view.relation)) {
            if (dependant.kind === 'materializedView') this.#scheduleRefresh(dependant.view);
          }
        },
        (cause: unknown) => {
          view.fail(cause, view.position, 'failed');
          this.#engine.events.emit('view.failed', {
            view: view.definition.name,
            position: this.#engine.visiblePosition,
            cause,
          });
        },
      );
    });
    this.#timers.set(view.relation, timer);
  }
}

const REBUILD_ATTEMPTS_MAX = 5;
/** Rows written before plans are made anew; the next time it takes twice, three times, … as many. */
const PLANNED_ROWS_MAX = 10_000;
/** Half a step of sealing: rows move at a few nanoseconds a value. */
const MAINTAIN_UNITS_MAX = 8_000;
