import { expect, test } from 'vitest';
import { open, type Database } from '../../src/index.ts';
import type { Engine } from '../../src/actors/engine.ts';

/** The work units of every commit from now on. */
function worksOf(db: Database): number[] {
  const { engine } = db as unknown as { engine: Engine };
  const works: number[] = [];
  const commit = engine.commit.bind(engine);
  Object.assign(engine, {
    commit: async (...args: Parameters<Engine['commit']>) => {
      const outcome = await commit(...args);
      works.push(outcome.work);
      return outcome;
    },
  });
  return works;
}

async function opened(rowCount: number) {
  const db = await open({ workers: 0 });
  await db.exec(`CREATE TABLE orders (id int PRIMARY KEY, region int, amount float8);
    CREATE MATERIALIZED VIEW sales AS
      SELECT region, count(*) AS n, sum(amount) AS s, avg(amount) AS a, min(amount) AS mi, max(amount) AS ma
      FROM orders GROUP BY region`);
  const id = Int32Array.from({ length: rowCount }, (_, at) => at);
  await db.insert('orders', {
    id,
    region: id.map((each) => each % 50),
    amount: Float64Array.from(id, (each) => (each * 7919) % 1000),
  });
  return db;
}

test('a change of one row costs the same work units, however many rows and groups there are', async () => {
  const changes = async (rowCount: number): Promise<number[]> => {
    const db = await opened(rowCount);
    const works = worksOf(db);
    await db.insert('orders', { id: rowCount, region: 7, amount: 12.5 });
    await db.upsert('orders', { id: rowCount, region: 7, amount: 13.5 });
    await db.upsert('orders', { id: 3, region: 8, amount: 1 });
    await db.delete('orders', { id: rowCount });
    await db.delete('orders', { id: 4 });
    await db.close();
    return works;
  };
  const few = await changes(1_000);
  expect(few).toHaveLength(5);
  for (const work of few) expect(work).toBeLessThan(150);
  // Enough for a segment to be full, so that old rows lie where nothing changes in place.
  expect(await changes(70_000)).toEqual(few);
});

test('views that read another table do no work', async () => {
  const work = async (viewCount: number): Promise<number[]> => {
    const db = await opened(1_000);
    await db.exec('CREATE TABLE other (id int PRIMARY KEY, n int)');
    for (let view = 0; view < viewCount; view += 1)
      await db.exec(
        `CREATE MATERIALIZED VIEW other_${view} AS SELECT n, count(*) AS c FROM other GROUP BY n`,
      );
    const works = worksOf(db);
    await db.insert('orders', { id: 1_000, region: 7, amount: 12.5 });
    await db.close();
    return works;
  };
  expect(await work(20)).toEqual(await work(0));
});

/** How many typed arrays `run` makes by name. */
async function arraysMade(run: () => Promise<unknown>): Promise<number> {
  const names = ['Float64Array', 'Int32Array', 'Uint32Array', 'Uint16Array', 'Uint8Array'] as const;
  const globals = globalThis as unknown as Record<string, unknown>;
  const originals = names.map((name) => globals[name]);
  let made = 0;
  for (const [index, name] of names.entries())
    globals[name] = new Proxy(originals[index] as new (...args: unknown[]) => object, {
      construct(target, args) {
        made += 1;
        return Reflect.construct(target, args) as object;
      },
    });
  try {
    await run();
  } finally {
    for (const [index, name] of names.entries()) globals[name] = originals[index];
  }
  return made;
}

test('a commit makes arrays by column, not by row or by group', async () => {
  const db = await opened(70_000);
  let salt = 0;
  const changed = (rowCount: number, groupCount: number) => {
    salt += 1;
    const id = Int32Array.from({ length: rowCount }, (_, row) => (row * 311 + salt * 17) % 70_000);
    return {
      id,
      region: Int32Array.from(id, (_, row) => row % groupCount),
      amount: Float64Array.from(id, (each) => (each * salt) % 997),
    };
  };
  // Now and then a chunk of the log or a part of an index is begun: the least of several commits has none of that.
  const least = async (rowCount: number, groupCount: number): Promise<number> => {
    let made = Infinity;
    for (let round = 0; round < 9; round += 1) {
      const rows = changed(rowCount, groupCount);
      made = Math.min(made, await arraysMade(() => db.upsert('orders', rows)));
    }
    return made;
  };
  await least(200, 50);
  const few = await least(20, 4);
  const many = await least(200, 50);
  expect(few).toBeLessThan(60);
  expect(many).toBeLessThanOrEqual(few + 16);
  await db.close();
});
