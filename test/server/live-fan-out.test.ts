import { expect, test } from 'vitest';
import { open, type Change, type Database, type Subscription } from '../../src/index.ts';
import { NodeClock } from '../../src/base/node-ports.ts';
import { serveLive, type EventSink } from '../../src/server/live.ts';
import { Turns } from '../../src/server/turns.ts';
import { RowTexts } from '../../src/server/row-texts.ts';

type Told = { readonly item: string; readonly kind: string; readonly position: number } & Readonly<
  Record<'inserted' | 'deleted', Record<string, unknown>[]>
>;

/** Rows that became JSON, however often one did. */
class Rendered {
  count = 0;
  readonly #known = new WeakSet<object>();

  /** Counts the rows of a subscription, which stay the objects that they are: others may be told the same. */
  of(subscription: Subscription): Subscription {
    const count = (row: object): void => {
      if (this.#known.has(row)) return;
      this.#known.add(row);
      const toJSON = (): object => {
        this.count += 1;
        return row;
      };
      Object.defineProperty(row, 'toJSON', { value: toJSON });
    };
    async function* counted(): AsyncGenerator<Change> {
      for await (const change of subscription) {
        if (change.kind === 'delta')
          for (const row of [...change.inserted, ...change.deleted]) count(row);
        yield change;
      }
    }
    return {
      columns: subscription.columns,
      key: subscription.key,
      unchanged: (from, to) => subscription.unchanged(from, to),
      close: () => subscription.close(),
      [Symbol.asyncDispose]: () => subscription.close(),
      [Symbol.asyncIterator]: () => counted(),
    };
  }
}

/** A socket that is full when it is told to be. */
class Socket implements EventSink {
  full = false;
  closed = false;
  readonly told: Told[] = [];
  #drained: (() => void)[] = [];

  write(text: string): boolean {
    const data = /^data: (.*)$/m.exec(text)?.[1];
    if (data !== undefined) this.told.push({ kind: '', ...JSON.parse(data) });
    return !this.full;
  }

  drained(): Promise<void> {
    return new Promise((resolve) => this.#drained.push(resolve));
  }

  drain(): void {
    this.full = false;
    for (const resolve of this.#drained.splice(0)) resolve();
  }

  end(): void {
    this.closed = true;
  }

  get deltas(): Told[] {
    return this.told.filter(({ kind }) => kind === 'delta');
  }
}

const turns = new Turns(new NodeClock());

function follow(db: Database, names: readonly string[], sink: Socket, rendered: Rendered) {
  const abort = new AbortController();
  const served = serveLive(
    names.map((name) => ({
      kind: 'followed',
      name,
      open: (from, signal) => rendered.of(db.subscribe(name, { from, signal })),
    })),
    sink,
    {
      resume: { position: db.position, behind: new Map() },
      clock: new NodeClock(),
      turns,
      instantMs: () => 0,
      signal: abort.signal,
    },
  );
  return {
    end: async (): Promise<void> => {
      abort.abort('enough');
      sink.drain();
      await served;
    },
  };
}

test('rows of a change are rendered once, however many are told it', async () => {
  await using db = await open({ workers: 0 });
  const rows = 3000;
  await db.exec('CREATE TABLE t (id int PRIMARY KEY, x float8)');
  await db.exec(`INSERT INTO t SELECT i, i FROM generate_series(1, ${rows}) AS i`);
  const rendered = new Rendered();
  const sockets = Array.from({ length: 20 }, () => new Socket());
  const streams = sockets.map((socket) => follow(db, ['t'], socket, rendered));
  await expect.poll(() => sockets.every(({ told }) => told.length > 0)).toBe(true);
  await db.exec('UPDATE t SET x = x + 1');
  const complete = ({ deltas }: Socket): boolean =>
    deltas.flatMap(({ inserted }) => inserted).length === rows;
  await expect.poll(() => sockets.every(complete)).toBe(true);
  expect(rendered.count).toBe(2 * rows);
  await db.exec("INSERT INTO t VALUES (0, 'NaN')");
  await expect.poll(() => rendered.count).toBe(2 * rows + 1);
  await expect.poll(() => sockets.every(({ deltas }) => deltas.length === 5)).toBe(true);
  for (const { deltas } of sockets) {
    expect(deltas.map((each) => [each.deleted.length, each.inserted.length])).toEqual([
      [2000, 0],
      [1000, 0],
      [0, 2000],
      [0, 1000],
      [0, 1],
    ]);
    const { inserted, deleted } = deltas.reduce((all, each) => ({
      ...each,
      inserted: [...all.inserted, ...each.inserted],
      deleted: [...all.deleted, ...each.deleted],
    }));
    const sorted = (told: readonly Record<string, unknown>[]): unknown[] =>
      told.toSorted((a, b) => Number(a['id']) - Number(b['id']));
    const ids = Array.from({ length: rows }, (_, index) => index + 1);
    expect(sorted(deleted)).toEqual(ids.map((id) => ({ id, x: id })));
    expect(sorted(inserted)).toEqual([
      { id: 0, x: 'NaN' },
      ...ids.map((id) => ({ id, x: id + 1 })),
    ]);
  }
  for (const stream of streams) await stream.end();
});

test('for a socket that is full nothing is rendered, and what was missed is one change', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE a (id int PRIMARY KEY, x int); CREATE TABLE b (id int, x int)');
  await db.exec('INSERT INTO a VALUES (1, 0); INSERT INTO b VALUES (1, 0)');
  const rendered = new Rendered();
  const socket = new Socket();
  const stream = follow(db, ['a', 'b'], socket, rendered);
  await expect.poll(() => socket.told.length).toBe(2);
  socket.full = true;
  for (let round = 0; round < 50; round += 1) {
    await db.exec('UPDATE a SET x = x + 1');
    await db.exec('UPDATE b SET x = x + 1');
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(rendered.count).toBe(0);
  socket.drain();
  await expect.poll(() => socket.deltas.length).toBe(4);
  // The change that each held, and all others as one.
  expect(rendered.count).toBe(8);
  for (const item of ['a', 'b'])
    expect(
      socket.deltas
        .filter((each) => each.item === item)
        .map(({ inserted, deleted }) => [deleted, inserted]),
    ).toEqual([
      [[{ id: 1, x: 0 }], [{ id: 1, x: 1 }]],
      [[{ id: 1, x: 1 }], [{ id: 1, x: 50 }]],
    ]);
  await stream.end();
});

test('texts of rows are kept up to a bound, the oldest of them forgotten', () => {
  let rendered = 0;
  const rowsOf = (rowCount: number): object[] =>
    Array.from({ length: rowCount }, (_, id) => ({
      toJSON: () => {
        rendered += 1;
        return { id };
      },
    }));
  const texts = new RowTexts(1000);
  const rows = rowsOf(5);
  const piece = (start: number): string => texts.of(rows, { start, rowCount: 2 });
  for (let round = 0; round < 3; round += 1)
    expect([piece(0), piece(2), piece(4)]).toEqual([
      '[{"id":0},{"id":1}]',
      '[{"id":2},{"id":3}]',
      '[{"id":4}]',
    ]);
  expect(rendered).toBe(5);
  const others = rowsOf(100);
  for (let round = 0; round < 2; round += 1) texts.of(others, { start: 0, rowCount: 2000 });
  // Larger than all that is kept: it is rendered for each, and nothing else is left.
  expect(rendered).toBe(205);
  piece(0);
  expect(rendered).toBe(207);
});

test('a stream that ends amid the pieces of a change writes nothing after its end', async () => {
  await using db = await open({ workers: 0 });
  await db.exec('CREATE TABLE a (id int, x int); CREATE TABLE b (id int)');
  const server = await db.listen({ http: '127.0.0.1:0' });
  for (let round = 0; round < 3; round += 1) {
    const position = db.position;
    await db.exec('INSERT INTO a SELECT i, i FROM generate_series(1, 40000) AS i');
    const answer = await fetch(`${server.http}/v1/live?views=a,b`, {
      headers: { 'last-event-id': String(position) },
    });
    const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    while (!text.includes('event: delta')) text += (await reader.read()).value ?? '';
    await db.exec(`DROP TABLE b`);
    for (let end = false; !end;) {
      const { value = '', done } = await reader.read();
      text += value;
      end = done;
    }
    expect(text).toMatch(/event: error\ndata: .*\n\n$/);
    await db.exec('CREATE TABLE b (id int)');
  }
});
