#!/usr/bin/env node
/**
 * Packs the library, installs the package in an empty folder and uses it there as others do: plain JavaScript, TypeScript
 * with every check on, the command line. What the build leaves out, or what only works inside this repository, shows here.
 * Needs a build (`npm run build`) and the registry or a warm npm cache.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const folder = mkdtempSync(join(tmpdir(), 'analyticdb-package-'));
/** npm itself, however it was found: by npm run, or in the path. */
const npm = process.env['npm_execpath'];

function run(command, args, options = {}) {
  return execFileSync(command, args, {
    cwd: folder,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    ...options,
  });
}

function runNpm(args, options) {
  return npm === undefined
    ? run('npm', args, options)
    : run(process.execPath, [npm, ...args], options);
}

/** The examples of a page as one module, as test/system/docs.test.ts runs them. */
function programOf(path) {
  const imports = [];
  const blocks = [...readFileSync(path, 'utf8').matchAll(/^```ts\n(.*?)^```$/gms)].map(
    ([, code], index) => {
      const body = code.replaceAll(/^import .*$/gm, (line) => {
        imports.push(line);
        return '';
      });
      return index === 0 ? body : `{\n${body}}\n`;
    },
  );
  return [...imports, ...blocks].join('\n');
}

const SCRIPT = `
import assert from 'node:assert/strict';
import { open, sql, DbError } from 'analyticdb';
import { manualClock, model, rows as rowsOf } from 'analyticdb/testing';
const db = await open({ workers: 0 });
try {
  await db.exec('CREATE TABLE orders (id bigint PRIMARY KEY, region text, amount numeric(12,2))');
  await db.insert('orders', [{ id: 1, region: 'EU', amount: '1.50' }, { id: 2, region: 'EU', amount: 2 }]);
  const { rows } = await db.query(sql\`SELECT region, sum(amount) AS s FROM orders WHERE id > \${0} GROUP BY 1\`);
  assert.deepEqual(rows, [{ region: 'EU', s: '3.50' }]);
  for (const name of ['o.parquet', 'o.arrow', 'o.csv', 'o.ndjson']) {
    await db.export('orders', name);
    await db.exec('DROP TABLE IF EXISTS copy');
    await db.load('copy', name, { create: true });
    assert.equal((await db.query('SELECT count(*) AS n FROM copy')).rows[0].n, 2);
  }
  const server = await db.listen({ http: 0 });
  assert.equal((await fetch(server.http + '/readyz')).status, 200);
  await assert.rejects(db.query('SELECT nope FROM orders'), DbError);
  // Without fast-check, clock and model work, and arbitraries say what is missing.
  await manualClock().advance('1h');
  assert.deepEqual((await model(db).check('SELECT count(*) FROM orders')).rows, [['2']]);
  assert.throws(() => rowsOf(db, 'orders'), { code: '58P01', hint: /npm install --save-dev fast-check/ });
} finally {
  await db.close();
}
console.log('ok');
`;

const TYPES = `
import { createServer } from 'node:http';
import { DbError, open, sql, type Change, type Database, type QueryResult, type SqlText } from 'analyticdb';

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(_: Same<A, B>): void {}

type Sale = { region: string; s: string };

export async function main(): Promise<void> {
  await using db: Database = await open({ memory: '1 GB', values: { int8: 'bigint' } });
  const text = sql<Sale>\`SELECT region, sum(amount) AS s FROM orders WHERE ts > \${new Date()} GROUP BY 1\`;
  same<typeof text, SqlText<Sale>>(true);
  // The row's type flows from the tag, or is said at the call.
  const tagged = await db.query(text, { label: 'panel 7', priority: 'interactive' });
  same<typeof tagged, QueryResult<Sale>>(true);
  same<typeof tagged.rows, Sale[]>(true);
  const said = await db.query<{ n: number }>('SELECT count(*) AS n FROM orders', { params: [] });
  same<(typeof said.rows)[number]['n'], number>(true);
  const untyped = await db.query('SELECT 1 AS a');
  same<(typeof untyped.rows)[number], Record<string, unknown>>(true);
  const printed = await db.query(text, { format: 'text' });
  same<typeof printed.rows, (string | null)[][]>(true);
  same<ReturnType<typeof tagged.toArrow>, Uint8Array>(true);

  for await (const batch of db.stream(text, { batchRows: 4096 })) same<typeof batch.rows, Sale[]>(true);
  for await (const bytes of db.stream(text, { format: 'csv' })) same<typeof bytes, Uint8Array>(true);

  await db.insert('orders', [{ id: 1 }], { idempotencyKey: 'a' });
  await db.insert('orders', { id: Float64Array.of(1), n: { values: [1], valid: Uint8Array.of(1) } });
  const { value, position } = await db.transaction(async (tx) => (await tx.query(text)).rows[0]?.s, { retries: 3 });
  same<typeof value, string | undefined>(true);
  same<typeof position, number>(true);

  await using subscription = db.subscribe<Sale>('sales', { from: 'snapshot', maxRate: 4 });
  for await (const change of subscription) {
    same<typeof change, Change<Sale>>(true);
    switch (change.kind) {
      case 'snapshot': same<typeof change.rows, Sale[]>(true); same<typeof change.more, boolean>(true); break;
      case 'delta': same<typeof change.inserted, Sale[]>(true); same<typeof change.from, number>(true); break;
      case 'progress': same<typeof change.asOf, string>(true); break;
      case 'reset': same<typeof change.reason, string>(true); break;
    }
  }
  const off: () => void = db.on('view.failed', ({ view, position: at }) => console.log(view.toUpperCase(), at + 1));
  off();
  createServer(db.handler({ as: (request) => ({ tenant: String(request.headers['x-tenant']) }) }));
  await using server = await db.listen({ http: 4200 });
  same<typeof server.http, string>(true);
  try {
    await db.load('orders', new URL('https://example.com/orders.parquet'), { create: true, onProgress: ({ rows }) => rows });
  } catch (cause) {
    if (cause instanceof DbError) same<typeof cause.retryable, boolean>(true);
  }

  // @ts-expect-error -- There is no such option.
  await open({ memorry: '1 GB' });
  // @ts-expect-error -- Nor such a choice.
  await db.query('SELECT 1', { values: { int8: 'float' } });
  // @ts-expect-error -- A stream of bytes has no rows.
  for await (const bytes of db.stream(text, { format: 'csv' })) bytes.rows;
  // @ts-expect-error -- A transaction has the verbs down to delete.
  await db.transaction(async (tx) => tx.subscribe('sales'));
}
`;

try {
  const [packed] = JSON.parse(
    runNpm(['pack', '--json', '--pack-destination', folder], { cwd: root }),
  );
  const names = packed.files.map(({ path }) => path);
  console.log(
    `· ${packed.filename}: ${names.length} files, ${(packed.size / 1e6).toFixed(1)} MB packed`,
  );
  const foreign = names.filter((name) => /^(test|bench|scripts|src|clients)\//.test(name));
  if (foreign.length > 0)
    throw new Error(`the package holds what it should not: ${foreign.slice(0, 5).join(', ')}`);

  writeFileSync(
    join(folder, 'package.json'),
    JSON.stringify({ name: 'user', private: true, type: 'module' }),
  );
  const started = Date.now();
  runNpm(['install', '--no-audit', '--no-fund', '--prefer-offline', join(folder, packed.filename)]);
  const modules = join(folder, 'node_modules');
  const bytes = readdirSync(modules, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce(
      (total, entry) => total + statSync(join(entry.parentPath ?? entry.path, entry.name)).size,
      0,
    );
  console.log(
    `· installed in ${((Date.now() - started) / 1000).toFixed(1)} s, ${(bytes / 1e6).toFixed(0)} MB`,
  );

  writeFileSync(join(folder, 'use.mjs'), SCRIPT);
  console.log(`· plain JavaScript: ${run(process.execPath, ['use.mjs']).trim()}`);

  writeFileSync(join(folder, 'use.ts'), TYPES);
  for (const page of ['api', 'formats'])
    writeFileSync(join(folder, `docs-${page}.ts`), programOf(join(root, 'docs', `${page}.md`)));
  writeFileSync(
    join(folder, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: {
        target: 'es2022',
        module: 'nodenext',
        moduleResolution: 'nodenext',
        strict: true,
        noEmit: true,
        types: ['node'],
        typeRoots: [join(root, 'node_modules', '@types')],
        exactOptionalPropertyTypes: true,
        noUncheckedIndexedAccess: true,
        // Our own declarations are checked, too; those of others are theirs.
        skipLibCheck: process.argv.includes('--skip-lib-check'),
        lib: ['es2022', 'esnext.disposable'],
      },
      files: ['use.ts', 'docs-api.ts', 'docs-formats.ts'],
    }),
  );
  run(process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', folder], {
    stdio: 'inherit',
  });
  console.log('· TypeScript: ok');

  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const told = run(process.execPath, [
    join(modules, 'analyticdb', 'dist', 'src', 'main.js'),
    '--version',
  ]).trim();
  if (told !== version) throw new Error(`the command line says ${told}, the package ${version}`);
  console.log('· command line: ok');
} finally {
  rmSync(folder, { recursive: true, force: true });
}
