import { afterAll, afterEach, expect, test } from 'vitest';
import { DbError, open, sql, SqlText, type Change, type Database } from '../../src/index.ts';

/** docs/api.md, line by line: what users of the embedded API rely on. */
let db: Database;
afterEach(() => db?.close());

async function failure(action: () => Promise<unknown>): Promise<DbError> {
  try {
    await action();
  } catch (cause) {
    expect(cause).toBeInstanceOf(DbError);
    return cause as DbError;
  }
  throw new Error('nothing was refused');
}

/** Ours alone: the runner of the tests has timers, too, which come and go. */
const timers = new Set<NodeJS.Timeout>();
const { setTimeout: begin, clearTimeout: end } = globalThis;
globalThis.setTimeout = Object.assign(
  (callback: () => void, delayMs?: number) => {
    const timer = begin(() => {
      timers.delete(timer);
      callback();
    }, delayMs);
    timers.add(timer);
    return timer;
  },
  { __promisify__: begin.__promisify__ },
);
globalThis.clearTimeout = (timer) => {
  timers.delete(timer as NodeJS.Timeout);
  end(timer);
};
afterAll(() => Object.assign(globalThis, { setTimeout: begin, clearTimeout: end }));

/** Timers that keep the process alive. */
const held = (): number => [...timers].filter((timer) => timer.hasRef()).length;

test('every option of open is checked, and the error names it', async () => {
  const bad: [string, unknown][] = [
    ['memory', '4 gigs'],
    ['memory', -1],
    ['journal.kind', { kind: 'tape' }],
    ['journal.keep', { kind: 'memory', keep: 'much' }],
    ['history', 'long'],
    ['history', -5],
    ['workers', -1],
    ['workers', 'many'],
    ['zone', 'Mars/Olympus'],
    ['values.int8', { int8: 'float' }],
    ['values.nope', { nope: 'x' }],
    ['journal.fsyncMs', { kind: 'file', dir: 'x', fsyncMs: 0 }],
    ['clock', {}],
    ['disk', null],
    ['nope', 1],
  ];
  for (const [field, value] of bad) {
    const name = field.split('.')[0]!;
    const { code, hint, field: named } = await failure(() => open({ [name]: value } as never));
    expect([code === '22023' || code === '0A000', named]).toEqual([true, field]);
    expect(hint).toBeTruthy();
  }
});

test('what an option is not is told before anything is done', async () => {
  db = await open({ workers: 0 });
  await db.exec('CREATE TABLE t (id int)');
  const csv = Buffer.from('id\n1\n');
  const odd = Object.create(null) as object;
  const calls: [string, () => unknown][] = [
    // It was called when the rows had been committed: a TypeError.
    ['onProgress', () => db.load('t', csv, { format: 'csv', onProgress: 'log' as never })],
    ['onProgress', () => db.export('t', 'x.csv', { onProgress: {} as never })],
    [
      'journal.onProgress',
      () => open({ journal: { kind: 'file', dir: 'x', onProgress: 1 as never } }),
    ],
    // They were false.
    ['atomic', () => db.load('t', csv, { format: 'csv', atomic: 'yes' as never })],
    ['create', () => db.load('new', csv, { format: 'csv', create: 1 as never })],
    ['readOnly', () => db.exec('INSERT INTO t VALUES (5)', { readOnly: 'true' as never })],
    ['types', () => db.load('new', csv, { format: 'csv', create: true, types: 5 as never })],
    ['types.id', () => db.load('new', csv, { format: 'csv', create: true, types: { id: '?' } })],
    // None of these has a text.
    ['zone', () => db.query('SELECT 1', { zone: odd as never })],
    ['format', () => db.query('SELECT 1', { format: odd as never })],
    ['format', () => db.load('t', csv, { format: odd as never })],
    ['http', () => db.listen({ http: Symbol('x') as never })],
  ];
  for (const [field, call] of calls) {
    const refused = await failure(async () => call());
    expect([refused.code, refused.field], refused.message).toEqual(['22023', field]);
    expect(refused.hint, refused.message).toBeTruthy();
  }
  expect((await db.query('SELECT count(*) AS n FROM t')).rows).toEqual([{ n: 0 }]);
});

test('every call refuses options that it does not know, and says which was meant', async () => {
  db = await open();
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, ts timestamptz)');
  const session = db.session();
  const rows = [{ id: 1, ts: 0 }];
  const measures = { n: 'count(*)' };
  const followed = async (options: object): Promise<void> => {
    for await (const _ of db.subscribe('t', options)) break;
  };
  const calls: Record<string, (options: never) => unknown> = {
    query: (options) => db.query('SELECT 1', options),
    exec: (options) => db.exec('SELECT 1', options),
    stream: (options) => db.stream('SELECT 1', options),
    window: (options) => db.window('t', { last: '1h', measures }, options),
    progressive: (options) => db.progressive('SELECT 1', options),
    insert: (options) => db.insert('t', rows, options),
    upsert: (options) => db.upsert('t', rows, options),
    delete: (options) => db.delete('t', { id: 1 }, options),
    load: (options) => db.load('t', Buffer.from('id\n2\n'), options),
    export: (options) => db.export('t', '/nowhere/t.csv', options),
    subscribe: followed,
    transaction: (options) => db.transaction(async () => 1, options),
    'insert of a session': (options) => session.insert('t', rows, options),
    'query of a session': (options) => session.query('SELECT 1', options),
  };
  for (const [name, call] of Object.entries(calls)) {
    expect([
      name,
      await failure(async () => call({ timeoutMS: 1000 } as never)),
      await failure(async () => call(null as never)),
      await failure(async () => call([5] as never)),
    ]).toMatchObject([
      name,
      { code: '22023', field: 'timeoutMS', hint: 'Did you mean "timeoutMs"?' },
      { code: '22023', field: 'options' },
      { code: '22023', field: 'options' },
    ]);
  }
  expect(await failure(() => db.exec('SELECT $1', [5] as never))).toMatchObject({
    hint: 'Give parameters as { params: [ … ] }.',
  });
  for (const [call, field] of [
    [() => open({ jornal: { kind: 'memory' } } as never), 'jornal'],
    [() => open({ journal: { kind: 'memory', kep: 1 } } as never), 'journal.kep'],
    [() => open({ journal: null } as never), 'journal'],
    [() => open(null as never), 'options'],
    [() => db.as({ tennant: 'acme' } as never), 'tennant'],
    [() => db.session({ tenant: '' }), 'tenant'],
    [() => db.query('SELECT 1', { user: 5 } as never), 'user'],
    [() => db.load('t', Buffer.from('id'), { csv: { delimeter: ';' } } as never), 'csv.delimeter'],
    [() => db.insert('t', rows, { idempotencyKey: 5 } as never), 'idempotencyKey'],
    [() => db.query('SELECT 1', { zone: 'Europe/Berln' }), 'zone'],
    [() => db.query('SELECT 1', { format: 'csv' } as never), 'format'],
    [() => db.on('view.failed', 5 as never), 'listener'],
  ] as const) {
    const error = await failure(async () => call());
    expect([error.code, error.field, error.hint]).toEqual(['22023', field, expect.anything()]);
  }
  for (const call of [
    () => sql('SELECT 1' as never),
    () => db.subscribe(5 as never),
    () => sql.id(),
  ])
    expect((await failure(async () => call())).hint).toBeTruthy();
  expect((await db.query('SELECT * FROM t')).rows).toEqual([]);
});

test('open has a default for everything and takes what the contract shows', async () => {
  db = await open({
    memory: '1 gb',
    journal: { kind: 'memory', keep: '64 MB' },
    history: '1 day',
    workers: 'auto',
    zone: 'Europe/Berlin',
    values: { int8: 'bigint' },
  });
  const { rows } = await db.query(
    "SELECT 1::bigint AS n, '2026-07-01 12:00'::timestamptz AS t, current_setting('TimeZone') AS z",
  );
  expect(rows).toEqual([{ n: 1n, t: '2026-07-01T10:00:00Z', z: 'Europe/Berlin' }]);
});

test('await using closes the database, and a closed one says so', async () => {
  let kept: Database;
  {
    await using opened = await open();
    kept = opened;
    await opened.exec('CREATE TABLE t (a int)');
  }
  for (const action of [
    () => kept.query('SELECT 1'),
    () => kept.exec('SELECT 1'),
    () => kept.insert('t', { a: 1 }),
    () => kept.load('t', Buffer.from('a\n1\n')),
    () => kept.export('t', '/nowhere/x.csv'),
    () => kept.transaction(async () => 1),
    async () => {
      for await (const _ of kept.subscribe('t')) break;
    },
    async () => {
      for await (const _ of kept.stream('SELECT 1')) break;
    },
  ])
    expect(await failure(action)).toMatchObject({ code: '57P01' });
  await kept.close();
});

test('exec says where it stands, how many rows it changed and what it did', async () => {
  db = await open();
  expect(await db.exec('CREATE TABLE t (a int PRIMARY KEY)')).toEqual({
    position: 1,
    rows: 0,
    command: 'CREATE TABLE',
  });
  expect(await db.exec('INSERT INTO t VALUES ($1), ($2)', { params: [1, 2] })).toMatchObject({
    position: 2,
    rows: 2,
    command: 'INSERT',
  });
  expect(await db.exec(sql`DELETE FROM t WHERE a = ${1}`)).toMatchObject({
    rows: 1,
    command: 'DELETE',
  });
});

test('an answer says what it is', async () => {
  db = await open();
  await db.exec(
    'CREATE TABLE t (a int); CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM t',
  );
  const { position } = await db.insert('t', [{ a: 1 }, { a: 2 }]);
  const result = await db.query('SELECT n FROM v', { label: 'panel 7', priority: 'interactive' });
  expect(result.rowCount).toBe(1);
  expect(result.command).toBe('SELECT');
  expect(result.columns).toEqual([{ name: 'n', type: 'bigint', nullable: expect.any(Boolean) }]);
  expect(result.meta).toEqual({
    queryId: expect.stringMatching(/^[\w-]{8,}$/),
    position,
    asOf: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    lagMs: 0,
    source: 'view',
    sources: [{ kind: 'view', name: 'v' }],
    guarantee: 'exact',
    work: expect.any(Number),
    elapsedMs: expect.any(Number),
    queuedMs: expect.any(Number),
  });
  expect((await db.query('SELECT a FROM t')).meta.source).toBe('scan');
  expect((await db.query('SELECT 1')).meta.source).toBe('catalog');
  const dml = await db.query('INSERT INTO t VALUES (3) RETURNING a');
  expect([dml.rows, dml.command, dml.rowCount, dml.meta.position]).toEqual([
    [{ a: 3 }],
    'INSERT',
    1,
    position + 1,
  ]);
});

test('an answer of changes says what all of them have read and spent', async () => {
  db = await open();
  await db.exec('CREATE TABLE t (a int); CREATE TABLE u (a int)');
  await db.exec('INSERT INTO t SELECT * FROM generate_series(1, 1000); INSERT INTO u VALUES (1)');
  const { meta, rows } = await db.query(
    'WITH gone AS (DELETE FROM t RETURNING a), more AS (INSERT INTO u SELECT a FROM gone) SELECT count(*) AS n FROM gone',
  );
  expect([rows, meta.source, meta.sources.map(({ name }) => name).sort()]).toEqual([
    [{ n: 1000 }],
    'scan',
    ['t', 'u'],
  ]);
  expect(meta.work).toBeGreaterThan(1000);
});

test('parameters are bound by place, and a wrong number or kind of them is told', async () => {
  db = await open();
  expect((await db.query('SELECT $1::int + $2 AS s', { params: [1, 2] })).rows).toEqual([{ s: 3 }]);
  expect((await db.query('SELECT $1::text AS t', { params: [null] })).rows).toEqual([{ t: null }]);
  expect(await failure(() => db.query('SELECT $1::int', { params: [] }))).toMatchObject({
    code: '08P01',
  });
  expect(await failure(() => db.query('SELECT 1', { params: [1] }))).toMatchObject({
    code: '08P01',
  });
  expect(await failure(() => db.query('SELECT $1::int', { params: [undefined] }))).toMatchObject({
    code: '22023',
    field: 'params.0',
  });
  expect(await failure(() => db.query('SELECT $1::int', { params: ['x'] }))).toMatchObject({
    code: '22P02',
  });
  expect(
    await failure(() => db.query('SELECT $1::date', { params: [new Date(NaN)] })),
  ).toMatchObject({
    code: '22023',
  });
  expect(await failure(() => db.query('SELECT $1', { params: 'x' as never }))).toMatchObject({
    code: '22023',
    field: 'params',
  });
  expect(await failure(() => db.query(undefined as never))).toMatchObject({ code: '22023' });
});

test('the sql tag composes: tags nest, identifiers are quoted, lists are joined, raw text is text', async () => {
  db = await open();
  await db.exec('CREATE TABLE "Order ""1""" (id int, "x y" text)');
  const table = sql.id('Order "1"');
  const rows = sql.join([sql`(${1}, ${'a'})`, sql`(${2}, ${"b'; --"})`]);
  await db.exec(sql`INSERT INTO ${table} (id, ${sql.id('x y')}) VALUES ${rows}`);
  const where = sql`id IN (${sql.join([1, 2, 3])})`;
  const text = sql<{
    id: number;
    'x y': string;
  }>`SELECT * FROM ${table} WHERE ${where} ${sql.raw('ORDER BY id DESC')} LIMIT ${10}`;
  expect(text).toBeInstanceOf(SqlText);
  expect(text.text).toBe(
    'SELECT * FROM "Order ""1""" WHERE id IN ($1, $2, $3) ORDER BY id DESC LIMIT $4',
  );
  expect(text.values).toEqual([1, 2, 3, 10]);
  const result = await db.query(text);
  expect(result.rows.map((row) => row['x y'])).toEqual(["b'; --", 'a']);
  expect(sql.join([sql`a = ${1}`, sql`b = ${2}`], ' AND ').text).toBe('a = $1 AND b = $2');
  expect(sql.join([]).text).toBe('');
  expect(sql.id('public', 't').text).toBe('"public"."t"');
  expect(() => sql.id('')).toThrow(DbError);
});

test('atLeast waits for a position; asOf reads an earlier one; what is too far says so', async () => {
  db = await open();
  await db.exec('CREATE TABLE t (a int)');
  const waiting = db.query('SELECT count(*) AS n FROM t', { atLeast: 3 });
  const { position } = await db.insert('t', { a: 1 });
  await db.insert('t', { a: 2 });
  expect((await waiting).rows).toEqual([{ n: 2 }]);
  const past = await db.query('SELECT count(*) AS n FROM t', { asOf: position });
  expect([past.rows, past.meta.position]).toEqual([[{ n: 1 }], position]);
  expect(past.meta.lagMs).toBeGreaterThanOrEqual(0);
  expect(await failure(() => db.query('SELECT 1', { atLeast: 99, timeoutMs: 5 }))).toMatchObject({
    code: '57014',
  });
  for (const wrong of [-1, 1.5, NaN, '1'])
    for (const field of ['atLeast', 'asOf'])
      expect(
        await failure(() => db.query('SELECT * FROM t', { [field]: wrong } as never)),
      ).toMatchObject({ code: '22023', field });
  expect(await failure(() => db.query('SELECT * FROM t', { asOf: 99 }))).toMatchObject({
    code: 'ADB_POSITION_GONE',
  });
});

test('work above maxWork ends a query with the limit it met', async () => {
  db = await open();
  // Also one that is over before a step of it is.
  const { work } = (await db.query('SELECT 1')).meta;
  expect((await db.query('SELECT 1', { maxWork: work })).rows).toHaveLength(1);
  expect(await failure(() => db.query('SELECT 1', { maxWork: work - 1 }))).toMatchObject({
    code: '53400',
  });
  const long = 'SELECT count(*) FROM generate_series(1, 1000000) AS g(x)';
  expect(await failure(() => db.query(long, { maxWork: 1000 }))).toMatchObject({
    code: '53400',
    limit: 'work',
    retryable: true,
  });
  for (const [field, value] of [
    ['maxWork', -1],
    ['maxWork', 'much'],
    ['priority', 'urgent'],
    ['label', 7],
    ['zone', 'Mars/Olympus'],
    ['timeoutMs', -1],
    ['timeoutMs', NaN],
    ['signal', {}],
    ['values.timestamptz', { timestamptz: 'seconds' }],
  ] as const) {
    const name = field.split('.')[0]!;
    expect([field, await failure(() => db.query('SELECT 1', { [name]: value } as never))]).toEqual([
      field,
      expect.objectContaining({ code: '22023', field }),
    ]);
  }
});

test('every call obeys a signal, aborted before or meanwhile, and a time limit', async () => {
  db = await open();
  await db.exec('CREATE TABLE t (a int PRIMARY KEY)');
  const why = new Error('the panel was closed');
  const aborted = AbortSignal.abort(why);
  const calls: ((options: { signal?: AbortSignal; timeoutMs?: number }) => Promise<unknown>)[] = [
    (options) => db.query('SELECT 1', options),
    (options) => db.exec('SELECT 1', options),
    (options) => db.insert('t', { a: 1 }, options),
    (options) => db.upsert('t', { a: 1 }, options),
    (options) => db.delete('t', { a: 1 }, options),
    (options) => db.load('t', Buffer.from('a\n1\n'), options),
    (options) => db.export('t', '/tmp/never-written.csv', options),
    (options) => db.transaction(async (tx) => tx.insert('t', { a: 1 }), options),
    async (options) => {
      for await (const _ of db.stream('SELECT 1', options)) break;
    },
    async (options) => {
      for await (const _ of db.subscribe('t', options)) break;
    },
    (options) => db.metrics.text(options),
    (options) => db.queries.list(options),
    (options) => db.queries.cancel('none', options),
    (options) => db.calendars.set('c', {}, options),
    (options) => db.calendars.list(options),
    (options) => db.policies.set('t', {}, options),
    (options) => db.policies.list(options),
    (options) => db.recovery.set({ onPoison: 'skip' }, options),
    (options) => db.recovery.rebuild('t', options),
    (options) => open(options),
  ];
  for (const call of calls) {
    expect(await failure(() => call({ signal: aborted }))).toMatchObject({
      code: '57014',
      name: 'AbortError',
      cause: why,
    });
  }
  expect((await db.query('SELECT * FROM t')).rows).toEqual([]);
  expect(await db.calendars.list({ timeoutMs: 1000 })).toEqual([]);
  expect(await db.recovery.get()).toMatchObject({ onPoison: 'hold' });
  expect(await failure(() => db.policies.list({ timeOutMs: 5 } as never))).toMatchObject({
    code: '22023',
    hint: 'Did you mean "timeoutMs"?',
  });
  const long = 'SELECT count(*) FROM generate_series(1, 3000000) a, generate_series(1, 1000) b';
  const never = (): AsyncIterable<never> => ({
    [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined) }),
  });
  const slow: typeof calls = [
    (options) => db.query(long, options),
    (options) => db.exec(long, options),
    (options) => db.insert('t', never(), options),
    (options) => db.load('t', never(), { ...options, format: 'csv' }),
    (options) => db.export(sql`${sql.raw(long)}`, '/tmp/never-written.csv', options),
    (options) => db.transaction(async (tx) => tx.query(long), options),
    async (options) => {
      for await (const _ of db.stream(long, options)) break;
    },
    async (options) => {
      for await (const change of db.subscribe('t', { ...options, from: 'now' }))
        expect(change).toBe('nothing');
    },
  ];
  for (const call of slow) {
    expect(await failure(() => call({ timeoutMs: 5 }))).toMatchObject({
      code: '57014',
      name: 'DbError',
    });
    const controller = new AbortController();
    const ended = failure(() => call({ signal: controller.signal }));
    setTimeout(() => controller.abort(why), 2);
    expect(await ended).toMatchObject({ code: '57014', name: 'AbortError', cause: why });
  }
  expect(await db.queries.list()).toEqual([]);
});

test('a stream gives batches of rows or columns, of the size asked for, or bytes of a format', async () => {
  db = await open();
  const numbers = 'SELECT x, x * 2 AS y FROM generate_series(1, 10000) AS g(x)';
  const sizes: number[] = [];
  let sum = 0;
  for await (const batch of db.stream<{ x: number; y: number }>(numbers, { batchRows: 4096 })) {
    sizes.push(batch.rowCount);
    const [x, y] = batch.columnar() as [number[], number[]];
    expect(x.length).toBe(batch.rowCount);
    expect(batch.rows[0]).toEqual({ x: x[0], y: y[0] });
    for (const value of y) sum += value;
  }
  expect(sizes).toEqual([4096, 4096, 1808]);
  expect(sum).toBe(100_010_000);
  const text = async (format: 'csv' | 'ndjson' | 'json'): Promise<string> => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of db.stream("SELECT 1 AS a, NULL AS b, 'x,y' AS c", { format }))
      chunks.push(chunk);
    return Buffer.concat(chunks).toString();
  };
  expect(await text('csv')).toBe('a,b,c\r\n1,,"x,y"\r\n');
  expect(await text('ndjson')).toBe('{"a":1,"b":null,"c":"x,y"}\n');
  expect(JSON.parse(await text('json'))).toEqual([{ a: 1, b: null, c: 'x,y' }]);
  expect(
    await failure(async () => {
      for await (const _ of db.stream('SELECT 1', { batchRows: 0 })) break;
    }),
  ).toMatchObject({ code: '22023', field: 'batchRows' });
  expect(
    await failure(async () => {
      for await (const _ of db.stream('SELECT 1', { format: 'xml' as never })) break;
    }),
  ).toMatchObject({ code: '22023', field: 'format' });
  // An error comes where the reader is.
  let seen = 0;
  expect(
    await failure(async () => {
      for await (const batch of db.stream(
        'SELECT 1 / (5000 - x) AS q FROM generate_series(1, 10000) AS g(x)',
      ))
        seen += batch.rowCount;
    }),
  ).toMatchObject({ code: '22012' });
  expect(seen).toBeLessThan(5000);
});

test('a session remembers: settings, transactions, prepared statements; text comes as PostgreSQL prints it', async () => {
  db = await open();
  await db.exec('CREATE TABLE t (a int)');
  await using session = db.session({ user: 'ann' });
  await session.exec("SET timezone = 'America/New_York'");
  const text = await session.query(
    "SELECT timestamptz '2026-01-01 12:00Z' AS t, true AS b, 1.50::numeric AS n, NULL AS x, '\\x00ff'::bytea AS raw, interval '1 day 2 hours' AS i, 0.1::float8 AS f",
    { format: 'text' },
  );
  expect(text.rows).toEqual([
    ['2026-01-01 07:00:00-05', 't', '1.50', null, '\\x00ff', '1 day 02:00:00', '0.1'],
  ]);
  expect(text.columns.map(({ type }) => type)).toEqual([
    'timestamp with time zone',
    'boolean',
    'numeric',
    'text',
    'bytea',
    'interval',
    'double precision',
  ]);
  expect(text.rowCount).toBe(1);
  expect((await session.query("SELECT current_setting('adb.user') AS u")).rows).toEqual([
    { u: 'ann' },
  ]);
  await session.exec('BEGIN');
  expect(session.status).toBe('active');
  await session.insert('t', { a: 1 });
  await session.upsert('t', { a: 1 }).catch(() => undefined);
  expect(session.status).toBe('failed');
  expect(await failure(() => session.insert('t', { a: 2 }))).toMatchObject({ code: '25P02' });
  await session.exec('ROLLBACK');
  await session.exec('BEGIN');
  const inserted = session.insert('t', { a: 5 });
  const counted = session.query('SELECT count(*) AS n FROM t');
  await inserted;
  expect((await counted).rows).toEqual([{ n: 1 }]);
  expect((await db.query('SELECT * FROM t')).rows).toEqual([]);
  await session.exec('COMMIT');
  expect((await db.query('SELECT * FROM t')).rows).toEqual([{ a: 5 }]);
  await session.close();
  expect(await failure(() => session.query('SELECT 1'))).toMatchObject({ code: '08003' });
  expect(await failure(() => session.insert('t', { a: 9 }))).toMatchObject({ code: '08003' });
});

test('as gives a light handle of another identity, and the options tenant and user are short for it', async () => {
  db = await open();
  await db.exec('CREATE TABLE t (a int)');
  const acme = db.as({ tenant: 'acme', user: 'ann', claims: { region: 'EU' } });
  const whoText =
    "SELECT current_setting('adb.user') AS u, current_setting('adb.claims.region') AS r, current_setting('adb.tenant') AS d";
  expect((await acme.query(whoText)).rows).toEqual([{ u: 'ann', r: 'EU', d: 'acme' }]);
  expect(
    (await db.query(whoText, { tenant: 'acme', user: 'ann', claims: { region: 'EU' } })).rows,
  ).toEqual([{ u: 'ann', r: 'EU', d: 'acme' }]);
  await acme.exec('CREATE TABLE own (a int)');
  await acme.insert('own', { a: 1 });
  expect(await failure(() => db.query('SELECT * FROM own'))).toMatchObject({ code: '42P01' });
  expect((await acme.query('SELECT * FROM own')).rows).toEqual([{ a: 1 }]);
  expect(acme.describe().map(({ name }) => name)).toEqual(['own']);
});

test('a transaction is all or nothing, gives value and position, and its errors are its caller’s', async () => {
  db = await open();
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, a int)');
  const { value, position } = await db.transaction(
    async (tx) => {
      await tx.insert('t', [
        { id: 1, a: 1 },
        { id: 2, a: 2 },
      ]);
      await tx.upsert('t', { id: 2, a: 3 });
      await tx.delete('t', { id: 1 });
      await tx.exec('UPDATE t SET a = a + 1');
      return (await tx.query<{ a: number }>('SELECT a FROM t')).rows[0]!.a;
    },
    { retries: 3 },
  );
  expect([value, position]).toEqual([4, db.position]);
  const mine = new Error('mine');
  await expect(
    db.transaction(async (tx) => {
      await tx.insert('t', { id: 9, a: 9 });
      throw mine;
    }),
  ).rejects.toBe(mine);
  expect((await db.query('SELECT * FROM t')).rows).toEqual([{ id: 2, a: 4 }]);
  expect(
    await failure(() =>
      db.transaction(async (tx) => tx.insert('t', { id: 3, a: 1 }), { readOnly: true }),
    ),
  ).toMatchObject({
    code: '25006',
  });
  let late: Parameters<Parameters<Database['transaction']>[0]>[0];
  await db.transaction(async (tx) => (late = tx));
  expect(await failure(() => late.insert('t', { id: 3, a: 1 }))).toMatchObject({ code: '08003' });
});

test('a transaction in which a statement has failed is never committed, whoever has caught the error', async () => {
  db = await open();
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, a int)');
  await db.insert('t', { id: 1, a: 0 });
  const duplicate = await failure(() => db.insert('t', { id: 1 }));
  const unheard = await failure(() =>
    db.transaction(async (tx) => {
      await tx.insert('t', { id: 2 });
      await tx.insert('t', { id: 1 }).catch(() => undefined);
    }),
  );
  expect(unheard).toMatchObject({ code: '25P02', cause: { message: duplicate.message } });
  // A savepoint is what such a failure is caught with.
  await db.transaction(async (tx) => {
    await tx.exec('SAVEPOINT before');
    await tx.insert('t', { id: 1 }).catch(() => tx.exec('ROLLBACK TO before'));
    await tx.insert('t', { id: 3 });
  });
  // A conflict that nobody heard of is one all the same.
  let runs = 0;
  await db.transaction(
    async (tx) => {
      await tx.query('SELECT a FROM t WHERE id = 1');
      if ((runs += 1) === 1) await db.exec('UPDATE t SET a = a + 1 WHERE id = 1');
      await tx.exec('UPDATE t SET a = 7 WHERE id = 1').catch(() => undefined);
    },
    { retries: 1 },
  );
  expect([runs, (await db.query('SELECT id, a FROM t ORDER BY id')).rows]).toEqual([
    2,
    [
      { id: 1, a: 7 },
      { id: 3, a: null },
    ],
  ]);
});

test('a transaction of db.transaction is ended by its function and by nothing else', async () => {
  db = await open();
  await db.exec('CREATE TABLE t (id int PRIMARY KEY)');
  for (const end of ['COMMIT', 'ROLLBACK', 'INSERT INTO t VALUES (2); COMMIT', 'COMMIT AND CHAIN'])
    expect(
      await failure(() =>
        db.transaction(async (tx) => {
          await tx.insert('t', { id: 1 });
          await tx.exec(end);
        }),
      ),
    ).toMatchObject({ code: '2D000', hint: expect.stringContaining('Return from its function') });
  expect((await db.query('SELECT * FROM t')).rows).toEqual([]);
  expect(await failure(() => db.transaction(5 as never))).toMatchObject({ code: '22023' });
});

test('a call that leaves a transaction open, or sets what nobody will remember, is told so', async () => {
  db = await open();
  await db.exec('CREATE TABLE t (id int PRIMARY KEY)');
  for (const text of [
    'BEGIN',
    'BEGIN; INSERT INTO t VALUES (1)',
    'INSERT INTO t VALUES (1); BEGIN',
  ])
    for (const call of [() => db.exec(text), () => db.query(text)])
      expect(await failure(call)).toMatchObject({
        code: '25001',
        hint: expect.stringContaining('db.session()'),
      });
  await db.exec('BEGIN; INSERT INTO t VALUES (2); COMMIT');
  expect((await db.query('SELECT * FROM t')).rows).toEqual([{ id: 2 }]);
  for (const text of ["SET timezone = 'Europe/Berlin'", 'RESET timezone', 'PREPARE p AS SELECT 1'])
    expect(await failure(() => db.exec(text))).toMatchObject({ code: '55000' });
  const { rows } = await db.query("SET timezone = 'Europe/Berlin'; SHOW timezone");
  expect(rows).toEqual([{ TimeZone: 'Europe/Berlin' }]);
  expect(await failure(() => db.exec('DELETE FROM t', { asOf: db.position }))).toMatchObject({
    code: '25006',
    field: 'asOf',
  });
});

test('nothing is committed that is not there any more: a closed database says so to open transactions', async () => {
  db = await open();
  await db.exec('CREATE TABLE t (id int PRIMARY KEY)');
  const session = db.session();
  await session.exec('BEGIN; INSERT INTO t VALUES (1)');
  const transaction = failure(() =>
    db.transaction(async (tx) => {
      await tx.insert('t', { id: 2 });
      await db.close();
    }),
  );
  expect(await transaction).toMatchObject({ code: '57P01' });
  for (const text of ['COMMIT', 'SHOW timezone', 'BEGIN', 'ROLLBACK'])
    expect(await failure(() => session.exec(text))).toMatchObject({ code: '57P01' });
  await session.close();
});

test('closing ends what waits for rows from outside', async () => {
  const silent = (): AsyncIterable<never> => ({
    [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined) }),
  });
  const calls: ((db: Database) => Promise<unknown>)[] = [
    (each) => each.insert('t', silent()),
    (each) => each.load('t', silent(), { format: 'csv' }),
    (each) => each.session().insert('t', silent()),
    (each) => each.transaction(() => new Promise(() => undefined)),
  ];
  for (const call of calls) {
    const opened = await open();
    await opened.exec('CREATE TABLE t (id int PRIMARY KEY)');
    const ended = failure(() => call(opened));
    await opened.close();
    expect(await ended).toMatchObject({ code: '57P01' });
  }
});

test('a process with nothing else to do waits for a time limit that somebody waits for', async () => {
  db = await open();
  const before = held();
  const abort = new AbortController();
  const { signal } = abort;
  const waiting = failure(() => db.query('SELECT 1', { atLeast: 9, timeoutMs: 60_000, signal }));
  expect(held()).toBe(before + 1);
  abort.abort();
  expect(await waiting).toMatchObject({ code: '57014' });
  expect(held()).toBe(before);
});

test('a subscription tells the snapshot, each difference, that nothing changed, and that it must begin anew', async () => {
  db = await open({ history: 0 });
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, a int)');
  await db.insert('t', [
    { id: 1, a: 1 },
    { id: 2, a: 2 },
  ]);
  await using subscription = db.subscribe<{ id: number; a: number }>('t', { heartbeatMs: 20 });
  expect(await subscription.columns).toEqual([
    { name: 'id', type: 'integer', nullable: false },
    { name: 'a', type: 'integer', nullable: true },
  ]);
  expect(await subscription.key).toEqual(['id']);
  const iterator = subscription[Symbol.asyncIterator]();
  const next = async (): Promise<Change<{ id: number; a: number }>> =>
    (await iterator.next()).value!;
  expect(await next()).toEqual({
    kind: 'snapshot',
    position: 2,
    rows: [
      { id: 1, a: 1 },
      { id: 2, a: 2 },
    ],
    more: false,
  });
  const { position } = await db.exec('UPDATE t SET a = 9 WHERE id = 1');
  expect(await next()).toEqual({
    kind: 'delta',
    from: 2,
    position,
    inserted: [{ id: 1, a: 9 }],
    deleted: [{ id: 1, a: 1 }],
  });
  expect(await next()).toEqual({ kind: 'progress', position, asOf: expect.stringMatching(/Z$/) });
  await subscription.close();
  expect(await iterator.next()).toEqual({ done: true, value: undefined });
  for (const [options, field] of [
    [{ from: 'yesterday' }, 'from'],
    [{ from: -1 }, 'from'],
    [{ maxRate: 0 }, 'maxRate'],
    [{ heartbeatMs: -1 }, 'heartbeatMs'],
    [{ heartbeatMs: 'x' }, 'heartbeatMs'],
    [{ values: { int8: 'x' } }, 'values.int8'],
  ] as const)
    expect(
      await failure(async () => {
        for await (const _ of db.subscribe('t', options as never)) break;
      }),
    ).toMatchObject({ code: '22023', field });
  expect(
    await failure(async () => {
      for await (const _ of db.subscribe('nope')) break;
    }),
  ).toMatchObject({ code: '42P01' });
});

test('a subscription can begin now, at a position, or follow a query; leaving the loop closes it', async () => {
  db = await open();
  await db.exec('CREATE TABLE t (a int)');
  const { position } = await db.insert('t', { a: 1 });
  const now = db.subscribe('t', { from: 'now' })[Symbol.asyncIterator]();
  const pending = now.next();
  await new Promise((resolve) => setImmediate(resolve));
  await db.insert('t', { a: 2 });
  expect((await pending).value).toMatchObject({ kind: 'delta', inserted: [{ a: 2 }], deleted: [] });
  for await (const change of db.subscribe('t', { from: position })) {
    expect(change).toMatchObject({ kind: 'delta', from: position, inserted: [{ a: 2 }] });
    break;
  }
  for await (const change of db.subscribe(
    sql<{ n: number }>`SELECT count(*) AS n FROM t WHERE a > ${1}`,
  )) {
    expect(change).toMatchObject({ kind: 'snapshot', rows: [{ n: 1 }] });
    break;
  }
  for await (const change of db.subscribe('SELECT sum(a) AS s FROM t WHERE a > $1', {
    params: [0],
  })) {
    expect(change).toMatchObject({ kind: 'snapshot', rows: [{ s: 3 }] });
    break;
  }
  await now.return?.();
  expect(db.metrics.snapshot()['subscribers']).toBe(0);
});

test('metrics are Prometheus text and plain numbers; listeners hear and can be taken off', async () => {
  db = await open();
  await db.exec(
    'CREATE TABLE t (a int); CREATE MATERIALIZED VIEW v AS SELECT 10 / (a - 7) AS x FROM t',
  );
  await db.query('SELECT 1');
  expect(await db.metrics.text()).toMatch(/^analyticdb_queries_total \d+$/m);
  const { position, queries } = db.metrics.snapshot();
  expect([position, queries]).toEqual([db.position, expect.any(Number)]);
  const heard: string[] = [];
  const off = db.on('query.slow', ({ queryId }) => heard.push(queryId));
  off();
  off();
  expect(() => db.on('query.slowest' as never, () => undefined)).toThrow(DbError);
});

test('a delete names the key and nothing else; {} is refused', async () => {
  db = await open();
  await db.exec('CREATE TABLE t (a int, b text, PRIMARY KEY (a, b)); CREATE TABLE u (a int)');
  await db.insert('t', { a: [1, 1, 2], b: ['x', 'y', 'x'] });
  expect(await db.delete('t', { a: 1, b: 'x' })).toMatchObject({ rows: 1 });
  expect(await db.delete('t', { a: [1, 2, 3], b: ['y', 'x', 'z'] })).toMatchObject({ rows: 2 });
  for (const key of [{}, { a: 1 }, { a: 1, b: 'x', c: 1 }, { a: [1, 2], b: ['x'] }, null, 'x', [1]])
    expect(await failure(() => db.delete('t', key as never))).toMatchObject({ code: '22023' });
  expect(await failure(() => db.delete('u', { a: 1 }))).toMatchObject({ code: '42P10' });
  expect(await failure(() => db.delete('t', { a: undefined, b: 'x' }))).toMatchObject({
    code: '22023',
  });
});

test('errors have the fields of the contract, and go over JSON', async () => {
  db = await open();
  await db.exec('CREATE TABLE orders (id int PRIMARY KEY, region text NOT NULL)');
  const typo = await failure(() => db.query('SELECT regoin\nFROM orders'));
  expect(typo).toMatchObject({
    name: 'DbError',
    code: '42703',
    message: 'column "regoin" does not exist',
    hint: expect.stringContaining('orders.region'),
    at: { offset: 7, line: 1, column: 8 },
    retryable: false,
  });
  expect(await failure(() => db.insert('orders', { id: 1 }))).toMatchObject({
    code: '23502',
    table: 'orders',
    column: 'region',
  });
  await db.insert('orders', { id: 1, region: 'EU' });
  expect(await failure(() => db.insert('orders', { id: 1, region: 'EU' }))).toMatchObject({
    code: '23505',
    table: 'orders',
    constraint: 'orders_pkey',
    detail: 'Key (id)=(1) already exists.',
  });
  expect(JSON.parse(JSON.stringify(typo))).toMatchObject({
    code: '42703',
    at: { line: 1 },
    retryable: false,
  });
});

test('who waits for changes keeps the process alive, and nobody else does', async () => {
  // A script whose last line was `for await (… of db.subscribe(…))` ended in it, with nothing said.
  db = await open();
  await db.exec('CREATE TABLE t (a int)');
  const before = held();
  const subscription = db.subscribe('t');
  const iterator = subscription[Symbol.asyncIterator]();
  await iterator.next();
  expect(held()).toBe(before);
  const waiting = iterator.next();
  await new Promise((resolve) => setImmediate(resolve));
  expect(held()).toBe(before + 1);
  await db.insert('t', { a: 1 });
  await waiting;
  expect(held()).toBe(before);
  const last = iterator.next();
  await new Promise((resolve) => setImmediate(resolve));
  expect(held()).toBe(before + 1);
  await subscription.close();
  expect(await last).toEqual({ done: true, value: undefined });
  expect(held()).toBe(before);
});

test('who waits for rows that another transaction has changed keeps the process alive', async () => {
  // `db.query` awaited within `db.transaction`, on a row of its own, ended a script with nothing said.
  db = await open();
  await db.exec('CREATE TABLE t (a int); INSERT INTO t VALUES (1)');
  const before = held();
  const holder = db.session();
  await holder.exec('BEGIN; UPDATE t SET a = 2');
  expect(held()).toBe(before);
  const waiting = db.exec('UPDATE t SET a = 3');
  while (held() === before) await new Promise((resolve) => setImmediate(resolve));
  expect(held()).toBe(before + 1);
  await holder.exec('COMMIT');
  await waiting;
  expect(held()).toBe(before);
});
