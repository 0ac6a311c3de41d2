import type { Disk } from './base/ports.ts';
import { assert } from './base/errors.ts';
import { datumAt } from './columns/build.ts';
import type { Vector } from './columns/vector.ts';
import { openParquet } from './formats/parquet-reader.ts';

/** The flights of the Parquet file in columns, ordered by date. */
export type Flights = {
  readonly count: number;
  readonly lastMs: number;
  millis(row: number): number;
  /** The first row whose date lies after `ms`. */
  firstAfter(ms: number): number;
  /** Columns of rows [start, end), as `insert` takes them, dates moved by `shiftMs`. */
  columns(start: number, end: number, shiftMs: number): FlightColumns;
};

export type FlightColumns = {
  readonly date: Float64Array;
  readonly delay: Int32Array;
  readonly distance: Int32Array;
  readonly origin: AirportCodes;
  readonly destination: AirportCodes;
};

export type AirportCodes = { readonly codes: Uint16Array; readonly dictionary: readonly string[] };

export async function readFlights(disk: Disk, path: string): Promise<Flights> {
  const file = await disk.open(path, 'read');
  const byteLength = await file.size();
  const reader = await openParquet(
    {
      bytes: { byteLength, slice: (start: number, end: number) => file.read(start, end - start) },
      name: path,
    },
    { fromText: (text) => text, toText: (datum) => String(datum), batchRowCount: 65_536 },
  );
  const count = reader.rowCountTotal ?? 0;
  const date = new Float64Array(count);
  const delay = new Int32Array(count);
  const distance = new Int32Array(count);
  const airports = new Airports();
  const origin = new Uint16Array(count);
  const destination = new Uint16Array(count);
  let at = 0;
  for await (const { rowCount, columns } of reader.batches) {
    const [dates, delays, distances, origins, destinations] = columns;
    copyNumbers(dates!, rowCount, date, at, 1000);
    copyNumbers(delays!, rowCount, delay, at, 1);
    copyNumbers(distances!, rowCount, distance, at, 1);
    airports.copy(origins!, rowCount, origin, at);
    airports.copy(destinations!, rowCount, destination, at);
    at += rowCount;
  }
  await file.close();
  for (let row = 1; row < count; row += 1)
    assert(date[row]! >= date[row - 1]!, 'the flights of the file are ordered by date');
  return {
    count,
    lastMs: date[count - 1]!,
    millis: (row) => date[Math.min(row, count - 1)]!,
    firstAfter: (ms) => {
      let low = 0;
      let high = count;
      while (low < high) {
        const middle = (low + high) >>> 1;
        if (date[middle]! <= ms) low = middle + 1;
        else high = middle;
      }
      return low;
    },
    columns: (start, end, shiftMs) => {
      const dates = date.slice(start, end);
      for (let row = 0; row < dates.length; row += 1) dates[row]! += shiftMs;
      return {
        date: dates,
        delay: delay.subarray(start, end),
        distance: distance.subarray(start, end),
        origin: { codes: origin.subarray(start, end), dictionary: airports.names },
        destination: { codes: destination.subarray(start, end), dictionary: airports.names },
      };
    },
  };
}

/** Airports numbered in the order they come; the file keeps a dictionary a row group. */
class Airports {
  readonly names: string[] = [];
  readonly #codes = new Map<string, number>();

  copy(vector: Vector, rowCount: number, out: Uint16Array, at: number): void {
    if (vector.rep !== 'dictionary') {
      for (let row = 0; row < rowCount; row += 1)
        out[at + row] = this.#codeOf(String(datumAt(vector, row)));
      return;
    }
    const { codes, dictionary } = vector;
    const own = Uint16Array.from({ length: dictionary.size }, (_, code) =>
      this.#codeOf(dictionary.text(code)),
    );
    for (let row = 0; row < rowCount; row += 1) out[at + row] = own[codes[row]!]!;
  }

  #codeOf(airport: string): number {
    let code = this.#codes.get(airport);
    if (code === undefined) {
      code = this.names.push(airport) - 1;
      this.#codes.set(airport, code);
    }
    return code;
  }
}

function copyNumbers(
  vector: Vector,
  rowCount: number,
  out: Float64Array | Int32Array,
  at: number,
  divisor: number,
): void {
  if (vector.rep === 'number' && vector.validity === undefined) {
    const { values, factor, base } = vector;
    for (let row = 0; row < rowCount; row += 1)
      out[at + row] = (values[row]! * factor + base) / divisor;
    return;
  }
  for (let row = 0; row < rowCount; row += 1)
    out[at + row] = Number(datumAt(vector, row) ?? 0) / divisor;
}
