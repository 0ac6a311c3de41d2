/** Whatever is under way when the database closes ends: with its answer, or with 57P01. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { open, type Database, type DbError } from '../../src/index.ts';

const never = new Promise<never>(() => undefined);
const rowsFrom = (first: number, count: number): { id: number; v: number }[] =>
  Array.from({ length: count }, (_, index) => ({ id: first + index, v: index }));
const drained = async (items: AsyncIterable<unknown>): Promise<void> => {
  for await (const _ of items);
};
/** Two sessions, of which the second waits for a row of the first. */
const waits = async (db: Database, text: string): Promise<void> => {
  const [first, second] = [db.session(), db.session()];
  await first.exec('BEGIN; UPDATE t SET v = 1 WHERE id = 1');
  await second.exec(text);
};

const CALLS: { readonly [name: string]: (db: Database) => Promise<unknown> } = {
  insert: (db) => db.insert('t', { id: -1, v: 1 }),
  'insert again and again': (db) =>
    Promise.all(rowsFrom(-3_000, 3_000).map((row) => db.insert('t', row))),
  'large insert': (db) => db.insert('t', rowsFrom(10_000, 20_000)),
  'insert with a key': (db) => {
    const once = (): Promise<unknown> => db.insert('t', { id: -1 }, { idempotencyKey: 'k' });
    return Promise.all([once(), once()]);
  },
  'insert of an iterable': (db) =>
    db.insert(
      't',
      (async function* () {
        yield { id: -1 };
        await never;
      })(),
    ),
  upsert: (db) => db.upsert('t', { id: 1, v: 1 }),
  delete: (db) => db.delete('t', { id: [1, 2] }),
  exec: (db) => db.exec('UPDATE t SET v = v + 1'),
  truncate: (db) => db.exec('TRUNCATE t'),
  definition: (db) => db.exec('ALTER TABLE t ADD COLUMN more int DEFAULT 3'),
  view: (db) => db.exec('CREATE MATERIALIZED VIEW w AS SELECT v, count(*) FROM t GROUP BY v'),
  query: (db) => db.query('SELECT v, count(*) FROM t GROUP BY v'),
  'long query': (db) => db.query('SELECT count(*) FROM generate_series(1, 1000000000)'),
  'query at least': (db) => db.query('SELECT 1', { atLeast: 1_000_000 }),
  stream: (db) => drained(db.stream('SELECT * FROM t', { batchRows: 100 })),
  transaction: (db) =>
    db.transaction(async (tx) => {
      await tx.query('SELECT count(*) FROM t');
      await tx.insert('t', { id: -1 });
      await tx.query('SELECT count(*) FROM t');
    }),
  session: async (db) => {
    const session = db.session();
    for (const text of ['BEGIN', 'UPDATE t SET v = v + 1', 'COMMIT']) await session.exec(text);
  },
  'row that is held': (db) => waits(db, 'UPDATE t SET v = 1 WHERE id = 1'),
  'table that is held': (db) => waits(db, 'ALTER TABLE t ADD COLUMN more int'),
  subscription: (db) => drained(db.subscribe('sums')),
  'subscription to a query': (db) =>
    drained(db.subscribe('SELECT v % 3 AS k, count(*) FROM t GROUP BY 1')),
  window: (db) => db.window('e', { last: '24h', measures: { n: 'count(*)' } }),
  'live window': (db) =>
    drained(
      db.subscribe({ window: { table: 'e', last: '24h', measures: { n: 'count(*)' } } } as never),
    ),
  progressive: (db) => db.progressive('SELECT avg(v) FROM t').result(),
  'paused answer': async (db) => {
    const answer = db.progressive('SELECT avg(v) FROM t');
    await answer.pause();
    await answer.result();
  },
  load: (db) =>
    db.load('l', new Blob(['a,b\n', '1,2\n'.repeat(20_000)]).stream(), {
      create: true,
      format: 'csv',
    }),
  'export to nobody': (db) => db.export('t', new Writable({ write: () => undefined })),
  calendar: (db) => db.calendars.set('acme', { zone: 'UTC' }),
  policy: (db) => db.policies.set('e', { retention: { raw: '90d', day: 'forever' } }),
};

/** From at once to when most calls have come far. */
const MOMENTS: readonly (() => Promise<unknown> | undefined)[] = [
  () => undefined,
  () => Promise.resolve(),
  async () => {
    for (let count = 0; count < 6; count += 1) await Promise.resolve();
  },
  () => turn(),
  () => new Promise((resolve) => setTimeout(resolve, 4)),
];

async function outcomeOf(call: Promise<unknown>): Promise<string> {
  let timer: NodeJS.Timeout;
  const waited = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve('still waits'), 5_000);
  });
  const told = call.then(
    () => 'done',
    (cause: DbError) => cause.code ?? String(cause),
  );
  return Promise.race([told, waited]).finally(() => clearTimeout(timer));
}

test.each(['memory', 'file'] as const)(
  'with a journal in %s',
  async (kind) => {
    const dir = await mkdtemp(join(tmpdir(), 'adb-closing-'));
    const outcomes: [string, number, string][] = [];
    const open1 = async (name: string, index: number): Promise<void> => {
      const journal =
        kind === 'file'
          ? { kind, dir: join(dir, `${name} ${index}`), fsync: 'interval' as const }
          : { kind };
      const db = await open({ journal, memory: '128 MB', workers: 0 });
      await db.exec(`CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE e (ts timestamptz, v int) WITH (time = 'ts');
      CREATE MATERIALIZED VIEW sums AS SELECT v % 10 AS k, count(*) AS n FROM t GROUP BY 1`);
      await db.insert('t', rowsFrom(0, 5_000));
      await db.exec(
        `INSERT INTO e SELECT now() - n * interval '1 minute', n FROM generate_series(1, 1000) AS g(n)`,
      );
      const call = outcomeOf(CALLS[name]!(db));
      await MOMENTS[index]!();
      await db.close();
      outcomes.push([name, index, await call]);
    };
    try {
      for (const name of Object.keys(CALLS))
        await Promise.all(MOMENTS.map((_, index) => open1(name, index)));
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
    expect(outcomes.filter(([, , outcome]) => outcome !== 'done' && outcome !== '57P01')).toEqual(
      [],
    );
    // It is tried in the middle of things.
    expect(new Set(outcomes.map(([, , outcome]) => outcome)).size).toBe(2);
  },
  120_000,
);

test('what a writer was told stands: written and there when it is opened again, or refused and not', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'adb-closing-'));
  const journal = { kind: 'file' as const, dir };
  try {
    let written = 0;
    for (let round = 0; round < 6; round += 1) {
      const db = await open({ journal, memory: '128 MB', workers: 0 });
      if (round === 0) await db.exec('CREATE TABLE t (id int, v int)');
      const { rows } = await db.query('SELECT count(*) AS n FROM t');
      expect(rows).toEqual([{ n: written }]);
      const calls = rowsFrom(0, 200).map((row) => db.insert('t', row));
      for (let index = 0; index < round; index += 1) await turn();
      const more = rowsFrom(0, 200).map((row) => db.exec(`INSERT INTO t VALUES (${row.id}, 1)`));
      const told = Promise.allSettled([...calls, ...more]);
      const closed = db.close();
      // Who closes it a second time waits, too: otherwise the directory would still be in use.
      await db.close();
      await closed;
      for (const each of await told)
        if (each.status === 'fulfilled') written += 1;
        else expect(each.reason).toMatchObject({ code: '57P01' });
    }
    expect(written).toBeGreaterThan(0);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}, 60_000);

test("many calls that hear of one end, the database's or a signal's, are no leak, and nobody is warned of one", async () => {
  const warnings: Error[] = [];
  const note = (warning: Error): void => void warnings.push(warning);
  process.on('warning', note);
  const db = await open();
  await db.exec('CREATE TABLE t (id int)');
  try {
    await Promise.all(Array.from({ length: 20 }, () => db.transaction(() => turn())));
    // A dashboard ends all its panels by one.
    const { signal } = new AbortController();
    const subscriptions = Array.from({ length: 20 }, () => db.subscribe('t', { signal }));
    await Promise.all(subscriptions.map((each) => each.columns));
    const query = (): Promise<unknown> =>
      db.query('SELECT count(*) FROM generate_series(1, 100000)', { signal });
    await Promise.all(Array.from({ length: 20 }, query));
    await turn();
    expect(warnings).toEqual([]);
  } finally {
    process.off('warning', note);
    await db.close();
  }
});

// Node refuses to lift the limit of listeners of a signal that is not its own, and with it open() failed.
test('where AbortController is that of a DOM, a database opens, is asked, and hears of an end', async () => {
  const { AbortController: own, AbortSignal: ownSignal } = globalThis;
  Object.assign(globalThis, { AbortController: DomController, AbortSignal: DomSignal });
  try {
    const db = await open();
    const { signal } = new AbortController();
    expect((await db.query('SELECT 1 AS one', { signal })).rows).toEqual([{ one: 1 }]);
    const endless = db.query('SELECT count(*) FROM generate_series(1, 1000000000)');
    const ended = expect(endless).rejects.toMatchObject({ code: '57P01' });
    await turn();
    await db.close();
    await ended;
  } finally {
    Object.assign(globalThis, { AbortController: own, AbortSignal: ownSignal });
  }
});

/** As jsdom has it: no EventTarget of Node's. */
class DomSignal {
  aborted = false;
  reason: unknown;
  readonly #listeners = new Set<(event: { target: DomSignal }) => void>();

  addEventListener(_name: 'abort', listener: (event: { target: DomSignal }) => void): void {
    this.#listeners.add(listener);
  }

  removeEventListener(_name: 'abort', listener: (event: { target: DomSignal }) => void): void {
    this.#listeners.delete(listener);
  }

  abort(reason: unknown): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason;
    for (const listener of this.#listeners) listener({ target: this });
  }
}

class DomController {
  readonly signal = new DomSignal();

  abort(reason: unknown): void {
    this.signal.abort(reason);
  }
}
