import type { Expression } from '../expressions/expression.ts';
import {
  foldConstants,
  isImmutable,
  isVolatile,
  mapColumns,
  referencedColumns,
  someNode,
} from '../expressions/fold.ts';
import { BOOLEAN, FLOAT8 } from '../columns/types.ts';
import { functionById, resolveOperator } from '../expressions/catalog.ts';
import { coerce } from '../expressions/coercion.ts';
import type { PlanStatistics } from './catalog.ts';
import { orderJoins } from './join-order.ts';
import type { JoinNode, LateralNode, OutputColumn, PlanNode } from './logical.ts';
import {
  column,
  columnsAsExpressions,
  conjunction,
  conjunctsOf,
  filtered,
  hasOuterColumns,
  mapExpressions,
  mapInputs,
  node,
  projected,
  rewrite,
} from './nodes.ts';
import { prune } from './prune.ts';
import { unnestLaterals } from './unnest.ts';

/** Rewrites a bound plan into one that does less; the answer stays the same. Each rule is a function of its own. */
export function optimise(plan: PlanNode, statistics: PlanStatistics): PlanNode {
  let better = foldAll(plan);
  better = subqueriesToJoins(better);
  better = unnestLaterals(better);
  better = pushFilters(better, []);
  better = orderJoins(better, statistics);
  better = topK(better);
  return prune(better);
}

function foldAll(plan: PlanNode): PlanNode {
  return mapExpressions(mapInputs(plan, foldAll), foldConstants);
}

// ── Subqueries ─────────────────────────────────────────────────────────────────────────────────────────────────

/** EXISTS and IN that stand as conjuncts of a filter over an Apply become semi and anti joins. */
export function subqueriesToJoins(plan: PlanNode): PlanNode {
  const inner = mapInputs(plan, subqueriesToJoins);
  if (inner.kind !== 'filter' || inner.input.kind !== 'apply') return inner;
  const apply = inner.input;
  const width = apply.input.columns.length;
  const conjuncts = [...conjunctsOf(inner.condition)];
  let input = apply.input;
  const replaced = new Set<number>();
  for (const [position, conjunct] of conjuncts.entries()) {
    const negatedOutside = conjunct.kind === 'not';
    const reference = negatedOutside ? conjunct.arg : conjunct;
    if (reference.kind !== 'column' || reference.index < width) continue;
    const index = reference.index - width;
    const uses = conjuncts.filter((each) => referencedColumns(each).has(reference.index)).length;
    const subquery = apply.subqueries[index]!;
    if (uses > 1 || (subquery.mode !== 'exists' && subquery.mode !== 'in')) continue;
    const join = semiJoin(input, subquery, subquery.negated !== negatedOutside);
    if (join === undefined) continue;
    input = join;
    replaced.add(index);
    conjuncts[position] = { kind: 'constant', type: BOOLEAN, value: true };
  }
  if (replaced.size === 0) return inner;
  const left = apply.subqueries.flatMap((_, index) => (replaced.has(index) ? [] : [index]));
  const columns = [...apply.input.columns, ...left.map((index) => apply.columns[width + index]!)];
  const next =
    left.length === 0
      ? input
      : node({
          kind: 'apply',
          input,
          subqueries: left.map((index) => apply.subqueries[index]!),
          columns,
        });
  const moved = conjuncts.map((conjunct) =>
    mapColumns(conjunct, (each) =>
      each.index < width ? each : { ...each, index: width + left.indexOf(each.index - width) },
    ),
  );
  const result = filtered(next, moved);
  return result.columns.length === inner.columns.length
    ? result
    : projected(
        result,
        inner.columns.map((each, index) =>
          index < width
            ? column(index, each)
            : replaced.has(index - width)
              ? { kind: 'constant', type: BOOLEAN, value: true }
              : column(width + left.indexOf(index - width), each),
        ),
        inner.columns,
      );
}

/** undefined: it must stay an Apply. */
function semiJoin(
  input: PlanNode,
  subquery: Extract<PlanNode, { kind: 'apply' }>['subqueries'][number],
  negated: boolean,
): PlanNode | undefined {
  const isIn = subquery.mode === 'in';
  const correlated = hasOuterColumns(subquery.plan);
  if (isIn && negated && (correlated || subquery.args.length > 1)) return undefined;
  const opened = correlated
    ? decorrelate(subquery.plan, input.columns, isIn)
    : { plan: subquery.plan, keys: [], residual: [] };
  if (opened === undefined) return undefined;
  const keys: JoinNode['keys'][number][] = [...opened.keys];
  if (isIn)
    subquery.args.forEach((arg, index) =>
      keys.push({ left: arg, right: column(index, opened.plan.columns[index]!) }),
    );
  const residual = conjunction(opened.residual);
  return node({
    kind: 'join',
    type: negated ? 'anti' : 'semi',
    left: input,
    right: opened.plan,
    keys,
    ...(residual === undefined ? {} : { residual }),
    nullAware: isIn && negated,
    build: 'right',
    columns: input.columns,
  });
}

/**
 * Takes the conditions that speak of the outer row out of a subquery of the form [project] filter …; they become keys and residual
 * of the join. The plan that is left gives the columns they need behind its own.
 */
function decorrelate(
  plan: PlanNode,
  outer: readonly OutputColumn[],
  keepOutput: boolean,
): { plan: PlanNode; keys: JoinNode['keys'][number][]; residual: Expression[] } | undefined {
  let output: readonly Expression[] | undefined;
  let inner = plan;
  let outputColumns: readonly OutputColumn[] = plan.columns;
  if (
    inner.kind === 'limit' &&
    !keepOutput &&
    inner.offset === undefined &&
    inner.limit?.kind === 'constant' &&
    Number(inner.limit.value) > 0
  )
    inner = inner.input;
  if (inner.kind === 'project') {
    if (keepOutput && inner.expressions.some(speaksOfOuter)) return undefined;
    output = keepOutput ? inner.expressions : [];
    outputColumns = keepOutput ? inner.columns : [];
    inner = inner.input;
  } else if (!keepOutput) {
    output = [];
    outputColumns = [];
  }
  if (inner.kind !== 'filter' || hasOuterColumns(inner.input)) return undefined;
  const input = inner.input;
  const own: Expression[] = [];
  const keys: JoinNode['keys'][number][] = [];
  const residual: Expression[] = [];
  const shown = output ?? columnsAsExpressions(input.columns);
  const base = shown.length;
  const width = outer.length;
  for (const conjunct of conjunctsOf(inner.condition)) {
    if (!speaksOfOuter(conjunct)) {
      own.push(conjunct);
      continue;
    }
    if (deeper(conjunct)) return undefined;
    if (conjunct.kind === 'call' && conjunct.fn.startsWith('=(') && conjunct.args.length === 2) {
      const [a, b] = conjunct.args as [Expression, Expression];
      const sides =
        onlyOuter(a) && !speaksOfOuter(b)
          ? [a, b]
          : onlyOuter(b) && !speaksOfOuter(a)
            ? [b, a]
            : undefined;
      if (sides !== undefined && sides[0]!.type.kind === sides[1]!.type.kind) {
        keys.push({
          left: toOuter(sides[0]!, outer),
          right: mapColumns(sides[1]!, (each) => ({ ...each, index: each.index + base })),
        });
        continue;
      }
    }
    // Over the join's row: outer columns first, then the subquery's.
    residual.push(
      rewrite(conjunct, (each) => {
        if (each.kind === 'outerColumn') return column(each.index, outer[each.index]!);
        return each.kind === 'column' ? { ...each, index: each.index + width + base } : each;
      }),
    );
  }
  const columns = [...outputColumns, ...input.columns];
  const next = projected(
    filtered(input, own),
    [...shown, ...columnsAsExpressions(input.columns)],
    columns,
  );
  return { plan: next, keys, residual };
}

function speaksOfOuter(expression: Expression): boolean {
  return someNode(expression, (each) => each.kind === 'outerColumn');
}

function deeper(expression: Expression): boolean {
  return someNode(expression, (each) => each.kind === 'outerColumn' && each.depth > 1);
}

function onlyOuter(expression: Expression): boolean {
  return (
    speaksOfOuter(expression) && !deeper(expression) && referencedColumns(expression).size === 0
  );
}

function toOuter(expression: Expression, outer: readonly OutputColumn[]): Expression {
  return rewrite(expression, (each) =>
    each.kind === 'outerColumn' ? column(each.index, outer[each.index]!) : each,
  );
}

// ── Filters ────────────────────────────────────────────────────────────────────────────────────────────────────

/** Pushes `conjuncts`, which speak of the plan's output, and the plan's own filters as far down as they go. */
export function pushFilters(plan: PlanNode, conjuncts: readonly Expression[]): PlanNode {
  switch (plan.kind) {
    case 'filter': {
      const all = [...conjunctsOf(plan.condition), ...conjuncts];
      // What no row passes is not read.
      if (all.some((each) => each.kind === 'constant' && each.value !== true))
        return node({ kind: 'values', rows: [], columns: plan.columns });
      return pushFilters(plan.input, all);
    }
    case 'project': {
      const through: Expression[] = [];
      const above: Expression[] = [];
      for (const conjunct of conjuncts) {
        const columns = [...referencedColumns(conjunct)];
        // A volatile value must stay one value: it is computed once, below.
        (columns.some((index) => isVolatile(plan.expressions[index]!)) ? above : through).push(
          conjunct,
        );
      }
      const input = pushFilters(
        plan.input,
        through.map((conjunct) => mapColumns(conjunct, (each) => plan.expressions[each.index]!)),
      );
      return filtered({ ...plan, input }, above);
    }
    case 'scan': {
      const own = conjuncts.map(foldConstants);
      const usable = own.filter(
        (each) => !plan.rowIdColumn || !referencedColumns(each).has(plan.columns.length - 1),
      );
      const filter = conjunction([...(plan.filter === undefined ? [] : [plan.filter]), ...usable]);
      const next = filter === undefined ? plan : { ...plan, filter };
      return filtered(
        next,
        own.filter((each) => !usable.includes(each)),
      );
    }
    case 'join':
      return pushThroughJoin(plan, conjuncts);
    case 'aggregate': {
      const keyCount = plan.keys.length;
      const through =
        keyCount === 0
          ? []
          : conjuncts.filter(
              (each) =>
                [...referencedColumns(each)].every((index) => index < keyCount) && isPushable(each),
            );
      const above = conjuncts.filter((each) => !through.includes(each));
      const input = pushFilters(
        plan.input,
        through.map((conjunct) => mapColumns(conjunct, (each) => plan.keys[each.index]!)),
      );
      return filtered({ ...plan, input }, above);
    }
    case 'distinct': {
      if (plan.on !== undefined)
        return filtered({ ...plan, input: pushFilters(plan.input, []) }, conjuncts);
      const through = conjuncts.filter(isPushable);
      return filtered(
        { ...plan, input: pushFilters(plan.input, through) },
        conjuncts.filter((each) => !through.includes(each)),
      );
    }
    case 'unionAll': {
      const through = conjuncts.filter(isPushable);
      return filtered(
        { ...plan, inputs: plan.inputs.map((input) => pushFilters(input, through)) },
        conjuncts.filter((each) => !through.includes(each)),
      );
    }
    case 'sort':
      if (plan.keep !== undefined)
        return filtered(
          mapInputs(plan, (input) => pushFilters(input, [])),
          conjuncts,
        );
      return { ...plan, input: pushFilters(plan.input, conjuncts) };
    case 'lateral':
      return pushThroughLateral(plan, conjuncts);
    case 'apply': {
      const width = plan.input.columns.length;
      const through = conjuncts.filter((each) =>
        [...referencedColumns(each)].every((index) => index < width),
      );
      const above = conjuncts.filter((each) => !through.includes(each));
      return filtered(
        {
          ...plan,
          input: pushFilters(plan.input, through),
          subqueries: plan.subqueries.map((subquery) => ({
            ...subquery,
            plan: pushFilters(subquery.plan, []),
          })),
        },
        above,
      );
    }
    case 'cte':
      return {
        ...plan,
        ctes: plan.ctes.map((cte) => ({ ...cte, plan: pushFilters(cte.plan, []) })),
        body: pushFilters(plan.body, conjuncts),
      };
    default:
      return filtered(
        mapInputs(plan, (input) => pushFilters(input, [])),
        conjuncts,
      );
  }
}

/** What speaks of the right side filters it for each row of the left one, whose values it takes as they are. */
function pushThroughLateral(plan: LateralNode, conjuncts: readonly Expression[]): PlanNode {
  const width = plan.left.columns.length;
  const toLeft: Expression[] = [];
  const toRight: Expression[] = [];
  const above: Expression[] = [];
  const own = plan.condition === undefined ? [] : conjunctsOf(plan.condition);
  const stays: Expression[] = [];
  const within = (conjunct: Expression): Expression =>
    rewrite(conjunct, (each): Expression => {
      if (each.kind === 'outerColumn') return { ...each, depth: each.depth + 1 };
      if (each.kind !== 'column') return each;
      if (each.index >= width) return { ...each, index: each.index - width };
      const { index, type, nullable, name } = each;
      return { kind: 'outerColumn', depth: 1, index, type, nullable, name };
    });
  for (const conjunct of conjuncts) {
    if (isVolatile(conjunct)) above.push(conjunct);
    else if ([...referencedColumns(conjunct)].every((index) => index < width))
      toLeft.push(conjunct);
    else if (plan.type === 'inner') toRight.push(within(conjunct));
    else above.push(conjunct);
  }
  for (const conjunct of own)
    if (isVolatile(conjunct)) stays.push(conjunct);
    else toRight.push(within(conjunct));
  return filtered(
    {
      ...plan,
      left: pushFilters(plan.left, toLeft),
      right: pushFilters(plan.right, toRight),
      condition: conjunction(stays),
    },
    above,
  );
}

function isPushable(expression: Expression): boolean {
  return !isVolatile(expression);
}

function pushThroughJoin(plan: JoinNode, given: readonly Expression[]): PlanNode {
  const width = plan.left.columns.length;
  let { type } = plan;
  let conjuncts = given;
  // A filter that no NULL-extended row passes makes the outer join an inner one.
  if (type === 'left' || type === 'right' || type === 'full') {
    const rejects = (left: boolean): boolean =>
      conjuncts.some((each) => rejectsNulls(each, (index) => index < width === left));
    if ((type === 'left' || type === 'full') && rejects(false))
      type = type === 'full' ? 'right' : 'inner';
    if ((type === 'right' || type === 'full') && rejects(true))
      type = type === 'full' ? 'left' : 'inner';
  }
  const residual = plan.residual === undefined ? [] : [...conjunctsOf(plan.residual)];
  if (type === 'inner') {
    conjuncts = [...conjuncts, ...residual];
    residual.length = 0;
  }
  const toLeft: Expression[] = [];
  const toRight: Expression[] = [];
  const above: Expression[] = [];
  const keys = [...plan.keys];
  const stays: Expression[] = [];
  const sideOf = (expression: Expression): 'left' | 'right' | 'both' | 'none' => {
    const columns = [...referencedColumns(expression)];
    if (columns.length === 0) return 'none';
    const left = columns.some((index) => index < width);
    const right = columns.some((index) => index >= width);
    return left && right ? 'both' : left ? 'left' : 'right';
  };
  const shift = (expression: Expression): Expression =>
    mapColumns(expression, (each) => ({ ...each, index: each.index - width }));
  const semi = type === 'semi' || type === 'anti';
  for (const conjunct of conjuncts) {
    const side = semi ? 'left' : sideOf(conjunct);
    if (isVolatile(conjunct)) above.push(conjunct);
    else if (side === 'left' && (type === 'inner' || type === 'left' || semi))
      toLeft.push(conjunct);
    else if (side === 'right' && (type === 'inner' || type === 'right'))
      toRight.push(shift(conjunct));
    else if (type === 'inner' && side === 'none') toLeft.push(conjunct);
    else if (type === 'inner') stays.push(conjunct);
    else above.push(conjunct);
  }
  for (const conjunct of residual) {
    const side = sideOf(conjunct);
    // The ON of an outer join filters only the side that is extended with NULLs.
    if (
      side === 'right' &&
      (type === 'left' || type === 'semi' || type === 'anti') &&
      !(type === 'anti' && plan.nullAware)
    )
      toRight.push(shift(conjunct));
    else if (side === 'left' && (type === 'right' || type === 'semi')) toLeft.push(conjunct);
    else stays.push(conjunct);
  }
  const residue: Expression[] = [];
  for (const conjunct of stays) {
    const key = equality(conjunct, width);
    if (key === undefined) residue.push(conjunct);
    else keys.push(key);
  }
  const next: PlanNode = {
    ...plan,
    type,
    left: pushFilters(plan.left, toLeft),
    right: pushFilters(plan.right, toRight),
    keys,
    residual: conjunction(residue),
    columns: type === plan.type ? plan.columns : nullability(plan, type),
  };
  return filtered(next, above);
}

function nullability(plan: JoinNode, type: JoinNode['type']): readonly OutputColumn[] {
  const left = plan.left.columns;
  const right = plan.right.columns;
  return [
    ...left.map((each) => ({
      ...each,
      nullable: each.nullable || type === 'right' || type === 'full',
    })),
    ...right.map((each) => ({
      ...each,
      nullable: each.nullable || type === 'left' || type === 'full',
    })),
  ];
}

/** `left = right` of one type, each side over one input. */
function equality(conjunct: Expression, width: number): JoinNode['keys'][number] | undefined {
  if (conjunct.kind !== 'call' || !conjunct.fn.startsWith('=(') || conjunct.args.length !== 2)
    return undefined;
  const [a, b] = conjunct.args as [Expression, Expression];
  const side = (expression: Expression): 'left' | 'right' | undefined => {
    const columns = [...referencedColumns(expression)];
    if (columns.length === 0 || someNode(expression, (each) => each.kind === 'outerColumn'))
      return undefined;
    if (columns.every((index) => index < width)) return 'left';
    return columns.every((index) => index >= width) ? 'right' : undefined;
  };
  const shift = (expression: Expression): Expression =>
    mapColumns(expression, (each) => ({ ...each, index: each.index - width }));
  const [sideA, sideB] = [side(a), side(b)];
  if (sideA === 'left' && sideB === 'right') return { left: a, right: shift(b) };
  return sideA === 'right' && sideB === 'left' ? { left: b, right: shift(a) } : undefined;
}

/** True when a row whose chosen columns are all NULL cannot pass: strict comparisons and IS NOT NULL. */
function rejectsNulls(expression: Expression, isChosen: (index: number) => boolean): boolean {
  switch (expression.kind) {
    case 'column':
      return isChosen(expression.index);
    case 'isNotNull':
      return strictIn(expression.arg, isChosen);
    case 'call':
      return strictIn(expression, isChosen);
    case 'inList':
      // NOT IN of rows is true where one pair differs, whatever the others are; <> ALL of an empty array is true.
      return expression.negated
        ? expression.array === undefined && expression.args.every((arg) => strictIn(arg, isChosen))
        : expression.args.some((arg) => strictIn(arg, isChosen));
    case 'and':
      return expression.args.some((arg) => rejectsNulls(arg, isChosen));
    case 'or':
      return expression.args.every((arg) => rejectsNulls(arg, isChosen));
    case 'not':
      return strictIn(expression.arg, isChosen);
    default:
      return false;
  }
}

/** NULL whenever the chosen columns are. */
function strictIn(expression: Expression, isChosen: (index: number) => boolean): boolean {
  switch (expression.kind) {
    case 'column':
      return isChosen(expression.index);
    case 'call':
      return (
        functionById(expression.fn).strict !== false &&
        expression.args.some((arg) => strictIn(arg, isChosen))
      );
    case 'inList':
      return (
        expression.array === undefined && expression.args.every((arg) => strictIn(arg, isChosen))
      );
    case 'cast':
    case 'not':
      return strictIn(expression.arg, isChosen);
    default:
      return false;
  }
}

// ── Top-k ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** The sum of the largest LIMIT and an OFFSET is no bigint, and need not be told exactly. */
function asDouble(count: Expression): Expression {
  return coerce(count, FLOAT8, 'explicit');
}

/** A limit over a sort keeps only as many rows while sorting. */
export function topK(plan: PlanNode): PlanNode {
  const inner = mapInputs(plan, topK);
  if (inner.kind !== 'limit' || inner.limit === undefined || inner.counts !== undefined)
    return inner;
  const keep =
    inner.offset === undefined
      ? inner.limit
      : foldConstants(resolveOperator('+', asDouble(inner.limit), asDouble(inner.offset)));
  if (!isImmutable(keep) && keep.kind !== 'parameter') return inner;
  const below = inner.input;
  if (below.kind === 'sort') return { ...inner, input: { ...below, keep } };
  if (below.kind === 'project' && below.input.kind === 'sort')
    return { ...inner, input: { ...below, input: { ...below.input, keep } } };
  return inner;
}
