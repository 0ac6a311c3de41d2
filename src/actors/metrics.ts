import type { TableDelta } from '../columns/table-contract.ts';
import type { Engine } from './engine.ts';
import type { StatementOutcome } from './session.ts';

/**
 * Counters of the engine, kept as plain numbers and shown in Prometheus's format when asked. Labels are few and never
 * hold SQL.
 */
export class EngineMetrics {
  readonly #engine: Engine;
  readonly #durations = new Map<string, Durations>();
  readonly #counts = {
    commits: 0,
    rowsWritten: 0,
    queries: 0,
    rowsReturned: 0,
    work: 0,
    errors: 0,
    viewFailures: 0,
    viewsRebuilt: 0,
    viewsDiffered: 0,
  };

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  committed(deltas: ReadonlyMap<number, readonly TableDelta[]>): void {
    this.#counts.commits += 1;
    for (const changes of deltas.values()) {
      for (const { inserted, deleted } of changes)
        this.#counts.rowsWritten += (inserted?.rowCount ?? 0) + (deleted?.rowCount ?? 0);
    }
  }

  finished(outcome: StatementOutcome): void {
    this.#counts.queries += 1;
    this.#counts.rowsReturned += outcome.rowCount;
    this.#counts.work += outcome.work;
    this.#durationsOf(outcome.source).observe(outcome.elapsedMs / 1000);
    const { events } = this.#engine;
    if (outcome.elapsedMs >= SLOW_QUERY_MS && events.has('query.slow')) {
      events.emit('query.slow', {
        queryId: outcome.queryId,
        text: '',
        elapsedMs: outcome.elapsedMs,
        work: outcome.work,
      });
    }
  }

  failed(): void {
    this.#counts.errors += 1;
  }

  viewFailed(): void {
    this.#counts.viewFailures += 1;
  }

  viewRebuilt(differed: boolean): void {
    this.#counts.viewsRebuilt += 1;
    if (differed) this.#counts.viewsDiffered += 1;
  }

  /** prom-client is loaded by the first who asks: it costs more than opening a database. */
  async text(): Promise<string> {
    const { metricsText } = await import('./metrics-text.ts');
    return metricsText(this.#shown());
  }

  /** Without the room that is set aside for the journal and that it does not fill yet. */
  get #heldBytes(): number {
    const { memory, log } = this.#engine;
    return memory.usedBytes - (log.emptyBytes?.() ?? 0);
  }

  /** The same as plain numbers. */
  snapshot(): Record<string, number> {
    return {
      ...this.#counts,
      position: this.#engine.visiblePosition,
      memoryBytes: this.#heldBytes,
      tileBytes: this.#engine.tiles.memory.usedBytes,
      subscribers: this.#engine.subscriptions.count,
      runningQueries: this.#engine.queries.size,
      openTransactions: this.#engine.transactions.size,
      actors: this.#engine.dispatcher.actorCount,
      actorRestarts: this.#engine.dispatcher.count('restarted'),
      deadLetters: this.#engine.dispatcher.deadLetters.count(),
      tablesRebuilt: this.#engine.recovery.rebuilt,
      tablesFailed: this.#engine.recovery.failed,
      tablesOutOfService: this.#engine.recovery.brokenCount,
      recoveryBases: this.#engine.recovery.basesTaken,
      planCacheHits: this.#engine.statements.hits,
      planCacheMisses: this.#engine.statements.misses,
    };
  }

  #durationsOf(source: string): Durations {
    let known = this.#durations.get(source);
    if (known === undefined) this.#durations.set(source, (known = new Durations()));
    return known;
  }

  #shown(): ShownMetrics {
    const counts = this.#counts;
    const engine = this.#engine;
    return {
      counters: [
        ['analyticdb_commits_total', 'Commits published.', counts.commits],
        [
          'analyticdb_rows_written_total',
          'Rows inserted, changed or deleted in tables and views.',
          counts.rowsWritten,
        ],
        ['analyticdb_queries_total', 'Statements that returned rows.', counts.queries],
        ['analyticdb_rows_returned_total', 'Rows returned.', counts.rowsReturned],
        ['analyticdb_work_units_total', 'Work of all statements, in work units.', counts.work],
        ['analyticdb_errors_total', 'Statements that failed.', counts.errors],
        [
          'analyticdb_view_failures_total',
          'Materialized views that broke and were built anew.',
          counts.viewFailures,
        ],
        [
          'analyticdb_tables_rebuilt_total',
          'Tables that broke and were made anew from the journal.',
          engine.recovery.rebuilt,
        ],
        [
          'analyticdb_tables_failed_total',
          'Tables that broke and could not be made anew.',
          engine.recovery.failed,
        ],
        [
          'analyticdb_views_rebuilt_total',
          'Materialized views that were made anew and compared with what they replaced.',
          counts.viewsRebuilt,
        ],
        [
          'analyticdb_views_differed_total',
          'Of those, views whose old rows were not those of their query.',
          counts.viewsDiffered,
        ],
        [
          'analyticdb_plan_cache_hits_total',
          'Statements whose plan was remembered.',
          engine.statements.hits,
        ],
        [
          'analyticdb_plan_cache_misses_total',
          'Statements that were planned.',
          engine.statements.misses,
        ],
        [
          'analyticdb_actor_restarts_total',
          'Actors that failed and were started anew.',
          engine.dispatcher.count('restarted'),
        ],
        [
          'analyticdb_dead_letters_total',
          'Messages that nobody took.',
          engine.dispatcher.deadLetters.count(),
        ],
      ],
      gauges: [
        ['analyticdb_position', 'The newest visible journal position.', engine.visiblePosition],
        [
          'analyticdb_memory_bytes',
          'Bytes the database holds by its own account.',
          this.#heldBytes,
        ],
        [
          'analyticdb_memory_limit_bytes',
          'Bytes the database may hold.',
          Number.isFinite(engine.memory.limitBytes) ? engine.memory.limitBytes : 0,
        ],
        ['analyticdb_live_subscribers', 'Open subscriptions.', engine.subscriptions.count],
        ['analyticdb_running_queries', 'Queries under way.', engine.queries.size],
        ['analyticdb_open_transactions', 'Transactions under way.', engine.transactions.size],
        ['analyticdb_actors', 'Actors alive.', engine.dispatcher.actorCount],
        [
          'analyticdb_tables_out_of_service',
          'Tables that are being made anew, or wait for a decision.',
          engine.recovery.brokenCount,
        ],
        ['analyticdb_relations', 'Tables and views.', engine.state.catalog.all().length],
      ],
      histogram: {
        name: 'analyticdb_query_duration_seconds',
        help: 'Time from a statement to its last row.',
        bounds: DURATION_BOUNDS,
        series: [...this.#durations].map(([source, { counts: buckets, sum }]) => ({
          labels: { source, outcome: 'ok' },
          counts: buckets,
          sum,
        })),
      },
    };
  }
}

/** What the exposition shows, as plain numbers. */
export type ShownMetrics = {
  readonly counters: readonly (readonly [name: string, help: string, value: number])[];
  readonly gauges: readonly (readonly [name: string, help: string, value: number])[];
  readonly histogram: {
    readonly name: string;
    readonly help: string;
    readonly bounds: readonly number[];
    readonly series: readonly {
      readonly labels: Readonly<Record<string, string>>;
      /** One more than there are bounds: the last holds what lies beyond all. */
      readonly counts: Float64Array;
      readonly sum: number;
    }[];
  };
};

/** Seconds. */
const DURATION_BOUNDS = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];

class Durations {
  readonly counts = new Float64Array(DURATION_BOUNDS.length + 1);
  sum = 0;

  observe(seconds: number): void {
    let bucket = 0;
    while (bucket < DURATION_BOUNDS.length && seconds > DURATION_BOUNDS[bucket]!) bucket += 1;
    this.counts[bucket] = this.counts[bucket]! + 1;
    this.sum += seconds;
  }
}

const SLOW_QUERY_MS = 1000;
