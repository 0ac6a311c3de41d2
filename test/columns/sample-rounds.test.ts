import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SampleRounds } from '../../src/columns/sample-rounds.ts';
import { SEGMENT_ROWS } from '../../src/columns/segment.ts';

const segmentCounts = fc.integer({ min: 1, max: 3000 });
const rowCounts = fc.oneof(fc.constant(SEGMENT_ROWS), fc.integer({ min: 1, max: SEGMENT_ROWS }));

test('rounds divide the draws of a segment, the same share of each, and every draw knows its round', () => {
  fc.assert(
    fc.property(segmentCounts, rowCounts, fc.nat(), (segmentCount, rowCount, any) => {
      const rounds = new SampleRounds(segmentCount * SEGMENT_ROWS);
      let drawn = 0;
      for (let round = 0; round < rounds.count; round += 1) {
        const { from, to, watchedTo } = rounds.drawsOf(round, rowCount, 1 / 8);
        const full = rounds.drawsOf(round, SEGMENT_ROWS, 1 / 8);
        expect(from).toBe(drawn);
        expect(full.to).toBeGreaterThan(full.from);
        expect(to).toBe(Math.floor((rowCount * full.to) / SEGMENT_ROWS));
        expect(watchedTo).toBe(from + Math.ceil((to - from) / 8));
        expect(rounds.drawsOf(round, rowCount, 1)).toEqual({ from, to, watchedTo: to });
        expect(rounds.drawsOf(round, rowCount, 0)).toEqual({ from, to, watchedTo: from });
        for (const draw of [from, to - 1])
          if (draw >= from && draw < to) expect(rounds.roundOf(draw, rowCount)).toBe(round);
        drawn = to;
      }
      expect(drawn).toBe(rowCount);
      const draw = any % rowCount;
      const { from, to } = rounds.drawsOf(rounds.roundOf(draw, rowCount), rowCount, 0);
      expect(from <= draw && draw < to).toBe(true);
    }),
    { numRuns: 200 },
  );
});

test('rounds double; those of large tables begin later, grow fourfold, and are of a quarter of each segment at last', () => {
  const ends = (segmentCount: number): number[] => {
    const rounds = new SampleRounds(segmentCount * SEGMENT_ROWS);
    return Array.from(
      { length: rounds.count },
      (_, round) => rounds.drawsOf(round, SEGMENT_ROWS, 0).to,
    );
  };
  const doubled = [128, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536];
  expect(ends(15)).toEqual(doubled);
  expect(ends(128)).toEqual(doubled);
  expect(ends(129)).toEqual([1024, 4096, 16_384, 65_536]);
  expect(ends(152)).toEqual([1024, 4096, 16_384, 65_536]);
  expect(ends(458)).toEqual([1024, 4096, 16_384, 32_768, 49_152, 65_536]);
  expect(ends(1526)).toEqual([512, 2048, 8192, 24_576, 40_960, 57_344, 65_536]);
  expect(ends(15_260)[0]).toBe(128);
});

test('the first rounds are watched, of later ones a share, of the last none; of large tables no more than is wanted', () => {
  const shares = (segmentCount: number, wanted = Infinity, watched = 0): number[] => {
    const rounds = new SampleRounds(segmentCount * SEGMENT_ROWS);
    return Array.from({ length: rounds.count }, (_, round) =>
      rounds.watchedShare(round, { watches: 'some', wanted, watched }),
    );
  };
  expect(shares(128)).toEqual([1, 1, 1, 1, 1, 1, 1 / 8, 1 / 8, 1 / 8, 0]);
  expect(shares(152)).toEqual([1, 1, 1 / 8, 0]);
  // Of a hundred million rows the first round has most of a million.
  expect(shares(1526)).toEqual([1, ...Array.from({ length: 5 }, () => 1 / 8), 0]);
  for (const segmentCount of [128, 152, 1526])
    expect(new Set(shares(segmentCount, 0, 1000))).toEqual(new Set([0]));
  // Where few are wanted, as many: of the second round of 152 segments, 152 × 3,072 draws.
  expect(shares(152, 160_000, 152 * 1024)[1]).toBe((160_000 - 152 * 1024) / (152 * 3072));
  expect(shares(152, 150_000, 152 * 1024)[1]).toBe(0);
  expect(shares(128, 150_000, 152 * 1024)).toEqual(shares(128));
  const whole = new SampleRounds(152 * SEGMENT_ROWS);
  for (const round of [0, 2])
    expect(whole.watchedShare(round, { watches: 'all', wanted: Infinity, watched: 0 })).toBe(1);
});
