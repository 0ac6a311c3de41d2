import { DbError } from '../base/errors.ts';
import type { Clock, TimerHandle } from '../base/ports.ts';
import type { Change, Subscription } from './api-types.ts';
import { canceled } from './deadline.ts';
import { closedError } from './engine.ts';
import type { ResultColumn } from './rows-out.ts';
import type { SubscriptionHub } from './subscriptions.ts';
import type { WindowResultRow, WindowRun } from './window-query.ts';

/** What a subscription to windows needs of its surroundings. */
export type WindowFeed = {
  readonly clock: Clock;
  readonly hub: SubscriptionHub;
  /** Runs the query now, or as of an earlier position. */
  run(asOf: number | undefined): Promise<WindowRun>;
  readonly from: 'snapshot' | 'now' | number;
  /** Milliseconds between two answers at least; undefined: as the windows' length has it. */
  readonly refreshMs: number | undefined;
  readonly heartbeatMs: number;
  readonly signal: AbortSignal | undefined;
  readonly done: () => void;
  /** The newest position and its instant. */
  newest(): { readonly position: number; readonly asOf: string };
  readonly isClosed: () => boolean;
};

/**
 * A window query that is followed: told anew when a row of what it reads has changed, and when now passes a boundary (midnight
 * in its zone, the end of an hour), though no row did. It holds no queue: what has changed meanwhile is one difference.
 */
export class WindowSubscription implements Subscription<WindowResultRow> {
  readonly columns: Promise<readonly ResultColumn[]>;
  readonly key: Promise<readonly string[]> = Promise.resolve(['start', 'label', 'by']);
  readonly #feed: WindowFeed;
  /** Rows as they were told last, by what identifies them. */
  #told: Map<string, WindowResultRow> | undefined;
  #position = 0;
  #nextChangeMs: number | undefined;
  #refreshMs = 0;
  #ranAtMs = -Infinity;
  #relations: readonly number[] = [];
  readonly #feeds = new Map<number, ReturnType<SubscriptionHub['join']>>();
  #isDirty = false;
  #wake = (): void => undefined;
  #isOver = false;
  #pulling: Promise<unknown> = Promise.resolve();

  constructor(feed: WindowFeed) {
    this.#feed = feed;
    this.columns = Promise.resolve([]);
    feed.signal?.addEventListener('abort', this.#aborted, { once: true });
  }

  [Symbol.asyncIterator](): AsyncIterator<Change<WindowResultRow>> {
    return {
      next: () => {
        const pulled = this.#pulling.then(() => this.#next());
        this.#pulling = pulled.catch(() => undefined);
        return pulled;
      },
      return: async () => {
        await this.close();
        return { done: true, value: undefined };
      },
    };
  }

  unchanged(from: number, to: number): boolean {
    return from === to;
  }

  async close(): Promise<void> {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#feed.signal?.removeEventListener('abort', this.#aborted);
    for (const [relation, feed] of this.#feeds) {
      feed.forget(this.#changed);
      this.#feed.hub.leave(relation, feed);
    }
    this.#feeds.clear();
    this.#feed.done();
    this.#wake();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #next(): Promise<IteratorResult<Change<WindowResultRow>>> {
    if (this.#isOver) return this.#end();
    try {
      const change = this.#told === undefined ? await this.#first() : await this.#following();
      return change === undefined ? this.#end() : { done: false, value: change };
    } catch (cause) {
      await this.close();
      throw cause;
    }
  }

  #end(): IteratorResult<Change<WindowResultRow>> {
    const { signal, isClosed } = this.#feed;
    if (signal?.aborted === true) throw canceled(signal);
    if (isClosed()) throw closedError();
    return { done: true, value: undefined };
  }

  /** Where the reader is: at the beginning, here and now, or at a position it has seen. */
  async #first(): Promise<Change<WindowResultRow> | undefined> {
    const { from } = this.#feed;
    if (typeof from === 'number' && !this.#resets) {
      try {
        await this.#run(from);
        // What has come since is told next.
        this.#isDirty = true;
        this.#ranAtMs = -Infinity;
        return await this.#following();
      } catch (cause) {
        if (!(cause instanceof DbError) || cause.code !== 'ADB_POSITION_GONE') throw cause;
        const { position } = this.#feed.newest();
        this.#told = undefined;
        this.#resets = true;
        return { kind: 'reset', position, reason: cause.message };
      }
    }
    const rows = await this.#run(undefined);
    if (from === 'now' && !this.#resets) return this.#following();
    return { kind: 'snapshot', position: this.#position, rows, more: false };
  }

  /** The position asked for was gone: a snapshot follows. */
  #resets = false;

  async #following(): Promise<Change<WindowResultRow> | undefined> {
    for (;;) {
      const event = await this.#event();
      if (this.#isOver) return undefined;
      if (event === 'heartbeat') return { kind: 'progress', ...this.#feed.newest() };
      if (event === 'changed') await this.#sleep(this.#ranAtMs + this.#refreshMs);
      if (this.#isOver) return undefined;
      const change = await this.#difference();
      if (change !== undefined) return change;
    }
  }

  async #difference(): Promise<Change<WindowResultRow> | undefined> {
    const before = this.#told!;
    const from = this.#position;
    const rows = await this.#run(undefined);
    const after = this.#told!;
    const inserted = rows.filter((row) => !isSame(before.get(keyOf(row)), row));
    const deleted = [...before].flatMap(([key, row]) => (isSame(after.get(key), row) ? [] : [row]));
    if (inserted.length === 0 && deleted.length === 0) return undefined;
    return { kind: 'delta', position: this.#position, from, inserted, deleted };
  }

  async #run(asOf: number | undefined): Promise<WindowResultRow[]> {
    this.#isDirty = false;
    const { result, series, relations } = await this.#feed.run(asOf);
    this.#relations = relations;
    this.#listen();
    this.#ranAtMs = this.#feed.clock.now();
    this.#position = result.meta.position;
    this.#nextChangeMs = series.nextChangeMs;
    const widthMs = Math.min(...series.windows.map(({ startMs, endMs }) => endMs - startMs));
    this.#refreshMs = this.#feed.refreshMs ?? refreshMsOf(widthMs);
    this.#told = new Map(result.rows.map((row) => [keyOf(row), row]));
    return result.rows;
  }

  readonly #changed = (): void => {
    this.#isDirty = true;
    this.#wake();
  };

  /** Who waits is told once: asked again before every wait. */
  #listen(): void {
    for (const relation of this.#relations) {
      let feed = this.#feeds.get(relation);
      if (feed === undefined) this.#feeds.set(relation, (feed = this.#feed.hub.join(relation)));
      feed.forget(this.#changed);
      feed.wait(this.#changed);
    }
  }

  /** Waits for what comes first: a change, a boundary, or the time to say that there was none. */
  async #event(): Promise<'changed' | 'boundary' | 'heartbeat'> {
    const { clock, heartbeatMs, isClosed } = this.#feed;
    const heartbeatAt = clock.now() + heartbeatMs;
    for (;;) {
      this.#listen();
      if (isClosed()) await this.close();
      if (this.#isOver) return 'heartbeat';
      if (this.#isDirty) return 'changed';
      const now = clock.now();
      const boundary = this.#nextChangeMs ?? Infinity;
      if (now >= boundary) return 'boundary';
      if (now >= heartbeatAt) return 'heartbeat';
      await this.#until(Math.min(boundary, heartbeatAt));
    }
  }

  async #sleep(untilMs: number): Promise<void> {
    while (!this.#isOver && this.#feed.clock.now() < untilMs) await this.#until(untilMs);
  }

  /** Until an instant, or until somebody wakes it. */
  async #until(atMs: number): Promise<void> {
    const { clock } = this.#feed;
    let timer: TimerHandle | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      timer = clock.after(
        Math.min(Math.max(1, Math.ceil(atMs - clock.now())), TIMER_MS_MAX),
        resolve,
      );
    });
    timer?.cancel();
    this.#wake = () => undefined;
  }

  readonly #aborted = (): void => void this.close();
}

/** Longer timers overflow in Node; who waits looks again. */
const TIMER_MS_MAX = 2_000_000_000;

/** How often changes of windows so long are told: nobody reads a month twice a second. */
function refreshMsOf(widthMs: number): number {
  if (widthMs < 3_600_000) return 250;
  if (widthMs < 20 * 3_600_000) return 1000;
  return widthMs < 27 * 86_400_000 ? 15_000 : 60_000;
}

function keyOf({ startMs, label, by }: WindowResultRow): string {
  return text([label, by, startMs]);
}

function isSame(a: WindowResultRow | undefined, b: WindowResultRow): boolean {
  return a !== undefined && text(a) === text(b);
}

function text(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) =>
    typeof each === 'bigint' ? `${each}n` : each,
  );
}
