import { DbError } from '../base/errors.ts';
import type { TableData, TableSchema } from '../columns/table-contract.ts';
import { untilSettled } from './deadline.ts';

/** The table broke and is being made anew: what waits for it goes on when that is done, whichever way. */
export class TableRecovering extends DbError {
  readonly #served: Promise<void>;

  constructor(table: string, served: Promise<void>, cause: unknown) {
    super('ADB_RECOVERING', `table "${table}" broke and is being made anew from the journal`, {
      table,
      cause,
      retryAfterMs: 100,
      hint: 'Try again in a moment. SHOW ACTORS tells how it is; everything else goes on.',
    });
    this.#served = served;
  }

  untilServed(signal: AbortSignal | undefined): Promise<void> {
    return untilSettled(this.#served, signal);
  }
}

/**
 * Stands in the place of a table's rows while they are not to be trusted: whoever wants to read or write learns why. Nothing of
 * the rows that broke is reached through it.
 */
export class DeadTable implements TableData {
  readonly schema: TableSchema;
  readonly rowCount: number;
  readonly nextRowId: number;
  readonly memoryBytes = 0;
  readonly stagedCount = 0;
  readonly needsUpkeep = false;
  readonly position: number;
  readonly #refusal: () => DbError;

  constructor(corpse: TableData, refusal: () => DbError) {
    this.schema = corpse.schema;
    this.rowCount = corpse.rowCount;
    this.nextRowId = corpse.nextRowId;
    this.position = corpse.position;
    this.#refusal = refusal;
  }

  /** Why it serves nothing. */
  get refusal(): DbError {
    return this.#refusal();
  }

  stage(): never {
    throw this.#refusal();
  }
  read(): never {
    throw this.#refusal();
  }
  shows(): never {
    throw this.#refusal();
  }
  undo(): never {
    throw this.#refusal();
  }
  publish(): never {
    throw this.#refusal();
  }
  snapshot(): never {
    throw this.#refusal();
  }
  snapshotAt(): never {
    throw this.#refusal();
  }
  staged(): never {
    throw this.#refusal();
  }
  changes(): never {
    throw this.#refusal();
  }
  checkpoint(): never {
    throw this.#refusal();
  }
  addColumn(): never {
    throw this.#refusal();
  }
  dropColumn(): never {
    throw this.#refusal();
  }
  alterSchema(): never {
    throw this.#refusal();
  }
  addIndex(): never {
    throw this.#refusal();
  }
  addIndexInSteps(): never {
    throw this.#refusal();
  }
  dropIndex(): never {
    throw this.#refusal();
  }
  covers(): boolean {
    return false;
  }
  segmentsToCompact(): readonly never[] {
    return [];
  }
  maintain(): boolean {
    return false;
  }
  expire(): void {}
  beginHistory(): void {}
  compact(): void {}
  freeMemory(): boolean {
    return false;
  }
  close(): void {}
}
