import { DbError } from '../base/errors.ts';
import type { Clock } from '../base/ports.ts';
import type { Cancelable } from './api-types.ts';

/** One signal for a caller's own signal and its time limit; either ends the call with 57014. `done` lets both go. */
export function deadline(
  clock: Clock,
  options: Cancelable,
): { readonly signal: AbortSignal | undefined; readonly done: () => void } {
  const { signal, timeoutMs } = options;
  if (timeoutMs === undefined || timeoutMs === 0) return { signal, done: () => undefined };
  if (!(timeoutMs > 0))
    throw new DbError('22023', '"timeoutMs" is not a positive number', { field: 'timeoutMs' });
  const controller = new AbortController();
  const timer = clock.after(timeoutMs, () =>
    controller.abort(
      new DbError('57014', 'canceling statement due to statement timeout', {
        hint: 'Narrow the query, or give it a longer timeoutMs.',
      }),
    ),
  );
  const forward = (): void => controller.abort(signal!.reason);
  if (signal?.aborted === true) forward();
  signal?.addEventListener('abort', forward, { once: true });
  return {
    signal: controller.signal,
    done: () => {
      timer.cancel();
      signal?.removeEventListener('abort', forward);
    },
  };
}
