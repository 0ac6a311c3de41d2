/**
 * JSON whose numbers mean what they say. `JSON.parse` reads 9007199254740993 as …992 and cuts a long decimal to a double, silently;
 * an int8 or numeric column would keep the wrong value. Numbers that a double does not hold become texts, which
 * every number column reads exactly.
 */
export function parseExactJson(text: string): unknown {
  return JSON.parse(hasLongNumber(text) ? withLongNumbersQuoted(text) : text);
}

/**
 * Fifteen significant digits always survive a double: only texts with longer runs of digits and points are looked at closely. Such a run has one of
 * each sixteen characters; a regular expression, which looks at all, takes 20 ms a megabyte.
 */
export function hasLongNumber(text: string): boolean {
  for (let at = LONG_LENGTH - 1; at < text.length; at += LONG_LENGTH) {
    if (!isOfNumber(text.charCodeAt(at))) continue;
    let start = at;
    while (isOfNumber(text.charCodeAt(start - 1))) start -= 1;
    while (text.charCodeAt(start) === DOT) start += 1;
    let end = at + 1;
    while (isOfNumber(text.charCodeAt(end))) end += 1;
    if (end - start >= LONG_LENGTH) return true;
    at = end - 1;
  }
  return false;
}

const LONG_LENGTH = 16;
const DOT = 46;

function isOfNumber(code: number): boolean {
  return (code >= 48 && code <= 57) || code === DOT;
}

const STRING_OR_NUMBER = /"(?:[^"\\]|\\.)*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

function withLongNumbersQuoted(text: string): string {
  return text.replace(STRING_OR_NUMBER, (token) =>
    token.length < 16 || token.startsWith('"') || isHeld(token) ? token : `"${token}"`,
  );
}

/** Whether a double holds the number exactly enough to be written as it came. */
function isHeld(token: string): boolean {
  const value = Number(token);
  if (!Number.isFinite(value)) return false;
  if (/^-?\d+$/.test(token)) return BigInt(token) === BigInt(value);
  return sameDecimal(token, String(value));
}

/** Whether two spellings are one decimal number: digits and exponent compared, zeros at the ends apart. */
function sameDecimal(a: string, b: string): boolean {
  return canonical(a) === canonical(b);
}

function canonical(text: string): string {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text)!;
  const digits = `${whole}${fraction}`.replace(/^0+/, '');
  const trimmed = digits.replace(/0+$/, '');
  if (trimmed === '') return '0';
  return `${sign}${trimmed}e${Number(exponent) - fraction.length + (digits.length - trimmed.length)}`;
}
