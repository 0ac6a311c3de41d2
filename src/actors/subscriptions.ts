import type { Clock, TimerHandle } from '../base/ports.ts';
import type { Batch } from '../columns/batch.ts';
import type { TableData, TableDelta, TableScan, TableSnapshot } from '../columns/table-contract.ts';
import type { OutputColumn } from '../plan/logical.ts';
import { EntryRows } from '../columns/version-log.ts';
import { mergeDeltas } from '../views/merge-deltas.ts';
import type { Change, Subscription } from './api-types.ts';
import type { StoredEntry } from './catalog.ts';
import { assertNotAborted } from './deadline.ts';
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

  join(relation: number): Feed {
    const feed = this.#feeds.get(relation) ?? new Feed();
    this.#feeds.set(relation, feed);
    feed.readerCount += 1;
    return feed;
  }

  leave(relation: number, feed: Feed): void {
    feed.readerCount -= 1;
    if (feed.readerCount === 0) this.#feeds.delete(relation);
  }

  /** The visible position moved: readers of what changed are woken. */
  published(relations: Iterable<number>): void {
    if (this.#feeds.size === 0) return;
    for (const relation of relations) this.wake(relation);
  }

  /** Also after a view was rebuilt or a relation dropped: readers look again. */
  wake(relation: number): void {
    const feed = this.#feeds.get(relation);
    if (feed === undefined) return;
    for (const wake of feed.takeWaiting()) wake();
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
  /** Why it is to be opened anew: another has its name, or its columns are others. Throws what ends the subscription. */
  replaced(): string | undefined;
  /** While it is being altered or dropped: once that is acknowledged. Until then it has no rows, and no changes, for readers. */
  untilDefined(): Promise<void> | undefined;
  /** Changes when the rows were replaced as a whole (a rebuild): positions before it mean nothing. */
  epoch(): number;
  visiblePosition(): number;
  /** ISO 8601. */
  asOf(): string;
  close(): Promise<void>;
};

export type FeedOptions = {
  readonly from: 'snapshot' | 'now' | number;
  /** The position that was visible when it was subscribed: what is opened later tells what came since. */
  readonly now: number;
  readonly maxRate: number | undefined;
  readonly heartbeatMs: number;
  readonly values: ValueOptions;
  readonly signal: AbortSignal | undefined;
  /** Lets the signal go. */
  readonly done: () => void;
  readonly clock: Clock;
};

/** Who reads a relation, and what they were told lately: ten thousand subscribers share the rows of a change. */
class Feed {
  readerCount = 0;
  #waiting: (() => void)[] = [];
  /** Changes as rows, by position: those who read them alike get the same objects. */
  readonly #encoded = new Map<number, EncodedChange>();

  wait(wake: () => void): void {
    this.#waiting.push(wake);
  }

  takeWaiting(): readonly (() => void)[] {
    const waiting = this.#waiting;
    this.#waiting = [];
    return waiting;
  }

  /** Nobody waits by this any more. */
  forget(wake: () => void): void {
    const index = this.#waiting.indexOf(wake);
    if (index >= 0) this.#waiting.splice(index, 1);
  }

  encoded(from: number, position: number, format: string): EncodedChange | undefined {
    const known = this.#encoded.get(position);
    return known?.from === from && known.format === format ? known : undefined;
  }

  keep(position: number, change: EncodedChange): void {
    if (this.readerCount < 2) return;
    this.#encoded.set(position, change);
    if (this.#encoded.size > ENCODED_CHANGES_MAX)
      this.#encoded.delete(this.#encoded.keys().next().value!);
  }
}

type EncodedChange = {
  readonly from: number;
  /** How values are shown. */
  readonly format: string;
  readonly inserted: ToldRows;
  readonly deleted: ToldRows;
};

/**
 * Rows that a change tells. Many that stand in the version log become objects when somebody looks at them: until then who holds the change
 * holds the arrays of their chunk.
 */
class ToldRows {
  readonly rowCount: number;
  #later: { readonly batch: Batch; readonly writer: RowWriter } | undefined;
  #rows: ResultRow[] = [];

  constructor(batch: Batch | undefined, writer: RowWriter) {
    this.rowCount = batch?.rowCount ?? 0;
    if (batch instanceof EntryRows) this.#later = { batch: batch.lasting(), writer };
    else if (batch !== undefined) writer.append(batch, this.#rows);
  }

  get areMade(): boolean {
    return this.#later === undefined;
  }

  get rows(): ResultRow[] {
    const later = this.#later;
    if (later !== undefined) {
      this.#later = undefined;
      later.writer.append(later.batch, this.#rows);
    }
    return this.#rows;
  }
}

/** A change as users see it. Few rows, which are there already, are plain properties. */
function deltaOf(
  from: number,
  position: number,
  inserted: ToldRows,
  deleted: ToldRows,
): Change & { readonly kind: 'delta' } {
  if (inserted.areMade && deleted.areMade)
    return { kind: 'delta', from, position, inserted: inserted.rows, deleted: deleted.rows };
  return {
    kind: 'delta',
    from,
    position,
    get inserted() {
      return inserted.rows;
    },
    get deleted() {
      return deleted.rows;
    },
  };
}

/** Rows of one snapshot change. */
const SNAPSHOT_ROW_COUNT_MAX = 2048;
/** Behind by more commits than this, a reader does not keep up and gets them merged. */
const KEEPING_UP_COMMITS_MAX = 32;
const ENCODED_CHANGES_MAX = 64;

class LiveSubscription implements Subscription {
  #columns: Promise<readonly ResultColumn[]>;
  #key: Promise<readonly string[]>;
  readonly #opens: SubscriptionSource;
  readonly #options: FeedOptions;
  readonly #hub: SubscriptionHub;
  readonly #onClose: () => void;
  #opened: Promise<OpenedSource>;
  readonly #format: string;
  #source: OpenedSource | undefined;
  #feed: Feed | undefined;
  #writer: RowWriter | undefined;
  #snapshot:
    | {
        readonly snapshot: TableSnapshot;
        readonly scan: TableScan;
        readonly position: number;
        next: Batch | undefined;
      }
    | undefined;
  /** Up to where changes were looked for. */
  #position = -1;
  /** The last position that was told: the next change begins there, though nothing may have happened for a while after it. */
  #toldPosition = -1;
  #epoch = 0;
  #started = false;
  #closed = false;
  /** Who pulls and has not got anything yet. */
  #pulling: Pull | undefined;
  /** Since when; a heartbeat is due so long after. */
  #waitingSinceMs = 0;
  #isWaiting = false;
  /** Runs on while changes come: arming one for each costs more than the change. */
  #beat: TimerHandle | undefined;
  #rateTimer: TimerHandle | undefined;
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
    const { int8, numeric, timestamptz } = options.values;
    this.#format = `${int8 ?? ''}:${numeric ?? ''}:${timestamptz ?? ''}`;
    this.#opens = source;
    [this.#opened, this.#columns, this.#key] = opening(source);
    options.signal?.addEventListener('abort', this.#attempt, { once: true });
  }

  /** Those of what is told next: after a reset they may be others. */
  get columns(): Promise<readonly ResultColumn[]> {
    return this.#columns;
  }

  get key(): Promise<readonly string[]> {
    return this.#key;
  }

  [Symbol.asyncIterator](): AsyncIterator<Change> {
    return {
      next: () => this.#pull(),
      return: async () => {
        await this.close();
        return { done: true, value: undefined };
      },
    };
  }

  unchanged(from: number, to: number): boolean {
    if (from >= to) return from === to;
    if (this.#source === undefined || this.#source.epoch() !== this.#epoch) return false;
    return this.#source.entry().data.changes(from, to, 'atOnce')?.length === 0;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#options.signal?.removeEventListener('abort', this.#attempt);
    this.#options.done();
    this.#snapshot?.snapshot.release();
    this.#snapshot = undefined;
    this.#beat?.cancel();
    this.#rateTimer?.cancel();
    this.#onClose();
    this.#settle(END);
    this.#leave();
    const source = await this.#opened.catch(() => undefined);
    await source?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #pull(): Promise<IteratorResult<Change>> {
    if (this.#closed) return Promise.resolve(END);
    // One at a time: who pulls twice without waiting gets his turn.
    if (this.#pulling !== undefined)
      return this.#pulling.promise.then(
        () => this.#pull(),
        () => this.#pull(),
      );
    let pull: Pull;
    const promise = new Promise<IteratorResult<Change>>((resolve, reject) => {
      pull = { resolve, reject, promise: undefined as never };
    });
    pull!.promise = promise;
    this.#pulling = pull!;
    if (this.#source === undefined) this.#whenOpened(this.#attempt);
    // Who takes part after part of a snapshot would else have the thread until its end.
    else if (this.#snapshot !== undefined) this.#options.clock.afterIo(this.#attempt);
    else this.#attempt();
    return promise;
  }

  #whenOpened(goOn: (source: OpenedSource) => void): void {
    this.#opened.then(
      (source) => {
        this.#source = source;
        this.#writer = new RowWriter(source.columns, this.#options.values);
        if (this.#closed) return;
        this.#feed = this.#hub.join(source.relation);
        goOn(source);
      },
      (cause: unknown) => this.#fail(cause),
    );
  }

  #leave(): void {
    if (this.#feed === undefined) return;
    this.#feed.forget(this.#wake);
    this.#hub.leave(this.#source!.relation, this.#feed);
    this.#feed = undefined;
  }

  /** What is followed has become another: it is begun anew under its name, and who reads is told so. */
  #openAnew(reason: string): void {
    const { close } = this.#source!;
    this.#leave();
    this.#source = undefined;
    [this.#opened, this.#columns, this.#key] = opening(this.#opens);
    void close();
    this.#whenOpened((source) => this.#deliver(this.#reset(source, reason)));
  }

  /** Tells who pulls what there is to tell, or waits on. Also called when that is worth another look. */
  readonly #attempt = (): void => {
    this.#isWaiting = false;
    if (this.#pulling === undefined || this.#source === undefined) return;
    try {
      const { signal } = this.#options;
      assertNotAborted(signal);
      const defined = this.#snapshot === undefined ? this.#source.untilDefined() : undefined;
      if (defined !== undefined) {
        defined.then(this.#attempt, (cause: unknown) => this.#fail(cause));
        return;
      }
      const reason = this.#snapshot === undefined ? this.#source.replaced() : undefined;
      if (reason !== undefined) {
        this.#openAnew(reason);
        return;
      }
      const change =
        this.#snapshot === undefined ? this.#ready(this.#source) : this.#snapshotPart();
      if (change === undefined) this.#wait(this.#source);
      else this.#deliver(change);
    } catch (cause) {
      this.#fail(cause);
    }
  };

  #deliver(change: Change): void {
    if (this.#options.maxRate !== undefined)
      this.#lastDeliveryMs = this.#options.clock.monotonicMs();
    this.#settle({ done: false, value: change });
  }

  #settle(result: IteratorResult<Change>): void {
    const pull = this.#pulling;
    this.#pulling = undefined;
    this.#beat?.hold?.(false);
    pull?.resolve(result);
  }

  #fail(cause: unknown): void {
    const pull = this.#pulling;
    this.#pulling = undefined;
    void this.close().then(() => pull?.reject(cause));
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
      this.#position = from === 'now' ? sinceNow(data, head, this.#options.now) : from;
      this.#toldPosition = this.#position;
      if (this.#position > head)
        return this.#reset(source, 'the position lies ahead of this database: it was started anew');
    } else if (source.epoch() !== this.#epoch) {
      this.#epoch = source.epoch();
      return this.#reset(source, 'the view was rebuilt');
    }
    if (this.#position >= head) return undefined;
    const rateDelayMs = this.#rateDelayMs();
    if (rateDelayMs > 0) return undefined;
    const changes = data.changes(this.#position, head, 'atOnce');
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
      from,
      position,
      taken.map(({ delta }) => delta),
    );
    if (inserted.rowCount === 0 && deleted.rowCount === 0) return this.#ready(source);
    const change = deltaOf(this.#toldPosition, position, inserted, deleted);
    this.#toldPosition = position;
    return change;
  }

  #encode(from: number, position: number, deltas: readonly TableDelta[]): EncodedChange {
    const feed = this.#feed!;
    const known = feed.encoded(from, position, this.#format);
    if (known !== undefined) return known;
    const merged = mergeDeltas(deltas);
    const change = {
      from,
      format: this.#format,
      inserted: new ToldRows(merged?.inserted, this.#writer!),
      deleted: new ToldRows(merged?.deleted, this.#writer!),
    };
    feed.keep(position, change);
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
      this.#toldPosition = open.position;
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

  /** Until a change, the end of the rate limit's delay, or the heartbeat. */
  #wait(source: OpenedSource): void {
    const { clock, maxRate } = this.#options;
    // While the rate limit holds back known changes, only time wakes.
    if (maxRate !== undefined && this.#position < source.visiblePosition()) {
      this.#rateTimer?.cancel();
      this.#rateTimer = clock.after(Math.max(0, this.#rateDelayMs()), this.#attempt, true);
      return;
    }
    this.#isWaiting = true;
    this.#waitingSinceMs = clock.monotonicMs();
    this.#feed!.wait(this.#wake);
    // Somebody waits for changes, as on an open socket: the process goes on for as long as he does.
    if (this.#beat === undefined)
      this.#beat = clock.after(this.#options.heartbeatMs, this.#onBeat, true);
    else this.#beat.hold?.(true);
  }

  /** In a turn of its own: the commit that woke the reader is not held up by it. */
  readonly #wake = (): void => this.#options.clock.soon(this.#attempt);

  readonly #onBeat = (): void => {
    this.#beat = undefined;
    if (!this.#isWaiting || this.#pulling === undefined) return;
    const { clock, heartbeatMs } = this.#options;
    const leftMs = this.#waitingSinceMs + heartbeatMs - clock.monotonicMs();
    if (leftMs > 0) {
      this.#beat = clock.after(leftMs, this.#onBeat, true);
      return;
    }
    // Nothing changed for a heartbeat: say up to where that is known.
    const source = this.#source!;
    this.#isWaiting = false;
    this.#feed!.forget(this.#wake);
    this.#position = Math.max(this.#position, source.visiblePosition());
    this.#toldPosition = this.#position;
    this.#deliver({ kind: 'progress', position: this.#position, asOf: source.asOf() });
  };
}

function opening(
  source: SubscriptionSource,
): [
  opened: Promise<OpenedSource>,
  columns: Promise<readonly ResultColumn[]>,
  key: Promise<readonly string[]>,
] {
  const opened = source.open();
  const columns = opened.then((each) => resultColumns(each.columns));
  const key = opened.then((each) => each.key);
  // Whoever iterates sees the failure; who only asked for the columns sees it there.
  columns.catch(() => undefined);
  key.catch(() => undefined);
  return [opened, columns, key];
}

/** What is made for the subscription alone has no past: it begins at its head. */
function sinceNow(data: TableData, head: number, now: number): number {
  return now < head && data.covers(now) ? now : head;
}

const END: IteratorResult<Change> = { done: true, value: undefined };

type Pull = {
  promise: Promise<IteratorResult<Change>>;
  readonly resolve: (result: IteratorResult<Change>) => void;
  readonly reject: (cause: unknown) => void;
};
