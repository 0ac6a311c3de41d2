import fc from 'fast-check';
import { expect, test } from 'vitest';
import { open } from '../../src/open.ts';

test('LIKE is the same on few texts, on many, and on one at a time', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, s text)');
  const part = fc.constantFrom('a', 'b', 'ab', 'é', '😀', 'x', '%', '_');
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.array(part, { maxLength: 6 }).map((all) => all.join('')),
        { maxLength: 20 },
      ),
      fc.array(part, { maxLength: 5 }).map((all) => all.join('')),
      async (texts, pattern) => {
        await db.exec('TRUNCATE t');
        await db.insert('t', { id: Int32Array.from(texts, (_, at) => at), s: texts });
        const { rows } = await db.query<{ id: number }>(
          `SELECT id FROM t WHERE s LIKE '${pattern}' ORDER BY id`,
        );
        const expression = new RegExp(
          `^${[...pattern].map((each) => (each === '%' ? '.*' : each === '_' ? '.' : each)).join('')}$`,
          'su',
        );
        expect(rows.map(({ id }) => id)).toEqual(
          texts.flatMap((text, at) => (expression.test(text) ? [at] : [])),
        );
      },
    ),
    { numRuns: 60 },
  );
});

test('date_trunc of a column is that of each instant, in zones with and without summer time', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, ts timestamptz)');
  const instants = [
    '1890-03-01T12:34:56Z',
    '1945-05-24T00:30:00Z',
    '2025-03-30T00:59:59.999999Z',
    '2025-03-30T01:00:00Z',
    '2025-10-26T00:15:00Z',
    '2025-10-26T01:15:00Z',
    '2025-12-31T23:59:59Z',
    '2026-01-01T00:00:00Z',
    'infinity',
  ];
  await db.insert('t', [
    ...instants.map((ts, id) => ({ id, ts })),
    { id: instants.length, ts: null },
  ]);
  for (const zone of ['UTC', 'Europe/Berlin', 'Asia/Kathmandu', 'America/New_York']) {
    for (const unit of ['hour', 'day', 'week', 'month', 'year']) {
      const all = await db.query(`SELECT date_trunc('${unit}', ts) AS t FROM t ORDER BY id`, {
        zone,
      });
      const grouped = await db.query(
        `SELECT date_trunc('${unit}', ts) AS t, count(*) AS n FROM t GROUP BY 1 ORDER BY 1`,
        { zone },
      );
      const each: unknown[] = [];
      for (const ts of instants) {
        const { rows } = await db.query(`SELECT date_trunc('${unit}', $1::timestamptz) AS t`, {
          zone,
          params: [ts],
        });
        each.push(rows[0]!['t']);
      }
      expect(
        all.rows.map(({ t }) => t),
        `${unit} in ${zone}`,
      ).toEqual([...each, null]);
      expect(new Set(grouped.rows.map(({ t }) => t))).toEqual(new Set([...each, null]));
    }
  }
});

test('products and quotients of doubles are those of one row, refusals included', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, a float8, b float8)');
  const double = fc.oneof(
    fc.constantFrom(0, -0, 1e-200, -1e-200, 1e200, Infinity, -Infinity, NaN, 2.5, null),
    fc.double(),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(double, double), { minLength: 1, maxLength: 5 }),
      fc.constantFrom('*', '/'),
      async (pairs, operator) => {
        await db.exec('TRUNCATE t');
        await db.insert(
          't',
          pairs.map(([a, b], id) => ({ id, a, b })),
        );
        const all = await outcome(db.query(`SELECT a ${operator} b AS c FROM t ORDER BY id`));
        const each: unknown[] = [];
        let refusal: string | undefined;
        for (const pair of pairs) {
          const one = await outcome(
            db.query(`SELECT $1::float8 ${operator} $2::float8 AS c`, { params: pair }),
          );
          if (typeof one === 'string') refusal ??= one;
          else each.push(...one);
        }
        expect(all).toEqual(refusal ?? each);
      },
    ),
    { numRuns: 150 },
  );
});

async function outcome(
  query: Promise<{ readonly rows: readonly Record<string, unknown>[] }>,
): Promise<unknown[] | string> {
  try {
    return (await query).rows.map((row) => row['c']);
  } catch (cause) {
    return (cause as { code: string }).code;
  }
}
