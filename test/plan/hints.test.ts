import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { DbError } from '../../src/base/errors.ts';
import { open } from '../../src/open.ts';

const SETUP = `
  CREATE TABLE orders (
    id bigint PRIMARY KEY, ts timestamptz NOT NULL, region text CHECK (region <> ''), customer int, amount numeric(12,2) DEFAULT 0,
    doubled numeric GENERATED ALWAYS AS (amount * 2) STORED, code varchar(8) UNIQUE, small smallint, flag boolean, u uuid, b bytea, d date, f real,
    ch char(3)
  ) WITH (time = 'ts');
  CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, segment text);
  CREATE TABLE ids (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v int);
  CREATE SEQUENCE sq MAXVALUE 2;
  CREATE INDEX oc ON orders (customer);
  CREATE VIEW v AS SELECT id, region FROM orders;
  CREATE MATERIALIZED VIEW mv AS SELECT region, count(*) AS n FROM orders GROUP BY region;
  INSERT INTO orders (id, ts, region, customer, code) VALUES (1, '2026-01-01', 'EU', 1, 'a'), (2, '2026-01-02', 'US', 2, 'b');
  INSERT INTO customers VALUES (1, 'Ann', 'retail'), (2, 'Bob', 'trade')`;

/** Lines that begin at the margin are statements; `vitest -u` writes below each what it is answered. */
test('whatever is wrong in a statement is answered with what helps', async () => {
  const db = await open();
  await db.exec(SETUP);
  const statements = readFileSync(new URL('wrong-statements.txt', import.meta.url), 'utf8')
    .split('\n')
    .filter((line) => /^\S/.test(line));
  const answers: string[] = [];
  for (const sql of statements) {
    const error = await db.query(sql).then(
      () => undefined,
      (cause: unknown) => cause,
    );
    if (!(error instanceof DbError)) throw new Error(`accepted: ${sql}`, { cause: error });
    expect([sql, typeof error.hint]).toEqual([sql, 'string']);
    answers.push(`${sql}\n    ${error.code} ${error.message}\n    ${error.hint}\n`);
  }
  await expect(answers.join('')).toMatchFileSnapshot('./wrong-statements.txt');
  await db.close();
});
