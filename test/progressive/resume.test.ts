/** The same sequence again: by a mark after writes and after a restart, and by itself after a failure. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { ProgressiveEvent } from '../../src/actors/api-types.ts';
import type { Engine } from '../../src/actors/engine.ts';
import { InvariantError } from '../../src/base/errors.ts';
import { open, type Database } from '../../src/index.ts';
import { ProgressiveRun } from '../../src/progressive/run.ts';
import { untilTidy } from './until-sealed.ts';

const ROWS = 140_000;
const SQL = 'SELECT sum(tail) AS s, avg(tail) AS a, count(*) AS n FROM t WHERE x > 10';

let dir: string;
let db: Database;
const opened = (): Promise<Database> =>
  open({ journal: { kind: 'file', dir, fsync: 'interval' }, memory: '256 MB', workers: 0 });

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'analyticdb-progressive-'));
  db = await opened();
  await db.exec(
    'CREATE TABLE t (id int PRIMARY KEY, k text, x double precision, tail double precision)',
  );
  await db.exec('CREATE TABLE other (id int)');
  await db.insert('t', {
    id: Int32Array.from({ length: ROWS }, (_, id) => id),
    k: Array.from({ length: ROWS }, (_, id) => (id % 9001 === 5 ? 'seldom' : `k${id % 3}`)),
    x: Float64Array.from({ length: ROWS }, (_, id) => (id * 7919) % 1000),
    // Heavy tails: the extreme rows are noted when segments are sealed.
    tail: Float64Array.from(
      { length: ROWS },
      (_, id) => (((id * 7907) % ROWS) / ROWS + 1e-6) ** -0.9,
    ),
  });
  await untilTidy(db, 't');
});
afterEach(async () => {
  vi.restoreAllMocks();
  await db.close();
  await rm(dir, { recursive: true });
});

/** All looks: it stops at each of them. */
async function looksOf(options: object): Promise<ProgressiveEvent[]> {
  const answer = db.progressive(SQL, { ...options, stop: { rows: 1 } });
  const looks = [await answer.result()];
  while (looks.at(-1)!.reason !== 'exact') {
    await answer.refineTo({ rows: looks.at(-1)!.rowsSeen + 1 });
    looks.push(await answer.result());
  }
  return looks;
}

function expectSame(again: readonly ProgressiveEvent[], first: readonly ProgressiveEvent[]): void {
  const shown = (events: readonly ProgressiveEvent[]): unknown =>
    events.map(({ rowsSeen, rows }) => ({ rowsSeen, rows }));
  expect(first.length).toBeGreaterThan(4);
  expect(shown(again)).toEqual(shown(first));
}

test('a mark is good after a restart, whatever was written to other tables', async () => {
  const first = await looksOf({ seed: 4 });
  const { resume } = first[0]!;
  await db.exec('INSERT INTO other VALUES (1)');
  await db.close();
  db = await opened();
  await db.exec('INSERT INTO other VALUES (2)');
  expectSame(await looksOf({ resume }), first);
});

test('a mark is good after rows of its segments were deleted and changed', async () => {
  await db.exec('DELETE FROM t WHERE id % 50 = 7');
  const first = await looksOf({ seed: 4 });
  await db.exec('DELETE FROM t WHERE id % 40 = 3');
  await db.exec('UPDATE t SET tail = 1e6 WHERE id % 97 = 1');
  expectSame(await looksOf({ resume: first[0]!.resume }), first);
});

test('where the rows lie otherwise by now, or are gone, a mark says what to do', async () => {
  const looks = await looksOf({ seed: 4 });
  const first = looks[0];
  const last = looks.at(-1);
  // Two thirds of every segment: they are compacted.
  await db.exec('DELETE FROM t WHERE id % 3 > 0');
  await untilTidy(db, 't');
  await expect(db.progressive(SQL, { resume: first!.resume }).result()).rejects.toMatchObject({
    code: '72000',
    hint: expect.stringContaining('without resume'),
  });
  await db.close();
  db = await opened();
  // History reaches back as far as the journal has it; beyond, it is said.
  const outcome = await db
    .progressive(SQL, { resume: first!.resume })
    .result()
    .then(
      ({ rows }) => rows,
      (cause: unknown) => (cause as { readonly code: string }).code,
    );
  if (typeof outcome === 'string') expect(['ADB_POSITION_GONE', '72000']).toContain(outcome);
  else expect(outcome).toEqual(last!.rows);
});

test('an answer that fails by a fault of ours begins anew, and gives what it would have given', async () => {
  const first = await looksOf({ seed: 4 });
  let steps = 0;
  const { step } = ProgressiveRun.prototype;
  vi.spyOn(ProgressiveRun.prototype, 'step').mockImplementation(function (
    this: ProgressiveRun,
    budget,
  ) {
    steps += 1;
    if (steps === 8 || steps === 30) throw new InvariantError('planted');
    return step.call(this, budget);
  });
  const { memory } = (db as unknown as { readonly engine: Engine }).engine;
  const used = memory.usedBytes;
  const again = await looksOf({ seed: 4 });
  expect(steps).toBeGreaterThan(30);
  expectSame(again, first);
  expect(memory.usedBytes).toBe(used);
  // What fails for ever is told.
  vi.spyOn(ProgressiveRun.prototype, 'step').mockImplementation(() => {
    throw new InvariantError('planted for ever');
  });
  await expect(db.progressive(SQL).result()).rejects.toThrow('planted for ever');
});
