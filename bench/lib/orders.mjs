import { randomOf } from './measure.mjs';

/** 2025-01-01T00:00:00Z; the orders are spread evenly over the year that begins then. */
const FIRST_MS = 1_735_689_600_000;
const YEAR_MS = 365 * 86_400_000;
export const CUSTOMER_COUNT = 100_000;
const REGION_COUNT = 50;
const SEGMENTS = [
  'consumer',
  'education',
  'enterprise',
  'government',
  'non-profit',
  'partner',
  'reseller',
  'small',
];

export const ORDERS_COLUMNS = `
  id bigint PRIMARY KEY, ts timestamptz NOT NULL, region text NOT NULL, customer int NOT NULL, note text NOT NULL,
  amount double precision NOT NULL, price numeric(12,2) NOT NULL`;

/**
 * The orders of issue 2: 50 regions, 100 k customers whose frequencies follow Zipf's law, about a tenth as many distinct
 * notes as rows, amounts as doubles, prices in cents. A function of `rowCount` alone, made in chunks so that the input
 * never stands beside both databases.
 *
 * @returns {Generator<{ from: number, rowCount: number, id: Float64Array, tsMs: Float64Array, region: string[],
 *   customer: Int32Array, note: string[], amount: Float64Array, priceCents: Float64Array }>}
 */
export function* orders(rowCount, chunkRowCount = 65_536) {
  const random = randomOf(20_260_101);
  const regions = Array.from(
    { length: REGION_COUNT },
    (_, at) => `region-${String(at).padStart(2, '0')}`,
  );
  const noteCount = Math.round(rowCount / 10);
  const stepMs = YEAR_MS / rowCount;
  for (let from = 0; from < rowCount; from += chunkRowCount) {
    const count = Math.min(chunkRowCount, rowCount - from);
    const chunk = {
      from,
      rowCount: count,
      id: new Float64Array(count),
      tsMs: new Float64Array(count),
      region: Array.from({ length: count }),
      customer: new Int32Array(count),
      note: Array.from({ length: count }),
      amount: new Float64Array(count),
      priceCents: new Float64Array(count),
    };
    for (let row = 0; row < count; row += 1) {
      chunk.id[row] = from + row + 1;
      chunk.tsMs[row] = Math.floor(FIRST_MS + (from + row) * stepMs);
      chunk.region[row] = regions[Math.floor(random() * REGION_COUNT)];
      // Zipf with exponent 1 by its inverse; the multiplication scatters the frequent ones among the ids.
      const rank = Math.floor((CUSTOMER_COUNT + 1) ** random()) - 1;
      chunk.customer[row] = (rank * 48_271) % CUSTOMER_COUNT;
      chunk.note[row] = noteOf(Math.floor(random() * noteCount));
      chunk.amount[row] = Math.round(random() * 100_000) / 100;
      chunk.priceCents[row] = 100 + Math.floor(random() * 99_900);
    }
    yield chunk;
  }
}

/** A chunk as `db.insert` takes it. */
export function columnsOf({ id, tsMs, region, customer, note, amount, priceCents }) {
  return {
    id,
    ts: tsMs,
    region,
    customer,
    note,
    amount,
    price: Float64Array.from(priceCents, (cents) => cents / 100),
  };
}

export function customers() {
  return {
    id: Int32Array.from({ length: CUSTOMER_COUNT }, (_, at) => at),
    segment: Array.from(
      { length: CUSTOMER_COUNT },
      (_, at) => SEGMENTS[(at * 7919) % SEGMENTS.length],
    ),
  };
}

const SUBJECTS = ['parcel', 'invoice', 'pickup', 'refund', 'gift', 'letter', 'sample', 'return'];
const PLACES = [
  'at the door',
  'by the gate',
  'to a neighbour',
  'in the shop',
  'at work',
  'to the locker',
];

/** A readable text of its number, 20 to 30 characters long; about one in eight hundred contains "abc". */
function noteOf(number) {
  const mixed = (Math.imul(number + 1, 0x9e37_79b1) ^ 0x5bd1_e995) >>> 0;
  const tag = mixed.toString(36).padStart(7, '0');
  return `${SUBJECTS[number % SUBJECTS.length]} ${tag.replaceAll(/[def]/g, 'abc')} ${PLACES[number % PLACES.length]}`;
}
