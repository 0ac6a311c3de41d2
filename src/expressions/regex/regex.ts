import { DbError } from '../../base/errors.ts';
import { isGreedy, programOf, type Instruction, type Program } from './program.ts';
import { parseRegex, tooComplex, type PlaceTest, type RegexFlags } from './syntax.ts';

/**
 * A compiled regular expression. Time is linear in the text: an automaton is followed, nothing is tried twice; only patterns
 * with references to groups (\1) try alternatives, and looking around, (?=…) and (?<=…), begins anew at each place. Where it matches is found
 * under a bound for each text (54000), since it is one step of a query however long it takes.
 *
 * 1. The leftmost match wins; among those, the longest or the shortest, as the pattern prefers.
 * 2. Groups are then told within that match, earlier ones first.
 * 3. Places are offsets in UTF-16; a surrogate pair is one character.
 */
export class Regex {
  readonly groupCount: number;
  readonly #program: Program;
  readonly #greedy: boolean;
  readonly #hasReferences: boolean;
  readonly #states = new Map<string, State>();
  #stateCount = 0;

  constructor(pattern: string, flags: RegexFlags) {
    const { root, groupCount, hasReferences } = parseRegex(pattern, flags);
    this.groupCount = groupCount;
    this.#program = programOf(root, groupCount);
    this.#greedy = isGreedy(root) ?? true;
    this.#hasReferences = hasReferences;
  }

  test(text: string): boolean {
    if (this.#hasReferences) return this.#withReferences(text, 0, newSteps()) !== undefined;
    if (this.#program.hasLooks) return this.#find(text, 0, newSteps()) !== undefined;
    return this.#testByStates(text);
  }

  /**
   * Start and end of the match, then of each group (−1 where it took no part); undefined where there is none. `steps`: what is left for this text, where
   * one match after the other is asked for.
   */
  exec(text: string, from = 0, steps: Steps = newSteps()): number[] | undefined {
    if (this.#hasReferences) return this.#withReferences(text, from, steps);
    const found = this.#find(text, from, steps);
    if (found === undefined || this.groupCount === 0) return found;
    const slots = Array.from({ length: this.#program.slotCount }, () => -1);
    [slots[0], slots[1]] = found as [number, number];
    this.#fillGroups(text, slots, steps);
    return slots;
  }

  // ── Whether it matches: a deterministic automaton, its states made when they are first met ─────────────────────

  #testByStates(text: string): boolean {
    let state = this.#stateOf([0], EDGE);
    for (let at = 0; ;) {
      if (state.accepts) return true;
      const code = at < text.length ? text.codePointAt(at)! : -1;
      state = state.next(code) ?? this.#follow(state, code);
      if (code < 0) return state.accepts;
      at += code > 0xffff ? 2 : 1;
    }
  }

  #follow(state: State, code: number): State {
    const { instructions, sets } = this.#program;
    const following = kindOfCode(code);
    const closed = new Set<number>();
    const waiting = [...state.places].reverse();
    let accepts = false;
    const next = new Set<number>();
    while (waiting.length > 0) {
      const place = waiting.pop()!;
      if (closed.has(place)) continue;
      closed.add(place);
      const instruction = instructions[place]!;
      switch (instruction.op) {
        case 'match':
          accepts = true;
          break;
        case 'split':
          waiting.push(instruction.other, instruction.next);
          break;
        case 'set':
          if (code >= 0 && sets[instruction.set]!.has(code)) next.add(instruction.next);
          break;
        case 'place':
          if (holdsBetween(instruction.place, state.before, following))
            waiting.push(instruction.next);
          break;
        case 'save':
        case 'progress':
          waiting.push(instruction.next);
          break;
        case 'look':
        case 'reference':
          break;
      }
    }
    // A match may begin at any character.
    next.add(0);
    const found = accepts
      ? ACCEPTING
      : this.#stateOf(
          [...next].sort((a, b) => a - b),
          following,
        );
    state.remember(code, found);
    return found;
  }

  #stateOf(places: number[], before: CharacterKind): State {
    const key = `${before}:${places.join(',')}`;
    let state = this.#states.get(key);
    if (state === undefined) {
      if (this.#stateCount >= STATES_MAX) {
        this.#states.clear();
        this.#stateCount = 0;
      }
      state = new State(places, before, false);
      this.#states.set(key, state);
      this.#stateCount += 1;
    }
    return state;
  }

  // ── Where it matches ───────────────────────────────────────────────────────────────────────────────────────────

  /** Start and end. Each instruction is followed for the leftmost start that has come to it. */
  #find(text: string, from: number, steps: Steps): number[] | undefined {
    return findIn(this.#program, text, from, this.#greedy, false, steps);
  }

  // ── Groups within a match ──────────────────────────────────────────────────────────────────────────────────────

  /** Depth first from the match's start; a place reached a second time at the same character fails as it did before. */
  #fillGroups(text: string, slots: number[], steps: Steps): void {
    const { instructions } = this.#program;
    const [start, end] = slots as [number, number];
    const width = end - start + 1;
    if (width * instructions.length > VISITED_BITS_MAX) throw tooComplex();
    const visited = new Uint8Array(Math.ceil((width * instructions.length) / 8));
    const seen = (place: number, at: number): boolean => {
      const bit = place * width + (at - start);
      const mask = 1 << (bit & 7);
      if ((visited[bit >> 3]! & mask) !== 0) return true;
      visited[bit >> 3]! |= mask;
      return false;
    };
    search(this.#program, text, start, slots, steps, {
      accepts: (at) => at === end,
      step: (place, at) => !seen(place, at) && at <= end,
    });
  }

  #withReferences(text: string, from: number, steps: Steps): number[] | undefined {
    let tried = 0;
    for (let start = from; start <= text.length; start += 1) {
      const slots = Array.from({ length: this.#program.slotCount }, () => -1);
      const at = search(this.#program, text, start, slots, steps, {
        accepts: () => true,
        step: () => {
          tried += 1;
          if (tried > REFERENCE_STEPS_MAX) throw tooComplex();
          return true;
        },
      });
      if (at === undefined) continue;
      slots[0] = start;
      slots[1] = at;
      return slots;
    }
    return undefined;
  }
}

/** Characters that a text may still have looked at, each once for every way that is open. */
export type Steps = { left: number };

/** A second or so: a few megabytes with a plain pattern, one with groups. */
const STEPS_MAX = 16 * 1024 * 1024;

export function newSteps(): Steps {
  return { left: STEPS_MAX };
}

function take(steps: Steps, count: number): void {
  steps.left -= count;
  if (steps.left < 0)
    throw new DbError('54000', 'the text is too long for this regular expression', {
      hint: 'Match a part of it, such as left(text, 1000000), keep documents in pieces, or use LIKE, strpos or replace, which take any length.',
    });
}

/** States kept of one pattern; beyond it they are made anew. */
const STATES_MAX = 1000;
/** 4 MB. */
const VISITED_BITS_MAX = 32 * 1024 * 1024;
const REFERENCE_STEPS_MAX = 1_000_000;

/** What a place may ask of the character before or after it. */
const EDGE = 0;
const OTHER = 1;
const WORD = 2;
const LINE = 3;
type CharacterKind = typeof EDGE | typeof OTHER | typeof WORD | typeof LINE;

const WORD_CHARACTER = /[\p{L}\p{Nd}_]/u;

function kindOfCode(code: number): CharacterKind {
  if (code < 0) return EDGE;
  if (code === 10) return LINE;
  if (code < 128)
    return (code >= 48 && code <= 57) ||
      (code >= 65 && code <= 90) ||
      (code >= 97 && code <= 122) ||
      code === 95
      ? WORD
      : OTHER;
  return WORD_CHARACTER.test(String.fromCodePoint(code)) ? WORD : OTHER;
}

function holdsBetween(place: PlaceTest, before: CharacterKind, after: CharacterKind): boolean {
  switch (place) {
    case 'textStart':
      return before === EDGE;
    case 'textEnd':
      return after === EDGE;
    case 'lineStart':
      return before === EDGE || before === LINE;
    case 'lineEnd':
      return after === EDGE || after === LINE;
    case 'wordStart':
      return before !== WORD && after === WORD;
    case 'wordEnd':
      return before === WORD && after !== WORD;
    case 'wordEdge':
      return (before === WORD) !== (after === WORD);
    case 'notWordEdge':
      return (before === WORD) === (after === WORD);
  }
}

function codeBefore(text: string, at: number): number {
  if (at === 0) return -1;
  const unit = text.charCodeAt(at - 1);
  return unit >= 0xdc00 && unit <= 0xdfff && at > 1 ? text.codePointAt(at - 2)! : unit;
}

function codeAt(text: string, at: number): number {
  return at < text.length ? text.codePointAt(at)! : -1;
}

function holdsAt(place: PlaceTest, text: string, at: number): boolean {
  return holdsBetween(place, kindOfCode(codeBefore(text, at)), kindOfCode(codeAt(text, at)));
}

class State {
  readonly places: readonly number[];
  readonly before: CharacterKind;
  readonly accepts: boolean;
  readonly #ascii: (State | undefined)[] = Array.from({ length: 129 });
  readonly #others = new Map<number, State>();

  constructor(places: readonly number[], before: CharacterKind, accepts: boolean) {
    this.places = places;
    this.before = before;
    this.accepts = accepts;
  }

  /** `code` −1 is the text's end. */
  next(code: number): State | undefined {
    return code < 128 ? this.#ascii[code + 1] : this.#others.get(code);
  }

  remember(code: number, state: State): void {
    if (code < 128) this.#ascii[code + 1] = state;
    else if (this.#others.size < STATES_MAX) this.#others.set(code, state);
  }
}

const ACCEPTING = new State([], EDGE, true);

/**
 * The leftmost match at or after `from`, by following all ways at once. `anchored`: it begins at `from`. `endsAt`: only a match
 * that ends there counts.
 */
function findIn(
  program: Program,
  text: string,
  from: number,
  greedy: boolean,
  anchored: boolean,
  steps: Steps,
  endsAt?: number,
): number[] | undefined {
  const { instructions, sets } = program;
  const end = endsAt ?? text.length;
  /** The leftmost start that came to an instruction at this character; the ways in the order they were met. */
  let starts = new Int32Array(instructions.length).fill(-1);
  let nextStarts = new Int32Array(instructions.length).fill(-1);
  let ways: number[] = [];
  let found: number[] | undefined;
  const reach = (
    into: number[],
    starting: Int32Array,
    at: number,
    first: number,
    start: number,
  ) => {
    const waiting = [first];
    while (waiting.length > 0) {
      const place = waiting.pop()!;
      if (starting[place]! >= 0 && starting[place]! <= start) continue;
      const isNew = starting[place]! < 0;
      starting[place] = start;
      const instruction: Instruction = instructions[place]!;
      switch (instruction.op) {
        case 'split':
          waiting.push(instruction.other, instruction.next);
          break;
        case 'save':
        case 'progress':
          waiting.push(instruction.next);
          break;
        case 'place':
          if (holdsAt(instruction.place, text, at)) waiting.push(instruction.next);
          break;
        case 'look':
          if (looks(instruction, text, at, steps)) waiting.push(instruction.next);
          break;
        case 'match':
          if (endsAt !== undefined && at !== endsAt) break;
          if (
            found === undefined ||
            start < found[0]! ||
            (start === found[0] && greedy && at > found[1]!)
          )
            found = [start, at];
          break;
        case 'set':
          if (isNew) into.push(place);
          break;
        case 'reference':
          break;
      }
    }
  };
  for (let at = from; ;) {
    // A later start cannot win over a match that was found.
    if (found === undefined && (!anchored || at === from)) reach(ways, starts, at, 0, at);
    if (at >= end || (ways.length === 0 && (anchored || found !== undefined))) return found;
    take(steps, ways.length + 1);
    const code = text.codePointAt(at)!;
    const after = at + (code > 0xffff ? 2 : 1);
    const nextWays: number[] = [];
    for (const place of ways) {
      const start = starts[place]!;
      if (found !== undefined && (start > found[0]! || (start === found[0] && !greedy))) continue;
      const instruction = instructions[place] as Extract<Instruction, { op: 'set' }>;
      if (sets[instruction.set]!.has(code))
        reach(nextWays, nextStarts, after, instruction.next, start);
    }
    [starts, nextStarts] = [nextStarts, starts.fill(-1)];
    ways = nextWays;
    at = after;
  }
}

function looks(
  { program, behind, negated }: Extract<Instruction, { op: 'look' }>,
  text: string,
  at: number,
  steps: Steps,
): boolean {
  if (!behind) return (findIn(program, text, at, false, true, steps) !== undefined) !== negated;
  // What is looked for begins no earlier; one character more, for what a place asks of the one before.
  const from = Math.max(0, at - program.lengthMax - 2);
  return (findIn(program, text, from, true, false, steps, at) !== undefined) !== negated;
}

type SearchRules = {
  /** Whether a match may end here. */
  accepts(at: number): boolean;
  /** Asked before each instruction; false: this way is not worth following. */
  step(place: number, at: number): boolean;
};

/** Depth first, preferred ways first; fills the groups' slots and returns where the match ends. */
function search(
  program: Program,
  text: string,
  start: number,
  slots: number[],
  steps: Steps,
  rules: SearchRules,
): number | undefined {
  const { instructions, sets } = program;
  /** Ways still to try: place and character, or a slot to set back: −1 − slot and its value. */
  const stack: number[] = [0, start];
  while (stack.length > 0) {
    let at = stack.pop()!;
    let place = stack.pop()!;
    if (place < 0) {
      slots[-1 - place] = at;
      continue;
    }
    for (;;) {
      take(steps, 1);
      if (!rules.step(place, at)) break;
      const instruction = instructions[place]!;
      if (instruction.op === 'match') {
        if (rules.accepts(at)) return at;
        break;
      }
      if (instruction.op === 'split') {
        stack.push(instruction.other, at);
      } else if (instruction.op === 'save') {
        stack.push(-1 - instruction.slot, slots[instruction.slot]!);
        slots[instruction.slot] = at;
      } else if (instruction.op === 'progress') {
        if (slots[instruction.slot] === at) break;
      } else if (instruction.op === 'place') {
        if (!holdsAt(instruction.place, text, at)) break;
      } else if (instruction.op === 'look') {
        if (!looks(instruction, text, at, steps)) break;
      } else if (instruction.op === 'reference') {
        const from = slots[instruction.group * 2]!;
        const to = slots[instruction.group * 2 + 1]!;
        if (from < 0 || to < 0) break;
        const taken = text.slice(from, to);
        if (!text.startsWith(taken, at)) break;
        at += taken.length;
      } else {
        if (at >= text.length) break;
        const code = text.codePointAt(at)!;
        if (!sets[instruction.set]!.has(code)) break;
        at += code > 0xffff ? 2 : 1;
      }
      place = instruction.next;
    }
  }
  return undefined;
}
