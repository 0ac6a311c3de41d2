import type { Format } from './contract.ts';

/** By the ending, of a packed file by the one before `.gz`. */
export function formatOfName(name: string | undefined): Format | undefined {
  const ending =
    name === undefined
      ? undefined
      : /\.([a-z]+)(?:\.gz)?(?:[?#].*)?$/i.exec(name)?.[1]?.toLowerCase();
  switch (ending) {
    case 'csv':
    case 'tsv':
      return 'csv';
    case 'ndjson':
    case 'jsonl':
      return 'ndjson';
    case 'json':
      return 'json';
    case 'parquet':
    case 'pq':
      return 'parquet';
    case 'arrow':
    case 'arrows':
    case 'feather':
      return 'arrow';
    default:
      return undefined;
  }
}
