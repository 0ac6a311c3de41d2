import { daysFromCivil, daysInMonth, isoWeekday } from './civil.ts';

/**
 * 52/53-week years: each ends on one weekday, the last one of a month or the one nearest to the month's end; thirteen weeks
 * make a quarter of three periods, and a 53rd week belongs to the last period.
 */
export type RetailRule = {
  /** Weeks of the three periods of a quarter. */
  readonly pattern: readonly [number, number, number];
  readonly ends: 'nearest' | 'last';
  /** 1 for Monday … 7 for Sunday: the last day of each week. */
  readonly weekday: number;
  /** 1 … 12: the month at whose end the year ends. */
  readonly month: number;
};

/** As days since 1970; `end` is the first day of the next year. */
export type RetailYear = {
  /** The calendar year whose month the year ends with. */
  readonly endsIn: number;
  readonly start: number;
  readonly end: number;
  readonly weeks: 52 | 53;
  /** First days of the twelve periods. */
  readonly periods: readonly number[];
};

/** Years are asked for again and again, and are few. */
export class RetailYears {
  readonly rule: RetailRule;
  readonly #years = new Map<number, RetailYear>();

  constructor(rule: RetailRule) {
    this.rule = rule;
  }

  endingIn(endsIn: number): RetailYear {
    let year = this.#years.get(endsIn);
    if (year === undefined) {
      year = this.#make(endsIn);
      if (this.#years.size >= YEAR_COUNT_MAX) this.#years.clear();
      this.#years.set(endsIn, year);
    }
    return year;
  }

  /** The year that a day lies in. */
  of(day: number): RetailYear {
    // Any year is within a week of the month it ends with, so the guess is off by one at most.
    const guess = 1970 + Math.floor(day / 365.2425);
    for (let endsIn = guess - 1; ; endsIn += 1) {
      const year = this.endingIn(endsIn);
      if (day < year.end) return year;
    }
  }

  /** The first day of the unit that a day lies in, and of the one after it. */
  period(day: number): { readonly start: number; readonly end: number } {
    const { periods, end } = this.of(day);
    const index = periods.findLastIndex((start) => start <= day);
    return { start: periods[index]!, end: periods[index + 1] ?? end };
  }

  quarter(day: number): { readonly start: number; readonly end: number } {
    const { periods, end } = this.of(day);
    const index = Math.floor(periods.findLastIndex((start) => start <= day) / 3) * 3;
    return { start: periods[index]!, end: periods[index + 3] ?? end };
  }

  week(day: number): { readonly start: number; readonly end: number } {
    const year = this.of(day);
    const start = day - ((day - year.start) % 7);
    return { start, end: start + 7 };
  }

  #make(endsIn: number): RetailYear {
    const start = lastDay(this.rule, endsIn - 1) + 1;
    const end = lastDay(this.rule, endsIn) + 1;
    const periods: number[] = [];
    let at = start;
    for (let quarter = 0; quarter < 4; quarter += 1)
      for (const weeks of this.rule.pattern) {
        periods.push(at);
        at += weeks * 7;
      }
    return { endsIn, start, end, weeks: end - start === 371 ? 53 : 52, periods };
  }
}

/** As many as anybody looks at; a table of centuries is no reason to keep them. */
const YEAR_COUNT_MAX = 1024;

function lastDay({ ends, weekday, month }: RetailRule, year: number): number {
  const monthEnd = daysFromCivil(year, month, daysInMonth(year, month));
  // Days since that weekday was last: 0 … 6.
  const since = (isoWeekday(monthEnd) - weekday + 7) % 7;
  return ends === 'nearest' && since > 3 ? monthEnd - since + 7 : monthEnd - since;
}
