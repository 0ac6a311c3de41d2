import { createRequire } from 'node:module';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DbError } from './base/errors.ts';
import { nodePorts } from './base/node-ports.ts';
import type { Clock } from './base/ports.ts';
import type { Database } from './actors/database.ts';
import { readFlights, type Flights } from './flight-file.ts';

/**
 * The flight demo: three million real US flights (Bureau of Transportation Statistics, January to June 2001; the Parquet file
 * and the airports ship with the npm package `vega-datasets`). Everything up to the last weeks is loaded at once, the rest is
 * replayed at an adjustable speed, over and over with the dates moved on by whole weeks, so that the feed never ends.
 */
export type FlightDemo = {
  /** Seconds of the feed a second; 0 is paused. */
  readonly speed: number;
  setSpeed(speed: number): void;
  /** Flights that are held back and still to come in this round. */
  readonly held: number;
  stop(): void;
};

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
    'delay_histogram',
    `SELECT delay / 15 * 15 AS minutes, count(*) AS flights FROM flights GROUP BY 1`,
  ],
  [
    'flights_by_day',
    `SELECT date_trunc('day', hour) AS day, sum(flights)::bigint AS flights FROM flights_by_hour GROUP BY 1`,
  ],
  [
    'routes',
    `SELECT origin, destination, count(*) AS flights, avg(delay) AS avg_delay FROM flights GROUP BY origin, destination`,
  ],
] as const;

const DAY_MS = 86_400_000;
/** What is held back and replayed. */
const HELD_MS = 42 * DAY_MS;
const CHUNK_ROWS = 65_536;
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
  const flights = await readFlights(nodePorts().disk, join(folder, 'flights-3m.parquet'));
  say(`read ${flights.count.toLocaleString('en-US')} flights in ${seconds(started)}`);

  // Moved by whole weeks, so that weekdays stay and the newest held-back flight is about now.
  const week = 7 * DAY_MS;
  const shift = Math.floor((clock.now() - flights.lastMs) / week) * week;
  const first = flights.firstAfter(flights.lastMs - HELD_MS);
  let nextId = 1;
  const begin = Math.max(0, first - flightCountMax);
  for (let start = begin; start < first; start += CHUNK_ROWS) {
    const end = Math.min(first, start + CHUNK_ROWS);
    await database.insert('flights', columnsOf(flights, start, end, shift, nextId));
    nextId += end - start;
  }
  say(`loaded ${(first - begin).toLocaleString('en-US')} flights in ${seconds(started)}`);
  for (const [name, query] of VIEWS)
    await database.exec(`CREATE MATERIALIZED VIEW ${name} AS ${query}`);
  say(`keeping ${VIEWS.length} views, ready after ${seconds(started)}`);

  let speed = 3600;
  let stopped = false;
  let next = first;
  let round = shift;
  let frontMs = flights.millis(first);
  let lastTick = clock.monotonicMs();

  const tick = async (): Promise<void> => {
    const now = clock.monotonicMs();
    frontMs += (now - lastTick) * speed;
    lastTick = now;
    let end = Math.min(flights.firstAfter(frontMs), next + TICK_ROWS_MAX);
    if (end > next) {
      await database.insert('flights', columnsOf(flights, next, end, round, nextId));
      nextId += end - next;
      next = end;
    }
    if (next >= flights.count) {
      // Another round of the same weeks, later: the feed never ends.
      next = first;
      round += HELD_MS;
      frontMs = flights.millis(first);
      end = next;
    } else if (end < flights.count && flights.millis(end) < frontMs) {
      frontMs = flights.millis(end);
    }
  };
  const run = (): void => {
    if (stopped) return;
    tick().then(
      () => {
        if (!stopped) clock.after(TICK_MS, run);
      },
      (cause: unknown) => {
        if (!stopped)
          say(`the replay has ended: ${cause instanceof Error ? cause.message : String(cause)}`);
      },
    );
  };
  run();
  return {
    get speed() {
      return speed;
    },
    get held() {
      return flights.count - next;
    },
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

function columnsOf(
  flights: Flights,
  start: number,
  end: number,
  shiftMs: number,
  firstId: number,
): Record<string, Float64Array | Int32Array | readonly string[]> {
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
