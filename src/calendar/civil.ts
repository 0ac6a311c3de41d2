/**
 * The proleptic Gregorian calendar by arithmetic. Days count from 1970-01-01; years are astronomical (0 is 1 BC).
 * All arguments and results are integers; days may be anything a double holds exactly.
 *
 * Method: Howard Hinnant, "chrono-compatible low-level date algorithms" (years begin in March, eras of 400 years).
 */
export type CivilDate = { readonly year: number; readonly month: number; readonly day: number };

export function daysFromCivil(year: number, month: number, day: number): number {
  const shifted = month <= 2 ? year - 1 : year;
  const era = Math.floor(shifted / 400);
  const yearOfEra = shifted - era * 400;
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1;
  const dayOfEra =
    yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}

export function civilFromDays(days: number): CivilDate {
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  // Within an era all are small integers: by them, V8 divides with a multiplication.
  const dayOfEra = (shifted - era * 146_097) | 0;
  const yearOfEra =
    ((dayOfEra - ((dayOfEra / 1460) | 0) + ((dayOfEra / 36_524) | 0) - ((dayOfEra / 146_096) | 0)) /
      365) |
    0;
  const dayOfYear = dayOfEra - (365 * yearOfEra + ((yearOfEra / 4) | 0) - ((yearOfEra / 100) | 0));
  const marchMonth = ((5 * dayOfYear + 2) / 153) | 0;
  const month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9;
  return {
    year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0),
    month,
    day: dayOfYear - (((153 * marchMonth + 2) / 5) | 0) + 1,
  };
}

export function isLeapYear(year: number): boolean {
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
}

const MONTH_DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] as const;

/** `month` is 1 … 12. */
export function daysInMonth(year: number, month: number): number {
  return month === 2 && isLeapYear(year) ? 29 : MONTH_DAYS[month - 1]!;
}

/** 1 for Monday … 7 for Sunday. */
export function isoWeekday(days: number): number {
  return ((((days + 3) % 7) + 7) % 7) + 1;
}

/** 1 … 366. */
export function dayOfYear(days: number): number {
  return days - daysFromCivil(civilFromDays(days).year, 1, 1) + 1;
}

/** The Monday with which week 1 of an ISO year begins: the week of 4 January. */
export function isoYearStart(isoYear: number): number {
  const fourth = daysFromCivil(isoYear, 1, 4);
  return fourth - (isoWeekday(fourth) - 1);
}

/** The year that the Thursday of this day's week lies in. */
export function isoYear(days: number): number {
  return civilFromDays(days - isoWeekday(days) + 4).year;
}

/** 1 … 53. */
export function isoWeek(days: number): number {
  return Math.floor((days - isoYearStart(isoYear(days))) / 7) + 1;
}

/** The Julian day number of a civil day. */
export function julianDay(days: number): number {
  return days + 2_440_588;
}

/** `2026-11-22`; years beyond 0 … 9999 as ISO 8601 extends them: `+012026-01-01`, `-000043-03-15`. */
export function civilText(days: number): string {
  const { year, month, day } = civilFromDays(days);
  if (!hasFourDigits(year)) return `${yearText(year)}-${pad2(month)}-${pad2(day)}`;
  const whole = year | 0;
  const century = (whole / 100) | 0;
  const ofCentury = whole - century * 100;
  return String.fromCharCode(
    tens(century),
    ones(century),
    tens(ofCentury),
    ones(ofCentury),
    DASH,
    tens(month),
    ones(month),
    DASH,
    tens(day),
    ones(day),
  );
}

/**
 * An instant as `Date.prototype.toISOString` writes it, in a fifth of the time; whole seconds without `.000`. Digit by digit it is one flat
 * text: put together from its parts it would be seven, which whoever reads it puts together again.
 */
export function instantText(instantMs: number): string {
  const ms = Math.trunc(instantMs);
  if (!(ms >= -DATE_MS_MAX && ms <= DATE_MS_MAX)) return new Date(instantMs).toISOString();
  const days = Math.floor(ms / 86_400_000);
  const ofDay = (ms - days * 86_400_000) | 0;
  const seconds = (ofDay / 1000) | 0;
  const millis = ofDay - seconds * 1000;
  const minutes = (seconds / 60) | 0;
  const hour = (minutes / 60) | 0;
  const minute = minutes - hour * 60;
  const second = seconds - minutes * 60;
  const { year, month, day } = civilFromDays(days);
  if (!hasFourDigits(year)) {
    const text = `${civilText(days)}T${pad2(hour)}:${pad2(minute)}:${pad2(second)}`;
    if (millis === 0) return `${text}Z`;
    return `${text}.${millis < 100 ? '0' : ''}${pad2(millis)}Z`;
  }
  const whole = year | 0;
  const century = (whole / 100) | 0;
  const ofCentury = whole - century * 100;
  const text = String.fromCharCode(
    tens(century),
    ones(century),
    tens(ofCentury),
    ones(ofCentury),
    DASH,
    tens(month),
    ones(month),
    DASH,
    tens(day),
    ones(day),
    LETTER_T,
    tens(hour),
    ones(hour),
    COLON,
    tens(minute),
    ones(minute),
    COLON,
    tens(second),
    ones(second),
    millis === 0 ? LETTER_Z : POINT,
  );
  if (millis === 0) return text;
  const hundreds = (millis / 100) | 0;
  const rest = millis - hundreds * 100;
  return text + String.fromCharCode(DIGIT_0 + hundreds, tens(rest), ones(rest), LETTER_Z);
}

const DIGIT_0 = 48;
const DASH = 45;
const COLON = 58;
const POINT = 46;
const LETTER_T = 84;
const LETTER_Z = 90;

/** The characters of a number below a hundred. */
function tens(value: number): number {
  return DIGIT_0 + ((value / 10) | 0);
}

function ones(value: number): number {
  return DIGIT_0 + (value % 10);
}

function hasFourDigits(year: number): boolean {
  return year >= 0 && year <= 9999;
}

/** As far as a Date reaches. */
const DATE_MS_MAX = 8.64e15;

/** The day that an ISO 8601 date names; undefined where it names none, such as 2026-02-30. */
export function civilDay(text: string): number | undefined {
  const match = /^(\d{4}|[+-]\d{6})-(\d{2})-(\d{2})$/.exec(text);
  if (match === null) return undefined;
  const [year, month, day] = [Number(match[1]), Number(match[2]), Number(match[3])];
  if (month < 1 || month > 12 || day < 1 || day > daysInMonth(year, month)) return undefined;
  return daysFromCivil(year, month, day);
}

function yearText(year: number): string {
  return `${year < 0 ? '-' : '+'}${String(Math.abs(year)).padStart(6, '0')}`;
}

export function pad2(value: number): string {
  return value < 10 ? `0${value}` : String(value);
}

/** January is the first; lower case. */
export const MONTH_NAMES: readonly string[] = [
  'january',
  'february',
  'march',
  'april',
  'may',
  'june',
  'july',
  'august',
  'september',
  'october',
  'november',
  'december',
];
