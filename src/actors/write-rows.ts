import { DbError } from '../base/errors.ts';
import type { Batch } from '../columns/batch.ts';
import { datumAt } from '../columns/build.ts';
import { canonicalText } from '../columns/compare.ts';
import type { TableSnapshot, TableWrite } from '../columns/table-contract.ts';
import type { Datum } from '../columns/values.ts';
import { datumToText } from '../expressions/text-io.ts';
import type { TableEntry } from './catalog.ts';
import { newClaimOwner, type ClaimOwner } from './claims.ts';
import { TableRecovering } from './dead-table.ts';
import { assertNotAborted } from './deadline.ts';
import { DefinitionChanged, FellBehind } from './definition-changed.ts';
import { type CommitOutcome, type Engine } from './engine.ts';
import type { Operation } from './records.ts';
import { sessionClosed, type Session } from './session.ts';
import { OVERLAY_ROW_ID_BASE, type Overlay } from './overlay.ts';
import { tooLate, type Transaction } from './transaction.ts';

/**
 * Writes rows of a table, in the open transaction or as a commit of its own. `writesOf` decides what is written from what the
 * table holds at that moment: inside the commit turn, so that nothing comes between looking and writing. Rows and keys
 * that another transaction has claimed are waited for. `also` becomes part of a commit of its own. `rowCount`: how many rows are written at
 * most, where nobody asks what the commit cost: then it may be one with other writes of the table that wait when it does.
 */
export function writeRows(
  engine: Engine,
  session: Session,
  entry: TableEntry,
  writesOf: RowsToWrite,
  signal: AbortSignal | undefined,
  also: readonly Operation[] = NONE,
  rowCount?: number,
): Promise<Pick<CommitOutcome, 'position' | 'work'>> {
  return session.transaction === undefined
    ? commitRows(engine, session, entry, [writesOf], signal, also, rowCount)
    : writeInTransaction(engine, session, session.transaction, entry, writesOf, signal);
}

/** Decides what is written from what the table holds. `restsOn` is told of rows that stay as they are, where that is why something is not written. */
export type RowsToWrite = (
  snapshot: () => TableSnapshot,
  restsOn: (rowId: number) => void,
) => readonly TableWrite[];

/**
 * The same for pieces of one statement, each decided when those before it are staged: one commit, all or none. The table is
 * looked at and changed a piece at a time, so that others run in between.
 */
export async function writePieces(
  engine: Engine,
  session: Session,
  entry: TableEntry,
  pieces: readonly RowsToWrite[],
  signal: AbortSignal | undefined,
  also: readonly Operation[] = NONE,
  rowCount?: number,
): Promise<Pick<CommitOutcome, 'position' | 'work'>> {
  const { transaction } = session;
  if (transaction === undefined)
    return commitRows(engine, session, entry, pieces, signal, also, rowCount);
  const mark = transaction.mark();
  try {
    let outcome = { position: engine.visiblePosition, work: 0 };
    for (const piece of pieces) {
      outcome = await writeInTransaction(engine, session, transaction, entry, piece, signal);
      if (pieces.length > 1) await engine.pause();
    }
    return outcome;
  } catch (cause) {
    // The statement has written nothing.
    if (session.transaction === transaction) transaction.rollbackToMark(mark);
    throw cause;
  }
}

async function writeInTransaction(
  engine: Engine,
  session: Session,
  transaction: Transaction,
  entry: TableEntry,
  writesOf: RowsToWrite,
  signal: AbortSignal | undefined,
): Promise<Pick<CommitOutcome, 'position' | 'work'>> {
  if (transaction.readOnly) {
    throw new DbError('25006', 'cannot write in a read-only transaction', {
      hint: 'Begin without READ ONLY.',
    });
  }
  const relation = entry.definition.id;
  const { owner } = transaction;
  let hasSettled = false;
  for (let looks = 0; ; looks += 1) {
    if (session.catalog.byId(relation) !== entry)
      throw new DefinitionChanged(entry.definition.name);
    // What is on its way is not in the snapshot, yet comes before this transaction.
    const readsNewest = transaction.position === undefined && !transaction.isPrivate(relation);
    const isBehind = readsNewest && engine.isUnpublished(entry);
    const snapshot = transaction.snapshotOf(entry);
    let writes: readonly TableWrite[];
    /** Rows that others are changing: whether a key is free, or a row stays that this rests on, is known when they end. */
    const changing: number[] = [];
    let settles = false;
    try {
      const rests: number[] = [];
      writes = writesOf(
        () => snapshot,
        (rowId) => rests.push(rowId),
      );
      // Of a table that somebody else has whole nothing is known before that.
      if (
        !transaction.isPrivate(relation) &&
        engine.claims.holderOf(owner, relation, []) === undefined
      ) {
        const changed = changesOfOthers(engine, relation, transaction);
        if (transaction.position === undefined) changing.push(...rests.filter(changed));
        else transaction.goesBy(relation, rests);
        for (const taken of keysTaken(engine, transaction, entry, writes)) {
          if (changed(taken.rowId)) changing.push(taken.rowId);
          else if (!hasSettled && isLeaving(engine, entry, taken)) settles = true;
          else throw duplicateKey(entry, taken, engine.options.zone);
        }
      }
    } finally {
      snapshot.release();
    }
    const own = looks < LOOKS_BY_ROW ? claimsOf(entry, writes) : 'whole';
    const claims = own === 'whole' || changing.length === 0 ? own : own.concat(changing);
    // Whoever had them before he looked has seen the newest rows: nobody has changed them since.
    const isHeld = engine.claims.holds(owner, relation, claims);
    if (!isHeld || claims.length === 0) engine.claims.giveBack(owner, relation);
    if (
      !settles &&
      changing.length === 0 &&
      (isHeld || !isBehind) &&
      engine.claims.take(owner, relation, claims) === undefined
    ) {
      if (writes.length > 0) transaction.write(entry, writes, (data) => engine.privateTable(data));
      engine.claims.keep(owner, relation);
      return { position: engine.visiblePosition, work: 0 };
    }
    try {
      // What is waited for is claimed before it is looked at again: whoever comes meanwhile comes after.
      await session.untilClaimed(owner, relation, claims, signal);
      // What came before is seen by the next look, be it on its way since before it was waited.
      if (readsNewest || settles) await engine.untilPublished(entry, signal);
      hasSettled ||= settles;
    } catch (cause) {
      engine.claims.giveBack(owner, relation);
      throw cause;
    }
    if (transaction.doomed !== undefined) throw transaction.doomed;
  }
}

/**
 * Times a statement looks and finds other rows than it has claimed, because others keep making rows match; then it claims the table, which
 * then comes to rest. To wait in a long line for one row is one look.
 */
export const LOOKS_BY_ROW = 8;

/** A commit of its own: one promise where nobody holds a claim. `inLine`: who has claimed what it was blocked by, and how often it was. */
function commitRows(
  engine: Engine,
  session: Session,
  entry: TableEntry,
  pieces: readonly RowsToWrite[],
  signal: AbortSignal | undefined,
  also: readonly Operation[],
  rowCount: number | undefined,
  inLine?: { readonly owner: ClaimOwner; readonly looks: number },
): Promise<CommitOutcome> {
  // A load that goes on when its transaction has ended is no commit of its own.
  if (session.endsElsewhere) return Promise.reject(tooLate());
  if (session.closed) return Promise.reject(sessionClosed());
  const relation = entry.definition.id;
  /** Of the pieces so far: the next look is at all of them again. */
  let wanted: ReturnType<typeof claimsOf>[] = [];
  let sequences: readonly Operation[] = NONE;
  const rowsOf = (writesOf: RowsToWrite): readonly TableWrite[] => {
    let snapshot: TableSnapshot | undefined;
    try {
      const rests: number[] = [];
      const staged = (): TableSnapshot => (snapshot ??= entry.data.staged());
      const writes = writesOf(staged, (rowId) => rests.push(rowId));
      if (engine.claims.areOn(relation)) {
        let claims = claimsOf(entry, writes);
        const changed = changesOfOthers(engine, relation, undefined);
        if (changed !== NOBODY && claims !== 'whole') {
          const others = rests.concat(rowsFound(entry, writes, staged()));
          claims = claims.concat(others.filter(changed));
        }
        wanted.push(claims);
        if (engine.claims.holderOf(inLine?.owner, relation, claims) !== undefined) throw BLOCKED;
      }
      return writes;
    } finally {
      snapshot?.release();
    }
  };
  const prepare = (): Iterable<Operation> => {
    if (engine.state.catalog.byId(relation) !== entry)
      throw new DefinitionChanged(entry.definition.name);
    wanted = [];
    sequences = session.sequences.isWritten ? NONE : session.sequences.operations();
    const rest = also.length === 0 ? sequences : [...sequences, ...also];
    if (pieces.length > 1) return operationsOf(relation, pieces, rowsOf, rest);
    const writes = rowsOf(pieces[0]!);
    return writes.length === 0 ? rest : [{ op: 'rows', relation, writes }, ...rest];
  };
  const request = { tenant: session.identity.tenant, relations: [relation], prepare, rowCount };
  return engine.commit(request, signal).then(
    (outcome) => {
      if (sequences.length > 0) session.sequences.written(sequences);
      return outcome;
    },
    async (cause: unknown) => {
      if (cause !== BLOCKED) throw cause;
      // In line as a transaction is: among many who take turns it would else find the rows taken every time.
      const { owner, looks } = inLine ?? { owner: newClaimOwner(), looks: 0 };
      engine.claims.giveBack(owner, relation);
      const keys =
        looks === LOOKS_BY_ROW || wanted.includes('whole')
          ? 'whole'
          : (wanted as (number | string)[][]).flat();
      wanted = [];
      try {
        await session.untilClaimed(owner, relation, keys, signal);
        assertNotAborted(signal);
        const next = { owner, looks: looks + 1 };
        return await commitRows(engine, session, entry, pieces, signal, also, rowCount, next);
      } finally {
        if (inLine === undefined) engine.claims.release(owner);
      }
    },
  );
}

/** Piece after piece, each made when the one before it is staged. */
function* operationsOf(
  relation: number,
  pieces: readonly RowsToWrite[],
  rowsOf: (writesOf: RowsToWrite) => readonly TableWrite[],
  rest: readonly Operation[],
): Generator<Operation> {
  for (const piece of pieces) {
    const writes = rowsOf(piece);
    if (writes.length > 0) yield { op: 'rows', relation, writes };
  }
  yield* rest;
}

const NONE: readonly Operation[] = [];

/** Says from inside the turn: wait for a claim and come again. Never leaves this file. */
const BLOCKED = new DbError('55P03', 'the rows are claimed by another transaction');

/** Row ids and unique keys that the writes touch; TRUNCATE claims all. */
export function claimsOf(
  entry: TableEntry,
  writes: readonly TableWrite[],
): (number | string)[] | 'whole' {
  const claims: (number | string)[] = [];
  let rowCount = 0;
  for (const write of writes) {
    if (write.kind === 'insert' || write.kind === 'update') rowCount += write.rows.rowCount;
    switch (write.kind) {
      case 'truncate':
        return 'whole';
      case 'delete':
      case 'update':
        for (const id of write.rowIds) if (id < OVERLAY_ROW_ID_BASE) claims.push(id);
        break;
      case 'insert':
        break;
    }
    if (write.kind === 'insert' || write.kind === 'update') {
      for (const index of entry.definition.indexes) {
        if (!index.unique) continue;
        if (rowCount > KEYS_CLAIMED_MAX) return 'whole';
        for (let row = 0; row < write.rows.rowCount; row += 1) {
          const key = keyText(entry, index.columnIndexes, write.rows, row);
          if (key !== undefined) claims.push(`${index.name}:${key}`);
        }
      }
    }
  }
  return claims;
}

const KEYS_CLAIMED_MAX = 10_000;

/** undefined: a NULL is part of it, so that it equals no other key. */
function keyText(
  entry: TableEntry,
  columnIndexes: readonly number[],
  rows: Batch,
  row: number,
): string | undefined {
  const at = rows.selection === undefined ? row : rows.selection[row]!;
  const parts: string[] = [];
  for (const index of columnIndexes) {
    const datum = datumAt(rows.columns[index]!, at);
    if (datum === null) return undefined;
    parts.push(canonicalText(datum, entry.definition.columns[index]!.type.kind));
  }
  return parts.join('');
}

/** Whether another transaction has deleted a row, or given it other values, and not committed that. */
function changesOfOthers(
  engine: Engine,
  relation: number,
  own: Transaction | undefined,
): (rowId: number) => boolean {
  let overlays: Overlay[] | undefined;
  for (const transaction of engine.transactions) {
    // What is doomed is never committed, and may hold nothing any more.
    if (transaction === own || transaction.doomed !== undefined) continue;
    const overlay = transaction.overlayOf(relation);
    if (overlay?.hidesSome === true) (overlays ??= []).push(overlay);
  }
  return overlays === undefined
    ? NOBODY
    : (rowId) => rowId < OVERLAY_ROW_ID_BASE && overlays.some((each) => each.isHidden(rowId));
}

const NOBODY = (): boolean => false;

/** Whether a key is free once what is on its way is there. */
function isLeaving(engine: Engine, entry: TableEntry, { rowId, index, key }: TakenKey): boolean {
  if (rowId >= OVERLAY_ROW_ID_BASE || !engine.isUnpublished(entry)) return false;
  // What a commit of several steps takes away is staged bit by bit.
  if (engine.turn.steppingOn(entry.definition.id) !== undefined) return true;
  const staged = entry.data.staged();
  try {
    return staged.lookup(index.name, key).length === 0;
  } finally {
    staged.release();
  }
}

/** Rows that have a key which the writes give another row. */
function rowsFound(
  entry: TableEntry,
  writes: readonly TableWrite[],
  snapshot: TableSnapshot,
): number[] {
  const rows: number[] = [];
  const gone = goneBy(writes);
  for (const { name, columnIndexes, unique } of entry.definition.indexes) {
    if (!unique) continue;
    for (const write of writes) {
      if (write.kind !== 'insert' && write.kind !== 'update') continue;
      const { rowCount, columns, selection } = write.rows;
      const keys = columnIndexes.map((column) => columns[column]!);
      for (const rowId of snapshot.findUnique(name, keys, rowCount, selection))
        if (rowId >= 0 && !gone.has(rowId)) rows.push(rowId);
    }
  }
  return rows;
}

/** Rows that leave their place by the writes themselves. */
function goneBy(writes: readonly TableWrite[]): ReadonlySet<number> {
  const gone = new Set<number>();
  for (const write of writes)
    if (write.kind === 'delete' || write.kind === 'update')
      for (const id of write.rowIds) gone.add(id);
  return gone;
}

/** A key that the writes give a row, and the row that has it. */
type TakenKey = {
  readonly rowId: number;
  readonly index: TableEntry['definition']['indexes'][number];
  readonly key: readonly Datum[];
};

/**
 * The keys that other rows have, as far as this transaction sees; 23505 where one is given twice. That is told at the statement, as PostgreSQL has it; the
 * commit turn tests again.
 */
function keysTaken(
  engine: Engine,
  transaction: Transaction,
  entry: TableEntry,
  writes: readonly TableWrite[],
): readonly TakenKey[] {
  const unique = entry.definition.indexes.filter((index) => index.unique);
  if (unique.length === 0) return NO_KEYS;
  const gone = goneBy(writes);
  const truncated = writes.some(({ kind }) => kind === 'truncate');
  const takenKeys: TakenKey[] = [];
  const newest = entry.data.snapshot();
  const snapshot = transaction.overlayOf(entry.definition.id)?.over(newest) ?? newest;
  try {
    for (const index of unique) {
      const seen = new Set<string>();
      for (const write of writes) {
        if (write.kind !== 'insert' && write.kind !== 'update') continue;
        const { rowCount, columns, selection } = write.rows;
        const keys = index.columnIndexes.map((column) => columns[column]!);
        const found = truncated
          ? undefined
          : snapshot.findUnique(index.name, keys, rowCount, selection);
        for (let row = 0; row < rowCount; row += 1) {
          const text = keyText(entry, index.columnIndexes, write.rows, row);
          if (text === undefined) continue;
          const rowId = found === undefined ? -1 : found[row]!;
          const isTwice = seen.has(text);
          if (isTwice || (rowId >= 0 && !gone.has(rowId))) {
            const at = selection === undefined ? row : selection[row]!;
            const taken = { rowId, index, key: keys.map((column) => datumAt(column, at)) };
            if (isTwice) throw duplicateKey(entry, taken, engine.options.zone);
            takenKeys.push(taken);
          }
          seen.add(text);
        }
      }
    }
  } finally {
    snapshot.release();
  }
  return takenKeys;
}

const NO_KEYS: readonly never[] = [];

function duplicateKey(entry: TableEntry, { index, key }: TakenKey, zone: string): DbError {
  const names = index.columnIndexes.map((column) => entry.definition.columns[column]!);
  const values = key.map((datum, position) =>
    datum === null ? 'null' : datumToText(datum, names[position]!.type, { zone }),
  );
  return new DbError('23505', `duplicate key value violates unique constraint "${index.name}"`, {
    table: entry.definition.name,
    constraint: index.name,
    detail: `Key (${names.map(({ name }) => name).join(', ')})=(${values.join(', ')}) already exists.`,
  });
}

/**
 * Runs again after a definition has changed, or a table was made anew: a single statement does not fail for that. Throws whatever
 * else went wrong.
 */
export async function afterRedefinition<Value>(
  cause: unknown,
  attempt: number,
  again: (attempt: number) => Promise<Value>,
  signal: AbortSignal | undefined,
): Promise<Value> {
  if (attempt === DEFINITION_ATTEMPTS_MAX) throw cause;
  if (cause instanceof TableRecovering) await cause.untilServed(signal);
  else if (!isToBeMadeAnew(cause, attempt)) throw cause;
  return again(attempt + 1);
}

/** Whether what failed was made of what is not there any more, and may be made of what is. */
export function isToBeMadeAnew(cause: unknown, attempt: number): boolean {
  if (cause instanceof FellBehind) return attempt < FILL_ATTEMPTS_MAX;
  return cause instanceof DefinitionChanged && attempt < DEFINITION_ATTEMPTS_MAX;
}

const DEFINITION_ATTEMPTS_MAX = 20;
/** Times a view is filled from the beginning, each of which reads all that its tables hold. */
const FILL_ATTEMPTS_MAX = 5;
