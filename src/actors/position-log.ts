/**
 * Which instant belongs to which position. Two rings, so that it never grows: every millisecond of the newest past, and
 * beyond it samples evenly spaced over `historyMs`.
 */
export class PositionLog {
  readonly #newest = new Ring();
  readonly #older = new Ring();
  readonly #spacingMs: number;

  constructor(historyMs: number) {
    this.#spacingMs = Math.max(1, historyMs / (SIZE - 1));
  }

  note(position: number, instant: number): void {
    // Commits of one millisecond share its entry.
    if (instant > this.#newest.lastInstant) this.#newest.push(position, instant);
    if (instant >= this.#older.lastInstant + this.#spacingMs) this.#older.push(position, instant);
  }

  /** The instant of `position`, or of a sample shortly before it; undefined when it has left the rings. */
  instantOf(position: number): number | undefined {
    return this.#newest.instantOf(position) ?? this.#older.instantOf(position);
  }

  /** A position that was visible at `instant`, among the newest of those; undefined where none is known. */
  positionAt(instant: number): number | undefined {
    return this.#newest.positionAt(instant) ?? this.#older.positionAt(instant);
  }
}

const SIZE = 32_768;
const SIZE_FIRST = 256;

class Ring {
  /** As long as there are entries in them, up to SIZE: before that no slot is taken twice. */
  #positions = new Float64Array(SIZE_FIRST);
  #instants = new Float64Array(SIZE_FIRST);
  #count = 0;

  get lastInstant(): number {
    return this.#count === 0 ? -Infinity : this.#instants[(this.#count - 1) % SIZE]!;
  }

  push(position: number, instant: number): void {
    const slot = this.#count % SIZE;
    if (slot === this.#positions.length) {
      this.#positions = twiceAsLong(this.#positions);
      this.#instants = twiceAsLong(this.#instants);
    }
    this.#positions[slot] = position;
    this.#instants[slot] = instant;
    this.#count += 1;
  }

  instantOf(position: number): number | undefined {
    const found = this.#lastUpTo(this.#positions, position);
    return found < 0 ? undefined : this.#instants[found];
  }

  positionAt(instant: number): number | undefined {
    const found = this.#lastUpTo(this.#instants, instant);
    return found < 0 ? undefined : this.#positions[found];
  }

  /** Slot of the last of `values` that is not above `limit`; −1 when the ring does not reach back so far. */
  #lastUpTo(values: Float64Array, limit: number): number {
    const oldest = Math.max(0, this.#count - SIZE);
    let low = oldest;
    let high = this.#count;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (values[middle % SIZE]! <= limit) low = middle + 1;
      else high = middle;
    }
    return low === oldest ? -1 : (low - 1) % SIZE;
  }
}

function twiceAsLong(values: Float64Array): Float64Array<ArrayBuffer> {
  const longer = new Float64Array(values.length * 2);
  longer.set(values);
  return longer;
}
