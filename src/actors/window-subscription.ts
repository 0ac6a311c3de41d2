import { DbError } from '../base/errors.ts';
import type { Clock, TimerHandle } from '../base/ports.ts';
import type { Policy, RefreshUnit } from '../windows/policy.ts';
import type { WindowSeries } from '../windows/window-spec.ts';
import type { Change, Subscription } from './api-types.ts';
import { assertNotAborted, closedError } from './deadline.ts';
import type { ResultColumn } from './rows-out.ts';
import type { SubscriptionHub } from './subscriptions.ts';
import type { AnsweredWindows } from './window-changes.ts';
import type { WindowResultRow, WindowRun } from './window-query.ts';

/** What a subscription to windows needs of its surroundings. */
export type WindowFeed = {
  readonly clock: Clock;
  readonly hub: SubscriptionHub;
  /** What `by` and the measures are; throws where the question is none. */
  columns(): Promise<readonly ResultColumn[]>;
  /** Runs the query now, or as of an earlier position. */
  run(asOf: number | undefined, before: AnsweredWindows | undefined): Promise<WindowRun>;
  readonly from: 'snapshot' | 'now' | number;
  /** Milliseconds between two answers at least; undefined: as the policy, or else the windows' length, has it. */
  readonly refreshMs: number | undefined;
  /** Says so when a calendar has been set, or what is kept of a relation is another; gives what ends that. */
  watchSettings(wake: (relation: number | undefined) => void): () => void;
  /** Whether what is kept of a relation is told with some of these: it is one, or what a materialized view of them reads. */
  isKeptOf(relation: number, relations: readonly number[]): boolean;
  /** The named calendar, if the question names one: another object once it has been set anew. */
  calendar(): object | undefined;
  /** What the policy of a table says of it. */
  refreshOf(relation: number): Policy['refresh'];
  readonly heartbeatMs: number;
  readonly signal: AbortSignal | undefined;
  readonly done: () => void;
  /** The newest position and its instant. */
  newest(): { readonly position: number; readonly asOf: string };
  readonly isClosed: () => boolean;
};

/**
 * A window query that is followed: told anew when a row of what it reads has changed, when its calendar is set anew, and when now passes a boundary
 * (midnight in its zone, the end of an hour), though no row did. It holds no queue: what has changed meanwhile is one difference.
 */
export class WindowSubscription implements Subscription<WindowResultRow> {
  readonly key: Promise<readonly string[]> = Promise.resolve(['start', 'label', 'by']);
  readonly #feed: WindowFeed;
  /** Rows as they were told last: by window where the next run need not ask for all of them, else in one list. */
  #told: WindowResultRow[][] | undefined;
  /** What the next run takes from the last one. */
  #answered: AnsweredWindows | undefined;
  #position = 0;
  #nextChangeMs: number | undefined;
  #series: WindowSeries | undefined;
  /** That of the last run. */
  #calendar: object | undefined;
  /** Expressions of it name calendars, too. */
  #namesCalendars = false;
  #ranAtMs = -Infinity;
  #relations: readonly number[] = [];
  readonly #feeds = new Map<number, ReturnType<SubscriptionHub['join']>>();
  #unwatch: (() => void) | undefined;
  #isDirty = false;
  #wake = (): void => undefined;
  #isOver = false;
  #pulling: Promise<unknown> = Promise.resolve();

  constructor(feed: WindowFeed) {
    this.#feed = feed;
    feed.signal?.addEventListener('abort', this.#aborted, { once: true });
  }

  /** Of `by`, then the measures. */
  get columns(): Promise<readonly ResultColumn[]> {
    return this.#feed.columns();
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
    this.#unwatch?.();
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
    assertNotAborted(signal);
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
        this.#answered = undefined;
        this.#resets = true;
        return { kind: 'reset', position, reason: cause.message };
      }
    }
    const { inserted: rows } = await this.#run(undefined);
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
      if (event === 'changed') await this.#refreshed();
      if (this.#isOver) return undefined;
      const change = await this.#difference();
      if (change !== undefined) return change;
    }
  }

  async #difference(): Promise<Change<WindowResultRow> | undefined> {
    const from = this.#position;
    const { deleted: before, inserted: after } = await this.#run(undefined);
    const [old, young] = [before, after].map(
      (rows) => new Map(rows.map((row) => [keyOf(row), row])),
    );
    const inserted = after.filter((row) => !isSame(old!.get(keyOf(row)), row));
    const deleted = before.filter((row) => !isSame(young!.get(keyOf(row)), row));
    if (inserted.length === 0 && deleted.length === 0) return undefined;
    return { kind: 'delta', position: this.#position, from, inserted, deleted };
  }

  /** Asks again; gives the rows of windows that may have changed, as they were and as they are. */
  async #run(asOf: number | undefined): Promise<{
    readonly deleted: WindowResultRow[];
    readonly inserted: WindowResultRow[];
  }> {
    this.#isDirty = false;
    this.#unwatch ??= this.#feed.watchSettings(this.#settingsChanged);
    this.#calendar = this.#feed.calendar();
    const run = await this.#feed.run(asOf, asOf === undefined ? this.#answered : undefined);
    const { result, series, relations } = run;
    this.#relations = relations;
    this.#listen();
    this.#ranAtMs = this.#feed.clock.now();
    this.#position = result.meta.position;
    // What was committed while it ran, nobody heard of.
    if (this.#feed.newest().position > this.#position) this.#isDirty = true;
    this.#nextChangeMs = series.nextChangeMs;
    this.#series = series;
    this.#namesCalendars = run.namesCalendars === true;
    const deleted = this.#retold(run);
    this.#answered = run.answered;
    return { deleted, inserted: result.rows };
  }

  /** Before it no change is told: as its reader has it, the policy, or else the windows' length. */
  get #nextTellingMs(): number {
    const { refreshMs } = this.#feed;
    return this.#ranAtMs + (refreshMs ?? this.#refreshOf(this.#series!));
  }

  /** When it is told where its moving end is by then; Infinity: it has none. */
  get #nextMoveMs(): number {
    if (!this.#series!.moves) return Infinity;
    const minuteEndMs = (Math.floor(this.#ranAtMs / MOVE_MS) + 1) * MOVE_MS;
    return Math.max(minuteEndMs, this.#nextTellingMs);
  }

  #refreshOf({ shortestMs }: WindowSeries): number {
    const policies = this.#relations.map((relation) => {
      const refresh = this.#feed.refreshOf(relation);
      return refresh.findLast(({ unit }) => REFRESH_FROM_MS[unit] <= shortestMs)?.everyMs;
    });
    return policies.find((each) => each !== undefined) ?? refreshMsOf(shortestMs);
  }

  /** Takes the rows of a run in; gives those that stood in their place. */
  #retold({ result: { rows }, series, changed, answered }: WindowRun): WindowResultRow[] {
    const told = this.#told ?? [];
    if (changed === undefined) {
      this.#told = answered === undefined ? [rows] : byWindow(rows, series.windows);
      return told.flat();
    }
    const { asked, same } = changed;
    const fresh = byWindow(
      rows,
      asked.map((index) => series.windows[index]!),
    );
    if (same === undefined) {
      const deleted = asked.flatMap((index) => told[index] ?? []);
      asked.forEach((index, at) => (told[index] = fresh[at]!));
      return deleted;
    }
    const next: WindowResultRow[][] = [];
    const isKept = new Uint8Array(told.length);
    let at = 0;
    for (let index = 0; index < same.length; index += 1) {
      if (asked[at] === index) {
        next.push(fresh[at]!);
        at += 1;
      } else {
        isKept[same[index]!] = 1;
        next.push(told[same[index]!]!);
      }
    }
    this.#told = next;
    return told.flatMap((each, index) => (isKept[index] === 1 ? [] : each));
  }

  readonly #changed = (): void => {
    this.#isDirty = true;
    this.#wake();
  };

  readonly #settingsChanged = (relation: number | undefined): void => {
    if (relation !== undefined && this.#feed.isKeptOf(relation, this.#relations))
      this.#isDirty = true;
    const isSet = relation === undefined && this.#namesCalendars;
    if (this.#told !== undefined && (isSet || this.#feed.calendar() !== this.#calendar)) {
      this.#isDirty = true;
      // Nothing of the last answer holds in another calendar, and nobody sets one often.
      this.#ranAtMs = -Infinity;
    }
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
      const boundary = Math.min(this.#nextChangeMs ?? Infinity, this.#nextMoveMs);
      if (now >= boundary) return 'boundary';
      if (now >= heartbeatAt) return 'heartbeat';
      await this.#until(Math.min(boundary, heartbeatAt));
    }
  }

  /** Until a change may be told; looks again when it is woken, since a policy may have been set. */
  async #refreshed(): Promise<void> {
    while (!this.#isOver && this.#feed.clock.now() < this.#nextTellingMs)
      await this.#until(this.#nextTellingMs);
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
        true,
      );
    });
    timer?.cancel();
    this.#wake = () => undefined;
  }

  readonly #aborted = (): void => void this.close();
}

/** What moves with every instant is told as often as minutes pass. */
const MOVE_MS = 60_000;

/** Longer timers overflow in Node; who waits looks again. */
const TIMER_MS_MAX = 2_000_000_000;

/** The shortest that windows of a unit are: days of 20 hours, months of 27 days. */
const REFRESH_FROM_MS: Readonly<Record<RefreshUnit, number>> = {
  second: 0,
  minute: 60_000,
  '15m': 900_000,
  hour: 3_600_000,
  day: 20 * 3_600_000,
  week: 6 * 86_400_000,
  month: 27 * 86_400_000,
  quarter: 88 * 86_400_000,
  year: 360 * 86_400_000,
};

/** How often changes of windows so long are told: nobody reads a month twice a second. */
function refreshMsOf(widthMs: number): number {
  if (widthMs < 3_600_000) return 250;
  if (widthMs < 20 * 3_600_000) return 1000;
  return widthMs < 27 * 86_400_000 ? 15_000 : 60_000;
}

/** Rows, which come in the order of windows, by window. */
function byWindow(
  rows: readonly WindowResultRow[],
  windows: readonly { readonly startMs: number; readonly endMs: number }[],
): WindowResultRow[][] {
  let at = 0;
  return windows.map(({ startMs, endMs }) => {
    const first = at;
    while (at < rows.length && rows[at]!.startMs === startMs && rows[at]!.endMs === endMs) at += 1;
    return rows.slice(first, at);
  });
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
