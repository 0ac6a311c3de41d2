import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DbError } from '../../src/base/errors.ts';
import { instantMs, position } from '../../src/base/units.ts';
import { FRAME_BYTES_MAX, FrameReader, FrameWriter } from '../../src/journal/frame.ts';
import type { JournalRecord } from '../../src/journal/record.ts';
import { joined, ValueCodec } from '../../src/journal/value-codec.ts';

const codec = new ValueCodec();

function record(at: number, payload: unknown): JournalRecord {
  return {
    position: position(at),
    instantMs: instantMs(1_000 + at),
    kind: 'commit',
    schemaVersion: 1,
    payload,
    heapBytes: codec.heapBytes(payload),
  };
}

function groupsOf(payloads: readonly (readonly unknown[])[]): JournalRecord[][] {
  let at = 0;
  return payloads.map((group) => group.map((payload) => record((at += 1), payload)));
}

function bytesOf(groups: readonly (readonly JournalRecord[])[]): Uint8Array {
  const writer = new FrameWriter(codec);
  // Each group is written once the one before it is on stable storage.
  return joined(
    groups.flatMap((group) => [...writer.write(group, Number(group[0]!.position) - 1)]),
  );
}

test('groups are read as they were written', () => {
  const groups = fc.array(fc.array(fc.jsonValue(), { minLength: 1, maxLength: 4 }), {
    maxLength: 5,
  });
  fc.assert(
    fc.property(groups, (payloads) => {
      const written = groupsOf(payloads);
      const reader = new FrameReader(bytesOf(written), codec);
      expect([...reader.groups()]).toEqual(
        written.map((group) =>
          group.map((each) => record(each.position, codec.decode(codec.encode(each.payload)))),
        ),
      );
      expect(reader.end).toEqual({ kind: 'clean' });
    }),
  );
});

const small = groupsOf([[{ row: 1 }], [{ row: 2 }, 'x'.repeat(30)], [[3, 4]]]);
const smallBytes = bytesOf(small);

test('every bit flip is detected, and nothing altered is given out', () => {
  for (let bit = 0; bit < smallBytes.length * 8; bit += 1) {
    const damaged = smallBytes.slice();
    damaged[bit >> 3]! ^= 1 << (bit & 7);
    const reader = new FrameReader(damaged, codec);
    const read: JournalRecord[] = [];
    let detected: string | undefined;
    try {
      for (const group of reader.groups()) read.push(...group);
      if (reader.end.kind === 'torn') detected = 'torn';
    } catch (error) {
      expect(error).toMatchObject({ code: 'ADB_JOURNAL_CORRUPT' });
      detected = 'corrupt';
    }
    expect(detected, `bit ${bit}`).toBeDefined();
    expect(read).toEqual(small.flat().slice(0, read.length));
    // Damage before the last group cannot be a torn write.
    if (bit >> 3 < bytesOf(small.slice(0, 2)).length) expect(detected).toBe('corrupt');
    expect(() => [...new FrameReader(damaged, codec, { acknowledged: 4 }).groups()]).toThrow(
      DbError,
    );
  }
});

test('every truncation is detected: as a torn write, or by the position that is missing', () => {
  const ends = new Set([0, 1, 2, 3].map((count) => bytesOf(small.slice(0, count)).length));
  for (let length = 0; length < smallBytes.length; length += 1) {
    const cut = smallBytes.subarray(0, length);
    const reader = new FrameReader(cut, codec);
    const read = [...reader.groups()].flat();
    expect(read).toEqual(small.flat().slice(0, read.length));
    expect(reader.end.kind).toBe(ends.has(length) ? 'clean' : 'torn');
    expect(() => [...new FrameReader(cut, codec, { acknowledged: 4 }).groups()]).toThrow(
      'corrupt journal',
    );
  }
});

test('a journal goes on after its torn end was cut off', () => {
  const torn = smallBytes.subarray(0, smallBytes.length - 5);
  const reader = new FrameReader(torn, codec);
  const read = [...reader.groups()].flat();
  expect(reader.end).toMatchObject({ kind: 'torn' });
  const end = reader.end as { offset: number };
  const writer = new FrameWriter(codec, reader.chain);
  const more = [...writer.write([record(4, 'again')])];
  const whole = new FrameReader(joined([torn.subarray(0, end.offset), ...more]), codec);
  expect([...whole.groups()].flat()).toEqual([...read, record(4, 'again')]);
  expect(whole.end).toEqual({ kind: 'clean' });
});

test('a big commit is several frames of at most 1 MB, and only its last has the mark', () => {
  const payload = { values: Float64Array.from({ length: 300_000 }, (_, index) => index) };
  const frames = [...new FrameWriter(codec).write([record(1, payload)])];
  expect(frames.length).toBe(4); // Three of the commit, one seal.
  expect(Math.max(...frames.map((frame) => frame.length))).toBe(FRAME_BYTES_MAX);
  expect(frames.map((frame) => frame[5])).toEqual([0, 0, 1, 2]);
  const [group] = [...new FrameReader(joined(frames), codec).groups()];
  expect(group![0]!.payload).toEqual(payload);
});

test('frames without a commit mark are ignored, and what follows them counts', () => {
  const payload = { values: new Float64Array(300_000) };
  const unfinished = [...new FrameWriter(codec).write([record(1, payload)])].slice(0, 2);
  const next = record(1, 'what came instead');
  // A backend that sends frames one by one may leave such a beginning; the group that follows seals it, too.
  const frames = sealedWith(unfinished, next);
  const reader = new FrameReader(frames, codec);
  expect([...reader.groups()]).toEqual([[next]]);
  expect(reader.ignoredFrames).toBe(2);
  expect(reader.end).toEqual({ kind: 'clean' });
});

test('groups in another order, one left out, or one given twice break the chain', () => {
  const writer = new FrameWriter(codec);
  const parts = small.map((group) => joined([...writer.write(group)]));
  const [first, second, third] = parts as [Uint8Array, Uint8Array, Uint8Array];
  for (const wrong of [[second, first, third], [first, third], [first, first, second], [second]]) {
    expect(() => [...new FrameReader(joined(wrong), codec).groups()]).toThrow('corrupt journal');
  }
  const chainAfterFirst = new FrameReader(first, codec);
  expect([...chainAfterFirst.groups()]).toHaveLength(1);
  const rest = new FrameReader(joined([second, third]), codec, {
    after: { chain: chainAfterFirst.chain, position: 1 },
  });
  expect([...rest.groups()].flat()).toEqual(small.slice(1).flat());
});

/** The frames of an abandoned commit, then a group with `next`, under one seal. */
function sealedWith(abandoned: readonly Uint8Array[], next: JournalRecord): Uint8Array {
  const [frame, seal] = [...new FrameWriter(codec).write([next])] as [Uint8Array, Uint8Array];
  const chain = createHash('sha256').update(new Uint8Array(32));
  for (const each of [...abandoned, frame]) chain.update(each);
  const resealed = seal.slice();
  resealed.set(chain.digest(), 44);
  const sum = crc32(resealed.subarray(44), crc32(resealed.subarray(0, 40)));
  new DataView(resealed.buffer).setUint32(40, sum, true);
  return joined([...abandoned, frame, resealed]);
}
