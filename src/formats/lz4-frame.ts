/**
 * What an LZ4 frame packs, `length` bytes of it (lz4_Frame_format.md 1.6): pandas and pyarrow write Feather files so. Checksums are
 * not looked at. Throws a RangeError for what is damaged.
 */
export function lz4Frame(packed: Uint8Array, length: number): Uint8Array {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  if (view.getUint32(0, true) !== 0x184d_2204) throw new RangeError('no LZ4 frame');
  const flags = view.getUint8(4);
  const hasBlockChecksum = (flags & 0x10) !== 0;
  let at = 7 + ((flags & 0x08) === 0 ? 0 : 8) + ((flags & 0x01) === 0 ? 0 : 4);
  const out = new Uint8Array(length);
  let to = 0;
  for (;;) {
    const size = view.getUint32(at, true);
    at += 4;
    if (size === 0) break;
    const count = size & 0x7fff_ffff;
    if (at + count > packed.length) throw new RangeError('an LZ4 block reaches beyond its frame');
    const block = packed.subarray(at, at + count);
    // The highest bit says that the block is not packed.
    if (size >>> 31 === 1) {
      if (to + count > length) throw new RangeError('an LZ4 frame holds more than it says');
      out.set(block, to);
      to += count;
    } else to = unpackBlock(block, out, to);
    at += count + (hasBlockChecksum ? 4 : 0);
  }
  return out.subarray(0, to);
}

/** Blocks may refer to what the blocks before them have written: they share `out`. */
function unpackBlock(block: Uint8Array, out: Uint8Array, start: number): number {
  let at = 0;
  let to = start;
  const more = (count: number): number => {
    if (count !== 15) return count;
    let total = count;
    for (let byte = 255; byte === 255; at += 1) {
      if (at >= block.length) throw new RangeError('an LZ4 block ends too early');
      byte = block[at]!;
      total += byte;
    }
    return total;
  };
  while (at < block.length) {
    const token = block[at]!;
    at += 1;
    const literals = more(token >> 4);
    if (at + literals > block.length || to + literals > out.length)
      throw new RangeError('an LZ4 block is damaged');
    out.set(block.subarray(at, at + literals), to);
    at += literals;
    to += literals;
    if (at >= block.length) break;
    const distance = block[at]! | (block[at + 1]! << 8);
    at += 2;
    const count = more(token & 15) + 4;
    let from = to - distance;
    if (distance === 0 || from < 0 || to + count > out.length)
      throw new RangeError('an LZ4 block is damaged');
    if (distance >= count) {
      out.copyWithin(to, from, from + count);
      to += count;
    } else {
      for (const end = to + count; to < end; to += 1, from += 1) out[to] = out[from]!;
    }
  }
  return to;
}
