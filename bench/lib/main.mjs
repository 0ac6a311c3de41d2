/**
 * One benchmark, from its arguments to its table: `node --expose-gc bench/lib/main.mjs <name> [flags]`. A benchmark is a
 * module `bench/<name>.mjs` with `about` (a line) and `run(report, { quick })`; the rest is here, so that all of them
 * print, write and compare alike.
 */
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { worseThan } from './compare.mjs';
import { commit, machine } from './machine.mjs';
import { Report } from './report.mjs';

const folder = join(dirname(fileURLToPath(import.meta.url)), '..');
const usage = 'npm run bench -- <name> [--quick] [--json FILE] [--compare FILE]';

let parsed;
try {
  parsed = parseArgs({
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      json: { type: 'string' },
      compare: { type: 'string' },
    },
  });
} catch (error) {
  fail(`${error.message}\n${usage}`);
}
const { values: flags, positionals } = parsed;
const [name] = positionals;
if (positionals.length !== 1 || !/^[a-z-]+$/.test(name) || !existsSync(join(folder, `${name}.mjs`)))
  fail(`${usage}\nThe benchmarks are ${await names()}.`);
// Read before the run: a mistyped name should not cost ten minutes.
const earlier = flags.compare === undefined ? undefined : readEarlier(flags.compare);

const report = new Report();
const { about, run } = await import(`../${name}.mjs`);
console.log(`${name}: ${about}`);
console.log(`${machine()}; commit ${commit()}${flags.quick ? '; quick' : ''}\n`);
await run(report, { quick: flags.quick });
report.print();

if (flags.json !== undefined) {
  const json = {
    bench: name,
    quick: flags.quick,
    machine: machine(),
    commit: commit(),
    results: report.results(),
  };
  writeFileSync(resolve(flags.json), `${JSON.stringify(json, null, 2)}\n`);
}
if (earlier !== undefined) {
  const worse = worseThan(report.results(), earlier.results);
  for (const { metric, was, is } of worse)
    console.error(`worse: ${metric} was ${was.toFixed(2)}×, is ${is.toFixed(2)}×`);
  if (worse.length === 0) console.log(`no ratio is over 25 % worse than in ${flags.compare}`);
  process.exitCode = worse.length === 0 ? 0 : 1;
}

function readEarlier(file) {
  let json;
  try {
    json = JSON.parse(readFileSync(resolve(file), 'utf8'));
  } catch (error) {
    fail(`cannot read ${file}: ${error.message}`);
  }
  if (!Array.isArray(json.results)) fail(`${file} is not a result that --json has written`);
  if (json.bench !== name) fail(`${file} is of the benchmark "${json.bench}", not of "${name}"`);
  if (Boolean(json.quick) !== flags.quick)
    fail(`${file} was measured ${json.quick ? 'with' : 'without'} --quick: sizes differ`);
  return json;
}

async function names() {
  const files = readdirSync(folder).filter((file) => file.endsWith('.mjs'));
  return files.map((file) => file.slice(0, -'.mjs'.length)).join(', ');
}

function fail(message) {
  console.error(message);
  process.exit(2);
}
