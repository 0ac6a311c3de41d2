import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Database } from '../../src/index.ts';
import { open } from '../../src/open.ts';

/** What PostgreSQL 15 answers (C locale, UTC). */
const ANSWERS: readonly (readonly [string, string | null])[] = [
  [String.raw`'foobarbaz' ~ 'b.r'`, 't'],
  [String.raw`'foobarbaz' ~* 'BAR'`, 't'],
  [String.raw`'abc' !~ '^b'`, 't'],
  [String.raw`'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' ~ '(a+)+$x'`, 'f'],
  [String.raw`'abc abc abd' ~ '^(.+)( \1)+$'`, 'f'],
  [String.raw`'bbb' ~ '^([bc])\1*$'`, 't'],
  [String.raw`'xy' ~ 'x(?=[xy])'`, 't'],
  [String.raw`'xyy' ~ '(?<=[xy])yy+'`, 't'],
  [String.raw`'one two' ~ '\mtwo\M'`, 't'],
  [String.raw`E'a\nb' ~ '(?n)^b$'`, 't'],
  [String.raw`'a.c' ~ '***=a.c'`, 't'],
  [String.raw`'AbC' ~ '(?i)abc'`, 't'],
  [String.raw`substring('XY1234Z', 'Y*([0-9]{1,3})')`, '123'],
  [String.raw`substring('XY1234Z', 'Y*?([0-9]{1,3})')`, '1'],
  [String.raw`substring('foobar' from 'o(.)b')`, 'o'],
  [String.raw`substring('abcdefg' similar 'a#"%#"g' escape '#')`, 'bcdef'],
  [String.raw`'abc' SIMILAR TO '%(b|d)%'`, 't'],
  [String.raw`'abc' SIMILAR TO '(b|c)%'`, 'f'],
  [String.raw`'aaa' NOT SIMILAR TO '[b-z]{3}'`, 't'],
  [String.raw`regexp_replace('foobarbaz', 'b..', 'X')`, 'fooXbaz'],
  [String.raw`regexp_replace('foobarbaz', 'b..', 'X', 'g')`, 'fooXX'],
  [String.raw`regexp_replace('foobarbaz', 'b(..)', 'X\1Y', 'g')`, 'fooXarYXazY'],
  [
    String.raw`regexp_replace('A PostgreSQL function', 'a|e|i|o|u', 'X', 1, 0, 'i')`,
    'X PXstgrXSQL fXnctXXn',
  ],
  [
    String.raw`regexp_replace('A PostgreSQL function', 'a|e|i|o|u', 'X', 1, 3, 'i')`,
    'A PostgrXSQL function',
  ],
  [String.raw`regexp_replace('abc', '', '-', 'g')`, '-a-b-c-'],
  [String.raw`regexp_count('123123123123', '\d{3}', 1)`, '4'],
  [String.raw`regexp_instr('number of your street, town zip, FR', '[^,]+', 1, 2)`, '23'],
  [String.raw`regexp_instr('ABCDEFGHI', '(c..)(...)', 1, 1, 0, 'i', 2)`, '6'],
  [String.raw`regexp_like('Hello World', 'world', 'i')`, 't'],
  [String.raw`regexp_substr('ABCDEFGHI', '(c..)(...)', 1, 1, 'i', 2)`, 'FGH'],
  [`sign('NaN'::numeric)`, 'NaN'],
  [`sign('-Infinity'::numeric)`, '-1'],
  [`(SELECT max(g) FROM generate_series(2147483640, 2147483647, 3) g)`, '2147483646'],
  [`(SELECT count(*) FROM generate_series(9223372036854775806, 9223372036854775807))`, '2'],
  [`(SELECT sum(g) FROM generate_series(10, -5000, -2) g)`, '-6252470'],
  [`(SELECT max(pg_typeof(g)::text) FROM generate_series(1::smallint, 2) g)`, 'integer'],
  [String.raw`md5('abc')`, '900150983cd24fb0d6963f7d28e17f72'],
  [
    String.raw`encode(sha256('abc'), 'hex')`,
    'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
  ],
  [String.raw`encode('\x1234567890abcdef00', 'escape')`, String.raw`4Vx\220\253\315\357\000`],
  [String.raw`encode(decode('aGVsbG8=', 'base64'), 'escape')`, 'hello'],
  [String.raw`get_bit('\x1234567890'::bytea, 30)`, '1'],
  [String.raw`set_byte('\x1234'::bytea, 1, 255)`, String.raw`\x12ff`],
  [
    String.raw`overlay('\x0102030405'::bytea placing '\xffff'::bytea from 2 for 3)`,
    String.raw`\x01ffff05`,
  ],
  [String.raw`format('Hello %s, %1$s', 'World')`, 'Hello World, World'],
  [
    String.raw`format('INSERT INTO %I VALUES(%L)', 'Foo bar', 'O''Reilly')`,
    String.raw`INSERT INTO "Foo bar" VALUES('O''Reilly')`,
  ],
  [String.raw`format('|%10s|%-10s|', 'foo', 'bar')`, '|       foo|bar       |'],
  [String.raw`format('%2$s %1$s %%', 'a', 'b')`, 'b a %'],
  [String.raw`quote_literal(E'\\')`, String.raw`E'\\'`],
  [String.raw`'a' || NULL`, null],
  [String.raw`'aa' || 'b'`, 'aab'],
  [String.raw`text 'a' || char(5) 'b'`, 'ab'],
  [String.raw`unistr('d\u0061t\U00000061')`, 'data'],
  ['sqrt(2::numeric)', '1.414213562373095'],
  ['sqrt(1e20::numeric)', '10000000000.00000'],
  ['sqrt(0.0001::numeric)', '0.01000000000000000'],
  ['exp(1::numeric)', '2.7182818284590452'],
  ['exp(-20.5::numeric)', '0.000000001250152866386743'],
  ['exp(100::numeric)', '26881171418161354484126255515800135873611119'],
  ['ln(2::numeric)', '0.6931471805599453'],
  ['ln(1.0001::numeric)', '0.00009999500033330834'],
  ['ln(1e-50::numeric)', '-115.12925464970228420089957273421821038005507443143865'],
  ['log(100::numeric)', '2.0000000000000000'],
  ['log(2.0, 64.0)', '6.0000000000000000'],
  ['log(0.5, 64)', '-6.0000000000000000'],
  ['power(2::numeric, 10)', '1024.0000000000000000'],
  ['power(2::numeric, -10)', '0.0009765625000000'],
  ['power(1.5, 2.5)', '2.7556759606310754'],
  ['power(2::numeric, 0.5)', '1.4142135623730950'],
  ['3.789 ^ 21', '1409343026052.8716016316022141'],
  ['1.2 ^ 345', '2077446682327378559843444695.5827049735727869'],
  ['0.12 ^ (-20)', '2608405330458882702.5529619561355838'],
  ['1.000000000123 ^ (-2147483648)', '0.7678656556403084'],
  ['round(2.5::float8)', '2'],
  ['round(-0.1::float8)', '-0'],
  ['gcd(1071, 462)', '21'],
  ['lcm(15, -10)', '30'],
  ['gcd(1.5, 0.9)', '0.3'],
  ['min_scale(8.4100)', '2'],
  ['trim_scale(8.4100)', '8.41'],
  ['factorial(20)', '2432902008176640000'],
  ['width_bucket(5.35::numeric, 0.024, 10.06, 5)', '3'],
  ['width_bucket(3::float8, 10, 0, 4)', '3'],
  ['sind(30)', '0.5'],
  ['cosd(60)', '0.5'],
  ['tand(45)', '1'],
  ['acosd(0.5)', '60'],
  ['atan2d(1, 1)', '45'],
  ['cotd(45)', '1'],
  ['|/ 25::float8', '5'],
  ['cosh(1000::float8)', 'Infinity'],
  [
    String.raw`date_bin('15 minutes', timestamp '2022-08-03 14:38:50', timestamp '2001-01-01')`,
    '2022-08-03 14:30:00',
  ],
  [
    String.raw`date_bin('7 days', timestamp '2000-08-03 14:38:50', timestamp '2001-01-01')`,
    '2000-07-31 00:00:00',
  ],
  ['make_date(-44, 3, 15)', '0044-03-15 BC'],
  ['make_time(8, 15, 23.5)', '08:15:23.5'],
  ['make_timestamp(2013, 7, 15, 8, 15, 23.5)', '2013-07-15 08:15:23.5'],
  ['make_interval(days => 10, hours => 2)', '10 days 02:00:00'],
  ['make_interval(1, 2, 3, 4, 5, 6, 7.5)', '1 year 2 mons 25 days 05:06:07.5'],
  [String.raw`age(timestamp '2001-04-10', timestamp '1957-06-13')`, '43 years 9 mons 27 days'],
  [
    String.raw`(date '2016-01-10', date '2016-02-01') overlaps (date '2016-01-30', date '2016-10-01')`,
    't',
  ],
  [String.raw`(time '10:00', interval '1 hour') overlaps (time '10:30', interval '1 hour')`, 't'],
  [
    String.raw`(date '2026-01-01', date '2026-02-01') overlaps (date '2026-01-15', interval '1 month')`,
    't',
  ],
  [
    String.raw`(timestamptz '2026-01-01', interval '1 day') overlaps (timestamptz '2026-01-02', timestamptz '2026-01-03')`,
    'f',
  ],
  [
    String.raw`(timestamptz '2026-01-01', null::interval) overlaps (timestamptz '2026-01-01', interval '1 day')`,
    null,
  ],
  [String.raw`interval '8' year`, '8 years'],
  [String.raw`interval '1-2' year to month`, '1 year 2 mons'],
  [String.raw`interval '1.5' day`, '1 day'],
  [String.raw`interval '2 days 3:04:05.678' day to hour`, '2 days 03:00:00'],
  [String.raw`interval '1 2:03:04.5678' day to second(2)`, '1 day 02:03:04.57'],
  [String.raw`timestamp(0) '2020-01-01 10:00:00.6'`, '2020-01-01 10:00:01'],
  [String.raw`time(2) '10:00:00.126'`, '10:00:00.13'],
  [String.raw`extract(millennium from interval '14000 months')`, '1'],
  [String.raw`extract(milliseconds from time '10:00:01.5')`, '1500.000'],
  [String.raw`date_part('hour', date '2020-01-01')`, '0'],
  [String.raw`date_part('msec', timestamp '2020-01-01 00:00:01.25')`, '1250'],
  [String.raw`date_trunc('decade', timestamp '2019-05-05')`, '2010-01-01 00:00:00'],
  [String.raw`to_timestamp(1284352323.5) at time zone 'UTC'`, '2010-09-13 04:32:03.5'],
  [
    String.raw`to_char(timestamp '2002-04-20 17:31:12.66', 'HH12:MI:SS.MS PM Day, DD Month YYYY')`,
    '05:31:12.660 PM Saturday , 20 April     2002',
  ],
  [
    String.raw`to_char(timestamp '2002-04-20 17:31:12.66', 'FMDay, FMDDth FMMonth YY, Q IW IYYY J DDD')`,
    'Saturday, 20th April 02, 2 16 2002 2452385 110',
  ],
  [
    String.raw`to_char(timestamp '2002-04-06', 'TMMonth|TMday|TMDY|TMDD|Month')`,
    'April|saturday|SAT|06|April    ',
  ],
  [
    String.raw`to_char(timestamp '0044-03-15 BC', 'YYYY BC CC "quoted" RM')`,
    '0044 BC -01 quoted III ',
  ],
  [String.raw`to_char(interval '15h 2m 12s', 'HH24:MI:SS')`, '15:02:12'],
  [String.raw`to_char(interval '-1 year -1 mon', 'YYYY MM')`, '-0001 -01'],
  [String.raw`to_char(125, '999')`, ' 125'],
  [String.raw`to_char(-125.8, '999D99S')`, '125.80-'],
  [String.raw`to_char(125.8::real, '999D9')`, ' 125.8'],
  [String.raw`to_char(1234567.891, 'FM9,999,999.00')`, '1,234,567.89'],
  [String.raw`to_char(0.1, '0.9')`, ' 0.1'],
  [String.raw`to_char(0.1, '9.9')`, '  .1'],
  [String.raw`to_char(-0.1, '99.99')`, '  -.10'],
  [String.raw`to_char(12, '9990999.9')`, '    0012.0'],
  [String.raw`to_char(12, 'FM9990999.9')`, '0012.'],
  [String.raw`to_char(485, '999')`, ' 485'],
  [String.raw`to_char(-485, '999PR')`, '<485>'],
  [String.raw`to_char(485, 'L999')`, '  485'],
  [String.raw`to_char(482, '999th')`, ' 482nd'],
  [String.raw`to_char(485, 'RN')`, '        CDLXXXV'],
  [String.raw`to_char(5.2, 'FMRN')`, 'V'],
  [String.raw`to_char(12.4, '99V999')`, ' 12400'],
  [String.raw`to_char(0.0004859, '9.99EEEE')`, ' 4.86e-04'],
  [String.raw`to_char(148500, 'MI9G999G999')`, '   148,500'],
  [String.raw`to_char(99999, '999')`, ' ###'],
  [String.raw`to_char(485, '"Good number:"999')`, 'Good number: 485'],
  [String.raw`to_char('nan'::float8, '9999.9')`, '  NaN'],
  [String.raw`to_number('12,454.8-', '99G999D9S')`, '-12454.8'],
  // What lies in the middle of two is exact, and becomes even; nought has a sign.
  [String.raw`to_char(0.5::float8, '9')`, ' 0'],
  [String.raw`to_char(1.5::float8, '9')`, ' 2'],
  [String.raw`to_char(2.5::float8, '9')`, ' 2'],
  [String.raw`to_char(0.125::float8, '9.99')`, '  .12'],
  [String.raw`to_char(0.375::float8, '9.99')`, '  .38'],
  [String.raw`to_char(0.15::float8, '9.9')`, '  .1'],
  [String.raw`to_char('-0'::float8, 'SG99')`, '- 0'],
  [String.raw`to_char('-0'::float4, '9.99EEEE')`, '-0.00e+00'],
  // Blanks that fill a char(n) are bytes, and no characters.
  [String.raw`octet_length('ab'::char(4))`, '4'],
  [String.raw`length('ab'::char(4))`, '2'],
  [String.raw`'infinity'::date + 1`, 'infinity'],
  [String.raw`'-infinity'::date - 1`, '-infinity'],
  [String.raw`'-infinity'::date + '10:00'::time`, '-infinity'],
  // Rounded away from 2000, not from 1970.
  [String.raw`'1970-01-01 01:59:59.5'::timestamp(0)`, '1970-01-01 01:59:59'],
  [String.raw`'2000-01-01 01:59:59.5'::timestamp(0)`, '2000-01-01 02:00:00'],
  [String.raw`'0001-01-01 00:00:00.0005'::timestamp(3)`, '0001-01-01 00:00:00'],
  [String.raw`'1600-01-01 00:00:00.0006'::timestamp(3)`, '1600-01-01 00:00:00.001'],
  [String.raw`quote_ident('true') || quote_ident('name')`, '"true"name'],
  [String.raw`radians(1e308)`, '1.7453292519943295e+306'],
  // Multiplied by a power of ten, whose places stay.
  [String.raw`to_number('1234', '99V99')`, '12.3400000000000000'],
  [String.raw`to_number('12.4', '99V9')`, '1.2000000000000000'],
  [String.raw`quote_ident('a$')`, '"a$"'],
  [String.raw`to_number('12.4-', '99.9MI')`, '-12.4'],
  [String.raw`to_number('12-', '99SG')`, '-12'],
  [String.raw`to_number('1,234-', '9,999MI')`, '-1234'],
  [String.raw`to_number('12-', '99PL')`, '12'],
  [String.raw`to_number('-12', 'MI99')`, '-12'],
  [String.raw`to_number('-12', '99S')`, '-12'],
  [String.raw`to_number('-1', '9S')`, '-1'],
  [String.raw`to_number('- 1', '99S')`, '-1'],
  [String.raw`to_number('12.4-', '99.9S')`, '-12.4'],
  [String.raw`to_char(0.125::float8, '9.9EEEE')`, ' 1.2e-01'],
  [String.raw`to_char(0.375::float8, '9.9EEEE')`, ' 3.8e-01'],
  [String.raw`to_char(-2.5::float8, '9EEEE')`, '-2e+00'],
  [String.raw`to_char(2.5::float8, 'FMRN')`, 'II'],
  [String.raw`to_char(3.5::float8, 'FMRN')`, 'IV'],
  [String.raw`to_char(2.5, 'FMRN')`, 'III'],
  [String.raw`to_number('<564646.654564>', '999999.999999PR')`, '-564646.654564'],
  [String.raw`to_number('5 4 4 . 7 8', '9 9 9 . 9 9')`, '544.78'],
  [String.raw`to_date('05 Dec 2000', 'DD Mon YYYY')`, '2000-12-05'],
  [String.raw`to_date('20000-1116', 'YYYY-MMDD')`, '20000-11-16'],
  [String.raw`to_date('3 4 21 01', 'W MM CC YY')`, '2001-04-15'],
  [String.raw`to_date('44-02-01 BC', 'YYYY-MM-DD BC')`, '0044-02-01 BC'],
  [
    String.raw`to_timestamp('2011-12-18 11:38 PM', 'YYYY-MM-DD HH12:MI PM') at time zone 'UTC'`,
    '2011-12-18 23:38:00',
  ],
  [String.raw`to_timestamp('97/Feb/16', 'YY:Mon:DD') at time zone 'UTC'`, '1997-02-16 00:00:00'],
  [
    String.raw`to_timestamp('2018-11-02 12:34:56.123456', 'YYYY-MM-DD HH24:MI:SS.FF3') at time zone 'UTC'`,
    '2018-11-02 12:34:56.123',
  ],
  [String.raw`to_timestamp('2000 -10', 'YYYY TZH') at time zone 'UTC'`, '2000-01-01 10:00:00'],
  [String.raw`float8('1.5')`, '1.5'],
  ['int4(2.6::float8)', '3'],
  [`0.00 ^ 2147483647::numeric`, '0.0000000000000000'],
  [`timestamp '1200-01-01' = timestamp '1200-01-01 00:00'`, 't'],
  [
    `(SELECT count(DISTINCT x::timestamp) FROM (VALUES ('1200-01-01'), ('1200-01-01 00:00')) v (x))`,
    '1',
  ],
  [`(SELECT max((i::boolean)::text) FROM (VALUES (0)) v (i))`, 'false'],
  [
    `(SELECT count(*) FROM (SELECT i::boolean AS b FROM (VALUES (0), (7), (1)) v (i) GROUP BY 1) g WHERE b)`,
    '1',
  ],
  [`(SELECT max((-1.5 * n)::float8) FROM (VALUES (0.00)) v (n))`, '0'],
  [
    `(SELECT avg(i) FROM (VALUES ('1 mon 2 days 03:04:05.678'::interval), ('-1 year -3 mons 4 days -05:00'), ('0'), ('36:51:51')) v (i))`,
    '-3 mons -14 days +20:43:59.1695',
  ],
  [`date_trunc('month', interval '14 mons 5 days 3:00')`, '1 year 2 mons'],
  [`date_trunc('quarter', interval '-14 mons')`, '-1 years'],
  [`date_trunc('decade', interval '-25 years 1 mon')`, '-20 years'],
  [`date_trunc('day', interval '1 mon 5 days 3:00')`, '1 mon 5 days'],
  [`date_trunc('hour', interval '-3:30')`, '-03:00:00'],
  [`to_char(interval '-1 year -3 mons 4 days', 'DDD')`, '-446'],
  [`to_timestamp('1:02 PM', 'HH12:MI AM')`, '0001-01-01 13:02:00+00 BC'],
];

let db: Database;
beforeAll(async () => {
  db = await open();
});
afterAll(() => db.close());

test('functions and operators answer as PostgreSQL does', async () => {
  const wrong: string[] = [];
  for (const [expression, expected] of ANSWERS) {
    const answer = await db.query(`SELECT ${expression} AS x`, { format: 'text' }).then(
      ({ rows }) => (rows as unknown as (string | null)[][])[0]![0],
      (cause: unknown) => `refused: ${String(cause)}`,
    );
    if (answer !== expected) wrong.push(`${expression}: ${answer}, not ${expected}`);
  }
  expect(wrong).toEqual([]);
});

test('the same over a column, where patterns are compiled once', async () => {
  const { rows } = await db.query(
    "SELECT count(*) AS n FROM generate_series(1, 3000) AS i WHERE ('row ' || i) ~ '^row [0-9]*7$'",
  );
  expect(rows).toEqual([{ n: 300 }]);
});

test('between dates without end there are no days', async () => {
  await expect(
    db.query("SELECT d - 'infinity' FROM (VALUES (date 'infinity')) v (d)"),
  ).rejects.toMatchObject({ code: '22008', message: 'cannot subtract infinite dates' });
});

test('a pattern that is none is refused with its reason', async () => {
  for (const [pattern, why] of [
    ['(', 'parentheses () not balanced'],
    ['[a', 'brackets [] not balanced'],
    ['a**', 'quantifier operand invalid'],
    ['a{2,1}', 'invalid repetition count(s)'],
    [String.raw`(?=(a))\1`, 'invalid backreference number'],
  ] as const)
    await expect(db.query('SELECT $1 ~ $2 AS x', { params: ['a', pattern] })).rejects.toMatchObject(
      {
        code: '2201B',
        message: `invalid regular expression: ${why}`,
      },
    );
});

test('what is no number any more, or none yet, is refused as PostgreSQL refuses it', async () => {
  const db = await open({ workers: 0 });
  for (const [text, code] of [
    ['exp(-1000::float8)', '22003'],
    ['radians(5e-324)', '22003'],
    ["power('-Infinity'::float8, 0.5)", '2201F'],
    ["date_part('month', time '10:00')", '0A000'],
    ["date_part('doy', interval '1 day')", '0A000'],
    ["date_part('moth', interval '1 day')", '22023'],
  ] as const)
    await expect(db.query(`SELECT ${text}`), text).rejects.toMatchObject({ code });
  expect((await db.query(`SELECT exp('-Infinity'::float8) AS zero`)).rows).toEqual([{ zero: 0 }]);
  await db.close();
});
