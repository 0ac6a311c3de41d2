import { DbError } from '../base/errors.ts';
import { BATCH_ROW_COUNT_MAX, type Batch } from '../columns/batch.ts';
import { sliceBatch, vectorFromData } from '../columns/build.ts';
import { compareDatums } from '../columns/compare.ts';
import type { IndexSchema, TableScan, TableSnapshot, ZoneTest } from '../columns/table-contract.ts';
import {
  FLOAT8,
  hasDate,
  INT8,
  isIntegerType,
  isTextType,
  type SqlType,
} from '../columns/types.ts';
import { Decimal, type Datum } from '../columns/values.ts';
import type { Vector } from '../columns/vector.ts';
import { resolveOperator } from '../expressions/catalog.ts';
import { compileFilter, type CompiledFilter } from '../expressions/compile.ts';
import { hasFixedOffset } from '../expressions/datetime-operators.ts';
import { isWidening } from '../expressions/coercion.ts';
import type { ColumnExpression, Expression } from '../expressions/expression.ts';
import { evaluateConstant, isSettled } from '../expressions/fold.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import { listedIn } from '../expressions/interpret.ts';
import type { OutputColumn, ScanNode, SeriesNode, ValuesNode } from '../plan/logical.ts';
import { EVERYTHING, type Demand } from './demand.ts';
import type { Budget, Operator, Step } from './operator.ts';
import { EMPTY_BATCH } from './row-operators.ts';

/** What a segment that zone maps rule out still costs. */
const LOOKUP_WORK = 16;

/** Text that a step works on, beyond which batches are cut: a few milliseconds of a regular expression. */
const PIECE_BYTES = 32 * 1024;

/** Bytes of a batch's texts, about: those that a selection leaves out are among them. */
function textBytesOf({ columns, rowCount }: Batch): number {
  let bytes = 0;
  for (const column of columns) {
    if (!isTextType(column.type)) continue;
    if (column.rep === 'bytes') bytes += column.offsets[rowCount]! - column.offsets[0]!;
    else if (column.rep === 'dictionary')
      bytes += (column.dictionary.memoryBytes / Math.max(1, column.dictionary.size)) * rowCount;
  }
  return bytes;
}

/** `inPieces`: what is made of texts costs more than to read them. */
type ScanDemand = Pick<Demand, 'ordered' | 'marked'> & { readonly inPieces?: boolean };

/** Rows of a relation, filtered on the way: by an index where an equality names all of its key, by zone maps, row by row. */
export class ScanOperator implements Operator {
  readonly id: number;
  readonly columns: readonly OutputColumn[];
  batch: Batch = EMPTY_BATCH;
  readonly #node: ScanNode;
  readonly #snapshot: TableSnapshot;
  readonly #context: EvaluationContext;
  readonly #demand: ScanDemand;
  readonly #filter: CompiledFilter | undefined;
  #scan: TableScan | undefined;
  /** A batch of long texts that is given piece by piece, and where the next piece begins. */
  #whole: Batch | undefined;
  #pieceAt = 0;
  #pieceRows = 0;
  #hasGivenPiece = false;
  #search: KeySearch | undefined;
  #tests: readonly ZoneTest[] = [];
  #found: Float64Array | undefined;
  #foundAt = 0;
  #opened = false;
  #charged = 0;

  constructor(
    node: ScanNode,
    snapshot: TableSnapshot,
    context: EvaluationContext,
    demand: ScanDemand = EVERYTHING,
  ) {
    this.id = node.id;
    this.columns = node.columns;
    this.#node = node;
    this.#snapshot = snapshot;
    this.#context = context;
    this.#demand = demand;
    this.#filter = node.filter === undefined ? undefined : compileFilter(node.filter);
  }

  next(budget: Budget): Step {
    if (!this.#opened) this.#open();
    if (this.#search !== undefined) {
      const found = this.#search.next(budget);
      if (found === 'more') return found;
      this.#search = undefined;
      if (found === undefined) this.#openScan();
      else this.#found = found;
    }
    if (this.#hasGivenPiece) {
      // What was made of it has taken its time: the next one has a step of its own.
      this.#hasGivenPiece = false;
      return 'more';
    }
    for (;;) {
      const batch = this.#next();
      if (this.#scan !== undefined) {
        budget.charge(this.#scan.rowsRead - this.#charged);
        this.#charged = this.#scan.rowsRead;
      }
      if (batch === undefined) return 'done';
      const kept = this.#filter === undefined ? batch : this.#filter.select(batch, this.#context);
      if (kept !== undefined && kept.rowCount > 0) {
        this.batch = this.#node.rowIdColumn ? withRowIdColumn(kept) : kept;
        return 'batch';
      }
      if (budget.exhausted || this.#hasGivenPiece) {
        this.#hasGivenPiece = false;
        return 'more';
      }
    }
  }

  #next(): Batch | undefined {
    if (this.#whole === undefined) {
      const batch = this.#found === undefined ? this.#scan!.next() : this.#fetched();
      if (batch === undefined || this.#demand.inPieces !== true) return batch;
      const bytes = textBytesOf(batch);
      if (bytes <= PIECE_BYTES) return batch;
      this.#whole = batch;
      this.#pieceAt = 0;
      this.#pieceRows = Math.max(1, Math.floor((batch.rowCount * PIECE_BYTES) / bytes));
    }
    const { rowCount } = this.#whole;
    const end = Math.min(rowCount, this.#pieceAt + this.#pieceRows);
    const piece = sliceBatch(this.#whole, this.#pieceAt, end);
    this.#pieceAt = end;
    if (end === rowCount) this.#whole = undefined;
    this.#hasGivenPiece = true;
    return piece;
  }

  /** Rows of the relation looked at so far, those the filter refused included. */
  get rowsRead(): number {
    return this.#charged + this.#foundAt;
  }

  close(): void {
    this.#scan = undefined;
    this.#search = undefined;
    this.#found = new Float64Array(0);
    this.#opened = true;
  }

  #open(): void {
    this.#opened = true;
    const { filter, columnIndexes } = this.#node;
    let keys: IndexKeys | undefined;
    if (filter !== undefined) {
      this.#tests = zoneTestsOf(filter, columnIndexes, this.#context);
      keys = keysByIndex(
        this.#snapshot,
        this.#tests,
        rowListsOf(filter, columnIndexes, this.#context),
      );
    }
    if (keys === undefined) this.#openScan();
    else this.#search = new KeySearch(this.#snapshot, keys);
  }

  #openScan(): void {
    this.#scan = this.#snapshot.scan({
      columnIndexes: this.#node.columnIndexes,
      ordered: this.#demand.ordered,
      withRowIds:
        this.#node.withRowIds || this.#node.rowIdColumn || (this.#demand.marked && 'lent'),
      prune: this.#tests,
    });
  }

  #fetched(): Batch | undefined {
    const ids = this.#found!;
    if (this.#foundAt >= ids.length) return undefined;
    const piece = ids.subarray(this.#foundAt, this.#foundAt + BATCH_ROW_COUNT_MAX);
    this.#foundAt += piece.length;
    return this.#snapshot.fetch(piece, this.#node.columnIndexes);
  }
}

/** Looks for the rows under many keys of an index, some at a time. */
class KeySearch {
  readonly #snapshot: TableSnapshot;
  readonly #index: IndexSchema;
  readonly #keys: readonly (readonly Datum[])[];
  readonly #ids = new Set<number>();
  #at = 0;

  constructor(snapshot: TableSnapshot, { index, keys }: IndexKeys) {
    this.#snapshot = snapshot;
    this.#index = index;
    this.#keys = keys;
  }

  /** 'more': the budget is used up; row ids, ascending; undefined where they are so many that a scan is faster. */
  next(budget: Budget): 'more' | Float64Array | undefined {
    const keys = this.#keys;
    while (this.#at < keys.length) {
      const end = Math.min(keys.length, this.#at + KEYS_A_LOOK);
      this.#look(keys.slice(this.#at, end));
      // The first is in LOOKUP_WORK.
      budget.charge(end - this.#at - (this.#at === 0 ? 1 : 0));
      this.#at = end;
      if (!isWorthALookup(this.#index, this.#ids.size, this.#snapshot)) return undefined;
      if (budget.exhausted && end < keys.length) return 'more';
    }
    budget.charge(LOOKUP_WORK + this.#ids.size);
    return Float64Array.from(this.#ids).sort();
  }

  #look(keys: readonly (readonly Datum[])[]): void {
    const { name, unique, columnIndexes } = this.#index;
    if (!unique || keys.length === 1) {
      for (const key of keys) for (const id of this.#snapshot.lookup(name, key)) this.#ids.add(id);
      return;
    }
    const columns = columnIndexes.map((column, position) =>
      keyColumn(
        this.#snapshot.schema.columns[column]!.type,
        keys.map((key) => key[position]!),
      ),
    );
    for (const id of this.#snapshot.findUnique(name, columns, keys.length))
      if (id >= 0) this.#ids.add(id);
  }
}

/** Keys that are looked for between two looks at the budget. */
const KEYS_A_LOOK = 256;

/** Not as rows of the column are kept: an integer may be too large for that. */
function keyColumn(type: SqlType, values: Datum[]): Vector {
  return isIntegerType(type) && values.every((value) => typeof value === 'number')
    ? { rep: 'number', type, values: Float64Array.from(values), factor: 1, base: 0, scale: 0 }
    : { rep: 'object', type, values };
}

/** How many rows a scan finds by an index, at most, without looking for them; undefined where it does not use one, or it is not known. */
export function rowCountByIndex(
  snapshot: TableSnapshot,
  tests: readonly ZoneTest[],
): number | undefined {
  const found = keysByIndex(snapshot, tests);
  if (found === undefined || snapshot.rowCountMaxOf === undefined) return undefined;
  const { index, keys } = found;
  let count = 0;
  for (const key of keys) count += snapshot.rowCountMaxOf(index.name, key);
  return isWorthALookup(index, count, snapshot) ? count : undefined;
}

type IndexKeys = {
  readonly index: IndexSchema;
  readonly keys: readonly (readonly Datum[])[];
};

/** Rows of several columns of a table, one of which a row has to equal there. */
type RowList = {
  readonly columns: readonly number[];
  readonly rows: readonly (readonly Datum[])[];
};

/** The index whose key the filter fixes, and the keys. */
function keysByIndex(
  { schema, rowCount }: TableSnapshot,
  tests: readonly ZoneTest[],
  lists: readonly RowList[] = [],
): IndexKeys | undefined {
  const equal = new Map<number, readonly Datum[]>();
  for (const test of tests) {
    if (test.op === '=' && !equal.has(test.column)) equal.set(test.column, [test.value]);
    if (test.op === 'in' && !equal.has(test.column)) equal.set(test.column, test.values);
  }
  if (equal.size === 0 && lists.length === 0) return undefined;
  // Of many keys each is taken to have a row.
  const keyCountMax = Math.min(LOOKUP_KEYS_MAX, Math.max(LOOKUP_KEYS_MIN, rowCount / 8));
  for (const index of schema.indexes) {
    const { columnIndexes } = index;
    for (const list of lists) {
      if (!columnIndexes.every((column) => list.columns.includes(column))) continue;
      const places = columnIndexes.map((column) => list.columns.indexOf(column));
      if (list.rows.length <= keyCountMax)
        return { index, keys: list.rows.map((row) => places.map((place) => row[place]!)) };
    }
    if (!columnIndexes.every((column) => equal.has(column))) continue;
    const values = columnIndexes.map((column) => equal.get(column)!);
    const keyCount = values.reduce((count, list) => count * list.length, 1);
    if (keyCount > keyCountMax) continue;
    let keys: Datum[][] = [[]];
    for (const list of values) keys = keys.flatMap((key) => list.map((datum) => [...key, datum]));
    return { index, keys };
  }
  return undefined;
}

/** Many rows under one key are read faster in the table's own order. */
function isWorthALookup(
  { unique }: IndexSchema,
  count: number,
  { rowCount }: TableSnapshot,
): boolean {
  return unique || count <= rowCount / 8 || count <= 1024;
}

/** So many keys are looked for in any table. */
const LOOKUP_KEYS_MIN = 1000;
const LOOKUP_KEYS_MAX = 65_536;

/** Row ids as a column behind the others. */
function withRowIdColumn(batch: Batch): Batch {
  return {
    ...batch,
    columns: [
      ...batch.columns,
      { rep: 'number', type: FLOAT8, values: batch.rowIds!, factor: 1, base: 0, scale: 0 },
    ],
  };
}

/** The same where they are all there is to the filter: a row passes if it passes them. */
export function equivalentZoneTests(
  filter: Expression | undefined,
  columnIndexes: readonly number[],
  context: EvaluationContext,
): ZoneTest[] | undefined {
  if (filter === undefined) return [];
  const conditions = filter.kind === 'and' ? filter.args : [filter];
  const tests: ZoneTest[] = [];
  for (const condition of conditions) {
    // That each column has a value out of a list of rows is not yet that the row is in it.
    const own =
      condition.kind === 'and'
        ? equivalentZoneTests(condition, columnIndexes, context)
        : condition.kind === 'inList' && condition.args.length > 1
          ? undefined
          : zoneTestsOf(condition, columnIndexes, context);
    if (own === undefined || own.length === 0) return undefined;
    tests.push(...own);
  }
  return tests;
}

/** Necessary conditions on single columns, with their constants evaluated; columns are the table's. */
export function zoneTestsOf(
  filter: Expression,
  columnIndexes: readonly number[],
  context: EvaluationContext,
): ZoneTest[] {
  const tests: ZoneTest[] = [];
  const visit = (condition: Expression): void => {
    if (condition.kind === 'and') {
      condition.args.forEach(visit);
      return;
    }
    if (
      (condition.kind === 'isNull' || condition.kind === 'isNotNull') &&
      condition.arg.kind === 'column'
    ) {
      tests.push({ column: columnIndexes[condition.arg.index]!, op: condition.kind });
      return;
    }
    if (condition.kind === 'inList') {
      const listed = condition.negated ? undefined : listedIn(condition, context);
      for (const [place, arg] of condition.args.entries()) {
        const target = widened(arg);
        if (listed === undefined || target.kind !== 'column') continue;
        const values = listed.sorted(place);
        tests.push({ column: columnIndexes[target.index]!, op: 'in', values });
      }
      return;
    }
    if (condition.kind !== 'call' || condition.args.length !== 2) return;
    const name = condition.fn.slice(0, condition.fn.indexOf('('));
    if (!Object.hasOwn(FLIPPED, name)) return;
    const [left, right] = condition.args as [Expression, Expression];
    const test = (columnSide: Expression, other: Expression, op: string): void => {
      const wall = wallOf(columnSide);
      const plain = widened(columnSide);
      const target = plain.kind === 'column' ? plain : wall;
      if (
        target === undefined ||
        !comparable(columnSide.type.kind, other.type.kind) ||
        !isSettled(other)
      )
        return;
      if (wall !== undefined && !hasFixedOffset(context.zone)) return;
      let value: Datum;
      try {
        const asked: Expression =
          wall === undefined
            ? other
            : { kind: 'cast', arg: other, type: wall.type, explicit: true };
        value = evaluateConstant(asked, context);
      } catch {
        // The row test will tell, if there are rows.
        return;
      }
      if (value === null) return;
      tests.push({ column: columnIndexes[target.index]!, op: op as '=', value });
    };
    test(left, right, name);
    test(right, left, FLIPPED[name]!);
  };
  visit(filter);
  return tests;
}

/** The lists of rows that a row has to be in, by columns of the table. */
function rowListsOf(
  filter: Expression,
  columnIndexes: readonly number[],
  context: EvaluationContext,
): RowList[] {
  if (filter.kind === 'and')
    return filter.args.flatMap((arg) => rowListsOf(arg, columnIndexes, context));
  if (filter.kind !== 'inList' || filter.negated || filter.args.length === 1) return [];
  const columns = filter.args.map(widened);
  const listed = listedIn(filter, context);
  return listed === undefined || columns.some(({ kind }) => kind !== 'column')
    ? []
    : [
        {
          columns: columns.map((each) => columnIndexes[(each as ColumnExpression).index]!),
          rows: listed.rows,
        },
      ];
}

/** What is compared as a larger integer, or as text, is compared as what it is. */
function widened(side: Expression): Expression {
  return side.kind === 'cast' && isWidening(side) ? side.arg : side;
}

/**
 * A timestamp that is compared with an instant, as `ts >= now()` does: where the session's clock is never put forward or back, the order of
 * walls is that of instants.
 */
export function wallOf(side: Expression): Extract<Expression, { kind: 'column' }> | undefined {
  return side.kind === 'cast' &&
    side.type.kind === 'timestamptz' &&
    side.arg.kind === 'column' &&
    side.arg.type.kind === 'timestamp'
    ? side.arg
    : undefined;
}

const FLIPPED: Readonly<Record<string, string>> = {
  '=': '=',
  '<': '>',
  '<=': '>=',
  '>': '<',
  '>=': '<=',
};

/** Types whose data compare directly; a timestamp against a date, say, goes through the row test alone. */
function comparable(a: string, b: string): boolean {
  return a === b || (INTEGERS.has(a) && INTEGERS.has(b)) || (TEXTS.has(a) && TEXTS.has(b));
}

const INTEGERS = new Set(['int2', 'int4', 'int8']);
const TEXTS = new Set(['text', 'varchar']);

/** Rows of expressions; one row without columns is SELECT without FROM. */
export class ValuesOperator implements Operator {
  readonly id: number;
  readonly columns: readonly OutputColumn[];
  batch: Batch = EMPTY_BATCH;
  readonly #node: ValuesNode;
  readonly #context: EvaluationContext;
  #at = 0;

  constructor(node: ValuesNode, context: EvaluationContext) {
    this.id = node.id;
    this.columns = node.columns;
    this.#node = node;
    this.#context = context;
  }

  next(budget: Budget): Step {
    const { rows } = this.#node;
    if (this.#at >= rows.length) return 'done';
    const piece = rows.slice(this.#at, this.#at + BATCH_ROW_COUNT_MAX);
    this.#at += piece.length;
    budget.charge(piece.length * Math.max(1, this.columns.length));
    const columns = this.columns.map(({ type }, column) =>
      vectorFromData(
        type,
        piece.map((row) => {
          const expression = row[column]!;
          return expression.kind === 'constant'
            ? expression.value
            : evaluateConstant(expression, this.#context);
        }),
      ),
    );
    this.batch = { rowCount: piece.length, columns };
    return 'batch';
  }

  close(): void {
    this.#at = this.#node.rows.length;
  }
}

/** generate_series: numbers or times from start to stop. */
export class SeriesOperator implements Operator {
  readonly id: number;
  readonly columns: readonly OutputColumn[];
  batch: Batch = EMPTY_BATCH;
  readonly #node: SeriesNode;
  readonly #context: EvaluationContext;
  #next: Datum | undefined;
  #stop: Datum = null;
  #step: Datum = null;
  #ascending = true;
  #count = 0;
  /** Values of the last batch. */
  #taken = 0;
  #done = false;

  constructor(node: SeriesNode, context: EvaluationContext) {
    this.id = node.id;
    this.columns = node.columns;
    this.#node = node;
    this.#context = context;
  }

  next(budget: Budget): Step {
    if (this.#done) return 'done';
    if (this.#next === undefined) this.#begin();
    if (this.#done) return 'done';
    const { type } = this.columns[0]!;
    const column = this.#integers(type) ?? vectorFromData(type, this.#data(type));
    const rowCount = this.#taken;
    const before = this.#count;
    this.#count += rowCount;
    if (this.#count > SERIES_ROWS_MAX)
      throw new DbError('54000', `generate_series gives more than ${SERIES_ROWS_MAX} rows`, {
        hint: 'Use a larger step.',
      });
    if (rowCount === 0) return 'done';
    budget.charge(rowCount);
    const columns = [column];
    if (this.#node.ordinality) columns.push(ascending(before + 1, 1, rowCount, INT8));
    this.batch = { rowCount, columns };
    return 'batch';
  }

  /** The next values where they are numbers that add up exactly. */
  #integers(type: SqlType): Vector | undefined {
    const [first, stop, step] = [this.#next, this.#stop, this.#step];
    if (!isIntegerType(type)) return undefined;
    if (typeof first !== 'number' || typeof stop !== 'number' || typeof step !== 'number')
      return undefined;
    if (Math.abs(stop - first) > Number.MAX_SAFE_INTEGER) return undefined;
    const left = Math.max(0, Math.floor((stop - first) / step) + 1);
    const rowCount = Math.min(left, BATCH_ROW_COUNT_MAX);
    this.#taken = rowCount;
    this.#next = first + rowCount * step;
    if (rowCount === left) this.#done = true;
    return ascending(first, step, rowCount, type);
  }

  #data(type: SqlType): Datum[] {
    const data: Datum[] = [];
    const plus = resolveOperator(
      '+',
      { kind: 'parameter', index: 0, type },
      { kind: 'parameter', index: 1, type: this.#node.step?.type ?? type },
    );
    while (!this.#done && data.length < BATCH_ROW_COUNT_MAX) {
      const value: Datum = this.#next!;
      const order = value === null ? 1 : compareDatums(value, this.#stop!, type.kind);
      if (value === null || (this.#ascending ? order > 0 : order < 0)) {
        this.#done = true;
        break;
      }
      data.push(value);
      try {
        this.#next = evaluateConstant(plus, { ...this.#context, parameters: [value, this.#step] });
      } catch (cause) {
        // The last integer there is: the series ends with it.
        if (!(cause instanceof DbError && cause.code === '22003' && isIntegerType(type)))
          throw cause;
        this.#done = true;
      }
    }
    this.#taken = data.length;
    return data;
  }

  close(): void {
    this.#done = true;
  }

  #begin(): void {
    const { start, stop, step } = this.#node;
    this.#next = evaluateConstant(start, this.#context);
    this.#stop = evaluateConstant(stop, this.#context);
    this.#step = step === undefined ? 1 : evaluateConstant(step, this.#context);
    if (this.#next === null || this.#stop === null || this.#step === null) {
      this.#done = true;
      return;
    }
    for (const [name, value] of [
      ['start value', this.#next],
      ['stop value', this.#stop],
      ['step size', this.#step],
    ] as const) {
      const special = value instanceof Decimal ? value.special : undefined;
      if (
        special !== undefined ||
        (typeof value === 'number' && !Number.isFinite(value) && !hasDate(this.columns[0]!.type))
      )
        throw new DbError(
          '22023',
          `${name} cannot be ${special === 'NaN' || Number.isNaN(value) ? 'NaN' : 'infinity'}`,
        );
    }
    const kind = step?.type.kind ?? 'int4';
    const zero =
      kind === 'interval'
        ? undefined
        : evaluateConstant(
            resolveOperator(
              '-',
              { kind: 'parameter', index: 0, type: { kind } as OutputColumn['type'] },
              { kind: 'parameter', index: 0, type: { kind } as OutputColumn['type'] },
            ),
            { ...this.#context, parameters: [this.#step] },
          );
    if (zero === undefined) {
      const { months, days, micros } = this.#step as {
        months: number;
        days: number;
        micros: number;
      };
      const length = months * 30 + days + micros / 86_400_000_000;
      if (length === 0) throw new DbError('22023', 'step size cannot equal zero');
      this.#ascending = length > 0;
      return;
    }
    const order = compareDatums(this.#step, zero, kind);
    if (order === 0) throw new DbError('22023', 'step size cannot equal zero');
    this.#ascending = order > 0;
    if (step === undefined && this.columns[0]!.type.kind === 'numeric')
      this.#step = evaluateConstant(
        {
          kind: 'cast',
          arg: { kind: 'constant', type: { kind: 'int4' }, value: 1 },
          type: { kind: 'numeric' },
          explicit: true,
        },
        this.#context,
      );
  }
}

const SERIES_ROWS_MAX = 100_000_000;

/** `first`, `first + step`, … */
function ascending(first: number, step: number, rowCount: number, type: SqlType): Vector {
  const values = type.kind === 'int4' ? new Int32Array(rowCount) : new Float64Array(rowCount);
  for (let row = 0; row < rowCount; row += 1) values[row] = first + row * step;
  return { rep: 'number', type, values, factor: 1, base: 0, scale: 0 };
}
