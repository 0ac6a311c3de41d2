import { createRequire } from 'node:module';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DbError } from './base/errors.ts';
import { nodePorts } from './base/node-ports.ts';
import type { Clock } from './base/ports.ts';
import type { Database } from './actors/database.ts';
import { readFlights, type AirportCodes, type Flights } from './flight-file.ts';
import type { DemoControls, DemoState } from './server/demo-routes.ts';

/**
 * The flight demo: three million real US flights (Bureau of Transportation Statistics, January to June 2001; the Parquet file
 * and the airports ship with the npm package `vega-datasets`). The views are made first, so that charts move from the first
 * second: everything up to the last weeks streams through them as fast as the database takes it, then the rest is replayed at
 * an adjustable speed, over and over with the dates moved on by whole weeks, so that the feed never ends.
 */
export type FlightDemo = DemoControls & { stop(): void };

const VIEWS = [
  [
    'totals',
    `SELECT count(*) AS flights, avg(delay) AS avg_delay, count(*) FILTER (WHERE delay >= 15) AS late, sum(distance) AS miles, max(date) AS front FROM flights`,
  ],
  [
    'flights_by_hour',
    `SELECT date_trunc('hour', date) AS hour, count(*) AS flights, avg(delay) AS avg_delay FROM flights GROUP BY 1`,
  ],
  [
    'flights_by_origin',
    `SELECT origin, count(*) AS flights, avg(delay) AS avg_delay, max(delay) AS max_delay FROM flights GROUP BY origin`,
  ],
  [
    'flights_by_state',
    `SELECT a.state, count(*) AS flights, avg(f.delay) AS avg_delay FROM flights f JOIN airports a ON a.iata = f.origin GROUP BY a.state`,
  ],
  [
    // Moved above zero first: integer division goes towards it from both sides.
    'delay_histogram',
    `SELECT (delay + 3000) / 15 * 15 - 3000 AS minutes, count(*) AS flights FROM flights GROUP BY 1`,
  ],
  [
    'flights_by_day',
    `SELECT date_trunc('day', hour) AS day, sum(flights)::bigint AS flights FROM flights_by_hour GROUP BY 1`,
  ],
] as const;

const DAY_MS = 86_400_000;
/** What is held back and replayed. */
const HELD_MS = 42 * DAY_MS;
/** Rows of one commit while the past streams in: large enough to be quick, small enough that charts move. */
const HISTORY_ROWS = 16_384;
const TICK_MS = 50;
/** Rows of one tick at most, whatever the speed. */
const TICK_ROWS_MAX = 20_000;

export async function startFlightDemo(
  database: Database,
  clock: Clock,
  options: {
    /** Flights before the replayed ones that are loaded at most. */
    readonly flightCountMax: number;
    readonly say: (line: string) => void;
  },
): Promise<FlightDemo> {
  const { flightCountMax, say } = options;
  const folder = datasetFolder();
  const started = clock.monotonicMs();
  await database.exec(`
    CREATE TABLE airports (iata text PRIMARY KEY, name text, city text, state text, country text, latitude double precision, longitude double precision);
    CREATE TABLE flights (id bigint PRIMARY KEY, date timestamp NOT NULL, delay integer, distance integer, origin text, destination text) WITH (time = 'date')`);
  await database.load('airports', join(folder, 'airports.csv'));
  for (const [name, query] of VIEWS)
    await database.exec(`CREATE MATERIALIZED VIEW ${name} AS ${query}`);
  const flights = await readFlights(nodePorts().disk, join(folder, 'flights-3m.parquet'));
  say(
    `${count(flights.count)} flights read and ${VIEWS.length} views made after ${seconds(started)}`,
  );

  // Moved by whole weeks, so that weekdays stay and the newest held-back flight is about now.
  const week = 7 * DAY_MS;
  const shift = Math.floor((clock.now() - flights.lastMs) / week) * week;
  const first = flights.firstAfter(flights.lastMs - HELD_MS);
  const begin = Math.max(0, first - flightCountMax);
  let phase: DemoState['phase'] = 'loading';
  let speed = 3600;
  let stopped = false;
  let nextId = 1;
  /** The next flight to be inserted. */
  let next = begin;
  let round = shift;
  let frontMs = flights.millis(first);
  let lastTick = 0;

  const insert = async (end: number): Promise<void> => {
    await database.insert('flights', columnsOf(flights, next, end, round, nextId));
    nextId += end - next;
    next = end;
  };
  const history = async (): Promise<void> => {
    while (next < first && !stopped) await insert(Math.min(first, next + HISTORY_ROWS));
    if (stopped) return;
    say(
      `${count(first - begin)} flights loaded after ${seconds(started)}, the other ${count(flights.count - first)} arrive live`,
    );
    phase = 'replaying';
    lastTick = clock.monotonicMs();
    replay();
  };
  const tick = async (): Promise<void> => {
    const now = clock.monotonicMs();
    frontMs += (now - lastTick) * speed;
    lastTick = now;
    const end = Math.min(flights.firstAfter(frontMs), next + TICK_ROWS_MAX);
    if (end > next) await insert(end);
    if (next >= flights.count) {
      // Another round of the same weeks, later: the feed never ends.
      next = first;
      round += HELD_MS;
      frontMs = flights.millis(first);
    } else if (flights.millis(next) < frontMs) {
      // It cannot keep up at this speed: what was not inserted is not skipped.
      frontMs = flights.millis(next);
    }
  };
  const replay = (): void => {
    if (!stopped) tick().then(() => clock.after(TICK_MS, replay), ended);
  };
  const ended = (cause: unknown): void => {
    if (stopped) return;
    phase = 'ended';
    say(`the feed has ended: ${cause instanceof Error ? cause.message : String(cause)}`);
  };
  history().catch(ended);

  return {
    state: () => ({
      phase,
      speed,
      loaded: Math.min(next, first) - begin,
      toLoad: first - begin,
      held: flights.count - Math.max(next, first),
    }),
    setSpeed: (value) => {
      speed = value;
    },
    stop: () => {
      stopped = true;
    },
  };

  function seconds(since: number): string {
    return `${((clock.monotonicMs() - since) / 1000).toFixed(1)} s`;
  }
}

function count(rows: number): string {
  return String(rows).replace(/\B(?=(\d{3})+$)/g, ',');
}

function columnsOf(
  flights: Flights,
  start: number,
  end: number,
  shiftMs: number,
  firstId: number,
): Record<string, Float64Array | Int32Array | AirportCodes> {
  const ids = new Float64Array(end - start);
  for (let row = 0; row < ids.length; row += 1) ids[row] = firstId + row;
  return { id: ids, ...flights.columns(start, end, shiftMs) };
}

function datasetFolder(): string {
  // The package's own map of exports hides its data: look where Node would.
  for (const folder of createRequire(import.meta.url).resolve.paths('vega-datasets') ?? []) {
    const data = join(folder, 'vega-datasets', 'data');
    if (existsSync(join(data, 'flights-3m.parquet'))) return data;
  }
  throw new DbError('58P01', 'the demo data is not installed', {
    hint: 'Run npm install in a clone of the repository: the package vega-datasets brings it.',
  });
}
