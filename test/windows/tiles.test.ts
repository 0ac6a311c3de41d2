import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MemoryAccount } from '../../src/base/memory.ts';
import { open } from '../../src/index.ts';
import { program, TileWorld } from './tile-program.ts';

/** Quarters are cut only where rows are many: a row counts as so many. */
const density = fc.constantFrom(1, 300, 3000);

test('windows from tiles have the bits of windows from rows, whatever happens to the table, the tiles and the readers', () => {
  let tiles = 0;
  fc.assert(
    fc.property(program, density, (steps, many) => {
      const world = new TileWorld(undefined, undefined, many);
      for (const step of steps) world.run(step);
      world.end();
      tiles += world.tiles;
    }),
    { numRuns: 30 },
  );
  expect(tiles).toBeGreaterThan(300);
});

test('where there is no room for tiles the answers are the same, and nothing of them is left', () => {
  fc.assert(
    fc.property(program, fc.constantFrom(1_000, 40_000, 200_000), density, (steps, bytes, many) => {
      const memory = new MemoryAccount('little', undefined, bytes);
      const world = new TileWorld(undefined, memory, many);
      for (const step of steps) world.run(step);
      world.end();
      expect(memory.usedBytes).toBe(0);
    }),
    { numRuns: 12 },
  );
});

test('a question with more groups than tiles have is answered from rows', async () => {
  const db = await open({ workers: 0 });
  try {
    await db.exec(
      `CREATE TABLE t (ts timestamptz NOT NULL, device int NOT NULL, x int NOT NULL) WITH (time = 'ts')`,
    );
    const count = 17_000;
    const start = Date.UTC(2026, 0, 1);
    await db.insert('t', {
      ts: Float64Array.from({ length: count }, (_, row) => start + (row % 3) * 86_400_000),
      device: Int32Array.from({ length: count }, (_, row) => row),
      x: Int32Array.from({ length: count }, (_, row) => row % 7),
    });
    const text = `SELECT date_trunc('day', ts) AS day, device, sum(x) AS s FROM t WHERE ts >= '2026-01-01' AND ts < '2026-02-01' GROUP BY 1, 2`;
    for (let time = 0; time < 2; time += 1) {
      const { rows, meta } = await db.query<{ s: number }>(text);
      expect(rows.length).toBe(count);
      expect(rows.reduce((sum, { s }) => sum + s, 0)).toBe(50_994);
      expect(meta.source).toBe('scan');
    }
  } finally {
    await db.close();
  }
});

test('values too many to be told apart are counted from rows: of all days, and of one', async () => {
  const db = await open({ workers: 0 });
  try {
    for (const [table, days, count] of [
      ['wide', 30, 262_500],
      ['deep', 1, 200_000],
    ] as const) {
      await db.exec(
        `CREATE TABLE ${table} (ts timestamptz NOT NULL, x int NOT NULL) WITH (time = 'ts')`,
      );
      await db.insert(table, {
        ts: Float64Array.from(
          { length: count },
          (_, row) => Date.UTC(2026, 0, 1) + Math.floor((row * days * 86_400_000) / count),
        ),
        x: Int32Array.from({ length: count }, (_, row) => row * 7),
      });
      const ask = async (to: string, measure = 'count(DISTINCT x)'): Promise<[unknown, string]> => {
        const { rows, meta } = await db.window(table, {
          range: ['2026-01-01', to],
          measures: { d: measure },
        });
        return [rows[0]!.values['d'], meta.source];
      };
      const bytes = db.metrics.snapshot().tileBytes;
      // A part of the days may have tiles, until all are asked for.
      if (days > 1) expect(await ask('2026-01-16')).toEqual([count / 2, 'windows']);
      for (let time = 0; time < 2; time += 1)
        expect(await ask('2026-01-31')).toEqual([count, 'scan']);
      expect(db.metrics.snapshot().tileBytes).toBe(bytes);
      // Of the same rows something else is told from tiles.
      expect(await ask('2026-01-31', 'max(x)')).toEqual([(count - 1) * 7, 'windows']);
    }
  } finally {
    await db.close();
  }
});

/** `npm run check:tiles` asks for a million, in four zones of the process. */
const OPERATIONS = Number(process.env['ADB_TILE_OPERATIONS'] ?? 300);
const SEED = Number(process.env['ADB_TILE_SEED'] ?? 1);

test(
  'long lives of a table give the same bytes wherever the process runs',
  () => {
    const digest = createHash('sha256');
    let [operations, answers, windows, tiles, lives] = [0, 0, 0, 0, 0];
    for (let life = 0; operations < OPERATIONS; life += 1) {
      const [steps] = fc.sample(program, { seed: SEED * 1_000_003 + life, numRuns: 1 });
      const world = new TileWorld((text) => digest.update(text), undefined, [1, 3000][life % 2]);
      for (const step of steps!) world.run(step);
      world.end();
      operations += world.operations;
      answers += world.answers;
      windows += world.windows;
      tiles += world.tiles;
      lives += 1;
    }
    console.log(
      `tiles: ${operations} operations, ${lives} lives, ${answers} answers, ${windows} windows, ${tiles} tiles, digest ${digest.digest('hex')}`,
    );
    expect(tiles).toBeGreaterThan(0);
  },
  OPERATIONS * 50,
);
