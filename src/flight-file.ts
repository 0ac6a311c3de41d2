import type { Disk } from './base/ports.ts';
import { datumAt } from './columns/build.ts';
import { openParquet } from './formats/parquet-reader.ts';

/** The flights of the Parquet file in columns, ordered by date. */
export type Flights = {
  readonly count: number;
  readonly lastMs: number;
  millis(row: number): number;
  /** The first row whose date lies after `ms`. */
  firstAfter(ms: number): number;
  /** Columns of rows [start, end), dates moved by `shiftMs`. */
  columns(
    start: number,
    end: number,
    shiftMs: number,
  ): {
    date: Float64Array;
    delay: Int32Array;
    distance: Int32Array;
    origin: readonly string[];
    destination: readonly string[];
  };
};

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
  const origin = new Uint16Array(count);
  const destination = new Uint16Array(count);
  const airports: string[] = [];
  const codes = new Map<string, number>();
  const codeOf = (airport: string): number => {
    let code = codes.get(airport);
    if (code === undefined) {
      code = airports.push(airport) - 1;
      codes.set(airport, code);
    }
    return code;
  };
  let at = 0;
  for await (const { rowCount, columns } of reader.batches) {
    const [dates, delays, distances, origins, destinations] = columns;
    for (let row = 0; row < rowCount; row += 1) {
      date[at + row] = Number(datumAt(dates!, row) ?? 0) / 1000;
      delay[at + row] = Number(datumAt(delays!, row) ?? 0);
      distance[at + row] = Number(datumAt(distances!, row) ?? 0);
      origin[at + row] = codeOf(String(datumAt(origins!, row)));
      destination[at + row] = codeOf(String(datumAt(destinations!, row)));
    }
    at += rowCount;
  }
  await file.close();
  const order = Uint32Array.from({ length: count }, (_, row) => row);
  let sorted = true;
  for (let row = 1; row < count && sorted; row += 1) sorted = date[row]! >= date[row - 1]!;
  if (!sorted) order.sort((a, b) => date[a]! - date[b]! || a - b);
  const millis = (row: number): number => date[order[Math.min(row, count - 1)]!]!;
  return {
    count,
    lastMs: millis(count - 1),
    millis,
    firstAfter: (ms) => {
      let low = 0;
      let high = count;
      while (low < high) {
        const middle = (low + high) >>> 1;
        if (millis(middle) <= ms) low = middle + 1;
        else high = middle;
      }
      return low;
    },
    columns: (start, end, shiftMs) => {
      const rows = order.subarray(start, end);
      return {
        date: Float64Array.from(rows, (row) => date[row]! + shiftMs),
        delay: Int32Array.from(rows, (row) => delay[row]!),
        distance: Int32Array.from(rows, (row) => distance[row]!),
        origin: Array.from(rows, (row) => airports[origin[row]!]!),
        destination: Array.from(rows, (row) => airports[destination[row]!]!),
      };
    },
  };
}
