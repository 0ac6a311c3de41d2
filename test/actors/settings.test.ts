import { expect, test } from 'vitest';
import { open } from '../../src/index.ts';

test('RESET ALL takes back what SET has set, and what it takes back in a transaction ROLLBACK gives back', async () => {
  await using db = await open({ workers: 0 });
  await using session = db.session({ user: 'ann' });
  const zone = async (): Promise<unknown> =>
    (await session.query('SHOW timezone', { format: 'text' })).rows[0];
  await session.exec("SET timezone = 'Europe/Berlin'");
  await session.exec('BEGIN');
  await session.exec('RESET ALL');
  expect(await zone()).toEqual(['UTC']);
  await session.exec('ROLLBACK');
  expect(await zone()).toEqual(['Europe/Berlin']);
  await session.exec('RESET ALL');
  expect(await zone()).toEqual(['UTC']);
  expect((await session.query('SELECT current_user AS u')).rows).toEqual([{ u: 'ann' }]);
});

test('current_schema and current_database are functions, too', async () => {
  await using db = await open({ workers: 0 });
  expect(
    (await db.query('SELECT current_schema(), current_database(), current_schema AS s')).rows,
  ).toEqual([{ current_schema: 'public', current_database: 'main', s: 'public' }]);
});
