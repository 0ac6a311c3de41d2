import type { MemoryAccount } from '../base/memory.ts';
import { BATCH_ROW_COUNT_MAX, type Batch } from '../columns/batch.ts';
import { BatchBuilder, constantVector, gather } from '../columns/build.ts';
import type { Vector } from '../columns/vector.ts';
import {
  compileExpression,
  compileFilter,
  type CompiledExpression,
  type CompiledFilter,
} from '../expressions/compile.ts';
import { commonType } from '../expressions/coercion.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import type { JoinNode, OutputColumn } from '../plan/logical.ts';
import { CollectedRows } from './collect.ts';
import { EVERYTHING, isDemanded, unseenVector, type Demand } from './demand.ts';
import { GroupTable } from './group-table.ts';
import type { Budget, Operator, Step } from './operator.ts';
import { EMPTY_BATCH } from './row-operators.ts';

/**
 * Joins of every type: one side is collected and, where there are keys, indexed by them; the other drives. Rows come out in
 * the order of the left side, then of the right one, whichever side was built (law 2); a right side that is not matched comes last.
 */
export class JoinOperator implements Operator {
  readonly id: number;
  readonly columns: readonly OutputColumn[];
  batch: Batch = EMPTY_BATCH;
  readonly #node: JoinNode;
  readonly #left: Operator;
  readonly #right: Operator;
  readonly #context: EvaluationContext;
  readonly #rightRows: CollectedRows;
  readonly #leftKeys: readonly CompiledExpression[];
  readonly #rightKeys: readonly CompiledExpression[];
  readonly #residual: CompiledFilter | undefined;
  readonly #groups: GroupTable | undefined;
  readonly #memory: MemoryAccount;
  /** By output column: what is given where nobody looks at it. */
  readonly #unseen: readonly (Vector | undefined)[];
  /** No key of the right side has two rows. */
  #isUnique = true;
  /** The n-th right row has the n-th key: groups are rows. */
  #groupsAreRows = true;
  /** Right rows of a key, in order: first row by group, next row by row. Rows are numbered across batches. */
  #first = new Int32Array(64).fill(-1);
  #last = new Int32Array(64).fill(-1);
  #next = new Int32Array(1024);
  #rightCount = 0;
  #rightHasNullKey = false;
  #batchStarts: number[] = [];
  #matchedRight: Uint8Array | undefined;
  #built = false;
  #flat: Batch | undefined;

  /** The driving batch, and where in it the join stands. */
  #driving: Batch | undefined;
  #drivingGroups: Int32Array | undefined;
  #row = 0;
  #candidate = -1;
  #matchedRow = false;
  #unmatchedAt = 0;
  #leftDone = false;
  /** Pairs gathered for the next batch. */
  readonly #pairLeft = new Int32Array(BATCH_ROW_COUNT_MAX);
  readonly #pairRight = new Int32Array(BATCH_ROW_COUNT_MAX);
  #pairCount = 0;
  readonly #out: Batch[] = [];

  constructor(
    node: JoinNode,
    left: Operator,
    right: Operator,
    context: EvaluationContext,
    memory: MemoryAccount,
    demand: Demand = EVERYTHING,
  ) {
    this.id = node.id;
    this.#unseen = node.columns.map(({ type }, column) =>
      isDemanded(demand, column) ? undefined : unseenVector(type),
    );
    this.columns = node.columns;
    this.#node = node;
    this.#left = left;
    this.#right = right;
    this.#context = context;
    this.#memory = memory;
    this.#rightRows = new CollectedRows(memory);
    this.#residual = node.residual === undefined ? undefined : compileFilter(node.residual);
    const types = node.keys.map((key) => commonType([key.left.type, key.right.type], 'JOIN'));
    const keyOf = (side: 'left' | 'right'): CompiledExpression[] =>
      node.keys.map((key, index) => {
        const expression = key[side];
        const type = types[index]!;
        // Keys of two integer or text types intern alike; others meet in their common type.
        return compileExpression(
          interned(expression.type.kind) === interned(type.kind)
            ? expression
            : { kind: 'cast', arg: expression, type, explicit: false },
        );
      });
    this.#leftKeys = keyOf('left');
    this.#rightKeys = keyOf('right');
    this.#groups = node.keys.length === 0 ? undefined : new GroupTable(types, memory);
    if (node.type === 'right' || node.type === 'full') this.#matchedRight = new Uint8Array(1024);
  }

  next(budget: Budget): Step {
    if (!this.#built) {
      if (!this.#rightRows.fill(this.#right, budget, (batch) => this.#index(batch))) return 'more';
      this.#built = true;
      this.#flat = flatten(this.#rightRows.batches, this.#right.columns);
    }
    for (;;) {
      const ready = this.#out.shift();
      if (ready !== undefined) {
        this.batch = ready;
        return 'batch';
      }
      if (this.#driving === undefined) {
        if (this.#leftDone) return this.#unmatched(budget);
        const step = this.#left.next(budget);
        if (step === 'more') return 'more';
        if (step === 'done') {
          // Nothing is owed: when the left side goes on, so does the join.
          if (this.#matchedRight === undefined) return 'done';
          this.#leftDone = true;
          continue;
        }
        this.#drive(this.#left.batch);
        budget.charge(this.#driving!.rowCount * Math.max(1, this.#leftKeys.length));
      }
      if (
        this.#isUnique &&
        this.#node.type === 'inner' &&
        this.#residual === undefined &&
        this.#groups !== undefined
      )
        this.#advanceUnique(budget);
      else this.#advance(budget);
      if (this.#out.length === 0 && budget.exhausted) return 'more';
    }
  }

  close(): void {
    this.#left.close();
    this.#right.close();
    this.#rightRows.close();
    this.#groups?.close();
    void this.#memory;
  }

  // ── Building ───────────────────────────────────────────────────────────────────────────────────────────────

  #index(batch: Batch): void {
    const { rowCount } = batch;
    const start = this.#rightCount;
    this.#batchStarts.push(start);
    this.#rightCount += rowCount;
    this.#next = grown(this.#next, this.#rightCount);
    if (this.#matchedRight !== undefined && this.#matchedRight.length < this.#rightCount) {
      const bytes = new Uint8Array(Math.max(this.#rightCount, this.#matchedRight.length * 2));
      bytes.set(this.#matchedRight);
      this.#matchedRight = bytes;
    }
    if (this.#groups === undefined) return;
    const keys = this.#rightKeys.map((key) => key.evaluate(batch, this.#context));
    const groups = this.#groups.intern(keys, rowCount);
    const { groupCount } = this.#groups;
    this.#first = grown(this.#first, groupCount, -1);
    this.#last = grown(this.#last, groupCount, -1);
    const nullable = keys.filter(mayBeNull);
    for (let row = 0; row < rowCount; row += 1) {
      const at = start + row;
      this.#next[at] = -1;
      if (hasNull(nullable, row)) {
        this.#rightHasNullKey = true;
        this.#groupsAreRows = false;
        continue;
      }
      const group = groups[row]!;
      if (group !== at) this.#groupsAreRows = false;
      if (this.#first[group] === -1) this.#first[group] = at;
      else {
        this.#next[this.#last[group]!] = at;
        this.#isUnique = false;
      }
      this.#last[group] = at;
    }
  }

  // ── Probing ────────────────────────────────────────────────────────────────────────────────────────────────

  #drive(batch: Batch): void {
    this.#driving = batch;
    this.#row = 0;
    this.#matchedRow = false;
    if (this.#groups === undefined) {
      this.#candidate = this.#rightCount > 0 ? 0 : -1;
      return;
    }
    const keys = this.#leftKeys.map((key) => key.evaluate(batch, this.#context));
    const groups = this.#groups.intern(keys, batch.rowCount, false).slice(0, batch.rowCount);
    const nullable = keys.filter(mayBeNull);
    if (nullable.length > 0)
      for (let row = 0; row < batch.rowCount; row += 1)
        if (hasNull(nullable, row)) groups[row] = -2;
    this.#drivingGroups = groups;
    this.#candidate = this.#firstOf(0);
  }

  #firstOf(row: number): number {
    if (this.#groups === undefined) return this.#rightCount > 0 ? 0 : -1;
    const group = this.#drivingGroups![row]!;
    return group >= 0 && group < this.#first.length ? this.#first[group]! : -1;
  }

  #nextOf(candidate: number): number {
    if (this.#groups === undefined) return candidate + 1 < this.#rightCount ? candidate + 1 : -1;
    return this.#next[candidate]!;
  }

  /** An inner join with at most one right row a key: the whole driving batch at once. */
  #advanceUnique(budget: Budget): void {
    const driving = this.#driving!;
    const { rowCount } = driving;
    const rights = this.#drivingGroups!;
    if (!this.#groupsAreRows) {
      const first = this.#first;
      for (let row = 0; row < rowCount; row += 1) {
        const group = rights[row]!;
        if (group >= 0) rights[row] = first[group]!;
      }
    }
    let count = 0;
    while (count < rowCount && rights[count]! >= 0) count += 1;
    let lefts: Int32Array | undefined;
    // Where every row has its match, the left columns stay as they are.
    if (count < rowCount) {
      lefts = new Int32Array(rowCount);
      count = 0;
      for (let row = 0; row < rowCount; row += 1) {
        if (rights[row]! < 0) continue;
        lefts[count] = row;
        rights[count] = rights[row]!;
        count += 1;
      }
    }
    budget.charge(rowCount + count);
    this.#driving = undefined;
    if (count === 0) return;
    this.#out.push(
      this.#bothSides(driving, lefts?.subarray(0, count), rights.subarray(0, count), this.#unseen),
    );
  }

  /** Works through the driving batch until a batch is out, the budget is used up or the rows are. */
  #advance(budget: Budget): void {
    const { type } = this.#node;
    const driving = this.#driving!;
    const semi = type === 'semi' || type === 'anti';
    const single = semi && this.#residual === undefined;
    let looked = 0;
    while (this.#row < driving.rowCount) {
      if (single) {
        const found = this.#candidate >= 0;
        if (type === 'semi' ? found : !found && this.#antiPasses(this.#row))
          this.#pair(this.#row, -1);
        this.#nextRow();
      } else if (this.#candidate < 0) {
        // Every candidate of the row has been tried; with a residual that is known only once the pairs are tested.
        if (this.#residual !== undefined) {
          this.#settleRow();
          continue;
        }
        if (!this.#matchedRow && (type === 'left' || type === 'full')) this.#pair(this.#row, -1);
        this.#nextRow();
      } else {
        if (this.#residual === undefined) {
          this.#pair(this.#row, this.#candidate);
          this.#matchedRow = true;
          if (this.#matchedRight !== undefined) this.#matchedRight[this.#candidate] = 1;
        } else this.#tentative(this.#row, this.#candidate);
        this.#candidate = this.#nextOf(this.#candidate);
      }
      looked += 1;
      if (this.#pairCount >= BATCH_ROW_COUNT_MAX - 1 || this.#out.length > 0) break;
      if ((looked & 1023) === 0) {
        budget.charge(1024);
        looked = 0;
        if (budget.exhausted) break;
      }
    }
    budget.charge(looked);
    if (this.#row >= driving.rowCount) {
      this.#flushTentative();
      this.#flush();
      this.#driving = undefined;
    } else if (this.#pairCount >= BATCH_ROW_COUNT_MAX - 1) this.#flush();
  }

  #antiPasses(row: number): boolean {
    if (!this.#node.nullAware) return true;
    // NOT IN: nothing is known against a NULL on either side, unless the right side is empty.
    if (this.#rightCount === 0) return true;
    return !this.#rightHasNullKey && this.#drivingGroups![row] !== -2;
  }

  #nextRow(): void {
    this.#row += 1;
    this.#matchedRow = false;
    if (this.#row < this.#driving!.rowCount) this.#candidate = this.#firstOf(this.#row);
  }

  #pair(left: number, right: number): void {
    this.#pairLeft[this.#pairCount] = left;
    this.#pairRight[this.#pairCount] = right;
    this.#pairCount += 1;
  }

  #flush(): void {
    if (this.#pairCount === 0) return;
    this.#out.push(
      this.#rows(
        this.#driving!,
        this.#pairLeft.slice(0, this.#pairCount),
        this.#pairRight.slice(0, this.#pairCount),
      ),
    );
    this.#pairCount = 0;
  }

  // ── Residual conditions ────────────────────────────────────────────────────────────────────────────────────

  /** Pairs that the residual must still pass, by row: tested together, in batches. */
  readonly #testLeft: number[] = [];
  readonly #testRight: number[] = [];
  /** Rows of the driving batch whose candidates are all among the pairs to test. */
  readonly #endedRows: number[] = [];

  #tentative(left: number, right: number): void {
    this.#testLeft.push(left);
    this.#testRight.push(right);
    if (this.#testLeft.length >= BATCH_ROW_COUNT_MAX) this.#flushTentative();
  }

  #settleRow(): void {
    this.#endedRows.push(this.#row);
    this.#nextRow();
    if (this.#endedRows.length >= BATCH_ROW_COUNT_MAX) this.#flushTentative();
  }

  /** Rows before the present one may have passed pairs in an earlier test. */
  #passedEarlier = -1;

  #flushTentative(): void {
    if (this.#residual === undefined) return;
    const { type } = this.#node;
    const lefts = Int32Array.from(this.#testLeft);
    const rights = Int32Array.from(this.#testRight);
    const ended = this.#endedRows.splice(0);
    this.#testLeft.length = 0;
    this.#testRight.length = 0;
    let passed: Int32Array = new Int32Array(0);
    if (lefts.length > 0) {
      const pairs = this.#bothSides(this.#driving!, lefts, rights);
      const kept = this.#residual.select(pairs, this.#context);
      if (kept !== undefined)
        passed = kept.selection ?? Int32Array.from({ length: kept.rowCount }, (_, row) => row);
    }
    const semi = type === 'semi' || type === 'anti';
    const outLeft: number[] = [];
    const outRight: number[] = [];
    let at = 0;
    const endRow = (row: number): void => {
      let matched = this.#passedEarlier === row;
      while (at < passed.length && lefts[passed[at]!]! <= row) {
        const pair = passed[at]!;
        at += 1;
        if (lefts[pair] !== row) continue;
        if (this.#matchedRight !== undefined) this.#matchedRight[rights[pair]!] = 1;
        if (!semi) {
          outLeft.push(row);
          outRight.push(rights[pair]!);
        }
        matched = true;
      }
      if (
        type === 'semi'
          ? matched
          : !matched && (type === 'left' || type === 'full' || type === 'anti')
      ) {
        outLeft.push(row);
        outRight.push(-1);
      }
    };
    for (const row of ended) endRow(row);
    // Pairs of a row that goes on: out now, unless only their existence counts.
    let open = this.#passedEarlier;
    while (at < passed.length) {
      const pair = passed[at]!;
      at += 1;
      open = lefts[pair]!;
      if (this.#matchedRight !== undefined) this.#matchedRight[rights[pair]!] = 1;
      if (!semi) {
        outLeft.push(open);
        outRight.push(rights[pair]!);
      }
    }
    this.#passedEarlier = this.#row < this.#driving!.rowCount && open === this.#row ? open : -1;
    for (let start = 0; start < outLeft.length; start += BATCH_ROW_COUNT_MAX) {
      const end = start + BATCH_ROW_COUNT_MAX;
      this.#out.push(
        this.#rows(
          this.#driving!,
          Int32Array.from(outLeft.slice(start, end)),
          Int32Array.from(outRight.slice(start, end)),
        ),
      );
    }
  }

  // ── Rows ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** Output rows of pairs; −1 stands for a row of NULLs. */
  #rows(driving: Batch, lefts: Int32Array, rights: Int32Array): Batch {
    const semi = this.#node.type === 'semi' || this.#node.type === 'anti';
    if (!semi) return this.#bothSides(driving, lefts, rights, this.#unseen);
    const selection =
      driving.selection === undefined ? lefts : lefts.map((row) => driving.selection![row]!);
    return { ...driving, rowCount: lefts.length, selection };
  }

  /** Pairs of rows; without `lefts`, every driving row once. Columns that are `unseen` are not gathered. */
  #bothSides(
    driving: Batch,
    lefts: Int32Array | undefined,
    rights: Int32Array,
    unseen: readonly (Vector | undefined)[] = [],
  ): Batch {
    const count = rights.length;
    const { selection } = driving;
    const physical =
      lefts === undefined
        ? selection
        : selection === undefined
          ? lefts
          : lefts.map((row) => selection[row]!);
    const left = driving.columns.map(
      (vector, column) =>
        unseen[column] ?? (physical === undefined ? vector : gather(vector, physical, count)),
    );
    const width = left.length;
    const flat = this.#flat!.columns;
    const right = gatherOrNull(
      flat,
      rights,
      count,
      this.#right.columns,
      flat.map((_, column) => unseen[width + column]),
    );
    return { rowCount: count, columns: [...left, ...right] };
  }

  /** Right rows that nothing matched, for right and full joins. */
  #unmatched(budget: Budget): Step {
    if (this.#matchedRight === undefined) return 'done';
    const rows: number[] = [];
    while (this.#unmatchedAt < this.#rightCount && rows.length < BATCH_ROW_COUNT_MAX) {
      if (this.#matchedRight[this.#unmatchedAt] === 0) rows.push(this.#unmatchedAt);
      this.#unmatchedAt += 1;
    }
    budget.charge(rows.length + 1);
    if (rows.length === 0) return this.#unmatchedAt < this.#rightCount ? 'more' : 'done';
    const count = rows.length;
    const left = this.#left.columns.map(({ type }) => constantVector(type, null, count));
    const right = this.#flat!.columns.map((vector) => gather(vector, Int32Array.from(rows), count));
    this.batch = { rowCount: count, columns: [...left, ...right] };
    return 'batch';
  }
}

/** Types that intern alike. */
function interned(kind: string): string {
  if (kind === 'int2' || kind === 'int4' || kind === 'int8') return 'integer';
  return kind === 'varchar' ? 'text' : kind;
}

function hasNull(keys: readonly Vector[], row: number): boolean {
  for (const key of keys) {
    if (key.validity !== undefined && key.validity[row] === 0) return true;
    if (key.rep === 'object' && key.values[row] === null) return true;
  }
  return false;
}

function grown(array: Int32Array<ArrayBuffer>, length: number, fill = 0): Int32Array<ArrayBuffer> {
  if (array.length >= length) return array;
  const next = new Int32Array(Math.max(length, array.length * 2));
  next.set(array);
  if (fill !== 0) next.fill(fill, array.length);
  return next;
}

/** The collected batches as one, so that pairs gather by row number. */
function flatten(batches: readonly Batch[], columns: readonly OutputColumn[]): Batch {
  let rowCount = 0;
  for (const batch of batches) rowCount += batch.rowCount;
  const builder = new BatchBuilder(
    columns.map(({ type }) => type),
    { rowCountMax: Math.max(1, rowCount) },
  );
  for (const batch of batches) builder.append(batch);
  return (
    builder.take() ?? {
      rowCount: 0,
      columns: columns.map(({ type }) => constantVector(type, null, 0)),
    }
  );
}

function gatherOrNull(
  vectors: readonly Vector[],
  at: Int32Array,
  count: number,
  columns: readonly OutputColumn[],
  unseen: readonly (Vector | undefined)[],
): Vector[] {
  let missing = 0;
  for (let row = 0; row < count; row += 1) if (at[row]! < 0) missing += 1;
  if (missing === 0)
    return vectors.map((vector, column) => unseen[column] ?? gather(vector, at, count));
  if (missing === count)
    return columns.map(({ type }, column) => unseen[column] ?? constantVector(type, null, count));
  const safe = at.map((row) => (row < 0 ? 0 : row));
  return vectors.map((vector, column) => {
    const hidden = unseen[column];
    if (hidden !== undefined) return hidden;
    const gathered = gather(vector, safe, count);
    const validity = gathered.validity?.slice() ?? new Uint8Array(count).fill(1);
    for (let row = 0; row < count; row += 1) if (at[row]! < 0) validity[row] = 0;
    if (gathered.rep === 'object')
      return {
        ...gathered,
        values: gathered.values.map((value, row) => (validity[row] === 0 ? null : value)),
        validity,
      };
    return { ...gathered, validity };
  });
}

function mayBeNull(vector: Vector): boolean {
  return vector.validity !== undefined || vector.rep === 'object';
}
