import { assert, DbError } from '../base/errors.ts';
import type { MemoryAccount } from '../base/memory.ts';
import type { Clock } from '../base/ports.ts';
import { instantMs, type InstantMs } from '../base/units.ts';
import type { Batch } from '../columns/batch.ts';
import { denseBatch, sliceBatch } from '../columns/build.ts';
import { LazyRows } from '../columns/lazy-rows.ts';
import { columnOf } from '../columns/rows-by-column.ts';
import type {
  IndexSchema,
  TableData,
  TableDelta,
  TableSchema,
  TableWrite,
} from '../columns/table-contract.ts';
import { createTable } from '../columns/table.ts';
import { Budget } from '../operators/operator.ts';
import { bindRowExpressions } from '../plan/bind.ts';
import type { ParsedStatement, Query, SqlExpression } from '../sql/ast.ts';
import type { KeptTable } from '../windows/kept-reading.ts';
import { KeptTiles, type KeptUndo } from '../windows/kept-tiles.ts';
import { LateRows, type LateImage } from '../windows/late-rows.ts';
import { roughAgeMs, type Policy } from '../windows/policy.ts';
import { timesOf } from '../windows/window-source.ts';
import { Calendars } from './calendars.ts';
import {
  Catalog,
  isStored,
  isUnjournaled,
  newSequenceEntry,
  tableInfo,
  viewInfo,
  withoutColumnRead,
  type CatalogEntry,
  type CatalogView,
  type StoredEntry,
  type TableEntry,
} from './catalog.ts';
import {
  isTableWork,
  relationsOf,
  type AppliedDefinition,
  type CommitState,
  type PartOwner,
} from './commit-turn.ts';
import { DeadTable } from './dead-table.ts';
import { DefinitionChanged } from './definition-changed.ts';
import { Grants } from './grants.ts';
import { KeyedWrites } from './idempotency.ts';
import { MaintainedView } from './maintained-view.ts';
import type {
  IndexDefinition,
  MaterializedViewDefinition,
  OnPoison,
  Operation,
  TableDefinition,
} from './records.ts';
import type { ViewBuilder } from './view-builder.ts';

/**
 * Everything the journal's records make: the catalog with its tables, views and sequences. Only the commit turn and
 * replay change it, through `applyDefinition` and the tables' own `stage`.
 */
export class DatabaseState implements CommitState {
  readonly catalog = new Catalog();
  readonly grants = new Grants();
  readonly keyedWrites = new KeyedWrites();
  readonly calendars = new Calendars();
  /**
   * Who is told that a calendar is another, or what a policy keeps of a relation: what they say of answers is not in any row.
   */
  readonly settingsWatchers = new Set<(relation: number | undefined) => void>();
  /** What policies have demoted of tables. */
  readonly #kept = new Map<number, KeptTiles>();
  /** Of tables whose policy says how late rows may come. */
  readonly #late = new Map<number, LateRows>();
  readonly memory: MemoryAccount;
  readonly #clock: Clock;
  readonly #parse: (text: string) => readonly ParsedStatement[];
  readonly #views: ViewBuilder;
  readonly #onViewsFailed: (views: readonly MaintainedView[], cause: unknown) => void;
  readonly #onTableBroke: (
    entry: TableEntry,
    corpse: TableData,
    cause: unknown,
  ) => { readonly refusal: () => DbError };
  readonly #rowsKnownUpTo: () => number;
  readonly #relationMade: (entry: CatalogEntry, position: number) => void;
  readonly #relationGone: (relation: number) => void;
  readonly #policyChanged: (relation: number, policy: Policy | undefined) => void;
  /** Views that were built aside, waiting for their commit. */
  readonly #prepared = new Map<number, MaintainedView>();
  #lastInstant = 0;
  readonly #lagging = new Set<MaintainedView>();
  /** Tables that broke, with what stands in the place of their rows. */
  readonly #dead = new Map<number, DeadTable>();
  /** By table and position: what its records did there is passed over. */
  readonly #skipped = new Map<number, Map<number, SkipDecision>>();
  #onPoison: OnPoison = 'hold';
  #newestMadeAt = 0;
  /** Views that a replay has met and passed by. */
  #unfilled: Set<MaintainedView> | undefined;

  constructor(options: {
    readonly memory: MemoryAccount;
    readonly clock: Clock;
    readonly parse: (text: string) => readonly ParsedStatement[];
    readonly views: ViewBuilder;
    /** A view that broke, and those downstream that it took along, lowest first. */
    readonly viewsFailed: (views: readonly MaintainedView[], cause: unknown) => void;
    /** A relation has been published, or is no more. */
    readonly relationMade: (entry: CatalogEntry, position: number) => void;
    readonly relationGone: (relation: number) => void;
    /** A table's policy has been published. */
    readonly policyChanged: (relation: number, policy: Policy | undefined) => void;
    /** A table broke: `corpse` is what it had. It serves nothing until `revive`; `refusal` says why. */
    readonly tableBroke: (
      entry: TableEntry,
      corpse: TableData,
      cause: unknown,
    ) => { readonly refusal: () => DbError };
    /** The newest position that everything staged reaches, but for the commit that is being staged. */
    readonly rowsKnownUpTo: () => number;
  }) {
    this.memory = options.memory;
    this.#clock = options.clock;
    this.#parse = options.parse;
    this.#views = options.views;
    this.#onViewsFailed = options.viewsFailed;
    this.#onTableBroke = options.tableBroke;
    this.#rowsKnownUpTo = options.rowsKnownUpTo;
    this.#relationMade = options.relationMade;
    this.#relationGone = options.relationGone;
    this.#policyChanged = options.policyChanged;
  }

  /** History, and texts that it alone names, go before rows are refused. */
  assertRoomToGrow(): void {
    if (this.memory.hasRoomFor(0)) return;
    for (const entry of this.catalog.all()) if (isStored(entry)) entry.data.freeMemory();
    this.memory.assertRoomToGrow();
  }

  nextInstant(): InstantMs {
    this.#lastInstant = Math.max(this.#lastInstant, this.#clock.now());
    return instantMs(this.#lastInstant);
  }

  /** Replay: the instant of a record that was read. */
  noteInstant(instant: number): void {
    this.#lastInstant = Math.max(this.#lastInstant, instant);
  }

  isUnjournaled(relation: number): boolean {
    const entry = this.catalog.byId(relation);
    return entry !== undefined && isUnjournaled(entry);
  }

  stored(relation: number): StoredEntry {
    const entry = this.catalog.byId(relation);
    if (!isStored(entry)) throw droppedMeanwhile();
    return entry;
  }

  viewsOn(relation: number): readonly MaintainedView[] {
    const views: MaintainedView[] = [];
    for (const entry of this.catalog.dependantsOf(relation))
      if (entry.kind === 'materializedView' && entry.view.inCommit) views.push(entry.view);
    return views;
  }

  viewsInOrder(changed: Iterable<number>): readonly MaintainedView[] {
    const relations = [...changed];
    const found: MaintainedView[] = [];
    /** Only views on several relations are met twice: needed from the second relation with views on. */
    let met: Set<MaintainedView> | undefined;
    for (let index = 0; index < relations.length; index += 1) {
      const dependants = this.catalog.dependantsOf(relations[index]!);
      if (dependants.length === 0) continue;
      if (found.length > 0) met ??= new Set(found);
      for (const entry of dependants) {
        if (entry.kind !== 'materializedView' || !entry.view.inCommit) continue;
        if (met?.has(entry.view) === true) continue;
        met?.add(entry.view);
        found.push(entry.view);
        relations.push(entry.view.relation);
      }
    }
    return found.length < 2
      ? found
      : found.sort((a, b) => a.height - b.height || a.relation - b.relation);
  }

  viewFailed(view: MaintainedView, cause: unknown): void {
    const failed = [view, ...this.viewsInOrder([view.relation])];
    const after = this.#rowsKnownUpTo();
    for (const each of failed) each.fail(cause, after, 'broke');
    for (const each of failed) this.#lagging.add(each);
    this.#onViewsFailed(failed, cause);
  }

  broke(owner: PartOwner, cause: unknown): void {
    if (typeof owner !== 'number') {
      if (!owner.lags) this.viewFailed(owner, cause);
      return;
    }
    const entry = this.catalog.byId(owner);
    if (entry?.kind === 'table' && !this.#dead.has(owner)) this.#tableBroke(entry, cause);
  }

  /**
   * The views on it go first: they serve what they had, and need not ask it for rows any more. They are made anew when it
   * serves again, since what it told them of its changes is not to be trusted either.
   */
  #tableBroke(entry: TableEntry, cause: unknown): void {
    const relation = entry.definition.id;
    for (const dependant of this.catalog.dependantsOf(relation)) {
      if (dependant.kind !== 'materializedView' || dependant.view.lags) continue;
      if (dependant.view.inCommit) this.viewFailed(dependant.view, cause);
    }
    const { refusal } = this.#onTableBroke(entry, entry.data, cause);
    const dead = new DeadTable(entry.data, refusal);
    this.#dead.set(relation, dead);
    this.catalog.put({ ...entry, data: dead });
  }

  undone(): void {
    for (const [relation, data] of this.#dead) {
      const entry = this.catalog.byId(relation);
      if (entry?.kind === 'table' && entry.data !== data) this.catalog.put({ ...entry, data });
    }
  }

  isDead(relation: number): boolean {
    return this.#dead.has(relation);
  }

  /** A table that was made anew serves, under the definition that it has now. False: it was dropped meanwhile. */
  revive(relation: number, data: TableData, position: number): boolean {
    this.#dead.delete(relation);
    const entry = this.catalog.byId(relation);
    if (entry?.kind !== 'table') return false;
    this.catalog.put({ ...entry, data });
    this.#newestMadeAt = Math.max(this.#newestMadeAt, position);
    return true;
  }

  skipDecision(relation: number, position: number): SkipDecision | undefined {
    return this.#skipped.get(relation)?.get(position);
  }

  get skips(): readonly (SkipDecision & {
    readonly relation: number;
    readonly position: number;
  })[] {
    return [...this.#skipped].flatMap(([relation, decisions]) =>
      [...decisions].map(([position, decision]) => ({ relation, position, ...decision })),
    );
  }

  /** What was decided before the journal begins, as a snapshot has it. */
  restoreDecisions(
    skips: readonly (SkipDecision & { readonly relation: number; readonly position: number })[],
    onPoison: OnPoison,
  ): void {
    for (const { relation, position, reason, by } of skips) {
      const decisions = this.#skipped.get(relation) ?? new Map<number, SkipDecision>();
      decisions.set(position, { reason, by });
      this.#skipped.set(relation, decisions);
    }
    this.#onPoison = onPoison;
  }

  get onPoison(): OnPoison {
    return this.#onPoison;
  }

  /** Of a record that is replayed, what is to be done: not what was decided to be skipped, nor what a table that broke would do. */
  replayed(operations: readonly Operation[], position: number): readonly Operation[] {
    if (this.#dead.size === 0 && this.#skipped.size === 0) return operations;
    return operations.filter(
      (operation) =>
        !isTableWork(operation) ||
        relationsOf(operation).every(
          (relation) =>
            !this.#dead.has(relation) && this.skipDecision(relation, position) === undefined,
        ),
    );
  }

  /** Whether views lag, and the position at which the newest one was made: who reads before it cannot read the view. */
  get viewsMade(): { readonly someLag: boolean; readonly newestMadeAt: number } {
    return { someLag: this.#lagging.size > 0, newestMadeAt: this.#newestMadeAt };
  }

  /**
   * From now on views that records create get no rows: filling each once from all there is in the end costs a fraction of following
   * every commit of a replay, and nobody reads them meanwhile. `fillViews` ends that.
   */
  passViewsBy(): void {
    this.#unfilled = new Set();
  }

  /**
   * Fills the views that were passed by from what is published at `position`, those first that others read: yields now and then. One
   * that cannot be filled is there and says so, if it is refreshed by time, if what it reads is out of service, or if that is our fault;
   * one that its commits would have refused is what the journal cannot have told, and throws.
   */
  *fillViews(position: number): Generator<void> {
    const views = [...(this.#unfilled ?? [])];
    this.#unfilled = undefined;
    const budget = new Budget(FILL_UNITS);
    for (const height of new Set(views.map((view) => view.height).sort((a, b) => a - b))) {
      const level = views.filter((view) => view.height === height);
      const troubles = new Map(level.map((view) => [view, this.#sourceTrouble(view)] as const));
      const steps = this.#views.fillTogether(
        level.filter((view) => troubles.get(view) === undefined),
        this.catalog,
        { position, budget },
        (view, cause) => {
          const trouble = this.#sourceTrouble(view);
          // A view that is kept by its commits was never refused by them.
          if (
            cause instanceof DbError &&
            view.options.refresh === 'commit' &&
            trouble === undefined
          )
            throw cause;
          troubles.set(view, trouble ?? cause);
        },
      );
      for (const _ of steps) {
        yield;
        budget.refill(FILL_UNITS);
      }
      for (const [view, trouble] of troubles) {
        if (trouble === undefined) view.wentLive(position);
        else this.#notFilled(view, trouble, position);
      }
    }
    if (views.length > 0) this.#newestMadeAt = Math.max(this.#newestMadeAt, position);
  }

  /** Why something that the view reads is out of service, if so. */
  #sourceTrouble(view: MaintainedView): unknown {
    for (const source of view.sources) {
      const entry = this.catalog.byId(source);
      if (entry?.kind === 'materializedView' && (entry.view.lags || !entry.view.serving))
        return entry.view.failure;
      const dead = this.#dead.get(source);
      if (dead !== undefined) return dead.refusal;
    }
    return undefined;
  }

  /** It has no rows, and is tried again: what it was half filled with is put away. */
  #notFilled(view: MaintainedView, cause: unknown, position: number): void {
    view.replace(this.#views.unfilled(view.definition, this.catalog).takeParts());
    view.data.beginHistory(position);
    view.wentLive(position);
    if (view.options.refresh === 'commit') this.viewFailed(view, cause);
    else view.fail(cause, position, 'gaveUp');
    view.serving = false;
    this.catalog.put(this.materializedViewEntry(view));
  }

  /** A view that was filled outside the commit turn and is caught up inside it. */
  prepareView(view: MaintainedView): void {
    this.#prepared.set(view.relation, view);
  }

  #settingsPublished(relation: number | undefined): void {
    for (const watcher of this.settingsWatchers) watcher(relation);
  }

  forgetPrepared(relation: number): void {
    this.#prepared.get(relation)?.close();
    this.#prepared.delete(relation);
  }

  *applyDefinition(
    operation: Exclude<Operation, { op: 'rows' }>,
    options: { readonly limits: boolean },
  ): Generator<void, AppliedDefinition> {
    const { catalog } = this;
    switch (operation.op) {
      case 'createTable': {
        this.#refuseTaken(operation.table);
        const entry = this.tableEntry(operation.table);
        const undo = catalog.put(entry);
        return {
          undo: () => {
            undo();
            entry.data.close();
          },
          published: (position) => {
            // Another may have had its name before.
            entry.data.beginHistory(position);
            this.#relationMade(entry, position);
            if (entry.definition.policy !== undefined)
              this.#policyPublished(entry.definition.id, entry.definition.policy);
          },
        };
      }
      case 'createView': {
        // Of that id it is there already where it is replaced.
        if (catalog.byId(operation.view.id)?.kind !== 'view') this.#refuseTaken(operation.view);
        return { undo: catalog.put(this.viewEntry(operation.view)) };
      }
      case 'createMaterializedView': {
        this.#refuseTaken(operation.view);
        const prepared = this.#prepared.get(operation.view.id);
        if (prepared === undefined && options.limits) this.#views.check(operation.view, catalog);
        const unfilled = prepared === undefined ? this.#unfilled : undefined;
        const view =
          prepared ??
          (unfilled === undefined
            ? yield* this.#views.build(operation.view, catalog, options)
            : this.#views.unfilled(operation.view, catalog));
        this.#prepared.delete(operation.view.id);
        const entry = this.materializedViewEntry(view);
        const undo = catalog.put(entry);
        unfilled?.add(view);
        // What is staged from now on reaches it, though it is not published yet.
        if (unfilled === undefined) view.wentLive(view.position);
        view.isProvisional = prepared === undefined && this.#views.readsBehind(view, catalog);
        return {
          undo: () => {
            undo();
            unfilled?.delete(view);
            view.close();
          },
          published: (position) => {
            // A view that was filled aside was published then.
            if (prepared === undefined && unfilled === undefined) view.filled(position);
            this.#newestMadeAt = Math.max(this.#newestMadeAt, position);
            this.#relationMade(entry, position);
          },
        };
      }
      case 'createSequence': {
        this.#refuseTaken(operation.sequence);
        return { undo: catalog.put(newSequenceEntry(operation.sequence)) };
      }
      case 'sequenceValue': {
        const entry = catalog.byId(operation.sequence);
        const { value, called, changeNumber } = operation;
        // Live the change is there already, but for a sequence that this commit creates.
        if (entry?.kind === 'sequence' && entry.state.changeNumber < changeNumber)
          Object.assign(entry.state, { value, called, changeNumber });
        return { undo: () => undefined };
      }
      case 'createSchema':
        if (catalog.hasSchema(operation.tenant, operation.name))
          throw new DbError('42P06', `schema "${operation.name}" already exists`);
        return { undo: catalog.addSchema(operation.tenant, operation.name) };
      case 'setCalendar':
        return {
          undo: this.calendars.set(operation.tenant, operation.name, operation.spec),
          published: () => this.#settingsPublished(undefined),
        };
      case 'keepTiles': {
        const { relation, change } = operation;
        return this.#toldKept(relation, yield* this.keptOf(relation).apply(change, options.limits));
      }
      case 'setPolicy': {
        const entry = catalog.byId(operation.relation);
        if (entry?.kind !== 'table') throw droppedMeanwhile();
        return {
          undo: catalog.put(withPolicy(entry, operation.policy)),
          published: () => {
            this.#policyPublished(operation.relation, operation.policy);
            this.#settingsPublished(operation.relation);
          },
        };
      }
      case 'dropSchema':
        return { undo: catalog.removeSchema(operation.tenant, operation.name) };
      case 'dropRelation': {
        const entry = catalog.byId(operation.relation);
        if (entry === undefined) throw droppedMeanwhile();
        const undo = catalog.remove(operation.relation);
        return {
          undo: () => {
            undo();
            // Whoever would have made it anew has looked away meanwhile.
            if (entry.kind === 'materializedView' && entry.view.lags)
              this.#relationMade(entry, entry.view.position);
          },
          published: () => {
            closeEntry(entry);
            this.grants.forget(operation.relation);
            if (entry.kind === 'materializedView') {
              this.#lagging.delete(entry.view);
              this.#unfilled?.delete(entry.view);
            }
            this.#dead.delete(operation.relation);
            this.#skipped.delete(operation.relation);
            this.#kept.get(operation.relation)?.close();
            this.#kept.delete(operation.relation);
            this.#relationGone(operation.relation);
            this.#policyPublished(operation.relation, undefined);
          },
        };
      }
      case 'renameRelation': {
        const entry = catalog.byId(operation.relation);
        if (entry === undefined) throw droppedMeanwhile();
        const definition = { ...entry.definition, name: operation.name };
        this.#refuseTaken(definition);
        if (entry.kind === 'materializedView')
          return {
            undo: this.#redefine(entry.view, { ...entry.definition, name: operation.name }),
          };
        return { undo: catalog.put(renamed(entry, operation.name)) };
      }
      case 'alterTable': {
        const applied = yield* this.#alterTable(operation, options);
        return {
          ...applied,
          published: (position) => {
            applied.published?.(position);
            this.#policyPublished(operation.table.id, operation.table.policy);
          },
        };
      }
      case 'addIndex':
        return yield* this.#addIndex(operation.relation, operation.index);
      case 'dropIndex':
        return this.#dropIndex(operation.relation, operation.name);
      case 'alterMaterializedView': {
        const entry = catalog.byId(operation.relation);
        if (entry?.kind !== 'materializedView') throw droppedMeanwhile();
        const { view } = entry;
        // Live it has been caught up before, in the same turn.
        const isReplay = !options.limits && this.#unfilled?.has(view) !== true;
        if (isReplay && view.options.refresh !== 'commit' && operation.options.refresh === 'commit')
          this.replaceView(view, yield* this.#views.buildTakenOver(view, catalog));
        return { undo: this.#redefine(view, { ...view.definition, options: operation.options }) };
      }
      case 'grant': {
        const { relation, to, granted } = operation;
        if (catalog.byId(relation) === undefined) throw droppedMeanwhile();
        return { undo: this.grants.set(relation, to, granted) };
      }
      case 'keyedWrite': {
        const { key, rows, chunks, done } = operation;
        return {
          undo: () => undefined,
          published: (position) => this.keyedWrites.set(key, { position, rows, chunks, done }),
        };
      }
      case 'skip': {
        const { relation, position, reason, by } = operation;
        const decisions = this.#skipped.get(relation) ?? new Map<number, SkipDecision>();
        this.#skipped.set(relation, decisions);
        const before = decisions.get(position);
        decisions.set(position, { reason, by });
        return {
          undo: () => {
            if (before === undefined) decisions.delete(position);
            else decisions.set(position, before);
          },
        };
      }
      case 'recoveryPolicy': {
        const before = this.#onPoison;
        this.#onPoison = operation.onPoison;
        return { undo: () => void (this.#onPoison = before) };
      }
      case 'compact': {
        const { data } = this.stored(operation.relation);
        return { undo: () => undefined, published: () => data.compact(operation.segment) };
      }
    }
  }

  tableEntry(
    definition: TableDefinition,
    data: TableData = createTable(schemaOf(definition), { memory: this.memory }),
  ): TableEntry {
    return {
      kind: 'table',
      definition,
      data,
      info: tableInfo(definition, (text) => this.parseExpression(text)),
    };
  }

  viewEntry(
    definition: Extract<Operation, { op: 'createView' }>['view'],
    catalog: CatalogView = this.catalog,
  ): CatalogEntry {
    const query = this.parseQuery(definition.text);
    const columns = this.#views.columnsOf(definition, query, catalog);
    return {
      kind: 'view',
      definition,
      query,
      info: viewInfo(definition, 'view', columns, query, []),
    };
  }

  materializedViewEntry(view: MaintainedView): CatalogEntry {
    const { definition, query, columns, data } = view;
    return {
      kind: 'materializedView',
      definition,
      query,
      data,
      view,
      info: viewInfo(definition, 'materializedView', columns, query, view.indexes),
    };
  }

  /** Demoted rows of a table, to be added to. */
  keptOf(relation: number): KeptTiles {
    let kept = this.#kept.get(relation);
    if (kept === undefined) this.#kept.set(relation, (kept = new KeptTiles(this.memory)));
    return kept;
  }

  /** Undefined where nothing has been demoted. */
  findKept(relation: number): KeptTiles | undefined {
    return this.#kept.get(relation);
  }

  /** The same with what errors say of the table. */
  keptTable(relation: number): KeptTable | undefined {
    const tiles = this.#kept.get(relation);
    const entry = tiles === undefined || tiles.isEmpty ? undefined : this.catalog.byId(relation);
    if (entry?.kind !== 'table') return undefined;
    const { name, columns, policy } = entry.definition;
    return { tiles: tiles!, name, columns, policy };
  }

  #policyPublished(relation: number, policy: Policy | undefined): void {
    if (policy?.lateness === undefined) this.#late.delete(relation);
    else if (!this.#late.has(relation)) this.#late.set(relation, new LateRows());
    this.#policyChanged(relation, policy);
  }

  arrived(deltas: ReadonlyMap<number, readonly TableDelta[]>, instantMs: number): void {
    for (const [relation, late] of this.#late) {
      const changes = deltas.get(relation);
      const entry = changes === undefined ? undefined : this.catalog.byId(relation);
      if (entry?.kind !== 'table' || entry.definition.policy?.lateness === undefined) continue;
      const { time, lateness } = entry.definition.policy;
      const column = entry.definition.columns.findIndex(({ name }) => name === time);
      const since = (instantMs - roughAgeMs(lateness)!) * 1000;
      for (const { deleted, inserted } of changes!) {
        // Rows that were changed have not just arrived.
        if (inserted === undefined || (deleted?.rowCount ?? 0) > 0) continue;
        const { rowCount, selection } = inserted;
        late.note(timesOf(columnOf(inserted, column), rowCount, selection), since);
      }
    }
  }

  /** Undefined where no policy says what is late. */
  lateOf(relation: number): LateRows | undefined {
    return this.#late.get(relation);
  }

  /** For snapshots. */
  lateImages(): (LateImage & { readonly relation: number })[] {
    return [...this.#late].map(([relation, late]) => ({ relation, ...late.image() }));
  }

  restoreLate(images: readonly (LateImage & { readonly relation: number })[]): void {
    for (const { relation, ...image } of images) this.#late.set(relation, LateRows.of(image));
  }

  truncated(relation: number): AppliedDefinition | undefined {
    const kept = this.#kept.get(relation);
    if (kept === undefined || kept.isEmpty) return undefined;
    const steps = kept.apply({ kind: 'drop', until: Infinity }, false);
    for (;;) {
      const step = steps.next();
      if (step.done === true) return this.#toldKept(relation, step.value);
    }
  }

  /** A change of what is kept of a relation, of which those are told whose answers have it. */
  #toldKept(relation: number, { undo, published }: KeptUndo): AppliedDefinition {
    return {
      undo,
      published: (position) => {
        published(position);
        this.#settingsPublished(relation);
      },
    };
  }

  parseQuery(text: string): Query {
    const statement = this.#parse(text)[0]?.statement;
    assert(statement?.kind === 'query', 'the text of a view is a query');
    return statement.query;
  }

  parseExpression(text: string): SqlExpression {
    const statement = this.#parse(`SELECT ${text}`)[0]?.statement;
    assert(
      statement?.kind === 'query' && statement.query.body.kind === 'select',
      'the text of an expression stands in a SELECT',
    );
    const item = statement.query.body.items[0];
    assert(item?.kind === 'expression', 'the text of an expression is one item');
    return item.expression;
  }

  /** Binds a table's defaults, generated columns and checks: throws what keeps them from being used. */
  checkTable(definition: TableDefinition): ReturnType<typeof bindRowExpressions> {
    return bindRowExpressions(tableInfo(definition, (text) => this.parseExpression(text)));
  }

  renamed(entry: CatalogEntry, name: string): CatalogEntry {
    return renamed(entry, name);
  }

  #redefine(view: MaintainedView, definition: MaterializedViewDefinition): () => void {
    const before = view.definition;
    view.definition = definition;
    const undo = this.catalog.put(this.materializedViewEntry(view));
    return () => {
      undo();
      view.definition = before;
    };
  }

  /** A rebuilt view's operators and rows take the place of the broken ones. */
  replaceView(view: MaintainedView, fresh: MaintainedView): void {
    view.replace(fresh.takeParts());
    view.wentLive(fresh.position);
    this.#lagging.delete(view);
    this.#newestMadeAt = Math.max(this.#newestMadeAt, fresh.position);
    this.catalog.put(this.materializedViewEntry(view));
  }

  close(): void {
    for (const kept of this.#kept.values()) kept.close();
    for (const entry of this.catalog.all().toReversed()) closeEntry(entry);
    for (const view of this.#prepared.values()) view.close();
  }

  *#alterTable(
    operation: Extract<Operation, { op: 'alterTable' }>,
    options: { readonly limits: boolean },
  ): Generator<void, AppliedDefinition> {
    const entry = this.catalog.byId(operation.table.id);
    if (entry?.kind !== 'table') throw droppedMeanwhile();
    const { data } = operation;
    switch (data.kind) {
      case 'keep': {
        entry.data.alterSchema(schemaOf(operation.table));
        const undo = this.catalog.put(this.tableEntry(operation.table, entry.data));
        return {
          undo: () => {
            undo();
            entry.data.alterSchema(schemaOf(entry.definition));
          },
        };
      }
      case 'addColumn': {
        const index = operation.table.columns.length - 1;
        entry.data.addColumn(schemaOf(operation.table).columns[index]!, data.value);
        const undo = this.catalog.put(this.tableEntry(operation.table, entry.data));
        return {
          undo: () => {
            undo();
            entry.data.dropColumn(index);
          },
        };
      }
      case 'dropColumn':
      case 'rewrite': {
        // A table of its own takes the rows over: the old one is what undo puts back and open readers go on with.
        const next = this.tableEntry(operation.table);
        let pieces = 0;
        let isDone = false;
        try {
          const inserts =
            data.kind === 'rewrite' ? piecesOf(data.rows) : withoutColumn(entry.data, data.index);
          for (const rows of inserts) {
            if (pieces > 0) yield;
            next.data.stage([{ kind: 'insert', rows }], options);
            pieces += 1;
          }
          // A table without rows begins here too.
          if (pieces === 0) {
            next.data.stage([], options);
            pieces = 1;
          }
          isDone = true;
        } finally {
          if (!isDone) next.data.close();
        }
        const undo = this.catalog.put(next);
        const dropped =
          data.kind === 'dropColumn'
            ? data.index
            : columnDropped(entry.definition, operation.table);
        const moveBack = dropped < 0 ? undefined : this.#columnDropped(operation.table.id, dropped);
        const before =
          data.kind === 'rewrite' && this.viewsOn(operation.table.id).length > 0
            ? new LazyRows(entry.data.staged())
            : undefined;
        if (dropped >= 0) before?.dropColumn(dropped);
        return {
          dropped: dropped < 0 ? undefined : dropped,
          // Inside a transaction, the rows that it has changed are among them.
          rewritten:
            before === undefined
              ? undefined
              : { deleted: before, inserted: new LazyRows(next.data.staged()) },
          undo: () => {
            moveBack?.();
            undo();
            next.data.close();
          },
          published: (position) => {
            for (let piece = 0; piece < pieces; piece += 1) next.data.publish(position);
            // What came before is not told by a table whose rows all begin here.
            next.data.expire(position);
            entry.data.close();
          },
        };
      }
    }
  }

  /** What goes by the places of a table's columns knows of one that is gone; gives what undoes it. */
  #columnDropped(relation: number, index: number): () => void {
    const undo: (() => void)[] = [];
    const moveBack = this.#kept.get(relation)?.columnDropped(index);
    if (moveBack !== undefined) undo.push(moveBack);
    for (const each of this.catalog.dependantsOf(relation)) {
      if (each.kind === 'materializedView') {
        undo.push(each.view.columnDropped(relation, index));
        const { definition } = withoutColumnRead(each, relation, index);
        undo.push(this.#redefine(each.view, definition));
      } else if (each.kind === 'view')
        undo.push(this.catalog.put(withoutColumnRead(each, relation, index)));
    }
    return () => {
      for (const each of undo.toReversed()) each();
    };
  }

  *#addIndex(relation: number, index: IndexDefinition): Generator<void, AppliedDefinition> {
    const entry = this.catalog.byId(relation);
    if (entry?.kind !== 'table') throw droppedMeanwhile();
    let rowsOfStep = 0;
    for (const rows of entry.data.addIndexInSteps(index)) {
      rowsOfStep += rows;
      if (rowsOfStep < ROWS_A_STEP) continue;
      rowsOfStep = 0;
      yield;
    }
    const undo = this.catalog.put(
      this.tableEntry(
        { ...entry.definition, indexes: [...entry.definition.indexes, index] },
        entry.data,
      ),
    );
    return {
      undo: () => {
        undo();
        entry.data.dropIndex(index.name);
      },
    };
  }

  #dropIndex(relation: number, name: string): AppliedDefinition {
    const entry = this.catalog.byId(relation);
    if (entry?.kind !== 'table') throw droppedMeanwhile();
    const index = entry.definition.indexes.find((each) => each.name === name);
    if (index === undefined) throw droppedMeanwhile();
    entry.data.dropIndex(name);
    const undo = this.catalog.put(
      this.tableEntry(
        { ...entry.definition, indexes: entry.definition.indexes.filter((each) => each !== index) },
        entry.data,
      ),
    );
    return {
      undo: () => {
        undo();
        entry.data.addIndex(index);
      },
    };
  }

  #refuseTaken(name: {
    readonly tenant: string;
    readonly schema: string;
    readonly name: string;
  }): void {
    if (this.catalog.byName(name) !== undefined) {
      throw new DbError('42P07', `relation "${name.name}" already exists`, { table: name.name });
    }
  }
}

/** The same table with another policy. */
export function withPolicy(entry: TableEntry, policy: Policy | undefined): TableEntry {
  return { ...entry, definition: { ...entry.definition, policy } };
}

export type SkipDecision = { readonly reason: string; readonly by: string };

export function schemaOf(definition: TableDefinition): TableSchema {
  return {
    columns: definition.columns.map(({ name, type, nullable }) => ({ name, type, nullable })),
    indexes: definition.indexes.map(({ name, columnIndexes, unique, primary }): IndexSchema => ({
      name,
      columnIndexes,
      unique,
      primary,
    })),
    seed: definition.seed,
    ...(definition.timeColumn === undefined
      ? {}
      : { timeColumn: definition.columns.findIndex(({ name }) => name === definition.timeColumn) }),
  };
}

/** Of a table that is written anew: the column that is missing, −1 where all are there. */
export function columnDropped(before: TableDefinition, after: TableDefinition): number {
  if (after.columns.length >= before.columns.length) return -1;
  const index = after.columns.findIndex(({ name }, at) => name !== before.columns[at]!.name);
  return index < 0 ? after.columns.length : index;
}

function closeEntry(entry: CatalogEntry): void {
  if (entry.kind === 'materializedView') entry.view.close();
  else if (entry.kind === 'table') entry.data.close();
}

function renamed(entry: CatalogEntry, name: string): CatalogEntry {
  if (entry.kind === 'sequence') return { ...entry, definition: { ...entry.definition, name } };
  const info = { ...entry.info, name };
  switch (entry.kind) {
    case 'table':
      return { ...entry, info, definition: { ...entry.definition, name } };
    case 'view':
      return { ...entry, info, definition: { ...entry.definition, name } };
    case 'materializedView':
      return { ...entry, info, definition: { ...entry.definition, name } };
  }
}

/** Work between two pauses while views are filled. */
const FILL_UNITS = 5000;
/** Rows that definitions move in one step. */
const ROWS_A_STEP = 2048;

function* piecesOf(write: TableWrite): Generator<Batch> {
  assert(write.kind === 'insert', 'a table is rewritten by one insert');
  const { rows } = write;
  for (let start = 0; start < rows.rowCount; start += ROWS_A_STEP)
    yield sliceBatch(rows, start, Math.min(rows.rowCount, start + ROWS_A_STEP));
}

/** All rows of a table but for one column, in arrival order. */
function* withoutColumn(data: TableData, dropped: number): Generator<Batch> {
  const snapshot = data.staged();
  try {
    const scan = snapshot.scan({
      columnIndexes: data.schema.columns.flatMap((_, index) => (index === dropped ? [] : [index])),
      ordered: true,
      withRowIds: false,
    });
    for (let batch = scan.next(); batch !== undefined; batch = scan.next()) yield denseBatch(batch);
  } finally {
    snapshot.release();
  }
}

function droppedMeanwhile(): DefinitionChanged {
  return new DefinitionChanged(undefined);
}
