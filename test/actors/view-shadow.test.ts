/** A view that breaks is made anew beside what it serves, and compared before it takes its place. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { MaterializedViewEntry } from '../../src/actors/catalog.ts';
import type { Database } from '../../src/actors/database.ts';
import type { Engine } from '../../src/actors/engine.ts';
import type { DatabaseEvents } from '../../src/actors/event-hub.ts';
import { InvariantError } from '../../src/base/errors.ts';
import { openEngine } from './test-engine.ts';

let engine: Engine;
let db: Database;

beforeEach(async () => {
  ({ engine, db } = await openEngine({
    journal: { kind: 'memory', keepBytes: 2 ** 22 },
    stepBudgetUnits: 500,
  }));
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, g text, x float8)');
  await db.exec(
    'CREATE MATERIALIZED VIEW v AS SELECT g, count(*) AS n, sum(x) AS s FROM t GROUP BY g',
  );
  await db.insert(
    't',
    Array.from({ length: 12_000 }, (_, id) => ({ id, g: `g${id % 50}`, x: id / 8 })),
  );
});
afterEach(() => db.close());

const viewEntry = (): MaterializedViewEntry => {
  const entry = engine.state.catalog.byName({ tenant: 'main', schema: 'public', name: 'v' });
  if (entry?.kind !== 'materializedView') throw new Error('v is a view');
  return entry;
};
const rebuilt = (): Promise<DatabaseEvents['view.rebuilt']> =>
  new Promise((resolve) => db.on('view.rebuilt', resolve));
const answers = async (): Promise<unknown> => [
  (await db.query('SELECT g, n, s FROM v ORDER BY g')).rows,
  (await db.query('SELECT g, count(*) AS n, sum(x) AS s FROM t GROUP BY g ORDER BY g')).rows,
];

test('it is compared with the rows it replaces at their own position, whatever was written since, in many steps', async () => {
  const done = rebuilt();
  let steps = 0;
  const { shadow } = engine.views;
  engine.views.shadow = function* (...given) {
    const making = shadow.apply(engine.views, given);
    for (;;) {
      const step = making.next();
      if (step.done === true) return step.value;
      steps += 1;
      yield;
    }
  };
  engine.state.viewFailed(viewEntry().view, new InvariantError('it broke'));
  const at = db.position;
  await db.exec("UPDATE t SET x = -1 WHERE id < 10; INSERT INTO t VALUES (50000, 'new', 1)");
  const { meta } = await db.query('SELECT * FROM v');
  expect([at, db.position]).toContain(meta.position);
  expect(await done).toMatchObject({ view: 'v', checked: 'rows', differed: false });
  expect(steps).toBeGreaterThan(5);
  const [view, query] = (await answers()) as [unknown, unknown];
  expect(view).toEqual(query);
});

test('rows that were wrong are replaced and told of', async () => {
  const { data, view } = viewEntry();
  // A stray write that no commit has made.
  data.stage([{ kind: 'delete', rowIds: Float64Array.of(3) }], { limits: false });
  data.publish(db.position);
  expect((await db.query('SELECT count(*) AS n FROM v')).rows).toEqual([{ n: 49 }]);
  const done = rebuilt();
  engine.state.viewFailed(view, new InvariantError('it broke'));
  expect(await done).toMatchObject({ checked: 'query', differed: true });
  expect((await db.query('SELECT count(*) AS n FROM v')).rows).toEqual([{ n: 50 }]);
  expect(db.metrics.snapshot()).toMatchObject({ viewsRebuilt: 1, viewsDiffered: 1 });
});

test('where the past is not kept, it is compared with the answer of its query', async () => {
  const { view } = viewEntry();
  const done = rebuilt();
  engine.state.viewFailed(view, new InvariantError('it broke'));
  const table = engine.state.catalog.byName({ tenant: 'main', schema: 'public', name: 't' });
  if (table?.kind !== 'table') throw new Error('t is a table');
  await db.exec("INSERT INTO t VALUES (50000, 'new', 1)");
  table.data.beginHistory(db.position);
  const { checked, differed } = await done;
  expect(differed).toBe(false);
  expect(['rows', 'query']).toContain(checked);
  const [rows, query] = (await answers()) as [unknown, unknown];
  expect(rows).toEqual(query);
});

test('a view made anew that does not have the rows of its query never takes the place', async () => {
  const { view } = viewEntry();
  const before = (await db.query('SELECT g, n FROM v ORDER BY g')).rows;
  const failed = new Promise<unknown>((resolve) => db.on('actor.failed', resolve));
  // What it serves, and what it is filled with, are both wrong.
  const { data } = viewEntry();
  data.stage([{ kind: 'delete', rowIds: Float64Array.of(3) }], { limits: false });
  data.publish(db.position);
  const { shadow } = engine.views;
  engine.views.shadow = function (...given) {
    const { catalog } = engine.state;
    const table = catalog.byName({ tenant: 'main', schema: 'public', name: 't' });
    if (table?.kind !== 'table') throw new Error('t is a table');
    const { snapshotAt } = table.data;
    // The operators that keep views miss rows that queries see.
    table.data.snapshotAt = (position) => {
      const whole = snapshotAt.call(table.data, position)!;
      const { scan } = whole;
      whole.scan = (options) => {
        const rows = scan.call(whole, options);
        const { next } = rows;
        let isFirst = true;
        rows.next = () => {
          if (isFirst) next.call(rows);
          isFirst = false;
          return next.call(rows);
        };
        return rows;
      };
      return whole;
    };
    return shadow.apply(engine.views, given);
  };
  engine.state.viewFailed(view, new InvariantError('it broke'));
  await failed;
  expect(db.describe().find(({ name }) => name === 'v')?.state).toBe('failed');
  expect((await db.query('SELECT count(*) AS n FROM v')).rows).toEqual([{ n: before.length - 1 }]);
});
