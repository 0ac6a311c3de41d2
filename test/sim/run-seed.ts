/**
 * One seed: a world with faults of its own, clients that do all kinds of things at once, and every invariant asked for at
 * some moments and at the end. The same seed gives the same trace, in any process.
 */
import { DbError } from '../../src/base/errors.ts';
import type { Random } from '../../src/base/ports.ts';
import { SeededRandom } from '../../src/base/random.ts';
import { DEFAULT_LIMITS, LANES, PARKED_OFFERS_MAX } from '../../src/mailbox/lane.ts';
import { loadParser } from '../../src/actors/load-parser.ts';
import type { Change } from '../../src/actors/api-types.ts';
import type { Parser } from '../../src/sql/parse.ts';
import { SCHEDULES, type ScheduleKind } from '../../src/sim/schedule.ts';
import { Simulation, StuckError } from '../../src/sim/simulation.ts';
import { INJECTED_BREAK, INJECTED_REFUSAL } from '../../src/sim/staging-faults.ts';
import { publishedRows, stateHashes } from '../../src/sim/state-hash.ts';
import { Model } from '../../src/model/model.ts';
import { Oracle, OracleError, sortedTexts, type Rows, type Step } from './oracle.ts';

export type SeedOptions = {
  readonly schedule?: ScheduleKind | undefined;
  readonly traceLines?: number | undefined;
};

export type SeedReport = {
  readonly seed: number;
  readonly traceHash: string;
  readonly events: number;
  readonly position: number;
  readonly acknowledged: number;
  readonly refused: number;
  /** Things that happened: that they do is what makes a clean run worth something. */
  readonly seen: ReadonlySet<string>;
  readonly failure: { readonly message: string; readonly replay: string } | undefined;
  readonly newest: readonly string[];
};

let parser: Parser | undefined;

export async function loadSimulation(): Promise<void> {
  await Model.load();
  parser ??= remembering(await loadParser());
}

export async function runSeed(seed: number, options: SeedOptions = {}): Promise<SeedReport> {
  await loadSimulation();
  const world = new World(seed, options);
  let failure: SeedReport['failure'];
  try {
    await world.sim.run(() => world.live());
  } catch (cause) {
    const waiting = [...world.waiting].join(', ');
    failure = {
      message: describe(cause) + (cause instanceof StuckError ? `\n  waiting: ${waiting}` : ''),
      replay: replayLine(seed, options),
    };
  }
  return {
    seed,
    traceHash: world.sim.trace.hash,
    events: world.sim.eventCount,
    position: world.sim.engine.visiblePosition,
    acknowledged: world.acknowledged,
    refused: world.refused,
    seen: world.seen,
    failure,
    newest: world.sim.trace.newest,
  };
}

/** Worlds say the same things again and again: what a text parses to is kept. */
function remembering(real: Parser): Parser {
  const known = new Map<string, ReturnType<Parser['parse']>>();
  return {
    ...real,
    parse: (text) => {
      const before = known.get(text);
      if (before !== undefined) return before;
      const parsed = real.parse(text);
      if (known.size < 2_000) known.set(text, parsed);
      return parsed;
    },
  };
}

/** The one line that runs a seed again. */
export function replayLine(seed: number, options: SeedOptions = {}): string {
  const schedule = options.schedule === undefined ? '' : ` --schedule ${options.schedule}`;
  return `node scripts/sim.mjs --seed ${seed}${schedule} --trace`;
}

function describe(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  const why = cause.cause === undefined ? '' : `\n  because: ${describe(cause.cause)}`;
  const stack =
    cause instanceof OracleError || cause instanceof InvariantBroken
      ? ''
      : `\n${(cause.stack ?? '').split('\n').slice(1, 8).join('\n')}`;
  return `${cause.name}: ${cause.message}${stack}${why}`;
}

export class InvariantBroken extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'InvariantBroken';
  }
}

const VIEWS: readonly { readonly name: string; readonly query: string; readonly on?: string }[] = [
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
  { name: 'kinds', query: 'SELECT DISTINCT kind, acct FROM events' },
  { name: 'united', query: 'SELECT id AS k FROM accounts UNION ALL SELECT acct FROM events' },
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
const HOT_EVENTS = 5;

/** Refusals that are part of the contract, whatever happens in the world. */
const REFUSALS = new Set(['40001', '40P01', '23505', '53000', '57014', '25P02', '42P01', '42P07']);

class World {
  readonly seed: number;
  readonly sim: Simulation;
  readonly oracle = new Oracle();
  readonly seen = new Set<string>();
  /** Clients at work, and what each is waiting for. */
  readonly waiting = new Map<string, string>();
  acknowledged = 0;
  refused = 0;
  readonly #random: Random;
  readonly #views: typeof VIEWS;
  readonly #acknowledgedIds = new Set<number>();
  #nextId = 1_000;
  #ended = 0;

  constructor(seed: number, options: SeedOptions) {
    this.seed = seed;
    const random = new SeededRandom(seed, 'world');
    this.#random = random;
    const schedule = options.schedule ?? SCHEDULES[random.below(SCHEDULES.length)]!;
    const some = (share: number, value: number): number => (random.unit() < share ? value : 0);
    const latency = random.below(3) === 0 ? 0 : 1 + random.below(8);
    this.sim = new Simulation({
      seed,
      parser: parser!,
      schedule,
      startMs: Date.UTC(2026, 0, 1),
      memoryBytes: 1 << 30,
      stepBudgetUnits: [48, 400, 20_000][random.below(3)]!,
      nanosecondsPerUnit: [10, 200, 5_000][random.below(3)]!,
      journal: {
        latencyMs: [0, latency],
        groupsInFlightMax: 1 + random.below(4),
        failingGroup: random.unit() < 0.12 ? 20 + random.below(40) : 0,
        refusedAppends: new Set(random.unit() < 0.2 ? [20 + random.below(30)] : []),
      },
      staging: {
        table: some(0.3, 0.1),
        viewRefuses: some(0.3, 0.06),
        viewBreaks: some(0.3, 0.04),
      },
      traceLines: options.traceLines,
    });
    this.sim.faultsActive = false;
    this.#views = VIEWS.filter(() => random.unit() < 0.55);
    this.#views = VIEWS.filter(
      (view) => this.#views.includes(view) || this.#views.some((other) => other.on === view.name),
    );
    this.sim.afterEvent = () => {
      if (this.sim.eventCount % 8 === 0) this.#checkMailboxes();
    };
  }

  /** One in a hundred: it costs as much as all the others. */
  get #floods(): boolean {
    return this.seed % 100 === 7;
  }

  async live(): Promise<void> {
    await this.#setUp();
    const { db, trace } = this.sim;
    db.on('view.failed', ({ view, position }) => trace.note(`${view} broke after ${position}`));
    db.on('view.rebuilt', ({ view, position }) => trace.note(`${view} made anew at ${position}`));
    this.sim.faultsActive = true;
    const clients: Promise<void>[] = [];
    const kinds = [
      () => this.#writer(),
      () => this.#writer(),
      () => this.#transfers(),
      () => this.#transfers(),
      () => this.#serializable(),
      () => this.#reader(),
      () => this.#reader(),
      () => this.#snapshotReader(),
      () => this.#subscriber(),
      () => this.#definer(),
    ];
    const chosen = kinds.filter(() => this.#random.unit() < 0.75);
    if (this.#floods) chosen.push(() => this.#flood());
    for (const client of chosen) clients.push(client());
    clients.push(this.#foldChecks());
    await this.#allEnd(clients);
    this.sim.faultsActive = false;
    await this.#rest();
    await this.#checkEnd();
    await this.#close();
  }

  /** Waits for all; the first failure ends the run at once. */
  async #allEnd(clients: readonly Promise<void>[]): Promise<void> {
    await Promise.all(clients);
  }

  async #setUp(): Promise<void> {
    const { db } = this.sim;
    const exec = async (sql: string): Promise<void> => {
      const { position, rows } = await db.exec(sql);
      this.#note('setup', position, [
        { kind: 'write', sql, count: sql.startsWith('INSERT') ? rows : undefined },
      ]);
    };
    await exec(
      'CREATE TABLE accounts (id int PRIMARY KEY, grp text, bal int NOT NULL, x double precision, p numeric)',
    );
    await exec('CREATE TABLE events (id int PRIMARY KEY, acct int, kind text, amt numeric(10,2))');
    if (this.#floods) await exec('CREATE TABLE flooded (id int)');
    if (this.#random.below(2) === 0) await db.exec('CREATE INDEX events_acct ON events (acct)');
    for (const { name, query } of this.#views)
      await exec(`CREATE MATERIALIZED VIEW ${name} AS ${query}`);
    if (this.#random.below(3) === 0)
      await exec(
        `CREATE MATERIALIZED VIEW slow WITH (refresh = '20ms') AS SELECT grp, sum(bal) AS s FROM accounts GROUP BY grp`,
      );
    const rows = Array.from({ length: ACCOUNT_COUNT }, (_, id) =>
      this.#accountRow(id, this.#random),
    );
    await exec(`INSERT INTO accounts VALUES ${rows.join(', ')}`);
  }

  #accountRow(id: number, random: Random): string {
    const x = ['NULL', '0.1', '0.2', '1e300', '-1e300', '1e-9'][random.below(6)]!;
    const p = ['NULL', '1.0', '1.00', '-2.5'][random.below(4)]!;
    return `(${id}, '${GROUPS[random.below(3)]}', 100, ${x}, ${p})`;
  }

  // ── Clients ──────────────────────────────────────────────────────────────────────────────────────────────────

  async #writer(): Promise<void> {
    const { who, random, think } = this.#client('writer');
    const { db } = this.sim;
    const mine: number[] = [];
    for (let op = 0; op < 6; op += 1) {
      await think();
      const abort = this.#maybeAbort(random);
      switch (random.below(9)) {
        case 0: {
          const rows = Array.from({ length: 1 + random.below(4) }, () => this.#event(random));
          await this.#attempt(who, async () => {
            const { position } = await db.insert('events', rows, { signal: abort });
            for (const { id } of rows) {
              mine.push(id);
              this.#acknowledgedIds.add(id);
            }
            return [position, [write(insertSql(rows), rows.length)]];
          });
          break;
        }
        case 1: {
          const row = this.#event(random);
          const sql = insertSql([row]);
          await this.#attempt(who, async () => {
            const { position } = await db.exec(sql, { signal: abort });
            mine.push(row.id);
            this.#acknowledgedIds.add(row.id);
            return [position, [write(sql, 1)]];
          });
          break;
        }
        case 2: {
          if (mine.length === 0) break;
          const id = mine[random.below(mine.length)]!;
          const sql = `UPDATE events SET acct = ${random.below(ACCOUNT_COUNT)}, amt = amt + 1 WHERE id = ${id}`;
          await this.#attempt(who, async () => {
            const { position, rows } = await db.exec(sql, { signal: abort });
            return [position, [write(sql, rows)]];
          });
          break;
        }
        case 3: {
          if (mine.length === 0) break;
          const id = mine.splice(random.below(mine.length), 1)[0]!;
          await this.#attempt(who, async () => {
            const { position, rows } = await db.delete('events', { id }, { signal: abort });
            this.#acknowledgedIds.delete(id);
            return [position, [write(`DELETE FROM events WHERE id = ${id}`, rows)]];
          });
          break;
        }
        case 4: {
          const row = {
            id: random.below(ACCOUNT_COUNT),
            grp: GROUPS[random.below(3)]!,
            x: [0.1, -0.3, 1e16][random.below(3)]!,
          };
          const sql = `UPDATE accounts SET grp = '${row.grp}', x = ${row.x} WHERE id = ${row.id}`;
          await this.#attempt(who, async () => {
            const { position, rows } = await db.exec(sql, { signal: abort });
            return [position, [write(sql, rows)]];
          });
          break;
        }
        case 5: {
          const kind = KINDS[random.below(3)]!;
          const sql = `UPDATE events SET amt = amt * 2 WHERE kind = '${kind}' AND amt < 50`;
          await this.#attempt(who, async () => {
            const { position, rows } = await db.exec(sql, { signal: abort });
            return [position, [write(sql, rows)]];
          });
          break;
        }
        case 7: {
          const row = this.#hotEvent(random);
          await this.#attempt(who, async () => {
            const { position } = await db.upsert('events', row, { signal: abort });
            return [position, [write(upsertSql(row), 1)]];
          });
          break;
        }
        case 8: {
          const { id } = this.#hotEvent(random);
          await this.#attempt(who, async () => {
            const { position, rows } = await db.delete('events', { id }, { signal: abort });
            return [position, [write(`DELETE FROM events WHERE id = ${id}`, rows)]];
          });
          break;
        }
        case 6: {
          // A key that is taken already: refused whole.
          const sql = `INSERT INTO accounts VALUES ${this.#accountRow(500_000 + this.#id(), random)}, ${this.#accountRow(0, random)}`;
          await this.#attempt(who, async () => {
            await db.exec(sql, { signal: abort });
            throw new InvariantBroken('a duplicate key was taken in');
          });
          break;
        }
      }
    }
    this.#done();
  }

  /** Money goes round at READ COMMITTED: row claims, deadlocks, rollbacks. */
  async #transfers(): Promise<void> {
    const { who, random, think } = this.#client('transfer');
    for (let op = 0; op < 4; op += 1) {
      await think();
      const from = random.below(ACCOUNT_COUNT);
      const to = (from + 1 + random.below(ACCOUNT_COUNT - 1)) % ACCOUNT_COUNT;
      const amount = 1 + random.below(30);
      const event = this.#event(random);
      const sqls = [
        `UPDATE accounts SET bal = bal - ${amount} WHERE id = ${from}`,
        `UPDATE accounts SET bal = bal + ${amount} WHERE id = ${to}`,
        insertSql([event]),
      ];
      const rollBack = random.below(5) === 0;
      const session = this.sim.db.session();
      await this.#attempt(who, async () => {
        await session.exec('BEGIN');
        for (const sql of sqls) {
          await session.exec(sql);
          if (random.below(2) === 0) await think();
        }
        if (rollBack) {
          await session.exec('ROLLBACK');
          return undefined;
        }
        const { position } = await session.exec('COMMIT');
        this.#acknowledgedIds.add(event.id);
        return [position, sqls.map((sql) => write(sql, 1))];
      });
      await session.close();
    }
    this.#done();
  }

  /** Reads, thinks, writes what it has read: it must be as if that had happened at one moment. */
  async #serializable(): Promise<void> {
    const { who, random, think } = this.#client('serializable');
    for (let op = 0; op < 4; op += 1) {
      await think();
      const group = GROUPS[random.below(3)]!;
      const target = random.below(ACCOUNT_COUNT);
      const view = this.#views.find(({ name }) => name === 'by_grp') !== undefined;
      const readSql =
        view && random.below(2) === 0
          ? `SELECT s FROM by_grp WHERE grp = '${group}'`
          : `SELECT sum(bal) FROM accounts WHERE grp = '${group}'`;
      await this.#attempt(who, async () => {
        let steps: Step[] = [];
        let id = 0;
        const { position } = await this.sim.db.transaction(
          async (tx) => {
            steps = [];
            const { rows } = await tx.query(readSql, { format: 'text' });
            steps.push({ kind: 'read', sql: readSql, rows });
            if (random.below(2) === 0) await think();
            const sum = Number(rows[0]?.[0] ?? 0) % 100_000;
            const event = this.#event(random);
            event.amt = sum;
            id = event.id;
            await tx.insert('events', event);
            steps.push(write(insertSql([event]), 1));
            const sql = `UPDATE accounts SET bal = bal + 1 WHERE id = ${target}`;
            await tx.exec(sql);
            steps.push(write(sql, 1));
            if (random.below(3) === 0) {
              const hot = this.#hotEvent(random);
              await tx.upsert('events', hot);
              steps.push(write(upsertSql(hot), 1));
            }
          },
          { retries: 3 },
        );
        this.#acknowledgedIds.add(id);
        return [position, steps];
      });
    }
    this.#done();
  }

  async #reader(): Promise<void> {
    const { who, random, think } = this.#client('reader');
    let newest = 0;
    for (let op = 0; op < 6; op += 1) {
      await think();
      const sql = this.#readSql(random);
      const before = this.sim.engine.visiblePosition;
      const signal = this.#maybeAbort(random);
      await this.#attempt(who, async () => {
        const { rows, meta } = await this.sim.db.query(sql, { format: 'text', signal });
        // Only a view that broke may answer for an older position, and says so.
        const mayLag =
          meta.source === 'view' && this.sim.engine.metrics.snapshot()['viewFailures']! > 0;
        if (!mayLag && (meta.position < before || meta.position < newest))
          throw new InvariantBroken(
            `${who} was answered at position ${meta.position} after ${Math.max(before, newest)} was visible`,
          );
        newest = Math.max(newest, meta.position);
        return [meta.position, [{ kind: 'read', sql, rows }]];
      });
    }
    this.#done();
  }

  /** Several reads in one transaction: tables and views must belong to one position, whatever is committed meanwhile. */
  async #snapshotReader(): Promise<void> {
    const { who, random, think } = this.#client('snapshot');
    for (let op = 0; op < 3; op += 1) {
      await think();
      const session = this.sim.db.session();
      await this.#attempt(who, async () => {
        await session.exec('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
        const steps: Step[] = [];
        let position = 0;
        for (let read = 0; read < 3; read += 1) {
          const sql = this.#readSql(random);
          const { rows, meta } = await session.query(sql, { format: 'text' });
          steps.push({ kind: 'read', sql, rows });
          position = meta.position;
          await think();
        }
        await session.exec('COMMIT');
        return [position, steps];
      });
      await session.close();
    }
    this.#done();
  }

  /** Follows a view, a table or a query, and folds what it is told. */
  async #subscriber(): Promise<void> {
    const { who, random, think } = this.#client('subscriber');
    const targets = ['accounts', 'events', ...this.#views.map(({ name }) => name)];
    const name = targets[random.below(targets.length)]!;
    const sql = `SELECT * FROM ${name}`;
    const live = random.below(4) === 0;
    const subscription = this.sim.db.subscribe(
      live ? 'SELECT kind, count(*) AS n FROM events GROUP BY kind' : name,
      {
        heartbeatMs: 40,
        values: { int8: 'string', numeric: 'string' },
        ...(random.below(3) === 0 ? { maxRate: 200 } : {}),
      },
    );
    const readSql = live ? 'SELECT kind, count(*) AS n FROM events GROUP BY kind' : sql;
    let fold = new Map<string, number>();
    let snapshotting = true;
    const take = async (change: Change): Promise<void> => {
      switch (change.kind) {
        case 'snapshot':
          for (const row of change.rows) bump(fold, row, 1);
          snapshotting = change.more;
          break;
        case 'delta':
          this.seen.add('a delta');
          for (const row of change.deleted) bump(fold, row, -1);
          for (const row of change.inserted) bump(fold, row, 1);
          break;
        case 'reset':
          this.seen.add('a reset');
          fold = new Map();
          snapshotting = true;
          break;
        case 'progress':
          break;
      }
      this.sim.trace.note(`${who} ${change.kind} ${change.position}`);
      if (snapshotting) return;
      this.#foldSeen.push({ who, position: change.position, sql: readSql, rows: rowsOf(fold) });
      if (random.below(3) === 0) await think();
    };
    try {
      for await (const change of subscription) {
        await take(change);
        if (this.#ended >= this.#writers && change.kind === 'progress') break;
      }
    } catch (cause) {
      this.#refusedWith(who, cause);
    }
  }

  /** Creates and drops tables and views while everybody works. */
  async #definer(): Promise<void> {
    const { who, random, think } = this.#client('definer');
    let number = 0;
    const open: string[] = [];
    for (let op = 0; op < 4; op += 1) {
      await think();
      const name = `late_${(number += 1)}`;
      const drop = open.length > 0 && random.below(3) === 0 ? open.shift()! : undefined;
      const sql =
        drop !== undefined
          ? `DROP ${drop.startsWith('t_') ? 'TABLE' : 'MATERIALIZED VIEW'} ${drop}`
          : random.below(3) === 0
            ? `CREATE TABLE t_${name} (id int PRIMARY KEY, v text)`
            : `CREATE MATERIALIZED VIEW ${name} AS ${LATE_VIEWS[random.below(LATE_VIEWS.length)]!}`;
      await this.#attempt(who, async () => {
        const { position } = await this.sim.db.exec(sql);
        if (drop === undefined) open.push(/^CREATE TABLE (\w+)/.exec(sql)?.[1] ?? name);
        return [position, [write(sql, undefined)]];
      });
      if (drop === undefined && open.includes(name))
        await this.#attempt(who, async () => {
          const read = `SELECT * FROM ${name}`;
          const { rows, meta } = await this.sim.db.query(read, { format: 'text' });
          return [meta.position, [{ kind: 'read', sql: read, rows }]];
        });
    }
    this.#done();
  }

  /** More at once than the journal's lane holds: some wait for credit, some are refused, nothing queues without bound. */
  async #flood(): Promise<void> {
    const { who, random } = this.#client('flood');
    const count = 1_100 + random.below(1_100);
    await Promise.all(
      Array.from({ length: count }, (_, id) =>
        this.#attempt(who, async () => {
          const { position } = await this.sim.db.insert('flooded', { id });
          return [position, [write(`INSERT INTO flooded VALUES (${id})`, 1)]];
        }),
      ),
    );
    this.seen.add('a flood');
    this.#done();
  }

  /** Now and then the visible state must be what the journal folds to. */
  async #foldChecks(): Promise<void> {
    const { think } = this.#client('folds', false);
    const times = this.#random.below(3);
    for (let time = 0; time < times; time += 1) {
      for (let pause = 0; pause < 4; pause += 1) await think();
      await this.#checkFold();
    }
  }

  // ── What clients share ───────────────────────────────────────────────────────────────────────────────────────

  #clients = 0;
  #writers = 0;
  readonly #foldSeen: {
    readonly who: string;
    readonly position: number;
    readonly sql: string;
    readonly rows: Rows;
  }[] = [];

  #client(
    role: string,
    counts = role !== 'subscriber',
  ): { who: string; random: Random; think: () => Promise<void> } {
    const who = `${role} ${(this.#clients += 1)}`;
    if (counts) this.#writers += 1;
    const random = this.#random.split(who);
    return {
      who,
      random,
      think: () => this.sim.clock.pause(random.below(4) === 0 ? 0 : random.unit() * 12, who),
    };
  }

  #done(): void {
    this.#ended += 1;
  }

  #id(): number {
    return (this.#nextId += 1);
  }

  #event(random: Random): { id: number; acct: number; kind: string; amt: number } {
    return {
      id: this.#id(),
      acct: random.below(ACCOUNT_COUNT),
      kind: KINDS[random.below(3)]!,
      amt: random.below(1000) / 4,
    };
  }

  /** One of a few that everybody writes. */
  #hotEvent(random: Random): { id: number; acct: number; kind: string; amt: number } {
    return { ...this.#event(random), id: 1 + random.below(HOT_EVENTS) };
  }

  #readSql(random: Random): string {
    const sources = ['accounts', 'events', ...this.#views.map(({ name }) => name)];
    switch (random.below(5)) {
      case 0:
        return 'SELECT sum(bal) FROM accounts';
      case 1:
        return 'SELECT a.grp, count(*), sum(e.amt) FROM accounts a JOIN events e ON e.acct = a.id GROUP BY a.grp';
      case 2:
        return 'SELECT count(*), sum(amt) FROM events';
      default:
        return `SELECT * FROM ${sources[random.below(sources.length)]!}`;
    }
  }

  #maybeAbort(random: Random): AbortSignal | undefined {
    if (random.below(5) !== 0) return undefined;
    const controller = new AbortController();
    this.sim.clock.at(random.unit() ** 3 * 6, 'abort', () => controller.abort());
    return controller.signal;
  }

  async #attempt(
    who: string,
    action: () => Promise<readonly [number, readonly Step[]] | undefined>,
  ): Promise<void> {
    try {
      this.waiting.set(who, action.toString().replaceAll(/\s+/g, ' ').slice(0, 300));
      const outcome = await action();
      this.waiting.delete(who);
      if (outcome === undefined) {
        this.sim.trace.note(`${who} rolled back`);
        return;
      }
      this.#note(who, outcome[0], outcome[1]);
    } catch (cause) {
      this.waiting.delete(who);
      this.#refusedWith(who, cause);
    }
  }

  #note(who: string, position: number, steps: readonly Step[]): void {
    this.acknowledged += 1;
    this.sim.trace.note(`${who} done at ${position}: ${steps.map(({ sql }) => sql).join('; ')}`);
    this.oracle.note({ position, who, steps });
  }

  /** Only refusals that the contract knows, or that this world's faults explain. */
  #refusedWith(who: string, cause: unknown): void {
    if (!(cause instanceof DbError)) throw cause;
    this.refused += 1;
    this.seen.add(cause.code);
    this.sim.trace.note(`${who} refused: ${cause.code} ${cause.message}`);
    if (REFUSALS.has(cause.code)) return;
    if (cause.code === '58030' && this.sim.backend.failed) return;
    if (cause.message === INJECTED_REFUSAL) return;
    throw cause;
  }

  // ── Invariants ───────────────────────────────────────────────────────────────────────────────────────────────

  #checkMailboxes(): void {
    for (const actor of this.sim.engine.dispatcher.actors()) {
      for (const [lane, count] of actor.waiting.entries())
        if (count > DEFAULT_LIMITS.lanes[lane]!.messages)
          throw new InvariantBroken(
            `${count} messages wait in the ${LANES[lane]} lane of ${actor.name}`,
          );
      if (actor.parkedOffers > PARKED_OFFERS_MAX)
        throw new InvariantBroken(`${actor.parkedOffers} offers wait at ${actor.name}`);
    }
  }

  /** State = fold(journal). */
  async #checkFold(): Promise<void> {
    const { engine, backend } = this.sim;
    if (engine.visiblePosition !== backend.lastPosition)
      throw new InvariantBroken(
        `position ${engine.visiblePosition} is visible, ${backend.lastPosition} acknowledged`,
      );
    const settledRelation = (name: string): boolean => {
      const entry = engine.state.catalog
        .all()
        .find((each) => name.endsWith(`.${each.definition.name}`));
      return (
        entry?.kind !== 'materializedView' ||
        (entry.view.status === 'live' && entry.view.options.refresh === 'commit')
      );
    };
    const live = stateHashes(engine.state);
    const replica = await this.sim.replayed();
    const replayed = stateHashes(replica.state);
    const names = (hashes: typeof live): string => hashes.map(({ name }) => name).join(' ');
    // Definitions show as soon as they are staged.
    if (engine.turn.stagedUnacknowledged > 0 && names(live) !== names(replayed)) {
      await replica.close();
      return;
    }
    if (names(live) !== names(replayed))
      throw new InvariantBroken(
        `the journal folds to ${names(replayed)} instead of ${names(live)}`,
      );
    for (const [index, { name, hash }] of live.entries()) {
      if (!settledRelation(name) || replayed[index]!.hash === hash) continue;
      const relation = engine.state.catalog
        .all()
        .find((each) => name.endsWith(`.${each.definition.name}`))!;
      const other = replica.state.catalog.byId(relation.definition.id)!;
      const text = (entry: typeof other): string =>
        'data' in entry ? publishedRows(entry.data, entry.kind === 'table').join(' ') : '';
      throw new InvariantBroken(
        `${name} is not the fold of the journal at ${engine.visiblePosition}\n  is ${text(relation)}\n  folds to ${text(other)}`,
      );
    }
    await replica.close();
    if (replica.memory.usedBytes !== 0)
      throw new InvariantBroken(`a closed replica holds ${replica.memory.usedBytes} bytes`);
    this.seen.add('a fold');
  }

  /** Everything that was begun has ended, views that broke are live again. */
  async #rest(): Promise<void> {
    for (let round = 0; round < 200; round += 1) {
      await this.sim.clock.pause(50, 'rest');
      const { engine } = this.sim;
      const views = engine.state.catalog
        .all()
        .flatMap((entry) => (entry.kind === 'materializedView' ? [entry.view] : []));
      if (
        views.every(({ status }) => status === 'live') &&
        engine.turn.stagedUnacknowledged === 0 &&
        engine.queries.size === 0 &&
        round > 0
      )
        return;
    }
    throw new InvariantBroken('the database does not come to rest after the faults have ended');
  }

  async #checkEnd(): Promise<void> {
    const { engine, db } = this.sim;
    if (engine.state.catalog.all().some(({ definition }) => definition.name === 'slow'))
      await db.exec('REFRESH MATERIALIZED VIEW slow');
    await this.#checkFold();
    if (engine.transactions.size > 0) throw new InvariantBroken('a transaction was left open');
    if (!engine.claims.isEmpty) throw new InvariantBroken('claims were left behind');
    for (const { who, position, sql, rows } of this.#foldSeen)
      this.oracle.note({ position, who, steps: [{ kind: 'read', sql, rows }] });
    const model = this.oracle.check();
    for (const entry of engine.state.catalog.ofTenant('main')) {
      if (entry.kind !== 'table' && entry.kind !== 'materializedView') continue;
      const { name, schema } = entry.definition;
      if (schema !== 'public') continue;
      const sql = `SELECT * FROM ${name}`;
      const actual = sortedTexts((await db.query(sql, { format: 'text' })).rows);
      const expected = sortedTexts(model.query(sql).rows);
      if (actual.join('\n') !== expected.join('\n'))
        throw new InvariantBroken(
          `${name} holds ${actual.join(' ')}\n  instead of ${expected.join(' ')}`,
        );
    }
    // Acknowledged is present exactly once: ids are unique by their key, so presence is what is left to ask.
    const { rows } = await db.query('SELECT id FROM events', { format: 'text' });
    const present = new Set(rows.map(([id]) => Number(id)).filter((id) => id > HOT_EVENTS));
    for (const id of this.#acknowledgedIds)
      if (!present.has(id))
        throw new InvariantBroken(`event ${id} was acknowledged and is not there`);
    for (const id of present)
      if (!this.#acknowledgedIds.has(id))
        throw new InvariantBroken(`event ${id} was refused and is there`);
    if (this.sim.backend.failed) this.seen.add('a failed journal');
    for (const name of ['viewFailures'] as const)
      if ((db.metrics.snapshot()[name] ?? 0) > 0) this.seen.add(INJECTED_BREAK);
  }

  async #close(): Promise<void> {
    const { engine, clock } = this.sim;
    await this.sim.db.close();
    await clock.pause(1, 'rest');
    if (engine.memory.usedBytes !== 0)
      throw new InvariantBroken(`the closed database holds ${engine.memory.usedBytes} bytes`);
    if (engine.dispatcher.actorCount !== 0)
      throw new InvariantBroken(`${engine.dispatcher.actorCount} actors outlive the database`);
    await clock.pause(1_000, 'rest');
    if (clock.pendingCount !== 0)
      throw new InvariantBroken(`${clock.pendingCount} timers outlive the database`);
  }
}

function write(sql: string, count: number | undefined): Step {
  return { kind: 'write', sql, count };
}

function insertSql(
  rows: readonly { id: number; acct: number; kind: string; amt: number }[],
): string {
  return `INSERT INTO events VALUES ${rows
    .map(({ id, acct, kind, amt }) => `(${id}, ${acct}, '${kind}', ${amt})`)
    .join(', ')}`;
}

function bump(fold: Map<string, number>, row: Readonly<Record<string, unknown>>, by: number): void {
  const key = JSON.stringify(
    Object.values(row).map((value) =>
      value === null ? null : typeof value === 'number' ? numberText(value) : String(value),
    ),
  );
  const count = (fold.get(key) ?? 0) + by;
  if (count === 0) fold.delete(key);
  else fold.set(key, count);
}

/** As PostgreSQL prints a double. */
function numberText(value: number): string {
  const text = String(value);
  const match = /^(-?\d(?:\.\d+)?)e([+-])(\d+)$/.exec(text);
  if (match !== null) return `${match[1]}e${match[2]}${match[3]!.padStart(2, '0')}`;
  return Number.isInteger(value) && Math.abs(value) >= 1e15
    ? value.toExponential().replace(/e([+-])(\d)$/, 'e$10$2')
    : text;
}

function rowsOf(fold: ReadonlyMap<string, number>): Rows {
  return [...fold].flatMap(([key, count]) => {
    if (count < 0)
      throw new InvariantBroken(`a subscriber was told to delete what it never had: ${key}`);
    const row = JSON.parse(key) as (string | null)[];
    return Array.from({ length: count }, () => row);
  });
}

function upsertSql(row: { id: number; acct: number; kind: string; amt: number }): string {
  return `${insertSql([row])} ON CONFLICT (id) DO UPDATE SET acct = EXCLUDED.acct, kind = EXCLUDED.kind, amt = EXCLUDED.amt`;
}
