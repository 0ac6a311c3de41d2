/** Commit records as bytes. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { plainBatch, revivedBatch, type PlainBatch } from '../../src/actors/plain-batch.ts';
import { CommitCodec } from '../../src/actors/record-codec.ts';
import type { CommitRecord, Operation, PlainOperation } from '../../src/actors/records.ts';
import type { Batch } from '../../src/columns/batch.ts';
import { datumAt, vectorFromData } from '../../src/columns/build.ts';
import { Dictionary } from '../../src/columns/dictionary.ts';
import { INT4, TEXT, type SqlType } from '../../src/columns/types.ts';
import type { Datum } from '../../src/columns/values.ts';
import type { Vector } from '../../src/columns/vector.ts';
import { joined } from '../../src/journal/value-codec.ts';
import { nullable, TYPES } from '../columns/arbitraries.ts';

const codec = new CommitCodec();

function throughBytes(record: CommitRecord): CommitRecord {
  return codec.decode(joined([...codec.encodePieces(record)]), 1);
}

function dataOf(batch: Batch): Datum[][] {
  return batch.columns.map((column) =>
    Array.from({ length: batch.rowCount }, (_, row) =>
      datumAt(column, batch.selection?.[row] ?? row),
    ),
  );
}

/** The same texts as codes of a dictionary that holds others, too. */
function coded(type: SqlType, data: readonly Datum[]): Vector {
  const dictionary = new Dictionary();
  dictionary.add('somebody else’s');
  const codes = Int32Array.from(data, (datum) =>
    datum === null ? 0 : dictionary.add(String(datum)),
  );
  const validity = Uint8Array.from(data, (datum) => (datum === null ? 0 : 1));
  return { rep: 'dictionary', type, codes, validity, dictionary };
}

test('rows come out of bytes as they went in, however many and of whatever type', () => {
  const column = fc
    .constantFrom(...TYPES)
    .chain(([type, data]) =>
      fc.tuple(
        fc.constant(type),
        fc.array(nullable(data), { minLength: 1, maxLength: 12 }),
        fc.boolean(),
      ),
    );
  fc.assert(
    fc.property(
      fc.array(column, { minLength: 1, maxLength: 4 }),
      fc.constantFrom(1, 5, 9, 40, 300),
      fc.boolean(),
      (columns, rowCount, selects) => {
        const vectors = columns.map(([type, values, asCodes]) => {
          const data = Array.from({ length: rowCount }, (_, row) => values[row % values.length]!);
          return asCodes && type.kind === 'text' ? coded(type, data) : vectorFromData(type, data);
        });
        const selection = selects
          ? Int32Array.from({ length: Math.ceil(rowCount / 2) }, (_, row) => row * 2)
          : undefined;
        const rows: Batch = {
          rowCount: selection?.length ?? rowCount,
          columns: vectors,
          selection,
        };
        const record: CommitRecord = {
          kind: 'commit',
          operations: [{ op: 'rows', relation: 7, writes: [{ kind: 'insert', rows }] }],
        };
        const [operation] = throughBytes(record).operations as [Extract<Operation, { op: 'rows' }>];
        const [write] = operation.writes as [{ readonly kind: 'insert'; readonly rows: Batch }];
        expect(dataOf(write.rows)).toEqual(dataOf(rows));
        expect(write.rows.columns.map(({ type }) => type)).toEqual(vectors.map(({ type }) => type));
      },
    ),
    { numRuns: 150 },
  );
});

test('texts that repeat are written once, whole numbers as narrow as they are', () => {
  const rowCount = 2_000;
  const sizeOf = (batch: PlainBatch): number => {
    const record = [
      ...codec.encodePieces({
        kind: 'commit',
        operations: [
          { op: 'rows', relation: 1, writes: [{ kind: 'insert', rows: revivedBatch(batch) }] },
        ],
      } satisfies CommitRecord),
    ];
    return record.reduce((sum, piece) => sum + piece.length, 0);
  };
  const texts = coded(
    TEXT,
    Array.from({ length: rowCount }, (_, row) => `a longer text ${row % 5}`),
  );
  const numbers = vectorFromData(
    INT4,
    Array.from({ length: rowCount }, (_, row) => row % 100),
  );
  expect(sizeOf(plainBatch({ rowCount, columns: [texts] }))).toBeLessThan(rowCount * 2 + 300);
  expect(sizeOf(plainBatch({ rowCount, columns: [numbers] }))).toBeLessThan(rowCount + 100);
});

test('definitions, deletes and the rest come out as they went in', () => {
  const operations: Operation[] = [
    { op: 'createSchema', tenant: 'main', name: 's' },
    { op: 'sequenceValue', sequence: 3, value: 17, called: true, changeNumber: 4 },
    {
      op: 'rows',
      relation: 1,
      writes: [{ kind: 'delete', rowIds: Float64Array.of(1, 5) }, { kind: 'truncate' }],
    },
    { op: 'grant', relation: 1, to: 'acme', granted: true },
    { op: 'keyedWrite', key: 'k', rows: 3, chunks: 1, done: true },
    { op: 'compact', relation: 1, segment: 2 },
  ];
  expect(throughBytes({ kind: 'commit', operations }).operations).toEqual(operations);
});

test('bytes that are no record are refused, a version of tomorrow is named', () => {
  const bytes = joined([
    ...codec.encodePieces({ kind: 'commit', operations: [{ op: 'dropRelation', relation: 1 }] }),
  ]);
  for (let length = 1; length < bytes.length; length += 1)
    expect(() => codec.decode(bytes.subarray(0, length), 1)).toThrow('corrupt journal');
  expect(() => codec.decode(bytes, 9)).toThrow('newer version');
});

test('a record goes through every version that it lacks, in order', () => {
  // Version 2 renamed a field, version 3 split an operation in two.
  const third = new CommitCodec(3, [
    (operations) =>
      operations.map(({ old, ...rest }) =>
        rest.op === 'compact' ? { ...rest, segment: old } : rest,
      ),
    (operations) =>
      operations.flatMap((each): PlainOperation[] =>
        each.op === 'compact'
          ? [each, { ...each, segment: (each['segment'] as number) + 1 }]
          : [each],
      ),
  ]);
  const bytes = joined([
    ...codec.encodePieces({
      kind: 'commit',
      operations: [{ op: 'compact', relation: 1, old: 4 } as unknown as Operation],
    }),
  ]);
  expect(third.decode(bytes, 1).operations).toEqual([
    { op: 'compact', relation: 1, segment: 4 },
    { op: 'compact', relation: 1, segment: 5 },
  ]);
  expect(third.decode(bytes, 3).operations).toEqual([{ op: 'compact', relation: 1, old: 4 }]);
});
