/** Who looks after whom in a database, and what a failure of each leads to. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Database } from '../../src/actors/database.ts';
import type { Engine } from '../../src/actors/engine.ts';
import { type DbError, InvariantError } from '../../src/base/errors.ts';
import { isStored } from '../../src/actors/catalog.ts';
import { openEngine } from './test-engine.ts';

let engine: Engine;
let db: Database;

beforeEach(async () => {
  ({ engine, db } = await openEngine());
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, g text)');
  await db.exec('CREATE MATERIALIZED VIEW v AS SELECT g, count(*) AS n FROM t GROUP BY g');
});
afterEach(() => db.close());

const tree = (): string[] =>
  engine.tree.infos().map(({ name, parent, state }) => `${parent ?? ''} > ${name} ${state}`);

test('the root has the journal and the tenants, a tenant its tables, views and queries', async () => {
  await db.as({ tenant: 'acme' }).exec('CREATE TABLE orders (id int)');
  expect(tree()).toEqual([
    ' > analyticdb running',
    'analyticdb > journal running',
    'analyticdb > tenant main running',
    'tenant main > table t running',
    'tenant main > view v running',
    'analyticdb > tenant acme running',
    'tenant acme > table orders running',
  ]);
  const { rows } = await db.query('SHOW ACTORS', { format: 'text' });
  expect(rows.map(([name, kind]) => `${kind} ${name}`)).toContain('view view v');
});

test('what is dropped loses its actor, what was never committed never had one', async () => {
  await db.exec('DROP MATERIALIZED VIEW v; DROP TABLE t');
  await db
    .transaction(async (tx) => {
      await tx.exec('CREATE TABLE never (id int)');
      throw new Error('rolled back');
    })
    .catch(() => undefined);
  await db.query('SELECT 1');
  expect(tree()).toEqual([
    ' > analyticdb running',
    'analyticdb > journal running',
    'analyticdb > tenant main running',
  ]);
});

test('upkeep that fails is tried again, and set aside when it fails at once; the table is made anew', async () => {
  const entry = engine.state.catalog.ofTenant('main')[0]!;
  if (!isStored(entry)) throw new Error('t is stored');
  const { data } = entry;
  let calls = 0;
  data.maintain = () => {
    calls += 1;
    throw new InvariantError('upkeep is broken');
  };
  const restarted: string[] = [];
  const twice = new Promise<void>((resolve) =>
    db.on('actor.restarted', ({ actor }) => {
      restarted.push(actor);
      if (restarted.length === 2) resolve();
    }),
  );
  const viewMade = new Promise<unknown>((resolve) => db.on('view.rebuilt', resolve));
  engine.housekeeping.maintain(entry.definition.id);
  await twice;
  expect([calls, restarted]).toEqual([2, ['table t', 'table t']]);
  expect(engine.dispatcher.deadLetters.newest()).toMatchObject([
    { actorName: 'table t', reason: 'failed', messageKind: 'upkeep' },
  ]);
  await db.insert('t', { id: 1, g: 'a' });
  const made = engine.state.catalog.ofTenant('main')[0]!;
  expect(isStored(made) && made.data !== data).toBe(true);
  expect((await db.query('SELECT g FROM t')).rows).toEqual([{ g: 'a' }]);
  await viewMade;
  expect((await db.query('SELECT n FROM v')).rows).toEqual([{ n: 1 }]);
});

test('whoever is told of a failure, in the middle of the step that failed, may close the database', async () => {
  const entry = engine.state.catalog.byName({ tenant: 'main', schema: 'public', name: 'v' });
  if (entry?.kind !== 'materializedView') throw new Error('v is a view');
  entry.view.push = () => {
    throw new InvariantError('it broke');
  };
  const closed = new Promise((resolve) =>
    db.on('view.failed', () => resolve(db.close().then(() => 'closed'))),
  );
  const rows = Array.from({ length: 20_000 }, (_, id) => ({ id, g: 'a' }));
  const written = db.insert('t', rows).then(
    ({ rows: count }) => ({ rows: count }),
    ({ code }: DbError) => ({ code }),
  );
  expect(await closed).toBe('closed');
  // Which may have been its last one.
  expect([{ rows: 20_000 }, { code: '57P01' }]).toContainEqual(await written);
});

test('a view that cannot be made anew is failed in the end, and so is the one above it; both serve what they had', async () => {
  await db.exec('CREATE MATERIALIZED VIEW w AS SELECT n, count(*) AS m FROM v GROUP BY n');
  await db.insert('t', { id: 1, g: 'a' });
  const entry = engine.state.catalog.byName({ tenant: 'main', schema: 'public', name: 'v' });
  if (entry?.kind !== 'materializedView') throw new Error('v is a view');
  engine.views.shadow = () => {
    throw new InvariantError('it cannot be');
  };
  const failed = new Promise<void>((resolve) => db.on('actor.failed', () => resolve()));
  // As the commit turn does when the view's operators break.
  engine.state.viewFailed(entry.view, new InvariantError('it broke'));
  expect(db.describe().map(({ name, state }) => [name, state])).toEqual([
    ['t', undefined],
    ['v', 'rebuilding'],
    ['w', 'rebuilding'],
  ]);
  await failed;
  expect(db.describe().map(({ name, state }) => [name, state])).toEqual([
    ['t', undefined],
    ['v', 'failed'],
    ['w', 'failed'],
  ]);
  await db.insert('t', { id: 2, g: 'a' });
  const { rows, meta } = await db.query('SELECT * FROM w');
  expect([rows, meta.position]).toEqual([[{ n: 1, m: 1 }], db.position - 1]);
});

test('a definition that breaks when it is published ends writing, tells everybody, and leaves reading alone', async () => {
  await db.insert('t', { id: 1, g: 'a' });
  // A table or a view would be made anew from the journal; the catalog is what all of them stand on.
  engine.tree.relationMade = () => {
    throw new InvariantError('publishing is broken');
  };
  await expect(db.exec('CREATE TABLE u (id int)')).rejects.toMatchObject({ code: 'XX000' });
  await expect(db.insert('t', { id: 3, g: 'a' })).rejects.toMatchObject({ code: 'XX000' });
  expect((await db.query('SELECT count(*) AS n FROM t')).rows).toEqual([{ n: 1 }]);
});

test('an interval view follows by itself, through views of views', async () => {
  await db.exec(`CREATE MATERIALIZED VIEW slow WITH (refresh = '5ms') AS SELECT g, count(*) AS n FROM t GROUP BY g;
    CREATE MATERIALIZED VIEW slower WITH (refresh = '5ms') AS SELECT n, count(*) AS m FROM slow GROUP BY n`);
  const changes = db.subscribe('slower', { from: 'now' });
  const iterator = changes[Symbol.asyncIterator]();
  const first = iterator.next();
  await db.insert('t', { id: 1, g: 'a' });
  expect((await first).value).toMatchObject({ kind: 'delta', inserted: [{ n: 1, m: 1 }] });
  await changes.close();
});
