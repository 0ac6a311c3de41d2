import type { CommitLog } from '../../src/actors/commit-turn.ts';

/** A log that acknowledges when it is told to. */
export class LateLog implements CommitLog {
  readonly #outcomes: { acknowledged(position: number): void; failed(cause: unknown): void }[] = [];
  held = false;
  #position = 0;

  append(...[, , outcome]: Parameters<CommitLog['append']>): void {
    this.#outcomes.push(outcome);
    if (!this.held) this.acknowledge();
  }

  acknowledge(): void {
    for (const outcome of this.#outcomes.splice(0)) {
      this.#position += 1;
      outcome.acknowledged(this.#position);
    }
  }

  fail(): void {
    for (const outcome of this.#outcomes.splice(0)) outcome.failed(new Error('the disk is gone'));
  }

  get waiting(): number {
    return this.#outcomes.length;
  }
}
