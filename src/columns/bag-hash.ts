import type { Batch } from './batch.ts';
import { denseBatch, hashRows } from './build.ts';

/**
 * A hash of rows whatever their order: equal bags have equal hashes. It tells two makings of the same rows apart, not an
 * adversary's; what differs in one row goes unnoticed once in four thousand million times.
 */
export class BagHash {
  rowCount = 0;
  #sum = 0;
  /** Of other bits of the same hashes, so that two errors do not make up for each other. */
  #mixed = 0;

  add(batch: Batch): void {
    const { columns, weights, rowCount } = denseBatch(batch);
    const hashes = hashRows(columns, rowCount);
    for (let row = 0; row < rowCount; row += 1) {
      const hash = hashes[row]!;
      const weight = weights === undefined ? 1 : weights[row]!;
      this.rowCount += weight;
      this.#sum = (this.#sum + Math.imul(hash, weight)) | 0;
      this.#mixed =
        (this.#mixed + Math.imul(Math.imul(hash ^ (hash >>> 15), 0x85eb_ca6b), weight)) | 0;
    }
  }

  equals(other: BagHash): boolean {
    return (
      this.rowCount === other.rowCount && this.#sum === other.#sum && this.#mixed === other.#mixed
    );
  }
}
