/** Bugs that `npm run sim:planted` plants are patches of the build: those that no longer fit would be found missing only when somebody runs it. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';

type Patch = { readonly find: string | RegExp };
type Bug = Patch & {
  readonly name: string;
  readonly file: string;
  readonly also?: readonly Patch[];
};

test('each planted bug has one place in the build', async () => {
  const { BUGS, placesOf } = (await import(
    pathToFileURL(resolve('scripts/planted-bugs/bugs.mjs')).href
  )) as {
    readonly BUGS: readonly Bug[];
    readonly placesOf: (patch: Patch, source: string) => number;
  };
  expect(BUGS.length).toBeGreaterThan(40);
  const places = BUGS.flatMap((bug) => {
    const source = readFileSync(resolve('dist/src', bug.file), 'utf8');
    return [bug, ...(bug.also ?? [])].map((patch) => ({
      name: bug.name,
      count: placesOf(patch, source),
    }));
  });
  expect(places.filter(({ count }) => count !== 1)).toEqual([]);
});
