import { expect, test } from 'vitest';
import { open } from '../../src/index.ts';

test('a column without a name is called after the outermost cast, unless what is cast has a name', async () => {
  await using db = await open({ workers: 0 });
  const namesOf = async (list: string): Promise<string> =>
    (await db.query(`SELECT ${list} FROM (SELECT 1 AS id) x`)).columns
      .map(({ name }) => name)
      .join();
  expect(await namesOf("1::text::int, true::int, '1'::int::numeric::text")).toBe('int4,int4,text');
  expect(await namesOf('id::text::int, upper(id::text)::text, CAST(coalesce(id, 1) AS text)')).toBe(
    'id,upper,coalesce',
  );
  expect(
    await namesOf('CASE WHEN true THEN 1 END::text, (CASE WHEN true THEN 1 ELSE id END)::text'),
  ).toBe('text,id');
  expect(
    await namesOf(
      "CASE WHEN true THEN 1 ELSE '1'::int END, (SELECT 1)::text, (SELECT 1::int)::text",
    ),
  ).toBe('case,?column?,int4');
});
