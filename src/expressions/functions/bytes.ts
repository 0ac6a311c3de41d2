import { DbError } from '../../base/errors.ts';
import type { Datum } from '../../columns/values.ts';
import type { FunctionDef } from '../function-def.ts';
import { matchesLike } from '../like.ts';
import { define } from './define.ts';

const bytes = (value: Datum | undefined): Uint8Array => value as Uint8Array;

/** Functions of bytea, beside those that texts have too. */
export const BYTES: readonly FunctionDef[] = [
  define('||', ['bytea', 'bytea'], 'bytea', ([a, b]) => joined(bytes(a), bytes(b))),
  define('~~', ['bytea', 'bytea'], 'boolean', ([value, pattern]) =>
    matchesLike(bytesAsText(value), bytesAsText(pattern)),
  ),
  define(
    '!~~',
    ['bytea', 'bytea'],
    'boolean',
    ([value, pattern]) => !matchesLike(bytesAsText(value), bytesAsText(pattern)),
  ),
  define('bit_length', ['bytea'], 'int4', ([value]) => bytes(value).length * 8),
  define('bit_count', ['bytea'], 'int8', ([value]) => {
    let count = 0;
    for (let byte of bytes(value)) for (; byte > 0; byte >>= 1) count += byte & 1;
    return count;
  }),
  define(
    'get_byte',
    ['bytea', 'int4'],
    'int4',
    ([value, at]) => bytes(value)[checkedPlace(at, bytes(value).length)]!,
  ),
  define('set_byte', ['bytea', 'int4', 'int4'], 'bytea', ([value, at, byte]) => {
    const out = bytes(value).slice();
    out[checkedPlace(at, out.length)] = (byte as number) & 0xff;
    return out;
  }),
  define('get_bit', ['bytea', 'int8'], 'int4', ([value, at]) => {
    const place = checkedPlace(at, bytes(value).length * 8);
    return (bytes(value)[place >> 3]! >> (place & 7)) & 1;
  }),
  define('set_bit', ['bytea', 'int8', 'int4'], 'bytea', ([value, at, bit]) => {
    if (bit !== 0 && bit !== 1) throw new DbError('22023', 'new bit must be 0 or 1');
    const out = bytes(value).slice();
    const place = checkedPlace(at, out.length * 8);
    const mask = 1 << (place & 7);
    out[place >> 3] = bit === 1 ? out[place >> 3]! | mask : out[place >> 3]! & ~mask;
    return out;
  }),
  ...['substring', 'substr'].flatMap((name) => [
    define(name, ['bytea', 'int4'], 'bytea', ([value, start]) =>
      part(bytes(value), start as number, undefined),
    ),
    define(name, ['bytea', 'int4', 'int4'], 'bytea', ([value, start, count]) =>
      part(bytes(value), start as number, count as number),
    ),
  ]),
  define('overlay', ['bytea', 'bytea', 'int4'], 'bytea', ([value, by, from]) =>
    overlaid(bytes(value), bytes(by), from as number, bytes(by).length),
  ),
  define('overlay', ['bytea', 'bytea', 'int4', 'int4'], 'bytea', ([value, by, from, count]) =>
    overlaid(bytes(value), bytes(by), from as number, count as number),
  ),
  define(
    'position',
    ['bytea', 'bytea'],
    'int4',
    ([value, wanted]) => Buffer.from(bytes(value)).indexOf(bytes(wanted)) + 1,
  ),
  ...(['btrim', 'ltrim', 'rtrim'] as const).map((name) =>
    define(name, ['bytea', 'bytea'], 'bytea', ([value, set]) => {
      const [all, cut] = [bytes(value), new Set(bytes(set))];
      let start = 0;
      let end = all.length;
      if (name !== 'rtrim') while (start < end && cut.has(all[start]!)) start += 1;
      if (name !== 'ltrim') while (end > start && cut.has(all[end - 1]!)) end -= 1;
      return all.slice(start, end);
    }),
  ),
  define('reverse', ['bytea'], 'bytea', ([value]) => bytes(value).slice().reverse()),
  define('convert_from', ['bytea', 'text'], 'text', ([value, encoding]) => {
    utf8Only(encoding);
    const text = utf8Text(bytes(value));
    if (text === undefined || text.includes('\0'))
      throw new DbError('22021', 'invalid byte sequence for encoding "UTF8"');
    return text;
  }),
  define('convert_to', ['text', 'text'], 'bytea', ([value, encoding]) => {
    utf8Only(encoding);
    return new Uint8Array(Buffer.from(value as string));
  }),
  define('encode', ['bytea', 'text'], 'text', ([value, format]) =>
    encoded(bytes(value), format as string),
  ),
  define('decode', ['text', 'text'], 'bytea', ([value, format]) =>
    decoded(value as string, format as string),
  ),
];

/** A character a byte. */
function bytesAsText(value: Datum | undefined): string {
  return Buffer.from(bytes(value)).toString('latin1');
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}

function checkedPlace(at: Datum | undefined, length: number): number {
  const place = Number(at);
  if (place < 0 || place >= length)
    throw new DbError('2202E', `index ${place} out of valid range, 0..${length - 1}`);
  return place;
}

function part(value: Uint8Array, start: number, count: number | undefined): Uint8Array {
  if (count !== undefined && count < 0)
    throw new DbError('22011', 'negative substring length not allowed');
  const from = start - 1;
  const to = count === undefined ? value.length : from + count;
  return value.slice(Math.max(0, from), Math.max(0, to));
}

function overlaid(value: Uint8Array, by: Uint8Array, from: number, count: number): Uint8Array {
  if (from < 1) throw new DbError('22011', 'negative substring length not allowed');
  return joined(joined(value.slice(0, from - 1), by), value.slice(Math.max(0, from - 1 + count)));
}

function utf8Only(encoding: Datum | undefined): void {
  if (!/^utf-?8$/i.test(encoding as string))
    throw new DbError('0A000', `encoding "${String(encoding)}" is not supported`, {
      hint: 'Texts are UTF8 here.',
    });
}

function utf8Text(value: Uint8Array): string | undefined {
  const text = Buffer.from(value).toString('utf8');
  return Buffer.from(text).equals(value) ? text : undefined;
}

/** base64 breaks its lines after 76 characters, as MIME wants it. */
function encoded(value: Uint8Array, format: string): string {
  const buffer = Buffer.from(value);
  switch (format.toLowerCase()) {
    case 'hex':
      return buffer.toString('hex');
    case 'base64':
      return buffer.toString('base64').replaceAll(/.{76}(?=.)/g, '$&\n');
    case 'escape':
      return Array.from(value, (byte) =>
        byte === 0x5c
          ? '\\\\'
          : byte === 0 || byte >= 128
            ? `\\${byte.toString(8).padStart(3, '0')}`
            : String.fromCharCode(byte),
      ).join('');
    default:
      throw unknownFormat(format);
  }
}

function decoded(text: string, format: string): Uint8Array {
  switch (format.toLowerCase()) {
    case 'hex': {
      const digits = text.replaceAll(/\s/g, '');
      const bad = /[^0-9a-fA-F]/.exec(digits);
      if (bad !== null) throw new DbError('22023', `invalid hexadecimal digit: "${bad[0]}"`);
      if (digits.length % 2 !== 0)
        throw new DbError('22023', 'invalid hexadecimal data: odd number of digits');
      return new Uint8Array(Buffer.from(digits, 'hex'));
    }
    case 'base64': {
      const digits = text.replaceAll(/\s/g, '');
      const bad = /[^0-9a-zA-Z+/=]/.exec(digits);
      if (bad !== null)
        throw new DbError(
          '22023',
          `invalid symbol "${bad[0]}" found while decoding base64 sequence`,
        );
      if (digits.length % 4 !== 0)
        throw new DbError('22023', 'invalid base64 end sequence', {
          hint: 'Input data is missing padding, is truncated, or is otherwise corrupted.',
        });
      return new Uint8Array(Buffer.from(digits, 'base64'));
    }
    case 'escape': {
      const source = Buffer.from(text);
      const out: number[] = [];
      for (let at = 0; at < source.length; at += 1) {
        if (source[at] !== 0x5c) {
          out.push(source[at]!);
          continue;
        }
        const octal = /^[0-3][0-7]{2}/.exec(source.toString('latin1', at + 1, at + 4));
        if (octal !== null) {
          out.push(Number.parseInt(octal[0], 8));
          at += 3;
        } else if (source[at + 1] === 0x5c) {
          out.push(0x5c);
          at += 1;
        } else throw new DbError('22P02', 'invalid input syntax for type bytea');
      }
      return new Uint8Array(out);
    }
    default:
      throw unknownFormat(format);
  }
}

function unknownFormat(format: string): DbError {
  return new DbError('22023', `unrecognized encoding: "${format}"`, {
    hint: 'Use hex, base64 or escape.',
  });
}
