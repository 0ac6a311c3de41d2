/** Which instant belongs to which position, for the newest positions: a ring, so it never grows. */
export class PositionLog {
  readonly #positions = new Float64Array(SIZE);
  readonly #instants = new Float64Array(SIZE);
  #count = 0;

  note(position: number, instant: number): void {
    const slot = this.#count % SIZE;
    this.#positions[slot] = position;
    this.#instants[slot] = instant;
    this.#count += 1;
  }

  /** The instant of the newest noted position that is not after `position`; undefined when it has left the ring. */
  instantOf(position: number): number | undefined {
    const oldest = Math.max(0, this.#count - SIZE);
    let low = oldest;
    let high = this.#count;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.#positions[middle % SIZE]! <= position) low = middle + 1;
      else high = middle;
    }
    return low === oldest ? undefined : this.#instants[(low - 1) % SIZE];
  }
}

const SIZE = 65_536;
