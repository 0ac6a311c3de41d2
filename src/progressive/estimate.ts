import type { Guarantee } from './confidence.ts';

/** NaN and ±∞: nothing is known. */
export type Estimate = {
  readonly estimate: number;
  readonly lower: number;
  readonly upper: number;
  readonly guarantee: Guarantee;
};

export const NOTHING: Estimate = {
  estimate: Number.NaN,
  lower: -Infinity,
  upper: Infinity,
  guarantee: 'none',
};

export function scaled(estimate: Estimate, factor: number): Estimate {
  if (factor === 1) return estimate;
  const lower = estimate.lower * factor;
  const upper = estimate.upper * factor;
  return {
    estimate: estimate.estimate * factor,
    lower: Math.min(lower, upper),
    upper: Math.max(lower, upper),
    guarantee: estimate.guarantee,
  };
}
