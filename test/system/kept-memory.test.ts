import { expect, test } from 'vitest';
import { open } from '../../src/open.ts';

// V8 collects for what it counts outside of its heap. A load of a million rows brought up to six collections of a heap that had hardly changed.
test('of what loads keep outside of the heap V8 counts little', async () => {
  const db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, at timestamptz, label text, amount float8)');
  const count = 2000;
  const rowOf = (id: number): Record<string, unknown> => ({
    id,
    at: id * 1000,
    label: `label ${id % 20}`,
    amount: id / 3,
  });
  const before = process.memoryUsage();
  for (let from = 0; from < 200_000; from += count)
    await db.insert(
      't',
      Array.from({ length: count }, (_, index) => rowOf(from + index)),
    );
  const after = process.memoryUsage();
  const kept = after.arrayBuffers - before.arrayBuffers;
  expect(kept).toBeGreaterThan(8e6);
  expect(after.external - before.external).toBeLessThan(kept / 2);
  await db.close();
});
