import { untilSettled } from './deadline.ts';

/** Those who want the same of a relation, one after the other in the order they came. */
export class WaitingLines {
  /** When the last of each line leaves. */
  readonly #last = new Map<number, Promise<void>>();

  isEmpty(relation: number): boolean {
    return !this.#last.has(relation);
  }

  /** Resolves when whoever came before has left, with what one leaves by; 57014 where that is given up. */
  async stand(relation: number, signal: AbortSignal | undefined): Promise<() => void> {
    const before = this.#last.get(relation);
    let leave!: () => void;
    const own = new Promise<void>((resolve) => {
      leave = resolve;
    });
    const last = before === undefined ? own : before.then(() => own);
    this.#last.set(relation, last);
    const left = (): void => {
      leave();
      if (this.#last.get(relation) === last) this.#last.delete(relation);
    };
    try {
      if (before !== undefined) await untilSettled(before, signal);
    } catch (cause) {
      left();
      throw cause;
    }
    return left;
  }
}
