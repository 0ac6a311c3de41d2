import type { NumberArray } from '../../columns/vector.ts';

/**
 * The inner loops of aggregates, one copy per array type: the type stands in the generated text, because functions of equal text
 * share their type feedback and fall to a fifth of the speed once they have met several types (columns/array-kernels.ts).
 * Floats are never scaled: adding a base of 0 would turn −0 into 0.
 */
type SumLoop = (
  groups: Int32Array,
  values: NumberArray,
  factor: number,
  base: number,
  validity: Uint8Array | undefined,
  from: number,
  rowCount: number,
  bins: Float64Array,
  /** What the bins reach to, and what rounds to the grid of each: of an ExactSum. */
  grids: Float64Array,
) => number;

/** Adds rows to their group's bins (three or four); gives the first row that does not fit, or `rowCount`. */
export type SumLoops = {
  /** Every value is known to fit. */
  readonly proven3: SumLoop;
  readonly proven4: SumLoop;
  readonly tested3: SumLoop;
  readonly tested4: SumLoop;
  /** Of four bins, those whose rows fit the first three: a row that needs the fourth is told like one that does not fit. */
  readonly tested3of4: SumLoop;
};

export type ExtremeLoop = (
  groups: Int32Array,
  values: NumberArray,
  factor: number,
  base: number,
  validity: Uint8Array | undefined,
  rowCount: number,
  best: Float64Array,
) => void;

/** `best` starts at NaN where nothing has come, and never holds a NaN that came: that is the caller's. */
export type ExtremeLoops = { readonly min: ExtremeLoop; readonly max: ExtremeLoop };

type IntegerLoop = (
  groups: Int32Array,
  values: NumberArray,
  factor: number,
  base: number,
  from: number,
  rowCount: number,
  sums: Float64Array,
) => number;

/** Of NumberArray: one copy of each inner loop. */
export const NUMBER_ARRAY_TYPES = [
  Float64Array,
  Float32Array,
  Int32Array,
  Uint32Array,
  Int16Array,
  Uint16Array,
  Int8Array,
  Uint8Array,
] as const;

export function isFloatArray(values: NumberArray): boolean {
  return values instanceof Float64Array || values instanceof Float32Array;
}

export function sumLoopsOf(values: NumberArray): SumLoops {
  return SUMS.get(values.constructor)!;
}

export function extremeLoopsOf(values: NumberArray): ExtremeLoops {
  return EXTREMES.get(values.constructor)!;
}

/** Adds whole numbers to their group's sum; gives the first row whose sum leaves the safe range, or `rowCount`. */
export function integerLoopOf(values: NumberArray): IntegerLoop {
  return INTEGERS.get(values.constructor)!;
}

const SUMS = new Map<unknown, SumLoops>(
  NUMBER_ARRAY_TYPES.map((type) => [
    type,
    {
      proven3: sumLoop(type.name, 3, false),
      proven4: sumLoop(type.name, 4, false),
      tested3: sumLoop(type.name, 3, true),
      tested4: sumLoop(type.name, 4, true),
      tested3of4: sumLoop(type.name, 3, true, 4),
    },
  ]),
);

const EXTREMES = new Map<unknown, ExtremeLoops>(
  NUMBER_ARRAY_TYPES.map((type) => [
    type,
    { min: extremeLoop(type.name, '<'), max: extremeLoop(type.name, '>') },
  ]),
);

const INTEGERS = new Map<unknown, IntegerLoop>(
  NUMBER_ARRAY_TYPES.map((type) => [
    type,
    make<IntegerLoop>(
      `sum of ${type.name}`,
      'groups, values, factor, base, from, rowCount, sums',
      `for (let row = from; row < rowCount; row += 1) {
        const group = groups[row];
        const sum = sums[group] + (values[row] * factor + base);
        if (!(sum < 9007199254740992 && sum > -9007199254740992)) return row;
        sums[group] = sum;
      }
      return rowCount;`,
    ),
  ]),
);

function sumLoop(name: string, width: 3 | 4, isTested: boolean, binCount = width): SumLoop {
  const split = (
    width === 3
      ? [
          'const r2 = r1 - q2;',
          isTested ? 'if (!(x < limit && x > -limit && r2 + m3 - m3 === r2)) return row;' : '',
          `const at = groups[row] * ${binCount};`,
          'bins[at] += q1; bins[at + 1] += q2; bins[at + 2] += r2;',
        ]
      : [
          'const r2 = r1 - q2, q3 = r2 + m3 - m3, r3 = r2 - q3;',
          isTested ? 'if (!(x < limit && x > -limit && r3 + m4 - m4 === r3)) return row;' : '',
          'const at = groups[row] * 4;',
          'bins[at] += q1; bins[at + 1] += q2; bins[at + 2] += q3; bins[at + 3] += r3;',
        ]
  ).join('\n');
  const loop = (isNullable: boolean): string => `
    for (let row = from; row < rowCount; row += 1) {
      ${isNullable ? 'if (validity[row] === 0) continue;' : ''}
      const x = values[row]${name.startsWith('Float') ? '' : ' * factor + base'};
      const q1 = x + m1 - m1, r1 = x - q1, q2 = r1 + m2 - m2;
      ${split}
    }`;
  return make(
    `${isTested ? 'tested' : 'proven'} ${width} of ${binCount} bins of ${name}`,
    'groups, values, factor, base, validity, from, rowCount, bins, grids',
    `const limit = grids[0], m1 = grids[1], m2 = grids[2], m3 = grids[3], m4 = grids[4];
    if (validity === undefined) {${loop(false)}
    } else {${loop(true)}
    }
    return rowCount;`,
  );
}

function extremeLoop(name: string, better: '<' | '>'): ExtremeLoop {
  const loop = (isNullable: boolean): string => `
    for (let row = 0; row < rowCount; row += 1) {
      ${isNullable ? 'if (validity[row] === 0) continue;' : ''}
      const value = values[row]${name.startsWith('Float') ? '' : ' * factor + base'};
      const group = groups[row];
      if (!(best[group] ${better === '<' ? '<=' : '>='} value)) best[group] = value;
    }`;
  return make(
    `${better} of ${name}`,
    'groups, values, factor, base, validity, rowCount, best',
    `if (validity === undefined) {${loop(false)}
    } else {${loop(true)}
    }`,
  );
}

function make<Loop>(signature: string, parameters: string, body: string): Loop {
  // eslint-disable-next-line no-new-func -- The text is made of the names above alone.
  return new Function(
    ...parameters.split(', '),
    `'use strict'; /* ${signature} */ ${body}`,
  ) as Loop;
}
