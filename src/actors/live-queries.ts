import { assert, DbError } from '../base/errors.ts';
import { bindStatement } from '../plan/bind.ts';
import type { SqlType } from '../columns/types.ts';
import type { Datum } from '../columns/values.ts';
import { ArrayValue } from '../expressions/arrays.ts';
import { datumToText } from '../expressions/text-io.ts';
import { recordingCatalog, type RelationRead } from '../plan/catalog.ts';
import type { PlanNode } from '../plan/logical.ts';
import type { Query, SqlExpression, TypeNameNode } from '../sql/ast.ts';
import { printQuery } from '../sql/print.ts';
import { withParameters } from '../sql/substitute.ts';
import {
  idOf,
  isStored,
  LIVE_SCHEMA,
  type MaterializedViewEntry,
  type StoredEntry,
} from './catalog.ts';
import type { Engine } from './engine.ts';
import type { MaterializedViewDefinition } from './records.ts';
import type { Session } from './session.ts';
import { parametersOf } from './statements.ts';
import { DefinitionChanged } from './definition-changed.ts';
import { isToBeMadeAnew } from './write-rows.ts';

/**
 * Queries that somebody subscribes to: maintained as views without a name, shared by all who ask the same, gone with the
 * last of them. They are never journaled.
 */
export class LiveQueries {
  readonly #engine: Engine;
  readonly #open = new Map<string, SharedQuery>();
  readonly #owned = new Set<number>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** A view is refreshed by time from now on: what reads it here is, too. */
  async followClock(above: readonly MaterializedViewEntry[]): Promise<void> {
    const relations = above.map(idOf);
    if (relations.length === 0) return;
    await this.#engine.commit({
      tenant: LIVE_TENANT,
      relations,
      ephemeral: true,
      prepare: () =>
        relations.map((relation) => ({
          op: 'alterMaterializedView',
          relation,
          options: { refresh: 1 },
        })),
    });
  }

  /** Whether a relation is one of these: it does not keep what it reads from being dropped. */
  owns(relation: number): boolean {
    return this.#owned.has(relation);
  }

  async open(
    session: Session,
    written: string,
    params: readonly unknown[],
    attempt = 1,
  ): Promise<{ readonly entry: StoredEntry; readonly close: () => Promise<void> }> {
    const query = this.#queryOf(session, written, params);
    // Printed, since parameters are constants by now: those who ask the same with the same values share, as long as names mean the same.
    const statement = { kind: 'query', query } as const;
    const recording = recordingCatalog(session.planCatalog());
    const bound = bindStatement(statement, recording.catalog);
    if (bound.kind !== 'query') throw new DbError('42601', 'a subscription is one query');
    const reads = recording.reads();
    const text = printQuery(query);
    const key = `${session.scopeKey}\0${text}\0${JSON.stringify(reads)}`;
    let shared = this.#open.get(key);
    if (shared === undefined || this.#isDropped(shared)) {
      shared = {
        entry: this.#create(session, text, bound.plan, reads),
        relation: undefined,
        readers: 0,
      };
      this.#open.set(key, shared);
    }
    const mine = shared;
    const leave = (): void => {
      if (this.#open.get(key) === mine) this.#open.delete(key);
    };
    mine.readers += 1;
    let opened: StoredEntry;
    try {
      opened = await mine.entry;
    } catch (cause) {
      leave();
      // It was another query by then.
      if (isToBeMadeAnew(cause, attempt)) return this.open(session, written, params, attempt + 1);
      throw cause;
    }
    mine.relation = opened.definition.id;
    return {
      entry: opened,
      close: async () => {
        mine.readers -= 1;
        if (mine.readers > 0 || this.#engine.closed) return;
        leave();
        const relation = opened.definition.id;
        this.#owned.delete(relation);
        if (this.#engine.state.catalog.byId(relation) === undefined) return;
        await this.#engine.commit({
          tenant: LIVE_TENANT,
          relations: [relation],
          ephemeral: true,
          prepare: () => [{ op: 'dropRelation', relation }],
        });
      },
    };
  }

  /** It goes with a view that it reads where that is replaced, which keeps its id. */
  #isDropped({ relation }: SharedQuery): boolean {
    return relation !== undefined && this.#engine.state.catalog.byId(relation) === undefined;
  }

  /** The query, with constants of the right types in the place of parameters. */
  #queryOf(session: Session, text: string, params: readonly unknown[]): Query {
    const parsed = this.#engine.statements.parse(text);
    const statement = parsed[0]?.statement;
    if (parsed.length !== 1 || statement?.kind !== 'query')
      throw new DbError('42601', 'a subscription is one query', {
        hint: 'Give the name of a table or view, or a SELECT.',
      });
    if (parsed[0]!.parameterCount === 0 && params.length === 0) return statement.query;
    const bound = bindStatement(statement, session.planCatalog());
    const values = parametersOf(session, bound, { params });
    return withParameters(statement.query, (index, at) => {
      const type = bound.parameterTypes[index]!;
      const datum = values[index]!;
      const literal = (value: Datum, of: SqlType): SqlExpression =>
        value === null
          ? { kind: 'null', at }
          : { kind: 'string', value: datumToText(value, of, { zone: session.zone }), at };
      if (type.kind === 'array') {
        const { element } = type;
        const arg: SqlExpression =
          datum instanceof ArrayValue
            ? { kind: 'array', items: datum.items.map((item) => literal(item, element)), at }
            : { kind: 'null', at };
        return { kind: 'cast', arg, type: { ...typeNameOf(element), arrayDimensions: 1 }, at };
      }
      assert(!(datum instanceof ArrayValue), 'an array is given where one is wanted');
      const constant = literal(datum, type);
      return type.kind === 'unknown'
        ? constant
        : { kind: 'cast', arg: constant, type: typeNameOf(type), at };
    });
  }

  async #create(
    session: Session,
    text: string,
    plan: PlanNode,
    reads: readonly RelationRead[],
  ): Promise<StoredEntry> {
    const engine = this.#engine;
    const id = engine.state.catalog.takeId();
    const definition: MaterializedViewDefinition = {
      tenant: session.identity.tenant,
      schema: `${LIVE_SCHEMA}${id}`,
      name: `live_${id}`,
      id,
      columnNames: unique(plan.columns.map(({ name }) => name)),
      text,
      reads,
      options: { refresh: engine.views.refreshOver(plan, engine.state.catalog) },
      seed: engine.ports.random.uint32(),
      zone: session.zone,
      createdMicros: engine.ports.clock.now() * 1000,
    };
    engine.views.check(definition, engine.state.catalog);
    const view = await engine.views.buildAside(engine, definition, undefined);
    this.#owned.add(id);
    try {
      await engine.commit({
        tenant: LIVE_TENANT,
        relations: [id, ...view.sources],
        ephemeral: true,
        prepare: () => {
          engine.views.catchUpNow(engine, view);
          engine.state.prepareView(view);
          return [{ op: 'createMaterializedView', view: definition }];
        },
      });
    } catch (cause) {
      engine.state.forgetPrepared(id);
      view.close();
      throw cause;
    }
    const entry = engine.state.catalog.byId(id);
    // What it reads was dropped, or became another, before anybody has looked at it.
    if (!isStored(entry)) throw new DefinitionChanged(undefined);
    return entry;
  }
}

type SharedQuery = {
  readonly entry: Promise<StoredEntry>;
  /** Once it is there. */
  relation: number | undefined;
  readers: number;
};

/** Texts of a certain length as texts: the value has been cut or filled already. */
function typeNameOf({ kind }: SqlType): TypeNameNode {
  const name = kind === 'varchar' || kind === 'bpchar' ? 'text' : kind;
  return { name, modifiers: [], arrayDimensions: 0, setOf: false };
}

const LIVE_TENANT = 'adb';

/** A stored row needs its columns told apart. */
function unique(names: readonly string[]): string[] {
  const seen = new Map<string, number>();
  return names.map((name) => {
    const count = seen.get(name) ?? 0;
    seen.set(name, count + 1);
    return count === 0 ? name : `${name}_${count + 1}`;
  });
}
