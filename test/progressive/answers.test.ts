import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { open, type Database } from '../../src/index.ts';
import type { ProgressiveEvent } from '../../src/actors/api-types.ts';

const ROWS = 150_000;
let db: Database;

beforeAll(async () => {
  db = await open({ workers: 0 });
  await db.exec(`CREATE TABLE sales (id bigint PRIMARY KEY, customer int NOT NULL, region text, amount double precision,
    price numeric(10,2) NOT NULL, tail double precision NOT NULL)`);
  await db.exec(
    'CREATE TABLE customers (id int PRIMARY KEY, segment text NOT NULL, factor int NOT NULL)',
  );
  await db.exec('CREATE TABLE visits (customer int NOT NULL, at int NOT NULL)');
  let state = 7;
  const random = (): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return state / 0x7fff_ffff;
  };
  const count = 50_000;
  for (let start = 0; start < ROWS; start += count) {
    const id = new Float64Array(count);
    const customer = new Int32Array(count);
    const region: (string | null)[] = [];
    const amount: (number | null)[] = [];
    const price: string[] = [];
    const tail = new Float64Array(count);
    for (let row = 0; row < count; row += 1) {
      id[row] = start + row;
      customer[row] = Math.floor(random() * 200);
      region.push(random() < 0.01 ? null : `r${Math.floor(random() * random() * 8)}`);
      amount.push(random() < 0.02 ? null : random() * 100 - 20);
      price.push((random() * 50).toFixed(2));
      tail[row] = (random() + 1e-9) ** (-1 / 1.2);
    }
    await db.insert('sales', { id, customer, region, amount, price, tail });
  }
  await db.insert(
    'customers',
    Array.from({ length: 150 }, (_, id) => ({ id, segment: `s${id % 3}`, factor: (id % 5) + 1 })),
  );
  await db.insert(
    'visits',
    Array.from({ length: 2000 }, (_, at) => ({ customer: at % 190, at })),
  );
});

afterAll(() => db.close());

type Loose = Record<
  string,
  {
    estimate: number | null;
    lower: number | null;
    upper: number | null;
    guarantee: string;
    value?: unknown;
  }
>;

async function eventsOf(
  sql: string,
  options: Parameters<Database['progressive']>[1] = {},
): Promise<ProgressiveEvent[]> {
  const events: ProgressiveEvent[] = [];
  for await (const event of db.progressive(sql, options)) events.push(event);
  return events;
}

const QUERIES = [
  'SELECT count(*) AS n, sum(amount) AS s, avg(amount) AS a, min(amount) AS lo, max(amount) AS hi FROM sales',
  'SELECT sum(price) AS s, avg(price) AS a, sum(tail) AS t, avg(tail) AS b FROM sales',
  "SELECT count(*) AS n, avg(amount) AS a FROM sales WHERE region = 'r1' AND amount > 0",
  'SELECT region, count(*) AS n, avg(amount) AS a, sum(price) AS p FROM sales GROUP BY region',
  'SELECT region, sum(amount) AS s FROM sales GROUP BY region HAVING count(*) > 10000 ORDER BY s DESC LIMIT 3',
  'SELECT sum(amount) / sum(price) AS r, 100.0 * count(*) FILTER (WHERE amount < 0) / count(*) AS share FROM sales',
  'SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY amount) AS m, stddev(amount) AS d, var_pop(tail) AS v FROM sales',
  'SELECT c.segment, sum(s.amount * c.factor) AS x, count(*) AS n FROM sales s JOIN customers c ON c.id = s.customer GROUP BY 1',
  'SELECT c.segment, avg(s.amount) AS x FROM customers c RIGHT JOIN sales s ON c.id = s.customer GROUP BY 1',
  'SELECT count(*) AS n, sum(amount) AS s FROM sales WHERE customer IN (SELECT id FROM customers)',
  'SELECT customer, count(DISTINCT region) AS d, round(avg(price), 1) AS a FROM sales GROUP BY 1',
  'SELECT count(*) AS n, sum(s.amount) AS a FROM sales s JOIN visits v ON v.customer = s.customer',
];

describe('progressive answers', () => {
  for (const sql of QUERIES)
    test(`end as the plain query, to the bit, and never exclude it where they promise: ${sql}`, async () => {
      const plain = await db.query<Record<string, unknown>>(sql);
      // Of 0.95 one run in twenty may miss: the order of rows is another one in each database.
      const events = await eventsOf(sql, { seed: 11, confidence: 0.999999 });
      const last = events.at(-1)!;
      expect(last.kind).toBe('final');
      expect(last.reason).toBe('exact');
      expect(last.fraction).toBe(1);
      const shown = (last.rows as readonly Loose[]).map((row) =>
        Object.fromEntries(
          Object.entries(row).map(([name, value]) => [
            name,
            value !== null && typeof value === 'object' && 'guarantee' in value
              ? value.value
              : value,
          ]),
        ),
      );
      expect(shown).toEqual(plain.rows);
      expect(events.length).toBeGreaterThan(1);
      // Groups are told apart by what is not estimated.
      const keyOf = (row: Loose): string =>
        JSON.stringify(
          Object.entries(row).filter(([, value]) => value === null || typeof value !== 'object'),
        );
      const exact = new Map((last.rows as readonly Loose[]).map((row) => [keyOf(row), row]));
      let compared = 0;
      for (const { rows, rowsSeen, rowsTotal } of events.slice(0, -1)) {
        expect(rowsSeen).toBeLessThanOrEqual(rowsTotal);
        for (const row of rows as readonly Loose[])
          for (const [name, cell] of Object.entries(row)) {
            if (cell === null || typeof cell !== 'object' || cell.guarantee === 'none') continue;
            const truth = exact.get(keyOf(row))?.[name]?.estimate;
            if (truth === undefined || truth === null) continue;
            compared += 1;
            if (cell.guarantee !== 'rigorous') continue;
            expect(cell.lower ?? -Infinity).toBeLessThanOrEqual(truth);
            expect(cell.upper ?? Infinity).toBeGreaterThanOrEqual(truth);
          }
      }
      expect(compared).toBeGreaterThan(0);
    });

  test('intervals narrow from look to look, and lie within those before', async () => {
    const events = await eventsOf(
      'SELECT count(*) FILTER (WHERE amount > 50) AS n, avg(amount) AS a FROM sales',
      { seed: 3 },
    );
    const looks = events.filter((event) => event.kind === 'estimate' && event.rows.length > 0);
    expect(looks.length).toBeGreaterThan(4);
    for (let at = 1; at < looks.length; at += 1)
      for (const name of ['n', 'a']) {
        const [before, after] = [looks[at - 1]!, looks[at]!].map(
          (event) => (event.rows[0] as unknown as Loose)[name]!,
        );
        expect(after!.lower!).toBeGreaterThanOrEqual(before!.lower!);
        expect(after!.upper!).toBeLessThanOrEqual(before!.upper!);
        expect(after!.lower!).toBeLessThanOrEqual(after!.estimate!);
        expect(after!.upper!).toBeGreaterThanOrEqual(after!.estimate!);
      }
    const [first, last] = [looks[0]!, looks.at(-1)!].map(
      (event) => (event.rows[0] as unknown as Loose)['a']!,
    );
    expect(last!.upper! - last!.lower!).toBeLessThan((first!.upper! - first!.lower!) / 3);
  });

  test('an answer stops when it is good enough, and goes on when more is wanted', async () => {
    const answer = db.progressive('SELECT avg(amount) AS a FROM sales', {
      stop: { relativeError: 0.05 },
      seed: 5,
    });
    const stopped = await answer.result();
    expect(stopped.reason).toBe('stop');
    expect(stopped.fraction).toBeLessThan(1);
    const { estimate, lower, upper } = (stopped.rows[0] as unknown as Loose)['a']!;
    expect((upper! - lower!) / 2 / estimate!).toBeLessThanOrEqual(0.05);
    await answer.refineTo({ rows: stopped.rowsSeen + 1 });
    const further = await answer.result();
    expect(further.rowsSeen).toBeGreaterThan(stopped.rowsSeen);
    await answer.refineTo('exact');
    let last: ProgressiveEvent | undefined;
    for await (const event of answer) last = event;
    expect(last?.reason).toBe('exact');
  });

  test('a cancelled answer stays what it was; one that is left in a loop is cancelled', async () => {
    const answer = db.progressive('SELECT sum(tail) AS s FROM sales');
    let seen = 0;
    for await (const event of answer) {
      if (event.rows.length === 0) continue;
      seen = event.rowsSeen;
      await answer.cancel();
    }
    const end = await answer.result();
    expect(end.reason).toBe('cancelled');
    expect(end.rowsSeen).toBeGreaterThanOrEqual(seen);
    expect(end.rows).toHaveLength(1);
    const left = db.progressive('SELECT sum(tail) AS s FROM sales');
    for await (const event of left) if (event.rows.length > 0) break;
    expect((await left.result()).reason).toBe('cancelled');
    await expect(left.refineTo('exact')).rejects.toMatchObject({ code: '55000' });
  });

  test('a paused answer reads nothing; resumed, it gives what it would have given', async () => {
    const sql = 'SELECT region, sum(tail) AS s FROM sales GROUP BY 1';
    const whole = await eventsOf(sql, { seed: 21 });
    const answer = db.progressive(sql, { seed: 21 });
    const looks = new Map<number, unknown>();
    for await (const event of answer) {
      looks.set(event.rowsSeen, event.rows);
      if (looks.size !== 2 || event.kind === 'final') continue;
      await answer.pause();
      await new Promise((resolve) => setTimeout(resolve, 20));
      await answer.resume();
    }
    for (const { rowsSeen, rows } of whole)
      if (looks.has(rowsSeen)) expect(looks.get(rowsSeen)).toEqual(rows);
    expect(looks.size).toBeGreaterThan(2);
  });

  test('the same sequence is had again by the mark of an event, whatever was written since', async () => {
    const sql = 'SELECT sum(tail) AS s, count(*) AS n FROM sales WHERE amount > 0';
    const first = await eventsOf(sql);
    await db.insert('sales', [
      { id: -1, customer: 1, region: 'r1', amount: 1e6, price: '1.00', tail: 1 },
    ]);
    const again = await eventsOf(sql, { resume: first[0]!.resume });
    await db.delete('sales', { id: -1 });
    const by = new Map(first.map((event) => [event.rowsSeen, event.rows]));
    let same = 0;
    for (const { rowsSeen, rows } of again)
      if (by.has(rowsSeen)) {
        expect(rows).toEqual(by.get(rowsSeen));
        same += 1;
      }
    expect(same).toBeGreaterThan(1);
    expect(again.at(-1)!.rows).toEqual(first.at(-1)!.rows);
  });

  test('a write while an answer is made changes nothing of it', async () => {
    const plain = await db.query<{ s: number }>('SELECT sum(tail) AS s FROM sales');
    const answer = db.progressive('SELECT sum(tail) AS s FROM sales');
    let isWritten = false;
    let last: ProgressiveEvent | undefined;
    for await (const event of answer) {
      last = event;
      if (isWritten) continue;
      isWritten = true;
      await db.insert('sales', [
        { id: -2, customer: 1, region: 'r1', amount: 1, price: '1.00', tail: 1e9 },
      ]);
      await db.exec('UPDATE sales SET tail = tail + 1 WHERE id BETWEEN 140000 AND 149999');
    }
    expect((last!.rows[0] as unknown as Loose)['s']!.value).toBe(plain.rows[0]!.s);
    await db.delete('sales', { id: -2 });
    await db.exec('UPDATE sales SET tail = tail - 1 WHERE id BETWEEN 140000 AND 149999');
  });

  test('what cannot be estimated says why at once, and is exact in the end', async () => {
    for (const [sql, why] of [
      ['SELECT id, amount FROM sales WHERE id < 3', 'lists rows'],
      ['SELECT DISTINCT region FROM sales', 'DISTINCT'],
      ["SELECT string_agg(region, ',') AS t FROM sales WHERE id < 5", 'order'],
      [
        'SELECT avg(n) AS a FROM (SELECT customer, count(*) AS n FROM sales GROUP BY 1) x',
        'inner one',
      ],
    ] as const) {
      const events = await eventsOf(sql);
      expect(events[0]).toMatchObject({ rows: events.length > 1 ? [] : expect.anything() });
      expect(events.at(-1)!.why).toContain(why);
      const plain = await db.query<Record<string, unknown>>(sql);
      // What an aggregate gives has its value where an estimate has it.
      const isAggregated = why === 'order' || why === 'inner one';
      const exact = (value: unknown): unknown => {
        const number = typeof value === 'number' ? value : null;
        const own =
          typeof value === 'string' && Number.isFinite(Number(value)) ? Number(value) : number;
        return { estimate: own, lower: own, upper: own, guarantee: 'exact', value };
      };
      expect(events.at(-1)!.rows).toEqual(
        plain.rows.map((row) =>
          Object.fromEntries(
            Object.entries(row).map(([name, value]) => [name, isAggregated ? exact(value) : value]),
          ),
        ),
      );
    }
  });

  test('few rows, none, and only NULLs are answered rightly', async () => {
    await db.exec('CREATE TABLE small (x int, y double precision)');
    const none = await eventsOf('SELECT count(*) AS n, sum(x) AS s, avg(y) AS a FROM small');
    expect(none.at(-1)!.rows).toEqual([
      {
        n: { estimate: 0, lower: 0, upper: 0, guarantee: 'exact', value: 0 },
        s: { estimate: null, lower: null, upper: null, guarantee: 'exact', value: null },
        a: { estimate: null, lower: null, upper: null, guarantee: 'exact', value: null },
      },
    ]);
    await db.insert('small', [{ x: 4, y: null }]);
    const one = await eventsOf('SELECT sum(x) AS s, avg(y) AS a FROM small');
    expect((one.at(-1)!.rows[0] as unknown as Loose)['s']!.value).toBe(4);
    expect((one.at(-1)!.rows[0] as unknown as Loose)['a']!.value).toBeNull();
    const filtered = await eventsOf(
      'SELECT count(*) AS n, sum(amount) AS s, avg(amount) AS a FROM sales WHERE amount > 1000',
    );
    for (const { rows } of filtered) {
      for (const row of rows as readonly Loose[]) {
        expect(row['n']!.lower).toBe(0);
        expect(row['n']!.upper).toBeGreaterThanOrEqual(0);
      }
    }
    expect((filtered.at(-1)!.rows[0] as unknown as Loose)['a']!.value).toBeNull();
    await db.exec('DROP TABLE small');
  });

  test('options that make no sense are refused by name', async () => {
    const sql = 'SELECT count(*) FROM sales';
    expect(() => db.progressive(sql, { confidence: 2 })).toThrow(/confidence/);
    expect(() => db.progressive(sql, { stop: { relativeError: -1 } })).toThrow(/relativeError/);
    expect(() => db.progressive(sql, { stop: { speed: 1 } as never })).toThrow(/speed/);
    // A rule or an option that is not known would be one that is never met.
    for (const [options, field, hint] of [
      [{ stop: {} }, 'stop', /Give 'exact'/],
      [{ stop: { relativeError: undefined } }, 'stop', /Give 'exact'/],
      [{ stop: { relError: 0.01 } }, 'stop.relError', /Did you mean "relativeError"/],
      [{ stop: { row: 5 } }, 'stop.row', /Did you mean "rows"/],
      [{ confidense: 0.9 }, 'confidense', /Did you mean "confidence"/],
      [{ relativeError: 0.01 }, 'relativeError', /stop: \{ relativeError/],
      [{ velocity: 0.01 }, 'velocity', /Known are .*stop/],
    ] as const)
      expect(() => db.progressive(sql, options as never)).toThrow(
        expect.objectContaining({ code: '22023', field, hint: expect.stringMatching(hint) }),
      );
    const steered = db.progressive(sql, { stop: { rows: 1 } });
    await expect(steered.refineTo({} as never)).rejects.toMatchObject({ field: 'stop' });
    await expect(steered.refineTo({ work_: 1 } as never)).rejects.toMatchObject({
      field: 'stop.work_',
    });
    await steered.cancel();
    expect(() => db.progressive(sql, { resume: 'nonsense' })).toThrow(/resume/);
    await expect(db.progressive('SELECT nothing FROM sales').result()).rejects.toMatchObject({
      code: '42703',
    });
    await expect(db.progressive('DELETE FROM sales').result()).rejects.toMatchObject({
      code: '42601',
    });
    const abort = new AbortController();
    const answer = db.progressive(sql.replace('count(*)', 'sum(tail)'), { signal: abort.signal });
    abort.abort();
    await expect(answer.result()).rejects.toMatchObject({ code: '57014' });
  });

  test('deletes of most rows leave intervals right', async () => {
    await db.exec('CREATE TABLE sparse (id int PRIMARY KEY, x double precision NOT NULL)');
    const n = 140_000;
    await db.insert('sparse', {
      id: Int32Array.from({ length: n }, (_, id) => id),
      x: Float64Array.from({ length: n }, (_, id) => (id * 7919) % 1000),
    });
    await db.exec('DELETE FROM sparse WHERE id % 10 <> 3');
    const plain = await db.query<{ n: number; s: number }>(
      'SELECT count(*) AS n, sum(x) AS s FROM sparse',
    );
    for (const { rows } of await eventsOf('SELECT count(*) AS n, sum(x) AS s FROM sparse', {
      seed: 9,
      confidence: 0.999999,
    }))
      for (const row of rows as readonly Loose[]) {
        expect(row['n']!.lower!).toBeLessThanOrEqual(plain.rows[0]!.n);
        expect(row['n']!.upper!).toBeGreaterThanOrEqual(plain.rows[0]!.n);
        expect(row['s']!.lower!).toBeLessThanOrEqual(plain.rows[0]!.s * (1 + 1e-9));
        expect(row['s']!.upper!).toBeGreaterThanOrEqual(plain.rows[0]!.s * (1 - 1e-9));
      }
    await db.exec('DROP TABLE sparse');
  });
});
