import { DbError } from '../base/errors.ts';
import { Decimal } from '../columns/values.ts';
import {
  absoluteOf,
  decimalExponent,
  decimalOf,
  divideRounded,
  multiply,
  powerOfTen,
  round,
} from './decimal-arithmetic.ts';
import { power } from './decimal-functions.ts';
import { decimalFromText } from './text-io.ts';

/**
 * to_char and to_number of numbers in the C locale. Method: NUM_processor of PostgreSQL 15's formatting.c, whose walk over the
 * template is kept step by step, since what it does with odd templates is its only definition.
 */
type Template = {
  readonly nodes: readonly NumberNode[];
  /** Digit places before and behind the point. */
  readonly before: number;
  readonly after: number;
  /** The place, from 0, from which zeros fill; undefined: none does. */
  readonly zeroStart: number | undefined;
  /** The place behind the last 0. */
  readonly zeroEnd: number;
  readonly hasPoint: boolean;
  /** FM: nothing is filled with blanks. */
  readonly fillMode: boolean;
  /** V: the number is multiplied by ten so often. */
  readonly shift: number | undefined;
  readonly scientific: boolean;
  readonly roman: 'RN' | 'rn' | undefined;
  readonly minus: boolean;
  readonly plus: boolean;
  readonly brackets: boolean;
  /** S, before the digits or behind them. */
  readonly sign: 'before' | 'behind' | undefined;
};

type NumberNode = { readonly kind: NodeKind } | { readonly kind: 'text'; readonly text: string };
type NodeKind = '9' | '0' | '.' | ',' | 'L' | 'S' | 'MI' | 'PL' | 'SG' | 'RN' | 'TH' | 'th';

const KEYWORDS = [
  'EEEE',
  'FM',
  'MI',
  'PL',
  'PR',
  'RN',
  'SG',
  'TH',
  '9',
  '0',
  '.',
  ',',
  'B',
  'D',
  'G',
  'L',
  'S',
  'V',
] as const;

function bad(message: string, hint?: string): DbError {
  return new DbError('42601', message, { hint });
}

function templateOf(text: string): Template {
  const nodes: NumberNode[] = [];
  const t = {
    before: 0,
    after: 0,
    zeroStart: undefined as number | undefined,
    zeroEnd: 0,
    hasPoint: false,
    fillMode: false,
    shift: undefined as number | undefined,
    scientific: false,
    roman: undefined as 'RN' | 'rn' | undefined,
    minus: false,
    plus: false,
    brackets: false,
    sign: undefined as 'before' | 'behind' | undefined,
    placesBeforeSign: 0,
  };
  for (let at = 0; at < text.length;) {
    const quoted = /^"((?:[^"\\]|\\[\s\S])*)"?/.exec(text.slice(at));
    if (quoted !== null) {
      nodes.push({ kind: 'text', text: quoted[1]!.replaceAll(/\\([\s\S])/g, '$1') });
      at += quoted[0].length;
      continue;
    }
    if (text.startsWith('\\"', at)) {
      nodes.push({ kind: 'text', text: '"' });
      at += 2;
      continue;
    }
    const upper = text.slice(at, at + 4).toUpperCase();
    const keyword = KEYWORDS.find((each) => upper.startsWith(each));
    if (keyword === undefined) {
      const literal = String.fromCodePoint(text.codePointAt(at)!);
      nodes.push({ kind: 'text', text: literal });
      at += literal.length;
      continue;
    }
    const written = text.slice(at, at + keyword.length);
    at += keyword.length;
    if (t.scientific && keyword !== 'EEEE') throw bad('"EEEE" must be the last pattern used');
    switch (keyword) {
      case '9':
        if (t.brackets) throw bad('"9" must be ahead of "PR"');
        if (t.shift !== undefined) t.shift += 1;
        else if (t.hasPoint) t.after += 1;
        else t.before += 1;
        nodes.push({ kind: '9' });
        break;
      case '0':
        if (t.brackets) throw bad('"0" must be ahead of "PR"');
        if (t.zeroStart === undefined && !t.hasPoint) t.zeroStart = t.before;
        if (t.hasPoint) t.after += 1;
        else t.before += 1;
        t.zeroEnd = t.before + t.after;
        nodes.push({ kind: '0' });
        break;
      case 'D':
      case '.':
        if (t.hasPoint) throw bad('multiple decimal points');
        if (t.shift !== undefined) throw bad('cannot use "V" and decimal point together');
        t.hasPoint = true;
        nodes.push({ kind: '.' });
        break;
      case 'G':
      case ',':
        nodes.push({ kind: ',' });
        break;
      case 'FM':
        t.fillMode = true;
        break;
      case 'S':
        if (t.sign !== undefined) throw bad('cannot use "S" twice');
        if (t.plus || t.minus || t.brackets)
          throw bad('cannot use "S" and "PL"/"MI"/"SG"/"PR" together');
        t.sign = t.hasPoint ? 'behind' : 'before';
        t.placesBeforeSign = t.before;
        nodes.push({ kind: 'S' });
        break;
      case 'MI':
      case 'PL':
      case 'SG':
        if (t.sign !== undefined) throw bad(`cannot use "S" and "${keyword}" together`);
        if (keyword !== 'PL') t.minus = true;
        if (keyword !== 'MI') t.plus = true;
        nodes.push({ kind: keyword });
        break;
      case 'PR':
        if (t.sign !== undefined || t.plus || t.minus)
          throw bad('cannot use "PR" and "S"/"PL"/"MI"/"SG" together');
        t.brackets = true;
        break;
      case 'RN':
        t.roman = written === 'rn' ? 'rn' : 'RN';
        nodes.push({ kind: 'RN' });
        break;
      case 'TH':
        nodes.push({ kind: written === 'th' ? 'th' : 'TH' });
        break;
      case 'L':
        nodes.push({ kind: 'L' });
        break;
      case 'V':
        if (t.hasPoint) throw bad('cannot use "V" and decimal point together');
        t.shift = 0;
        break;
      case 'EEEE':
        if (t.scientific) throw bad('cannot use "EEEE" twice');
        if (
          t.fillMode ||
          t.sign !== undefined ||
          t.brackets ||
          t.minus ||
          t.plus ||
          t.roman ||
          t.shift !== undefined
        )
          throw bad(
            '"EEEE" is incompatible with other formats',
            '"EEEE" may only be used together with digit and decimal point patterns.',
          );
        t.scientific = true;
        break;
      case 'B':
        break;
    }
  }
  // An S behind all places before the point, without a point, stands behind the number.
  const sign = t.sign === 'before' && t.before === t.placesBeforeSign ? 'behind' : t.sign;
  return { ...t, sign, nodes };
}

// ── Writing ────────────────────────────────────────────────────────────────────────────────────────────────────

/** `significant`: so many digits of a float are told. */
export function formatNumber(value: Decimal | number, text: string, significant = 15): string {
  const template = templateOf(text);
  if (template.roman !== undefined) return romanText(value, template);
  if (template.scientific) return scientificText(value, template, significant);
  const { digits, after } = digitsOf(value, template, significant);
  const negative = digits.startsWith('-');
  const plain = negative ? digits.slice(1) : digits;
  const before = template.before + (template.shift ?? 0);
  const point = plain.indexOf('.');
  const length = point < 0 ? plain.length : point;
  const fits = length <= before;
  return new Writer(
    { ...template, before, after },
    negative,
    fits ? plain : `${'#'.repeat(before)}.${'#'.repeat(after)}`,
    fits ? before - length : 0,
  ).write();
}

/** As the type prints it with the template's places; the places may be fewer for a float. */
function digitsOf(
  value: Decimal | number,
  template: Template,
  significant: number,
): { readonly digits: string; readonly after: number } {
  const { after, shift = 0 } = template;
  if (typeof value !== 'number') {
    if (value.special !== undefined) return { digits: value.special, after };
    const shifted = new Decimal(value.coefficient * powerOfTen(shift), value.scale);
    return { digits: round(shifted, after).toString(), after };
  }
  const shifted = value * 10 ** shift;
  const isFinite = Number.isFinite(shifted);
  const length = isFinite
    ? fixedText(Math.abs(shifted), 0).length
    : String(Math.abs(shifted)).length;
  const places = Math.max(0, Math.min(after, significant - length));
  if (!isFinite) return { digits: String(shifted), after: places };
  return { digits: fixedText(shifted, places), after: places };
}

/** C's %.nf: what lies in the middle becomes even, and nought keeps its sign. */
function fixedText(value: number, places: number): string {
  if (Object.is(value, -0)) return `-${value.toFixed(places)}`;
  if (Math.abs(value) < 1e21 && Number.isInteger(value * 2 ** (places + 1))) {
    const longer = value.toFixed(places + 1);
    if (/[02468]\.?5$/.test(longer)) return longer.replace(/\.?5$/, '');
  }
  return Math.abs(value) < 1e21
    ? value.toFixed(places)
    : BigInt(value).toString() + (places > 0 ? `.${'0'.repeat(places)}` : '');
}

/** C's %.ne, likewise. */
function exponentialText(value: number, places: number): string {
  const [digits = '', exponent = ''] = value.toExponential(EXACT_PLACES).split('e');
  const end = digits.indexOf('.') + 1 + places;
  const kept = digits.slice(0, end).replace(/\.$/, '');
  const isMiddle = /^50*$/.test(digits.slice(end)) && /[02468]$/.test(kept);
  return isMiddle ? `${kept}e${exponent}` : value.toExponential(places);
}

/** As many as there can be: a number in the middle has fewer. */
const EXACT_PLACES = 100;

class Writer {
  readonly #template: Template;
  readonly #negative: boolean;
  readonly #number: string;
  /** Places before the number's first digit. */
  readonly #lead: number;
  readonly #brackets: boolean;
  /** Behind it only zeros follow, which FM leaves away. */
  readonly #lastRelevant: number | undefined;
  #numberAt = 0;
  #place = 0;
  #signWritten: boolean;
  #isInNumber = false;
  #out = '';

  constructor(template: Template, negative: boolean, number: string, lead: number) {
    this.#template = template;
    this.#negative = negative;
    this.#number = number;
    this.#lead = lead;
    const { plus, minus, fillMode, sign } = template;
    this.#brackets = template.brackets && !(fillMode && !negative);
    this.#signWritten =
      plus || minus ? minus || !plus : !negative && fillMode && sign === undefined;
    if (fillMode && template.hasPoint) {
      const point = number.indexOf('.');
      if (point >= 0) {
        let last = point;
        for (let at = point + 1; at < number.length; at += 1) if (number[at] !== '0') last = at;
        this.#lastRelevant =
          template.zeroEnd > lead
            ? Math.max(last, Math.min(number.length - 1, template.zeroEnd - lead))
            : last;
      }
    }
  }

  write(): string {
    const { nodes, fillMode, hasPoint } = this.#template;
    for (const node of nodes) {
      switch (node.kind) {
        case '9':
        case '0':
        case '.':
          this.#digit(node.kind);
          // PostgreSQL's string ends where the number has no more characters to give.
          if (this.#ended) return this.#out;
          break;
        case ',':
          if (this.#isInNumber) this.#out += ',';
          else if (!fillMode) this.#out += ' ';
          break;
        case 'L':
          this.#out += ' ';
          break;
        case 'TH':
        case 'th': {
          if (this.#number.startsWith('#') || this.#negative || hasPoint) break;
          const ending = ordinalEnding(this.#number);
          this.#out += node.kind === 'TH' ? ending.toUpperCase() : ending;
          break;
        }
        case 'MI':
          if (this.#negative) this.#out += '-';
          else if (!fillMode) this.#out += ' ';
          break;
        case 'PL':
          if (!this.#negative) this.#out += '+';
          else if (!fillMode) this.#out += ' ';
          break;
        case 'SG':
          this.#out += this.#negative ? '-' : '+';
          break;
        case 'text':
          this.#out += node.text;
          break;
        default:
      }
    }
    return this.#out;
  }

  #ended = false;

  get #lastIsPoint(): boolean {
    return this.#lastRelevant !== undefined && this.#number[this.#lastRelevant] === '.';
  }

  /** '0.1' in 9.9 begins with a blank instead of the 0. */
  get #isZeroBeforePoint(): boolean {
    return (
      this.#template.zeroStart === undefined &&
      this.#numberAt === 0 &&
      this.#number.startsWith('0') &&
      this.#template.after !== 0
    );
  }

  #digit(kind: '9' | '0' | '.'): void {
    const { fillMode, sign, zeroStart, hasPoint } = this.#template;
    const place = this.#place;
    const isZeroFill = zeroStart !== undefined && zeroStart <= place && place < this.#lead;
    this.#isInNumber = false;
    if (
      !this.#signWritten &&
      (place >= this.#lead || zeroStart === place) &&
      (!this.#isZeroBeforePoint || this.#lastIsPoint)
    )
      this.#sign();
    if (place < this.#lead && !isZeroFill) {
      if (!fillMode) this.#out += ' ';
    } else if (isZeroFill) {
      this.#out += '0';
      this.#isInNumber = true;
    } else {
      const character = this.#number[this.#numberAt];
      if (character === '.') this.#out += '.';
      else if (
        this.#lastRelevant !== undefined &&
        this.#numberAt > this.#lastRelevant &&
        kind !== '0'
      ) {
        // Left away.
      } else if (this.#isZeroBeforePoint) {
        if (!fillMode) this.#out += ' ';
        else if (this.#lastIsPoint) this.#out += '0';
      } else if (character === undefined) {
        this.#ended = true;
        return;
      } else {
        this.#out += character;
        this.#isInNumber = true;
      }
      if (character !== undefined) this.#numberAt += 1;
    }
    let end =
      this.#template.before +
      this.#template.after -
      1 +
      (this.#needsSignPlace && this.#lead === 0 ? 1 : 0) +
      (this.#lead === 0 ? 0 : 1) +
      (hasPoint ? 1 : 0);
    if (this.#lastRelevant !== undefined && this.#lastRelevant === this.#numberAt) end = place;
    if (place + 1 === end) {
      if (this.#signWritten && this.#brackets) this.#out += this.#negative ? '>' : ' ';
      else if (sign === 'behind') this.#out += this.#negative ? '-' : '+';
    }
    this.#place += 1;
  }

  /** Whether a sign was still to be written when the walk began. */
  get #needsSignPlace(): boolean {
    const { plus, minus, fillMode, sign } = this.#template;
    return !(plus || minus ? minus || !plus : !this.#negative && fillMode && sign === undefined);
  }

  #sign(): void {
    const { sign, fillMode } = this.#template;
    if (sign !== undefined) {
      if (sign === 'behind') return;
      this.#out += this.#negative ? '-' : '+';
    } else if (this.#brackets) this.#out += this.#negative ? '<' : ' ';
    else if (this.#negative) this.#out += '-';
    else if (!fillMode) this.#out += ' ';
    this.#signWritten = true;
  }
}

function ordinalEnding(digits: string): string {
  const last = digits.at(-1) ?? '0';
  if (digits.at(-2) === '1' || !'123'.includes(last)) return 'th';
  return last === '1' ? 'st' : last === '2' ? 'nd' : 'rd';
}

function scientificText(value: Decimal | number, template: Template, significant: number): string {
  const pad = (text: string): string => (text.startsWith('-') ? text : ` ${text}`);
  if (typeof value === 'number' ? !Number.isFinite(value) : value.special !== undefined)
    return ` ${'#'.repeat(template.before)}.${'#'.repeat(template.after + 4)}`;
  if (typeof value === 'number') {
    const places = Math.min(template.after, significant - 1);
    const [mantissa = '', exponent = ''] = exponentialText(value, places).split('e');
    const sign = Object.is(value, -0) ? '-' : '';
    return pad(`${sign}${mantissa}e${exponentText(Number(exponent))}`);
  }
  if (value.coefficient === 0n)
    return pad(`0${template.after > 0 ? `.${'0'.repeat(template.after)}` : ''}e+00`);
  let exponent = decimalExponent(value);
  const shift = template.after - exponent - value.scale;
  const magnitude = absoluteOf(value.coefficient);
  let digits =
    shift >= 0 ? magnitude * powerOfTen(shift) : divideRounded(magnitude, powerOfTen(-shift));
  if (digits.toString().length > template.after + 1) {
    digits /= 10n;
    exponent += 1;
  }
  const text = digits.toString();
  const decimals = template.after > 0 ? `.${text.slice(1)}` : '';
  return pad(`${value.coefficient < 0n ? '-' : ''}${text[0]}${decimals}e${exponentText(exponent)}`);
}

function exponentText(exponent: number): string {
  return `${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`;
}

function romanText(value: Decimal | number, template: Template): string {
  const number =
    typeof value === 'number'
      ? Number(fixedText(value, 0))
      : value.special === undefined
        ? Number(round(value, 0).coefficient)
        : 0;
  let out = '';
  if (number < 1 || number > 3999) out = '#'.repeat(15);
  else {
    let left = number;
    for (const [size, letters] of ROMAN)
      while (left >= size) {
        out += letters;
        left -= size;
      }
  }
  if (template.roman === 'rn') out = out.toLowerCase();
  return template.fillMode ? out : out.padStart(15);
}

const ROMAN: readonly (readonly [number, string])[] = [
  [1000, 'M'],
  [900, 'CM'],
  [500, 'D'],
  [400, 'CD'],
  [100, 'C'],
  [90, 'XC'],
  [50, 'L'],
  [40, 'XL'],
  [10, 'X'],
  [9, 'IX'],
  [5, 'V'],
  [4, 'IV'],
  [1, 'I'],
];

// ── Reading ────────────────────────────────────────────────────────────────────────────────────────────────────

const TEN = decimalOf(10);

export function readNumber(text: string, template: string): Decimal {
  return new NumberReader(text, templateOf(template)).read();
}

class NumberReader {
  readonly #text: string;
  readonly #template: Template;
  #at = 0;
  #sign = '';
  #number = '';
  #digitsBefore = 0;
  #digitsAfter = 0;
  #sawPoint = false;

  constructor(text: string, template: Template) {
    this.#text = text;
    this.#template = template;
  }

  read(): Decimal {
    const { nodes, scientific, fillMode, shift } = this.#template;
    if (scientific)
      throw new DbError('0A000', '"EEEE" not supported for input', {
        hint: 'Cast the text: text::numeric takes exponents.',
      });
    for (const node of nodes) {
      if (this.#at >= this.#text.length) break;
      switch (node.kind) {
        case '9':
        case '0':
        case '.':
          this.#digit(node.kind);
          this.#at += 1;
          break;
        case ',':
          if (!fillMode && this.#text[this.#at] === ',') this.#at += 1;
          break;
        case 'L':
          this.#skipOther(1);
          break;
        case 'MI':
        case 'PL':
        case 'SG':
          this.#signOr(node.kind);
          break;
        case 'TH':
        case 'th':
          this.#skipOther(2);
          break;
        case 'text':
          for (const _ of node.text)
            this.#at += (this.#text.codePointAt(this.#at) ?? 0) > 0xffff ? 2 : 1;
          break;
        default:
      }
    }
    const value = decimalFromText(this.#sign + this.#number.replace(/\.$/, ''));
    // PostgreSQL multiplies, and shows the zeros that the power of ten comes with.
    return shift === undefined ? value : multiply(value, power(TEN, decimalOf(-shift)));
  }

  #signOr(kind: 'MI' | 'PL' | 'SG'): void {
    const next = this.#text[this.#at];
    if ((next === '-' && kind !== 'PL') || (next === '+' && kind !== 'MI')) {
      this.#sign = next;
      this.#at += 1;
    } else this.#skipOther(1);
  }

  /** Characters that are no part of a number. */
  #skipOther(count: number): void {
    for (let left = count; left > 0 && this.#at < this.#text.length; left -= 1) {
      if ('0123456789.,+-'.includes(this.#text[this.#at]!)) return;
      this.#at += this.#text.codePointAt(this.#at)! > 0xffff ? 2 : 1;
    }
  }

  #digit(kind: '9' | '0' | '.'): void {
    const { sign, brackets, hasPoint, after, plus, minus } = this.#template;
    const text = this.#text;
    if (text[this.#at] === ' ') this.#at += 1;
    if (this.#at >= text.length) return;
    const digitCount = (): number => this.#digitsBefore + this.#digitsAfter;
    if (this.#sign === '' && kind !== '.' && digitCount() === 0) {
      const next = text[this.#at];
      if (next === '-' || (sign === undefined && brackets && next === '<')) this.#sign = '-';
      else if (next === '+') this.#sign = '+';
      if (this.#sign !== '') this.#at += 1;
    }
    if (this.#at >= text.length) return;
    let isRead = false;
    const character = text[this.#at]!;
    if (/\d/.test(character)) {
      if (this.#sawPoint && this.#digitsAfter === after) return;
      this.#number += character;
      if (this.#sawPoint) this.#digitsAfter += 1;
      else this.#digitsBefore += 1;
      isRead = true;
    } else if (hasPoint && !this.#sawPoint && character === '.') {
      this.#number += '.';
      this.#sawPoint = true;
      isRead = true;
    }
    if (this.#sign !== '' || digitCount() === 0) return;
    // Where the sign behind a number stands is not told by the template: it is looked for.
    if (sign !== undefined && isRead) {
      const next = text[this.#at + 1];
      if (next === '-' || next === '+') {
        this.#sign = next;
        this.#at += 1;
      }
    } else if (!isRead && sign === undefined && (plus || minus)) {
      if (character === '-' || character === '+') this.#sign = character;
    }
  }
}
