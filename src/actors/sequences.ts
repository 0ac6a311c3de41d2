import { DbError } from '../base/errors.ts';
import type { SequenceAccess } from '../expressions/function-def.ts';
import { findRelation, wrongKind, type SequenceEntry } from './catalog.ts';
import type { Operation } from './records.ts';
import type { Session } from './session.ts';

/**
 * nextval, currval, setval, lastval of a session. Values are handed out at once and never taken back, as in PostgreSQL; they
 * are journaled with the commit that uses them, or by one of their own where a statement or a transaction ends without
 * (`operations`), so that replay goes on behind them. Each change of a sequence has a number, so that the order in which
 * sessions commit does not matter: an older change never undoes a newer one.
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

  /** TRUNCATE … RESTART IDENTITY: the next value is the first one again, unless the transaction is rolled back. */
  restart(sequence: number): void {
    const { catalog, transaction } = this.#session;
    const entry = catalog.byId(sequence);
    if (entry?.kind !== 'sequence') return;
    const { value, called } = entry.state;
    this.#put(entry, entry.definition.start, false);
    transaction?.undoWith(() => this.#put(entry, value, called));
  }

  /** Nothing has been handed out that no record knows of. */
  get isWritten(): boolean {
    return this.#used.size === 0;
  }

  /** What has been handed out and is in no record yet; without sequences that a rollback or a DROP has taken away. */
  operations(): Operation[] {
    if (this.#used.size === 0) return [];
    const { catalog } = this.#session;
    return [...this.#used].flatMap(({ definition, state }): Operation[] =>
      catalog.byId(definition.id)?.kind === 'sequence'
        ? [{ op: 'sequenceValue', sequence: definition.id, ...state }]
        : [],
    );
  }

  /** A commit with these operations is in the journal. */
  written(operations: readonly Operation[]): void {
    for (const operation of operations) {
      if (operation.op !== 'sequenceValue') continue;
      for (const entry of this.#used) {
        const { definition, state } = entry;
        if (definition.id === operation.sequence && state.changeNumber === operation.changeNumber)
          this.#used.delete(entry);
      }
    }
  }

  /** What is left belongs to sequences that are gone. */
  forget(): void {
    this.#used.clear();
  }

  /** For a statement that may only read. */
  readonly onlyRead: SequenceAccess = {
    next: () => {
      throw readsOnly();
    },
    set: () => {
      throw readsOnly();
    },
    current: (name) => this.current(name),
    last: () => this.last(),
  };

  #put(entry: SequenceEntry, value: number, called: boolean): void {
    if (this.#session.transaction?.readOnly === true) throw readsOnly();
    const { state } = entry;
    state.value = value;
    state.called = called;
    state.changeNumber += 1;
    this.#used.add(entry);
  }

  #find(name: string): SequenceEntry {
    const parts = (name.match(NAME_PARTS) ?? ['']).map((part) =>
      part.startsWith('"') ? part.slice(1, -1).replaceAll('""', '"') : part.toLowerCase(),
    );
    const written = { name: parts.at(-1)!, ...(parts.length > 1 ? { schema: parts.at(-2)! } : {}) };
    const entry = findRelation(this.#session.catalog, this.#session.scope, written);
    if (entry === undefined)
      throw new DbError('42P01', `relation "${name}" does not exist`, {
        table: name,
        hint: `CREATE SEQUENCE ${name} makes it.`,
      });
    if (entry.kind !== 'sequence') throw wrongKind(entry, 'sequence', { name });
    return entry;
  }
}

/** The parts of a written name: quoted, or up to the next dot. */
const NAME_PARTS = /"(?:[^"]|"")*"|[^."]+/g;

function readsOnly(): DbError {
  return new DbError('25006', 'cannot change a sequence in a read-only transaction', {
    hint: 'Begin without READ ONLY; over HTTP use POST.',
  });
}
