import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Claims, newClaimOwner } from '../../src/actors/claims.ts';
import type { ClaimMark, ClaimOwner } from '../../src/actors/claims.ts';
import type { DbError } from '../../src/base/errors.ts';
import type { Database } from '../../src/index.ts';
import { open } from '../../src/open.ts';

let db: Database;
beforeEach(async () => {
  db = await open({ workers: 0 });
  await db.exec(`CREATE TABLE acc (id int PRIMARY KEY, bal int NOT NULL);
    INSERT INTO acc SELECT n, 0 FROM generate_series(0, 99) s(n)`);
});
afterEach(() => db.close());

const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

async function isHeldUp(work: Promise<unknown>): Promise<boolean> {
  let done = false;
  void work.then(
    () => (done = true),
    () => (done = true),
  );
  await turns();
  return !done;
}

async function begun(text?: string): Promise<ReturnType<Database['session']>> {
  const session = db.session();
  await session.exec('BEGIN');
  if (text !== undefined) await session.exec(text);
  return session;
}

const add = (id: number): string => `UPDATE acc SET bal = bal + 1 WHERE id = ${id}`;

type Turns = { rounds: number; readonly end: () => Promise<unknown> };

/** Twenty transactions again and again, each of one statement on a row of its own that it holds for a turn of the loop. */
function takingTurns(statement: (id: number) => string): Turns {
  let done = false;
  const one = async (id: number): Promise<void> => {
    while (!done) {
      const session = await begun(statement(id));
      await new Promise((resolve) => setImmediate(resolve));
      await session.exec('COMMIT');
      turning.rounds += 1;
    }
  };
  const others = Array.from({ length: 20 }, (_, id) => one(id));
  const turning = {
    rounds: 0,
    end: () => {
      done = true;
      return Promise.all(others);
    },
  };
  return turning;
}

/** After eight waits a statement asked for the table whole, which two that had a row each then wanted from each other. */
test('two transactions at the end of a long line for one row, each with another row: both get their turn', async () => {
  const head = await begun(add(50));
  const waiting: Promise<unknown>[] = [];
  const others = Array.from({ length: 12 }, () => begun());
  const owners = [begun(add(1)), begun(add(2))];
  for (const session of await Promise.all([...others, ...owners])) {
    waiting.push(
      session.exec(add(50)).then(async () => {
        await turns();
        await session.exec('COMMIT');
      }),
    );
    await turns();
  }
  await head.exec('COMMIT');
  await Promise.all(waiting);
  expect((await db.query('SELECT id, bal FROM acc WHERE bal > 0 ORDER BY id')).rows).toEqual([
    { id: 1, bal: 1 },
    { id: 2, bal: 1 },
    { id: 50, bal: 15 },
  ]);
});

test('statements over the same rows never wait for each other, whichever way they find them', async () => {
  const holder = await begun(add(30));
  const [ann, bob] = [await begun(), await begun()];
  const up = ann.exec('UPDATE acc SET bal = bal + 1 WHERE id IN (10, 20, 30, 40)');
  await turns();
  const down = bob.exec('UPDATE acc SET bal = bal + 1 WHERE id IN (40, 30, 20, 10)');
  await turns();
  // What stands before the row that is waited for is claimed: whoever comes for it meanwhile comes after.
  const meanwhile = await begun();
  expect(await isHeldUp(meanwhile.exec(add(10)).then(() => meanwhile.exec('COMMIT')))).toBe(true);
  await holder.exec('COMMIT');
  await up;
  await ann.exec('COMMIT');
  await down;
  await bob.exec('COMMIT');
  await turns();
  expect((await db.query('SELECT sum(bal) AS s FROM acc')).rows).toEqual([{ s: 10 }]);
});

test('a statement that wants many rows gets them while others take one each again and again', async () => {
  const others = takingTurns(add);
  await turns();
  for (const text of [
    'UPDATE acc SET bal = bal - 1000 WHERE id < 20',
    'SELECT * FROM acc WHERE id < 20 FOR UPDATE',
    'ALTER TABLE acc ADD COLUMN note text',
  ]) {
    const before = others.rounds;
    await db.exec(`BEGIN; ${text}; COMMIT`);
    // Each of the others has a turn or two for every row that was waited for.
    expect(others.rounds - before).toBeLessThan(20 * 60);
  }
  await others.end();
});

test('a write of its own gets its turn among transactions that take turns', async () => {
  let done = false;
  let rounds = 0;
  const one = async (): Promise<void> => {
    while (!done) {
      const session = await begun(add(7));
      rounds += 1;
      await session.exec('COMMIT');
    }
  };
  const others = [one(), one(), one(), one()];
  await turns();
  for (const write of [
    () => db.exec(add(7)),
    () => db.upsert('acc', { id: 7, bal: 0 }),
    () => db.exec('DELETE FROM acc WHERE id = 7; INSERT INTO acc VALUES (7, 0)'),
  ]) {
    const before = rounds;
    await write();
    expect(rounds - before).toBeLessThan(60);
  }
  done = true;
  await Promise.all(others);
});

test('transactions of one statement each never close a circle, whatever the statements', async () => {
  await db.exec(
    'CREATE TABLE bag (g int, v int); INSERT INTO bag SELECT n % 10, 0 FROM generate_series(1, 50) s(n)',
  );
  await db.exec('CREATE MATERIALIZED VIEW total AS SELECT sum(bal) AS s, count(*) AS n FROM acc');
  let seed = 11;
  const below = (n: number): number => (seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648) % n;
  const statements: readonly (() => string)[] = [
    () => add(below(10)),
    () => `UPDATE acc SET bal = bal + 1 WHERE id BETWEEN ${below(10)} AND ${below(20)}`,
    () => `UPDATE acc SET bal = bal + 1 WHERE bal > ${below(5)} AND id < 20`,
    () => `DELETE FROM acc WHERE id = ${below(10)}`,
    () =>
      `INSERT INTO acc VALUES (${below(10)}, 0), (${below(10) + 10}, 0) ON CONFLICT (id) DO UPDATE SET bal = acc.bal + 1`,
    () => `UPDATE bag SET g = ${below(10)}, v = v + 1 WHERE g = ${below(10)}`,
    () => `SELECT * FROM acc WHERE id BETWEEN ${below(10)} AND ${below(20)} FOR UPDATE`,
  ];
  const one = async (): Promise<void> => {
    for (let round = 0; round < 25; round += 1) {
      const session = await begun(statements[below(statements.length)]!());
      if (below(4) === 0) await new Promise((resolve) => setImmediate(resolve));
      await session.exec(below(5) === 0 ? 'ROLLBACK' : 'COMMIT');
    }
  };
  const alone = async (): Promise<void> => {
    for (let round = 0; round < 25; round += 1) await db.exec(statements[below(6)]!());
  };
  await Promise.all([...Array.from({ length: 20 }, one), alone(), alone()]);
  const { rows } = await db.query('SELECT sum(bal) AS s, count(*) AS n FROM acc');
  expect((await db.query('SELECT s, n FROM total')).rows).toEqual(rows);
  expect((await db.query('SELECT count(*)::int AS n FROM bag')).rows).toEqual([{ n: 50 }]);
});

test('who wants a table whole comes next, and holds nobody up once it has given up', async () => {
  const holder = await begun(add(1));
  const wanter = await begun();
  const canceling = new AbortController();
  const truncate = wanter.query('TRUNCATE acc', { signal: canceling.signal });
  truncate.catch(() => undefined);
  await turns();
  const newcomer = await begun();
  const write = newcomer.exec(add(2));
  expect(await isHeldUp(write)).toBe(true);
  // Who has rows of it already goes on.
  await holder.exec(add(3));
  canceling.abort();
  await expect(truncate).rejects.toMatchObject({ code: '57014' });
  await write;
  await newcomer.exec('COMMIT');
  await holder.exec('COMMIT');
  expect((await db.query('SELECT sum(bal) AS s FROM acc')).rows).toEqual([{ s: 3 }]);
});

test('rows that a transaction writes again and again are claimed once', async () => {
  const ann = await begun();
  await ann.exec('UPDATE acc SET bal = bal + 1');
  for (let round = 0; round < 120; round += 1) await ann.exec('UPDATE acc SET bal = bal + 1');
  const bob = await begun();
  await bob.insert('acc', { id: 1000, bal: 0 });
  await bob.exec('COMMIT');
  await ann.exec('COMMIT');
  expect((await db.query('SELECT count(*)::int AS n FROM acc')).rows).toEqual([{ n: 101 }]);
});

/** The place in line stayed with the table that had the name before; whoever wrote to that looked for its holder again and again: the process hung. */
test('who waits for a table holds up nobody of it once the name means another one', async () => {
  await db.exec('CREATE SCHEMA near');
  const holder = await begun(add(1));
  const session = db.session();
  await session.exec('SET search_path = near, public');
  const altering = session.exec('ALTER TABLE acc ADD COLUMN note text');
  await turns();
  await db.exec('CREATE TABLE near.acc (id int PRIMARY KEY)');
  await holder.exec('COMMIT');
  await altering;
  const writer = await begun(add(2));
  await writer.exec('COMMIT');
  expect((await db.query('SELECT * FROM acc WHERE bal > 0 ORDER BY id')).rows).toEqual([
    { id: 1, bal: 1 },
    { id: 2, bal: 1 },
  ]);
});

/** What FOR UPDATE had claimed by an earlier look was kept, and what it found by the next claimed behind it. */
test('FOR UPDATE gives back what it does not want any more before it claims what it wants', async () => {
  await db.exec('UPDATE acc SET bal = 9 WHERE id = 40');
  const holder = await begun(
    'UPDATE acc SET bal = 0 WHERE id = 40; UPDATE acc SET bal = 9 WHERE id = 3',
  );
  const [ann, bob] = [await begun(), await begun()];
  const locking = ann.query('SELECT id FROM acc WHERE bal = 9 FOR UPDATE');
  await turns();
  const update = bob.exec('UPDATE acc SET bal = bal + 1 WHERE id IN (3, 40)');
  await turns();
  await holder.exec('COMMIT');
  await update;
  await bob.exec('COMMIT');
  expect((await locking).rows).toEqual([]);
  await ann.exec('COMMIT');
});

test('a line of transactions does not make the limit of one who waits begin anew', async () => {
  const first = await begun(add(1));
  const second = await begun();
  const waits = second.exec(add(1));
  const impatient = await begun("SET LOCAL lock_timeout = '300ms'");
  const begin = performance.now();
  const refused = expect(impatient.exec(add(1))).rejects.toMatchObject({ code: '55P03' });
  await new Promise((resolve) => setTimeout(resolve, 200));
  await first.exec('COMMIT');
  await waits;
  await refused;
  expect(performance.now() - begin).toBeLessThan(480);
  await second.exec('COMMIT');
});

test('who only lets a table go first need not wait where that would be a circle', async () => {
  await db.exec('CREATE TABLE other (id int PRIMARY KEY, v int); INSERT INTO other VALUES (1, 0)');
  const ann = await begun(add(1));
  const altering = db.exec('ALTER TABLE acc ADD COLUMN note text');
  await turns();
  const bob = await begun('UPDATE other SET v = 1');
  // In line behind the table, whose ALTER waits for Ann, who then waits for Bob.
  const second = bob.exec(add(2));
  expect(await isHeldUp(second)).toBe(true);
  const third = ann.exec('UPDATE other SET v = v + 1');
  await second;
  await bob.exec('COMMIT');
  await third;
  await ann.exec('COMMIT');
  await altering;
  // The other way round: what Ann waits for is there when Bob comes.
  const [eve, dan] = [await begun(add(1)), await begun('UPDATE other SET v = 1')];
  const dropping = db.exec('ALTER TABLE acc DROP COLUMN note');
  await turns();
  const waits = eve.exec('UPDATE other SET v = v + 1');
  expect(await isHeldUp(waits)).toBe(true);
  await dan.exec(add(2));
  await dan.exec('COMMIT');
  await waits;
  await eve.exec('COMMIT');
  await dropping;
  expect((await db.query('SELECT sum(bal) AS s FROM acc')).rows).toEqual([{ s: 4 }]);
});

test('two transactions that write more rows than are claimed one by one need not wait for each other', async () => {
  const [ann, bob] = [await begun(), await begun()];
  for (let part = 0; part < 6; part += 1)
    for (const [session, from] of [
      [ann, 100_000],
      [bob, 200_000],
    ] as const)
      await session.exec(
        `INSERT INTO acc SELECT n, 0 FROM generate_series(${from + part * 2000}, ${from + part * 2000 + 1999}) s(n)`,
      );
  await ann.exec('COMMIT');
  await bob.exec('COMMIT');
  expect((await db.query('SELECT count(*)::int AS n FROM acc')).rows).toEqual([{ n: 24_100 }]);
});

test('a statement that finds other rows at each look gets them in the end', async () => {
  const others = takingTurns((id) => `UPDATE acc SET bal = 1 - bal WHERE id = ${id}`);
  await turns();
  for (const text of [
    'BEGIN; UPDATE acc SET bal = 0 WHERE bal = 1; COMMIT',
    'UPDATE acc SET bal = 0 WHERE bal = 1',
    'BEGIN; SELECT * FROM acc WHERE bal = 1 FOR UPDATE; COMMIT',
  ]) {
    const before = others.rounds;
    await db.exec(text);
    expect(others.rounds - before, text).toBeLessThan(20 * 60);
  }
  await others.end();
});

/** Whoever waited, and had claimed a row or nothing yet, was in the way of the one it waited for: 40P01. */
test('a statement that waits gives way to the one it waits for', async () => {
  const ann = await begun(add(5));
  const waiting = [
    db.exec(add(5)),
    (await begun()).exec('UPDATE acc SET bal = bal + 1 WHERE id BETWEEN 3 AND 5; COMMIT'),
    db.exec('UPDATE acc SET bal = bal + 1 WHERE id IN (4, 5)'),
  ];
  expect(await isHeldUp(Promise.race(waiting))).toBe(true);
  await ann.exec(add(3));
  await ann.exec('SELECT * FROM acc WHERE id = 4 FOR UPDATE');
  await ann.exec('CREATE INDEX ON acc (bal)');
  await ann.exec('COMMIT');
  await Promise.all(waiting);
  expect((await db.query('SELECT id, bal FROM acc WHERE bal > 0 ORDER BY id')).rows).toEqual([
    { id: 3, bal: 2 },
    { id: 4, bal: 2 },
    { id: 5, bal: 4 },
  ]);
});

test('what was claimed since a savepoint is free when the transaction goes back to it', async () => {
  const ann = await begun(`${add(1)}; SAVEPOINT a; ${add(2)}`);
  const rows = db.exec(`${add(2)}; ${add(3)}`);
  expect(await isHeldUp(rows)).toBe(true);
  await ann.exec('SAVEPOINT b');
  await ann.query('SELECT * FROM acc WHERE id > 50 FOR UPDATE');
  await ann.exec(`${add(1)}; INSERT INTO acc VALUES (100, 0)`);
  const [key, before] = [db.insert('acc', { id: 100, bal: 0 }), db.exec(add(1))];
  expect(await isHeldUp(key)).toBe(true);
  await ann.exec('ROLLBACK TO b');
  await key;
  await db.exec(add(60));
  expect(await isHeldUp(rows)).toBe(true);
  // A failed statement is gone back behind, too, and whoever waits for what it claimed goes on.
  await ann.exec('RELEASE b');
  await expect(ann.exec('UPDATE acc SET bal = 1 / (bal - bal) WHERE id = 70')).rejects.toThrow();
  await ann.exec('ROLLBACK TO a');
  await rows;
  await ann.exec('CREATE INDEX by_bal ON acc (bal)');
  const altered = db.exec(add(4));
  expect(await isHeldUp(altered)).toBe(true);
  await ann.exec('ROLLBACK TO a');
  await altered;
  // What was claimed before stays so, though it was written since.
  expect(await isHeldUp(before)).toBe(true);
  await ann.exec('COMMIT');
  await before;
  expect((await db.query('SELECT id, bal FROM acc WHERE bal > 0 ORDER BY id')).rows).toEqual([
    { id: 1, bal: 2 },
    { id: 2, bal: 1 },
    { id: 3, bal: 1 },
    { id: 4, bal: 1 },
    { id: 60, bal: 1 },
  ]);
});

test('closing ends those who wait', async () => {
  const holder = await begun(add(1));
  const waiting = [
    (await begun()).exec(add(1)),
    (await begun()).query('SELECT * FROM acc FOR UPDATE'),
    (await begun()).exec('TRUNCATE acc'),
    (await begun()).exec(add(2)),
    db.exec(add(1)),
    db.exec('ALTER TABLE acc ADD COLUMN note text'),
    (await begun('SAVEPOINT s')).upsert('acc', { id: 1, bal: 0 }),
  ];
  const codes = waiting.map((each) =>
    each.then(
      () => 'done',
      (cause: DbError) => cause.code,
    ),
  );
  await turns();
  await db.close();
  expect(await Promise.all(codes)).toEqual(waiting.map(() => '57P01'));
  await holder.close();
});

test('whatever is claimed, wanted and given up: nothing has two owners, and nobody waits for nobody', async () => {
  const step = fc.record({
    who: fc.nat(4),
    what: fc.constantFrom('keys', 'keys', 'keys', 'whole', 'end', 'give up', 'mark', 'go back'),
    relation: fc.nat(1),
    keys: fc.array(fc.oneof(fc.nat(5), fc.constantFrom('k:a', 'k:b')), { maxLength: 4 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const claims = new Claims();
      const users = Array.from({ length: 5 }, () => new User(claims));
      for (const { who, what, relation, keys } of steps) {
        const user = users[who]!;
        if (what === 'give up') user.giveUp();
        else if (!user.isBusy) {
          if (what === 'end') user.end();
          else if (what === 'mark') user.mark();
          else if (what === 'go back') user.goBack();
          else user.want(relation, what === 'whole' ? 'whole' : keys);
        }
        if (keys.length % 2 === 0) await settled();
        assertOneOwner(users);
      }
      for (let round = 0; round < 20; round += 1) {
        for (const user of users) if (!user.isBusy) user.end();
        await settled();
      }
      expect(users.map(({ isBusy }) => isBusy)).toEqual([false, false, false, false, false]);
      expect(claims.isEmpty).toBe(true);
    }),
    { numRuns: 2000 },
  );
});

const settled = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
};

/** Claims as a session does: again after each wait, until it has all. */
class User {
  readonly owner: ClaimOwner = newClaimOwner();
  /** `relation:key`, or `relation:whole`. */
  readonly held = new Set<string>();
  isBusy = false;
  /** What it had when it marked that last. */
  #marked: { readonly mark: ClaimMark; readonly held: readonly string[] } | undefined;
  #canceling = new AbortController();
  readonly #claims: Claims;

  constructor(claims: Claims) {
    this.#claims = claims;
  }

  want(relation: number, keys: readonly (number | string)[] | 'whole'): void {
    this.isBusy = true;
    this.#canceling = new AbortController();
    const { signal } = this.#canceling;
    void (async () => {
      if (this.#claims.take(this.owner, relation, keys) !== undefined)
        await this.#claims.wait(this.owner, relation, keys, signal);
      for (const key of keys === 'whole' ? [keys] : keys) this.held.add(`${relation}:${key}`);
      expect(this.#claims.holds(this.owner, relation, keys)).toBe(true);
      this.#claims.keep(this.owner, relation);
    })()
      .catch((cause: unknown) => expect(['40P01', '57014']).toContain((cause as DbError).code))
      .finally(() => (this.isBusy = false));
  }

  giveUp(): void {
    this.#canceling.abort();
  }

  mark(): void {
    this.#marked = { mark: this.#claims.mark(this.owner), held: [...this.held] };
  }

  goBack(): void {
    if (this.#marked === undefined) return;
    this.#claims.giveBackTo(this.owner, this.#marked.mark);
    this.held.clear();
    for (const each of this.#marked.held) this.held.add(each);
  }

  end(): void {
    this.#marked = undefined;
    this.held.clear();
    this.#claims.release(this.owner);
  }
}

function assertOneOwner(users: readonly User[]): void {
  const owners = new Map<string, User>();
  for (const user of users) {
    for (const key of user.held) {
      expect(owners.get(key) ?? user).toBe(user);
      owners.set(key, user);
    }
  }
  for (const relation of [0, 1]) {
    const whole = owners.get(`${relation}:whole`);
    if (whole === undefined) continue;
    for (const [key, user] of owners) if (key.startsWith(`${relation}:`)) expect(user).toBe(whole);
  }
}
