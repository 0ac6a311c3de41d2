import { crc32 } from 'node:zlib';
import type { Disk, DiskFile } from '../base/ports.ts';
import { getSafe, setSafe, type Seal } from './frame.ts';

/**
 * A position up to which commits are known to be on stable storage, in a file of its own: without it, a journal whose last acknowledged
 * bytes are lost or damaged would look like one whose last write was cut short. It is written after the journal was
 * synced, so it never says too much; it may lag behind, then it says less.
 *
 * Two slots are written in turns, so that one of them is whole whenever the process or the machine ends.
 */
export class Watermark {
  /** What the file says; undefined when it says nothing. */
  readonly found: Seal | undefined;
  readonly #file: DiskFile;
  #turn: number;
  #position: number;

  private constructor(
    file: DiskFile,
    found: { readonly seal: Seal; readonly turn: number } | undefined,
  ) {
    this.#file = file;
    this.found = found?.seal;
    this.#turn = found?.turn ?? 0;
    this.#position = found?.seal.position ?? 0;
  }

  static async open(disk: Disk, directory: string): Promise<Watermark> {
    const path = `${directory}/${NAME}`;
    const isThere = (await disk.list(directory)).includes(NAME);
    const file = await disk.open(path, isThere ? 'write' : 'create');
    try {
      if (!isThere) {
        await file.write(0, new Uint8Array(SLOT_DISTANCE + SLOT_BYTES));
        await file.sync();
        await disk.syncDirectory(directory);
        return new Watermark(file, undefined);
      }
      let newest: { readonly seal: Seal; readonly turn: number } | undefined;
      for (const slot of [0, 1]) {
        const read = slotOf(await file.read(slot * SLOT_DISTANCE, SLOT_BYTES));
        if (read !== undefined && (newest === undefined || read.turn > newest.turn)) newest = read;
      }
      return new Watermark(file, newest);
    } catch (cause) {
      await file.close();
      throw cause;
    }
  }

  get position(): number {
    return this.#position;
  }

  /** Without `sync` it survives the process, and mostly the machine. */
  async write(seal: Seal, options: { readonly sync: boolean }): Promise<void> {
    this.#turn += 1;
    const bytes = new Uint8Array(SLOT_BYTES);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, MAGIC, true);
    view.setUint32(4, this.#turn, true);
    setSafe(view, 8, seal.position);
    bytes.set(seal.chain, 16);
    view.setUint32(48, crc32(bytes.subarray(0, 48)), true);
    await this.#file.write((this.#turn % 2) * SLOT_DISTANCE, bytes);
    if (options.sync) await this.#file.sync();
    this.#position = seal.position;
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}

const NAME = 'acknowledged';
const MAGIC = 0x4d57_4441;
const SLOT_BYTES = 52;
/** In sectors of their own, so that a write of one cannot tear the other. */
const SLOT_DISTANCE = 4096;

function slotOf(bytes: Uint8Array): { readonly seal: Seal; readonly turn: number } | undefined {
  if (bytes.length < SLOT_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.getUint32(0, true) !== MAGIC) return undefined;
  if (view.getUint32(48, true) !== crc32(bytes.subarray(0, 48))) return undefined;
  return {
    seal: { position: getSafe(view, 8), chain: bytes.slice(16, 48) },
    turn: view.getUint32(4, true),
  };
}
