/** The checker of list histories finds each anomaly that has a name, and nothing in a history that was serial. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { checkListAppends, type ListOperation } from '../../src/sim/list-append.ts';

let count = 0;
function operation(
  steps: ListOperation['steps'],
  [beganMs, endedMs]: readonly [number, number] = [0, 100],
  outcome: ListOperation['outcome'] = 'done',
): ListOperation {
  return { who: `t${(count += 1)}`, beganMs, endedMs, outcome, steps };
}
const append = (key: number, value: number) => ({ kind: 'append', key, value }) as const;
const read = (key: number, ...values: number[]) => ({ kind: 'read', key, values }) as const;
const lists = (...entries: (readonly [number, readonly number[]])[]) => new Map(entries);

test('a serial history, with transactions that overlap in time, is in order', () => {
  const step = fc.record({ key: fc.nat(2), reads: fc.boolean() });
  fc.assert(
    fc.property(
      fc.array(fc.array(step, { minLength: 1, maxLength: 4 }), { maxLength: 12 }),
      (plan) => {
        const final = new Map<number, number[]>();
        let value = 0;
        const operations = plan.map((steps, index) =>
          operation(
            steps.map(({ key, reads }) => {
              const list = final.get(key) ?? [];
              if (reads) return read(key, ...list);
              value += 1;
              final.set(key, [...list, value]);
              return append(key, value);
            }),
            // Each begins before the one before it has ended.
            [index * 10, index * 10 + 15],
          ),
        );
        expect(checkListAppends(operations, final)).toBeUndefined();
      },
    ),
  );
});

test('lost, doubled, dirty and out of thin air', () => {
  expect(checkListAppends([operation([append(1, 5)])], lists())).toMatch(/5 is not in list 1/);
  expect(checkListAppends([operation([append(1, 5)])], lists([1, [5, 5]]))).toMatch(/twice/);
  expect(checkListAppends([], lists([1, [7]]))).toMatch(/by nobody/);
  const refused = operation([append(1, 5)], [0, 1], 'refused');
  expect(checkListAppends([refused], lists([1, [5]]))).toMatch(/was refused/);
  const unknown = operation([append(1, 5)], [0, 1], 'unknown');
  expect(checkListAppends([unknown], lists([1, [5]]))).toBeUndefined();
  expect(checkListAppends([unknown], lists())).toBeUndefined();
});

test('cycles: write skew, a lost update, a read that goes back in real time', () => {
  const skew = [operation([read(1), append(2, 20)]), operation([read(2), append(1, 10)])];
  expect(checkListAppends(skew, lists([1, [10]], [2, [20]]))).toMatch(/no order/);
  const lost = [operation([read(1), append(1, 1)]), operation([read(1), append(1, 2)])];
  expect(checkListAppends(lost, lists([1, [1, 2]]))).toMatch(/no order/);
  const stale = [operation([append(1, 1)], [0, 10]), operation([read(1)], [20, 30])];
  expect(checkListAppends(stale, lists([1, [1]]))).toMatch(/no order/);
  const forked = [operation([append(1, 1)]), operation([append(1, 2)]), operation([read(1, 2)])];
  expect(checkListAppends(forked, lists([1, [1, 2]]))).toMatch(/which in the end is/);
});
