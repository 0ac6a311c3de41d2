import type { SqlType } from './types.ts';
import { Interval, type Datum } from './values.ts';

/** A key as PostgreSQL shows it in `Key (a, b)=(1, x) already exists.`; instants in UTC. */
export function keyText(data: readonly Datum[], types: readonly SqlType[]): string {
  return data.map((datum, index) => datumText(datum, types[index]!)).join(', ');
}

function datumText(datum: Datum, type: SqlType): string {
  if (datum === null) return 'null';
  if (typeof datum === 'boolean') return datum ? 't' : 'f';
  if (typeof datum === 'number' || typeof datum === 'bigint') return numberText(datum, type);
  if (datum instanceof Uint8Array)
    return `\\x${Array.from(datum, (byte) => (byte + 0x100).toString(16).slice(1)).join('')}`;
  if (datum instanceof Interval) {
    const time = timeText(Math.abs(datum.micros));
    return `${datum.months} mons ${datum.days} days ${datum.micros < 0 ? '-' : ''}${time}`;
  }
  return String(datum);
}

function numberText(datum: number | bigint, type: SqlType): string {
  const isInfinite = datum === Infinity || datum === -Infinity;
  switch (type.kind) {
    case 'date':
      return isInfinite ? infinityText(datum) : dateText(Number(datum));
    case 'time':
      return timeText(Number(datum));
    case 'timestamp':
    case 'timestamptz': {
      if (isInfinite) return infinityText(datum);
      const micros = BigInt(datum);
      const dayMicros = 86_400_000_000n;
      const ofDay = ((micros % dayMicros) + dayMicros) % dayMicros;
      const text = `${dateText(Number((micros - ofDay) / dayMicros))} ${timeText(Number(ofDay))}`;
      return type.kind === 'timestamptz' ? `${text}+00` : text;
    }
    default:
      return String(datum);
  }
}

function infinityText(datum: number | bigint): string {
  return datum > 0 ? 'infinity' : '-infinity';
}

/** Days since 1970 as a proleptic Gregorian date. Method: Howard Hinnant, "chrono-compatible low-level date algorithms". */
function dateText(days: number): string {
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra -
      Math.floor(dayOfEra / 1460) +
      Math.floor(dayOfEra / 36_524) -
      Math.floor(dayOfEra / 146_096)) /
      365,
  );
  const dayOfYear =
    dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shiftedMonth = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * shiftedMonth + 2) / 5) + 1;
  const month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  const pad = (value: number, width: number): string => String(value).padStart(width, '0');
  return year > 0
    ? `${pad(year, 4)}-${pad(month, 2)}-${pad(day, 2)}`
    : `${pad(1 - year, 4)}-${pad(month, 2)}-${pad(day, 2)} BC`;
}

function timeText(micros: number): string {
  const seconds = Math.floor(micros / 1_000_000);
  const fraction = micros - seconds * 1_000_000;
  const pad = (value: number): string => String(value).padStart(2, '0');
  const text = `${pad(Math.floor(seconds / 3600))}:${pad(Math.floor(seconds / 60) % 60)}:${pad(seconds % 60)}`;
  return fraction === 0 ? text : `${text}.${String(fraction).padStart(6, '0').replace(/0+$/, '')}`;
}
