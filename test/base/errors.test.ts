import { inspect } from 'node:util';
import { expect, test } from 'vitest';
import { DbError } from '../../src/base/errors.ts';

test('an error has the fields that are set, and no others', () => {
  // Whoever printed one had to read ten lines of `undefined`.
  const error = new DbError('42P01', 'relation "t" does not exist', { table: 't' });
  expect(Object.keys(error).toSorted()).toEqual(['code', 'hint', 'name', 'retryable', 'table']);
  expect(inspect(error)).not.toContain('undefined');
  expect(JSON.parse(JSON.stringify(error))).toMatchObject({ code: '42P01', table: 't' });
});
