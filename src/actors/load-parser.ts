import { loadModule, parseSync } from 'libpg-query';
import { createParser, type Parser } from '../sql/parse.ts';
import { readyPlanner } from './ready-planner.ts';

/** Compiles the parser's WebAssembly module once a process (some 20 ms); from then on parsing is synchronous. */
export async function loadParser(): Promise<Parser> {
  const loaded = loadModule();
  // It is compiled elsewhere meanwhile.
  readyPlanner();
  await loaded;
  return createParser(parseSync);
}
