/**
 * What a run did, folded into 64 bits as it happens: two runs with one hash did the same, in the same order. Keeps the
 * newest lines for people.
 */
export class Trace {
  #a = 0x811c_9dc5 | 0;
  #b = 0x9e37_79b9 | 0;
  readonly #newest: string[] = [];
  readonly #keep: number;
  count = 0;

  constructor(keep = 0) {
    this.#keep = keep;
  }

  note(line: string): void {
    this.count += 1;
    for (let index = 0; index < line.length; index += 1) this.#mix(line.charCodeAt(index));
    this.#mix(0x1_0000);
    if (this.#keep === 0) return;
    this.#newest.push(line);
    if (this.#newest.length > this.#keep * 2) this.#newest.splice(0, this.#keep);
  }

  numbers(...values: readonly number[]): void {
    this.count += 1;
    for (const value of values) {
      this.#mix(value | 0);
      this.#mix(Math.trunc(value / 0x1_0000_0000) ^ 0x5bd1_e995);
    }
  }

  get newest(): readonly string[] {
    return this.#newest.slice(-this.#keep);
  }

  get hash(): string {
    return hex(finish(this.#a ^ this.count)) + hex(finish(this.#b + this.count));
  }

  #mix(unit: number): void {
    this.#a = Math.imul(this.#a ^ unit, 0x0100_0193);
    this.#b = Math.imul((this.#b << 5) ^ (this.#b >>> 27) ^ unit, 0x85eb_ca6b);
  }
}

function finish(value: number): number {
  let hash = Math.imul(value ^ (value >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function hex(value: number): string {
  return value.toString(16).padStart(8, '0');
}
