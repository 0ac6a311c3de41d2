import { DbError, notSupported } from '../base/errors.ts';
import { valueText } from '../base/value-text.ts';
import type { Batch } from '../columns/batch.ts';
import { concatBatches, denseBatch, sliceBatch } from '../columns/build.ts';
import { typeName } from '../columns/types.ts';
import type { OutputColumn } from '../plan/logical.ts';
import type { ParsedStatement } from '../sql/ast.ts';
import type {
  Cancelable,
  ExecResult,
  ExportOptions,
  ExportResult,
  FileFormat,
  HandlerOptions,
  Identity,
  ListenOptions,
  LoadOptions,
  LoadResult,
  LoadSource,
  ProgressiveOptions,
  QueryModelInput,
  QueryOptions,
  QueryResult,
  RequestHandler,
  RowsInput,
  Server,
  Statement,
  StreamBatch,
  SubscribeOptions,
  Subscription,
  TextResult,
  TransactionOptions,
  Verbs,
  WideVerbs,
  WriteOptions,
  WriteResult,
} from './api-types.ts';
import {
  CANCELABLE,
  checkIdentity,
  checkNames,
  checkQueryOptions,
  checkValueOptions,
  IDENTITY,
  namesOf,
  QUERY,
} from './check-options.ts';
import { assertNotAborted, deadline, untilAborted, untilSettled, within } from './deadline.ts';
import { type Engine } from './engine.ts';
import type { DatabaseEventName, DatabaseEvents } from './event-hub.ts';
import { HeldRows, rowObjectBytes } from './held-rows.ts';
import {
  arrowOf,
  checkExportOptions,
  checkLoadOptions,
  exportRows,
  formatted,
  loadRows,
} from './load-export.ts';
import { checkProgressiveOptions, openProgressive, type ProgressiveQuery } from './progressive.ts';
import { Queries } from './queries.ts';
import {
  resultColumns,
  RowWriter,
  textRows,
  type ResultRow,
  type ValueOptions,
} from './rows-out.ts';
import { RecoveryVerbs } from './recovery-verbs.ts';
import { Session, type ExecutionOptions, type RowSink, type StatementOutcome } from './session.ts';
import { quoteIdentifier, SqlText } from './sql-tag.ts';
import { checkSubscribeOptions, openSubscription } from './subscribe.ts';
import { WindowSubscription } from './window-subscription.ts';
import {
  checkWriteOptions,
  deleteByKey,
  insertRows,
  isAsyncIterable,
  keyOf,
} from './write-verbs.ts';
import type { ViewUpkeep } from './maintained-view.ts';
import { isKeptOf, isUnjournaled } from './catalog.ts';
import { definitionText } from './view-text.ts';
import { CalendarVerbs } from './calendars.ts';
import { PolicyVerbs } from './policies.ts';
import { explainedWindow, type WindowExplanation } from './explain-window.ts';
import {
  inSteps,
  metaOf,
  runWindowQuery,
  windowColumns,
  windowsAtOnce,
  type Following,
  type WindowQuery,
  type WindowResult,
  type WindowResultRow,
  type WindowRun,
} from './window-query.ts';

/** A window query with the table it reads: what is followed. */
export type WindowQuestionInput = WindowQuery & { readonly table: string };

/** What is known of a relation from outside: `GET /v1/tables`. */
export type RelationDescription = {
  readonly name: string;
  readonly schema: string;
  readonly kind: 'table' | 'view' | 'materializedView';
  readonly columns: readonly {
    readonly name: string;
    readonly type: string;
    readonly nullable: boolean;
  }[];
  readonly primaryKey: readonly string[];
  readonly rowCount: number | undefined;
  readonly bytes: number | undefined;
  /** A materialized view's: live, building, failed. */
  readonly state?: string;
  readonly refresh?: string;
  readonly definition?: string;
  /** A materialized view's: what keeping it has taken since it went live. */
  readonly upkeep?: Readonly<ViewUpkeep>;
};

/**
 * The verbs, as one identity: a light handle, safe to share. Each call is a session of its own; `session()` gives one
 * that remembers.
 */
export class Handle implements WideVerbs {
  protected readonly engine: Engine;
  protected readonly identity: Identity;
  readonly #bytes: 'base64' | undefined;

  constructor(
    engine: Engine,
    identity: Identity,
    options: { readonly bytes?: 'base64' | undefined } = {},
  ) {
    this.engine = engine;
    this.identity = identity;
    this.#bytes = options.bytes;
  }

  #session(identity: Identity): Session {
    const session = new Session(this.engine, { ...this.identity, ...pickIdentity(identity) });
    session.bytes = this.#bytes;
    return session;
  }

  async exec(statement: string | SqlText, options: QueryOptions = {}): Promise<ExecResult> {
    checkQueryOptions(options);
    const { text, params } = this.textOf(statement, options);
    const outcomes = await this.execute(text, { ...options, params }, () => IGNORE_ROWS);
    const last = outcomes.at(-1)!;
    return { position: last.position, rows: last.rowCount, command: last.command };
  }

  query<Row = ResultRow>(
    statement: Statement<Row>,
    options: QueryOptions & { readonly format: 'text' },
  ): Promise<TextResult>;
  query<Row = ResultRow>(
    statement: Statement<Row>,
    options?: QueryOptions,
  ): Promise<QueryResult<Row>>;
  async query(
    statement: Statement,
    options: QueryOptions & { readonly format?: 'text' } = {},
  ): Promise<QueryResult | TextResult> {
    checkQueryOptions(options, READ_OPTIONS);
    const { text, params } = this.textOf(statement, options);
    if (options.format !== undefined && options.format !== 'text')
      throw new DbError('22023', `a result has no format "${valueText(options.format)}"`, {
        field: 'format',
        hint: "Give 'text' for rows of texts, or use db.stream for bytes of a format.",
      });
    const asText = options.format === 'text';
    const zone = this.zoneOf(options);
    const values = { ...this.values, ...options.values };
    let columns: readonly OutputColumn[] = [];
    let writer: RowWriter | undefined;
    let rows: (ResultRow | (string | null)[])[] = [];
    const held = new HeldRows(this.engine.answerMemory, READ_IN_PIECES);
    const outcomes = await this.execute(text, { ...options, params }, () => ({
      begin: (given) => {
        columns = given;
        rows = [];
        held.release();
        writer = asText ? undefined : new RowWriter(given, values);
      },
      take: (batch) => {
        held.add(rowObjectBytes(batch));
        if (writer === undefined) rows.push(...textRows(columns, batch, zone));
        else writer.append(batch, rows as ResultRow[]);
        return true;
      },
    })).finally(() => held.release());
    const last = outcomes.at(-1)!;
    const meta = metaOf(this.engine, last);
    const shared = {
      columns: resultColumns(last.columns),
      rowCount: last.rowCount,
      command: last.command,
      meta,
    };
    if (asText) return { rows: rows as (string | null)[][], ...shared };
    const typed = rows as ResultRow[];
    const context = { zone, nowMicros: this.engine.ports.clock.now() * 1000 };
    return { rows: typed, ...shared, toArrow: () => arrowOf(last.columns, typed, context) };
  }

  stream<Row = ResultRow>(
    statement: Statement<Row>,
    options: QueryOptions & { readonly batchRows?: number; readonly format: FileFormat },
  ): AsyncIterable<Uint8Array>;
  stream<Row = ResultRow>(
    statement: Statement<Row>,
    options?: QueryOptions & { readonly batchRows?: number },
  ): AsyncIterable<StreamBatch<Row>>;
  stream(
    statement: Statement,
    options: QueryOptions & { readonly batchRows?: number; readonly format?: FileFormat } = {},
  ): AsyncIterable<Uint8Array> | AsyncIterable<StreamBatch> {
    checkQueryOptions(options, STREAM_OPTIONS);
    const { text, params } = this.textOf(statement, options);
    const { batchRows, format } = options;
    if (batchRows !== undefined && !(Number.isSafeInteger(batchRows) && batchRows > 0)) {
      throw new DbError('22023', '"batchRows" is not a number of rows', {
        field: 'batchRows',
        hint: 'Give a whole number such as 4096.',
      });
    }
    if (format !== undefined) {
      const batches = this.batches(text, { ...options, params });
      return formatted(this.engine, batches, format, this.zoneOf(options));
    }
    return this.#rowBatches(text, { ...options, params });
  }

  async *#rowBatches(
    text: string,
    options: ExecutionOptions & { readonly batchRows?: number },
  ): AsyncGenerator<StreamBatch> {
    const values = { ...this.values, ...options.values };
    let writer: RowWriter | undefined;
    const wanted = options.batchRows;
    let collected: Batch[] = [];
    let rowCount = 0;
    for await (const { batch, columns } of this.batches(text, options)) {
      writer ??= new RowWriter(columns, values);
      if (batch.rowCount === 0) continue;
      if (wanted === undefined) {
        yield streamBatch(batch, writer);
        continue;
      }
      collected.push(batch);
      rowCount += batch.rowCount;
      if (rowCount < wanted) continue;
      const whole = concatBatches(collected);
      let start = 0;
      for (; start + wanted <= rowCount; start += wanted)
        yield streamBatch(sliceBatch(whole, start, start + wanted), writer);
      collected = start < rowCount ? [sliceBatch(whole, start, rowCount)] : [];
      rowCount -= start;
    }
    if (rowCount > 0) yield streamBatch(concatBatches(collected), writer!);
  }

  /** The batches of a query, pulled: backpressure reaches the operators. One at least, that the columns may be known. */
  async *batches(
    text: string,
    options: ExecutionOptions,
  ): AsyncGenerator<{ readonly batch: Batch; readonly columns: readonly OutputColumn[] }> {
    const abort = new AbortController();
    const { signal, done } = deadline(this.engine.ports.clock, options);
    const stop = (): void => abort.abort(signal?.reason);
    if (signal?.aborted === true) stop();
    else signal?.addEventListener('abort', stop, { once: true });
    let columns: readonly OutputColumn[] = [];
    let begun = false;
    let empty = true;
    const queue: Batch[] = [];
    let demand = (): void => undefined;
    let wake = (): void => undefined;
    let ended = false;
    let failure: unknown;
    const finished = this.execute(
      text,
      { ...options, signal: abort.signal, timeoutMs: undefined, streams: true },
      () => ({
        begin: (given, more) => {
          columns = given;
          begun = true;
          demand = more;
        },
        take: (batch) => {
          // The selection is the operator's own; what it selects from is never written again.
          queue.push(denseBatch(batch));
          wake();
          return queue.length < STREAM_AHEAD_BATCHES;
        },
      }),
    ).then(
      () => {
        ended = true;
        wake();
      },
      (cause: unknown) => {
        failure = cause;
        ended = true;
        wake();
      },
    );
    try {
      for (;;) {
        const batch = queue.shift();
        if (batch !== undefined) {
          empty = false;
          yield { batch, columns };
          if (queue.length < STREAM_AHEAD_BATCHES) demand();
          continue;
        }
        if (ended) break;
        await new Promise<void>((resolve) => (wake = resolve));
      }
      if (failure !== undefined) throw failure;
      if (begun && empty) yield { batch: NO_ROWS, columns };
    } finally {
      signal?.removeEventListener('abort', stop);
      done();
      if (!ended)
        abort.abort(new DbError('57014', 'canceling statement: its rows are no longer read'));
      await finished;
    }
  }

  /** An answer that begins as an estimate and ends exact: see ProgressiveQuery. */
  progressive<Keys = ResultRow, Values = object>(
    statement: Statement,
    options: ProgressiveOptions = {},
  ): ProgressiveQuery<Keys, Values> {
    this.engine.assertOpen();
    checkProgressiveOptions(options);
    const { text, params } = this.textOf(statement, options);
    return openProgressive(this.engine, this.readSession(options), text, params, options, {
      ...this.values,
      ...options.values,
    }) as unknown as ProgressiveQuery<Keys, Values>;
  }

  insert(table: string, rows: RowsInput, options: WriteOptions = {}): Promise<WriteResult> {
    return insertRows(this.engine, this.writeSession(), table, rows, 'insert', options);
  }

  upsert(table: string, rows: RowsInput, options: WriteOptions = {}): Promise<WriteResult> {
    return insertRows(this.engine, this.writeSession(), table, rows, 'upsert', options);
  }

  delete(
    table: string,
    key: Readonly<Record<string, unknown>>,
    options: WriteOptions = {},
  ): Promise<WriteResult> {
    return deleteByKey(this.engine, this.writeSession(), table, key, options);
  }

  async load(table: string, source: LoadSource, options: LoadOptions = {}): Promise<LoadResult> {
    checkLoadOptions(options);
    const session = this.writeSession();
    const { idempotencyKey } = options;
    if (idempotencyKey === undefined)
      return loadRows(this.engine, session, table, source, options, undefined);
    const key = keyOf(session, table, idempotencyKey);
    return this.engine.idempotency.once(
      key,
      (before) => loadRows(this.engine, session, table, source, options, { key, before }),
      (done) => ({ ...done, skipped: 0, errors: [] }),
    );
  }

  async export(
    source: string | SqlText | QueryModelInput,
    target: string | URL | NodeJS.WritableStream,
    options: ExportOptions = {},
  ): Promise<ExportResult> {
    checkExportOptions(options);
    const statement =
      typeof source === 'string' && /^[\w.]+$/.test(source)
        ? `SELECT * FROM ${source.split('.').map(quoteIdentifier).join('.')}`
        : source;
    const { text, params } = this.textOf(statement, {});
    return exportRows(
      this.engine,
      this.batches(text, { params, signal: options.signal, timeoutMs: options.timeoutMs }),
      target,
      options,
    );
  }

  subscribe(
    what: { readonly window: WindowQuestionInput },
    options?: SubscribeOptions,
  ): Subscription<WindowResultRow>;
  subscribe<Row = ResultRow>(
    what: string | SqlText<Row> | QueryModelInput,
    options?: SubscribeOptions,
  ): Subscription<Row>;
  subscribe<Row = ResultRow>(
    what: string | SqlText<Row> | QueryModelInput | { readonly window: WindowQuestionInput },
    options: SubscribeOptions = {},
  ): Subscription<Row> | Subscription<WindowResultRow> {
    this.engine.assertOpen();
    checkNames(options, SUBSCRIBE_OPTIONS);
    checkIdentity(options);
    if (typeof what === 'object' && what !== null && 'window' in what && !('from' in what))
      return this.#followWindow(what.window as WindowQuestionInput, options);
    if (typeof what !== 'string' && !(what instanceof SqlText) && !('from' in Object(what)))
      throw new DbError('22023', 'nothing says what is followed', {
        hint: 'Give the name of a table or view, sql`SELECT …`, or { window: { table, … } }.',
      });
    const session = this.#session(options);
    const isName =
      typeof what === 'string' && (/^[\w.]+$/.test(what.trim()) || session.hasRelation(what));
    return openSubscription(
      this.engine,
      session,
      isName ? what.trim() : this.textOf(what as Statement, { params: options.params }),
      options,
    ) as Subscription<Row>;
  }

  #followWindow(
    { table, ...query }: WindowQuestionInput,
    options: SubscribeOptions,
  ): Subscription<WindowResultRow> {
    const { engine } = this;
    const { from, heartbeatMs, maxRate } = checkSubscribeOptions(options);
    const { signal, done } = deadline(engine.ports.clock, options);
    const identity = { ...this.identity, ...pickIdentity(options) };
    return new WindowSubscription({
      clock: engine.ports.clock,
      hub: engine.subscriptions,
      columns: async () =>
        windowColumns(this.readSession(identity), table, query, { values: this.values }),
      run: (asOf, before) =>
        this.runWindow(
          table,
          query,
          {
            ...pickIdentity(options),
            params: options.params,
            values: options.values,
            signal,
            asOf,
          },
          { before },
        ),
      from,
      refreshMs: maxRate === undefined ? undefined : 1000 / maxRate,
      watchSettings: (wake) => {
        engine.state.settingsWatchers.add(wake);
        return () => void engine.state.settingsWatchers.delete(wake);
      },
      isKeptOf: (relation, relations) => isKeptOf(engine.state.catalog, relation, relations),
      calendar: () =>
        typeof query.calendar === 'string'
          ? engine.state.calendars.find(identity.tenant ?? 'main', query.calendar)
          : undefined,
      refreshOf: (relation) => {
        const entry = engine.state.catalog.byId(relation);
        return entry?.kind === 'table' ? (entry.definition.policy?.refresh ?? []) : [];
      },
      heartbeatMs,
      signal,
      done,
      newest: () => {
        const position = engine.visiblePosition;
        return { position, asOf: engine.asOfText(position) };
      },
      isClosed: () => engine.closed,
    });
  }

  async transaction<Value>(
    run: (tx: Verbs) => Promise<Value>,
    options: TransactionOptions = {},
  ): Promise<{ readonly value: Value; readonly position: number }> {
    this.engine.assertOpen();
    checkNames(options, TRANSACTION_OPTIONS);
    if (typeof run !== 'function')
      throw new DbError('22023', 'a transaction is a function', {
        hint: 'Write db.transaction(async (tx) => { await tx.insert(…); }).',
      });
    const retries = options.retries ?? 0;
    if (!(Number.isSafeInteger(retries) && retries >= 0)) {
      throw new DbError('22023', '"retries" is not a number of times', {
        field: 'retries',
        hint: 'Give a whole number such as 3.',
      });
    }
    const { signal, done } = deadline(this.engine.ports.clock, options, [this.engine.closing]);
    try {
      for (let attempt = 0; ; attempt += 1) {
        assertNotAborted(signal);
        const session = this.#session({});
        const own = session.begin({
          isolation: 'serializable',
          readOnly: options.readOnly ?? false,
        });
        session.endsElsewhere = true;
        let isCommitted = false;
        try {
          const heard = (cause: unknown): boolean => {
            // What comes too late to be part of it is told to nobody but who awaits it.
            if (isCommitted) return false;
            session.fails(own, cause);
            return true;
          };
          const tx = new TransactionHandle(this.engine, session, { signal, heard });
          const value = await untilSettled(run(tx), signal);
          const position = await session.exclusively(() => {
            if (own.failed) throw failedUnheard(own.failure);
            return session.commit(signal);
          });
          isCommitted = true;
          return { value, position };
        } catch (cause) {
          await session.takeBack(own);
          const why = cause instanceof DbError && cause.code === '25P02' ? own.failure : cause;
          const again =
            why instanceof DbError &&
            BEGUN_AGAIN.has(why.code) &&
            attempt < retries &&
            signal?.aborted !== true;
          if (!again) throw cause;
        } finally {
          await session.close();
        }
      }
    } finally {
      done();
    }
  }

  session(options: SessionOptions = {}): SessionHandle {
    this.engine.assertOpen();
    checkNames(options, SESSION_OPTIONS);
    checkIdentity(options);
    checkValueOptions(options.values);
    const session = this.#session(options);
    return new SessionHandle(this.engine, session, { values: options.values });
  }

  /** The same verbs as somebody else. `bytes: 'base64'`: texts for bytea are base64, as JSON has them. */
  as(identity: Identity, options: { readonly bytes?: 'base64' | undefined } = {}): Handle {
    checkNames(identity, IDENTITY_NAMES);
    checkIdentity(identity);
    return new Handle(
      this.engine,
      { ...this.identity, ...identity },
      { bytes: options.bytes ?? this.#bytes },
    );
  }

  /** How values come out unless a call says otherwise. */
  protected get values(): ValueOptions {
    return this.engine.options.values;
  }

  /** Tables and views this identity owns. */
  describe(): RelationDescription[] {
    const tenant = this.identity.tenant ?? 'main';
    return this.engine.state.catalog.ofTenant(tenant).flatMap((entry): RelationDescription[] => {
      // Queries that somebody follows are nobody's views.
      if (entry.kind === 'sequence' || isUnjournaled(entry)) return [];
      const { info, definition } = entry;
      const stored = entry.kind === 'view' ? undefined : entry.data;
      const primary = info.indexes.find((index) => index.primary);
      return [
        {
          name: definition.name,
          schema: definition.schema,
          kind: entry.kind,
          columns: info.columns.map(({ name, type, nullable }) => ({
            name,
            type: typeName(type),
            nullable,
          })),
          primaryKey: primary?.columnIndexes.map((index) => info.columns[index]!.name) ?? [],
          rowCount: stored?.rowCount,
          bytes: stored?.memoryBytes,
          ...(entry.kind === 'table'
            ? {}
            : { definition: definitionText(entry, this.engine.state.catalog) }),
          ...(entry.kind === 'materializedView'
            ? {
                state: entry.view.status,
                refresh: String(entry.definition.options.refresh),
                upkeep: { ...entry.view.upkeep },
              }
            : {}),
        },
      ];
    });
  }

  /** 42P01 where there is no such table or view. */
  mustExist(name: string): void {
    const parts = name.split('.');
    new Session(this.engine, this.identity).requireRelation({
      name: parts.at(-1)!,
      ...(parts.length > 1 ? { schema: parts.at(-2)! } : {}),
    });
  }

  /**
   * Whether rows of a table or view may be others than at `position`; true, too, where that is not known any more. Of a plain view
   * only that nothing at all has happened is known.
   */
  changedSince(name: string, position: number): boolean {
    const entry = new Session(this.engine, this.identity).requireRelation({ name });
    const { visiblePosition } = this.engine;
    if (position === visiblePosition) return false;
    if (position > visiblePosition || entry.kind === 'view') return true;
    return entry.data.changes(position, visiblePosition)?.length !== 0;
  }

  /** What runs for this identity's tenant. */
  get queries(): Queries {
    return (this.#queries ??= new Queries(this.engine, this.identity.tenant ?? 'main'));
  }

  #queries: Queries | undefined;

  /** The text and parameters of whatever a statement may be given as. */
  protected textOf(
    statement: Statement,
    options: { readonly params?: readonly unknown[] | undefined },
  ): { text: string; params: readonly unknown[] } {
    if (typeof statement === 'string') return { text: statement, params: options.params ?? [] };
    if (statement instanceof SqlText) return { text: statement.text, params: statement.values };
    if (typeof statement === 'object' && statement !== null && 'from' in statement) {
      throw notSupported('a query model', 'Write the query in SQL.');
    }
    throw new DbError('22023', 'a statement is a text or sql`…`', {
      hint: "Write db.query('SELECT 1') or db.query(sql`SELECT ${1}`).",
    });
  }

  /** Aggregates over windows of time: docs/windows.md. */
  async window(
    table: string,
    query: WindowQuery,
    options: QueryOptions = NO_OPTIONS,
  ): Promise<WindowResult> {
    // Most answers are given here and now: one promise, and no turn of the microtasks before it.
    const run = this.#windowServed(table, query, options);
    return (run ?? (await this.#windowInTurn(table, query, options))).result;
  }

  /** Runs a window query and tells what it read: boundaries, days that are not 24 hours long, tiles, rows. */
  async explainWindow(
    table: string,
    query: WindowQuery,
    options: QueryOptions = {},
  ): Promise<WindowExplanation> {
    const run = await this.runWindow(table, query, options);
    const { state } = this.engine;
    const kept = run.relations.map((relation) => state.keptTable(relation)).find(Boolean);
    return inSteps(this.engine, explainedWindow(table, run, kept));
  }

  protected async runWindow(
    table: string,
    query: WindowQuery,
    options: QueryOptions,
    follows?: Following,
  ): Promise<WindowRun> {
    return (
      this.#windowServed(table, query, options, follows) ??
      this.#windowInTurn(table, query, options, follows)
    );
  }

  /** Undefined where I/O has waited for long, or it is no answer to be given at once. */
  #windowServed(
    table: string,
    query: WindowQuery,
    options: QueryOptions,
    follows?: Following,
  ): WindowRun | undefined {
    checkQueryOptions(options);
    this.engine.assertOpen();
    return isUndisturbed(options) ? this.#windowAtOnce(table, query, options, follows) : undefined;
  }

  async #windowInTurn(
    table: string,
    query: WindowQuery,
    options: QueryOptions,
    follows?: Following,
  ): Promise<WindowRun> {
    const { engine } = this;
    if (isUndisturbed(options)) {
      // Who asks one after another, or for many at once, lets others have the thread now and then.
      let hasWaited = false;
      for (let turns = 0; turns < TURNS_MAX; turns += 1) {
        const turn = engine.untilTurn();
        if (turn === undefined) break;
        await turn;
        hasWaited = true;
      }
      engine.assertOpen();
      if (hasWaited && options.signal?.aborted !== true) {
        const run = this.#windowAtOnce(table, query, options, follows);
        if (run !== undefined) return run;
      }
    }
    const { signal, done } = deadline(engine.ports.clock, options);
    try {
      if (options.atLeast !== undefined) await this.engine.untilVisible(options.atLeast, signal);
      return await this.inSession(options, (session) =>
        runWindowQuery(session, table, query, {
          ...options,
          signal,
          timeoutMs: undefined,
          values: { ...this.values, ...options.values },
          follows,
        }),
      );
    } catch (cause) {
      this.engine.metrics.failed();
      throw cause;
    } finally {
      done();
    }
  }

  #windowAtOnce(
    table: string,
    query: WindowQuery,
    options: QueryOptions,
    follows: Following | undefined,
  ): WindowRun | undefined {
    const session = this.shortSession(options);
    if (session === undefined) return undefined;
    try {
      const values =
        options.values === undefined ? this.values : { ...this.values, ...options.values };
      return windowsAtOnce(session, table, query, { ...options, values, follows });
    } catch (cause) {
      this.engine.metrics.failed();
      throw cause;
    }
  }

  #reader: Session | undefined;

  /** A session for what begins and ends in one turn, and leaves nothing in it. */
  protected shortSession(identity: Identity): Session | undefined {
    const { tenant, user, claims } = identity;
    if (tenant !== undefined || user !== undefined || claims !== undefined)
      return this.#session(identity);
    return (this.#reader ??= this.#session({}));
  }

  /** Calendars by name, for windows and SQL. */
  get calendars(): CalendarVerbs {
    return new CalendarVerbs(this.engine, this.identity.tenant ?? 'main');
  }

  /** What tables keep, and for how long: docs/policies.md. */
  get policies(): PolicyVerbs {
    return new PolicyVerbs(() => this.#session({}));
  }

  /** Does something in the session these verbs speak in. */
  protected inSession<Value>(
    identity: Identity,
    action: (session: Session) => Promise<Value>,
  ): Promise<Value> {
    return action(this.#session(identity));
  }

  protected zoneOf(options: QueryOptions): string {
    return options.zone ?? this.engine.options.zone;
  }

  protected readSession(identity: Identity): Session {
    return this.#session(identity);
  }

  #writer: Session | undefined;

  protected writeSession(): Session {
    // One for all calls, while it remembers nothing: values of sequences belong to the call that drew them.
    if (this.#writer === undefined || !this.#writer.sequences.isWritten)
      this.#writer = this.#session({});
    return this.#writer;
  }

  protected async execute(
    text: string,
    options: ExecutionOptions,
    sinkOf: (index: number) => RowSink,
  ): Promise<StatementOutcome[]> {
    const session = this.#session(options);
    try {
      const outcomes = await executeIn(this.engine, session, text, options, sinkOf);
      if (session.transaction !== undefined) throw leftOpen();
      const { command } = outcomes.at(-1)!;
      if (FORGOTTEN_COMMANDS.has(command)) throw forgotten(command);
      return outcomes;
    } finally {
      if (session.transaction !== undefined || session.hasTemporary) await session.close();
    }
  }
}

/** The verbs inside one session: transaction state, settings, prepared statements. */
export class SessionHandle extends Handle implements AsyncDisposable {
  readonly #session: Session;
  /** Ends whatever is under way: a transaction's. */
  readonly #signal: AbortSignal | undefined;
  readonly #values: ValueOptions | undefined;

  constructor(
    engine: Engine,
    session: Session,
    options: {
      readonly signal?: AbortSignal | undefined;
      readonly values?: ValueOptions | undefined;
    } = {},
  ) {
    super(engine, session.identity);
    this.#session = session;
    this.#signal = options.signal;
    this.#values = options.values;
  }

  protected override get values(): ValueOptions {
    return { ...super.values, ...this.#values };
  }

  override insert(
    table: string,
    rows: RowsInput,
    options: WriteOptions = {},
  ): Promise<WriteResult> {
    return this.#write(table, rows, 'insert', options);
  }

  override upsert(
    table: string,
    rows: RowsInput,
    options: WriteOptions = {},
  ): Promise<WriteResult> {
    return this.#write(table, rows, 'upsert', options);
  }

  override delete(
    table: string,
    key: Readonly<Record<string, unknown>>,
    options: WriteOptions = {},
  ): Promise<WriteResult> {
    return this.#session.verb(() => super.delete(table, key, this.#asStatement(options)));
  }

  override load(table: string, source: LoadSource, options: LoadOptions = {}): Promise<LoadResult> {
    if (options.idempotencyKey !== undefined && this.#session.transaction !== undefined)
      return Promise.reject(keyInTransaction());
    // Not one thing at a time: what it reads may come from a stream of this very session.
    return this.#session.guarded(() => super.load(table, source, this.#asStatement(options)));
  }

  async #write(
    table: string,
    rows: RowsInput,
    mode: 'insert' | 'upsert',
    options: WriteOptions,
  ): Promise<WriteResult> {
    checkWriteOptions(options);
    if (options.idempotencyKey !== undefined && this.#session.transaction !== undefined)
      throw keyInTransaction();
    const own = this.#asStatement(options);
    const key = options.idempotencyKey;
    const write = (chunk: RowsInput, options: WriteOptions): Promise<WriteResult> =>
      this.#session.verb(() => super[mode](table, chunk, options));
    if (!isAsyncIterable(rows)) return write(rows, own);
    // A chunk at a time: what makes the rows may use this very session.
    const { signal, done } = deadline(this.engine.ports.clock, own, [this.engine.closing]);
    try {
      let last: WriteResult = { position: this.engine.visiblePosition, rows: 0 };
      let number = 0;
      for await (const chunk of untilAborted(rows, signal)) {
        number += 1;
        // Each is a write of its own: what another session does in between is seen.
        const { position, rows: count } = await write(
          chunk,
          key === undefined ? own : { ...own, idempotencyKey: `${key}\0${number}` },
        );
        last = { position, rows: last.rows + count };
      }
      return last;
    } finally {
      done();
    }
  }

  /** A verb is a statement of its session: SET statement_timeout is for both. */
  #asStatement<Options extends Cancelable>(options: Options): Options {
    const own = this.#withSignal(options);
    const { statementTimeoutMs } = this.#session;
    return own.timeoutMs !== undefined || statementTimeoutMs === 0
      ? own
      : { ...own, timeoutMs: statementTimeoutMs };
  }

  #withSignal<Options extends Cancelable>(options: Options): Options {
    const whole = this.#signal;
    if (whole === undefined) return options;
    const { signal } = options;
    return { ...options, signal: signal === undefined ? whole : AbortSignal.any([signal, whole]) };
  }

  protected override execute(
    text: string,
    options: ExecutionOptions,
    sinkOf: (index: number) => RowSink,
  ): Promise<StatementOutcome[]> {
    return executeIn(this.engine, this.#session, text, this.#withSignal(options), sinkOf);
  }

  protected override writeSession(): Session {
    return this.#session;
  }

  protected override readSession(): Session {
    return this.#session;
  }

  protected override inSession<Value>(
    _identity: Identity,
    action: (session: Session) => Promise<Value>,
  ): Promise<Value> {
    return this.#session.verb(() => action(this.#session));
  }

  /** A session's statements wait for each other. */
  protected override shortSession(): Session | undefined {
    return undefined;
  }

  protected override zoneOf(options: QueryOptions): string {
    return options.zone ?? this.#session.zone;
  }

  /** `idle`, `active` (inside a transaction) or `failed` (only ROLLBACK is heard). */
  get status(): 'idle' | 'active' | 'failed' {
    const { transaction } = this.#session;
    return transaction === undefined ? 'idle' : transaction.failed ? 'failed' : 'active';
  }

  close(): Promise<void> {
    return this.#session.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** The verbs of a transaction's function. What fails of them fails the transaction, which says so: that nobody awaits one ends no process. */
class TransactionHandle extends SessionHandle {
  /** Whether the transaction tells of it. */
  readonly #heard: (cause: unknown) => boolean;

  constructor(
    engine: Engine,
    session: Session,
    options: {
      readonly signal: AbortSignal | undefined;
      readonly heard: (cause: unknown) => boolean;
    },
  ) {
    super(engine, session, options);
    this.#heard = options.heard;
  }

  override exec(...given: Parameters<SessionHandle['exec']>): Promise<ExecResult> {
    return this.#told(super.exec(...given));
  }

  override query<Row = ResultRow>(
    statement: Statement<Row>,
    options: QueryOptions & { readonly format: 'text' },
  ): Promise<TextResult>;
  override query<Row = ResultRow>(
    statement: Statement<Row>,
    options?: QueryOptions,
  ): Promise<QueryResult<Row>>;
  override query(
    statement: Statement,
    options?: QueryOptions & { readonly format?: 'text' },
  ): Promise<QueryResult | TextResult> {
    return this.#told(super.query(statement, options));
  }

  override insert(...given: Parameters<SessionHandle['insert']>): Promise<WriteResult> {
    return this.#told(super.insert(...given));
  }

  override upsert(...given: Parameters<SessionHandle['upsert']>): Promise<WriteResult> {
    return this.#told(super.upsert(...given));
  }

  override delete(...given: Parameters<SessionHandle['delete']>): Promise<WriteResult> {
    return this.#told(super.delete(...given));
  }

  override load(...given: Parameters<SessionHandle['load']>): Promise<LoadResult> {
    return this.#told(super.load(...given));
  }

  #told<Value>(answer: Promise<Value>): Promise<Value> {
    const told: Promise<Value> = answer.catch((cause: unknown) => {
      if (this.#heard(cause)) told.catch(() => undefined);
      throw cause;
    });
    return told;
  }
}

/** What `open` puts in: servers stand above the actors, and are loaded when somebody wants one. */
export type Doors = {
  listen(database: Database, engine: Engine, options: ListenOptions): Promise<Server>;
  handler<Request extends import('node:http').IncomingMessage>(
    database: Database,
    engine: Engine,
    options: HandlerOptions<Request>,
  ): RequestHandler<Request>;
};

/** The database: the verbs as tenant `main`, and what belongs to the whole. */
export class Database extends Handle implements AsyncDisposable {
  readonly metrics: {
    text(options?: Cancelable): Promise<string>;
    snapshot(): Record<string, number>;
  };
  /** Tables that broke, and what is decided about them (docs/durability.md). */
  readonly recovery: RecoveryVerbs;
  readonly #doors: Doors | undefined;

  constructor(engine: Engine, doors?: Doors) {
    super(engine, { tenant: 'main' });
    this.#doors = doors;
    this.recovery = new RecoveryVerbs(engine);
    this.metrics = {
      text: (options) =>
        within(engine.ports.clock, options, (signal) =>
          untilSettled(engine.metrics.text(), signal),
        ),
      snapshot: () => engine.metrics.snapshot(),
    };
  }

  /** Listens to the database's own events; returns what ends it. */
  on<Name extends DatabaseEventName>(
    name: Name,
    listener: (event: DatabaseEvents[Name]) => void,
  ): () => void {
    return this.engine.events.on(name, listener);
  }

  /** Serves the REST door of this database; closed with the database at the latest. */
  async listen(options: ListenOptions): Promise<Server> {
    this.engine.assertOpen();
    const server = await this.#requireDoors().listen(this, this.engine, options);
    this.engine.onClose(() => server.close());
    return server;
  }

  /** The REST door inside your own Express, Fastify or http server. */
  handler<
    Request extends import('node:http').IncomingMessage = import('node:http').IncomingMessage,
  >(options: HandlerOptions<Request> = {}): RequestHandler<Request> {
    return this.#requireDoors().handler(this, this.engine, options);
  }

  #requireDoors(): Doors {
    if (this.#doors !== undefined) return this.#doors;
    throw notSupported('a server in a simulated world', 'Open the database with open().');
  }

  /**
   * Takes a snapshot now, where the journal is in files: what the next start reads of the journal begins here. Snapshots are
   * taken by themselves, too (`journal.snapshotEvery`).
   */
  async checkpoint(options?: Cancelable): Promise<{ readonly position: number }> {
    const { engine } = this;
    engine.assertOpen();
    const { snapshots } = engine;
    if (snapshots === undefined)
      throw new DbError(
        '55000',
        'the journal is in memory: there is nothing to take a snapshot for',
        {
          hint: "Open the database with journal: { kind: 'file', dir }.",
        },
      );
    // Who gives it up does not wait for it; it is taken, since others may.
    return within(engine.ports.clock, options, async (signal) => ({
      position: await untilSettled(snapshots.take(), signal),
    }));
  }

  /** The newest visible position. */
  get position(): number {
    return this.engine.visiblePosition;
  }

  /** The instant of the commit at `position`, epoch milliseconds; the newest one's where it is not remembered. */
  instantMs(position: number): number {
    return Date.parse(this.engine.asOfText(position));
  }

  async close(): Promise<void> {
    await this.engine.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

type SessionOptions = Identity & { readonly values?: ValueOptions | undefined };

const READ_OPTIONS = namesOf<QueryOptions & { format?: 'text' }>({ ...QUERY, format: true });
const STREAM_OPTIONS = namesOf<QueryOptions & { format?: FileFormat; batchRows?: number }>({
  ...QUERY,
  format: true,
  batchRows: true,
});
const SUBSCRIBE_OPTIONS = namesOf<SubscribeOptions>({
  from: true,
  maxRate: true,
  heartbeatMs: true,
  values: true,
  params: true,
  ...CANCELABLE,
  ...IDENTITY,
});
const TRANSACTION_OPTIONS = namesOf<TransactionOptions>({
  retries: true,
  readOnly: true,
  ...CANCELABLE,
});
const IDENTITY_NAMES = namesOf<Identity>(IDENTITY);
const SESSION_OPTIONS = namesOf<SessionOptions>({ values: true, ...IDENTITY });

/** Batches a stream may be ahead of its reader. */
const STREAM_AHEAD_BATCHES = 4;

const NO_ROWS: Batch = { rowCount: 0, columns: [] };

const READ_IN_PIECES =
  'Ask for less (LIMIT, fewer columns, an aggregate), or read it in pieces: db.stream, NDJSON or CSV over HTTP.';

/** What a session remembers, and a call that is a session of its own does not. */
const FORGOTTEN_COMMANDS: ReadonlySet<string> = new Set(['SET', 'PREPARE', 'DEALLOCATE']);

function forgotten(command: string): DbError {
  return new DbError('55000', `${command} ends with this call: the next one would not know of it`, {
    hint: 'Send it with the statements that need it, in one text, or use db.session(), which remembers; zone and values are options of each call, too.',
  });
}

function leftOpen(): DbError {
  return new DbError(
    '25001',
    'the call has begun a transaction and not ended it: it was taken back',
    {
      hint: 'Send BEGIN, statements and COMMIT in one text, or use db.transaction() or db.session().',
    },
  );
}

/** It would be remembered as done, whatever became of the transaction. */
function keyInTransaction(): DbError {
  return notSupported(
    'an idempotency key inside a transaction',
    'Write outside of it, or without a key.',
  );
}

/** A statement failed, and whoever called it has kept that to himself. */
function failedUnheard(cause: unknown): DbError {
  return new DbError('25P02', 'the transaction was taken back: a statement in it has failed', {
    cause,
    detail: cause instanceof Error ? cause.message : undefined,
    hint: 'Let the error pass, or set a SAVEPOINT before what may fail and ROLLBACK TO it.',
  });
}

const IGNORE_ROWS: RowSink = { begin: () => undefined, take: () => true };

async function executeIn(
  engine: Engine,
  session: Session,
  text: string,
  options: ExecutionOptions,
  sinkOf: (index: number) => RowSink,
): Promise<StatementOutcome[]> {
  engine.assertOpen();
  const { signal, done } = deadline(engine.ports.clock, options);
  try {
    if (options.atLeast !== undefined) await engine.untilVisible(options.atLeast, signal);
    const sinceMs = engine.ports.clock.monotonicMs();
    const steps = engine.statements.parseInSteps(text);
    const step = steps.next();
    let parsed: readonly ParsedStatement[];
    let turn: Promise<void> | undefined;
    if (step.done === true) {
      parsed = step.value;
      // A new text is parsed, and then planned, by code that may be cold, for milliseconds each. What writes keeps its place.
      const isQuery = parsed.length === 1 && parsed[0]!.statement.kind === 'query';
      if (isQuery) turn = engine.givesWay(sinceMs);
    } else {
      const read: ParsedStatement[] = [];
      parsed = read;
      turn = readOn(engine, steps, read, signal);
    }
    return await session.run(parsed, { ...options, signal, timeoutMs: undefined }, sinkOf, turn);
  } catch (cause) {
    engine.metrics.failed();
    throw cause;
  } finally {
    done();
  }
}

/** Reads a long text to its end while its statement, which keeps its place in the session, waits for that. */
function readOn(
  engine: Engine,
  steps: Generator<undefined, readonly ParsedStatement[]>,
  into: ParsedStatement[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const read = async (): Promise<void> => {
    for (;;) {
      await engine.pause();
      assertNotAborted(signal);
      const { done, value } = steps.next();
      if (done !== true) continue;
      into.push(...value);
      return;
    }
  };
  const whole = read();
  // The session may be busy with what came before when it fails.
  whole.catch(() => undefined);
  return whole;
}

/** Rows are made when they are asked for: who wants columns does not pay for objects. */
function streamBatch(batch: Batch, writer: RowWriter): StreamBatch {
  let rows: ResultRow[] | undefined;
  return {
    rowCount: batch.rowCount,
    get rows() {
      if (rows === undefined) writer.append(batch, (rows = []));
      return rows;
    },
    columnar: () => writer.columnar(batch),
  };
}

/** Turns that an answer waits for before it is left to an actor, who is given one sooner or later. */
const TURNS_MAX = 16;

const NO_OPTIONS: QueryOptions = {};

/** Nothing can come between asking and answering; what is not as it should be is refused by whoever looks closely. */
function isUndisturbed({ signal, timeoutMs }: QueryOptions): boolean {
  return (
    (signal === undefined || (signal instanceof AbortSignal && !signal.aborted)) &&
    (timeoutMs === undefined || timeoutMs >= 1)
  );
}

function pickIdentity({ tenant, user, claims }: Identity): Identity {
  return {
    ...(tenant === undefined ? {} : { tenant }),
    ...(user === undefined ? {} : { user }),
    ...(claims === undefined ? {} : { claims }),
  };
}

/** What a transaction that begins again may not meet: a conflict, a deadlock, a table that was redefined under its snapshot. */
const BEGUN_AGAIN: ReadonlySet<string> = new Set(['40001', '40P01', '72000', 'ADB_RECOVERING']);
