/** The rules of OTP, in virtual time. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SeededRandom } from '../../src/base/random.ts';
import type { ActorRef, ActorSpec, ReplyTo } from '../../src/mailbox/actor.ts';
import { backoffMs } from '../../src/supervisor/backoff.ts';
import { RestartBudget } from '../../src/supervisor/restart-budget.ts';
import {
  childPolicy,
  Supervisor,
  type ChildPolicy,
  type Strategy,
  type SupervisorSpec,
} from '../../src/supervisor/supervisor.ts';
import { acme, world } from '../mailbox/world.ts';

type Message =
  | { readonly kind: 'fail'; readonly times: number }
  | { readonly kind: 'note'; readonly text: string }
  | { readonly kind: 'ask'; readonly replyTo: ReplyTo<string>; readonly fail?: boolean };

const ALWAYS = childPolicy('thing', { backoff: { firstMs: 100, mostMs: 1_000, stableMs: 5_000 } });

function tree(given: Partial<SupervisorSpec> = {}): {
  root: Supervisor;
  log: string[];
  clock: ReturnType<typeof world>['clock'];
  dispatcher: ReturnType<typeof world>['dispatcher'];
  /** An actor that notes what happens to it. */
  thing: (name: string, options?: { startFails?: () => boolean }) => ActorSpec<Message>;
  start: (name: string, policy?: ChildPolicy, under?: Supervisor) => ActorRef<Message>;
  settle: () => void;
} {
  const { clock, dispatcher } = world();
  const log: string[] = [];
  const root = new Supervisor(
    { name: 'root', tenant: acme, strategy: 'oneForOne', ...given },
    {
      dispatcher,
      clock,
      random: new SeededRandom(1),
      events: {
        restarted: ({ name }) => log.push(`restart ${name}`),
        quarantined: ({ name }) => log.push(`quarantine at ${name}`),
        gaveUp: ({ name }, cause) => log.push(`gave up ${name}: ${chainOf(cause).join(' < ')}`),
      },
    },
  );
  const failures = new Map<object, number>();
  const thing = (
    name: string,
    { startFails = () => false }: { startFails?: () => boolean } = {},
  ): ActorSpec<Message> => ({
    name,
    tenant: acme,
    start: () => {
      if (startFails()) throw new Error(`${name} cannot start`);
      log.push(`${name} starts`);
      return {
        receive: (message) => {
          switch (message.kind) {
            case 'note':
              log.push(`${name} ${message.text}`);
              break;
            case 'ask':
              if (message.fail === true) throw new Error('asked too much');
              message.replyTo.reply(name);
              break;
            case 'fail': {
              const before = failures.get(message) ?? 0;
              failures.set(message, before + 1);
              if (before < message.times) throw new Error(`${name} fails`);
              log.push(`${name} survives`);
              break;
            }
          }
          return 'continue';
        },
        stopped: (why) => log.push(`${name} ${why.kind}`),
      };
    },
  });
  return {
    root,
    log,
    clock,
    dispatcher,
    thing,
    start: (name, policy = ALWAYS, under = root) => under.startChild(policy, thing(name)),
    settle: () => void dispatcher.runUntilIdle(10_000),
  };
}

function chainOf(cause: unknown): string[] {
  return cause instanceof Error ? [cause.message, ...chainOf(cause.cause)] : [];
}

const always = (): { kind: 'fail'; times: number } => ({ kind: 'fail', times: Infinity });

test('one for one: only the child that failed is started anew, and it keeps its mailbox', () => {
  const { start, settle, log } = tree();
  const [a, b] = [start('a'), start('b')];
  settle();
  a.tell({ kind: 'fail', times: 1 });
  a.tell({ kind: 'note', text: 'goes on' });
  b.tell({ kind: 'note', text: 'goes on' });
  settle();
  expect(log).toEqual([
    'a starts',
    'b starts',
    'a failed',
    'restart a',
    'a starts',
    'b goes on',
    'a survives',
    'a goes on',
  ]);
});

test('rest for one: those started later stop in reverse order and start again in order', () => {
  const { start, settle, log } = tree({ strategy: 'restForOne' });
  start('a');
  const b = start('b');
  start('c');
  start('d');
  settle();
  log.length = 0;
  b.tell({ kind: 'fail', times: 1 });
  settle();
  expect(log).toEqual(
    [
      'b failed',
      'd restarting',
      'c restarting',
      'restart b',
      'b starts',
      'c starts',
      'd starts',
      'b survives',
    ].sort((x, y) => log.indexOf(x) - log.indexOf(y)),
  );
  expect(log.filter((line) => line.endsWith('starts'))).toEqual([
    'b starts',
    'c starts',
    'd starts',
  ]);
  expect(log.indexOf('d restarting')).toBeLessThan(log.indexOf('c restarting'));
});

test('one for all: a failure takes all along', () => {
  const { start, settle, log } = tree({ strategy: 'oneForAll' });
  start('a');
  const b = start('b');
  start('c');
  settle();
  log.length = 0;
  b.tell({ kind: 'fail', times: 1 });
  settle();
  expect(log.filter((line) => line.endsWith('starts'))).toEqual([
    'a starts',
    'b starts',
    'c starts',
  ]);
});

test('a temporary child is never started anew, and nobody is taken along by it', () => {
  const { start, settle, log, root } = tree({ strategy: 'oneForAll' });
  start('a');
  const b = start('b', childPolicy('query', { restart: 'temporary' }));
  settle();
  log.length = 0;
  b.tell(always());
  settle();
  expect(log).toEqual(['b failed']);
  expect(b.alive).toBe(false);
  expect(root.childCount).toBe(1);
});

test('an actor that ends by itself is forgotten', () => {
  const { root, dispatcher } = tree();
  const ref = root.startChild<'end'>(ALWAYS, {
    name: 'short',
    tenant: acme,
    start: () => () => 'stop',
  });
  ref.tell('end');
  dispatcher.runUntilIdle();
  expect([root.childCount, ref.alive]).toEqual([0, false]);
});

test('a message that kills its actor again after a restart is set aside, and the asker is told', async () => {
  const { start, settle, log, dispatcher } = tree();
  const a = start('a');
  settle();
  const answer = a.ask<string>((replyTo) => ({ kind: 'ask', replyTo, fail: true }), {
    timeoutMs: 1_000,
  });
  a.tell({ kind: 'note', text: 'goes on' });
  for (let turn = 0; turn < 3; turn += 1) settle();
  await Promise.resolve();
  expect(log.filter((line) => line.startsWith('quarantine'))).toEqual(['quarantine at a']);
  await expect(answer).rejects.toMatchObject({ code: 'XX000' });
  expect(dispatcher.deadLetters.newest()).toMatchObject([
    { actorName: 'a', reason: 'failed', messageKind: 'ask' },
  ]);
});

test('the first restart comes at once, later ones wait ever longer, and after a stable time the first is first again', () => {
  const { start, settle, log, clock } = tree({ intensity: { restartsMax: 100, windowMs: 60_000 } });
  const a = start('a', childPolicy('thing', { ...ALWAYS, poisonAfter: 100 }));
  settle();
  a.tell({ kind: 'fail', times: 4 });
  settle();
  const starts = (): number => log.filter((line) => line === 'a starts').length;
  expect(starts()).toBe(2); // At the beginning, and at once after the first failure.
  clock.advance(40);
  settle();
  expect(starts()).toBe(2);
  clock.advance(60);
  settle();
  expect(starts()).toBe(3);
  clock.advance(99);
  settle();
  expect(starts()).toBe(3);
  clock.advance(400);
  settle();
  clock.advance(400);
  settle();
  expect(starts()).toBe(5);
  expect(log.at(-1)).toBe('a survives');
  clock.advance(5_001);
  a.tell({ kind: 'fail', times: 1 });
  settle();
  expect(starts()).toBe(6);
});

test('jitter is seeded, and between half and all of the delay', () => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 2, max: 20 }), (seed, attempt) => {
      const policy = { firstMs: 50, mostMs: 10_000, stableMs: 1 };
      const one = backoffMs(policy, attempt, new SeededRandom(seed));
      const full = Math.min(10_000, 50 * 2 ** (attempt - 2));
      expect(one).toBe(backoffMs(policy, attempt, new SeededRandom(seed)));
      expect(one).toBeGreaterThanOrEqual(full / 2);
      expect(one).toBeLessThanOrEqual(full);
    }),
  );
});

test('a budget allows so many restarts in any window, however they fall', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 300 }), { maxLength: 60 }),
      fc.integer({ min: 0, max: 5 }),
      (gaps, restartsMax) => {
        const budget = new RestartBudget({ restartsMax, windowMs: 1_000 });
        const granted: number[] = [];
        let nowMs = 0;
        for (const gap of gaps) {
          nowMs += gap;
          const inWindow = granted.filter((at) => at > nowMs - 1_000).length;
          const taken = budget.take(nowMs);
          expect(taken).toBe(inWindow < restartsMax);
          if (taken) granted.push(nowMs);
        }
      },
    ),
  );
});

test('more restarts than the budget allows end the root, newest child first, with the whole chain of causes', () => {
  const { start, settle, log, dispatcher } = tree({
    intensity: { restartsMax: 1, windowMs: 10_000 },
  });
  const a = start('a');
  start('b');
  settle();
  log.length = 0;
  a.tell(always());
  settle();
  expect(log).toEqual([
    'a failed',
    'restart a',
    'a starts',
    'a failed',
    'b restarting',
    'gave up root: a failed more often than its supervisor root may restart it < a fails',
  ]);
  expect(dispatcher.actorCount).toBe(0);
});

test('a supervisor without restarts left fails to its parent, which starts all of it anew', () => {
  const { root, start, settle, log } = tree({ intensity: { restartsMax: 3, windowMs: 10_000 } });
  start('first');
  const tenant = root.startSupervisor({
    name: 'tenant',
    tenant: acme,
    strategy: 'oneForOne',
    intensity: { restartsMax: 0, windowMs: 10_000 },
  });
  const a = start('a', ALWAYS, tenant);
  const query = start('query', childPolicy('query', { restart: 'temporary' }), tenant);
  const b = start('b', ALWAYS, tenant);
  settle();
  log.length = 0;
  a.tell({ kind: 'fail', times: 1 });
  settle();
  expect(log).toEqual([
    'a failed',
    'b restarting',
    'query killed',
    'restart tenant',
    'a starts',
    'b starts',
  ]);
  expect([a.alive, b.alive, query.alive]).toEqual([true, true, false]);
  b.tell({ kind: 'note', text: 'goes on' });
  settle();
  expect(log.at(-1)).toBe('b goes on');
});

test('a child that gives up ends alone; nobody else has spent a restart', () => {
  const { start, settle, log } = tree({ intensity: { restartsMax: 2, windowMs: 10_000 } });
  const view = start(
    'view',
    childPolicy('view', {
      exhausted: 'giveUp',
      poisonAfter: 100,
      backoff: { firstMs: 0, mostMs: 0, stableMs: 1e9 },
    }),
  );
  const table = start('table');
  settle();
  view.tell(always());
  settle();
  expect(view.alive).toBe(false);
  expect(log.filter((line) => line.startsWith('gave up'))).toEqual([
    'gave up view: view failed more often than its supervisor root may restart it < view fails',
  ]);
  table.tell({ kind: 'fail', times: 1 });
  settle();
  expect(table.alive).toBe(true);
});

test('children that start in order wait for one another, also where one needs several attempts', () => {
  const { root, thing, settle, log, clock } = tree();
  let attempts = 0;
  root.startInOrder(
    [
      thing('journal'),
      thing('catalog', { startFails: () => (attempts += 1) < 3 }),
      thing('tenants'),
    ].map((actor) => ({ policy: ALWAYS, actor: actor as ActorSpec<never> })),
  );
  settle();
  expect(log.filter((line) => line.endsWith('starts'))).toEqual(['journal starts']);
  clock.advance(1_000);
  settle();
  expect(log.filter((line) => line.endsWith('starts'))).toEqual([
    'journal starts',
    'catalog starts',
    'tenants starts',
  ]);
});

test('stopping is in reverse order, each when the one before has ended; who does not stop in time is killed', () => {
  const { root, start, settle, log, clock } = tree();
  start('a');
  const slow = childPolicy('thing', { stopTimeoutMs: 50 });
  root.startChild<string>(slow, {
    name: 'b',
    tenant: acme,
    start: () => ({
      receive: () => 'continue',
      stopping: () => 'continue',
      stopped: (why) => log.push(`b ${why.kind}`),
    }),
  });
  start('c');
  settle();
  log.length = 0;
  let stopped = false;
  root.stop(() => (stopped = true));
  settle();
  expect([log, stopped]).toEqual([['c stopped'], false]);
  clock.advance(50);
  settle();
  expect([log, stopped]).toEqual([['c stopped', 'b killed', 'a stopped'], true]);
});

test('the tree shows itself: names, kinds, parents, states, restarts, mailboxes', () => {
  const { root, start, settle } = tree();
  const tenant = root.startSupervisor({ name: 'tenant acme', tenant: acme, strategy: 'oneForOne' });
  const table = start('table orders', childPolicy('table'), tenant);
  settle();
  table.tell({ kind: 'fail', times: 1 });
  settle();
  table.tell({ kind: 'note', text: 'waits' });
  const shown = [...root.infos()].map(({ name, kind, parent, state, restarts, mailboxDepth }) =>
    [name, kind, parent, state, restarts, mailboxDepth].join(' '),
  );
  expect(shown).toEqual([
    'root supervisor  running 0 0',
    'tenant acme supervisor root running 0 0',
    'table orders table tenant acme running 1 1',
  ]);
});

test('whatever fails whenever, the tree comes to rest: all that live run, in one of the orders the rules allow', () => {
  fc.assert(
    fc.property(
      fc.constantFrom<Strategy>('oneForOne', 'restForOne', 'oneForAll'),
      fc.array(
        fc.oneof(
          fc.record({
            what: fc.constant('fail' as const),
            child: fc.nat(5),
            times: fc.integer({ min: 1, max: 3 }),
          }),
          fc.record({ what: fc.constant('stop' as const), child: fc.nat(5) }),
          fc.record({ what: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 500 }) }),
          fc.record({ what: fc.constant('steps' as const), count: fc.integer({ min: 1, max: 5 }) }),
        ),
        { maxLength: 40 },
      ),
      (strategy, happenings) => {
        const { root, start, settle, clock, dispatcher } = tree({
          strategy,
          intensity: { restartsMax: 1_000, windowMs: 10_000 },
        });
        const children = Array.from({ length: 6 }, (_, index) => start(`c${index}`));
        for (const happening of happenings) {
          switch (happening.what) {
            case 'fail':
              children[happening.child]!.tell({ kind: 'fail', times: happening.times });
              break;
            case 'stop':
              root.stopChild(children[happening.child]!);
              break;
            case 'wait':
              clock.advance(happening.ms);
              break;
            case 'steps':
              dispatcher.runUntilIdle(happening.count);
              break;
          }
        }
        for (let round = 0; round < 50; round += 1) {
          settle();
          clock.advance(1_000);
        }
        settle();
        const infos = [...root.infos()].slice(1);
        expect(infos.length).toBe(children.filter(({ alive }) => alive).length);
        for (const { state, mailboxDepth } of infos)
          expect([state, mailboxDepth]).toEqual(['running', 0]);
        let stopped = false;
        root.stop(() => (stopped = true));
        settle();
        clock.advance(10_000);
        settle();
        expect([stopped, dispatcher.actorCount, clock.timerCount]).toEqual([true, 0, 0]);
      },
    ),
    { numRuns: 300 },
  );
});

test('in trees of trees each message is handled, refused or undelivered once, budgets hold, and all can be stopped', () => {
  const supervisor = fc.record({
    strategy: fc.constantFrom<Strategy>('oneForOne', 'restForOne', 'oneForAll'),
    restartsMax: fc.integer({ min: 0, max: 4 }),
    under: fc.nat(2),
  });
  const child = fc.record({
    under: fc.nat(3),
    restart: fc.constantFrom<ChildPolicy['restart']>('transient', 'transient', 'temporary'),
    exhausted: fc.constantFrom<ChildPolicy['exhausted']>('escalate', 'giveUp'),
    poisonAfter: fc.integer({ min: 1, max: 3 }),
  });
  const happening = fc.oneof(
    fc.record({
      what: fc.constant('tell' as const),
      child: fc.nat(7),
      times: fc.constantFrom(0, 0, 0, 1, 2, Infinity),
    }),
    fc.record({ what: fc.constant('stop' as const), child: fc.nat(7) }),
    fc.record({ what: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 2_000 }) }),
    fc.record({ what: fc.constant('steps' as const), count: fc.integer({ min: 1, max: 6 }) }),
  );
  fc.assert(
    fc.property(
      fc.array(supervisor, { minLength: 1, maxLength: 3 }),
      fc.array(child, { minLength: 3, maxLength: 8 }),
      fc.array(happening, { minLength: 20, maxLength: 80 }),
      fc.integer({ min: 0, max: 6 }),
      (supervisors, children, happenings, restartsMax) => {
        const { clock, dispatcher } = world();
        const windowMs = 1_000;
        const restarts: { readonly parent: string; readonly atMs: number }[] = [];
        const ownBudget = new Set<string>();
        const root = new Supervisor(
          {
            name: 'root',
            tenant: acme,
            strategy: 'oneForOne',
            intensity: { restartsMax, windowMs },
          },
          {
            dispatcher,
            clock,
            random: new SeededRandom(1),
            events: {
              restarted: ({ name, parent }) =>
                restarts.push({
                  parent: ownBudget.has(name) ? name : parent!,
                  atMs: clock.monotonicMs(),
                }),
            },
          },
        );
        const budgets = new Map([['root', restartsMax]]);
        const tree = [root];
        for (const [index, each] of supervisors.entries()) {
          const name = `s${index}`;
          budgets.set(name, each.restartsMax);
          tree.push(
            tree[each.under % tree.length]!.startSupervisor({
              name,
              tenant: acme,
              strategy: each.strategy,
              intensity: { restartsMax: each.restartsMax, windowMs },
            }),
          );
        }
        const fate = new Map<number, string[]>();
        const refused = new Set<number>();
        const tell = (id: number, what: string): void => void fate.get(id)!.push(what);
        const refs = children.map((each, index) => {
          const name = `c${index}`;
          const parent = tree[each.under % tree.length]!;
          if (each.exhausted === 'giveUp') {
            ownBudget.add(name);
            budgets.set(name, budgets.get(parent.name)!);
          }
          let order = -1;
          const { under: _under, ...policy } = each;
          return parent.startChild<{ id: number; times: number; failed: number }>(
            childPolicy('thing', {
              ...policy,
              backoff: { firstMs: 20, mostMs: 200, stableMs: 500 },
            }),
            {
              name,
              tenant: acme,
              start: () => (message) => {
                expect(message.id).toBeGreaterThanOrEqual(order);
                order = message.id;
                if (message.failed < message.times) {
                  message.failed += 1;
                  refused.add(message.id);
                  throw new Error('fails');
                }
                tell(message.id, 'handled');
                return 'continue';
              },
              undelivered: ({ id }) => tell(id, 'undelivered'),
            },
          );
        });
        for (const [id, each] of happenings.entries()) {
          switch (each.what) {
            case 'tell': {
              const ref = refs[each.child % refs.length]!;
              fate.set(id, []);
              if (ref.tell({ id, times: each.times, failed: 0 }) !== 'ok') tell(id, 'not taken');
              break;
            }
            case 'stop':
              refs[each.child % refs.length]!.stop();
              break;
            case 'wait':
              clock.advance(each.ms);
              break;
            case 'steps':
              dispatcher.runUntilIdle(each.count);
              break;
          }
        }
        for (let round = 0; round < 40; round += 1) {
          dispatcher.runUntilIdle(10_000);
          clock.advance(500);
        }
        for (const { state, mailboxDepth } of [...root.infos()].slice(1))
          expect([state, mailboxDepth]).toEqual(['running', 0]);
        // A restart is taken out of the budget when its child fails, and comes after a pause of 200 ms at most. Supervisors begin anew with a full one.
        for (const name of ownBudget) {
          const times = restarts.filter((each) => each.parent === name).map(({ atMs }) => atMs);
          const most = budgets.get(name)!;
          for (const [index, atMs] of times.entries())
            if (index >= most)
              expect(atMs - times[index - most]!).toBeGreaterThanOrEqual(windowMs - 200);
        }
        let stopped = false;
        root.stop(() => (stopped = true));
        dispatcher.runUntilIdle(10_000);
        clock.advance(20_000);
        dispatcher.runUntilIdle(10_000);
        expect([stopped, dispatcher.actorCount, clock.timerCount]).toEqual([true, 0, 0]);
        for (const [id, told] of fate) {
          if (told.length === 1) continue;
          expect([id, told, refused.has(id)]).toEqual([id, [], true]);
        }
      },
    ),
    { numRuns: 400 },
  );
});

test('a supervised idle actor holds little more than an actor', () => {
  const { root, settle } = tree();
  const policy = childPolicy('table');
  const start = (): ActorSpec<never>['start'] => () => () => 'continue';
  const shared = start();
  const many = 20_000;
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  for (let index = 0; index < many; index += 1)
    root.startChild(policy, { name: 'table', tenant: acme, start: shared });
  settle();
  globalThis.gc?.();
  const bytes = (process.memoryUsage().heapUsed - before) / many;
  if (globalThis.gc !== undefined) expect(bytes).toBeLessThan(450);
});
