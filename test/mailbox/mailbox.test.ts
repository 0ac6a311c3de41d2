import fc from 'fast-check';
import { expect, test } from 'vitest';
import { mailboxLimits } from '../../src/mailbox/lane.ts';
import type { LaneIndex, MailboxLimits, ParkedOffer } from '../../src/mailbox/lane.ts';
import { Mailbox, NOTHING } from '../../src/mailbox/mailbox.ts';

type Item = {
  readonly id: number;
  readonly bytes: number;
  readonly key: number | undefined;
  readonly isForced?: boolean;
};

/** What is forced came without regard to what waits: nothing takes its place. */
function replaceable(waiting: Item, key: unknown): boolean {
  return waiting.key === key && waiting.isForced !== true;
}

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
      const index = queue.findIndex((other) => replaceable(other, item.key));
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

test('offers wait in their order, bounded by messages and bytes, and one that is withdrawn holds up nobody', () => {
  const bounds = mailboxLimits<Item>(
    {
      control: { messages: 3, bytes: 400 },
      command: {
        messages: 4,
        bytes: 600,
        overflow: { kind: 'coalesce', keyOf: (item) => item.key },
      },
    },
    (item) => item.bytes,
  );
  const own = bounds as MailboxLimits<never>;
  const lane = fc.constantFrom<LaneIndex[]>(1, 2, 3);
  const item = fc.record({
    lane,
    bytes: fc.integer({ min: 0, max: 300 }),
    key: fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined }),
  });
  const step = fc.oneof(
    fc.record({ what: fc.constantFrom('offer', 'offer', 'offer', 'push', 'force'), item }),
    fc.record({ what: fc.constantFrom('take', 'take', 'take', 'again', 'end') }),
    fc.record({ what: fc.constant('withdraw'), lane, which: fc.nat(4) }),
  );
  type Waiting = { readonly item: Item; readonly offer: ParkedOffer };
  fc.assert(
    fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
      const mailbox = new Mailbox();
      const model = new ModelMailbox(bounds);
      const waiting: Waiting[][] = [[], [], [], []];
      const again: (Item | undefined)[] = [];
      let last: { readonly lane: LaneIndex; readonly item: Item } | undefined;
      const told: string[] = [];
      const expected: string[] = [];
      const admit = (at: LaneIndex): void => {
        for (let next = waiting[at]![0]; next !== undefined; next = waiting[at]![0]) {
          if (model.push(at, next.item) === 'full') return;
          waiting[at]!.shift();
          expected.push(`${next.item.id} ok`);
        }
      };
      for (const [id, each] of steps.entries()) {
        if ('item' in each) {
          const { lane: at, bytes, key } = each.item;
          const given: Item = { id, bytes, key, isForced: each.what === 'force' };
          if (each.what === 'force') {
            mailbox.pushForced(at, given, own);
            model.lanes[at]!.push(given);
            continue;
          }
          const { overflow } = bounds.lanes[at]!;
          const replaces =
            overflow.kind === 'coalesce' &&
            key !== undefined &&
            model.lanes[at]!.some((other) => replaceable(other, key));
          const comesLater = waiting[at]!.length > 0 && !replaces;
          const outcome = comesLater ? 'full' : model.push(at, given);
          expect(mailbox.push(at, given, own)).toBe(outcome);
          if (outcome !== 'full' || each.what === 'push') continue;
          const offer: ParkedOffer = {
            message: given,
            bytes,
            settle: (how) => void told.push(`${id} ${how}`),
          };
          expect(mailbox.park(at, offer)).toBe(true);
          waiting[at]!.push({ item: given, offer });
        } else if ('lane' in each) {
          const [gone] = waiting[each.lane]!.splice(each.which, 1);
          if (gone !== undefined) mailbox.withdraw(each.lane, gone.offer);
        } else if (each.what === 'again') {
          if (last !== undefined && again[last.lane] === undefined) {
            mailbox.putBack(last.lane, last.item);
            again[last.lane] = last.item;
          }
          last = undefined;
        } else if (each.what === 'end') {
          mailbox.refuseParked();
          for (const each of waiting.flatMap((all) => all.splice(0)))
            expected.push(`${each.item.id} dead`);
        } else {
          const taken = mailbox.take(own);
          if (taken === NOTHING) {
            expect([...model.lanes.flat(), ...again.filter(Boolean)]).toEqual([]);
            continue;
          }
          const at = mailbox.takenLane;
          const first = again[at] ?? model.lanes[at]!.shift();
          expect(taken).toBe(first);
          if (again[at] === undefined) admit(at);
          again[at] = undefined;
          last = { lane: at, item: first! };
        }
        expect(told).toEqual(expected);
        let count = 0;
        for (const at of [1, 2, 3] as const) {
          const queue = model.lanes[at]!;
          const extra = again[at] === undefined ? 0 : 1;
          expect(mailbox.countOf(at)).toBe(queue.length + extra);
          expect(mailbox.bytesOf(at)).toBe(queue.reduce((sum, { bytes }) => sum + bytes, 0));
          expect(mailbox.parkedOf(at)).toBe(waiting[at]!.length);
          count += queue.length + extra;
        }
        expect(mailbox.count).toBe(count);
      }
    }),
    { numRuns: 500 },
  );
});
