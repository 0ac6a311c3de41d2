import { open } from '../../src/open.ts';

/** Texts of each type at which something changes, several of them equal to others. */
export const TYPES: Readonly<Record<string, readonly string[]>> = {
  boolean: ['true', 'false', 'f'],
  smallint: ['0', '1', '-1', '32767', '-32768'],
  int: ['0', '1', '-1', '7', '2147483647', '-2147483648'],
  bigint: ['0', '1', '9007199254740991', '9007199254740993', '-9223372036854775808'],
  numeric: ['0', '0.00', '1', '1.0', '-1.50', '-1.5', 'NaN', '1e20', '12345678901234567890.50'],
  'numeric(8, 2)': ['0', '1', '1.50', '-2.55', '0.05', '123456.78'],
  real: ['0', '-0', '1.5', '0.1', 'NaN', 'Infinity', '1e-45'],
  'double precision': ['0', '-0', '0.1', '-2.5', '1e308', '5e-324', 'NaN', '-Infinity'],
  text: ['', 'a', 'a ', 'A', 'ü', '😀', '1'],
  'varchar(3)': ['', 'a', 'a ', 'b_'],
  'char(3)': ['a', 'a  ', '', 'bc'],
  date: ['2024-02-29', '1970-01-01', '0001-01-01', 'infinity'],
  time: ['00:00', '24:00', '12:30', '12:30:00.000001'],
  timestamp: ['2024-03-10 02:30', '1969-12-31 23:59:59.5', '-infinity'],
  timestamptz: ['2024-03-10 07:00+00', '2024-03-10 08:00+01', '290000-01-01 00:00+00'],
  interval: ['0', '1 mon', '30 days', '720:00:00', '-1 day 3 hours'],
  uuid: ['00000000-0000-0000-0000-000000000000', 'FFFFFFFF-ffff-ffff-ffff-ffffffffffff'],
  bytea: [String.raw`\x`, String.raw`\x00ff`, String.raw`\x00FF`, String.raw`\x6162`],
};
export const NAMES = Object.keys(TYPES);

export type Truth = boolean | null;

export function either(truths: readonly Truth[]): Truth {
  return truths.includes(true) ? true : truths.includes(null) ? null : false;
}

export function both(truths: readonly Truth[]): Truth {
  return truths.includes(false) ? false : truths.includes(null) ? null : true;
}

export function opposite(truth: Truth): Truth {
  return truth === null ? null : !truth;
}

export function quoted(text: string | null): string {
  return text === null ? 'NULL' : `'${text.replaceAll("'", "''")}'`;
}

/** A table of one column a type, each with all of its texts and NULL, in two layouts: in rows that are open, and sealed. */
export async function tables() {
  const db = await open({ workers: 0 });
  const columns = NAMES.map((type, at) => `c${at} ${type}`).join(', ');
  await db.exec(`CREATE TABLE few (id int PRIMARY KEY, ${columns})`);
  const rowCount = Math.max(...NAMES.map((type) => TYPES[type]!.length)) + 1;
  for (let row = 0; row < rowCount; row += 1) {
    const values = NAMES.map((type) => quoted(TYPES[type]![row] ?? null)).join(', ');
    await db.exec(`INSERT INTO few VALUES (${row}, ${values})`);
  }
  // Whole segments, whose columns are encoded: each row a few thousand times.
  await db.exec(`CREATE TABLE many (n int, id int, ${columns})`);
  await db.exec(
    `INSERT INTO many SELECT n, few.* FROM generate_series(1, ${Math.ceil(70_000 / rowCount)}) s(n), few`,
  );
  return { db, rowCount };
}
