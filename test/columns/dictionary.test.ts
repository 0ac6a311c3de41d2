import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MemoryAccount } from '../../src/base/memory.ts';
import { Dictionary } from '../../src/columns/dictionary.ts';

const texts = fc.array(fc.string({ unit: 'binary', maxLength: 40 }), { maxLength: 300 });

test('a dictionary gives equal texts one code and reads each back', () => {
  fc.assert(
    fc.property(texts, (values) => {
      const memory = new MemoryAccount('test');
      const dictionary = new Dictionary(memory);
      const model = new Map<string, number>();
      for (const text of values) {
        const code = dictionary.add(text);
        if (!model.has(text)) model.set(text, model.size);
        expect(code).toBe(model.get(text));
      }
      expect(dictionary.size).toBe(model.size);
      for (const [text, code] of model) {
        expect(dictionary.text(code)).toBe(text);
        expect(dictionary.find(text)).toBe(code);
        expect(new TextDecoder('utf-8', { ignoreBOM: true }).decode(dictionary.bytes(code))).toBe(
          text,
        );
      }
      expect(dictionary.find('a text that is not there')).toBe(-1);
      dictionary.close();
      expect(memory.usedBytes).toBe(0);
    }),
    { numRuns: 50 },
  );
});

test('two hundred thousand texts keep their codes while parts split and chunks fill', () => {
  const dictionary = new Dictionary();
  let wrong = 0;
  for (let index = 0; index < 200_000; index += 1)
    if (dictionary.add(`value ${index}`) !== index) wrong += 1;
  expect(wrong).toBe(0);
  for (let index = 0; index < 200_000; index += 997) {
    expect(dictionary.find(`value ${index}`)).toBe(index);
    expect(dictionary.text(index)).toBe(`value ${index}`);
  }
  const long = 'x'.repeat(3_000_000);
  const code = dictionary.add(long);
  expect(dictionary.find('value 7')).toBe(7);
  expect(dictionary.text(code)).toBe(long);
  expect(dictionary.add('after the long one')).toBe(code + 1);
});
