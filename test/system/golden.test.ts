/** Journals that released versions have written give, for ever, what they gave then. */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { open } from '../../src/index.ts';
import { RECORD_SCHEMA_VERSION } from '../../src/actors/records.ts';

const golden = join(import.meta.dirname, 'golden');
const versions = readdirSync(golden).filter((name) => /^v\d+$/.test(name));
const { contentOf } = (await import(join(golden, 'content.mjs'))) as {
  contentOf(db: unknown): Promise<unknown>;
};

test('every version of records has its corpus', () => {
  expect(versions.length).toBe(RECORD_SCHEMA_VERSION);
});

test.each(versions)('the journal of %s gives what it gave', async (version) => {
  const dir = mkdtempSync(join(tmpdir(), 'adb-golden-'));
  try {
    cpSync(join(golden, version), dir, { recursive: true });
    const expected: unknown = JSON.parse(readFileSync(join(dir, 'content.json'), 'utf8'));
    const options = { workers: 0, journal: { kind: 'file', dir } } as const;
    let db = await open(options);
    expect(await contentOf(db)).toEqual(expected);
    const { position } = db;
    expect((await db.insert('many', { id: -1 }, { idempotencyKey: 'a delivery' })).rows).toBe(300);
    expect(
      (await db.as({ tenant: 'acme' }).query('SELECT count(*) AS n FROM sums')).rows,
    ).toHaveLength(1);
    await expect(db.as({ tenant: 'acme' }).query('SELECT * FROM many')).rejects.toMatchObject({
      code: '42P01',
    });
    expect(db.position).toBe(position);
    expect((await db.query("SELECT nextval('q') AS n")).rows).toEqual([{ n: 8 }]);
    // Through a snapshot of today's, too.
    await db.checkpoint();
    await db.close();
    db = await open(options);
    expect(await contentOf(db)).toEqual({ ...(expected as object), position: db.position });
    await db.close();
  } finally {
    rmSync(dir, { recursive: true });
  }
});
