import { assert, DbError } from '../base/errors.ts';
import { slabInts, type DoublesMaker } from '../base/slab.ts';
import type { MemoryAccount } from '../base/memory.ts';
import { datumAt, vectorFromData } from '../columns/build.ts';
import type { SqlType } from '../columns/types.ts';
import type { Vector } from '../columns/vector.ts';
import { GroupTable } from '../operators/group-table.ts';

/** Keys that are gone, from which on they are left behind: as many as there are others, too. */
const DEAD_KEYS_MIN = 4096;
/** Where all are gone, so many are worth a new table. */
const GONE_KEYS_MIN = 256;
/** Keys that are taken along at each change while others are left behind. */
const MOVED_AT_ONCE = 1024;
/** Slots that are looked at meanwhile for each of them: most may be free. */
const LOOKED_AT_A_KEY = 16;

export type GroupSlotOptions = {
  readonly types: readonly SqlType[];
  readonly memory: MemoryAccount | undefined;
  /** See DEAD_KEYS_MIN. */
  readonly deadKeysMin?: number | undefined;
};

/**
 * Groups that come and go, by numbers that are given again: what a view keeps by group takes the room of those that there are at a time,
 * not of all that ever were. A table of keys only grows; where most of its keys are gone, the others move to another one, some at each
 * change, and keep their numbers. Where all are gone it is begun anew, and so are the numbers.
 */
export class GroupSlots {
  readonly #options: GroupSlotOptions;
  #table: GroupTable;
  /** What the table takes. */
  #memory: MemoryAccount | undefined;
  /** By the code of a key: its slot, −1 where its group is gone. Empty until the first has gone: up to then they are the same. */
  #slotOf: Int32Array = NONE;
  /** By slot: the code of its key, −1 where it is free. */
  #codeOf: Int32Array = NONE;
  /** Codes that have been given slots, or are known to have none. */
  #codeEnd = 0;
  #slotCount = 0;
  readonly #free: number[] = [];
  #moving: Moving | undefined;
  /** Where there was no memory for another table: it is tried again with twice the keys, or half the living ones. */
  #triedAt = 0;
  #triedLiving = Infinity;

  constructor(options: GroupSlotOptions) {
    this.#options = options;
    this.#memory = options.memory?.child('keys of groups');
    this.#table = new GroupTable(options.types, this.#memory);
  }

  /** Slots given so far, be they free now. */
  get slotCount(): number {
    return this.#isPlain ? this.#table.groupCount : this.#slotCount;
  }

  /** Distinct keys that are remembered, for whoever asks what it takes. */
  get keyCount(): number {
    return this.#table.groupCount;
  }

  get #isPlain(): boolean {
    return this.#slotOf === NONE;
  }

  /** Slots of dense key vectors, in a slab. */
  intern(keys: readonly Vector[], rowCount: number): Int32Array {
    if (this.#moving !== undefined) this.#move(MOVED_AT_ONCE);
    const slots = slabInts(rowCount);
    const codes = this.#table.intern(keys, rowCount);
    if (this.#isPlain) {
      slots.set(codes.subarray(0, rowCount));
      return slots;
    }
    this.#ensureCodes(this.#table.groupCount);
    const slotOf = this.#slotOf;
    for (let row = 0; row < rowCount; row += 1) {
      const code = codes[row]!;
      const slot = slotOf[code]!;
      slots[row] = slot >= 0 ? slot : this.#allocate(code);
    }
    return slots;
  }

  /** Key vectors of slots that are not free. */
  keys(slots: Int32Array, count: number, doubles?: DoublesMaker): Vector[] {
    return this.#table.keys(this.#codesOf(slots, count), count, doubles);
  }

  /** Nobody refers to the slot any more; what is kept of it is as it was before it was given. */
  free(slot: number): void {
    if (this.#options.types.length === 0) return;
    if (this.#isPlain) this.#beginSlots();
    const code = this.#codeOf[slot]!;
    assert(code >= 0, 'a slot that is freed is in use');
    this.#slotOf[code] = -1;
    this.#codeOf[slot] = -1;
    this.#free.push(slot);
    this.#moving?.forget(slot);
    if (this.#free.length === this.#slotCount) this.#beginAnew();
    else this.#considerMoving();
  }

  /** Slots were freed: keys go on moving where no others come. */
  settle(): void {
    if (this.#moving !== undefined) this.#move(MOVED_AT_ONCE);
  }

  close(): void {
    this.#table.close();
    this.#moving?.table.close();
  }

  /** No group is there any more. */
  #beginAnew(): void {
    const { types, memory, deadKeysMin = GONE_KEYS_MIN } = this.#options;
    if (Math.max(this.#table.groupCount, this.#slotCount) < deadKeysMin) return;
    this.#moving?.table.close();
    this.#moving = undefined;
    this.#withinMemory(() => {
      const own = memory?.child('keys of groups');
      const table = new GroupTable(types, own);
      this.#table.close();
      this.#table = table;
      this.#memory = own;
      this.#slotOf = NONE;
      this.#codeOf = NONE;
      this.#codeEnd = 0;
      this.#slotCount = 0;
      this.#free.length = 0;
      this.#triedAt = 0;
      this.#triedLiving = Infinity;
    });
  }

  /** From here on a slot is not its key's code. */
  #beginSlots(): void {
    const count = this.#table.groupCount;
    this.#slotCount = count;
    this.#slotOf = new Int32Array(roomFor(count));
    this.#codeOf = new Int32Array(roomFor(count));
    for (let code = 0; code < count; code += 1) {
      this.#slotOf[code] = code;
      this.#codeOf[code] = code;
    }
    this.#codeEnd = count;
    const absent = this.#table.absentGroup;
    if (absent === undefined) return;
    this.#slotOf[absent] = -1;
    this.#codeOf[absent] = -1;
    this.#free.push(absent);
  }

  #ensureCodes(codeEnd: number): void {
    if (codeEnd > this.#slotOf.length) this.#slotOf = longer(this.#slotOf, codeEnd);
    this.#slotOf.fill(-1, this.#codeEnd, Math.max(this.#codeEnd, codeEnd));
    this.#codeEnd = Math.max(this.#codeEnd, codeEnd);
  }

  #allocate(code: number): number {
    let slot = this.#free.pop();
    if (slot === undefined) {
      slot = this.#slotCount;
      this.#slotCount += 1;
      if (this.#slotCount > this.#codeOf.length)
        this.#codeOf = longer(this.#codeOf, this.#slotCount);
    }
    this.#slotOf[code] = slot;
    this.#codeOf[slot] = code;
    this.#moving?.came(slot);
    return slot;
  }

  #codesOf(slots: Int32Array, count: number): Int32Array {
    if (this.#isPlain) return slots;
    const codes = slabInts(count);
    for (let at = 0; at < count; at += 1) codes[at] = this.#codeOf[slots[at]!]!;
    return codes;
  }

  #considerMoving(): void {
    if (this.#moving !== undefined) return;
    const { types, memory, deadKeysMin = DEAD_KEYS_MIN } = this.#options;
    const keyCount = this.#table.groupCount;
    const living = this.#slotCount - this.#free.length;
    const dead = keyCount - living;
    if (dead < deadKeysMin || dead < living) return;
    if (keyCount < this.#triedAt && living * 2 > this.#triedLiving) return;
    this.#withinMemory(() => {
      // Both are held until the last has moved; what is kept for deleting is not for that.
      const bytes = ((this.#memory?.usedBytes ?? 0) * living) / keyCount;
      if (memory?.hasRoomFor(2 * bytes) === false) return this.#tryLater();
      const own = memory?.child('keys of groups');
      this.#moving = new Moving(new GroupTable(types, own), own);
    });
  }

  #tryLater(): void {
    this.#moving?.table.close();
    this.#moving = undefined;
    this.#triedAt = this.#table.groupCount * 2;
    this.#triedLiving = this.#slotCount - this.#free.length;
  }

  /** Takes `count` keys along, and those that came since behind the last; with the last of them the old table goes. */
  #move(count: number): void {
    this.#withinMemory(() => {
      const moving = this.#moving!;
      if (this.#options.memory?.hasRoomFor(0) === false) return this.#tryLater();
      const slots = moving.next(count, this.#slotCount, this.#codeOf);
      if (slots.length > 0) {
        const keys = this.keys(slots, slots.length).map((key) => independent(key, slots.length));
        moving.take(slots, moving.table.intern(keys, slots.length));
      }
      if (!moving.isDone(this.#slotCount)) return;
      const codeEnd = moving.table.groupCount;
      this.#slotOf = new Int32Array(roomFor(codeEnd)).fill(-1);
      this.#codeEnd = codeEnd;
      for (let slot = 0; slot < this.#slotCount; slot += 1) {
        if (this.#codeOf[slot]! < 0) continue;
        const code = moving.codeOf(slot);
        this.#codeOf[slot] = code;
        this.#slotOf[code] = slot;
      }
      this.#table.close();
      this.#table = moving.table;
      this.#memory = moving.memory;
      this.#moving = undefined;
    });
  }

  /** Where memory is short the old table stays, and a change goes on without it. */
  #withinMemory(action: () => void): void {
    try {
      action();
    } catch (cause) {
      if (!(cause instanceof DbError && cause.code === '53200')) throw cause;
      this.#tryLater();
    }
  }
}

/** Keys on their way from one table to another. */
class Moving {
  readonly table: GroupTable;
  readonly memory: MemoryAccount | undefined;
  /** By slot, code + 1 in the new table; 0: not there yet, or free. */
  #codes: Int32Array = NONE;
  /** Slots below have had their turn. */
  #cursor = 0;
  /** Slots below that, which were given since. */
  readonly #late = new Set<number>();

  constructor(table: GroupTable, memory: MemoryAccount | undefined) {
    this.table = table;
    this.memory = memory;
  }

  codeOf(slot: number): number {
    const code = this.#codes[slot]! - 1;
    assert(code >= 0, 'a key has moved before its table goes');
    return code;
  }

  came(slot: number): void {
    if (slot < this.#cursor) this.#late.add(slot);
  }

  forget(slot: number): void {
    if (slot >= this.#cursor) return;
    this.#codes[slot] = 0;
    this.#late.delete(slot);
  }

  /** The next slots that are in use and whose keys have not moved. */
  next(count: number, slotCount: number, codeOf: Int32Array): Int32Array {
    const slots: number[] = [];
    if (slotCount > this.#codes.length) this.#codes = longer(this.#codes, slotCount);
    const end = Math.min(slotCount, this.#cursor + count * LOOKED_AT_A_KEY);
    for (; this.#cursor < end && slots.length < count; this.#cursor += 1)
      if (codeOf[this.#cursor]! >= 0) slots.push(this.#cursor);
    for (const slot of this.#late) {
      if (slots.length >= 2 * count) break;
      slots.push(slot);
      this.#late.delete(slot);
    }
    return Int32Array.from(slots);
  }

  take(slots: Int32Array, codes: Int32Array): void {
    for (let at = 0; at < slots.length; at += 1) this.#codes[slots[at]!] = codes[at]! + 1;
  }

  isDone(slotCount: number): boolean {
    return this.#cursor >= slotCount && this.#late.size === 0;
  }
}

/** Texts without the dictionary they were in, which goes with the old table. */
function independent(vector: Vector, count: number): Vector {
  if (vector.rep !== 'dictionary') return vector;
  return vectorFromData(
    vector.type,
    Array.from({ length: count }, (_, row) => datumAt(vector, row)),
  );
}

function roomFor(count: number): number {
  let room = 64;
  while (room < count) room *= 2;
  return room;
}

function longer(array: Int32Array, count: number): Int32Array {
  const copy = new Int32Array(roomFor(count));
  copy.set(array);
  return copy;
}

const NONE = new Int32Array(0);
