import { expect, test } from 'vitest';
import { didYouMean, nearestOf } from '../../src/base/nearest.ts';

test('a name is meant where less than half of it would be another', () => {
  // Each name of one letter was near every other: `x` was asked whether it meant `g`.
  expect(nearestOf('x', ['g', 'id'])).toBeUndefined();
  expect(nearestOf('X', ['g', 'x'])).toBe('x');
  expect(nearestOf('it', ['id', 'g'])).toBe('id');
  expect(nearestOf('regoin', ['region', 'reason'])).toBe('region');
  expect(didYouMean('x', ['g', 'id'])).toBe('Known are "g", "id".');
});
