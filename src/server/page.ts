import type { Disk } from '../base/ports.ts';

/** The files of the page at `/`, held in memory. */
export type Page = readonly {
  readonly path: string;
  readonly type: string;
  readonly body: Buffer;
}[];

const FILES: readonly (readonly [path: string, file: string, type: string])[] = [
  ['/', 'index.html', 'text/html; charset=utf-8'],
  ['/console.js', 'console.js', 'text/javascript; charset=utf-8'],
  ['/charts.js', 'charts.js', 'text/javascript; charset=utf-8'],
  ['/feed.js', 'feed.js', 'text/javascript; charset=utf-8'],
  ['/format.js', 'format.js', 'text/javascript; charset=utf-8'],
  ['/console.css', 'console.css', 'text/css; charset=utf-8'],
  ['/uplot.js', 'uplot.js', 'text/javascript; charset=utf-8'],
  ['/uplot.css', 'uplot.css', 'text/css; charset=utf-8'],
];

/** Reads the page from the folder that the build put it in; undefined where it was not built. */
export async function readPage(disk: Disk, folder: string): Promise<Page | undefined> {
  const page = [];
  for (const [path, name, type] of FILES) {
    try {
      const file = await disk.open(`${folder}/${name}`, 'read');
      page.push({ path, type, body: Buffer.from(await file.read(0, await file.size())) });
      await file.close();
    } catch {
      return undefined;
    }
  }
  return page;
}
