import type { Calendar } from '../calendar/calendar.ts';
import { civilText } from '../calendar/civil.ts';
import { instantLabel, type WindowSeries } from '../windows/window-spec.ts';
import type { WindowRun } from './window-query.ts';

/** What a window query read, for people: EXPLAIN ANALYZE of windows. */
export type WindowExplanation = {
  readonly text: string;
  readonly windows: readonly {
    readonly start: string;
    readonly end: string;
    readonly label: string;
    readonly hours: number;
    readonly partial: boolean;
    readonly complete: boolean;
    /** What it is compared with. */
    readonly compared?: { readonly start: string; readonly end: string } | null;
  }[];
  /** Days of the span whose offset changes: `2026-11-01 has 25 hours`. */
  readonly notes: readonly string[];
  readonly source: string;
  readonly tiles: number;
  readonly rowsScanned: number;
  readonly work: number;
};

export function explainedWindow(
  table: string,
  { result, series, calendar }: WindowRun,
): WindowExplanation {
  const { meta } = result;
  const windows = series.windows.map((window, index) => {
    const span = series.compared?.[index];
    return {
      start: instantLabel(calendar, window.startMs),
      end: instantLabel(calendar, window.endMs),
      label: window.label,
      hours: (window.endMs - window.startMs) / 3_600_000,
      partial: window.partial,
      complete: window.complete,
      ...(series.compared === undefined
        ? {}
        : {
            compared:
              span === undefined
                ? null
                : {
                    start: instantLabel(calendar, span.startMs),
                    end: instantLabel(calendar, span.endMs),
                  },
          }),
    };
  });
  const notes = offsetNotes(series, calendar);
  const marks = (window: (typeof windows)[number]): string =>
    [window.partial ? 'partial' : '', window.complete ? '' : 'running']
      .filter((mark) => mark !== '')
      .join(', ');
  const lines = [
    `Windows of ${table} in ${meta.zone} (tz ${meta.tzVersion}), now ${meta.now}`,
    ...shortened(
      windows.map(
        (window) =>
          `  ${window.start} → ${window.end}  ${hoursText(window.hours)}${marks(window) === '' ? '' : `  (${marks(window)})`}${
            window.compared === undefined
              ? ''
              : window.compared === null
                ? '  beside nothing'
                : `  beside ${window.compared.start} → ${window.compared.end}`
          }`,
      ),
    ),
    ...notes.map((note) => `Note: ${note}`),
    `Source: ${meta.source}, ${meta.tiles} tiles merged, ${meta.rowsScanned} rows scanned`,
    `Work: ${meta.work} units`,
    `Rows: ${result.rows.length}`,
  ];
  return {
    text: lines.join('\n'),
    windows,
    notes,
    source: meta.source,
    tiles: meta.tiles,
    rowsScanned: meta.rowsScanned,
    work: meta.work,
  };
}

const LINES_MAX = 100;

/** The first and the last of many lines. */
function shortened(lines: readonly string[]): readonly string[] {
  if (lines.length <= LINES_MAX) return lines;
  const half = LINES_MAX / 2;
  return [...lines.slice(0, half), `  … ${lines.length - LINES_MAX} more …`, ...lines.slice(-half)];
}

const NOTES_MAX = 50;
const DAYS_LOOKED_AT_MAX = 20_000;

/** Days within the span that have other than 24 hours, and days that are skipped. */
function offsetNotes({ startMs, endMs, windows }: WindowSeries, calendar: Calendar): string[] {
  const notes: string[] = [];
  if (windows.length === 0) return notes;
  const ruler = calendar.ruler('day');
  let at = ruler.at(Math.floor(startMs / 1000));
  for (let days = 0; at.start * 1000 < endMs && days < DAYS_LOOKED_AT_MAX; days += 1) {
    const hours = (at.end - at.start) / 3600;
    if (hours !== 24) notes.push(`${civilText(at.day)} has ${hoursText(hours)}`);
    const next = ruler.next(at);
    for (let day = at.day + 1; day < next.day; day += 1)
      notes.push(`${civilText(day)} does not exist`);
    at = next;
    if (notes.length >= NOTES_MAX) break;
  }
  return notes;
}

function hoursText(hours: number): string {
  return `${Number(hours.toFixed(4))} ${hours === 1 ? 'hour' : 'hours'}`;
}
