import { DbError } from '../base/errors.ts';
import type { Clock, TimerHandle } from '../base/ports.ts';
import type { Batch } from '../columns/batch.ts';
import type { TableDelta, TableScan, TableSnapshot } from '../columns/table-contract.ts';
import type { OutputColumn } from '../plan/logical.ts';
import { mergeDeltas } from '../views/merge-deltas.ts';
import type { Change, Subscription } from './api-types.ts';
import type { StoredEntry } from './catalog.ts';
import {
  resultColumns,
  RowWriter,
  type ResultColumn,
  type ResultRow,
  type ValueOptions,
} from './rows-out.ts';

/**
 * Subscriptions hold no queue: each remembers the position it has told, and reads what came after from the table's
 * version log when it is pulled. So a slow reader costs nothing, gets merged changes, and a reset once the log no longer
 * reaches back to it.
 */
export class SubscriptionHub {
  readonly #feeds = new Map<number, Feed>();
  #count = 0;

  /** Subscriptions that are open. */
  get count(): number {
    return this.#count;
  }

  subscribe(source: SubscriptionSource, options: FeedOptions): Subscription {
    this.#count += 1;
    return new LiveSubscription(source, options, this, () => void (this.#count -= 1));
  }

  feedOf(relation: number): Feed {
    const feed = this.#feeds.get(relation) ?? { waiting: new Set(), encoded: new Map() };
    this.#feeds.set(relation, feed);
    return feed;
  }

  leave(relation: number): void {
    if (this.#feeds.get(relation)?.waiting.size === 0) this.#feeds.delete(relation);
  }

  /** The visible position moved: readers of what changed are woken. */
  published(relations: Iterable<number>): void {
    if (this.#feeds.size === 0) return;
    for (const relation of relations) this.wake(relation);
  }

  /** Also after a view was rebuilt or a relation dropped: readers look again. */
  wake(relation: number): void {
    const feed = this.#feeds.get(relation);
    if (feed === undefined || feed.waiting.size === 0) return;
    const waiting = [...feed.waiting];
    feed.waiting.clear();
    for (const wake of waiting) wake();
  }

  wakeAll(): void {
    for (const relation of this.#feeds.keys()) this.wake(relation);
  }
}

/** What a subscription reads. */
export type SubscriptionSource = {
  /** Finds, or first makes, what is read. */
  open(): Promise<OpenedSource>;
};

export type OpenedSource = {
  readonly relation: number;
  readonly columns: readonly OutputColumn[];
  readonly key: readonly string[];
  /** The relation as it is now; throws what ends the subscription (dropped, failed). */
  entry(): StoredEntry;
  /** Changes when the rows were replaced as a whole (a rebuild): positions before it mean nothing. */
  epoch(): number;
  visiblePosition(): number;
  /** ISO 8601. */
  asOf(): string;
  close(): Promise<void>;
};

export type FeedOptions = {
  readonly from: 'snapshot' | 'now' | number;
  readonly maxRate: number | undefined;
  readonly heartbeatMs: number;
  readonly values: ValueOptions;
  readonly signal: AbortSignal | undefined;
  readonly clock: Clock;
};

type Feed = {
  readonly waiting: Set<() => void>;
  /** Changes as rows, shared by all who read them alike: encoded once for ten thousand subscribers. */
  readonly encoded: Map<string, { readonly inserted: ResultRow[]; readonly deleted: ResultRow[] }>;
};

/** Rows of one snapshot change. */
const SNAPSHOT_ROW_COUNT_MAX = 2048;
/** Behind by more commits than this, a reader does not keep up and gets them merged. */
const KEEPING_UP_COMMITS_MAX = 32;
const ENCODED_CHANGES_MAX = 64;

class LiveSubscription implements Subscription {
  readonly columns: Promise<readonly ResultColumn[]>;
  readonly key: Promise<readonly string[]>;
  readonly #options: FeedOptions;
  readonly #hub: SubscriptionHub;
  readonly #onClose: () => void;
  readonly #opened: Promise<OpenedSource>;
  #source: OpenedSource | undefined;
  #writer: RowWriter | undefined;
  #snapshot:
    | {
        readonly snapshot: TableSnapshot;
        readonly scan: TableScan;
        readonly position: number;
        next: Batch | undefined;
      }
    | undefined;
  #position = -1;
  #epoch = 0;
  #started = false;
  #closed = false;
  #wake: (() => void) | undefined;
  #lastDeliveryMs = -Infinity;

  constructor(
    source: SubscriptionSource,
    options: FeedOptions,
    hub: SubscriptionHub,
    onClose: () => void,
  ) {
    this.#options = options;
    this.#hub = hub;
    this.#onClose = onClose;
    this.#opened = source.open();
    this.columns = this.#opened.then(({ columns }) => resultColumns(columns));
    this.key = this.#opened.then(({ key }) => key);
    // Whoever iterates sees the failure; who only asked for the columns sees it there.
    this.columns.catch(() => undefined);
    this.key.catch(() => undefined);
    options.signal?.addEventListener('abort', this.#abort, { once: true });
  }

  [Symbol.asyncIterator](): AsyncIterator<Change> {
    return {
      next: async () => {
        try {
          const change = await this.#next();
          if (change === undefined) {
            await this.close();
            return { done: true, value: undefined };
          }
          this.#lastDeliveryMs = this.#options.clock.monotonicMs();
          return { done: false, value: change };
        } catch (cause) {
          await this.close();
          throw cause;
        }
      },
      return: async () => {
        await this.close();
        return { done: true, value: undefined };
      },
    };
  }

  unchanged(from: number, to: number): boolean {
    if (from >= to) return from === to;
    if (this.#source === undefined || this.#source.epoch() !== this.#epoch) return false;
    return this.#source.entry().data.changes(from, to)?.length === 0;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#options.signal?.removeEventListener('abort', this.#abort);
    this.#wake?.();
    this.#snapshot?.snapshot.release();
    this.#snapshot = undefined;
    this.#onClose();
    const source = await this.#opened.catch(() => undefined);
    if (source === undefined) return;
    this.#hub.leave(source.relation);
    await source.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  readonly #abort = (): void => this.#wake?.();

  async #next(): Promise<Change | undefined> {
    const source = (this.#source ??= await this.#opened);
    this.#writer ??= new RowWriter(source.columns, this.#options.values);
    for (;;) {
      const { signal } = this.#options;
      if (signal?.aborted === true) throw aborted(signal);
      if (this.#closed) return undefined;
      const change = this.#snapshot === undefined ? this.#ready(source) : this.#snapshotPart();
      if (change !== undefined) return change;
      const beat = await this.#wait(source);
      if (beat) {
        // Nothing changed for a heartbeat: say up to where that is known.
        this.#position = Math.max(this.#position, source.visiblePosition());
        return { kind: 'progress', position: this.#position, asOf: source.asOf() };
      }
    }
  }

  /** What can be told at once, if anything. */
  #ready(source: OpenedSource): Change | undefined {
    const { data } = source.entry();
    const head = source.visiblePosition();
    if (!this.#started) {
      this.#started = true;
      this.#epoch = source.epoch();
      const { from } = this.#options;
      if (from === 'snapshot') return this.#beginSnapshot(source);
      this.#position = from === 'now' ? head : from;
      if (this.#position > head)
        return this.#reset(source, 'the position lies ahead of this database: it was started anew');
    } else if (source.epoch() !== this.#epoch) {
      this.#epoch = source.epoch();
      return this.#reset(source, 'the view was rebuilt');
    }
    if (this.#position >= head) return undefined;
    const rateDelayMs = this.#rateDelayMs();
    if (rateDelayMs > 0) return undefined;
    const changes = data.changes(this.#position, head);
    if (changes === undefined)
      return this.#reset(source, 'the changes since that position are no longer kept');
    if (changes.length === 0) {
      this.#position = head;
      return undefined;
    }
    const from = this.#position;
    const merge = this.#options.maxRate !== undefined || changes.length > KEEPING_UP_COMMITS_MAX;
    const taken = merge
      ? changes
      : changes.filter(({ position }) => position === changes[0]!.position);
    const position = merge ? head : taken[0]!.position;
    this.#position = position;
    const { inserted, deleted } = this.#encode(
      source,
      from,
      position,
      taken.map(({ delta }) => delta),
    );
    if (inserted.length === 0 && deleted.length === 0) return this.#ready(source);
    return { kind: 'delta', from, position, inserted, deleted };
  }

  #encode(
    source: OpenedSource,
    from: number,
    position: number,
    deltas: readonly TableDelta[],
  ): { inserted: ResultRow[]; deleted: ResultRow[] } {
    const { encoded } = this.#hub.feedOf(source.relation);
    const { int8, numeric, timestamptz } = this.#options.values;
    const key = `${from}:${position}:${int8 ?? ''}:${numeric ?? ''}:${timestamptz ?? ''}`;
    const known = encoded.get(key);
    if (known !== undefined) return known;
    const merged = mergeDeltas(deltas);
    const rows = (batch: Batch | undefined): ResultRow[] => {
      const out: ResultRow[] = [];
      if (batch !== undefined) this.#writer!.append(batch, out);
      return out;
    };
    const change = { inserted: rows(merged?.inserted), deleted: rows(merged?.deleted) };
    encoded.set(key, change);
    if (encoded.size > ENCODED_CHANGES_MAX) encoded.delete(encoded.keys().next().value!);
    return change;
  }

  #beginSnapshot(source: OpenedSource): Change {
    const snapshot = source.entry().data.snapshot();
    const columnIndexes = source.columns.map((_, index) => index);
    const scan = snapshot.scan({ columnIndexes, ordered: true, withRowIds: false });
    this.#snapshot = { snapshot, scan, position: source.visiblePosition(), next: scan.next() };
    return this.#snapshotPart();
  }

  #snapshotPart(): Change {
    const open = this.#snapshot!;
    const rows: ResultRow[] = [];
    while (open.next !== undefined && rows.length < SNAPSHOT_ROW_COUNT_MAX) {
      this.#writer!.append(open.next, rows);
      open.next = open.scan.next();
    }
    const more = open.next !== undefined;
    if (!more) {
      open.snapshot.release();
      this.#snapshot = undefined;
      this.#position = open.position;
    }
    return { kind: 'snapshot', position: open.position, rows, more };
  }

  #reset(source: OpenedSource, reason: string): Change {
    // The snapshot that follows is taken when the next change is pulled.
    const head = source.visiblePosition();
    this.#started = false;
    Object.assign(this.#options, { from: 'snapshot' });
    return { kind: 'reset', position: head, reason };
  }

  #rateDelayMs(): number {
    const { maxRate, clock } = this.#options;
    return maxRate === undefined ? 0 : this.#lastDeliveryMs + 1000 / maxRate - clock.monotonicMs();
  }

  /** Waits for a change, the rate limit or the heartbeat; true: it was the heartbeat. */
  #wait(source: OpenedSource): Promise<boolean> {
    return new Promise((resolve) => {
      const { waiting } = this.#hub.feedOf(source.relation);
      const { clock, heartbeatMs } = this.#options;
      let timer: TimerHandle | undefined;
      const finish = (beat: boolean): void => {
        waiting.delete(wake);
        timer?.cancel();
        this.#wake = undefined;
        resolve(beat);
      };
      const wake = (): void => finish(false);
      const rateDelayMs = this.#rateDelayMs();
      const behind = this.#position < source.visiblePosition();
      // While the rate limit holds back known changes, only time wakes; else a change or the heartbeat does.
      if (behind && this.#options.maxRate !== undefined)
        timer = clock.after(Math.max(0, rateDelayMs), wake);
      else {
        waiting.add(wake);
        timer = clock.after(heartbeatMs, () => finish(true));
      }
      this.#wake = wake;
    });
  }
}

function aborted(signal: AbortSignal): DbError {
  const error = new DbError('57014', 'canceling subscription due to user request', {
    cause: signal.reason,
  });
  error.name = 'AbortError';
  return error;
}
