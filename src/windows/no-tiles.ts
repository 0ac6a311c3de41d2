import { DbError } from '../base/errors.ts';

/**
 * The question is answered from rows: this time, or always, since it has values that tiles cannot hold, too many groups, or rows of which
 * something cannot be computed (`cause`), which concerns only who asks for those.
 */
export class NoTiles extends Error {
  readonly always: boolean;

  constructor(always: boolean, cause?: DbError) {
    super('answered from rows', { cause });
    this.always = always;
  }
}

/** Why tiles cannot answer: their own reason, or that there is no room for them. Throws whatever else has happened. */
export function whyNoTiles(cause: unknown): NoTiles {
  if (cause instanceof NoTiles) return cause;
  if (cause instanceof DbError && cause.code === '53200') return new NoTiles(false, cause);
  throw cause;
}
