import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { DbError } from '../base/errors.ts';
import type { Handle, RelationDescription } from '../actors/database.ts';
import { relationDoesNotExist } from '../plan/catalog.ts';
import { sql } from '../actors/sql-tag.ts';
import type { RouteContext } from './query-routes.ts';
import { sendJson } from './reply.ts';
import {
  contentType,
  header,
  queryOptions,
  queryString,
  untilGone,
  wholeNumber,
} from './request.ts';

/** Tables and views: what there is, rows in, rows out. */
export function relationRoutes(app: FastifyInstance, context: RouteContext): void {
  const { verbs } = context;

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
  app.get<{ Params: { name: string } }>('/v1/tables/:name', async (request) =>
    described(verbs(request), request.params.name, ['table']),
  );
  app.get<{ Params: { name: string } }>('/v1/views/:name', async (request) =>
    described(verbs(request), request.params.name, ['view', 'materializedView']),
  );

  app.post<{ Params: { name: string } }>('/v1/tables/:name/rows', (request, reply) =>
    writeRows(verbs(request), request, reply),
  );

  app.delete<{ Params: { name: string }; Querystring: Record<string, string> }>(
    '/v1/tables/:name/rows',
    async (request, reply) => {
      const body = request.body as Record<string, unknown> | null | undefined;
      const key =
        body ??
        Object.fromEntries(Object.entries(request.query).filter(([name]) => name !== 'tenant'));
      const options = { signal: untilGone(reply) };
      return reply.send(await verbs(request).delete(request.params.name, key, options));
    },
  );

  app.get<{ Params: { name: string } }>('/v1/views/:name/rows', async (request, reply) => {
    const { name } = request.params;
    const asked = queryString(request, ['limit', 'cursor', 'after', 'waitMs']);
    const handle = verbs(request);
    const { kind } = described(handle, name, ['view', 'materializedView']);
    const { limit, cursor, after } = asked;
    if (cursor !== undefined) return sendPage(reply, handle, name, limit, decodeCursor(cursor));
    // Rows that are the same as at a position have that position's tag, whatever has happened elsewhere.
    const known = etagPosition(header(request, 'if-none-match'));
    if (known !== undefined && kind === 'materializedView' && !handle.changedSince(name, known))
      return notModified(reply, known);
    if (after !== undefined) {
      const position = wholeNumber(after, 'after', POSITION);
      if (kind !== 'materializedView')
        throw new DbError('0A000', `"${name}" is a plain view: nobody watches for its changes`, {
          field: 'after',
          hint: 'Make it a materialized view, or follow it with GET /v1/live.',
        });
      const waitMs = wholeNumber(asked.waitMs, 'waitMs', WAIT);
      if (!(await changes(context, reply, { handle, name, position, waitMs })))
        return notModified(reply, position);
    }
    return sendPage(reply, handle, name, limit, undefined);
  });
}

const POSITION = { byDefault: 0, min: 0, max: Number.MAX_SAFE_INTEGER };
/** A wait shorter than what proxies bear. */
const WAIT = { byDefault: 25_000, min: 0, max: 60_000 };
const PAGE = { byDefault: 1000, min: 1, max: 10_000 };

function described(
  handle: Handle,
  name: string,
  kinds: readonly RelationDescription['kind'][],
): RelationDescription {
  const relations = handle.describe().filter(({ kind }) => kinds.includes(kind));
  const found = relations.find((each) => each.name === name);
  if (found !== undefined) return found;
  throw relationDoesNotExist(
    { name },
    relations.map((each) => each.name),
  );
}

// ── Rows in ────────────────────────────────────────────────────────────────────────────────────────────────────

async function writeRows(
  handle: Handle,
  request: FastifyRequest<{ Params: { name: string } }>,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const table = request.params.name;
  const { mode = 'insert' } = queryString(request, ['mode']);
  if (mode !== 'insert' && mode !== 'upsert')
    throw new DbError('22023', `unknown mode "${mode}"`, {
      field: 'mode',
      hint: 'Use mode=insert or mode=upsert.',
    });
  const key = header(request, 'idempotency-key');
  const options = {
    signal: untilGone(reply),
    ...(key === undefined ? {} : { idempotencyKey: key }),
  };
  const type = contentType(request);
  const { body } = request;
  if (type === 'application/json') {
    if (typeof body !== 'object' || body === null)
      throw new DbError('22023', 'the body holds no rows', {
        table,
        hint: 'Send an array of objects, one object, or an object of columns.',
      });
    return reply.send(await handle[mode](table, body as never, options));
  }
  const { position, rows } = await handle.load(table, body as Uint8Array, {
    format: formatOf(type),
    mode,
    atomic: true,
    ...options,
  });
  return reply.send({ position, rows });
}

export const NDJSON: ReadonlySet<string> = new Set([
  'application/x-ndjson',
  'application/ndjson',
  'application/jsonl',
]);

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

// ── Rows out ───────────────────────────────────────────────────────────────────────────────────────────────────

type Cursor = { readonly position: number; readonly offset: number };

/** All pages of one walk show the view at one position; past `history` that is 410. */
async function sendPage(
  reply: FastifyReply,
  handle: Handle,
  name: string,
  limitText: string | undefined,
  cursor: Cursor | undefined,
): Promise<FastifyReply> {
  const limit = wholeNumber(limitText, 'limit', PAGE);
  const offset = cursor?.offset ?? 0;
  const { rows, columns, meta } = await handle.query(
    sql`SELECT * FROM ${sql.id(name)} LIMIT ${limit + 1} OFFSET ${offset}`,
    {
      ...queryOptions({}, reply),
      ...(cursor === undefined ? {} : { asOf: cursor.position }),
    },
  );
  const { position } = meta;
  reply.header('etag', etagOf(position)).header('adb-position', String(position));
  if (rows.length > limit) {
    const next = encodeCursor({ position, offset: offset + limit });
    const url = `/v1/views/${encodeURIComponent(name)}/rows?limit=${limit}&cursor=${next}`;
    reply.header('link', `<${url}>; rel="next"`);
  }
  return sendJson(reply, { position, columns, rows: rows.slice(0, limit) });
}

/** Waits until the rows are not what they were at `position`; false: they still are when the time is over. */
async function changes(
  context: RouteContext,
  reply: FastifyReply,
  wanted: {
    readonly handle: Handle;
    readonly name: string;
    readonly position: number;
    readonly waitMs: number;
  },
): Promise<boolean> {
  const { handle, name, position, waitMs } = wanted;
  if (handle.changedSince(name, position)) return true;
  const abort = new AbortController();
  const gone = untilGone(reply);
  const end = (): void => abort.abort();
  gone.addEventListener('abort', end, { once: true });
  const timer = context.clock.after(waitMs, end);
  context.open.add(abort);
  try {
    const subscription = handle.subscribe(name, { from: position, signal: abort.signal });
    for await (const change of subscription) if (change.kind !== 'progress') return true;
    return false;
  } catch (cause) {
    if (abort.signal.aborted) return false;
    throw cause;
  } finally {
    timer.cancel();
    context.open.delete(abort);
  }
}

function notModified(reply: FastifyReply, position: number): FastifyReply {
  return reply.code(304).header('etag', etagOf(position)).send();
}

function etagOf(position: number): string {
  return `"${position}"`;
}

function etagPosition(text: string | undefined): number | undefined {
  const match = /^(?:W\/)?"(\d{1,16})"$/.exec(text?.trim() ?? '');
  return match === null ? undefined : Number(match[1]);
}

function encodeCursor({ position, offset }: Cursor): string {
  return Buffer.from(JSON.stringify([position, offset])).toString('base64url');
}

function decodeCursor(text: string): Cursor {
  try {
    const [position, offset] = JSON.parse(Buffer.from(text, 'base64url').toString()) as number[];
    if (isCount(position) && isCount(offset)) return { position: position!, offset: offset! };
  } catch {
    // Told below, like any other text that is no cursor.
  }
  throw new DbError('22023', 'the cursor is not one of ours', {
    field: 'cursor',
    hint: 'Follow the Link header of the page before.',
  });
}

function isCount(value: number | undefined): boolean {
  return Number.isSafeInteger(value) && value! >= 0;
}
