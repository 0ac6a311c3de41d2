import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { launchBrowser } from './browser.ts';

let server: ChildProcess;
let browser: Browser;
let page: Page;
let url: string;
/** A machine on which no browser runs says so itself; nothing is passed over in silence. */
const WITHOUT_BROWSER = process.env['ALLOW_NO_BROWSER'] === '1';
const outside: string[] = [];
const complaints: string[] = [];

describe.skipIf(WITHOUT_BROWSER)('the page', () => {
  beforeAll(async () => {
    expect(existsSync('dist/src/main.js'), 'run npm run build first').toBe(true);
    [url, browser] = await Promise.all([startDemo(), launchBrowser()]);
    // uPlot asks Intl for the page's language, and a bare machine's locale is no language tag.
    const context = await browser.newContext({
      locale: 'en-US',
      viewport: { width: 1280, height: 900 },
    });
    page = await context.newPage();
    page.on('request', (request) => {
      const { protocol, origin } = new URL(request.url());
      if (protocol !== 'data:' && origin !== url) outside.push(request.url());
    });
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning')
        complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(String(error)));
    await page.goto(url);
  }, 120_000);

  afterAll(async () => {
    await browser?.close();
    await stopDemo();
  }, 30_000);

  test('six charts and the figures show data', async () => {
    await expectText('#connection', /^live$/);
    for (const figure of ['flights', 'delay', 'late', 'miles', 'front'])
      await expectText(`#total-${figure}`, /\d/);
    await expect.poll(() => page.locator('#origins .bar').count(), { timeout: 20_000 }).toBe(10);
    const widths = await page
      .locator('#origins .bar i')
      .evaluateAll((fills) => fills.map((fill) => fill.getBoundingClientRect().width));
    expect(widths[0]).toBeGreaterThan(20);
    expect(widths).toEqual(widths.toSorted((a, b) => b - a));
    expect(await page.locator('#states > div').count()).toBe(51);
    const states = async (): Promise<number> => {
      const tiles = await page.locator('#states > div').allTextContents();
      return tiles.filter((text) => /^[A-Z]{2}-?\d+$/.test(text)).length;
    };
    await expect.poll(states, { timeout: 20_000 }).toBeGreaterThan(40);
    for (const plot of ['hours', 'histogram', 'days'])
      await expect.poll(() => paintedPixels(plot), { timeout: 20_000 }).toBeGreaterThan(2000);
    // Where each answer comes from stands beneath it.
    for (const view of ['flights_by_hour', 'flights_by_origin', 'delay_histogram'])
      await expectText(
        `[data-view='${view}'] footer`,
        new RegExp(`^from view ${view} · exact · [\\d,]+ rows · [\\d,]+ changes`),
      );
  });

  test('a number moves within five seconds, without a reload', async () => {
    await page.evaluate('globalThis.sameDocument = true');
    const before = await figure('#total-flights');
    const position = await figure('#position');
    await expect.poll(() => figure('#total-flights'), { timeout: 5000 }).toBeGreaterThan(before);
    await expect.poll(() => figure('#position'), { timeout: 5000 }).toBeGreaterThan(position);
    expect(await page.evaluate('globalThis.sameDocument')).toBe(true);
  });

  test('the speed control sets the rate', async () => {
    await page.click('[data-speed="86400"]');
    await expectPressed('86400');
    await expectRate((rate) => rate > 2000);
    await page.click('[data-speed="3600"]');
    await expectPressed('3600');
    await expectRate((rate) => rate > 0 && rate < 1500);
    await page.click('[data-speed="0"]');
    await expectRate((rate) => rate === 0);
    const paused = await figure('#total-flights');
    await page.waitForTimeout(500);
    expect(await figure('#total-flights')).toBe(paused);
    expect(await (await fetch(`${url}/v1/demo`)).json()).toMatchObject({ speed: 0 });
    await page.click('[data-speed="3600"]');
  });

  test('views show what keeping them takes', async () => {
    await expect.poll(() => page.locator('#views tr').count(), { timeout: 10_000 }).toBe(6);
    const rows = await page.locator('#views tr').allInnerTexts();
    const cells = rows.map((row) => row.split('\t'));
    expect(cells.find(([name]) => name === 'flights_by_day')![1]).toContain('view on a view');
    expect(cells.find(([name]) => name === 'flights_by_state')![1]).toContain('join');
    for (const [, , , rowsIn, , work] of cells) {
      expect(Number(rowsIn!.replaceAll(',', ''))).toBeGreaterThan(0);
      // A change costs a few lookups, not a recomputation.
      expect(Number(work)).toBeLessThan(50);
    }
  });

  test('a question is answered with its source, and a wrong one with its place', async () => {
    const ask = async (sql: string): Promise<void> => {
      await page.fill('#sql', sql);
      await page.press('#sql', 'Control+Enter');
    };
    await ask('SELECT flights FROM totals');
    await expectText(
      '#answer-meta',
      /^from view totals · exact · .* work units · position [\d,]+$/,
    );
    await ask('SELECT count(*) AS n FROM flights;');
    await expectText('#answer-meta', /flights · exact/);
    await expectText('#answer tbody', /^[\d,]+$/);
    await ask('SELECT nope FROM flights');
    await expectText('#answer pre', /42703[\s\S]*\n +\^/);
    // A browser complains of each refusal by itself.
    expect(complaints.splice(0).every((each) => each.includes('400 (Bad Request)'))).toBe(true);
  });

  test('it can be used without a mouse, and its pictures have words', async () => {
    for (const plot of ['hours', 'histogram', 'days'])
      expect(await page.getAttribute(`#${plot}`, 'aria-label')).toMatch(/\d/);
    const nameless =
      await page.evaluate<number>(`[...document.querySelectorAll('button, textarea, [tabindex]')]
    .filter((each) => !(each.textContent.trim() || each.labels?.length || each.ariaLabel || each.getAttribute('aria-labelledby'))).length`);
    expect(nameless).toBe(0);
    await page.focus('[data-speed="21600"]');
    await page.keyboard.press('Enter');
    await expectPressed('21600');
    await page.focus('[data-speed="3600"]');
    await page.keyboard.press('Space');
    await expectPressed('3600');
  });

  test('it fits a phone', async () => {
    await page.setViewportSize({ width: 360, height: 740 });
    // Charts follow the width of the window in a frame of their own.
    await expect
      .poll(() =>
        page.evaluate<number>(
          'document.documentElement.scrollWidth - document.documentElement.clientWidth',
        ),
      )
      .toBe(0);
    await page.setViewportSize({ width: 1280, height: 900 });
  });

  test('what the page shows is what the database says', async () => {
    await page.click('[data-speed="0"]');
    // At night no flights leave: the rate alone does not say that the feed stands still.
    await expect
      .poll(async () => (await fetch(`${url}/v1/demo`)).json())
      .toMatchObject({ speed: 0 });
    await expectRate((rate) => rate === 0);
    const answer = await fetch(
      `${url}/v1/query?sql=${encodeURIComponent('SELECT count(*) AS n FROM flights')}`,
    );
    const { rows } = (await answer.json()) as { rows: { n: number }[] };
    await expect.poll(() => figure('#total-flights')).toBe(rows[0]!.n);
  });

  test('when the server goes away, the page keeps what it shows, and goes on when it is back', async () => {
    const shown = await figure('#total-flights');
    const port = new URL(url).port;
    await stopDemo();
    await expectText('#connection', /^reconnecting$/);
    expect(await page.locator('#origins .bar').count()).toBe(10);
    expect(await figure('#total-flights')).toBe(shown);
    expect(await startDemo(port)).toBe(url);
    await expectText('#connection', /^live$/);
    await expect.poll(() => figure('#total-flights'), { timeout: 20_000 }).not.toBe(shown);
    await page.click('[data-speed="3600"]');
    await expectPressed('3600');
    // A browser complains of each try by itself.
    expect(complaints.splice(0).filter((each) => !/ERR_|404|Failed to load/.test(each))).toEqual(
      [],
    );
  });

  test('the page asked nobody else, complained of nothing, and can be looked at', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'analyticdb-page-'));
    const path = join(folder, 'page.png');
    await page.screenshot({ path, fullPage: true });
    // A blank page of this size compresses to a few kilobytes.
    expect(statSync(path).size).toBeGreaterThan(30_000);
    if (process.env['KEEP_SCREENSHOT'] === undefined) rmSync(folder, { recursive: true });
    else console.log(`the screenshot is ${path}`);
    expect(outside).toEqual([]);
    expect(complaints).toEqual([]);
  });
});

/** Serves the demo with few flights loaded; resolves with its address when it is ready. */
async function startDemo(port = '0'): Promise<string> {
  server = spawn(
    process.execPath,
    ['dist/src/main.js', 'serve', '--demo', '100000', '--http', `127.0.0.1:${port}`],
    { env: { ...process.env, PORT: undefined }, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  for await (const line of createInterface({ input: server.stdout! })) {
    const ready = /^AnalyticDB is ready: (http:\S+)$/.exec(line);
    if (ready !== null) return ready[1]!;
  }
  throw new Error('the demo server ended before it was ready');
}

async function stopDemo(): Promise<void> {
  if (server === undefined || server.exitCode !== null) return;
  const ended = once(server, 'exit');
  server.kill('SIGTERM');
  expect(await ended).toEqual([0, null]);
}

/** How much a chart has drawn. */
function paintedPixels(plot: string): Promise<number> {
  return page.evaluate<number>(`(() => {
    const canvas = document.querySelector('#${plot} canvas');
    if (canvas === null || canvas.width === 0) return 0;
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return data.filter((value, index) => index % 4 === 3 && value > 40).length;
  })()`);
}

async function expectText(selector: string, pattern: RegExp): Promise<void> {
  await expect
    .poll(() => page.textContent(selector), { timeout: 20_000, interval: 100 })
    .toMatch(pattern);
}

async function expectPressed(speed: string): Promise<void> {
  await expect
    .poll(() => page.getAttribute(`[data-speed="${speed}"]`, 'aria-pressed'), { timeout: 5000 })
    .toBe('true');
}

async function expectRate(fits: (rate: number) => boolean): Promise<void> {
  await expect.poll(async () => fits(await figure('#rate')), { timeout: 15_000 }).toBe(true);
}

async function figure(selector: string): Promise<number> {
  return Number((await page.textContent(selector))!.replaceAll(',', ''));
}
