import { QUEUED, RUNNING, URGENT } from '../mailbox/run-queue.ts';
import type { More, RunEntry, RunQueue, StepCharge } from '../mailbox/run-queue.ts';
import type { ActorCell } from '../mailbox/actor-cell.ts';
import type { Schedule } from './schedule.ts';
import type { Trace } from './trace.ts';

/**
 * Gives steps in whatever order the schedule says: actors may rely on the order of messages of one sender in one lane,
 * and on nothing about who runs when. Every step is noted.
 */
export class ScheduledRunQueue implements RunQueue {
  readonly #schedule: Schedule;
  readonly #trace: Trace;
  readonly #ready: ReadyEntry[] = [];

  constructor(schedule: Schedule, trace: Trace) {
    this.#schedule = schedule;
    this.#trace = trace;
  }

  get readyCount(): number {
    return this.#ready.length;
  }

  /** By its name where a schedule starves somebody, else by its number, since names cost to compare. */
  #sourceOf({ id, name }: ActorCell<unknown>): string {
    return typeof this.#schedule.kind === 'object' ? name : String(id);
  }

  wake(entry: RunEntry, urgent: boolean): void {
    if ((entry.place & RUNNING) !== 0) return;
    if (entry.place === 0) {
      this.#ready.push({ source: this.#sourceOf(entry as ActorCell<unknown>), entry });
      entry.place = QUEUED;
    }
    if (urgent) entry.place = URGENT;
  }

  next(): RunEntry | undefined {
    if (this.#ready.length === 0) return undefined;
    const { entry } = this.#ready.splice(this.#schedule.pick(this.#ready), 1)[0]!;
    entry.place = RUNNING;
    return entry;
  }

  settle(entry: RunEntry, step: StepCharge, more: More): void {
    this.#trace.numbers((entry as ActorCell<unknown>).id, step.messageCount, step.workUnits);
    entry.place = 0;
    if (more !== 'no') this.wake(entry, more === 'urgent');
  }

  remove(entry: RunEntry): void {
    const index = this.#ready.findIndex((each) => each.entry === entry);
    if (index >= 0) this.#ready.splice(index, 1);
    entry.place = 0;
  }

  advance(): void {}

  waitUnits(): number {
    return 0;
  }
}

type ReadyEntry = { readonly source: string; readonly entry: RunEntry };
