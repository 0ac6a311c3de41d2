import { totalmem } from 'node:os';
import { randomBytes } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';
import { Worker } from 'node:worker_threads';
import { DbError } from './errors.ts';
import { NodeDisk } from './node-disk.ts';
import type { Clock, Network, Ports, Random, TimerHandle, Workers } from './ports.ts';
import { SeededRandom } from './random.ts';
import { instantMs } from './units.ts';
import type { InstantMs } from './units.ts';

/** The five ports of a Node process. `workerEntry` is the file that workers run; with none there are no workers. */
export function nodePorts(
  options: { readonly workerCount?: number; readonly workerEntry?: URL } = {},
): Ports {
  return {
    clock: new NodeClock(),
    random: nodeRandom(),
    disk: new NodeDisk(),
    network: new NodeNetwork(),
    workers: new NodeWorkers(options.workerCount ?? 0, options.workerEntry),
  };
}

/** setTimeout takes at most this; a longer delay is waited for in parts. */
const TIMEOUT_MS_MAX = 0x7fff_ffff;

const RESOLVED = Promise.resolve();

export class NodeClock implements Clock {
  now(): InstantMs {
    return instantMs(Date.now());
  }

  monotonicMs(): number {
    return performance.now();
  }

  after(delayMs: number, callback: () => void, holds = false): TimerHandle {
    const dueMs = performance.now() + delayMs;
    const arm = (): NodeJS.Timeout => {
      const leftMs = dueMs - performance.now();
      const timer =
        leftMs > TIMEOUT_MS_MAX
          ? setTimeout(() => {
              timeout = arm();
            }, TIMEOUT_MS_MAX)
          : // Rounded up, since Node cuts fractions and a timer must not be early.
            setTimeout(callback, Math.max(0, Math.ceil(leftMs)));
      return isHeld ? timer : timer.unref();
    };
    let isHeld = holds;
    let timeout = arm();
    return {
      cancel: () => clearTimeout(timeout),
      hold: (now) => {
        if (now === isHeld) return;
        isHeld = now;
        if (now) timeout.ref();
        else timeout.unref();
      },
    };
  }

  soon(callback: () => void): void {
    // Without the asynchronous resource that queueMicrotask makes for each call.
    void RESOLVED.then(callback);
  }

  afterIo(callback: () => void): void {
    setImmediate(callback);
  }
}

/** Seeded by the operating system. */
export function nodeRandom(): Random {
  const bytes = randomBytes(8);
  return new SeededRandom(bytes.readUInt32LE(0) * 0x20_0000 + (bytes.readUInt32LE(4) >>> 11));
}

export class NodeNetwork implements Network {
  async fetch(
    url: string,
    init: {
      method: string;
      headers?: Record<string, string>;
      body?: Uint8Array;
      signal?: AbortSignal;
    },
  ): Promise<{ readonly status: number; readonly body: AsyncIterable<Uint8Array> }> {
    const { method, headers, body, signal } = init;
    // A redirect could lead past an address check, so it is an answer like any other.
    const response = await fetch(url, {
      method,
      redirect: 'manual',
      ...(headers === undefined ? {} : { headers }),
      ...(body === undefined ? {} : { body: new Uint8Array(body) }),
      ...(signal === undefined ? {} : { signal }),
    });
    return { status: response.status, body: chunksOf(response.body) };
  }
}

async function* chunksOf(body: ReadableStream<Uint8Array> | null): AsyncGenerator<Uint8Array> {
  if (body === null) return;
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel();
  }
}

type Task = {
  readonly kind: string;
  readonly payload: unknown;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
};

/** Tasks beyond this wait for nobody: the caller steps its work and does not need more at once. */
const TASKS_WAITING_MAX = 4_096;

/**
 * A fixed number of threads that all run `entry`. A thread gets `{ kind, payload }` and posts `{ result }` or
 * `{ error }` back; one that dies fails its task and is replaced by the next task. Threads start with their first task and do not
 * keep the process alive.
 */
export class NodeWorkers implements Workers {
  readonly count: number;
  readonly #entry: URL | undefined;
  readonly #idle: Worker[] = [];
  readonly #busy = new Map<Worker, Task>();
  readonly #waiting: Task[] = [];
  #closed = false;

  constructor(count: number, entry: URL | undefined) {
    this.count = entry === undefined ? 0 : count;
    this.#entry = entry;
  }

  run(task: { readonly kind: string; readonly payload: unknown }): Promise<unknown> {
    if (this.count === 0) {
      return Promise.reject(
        new DbError('0A000', `there are no worker threads to run ${task.kind}`, {
          hint: 'Open the database with workers: 1 or more.',
        }),
      );
    }
    if (this.#closed) return Promise.reject(closedError());
    if (this.#waiting.length >= TASKS_WAITING_MAX) {
      return Promise.reject(
        new DbError('53000', 'too many tasks wait for worker threads', {
          limit: 'workers',
          retryAfterMs: 100,
        }),
      );
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ ...task, resolve, reject });
      this.#assign();
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const task of this.#waiting.splice(0)) task.reject(closedError());
    const workers = [...this.#idle.splice(0), ...this.#busy.keys()];
    await Promise.all(workers.map((worker) => worker.terminate()));
  }

  #assign(): void {
    while (this.#waiting.length > 0) {
      if (this.#idle.length === 0 && this.#busy.size === this.count) return;
      const worker = this.#idle.pop() ?? this.#start();
      const task = this.#waiting.shift()!;
      this.#busy.set(worker, task);
      worker.postMessage({ kind: task.kind, payload: task.payload });
    }
  }

  #start(): Worker {
    const worker = new Worker(this.#entry!);
    worker.unref();
    worker.on('message', (answer: { result?: unknown; error?: unknown }) => {
      const task = this.#busy.get(worker);
      if (task === undefined) return;
      this.#busy.delete(worker);
      this.#idle.push(worker);
      if ('error' in answer) task.reject(answer.error);
      else task.resolve(answer.result);
      this.#assign();
    });
    worker.on('error', (error) => this.#lost(worker, error));
    worker.on('exit', () => this.#lost(worker, this.#closed ? closedError() : undefined));
    return worker;
  }

  #lost(worker: Worker, error: unknown): void {
    const idle = this.#idle.indexOf(worker);
    if (idle >= 0) this.#idle.splice(idle, 1);
    const task = this.#busy.get(worker);
    this.#busy.delete(worker);
    task?.reject(error ?? new DbError('58000', 'a worker thread ended in the middle of its task'));
    this.#assign();
  }
}

function closedError(): DbError {
  return new DbError('57P01', 'the worker threads are closed');
}

/** Three quarters of what this process may use: the container's limit where there is one, else the machine's memory. */
export function defaultMemoryBytes(): number {
  const constrained = process.constrainedMemory?.() ?? 0;
  const limit = constrained > 0 && constrained < totalmem() ? constrained : totalmem();
  return Math.floor(limit * 0.75);
}

/** Half of the heap that V8 ends the process for: the rest is for what rows are made of, and for garbage. */
export function defaultAnswerBytes(): number {
  return Math.floor(getHeapStatistics().heap_size_limit / 2);
}

/** What computes derived state besides ourselves. */
export function runtimeVersions(): {
  readonly adb: string;
  readonly v8: string;
  readonly unicode: string;
  readonly icu: string;
  readonly tz: string;
} {
  const { v8, unicode = '', icu = '', tz = '' } = process.versions;
  return { adb: '0.1.0', v8, unicode, icu, tz };
}
