import { DbError } from '../base/errors.ts';

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?$/;

/** Bytes as JSON has them. Buffer would leave out what is none of base64. */
export function bytesFromBase64(text: string): Uint8Array {
  if (BASE64.test(text)) return Uint8Array.from(Buffer.from(text, 'base64'));
  throw new DbError('22P02', 'invalid input syntax for type bytea', {
    hint: 'In JSON bytes are written in base64, or in hexadecimal as "\\\\x00ff".',
  });
}
