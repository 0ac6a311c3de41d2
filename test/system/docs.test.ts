import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test, vi } from 'vitest';

const PAGES = ['api', 'formats', 'calendars', 'windows', 'durability'].map(
  (name) => `docs/${name}.md`,
);

/** The examples of a page are one program: they must run, and what they claim by console.assert must hold. */
for (const page of PAGES) {
  test(`the examples of ${page} run`, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'analyticdb-docs-'));
    const claims = vi.spyOn(console, 'assert').mockImplementation((holds: unknown) => {
      expect(holds).toBe(true);
    });
    try {
      const path = join(folder, 'page.ts');
      await writeFile(path, programOf(await readFile(page, 'utf8'), folder));
      await import(/* @vite-ignore */ pathToFileURL(path).href);
      expect(claims).toHaveBeenCalled();
    } finally {
      claims.mockRestore();
      await rm(folder, { recursive: true });
    }
  });
}

/** Each example but the first has a scope of its own; imports come first, files lie in `folder`. */
function programOf(page: string, folder: string): string {
  const imports: string[] = [];
  const blocks = [...page.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code], index) => {
    const body = code!
      .replaceAll(/^import .*$/gm, (line) => {
        imports.push(
          line
            .replace("'analyticdb'", JSON.stringify(resolve('src/index.ts')))
            .replace("'analyticdb/calendar'", JSON.stringify(resolve('src/calendar.ts'))),
        );
        return '';
      })
      .replaceAll(/'([\w-]+\.(?:csv|parquet|adb)(?:\.gz)?)'/g, (_, name: string) =>
        JSON.stringify(join(folder, name)),
      );
    return index === 0 ? body : `{\n${body}}\n`;
  });
  return [...imports, ...blocks].join('\n');
}
