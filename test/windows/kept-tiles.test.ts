import { expect, test } from 'vitest';
import { MemoryAccount } from '../../src/base/memory.ts';
import { vectorFromData } from '../../src/columns/build.ts';
import { INT4 } from '../../src/columns/types.ts';
import { KeptTiles, type KeptShape, type KeptUndo } from '../../src/windows/kept-tiles.ts';
import { QUARTER } from '../../src/windows/tile-time.ts';

/** More tiles by group than are added up in one step. */
const GROUPS = 5000;
const SHAPE: KeptShape = { by: [{ column: 0, type: INT4 }], terms: [] };

function done(steps: Generator<void, KeptUndo>): KeptUndo {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

// The tile that others were to become stood in the list, empty, while those were added up; `expire` took it out of it, and the sum
// went where nobody looks. No demotion of a test has had as many groups.
test('tiles that become one in several steps are there, though versions expire meanwhile', () => {
  const tiles = new KeptTiles(new MemoryAccount('tiles'));
  const numbers = Array.from({ length: GROUPS }, (_, group) => group);
  done(
    tiles.apply(
      {
        kind: 'add',
        shape: SHAPE,
        unit: '15m',
        cells: {
          starts: Float64Array.of(0, QUARTER),
          ends: Float64Array.of(QUARTER, 2 * QUARTER),
          offsets: Int32Array.of(0, GROUPS, 2 * GROUPS),
          groups: Int32Array.from([...numbers, ...numbers]),
          keys: { rowCount: GROUPS, columns: [vectorFromData(INT4, numbers)] },
          ranges: [],
          data: new Float64Array(2 * GROUPS).fill(1),
        },
      },
      true,
    ),
  ).published(1);
  const steps = tiles.apply({ kind: 'fold', unit: 'hour', start: 0, end: 4 * QUARTER }, true);
  expect(steps.next().done).toBe(false);
  tiles.expire(1);
  done(steps).published(2);
  const found = [...tiles.overlapping(2, -Infinity, Infinity)];
  expect(found.map(({ unit, start, end }) => ({ unit, start, end }))).toEqual([
    { unit: 'hour', start: 0, end: 4 * QUARTER },
  ]);
  expect(found[0]!.slab.data).toEqual(new Float64Array(GROUPS).fill(2));
});
