/**
 * The candidate at the smallest edit distance, if it is near enough to have been meant: a third of the name may differ, of a short name one
 * letter, and never more than half of it, since every name of one letter is near every other.
 */
export function nearestOf(name: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance =
    Math.min(Math.max(1, Math.floor(name.length / 3)), Math.floor(name.length / 2)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase(), bestDistance);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** The hint of an error about a name that is not there: the one that may have been meant, or those there are. */
export function didYouMean(name: string, candidates: Iterable<string>): string | undefined {
  const known = [...candidates];
  const nearest = nearestOf(name, known);
  return nearest === undefined ? knownNames(known) : `Did you mean "${nearest}"?`;
}

/** The names there are, the first where they are many, as a hint; undefined where there are none. */
export function knownNames(names: Iterable<string>): string | undefined {
  const known = [...new Set(names)];
  if (known.length === 0) return undefined;
  const listed = known.slice(0, LISTED_NAMES_MAX).map((each) => `"${each}"`);
  const others = known.length - listed.length;
  return `Known are ${listed.join(', ')}${others > 0 ? ` and ${others} more` : ''}.`;
}

/** As many as one takes in at a glance. */
const LISTED_NAMES_MAX = 12;

/** The one candidate that the name may be short for: `relError` for `relativeError`. */
export function longFormOf(name: string, candidates: readonly string[]): string | undefined {
  if (name.length < 3) return undefined;
  const long = candidates.filter((candidate) => abbreviates(name, candidate));
  return long.length === 1 ? long[0] : undefined;
}

/** Its letters in their order, from the first on. */
function abbreviates(name: string, candidate: string): boolean {
  const letters = name.toLowerCase();
  const full = candidate.toLowerCase();
  if (letters[0] !== full[0]) return false;
  let at = 0;
  for (const letter of full) if (letter === letters[at]) at += 1;
  return at === letters.length;
}

/** Optimal string alignment (a swap of neighbours is one edit), given up at `limit`. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit;
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    let least = i;
    for (let j = 1; j <= b.length; j += 1) {
      let distance = Math.min(
        next[j - 1]! + 1,
        row[j]! + 1,
        row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1),
      );
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        distance = Math.min(distance, before[j - 2]! + 1);
      next.push(distance);
      least = Math.min(least, distance);
    }
    if (least >= limit) return limit;
    before = row;
    row = next;
  }
  return row[b.length]!;
}
