/** The simulated ports themselves. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SeededRandom } from '../../src/base/random.ts';
import { position } from '../../src/base/units.ts';
import type { JournalGroup } from '../../src/journal/backend.ts';
import { SimulatedBackend } from '../../src/sim/backend.ts';
import { SimulatedClock } from '../../src/sim/clock.ts';
import { createSchedule, SCHEDULES, type ScheduleKind } from '../../src/sim/schedule.ts';
import { SimulatedWorkers } from '../../src/sim/workers.ts';

const clockOf = (kind: ScheduleKind, seed: number): SimulatedClock =>
  new SimulatedClock(0, createSchedule(kind, new SeededRandom(seed)));

test('every event happens once, none before its time, time never goes back; soon goes first', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...SCHEDULES),
      fc.nat(),
      fc.array(fc.tuple(fc.constantFrom('after', 'io', 'soon', 'cancelled'), fc.nat(50)), {
        maxLength: 40,
      }),
      (kind, seed, wanted) => {
        const clock = clockOf(kind, seed);
        const happened: number[] = [];
        let nowMs = 0;
        let soonLeft = 0;
        for (const [index, [what, delay]] of wanted.entries()) {
          const note = (): void => {
            expect(clock.monotonicMs()).toBeGreaterThanOrEqual(what === 'after' ? delay : 0);
            expect(clock.monotonicMs()).toBeGreaterThanOrEqual(nowMs);
            nowMs = clock.monotonicMs();
            if (what === 'soon') soonLeft -= 1;
            else expect(soonLeft).toBe(0);
            happened.push(index);
          };
          if (what === 'soon') {
            soonLeft += 1;
            clock.soon(note);
          } else if (what === 'io') clock.afterIo(note);
          else if (what === 'cancelled') clock.after(delay, note).cancel();
          else clock.after(delay, note);
        }
        while (clock.step() !== undefined);
        expect(happened.toSorted((a, b) => a - b)).toEqual(
          wanted.flatMap(([what], index) => (what === 'cancelled' ? [] : [index])),
        );
        expect(clock.pendingCount).toBe(0);
      },
    ),
  );
});

test('a journal acknowledges late, in order, each group once, and nothing after the one that failed', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...SCHEDULES),
      fc.nat(),
      fc.integer({ min: 0, max: 12 }),
      (kind, seed, failingGroup) => {
        const clock = clockOf(kind, seed);
        const backend = new SimulatedBackend({
          clock,
          random: new SeededRandom(seed),
          latencyMs: [0, 9],
          groupsInFlightMax: 4,
          refusal: () => undefined,
        });
        const reports: string[] = [];
        for (let at = 1; at <= 10; at += 1) {
          const group: JournalGroup = {
            heapBytes: 1,
            records: [
              {
                position: position(at),
                instantMs: 0 as never,
                kind: 'x',
                schemaVersion: 1,
                payload: at,
                heapBytes: 1,
              },
            ],
          };
          if (at === failingGroup) backend.fail();
          backend.reserve(1);
          backend.append(group, (failure) =>
            reports.push(`${at} ${failure === undefined ? 'ok' : 'failed'}`),
          );
          if (at % 3 === 0) clock.step();
        }
        while (clock.step() !== undefined);
        expect(reports.map((report) => report.split(' ')[0])).toEqual([
          '1',
          '2',
          '3',
          '4',
          '5',
          '6',
          '7',
          '8',
          '9',
          '10',
        ]);
        const firstFailure = reports.findIndex((report) => report.endsWith('failed'));
        if (failingGroup === 0 || failingGroup > 10) expect(firstFailure).toBe(-1);
        else {
          expect(firstFailure).toBeGreaterThanOrEqual(0);
          expect(firstFailure).toBeLessThan(failingGroup);
          expect(reports.slice(firstFailure).every((report) => report.endsWith('failed'))).toBe(
            true,
          );
          expect(backend.lastPosition).toBe(firstFailure);
        }
      },
    ),
  );
});

test('a simulated worker gets a copy, answers a copy, late and in any order, the same for the same seed', async () => {
  const run = async (seed: number): Promise<string[]> => {
    const clock = clockOf('random', seed);
    const payloads: unknown[] = [];
    const workers = new SimulatedWorkers({
      count: 2,
      clock,
      random: new SeededRandom(seed),
      latencyMsMax: 5,
      entry: ({ payload }) => {
        payloads.push(payload);
        return payload;
      },
    });
    const done: string[] = [];
    const tasks = Array.from({ length: 6 }, (_, index) => {
      const payload = { index };
      return workers.run({ kind: 'echo', payload }).then((result) => {
        expect(result).toEqual(payload);
        expect(result).not.toBe(payload);
        done.push(`${index} at ${clock.monotonicMs().toFixed(3)}`);
      });
    });
    for (;;) {
      await new Promise(setImmediate);
      if (clock.step() === undefined && clock.pendingCount === 0) break;
    }
    await Promise.all(tasks);
    return done;
  };
  expect(await run(3)).toEqual(await run(3));
  expect(await run(3)).not.toEqual(await run(4));
});
