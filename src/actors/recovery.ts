import { DbError } from '../base/errors.ts';
import { instantMs, position, tenantId } from '../base/units.ts';
import { corruptJournal } from '../journal/frame.ts';
import { isStored } from './catalog.ts';
import type { JournalLog } from './commit-log.ts';
import { assertNotAborted } from './deadline.ts';
import type { Engine } from './engine.ts';
import type { Snapshots } from './snapshots.ts';
import type { Operation, CommitRecord } from './records.ts';

/** How far a recovery is. */
export type RecoveryProgress = {
  readonly phase: 'snapshot' | 'journal' | 'views' | 'ready';
  /** The position reached, and the one to be reached. */
  readonly position: number;
  readonly head: number;
  readonly elapsedMs: number;
  /** Snapshots that are damaged and were passed over for an older one, or for the whole journal. */
  readonly damagedSnapshots: readonly number[];
};

/** Makes the state that the journal tells of, before anybody asks the database anything. */
export async function recover(
  engine: Engine,
  log: JournalLog,
  snapshots: Snapshots,
  onProgress: (progress: RecoveryProgress) => void,
  signal?: AbortSignal,
): Promise<void> {
  const { clock } = engine.ports;
  const startedMs = clock.monotonicMs();
  const { journal } = log;
  const head = journal.head;
  let reached = 0;
  let lastInstantMs = 0;
  let readBytes = 0;
  const damaged: number[] = [];
  const tell = (phase: RecoveryProgress['phase']): void =>
    onProgress({
      phase,
      position: reached,
      head,
      elapsedMs: clock.monotonicMs() - startedMs,
      damagedSnapshots: damaged,
    });
  let toldMs = startedMs;
  const tellSometimes = (phase: RecoveryProgress['phase']): void => {
    assertNotAborted(signal);
    const nowMs = clock.monotonicMs();
    if (nowMs - toldMs < PROGRESS_MS) return;
    toldMs = nowMs;
    tell(phase);
  };

  engine.retention.hold();
  engine.state.passViewsBy();
  for (const at of await snapshots.positions()) {
    if (at > head)
      throw corruptJournal('it ends before its newest snapshot', {
        position: head,
        place: `There is a snapshot of position ${at}; the journal ends with position ${head}.`,
      });
    const instant = await snapshots.load(at, () => tellSometimes('snapshot'));
    if (instant === undefined) {
      damaged.push(at);
      continue;
    }
    reached = at;
    lastInstantMs = instant;
    engine.positions.note(at, instant);
    break;
  }

  if (journal.first > reached + 1)
    throw corruptJournal('its beginning is missing', {
      position: reached,
      place: `Positions ${reached + 1} to ${journal.first - 1} are in no file.`,
    });
  engine.recovery.replaying();
  await journal.replay(
    position(reached + 1),
    (record) => {
      try {
        engine.turn.replay(record.payload as CommitRecord, record.position, record.instantMs);
      } catch (cause) {
        throw new DbError('ADB_JOURNAL_CORRUPT', 'corrupt journal: a record cannot be applied', {
          position: record.position - 1,
          detail: cause instanceof Error ? cause.message : undefined,
          hint: 'Restore the journal from a copy, and report this: what was written once can be applied.',
          cause,
        });
      }
      reached = record.position;
      lastInstantMs = record.instantMs;
      readBytes += record.heapBytes;
      engine.positions.note(record.position, record.instantMs);
    },
    async () => {
      tellSometimes('journal');
      await engine.pause();
    },
  );
  journal.continueAfter(instantMs(lastInstantMs));
  engine.snapshots = snapshots;
  snapshots.readBytes(readBytes);
  engine.recovered(reached, lastInstantMs);
  // Once, from the rows there are in the end: following every commit would cost many times as much.
  for (const _ of engine.state.fillViews(reached)) {
    tellSometimes('views');
    await engine.pause();
  }
  // Nobody should take them for something to go back to.
  for (const at of damaged) await snapshots.remove(at);
  wake(engine);
  await dropTemporary(engine);
  engine.retention.resume();
  tell('ready');
}

/** What commits would have set going. */
function wake(engine: Engine): void {
  for (const entry of engine.state.catalog.all()) {
    if (!isStored(entry)) continue;
    if (entry.data.needsUpkeep) engine.housekeeping.maintain(entry.definition.id);
    if (entry.kind === 'table' && entry.definition.policy !== undefined)
      engine.retention.policyChanged(entry.definition.id, entry.definition.policy);
    if (entry.kind === 'materializedView' && !entry.view.inCommit)
      engine.tree.tellView(entry.view.relation, { kind: 'changed' });
  }
}

const PROGRESS_MS = 250;

/** Tables of sessions that ended with the process before this one. */
async function dropTemporary(engine: Engine): Promise<void> {
  const left = engine.state.catalog
    .all()
    .filter((entry) => entry.definition.schema.startsWith('pg_temp_'));
  if (left.length === 0) return;
  const relations = left.map((entry) => entry.definition.id);
  await engine.commit({
    tenant: tenantId('adb'),
    relations,
    // Later ones may read earlier ones.
    prepare: () =>
      relations.toReversed().map((relation): Operation => ({ op: 'dropRelation', relation })),
  });
}
