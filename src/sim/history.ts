import type { Change, QueryOptions, RowsInput } from '../actors/api-types.ts';
import type { CommitRecord } from '../actors/records.ts';
import { SqlText } from '../actors/sql-tag.ts';
import type { ModelParameter } from '../model/model.ts';
import { Model, ModelError } from '../model/model.ts';
import { doubleText, floatText, type Row, type Type } from '../model/values.ts';
import { Ledger } from './ledger.ts';
import type { Oracle } from './oracle.ts';
import type { Call, CallEnd } from './remote.ts';
import { InvariantFailure, type SimulatedWorld } from './world.ts';

/** Beyond so many rows in all statements, or answers, the naive interpreter would take longer than the world itself. */
const ROWS_VISITED_MAX = 1_000_000;
const ANSWERS_MAX = 20_000;
/** Larger answers are not kept. */
const ROWS_MAX = 5_000;

type Step =
  | {
      readonly kind: 'read';
      readonly sql: string;
      readonly params: readonly ModelParameter[];
      readonly rows: readonly (readonly unknown[])[];
    }
  | {
      readonly kind: 'write';
      /** Made once the tables are known that it writes. */
      readonly sql: (ledger: Ledger) => string | undefined;
      readonly params: readonly ModelParameter[];
      readonly count: number | undefined;
    };

/** What was acknowledged or answered at one position, in one go. */
type Entry = {
  readonly position: number;
  readonly who: string;
  readonly tenant: string;
  readonly steps: readonly Step[];
  readonly key: string | undefined;
  /** The columns by which its statements name their rows: they mean what they say where these are the keys. */
  readonly byKey?: readonly { readonly table: string; readonly column: string }[];
  /** Of a verb that writes rows: its table. Several that wait for the turn together are one commit (decision 37). */
  readonly verbOf?: string;
};

type SessionState = {
  tenant: string;
  /** Within BEGIN … COMMIT, whose statements each see a moment of their own. */
  inBlock: 'no' | 'reads' | 'writes';
  /** Writes of a BEGIN … COMMIT; undefined once one of them means more than it says. */
  block: Step[] | undefined;
  byKey: { readonly table: string; readonly column: string }[];
  /** The steps of a `transaction` that is under way. */
  steps: Step[] | undefined;
  /** Something happened in it that cannot be told to the interpreter. */
  untold: boolean;
};

/** What depends on more than the database's contents. */
const UNTOLD =
  /\b(?:now|current_\w+|local\w+|clock_timestamp|statement_timestamp|transaction_timestamp|random|gen_random_uuid|nextval|currval|lastval|pg_\w+|adb\w*)\b|^\s*(?:show|explain|copy|declare|fetch|set|refresh)\b/i;
const WRITE = /^\s*(?:insert|update|delete)\b/i;
/** Rows that are given in full. */
const IN_FULL = /^\s*insert\s+into\s+[\w".]+\s*(?:\([^)]*\)\s*)?values\b(?!.*\bselect\b)/is;
/** One row by the value of one column. */
const BY_KEY =
  /^\s*(?:update|delete\s+from)\s+"?(\w+)"?\s(?!.*\bselect\b).*\bwhere\s+"?(\w+)"?\s*=\s*(?:\d+|\$\d+)\s*$/is;
const READ = /^\s*(?:select|with|values|table)\b/i;

/**
 * What was acknowledged is there once and for ever, what was answered stood there at its position: the journal is folded by
 * the ledger, record by record, and at each position everything that was said to have been done or seen there is done again by
 * the naive interpreter. Since positions are one order and a request is held against the positions between its beginning and its end,
 * this is strict serializability; views and subscriptions are held against their queries.
 */
export class HistoryOracle implements Oracle {
  readonly name = 'history';
  readonly observer = { began: (call: Call) => this.#began(call) };
  #entries: Entry[] = [];
  readonly #sessions = new Map<number, SessionState>();
  #world: SimulatedWorld | undefined;
  #overflowed = false;

  begin(world: SimulatedWorld): void {
    this.#world = world;
  }

  restarted(_world: SimulatedWorld, position: number, excused: boolean): void {
    const lost = this.#entries.find((entry) => entry.position > position && writes(entry));
    if (lost !== undefined && !excused)
      throw new InvariantFailure(
        this.name,
        `${lost.who} was acknowledged at position ${lost.position}, after a crash the journal ends at ${position}`,
      );
    this.#entries = this.#entries.filter((entry) => entry.position <= position);
  }

  #began(call: Call): CallEnd | undefined {
    if (call.verb === 'close') {
      this.#sessions.delete(call.session);
      return undefined;
    }
    const state = this.#session(call);
    const [first, second, third] = call.args;
    switch (call.verb) {
      case 'query':
      case 'exec': {
        const { text, params } = statementOf(first, second as QueryOptions | undefined);
        if (text === undefined) return undefined;
        return this.#statement(call, state, text, params, second as QueryOptions | undefined);
      }
      case 'insert':
      case 'upsert':
      case 'delete':
        return this.#verb(call, state, String(first), second, third);
      case 'attempt':
        state.steps = [];
        state.untold = false;
        return undefined;
      case 'transaction':
        return {
          answered: (result) => {
            const { position } = result as { readonly position: number };
            if (state.steps !== undefined && !state.untold)
              this.#note({
                position,
                who: call.who,
                tenant: state.tenant,
                steps: state.steps,
                key: undefined,
              });
            state.steps = undefined;
          },
          failed: () => (state.steps = undefined),
        };
      case 'subscribe':
        return this.#subscription(call, state, first, second as QueryOptions | undefined);
      default:
        return undefined;
    }
  }

  #session({ session, tenant }: Call): SessionState {
    let state = this.#sessions.get(session);
    if (state === undefined)
      this.#sessions.set(
        session,
        (state = {
          tenant,
          inBlock: 'no',
          block: undefined,
          byKey: [],
          steps: undefined,
          untold: false,
        }),
      );
    return state;
  }

  #note(entry: Entry): void {
    if (this.#entries.length >= ANSWERS_MAX) {
      this.#overflowed = true;
      return;
    }
    this.#entries.push(entry);
  }

  #statement(
    call: Call,
    state: SessionState,
    text: string,
    params: readonly ModelParameter[] | undefined,
    options: QueryOptions | undefined,
  ): CallEnd | undefined {
    const block = /^\s*(?:begin|start\s+transaction)\b(.*)/is.exec(text);
    if (block !== null) {
      state.inBlock = /read\s+only/i.test(block[1]!) ? 'reads' : 'writes';
      state.block = [];
      state.byKey = [];
      return undefined;
    }
    if (/^\s*(?:commit|rollback|end|abort)\b(?!\s+to\b)/i.test(text)) {
      const { block: steps = [], byKey } = state;
      state.inBlock = 'no';
      return {
        answered: (result) => {
          const { position, command } = result as {
            readonly position: number;
            readonly command: string;
          };
          if (command === 'COMMIT' && steps.length > 0)
            this.#note({
              position,
              who: call.who,
              tenant: state.tenant,
              steps,
              key: undefined,
              byKey,
            });
        },
        failed: () => undefined,
      };
    }
    if (state.inBlock === 'writes') return this.#inBlock(state, text, params);
    const inTransaction = state.steps;
    const untold =
      params === undefined ||
      UNTOLD.test(text) ||
      text.includes(';') ||
      options?.asOf !== undefined ||
      options?.tenant !== undefined;
    const isWrite = WRITE.test(text);
    if (inTransaction !== undefined && (untold || (!isWrite && !READ.test(text)))) {
      state.untold = true;
      return undefined;
    }
    if (untold) return undefined;
    const who = call.who;
    return {
      answered: (result) => {
        const answer = result as {
          readonly rows: unknown;
          readonly rowCount?: number;
          readonly position?: number;
          readonly meta?: { readonly position: number };
          readonly columns?: readonly { readonly name: string }[];
        };
        const position = answer.position ?? answer.meta?.position;
        if (position === undefined) return;
        const step: Step | undefined = isWrite
          ? {
              kind: 'write',
              sql: () => text,
              params,
              count: typeof answer.rows === 'number' ? answer.rows : answer.rowCount,
            }
          : READ.test(text) && Array.isArray(answer.rows)
            ? readStep(text, params, answer.columns ?? [], answer.rows)
            : undefined;
        if (step === undefined) {
          if (inTransaction !== undefined) state.untold = true;
          return;
        }
        if (inTransaction !== undefined) inTransaction.push(step);
        else this.#note({ position, who, tenant: state.tenant, steps: [step], key: undefined });
      },
      failed: () => undefined,
    };
  }

  /**
   * Each statement of a block sees a moment of its own. What it writes by key it holds until the commit, so doing it again
   * there is the same; anything else in a block is not told.
   */
  #inBlock(
    state: SessionState,
    text: string,
    params: readonly ModelParameter[] | undefined,
  ): CallEnd | undefined {
    if (READ.test(text) && !/\bfor\s+(?:no\s+key\s+)?update\b/i.test(text)) return undefined;
    const { block } = state;
    if (block === undefined) return undefined;
    if (params === undefined || UNTOLD.test(text) || text.includes(';')) {
      state.block = undefined;
      return undefined;
    }
    const [, table, column] = BY_KEY.exec(text) ?? [];
    if (table !== undefined && column !== undefined) state.byKey.push({ table, column });
    else if (!IN_FULL.test(text)) {
      state.block = undefined;
      return undefined;
    }
    return {
      answered: (result) => {
        const { rows, rowCount } = result as { readonly rows: unknown; readonly rowCount?: number };
        const count = typeof rows === 'number' ? rows : rowCount;
        // A row that was not there is not held: somebody may bring it before the commit.
        if (table !== undefined && count === 0) return;
        block.push({ kind: 'write', sql: () => text, params, count });
      },
      failed: () => undefined,
    };
  }

  #verb(
    call: Call,
    state: SessionState,
    table: string,
    what: unknown,
    options: unknown,
  ): CallEnd | undefined {
    const inTransaction = state.steps;
    if (state.inBlock === 'writes') {
      state.block = undefined;
      return undefined;
    }
    const key = (options as { readonly idempotencyKey?: string } | undefined)?.idempotencyKey;
    return {
      answered: (result) => {
        const { position, rows } = result as { readonly position: number; readonly rows: number };
        const step: Step = {
          kind: 'write',
          sql: (ledger) => verbText(ledger, state.tenant, call.verb, table, what),
          params: [],
          count: rows,
        };
        if (inTransaction !== undefined) inTransaction.push(step);
        else
          this.#note({
            position,
            who: call.who,
            tenant: state.tenant,
            steps: [step],
            key,
            verbOf: table.slice(table.lastIndexOf('.') + 1),
          });
      },
      failed: () => undefined,
    };
  }

  /** The fold of what a subscriber is told is the query, wherever it stands. */
  #subscription(
    call: Call,
    state: SessionState,
    what: unknown,
    options: QueryOptions | undefined,
  ): CallEnd | undefined {
    const { text, params } = statementOf(what, options);
    if (text === undefined || params === undefined || UNTOLD.test(text)) return undefined;
    const sql = /^[\w.]+$/.test(text) ? `SELECT * FROM ${text}` : text;
    let fold = new Map<string, { count: number; row: readonly unknown[] }>();
    let whole = false;
    const bump = (row: Readonly<Record<string, unknown>>, by: number): void => {
      const values = Object.values(row);
      const key = JSON.stringify(values, (_, value: unknown) =>
        typeof value === 'bigint' ? String(value) : Object.is(value, -0) ? '-0' : value,
      );
      const entry = fold.get(key) ?? { count: 0, row: values };
      entry.count += by;
      if (entry.count < 0)
        this.#world!.fail(
          this.name,
          new InvariantFailure(
            this.name,
            `${call.who} was told to delete what it never had: ${key}`,
          ),
        );
      if (entry.count === 0) fold.delete(key);
      else fold.set(key, entry);
    };
    return {
      answered: (result) => {
        const change = result as Change;
        switch (change.kind) {
          case 'snapshot':
            for (const row of change.rows) bump(row, 1);
            whole = !change.more;
            break;
          case 'delta':
            this.#world?.seen.add('a delta');
            for (const row of change.deleted) bump(row, -1);
            for (const row of change.inserted) bump(row, 1);
            break;
          case 'reset':
            this.#world?.seen.add('a reset');
            fold = new Map();
            whole = false;
            break;
          case 'progress':
            break;
        }
        if (!whole || fold.size > ROWS_MAX) return;
        const rows = [...fold.values()].flatMap(({ count, row }) =>
          Array.from({ length: count }, () => row),
        );
        this.#note({
          position: change.position,
          who: call.who,
          tenant: state.tenant,
          steps: [{ kind: 'read', sql, params, rows }],
          key: undefined,
        });
      },
      failed: () => undefined,
    };
  }

  // ── Afterwards ──────────────────────────────────────────────────────────────────────────────────────────────

  async check(world: SimulatedWorld): Promise<void> {
    const ledger = new Ledger();
    const entries = this.#entries
      .map((entry, index) => ({ entry, index }))
      .sort((a, b) => a.entry.position - b.entry.position || a.index - b.index)
      .map(({ entry }) => entry);
    let next = 0;
    let visited = 0;
    let tooLong = this.#overflowed;
    for (const [index, { record }] of world.acknowledgedRecords.entries()) {
      const position = index + 1;
      const at: Entry[] = [];
      for (; next < entries.length && entries[next]!.position <= position; next += 1)
        if (entries[next]!.position === position) at.push(entries[next]!);
      const writers = this.#writersOf(at, position);
      if (tooLong) {
        ledger.apply(record, position);
        continue;
      }
      const told = this.#told(writers, record, ledger);
      const before = told === undefined ? undefined : ledger.model(writers[0]!.tenant).copy();
      ledger.apply(record, position);
      if (told !== undefined) this.#redo(told, before!, record, ledger);
      for (const entry of at) {
        if (writes(entry)) continue;
        const model = ledger.model(entry.tenant);
        for (const step of entry.steps) if (step.kind === 'read') this.#reread(entry, step, model);
      }
      visited += at.length * (ledger.rowCount() + 1);
      tooLong = visited > ROWS_VISITED_MAX;
      if (tooLong) world.seen.add('a history too long for the naive interpreter');
    }
    const lost = entries.slice(next).find(writes);
    if (lost !== undefined)
      throw new InvariantFailure(
        this.name,
        `${lost.who} was acknowledged at position ${lost.position}, the journal ends at ${ledger.position}`,
      );
    if (entries.length > 0) world.seen.add('a history');
    await this.#views(world, ledger);
  }

  /** What the writers of a record did; undefined where something of it cannot be told, or nobody was told that he did it. */
  #told(
    writers: readonly Entry[],
    record: CommitRecord,
    ledger: Ledger,
  ): readonly Told[] | undefined {
    const [first] = writers;
    if (first === undefined) return undefined;
    // Of a commit of several, some may not have lived to hear of it.
    if (first.verbOf !== undefined && writers.length !== writesOf(record)) return undefined;
    const all: Told[] = [];
    for (const writer of writers) {
      for (const { table, column } of writer.byKey ?? [])
        if (ledger.describe(writer.tenant, table)?.key.join() !== column) return undefined;
      for (const step of writer.steps) {
        const sql = step.kind === 'read' ? step.sql : step.sql(ledger);
        if (sql === undefined) return undefined;
        if (step.kind === 'write' && !tellable(ledger, writer.tenant, sql)) return undefined;
        all.push({ writer, step, sql });
      }
    }
    return all;
  }

  /**
   * Who wrote the record at a position, in their order: one, but for verbs that were one commit. Requests that are known to be the same by their
   * key are one.
   */
  #writersOf(at: readonly Entry[], position: number): readonly Entry[] {
    const keys = new Set<string>();
    const writers = at.filter((entry) => {
      if (!writes(entry) || (entry.key !== undefined && keys.has(entry.key))) return false;
      if (entry.key !== undefined) keys.add(entry.key);
      return true;
    });
    const [first] = writers;
    const areOne = ({ verbOf, tenant }: Entry): boolean =>
      verbOf !== undefined && verbOf === first!.verbOf && tenant === first!.tenant;
    if (writers.length > 1 && !writers.every(areOne))
      throw new InvariantFailure(
        this.name,
        `${writers.map(({ who }) => who).join(' and ')} were both acknowledged at position ${position}`,
      );
    return writers;
  }

  /** Does what writers did again on what stood before it: the record must have done the same. */
  #redo(told: readonly Told[], model: Model, record: CommitRecord, ledger: Ledger): void {
    const { tenant, position } = told[0]!.writer;
    const who = [...new Set(told.map(({ writer }) => writer.who))].join(' and ');
    for (const { writer, step, sql } of told) {
      if (step.kind === 'read') {
        this.#reread(writer, step, model);
        continue;
      }
      const { count } = model.exec(sql, step.params);
      if (step.count !== undefined && step.count !== count)
        throw new InvariantFailure(
          this.name,
          `${writer.who} at position ${position}: ${sql}\n  changed ${step.count} rows instead of ${count}`,
        );
    }
    for (const name of ledger.written(record, tenant)) {
      if (ledger.unknown.has(name)) continue;
      const should = new Set(model.rowsOf(name));
      const is = new Set(ledger.model(tenant).rowsOf(name));
      const texts = (rows: ReadonlySet<Row>, others: ReadonlySet<Row>): string =>
        sorted(
          model.textsOf(
            name,
            [...rows].filter((row) => !others.has(row)),
          ),
        );
      const [actual, expected] = [texts(is, should), texts(should, is)];
      if (actual !== expected)
        throw new InvariantFailure(
          this.name,
          `${who} at position ${position} left in ${name} ${actual || 'nothing'}\n  instead of ${expected || 'nothing'}`,
        );
    }
  }

  #reread(entry: Entry, step: Step & { readonly kind: 'read' }, model: Model): void {
    let expected: ReturnType<Model['query']>;
    try {
      expected = model.query(step.sql, step.params);
    } catch (cause) {
      // What the naive interpreter does not know it cannot contradict.
      if (cause instanceof ModelError) return;
      throw cause;
    }
    const types = expected.columns.map(({ type }) => type);
    const actual: (string | null)[][] = [];
    for (const row of step.rows) {
      const texts: (string | null)[] = [];
      for (const [index, value] of row.entries()) {
        const text = valueText(types[index], value);
        if (text === undefined) return;
        texts.push(text);
      }
      actual.push(texts);
    }
    const [is, should] = [sorted(actual), sorted(expected.rows)];
    if (is !== should)
      throw new InvariantFailure(
        this.name,
        `${entry.who} at position ${entry.position}: ${step.sql}\n  answered ${is || 'nothing'}\n  instead of ${should || 'nothing'}`,
      );
  }

  /** In the end every table and view holds what the ledger says. */
  async #views(world: SimulatedWorld, ledger: Ledger): Promise<void> {
    const { engine, db } = world.process;
    for (const entry of engine.state.catalog.all()) {
      if (entry.kind !== 'table' && entry.kind !== 'materializedView') continue;
      const { name, schema, tenant } = entry.definition;
      if (schema !== 'public' || ledger.unknown.has(name)) continue;
      const sql = `SELECT * FROM "${name.replaceAll('"', '""')}"`;
      let expected: string;
      try {
        expected = sorted(ledger.model(tenant).query(sql).rows);
      } catch (cause) {
        if (cause instanceof ModelError) continue;
        throw cause;
      }
      if (entry.kind === 'materializedView' && entry.definition.options.refresh !== 'commit')
        await db.exec(`REFRESH MATERIALIZED VIEW "${name.replaceAll('"', '""')}"`, { tenant });
      const { rows } = await db.query(sql, { format: 'text', tenant, zone: 'UTC' });
      const actual = sorted(rows);
      if (actual !== expected)
        throw new InvariantFailure(
          this.name,
          `${name} holds ${actual || 'nothing'}\n  instead of ${expected || 'nothing'}`,
        );
    }
  }
}

type Told = { readonly writer: Entry; readonly step: Step; readonly sql: string };

/** Requests that a record holds rows of. */
function writesOf({ operations }: CommitRecord): number {
  return operations.filter((each) => each.op === 'rows' && each.writes.length > 0).length;
}

function writes(entry: Entry): boolean {
  return entry.steps.some((step) => step.kind === 'write' && step.count !== 0);
}

function sorted(rows: readonly (readonly (string | null)[])[]): string {
  return rows
    .map((row) => JSON.stringify(row))
    .sort()
    .join('\n');
}

function statementOf(
  what: unknown,
  options: QueryOptions | undefined,
): { readonly text: string | undefined; readonly params: readonly ModelParameter[] | undefined } {
  if (what instanceof SqlText) return { text: what.text, params: parametersOf(what.values) };
  if (typeof what === 'string') return { text: what, params: parametersOf(options?.params ?? []) };
  return { text: undefined, params: undefined };
}

/** As the interpreter takes them; undefined where one has no plain type. */
function parametersOf(values: readonly unknown[]): ModelParameter[] | undefined {
  const parameters: ModelParameter[] = [];
  for (const value of values) {
    if (value === null || value === undefined) parameters.push({ type: 'unknown', value: null });
    else if (typeof value === 'string') parameters.push({ type: 'unknown', value });
    else if (typeof value === 'boolean')
      parameters.push({ type: 'bool', value: value ? 't' : 'f' });
    else if (typeof value === 'number' && Number.isInteger(value) && Math.abs(value) < 2 ** 31)
      parameters.push({ type: 'int4', value: String(value) });
    else return undefined;
  }
  return parameters;
}

function readStep(
  sql: string,
  params: readonly ModelParameter[],
  columns: readonly { readonly name: string }[],
  rows: readonly unknown[],
): Step | undefined {
  if (rows.length > ROWS_MAX) return undefined;
  const names = columns.map(({ name }) => name);
  const arrays = rows.map((row) =>
    Array.isArray(row)
      ? (row as unknown[])
      : names.map((name) => (row as Record<string, unknown>)[name]),
  );
  // Objects have one value for two columns of one name.
  if (new Set(names).size < names.length && !Array.isArray(rows[0])) return undefined;
  return { kind: 'read', sql, params, rows: arrays };
}

/** A value as PostgreSQL prints it; undefined where only the type's own printer knows. */
function valueText(type: Type | undefined, value: unknown): string | null | undefined {
  if (value === null) return null;
  if (typeof value === 'string')
    return type === 'timestamp' || type === 'timestamptz' || type === 'interval'
      ? isoLike(value)
        ? undefined
        : value
      : value;
  if (typeof value === 'boolean') return value ? 't' : 'f';
  if (typeof value === 'bigint') return String(value);
  if (typeof value !== 'number') return undefined;
  if (type === 'float8') return doubleText(value);
  if (type === 'float4') return floatText(value);
  return type === 'int2' || type === 'int4' || type === 'int8' ? String(value) : undefined;
}

const isoLike = (text: string): boolean => /^\d{4}-\d\d-\d\dT|^-?P/.test(text);

/** Whether a statement's effect follows from its text: nothing else fills in values of the table it writes. */
function tellable(ledger: Ledger, tenant: string, sql: string): boolean {
  const name = /^\s*(?:insert\s+into|update|delete\s+from)\s+(?:only\s+)?"?([\w]+)"?/i.exec(
    sql,
  )?.[1];
  return (
    name !== undefined && !ledger.unknown.has(name) && ledger.describe(tenant, name)?.plain === true
  );
}

function verbText(
  ledger: Ledger,
  tenant: string,
  verb: string,
  table: string,
  what: unknown,
): string | undefined {
  const known = ledger.describe(tenant, table);
  if (known === undefined) return undefined;
  if (verb === 'delete') {
    const conditions = Object.entries(what as Record<string, unknown>).map(([name, value]) => {
      const literals = (Array.isArray(value) ? value : [value]).map(literal);
      return literals.includes(undefined)
        ? undefined
        : `${quoted(name)} IN (${literals.join(', ')})`;
    });
    if (conditions.includes(undefined)) return undefined;
    return `DELETE FROM ${quoted(table)} WHERE ${conditions.join(' AND ')}`;
  }
  const rows = (Array.isArray(what) ? what : [what]) as RowsInput[];
  const names = Object.keys((rows[0] as object | undefined) ?? {});
  if (names.length === 0) return undefined;
  const tuples: string[] = [];
  for (const row of rows) {
    const values = Object.entries(row as object);
    if (values.length !== names.length || values.some(([name], index) => name !== names[index]))
      return undefined;
    const literals = values.map(([, value]) => literal(value));
    if (literals.includes(undefined)) return undefined;
    tuples.push(`(${literals.join(', ')})`);
  }
  const others = names.filter((name) => !known.key.includes(name));
  const conflict =
    verb === 'insert'
      ? ''
      : ` ON CONFLICT (${known.key.map(quoted).join(', ')}) DO ${
          others.length === 0
            ? 'NOTHING'
            : `UPDATE SET ${others.map((name) => `${quoted(name)} = EXCLUDED.${quoted(name)}`).join(', ')}`
        }`;
  return `INSERT INTO ${quoted(table)} (${names.map(quoted).join(', ')}) VALUES ${tuples.join(', ')}${conflict}`;
}

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;

function literal(value: unknown): string | undefined {
  if (value === null || value === undefined) return 'NULL';
  if (typeof value === 'string') return `'${value.replaceAll("'", "''")}'`;
  if (typeof value === 'boolean') return String(value);
  if (typeof value === 'number' && Number.isFinite(value)) return String(value);
  return undefined;
}
