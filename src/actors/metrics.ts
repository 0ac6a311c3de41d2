import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { TableDelta } from '../columns/table-contract.ts';
import type { Engine } from './engine.ts';
import type { StatementOutcome } from './session.ts';

/**
 * Counters of the engine, kept as plain numbers and shown in Prometheus's format when asked. Labels are few and never
 * hold SQL.
 */
export class EngineMetrics {
  readonly #engine: Engine;
  readonly #registry = new Registry();
  readonly #durations: Histogram<'source' | 'outcome'>;
  readonly #counts = {
    commits: 0,
    rowsWritten: 0,
    queries: 0,
    rowsReturned: 0,
    work: 0,
    errors: 0,
    viewFailures: 0,
  };

  constructor(engine: Engine) {
    this.#engine = engine;
    const registers = [this.#registry];
    this.#durations = new Histogram({
      name: 'analyticdb_query_duration_seconds',
      help: 'Time from a statement to its last row.',
      labelNames: ['source', 'outcome'],
      buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      registers,
    });
    const counts = this.#counts;
    for (const [name, help, value] of [
      ['analyticdb_commits_total', 'Commits published.', () => counts.commits],
      [
        'analyticdb_rows_written_total',
        'Rows inserted, changed or deleted in tables and views.',
        () => counts.rowsWritten,
      ],
      ['analyticdb_queries_total', 'Statements that returned rows.', () => counts.queries],
      ['analyticdb_rows_returned_total', 'Rows returned.', () => counts.rowsReturned],
      ['analyticdb_work_units_total', 'Work of all statements, in work units.', () => counts.work],
      ['analyticdb_errors_total', 'Statements that failed.', () => counts.errors],
      [
        'analyticdb_view_failures_total',
        'Materialized views that broke and were built anew.',
        () => counts.viewFailures,
      ],
      [
        'analyticdb_plan_cache_hits_total',
        'Statements whose plan was remembered.',
        () => engine.statements.hits,
      ],
      [
        'analyticdb_plan_cache_misses_total',
        'Statements that were planned.',
        () => engine.statements.misses,
      ],
    ] as const) {
      new Counter({
        name,
        help,
        registers,
        collect() {
          this.reset();
          this.inc(value());
        },
      });
    }
    for (const [name, help, value] of [
      ['analyticdb_position', 'The newest visible journal position.', () => engine.visiblePosition],
      [
        'analyticdb_memory_bytes',
        'Bytes the database holds by its own account.',
        () => engine.memory.usedBytes,
      ],
      [
        'analyticdb_memory_limit_bytes',
        'Bytes the database may hold.',
        () => (Number.isFinite(engine.memory.limitBytes) ? engine.memory.limitBytes : 0),
      ],
      ['analyticdb_live_subscribers', 'Open subscriptions.', () => engine.subscriptions.count],
      ['analyticdb_running_queries', 'Queries under way.', () => engine.queries.size],
      ['analyticdb_open_transactions', 'Transactions under way.', () => engine.transactions.size],
      ['analyticdb_actors', 'Actors alive.', () => engine.dispatcher.actorCount],
      ['analyticdb_relations', 'Tables and views.', () => engine.state.catalog.all().length],
    ] as const) {
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(value());
        },
      });
    }
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
    this.#durations.observe({ source: outcome.source, outcome: 'ok' }, outcome.elapsedMs / 1000);
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

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  /** The same as plain numbers. */
  snapshot(): Record<string, number> {
    return {
      ...this.#counts,
      position: this.#engine.visiblePosition,
      memoryBytes: this.#engine.memory.usedBytes,
      subscribers: this.#engine.subscriptions.count,
      runningQueries: this.#engine.queries.size,
      openTransactions: this.#engine.transactions.size,
      actors: this.#engine.dispatcher.actorCount,
      planCacheHits: this.#engine.statements.hits,
      planCacheMisses: this.#engine.statements.misses,
    };
  }
}

const SLOW_QUERY_MS = 1000;
