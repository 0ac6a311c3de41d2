import type { MemoryAccount } from '../base/memory.ts';
import type { TableSnapshot } from '../columns/table-contract.ts';
import type { EvaluationContext } from '../expressions/function-def.ts';
import type { AggregateNode } from '../plan/logical.ts';
import type { Operator } from './operator.ts';

/** What operators run in: the rows they read, what expressions may know, and the account their state is charged to. */
export type ExecutionEnvironment = {
  /** The snapshot of a relation; the caller releases it when the query has ended. */
  snapshotOf(relation: number): TableSnapshot;
  /** The position that is read at; undefined where that is the newest one. */
  readonly position?: number | undefined;
  readonly context: EvaluationContext;
  readonly memory: MemoryAccount;
  /** Operators that stand for nodes of the plan, by node id: how rows of another origin are run through it. */
  readonly stands?: ReadonlyMap<number, Operator> | undefined;
  /** Whether something is made of texts, byte by byte: scans give long ones in pieces (set while a plan is built). */
  readonly worksOnTexts?: (() => boolean) | undefined;
  /** Is told of each scan, to see how far it is. */
  scanned?(scan: { readonly rowsRead: number }): void;
  /** Whoever has a shorter way to an aggregate's answer; `plain` builds its ordinary operators. */
  aggregate?(
    node: AggregateNode,
    environment: ExecutionEnvironment,
    plain: () => Operator,
  ): Operator | undefined;
};
