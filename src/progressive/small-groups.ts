import { MemoryLease } from '../base/memory-lease.ts';
import type { Batch } from '../columns/batch.ts';
import { denseBatch } from '../columns/build.ts';
import { datumAt } from '../columns/cells.ts';
import type { RareRows, TableSample } from '../columns/table-contract.ts';
import type { Datum } from '../columns/values.ts';
import type { AggregateOperator } from '../operators/aggregate.ts';
import { buildOperator } from '../operators/build.ts';
import type { ExecutionEnvironment } from '../operators/environment.ts';
import type { Budget, Operator } from '../operators/operator.ts';
import { rowCountByIndex, zoneTestsOf } from '../operators/sources.ts';
import type { ScanNode } from '../plan/logical.ts';
import { SampleSource } from './sample-source.ts';
import { isOfOne, sourceOf, type SampledShape } from './shape.ts';

/**
 * Groups of few rows, of which a sample says little: all their rows are read before the first round, and their values are exact from the
 * first look on. Two runs of the same operators therefore, this one over those rows alone; the other one goes on as if there were none.
 */
export class SmallGroups {
  readonly #keyCount: number;
  /** By each key that may be one: the first that has small groups serves. */
  readonly #sources: Rows[];
  readonly #lease: MemoryLease;
  /** Their keys and values. */
  readonly #found: Batch[] = [];
  /** Where a group of the main aggregation is in them. */
  readonly #placeOf = new Map<number, { readonly batch: Batch; readonly row: number }>();

  private constructor(keyCount: number, sources: Rows[], lease: MemoryLease) {
    this.#keyCount = keyCount;
    this.#sources = sources;
    this.#lease = lease;
  }

  /** Undefined where rows are not grouped by a column of the relation that is sampled, or others have to be read for it once more. */
  static of(
    { aggregate, driving }: SampledShape,
    sample: TableSample,
    environment: ExecutionEnvironment,
  ): SmallGroups | undefined {
    if (!isOfOne(aggregate.input, driving)) return undefined;
    const columns = aggregate.keys.flatMap((key) =>
      key.kind === 'column' ? (sourceOf(aggregate.input, key.index) ?? []) : [],
    );
    if (columns.length === 0) return undefined;
    const sources = columns.map(
      (column) =>
        new Rows(sample.rareRows(driving.columnIndexes[column]!), driving, environment, (stands) =>
          buildOperator(aggregate, { ...environment, stands }),
        ),
    );
    return new SmallGroups(aggregate.keys.length, sources, new MemoryLease(environment.memory));
  }

  /** True: they are known, or there are none. */
  step(budget: Budget, main: AggregateOperator): boolean {
    for (;;) {
      const [source] = this.#sources;
      if (source === undefined) return true;
      const outcome = source.step(budget, (batch) => {
        this.#lease.take(batch.rowCount * batch.columns.length * BYTES_A_VALUE);
        this.#found.push(denseBatch(batch));
      });
      if (outcome === 'more') return false;
      if (outcome === 'done') break;
      this.#sources.shift();
    }
    for (const batch of this.#found) {
      const groups = main.intern(batch.columns.slice(0, this.#keyCount), batch.rowCount);
      groups.forEach((group, row) => this.#placeOf.set(group, { batch, row }));
      budget.charge(batch.rowCount * batch.columns.length);
    }
    return true;
  }

  get groups(): Iterable<number> {
    return this.#placeOf.keys();
  }

  has(group: number): boolean {
    return this.#placeOf.has(group);
  }

  valueOf(call: number, group: number): Datum {
    const { batch, row } = this.#placeOf.get(group)!;
    return datumAt(batch.columns[this.#keyCount + call]!, row);
  }

  close(): void {
    for (const source of this.#sources) source.close();
    this.#lease.close();
  }
}

/** What a value of a column is taken for, its place in the map included. */
const BYTES_A_VALUE = 48;

/** A filter that few rows pass by an index is answered as the plain query is. */
const INDEXED_ROWS_MAX = 131_072;

/**
 * A filter that names values few rows have: those rows are read, and the plain operators have the answer, no sample being needed.
 */
export class SelectedRows {
  readonly #source: Rows | undefined;
  #output: Operator | undefined;

  private constructor(source: Rows | undefined, output: Operator | undefined) {
    this.#source = source;
    this.#output = output;
  }

  static of(
    { driving, plan }: SampledShape,
    sample: TableSample,
    environment: ExecutionEnvironment,
  ): SelectedRows | undefined {
    if (driving.filter === undefined) return undefined;
    const tests = zoneTestsOf(driving.filter, driving.columnIndexes, environment.context);
    const indexed = rowCountByIndex(environment.snapshotOf(driving.relation), tests) ?? Infinity;
    if (indexed <= INDEXED_ROWS_MAX)
      return new SelectedRows(undefined, buildOperator(plan, environment));
    for (const test of tests) {
      if (test.op !== '=' && test.op !== 'in') continue;
      const values = test.op === 'in' ? test.values : [test.value];
      if (values.some((value) => typeof value !== 'string' && typeof value !== 'number')) continue;
      return new SelectedRows(
        new Rows(sample.rareRows(test.column, values), driving, environment, (stands) =>
          buildOperator(plan, { ...environment, stands }),
        ),
        undefined,
      );
    }
    return undefined;
  }

  /** 'none': they are too many, or it is not known. Else `output` has the answer. */
  step(budget: Budget): 'more' | 'some' | 'none' {
    if (this.#output !== undefined) return 'some';
    const found = this.#source!.prepare(budget);
    if (found === 'some') this.#output = this.#source!.operator;
    return found;
  }

  get output(): Operator | undefined {
    return this.#output;
  }

  close(): void {
    this.#output?.close();
  }
}

/** Rows of rare values, put through a plan once it is known that there are some. */
class Rows {
  readonly #rows: RareRows;
  readonly #driving: ScanNode;
  readonly #environment: ExecutionEnvironment;
  readonly #build: (stands: ReadonlyMap<number, Operator>) => Operator;
  #charged = 0;
  #operator: Operator | undefined;
  #isNone = false;

  constructor(
    rows: RareRows,
    driving: ScanNode,
    environment: ExecutionEnvironment,
    build: (stands: ReadonlyMap<number, Operator>) => Operator,
  ) {
    this.#rows = rows;
    this.#driving = driving;
    this.#environment = environment;
    this.#build = build;
  }

  prepare(budget: Budget): 'more' | 'some' | 'none' {
    if (this.#isNone) return 'none';
    while (this.#operator === undefined) {
      const found = this.#rows.prepare();
      budget.charge(this.#rows.rowsRead - this.#charged + 1);
      this.#charged = this.#rows.rowsRead;
      if (found === 'none') {
        this.#isNone = true;
        return 'none';
      }
      if (found === 'some') {
        const source = new SampleSource(this.#driving, this.#rows, this.#environment.context);
        this.#operator = this.#build(new Map([[this.#driving.id, source]]));
      } else if (budget.exhausted) return 'more';
    }
    return 'some';
  }

  get operator(): Operator {
    return this.#operator!;
  }

  step(budget: Budget, take: (batch: Batch) => void): 'more' | 'done' | 'none' {
    const found = this.prepare(budget);
    if (found !== 'some') return found;
    for (;;) {
      const outcome = this.#operator!.next(budget);
      if (outcome !== 'batch') return outcome;
      take(this.#operator!.batch);
      if (budget.exhausted) return 'more';
    }
  }

  close(): void {
    this.#operator?.close();
  }
}
