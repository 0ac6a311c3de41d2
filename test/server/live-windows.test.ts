import { expect, test } from 'vitest';
import { open } from '../../src/index.ts';
test('a window is followed over HTTP', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE orders (id int PRIMARY KEY, ts timestamptz)');
  const server = await db.listen({ http: '127.0.0.1:0' });
  const abort = new AbortController();
  const answer = await fetch(`${server.http}/v1/live`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    signal: abort.signal,
    body: JSON.stringify({
      items: {
        today: {
          maxRate: 1000,
          window: {
            table: 'orders',
            range: ['2026-01-01', '2026-01-02'],
            measures: { n: 'count(*)' },
          },
        },
      },
    }),
  });
  expect(answer.status).toBe(200);
  const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  const until = async (what: RegExp): Promise<void> => {
    while (!what.test(text)) text += (await reader.read()).value ?? '';
  };
  await until(/event: snapshot/);
  await db.insert('orders', [{ id: 1, ts: '2026-01-01T10:00:00Z' }]);
  await until(/event: delta[\s\S]*"n":1/);
  abort.abort();
  const wrong = await fetch(`${server.http}/v1/live`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ items: { today: { window: { last: '1h' } } } }),
  });
  expect([wrong.status, ((await wrong.json()) as { field: string }).field]).toEqual([
    400,
    'items.today.window',
  ]);
});

test('a window that cannot be followed is told as an error, and the server goes on', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE plain (id int PRIMARY KEY)');
  const server = await db.listen({ http: '127.0.0.1:0' });
  const unhandled: unknown[] = [];
  const note = (cause: unknown): number => unhandled.push(cause);
  process.on('unhandledRejection', note);
  const answer = await fetch(`${server.http}/v1/live`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      items: { today: { window: { table: 'plain', last: '1h', measures: { n: 'count(*)' } } } },
    }),
  });
  expect(await answer.text()).toContain('has no column of times');
  await new Promise((resolve) => setTimeout(resolve, 20));
  process.off('unhandledRejection', note);
  expect(unhandled).toEqual([]);
});
