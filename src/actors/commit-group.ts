import type { InstantMs } from '../base/units.ts';
import type { CommitRequest } from './commit-turn.ts';
import type { Operation } from './records.ts';

/** Rows of a group: with its views it should end within a step, and what it holds in the mailbox stays small. */
const GROUP_ROWS_MAX = 256;
/** Requests of a group: as many as a step takes messages. */
const GROUP_REQUESTS_MAX = 64;

/** A commit on its way to the commit turn. While it waits in the mailbox, small writes of the same table join it. */
export class CommitMessage {
  readonly kind = 'commit';
  readonly #first: CommitRequest;
  /** Those that joined, in the order they came. */
  #joined: CommitRequest[] | undefined;
  /** Rows of all of them; Infinity where nobody may join, or not any more. */
  #rowCount: number;

  constructor(request: CommitRequest, rowCount = Infinity) {
    this.#first = request;
    this.#rowCount = rowCount;
  }

  get isJoinable(): boolean {
    return this.#rowCount < GROUP_ROWS_MAX;
  }

  /** Takes a small write of the same table along; false where it has to go by itself. */
  join(request: CommitRequest, rowCount = Infinity): boolean {
    const first = this.#first;
    if (
      this.#rowCount + rowCount > GROUP_ROWS_MAX ||
      (this.#joined !== undefined && this.#joined.length + 2 > GROUP_REQUESTS_MAX) ||
      first.tenant !== request.tenant ||
      first.relations[0] !== request.relations[0]
    )
      return false;
    if (this.#joined === undefined) this.#joined = [request];
    else this.#joined.push(request);
    this.#rowCount += rowCount;
    return true;
  }

  /** What the commit turn is to do: nobody joins any more. */
  take(): CommitRequest {
    this.#rowCount = Infinity;
    return this.#joined === undefined
      ? this.#first
      : new CommitGroup([this.#first, ...this.#joined]);
  }

  failed(cause: unknown): void {
    this.#rowCount = Infinity;
    this.#first.failed(cause);
    for (const each of this.#joined ?? []) each.failed(cause);
  }
}

/**
 * Several writes of one table that waited for the turn at the same time: staged one after the other, each upon the rows that those before
 * it leave, and then one commit: one record, one position, one change of each view and for each subscriber. What a commit costs beside its
 * rows is paid once. The turn takes it apart where it does not succeed as a whole.
 */
class CommitGroup implements CommitRequest {
  readonly tenant: string;
  readonly ephemeral = false;
  readonly settled = false;
  readonly relations: readonly number[];
  readonly #members: CommitRequest[];

  constructor(members: CommitRequest[]) {
    const [first] = members;
    this.tenant = first!.tenant;
    this.relations = first!.relations;
    this.#members = members;
  }

  get members(): readonly CommitRequest[] {
    return this.#members;
  }

  leave(member: CommitRequest): boolean {
    if (this.#members.length === 1) return false;
    this.#members.splice(this.#members.indexOf(member), 1);
    return true;
  }

  *prepare(): Generator<Operation> {
    for (const member of this.#members) yield* member.prepare();
  }

  committed(position: number, instant: InstantMs, work: number): void {
    for (const member of this.#members) member.committed(position, instant, work);
  }

  failed(cause: unknown): void {
    for (const member of this.#members) member.failed(cause);
  }
}
