import { DbError } from '../base/errors.ts';
import type { Options } from '../sql/ast.ts';
import { POLICY_KEYS, writtenPolicy, type PolicySpec } from '../windows/policy.ts';
import { onlyKeys } from '../calendar/spec.ts';
import type { TableEntry } from './catalog.ts';
import { runDefinition } from './definitions.ts';
import type { Session } from './session.ts';
import { tablesWithPolicy } from './system-relations.ts';

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
  async set(table: string, policy: PolicySpec): Promise<{ readonly position: number }> {
    onlyKeys(policy, POLICY_KEYS, '');
    const given = Object.entries(policy).filter(([, value]) => value !== undefined);
    const options = (isSet: boolean): Options =>
      given
        .filter(([, value]) => (value !== null) === isSet)
        .map(([name, value]) => ({ name, value: isSet ? optionText(name, value) : true }));
    return this.#alter(table, options(true), options(false));
  }

  async get(table: string): Promise<PolicySpec | undefined> {
    const { policy } = this.#table(this.#session(), table).definition;
    return policy === undefined ? undefined : writtenPolicy(policy);
  }

  async list(): Promise<TablePolicy[]> {
    const session = this.#session();
    session.engine.assertOpen();
    return tablesWithPolicy(session).map(({ definition: { schema, name, policy } }) => ({
      table: name,
      schema,
      policy: writtenPolicy(policy!),
    }));
  }

  /** All rows stay from now on. What was demoted stays as it is. */
  async drop(table: string): Promise<{ readonly position: number }> {
    const session = this.#session();
    if (this.#table(session, table).definition.policy === undefined)
      throw new DbError('42704', `table "${table}" has no policy`, {
        table,
        hint: 'db.policies.list() tells which have one.',
      });
    return this.#alter(
      table,
      [],
      POLICY_KEYS.map((name) => ({ name, value: true as const })),
    );
  }

  async #alter(table: string, set: Options, reset: Options): Promise<{ position: number }> {
    const session = this.#session();
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
      {},
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
