import { createHash } from 'node:crypto';
import type { Datum } from '../../columns/values.ts';
import type { FunctionDef } from '../function-def.ts';
import { define } from './define.ts';

function digest(algorithm: string, value: Datum | undefined): Buffer {
  return createHash(algorithm)
    .update(value as string | Uint8Array)
    .digest();
}

/** md5 gives text, the others bytes, as PostgreSQL has them. */
export const DIGESTS: readonly FunctionDef[] = [
  define('md5', ['text'], 'text', ([value]) => digest('md5', value).toString('hex')),
  define('md5', ['bytea'], 'text', ([value]) => digest('md5', value).toString('hex')),
  ...['sha224', 'sha256', 'sha384', 'sha512'].map((name) =>
    define(name, ['bytea'], 'bytea', ([value]) => new Uint8Array(digest(name, value))),
  ),
];
