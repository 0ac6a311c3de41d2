import { mkdtempSync, rmSync } from 'node:fs';
import { open as openFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { median } from './lib/measure.mjs';

export const about =
  'replay from memory, appending to files beside the disk’s own rate, and opening what is there';

const root = new URL('../', import.meta.url);
const built = (path) => new URL(`dist/src/${path}`, root).href;

export async function run(report, { quick }) {
  const dir = mkdtempSync(join(tmpdir(), 'adb-bench-journal-'));
  try {
    await measureReplay(report, quick);
    await measureAppend(report, quick, dir);
    await measureCommits(report, quick, dir);
    await measureRecovery(report, quick, dir);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

const TABLE = `CREATE TABLE orders (id bigint NOT NULL, ts timestamptz NOT NULL, region text NOT NULL, product int NOT NULL, amount numeric(12,2) NOT NULL)
  WITH (time = 'ts')`;

/** Kept inside the commit, as dashboards have them. */
const VIEWS = [
  'SELECT region, count(*) AS n, sum(amount) AS s FROM orders GROUP BY region',
  'SELECT product, sum(amount) AS s, avg(amount) AS a FROM orders GROUP BY product',
  "SELECT date_trunc('hour', ts) AS hour, count(*) AS n, sum(amount) AS s FROM orders GROUP BY 1",
  'SELECT region, product, max(amount) AS m FROM orders GROUP BY region, product',
  'SELECT region, count(*) AS n FROM orders WHERE amount > 900 AND product < 50 GROUP BY region',
];

/** Columns of `rowCount` orders from number `first` on. */
function orders(first, rowCount) {
  const id = new Float64Array(rowCount);
  const ts = new Float64Array(rowCount);
  const product = new Int32Array(rowCount);
  const amount = new Float64Array(rowCount);
  const region = [];
  for (let row = 0; row < rowCount; row += 1) {
    const number = first + row;
    id[row] = number;
    ts[row] = 1.7e12 + number * 20;
    product[row] = (number * 7919) % 500;
    amount[row] = ((number * 104_729) % 100_000) / 100;
    region.push(REGIONS[(number * 31) % REGIONS.length]);
  }
  return { id, ts, region, product, amount };
}

const REGIONS = ['north', 'south', 'east', 'west', 'centre', 'islands', 'overseas'];
const ROWS_A_COMMIT = 4_096;

// ── Replay ─────────────────────────────────────────────────────────────────────────────────────────────────────

async function engineOf(more) {
  const { Engine } = await import(built('actors/engine.js'));
  const { Database } = await import(built('actors/database.js'));
  const { loadParser } = await import(built('actors/load-parser.js'));
  const { nodePorts } = await import(built('base/node-ports.js'));
  const engine = new Engine({
    ports: nodePorts(),
    parser: await loadParser(),
    memoryBytes: 8 * 2 ** 30,
    journal: { kind: 'memory', keepBytes: 4 * 2 ** 30 },
    historyMs: 600_000,
    zone: 'UTC',
    values: {},
    stepBudgetUnits: undefined,
    ...more,
  });
  return { engine, db: new Database(engine) };
}

async function measureReplay(report, quick) {
  const { createCommitLog } = await import(built('actors/commit-log.js'));
  const { MemoryAccount } = await import(built('base/memory.js'));
  const rowCount = quick ? 400_000 : 2_000_000;
  for (const [what, views, rowsMin] of [
    ['no view', [], 3],
    ['five views', VIEWS, 1],
  ]) {
    const log = createCommitLog({
      keepBytes: 8 * 2 ** 30,
      memory: new MemoryAccount('bench', undefined, 64 * 2 ** 30),
      keepAll: true,
    });
    const { engine, db } = await engineOf({ log: () => log });
    await db.exec(TABLE);
    for (const [index, view] of views.entries())
      await db.exec(`CREATE MATERIALIZED VIEW v${index} AS ${view}`);
    for (let first = 0; first < rowCount; first += ROWS_A_COMMIT)
      await db.insert('orders', orders(first, Math.min(ROWS_A_COMMIT, rowCount - first)));
    const rates = [];
    for (let round = 0; round < 3; round += 1) {
      const second = await engineOf({});
      globalThis.gc?.();
      const from = performance.now();
      // As a recovery does.
      second.engine.state.passViewsBy();
      let last = 0;
      await log.replay((record, at) => {
        second.engine.turn.replay(record, at);
        last = at;
      });
      for (const _ of second.engine.state.fillViews(last));
      rates.push(rowCount / (performance.now() - from) / 1000);
      await second.engine.close();
    }
    report.add({
      metric: `replay of the memory journal, ${what}`,
      unit: 'M rows/s',
      value: median(rates),
      bar: { valueMin: rowsMin },
    });
    await engine.close();
  }
}

// ── Appending ──────────────────────────────────────────────────────────────────────────────────────────────────

async function measureAppend(report, quick, dir) {
  const { FileBackend } = await import(built('journal/file-backend.js'));
  const { CommitCodec } = await import(built('actors/record-codec.js'));
  const { Journal } = await import(built('journal/journal.js'));
  const { NodeDisk } = await import(built('base/node-disk.js'));
  const { NodeClock } = await import(built('base/node-ports.js'));
  const { Dictionary } = await import(built('columns/dictionary.js'));
  const megabytes = quick ? 128 : 768;
  const rowCount = 16_384;
  const data = Float64Array.from({ length: rowCount }, (_, row) => row * 1.1);
  const dictionary = new Dictionary();
  for (const region of REGIONS) dictionary.add(region);
  const number = (type, values) => ({ rep: 'number', type, values, factor: 1, base: 0, scale: 0 });
  const rows = {
    rowCount,
    columns: [
      number({ kind: 'float8' }, data),
      number(
        { kind: 'float8' },
        data.map((value) => value / 3),
      ),
      number(
        { kind: 'int4' },
        data.map((_, row) => row * 1001),
      ),
      // As inserts make them of texts.
      {
        rep: 'dictionary',
        type: { kind: 'text' },
        codes: Int32Array.from(data, (_, row) => row % REGIONS.length),
        dictionary,
      },
    ],
  };
  const codec = new CommitCodec();
  const rates = [];
  const own = [];
  for (let round = 0; round < 3; round += 1) {
    const directory = join(dir, `append-${round}`);
    const clock = new NodeClock();
    const backend = await FileBackend.open({
      disk: new NodeDisk(),
      clock,
      directory,
      codec,
      fsync: 'interval',
    });
    let acknowledged = 0;
    let wake = () => undefined;
    const journal = new Journal({
      backend,
      codec,
      listener: {
        acknowledged: (upTo) => {
          acknowledged = upTo;
          wake();
        },
        failed: (_, cause) => {
          throw cause;
        },
      },
    });
    const payload = {
      kind: 'commit',
      operations: [{ op: 'rows', relation: 1, writes: [{ kind: 'insert', rows }] }],
    };
    const entry = { instantMs: 0, kind: 'commit', schemaVersion: 1, payload };
    const from = performance.now();
    let appended = 0;
    while (backend.heldBytes < megabytes * 2 ** 20) {
      appended = journal.append(entry);
      if (appended - acknowledged > 24) await new Promise((resolve) => (wake = resolve));
    }
    while (acknowledged < appended) await new Promise((resolve) => (wake = resolve));
    rates.push(backend.heldBytes / 2 ** 20 / ((performance.now() - from) / 1000));
    await journal.close();
    own.push(await rawRate(join(dir, 'raw'), megabytes));
    rmSync(directory, { recursive: true });
  }
  report.add({
    metric: 'append to files, a sync every 200 ms',
    unit: 'MB/s',
    value: median(rates),
    peer: 'the disk itself, 1 MB at a time, a sync every 200 ms and in the end',
    peerValue: median(own),
    rate: true,
    // Or as fast as the disk takes it.
    bar: median(own) < 200 ? { ratioMax: 1.05 } : { valueMin: 200 },
  });
}

/** What the disk takes without us: the same bytes one after the other, synced as often, and in the end. */
async function rawRate(path, megabytes) {
  const bytes = new Uint8Array(2 ** 20).fill(7);
  const file = await openFile(path, 'w');
  const from = performance.now();
  let syncedAt = from;
  for (let done = 0; done < megabytes; done += 1) {
    await file.write(bytes, 0, bytes.length, done * bytes.length);
    if (performance.now() - syncedAt < 200) continue;
    await file.datasync();
    syncedAt = performance.now();
  }
  await file.datasync();
  const rate = megabytes / ((performance.now() - from) / 1000);
  await file.close();
  rmSync(path);
  return rate;
}

// ── Commits ────────────────────────────────────────────────────────────────────────────────────────────────────

/** Rows one by one, by writers who each wait for the answer. */
async function measureCommits(report, quick, dir) {
  const { open } = await import(built('index.js'));
  for (const fsync of ['always', 'interval']) {
    const db = await open({ journal: { kind: 'file', dir: join(dir, `commits-${fsync}`), fsync } });
    await db.exec(
      'CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE u (id int PRIMARY KEY, v int)',
    );
    await db.insert(
      'u',
      Array.from({ length: 64 }, (_, id) => ({ id, v: 0 })),
    );
    const each = quick ? 40 : 200;
    const rate = async (write) => {
      const from = performance.now();
      await Promise.all(
        Array.from({ length: 64 }, async (_, writer) => {
          for (let turn = 0; turn < each; turn += 1) await write(writer, turn);
        }),
      );
      return (64 * each) / ((performance.now() - from) / 1000);
    };
    let id = 0;
    await rate(() => db.insert('t', { id: (id += 1), v: 1 }));
    report.add({
      metric: `commits of a row by 64 writers, fsync ${fsync}`,
      unit: '/s',
      value: await rate(() => db.insert('t', { id: (id += 1), v: 1 })),
    });
    const sessions = Array.from({ length: 64 }, () => db.session());
    report.add({
      metric: `BEGIN, UPDATE of a row, COMMIT by 64 sessions, fsync ${fsync}`,
      unit: '/s',
      value: await rate(async (writer) => {
        const session = sessions[writer];
        await session.exec('BEGIN');
        await session.exec(`UPDATE u SET v = v + 1 WHERE id = ${writer}`);
        await session.exec('COMMIT');
      }),
    });
    for (const session of sessions) await session.close();
    await db.close();
  }
}

// ── Recovery ───────────────────────────────────────────────────────────────────────────────────────────────────

async function measureRecovery(report, quick, dir) {
  const { open } = await import(built('index.js'));
  const rowCount = quick ? 1_000_000 : 10_000_000;
  const journal = { kind: 'file', dir: join(dir, 'recovery'), fsync: 'interval' };
  const options = { memory: '12 GB', journal };
  let db = await open(options);
  await db.exec(`${TABLE}; ALTER TABLE orders ADD PRIMARY KEY (id)`);
  const chunk = 65_536;
  let from = performance.now();
  for (let first = 0; first < rowCount; first += chunk)
    await db.insert('orders', orders(first, Math.min(chunk, rowCount - first)));
  report.add({
    metric: `durable insert of ${rowCount / 1e6} M rows with a primary key, snapshots taken meanwhile`,
    unit: 'M rows/s',
    value: rowCount / (performance.now() - from) / 1000,
  });
  // Until all is sealed: a snapshot of what is not is written row by row.
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  from = performance.now();
  await db.checkpoint();
  report.add({ metric: 'a snapshot more', unit: 's', value: (performance.now() - from) / 1000 });
  await db.close();
  for (const views of [0, 5]) {
    globalThis.gc?.();
    from = performance.now();
    db = await open(options);
    const [{ n }] = (await db.query('SELECT count(*) AS n FROM orders')).rows;
    if (n !== rowCount) throw new Error(`${n} rows are there, not ${rowCount}`);
    report.add({
      metric: `open ${rowCount / 1e6} M rows from a snapshot, ${views === 0 ? 'no view' : 'five views'}`,
      unit: 's',
      value: (performance.now() - from) / 1000,
      bar: { valueMax: 10 },
    });
    if (views === 0) {
      for (const [index, view] of VIEWS.entries())
        await db.exec(`CREATE MATERIALIZED VIEW v${index} AS ${view}`);
      await db.checkpoint();
    }
    await db.close();
  }
}
