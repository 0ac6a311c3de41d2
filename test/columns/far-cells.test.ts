import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SeededRandom } from '../../src/base/random.ts';
import { datumAt } from '../../src/columns/build.ts';
import { entryAt } from '../../src/columns/cells.ts';
import { CellSource, readFarCells } from '../../src/columns/far-cells.ts';
import type { NumberArray, NumberVector } from '../../src/columns/vector.ts';

const KINDS: readonly ((numbers: readonly number[]) => NumberArray)[] = [
  (numbers) => Float64Array.from(numbers),
  (numbers) => Float32Array.from(numbers),
  (numbers) => Int32Array.from(numbers),
  (numbers) => Uint32Array.from(numbers),
  (numbers) => Int16Array.from(numbers),
  (numbers) => Uint16Array.from(numbers),
  (numbers) => Int8Array.from(numbers),
  (numbers) => Uint8Array.from(numbers),
];
const EDGES = [0, -0, NaN, Infinity, -Infinity, 0.1, -1.5, 127, 128, 255, 65_535, 2 ** 31, 1e300];

/** Arrays of every kind, some of which begin within their buffer. */
const arrays = fc
  .array(fc.record({ kind: fc.nat(7), length: fc.integer({ min: 1, max: 40 }), skip: fc.nat(3) }), {
    minLength: 1,
    maxLength: 12,
  })
  .chain((shapes) => fc.record({ shapes: fc.constant(shapes), seed: fc.nat() }))
  .map(({ shapes, seed }) => {
    const random = new SeededRandom(seed, 'far cells');
    const made = shapes.map(({ kind, length, skip }) => {
      const numbers = Array.from({ length: length + skip }, () =>
        random.unit() < 0.3 ? EDGES[random.below(EDGES.length)]! : random.unit() * 600 - 300,
      );
      return KINDS[kind]!(numbers).subarray(skip) as NumberArray;
    });
    return { made, random };
  });

test('an entry of an array is the same whatever the kind of the array', () => {
  fc.assert(
    fc.property(arrays, ({ made }) => {
      for (const values of made)
        for (let index = 0; index < values.length; index += 1)
          expect(entryAt(values, index)).toBe(values[index]);
    }),
  );
});

test('far cells are read where they stand, and entries without a source are let be', () => {
  fc.assert(
    fc.property(arrays, ({ made, random }) => {
      const sources = made.map((values): NumberVector => {
        const isScaled = !(values instanceof Float64Array || values instanceof Float32Array);
        return {
          rep: 'number',
          type: { kind: 'float8' },
          values,
          validity: undefined,
          factor: isScaled ? 1 + random.below(3) : 1,
          base: isScaled ? random.below(100) - 50 : 0,
          scale: 0,
        };
      });
      const count = 50;
      const sourceOf = Int32Array.from({ length: count }, () => random.below(made.length + 1) - 1);
      const places = Int32Array.from(sourceOf, (source) =>
        source < 0 ? 1_000_000 : random.below(made[source]!.length),
      );
      const start = random.below(10);
      const end = count - random.below(10);
      const out = new Float64Array(count).fill(7);
      readFarCells(
        sources.map((source) => new CellSource(source)),
        sourceOf,
        places,
        start,
        end,
        out,
      );
      const expected = Array.from(sourceOf, (source, row) =>
        row < start || row >= end || source < 0 ? 7 : datumAt(sources[source]!, places[row]!),
      );
      expect(Array.from(out)).toEqual(expected);
    }),
  );
});
