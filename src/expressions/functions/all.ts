import type { FunctionDef } from '../function-def.ts';
import { ARITHMETIC } from './arithmetic.ts';
import { BYTES } from './bytes.ts';
import { COMPARISON } from './comparison.ts';
import { DIGESTS } from './digests.ts';
import { FORMATTING } from './formatting.ts';
import { MATHEMATICS } from './mathematics.ts';
import { REGEX } from './regex.ts';
import { TIME_BUCKETS_FROM } from './time-bucket-origin.ts';
import { TIME_BUCKETS } from './time-bucket.ts';
import { TIMES } from './times.ts';

/** Every scalar function and operator. Overloads are resolved by the catalog; ids are unique (tested). */
export const ALL_FUNCTIONS: readonly FunctionDef[] = [
  ...ARITHMETIC,
  ...COMPARISON,
  ...REGEX,
  ...DIGESTS,
  ...BYTES,
  ...MATHEMATICS,
  ...TIMES,
  ...TIME_BUCKETS,
  ...TIME_BUCKETS_FROM,
  ...FORMATTING,
];
