import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RowIdSet } from '../../src/actors/row-id-set.ts';

test('a set of row ids has what a Set has, whatever comes and goes', () => {
  const id = fc.oneof(
    fc.integer({ min: 0, max: 1100 }),
    fc.constantFrom(31, 32, 511, 512, 65_535, 65_536, 2 ** 31, 2 ** 32 + 5, 2 ** 52 - 1),
  );
  const step = fc.tuple(
    fc.constantFrom<'add' | 'delete' | 'has'>('add', 'add', 'delete', 'has'),
    id,
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
      const set = new RowIdSet();
      const model = new Set<number>();
      for (const [verb, each] of steps) {
        const had = model.has(each);
        if (verb === 'add') {
          model.add(each);
          expect(set.add(each)).toBe(!had);
        } else expect(set[verb](each)).toBe(verb === 'has' ? had : model.delete(each));
        expect(set.size).toBe(model.size);
      }
      const kept = new RowIdSet();
      for (const each of model) expect(kept.add(each)).toBe(true);
      kept.clear();
      expect(kept.size).toBe(0);
      for (const each of model) expect(kept.has(each)).toBe(false);
      for (const each of model) expect(set.delete(each)).toBe(true);
      expect(set.size).toBe(0);
    }),
  );
});
