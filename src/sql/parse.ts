import type { ParseResult, RawStmt } from 'libpg-query';
import { DbError } from '../base/errors.ts';
import type { ParsedStatement, Query, SqlExpression, Statement, TypeNameNode } from './ast.ts';
import { lowerStatement } from './lower-statement.ts';
import { recogniseOwn, type OwnStatements } from './own-statements.ts';
import { Lowering, tooComplex, UnsupportedSyntax } from './raw-tree.ts';
import { SourceText } from './source-text.ts';
import { errorOfParser, type RawParse } from './syntax-error.ts';
import { skipSpace } from './tokens.ts';
import { readLongValues } from './literal-rows.ts';

/** UTF-16 units; the parser takes some 0.3 s a megabyte, and cannot be interrupted. */
export const TEXT_LENGTH_MAX = 1 << 20;
/** A longer INSERT … VALUES is first tried by our own reader of rows, which is some ten times as fast and has no such limit. */
export const VALUES_TEXT_LENGTH_MIN = 1 << 9;
export const VALUES_TEXT_LENGTH_MAX = 1 << 24;

export type Parser = {
  /**
   * The statements of a text, in order; none for an empty one. DbError: 42601 with place and hint where the syntax
   * is wrong, 22021 for what is no text, 54000 where it is too long, 54001 where it is nested too deeply. What the
   * grammar knows and we do not is a statement or an expression of kind `unsupported`.
   */
  parse(text: string): ParsedStatement[];
  /** The same, which gives way where a text of many rows is read. */
  parseInSteps(text: string): Generator<undefined, ParsedStatement[]>;
  /** One expression that stands alone, such as a column's default out of the catalog. */
  parseExpression(text: string): SqlExpression;
  /** A type's name that stands alone: `numeric(10,2)`. */
  parseType(text: string): TypeNameNode;
};

/** `rawParse` is libpg-query's synchronous parse, once its module has been loaded. */
export function createParser(rawParse: (text: string) => unknown): Parser {
  const parseRaw = rawParse as RawParse;
  return {
    parse(text) {
      const steps = this.parseInSteps(text);
      for (;;) {
        const { done, value } = steps.next();
        if (done === true) return value;
      }
    },
    *parseInSteps(text) {
      if (text.length > VALUES_TEXT_LENGTH_MAX) throw tooLong();
      refuseWhatIsNoText(text);
      if (text.length >= VALUES_TEXT_LENGTH_MIN) {
        const long = yield* parseLongInsert(parseRaw, text);
        if (long !== undefined) return long;
      }
      if (text.length > TEXT_LENGTH_MAX) throw tooLong();
      const own = recogniseOwn(text);
      return parseSource(parseRaw, new SourceText(text, { parsed: own?.parsed ?? text }), own);
    },
    parseExpression(text) {
      const expression = onlyItem(parseRaw, text, 'SELECT ');
      if (expression === undefined) throw new DbError('42601', 'one expression is expected here');
      return expression;
    },
    parseType(text) {
      const expression = onlyItem(parseRaw, text, 'SELECT NULL::');
      if (expression?.kind !== 'cast')
        throw new DbError('42601', 'the name of a type is expected here');
      return expression.type;
    },
  };
}

function parseSource(
  parseRaw: RawParse,
  source: SourceText,
  own?: OwnStatements,
): ParsedStatement[] {
  if (skipSpace(source.parsed, 0) >= source.parsed.length)
    return own?.statements.map(({ parsed }) => parsed) ?? [];
  try {
    const { stmts = [] } = parseRaw(source.parsed) as ParseResult;
    const statements = stmts.map((raw) => lowerRaw(source, raw, own));
    return own === undefined ? statements.map(({ parsed }) => parsed) : own.merge(statements);
  } catch (cause) {
    // The parser and we ourselves recur; how deep they may depends on the caller's stack.
    if (cause instanceof RangeError) throw tooComplex();
    if (cause instanceof DbError) throw cause;
    throw errorOfParser(parseRaw, source, cause);
  }
}

function lowerRaw(
  source: SourceText,
  raw: RawStmt,
  own: OwnStatements | undefined,
): { readonly start: number; readonly parsed: ParsedStatement } {
  const byteStart = raw.stmt_location ?? 0;
  const start = skipSpace(source.text, source.offsetOf(byteStart));
  const end =
    raw.stmt_len === undefined ? source.text.length : source.offsetOf(byteStart + raw.stmt_len);
  const low = new Lowering(source);
  let statement: Statement;
  try {
    statement = lowerStatement(low, raw.stmt, source.placeAt(start));
  } catch (cause) {
    if (!(cause instanceof UnsupportedSyntax)) throw cause;
    statement = { kind: 'unsupported', what: cause.what, at: cause.at ?? source.placeAt(start) };
  }
  if (own?.replaces.has(start) === true && statement.kind === 'createMaterializedView')
    statement = { ...statement, orReplace: true };
  return {
    start,
    parsed: {
      statement,
      text: source.text.slice(start, end).trimEnd(),
      parameterCount: low.parameterCount,
      ...(low.claimsRows ? { claimsRows: true } : {}),
    },
  };
}

/** undefined: not an INSERT whose rows are all literals. */
function* parseLongInsert(
  parseRaw: RawParse,
  text: string,
): Generator<undefined, ParsedStatement[] | undefined> {
  const long = yield* readLongValues(text, TEXT_LENGTH_MAX);
  if (long === undefined) return undefined;
  const [first, ...others] = parseSource(parseRaw, new SourceText(text, { gap: long.gap }));
  const statement = first?.statement;
  if (statement?.kind !== 'insert' || statement.source?.body.kind !== 'values') return undefined;
  const { rows } = long;
  const { body, orderBy, limit, offset, locking } = statement.source;
  const isAll =
    statement.source.with === undefined &&
    orderBy.length === 0 &&
    limit === undefined &&
    offset === undefined &&
    locking.length === 0;
  const source: Query = {
    ...statement.source,
    body: isAll
      ? { kind: 'literals', rows, at: body.at }
      : { kind: 'values', rows: rows.values(), at: body.at },
  };
  return [{ ...first!, statement: { ...statement, source } }, ...others];
}

function onlyItem(parseRaw: RawParse, text: string, prefix: string): SqlExpression | undefined {
  refuseWhatIsNoText(text);
  if (text.length > TEXT_LENGTH_MAX) throw tooLong();
  const [only, ...others] = parseSource(parseRaw, new SourceText(text, { prefix }));
  if (only === undefined || others.length > 0) return undefined;
  if (only.statement.kind === 'unsupported')
    return { kind: 'unsupported', what: only.statement.what, at: only.statement.at };
  if (only.statement.kind !== 'query') return undefined;
  const { body, orderBy, limit, offset, locking } = only.statement.query;
  if (
    body.kind !== 'select' ||
    orderBy.length > 0 ||
    limit !== undefined ||
    offset !== undefined ||
    locking.length > 0
  )
    return undefined;
  const { distinct, items, from, where, groupBy, having, windows, into } = body;
  const [item] = items;
  const isAlone =
    distinct === 'no' &&
    items.length === 1 &&
    from.length === 0 &&
    groupBy.length === 0 &&
    windows.length === 0;
  if (!isAlone || where !== undefined || having !== undefined || into !== undefined)
    return undefined;
  return item?.kind === 'expression' && item.alias === undefined ? item.expression : undefined;
}

/** The parser would cut the text off at a NUL, and read U+FFFD for half a surrogate pair. */
function refuseWhatIsNoText(text: string): void {
  const nul = text.indexOf('\0');
  if (nul !== -1) {
    throw new DbError('22021', 'invalid byte sequence for encoding "UTF8": 0x00', {
      at: new SourceText(text).placeAt(nul),
    });
  }
  if (text.isWellFormed()) return;
  const surrogate = text.search(/\p{Surrogate}/u);
  const code = text.charCodeAt(surrogate).toString(16);
  throw new DbError(
    '22021',
    `invalid character for encoding "UTF8": half a surrogate pair, U+${code.toUpperCase()}`,
    { at: new SourceText(text).placeAt(surrogate) },
  );
}

function tooLong(): DbError {
  return new DbError('54000', 'statement text is longer than 1 MB', {
    hint: 'Pass values as parameters, insert rows with insert() or load(), or split the text; only INSERT … VALUES of literals may be longer, up to 16 MB.',
  });
}
