import { DbError } from '../base/errors.ts';
import { findRelation } from './catalog.ts';
import type { Engine } from './engine.ts';
import type { OnPoison } from './records.ts';
import { Session } from './session.ts';
import { RebuildAsked, type TableTrouble } from './table-recovery.ts';
import type { Cancelable } from './api-types.ts';
import { untilSettled, within } from './deadline.ts';

/** `db.recovery`: tables that broke, and what an operator decides about them. */
export class RecoveryVerbs {
  readonly #engine: Engine;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Tables that are out of service: being made anew, or waiting for a decision. */
  list(options?: Cancelable): Promise<readonly TableTrouble[]> {
    return this.#within(options, () => this.#engine.recovery.list());
  }

  /** What becomes of a table at a record that it cannot take in, and what was decided so far. */
  get(options?: Cancelable): Promise<{
    readonly onPoison: OnPoison;
    readonly skips: readonly {
      readonly table: string;
      readonly position: number;
      readonly reason: string;
      readonly by: string;
    }[];
  }> {
    const { state } = this.#engine;
    return this.#within(options, () => ({
      onPoison: state.onPoison,
      skips: state.skips.map(({ relation, position, reason, by }) => ({
        table: state.catalog.byId(relation)?.definition.name ?? '',
        position,
        reason,
        by,
      })),
    }));
  }

  /** `hold` (default): the table stays out of service until somebody decides. `skip`: the record is passed over, by a journaled decision. */
  set(
    policy: { readonly onPoison: OnPoison; readonly by?: string },
    options?: Cancelable,
  ): Promise<{ readonly position: number }> {
    return this.#within(options, async (signal) => {
      const { onPoison, by = 'operator' } = policy;
      if (onPoison !== 'hold' && onPoison !== 'skip')
        throw new DbError('22023', '"onPoison" is neither "hold" nor "skip"', {
          field: 'onPoison',
          hint: "'hold' keeps the table out of service until you decide, 'skip' passes the record over.",
        });
      return { position: await this.#engine.recovery.setPolicy(onPoison, by, signal) };
    });
  }

  /**
   * Decides that what the record at `position` did to the table is passed over, in the journal and for ever. A table that failed is
   * made anew without it; resolves when that is done. Who gives up waiting has decided all the same.
   */
  skip(
    table: string,
    decision: { readonly position: number; readonly reason: string; readonly by?: string },
    options?: Cancelable,
  ): Promise<{ readonly position: number }> {
    return this.#within(options, (signal) => this.#skip(table, decision, signal));
  }

  async #skip(
    table: string,
    decision: { readonly position: number; readonly reason: string; readonly by?: string },
    signal: AbortSignal | undefined,
  ): Promise<{ readonly position: number }> {
    const relation = this.#table(table);
    const { position, reason, by = 'operator' } = decision;
    const { recovery, visiblePosition } = this.#engine;
    if (!Number.isSafeInteger(position) || position < 1 || position > visiblePosition)
      throw new DbError('22023', '"position" is not a position of the journal', {
        field: 'position',
        hint: 'db.recovery.list() tells the position of the record that the table cannot take in.',
      });
    if (typeof reason !== 'string' || reason.trim() === '')
      throw new DbError('22023', '"reason" is empty', {
        field: 'reason',
        hint: 'It stays in the journal: say why the record is passed over.',
      });
    if (!recovery.isBroken(relation))
      throw new DbError('55000', `table "${table}" serves: there is no record to pass over`, {
        table,
        hint: 'Only what keeps a table from being made anew can be skipped. DELETE or UPDATE change what is there.',
      });
    const at = await recovery.skip(relation, { position, reason, by }, signal);
    await this.#untilServed(relation, signal);
    return { position: at };
  }

  /**
   * Makes a table anew from its newest base and the journal, whether it broke or not; and then the views that read it. Resolves when it
   * serves and they do, or were given up.
   */
  rebuild(
    table: string,
    options?: Cancelable,
  ): Promise<{ readonly position: number; readonly rows: number; readonly elapsedMs: number }> {
    return this.#within(options, (signal) => this.#rebuild(table, signal));
  }

  async #rebuild(
    table: string,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly position: number; readonly rows: number; readonly elapsedMs: number }> {
    const relation = this.#table(table);
    const { state, recovery, ports } = this.#engine;
    const started = ports.clock.monotonicMs();
    if (recovery.isBroken(relation)) recovery.retry(relation);
    else state.broke(relation, new RebuildAsked(`an operator has table "${table}" made anew`));
    await this.#untilServed(relation, signal);
    const entry = state.catalog.byId(relation);
    return {
      position: this.#engine.visiblePosition,
      rows: entry?.kind === 'table' ? entry.data.rowCount : 0,
      elapsedMs: ports.clock.monotonicMs() - started,
    };
  }

  #within<Value>(
    options: Cancelable | undefined,
    action: (signal: AbortSignal | undefined) => Value | Promise<Value>,
  ): Promise<Value> {
    return within(this.#engine.ports.clock, options, action);
  }

  async #untilServed(relation: number, signal: AbortSignal | undefined): Promise<void> {
    const error = await untilSettled(this.#engine.recovery.settled(relation), signal);
    if (error !== undefined) throw error;
    await this.#untilFollowed(relation, signal);
  }

  /** Views serve what they had until they are made anew: who has waited for the table reads the same in them. */
  async #untilFollowed(relation: number, signal: AbortSignal | undefined): Promise<void> {
    for (const dependant of this.#engine.state.catalog.dependantsOf(relation)) {
      if (dependant.kind !== 'materializedView') continue;
      await untilSettled(dependant.view.untilSettled(), signal);
      await this.#untilFollowed(dependant.view.relation, signal);
    }
  }

  #table(written: string): number {
    this.#engine.assertOpen();
    const session = new Session(this.#engine, { tenant: 'main' });
    const parts = String(written).split('.');
    const name = { name: parts.at(-1)!, ...(parts.length > 1 ? { schema: parts.at(-2)! } : {}) };
    const scope =
      parts.length > 2 ? new Session(this.#engine, { tenant: parts.at(-3)! }).scope : session.scope;
    const entry = findRelation(this.#engine.state.catalog, scope, name);
    if (entry?.kind === 'table') return entry.definition.id;
    throw new DbError('42P01', `table "${written}" does not exist`, {
      table: String(written),
      hint: "Another tenant's is written 'acme.public.orders'. Views are made anew by themselves.",
    });
  }
}
