import { columnsOf } from '../lib/changes.mjs';

const VIEW = `SELECT region AS k, count(*) AS n, sum(amount) AS s, avg(amount) AS a, min(amount) AS mi, max(amount) AS ma
  FROM orders GROUP BY region`;

/** Our database with the view and a subscriber: a change is done when the subscriber has been told. */
export async function openOurs(orders) {
  const { open } = await import('../../dist/src/index.js');
  const db = await open();
  await db.exec(
    `CREATE TABLE orders (id int PRIMARY KEY, ts float8, region int, product int, customer int, amount float8, qty int)`,
  );
  await db.exec(`CREATE MATERIALIZED VIEW sales AS ${VIEW}`);
  for (const columns of orders.columns(100_000)) await db.insert('orders', columns);
  const changes = db.subscribe('sales', { from: 'now' })[Symbol.asyncIterator]();
  // What was told last, and who waits for more.
  let toldPosition = 0;
  let wake;
  const reading = (async () => {
    for (;;) {
      const { done, value } = await changes.next();
      if (done) return;
      toldPosition = value.position;
      wake?.();
    }
  })();
  const until = async (position) => {
    while (toldPosition < position)
      await new Promise((resolve) => {
        wake = resolve;
      });
  };
  return {
    db,
    /** One change as a program makes it: `await db.insert` of an object, and a subscriber that hears of it. */
    async one({ kind, row, old }) {
      const { position } =
        kind === 'insert'
          ? await db.insert('orders', row)
          : kind === 'update'
            ? await db.upsert('orders', row)
            : await db.delete('orders', { id: old.id });
      await until(position);
    },
    /** Typed arrays by kind of change; made outside of what is measured, as for the peers. */
    prepare(changes) {
      const of = (kind) => changes.filter((change) => change.kind === kind);
      return {
        insert: columnsOf(of('insert').map(({ row }) => row)),
        update: columnsOf(of('update').map(({ row }) => row)),
        delete: { id: Int32Array.from(of('delete'), ({ old }) => old.id) },
      };
    },
    async apply(prepared) {
      const results = await Promise.all([
        db.insert('orders', prepared.insert),
        db.upsert('orders', prepared.update),
        db.delete('orders', prepared.delete),
      ]);
      await until(Math.max(...results.map(({ position, rows }) => (rows > 0 ? position : 0))));
    },
    async result() {
      return (await db.query('SELECT k, n, s, mi, ma FROM sales')).rows;
    },
    async close() {
      await changes.return();
      await reading;
      await db.close();
    },
  };
}
