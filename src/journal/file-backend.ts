import { DbError } from '../base/errors.ts';
import type { Clock, Disk, DiskFile, DiskLock, TimerHandle } from '../base/ports.ts';
import { position, type Position } from '../base/units.ts';
import type { JournalBackend, JournalChunk, JournalGroup, JournalReader } from './backend.ts';
import { CHAIN_START, corruptJournal, FrameReader, FrameWriter, type Seal } from './frame.ts';
import { goneError } from './memory-backend.ts';
import type { JournalRecord, PayloadCodec } from './record.ts';
import {
  DRAFT_ENDING,
  SEGMENT_HEADER_BYTES,
  segmentFiles,
  segmentHeader,
  segmentName,
  type SegmentFile,
} from './segment-file.ts';
import { joined } from './value-codec.ts';
import { Watermark } from './watermark.ts';

/**
 * 'always': a commit is acknowledged when it is on stable storage: it survives a power loss.
 * 'interval': when the operating system has it: it survives the end of the process, and a power loss once `fsyncMs` and the
 * time of a sync have passed.
 */
export type FsyncMode = 'always' | 'interval';

export type FileBackendOptions = {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly directory: string;
  readonly codec: PayloadCodec;
  readonly fsync: FsyncMode;
  /** For 'interval': a sync begins at most so long after what it is for. */
  readonly fsyncMs?: number | undefined;
  /** A file that has reached this is followed by a new one. */
  readonly segmentBytes?: number | undefined;
};

const SEGMENT_BYTES = 64 * 1_048_576;
const FSYNC_MS = 200;
/** Frames are put together up to this before they are written. */
const WRITE_BYTES = 1_048_576;
/** While writes go on the watermark follows at this distance; when they pause, at once. */
const WATERMARK_MS = 100;
/** Written and taken back to learn whether there is room again. */
const PROBE_BYTES = 1_048_576;

/**
 * Records in files, framed and chained. Rules, on top of JournalBackend's:
 *
 * 1. A process never writes into a file that another one has begun; a file that is followed by another is never written again. The file that
 *    follows says where it goes on from, and nothing behind that place in the file before it counts.
 * 2. A file is followed by another only once all of it is on stable storage.
 * 3. After a failed sync nothing is written any more by this process, since nobody knows what the sync has lost. Whoever opens the
 *    journal next copies what was not proven to be on stable storage to a new file before he goes on from it.
 * 4. A write for which there is no room is taken back (the file is cut to where it was, and synced) before it is reported to have
 *    failed; where that succeeds, the journal goes on once there is room.
 */
export class FileBackend implements JournalBackend {
  readonly name = 'file';
  /** All that wait become durable by one sync. */
  readonly groupsInFlightMax = 8;
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #directory: string;
  readonly #codec: PayloadCodec;
  readonly #fsync: FsyncMode;
  readonly #fsyncMs: number;
  readonly #segmentBytes: number;
  readonly #lock: DiskLock;
  readonly #watermark: Watermark;
  #writer: FrameWriter;
  /** Oldest first. The last one is the one that grows, where `#file` is there. */
  readonly #segments: SegmentFile[];
  #file: DiskFile | undefined;
  /** Where the next frame goes. */
  #end = 0;
  /** The newest commits that are written, and that are on stable storage. */
  #written: Seal;
  #durable: Seal;
  #acknowledged: number;
  readonly #queue: InFlight[] = [];
  #working: Promise<void> | undefined;
  #syncing: Promise<void> | undefined;
  #syncTimer: TimerHandle | undefined;
  #watermarkMs = -Infinity;
  #removing: Promise<void> = Promise.resolve();
  #state: 'open' | 'full' | 'broken' | 'closed' = 'open';
  #failure: DbError | undefined;

  private constructor(
    options: FileBackendOptions,
    found: {
      readonly lock: DiskLock;
      readonly watermark: Watermark;
      readonly segments: SegmentFile[];
      readonly end: Seal;
    },
  ) {
    this.#disk = options.disk;
    this.#clock = options.clock;
    this.#directory = options.directory;
    this.#codec = options.codec;
    this.#fsync = options.fsync;
    this.#fsyncMs = options.fsyncMs ?? FSYNC_MS;
    this.#segmentBytes = options.segmentBytes ?? SEGMENT_BYTES;
    this.#lock = found.lock;
    this.#watermark = found.watermark;
    this.#segments = found.segments;
    this.#written = found.end;
    this.#durable = found.end;
    this.#acknowledged = found.end.position;
    this.#writer = new FrameWriter(options.codec, found.end.chain);
  }

  /**
   * Takes the directory, finds the end of the journal and cuts off what was not written whole. ADB_JOURNAL_CORRUPT where the end or
   * the files' order is damaged (damage in the middle is found by reading), 55006 where another process has it.
   */
  static async open(options: FileBackendOptions): Promise<FileBackend> {
    const { disk, directory } = options;
    try {
      await disk.makeDirectory(directory);
      const lock = await disk.lock(directory);
      let watermark: Watermark | undefined;
      try {
        for (const name of await disk.list(directory))
          if (name.endsWith(DRAFT_ENDING)) await disk.remove(`${directory}/${name}`);
        watermark = await Watermark.open(disk, directory);
        const segments = await segmentFiles(disk, directory);
        const end = await settledEnd(options, segments, watermark.found);
        if (end.position > watermark.position) await watermark.write(end, { sync: true });
        return new FileBackend(options, { lock, watermark, segments, end });
      } catch (cause) {
        await watermark?.close();
        await lock.release();
        throw cause;
      }
    } catch (cause) {
      throw diskError(cause, 'the journal cannot be opened', {
        full: 'Make room on the disk of the directory, and open the database again: what was acknowledged is there.',
        failed: 'Mend the disk (permissions, hardware) and open the database again.',
      });
    }
  }

  get firstPosition(): Position {
    return position((this.#segments[0]?.after.position ?? this.#acknowledged) + 1);
  }

  get lastPosition(): Position {
    return position(this.#acknowledged);
  }

  get heldBytes(): number {
    return this.#segments.reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

  reserve(heapBytes: number): void {
    if (heapBytes <= COMMIT_BYTES_MAX) return;
    throw new DbError('54000', 'the commit is too large for the journal', {
      limit: 'journal',
      detail: `It is ${heapBytes} bytes; a commit may have ${COMMIT_BYTES_MAX}.`,
      hint: 'Commit in parts: a load without { atomic: true } does.',
    });
  }

  append(group: JournalGroup, report: (failure: unknown) => void): void {
    this.#queue.push({ group, report });
    this.#working ??= this.#work();
  }

  read(from: Position): JournalReader {
    return new SegmentReader(this.#disk, this.#codec, from, {
      segments: () => this.#segments,
      acknowledged: () => this.#acknowledged,
      firstPosition: () => this.firstPosition,
    });
  }

  forget(upTo: Position, keepBytes: number): void {
    let held = this.heldBytes;
    while (held > keepBytes) {
      const next = this.#segments[1];
      // The newest one stays: it is where the journal goes on from.
      if (next === undefined || next.after.position > upTo) return;
      const gone = this.#segments.shift()!;
      held -= gone.byteLength;
      this.#removing = this.#removing
        .then(() => this.#disk.remove(gone.path))
        .catch(() => undefined);
    }
  }

  /**
   * Whether it can be written again, after it was full. What was reported to have failed is not in the journal and never will be, so
   * that it may simply go on.
   */
  async mend(): Promise<boolean> {
    await this.#working;
    if (this.#state !== 'full') return this.#state === 'open';
    try {
      const path = `${this.#directory}/probe${DRAFT_ENDING}`;
      const probe = await this.#disk.open(path, 'create');
      try {
        await probe.write(0, new Uint8Array(PROBE_BYTES));
        await probe.sync();
      } finally {
        await probe.close();
        await this.#disk.remove(path);
      }
    } catch (cause) {
      const failure = diskError(cause, 'the journal cannot be written');
      if (failure.code === '53100') return false;
      this.#state = 'broken';
      this.#failure = failure;
      return false;
    }
    // Somebody may have closed it meanwhile.
    if (this.#state !== 'full') return false;
    this.#state = 'open';
    this.#failure = undefined;
    this.#writer = new FrameWriter(this.#codec, this.#written.chain);
    return true;
  }

  async untilDurable(upTo: Position): Promise<void> {
    while (this.#durable.position < upTo) {
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#state === 'closed') throw new DbError('57P01', 'the journal is closed');
      this.#syncTimer?.cancel();
      this.#syncTimer = undefined;
      this.#syncing ??= this.#syncBeside();
      await this.#syncing;
    }
  }

  async close(): Promise<void> {
    if (this.#state === 'closed') return;
    await this.#working;
    this.#syncTimer?.cancel();
    this.#syncTimer = undefined;
    await this.#syncing;
    const wasOpen = this.#state === 'open';
    this.#state = 'closed';
    try {
      if (this.#file !== undefined) {
        if (wasOpen && this.#durable.position < this.#written.position) await this.#sync();
        await this.#file.close();
        this.#file = undefined;
      }
      // Without it the next one looks closer at the end of the journal: nothing is lost.
      if (wasOpen)
        await this.#watermark.write(this.#durable, { sync: true }).catch(() => undefined);
    } finally {
      await this.#watermark.close();
      await this.#removing;
      await this.#lock.release();
    }
  }

  // ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** Writes what waits, in rounds: what has come meanwhile is the next one. */
  async #work(): Promise<void> {
    // Out of the caller's turn: what it appends next comes along.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const round = this.#queue.splice(0);
      const failure = this.#failure ?? (await this.#writeRound(round));
      if (failure !== undefined) {
        for (const { report } of round) report(failure);
        continue;
      }
      for (const { group, report } of round) {
        this.#acknowledged = group.records.at(-1)!.position;
        report(undefined);
      }
      if (this.#fsync === 'interval') this.#syncSoon();
      else await this.#noteDurable(this.#queue.length === 0);
    }
    this.#working = undefined;
  }

  /** Why it failed, if it did: then nothing of the round is in the journal. */
  async #writeRound(round: readonly InFlight[]): Promise<DbError | undefined> {
    try {
      await this.#prepareFile();
      await this.#write(round);
      if (this.#fsync === 'always') await this.#sync();
      return undefined;
    } catch (cause) {
      const failure = diskError(cause, 'the journal cannot be written');
      this.#failure = failure;
      this.#state = failure.code === '53100' && (await this.#takenBack()) ? 'full' : 'broken';
      return failure;
    }
  }

  /** Whether what a round has written in part is gone again, so that nobody will ever read it. */
  async #takenBack(): Promise<boolean> {
    try {
      await this.#syncing;
      await this.#file?.truncate(this.#end);
      if (this.#file !== undefined) await this.#sync();
      return true;
    } catch {
      return false;
    }
  }

  async #write(round: readonly InFlight[]): Promise<void> {
    const file = this.#file!;
    const frames: Uint8Array[] = [];
    let byteLength = 0;
    let end = this.#end;
    // While some bytes are written the next are made.
    let writing: Promise<void> | undefined;
    const flush = async (): Promise<void> => {
      await writing;
      if (byteLength === 0) return;
      const bytes = joined(frames.splice(0));
      byteLength = 0;
      writing = file.write(end, bytes);
      // Who waits for it hears of it; until then nobody may.
      writing.catch(() => undefined);
      end += bytes.length;
    };
    for (const { group } of round) {
      for (const frame of this.#writer.write(group.records, this.#durable.position)) {
        frames.push(frame);
        byteLength += frame.length;
        if (byteLength >= WRITE_BYTES) await flush();
      }
    }
    await flush();
    await writing;
    this.#end = end;
    this.#segments.at(-1)!.byteLength = end;
    this.#written = {
      position: round.at(-1)!.group.records.at(-1)!.position,
      chain: this.#writer.chain,
    };
  }

  /** The file that the next round goes to, with room in it. */
  async #prepareFile(): Promise<void> {
    if (this.#file !== undefined && this.#end < this.#segmentBytes) return;
    if (this.#file !== undefined) {
      await this.#syncing;
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#durable.position < this.#written.position) await this.#sync();
    }
    const before = this.#file;
    const made = await newSegment(this.#disk, this.#directory, this.#written, []);
    // One without a commit in it has the same name, and is replaced.
    if (this.#segments.at(-1)?.name === made.segment.name) this.#segments.pop();
    this.#segments.push(made.segment);
    this.#file = made.file;
    this.#end = made.segment.byteLength;
    await before?.close();
  }

  async #sync(): Promise<void> {
    const written = this.#written;
    try {
      await this.#file!.sync();
    } catch (cause) {
      throw syncFailed(cause);
    }
    this.#durable = written;
  }

  #syncSoon(): void {
    if (this.#syncTimer !== undefined || this.#syncing !== undefined) return;
    this.#syncTimer = this.#clock.after(this.#fsyncMs, () => {
      this.#syncTimer = undefined;
      this.#syncing = this.#syncBeside();
    });
  }

  /** Beside the writes that go on: only what was written before counts. */
  async #syncBeside(): Promise<void> {
    try {
      if (this.#durable.position < this.#written.position) await this.#sync();
      await this.#noteDurable(true);
    } catch (cause) {
      this.#state = 'broken';
      this.#failure = diskError(cause, 'the journal cannot be written');
    }
    this.#syncing = undefined;
    if (this.#failure === undefined && this.#durable.position < this.#written.position)
      this.#syncSoon();
  }

  async #noteDurable(atOnce: boolean): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    if (!atOnce && nowMs - this.#watermarkMs < WATERMARK_MS) return;
    if (this.#durable.position <= this.#watermark.position) return;
    this.#watermarkMs = nowMs;
    try {
      await this.#watermark.write(this.#durable, { sync: false });
    } catch (cause) {
      this.#state = 'broken';
      this.#failure = diskError(cause, 'the journal cannot be written');
    }
  }
}

type InFlight = { readonly group: JournalGroup; readonly report: (failure: unknown) => void };

/** What a file can be read of in one piece, with something to spare for what it is an estimate of. */
const COMMIT_BYTES_MAX = 1 << 30;

/** The records of files, a group at a time. A file is read whole: it is bounded, but for a single big commit. */
class SegmentReader implements JournalReader {
  readonly #disk: Disk;
  readonly #codec: PayloadCodec;
  readonly #source: ReaderSource;
  #next: number;
  /** The file that is being read, and what it has given. */
  #reading: Reading | undefined;

  constructor(disk: Disk, codec: PayloadCodec, from: number, source: ReaderSource) {
    this.#disk = disk;
    this.#codec = codec;
    this.#next = from;
    this.#source = source;
  }

  async next(): Promise<JournalChunk> {
    while (this.#next <= this.#source.acknowledged()) {
      const first = this.#source.firstPosition();
      if (this.#next < first) throw goneError(this.#next, first);
      this.#reading ??= await this.#open(undefined);
      const { groups, reader, isLast, offset, name } = this.#reading;
      const step = groups.next();
      if (step.done !== true) {
        const records = step.value;
        if (records.length === 0) continue;
        this.#next = reader.position + 1;
        return records;
      }
      this.#reading = isLast
        ? await this.#open({
            name,
            offset: offset + reader.offset,
            after: { position: reader.position, chain: reader.chain },
          })
        : undefined;
    }
    return undefined;
  }

  close(): void {
    this.#reading = undefined;
  }

  /** The file with the next position; one that has grown, or is not the last any more, from where it was read to. */
  async #open(
    from: { readonly name: string; readonly offset: number; readonly after: Seal } | undefined,
  ): Promise<Reading> {
    const segments = this.#source.segments();
    let index = segments.length - 1;
    while (index > 0 && segments[index]!.after.position >= this.#next) index -= 1;
    const segment = segments[index]!;
    const until = segments[index + 1]?.after;
    const goesOn = from !== undefined && from.name === segment.name;
    const offset = goesOn ? from.offset : SEGMENT_HEADER_BYTES;
    const acknowledged = this.#source.acknowledged();
    const bytes = await readFile(this.#disk, segment.path, offset, segment.byteLength);
    const reader = new FrameReader(bytes, this.#codec, {
      after: goesOn ? from.after : segment.after,
      until,
      acknowledged: until === undefined ? acknowledged : undefined,
      name: segment.name,
      offset,
    });
    return {
      name: segment.name,
      isLast: until === undefined,
      offset,
      reader,
      groups: reader.groups(this.#next - 1),
    };
  }
}

type Reading = {
  readonly name: string;
  readonly isLast: boolean;
  /** Of the first byte that was read. */
  readonly offset: number;
  readonly reader: FrameReader;
  readonly groups: Generator<readonly JournalRecord[]>;
};

type ReaderSource = {
  readonly segments: () => readonly SegmentFile[];
  readonly acknowledged: () => number;
  readonly firstPosition: () => Position;
};

/** Bytes [start, end) of a file; fewer where it is shorter. */
async function readFile(disk: Disk, path: string, start: number, end: number): Promise<Uint8Array> {
  const file = await disk.open(path, 'read');
  try {
    return await file.read(start, Math.max(0, end - start));
  } finally {
    await file.close();
  }
}

/** A file that goes on from `after` with `frames`, on stable storage before it gets its name. */
async function newSegment(
  disk: Disk,
  directory: string,
  after: Seal,
  frames: readonly Uint8Array[],
): Promise<{ readonly segment: SegmentFile; readonly file: DiskFile }> {
  const name = segmentName(after.position + 1);
  const path = `${directory}/${name}`;
  const draft = path + DRAFT_ENDING;
  const file = await disk.open(draft, 'create');
  let byteLength = 0;
  try {
    for (const bytes of [segmentHeader(after), ...frames]) {
      await file.write(byteLength, bytes);
      byteLength += bytes.length;
    }
    try {
      await file.sync();
    } catch (cause) {
      throw syncFailed(cause);
    }
    await disk.rename(draft, path);
    await disk.syncDirectory(directory);
  } catch (cause) {
    await file.close();
    await disk.remove(draft).catch(() => undefined);
    throw cause;
  }
  return { segment: { name, path, after, byteLength }, file };
}

/**
 * Where the journal ends. What follows the last whole group is cut off; what was not proven to be on stable storage is copied to a
 * new file, since what can be read of it may be in the operating system's memory only, after a sync that failed.
 */
async function settledEnd(
  options: FileBackendOptions,
  segments: SegmentFile[],
  known: Seal | undefined,
): Promise<Seal> {
  const { disk, directory } = options;
  const last = segments.at(-1);
  if (last === undefined) {
    if (known !== undefined && known.position > 0)
      throw corruptJournal('its files are missing', {
        position: 0,
        place: `Position ${known.position} was acknowledged, and "${directory}" has no file of the journal.`,
      });
    return { position: 0, chain: CHAIN_START };
  }
  const bytes = await readFile(disk, last.path, SEGMENT_HEADER_BYTES, last.byteLength);
  const reader = new FrameReader(bytes, options.codec, {
    after: last.after,
    acknowledged: known?.position,
    sealedAt: known,
    name: last.name,
    offset: SEGMENT_HEADER_BYTES,
  });
  let proven = { seal: last.after, offset: 0 };
  for (const _ of reader.groups(Infinity)) {
    if (known !== undefined && reader.position <= known.position)
      proven = { seal: { position: reader.position, chain: reader.chain }, offset: reader.offset };
  }
  const end = { position: reader.position, chain: reader.chain };
  if (proven.seal.position < end.position) {
    const copied = await newSegment(disk, directory, proven.seal, [
      bytes.subarray(proven.offset, reader.offset),
    ]);
    await copied.file.close();
    if (copied.segment.name === last.name) segments.pop();
    segments.push(copied.segment);
    if (copied.segment.name === last.name) return end;
  }
  const byteLength = SEGMENT_HEADER_BYTES + proven.offset;
  if (last.byteLength > byteLength) {
    const file = await disk.open(last.path, 'write');
    try {
      await file.truncate(byteLength);
      await file.sync();
    } finally {
      await file.close();
    }
    last.byteLength = byteLength;
  }
  return end;
}

/** 53100 where there is no room, 58030 else. What is told already is left as it is. */
export function diskError(
  cause: unknown,
  message: string,
  hints: { readonly full: string; readonly failed: string } = {
    full: 'Reading goes on. Make room; writes are taken again a moment later.',
    failed: 'Reading goes on. Mend the disk (permissions, hardware) and open the database again.',
  },
): DbError {
  if (cause instanceof DbError) return cause;
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  const detail = cause instanceof Error ? cause.message : undefined;
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new DbError('53100', `${message}: the disk is full`, {
      detail,
      limit: 'disk',
      hint: hints.full,
      cause,
    });
  return new DbError('58030', message, { detail, hint: hints.failed, cause });
}

function syncFailed(cause: unknown): DbError {
  return new DbError('58030', 'the disk did not keep what was written', {
    detail: cause instanceof Error ? cause.message : undefined,
    hint: 'Reading goes on. Nobody knows what was lost, so nothing is written after it: check the disk and open the database again.',
    cause,
  });
}
