import { expect, test } from 'vitest';
import { Turns } from '../../src/server/turns.ts';
import { NodeClock } from '../../src/base/node-ports.ts';

class StoppedClock extends NodeClock {
  readonly #callbacks: (() => void)[] = [];
  ms = 0;

  override monotonicMs(): number {
    return this.ms;
  }

  override afterIo(callback: () => void): void {
    this.#callbacks.push(callback);
  }

  /** A look at I/O: what was asked for until now is called. */
  async io(): Promise<number> {
    const callbacks = this.#callbacks.splice(0);
    for (const callback of callbacks) callback();
    await new Promise((resolve) => setImmediate(resolve));
    return callbacks.length;
  }
}

test('what fits in a millisecond goes at once, all others one after each look at I/O, in the order they came', async () => {
  const clock = new StoppedClock();
  const turns = new Turns(clock);
  const had: number[] = [];
  const takes = async (who: number): Promise<void> => {
    await turns.take();
    had.push(who);
    clock.ms += 0.3;
  };
  const all: Promise<void>[] = [];
  for (let who = 0; who < 10; who += 1) {
    all.push(takes(who));
    await Promise.resolve();
    await Promise.resolve();
  }
  expect(had).toEqual([0, 1, 2, 3]);
  for (let who = 4; who < 10; who += 1) {
    expect(await clock.io()).toBe(1);
    expect(had.at(-1)).toBe(who);
    expect(had).toHaveLength(who + 1);
    // Who comes back waits behind the others.
    if (who === 4) all.push(takes(10));
  }
  await clock.io();
  await Promise.all(all);
  expect(had).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  // Nobody waits: nothing is looked at again and again.
  expect(await clock.io()).toBe(1);
  expect(await clock.io()).toBe(0);
  expect(turns.take()).toBeUndefined();
});
