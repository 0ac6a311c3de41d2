import { DbError } from '../base/errors.ts';
import {
  civilFromDays,
  dayOfYear,
  daysFromCivil,
  daysInMonth,
  isLeapYear,
  isoWeek,
  isoWeekday,
  isoYear,
  isoYearStart,
  julianDay,
} from '../calendar/civil.ts';
import type { Interval } from '../columns/values.ts';
import {
  dayOf,
  MICROS_A_MINUTE,
  MICROS_A_SECOND,
  MICROS_AN_HOUR,
  microsOfDay,
  type Instant,
} from './datetime.ts';
import { roundMicros } from './interval-text.ts';

/**
 * to_char, to_date and to_timestamp of dates and times, as formatting.c of PostgreSQL 15 does it: a template is read from
 * the left, the longest keyword first; what is no keyword stands for itself.
 */
type Node =
  | {
      readonly kind: 'field';
      readonly name: string;
      /** As written: upper, mixed or lower case decides the case of names. */
      readonly written: string;
      readonly fills: boolean;
      readonly ordinal: 'th' | 'TH' | undefined;
    }
  /** `quoted`: from double quotes, which to_timestamp skips by length. */
  | { readonly kind: 'text'; readonly text: string; readonly quoted: boolean };

/** The longest first among those that begin alike. */
const KEYWORDS = [
  'A.D.',
  'A.M.',
  'AD',
  'AM',
  'B.C.',
  'BC',
  'CC',
  'DAY',
  'DDD',
  'DD',
  'DY',
  'D',
  'FF1',
  'FF2',
  'FF3',
  'FF4',
  'FF5',
  'FF6',
  'FX',
  'HH24',
  'HH12',
  'HH',
  'IDDD',
  'ID',
  'IW',
  'IYYY',
  'IYY',
  'IY',
  'I',
  'J',
  'MI',
  'MM',
  'MONTH',
  'MON',
  'MS',
  'OF',
  'P.M.',
  'PM',
  'Q',
  'RM',
  'SSSSS',
  'SSSS',
  'SS',
  'TZH',
  'TZM',
  'TZ',
  'US',
  'WW',
  'W',
  'Y,YYY',
  'YYYY',
  'YYY',
  'YY',
  'Y',
] as const;

const NAMED: ReadonlySet<string> = new Set(['MONTH', 'MON', 'DAY', 'DY']);

function templateOf(template: string): readonly Node[] {
  const nodes: Node[] = [];
  const literal = (text: string, quoted: boolean): void => {
    nodes.push({ kind: 'text', text, quoted });
  };
  let at = 0;
  while (at < template.length) {
    const rest = template.slice(at);
    const prefix = /^(FM|TM)+/i.exec(rest)?.[0] ?? '';
    const upper = rest.slice(prefix.length, prefix.length + 6).toUpperCase();
    const keyword = KEYWORDS.find((each) => upper.startsWith(each));
    if (keyword !== undefined) {
      const written = rest.slice(prefix.length, prefix.length + keyword.length);
      at += prefix.length + keyword.length;
      const suffix = template.slice(at, at + 2);
      const ordinal = suffix === 'th' || suffix === 'TH' ? suffix : undefined;
      if (ordinal !== undefined) at += 2;
      const skipped = /^SP/i.exec(template.slice(at));
      if (skipped !== null) at += 2;
      nodes.push({
        kind: 'field',
        name: keyword,
        written,
        // TM is for names in another language, which no width fits.
        fills: !/fm/i.test(prefix) && !(/tm/i.test(prefix) && NAMED.has(keyword)),
        ordinal,
      });
      continue;
    }
    if (rest[0] === '"') {
      let text = '';
      at += 1;
      while (at < template.length && template[at] !== '"') {
        if (template[at] === '\\' && at + 1 < template.length) at += 1;
        text += template[at];
        at += 1;
      }
      at += 1;
      literal(text, true);
      continue;
    }
    if (rest[0] === '\\' && rest[1] === '"') {
      literal('"', false);
      at += 2;
      continue;
    }
    const character = String.fromCodePoint(rest.codePointAt(0)!);
    literal(character, false);
    at += character.length;
  }
  return nodes;
}

const MONTHS = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
];
const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const ROMAN = ['I', 'II', 'III', 'IV', 'V', 'VI', 'VII', 'VIII', 'IX', 'X', 'XI', 'XII'];

// ── Writing ────────────────────────────────────────────────────────────────────────────────────────────────────

/** The parts of what is written; an interval has no day in a calendar. */
type Parts = {
  readonly year: number;
  readonly month: number;
  readonly day: number;
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
  readonly micros: number;
  /** Days since 1970; undefined for an interval. */
  readonly days: number | undefined;
  readonly zone: { readonly name: string; readonly offsetSeconds: number } | undefined;
};

export function formatInstant(
  local: Instant,
  template: string,
  zone: { readonly name: string; readonly offsetSeconds: number } | undefined,
): string {
  const days = dayOf(local);
  const micros = microsOfDay(local, days);
  const { year, month, day } = civilFromDays(days);
  return formatParts({ year, month, day, ...clockOf(micros), days, zone }, template);
}

export function formatInterval(span: Interval, template: string): string {
  return formatParts(
    {
      year: Math.trunc(span.months / 12),
      month: span.months % 12,
      day: span.days,
      ...clockOf(span.micros),
      days: undefined,
      zone: undefined,
    },
    template,
  );
}

function clockOf(micros: number): Pick<Parts, 'hour' | 'minute' | 'second' | 'micros'> {
  return {
    hour: Math.trunc(micros / MICROS_AN_HOUR),
    minute: Math.trunc((micros % MICROS_AN_HOUR) / MICROS_A_MINUTE),
    second: Math.trunc((micros % MICROS_A_MINUTE) / MICROS_A_SECOND),
    micros: micros % MICROS_A_SECOND,
  };
}

function formatParts(parts: Parts, template: string): string {
  return templateOf(template)
    .map((node) => (node.kind === 'text' ? node.text : fieldText(node, parts)))
    .join('');
}

function fieldText(node: Extract<Node, { kind: 'field' }>, parts: Parts): string {
  const { days } = parts;
  const isInterval = days === undefined;
  const number = (value: number, width: number): string => {
    // As C prints it: the sign is one of the places.
    const sign = value < 0 ? '-' : '';
    const digits = Math.abs(value).toString();
    const text = sign + (node.fills ? digits.padStart(width - sign.length, '0') : digits);
    return text + ordinalOf(text, node.ordinal);
  };
  const name = (full: string, width: number): string => {
    const cased = casedLike(full, node.written);
    return node.fills ? cased.padEnd(width) : cased;
  };
  const calendar = (): number => {
    if (days === undefined)
      throw new DbError('22007', 'invalid format specification for an interval value', {
        hint: 'Intervals are not tied to specific calendar dates.',
      });
    return days;
  };
  const twelve = (): number => {
    const hour = parts.hour % 12;
    return hour === 0 && !isInterval ? 12 : isInterval ? (hour === 0 ? 12 : hour) : hour;
  };
  const shownYear = isInterval || parts.year > 0 ? parts.year : -(parts.year - 1);
  const shownIsoYear = (): number => {
    if (isInterval) return parts.year;
    const year = isoYear(days);
    return year > 0 ? year : -(year - 1);
  };
  switch (node.name) {
    case 'A.M.':
    case 'P.M.':
    case 'AM':
    case 'PM': {
      const letters = parts.hour % 24 >= 12 ? 'PM' : 'AM';
      const text = node.name.includes('.') ? `${letters[0]}.M.` : letters;
      return node.written[0] === node.written[0]!.toLowerCase() ? text.toLowerCase() : text;
    }
    case 'A.D.':
    case 'B.C.':
    case 'AD':
    case 'BC': {
      calendar();
      const letters = parts.year <= 0 ? 'BC' : 'AD';
      const text = node.name.includes('.') ? `${letters[0]}.${letters[1]}.` : letters;
      return node.written[0] === node.written[0]!.toLowerCase() ? text.toLowerCase() : text;
    }
    case 'HH':
    case 'HH12':
      return number(twelve(), parts.hour < 0 ? 3 : 2);
    case 'HH24':
      return number(parts.hour, parts.hour < 0 ? 3 : 2);
    case 'MI':
      return number(parts.minute, parts.minute < 0 ? 3 : 2);
    case 'SS':
      return number(parts.second, parts.second < 0 ? 3 : 2);
    case 'MS':
    case 'FF3':
      return fraction(parts.micros, 3, node);
    case 'FF1':
      return fraction(parts.micros, 1, node);
    case 'FF2':
      return fraction(parts.micros, 2, node);
    case 'FF4':
      return fraction(parts.micros, 4, node);
    case 'FF5':
      return fraction(parts.micros, 5, node);
    case 'US':
    case 'FF6':
      return fraction(parts.micros, 6, node);
    case 'SSSS':
    case 'SSSSS':
      return number(parts.hour * 3600 + parts.minute * 60 + parts.second, 0);
    case 'TZ': {
      calendar();
      const zone = parts.zone?.name ?? '';
      return node.written === 'tz' ? zone.toLowerCase() : zone;
    }
    case 'TZH': {
      calendar();
      const seconds = parts.zone?.offsetSeconds ?? 0;
      return `${seconds < 0 ? '-' : '+'}${two(Math.trunc(Math.abs(seconds) / 3600))}`;
    }
    case 'TZM':
      calendar();
      return two(Math.trunc((Math.abs(parts.zone?.offsetSeconds ?? 0) % 3600) / 60));
    case 'OF': {
      calendar();
      const seconds = parts.zone?.offsetSeconds ?? 0;
      const minutes = Math.trunc((Math.abs(seconds) % 3600) / 60);
      const hours = Math.trunc(Math.abs(seconds) / 3600);
      return `${seconds < 0 ? '-' : '+'}${node.fills ? two(hours) : hours}${minutes === 0 ? '' : `:${two(minutes)}`}`;
    }
    case 'MONTH':
    case 'MON': {
      calendar();
      const full = MONTHS[parts.month - 1]!;
      return node.name === 'MON' ? name(full.slice(0, 3), 0) : name(full, 9);
    }
    case 'MM':
      return number(parts.month, parts.month < 0 ? 3 : 2);
    case 'DAY':
      return name(DAYS[isoWeekday(calendar()) % 7]!, 9);
    case 'DY':
      return name(DAYS[isoWeekday(calendar()) % 7]!.slice(0, 3), 0);
    case 'DDD':
      return number(
        isInterval ? (parts.year * 12 + parts.month) * 30 + parts.day : dayOfYear(days),
        3,
      );
    case 'IDDD':
      return number(calendar() - isoYearStart(isoYear(calendar())) + 1, 3);
    case 'DD':
      return number(parts.day, 2);
    case 'D':
      return number((isoWeekday(calendar()) % 7) + 1, 0);
    case 'ID':
      return number(isoWeekday(calendar()), 0);
    case 'WW':
      return number(Math.floor((dayOfYear(calendar()) - 1) / 7) + 1, 2);
    case 'IW':
      return number(isoWeek(calendar()), 2);
    case 'W':
      return number(Math.floor((parts.day - 1) / 7) + 1, 0);
    case 'Q':
      return parts.month === 0 ? '' : number(Math.floor((parts.month - 1) / 3) + 1, 0);
    case 'CC': {
      const century = isInterval
        ? Math.trunc(parts.year / 100)
        : parts.year > 0
          ? Math.floor((parts.year - 1) / 100) + 1
          : Math.trunc(parts.year / 100) - 1;
      return Math.abs(century) <= 99 ? number(century, century < 0 ? 3 : 2) : number(century, 0);
    }
    case 'Y,YYY': {
      const thousands = Math.trunc(shownYear / 1000);
      const rest = Math.abs(shownYear % 1000)
        .toString()
        .padStart(3, '0');
      const text = `${thousands},${rest}`;
      return text + ordinalOf(text, node.ordinal);
    }
    case 'YYYY':
      return number(shownYear, shownYear < 0 ? 5 : 4);
    case 'IYYY':
      return number(shownIsoYear(), shownIsoYear() < 0 ? 5 : 4);
    case 'YYY':
      return number(shownYear % 1000, shownYear < 0 ? 4 : 3);
    case 'IYY':
      return number(shownIsoYear() % 1000, shownIsoYear() < 0 ? 4 : 3);
    case 'YY':
      return number(shownYear % 100, shownYear < 0 ? 3 : 2);
    case 'IY':
      return number(shownIsoYear() % 100, shownIsoYear() < 0 ? 3 : 2);
    case 'Y':
      return number(shownYear % 10, 1);
    case 'I':
      return number(shownIsoYear() % 10, 1);
    case 'RM': {
      if (parts.month === 0 && parts.year === 0) return '';
      const index =
        parts.month === 0 ? 11 : parts.month > 0 ? parts.month - 1 : 12 + parts.month - 1;
      const roman = parts.month === 0 ? 'XII' : ROMAN[(index + 12) % 12]!;
      const text = node.written[0] === 'r' ? roman.toLowerCase() : roman;
      return node.fills ? text.padEnd(4) : text;
    }
    case 'J':
      return number(julianDay(calendar()), 0);
    default:
      return '';
  }
}

function two(value: number): string {
  return String(value).padStart(2, '0');
}

function fraction(micros: number, places: number, node: Extract<Node, { kind: 'field' }>): string {
  const value = Math.trunc(Math.abs(micros) / 10 ** (6 - places));
  const text = (micros < 0 ? '-' : '') + String(value).padStart(places, '0');
  return text + ordinalOf(text, node.ordinal);
}

/** DAY, Day and day are three ways to write a name; so are MON, Mon and mon. */
function casedLike(full: string, written: string): string {
  if (written[0] === written[0]!.toLowerCase()) return full.toLowerCase();
  return written[1] === written[1]!.toUpperCase() ? full.toUpperCase() : full;
}

function ordinalOf(text: string, ordinal: 'th' | 'TH' | undefined): string {
  if (ordinal === undefined) return '';
  const last = text.at(-1);
  const teens = text.at(-2) === '1';
  const ending =
    teens || last === undefined || !'123'.includes(last)
      ? 'th'
      : last === '1'
        ? 'st'
        : last === '2'
          ? 'nd'
          : 'rd';
  return ordinal === 'TH' ? ending.toUpperCase() : ending;
}

// ── Reading ────────────────────────────────────────────────────────────────────────────────────────────────────

/** What a text says; what it does not say is 0 or absent. */
export type ReadTime = {
  readonly day: number;
  readonly micros: number;
  /** Seconds east of UTC, where the text says so. */
  readonly offsetSeconds: number | undefined;
};

const DIGITS_OF: Readonly<Record<string, number>> = {
  HH: 2,
  HH12: 2,
  HH24: 2,
  MI: 2,
  SS: 2,
  MS: 3,
  US: 6,
  FF1: 1,
  FF2: 2,
  FF3: 3,
  FF4: 4,
  FF5: 5,
  FF6: 6,
  SSSS: 5,
  SSSSS: 5,
  MM: 2,
  DDD: 3,
  IDDD: 3,
  DD: 2,
  D: 1,
  ID: 1,
  WW: 2,
  IW: 2,
  W: 1,
  Q: 1,
  CC: 2,
  YYYY: 4,
  IYYY: 4,
  YYY: 3,
  IYY: 3,
  YY: 2,
  IY: 2,
  Y: 1,
  I: 1,
  J: 0,
  TZH: 2,
  TZM: 2,
};

export function readTime(text: string, template: string): ReadTime {
  return new TemplateReader(text, template).read();
}

type Values = { -readonly [Name in string]?: number };

class TemplateReader {
  readonly #text: string;
  readonly #nodes: readonly Node[];
  #at = 0;
  readonly #values: Values = {};
  #exact = false;
  #isPm: boolean | undefined;
  #isBc = false;
  #yearDigits = 4;
  #zoneSign = 1;
  /** FF1 … FF6 round to so many places. */
  #places = 6;
  #isoWeeks = false;
  #gregorian = false;

  constructor(text: string, template: string) {
    this.#text = text;
    this.#nodes = templateOf(template);
  }

  read(): ReadTime {
    const nodes = this.#nodes;
    nodes.forEach((node, index) => {
      if (this.#at >= this.#text.length) return;
      const isSwitch = node.kind === 'field' && node.name === 'FX';
      if (!this.#exact && !isSwitch && (node.kind === 'field' || index === 0)) this.#skipBlanks();
      if (node.kind === 'text') this.#readText(node);
      else if (isSwitch) this.#exact = true;
      else {
        this.#readField(node, nodes[index + 1]);
        if (!this.#exact) {
          this.#skipped = 0;
          this.#skipBlanks();
        }
      }
    });
    return this.#settle();
  }

  /** Characters taken beyond those that the template spoke of. */
  #skipped = 0;

  #skipBlanks(): void {
    while (/\s/.test(this.#text[this.#at] ?? '')) {
      this.#at += 1;
      this.#skipped += 1;
    }
  }

  /** A separator of the template takes a separator of the text or nothing; any other character takes any one. */
  #readText(node: Extract<Node, { kind: 'text' }>): void {
    if (!node.quoted && isSeparatorText(node.text)) {
      if (this.#exact) {
        this.#at += 1;
        return;
      }
      const next = this.#text[this.#at]!;
      if (isSeparatorText(next)) this.#at += 1;
      else this.#skipped -= 1;
      return;
    }
    for (const _ of node.text) {
      if (!this.#exact && this.#skipped > 0) this.#skipped -= 1;
      else if (this.#at < this.#text.length)
        this.#at += this.#text.codePointAt(this.#at)! > 0xffff ? 2 : 1;
    }
  }

  #readField(node: Extract<Node, { kind: 'field' }>, next: Node | undefined): void {
    switch (node.name) {
      case 'AM':
      case 'PM':
      case 'A.M.':
      case 'P.M.':
        this.#isPm = this.#word(node, ['AM', 'PM', 'A.M.', 'P.M.'], 'meridiem') % 2 === 1;
        return;
      case 'AD':
      case 'BC':
      case 'A.D.':
      case 'B.C.':
        this.#isBc = this.#word(node, ['AD', 'BC', 'A.D.', 'B.C.'], 'era') % 2 === 1;
        return;
      case 'MONTH':
        this.#set('MM', this.#word(node, MONTHS, 'month') + 1, node);
        return;
      case 'MON':
        this.#set(
          'MM',
          this.#word(
            node,
            MONTHS.map((each) => each.slice(0, 3)),
            'month',
          ) + 1,
          node,
        );
        return;
      case 'DAY':
        this.#word(node, DAYS, 'day');
        return;
      case 'DY':
        this.#word(
          node,
          DAYS.map((each) => each.slice(0, 3)),
          'day',
        );
        return;
      case 'RM': {
        const roman = [...ROMAN].sort((a, b) => b.length - a.length);
        this.#set('MM', ROMAN.indexOf(roman[this.#word(node, roman, 'month')]!) + 1, node);
        return;
      }
      case 'Y,YYY': {
        const found = /^(\d+),(\d{3})/.exec(this.#text.slice(this.#at));
        if (found === null) throw new DbError('22007', `invalid input string for "Y,YYY"`);
        this.#at += found[0].length;
        this.#set('YYYY', Number(found[1]) * 1000 + Number(found[2]), node);
        this.#yearDigits = 4;
        this.#skipOrdinal(node);
        return;
      }
      case 'TZ':
      case 'OF':
        throw new DbError(
          '0A000',
          `formatting field "${node.written}" is only supported in to_char`,
          {
            hint: 'Read an offset by TZH and TZM, or cast the text: text::timestamptz knows the names of zones.',
          },
        );
      case 'TZH': {
        const sign = this.#text[this.#at];
        if (sign === '+' || sign === '-' || sign === ' ') {
          this.#zoneSign = sign === '-' ? -1 : 1;
          this.#at += 1;
        } else if (this.#skipped > 0 && this.#text[this.#at - 1] === '-') this.#zoneSign = -1;
        this.#set('TZH', this.#number(node, next), node);
        return;
      }
      default:
    }
    const start = this.#at;
    const value = this.#number(node, next);
    const length = this.#at - start;
    switch (node.name) {
      case 'MS':
        this.#set('US', value * 10 ** Math.max(0, 3 - length) * 1000, node);
        break;
      case 'FF1':
      case 'FF2':
      case 'FF3':
      case 'FF4':
      case 'FF5':
      case 'FF6':
        this.#places = Number(node.name[2]);
        this.#set('US', value * 10 ** Math.max(0, 6 - length), node);
        break;
      case 'US':
        this.#set('US', value * 10 ** Math.max(0, 6 - length), node);
        break;
      case 'HH12':
      case 'HH':
        this.#set('HH', value, node);
        this.#values['HH12'] = 1;
        break;
      case 'HH24':
        this.#set('HH', value, node);
        break;
      case 'SSSSS':
        this.#set('SSSS', value, node);
        break;
      case 'YYYY':
      case 'IYYY':
        this.#set('YYYY', value, node);
        this.#yearDigits = 4;
        this.#noteStyle(node.name);
        break;
      case 'YYY':
      case 'IYY':
      case 'YY':
      case 'IY':
      case 'Y':
      case 'I': {
        const digits = node.name.replace('I', node.name.length === 1 ? 'Y' : '').length;
        const count = node.name.startsWith('I') ? node.name.length : digits;
        this.#set('YYYY', length < 4 ? shortYear(value) : value, node);
        this.#yearDigits = count;
        this.#noteStyle(node.name);
        break;
      }
      case 'IDDD':
      case 'IW':
      case 'ID':
        this.#set(node.name, value, node);
        this.#noteStyle(node.name);
        break;
      case 'Q':
        break;
      default:
        this.#set(node.name, value, node);
        if (!['MI', 'SS', 'SSSS', 'J', 'TZM'].includes(node.name)) this.#noteStyle(node.name);
    }
    this.#skipOrdinal(node);
  }

  #noteStyle(name: string): void {
    if (name.startsWith('I')) this.#isoWeeks = true;
    else if (!['HH', 'CC', 'W', 'WW', 'D'].includes(name)) this.#gregorian = true;
    if (this.#isoWeeks && this.#gregorian)
      throw new DbError('22007', 'invalid combination of date conventions', {
        hint: 'Do not mix Gregorian and ISO week date conventions in a formatting template.',
      });
  }

  #skipOrdinal({ ordinal }: Extract<Node, { kind: 'field' }>): void {
    if (ordinal !== undefined) this.#at = Math.min(this.#at + 2, this.#text.length);
  }

  #set(name: string, value: number, node: Extract<Node, { kind: 'field' }>): void {
    const before = this.#values[name];
    if (before !== undefined && before !== value)
      throw new DbError(
        '22007',
        `conflicting values for "${node.written}" field in formatting string`,
        {
          detail: 'This value contradicts a previous setting for the same field type.',
        },
      );
    this.#values[name] = value;
  }

  #number(node: Extract<Node, { kind: 'field' }>, next: Node | undefined): number {
    const width = DIGITS_OF[node.name]!;
    const rest = this.#text.slice(this.#at);
    const bad = (text: string, detail: string): DbError =>
      new DbError('22007', `invalid value "${text}" for "${node.written}"`, { detail });
    let digits: string;
    if (!node.fills || !isDigitNext(node, next)) digits = /^\s*[+-]?\d+/.exec(rest)?.[0] ?? '';
    else {
      // Another number follows at once: this one has exactly its width.
      if (rest.length < width)
        throw new DbError(
          '22007',
          `source string too short for "${node.written}" formatting field`,
          {
            detail: `Field requires ${width} characters, but only ${rest.length} remain.`,
            hint: 'If your source string is not fixed-width, try using the "FM" modifier.',
          },
        );
      digits = /^\s*[+-]?\d+/.exec(rest.slice(0, width))?.[0] ?? '';
      if (digits !== '' && digits.length < width)
        throw bad(
          rest.slice(0, width),
          `Field requires ${width} characters, but only ${digits.length} could be parsed.`,
        );
    }
    if (digits === '') throw bad(rest.slice(0, Math.max(width, 1)), 'Value must be an integer.');
    const value = Number(digits);
    if (!(Math.abs(value) <= 2_147_483_647))
      throw new DbError('22008', `value for "${node.written}" in source string is out of range`);
    this.#at += digits.length;
    return value;
  }

  #word(node: Extract<Node, { kind: 'field' }>, words: readonly string[], what: string): number {
    const rest = this.#text.slice(this.#at).toUpperCase();
    const found = words.findIndex((word) => rest.startsWith(word.toUpperCase()));
    if (found < 0)
      throw new DbError(
        '22007',
        `invalid value "${this.#text.slice(this.#at, this.#at + 10)}" for "${node.written}"`,
        {
          detail: 'The given value did not match any of the allowed values for this field.',
          hint: `Give a ${what} as the template writes it.`,
        },
      );
    this.#at += words[found]!.length;
    return found;
  }

  // ── From fields to a time ──────────────────────────────────────────────────────────────────────────────────────

  #settle(): ReadTime {
    const values = this.#values;
    const outOfRange = (): DbError =>
      new DbError('22008', `date/time field value out of range: "${this.#text}"`);
    let micros: number;
    if (values['SSSS'] !== undefined) {
      if (values['SSSS'] >= 86_400) throw outOfRange();
      micros = values['SSSS'] * MICROS_A_SECOND;
    } else {
      let hour = values['HH'] ?? 0;
      if (values['HH12'] !== undefined) {
        if (hour < 1 || hour > 12)
          throw new DbError('22007', `hour "${hour}" is invalid for the 12-hour clock`, {
            hint: 'Use the 24-hour clock, or give an hour between 1 and 12.',
          });
        if (this.#isPm === true && hour < 12) hour += 12;
        else if (this.#isPm === false && hour === 12) hour = 0;
      } else if (this.#isPm !== undefined) {
        if (hour < 1 || hour > 12)
          throw new DbError('22007', `hour "${hour}" is invalid for the 12-hour clock`, {
            hint: 'Use the 24-hour clock, or give an hour between 1 and 12.',
          });
        if (this.#isPm && hour < 12) hour += 12;
        else if (!this.#isPm && hour === 12) hour = 0;
      }
      const [minute, second] = [values['MI'] ?? 0, values['SS'] ?? 0];
      if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59)
        throw outOfRange();
      micros = hour * MICROS_AN_HOUR + minute * MICROS_A_MINUTE + second * MICROS_A_SECOND;
    }
    if ((values['US'] ?? 0) >= MICROS_A_SECOND) throw outOfRange();
    micros += roundMicros(values['US'] ?? 0, this.#places);
    const day = this.#day(outOfRange);
    let offsetSeconds: number | undefined;
    if (values['TZH'] !== undefined) {
      if (values['TZH'] > 15 || (values['TZM'] ?? 0) > 59) throw outOfRange();
      offsetSeconds = this.#zoneSign * (values['TZH'] * 3600 + (values['TZM'] ?? 0) * 60);
    }
    return { day, micros, offsetSeconds };
  }

  #day(outOfRange: () => DbError): number {
    const values = this.#values;
    if (values['J'] !== undefined) return values['J'] - 2_440_588;
    // Where none is given: 1 BC, as in PostgreSQL.
    let year = 0;
    const given = values['YYYY'];
    const century = values['CC'];
    if (given !== undefined) {
      if (century !== undefined && this.#yearDigits <= 2) {
        // The century says what a short year means, not the nearest one.
        const short = given % 100;
        year =
          century < 0
            ? (century + 1) * 100 - short + 1
            : short === 0
              ? century * 100
              : (century - 1) * 100 + short;
      } else {
        year = given;
        if (this.#isBc) year = -year;
        // There is no year 0: 1 BC is 0 here.
        if (year < 0) year += 1;
      }
    } else if (century !== undefined) {
      const signed = this.#isBc ? -century : century;
      year = signed >= 0 ? (signed - 1) * 100 + 1 : signed * 100 + 1;
    }
    if (this.#isoWeeks) {
      if (values['IDDD'] !== undefined) return isoYearStart(year) + values['IDDD'] - 1;
      return isoYearStart(year) + ((values['IW'] ?? 1) - 1) * 7 + (values['ID'] ?? 1) - 1;
    }
    if (values['WW'] !== undefined) return daysFromCivil(year, 1, 1) + (values['WW'] - 1) * 7;
    if (values['DDD'] !== undefined && values['MM'] === undefined) {
      if (values['DDD'] < 1 || values['DDD'] > (isLeapYear(year) ? 366 : 365)) throw outOfRange();
      return daysFromCivil(year, 1, 1) + values['DDD'] - 1;
    }
    const month = values['MM'] ?? 1;
    if (month < 1 || month > 12) throw outOfRange();
    const day = values['W'] === undefined ? (values['DD'] ?? 1) : (values['W'] - 1) * 7 + 1;
    if (day < 1 || day > daysInMonth(year, month)) throw outOfRange();
    return daysFromCivil(year, month, day);
  }
}

function isDigitNext(node: Extract<Node, { kind: 'field' }>, next: Node | undefined): boolean {
  if (node.ordinal !== undefined || next === undefined) return false;
  return next.kind === 'field' ? DIGITS_OF[next.name] !== undefined : /^\d$/.test(next.text);
}

/** The year nearest to 2020 that ends so. */
function shortYear(value: number): number {
  if (value < 70) return value + 2000;
  if (value < 100) return value + 1900;
  if (value < 520) return value + 2000;
  if (value < 1000) return value + 1000;
  return value;
}

function isSeparatorText(text: string): boolean {
  return /^[\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e\s]$/.test(text);
}
