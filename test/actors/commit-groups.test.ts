/** Small writes that wait for the turn together are one commit, and nobody gets anything else than alone. */
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { open, type Database } from '../../src/index.ts';
import { TestWorld } from '../sim/test-world.ts';

let db: Database;

beforeEach(async () => {
  db = await open();
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, k int UNIQUE, n int)');
});

afterEach(() => db.close());

test('writes that wait together have one position, and a subscriber hears of them once', async () => {
  await db.exec('CREATE MATERIALIZED VIEW v AS SELECT count(*) AS c, sum(n) AS s FROM t');
  await db.insert('t', { id: 1, k: 1, n: 1 });
  const changes = db.subscribe('v', { from: 'now' })[Symbol.asyncIterator]();
  const first = changes.next();
  const results = await Promise.all([
    db.insert('t', [
      { id: 2, k: 2, n: 10 },
      { id: 3, k: 3, n: 100 },
    ]),
    db.upsert('t', { id: 2, k: 2, n: 20 }),
    db.delete('t', { id: 1 }),
    db.delete('t', { id: 99 }),
  ]);
  expect(results.map(({ rows }) => rows)).toEqual([2, 1, 1, 0]);
  expect(new Set(results.map(({ position }) => position)).size).toBe(1);
  const { value } = await first;
  expect(value).toMatchObject({
    position: results[0].position,
    inserted: [{ c: 2, s: 120 }],
    deleted: [{ c: 1, s: 1 }],
  });
  await changes.return?.();
  expect((await db.query('SELECT id, n FROM t ORDER BY id')).rows).toEqual([
    { id: 2, n: 20 },
    { id: 3, n: 100 },
  ]);
});

test('who is refused is refused alone, and what comes later stays later', async () => {
  await db.exec('CREATE MATERIALIZED VIEW v AS SELECT k, sum(10 / n) AS s FROM t GROUP BY k');
  const outcomes = await Promise.allSettled([
    db.insert('t', { id: 1, k: 1, n: 1 }),
    db.insert('t', { id: 1, k: 2, n: 1 }),
    db.insert('t', { id: 2, k: 2, n: 0 }),
    db.upsert('t', { id: 1, k: 1, n: 2 }),
    db.insert('t', { id: 3, k: 1, n: 5 }),
    db.insert('t', { id: 2, k: 2, n: 5 }),
  ]);
  expect(outcomes.map((each) => (each.status === 'fulfilled' ? 'ok' : each.reason.code))).toEqual([
    'ok',
    '23505',
    '22012',
    'ok',
    '23505',
    'ok',
  ]);
  expect((await db.query('SELECT k, s FROM v ORDER BY k')).rows).toEqual([
    { k: 1, s: 5 },
    { k: 2, s: 2 },
  ]);
});

test('a group is small: many rows, or many writes, are several commits', async () => {
  const before = (await db.insert('t', { id: -1, k: -1, n: 0 })).position;
  const one = Array.from({ length: 70 }, (_, id) => db.insert('t', { id, k: id, n: 0 }));
  const positions = (await Promise.all(one)).map(({ position }) => position - before);
  expect(new Set(positions)).toEqual(new Set([1, 2]));
  const many = [1, 2, 3].map((block) => {
    const rows = Array.from({ length: 100 }, (_, row) => ({
      id: block * 100 + row,
      k: block * 100 + row,
      n: 0,
    }));
    return db.insert('t', rows);
  });
  const after = (await Promise.all(many)).map(({ position }) => position - before);
  expect(after).toEqual([3, 3, 4]);
});

test('one that is cancelled leaves the group', async () => {
  const world = await TestWorld.make({ faults: { journalDelay: 5 } });
  await world.run(async () => {
    await world.db.exec('CREATE TABLE t (id int PRIMARY KEY, n int)');
    // A transaction holds the key that the first of them waits for: they come apart, and the first is cancelled while it waits.
    const cancel = new AbortController();
    const holder = world.db.session({});
    await holder.exec('BEGIN; INSERT INTO t VALUES (1, 0)');
    const writes = [
      world.db.insert('t', { id: 1, n: 1 }, { signal: cancel.signal }),
      world.db.insert('t', { id: 2, n: 1 }),
    ];
    await writes[1];
    cancel.abort();
    await expect(writes[0]).rejects.toMatchObject({ code: '57014' });
    await holder.exec('COMMIT');
    await holder.close();
    const { rows } = await world.db.query('SELECT id, n FROM t ORDER BY id');
    expect(rows).toEqual([
      { id: 1, n: 0 },
      { id: 2, n: 1 },
    ]);
  });
  await world.run(() => world.db.close());
});

test('one that is cancelled while it waits for its turn is not written, the others are', async () => {
  const cancel = new AbortController();
  const { signal } = cancel;
  const writes = [1, 2, 3].map((id) =>
    db.insert('t', { id, k: id, n: 1 }, id === 2 ? { signal } : {}),
  );
  cancel.abort();
  const outcomes = await Promise.allSettled(writes);
  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  await expect(writes[1]).rejects.toMatchObject({ code: '57014' });
  expect((await db.query('SELECT id FROM t ORDER BY id')).rows).toEqual([{ id: 1 }, { id: 3 }]);
});

test('a group for which the journal has no room comes once more, one by one', async () => {
  const world = await TestWorld.make({
    faults: { journalDelay: 5 },
    planned: [{ kind: 'journalFull', nth: 1 }],
  });
  await world.run(async () => {
    await world.db.exec('CREATE TABLE t (id int PRIMARY KEY, n int)');
    world.faultsActive = true;
    const writes = [1, 2].map((id) => world.db.insert('t', { id, n: 1 }));
    const [one, two] = await Promise.all(writes);
    expect(two!.position).toBe(one!.position + 1);
  });
  await world.run(() => world.db.close());
});

type Write =
  | { readonly kind: 'insert' | 'upsert'; readonly id: number; readonly k: number; n: number }
  | { readonly kind: 'delete'; readonly id: number };

const WRITE: fc.Arbitrary<Write> = fc.oneof(
  fc.record({
    kind: fc.constantFrom('insert' as const, 'upsert' as const),
    id: fc.integer({ min: 0, max: 5 }),
    k: fc.integer({ min: 0, max: 5 }),
    n: fc.integer({ min: 0, max: 3 }),
  }),
  fc.record({ kind: fc.constant('delete' as const), id: fc.integer({ min: 0, max: 5 }) }),
);

test('writes at once end as the same writes one after the other', async () => {
  await db.exec(`CREATE MATERIALIZED VIEW v AS SELECT k % 2 AS p, count(*) AS c, min(n) AS mi, max(n) AS ma, sum(6 / n) AS s
    FROM t GROUP BY k % 2`);
  const write = (each: Write) => {
    if (each.kind === 'delete') return db.delete('t', { id: each.id });
    const { kind, ...row } = each;
    return db[kind]('t', row);
  };
  const told = (outcome: PromiseSettledResult<{ rows: number }>) =>
    outcome.status === 'fulfilled' ? outcome.value.rows : (outcome.reason as { code: string }).code;
  const state = async () => [
    (await db.query('SELECT id, k, n FROM t ORDER BY id')).rows,
    (await db.query('SELECT * FROM v ORDER BY p')).rows,
  ];
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(WRITE, { minLength: 1, maxLength: 8 }), { maxLength: 4 }),
      async (bursts) => {
        await db.exec('TRUNCATE t');
        const together = [];
        for (const burst of bursts)
          together.push((await Promise.allSettled(burst.map(write))).map(told));
        const after = await state();
        await db.exec('TRUNCATE t');
        const alone = [];
        for (const burst of bursts) {
          const outcomes = [];
          for (const each of burst)
            outcomes.push(told((await Promise.allSettled([write(each)]))[0]!));
          alone.push(outcomes);
        }
        expect(together).toEqual(alone);
        expect(after).toEqual(await state());
      },
    ),
    { numRuns: 60 },
  );
});
