import type { Oracle } from './oracle.ts';
import { InvariantFailure, type SimulatedWorld } from './world.ts';

/** One transaction over lists: what it appended and what it saw, in its order. */
export type ListOperation = {
  readonly who: string;
  readonly beganMs: number;
  endedMs: number | undefined;
  outcome: 'done' | 'refused' | 'unknown';
  steps: (
    | { readonly kind: 'append'; readonly key: number; readonly value: number }
    | { readonly kind: 'read'; readonly key: number; readonly values: readonly number[] }
  )[];
};

type Edge = { readonly to: number; readonly why: string };

/**
 * Whether a history of list appends and reads could have happened one transaction after the other, in an order that real
 * time allows (strict serializability). Lists tell who wrote before whom: their elements are the versions. From that the graph of
 * dependencies follows, and a cycle in it is a proof that there is no such order (Kingsbury & Alvaro, "Elle", VLDB 2021). Returns
 * what is wrong, if anything; `final` holds every list at the end.
 */
export function checkListAppends(
  operations: readonly ListOperation[],
  final: ReadonlyMap<number, readonly number[]>,
): string | undefined {
  const writerOf = new Map<number, number>();
  for (const [index, { steps }] of operations.entries())
    for (const step of steps) if (step.kind === 'append') writerOf.set(step.value, index);
  const present = new Set<number>();
  for (const [key, values] of final) {
    for (const value of values) {
      if (present.has(value)) return `${value} is twice in the lists (key ${key})`;
      present.add(value);
      const writer = writerOf.get(value);
      if (writer === undefined) return `${value} in list ${key} was appended by nobody`;
      if (operations[writer]!.outcome === 'refused')
        return `${operations[writer]!.who} was refused, and its ${value} is in list ${key}`;
    }
  }
  for (const { who, outcome, steps } of operations) {
    if (outcome !== 'done') continue;
    for (const step of steps) {
      if (step.kind === 'append') {
        if (!present.has(step.value))
          return `${who} was done, and its ${step.value} is not in list ${step.key}`;
        continue;
      }
      const wrong = wrongRead(who, step.key, step.values, final, steps);
      if (wrong !== undefined) return wrong;
    }
  }
  const cycle = cycleOf(edgesOf(operations, final, writerOf));
  if (cycle === undefined) return undefined;
  const told = cycle.map(({ from, why }) => `${operations[from]!.who} ${why}`);
  return `no order of these explains what they saw: ${told.join(', ')} ${operations[cycle[0]!.from]!.who}`;
}

/** What was read is the beginning of the list; own appends that were made later in time stand at its end. */
function wrongRead(
  who: string,
  key: number,
  values: readonly number[],
  final: ReadonlyMap<number, readonly number[]>,
  steps: ListOperation['steps'],
): string | undefined {
  const own = new Set(
    steps.flatMap((step) => (step.kind === 'append' && step.key === key ? [step.value] : [])),
  );
  const others = values.filter((value) => !own.has(value));
  const list = final.get(key) ?? [];
  for (const [index, value] of others.entries())
    if (list[index] !== value)
      return `${who} saw [${values.join(' ')}] in list ${key}, which in the end is [${list.join(' ')}]`;
  return undefined;
}

function edgesOf(
  operations: readonly ListOperation[],
  final: ReadonlyMap<number, readonly number[]>,
  writerOf: ReadonlyMap<number, number>,
): readonly (readonly Edge[])[] {
  const edges: Edge[][] = operations.map(() => []);
  const link = (from: number | undefined, to: number | undefined, why: string): void => {
    if (from !== undefined && to !== undefined && from !== to) edges[from]!.push({ to, why });
  };
  for (const [key, values] of final)
    for (let index = 1; index < values.length; index += 1)
      link(
        writerOf.get(values[index - 1]!),
        writerOf.get(values[index]!),
        `appended to list ${key} before`,
      );
  for (const [reader, { outcome, steps }] of operations.entries()) {
    if (outcome !== 'done') continue;
    for (const step of steps) {
      if (step.kind !== 'read') continue;
      const seen = step.values.filter((value) => writerOf.get(value) !== reader);
      const last = seen.at(-1);
      if (last !== undefined) link(writerOf.get(last), reader, `wrote ${last}, which was seen by`);
      const list = final.get(step.key) ?? [];
      const next = list.slice(seen.length).find((value) => writerOf.get(value) !== reader);
      if (next !== undefined)
        link(reader, writerOf.get(next), `did not see ${next}, which was written by`);
    }
  }
  // Real time: who had ended before another began comes before it.
  for (const [from, { endedMs, outcome }] of operations.entries()) {
    if (endedMs === undefined || outcome !== 'done') continue;
    for (const [to, { beganMs }] of operations.entries())
      if (beganMs > endedMs) link(from, to, 'had ended before');
  }
  return edges;
}

/** A shortest cycle through some node that is on one. */
function cycleOf(
  edges: readonly (readonly Edge[])[],
): { readonly from: number; readonly why: string }[] | undefined {
  let shortest: { readonly from: number; readonly why: string }[] | undefined;
  for (let start = 0; start < edges.length; start += 1) {
    const before = new Map<number, { readonly from: number; readonly why: string }>();
    const queue = [start];
    search: for (let at = 0; at < queue.length; at += 1) {
      const from = queue[at]!;
      for (const { to, why } of edges[from]!) {
        if (to === start) {
          const cycle = [{ from, why }];
          for (let node = from; node !== start;) {
            const step = before.get(node)!;
            cycle.unshift(step);
            node = step.from;
          }
          if (shortest === undefined || cycle.length < shortest.length) shortest = cycle;
          break search;
        }
        if (before.has(to)) continue;
        before.set(to, { from, why });
        queue.push(to);
      }
    }
  }
  return shortest;
}

/** Beyond so many, the graph of real time is larger than what it is worth. */
const OPERATIONS_MAX = 2_000;

export class ListAppendOracle implements Oracle {
  readonly name = 'serializability';

  async check(world: SimulatedWorld): Promise<void> {
    const operations = (world.shared.get('lists') ?? []) as readonly ListOperation[];
    // Of what was lost the lists prove nothing any more.
    if (world.mayHaveLost || operations.length === 0 || operations.length > OPERATIONS_MAX) return;
    const { rows } = await world.process.db.query<{ k: number; v: number }>(
      'SELECT k, v FROM lists',
    );
    const final = new Map<number, number[]>();
    for (const { k, v } of rows) {
      const list = final.get(k);
      if (list === undefined) final.set(k, [v]);
      else list.push(v);
    }
    const wrong = checkListAppends(operations, final);
    if (wrong !== undefined) throw new InvariantFailure(this.name, wrong);
    world.seen.add('lists');
  }
}
