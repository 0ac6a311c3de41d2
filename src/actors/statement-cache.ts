import type { BoundStatement } from '../plan/bind.ts';
import type { ParsedStatement } from '../sql/ast.ts';
import type { Parser } from '../sql/parse.ts';

/**
 * Parsed texts and bound plans, by exact text. Plans are good for one epoch of the catalog and of statistics, one
 * scope of names and one list of parameter types; literals are not normalised (that costs more than parsing).
 */
export class StatementCache {
  readonly #parser: Parser;
  readonly #parsed = new Remembered<readonly ParsedStatement[]>();
  readonly #bound = new Remembered<BoundStatement>();
  hits = 0;
  misses = 0;

  constructor(parser: Parser) {
    this.#parser = parser;
  }

  parse(text: string): readonly ParsedStatement[] {
    const steps = this.parseInSteps(text);
    for (;;) {
      const { done, value } = steps.next();
      if (done === true) return value;
    }
  }

  /** The same, which gives way where a text of many rows is read. */
  *parseInSteps(text: string): Generator<undefined, readonly ParsedStatement[]> {
    const known = this.#parsed.get(text);
    if (known !== undefined) return known;
    const parsed = yield* this.#parser.parseInSteps(text);
    this.#parsed.put(
      text,
      parsed,
      parsed.some(({ parameterCount }) => parameterCount > 0),
    );
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
    this.#bound.put(key, made, made.parameterTypes.length > 0);
    return made;
  }
}

/** Texts a dashboard repeats are short; bulk inserts are not worth remembering, but for those whose values are parameters. */
const TEXT_LENGTH_MAX = 16_384;
const ENTRY_COUNT_MAX = 1024;
/** Of all that are longer. What is made of a text takes some fifty times its bytes. */
const LONG_LENGTH_MAX = 1 << 19;

/** By text; oldest out: a Map keeps the order of insertion. */
class Remembered<Value> {
  readonly #short = new Map<string, Value>();
  readonly #long = new Map<string, Value>();
  #longLength = 0;

  get(text: string): Value | undefined {
    return (text.length > TEXT_LENGTH_MAX ? this.#long : this.#short).get(text);
  }

  put(text: string, value: Value, hasParameters: boolean): void {
    if (text.length <= TEXT_LENGTH_MAX) {
      this.#short.set(text, value);
      if (this.#short.size > ENTRY_COUNT_MAX) this.#short.delete(this.#short.keys().next().value!);
      return;
    }
    if (!hasParameters || text.length > LONG_LENGTH_MAX / 2) return;
    this.#long.set(text, value);
    this.#longLength += text.length;
    while (this.#longLength > LONG_LENGTH_MAX) {
      const oldest = this.#long.keys().next().value!;
      this.#long.delete(oldest);
      this.#longLength -= oldest.length;
    }
  }
}
