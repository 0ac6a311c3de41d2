import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Batch } from '../../src/columns/batch.ts';
import {
  BatchBuilder,
  concatBatches,
  datumAt,
  gather,
  hashRow,
  hashRows,
  sliceBatch,
  vectorFromData,
} from '../../src/columns/build.ts';
import { equalCells } from '../../src/columns/cells.ts';
import { CHUNK_ROWS, leaveChunk } from '../../src/columns/chunk-pool.ts';
import { Dictionary } from '../../src/columns/dictionary.ts';
import type { SqlType } from '../../src/columns/types.ts';
import { Decimal, type Datum } from '../../src/columns/values.ts';
import type { Vector } from '../../src/columns/vector.ts';
import { VectorBuilder } from '../../src/columns/vector-builder.ts';
import { typedData } from './arbitraries.ts';

test('a vector gives back the data it was made of, in every type', () => {
  fc.assert(
    fc.property(typedData(), ({ type, data }) => {
      expect(dataOf(vectorFromData(type, data), data.length)).toEqual(data);
    }),
    { numRuns: 300 },
  );
});

test('gather, slice and concat move data and change none', () => {
  fc.assert(
    fc.property(
      typedData(),
      typedData(),
      fc.array(fc.nat(), { maxLength: 30 }),
      fc.nat(),
      (first, second, picks, cut) => {
        const { type, data } = first;
        if (data.length === 0) return;
        const vector = storedVector(type, data, cut % 3);
        const selection = Int32Array.from(picks, (pick) => pick % data.length);
        const gathered = gather(vector, selection, selection.length);
        expect(dataOf(gathered, selection.length)).toEqual(
          Array.from(selection, (index) => data[index]),
        );

        const batch: Batch = { rowCount: data.length, columns: [vector] };
        const at = cut % (data.length + 1);
        const head = sliceBatch(batch, 0, at);
        const tail = sliceBatch(batch, at, data.length);
        expect(dataOf(tail.columns[0]!, tail.rowCount)).toEqual(data.slice(at));
        expect(dataOf(concatBatches([head, tail]).columns[0]!, data.length)).toEqual(data);

        const selected: Batch = { rowCount: selection.length, columns: [vector], selection };
        const others = second.type.kind === type.kind ? second.data : [];
        const mixed = concatBatches([
          selected,
          batch,
          { rowCount: others.length, columns: [vectorFromData(type, others)] },
        ]);
        expect(dataOf(mixed.columns[0]!, mixed.rowCount)).toEqual([
          ...Array.from(selection, (index) => data[index]),
          ...data,
          ...others,
        ]);
      },
    ),
    { numRuns: 300 },
  );
});

test('equal rows hash alike in every rep', () => {
  fc.assert(
    fc.property(typedData(12), ({ type, data }) => {
      const vectors = [0, 1, 2].map((how) => storedVector(type, data, how));
      const hashes = vectors.map((vector) => hashRows([vector], data.length));
      for (let a = 0; a < data.length; a += 1) {
        for (const [how, vector] of vectors.entries()) {
          expect(hashes[how]![a]).toBe(hashes[0]![a]);
          expect(hashRow([vector], a)).toBe(hashes[0]![a]);
          for (let b = 0; b < data.length; b += 1) {
            if (data[a] === null || data[b] === null) continue;
            if (equalCells(vectors[0]!, a, vector, b)) expect(hashes[how]![b]).toBe(hashes[0]![a]);
            if (a === b) expect(equalCells(vectors[0]!, a, vector, b)).toBe(true);
          }
        }
      }
    }),
    { numRuns: 200 },
  );
});

test('a builder written in place and cut short holds the last value of each entry', () => {
  fc.assert(
    fc.property(
      typedData(),
      fc.array(fc.tuple(fc.nat(), fc.nat(), fc.boolean()), { maxLength: 30 }),
      fc.nat(2),
      ({ type, data }, writes, how) => {
        if (data.length === 0) return;
        const source = storedVector(type, data, how);
        const builder = new VectorBuilder(type, how === 1 ? { dictionary: new Dictionary() } : {});
        builder.append(source, undefined, 0, data.length);
        const model = [...data];
        for (const [to, from, cut] of writes) {
          builder.set(to % model.length, source, from % data.length);
          model[to % model.length] = data[from % data.length]!;
          if (cut && model.length > 1) {
            model.pop();
            builder.truncate(model.length);
          }
          expect(dataOf(builder.slice(0, model.length), model.length)).toEqual(model);
        }
        expect(dataOf(builder.finish(), model.length)).toEqual(model);
      },
    ),
    { numRuns: 200 },
  );
});

test('a batch builder yields what it was given, with weights and row ids', () => {
  const builder = new BatchBuilder([{ kind: 'int4' }, { kind: 'text' }], { rowCountMax: 3 });
  builder.appendRow([1, 'a']);
  const more: Batch = {
    rowCount: 3,
    columns: [
      vectorFromData({ kind: 'int4' }, [7, 8, 9]),
      vectorFromData({ kind: 'text' }, ['x', null, 'z']),
    ],
    selection: Int32Array.of(2, 1, 0),
    weights: Int32Array.of(1, -1, 2),
  };
  expect(builder.append(more)).toBe(2);
  expect(builder.isFull).toBe(true);
  const batch = builder.take()!;
  expect(dataOf(batch.columns[0]!, 3)).toEqual([1, 9, 8]);
  expect(dataOf(batch.columns[1]!, 3)).toEqual(['a', 'z', null]);
  expect(batch.weights).toEqual(Int32Array.of(1, 2, -1));
  expect(builder.take()).toBeUndefined();
});

/** The data in one of several reps: as built, through a dictionary or raw bytes, as data. */
function storedVector(type: SqlType, data: readonly Datum[], how: number): Vector {
  const textual =
    type.kind === 'text' ||
    type.kind === 'varchar' ||
    type.kind === 'uuid' ||
    type.kind === 'bytea';
  if (how === 2) return { rep: 'object', type, values: data };
  if (!textual || how === 0) return vectorFromData(type, data);
  const builder = new VectorBuilder(
    type,
    data.length % 2 === 0 ? { dictionary: new Dictionary() } : { raw: true },
  );
  for (const datum of data) builder.appendDatum(datum);
  return builder.finish();
}

function dataOf(vector: Vector, count: number): Datum[] {
  return Array.from({ length: count }, (_, index) => datumAt(vector, index));
}

/**
 * What a column of numerics becomes when a NaN comes is made of all its entries, the one that is being written included: in a chunk that another column had left,
 * that one held a fraction, and there is no integer of it.
 */
test('a chunk that another column has left is as good as a new one', () => {
  const capacityMax = CHUNK_ROWS;
  leaveChunk(new Float64Array(CHUNK_ROWS).fill(1023.625));
  const builder = new VectorBuilder({ kind: 'numeric' }, { capacityMax, isPooled: true });
  builder.reserveExactly(CHUNK_ROWS);
  builder.appendDatum(new Decimal(15n, 1));
  builder.appendDatum(new Decimal(0n, 0, 'NaN'));
  expect([builder.datumAt(0), builder.datumAt(1)].map(String)).toEqual(['1.5', 'NaN']);
  builder.close();
});
