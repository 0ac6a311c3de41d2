import type { Random } from './ports.ts';

/**
 * sfc32 (Chris Doty-Humphrey, PractRand): 128 bits of state, passes PractRand to 32 TB. A stream is made from a
 * seed and a label, so that streams are independent of the order in which they are asked for.
 */
export class SeededRandom implements Random {
  readonly #seed: number;
  readonly #path: string;
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number, path = '') {
    this.#seed = seed;
    this.#path = path;
    this.#a = hashText(path, seed >>> 0);
    this.#b = hashText(path, Math.floor(seed / 0x1_0000_0000) ^ 0x9e37_79b9);
    this.#c = hashText(path, (seed ^ 0x85eb_ca6b) >>> 0);
    // The first outputs of a weak seed are correlated; twelve rounds mix the whole state.
    for (let round = 0; round < 12; round += 1) this.uint32();
  }

  uint32(): number {
    const result = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + result) | 0;
    return result >>> 0;
  }

  /** The next `out.length` values of `uint32`, with the state at hand: a third of the time. */
  fill(out: Uint32Array): void {
    let a = this.#a;
    let b = this.#b;
    let c = this.#c;
    let counter = this.#counter;
    for (let index = 0; index < out.length; index += 1) {
      const result = (a + b + counter) | 0;
      counter = (counter + 1) | 0;
      a = b ^ (b >>> 9);
      b = (c + (c << 3)) | 0;
      c = (((c << 21) | (c >>> 11)) + result) | 0;
      out[index] = result;
    }
    this.#a = a;
    this.#b = b;
    this.#c = c;
    this.#counter = counter;
  }

  unit(): number {
    return ((this.uint32() >>> 5) * 0x400_0000 + (this.uint32() >>> 6)) / 0x20_0000_0000_0000;
  }

  below(n: number): number {
    // Lemire's rejection, in doubles: values at or above the largest multiple of n would be biased.
    const limit = 0x1_0000_0000 - (0x1_0000_0000 % n);
    let value = this.uint32();
    while (value >= limit) value = this.uint32();
    return value % n;
  }

  split(label: string): Random {
    return new SeededRandom(this.#seed, `${this.#path}/${label}`);
  }
}

/** FNV-1a over UTF-16 units with murmur3's finaliser. */
function hashText(text: string, seed: number): number {
  let hash = (0x811c_9dc5 ^ seed) | 0;
  for (let index = 0; index < text.length; index += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x0100_0193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return (hash ^ (hash >>> 16)) | 0;
}
