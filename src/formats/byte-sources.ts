import { DbError } from '../base/errors.ts';
import type { FormatSource, RandomAccess } from './contract.ts';

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
    for (let at = 0; at < bytes.length; at += PIECE_BYTES)
      yield bytes.subarray(at, at + PIECE_BYTES);
  } else if (isRandomAccess(bytes)) {
    for (let at = 0; at < bytes.byteLength; at += PIECE_BYTES)
      yield await bytes.slice(at, Math.min(at + PIECE_BYTES, bytes.byteLength));
  } else {
    for await (const piece of bytes) {
      if (!(piece instanceof Uint8Array))
        throw new DbError('22023', 'a file is read from bytes: the source yielded something else');
      for (let at = 0; at < piece.length; at += PIECE_BYTES)
        yield piece.subarray(at, at + PIECE_BYTES);
    }
  }
}

/** All of it: for formats whose directory stands at the end. */
export async function allBytes(bytes: FormatSource['bytes']): Promise<Uint8Array> {
  if (bytes instanceof Uint8Array) return bytes;
  if (isRandomAccess(bytes)) return bytes.slice(0, bytes.byteLength);
  const pieces: Uint8Array[] = [];
  let total = 0;
  for await (const piece of bytesInOrder(bytes)) {
    pieces.push(piece);
    total += piece.length;
  }
  const whole = new Uint8Array(total);
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
