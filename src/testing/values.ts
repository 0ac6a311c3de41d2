import type { Arbitrary } from 'fast-check';
import { notSupported } from '../base/errors.ts';
import { fastCheck } from './fast-check.ts';

/**
 * Values of a column's type as `db.insert` takes them. Small and often equal, since rows that agree are where groups, joins and keys go
 * wrong; and now and then what else goes wrong: extremes, signs, blanks, letters of other scripts, days at which clocks change.
 */
export function valueOf(type: string): Arbitrary<unknown> {
  const fc = fastCheck();
  // 'numeric(12,2)', 'timestamp(3) with time zone', 'interval day to second(0)'.
  const given = /\(([\d, ]+)\)/.exec(type);
  const modifiers = given === null ? [] : given[1]!.split(',').map(Number);
  const bare = type.replace(/\s*\([\d, ]+\)/, '');
  const name = bare.startsWith('interval') ? 'interval' : bare;
  const often = <Value>(usual: Arbitrary<Value>, seldom: Arbitrary<Value>): Arbitrary<Value> =>
    fc.oneof({ weight: 5, arbitrary: usual }, { weight: 1, arbitrary: seldom });
  switch (name) {
    case 'boolean':
      return fc.boolean();
    case 'smallint':
      return often(fc.integer({ min: -3, max: 9 }), fc.integer({ min: -32_768, max: 32_767 }));
    case 'integer':
      return often(
        fc.integer({ min: -3, max: 9 }),
        fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
      );
    case 'bigint':
      // What JavaScript's numbers hold, so that answers can be read without options.
      return often(fc.integer({ min: -3, max: 9 }), fc.integer({ min: -(2 ** 40), max: 2 ** 40 }));
    case 'real':
      return often(
        fc.integer({ min: -8, max: 8 }).map((value) => value / 4),
        fc.float({ noNaN: true, noDefaultInfinity: true, min: -1000, max: 1000 }),
      );
    case 'double precision':
      return often(
        fc.constantFrom(0, 0.1, 0.2, -0.3, 1, -1, 1e16, -1e16, 2.5),
        fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e9, max: 1e9 }),
      );
    case 'numeric': {
      const [precision = 12, scale = 2] = modifiers;
      const most = 10 ** Math.min(15, precision) - 1;
      const shown = (value: number): string => decimalText(value, scale);
      return often(
        fc.integer({ min: -Math.min(500, most), max: Math.min(500, most) }),
        fc.integer({ min: -most, max: most }),
      ).map(shown);
    }
    case 'text':
    case 'character varying':
    case 'character':
    case 'bpchar': {
      const length = Math.min(modifiers[0] ?? 12, 12);
      return often<string>(
        fc
          .constantFrom('a', 'b', 'ab', 'Ab', '', 'ü', '東', 'a b')
          .filter((text) => [...text].length <= length),
        fc
          .string({ unit: 'grapheme', maxLength: length })
          .filter((text) => !text.includes('\0') && [...text].length <= length),
      ).map((text) =>
        name.startsWith('character varying') || name === 'text' ? text : text.trimEnd(),
      );
    }
    case 'uuid':
      return fc.uuid();
    case 'bytea':
      return fc.uint8Array({ maxLength: 8 });
    case 'date':
      return instants().map((ms) => new Date(ms).toISOString().slice(0, 10));
    case 'time without time zone':
      return fc
        .integer({ min: 0, max: 86_399 })
        .map((second) => new Date(second * 1000).toISOString().slice(11, 19));
    case 'timestamp without time zone':
      return instants().map((ms) => new Date(ms).toISOString().slice(0, 23));
    case 'timestamp with time zone':
      return instants().map((ms) => new Date(ms).toISOString());
    case 'interval':
      return fc
        .tuple(
          fc.integer({ min: 0, max: 14 }),
          fc.integer({ min: 0, max: 40 }),
          fc.integer({ min: 0, max: 90_000 }),
        )
        .map(([months, days, seconds]) => `${months} months ${days} days ${seconds} seconds`);
    default:
      throw notSupported(
        `an arbitrary for type ${type}`,
        'Give one for the column: { columns: { name: fc.… } }.',
      );
  }
}

/** Instants of a few days about New Year, a leap day and the days when clocks change, to the second. */
export function instants(): Arbitrary<number> {
  const fc = fastCheck();
  const days = ['2024-02-28', '2025-12-31', '2026-03-08', '2026-03-29', '2026-10-25', '2026-11-01'];
  return fc
    .tuple(fc.constantFrom(...days), fc.integer({ min: 0, max: 2 * 86_400 - 1 }))
    .map(([day, second]) => Date.parse(`${day}T00:00:00Z`) + second * 1000);
}

function decimalText(units: number, scale: number): string {
  if (scale <= 0) return String(units);
  const digits = String(Math.abs(units)).padStart(scale + 1, '0');
  return `${units < 0 ? '-' : ''}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}
