import { DbError } from '../base/errors.ts';
import type { Network, Random } from '../base/ports.ts';
import type { SimulatedClock } from './clock.ts';
import type { FaultSource } from './faults.ts';

/** How long somebody waits for an answer that never comes before the connection counts as lost. */
const LOST_AFTER_MS = 5_000;
/** A partition heals after so long, at most. */
const PARTITION_MS_MAX = 10_000;
const REORDER_FACTOR = 10;

/** One end of a conversation sees this when the other is gone: whether the last request was done is not known. */
export function connectionLost(why: string): DbError {
  return new DbError('08006', 'the connection is lost', {
    detail: `${why} Whether the request was done is not known.`,
    hint: 'Connect again; give writes an idempotencyKey and repeat them.',
  });
}

/** Answers a request that arrives at a server of the simulated world. */
export type RequestAnswerer = (request: {
  readonly url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array | undefined;
}) =>
  | { readonly status: number; readonly body?: string | Uint8Array | undefined }
  | Promise<{ readonly status: number; readonly body?: string | Uint8Array | undefined }>;

type Direction = 'there' | 'back';

/**
 * A bus on which messages take time, get lost, come twice, overtake each other, or do not get through for a while. Two ends
 * that talk over one `Connection` see what TCP promises: in order, each once, or not at all; what is reordered are connections.
 * Requests over `fetch` are answered by whoever was named with `serve`.
 */
export class SimulatedNetwork implements Network {
  readonly clock: SimulatedClock;
  readonly faults: FaultSource;
  delayMs: readonly [number, number];
  readonly #random: Random;
  readonly #servers = new Map<string, RequestAnswerer>();
  readonly #cut = new Map<Direction, number>();
  #messages = 0;
  #lost = 0;
  #fetches = 0;

  constructor(options: {
    readonly clock: SimulatedClock;
    readonly faults: FaultSource;
    readonly delayMs: readonly [number, number];
    readonly random: Random;
  }) {
    this.clock = options.clock;
    this.faults = options.faults;
    this.delayMs = options.delayMs;
    this.#random = options.random;
  }

  get counts(): { readonly messages: number; readonly lost: number } {
    return { messages: this.#messages, lost: this.#lost };
  }

  /** Messages to `origin`, such as `https://hooks.example`, are answered by `answer`. */
  serve(origin: string, answer: RequestAnswerer): void {
    this.#servers.set(new URL(origin).origin, answer);
  }

  /** Nothing gets through from now on, in one direction or both, until a seeded time has passed. */
  partition(): void {
    const directions = (
      [['there'], ['back'], ['there', 'back']] as const satisfies readonly (readonly Direction[])[]
    )[this.#random.below(3)]!;
    const endMs = this.clock.monotonicMs() + 100 + this.#random.unit() * PARTITION_MS_MAX;
    for (const direction of directions) this.#cut.set(direction, endMs);
  }

  heal(): void {
    this.#cut.clear();
  }

  /** Resolves when a message sent now has arrived; false: it never will. `notBeforeMs`: of the message before it. */
  async message(direction: Direction, random: Random, order: { lastMs: number }): Promise<boolean> {
    this.#messages += 1;
    const nowMs = this.clock.monotonicMs();
    const cutUntilMs = this.#cut.get(direction) ?? 0;
    if (cutUntilMs > nowMs || this.faults.hits('drop')) {
      this.#lost += 1;
      return false;
    }
    const [least, most] = this.delayMs;
    let delayMs = least + (most > least ? random.unit() * (most - least) : 0);
    if (this.faults.hits('reorder')) delayMs = (delayMs + 1) * REORDER_FACTOR;
    order.lastMs = Math.max(order.lastMs, nowMs + delayMs);
    if (order.lastMs > nowMs) await this.clock.pause(order.lastMs - nowMs, 'network');
    return true;
  }

  async fetch(
    url: string,
    init: {
      method: string;
      headers?: Record<string, string>;
      body?: Uint8Array;
      signal?: AbortSignal;
    },
  ): Promise<{ readonly status: number; readonly body: AsyncIterable<Uint8Array> }> {
    init.signal?.throwIfAborted();
    const random = this.#random.split(`fetch ${(this.#fetches += 1)}`);
    const answer = this.#servers.get(new URL(url).origin);
    if (answer === undefined)
      throw new DbError('08001', `nobody answers at ${new URL(url).origin} in this world`, {
        hint: 'Name a server with world.network.serve(origin, answer).',
      });
    const arrived = await this.message('there', random, { lastMs: 0 });
    const request = {
      url,
      method: init.method,
      headers: init.headers ?? {},
      body: init.body,
    };
    // A request that comes twice is answered twice: the server must know it by its key.
    if (arrived && this.faults.hits('duplicate')) await answer(request);
    const response = arrived ? await answer(request) : undefined;
    const returned = response !== undefined && (await this.message('back', random, { lastMs: 0 }));
    if (response === undefined || !returned) {
      await this.clock.pause(LOST_AFTER_MS, 'network');
      throw connectionLost('No answer came.');
    }
    init.signal?.throwIfAborted();
    const { body = '' } = response;
    const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : body;
    return { status: response.status, body: oneChunk(bytes) };
  }

  connect(label: string): Connection {
    return new Connection(this, this.#random.split(label));
  }
}

async function* oneChunk(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** What a client and the database talk over. Once lost it stays lost. */
export class Connection {
  readonly #network: SimulatedNetwork | undefined;
  readonly #random: Random | undefined;
  readonly #there = { lastMs: 0 };
  readonly #back = { lastMs: 0 };
  readonly #waiting = new Set<(cause: DbError) => void>();
  readonly #whenLost: (() => void)[] = [];
  readonly #whenOver: (() => void)[] = [];
  #loss: DbError | undefined;

  /** Without a network it is within the process: messages are there at once, and only its end breaks it. */
  constructor(network?: SimulatedNetwork, random?: Random) {
    this.#network = network;
    this.#random = random;
  }

  /** Called once, when the other end learns that nobody is there any more. */
  onLost(action: () => void): void {
    this.#whenLost.push(action);
  }

  /** Called once, when nothing is said over it any more, lost or not. */
  onOver(action: () => void): void {
    this.#whenOver.push(action);
  }

  /** Its session was closed in order. */
  close(): void {
    for (const action of this.#whenOver.splice(0)) action();
  }

  /** The process at the other end has ended: whoever waits is told at once. */
  break(why: string): void {
    if (this.#loss !== undefined) return;
    this.#loss = connectionLost(why);
    for (const reject of this.#waiting) reject(this.#loss);
    this.#waiting.clear();
    for (const action of this.#whenLost.splice(0)) action();
    this.close();
  }

  assertAlive(): void {
    if (this.#loss !== undefined) throw this.#loss;
  }

  /** A request goes there and its answer comes back. `key`: the request may be repeated. */
  async request<Value>(run: () => Promise<Value>, key = false): Promise<Value> {
    this.assertAlive();
    await this.#deliver('there', this.#there);
    const work = run();
    if (key && this.#network?.faults.hits('duplicate') === true) run().catch(() => undefined);
    const value = await this.#orLost(work);
    await this.#deliver('back', this.#back);
    return value;
  }

  /** Something comes from the database without being asked for. */
  async receive<Value>(next: () => Promise<Value>): Promise<Value> {
    this.assertAlive();
    const value = await this.#orLost(next());
    await this.#deliver('back', this.#back);
    return value;
  }

  async #deliver(direction: Direction, order: { lastMs: number }): Promise<void> {
    const network = this.#network;
    if (network === undefined) return;
    const arrives = network.message(direction, this.#random!, order);
    if (await this.#orLost(arrives)) return;
    await this.#orLost(network.clock.pause(LOST_AFTER_MS, 'network'));
    this.break('A message did not arrive.');
    this.assertAlive();
  }

  #orLost<Value>(work: Promise<Value>): Promise<Value> {
    return new Promise<Value>((resolve, reject) => {
      if (this.#loss !== undefined) {
        work.catch(() => undefined);
        reject(this.#loss);
        return;
      }
      this.#waiting.add(reject);
      work.then(
        (value) => {
          this.#waiting.delete(reject);
          resolve(value);
        },
        (cause: unknown) => {
          this.#waiting.delete(reject);
          // oxlint-disable-next-line prefer-promise-reject-errors -- handed on as it came
          reject(cause);
        },
      );
    });
  }
}
