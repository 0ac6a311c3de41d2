import { DbError, notSupported } from '../../base/errors.ts';

/**
 * PostgreSQL's advanced regular expressions as a tree (documentation, 9.7.3). Characters are code points. What the text of
 * a pattern may not be is 2201B with PostgreSQL's words.
 */
export type RegexNode =
  | { readonly kind: 'empty' }
  | { readonly kind: 'set'; readonly set: CharacterSet }
  | { readonly kind: 'sequence'; readonly parts: readonly RegexNode[] }
  | { readonly kind: 'choice'; readonly branches: readonly RegexNode[] }
  | {
      readonly kind: 'repeat';
      readonly part: RegexNode;
      readonly least: number;
      readonly most: number;
      readonly greedy: boolean;
      /** {m}, which takes its part's preference; {m,n} has its own, {1,1} too. */
      readonly fixed: boolean;
    }
  | { readonly kind: 'group'; readonly index: number; readonly part: RegexNode }
  | { readonly kind: 'reference'; readonly index: number }
  | { readonly kind: 'place'; readonly place: PlaceTest }
  | {
      readonly kind: 'look';
      readonly part: RegexNode;
      readonly behind: boolean;
      readonly negated: boolean;
    };

export type PlaceTest =
  | 'textStart'
  | 'textEnd'
  | 'lineStart'
  | 'lineEnd'
  | 'wordStart'
  | 'wordEnd'
  | 'wordEdge'
  | 'notWordEdge';

/** Code points in `ranges` (pairs of first and last) or in one of `classes`; negated: all others. */
export type CharacterSet = {
  readonly ranges: readonly number[];
  readonly classes: readonly CharacterClass[];
  readonly negated: boolean;
  /** A character is in it when it, its upper or its lower case is. */
  readonly foldsCase: boolean;
};

/** Letters beyond ASCII are told by Unicode's properties, as upper() and lower() do. */
export type CharacterClass = { readonly test: RegExp; readonly negated: boolean };

export type RegexSyntax = {
  readonly root: RegexNode;
  readonly groupCount: number;
  readonly hasReferences: boolean;
};

export type RegexFlags = {
  readonly ignoresCase: boolean;
  /** `.` and sets of all others stop at a newline. */
  readonly newlineStops: boolean;
  /** ^ and $ stand at newlines too. */
  readonly newlineAnchors: boolean;
  readonly expanded: boolean;
  readonly literal: boolean;
};

const NO_FLAGS: RegexFlags = {
  ignoresCase: false,
  newlineStops: false,
  newlineAnchors: false,
  expanded: false,
  literal: false,
};

/** The letters of a flags argument or of `(?…)`; `g` is the caller's. */
export function flagsOf(letters: string, base: RegexFlags = NO_FLAGS): RegexFlags {
  let flags = base;
  for (const letter of letters) {
    switch (letter) {
      case 'i':
        flags = { ...flags, ignoresCase: true };
        break;
      case 'c':
        flags = { ...flags, ignoresCase: false };
        break;
      case 'n':
      case 'm':
        flags = { ...flags, newlineStops: true, newlineAnchors: true };
        break;
      case 's':
        flags = { ...flags, newlineStops: false, newlineAnchors: false };
        break;
      case 'p':
        flags = { ...flags, newlineStops: true, newlineAnchors: false };
        break;
      case 'w':
        flags = { ...flags, newlineStops: false, newlineAnchors: true };
        break;
      case 'x':
        flags = { ...flags, expanded: true };
        break;
      case 't':
        flags = { ...flags, expanded: false };
        break;
      case 'q':
        flags = { ...flags, literal: true };
        break;
      case 'e':
        break;
      case 'b':
        throw notSupported('a basic regular expression (flag b)', 'Write an advanced one.');
      default:
        throw new DbError('22023', `invalid regular expression option: "${letter}"`, {
          hint: 'Options are c, e, g, i, m, n, p, q, s, t, w and x.',
        });
    }
  }
  return flags;
}

export function parseRegex(pattern: string, flags: RegexFlags): RegexSyntax {
  return new Parser(pattern, flags).parse();
}

/** PostgreSQL's DUPMAX. */
const REPEAT_MAX = 255;
const DEPTH_MAX = 200;
const NEWLINE = 10;

function invalid(why: string): DbError {
  return new DbError('2201B', `invalid regular expression: ${why}`);
}

const CODE_POINT_MAX = 0x10_ffff;
const CLASSES: Readonly<Record<string, RegExp>> = {
  alpha: /\p{L}/u,
  alnum: /[\p{L}\p{Nd}]/u,
  word: /[\p{L}\p{Nd}_]/u,
  upper: /\p{Lu}/u,
  lower: /\p{Ll}/u,
  digit: /[0-9]/u,
  xdigit: /[0-9A-Fa-f]/u,
  space: /\s/u,
  blank: /[ \t]/u,
  cntrl: /\p{Cc}/u,
  punct: /[!-/:-@[-`{-~]/u,
  graph: /[^\s\p{C}]/u,
  print: /[^\p{C}]/u,
  ascii: /\p{ASCII}/u,
};

class Parser {
  readonly #all: readonly number[];
  #flags: RegexFlags;
  #at = 0;
  #depth = 0;
  #groupCount = 0;
  readonly #closed = new Set<number>();
  #hasReferences = false;
  /** Inside (?=…) and its kin parentheses do not capture, and \1 is not allowed. */
  #looking = 0;

  constructor(pattern: string, flags: RegexFlags) {
    this.#all = Array.from(pattern, (character) => character.codePointAt(0)!);
    this.#flags = flags;
  }

  parse(): RegexSyntax {
    this.#readDirector();
    let root: RegexNode;
    if (this.#flags.literal) {
      const rest = this.#all.slice(this.#at);
      root = { kind: 'sequence', parts: rest.map((code) => this.#single(code)) };
    } else {
      root = this.#choice();
      if (this.#at < this.#all.length) throw invalid('parentheses () not balanced');
    }
    return { root, groupCount: this.#groupCount, hasReferences: this.#hasReferences };
  }

  /** `***:` and `***=`, and options such as `(?i)`, both at the very beginning only. */
  #readDirector(): void {
    if (this.#flags.literal) return;
    if (this.#text(4) === '***=') {
      this.#at = 4;
      this.#flags = { ...this.#flags, literal: true };
      return;
    }
    if (this.#text(4) === '***:') this.#at = 4;
    else if (this.#text(3) === '***') throw invalid('quantifier operand invalid');
    if (this.#text(2) !== '(?') return;
    let end = this.#at + 2;
    while (this.#isLetter(this.#all[end])) end += 1;
    if (end === this.#at + 2 || this.#all[end] !== 0x29) return;
    const letters = String.fromCodePoint(...this.#all.slice(this.#at + 2, end));
    this.#flags = flagsOf(letters, this.#flags);
    this.#at = end + 1;
  }

  #isLetter(code: number | undefined): boolean {
    return code !== undefined && code >= 97 && code <= 122;
  }

  #text(length: number): string {
    return String.fromCodePoint(...this.#all.slice(this.#at, this.#at + length));
  }

  #peek(): string {
    const code = this.#all[this.#at];
    return code === undefined ? '' : String.fromCodePoint(code);
  }

  #choice(): RegexNode {
    this.#depth += 1;
    if (this.#depth > DEPTH_MAX) throw tooComplex();
    const branches = [this.#sequence()];
    while (this.#peek() === '|') {
      this.#at += 1;
      branches.push(this.#sequence());
    }
    this.#depth -= 1;
    return branches.length === 1 ? branches[0]! : { kind: 'choice', branches };
  }

  #sequence(): RegexNode {
    const parts: RegexNode[] = [];
    for (;;) {
      this.#skipComments();
      const next = this.#peek();
      if (next === '' || next === '|' || next === ')') break;
      parts.push(this.#quantified());
    }
    return parts.length === 0
      ? { kind: 'empty' }
      : parts.length === 1
        ? parts[0]!
        : { kind: 'sequence', parts };
  }

  #skipComments(): void {
    for (;;) {
      if (this.#text(3) === '(?#') {
        while (this.#peek() !== '' && this.#peek() !== ')') this.#at += 1;
        if (this.#peek() === '') throw invalid('parentheses () not balanced');
        this.#at += 1;
      } else if (this.#flags.expanded && /\s/.test(this.#peek())) this.#at += 1;
      else if (this.#flags.expanded && this.#peek() === '#')
        while (this.#peek() !== '' && this.#peek() !== '\n') this.#at += 1;
      else return;
    }
  }

  #quantified(): RegexNode {
    const part = this.#atom();
    this.#skipComments();
    const bounds = this.#bounds();
    if (bounds === undefined) return part;
    if (part.kind === 'place' || part.kind === 'look') {
      // PostgreSQL allows it after a parenthesis only.
      throw invalid('quantifier operand invalid');
    }
    const greedy = this.#peek() !== '?';
    if (!greedy) this.#at += 1;
    this.#skipComments();
    if (this.#isQuantifier()) throw invalid('quantifier operand invalid');
    return { kind: 'repeat', part, ...bounds, greedy };
  }

  #isQuantifier(): boolean {
    const next = this.#peek();
    return next === '*' || next === '+' || next === '?' || (next === '{' && this.#digitFollows());
  }

  #digitFollows(): boolean {
    const next = this.#all[this.#at + 1];
    return next !== undefined && next >= 48 && next <= 57;
  }

  #bounds():
    | { readonly least: number; readonly most: number; readonly fixed: boolean }
    | undefined {
    switch (this.#peek()) {
      case '*':
        this.#at += 1;
        return { least: 0, most: Infinity, fixed: false };
      case '+':
        this.#at += 1;
        return { least: 1, most: Infinity, fixed: false };
      case '?':
        this.#at += 1;
        return { least: 0, most: 1, fixed: false };
      case '{': {
        if (!this.#digitFollows()) return undefined;
        this.#at += 1;
        const least = this.#number();
        let most = least;
        const fixed = this.#peek() !== ',';
        if (this.#peek() === ',') {
          this.#at += 1;
          most = this.#peek() === '}' ? Infinity : this.#number();
        }
        if (this.#peek() !== '}') throw invalid('invalid repetition count(s)');
        this.#at += 1;
        if (least > most) throw invalid('invalid repetition count(s)');
        return { least, most, fixed };
      }
      default:
        return undefined;
    }
  }

  #number(): number {
    let text = '';
    while (/\d/.test(this.#peek())) {
      text += this.#peek();
      this.#at += 1;
    }
    const value = Number(text);
    if (text === '' || value > REPEAT_MAX) throw invalid('invalid repetition count(s)');
    return value;
  }

  #atom(): RegexNode {
    const character = this.#peek();
    this.#at += 1;
    switch (character) {
      case '(':
        return this.#parenthesis();
      case '[':
        return this.#brackets();
      case '.':
        return this.#set({
          ranges: this.#flags.newlineStops ? [NEWLINE, NEWLINE] : [],
          classes: [],
          negated: true,
        });
      case '^':
        return { kind: 'place', place: this.#flags.newlineAnchors ? 'lineStart' : 'textStart' };
      case '$':
        return { kind: 'place', place: this.#flags.newlineAnchors ? 'lineEnd' : 'textEnd' };
      case '\\':
        return this.#escape();
      case '*':
      case '+':
      case '?':
        throw invalid('quantifier operand invalid');
      case '{':
        if (/\d/.test(this.#peek())) throw invalid('quantifier operand invalid');
        return this.#single(0x7b);
      default:
        return this.#single(character.codePointAt(0)!);
    }
  }

  #single(code: number): RegexNode {
    return this.#set({ ranges: [code, code], classes: [], negated: false });
  }

  #set(set: Omit<CharacterSet, 'foldsCase'>): RegexNode {
    return { kind: 'set', set: { ...set, foldsCase: this.#flags.ignoresCase } };
  }

  #parenthesis(): RegexNode {
    let wrap: (part: RegexNode) => RegexNode;
    let looks = false;
    if (this.#peek() !== '?' && this.#looking === 0) {
      this.#groupCount += 1;
      const index = this.#groupCount;
      wrap = (part) => {
        this.#closed.add(index);
        return { kind: 'group', index, part };
      };
    } else if (this.#peek() !== '?' || this.#text(2) === '?:') {
      if (this.#peek() === '?') this.#at += 2;
      // A sequence of one keeps a quantifier after `(?:^)` apart from one after `^`.
      wrap = (part) => ({ kind: 'sequence', parts: [part] });
    } else {
      const look = /^\?(<?)([=!])/.exec(this.#text(3));
      if (look === null) throw invalid('quantifier operand invalid');
      this.#at += look[0].length;
      const [, behind, sign] = look;
      looks = true;
      wrap = (part) => ({ kind: 'look', part, behind: behind === '<', negated: sign === '!' });
    }
    if (looks) this.#looking += 1;
    const part = this.#choice();
    if (looks) this.#looking -= 1;
    if (this.#peek() !== ')') throw invalid('parentheses () not balanced');
    this.#at += 1;
    return wrap(part);
  }

  // ── Escapes ────────────────────────────────────────────────────────────────────────────────────────────────────

  #escape(): RegexNode {
    const character = this.#peek();
    if (character === '') throw invalid('invalid escape \\ sequence');
    const place = PLACES[character];
    if (place !== undefined) {
      this.#at += 1;
      return { kind: 'place', place };
    }
    const named = CLASS_ESCAPES[character];
    if (named !== undefined) {
      this.#at += 1;
      return this.#set({
        ranges: named.negated && this.#flags.newlineStops ? [NEWLINE, NEWLINE] : [],
        classes: [{ test: this.#classNamed(named.name), negated: false }],
        negated: named.negated,
      });
    }
    if (/[1-9]/.test(character)) {
      const digits = /^\d+/.exec(this.#text(3))![0];
      const index = Number(digits);
      if (digits.length === 1 || index <= this.#groupCount) {
        this.#at += digits.length;
        if (!this.#closed.has(index) || this.#looking > 0)
          throw invalid('invalid backreference number');
        this.#hasReferences = true;
        return { kind: 'reference', index };
      }
    }
    return this.#single(this.#escapedCharacter());
  }

  /** After the backslash, inside brackets or not. */
  #escapedCharacter(): number {
    const character = this.#peek();
    this.#at += 1;
    const simple = SIMPLE_ESCAPES[character];
    if (simple !== undefined) return simple;
    switch (character) {
      case 'c': {
        const control = this.#all[this.#at];
        if (control === undefined) throw invalid('invalid escape \\ sequence');
        this.#at += 1;
        return control & 0x1f;
      }
      case 'u':
        return this.#hex(4, 4);
      case 'U':
        return this.#hex(8, 8);
      case 'x':
        return this.#hex(1, 255);
      default:
    }
    if (/[0-7]/.test(character)) {
      let digits = character;
      while (digits.length < 3 && /[0-7]/.test(this.#peek())) {
        digits += this.#peek();
        this.#at += 1;
      }
      return Number.parseInt(digits, 8);
    }
    if (character === '' || /[a-zA-Z0-9]/.test(character))
      throw invalid('invalid escape \\ sequence');
    return character.codePointAt(0)!;
  }

  #hex(least: number, most: number): number {
    let digits = '';
    while (digits.length < most && /[0-9a-fA-F]/.test(this.#peek())) {
      digits += this.#peek();
      this.#at += 1;
    }
    const code = Number.parseInt(digits, 16);
    if (digits.length < least || !(code <= CODE_POINT_MAX))
      throw invalid('invalid escape \\ sequence');
    return code;
  }

  #classNamed(name: string): RegExp {
    // Where case is ignored, upper and lower are both letters.
    const wanted =
      this.#flags.ignoresCase && (name === 'upper' || name === 'lower') ? 'alpha' : name;
    const test = Object.hasOwn(CLASSES, wanted) ? CLASSES[wanted] : undefined;
    if (test === undefined) throw invalid('invalid character class');
    return test;
  }

  // ── Brackets ───────────────────────────────────────────────────────────────────────────────────────────────────

  #brackets(): RegexNode {
    if (this.#text(6) === '[:<:]]') {
      this.#at += 6;
      return { kind: 'place', place: 'wordStart' };
    }
    if (this.#text(6) === '[:>:]]') {
      this.#at += 6;
      return { kind: 'place', place: 'wordEnd' };
    }
    const negated = this.#peek() === '^';
    if (negated) this.#at += 1;
    const ranges: number[] = [];
    const classes: CharacterClass[] = [];
    for (let first = true; ; first = false) {
      const next = this.#peek();
      if (next === '') throw invalid('brackets [] not balanced');
      if (next === ']' && !first) break;
      const item = this.#bracketItem();
      if (typeof item !== 'number') {
        classes.push(item);
        continue;
      }
      if (this.#peek() !== '-' || this.#all[this.#at + 1] === 0x5d) {
        ranges.push(item, item);
        continue;
      }
      this.#at += 1;
      const last = this.#bracketItem();
      if (typeof last !== 'number' || last < item) throw invalid('invalid character range');
      ranges.push(item, last);
    }
    this.#at += 1;
    if (negated && this.#flags.newlineStops) ranges.push(NEWLINE, NEWLINE);
    return this.#set({ ranges, classes, negated });
  }

  /** One character, or a class. */
  #bracketItem(): number | CharacterClass {
    const start = this.#text(2);
    if (start === '[:' || start === '[.' || start === '[=') {
      const close = `${start[1]}]`;
      this.#at += 2;
      let name = '';
      while (this.#peek() !== '' && this.#text(2) !== close) {
        name += this.#peek();
        this.#at += 1;
      }
      if (this.#peek() === '') throw invalid('brackets [] not balanced');
      this.#at += 2;
      if (start === '[:') return { test: this.#classNamed(name), negated: false };
      if (Array.from(name).length !== 1) throw invalid('invalid collating element');
      return name.codePointAt(0)!;
    }
    const code = this.#all[this.#at]!;
    this.#at += 1;
    if (code !== 0x5c) return code;
    const named = CLASS_ESCAPES[this.#peek()];
    if (named !== undefined) {
      this.#at += 1;
      return { test: this.#classNamed(named.name), negated: named.negated };
    }
    return this.#escapedCharacter();
  }
}

const PLACES: Readonly<Record<string, PlaceTest>> = {
  A: 'textStart',
  Z: 'textEnd',
  m: 'wordStart',
  M: 'wordEnd',
  y: 'wordEdge',
  Y: 'notWordEdge',
};
const CLASS_ESCAPES: Readonly<
  Record<string, { readonly name: string; readonly negated: boolean }>
> = {
  d: { name: 'digit', negated: false },
  D: { name: 'digit', negated: true },
  s: { name: 'space', negated: false },
  S: { name: 'space', negated: true },
  w: { name: 'word', negated: false },
  W: { name: 'word', negated: true },
};
const SIMPLE_ESCAPES: Readonly<Record<string, number>> = {
  a: 7,
  b: 8,
  B: 0x5c,
  e: 27,
  f: 12,
  n: 10,
  r: 13,
  t: 9,
  v: 11,
};

export function tooComplex(): DbError {
  return new DbError('54001', 'regular expression is too complex', {
    hint: 'Use smaller repetition counts, and no reference to a group (\\1) over long texts.',
  });
}
