import { expect, test } from 'vitest';
import { tenantId } from '../../src/base/units.ts';
import { calendar } from '../../src/calendar/calendar.ts';
import { civilText } from '../../src/calendar/civil.ts';
import { open, type WindowQuery } from '../../src/index.ts';
import { planningWindows, planWindows, type WindowSpec } from '../../src/windows/window-spec.ts';
import { HandClock } from '../actors/hand-clock.ts';

/** Long series of windows are answered in steps: nothing holds the thread for all of them. */
const NEW_YORK = calendar({ zone: 'America/New_York' });
const NOW = Date.UTC(2026, 3, 1);
const DECADES = { range: ['1972-01-01', '2026-04-01'] } as const;

test('a long series is planned in steps of few windows, and is the same', () => {
  const specs: readonly (readonly [WindowSpec, number])[] = [
    [{ ...DECADES, every: 'day' }, 19_814],
    [{ ...DECADES, every: 'day', compare: 'yearAgo' }, 19_814],
    [{ range: ['2026-01-01', '2026-01-08'], every: '1h', hop: '1min' }, 10_080],
    [{ current: 'day' }, 1],
  ];
  for (const [spec, count] of specs) {
    const planning = planningWindows(spec, NEW_YORK, NOW);
    let before = 0;
    for (;;) {
      const step = planning.next();
      if (step.done === true) {
        expect(step.value.windows.length).toBe(count);
        expect(step.value).toEqual(planWindows(spec, NEW_YORK, NOW));
        break;
      }
      // Those that are compared are counted from nought again.
      if (step.value < before) before = 0;
      expect(step.value - before).toBeLessThanOrEqual(64);
      before = step.value;
    }
  }
});

test('others have their turns while 20,000 windows are asked for and explained', async () => {
  const db = await open({ workers: 0 });
  try {
    await db.exec(`CREATE TABLE t (ts timestamptz, team int) WITH (time = 'ts')`);
    await db.insert(
      't',
      Array.from({ length: 40 }, (_, team) => ({ ts: NOW - (team * 700 + 1) * 86_400_000, team })),
    );
    let [turns, asking] = [0, true];
    const count = (): void => {
      turns += 1;
      if (asking) setImmediate(count);
    };
    setImmediate(count);
    const query = {
      ...DECADES,
      every: 'day',
      zone: 'America/New_York',
      now: NOW,
      measures: { n: 'count(*)' },
    } as const;
    const turnsOf = async (action: () => Promise<unknown>): Promise<number> => {
      const before = turns;
      await action();
      return turns - before;
    };
    expect(
      await turnsOf(async () => {
        const { rows } = await db.window('t', { ...query, fill: 'zero' });
        expect(rows.length).toBe(19_814);
        expect(rows.reduce((sum, { values }) => sum + (values['n'] as number), 0)).toBe(29);
      }),
    ).toBeGreaterThan(300);
    expect(
      await turnsOf(async () => {
        const { rows } = await db.window('t', { ...query, by: ['team'] });
        expect(rows.map(({ by }) => by['team'])).toEqual(
          Array.from({ length: 29 }, (_, at) => 28 - at),
        );
      }),
    ).toBeGreaterThan(200);
    expect(
      await turnsOf(async () => {
        const told = await db.explainWindow('t', query);
        expect(told.windows.length).toBe(19_814);
        expect(told.text).toContain('… 19714 more …');
        expect(told.notes.length).toBe(50);
      }),
    ).toBeGreaterThan(400);
    // More than are answered at once, and less than need many steps.
    for (let time = 0; time < 2; time += 1) {
      const { rows } = await db.window('t', {
        ...query,
        range: ['2026-03-01', '2026-03-14'],
        every: 'hour',
        fill: 'zero',
      });
      expect(rows.length).toBe(311);
    }
    asking = false;
  } finally {
    await db.close();
  }
});

/** Each step takes so long that it has a turn of the loop of its own. */
class SlowClock extends HandClock {
  #ms = 0;
  override monotonicMs = (): number => (this.#ms += 20);
}

test('a century by second, and 100,000 groups by day, end with an error or an answer, in steps and memory that are bounded', async () => {
  await using db = await open({ workers: 0, memory: '64 MB', clock: new SlowClock() });
  const { dispatcher, runQueue, memory } = db['engine'];
  const meter = runQueue.meterOf(tenantId('main'));
  await db.exec(`CREATE TABLE t (ts timestamptz, device int, x int) WITH (time = 'ts')`);
  const count = 100_000;
  const start = Date.UTC(2026, 0, 1);
  await db.insert('t', {
    ts: Float64Array.from({ length: count }, (_, row) => start + (row % 10) * 86_400_000),
    device: Int32Array.from({ length: count }, (_, row) => row),
    x: Int32Array.from({ length: count }, (_, row) => row % 7),
  });
  // Nothing else is to be done.
  dispatcher.runUntilIdle();
  const measures = { n: 'count(*)', s: 'sum(x)' };
  /** The most that a step did, and what all did. */
  const worked = async (action: () => Promise<void>): Promise<{ most: number; all: number }> => {
    const before = meter.workUnits;
    let [units, steps, most, asking] = [before, dispatcher.count('steps'), 0, true];
    const look = (): void => {
      // One since the last turn, as a rule.
      const taken = dispatcher.count('steps') - steps;
      if (taken > 0) most = Math.max(most, (meter.workUnits - units) / taken);
      units = meter.workUnits;
      steps += taken;
      if (asking) setImmediate(look);
    };
    setImmediate(look);
    await action();
    asking = false;
    return { most, all: meter.workUnits - before };
  };

  const century = { range: ['1950-01-01', '2050-01-01'], every: 'second', measures } as const;
  const unread = await worked(async () => {
    for (const query of [
      century,
      { ...century, by: ['device'], fill: 'zero' },
      { ...century, every: 'hour', hop: 'second' },
      { ...century, compare: 'yearAgo' },
    ] satisfies WindowQuery[]) {
      const refused = { code: '54000', message: 'more than 20000 windows are asked for' };
      await expect(db.window('t', query)).rejects.toMatchObject(refused);
      await expect(db.explainWindow('t', query)).rejects.toMatchObject(refused);
    }
  });
  // Refused before a row is read.
  expect(unread.all).toBe(0);

  const days = {
    range: ['2026-01-01', '2026-01-11'],
    every: 'day',
    by: ['device'],
    measures,
  } satisfies WindowQuery;
  const used = memory.usedBytes;
  const answered = await worked(async () => {
    const { rows, meta } = await db.window('t', days);
    expect(rows.length).toBe(count);
    expect(rows.reduce((sum, { values }) => sum + (values['s'] as number), 0)).toBe(299_995);
    expect(meta.rowsScanned).toBe(count);
  });
  expect(answered.most).toBeLessThan(2 ** 15);
  expect(answered.all).toBeLessThan(200 * count);
  expect(memory.usedBytes).toBeLessThanOrEqual(used);

  // Where there is no room for so many groups.
  const taken = memory.limitBytes - memory.usedBytes - 4 * 2 ** 20;
  memory.reserve(taken);
  const refused = await worked(() =>
    expect(db.window('t', days)).rejects.toMatchObject({ code: '53200' }),
  );
  memory.release(taken);
  expect(refused.most).toBeLessThan(2 ** 15);
  expect(memory.usedBytes).toBeLessThanOrEqual(used);
});

test('the notes of an explanation are the days that have other than 24 hours, and those that are skipped', async () => {
  const db = await open({ workers: 0 });
  try {
    await db.exec(`CREATE TABLE t (ts timestamptz) WITH (time = 'ts')`);
    for (const [zone, from, to] of [
      ['America/New_York', '2020-01-01', '2026-03-09'],
      ['America/New_York', '2026-03-08', '2026-03-09'],
      ['America/New_York', '2026-03-08T12:00', '2026-03-09'],
      ['America/New_York', '2026-03-09', '2026-11-01'],
      ['Pacific/Apia', '2011-01-01', '2013-01-01'],
      ['Pacific/Apia', '2011-12-29', '2012-01-01'],
      ['America/Havana', '2024-01-01', '2026-12-01'],
      ['Australia/Lord_Howe', '2025-01-01', '2027-01-01'],
      ['Africa/Casablanca', '2025-01-01', '2027-01-01'],
      ['America/St_Johns', '2005-01-01', '2008-01-01'],
      ['UTC', '2025-01-01', '2027-01-01'],
    ] as const) {
      const { notes } = await db.explainWindow('t', {
        range: [from, to],
        zone,
        measures: { n: 'count(*)' },
      });
      expect([zone, from, notes]).toEqual([zone, from, notesDayByDay(zone, from, to)]);
    }
  } finally {
    await db.close();
  }
});

/** The same by looking at every day. */
function notesDayByDay(zone: string, from: string, to: string): string[] {
  const own = calendar({ zone });
  const { startMs, endMs } = planWindows({ range: [from, to] }, own, NOW);
  const ruler = own.ruler('day');
  const notes: string[] = [];
  let at = ruler.at(Math.floor(startMs / 1000));
  while (at.start * 1000 < endMs) {
    const hours = (at.end - at.start) / 3600;
    if (hours !== 24) notes.push(`${civilText(at.day)} has ${Number(hours.toFixed(4))} hours`);
    const next = ruler.next(at);
    for (let day = at.day + 1; day < next.day; day += 1)
      notes.push(`${civilText(day)} does not exist`);
    at = next;
  }
  return notes;
}
