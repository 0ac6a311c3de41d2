import type { Clock, Random } from '../base/ports.ts';
import { tenantId } from '../base/units.ts';
import type { ActorRef, ActorSpec } from '../mailbox/actor.ts';
import type { Dispatcher } from '../mailbox/dispatcher.ts';
import type { Lane } from '../mailbox/lane.ts';
import {
  childPolicy,
  Supervisor,
  type ChildInfo,
  type SupervisionEvents,
} from '../supervisor/supervisor.ts';
import type { CatalogEntry } from './catalog.ts';
import type { Engine } from './engine.ts';
import { journalActor, type JournalMessage } from './journal-actor.ts';
import type { ProgressiveMessage } from './progressive-actor.ts';
import type { QueryMessage } from './query-actor.ts';
import { tableActor, viewActor, type TableMessage, type ViewMessage } from './relation-actors.ts';

/** A commit that broke the journal's actor is not tried again: the commit turn has made its peace with it. */
const JOURNAL = childPolicy('journal', { poisonAfter: 1 });
const TABLE = childPolicy('table', { exhausted: 'giveUp' });
const VIEW = childPolicy('view', { exhausted: 'giveUp' });
/** Whoever asked is told that it failed, and asks again if he wants. */
const QUERY = childPolicy('query', { restart: 'temporary' });
const TENANT = childPolicy('tenant');

/**
 * Who looks after whom: the root has the journal and the tenants, in this order, so that tenants start anew when the journal
 * does; a tenant has its tables, views and queries, each for itself. Sessions and subscriptions hold no queue and are no
 * actors: they wait for what these tell.
 */
export class ActorTree {
  readonly root: Supervisor;
  readonly journal: ActorRef<JournalMessage>;
  readonly #engine: Engine;
  readonly #tenants = new Map<string, Supervisor>();
  readonly #relations = new Map<number, ActorRef<TableMessage> | ActorRef<ViewMessage>>();
  readonly #relationOfActor = new Map<number, number>();

  constructor(
    engine: Engine,
    options: {
      readonly dispatcher: Dispatcher;
      readonly clock: Clock;
      readonly random: Random;
      readonly events: SupervisionEvents;
    },
  ) {
    this.#engine = engine;
    const own = tenantId('adb');
    this.root = new Supervisor(
      { name: 'analyticdb', tenant: own, strategy: 'restForOne' },
      options,
    );
    this.journal = this.root.startChild(JOURNAL, journalActor(engine.turn, own));
  }

  /** A table or view has become part of the catalog. */
  relationMade(entry: CatalogEntry): void {
    const { id, tenant, name } = entry.definition;
    if (this.#relations.has(id)) {
      if (entry.kind === 'materializedView' && entry.view.lags)
        this.tellView(id, { kind: 'remake' });
      return;
    }
    if (entry.kind === 'table') {
      const actor = tableActor(this.#engine, id, `table ${name}`, tenantId(tenant));
      this.#looksAfter(id, this.#tenant(tenant).startChild(TABLE, actor));
    } else if (entry.kind === 'materializedView') {
      const actor = viewActor(this.#engine, entry.view, `view ${name}`, tenantId(tenant));
      this.#looksAfter(id, this.#tenant(tenant).startChild(VIEW, actor));
    }
  }

  relationGone(relation: number): void {
    const ref = this.#relations.get(relation);
    if (ref === undefined) return;
    ref.stop();
    this.#relations.delete(relation);
    this.#relationOfActor.delete(ref.id);
  }

  #looksAfter(relation: number, ref: ActorRef<TableMessage> | ActorRef<ViewMessage>): void {
    this.#relations.set(relation, ref);
    this.#relationOfActor.set(ref.id, relation);
  }

  tellTable(relation: number, message: TableMessage = UPKEEP, lane: Lane = 'bulk'): void {
    const ref = this.#relations.get(relation) as ActorRef<TableMessage> | undefined;
    if (ref?.tell(message, lane) !== 'dead' || message.kind === 'upkeep') return;
    // It was given up, and its table is to be looked after again: what it begins with is told by the recovery.
    this.#relations.delete(relation);
    this.#relationOfActor.delete(ref.id);
    const entry = this.#engine.state.catalog.byId(relation);
    if (entry?.kind === 'table') this.relationMade(entry);
  }

  tellView(relation: number, message: ViewMessage): void {
    (this.#relations.get(relation) as ActorRef<ViewMessage> | undefined)?.tell(message);
  }

  startQuery<Message extends QueryMessage | ProgressiveMessage>(
    tenant: string,
    actor: ActorSpec<Message>,
  ): ActorRef<Message> {
    return this.#tenant(tenant).startChild(QUERY, actor);
  }

  /** The relation whose actor it is. */
  relationOf(actorId: number): number | undefined {
    return this.#relationOfActor.get(actorId);
  }

  /** All of the tree, from the top. */
  infos(): ChildInfo[] {
    return [...this.root.infos()];
  }

  #tenant(tenant: string): Supervisor {
    let supervisor = this.#tenants.get(tenant);
    if (supervisor === undefined) {
      supervisor = this.root.startSupervisor({
        name: `tenant ${tenant}`,
        tenant: tenantId(tenant),
        strategy: 'oneForOne',
        policy: TENANT,
      });
      this.#tenants.set(tenant, supervisor);
    }
    return supervisor;
  }
}

const UPKEEP: TableMessage = { kind: 'upkeep' };
