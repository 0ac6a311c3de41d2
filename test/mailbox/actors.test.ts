import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DbError } from '../../src/base/errors.ts';
import type { ActorRef, Receive, ReplyTo, Told } from '../../src/mailbox/actor.ts';
import { mailboxLimits } from '../../src/mailbox/lane.ts';
import type { Lane } from '../../src/mailbox/lane.ts';
import { acme, world } from './world.ts';

function collector<Message>(into: Message[]): () => Receive<Message> {
  return () => (message) => {
    into.push(message);
    return 'continue';
  };
}

test('messages of one sender arrive in order in each lane, and each message arrives once', () => {
  const send = fc.record({
    sender: fc.integer({ min: 0, max: 3 }),
    lane: fc.constantFrom<Lane[]>('system', 'control', 'command', 'bulk'),
    steps: fc.integer({ min: 0, max: 2 }),
  });
  fc.assert(
    fc.property(fc.array(send, { maxLength: 200 }), (sends) => {
      const { dispatcher } = world();
      const got: { sender: number; lane: Lane; sequence: number }[] = [];
      const ref = dispatcher.spawn({ name: 'sink', tenant: acme, start: collector(got) });
      const sent: typeof got = [];
      for (const [sequence, { sender, lane, steps }] of sends.entries()) {
        const message = { sender, lane, sequence };
        if (ref.tell(message, lane) === 'ok') sent.push(message);
        dispatcher.runUntilIdle(steps);
      }
      dispatcher.runUntilIdle();
      const streamOf = (all: typeof got): unknown =>
        all.toSorted((left, right) =>
          `${left.sender}${left.lane}`.localeCompare(`${right.sender}${right.lane}`),
        );
      expect(streamOf(got)).toEqual(streamOf(sent));
      expect(dispatcher.count('messages')).toBe(sent.length);
    }),
  );
});

test('what waits when an actor ends is told to whoever made it, also where the actor has never started', () => {
  const { dispatcher } = world();
  for (const steps of [0, 1, 2]) {
    const undelivered: string[] = [];
    const ref = dispatcher.spawn<string>({
      name: 'short',
      tenant: acme,
      start: () => (message) => (message === 'a' ? 'again' : 'continue'),
      undelivered: (message) => void undelivered.push(message),
    });
    for (const message of ['a', 'b', 'c']) ref.tell(message);
    dispatcher.runUntilIdle(steps);
    ref.stop();
    dispatcher.runUntilIdle();
    expect(undelivered).toEqual(['a', 'b', 'c']);
    expect(ref.tell('d')).toBe('dead');
  }
});

test('a full lane refuses, an offer waits for credit, and a later tell does not overtake it', async () => {
  const { dispatcher } = world();
  const got: string[] = [];
  const ref = dispatcher.spawn({
    name: 'slow',
    tenant: acme,
    mailbox: mailboxLimits<string>({ command: { messages: 2 } }),
    start: collector(got),
  });
  expect([ref.tell('a'), ref.tell('b'), ref.tell('c')]).toEqual(['ok', 'ok', 'full']);
  const offered = ref.offer('d');
  expect(ref.tell('e')).toBe('full');
  dispatcher.runUntilIdle();
  expect(await offered).toBe('ok');
  expect(got).toEqual(['a', 'b', 'd']);
  expect(dispatcher.count('rejected')).toBe(2);
});

test('an offer whose signal aborts is withdrawn', async () => {
  const { dispatcher } = world();
  const got: string[] = [];
  const ref = dispatcher.spawn({
    name: 'slow',
    tenant: acme,
    mailbox: mailboxLimits<string>({ command: { messages: 1 } }),
    start: collector(got),
  });
  ref.tell('a');
  const abort = new AbortController();
  const offered = ref.offer('never', 'command', abort.signal);
  abort.abort('enough');
  await expect(offered).rejects.toMatchObject({
    code: '57014',
    name: 'AbortError',
    cause: 'enough',
  });
  dispatcher.runUntilIdle();
  expect(got).toEqual(['a']);
});

test('a lane that drops its oldest says so in counters and dead letters', () => {
  const { dispatcher } = world();
  const got: number[] = [];
  const ref = dispatcher.spawn({
    name: 'metrics',
    tenant: acme,
    mailbox: mailboxLimits<number>({ bulk: { messages: 3, overflow: { kind: 'dropOldest' } } }),
    start: collector(got),
  });
  for (let index = 0; index < 10; index += 1) expect(ref.tell(index, 'bulk')).toBe('ok');
  dispatcher.runUntilIdle();
  expect(got).toEqual([7, 8, 9]);
  expect(dispatcher.count('dropped')).toBe(7);
  expect(dispatcher.deadLetters.count('dropped')).toBe(7);
});

test('long work says again, keeps its place, and a control message overtakes it', () => {
  const { dispatcher } = world();
  const log: string[] = [];
  let left = 3;
  const ref: ActorRef<string> = dispatcher.spawn<string>({
    name: 'query',
    tenant: acme,
    start: () => (message) => {
      log.push(message);
      if (message !== 'work') return 'continue';
      left -= 1;
      return left === 0 ? 'continue' : 'again';
    },
  });
  ref.tell('work');
  ref.tell('after');
  dispatcher.runOne();
  ref.tell('cancel', 'control');
  dispatcher.runUntilIdle();
  expect(log).toEqual(['work', 'cancel', 'work', 'work', 'after']);
});

test('a step ends when its work is spent, and somebody else runs', () => {
  const { dispatcher } = world();
  dispatcher.stepBudgetUnits = 100;
  const log: string[] = [];
  const spawn = (name: string): ActorRef<number> =>
    dispatcher.spawn<number>({
      name,
      tenant: acme,
      start: () => (message, context) => {
        log.push(`${name}${message}`);
        context.charge(60);
        return 'continue';
      },
    });
  const [left, right] = [spawn('a'), spawn('b')];
  for (let index = 0; index < 4; index += 1) {
    left.tell(index);
    right.tell(index);
  }
  dispatcher.runUntilIdle();
  expect(log).toEqual(['a0', 'a1', 'b0', 'b1', 'a2', 'a3', 'b2', 'b3']);
  expect(dispatcher.count('workUnits')).toBe(480);
});

test('an ask is answered, times out, or learns that its actor ended', async () => {
  const { dispatcher, clock } = world();
  type Ask = { readonly say: string; readonly replyTo: ReplyTo<string> };
  const ref = dispatcher.spawn<Ask>({
    name: 'echo',
    tenant: acme,
    start: () => (message) => {
      if (message.say === 'quit') return 'stop';
      if (message.say !== 'nothing') message.replyTo.reply(message.say.toUpperCase());
      return 'continue';
    },
  });
  const ask = (say: string): Promise<string> =>
    ref.ask<string>((replyTo) => ({ say, replyTo }), { timeoutMs: 500 });
  const answered = ask('hello');
  dispatcher.runUntilIdle();
  expect(await answered).toBe('HELLO');
  const silent = ask('nothing');
  dispatcher.runUntilIdle();
  clock.advance(500);
  await expect(silent).rejects.toMatchObject({ code: '57014' });
  const [first, second] = [ask('quit'), ask('late')];
  dispatcher.runUntilIdle();
  await expect(first).rejects.toMatchObject({ code: 'ADB_ACTOR_GONE' });
  await expect(second).rejects.toBeInstanceOf(DbError);
  await expect(ask('more')).rejects.toMatchObject({ code: 'ADB_ACTOR_GONE' });
  expect(clock.timerCount).toBe(0);
  expect(dispatcher.count('askTimeouts')).toBe(1);
});

test('who asked with the message that an actor failed on is told the cause', async () => {
  const { dispatcher, failures } = world();
  const ref = dispatcher.spawn<{ replyTo: ReplyTo<void> }>({
    name: 'broken',
    tenant: acme,
    start: () => () => {
      throw new Error('disk on fire');
    },
  });
  const asked = ref.ask<void>((replyTo) => ({ replyTo }), { timeoutMs: 500 });
  dispatcher.runUntilIdle();
  await expect(asked).rejects.toMatchObject({ code: 'XX000', detail: 'disk on fire' });
  expect(ref.alive).toBe(false);
  expect(failures).toHaveLength(1);
});

test('an ended actor leaves no timer, no promise and no message behind', async () => {
  const { dispatcher, clock } = world();
  const closed: string[] = [];
  const ref = dispatcher.spawn<string>({
    name: 'tidy',
    tenant: acme,
    mailbox: mailboxLimits<string>({ command: { messages: 1 } }),
    start: (context) => {
      context.after(60_000, 'never');
      return {
        receive: () => 'stop',
        stopped: (why) => void closed.push(why.kind),
      };
    },
  });
  ref.tell('end', 'control');
  ref.tell('waits');
  const offered = ref.offer('waits, too');
  dispatcher.runUntilIdle();
  expect(await offered).toBe('dead');
  expect(closed).toEqual(['finished']);
  expect(clock.timerCount).toBe(0);
  expect(dispatcher.actorCount).toBe(0);
  expect(dispatcher.deadLetters.count('ended')).toBe(1);
  expect(ref.tell('x')).toBe('dead');
  expect(dispatcher.deadLetters.newest().map((letter) => letter.reason)).toEqual(['ended', 'dead']);
});

test('timers, outcomes of promises and watched ends come as messages, even past a full mailbox', async () => {
  const { dispatcher, clock } = world();
  const got: string[] = [];
  const other = dispatcher.spawn<string>({
    name: 'other',
    tenant: acme,
    start: () => () => 'stop',
  });
  const ref = dispatcher.spawn<string>({
    name: 'waits',
    tenant: acme,
    mailbox: mailboxLimits<string>({ control: { messages: 1 } }),
    start: (context) => {
      context.after(10, 'timer');
      context.pipe(Promise.resolve(7), (outcome) => `promise ${JSON.stringify(outcome)}`);
      context.pipe(Promise.reject(new Error('no')), (outcome) => `promise ${outcome.kind}`);
      context.watch(other, 'other ended');
      return collector(got)();
    },
  });
  dispatcher.runUntilIdle();
  expect(ref.tell('control', 'control')).toBe('ok');
  expect(ref.tell('control', 'control')).toBe('full');
  await Promise.resolve();
  clock.advance(10);
  other.tell('end');
  dispatcher.runUntilIdle();
  expect(got).toEqual([
    'control',
    'promise {"kind":"ok","value":7}',
    'promise failed',
    'timer',
    'other ended',
  ]);
});

test('an actor that asked for time to stop refuses commands and ends when it says so', () => {
  const { dispatcher } = world();
  const got: string[] = [];
  const ref = dispatcher.spawn<string>({
    name: 'journal',
    tenant: acme,
    start: () => ({
      receive: (message) => {
        got.push(message);
        return message === 'durable' ? 'stop' : 'continue';
      },
      stopping: () => 'continue',
      stopped: (why) => void got.push(why.kind),
    }),
  });
  dispatcher.runUntilIdle();
  ref.stop();
  dispatcher.runUntilIdle();
  expect(ref.tell('row')).toBe('dead');
  expect(ref.tell('durable', 'control')).toBe('ok');
  dispatcher.runUntilIdle();
  expect(got).toEqual(['durable', 'stopped']);
});

test('the same sends in the same order lead to the same steps', () => {
  const run = (): string => {
    const { dispatcher } = world();
    const trace: string[] = [];
    const refs: ActorRef<number>[] = [];
    for (let index = 0; index < 20; index += 1) {
      refs.push(
        dispatcher.spawn<number>({
          name: `a${index}`,
          tenant: acme,
          start: () => (hops, context) => {
            trace.push(`${index}:${hops}`);
            context.charge(hops);
            const told: Told = hops > 0 ? refs[(index * 7 + hops) % 20]!.tell(hops - 1) : 'ok';
            return told === 'ok' ? 'continue' : 'stop';
          },
        }),
      );
    }
    for (const ref of refs) ref.tell(50);
    dispatcher.runUntilIdle();
    return trace.join(' ');
  };
  expect(run()).toBe(run());
});
