import { DbError } from '../base/errors.ts';
import { tenantId } from '../base/units.ts';
import type { ActorRef } from '../mailbox/actor.ts';
import { LANES, PARKED_OFFERS_MAX, type Lane } from '../mailbox/lane.ts';
import { HistoryOracle } from './history.ts';
import type { Oracle } from './oracle.ts';
import type { Call, CallEnd } from './remote.ts';
import { publishedRows, stateHashes } from './state-hash.ts';
import { InvariantFailure, type DatabaseProcess, type SimulatedWorld } from './world.ts';

const MADE: Readonly<Record<OracleName, () => Oracle>> = {
  mailboxes: () => new MailboxOracle(),
  lanes: () => new LaneOracle(),
  sessions: () => new SessionOracle(),
  fold: () => new FoldOracle(),
  history: () => new HistoryOracle(),
};

export type OracleName = 'mailboxes' | 'lanes' | 'sessions' | 'fold' | 'history';

const NAMES = Object.keys(MADE) as OracleName[];

/** Those that look on unless a simulation says otherwise: all. */
export function standardOracles(names: readonly OracleName[] = NAMES): Oracle[] {
  return names.map((name) => {
    if (Object.hasOwn(MADE, name)) return MADE[name]();
    throw new DbError('22023', `there is no oracle "${String(name)}"`, {
      field: 'oracles',
      hint: `There are ${NAMES.join(', ')}.`,
    });
  });
}

const EVENTS_PER_LOOK = 8;

/** No lane holds more than its bound, nobody waits for credit beyond the bound of that. */
class MailboxOracle implements Oracle {
  readonly name = 'mailboxes';

  watch(world: SimulatedWorld): void {
    if (world.eventCount % EVENTS_PER_LOOK !== 0 || !world.isUp) return;
    const { dispatcher } = world.engine;
    for (const actor of dispatcher.actors()) {
      for (const [lane, count] of actor.waiting.entries())
        if (count > dispatcher.limits.lanes[lane]!.messages)
          throw new InvariantFailure(
            this.name,
            `${count} messages wait in the ${LANES[lane]} lane of ${actor.name}`,
          );
      if (actor.parkedOffers > PARKED_OFFERS_MAX)
        throw new InvariantFailure(this.name, `${actor.parkedOffers} offers wait at ${actor.name}`);
    }
  }
}

/** Every so many events each lane of the probe gets a few messages. */
const EVENTS_PER_PROBE = 16;
const PROBES_AT_ONCE = 3;
/** Beyond so many events of others, a message that waits is starved. */
const STARVED_EVENTS_MAX = 50_000;

/** In each lane messages of one sender arrive in order, each once, none is lost, and none waits for ever: asked of an actor of its own. */
class LaneOracle implements Oracle {
  readonly name = 'lanes';
  #probe: { readonly process: DatabaseProcess; readonly ref: ActorRef<ProbeMessage> } | undefined;
  /** By lane: told, and arrived. */
  #told: number[] = [];
  #arrived: number[] = [];
  #waitsSince = 0;

  watch(world: SimulatedWorld): void {
    if (world.eventCount % EVENTS_PER_PROBE !== 0 || !world.isUp) return;
    const { process } = world;
    if (process.engine.closed) return;
    if (this.#probe?.process !== process) this.#start(world, process);
    const waits = this.#told.some((count, lane) => this.#arrived[lane]! < count);
    if (!waits) this.#waitsSince = world.eventCount;
    else if (world.eventCount - this.#waitsSince > STARVED_EVENTS_MAX)
      throw new InvariantFailure(this.name, 'a message has waited too long for its turn');
    for (const [lane, name] of PROBED_LANES.entries())
      for (let count = 0; count < PROBES_AT_ONCE; count += 1) {
        const number = this.#told[lane]! + 1;
        if (this.#probe!.ref.tell({ lane, number }, name) === 'ok') this.#told[lane] = number;
      }
  }

  #start(world: SimulatedWorld, process: DatabaseProcess): void {
    this.#told = PROBED_LANES.map(() => 0);
    this.#arrived = PROBED_LANES.map(() => 0);
    const arrived = this.#arrived;
    const ref = process.engine.dispatcher.spawn<ProbeMessage>({
      name: 'probe',
      tenant: tenantId('adb'),
      start: () => (message) => {
        const { lane, number } = message;
        if (number !== arrived[lane]! + 1)
          world.fail(
            this.name,
            new InvariantFailure(
              this.name,
              `message ${number} came after ${arrived[lane]!} in the ${PROBED_LANES[lane]} lane`,
            ),
          );
        arrived[lane] = number;
        return 'continue';
      },
    });
    process.engine.onClose(() => ref.stop());
    this.#probe = { process, ref };
  }

  check(): void {
    const lost = this.#told.findIndex(
      (count, lane) => this.#arrived[lane]! < count - PROBES_AT_ONCE,
    );
    if (lost >= 0)
      throw new InvariantFailure(
        this.name,
        `${this.#told[lost]! - this.#arrived[lost]!} messages in the ${PROBED_LANES[lost]} lane never arrived`,
      );
  }
}

const PROBED_LANES = ['control', 'command', 'bulk'] as const satisfies readonly Lane[];

type ProbeMessage = { readonly lane: number; readonly number: number };

/** Whoever asks sees what was visible when she asked: her own writes, and nothing older than before. */
class SessionOracle implements Oracle {
  readonly name = 'sessions';
  readonly observer = { began: (call: Call) => this.#began(call) };
  readonly #newest = new Map<number, number>();
  readonly #blocks = new Set<number>();
  readonly #queryIds = new Set<string>();
  #world: SimulatedWorld | undefined;

  begin(world: SimulatedWorld): void {
    this.#world = world;
  }

  #began({ session, who, verb, args }: Call): CallEnd | undefined {
    const world = this.#world;
    if (world === undefined || !world.isUp) return undefined;
    if (verb === 'subscribe') return undefined;
    if (verb === 'close') {
      this.#newest.delete(session);
      this.#blocks.delete(session);
      return undefined;
    }
    if (verb === 'attempt') this.#blocks.add(session);
    if (verb === 'transaction') {
      const over = (): void => void this.#blocks.delete(session);
      return { answered: over, failed: over };
    }
    const [first, second] = args;
    const text = typeof first === 'string' ? first : '';
    if (/^\s*(?:begin|start)\b/i.test(text)) this.#blocks.add(session);
    if (/^\s*(?:commit|rollback|end|abort)\b/i.test(text)) {
      // A transaction that only read is answered where it read.
      this.#blocks.delete(session);
      return undefined;
    }
    const { asOf } = (second ?? {}) as { readonly asOf?: number };
    if (asOf !== undefined || this.#blocks.has(session)) return undefined;
    const { process } = world;
    // Each process knows only what it has said itself: a session does not outlive it.
    const visible = Math.max(process.engine.visiblePosition, this.#newest.get(session) ?? 0);
    return {
      answered: (result) => {
        const { position, meta } = (result ?? {}) as {
          readonly position?: number;
          readonly meta?: {
            readonly queryId: string;
            readonly position: number;
            readonly source: string;
          };
        };
        if (meta !== undefined && meta.source !== 'catalog') this.#once(world, who, meta.queryId);
        const at = position ?? meta?.position;
        if (at === undefined) return;
        // A view that broke, or that is kept at intervals, may answer for an older position, and says so.
        const mayLag = meta?.source === 'view' && lagging(world);
        if (at < visible && !mayLag)
          world.fail(
            this.name,
            new InvariantFailure(
              this.name,
              `${who} was answered at position ${at} after ${visible} was visible`,
            ),
          );
        this.#newest.set(session, Math.max(at, this.#newest.get(session) ?? 0));
      },
      failed: () => undefined,
    };
  }

  #once(world: SimulatedWorld, who: string, queryId: string): void {
    if (this.#queryIds.has(queryId))
      world.fail(
        this.name,
        new InvariantFailure(
          this.name,
          `${who} was answered under the id ${queryId} of another query`,
        ),
      );
    if (this.#queryIds.size < QUERY_IDS_MAX) this.#queryIds.add(queryId);
  }
}

/** Ids of queries remembered: enough to find a stream of chance that is used twice. */
const QUERY_IDS_MAX = 10_000;

function lagging(world: SimulatedWorld): boolean {
  const { engine } = world;
  return (
    engine.metrics.snapshot()['viewFailures']! > 0 ||
    engine.state.catalog
      .all()
      .some((entry) => entry.kind === 'materializedView' && entry.view.options.refresh !== 'commit')
  );
}

/** What is visible is the fold of what the journal holds, relation by relation, row ids included. */
class FoldOracle implements Oracle {
  readonly name = 'fold';

  async check(world: SimulatedWorld): Promise<void> {
    const { engine } = world;
    if (engine.visiblePosition !== world.acknowledgedPosition)
      throw new InvariantFailure(
        this.name,
        `position ${engine.visiblePosition} is visible, ${world.acknowledgedPosition} acknowledged`,
      );
    const replica = await world.replayed();
    try {
      const live = stateHashes(engine.state);
      const folded = stateHashes(replica.state);
      const names = (hashes: typeof live): string => hashes.map(({ name }) => name).join(' ');
      if (names(live) !== names(folded))
        throw new InvariantFailure(
          this.name,
          `the journal folds to ${names(folded)} instead of ${names(live)}`,
        );
      for (const [index, { id, name, hash }] of live.entries()) {
        const entry = engine.state.catalog.byId(id)!;
        if (entry.kind === 'materializedView' && entry.definition.options.refresh !== 'commit')
          continue;
        if (folded[index]!.hash === hash) continue;
        const text = (each: typeof entry | undefined): string =>
          each !== undefined && 'data' in each
            ? publishedRows(each.data, each.kind === 'table').join(' ')
            : '';
        throw new InvariantFailure(
          this.name,
          `${name} is not the fold of the journal at ${engine.visiblePosition}\n  is ${text(entry)}\n  folds to ${text(replica.state.catalog.byId(id))}`,
        );
      }
    } finally {
      await replica.close();
    }
    if (replica.memory.usedBytes !== 0)
      throw new InvariantFailure(
        this.name,
        `a closed replica holds ${replica.memory.usedBytes} bytes`,
      );
    world.seen.add('a fold');
  }
}
