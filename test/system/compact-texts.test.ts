import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { InputColumns } from '../../src/actors/rows-in.ts';
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

test('chunks of a stream tell their texts apart, whatever earlier chunks had under the same codes', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, s text)');
  const chunk = fc.record({
    form: fc.constantFrom('objects', 'columns', 'codes'),
    pool: fc.uniqueArray(fc.string({ unit: 'grapheme-ascii', maxLength: 4 }), {
      minLength: 1,
      maxLength: 12,
    }),
    rowCount: fc.integer({ min: 1, max: 200 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(chunk, { minLength: 2, maxLength: 8 }), async (chunks) => {
      await db.exec('TRUNCATE t');
      const expected: { id: number; s: string | null }[] = [];
      async function* stream(): AsyncGenerator<Record<string, unknown>[] | InputColumns> {
        for (const { form, pool, rowCount } of chunks) {
          const from = expected.length;
          const codes = Uint8Array.from({ length: rowCount }, (_, row) => (row * 7) % pool.length);
          const rows = Array.from(codes, (code, row) => ({ id: from + row, s: pool[code]! }));
          expected.push(...rows);
          const id = Int32Array.from(rows, (row) => row.id);
          if (form === 'objects') yield rows;
          else if (form === 'columns') yield { id, s: rows.map(({ s }) => s) };
          else yield { id, s: { codes, dictionary: pool } };
        }
      }
      await db.insert('t', stream());
      expect((await db.query('SELECT id, s FROM t ORDER BY id')).rows).toEqual(expected);
    }),
    { numRuns: 30 },
  );
});

test('a chunk of a stream is read for the table as it has become', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, v varchar(3))');
  const rows = (from: number, v: string): Record<string, unknown>[] =>
    Array.from({ length: 100 }, (_, row) => ({ id: from + row, v }));
  async function* stream(): AsyncGenerator<Record<string, unknown>[]> {
    yield rows(0, 'abc');
    await db.exec('DELETE FROM t; ALTER TABLE t ALTER COLUMN v TYPE varchar(2)');
    yield rows(100, 'ab');
    yield rows(200, 'abc');
  }
  await expect(db.insert('t', stream())).rejects.toMatchObject({ code: '22001', column: 'v' });
  expect((await db.query('SELECT count(*) AS n FROM t')).rows).toEqual([{ n: 100 }]);
});
