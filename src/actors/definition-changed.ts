import { DbError } from '../base/errors.ts';

/**
 * What rows were made for or from, or what a definition was decided by, is not what it was then. Nothing was written: a single statement is run again
 * (`afterRedefinition`).
 */
export class DefinitionChanged extends DbError {
  constructor(name: string | undefined, detail?: string) {
    super(
      '40001',
      name === undefined
        ? 'the relation was changed or dropped by another session'
        : `the definition of "${name}" has changed`,
      { table: name, detail, hint: 'Run the statement again.' },
    );
  }
}

/** The catalog shows a table as a commit that is on its way makes it: it is read when that is there. */
export class BeingDefined extends DefinitionChanged {
  readonly relation: number;

  constructor(name: string, relation: number) {
    super(name);
    this.relation = relation;
  }
}

/** A view cannot take in what has come since its rows were made: the changes are no longer kept, or its table was emptied or written anew. */
export class FellBehind extends DbError {
  constructor(view: string) {
    super(
      '72000',
      `materialized view "${view}" could not catch up: the changes since it began are no longer kept`,
      {
        table: view,
        hint: 'Write less while it is created, or create it in a quiet moment.',
      },
    );
  }
}
