import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { program, TileWorld } from './tile-program.ts';

test('windows from tiles have the bits of windows from rows, whatever happens to the table, the tiles and the readers', () => {
  let tiles = 0;
  fc.assert(
    fc.property(program, (steps) => {
      const world = new TileWorld();
      for (const step of steps) world.run(step);
      world.end();
      tiles += world.tiles;
    }),
    { numRuns: 40 },
  );
  expect(tiles).toBeGreaterThan(500);
});

/** `npm run check:tiles` asks for a million, in four zones of the process. */
const OPERATIONS = Number(process.env['ADB_TILE_OPERATIONS'] ?? 800);
const SEED = Number(process.env['ADB_TILE_SEED'] ?? 1);

test(
  'long lives of a table give the same bytes wherever the process runs',
  () => {
    const digest = createHash('sha256');
    let [operations, answers, tiles] = [0, 0, 0];
    for (let life = 0; operations < OPERATIONS; life += 1) {
      const [steps] = fc.sample(program, { seed: SEED * 1_000_003 + life, numRuns: 1 });
      const world = new TileWorld((text) => digest.update(text));
      for (const step of steps!) world.run(step);
      world.end();
      operations += world.operations;
      answers += world.answers;
      tiles += world.tiles;
    }
    console.log(
      `tiles: ${operations} operations, ${answers} answers from ${tiles} tiles, digest ${digest.digest('hex')}`,
    );
    expect(tiles).toBeGreaterThan(0);
  },
  OPERATIONS * 50,
);
