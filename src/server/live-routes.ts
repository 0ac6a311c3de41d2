import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { DbError } from '../base/errors.ts';
import type { ProgressiveOptions, QueryModelInput, Statement } from '../actors/api-types.ts';
import type { WindowQuestionInput } from '../actors/database.ts';
import { checkProgressiveOptions } from '../actors/progressive.ts';
import { lastEventId, serveLive, type EventSink, type LiveItem } from './live.ts';
import type { RouteContext } from './query-routes.ts';
import { begin, drained } from './reply.ts';
import {
  bodyObject,
  header,
  PROGRESSIVE_FIELDS,
  queryString,
  statementOf,
  wholeNumber,
} from './request.ts';
import { Turns } from './turns.ts';

type Wanted =
  | {
      readonly kind: 'followed';
      readonly name: string;
      readonly what: string | QueryModelInput | { readonly window: WindowQuestionInput };
      readonly params?: readonly unknown[] | undefined;
      readonly maxRate?: number | undefined;
    }
  | {
      readonly kind: 'answered';
      readonly name: string;
      readonly statement: Statement;
      readonly options: ProgressiveOptions;
    };

/** Subscriptions of one stream: a dashboard has tens. */
const ITEM_COUNT_MAX = 200;

/** `GET` and `POST /v1/live`: server-sent events (live.ts). */
export function liveRoutes(
  app: FastifyInstance,
  context: RouteContext & { instantMs(position: number): number },
): void {
  const turns = new Turns(context.clock);
  app.get(
    '/v1/live',
    // A HEAD would never end.
    { exposeHeadRoute: false },
    async (request, reply) => {
      const { views: named = '', maxRate } = queryString(request, ['views', 'maxRate']);
      const names = named.split(',').map((name) => name.trim());
      const views = [...new Set(names.filter((name) => name !== ''))];
      if (views.length === 0)
        throw new DbError('22023', 'the parameter "views" is missing', {
          field: 'views',
          hint: 'GET /v1/live?views=a,b',
        });
      const rate =
        maxRate === undefined
          ? undefined
          : wholeNumber(maxRate, 'maxRate', { byDefault: 10, min: 1, max: 1000 });
      await live(
        request,
        reply,
        views.map((name) => ({ kind: 'followed', name, what: name, maxRate: rate })),
      );
    },
  );

  app.post('/v1/live', async (request, reply) => {
    const { items } = bodyObject<{ items?: unknown }>(request.body, ['items']);
    const given =
      items === undefined ? {} : bodyObject<Record<string, Record<string, unknown>>>(items);
    if (Object.keys(given).length === 0)
      throw new DbError('22023', '"items" is missing', {
        field: 'items',
        hint: 'Send { "items": { "sales": { "view": "sales" } } }.',
      });
    await live(
      request,
      reply,
      Object.entries(given).map(([name, item]) => wantedOf(name, item)),
    );
  });

  async function live(
    request: FastifyRequest,
    reply: FastifyReply,
    wanted: readonly Wanted[],
  ): Promise<void> {
    if (wanted.length > ITEM_COUNT_MAX)
      throw new DbError('54000', `a stream has at most ${ITEM_COUNT_MAX} items`, {
        hint: 'Open another one.',
      });
    const handle = context.verbs(request);
    const resume = lastEventId(header(request, 'last-event-id'));
    const items = wanted.map((item): LiveItem => {
      const { kind, name } = item;
      if (kind === 'answered')
        return { kind, name, open: () => handle.progressive(item.statement, item.options) };
      const { what, maxRate, params } = item;
      // Names are checked before the stream begins, so that a wrong one is a 404 and not an event.
      if (typeof what === 'string' && /^[\w.]+$/.test(what)) handle.mustExist(what);
      const open: LiveItem['open'] = (from, signal) =>
        handle.subscribe(what as string, {
          from,
          signal,
          maxRate,
          ...(params === undefined ? {} : { params }),
        });
      return { kind, name, open };
    });
    const raw = begin(reply, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      connection: 'keep-alive',
      'x-accel-buffering': 'no',
    });
    // All items of a stream wait for one and the same.
    let draining: Promise<void> | undefined;
    const sink: EventSink = {
      write: (text) => raw.write(text),
      get full() {
        return raw.writableNeedDrain;
      },
      drained: () => (draining ??= drained(raw).then(() => void (draining = undefined))),
      get closed() {
        return raw.destroyed || raw.writableEnded;
      },
      end: () => raw.end(),
    };
    const abort = new AbortController();
    raw.on('close', () => abort.abort());
    context.open.add(abort);
    const { clock, instantMs } = context;
    await serveLive(items, sink, { resume, clock, turns, instantMs, signal: abort.signal });
    context.open.delete(abort);
  }
}

const ITEM_FIELDS = [
  'view',
  'sql',
  'query',
  'window',
  'params',
  'maxRate',
  'mode',
  ...PROGRESSIVE_FIELDS,
];

function wantedOf(name: string, given: unknown): Wanted {
  const wrong = (field: string, message: string, hint?: string): DbError =>
    new DbError('22023', message, { field: `items.${name}${field}`, hint });
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw wrong('', `item "${name}" is not an object`, 'Send { "view": "sales" }.');
  const item = bodyObject<Record<string, unknown>>(given, ITEM_FIELDS);
  const { mode, params, maxRate, window } = item;
  if (params !== undefined && !Array.isArray(params))
    throw wrong('.params', '"params" is not an array');
  if (mode === 'progressive') return answeredOf(name, item, wrong);
  if (mode !== undefined && mode !== 'exact')
    throw wrong('.mode', `there is no mode "${String(mode)}"`, 'Use "exact" or "progressive".');
  const own = PROGRESSIVE_FIELDS.find((field) => item[field] !== undefined);
  if (own !== undefined)
    throw wrong(
      `.${own}`,
      `"${own}" belongs to a progressive answer`,
      'Send "mode": "progressive" with it.',
    );
  if (
    window !== undefined &&
    (typeof window !== 'object' || window === null || !('table' in window))
  )
    throw wrong(
      '.window',
      '"window" has no table',
      'Send { "window": { "table": "orders", "last": "24h", … } }.',
    );
  const said = ['view', 'sql', 'query', 'window'].filter((field) => item[field] !== undefined);
  if (said.length > 1)
    throw wrong(
      `.${said[1]}`,
      `item "${name}" says both ${said[0]} and ${said[1]}`,
      'Follow each as an item of its own.',
    );
  const what =
    item['view'] ?? item['sql'] ?? item['query'] ?? (window === undefined ? undefined : { window });
  if (typeof what !== 'string' && (typeof what !== 'object' || what === null))
    throw wrong('', `item "${name}" says neither view, sql, query nor window`);
  if (maxRate !== undefined && !(typeof maxRate === 'number' && maxRate > 0))
    throw wrong('.maxRate', '"maxRate" is not a positive number', 'Changes a second, such as 4.');
  return {
    kind: 'followed',
    name,
    what: what as (Wanted & { kind: 'followed' })['what'],
    params: params as readonly unknown[] | undefined,
    maxRate: maxRate as number | undefined,
  };
}

function answeredOf(
  name: string,
  item: Readonly<Record<string, unknown>>,
  wrong: (field: string, message: string, hint?: string) => DbError,
): Wanted {
  for (const field of ['view', 'window', 'maxRate'])
    if (item[field] !== undefined)
      throw wrong(
        `.${field}`,
        `"${field}" belongs to what is followed`,
        'A progressive answer is that of "sql" or "query"; without "mode" it is followed.',
      );
  const own = PROGRESSIVE_FIELDS.filter((field) => item[field] !== undefined);
  const options: ProgressiveOptions = Object.fromEntries(own.map((field) => [field, item[field]]));
  try {
    checkProgressiveOptions(options);
    const { params } = item as { params?: readonly unknown[] };
    const statement = statementOf(item);
    return {
      kind: 'answered',
      name,
      statement,
      options: { ...options, ...(params === undefined ? {} : { params }) },
    };
  } catch (cause) {
    if (!(cause instanceof DbError) || cause.field === undefined) throw cause;
    throw wrong(`.${cause.field}`, cause.message, cause.hint);
  }
}
