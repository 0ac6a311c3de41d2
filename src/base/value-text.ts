/** As much of a text as anybody reads to see which one it was. */
const TEXT_LENGTH_MAX = 200;

/** What an error calls a value that somebody gave where another was meant. An object's own `toString` is not asked: of JSON it may be a number. */
export function valueText(value: unknown): string {
  if (typeof value === 'string')
    return value.length <= TEXT_LENGTH_MAX ? value : `${value.slice(0, TEXT_LENGTH_MAX)}…`;
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'function') return 'a function';
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}
