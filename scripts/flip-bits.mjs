#!/usr/bin/env node
/**
 * Flips every bit of every file of small databases, cuts every file at every length, removes every file. Each time the database opens as
 * it was, or says ADB_JOURNAL_CORRUPT: never anything else. Three databases, each file of which is gone through whole: a journal alone;
 * two snapshots with the journal behind them; and a snapshot with the file of a sealed segment (small, as most of its rows were deleted
 * and it was compacted). The small form is in test/journal/file-backend.test.ts and test/system/snapshots.test.ts.
 *
 *   npm run durability:flip [-- --only journal|snapshots|segment --every 1 --engine FILE]      --every N: one bit of N
 */
import { dirname, join, posix } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const here = dirname(fileURLToPath(import.meta.url));
const { values: args } = parseArgs({
  options: {
    every: { type: 'string', default: '1' },
    only: { type: 'string' },
    engine: { type: 'string' },
  },
});
const every = Number(args.every);
const { open } = await import(
  args.engine ?? pathToFileURL(join(here, '..', 'dist', 'src', 'index.js')).href
);

/** Files in memory: two hundred thousand databases are opened. What is written is a new array: the bytes of a file may be shared. */
class Disk {
  constructor(files = new Map()) {
    this.files = new Map(files);
  }

  async open(path, mode) {
    if (mode === 'create') this.files.set(path, new Uint8Array(0));
    if (!this.files.has(path)) throw Object.assign(new Error(path), { code: 'ENOENT' });
    const handle = { path };
    (this.handles ??= new Set()).add(handle);
    const bytes = () => this.files.get(handle.path) ?? new Uint8Array(0);
    return {
      size: async () => bytes().length,
      read: async (offset, length) => bytes().slice(offset, offset + length),
      write: async (offset, part) => {
        const next = new Uint8Array(Math.max(bytes().length, offset + part.length));
        next.set(bytes());
        next.set(part, offset);
        this.files.set(handle.path, next);
      },
      sync: async () => undefined,
      truncate: async (size) => void this.files.set(handle.path, bytes().slice(0, size)),
      close: async () => void this.handles.delete(handle),
    };
  }

  async list(directory) {
    return [...this.files.keys()]
      .filter((path) => posix.dirname(path) === directory)
      .map((path) => posix.basename(path))
      .sort();
  }

  async rename(from, to) {
    this.files.set(to, this.files.get(from));
    this.files.delete(from);
    for (const handle of this.handles ?? []) if (handle.path === from) handle.path = to;
  }

  async remove(path) {
    this.files.delete(path);
  }

  async makeDirectory() {}
  async syncDirectory() {}
  async lock() {
    return { release: async () => undefined };
  }
}

const opened = (disk) => open({ disk, workers: 0, journal: { kind: 'file', dir: '/d' } });

async function contentOf(disk) {
  let db;
  try {
    db = await opened(disk);
    const rows = [];
    for (const { name, kind } of db.describe())
      rows.push(
        name,
        (
          await db.query(`SELECT * FROM ${name}${kind === 'table' ? '' : ' ORDER BY 1'}`, {
            format: 'text',
          })
        ).rows,
      );
    return JSON.stringify([db.position, rows]);
  } catch (cause) {
    if (cause?.code === 'ADB_JOURNAL_CORRUPT') return cause.code;
    throw cause;
  } finally {
    await db?.close();
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** What is to be damaged, and what of it: all files, or those whose names begin so. */
const DATABASES = {
  journal: { fill: async () => undefined, files: (names) => names },
  snapshots: {
    fill: async (db) => {
      await db.checkpoint();
      await db.insert('t', { a: 4, b: 'z' });
      await db.checkpoint();
      await db.exec("UPDATE t SET b = 'w' WHERE a = 1");
    },
    // The mark is the same as without them.
    files: (names) => names.filter((name) => name !== 'acknowledged'),
  },
  segment: {
    fill: async (db) => {
      await db.exec('CREATE TABLE s (a smallint)');
      await db.insert('s', { a: Int16Array.from({ length: 65_536 }, (_, row) => row % 1000) });
      // Until it is sealed, and most of it deleted and compacted away: that is a record of its own.
      await pause(500);
      await db.exec('DELETE FROM s WHERE a > 0');
      const deleted = db.position;
      for (let turn = 0; turn < 600 && db.position === deleted; turn += 1) await pause(50);
      await pause(500);
      await db.checkpoint();
      await db.insert('t', { a: 4, b: 'z' });
      await db.checkpoint();
    },
    // Its journal holds all that was deleted, and the older snapshot is like the newer.
    files: (names) => [
      ...names.filter((name) => name.startsWith('segment')),
      names.findLast((name) => name.startsWith('snapshot')),
    ],
  },
};

async function small(fill) {
  const disk = new Disk();
  const db = await opened(disk);
  await db.exec(`CREATE TABLE t (a int PRIMARY KEY, b text);
    CREATE MATERIALIZED VIEW v AS SELECT b, count(*) AS n, sum(a) AS s FROM t GROUP BY b`);
  await db.insert('t', [
    { a: 1, b: 'x' },
    { a: 2, b: 'y' },
    { a: 3, b: 'x' },
  ]);
  await fill(db);
  await db.close();
  return disk;
}

const counts = { damaged: 0, detected: 0, wrong: 0 };
const wrong = [];
async function tries(disk, before, what, path, bytes) {
  const world = new Disk(disk.files);
  if (bytes === undefined) world.files.delete(path);
  else world.files.set(path, bytes);
  const content = await contentOf(world).catch((cause) => `${cause?.stack ?? cause}`);
  counts.damaged += 1;
  if (content === 'ADB_JOURNAL_CORRUPT') counts.detected += 1;
  else if (content !== before) {
    counts.wrong += 1;
    wrong.push(`${what}: ${content.slice(0, 300)}`);
  }
  if (counts.damaged % 5_000 === 0) tell(what);
}

const startedMs = performance.now();
function tell(what) {
  const { damaged, detected } = counts;
  console.log(
    `· ${Math.round((performance.now() - startedMs) / 1000)} s, ${what}: ${damaged} damages so far, ${detected} detected, ${damaged - detected - counts.wrong} harmless, ${counts.wrong} wrong`,
  );
}

for (const [name, { fill, files }] of Object.entries(DATABASES)) {
  if (args.only !== undefined && args.only !== name) continue;
  const disk = await small(fill);
  const before = await contentOf(new Disk(disk.files));
  const names = [...disk.files.keys()].map((path) => posix.basename(path)).sort();
  for (const path of files(names).map((each) => `/d/${each}`)) {
    const bytes = disk.files.get(path);
    if (bytes.length > 20_000) throw new Error(`${path} is not small: ${bytes.length} bytes`);
    // Of the mark two short slots are read; what lies between them is not.
    const isRead = (at) => !path.endsWith('acknowledged') || at % 4096 <= 60;
    for (let bit = 0; bit < bytes.length * 8; bit += every) {
      if (!isRead(bit >> 3)) continue;
      const flipped = bytes.slice();
      flipped[bit >> 3] ^= 1 << (bit & 7);
      await tries(disk, before, `${name}, ${path} bit ${bit}`, path, flipped);
    }
    for (let length = 0; length < bytes.length; length += every) {
      if (!isRead(length)) continue;
      await tries(disk, before, `${name}, ${path} cut at ${length}`, path, bytes.slice(0, length));
    }
    await tries(disk, before, `${name}, ${path} removed`, path, undefined);
    tell(`${name}, ${path}, all ${bytes.length} bytes`);
  }
}
for (const line of wrong.slice(0, 10)) console.error(line);
console.log(
  JSON.stringify({ ...counts, harmless: counts.damaged - counts.detected - counts.wrong }),
);
process.exit(counts.wrong === 0 && counts.damaged > 0 ? 0 : 1);
