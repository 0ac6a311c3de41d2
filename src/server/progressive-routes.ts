import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { DbError } from '../base/errors.ts';
import type {
  ProgressiveEvent,
  ProgressiveStop,
  QueryOptions,
  Statement,
} from '../actors/api-types.ts';
import type { Handle } from '../actors/database.ts';
import { problemOf } from './problem.ts';
import { begin, drained, jsonText, sendJson } from './reply.ts';
import type { RouteContext } from './query-routes.ts';
import { bodyObject, header, PROGRESSIVE_FIELDS, type QueryBody } from './request.ts';

/**
 * `GET /v1/queries/{id}`, which may go on with a progressive answer as a stream, and `POST …/pause | resume | refine`, which steer one. What is refined
 * is read on in the same request, where the client accepts a stream: after a `stop` nobody reads the first one any more.
 */
export function progressiveRoutes(app: FastifyInstance, { verbs, open }: RouteContext): void {
  app.get<{ Params: { id: string } }>('/v1/queries/:id', async (request, reply) => {
    const { id } = request.params;
    const as = streamAccepted(request);
    const info = await verbs(request).queries.get(id);
    reply.header('vary', 'Accept');
    if (as === undefined) return sendJson(reply, info);
    const events = verbs(request).queries.progressive(id).watch();
    return sendEvents({ reply, as, events, queryId: id, open });
  });
  app.post<{ Params: { id: string } }>('/v1/queries/:id/pause', async (request) => {
    const { id } = request.params;
    await verbs(request).queries.pause(id);
    return { id, paused: true };
  });
  app.post<{ Params: { id: string } }>('/v1/queries/:id/resume', async (request) => {
    const { id } = request.params;
    await verbs(request).queries.resume(id);
    return { id, paused: false };
  });
  app.post<{ Params: { id: string } }>('/v1/queries/:id/refine', async (request, reply) => {
    const { id } = request.params;
    const { stop } = bodyObject<{ stop?: unknown }>(request.body, ['stop']);
    if (stop === undefined)
      throw new DbError('22023', '"stop" is missing', {
        field: 'stop',
        hint: 'Send { "stop": { "relativeError": 0.001 } } or { "stop": "exact" }.',
      });
    const answer = verbs(request).queries.progressive(id);
    await answer.refineTo(stop as ProgressiveStop);
    const as = streamAccepted(request);
    reply.header('vary', 'Accept');
    if (as === undefined) return { id, stop };
    return sendEvents({ reply, as, events: answer, queryId: id, open });
  });
}

/**
 * A progressive answer over HTTP: `estimate` events, then one `final`; an `error` where it fails. As server-sent events where the client
 * accepts `text/event-stream`, else as NDJSON. A slow client is sent the newest state, never a queue. Its leaving cancels.
 */
export async function answerProgressively(asked: {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly handle: Handle;
  readonly statement: Statement;
  readonly body: QueryBody;
  readonly options: QueryOptions;
  readonly open: RouteContext['open'];
}): Promise<void> {
  const { request, reply, handle, statement, body, options, open } = asked;
  const own = PROGRESSIVE_FIELDS.filter((field) => body[field] !== undefined);
  const answer = handle.progressive(statement, {
    ...options,
    ...Object.fromEntries(own.map((field) => [field, body[field]])),
  });
  const as = streamAccepted(request) ?? 'lines';
  await sendEvents({ reply, as, events: answer, queryId: answer.queryId, open });
}

type StreamKind = 'events' | 'lines';

/** Server-sent events or lines of JSON, where the client asks for a stream by name. */
function streamAccepted(request: FastifyRequest): StreamKind | undefined {
  const accept = header(request, 'accept') ?? '';
  if (accept.includes('text/event-stream')) return 'events';
  return accept.includes('application/x-ndjson') ? 'lines' : undefined;
}

async function sendEvents(sent: {
  readonly reply: FastifyReply;
  readonly as: StreamKind;
  readonly events: AsyncIterable<ProgressiveEvent>;
  readonly queryId: string;
  readonly open: RouteContext['open'];
}): Promise<void> {
  const { reply, as, open } = sent;
  const events = sent.events[Symbol.asyncIterator]();
  const leave = (): void => void events.return?.();
  const closing = new AbortController();
  closing.signal.addEventListener('abort', leave, { once: true });
  open.add(closing);
  reply.raw.once('close', leave);
  try {
    // The first event decides between an answer and an error.
    let next = await events.next();
    const raw = begin(reply, {
      'content-type':
        as === 'events'
          ? 'text/event-stream; charset=utf-8'
          : 'application/x-ndjson; charset=utf-8',
      'cache-control': 'no-store',
      'adb-query-id': sent.queryId,
    });
    const textOf = (event: ProgressiveEvent): string =>
      as === 'events'
        ? `event: ${event.kind}\ndata: ${jsonText(event)}\n\n`
        : `${jsonText(event)}\n`;
    try {
      for (; next.done !== true && !raw.destroyed; next = await events.next())
        if (!raw.write(textOf(next.value))) await drained(raw);
      if (closing.signal.aborted)
        throw new DbError('57P01', 'the server is shutting down', {
          hint: 'Ask again with { resume } of the last event: the sequence is the same.',
        });
      raw.end();
    } catch (cause) {
      const error = problemOf(cause).body;
      raw.end(
        as === 'events'
          ? `event: error\ndata: ${JSON.stringify(error)}\n\n`
          : `${JSON.stringify({ kind: 'error', error })}\n`,
      );
    }
  } finally {
    open.delete(closing);
    reply.raw.off('close', leave);
    leave();
  }
}
