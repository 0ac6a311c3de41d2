/**
 * Whatever breaks, and whenever: what was acknowledged is there, what was refused is not, and views are their queries. Told by the
 * naive interpreter, which never broke.
 */
import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { Database } from '../../src/actors/database.ts';
import { Engine } from '../../src/actors/engine.ts';
import { loadParser } from '../../src/actors/load-parser.ts';
import { DbError, InvariantError } from '../../src/base/errors.ts';
import { nodePorts } from '../../src/base/node-ports.ts';
import type { TableData } from '../../src/columns/table-contract.ts';
import { Model, ModelError } from '../../src/model/model.ts';
import type { Parser } from '../../src/sql/parse.ts';

let parser: Parser;
beforeAll(async () => {
  parser = await loadParser();
  await Model.load();
});

const SETUP = `CREATE TABLE t (id int PRIMARY KEY, g text, x int CHECK (x < 90));
  CREATE TABLE u (g text, y int);
  CREATE MATERIALIZED VIEW v AS SELECT g, count(*) AS n, sum(x) AS s FROM t GROUP BY g;
  CREATE MATERIALIZED VIEW w AS SELECT t.id, u.y FROM t JOIN u ON t.g = u.g;
  CREATE MATERIALIZED VIEW top AS SELECT n, count(*) AS m FROM v GROUP BY n`;

type Step =
  | { readonly kind: 'sql'; readonly sql: string }
  | {
      readonly kind: 'break';
      readonly table: 't' | 'u';
      readonly method: 'stage' | 'publish' | 'undo' | 'maintain';
      /** Calls that go well before. */
      readonly after: number;
    }
  | { readonly kind: 'rebuild' | 'base'; readonly table: 't' | 'u' };

const table = fc.constantFrom('t' as const, 'u' as const);
const small = fc.integer({ min: 0, max: 12 });
const group = fc.constantFrom("'a'", "'b'", 'NULL');
const sql = fc.oneof(
  fc
    .tuple(small, group, fc.integer({ min: 0, max: 95 }))
    .map(([id, g, x]) => `INSERT INTO t VALUES (${id}, ${g}, ${x})`),
  fc
    .tuple(small, group)
    .map(
      ([id, g]) =>
        `INSERT INTO t SELECT id, ${g}, id FROM generate_series(${id}, ${id + 4}) AS s(id) WHERE id NOT IN (SELECT id FROM t)`,
    ),
  fc.tuple(group, small).map(([g, y]) => `INSERT INTO u VALUES (${g}, ${y}), ('b', ${y})`),
  fc.tuple(small, group).map(([id, g]) => `UPDATE t SET g = ${g}, x = x + 1 WHERE id <= ${id}`),
  small.map((id) => `DELETE FROM t WHERE id = ${id}`),
  small.map((y) => `DELETE FROM u WHERE y < ${y - 6}`),
  fc.constant('TRUNCATE u'),
  fc
    .tuple(small, small)
    .map(
      ([id, y]) =>
        `BEGIN; INSERT INTO u VALUES ('a', ${y}); INSERT INTO t VALUES (${id}, 'a', 1); COMMIT`,
    ),
);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: sql.map((text) => ({ kind: 'sql' as const, sql: text })) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('break' as const),
      table,
      method: fc.constantFrom('stage' as const, 'publish' as const, 'undo' as const),
      after: fc.integer({ min: 0, max: 2 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constantFrom('rebuild' as const, 'base' as const), table }),
  },
);

class World {
  readonly engine = new Engine({
    ports: nodePorts(),
    parser,
    memoryBytes: 2 ** 28,
    // Small: bases are taken all the time.
    journal: { kind: 'memory', keepBytes: 30_000 },
    historyMs: 60_000,
    zone: 'UTC',
    values: {},
    stepBudgetUnits: 1000,
  });
  readonly db = new Database(this.engine);
  readonly model = new Model();

  async run(one: Step): Promise<void> {
    switch (one.kind) {
      case 'sql':
        return this.#both(one.sql);
      case 'break':
        breakLater(this.#data(one.table), one.method, one.after);
        return;
      case 'rebuild':
        await this.db.recovery.rebuild(one.table);
        return;
      case 'base':
        this.engine.tree.tellTable(this.#relation(one.table), { kind: 'checkpoint' });
    }
  }

  async #both(text: string): Promise<void> {
    const before = this.db.position;
    let refusal: unknown;
    try {
      await this.db.exec(text);
    } catch (cause) {
      refusal = cause;
    }
    if (refusal === undefined) {
      this.model.exec(text);
      return;
    }
    if (!(refusal instanceof DbError)) throw refusal;
    expect(this.db.position).toBe(before);
    // Ours to mend: refused, and nothing was written.
    if (refusal.code === 'XX000') return;
    let wanted: unknown;
    try {
      this.model.exec(text);
    } catch (cause) {
      wanted = cause;
    }
    if (text.startsWith('BEGIN')) this.model.exec('ROLLBACK');
    expect(wanted instanceof ModelError ? wanted.code : wanted).toBe(refusal.code);
  }

  async check(): Promise<void> {
    for (let turn = 0; turn < 20_000; turn += 1) {
      const views = this.db.describe().filter(({ state }) => state !== undefined);
      if (this.engine.recovery.brokenCount === 0 && views.every(({ state }) => state === 'live'))
        break;
      await new Promise((resolve) => setImmediate(resolve));
    }
    for (const relation of ['t', 'u', 'v', 'w', 'top']) {
      const { rows } = await this.db.query(`SELECT * FROM ${relation}`, { format: 'text' });
      const texts = (all: readonly unknown[]): string[] =>
        all.map((row) => JSON.stringify(row)).sort();
      expect([relation, texts(rows)]).toEqual([
        relation,
        texts(this.model.query(`SELECT * FROM ${relation}`).rows),
      ]);
    }
  }

  #relation(name: string): number {
    return this.engine.state.catalog.byName({ tenant: 'main', schema: 'public', name })!.definition
      .id;
  }

  #data(name: string): TableData {
    const entry = this.engine.state.catalog.byId(this.#relation(name));
    if (entry?.kind !== 'table') throw new Error(`${name} is a table`);
    return entry.data;
  }
}

function breakLater(
  data: TableData,
  method: 'stage' | 'publish' | 'undo' | 'maintain',
  after: number,
): void {
  if (Object.hasOwn(data, method) || data.constructor.name === 'DeadTable') return;
  const whole = data[method].bind(data) as (...given: unknown[]) => never;
  let calls = 0;
  Object.assign(data, {
    [method]: (...given: unknown[]) => {
      calls += 1;
      if (calls <= after) return whole(...given);
      throw new InvariantError(`${method} is broken`);
    },
  });
}

test('whatever breaks, what was acknowledged is there and what was refused is not, in tables and in views', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 25 }), async (steps) => {
      const world = new World();
      try {
        await world.db.exec(SETUP);
        world.model.exec(SETUP);
        for (const one of steps) await world.run(one);
        await world.check();
      } finally {
        await world.db.close();
        expect(world.engine.memory.usedBytes).toBe(0);
      }
    }),
    { numRuns: Number(process.env['LAW_RUNS'] ?? 15) },
  );
});

test('a table of sealed segments, deletes and open rows comes back as it was, ids included', async () => {
  const world = new World();
  const { db, engine } = world;
  await db.exec('CREATE TABLE big (id int PRIMARY KEY, g text, x float8)');
  const count = 70_000;
  for (let start = 0; start < 2 * count; start += count)
    await db.insert('big', {
      id: Float64Array.from({ length: count }, (_, row) => start + row),
      g: Array.from({ length: count }, (_, row) => `group ${row % 999}`),
      x: Float64Array.from({ length: count }, (_, row) => row / 7),
    });
  const loaded = db.position;
  await db.exec('DELETE FROM big WHERE id % 1000 = 3; UPDATE big SET x = -1 WHERE id % 5000 = 1');
  const shown = async (): Promise<unknown> => [
    (
      await db.query(
        'SELECT count(*), sum(id), sum(x), count(DISTINCT g), min(g), max(g) FROM big',
        { format: 'text' },
      )
    ).rows,
    (await db.query('SELECT * FROM big WHERE id IN (1, 5001, 66000, 139999)', { format: 'text' }))
      .rows,
    // Without ORDER BY: in the order of row ids.
    (await db.query('SELECT id FROM big LIMIT 5 OFFSET 130000', { format: 'text' })).rows,
  ];
  const before = await shown();
  const { id } = engine.state.catalog.byName({
    tenant: 'main',
    schema: 'public',
    name: 'big',
  })!.definition;
  // The journal forgets large records at once: a base soon has what they brought.
  const covered = async (position: number): Promise<void> => {
    while ((engine.recovery.basePosition(id) ?? 0) < position)
      await new Promise((resolve) => setImmediate(resolve));
  };
  await covered(loaded);
  expect((await db.recovery.rebuild('big')).rows).toBe(139_860);
  expect(await shown()).toEqual(before);
  await db.exec('DELETE FROM big WHERE id < 70000');
  await covered(db.position);
  expect((await db.recovery.rebuild('big')).rows).toBe(69_930);
  await db.close();
});
