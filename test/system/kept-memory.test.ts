import { expect, test } from 'vitest';
import { open } from '../../src/open.ts';

// V8 collects for what it counts outside of its heap. A load of a million rows brought up to six collections of a heap that had hardly changed.
test('of what loads keep outside of the heap V8 counts little', async () => {
  const db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, at timestamptz, label text, amount float8)');
  const load = async (from: number, end: number): Promise<void> => {
    for (let first = from; first < end; first += 2000) {
      const ids = Array.from({ length: 2000 }, (_, index) => first + index);
      await db.insert(
        't',
        ids.map((id) => ({ id, at: id * 1000, label: `label ${id % 20}`, amount: id / 3 })),
      );
    }
  };
  // Code takes memory, too.
  await load(0, 80_000);
  const before = process.memoryUsage();
  await load(80_000, 480_000);
  const after = process.memoryUsage();
  const kept = after.arrayBuffers - before.arrayBuffers;
  expect(kept).toBeGreaterThan(5e6);
  expect(after.external - before.external).toBeLessThan(kept / 2);
  await db.close();
});
