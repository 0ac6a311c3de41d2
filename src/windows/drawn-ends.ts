import type { KeptTiles } from './kept-tiles.ts';
import type { ComparedSpan, PlannedWindow, WindowSeries } from './window-spec.ts';

/**
 * A series whose ends that go along with now lie where tiles of demoted rows do, each on the inner side of the one it lies in: where in a tile such an end is
 * depends on when somebody asks, and no tile tells. What is drawn in is partial. Undefined where no end lies in a tile, or where nothing would be left.
 */
export function drawnIn(
  series: WindowSeries,
  tiles: KeptTiles,
  position: number,
): WindowSeries | undefined {
  const { along } = series;
  if (series.gapMs !== undefined || (!along.start && !along.end)) return undefined;
  const startMs = along.start ? innerMs(tiles, position, series.startMs, 'end') : series.startMs;
  const endMs = along.end ? innerMs(tiles, position, series.endMs, 'start') : series.endMs;
  const windows: PlannedWindow[] = [];
  const compared: (ComparedSpan | undefined)[] = [];
  let isDrawn = startMs !== series.startMs || endMs !== series.endMs;
  for (const [index, window] of series.windows.entries()) {
    const movesStart = along.start && window.startMs === series.startMs;
    const movesEnd = along.end && window.endMs === series.endMs;
    const own = {
      startMs: movesStart ? startMs : window.startMs,
      endMs: movesEnd ? endMs : window.endMs,
    };
    const isOther = own.startMs !== window.startMs || own.endMs !== window.endMs;
    if (isOther && own.startMs >= own.endMs) continue;
    windows.push(isOther ? { ...window, ...own, partial: true } : window);
    const span = series.compared?.[index];
    const slides = series.comparedMoves === 'all';
    const endsLast = movesEnd && series.comparedMoves === 'last';
    const beside =
      span === undefined
        ? undefined
        : {
            startMs:
              slides || movesStart ? innerMs(tiles, position, span.startMs, 'end') : span.startMs,
            endMs: slides || endsLast ? innerMs(tiles, position, span.endMs, 'start') : span.endMs,
          };
    if (beside?.startMs === span?.startMs && beside?.endMs === span?.endMs) {
      compared.push(span);
      continue;
    }
    isDrawn = true;
    compared.push(beside!.startMs < beside!.endMs ? { ...beside!, partial: true } : undefined);
  }
  if (!isDrawn || windows.length === 0) return undefined;
  return {
    ...series,
    startMs,
    endMs,
    windows,
    compared: series.compared === undefined ? undefined : compared,
    isOne: windows.length === 1,
  };
}

/** Where the tiles end, or begin, that an instant lies inside of; the instant itself where there are none. */
function innerMs(tiles: KeptTiles, position: number, ms: number, side: 'start' | 'end'): number {
  let at = ms * 1000;
  for (;;) {
    const before = at;
    // Some may overlap, of a policy before.
    for (const { start, end } of tiles.overlapping(position, before, before + 1))
      if (start < before) at = side === 'end' ? Math.max(at, end) : Math.min(at, start);
    if (at === before) return at / 1000;
  }
}
