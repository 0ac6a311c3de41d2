import { DbError } from '../base/errors.ts';
import type { Clock } from '../base/ports.ts';
import type { Change, ProgressiveEvent, Subscription } from '../actors/api-types.ts';
import { untilAborted } from '../actors/deadline.ts';
import type { ProgressiveQuery } from '../actors/progressive.ts';
import { problemOf } from './problem.ts';
import { jsonText, untilIo } from './reply.ts';
import { RowTexts } from './row-texts.ts';
import type { Turns } from './turns.ts';

/**
 * Server-sent events of one dashboard: any number of subscriptions and progressive answers over one connection. Grammar: for each subscription
 * `hello`, then `snapshot`s and `delta`s, `progress` as heartbeat, `reset` before a new snapshot; for each answer `hello`, then `estimate`s and one
 * `final`, or an `error` that names it and ends it alone; last `error` or `bye`. Each event is `{ item, position, … }`.
 *
 * `id:`, of what is followed, is the position, by which a browser resumes (`Last-Event-ID`). While some items have not been told as far as the event
 * reaches, it names them with the position they stand at, `12;b=9`, or with none, `12;b=`, where a snapshot or a delta in
 * pieces is under way: however a connection breaks, each item goes on where it stopped.
 *
 * A slow reader is not sent more than fits its socket: nothing is rendered before it drains, and the subscriptions, which are pulled only then, merge
 * meanwhile. Rows of a change that many are told are rendered once, and streams take turns: commits wait for none of them.
 */
export type LiveItem =
  | {
      readonly kind: 'followed';
      readonly name: string;
      readonly open: (from: 'snapshot' | number, signal: AbortSignal) => Subscription;
    }
  | { readonly kind: 'answered'; readonly name: string; readonly open: () => ProgressiveQuery };

/** Where a stream goes on: at `position`, except the items named, which go on at theirs or, undefined, anew. */
export type ResumePoint = {
  readonly position: number;
  readonly behind: ReadonlyMap<string, number | undefined>;
};

export type EventSink = {
  /** False: the socket is full; `drained` tells when it is not. */
  write(text: string): boolean;
  readonly full: boolean;
  drained(): Promise<void>;
  readonly closed: boolean;
  end(): void;
};

/** Snapshots and deltas go in pieces of at most this many rows an event. */
const ROWS_PER_EVENT_MAX = 2000;
/** Of estimates, which are several numbers a value. */
const ESTIMATES_PER_EVENT_MAX = 500;
/** Those who keep up are told the same within a turn or two. */
const rowTexts = new RowTexts(2 ** 22);

export async function serveLive(
  items: readonly LiveItem[],
  sink: EventSink,
  options: {
    readonly resume: ResumePoint | undefined;
    readonly clock: Clock;
    /** Those of all streams. */
    readonly turns: Turns;
    /** When the commit of a position was made: by it a client knows how old what it shows is. */
    instantMs(position: number): number;
    /** Ends the stream; a reason that is a text is told to whoever still listens. */
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const { resume, clock, turns, instantMs, signal } = options;
  const subscriptions = new Map<string, Subscription>();
  /** By item, up to where everything was told. */
  const told = new Map<string, number>();
  const idOf = (position: number): string => {
    let id = String(position);
    for (const { kind, name } of items) {
      if (kind === 'answered') continue;
      const at = told.get(name);
      if (at === undefined) id += `;${encodeURIComponent(name)}=`;
      else if (!subscriptions.get(name)!.unchanged(at, position))
        id += `;${encodeURIComponent(name)}=${at}`;
    }
    return id;
  };
  // Whether a stream that ends now ends with an error.
  let isErrorLast = false;
  /** That of which the whole stream ends, because it cannot be followed. */
  let failed: string | undefined;
  const tell = async (event: string, data: unknown): Promise<void> => {
    if (failed === undefined) await send(sink, event, jsonText(data));
  };
  /** Each piece is rendered when its turn comes: not while another item has filled the socket. */
  const turn = async (): Promise<void> => {
    do {
      while (sink.full) await sink.drained();
      await turns.take();
    } while (sink.full);
  };
  const follow = async ({ name, open }: LiveItem & { kind: 'followed' }): Promise<void> => {
    const from = resumeOf(resume, name);
    const subscription = open(from ?? 'snapshot', signal);
    subscriptions.set(name, subscription);
    if (from !== undefined) told.set(name, from);
    let columns: Subscription['columns'] | undefined;
    // Said again where a view was replaced or a table's columns are others.
    const hello = async (): Promise<void> => {
      // Read once: each reading of a window's columns is a promise of its own, which somebody has to wait for.
      const now = subscription.columns;
      if (now === columns) return;
      columns = now;
      const [shown, key] = await Promise.all([columns, subscription.key]);
      await tell('hello', { protocol: 1, item: name, columns: shown, key });
    };
    await hello();
    if (resume !== undefined && from === undefined)
      await tell('reset', {
        item: name,
        position: resume.position,
        reason: 'what was sent last was not complete',
      });
    for await (const change of subscription) {
      if (sink.closed || failed !== undefined) return;
      const { position } = change;
      const committedMs = instantMs(position);
      await turn();
      for (const { isLast, facts, lists } of piecesOf(change)) {
        if (sink.closed || failed !== undefined) return;
        if (isLast) told.set(name, position);
        else told.delete(name);
        const data = { item: name, ...facts, committedMs, sentMs: clock.now() };
        await send(sink, change.kind, withLists(jsonText(data), lists), idOf(position));
        if (!isLast) await turn();
      }
      if (change.kind === 'reset') await hello();
    }
    isErrorLast = false;
  };
  // An answer ends with its reader, but not where it has stopped: then somebody may refine it by its id.
  const over = new AbortController();
  const left = AbortSignal.any([signal, over.signal]);
  const answer = async ({ name, open }: LiveItem & { kind: 'answered' }): Promise<void> => {
    try {
      const asked = open();
      await tell('hello', { protocol: 1, item: name, queryId: asked.queryId });
      for await (const event of untilAborted(asked, left))
        for (const piece of piecesOfAnswer(event)) {
          await tell(piece.kind, { item: name, ...piece, sentMs: clock.now() });
          if (piece.more === true) await untilIo(clock);
        }
      isErrorLast = false;
    } catch (cause) {
      if (left.aborted) throw cause;
      isErrorLast = true;
      await tell('error', { item: name, ...problemOf(cause).body });
    }
  };
  // The line that keeps proxies from closing an idle stream, and tells browsers when to come again.
  sink.write('retry: 1000\n\n');
  try {
    await Promise.all(
      items.map((item) =>
        item.kind === 'answered'
          ? answer(item)
          : follow(item).catch((cause: unknown) => {
              failed ??= item.name;
              throw cause;
            }),
      ),
    );
    const reason = subscriptions.size > 0 ? 'the views are gone' : 'all was answered';
    if (!sink.closed && !isErrorLast) await send(sink, 'bye', jsonText({ reason }));
  } catch (cause) {
    if (typeof signal.reason === 'string')
      await send(sink, 'bye', jsonText({ reason: signal.reason }));
    else {
      const { body } = problemOf(cause);
      const field = ['items', failed ?? '', body['field'] ?? ''].filter((part) => part !== '');
      await send(
        sink,
        'error',
        jsonText(failed === undefined ? body : { ...body, field: field.join('.') }),
      );
    }
  } finally {
    over.abort();
    await Promise.all([...subscriptions.values()].map((subscription) => subscription.close()));
    sink.end();
  }
}

/** What an event says of a change: facts, and lists of rows as JSON. */
type Piece = {
  /** Whether everything up to the position has been told with it. */
  readonly isLast: boolean;
  readonly facts: Readonly<Record<string, unknown>>;
  readonly lists: Readonly<Record<string, string>>;
};

/** Cuts what is larger than an event; all pieces but the last one say `more`. Of a delta what leaves comes first. */
function* piecesOf(change: Change): Iterable<Piece> {
  if (change.kind === 'snapshot') {
    const { rows: all, ...facts } = change;
    for (const [rows, last] of cut(all)) {
      const more = change.more || !last;
      yield { isLast: !more, facts: { ...facts, more }, lists: { rows: jsonText(rows) } };
    }
  } else if (change.kind === 'delta') {
    const { kind, from, position, inserted, deleted } = change;
    const facts = { kind, from, position };
    if (inserted.length + deleted.length <= ROWS_PER_EVENT_MAX) {
      const lists = { inserted: textOf(inserted), deleted: textOf(deleted) };
      yield { isLast: true, facts, lists };
      return;
    }
    for (let start = 0; start < deleted.length; start += ROWS_PER_EVENT_MAX) {
      const lists = { inserted: '[]', deleted: textOf(deleted, start) };
      yield { isLast: false, facts: { ...facts, more: true }, lists };
    }
    let start = 0;
    do {
      const lists = { inserted: textOf(inserted, start), deleted: '[]' };
      start += ROWS_PER_EVENT_MAX;
      const isLast = start >= inserted.length;
      yield { isLast, facts: { ...facts, more: !isLast }, lists };
    } while (start < inserted.length);
  } else yield { isLast: change.kind !== 'reset', facts: change, lists: {} };
}

/** Subscribers who are told a change alike are given the same arrays. */
function textOf(rows: readonly unknown[], start = 0): string {
  return rows.length === 0 ? '[]' : rowTexts.of(rows, { start, rowCount: ROWS_PER_EVENT_MAX });
}

function withLists(facts: string, lists: Readonly<Record<string, string>>): string {
  let text = facts.slice(0, -1);
  for (const [name, list] of Object.entries(lists)) text += `,"${name}":${list}`;
  return `${text}}`;
}

function* piecesOfAnswer(
  event: ProgressiveEvent,
): Iterable<ProgressiveEvent & { readonly more?: boolean }> {
  for (const [rows, last] of cut(event.rows, ESTIMATES_PER_EVENT_MAX))
    yield last ? { ...event, rows } : { ...event, rows, more: true };
}

function* cut<Row>(
  rows: readonly Row[],
  rowCountMax = ROWS_PER_EVENT_MAX,
): Iterable<[rows: Row[], last: boolean]> {
  let start = 0;
  do {
    const end = start + rowCountMax;
    yield [rows.slice(start, end), end >= rows.length];
    start = end;
  } while (start < rows.length);
}

async function send(sink: EventSink, event: string, data: string, id?: string): Promise<void> {
  if (sink.closed) return;
  const text = `event: ${event}\n${id === undefined ? '' : `id: ${id}\n`}data: ${data}\n\n`;
  if (!sink.write(text)) await sink.drained();
}

function resumeOf(resume: ResumePoint | undefined, name: string): number | undefined {
  if (resume === undefined) return undefined;
  return resume.behind.has(name) ? resume.behind.get(name) : resume.position;
}

/** What a `Last-Event-ID` header says; undefined where there is none. */
export function lastEventId(header: string | undefined): ResumePoint | undefined {
  if (header === undefined || header === '') return undefined;
  const [position = '', ...behind] = header.split(';');
  const items = behind.map((each) => /^([^=]+)=(\d*)$/.exec(each));
  if (isPosition(position) && items.every((each) => each !== null && isPosition(each[2] || '0'))) {
    return {
      position: Number(position),
      behind: new Map(
        items.map((each) => [
          decodeName(each![1]!),
          each![2] === '' ? undefined : Number(each![2]),
        ]),
      ),
    };
  }
  throw new DbError('22023', `"${header}" is not a position`, {
    field: 'Last-Event-ID',
    hint: 'Send the id of the last event, or leave the header out.',
  });
}

function isPosition(text: string): boolean {
  return /^\d+$/.test(text) && Number.isSafeInteger(Number(text));
}

function decodeName(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
