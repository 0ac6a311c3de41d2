import fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify';
import type { Logger } from 'pino';
import { DbError } from '../base/errors.ts';
import type { Clock } from '../base/ports.ts';
import type { Database } from '../actors/database.ts';
import type { Identity, QueryOptions, QueryResult, Statement } from '../actors/api-types.ts';
import { jsonValue, type ValueOptions } from '../actors/rows-out.ts';
import { sql } from '../actors/sql-tag.ts';
import { demoRoutes, type DemoControls } from './demo-routes.ts';
import { lastEventId, serveLive, type EventSink, type LiveItem } from './live.ts';
import { problemOf } from './problem.ts';
import type { Page } from './page.ts';
import { bodyObject } from './request.ts';

/** What is served beside the database: the page, and the demo's controls where there is one. */
export type AppOptions = {
  readonly database: Database;
  readonly clock: Clock;
  readonly logger: Logger | undefined;
  readonly page: Page | undefined;
  readonly demo: DemoControls | undefined;
  /** Answers 200 on /readyz from now on. */
  readonly ready: () => boolean;
};

/** A body of rows: larger ones come in several requests, or through `load`. */
const BODY_BYTES_MAX = 64 * 1024 * 1024;

/** What is under way when the server closes may take this long: supervisors kill after ten seconds (Docker) or more. */
const DRAIN_MS_MAX = 8_000;

type QueryBody = {
  readonly sql?: string;
  readonly query?: { readonly from: string };
  readonly window?: unknown;
  readonly params?: readonly unknown[];
  readonly mode?: string;
  readonly values?: ValueOptions;
  readonly atLeast?: number;
  readonly asOf?: number;
  readonly priority?: QueryOptions['priority'];
  readonly timeoutMs?: number;
  readonly maxWork?: number;
  readonly label?: string;
};

/** The REST door (docs/wire.md). Opens no socket: `listen.ts` does, or the user's own server. */
export function createApp(options: AppOptions): FastifyInstance {
  const { database, clock } = options;
  const app: FastifyInstance = fastify({
    ...(options.logger === undefined
      ? { logger: false }
      : { loggerInstance: options.logger as FastifyBaseLogger }),
    bodyLimit: BODY_BYTES_MAX,
    // By then the requests under way have been answered: see below.
    forceCloseConnections: true,
  });
  const streams = new Set<AbortController>();
  const underWay = new Set<FastifyReply['raw']>();
  let whenDrained = (): void => undefined;
  app.addHook('onRequest', async (_request, { raw }) => {
    underWay.add(raw);
    raw.once('close', () => {
      underWay.delete(raw);
      if (underWay.size === 0) whenDrained();
    });
  });
  app.addHook('preClose', async () => {
    for (const stream of streams) stream.abort('the server is shutting down');
    if (underWay.size === 0) return;
    await new Promise<void>((resolve) => {
      const timer = clock.after(DRAIN_MS_MAX, resolve);
      whenDrained = () => {
        timer.cancel();
        resolve();
      };
    });
  });
  const routes: { readonly method: string; readonly path: RegExp }[] = [];
  app.addHook('onRoute', ({ method, url }) => {
    const path = new RegExp(`^${url.replaceAll('.', '\\.').replace(/:\w+/g, '[^/]+')}$`);
    for (const each of [method].flat()) routes.push({ method: each, path });
  });

  // Bodies that are no JSON: rows as text, Parquet and Arrow as bytes.
  app.addContentTypeParser(
    ['application/x-ndjson', 'text/csv'],
    { parseAs: 'buffer' },
    (_request, body, done) => done(null, body),
  );
  app.addContentTypeParser(
    [
      'application/vnd.apache.arrow.stream',
      'application/vnd.apache.parquet',
      'application/octet-stream',
    ],
    { parseAs: 'buffer' },
    (_request, body, done) => done(null, body),
  );
  app.setErrorHandler((error, _request, reply) => {
    const { statusCode } = error as { statusCode?: number };
    return sendProblem(reply, asDbError(error), error instanceof DbError ? undefined : statusCode);
  });
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?')[0]!;
    const allowed = routes.filter((route) => route.path.test(path)).map(({ method }) => method);
    if (allowed.length > 0) {
      const allow = [...new Set(allowed)].join(', ');
      const what = `${path} takes ${allow}, not ${request.method}`;
      return sendProblem(reply.header('allow', allow), new DbError('22023', what), 405);
    }
    const cause = new DbError('22023', `there is no ${request.method} ${path}`, {
      hint: 'See /v1/tables, /v1/views and POST /v1/query.',
    });
    return sendProblem(reply, cause, 404);
  });

  const verbs = (request: FastifyRequest): ReturnType<Database['as']> =>
    database.as(identityOf(request));

  app.post<{ Body: QueryBody }>('/v1/query', async (request, reply) => {
    const body = bodyObject<QueryBody>(request.body);
    await answer(request, reply, verbs(request), statementOf(body), queryOptions(body, reply));
  });

  app.get<{ Querystring: { sql?: string; asOf?: string } }>('/v1/query', async (request, reply) => {
    const text = request.query.sql;
    if (text === undefined)
      throw new DbError('22023', 'the parameter "sql" is missing', {
        field: 'sql',
        hint: 'GET /v1/query?sql=SELECT…',
      });
    await answer(request, reply, verbs(request), text, {
      ...queryOptions({}, reply),
      readOnly: true,
    } as QueryOptions);
  });

  app.post<{ Body: QueryBody }>('/v1/exec', async (request, reply) => {
    const body = bodyObject<QueryBody>(request.body);
    if (typeof body.sql !== 'string')
      throw new DbError('22023', '"sql" is not a text', {
        field: 'sql',
        hint: 'Send { "sql": "CREATE TABLE …" }.',
      });
    return reply.send(await verbs(request).exec(body.sql, queryOptions(body, reply)));
  });

  app.post<{ Params: { table: string }; Querystring: { mode?: string } }>(
    '/v1/tables/:table/rows',
    async (request, reply) => {
      const { table } = request.params;
      const mode = request.query.mode ?? 'insert';
      if (mode !== 'insert' && mode !== 'upsert')
        throw new DbError('22023', `unknown mode "${mode}"`, {
          field: 'mode',
          hint: 'Use mode=insert or mode=upsert.',
        });
      const handle = verbs(request);
      const type = contentType(request);
      const key = request.headers['idempotency-key'];
      const write = typeof key === 'string' ? { idempotencyKey: key } : {};
      if (type === 'application/json') {
        return reply.send(await handle[mode](table, request.body as never, write));
      }
      if (mode === 'upsert')
        throw new DbError('0A000', `upsert of ${type} is not supported yet`, {
          hint: 'Send application/json.',
        });
      const loaded = await handle.load(table, request.body as Uint8Array, {
        format: formatOf(type),
        atomic: true,
        ...write,
      });
      return reply.send({ position: loaded.position, rows: loaded.rows });
    },
  );

  app.delete<{ Params: { table: string }; Querystring: Record<string, string> }>(
    '/v1/tables/:table/rows',
    async (request, reply) => {
      const body = request.body as Record<string, unknown> | null | undefined;
      const key =
        body ??
        Object.fromEntries(Object.entries(request.query).filter(([name]) => name !== 'tenant'));
      return reply.send(await verbs(request).delete(request.params.table, key));
    },
  );

  app.get('/v1/tables', async (request) => ({
    tables: verbs(request)
      .describe()
      .filter(({ kind }) => kind === 'table'),
  }));
  app.get('/v1/views', async (request) => ({
    views: verbs(request)
      .describe()
      .filter(({ kind }) => kind !== 'table'),
  }));
  for (const [path, kinds, what] of [
    ['/v1/tables/:name', ['table'], 'table'],
    ['/v1/views/:name', ['view', 'materializedView'], 'view'],
  ] as const) {
    app.get<{ Params: { name: string } }>(path, async (request) => {
      const { name } = request.params;
      const found = verbs(request)
        .describe()
        .find((each) => each.name === name && (kinds as readonly string[]).includes(each.kind));
      if (found === undefined)
        throw new DbError('42P01', `${what} "${name}" does not exist`, { table: name });
      return found;
    });
  }

  app.get<{ Params: { name: string }; Querystring: { limit?: string; cursor?: string } }>(
    '/v1/views/:name/rows',
    async (request, reply) => {
      const limit = wholeNumber(request.query.limit, 'limit', 1000, 10_000);
      const cursor =
        request.query.cursor === undefined ? undefined : decodeCursor(request.query.cursor);
      const offset = cursor?.offset ?? 0;
      const result = await verbs(request).query(
        sql`SELECT * FROM ${sql.id(request.params.name)} LIMIT ${limit + 1} OFFSET ${offset}`,
        {
          ...queryOptions({}, reply),
          ...(cursor === undefined ? {} : { asOf: cursor.position }),
        },
      );
      const etag = `"${result.meta.position}"`;
      if (request.headers['if-none-match'] === etag && cursor === undefined)
        return reply.code(304).header('etag', etag).send();
      const more = result.rows.length > limit;
      if (more) {
        const next = Buffer.from(JSON.stringify([result.meta.position, offset + limit])).toString(
          'base64url',
        );
        reply.header(
          'link',
          `</v1/views/${encodeURIComponent(request.params.name)}/rows?limit=${limit}&cursor=${next}>; rel="next"`,
        );
      }
      return sendJson(reply.header('etag', etag), {
        position: result.meta.position,
        columns: result.columns,
        rows: result.rows.slice(0, limit),
      });
    },
  );

  app.get<{ Querystring: { views?: string; maxRate?: string } }>(
    '/v1/live',
    async (request, reply) => {
      const names = (request.query.views ?? '').split(',').filter((name) => name !== '');
      if (names.length === 0)
        throw new DbError('22023', 'the parameter "views" is missing', {
          field: 'views',
          hint: 'GET /v1/live?views=a,b',
        });
      const maxRate =
        request.query.maxRate === undefined
          ? undefined
          : wholeNumber(request.query.maxRate, 'maxRate', 10, 1000);
      await live(
        request,
        reply,
        names.map((name) => ({ name, what: name })),
        maxRate,
      );
    },
  );

  app.post<{
    Body: {
      items?: Record<
        string,
        {
          view?: string;
          sql?: string;
          query?: { from: string };
          params?: readonly unknown[];
          maxRate?: number;
        }
      >;
    };
  }>('/v1/live', async (request, reply) => {
    const { items } = bodyObject<{ items?: Record<string, LiveBody> }>(request.body);
    if (items === undefined || Object.keys(items).length === 0)
      throw new DbError('22023', '"items" is missing', {
        field: 'items',
        hint: 'Send { "items": { "sales": { "view": "sales" } } }.',
      });
    const wanted = Object.entries(items).map(([name, item]) => {
      const what = item.view ?? item.sql ?? item.query;
      if (what === undefined)
        throw new DbError('22023', `item "${name}" says neither view, sql nor query`, {
          field: `items.${name}`,
        });
      return { name, what, params: item.params, maxRate: item.maxRate };
    });
    await live(request, reply, wanted, undefined);
  });

  async function live(
    request: FastifyRequest,
    reply: FastifyReply,
    wanted: readonly {
      name: string;
      what: string | { from: string };
      params?: readonly unknown[] | undefined;
      maxRate?: number | undefined;
    }[],
    maxRate: number | undefined,
  ): Promise<void> {
    const handle = verbs(request);
    const resume = lastEventId(header(request, 'last-event-id'));
    const items: LiveItem[] = wanted.map((item) => ({
      name: item.name,
      open: (from, signal) =>
        handle.subscribe(item.what, {
          from,
          signal,
          maxRate: item.maxRate ?? maxRate,
          ...(item.params === undefined ? {} : { params: item.params }),
        }),
    }));
    // Names are checked before the stream begins, so that a wrong one is a 404 and not an event.
    for (const { what } of wanted)
      if (typeof what === 'string' && /^[\w.]+$/.test(what)) handle.mustExist(what);
    reply.hijack();
    const { raw } = reply;
    raw.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      connection: 'keep-alive',
      'x-accel-buffering': 'no',
    });
    const sink: EventSink = {
      write: (text) => raw.write(text),
      drained: () => drained(raw),
      get closed() {
        return raw.destroyed;
      },
      end: () => raw.end(),
    };
    const abort = new AbortController();
    raw.on('close', () => abort.abort());
    streams.add(abort);
    await serveLive(items, sink, { resume, clock, signal: abort.signal });
    streams.delete(abort);
  }

  app.get('/v1/queries', async (request) => ({ queries: verbs(request).queries() }));

  demoRoutes(app, options.demo);

  app.get('/metrics', async (_request, reply) =>
    reply.type('text/plain; version=0.0.4; charset=utf-8').send(await database.metrics.text()),
  );
  app.get('/healthz', async () => ({ status: 'ok' }));
  app.get('/readyz', async (_request, reply) =>
    options.ready()
      ? { status: 'ready' }
      : reply.code(503).header('retry-after', '1').send({ status: 'starting' }),
  );

  if (options.page !== undefined) {
    for (const { path, type, body } of options.page) {
      app.get(path, async (_request, reply) =>
        reply.type(type).header('cache-control', 'no-cache').send(body),
      );
    }
  }
  return app;
}

type LiveBody = {
  view?: string;
  sql?: string;
  query?: { from: string };
  params?: readonly unknown[];
  maxRate?: number;
};

async function answer(
  request: FastifyRequest,
  reply: FastifyReply,
  handle: ReturnType<Database['as']>,
  statement: Statement,
  options: QueryOptions,
): Promise<void> {
  const accept = header(request, 'accept') ?? 'application/json';
  if (accept.includes('application/x-ndjson') || accept.includes('text/csv')) {
    const csv = accept.includes('text/csv');
    const { raw } = reply;
    const chunks = csv
      ? handle.stream(statement, { ...options, format: 'csv' })
      : ndjson(handle, statement, options);
    const iterator = chunks[Symbol.asyncIterator]();
    // The first piece decides between an answer and an error.
    let next = await iterator.next();
    reply.hijack();
    raw.writeHead(200, {
      'content-type': csv ? 'text/csv; charset=utf-8' : 'application/x-ndjson; charset=utf-8',
    });
    try {
      for (; next.done !== true; next = await iterator.next()) {
        if (raw.destroyed) break;
        if (!raw.write(next.value)) await drained(raw);
      }
    } catch (cause) {
      // Too late for a status: the last line of the stream is the error.
      raw.write(csv ? '' : `${JSON.stringify({ error: problemOf(cause).body })}\n`);
      if (csv) raw.destroy();
    } finally {
      await iterator.return?.();
      raw.end();
    }
    return;
  }
  const result = await handle.query(statement, options);
  if (accept.includes('application/vnd.apache.arrow.stream')) {
    await reply.type('application/vnd.apache.arrow.stream').send(Buffer.from(result.toArrow()));
    return;
  }
  await sendJson(withMeta(reply, result), {
    rows: result.rows,
    columns: result.columns,
    meta: result.meta,
  });
}

/** Resolves when more may be written, or nobody reads any more. */
function drained(raw: FastifyReply['raw']): Promise<void> {
  if (raw.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      raw.off('drain', done);
      raw.off('close', done);
      resolve();
    };
    raw.on('drain', done);
    raw.on('close', done);
  });
}

async function* ndjson(
  handle: ReturnType<Database['as']>,
  statement: Statement,
  options: QueryOptions,
): AsyncIterable<Uint8Array> {
  const encoder = new TextEncoder();
  for await (const batch of handle.stream(statement, options)) {
    let text = '';
    for (const row of batch.rows)
      text += `${JSON.stringify(row, (_, value: unknown) => jsonValue(value))}\n`;
    yield encoder.encode(text);
  }
}

function withMeta(reply: FastifyReply, { meta }: QueryResult): FastifyReply {
  return reply
    .header('adb-position', String(meta.position))
    .header('adb-source', meta.source)
    .header(
      'server-timing',
      `exec;dur=${meta.elapsedMs.toFixed(3)}, queue;dur=${meta.queuedMs.toFixed(3)}`,
    );
}

function sendJson(reply: FastifyReply, value: unknown): FastifyReply {
  return reply
    .type('application/json; charset=utf-8')
    .send(JSON.stringify(value, (_, each: unknown) => jsonValue(each)));
}

/** `known` is HTTP's own status, where the fault lies in the request and not in what it asks. */
function sendProblem(reply: FastifyReply, cause: unknown, known?: number): FastifyReply {
  const { status, body, headers } = problemOf(cause, known);
  return reply
    .code(status)
    .headers(headers)
    .type('application/problem+json')
    .send(JSON.stringify(body));
}

/** Fastify's own errors (a body that is no JSON, one too large) in our words. */
function asDbError(error: unknown): unknown {
  if (error instanceof DbError) return error;
  const { statusCode, message } = error as { statusCode?: number; message?: string };
  if (statusCode === 413)
    return new DbError('54000', 'the request body is too large', {
      hint: 'Send the rows in several requests.',
    });
  if (statusCode === 415)
    return new DbError('22023', 'the content type is not supported', {
      field: 'content-type',
      hint: 'Send application/json, application/x-ndjson, text/csv, or Arrow or Parquet.',
    });
  if (statusCode !== undefined && statusCode < 500)
    return new DbError('22023', message ?? 'the request is not right', {
      hint: 'Check that the body is valid JSON.',
    });
  return error;
}

function identityOf(request: FastifyRequest): Identity {
  const { tenant } = request.query as { tenant?: string };
  return {
    tenant: header(request, 'x-tenant') ?? tenant ?? 'main',
    user: header(request, 'x-user'),
  };
}

function statementOf(body: QueryBody): Statement {
  if (typeof body.sql === 'string') return body.sql;
  if (body.query !== undefined) return body.query as Statement;
  if (body.window !== undefined)
    throw new DbError('0A000', 'window queries are not supported yet', {
      field: 'window',
      hint: 'Use sql with date_trunc and GROUP BY.',
    });
  throw new DbError('22023', 'the body says neither sql nor query', {
    field: 'sql',
    hint: 'Send { "sql": "SELECT …", "params": […] }.',
  });
}

function queryOptions(body: QueryBody, reply: FastifyReply): QueryOptions {
  if (body.mode !== undefined && body.mode !== 'exact')
    throw new DbError('0A000', `mode "${body.mode}" is not supported yet`, {
      field: 'mode',
      hint: 'Use "exact".',
    });
  if (body.params !== undefined && !Array.isArray(body.params))
    throw new DbError('22023', '"params" is not an array', { field: 'params' });
  const abort = new AbortController();
  // A client that went away needs no answer.
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) abort.abort();
  });
  return {
    signal: abort.signal,
    ...(body.params === undefined ? {} : { params: body.params }),
    ...(body.values === undefined ? {} : { values: body.values }),
    ...(body.atLeast === undefined ? {} : { atLeast: body.atLeast }),
    ...(body.asOf === undefined ? {} : { asOf: body.asOf }),
    ...(body.priority === undefined ? {} : { priority: body.priority }),
    ...(body.timeoutMs === undefined ? {} : { timeoutMs: body.timeoutMs }),
    ...(body.maxWork === undefined ? {} : { maxWork: body.maxWork }),
    ...(body.label === undefined ? {} : { label: body.label }),
  };
}

function contentType(request: FastifyRequest): string {
  return (header(request, 'content-type') ?? 'application/json')
    .split(';')[0]!
    .trim()
    .toLowerCase();
}

function formatOf(type: string): 'csv' | 'ndjson' | 'parquet' | 'arrow' {
  switch (type) {
    case 'text/csv':
      return 'csv';
    case 'application/vnd.apache.parquet':
      return 'parquet';
    case 'application/vnd.apache.arrow.stream':
      return 'arrow';
    default:
      return 'ndjson';
  }
}

function header(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

function wholeNumber(
  text: string | undefined,
  field: string,
  byDefault: number,
  most: number,
): number {
  if (text === undefined) return byDefault;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > most)
    throw new DbError('22023', `"${field}" is not a whole number from 1 to ${most}`, { field });
  return value;
}

function decodeCursor(text: string): { position: number; offset: number } {
  try {
    const [position, offset] = JSON.parse(Buffer.from(text, 'base64url').toString()) as number[];
    if (Number.isSafeInteger(position) && Number.isSafeInteger(offset))
      return { position: position!, offset: offset! };
  } catch {
    // Told below, like any other text that is no cursor.
  }
  throw new DbError('22023', 'the cursor is not one of ours', {
    field: 'cursor',
    hint: 'Follow the Link header of the page before.',
  });
}
