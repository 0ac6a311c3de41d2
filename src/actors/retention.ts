import type { TimerHandle } from '../base/ports.ts';
import { tenantId } from '../base/units.ts';
import type { Batch } from '../columns/batch.ts';
import { denseBatch, gather } from '../columns/build.ts';
import type { Vector } from '../columns/vector.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import { KeptCellMaker, shapeOf } from '../windows/kept-cells.ts';
import type { KeptAddition, KeptChange, KeptShape } from '../windows/kept-tiles.ts';
import { roughAgeMs, type Policy } from '../windows/policy.ts';
import { RetentionPlan, TIME_MIN } from '../windows/retention-plan.ts';
import { QUARTER } from '../windows/tile-time.ts';
import { timesOf } from '../windows/window-source.ts';
import type { TableEntry } from './catalog.ts';
import type { Engine } from './engine.ts';
import type { Operation } from './records.ts';

/**
 * Does what policies say once it is time: rows that are old enough are deleted, in commits of a few, each with what is kept of them;
 * tiles become coarser, and go. Sleeps while no table has a retention.
 *
 * It is the clock that decides when, and the journal what: replay demotes the same rows in the same records.
 */
export class Retention {
  readonly #engine: Engine;
  /** Tables with a retention, and when they are looked at next. */
  readonly #dueMs = new Map<number, number>();
  /** How often in a row it has failed, by table. */
  readonly #failures = new Map<number, number>();
  /** Rows that are old enough and stay, since tiles cannot hold their values, as of the last look. */
  readonly #held = new Map<number, number>();
  #timer: TimerHandle | undefined;
  #timerMs = Infinity;
  #isRunning = false;
  /** The journal is being read: what it says comes first. */
  #isHeld = false;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  hold(): void {
    this.#isHeld = true;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerMs = Infinity;
  }

  resume(): void {
    this.#isHeld = false;
    this.#arm();
  }

  /** A table's policy is another one, or the table is new. */
  policyChanged(relation: number, policy: Policy | undefined): void {
    if (policy === undefined || policy.retention.length === 0) {
      this.#dueMs.delete(relation);
      this.#failures.delete(relation);
      this.#held.delete(relation);
      return;
    }
    this.#dueMs.set(relation, this.#engine.ports.clock.now() + FIRST_LOOK_MS);
    this.#arm();
  }

  heldRows(relation: number): number {
    return this.#held.get(relation) ?? 0;
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#dueMs.clear();
  }

  #arm(): void {
    if (this.#isHeld || this.#isRunning || this.#engine.closed) return;
    let nextMs = Infinity;
    for (const dueMs of this.#dueMs.values()) nextMs = Math.min(nextMs, dueMs);
    if (nextMs === this.#timerMs) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerMs = nextMs;
    if (nextMs === Infinity) return;
    const { clock } = this.#engine.ports;
    this.#timer = clock.after(Math.max(1, nextMs - clock.now()), () => {
      this.#timer = undefined;
      this.#timerMs = Infinity;
      void this.#look();
    });
  }

  async #look(): Promise<void> {
    if (this.#isRunning || this.#isHeld) return;
    this.#isRunning = true;
    try {
      const { clock } = this.#engine.ports;
      for (const [relation, dueMs] of [...this.#dueMs]) {
        if (dueMs > clock.now() || this.#engine.closed) continue;
        const entry = this.#tableOf(relation);
        const policy = entry?.definition.policy;
        if (entry === undefined || policy === undefined || policy.retention.length === 0) {
          this.#dueMs.delete(relation);
          continue;
        }
        let delayMs = cadenceMs(policy);
        try {
          // A long way to go is gone in turns with other tables.
          if ((await this.#run(entry, policy)) === 'more') delayMs = 0;
          this.#failures.delete(relation);
        } catch (cause) {
          if (this.#engine.closed) return;
          const failures = this.#failures.get(relation) ?? 0;
          this.#failures.set(relation, failures + 1);
          delayMs = Math.min(RETRY_MS_MAX, RETRY_MS * 2 ** failures);
          this.#engine.events.emit('retention.failed', {
            table: this.#tableOf(relation)?.definition.name ?? '',
            cause,
          });
        }
        // A policy that was set meanwhile has its own first look.
        if (this.#dueMs.get(relation) === dueMs) this.#dueMs.set(relation, clock.now() + delayMs);
      }
    } finally {
      this.#isRunning = false;
      this.#arm();
    }
  }

  /** What is due of one table now, as much as fits a round. */
  async #run(entry: TableEntry, policy: Policy): Promise<'done' | 'more'> {
    const { state, turn, plainCalendars, ports } = this.#engine;
    if (state.isDead(entry.definition.id) || turn.refusal !== undefined) return 'done';
    const plan = new RetentionPlan(
      policy,
      plainCalendars.inZoneOfSql(policy.zone),
      ports.clock.now(),
    );
    const round: Round = { entry, policy, plan };
    if ((await this.#demote(round)) === 'more') return 'more';
    await this.#fold(round);
    await this.#expire(round);
    return 'done';
  }

  #tableOf(relation: number): TableEntry | undefined {
    const entry = this.#engine.state.catalog.byId(relation);
    return entry?.kind === 'table' ? entry : undefined;
  }

  // ── rows ─────────────────────────────────────────────────────────────────────────────────────────────────────

  async #demote(round: Round): Promise<'done' | 'more'> {
    if (round.plan.rawFrom === -Infinity) return 'done';
    /** Rows that stay this time: claimed by a transaction, or of values that tiles cannot hold. */
    const left = new Set<number>();
    const work = new Demotion(this.#engine, round);
    const due = await this.#dueRows(round);
    for (let start = 0; start < due.length; start += ROWS_A_COMMIT) {
      const rowIds = due.subarray(start, start + ROWS_A_COMMIT);
      if (!(await this.#commit(round, () => work.operations(rowIds, left)))) return 'done';
      await this.#engine.pause();
    }
    const relation = round.entry.definition.id;
    if (work.held > 0) this.#held.set(relation, work.held);
    else this.#held.delete(relation);
    // Where nothing could go, nothing more will for now.
    return due.length >= ROWS_A_ROUND && left.size < due.length ? 'more' : 'done';
  }

  /**
   * Row ids that should go, as many as fit one round, by quarters of an hour: rows lie in no order, and a tile that is written once is not
   * written again for each of its rows.
   */
  async #dueRows({ entry: { data, definition }, policy, plan }: Round): Promise<Float64Array> {
    const column = definition.columns.findIndex(({ name }) => name === policy.time);
    const due = new Map<number, number[]>();
    let count = 0;
    const snapshot = data.snapshot();
    try {
      const scan = snapshot.scan({
        columnIndexes: [column],
        ordered: false,
        withRowIds: 'lent',
        prune: [{ column, op: '<', value: plan.rawFrom }],
      });
      let batches = 0;
      for (let batch = scan.next(); batch !== undefined; batch = scan.next()) {
        const times = timesOf(batch.columns[0]!, batch.rowCount, batch.selection);
        for (let row = 0; row < batch.rowCount; row += 1) {
          const at = times[row]!;
          if (!isDue(at, plan)) continue;
          const id = batch.rowIds![batch.selection === undefined ? row : batch.selection[row]!]!;
          const quarter = Math.floor(at / QUARTER);
          const rows = due.get(quarter);
          if (rows === undefined) due.set(quarter, [id]);
          else rows.push(id);
          count += 1;
        }
        if (count >= ROWS_A_ROUND) break;
        batches += 1;
        if (batches % BATCHES_A_STEP === 0) await this.#engine.pause();
        if (this.#engine.closed) return new Float64Array(0);
      }
    } finally {
      snapshot.release();
    }
    const rowIds = new Float64Array(count);
    let at = 0;
    for (const quarter of [...due.keys()].sort((a, b) => a - b)) {
      rowIds.set(due.get(quarter)!, at);
      at += due.get(quarter)!.length;
    }
    return rowIds;
  }

  // ── tiles ────────────────────────────────────────────────────────────────────────────────────────────────────

  async #fold(round: Round): Promise<void> {
    const { plan } = round;
    const relation = round.entry.definition.id;
    const kept = this.#engine.state.findKept(relation);
    if (kept === undefined) return;
    const found = new Map<string, KeptChange>();
    let looked = 0;
    for (const { unit, start, end } of kept.overlapping(
      this.#engine.visiblePosition,
      -Infinity,
      plan.rawFrom,
    )) {
      const target = plan.foldOf(unit, { start, end });
      if (target !== undefined)
        found.set(`${target.unit} ${target.start}`, { kind: 'fold', ...target });
      looked += 1;
      if (looked % TILES_A_STEP === 0) await this.#engine.pause();
      if (this.#engine.closed) return;
    }
    for (const change of found.values()) {
      if (!(await this.#commit(round, () => [{ op: 'keepTiles', relation, change }]))) return;
      await this.#engine.pause();
    }
  }

  async #expire(round: Round): Promise<void> {
    const { goneBefore } = round.plan;
    const relation = round.entry.definition.id;
    const kept = this.#engine.state.findKept(relation);
    if (kept === undefined || goneBefore === -Infinity) return;
    for (const { end } of kept.overlapping(this.#engine.visiblePosition, -Infinity, goneBefore)) {
      if (end > goneBefore) continue;
      const change: KeptChange = { kind: 'drop', until: goneBefore };
      await this.#commit(round, () => [{ op: 'keepTiles', relation, change }]);
      return;
    }
  }

  /** False where the round is over: the database is closed meanwhile, writes are refused, or the table is another. */
  async #commit(
    { entry: { definition }, policy }: Round,
    operations: () => readonly Operation[],
  ): Promise<boolean> {
    const engine = this.#engine;
    const { id, columns } = definition;
    if (engine.closed || engine.turn.refusal !== undefined) return false;
    let isOver = false;
    try {
      await engine.commit({
        tenant: tenantId('adb'),
        relations: [id],
        prepare: () => {
          const now = this.#tableOf(id)?.definition;
          isOver = now?.policy !== policy || now.columns !== columns || engine.state.isDead(id);
          const made = isOver ? [] : operations();
          if (made.length === 0) throw NOTHING;
          return made;
        },
      });
      engine.history.changed([id]);
    } catch (cause) {
      if (engine.closed) return false;
      if (cause !== NOTHING) throw cause;
    }
    return !isOver;
  }
}

/**
 * A table as a round finds it, and what its policy says by now. Long rounds are many commits: once its policy or its columns are others, the
 * rest is left to the look that follows.
 */
type Round = {
  readonly entry: TableEntry;
  readonly policy: Policy;
  readonly plan: RetentionPlan;
};

/** Whether a row of such a time goes: what is to be part of a tile only where calendars reach. Infinite times and none have no age. */
function isDue(at: number, { rawFrom, goneBefore }: RetentionPlan): boolean {
  return at < rawFrom && (at >= TIME_MIN || (at < goneBefore && at !== -Infinity));
}

/** Says from inside the turn that there is nothing to commit. Never leaves this file. */
const NOTHING = new Error('there is nothing to demote');

/** Makes the records of one table's demotion. */
class Demotion {
  readonly #engine: Engine;
  readonly #relation: number;
  readonly #plan: RetentionPlan;
  readonly #time: number;
  readonly #columns: readonly number[];
  readonly #columnCount: number;
  readonly #maker: KeptCellMaker;
  /** Rows whose values tiles cannot hold. */
  held = 0;

  constructor(engine: Engine, { entry: { definition, data }, policy, plan }: Round) {
    this.#engine = engine;
    this.#relation = definition.id;
    this.#plan = plan;
    const { columns } = data.schema;
    this.#columnCount = columns.length;
    this.#time = columns.findIndex(({ name }) => name === policy.time);
    const primary = definition.indexes.find((index) => index.primary);
    const shape: KeptShape = shapeOf(policy, columns, new Set(primary?.columnIndexes));
    this.#columns = [
      ...new Set([this.#time, ...[...shape.by, ...shape.terms].map(({ column }) => column)]),
    ];
    this.#maker = new KeptCellMaker(shape, CONTEXT);
  }

  /** Inside the commit turn: of these rows, those that are there and old enough go, with what is kept of them. */
  operations(rowIds: Float64Array, left: Set<number>): Operation[] {
    const { claims } = this.#engine;
    const snapshot = this.#engine.state.stored(this.#relation).data.staged();
    try {
      const free = claims.isEmpty
        ? rowIds
        : rowIds.filter((id) => {
            const isFree = claims.holderOf(undefined, this.#relation, [id]) === undefined;
            if (!isFree) left.add(id);
            return isFree;
          });
      const found = denseBatch(snapshot.fetch(free, this.#columns));
      const ids = found.rowIds!;
      const times = timesOf(found.columns[0]!, found.rowCount);
      const gone: number[] = [];
      const kept: number[] = [];
      for (let row = 0; row < found.rowCount; row += 1) {
        const at = times[row]!;
        if (!isDue(at, this.#plan)) continue;
        (at < this.#plan.goneBefore ? gone : kept).push(row);
      }
      const rows = this.#wide(found, Int32Array.from(kept));
      const { additions, refused } = this.#maker.make(rows, this.#time, (at) =>
        this.#plan.placeOf(at)!,
      );
      const held = new Set(refused);
      for (const row of refused) left.add(ids[kept[row]!]!);
      this.held += refused.length;
      const deleted = [...gone, ...kept.filter((_, row) => !held.has(row))].map((row) => ids[row]!);
      if (deleted.length === 0) return [];
      deleted.sort((a, b) => a - b);
      return [
        {
          op: 'rows',
          relation: this.#relation,
          writes: [{ kind: 'delete', rowIds: Float64Array.from(deleted) }],
        },
        ...additions.map((change: KeptAddition): Operation => ({
          op: 'keepTiles',
          relation: this.#relation,
          change,
        })),
      ];
    } finally {
      snapshot.release();
    }
  }

  /** Rows by the table's columns; those that nobody asks for show the time. */
  #wide(found: Batch, rows: Int32Array): Batch {
    const columns = found.columns.map((each) => gather(each, rows, rows.length));
    const wide: Vector[] = Array.from({ length: this.#columnCount }, () => columns[0]!);
    for (const [at, column] of this.#columns.entries()) wide[column] = columns[at]!;
    return { rowCount: rows.length, columns: wide };
  }
}

/** Plain columns need nothing of a statement. */
const CONTEXT: EvaluationContext = {
  nowMicros: 0,
  zone: 'UTC',
  parameters: [],
  random: { unit: () => 0, uint32: () => 0 },
  setting: () => undefined,
};

/** After a policy was set, so that one may be corrected that was a slip. */
const FIRST_LOOK_MS = 1000;
/** Rows of one commit: of a few measures that is a millisecond. */
const ROWS_A_COMMIT = 256;
/** Row ids that are looked up at once. */
const ROWS_A_ROUND = 131_072;
const BATCHES_A_STEP = 16;
const TILES_A_STEP = 4096;
/** When it failed (no memory, a full disk): each time twice as long. */
const RETRY_MS = 60_000;
const RETRY_MS_MAX = 24 * 3_600_000;
const CADENCE_MS_MIN = 60_000;
const CADENCE_MS_MAX = 3_600_000;

/** How often a table is looked at: a hundredth of its shortest age, at least each hour. */
function cadenceMs(policy: Policy): number {
  const ages = policy.retention.flatMap(({ keep }) => roughAgeMs(keep) ?? []);
  return Math.min(CADENCE_MS_MAX, Math.max(CADENCE_MS_MIN, Math.min(...ages, Infinity) / 96));
}
