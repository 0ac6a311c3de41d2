/**
 * The load of `kill-journal.mjs`: what a writer does next, and what that does to its rows. Pure, so that the parent, which is the oracle,
 * knows what the child's database must hold without asking it.
 */

/** Small, so that a step repeats exactly. */
export function seeded(seed) {
  let state = seed >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

const REGIONS = ['north', 'south', 'east', 'west', 'süd'];
const ROWS_KEPT = 120;

/** State of a writer: its rows by id, and the next id. */
export const emptyWriter = () => ({ next: 0, rows: new Map() });

/** The next thing a writer does; ids are its own. */
export function nextOperation(writer, number, random) {
  const base = writer.index * 10_000_000;
  const ids = [...writer.state.rows.keys()];
  const fresh = (count) =>
    Array.from({ length: count }, (_, at) => ({
      id: base + writer.state.next + at,
      region: REGIONS[random(REGIONS.length)],
      amount: random(1_000),
    }));
  if (ids.length > ROWS_KEPT) return { kind: 'delete', number, ids: ids.slice(0, ids.length - 20) };
  const some = ids.filter(() => random(3) === 0).slice(0, 12);
  switch (some.length === 0 ? 0 : random(5)) {
    case 1:
      return { kind: 'update', number, ids: some, add: 1 + random(50) };
    case 2:
      return {
        kind: 'upsert',
        number,
        rows: [...some.slice(0, 3).map((id) => ({ id, region: 'moved', amount: 7 })), ...fresh(2)],
      };
    case 3:
      // One commit of three statements.
      return { kind: 'transaction', number, rows: fresh(4), ids: some, add: 5 };
    default:
      return { kind: 'insert', number, rows: fresh(1 + random(15)) };
  }
}

/** The writer's state after an operation; the one before is left as it is. */
export function after(state, operation) {
  const rows = new Map(state.rows);
  let { next } = state;
  const put = (row) => {
    rows.set(row.id, { region: row.region, amount: row.amount });
    next = Math.max(next, (row.id % 10_000_000) + 1);
  };
  const add = (ids, amount) => {
    for (const id of ids) {
      const row = rows.get(id);
      if (row !== undefined) rows.set(id, { ...row, amount: row.amount + amount });
    }
  };
  switch (operation.kind) {
    case 'insert':
    case 'upsert':
      operation.rows.forEach(put);
      break;
    case 'update':
      add(operation.ids, operation.add);
      break;
    case 'delete':
      for (const id of operation.ids) rows.delete(id);
      break;
    case 'transaction':
      operation.rows.forEach(put);
      add(operation.ids, operation.add);
      break;
  }
  return { next, rows };
}

/** Writer 0 gives each insert a key, and sends it again when it does not know what became of it. */
export const keyOf = (writerIndex, operation) => `${writerIndex}/${operation.number}`;

export function textOf(state) {
  return JSON.stringify(
    [...state.rows].sort(([a], [b]) => a - b).map(([id, row]) => [id, row.region, row.amount]),
  );
}
