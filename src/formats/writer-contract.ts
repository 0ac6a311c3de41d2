import type { Batch } from '../columns/batch.ts';
import type { SqlType } from '../columns/types.ts';
import type { Datum } from '../columns/values.ts';

export type WriterColumn = {
  readonly name: string;
  readonly type: SqlType;
};

export type WriterOptions = {
  /** PostgreSQL's output functions, and ISO 8601 for times. */
  readonly toText: (datum: Exclude<Datum, null>, type: SqlType) => string;
  readonly toIso: (datum: Exclude<Datum, null>, type: SqlType) => string;
  /** Arrow: a stream of messages, or a file with a directory at its end; `stream` unless given. */
  readonly arrow?: 'stream' | 'file' | undefined;
  readonly csv?: {
    readonly delimiter?: string | undefined;
    readonly header?: boolean | undefined;
    readonly null?: string | undefined;
  };
};

/** Bytes that may go out; undefined: a piece of work is done and others may have the thread. */
export type Written = Generator<Uint8Array | undefined, void, undefined>;

/** Writes rows in one format: `begin` once, `write` for each batch, `end` once. Bytes belong to the receiver. */
export interface FormatWriter {
  begin(): Written;
  write(batch: Batch): Written;
  end(): Written;
}

/** Names that a reader can tell apart: repetitions numbered, as `a`, `a_1`. */
export function distinctNames(columns: readonly WriterColumn[]): string[] {
  const seen = new Set<string>();
  return columns.map(({ name: base }) => {
    let name = base;
    for (let count = 1; seen.has(name); count += 1) name = `${base}_${count}`;
    seen.add(name);
    return name;
  });
}
