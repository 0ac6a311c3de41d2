import { Readable } from 'node:stream';
import fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify';
import type { Logger } from 'pino';
import { DbError } from '../base/errors.ts';
import { nearestOf } from '../base/nearest.ts';
import type { Clock } from '../base/ports.ts';
import type { Identity } from '../actors/api-types.ts';
import type { Database } from '../actors/database.ts';
import { demoRoutes, type DemoControls } from './demo-routes.ts';
import { parseExactJson } from './exact-json.ts';
import { HttpMetrics } from './http-metrics.ts';
import { answerBrokenRequest } from './listen.ts';
import { liveRoutes } from './live-routes.ts';
import { guardOrigins } from './origin.ts';
import type { Page } from './page.ts';
import { queryRoutes } from './query-routes.ts';
import { recoveryRoutes, refuseToTenants } from './recovery-routes.ts';
import { NDJSON, relationRoutes } from './relation-routes.ts';
import { NotAcceptable, sendProblem } from './reply.ts';
import { header, identityOf } from './request.ts';
import { windowRoutes } from './window-routes.ts';

/** What is served beside the database: the page, and the demo's controls where there is one. */
export type AppOptions = {
  readonly database: Database;
  readonly clock: Clock;
  readonly logger: Logger | undefined;
  readonly page: Page | undefined;
  readonly demo: DemoControls | undefined;
  /** Answers 200 on /readyz from now on. */
  readonly ready: () => boolean;
  /** Names besides this machine's own under which the server may be asked. */
  readonly allowedHosts?: readonly string[];
  /** Inside a user's own server: that one knows who asks, from where, and who may see metrics. */
  readonly identityOf?: ((request: FastifyRequest) => Identity) | undefined;
};

/** A body of rows: larger ones come in several requests, or through `load`. */
const BODY_BYTES_MAX = 64 * 1024 * 1024;

/** What is under way when the server closes may take this long: supervisors kill after ten seconds (Docker) or more. */
const DRAIN_MS_MAX = 8_000;

/** The page asks this server and nobody else. */
const PAGE_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** The REST door (docs/wire.md). Opens no socket: `listen.ts` does, or the user's own server. */
export function createApp(options: AppOptions): FastifyInstance {
  const { database, clock } = options;
  const app: FastifyInstance = fastify({
    ...(options.logger === undefined
      ? { logger: false }
      : { loggerInstance: options.logger as FastifyBaseLogger }),
    bodyLimit: BODY_BYTES_MAX,
    // By then the requests under way have been answered: see `drainOnClose`.
    forceCloseConnections: true,
    clientErrorHandler: answerBrokenRequest,
    frameworkErrors: (error, request, reply) =>
      void sendProblem(reply, ofHttp(error, request) ?? error, error.statusCode),
  });
  const open = new Set<AbortController>();
  const metrics = new HttpMetrics(clock, () => open.size);
  drainOnClose(app, clock, open);
  const whoAsks = options.identityOf ?? identityOf;
  if (options.identityOf === undefined)
    guardOrigins(app, { allowedHosts: options.allowedHosts ?? [] });
  else takeReadBodies(app);
  metrics.watch(app);
  parseBodies(app);
  explainErrors(app);

  const verbs = (request: FastifyRequest): ReturnType<Database['as']> =>
    database.as(whoAsks(request), { bytes: 'base64' });
  const context = { clock, verbs, open };
  queryRoutes(app, context);
  windowRoutes(app, context);
  relationRoutes(app, context);
  recoveryRoutes(app, {
    recovery: (request) => {
      refuseToTenants(whoAsks(request).tenant);
      return database.recovery;
    },
  });
  liveRoutes(app, { ...context, instantMs: (position) => database.instantMs(position) });
  demoRoutes(app, options.demo);

  if (options.identityOf === undefined) {
    app.get('/metrics', async (_request, reply) =>
      reply
        .type('text/plain; version=0.0.4; charset=utf-8')
        .send((await database.metrics.text()) + (await metrics.text())),
    );
  }
  app.get('/healthz', async () => ({ status: 'ok' }));
  app.get('/readyz', async (_request, reply) =>
    options.ready()
      ? { status: 'ready' }
      : reply.code(503).header('retry-after', '1').send({ status: 'starting' }),
  );
  for (const { path, type, body } of options.page ?? []) {
    app.get(path, async (_request, reply) =>
      reply
        .type(type)
        .header('cache-control', 'no-cache')
        .header('content-security-policy', PAGE_POLICY)
        .header('x-content-type-options', 'nosniff')
        .header('referrer-policy', 'no-referrer')
        .send(body),
    );
  }
  return app;
}

/** Closing says goodbye to streams, waits for what is under way, and then for nobody. */
function drainOnClose(app: FastifyInstance, clock: Clock, open: Set<AbortController>): void {
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
    for (const each of open) each.abort('the server is shutting down');
    if (underWay.size === 0) return;
    await new Promise<void>((resolve) => {
      const timer = clock.after(DRAIN_MS_MAX, resolve);
      whenDrained = () => {
        timer.cancel();
        resolve();
      };
    });
  });
}

/** Bodies that `express.json()` and the like have read already. */
function takeReadBodies(app: FastifyInstance): void {
  app.addHook('preParsing', async ({ raw }, _reply, payload) => {
    const { body } = raw as { body?: unknown };
    if (body === undefined || !raw.readableEnded) return payload;
    const bytes =
      body instanceof Uint8Array || typeof body === 'string'
        ? Buffer.from(body as string)
        : Buffer.from(JSON.stringify(body));
    // What Fastify compares with the length that the header told.
    return Object.assign(Readable.from([bytes]), {
      receivedEncodedLength: Number(raw.headers['content-length'] ?? bytes.length),
    });
  });
}

const CHARSET = /;\s*charset\s*=\s*"?([^\s";]+)/i;

/** JSON with its numbers as they were written; rows in other formats as bytes. */
function parseBodies(app: FastifyInstance): void {
  app.addHook('onRequest', async (request, reply) => {
    const charset = CHARSET.exec(header(request, 'content-type') ?? '')?.[1];
    if (charset !== undefined && !/^(utf-?8|us-ascii)$/i.test(charset)) {
      const what = `bodies in charset "${charset}" are not read`;
      const hint = 'Send UTF-8; iconv converts.';
      const cause = new DbError('22023', what, { field: 'content-type', hint });
      return sendProblem(reply, cause, 415);
    }
    const encoding = header(request, 'content-encoding');
    if (encoding === undefined || encoding.toLowerCase() === 'identity') return undefined;
    const what = `bodies in content-encoding "${encoding}" are not read`;
    const hint = 'Send the body as it is; Parquet and Arrow are compact already.';
    return sendProblem(reply, new DbError('22023', what, { field: 'content-encoding', hint }), 415);
  });
  app.removeContentTypeParser(['application/json', 'text/plain']);
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, body, done) => {
    const text = body as string;
    if (text.trim() === '') return done(null, undefined);
    try {
      return done(null, parseExactJson(text));
    } catch (cause) {
      const detail = cause instanceof Error ? cause.message : String(cause);
      return done(
        new DbError('22023', 'the body is not JSON', {
          detail,
          hint: 'Check quotes, commas and brackets; the detail says where reading ended.',
          cause,
        }),
      );
    }
  });
  app.addContentTypeParser(
    [
      ...NDJSON,
      'text/csv',
      'application/vnd.apache.arrow.stream',
      'application/vnd.apache.parquet',
      'application/octet-stream',
    ],
    { parseAs: 'buffer' },
    (_request, body, done) => done(null, body),
  );
}

/** Every refusal is a problem document (RFC 9457) in our words, with what helps. */
function explainErrors(app: FastifyInstance): void {
  app.setErrorHandler((error, request, reply) => {
    if (error instanceof NotAcceptable) return sendProblem(reply, error, 406);
    if (error instanceof DbError) return sendProblem(reply, error);
    const { statusCode } = error as { statusCode?: number };
    const known = ofHttp(error, request);
    if (known !== undefined) return sendProblem(reply, known, statusCode);
    request.log.error({ err: error, url: request.url }, 'internal error');
    return sendProblem(reply, error, 500);
  });
  const routes: { readonly method: string; readonly path: RegExp; readonly url: string }[] = [];
  app.addHook('onRoute', ({ method, url }) => {
    const path = new RegExp(`^${url.replaceAll('.', '\\.').replace(/:\w+/g, '[^/]+')}$`);
    for (const each of [method].flat()) routes.push({ method: each, path, url });
  });
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?')[0]!;
    const allowed = routes.filter((route) => route.path.test(path)).map(({ method }) => method);
    if (allowed.length > 0) {
      const allow = [...new Set([...allowed, 'OPTIONS'])].join(', ');
      if (request.method === 'OPTIONS') return reply.code(204).header('allow', allow).send();
      const what = `${path} takes ${allow}, not ${request.method}`;
      const hint = `Use ${allow.replaceAll(', ', ' or ')}.`;
      return sendProblem(reply.header('allow', allow), new DbError('22023', what, { hint }), 405);
    }
    const nearest = nearestOf(
      path,
      routes.map(({ url }) => url),
    );
    const cause = new DbError('22023', `there is no ${request.method} ${path}`, {
      hint:
        nearest === undefined
          ? 'See /v1/tables, /v1/views and POST /v1/query.'
          : `Did you mean ${nearest}?`,
    });
    return sendProblem(reply, cause, 404);
  });
}

/** HTTP's own faults; undefined where the fault is ours. */
function ofHttp(error: unknown, request: FastifyRequest): DbError | undefined {
  const { statusCode, message } = error as { statusCode?: number; message?: string };
  if (statusCode === 413)
    return new DbError('54000', `the request body is larger than ${BODY_BYTES_MAX} bytes`, {
      limit: 'body',
      hint: 'Send the rows in several requests.',
    });
  if (statusCode === 415) {
    const given = header(request, 'content-type') ?? 'none';
    return new DbError('22023', `the content type "${given}" is not supported`, {
      field: 'content-type',
      hint: "Send application/json (curl: -H 'content-type: application/json'); rows also as application/x-ndjson, text/csv, Arrow or Parquet.",
    });
  }
  if (statusCode === undefined || statusCode >= 500) return undefined;
  return new DbError('22023', message ?? 'the request is not right', {
    hint: 'See docs/wire.md for what each address takes.',
  });
}
