import { DbError, assert } from '../base/errors.ts';
import { nearestOf } from '../base/nearest.ts';
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
  /** The piece of a block that was looked at last: queries ask for instants that lie close together. */
  readonly last: { from: number; to: number; offset: number };
  /** Rules that a user knows before the tz data do: from the first of them on, they alone hold. */
  readonly override?: { readonly base: Zone; readonly changes: readonly ZoneChange[] };
};

/** From `at`, in seconds since 1970, local time is `offset` seconds ahead of UTC. */
export type ZoneChange = { readonly at: number; readonly offset: number };

/** The offsets in force during a block of 2^29 seconds: `offsets[i]` from `starts[i]` until the next start. */
type ZoneBlock = { readonly starts: Float64Array; readonly offsets: Int32Array };

export const UTC: Zone = fixedZone(0, 'UTC');

/** The version of the rules, such as `2025c`: an answer about local time holds for one version. */
export const TZ_VERSION: string = String(process.versions.tz);

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

/** The zone whose name may have been meant. */
export function nearestZone(name: string): string | undefined {
  const names = Intl.supportedValuesOf('timeZone').map((each) => RENAMED.get(each) ?? each);
  return nearestOf(name, names);
}

/** IANA names in any case, or a POSIX specification such as `UTC+3` (west is positive there). Else 22023, with the field that names it. */
export function zoneOf(name: string, field?: string): Zone {
  const zone = findZone(name);
  if (zone === undefined) {
    const nearest = nearestZone(name);
    throw new DbError('22023', `time zone "${name}" not recognized`, {
      ...(field === undefined ? {} : { field }),
      hint:
        nearest === undefined
          ? "Use an IANA name such as 'Europe/Berlin' or 'UTC'."
          : `Did you mean "${nearest}"?`,
    });
  }
  return zone;
}

/**
 * The same where no SQL is spoken: `UTC+2` and `+02:00` are refused there, since people mean two hours east of Greenwich by it, and POSIX, as PostgreSQL, two
 * hours west. What only POSIX writes (`FOO+3`, `<+05>-5`) is read.
 */
export function plainZoneOf(name: string, field: string): Zone {
  const match = /^(?:UTC|GMT)?([+-])(\d{1,2})(?::?(\d{2}))?$/i.exec(name);
  if (match === null) return zoneOf(name, field);
  const minutes = match[3] ?? '00';
  const hours = String(Number(match[2]));
  const spelled = (sign: string): string =>
    minutes === '00'
      ? `Etc/GMT${sign === '+' ? '-' : '+'}${hours}`
      : `<${sign}${hours}:${minutes}>${sign === '+' ? '-' : '+'}${hours}:${minutes}`;
  const [east, west] = [spelled('+'), spelled('-')];
  throw new DbError('22023', `time zone "${name}" is read in two ways`, {
    field,
    hint: `Name the place, such as 'Europe/Berlin'; or write '${east}' for east of Greenwich, '${west}' for west.`,
  });
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
  return newZone(name, seconds);
}

/**
 * A zone as its rules will be: governments change them at a few days' notice. Before the first change the zone is as `base`
 * has it, and no other zone is touched. Changes are in the order of time.
 */
export function overriddenZone(base: Zone, changes: readonly ZoneChange[]): Zone {
  assert(
    changes.every(({ at }, index) => index === 0 || at > changes[index - 1]!.at),
    'changes of a zone are in the order of time',
  );
  return changes.length === 0
    ? base
    : { ...newZone(base.name, undefined), override: { base, changes } };
}

function newZone(name: string, fixedOffsetSeconds: number | undefined): Zone {
  return {
    name,
    fixedOffsetSeconds,
    blocks: new Map(),
    last: { from: Infinity, to: -Infinity, offset: 0 },
  };
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
  const zone = newZone(RENAMED.get(canonical) ?? canonical, undefined);
  zonesByName.set(canonical, zone);
  return zone;
}

/** Names that Intl still shows though IANA has others by now: people look for the zone they have asked for. */
const RENAMED: ReadonlyMap<string, string> = new Map([
  ['Africa/Asmera', 'Africa/Asmara'],
  ['America/Buenos_Aires', 'America/Argentina/Buenos_Aires'],
  ['America/Catamarca', 'America/Argentina/Catamarca'],
  ['America/Cordoba', 'America/Argentina/Cordoba'],
  ['America/Jujuy', 'America/Argentina/Jujuy'],
  ['America/Mendoza', 'America/Argentina/Mendoza'],
  ['America/Coral_Harbour', 'America/Atikokan'],
  ['America/Godthab', 'America/Nuuk'],
  ['America/Indianapolis', 'America/Indiana/Indianapolis'],
  ['America/Louisville', 'America/Kentucky/Louisville'],
  ['Asia/Calcutta', 'Asia/Kolkata'],
  ['Asia/Katmandu', 'Asia/Kathmandu'],
  ['Asia/Rangoon', 'Asia/Yangon'],
  ['Asia/Saigon', 'Asia/Ho_Chi_Minh'],
  ['Atlantic/Faeroe', 'Atlantic/Faroe'],
  ['Europe/Kiev', 'Europe/Kyiv'],
  ['Pacific/Enderbury', 'Pacific/Kanton'],
  ['Pacific/Ponape', 'Pacific/Pohnpei'],
  ['Pacific/Truk', 'Pacific/Chuuk'],
]);

/** `FOO+3`, `<+05>-5`, `-3`: one offset without daylight saving, positive to the west. */
function posixZone(name: string): Zone | undefined {
  const match =
    /^(?:[A-Za-z]{3,}|<[A-Za-z0-9+:-]+>)?([+-]?)(\d{1,2})(?::(\d{2})(?::(\d{2}))?)?$/.exec(name);
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
  // Where the offset has been what it is for longer than offsets differ, there is nothing to look for.
  const { last } = zone;
  const near = localSeconds - last.offset;
  if (near < last.to && near - last.from >= 2 * OFFSET_SECONDS_MAX) return near;
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
  const { last } = zone;
  if (!(second >= last.from && second < last.to)) lookAt(zone, second);
  return last.offset;
}

/** The offset in force at a second, and since and until when, as far as one block tells. */
export function offsetPieceAt(
  zone: Zone,
  second: number,
): { readonly from: number; readonly to: number; readonly offset: number } {
  if (zone.fixedOffsetSeconds !== undefined)
    return { from: -Infinity, to: Infinity, offset: zone.fixedOffsetSeconds };
  const { last } = zone;
  if (!(second >= last.from && second < last.to)) lookAt(zone, second);
  return last;
}

function lookAt(zone: Zone, second: number): void {
  const { block, shift, endSeconds } = blockAt(zone, second);
  const { starts, offsets } = block;
  const target = second - shift;
  let low = 0;
  let high = starts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (starts[middle]! <= target) low = middle;
    else high = middle - 1;
  }
  const { last } = zone;
  // Before the first block its first offset holds.
  last.from = Math.min(second, starts[low]! + shift);
  last.to = low + 1 < starts.length ? starts[low + 1]! + shift : endSeconds;
  last.offset = offsets[low]!;
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
    block =
      zone.override === undefined
        ? readBlock(zone.name, number)
        : overriddenBlock(zone.override, number);
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
  checkBlock(name, starts, offsets);
  return { starts: Float64Array.from(starts), offsets: Int32Array.from(offsets) };
}

/** What was read by offsets must be what the clock on the wall shows at each change, which Intl tells in another way. */
function checkBlock(name: string, starts: readonly number[], offsets: readonly number[]): void {
  assert(
    offsets.every((offset) => Math.abs(offset) <= 57_600),
    'an offset from UTC is at most sixteen hours',
  );
  const wallClock = wallClockReader(name);
  for (let index = 0; index < starts.length; index += 1) {
    const at = starts[index]!;
    assert(wallClock(at) === at + offsets[index]!, 'a table of offsets agrees with the wall clock');
    if (index === 0) continue;
    const before = at - 1 + offsets[index - 1]!;
    assert(wallClock(at - 1) === before, 'offsets change at the second the table says');
  }
}

/** Local seconds at an instant, from the fields of a clock. */
function wallClockReader(name: string): (second: number) => number {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone: name,
    calendar: 'gregory',
    numberingSystem: 'latn',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
    hourCycle: 'h23',
  });
  return (second) => {
    const fields = { year: 0, month: 0, day: 0, hour: 0, minute: 0, second: 0 };
    for (const { type, value } of format.formatToParts(second * 1000))
      if (type in fields) fields[type as keyof typeof fields] = Number(value);
    return (
      daysFromCivil(fields.year, fields.month, fields.day) * 86_400 +
      fields.hour * 3600 +
      fields.minute * 60 +
      fields.second
    );
  };
}

function overriddenBlock(
  { base, changes }: NonNullable<Zone['override']>,
  number: number,
): ZoneBlock {
  const first = number * BLOCK_SECONDS;
  const known =
    base.fixedOffsetSeconds === undefined
      ? zoneBlock(base, number)
      : {
          starts: Float64Array.of(first),
          offsets: Int32Array.of(base.fixedOffsetSeconds),
        };
  const from = changes[0]!.at;
  const held = changes.findLast(({ at }) => at <= first);
  const entries: ZoneChange[] = [];
  for (let index = 0; index < known.starts.length; index += 1)
    if (index === 0 || known.starts[index]! < from)
      entries.push({ at: known.starts[index]!, offset: known.offsets[index]! });
  if (held !== undefined) entries.splice(0, entries.length, { at: first, offset: held.offset });
  for (const change of changes)
    if (change.at > first && change.at < first + BLOCK_SECONDS) entries.push(change);
  return {
    starts: Float64Array.from(entries, ({ at }) => at),
    offsets: Int32Array.from(entries, ({ offset }) => offset),
  };
}

function offsetReader(name: string): (second: number) => number {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone: name,
    timeZoneName: 'longOffset',
    hour: 'numeric',
    hourCycle: 'h23',
  });
  return (second) => offsetOfText(format.format(second * 1000));
}

/** `05 GMT-04:56:02`; for zero `GMT+00:00` or `GMT` alone, by the version of ICU. */
export function offsetOfText(text: string): number {
  const sign = text.indexOf('GMT') + 3;
  if (text.length === sign) return 0;
  const seconds =
    Number(text.slice(sign + 1, sign + 3)) * 3600 +
    Number(text.slice(sign + 4, sign + 6)) * 60 +
    (text.length > sign + 7 ? Number(text.slice(sign + 7, sign + 9)) : 0);
  return text.charCodeAt(sign) === 0x2d ? -seconds : seconds;
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

/**
 * What instants a local time may mean. Usually one. Of a repeated time there are two, and `compatible` is the earlier; in a gap there is
 * none: `earlier` and `later` are what the clock shows when read with the offset after it and before it, and `compatible` is the
 * later (02:30 becomes 03:30), as in RFC 5545 and Temporal.
 */
export type LocalInstants = {
  readonly kind: 'one' | 'repeated' | 'gap';
  readonly compatible: number;
  readonly earlier: number;
  readonly later: number;
};

export function localInstants(zone: Zone, localSeconds: number): LocalInstants {
  const found: number[] = [];
  let gap: LocalInstants | undefined;
  // No offset exceeds sixteen hours, so what the local time may mean lies within them.
  let { offset } = offsetPieceAt(zone, localSeconds - OFFSET_SECONDS_MAX);
  let from = -Infinity;
  let search = localSeconds - OFFSET_SECONDS_MAX;
  for (;;) {
    const change = nextChange(zone, search, localSeconds + OFFSET_SECONDS_MAX);
    const at = localSeconds - offset;
    const to = change?.at ?? Infinity;
    if (at >= from && at < to) found.push(at);
    if (change === undefined) break;
    const after = localSeconds - change.offset;
    if (at >= change.at && after < change.at)
      gap = { kind: 'gap', compatible: at, earlier: after, later: at };
    ({ offset } = change);
    from = change.at;
    search = change.at;
  }
  const [earlier, later] = [found[0], found.at(-1)];
  if (earlier === undefined || later === undefined) {
    assert(gap !== undefined, 'a local time that no instant shows lies in a gap');
    return gap;
  }
  return { kind: earlier === later ? 'one' : 'repeated', compatible: earlier, earlier, later };
}

const OFFSET_SECONDS_MAX = 57_600;
