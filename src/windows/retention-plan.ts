import { assert } from '../base/errors.ts';
import type { Calendar, Ruler } from '../calendar/calendar.ts';
import { ageStart, RESOLUTIONS, type Policy, type Resolution } from './policy.ts';
import type { Stretch } from './kept-tiles.ts';
import { MINUTE, QUARTER } from './tile-time.ts';

/** Where rows and tiles of a policy belong at an instant. Times are microseconds since 1970. */
export class RetentionPlan {
  /** Rows before it are demoted; −∞: none. It begins a tile, so that no tile waits for half of its rows. */
  readonly rawFrom: number;
  /** Tiles that end by then are no more, and rows before it become none; −∞: they stay for ever. */
  readonly goneBefore: number;
  /** Finest first: a tile that lies before `from` of a level belongs to the next one. */
  readonly #levels: readonly { readonly unit: Resolution; readonly from: number }[];
  readonly #calendar: Calendar;
  readonly #rulers = new Map<Resolution, Ruler>();

  constructor({ retention }: Policy, calendar: Calendar, nowMs: number) {
    this.#calendar = calendar;
    const [raw, ...levels] = retention;
    assert(raw !== undefined, 'a table is looked at where its policy has a retention');
    /** From when on a level is kept: where a stretch of the one that follows begins. */
    const fromOf = (keep: string, next: Resolution): number => {
      const start = ageStart(keep, nowMs, calendar);
      return start === undefined ? -Infinity : this.stretchOf(next, start * 1000).start;
    };
    this.#levels = levels.map(({ unit, keep }, index) => ({
      unit: unit as Resolution,
      from: fromOf(keep, (levels[index + 1]?.unit ?? unit) as Resolution),
    }));
    this.rawFrom = fromOf(raw.keep, (levels[0]?.unit ?? '15m') as Resolution);
    this.goneBefore = levels.length === 0 ? this.rawFrom : this.#levels.at(-1)!.from;
  }

  /** Where a demoted row goes, by its time; undefined: it is kept no more. */
  placeOf(time: number): ({ readonly unit: Resolution } & Stretch) | undefined {
    const level = this.#levels.find(({ from }) => time >= from);
    return level === undefined
      ? undefined
      : { unit: level.unit, ...this.stretchOf(level.unit, time) };
  }

  /** What a tile should be part of by now; undefined where it is right as it is. */
  foldOf(
    unit: Resolution,
    { start, end }: Stretch,
  ): ({ readonly unit: Resolution } & Stretch) | undefined {
    const place = end <= this.goneBefore ? undefined : this.placeOf(start);
    if (place === undefined || RESOLUTIONS.indexOf(place.unit) <= RESOLUTIONS.indexOf(unit))
      return undefined;
    // Of a zone before it may lie in two: then it stays.
    return start >= place.start && end <= place.end ? place : undefined;
  }

  /** The stretch of a resolution that an instant lies in. */
  stretchOf(unit: Resolution, time: number): Stretch {
    if (unit === '1m' || unit === '15m') {
      const length = unit === '1m' ? MINUTE : QUARTER;
      const start = Math.floor(time / length) * length;
      return { start, end: start + length };
    }
    let ruler = this.#rulers.get(unit);
    if (ruler === undefined) this.#rulers.set(unit, (ruler = this.#calendar.ruler(unit)));
    const { start, end } = ruler.at(Math.floor(time / 1_000_000));
    return { start: start * 1_000_000, end: end * 1_000_000 };
  }
}

/** Before it no calendar reaches: rows of such times stay. */
export const TIME_MIN = -8_990_000_000_000_000;
