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

test('windows come as CSV and NDJSON, by Accept or by name, from both addresses', async () => {
  await db.exec(
    'ALTER TABLE orders ADD COLUMN note text, ADD COLUMN paid boolean, ADD COLUMN raw bytea',
  );
  await db.exec(`UPDATE orders SET note = 'a "b", c', paid = id = 1, raw = 'x'`);
  const text = async (
    url: string,
    payload: Record<string, unknown>,
    accept?: string,
  ): Promise<readonly [number, string, string]> => {
    const { statusCode, headers, body } = await app.inject({
      method: 'POST',
      url,
      payload,
      ...(accept === undefined ? {} : { headers: { accept } }),
    });
    return [statusCode, String(headers['content-type']), body];
  };
  const question = {
    ...QUESTION,
    by: ['note', 'paid'],
    compare: { weeksAgo: 1 },
    measures: { s: 'sum(amount)', d: 'avg(amount)::float8', b: 'max(raw::text)' },
    fill: 'none',
  };
  const csv = await text('/v1/windows', question, 'text/csv');
  const lines = csv[2].split('\r\n');
  expect(csv.slice(0, 2)).toEqual([200, 'text/csv; charset=utf-8; header=present']);
  expect(lines[0]).toBe(
    'start,end,startMs,endMs,label,offsetSeconds,partial,complete,by.note,by.paid,values.s,values.d,values.b,' +
      'previous.s,previous.d,previous.b,change.s,change.d,change.b,changeShare.s,changeShare.d,changeShare.b,compared.startMs,compared.endMs',
  );
  expect(lines[1]).toBe(
    '2026-11-01T05:00:00Z,2026-11-01T06:00:00Z,1777,1778,2026-11-01T01:00-04:00,-14400,f,t,"a ""b"", c",t,1.00,1,\\x78'
      .replace('1777', String(Date.UTC(2026, 10, 1, 5)))
      .replace('1778', String(Date.UTC(2026, 10, 1, 6))) +
      `,,,,,,,,,,${Date.UTC(2026, 9, 25, 5)},${Date.UTC(2026, 9, 25, 6)}`,
  );
  expect(lines).toHaveLength(4);
  expect(await text('/v1/windows?format=csv', question)).toEqual(csv);
  expect(await text('/v1/query?format=csv', { window: question })).toEqual(csv);
  const { table, ...query } = question;
  const { rows } = await db.window(table, query as never);
  const ndjson = await text('/v1/windows', question, 'application/x-ndjson');
  expect(
    ndjson[2]
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown),
  ).toEqual(rows);
  // No row, and very many.
  const none = { ...QUESTION, where: 'false' };
  expect((await text('/v1/windows?format=csv', none))[2]).toMatch(/^start,[^\n]*values.s\r\n$/);
  expect(await text('/v1/windows?format=ndjson', none)).toEqual([200, ndjson[1], '']);
  const many = await text('/v1/windows?format=csv', { ...QUESTION, every: 'minute', fill: 'zero' });
  expect(many[2].split('\r\n')).toHaveLength(1502);
  // What has no columns of types is not made, and an error is a problem whatever was asked for.
  expect((await text('/v1/windows', question, 'application/vnd.apache.parquet'))[0]).toBe(406);
  expect((await text('/v1/windows?format=arrow', question))[0]).toBe(400);
  const wrong = await text('/v1/windows?format=csv', { ...question, every: 'no' });
  expect(wrong[1]).toMatch(/^application\/problem\+json/);
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

// Texts were asked for by String(), which of `{ "toString": 1 }` is an error of ours; a column's name, an opening and a function's name were looked up as they came.
test('whatever stands where another was meant is told by its field, and is never an error of ours', async () => {
  const values: unknown[] = [
    null,
    true,
    0,
    1e300,
    '',
    '\u0000',
    'constructor',
    '__proto__',
    [],
    [[]],
    {},
    { toString: 1 },
    { length: 3 },
    { then: 1 },
    ['a', 1],
  ];
  const { range, ...question } = QUESTION;
  const base = { ...question, range };
  const whole = [
    'table',
    'range',
    'every',
    'gap',
    'fill',
    'compare',
    'time',
    'zone',
    'calendar',
    'now',
    'measures',
    'by',
    'where',
    'mergeRepeated',
  ];
  const made: ((value: unknown) => Record<string, unknown>)[] = [
    ...whole.map((field) => (value: unknown) => ({ ...base, [field]: value })),
    ...['last', 'lastComplete', 'toDate', 'current', 'previous', 'text'].map(
      (field) => (value: unknown) => ({ ...question, [field]: value }),
    ),
    (value) => ({ ...base, hop: value, every: '7 days' }),
    (value) => ({ ...base, range: [value, '2026-11-08'] }),
    (value) => ({ ...base, measures: { s: value } }),
    ...['fn', 'column', 'filter'].map((field) => (value: unknown) => ({
      ...base,
      measures: { s: { fn: 'sum', column: 'amount', [field]: value } },
    })),
    ...['column', 'op', 'value'].map((field) => (value: unknown) => ({
      ...base,
      where: { column: 'id', op: 'in', value: [1], [field]: value },
    })),
    ...['to', 'align', 'leapWeek'].map((field) => (value: unknown) => ({
      ...base,
      compare: { to: 'previous', [field]: value },
    })),
    ...['zone', 'weekStart', 'fiscalYearStart', 'weekend', 'holidays', 'hours', 'retail'].map(
      (field) => (value: unknown) => ({
        ...question,
        range,
        zone: undefined,
        calendar: { [field]: value },
      }),
    ),
    ...['pattern', 'ends', 'weekday', 'month', 'leapWeek'].map((field) => (value: unknown) => ({
      ...base,
      every: 'retailWeek',
      calendar: { retail: { [field]: value } },
    })),
    (value) => ({ ...base, calendar: { hours: { monday: value } } }),
    (value) => ({ ...base, calendar: { hours: [value] } }),
    (value) => ({ ...base, calendar: { holidays: [value] } }),
    (value) => ({ ...base, calendar: { holidays: [{ date: '2026-12-25', name: value }] } }),
    (value) => ({ ...base, calendar: { weekend: [value] } }),
    (value) => ({
      ...question,
      range,
      zone: undefined,
      calendar: { zone: { name: value, changes: [] } },
    }),
  ];
  const refused: unknown[] = [];
  for (const make of made)
    for (const value of values) {
      const asked = make(value);
      const { status, body } = await ask('POST', '/v1/windows', asked);
      if (status !== 200 && (status < 400 || status > 499 || !/^[0-9A-Z_]{5,}$/.test(body.code!)))
        refused.push([asked, status, body.code]);
    }
  expect(refused).toEqual([]);
  for (const spec of [
    { holidays: { ical: { toString: 1 }, years: { from: 2026, to: 2027 } } },
    { holidays: { ical: 'BEGIN:VCALENDAR', years: { from: 1e16, to: 1e16 } } },
    { holidays: { '2026-01-01': 5, __proto__x: 1 } },
    { weekStart: { toString: 1 } },
  ])
    expect((await ask('PUT', '/v1/calendars/h', spec)).status).toBe(400);
});
