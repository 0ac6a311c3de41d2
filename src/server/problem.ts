import { DbError, InvariantError } from '../base/errors.ts';

/** RFC 9457: an error as `application/problem+json`, with the fields of DbError. */
export type Problem = {
  readonly status: number;
  readonly body: Record<string, unknown>;
  readonly headers: Record<string, string>;
};

export function problemOf(cause: unknown, known?: number): Problem {
  const error = cause instanceof DbError ? cause : internal(cause);
  const status = known ?? statusOf(error.code);
  const headers: Record<string, string> = {};
  if (status === 429 || status === 503)
    headers['retry-after'] = String(Math.ceil((error.retryAfterMs ?? 1000) / 1000));
  return {
    status,
    headers,
    body: {
      type: `https://analyticdb.dev/errors#${error.code}`,
      title: titleOf(status),
      status,
      ...error.toJSON(),
      detail: error.detail ?? error.message,
    },
  };
}

/** PostgreSQL's classes, as HTTP understands them. */
export function statusOf(code: string): number {
  if (code.startsWith('28')) return 401;
  if (code === '42501') return 403;
  if (code === '42P01' || code === '3D000' || code === '42704') return 404;
  if (code === 'ADB_POSITION_GONE' || code === '72000') return 410;
  if (code === '23505' || code === '40001' || code === '40P01' || code === '42P07') return 409;
  if (code === '57014') return 499;
  if (code === '53400' || code === '53300') return 429;
  if (code.startsWith('53') || code.startsWith('57P') || code === '58030') return 503;
  if (code === 'ADB_RECOVERING' || code === 'ADB_TABLE_FAILED') return 503;
  if (code === '0A000') return 501;
  if (code.startsWith('XX') || code.startsWith('ADB_JOURNAL')) return 500;
  return 400;
}

function internal(cause: unknown): DbError {
  const what =
    cause instanceof InvariantError ? `internal error: ${cause.message}` : 'internal error';
  return new DbError('XX000', what, {
    hint: 'This is a bug: please report it with what led to it.',
    cause,
  });
}

function titleOf(status: number): string {
  switch (status) {
    case 400:
      return 'The request is not right';
    case 401:
      return 'Not authenticated';
    case 403:
      return 'Not permitted';
    case 404:
      return 'Not found';
    case 405:
      return 'Method not allowed';
    case 406:
      return 'Not acceptable';
    case 408:
      return 'Too slow';
    case 409:
      return 'In conflict with what is there';
    case 410:
      return 'No longer kept';
    case 413:
      return 'Too large';
    case 415:
      return 'Unsupported content type';
    case 421:
      return 'Another host';
    case 429:
      return 'Over a limit';
    case 431:
      return 'Too large';
    case 499:
      return 'Cancelled';
    case 501:
      return 'Not supported yet';
    case 503:
      return 'Not now';
    default:
      return 'Internal error';
  }
}
