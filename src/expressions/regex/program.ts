import { tooComplex, type CharacterSet, type PlaceTest, type RegexNode } from './syntax.ts';

/**
 * What a pattern becomes: instructions of a nondeterministic automaton, number 0 first. `split` prefers `next` to
 * `other`; `save` notes a place in a group's slot.
 */
export type Instruction =
  | { readonly op: 'set'; readonly set: number; next: number }
  | { readonly op: 'split'; next: number; other: number }
  | { readonly op: 'save'; readonly slot: number; next: number }
  | { readonly op: 'place'; readonly place: PlaceTest; next: number }
  | {
      readonly op: 'look';
      readonly program: Program;
      readonly behind: boolean;
      readonly negated: boolean;
      next: number;
    }
  | { readonly op: 'reference'; readonly group: number; next: number }
  /** Ends a round of a loop: one that took nothing since `slot` was saved is given up. */
  | { readonly op: 'progress'; readonly slot: number; next: number }
  | { readonly op: 'match' };

export type Program = {
  readonly instructions: readonly Instruction[];
  readonly sets: readonly SetTest[];
  readonly hasLooks: boolean;
  /** UTF-16 units of the longest text that matches; Infinity where it has loops without end, or references. */
  readonly lengthMax: number;
  /** Two for the match and for each group, then one for each loop whose rounds may take nothing. */
  readonly slotCount: number;
};

/** Beyond this a pattern is refused: {255} inside {255} would fill the memory. */
const INSTRUCTIONS_MAX = 20_000;

export function programOf(root: RegexNode, groupCount: number): Program {
  return new Assembler(groupCount).assemble(root);
}

/** Whether code points are in a set. */
export class SetTest {
  readonly #set: CharacterSet;
  readonly #ascii = new Uint8Array(128);

  constructor(set: CharacterSet) {
    this.#set = set;
    for (let code = 0; code < 128; code += 1) this.#ascii[code] = this.#decide(code) ? 1 : 0;
  }

  has(code: number): boolean {
    return code < 128 ? this.#ascii[code] === 1 : this.#decide(code);
  }

  #decide(code: number): boolean {
    const { negated, foldsCase } = this.#set;
    let found = this.#holds(code);
    if (!found && foldsCase) {
      const character = String.fromCodePoint(code);
      for (const other of [character.toLowerCase(), character.toUpperCase()])
        if (!found && other !== character && other.codePointAt(1) === undefined)
          found = this.#holds(other.codePointAt(0)!);
    }
    return found !== negated;
  }

  #holds(code: number): boolean {
    const { ranges, classes } = this.#set;
    for (let at = 0; at < ranges.length; at += 2)
      if (code >= ranges[at]! && code <= ranges[at + 1]!) return true;
    if (classes.length === 0) return false;
    const character = String.fromCodePoint(code);
    return classes.some(({ test, negated }) => test.test(character) !== negated);
  }
}

function lengthMax(node: RegexNode): number {
  switch (node.kind) {
    case 'set':
      return 2;
    case 'sequence':
      return node.parts.reduce((sum, part) => sum + lengthMax(part), 0);
    case 'choice':
      return node.branches.reduce((most, branch) => Math.max(most, lengthMax(branch)), 0);
    case 'repeat': {
      const one = lengthMax(node.part);
      return one === 0 ? 0 : one * node.most;
    }
    case 'group':
      return lengthMax(node.part);
    case 'reference':
      return Infinity;
    default:
      return 0;
  }
}

class Assembler {
  readonly #instructions: Instruction[] = [];
  readonly #sets: SetTest[] = [];
  readonly #bySet = new Map<CharacterSet, number>();
  #hasLooks = false;
  readonly #groupCount: number;
  #slotCount: number;

  constructor(groupCount: number) {
    this.#groupCount = groupCount;
    this.#slotCount = 2 + groupCount * 2;
  }

  assemble(root: RegexNode): Program {
    this.#node(root, undefined);
    this.#add({ op: 'match' });
    return {
      instructions: this.#instructions,
      sets: this.#sets,
      hasLooks: this.#hasLooks,
      lengthMax: lengthMax(root),
      slotCount: this.#slotCount,
    };
  }

  #add(instruction: Instruction): number {
    if (this.#instructions.length >= INSTRUCTIONS_MAX) throw tooComplex();
    return this.#instructions.push(instruction) - 1;
  }

  /**
   * Control falls from the last instruction of a node to what follows it. `greedy`: what all inside prefers, where
   * {1,1} or {1,1}? around it says so.
   */
  #node(node: RegexNode, greedy: boolean | undefined): void {
    const here = this.#instructions.length;
    switch (node.kind) {
      case 'empty':
        return;
      case 'set': {
        let set = this.#bySet.get(node.set);
        if (set === undefined) {
          set = this.#sets.push(new SetTest(node.set)) - 1;
          this.#bySet.set(node.set, set);
        }
        this.#add({ op: 'set', set, next: here + 1 });
        return;
      }
      case 'sequence':
        for (const part of node.parts) this.#node(part, greedy);
        return;
      case 'choice':
        this.#choice(node.branches, greedy);
        return;
      case 'repeat':
        this.#repeat(node, greedy);
        return;
      case 'group':
        this.#add({ op: 'save', slot: node.index * 2, next: here + 1 });
        this.#node(node.part, greedy);
        this.#add({
          op: 'save',
          slot: node.index * 2 + 1,
          next: this.#instructions.length + 1,
        });
        return;
      case 'place':
        this.#add({ op: 'place', place: node.place, next: here + 1 });
        return;
      case 'look': {
        const { behind, negated } = node;
        this.#hasLooks = true;
        const program = programOf(node.part, this.#groupCount);
        this.#add({ op: 'look', program, behind, negated, next: here + 1 });
        return;
      }
      case 'reference':
        this.#add({ op: 'reference', group: node.index, next: here + 1 });
        return;
    }
  }

  #choice(branches: readonly RegexNode[], greedy: boolean | undefined): void {
    const ends: number[] = [];
    branches.forEach((branch, index) => {
      if (index === branches.length - 1) {
        this.#node(branch, greedy);
        return;
      }
      const split = this.#split();
      this.#node(branch, greedy);
      ends.push(this.#split());
      this.#aim(split, split + 1, this.#instructions.length);
    });
    const end = this.#instructions.length;
    for (const each of ends) this.#aim(each, end, end);
  }

  #repeat(node: Extract<RegexNode, { kind: 'repeat' }>, around: boolean | undefined): void {
    const { part, least, most, fixed } = node;
    const greedy = around ?? node.greedy;
    const inside = around ?? (least === most && !fixed ? node.greedy : undefined);
    for (let count = 0; count < least; count += 1) this.#node(part, inside);
    const aim = (split: number, into: number, past: number): void =>
      greedy ? this.#aim(split, into, past) : this.#aim(split, past, into);
    if (most === Infinity) {
      const split = this.#split();
      if (mayTakeNothing(part)) {
        const slot = this.#slotCount;
        this.#slotCount += 1;
        this.#add({ op: 'save', slot, next: split + 2 });
        this.#node(part, inside);
        this.#add({ op: 'progress', slot, next: this.#instructions.length + 1 });
      } else this.#node(part, inside);
      const back = this.#split();
      this.#aim(back, split, split);
      aim(split, split + 1, this.#instructions.length);
      return;
    }
    const splits: number[] = [];
    for (let count = least; count < most; count += 1) {
      splits.push(this.#split());
      this.#node(part, inside);
    }
    for (const split of splits) aim(split, split + 1, this.#instructions.length);
  }

  #split(): number {
    return this.#add({ op: 'split', next: 0, other: 0 });
  }

  #aim(index: number, next: number, other: number): void {
    const split = this.#instructions[index] as Extract<Instruction, { op: 'split' }>;
    split.next = next;
    split.other = other;
  }
}

/**
 * Whether a pattern prefers the longest match or the shortest: its first quantified part decides, and a choice is always
 * greedy (documentation, 9.7.3.5). Undefined: it has no preference.
 */
export function isGreedy(node: RegexNode): boolean | undefined {
  switch (node.kind) {
    case 'repeat':
      return node.fixed ? isGreedy(node.part) : node.greedy;
    case 'choice':
      return true;
    case 'group':
      return isGreedy(node.part);
    case 'sequence':
      for (const part of node.parts) {
        const greedy = isGreedy(part);
        if (greedy !== undefined) return greedy;
      }
      return undefined;
    default:
      return undefined;
  }
}

function mayTakeNothing(node: RegexNode): boolean {
  switch (node.kind) {
    case 'set':
      return false;
    case 'sequence':
      return node.parts.every(mayTakeNothing);
    case 'choice':
      return node.branches.some(mayTakeNothing);
    case 'repeat':
      return node.least === 0 || mayTakeNothing(node.part);
    case 'group':
      return mayTakeNothing(node.part);
    default:
      return true;
  }
}
