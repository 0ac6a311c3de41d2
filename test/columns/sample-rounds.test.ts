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
        const { from, to, watchedTo } = rounds.drawsOf(round, rowCount, 'some');
        const full = rounds.drawsOf(round, SEGMENT_ROWS, 'some');
        expect(from).toBe(drawn);
        expect(full.to).toBeGreaterThan(full.from);
        expect(to).toBe(Math.floor((rowCount * full.to) / SEGMENT_ROWS));
        expect(watchedTo).toBeGreaterThanOrEqual(from);
        expect(watchedTo).toBeLessThanOrEqual(to);
        const isLast = round === rounds.count - 1;
        expect(rounds.drawsOf(round, rowCount, 'all')).toEqual({
          from,
          to,
          watchedTo: isLast ? from : to,
        });
        expect(rounds.drawsOf(round, rowCount, 'none')).toEqual({ from, to, watchedTo: from });
        for (const draw of [from, to - 1])
          if (draw >= from && draw < to) expect(rounds.roundOf(draw, rowCount)).toBe(round);
        drawn = to;
      }
      expect(drawn).toBe(rowCount);
      const draw = any % rowCount;
      const { from, to } = rounds.drawsOf(rounds.roundOf(draw, rowCount), rowCount, 'some');
      expect(from <= draw && draw < to).toBe(true);
    }),
    { numRuns: 200 },
  );
});

test('rounds double; those of large tables begin later, and end at even distances', () => {
  const ends = (segmentCount: number): number[] => {
    const rounds = new SampleRounds(segmentCount * SEGMENT_ROWS);
    return Array.from(
      { length: rounds.count },
      (_, round) => rounds.drawsOf(round, SEGMENT_ROWS, 'some').to,
    );
  };
  const doubled = [128, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536];
  expect(ends(15)).toEqual(doubled);
  expect(ends(128)).toEqual(doubled);
  expect(ends(129)).toEqual(doubled.slice(3));
  expect(ends(152)).toEqual(doubled.slice(3));
  expect(ends(1526)).toEqual([...doubled.slice(2, 8), 32_768, 49_152, 65_536]);
  expect(ends(15_260)[0]).toBe(128);
});
