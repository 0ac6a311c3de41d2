import { DbError, assert } from '../base/errors.ts';
import { daysFromCivil } from './civil.ts';

/**
 * A time zone: which offset from UTC is in force when. Offsets are seconds east of Greenwich (local = UTC + offset).
 * Zones are compared by identity: `zoneOf` gives the same one for every spelling of a name.
 *
 * 1. Answers come from boundary tables; Intl is asked only when a stretch of some 17 years is met for the first
 *    time, so that a query in known time runs without it. A table is a pure function of the process's tz data, hence
 *    sharing it between all users changes no answer.
 * 2. Instants are whole microseconds since 1970 (number, or bigint beyond ±2^53), and local times likewise:
 *    the microseconds that would have passed if the local clock were UTC.
 */
export type Zone = {
  /** As IANA spells it, or the text of a fixed offset. */
  readonly name: string;
  /** Set where the offset never changes. */
  readonly fixedOffsetSeconds: number | undefined;
  readonly blocks: Map<number, ZoneBlock>;
};

/** The offsets in force during a block of 2^29 seconds: `offsets[i]` from `starts[i]` until the next start. */
type ZoneBlock = { readonly starts: Float64Array; readonly offsets: Int32Array };

export const UTC: Zone = { name: 'UTC', fixedOffsetSeconds: 0, blocks: new Map() };

/** Both grow only with the names that exist: lower-case spellings, and the zones they mean. */
const zonesBySpelling = new Map<string, Zone | undefined>([
  ['utc', UTC],
  ['etc/utc', UTC],
  ['z', UTC],
  ['zulu', UTC],
]);
const zonesByName = new Map<string, Zone>([['UTC', UTC]]);
/** Spellings come from users; what they invent must not fill the memory. */
const SPELLING_COUNT_MAX = 4_096;

/** IANA names in any case, or a POSIX specification such as `UTC+3` (west is positive there). Else 22023. */
export function zoneOf(name: string): Zone {
  const zone = findZone(name);
  if (zone === undefined) {
    throw new DbError('22023', `time zone "${name}" not recognized`, {
      hint: "Use an IANA name such as 'Europe/Berlin' or 'UTC'.",
    });
  }
  return zone;
}

export function findZone(name: string): Zone | undefined {
  const spelling = name.toLowerCase();
  if (zonesBySpelling.has(spelling)) return zonesBySpelling.get(spelling);
  const zone = posixZone(name) ?? ianaZone(name);
  if (zonesBySpelling.size < SPELLING_COUNT_MAX) zonesBySpelling.set(spelling, zone);
  return zone;
}

/** A zone that is always `seconds` ahead of UTC. */
export function fixedZone(seconds: number, name: string): Zone {
  return { name, fixedOffsetSeconds: seconds, blocks: new Map() };
}

function ianaZone(name: string): Zone | undefined {
  // Intl also takes offsets, which PostgreSQL reads the other way round.
  if (!/^[A-Za-z][A-Za-z0-9_+\-/]*$/.test(name)) return undefined;
  let canonical: string;
  try {
    canonical = new Intl.DateTimeFormat('en-US', { timeZone: name }).resolvedOptions().timeZone;
  } catch {
    return undefined;
  }
  const known = zonesByName.get(canonical);
  if (known !== undefined) return known;
  const zone: Zone = {
    name: canonical,
    fixedOffsetSeconds: canonical === 'UTC' ? 0 : undefined,
    blocks: new Map(),
  };
  zonesByName.set(canonical, zone);
  return zone;
}

/** `FOO+3`, `<+05>-5`, `-3`: one offset without daylight saving, positive to the west. */
function posixZone(name: string): Zone | undefined {
  const match =
    /^(?:[A-Za-z]{3,}|<[A-Za-z0-9+-]+>)?([+-]?)(\d{1,2})(?::(\d{2})(?::(\d{2}))?)?$/.exec(name);
  if (match === null) return undefined;
  const hours = Number(match[2]);
  if (hours > 24) return undefined;
  const seconds = hours * 3600 + Number(match[3] ?? 0) * 60 + Number(match[4] ?? 0);
  return fixedZone((match[1] === '-' ? seconds : -seconds) + 0, name);
}

const MICROS = 1_000_000;

/** The offset at an instant; infinities take the first or the last one known. */
export function offsetSecondsAt(zone: Zone, utcMicros: number | bigint): number {
  if (zone.fixedOffsetSeconds !== undefined) return zone.fixedOffsetSeconds;
  return offsetAtSecond(zone, secondsOf(utcMicros));
}

function secondsOf(micros: number | bigint): number {
  if (typeof micros === 'number') return Math.floor(micros / MICROS);
  const seconds = micros / 1_000_000n;
  return Number(micros < 0n && micros % 1_000_000n !== 0n ? seconds - 1n : seconds);
}

/**
 * The instant of a local time, as PostgreSQL chooses: in a gap the clock is read with the offset before it (02:30
 * becomes 03:30), of a repeated time the second occurrence is taken.
 */
export function localToUtc(zone: Zone, localMicros: number | bigint): number | bigint {
  const offset = localOffsetSeconds(zone, secondsOf(localMicros));
  return plusSeconds(localMicros, -offset);
}

export function utcToLocal(zone: Zone, utcMicros: number | bigint): number | bigint {
  return plusSeconds(utcMicros, offsetSecondsAt(zone, utcMicros));
}

/** The offset with which PostgreSQL reads a local time, given in whole seconds. */
export function localOffsetSeconds(zone: Zone, localSeconds: number): number {
  if (zone.fixedOffsetSeconds !== undefined) return zone.fixedOffsetSeconds;
  // No walk over changes reaches an infinity.
  if (!Number.isFinite(localSeconds)) return offsetAtSecond(zone, localSeconds);
  // The first change after the day before, read as if it were UTC: one change at most matters.
  const from = localSeconds - 86_400;
  const before = offsetAtSecond(zone, from);
  const change = nextChange(zone, from, localSeconds + 2 * 86_400);
  if (change === undefined) return before;
  const withBefore = localSeconds - before;
  const withAfter = localSeconds - change.offset;
  if (withBefore < change.at && withAfter < change.at) return before;
  if (withBefore > change.at && withAfter >= change.at) return change.offset;
  return withBefore > withAfter ? before : change.offset;
}

/** The first instant whose local time is at or after `localSeconds`: how windows begin (gaps and repeats alike). */
export function firstInstantSeconds(zone: Zone, localSeconds: number): number {
  if (zone.fixedOffsetSeconds !== undefined) return localSeconds - zone.fixedOffsetSeconds;
  // No offset exceeds 16 hours, so the answer lies after this instant.
  let from = localSeconds - 57_600;
  for (;;) {
    const candidate = Math.max(from, localSeconds - offsetAtSecond(zone, from));
    const change = nextChange(zone, from, candidate);
    if (change === undefined) return candidate;
    from = change.at;
  }
}

/** The first change of offset after `from` and not after `until`, in seconds since 1970. */
export function nextChange(
  zone: Zone,
  from: number,
  until: number,
): { readonly at: number; readonly offset: number } | undefined {
  if (zone.fixedOffsetSeconds !== undefined) return undefined;
  let known = offsetAtSecond(zone, from);
  let at = from;
  while (at <= until) {
    const { block, shift, endSeconds } = blockAt(zone, at);
    for (let index = 0; index < block.starts.length; index += 1) {
      const start = block.starts[index]! + shift;
      if (start <= from) continue;
      if (start > until) return undefined;
      if (block.offsets[index]! !== known) return { at: start, offset: block.offsets[index]! };
    }
    known = block.offsets[block.offsets.length - 1]!;
    at = endSeconds;
  }
  return undefined;
}

function offsetAtSecond(zone: Zone, second: number): number {
  const { block, shift } = blockAt(zone, second);
  const target = second - shift;
  let low = 0;
  let high = block.starts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (block.starts[middle]! <= target) low = middle;
    else high = middle - 1;
  }
  return block.offsets[low]!;
}

const BLOCK_SECONDS = 2 ** 29;
/** Before this the local mean time of the first entry holds; no zone's history starts earlier. */
const FIRST_BLOCK = Math.floor((daysFromCivil(1800, 1, 1) * 86_400) / BLOCK_SECONDS);
/** From here on rules repeat with the calendar, every 400 years; tables such as Morocco's have ended before. */
const REPEAT_FROM_SECONDS = daysFromCivil(2200, 1, 1) * 86_400;
const REPEAT_SECONDS = 146_097 * 86_400;

/** `shift` is added to the block's instants; the block's part that holds here ends before `endSeconds`. */
function blockAt(
  zone: Zone,
  second: number,
): { readonly block: ZoneBlock; readonly shift: number; readonly endSeconds: number } {
  let shift = 0;
  if (second >= REPEAT_FROM_SECONDS + REPEAT_SECONDS) {
    const clamped = Math.min(second, 1e15);
    shift = Math.floor((clamped - REPEAT_FROM_SECONDS) / REPEAT_SECONDS) * REPEAT_SECONDS;
    const block = zoneBlock(zone, Math.floor((clamped - shift) / BLOCK_SECONDS));
    const end = (Math.floor((clamped - shift) / BLOCK_SECONDS) + 1) * BLOCK_SECONDS;
    return {
      block,
      shift,
      endSeconds: Math.min(end, REPEAT_FROM_SECONDS + REPEAT_SECONDS) + shift,
    };
  }
  const number = Math.max(FIRST_BLOCK, Math.floor(second / BLOCK_SECONDS));
  return {
    block: zoneBlock(zone, number),
    shift,
    endSeconds: Math.min((number + 1) * BLOCK_SECONDS, REPEAT_FROM_SECONDS + REPEAT_SECONDS),
  };
}

function zoneBlock(zone: Zone, number: number): ZoneBlock {
  let block = zone.blocks.get(number);
  if (block === undefined) {
    block = readBlock(zone.name, number);
    zone.blocks.set(number, block);
  }
  return block;
}

/**
 * Six days: the shortest time between two changes since 1970 is 6.96 days (Boa Vista, 2000), so no pair of changes
 * hides between two looks. A look costs 1 to 3 µs, a block some thousand of them.
 */
const LOOK_SECONDS = 6 * 86_400;

function readBlock(name: string, number: number): ZoneBlock {
  const read = offsetReader(name);
  const first = number * BLOCK_SECONDS;
  const last = first + BLOCK_SECONDS - 1;
  const starts = [first];
  const offsets = [read(first)];
  let at = first;
  while (at < last) {
    const next = Math.min(at + LOOK_SECONDS, last);
    let known = offsets[offsets.length - 1]!;
    if (read(next) !== known) {
      let low = at;
      let high = next;
      while (high - low > 1) {
        const middle = Math.floor((low + high) / 2);
        if (read(middle) === known) low = middle;
        else high = middle;
      }
      known = read(high);
      starts.push(high);
      offsets.push(known);
      // Another change may follow before the next look.
      at = high;
    } else at = next;
  }
  assert(
    offsets.every((offset) => Math.abs(offset) <= 57_600),
    'an offset from UTC is at most sixteen hours',
  );
  return { starts: Float64Array.from(starts), offsets: Int32Array.from(offsets) };
}

function offsetReader(name: string): (second: number) => number {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone: name,
    timeZoneName: 'longOffset',
    hour: 'numeric',
    hourCycle: 'h23',
  });
  return (second) => {
    // `05 GMT-04:56:02`, or `GMT` alone for zero.
    const text = format.format(second * 1000);
    const sign = text.indexOf('GMT') + 3;
    if (text.length === sign) return 0;
    const seconds =
      Number(text.slice(sign + 1, sign + 3)) * 3600 +
      Number(text.slice(sign + 4, sign + 6)) * 60 +
      (text.length > sign + 7 ? Number(text.slice(sign + 7, sign + 9)) : 0);
    return text.charCodeAt(sign) === 0x2d ? -seconds : seconds;
  };
}

/** Exact over the whole range of timestamps; the one form of the result. */
export function plusSeconds(micros: number | bigint, seconds: number): number | bigint {
  if (typeof micros === 'number') {
    const sum = micros + seconds * MICROS;
    if (Number.isSafeInteger(sum) || !Number.isFinite(micros)) return sum;
  }
  const sum = BigInt(micros) + BigInt(seconds) * 1_000_000n;
  return sum >= -9007199254740991n && sum <= 9007199254740991n ? Number(sum) : sum;
}
