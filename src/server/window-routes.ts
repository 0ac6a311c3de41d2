import type { FastifyInstance, FastifyReply } from 'fastify';
import { DbError } from '../base/errors.ts';
import type { QueryOptions } from '../actors/api-types.ts';
import type { WindowQuery } from '../actors/window-query.ts';
import type { RouteContext } from './query-routes.ts';
import { formatOf, sendJson } from './reply.ts';
import { bodyObject, QUERY_FIELDS, queryOptions, queryString, type QueryBody } from './request.ts';
import { sendWindows, WINDOW_FORMATS } from './window-answers.ts';

/** Options that a window query has beside what it asks; the rest of the body is the question. */
const OPTION_FIELDS = QUERY_FIELDS.filter(
  (field) => !['sql', 'query', 'window', 'mode', 'stop', 'confidence'].includes(field),
);

/** POST /v1/windows; calendars by name, policies by table. */
export function windowRoutes(app: FastifyInstance, context: RouteContext): void {
  const { verbs, clock } = context;

  app.post('/v1/windows', async (request, reply) => {
    const { format } = queryString(request, ['format']);
    const { table, query, options } = questionOf(request.body, reply);
    const as = formatOf(request, reply, format, WINDOW_FORMATS);
    return sendWindows(reply, query, await verbs(request).window(table, query, options), as, clock);
  });

  app.post('/v1/windows/explain', async (request, reply) => {
    const { table, query, options } = questionOf(request.body, reply);
    return sendJson(reply, await verbs(request).explainWindow(table, query, options));
  });

  app.get('/v1/calendars', async (request) => ({
    calendars: await verbs(request).calendars.list(),
  }));

  type Named = { Params: { name: string } };
  app.get<Named>('/v1/calendars/:name', async (request) => {
    const { name } = request.params;
    const spec = await verbs(request).calendars.get(name);
    if (spec === undefined)
      throw new DbError('42704', `calendar "${name}" does not exist`, {
        field: 'name',
        hint: 'GET /v1/calendars lists them.',
      });
    return { name, spec };
  });
  app.put<Named>('/v1/calendars/:name', async (request) =>
    verbs(request).calendars.set(request.params.name, bodyObject(request.body)),
  );
  app.delete<Named>('/v1/calendars/:name', async (request) =>
    verbs(request).calendars.drop(request.params.name),
  );

  app.get('/v1/policies', async (request) => ({ policies: await verbs(request).policies.list() }));

  type OfTable = { Params: { table: string } };
  app.get<OfTable>('/v1/policies/:table', async (request) => {
    const { table } = request.params;
    const policy = await verbs(request).policies.get(table);
    if (policy === undefined)
      throw new DbError('42704', `table "${table}" has no policy`, {
        field: 'table',
        hint: 'GET /v1/policies lists them.',
      });
    return { table, policy };
  });
  app.put<OfTable>('/v1/policies/:table', async (request) =>
    verbs(request).policies.set(request.params.table, bodyObject(request.body)),
  );
  app.delete<OfTable>('/v1/policies/:table', async (request) =>
    verbs(request).policies.drop(request.params.table),
  );
}

/** `{ "table": "orders", "last": "24h", … }` with the options of any query among them. */
export function questionOf(
  body: unknown,
  reply: FastifyReply,
): { readonly table: string; readonly query: WindowQuery; readonly options: QueryOptions } {
  const given = bodyObject<Record<string, unknown>>(body);
  const { table, ...rest } = given;
  if (typeof table !== 'string')
    throw new DbError('22023', '"table" is missing', {
      field: 'table',
      hint: 'Send { "table": "orders", "last": "24h", "measures": { "n": "count(*)" } }.',
    });
  const query: Record<string, unknown> = {};
  const options: Record<string, unknown> = {};
  for (const [field, value] of Object.entries(rest))
    (OPTION_FIELDS.includes(field) ? options : query)[field] = value;
  return {
    table,
    query: query as WindowQuery,
    options: queryOptions(options as QueryBody, reply),
  };
}
