import { assert, DbError } from '../base/errors.ts';
import { MemoryLease } from '../base/memory-lease.ts';
import { BASE_CHUNK_ROWS, type TableBase } from '../columns/table-base.ts';
import { SEGMENT_ROWS, segmentOf } from '../columns/segment.ts';
import type { TableData, TableDelta } from '../columns/table-contract.ts';
import { TableRecovering } from './dead-table.ts';
import type { CatalogEntry, TableEntry } from './catalog.ts';
import type { PublishedCommit } from './commit-turn.ts';
import type { Engine } from './engine.ts';
import type { OnPoison, TableDefinition } from './records.ts';
import { PoisonRecord, sourceGone, type RebuildSource } from './table-rebuild.ts';

/** Of a table that broke. */
export type TableTrouble = {
  readonly table: string;
  readonly tenant: string;
  /** `rebuilding`: it comes back by itself. `failed`: somebody has to decide; `error` says what. */
  readonly state: 'rebuilding' | 'failed';
  /** When it broke, and the newest position that its rows had then. */
  readonly sinceMs: number;
  readonly position: number;
  readonly cause: unknown;
  readonly error: DbError | undefined;
};

/**
 * Knows for every table what it could be made anew from, and looks after those that broke.
 *
 * 1. A base is taken before a journal in memory forgets the records that it stands for: when a table's oldest change that is not in
 *    its base is a quarter of the journal old. A journal of files forgets only what snapshots have: the newest that is whole stands in.
 * 2. A table that breaks is taken out of service at once, with its views; all else goes on. Its actor makes it anew.
 * 3. A record that it cannot take in is passed over only by a decision that is in the journal itself.
 */
export class TableRecovery {
  readonly #engine: Engine;
  readonly #kept = new Map<number, Kept>();
  /** Tables with changes that no base has, by how old the oldest is. */
  readonly #uncovered: { readonly kept: Kept; readonly mark: Uncovered }[] = [];
  readonly #broken = new Map<number, Broken>();
  readonly #lease: MemoryLease;
  readonly #coverBytes: number;
  /** Tables that broke since the database was opened, those made anew, and those that could not be. */
  breakCount = 0;
  rebuilt = 0;
  failed = 0;
  basesTaken = 0;
  /** The journal is being read: what breaks meanwhile is made anew when that is done. */
  #isReplaying = false;
  /** Bytes of records up to the commit before: what is published now is not among them. */
  #bytesBefore = 0;

  constructor(engine: Engine) {
    this.#engine = engine;
    this.#lease = new MemoryLease(engine.memory);
    // A base must not be refused when memory is short: that is when tables break.
    this.#lease.limits = false;
    const keepBytes = engine.log.keepBytes ?? 0;
    this.#coverBytes = Math.min(keepBytes, COVER_BYTES_MAX) / 4;
  }

  // ── what tables can be made anew from ────────────────────────────────────────────────────────────────────────

  made(entry: CatalogEntry, position: number): void {
    const relation = entry.definition.id;
    if (entry.kind === 'table' && !this.#kept.has(relation))
      this.#kept.set(relation, new Kept(relation, position));
  }

  /** It came out of a snapshot: the journal may not tell how it was made. */
  restored(entry: CatalogEntry): void {
    const kept = new Kept(entry.definition.id, -1);
    kept.isPristine = false;
    this.#kept.set(kept.relation, kept);
  }

  replaying(): void {
    this.#isReplaying = true;
  }

  /** The state is that of `position`; what was replayed is in no base. */
  replayed(position: number): void {
    this.#isReplaying = false;
    const { first } = this.#engine.log;
    for (const kept of this.#kept.values()) {
      kept.isPristine = false;
      if (first === undefined || first <= kept.definedAt) continue;
      this.#noteUncovered(kept, position);
      this.#want(kept);
    }
    for (const relation of this.#broken.keys())
      this.#engine.tree.tellTable(relation, { kind: 'rebuild' }, 'command');
  }

  gone(relation: number): void {
    const kept = this.#kept.get(relation);
    if (kept !== undefined) this.#setBase(kept, undefined);
    this.#kept.delete(relation);
    const broken = this.#broken.get(relation);
    this.#broken.delete(relation);
    broken?.close();
  }

  published(position: number, { deltas, defined }: PublishedCommit): void {
    for (const [relation, changes] of deltas) {
      const kept = this.#kept.get(relation);
      if (kept === undefined) continue;
      if (kept.isPristine) this.#beginEmpty(kept, position);
      for (const delta of changes) kept.note(delta);
      this.#noteUncovered(kept, position);
      if (kept.deletedRows > DELETED_ROWS_MAX && kept.deletedRows > this.#rowCount(relation) / 8)
        this.#want(kept);
    }
    for (const relation of defined) {
      const kept = this.#kept.get(relation);
      if (kept === undefined || position === kept.definedAt) continue;
      kept.isPristine = false;
      this.#noteUncovered(kept, position);
      // What DDL did is short to tell and long to do again.
      this.#want(kept);
    }
    this.#wantOverdue();
    this.#bytesBefore = this.#engine.log.appendedBytes ?? 0;
  }

  #rowCount(relation: number): number {
    const entry = this.#engine.state.catalog.byId(relation);
    return entry?.kind === 'table' ? entry.data.rowCount : 0;
  }

  /** Begins a base of the newest published rows; undefined where it has to wait, or there is nothing to take. */
  *take(relation: number): Generator<number, void> {
    const kept = this.#kept.get(relation);
    const entry = this.#engine.state.catalog.byId(relation);
    if (kept === undefined) return;
    // Of a table that broke there is none to take: one is wanted again when it is made anew.
    kept.isWanted = false;
    if (entry?.kind !== 'table' || this.#broken.has(relation)) return;
    const position = this.#engine.visiblePosition;
    const { changed, allChanged, mark } = kept.begin();
    let isTaken = false;
    try {
      const previous = kept.base?.rows;
      const rows = yield* entry.data.checkpoint(
        position,
        previous,
        (chunk) => allChanged || changed.has(chunk),
      );
      // Its table may have broken, or gone, meanwhile: then the base before is the one to trust.
      if (this.#kept.get(relation) !== kept || this.#broken.has(relation)) return;
      isTaken = true;
      this.#setBase(kept, { rows, definition: entry.definition });
      this.basesTaken += 1;
    } finally {
      if (!isTaken) kept.giveBack({ changed, allChanged, mark });
    }
  }

  /**
   * Upkeep has come to an end: rows that were sealed since need no copy any more, nor the records that brought them. In a table of many segments
   * these are little, and the open rows would be copied anew for each that is sealed: there it waits until a quarter of the rows are new.
   */
  maintained(relation: number, data: TableData): void {
    const kept = this.#kept.get(relation);
    if (kept?.mark === undefined) return;
    const covered = segmentOf(kept.base?.rows.nextRowId ?? 0);
    const sealed = segmentOf(data.nextRowId) - covered;
    if (sealed > 0 && sealed * 4 >= data.rowCount / SEGMENT_ROWS) this.#want(kept);
  }

  /** The position of the newest base; undefined where it would be made anew from the journal alone. */
  basePosition(relation: number): number | undefined {
    return this.#kept.get(relation)?.base?.rows.position;
  }

  wantsBase(relation: number): boolean {
    return this.#kept.get(relation)?.isWanted === true;
  }

  mayTake(relation: number): boolean {
    return !this.#engine.turn.isBusyWith(relation);
  }

  #noteUncovered(kept: Kept, position: number): void {
    if (kept.mark !== undefined) return;
    kept.mark = { position, bytes: this.#bytesBefore };
    this.#uncovered.push({ kept, mark: kept.mark });
  }

  #wantOverdue(): void {
    const bytes = this.#engine.log.appendedBytes;
    if (bytes === undefined) {
      this.#uncovered.length = 0;
      return;
    }
    for (;;) {
      const oldest = this.#uncovered[0];
      if (oldest === undefined) return;
      if (oldest.kept.mark === oldest.mark) {
        if (bytes - oldest.mark.bytes < this.#coverBytes) return;
        this.#want(oldest.kept);
      }
      this.#uncovered.shift();
    }
  }

  #want(kept: Kept): void {
    if (kept.isWanted || this.#coverBytes === 0) return;
    kept.isWanted = true;
    this.#engine.tree.tellTable(kept.relation, { kind: 'checkpoint' });
  }

  /** Its first rows come, and the record that made it may be forgotten: an empty table is as good a beginning. */
  #beginEmpty(kept: Kept, position: number): void {
    kept.isPristine = false;
    const first = this.#engine.log.first;
    if (first === undefined || first <= kept.definedAt) return;
    const entry = this.#engine.state.catalog.byId(kept.relation);
    if (entry?.kind !== 'table') return;
    this.#setBase(kept, { rows: emptyBase(entry, position - 1), definition: entry.definition });
  }

  #setBase(kept: Kept, base: Kept['base']): void {
    const before = kept.base?.rows.byteLength ?? 0;
    const after = base?.rows.byteLength ?? 0;
    if (after > before) this.#lease.take(after - before);
    else this.#lease.give(before - after);
    kept.base = base;
  }

  // ── tables that broke ────────────────────────────────────────────────────────────────────────────────────────

  isBroken(relation: number): boolean {
    return this.#broken.has(relation);
  }

  /** Whether its actor is to make it anew now. */
  wantsRebuild(relation: number): boolean {
    const broken = this.#broken.get(relation);
    return broken !== undefined && broken.error === undefined && !this.#isReplaying;
  }

  /** True but for the first time that it is asked after the table broke. */
  isMourned(relation: number): boolean {
    return this.#broken.get(relation)?.mourn() !== false;
  }

  get brokenCount(): number {
    return this.#broken.size;
  }

  list(): TableTrouble[] {
    return [...this.#broken.values()].map((each) => each.told());
  }

  troubleOf(relation: number): TableTrouble | undefined {
    return this.#broken.get(relation)?.told();
  }

  /** From within the commit turn: the table is out of service from now on. */
  broke(entry: TableEntry, corpse: TableData, cause: unknown): { readonly refusal: () => DbError } {
    const { id } = entry.definition;
    const { clock } = this.#engine.ports;
    const broken = new Broken(entry, corpse, cause, clock.now(), clock.monotonicMs());
    this.#broken.set(id, broken);
    this.breakCount += 1;
    this.#engine.events.emit('table.failed', {
      table: entry.definition.name,
      position: corpse.position,
      cause,
    });
    if (cause instanceof RebuildAsked)
      this.#engine.tree.tellTable(id, { kind: 'rebuild' }, 'command');
    else this.#engine.tree.tellTable(id, { kind: 'broke', cause }, 'control');
    return { refusal: () => broken.refusal() };
  }

  /** Nothing is staged on the rows that broke any more: nobody but open readers holds them. */
  source(relation: number): RebuildSource {
    const broken = this.#broken.get(relation);
    assert(broken !== undefined, 'a table that is made anew is out of service');
    broken.forgetCorpse();
    const { log, visiblePosition: upTo } = this.#engine;
    const kept = this.#kept.get(relation);
    const { first } = log;
    if (kept === undefined || first === undefined)
      throw sourceGone('its journal cannot be read again');
    const base = kept.base;
    if (base !== undefined) {
      const from = base.rows.position + 1;
      if (first <= from) return { base, from, upTo };
      // A record is missing only if there was one.
      if (kept.mark === undefined) return { base, from: upTo + 1, upTo };
    } else if (first <= kept.definedAt) return { base: undefined, from: kept.definedAt, upTo };
    else if (kept.isPristine) {
      const rows = emptyBase(broken.entry, upTo);
      return { base: { rows, definition: broken.entry.definition }, from: upTo + 1, upTo };
    }
    const { snapshots } = this.#engine;
    if (snapshots !== undefined) return { snapshots, upTo };
    throw sourceGone('records that it needs are no longer kept');
  }

  /**
   * Making it anew failed. `again`: it is worth another try, by an actor that starts anew. `decided`: policy has the record passed
   * over. `failed`: it stays out of service until somebody decides.
   */
  attemptFailed(relation: number, cause: unknown): 'again' | 'skip' | 'failed' {
    const broken = this.#broken.get(relation);
    if (broken === undefined) return 'failed';
    if (cause instanceof PoisonRecord) {
      const isKnown = broken.poison === cause.position;
      broken.poison = cause.position;
      // Once more, with everything made anew: what fails again is the record.
      if (!isKnown) return 'again';
      if (this.#engine.state.onPoison === 'skip') return 'skip';
      this.giveUp(relation, cause);
      return 'failed';
    }
    // Neither lost records nor damaged rows come back.
    if (cause instanceof DbError) {
      this.giveUp(relation, cause);
      return 'failed';
    }
    return 'again';
  }

  giveUp(relation: number, cause: unknown): void {
    const broken = this.#broken.get(relation);
    if (broken === undefined || broken.error !== undefined) return;
    this.failed += 1;
    broken.fail(failedError(broken.name, cause));
    this.#engine.events.emit('table.failed', {
      table: broken.name,
      position: broken.position,
      cause: broken.error,
    });
  }

  /** The journaled decision of an operator or of the policy; the table is then made anew. */
  async skip(
    relation: number,
    options: { readonly position: number; readonly reason: string; readonly by: string },
    signal?: AbortSignal,
  ): Promise<number> {
    const { position } = await this.#engine.commit(
      {
        tenant: 'adb',
        relations: [],
        prepare: () => [{ op: 'skip', relation, ...options }],
      },
      signal,
    );
    if (options.by !== 'policy') this.retry(relation);
    return position;
  }

  async setPolicy(
    onPoison: OnPoison,
    by: string,
    signal: AbortSignal | undefined,
  ): Promise<number> {
    const { position } = await this.#engine.commit(
      {
        tenant: 'adb',
        relations: [],
        prepare: () => [{ op: 'recoveryPolicy', onPoison, by }],
      },
      signal,
    );
    return position;
  }

  /** Another attempt at a table that failed. */
  retry(relation: number): void {
    const broken = this.#broken.get(relation);
    if (broken === undefined) return;
    broken.reopen();
    this.#engine.tree.tellTable(relation, { kind: 'rebuild' }, 'command');
  }

  /** Resolves when the table serves or has failed for good; gives back why, then. */
  async settled(relation: number): Promise<DbError | undefined> {
    const broken = this.#broken.get(relation);
    if (broken === undefined) return undefined;
    await broken.served;
    return this.#broken.get(relation)?.error;
  }

  /** What reads these relations waits for those that are being made anew. */
  async untilServed(relations: readonly number[], signal: AbortSignal | undefined): Promise<void> {
    for (const relation of relations) {
      const refusal = this.#broken.get(relation)?.refusal();
      if (refusal instanceof TableRecovering) await refusal.untilServed(signal);
    }
  }

  /** It serves again. */
  mended(relation: number, data: TableData): void {
    const broken = this.#broken.get(relation);
    if (broken === undefined) return;
    this.#broken.delete(relation);
    this.rebuilt += 1;
    const { clock } = this.#engine.ports;
    this.#engine.events.emit('table.rebuilt', {
      table: broken.name,
      position: this.#engine.visiblePosition,
      rows: data.rowCount,
      elapsedMs: clock.monotonicMs() - broken.sinceMonotonicMs,
    });
    broken.close();
    const kept = this.#kept.get(relation);
    // The base that it was made of stands on segments of the table that broke.
    if (kept !== undefined) {
      kept.allChanged = true;
      kept.isPristine = false;
      this.#want(kept);
    }
  }

  close(): void {
    for (const broken of this.#broken.values()) {
      broken.forgetCorpse();
      broken.close();
    }
    this.#broken.clear();
    this.#kept.clear();
    this.#lease.close();
  }
}

/** An operator wants a table made anew: nothing broke, so its actor need not die of it. */
export class RebuildAsked extends Error {}

/** Beyond this much, reading the journal again takes longer than a base does. */
const COVER_BYTES_MAX = 64 * 2 ** 20;
/**
 * A base holds on to segments that were truncated or compacted away: this many deleted rows, and an eighth of those there are, ask for a new
 * one, which reads the rows of every segment that has lost some.
 */
const DELETED_ROWS_MAX = 32_768;
/** Rows whose ids are not looked at one by one. */
const ALL_CHANGED_ROWS = 65_536;

type Uncovered = { readonly position: number; readonly bytes: number };

/** What is known of one table, in case that it breaks. */
class Kept {
  readonly relation: number;
  /** The record that made it. */
  readonly definedAt: number;
  base: { readonly rows: TableBase; readonly definition: TableDefinition } | undefined;
  /** The oldest change that is not in the base. */
  mark: Uncovered | undefined;
  #changed = new Set<number>();
  allChanged = false;
  deletedRows = 0;
  isWanted = false;
  /** Nothing was ever written to it. */
  isPristine = true;

  constructor(relation: number, definedAt: number) {
    this.relation = relation;
    this.definedAt = definedAt;
  }

  note({ deleted }: TableDelta): void {
    if (deleted === undefined) return;
    const { rowCount } = deleted;
    this.deletedRows += rowCount;
    if (this.allChanged) return;
    if (rowCount > ALL_CHANGED_ROWS) {
      this.allChanged = true;
      return;
    }
    const rowIds = deleted.rowIds!;
    const from = this.#firstCopied * BASE_CHUNK_ROWS;
    // Ids ascend: those of copied rows are the last, and one chunk comes many times in a row.
    let last = -1;
    for (let row = rowCount - 1; row >= 0 && rowIds[row]! >= from; row -= 1) {
      const chunk = Math.floor(rowIds[row]! / BASE_CHUNK_ROWS);
      if (chunk !== last) this.#changed.add(chunk);
      last = chunk;
    }
  }

  /** Chunks before this one are of sealed segments, and no base to come has a copy of them. */
  get #firstCopied(): number {
    if (this.base === undefined) return 0;
    const { pieces, nextRowId } = this.base.rows;
    return pieces[0]?.chunk ?? Math.floor(nextRowId / BASE_CHUNK_ROWS);
  }

  /** A base is being taken: what changes from now on is for the next. */
  begin(): {
    readonly changed: ReadonlySet<number>;
    readonly allChanged: boolean;
    readonly mark: Uncovered | undefined;
  } {
    const { allChanged, mark } = this;
    const changed = this.#changed;
    this.#changed = new Set();
    this.allChanged = false;
    this.mark = undefined;
    this.deletedRows = 0;
    return { changed, allChanged, mark };
  }

  /** It was not: the changes are still those of the next. */
  giveBack(begun: ReturnType<Kept['begin']>): void {
    for (const chunk of begun.changed) this.#changed.add(chunk);
    this.allChanged ||= begun.allChanged;
    this.mark = begun.mark ?? this.mark;
  }
}

class Broken {
  readonly name: string;
  readonly entry: TableEntry;
  #corpse: TableData | undefined;
  readonly #cause: unknown;
  readonly sinceMs: number;
  readonly sinceMonotonicMs: number;
  readonly position: number;
  /** The record at which the last attempt failed. */
  poison: number | undefined;
  error: DbError | undefined;
  served!: Promise<void>;
  #isMourned = false;
  #wake!: () => void;

  constructor(
    entry: TableEntry,
    corpse: TableData,
    cause: unknown,
    sinceMs: number,
    sinceMonotonicMs: number,
  ) {
    this.name = entry.definition.name;
    this.entry = entry;
    this.#corpse = corpse;
    this.#cause = cause;
    this.sinceMs = sinceMs;
    this.sinceMonotonicMs = sinceMonotonicMs;
    this.position = corpse.position;
    this.#wait();
  }

  refusal(): DbError {
    return this.error ?? new TableRecovering(this.name, this.served, this.#cause);
  }

  /** Whether somebody did already. */
  mourn(): boolean {
    const before = this.#isMourned;
    this.#isMourned = true;
    return before;
  }

  /** Its memory is given back, as soon as open readers let it go. */
  forgetCorpse(): void {
    const corpse = this.#corpse;
    this.#corpse = undefined;
    try {
      corpse?.close();
    } catch {
      // It broke: what it cannot give back by itself is lost to the account, and to nobody else.
    }
  }

  fail(error: DbError): void {
    this.error = error;
    this.#wake();
  }

  reopen(): void {
    if (this.error === undefined) return;
    this.error = undefined;
    this.#wait();
  }

  close(): void {
    this.#wake();
  }

  told(): TableTrouble {
    return {
      table: this.name,
      tenant: this.entry.definition.tenant,
      state: this.error === undefined ? 'rebuilding' : 'failed',
      sinceMs: this.sinceMs,
      position: this.position,
      cause: this.#cause,
      error: this.error,
    };
  }

  #wait(): void {
    this.served = new Promise((resolve) => (this.#wake = resolve));
  }
}

function failedError(table: string, cause: unknown): DbError {
  if (cause instanceof PoisonRecord) {
    return new DbError(
      'ADB_TABLE_FAILED',
      `table "${table}" cannot be made anew: the record at position ${cause.position} cannot be applied`,
      {
        table,
        position: cause.position,
        cause,
        hint: `db.recovery.skip('${table}', { position: ${cause.position}, reason: '…' }) passes that record over, by a decision that is journaled; or drop the table and load it again.`,
      },
    );
  }
  const detail = cause instanceof Error ? cause.message : String(cause);
  const fix = `DROP TABLE "${table}", create it and load it again; everything else is served.`;
  const keep =
    cause instanceof DbError && cause.code === 'ADB_POSITION_GONE' ? cause.hint : undefined;
  return new DbError('ADB_TABLE_FAILED', `table "${table}" cannot be made anew`, {
    table,
    detail,
    cause,
    hint: keep === undefined ? fix : `${fix} For the next time: ${keep}`,
  });
}

function emptyBase(entry: TableEntry, position: number): TableBase {
  const { schema } = entry.data;
  return {
    identity: {},
    position,
    schema,
    columns: schema.columns.map(({ type }, id) => ({
      id,
      type,
      missing: null,
      codedRowCount: 0,
      texts: [],
    })),
    nextColumnId: schema.columns.length,
    rowCount: 0,
    nextRowId: 0,
    first: 0,
    segments: [],
    pieces: [],
    byteLength: 512,
  };
}
