import fc from 'fast-check';
import { expect, test } from 'vitest';
import { tenantId } from '../../src/base/units.ts';
import { FifoRunQueue, PRIORITIES, RunEntry } from '../../src/mailbox/run-queue.ts';
import { FairRunQueue } from '../../src/tenancy/fair-run-queue.ts';
import { DEFAULT_TENANT_SETTINGS } from '../../src/tenancy/tenant-settings.ts';
import type { TenantSettings } from '../../src/tenancy/tenant-settings.ts';
import { Dispatcher } from '../../src/mailbox/dispatcher.ts';
import type { ActorRef } from '../../src/mailbox/actor.ts';
import { StillClock } from '../mailbox/world.ts';
import { jain, Machine } from './machine.ts';
import type { Load } from './machine.ts';

function queueWith(settings: Readonly<Record<string, Partial<TenantSettings>>> = {}): FairRunQueue {
  const queue = new FairRunQueue();
  for (const [tenant, some] of Object.entries(settings)) {
    queue.configure(tenantId(tenant), { ...DEFAULT_TENANT_SETTINGS, ...some });
  }
  return queue;
}

test('tenants with eight times the queries and eight times the step length share equally', () => {
  const loads: Load[] = Array.from({ length: 8 }, (_, index) => ({
    tenant: `t${index}`,
    atOnce: 4 * (1 + index),
    stepsMean: 20,
    stepMs: 0.1 * (1 + index),
  }));
  const machine = new Machine(queueWith(), loads, 1);
  machine.run(5_000);
  expect(jain([...machine.spentMs.values()])).toBeGreaterThan(0.9999);
  // The negative control: first come, first served is what a fair queue must beat.
  const unfair = new Machine(new FifoRunQueue(), loads, 1);
  unfair.run(5_000);
  expect(jain([...unfair.spentMs.values()])).toBeLessThan(0.95);
});

test('weights divide what is there, and a live change holds within a tenth of a second', () => {
  const queue = queueWith({ a: { weight: 1 }, b: { weight: 2 }, c: { weight: 5 } });
  const load = { atOnce: 4, stepsMean: 30, stepMs: 0.5 };
  const machine = new Machine(
    queue,
    ['a', 'b', 'c'].map((tenant) => ({ tenant, ...load })),
    2,
  );
  machine.run(4_000);
  const shares = ['a', 'b', 'c'].map((tenant) => machine.spentMs.get(tenant)! / 4_000);
  expect(shares[0]).toBeCloseTo(1 / 8, 2);
  expect(shares[1]).toBeCloseTo(2 / 8, 2);
  expect(shares[2]).toBeCloseTo(5 / 8, 2);
  queue.configure(tenantId('a'), { ...DEFAULT_TENANT_SETTINGS, weight: 7 });
  machine.spentMs.clear();
  machine.run(4_100);
  expect(machine.spentMs.get('a')! / 100).toBeGreaterThan(0.45);
});

test('a reserved tenant hardly notices a neighbour of a hundred times its load', () => {
  const victim: Load = { tenant: 'victim', everyMs: 12, stepsMean: 6, stepMs: 0.5 };
  const noisy = (atOnce: number): Load => ({ tenant: 'noisy', atOnce, stepsMean: 40, stepMs: 0.5 });
  const settings = { victim: { reservation: 0.4 } };
  const p99 = (loads: Load[], reserved: boolean): number => {
    const machine = new Machine(queueWith(reserved ? settings : {}), loads, 3);
    machine.run(30_000);
    expect(machine.latenciesMs.get('victim')!.length).toBeGreaterThan(2_000);
    return machine.percentileMs('victim', 0.99);
  };
  const alone = p99([victim], true);
  expect(p99([victim, noisy(5)], true) / alone).toBeLessThan(1.25);
  expect(p99([victim, noisy(100)], true) / alone).toBeLessThan(1.25);
  // Weights alone cannot: a tenant below its share still waits for its turns.
  expect(p99([victim, noisy(100)], false) / alone).toBeGreaterThan(1.8);
});

test('a backlogged tenant gets its reservation among twenty backlogged neighbours', () => {
  const loads: Load[] = [{ tenant: 'victim', atOnce: 2, stepsMean: 20, stepMs: 0.5 }];
  for (let index = 0; index < 20; index += 1) {
    loads.push({ tenant: `n${index}`, atOnce: 2, stepsMean: 20, stepMs: 0.5 });
  }
  const machine = new Machine(queueWith({ victim: { reservation: 0.3 } }), loads, 4);
  machine.run(5_000);
  expect(machine.spentMs.get('victim')! / 5_000).toBeGreaterThan(0.3);
  const neighbours = [...machine.spentMs]
    .filter(([tenant]) => tenant !== 'victim')
    .map(([, ms]) => ms);
  expect(jain(neighbours)).toBeGreaterThan(0.999);
});

test('a limit holds on an idle machine, and among others', () => {
  const backlogged = (tenant: string): Load => ({ tenant, atOnce: 3, stepsMean: 20, stepMs: 0.5 });
  const alone = new Machine(queueWith({ a: { limit: 0.2 } }), [backlogged('a')], 5);
  alone.run(10_000);
  expect(alone.spentMs.get('a')! / 10_000).toBeCloseTo(0.21, 2); // Its burst of 100 ms included.
  const both = new Machine(queueWith({ a: { limit: 0.2 } }), [backlogged('a'), backlogged('b')], 5);
  both.run(10_000);
  expect(both.spentMs.get('a')! / 10_000).toBeLessThan(0.215);
  expect(both.idleMs).toBe(0);
});

test('spare capacity never stays idle while somebody without a limit is ready', () => {
  const machine = new Machine(
    queueWith({ a: { reservation: 0.9 } }),
    [{ tenant: 'b', atOnce: 1, stepsMean: 5, stepMs: 0.5 }],
    6,
  );
  machine.run(1_000);
  expect(machine.idleMs).toBe(0);
});

test('ten thousand actors of one tenant weigh as much as one of another', () => {
  const queue = queueWith();
  const entries = Array.from({ length: 10_000 }, () => new RunEntry(tenantId('many')));
  const single = new RunEntry(tenantId('one'));
  for (const entry of [...entries, single]) queue.wake(entry, false);
  let singleSteps = 0;
  for (let step = 0; step < 2_000; step += 1) {
    const entry = queue.next()!;
    if (entry === single) singleSteps += 1;
    queue.settle(entry, { workUnits: 5_000, messageCount: 1 }, 'more');
  }
  expect(singleSteps).toBe(1_000);
});

test('actors of a tenant get equal work, however long their steps are', () => {
  const queue = queueWith();
  const entries = [1_000, 10_000, 100_000, 400_000].map((units) => ({
    entry: new RunEntry(tenantId('t')),
    units,
    spent: 0,
  }));
  for (const { entry } of entries) queue.wake(entry, false);
  for (let step = 0; step < 20_000; step += 1) {
    const entry = queue.next()!;
    const known = entries.find((each) => each.entry === entry)!;
    known.spent += known.units;
    queue.settle(entry, { workUnits: known.units, messageCount: 0 }, 'more');
  }
  expect(jain(entries.map(({ spent }) => spent))).toBeGreaterThan(0.99);
});

test("a cancel goes before its tenant's other work, unless its actor owes too much", () => {
  const queue = queueWith();
  const busy = Array.from({ length: 100 }, () => new RunEntry(tenantId('t')));
  const cancelled = new RunEntry(tenantId('t'));
  for (const entry of [...busy, cancelled]) queue.wake(entry, false);
  queue.wake(cancelled, true);
  expect(queue.next()).toBe(cancelled);
  queue.settle(cancelled, { workUnits: 1_000_000, messageCount: 1 }, 'urgent');
  expect(queue.next()).not.toBe(cancelled);
});

test('meters add up to what was dispatched, exactly', () => {
  const step = fc.record({
    tenant: fc.nat(3),
    units: fc.nat(100_000),
    messages: fc.nat(64),
    more: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const queue = queueWith({ t1: { reservation: 0.3 }, t2: { weight: 3 } });
      let work = 0;
      let messages = 0;
      for (const { tenant, units, messages: count, more } of steps) {
        queue.wake(new RunEntry(tenantId(`t${tenant}`)), false);
        queue.advance(1_000, queue.readyCount);
        const entry = queue.next();
        if (entry === undefined) continue;
        queue.settle(entry, { workUnits: units, messageCount: count }, more ? 'more' : 'no');
        work += units;
        messages += count;
      }
      const meters = [...queue.meters()].map(([, meter]) => meter.usage());
      expect(meters.reduce((sum, usage) => sum + usage.workUnits, 0)).toBe(work);
      expect(meters.reduce((sum, usage) => sum + usage.messages, 0)).toBe(messages);
    }),
  );
});

test('whatever is woken, run, removed and reconfigured, each ready entry is given out once and none is lost', () => {
  const act = fc.oneof(
    fc.record({ kind: fc.constant('wake' as const), entry: fc.nat(9), urgent: fc.boolean() }),
    fc.record({
      kind: fc.constant('run' as const),
      units: fc.nat(200_000),
      more: fc.constantFrom<('no' | 'more' | 'urgent')[]>('no', 'more', 'urgent'),
    }),
    fc.record({ kind: fc.constant('remove' as const), entry: fc.nat(9) }),
    fc.record({
      kind: fc.constant('configure' as const),
      tenant: fc.nat(2),
      weight: fc.integer({ min: 1, max: 9 }),
      limit: fc.constantFrom(0.1, 1),
      reservation: fc.constantFrom(0, 0.1),
    }),
    fc.record({ kind: fc.constant('advance' as const), ms: fc.nat(50) }),
  );
  fc.assert(
    fc.property(fc.array(act, { maxLength: 150 }), (acts) => {
      const queue = queueWith();
      const entries = Array.from(
        { length: 10 },
        (_, index) => new RunEntry(tenantId(`t${index % 3}`)),
      );
      const ready = new Set<RunEntry>();
      let nowMs = 0;
      for (const each of acts) {
        if (each.kind === 'wake') {
          queue.wake(entries[each.entry]!, each.urgent);
          ready.add(entries[each.entry]!);
        } else if (each.kind === 'remove') {
          queue.remove(entries[each.entry]!);
          ready.delete(entries[each.entry]!);
        } else if (each.kind === 'advance') {
          nowMs += each.ms;
          queue.advance(each.ms * 100_000, nowMs);
        } else if (each.kind === 'configure') {
          queue.configure(tenantId(`t${each.tenant}`), {
            ...DEFAULT_TENANT_SETTINGS,
            weight: each.weight,
            limit: each.limit,
            reservation: each.reservation,
          });
        } else {
          const entry = queue.next();
          if (entry === undefined) {
            expect(ready.size === 0 || queue.waitUnits() > 0).toBe(true);
            continue;
          }
          expect(ready.delete(entry)).toBe(true);
          queue.settle(entry, { workUnits: each.units, messageCount: 1 }, each.more);
          if (each.more !== 'no') ready.add(entry);
        }
        expect(queue.readyCount).toBe(ready.size);
      }
      nowMs += 1e6;
      queue.advance(1e11, nowMs);
      for (let left = ready.size; left > 0; left -= 1) {
        const entry = queue.next();
        expect(entry !== undefined && ready.delete(entry)).toBe(true);
        queue.settle(entry!, { workUnits: 1, messageCount: 1 }, 'no');
      }
      expect(queue.next()).toBe(undefined);
    }),
    { numRuns: 300 },
  );
});

test('a flood of messages in one tenant leaves another its half', () => {
  const queue = new FairRunQueue();
  const dispatcher = new Dispatcher({ clock: new StillClock(), runQueue: queue });
  const spawnRing = (tenant: string, size: number, tokens: number): void => {
    const refs: ActorRef<number>[] = [];
    for (let index = 0; index < size; index += 1) {
      refs.push(
        dispatcher.spawn<number>({
          name: `${tenant} ${index}`,
          tenant: tenantId(tenant),
          start: () => (message) => {
            refs[(index + 1) % size]!.tell(message);
            return 'continue';
          },
        }),
      );
    }
    for (let token = 0; token < tokens; token += 1) refs[token % size]!.tell(token);
  };
  spawnRing('noisy', 900, 9_000);
  spawnRing('quiet', 3, 3);
  for (let step = 0; step < 30_000; step += 1) dispatcher.runOne();
  const quiet = queue.meterOf(tenantId('quiet')).usage();
  const noisy = queue.meterOf(tenantId('noisy')).usage();
  expect(quiet.messages / noisy.messages).toBeGreaterThan(0.95);
  expect(quiet.messages + noisy.messages).toBe(dispatcher.count('messages'));
});

test('the priorities of one tenant share by weight, four to one, whoever their actors are', () => {
  const queue = queueWith();
  const tenant = tenantId('a');
  const work = new Map<string, number>();
  const entries = PRIORITIES.flatMap((priority, rank) =>
    // The less urgent are more, and take longer steps.
    Array.from({ length: 1 + rank * 3 }, () => new RunEntry(tenant, priority)),
  );
  const urgencies = new Map(entries.map((entry) => [entry, entry.priority]));
  for (const entry of entries) queue.wake(entry, false);
  for (let step = 0; step < 50_000; step += 1) {
    const entry = queue.next()!;
    const priority = urgencies.get(entry)!;
    const workUnits = 4_000 * (1 + PRIORITIES.indexOf(priority));
    work.set(priority, (work.get(priority) ?? 0) + workUnits);
    queue.settle(entry, { workUnits, messageCount: 0 }, 'more');
  }
  const shares = PRIORITIES.map((priority) => work.get(priority)! / work.get('background')!);
  expect(shares.map((share) => Math.round(share))).toEqual([64, 16, 4, 1]);
});

test('who slept claims nothing for it, and what is urgent comes first when it wakes', () => {
  const queue = queueWith();
  const tenant = tenantId('a');
  const batch = new RunEntry(tenant, 'batch');
  const interactive = new RunEntry(tenant, 'interactive');
  const step = { workUnits: 10_000, messageCount: 0 };
  queue.wake(interactive, false);
  queue.settle(queue.next()!, step, 'no');
  queue.wake(batch, false);
  for (let at = 0; at < 1_000; at += 1) queue.settle(queue.next()!, step, 'more');
  // A query that is asked now does not wait for the batch, and does not shut it out for as long as it slept.
  queue.wake(interactive, false);
  let waited = 0;
  for (let at = 0; at < 170; at += 1) {
    const entry = queue.next()!;
    if (at === 0) expect(entry).toBe(interactive);
    if (entry === batch) waited += 1;
    queue.settle(entry, step, 'more');
  }
  // Sixteen steps to one.
  expect(waited).toBe(9);
  // A cancel of the batch is not held up by it all.
  queue.wake(batch, true);
  expect(queue.next()).toBe(batch);
});

test('what a tenant is served out of turn is paid for: the others go first until they have had as much', () => {
  const queue = queueWith({ held: { limit: 0.5, burstMs: 1 } });
  const [a, b] = ['a', 'b'].map((tenant) => new RunEntry(tenantId(tenant))) as [RunEntry, RunEntry];
  for (const entry of [a, b]) queue.wake(entry, false);
  const order = (steps: number): string => {
    let names = '';
    for (let step = 0; step < steps; step += 1) {
      const entry = queue.next()!;
      names += entry === a ? 'a' : 'b';
      queue.settle(entry, { workUnits: 1_000, messageCount: 0 }, 'more');
    }
    return names;
  };
  expect(order(4)).toBe('abab');
  expect(queue.mayServe(tenantId('a'))).toBe(true);
  queue.served(tenantId('a'), 'normal', 3_000);
  expect(order(5)).toBe('bbbab');
  expect(queue.meterOf(tenantId('a')).usage()).toMatchObject({ workUnits: 6_000, steps: 4 });
  // A tenant that sleeps, too; and one that has used up its limit is not served.
  const held = tenantId('held');
  expect(queue.mayServe(held)).toBe(true);
  queue.served(held, 'interactive', 1_000_000);
  expect(queue.mayServe(held)).toBe(false);
  queue.advance(4_000_000, 40);
  expect(queue.mayServe(held)).toBe(true);
});
