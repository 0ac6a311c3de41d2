/**
 * What helps against an error whose thrower knows nothing nearer: by its code, and where a code has several causes by the words of its message.
 * Whoever throws says it himself where he knows more, as a name that was meant.
 */
export function usualHint(code: string, message: string): string | undefined {
  const hints = HINTS.get(code);
  if (hints === undefined || typeof hints === 'string') return hints;
  return hints.find(([words]) => words.test(message))?.[1];
}

const LOGARITHM = 'Ask for positive numbers only: CASE WHEN x > 0 THEN ln(x) END.';
const BOOLEAN = 'Write a condition, such as a comparison: x <> 0, x IS NOT NULL, x = …';
const PATTERN = 'What is meant literally has a backslash before it: \\( \\[ \\*.';

const HINTS: ReadonlyMap<string, string | readonly (readonly [RegExp, string])[]> = new Map<
  string,
  string | readonly (readonly [RegExp, string])[]
>([
  ['2200H', 'setval() sets it back; CREATE SEQUENCE takes CYCLE, or a larger MAXVALUE.'],
  ['22011', 'A length is 0 or more: greatest(n, 0).'],
  ['2201B', PATTERN],
  ['2201E', LOGARITHM],
  [
    '2201F',
    [
      [/square root/, 'Ask for numbers from 0 on: CASE WHEN x >= 0 THEN sqrt(x) END.'],
      [/zero raised/, 'Leave zero out: power(nullif(x, 0), y).'],
      [/complex/, 'Take the absolute value, or a whole exponent.'],
    ],
  ],
  [
    '2201G',
    [
      [/count/, 'Ask for one bucket at least.'],
      [/bound/, 'Give two bounds that are finite and differ.'],
    ],
  ],
  ['2201W', 'Give 0 or more, or LIMIT ALL for all rows.'],
  ['2201X', 'Give 0 or more.'],
  [
    '22003',
    [
      [/smallint out of range/, 'Use integer or bigint: cast to it before computing.'],
      [/integer out of range/, 'Use bigint or numeric: cast to it before computing.'],
      [/bigint out of range/, 'Use numeric: cast to it before computing.'],
      [/for type real|real out of range/, 'Use double precision, or numeric.'],
      [/double precision|value out of range: overflow/, 'Use numeric for such numbers.'],
      [/underflow/, 'Use numeric for such numbers, or round(x::numeric, n).'],
      [
        /^input is out of range/,
        'Look at the argument first: CASE WHEN x BETWEEN -1 AND 1 THEN … END.',
      ],
      [/parameter number/, 'Parameters are $1 to $65535.'],
      [/factorial of a negative/, 'Ask for numbers from 0 on.'],
      [
        /overflows numeric/,
        'A numeric has at most 131,072 digits before the point: use smaller numbers, or round.',
      ],
      [/^setval/, 'Give a value between its bounds, or create the sequence with others.'],
    ],
  ],
  [
    '22007',
    [
      [
        /^invalid value ".*" for "/,
        'Make text and format alike, part by part; in double quotes a format is text as it is.',
      ],
      [/type date/, "Write it as '2026-12-31'; to_date reads other forms."],
      [/type time/, "Write it as '2026-12-31 23:59:59'; to_timestamp reads other forms."],
    ],
  ],
  [
    '22008',
    [
      [/infinite/, 'Leave out what is endless: CASE WHEN isfinite(x) THEN … END.'],
      [/cannot be NaN/, "Give seconds since 1970: nullif(x, 'NaN') leaves NaN out."],
      [/^time field value/, 'Hours go to 23, minutes to 59, seconds to 60.'],
      [/^date field value/, 'Months go from 1 to 12, days to the last of the month.'],
      [
        /field value/,
        "Months go to 12, days to the last of the month, and the clock to '24:00:00'.",
      ],
      [/date out of range for timestamp/, 'Timestamps end in the year 294247.'],
      [/date out of range/, 'Dates go from 4714-11-24 BC to 5874897-12-31.'],
      [/timestamp out of range/, 'Timestamps go from 4714-11-24 BC to 294247-01-01.'],
      [/stride|interval/, 'Give an interval above zero, of days and times.'],
      [/origin/, 'Give an origin that is finite.'],
    ],
  ],
  [
    '22021',
    [
      [/null character|0x00/, 'A text has no NUL: keep such bytes as bytea.'],
      [/surrogate/, 'text.toWellFormed() of JavaScript puts U+FFFD in its place.'],
      [/byte sequence/, 'Keep the bytes as bytea, or name the encoding they have.'],
    ],
  ],
  [
    '22025',
    "After \\u come four hexadecimal digits, after \\U eight; in U&'' \\ is followed by four, \\+ by six.",
  ],
  [
    '22P04',
    'It may be cut off, or of another format than its name or Content-Type says: write it anew, or name its format.',
  ],
  ['22009', 'A zone is less than 16 hours from Greenwich: write +02 or -05:30.'],
  ['22012', 'Divide by nullif(divisor, 0) to get NULL instead of an error.'],
  [
    '54001',
    'Take it apart: views or WITH for what is nested, IN (…) or VALUES for a long row of OR.',
  ],
  ['2202E', 'Bytes and bits are counted from 0: ask length() first.'],
  [
    '22023',
    [
      [
        /^(parameter \$\d+: )?time zone/,
        'Write an IANA name, such as Europe/Berlin, or an offset, such as +02.',
      ],
      [/base64/, "Base64 has letters, digits, + and /; for others decode(x, 'hex' or 'escape')."],
      [/is shorter than its values/, 'valid has as many flags as there are values, 0 for NULL.'],
      [/hexadecimal/, 'Bytes are pairs of the digits 0 to 9 and a to f.'],
      [/^field position/, 'Count from 1, or from the end with -1.'],
      [/^NUMERIC precision/, 'Write numeric alone for any number of digits.'],
      [/^length for type/, 'Write text, or varchar alone, for any length.'],
      [/^step size/, 'Give a step above zero, or below to count downwards.'],
      [/^identity column type/, 'Declare it as bigint, or DEFAULT gen_random_uuid() for a uuid.'],
      [/^INCREMENT/, 'Give 1, or -1 to count downwards.'],
      [/^(MINVALUE|START value)/, 'Give MINVALUE, START and MAXVALUE in rising order.'],
      [/is out of range for sequence/, 'Declare the sequence AS bigint.'],
      [/^CACHE/, 'Leave it out.'],
      [/^too few arguments/, 'Give one argument for each % of the format; a percent sign is %%.'],
    ],
  ],
  ['23505', 'Use INSERT … ON CONFLICT to change the row that is there, or give another key.'],
  [
    '22P02',
    [
      [
        /type (smallint|integer|bigint):/,
        "A text beside an integer is read as one: write digits, such as '42', or cast the number to text.",
      ],
      [
        /type (numeric|real|double precision):/,
        "A text beside a number is read as one: write it as '1.5', '2e3' or 'NaN', or cast the number to text.",
      ],
      [/type uuid/, 'Write 32 hexadecimal digits, such as a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11.'],
      [/type bytea/, "Write '\\x' and pairs of hexadecimal digits, or a backslash as two."],
    ],
  ],
  ['26000', 'PREPARE it first, in this session.'],
  ['3B001', 'SAVEPOINT makes one; RELEASE and ROLLBACK TO an earlier one end it.'],
  [
    '3F000',
    'CREATE SCHEMA makes it; SELECT * FROM information_schema.schemata lists those there are.',
  ],
  [
    '42601',
    [
      [/^syntax error/, 'What stands at this place does not follow what stands before it.'],
      [/comment/, 'A comment that begins with /* ends with */.'],
      [/dollar-quoted/, 'A text that begins with $$ ends with $$.'],
      [/^zero-length/, 'A name in double quotes has one character at least.'],
      [/unterminated/, 'What is quoted ends with a quote of the same kind.'],
      [
        /^invalid (hexadecimal|octal|binary) integer/,
        'Write digits behind it, such as 0xff, 0o17 or 0b101.',
      ],
      [/^SELECT \* with no tables/, 'Name a table: SELECT * FROM t.'],
      [/same number of columns/, 'Select NULL where one side has no such column.'],
      [/only one column/, 'Select the column that is meant.'],
      [
        /subquery has too (few|many) columns|unequal number/,
        'Compare rows of as many columns on both sides.',
      ],
      [/^VALUES lists/, 'Write NULL, or DEFAULT in an INSERT, where a row has no value.'],
      [
        /more expressions|more target columns/,
        'Give each column one expression, in their order; a column that is left out takes its default.',
      ],
      [/^multiple assignments/, 'Assign each column once.'],
      [
        /^source for a multiple-column/,
        'Write SET (a, b) = (SELECT …), or ROW(…) with as many values.',
      ],
      [/^conflicting NULL/, 'Leave one of both out.'],
      [/more column names than columns/, 'Name as many columns as the query selects, or fewer.'],
      [
        /^trailing junk/,
        'Put a blank behind the number; a name that begins with a digit is written in double quotes.',
      ],
    ],
  ],
  ['42701', [[/more than once|already exists/, 'Give each column a name of its own.']]],
  [
    '42703',
    [
      [/of relation/, 'ALTER TABLE … ADD COLUMN makes it.'],
      [/./, 'Columns are of the tables in FROM; a text stands in single quotes.'],
    ],
  ],
  [
    '42704',
    [
      [/^type/, 'docs/sql.md lists the types; what is none of them can be kept as text.'],
      [
        /^unrecognized configuration/,
        'current_setting(name, true) gives NULL where there is none.',
      ],
    ],
  ],
  ['42710', 'Choose another name, leave the name out, or drop the other first.'],
  ['42712', [[/^WITH query/, 'Give each query of WITH a name of its own.']]],
  [
    '42803',
    [
      [/nested/, 'Aggregate in a subquery in FROM, and aggregate its columns.'],
      [/not allowed in/, 'Aggregate in a subquery: (SELECT count(*) FROM …).'],
    ],
  ],
  ['42804', [[/must be type boolean/, BOOLEAN]]],
  [
    '42809',
    [
      [/parameterless/, 'Give it the column it is computed of.'],
      [/specified, but .* takes arguments/, 'Name a column; count(*) alone counts rows.'],
      [/^mode/, 'Write mode() WITHIN GROUP (ORDER BY x).'],
      [/not an aggregate function/, 'Leave it out, or put the condition into CASE WHEN.'],
    ],
  ],
  [
    '42846',
    [
      [
        /cast type (timestamp|date|time|interval).* to (smallint|integer|bigint|numeric|real|double)/,
        'Use extract(epoch FROM …).',
      ],
      [
        /cast type (smallint|integer|bigint|numeric|real|double).* to timestamp/,
        'Use to_timestamp(seconds).',
      ],
      [
        /cast type (smallint|integer|bigint).* to date/,
        "Add days to a date: date '1970-01-01' + n.",
      ],
      [/to boolean$/, 'Write a comparison: x <> 0, x IS NOT NULL.'],
      [/^cannot cast/, 'Cast to text first where its text is one of that type: …::text::….'],
    ],
  ],
  ['42883', [[/no argument named/, 'Give the arguments by place, in the order of docs/sql.md.']]],
  ['428C9', 'Leave the column out, or write DEFAULT: its value is made by the database.'],
  [
    '42P01',
    [
      [/^relation/, 'SHOW TABLES and SHOW VIEWS list what there is.'],
      [/missing FROM-clause/, 'Name it in FROM, or by its alias where it has one.'],
    ],
  ],
  ['42P07', 'Use IF NOT EXISTS, another name, or drop it first.'],
  [
    '42P10',
    [
      [/is not in select list/, 'Count the columns of SELECT from 1, or write the expression.'],
      [
        /^SELECT DISTINCT ON/,
        'Begin ORDER BY with the expressions of DISTINCT ON; sort otherwise around it, in a query of its own.',
      ],
      [
        /in an aggregate with DISTINCT/,
        'Order by the argument itself, or make the rows distinct in a subquery.',
      ],
      [/columns available/, 'Name as many columns as it selects, or fewer.'],
      [
        /^invalid reference/,
        'Join it with LEFT JOIN LATERAL, or put the tables the other way round.',
      ],
    ],
  ],
  [
    '42P16',
    [
      [
        /^multiple primary keys/,
        'Write PRIMARY KEY (a, b) for one of several columns; others are UNIQUE.',
      ],
    ],
  ],
  ['54000', [[/character/, 'Give a code point from 1 to 1114111 that is none of a surrogate.']]],
]);
