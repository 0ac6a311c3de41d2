import { posix } from 'node:path';
import { DbError } from '../../src/base/errors.ts';
import type { Disk, DiskFile } from '../../src/base/ports.ts';

/** Files in memory, to be damaged at will. `failWith` comes before every call that changes something. */
export class MemoryDisk implements Disk {
  readonly files = new Map<string, Uint8Array>();
  /** What a call throws; undefined lets it pass. */
  failWith: (call: 'write' | 'sync' | 'truncate' | 'create', path: string) => string | undefined =
    () => undefined;
  readonly calls: string[] = [];
  #locked = new Set<string>();

  /** The same files, for what is damaged in one world only. */
  copy(): MemoryDisk {
    const disk = new MemoryDisk();
    for (const [path, bytes] of this.files) disk.files.set(path, bytes.slice());
    return disk;
  }

  async open(path: string, mode: 'read' | 'write' | 'create'): Promise<DiskFile> {
    if (mode === 'create') {
      this.#check('create', path);
      this.files.set(path, new Uint8Array(0));
    }
    if (!this.files.has(path)) throw failure('ENOENT');
    // The file keeps its bytes when it is renamed.
    let name = path;
    const bytes = (): Uint8Array => this.files.get(name) ?? new Uint8Array(0);
    this.#renamed.push((from, to) => {
      if (name === from) name = to;
    });
    return {
      size: async () => bytes().length,
      read: async (offset, length) => bytes().slice(offset, offset + length),
      write: async (offset, part) => {
        try {
          this.#check('write', name);
        } catch (cause) {
          // Half of it is there.
          this.files.set(name, written(bytes(), offset, part.subarray(0, part.length >> 1)));
          throw cause;
        }
        this.files.set(name, written(bytes(), offset, part));
      },
      sync: async () => this.#check('sync', name),
      truncate: async (size) => {
        this.#check('truncate', name);
        this.files.set(name, bytes().slice(0, size));
      },
      close: async () => undefined,
    };
  }

  async list(directory: string): Promise<readonly string[]> {
    return [...this.files.keys()]
      .filter((path) => posix.dirname(path) === directory)
      .map((path) => posix.basename(path))
      .sort();
  }

  async makeDirectory(): Promise<void> {}

  async rename(from: string, to: string): Promise<void> {
    this.files.set(to, this.files.get(from)!);
    this.files.delete(from);
    for (const renamed of this.#renamed) renamed(from, to);
  }

  async remove(path: string): Promise<void> {
    this.files.delete(path);
  }

  async syncDirectory(): Promise<void> {}

  async lock(directory: string): Promise<{ release(): Promise<void> }> {
    if (this.#locked.has(directory)) throw new DbError('55006', 'in use');
    this.#locked.add(directory);
    return { release: async () => void this.#locked.delete(directory) };
  }

  /** Everybody is gone. */
  kill(): void {
    this.#locked.clear();
  }

  readonly #renamed: ((from: string, to: string) => void)[] = [];

  #check(call: 'write' | 'sync' | 'truncate' | 'create', path: string): void {
    this.calls.push(call);
    const code = this.failWith(call, path);
    if (code !== undefined) throw failure(code);
  }
}

function written(bytes: Uint8Array, offset: number, part: Uint8Array): Uint8Array {
  const next = new Uint8Array(Math.max(bytes.length, offset + part.length));
  next.set(bytes);
  next.set(part, offset);
  return next;
}

function failure(code: string): Error {
  return Object.assign(new Error(`${code}: simulated`), { code });
}
