import type { FastifyReply, FastifyRequest } from 'fastify';
import { DbError } from '../base/errors.ts';
import type { Clock } from '../base/ports.ts';
import type { QueryMeta, QueryResult } from '../actors/api-types.ts';
import { jsonValue } from '../actors/rows-out.ts';
import { problemOf } from './problem.ts';
import { header } from './request.ts';

/** Rows that are made into text at once: a larger answer leaves in pieces, with others served in between. */
export const ROWS_PER_PIECE = 1000;

/** JSON of what the database answers. A call for each value takes as long as the text itself: only what JSON does not know gets them. */
export function jsonText(value: unknown): string {
  return isJson(value)
    ? JSON.stringify(value)
    : JSON.stringify(value, (_, each: unknown) => jsonValue(each));
}

/** Whether all that is in it has a spelling in JSON, or is left out of it. */
function isJson(value: unknown): boolean {
  if (typeof value === 'number') return Number.isFinite(value);
  if (typeof value !== 'object' || value === null) return typeof value !== 'bigint';
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index += 1) if (!isJson(value[index])) return false;
    return true;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return false;
  for (const name in value) if (!isJson((value as Record<string, unknown>)[name])) return false;
  return true;
}

export function sendJson(reply: FastifyReply, value: unknown): FastifyReply {
  return reply.type('application/json; charset=utf-8').send(jsonText(value));
}

/** `{ rows, columns, meta }`. */
export async function sendResult(
  reply: FastifyReply,
  { rows, columns, meta }: QueryResult,
  clock: Clock,
): Promise<void> {
  await sendRows(reply, rows, { columns, meta }, meta, clock);
}

/** What an answer is, in headers. */
export function describe(reply: FastifyReply, meta: QueryMeta): void {
  reply
    .header('adb-position', String(meta.position))
    .header('adb-source', meta.source)
    .header(
      'server-timing',
      `exec;dur=${meta.elapsedMs.toFixed(3)}, queue;dur=${meta.queuedMs.toFixed(3)}`,
    );
}

/** `rows` and what else there is to say. However many rows there are, nobody waits for all of them to become text. */
export async function sendRows(
  reply: FastifyReply,
  rows: readonly unknown[],
  rest: Readonly<Record<string, unknown>>,
  meta: QueryMeta,
  clock: Clock,
): Promise<void> {
  describe(reply, meta);
  if (rows.length <= ROWS_PER_PIECE) {
    await sendJson(reply, { rows, ...rest });
    return;
  }
  const raw = begin(reply, { 'content-type': 'application/json; charset=utf-8' });
  for (let start = 0; start < rows.length && !raw.destroyed; start += ROWS_PER_PIECE) {
    const piece = jsonText(rows.slice(start, start + ROWS_PER_PIECE)).slice(1, -1);
    if (!raw.write(start === 0 ? `{"rows":[${piece}` : `,${piece}`)) await drained(raw);
    // A socket that takes a piece at once has drained before anybody else had a turn.
    await untilIo(clock);
  }
  raw.end(`],${jsonText(rest).slice(1)}`);
}

/** Pulls as fast as the client reads; its leaving ends the query. */
export async function sendPieces(
  reply: FastifyReply,
  pieces: AsyncIterable<Uint8Array>,
  how: { readonly type: string; failed(cause: unknown): string | undefined },
): Promise<void> {
  const iterator = pieces[Symbol.asyncIterator]();
  // The first piece decides between an answer and an error.
  let next = await iterator.next();
  const raw = begin(reply, { 'content-type': how.type });
  try {
    for (; next.done !== true && !raw.destroyed; next = await iterator.next())
      if (!raw.write(next.value)) await drained(raw);
    raw.end();
  } catch (cause) {
    // Too late for a status: the last line of the stream is the error.
    const line = how.failed(cause);
    if (line === undefined) raw.destroy();
    else raw.end(line);
  } finally {
    await iterator.return?.();
  }
}

/** Takes the connection over to write a body in pieces. */
export function begin(
  reply: FastifyReply,
  headers: Readonly<Record<string, string>>,
): FastifyReply['raw'] {
  reply.hijack();
  const { raw } = reply;
  const given = Object.entries(reply.getHeaders()).filter(([, value]) => value !== undefined);
  raw.writeHead(200, { ...(Object.fromEntries(given) as Record<string, string>), ...headers });
  return raw;
}

/** Resolves when I/O has had its chance. */
export function untilIo(clock: Clock): Promise<void> {
  return new Promise((resolve) => clock.afterIo(resolve));
}

/** Resolves when more may be written, or nobody reads any more. */
export function drained(raw: FastifyReply['raw']): Promise<void> {
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

/** `known` is HTTP's own status, where the fault lies in the request and not in what it asks. */
export function sendProblem(reply: FastifyReply, cause: unknown, known?: number): FastifyReply {
  const { status, body, headers } = problemOf(cause, known);
  return reply
    .code(status)
    .headers(headers)
    .type('application/problem+json')
    .send(JSON.stringify(body));
}

export const ANSWER_FORMATS = ['json', 'ndjson', 'csv', 'arrow', 'parquet'] as const;
export type AnswerFormat = (typeof ANSWER_FORMATS)[number];

const OFFERS: readonly (readonly [type: string, format: AnswerFormat])[] = [
  ['application/json', 'json'],
  ['application/x-ndjson', 'ndjson'],
  ['application/ndjson', 'ndjson'],
  ['application/jsonl', 'ndjson'],
  ['text/csv', 'csv'],
  ['application/vnd.apache.arrow.stream', 'arrow'],
  ['application/vnd.apache.parquet', 'parquet'],
];

/** The format of an answer: what the query string names, else what the client likes best. */
export function formatOf<Format extends AnswerFormat>(
  request: FastifyRequest,
  reply: FastifyReply,
  named: string | undefined,
  offered: readonly Format[],
): Format {
  const format = formatFor(header(request, 'accept'), named, offered);
  reply.header('vary', [reply.getHeader('vary'), 'Accept'].filter(Boolean).join(', '));
  return format;
}

/** Of these, the format a client likes best (RFC 9110, 12.5.1); JSON where it has no wish. */
function formatFor<Format extends AnswerFormat>(
  accept: string | undefined,
  named: string | undefined,
  offered: readonly Format[],
): Format {
  const offers = OFFERS.filter((offer): offer is readonly [string, Format] =>
    (offered as readonly AnswerFormat[]).includes(offer[1]),
  );
  if (named !== undefined) {
    const found = offers.find(([, format]) => format === named);
    if (found !== undefined) return found[1];
    throw new DbError('22023', `unknown format "${named}"`, {
      field: 'format',
      hint: `The formats are ${offered.join(', ')}.`,
    });
  }
  if (accept === undefined || accept.trim() === '') return offers[0]![1];
  const ranges = accept.split(',').map((each) => {
    const [range = '', ...parameters] = each.split(';').map((part) => part.trim().toLowerCase());
    const q = parameters.find((parameter) => parameter.startsWith('q='));
    return { range, q: q === undefined ? 1 : Number(q.slice(2)) };
  });
  let best: { format: Format; q: number } | undefined;
  for (const [type, format] of offers) {
    const fitting =
      ranges.find(({ range }) => range === type) ??
      ranges.find(({ range }) => range === `${type.split('/')[0]}/*`) ??
      ranges.find(({ range }) => range === '*/*');
    if (fitting !== undefined && fitting.q > (best?.q ?? 0)) best = { format, q: fitting.q };
  }
  if (best !== undefined) return best.format;
  throw new NotAcceptable(
    accept,
    offers.map(([type]) => type),
  );
}

/** 406: its own class, since no SQLSTATE says so. */
export class NotAcceptable extends DbError {
  constructor(accept: string, types: readonly string[]) {
    super('22023', `no answer is made as "${accept}"`, {
      field: 'accept',
      hint: `Accept one of ${types.join(', ')}.`,
    });
  }
}
