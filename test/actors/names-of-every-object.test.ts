import { expect, test } from 'vitest';
import { DbError } from '../../src/base/errors.ts';
import { open } from '../../src/open.ts';

// Names were looked up in plain objects, whose own prototype has some, too: `constructor` was a type that no code expects, and a setting.
test('what every object has is no type, function, setting, class or argument', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (a int); INSERT INTO t VALUES (1)');
  for (const name of ['constructor', 'toString', 'valueOf', 'hasOwnProperty', '__proto__']) {
    const quoted = `"${name}"`;
    for (const sql of [
      `SELECT ${quoted}(a) FROM t`,
      `SELECT ${quoted}(DISTINCT a) FROM t`,
      `SELECT ${quoted}(a => 1) FROM t`,
      `SELECT ${quoted}(a) OVER () FROM t`,
      `SELECT a::${quoted} FROM t`,
      `CREATE TABLE x (a ${quoted})`,
      `SET ${quoted} = 1`,
      `SHOW ${quoted}`,
      `SELECT extract(${quoted} FROM now())`,
      `SELECT date_trunc('${name}', now())`,
      `SELECT date_trunc('${name}', interval '1 day')`,
      `SELECT interval '1 ${name}'`,
      `SELECT a COLLATE ${quoted} FROM t`,
      `SELECT * FROM ${quoted}(1)`,
      `CREATE TABLE x (a int) WITH (${quoted} = 1)`,
      `SELECT encode('a'::bytea, '${name}')`,
      `SELECT 'a' ~ '[[:${name}:]]'`,
    ]) {
      const failure: unknown = await db.query(sql).then(
        () => 'none',
        (cause: unknown) => cause,
      );
      expect(failure, sql).toBeInstanceOf(DbError);
      expect((failure as DbError).code, sql).toMatch(/^(?!XX)[0-9A-Z]{5}$/);
    }
    // A setting of an application has a dot.
    expect(
      (await db.query(`SELECT current_setting('adb.claims.${name}', true) AS c`)).rows,
    ).toEqual([{ c: null }]);
  }
});
