import { DbError, notSupported } from '../base/errors.ts';
import { didYouMean } from '../base/nearest.ts';
import type { Random, TimerHandle } from '../base/ports.ts';
import type { Batch } from '../columns/batch.ts';
import type { TableSnapshot } from '../columns/table-contract.ts';
import { TEXT } from '../columns/types.ts';
import type { ParameterValue } from '../expressions/arrays.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import type { Calendar } from '../calendar/calendar.ts';
import { findZone, zoneOf } from '../calendar/zones.ts';
import type { OutputColumn, PlanNode } from '../plan/logical.ts';
import type { TiledAnswer } from '../windows/tile-aggregate.ts';
import { relationDoesNotExist, type PlanCatalog } from '../plan/catalog.ts';
import type { IsolationLevel, ParsedStatement, Statement } from '../sql/ast.ts';
import type { AnswerSource, Identity, QueryMeta, QueryOptions } from './api-types.ts';
import {
  findRelation,
  isStored,
  planCatalog,
  PUBLIC_SCHEMA,
  type CatalogEntry,
  type CatalogView,
  type NameScope,
  type StoredEntry,
  type TableEntry,
  type ViewEntry,
  type MaterializedViewEntry,
  type WrittenName,
} from './catalog.ts';
import type { ClaimKeys, ClaimOwner } from './claims.ts';
import { deadline, STATEMENT_TIMED_OUT } from './deadline.ts';
import { BeingDefined } from './definition-changed.ts';
import type { Engine } from './engine.ts';
import type { InputContext } from './rows-in.ts';
import { SessionSequences } from './sequences.ts';
import { runStatement } from './statements.ts';
import { viewHasNoRows } from './maintained-view.ts';
import { isSystemRelation, systemSnapshot, withSystemRelations } from './system-relations.ts';
import { BorrowedSnapshot } from './with-changes.ts';
import { afterRedefinition } from './write-rows.ts';
import { dropsOf, readersNow } from './readers-now.ts';
import type { Operation } from './records.ts';
import {
  ROWS_UNDONE,
  snapshotTooOld,
  tooLate,
  Transaction,
  type TransactionModes,
} from './transaction.ts';

/** Where a statement's rows go. `take` false: no more until `demand` is called. */
export type RowSink = {
  begin(columns: readonly OutputColumn[], demand: () => void): void;
  take(batch: Batch): boolean;
};

/** What a statement did. */
export type StatementOutcome = {
  readonly command: string;
  readonly columns: readonly OutputColumn[];
  /** Rows returned, or changed by DML. */
  readonly rowCount: number;
  readonly position: number;
  readonly source: AnswerSource;
  readonly sources: QueryMeta['sources'];
  readonly queryId: string;
  readonly work: number;
  readonly elapsedMs: number;
  readonly queuedMs: number;
  /** Of a query's plan, what came from window tiles. */
  readonly tiled?: ReadonlyMap<PlanNode, TiledAnswer>;
};

export type ExecutionOptions = QueryOptions & {
  /** The text has several statements, and each uses some of the parameters. */
  readonly sharedParams?: boolean;
  /** Rows are pulled: what comes next in the session need not wait for the last of them. */
  readonly streams?: boolean;
  /** What it reads is no part of what its transaction has read. */
  readonly isUnnoted?: boolean;
};

/** A statement of a transaction that has failed already. */
const IS_ABORTED = '25P02';
const TILES_SETTING = 'enable_window_tiles';

const DEFAULT_SETTINGS: Readonly<Record<string, string>> = {
  application_name: '',
  client_encoding: 'UTF8',
  client_min_messages: 'notice',
  datestyle: 'ISO, MDY',
  default_transaction_isolation: 'read committed',
  default_transaction_read_only: 'off',
  [TILES_SETTING]: 'on',
  extra_float_digits: '1',
  intervalstyle: 'postgres',
  lc_collate: 'C',
  search_path: '"$user", public',
  server_encoding: 'UTF8',
  server_version: '15.0',
  standard_conforming_strings: 'on',
  lock_timeout: '0',
  statement_timeout: '0',
};

/** How long a statement may take, and how long it waits for what another transaction has claimed. */
const TIMEOUTS: ReadonlySet<string> = new Set(['lock_timeout', 'statement_timeout']);

/** Names such as `constructor` are every object's. */
function defaultOf(key: string): string | undefined {
  return Object.hasOwn(DEFAULT_SETTINGS, key) ? DEFAULT_SETTINGS[key] : undefined;
}

/** Settings that would change how values look: only what they are is taken. */
const STYLES: Readonly<Record<string, RegExp>> = {
  bytea_output: /^(hex|default)$/i,
  client_encoding: /^['"]?(utf-?8|unicode|default)['"]?$/i,
  datestyle: /^(iso(\s*,\s*(mdy|us|noneuropean))?|(mdy|us|noneuropean)(\s*,\s*iso)?|default)$/i,
  intervalstyle: /^(postgres|default)$/i,
  standard_conforming_strings: /^(on|true|yes|1|default)$/i,
};

/**
 * One conversation with the database: identity, settings, prepared statements, and the transaction that is open. Its
 * statements run one after the other.
 */
export class Session {
  readonly engine: Engine;
  readonly identity: {
    readonly tenant: string;
    readonly user: string | undefined;
    readonly claims: Readonly<Record<string, unknown>>;
  };
  /** What a text for bytea is; base64 for those who speak JSON. */
  bytes: InputContext['bytes'];
  readonly settings = new Map<string, string>();
  readonly prepared = new Map<string, ParsedStatement>();
  readonly sequences: SessionSequences = new SessionSequences(this);
  transaction: Transaction | undefined;
  /** Relations that the statement at hand reads as they were when it began, whatever it has changed since. */
  frozen: ReadonlyMap<number, TableSnapshot> | undefined;
  /** Where the definitions of the statement that runs were committed. */
  definedAt: number | undefined;
  /** The transaction was begun by BEGIN, not by the engine for a text of several statements. */
  explicit = false;
  /** Who began the transaction ends it: COMMIT and ROLLBACK are refused, and so is whatever comes after its end. */
  endsElsewhere = false;
  readonly #number: number;
  /** Settings that SET LOCAL, or a rollback, puts back. */
  #settingsBefore: ReadonlyMap<string, string> | undefined;
  #localNames = new Set<string>();
  #running: Promise<unknown> = Promise.resolve();
  #ageTimer: TimerHandle | undefined;
  /** The table that was written to last: programs write to one table a thousand times. */
  #lastTable:
    | { readonly name: string; readonly epoch: number; readonly entry: TableEntry }
    | undefined;
  #closing: Promise<void> | undefined;
  #closed = false;
  /** What statements of transactions failed with. */
  readonly #failures = new WeakSet<object>();
  /** Made by whoever waits for rows, or closes: most sessions are of one statement. */
  #left: AbortController | undefined;

  constructor(engine: Engine, identity: Identity) {
    this.engine = engine;
    this.identity = {
      tenant: identity.tenant ?? 'main',
      user: identity.user,
      claims: identity.claims ?? {},
    };
    this.#number = engine.nextSessionNumber();
  }

  get closed(): boolean {
    return this.#closed;
  }

  get zone(): string {
    return this.settings.get('timezone') ?? this.engine.options.zone;
  }

  /** Whether plain SQL may be answered from window tiles; what was demoted always is. */
  get usesTiles(): boolean {
    return !/^(off|false|no|0)$/i.test(this.setting(TILES_SETTING)!);
  }

  get temporarySchema(): string {
    return `pg_temp_${this.#number}`;
  }

  /** Names as this session finds them. */
  get scope(): NameScope {
    return {
      tenant: this.identity.tenant,
      searchPath: this.searchPath,
      temporarySchema: this.temporarySchema,
      granted: (entry) => this.engine.state.grants.allows(entry, this.identity.tenant),
    };
  }

  get searchPath(): readonly string[] {
    const path = this.settings.get('search_path');
    if (path === undefined) return [PUBLIC_SCHEMA];
    return path
      .split(',')
      .map((name) => name.trim().replaceAll('"', ''))
      .filter((name) => name !== '' && name !== '$user');
  }

  /** The catalog with the open transaction's changes. */
  get catalog(): CatalogView {
    return this.transaction?.catalog ?? this.engine.state.catalog;
  }

  planCatalog(): PlanCatalog {
    const { transaction } = this;
    const own = planCatalog(
      this.catalog,
      this.scope,
      transaction === undefined
        ? undefined
        : (entry) => {
            if (!transaction.readsAsQuery(entry)) return false;
            this.#assertZoneOf(entry);
            return true;
          },
    );
    return withSystemRelations(own, this.identity.tenant);
  }

  /** Distinguishes what names mean in two sessions, for the cache of plans. */
  get scopeKey(): string {
    const { zone, hasTemporary } = this;
    const path = this.settings.get('search_path');
    const known = this.#scope;
    if (
      known !== undefined &&
      known.zone === zone &&
      known.path === path &&
      known.hasTemporary === hasTemporary
    )
      return known.key;
    const key = `${this.identity.tenant}\0${this.searchPath.join(',')}\0${hasTemporary ? this.#number : ''}\0${zone}`;
    this.#scope = { zone, path, hasTemporary, key };
    return key;
  }

  /** The key as it was made last, and of what. */
  #scope:
    | {
        readonly zone: string;
        readonly path: string | undefined;
        readonly hasTemporary: boolean;
        readonly key: string;
      }
    | undefined;

  get hasTemporary(): boolean {
    return this.#hasTemporary;
  }

  noteTemporary(): void {
    this.#hasTemporary = true;
  }

  #hasTemporary = false;

  setting(name: string): string | undefined {
    const key = name.toLowerCase();
    if (key === 'timezone' || key === 'time zone') return this.zone;
    if (key === 'adb.user') return this.identity.user;
    if (key === 'adb.tenant' || key === 'tenant') return this.identity.tenant;
    if (key.startsWith('adb.claims.')) {
      const claimed = name.slice('adb.claims.'.length);
      const { claims } = this.identity;
      const claim = Object.hasOwn(claims, claimed) ? claims[claimed] : undefined;
      return claim === undefined || claim === null
        ? undefined
        : typeof claim === 'string'
          ? claim
          : JSON.stringify(claim);
    }
    if (key === 'transaction_isolation')
      return this.transaction?.isolation ?? this.setting('default_transaction_isolation');
    if (key === 'transaction_read_only') return this.transaction?.readOnly === true ? 'on' : 'off';
    return this.settings.get(key) ?? defaultOf(key);
  }

  set(name: string, text: string | undefined, local: boolean): void {
    if (name === 'all' && text === undefined) {
      this.resetSettings();
      return;
    }
    const key = name.toLowerCase() === 'time zone' ? 'timezone' : name.toLowerCase();
    const value =
      text === undefined
        ? undefined
        : key === 'timezone'
          ? hoursAsZone(text)
          : TIMEOUTS.has(key)
            ? durationShown(durationMs(key, text))
            : text;
    if (key === 'timezone' && value !== undefined && !/^(local|default)$/i.test(value)) {
      if (value === text) zoneOf(value);
      else if (findZone(value) === undefined)
        throw new DbError('22023', `invalid value for parameter "TimeZone": "${text}"`, {
          hint: "Give hours from -24 to 24, or an IANA name such as 'Europe/Berlin'.",
        });
    }
    const only = value === undefined || !Object.hasOwn(STYLES, key) ? undefined : STYLES[key];
    if (only !== undefined && !only.test(value!))
      throw notSupported(
        `${name} = '${value}'`,
        `Values look as with ${name} = '${defaultOf(key) ?? 'hex'}' always.`,
      );
    if (
      key === TILES_SETTING &&
      value !== undefined &&
      !/^(on|off|true|false|yes|no|1|0)$/i.test(value)
    )
      throw new DbError('22023', `invalid value for parameter "${name}": "${value}"`, {
        hint: "Give 'on', or 'off' for rows to be read where tiles would answer.",
      });
    if (key === 'tenant')
      throw new DbError('42501', 'permission denied to set parameter "tenant"', {
        hint: "Open the session with { tenant: '…' }.",
      });
    if (
      !key.includes('.') &&
      defaultOf(key) === undefined &&
      key !== 'timezone' &&
      !HARMLESS_SETTINGS.has(key)
    ) {
      throw new DbError('42704', `unrecognized configuration parameter "${name}"`, {
        hint:
          this.settingMeant(name) ??
          'SHOW ALL lists the parameters; your own have a dot in their name.',
      });
    }
    if (local && this.transaction === undefined) return;
    if (local) this.#localNames.add(key);
    if (value === undefined || (key === 'timezone' && /^(local|default)$/i.test(value)))
      this.settings.delete(key);
    else this.settings.set(key, value);
  }

  /** 0: no limit. */
  get statementTimeoutMs(): number {
    return this.#timeoutMs('statement_timeout');
  }

  #timeoutMs(name: 'lock_timeout' | 'statement_timeout'): number {
    const text = this.settings.get(name);
    return text === undefined ? 0 : durationMs(name, text);
  }

  /** Claims all of it, and waits for whoever else has some of it, for as long as lock_timeout says: 55P03. */
  async untilClaimed(
    owner: ClaimOwner,
    relation: number,
    keys: ClaimKeys,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { claims, ports } = this.engine;
    if (claims.take(owner, relation, keys) === undefined) return;
    const timeoutMs = this.#timeoutMs('lock_timeout');
    const closing = [this.#leaving.signal, this.engine.closing];
    const limited = deadline(ports.clock, { signal, timeoutMs }, closing, lockTimedOut);
    // Whoever waits is told how it ends, though there may be nothing else for the process to do.
    let alive: TimerHandle;
    const stayAlive = (): void => {
      alive = ports.clock.after(TRANSACTION_AGE_MS_MAX, stayAlive, true);
    };
    stayAlive();
    try {
      await claims.wait(owner, relation, keys, limited.signal);
    } catch (cause) {
      throw isTimedOut(cause) ? new DbError(cause.code, cause.message, { hint: HELD }) : cause;
    } finally {
      alive!.cancel();
      limited.done();
    }
  }

  /** The hint of an error about a setting that is none. */
  settingMeant(name: string): string | undefined {
    return didYouMean(name, [...this.settingNames, ...HARMLESS_SETTINGS]);
  }

  resetSettings(): void {
    this.settings.clear();
  }

  get settingNames(): readonly string[] {
    return [
      ...new Set([...Object.keys(DEFAULT_SETTINGS), 'timezone', ...this.settings.keys()]),
    ].sort();
  }

  requireRelation(written: WrittenName): StoredEntry | ViewEntry {
    const entry = findRelation(this.catalog, this.scope, written);
    if (entry === undefined || entry.kind === 'sequence') {
      throw relationDoesNotExist(
        written,
        this.catalog.ofTenant(this.identity.tenant).map((each) => each.definition.name),
      );
    }
    return entry;
  }

  /** Its query would be answered in the session's zone, its rows are in the zone it was made in. */
  #assertZoneOf({ view, definition }: MaterializedViewEntry): void {
    if (!view.isZoned || definition.zone === this.zone) return;
    throw new DbError(
      '0A000',
      `materialized view "${definition.name}" cannot be read here: this transaction has changed what it reads, and it is kept in the time zone "${definition.zone}"`,
      {
        table: definition.name,
        hint: `SET timezone = '${definition.zone}' in this transaction, or read the view in another one.`,
      },
    );
  }

  hasRelation(name: string): boolean {
    return findRelation(this.catalog, this.scope, { name }) !== undefined;
  }

  requireTable(written: WrittenName): TableEntry {
    const known = this.#lastTable;
    if (
      known !== undefined &&
      known.name === written.name &&
      written.schema === undefined &&
      written.catalog === undefined &&
      this.transaction === undefined &&
      this.settings.size === 0 &&
      known.epoch === this.engine.state.catalog.epoch
    )
      return known.entry;
    const entry = this.#findTable(written);
    // What another tenant has granted may be taken back, which is no change of the catalog.
    if (
      this.transaction === undefined &&
      this.settings.size === 0 &&
      written.schema === undefined &&
      written.catalog === undefined &&
      entry.definition.tenant === this.identity.tenant
    )
      this.#lastTable = { name: written.name, epoch: this.engine.state.catalog.epoch, entry };
    return entry;
  }

  #findTable(written: WrittenName): TableEntry {
    // A door takes whatever JavaScript hands it.
    if (typeof written.name !== 'string')
      throw new DbError('22023', 'the name of the table is not a text', {
        field: 'table',
        hint: "Write db.insert('orders', rows).",
      });
    const parts = written.name.split('.');
    const entry = this.requireRelation(
      written.schema === undefined && parts.length === 2
        ? { schema: parts[0]!, name: parts[1]! }
        : written,
    );
    if (entry.kind === 'table') return entry;
    throw new DbError(
      '42809',
      `"${written.name}" is a ${entry.kind === 'view' ? 'view' : 'materialized view'}: rows cannot be written to it`,
      { table: written.name, hint: 'Write to the tables it reads; it follows by itself.' },
    );
  }

  /** Runs the statements of a text; several are one transaction unless they say otherwise. */
  run(
    parsed: readonly ParsedStatement[],
    options: ExecutionOptions,
    sinkOf: (index: number) => RowSink,
    turn?: Promise<void>,
  ): Promise<StatementOutcome[]> {
    const inTurn = async (
      sinks: (index: number) => RowSink,
      signal = options.signal,
    ): Promise<StatementOutcome[]> => {
      if (turn !== undefined) {
        await turn;
        this.engine.assertOpen();
      }
      return this.#run(parsed, signal === options.signal ? options : { ...options, signal }, sinks);
    };
    if (options.streams !== true || parsed.length !== 1 || parsed[0]!.statement.kind !== 'query')
      return this.exclusively(() => inTurn(sinkOf));
    let begun = (): void => undefined;
    const started = new Promise<void>((resolve) => (begun = resolve));
    const sink = sinkOf(0);
    const announced: RowSink = {
      begin: (columns, demand) => {
        sink.begin(columns, demand);
        begun();
      },
      take: (batch) => sink.take(batch),
    };
    return this.exclusively(() => {
      const { transaction } = this;
      if (transaction === undefined) return inTurn(() => announced);
      const undone = new AbortController();
      const ended = transaction.streams((cause) => undone.abort(cause));
      const signals = [undone.signal, ...(options.signal === undefined ? [] : [options.signal])];
      return inTurn(() => announced, AbortSignal.any(signals)).finally(ended);
    }, started);
  }

  /** A verb of the embedded API: one thing at a time, and under the rules of statements. */
  verb<Value>(action: () => Promise<Value>): Promise<Value> {
    return this.exclusively(() => this.guarded(action));
  }

  /** What fails in a transaction fails the transaction, and a failed one does nothing more. */
  async guarded<Value>(action: () => Promise<Value>): Promise<Value> {
    const { transaction } = this;
    this.#assertUsable(transaction, false);
    if (transaction === undefined) return action();
    transaction.hasAsked = true;
    const mark = transaction.mark();
    try {
      return await action();
    } catch (cause) {
      this.#failed(transaction, mark, cause);
      throw cause;
    }
  }

  /** One thing at a time: a session is a conversation. The next one begins when this one has ended, or at `until`. */
  exclusively<Value>(action: () => Promise<Value>, until?: Promise<void>): Promise<Value> {
    if (this.#closing !== undefined) return Promise.reject(sessionClosed());
    const result = this.#running.then(action, action);
    const ended = result.catch(() => undefined);
    this.#running = until === undefined ? ended : Promise.race([ended, until]);
    return result;
  }

  async #run(
    parsed: readonly ParsedStatement[],
    options: ExecutionOptions,
    sinkOf: (index: number) => RowSink,
  ): Promise<StatementOutcome[]> {
    const outcomes: StatementOutcome[] = [];
    const implicit = parsed.length > 1 && this.transaction === undefined;
    try {
      for (const [index, statement] of parsed.entries()) {
        if (
          implicit &&
          this.transaction === undefined &&
          !ENDS_TRANSACTION.has(statement.statement.kind)
        ) {
          this.begin({ readOnly: options.readOnly === true ? true : undefined });
          this.explicit = false;
        }
        const own = parsed.length === 1 ? options : { ...options, sharedParams: true };
        outcomes.push(await this.#runOne(statement, own, sinkOf(index)));
      }
      if (implicit && this.transaction !== undefined && !this.explicit) {
        // All of them became visible there.
        const position = await this.commit(options.signal);
        const last = outcomes.pop();
        if (last !== undefined) outcomes.push({ ...last, position });
      }
    } catch (cause) {
      if (implicit && this.transaction !== undefined && !this.explicit) this.rollback();
      throw cause;
    }
    if (parsed.length === 0) outcomes.push(emptyOutcome(this.engine));
    return outcomes;
  }

  #runNewest(
    statement: ParsedStatement,
    options: ExecutionOptions,
    sink: RowSink,
    attempt = 1,
  ): Promise<StatementOutcome> {
    const { transaction } = this;
    const mark = transaction?.mark();
    return runStatement(this, statement, options, sink).catch((cause: unknown) =>
      afterRedefinition(
        cause,
        attempt,
        async (next) => {
          // A statement of several parts has run some of them.
          if (this.transaction === transaction) transaction?.rollbackToMark(mark!);
          await this.#untilReadable(statement.statement.kind, options.signal);
          if (cause instanceof BeingDefined)
            await this.engine.untilRedefined(cause.relation, options.signal);
          return this.#runNewest(statement, options, sink, next);
        },
        options.signal,
      ),
    );
  }

  /** What reads waits for definitions that are on their way: the catalog shows a table that was made anew, which has no rows for readers yet. */
  async #untilReadable(kind: Statement['kind'], signal: AbortSignal | undefined): Promise<void> {
    if (this.engine.turn.definesUnacknowledged && READS.has(kind))
      await this.engine.untilDefined(signal);
  }

  async #runOne(
    statement: ParsedStatement,
    given: ExecutionOptions,
    sink: RowSink,
  ): Promise<StatementOutcome> {
    const { transaction } = this;
    const mark = transaction?.mark();
    const { kind } = statement.statement;
    if (!ENDS_TRANSACTION.has(kind)) this.#assertUsable(transaction, kind === 'query');
    const timeoutMs = this.statementTimeoutMs;
    const limited =
      timeoutMs === 0
        ? undefined
        : deadline(this.engine.ports.clock, { signal: given.signal, timeoutMs });
    const options = limited === undefined ? given : { ...given, signal: limited.signal };
    try {
      if (this.engine.turn.definesUnacknowledged) await this.#untilReadable(kind, options.signal);
      if (kind === 'commit' && transaction?.failed === false) this.#checkAge(transaction);
      if (transaction !== undefined && !ASKS_NOTHING.has(kind)) transaction.hasAsked = true;
      return await (WRITES_ROWS.has(kind) ||
      READS.has(kind) ||
      (transaction === undefined && DEFINES.has(kind))
        ? this.#runNewest(statement, options, sink)
        : runStatement(this, statement, options, sink));
    } catch (cause) {
      if (transaction !== undefined) this.#failed(transaction, mark!, cause);
      throw cause;
    } finally {
      limited?.done();
      if (this.transaction === undefined && !this.sequences.isWritten) await this.#writeSequences();
    }
  }

  /** A transaction that failed, was doomed by another's commit, or is too old or too large does nothing more but end. */
  #assertUsable(transaction: Transaction | undefined, isRead: boolean): void {
    if (transaction === undefined) {
      if (this.endsElsewhere) throw tooLate();
      return;
    }
    if (transaction.failed) {
      throw new DbError(
        IS_ABORTED,
        'current transaction is aborted, commands ignored until end of transaction block',
        { hint: 'Send ROLLBACK, or ROLLBACK TO a savepoint.' },
      );
    }
    try {
      // One that has only read goes on with its snapshot: without writes there is nothing to refuse.
      if (transaction.doomed !== undefined && !(transaction.isEmpty && isRead))
        throw transaction.doomed;
      this.#checkAge(transaction);
    } catch (cause) {
      this.#failed(transaction, transaction.mark(), cause);
      throw cause;
    }
  }

  /** What was asked of it has failed, perhaps before, or beside, any statement. What a statement failed with it knows: that may have been gone back behind meanwhile. */
  fails(transaction: Transaction, cause: unknown): void {
    if (this.#failures.has(cause as object)) return;
    if (cause instanceof DbError && cause.code === IS_ABORTED) return;
    this.#failed(transaction, transaction.mark(), cause);
  }

  #failed(transaction: Transaction, mark: ReturnType<Transaction['mark']>, cause: unknown): void {
    if (this.transaction !== transaction) return;
    // A query that ended since rows were rolled back is no failure of what goes on.
    if (cause instanceof DbError && cause.code === ROWS_UNDONE) return;
    if (typeof cause === 'object' && cause !== null) this.#failures.add(cause);
    transaction.rollbackToMark(mark);
    transaction.failed = true;
    transaction.failure ??= cause;
  }

  /** Values of sequences that no commit has taken along. */
  async #writeSequences(): Promise<void> {
    const operations = this.sequences.operations();
    if (operations.length > 0) {
      await this.engine.commit({
        tenant: this.identity.tenant,
        relations: [],
        prepare: () => operations,
      });
      this.sequences.written(operations);
    }
    this.sequences.forget();
  }

  #checkAge(transaction: Transaction | undefined): void {
    if (transaction === undefined) return;
    if (
      this.engine.ports.clock.monotonicMs() - transaction.startedMonotonicMs >
      TRANSACTION_AGE_MS_MAX
    ) {
      throw tooOld();
    }
    if (transaction.memoryBytes > TRANSACTION_BYTES_MAX) {
      throw new DbError('53200', 'the transaction has written too much', {
        limit: 'memory',
        hint: 'Commit in smaller pieces, or use load.',
      });
    }
  }

  // ── Transactions ───────────────────────────────────────────────────────────────────────────────────────────

  begin(options: TransactionModes): Transaction {
    const { clock } = this.engine.ports;
    const isolation =
      options.isolation ?? (this.setting('default_transaction_isolation') as IsolationLevel);
    const transaction = new Transaction({
      tenant: this.identity.tenant,
      catalog: this.engine.state.catalog,
      isolation,
      readOnly: options.readOnly ?? this.setting('default_transaction_read_only') === 'on',
      nowMicros: clock.now() * 1000,
      startedMonotonicMs: clock.monotonicMs(),
      visiblePosition: this.engine.visiblePosition,
    });
    this.transaction = transaction;
    this.explicit = true;
    this.#settingsBefore = new Map(this.settings);
    this.engine.transactions.add(transaction);
    this.#ageTimer = clock.after(TRANSACTION_AGE_MS_MAX, () => this.#expire(transaction));
    return transaction;
  }

  /** A forgotten transaction holds nobody up: it cannot commit any more, and what it has claimed is free. */
  #expire(transaction: Transaction): void {
    if (this.transaction !== transaction) return;
    transaction.doomed ??= tooOld(transaction.owner.waiters.size > 0);
    this.engine.claims.release(transaction.owner, transaction.doomed);
  }

  /** Resolves with the position at which it is visible. */
  async commit(signal?: AbortSignal): Promise<number> {
    const { transaction, engine } = this;
    if (transaction === undefined) return engine.visiblePosition;
    try {
      // What it has written is gone with the database: that nothing is left of it is no reason to say it is done.
      engine.assertOpen();
      // It has read what stood at its own position, whatever was committed since.
      if (transaction.isEmpty) return transaction.position ?? engine.visiblePosition;
      // Behind the definitions: a sequence may be created by the same commit.
      const sequences = this.sequences.operations();
      const takenOver = engine.views.takenOver(engine, transaction.definitions);
      for (const view of takenOver) await engine.views.refresh(engine, view);
      const { position } = await engine.commit(
        {
          tenant: this.identity.tenant,
          relations: [
            ...transaction.relationsWritten(),
            ...readersNow(engine, transaction.definitions, transaction.catalog),
          ],
          settled: takenOver.length > 0,
          prepare: () => {
            const staged = engine.turn.unacknowledgedDeltas();
            for (const deltas of staged) transaction.testAgainst(deltas, engine.visiblePosition);
            if (transaction.doomed !== undefined) throw transaction.doomed;
            const followed = readersNow(engine, transaction.definitions, transaction.catalog);
            const operations = transaction.operations();
            transaction.assertRowsUnchanged((relation, since) => {
              const entry = engine.state.catalog.byId(relation);
              if (!isStored(entry)) return [];
              return entry.data
                .changes(since, engine.visiblePosition)
                ?.map(({ delta }) => delta)
                .concat(staged.flatMap((deltas) => deltas.get(relation) ?? []));
            }, engine.visiblePosition);
            for (const view of takenOver) engine.views.takeOver(engine, view);
            return Array.isArray(operations)
              ? [...dropsOf(followed), ...operations, ...sequences]
              : chained(dropsOf(followed), operations, sequences);
          },
        },
        signal,
      );
      this.sequences.written(sequences);
      for (const view of takenOver) engine.housekeeping.viewRefreshed(view);
      return position;
    } finally {
      this.#end(transaction, true);
    }
  }

  rollback(): void {
    const { transaction } = this;
    if (transaction === undefined) return;
    transaction.rollback();
    this.#end(transaction, false);
  }

  /**
   * Rolls back what its function has left, be something still under way that nobody awaits: that ends first, and waits for no rows any more. What is
   * asked behind it would be a commit of its own.
   */
  takeBack(transaction: Transaction): Promise<void> {
    transaction.doomed ??= tooLate();
    this.engine.claims.release(transaction.owner, transaction.doomed);
    return this.exclusively(async () => this.rollback());
  }

  #end(transaction: Transaction, committed: boolean): void {
    this.#ageTimer?.cancel();
    this.transaction = undefined;
    this.explicit = false;
    this.engine.transactions.delete(transaction);
    transaction.close();
    this.engine.claims.release(transaction.owner);
    if (this.#settingsBefore !== undefined) {
      for (const name of committed
        ? this.#localNames
        : new Set([...this.settings.keys(), ...this.#settingsBefore.keys()])) {
        const before = this.#settingsBefore.get(name);
        if (before === undefined) this.settings.delete(name);
        else this.settings.set(name, before);
      }
    }
    this.#localNames = new Set();
    this.#settingsBefore = undefined;
  }

  // ── What statements read ───────────────────────────────────────────────────────────────────────────────────

  /** The rows of a relation as this statement sees them. */
  snapshotOf(relation: number, asOf: number | undefined): TableSnapshot {
    if (isSystemRelation(relation)) return systemSnapshot(this, relation, asOf);
    const frozen = this.frozen?.get(relation);
    if (frozen !== undefined) return new BorrowedSnapshot(frozen);
    const entry = this.storedEntry(relation);
    // Whoever was to wait for it runs again; nobody reads nothing and takes it for all there is.
    if (this.engine.turn.redefines(relation) && this.transaction?.isPrivate(relation) !== true)
      throw new BeingDefined(entry.definition.name, relation);
    if (this.transaction !== undefined) {
      if (asOf !== undefined)
        throw notSupported('asOf inside a transaction', 'Read as of a position outside of it.');
      return this.transaction.snapshotOf(entry);
    }
    if (asOf === undefined || asOf >= this.engine.visiblePosition) return entry.data.snapshot();
    const snapshot = entry.data.snapshotAt(asOf);
    if (snapshot === undefined) throw positionGone(asOf, entry);
    return snapshot;
  }

  storedEntry(relation: number): Extract<CatalogEntry, { kind: 'table' | 'materializedView' }> {
    const entry = this.catalog.byId(relation);
    if (!isStored(entry))
      throw new DbError('42P01', 'the relation was dropped meanwhile', {
        hint: 'Run the statement again.',
      });
    if (entry.kind === 'materializedView' && !entry.view.serving) throw viewHasNoRows(entry.view);
    return entry;
  }

  evaluationContext(
    parameters: readonly ParameterValue[],
    options: ExecutionOptions,
  ): EvaluationContext & Pick<InputContext, 'bytes'> {
    return {
      nowMicros: this.transaction?.nowMicros ?? this.engine.ports.clock.now() * 1000,
      bytes: this.bytes,
      zone: options.zone ?? this.zone,
      parameters,
      random: new StatementRandom(this.engine),
      setting: this.#settingOf,
      sequences: this.#readsOnly(options) ? this.sequences.onlyRead : this.sequences,
      calendar: this.#calendarOf,
    };
  }

  /** Outside of a transaction, which says so itself. */
  #readsOnly(options: ExecutionOptions): boolean {
    return (
      options.readOnly === true ||
      (this.transaction === undefined &&
        this.settings.get('default_transaction_read_only') === 'on')
    );
  }

  readonly #calendarOf = (name: string, zone: string | undefined): Calendar =>
    this.engine.state.calendars.require(this.identity.tenant, name).inZoneOfSql(zone);

  /** For who reads out of turn: what is over when the relations are not being altered or dropped any more. What was asked is bound anew then. */
  whileRedefined(
    relations: readonly number[],
    signal: AbortSignal | undefined,
  ): Promise<void> | undefined {
    const { engine, transaction } = this;
    const other = relations.find(
      (relation) => engine.turn.redefines(relation) && transaction?.isPrivate(relation) !== true,
    );
    return other === undefined ? undefined : engine.untilRedefined(other, signal);
  }

  readonly #settingOf = (name: string): string | undefined => this.setting(name);

  get #leaving(): AbortController {
    return (this.#left ??= new AbortController());
  }

  /** What is under way ends first; a statement that waits for rows of others does at once, with 57014. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#leaving.abort(sessionLeft());
    await this.#running;
    this.rollback();
    if (!this.sequences.isWritten && !this.engine.closed) await this.#writeSequences();
    if (this.#hasTemporary) await this.#dropTemporary();
    this.#closed = true;
  }

  async #dropTemporary(): Promise<void> {
    const own = this.engine.state.catalog
      .ofTenant(this.identity.tenant)
      .filter((entry) => entry.definition.schema === this.temporarySchema);
    if (own.length === 0 || this.engine.closed) return;
    const relations = own.map((entry) => entry.definition.id).reverse();
    await this.engine.commit({
      tenant: this.identity.tenant,
      relations,
      prepare: () => relations.map((relation) => ({ op: 'dropRelation', relation })),
    });
  }
}

/** A stream of its own for each statement, made when the first number is asked for: most statements ask for none. */
class StatementRandom {
  readonly #engine: Engine;
  #stream: Random | undefined;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  unit(): number {
    return this.#own().unit();
  }

  uint32(): number {
    return this.#own().uint32();
  }

  #own(): Random {
    this.#stream ??= this.#engine.ports.random.split(`statement ${this.#engine.newId()}`);
    return this.#stream;
  }
}

/** Statements that a change of a table's definition makes run again. */
const WRITES_ROWS = new Set<Statement['kind']>(['insert', 'update', 'delete', 'truncate']);

/** Outside of a transaction they are run again, too: what they were decided by may be another when their turn comes. */
const DEFINES = new Set<Statement['kind']>([
  'alterTable',
  'alterView',
  'createIndex',
  'createMaterializedView',
  'createView',
  'drop',
  'grant',
  'renameIndex',
]);

/**
 * They wait for definitions that are not acknowledged yet, and run again where one comes between. So does a change that reads, when it has looked what it
 * reads; what is only written behind a definition is acknowledged behind it.
 */
const READS = new Set<Statement['kind']>([
  'createMaterializedView',
  'createTableAs',
  'execute',
  'explain',
  'query',
  'refreshMaterializedView',
  'show',
]);

/** Accepted and remembered, without effect. */
const HARMLESS_SETTINGS = new Set([
  'bytea_output',
  'enable_hashjoin',
  'enable_mergejoin',
  'enable_nestloop',
  'enable_seqscan',
  'enable_indexscan',
  'enable_bitmapscan',
  'enable_sort',
  'enable_hashagg',
  'enable_indexonlyscan',
  'enable_material',
  'work_mem',
  'idle_in_transaction_session_timeout',
  'max_parallel_workers_per_gather',
  'synchronous_commit',
  'role',
  'session_authorization',
  'names',
  'xmloption',
  'row_security',
  'default_tablespace',
  'default_table_access_method',
  'check_function_bodies',
  'transform_null_equals',
  'lc_messages',
  'lc_monetary',
  'lc_numeric',
  'lc_time',
  'jit',
  'parallel_setup_cost',
  'parallel_tuple_cost',
  'min_parallel_table_scan_size',
  'enable_partitionwise_join',
  'enable_partitionwise_aggregate',
  'enable_memoize',
  'enable_incremental_sort',
  'seed',
  'escape_string_warning',
  'quote_all_identifiers',
]);

/** After them it may still be said how a transaction reads. */
const ASKS_NOTHING: ReadonlySet<Statement['kind']> = new Set([
  'begin',
  'deallocate',
  'discard',
  'prepare',
  'release',
  'rollbackTo',
  'savepoint',
  'set',
  'setTransaction',
  'show',
]);

/** Heard in a transaction that has failed. */
const ENDS_TRANSACTION: ReadonlySet<Statement['kind']> = new Set([
  'commit',
  'rollback',
  'rollbackTo',
]);

/** A transaction's snapshot pins old rows: it may not live longer. */
const TRANSACTION_AGE_MS_MAX = 60_000;
function tooOld(isWaitedFor = false): DbError {
  return new DbError(
    '25P03',
    `the transaction is older than ${TRANSACTION_AGE_MS_MAX / 1000} seconds`,
    {
      hint: isWaitedFor
        ? 'Others waited for rows that it holds. Where its own function does, with db, it waits for itself: ask with tx. Else keep transactions short.'
        : 'Send ROLLBACK and begin again; keep transactions short.',
    },
  );
}

const TRANSACTION_BYTES_MAX = 1024 * 1024 * 1024;

export function emptyOutcome(engine: Engine, command = ''): StatementOutcome {
  return {
    command,
    columns: [],
    rowCount: 0,
    position: engine.visiblePosition,
    source: 'catalog',
    sources: [],
    queryId: '',
    work: 0,
    elapsedMs: 0,
    queuedMs: 0,
  };
}

/** A result whose rows the engine makes itself: SHOW, EXPLAIN. */
export function textColumns(...names: readonly string[]): OutputColumn[] {
  return names.map((name) => ({ name, type: TEXT, nullable: true }));
}

function positionGone(position: number, entry: CatalogEntry): DbError {
  const { message, hint } = snapshotTooOld(entry.definition.name);
  return new DbError('ADB_POSITION_GONE', message, {
    position,
    table: entry.definition.name,
    hint,
  });
}

export function sessionClosed(): DbError {
  return new DbError('08003', 'the session is closed', { hint: 'Open another with db.session().' });
}

function sessionLeft(): DbError {
  return new DbError('57014', 'canceling statement: its session is closed', {
    hint: 'Await what a session does before you close it.',
  });
}

function lockTimedOut(): DbError {
  return new DbError('55P03', 'canceling statement due to lock timeout', { hint: HELD });
}

/** By `timeoutMs` or statement_timeout, while it waited: whose time is up is not to narrow his query. */
function isTimedOut(cause: unknown): cause is DbError {
  return (
    cause instanceof DbError && cause.code === '57014' && cause.message === STATEMENT_TIMED_OUT
  );
}

const HELD =
  'Another transaction holds the rows: run it again once that has ended, or wait longer. Inside db.transaction ask with tx: what db is asked there waits for the transaction itself.';

const DURATION_UNITS = { ms: 1, s: 1000, min: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** A time as PostgreSQL's settings have it: milliseconds where no unit is given; 0 is no limit. */
function durationMs(name: string, text: string): number {
  const match = /^([+-]?\d+(?:\.\d+)?)\s*(us|ms|s|min|h|d)?$/.exec(text.trim());
  if (match === null)
    throw new DbError('22023', `invalid value for parameter "${name}": "${text}"`, {
      hint: `Give milliseconds or a time with a unit, us, ms, s, min, h or d: SET ${name} = '30s'.`,
    });
  const unit = match[2];
  const factor =
    unit === 'us' ? 0.001 : DURATION_UNITS[(unit ?? 'ms') as keyof typeof DURATION_UNITS];
  const ms = Math.round(Number(match[1]) * factor);
  if (ms < 0 || ms > 2_147_483_647)
    throw new DbError('22023', `${ms} ms is outside the valid range for parameter "${name}"`, {
      hint: 'It may be 0, which is no limit, to 2147483647 ms.',
    });
  return ms;
}

/** In the largest unit that it is a whole number of. */
function durationShown(ms: number): string {
  if (ms === 0) return '0';
  const units = Object.entries(DURATION_UNITS).toReversed();
  const [unit, factor] = units.find(([, size]) => ms % size === 0)!;
  return `${ms / factor}${unit}`;
}

/**
 * A plain number as a time zone is hours east of Greenwich, as in ISO 8601; everywhere else a zone of digits is POSIX's, west of it. It
 * is told as PostgreSQL tells it: 5.5 is <+05:30>-05:30.
 */
function hoursAsZone(text: string): string {
  if (!/^[+-]?(\d+\.?\d*|\.\d+)$/.test(text.trim())) return text;
  const seconds = Math.round(Math.abs(Number(text)) * 3600);
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  while (parts.length > 1 && parts.at(-1) === 0) parts.pop();
  const clock = parts.map((part) => String(part).padStart(2, '0')).join(':');
  const [east, west] = Number(text) < 0 ? '-+' : '+-';
  return `<${east}${clock}>${west}${clock}`;
}

function* chained(...parts: readonly Iterable<Operation>[]): Generator<Operation> {
  for (const part of parts) yield* part;
}
