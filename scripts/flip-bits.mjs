#!/usr/bin/env node
/**
 * Flips every bit of every file of a small database (journal, snapshots, the mark of what was acknowledged), cuts every file at every
 * length, removes every file; of segments, which are large, some bits. Each time the database opens as it was, or says
 * ADB_JOURNAL_CORRUPT: never anything else. The small form is in test/journal/file-backend.test.ts and test/system/snapshots.test.ts.
 *
 *   npm run durability:flip [-- --every 1 --engine FILE]      --every N: one bit of N
 */
import { dirname, join, posix } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const here = dirname(fileURLToPath(import.meta.url));
const { values: args } = parseArgs({
  options: { every: { type: 'string', default: '1' }, engine: { type: 'string' } },
});
const every = Number(args.every);
const { open } = await import(
  args.engine ?? pathToFileURL(join(here, '..', 'dist', 'src', 'index.js')).href
);

/** Files in memory: a hundred thousand databases are opened. */
class Disk {
  constructor(files = new Map()) {
    this.files = new Map([...files].map(([path, bytes]) => [path, bytes.slice()]));
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

/** A journal alone, and one with two snapshots, a segment and a tail. */
async function small(withSnapshots) {
  const disk = new Disk();
  const db = await opened(disk);
  await db.exec(`CREATE TABLE t (a int PRIMARY KEY, b text);
    CREATE MATERIALIZED VIEW v AS SELECT b, count(*) AS n, sum(a) AS s FROM t GROUP BY b`);
  await db.insert('t', [
    { a: 1, b: 'x' },
    { a: 2, b: 'y' },
    { a: 3, b: 'x' },
  ]);
  if (withSnapshots) {
    await db.exec('CREATE TABLE s (a smallint)');
    await db.insert('s', { a: Int16Array.from({ length: 65_536 }, (_, row) => row % 2) });
    // Until it is sealed.
    for (let turn = 0; turn < 100; turn += 1)
      await new Promise((resolve) => setTimeout(resolve, 5));
    await db.checkpoint();
    await db.insert('t', { a: 4, b: 'z' });
    await db.checkpoint();
    await db.exec("UPDATE t SET b = 'w' WHERE a = 1");
  }
  await db.close();
  return disk;
}

let damaged = 0;
let detected = 0;
const wrong = [];
async function tries(disk, before, what, damage) {
  const world = new Disk(disk.files);
  damage(world.files);
  const content = await contentOf(world).catch((cause) => `${cause?.stack ?? cause}`);
  damaged += 1;
  if (content === 'ADB_JOURNAL_CORRUPT') detected += 1;
  else if (content !== before) wrong.push(`${what}: ${content.slice(0, 300)}`);
}

for (const withSnapshots of [false, true]) {
  const disk = await small(withSnapshots);
  const before = await contentOf(new Disk(disk.files));
  for (const [path, bytes] of disk.files) {
    const isLarge = bytes.length > 50_000;
    // Bits of a large file are taken at a distance that meets all of its parts; between the slots of the mark there is nothing.
    const step = isLarge ? 8_009 : every;
    for (let bit = 0; bit < bytes.length * 8; bit += step) {
      if (path.endsWith('acknowledged') && (bit >> 3) % 4096 > 60) continue;
      await tries(
        disk,
        before,
        `${path} bit ${bit}`,
        (files) => (files.get(path)[bit >> 3] ^= 1 << (bit & 7)),
      );
    }
    for (
      let length = 0;
      length < bytes.length;
      length += isLarge ? 5_003 : path.endsWith('acknowledged') ? 31 : every
    )
      await tries(disk, before, `${path} cut at ${length}`, (files) =>
        files.set(path, bytes.slice(0, length)),
      );
    await tries(disk, before, `${path} removed`, (files) => files.delete(path));
    console.log(
      `· ${path}: ${bytes.length} bytes; ${damaged} damages so far, ${detected} detected, ${damaged - detected - wrong.length} harmless, ${wrong.length} wrong`,
    );
  }
}
for (const line of wrong.slice(0, 10)) console.error(line);
console.log(
  JSON.stringify({
    damaged,
    detected,
    harmless: damaged - detected - wrong.length,
    wrong: wrong.length,
  }),
);
process.exit(wrong.length === 0 ? 0 : 1);
