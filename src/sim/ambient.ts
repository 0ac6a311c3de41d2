/**
 * The one file of the simulated world that knows the real one. It lets promises settle between two events, and makes
 * reading real time or chance inside an event an error with the place that did it, since such a run could not be
 * repeated. The engine itself goes through its ports; what this finds is a library, or a workload.
 */

import crypto from 'node:crypto';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const { setImmediate: realImmediate } = globalThis;
const realNextTick = process.nextTick;
const realPerformanceNow = performance.now.bind(performance);

/** What a simulation takes in the real world: for budgets and reports, never inside a world. */
export function realMs(): number {
  return realPerformanceNow();
}

/** Resolves when every promise that could settle has settled, before any timer or I/O of the real world. */
export function settled(): Promise<void> {
  return new Promise((resolve) => realNextTick(resolve));
}

/** Gives the real event loop a turn, so that a long simulation does not look dead from outside. */
export function realTurn(): Promise<void> {
  return new Promise((resolve) => realImmediate(resolve));
}

/** While set, ambient time and chance throw. Returns what lifts it. Nests. */
export function forbidAmbient(): () => void {
  depth += 1;
  if (depth === 1) {
    for (const trap of traps) trap.set();
    trapModules();
  }
  let lifted = false;
  return () => {
    if (lifted) return;
    lifted = true;
    depth -= 1;
    if (depth === 0) for (const trap of traps.toReversed()) trap.lift();
  };
}

export class AmbientError extends Error {
  constructor(name: string) {
    super(
      `${name} inside a simulation: the run could not be repeated. Use world.now(), world.sleep() and world.rng() instead, or ambient: 'allow'.`,
    );
    this.name = 'AmbientError';
  }
}

let depth = 0;
let modulesTrapped = false;

/**
 * Files and chance of Node's own modules. They stay replaced once they are, since telling all importers costs a millisecond; what
 * stands in their place asks whether a world is running.
 */
function trapModules(): void {
  if (modulesTrapped) return;
  modulesTrapped = true;
  for (const [owner, label, names] of [
    [fs, 'fs', FILE_FUNCTIONS],
    [fs.promises, 'fs.promises', FILE_PROMISES],
    [crypto, 'crypto', ['randomBytes', 'randomInt', 'randomUUID', 'randomFillSync']],
  ] as const) {
    for (const name of names) {
      const real = (owner as unknown as Record<string, (...args: unknown[]) => unknown>)[name]!;
      const guarded = function guarded(this: unknown, ...args: unknown[]): unknown {
        if (depth > 0 && !byModuleLoader()) throw new AmbientError(`${label}.${name}`);
        return real.apply(this, args);
      };
      Object.assign(guarded, real);
      Object.defineProperty(owner, name, { value: guarded, configurable: true, writable: true });
    }
  }
  syncBuiltinESMExports();
}

const FILE_FUNCTIONS = [
  ...[
    'readFile',
    'writeFile',
    'appendFile',
    'open',
    'readdir',
    'mkdir',
    'rename',
    'unlink',
  ].flatMap((name) => [name, `${name}Sync`]),
  'createReadStream',
  'createWriteStream',
];
const FILE_PROMISES = [
  'readFile',
  'writeFile',
  'appendFile',
  'open',
  'readdir',
  'mkdir',
  'rename',
  'rm',
];

/** Code that is loaded on its first use comes from files, too. */
function byModuleLoader(): boolean {
  return /node:internal\/modules|node_modules\/vite/.test(new Error().stack ?? '');
}

type Trap = { set(): void; lift(): void };

function trap<Owner extends object>(
  owner: Owner,
  key: keyof Owner & string,
  label: string,
  replacement: unknown,
): Trap {
  let before: PropertyDescriptor | undefined;
  return {
    set: () => {
      before = Object.getOwnPropertyDescriptor(owner, key);
      Object.defineProperty(owner, key, {
        configurable: true,
        writable: true,
        enumerable: before?.enumerable ?? false,
        value: replacement ?? refusing(label),
      });
    },
    lift: () => {
      if (before === undefined) delete owner[key];
      else Object.defineProperty(owner, key, before);
    },
  };
}

function refusing(label: string): () => never {
  return () => {
    throw new AmbientError(label);
  };
}

/** `new Date(instant)` is a calculation; `new Date()` and `Date()` read the clock. */
const guardedDate = new Proxy(Date, {
  construct(target, args, newTarget) {
    if (args.length === 0) throw new AmbientError('new Date()');
    return Reflect.construct(target, args, newTarget) as object;
  },
  apply: refusing('Date()'),
  get(target, key, receiver) {
    return key === 'now' ? refusing('Date.now') : (Reflect.get(target, key, receiver) as unknown);
  },
});

const traps: readonly Trap[] = [
  trap(globalThis, 'Date', 'Date', guardedDate),
  trap(Math, 'random', 'Math.random', undefined),
  trap(performance, 'now', 'performance.now', undefined),
  ...(
    [
      'setTimeout',
      'setInterval',
      'setImmediate',
      'queueMicrotask',
      'clearTimeout',
      'clearInterval',
      'clearImmediate',
      'fetch',
    ] as const
  ).map((name) => trap(globalThis, name, name, undefined)),
  ...(['nextTick', 'hrtime', 'cpuUsage', 'uptime'] as const).map((name) =>
    trap(process, name, `process.${name}`, undefined),
  ),
  ...(['getRandomValues', 'randomUUID'] as const).map((name) =>
    trap(globalThis.crypto, name, `crypto.${name}`, undefined),
  ),
];
