import fc from 'fast-check';
import { expect, test } from 'vitest';
import { open } from '../../src/open.ts';

test('texts come back as they were given, few or many, and doubles for a numeric as they are written', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, s text, v varchar(3), n numeric(12,2))');
  const text = fc.oneof(
    fc.constantFrom('a', 'b', '', 'é', '😀', null),
    fc.string({ unit: 'grapheme', maxLength: 6 }).map((each) => each.replaceAll('\0', '')),
    fc.uuid(),
  );
  const cents = fc.integer({ min: -1_000_000_000, max: 1_000_000_000 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(text, cents), { minLength: 60, maxLength: 90 }),
      fc.integer({ min: 1, max: 12 }),
      async (rows, repeat) => {
        const all = Array.from({ length: repeat }, () => rows).flat();
        await db.exec('TRUNCATE t');
        await db.insert('t', {
          id: Int32Array.from(all, (_, at) => at),
          s: all.map(([each]) => each),
          v: all.map((_, at) => (at % 7 === 0 ? null : `v${at % 10}`)),
          n: Float64Array.from(all, ([, each]) => each / 100),
        });
        const back = await db.query('SELECT s, v, n FROM t ORDER BY id');
        expect(back.rows).toEqual(
          all.map(([s, each], at) => ({
            s,
            v: at % 7 === 0 ? null : `v${at % 10}`,
            n: (each / 100).toFixed(2),
          })),
        );
      },
    ),
    { numRuns: 12 },
  );
});

test('a text that does not fit is refused with its row, among texts that do', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (s text, v varchar(3))');
  const texts = Array.from({ length: 100 }, (_, at) => `text ${at}`);
  await expect(
    db.insert('t', { s: texts.map((each, at) => (at === 70 ? 'a\0b' : each)) }),
  ).rejects.toMatchObject({ code: '22021', detail: expect.stringContaining('Row 71') as string });
  await expect(
    db.insert('t', { v: texts.map((_, at) => (at === 80 ? 'long' : 'abc')) }),
  ).rejects.toMatchObject({ code: '22001', detail: expect.stringContaining('Row 81') as string });
});
