import { typeName, type SqlType } from '../columns/types.ts';

/** Under this key files of ours say what a column is in SQL, where the format's own types are wider. */
export const TYPE_KEY = 'analyticdb:type';

/** What a column is called there; undefined where the format says it as well. */
export function nameForFile(type: SqlType): string | undefined {
  switch (type.kind) {
    case 'numeric':
    case 'interval':
    case 'uuid':
    case 'varchar':
    case 'bpchar':
    case 'int2':
      return typeName(type);
    default:
      return undefined;
  }
}

/** The type that a name stands for; undefined where there is none, or where it does not fit what the file holds. */
export function typeFromName(name: string | undefined, found: SqlType): SqlType | undefined {
  if (typeof name !== 'string') return undefined;
  const match = /^([a-z ]+)(?:\((\d+)(?:,(\d+))?\))?$/.exec(name);
  const first = match?.[2] === undefined ? undefined : Number(match[2]);
  const isText = found.kind === 'text';
  switch (match?.[1]) {
    case 'smallint':
      return found.kind === 'int4' || found.kind === 'int2' ? { kind: 'int2' } : undefined;
    case 'numeric':
      if (!isText && found.kind !== 'numeric') return undefined;
      return first === undefined
        ? { kind: 'numeric' }
        : { kind: 'numeric', precision: first, scale: Number(match?.[3] ?? 0) };
    case 'interval':
      return isText || found.kind === 'interval' ? { kind: 'interval' } : undefined;
    case 'uuid':
      return isText || found.kind === 'uuid' ? { kind: 'uuid' } : undefined;
    case 'character varying':
      return isText
        ? { kind: 'varchar', ...(first === undefined ? {} : { length: first }) }
        : undefined;
    case 'character':
    case 'bpchar':
      return isText
        ? { kind: 'bpchar', ...(first === undefined ? {} : { length: first }) }
        : undefined;
    default:
      return undefined;
  }
}
