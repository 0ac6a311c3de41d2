/**
 * Many sessions that want the same rows, keys and tables, each its own way, and give up at any moment, over a journal that takes its time
 * and commits of several steps. Whatever they do: every wait ends, nothing stays claimed, what was committed is there, once, and
 * 40P01 is told only where rows are touched in different orders.
 */
import { expect, test } from 'vitest';
import { DbError } from '../../src/base/errors.ts';
import type { Database } from '../../src/index.ts';
import { TestWorld } from '../sim/test-world.ts';

const SEEDS = Number(process.env['ADVERSARY_SEEDS'] ?? 4);
const FIRST = Number(process.env['ADVERSARY_FIRST'] ?? 1);

test.each(['one statement', 'in order', 'any order'] as const)(
  'transactions that touch rows by %s end well',
  async (how) => {
    for (let seed = FIRST; seed < FIRST + SEEDS; seed += 1) await attack(seed, how);
  },
  600_000,
);

type How = 'one statement' | 'in order' | 'any order';
type Session = ReturnType<Database['session']>;

async function attack(seed: number, how: How): Promise<void> {
  const sim = await TestWorld.make({
    seed,
    schedule: seed % 2 === 0 ? 'fifo' : 'random',
    machine: {
      stepBudgetUnits: [500, 5000, 50_000][seed % 3]!,
      nanosecondsPerUnit: 1000,
      groupsInFlightMax: 1 + (seed % 4),
    },
    faults: { journalDelay: seed % 5 },
  });
  await sim.run(() => new Attack(sim, seed, how).run());
  await sim.run(() => sim.db.close());
  expect(sim.engine.memory.usedBytes).toBe(0);
}

/** Rows 0 to 19 are fought for; another table is as large as takes several steps. */
class Attack {
  readonly #sim: TestWorld;
  readonly #how: How;
  readonly #name: string;
  #state: number;
  /** By row of `acc` what its balance is to be. */
  readonly #balances = new Map<number, number>();
  #added = 0;
  #wide = 0;

  constructor(sim: TestWorld, seed: number, how: How) {
    this.#sim = sim;
    this.#how = how;
    this.#name = `seed ${seed}, ${how}`;
    this.#state = seed * 7919 + how.length;
  }

  #below(n: number): number {
    this.#state = (this.#state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((this.#state / 2_147_483_648) * n);
  }

  async run(): Promise<void> {
    const { db } = this.#sim;
    await db.exec(`CREATE TABLE acc (id int PRIMARY KEY, g int NOT NULL, bal int NOT NULL);
      CREATE TABLE wide (id int PRIMARY KEY, n int NOT NULL);
      CREATE TABLE log (n int);
      INSERT INTO acc SELECT n, n % 3, 0 FROM generate_series(0, 19) s(n);
      INSERT INTO wide SELECT n, 0 FROM generate_series(0, 2499) s(n)`);
    await db.exec('CREATE MATERIALIZED VIEW total AS SELECT sum(bal) AS s, count(*) AS n FROM acc');
    for (let id = 0; id < 20; id += 1) this.#balances.set(id, 0);
    await Promise.all(Array.from({ length: 10 }, (_, who) => this.#user(who)));
    const { rows } = await db.query<{ id: number; bal: number }>(
      'SELECT id, bal FROM acc ORDER BY id',
    );
    expect(new Map(rows.map(({ id, bal }) => [id, bal])), this.#name).toEqual(this.#balances);
    const sums = await db.query(
      'SELECT sum(bal)::int AS s, count(*)::int AS n, (SELECT count(*)::int FROM log) AS l, (SELECT sum(n)::int FROM wide) AS w FROM acc',
    );
    let s = 0;
    for (const bal of this.#balances.values()) s += bal;
    expect(sums.rows, this.#name).toEqual([{ s, n: 20, l: this.#added, w: this.#wide }]);
    expect((await db.query('SELECT s::int AS s, n::int AS n FROM total')).rows).toEqual([
      { s, n: 20 },
    ]);
    expect(this.#sim.engine.claims.isEmpty, this.#name).toBe(true);
  }

  async #user(who: number): Promise<void> {
    const session = this.#sim.db.session();
    if (this.#below(4) === 0) await session.exec(`SET lock_timeout = ${20 + this.#below(200)}`);
    for (let round = 0; round < 12; round += 1) {
      if (this.#below(3) === 0) await this.#pause();
      const begin = this.#sim.clock.monotonicMs();
      try {
        if (who < 2 || this.#below(5) === 0) await this.#alone(session);
        else await this.#transaction(session);
      } catch (cause) {
        if (!(cause instanceof DbError)) throw cause;
        const codes = ['57014', '55P03', ...(this.#how === 'any order' ? ['40P01'] : [])];
        expect(codes, `${this.#name}: ${cause.message}`).toContain(cause.code);
      }
      if (session.status !== 'idle') await session.exec('ROLLBACK');
      expect(this.#sim.clock.monotonicMs() - begin, this.#name).toBeLessThan(20_000);
    }
    await session.close();
  }

  #pause(): Promise<void> {
    return this.#sim.clock.pause(this.#below(8), 'test');
  }

  /** Some are given up after a while. */
  #options(): { readonly signal?: AbortSignal } {
    if (this.#below(6) > 0) return {};
    const controller = new AbortController();
    void this.#pause().then(() => controller.abort());
    return { signal: controller.signal };
  }

  async #alone(session: Session): Promise<void> {
    const change = this.#change();
    await change.run(session);
    change.committed();
  }

  async #transaction(session: Session): Promise<void> {
    const isolation = this.#below(8) === 0 ? ' ISOLATION LEVEL READ COMMITTED' : '';
    await session.exec(`BEGIN${isolation}`);
    const count = this.#how === 'one statement' ? 1 : 1 + this.#below(4);
    const changes: Change[] = [];
    for (let nth = 0; nth < count; nth += 1)
      changes.push(this.#how === 'in order' ? this.#oneRow() : this.#change());
    if (this.#how === 'in order') changes.sort((a, b) => a.order - b.order);
    const done: Change[] = [];
    for (const change of changes) {
      if (this.#below(4) === 0 && this.#how !== 'one statement') {
        await session.exec('SAVEPOINT s');
        try {
          await change.run(session);
          if (this.#below(2) === 0) await session.exec('ROLLBACK TO SAVEPOINT s');
          else done.push(change);
        } catch (cause) {
          if (!(cause instanceof DbError) || cause.code !== '57014') throw cause;
          await session.exec('ROLLBACK TO SAVEPOINT s');
        }
      } else {
        await change.run(session);
        done.push(change);
      }
      if (this.#below(3) === 0) await this.#pause();
    }
    if (this.#below(6) === 0) {
      await session.exec('ROLLBACK');
      return;
    }
    await session.query('COMMIT', this.#options());
    for (const change of done) change.committed();
  }

  #oneRow(): Change {
    const id = this.#below(20);
    const by = 1 + this.#below(9);
    const kind = this.#below(6);
    return {
      order: id,
      run: async (session) => {
        if (kind === 0) {
          await session.exec(`UPDATE acc SET bal = bal + ${by} WHERE id = ${id}`);
        } else if (kind === 1) {
          await session.exec(
            `INSERT INTO acc VALUES (${id}, 0, 1000) ON CONFLICT (id) DO UPDATE SET bal = acc.bal + ${by}`,
          );
        } else if (kind === 4 && session.status === 'active') {
          // Gone for a while, and there again: whoever wants to insert it meanwhile waits.
          const { rows } = await session.query<{ g: number; bal: number }>(
            `DELETE FROM acc WHERE id = ${id} RETURNING g, bal`,
          );
          await this.#pause();
          const { g, bal } = rows[0]!;
          await session.insert('acc', { id, g, bal: bal + by });
        } else if (kind === 5 && session.status === 'idle') {
          const { rowCount } = await session.query(
            `INSERT INTO acc VALUES (${id}, 0, 1000) ON CONFLICT DO NOTHING`,
          );
          expect(rowCount).toBe(0);
          const taken = await session.insert('acc', { id, g: 0, bal: 0 }).catch((cause) => cause);
          if (taken.code !== '23505') throw taken;
          await session.exec(`UPDATE acc SET bal = bal + ${by} WHERE id = ${id}`);
        } else if (session.status === 'active') {
          // What was read is written back: nobody may have come between.
          const { rows } = await session.query<{ bal: number }>(
            `SELECT bal FROM acc WHERE id = ${id} FOR UPDATE`,
          );
          if (kind === 2) await this.#pause();
          await session.exec(`UPDATE acc SET bal = ${rows[0]!.bal + by} WHERE id = ${id}`);
        } else await session.exec(`UPDATE acc SET bal = bal + ${by} WHERE id = ${id}`);
      },
      committed: () => this.#book(id, by),
    };
  }

  #book(id: number, by: number): void {
    this.#balances.set(id, this.#balances.get(id)! + by);
  }

  #change(): Change {
    const [from, to] = [this.#below(20), this.#below(20)];
    const by = 1 + this.#below(9);
    const options = this.#options();
    const many = (text: string, ids: readonly number[]): Change => ({
      order: 0,
      run: async (session) => void (await session.query(text, options)),
      committed: () => {
        for (const id of new Set(ids)) this.#book(id, by);
      },
    });
    const range = Array.from({ length: 20 }, (_, id) => id).filter((id) => id >= from && id <= to);
    switch (this.#below(14)) {
      case 0:
        return many(`UPDATE acc SET bal = bal + ${by} WHERE id BETWEEN ${from} AND ${to}`, range);
      case 1:
        return many(`UPDATE acc SET bal = bal + ${by} WHERE id IN (${to}, ${from})`, [from, to]);
      case 2:
        return many(
          `INSERT INTO acc SELECT id, 0, 1000 FROM (VALUES (${to}), (${from})) v(id) GROUP BY id
            ON CONFLICT (id) DO UPDATE SET bal = acc.bal + ${by}`,
          [from, to],
        );
      case 3:
        // The rows that match are others at each look.
        return many(`UPDATE acc SET g = (g + 1) % 3 WHERE g = ${by % 3}`, []);
      case 4:
        return many(`SELECT * FROM acc WHERE g = ${by % 3} FOR UPDATE`, []);
      case 5:
        return {
          order: 0,
          run: async (session) => void (await session.query(`INSERT INTO log VALUES (1)`, options)),
          committed: () => void (this.#added += 1),
        };
      case 6:
        return {
          order: 0,
          run: async (session) => void (await session.query('UPDATE wide SET n = n + 1', options)),
          committed: () => void (this.#wide += 2500),
        };
      case 7:
        return {
          order: 0,
          run: async (session) =>
            void (await session.query(
              `UPDATE wide SET n = n + 1 WHERE id = ${from * 100}`,
              options,
            )),
          committed: () => void (this.#wide += 1),
        };
      case 8:
        return many(
          [
            `ALTER TABLE log ALTER COLUMN n SET DEFAULT ${by}`,
            'ALTER TABLE wide ADD CHECK (n >= 0)',
            'SELECT * FROM acc a JOIN log l ON l.n = a.id FOR UPDATE',
            'SELECT * FROM log l JOIN acc a ON l.n = a.id FOR UPDATE',
          ][by % 4]!,
          [],
        );
      case 9:
      case 10: {
        // What is claimed first, in a subquery or a WITH: rows that nobody has, or those that are waited for.
        const how = ['SKIP LOCKED', 'SKIP LOCKED', ''][by % 3]!;
        const asked = `SELECT id FROM acc WHERE id >= ${from} ORDER BY id LIMIT ${1 + (by % 4)} FOR UPDATE ${how}`;
        const text = [
          `UPDATE acc SET bal = bal + ${by} WHERE id IN (${asked}) RETURNING id`,
          `WITH next AS (${asked}) UPDATE acc SET bal = bal + ${by} FROM next WHERE acc.id = next.id RETURNING acc.id`,
          `WITH done AS (UPDATE acc SET bal = bal + ${by} WHERE id = ANY (ARRAY(${asked})) RETURNING id) SELECT id FROM done`,
        ][from % 3]!;
        let ids: readonly number[] = [];
        return {
          order: 0,
          run: async (session) => {
            const { rows } = await session.query<{ id: number }>(text, options);
            ids = rows.map(({ id }) => id);
          },
          committed: () => {
            for (const id of ids) this.#book(id, by);
          },
        };
      }
      default:
        return this.#oneRow();
    }
  }
}

type Change = {
  readonly order: number;
  run(session: Session): Promise<void>;
  /** It is in the database now. */
  committed(): void;
};
