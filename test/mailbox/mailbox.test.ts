import fc from 'fast-check';
import { expect, test } from 'vitest';
import { mailboxLimits } from '../../src/mailbox/lane.ts';
import type { LaneIndex, MailboxLimits } from '../../src/mailbox/lane.ts';
import { Mailbox, NOTHING } from '../../src/mailbox/mailbox.ts';

type Item = { readonly id: number; readonly bytes: number; readonly key: number | undefined };

/** The obvious mailbox: four plain arrays, and the weights spelled out. */
class ModelMailbox {
  lanes: Item[][] = [[], [], [], []];
  credits = [0, 8, 4, 1];
  readonly limits: MailboxLimits<Item>;

  constructor(limits: MailboxLimits<Item>) {
    this.limits = limits;
  }

  push(lane: number, item: Item): string {
    const { messages, bytes, overflow } = this.limits.lanes[lane]!;
    const queue = this.lanes[lane]!;
    if (overflow.kind === 'coalesce' && item.key !== undefined) {
      const index = queue.findIndex((other) => other.key === item.key);
      if (index >= 0) {
        queue[index] = item;
        return 'coalesced';
      }
    }
    const held = queue.reduce((sum, other) => sum + other.bytes, 0);
    if (queue.length > 0 && (queue.length >= messages || held + item.bytes > bytes)) return 'full';
    queue.push(item);
    return 'ok';
  }

  take(): Item | undefined {
    if (this.lanes[0]!.length > 0) return this.lanes[0]!.shift();
    for (let round = 0; round < 2; round += 1) {
      for (const lane of [1, 2, 3]) {
        if (this.credits[lane]! > 0 && this.lanes[lane]!.length > 0) {
          this.credits[lane]! -= 1;
          return this.lanes[lane]!.shift();
        }
      }
      if (this.lanes.every((queue) => queue.length === 0)) return undefined;
      this.credits = [0, 8, 4, 1];
    }
    throw new Error('somebody had credit');
  }
}

const limits = mailboxLimits<Item>(
  {
    control: { messages: 40, bytes: 100_000 },
    command: {
      messages: 20,
      bytes: 2_000,
      overflow: { kind: 'coalesce', keyOf: (item) => item.key },
    },
    bulk: { messages: 7, bytes: 500 },
  },
  (item) => item.bytes,
);

test('a mailbox takes, bounds, coalesces and weighs as four plain lists do', () => {
  const step = fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({
        lane: fc.constantFrom<LaneIndex[]>(0, 1, 2, 3),
        bytes: fc.integer({ min: 0, max: 300 }),
        key: fc.option(fc.integer({ min: 0, max: 5 }), { nil: undefined }),
      }),
    },
    { weight: 2, arbitrary: fc.constant('take' as const) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const mailbox = new Mailbox();
      const model = new ModelMailbox(limits);
      for (const [id, each] of steps.entries()) {
        if (each === 'take') {
          const taken = mailbox.take(limits as MailboxLimits<never>);
          expect(taken === NOTHING ? undefined : taken).toEqual(model.take());
        } else {
          const item = { id, bytes: each.bytes, key: each.key };
          expect(mailbox.push(each.lane, item, limits as MailboxLimits<never>)).toBe(
            model.push(each.lane, item),
          );
        }
        for (const lane of [0, 1, 2, 3] as const) {
          expect(mailbox.countOf(lane)).toBe(model.lanes[lane]!.length);
          expect(mailbox.bytesOf(lane)).toBe(
            model.lanes[lane]!.reduce((sum, item) => sum + item.bytes, 0),
          );
        }
      }
    }),
  );
});

test('a ring that grew while it wrapped around keeps its order', () => {
  const mailbox = new Mailbox();
  const wide = mailboxLimits<number>({
    command: { messages: 16_384, bytes: 1e9 },
  }) as MailboxLimits<never>;
  let pushed = 0;
  let taken = 0;
  for (let round = 1; round < 200; round += 1) {
    for (let count = 0; count < round; count += 1) mailbox.push(2, (pushed += 1), wide);
    for (let count = 0; count < round / 2; count += 1)
      expect(mailbox.take(wide)).toBe((taken += 1));
  }
  while (mailbox.count > 0) expect(mailbox.take(wide)).toBe((taken += 1));
  expect(taken).toBe(pushed);
});

test('a message that is taken again comes before its lane and after control', () => {
  const mailbox = new Mailbox();
  const plain = mailboxLimits<string>() as MailboxLimits<never>;
  mailbox.push(2, 'long', plain);
  mailbox.push(2, 'next', plain);
  expect(mailbox.take(plain)).toBe('long');
  mailbox.putBack(2, 'long');
  mailbox.push(1, 'cancel', plain);
  expect([mailbox.take(plain), mailbox.take(plain), mailbox.take(plain)]).toEqual([
    'cancel',
    'long',
    'next',
  ]);
});
