/** 4,096 registers: a standard error of 1.6 %. */
const REGISTER_BITS = 12;
export const REGISTER_COUNT = 1 << REGISTER_BITS;

/**
 * Estimates how many distinct values it has seen, from 32-bit hashes; for choosing plans, never for answers. Method: HyperLogLog.
 */
export class DistinctSketch {
  readonly #registers: Uint8Array;

  /** `registers`: of a sketch that was kept. */
  constructor(registers: Uint8Array = new Uint8Array(REGISTER_COUNT)) {
    this.#registers = registers;
  }

  get registers(): Uint8Array {
    return this.#registers;
  }

  get byteLength(): number {
    return REGISTER_COUNT;
  }

  /** `hash` is finalised (`mixHash`): every bit of it is as good as any other. */
  add(hash: number): void {
    const index = registerOf(hash);
    const rank = rankOfHash(hash);
    if (rank > this.#registers[index]!) this.#registers[index] = rank;
  }

  addAll(hashes: Int32Array, validity: Uint8Array | undefined, count: number): void {
    for (let index = 0; index < count; index += 1)
      if (validity === undefined || validity[index] === 1) this.add(hashes[index]!);
  }

  estimate(): number {
    return estimateDistinct(this.#registers);
  }
}

/** The register of a hash, and the rank that it gives: the number of its leading zeros behind the register's bits, plus one. */
export function registerOf(hash: number): number {
  return hash >>> (32 - REGISTER_BITS);
}

export function rankOfHash(hash: number): number {
  return Math.clz32((hash << REGISTER_BITS) | (1 << (REGISTER_BITS - 1))) + 1;
}

/** 2^−rank. */
const SHARES = Float64Array.from({ length: 34 - REGISTER_BITS }, (_, rank) => 2 ** -rank);

/** From each register's greatest rank: Flajolet et al. 2007, with linear counting below 2.5 registers' worth and the correction near 2^32. */
export function estimateDistinct(registers: Uint8Array): number {
  let sum = 0;
  let zeros = 0;
  for (let index = 0; index < registers.length; index += 1) {
    const rank = registers[index]!;
    sum += SHARES[rank]!;
    if (rank === 0) zeros += 1;
  }
  const alpha = 0.7213 / (1 + 1.079 / REGISTER_COUNT);
  const raw = (alpha * REGISTER_COUNT * REGISTER_COUNT) / sum;
  if (raw <= 2.5 * REGISTER_COUNT && zeros > 0)
    return Math.round(REGISTER_COUNT * Math.log(REGISTER_COUNT / zeros));
  const range = 0x1_0000_0000;
  return Math.round(raw <= range / 30 ? raw : -range * Math.log(1 - raw / range));
}
