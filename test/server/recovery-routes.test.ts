/** `db.recovery` over HTTP: whoever runs a server has no other way to decide about a table that broke. */
import { expect, test, vi } from 'vitest';
import { InvariantError } from '../../src/base/errors.ts';
import { nodePorts } from '../../src/base/node-ports.ts';
import { datumAt } from '../../src/columns/build.ts';
import { Table } from '../../src/columns/table.ts';
import { open } from '../../src/index.ts';
import { createApp } from '../../src/server/app.ts';

test('an operator sees which table failed and why, skips the record that it cannot take in, and makes it anew', async () => {
  const db = await open({ workers: 0, memory: '64 MB' });
  const app = createApp({
    database: db,
    clock: nodePorts().clock,
    logger: undefined,
    page: undefined,
    demo: undefined,
    ready: () => true,
  });
  const ask = async (
    method: 'GET' | 'POST' | 'PUT',
    url: string,
    payload?: object,
    tenant = 'main',
  ) => {
    const headers = { 'x-tenant': tenant };
    const options = { method, url, headers, ...(payload === undefined ? {} : { payload }) };
    const { statusCode, json } = await app.inject(options);
    return { status: statusCode, body: json<Record<string, unknown>>() };
  };
  try {
    await db.exec('CREATE TABLE t (id int PRIMARY KEY)');
    const { position } = await db.insert('t', { id: 666 });
    await db.insert('t', { id: 1 });
    expect(await ask('GET', '/v1/recovery')).toEqual({
      status: 200,
      body: { onPoison: 'hold', skips: [], tables: [] },
    });
    const { stage } = Table.prototype;
    vi.spyOn(Table.prototype, 'stage').mockImplementation(function (this: Table, writes, options) {
      for (const write of writes)
        if (write.kind === 'insert' && datumAt(write.rows.columns[0]!, 0) === 666)
          throw new InvariantError('the beast');
      return stage.call(this, writes, options);
    });
    const failed = { status: 503, body: { code: 'ADB_TABLE_FAILED', position } };
    expect(await ask('POST', '/v1/recovery/t/rebuild')).toMatchObject(failed);
    expect((await ask('GET', '/v1/recovery')).body['tables']).toMatchObject([
      {
        table: 't',
        tenant: 'main',
        state: 'failed',
        error: { code: 'ADB_TABLE_FAILED', position },
      },
    ]);
    const decision = { position, reason: 'no version knows it', by: 'ann' };
    expect(await ask('POST', '/v1/recovery/t/skip', { position })).toMatchObject({
      status: 400,
      body: { field: 'reason' },
    });
    expect(await ask('POST', '/v1/recovery/t/skip', decision, 'acme')).toMatchObject({
      status: 403,
      body: { code: '42501' },
    });
    expect((await ask('POST', '/v1/recovery/t/skip', decision)).status).toBe(200);
    expect((await db.query('SELECT id FROM t')).rows).toEqual([{ id: 1 }]);
    expect(await ask('POST', '/v1/recovery/t/rebuild')).toMatchObject({
      status: 200,
      body: { rows: 1 },
    });
    expect((await ask('PUT', '/v1/recovery', { onPoison: 'skip' })).status).toBe(200);
    expect((await ask('GET', '/v1/recovery')).body).toMatchObject({
      onPoison: 'skip',
      skips: [{ table: 't', ...decision }],
      tables: [],
    });
    expect((await ask('POST', '/v1/recovery/nowhere/rebuild')).status).toBe(404);
  } finally {
    vi.restoreAllMocks();
    await app.close();
    await db.close();
  }
});
