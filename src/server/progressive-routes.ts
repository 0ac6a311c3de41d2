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
import { begin, drained, jsonText } from './reply.ts';
import type { RouteContext } from './query-routes.ts';
import { bodyObject, header, type QueryBody } from './request.ts';

/** `POST /v1/queries/{id}/pause | resume | refine`: what steers a progressive answer. */
export function progressiveRoutes(app: FastifyInstance, { verbs }: RouteContext): void {
  const steered = (request: FastifyRequest, id: string): ReturnType<Handle['progressiveOf']> => {
    const answer = verbs(request).progressiveOf(id);
    if (answer === undefined)
      throw new DbError('42704', `no progressive answer "${id}" is being made`, {
        hint: 'It may have ended: GET /v1/queries lists those that run.',
      });
    return answer;
  };
  app.post<{ Params: { id: string } }>('/v1/queries/:id/pause', async (request) => {
    const { id } = request.params;
    await steered(request, id)!.pause();
    return { id, paused: true };
  });
  app.post<{ Params: { id: string } }>('/v1/queries/:id/resume', async (request) => {
    const { id } = request.params;
    await steered(request, id)!.resume();
    return { id, paused: false };
  });
  app.post<{ Params: { id: string } }>('/v1/queries/:id/refine', async (request) => {
    const { id } = request.params;
    const { stop } = bodyObject<{ stop?: unknown }>(request.body, ['stop']);
    if (stop === undefined)
      throw new DbError('22023', '"stop" is missing', {
        field: 'stop',
        hint: 'Send { "stop": { "relativeError": 0.001 } } or { "stop": "exact" }.',
      });
    await steered(request, id)!.refineTo(stop as ProgressiveStop);
    return { id, stop };
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
}): Promise<void> {
  const { reply, handle, statement, body, options } = asked;
  const isEvents = (header(asked.request, 'accept') ?? '').includes('text/event-stream');
  const answer = handle.progressive(statement, {
    ...options,
    ...(body.stop === undefined ? {} : { stop: body.stop as ProgressiveStop }),
    ...(body.confidence === undefined ? {} : { confidence: body.confidence as number }),
    ...(body.simultaneous === undefined ? {} : { simultaneous: body.simultaneous as boolean }),
    ...(body.resume === undefined ? {} : { resume: body.resume as string }),
  });
  const events = answer[Symbol.asyncIterator]();
  try {
    // The first event decides between an answer and an error.
    let next = await events.next();
    const raw = begin(reply, {
      'content-type': isEvents
        ? 'text/event-stream; charset=utf-8'
        : 'application/x-ndjson; charset=utf-8',
      'cache-control': 'no-store',
      'adb-query-id': answer.queryId,
    });
    const textOf = (event: ProgressiveEvent): string =>
      isEvents ? `event: ${event.kind}\ndata: ${jsonText(event)}\n\n` : `${jsonText(event)}\n`;
    try {
      for (; next.done !== true && !raw.destroyed; next = await events.next())
        if (!raw.write(textOf(next.value))) await drained(raw);
      raw.end();
    } catch (cause) {
      const error = problemOf(cause).body;
      raw.end(
        isEvents
          ? `event: error\ndata: ${JSON.stringify(error)}\n\n`
          : `${JSON.stringify({ kind: 'error', error })}\n`,
      );
    }
  } finally {
    await events.return?.();
  }
}
