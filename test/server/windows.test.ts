import type { FastifyInstance } from 'fastify';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { nodePorts } from '../../src/base/node-ports.ts';
import type { Database } from '../../src/index.ts';
import { open } from '../../src/open.ts';
import { createApp } from '../../src/server/app.ts';

/** Windows and calendars over HTTP: docs/windows.md. */
let db: Database;
let app: FastifyInstance;

beforeEach(async () => {
  db = await open({ workers: 0 });
  await db.exec('CREATE TABLE orders (id int PRIMARY KEY, ts timestamptz, amount numeric(12,2))');
  await db.insert('orders', [
    { id: 1, ts: '2026-11-01T05:30:00Z', amount: 1 },
    { id: 2, ts: '2026-11-01T06:30:00Z', amount: 2 },
  ]);
  app = createApp({
    database: db,
    clock: nodePorts().clock,
    logger: undefined,
    page: undefined,
    demo: undefined,
    ready: () => true,
  });
});
afterEach(async () => {
  await app.close();
  await db.close();
});

/** What the tests look at in answers. */
type Answer = {
  readonly rows: readonly { readonly values: Record<string, unknown> }[];
  readonly meta: Record<string, unknown>;
  readonly code?: string;
  readonly field?: string;
  readonly calendars?: unknown;
  readonly policies?: unknown;
};

async function ask(
  method: 'GET' | 'POST' | 'PUT' | 'DELETE',
  url: string,
  payload?: Record<string, unknown>,
): Promise<{ readonly status: number; readonly body: Answer }> {
  const { statusCode, json } = await app.inject({
    method,
    url,
    ...(payload === undefined ? {} : { payload }),
  });
  return { status: statusCode, body: json<Answer>() };
}

const QUESTION = {
  table: 'orders',
  range: ['2026-11-01', '2026-11-02'],
  zone: 'America/New_York',
  every: 'hour',
  measures: { s: 'sum(amount)' },
};

test('POST /v1/windows answers as db.window does; options of a query stand beside the question', async () => {
  const { status, body } = await ask('POST', '/v1/windows', QUESTION);
  const { table, ...query } = QUESTION;
  const { rows, meta } = await db.window(table, query as never);
  expect([status, body.rows]).toEqual([200, rows]);
  expect(rows.map(({ label, values }) => [label, values['s']])).toEqual([
    ['2026-11-01T01:00-04:00', '1.00'],
    ['2026-11-01T01:00-05:00', '2.00'],
  ]);
  expect(body.meta).toMatchObject({
    zone: meta.zone,
    position: meta.position,
    tzVersion: meta.tzVersion,
  });
  const numbers = await ask('POST', '/v1/windows', {
    ...QUESTION,
    values: { numeric: 'number' },
    where: 'id > $1',
    params: [1],
  });
  expect(numbers.body.rows.map(({ values }) => values)).toEqual([{ s: 2 }]);
  const query1 = await ask('POST', '/v1/query', {
    window: QUESTION,
    values: { numeric: 'number' },
  });
  expect(query1.body.rows[0]!.values).toEqual({ s: 1 });
});

test('a large answer leaves in pieces, and is whole', async () => {
  const { body } = await ask('POST', '/v1/windows', { ...QUESTION, every: 'minute', fill: 'zero' });
  expect(body.rows.length).toBe(1500);
  expect(body.meta['rowsScanned']).toBe(4);
});

test('what is wrong with a question is a problem with the field', async () => {
  const wrong = async (body: Record<string, unknown>, path = '/v1/windows'): Promise<unknown[]> => {
    const { status, body: problem } = await ask('POST', path, body);
    return [status, problem.code, problem.field];
  };
  expect(await wrong({ ...QUESTION, table: undefined })).toEqual([400, '22023', 'table']);
  expect(await wrong({ ...QUESTION, evry: 'day' })).toEqual([400, '22023', 'evry']);
  expect(
    await wrong({ ...QUESTION, every: 'second', range: ['1950-01-01', '2050-01-01'] }),
  ).toEqual([400, '54000', 'every']);
  expect(await wrong({ ...QUESTION, timeoutMs: 'soon' })).toEqual([400, '22023', 'timeoutMs']);
  expect(await wrong({ ...QUESTION, calendar: 'acme' })).toEqual([404, '42704', 'calendar']);
  expect(await wrong({ window: { last: '1h' } }, '/v1/query')).toEqual([400, '22023', 'table']);
});

test('POST /v1/windows/explain tells the boundaries', async () => {
  const { body } = await ask('POST', '/v1/windows/explain', { ...QUESTION, every: 'day' });
  expect(body).toMatchObject({ notes: ['2026-11-01 has 25 hours'], rowsScanned: 2, tiles: 5 });
});

test('calendars are resources', async () => {
  expect((await ask('PUT', '/v1/calendars/acme', { fiscalYearStart: 2 })).status).toBe(200);
  expect((await ask('GET', '/v1/calendars/acme')).body).toMatchObject({
    name: 'acme',
    spec: { fiscalYearStart: 2 },
  });
  expect((await ask('GET', '/v1/calendars')).body.calendars).toMatchObject([{ name: 'acme' }]);
  expect(await ask('PUT', '/v1/calendars/acme', { fiscalYearStart: 13 })).toMatchObject({
    status: 400,
    body: { field: 'fiscalYearStart' },
  });
  // Holidays as they come from elsewhere: names by date, an iCalendar.
  const kept = async (holidays: unknown): Promise<unknown> => {
    const { status, body } = await ask('PUT', '/v1/calendars/acme', { holidays });
    return status === 200 ? (await ask('GET', '/v1/calendars/acme')).body : body;
  };
  expect(await kept({ '2026-12-25': 'Christmas' })).toMatchObject({
    spec: { holidays: [{ date: '2026-12-25', name: 'Christmas' }] },
  });
  const ical =
    'BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20260101\nRRULE:FREQ=YEARLY\nEND:VEVENT\nEND:VCALENDAR';
  expect(await kept({ ical, years: { from: 2026, to: 2027 } })).toMatchObject({
    spec: { holidays: ['2026-01-01', '2027-01-01'] },
  });
  expect(await kept({ ical: 'x', years: { from: 2026, to: 2027 } })).toMatchObject({
    code: '22023',
    field: 'holidays',
  });
  expect(await kept({ ical })).toMatchObject({ code: '22023', field: 'years' });
  expect(await kept({ ical, year: 2026 })).toMatchObject({ field: 'holidays.year' });
  expect(await kept('2026-12-25')).toMatchObject({ code: '22023', field: 'holidays' });
  expect((await ask('DELETE', '/v1/calendars/acme')).status).toBe(200);
  expect(await ask('DELETE', '/v1/calendars/acme')).toMatchObject({
    status: 404,
    body: { code: '42704' },
  });
  expect((await ask('GET', '/v1/calendars/acme')).status).toBe(404);
});

test('policies are resources of tables', async () => {
  const policy = { retention: { raw: '90d', '15m': '5y', day: 'forever' }, by: ['id'] };
  expect(await ask('GET', '/v1/policies/orders')).toMatchObject({
    status: 404,
    body: { code: '42704' },
  });
  expect((await ask('PUT', '/v1/policies/orders', policy)).status).toBe(200);
  expect((await ask('GET', '/v1/policies/orders')).body).toEqual({
    table: 'orders',
    policy: { retention: 'raw 90d, 15m 5y, day forever', by: ['id'], zone: 'UTC' },
  });
  expect((await ask('GET', '/v1/policies')).body.policies).toMatchObject([{ table: 'orders' }]);
  expect(await ask('PUT', '/v1/policies/orders', { retention: 'raw 1s' })).toMatchObject({
    status: 400,
    body: { code: '22023', field: 'retention' },
  });
  expect((await ask('DELETE', '/v1/policies/orders')).status).toBe(200);
  expect((await ask('DELETE', '/v1/policies/orders')).status).toBe(404);
  expect((await ask('GET', '/v1/policies/elsewhere')).status).toBe(404);
});
