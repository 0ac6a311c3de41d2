import { DbError } from '../base/errors.ts';
import { nearestOf } from '../base/nearest.ts';
import { Calendar } from '../calendar/calendar.ts';
import { holidaysFromJson, readingICal, type YearRange } from '../calendar/holidays.ts';
import { onlyKeys, type CalendarSpec } from '../calendar/spec.ts';
import { plainZoneOf, zoneOf, type Zone } from '../calendar/zones.ts';
import type { Engine } from './engine.ts';
import type { Cancelable } from './api-types.ts';
import { assertNotAborted, within } from './deadline.ts';

/** Calendars by name, as the journal made them: `setCalendar` records are all there is. */
export class Calendars {
  readonly #tenants = new Map<string, Map<string, NamedCalendar>>();

  /** Puts, or takes away, one; gives what undoes it. */
  set(tenant: string, name: string, spec: CalendarSpec | undefined): () => void {
    let known = this.#tenants.get(tenant);
    if (known === undefined) this.#tenants.set(tenant, (known = new Map()));
    const before = known.get(name);
    if (spec === undefined) known.delete(name);
    else known.set(name, new NamedCalendar(spec));
    return () => {
      if (before === undefined) known.delete(name);
      else known.set(name, before);
    };
  }

  /** The tenant's own, else main's. */
  find(tenant: string, name: string): NamedCalendar | undefined {
    return this.#tenants.get(tenant)?.get(name) ?? this.#tenants.get('main')?.get(name);
  }

  own(tenant: string, name: string): NamedCalendar | undefined {
    return this.#tenants.get(tenant)?.get(name);
  }

  /** 42704 where there is none. */
  require(tenant: string, name: string): NamedCalendar {
    const found = this.find(tenant, name);
    if (found !== undefined) return found;
    throw unknownCalendar(name, this.names(tenant));
  }

  names(tenant: string): string[] {
    const names = new Set([
      ...(this.#tenants.get(tenant)?.keys() ?? []),
      ...(this.#tenants.get('main')?.keys() ?? []),
    ]);
    return [...names].sort();
  }

  ownNames(tenant: string): string[] {
    return [...(this.#tenants.get(tenant)?.keys() ?? [])].sort();
  }

  /** All of them, for snapshots. */
  all(): { readonly tenant: string; readonly name: string; readonly spec: CalendarSpec }[] {
    return [...this.#tenants].flatMap(([tenant, known]) =>
      [...known].map(([name, { spec }]) => ({ tenant, name, spec })),
    );
  }
}

/** A calendar, and what it becomes in other zones than its own. */
export class NamedCalendar {
  readonly spec: CalendarSpec;
  readonly #byZone = new Map<string, Calendar>();
  readonly #byZoneOfSql = new Map<string, Calendar>();

  constructor(spec: CalendarSpec) {
    this.spec = spec;
  }

  /** In the zone that a question names: see `plainZoneOf`. */
  in(zone: string | undefined): Calendar {
    return (
      this.#byZone.get(zone ?? '') ??
      this.#made(this.#byZone, zone, zone === undefined ? undefined : plainZoneOf(zone, 'zone'))
    );
  }

  /** In the zone of a session, or one that SQL names, which reads `UTC+2` as PostgreSQL does. */
  inZoneOfSql(zone: string | undefined): Calendar {
    return (
      this.#byZoneOfSql.get(zone ?? '') ??
      this.#made(this.#byZoneOfSql, zone, zone === undefined ? undefined : zoneOf(zone))
    );
  }

  #made(known: Map<string, Calendar>, name: string | undefined, zone: Zone | undefined): Calendar {
    const made = new Calendar(this.spec, zone);
    if (known.size >= ZONE_COUNT_MAX) known.clear();
    known.set(name ?? '', made);
    return made;
  }
}

/** There are some four hundred zones; a few are used. */
const ZONE_COUNT_MAX = 64;

/** A calendar's spec, with holidays also as they come from elsewhere: names by date, or the text of an iCalendar. */
export type ImportedCalendarSpec = Omit<CalendarSpec, 'holidays'> & {
  readonly holidays?:
    | CalendarSpec['holidays']
    | Readonly<Record<string, string>>
    | { readonly ical: string; readonly years: YearRange };
};

/** In steps: yields where others may have a turn. */
function* imported({
  holidays,
  ...spec
}: ImportedCalendarSpec): Generator<undefined, CalendarSpec> {
  if (holidays === undefined) return spec;
  if (typeof holidays !== 'object' || holidays === null || Array.isArray(holidays))
    return { ...spec, holidays: holidays as CalendarSpec['holidays'] & object };
  if (!('ical' in holidays)) return { ...spec, holidays: holidaysFromJson(holidays) };
  onlyKeys(holidays, ['ical', 'years'], 'holidays.');
  const { ical, years } = holidays as { readonly ical: string; readonly years: YearRange };
  return { ...spec, holidays: yield* readingICal(ical, { years }) };
}

/** `db.calendars`: each change is a commit of the journal. */
export class CalendarVerbs {
  readonly #engine: Engine;
  readonly #tenant: string;

  constructor(engine: Engine, tenant: string) {
    this.#engine = engine;
    this.#tenant = tenant;
  }

  /** Makes a calendar, or replaces it. */
  set(
    name: string,
    spec: ImportedCalendarSpec,
    options?: Cancelable,
  ): Promise<{ readonly position: number }> {
    return this.#within(options, async (signal) => {
      checkName(name);
      // Checked, and every default written out: what is journaled means the same for ever.
      let own: CalendarSpec = spec as CalendarSpec;
      if (typeof spec === 'object' && spec !== null) {
        this.#engine.assertOpen();
        const importing = imported(spec);
        let step = importing.next();
        for (; step.done !== true; step = importing.next()) {
          await this.#engine.pause();
          assertNotAborted(signal);
        }
        own = step.value;
      }
      return this.#commit(name, new Calendar(own).spec, signal);
    });
  }

  get(name: string, options?: Cancelable): Promise<CalendarSpec | undefined> {
    return this.#within(options, () => {
      checkName(name);
      this.#engine.assertOpen();
      return this.#engine.state.calendars.own(this.#tenant, name)?.spec;
    });
  }

  list(options?: Cancelable): Promise<{ readonly name: string; readonly spec: CalendarSpec }[]> {
    return this.#within(options, () => {
      this.#engine.assertOpen();
      const { calendars } = this.#engine.state;
      return calendars
        .ownNames(this.#tenant)
        .map((name) => ({ name, spec: calendars.own(this.#tenant, name)!.spec }));
    });
  }

  drop(name: string, options?: Cancelable): Promise<{ readonly position: number }> {
    return this.#within(options, (signal) => {
      checkName(name);
      this.#engine.assertOpen();
      const { calendars } = this.#engine.state;
      if (calendars.own(this.#tenant, name) === undefined)
        throw unknownCalendar(name, calendars.ownNames(this.#tenant));
      return this.#commit(name, undefined, signal);
    });
  }

  #within<Value>(
    options: Cancelable | undefined,
    action: (signal: AbortSignal | undefined) => Value | Promise<Value>,
  ): Promise<Value> {
    return within(this.#engine.ports.clock, options, action);
  }

  async #commit(
    name: string,
    spec: CalendarSpec | undefined,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly position: number }> {
    const { position } = await this.#engine.commit(
      {
        tenant: this.#tenant,
        relations: [],
        prepare: () => [{ op: 'setCalendar', tenant: this.#tenant, name, spec }],
      },
      signal,
    );
    return { position };
  }
}

function unknownCalendar(name: string, names: readonly string[]): DbError {
  const nearest = nearestOf(name, names);
  return new DbError('42704', `calendar "${name}" does not exist`, {
    field: 'calendar',
    hint:
      nearest === undefined
        ? `Make it with db.calendars.set('${name}', { … }).`
        : `Did you mean "${nearest}"?`,
  });
}

function checkName(name: unknown): void {
  if (typeof name === 'string' && /^[^\0]{1,63}$/u.test(name)) return;
  throw new DbError('42602', 'the name of a calendar is a text of 1 to 63 characters', {
    field: 'name',
    hint: "Write db.calendars.set('acme', { … }).",
  });
}
