import { posix } from 'node:path';
import { DbError } from '../base/errors.ts';
import type { Disk, DiskFile, DiskLock, Random } from '../base/ports.ts';
import type { SimulatedClock } from './clock.ts';
import type { FaultSource } from './faults.ts';

/** A change to a file that a power loss may undo: since its last sync. */
type Unsynced =
  | { readonly kind: 'write'; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly kind: 'truncate'; readonly size: number };

/** Nothing takes the place of a change that never reaches the disk: the others keep theirs. */
const NOTHING: Unsynced = { kind: 'write', offset: 0, bytes: new Uint8Array(0) };

class Inode {
  bytes = new Uint8Array(0);
  durable = new Uint8Array(0);
  /** Oldest first: changes number `changes - unsynced.length` and after. */
  unsynced: Unsynced[] = [];
  changes = 0;
  /** Bits that turned over, and were not written since. */
  readonly turned = new Set<number>();
  /** Some of what is read will never be on the disk: a sync of it has failed. */
  #isAhead = false;

  change(change: Unsynced): void {
    for (const bit of this.turned) {
      const at = bit >> 3;
      const isGone =
        change.kind === 'truncate'
          ? at >= change.size
          : at >= change.offset && at < change.offset + change.bytes.length;
      if (isGone) this.turned.delete(bit);
    }
    this.bytes = applied(this.bytes, change);
    this.unsynced.push(change);
    this.changes += 1;
  }

  turn(bit: number): void {
    const mask = 1 << (bit & 7);
    this.bytes = this.bytes.slice();
    this.bytes[bit >> 3]! ^= mask;
    this.durable = this.durable.slice();
    if (bit >> 3 < this.durable.length) this.durable[bit >> 3]! ^= mask;
    if (!this.turned.delete(bit)) this.turned.add(bit);
  }

  /** What makes durable all that is there now, whatever is written until then. */
  syncer(): Syncer {
    const { bytes, changes } = this;
    const count = (): number => changes - (this.changes - this.unsynced.length);
    return {
      done: () => {
        const done = count();
        if (done < 0) return;
        const written = this.unsynced.splice(0, done);
        this.durable = this.#isAhead ? written.reduce(applied, this.durable) : bytes;
      },
      failed: (isLost) => {
        for (let place = count() - 1; place >= 0; place -= 1) {
          if (this.unsynced[place]!.kind !== 'write' || !isLost()) continue;
          this.unsynced[place] = NOTHING;
          this.#isAhead = true;
        }
      },
    };
  }

  /** What is left of it after a power loss. */
  survive(bytes: Uint8Array<ArrayBuffer>): void {
    this.bytes = bytes;
    this.durable = bytes;
    this.unsynced = [];
    this.#isAhead = false;
  }
}

type Syncer = {
  readonly done: () => unknown;
  /** The operating system takes what it could not write for written: it is read on, and no later sync writes it. */
  readonly failed: (isLost: () => boolean) => void;
};

/** What a crash did to the files. */
export type CrashDamage = {
  /** Whether unsynced changes could be lost: the power went, too. */
  readonly power: boolean;
  /** A sync before it had lied: then nothing is promised. */
  readonly lied: boolean;
  /** A write or a sync of the process had failed. */
  readonly failed: boolean;
  /** The file in which a bit turned over. */
  readonly flipped: string | undefined;
};

/**
 * Files as a disk keeps them: what was written is there at once, what survives a power loss is what was synced, of files and of the names in
 * directories alike. Each process has a view of its own; with the process its calls end, wherever they are.
 */
export class SimulatedDisk {
  readonly #clock: SimulatedClock;
  readonly #faults: FaultSource;
  readonly #random: Random;
  readonly #syncMs: readonly [number, number];
  readonly #dying: () => void;
  #names = new Map<string, Inode>();
  #durableNames = new Map<string, Inode>();
  readonly #locks = new Set<string>();
  #fullUntilMs = -Infinity;
  #broken = false;
  #hasFailed = false;
  /** Syncs that claimed to be done and were not. */
  lies = 0;

  constructor(options: {
    readonly clock: SimulatedClock;
    readonly faults: FaultSource;
    readonly random: Random;
    /** What a sync takes. */
    readonly syncMs: readonly [number, number];
    /** Told of a sync that failed since the machine is about to. */
    readonly dying: () => void;
  }) {
    this.#clock = options.clock;
    this.#faults = options.faults;
    this.#random = options.random;
    this.#syncMs = options.syncMs;
    this.#dying = options.dying;
  }

  /** The port of a process that lives while `alive` says so. */
  port(alive: () => boolean): Disk {
    return new ProcessDisk(this, alive);
  }

  /** There is no room for a while. */
  fill(): void {
    this.#fullUntilMs = this.#clock.monotonicMs() + 200 + this.#random.unit() * FULL_MS_MAX;
  }

  /** Every write and sync fails from now on, until the machine starts again. */
  break(): void {
    this.#broken = true;
  }

  get isBroken(): boolean {
    return this.#broken;
  }

  /** No fault goes on. */
  heal(): void {
    this.#fullUntilMs = -Infinity;
  }

  /** What a process held is given back, and what was broken is replaced. */
  processEnded(): void {
    this.#locks.clear();
    this.#broken = false;
    this.#hasFailed = false;
  }

  /** The process ends, and perhaps the power with it; for certain where it `isDead`. */
  crash(isDead = false): CrashDamage {
    const failed = this.#hasFailed;
    this.processEnded();
    const lied = this.lies > 0;
    // Only a power loss tears a write.
    const torn = this.#faults.hits('tornWrite');
    const power = this.#faults.hits('lostTail') || torn || isDead;
    if (power) {
      this.lies = 0;
      // Each directory was synced or not; a name that was not may have made it all the same.
      const names = new Map(this.#durableNames);
      for (const [path, inode] of this.#names)
        if (!names.has(path) && this.#random.below(2) === 0) names.set(path, inode);
      this.#names = names;
      for (const inode of new Set(names.values())) this.#lose(inode, torn);
      this.#durableNames = new Map(names);
    }
    return {
      power,
      lied,
      failed,
      flipped: this.#faults.hits('bitFlip') ? this.#flip() : undefined,
    };
  }

  /** Of what was not synced some has reached the platter: the first few changes, and a part of the next where it is torn. */
  #lose(inode: Inode, torn: boolean): void {
    const { unsynced } = inode;
    const kept = this.#random.below(unsynced.length + 1);
    let bytes = inode.durable;
    for (const change of unsynced.slice(0, kept)) bytes = applied(bytes, change);
    const next = unsynced[kept];
    if (torn && next?.kind === 'write')
      bytes = applied(bytes, {
        ...next,
        bytes: next.bytes.subarray(0, this.#random.below(next.bytes.length + 1)),
      });
    inode.survive(bytes);
  }

  #flip(): string | undefined {
    const files = [...this.#names].filter(([, { bytes }]) => bytes.length > 0);
    if (files.length === 0) return undefined;
    const [path, inode] = files[this.#random.below(files.length)]!;
    inode.turn(this.#random.below(inode.bytes.length * 8));
    return path;
  }

  /** Turns back every bit that had turned over, as restoring a copy does; the files in which there was one. */
  restore(): string[] {
    const paths: string[] = [];
    for (const [path, inode] of this.#names) {
      if (inode.turned.size > 0) paths.push(path);
      for (const bit of inode.turned) inode.turn(bit);
    }
    return paths;
  }

  // ── What processes do ───────────────────────────────────────────────────────────────────────────────────────

  inode(path: string): Inode | undefined {
    return this.#names.get(path);
  }

  create(path: string): Inode {
    this.#assertWritable('open');
    const inode = new Inode();
    this.#names.set(path, inode);
    return inode;
  }

  list(directory: string): string[] {
    return [...this.#names.keys()]
      .filter((path) => posix.dirname(path) === posix.normalize(directory))
      .map((path) => posix.basename(path))
      .sort();
  }

  rename(from: string, to: string): void {
    const inode = this.#names.get(from);
    if (inode === undefined) throw diskFailure('ENOENT', 'rename');
    this.#names.delete(from);
    this.#names.set(to, inode);
  }

  remove(path: string): void {
    for (const name of [...this.#names.keys()])
      if (name === path || name.startsWith(`${path}/`)) this.#names.delete(name);
  }

  syncNames(directory: string): void {
    const within = (path: string): boolean => posix.dirname(path) === posix.normalize(directory);
    for (const path of [...this.#durableNames.keys()])
      if (within(path)) this.#durableNames.delete(path);
    for (const [path, inode] of this.#names) if (within(path)) this.#durableNames.set(path, inode);
  }

  change(inode: Inode, change: Unsynced): void {
    if (change.kind === 'write') {
      try {
        this.#assertWritable('write');
      } catch (cause) {
        // Any part of it may be there.
        const part = change.bytes.slice(0, this.#random.below(change.bytes.length + 1));
        const cut: Unsynced = { kind: 'write', offset: change.offset, bytes: part };
        inode.change(cut);
        throw cause;
      }
    }
    inode.change(change);
  }

  async sync({ done, failed }: Syncer): Promise<void> {
    const [least, most] = this.#syncMs;
    if (most > 0) await this.#clock.pause(least + this.#random.unit() * (most - least), 'journal');
    if (this.#broken || this.#faults.hits('ioError')) {
      failed(() => this.#random.below(2) === 0);
      if (!this.#broken && this.#faults.hits('dying')) this.#dying();
      throw this.#ioError('fsync');
    }
    if (this.#faults.hits('lyingSync')) {
      this.lies += 1;
      return;
    }
    done();
  }

  lock(directory: string): DiskLock {
    if (this.#locks.has(directory))
      throw new DbError('55006', 'another process has the directory', {
        hint: 'One process at a time.',
      });
    this.#locks.add(directory);
    return {
      release: () => {
        this.#locks.delete(directory);
        return Promise.resolve();
      },
    };
  }

  #assertWritable(call: string): void {
    if (this.#clock.monotonicMs() < this.#fullUntilMs) throw diskFailure('ENOSPC', call);
    if (this.#broken || this.#faults.hits('ioError')) throw this.#ioError(call);
  }

  #ioError(call: string): Error {
    this.#hasFailed = true;
    return diskFailure('EIO', call);
  }
}

const FULL_MS_MAX = 20_000;

/** As the operating system says it. */
function diskFailure(code: string, call: string): Error {
  return Object.assign(new Error(`${code}: simulated, ${call}`), { code, syscall: call });
}

function applied(bytes: Uint8Array<ArrayBuffer>, change: Unsynced): Uint8Array<ArrayBuffer> {
  if (change.kind === 'truncate') {
    const cut = new Uint8Array(change.size);
    cut.set(bytes.subarray(0, change.size));
    return cut;
  }
  const next = new Uint8Array(Math.max(bytes.length, change.offset + change.bytes.length));
  next.set(bytes);
  next.set(change.bytes, change.offset);
  return next;
}

/** Calls of a process that has ended come to nothing, and nobody learns of it. */
class ProcessDisk implements Disk {
  readonly #disk: SimulatedDisk;
  readonly #alive: () => boolean;

  constructor(disk: SimulatedDisk, alive: () => boolean) {
    this.#disk = disk;
    this.#alive = alive;
  }

  open(path: string, mode: 'read' | 'write' | 'create'): Promise<DiskFile> {
    return this.#do(() => {
      const inode = mode === 'create' ? this.#disk.create(path) : this.#disk.inode(path);
      if (inode === undefined) throw diskFailure('ENOENT', 'open');
      return this.#file(inode);
    });
  }

  #file(inode: Inode): DiskFile {
    const disk = this.#disk;
    return {
      size: () => this.#do(() => inode.bytes.length),
      read: (offset, length) => this.#do(() => inode.bytes.slice(offset, offset + length)),
      write: (offset, bytes) =>
        this.#do(() => disk.change(inode, { kind: 'write', offset, bytes: bytes.slice() })),
      truncate: (size) => this.#do(() => disk.change(inode, { kind: 'truncate', size })),
      sync: () =>
        this.#do(() => {
          const { done, failed } = inode.syncer();
          return disk.sync({ done: () => this.#alive() && done(), failed });
        }),
      close: () => this.#do(() => undefined),
    };
  }

  list(directory: string): Promise<readonly string[]> {
    return this.#do(() => this.#disk.list(directory));
  }

  makeDirectory(): Promise<void> {
    return this.#do(() => undefined);
  }

  rename(from: string, to: string): Promise<void> {
    return this.#do(() => this.#disk.rename(from, to));
  }

  remove(path: string): Promise<void> {
    return this.#do(() => this.#disk.remove(path));
  }

  syncDirectory(path: string): Promise<void> {
    return this.#do(() =>
      this.#disk.sync({
        done: () => this.#alive() && this.#disk.syncNames(path),
        failed: () => undefined,
      }),
    );
  }

  lock(directory: string): Promise<DiskLock> {
    return this.#do(() => this.#disk.lock(directory));
  }

  #do<Value>(action: () => Value | Promise<Value>): Promise<Value> {
    return new Promise((resolve, reject) => {
      if (!this.#alive()) return;
      const settle = async (): Promise<Value> => action();
      settle().then(
        (value) => this.#alive() && resolve(value),
        // oxlint-disable-next-line prefer-promise-reject-errors -- handed on as it came
        (cause: unknown) => this.#alive() && reject(cause),
      );
    });
  }
}
