import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { DbError } from '../base/errors.ts';

/** The only file of the server that opens sockets. */

export type ListenAddress = { readonly host: string; readonly port: number };

const LOOPBACK = new Set(['127.0.0.1', '::1', 'localhost']);

/** `4200`, `':4200'`, `'127.0.0.1:4200'`, `'[::1]:4200'`; loopback unless a host is named. */
export function parseAddress(text: string | number): ListenAddress {
  const match = /^(?:(?:\[([^\]]+)\]|([^:]*)):)?(\d{1,5})$/.exec(String(text));
  const port = match === null ? Number.NaN : Number(match[3]);
  if (match === null || port > 65_535) {
    throw new DbError('22023', `"${text}" is not an address`, {
      field: 'http',
      hint: 'Give a port such as 4200, or host:port such as 127.0.0.1:4200.',
    });
  }
  const host = match[1] ?? match[2] ?? '';
  return { host: host === '' ? '127.0.0.1' : host, port };
}

/** Listens, on the next free port where `nextFree` and the one asked for is taken. Returns the URL. */
export async function listenHttp(
  app: FastifyInstance,
  address: ListenAddress,
  options: { readonly authenticated: boolean; readonly nextFree: boolean },
): Promise<string> {
  if (!LOOPBACK.has(address.host) && !options.authenticated) {
    throw new DbError('28000', `refusing to listen on ${address.host} without authentication`, {
      hint: 'Listen on 127.0.0.1; keys come later. Behind a proxy of yours, db.handler({ as }) asks you who may.',
    });
  }
  for (let port = address.port; ; port += 1) {
    try {
      await app.listen({ host: address.host, port });
      const bound = app.server.address() as AddressInfo;
      return `http://${address.host.includes(':') ? `[${address.host}]` : address.host}:${bound.port}`;
    } catch (cause) {
      const taken = (cause as { code?: string }).code === 'EADDRINUSE';
      if (!taken || !options.nextFree || port >= address.port + 50) {
        throw new DbError(
          '58000',
          taken ? `port ${port} is in use` : `cannot listen on ${address.host}:${port}`,
          { cause, hint: 'Name another port with --http.' },
        );
      }
    }
  }
}
