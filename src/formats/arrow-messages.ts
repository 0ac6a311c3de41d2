import { compressors } from 'hyparquet-compressors';
import { DbError, notSupported } from '../base/errors.ts';
import { bytesInOrder } from './byte-sources.ts';
import type { FormatSource } from './contract.ts';
import { FlatTable } from './flatbuffers.ts';
import { lz4Frame } from './lz4-frame.ts';

/** A message of an Arrow IPC stream, its body in memory of its own. */
export type ArrowMessage =
  | { readonly kind: 'schema'; readonly schema: FlatTable }
  | {
      readonly kind: 'dictionary';
      readonly id: number;
      readonly isDelta: boolean;
      readonly batch: ArrowBatch;
    }
  | { readonly kind: 'batch'; readonly batch: ArrowBatch };

export type ArrowBatch = {
  readonly rowCount: number;
  readonly nodes: readonly { readonly length: number; readonly nullCount: number }[];
  /** By buffer, unpacked. */
  readonly buffers: readonly Uint8Array[];
  /** Data buffers of each column of views. */
  readonly viewBufferCounts: readonly number[];
};

/** Metadata and bodies are read into memory whole. */
const METADATA_BYTES_MAX = 1 << 26;
const BODY_BYTES_MAX = 2 ** 31 - 1;

/**
 * The messages of an IPC stream, or of an IPC file, which is such a stream between two marks with a directory behind it. What
 * is damaged throws a RangeError or a DbError.
 */
export async function* arrowMessages(
  source: FormatSource['bytes'],
  progress: { bytesRead: number },
): AsyncGenerator<ArrowMessage, void, undefined> {
  const bytes = new ByteQueue(source, progress);
  try {
    const mark = await bytes.peek(8);
    if (mark.length >= 6 && MAGIC.every((byte, at) => mark[at] === byte)) await bytes.take(8);
    for (;;) {
      const metadata = await nextMetadata(bytes);
      if (metadata === undefined) return;
      const message = FlatTable.root(metadata);
      const bodyLength = message.int64(3, 0);
      if (bodyLength < 0) throw new RangeError('a body has a negative length');
      if (bodyLength > BODY_BYTES_MAX) {
        throw new DbError('54000', 'a record batch is larger than 2 GB', {
          hint: 'Write smaller record batches.',
        });
      }
      const body = await bytes.take(bodyLength);
      const header = message.table(2);
      switch (header === undefined ? 0 : message.uint8(1, 0)) {
        case HEADER_SCHEMA:
          yield { kind: 'schema', schema: header! };
          break;
        case HEADER_DICTIONARY: {
          const data = header!.table(1);
          if (data === undefined) throw new RangeError('a dictionary has no values');
          const batch = batchOf(data, body);
          yield {
            kind: 'dictionary',
            id: header!.int64(0, 0),
            isDelta: header!.uint8(2, 0) === 1,
            batch,
          };
          break;
        }
        case HEADER_BATCH:
          yield { kind: 'batch', batch: batchOf(header!, body) };
          break;
        default:
          throw notSupported('an Arrow message that is neither schema nor rows');
      }
    }
  } finally {
    await bytes.close();
  }
}

async function nextMetadata(bytes: ByteQueue): Promise<Uint8Array | undefined> {
  if ((await bytes.peek(4)).length === 0) return undefined;
  let length = int32(await bytes.take(4));
  // Before 0.15 the length came without the mark.
  if (length === -1) length = int32(await bytes.take(4));
  if (length === 0) return undefined;
  if (length < 0 || length > METADATA_BYTES_MAX)
    throw new RangeError('a message has a wrong length');
  return bytes.take(length);
}

function int32(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getInt32(0, true);
}

function batchOf(header: FlatTable, body: Uint8Array): ArrowBatch {
  const compression = header.table(3);
  const codec = compression?.uint8(0, 0);
  return {
    rowCount: header.int64(0, 0),
    nodes: header.pairs(1).map(({ first, second }) => ({ length: first, nullCount: second })),
    buffers: header.pairs(2).map(({ first: offset, second: length }) => {
      if (!(offset >= 0 && length >= 0 && offset + length <= body.length))
        throw new RangeError('a buffer lies outside its body');
      const bytes = body.subarray(offset, offset + length);
      return codec === undefined ? bytes : unpacked(bytes, codec);
    }),
    viewBufferCounts: header.int64s(4),
  };
}

/** A packed buffer begins with its length, −1 where packing did not pay. */
function unpacked(bytes: Uint8Array, codec: number): Uint8Array {
  if (bytes.length === 0) return bytes;
  const length = Number(
    new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getBigInt64(0, true),
  );
  const packed = bytes.subarray(8);
  if (length === -1) return packed;
  if (!(length >= 0 && length <= BODY_BYTES_MAX))
    throw new RangeError('a packed buffer has a wrong length');
  const out =
    codec === CODEC_LZ4_FRAME
      ? lz4Frame(packed, length)
      : codec === CODEC_ZSTD
        ? compressors.ZSTD!(packed, length)
        : undefined;
  if (out === undefined) throw notSupported(`Arrow compression ${codec}`, 'Use LZ4, ZSTD or none.');
  if (out.length !== length)
    throw new RangeError('a packed buffer has another length than it says');
  return out;
}

/** Pieces in, runs of any length out; nothing is allocated before its bytes are there. */
class ByteQueue {
  readonly #source: AsyncIterator<Uint8Array>;
  readonly #progress: { bytesRead: number };
  #pieces: Uint8Array[] = [];
  #length = 0;
  #ended = false;

  constructor(bytes: FormatSource['bytes'], progress: { bytesRead: number }) {
    this.#source = bytesInOrder(bytes)[Symbol.asyncIterator]();
    this.#progress = progress;
  }

  /** The next `count` bytes without taking them; fewer at the end. */
  async peek(count: number): Promise<Uint8Array> {
    await this.#fill(count);
    return this.#copy(Math.min(count, this.#length)).bytes;
  }

  /** The next `count` bytes, in an array of their own. */
  async take(count: number): Promise<Uint8Array> {
    await this.#fill(count);
    if (this.#length < count) throw new RangeError('the file ends in the middle of a message');
    const { bytes, rest } = this.#copy(count);
    this.#pieces = rest;
    this.#length -= count;
    return bytes;
  }

  async close(): Promise<void> {
    await this.#source.return?.();
  }

  async #fill(count: number): Promise<void> {
    while (this.#length < count && !this.#ended) {
      const next = await this.#source.next();
      if (next.done === true) this.#ended = true;
      else {
        this.#pieces.push(next.value);
        this.#length += next.value.length;
        this.#progress.bytesRead += next.value.length;
      }
    }
  }

  #copy(count: number): { bytes: Uint8Array; rest: Uint8Array[] } {
    const bytes = new Uint8Array(count);
    let at = 0;
    let index = 0;
    for (; at < count; index += 1) {
      const piece = this.#pieces[index]!;
      const used = Math.min(piece.length, count - at);
      bytes.set(used === piece.length ? piece : piece.subarray(0, used), at);
      at += used;
      if (used < piece.length)
        return { bytes, rest: [piece.subarray(used), ...this.#pieces.slice(index + 1)] };
    }
    return { bytes, rest: this.#pieces.slice(index) };
  }
}

const MAGIC = Uint8Array.from(Buffer.from('ARROW1'));
const HEADER_SCHEMA = 1;
const HEADER_DICTIONARY = 2;
const HEADER_BATCH = 3;
const CODEC_LZ4_FRAME = 0;
const CODEC_ZSTD = 1;
