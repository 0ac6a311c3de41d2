import { existsSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { expect, test } from 'vitest';

/** What `import { open } from 'analyticdb'` loads at once: files of src, and packages. */
function loadedAtOnce(entry: string): {
  readonly files: Set<string>;
  readonly packages: Set<string>;
} {
  const files = new Set<string>();
  const packages = new Set<string>();
  const visit = (path: string): void => {
    if (files.has(path)) return;
    files.add(path);
    const text = readFileSync(path, 'utf8');
    for (const [, kind, specifier] of text.matchAll(
      /^(import|export)\s(?!type\b)[^;]*?from '([^']+)';/gm,
    )) {
      expect(kind).toBeDefined();
      if (!specifier!.startsWith('.')) packages.add(specifier!);
      else {
        const target = posix.join(posix.dirname(path), specifier!);
        expect(existsSync(target), `${path} imports ${target}`).toBe(true);
        visit(target);
      }
    }
  };
  visit(entry);
  return { files, packages };
}

test('opening a database loads the parser and little else: servers, formats and metrics wait for their first use', () => {
  const { packages } = loadedAtOnce('src/index.ts');
  const outside = [...packages].filter((name) => !name.startsWith('node:')).sort();
  // Each package here costs every short-lived process its loading; say in the commit what it is worth.
  const allowed = ['libpg-query', 'nanoid', 'xstate'];
  expect(outside.filter((name) => !allowed.includes(name))).toEqual([]);
});
