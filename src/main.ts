#!/usr/bin/env node
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { Command, InvalidArgumentError, Option } from 'commander';
import { pino } from 'pino';
import { DbError } from './base/errors.ts';
import { nodePorts } from './base/node-ports.ts';
import { open } from './open.ts';
import type { FlightDemo } from './flight-demo.ts';
import { createApp } from './server/app.ts';
import type { DemoControls, DemoState } from './server/demo-routes.ts';
import { listenHttp, parseAddress } from './server/listen.ts';
import { readPage } from './server/page.ts';

type ServeOptions = {
  readonly http: string;
  readonly memory?: string;
  readonly data?: string;
  readonly fsync: string;
  readonly demo?: true | number;
  readonly allowHost?: readonly string[];
  readonly log: string;
};

/**
 * V8 collects its whole heap when that, and what lies outside of it, has grown by a tenth or by eight megabytes: loads bring several such collections of a heap that
 * has hardly changed. This process is ours, so its heap may double before (decision 40). Who gave Node a percentage of his own keeps it.
 */
function collectSeldom(): void {
  if (!process.execArgv.some((option) => /^--heap[-_]growing[-_]percent/.test(option)))
    setFlagsFromString('--heap-growing-percent=100');
}

const STARTING: DemoState = { phase: 'starting', speed: 0, loaded: 0, toLoad: 0, held: 0 };

/** The command line: `npx analyticdb serve [--http 127.0.0.1:4200] [--memory 4GB] [--data DIR] [--demo] [--allow-host NAME]`. */
const program = new Command('analyticdb')
  .description('An in-memory real-time analytics database.')
  .version('0.1.0');

program
  .command('serve')
  .description('Runs a server. Ready when it prints its address; SIGTERM drains and ends it.')
  .option('--http <address>', 'REST and the page', '127.0.0.1:4200')
  .option('--memory <size>', 'limit of the whole database, such as 4GB')
  .option('--data <dir>', 'keeps the journal in files of this directory, and reads what is there')
  .addOption(
    new Option(
      '--fsync <mode>',
      'always: what is acknowledged survives a power loss; interval: a power loss takes the last moments',
    )
      .choices(['always', 'interval'])
      .default('always'),
  )
  .option(
    '--demo [flights]',
    'loads three million US flights, or fewer, and replays the newest weeks of them live',
    (text) => {
      const count = Number(text);
      if (Number.isSafeInteger(count) && count > 0) return count;
      throw new InvalidArgumentError('Give a number of flights.');
    },
  )
  .option(
    '--allow-host <name...>',
    'names besides localhost under which the server may be asked, such as that of a proxy',
  )
  .option('--log <level>', 'pino level: fatal, error, warn, info, debug, silent', 'warn')
  .action(async (options: ServeOptions) => {
    collectSeldom();
    const logger = pino({ level: options.log });
    const { clock, disk } = nodePorts();
    const withDemo = options.demo !== undefined;
    if (withDemo && options.data !== undefined)
      throw new DbError('22023', 'the demo keeps its flights in memory', {
        hint: 'Leave out --data, or --demo.',
      });
    const database = await open({
      ...(options.memory === undefined ? {} : { memory: options.memory }),
      ...(options.data === undefined
        ? {}
        : {
            journal: {
              kind: 'file',
              dir: options.data,
              fsync: options.fsync as 'always' | 'interval',
              onProgress: ({ phase, position, head, elapsedMs, damagedSnapshots }) => {
                const seconds = (elapsedMs / 1000).toFixed(1);
                if (phase === 'ready' && damagedSnapshots.length > 0)
                  console.log(
                    `· damaged snapshots were passed over: ${damagedSnapshots.join(', ')}`,
                  );
                if (phase === 'ready')
                  console.log(
                    `· ${options.data} is read up to position ${position} in ${seconds} s`,
                  );
                else
                  console.log(
                    phase === 'views'
                      ? `· filling views, ${seconds} s`
                      : `· reading ${options.data}: position ${position} of ${head}, ${seconds} s`,
                  );
              },
            },
          }),
    });
    let ready = !withDemo;
    let demo: FlightDemo | undefined;
    const page = await readPage(
      disk,
      join(dirname(fileURLToPath(import.meta.url)), '..', 'console'),
    );
    // The page is there from the start; the feed it shows a moment later.
    const controls: DemoControls = {
      state: () => demo?.state() ?? STARTING,
      setSpeed: (speed) => demo?.setSpeed(speed),
    };
    const app = createApp({
      database,
      clock,
      logger,
      page,
      demo: withDemo ? controls : undefined,
      ready: () => ready,
      allowedHosts: options.allowHost ?? [],
    });
    const address = parseAddress(process.env['PORT'] ?? options.http);
    const url = await listenHttp(app, address, { authenticated: false, nextFree: withDemo });
    // From now on: a start that takes a while can be called off, too.
    let stopping = false;
    const stop = async (): Promise<void> => {
      if (stopping) return;
      stopping = true;
      demo?.stop();
      await app.close();
      await database.close();
      process.exit(0);
    };
    process.on('SIGTERM', () => void stop());
    process.on('SIGINT', () => void stop());
    if (withDemo) {
      const { startFlightDemo } = await import('./flight-demo.ts');
      demo = await startFlightDemo(database, clock, {
        flightCountMax: typeof options.demo === 'number' ? options.demo : Infinity,
        say: (line) => console.log(`· ${line}`),
      });
      ready = true;
    }
    console.log(`AnalyticDB is ready: ${url}`);
  });

try {
  await program.parseAsync();
} catch (cause) {
  if (!(cause instanceof DbError)) throw cause;
  console.error(
    `analyticdb: ${cause.message}${cause.hint === undefined ? '' : `\n  ${cause.hint}`}`,
  );
  process.exit(1);
}
