import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { DbError } from '../base/errors.ts';
import type { Clock } from '../base/ports.ts';
import type { Handle } from '../actors/database.ts';
import type { QueryOptions, Statement } from '../actors/api-types.ts';
import { problemOf } from './problem.ts';
import { answerProgressively, progressiveRoutes } from './progressive-routes.ts';
import { ANSWER_FORMATS, formatOf, jsonText, sendPieces, sendResult } from './reply.ts';
import { sendWindows, WINDOW_FORMATS } from './window-answers.ts';
import { questionOf } from './window-routes.ts';
import {
  bodyObject,
  PROGRESSIVE_FIELDS,
  QUERY_FIELDS,
  queryOptions,
  queryString,
  statementOf,
  wholeNumber,
  type QueryBody,
} from './request.ts';

export type RouteContext = {
  readonly clock: Clock;
  /** The verbs as whoever asks. */
  verbs(request: FastifyRequest): Handle;
  /** Streams and waits that end when the server closes. */
  readonly open: Set<AbortController>;
};

export function queryRoutes(app: FastifyInstance, context: RouteContext): void {
  const { verbs, clock } = context;

  app.post('/v1/query', async (request, reply) => {
    const body = bodyObject<QueryBody>(request.body, QUERY_FIELDS);
    const { format } = queryString(request, ['format']);
    const options = queryOptions(body, reply);
    if (body.mode === 'progressive') {
      if (body.window !== undefined)
        throw new DbError('0A000', 'a window has no progressive answer', {
          field: 'window',
          hint: 'Ask without "mode": tiles answer windows exactly at once. Or send sql.',
        });
      await answerProgressively({
        request,
        reply,
        handle: verbs(request),
        statement: statementOf(body),
        body,
        options,
        context,
      });
      return;
    }
    const own = PROGRESSIVE_FIELDS.find((field) => body[field] !== undefined);
    if (own !== undefined)
      throw new DbError('22023', `"${own}" belongs to a progressive answer`, {
        field: own,
        hint: 'Send "mode": "progressive" with it.',
      });
    if (body.window !== undefined && body.sql === undefined && body.query === undefined) {
      const { window, ...rest } = body;
      const { table, query } = questionOf(window, reply);
      const as = formatOf(request, reply, format, WINDOW_FORMATS);
      const result = await verbs(request).window(table, query, queryOptions(rest, reply));
      return sendWindows(reply, query, result, as, clock);
    }
    await answer({
      request,
      reply,
      handle: verbs(request),
      statement: statementOf(body),
      options,
      format,
      clock,
    });
  });

  app.get('/v1/query', async (request, reply) => {
    const { sql, params, format, asOf, atLeast, timeoutMs } = queryString(request, [
      'sql',
      'params',
      'format',
      'asOf',
      'atLeast',
      'timeoutMs',
    ]);
    if (sql === undefined)
      throw new DbError('22023', 'the parameter "sql" is missing', {
        field: 'sql',
        hint: 'GET /v1/query?sql=SELECT…',
      });
    const whole = (text: string | undefined, field: string): number | undefined =>
      text === undefined
        ? undefined
        : wholeNumber(text, field, { byDefault: 0, min: 0, max: Number.MAX_SAFE_INTEGER });
    const options = queryOptions(
      {
        params: paramsOf(params),
        asOf: whole(asOf, 'asOf'),
        atLeast: whole(atLeast, 'atLeast'),
        timeoutMs: whole(timeoutMs, 'timeoutMs'),
      },
      reply,
    );
    await answer({
      request,
      reply,
      handle: verbs(request),
      statement: sql,
      options: { ...options, readOnly: true },
      format,
      clock,
    });
  });

  app.post('/v1/exec', async (request, reply) => {
    const body = bodyObject<QueryBody>(request.body, QUERY_FIELDS);
    if (typeof body.sql !== 'string')
      throw new DbError('22023', '"sql" is not a text', {
        field: 'sql',
        hint: 'Send { "sql": "CREATE TABLE …" }.',
      });
    if (body.mode === 'progressive')
      throw new DbError('22023', 'what is executed has no progressive answer', {
        field: 'mode',
        hint: 'POST /v1/query answers a SELECT progressively.',
      });
    return reply.send(await verbs(request).exec(body.sql, queryOptions(body, reply)));
  });

  app.get('/v1/queries', async (request) => ({ queries: await verbs(request).queries.list() }));

  app.delete<{ Params: { id: string } }>('/v1/queries/:id', async (request) => {
    const { id } = request.params;
    await verbs(request).queries.cancel(id);
    return { id, canceled: true };
  });

  progressiveRoutes(app, context);
}

/** `params=[1,"a"]`: JSON, as in a body. */
function paramsOf(text: string | undefined): unknown {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new DbError('22023', '"params" is not JSON', {
      field: 'params',
      hint: 'Give a JSON array: params=[1,"a"].',
      cause,
    });
  }
}

async function answer(asked: {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly handle: Handle;
  readonly statement: Statement;
  readonly options: QueryOptions;
  readonly format: string | undefined;
  readonly clock: Clock;
}): Promise<void> {
  const { reply, handle, statement, options } = asked;
  const format = formatOf(asked.request, reply, asked.format, ANSWER_FORMATS);
  switch (format) {
    case 'json':
      return sendResult(reply, await handle.query(statement, options), asked.clock);
    case 'arrow': {
      const result = await handle.query(statement, options);
      await reply
        .type('application/vnd.apache.arrow.stream')
        .header('adb-position', String(result.meta.position))
        .header('adb-source', result.meta.source)
        .send(Buffer.from(result.toArrow()));
      return;
    }
    case 'csv':
      return sendPieces(reply, handle.stream(statement, { ...options, format: 'csv' }), {
        type: 'text/csv; charset=utf-8; header=present',
        // A CSV cannot say that it is not whole: the connection breaks instead.
        failed: () => undefined,
      });
    case 'parquet':
      return sendPieces(reply, handle.stream(statement, { ...options, format: 'parquet' }), {
        type: 'application/vnd.apache.parquet',
        // Without its footer it is no Parquet file, so the connection breaks.
        failed: () => undefined,
      });
    case 'ndjson':
      return sendPieces(reply, ndjson(handle, statement, options), {
        type: 'application/x-ndjson; charset=utf-8',
        failed: (cause) => `${JSON.stringify({ error: problemOf(cause).body })}\n`,
      });
  }
}

async function* ndjson(
  handle: Handle,
  statement: Statement,
  options: QueryOptions,
): AsyncIterable<Uint8Array> {
  const encoder = new TextEncoder();
  for await (const batch of handle.stream(statement, options)) {
    let text = '';
    for (const row of batch.rows) text += `${jsonText(row)}\n`;
    yield encoder.encode(text);
  }
}
