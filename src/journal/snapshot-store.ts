import { assert } from '../base/errors.ts';
import type { MemoryAccount } from '../base/memory.ts';
import type { InstantMs, Position } from '../base/units.ts';

/** What computed the derived state: where one differs, rows are kept and the rest is rebuilt. */
export type RuntimeVersions = {
  readonly adb: string;
  readonly v8: string;
  readonly unicode: string;
  readonly icu: string;
  readonly tz: string;
};

/** State as of a position: a cache of the fold over the journal, which may be deleted at any moment. */
export type Snapshot<State> = {
  readonly position: Position;
  readonly instantMs: InstantMs;
  readonly versions: RuntimeVersions;
  readonly state: State;
  /** What it holds beyond what the live state holds anyway. */
  readonly heapBytes: number;
};

export interface SnapshotStore<State> {
  /** Complete once it resolves. Positions only grow. */
  put(snapshot: Snapshot<State>): Promise<void>;
  /** Positions, newest first. */
  positions(): Promise<readonly Position[]>;
  /** Undefined when it is gone or damaged: try the one before. */
  get(position: Position): Promise<Snapshot<State> | undefined>;
  /** Keeps those at or after `position`. */
  dropBefore(position: Position): Promise<void>;
}

/** Keeps states by reference; the newest `countMax` of them. `release` is called with what is dropped. */
export class MemorySnapshotStore<State> implements SnapshotStore<State> {
  readonly #countMax: number;
  readonly #account: MemoryAccount | undefined;
  readonly #release: (state: State) => void;
  /** Oldest first. */
  #snapshots: Snapshot<State>[] = [];

  constructor(options: {
    readonly countMax?: number;
    readonly account?: MemoryAccount;
    readonly release?: (state: State) => void;
  }) {
    this.#countMax = options.countMax ?? 2;
    this.#account = options.account;
    this.#release = options.release ?? (() => undefined);
  }

  async put(snapshot: Snapshot<State>): Promise<void> {
    const newest = this.#snapshots.at(-1);
    assert(
      newest === undefined || newest.position < snapshot.position,
      'positions of snapshots grow',
    );
    this.#account?.reserve(snapshot.heapBytes);
    this.#snapshots.push(snapshot);
    while (this.#snapshots.length > this.#countMax) this.#drop(this.#snapshots.shift()!);
  }

  async positions(): Promise<readonly Position[]> {
    return this.#snapshots.map((snapshot) => snapshot.position).toReversed();
  }

  async get(position: Position): Promise<Snapshot<State> | undefined> {
    return this.#snapshots.find((snapshot) => snapshot.position === position);
  }

  async dropBefore(position: Position): Promise<void> {
    for (const snapshot of this.#snapshots) {
      if (snapshot.position < position) this.#drop(snapshot);
    }
    this.#snapshots = this.#snapshots.filter((snapshot) => snapshot.position >= position);
  }

  #drop(snapshot: Snapshot<State>): void {
    this.#account?.release(snapshot.heapBytes);
    this.#release(snapshot.state);
  }
}

/** The newest snapshot that loads and fits; its state is what the replay goes on from. */
export async function newestSnapshot<State>(
  store: SnapshotStore<State>,
  fits: (snapshot: Snapshot<State>) => boolean,
): Promise<Snapshot<State> | undefined> {
  for (const position of await store.positions()) {
    const snapshot = await store.get(position);
    if (snapshot !== undefined && fits(snapshot)) return snapshot;
  }
  return undefined;
}
