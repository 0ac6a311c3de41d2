import { assert } from '../base/errors.ts';
import type { MemoryAccount } from '../base/memory.ts';
import type { MemoryLease } from '../base/memory-lease.ts';
import { Deletes } from './deletes.ts';
import type { OpenSegment } from './open-segment.ts';
import { openSource, seal, sealedSource } from './seal.ts';
import type { SegmentStore } from './segment-store.ts';
import { SEGMENT_ROWS, type SealedSegment, type Segment, type SegmentList } from './segment.ts';
import type { StoredColumn } from './stored-column.ts';

/** What maintenance needs of its table. */
export type MaintenanceHost = {
  readonly store: SegmentStore;
  readonly memory: MemoryAccount;
  readonly lease: MemoryLease;
  readonly seed: number;
  columns(): readonly StoredColumn[];
  timeColumn(): StoredColumn | undefined;
  /** Rows with ids below are neither overwritten nor undone any more. */
  stableTo(): number;
  retire(close: () => void): void;
  /** A segment has got its sealed form. */
  sealed(segment: SealedSegment, source: OpenSegment): void;
  installed(): void;
};

/**
 * Seals full segments and compacts those that were named, in steps. A segment serves readers in its old form until the new one is
 * complete; then it is replaced for readers to come.
 */
export class Maintenance {
  readonly #host: MaintenanceHost;
  /** Segments before this one are sealed or gone. */
  #sealedTo = 0;
  #listFirst = 0;
  #job: Job | undefined;
  /** Segments to be compacted, with the deletes at the time they were named. */
  readonly #compactions: Compaction[] = [];

  constructor(host: MaintenanceHost) {
    this.#host = host;
  }

  /** Whether there is something to do, as far as a glance tells. */
  get isWanted(): boolean {
    const { list } = this.#host.store;
    return (
      this.#job !== undefined ||
      this.#compactions.length > 0 ||
      (Math.max(this.#sealedTo, list.first) + 1) * SEGMENT_ROWS <= this.#host.stableTo() ||
      list.first < this.#listFirst
    );
  }

  /** Works for `units` values and returns the units left: all of it done when some are. */
  run(units: number): number {
    let left = units;
    // A truncation takes the segment away under the job, and closes it once nobody can undo that.
    if (this.#job !== undefined && !this.#isListed(this.#job.source)) this.abandon();
    while (left > 0) {
      this.#job ??= this.#nextJob();
      const job = this.#job;
      if (job === undefined) return left;
      const step = job.steps.next();
      if (step.done !== true) {
        left -= step.value;
        continue;
      }
      this.#job = undefined;
      this.#install(job, step.value);
      left -= 1000;
    }
    return left;
  }

  compact(number: number, list: SegmentList): void {
    const state = list.states[number - list.first];
    if (state === undefined || state.deletes === undefined || state.deletes.count === 0) return;
    // A copy of its own: the bitmap in use may be written where it is.
    const deletes = new Deletes(-1, state.deletes);
    this.#compactions.push({ number, segment: state.segment, deletes });
  }

  /** The columns change, or the table goes: what was begun is begun anew. */
  abandon(): void {
    if (this.#job === undefined) return;
    if (this.#job.compaction !== undefined) this.#compactions.unshift(this.#job.compaction);
    this.#job.steps.return(undefined as never);
    this.#job = undefined;
  }

  #isListed(segment: Segment): boolean {
    const { list } = this.#host.store;
    return list.states[segment.number - list.first]?.segment === segment;
  }

  #nextJob(): Job | undefined {
    return this.#nextSealing() ?? this.#nextCompaction();
  }

  #nextSealing(): Job | undefined {
    const { store } = this.#host;
    const { first, states } = store.list;
    // A truncation moves the start ahead; its undo moves it back.
    if (this.#sealedTo < first || first < this.#listFirst) this.#sealedTo = first;
    this.#listFirst = first;
    const stableTo = this.#host.stableTo();
    for (; (this.#sealedTo + 1) * SEGMENT_ROWS <= stableTo; this.#sealedTo += 1) {
      const segment = states[this.#sealedTo - first]?.segment;
      if (segment === undefined || segment.kind === 'sealed') continue;
      const steps = seal({
        source: openSource(segment),
        number: segment.number,
        firstOrdinal: segment.firstOrdinal,
        ordinals: undefined,
        generation: 0,
        columns: this.#host.columns(),
        timeColumn: this.#host.timeColumn(),
        seed: this.#host.seed,
        memory: this.#host.memory,
      });
      return { source: segment, steps, compaction: undefined };
    }
    return undefined;
  }

  #nextCompaction(): Job | undefined {
    const { store } = this.#host;
    for (let index = 0; index < this.#compactions.length; index += 1) {
      const compaction = this.#compactions[index]!;
      const segment = store.list.states[compaction.number - store.list.first]?.segment;
      // An unsealed segment is sealed first; then its turn comes.
      if (segment?.kind === 'open') continue;
      this.#compactions.splice(index, 1);
      index -= 1;
      if (segment === undefined || segment.rowCount === 0) continue;
      const { slots, ordinals } = livingOf(segment, compaction);
      if (slots.length === segment.rowCount) continue;
      const steps = seal({
        source: sealedSource(segment, slots),
        number: segment.number,
        firstOrdinal: 0,
        ordinals,
        generation: segment.generation + 1,
        columns: this.#host.columns(),
        timeColumn: this.#host.timeColumn(),
        seed: this.#host.seed,
        memory: this.#host.memory,
      });
      return { source: segment, steps, compaction };
    }
    return undefined;
  }

  #install(job: Job, sealed: SealedSegment): void {
    const { store, lease } = this.#host;
    const state = store.list.states[job.source.number - store.list.first];
    assert(state?.segment === job.source, 'a segment is there until its job is done');
    const { limits } = lease;
    lease.limits = false;
    lease.take(sealed.byteLength);
    lease.limits = limits;
    store.beginOperation();
    let deletes: Deletes | undefined;
    const dead = state.deletes === undefined ? NONE : deadSlots(state.deletes, job.source, sealed);
    if (dead.length > 0) {
      deletes = store.newDeletes();
      const areLiving = deletes.addAll(dead, 0, dead.length);
      assert(areLiving, 'each row has a slot of its own');
    }
    store.replace(
      job.source.number,
      sealed.rowCount === 0 ? undefined : { segment: sealed, deletes },
    );
    if (sealed.rowCount === 0) sealed.close(lease);
    const { source } = job;
    if (source.kind === 'open') this.#host.sealed(sealed, source);
    this.#host.retire(() => (source.kind === 'open' ? source.close() : source.close(lease)));
    this.#host.installed();
  }
}

type Job = {
  readonly source: Segment;
  readonly steps: Generator<number, SealedSegment>;
  readonly compaction: Compaction | undefined;
};

type Compaction = {
  readonly number: number;
  /** The form whose places the deletes count. */
  readonly segment: Segment;
  readonly deletes: Deletes;
};

const NONE = new Int32Array(0);

/** The slots of the dead rows of a segment in its new form. */
function deadSlots(deletes: Deletes, source: Segment, sealed: SealedSegment): Int32Array {
  // All rows are there in both, in the order they arrived in one and by slot in the other.
  if (source.kind === 'open') return deletes.rows().map((row) => sealed.slotOf[row]!);
  const slots = new Int32Array(deletes.count);
  let count = 0;
  for (let index = 0; index < sealed.rowCount; index += 1) {
    if (!deletes.has(source.placeOf(sealed.ordinalAt(index)))) continue;
    slots[count] = sealed.slotOf[index]!;
    count += 1;
  }
  return slots.subarray(0, count);
}

/** Slots and ordinals, in arrival order, of the rows that lived when the compaction was named. */
function livingOf(
  segment: SealedSegment,
  compaction: Compaction,
): { readonly slots: Int32Array; readonly ordinals: Uint16Array } {
  const slots = new Int32Array(segment.rowCount);
  const ordinals = new Uint16Array(segment.rowCount);
  let count = 0;
  for (let index = 0; index < segment.rowCount; index += 1) {
    const ordinal = segment.ordinalAt(index);
    const place = compaction.segment.placeOf(ordinal);
    if (place >= 0 && compaction.deletes.has(place)) continue;
    slots[count] = segment.slotOf[index]!;
    ordinals[count] = ordinal;
    count += 1;
  }
  return { slots: slots.slice(0, count), ordinals: ordinals.slice(0, count) };
}
