import { DbError } from '../base/errors.ts';
import type { Options } from '../sql/ast.ts';
import { POLICY_KEYS, writtenPolicy, type PolicySpec } from '../windows/policy.ts';
import { onlyKeys } from '../calendar/spec.ts';
import type { TableEntry } from './catalog.ts';
import { runDefinition } from './definitions.ts';
import type { Session } from './session.ts';
import { tablesWithPolicy } from './system-relations.ts';
import type { Cancelable } from './api-types.ts';
import { within } from './deadline.ts';

/** A table's policy, as `db.policies.list` tells it. */
export type TablePolicy = {
  readonly table: string;
  readonly schema: string;
  readonly policy: PolicySpec;
};

/** `db.policies`: what ALTER TABLE … SET (retention = …) says, as objects. Each change is a commit of the journal. */
export class PolicyVerbs {
  readonly #session: () => Session;

  constructor(session: () => Session) {
    this.#session = session;
  }

  /** What the policy does not name stays as it is; `null` takes a part back. */
  set(
    table: string,
    policy: PolicySpec,
    options?: Cancelable,
  ): Promise<{ readonly position: number }> {
    return this.#within(options, (session, signal) => {
      onlyKeys(policy, POLICY_KEYS, '');
      const given = Object.entries(policy).filter(([, value]) => value !== undefined);
      const parts = (isSet: boolean): Options =>
        given
          .filter(([, value]) => (value !== null) === isSet)
          .map(([name, value]) => ({ name, value: isSet ? optionText(name, value) : true }));
      return this.#alter(session, table, parts(true), parts(false), signal);
    });
  }

  get(table: string, options?: Cancelable): Promise<PolicySpec | undefined> {
    return this.#within(options, (session) => {
      const { policy } = this.#table(session, table).definition;
      return policy === undefined ? undefined : writtenPolicy(policy);
    });
  }

  list(options?: Cancelable): Promise<TablePolicy[]> {
    return this.#within(options, (session) => {
      session.engine.assertOpen();
      return tablesWithPolicy(session).map(({ definition: { schema, name, policy } }) => ({
        table: name,
        schema,
        policy: writtenPolicy(policy!),
      }));
    });
  }

  /** All rows stay from now on. What was demoted stays as it is. */
  drop(table: string, options?: Cancelable): Promise<{ readonly position: number }> {
    return this.#within(options, (session, signal) => {
      if (this.#table(session, table).definition.policy === undefined)
        throw new DbError('42704', `table "${table}" has no policy`, {
          table,
          hint: 'db.policies.list() tells which have one.',
        });
      const every = POLICY_KEYS.map((name) => ({ name, value: true as const }));
      return this.#alter(session, table, [], every, signal);
    });
  }

  /** Each call is a session of its own. */
  async #within<Value>(
    options: Cancelable | undefined,
    action: (session: Session, signal: AbortSignal | undefined) => Value | Promise<Value>,
  ): Promise<Value> {
    const session = this.#session();
    const { clock } = session.engine.ports;
    return within(clock, options, (signal) => action(session, signal));
  }

  async #alter(
    session: Session,
    table: string,
    set: Options,
    reset: Options,
    signal: AbortSignal | undefined,
  ): Promise<{ position: number }> {
    const { definition } = this.#table(session, table);
    const { position } = await runDefinition(
      session,
      {
        kind: 'alterTable',
        table: { catalog: definition.tenant, schema: definition.schema, name: definition.name },
        ifExists: false,
        actions: [
          ...(reset.length === 0 ? [] : [{ kind: 'resetOptions' as const, options: reset }]),
          ...(set.length === 0 ? [] : [{ kind: 'setOptions' as const, options: set }]),
        ],
      },
      { signal },
    );
    return { position };
  }

  #table(session: Session, table: string): TableEntry {
    session.engine.assertOpen();
    const entry = session.requireTable({ name: table });
    if (entry.definition.tenant !== session.identity.tenant)
      throw new DbError('42501', `permission denied for table ${table}`, {
        table,
        hint: `It is the table of tenant "${entry.definition.tenant}", which keeps its policy.`,
      });
    return entry;
  }
}

/** A part of a policy as SQL has it. */
function optionText(name: string, value: unknown): string {
  if (typeof value === 'string') return value;
  const refuse = (): never => {
    throw new DbError('22023', `"${name}" is neither a text nor a list or object of texts`, {
      field: name,
      hint: "Write { retention: { raw: '90d', day: 'forever' }, by: ['region'] }.",
    });
  };
  if (typeof value !== 'object' || value === null) return refuse();
  if (Array.isArray(value)) {
    if (!value.every((each) => typeof each === 'string')) return refuse();
    // An empty name is one that no column has, not a list without names.
    return value.map((each: string) => each.trim() || '""').join(', ');
  }
  return Object.entries(value)
    .map(([word, part]) => (typeof part === 'string' ? `${word} ${part}` : refuse()))
    .join(', ');
}
