import { expect, test } from 'vitest';
import { open } from '../../src/index.ts';

test('the error of a stream says which item it is of, and is the last event', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE orders (id int PRIMARY KEY, amount int)');
  await db.insert('orders', { id: 1, amount: 2 });
  const server = await db.listen({ http: '127.0.0.1:0' });
  const answer = await fetch(`${server.http}/v1/live`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      items: {
        orders: { view: 'orders' },
        wrong: { sql: 'SELECT nope FROM orders' },
        sums: { sql: 'SELECT sum(amount) AS s FROM orders' },
      },
    }),
  });
  const events = (await answer.text()).trim().split('\n\n').slice(1);
  const last = /^event: error\ndata: (.*)$/.exec(events.at(-1)!);
  expect(JSON.parse(last![1]!)).toMatchObject({ code: '42703', field: 'items.wrong' });
  expect(events.filter((event) => event.startsWith('event: error'))).toHaveLength(1);
});
