import { DbError } from '../../src/base/errors.ts';

type Refusal = (action: Promise<unknown>) => Promise<string>;

/** How the error of a refused action reads; 'nothing' where it was not refused. What is no DbError is thrown. */
function refusalAs(textOf: (cause: DbError) => string): Refusal {
  return async (action) => {
    try {
      await action;
    } catch (cause) {
      if (!(cause instanceof DbError)) throw cause;
      return textOf(cause);
    }
    return 'nothing';
  };
}

export const refusal = refusalAs(({ code, message }) => `${code}: ${message}`);

export const refusalOfField = refusalAs(
  ({ code, field, message, hint }) => `${code} ${field ?? ''}: ${message} | ${hint ?? ''}`,
);

export const refusalInFull = refusalAs(
  ({ code, message, detail, hint }) => `${code}: ${message} | ${detail ?? ''} | ${hint ?? ''}`,
);
