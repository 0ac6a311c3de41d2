import { DbError } from '../base/errors.ts';
import type { FormatSource, RandomAccess } from './contract.ts';

/** Without the ways of Node's Buffer, whose `slice` does not copy. */
export function plainBytes(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function isRandomAccess(bytes: FormatSource['bytes']): bytes is RandomAccess {
  return !(bytes instanceof Uint8Array) && 'slice' in bytes;
}

/** Pieces in which a file is read from its beginning to its end. */
const PIECE_BYTES = 1 << 18;

/** The bytes in order, in pieces of at most `PIECE_BYTES` where we cut them. */
export async function* bytesInOrder(
  bytes: FormatSource['bytes'],
): AsyncGenerator<Uint8Array, void, undefined> {
  if (bytes instanceof Uint8Array) {
    const plain = plainBytes(bytes);
    for (let at = 0; at < plain.length; at += PIECE_BYTES)
      yield plain.subarray(at, at + PIECE_BYTES);
  } else if (isRandomAccess(bytes)) {
    const { byteLength } = bytes;
    const read = (at: number): Promise<Uint8Array> | undefined => {
      if (at >= byteLength) return undefined;
      const piece = bytes.slice(at, Math.min(at + PIECE_BYTES, byteLength));
      // Told when it is waited for, if it ever is.
      piece.catch(() => undefined);
      return piece;
    };
    // One piece is on its way while the one before it is worked on.
    let ahead = read(0);
    for (let at = PIECE_BYTES; ahead !== undefined; at += PIECE_BYTES) {
      const piece = await ahead;
      ahead = read(at);
      yield piece;
    }
  } else {
    for await (const piece of bytes) {
      if (!(piece instanceof Uint8Array)) {
        throw new DbError('22023', 'a file is read from bytes: the source yielded something else', {
          hint: 'Give a stream of Uint8Array (Buffer): without an encoding, not in object mode.',
        });
      }
      const plain = plainBytes(piece);
      for (let at = 0; at < plain.length; at += PIECE_BYTES)
        yield plain.subarray(at, at + PIECE_BYTES);
    }
  }
}

/** All of it: for formats whose directory stands at the end. */
export async function allBytes(bytes: FormatSource['bytes']): Promise<Uint8Array> {
  if (bytes instanceof Uint8Array) return plainBytes(bytes);
  if (isRandomAccess(bytes)) return bytes.slice(0, bytes.byteLength);
  const pieces: Uint8Array[] = [];
  for await (const piece of bytesInOrder(bytes)) pieces.push(piece);
  return joined(pieces);
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  if (pieces.length === 1) return pieces[0]!;
  const whole = new Uint8Array(pieces.reduce((total, piece) => total + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

export async function randomAccess(bytes: FormatSource['bytes']): Promise<RandomAccess> {
  if (isRandomAccess(bytes)) return bytes;
  const whole = await allBytes(bytes);
  return {
    byteLength: whole.length,
    slice: (start, end) => Promise.resolve(whole.subarray(start, end)),
  };
}

export function byteLengthOf(bytes: FormatSource['bytes']): number | undefined {
  return bytes instanceof Uint8Array || isRandomAccess(bytes) ? bytes.byteLength : undefined;
}

/**
 * A source whose beginning is looked at before it is read: what was looked at comes first again. To be closed where it is not
 * read to its end.
 */
export class PeekedBytes implements AsyncIterable<Uint8Array> {
  readonly #source: AsyncIterator<Uint8Array>;
  #ahead: Uint8Array[] = [];
  #aheadBytes = 0;
  #exhausted = false;

  constructor(bytes: FormatSource['bytes']) {
    this.#source = bytesInOrder(bytes)[Symbol.asyncIterator]();
  }

  /** Whether what was looked at last is everything. */
  get exhausted(): boolean {
    return this.#exhausted;
  }

  /** The first bytes: at least `count` of them, fewer only where there are no more. */
  async head(count: number): Promise<Uint8Array> {
    while (this.#aheadBytes < count && !this.#exhausted) {
      const next = await this.#source.next();
      if (next.done === true) this.#exhausted = true;
      else {
        this.#ahead.push(next.value);
        this.#aheadBytes += next.value.length;
      }
    }
    if (this.#ahead.length === 0) return new Uint8Array(0);
    this.#ahead = [joined(this.#ahead)];
    return this.#ahead[0]!;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      const ahead = this.#ahead;
      this.#ahead = [];
      yield* ahead;
      for (;;) {
        const next = await this.#source.next();
        if (next.done === true) return;
        yield next.value;
      }
    } finally {
      await this.close();
    }
  }

  async close(): Promise<void> {
    await this.#source.return?.();
  }
}

export function isGzip(head: Uint8Array): boolean {
  return head[0] === 0x1f && head[1] === 0x8b;
}

/** What gzip packed, as it comes. 22P04 where the bytes are damaged or end too early. */
export async function* gunzipped(
  bytes: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  yield* transformed(bytes, new DecompressionStream('gzip'), (cause) => {
    throw new DbError('22P04', 'the file is not a gzip file that can be read', {
      cause,
      hint: 'It is damaged, or cut short: copy or pack it anew.',
    });
  });
}

export async function* gzipped(
  bytes: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  yield* transformed(bytes, new CompressionStream('gzip'), (cause) => {
    throw cause;
  });
}

/** What the reader of a source has thrown must not be told as an error of the bytes. */
async function* transformed(
  bytes: AsyncIterable<Uint8Array>,
  through: CompressionStream | DecompressionStream,
  damaged: (cause: unknown) => never,
): AsyncGenerator<Uint8Array, void, undefined> {
  const writer = through.writable.getWriter();
  const reader = through.readable.getReader();
  let failure: { readonly cause: unknown } | undefined;
  const fed = (async () => {
    try {
      for await (const piece of bytes) {
        await writer.ready;
        await writer.write(new Uint8Array(piece));
      }
    } catch (cause) {
      failure ??= { cause };
      await writer.abort(cause);
      return;
    }
    await writer.close();
  })();
  // Told below, by the reader.
  fed.catch(() => undefined);
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((cause: unknown) => {
        if (failure !== undefined) throw failure.cause;
        return damaged(cause);
      });
      if (done) return;
      yield value as Uint8Array;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
