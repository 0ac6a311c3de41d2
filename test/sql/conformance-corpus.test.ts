import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { printDml } from '../../src/sql/print.ts';
import { bare, parser, unsupportedIn } from './parsed.ts';

const folder = join(process.env['CONFORMANCE_DIR'] ?? '../shared/conformance', 'slt');

/** The SQL of an sqllogictest file's records, and whether an error is expected of it. */
function recordsOf(text: string): { readonly sql: string; readonly fails: boolean }[] {
  return text.split(/\n\s*\n/).flatMap((record) => {
    const lines = record
      .split('\n')
      .filter((line) => !/^\s*(#|skipif|onlyif|connection)/.test(line));
    const [head = '', ...rest] = lines;
    if (!/^(statement|query)\b/.test(head)) return [];
    const end = rest.indexOf('----');
    return [
      {
        sql: (end === -1 ? rest : rest.slice(0, end)).join('\n'),
        fails: head.startsWith('statement error'),
      },
    ];
  });
}

test.runIf(existsSync(folder))(
  'real SQL parses, nearly all of it is supported, and every tree prints to itself',
  () => {
    const count = { all: 0, supported: 0, printed: 0 };
    for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
      if (!name.endsWith('.slt')) continue;
      const records = recordsOf(readFileSync(join(folder, name), 'utf8'));
      // Some files hold thousands of generated queries of one shape.
      const stride = Math.ceil(records.length / 50);
      for (const [index, { sql, fails }] of records.entries()) {
        if (fails || index % stride !== 0) continue;
        for (const { statement } of parser.parse(sql)) {
          count.all += 1;
          if (unsupportedIn(statement).length > 0) continue;
          count.supported += 1;
          if (!['query', 'insert', 'update', 'delete'].includes(statement.kind)) continue;
          const printed = printDml(statement);
          if (
            JSON.stringify(bare(parser.parse(printed)[0]?.statement)) !==
            JSON.stringify(bare(statement))
          )
            expect(printed).toBe(sql);
          count.printed += 1;
        }
      }
    }
    expect(count.all).toBeGreaterThan(5000);
    expect(count.supported / count.all).toBeGreaterThan(0.98);
    expect(count.printed).toBeGreaterThan(3000);
  },
);
