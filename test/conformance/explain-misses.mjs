/**
 * Says of each record that failed why it did:
 *
 * - `refused`: the statement was refused with 0A000;
 * - `follows`: it names something that a refused statement of its file would have made or changed, or stands in the transaction
 *   that a refusal has ended;
 * - `known`: known-misses.json gives the reason;
 * - `unexplained`: none of these.
 */
export function explainMisses(failures, known) {
  const byFile = new Map();
  for (const failure of failures) {
    const file = failure.file.split('/').at(-1);
    if (!byFile.has(file)) byFile.set(file, []);
    byFile.get(file).push({ ...failure, file });
  }
  return [...byFile.values()].flatMap((records) => {
    const tainted = new Set();
    return records.map((record) => {
      const why = reasonOf(record, tainted, known);
      if (why.kind !== 'unexplained') for (const name of namesIn(record.sql)) tainted.add(name);
      return { ...record, ...why };
    });
  });
}

function reasonOf({ file, line, sql, reason }, tainted, known) {
  const refusal = /\b0A000: (.*)/.exec(reason)?.[1];
  if (refusal !== undefined) return { kind: 'refused', text: refusal };
  const place = `${file}:${line}`;
  const entry = known.find(({ places, pattern }) =>
    places === undefined ? new RegExp(pattern, 's').test(`${file} ${sql}`) : places.includes(place),
  );
  if (entry !== undefined) return { kind: 'known', text: entry.why };
  const isAborted = /\b25P02\b/.test(reason);
  if (tainted.size > 0 && (isAborted || wordsOf(sql).some((word) => tainted.has(word))))
    return { kind: 'follows', text: 'follows from a refusal in the same file' };
  return { kind: 'unexplained', text: reason.replaceAll(/\s+/g, ' ').slice(0, 160) };
}

function wordsOf(sql) {
  return sql.toLowerCase().match(/[a-z_][a-z0-9_$]*/g) ?? [];
}

/** What stands where a statement names tables, views, indexes, functions and the like. */
function namesIn(sql) {
  const text = sql.toLowerCase();
  const names = [];
  const naming =
    /\b(?:table|into|from|update|join|view|index|function|procedure|sequence|type|domain|trigger|rule|policy|prepare|execute|constraint|only|on|references|using|setting|set|select|truncate|cascade)\s+(?:if\s+(?:not\s+)?exists\s+)?(?:concurrently\s+)?((?:[a-z_][a-z0-9_$.]*\s*,\s*)*[a-z_][a-z0-9_$.]*)/g;
  for (const [, list] of text.matchAll(naming))
    for (const name of list.split(',')) names.push(...name.trim().split('.'));
  return names.filter((name) => name.length > 0 && !COMMON.has(name));
}

const COMMON = new Set(
  (
    'select from where values set table into only on using as and or not exists null true false if temp temporary unique ' +
    'row rows lateral distinct all count max min sum avg each update delete insert conflict do nothing cascade restrict ' +
    'int4_tbl int8_tbl float8_tbl text_tbl varchar_tbl char_tbl int2_tbl tenk1 tenk2 onek onek2 generate_series id a b c i j k v x y'
  ).split(' '),
);
