import type { Calendar } from '../calendar/calendar.ts';
import { civilText } from '../calendar/civil.ts';
import { nextChange } from '../calendar/zones.ts';
import { demotedNote, type KeptTable } from '../windows/kept-reading.ts';
import { instantLabel, type WindowSeries } from '../windows/window-spec.ts';
import type { WindowRun } from './window-query.ts';

/** What a window query read, for people: EXPLAIN ANALYZE of windows. */
export type WindowExplanation = {
  readonly text: string;
  readonly windows: readonly ExplainedWindow[];
  /** Days of the span whose offset changes: `2026-11-01 has 25 hours`; what a policy has demoted of the rows. */
  readonly notes: readonly string[];
  readonly source: string;
  readonly tiles: number;
  readonly rowsScanned: number;
  readonly work: number;
};

export type ExplainedWindow = {
  readonly start: string;
  readonly end: string;
  readonly label: string;
  readonly hours: number;
  readonly partial: boolean;
  readonly complete: boolean;
  /** What it is compared with. */
  readonly compared?: { readonly start: string; readonly end: string } | null;
};

/** Windows told between two pauses. */
const WINDOWS_A_STEP = 64;

/** In steps: yields where others may have a turn. */
export function* explainedWindow(
  table: string,
  { result, series, calendar }: WindowRun,
  kept?: KeptTable,
): Generator<undefined, WindowExplanation> {
  const { meta } = result;
  const windows: ExplainedWindow[] = [];
  for (const [index, window] of series.windows.entries()) {
    const span = series.compared?.[index];
    windows.push({
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
    });
    if (windows.length % WINDOWS_A_STEP === 0) yield;
  }
  const notes = offsetNotes(series, calendar);
  const demoted =
    kept === undefined
      ? undefined
      : demotedNote(kept, meta.position, series.startMs * 1000, series.endMs * 1000);
  if (demoted !== undefined) notes.push(demoted);
  const marks = (window: ExplainedWindow): string =>
    [window.partial ? 'partial' : '', window.complete ? '' : 'running']
      .filter((mark) => mark !== '')
      .join(', ');
  const lines = [
    `Windows of ${table} in ${meta.zone} (tz ${meta.tzVersion}), now ${meta.now}`,
    ...shortened(
      windows,
      (window) =>
        `  ${window.start} → ${window.end}  ${hoursText(window.hours)}${marks(window) === '' ? '' : `  (${marks(window)})`}${
          window.compared === undefined
            ? ''
            : window.compared === null
              ? '  beside nothing'
              : `  beside ${window.compared.start} → ${window.compared.end}`
        }`,
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
function shortened(
  windows: readonly ExplainedWindow[],
  line: (window: ExplainedWindow) => string,
): readonly string[] {
  if (windows.length <= LINES_MAX) return windows.map(line);
  const half = LINES_MAX / 2;
  return [
    ...windows.slice(0, half).map(line),
    `  … ${windows.length - LINES_MAX} more …`,
    ...windows.slice(-half).map(line),
  ];
}

const NOTES_MAX = 50;

/** Days within the span that have other than 24 hours, and days that are skipped: those in which an offset changes. */
function offsetNotes({ startMs, endMs, windows }: WindowSeries, calendar: Calendar): string[] {
  const notes: string[] = [];
  if (windows.length === 0) return notes;
  const ruler = calendar.ruler('day');
  const zone = calendar.timeZone;
  const first = ruler.at(Math.floor(startMs / 1000));
  const until = Math.ceil(endMs / 1000) + LONGEST_DAY_SECONDS;
  let noted = -Infinity;
  // The instant of the change lies in the day before a skipped one, or begins the day after: both are looked at.
  for (let at = first.start - 1; notes.length < NOTES_MAX;) {
    const change = nextChange(zone, at, until);
    if (change === undefined) break;
    at = change.at;
    for (const instant of [at - 1, at]) {
      const day = ruler.at(instant);
      if (day.start <= noted || day.start < first.start || day.start * 1000 >= endMs) continue;
      noted = day.start;
      const hours = (day.end - day.start) / 3600;
      if (hours !== 24) notes.push(`${civilText(day.day)} has ${hoursText(hours)}`);
      const next = ruler.next(day);
      for (let skipped = day.day + 1; skipped < next.day; skipped += 1)
        notes.push(`${civilText(skipped)} does not exist`);
    }
  }
  return notes;
}

/** No day has been longer. */
const LONGEST_DAY_SECONDS = 48 * 3600;

function hoursText(hours: number): string {
  return `${Number(hours.toFixed(4))} ${hours === 1 ? 'hour' : 'hours'}`;
}
