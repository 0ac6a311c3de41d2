import { DbError } from '../base/errors.ts';

/** `%` any texts, `_` any character, `\` takes the next one as it is. Linear in text and pattern but for backtracking over the last %. */
export function matchesLike(value: string, pattern: string): boolean {
  let v = 0;
  let p = 0;
  let starP = -1;
  let starV = 0;
  while (v < value.length) {
    const code = pattern[p];
    if (code === '%') {
      starP = p;
      starV = v;
      p += 1;
      continue;
    }
    if (code !== undefined) {
      const size = value.codePointAt(v)! > 0xffff ? 2 : 1;
      if (code === '_') {
        v += size;
        p += 1;
        continue;
      }
      const literalAt = code === '\\' ? p + 1 : p;
      if (literalAt >= pattern.length)
        throw new DbError('22025', 'LIKE pattern must not end with escape character');
      if (pattern[literalAt] === value[v]) {
        v += 1;
        p = literalAt + 1;
        continue;
      }
    }
    if (starP < 0) return false;
    starV += value.codePointAt(starV)! > 0xffff ? 2 : 1;
    v = starV;
    p = starP + 1;
  }
  while (pattern[p] === '%') p += 1;
  return p >= pattern.length;
}
