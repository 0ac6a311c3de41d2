import { randomOf } from './measure.mjs';

export const REGION_COUNT = 50;
const COLUMNS = ['id', 'ts', 'region', 'product', 'customer', 'amount', 'qty'];

/**
 * A table of orders and an endless stream of changes to it, the same for a seed on every machine: 70 % arrive, 20 % get another amount and
 * quantity, 10 % leave, in batches of any size. It knows the answer: what a view must show at any time.
 */
export class Orders {
  #random;
  #rows = [];
  /** Ids of living orders, and where each stands there. */
  #live = [];
  #place = new Map();

  constructor(rowCount, seed = 12_345) {
    this.#random = randomOf(seed);
    for (let row = 0; row < rowCount; row += 1) this.#arrive();
  }

  get liveCount() {
    return this.#live.length;
  }

  /** Living rows as columns, in pieces of at most `size`. */
  *columns(size) {
    for (let from = 0; from < this.#live.length; from += size)
      yield columnsOf(this.#live.slice(from, from + size).map((id) => this.#rows[id]));
  }

  *rows() {
    for (const id of this.#live) yield this.#rows[id];
  }

  /** `[{ kind: 'insert', row } | { kind: 'update', old, row } | { kind: 'delete', old }]`; no order occurs twice. */
  changes(count) {
    const changes = [];
    const touched = new Set();
    while (changes.length < count) {
      const chance = this.#random();
      if (chance < 0.7) {
        const row = this.#arrive();
        touched.add(row.id);
        changes.push({ kind: 'insert', row });
        continue;
      }
      const id = this.#live[Math.floor(this.#random() * this.#live.length)];
      if (touched.has(id)) continue;
      touched.add(id);
      const old = this.#rows[id];
      if (chance < 0.9) {
        const row = { ...old, amount: this.#amount(), qty: this.#qty() };
        this.#rows[id] = row;
        changes.push({ kind: 'update', old, row });
      } else {
        this.#leave(id);
        changes.push({ kind: 'delete', old });
      }
    }
    return changes;
  }

  /** What the view must show, by region: amounts are whole cents, so sums are compared exactly. */
  answer() {
    const groups = new Map();
    for (const { region, amount } of this.rows()) {
      const group = groups.get(region) ?? { n: 0, cents: 0, mi: Infinity, ma: -Infinity };
      groups.set(region, group);
      group.n += 1;
      group.cents += Math.round(amount * 100);
      group.mi = Math.min(group.mi, amount);
      group.ma = Math.max(group.ma, amount);
    }
    return groups;
  }

  #arrive() {
    const id = this.#rows.length;
    const row = {
      id,
      ts: 1.7e12 + id * 10,
      region: Math.floor(this.#random() * REGION_COUNT),
      product: Math.floor(this.#random() * 1000),
      customer: Math.floor(this.#random() * 100_000),
      amount: this.#amount(),
      qty: this.#qty(),
    };
    this.#rows.push(row);
    this.#place.set(id, this.#live.length);
    this.#live.push(id);
    return row;
  }

  #leave(id) {
    const place = this.#place.get(id);
    const last = this.#live.pop();
    if (last !== id) {
      this.#live[place] = last;
      this.#place.set(last, place);
    }
    this.#place.delete(id);
    this.#rows[id] = undefined;
  }

  #amount() {
    return Math.round(this.#random() * 100_000) / 100;
  }

  #qty() {
    return 1 + Math.floor(this.#random() * 9);
  }
}

/** Rows as typed arrays. */
export function columnsOf(rows) {
  return Object.fromEntries(
    COLUMNS.map((name) => [
      name,
      name === 'ts' || name === 'amount'
        ? Float64Array.from(rows, (row) => row[name])
        : Int32Array.from(rows, (row) => row[name]),
    ]),
  );
}

/** Throws where rows `[{ k, n, s, mi, ma }]` are not what the orders add up to. */
export function check(name, orders, rows) {
  const groups = orders.answer();
  const fail = (what) => {
    throw new Error(`${name} shows a wrong view: ${what}`);
  };
  if (rows.length !== groups.size) fail(`${rows.length} groups, not ${groups.size}`);
  for (const { k, n, s, mi, ma } of rows) {
    const group = groups.get(k);
    // A peer may add doubles one by one: its sum is told apart from a wrong one by the cent.
    if (group === undefined || Number(n) !== group.n || mi !== group.mi || ma !== group.ma)
      fail(`group ${k} has ${n} rows from ${mi} to ${ma}`);
    if (Math.abs(s * 100 - group.cents) > 0.5) fail(`group ${k} has the sum ${s}`);
  }
}
