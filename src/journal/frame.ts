import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { assert, DbError } from '../base/errors.ts';
import { instantMs, position } from '../base/units.ts';
import type { JournalRecord } from './record.ts';
import { joined } from './value-codec.ts';
import type { ValueCodec } from './value-codec.ts';

/**
 * The journal as bytes: a run of frames.
 *
 * 1. A frame is a header of 40 bytes and a body of at most 1 MB less the header. Its checksum covers both.
 * 2. A commit is one frame or several, numbered from 0; the last has the commit mark. Frames of a commit whose last one is
 *    missing are ignored: another commit may have been begun after them.
 * 3. A group of commits ends with a seal, whose body is SHA-256(the seal before, then all frames since it). A group counts
 *    when its seal is there, since nothing is acknowledged before. So the last seal vouches for all bytes before it.
 * 4. Positions of the commits that count are dense.
 *
 * | at | bytes | |
 * |---|---|---|
 * | 0 | 4 | magic "ADBJ" |
 * | 4 | 1 | frame format, 1 |
 * | 5 | 1 | flags: 1 commit mark, 2 seal |
 * | 6 | 2 | schema version of the payload |
 * | 8 | 8 | position (of a seal: the last of its group) |
 * | 16 | 8 | instant of the commit, ms since 1970, as a double |
 * | 24 | 4 | number of the frame in its commit |
 * | 28 | 4 | body length |
 * | 32 | 4 | 0 |
 * | 36 | 4 | CRC-32 of the 36 bytes before and of the body |
 *
 * The body of a commit, put together from its frames: length of the kind (1 byte), the kind (UTF-8), the payload.
 */
export const FRAME_BYTES_MAX = 1_048_576;
export const HEADER_BYTES = 40;
const BODY_BYTES_MAX = FRAME_BYTES_MAX - HEADER_BYTES;
const MAGIC = 0x4a42_4441;
const FORMAT = 1;
const COMMIT_MARK = 1;
const SEAL = 2;
const CHAIN_BYTES = 32;

/** What the chain begins with, before the first seal of a journal. */
export const CHAIN_START: Uint8Array = new Uint8Array(CHAIN_BYTES);

/** Turns groups of records into frames, in order; holds the chain. */
export class FrameWriter {
  readonly #codec: ValueCodec;
  #chain: Uint8Array;

  constructor(codec: ValueCodec, chain: Uint8Array = CHAIN_START) {
    this.#codec = codec;
    this.#chain = chain;
  }

  /** The hash in the last seal. */
  get chain(): Uint8Array {
    return this.#chain;
  }

  /** The frames of one group, its seal last. One frame at a time, so that a big commit can be written in steps. */
  *write(records: readonly JournalRecord[]): Generator<Uint8Array, void, undefined> {
    assert(records.length > 0, 'a group has records');
    const hash = createHash('sha256').update(this.#chain);
    for (const record of records) {
      for (const frame of framesOf(record, this.#codec)) {
        hash.update(frame);
        yield frame;
      }
    }
    const last = records.at(-1)!;
    const chain = new Uint8Array(hash.digest());
    this.#chain = chain;
    yield frameOf([chain], CHAIN_BYTES, { ...last, schemaVersion: 0 }, 0, SEAL);
  }
}

function* framesOf(
  record: JournalRecord,
  codec: ValueCodec,
): Generator<Uint8Array, void, undefined> {
  const kind = Buffer.from(record.kind, 'utf8');
  assert(kind.length < 256, 'the name of a record kind is short');
  const pieces = [Uint8Array.of(kind.length), kind, ...codec.encodePieces(record.payload)];
  let left = pieces.reduce((sum, piece) => sum + piece.length, 0);
  let pieceIndex = 0;
  let pieceOffset = 0;
  for (let number = 0; left > 0; number += 1) {
    const length = Math.min(left, BODY_BYTES_MAX);
    const body: Uint8Array[] = [];
    for (let wanted = length; wanted > 0;) {
      const piece = pieces[pieceIndex]!;
      const part = piece.subarray(pieceOffset, pieceOffset + wanted);
      body.push(part);
      wanted -= part.length;
      pieceOffset += part.length;
      if (pieceOffset === piece.length) {
        pieceIndex += 1;
        pieceOffset = 0;
      }
    }
    left -= length;
    yield frameOf(body, length, record, number, left === 0 ? COMMIT_MARK : 0);
  }
}

function frameOf(
  body: readonly Uint8Array[],
  bodyLength: number,
  record: JournalRecord,
  number: number,
  flags: number,
): Uint8Array {
  const frame = new Uint8Array(HEADER_BYTES + bodyLength);
  const view = new DataView(frame.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint8(4, FORMAT);
  view.setUint8(5, flags);
  view.setUint16(6, record.schemaVersion, true);
  view.setBigUint64(8, BigInt(record.position), true);
  view.setFloat64(16, record.instantMs, true);
  view.setUint32(24, number, true);
  view.setUint32(28, bodyLength, true);
  let offset = HEADER_BYTES;
  for (const part of body) {
    frame.set(part, offset);
    offset += part.length;
  }
  view.setUint32(36, checksum(frame), true);
  return frame;
}

function checksum(frame: Uint8Array): number {
  return crc32(frame.subarray(HEADER_BYTES), crc32(frame.subarray(0, 36)));
}

/** How the bytes end. */
export type JournalEnd =
  | { readonly kind: 'clean' }
  /**
   * After the last seal something follows that is no sealed group: a write that was cut short. It was never acknowledged and is
   * to be cut off at `offset`.
   */
  | { readonly kind: 'torn'; readonly offset: number; readonly why: string };

/**
 * Reads frames, group by group. What it has given out, a seal vouches for. Damage before a later whole frame cannot be a
 * torn write: that is ADB_JOURNAL_CORRUPT, with the position of the last good record.
 */
export class FrameReader {
  /** Once the generator is done. */
  end: JournalEnd = { kind: 'clean' };
  /** Commits that were begun and never ended, in groups that count. */
  ignoredFrames = 0;
  readonly #bytes: Uint8Array;
  readonly #codec: ValueCodec;
  readonly #acknowledged: number;
  #chain: Uint8Array;
  #lastPosition: number;

  /**
   * `after`: the chain and position that the bytes continue, where they are not the beginning of the journal.
   * `acknowledged`: a position that is known to be in them, without which a loss at the very end looks like a torn write.
   */
  constructor(
    bytes: Uint8Array,
    codec: ValueCodec,
    known: {
      readonly after?: { readonly chain: Uint8Array; readonly position: number };
      readonly acknowledged?: number;
    } = {},
  ) {
    this.#bytes = bytes;
    this.#codec = codec;
    this.#acknowledged = known.acknowledged ?? 0;
    this.#chain = known.after?.chain ?? CHAIN_START;
    this.#lastPosition = known.after?.position ?? 0;
  }

  get chain(): Uint8Array {
    return this.#chain;
  }

  *groups(): Generator<readonly JournalRecord[], void, undefined> {
    yield* this.#sealedGroups();
    if (this.#lastPosition < this.#acknowledged) {
      throw this.#corrupt(`it ends before position ${this.#acknowledged}`, this.#bytes.length);
    }
  }

  *#sealedGroups(): Generator<readonly JournalRecord[], void, undefined> {
    let offset = 0;
    let groupStart = 0;
    let hash = createHash('sha256').update(this.#chain);
    let frames: Frame[] = [];
    while (offset < this.#bytes.length) {
      const frame = frameAt(this.#bytes, offset);
      if (typeof frame === 'string') {
        this.#refuseUnlessTorn(offset, frame);
        this.end = { kind: 'torn', offset: groupStart, why: frame };
        return;
      }
      if ((frame.flags & SEAL) === 0) {
        hash.update(frame.bytes);
        frames.push(frame);
        offset += frame.bytes.length;
        continue;
      }
      const chain = new Uint8Array(hash.digest());
      if (Buffer.compare(chain, frame.body) !== 0) {
        throw this.#corrupt('a seal does not fit what it seals', groupStart);
      }
      offset += frame.bytes.length;
      const records = this.#recordsOf(frames, groupStart);
      if (records.at(-1)?.position !== frame.position) {
        throw this.#corrupt('a seal names another position', groupStart);
      }
      this.#chain = chain;
      yield records;
      groupStart = offset;
      hash = createHash('sha256').update(chain);
      frames = [];
    }
    if (frames.length > 0) {
      this.end = { kind: 'torn', offset: groupStart, why: 'the last group has no seal' };
    }
  }

  #recordsOf(frames: readonly Frame[], groupStart: number): readonly JournalRecord[] {
    const records: JournalRecord[] = [];
    let parts: Frame[] = [];
    for (const frame of frames) {
      if (frame.number === 0) {
        this.ignoredFrames += parts.length;
        parts = [];
      } else if (parts.length !== frame.number) {
        throw this.#corrupt('the frames of a commit follow each other', groupStart);
      }
      parts.push(frame);
      if ((frame.flags & COMMIT_MARK) === 0) continue;
      const record = recordOf(parts, this.#codec);
      if (record.position !== this.#lastPosition + 1) {
        throw this.#corrupt(`position ${record.position} does not follow`, groupStart);
      }
      this.#lastPosition = record.position;
      records.push(record);
      parts = [];
    }
    this.ignoredFrames += parts.length;
    return records;
  }

  #refuseUnlessTorn(offset: number, why: string): void {
    for (let later = offset + 1; later + HEADER_BYTES <= this.#bytes.length; later += 1) {
      if (this.#bytes[later] !== 0x41) continue; // The magic's first byte.
      if (typeof frameAt(this.#bytes, later) !== 'string') throw this.#corrupt(why, offset);
    }
  }

  #corrupt(why: string, offset: number): DbError {
    return new DbError('ADB_JOURNAL_CORRUPT', `corrupt journal: ${why}`, {
      position: this.#lastPosition,
      detail: `The damage is at byte ${offset} or after it; all before it is sound.`,
      hint: 'Restore the file from a copy; nothing after this place can be trusted.',
    });
  }
}

type Frame = {
  readonly bytes: Uint8Array;
  readonly body: Uint8Array;
  readonly flags: number;
  readonly schemaVersion: number;
  readonly position: number;
  readonly instantMs: number;
  readonly number: number;
};

/** The frame that begins at `offset`, or why there is none. */
function frameAt(bytes: Uint8Array, offset: number): Frame | string {
  if (offset + HEADER_BYTES > bytes.length) return 'a frame ends within its header';
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, HEADER_BYTES);
  if (view.getUint32(0, true) !== MAGIC) return 'a frame begins with another magic';
  const length = view.getUint32(28, true);
  if (length > BODY_BYTES_MAX) return 'a frame is too long';
  if (offset + HEADER_BYTES + length > bytes.length) return 'a frame ends within its body';
  const frame = bytes.subarray(offset, offset + HEADER_BYTES + length);
  if (view.getUint32(36, true) !== checksum(frame)) return 'a checksum is wrong';
  if (view.getUint8(4) !== FORMAT) return `a frame is of format ${view.getUint8(4)}`;
  return {
    bytes: frame,
    body: frame.subarray(HEADER_BYTES),
    flags: view.getUint8(5),
    schemaVersion: view.getUint16(6, true),
    position: Number(view.getBigUint64(8, true)),
    instantMs: view.getFloat64(16, true),
    number: view.getUint32(24, true),
  };
}

function recordOf(parts: readonly Frame[], codec: ValueCodec): JournalRecord {
  const body = joined(parts.map((part) => part.body));
  const kindEnd = 1 + body[0]!;
  const first = parts[0]!;
  const payload = codec.decode(body.subarray(kindEnd));
  return {
    position: position(first.position),
    instantMs: instantMs(first.instantMs),
    kind: Buffer.from(body.subarray(1, kindEnd)).toString('utf8'),
    schemaVersion: first.schemaVersion,
    payload,
    heapBytes: codec.heapBytes(payload),
  };
}
