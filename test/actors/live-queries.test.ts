import { afterEach, beforeEach, expect, test } from 'vitest';
import { open, sql, type Change, type Database } from '../../src/index.ts';

let db: Database;
beforeEach(async () => {
  db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, g text, at timestamptz, price numeric(8,2))');
  await db.insert('t', [
    { id: 1, g: "it's", at: '2026-01-01T00:00:00Z', price: '1.50' },
    { id: 2, g: 'b', at: '2026-02-01T00:00:00Z', price: '2.50' },
  ]);
});
afterEach(() => db.close());

async function first(changes: AsyncIterable<Change>): Promise<unknown[]> {
  for await (const change of changes) if (change.kind === 'snapshot') return change.rows;
  throw new Error('the subscription ended');
}

test('parameters of a subscribed query are values of the types it gives them', async () => {
  const g = "it's";
  expect(await first(db.subscribe(sql`SELECT id FROM t WHERE g = ${g}`))).toEqual([{ id: 1 }]);
  const since = new Date('2026-01-15T00:00:00Z');
  expect(await first(db.subscribe(sql`SELECT id FROM t WHERE at >= ${since}`))).toEqual([
    { id: 2 },
  ]);
  expect(await first(db.subscribe(sql`SELECT id FROM t WHERE price = ${'1.5'}`))).toEqual([
    { id: 1 },
  ]);
  expect(await first(db.subscribe(sql`SELECT id FROM t WHERE id = ${2} OR g = ${null}`))).toEqual([
    { id: 2 },
  ]);
  expect(await first(db.subscribe('SELECT id FROM t WHERE id > $1', { params: [1] }))).toEqual([
    { id: 2 },
  ]);
});

// 'now' was read once the subscription had opened, some promises later: a commit made in between was never told.
test('a subscription from now tells what is committed right after the call', async () => {
  await db.exec('CREATE MATERIALIZED VIEW v AS SELECT g, count(*) AS c FROM t GROUP BY g');
  for (const name of ['t', 'v']) {
    // A commit that has just been made: the next one runs before anything else does.
    await db.insert('t', { id: name === 't' ? 10 : 20, g: 'x' });
    const changes = db.subscribe(name, { from: 'now' })[Symbol.asyncIterator]();
    const told = changes.next();
    await db.insert('t', { id: name === 't' ? 11 : 21, g: 'y' });
    expect((await told).value).toMatchObject({ kind: 'delta' });
    await changes.return!();
    const late = db.subscribe(name, { from: 'now' })[Symbol.asyncIterator]();
    const { position } = await db.insert('t', { id: name === 't' ? 12 : 22, g: 'z' });
    expect((await late.next()).value).toMatchObject({ kind: 'delta', position });
    await late.return!();
  }
});

test('who asks the same with the same values shares one view; the last to leave takes it along', async () => {
  const ask = (id: number) => db.subscribe(sql`SELECT count(*) AS c FROM t WHERE id < ${id}`);
  const subscriptions = [ask(2), ask(2), ask(3)];
  const counts = await Promise.all(
    subscriptions.map(async (each) => {
      const iterator = each[Symbol.asyncIterator]();
      return (await iterator.next()).value;
    }),
  );
  expect(counts.map((each) => (each as { rows: unknown[] }).rows)).toEqual([
    [{ c: 1 }],
    [{ c: 1 }],
    [{ c: 2 }],
  ]);
  await Promise.all(subscriptions.map((each) => each.close()));
  // Nothing is left that would keep the table.
  await db.exec('DROP TABLE t');
});

test('a missing parameter and one too many are refused', async () => {
  await expect(first(db.subscribe('SELECT id FROM t WHERE id = $1'))).rejects.toMatchObject({
    code: '08P01',
  });
  await expect(first(db.subscribe('SELECT id FROM t', { params: [1] }))).rejects.toMatchObject({
    code: '08P01',
  });
});

test('a plain view with a name that needs quotes is subscribed to by its name', async () => {
  await db.exec('CREATE VIEW "Two Words" AS SELECT id FROM t WHERE id = 2');
  expect(await first(db.subscribe('Two Words'))).toEqual([{ id: 2 }]);
});

test('a change begins at the position that was told last, whatever happened elsewhere meanwhile', async () => {
  await db.exec('CREATE TABLE other (id int)');
  const changes = db.subscribe('t')[Symbol.asyncIterator]();
  const { position: told } = (await changes.next()).value as Change;
  for (let id = 0; id < 3; id += 1) await db.insert('other', { id });
  // Looks, and finds nothing up to here.
  const pulled = changes.next();
  await new Promise((resolve) => setImmediate(resolve));
  await db.insert('other', { id: 3 });
  const { position } = await db.insert('t', { id: 3, g: 'c' });
  expect((await pulled).value).toMatchObject({ kind: 'delta', from: told, position });
  await db.insert('other', { id: 4 });
  const next = await db.insert('t', { id: 4, g: 'd' });
  expect((await changes.next()).value).toMatchObject({
    kind: 'delta',
    from: position,
    position: next.position,
  });
  await changes.return?.();
});
