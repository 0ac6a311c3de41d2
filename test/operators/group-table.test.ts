import { expect, test } from 'vitest';
import { MemoryAccount } from '../../src/base/memory.ts';
import { datumAt, vectorFromData } from '../../src/columns/build.ts';
import type { SqlType } from '../../src/columns/types.ts';
import type { Vector } from '../../src/columns/vector.ts';
import { GroupTable } from '../../src/operators/group-table.ts';

const TEXT: SqlType = { kind: 'text' };
const ROWS = 500;

const keysFrom = (types: readonly SqlType[], from: number): Vector[] =>
  types.map((type, column) =>
    vectorFromData(
      type,
      Array.from({ length: ROWS }, (_, nth) =>
        type.kind === 'text' ? `${column} ${from + nth}` : (from + nth) % 2 === 0,
      ),
    ),
  );

const textOf = (vectors: readonly Vector[]): string =>
  JSON.stringify(
    vectors.map((vector) => Array.from({ length: ROWS }, (_, row) => datumAt(vector, row))),
  );

// A view that refused a commit goes on with its groups.
test.each([
  ['a text', [TEXT]],
  ['a text and a boolean', [TEXT, { kind: 'boolean' }]],
  ['two texts', [TEXT, TEXT]],
] as const)('keys that met a want of memory are told apart as if they had not: %s', (_, types) => {
  let failures = 0;
  for (let room = 0; room < 300_000; room += 7777) {
    const memory = new MemoryAccount('test');
    const table = new GroupTable(types, memory);
    const before = table.intern(keysFrom(types, 0), ROWS).slice(0, ROWS);
    memory.limitBytes = memory.usedBytes + room;
    try {
      for (let from = ROWS; from < 8 * ROWS; from += ROWS)
        table.intern(keysFrom(types, from), ROWS);
    } catch (cause) {
      expect(cause).toMatchObject({ code: '53200' });
      failures += 1;
    }
    memory.limitBytes = Infinity;
    const after = table.intern(keysFrom(types, 0), ROWS).slice(0, ROWS);
    expect(String(after)).toBe(String(before));
    const met = new Set<number>();
    for (let from = 0; from < 8 * ROWS; from += ROWS) {
      const keys = keysFrom(types, from);
      const groups = table.intern(keys, ROWS).slice(0, ROWS);
      for (const group of groups) met.add(group);
      expect(textOf(table.keys(groups, ROWS))).toBe(textOf(keys));
    }
    expect(met.size).toBe(8 * ROWS);
    table.close();
    expect(memory.usedBytes).toBe(0);
  }
  expect(failures).toBeGreaterThan(5);
});
