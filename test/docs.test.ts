import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { nodePorts } from '../src/base/node-ports.ts';
import { AGGREGATE_NAMES } from '../src/expressions/aggregates.ts';
import { DATETIME_OPERATORS } from '../src/expressions/datetime-operators.ts';
import { ALL_FUNCTIONS } from '../src/expressions/functions/all.ts';
import { SESSION_FUNCTIONS } from '../src/expressions/session-functions.ts';
import { DbError, open } from '../src/index.ts';
import { createApp } from '../src/server/app.ts';
import { listenHttp, parseAddress } from '../src/server/listen.ts';
import { statusOf } from '../src/server/problem.ts';

/** The documents are true: their links lead somewhere, their examples run, their lists are complete. */
const PAGES = [
  'README.md',
  'CHANGELOG.md',
  ...readdirSync('docs', { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

const textOf = (page: string): string => readFileSync(page, 'utf8');

test('every link within the documents leads somewhere', () => {
  const broken: string[] = [];
  for (const page of PAGES) {
    const text = textOf(page).replaceAll(/^```[\s\S]*?^```/gm, '');
    for (const [, target = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [path = '', anchor] = target.split('#');
      const file = path === '' ? page : join(dirname(page), path);
      if (!existsSync(file)) broken.push(`${page}: ${target}`);
      else if (anchor !== undefined && !anchorsOf(textOf(file)).has(anchor))
        broken.push(`${page}: ${target} has no such heading`);
    }
  }
  expect(broken).toEqual([]);
});

/** Headings as GitHub names them. */
function anchorsOf(text: string): Set<string> {
  return new Set(
    [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\s-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

/** Fenced blocks whose info string is `info`. */
function blocks(page: string, info: string): string[] {
  return [...textOf(page).matchAll(/^```([^\n]*)\n([\s\S]*?)^```/gm)]
    .filter(([, given]) => given === info)
    .map(([, , body = '']) => body);
}

describe('examples', () => {
  beforeAll(() => {
    expect(existsSync('dist/src/index.js'), 'run npm run build first').toBe(true);
  });

  for (const page of PAGES) {
    for (const [index, body] of blocks(page, 'js run').entries()) {
      test(`program ${index + 1} of ${page} runs`, async () => {
        // Inside the package, so that it finds itself by its name.
        const file = join('dist', 'examples', `${page.replaceAll('/', '-')}-${index}.mjs`);
        mkdirSync(dirname(file), { recursive: true });
        writeFileSync(file, body);
        const program = spawnSync(process.execPath, [file], { encoding: 'utf8', timeout: 30_000 });
        rmSync(file);
        expect(program.stderr).toBe('');
        expect(program.status).toBe(0);
        expect(program.stdout).not.toBe('');
      });
    }

    const commands = blocks(page, 'sh run')
      .join('\n')
      .split('\n')
      .filter((line) => line.startsWith('curl '));
    if (commands.length > 0) {
      test(`the commands of ${page} succeed, one after the other`, async () => {
        if (spawnSync('curl', ['--version']).error !== undefined) return;
        const db = await open({ memory: '256 MB' });
        const app = createApp({
          database: db,
          clock: nodePorts().clock,
          logger: undefined,
          page: undefined,
          demo: undefined,
          ready: () => true,
        });
        const url = await listenHttp(app, parseAddress(0), {
          authenticated: false,
          nextFree: false,
        });
        for (const command of commands) {
          const shell = spawn('sh', [
            '-c',
            command
              .replace(/^curl /, 'curl -sS --fail-with-body ')
              .replaceAll('localhost:4200', new URL(url).host),
          ]);
          let said = '';
          for (const out of [shell.stdout, shell.stderr])
            out.on('data', (bytes: Buffer) => (said += bytes.toString()));
          const [status] = (await once(shell, 'close')) as [number];
          expect(status, `${command}\n${said}`).toBe(0);
        }
        await app.close();
        await db.close();
      });
    }

    const sql = [...textOf(page).matchAll(/^```(sql|sql refused)\n([\s\S]*?)^```/gm)];
    if (sql.length > 0) {
      test(`the SQL of ${page} does what the page says`, async () => {
        const db = await open({ memory: '256 MB' });
        const session = db.session();
        const wrong: string[] = [];
        for (const [, info, body = ''] of sql) {
          for (const statement of body.split(/;\n/).filter((each) => each.trim() !== '')) {
            const outcome = await session.query(statement).then(
              () => 'succeeds',
              (cause: unknown) => (cause instanceof DbError ? cause.code : String(cause)),
            );
            if (outcome !== (info === 'sql' ? 'succeeds' : '0A000'))
              wrong.push(`${outcome}: ${statement.trim()}`);
          }
        }
        await session.close();
        await db.close();
        expect(wrong).toEqual([]);
      });
    }
  }
});

test('docs/errors.md has every code that the source uses, with the status it gets, and no other', () => {
  const used = new Set<string>();
  for (const name of readdirSync('src', { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.ts')) continue;
    for (const [, code = ''] of textOf(`src/${name}`).matchAll(/'([0-9A-Z]{5}|ADB_[A-Z_]+)'/g))
      if (/^(?:ADB_|XX00)/.test(code) || isSqlState(code)) used.add(code);
  }
  // The beginning of codes, by which they are told apart.
  used.delete('ADB_JOURNAL');
  const listed = new Map(
    [...textOf('docs/errors.md').matchAll(/^\| `(\w+)` \| ([^|]+) \|/gm)].map(
      ([, code = '', statuses = '']) => [code, statuses.split(',').map(Number)],
    ),
  );
  expect([...listed.keys()].toSorted()).toEqual([...used].toSorted());
  const wrong = [...listed].filter(([code, statuses]) => !statuses.includes(statusOf(code)));
  expect(wrong).toEqual([]);
});

/** Classes of SQLSTATE begin so; the names of Parquet's types do not. */
function isSqlState(text: string): boolean {
  return /^(?:0[0-9A-Z]|2[0-9A-Z]|3[0-9A-Z]|4[0-9A-Z]|5[0-9A-Z]|72)/.test(text);
}

test('docs/sql.md lists the functions that there are', () => {
  const names = (all: readonly { readonly name: string }[]): string[] =>
    [...new Set(all.map(({ name }) => name))].filter((name) => /^[a-z_]/.test(name)).toSorted();
  const hidden = new Set(['like_escape', 'similar_to_escape']);
  const scalar = names([...ALL_FUNCTIONS, ...DATETIME_OPERATORS, ...SESSION_FUNCTIONS]).filter(
    (name) => !hidden.has(name),
  );
  const list = (all: readonly string[]): string => all.map((name) => `\`${name}\``).join(' ');
  const block = `<!-- functions -->\n\nAggregates: ${list(AGGREGATE_NAMES.toSorted())}\n\nFunctions: ${list(scalar)}\n\n<!-- /functions -->`;
  const page = textOf('docs/sql.md');
  const written = page.replace(/<!-- functions -->[\s\S]*?<!-- \/functions -->/, () => block);
  if (process.env['UPDATE_DOCS'] !== undefined) writeFileSync('docs/sql.md', written);
  else expect(page, 'UPDATE_DOCS=1 npx vitest run test/docs.test.ts writes it').toBe(written);
});
