import { DbError } from '../base/errors.ts';
import type { MemoryAccount } from '../base/memory.ts';
import type { TenantId } from '../base/units.ts';
import type { AdmissionControl } from './admission.ts';
import type { FairRunQueue } from './fair-run-queue.ts';
import type { TenantUsage } from './meters.ts';
import {
  DEFAULT_TENANT_SETTINGS,
  mergeTenantSettings,
  RESERVATION_SUM_MAX,
} from './tenant-settings.ts';
import type { TenantSettings, TenantSettingsInput } from './tenant-settings.ts';

/**
 * The settings of all tenants, and the one place that hands them to whoever enforces them. A change holds from the next step,
 * request and allocation on; nothing that runs is ended by it.
 */
export class Tenants {
  readonly #runQueue: FairRunQueue;
  readonly #admission: AdmissionControl;
  readonly #tenants = new Map<
    TenantId,
    { settings: TenantSettings; readonly memory: MemoryAccount | undefined }
  >();

  constructor(runQueue: FairRunQueue, admission: AdmissionControl) {
    this.#runQueue = runQueue;
    this.#admission = admission;
  }

  /** The settings `input` would lead to. Throws 22023 with the field, also where reservations would sum to too much. */
  check(tenant: TenantId, input: TenantSettingsInput): TenantSettings {
    const settings = mergeTenantSettings(this.settingsOf(tenant), input);
    let others = 0;
    for (const [other, known] of this.#tenants) {
      if (other !== tenant) others += known.settings.reservation;
    }
    if (others + settings.reservation > RESERVATION_SUM_MAX + 1e-9) {
      throw new DbError('22023', `reservations may sum to at most ${RESERVATION_SUM_MAX}`, {
        field: 'reservation',
        detail: `The other tenants have reserved ${Number(others.toFixed(6))}.`,
        hint: 'Lower this reservation or one of the others.',
      });
    }
    return settings;
  }

  /** Merges and enforces. `memory` is the tenant's account, given when the tenant is made. */
  set(tenant: TenantId, input: TenantSettingsInput, memory?: MemoryAccount): TenantSettings {
    const settings = this.check(tenant, input);
    const account = memory ?? this.#tenants.get(tenant)?.memory;
    this.#tenants.set(tenant, { settings, memory: account });
    if (account !== undefined) account.limitBytes = settings.memory.hard;
    this.#runQueue.configure(tenant, settings);
    this.#admission.configure(tenant, settings, account);
    return settings;
  }

  /** The defaults for a tenant that was never set. */
  settingsOf(tenant: TenantId): TenantSettings {
    return this.#tenants.get(tenant)?.settings ?? DEFAULT_TENANT_SETTINGS;
  }

  list(): readonly TenantId[] {
    return [...this.#tenants.keys()];
  }

  /** Its actors have ended. */
  drop(tenant: TenantId): void {
    this.#admission.drop(tenant);
    this.#runQueue.drop(tenant);
    this.#tenants.delete(tenant);
  }

  usage(tenant: TenantId): TenantUsage & {
    readonly memoryBytes: number;
    readonly running: number;
    readonly waiting: number;
  } {
    const { running, waiting } = this.#admission.stateOf(tenant);
    return {
      ...this.#runQueue.meterOf(tenant).usage(),
      memoryBytes: this.#tenants.get(tenant)?.memory?.usedBytes ?? 0,
      running,
      waiting,
    };
  }
}
