#!/usr/bin/env node
/**
 * Whether `scripts/coverage.mjs` would notice: three ways in which intervals of progressive answers are wrong as a rule are planted in a copy of
 * the build, one at a time, and a small run must fail with each; the copy as it is must pass.
 *
 *   npm run coverage:mutants -- [--runs 100] [--tables 4] [--rows 300000] [--only naive]
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { values: given } = parseArgs({
  options: {
    runs: { type: 'string', default: '100' },
    tables: { type: 'string', default: '4' },
    rows: { type: 'string', default: '300000' },
    only: { type: 'string' },
  },
});

/** Of fewer rows there are fewer looks than `coverage.mjs` asks for: the copy as it is would fail, and each mutant be told for that. */
const ROWS_MIN = 300_000;
if (Number(given.rows) < ROWS_MIN) throw new Error(`--rows is at least ${ROWS_MIN}`);

/** What is planted: which populations tell, and [file of the build, what stands there, what is put there]. */
const MUTANTS = [
  { name: 'none', only: 'lognormal1,season,trend', edits: [] },
  {
    name: 'naive: intervals of the central limit theorem, good at one look, whatever the range',
    only: 'lognormal1,season',
    // What is wrong at each look a little is so most of all after many.
    upto: '0.9',
    edits: [
      [
        'progressive/confidence.js',
        'const time = n / (1 - n / N);',
        'return deviation * 1.96 * Math.sqrt((1 - n / N) / n);',
      ],
      ['progressive/confidence.js', 'return n >= 100 && range <=', 'return n >= 100 || range <='],
    ],
  },
  {
    name: 'blocks: rows of a segment lie in the order of their arrival',
    only: 'season,trend',
    edits: [['columns/seal.js', 'slots[at] = slots[pick];', 'continue;']],
  },
  {
    name: 'completion: looks count what the faster workers have read of a round, the others being one behind',
    only: 'trend',
    edits: [
      [
        'columns/sampled-scan.js',
        'return rowCount === SEGMENT_ROWS',
        `const index = this.#sampled.findIndex(({ segment }) => segment === arguments[0]);
        const readBy = (round) => {
          const isBehind = index * 2 >= this.#sampled.length && round < this.#rounds.count - 1;
          const read = isBehind ? round - 1 : round;
          return read < 0 ? 0 : this.#rounds.drawsOf(read, rowCount, 'all').to;
        };
        const from = readBy(this.round - 1);
        const to = readBy(this.round);
        return { from, to, watchedTo: this.#watched === 'none' ? from : to };
        return rowCount === SEGMENT_ROWS`,
      ],
    ],
  },
];

mkdirSync(join(root, 'dist'), { recursive: true });
const folder = mkdtempSync(join(root, 'dist', 'mutants-'));
let wrong = 0;
try {
  mkdirSync(join(folder, 'scripts'));
  // Module by module: what `npm run build` leaves is put together, and what is planted in a module would not be run.
  const built = join(folder, 'built');
  const tsc = spawnSync('npx', ['tsc', '-p', 'tsconfig.build.json', '--outDir', built], {
    cwd: root,
    stdio: 'inherit',
  });
  if (tsc.status !== 0) throw new Error('it does not compile');
  cpSync(join(root, 'scripts', 'coverage.mjs'), join(folder, 'scripts', 'coverage.mjs'));
  for (const { name, only, upto = '0.3', edits } of MUTANTS) {
    if (given.only !== undefined && !name.startsWith(given.only)) continue;
    const build = join(folder, 'dist', 'src');
    rmSync(build, { recursive: true, force: true });
    cpSync(join(built, 'src'), build, { recursive: true });
    for (const [file, from, to] of edits) plant(join(build, file), from, to);
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [
        join(folder, 'scripts', 'coverage.mjs'),
        ...['--runs', given.runs, '--tables', given.tables, '--rows', given.rows],
        ...['--only', only, '--upto', upto],
      ],
      { encoding: 'utf8' },
    );
    const isTold = status === 1 && stdout.includes('FAILED');
    const isRight = edits.length === 0 ? status === 0 : isTold;
    if (!isRight) wrong += 1;
    console.log(`${isRight ? 'right' : 'WRONG'}: ${name}\n${stdout}${stderr}`);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(wrong === 0 ? 'every mutant is told' : `${wrong} WRONG`);
process.exitCode = wrong === 0 ? 0 : 1;

function plant(file, from, to) {
  const source = readFileSync(file, 'utf8');
  if (source.split(from).length !== 2)
    throw new Error(`${file}: the code that is to be broken has moved; adapt the mutant`);
  writeFileSync(
    file,
    source.replace(from, () => to),
  );
}
