#!/usr/bin/env node
/**
 * Runs the conformance corpus, which stays in its own folder (CONFORMANCE_DIR, default ../shared/conformance), through the
 * corpus' own runner and our adapter: each category of sqllogictest files, the scenarios of incremental views, and the calendar's
 * cases (time.mjs). A
 * category passes when at least the number of records in floors.json pass and nothing broke inside; refusals (0A000) are
 * counted apart, and what follows from them. In the categories of STRICT every other miss must have its reason in
 * known-misses.json. Raise the floors as more passes; never lower one.
 *
 *     node test/conformance/run.mjs [--refusals] [--misses] [--page] [category …]
 *
 * --refusals lists the texts of 0A000 with their counts, --misses every miss that is no refusal, and --page writes
 * docs/conformance.md. The last line is `N passed, N failed`, in categories.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { explainMisses } from './explain-misses.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '..', '..');
const corpus = resolve(root, process.env.CONFORMANCE_DIR ?? '../shared/conformance');
const floors = JSON.parse(readFileSync(join(here, 'floors.json'), 'utf8'));
const chosen = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
const listsRefusals = process.argv.includes('--refusals');
const listsMisses = process.argv.includes('--misses');
const writesPage = process.argv.includes('--page');
const known = JSON.parse(readFileSync(join(here, 'known-misses.json'), 'utf8'));

const COLUMNS = ['category', 'passed', 'refused', 'follows', 'known', 'unexplained'];

/** Categories in which no miss is without a reason. */
const STRICT = [
  'select-expr',
  'aggregates',
  'filters-index',
  'order-limit',
  'transactions',
  'dml',
  'joins',
  'joins-large',
  'time',
];

/** Two processes on two cores; a category that hangs costs this much and no more. */
const PROCESS_COUNT = 2;
const CATEGORY_MS_MAX = 400_000;
/** A statement takes no second; on a machine that has other work it may, and a file ends with the first that is given up. */
const STATEMENT_MS_MAX = 120_000;

if (!existsSync(join(corpus, 'runner', 'run.mjs'))) {
  console.log(`no conformance corpus at ${corpus}; CONFORMANCE_DIR names its folder`);
  console.log('0 passed, 1 failed');
  process.exit(1);
}

const work = mkdtempSync(join(tmpdir(), 'analyticdb-conformance-'));
const waiting = Object.keys(floors).filter((name) => chosen.length === 0 || chosen.includes(name));
const results = new Map();
await Promise.all(Array.from({ length: PROCESS_COUNT }, runWaiting));
rmSync(work, { recursive: true, force: true });
process.exitCode = report() ? 0 : 1;

async function runWaiting() {
  for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
    const result = await (name === 'ivm'
      ? runScenarios()
      : name === 'time'
        ? runTimeCases()
        : runRecords(name));
    results.set(name, result);
    console.log(
      `· ${name}: ${result.passed} passed, ${result.failed} failed, ${Math.round(result.ms / 1000)} s`,
    );
  }
}

async function runRecords(name) {
  const report = join(work, `${name}.json`);
  const failures = join(work, `${name}.failures`);
  const outcome = await runNode(name, [
    join(corpus, 'runner', 'run.mjs'),
    '--adapter',
    join(here, 'adapter.mjs'),
    '--quiet',
    '--timeout',
    String(STATEMENT_MS_MAX),
    '--max-fail-print',
    '0',
    '--fail-out',
    failures,
    '--json',
    report,
    join(corpus, 'slt', name),
  ]);
  const { passed, failed } = readJson(report) ?? { passed: 0, failed: 0 };
  const misses = explainMisses(readLines(failures), known);
  return { ...outcome, passed, failed, misses };
}

/** Questions to the calendar alone; every case that fails is one without a reason. */
async function runTimeCases() {
  const report = join(work, 'time.json');
  const outcome = await runNode('time', [
    join(here, 'time.mjs'),
    join(corpus, 'time'),
    '--max-fail-print',
    '100000',
    '--json',
    report,
  ]);
  const { passed, failed } = readJson(report) ?? { passed: 0, failed: 0 };
  const misses = [...outcome.output.matchAll(/^FAIL (\S+) (.*)/gm)].map(([, id, text]) => ({
    file: id,
    line: 0,
    sql: '',
    kind: 'unexplained',
    text,
  }));
  return { ...outcome, passed, failed, misses };
}

async function runScenarios() {
  const report = join(work, 'ivm.json');
  const outcome = await runNode('ivm', [
    join(corpus, 'runner', 'ivm-run.mjs'),
    '--adapter',
    join(here, 'adapter.mjs'),
    '--max-fail-print',
    '100000',
    '--json',
    report,
    join(corpus, 'ivm', 'scenarios.ndjson'),
  ]);
  const { passed, failed } = readJson(report) ?? { passed: 0, failed: 0 };
  const misses = [...outcome.output.matchAll(/^FAIL (\S+) (.*)/gm)].map(([, id, reason]) => {
    const refusal = /\b0A000: (.*)/.exec(reason)?.[1];
    return {
      file: id,
      line: 0,
      sql: '',
      kind: refusal === undefined ? 'unexplained' : 'refused',
      text: refusal ?? reason,
    };
  });
  return { ...outcome, passed, failed, misses };
}

/** Resolves with how the process ended; one that does not end by itself is killed. */
function runNode(name, args) {
  const crashFile = join(work, `${name}.crashes`);
  const started = performance.now();
  return new Promise((done) => {
    const child = spawn(process.execPath, args, {
      cwd: root,
      env: { ...process.env, ADB_CONFORMANCE_CRASHES: crashFile },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    child.stdout.on('data', (bytes) => (output += bytes));
    child.stderr.on('data', (bytes) => (output += bytes));
    const timer = setTimeout(() => child.kill('SIGKILL'), CATEGORY_MS_MAX);
    child.on('close', (status, signal) => {
      clearTimeout(timer);
      const crashes = readLines(crashFile);
      // 0 and 1 are the runner's own words for "all passed" and "some failed".
      if (status !== 0 && status !== 1)
        crashes.push({
          sql: 'a process',
          stack: `ended with ${signal ?? status}\n${output.slice(-2000)}`,
        });
      done({ output, crashes, ms: performance.now() - started });
    });
  });
}

function report() {
  let passedCount = 0;
  let failedCount = 0;
  const lines = [[...COLUMNS, 'crashes', 'floor', '']];
  for (const [name, floor] of Object.entries(floors)) {
    const result = results.get(name);
    if (result === undefined) continue;
    const { passed, crashes } = result;
    const counts = countsOf(result);
    const good =
      passed >= floor &&
      crashes.length === 0 &&
      (counts.unexplained === 0 || !STRICT.includes(name));
    if (good) passedCount += 1;
    else failedCount += 1;
    lines.push([name, ...Object.values(counts), crashes.length, floor, good ? '' : 'FAILED']);
  }
  const widths = lines[0].map((_, column) =>
    Math.max(...lines.map((line) => String(line[column]).length)),
  );
  console.log('');
  for (const line of lines)
    console.log(
      line
        .map((cell, column) =>
          column === 0 ? String(cell).padEnd(widths[0]) : String(cell).padStart(widths[column]),
        )
        .join('  ')
        .trimEnd(),
    );
  if (listsRefusals) listRefusals();
  if (listsMisses) listMisses();
  if (writesPage) writeFileSync(join(root, 'docs', 'conformance.md'), page());
  for (const [name, { crashes }] of results)
    for (const [place, at] of distinctCrashes(crashes))
      console.log(`\n${name} broke inside, ${at.length} times: ${place}\n    in ${at[0]}`);
  console.log(`\n${passedCount} passed, ${failedCount} failed`);
  return failedCount === 0;
}

/** Where it broke (the message and the first calls) → the statements. */
function distinctCrashes(crashes) {
  const places = new Map();
  for (const { sql, stack } of crashes) {
    const place = stack.split('\n').slice(0, 6).join('\n');
    places.set(place, [...(places.get(place) ?? []), sql]);
  }
  return places;
}

function countsOf({ passed, misses }) {
  const count = (kind) => misses.filter((miss) => miss.kind === kind).length;
  return {
    passed,
    refused: count('refused'),
    follows: count('follows'),
    known: count('known'),
    unexplained: count('unexplained'),
  };
}

/** Text → count, the most frequent first. */
function tally(kind) {
  const counts = new Map();
  for (const { misses } of results.values())
    for (const miss of misses)
      if (miss.kind === kind) counts.set(miss.text, (counts.get(miss.text) ?? 0) + 1);
  return [...counts].toSorted((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
}

function listRefusals() {
  console.log('\nrefused with 0A000:');
  for (const [text, count] of tally('refused'))
    console.log(`${String(count).padStart(6)}  ${text}`);
}

function listMisses() {
  for (const [name, { misses }] of results)
    for (const { kind, file, line, sql, text } of misses)
      if (kind === 'known' || kind === 'unexplained')
        console.log(
          `${name} ${kind} ${file}:${line} ${sql.replaceAll(/\s+/g, ' ').slice(0, 120)} => ${text}`,
        );
}

function page() {
  const total = { passed: 0, refused: 0, follows: 0, known: 0, unexplained: 0 };
  const row = (cells) => `| ${cells.join(' | ')} |`;
  const rows = [];
  for (const name of Object.keys(floors)) {
    const result = results.get(name);
    if (result === undefined) continue;
    const counts = countsOf(result);
    for (const [kind, count] of Object.entries(counts)) total[kind] += count;
    rows.push(row([STRICT.includes(name) ? `**${name}**` : name, ...Object.values(counts)]));
  }
  return `# Conformance

Records of public sqllogictest files and scenarios of incremental views, each with the answer of PostgreSQL 15, and cases of time
zones and calendars with that of a brute-force scan (\`time\`), run against the engine in process. The material is read from the folder that \`CONFORMANCE_DIR\` names; this page is written by

    npm run build && node test/conformance/run.mjs --page

- **passed**: the same rows, or an error where PostgreSQL gives one.
- **refused**: the statement is refused with 0A000, its text below.
- **follows**: it needs something that a refused statement of the same file would have made, or stands in the transaction that
  a refusal has ended.
- **known**: it misses for a reason given below.
- **unexplained**: it misses, and nobody has looked yet. In the categories set in bold there are none.

${row(COLUMNS)}
${row(COLUMNS.map((_, index) => (index === 0 ? '---' : '---:')))}
${rows.join('\n')}
${row(['all', ...Object.values(total)])}

## What is known to differ

${tally('known')
  .map(([text, count]) => `- ${count} × ${text}`)
  .join('\n')}

## What is refused with 0A000

${row(['records', 'text'])}
${row(['---:', '---'])}
${tally('refused')
  .map(([text, count]) => row([count, text.replaceAll('|', '\\|')]))
  .join('\n')}
`;
}

function readJson(file) {
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined;
}

function readLines(file) {
  if (!existsSync(file)) return [];
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
}
