import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MemoryAccount } from '../../src/base/memory.ts';
import { tenantId } from '../../src/base/units.ts';
import { TimerQueue } from '../../src/mailbox/timer-queue.ts';
import { AdmissionControl } from '../../src/tenancy/admission.ts';
import type { Admission, Admitted, Rejected, Ticket } from '../../src/tenancy/admission.ts';
import { FairRunQueue } from '../../src/tenancy/fair-run-queue.ts';
import { DEFAULT_TENANT_SETTINGS, mergeTenantSettings } from '../../src/tenancy/tenant-settings.ts';
import type { TenantSettingsInput } from '../../src/tenancy/tenant-settings.ts';
import { Tenants } from '../../src/tenancy/tenants.ts';
import { StillClock } from '../mailbox/world.ts';

const acme = tenantId('acme');

function desk(input: TenantSettingsInput, memory?: MemoryAccount) {
  const clock = new StillClock();
  const queue = new FairRunQueue();
  const admission = new AdmissionControl({
    clock,
    timers: new TimerQueue(clock),
    meterOf: (tenant) => queue.meterOf(tenant),
  });
  const tenants = new Tenants(queue, admission);
  tenants.set(acme, input, memory);
  return { clock, admission, tenants };
}

function ticketOf(admission: Admission): Ticket {
  expect(admission.kind).toBe('admitted');
  return (admission as Admitted).ticket;
}

test('a thousand requests of one instant get one slot, and the rest wait in order or are sent away', () => {
  const { admission } = desk({ concurrency: 1, queue: 10 });
  const order: number[] = [];
  const outcomes: Record<string, number> = {};
  let running: Ticket | undefined;
  for (let index = 0; index < 1_000; index += 1) {
    const outcome = admission.admit({
      tenant: acme,
      workUnits: 100,
      decided: (later) => {
        order.push(index);
        if (later.kind === 'admitted') running = later.ticket;
      },
    });
    outcomes[outcome.kind] = (outcomes[outcome.kind] ?? 0) + 1;
    if (outcome.kind === 'admitted') running = outcome.ticket;
    if (outcome.kind === 'rejected') expect(outcome.limit).toBe('queue');
  }
  expect(outcomes).toEqual({ admitted: 1, queued: 10, rejected: 989 });
  for (let index = 0; index < 11; index += 1) running!.settle(100);
  expect(order).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  expect(admission.stateOf(acme)).toEqual({ running: 0, waiting: 0, reservedUnits: 0 });
});

test('a rejection names the limit, when to come back, and a code that says whether to', () => {
  const { admission } = desk({ concurrency: 1, queue: 0, work: { query: 1_000, minute: 6_000 } });
  const big = admission.admit({ tenant: acme, workUnits: 5_000 }) as Rejected;
  expect(big).toMatchObject({ kind: 'rejected', limit: 'work.query', retryAfterMs: Infinity });
  expect(big.error.toJSON()).toMatchObject({ code: '53400', limit: 'work.query' });
  for (let index = 0; index < 6; index += 1) {
    ticketOf(admission.admit({ tenant: acme, workUnits: 1_000 })).settle(1_000);
  }
  const spent = admission.admit({ tenant: acme, workUnits: 1_000 }) as Rejected;
  expect(spent).toMatchObject({ kind: 'rejected', limit: 'work.minute', retryAfterMs: 10_000 });
  expect(spent.error.retryAfterMs).toBe(10_000);
});

test('a budget fills evenly, and is corrected by what was really spent', () => {
  const { admission, clock } = desk({ work: { minute: 6_000 } });
  ticketOf(admission.admit({ tenant: acme, workUnits: 1_000 })).settle(9_000);
  const late = admission.admit({ tenant: acme, workUnits: 1_000 }) as Rejected;
  expect(late.retryAfterMs).toBe(40_000);
  clock.advance(40_000);
  ticketOf(admission.admit({ tenant: acme, workUnits: 1_000 })).settle(1_000);
});

test('who waits longer than the queue allows is told, and gives the place up', () => {
  const { admission, clock, tenants } = desk({ concurrency: 1, queueTimeoutMs: 50 });
  const ticket = ticketOf(admission.admit({ tenant: acme, workUnits: 1 }));
  const told: string[] = [];
  admission.admit({
    tenant: acme,
    workUnits: 1,
    decided: (later) => told.push(later.kind === 'rejected' ? later.limit : 'in'),
  });
  clock.advance(50);
  expect(told).toEqual(['queueTimeoutMs']);
  ticket.settle(1);
  expect(tenants.usage(acme)).toMatchObject({
    running: 0,
    waiting: 0,
    queueTimeouts: 1,
    rejected: 1,
    admitted: 1,
  });
  expect(clock.timerCount).toBe(0);
});

test('a user at their own limit is passed by; others are not held up', () => {
  const { admission } = desk({ concurrency: 2, perUser: { concurrency: 1 } });
  const ann = ticketOf(admission.admit({ tenant: acme, user: 'ann', workUnits: 1 }));
  const told: string[] = [];
  const ask = (user: string): Admission =>
    admission.admit({ tenant: acme, user, workUnits: 1, decided: () => told.push(user) });
  expect(ask('ann')).toMatchObject({ kind: 'queued', limit: 'perUser.concurrency' });
  const bob = ask('bob');
  expect(bob.kind).toBe('queued');
  expect(told).toEqual([]);
  ann.settle(1);
  expect(told).toEqual(['ann', 'bob']);
});

test('beyond soft memory nothing new begins until something ends', () => {
  const memory = new MemoryAccount('acme');
  const { admission } = desk({ memory: { soft: 1_000, hard: '1 kB' } }, memory);
  expect(memory.limitBytes).toBe(1_024);
  const first = ticketOf(admission.admit({ tenant: acme, workUnits: 1, memoryBytes: 600 }));
  const told: string[] = [];
  const second = admission.admit({
    tenant: acme,
    workUnits: 1,
    memoryBytes: 600,
    decided: (later) => told.push(later.kind),
  });
  expect(second).toMatchObject({ kind: 'queued', limit: 'memory.soft', place: 1 });
  first.settle(1);
  expect(told).toEqual(['admitted']);
});

test('raising a limit lets in who waits, at once', () => {
  const { admission, tenants } = desk({ concurrency: 1 });
  ticketOf(admission.admit({ tenant: acme, workUnits: 1 }));
  const told: string[] = [];
  for (const name of ['a', 'b', 'c']) {
    admission.admit({ tenant: acme, workUnits: 1, decided: () => told.push(name) });
  }
  tenants.set(acme, { concurrency: 3 });
  expect(told).toEqual(['a', 'b']);
});

test('bounds hold and nothing reserved is ever lost, whatever comes, ends and changes', () => {
  const act = fc.oneof(
    fc.record({
      kind: fc.constant('admit' as const),
      user: fc.constantFrom('u', 'v'),
      units: fc.nat(50),
    }),
    fc.record({ kind: fc.constant('settle' as const), index: fc.nat(20), units: fc.nat(100) }),
    fc.record({
      kind: fc.constant('set' as const),
      concurrency: fc.integer({ min: 1, max: 4 }),
      queue: fc.nat(4),
      user: fc.integer({ min: 1, max: 3 }),
    }),
    fc.record({ kind: fc.constant('pass' as const), ms: fc.nat(200) }),
  );
  fc.assert(
    fc.property(fc.array(act, { maxLength: 120 }), (acts) => {
      const { admission, tenants, clock } = desk({
        concurrency: 2,
        queue: 3,
        queueTimeoutMs: 300,
        perUser: { concurrency: 2 },
      });
      const held: Ticket[] = [];
      let decidedTwice = 0;
      let concurrencyMax = 2;
      for (const each of acts) {
        if (each.kind === 'admit') {
          let decisions = 0;
          const outcome = admission.admit({
            tenant: acme,
            user: each.user,
            workUnits: each.units,
            decided: (later) => {
              decisions += 1;
              if (decisions > 1) decidedTwice += 1;
              if (later.kind === 'admitted') held.push(later.ticket);
            },
          });
          if (outcome.kind === 'admitted') held.push(outcome.ticket);
        } else if (each.kind === 'settle') {
          const [ticket] = held.splice(each.index % Math.max(1, held.length), 1);
          ticket?.settle(each.units);
        } else if (each.kind === 'set') {
          concurrencyMax = Math.max(each.concurrency, held.length);
          tenants.set(acme, {
            concurrency: each.concurrency,
            queue: each.queue,
            perUser: { concurrency: each.user },
          });
        } else clock.advance(each.ms);
        const state = admission.stateOf(acme);
        expect(state.running).toBe(held.length);
        expect(state.running).toBeLessThanOrEqual(concurrencyMax);
        expect(state.waiting).toBeLessThanOrEqual(tenants.settingsOf(acme).queue);
        expect(state.reservedUnits).toBe(
          held.reduce((sum, ticket) => sum + ticket.reservedUnits, 0),
        );
      }
      while (held.length > 0) held.pop()!.settle(0);
      expect(admission.stateOf(acme)).toEqual({ running: 0, waiting: 0, reservedUnits: 0 });
      expect(decidedTwice).toBe(0);
    }),
  );
});

test('settings merge, take sizes as people write them, and refuse what makes no sense', () => {
  const merged = mergeTenantSettings(DEFAULT_TENANT_SETTINGS, {
    weight: 2,
    memory: { soft: '384 MB', hard: '512 MB' },
    work: { minute: 1_000 },
  });
  expect(merged).toMatchObject({
    weight: 2,
    memory: { soft: 402_653_184, hard: 536_870_912 },
    concurrency: 16,
  });
  expect(mergeTenantSettings(merged, { work: { day: 5 }, weight: null })).toMatchObject({
    weight: 1,
    work: { minute: 1_000, day: 5 },
  });
  const bad: [TenantSettingsInput, string][] = [
    [{ weight: 0 }, 'weight'],
    [{ reservation: 0.95 }, 'reservation'],
    [{ reservation: 0.5, limit: 0.3 }, 'reservation'],
    [{ memory: { soft: '2 GB', hard: '1 GB' } }, 'memory.soft'],
    [{ memory: { soft: 'lots' } }, 'memory.soft'],
    [{ concurrency: 1.5 }, 'concurrency'],
    [{ wieght: 2 } as TenantSettingsInput, 'wieght'],
    [{ work: { hour: 2 } } as TenantSettingsInput, 'work.hour'],
    [{ priority: 'urgent' } as unknown as TenantSettingsInput, 'priority'],
  ];
  for (const [input, field] of bad) {
    expect(() => mergeTenantSettings(DEFAULT_TENANT_SETTINGS, input)).toThrow(
      expect.objectContaining({ code: '22023', field }),
    );
  }
});

test('reservations of all tenants sum to at most nine tenths', () => {
  const { tenants } = desk({ reservation: 0.6 });
  expect(() => tenants.set(tenantId('b'), { reservation: 0.4 })).toThrow(
    expect.objectContaining({ code: '22023', field: 'reservation' }),
  );
  tenants.set(tenantId('b'), { reservation: 0.3 });
  tenants.drop(acme);
  expect(tenants.set(tenantId('b'), { reservation: 0.9 }).reservation).toBe(0.9);
});
