import { DbError } from '../base/errors.ts';
import type { Clock } from '../base/ports.ts';
import type { Change, Subscription } from '../actors/api-types.ts';
import { jsonValue } from '../actors/rows-out.ts';
import { problemOf } from './problem.ts';

/**
 * Server-sent events of one dashboard: any number of subscriptions over one connection. Grammar: for each item `hello`,
 * then `snapshot`s and `delta`s, `progress` as heartbeat, `reset` before a new snapshot; last `error` or `bye`. Each
 * event is `{ item, position, … }`; `id:` is the position, by which a browser resumes (`Last-Event-ID`).
 *
 * A slow reader is not sent more than fits its socket: the subscriptions are pulled only when it drains, and merge
 * meanwhile.
 */
export type LiveItem = {
  readonly name: string;
  readonly open: (from: 'snapshot' | number, signal: AbortSignal) => Subscription;
};

export type EventSink = {
  /** False: the socket is full; `drained` tells when it is not. */
  write(text: string): boolean;
  drained(): Promise<void>;
  readonly closed: boolean;
  end(): void;
};

/** Snapshots and deltas go in pieces of at most this many rows an event. */
const ROWS_PER_EVENT_MAX = 2000;

export async function serveLive(
  items: readonly LiveItem[],
  sink: EventSink,
  options: {
    readonly lastEventId: number | undefined;
    readonly clock: Clock;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const subscriptions: Subscription[] = [];
  // The line that keeps proxies from closing an idle stream, and tells browsers when to come again.
  sink.write('retry: 1000\n\n');
  try {
    await Promise.all(
      items.map(async ({ name, open }) => {
        const subscription = open(options.lastEventId ?? 'snapshot', options.signal);
        subscriptions.push(subscription);
        const [columns, key] = await Promise.all([subscription.columns, subscription.key]);
        await send(sink, 'hello', { protocol: 1, item: name, columns, key }, undefined);
        for await (const change of subscription) {
          if (sink.closed) return;
          for (const piece of piecesOf(change))
            await send(
              sink,
              piece.kind,
              { item: name, ...piece, sentMs: options.clock.now() },
              piece.position,
            );
        }
      }),
    );
    if (!sink.closed) await send(sink, 'bye', { reason: 'the views are gone' }, undefined);
  } catch (cause) {
    if (!sink.closed) await send(sink, 'error', problemOf(cause).body, undefined);
  } finally {
    await Promise.all(subscriptions.map((subscription) => subscription.close()));
    sink.end();
  }
}

/** Cuts what is larger than an event; all pieces of a delta but the last one say `more`. */
function piecesOf(change: Change): readonly Change[] {
  if (change.kind === 'snapshot' && change.rows.length > ROWS_PER_EVENT_MAX) {
    const pieces: Change[] = [];
    for (let start = 0; start < change.rows.length; start += ROWS_PER_EVENT_MAX) {
      const end = start + ROWS_PER_EVENT_MAX;
      pieces.push({
        ...change,
        rows: change.rows.slice(start, end),
        more: change.more || end < change.rows.length,
      });
    }
    return pieces;
  }
  return [change];
}

async function send(
  sink: EventSink,
  event: string,
  data: unknown,
  id: number | undefined,
): Promise<void> {
  if (sink.closed) return;
  const text = `event: ${event}\n${id === undefined ? '' : `id: ${id}\n`}data: ${JSON.stringify(data, (_, value: unknown) => jsonValue(value))}\n\n`;
  if (!sink.write(text)) await sink.drained();
}

/** The position in a `Last-Event-ID` header; undefined where there is none. */
export function lastEventId(header: string | undefined): number | undefined {
  if (header === undefined || header === '') return undefined;
  const position = Number(header);
  if (Number.isSafeInteger(position) && position >= 0) return position;
  throw new DbError('22023', `"${header}" is not a position`, {
    field: 'Last-Event-ID',
    hint: 'Send the id of the last event, or leave the header out.',
  });
}
