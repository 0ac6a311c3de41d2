import type { BoundStatement } from '../plan/bind.ts';
import type { ParsedStatement } from '../sql/ast.ts';
import type { Parser } from '../sql/parse.ts';

/**
 * Parsed texts and bound plans, by exact text. Plans are good for one epoch of the catalog and of statistics, one
 * scope of names and one list of parameter types; literals are not normalised (that costs more than parsing).
 */
export class StatementCache {
  readonly #parser: Parser;
  readonly #parsed = new Map<string, readonly ParsedStatement[]>();
  readonly #bound = new Map<string, BoundStatement>();
  hits = 0;
  misses = 0;

  constructor(parser: Parser) {
    this.#parser = parser;
  }

  parse(text: string): readonly ParsedStatement[] {
    const known = this.#parsed.get(text);
    if (known !== undefined) return known;
    const parsed = this.#parser.parse(text);
    if (text.length <= TEXT_LENGTH_MAX) remember(this.#parsed, text, parsed);
    return parsed;
  }

  bound(key: string, bind: () => BoundStatement): BoundStatement {
    const known = this.#bound.get(key);
    if (known !== undefined) {
      this.hits += 1;
      return known;
    }
    this.misses += 1;
    const made = bind();
    if (key.length <= TEXT_LENGTH_MAX) remember(this.#bound, key, made);
    return made;
  }
}

/** Texts a dashboard repeats are short; bulk inserts are not worth remembering. */
const TEXT_LENGTH_MAX = 16_384;
const ENTRY_COUNT_MAX = 1024;

/** Oldest out: a Map keeps the order of insertion. */
function remember<Value>(cache: Map<string, Value>, key: string, value: Value): void {
  cache.set(key, value);
  if (cache.size > ENTRY_COUNT_MAX) cache.delete(cache.keys().next().value!);
}
