import { expect, test } from 'vitest';
import { NodeClock } from '../../src/base/node-ports.ts';
import type { ActorRef, ReplyTo } from '../../src/mailbox/actor.ts';
import { Dispatcher, STEP_BUDGET_UNITS_FIRST } from '../../src/mailbox/dispatcher.ts';
import { FifoRunQueue } from '../../src/mailbox/run-queue.ts';
import { RunLoop } from '../../src/mailbox/run-loop.ts';
import { TimerQueue } from '../../src/mailbox/timer-queue.ts';
import { FairRunQueue } from '../../src/tenancy/fair-run-queue.ts';
import { acme, StillClock } from './world.ts';

test('an actor that never rests leaves the thread to timers and I/O', async () => {
  const clock = new NodeClock();
  const dispatcher = new Dispatcher({ clock, runQueue: new FifoRunQueue() });
  const loop = new RunLoop({ clock, dispatcher });
  loop.start();
  const ref = dispatcher.spawn<'work'>({ name: 'busy', tenant: acme, start: () => () => 'again' });
  ref.tell('work');
  await new Promise((resolve) => setTimeout(resolve, 5));
  await new Promise((resolve) => setImmediate(resolve));
  ref.stop();
  await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
  expect(ref.alive).toBe(false);
  loop.stop();
});

test('a program that only awaits small requests leaves the thread to timers, too', async () => {
  const clock = new NodeClock();
  const dispatcher = new Dispatcher({ clock, runQueue: new FifoRunQueue() });
  const loop = new RunLoop({ clock, dispatcher });
  loop.start();
  const echo: ActorRef<ReplyTo<number>> = dispatcher.spawn({
    name: 'echo',
    tenant: acme,
    start: () => (replyTo) => {
      replyTo.reply(1);
      return 'continue';
    },
  });
  let fired = false;
  setTimeout(() => {
    fired = true;
  }, 1);
  while (!fired) await echo.ask<number>((replyTo) => replyTo, { timeoutMs: 1_000 });
  expect(fired).toBe(true);
  loop.stop();
  dispatcher.close();
});

test('the loop learns how many work units an eighth of a millisecond holds', () => {
  const clock = new StillClock();
  const dispatcher = new Dispatcher({ clock, runQueue: new FifoRunQueue() });
  const loop = new RunLoop({ clock, dispatcher });
  loop.start();
  // A machine that does 20,000 units a millisecond: the clock follows the work.
  const ref = dispatcher.spawn<'work'>({
    name: 'busy',
    tenant: acme,
    start: () => (_message, context) => {
      const units = context.stepBudget;
      context.charge(units);
      clock.advance((units + 16) / 20_000);
      return 'again';
    },
  });
  ref.tell('work');
  for (let turn = 0; turn < 200; turn += 1) clock.later.shift()?.();
  expect(dispatcher.stepBudgetUnits).toBeGreaterThan(2_475);
  expect(dispatcher.stepBudgetUnits).toBeLessThan(2_525);
});

test('what an actor makes for itself in its first step does not make the steps after it short', () => {
  const clock = new StillClock();
  const dispatcher = new Dispatcher({ clock, runQueue: new FifoRunQueue() });
  const loop = new RunLoop({ clock, dispatcher });
  loop.start();
  const query = (): void => {
    let isFirst = true;
    dispatcher
      .spawn<'work'>({
        name: 'query',
        tenant: acme,
        start: () => (_message, context) => {
          context.charge(context.stepBudget);
          // Plans and kernels take a millisecond, and are in no unit.
          clock.advance(context.stepBudget / 100_000 + (isFirst ? 1 : 0));
          isFirst = false;
          return 'again';
        },
      })
      .tell('work');
  };
  query();
  for (let turn = 0; turn < 400; turn += 1) clock.later.shift()?.();
  const learned = dispatcher.stepBudgetUnits;
  expect(learned).toBeGreaterThan(10_000);
  query();
  for (let turn = 0; turn < 3; turn += 1) clock.later.shift()?.();
  expect(dispatcher.stepBudgetUnits).toBeGreaterThan(learned * 0.9);
  loop.stop();
});

test.each([1_000, 0])(
  'steps that turn out long leave the thread and their place to others, be they %i units',
  (units) => {
    const clock = new StillClock();
    const dispatcher = new Dispatcher({ clock, runQueue: new FairRunQueue() });
    const loop = new RunLoop({ clock, dispatcher });
    loop.start();
    const steps: string[] = [];
    // Pieces of which an actor's turn holds a dozen; by code that is cold each takes a millisecond.
    dispatcher
      .spawn<'work'>({
        name: 'upkeep',
        tenant: acme,
        start: () => (_message, context) => {
          steps.push('upkeep');
          context.charge(units);
          clock.advance(1);
          return 'again';
        },
      })
      .tell('work');
    const commits = dispatcher.spawn<'commit'>({
      name: 'commits',
      tenant: acme,
      start: () => () => {
        steps.push('commit');
        return 'continue';
      },
    });
    const turns = (count: number): void => {
      for (let turn = 0; turn < count; turn += 1) clock.later.shift()?.();
    };
    turns(10);
    steps.length = 0;
    turns(1);
    commits.tell('commit');
    turns(2);
    expect(steps).toEqual(['upkeep', 'upkeep', 'commit', 'upkeep']);
    // That work is slow is believed at once; what is in no unit says nothing of it.
    expect(dispatcher.stepBudgetUnits).toBe(units > 0 ? 2_000 : STEP_BUDGET_UNITS_FIRST);
    loop.stop();
  },
);

test('small messages between the steps, and a halt, do not keep steps small', () => {
  const clock = new StillClock();
  const dispatcher = new Dispatcher({ clock, runQueue: new FifoRunQueue() });
  const loop = new RunLoop({ clock, dispatcher });
  loop.start();
  let haltMs = 0;
  // Work comes in batches of 8,000 units, at 100,000 a millisecond, however little a step may spend.
  const busy = dispatcher.spawn<'work'>({
    name: 'busy',
    tenant: acme,
    start: () => (_message, context) => {
      const units = Math.max(8_000, context.stepBudget);
      context.charge(units);
      clock.advance(units / 100_000 + haltMs);
      haltMs = 0;
      return 'again';
    },
  });
  // A commit takes as long as twelve thousand units of work, and is charged three hundred.
  busy.tell('work');
  for (let writer = 0; writer < 4; writer += 1)
    dispatcher
      .spawn<'commit'>({
        name: 'commits',
        tenant: acme,
        start: () => (_message, context) => {
          context.charge(300);
          clock.advance(0.12);
          return 'again';
        },
      })
      .tell('commit');
  const turns = (count: number): void => {
    for (let turn = 0; turn < count; turn += 1) clock.later.shift()?.();
  };
  turns(2_000);
  const learned = dispatcher.stepBudgetUnits;
  expect(learned).toBeGreaterThan(2_200);
  for (let halt = 0; halt < 12; halt += 1) {
    haltMs = 20;
    turns(5);
  }
  // The steps after a halt are short, for it may have been the work.
  expect(dispatcher.stepBudgetUnits).toBeLessThan(2_200);
  turns(2_000);
  expect(dispatcher.stepBudgetUnits).toBeGreaterThan(learned * 0.8);
  loop.stop();
});

test('timers fire in the order of time, then of making; cancelled ones never', () => {
  const clock = new StillClock();
  const timers = new TimerQueue(clock);
  const fired: string[] = [];
  timers.after(20, () => fired.push('late'));
  timers.after(10, () => {
    fired.push('first');
    timers.after(0, () => fired.push('at once'));
  });
  timers.after(10, () => fired.push('second'));
  const cancelled = timers.after(5, () => fired.push('never'));
  cancelled.cancel();
  const many = Array.from({ length: 1_000 }, () => timers.after(15, () => fired.push('never')));
  for (const timer of many) timer.cancel();
  expect(timers.size).toBe(3);
  clock.advance(10);
  expect(fired).toEqual(['first', 'second', 'at once']);
  clock.advance(10);
  expect(fired).toEqual(['first', 'second', 'at once', 'late']);
  expect(timers.size).toBe(0);
  expect(clock.timerCount).toBe(0);
});
