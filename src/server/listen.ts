import { maxHeaderSize, STATUS_CODES } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { DbError } from '../base/errors.ts';
import { valueText } from '../base/value-text.ts';
import { problemOf } from './problem.ts';

/** The only file of the server that opens sockets. */

export type ListenAddress = { readonly host: string; readonly port: number };

const LOOPBACK = new Set(['127.0.0.1', '::1', 'localhost']);

/** `4200`, `':4200'`, `'127.0.0.1:4200'`, `'[::1]:4200'`; loopback unless a host is named. */
export function parseAddress(text: string | number): ListenAddress {
  const match = /^(?:(?:\[([^\]]+)\]|([^:]*)):)?(\d{1,5})$/.exec(valueText(text));
  const port = match === null ? Number.NaN : Number(match[3]);
  if (match === null || port > 65_535) {
    throw new DbError('22023', `"${valueText(text)}" is not an address`, {
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

/** What Node could not read as a request has no reply: the answer is written as it stands, and is the last of its connection. */
export function answerBrokenRequest(cause: NodeJS.ErrnoException, socket: Socket): void {
  if (cause.code === 'ECONNRESET' || !socket.writable) return;
  const [status, error] = brokenRequest(cause);
  const text = JSON.stringify(problemOf(error, status).body);
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\ncontent-type: application/problem+json\r\ncontent-length: ${Buffer.byteLength(text)}\r\nconnection: close\r\n\r\n${text}`,
    () => socket.destroy(),
  );
}

function brokenRequest(cause: NodeJS.ErrnoException): readonly [status: number, error: DbError] {
  switch (cause.code) {
    case 'HPE_HEADER_OVERFLOW': {
      const what = `the address and the headers are larger than ${maxHeaderSize} bytes`;
      const hint = 'Send a long text in a body: POST /v1/query { "sql": "SELECT …" }.';
      return [431, new DbError('54000', what, { limit: 'headers', hint, cause })];
    }
    case 'ERR_HTTP_REQUEST_TIMEOUT': {
      const hint = 'Send the whole request at once, or rows in several requests.';
      return [408, new DbError('57014', 'the request did not arrive in time', { hint, cause })];
    }
    default: {
      const hint = 'Check what writes the request: its first line, headers, Content-Length.';
      const detail = cause.message;
      return [400, new DbError('22023', 'the request is not HTTP', { detail, hint, cause })];
    }
  }
}
