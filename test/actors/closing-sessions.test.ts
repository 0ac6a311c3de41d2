/** A session that closes waits for nobody: a statement of it that waits for rows of others ends, and what it has done is taken back. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { DbError } from '../../src/base/errors.ts';
import type { Engine } from '../../src/actors/engine.ts';
import type { Database } from '../../src/index.ts';
import { openEngine } from './test-engine.ts';

type Session = ReturnType<Database['session']>;

let db: Database;
let engine: Engine;
let holder: Session;
beforeEach(async () => {
  ({ db, engine } = await openEngine());
  await db.exec(`CREATE TABLE acc (id int PRIMARY KEY, bal int NOT NULL);
    INSERT INTO acc VALUES (1, 0), (2, 0)`);
  holder = db.session();
  await holder.exec('BEGIN; UPDATE acc SET bal = 1 WHERE id = 1');
});
afterEach(async () => {
  await holder.exec('ROLLBACK');
  expect(engine.claims.isEmpty).toBe(true);
  await db.close();
});

const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'done',
    (cause: DbError) => cause.code,
  );

const waits: readonly (readonly [string, (session: Session) => Promise<unknown>])[] = [
  ['UPDATE', (session) => session.exec('UPDATE acc SET bal = 2 WHERE id = 1')],
  ['FOR UPDATE', (session) => session.query('SELECT * FROM acc FOR UPDATE')],
  ['ALTER TABLE', (session) => session.exec('ALTER TABLE acc ADD COLUMN note text')],
  ['TRUNCATE', (session) => session.exec('TRUNCATE acc')],
  ['upsert', (session) => session.upsert('acc', { id: 1, bal: 3 })],
  ['delete', (session) => session.delete('acc', { id: 1 })],
];

test.each(waits)('%s that waits ends when its session is closed', async (what, wait) => {
  for (const isInTransaction of [true, false]) {
    // Outside of one it claims nothing.
    if (!isInTransaction && what === 'FOR UPDATE') continue;
    const session = db.session();
    if (isInTransaction) await session.exec('BEGIN; UPDATE acc SET bal = 7 WHERE id = 2');
    const code = codeOf(wait(session));
    await turns();
    await Promise.all([session.close(), session.close()]);
    expect(await code).toBe('57014');
    expect(await codeOf(session.exec('SELECT 1'))).toBe('08003');
  }
  expect((await db.query('SELECT bal FROM acc ORDER BY id')).rows).toEqual([
    { bal: 0 },
    { bal: 0 },
  ]);
});

test('what was asked before it closed is answered, and commits nothing that waited', async () => {
  const session = db.session();
  const codes = [
    'BEGIN',
    'UPDATE acc SET bal = 7 WHERE id = 2',
    'UPDATE acc SET bal = 7 WHERE id = 1',
    'COMMIT',
    'UPDATE acc SET bal = 8 WHERE id = 1',
    'UPDATE acc SET bal = 8 WHERE id = 2',
  ].map((text) => codeOf(session.exec(text)));
  await session.close();
  expect(await Promise.all(codes)).toEqual(['done', 'done', '57014', 'done', '57014', 'done']);
  expect((await db.query('SELECT bal FROM acc ORDER BY id')).rows).toEqual([
    { bal: 0 },
    { bal: 8 },
  ]);
});

test('a load that goes on when its session has closed commits nothing', async () => {
  const session = db.session();
  let goOn = (): void => undefined;
  const closed = new Promise<void>((resolve) => (goOn = resolve));
  let begun = (): void => undefined;
  const started = new Promise<void>((resolve) => (begun = resolve));
  const lines = (async function* () {
    yield Buffer.from('{"id":10,"bal":0}\n');
    begun();
    await closed;
    yield Buffer.from('{"id":11,"bal":0}\n');
  })();
  await session.exec('BEGIN');
  const loaded = codeOf(session.load('acc', lines, { format: 'ndjson' }));
  await started;
  await session.close();
  goOn();
  expect(await loaded).toBe('08003');
  expect((await db.query('SELECT count(*)::int AS n FROM acc')).rows).toEqual([{ n: 2 }]);
});

test('closing the database ends those who wait at once, whatever else it waits for', async () => {
  const session = db.session();
  const code = codeOf(session.exec('UPDATE acc SET bal = 2 WHERE id = 1'));
  const own = codeOf(db.exec('UPDATE acc SET bal = 2 WHERE id = 1'));
  await turns();
  // As a server that waits for the requests that are under way.
  engine.onClose(async () => void (await Promise.all([code, own])));
  await db.close();
  expect(await Promise.all([code, own])).toEqual(['57P01', '57P01']);
  holder = (await openEngine()).db.session();
});
