import type { FastifyReply, FastifyRequest } from 'fastify';
import { DbError, notSupported } from '../base/errors.ts';
import { nearestOf } from '../base/nearest.ts';
import {
  PRIORITIES,
  type Identity,
  type Priority,
  type QueryOptions,
  type Statement,
} from '../actors/api-types.ts';
import type { ValueOptions } from '../actors/rows-out.ts';

/** Reading requests: bodies, parameters and headers are checked here once, and what is wrong with them is named. */

export type QueryBody = {
  readonly sql?: unknown;
  readonly query?: unknown;
  readonly window?: unknown;
  readonly params?: unknown;
  readonly mode?: unknown;
  readonly stop?: unknown;
  readonly confidence?: unknown;
  readonly simultaneous?: unknown;
  readonly seed?: unknown;
  readonly resume?: unknown;
  readonly values?: unknown;
  readonly atLeast?: unknown;
  readonly asOf?: unknown;
  readonly priority?: unknown;
  readonly timeoutMs?: unknown;
  readonly maxWork?: unknown;
  readonly label?: unknown;
};

export const QUERY_FIELDS = [
  'sql',
  'query',
  'window',
  'params',
  'mode',
  'stop',
  'confidence',
  'simultaneous',
  'seed',
  'resume',
  'values',
  'atLeast',
  'asOf',
  'priority',
  'timeoutMs',
  'maxWork',
  'label',
];

/** Fields that mean something with `mode: "progressive"` only. */
export const PROGRESSIVE_FIELDS = ['stop', 'confidence', 'simultaneous', 'seed', 'resume'] as const;

/** The JSON object that a request's body is, with no other fields than those named. */
export function bodyObject<Body>(body: unknown, fields?: readonly string[]): Body {
  if (typeof body !== 'object' || body === null || Array.isArray(body) || ArrayBuffer.isView(body))
    throw new DbError('22023', 'the body is not a JSON object', {
      hint: 'Send Content-Type: application/json and an object.',
    });
  for (const field of Object.keys(body)) {
    if (fields === undefined || fields.includes(field)) continue;
    const nearest = nearestOf(field, fields);
    throw new DbError('22023', `unknown field "${field}"`, {
      field,
      hint:
        nearest === undefined
          ? `The fields are ${fields.join(', ')}.`
          : `Did you mean "${nearest}"?`,
    });
  }
  return body as Body;
}

/**
 * The parameters of a request's query string. One that is nearly one of them is a slip of the pen that would be missed: `?mod=upsert`
 * inserts. Others are left alone, since a server around this one may have its own.
 */
export function queryString<Names extends string>(
  request: FastifyRequest,
  known: readonly Names[],
): { readonly [Name in Names]?: string } {
  const given = request.query as Readonly<Record<string, string>>;
  for (const name of Object.keys(given)) {
    if (name === 'tenant' || known.includes(name as Names)) continue;
    const nearest = nearestOf(name, [...known, 'tenant']);
    if (nearest !== undefined)
      throw new DbError('22023', `unknown parameter "${name}"`, {
        field: name,
        hint: `Did you mean "${nearest}"?`,
      });
  }
  return given as { readonly [Name in Names]?: string };
}

export function statementOf(body: QueryBody): Statement {
  if (typeof body.sql === 'string') return body.sql;
  if (body.sql !== undefined)
    throw new DbError('22023', '"sql" is not a text', {
      field: 'sql',
      hint: 'Send { "sql": "SELECT …", "params": […] }.',
    });
  if (body.query !== undefined)
    throw notSupported('a query model', 'Send { "sql": "SELECT …", "params": […] }.');
  throw new DbError('22023', 'the body says neither sql nor query', {
    field: 'sql',
    hint: 'Send { "sql": "SELECT …", "params": […] }.',
  });
}

/** Options of a query; it ends when its client goes away. */
export function queryOptions(body: QueryBody, reply: FastifyReply): QueryOptions {
  const { mode, params, values, priority, label } = body;
  if (mode !== undefined && mode !== 'exact' && mode !== 'progressive')
    throw new DbError('22023', `there is no mode "${String(mode)}"`, {
      field: 'mode',
      hint: 'Use "exact" or "progressive".',
    });
  if (params !== undefined && !Array.isArray(params))
    throw new DbError('22023', '"params" is not an array', {
      field: 'params',
      hint: 'Send the value of $1 first: { "sql": "SELECT $1::int", "params": [1] }.',
    });
  if (priority !== undefined && !PRIORITIES.includes(priority as Priority))
    throw new DbError('22023', `"priority" is none of ${PRIORITIES.join(', ')}`, {
      field: 'priority',
    });
  if (label !== undefined && typeof label !== 'string')
    throw new DbError('22023', '"label" is not a text', { field: 'label' });
  const atLeast = position(body.atLeast, 'atLeast');
  const asOf = position(body.asOf, 'asOf');
  const timeoutMs = positive(body.timeoutMs, 'timeoutMs');
  const maxWork = positive(body.maxWork, 'maxWork');
  return {
    signal: untilGone(reply),
    ...(params === undefined ? {} : { params }),
    ...(values === undefined ? {} : { values: valueOptions(values) }),
    ...(atLeast === undefined ? {} : { atLeast }),
    ...(asOf === undefined ? {} : { asOf }),
    ...(priority === undefined ? {} : { priority: priority as Priority }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(maxWork === undefined ? {} : { maxWork }),
    ...(label === undefined ? {} : { label }),
  };
}

/** Aborts when the client goes away before its answer: then nobody needs it. */
export function untilGone(reply: FastifyReply): AbortSignal {
  const abort = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) abort.abort();
  });
  return abort.signal;
}

const VALUE_OPTIONS: Readonly<Record<string, readonly string[]>> = {
  int8: ['number', 'string'],
  numeric: ['string', 'number'],
  timestamptz: ['iso', 'ms'],
};

/** How values are to be written. `bigint` and `date` are TypeScript's: in JSON they are the text they are for any other client. */
function valueOptions(values: unknown): ValueOptions {
  const given = bodyObject<Record<string, unknown>>(values, Object.keys(VALUE_OPTIONS));
  const options: Record<string, string> = {};
  for (const [name, value] of Object.entries(given)) {
    if (value === 'bigint' && name === 'int8') options[name] = 'string';
    else if (value === 'date' && name === 'timestamptz') options[name] = 'iso';
    else if (VALUE_OPTIONS[name]!.includes(value as string)) options[name] = value as string;
    else
      throw new DbError('22023', `"values.${name}" is none of ${VALUE_OPTIONS[name]!.join(', ')}`, {
        field: `values.${name}`,
      });
  }
  return options as ValueOptions;
}

function position(value: unknown, field: string): number | undefined {
  if (value === undefined) return undefined;
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
  throw new DbError('22023', `"${field}" is not a position`, {
    field,
    hint: 'Give the position of a write or of an answer, a whole number.',
  });
}

function positive(value: unknown, field: string): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'number' && value > 0 && Number.isFinite(value)) return value;
  throw new DbError('22023', `"${field}" is not a positive number`, {
    field,
    hint: 'Give a number above 0, such as 1000, or leave it out for no limit.',
  });
}

/** A whole number in the query string, within bounds. */
export function wholeNumber(
  text: string | undefined,
  field: string,
  bounds: { readonly byDefault: number; readonly min: number; readonly max: number },
): number {
  if (text === undefined) return bounds.byDefault;
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (!Number.isInteger(value) || value < bounds.min || value > bounds.max)
    throw new DbError(
      '22023',
      `"${field}" is not a whole number from ${bounds.min} to ${bounds.max}`,
      { field, hint: `Leave it out for ${bounds.byDefault}.` },
    );
  return value;
}

export function header(request: FastifyRequest, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

export function contentType(request: FastifyRequest): string {
  return (header(request, 'content-type') ?? 'application/json')
    .split(';')[0]!
    .trim()
    .toLowerCase();
}

/** Whose eyes a request sees with. Without keys, which come later, a client says so itself. */
export function identityOf(request: FastifyRequest): Identity {
  const { tenant } = request.query as { tenant?: string };
  return {
    tenant: header(request, 'x-tenant') ?? tenant ?? 'main',
    user: header(request, 'x-user'),
  };
}
