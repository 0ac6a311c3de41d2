import { DbError } from '../base/errors.ts';
import { valueText } from '../base/value-text.ts';
import { countBelow } from '../base/search.ts';
import { civilDay, civilText, civilFromDays, isoWeekday } from './civil.ts';

/** Minutes of a day's clock: open from `from` until `to`. */
export type OpenHours = { readonly from: number; readonly to: number };

export type BusinessRules = {
  /** ISO weekdays that are no business days. */
  readonly weekend: ReadonlySet<number>;
  /** Days since 1970, in order, each once; or how to know them year by year. */
  readonly holidays: readonly number[] | ((year: number) => readonly number[]);
  /** By ISO weekday; undefined: the whole day. */
  readonly hours: ReadonlyMap<number, readonly OpenHours[]> | undefined;
  /** Days whose hours are their own, such as the eve of a holiday. */
  readonly hoursOn: ReadonlyMap<number, readonly OpenHours[]>;
};

export type Roll = 'forward' | 'backward' | 'modifiedForward' | 'modifiedBackward' | 'refuse';

/** Which days count, and arithmetic in them: everything else about business days is made of this. */
export class BusinessDays {
  readonly rules: BusinessRules;
  readonly #weekdays: readonly boolean[];
  readonly #workdaysAWeek: number;
  /** Holidays on days that would count otherwise, of the years that were asked for. */
  readonly #years = new Map<number, readonly number[]>();
  readonly #listed: readonly number[] | undefined;

  constructor(rules: BusinessRules) {
    this.rules = rules;
    this.#weekdays = Array.from({ length: 8 }, (_, weekday) => !rules.weekend.has(weekday));
    this.#workdaysAWeek = 7 - rules.weekend.size;
    this.#listed =
      typeof rules.holidays === 'function'
        ? undefined
        : rules.holidays.filter((day) => this.#weekdays[isoWeekday(day)]!);
  }

  has(day: number): boolean {
    return this.#weekdays[isoWeekday(day)]! && !this.isHoliday(day);
  }

  isHoliday(day: number): boolean {
    const { holidays } = this.rules;
    if (typeof holidays !== 'function') return includes(holidays, day);
    return includes(this.#ofYear(civilFromDays(day).year), day);
  }

  /** Business days in [from, to); negative where `to` comes first. */
  between(from: number, to: number): number {
    if (to < from) return -this.between(to, from);
    const weeks = Math.floor((to - from) / 7);
    let count = weeks * this.#workdaysAWeek;
    for (let day = from + weeks * 7; day < to; day += 1)
      if (this.#weekdays[isoWeekday(day)]!) count += 1;
    return count - this.#holidaysBetween(from, to);
  }

  /** The business day at or before (`step` −1), at or after (+1). */
  nearest(day: number, step: 1 | -1): number {
    let at = day;
    for (let looked = 0; looked < CLOSED_DAYS_MAX; looked += 1, at += step)
      if (this.has(at)) return at;
    throw new DbError('22008', `there is no business day within ten years of ${civilText(day)}`, {
      field: 'holidays',
      hint: 'The holidays and the weekend leave no day.',
    });
  }

  /** `count` business days on from a business day. */
  plus(day: number, count: number): number {
    if (count === 0) return day;
    const step = count > 0 ? 1 : -1;
    const wanted = Math.abs(count);
    const passed = (to: number): number =>
      step > 0 ? this.between(day + 1, to + 1) : this.between(to, day);
    // Whole weeks never go too far, since holidays only make it longer; then day by day.
    let at = day;
    for (let missing = wanted; missing > 0; missing = wanted - passed(at)) {
      const weeks = Math.floor(missing / this.#workdaysAWeek);
      at = weeks === 0 ? this.nearest(at + step, step) : at + step * weeks * 7;
    }
    return this.nearest(at, step > 0 ? -1 : 1);
  }

  roll(day: number, roll: Roll): number {
    if (this.has(day)) return day;
    switch (roll) {
      case 'forward':
        return this.nearest(day, 1);
      case 'backward':
        return this.nearest(day, -1);
      case 'modifiedForward':
      case 'modifiedBackward': {
        const step = roll === 'modifiedForward' ? 1 : -1;
        const there = this.nearest(day, step);
        return sameMonth(there, day) ? there : this.nearest(day, step === 1 ? -1 : 1);
      }
      case 'refuse':
        throw new DbError('22008', `${civilText(day)} is no business day`, {
          hint: "Say where to begin: { roll: 'forward' } or { roll: 'backward' }.",
        });
    }
  }

  /** When a day is open; a whole day where no hours are given, never on other days. */
  hoursOf(day: number): readonly OpenHours[] {
    const { hours, hoursOn } = this.rules;
    const own = hoursOn.get(day);
    if (own !== undefined) return own;
    if (!this.has(day)) return [];
    return hours === undefined ? WHOLE_DAY : (hours.get(isoWeekday(day)) ?? []);
  }

  #holidaysBetween(from: number, to: number): number {
    if (this.#listed !== undefined)
      return countBelow(this.#listed, to) - countBelow(this.#listed, from);
    const lastYear = civilFromDays(to).year;
    let count = 0;
    for (let { year } = civilFromDays(from); year <= lastYear; year += 1)
      for (const day of this.#ofYear(year))
        if (day >= from && day < to && this.#weekdays[isoWeekday(day)]!) count += 1;
    return count;
  }

  #ofYear(year: number): readonly number[] {
    let days = this.#years.get(year);
    if (days === undefined) {
      const { holidays } = this.rules;
      days = (holidays as (year: number) => readonly number[])(year);
      if (this.#years.size >= YEAR_COUNT_MAX) this.#years.clear();
      this.#years.set(year, days);
    }
    return days;
  }
}

const WHOLE_DAY: readonly OpenHours[] = [{ from: 0, to: 1440 }];
/** Ten years without a business day: there will be none. */
const CLOSED_DAYS_MAX = 3660;
const YEAR_COUNT_MAX = 1024;

function sameMonth(a: number, b: number): boolean {
  const [left, right] = [civilFromDays(a), civilFromDays(b)];
  return left.year === right.year && left.month === right.month;
}

function includes(days: readonly number[], day: number): boolean {
  return days[countBelow(days, day)] === day;
}

/** Days in order, each once. */
export function asDays(dates: Iterable<string>, field: string): number[] {
  const days = new Set<number>();
  for (const date of dates) {
    const day = typeof date === 'string' ? civilDay(date) : undefined;
    if (day === undefined)
      throw new DbError('22023', `${field} has "${valueText(date)}", which is no date`, {
        field,
        hint: "Write dates as '2026-12-25'.",
      });
    days.add(day);
  }
  return [...days].sort((a, b) => a - b);
}
