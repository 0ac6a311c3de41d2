import type { Node } from 'libpg-query';
import { DbError, type TextPlace } from '../base/errors.ts';
import type { SourceText } from './source-text.ts';

/**
 * What all parts of lowering share while one statement is turned from libpg-query's raw tree (protobuf as JSON:
 * `{ SelectStmt: { … } }`, fields that have their default value left out) into ours.
 */
export class Lowering {
  readonly source: SourceText;
  /** Number of the highest $n met so far. */
  parameterCount = 0;
  /** A query of it claims rows. */
  claimsRows = false;
  #depth = 0;

  constructor(source: SourceText) {
    this.source = source;
  }

  at(location: number | undefined): TextPlace | undefined {
    return this.source.placeOf(location);
  }

  /** Every recursion of lowering passes here, so that what comes out is never deeper than its readers can bear. */
  enter(): void {
    this.#depth += 1;
    if (this.#depth > TREE_DEPTH_MAX) throw tooComplex();
  }

  leave(): void {
    this.#depth -= 1;
  }
}

/** Binding and printing recur a few frames a level, and Node's stack holds some ten thousand frames. */
export const TREE_DEPTH_MAX = 1000;

export function tooComplex(): DbError {
  return new DbError('54001', 'statement is too deeply nested', {
    hint: 'Use IN (…) or an array instead of a long chain of operators, and WITH instead of nested subqueries.',
  });
}

/** Thrown where the grammar knows more than we do; the statement then becomes `unsupported`. */
export class UnsupportedSyntax extends Error {
  readonly what: string;
  readonly at: TextPlace | undefined;

  constructor(what: string, at?: TextPlace) {
    super(what);
    this.what = what;
    this.at = at;
  }
}

type Intersected<U> = (U extends unknown ? (member: U) => void : never) extends (
  member: infer I,
) => void
  ? I
  : never;
/** A node seen as having every kind; `kindOf` says which it has. */
export type AnyNode = Intersected<Node>;

/** A node's only key; `nothing` where there is no node, or an empty one. */
export function kindOf(node: Node | undefined): string {
  if (node !== undefined) for (const kind in node) return kind;
  return 'nothing';
}

export function as<K extends keyof AnyNode>(
  node: Node | undefined,
  kind: K,
): AnyNode[K] | undefined {
  return node === undefined ? undefined : (node as AnyNode)[kind];
}

/** Of String nodes: the parts of a name. */
export function namesOf(nodes: readonly Node[] | undefined): string[] {
  if (nodes === undefined) return [];
  return nodes.map((node) => as(node, 'String')?.sval ?? '');
}

/** A kind's name in words: CreateFunctionStmt is CREATE FUNCTION. */
export function wordsOfKind(kind: string): string {
  return kind
    .replace(/Stmt$/, '')
    .replace(/([a-z])([A-Z])/g, '$1 $2')
    .toUpperCase();
}
