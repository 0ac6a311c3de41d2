import { expect, test } from 'vitest';
import { EventHub } from '../../src/actors/event-hub.ts';

const event = { queryId: 'q', text: 'SELECT 1', elapsedMs: 1, work: 1 };

test('a listener that throws, or whose promise is rejected, is told to who asks for it, and others hear', async () => {
  const hub = new EventHub();
  const heard: unknown[] = [];
  hub.on('query.slow', () => {
    throw new Error('thrown');
  });
  hub.on('query.slow', async () => Promise.reject(new Error('rejected')));
  hub.on('query.slow', ({ queryId }) => heard.push(queryId));
  hub.on('listener.failed', ({ event: of, cause }) => heard.push([of, (cause as Error).message]));
  hub.emit('query.slow', event);
  await new Promise((resolve) => setImmediate(resolve));
  expect(heard).toEqual([['query.slow', 'thrown'], 'q', ['query.slow', 'rejected']]);
});

test('where nobody asks, it is an error that nobody has caught, and whoever emits goes on', async () => {
  const hub = new EventHub();
  const unhandled: unknown[] = [];
  const others = process.listeners('unhandledRejection');
  process.removeAllListeners('unhandledRejection');
  process.on('unhandledRejection', (cause) => unhandled.push((cause as Error).message));
  try {
    hub.on('query.slow', () => {
      throw new Error('thrown');
    });
    hub.emit('query.slow', event);
    // One that hears of failures and fails is not told of itself.
    hub.on('listener.failed', () => {
      throw new Error('again');
    });
    hub.emit('query.slow', event);
    await new Promise((resolve) => setImmediate(resolve));
  } finally {
    process.removeAllListeners('unhandledRejection');
    for (const each of others) process.on('unhandledRejection', each);
  }
  expect(unhandled).toEqual(['thrown', 'again']);
});
