import fc from 'fast-check';
import { expect, test } from 'vitest';
import { open } from '../../src/open.ts';

/** Views of every supported shape; the law is that each equals its own query run anew. */
const VIEWS: readonly (readonly [string, string])[] = [
  [
    'grouped',
    'SELECT g, count(*) AS n, count(x) AS nx, sum(x) AS s, avg(x) AS a, min(x) AS lo, max(x) AS hi, stddev(x) AS sd FROM t GROUP BY g',
  ],
  ['totals', 'SELECT count(*) AS n, sum(k) AS s, sum(x) AS sx, count(DISTINCT g) AS d FROM t'],
  ['filtered', 'SELECT id, k * 2 AS k2 FROM t WHERE k > 3'],
  ['joined', 'SELECT t.id, u.name, t.x FROM t JOIN u ON u.k = t.k'],
  [
    'joined_groups',
    'SELECT u.name, count(*) AS n, sum(t.x) AS s FROM t JOIN u ON u.k = t.k GROUP BY u.name HAVING count(*) > 1',
  ],
  ['distinct_pairs', 'SELECT DISTINCT g, k FROM t'],
  ['united', 'SELECT g AS a FROM t UNION ALL SELECT name AS a FROM u'],
  ['on_view', 'SELECT n, count(*) AS groups FROM grouped GROUP BY n'],
  ['numerics', 'SELECT g, sum(p) AS s, avg(p) AS a, min(p) AS lo FROM t GROUP BY g'],
];

const value = fc.oneof(
  fc.constant(null),
  fc.constantFrom(0, -0, 1, 0.1, 0.2, 1e16, -1e16, 1e-9, 1e300, Number.NaN),
  fc.double({ noDefaultInfinity: true, min: -1e6, max: 1e6 }),
);
const row = fc.record({
  g: fc.constantFrom(null, 'a', 'b', 'ü'),
  k: fc.integer({ min: 0, max: 8 }),
  x: value,
  p: fc.constantFrom(null, '1.0', '1.00', '-2.5', '100.125'),
});
const change = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('insert' as const),
      rows: fc.array(row, { minLength: 1, maxLength: 4 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('update' as const), pick: fc.nat(), row }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('delete' as const), pick: fc.nat() }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('rename' as const),
      k: fc.integer({ min: 0, max: 8 }),
      name: fc.constantFrom('x', 'y', null),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('rollback' as const),
      rows: fc.array(row, { minLength: 1, maxLength: 3 }),
    }),
  },
);

test('every view equals its query recomputed after every change, bit for bit', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 25 }), async (changes) => {
      const db = await open();
      try {
        await db.exec(
          'CREATE TABLE t (id int PRIMARY KEY, g text, k int, x double precision, p numeric); CREATE TABLE u (k int PRIMARY KEY, name text)',
        );
        await db.insert('u', [
          { k: 1, name: 'x' },
          { k: 2, name: 'x' },
          { k: 3, name: 'y' },
        ]);
        for (const [name, query] of VIEWS)
          await db.exec(`CREATE MATERIALIZED VIEW ${name} AS ${query}`);
        let next = 1;
        const ids: number[] = [];
        for (const step of changes) {
          switch (step.kind) {
            case 'insert':
              await db.insert(
                't',
                step.rows
                  .map((each) => ({ id: next + step.rows.indexOf(each), ...each }))
                  .map((each, index) => ({ ...each, id: next + index })),
              );
              for (let index = 0; index < step.rows.length; index += 1) ids.push(next + index);
              next += step.rows.length;
              break;
            case 'update':
              if (ids.length > 0)
                await db.upsert('t', { id: ids[step.pick % ids.length]!, ...step.row });
              break;
            case 'delete':
              if (ids.length > 0)
                await db.delete('t', { id: ids.splice(step.pick % ids.length, 1)[0]! });
              break;
            case 'rename':
              await db.upsert('u', { k: step.k, name: step.name });
              break;
            case 'rollback':
              await db
                .transaction(async (tx) => {
                  await tx.insert(
                    't',
                    step.rows.map((each, index) => ({ ...each, id: 1_000_000 + index })),
                  );
                  throw new Error('undo');
                })
                .catch((cause: unknown) => expect(cause).toMatchObject({ message: 'undo' }));
              break;
          }
          for (const [name, query] of VIEWS) {
            const kept = await db.query(`SELECT * FROM ${name}`);
            const anew = await db.query(query);
            expect(sorted(kept.rows), `${name} after ${JSON.stringify(step)}`).toEqual(
              sorted(anew.rows),
            );
          }
        }
      } finally {
        await db.close();
      }
    }),
    { numRuns: 40, endOnFailure: true },
  );
});

test('what a subscriber is told folds to the view, and nothing in it cancels', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(row, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 12 }),
      fc.boolean(),
      async (commits, lag) => {
        const db = await open();
        try {
          await db.exec(
            'CREATE TABLE t (id int PRIMARY KEY, g text, k int, x double precision, p numeric); CREATE MATERIALIZED VIEW v AS SELECT g, count(*) AS n, sum(x) AS s FROM t GROUP BY g',
          );
          const folded = new Map<string, number>();
          const subscription = db.subscribe('v', lag ? { maxRate: 1000 } : {});
          const iterator = subscription[Symbol.asyncIterator]();
          const take = async (until: number): Promise<void> => {
            for (;;) {
              const { value: change } = await iterator.next();
              if (change.kind === 'snapshot') for (const each of change.rows) bump(folded, each, 1);
              if (change.kind === 'delta') {
                const inserted = change.inserted.map(text);
                expect(
                  change.deleted.map(text).filter((each: string) => inserted.includes(each)),
                ).toEqual([]);
                for (const each of change.deleted) bump(folded, each, -1);
                for (const each of change.inserted) bump(folded, each, 1);
              }
              if (change.position >= until) return;
            }
          };
          let id = 0;
          let position = 0;
          for (const rows of commits) {
            const before = sorted((await db.query('SELECT * FROM v')).rows);
            const written = await db.insert(
              't',
              rows.map((each) => ({ ...each, id: (id += 1) })),
            );
            const changed =
              JSON.stringify(before) !==
              JSON.stringify(sorted((await db.query('SELECT * FROM v')).rows));
            if (changed) position = written.position;
            if (changed && !lag) await take(position);
          }
          if (lag) await take(position);
          expect(
            [...folded]
              .filter(([, count]) => count !== 0)
              .map(([each]) => each)
              .sort(),
          ).toEqual(sorted((await db.query('SELECT * FROM v')).rows).map((each) => each));
          await subscription.close();
        } finally {
          await db.close();
        }
      },
    ),
    { numRuns: 30, endOnFailure: true },
  );
});

test('the work of a change does not grow with the table', async () => {
  const workOf = async (size: number): Promise<number> => {
    const db = await open();
    try {
      await db.exec(
        'CREATE TABLE t (id int PRIMARY KEY, g int, x double precision); CREATE MATERIALIZED VIEW v AS SELECT g, count(*) AS n, sum(x) AS s, min(x) AS lo FROM t GROUP BY g',
      );
      const id = Float64Array.from({ length: size }, (_, index) => index);
      await db.insert('t', { id, g: id.map((each) => each % 50), x: id });
      const before = db.metrics.snapshot()['workUnits']!;
      for (let each = 0; each < 10; each += 1)
        await db.insert('t', { id: size + each, g: each, x: 1 });
      return db.metrics.snapshot()['workUnits']! - before;
    } finally {
      await db.close();
    }
  };
  expect(await workOf(60_000)).toBe(await workOf(600));
});

function sorted(rows: readonly unknown[]): string[] {
  return rows.map(text).sort();
}

function text(each: unknown): string {
  return JSON.stringify(each, (_, inner: unknown) =>
    typeof inner === 'number' ? (Object.is(inner, -0) ? '-0' : String(inner)) : inner,
  );
}

function bump(folded: Map<string, number>, each: unknown, by: number): void {
  folded.set(text(each), (folded.get(text(each)) ?? 0) + by);
}
