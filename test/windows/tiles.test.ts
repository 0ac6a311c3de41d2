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
    { numRuns: Number(process.env['RUNS'] ?? 60) },
  );
  expect(tiles).toBeGreaterThan(1000);
});
