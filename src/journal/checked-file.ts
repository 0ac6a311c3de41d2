import { createHash, type Hash } from 'node:crypto';
import type { Disk, DiskFile } from '../base/ports.ts';
import { DRAFT_ENDING } from './segment-file.ts';
import { joined } from './value-codec.ts';

/**
 * A file that is written once and read whole: any bit that changed, and any byte that is missing, makes it damaged.
 *
 * "ADBFILE\1", then chunks (4 bytes of length, the bytes), then 4 bytes 0xFFFFFFFF and SHA-256 of all before it.
 */
const MAGIC = Buffer.from('ADBFILE\u0001', 'latin1');
const END = 0xffff_ffff;
const HASH_BYTES = 32;
/** Hashed and written at once. */
const WRITE_BYTES = 1_048_576;

/** Nobody sees the file before `finish`; what was written by then is on stable storage, but for its name. */
export class CheckedFileWriter {
  readonly #disk: Disk;
  readonly #path: string;
  readonly #file: DiskFile;
  readonly #hash: Hash = createHash('sha256');
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #offset = 0;

  private constructor(disk: Disk, path: string, file: DiskFile) {
    this.#disk = disk;
    this.#path = path;
    this.#file = file;
    this.#add(MAGIC);
  }

  static async create(disk: Disk, path: string): Promise<CheckedFileWriter> {
    return new CheckedFileWriter(disk, path, await disk.open(path + DRAFT_ENDING, 'create'));
  }

  /** The pieces must not change until the file is finished: they are put together before they are written. */
  async chunk(pieces: readonly Uint8Array[]): Promise<void> {
    const length = new Uint8Array(4);
    const total = pieces.reduce((sum, piece) => sum + piece.length, 0);
    new DataView(length.buffer).setUint32(0, total, true);
    this.#add(length);
    for (const piece of pieces) {
      for (let start = 0; start < piece.length; start += WRITE_BYTES) {
        this.#add(piece.subarray(start, start + WRITE_BYTES));
        if (this.#pendingBytes >= WRITE_BYTES) await this.#flush();
      }
    }
  }

  /** Gives the file its name: by `nameOf` the hash, where it is named after its content. */
  async finish(nameOf?: (hash: Uint8Array) => string): Promise<FinishedFile> {
    const end = new Uint8Array(4);
    new DataView(end.buffer).setUint32(0, END, true);
    this.#add(end);
    await this.#flush();
    const hash = new Uint8Array(this.#hash.digest());
    await this.#file.write(this.#offset, hash);
    await this.#file.sync();
    await this.#file.close();
    const path = nameOf?.(hash) ?? this.#path;
    await this.#disk.rename(this.#path + DRAFT_ENDING, path);
    return { path, hash, byteLength: this.#offset + HASH_BYTES };
  }

  async abandon(): Promise<void> {
    await this.#file.close().catch(() => undefined);
    await this.#disk.remove(this.#path + DRAFT_ENDING).catch(() => undefined);
  }

  #add(bytes: Uint8Array): void {
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
  }

  async #flush(): Promise<void> {
    const bytes = joined(this.#pending);
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#hash.update(bytes);
    await this.#file.write(this.#offset, bytes);
    this.#offset += bytes.length;
  }
}

export type FinishedFile = {
  readonly path: string;
  readonly hash: Uint8Array;
  readonly byteLength: number;
};

/** The chunks of a file; undefined where it is missing or damaged, or not the one with `hash`. */
export async function readChecked(
  disk: Disk,
  path: string,
  hash?: Uint8Array,
): Promise<readonly Uint8Array[] | undefined> {
  let bytes: Uint8Array;
  try {
    const file = await disk.open(path, 'read');
    try {
      bytes = await file.read(0, await file.size());
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    throw cause;
  }
  const end = bytes.length - HASH_BYTES;
  if (end < MAGIC.length + 4 || Buffer.compare(bytes.subarray(0, MAGIC.length), MAGIC) !== 0)
    return undefined;
  const told = bytes.subarray(end);
  if (hash !== undefined && Buffer.compare(hash, told) !== 0) return undefined;
  const found = createHash('sha256').update(bytes.subarray(0, end)).digest();
  if (Buffer.compare(found, told) !== 0) return undefined;
  const chunks: Uint8Array[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let offset = MAGIC.length; ;) {
    const length = view.getUint32(offset, true);
    if (length === END) return chunks;
    chunks.push(bytes.subarray(offset + 4, offset + 4 + length));
    offset += 4 + length;
  }
}
