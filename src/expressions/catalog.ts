import { DbError, type TextPlace } from '../base/errors.ts';
import { TEXT, typeName, type SqlType, type TypeKind } from '../columns/types.ts';
import { AGGREGATE_NAMES } from './aggregates.ts';
import { canCoerce, categoryOf, coerce, isPreferred, type TypeCategory } from './coercion.ts';
import { DATETIME_OPERATORS } from './datetime-operators.ts';
import type { CallExpression, Expression } from './expression.ts';
import type { FunctionDef, TypePattern } from './function-def.ts';
import { ALL_FUNCTIONS } from './functions/all.ts';
import { SESSION_FUNCTIONS } from './session-functions.ts';
import { nearestOf } from '../base/nearest.ts';
import { hintOfForeignFunction } from './foreign-names.ts';

/** The definition of every id that plans hold. */
const byId = new Map<string, FunctionDef>();
const byName = new Map<string, FunctionDef[]>();
for (const def of [...ALL_FUNCTIONS, ...DATETIME_OPERATORS, ...SESSION_FUNCTIONS]) {
  if (byId.has(def.id)) continue;
  byId.set(def.id, def);
  const overloads = byName.get(def.name);
  if (overloads === undefined) byName.set(def.name, [def]);
  else overloads.push(def);
}

export function functionById(id: string): FunctionDef {
  const def = byId.get(id);
  if (def === undefined)
    throw new DbError('XX000', `no function has the id ${id}`, {
      hint: 'The plan was made by another version: plan it again.',
    });
  return def;
}

export function hasFunction(name: string): boolean {
  return byName.has(name);
}

/** A call of the overload that fits, its arguments coerced. 42883 where none does, 42725 where several do. */
export function resolveFunction(
  name: string,
  args: readonly Expression[],
  at?: TextPlace,
): CallExpression {
  const overloads = byName.get(name);
  if (overloads === undefined || !/^[a-z_]/i.test(name)) throw noFunction(name, args, at);
  return resolve(
    overloads,
    args,
    at,
    () => noFunction(name, args, at),
    () => {
      return new DbError('42725', `function ${name}(${argumentTypes(args)}) is not unique`, {
        at,
        hint: 'Could not choose a best candidate function. You might need to add explicit type casts.',
      });
    },
  );
}

/** The same for an operator; `left` undefined for a prefix operator. */
export function resolveOperator(
  symbol: string,
  left: Expression | undefined,
  right: Expression,
  at?: TextPlace,
): CallExpression {
  const name = symbol === '!=' ? '<>' : symbol;
  const args = left === undefined ? [right] : [left, right];
  const overloads = byName.get(name);
  const shown =
    left === undefined
      ? `${name} ${typeName(right.type)}`
      : `${typeName(left.type)} ${name} ${typeName(right.type)}`;
  const none = (): DbError =>
    new DbError('42883', `operator does not exist: ${shown}`, {
      at,
      hint: 'No operator matches the given name and argument types. You might need to add explicit type casts.',
    });
  if (overloads === undefined || /^[a-z_]/i.test(name)) throw none();
  return resolve(
    overloads,
    args,
    at,
    none,
    () =>
      new DbError('42725', `operator is not unique: ${shown}`, {
        at,
        hint: 'Could not choose a best candidate operator. You might need to add explicit type casts.',
      }),
  );
}

/** The id of a comparison of two values of one type, such as `=`. */
export function comparisonOf(symbol: string, type: SqlType): string {
  const probe: Expression = { kind: 'column', index: 0, type, nullable: true, name: '' };
  return resolveOperator(symbol, probe, probe).fn;
}

function resolve(
  overloads: readonly FunctionDef[],
  args: readonly Expression[],
  at: TextPlace | undefined,
  none: () => DbError,
  ambiguous: () => DbError,
): CallExpression {
  const kinds = args.map(({ type }): TypeKind => (type.kind === 'null' ? 'unknown' : type.kind));
  const chosen = choose(overloads, kinds);
  if (chosen === 'none') throw none();
  if (chosen === 'ambiguous') throw ambiguous();
  const { def, targets } = chosen;
  const coerced = args.map((arg, index) => {
    const target = targets[index]!;
    // A length or precision of the argument's own type stays as it is.
    return target === arg.type.kind
      ? arg
      : coerce(arg, { kind: target } as SqlType, 'implicit', at);
  });
  const types = coerced.map(({ type }) => type);
  return { kind: 'call', fn: def.id, args: coerced, type: resultType(def, types), at };
}

function resultType(def: FunctionDef, types: readonly SqlType[]): SqlType {
  if (typeof def.returns === 'function') return def.returns(types);
  if (def.returns === 'anyelement' || def.returns === 'any') {
    const element = def.args.indexOf('anyelement');
    return types[Math.max(element, 0)] ?? TEXT;
  }
  return { kind: def.returns } as SqlType;
}

type Candidate = { readonly def: FunctionDef; readonly targets: readonly TypeKind[] };

/** PostgreSQL's rules for overloads (documentation, chapter 10.2 and 10.3). */
function choose(
  overloads: readonly FunctionDef[],
  kinds: readonly TypeKind[],
): Candidate | 'none' | 'ambiguous' {
  let candidates = overloads.flatMap((def): Candidate[] => {
    const targets = targetsOf(def, kinds);
    return targets === undefined ? [] : [{ def, targets }];
  });
  if (candidates.length === 0) return 'none';
  const unknownCount = kinds.filter((kind) => kind === 'unknown').length;

  candidates = candidates.filter(({ targets }) =>
    targets.every((target, index) => canCoerce(kinds[index]!, target, 'implicit')),
  );
  if (candidates.length === 0) return 'none';
  // What takes any type at all stands back where a signature names its types.
  const named = candidates.filter(({ def }) => !def.args.includes('any'));
  if (named.length > 0) candidates = named;
  // One unknown operand of two takes the other's type where that gives an exact match.
  if (kinds.length === 2 && unknownCount === 1) {
    const known = kinds[0] === 'unknown' ? kinds[1]! : kinds[0]!;
    const exact = candidates.find(({ targets }) => targets[0] === known && targets[1] === known);
    if (exact !== undefined) return exact;
  }
  const exact = candidates.find(({ targets }) =>
    targets.every((target, index) => target === kinds[index]),
  );
  if (exact !== undefined) return exact;
  candidates = best(candidates, ({ targets }) =>
    count(targets, (target, index) => target === kinds[index]),
  );
  if (candidates.length === 1) return candidates[0]!;
  candidates = best(candidates, ({ targets }) =>
    count(
      targets,
      (target, index) =>
        target === kinds[index] ||
        (kinds[index] !== 'unknown' &&
          isPreferred(target) &&
          categoryOf(target) === categoryOf(kinds[index]!)),
    ),
  );
  if (candidates.length === 1) return candidates[0]!;
  if (unknownCount > 0) {
    candidates = byUnknownCategories(candidates, kinds);
    if (candidates.length === 1) return candidates[0]!;
    const known = new Set(kinds.filter((kind) => kind !== 'unknown'));
    if (known.size === 1) {
      const [kind] = known;
      const same = candidates.filter(({ targets }) =>
        targets.every((target) => canCoerce(kind!, target, 'implicit')),
      );
      if (same.length === 1) return same[0]!;
      const identical = same.filter(({ targets }) => targets.every((target) => target === kind));
      if (identical.length === 1) return identical[0]!;
    }
  }
  return 'ambiguous';
}

function byUnknownCategories(candidates: Candidate[], kinds: readonly TypeKind[]): Candidate[] {
  let left = candidates;
  kinds.forEach((kind, index) => {
    if (kind !== 'unknown') return;
    const categories = new Set(left.map(({ targets }) => categoryOf(targets[index]!)));
    const category: TypeCategory | undefined = categories.has('string')
      ? 'string'
      : categories.size === 1
        ? [...categories][0]
        : undefined;
    if (category === undefined) return;
    const accepting = left.filter(({ targets }) => categoryOf(targets[index]!) === category);
    if (accepting.length === 0) return;
    left = accepting;
    const preferred = left.filter(({ targets }) => isPreferred(targets[index]!));
    if (preferred.length > 0) left = preferred;
  });
  return left;
}

/** The kinds a definition would take these arguments as; undefined when their number does not fit. */
function targetsOf(def: FunctionDef, kinds: readonly TypeKind[]): TypeKind[] | undefined {
  const fixed = def.args.length;
  if (def.variadic === true ? kinds.length < fixed : kinds.length !== fixed) return undefined;
  let element: TypeKind | undefined;
  const patterns = kinds.map((_, index): TypePattern => def.args[Math.min(index, fixed - 1)]!);
  for (const [index, pattern] of patterns.entries()) {
    if (pattern !== 'anyelement' || kinds[index] === 'unknown') continue;
    if (
      element === undefined ||
      (element !== kinds[index] && canCoerce(element, kinds[index]!, 'implicit'))
    )
      element = kinds[index];
  }
  return patterns.map((pattern, index): TypeKind => {
    if (pattern === 'anyelement') return element ?? 'text';
    if (pattern === 'any') return kinds[index] === 'unknown' ? 'text' : kinds[index]!;
    return pattern;
  });
}

function best(candidates: Candidate[], score: (candidate: Candidate) => number): Candidate[] {
  const scores = candidates.map(score);
  const most = Math.max(...scores);
  return candidates.filter((_, index) => scores[index] === most);
}

function count<Item>(items: readonly Item[], test: (item: Item, index: number) => boolean): number {
  return items.filter(test).length;
}

function noFunction(name: string, args: readonly Expression[], at: TextPlace | undefined): DbError {
  const shown = `${name}(${argumentTypes(args)})`;
  if (byName.has(name)) {
    return new DbError('42883', `function ${shown} does not exist`, {
      at,
      hint: 'No function matches the given name and argument types. You might need to add explicit type casts.',
    });
  }
  const nearest = nearestOf(name, [
    ...[...byName.keys()].filter((each) => /^[a-z_]/.test(each)),
    ...AGGREGATE_NAMES,
  ]);
  return new DbError('42883', `function ${shown} does not exist`, {
    at,
    hint:
      hintOfForeignFunction(name) ??
      (nearest === undefined
        ? 'No function has that name; docs/sql.md lists those there are.'
        : `Did you mean "${nearest}"?`),
  });
}

function argumentTypes(args: readonly Expression[]): string {
  return args.map(({ type }) => typeName(type)).join(', ');
}
