import { spawnSync } from 'node:child_process';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { median, percentile } from './lib/measure.mjs';

export const about =
  'mailboxes, the start of a process, and the latency of small commits beside large work';

const root = new URL('../', import.meta.url);
const built = (path) => new URL(`dist/src/${path}`, root).href;

export async function run(report, { quick }) {
  await measureMailbox(report, quick);
  measureStart(report, quick);
  await measureOpen(report);
  await measureLatency(report, quick);
}

// ── Mailboxes ──────────────────────────────────────────────────────────────────────────────────────────────────

/** A thousand actors of ten tenants in the fair run queue, every message through a bounded lane and on a meter. */
async function measureMailbox(report, quick) {
  const { Dispatcher } = await import(built('mailbox/dispatcher.js'));
  const { mailboxLimits } = await import(built('mailbox/lane.js'));
  const { FairRunQueue } = await import(built('tenancy/fair-run-queue.js'));
  const { NodeClock } = await import(built('base/node-ports.js'));
  const { tenantId } = await import(built('base/units.js'));
  const runQueue = new FairRunQueue();
  const dispatcher = new Dispatcher({ clock: new NodeClock(), runQueue });
  const tenants = Array.from({ length: 10 }, (_, index) => tenantId(`tenant ${index}`));
  const mailbox = mailboxLimits({}, (message) => message.bytes);
  const message = { bytes: 64 };
  let received = 0;
  const receive = () => {
    received += 1;
    return 'continue';
  };
  const spawn = (name, behavior) =>
    Array.from({ length: 1000 }, (_, index) =>
      dispatcher.spawn({
        name: `${name} ${index}`,
        tenant: tenants[index % tenants.length],
        mailbox,
        start: () => behavior(index),
      }),
    );
  const total = quick ? 1_000_000 : 5_000_000;
  const rate = (send) => {
    const rates = [];
    for (let round = 0; round < 5; round += 1) {
      received = 0;
      const from = performance.now();
      while (received < total) {
        send();
        dispatcher.runUntilIdle(Infinity);
      }
      rates.push(received / (performance.now() - from) / 1000);
    }
    return median(rates);
  };
  const actors = spawn('worker', () => receive);
  report.add({
    metric: 'messages to 1 000 actors, ten at a time',
    unit: 'M/s',
    value: rate(() => {
      for (const actor of actors) for (let copy = 0; copy < 10; copy += 1) actor.tell(message);
    }),
    bar: { valueMin: 5 },
  });
  report.add({
    metric: 'messages to 1 000 actors, one at a time',
    unit: 'M/s',
    value: rate(() => {
      for (const actor of actors) actor.tell(message);
    }),
    bar: { valueMin: 5 },
  });
  const meters = [...runQueue.meters()].map(([, meter]) => meter.messageCount);
  if (Math.max(...meters) - Math.min(...meters) > 0)
    throw new Error('tenants with equal load were charged differently');

  const { Supervisor, childPolicy } = await import(built('supervisor/supervisor.js'));
  const { SeededRandom } = await import(built('base/random.js'));
  const count = 100_000;
  const idle = [];
  for (let index = 0; index < count; index += 1) idle.push(undefined);
  const idleReceive = () => 'continue';
  // Actors of one kind and tenant share what they are made from.
  const specs = tenants.map((tenant) => ({
    name: 'idle',
    tenant,
    mailbox,
    start: () => idleReceive,
  }));
  const supervisor = new Supervisor(
    { name: 'all', tenant: tenants[0], strategy: 'oneForOne' },
    { dispatcher, clock: new NodeClock(), random: new SeededRandom(1), events: {} },
  );
  const policy = childPolicy('idle');
  for (const [metric, start] of [
    ['an idle actor that has worked', (spec) => dispatcher.spawn(spec)],
    ['the same under a supervisor', (spec) => supervisor.startChild(policy, spec)],
  ]) {
    const before = heapAfterCollection();
    for (let index = 0; index < count; index += 1) idle[index] = start(specs[index % specs.length]);
    for (const actor of idle) actor.tell(message);
    dispatcher.runUntilIdle(Infinity);
    report.add({
      metric,
      unit: 'bytes',
      value: (heapAfterCollection() - before) / count,
      bar: { valueMax: 300 },
    });
    for (const actor of idle) actor.stop();
    dispatcher.runUntilIdle(Infinity);
    idle.fill(undefined);
  }
}

function heapAfterCollection() {
  globalThis.gc();
  globalThis.gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

// ── Start ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** Fresh processes, ours and the peer in turns. */
function measureStart(report, quick) {
  const ours = `import { open } from '${built('index.js')}';
    const db = await open();
    if ((await db.query('SELECT 1 AS one')).rows[0].one !== 1) process.exit(1);
    process.exit(0);`;
  const peer = `import { loadModule, parseSync } from 'libpg-query';
    await loadModule();
    parseSync('SELECT 1');
    process.exit(0);`;
  const times = { ours: [], peer: [] };
  for (let round = 0; round < (quick ? 3 : 11); round += 1) {
    times.peer.push(startMs(peer));
    times.ours.push(startMs(ours));
  }
  report.add({
    metric: 'a fresh process until its first answer',
    unit: 'ms',
    value: median(times.ours),
    peer: 'libpg-query parses SELECT 1',
    peerValue: median(times.peer),
    bar: { ratioMax: 2 },
  });
}

function startMs(script) {
  const from = performance.now();
  const { status, stderr } = spawnSync(
    process.execPath,
    ['--input-type=module', '--eval', script],
    { cwd: fileURLToPath(root), encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(`a process that was started has failed: ${stderr}`);
  return performance.now() - from;
}

async function measureOpen(report) {
  const { open } = await import(built('index.js'));
  const times = [];
  for (let round = 0; round < 21; round += 1) {
    const from = performance.now();
    const db = await open();
    // The first one loads the parser, once a process.
    if (round > 0) times.push(performance.now() - from);
    await db.close();
  }
  report.add({
    metric: 'open() in a running process, max of 20',
    unit: 'ms',
    value: Math.max(...times),
    bar: { valueMax: 5 },
  });
}

// ── Latency beside large work ──────────────────────────────────────────────────────────────────────────────────

const REGIONS = Array.from({ length: 50 }, (_, index) => `region ${index}`);
const LOADED_COUNT = 1_000_000;

/** What a large table is made of: rows [from, from + count). */
function bigRows(from, count) {
  const at = (make) => Array.from({ length: count }, (_, index) => make(from + index));
  return {
    id: Float64Array.from(at((id) => id)),
    ts: Float64Array.from(at((id) => 1.7e12 + id * 10)),
    region: at((id) => REGIONS[(id * 7919) % 50]),
    customer: Int32Array.from(at((id) => (Math.imul(id, 2_654_435_761 | 0) >>> 0) % 100_000)),
    amount: Float64Array.from(at((id) => ((id * 48_271) % 100_003) / 100)),
  };
}

async function measureLatency(report, quick) {
  const { open } = await import(built('index.js'));
  const db = await open({ memory: '12 GB' });
  await db.exec('CREATE TABLE small (id int PRIMARY KEY, v float8)');
  const definition = 'ts timestamptz, region text, customer int, amount float8';
  await db.exec(`CREATE TABLE big (id bigint, ${definition})`);
  const rowCount = quick ? 1_000_000 : 10_000_000;
  for (let from = 0; from < rowCount; from += 100_000)
    await db.insert('big', bigRows(from, 100_000));
  await settled();

  let nextId = 0;
  for (let row = 0; row < 3000; row += 1) await db.insert('small', { id: (nextId += 1), v: 1 });
  /** Commits rows one after the other until `work` is done; milliseconds of each. */
  const beside = async (work) => {
    // What was made to be loaded, and what making it has left, is nobody's latency; threads of V8 sweep it for a while yet.
    globalThis.gc();
    await new Promise((resolve) => {
      setTimeout(resolve, 100);
    });
    const latencies = [];
    let running = true;
    const writer = (async () => {
      while (running) {
        const from = performance.now();
        await db.insert('small', { id: (nextId += 1), v: 1 });
        latencies.push(performance.now() - from);
        // A program that writes has other things to do as well.
        if (latencies.length % 16 === 0)
          await new Promise((resolve) => {
            setTimeout(resolve, 1);
          });
      }
    })();
    await work();
    running = false;
    await writer;
    return latencies;
  };
  const show = (what, latencies) => {
    report.add({
      metric: `a commit beside ${what}, p99`,
      unit: 'ms',
      value: percentile(latencies, 0.99),
      bar: { valueMax: 2.5 },
    });
    report.add({
      metric: `a commit beside ${what}, max`,
      unit: 'ms',
      value: percentile(latencies, 1),
      bar: { valueMax: 10 },
    });
  };
  const repeat = async (query) => {
    const until = performance.now() + (quick ? 1000 : 3000);
    while (performance.now() < until) await db.query(query);
  };
  for (const [what, query] of [
    ['GROUP BY region', 'SELECT region, count(*), sum(amount) FROM big GROUP BY region'],
    [
      'the ten best of 100 000 groups',
      'SELECT customer, sum(amount) AS s FROM big GROUP BY customer ORDER BY s DESC LIMIT 10',
    ],
    ['ORDER BY … LIMIT 100', 'SELECT * FROM big ORDER BY amount DESC LIMIT 100'],
  ])
    show(what, await beside(() => repeat(query)));

  await db.exec(`CREATE TABLE loaded (id bigint PRIMARY KEY, ${definition})`);
  const columns = bigRows(0, LOADED_COUNT);
  show(
    'a load of 1 M rows as columns',
    await beside(async () => {
      await db.insert('loaded', columns);
      await settled();
    }),
  );
  await db.exec('TRUNCATE loaded');
  const objectOf = (row) => ({
    id: columns.id[row],
    ts: columns.ts[row],
    region: columns.region[row],
    customer: columns.customer[row],
    amount: columns.amount[row],
  });
  const objectsFrom = (from, count) =>
    Array.from({ length: count }, (_, at) => objectOf(from + at));
  show(
    'a load of 1 M rows as objects, 1 000 at a time',
    await beside(async () => {
      await db.insert('loaded', piecesOf(LOADED_COUNT, 1000, objectsFrom));
      await settled();
    }),
  );
  await db.exec('TRUNCATE loaded');
  // V8 marks the program's own million whenever it collects what has grown: most of the longest pause is that.
  const objects = objectsFrom(0, LOADED_COUNT);
  show(
    'a load of 1 M rows as objects in one array',
    await beside(async () => {
      await db.insert('loaded', objects);
      await settled();
    }),
  );
  await db.close();
}

/** Rows as somebody reads them from elsewhere: a piece, and then the next. */
async function* piecesOf(rowCount, pieceCount, make) {
  for (let from = 0; from < rowCount; from += pieceCount) yield make(from, pieceCount);
}

/** Time for what runs behind: sealing. */
function settled() {
  return new Promise((resolve) => {
    setTimeout(resolve, 1000);
  });
}
