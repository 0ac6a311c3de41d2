import { DbError } from '../base/errors.ts';
import type { TableBase } from '../columns/table-base.ts';
import type { TableData } from '../columns/table-contract.ts';
import { Table } from '../columns/table.ts';
import type { JournalChunk, JournalReader } from '../journal/backend.ts';
import { Budget } from '../operators/operator.ts';
import { expanded } from './compact-rows.ts';
import { isTableWork, relationsOf, replayInto } from './commit-turn.ts';
import { DatabaseState } from './database-state.ts';
import type { Engine } from './engine.ts';
import type { CommitRecord, Operation, TableDefinition } from './records.ts';
import type { SnapshotTable, Snapshots } from './snapshots.ts';

/** What a table is made anew from: a base, or nothing, and the records from a position on. */
export type RebuildSource = (
  | {
      readonly base: { readonly rows: TableBase; readonly definition: TableDefinition } | undefined;
      /** The first record that is not in the base. */
      readonly from: number;
    }
  | { readonly snapshots: Snapshots }
) & {
  /** The newest record that may concern it: it is refused what comes later. */
  readonly upTo: number;
};

/** What a step waits for. */
export type Arrival = JournalChunk | SnapshotTable;
type Steps<Result> = Generator<Promise<Arrival> | undefined, Result, Arrival>;

/** A record that the table cannot take in. */
export class PoisonRecord extends Error {
  readonly position: number;

  constructor(position: number, cause: unknown) {
    super(`the record at position ${position} cannot be applied`, { cause });
    this.position = position;
  }
}

type TailRecord = { readonly position: number; readonly operations: readonly Operation[] };

/**
 * Makes a table anew from its base, or a snapshot, and the records that came after, in a catalog where it is alone: the commit turn's own staging
 * does it, so that what it makes is what the fold over the journal is. Long work in short steps.
 */
export class TableRebuild {
  readonly #engine: Engine;
  readonly #relation: number;
  readonly #source: RebuildSource;
  readonly #scratch: DatabaseState;
  readonly #budget = new Budget(0);
  readonly #steps: Steps<void>;
  #reader: JournalReader | undefined;
  #arrived: Arrival;
  #isTaken = false;
  #isClosed = false;
  recordCount = 0;

  constructor(engine: Engine, relation: number, source: RebuildSource) {
    this.#engine = engine;
    this.#relation = relation;
    this.#source = source;
    this.#scratch = new DatabaseState({
      memory: engine.memory,
      clock: engine.ports.clock,
      parse: (text) => engine.statements.parse(text),
      views: engine.views,
      viewsFailed: () => undefined,
      // A failure inside is this rebuild's: it is thrown, not mended here.
      tableBroke: (_entry, _corpse, cause) => {
        throw cause;
      },
      relationMade: () => undefined,
      relationGone: () => undefined,
      policyChanged: () => undefined,
      rowsKnownUpTo: () => 0,
    });
    this.#steps = this.#run();
  }

  /**
   * Works for about `units`. A promise: what `arrive` is to be called with before the next step. Throws `PoisonRecord`, or what
   * makes the rebuild impossible.
   */
  advance(units: number): 'more' | 'done' | Promise<Arrival> {
    this.#budget.refill(units);
    const arrived = this.#arrived;
    this.#arrived = undefined;
    const step = this.#steps.next(arrived);
    if (step.done === true) return 'done';
    return step.value ?? 'more';
  }

  arrive(arrived: Arrival): void {
    this.#arrived = arrived;
  }

  get spent(): number {
    return this.#budget.spent;
  }

  /** The rows, which are the caller's from now on. */
  take(): { readonly data: TableData; readonly definition: TableDefinition } {
    const entry = this.#scratch.catalog.byId(this.#relation);
    if (entry?.kind !== 'table') throw sourceGone('the journal does not tell how it was made');
    this.#isTaken = true;
    return entry;
  }

  close(): void {
    this.#isClosed = true;
    this.#steps.return();
    this.#reader?.close();
    if (!this.#isTaken) this.#scratch.close();
  }

  *#run(): Steps<void> {
    const source = this.#source;
    if ('snapshots' in source) {
      // The journal is kept from there on.
      const { position } = (yield this.#restored(source.snapshots)) as SnapshotTable;
      yield* this.#eachRecord(position + 1, (record) => this.#apply(record));
      return;
    }
    const { base, from } = source;
    // A journal that forgets may do so while the base is restored: what is needed of it comes first.
    const tail = this.#engine.log.forgets === true ? yield* this.#collected(from) : undefined;
    if (base !== undefined) {
      const steps = Table.restore(base.rows, { memory: this.#engine.memory });
      try {
        for (;;) {
          const step = steps.next();
          if (step.done === true) {
            this.#scratch.catalog.put(this.#scratch.tableEntry(base.definition, step.value));
            break;
          }
          this.#budget.charge(step.value);
          if (this.#budget.exhausted) yield undefined;
        }
      } finally {
        steps.return(undefined as never);
      }
    }
    if (tail === undefined) yield* this.#eachRecord(from, (record) => this.#apply(record));
    else for (const record of tail) yield* this.#apply(record);
  }

  /** Into the catalog at once: whoever closes it meanwhile gives back what is there. */
  async #restored(snapshots: Snapshots): Promise<SnapshotTable> {
    const restored = await snapshots.tableOf(this.#relation, () => !this.#isClosed);
    if (restored === undefined) throw sourceGone('records that it needs are no longer kept');
    const { table } = restored;
    if (this.#isClosed) table?.data.close();
    else if (table !== undefined)
      this.#scratch.catalog.put(this.#scratch.tableEntry(table.definition, table.data));
    return restored;
  }

  *#collected(from: number): Steps<TailRecord[]> {
    const tail: TailRecord[] = [];
    yield* this.#eachRecord(from, (record) => {
      tail.push(record);
      return NO_STEPS;
    });
    return tail;
  }

  /** The records that concern the table, oldest first. */
  *#eachRecord(from: number, take: (record: TailRecord) => Iterable<undefined>): Steps<void> {
    const { upTo } = this.#source;
    if (from > upTo) return;
    const reader = this.#engine.log.read?.(from);
    if (reader === undefined) throw sourceGone('this journal cannot be read again');
    this.#reader = reader;
    for (;;) {
      const next = reader.next();
      const chunk = (next instanceof Promise ? yield next : next) as JournalChunk;
      if (chunk === undefined) return;
      for (const record of chunk) {
        if (record.position > upTo) return;
        const operations = (record.payload as CommitRecord).operations.filter(
          (operation) => isTableWork(operation) && relationsOf(operation).includes(this.#relation),
        );
        this.#budget.charge(1);
        if (operations.length > 0) yield* take({ position: record.position, operations });
        if (this.#budget.exhausted) yield undefined;
      }
    }
  }

  *#apply({ position, operations }: TailRecord): Generator<undefined, void> {
    if (this.#engine.state.skipDecision(this.#relation, position) !== undefined) return;
    this.recordCount += 1;
    try {
      const record = expanded({ kind: 'commit', operations });
      const steps = replayInto(this.#scratch, record.operations, position, this.#budget);
      while (steps.next().done !== true) yield undefined;
    } catch (cause) {
      throw new PoisonRecord(position, cause);
    }
    if (this.#budget.exhausted) yield undefined;
  }
}

const NO_STEPS: readonly undefined[] = [];

export function sourceGone(why: string): DbError {
  return new DbError('ADB_POSITION_GONE', why, {
    hint: 'Keep more of the journal (`journal: { keep }`), or keep it in files (`journal: { kind: "file" }`).',
  });
}
