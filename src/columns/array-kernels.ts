import { slabDoubles, slabInts } from '../base/slab.ts';
import type { NumberArray } from './vector.ts';

/**
 * Loops over typed arrays, one copy per array type: the type stands in the generated text, because functions of equal text
 * share their type feedback and fall to a fifth of the speed once they have met several types.
 */
export type ArrayKernels = {
  /** out[at + i] = values[selection[start + i]] for i < count; `out` is of the same type. */
  gather(
    values: NumberArray,
    selection: Int32Array | Uint16Array,
    start: number,
    count: number,
    out: NumberArray,
    at: number,
  ): void;
  /** out[at + i] = values[start + i] * factor + base. */
  decode(
    values: NumberArray,
    start: number,
    count: number,
    factor: number,
    base: number,
    out: Float64Array,
    at: number,
  ): void;
  decodeSelected(
    values: NumberArray,
    selection: Int32Array | Uint16Array,
    start: number,
    count: number,
    factor: number,
    base: number,
    out: Float64Array,
    at: number,
  ): void;
  /** hashes[i] = hashes[i] × 31 + hash of (values[i] * factor + base); NULLs hash as 0. Not finalised. */
  hash(
    values: NumberArray,
    validity: Uint8Array | undefined,
    count: number,
    factor: number,
    base: number,
    hashes: Int32Array,
    hashNumber: (value: number) => number,
  ): void;
  /** values[slots[i]] = from[start + i] * 1; `from` holds decoded values in arrival order: out = (from − base) / factor. */
  encode(
    from: Float64Array,
    slots: Uint16Array,
    start: number,
    count: number,
    factor: number,
    base: number,
    out: NumberArray,
  ): void;
  /** out[slots[i]] = from[i] for i < count. */
  scatter(from: Int32Array, slots: Uint16Array, count: number, out: NumberArray): void;
};

const NAMES = [
  'Float64Array',
  'Float32Array',
  'Int32Array',
  'Uint32Array',
  'Int16Array',
  'Uint16Array',
  'Int8Array',
  'Uint8Array',
] as const;
const CONSTRUCTORS = [
  Float64Array,
  Float32Array,
  Int32Array,
  Uint32Array,
  Int16Array,
  Uint16Array,
  Int8Array,
  Uint8Array,
] as const;
export type NumberArrayConstructor = (typeof CONSTRUCTORS)[number];

const KERNELS = new Map<unknown, ArrayKernels>(
  NAMES.map((name, index) => [CONSTRUCTORS[index], generate(name)]),
);

/** Whether kernels are made for arrays of its kind: not for those of a subclass, nor of another realm. */
export function hasKernels(values: { readonly constructor: unknown }): boolean {
  return KERNELS.has(values.constructor);
}

export function kernelsOf(values: NumberArray): ArrayKernels {
  return KERNELS.get(values.constructor)!;
}

export function sameKindOfArray(values: NumberArray, length: number): NumberArray {
  // A constructor that is known where it is called is inlined; one that is looked up is not.
  if (values instanceof Float64Array) return new Float64Array(length);
  if (values instanceof Int32Array) return new Int32Array(length);
  return new (values.constructor as NumberArrayConstructor)(length);
}

/** The same for what is soon forgotten. */
export function slabOfKind(values: NumberArray, length: number): NumberArray {
  if (values instanceof Float64Array) return slabDoubles(length);
  if (values instanceof Int32Array) return slabInts(length);
  return sameKindOfArray(values, length);
}

/** Bytes by index: values of booleans, validities. */
export function gatherSelection(
  values: Uint8Array,
  selection: Int32Array,
  count: number,
  out: Uint8Array,
): void {
  for (let i = 0; i < count; i += 1) out[i] = values[selection[i]!]!;
}

function generate(name: string): ArrayKernels {
  // Floats are never scaled: adding a base of 0 would turn −0 into 0.
  const value = (at: string): string =>
    name.startsWith('Float') ? `values[${at}]` : `values[${at}] * factor + base`;
  const make = (parameters: string, body: string): never =>
    new Function(...parameters.split(', '), `'use strict'; /* ${name} */ ${body}`) as never;
  return {
    gather: make(
      'values, selection, start, count, out, at',
      'for (let i = 0; i < count; i += 1) out[at + i] = values[selection[start + i]];',
    ),
    decode: make(
      'values, start, count, factor, base, out, at',
      `for (let i = 0; i < count; i += 1) out[at + i] = ${value('start + i')};`,
    ),
    decodeSelected: make(
      'values, selection, start, count, factor, base, out, at',
      `for (let i = 0; i < count; i += 1) out[at + i] = ${value('selection[start + i]')};`,
    ),
    hash: make(
      'values, validity, count, factor, base, hashes, hashNumber',
      `for (let i = 0; i < count; i += 1) {
        let hash = 0;
        if (validity === undefined || validity[i] === 1) {
          const value = ${value('i')};
          const whole = value | 0;
          hash = whole === value ? Math.imul(whole, -1640531535) : hashNumber(value);
        }
        hashes[i] = (Math.imul(hashes[i], 31) + hash) | 0;
      }`,
    ),
    encode: make(
      'from, slots, start, count, factor, base, out',
      name.startsWith('Float')
        ? 'for (let i = 0; i < count; i += 1) out[slots[start + i]] = from[start + i];'
        : `if (factor === 1) for (let i = 0; i < count; i += 1) out[slots[start + i]] = from[start + i] - base;
          else for (let i = 0; i < count; i += 1) out[slots[start + i]] = (from[start + i] - base) / factor;`,
    ),
    scatter: make(
      'from, slots, count, out',
      'for (let i = 0; i < count; i += 1) out[slots[i]] = from[i];',
    ),
  };
}
