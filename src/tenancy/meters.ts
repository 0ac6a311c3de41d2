const FIELDS = [
  'workUnits',
  'reservedUnits',
  'messages',
  'steps',
  'waitMs',
  'throttled',
  'admitted',
  'queued',
  'rejected',
  'queueTimeouts',
] as const;

/**
 * What a tenant has used since the process started. `waitMs` sums, over its actors, the time between ready and running;
 * `throttled` counts how often its limit held it up; the last four are of admission.
 */
export type TenantUsage = { readonly [Field in (typeof FIELDS)[number]]: number };

const WORK_UNITS = 0;
const RESERVED_UNITS = 1;
const MESSAGES = 2;
const STEPS = 3;
const WAIT_MS = 4;
const THROTTLED = 5;

/** Counted outside of what it meters: a tenant that is held up is counted all the same. */
export class TenantMeter {
  readonly #counts = new Float64Array(FIELDS.length);

  addStep(workUnits: number, messageCount: number, reservedUnits: number): void {
    const counts = this.#counts;
    counts[WORK_UNITS]! += workUnits;
    counts[RESERVED_UNITS]! += reservedUnits;
    counts[MESSAGES]! += messageCount;
    counts[STEPS]! += 1;
  }

  addWait(ms: number): void {
    this.#counts[WAIT_MS]! += ms;
  }

  addThrottle(): void {
    this.#counts[THROTTLED]! += 1;
  }

  add(field: 'admitted' | 'queued' | 'rejected' | 'queueTimeouts'): void {
    this.#counts[FIELDS.indexOf(field)]! += 1;
  }

  get workUnits(): number {
    return this.#counts[WORK_UNITS]!;
  }

  usage(): TenantUsage {
    return Object.fromEntries(
      FIELDS.map((field, index) => [field, this.#counts[index]!]),
    ) as TenantUsage;
  }
}
