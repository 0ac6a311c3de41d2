import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MemoryAccount } from '../../src/base/memory.ts';
import { instantMs, position } from '../../src/base/units.ts';
import type { JournalGroup } from '../../src/journal/backend.ts';
import { Journal } from '../../src/journal/journal.ts';
import { MemoryBackend } from '../../src/journal/memory-backend.ts';
import { MemorySnapshotStore, newestSnapshot } from '../../src/journal/snapshot-store.ts';
import { ValueCodec } from '../../src/journal/value-codec.ts';

const codec = new ValueCodec();

/** Memory that acknowledges when it is told to, and may fail. */
class LateBackend extends MemoryBackend {
  override readonly groupsInFlightMax = 2;
  readonly waiting: { group: JournalGroup; report: (failure: unknown) => void }[] = [];

  override append(group: JournalGroup, report: (failure: unknown) => void): void {
    this.waiting.push({ group, report });
  }

  acknowledge(): void {
    const { group, report } = this.waiting.shift()!;
    super.append(group, report);
  }

  fail(cause: unknown): void {
    for (const { report } of this.waiting.splice(0)) report(cause);
  }
}

function journalOn(
  backend: MemoryBackend,
  options: { keepBytes?: number; dropUncovered?: boolean } = {},
): {
  journal: Journal;
  log: string[];
} {
  const log: string[] = [];
  const journal = new Journal({
    backend,
    codec,
    listener: {
      acknowledged: (upTo) => log.push(`acknowledged ${upTo}`),
      failed: (from, cause) => log.push(`failed ${from} ${String(cause)}`),
    },
    ...options,
  });
  return { journal, log };
}

const entry = (payload: unknown, at = 0) => ({
  instantMs: instantMs(at),
  kind: 'commit',
  schemaVersion: 1,
  payload,
});

async function payloads(journal: Journal, from = 1): Promise<unknown[]> {
  const seen: unknown[] = [];
  await journal.replay(position(from), (record) => seen.push(record.payload));
  return seen;
}

test('memory acknowledges from within the append, and replays what was appended by reference', async () => {
  const { journal, log } = journalOn(new MemoryBackend());
  const first = { row: 1 };
  expect(journal.append(entry(first))).toBe(1);
  expect(log).toEqual(['acknowledged 1']);
  for (let index = 2; index <= 1_000; index += 1) journal.append(entry({ row: index }));
  const seen = await payloads(journal);
  expect(seen).toHaveLength(1_000);
  expect(seen[0]).toBe(first);
  expect(await payloads(journal, 998)).toEqual([{ row: 998 }, { row: 999 }, { row: 1_000 }]);
  expect(await payloads(journal, 1_001)).toEqual([]);
});

test('commits that come while a backend is busy travel together and are acknowledged in order', async () => {
  const backend = new LateBackend();
  const { journal, log } = journalOn(backend);
  for (let index = 1; index <= 10; index += 1) journal.append(entry(index));
  expect(backend.waiting.map(({ group }) => group.records.length)).toEqual([1, 1]);
  expect([journal.head, journal.acknowledged]).toEqual([10, 0]);
  expect(await payloads(journal)).toEqual([]);
  backend.acknowledge();
  expect(backend.waiting.map(({ group }) => group.records.length)).toEqual([1, 8]);
  backend.acknowledge();
  backend.acknowledge();
  expect(log).toEqual(['acknowledged 1', 'acknowledged 2', 'acknowledged 10']);
  expect(await payloads(journal)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});

test('after a failed append the journal refuses writes and still reads', async () => {
  const backend = new LateBackend();
  const { journal, log } = journalOn(backend);
  for (let index = 1; index <= 5; index += 1) journal.append(entry(index));
  backend.acknowledge();
  backend.fail('no space');
  expect(log).toEqual(['acknowledged 1', 'failed 2 no space']);
  expect(() => journal.append(entry(6))).toThrow('the journal refuses writes');
  expect(journal.writable).toBe(false);
  expect([journal.head, journal.acknowledged]).toEqual([1, 1]);
  expect(await payloads(journal)).toEqual([1]);
});

test('whatever is acknowledged when, listeners see a dense prefix that only grows, and replay equals it', async () => {
  const step = fc.oneof(fc.constant('append' as const), fc.constant('acknowledge' as const));
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 100 }), async (steps) => {
      const backend = new LateBackend();
      const { journal, log } = journalOn(backend);
      let appended = 0;
      for (const each of steps) {
        if (each === 'append') expect(journal.append(entry((appended += 1)))).toBe(appended);
        else if (backend.waiting.length > 0) backend.acknowledge();
        const groups = backend.waiting.map(({ group }) => group.records.length);
        expect(groups.length).toBeLessThanOrEqual(2);
      }
      const acknowledged = log.map((line) => Number(line.slice('acknowledged '.length)));
      expect(acknowledged).toEqual(acknowledged.toSorted((left, right) => left - right));
      expect(await payloads(journal)).toEqual(
        Array.from({ length: journal.acknowledged }, (_, index) => index + 1),
      );
    }),
  );
});

test('the account holds what is kept, to the byte, and nothing after the close', async () => {
  const account = new MemoryAccount('journal');
  const backend = new MemoryBackend(account);
  const { journal } = journalOn(backend, { keepBytes: 10_000 });
  for (let index = 1; index <= 700; index += 1)
    journal.append(entry({ values: new Float64Array(index % 50) }));
  expect(account.usedBytes).toBe(journal.heldBytes);
  expect(journal.first).toBe(1);
  journal.cover(position(650));
  expect(journal.heldBytes).toBeLessThanOrEqual(10_000 + 51 * 1_000);
  expect(account.usedBytes).toBe(journal.heldBytes);
  expect(await payloads(journal, journal.first)).toHaveLength(700 - journal.first + 1);
  await expect(payloads(journal, journal.first - 1)).rejects.toMatchObject({
    code: 'ADB_POSITION_GONE',
  });
  await journal.close();
  expect(account.usedBytes).toBe(0);
});

test('a journal that nobody replays from the start keeps the newest bytes only', () => {
  const { journal } = journalOn(new MemoryBackend(), { keepBytes: 5_000, dropUncovered: true });
  for (let index = 1; index <= 2_000; index += 1) {
    journal.append(entry({ index }));
    expect(journal.heldBytes).toBeLessThanOrEqual(5_000);
  }
  expect(journal.first).toBeGreaterThan(1_900);
});

test('a commit that memory is refused for leaves the journal as it was', () => {
  const account = new MemoryAccount('journal', undefined, 10_000);
  const { journal, log } = journalOn(new MemoryBackend(account));
  journal.append(entry('fits'));
  expect(() => journal.append(entry(new Uint8Array(20_000)))).toThrow('out of memory');
  expect(journal.append(entry('fits, too'))).toBe(2);
  expect(log).toEqual(['acknowledged 1', 'acknowledged 2']);
});

test('instants of commits never go back', () => {
  const { journal } = journalOn(new MemoryBackend());
  journal.append(entry(1, 500));
  expect(() => journal.append(entry(2, 499))).toThrow('instants of commits never go back');
});

test('a replay yields between chunks and goes on where it was', async () => {
  const { journal } = journalOn(new MemoryBackend());
  for (let index = 1; index <= 600; index += 1) journal.append(entry(index));
  let pauses = 0;
  const last = await journal.replay(
    position(1),
    () => undefined,
    async () => {
      pauses += 1;
      if (pauses === 1) journal.append(entry('while replaying'));
    },
  );
  expect(pauses).toBe(3);
  expect(last).toBe(601);
});

test('the newest snapshot that fits is found, and those dropped give their memory back', async () => {
  const account = new MemoryAccount('snapshots');
  const released: string[] = [];
  const store = new MemorySnapshotStore<string>({
    account,
    release: (state) => released.push(state),
  });
  const versions = { adb: '1', v8: '1', unicode: '15', icu: '74', tz: '2024a' };
  for (const at of [10, 20, 30]) {
    await store.put({
      position: position(at),
      instantMs: instantMs(at),
      versions,
      state: `at ${at}`,
      heapBytes: 100,
    });
  }
  expect(await store.positions()).toEqual([30, 20]);
  expect(released).toEqual(['at 10']);
  const found = await newestSnapshot(store, (snapshot) => snapshot.position < 25);
  expect(found?.state).toBe('at 20');
  await store.dropBefore(position(31));
  expect(account.usedBytes).toBe(0);
});
