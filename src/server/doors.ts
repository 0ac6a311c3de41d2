import { DbError, notSupported } from '../base/errors.ts';
import type {
  HandlerOptions,
  Identity,
  ListenOptions,
  RequestHandler,
  Server,
} from '../actors/api-types.ts';
import type { Database } from '../actors/database.ts';
import type { Engine } from '../actors/engine.ts';

/**
 * `db.listen` and `db.handler`. Fastify is loaded with the first of them: it takes longer than opening a database and asking it
 * something.
 */
export const doors = { listen, handler };

async function listen(database: Database, engine: Engine, options: ListenOptions): Promise<Server> {
  checkListenOptions(options);
  const [{ createApp }, { listenHttp, parseAddress }] = await Promise.all([
    import('./app.ts'),
    import('./listen.ts'),
  ]);
  const address = parseAddress(options.http);
  const app = createApp({
    database,
    clock: engine.ports.clock,
    logger: undefined,
    page: undefined,
    demo: undefined,
    ready: () => true,
    allowedHosts: options.allowedHosts ?? [],
  });
  const http = await listenHttp(app, address, { authenticated: false, nextFree: false });
  const close = async (): Promise<void> => app.close();
  return { http, close, [Symbol.asyncDispose]: close };
}

function checkListenOptions(options: ListenOptions): void {
  if (typeof options !== 'object' || options === null || options.http === undefined) {
    throw new DbError('22023', 'nothing says where to listen', {
      field: 'http',
      hint: 'Write db.listen({ http: 4200 }).',
    });
  }
  for (const name of Object.keys(options)) {
    if (name === 'pg' || name === 'auth' || name === 'tls')
      throw notSupported(`listen with "${name}"`, 'Listen with { http } on this machine.');
    if (name !== 'http' && name !== 'allowedHosts') {
      throw new DbError('22023', `unknown option "${name}"`, {
        field: name,
        hint: 'The options are http and allowedHosts.',
      });
    }
  }
}

type Raw = Parameters<RequestHandler>[0];

function handler<Request extends Raw>(
  database: Database,
  engine: Engine,
  options: HandlerOptions<Request>,
): RequestHandler<Request> {
  const { as, prefix = '' } = options;
  if (as !== undefined && typeof as !== 'function') {
    throw new DbError('22023', '"as" is not a function', {
      field: 'as',
      hint: 'Write { as: (request) => ({ tenant, user }) }.',
    });
  }
  const identities = new WeakMap<object, Identity>();
  const made = async (): Promise<(request: Raw, response: Response) => void> => {
    const { createApp } = await import('./app.ts');
    const app = createApp({
      database,
      clock: engine.ports.clock,
      logger: undefined,
      page: undefined,
      demo: undefined,
      ready: () => true,
      identityOf: ({ raw }) => identities.get(raw) ?? { tenant: 'main' },
    });
    await app.ready();
    engine.onClose(() => app.close());
    return (request, response) => app.routing(request, response);
  };
  let app: ReturnType<typeof made> | undefined;
  return (request, response, next) => {
    void answer(request, response).catch((cause: unknown) => {
      if (next !== undefined) return next(cause);
      response.statusCode = 500;
      response.end();
      return undefined;
    });
  };

  async function answer(request: Request, response: Response): Promise<void> {
    const route = await (app ??= made());
    const { url = '/' } = request;
    if (prefix !== '' && url.startsWith(prefix)) request.url = url.slice(prefix.length) || '/';
    try {
      const identity = as === undefined ? { tenant: 'main' } : await as(request);
      if (identity === undefined || identity === null) throw unknown();
      identities.set(request, identity);
    } catch (cause) {
      const { problemOf } = await import('./problem.ts');
      // Who throws something else has a bug, and is told by the server it is in.
      if (!(cause instanceof DbError)) throw cause;
      const { status, headers, body } = problemOf(cause);
      response.writeHead(status, { ...headers, 'content-type': 'application/problem+json' });
      response.end(JSON.stringify(body));
      return;
    }
    route(request, response);
  }
}

type Response = Parameters<RequestHandler>[1];

function unknown(): DbError {
  return new DbError('28000', 'nobody knows who asks', {
    hint: 'Sign in, or have "as" say who it is.',
  });
}
