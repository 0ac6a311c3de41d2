import { HashParts } from '../base/hash-parts.ts';
import type { MemoryAccount } from '../base/memory.ts';
import { MemoryLease } from '../base/memory-lease.ts';
import { assert } from '../base/errors.ts';
import { slabDoubles, slabInts } from '../base/slab.ts';
import type { Batch } from '../columns/batch.ts';
import type {
  TableData,
  TableDelta,
  TableSnapshot,
  TableWrite,
} from '../columns/table-contract.ts';
import type { Vector } from '../columns/vector.ts';
import { identicalRows } from '../columns/identical.ts';
import { RowIdMap } from './row-id-map.ts';
import { hashRow } from '../columns/build.ts';

/**
 * How the rows of a view's delta lead to the stored rows they change:
 * - `ordinal`: a batch's `rowIds` number its rows (the group that a row shows); one stored row an ordinal at most. A row that arrives takes
 *   the place of the one with its number; one that leaves only to come back changed need not be told, one that is as it was may be.
 * - `row`: by what stands in the row. With `key`, rows of equal keys are versions of one row; without, a row of multiplicity
 *   n is stored n times.
 */
export type RowIdentity =
  | { readonly kind: 'ordinal' }
  | { readonly kind: 'row'; readonly key?: readonly number[] | undefined };

/**
 * Turns a view's consolidated delta into writes of its stored table, in place where a row stays. It remembers where rows are (an id by
 * group, or by hash), never the rows themselves.
 */
export class ViewWriter {
  readonly #data: TableData;
  readonly #identity: RowIdentity;
  readonly #lease: MemoryLease;
  /** The index over the keys of groups, which a row keeps for as long as it is there. */
  readonly #foundBy: string | undefined;
  readonly #byOrdinal = new RowIdMap();
  readonly #byHash: HashParts;
  /** One entry a staged commit; the newest is last. Triples: place (ordinal or hash), row id before, row id after; −1 is none. */
  readonly #undo: number[][] = [];
  #log: number[] | undefined;

  constructor(data: TableData, identity: RowIdentity, memory?: MemoryAccount) {
    this.#data = data;
    this.#identity = identity;
    this.#lease = new MemoryLease(memory);
    this.#byHash = new HashParts(this.#lease);
    this.#foundBy =
      identity.kind === 'ordinal'
        ? data.schema.indexes.find(({ unique }) => unique)?.name
        : undefined;
  }

  /** Stages one batch of a delta: undefined where it changes nothing. Throws (53200, 23505, …) with nothing changed. */
  stage(batch: Batch, options: { readonly limits: boolean }): TableDelta | undefined {
    this.#lease.limits = options.limits;
    const updates = this.#identity.kind === 'ordinal' ? this.#allUpdates(batch) : undefined;
    if (updates !== undefined) return this.#stageUpdates(updates, batch, options.limits);
    const changes =
      this.#identity.kind === 'ordinal'
        ? this.#byOrdinals(batch)
        : this.#byRows(batch, this.#identity.key);
    if (changes.deletes.length + changes.updates.length + changes.inserts.length === 0)
      return undefined;
    const before = this.#data.nextRowId;
    const delta = this.#data.stage(writesOf(changes, batch.columns, this.#foundBy), {
      limits: options.limits,
      isMinimal: this.#identity.kind === 'ordinal',
    });
    this.#log = [];
    this.#undo.push(this.#log);
    this.#follow(changes, delta, before);
    return delta;
  }

  /** Most commits change groups that are there, and stay: the rows that look different, and the ids of those they replace. */
  #allUpdates(batch: Batch): Updates | undefined {
    if (batch.weights !== undefined || batch.selection !== undefined) return undefined;
    const { rowCount, columns } = batch;
    const ordinals = batch.rowIds!;
    const rowIds = slabDoubles(rowCount);
    const rows = slabInts(rowCount);
    let count = 0;
    for (let row = 0; row < rowCount; row += 1) {
      const rowId = this.#byOrdinal.get(ordinals[row]!);
      if (rowId < 0) return undefined;
      if (this.#data.shows(rowId, columns, row)) continue;
      rowIds[count] = rowId;
      rows[count] = row;
      count += 1;
    }
    return count === rowCount
      ? { rowIds, rows }
      : { rowIds: rowIds.subarray(0, count), rows: rows.subarray(0, count) };
  }

  #stageUpdates(
    { rowIds, rows }: Updates,
    { rowCount, columns, rowIds: ordinals }: Batch,
    limits: boolean,
  ): TableDelta | undefined {
    const count = rowIds.length;
    if (count === 0) return undefined;
    const before = this.#data.nextRowId;
    const changed: Batch =
      count === rowCount ? { rowCount, columns } : { rowCount: count, columns, selection: rows };
    // A group's row has its keys, and stands here once, changed: no other row is like it.
    const delta = this.#data.stage(
      [{ kind: 'update', rowIds, rows: changed, foundBy: this.#foundBy }],
      { limits, isMinimal: true },
    );
    this.#log = [];
    this.#undo.push(this.#log);
    if (this.#data.nextRowId === before) return delta;
    const places = Array.from(rows, (row) => ordinals![row]!);
    const moved = {
      updates: Array.from(rows),
      updateIds: Array.from(rowIds),
      updateFrom: places,
      updateTo: places,
    };
    this.#follow({ ...newChanges(), ...moved }, delta, before);
    return delta;
  }

  /** Undoes the newest staged batch that is not published. */
  undo(): void {
    const log = this.#undo.pop();
    assert(log !== undefined, 'only what was staged is undone');
    this.#data.undo();
    // What has shrunk meanwhile takes its room again.
    this.#lease.limits = false;
    for (let at = log.length - 3; at >= 0; at -= 3) {
      const place = log[at]!;
      if (this.#identity.kind === 'ordinal') this.#byOrdinal.set(place, log[at + 1]!);
      else {
        if (log[at + 2]! >= 0) this.#byHash.remove(place, log[at + 2]!);
        if (log[at + 1]! >= 0) this.#byHash.add(place, log[at + 1]!);
      }
    }
  }

  /** The oldest staged batch is acknowledged. */
  publish(position: number): void {
    assert(this.#undo.length > 0, 'only what was staged is published');
    this.#undo.shift();
    this.#data.publish(position);
  }

  close(): void {
    this.#lease.close();
  }

  #byOrdinals(batch: Batch): Changes {
    const changes = newChanges();
    const ordinals = batch.rowIds!;
    const weights = batch.weights;
    for (let index = 0; index < batch.rowCount; index += 1) {
      const row = batch.selection === undefined ? index : batch.selection[index]!;
      const ordinal = ordinals[row]!;
      const rowId = this.#byOrdinal.get(ordinal);
      if (weights !== undefined && weights[row]! < 0) {
        assert(rowId >= 0, 'a row that leaves a view is stored in it');
        changes.deletes.push(row);
        changes.deleteIds.push(rowId);
        changes.deletePlaces.push(ordinal);
      } else if (rowId >= 0) {
        if (this.#data.shows(rowId, batch.columns, row)) continue;
        changes.updates.push(row);
        changes.updateIds.push(rowId);
        changes.updateFrom.push(ordinal);
        changes.updateTo.push(ordinal);
      } else {
        changes.inserts.push(row);
        changes.insertPlaces.push(ordinal);
      }
    }
    return changes;
  }

  #byRows(batch: Batch, key: readonly number[] | undefined): Changes {
    const changes = newChanges();
    const keyColumns =
      key === undefined ? batch.columns : key.map((column) => batch.columns[column]!);
    let arriving: HashParts | undefined;
    const weights = batch.weights;
    const rows: number[] = [];
    const leaving: number[] = [];
    for (let index = 0; index < batch.rowCount; index += 1) {
      const row = batch.selection === undefined ? index : batch.selection[index]!;
      const weight = weights === undefined ? 1 : weights[row]!;
      for (let copy = weight; copy > 0; copy -= 1) rows.push(row);
      for (let copy = weight; copy < 0; copy += 1) leaving.push(row);
    }
    const taken = new Uint8Array(rows.length);
    if (leaving.length > 0) {
      if (key !== undefined && rows.length > 0) {
        arriving = new HashParts(new MemoryLease(undefined));
        for (const [index, row] of rows.entries()) arriving.add(hashRow(keyColumns, row), index);
      }
      const ids = this.#locate(batch.columns, keyColumns, leaving);
      for (const [index, row] of leaving.entries()) {
        const hash = hashRow(keyColumns, row);
        const version =
          arriving === undefined ? -1 : newVersion(arriving, keyColumns, hash, row, rows, taken);
        if (version >= 0) {
          taken[version] = 1;
          changes.updates.push(rows[version]!);
          changes.updateIds.push(ids[index]!);
          changes.updateFrom.push(hash);
          changes.updateTo.push(hash);
        } else {
          changes.deletes.push(row);
          changes.deleteIds.push(ids[index]!);
          changes.deletePlaces.push(hash);
        }
      }
    }
    for (const [index, row] of rows.entries()) {
      if (taken[index] === 1) continue;
      changes.inserts.push(row);
      changes.insertPlaces.push(hashRow(keyColumns, row));
    }
    return changes;
  }

  /** Ids of stored rows identical to the given ones, each a different one. */
  #locate(
    columns: readonly Vector[],
    keyColumns: readonly Vector[],
    rows: readonly number[],
  ): readonly number[] {
    const all = columns.map((_, index) => index);
    const snapshot = this.#data.staged();
    try {
      const claimed = new Set<number>();
      const ids: number[] = [];
      // Nearly always the first candidate is the row: all of them are fetched at once.
      const guesses = rows.map((row) => {
        const hash = hashRow(keyColumns, row);
        let guess = this.#byHash.first(hash);
        while (guess >= 0 && claimed.has(guess)) guess = this.#byHash.next();
        assert(guess >= 0, 'a row that leaves a view is stored in it');
        claimed.add(guess);
        return guess;
      });
      const fetched = fetchSorted(snapshot, guesses, all);
      const wrong: number[] = [];
      for (const [index, row] of rows.entries()) {
        const at = fetched.place(guesses[index]!);
        if (identicalRows(fetched.columns, at, columns, row)) ids[index] = guesses[index]!;
        else wrong.push(index);
      }
      for (const index of wrong) claimed.delete(guesses[index]!);
      for (const index of wrong) {
        const id = this.#locateOne(
          snapshot,
          columns,
          hashRow(keyColumns, rows[index]!),
          rows[index]!,
          claimed,
          all,
        );
        claimed.add(id);
        ids[index] = id;
      }
      return ids;
    } finally {
      snapshot.release();
    }
  }

  #locateOne(
    snapshot: TableSnapshot,
    columns: readonly Vector[],
    hash: number,
    row: number,
    claimed: ReadonlySet<number>,
    all: readonly number[],
  ): number {
    for (
      let candidate = this.#byHash.first(hash);
      candidate >= 0;
      candidate = this.#byHash.next()
    ) {
      if (claimed.has(candidate)) continue;
      const fetched = snapshot.fetch(Float64Array.of(candidate), all);
      const at = fetched.selection === undefined ? 0 : fetched.selection[0]!;
      if (fetched.rowCount === 1 && identicalRows(fetched.columns, at, columns, row))
        return candidate;
    }
    assert(false, 'a row that leaves a view is stored in it');
  }

  /** Takes down where the rows are now. */
  #follow(changes: Changes, delta: TableDelta, before: number): void {
    for (let index = 0; index < changes.deletePlaces.length; index += 1) {
      const place = changes.deletePlaces[index]!;
      this.#move(place, changes.deleteIds[index]!, place, -1);
    }
    // Nothing has moved or arrived.
    if (this.#data.nextRowId === before) return;
    const { inserted } = delta;
    const newRows = changes.inserts.length;
    // Updates that found their row in a sealed segment moved to the end, in order, before the new rows.
    let next = before;
    const inPlace = inserted === undefined ? 0 : countBelow(inserted.rowIds!, inserted, before);
    for (const [index, from] of changes.updateFrom.entries()) {
      const old = changes.updateIds[index]!;
      if (inPlace === changes.updates.length || stayed(inserted!, old, inPlace)) continue;
      this.#move(from, old, changes.updateTo[index]!, next);
      next += 1;
    }
    for (let index = 0; index < newRows; index += 1) {
      this.#move(-1, -1, changes.insertPlaces[index]!, next);
      next += 1;
    }
  }

  #move(from: number, old: number, to: number, rowId: number): void {
    if (this.#identity.kind === 'ordinal') {
      this.#byOrdinal.set(to, rowId);
      this.#log!.push(to, old, rowId);
      return;
    }
    if (old >= 0) this.#byHash.remove(from, old);
    if (rowId >= 0) this.#byHash.add(to, rowId);
    this.#log!.push(to, old, rowId);
  }
}

/** Rows (physical, in one batch) that take the place of stored ones. */
type Updates = { readonly rowIds: Float64Array; readonly rows: Int32Array };

/** Rows (physical, in one batch) and the places they are remembered under. */
type Changes = {
  readonly deletes: number[];
  readonly deleteIds: number[];
  readonly deletePlaces: number[];
  readonly updates: number[];
  readonly updateIds: number[];
  readonly updateFrom: number[];
  readonly updateTo: number[];
  readonly inserts: number[];
  readonly insertPlaces: number[];
};

function newChanges(): Changes {
  return {
    deletes: [],
    deleteIds: [],
    deletePlaces: [],
    updates: [],
    updateIds: [],
    updateFrom: [],
    updateTo: [],
    inserts: [],
    insertPlaces: [],
  };
}

function writesOf(
  changes: Changes,
  columns: readonly Vector[],
  foundBy: string | undefined,
): TableWrite[] {
  const writes: TableWrite[] = [];
  if (changes.deletes.length > 0)
    writes.push({ kind: 'delete', rowIds: doublesOf(changes.deleteIds) });
  if (changes.updates.length > 0) {
    writes.push({
      kind: 'update',
      rowIds: doublesOf(changes.updateIds),
      rows: rowsOf(changes.updates, columns),
      foundBy,
    });
  }
  if (changes.inserts.length > 0)
    writes.push({ kind: 'insert', rows: rowsOf(changes.inserts, columns) });
  return writes;
}

/** Without a selection where the rows are the first of the columns, in order. */
function rowsOf(rows: readonly number[], columns: readonly Vector[]): Batch {
  const rowCount = rows.length;
  if (rows[rowCount - 1] === rowCount - 1 && rows[0] === 0) {
    let next = 1;
    while (next < rowCount && rows[next] === next) next += 1;
    if (next === rowCount) return { rowCount, columns };
  }
  const selection = slabInts(rowCount);
  for (let index = 0; index < rowCount; index += 1) selection[index] = rows[index]!;
  return { rowCount, columns, selection };
}

function doublesOf(numbers: readonly number[]): Float64Array {
  const doubles = slabDoubles(numbers.length);
  for (let index = 0; index < numbers.length; index += 1) doubles[index] = numbers[index]!;
  return doubles;
}

/** The arriving row with the same key, −1 if none. */
function newVersion(
  arriving: HashParts,
  keyColumns: readonly Vector[],
  hash: number,
  row: number,
  rows: readonly number[],
  taken: Uint8Array,
): number {
  for (let index = arriving.first(hash); index >= 0; index = arriving.next()) {
    if (taken[index] === 0 && identicalRows(keyColumns, rows[index]!, keyColumns, row))
      return index;
  }
  return -1;
}

function fetchSorted(
  snapshot: TableSnapshot,
  ids: readonly number[],
  columns: readonly number[],
): { readonly columns: readonly Vector[]; place(id: number): number } {
  const wanted = Float64Array.from(ids).sort();
  const batch = snapshot.fetch(wanted, columns);
  assert(batch.rowCount === ids.length, 'rows that a view remembers are stored in it');
  return {
    columns: batch.columns,
    place(id) {
      let low = 0;
      let high = wanted.length - 1;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (wanted[middle]! < id) low = middle + 1;
        else high = middle;
      }
      return batch.selection === undefined ? low : batch.selection[low]!;
    },
  };
}

/** How many of the rows have an id below `end`; rows stand in order of their ids. */
function countBelow(rowIds: Float64Array, batch: Batch, end: number): number {
  let low = 0;
  let high = batch.rowCount;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rowIds[batch.selection === undefined ? middle : batch.selection[middle]!]! < end)
      low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Whether the row with this id is among the first `count` of the batch. */
function stayed(batch: Batch, id: number, count: number): boolean {
  const at = countBelow(batch.rowIds!, { ...batch, rowCount: count }, id);
  return (
    at < count && batch.rowIds![batch.selection === undefined ? at : batch.selection[at]!] === id
  );
}
