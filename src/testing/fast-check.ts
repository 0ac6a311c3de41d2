import { DbError } from '../base/errors.ts';

type FastCheck = typeof import('fast-check');

/** Not a dependency: who tests with arbitraries has it, and everything else of the kit works without. */
const loaded: FastCheck | undefined = await import('fast-check').catch(() => undefined);

/** fast-check, as the user has installed it. */
export function fastCheck(): FastCheck {
  if (loaded !== undefined) return loaded;
  throw new DbError('58P01', 'fast-check is not installed: arbitraries are made with it', {
    hint: 'npm install --save-dev fast-check',
  });
}
