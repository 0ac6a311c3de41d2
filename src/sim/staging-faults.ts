import { DbError, InvariantError } from '../base/errors.ts';
import type { Random } from '../base/ports.ts';
import type { TableData } from '../columns/table-contract.ts';
import type { StoredEntry } from '../actors/catalog.ts';
import type { CommitState } from '../actors/commit-turn.ts';
import type { MaintainedView } from '../actors/maintained-view.ts';
import type { FaultSource } from './faults.ts';

export const INJECTED_REFUSAL = 'refused by the simulation';
export const INJECTED_BREAK = 'broken by the simulation';

/** Of one table in one life of the database: fewer than its supervisor starts it anew. */
const BREAKS_MAX = 3;

/** Whether the simulation broke it: whoever wrote then is told of an error of ours, and rightly. */
export function isInjected(cause: unknown): boolean {
  return cause instanceof InvariantError && cause.message === INJECTED_BREAK;
}

/**
 * What the commit turn stages into, with faults in between: everything it does half is undone, which is what is tested. A
 * view's fault comes before it starts, in the middle, or when it is done.
 */
export function withStagingFaults(
  state: CommitState,
  faults: Pick<FaultSource, 'hits'>,
  random: Random,
): CommitState {
  const broken = new Map<number, number>();
  return {
    stored: (relation) => {
      const entry = state.stored(relation);
      if (faults.hits('memory')) return refusing(entry);
      const times = broken.get(relation) ?? 0;
      // One that breaks again and again is given up, and rightly.
      if (entry.kind !== 'table' || times === BREAKS_MAX || !faults.hits('tableBreak'))
        return entry;
      broken.set(relation, times + 1);
      return breaking(entry, random.below(3));
    },
    isUnjournaled: (relation) => state.isUnjournaled(relation),
    viewsOn: (relation) => state.viewsOn(relation),
    viewsInOrder: (changed) =>
      state.viewsInOrder(changed).map((view) => {
        if (faults.hits('viewError'))
          return failing(view, random.below(3), () => new DbError('22012', INJECTED_REFUSAL));
        if (faults.hits('viewBreak'))
          return failing(view, random.below(3), () => new InvariantError(INJECTED_BREAK));
        return view;
      }),
    applyDefinition: (operation, options) => state.applyDefinition(operation, options),
    truncated: (relation) => state.truncated(relation),
    arrived: (deltas, instantMs) => state.arrived(deltas, instantMs),
    assertRoomToGrow: () => state.assertRoomToGrow(),
    nextInstant: () => state.nextInstant(),
    viewFailed: (view, cause) => state.viewFailed(realViews.get(view) ?? view, cause),
    broke: (owner, cause) =>
      state.broke(typeof owner === 'number' ? owner : (realViews.get(owner) ?? owner), cause),
    undone: () => state.undone(),
    replayed: (operations, position) => state.replayed(operations, position),
  };
}

const realViews = new WeakMap<object, MaintainedView>();

function refusing(entry: StoredEntry): StoredEntry {
  const data: Pick<TableData, 'stage'> = {
    stage: () => {
      throw new DbError('53200', INJECTED_REFUSAL, { limit: 'memory' });
    },
  };
  return { ...entry, data: data as TableData } as StoredEntry;
}

/** Breaks before it has done anything, when all is done, or when it is published. */
function breaking(entry: StoredEntry, when: number): StoredEntry {
  const { data } = entry;
  const broken = (): never => {
    throw new InvariantError(INJECTED_BREAK);
  };
  const faulty: Pick<TableData, 'stage' | 'undo' | 'publish' | 'schema'> = {
    schema: data.schema,
    stage: (writes, options) => {
      if (when === 0) broken();
      const delta = data.stage(writes, options);
      return when === 1 ? broken() : delta;
    },
    undo: () => data.undo(),
    publish: broken,
  };
  return { ...entry, data: faulty as TableData } as StoredEntry;
}

function failing(view: MaintainedView, when: number, error: () => Error): MaintainedView {
  let steps = 0;
  const faulty = {
    relation: view.relation,
    get inCommit() {
      return view.inCommit;
    },
    get stagedDeltas() {
      return view.stagedDeltas;
    },
    push: (deltas: Parameters<MaintainedView['push']>[0]) => {
      const changed = view.push(deltas);
      if (changed && when === 0) throw error();
      return changed;
    },
    run: (
      budget: Parameters<MaintainedView['run']>[0],
      options: Parameters<MaintainedView['run']>[1],
    ) => {
      const done = view.run(budget, options);
      steps += 1;
      if (done || (when === 1 && steps > 1)) throw error();
      return done;
    },
    undo: () => view.undo(),
    publish: (position: number) => view.publish(position),
  };
  realViews.set(faulty, view);
  return faulty as unknown as MaintainedView;
}
