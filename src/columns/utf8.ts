/**
 * UTF-8 without a JavaScript string for every value. All texts are well-formed (checked at the door), so encoding loses nothing.
 */

/** A number for the bytes [start, end): murmur3's mixing, four bytes a round. */
export function hashBytes(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x9747_b28c ^ (end - start);
  let at = start;
  for (; at + 4 <= end; at += 4) {
    const word =
      bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    let mixed = Math.imul(word, 0xcc9e_2d51);
    mixed = Math.imul((mixed << 15) | (mixed >>> 17), 0x1b87_3593);
    hash ^= mixed;
    hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe654_6b64) | 0;
  }
  let tail = 0;
  for (let shift = 0; at < end; at += 1, shift += 8) tail |= bytes[at]! << shift;
  if (tail !== 0) {
    tail = Math.imul(tail, 0xcc9e_2d51);
    hash ^= Math.imul((tail << 15) | (tail >>> 17), 0x1b87_3593);
  }
  return mixHash(hash);
}

/** murmur3's finaliser: each bit of the input moves every bit of the result. */
export function mixHash(hash: number): number {
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return (hash ^ (hash >>> 16)) | 0;
}

export function equalBytes(
  a: Uint8Array,
  aStart: number,
  b: Uint8Array,
  bStart: number,
  length: number,
): boolean {
  for (let index = 0; index < length; index += 1)
    if (a[aStart + index] !== b[bStart + index]) return false;
  return true;
}

/** Negative, 0 or positive: bytes in order, the shorter first (the C collation). */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let index = 0; index < length; index += 1) {
    const difference = a[index]! - b[index]!;
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/** A reusable place for one encoded text. `encode` returns the byte count; `bytes` holds them until the next call. */
export class TextScratch {
  bytes: Uint8Array = NO_BYTES;

  encode(text: string): number {
    const units = text.length;
    if (units * 3 > this.bytes.length)
      this.bytes = new Uint8Array(Math.max(256, units * 3, this.bytes.length * 2));
    const { bytes } = this;
    // Short ASCII, the common case, is faster by hand than through a call into the encoder.
    if (units <= 48) {
      let index = 0;
      for (; index < units; index += 1) {
        const unit = text.charCodeAt(index);
        if (unit >= 0x80) break;
        bytes[index] = unit;
      }
      if (index === units) return units;
    }
    return encoder.encodeInto(text, bytes).written;
  }
}

const NO_BYTES = new Uint8Array(0);
const encoder = new TextEncoder();

export function encodeText(text: string): Uint8Array {
  return encoder.encode(text);
}

export function decodeText(bytes: Uint8Array, start: number, end: number): string {
  if (end - start <= 24) {
    let text = '';
    let at = start;
    for (; at < end; at += 1) {
      const byte = bytes[at]!;
      if (byte >= 0x80) break;
      text += String.fromCharCode(byte);
    }
    if (at === end) return text;
  }
  return decoder.decode(bytes.subarray(start, end));
}

/** `ignoreBOM` keeps a leading U+FEFF, which is an ordinary character inside a value. */
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
