import { crc32 } from 'node:zlib';
import type { Disk } from '../base/ports.ts';
import { corruptJournal, getSafe, setSafe, type Seal } from './frame.ts';

/**
 * A journal on disk is a run of files, each named after its first position. A file begins with what it goes on from, then
 * come frames.
 *
 * | at | bytes | |
 * |---|---|---|
 * | 0 | 8 | "ADBSEG\0\1": the last byte is the format |
 * | 8 | 8 | position before the first one in the file |
 * | 16 | 32 | chain at that position |
 * | 48 | 4 | CRC-32 of the 48 bytes before |
 */
export const SEGMENT_HEADER_BYTES = 52;
const MAGIC = Buffer.from('ADBSEG\0\u0001', 'latin1');

export function segmentHeader(after: Seal): Uint8Array {
  const bytes = new Uint8Array(SEGMENT_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(MAGIC);
  setSafe(view, 8, after.position);
  bytes.set(after.chain, 16);
  view.setUint32(48, crc32(bytes.subarray(0, 48)), true);
  return bytes;
}

const NAME = /^journal-(\d{16})\.adb$/;
/** A file that is being made: nothing refers to it yet. */
export const DRAFT_ENDING = '.new';

export function segmentName(firstPosition: number): string {
  return `journal-${String(firstPosition).padStart(16, '0')}.adb`;
}

/** A file of the journal, closed or growing. */
export type SegmentFile = {
  readonly name: string;
  readonly path: string;
  readonly after: Seal;
  /** Bytes of it that count, header included. */
  byteLength: number;
};

/** The files of a journal, in order; what each goes on from is checked against nothing yet. */
export async function segmentFiles(disk: Disk, directory: string): Promise<SegmentFile[]> {
  const files: SegmentFile[] = [];
  for (const name of await disk.list(directory)) {
    const match = NAME.exec(name);
    if (match === null) continue;
    const path = `${directory}/${name}`;
    const file = await disk.open(path, 'read');
    try {
      const bytes = await file.read(0, SEGMENT_HEADER_BYTES);
      const before = Number(match[1]) - 1;
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      // A file gets its name when its header is on stable storage: there is no such thing as half a header.
      const sound =
        bytes.length === SEGMENT_HEADER_BYTES &&
        Buffer.compare(bytes.subarray(0, 8), MAGIC) === 0 &&
        view.getUint32(48, true) === crc32(bytes.subarray(0, 48)) &&
        getSafe(view, 8) === before;
      if (!sound)
        throw corruptJournal('the head of a file is damaged', {
          position: files.at(-1)?.after.position ?? before,
          place: `The damage is in the first ${SEGMENT_HEADER_BYTES} bytes of ${name}.`,
        });
      files.push({
        name,
        path,
        after: { position: before, chain: bytes.slice(16, 48) },
        byteLength: await file.size(),
      });
    } finally {
      await file.close();
    }
  }
  return files;
}
