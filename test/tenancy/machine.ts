/** A machine of one thread in virtual time: work units pass, and the run queue says whose. */
import { SeededRandom } from '../../src/base/random.ts';
import { tenantId } from '../../src/base/units.ts';
import { RunEntry } from '../../src/mailbox/run-queue.ts';
import type { RunQueue } from '../../src/mailbox/run-queue.ts';

export const UNITS_PER_MS = 100_000;

export type Load = {
  readonly tenant: string;
  /** Open loop: the mean time between queries, exponential. Absent: always `atOnce` queries under way. */
  readonly everyMs?: number;
  readonly atOnce?: number;
  readonly stepsMean: number;
  readonly stepMs: number;
};

type Query = {
  readonly entry: RunEntry;
  readonly load: number;
  readonly startMs: number;
  steps: number;
};

export class Machine {
  nowMs = 0;
  readonly spentMs = new Map<string, number>();
  readonly latenciesMs = new Map<string, number[]>();
  arrived = 0;
  idleMs = 0;
  readonly #runQueue: RunQueue;
  readonly #loads: readonly Load[];
  readonly #random: SeededRandom;
  readonly #arrivals: { atMs: number; readonly load: number }[] = [];
  readonly #queries = new Map<RunEntry, Query>();

  constructor(runQueue: RunQueue, loads: readonly Load[], seed: number) {
    this.#runQueue = runQueue;
    this.#loads = loads;
    this.#random = new SeededRandom(seed);
    for (const [load, { everyMs, atOnce = 0 }] of loads.entries()) {
      if (everyMs !== undefined)
        this.#arrivals.push({ atMs: this.#exponential(load, everyMs), load });
      for (let count = 0; count < atOnce; count += 1) this.#arrive(load);
    }
  }

  run(untilMs: number): void {
    while (this.nowMs < untilMs) {
      for (const arrival of this.#arrivals) {
        while (arrival.atMs <= this.nowMs) {
          this.#arrive(arrival.load, arrival.atMs);
          arrival.atMs += this.#exponential(arrival.load, this.#loads[arrival.load]!.everyMs!);
        }
      }
      const entry = this.#runQueue.next();
      if (entry === undefined) {
        const waitMs = this.#runQueue.waitUnits() / UNITS_PER_MS || Infinity;
        const nextMs = Math.min(
          untilMs,
          this.nowMs + waitMs,
          ...this.#arrivals.map(({ atMs }) => atMs),
        );
        this.idleMs += nextMs - this.nowMs;
        this.#pass(Math.max(1e-6, nextMs - this.nowMs));
        continue;
      }
      const query = this.#queries.get(entry)!;
      const { tenant, stepMs } = this.#loads[query.load]!;
      const ms = stepMs * (0.5 + this.#random.unit());
      this.#pass(ms);
      this.spentMs.set(tenant, (this.spentMs.get(tenant) ?? 0) + ms);
      query.steps -= 1;
      const charge = { workUnits: Math.round(ms * UNITS_PER_MS), messageCount: 0 };
      this.#runQueue.settle(entry, charge, query.steps > 0 ? 'more' : 'no');
      if (query.steps === 0) this.#finish(query);
    }
  }

  percentileMs(tenant: string, share: number): number {
    const sorted = (this.latenciesMs.get(tenant) ?? []).toSorted((left, right) => left - right);
    return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? NaN;
  }

  #finish(query: Query): void {
    const { tenant, atOnce } = this.#loads[query.load]!;
    this.#queries.delete(query.entry);
    const latencies = this.latenciesMs.get(tenant) ?? [];
    latencies.push(this.nowMs - query.startMs);
    this.latenciesMs.set(tenant, latencies);
    if (atOnce !== undefined) this.#arrive(query.load);
  }

  #arrive(load: number, atMs = this.nowMs): void {
    const { tenant, stepsMean } = this.#loads[load]!;
    const random = this.#random.split(`${load} ${(this.arrived += 1)}`);
    const steps = Math.max(1, Math.round(stepsMean * (0.5 + random.unit())));
    const entry = new RunEntry(tenantId(tenant));
    this.#queries.set(entry, { entry, load, startMs: atMs, steps });
    this.#runQueue.wake(entry, false);
  }

  #pass(ms: number): void {
    this.nowMs += ms;
    this.#runQueue.advance(ms * UNITS_PER_MS, this.nowMs);
  }

  #exponential(load: number, meanMs: number): number {
    return -Math.log(1 - this.#random.split(`gap ${load} ${(this.arrived += 1)}`).unit()) * meanMs;
  }
}

/** Jain's index: 1 when all have the same. */
export function jain(values: readonly number[]): number {
  const sum = values.reduce((total, value) => total + value, 0);
  const squares = values.reduce((total, value) => total + value * value, 0);
  return (sum * sum) / (values.length * squares);
}
