/**
 * The peers, each as `{ name, load(orders), prepare(changes), apply(prepared), result(), close() }`. `apply` ends with the new
 * answer in the hands of the program: those that recompute read it anew, those that maintain tell what has changed.
 */
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const DDL =
  'CREATE TABLE orders (id INTEGER PRIMARY KEY, ts DOUBLE PRECISION, region INTEGER, product INTEGER, customer INTEGER, amount DOUBLE PRECISION, qty INTEGER)';
const VIEW =
  'SELECT region AS k, count(*) AS n, sum(amount) AS s, avg(amount) AS a, min(amount) AS mi, max(amount) AS ma FROM orders GROUP BY region';
const values = ({ id, ts, region, product, customer, amount, qty }) => [
  id,
  ts,
  region,
  product,
  customer,
  amount,
  qty,
];

export const peers = {
  'TanStack db-ivm': tanstack,
  'SQLite triggers': sqliteTriggers,
  'SQLite recompute': sqliteRecompute,
  'DuckDB recompute': duckdb,
  'PGlite + pg_ivm': pgIvm,
};

async function tanstack() {
  const { D2, MultiSet, groupBy, groupByOperators, output } = await import('@tanstack/db-ivm');
  const { count, sum, avg, min, max } = groupByOperators;
  const graph = new D2();
  const input = graph.newInput();
  const groups = new Map();
  const amount = (row) => row.amount;
  input.pipe(
    groupBy((row) => ({ k: row.region }), {
      n: count(),
      s: sum(amount),
      a: avg(amount),
      mi: min(amount),
      ma: max(amount),
    }),
    output((changes) => {
      // Of a group that changes the old row leaves and the new one comes, in any order.
      for (const [[key, row], copies] of changes.getInner())
        if (copies < 0 && groups.get(key) === row) groups.delete(key);
        else if (copies > 0) groups.set(key, row);
    }),
  );
  graph.finalize();
  const send = (rows) => {
    input.sendData(new MultiSet(rows));
    graph.run();
  };
  return {
    load(orders) {
      let rows = [];
      for (const row of orders.rows()) {
        rows.push([row, 1]);
        if (rows.length < 100_000) continue;
        send(rows);
        rows = [];
      }
      if (rows.length > 0) send(rows);
    },
    prepare: (changes) =>
      changes.flatMap(({ old, row }) => [
        ...(old === undefined ? [] : [[old, -1]]),
        ...(row === undefined ? [] : [[row, 1]]),
      ]),
    apply: send,
    result: () => [...groups.values()],
    close() {},
  };
}

function openSqlite() {
  const Sqlite = require('better-sqlite3');
  const db = new Sqlite(':memory:');
  db.pragma('journal_mode = OFF');
  db.pragma('synchronous = OFF');
  db.exec(DDL);
  const insert = db.prepare('INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?)');
  const update = db.prepare('UPDATE orders SET amount = ?, qty = ? WHERE id = ?');
  const remove = db.prepare('DELETE FROM orders WHERE id = ?');
  const apply = db.transaction((changes) => {
    for (const { kind, row, old } of changes) {
      if (kind === 'insert') insert.run(...values(row));
      else if (kind === 'update') update.run(row.amount, row.qty, row.id);
      else remove.run(old.id);
    }
  });
  const load = db.transaction((orders) => {
    for (const row of orders.rows()) insert.run(...values(row));
  });
  return { db, apply, load };
}

function sqlite(prepareViews, query) {
  const { db, apply, load } = openSqlite();
  prepareViews(db);
  const read = db.prepare(query);
  let last = [];
  return {
    load(orders) {
      load(orders);
      last = read.all();
    },
    prepare: (changes) => changes,
    apply(changes) {
      apply(changes);
      last = read.all();
    },
    result: () => last,
    close: () => db.close(),
  };
}

/** What a careful user writes by hand: counts and sums by trigger, extremes by an index of the values. */
function sqliteTriggers() {
  return sqlite(
    (db) => {
      db.exec(`CREATE TABLE sales (k INTEGER PRIMARY KEY, n INTEGER, s REAL);
      CREATE TABLE amounts (k INTEGER, amount REAL, id INTEGER, PRIMARY KEY (k, amount, id)) WITHOUT ROWID;`);
      const add = `INSERT INTO sales VALUES (new.region, 1, new.amount) ON CONFLICT (k) DO UPDATE SET n = n + 1, s = s + excluded.s;
      INSERT INTO amounts VALUES (new.region, new.amount, new.id);`;
      const take = `UPDATE sales SET n = n - 1, s = s - old.amount WHERE k = old.region;
      DELETE FROM amounts WHERE k = old.region AND amount = old.amount AND id = old.id;`;
      db.exec(`CREATE TRIGGER arrives AFTER INSERT ON orders BEGIN ${add} END;
      CREATE TRIGGER leaves AFTER DELETE ON orders BEGIN ${take} END;
      CREATE TRIGGER changes AFTER UPDATE ON orders BEGIN ${take} ${add} END;`);
    },
    `SELECT k, n, s, s / n AS a, (SELECT min(amount) FROM amounts WHERE amounts.k = sales.k) AS mi,
      (SELECT max(amount) FROM amounts WHERE amounts.k = sales.k) AS ma FROM sales`,
  );
}

function sqliteRecompute() {
  return sqlite((db) => db.exec('CREATE INDEX by_region ON orders (region, amount)'), VIEW);
}

async function duckdb() {
  const { DuckDBInstance } = await import('@duckdb/node-api');
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  await connection.run(DDL);
  await connection.run('CREATE TABLE changed AS SELECT id, amount, qty FROM orders');
  await connection.run('CREATE TABLE gone AS SELECT id FROM orders');
  const append = async (table, rows, write) => {
    const appender = await connection.createAppender(table);
    for (const row of rows) {
      write(appender, row);
      appender.endRow();
    }
    appender.closeSync();
  };
  const whole = (appender, row) => {
    appender.appendInteger(row.id);
    appender.appendDouble(row.ts);
    appender.appendInteger(row.region);
    appender.appendInteger(row.product);
    appender.appendInteger(row.customer);
    appender.appendDouble(row.amount);
    appender.appendInteger(row.qty);
  };
  let last = [];
  const read = async () => {
    last = (await connection.runAndReadAll(VIEW)).getRowObjectsJS();
  };
  return {
    async load(orders) {
      await append('orders', orders.rows(), whole);
      await read();
    },
    prepare: (changes) => ({
      inserted: changes.flatMap(({ kind, row }) => (kind === 'insert' ? [row] : [])),
      updated: changes.flatMap(({ kind, row }) => (kind === 'update' ? [row] : [])),
      deleted: changes.flatMap(({ kind, old }) => (kind === 'delete' ? [old.id] : [])),
    }),
    async apply({ inserted, updated, deleted }) {
      await connection.run('BEGIN');
      if (inserted.length > 0) await append('orders', inserted, whole);
      if (updated.length > 0) {
        await connection.run('DELETE FROM changed');
        await append('changed', updated, (appender, row) => {
          appender.appendInteger(row.id);
          appender.appendDouble(row.amount);
          appender.appendInteger(row.qty);
        });
        await connection.run(
          'UPDATE orders SET amount = changed.amount, qty = changed.qty FROM changed WHERE orders.id = changed.id',
        );
      }
      if (deleted.length > 0) {
        await connection.run('DELETE FROM gone');
        await append('gone', deleted, (appender, id) => appender.appendInteger(id));
        await connection.run('DELETE FROM orders WHERE id IN (SELECT id FROM gone)');
      }
      await connection.run('COMMIT');
      await read();
    },
    result: () => last.map((row) => ({ ...row, k: Number(row.k), n: Number(row.n) })),
    close() {
      connection.closeSync();
      instance.closeSync();
    },
  };
}

async function pgIvm() {
  const [{ PGlite }, { pg_ivm: extension }] = await Promise.all([
    import('@electric-sql/pglite'),
    import('@electric-sql/pglite-pg_ivm'),
  ]);
  const db = await PGlite.create({ extensions: { pg_ivm: extension } });
  await db.exec(`CREATE EXTENSION pg_ivm; ${DDL}`);
  const lists = (rows) => [
    rows.map(({ id }) => id),
    rows.map(({ ts }) => ts),
    rows.map(({ region }) => region),
    rows.map(({ product }) => product),
    rows.map(({ customer }) => customer),
    rows.map(({ amount }) => amount),
    rows.map(({ qty }) => qty),
  ];
  const INSERT =
    'INSERT INTO orders SELECT * FROM unnest($1::int[], $2::float8[], $3::int[], $4::int[], $5::int[], $6::float8[], $7::int[])';
  let last = [];
  const read = async () => {
    last = (await db.query('SELECT k, n, s, mi, ma FROM sales')).rows;
  };
  return {
    async load(orders) {
      let rows = [];
      for (const row of orders.rows()) {
        rows.push(row);
        if (rows.length < 20_000) continue;
        await db.query(INSERT, lists(rows));
        rows = [];
      }
      if (rows.length > 0) await db.query(INSERT, lists(rows));
      await db.exec('CREATE INDEX by_region ON orders (region, amount)');
      await db.query("SELECT pgivm.create_immv('sales', $1)", [VIEW]);
      await db.exec('ANALYZE');
      await read();
    },
    prepare: (changes) => ({
      inserted: changes.flatMap(({ kind, row }) => (kind === 'insert' ? [row] : [])),
      updated: changes.flatMap(({ kind, row }) => (kind === 'update' ? [row] : [])),
      deleted: changes.flatMap(({ kind, old }) => (kind === 'delete' ? [old.id] : [])),
    }),
    async apply({ inserted, updated, deleted }) {
      await db.transaction(async (tx) => {
        if (inserted.length > 0) await tx.query(INSERT, lists(inserted));
        if (updated.length > 0) {
          await tx.query(
            `UPDATE orders SET amount = c.amount, qty = c.qty
             FROM unnest($1::int[], $2::float8[], $3::int[]) AS c (id, amount, qty) WHERE orders.id = c.id`,
            [
              updated.map(({ id }) => id),
              updated.map(({ amount }) => amount),
              updated.map(({ qty }) => qty),
            ],
          );
        }
        if (deleted.length > 0)
          await tx.query('DELETE FROM orders WHERE id = ANY ($1::int[])', [deleted]);
      });
      await read();
    },
    result: () => last.map((row) => ({ ...row, n: Number(row.n) })),
    close: () => db.close(),
  };
}
