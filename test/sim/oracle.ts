/**
 * What should have happened, told after the run: everything that was acknowledged is done again, one after the other in the
 * order of positions, by the naive interpreter. Reads must have seen what stood at their position.
 */
import { Model } from '../../src/model/model.ts';

export type Rows = readonly (readonly (string | null)[])[];

/** One thing that was acknowledged or answered. */
export type Entry = {
  readonly position: number;
  readonly who: string;
  /** Done in one go at `position`: writes with the number of rows they changed, reads with what they answered. */
  readonly steps: readonly Step[];
};

export type Step =
  | { readonly kind: 'write'; readonly sql: string; readonly count: number | undefined }
  | { readonly kind: 'read'; readonly sql: string; readonly rows: Rows };

export class OracleError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'OracleError';
  }
}

export class Oracle {
  readonly #entries: Entry[] = [];

  note(entry: Entry): void {
    this.#entries.push(entry);
  }

  /** Replays all entries; the model as it stands at the end. */
  check(): Model {
    const model = new Model();
    const ordered = this.#entries
      .map((entry, index) => ({ entry, index }))
      .sort(
        (a, b) =>
          a.entry.position - b.entry.position ||
          Number(writes(b.entry)) - Number(writes(a.entry)) ||
          a.index - b.index,
      );
    let last = -1;
    for (const { entry } of ordered) {
      if (writes(entry)) {
        if (entry.position === last)
          throw new OracleError(`two commits were acknowledged at position ${last} (${entry.who})`);
        last = entry.position;
      }
      for (const step of entry.steps) {
        const where = `${entry.who} at position ${entry.position}: ${step.sql}`;
        const result = model.exec(step.sql);
        if (step.kind === 'read') {
          const expected = sortedTexts(result.rows);
          const actual = sortedTexts(step.rows);
          if (expected.join('\n') !== actual.join('\n'))
            throw new OracleError(
              `${where}\n  answered ${actual.join(' ') || 'nothing'}\n  instead of ${expected.join(' ') || 'nothing'}`,
            );
        } else if (step.count !== undefined && step.count !== result.count)
          throw new OracleError(
            `${where}\n  changed ${step.count} rows instead of ${result.count}`,
          );
      }
    }
    return model;
  }
}

/** Whether it has a place of its own in the journal. */
function writes(entry: Entry): boolean {
  return entry.steps.some((step) => step.kind === 'write' && step.count !== 0);
}

export function sortedTexts(rows: Rows): string[] {
  return rows.map((row) => JSON.stringify(row)).sort();
}
