import type { FunctionDef } from '../function-def.ts';
import { ARITHMETIC } from './arithmetic.ts';
import { COMPARISON } from './comparison.ts';

/** Every scalar function and operator. Overloads are resolved by the catalog; ids are unique (tested). */
export const ALL_FUNCTIONS: readonly FunctionDef[] = [...ARITHMETIC, ...COMPARISON];
