import { expect, test } from 'vitest';
import { open } from '../../src/open.ts';

type Row = { readonly id: number; readonly k: number | null; readonly t: string };

/** Rows that tie, in the order of their arrival, NULL last: what every sort should give. */
function sorted(rows: readonly Row[], descending: boolean): number[] {
  const rank = ({ k }: Row): number => (k === null ? Infinity : descending ? -k : k);
  return rows.toSorted((a, b) => (rank(a) === rank(b) ? 0 : rank(a) - rank(b))).map(({ id }) => id);
}

test('ties stay in arrival order, whatever order the rows lie in', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, k int, t text)');
  // More than a segment: its rows are permuted once it is sealed.
  const rows: Row[] = Array.from({ length: 70_000 }, (_, at) => ({
    id: at * 3,
    k: at % 11 === 0 ? null : (at * 7919) % 13,
    t: `text ${(at * 31) % 7}`,
  }));
  await db.insert('t', rows);
  await db.exec('DELETE FROM t WHERE id % 5 = 0');
  const left = rows.filter(({ id }) => id % 5 !== 0);
  const ids = async (text: string, from = db): Promise<unknown[]> =>
    (await from.query(text)).rows.map((row) => row['id']);
  for (const [order, descending] of [
    ['k', false],
    ['k DESC NULLS LAST', true],
  ] as const)
    for (const keep of [1, 40, 5000]) {
      expect(await ids(`SELECT id, k FROM t ORDER BY ${order} LIMIT ${keep}`)).toEqual(
        sorted(left, descending).slice(0, keep),
      );
      expect(
        await ids(
          `SELECT id, k + 1 AS k, t FROM t WHERE t < 'text 4' ORDER BY ${order} LIMIT ${keep}`,
        ),
      ).toEqual(
        sorted(
          left.filter(({ t }) => t < 'text 4'),
          descending,
        ).slice(0, keep),
      );
    }
  expect(await ids('SELECT id FROM t ORDER BY k')).toEqual(sorted(left, false));
  // What many write for "all of the rest".
  expect(
    await ids(`SELECT id FROM t ORDER BY k LIMIT ${2n ** 63n - 1n} OFFSET ${left.length - 3}`),
  ).toEqual(sorted(left, false).slice(-3));
  // Rows that only a transaction sees come behind the others.
  const session = db.session();
  await session.exec('BEGIN');
  await session.exec("INSERT INTO t VALUES (-1, 0, 'mine'), (-2, 0, 'mine')");
  await session.exec('DELETE FROM t WHERE id = 39');
  const seen = [
    ...left.filter(({ id }) => id !== 39),
    { id: -1, k: 0, t: '' },
    { id: -2, k: 0, t: '' },
  ];
  const mine = await session.query('SELECT id FROM t ORDER BY k LIMIT 6000');
  expect(mine.rows.map((row) => row['id'])).toEqual(sorted(seen, false).slice(0, 6000));
  await session.close();
});

test('groups that tie come in the order of their keys, and are not ranked for it', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, k int, t text)');
  await db.insert('t', {
    id: Int32Array.from({ length: 6000 }, (_, at) => at),
    k: Int32Array.from({ length: 6000 }, (_, at) => (at * 7919) % 3000),
    t: Array.from({ length: 6000 }, (_, at) => `text ${(at * 31) % 3}`),
  });
  const tied = await db.query(
    'SELECT t, k, count(*) AS n FROM t GROUP BY t, k ORDER BY n LIMIT 50',
  );
  const told = await db.query(
    'SELECT t, k, count(*) AS n FROM t GROUP BY t, k ORDER BY n, t, k LIMIT 50',
  );
  expect(tied.rows).toEqual(told.rows);
  expect(tied.meta.work).toBe(told.meta.work);
  // Where a key is not shown, its order has to be made.
  const hidden = await db.query('SELECT t, count(*) AS n FROM t GROUP BY t, k ORDER BY n LIMIT 50');
  expect(hidden.rows.map((row) => row['t'])).toEqual(tied.rows.map((row) => row['t']));
});

test('a top-k of thousands forgets what is worse, again and again', async () => {
  await using db = await open({ workers: 0 });
  const count = 290_000;
  const best = Array.from({ length: count }, (_, index) => index + 1)
    .sort((a, b) => ((b * 7919) % 1009) - ((a * 7919) % 1009) || a - b)
    .slice(0, 5000);
  const { rows } = await db.query(
    `SELECT i FROM generate_series(1, ${count}) g(i) ORDER BY (i::bigint * 7919) % 1009 DESC LIMIT 4000 OFFSET 1000`,
  );
  expect(rows.map(({ i }) => i)).toEqual(best.slice(1000));
});
