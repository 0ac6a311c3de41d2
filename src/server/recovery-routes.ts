import type { FastifyInstance, FastifyRequest } from 'fastify';
import { DbError } from '../base/errors.ts';
import type { RecoveryVerbs } from '../actors/recovery-verbs.ts';
import { problemOf } from './problem.ts';
import { bodyObject } from './request.ts';

/** Tables that broke, and what an operator decides about them: `db.recovery` over HTTP, for the tenant `main`. */
export function recoveryRoutes(
  app: FastifyInstance,
  context: { recovery(request: FastifyRequest): RecoveryVerbs },
): void {
  app.get('/v1/recovery', async (request) => {
    const recovery = context.recovery(request);
    const tables = await recovery.list();
    return {
      ...(await recovery.get()),
      tables: tables.map(({ table, tenant, state, sinceMs, position, cause, error }) => ({
        table,
        tenant,
        state,
        sinceMs,
        position,
        cause: cause instanceof Error ? cause.message : String(cause),
        error: error === undefined ? undefined : problemOf(error).body,
      })),
    };
  });
  app.put('/v1/recovery', async (request) =>
    context.recovery(request).set(bodyObject(request.body)),
  );

  type OfTable = { Params: { table: string } };
  app.post<OfTable>('/v1/recovery/:table/rebuild', async (request) =>
    context.recovery(request).rebuild(request.params.table),
  );
  app.post<OfTable>('/v1/recovery/:table/skip', async (request) =>
    context.recovery(request).skip(request.params.table, bodyObject(request.body)),
  );
}

export function refuseToTenants(tenant = 'main'): void {
  if (tenant !== 'main')
    throw new DbError('42501', 'only the tenant "main" decides about tables that broke', {
      hint: 'Ask without X-Tenant. SHOW ACTORS tells a tenant how its own tables are.',
    });
}
