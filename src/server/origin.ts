import type { FastifyInstance } from 'fastify';
import { DbError } from '../base/errors.ts';
import { sendProblem } from './reply.ts';
import { header } from './request.ts';

/**
 * Who may talk to a server that asks for no key. It listens on this machine only, but a browser on this machine carries any
 * website's requests: so the name a client used must be one of this machine's (a foreign name that resolves to it is an
 * attack, DNS rebinding), and a page of another origin may read and write only if it is of this machine, too.
 */
export type OriginRules = {
  /** Names besides localhost, 127.0.0.1 and [::1] under which the server may be asked. */
  readonly allowedHosts: readonly string[];
};

const ALLOWED_METHODS = 'GET, HEAD, POST, PUT, DELETE';
const ALLOWED_HEADERS =
  'accept, authorization, content-type, idempotency-key, if-none-match, last-event-id, x-tenant, x-user';
const EXPOSED_HEADERS =
  'adb-position, adb-source, allow, etag, link, retry-after, server-timing, content-disposition';

export function guardOrigins(app: FastifyInstance, rules: OriginRules): void {
  const isOurs = (host: string): boolean => {
    const name = hostName(host);
    return isLoopback(name) || rules.allowedHosts.includes(name);
  };
  app.addHook('onRequest', async (request, reply) => {
    const host = header(request, 'host');
    if (host !== undefined && !isOurs(host)) {
      const what = `"${hostName(host)}" is not a name of this server`;
      const hint = `Ask http://127.0.0.1, or start it with --allow-host ${hostName(host)}.`;
      return sendProblem(reply, new DbError('28000', what, { field: 'host', hint }), 421);
    }
    const origin = header(request, 'origin');
    if (origin === undefined) return undefined;
    reply.header('vary', 'Origin');
    if (isOurs(origin.replace(/^https?:\/\//, ''))) {
      reply
        .header('access-control-allow-origin', origin)
        .header('access-control-expose-headers', EXPOSED_HEADERS);
      if (request.method !== 'OPTIONS') return undefined;
      return reply
        .code(204)
        .header('access-control-allow-methods', ALLOWED_METHODS)
        .header('access-control-allow-headers', ALLOWED_HEADERS)
        .header('access-control-max-age', '600')
        .send();
    }
    // What a foreign page may not read it is not told; what it may not change it cannot reach.
    if (request.method === 'GET' || request.method === 'HEAD') return undefined;
    const what = `pages of ${origin} may not write here`;
    const hint = 'Pages served from localhost may; others ask through a server of their own.';
    return sendProblem(reply, new DbError('42501', what, { field: 'origin', hint }));
  });
}

/** `localhost:4200` → `localhost`, `[::1]:4200` → `::1`. */
function hostName(host: string): string {
  const match = /^(?:\[([^\]]*)\]|([^:]*))(?::\d+)?$/.exec(host.trim().toLowerCase());
  return match?.[1] ?? match?.[2] ?? host;
}

export function isLoopback(name: string): boolean {
  return (
    name === 'localhost' ||
    name.endsWith('.localhost') ||
    name === '::1' ||
    /^127\.\d+\.\d+\.\d+$/.test(name)
  );
}
