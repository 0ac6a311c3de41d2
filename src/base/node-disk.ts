import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { lockDirectory } from './node-lock.ts';
import type { Disk, DiskFile, DiskLock } from './ports.ts';

/** The files of the operating system. */
export class NodeDisk implements Disk {
  async open(path: string, mode: 'read' | 'write' | 'create'): Promise<DiskFile> {
    const flags = mode === 'read' ? 'r' : mode === 'write' ? 'r+' : 'w+';
    return new NodeFile(await open(path, flags));
  }

  /** Sorted, so that what follows does not depend on the file system. A directory that is not there is empty. */
  async list(directory: string): Promise<readonly string[]> {
    try {
      return (await readdir(directory)).sort();
    } catch (error) {
      if (isCode(error, 'ENOENT')) return [];
      throw error;
    }
  }

  /** With those above it, one by one: Node's `recursive` tries for ever where the system makes no directories and says ENOENT, as in /proc. */
  async makeDirectory(path: string): Promise<void> {
    try {
      await makeOne(path);
    } catch (cause) {
      const above = dirname(path);
      if (!isCode(cause, 'ENOENT') || above === path) throw cause;
      await this.makeDirectory(above);
      await makeOne(path);
    }
  }

  async rename(from: string, to: string): Promise<void> {
    await rename(from, to);
  }

  async remove(path: string): Promise<void> {
    await rm(path, { force: true, recursive: true });
  }

  async syncDirectory(path: string): Promise<void> {
    const handle = await open(path, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }

  lock(directory: string): Promise<DiskLock> {
    return lockDirectory(directory);
  }
}

class NodeFile implements DiskFile {
  readonly #handle: FileHandle;

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  async size(): Promise<number> {
    return (await this.#handle.stat()).size;
  }

  /** Fewer bytes than asked for only at the end of the file. */
  async read(offset: number, length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    let count = 0;
    while (count < length) {
      const { bytesRead } = await this.#handle.read(bytes, count, length - count, offset + count);
      if (bytesRead === 0) break;
      count += bytesRead;
    }
    return bytes.subarray(0, count);
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    let count = 0;
    while (count < bytes.length) {
      const { bytesWritten } = await this.#handle.write(
        bytes,
        count,
        bytes.length - count,
        offset + count,
      );
      count += bytesWritten;
    }
  }

  async sync(): Promise<void> {
    await this.#handle.datasync();
  }

  async truncate(size: number): Promise<void> {
    await this.#handle.truncate(size);
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

/** One directory, below one that is there; nothing where it is there itself. */
async function makeOne(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (cause) {
    // A drive's root, or one on a file system that is read only, is refused in other words than that it is there.
    const isThere = await stat(path).then(
      (known) => known.isDirectory(),
      () => false,
    );
    if (!isThere) throw cause;
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
