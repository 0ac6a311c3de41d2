import { DbError } from '../base/errors.ts';
import { gather } from '../columns/build.ts';
import type { Vector } from '../columns/vector.ts';
import {
  BATCH_ROW_COUNT_DEFAULT,
  SKIPPED_ROWS_KEPT_MAX,
  type Format,
  type OpenedReader,
  type RawBatch,
  type ReaderOptions,
  type SkippedRow,
} from './contract.ts';
import { PLAIN } from '../base/text-cells.ts';
import type { Cutter, Records } from './csv-records.ts';
import { readCells, type CellColumn, type CellOptions } from '../columns/read-cells.ts';

/** A text file whose columns are known: what is left is to read its cells. */
export type TextPlan = {
  readonly format: Format;
  readonly cutter: Cutter;
  /** From the beginning, what inference has looked at included. */
  readonly bytes: AsyncIterable<Uint8Array>;
  readonly bytesTotal: number | undefined;
  readonly columns: readonly CellColumn[];
  /** Cells of every record. */
  readonly width: number;
  /** The first record is the header. */
  readonly header: boolean;
  readonly cells: CellOptions;
};

/** Bytes that are collected before they are cut: a batch is a commit, and a socket's pieces may be small. */
const CUT_BYTES = 1 << 18;

type Progress = {
  rowsRead: number;
  bytesRead: number;
  rowsSkipped: number;
  readonly skipped: SkippedRow[];
};

/** Reads in bounded memory: the piece that is being cut, one record that is not whole yet, one batch. */
export function openText(plan: TextPlan, options: ReaderOptions): OpenedReader {
  const progress: Progress = { rowsRead: 0, bytesRead: 0, rowsSkipped: 0, skipped: [] };
  return {
    format: plan.format,
    columns: plan.columns.map(({ name, type }) => ({ name, type, nullable: true })),
    batches: readBatches(plan, options, progress),
    bytesTotal: plan.bytesTotal,
    progress,
  };
}

async function* readBatches(
  plan: TextPlan,
  options: ReaderOptions,
  progress: Progress,
): AsyncGenerator<RawBatch, void, undefined> {
  const { cutter } = plan;
  const rowCountMax = options.batchRowCount ?? BATCH_ROW_COUNT_DEFAULT;
  let headerLeft = plan.header;
  async function* cutAll(final: boolean): AsyncGenerator<RawBatch, void, undefined> {
    for (;;) {
      const records = cutter.cut(rowCountMax, final);
      if (records === undefined) return;
      const batch = await readRecords(plan, options, progress, records, headerLeft);
      headerLeft = false;
      if (batch.rowCount > 0) yield batch;
    }
  }
  let collected = 0;
  for await (const piece of plan.bytes) {
    cutter.push(piece);
    progress.bytesRead += piece.length;
    collected += piece.length;
    if (collected < CUT_BYTES) continue;
    collected = 0;
    yield* cutAll(false);
  }
  yield* cutAll(true);
}

async function readRecords(
  plan: TextPlan,
  options: ReaderOptions,
  progress: Progress,
  records: Records,
  hasHeader: boolean,
): Promise<RawBatch> {
  const pause = options.pause ?? (async () => undefined);
  const bad = new Set<number>();
  /** Columns are read one after the other: the first line that is wrong may be found last. */
  let first: { readonly record: number; readonly failure: DbError } | undefined;
  const refuse = (record: number, cause: DbError, column: string | undefined): void => {
    if (bad.has(record)) return;
    const line = records.lines[record]!;
    if (options.onError !== 'skip') {
      if (first !== undefined && first.record <= record) return;
      const failure = new DbError(cause.code, `line ${line}: ${cause.message}`, {
        column,
        detail: cause.detail,
        hint: cause.hint ?? "Mend the line, or load with onError: 'skip'.",
        cause,
      });
      first = { record, failure };
      return;
    }
    bad.add(record);
    progress.rowsSkipped += 1;
    if (progress.skipped.length < SKIPPED_ROWS_KEPT_MAX)
      progress.skipped.push({ line, message: cause.message });
  };
  const malformed = new Map(records.malformed.map(({ row, cause }) => [row, cause]));
  const rows = new Int32Array(records.rowCount);
  let rowCount = 0;
  for (let record = hasHeader ? 1 : 0; record < records.rowCount; record += 1) {
    if (isBlank(records, record, plan.width)) continue;
    const cause = malformed.get(record) ?? wrongWidth(records, record, plan.width);
    if (cause !== undefined) refuse(record, cause, undefined);
    else {
      rows[rowCount] = record;
      rowCount += 1;
    }
  }
  const columns: Vector[] = [];
  for (const column of plan.columns) {
    columns.push(
      readCells(records, rows, rowCount, column, plan.cells, (row, { name }, cause) =>
        refuse(rows[row]!, cause, name),
      ),
    );
    await pause();
  }
  if (first !== undefined) throw first.failure;
  const missing = plan.columns.map(({ index }) => missingOf(records, rows, rowCount, index));
  const selection = new Int32Array(rowCount);
  let kept = 0;
  for (let row = 0; row < rowCount; row += 1) {
    if (bad.has(rows[row]!)) continue;
    selection[kept] = row;
    kept += 1;
  }
  progress.rowsRead += kept;
  if (kept === rowCount) return { rowCount, columns, missing };
  return {
    rowCount: kept,
    columns: columns.map((column) => gather(column, selection, kept)),
    missing: missing.map((mask) =>
      mask === undefined
        ? undefined
        : Uint8Array.from(selection.subarray(0, kept), (row) => mask[row]!),
    ),
  };
}

/** An empty line; in a file of one column it is a row, whose value is NULL. */
function isBlank(records: Records, record: number, width: number): boolean {
  const cell = records.firstCell[record]!;
  return (
    width > 1 &&
    records.firstCell[record + 1]! - cell === 1 &&
    records.starts[cell] === records.ends[cell] &&
    records.flags[cell] === PLAIN
  );
}

function wrongWidth(records: Records, record: number, width: number): DbError | undefined {
  const count = records.firstCell[record + 1]! - records.firstCell[record]!;
  if (count === width) return undefined;
  return new DbError('22P04', `${count} fields where there should be ${width}`);
}

function missingOf(
  records: Records,
  rows: Int32Array,
  rowCount: number,
  index: number,
): Uint8Array | undefined {
  const { missing, firstCell } = records;
  if (missing === undefined) return undefined;
  let mask: Uint8Array | undefined;
  for (let row = 0; row < rowCount; row += 1)
    if (missing[firstCell[rows[row]!]! + index] === 1) (mask ??= new Uint8Array(rowCount))[row] = 1;
  return mask;
}
