/**
 * The process that `kill-journal.mjs` kills: opens the database, says what is in it, and writes until it is no more. Lines go out by a
 * write that has happened when it returns, so that what was said is known whatever happens next.
 */
import { writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { after, keyOf, nextOperation, seeded } from './kill-load.mjs';

const { engine, dir, fsync, seed } = JSON.parse(process.argv[2]);
const { open } = await import(engine);
const say = (line) => writeSync(1, `${JSON.stringify(line)}\n`);

const db = await open({
  memory: '512 MB',
  workers: 0,
  journal: { kind: 'file', dir, fsync, fsyncMs: 20, snapshotEvery: '200 KB' },
});
db.on('snapshot.failed', ({ cause }) => say({ broken: String(cause) }));
if (db.position === 0) {
  await db.exec(`CREATE TABLE orders (id bigint PRIMARY KEY, region text, amount numeric(12,2));
    CREATE INDEX ON orders (region);
    CREATE MATERIALIZED VIEW sales AS SELECT region, count(*) AS n, sum(amount) AS total FROM orders GROUP BY region;
    CREATE MATERIALIZED VIEW large AS SELECT id, amount FROM orders WHERE amount > 500`);
}
const rows = (text) => db.query(text, { format: 'text' }).then((result) => result.rows);
const views = db.describe().some(({ name }) => name === 'large');
say({
  position: db.position,
  orders: views ? await rows('SELECT id, region, amount::int FROM orders ORDER BY id') : [],
  sales: views ? await rows('SELECT region, n, total::int FROM sales ORDER BY region') : [],
  large: views ? await rows('SELECT id, amount::int FROM large ORDER BY id') : [],
});

async function perform(writer, operation) {
  const list = operation.ids?.join(', ');
  switch (operation.kind) {
    case 'insert':
      return db.insert(
        'orders',
        operation.rows,
        writer.index === 0 ? { idempotencyKey: keyOf(0, operation) } : {},
      );
    case 'upsert':
      return db.upsert('orders', operation.rows);
    case 'update':
      return db.exec(`UPDATE orders SET amount = amount + ${operation.add} WHERE id IN (${list})`);
    case 'delete':
      return db.delete('orders', { id: operation.ids });
    case 'transaction':
      return db.transaction(
        async (tx) => {
          await tx.insert('orders', operation.rows);
          await tx.exec(
            `UPDATE orders SET amount = amount + ${operation.add} WHERE id IN (${list})`,
          );
        },
        { retries: 20 },
      );
  }
}

async function write(writer) {
  const random = seeded(seed * 31 + writer.index + 1);
  let { number, again } = writer;
  writer.state = { next: writer.next, rows: new Map(writer.rows) };
  for (;;) {
    const operation = again ?? nextOperation(writer, number, random);
    again = undefined;
    number = operation.number + 1;
    say({ begin: operation, writer: writer.index });
    await perform(writer, operation);
    say({ done: operation.number, writer: writer.index });
    writer.state = after(writer.state, operation);
  }
}
// What the parent makes of it: where each writer goes on.
const { value: writers } = await createInterface({ input: process.stdin })
  [Symbol.asyncIterator]()
  .next();
await Promise.all(JSON.parse(writers).map(write)).catch((cause) => {
  say({ broken: String(cause?.stack ?? cause) });
  process.exit(1);
});
