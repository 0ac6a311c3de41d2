import { randomOf } from './measure.mjs';

export const REGION_COUNT = 50;
const COLUMNS = ['id', 'ts', 'region', 'product', 'customer', 'amount', 'qty'];

/**
 * A table of orders and an endless stream of changes to it, the same for a seed on every machine: 70 % arrive, 20 % get another amount and
 * quantity, 10 % leave, in batches of any size. It knows the answer: what a view must show at any time. What it remembers lies outside the
 * heap: a million objects of its own would be marked by every collection of the process that is measured.
 */
export class Orders {
  #random;
  /** Of every order that ever was, by id. */
  #columns;
  #rowCount = 0;
  /** Ids of living orders, and where each stands there. */
  #live;
  #place;
  #liveCount = 0;

  constructor(rowCount, seed = 12_345) {
    this.#random = randomOf(seed);
    this.#makeRoom(rowCount * 2);
    for (let row = 0; row < rowCount; row += 1) this.#arrive();
  }

  get liveCount() {
    return this.#liveCount;
  }

  /** Living rows as columns, in pieces of at most `size`. */
  *columns(size) {
    for (let from = 0; from < this.#liveCount; from += size)
      yield columnsOf(
        Array.from(this.#live.subarray(from, Math.min(this.#liveCount, from + size)), (id) =>
          this.#row(id),
        ),
      );
  }

  *rows() {
    for (let at = 0; at < this.#liveCount; at += 1) yield this.#row(this.#live[at]);
  }

  /** `[{ kind: 'insert', row } | { kind: 'update', old, row } | { kind: 'delete', old }]`; no order occurs twice. */
  changes(count) {
    const changes = [];
    const touched = new Set();
    while (changes.length < count) {
      const chance = this.#random();
      if (chance < 0.7) {
        const row = this.#row(this.#arrive());
        touched.add(row.id);
        changes.push({ kind: 'insert', row });
        continue;
      }
      const id = this.#live[Math.floor(this.#random() * this.#liveCount)];
      if (touched.has(id)) continue;
      touched.add(id);
      const old = this.#row(id);
      if (chance < 0.9) {
        const row = { ...old, amount: this.#amount(), qty: this.#qty() };
        this.#columns.amount[id] = row.amount;
        this.#columns.qty[id] = row.qty;
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

  #row(id) {
    const { region, product, customer, amount, qty } = this.#columns;
    return {
      id,
      ts: 1.7e12 + id * 10,
      region: region[id],
      product: product[id],
      customer: customer[id],
      amount: amount[id],
      qty: qty[id],
    };
  }

  #arrive() {
    const id = this.#rowCount;
    if (id === this.#live.length) this.#makeRoom(id * 2);
    const { region, product, customer, amount, qty } = this.#columns;
    region[id] = Math.floor(this.#random() * REGION_COUNT);
    product[id] = Math.floor(this.#random() * 1000);
    customer[id] = Math.floor(this.#random() * 100_000);
    amount[id] = this.#amount();
    qty[id] = this.#qty();
    this.#place[id] = this.#liveCount;
    this.#live[this.#liveCount] = id;
    this.#rowCount += 1;
    this.#liveCount += 1;
    return id;
  }

  #leave(id) {
    this.#liveCount -= 1;
    const last = this.#live[this.#liveCount];
    this.#live[this.#place[id]] = last;
    this.#place[last] = this.#place[id];
  }

  #makeRoom(count) {
    const larger = (array, Kind) => {
      const next = new Kind(count);
      if (array !== undefined) next.set(array);
      return next;
    };
    const known = this.#columns;
    this.#columns = {
      region: larger(known?.region, Uint8Array),
      product: larger(known?.product, Uint16Array),
      customer: larger(known?.customer, Int32Array),
      amount: larger(known?.amount, Float64Array),
      qty: larger(known?.qty, Uint8Array),
    };
    this.#live = larger(this.#live, Int32Array);
    this.#place = larger(this.#place, Int32Array);
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
