import { DbError } from '../base/errors.ts';
import type { SequenceAccess } from '../expressions/function-def.ts';
import { findRelation, type SequenceEntry } from './catalog.ts';
import type { Operation } from './records.ts';
import type { Session } from './session.ts';

/**
 * nextval, currval, setval, lastval of a session. Values are handed out at once and never taken back; what was handed out is
 * journaled with the next commit of the session that used it (`takeOperations`), so replay goes on behind it.
 */
export class SessionSequences implements SequenceAccess {
  readonly #session: Session;
  readonly #current = new Map<number, number>();
  readonly #used = new Set<SequenceEntry>();
  #last: number | undefined;

  constructor(session: Session) {
    this.#session = session;
  }

  next(name: string): number {
    const entry = this.#find(name);
    const { state, definition } = entry;
    let value = state.called ? state.value + definition.increment : state.value;
    if (value > definition.maximum || value < definition.minimum) {
      if (!definition.cycle) {
        const up = definition.increment > 0;
        throw new DbError(
          '2200H',
          `nextval: reached ${up ? 'maximum' : 'minimum'} value of sequence "${definition.name}" (${up ? definition.maximum : definition.minimum})`,
        );
      }
      value = definition.increment > 0 ? definition.minimum : definition.maximum;
    }
    this.#put(entry, value, true);
    this.#current.set(definition.id, value);
    this.#last = value;
    return value;
  }

  current(name: string): number {
    const { definition } = this.#find(name);
    const value = this.#current.get(definition.id);
    if (value === undefined)
      throw new DbError(
        '55000',
        `currval of sequence "${definition.name}" is not yet defined in this session`,
        { hint: 'Call nextval first.' },
      );
    return value;
  }

  last(): number {
    if (this.#last === undefined)
      throw new DbError('55000', 'lastval is not yet defined in this session', {
        hint: 'Call nextval first.',
      });
    return this.#last;
  }

  set(name: string, value: number, called: boolean): number {
    const entry = this.#find(name);
    const { definition } = entry;
    if (value < definition.minimum || value > definition.maximum) {
      throw new DbError(
        '22003',
        `setval: value ${value} is out of bounds for sequence "${definition.name}" (${definition.minimum}..${definition.maximum})`,
      );
    }
    this.#put(entry, value, called);
    if (called) this.#current.set(definition.id, value);
    return value;
  }

  /** What has been handed out since the last call, as records have it. */
  takeOperations(): Operation[] {
    if (this.#used.size === 0) return [];
    const operations = [...this.#used].map(({ definition, state }): Operation => ({
      op: 'sequenceValue',
      sequence: definition.id,
      value: state.value,
      called: state.called,
    }));
    this.#used.clear();
    return operations;
  }

  #put(entry: SequenceEntry, value: number, called: boolean): void {
    entry.state.value = value;
    entry.state.called = called;
    this.#used.add(entry);
  }

  #find(name: string): SequenceEntry {
    const parts = name
      .split('.')
      .map((part) => (part.startsWith('"') ? part.slice(1, -1) : part.toLowerCase()));
    const written = { name: parts.at(-1)!, ...(parts.length > 1 ? { schema: parts.at(-2)! } : {}) };
    const entry = findRelation(this.#session.catalog, this.#session.scope, written);
    if (entry === undefined)
      throw new DbError('42P01', `relation "${name}" does not exist`, {
        table: name,
        hint: `CREATE SEQUENCE ${name} makes it.`,
      });
    if (entry.kind !== 'sequence')
      throw new DbError('42809', `"${name}" is not a sequence`, { table: name });
    return entry;
  }
}
