import { DbError } from '../base/errors.ts';

export function bodyObject<Body>(body: unknown): Body {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new DbError('22023', 'the body is not a JSON object', {
      hint: 'Send Content-Type: application/json and an object.',
    });
  }
  return body as Body;
}
