/**
 * A key whose row an open transaction has deleted, inserted or given another key: who wants it waits for that transaction, as in PostgreSQL, and
 * finds then whether it is free. It was 23505 at once, be the row deleted or not.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { DbError } from '../../src/base/errors.ts';
import type { Engine } from '../../src/actors/engine.ts';
import type { Database } from '../../src/index.ts';
import { LateLog } from './late-log.ts';
import { openEngine } from './test-engine.ts';

type Session = ReturnType<Database['session']>;

let log: LateLog;
let db: Database;
let engine: Engine;
let holder: Session;
beforeEach(async () => {
  log = new LateLog();
  ({ db, engine } = await openEngine({ log: () => log, stepBudgetUnits: 2000 }));
  await db.exec(`CREATE TABLE t (id int PRIMARY KEY, mail text UNIQUE, v int NOT NULL DEFAULT 0);
    INSERT INTO t VALUES (1, 'a', 0), (2, 'b', 0), (3, 'c', 0);
    CREATE TABLE source (id int, mail text);
    INSERT INTO source VALUES (1, 'a')`);
  holder = db.session();
});
afterEach(async () => {
  await holder.close();
  log.held = false;
  log.acknowledge();
  expect(engine.claims.isEmpty).toBe(true);
  await db.close();
});

const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

/** What became of it: its code, or `done`. */
const fateOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'done',
    (cause: DbError) => cause.code,
  );

/** Who writes (1, 'x'), (9, 'a') or both keys of the row that is held. */
const writers: readonly (readonly [string, (row: object) => Promise<unknown>])[] = [
  ['INSERT', (row) => db.query(...insertOf(row))],
  ['INSERT in a transaction', (row) => inTransaction((session) => session.query(...insertOf(row)))],
  [
    'INSERT in a serializable transaction',
    (row) => db.transaction((tx) => tx.query(...insertOf(row))),
  ],
  [
    'INSERT … SELECT',
    (row) =>
      inTransaction((session) => {
        const { id, mail } = row as { id: number; mail: string };
        return session.query(`INSERT INTO t SELECT ${id}, '${mail}' FROM source`);
      }),
  ],
  ['db.insert', (row) => db.insert('t', row as never)],
  ['tx.insert', (row) => db.transaction((tx) => tx.insert('t', row as never))],
  ['db.insert of columns', (row) => db.insert('t', columnsOf(row) as never)],
  [
    'tx.insert of columns',
    (row) => db.transaction((tx) => tx.insert('t', columnsOf(row) as never)),
  ],
  [
    'db.insert of several pieces',
    (row) =>
      db.insert('t', [
        ...Array.from({ length: 3000 }, (_, n) => ({ id: n + 100, mail: String(n) })),
        row as never,
      ]),
  ],
  [
    'tx.insert of several pieces',
    (row) =>
      db.transaction((tx) =>
        tx.insert('t', [
          ...Array.from({ length: 3000 }, (_, n) => ({ id: n + 100, mail: String(n) })),
          row as never,
        ]),
      ),
  ],
  ['load', (row) => db.load('t', Buffer.from(JSON.stringify(row)), { format: 'ndjson' })],
  [
    'load in a transaction',
    (row) =>
      inTransaction((session) =>
        session.load('t', Buffer.from(JSON.stringify(row)), { format: 'ndjson' }),
      ),
  ],
  [
    'UPDATE',
    (row) => {
      const { id, mail } = row as { id: number; mail: string };
      return db.query('UPDATE t SET id = $1, mail = $2 WHERE id = 3', { params: [id, mail] });
    },
  ],
  [
    'UPDATE in a transaction',
    (row) => {
      const { id, mail } = row as { id: number; mail: string };
      return inTransaction((session) =>
        session.query('UPDATE t SET id = $1, mail = $2 WHERE id = 3', { params: [id, mail] }),
      );
    },
  ],
];

function insertOf(row: object): [string, { readonly params: readonly unknown[] }] {
  const { id, mail } = row as { id: number; mail: string };
  return ['INSERT INTO t (id, mail) VALUES ($1, $2)', { params: [id, mail] }];
}

function columnsOf(row: object): object {
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, [value]]));
}

async function inTransaction(write: (session: Session) => Promise<unknown>): Promise<void> {
  const session = db.session();
  try {
    await session.exec('BEGIN');
    await write(session);
    await session.exec('COMMIT');
  } finally {
    await session.close();
  }
}

describe.each(writers)('%s', (_, write) => {
  test.each([
    ['deleted', 'DELETE FROM t WHERE id = 1', { id: 1, mail: 'x' }, 'done', '23505'],
    [
      'deleted, by another key',
      'DELETE FROM t WHERE id = 1',
      { id: 9, mail: 'a' },
      'done',
      '23505',
    ],
    [
      'given another key',
      'UPDATE t SET id = 5 WHERE id = 1',
      { id: 1, mail: 'x' },
      'done',
      '23505',
    ],
    ['given that key', 'UPDATE t SET id = 5 WHERE id = 1', { id: 5, mail: 'x' }, '23505', 'done'],
    [
      'given that mail',
      "UPDATE t SET mail = 'y' WHERE id = 1",
      { id: 9, mail: 'y' },
      '23505',
      'done',
    ],
    [
      'changed elsewhere',
      'UPDATE t SET v = 1 WHERE id = 1',
      { id: 1, mail: 'x' },
      '23505',
      '23505',
    ],
    ['inserted', "INSERT INTO t VALUES (7, 'z')", { id: 7, mail: 'x' }, '23505', 'done'],
    [
      'deleted and inserted',
      "DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (1, 'a')",
      { id: 1, mail: 'x' },
      '23505',
      '23505',
    ],
    ['emptied', 'TRUNCATE t', { id: 1, mail: 'x' }, 'done', '23505'],
  ] as const)('waits for a row that is %s', async (how, text, row, committed, rolledBack) => {
    for (const [end, expected] of [
      ['ROLLBACK', rolledBack],
      ['COMMIT', committed],
    ] as const) {
      await holder.exec(`BEGIN; ${text}`);
      let fate: string | undefined;
      const written = fateOf(write(row)).then((is) => (fate = is));
      await turns();
      expect(fate).toBeUndefined();
      await holder.exec(end);
      await written;
      // An UPDATE of a table that has been emptied finds nothing to change.
      expect(fate, `${how} ${end}`).toBe(expected);
      await db.exec("DELETE FROM t; INSERT INTO t VALUES (1, 'a', 0), (2, 'b', 0), (3, 'c', 0)");
    }
  });
});

test('a row that is only claimed is there: 23505 at once', async () => {
  await holder.exec('BEGIN; SELECT * FROM t FOR UPDATE');
  expect(await fateOf(db.insert('t', { id: 1, mail: 'x' }))).toBe('23505');
  expect(await fateOf(db.transaction((tx) => tx.insert('t', { id: 1, mail: 'x' })))).toBe('23505');
});

test.each([
  ['DO NOTHING', 'ON CONFLICT DO NOTHING', { v: 5 }, { v: 0 }],
  ['DO NOTHING of one key', 'ON CONFLICT (id) DO NOTHING', { v: 5 }, { v: 0 }],
  ['DO UPDATE', 'ON CONFLICT (id) DO UPDATE SET v = t.v + 1', { v: 5 }, { v: 1 }],
  [
    'DO UPDATE WHERE',
    'ON CONFLICT (id) DO UPDATE SET v = t.v + 1 WHERE t.v > 0',
    { v: 5 },
    { v: 0 },
  ],
])('ON CONFLICT %s waits for a row that is deleted', async (_, clause, committed, rolledBack) => {
  const text = `INSERT INTO t VALUES (1, 'a', 5) ${clause}`;
  for (const write of [() => db.exec(text), () => inTransaction((session) => session.exec(text))])
    for (const [end, expected] of [
      ['ROLLBACK', rolledBack],
      ['COMMIT', committed],
    ] as const) {
      await holder.exec('BEGIN; DELETE FROM t WHERE id = 1');
      let fate: string | undefined;
      const written = fateOf(write()).then((is) => (fate = is));
      await turns();
      expect(fate).toBeUndefined();
      await holder.exec(end);
      await written;
      expect(fate).toBe('done');
      expect((await db.query('SELECT v FROM t WHERE id = 1')).rows).toEqual([expected]);
      await db.exec("DELETE FROM t; INSERT INTO t VALUES (1, 'a', 0), (2, 'b', 0), (3, 'c', 0)");
    }
});

test('a serializable transaction does nothing because of a row: it must be there when it commits', async () => {
  const text = "INSERT INTO t VALUES (1, 'a', 5) ON CONFLICT DO NOTHING";
  for (const [change, expected] of [
    ['DELETE FROM t WHERE id = 1', '40001'],
    ['UPDATE t SET v = 1 WHERE id = 1', '40001'],
    ['DELETE FROM t WHERE id = 2', 'done'],
  ] as const)
    for (const isBefore of [true, false]) {
      const fate = db.transaction(async (tx) => {
        await tx.query('SELECT 1');
        if (isBefore) await db.exec(change);
        expect((await tx.exec(text)).rows).toBe(0);
        await tx.insert('source', { id: 2, mail: 'b' });
        if (!isBefore) await db.exec(change);
      });
      expect(await fateOf(fate)).toBe(expected);
      await db.exec("DELETE FROM t; INSERT INTO t VALUES (1, 'a', 0), (2, 'b', 0), (3, 'c', 0)");
    }
});

test('ON CONFLICT … WHERE goes by what the row is when it has waited', async () => {
  await holder.exec('BEGIN; UPDATE t SET v = 1 WHERE id = 1');
  const text =
    "INSERT INTO t VALUES (1, 'a', 5) ON CONFLICT (id) DO UPDATE SET v = 7 WHERE t.v = 1";
  const written = [db.exec(text), inTransaction((session) => session.exec(text))];
  await turns();
  await holder.exec('COMMIT');
  await Promise.all(written);
  expect((await db.query('SELECT v FROM t WHERE id = 1')).rows).toEqual([{ v: 7 }]);
});

test('who waits for a key is told of time and of circles, and may give up', async () => {
  await holder.exec('BEGIN; DELETE FROM t WHERE id = 1');
  const session = db.session();
  await session.exec("SET lock_timeout = '30ms'");
  const refused = { code: '55P03' };
  await expect(session.insert('t', { id: 1, mail: 'x' })).rejects.toMatchObject(refused);
  await session.exec('BEGIN');
  await expect(session.insert('t', { id: 1, mail: 'x' })).rejects.toMatchObject(refused);
  await session.exec('ROLLBACK; SET lock_timeout = 0; BEGIN; DELETE FROM t WHERE id = 2');
  const waiting = fateOf(session.insert('t', { id: 1, mail: 'x' }));
  await turns();
  expect(await fateOf(holder.exec("INSERT INTO t VALUES (2, 'y')"))).toBe('40P01');
  await holder.exec('ROLLBACK');
  expect(await waiting).toBe('23505');
  await session.close();
  const gaveUp = new AbortController();
  await holder.exec('BEGIN; DELETE FROM t WHERE id = 1');
  const given = fateOf(db.insert('t', { id: 1, mail: 'x' }, { signal: gaveUp.signal }));
  await turns();
  gaveUp.abort();
  expect(await given).toBe('57014');
});

test('a transaction that cannot commit any more keeps no key from anybody', async () => {
  const doomed = db.transaction(async (tx) => {
    await tx.query('SELECT * FROM t WHERE id = 2');
    await tx.exec('DELETE FROM t WHERE id = 1');
    await db.exec('UPDATE t SET v = 1 WHERE id = 2');
    return fateOf(db.insert('t', { id: 1, mail: 'x' }));
  });
  expect(await fateOf(doomed)).toBe('40001');
  expect((await db.query('SELECT mail FROM t WHERE id = 1')).rows).toEqual([{ mail: 'a' }]);
});

test('a key that a commit on its way to the journal frees is free', async () => {
  for (const free of [
    () => db.exec('DELETE FROM t WHERE id = 1'),
    () => db.exec('UPDATE t SET id = 8 WHERE id = 1'),
  ]) {
    log.held = true;
    const freed = free();
    while (log.waiting === 0) await turns();
    let fate: string | undefined;
    const written = fateOf(
      inTransaction(async (session) => {
        await session.insert('t', { id: 1, mail: 'x' });
        fate = 'written';
      }),
    );
    // One that nothing on its way changes is taken at once.
    expect(await fateOf(db.transaction((tx) => tx.insert('t', { id: 2, mail: 'x' })))).toBe(
      '23505',
    );
    await turns();
    expect(fate).toBeUndefined();
    log.held = false;
    log.acknowledge();
    await freed;
    expect(await written).toBe('done');
    await db.exec("DELETE FROM t; INSERT INTO t VALUES (1, 'a', 0), (2, 'b', 0), (3, 'c', 0)");
  }
});

test('a savepoint that is gone back to gives the key back', async () => {
  await holder.exec('BEGIN; SAVEPOINT s; DELETE FROM t WHERE id = 1');
  const fate = fateOf(db.insert('t', { id: 1, mail: 'x' }));
  await turns();
  await holder.exec('ROLLBACK TO s');
  expect(await fate).toBe('23505');
});

test('many who want the key of a deleted row: one gets it', async () => {
  await holder.exec('BEGIN; DELETE FROM t WHERE id = 1');
  const fates = Array.from({ length: 12 }, (_, n) =>
    fateOf(
      n % 2 === 0
        ? db.insert('t', { id: 1, mail: `x${n}` })
        : inTransaction((session) => session.insert('t', { id: 1, mail: `x${n}` })),
    ),
  );
  await turns();
  await holder.exec('COMMIT');
  const count = new Map<string, number>();
  for (const fate of await Promise.all(fates)) count.set(fate, (count.get(fate) ?? 0) + 1);
  expect(Object.fromEntries(count)).toEqual({ done: 1, '23505': 11 });
});

/** It claimed the row that it had left as it was, to its end. */
test('DO NOTHING that has waited holds up nobody by the row that is there', async () => {
  await holder.exec('BEGIN; DELETE FROM t WHERE id = 1');
  const session = db.session();
  await session.exec('BEGIN');
  const nothing = session.query("INSERT INTO t VALUES (1, 'a', 5) ON CONFLICT DO NOTHING");
  await turns();
  await holder.exec('ROLLBACK');
  expect((await nothing).rowCount).toBe(0);
  await db.exec('UPDATE t SET v = 3 WHERE id = 1');
  await session.close();
});
