import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, expect, test } from 'vitest';
import { NodeDisk } from '../../src/base/node-disk.ts';
import { NodeClock } from '../../src/base/node-ports.ts';
import type { Disk } from '../../src/base/ports.ts';
import { instantMs, position } from '../../src/base/units.ts';
import { FileBackend, type FileBackendOptions } from '../../src/journal/file-backend.ts';
import { Journal } from '../../src/journal/journal.ts';
import { ValueCodec } from '../../src/journal/value-codec.ts';
import { MemoryDisk } from './memory-disk.ts';

const codec = new ValueCodec();
const clock = new NodeClock();

type Opened = {
  readonly journal: Journal;
  readonly backend: FileBackend;
  /** Resolves with the position once it is acknowledged. */
  append(payload: unknown): Promise<number>;
  payloads(from?: number): Promise<unknown[]>;
  close(): Promise<void>;
};

async function opened(disk: Disk, options: Partial<FileBackendOptions> = {}): Promise<Opened> {
  const backend = await FileBackend.open({
    disk,
    clock,
    directory: '/data',
    codec,
    fsync: 'always',
    ...options,
  });
  const waiting: { at: number; resolve(at: number): void; reject(cause: unknown): void }[] = [];
  const journal = new Journal({
    backend,
    codec,
    listener: {
      acknowledged: (upTo) => {
        while (waiting.length > 0 && waiting[0]!.at <= upTo) {
          const { at, resolve } = waiting.shift()!;
          resolve(at);
        }
      },
      failed: (_from, cause) => {
        for (const { reject } of waiting.splice(0)) reject(cause);
      },
    },
  });
  return {
    journal,
    backend,
    append: (payload) =>
      new Promise((resolve, reject) => {
        try {
          const at = journal.append({
            instantMs: instantMs(1),
            kind: 'commit',
            schemaVersion: 1,
            payload,
          });
          waiting.push({ at, resolve, reject });
        } catch (cause) {
          reject(cause as Error);
        }
      }),
    payloads: async (from = 1) => {
      const payloads: unknown[] = [];
      await journal.replay(position(from), (record) => payloads.push(record.payload));
      return payloads;
    },
    close: () => journal.close(),
  };
}

let directory: string | undefined;
afterEach(async () => {
  if (directory !== undefined) await rm(directory, { recursive: true });
  directory = undefined;
});

test('what was acknowledged is there again, whatever the sizes of files and groups, on a real disk', async () => {
  directory = await mkdtemp(join(tmpdir(), 'adb-journal-'));
  const disk = new NodeDisk();
  for (const fsync of ['always', 'interval'] as const) {
    const options = { directory: `${directory}/${fsync}`, segmentBytes: 5_000, fsync };
    const payloads: unknown[] = [];
    for (let run = 0; run < 3; run += 1) {
      const { append, close, payloads: read } = await opened(disk, options);
      const appends: Promise<number>[] = [];
      for (let index = 0; index < 40; index += 1) {
        const payload = { run, index, text: 'x'.repeat((index * 37) % 900) };
        payloads.push(payload);
        appends.push(append(payload));
        if (index % 7 === 0) await Promise.all(appends);
      }
      expect((await Promise.all(appends)).at(-1)).toBe(payloads.length);
      expect(await read()).toEqual(payloads);
      expect(await read(17)).toEqual(payloads.slice(16));
      await close();
    }
    expect((await disk.list(options.directory)).length).toBeGreaterThan(8);
  }
});

test('a record larger than a file is read back', async () => {
  const disk = new MemoryDisk();
  const values = Float64Array.from({ length: 160_000 }, (_, index) => index);
  const first = await opened(disk, { segmentBytes: 1_000 });
  await first.append({ values });
  await first.append('after');
  await first.close();
  const second = await opened(disk);
  expect(await second.payloads()).toEqual([{ values }, 'after']);
  await second.close();
});

test('many commits are made durable by one sync', async () => {
  const disk = new MemoryDisk();
  const { append, close } = await opened(disk);
  await append(0);
  disk.calls.length = 0;
  await Promise.all(Array.from({ length: 1_000 }, (_, index) => append(index)));
  expect(disk.calls.filter((call) => call === 'sync').length).toBeLessThanOrEqual(3);
  await close();
});

test('a directory is made with those above it, and refused where the system makes none', async () => {
  const disk = new NodeDisk();
  directory = await mkdtemp(join(tmpdir(), 'adb-journal-'));
  const deep = join(directory, 'a', 'b', 'c');
  await Promise.all([disk.makeDirectory(deep), disk.makeDirectory(deep)]);
  await disk.makeDirectory(deep);
  expect(await disk.list(join(directory, 'a', 'b'))).toEqual(['c']);
  const file = await disk.open(join(directory, 'file'), 'create');
  await file.close();
  for (const path of [join(directory, 'file'), join(directory, 'file', 'd')])
    await expect(disk.makeDirectory(path)).rejects.toThrow(/EEXIST|ENOTDIR/);
  // Node's recursive mkdir never comes back from here.
  if (process.platform === 'linux') {
    const refused = opened(disk, { directory: '/proc/none/here' });
    await expect(refused).rejects.toMatchObject({ code: '58030' });
  }
});

test('a directory has one holder at a time', async () => {
  directory = await mkdtemp(join(tmpdir(), 'adb-lock-'));
  const disk = new NodeDisk();
  const first = await opened(disk, { directory });
  await expect(opened(disk, { directory })).rejects.toMatchObject({ code: '55006' });
  await first.close();
  await (await opened(disk, { directory })).close();
});

/** A journal of several files, closed or killed. */
async function small(
  ending: 'closed' | 'killed',
): Promise<{ disk: MemoryDisk; payloads: unknown[] }> {
  const disk = new MemoryDisk();
  const payloads: unknown[] = [];
  const { append, close } = await opened(disk, { segmentBytes: 300 });
  for (let index = 0; index < 6; index += 1) {
    payloads.push({ row: index });
    await append({ row: index });
    // The watermark follows in the pauses.
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (ending === 'closed') await close();
  else disk.kill();
  return { disk, payloads };
}

/** What a journal gives of its records, or the code that it refuses with. */
async function outcome(disk: MemoryDisk): Promise<unknown[] | string> {
  let journal: Opened | undefined;
  try {
    journal = await opened(disk);
    return await journal.payloads();
  } catch (cause) {
    const { code } = cause as { code: string };
    // Whoever opens a database without a snapshot wants the first position.
    return code === 'ADB_POSITION_GONE' ? 'ADB_JOURNAL_CORRUPT' : code;
  } finally {
    await journal?.close();
  }
}

test.each(['closed', 'killed'] as const)(
  'every bit flip in any file of a %s journal is detected or harmless',
  async (ending) => {
    const { disk, payloads } = await small(ending);
    for (const [path, bytes] of disk.files) {
      for (let bit = 0; bit < bytes.length * 8; bit += 1) {
        if (path.endsWith('acknowledged') && (bit >> 3) % 4096 > 60) continue;
        const damaged = disk.copy();
        damaged.files.get(path)![bit >> 3]! ^= 1 << (bit & 7);
        const read = await outcome(damaged);
        if (read !== 'ADB_JOURNAL_CORRUPT') expect(read, `${path} bit ${bit}`).toEqual(payloads);
      }
    }
  },
);

test('every truncation and removal of a file is detected or harmless', async () => {
  const { disk, payloads } = await small('closed');
  for (const [path, bytes] of disk.files) {
    for (let length = -1; length < bytes.length; length += path.endsWith('acknowledged') ? 61 : 1) {
      const damaged = disk.copy();
      if (length < 0) damaged.files.delete(path);
      else damaged.files.set(path, bytes.slice(0, length));
      const read = await outcome(damaged);
      if (read !== 'ADB_JOURNAL_CORRUPT') expect(read, `${path} at ${length}`).toEqual(payloads);
    }
  }
});

test('a write that was cut short at any byte is cut off, and the journal goes on', async () => {
  const { disk, payloads } = await small('killed');
  const names = [...disk.files.keys()].filter((path) => path.includes('journal-')).sort();
  const last = names.at(-1)!;
  const whole = disk.files.get(last)!;
  const frames = await appendedTo(disk, { row: 'torn' });
  for (let length = 0; length < frames.length; length += 1) {
    const torn = disk.copy();
    torn.files.set(last, Buffer.concat([whole, frames.subarray(0, length)]));
    const first = await opened(torn);
    expect(await first.payloads()).toEqual(payloads);
    await first.append('on');
    await first.close();
    expect(await outcome(torn)).toEqual([...payloads, 'on']);
  }
});

/** The bytes that one more commit adds to the newest file. */
async function appendedTo(disk: MemoryDisk, payload: unknown): Promise<Buffer> {
  const copy = disk.copy();
  const { append, close } = await opened(copy);
  await append(payload);
  await close();
  const newest = [...copy.files.keys()]
    .filter((path) => path.includes('journal-'))
    .sort()
    .at(-1)!;
  return Buffer.from(copy.files.get(newest)!.subarray(52));
}

test('a full disk refuses writes, keeps what was acknowledged, and is written again once there is room', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.constantFrom('write', 'full', 'room'), { minLength: 1, maxLength: 20 }),
      fc.constantFrom('always' as const, 'interval' as const),
      async (steps, fsync) => {
        const disk = new MemoryDisk();
        const acknowledged: unknown[] = [];
        const { append, payloads, journal, close } = await opened(disk, {
          fsync,
          segmentBytes: 400,
        });
        let full = false;
        for (const [index, step] of steps.entries()) {
          if (step === 'write') {
            const result = await append(index).catch((cause: { code: string }) => cause.code);
            if (typeof result === 'number') acknowledged.push(index);
            else expect(result).toBe('53100');
          } else {
            full = step === 'full';
            disk.failWith = (call) =>
              full && (call === 'write' || call === 'create') ? 'ENOSPC' : undefined;
            if (!full) expect(await journal.mend()).toBe(true);
          }
          expect(await payloads()).toEqual(acknowledged);
        }
        // Whether it is closed or killed: what was refused does not come back.
        if (steps.length % 2 === 0) await close();
        disk.kill();
        disk.failWith = () => undefined;
        expect(await outcome(disk)).toEqual(acknowledged);
      },
    ),
    { numRuns: 60 },
  );
});

/** Root cause: the hint was that of a database that is open, "Reading goes on": nothing did. */
test('a journal that cannot be opened for want of room says what to do, and promises no reading', async () => {
  const disk = new MemoryDisk();
  disk.failWith = (call) => (call === 'create' ? 'ENOSPC' : undefined);
  const refused = { code: '53100', hint: expect.stringMatching(/^Make room/) };
  await expect(opened(disk)).rejects.toMatchObject(refused);
  disk.failWith = (call) => (call === 'create' ? 'EIO' : undefined);
  const broken = { code: '58030', hint: expect.stringMatching(/^Mend the disk/) };
  await expect(opened(disk)).rejects.toMatchObject(broken);
});

test('after a failed sync nothing is written any more, and what it may have lost is written anew by the next one', async () => {
  const disk = new MemoryDisk();
  const { append, journal } = await opened(disk);
  await append(1);
  disk.failWith = (call) => (call === 'sync' ? 'EIO' : undefined);
  await expect(append(2)).rejects.toMatchObject({ code: '58030' });
  disk.failWith = () => undefined;
  await expect(append(3)).rejects.toMatchObject({ code: '58030' });
  expect(await journal.mend()).toBe(false);
  disk.kill();
  const before = new Set(disk.files.keys());
  const next = await opened(disk);
  // What could be read may have been in memory only: it is in a new file now.
  expect(await next.payloads()).toEqual([1, 2]);
  expect([...disk.files.keys()].filter((path) => !before.has(path)).length).toBe(1);
  await next.close();
});

test('what is written is made durable at once for whoever waits for it', async () => {
  const disk = new MemoryDisk();
  const { append, journal, close } = await opened(disk, { fsync: 'interval', fsyncMs: 60_000 });
  const at = await append(1);
  const before = disk.calls.filter((call) => call === 'sync').length;
  await journal.untilDurable(position(at));
  expect(disk.calls.filter((call) => call === 'sync').length).toBe(before + 1);
  await journal.untilDurable(position(at));
  expect(disk.calls.filter((call) => call === 'sync').length).toBe(before + 1);
  disk.failWith = (call) => (call === 'sync' ? 'EIO' : undefined);
  const next = await append(2);
  await expect(journal.untilDurable(position(next))).rejects.toMatchObject({ code: '58030' });
  await close();
});

test('files behind a position are forgotten, oldest first, and the rest is read on', async () => {
  const disk = new MemoryDisk();
  const { append, backend, journal, payloads, close } = await opened(disk, { segmentBytes: 200 });
  for (let index = 1; index <= 20; index += 1) await append(index);
  backend.forget(position(11), 0);
  expect(journal.first).toBeGreaterThan(6);
  expect(journal.first).toBeLessThanOrEqual(12);
  expect(await payloads(Number(journal.first))).toEqual(
    Array.from({ length: 21 - journal.first }, (_, index) => journal.first + index),
  );
  await expect(payloads(1)).rejects.toMatchObject({ code: 'ADB_POSITION_GONE' });
  await close();
});
