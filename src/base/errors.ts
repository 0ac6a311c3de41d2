import { usualHint } from './usual-hints.ts';
import { wayRound } from './ways-round.ts';

/** A place in the SQL text: UTF-16 offset from 0, line and column from 1. */
export type TextPlace = {
  readonly offset: number;
  readonly line: number;
  readonly column: number;
};

export type DbErrorDetails = {
  readonly detail?: string | undefined;
  readonly hint?: string | undefined;
  readonly at?: TextPlace | undefined;
  /** The place in a query model or a settings object, such as `measures.s`. */
  readonly field?: string | undefined;
  readonly table?: string | undefined;
  readonly column?: string | undefined;
  readonly constraint?: string | undefined;
  /** A journal position, never a place in a text. */
  readonly position?: number | undefined;
  /** What ran out: `memory`, `work`, `queue`, … */
  readonly limit?: string | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown;
};

/** SQLSTATEs (or `ADB_…` codes) after which the same call may succeed. */
const RETRYABLE = new Set([
  '40001',
  '40P01',
  '53000',
  '53100',
  '53200',
  '53300',
  '53400',
  '72000',
  'ADB_RECOVERING',
]);

/**
 * An error the caller can act upon. `code` is PostgreSQL's SQLSTATE, else `ADB_…` (docs/errors.md);
 * the message is short and in lower case; the hint names the fix, the usual one (usual-hints.ts) where none is given.
 */
export class DbError extends Error {
  readonly code: string;
  // Only those that are set are there: whoever prints an error need not read what it does not say.
  declare readonly detail?: string | undefined;
  declare readonly hint?: string | undefined;
  declare readonly at?: TextPlace | undefined;
  declare readonly field?: string | undefined;
  declare readonly table?: string | undefined;
  declare readonly column?: string | undefined;
  declare readonly constraint?: string | undefined;
  declare readonly position?: number | undefined;
  declare readonly limit?: string | undefined;
  declare readonly retryAfterMs?: number | undefined;
  readonly retryable: boolean;

  constructor(code: string, message: string, details: DbErrorDetails = {}) {
    super(bounded(message), details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'DbError';
    this.code = code;
    const hint = details.hint ?? usualHint(code, message);
    const { detail, at, field, table, column, constraint, position, limit, retryAfterMs } = details;
    if (detail !== undefined) this.detail = bounded(detail);
    if (hint !== undefined) this.hint = hint;
    if (at !== undefined) this.at = at;
    if (field !== undefined) this.field = field;
    if (table !== undefined) this.table = table;
    if (column !== undefined) this.column = column;
    if (constraint !== undefined) this.constraint = constraint;
    if (position !== undefined) this.position = position;
    if (limit !== undefined) this.limit = limit;
    if (retryAfterMs !== undefined) this.retryAfterMs = retryAfterMs;
    this.retryable = RETRYABLE.has(code);
  }

  /** The fields that are set, as they go over the wire. */
  toJSON(): Record<string, unknown> {
    const out: Record<string, unknown> = { code: this.code, message: this.message };
    for (const name of [
      'detail',
      'hint',
      'at',
      'field',
      'table',
      'column',
      'constraint',
      'position',
      'limit',
      'retryAfterMs',
    ] as const) {
      if (this[name] !== undefined) out[name] = this[name];
    }
    out['retryable'] = this.retryable;
    return out;
  }
}

/** Messages name what was given, which may be a megabyte long: its begin and end say enough. */
const TEXT_LENGTH_MAX = 800;

function bounded(text: string): string {
  if (text.length <= TEXT_LENGTH_MAX) return text;
  return `${text.slice(0, TEXT_LENGTH_MAX - 201)}…${text.slice(-200)}`.toWellFormed();
}

/** State that surprised us. Only we can act: the actor that threw it dies and is rebuilt. */
export class InvariantError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'InvariantError';
  }
}

/** `message` states the fact that holds, positively. Never for what a user typed: that is a DbError. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}

/** The last line of a switch over a union: a forgotten state becomes a type error. */
export function unreachable(state: never): never {
  throw new InvariantError(`a state that no code expects: ${JSON.stringify(state)}`);
}

export function notSupported(what: string, hint?: string, at?: TextPlace): DbError {
  return new DbError('0A000', `${what} is not supported yet`, { hint: hint ?? wayRound(what), at });
}
