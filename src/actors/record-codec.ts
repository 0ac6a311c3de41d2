import { DbError } from '../base/errors.ts';
import { Decimal, Interval } from '../columns/values.ts';
import type { TableWrite } from '../columns/table-contract.ts';
import {
  corrupt,
  registeredType,
  ValueCodec,
  type RegisteredType,
} from '../journal/value-codec.ts';
import type { PayloadCodec } from '../journal/record.ts';
import { plainBatch, revivedBatch, type PlainBatch } from './plain-batch.ts';
import type { KeptAddition, KeptCells, KeptChange } from '../windows/kept-tiles.ts';
import { recordBytes } from './record-bytes.ts';
import {
  RECORD_SCHEMA_VERSION,
  RECORD_UPCASTERS,
  type CommitRecord,
  type Operation,
  type PlainOperation,
  type Upcaster,
} from './records.ts';

/** Classes that records hold beside plain data; the names are for ever. */
export const recordCodecEntries: readonly RegisteredType<never>[] = [
  registeredType<Decimal>({
    name: 'decimal',
    type: Decimal,
    toPlain: ({ coefficient, scale, special }) => [coefficient, scale, special],
    fromPlain: (plain) => {
      const [coefficient, scale, special] = plain as [bigint, number, Decimal['special']];
      return special === undefined ? new Decimal(coefficient, scale) : SPECIAL[special];
    },
  }),
  registeredType<Interval>({
    name: 'interval',
    type: Interval,
    toPlain: ({ months, days, micros }) => [months, days, micros],
    fromPlain: (plain) => {
      const [months, days, micros] = plain as [number, number, number];
      return new Interval(months, days, micros);
    },
  }),
];

/** They are told by identity. */
const SPECIAL = {
  NaN: Decimal.NaN,
  Infinity: Decimal.Infinity,
  '-Infinity': Decimal.NegativeInfinity,
};

/**
 * Commit records as bytes: operation after operation, each a length (4 bytes) and a value, so that a big commit is encoded in
 * steps. Rows are columns of typed arrays; texts that repeat are written once.
 */
export class CommitCodec implements PayloadCodec {
  readonly #values = new ValueCodec(recordCodecEntries);
  readonly #version: number;
  readonly #upcasters: readonly Upcaster[];

  /** Other versions than the present ones: tests of how they follow one another. */
  constructor(version = RECORD_SCHEMA_VERSION, upcasters: readonly Upcaster[] = RECORD_UPCASTERS) {
    this.#version = version;
    this.#upcasters = upcasters;
  }

  *encodePieces(payload: unknown): Generator<Uint8Array, void, undefined> {
    for (const operation of (payload as CommitRecord).operations) {
      const pieces = this.#values.encodePieces(plainOperation(operation));
      const length = new Uint8Array(4);
      new DataView(length.buffer).setUint32(
        0,
        pieces.reduce((sum, piece) => sum + piece.length, 0),
        true,
      );
      yield length;
      yield* pieces;
    }
  }

  decode(bytes: Uint8Array, schemaVersion: number): CommitRecord {
    if (schemaVersion > this.#version)
      throw new DbError('0A000', 'the journal was written by a newer version of AnalyticDB', {
        detail: `Its records have version ${schemaVersion}; this version knows up to ${this.#version}.`,
        hint: 'Open it with the newer version.',
      });
    const plain: PlainOperation[] = [];
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let offset = 0; offset < bytes.length;) {
      if (offset + 4 > bytes.length) throw corrupt('an operation ends within its length');
      const end = offset + 4 + view.getUint32(offset, true);
      if (end > bytes.length) throw corrupt('an operation ends before its end');
      plain.push(this.#values.decode(bytes.subarray(offset + 4, end)) as PlainOperation);
      offset = end;
    }
    let operations: readonly PlainOperation[] = plain;
    for (let version = schemaVersion; version < this.#version; version += 1)
      operations = this.#upcasters[version - 1]!(operations);
    return { kind: 'commit', operations: operations.map(revivedOperation) };
  }

  heapBytes(payload: unknown): number {
    return recordBytes(payload as CommitRecord);
  }
}

function plainOperation(operation: Operation): PlainOperation {
  switch (operation.op) {
    case 'rows':
      return { ...operation, writes: operation.writes.map(plainWrite) };
    case 'alterTable':
      return operation.data.kind === 'rewrite'
        ? { ...operation, data: { ...operation.data, rows: plainWrite(operation.data.rows) } }
        : operation;
    case 'keepTiles':
      return { ...operation, change: plainKept(operation.change) };
    default:
      return operation;
  }
}

/** Changes of kept tiles with the keys of groups as plain data: snapshots hold them, too. */
export function plainKept(change: KeptChange): PlainKept {
  return change.kind === 'add'
    ? { ...change, cells: { ...change.cells, keys: plainBatch(change.cells.keys) } }
    : change;
}

export function revivedKept(plain: PlainKept): KeptChange {
  return plain.kind === 'add'
    ? { ...plain, cells: { ...plain.cells, keys: revivedBatch(plain.cells.keys) } }
    : plain;
}

export type PlainKept =
  | Exclude<KeptChange, { kind: 'add' }>
  | (Omit<KeptAddition, 'cells'> & {
      readonly cells: Omit<KeptCells, 'keys'> & { readonly keys: PlainBatch };
    });

function plainWrite(write: TableWrite): Record<string, unknown> {
  return write.kind === 'insert' || write.kind === 'update'
    ? { ...write, rows: plainBatch(write.rows) }
    : write;
}

function revivedOperation(plain: PlainOperation): Operation {
  switch (plain.op) {
    case 'rows':
      return {
        ...plain,
        writes: (plain['writes'] as PlainWrite[]).map(revivedWrite),
      } as unknown as Operation;
    case 'alterTable': {
      const data = plain['data'] as { readonly kind: string; readonly rows?: PlainWrite };
      return (data.kind === 'rewrite'
        ? { ...plain, data: { ...data, rows: revivedWrite(data.rows!) } }
        : plain) as unknown as Operation;
    }
    case 'keepTiles':
      return {
        ...plain,
        change: revivedKept(plain['change'] as PlainKept),
      } as unknown as Operation;
    default:
      return plain as unknown as Operation;
  }
}

type PlainWrite = { readonly kind: TableWrite['kind']; readonly rows?: PlainBatch };

function revivedWrite(plain: PlainWrite): TableWrite {
  return (
    plain.rows === undefined ? plain : { ...plain, rows: revivedBatch(plain.rows) }
  ) as TableWrite;
}
