import { expect, test } from 'vitest';
import { InputTexts, RowReader, type InputRow } from '../../src/actors/rows-in.ts';
import { TEXT } from '../../src/columns/types.ts';
import type { Vector } from '../../src/columns/vector.ts';

// Each chunk of a stream had made a dictionary of its own, which the journal kept.
test('chunks of a stream have one dictionary a column', () => {
  const reader = new RowReader([{ name: 's', type: TEXT }]);
  const context = { zone: 'UTC', nowMicros: 0 };
  const stream = new InputTexts();
  const read = (texts: InputTexts, first: number): Vector => {
    const rows: InputRow[] = Array.from({ length: 100 }, (_, row) => ({
      s: `text ${(first + row) % 20}`,
    }));
    return reader.objects('t', rows, context, 0, texts).columns[0]!;
  };
  const dictionaryOf = (vector: Vector): unknown =>
    vector.rep === 'dictionary' ? vector.dictionary : undefined;
  const one = dictionaryOf(read(new InputTexts(stream), 0));
  expect(one).toMatchObject({ size: 20 });
  expect(dictionaryOf(read(new InputTexts(stream), 7))).toBe(one);
  expect(one).toMatchObject({ size: 20 });
  expect(dictionaryOf(read(new InputTexts(), 7))).not.toBe(one);
});
