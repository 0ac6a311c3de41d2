import { demotedNote, type KeptTable } from '../windows/kept-reading.ts';
import { instantLabel } from '../windows/window-spec.ts';
import { hoursText, offsetNotes } from './offset-notes.ts';
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
  const keptFromMs = meta.sources.reduce(
    (latest, { keptFrom }) =>
      keptFrom === undefined ? latest : Math.max(latest, Date.parse(keptFrom)),
    -Infinity,
  );
  const windows: ExplainedWindow[] = [];
  for (const [index, window] of series.windows.entries()) {
    const span = series.compared?.[index];
    windows.push({
      start: instantLabel(calendar, window.startMs),
      end: instantLabel(calendar, window.endMs),
      label: window.label,
      hours: (window.endMs - window.startMs) / 3_600_000,
      partial: window.partial || window.startMs < keptFromMs,
      complete: window.complete && window.startMs >= keptFromMs,
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
  const notes = windows.length === 0 ? [] : offsetNotes(series, calendar);
  const demoted =
    kept === undefined
      ? undefined
      : demotedNote(kept, meta.position, series.startMs * 1000, series.endMs * 1000);
  if (demoted !== undefined) notes.push(demoted);
  notes.push(...(meta.notes ?? []));
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
