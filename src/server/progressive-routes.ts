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
import { begin, drained, jsonText, sendJson, untilIo } from './reply.ts';
import type { RouteContext } from './query-routes.ts';
import { bodyObject, header, PROGRESSIVE_FIELDS, type QueryBody } from './request.ts';

/**
 * `GET /v1/queries/{id}`, which may go on with a progressive answer as a stream, and `POST …/pause | resume | refine`, which steer one. What is refined
 * is read on in the same request, where the client accepts a stream: after a `stop` nobody reads the first one any more.
 */
export function progressiveRoutes(app: FastifyInstance, context: RouteContext): void {
  const { verbs } = context;
  app.get<{ Params: { id: string } }>('/v1/queries/:id', async (request, reply) => {
    const { id } = request.params;
    const as = streamAccepted(request);
    const info = await verbs(request).queries.get(id);
    reply.header('vary', 'Accept');
    if (as === undefined) return sendJson(reply, info);
    const events = verbs(request).queries.progressive(id).watch();
    return sendEvents({ reply, as, events, queryId: id, context });
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
    return sendEvents({ reply, as, events: answer, queryId: id, context });
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
  readonly context: RouteContext;
}): Promise<void> {
  const { request, reply, handle, statement, body, options, context } = asked;
  const own = PROGRESSIVE_FIELDS.filter((field) => body[field] !== undefined);
  const answer = handle.progressive(statement, {
    ...options,
    ...Object.fromEntries(own.map((field) => [field, body[field]])),
  });
  const as = streamAccepted(request) ?? 'lines';
  await sendEvents({ reply, as, events: answer, queryId: answer.queryId, context });
}

type StreamKind = 'events' | 'lines';

/** Rows of estimates that become text in half a millisecond. */
const ROWS_PER_PIECE = 200;

/** An event as text, in pieces between which others are served. */
function* piecesOf({ rows, ...rest }: ProgressiveEvent, as: StreamKind): Iterable<string> {
  const isEvent = as === 'events';
  let text = `${isEvent ? `event: ${rest.kind}\ndata: ` : ''}${jsonText(rest).slice(0, -1)},"rows":[`;
  for (let start = 0; start < rows.length; start += ROWS_PER_PIECE) {
    if (start > 0) {
      yield text;
      text = ',';
    }
    text += jsonText(rows.slice(start, start + ROWS_PER_PIECE)).slice(1, -1);
  }
  yield `${text}]}${isEvent ? '\n\n' : '\n'}`;
}

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
  readonly context: RouteContext;
}): Promise<void> {
  const { reply, as } = sent;
  const { clock, open } = sent.context;
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
    try {
      for (; next.done !== true && !raw.destroyed; next = await events.next())
        for (const piece of piecesOf(next.value, as)) {
          if (!raw.write(piece)) await drained(raw);
          else if (next.value.rows.length > ROWS_PER_PIECE) await untilIo(clock);
        }
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
