import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { assert, DbError } from '../base/errors.ts';
import { instantMs, position } from '../base/units.ts';
import type { JournalRecord, PayloadCodec } from './record.ts';
import { joined } from './value-codec.ts';

/**
 * The journal as bytes: a run of frames.
 *
 * 1. A frame is a header of 44 bytes and a body of at most 1 MB less the header. Its checksum covers both.
 * 2. A commit is one frame or several, numbered from 0; the last has the commit mark. Frames of a commit whose last one is
 *    missing are ignored: another commit may have been begun after them.
 * 3. A group of commits ends with a seal, whose body is SHA-256(the seal before, then all frames since it). A group counts
 *    when its seal is there, since nothing is acknowledged before. So the last seal vouches for all bytes before it.
 * 4. Positions of the commits that count are dense.
 * 5. A frame says up to which position commits were on stable storage when it was written. So what is damaged before that
 *    position cannot be a write that was cut short.
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
 * | 32 | 8 | position up to which commits were known to survive a power loss |
 * | 40 | 4 | CRC-32 of the 40 bytes before and of the body |
 *
 * The body of a commit, put together from its frames: length of the kind (1 byte), the kind (UTF-8), the payload.
 */
export const FRAME_BYTES_MAX = 1_048_576;
export const HEADER_BYTES = 44;
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
  readonly #codec: PayloadCodec;
  #chain: Uint8Array;

  constructor(codec: PayloadCodec, chain: Uint8Array = CHAIN_START) {
    this.#codec = codec;
    this.#chain = chain;
  }

  /** The hash in the last seal. */
  get chain(): Uint8Array {
    return this.#chain;
  }

  /**
   * The frames of one group, its seal last. One frame at a time, so that a big commit can be written in steps. The chain has
   * moved on once the seal is given out. `durable`: see 5.
   */
  *write(records: readonly JournalRecord[], durable = 0): Generator<Uint8Array, void, undefined> {
    assert(records.length > 0, 'a group has records');
    const hash = createHash('sha256').update(this.#chain);
    for (const record of records) {
      for (const frame of framesOf(record, this.#codec, durable)) {
        hash.update(frame);
        yield frame;
      }
    }
    const last = records.at(-1)!;
    const chain = new Uint8Array(hash.digest());
    this.#chain = chain;
    yield frameOf([chain], CHAIN_BYTES, { ...last, schemaVersion: 0 }, 0, SEAL, durable);
  }
}

function* framesOf(
  record: JournalRecord,
  codec: PayloadCodec,
  durable: number,
): Generator<Uint8Array, void, undefined> {
  const kind = Buffer.from(record.kind, 'utf8');
  assert(kind.length < 256, 'the name of a record kind is short');
  let body: Uint8Array[] = [Uint8Array.of(kind.length), kind];
  let length = 1 + kind.length;
  let number = 0;
  for (const piece of codec.encodePieces(record.payload)) {
    let offset = 0;
    while (offset < piece.length) {
      // A full body is given out once more is known to follow: only the last frame has the mark.
      if (length === BODY_BYTES_MAX) {
        yield frameOf(body, length, record, number, 0, durable);
        number += 1;
        body = [];
        length = 0;
      }
      const part = piece.subarray(offset, offset + BODY_BYTES_MAX - length);
      body.push(part);
      length += part.length;
      offset += part.length;
    }
  }
  yield frameOf(body, length, record, number, COMMIT_MARK, durable);
}

function frameOf(
  body: readonly Uint8Array[],
  bodyLength: number,
  record: JournalRecord,
  number: number,
  flags: number,
  durable: number,
): Uint8Array {
  const frame = new Uint8Array(HEADER_BYTES + bodyLength);
  const view = new DataView(frame.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint8(4, FORMAT);
  view.setUint8(5, flags);
  view.setUint16(6, record.schemaVersion, true);
  setSafe(view, 8, record.position);
  view.setFloat64(16, record.instantMs, true);
  view.setUint32(24, number, true);
  view.setUint32(28, bodyLength, true);
  setSafe(view, 32, durable);
  let offset = HEADER_BYTES;
  for (const part of body) {
    frame.set(part, offset);
    offset += part.length;
  }
  view.setUint32(40, checksum(frame), true);
  return frame;
}

/** A safe natural number as 64 bits, without a bigint. */
export function setSafe(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 0x1_0000_0000, true);
  view.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true);
}

/** What `setSafe` wrote; of other bytes perhaps more than is safe. */
export function getSafe(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 0x1_0000_0000;
}

function checksum(frame: Uint8Array): number {
  return crc32(frame.subarray(HEADER_BYTES), crc32(frame.subarray(0, HEADER_BYTES - 4)));
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
 * Reads frames, group by group. What it has given out, a seal vouches for. What cannot be a write that was cut short is
 * ADB_JOURNAL_CORRUPT, with the position of the last good record: damage where commits are known to have been on stable
 * storage, or before which others, as later frames tell.
 */
export class FrameReader {
  /** Once the generator is done. */
  end: JournalEnd = { kind: 'clean' };
  /** Commits that were begun and never ended, in groups that count. */
  ignoredFrames = 0;
  readonly #bytes: Uint8Array;
  readonly #codec: PayloadCodec;
  readonly #known: KnownOfBytes;
  #chain: Uint8Array;
  #lastPosition: number;
  #lastInstantMs = -Infinity;
  #offset = 0;

  constructor(bytes: Uint8Array, codec: PayloadCodec, known: KnownOfBytes = {}) {
    this.#bytes = bytes;
    this.#codec = codec;
    this.#known = known;
    this.#chain = known.after?.chain ?? CHAIN_START;
    this.#lastPosition = known.after?.position ?? 0;
  }

  /** Of the last group that was given out. */
  get chain(): Uint8Array {
    return this.#chain;
  }

  get position(): number {
    return this.#lastPosition;
  }

  get instantMs(): number {
    return this.#lastInstantMs;
  }

  /** Where the last group that was given out ends. */
  get offset(): number {
    return this.#offset;
  }

  /** Records up to `skipTo` are looked at, but not decoded and not given out: their groups are empty. */
  *groups(skipTo = 0): Generator<readonly JournalRecord[], void, undefined> {
    const { until } = this.#known;
    if (until === undefined || until.position > this.#lastPosition)
      yield* this.#sealedGroups(skipTo);
    if (until !== undefined && !isAt(until, this.#lastPosition, this.#chain)) {
      throw this.#corrupt(
        this.#lastPosition === until.position
          ? 'it is not what the file after it goes on from'
          : `it ends before position ${until.position}`,
        this.#offset,
      );
    }
    const acknowledged = this.#known.acknowledged ?? 0;
    if (this.#lastPosition < acknowledged)
      throw this.#corrupt(`it ends before position ${acknowledged}`, this.#offset);
  }

  *#sealedGroups(skipTo: number): Generator<readonly JournalRecord[], void, undefined> {
    const { until, sealedAt } = this.#known;
    let offset = 0;
    let hash = createHash('sha256').update(this.#chain);
    let frames: Frame[] = [];
    while (offset < this.#bytes.length) {
      const frame = frameAt(this.#bytes, offset);
      if (typeof frame === 'string') {
        this.#refuseUnlessTorn(offset, frame);
        this.end = { kind: 'torn', offset: this.#offset, why: frame };
        return;
      }
      if ((frame.flags & SEAL) === 0) {
        hash.update(frame.bytes);
        frames.push(frame);
        offset += frame.bytes.length;
        continue;
      }
      const chain = new Uint8Array(hash.digest());
      if (Buffer.compare(chain, frame.body) !== 0)
        throw this.#corrupt('a seal does not fit what it seals', this.#offset);
      const records = this.#recordsOf(frames, skipTo);
      if (this.#lastPosition !== frame.position)
        throw this.#corrupt('a seal names another position', this.#offset);
      if (
        sealedAt !== undefined &&
        sealedAt.position === frame.position &&
        !isAt(sealedAt, frame.position, chain)
      )
        throw this.#corrupt('it is not what was acknowledged', this.#offset);
      offset += frame.bytes.length;
      this.#offset = offset;
      this.#chain = chain;
      this.#lastInstantMs = frame.instantMs;
      yield records;
      // What follows was given up when the file after it was begun.
      if (until !== undefined && this.#lastPosition >= until.position) return;
      hash = createHash('sha256').update(chain);
      frames = [];
    }
    if (frames.length > 0)
      this.end = { kind: 'torn', offset: this.#offset, why: 'the last group has no seal' };
  }

  #recordsOf(frames: readonly Frame[], skipTo: number): readonly JournalRecord[] {
    const records: JournalRecord[] = [];
    let parts: Frame[] = [];
    for (const frame of frames) {
      if (frame.number === 0) {
        this.ignoredFrames += parts.length;
        parts = [];
      } else if (parts.length !== frame.number) {
        throw this.#corrupt('the frames of a commit follow each other', this.#offset);
      }
      parts.push(frame);
      if ((frame.flags & COMMIT_MARK) === 0) continue;
      if (frame.position !== this.#lastPosition + 1)
        throw this.#corrupt(`position ${frame.position} does not follow`, this.#offset);
      if (frame.position > skipTo) records.push(this.#decoded(parts));
      this.#lastPosition = frame.position;
      parts = [];
    }
    this.ignoredFrames += parts.length;
    return records;
  }

  #decoded(parts: readonly Frame[]): JournalRecord {
    try {
      return recordOf(parts, this.#codec);
    } catch (cause) {
      throw cause instanceof DbError && cause.code === 'ADB_JOURNAL_CORRUPT'
        ? this.#corrupt(cause.message.replace('corrupt journal: ', ''), this.#offset, cause)
        : cause;
    }
  }

  /** Frames behind the damage tell whether what is damaged had been on stable storage. */
  #refuseUnlessTorn(offset: number, why: string): void {
    const acknowledged = this.#known.acknowledged ?? 0;
    if (this.#lastPosition < acknowledged || this.#known.until !== undefined)
      throw this.#corrupt(why, offset);
    const bytes = Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.length);
    for (
      let later = bytes.indexOf(MAGIC_BYTES, offset + 1);
      later >= 0;
      later = bytes.indexOf(MAGIC_BYTES, later + 1)
    ) {
      const frame = frameAt(this.#bytes, later);
      if (typeof frame !== 'string' && frame.durable > this.#lastPosition)
        throw this.#corrupt(why, offset);
    }
  }

  #corrupt(why: string, offset: number, cause?: unknown): DbError {
    return corruptJournal(why, {
      position: this.#lastPosition,
      place: `The damage is ${this.#known.name === undefined ? '' : `in ${this.#known.name}, `}at byte ${(this.#known.offset ?? 0) + offset} or after it; all before it is sound.`,
      cause,
    });
  }
}

/** `position`: of the last good record. */
export function corruptJournal(
  why: string,
  details: { readonly position: number; readonly place: string; readonly cause?: unknown },
): DbError {
  return new DbError('ADB_JOURNAL_CORRUPT', `corrupt journal: ${why}`, {
    position: details.position,
    detail: details.place,
    hint: 'Restore the file from a copy; nothing after this place can be trusted.',
    cause: details.cause,
  });
}

/** The end of a group. */
export type Seal = { readonly position: number; readonly chain: Uint8Array };

/** What is known of a run of frames beside the run itself. */
export type KnownOfBytes = {
  /** The chain and position that the bytes continue, where they are not the beginning of the journal. */
  readonly after?: Seal | undefined;
  /** Where the next file goes on: the bytes reach to there, and whatever follows does not count. */
  readonly until?: Seal | undefined;
  /** A position that is known to have been acknowledged, without which a loss at the very end looks like a torn write. */
  readonly acknowledged?: number | undefined;
  /** A seal that is known to have been written. */
  readonly sealedAt?: Seal | undefined;
  /** The file, and where in it the bytes begin: for errors. */
  readonly name?: string | undefined;
  readonly offset?: number | undefined;
};

export function isAt(seal: Seal, at: number, chain: Uint8Array): boolean {
  return seal.position === at && Buffer.compare(seal.chain, chain) === 0;
}

const MAGIC_BYTES = Buffer.from('ADBJ', 'latin1');

type Frame = {
  readonly bytes: Uint8Array;
  readonly body: Uint8Array;
  readonly flags: number;
  readonly schemaVersion: number;
  readonly position: number;
  readonly instantMs: number;
  readonly number: number;
  readonly durable: number;
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
  if (view.getUint32(40, true) !== checksum(frame)) return 'a checksum is wrong';
  if (view.getUint8(4) !== FORMAT) return `a frame is of format ${view.getUint8(4)}`;
  return {
    bytes: frame,
    body: frame.subarray(HEADER_BYTES),
    flags: view.getUint8(5),
    schemaVersion: view.getUint16(6, true),
    position: getSafe(view, 8),
    instantMs: view.getFloat64(16, true),
    number: view.getUint32(24, true),
    durable: getSafe(view, 32),
  };
}

function recordOf(parts: readonly Frame[], codec: PayloadCodec): JournalRecord {
  const body = joined(parts.map((part) => part.body));
  const kindEnd = 1 + body[0]!;
  const first = parts[0]!;
  const payload = codec.decode(body.subarray(kindEnd), first.schemaVersion);
  return {
    position: position(first.position),
    instantMs: instantMs(first.instantMs),
    kind: Buffer.from(body.subarray(1, kindEnd)).toString('utf8'),
    schemaVersion: first.schemaVersion,
    payload,
    heapBytes: codec.heapBytes(payload),
  };
}
