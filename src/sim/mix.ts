import type { QueryOptions } from '../actors/api-types.ts';
import type { SessionHandle } from '../actors/database.ts';
import { DbError } from '../base/errors.ts';
import type { Random } from '../base/ports.ts';
import { ListAppendOracle, type ListOperation } from './list-append.ts';
import type { Load } from './load.ts';
import type { Oracle } from './oracle.ts';
import { InvariantFailure, type World } from './world.ts';

/** How often each kind of operation is chosen, relative to each other. */
export type MixWeights = {
  readonly rows?: number | undefined;
  readonly transactions?: number | undefined;
  readonly serializable?: number | undefined;
  readonly queries?: number | undefined;
  readonly snapshots?: number | undefined;
  readonly subscriptions?: number | undefined;
  readonly lists?: number | undefined;
  readonly ddl?: number | undefined;
  /** More writes at once than the journal's lane holds, where the machine's lanes are short. */
  readonly floods?: number | undefined;
};

const WEIGHTS: Required<{ [Name in keyof MixWeights]: number }> = {
  rows: 6,
  transactions: 3,
  serializable: 3,
  queries: 4,
  snapshots: 2,
  subscriptions: 2,
  lists: 2,
  ddl: 2,
  floods: 0.2,
};

/**
 * A workload of all kinds on two tables and views of every shape, with its setup and its own oracle: what this project runs against
 * itself. Spread it into the options of `simulate`.
 */
export function mix(
  weights: MixWeights = {},
  arrivals: Load['arrivals'] = { rate: '12/min', shape: 'bursts' },
  /** Of the views so large a share is there from the beginning, on average. */
  viewShare = 0.35,
): {
  readonly setup: (world: World) => Promise<void>;
  readonly load: Readonly<Record<string, Load>>;
  readonly watch: () => readonly Oracle[];
} {
  for (const name of Object.keys(weights))
    if (!Object.hasOwn(WEIGHTS, name))
      throw new DbError('22023', `the mix knows no "${name}"`, {
        field: name,
        hint: `It knows ${Object.keys(WEIGHTS).join(', ')}.`,
      });
  const chosen = Object.entries({ ...WEIGHTS, ...weights }) as (readonly [
    keyof MixWeights,
    number,
  ])[];
  const total = chosen.reduce((sum, [, weight]) => sum + weight, 0);
  return {
    setup: (world) => setUp(world, viewShare),
    load: {
      mix: {
        arrivals,
        do: (session, world) => {
          let point = world.rng('kind').unit() * total;
          const kind = chosen.find(([, weight]) => (point -= weight) < 0)?.[0] ?? 'rows';
          return new Operation(session, world)[kind]();
        },
      },
    },
    watch: () => [new ListAppendOracle()],
  };
}

type MixView = { readonly name: string; readonly query: string; readonly on?: string };

const VIEWS: readonly MixView[] = [
  {
    name: 'by_grp',
    query:
      'SELECT grp, count(*) AS n, sum(bal) AS s, avg(bal) AS a, min(x) AS lo, max(x) AS hi, sum(x) AS sx FROM accounts GROUP BY grp',
  },
  { name: 'total', query: 'SELECT count(*) AS n, sum(bal) AS s, sum(p) AS sp FROM accounts' },
  { name: 'rich', query: 'SELECT id, bal FROM accounts WHERE bal > 100' },
  {
    name: 'joined',
    query: 'SELECT e.id, a.grp, e.amt FROM events e JOIN accounts a ON a.id = e.acct',
  },
  {
    name: 'join_grp',
    query:
      'SELECT a.grp, count(*) AS n, sum(e.amt) AS s FROM events e JOIN accounts a ON a.id = e.acct GROUP BY a.grp HAVING count(*) > 1',
  },
  {
    name: 'outer_join',
    query:
      'SELECT a.id, a.grp, e.kind FROM accounts a LEFT JOIN events e ON e.acct = a.id AND e.amt > 100',
  },
  { name: 'kinds', query: 'SELECT DISTINCT kind, acct FROM events' },
  { name: 'united', query: 'SELECT id AS k FROM accounts UNION ALL SELECT acct FROM events' },
  {
    name: 'without',
    query:
      'SELECT a.id FROM accounts a WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.acct = a.id)',
  },
  { name: 'on_view', query: 'SELECT n, count(*) AS m FROM by_grp GROUP BY n', on: 'by_grp' },
  { name: 'on_join', query: 'SELECT grp, count(*) AS c FROM joined GROUP BY grp', on: 'joined' },
];
const LATE_VIEWS: readonly string[] = [
  'SELECT grp, max(bal) AS m FROM accounts GROUP BY grp',
  'SELECT kind, count(*) AS c, sum(amt) AS s FROM events GROUP BY kind',
  'SELECT a.id, e.kind FROM accounts a JOIN events e ON e.acct = a.id WHERE a.bal > 20',
];
const GROUPS = ['a', 'b', 'c'];
const KINDS = ['buy', 'sell', 'ü'];
const ACCOUNT_COUNT = 12;
const HOT_ACCOUNTS = 3;
const HOT_EVENTS = 5;
const LIST_KEYS = 3;
/** Ids that one operation may give out. */
const IDS_EACH = 16;

async function setUp(world: World, viewShare: number): Promise<void> {
  const { db } = world;
  const random = world.rng('mix');
  await db.exec(
    'CREATE TABLE accounts (id int PRIMARY KEY, grp text, bal int NOT NULL, x double precision, p numeric)',
  );
  await db.exec('CREATE TABLE events (id int PRIMARY KEY, acct int, kind text, amt numeric(10,2))');
  await db.exec('CREATE TABLE lists (k int, v int)');
  if (random.below(2) === 0) await db.exec('CREATE INDEX events_acct ON events (acct)');
  const some = VIEWS.filter(() => random.unit() < viewShare);
  const views = VIEWS.filter(
    (view) => some.includes(view) || some.some(({ on }) => on === view.name),
  );
  for (const { name, query } of views)
    await db.exec(`CREATE MATERIALIZED VIEW ${name} AS ${query}`);
  if (random.below(4) === 0)
    await db.exec(
      `CREATE MATERIALIZED VIEW slow WITH (refresh = '20s') AS SELECT grp, sum(bal) AS s FROM accounts GROUP BY grp`,
    );
  const rows = Array.from({ length: ACCOUNT_COUNT }, (_, id) => accountRow(id, random));
  await db.exec(`INSERT INTO accounts VALUES ${rows.join(', ')}`);
  world.shared.set(
    'views',
    views.map(({ name }) => name),
  );
}

type EventRow = { id: number; acct: number; kind: string; amt: number };

function accountRow(id: number, random: Random): string {
  const x = ['NULL', '0.1', '0.2', '1e300', '-1e300', '1e-9'][random.below(6)]!;
  const p = ['NULL', '1.0', '1.00', '-2.5'][random.below(4)]!;
  return `(${id}, '${GROUPS[random.below(3)]}', 100, ${x}, ${p})`;
}

const eventValues = ({ id, acct, kind, amt }: EventRow): (number | string)[] => [
  id,
  acct,
  kind,
  String(amt),
];

/** What one arrival does. All it chooses follows from its own stream, and from what others have left in the world. */
class Operation {
  readonly #session: SessionHandle;
  readonly #world: World;
  readonly #random: Random;
  #ids = 0;

  constructor(session: SessionHandle, world: World) {
    this.#session = session;
    this.#world = world;
    this.#random = world.rng('operation');
  }

  async rows(): Promise<void> {
    const random = this.#random;
    const session = this.#session;
    const options = this.#options();
    const mine = this.#listOf('events');
    switch (random.below(10)) {
      case 0:
      case 1: {
        const rows = Array.from({ length: 1 + random.below(4) }, () => this.#event());
        await session.insert('events', rows, {
          ...options,
          ...(random.below(3) === 0 ? { idempotencyKey: `key ${this.#world.nth}` } : {}),
        });
        mine.push(...rows.map(({ id }) => id));
        return;
      }
      case 2: {
        const row = this.#event();
        await this.#exec('INSERT INTO events VALUES ($1, $2, $3, $4)', eventValues(row), options);
        mine.push(row.id);
        return;
      }
      case 3: {
        const id = this.#any(mine);
        await this.#exec(
          'UPDATE events SET acct = $1, amt = amt + 1 WHERE id = $2',
          [random.below(ACCOUNT_COUNT), id],
          options,
        );
        return;
      }
      case 4:
        await session.delete('events', { id: this.#any(mine) }, options);
        return;
      case 5: {
        const x = [0.1, -0.3, 1e16][random.below(3)]!;
        await session.exec(
          `UPDATE accounts SET grp = '${GROUPS[random.below(3)]}', x = ${x} WHERE id = ${random.below(ACCOUNT_COUNT)}`,
          options,
        );
        return;
      }
      case 6:
        await session.exec(
          `UPDATE events SET amt = amt * 2 WHERE kind = '${KINDS[random.below(3)]}' AND amt < 50`,
          options,
        );
        return;
      case 7:
        await session.upsert('events', this.#hotEvent(), options);
        return;
      case 8:
        await session.delete('events', { id: this.#hotEvent().id }, options);
        return;
      case 9:
        // A key that is taken already: refused whole.
        await session.exec(
          `INSERT INTO accounts VALUES ${accountRow(500_000 + this.#id(), random)}, ${accountRow(0, random)}`,
          options,
        );
        // Its first row may be lost with all others of the beginning.
        if (!this.#world.mayHaveLost)
          throw new InvariantFailure('keys', 'a duplicate key was taken in');
        return;
    }
  }

  /** Money goes round at READ COMMITTED: row claims, deadlocks, rollbacks. */
  async transactions(): Promise<void> {
    const random = this.#random;
    const session = this.#session;
    // Half of them among a few accounts, so that they meet.
    const count = random.below(2) === 0 ? HOT_ACCOUNTS : ACCOUNT_COUNT;
    const from = random.below(count);
    const to = (from + 1 + random.below(count - 1)) % count;
    const amount = 1 + random.below(30);
    const event = this.#event();
    await session.exec('BEGIN');
    for (const [text, params] of [
      ['UPDATE accounts SET bal = bal - $1 WHERE id = $2', [amount, from]],
      ['UPDATE accounts SET bal = bal + $1 WHERE id = $2', [amount, to]],
      ['INSERT INTO events VALUES ($1, $2, $3, $4)', eventValues(event)],
    ] as const) {
      await this.#exec(text, params);
      if (random.below(2) === 0) await this.#think();
    }
    if (random.below(5) === 0) await session.exec('ROLLBACK');
    else await session.exec('COMMIT');
  }

  /** Reads, thinks, writes what it has read: it must be as if that had happened at one moment. */
  async serializable(): Promise<void> {
    const random = this.#random;
    const group = GROUPS[random.below(3)]!;
    const read =
      this.#views.includes('by_grp') && random.below(2) === 0
        ? `SELECT s FROM by_grp WHERE grp = '${group}'`
        : `SELECT sum(bal) AS s FROM accounts WHERE grp = '${group}'`;
    const target = random.below(ACCOUNT_COUNT);
    const hot = random.below(3) === 0 ? this.#hotEvent() : undefined;
    const event = this.#event();
    const thinks = random.below(2) === 0;
    const looksAgain = random.below(2) === 0;
    await this.#session.transaction(
      async (tx) => {
        const { rows } = await tx.query<{ s: number | null }>(read);
        if (thinks) await this.#think();
        await tx.insert('events', { ...event, amt: Number(rows[0]?.s ?? 0) % 100_000 });
        await tx.exec(`UPDATE accounts SET bal = bal + 1 WHERE id = ${target}`);
        // Now with what this transaction has written itself.
        if (looksAgain) await tx.query(read);
        if (hot !== undefined) await tx.upsert('events', hot);
      },
      { retries: 3 },
    );
  }

  /** As prepared statements have it, but now and then with the values in the text. */
  async #exec(
    text: string,
    params: readonly (number | string)[],
    options: Pick<QueryOptions, 'signal'> = {},
  ): Promise<void> {
    if (this.#random.below(8) > 0) {
      await this.#session.exec(text, { ...options, params });
      return;
    }
    const literal = (value: number | string): string =>
      typeof value === 'string' ? `'${value}'` : String(value);
    const whole = text.replace(/\$(\d)/g, (_, number: string) =>
      literal(params[Number(number) - 1]!),
    );
    await this.#session.exec(whole, options);
  }

  async queries(): Promise<void> {
    await this.#session.query(this.#readText(), this.#options());
  }

  /** Several reads in one transaction: tables and views belong to one position, whatever is committed meanwhile. */
  async snapshots(): Promise<void> {
    const session = this.#session;
    await session.exec('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    for (let read = 0; read < 3; read += 1) {
      await session.query(this.#readText());
      await this.#think();
    }
    await session.exec('COMMIT');
  }

  /** Follows a view, a table or a query for a while. */
  async subscriptions(): Promise<void> {
    const random = this.#random;
    const names = ['accounts', 'events', ...this.#views];
    const what =
      random.below(4) === 0
        ? 'SELECT kind, count(*) AS n FROM events GROUP BY kind'
        : names[random.below(names.length)]!;
    let left = 2 + random.below(8);
    for await (const change of this.#session.subscribe(what, {
      heartbeatMs: 5_000,
      values: { int8: 'string', numeric: 'string' },
      ...(random.below(3) === 0 ? { maxRate: 200 } : {}),
    })) {
      this.#world.note(`${change.kind} ${change.position}`);
      left -= 1;
      if (left <= 0) return;
      if (random.below(3) === 0) await this.#think();
    }
  }

  /** Appends to lists and reads them, in one transaction: what tells serializable from not so in every case. */
  async lists(): Promise<void> {
    const random = this.#random;
    // A single append goes with a key: however often it arrives, it is done once.
    if (random.below(4) === 0) {
      const [k, v] = [random.below(LIST_KEYS), this.#id()];
      await this.#listed(true, async (operation) => {
        operation.steps.push({ kind: 'append', key: k, value: v });
        await this.#session.insert('lists', { k, v }, { idempotencyKey: `append ${v}` });
      });
      return;
    }
    const steps = Array.from({ length: 1 + random.below(4) }, () => ({
      key: random.below(LIST_KEYS),
      value: random.below(2) === 0 ? this.#id() : undefined,
    }));
    const thinks = random.below(2) === 0;
    await this.#listed(false, (operation) =>
      this.#session.transaction(
        async (tx) => {
          operation.steps = [];
          for (const { key, value } of steps) {
            if (value === undefined) {
              const { rows } = await tx.query<{ v: number }>(
                `SELECT v FROM lists WHERE k = ${key}`,
              );
              operation.steps.push({ kind: 'read', key, values: rows.map(({ v }) => v) });
            } else {
              operation.steps.push({ kind: 'append', key, value });
              await tx.insert('lists', { k: key, v: value });
            }
            if (thinks) await this.#think();
          }
        },
        { retries: 2 },
      ),
    );
  }

  /** Keeps what an operation on lists did, when, and whether it was done. */
  async #listed(
    keyed: boolean,
    work: (operation: ListOperation) => Promise<unknown>,
  ): Promise<void> {
    const operation: ListOperation = {
      who: `mix ${this.#world.nth}`,
      beganMs: this.#world.now(),
      endedMs: undefined,
      outcome: 'unknown',
      steps: [],
    };
    this.#shared<ListOperation[]>('lists', () => []).push(operation);
    try {
      await work(operation);
      operation.outcome = 'done';
    } catch (cause) {
      // After these nobody knows whether it was done; nor where the request may have come twice, and the second was luckier.
      if (!keyed && cause instanceof DbError && !['08006', '58030', '57P01'].includes(cause.code))
        operation.outcome = 'refused';
      throw cause;
    } finally {
      operation.endedMs = this.#world.now();
    }
  }

  /** Creates and drops tables and views while everybody works. */
  async ddl(): Promise<void> {
    const random = this.#random;
    const open = this.#shared<string[]>('late', () => []);
    const name = `late_${this.#world.nth}`;
    if (open.length > 0 && random.below(3) === 0) {
      const [drop] = open.splice(random.below(open.length), 1);
      await this.#session.exec(
        `DROP ${drop!.startsWith('t_') ? 'TABLE' : 'MATERIALIZED VIEW'} ${drop}`,
      );
      return;
    }
    if (random.below(3) === 0) {
      await this.#session.exec(`CREATE TABLE t_${name} (id int PRIMARY KEY, v text)`);
      open.push(`t_${name}`);
      return;
    }
    await this.#session.exec(
      `CREATE MATERIALIZED VIEW ${name} AS ${LATE_VIEWS[random.below(LATE_VIEWS.length)]!}`,
    );
    open.push(name);
    await this.#session.query(`SELECT * FROM ${name}`);
  }

  /** Some wait for credit, all but the first are refused, nothing queues without bound. */
  async floods(): Promise<void> {
    await this.#session.exec('CREATE TABLE IF NOT EXISTS flooded (id int PRIMARY KEY)');
    const count = 20 + this.#random.below(140);
    const outcomes = await Promise.allSettled(
      Array.from({ length: count }, () => this.#world.db.insert('flooded', { id: 0 })),
    );
    for (const outcome of outcomes)
      if (outcome.status === 'rejected' && !(outcome.reason instanceof DbError))
        throw outcome.reason;
    this.#world.note('a flood');
  }

  // ── What operations share ───────────────────────────────────────────────────────────────────────────────────

  get #views(): readonly string[] {
    return this.#shared<string[]>('views', () => []);
  }

  #shared<Value>(name: string, make: () => Value): Value {
    const { shared } = this.#world;
    if (!shared.has(name)) shared.set(name, make());
    return shared.get(name) as Value;
  }

  #listOf(name: string): number[] {
    return this.#shared<number[]>(name, () => []);
  }

  #any(ids: readonly number[]): number {
    return ids.length === 0 ? 1 : ids[this.#random.below(ids.length)]!;
  }

  /** Nobody else has it. */
  #id(): number {
    this.#ids += 1;
    return 1_000 + this.#world.nth * IDS_EACH + this.#ids;
  }

  #event(): EventRow {
    const random = this.#random;
    return {
      id: this.#id(),
      acct: random.below(ACCOUNT_COUNT),
      kind: KINDS[random.below(3)]!,
      amt: random.below(1000) / 4,
    };
  }

  /** One of a few that everybody writes. */
  #hotEvent(): EventRow {
    return { ...this.#event(), id: 1 + this.#random.below(HOT_EVENTS) };
  }

  #readText(): string {
    const random = this.#random;
    const sources = ['accounts', 'events', ...this.#views];
    switch (random.below(5)) {
      case 0:
        return 'SELECT sum(bal) AS s FROM accounts';
      case 1:
        return 'SELECT a.grp, count(*) AS n, sum(e.amt) AS s FROM accounts a JOIN events e ON e.acct = a.id GROUP BY a.grp';
      case 2:
        return 'SELECT count(*) AS n, sum(amt) AS s FROM events';
      default:
        return `SELECT * FROM ${sources[random.below(sources.length)]!}`;
    }
  }

  async #think(): Promise<void> {
    await this.#world.sleep(this.#random.below(4) === 0 ? 0 : this.#random.unit() * 12);
  }

  /** Now and then the caller gives up in the middle. */
  #options(): Pick<QueryOptions, 'signal'> {
    if (this.#random.below(5) !== 0) return {};
    const controller = new AbortController();
    void this.#world.sleep(this.#random.unit() ** 3 * 6).then(() => controller.abort());
    return { signal: controller.signal };
  }
}
