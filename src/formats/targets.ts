import { DbError } from '../base/errors.ts';
import type { SqlType } from '../columns/types.ts';
import type { ReaderOptions } from './contract.ts';

type Target = { readonly name: string; readonly type: SqlType };

/**
 * The targets that a file's columns are read into: by name, exactly or else but for upper and lower case; by place where the
 * file has no names. 42703 for a column that no target has, 42701 where two are the same.
 */
export function matchTargets(
  names: readonly string[],
  targets: NonNullable<ReaderOptions['targets']>,
  options: { readonly byPlace: boolean },
): Target[] {
  if (options.byPlace) {
    if (names.length > targets.length)
      throw new DbError(
        '22P04',
        `the file has ${names.length} columns, and there is room for ${targets.length}`,
      );
    return targets.slice(0, names.length);
  }
  const seen = new Set<string>();
  return names.map((name) => {
    const target = targets.find((candidate) => candidate.name === name) ?? onlyOneOf(targets, name);
    if (target === undefined) {
      throw new DbError('42703', `column "${name}" of the file does not exist in the table`, {
        column: name,
        hint: `The table has ${targets.map((candidate) => `"${candidate.name}"`).join(', ')}.`,
      });
    }
    if (seen.has(target.name))
      throw new DbError('42701', `column "${target.name}" appears twice in the file`, {
        column: target.name,
      });
    seen.add(target.name);
    return target;
  });
}

function onlyOneOf(targets: readonly Target[], name: string): Target | undefined {
  const lower = name.trim().toLowerCase();
  const alike = targets.filter((candidate) => candidate.name.toLowerCase() === lower);
  return alike.length === 1 ? alike[0] : undefined;
}

/** Names for a file's columns: blanks filled, repetitions numbered, as `column0`, `a`, `a_1`. */
export function uniqueNames(names: readonly string[]): string[] {
  const seen = new Set<string>();
  return names.map((given, index) => {
    const base = given.trim() === '' ? `column${index}` : given.trim();
    let name = base;
    for (let count = 1; seen.has(name); count += 1) name = `${base}_${count}`;
    seen.add(name);
    return name;
  });
}
