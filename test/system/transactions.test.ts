import { afterEach, expect, test } from 'vitest';
import { open } from '../../src/open.ts';
import type { Database, SessionHandle } from '../../src/index.ts';
import type { DbError } from '../../src/base/errors.ts';

let db: Database;
afterEach(() => db?.close());

async function accounts(count: number): Promise<void> {
  db = await open();
  await db.exec('CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL)');
  await db.insert(
    'accounts',
    Array.from({ length: count }, (_, id) => ({ id, balance: 100 })),
  );
}

test('transfers from fifty sessions at READ COMMITTED: none fails, the sum is kept', async () => {
  await accounts(10);
  await db.exec('CREATE MATERIALIZED VIEW total AS SELECT sum(balance) AS s FROM accounts');
  let seed = 7;
  const below = (n: number): number => (seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648) % n;
  await Promise.all(
    Array.from({ length: 50 }, async () => {
      const session = db.session();
      for (let round = 0; round < 5; round += 1) {
        // Rows are touched in order of id, so that no two transfers wait for each other.
        const [a, b] = [below(10), below(10)].sort((x, y) => x - y);
        await session.exec('BEGIN');
        await session.query('UPDATE accounts SET balance = balance - 1 WHERE id = $1', {
          params: [a],
        });
        await session.query('UPDATE accounts SET balance = balance + 1 WHERE id = $1', {
          params: [b],
        });
        await session.exec('COMMIT');
      }
      await session.close();
    }),
  );
  expect((await db.query('SELECT sum(balance) AS s FROM accounts')).rows).toEqual([{ s: 1000 }]);
  expect((await db.query('SELECT s FROM total')).rows).toEqual([{ s: 1000 }]);
});

test('a serializable transaction that read what another changed is refused with 40001, and retried when asked', async () => {
  await accounts(2);
  let runs = 0;
  const attempt = (retries: number): Promise<{ readonly value: number }> =>
    db.transaction(
      async (tx) => {
        runs += 1;
        const { rows } = await tx.query<{ s: number }>('SELECT sum(balance) AS s FROM accounts');
        if (runs === 1) await db.exec('UPDATE accounts SET balance = balance + 5 WHERE id = 0');
        await tx.query('UPDATE accounts SET balance = $1 WHERE id = 1', { params: [rows[0]!.s] });
        return rows[0]!.s;
      },
      { retries },
    );
  await expect(attempt(0)).rejects.toMatchObject({ code: '40001', retryable: true });
  runs = 0;
  expect((await attempt(3)).value).toBe(210);
  expect(runs).toBe(2);
});

test('two transactions that wait for each other: one is told 40P01, the other goes on', async () => {
  await accounts(2);
  const one = db.session();
  const two = db.session();
  await one.exec('BEGIN');
  await two.exec('BEGIN');
  await one.exec('UPDATE accounts SET balance = 1 WHERE id = 0');
  await two.exec('UPDATE accounts SET balance = 2 WHERE id = 1');
  const waiting = one.exec('UPDATE accounts SET balance = 1 WHERE id = 1');
  const refused = await two
    .exec('UPDATE accounts SET balance = 2 WHERE id = 0')
    .catch((cause: unknown) => cause as DbError);
  expect(refused).toMatchObject({ code: '40P01' });
  await two.exec('ROLLBACK');
  await waiting;
  await one.exec('COMMIT');
  expect((await db.query('SELECT balance FROM accounts ORDER BY id')).rows).toEqual([
    { balance: 1 },
    { balance: 1 },
  ]);
});

test('nobody sees a transaction before it commits, and a savepoint takes back what came after it', async () => {
  await accounts(1);
  const session = db.session();
  await session.exec('BEGIN');
  await session.exec('INSERT INTO accounts VALUES (5, 5)');
  await session.exec('SAVEPOINT a');
  await session.exec('INSERT INTO accounts VALUES (6, 6)');
  await session.exec('UPDATE accounts SET balance = 0 WHERE id = 0');
  expect(
    (await session.query('SELECT count(*) AS n, sum(balance) AS s FROM accounts')).rows,
  ).toEqual([{ n: 3, s: 11 }]);
  expect((await db.query('SELECT count(*) AS n FROM accounts')).rows).toEqual([{ n: 1 }]);
  await session.exec('ROLLBACK TO a');
  await session.exec('COMMIT');
  expect((await db.query('SELECT * FROM accounts ORDER BY id')).rows).toEqual([
    { id: 0, balance: 100 },
    { id: 5, balance: 5 },
  ]);
});

test('a failed statement leaves its transaction deaf until ROLLBACK', async () => {
  await accounts(1);
  const session = db.session();
  await session.exec('BEGIN');
  await expect(session.exec('INSERT INTO accounts VALUES (0, 1)')).rejects.toMatchObject({
    code: '23505',
  });
  await expect(session.query('SELECT 1')).rejects.toMatchObject({ code: '25P02' });
  expect(session.status).toBe('failed');
  await session.exec('ROLLBACK');
  expect((await session.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
});

test('tables and views that a transaction makes are its own until it commits', async () => {
  db = await open();
  const session = db.session();
  await session.exec(
    'BEGIN; CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1), (2); CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM t; INSERT INTO t VALUES (3)',
  );
  expect((await session.query('SELECT n FROM v')).rows).toEqual([{ n: 3 }]);
  await expect(db.query('SELECT * FROM t')).rejects.toMatchObject({ code: '42P01' });
  await session.exec('COMMIT');
  expect((await db.query('SELECT n FROM v')).rows).toEqual([{ n: 3 }]);
});

test('what a function has not awaited when it throws is rolled back, and what it waits for given up', async () => {
  await accounts(2);
  const settled: Promise<PromiseSettledResult<unknown>[]>[] = [];
  const idsOf = async (): Promise<unknown[]> =>
    (await db.query('SELECT id FROM accounts ORDER BY id')).rows.map(({ id }) => id);
  const thrown = (asked: (tx: Parameters<Parameters<typeof db.transaction>[0]>[0]) => unknown[]) =>
    db.transaction(async (tx) => {
      settled.push(Promise.allSettled(asked(tx)));
      throw new Error('no');
    });
  const several = [5, 6, 7].map((id) => ({ id, balance: 1 }));
  await expect(thrown((tx) => several.map((row) => tx.insert('accounts', [row])))).rejects.toThrow(
    'no',
  );
  await expect(
    thrown((tx) =>
      several.map(({ id }) => tx.exec('INSERT INTO accounts VALUES ($1, 1)', { params: [id] })),
    ),
  ).rejects.toThrow('no');
  // The first fails, and so does the function, before the others have begun.
  const same = [0, 5, 6, 7].map((id) => ({ id, balance: 1 }));
  await expect(
    db.transaction((tx) => Promise.all(same.map((row) => tx.insert('accounts', [row])))),
  ).rejects.toMatchObject({ code: '23505' });
  async function* pieces(): AsyncGenerator<Uint8Array> {
    for (const row of several) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      yield Buffer.from(`${JSON.stringify(row)}\n`);
    }
  }
  const format = { format: 'ndjson' } as const;
  await expect(
    thrown((tx) => [(tx as SessionHandle).load('accounts', pieces(), format)]),
  ).rejects.toThrow('no');
  expect(await settled.at(-1)).toMatchObject([{ status: 'rejected', reason: { code: '25P02' } }]);
  expect(await idsOf()).toEqual([0, 1]);

  const holder = db.session();
  const update = 'UPDATE accounts SET balance = balance + 1 WHERE id = 0';
  await holder.exec(`BEGIN; ${update}`);
  await expect(thrown((tx) => [tx.exec(update)])).rejects.toThrow('no');
  expect(await settled.at(-1)).toMatchObject([{ status: 'rejected', reason: { code: '25P02' } }]);
  await holder.exec('COMMIT');
  await db.exec(update);
  expect((await db.query('SELECT balance FROM accounts WHERE id = 0')).rows).toEqual([
    { balance: 102 },
  ]);
});

test('a query whose rows are still taken when they are rolled back ends, and what goes on goes on', async () => {
  db = await open();
  await db.exec('CREATE TABLE t (id int PRIMARY KEY)');
  const fill = (from: number): string =>
    `INSERT INTO t SELECT n FROM generate_series(${from + 1}, ${from + 100000}) s(n)`;
  const rest = async (rows: AsyncIterator<{ readonly rowCount: number }>): Promise<number> => {
    let count = 0;
    for (let next = await rows.next(); next.done !== true; next = await rows.next())
      count += next.value.rowCount;
    return count;
  };
  const session = db.session();
  await session.exec(`BEGIN; ${fill(0)}; SAVEPOINT a`);
  const before = session.stream('SELECT id FROM t')[Symbol.asyncIterator]();
  let count = (await before.next()).value!.rowCount;
  await session.exec(fill(100_000));
  const behind = session.stream('SELECT id FROM t')[Symbol.asyncIterator]();
  await behind.next();
  await session.exec(`ROLLBACK TO a; ${fill(500_000)}`);
  await expect(rest(behind)).rejects.toMatchObject({ code: '24000' });
  count += await rest(before);
  expect(count).toBe(100_000);
  const all = session.stream('SELECT id FROM t')[Symbol.asyncIterator]();
  await all.next();
  await session.exec('COMMIT');
  expect(await rest(all)).toBeGreaterThan(150_000);
  let left: AsyncIterator<{ readonly rowCount: number }> | undefined;
  await expect(
    db.transaction(async (tx) => {
      await tx.exec('DELETE FROM t WHERE id > 100000');
      await tx.exec(fill(900_000));
      left = (tx as SessionHandle).stream('SELECT id FROM t')[Symbol.asyncIterator]();
      await left!.next();
      throw new Error('no');
    }),
  ).rejects.toThrow('no');
  await expect(rest(left!)).rejects.toMatchObject({ code: '24000' });
  expect((await db.query('SELECT count(*) AS n FROM t')).rows).toEqual([{ n: 200_000 }]);
});
