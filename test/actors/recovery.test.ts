/** A table that breaks is made anew from its base and the journal, while everything else serves. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { isStored, type TableEntry } from '../../src/actors/catalog.ts';
import type { Database } from '../../src/actors/database.ts';
import type { Engine } from '../../src/actors/engine.ts';
import { InvariantError } from '../../src/base/errors.ts';
import { openEngine } from './test-engine.ts';

let engine: Engine;
let db: Database;

async function opened(keepBytes: number): Promise<void> {
  ({ engine, db } = await openEngine({
    journal: { kind: 'memory', keepBytes },
    stepBudgetUnits: 2000,
  }));
  await db.exec(`CREATE TABLE t (id int PRIMARY KEY, g text, x numeric(8, 2));
    CREATE TABLE other (id int PRIMARY KEY, g text)`);
  await db.exec(`CREATE MATERIALIZED VIEW v AS SELECT g, count(*) AS n, sum(x) AS s FROM t GROUP BY g;
    CREATE MATERIALIZED VIEW w AS SELECT n, count(*) AS m FROM v GROUP BY n;
    CREATE MATERIALIZED VIEW joined AS SELECT o.id, t.x FROM other o JOIN t ON o.g = t.g`);
}
beforeEach(() => opened(2 ** 22));
afterEach(() => db.close());

const tableEntry = (name: string): TableEntry => {
  const entry = engine.state.catalog.byName({ tenant: 'main', schema: 'public', name });
  if (entry?.kind !== 'table') throw new Error(`${name} is a table`);
  return entry;
};

/** The next call of a table's method throws what is no refusal. */
function breakNext(name: string, method: 'stage' | 'publish' | 'undo'): void {
  const { data } = tableEntry(name);
  const whole = data[method];
  data[method] = () => {
    data[method] = whole as never;
    throw new InvariantError(`${method} is broken`);
  };
}

const shown = async (): Promise<unknown> => {
  const texts: unknown[] = [];
  for (const sql of [
    'SELECT * FROM t ORDER BY id',
    'SELECT g, count(*) AS n, sum(x) AS s FROM t GROUP BY g ORDER BY g',
    'SELECT * FROM v ORDER BY g',
    'SELECT * FROM w ORDER BY n',
    'SELECT * FROM joined ORDER BY id, x',
  ])
    texts.push((await db.query(sql, { format: 'text' })).rows);
  return texts;
};

/** Until no view lags and no table is out of service. */
async function healed(): Promise<void> {
  for (let turn = 0; turn < 10_000; turn += 1) {
    const views = db.describe().filter(({ state }) => state !== undefined);
    if ((await db.recovery.list()).length === 0 && views.every(({ state }) => state === 'live'))
      return;
    await new Promise((resolve) => setImmediate(resolve));
  }
  throw new Error('it does not heal');
}

const rows = (from: number, to: number): { id: number; g: string; x: string }[] =>
  Array.from({ length: to - from }, (_, index) => ({
    id: from + index,
    g: `g${(from + index) % 3}`,
    x: `${(from + index) % 7}.5`,
  }));

test('a table that breaks at a write is made anew; the write is refused, all that was committed before is there', async () => {
  await db.insert('t', rows(0, 50));
  await db.insert('other', [{ id: 1, g: 'g1' }]);
  await db.exec('DELETE FROM t WHERE id % 5 = 0; UPDATE t SET x = x + 1 WHERE id < 20');
  const before = await shown();
  const happened: string[] = [];
  for (const name of ['table.failed', 'table.rebuilt', 'view.failed', 'view.rebuilt'] as const)
    db.on(name, (event) => happened.push(`${name} ${'table' in event ? event.table : event.view}`));
  db.on('actor.restarted', ({ actor }) => happened.push(`actor.restarted ${actor}`));
  const { data } = tableEntry('t');
  breakNext('t', 'stage');
  await expect(db.insert('t', rows(100, 101))).rejects.toMatchObject({
    code: 'XX000',
    table: 't',
    message: 'table "t" broke at this change: nothing was written',
  });
  // Others go on at once; who reads the table waits for it, and its views serve what they had.
  await db.insert('other', [{ id: 2, g: 'g9' }]);
  expect((await db.query('SELECT sum(n) AS n FROM v')).rows).toEqual([{ n: '40' }]);
  expect((await db.query('SELECT count(*) AS n FROM t')).rows).toEqual([{ n: 40 }]);
  await healed();
  expect(await shown()).toEqual(before);
  expect(tableEntry('t').data).not.toBe(data);
  expect(happened[0]).toMatch(/^view.failed/);
  expect(happened).toContain('table.failed t');
  expect(happened).toContain('actor.restarted table t');
  expect(happened.indexOf('table.rebuilt t')).toBeLessThan(happened.indexOf('view.rebuilt v'));
  expect(happened.filter((each) => each.startsWith('view.rebuilt')).toSorted()).toEqual([
    'view.rebuilt joined',
    'view.rebuilt v',
    'view.rebuilt w',
  ]);
  await db.insert('t', rows(100, 103));
  await db.exec('DELETE FROM t WHERE id = 1');
  expect((await db.query('SELECT sum(n) AS n FROM v')).rows).toEqual([{ n: '42' }]);
});

test('a commit whose publishing breaks is in the journal: its writer is told so, and the table made anew has it', async () => {
  await db.insert('t', rows(0, 5));
  breakNext('t', 'publish');
  const { position } = await db.insert('t', rows(5, 6));
  expect(position).toBe(db.position);
  expect((await db.query('SELECT count(*) AS n FROM t')).rows).toEqual([{ n: 6 }]);
  await healed();
  expect((await db.query('SELECT sum(n) AS n FROM v')).rows).toEqual([{ n: '6' }]);
});

test('a table that breaks while a commit is undone takes nobody along', async () => {
  await db.insert('t', rows(1, 6));
  await db.exec('CREATE MATERIALIZED VIEW q AS SELECT id, 1 / id AS y FROM t');
  const before = db.position;
  breakNext('t', 'undo');
  // The view refuses, so the table's rows are undone.
  await expect(db.insert('t', rows(0, 1))).rejects.toMatchObject({ code: '22012' });
  expect(db.position).toBe(before);
  await db.insert('t', rows(6, 7));
  await healed();
  expect((await db.query('SELECT min(id) AS a, count(*) AS n FROM t')).rows).toEqual([
    { a: 1, n: 6 },
  ]);
  expect((await db.query('SELECT count(*) AS n FROM q')).rows).toEqual([{ n: 6 }]);
});

test('writers and readers of a table that is being made anew wait for it, as long as they like', async () => {
  await db.insert('t', rows(0, 3));
  let release = (): void => undefined;
  const { log } = engine;
  const read = log.read!.bind(log);
  const held = new Promise<void>((resolve) => (release = resolve));
  log.read = (from) => {
    const reader = read(from);
    let isFirst = true;
    return {
      next: () => {
        if (!isFirst) return reader.next();
        isFirst = false;
        return held.then(() => reader.next());
      },
      close: () => reader.close(),
    };
  };
  const rebuilt = db.recovery.rebuild('t');
  const insert = db.insert('t', rows(3, 4));
  const update = db.exec('UPDATE t SET x = 0 WHERE id = 0');
  const select = db.query('SELECT count(*) AS n FROM t WHERE id < 3');
  await expect(db.query('SELECT * FROM t', { timeoutMs: 5 })).rejects.toMatchObject({
    code: '57014',
  });
  expect(await db.recovery.list()).toMatchObject([{ table: 't', state: 'rebuilding' }]);
  // What else there is goes on.
  await db.insert('other', [{ id: 1, g: 'g0' }]);
  release();
  await rebuilt;
  await insert;
  await update;
  expect((await select).rows).toEqual([{ n: 3 }]);
  await healed();
  expect((await db.query('SELECT id, x FROM t ORDER BY id')).rows).toEqual([
    { id: 0, x: '0.00' },
    { id: 1, x: '1.50' },
    { id: 2, x: '2.50' },
    { id: 3, x: '3.50' },
  ]);
  expect((await db.query('SELECT x FROM joined ORDER BY x')).rows).toEqual([
    { x: '0.00' },
    { x: '3.50' },
  ]);
});

test('a record that a table cannot take in is skipped by a journaled decision only', async () => {
  await db.insert('t', rows(0, 3));
  const { position } = await db.insert('t', rows(3, 6));
  await db.insert('t', rows(6, 9));
  // As if a newer version could not apply what an older one has written.
  poison(position);
  await expect(db.recovery.rebuild('t')).rejects.toMatchObject({
    code: 'ADB_TABLE_FAILED',
    position,
    hint: expect.stringContaining(`db.recovery.skip('t', { position: ${position}`) as string,
  });
  for (const statement of ['SELECT * FROM t', "INSERT INTO t VALUES (100, 'a', 1)"])
    await expect(db.exec(statement)).rejects.toMatchObject({ code: 'ADB_TABLE_FAILED' });
  expect(await db.recovery.list()).toMatchObject([{ table: 't', state: 'failed' }]);
  // Its views serve what they had, and say how old it is.
  const { rows: served, meta } = await db.query('SELECT sum(n) AS n FROM v');
  expect([served, meta.position]).toEqual([[{ n: '9' }], db.position]);
  await db.insert('other', [{ id: 1, g: 'g0' }]);
  expect((await db.query('SELECT sum(n) AS n FROM v')).meta.position).toBe(db.position - 1);
  await expect(db.recovery.skip('t', { position, reason: ' ' })).rejects.toMatchObject({
    field: 'reason',
  });
  const decided = await db.recovery.skip('t', { position, reason: 'a test', by: 'ann' });
  expect(decided.position).toBe(db.position);
  await healed();
  expect((await db.query('SELECT count(*) AS n FROM t')).rows).toEqual([{ n: 6 }]);
  expect((await db.query('SELECT sum(n) AS n FROM v')).rows).toEqual([{ n: '6' }]);
  expect(await db.recovery.get()).toEqual({
    onPoison: 'hold',
    skips: [{ table: 't', position, reason: 'a test', by: 'ann' }],
  });
});

test('a policy that is journaled itself may decide', async () => {
  await db.recovery.set({ onPoison: 'skip', by: 'ann' });
  await db.insert('t', rows(0, 3));
  const { position } = await db.insert('t', rows(3, 6));
  await db.insert('t', rows(6, 9));
  poison(position);
  const journaled = db.position;
  await db.recovery.rebuild('t');
  expect(db.position).toBe(journaled + 1);
  expect((await db.recovery.get()).skips).toMatchObject([{ table: 't', position, by: 'policy' }]);
  await healed();
  expect((await db.query('SELECT sum(n) AS n FROM v')).rows).toEqual([{ n: '6' }]);
});

/** What the record at `position` writes cannot be applied by whoever replays it. */
function poison(position: number): void {
  const { log } = engine;
  const read = log.read!.bind(log);
  log.read = (from) => {
    const reader = read(from);
    return {
      next: async () => {
        const chunk = await reader.next();
        return chunk?.map((record) =>
          record.position === position
            ? {
                ...record,
                payload: {
                  kind: 'commit',
                  operations: [
                    {
                      op: 'rows',
                      relation: tableEntry('t').definition.id,
                      writes: [{ kind: 'delete', rowIds: Float64Array.of(1e6) }],
                    },
                  ],
                },
              }
            : record,
        );
      },
      close: () => reader.close(),
    };
  };
}

test('a base is taken before the journal forgets what it stands for; definitions in between are done again', async () => {
  await db.close();
  await opened(40_000);
  await db.exec('CREATE TABLE d (id int PRIMARY KEY, g text, x numeric(8, 2))');
  for (let batch = 0; batch < 40; batch += 1) {
    await db.insert('d', rows(batch * 100, batch * 100 + 100));
    if (batch % 7 === 3) await db.exec(`DELETE FROM d WHERE id % 100 = ${batch}`);
    if (batch === 12) await db.exec("ALTER TABLE d ADD COLUMN note text DEFAULT 'n'");
    if (batch === 20) await db.exec('CREATE INDEX by_g ON d (g)');
    if (batch === 25) await db.exec('ALTER TABLE d ALTER COLUMN note TYPE varchar(20)');
    if (batch === 30) await db.exec('ALTER TABLE d RENAME COLUMN note TO remark');
    if (batch === 33) await db.exec('ALTER TABLE d DROP COLUMN remark');
    const all = async (): Promise<unknown> =>
      (await db.query('SELECT * FROM d ORDER BY id', { format: 'text' })).rows;
    if (batch % 3 === 0) {
      const before = await all();
      const definition = JSON.stringify(tableEntry('d').definition);
      await db.recovery.rebuild('d');
      expect(await all()).toEqual(before);
      expect(JSON.stringify(tableEntry('d').definition)).toBe(definition);
    }
  }
  expect(engine.log.first).toBeGreaterThan(3);
  expect(engine.recovery.basesTaken).toBeGreaterThan(3);
  await db.recovery.rebuild('other');
});

test('a table whose records are gone, and one whose rows were damaged, fail by name, with the fix; the others serve', async () => {
  await db.insert('t', rows(0, 10));
  const { log } = engine;
  Object.defineProperty(log, 'first', { get: () => db.position + 1, configurable: true });
  await expect(db.recovery.rebuild('t')).rejects.toMatchObject({
    code: 'ADB_TABLE_FAILED',
    detail: 'records that it needs are no longer kept',
    hint: expect.stringContaining('DROP TABLE "t"') as string,
  });
  await db.insert('other', [{ id: 1, g: 'a' }]);
  await expect(db.query('SELECT * FROM t')).rejects.toMatchObject({ code: 'ADB_TABLE_FAILED' });
  await db.exec('DROP TABLE t CASCADE');
  expect(await db.recovery.list()).toEqual([]);
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, g text, x numeric(8, 2))');
  await db.insert('t', rows(0, 10));
  expect((await db.query('SELECT count(*) AS n FROM t')).rows).toEqual([{ n: 10 }]);
});

/** Such a base was asked for again and again, without end: its actor never came to rest, and a simulated world neither (short seed 1199). */
test('a base that is wanted of a table which broke is not waited for', async () => {
  const { position } = await db.insert('t', rows(0, 3));
  await healed();
  poison(position);
  await expect(db.recovery.rebuild('t')).rejects.toMatchObject({ code: 'ADB_TABLE_FAILED' });
  const { id } = tableEntry('t').definition;
  engine.recovery.published(db.position, {
    deltas: new Map(),
    defined: [id],
    dropped: [],
  } as never);
  expect(engine.recovery.wantsBase(id)).toBe(true);
  const turns = async (): Promise<number> => {
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    return engine.dispatcher.count('messages');
  };
  const told = await turns();
  expect(engine.recovery.wantsBase(id)).toBe(false);
  expect(await turns()).toBe(told);
});

test('what a table that broke held is given back', async () => {
  await db.insert('t', rows(0, 2000));
  await healed();
  await db.recovery.rebuild('t');
  await healed();
  const once = engine.memory.usedBytes;
  for (let round = 0; round < 3; round += 1) {
    await db.recovery.rebuild('t');
    await healed();
  }
  expect(Math.abs(engine.memory.usedBytes - once)).toBeLessThan(once / 10);
  await db.close();
  expect(engine.memory.usedBytes).toBe(0);
  expect(isStored(engine.state.catalog.byId(1))).toBe(true);
});

test('who has a table made anew waits for the views on it, and for those on them, too', async () => {
  await db.exec(`CREATE TABLE big (id int PRIMARY KEY, g int);
    CREATE MATERIALIZED VIEW low AS SELECT g, count(*) AS n FROM big GROUP BY g;
    CREATE MATERIALIZED VIEW high AS SELECT n, count(*) AS groups FROM low GROUP BY n`);
  const id = Int32Array.from({ length: 20_000 }, (_, row) => row);
  await db.insert('big', { id, g: id.map((row) => row % 10_000) });
  await db.recovery.rebuild('big');
  await db.insert('big', { id: 20_000, g: 7 });
  const { rows, meta } = await db.query('SELECT n, groups FROM high ORDER BY n');
  expect(rows).toEqual([
    { n: 2, groups: 9999 },
    { n: 3, groups: 1 },
  ]);
  expect(meta.position).toBe(db.position);
  // A database that closes in the middle leaves nobody waiting.
  const rebuilt = db.recovery.rebuild('big').catch((cause: unknown) => cause);
  await db.close();
  await rebuilt;
});
