import { entryAt, numberAt } from './cells.ts';
import type { NumberVector } from './vector.ts';

/** Numbers of which single cells are read. */
export class CellSource {
  readonly vector: NumberVector;
  /** Of its values, whatever their kind; an entry takes 2 ** `shift` of them. */
  readonly bytes: Uint8Array;
  readonly shift: number;

  constructor(vector: NumberVector) {
    const { buffer, byteOffset, byteLength, BYTES_PER_ELEMENT } = vector.values;
    this.vector = vector;
    this.bytes = new Uint8Array(buffer, byteOffset, byteLength);
    this.shift = 31 - Math.clz32(BYTES_PER_ELEMENT);
  }
}

/**
 * Writes cell `places[i]` of `sources[sourceOf[i]]` to `out[i]`, for i of [start, end); passes over negative sources. Such cells lie in pages
 * of memory that nobody has touched lately: a loop that does so little for each that many are waited for at a time reads them first, to no other
 * end. What it has read comes back: what nobody keeps is not read.
 */
export function readFarCells(
  sources: readonly CellSource[],
  sourceOf: Int32Array,
  places: Int32Array,
  start: number,
  end: number,
  out: Float64Array,
): number {
  let touched = 0;
  for (let row = start; row < end; row += 1) {
    const source = sourceOf[row]!;
    if (source < 0) continue;
    const { bytes, shift } = sources[source]!;
    touched |= bytes[places[row]! << shift]!;
  }
  for (let row = start; row < end; row += 1) {
    const source = sourceOf[row]!;
    if (source < 0) continue;
    const { values, factor, base } = sources[source]!.vector;
    out[row] = numberAt(entryAt(values, places[row]!), factor, base);
  }
  return touched;
}
