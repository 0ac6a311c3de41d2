/**
 * The in-process adapter for sqllogictest runners: `open() → { name, run(sql, connection?), reset(), close(), errorCode(error) }`.
 * Values as PostgreSQL prints them, except booleans: true and false. Messages begin with their SQLSTATE, so that a runner's
 * list of failures says which are refusals. What broke inside is written, one JSON a line, to the file that
 * ADB_CONFORMANCE_CRASHES names: a runner that expects an error cannot tell a crash from one.
 */
import { appendFileSync } from 'node:fs';

const { open: openDatabase } = await import(
  process.env.ANALYTICDB_DIST ?? '../../dist/src/index.js'
);
const crashFile = process.env.ADB_CONFORMANCE_CRASHES;

export async function open() {
  let database = await openDatabase({ memory: '4 GB' });
  let sessions = new Map();
  const sessionOf = (name) => {
    let session = sessions.get(name);
    if (session === undefined) {
      session = database.session();
      sessions.set(name, session);
    }
    return session;
  };
  return {
    name: 'analyticdb',
    async run(sql, connection = 'default') {
      const result = await sessionOf(connection)
        .query(sql, { format: 'text' })
        .catch((error) => {
          throw labelled(error, sql);
        });
      const booleans = result.columns.map(({ type }) => type === 'boolean');
      const rows = result.rows.map((row) =>
        row.map((value, column) =>
          booleans[column] && value !== null ? (value === 't' ? 'true' : 'false') : value,
        ),
      );
      return { columns: result.columns, rows, rowCount: result.rowCount };
    },
    async reset() {
      await database.close();
      database = await openDatabase({ memory: '4 GB' });
      sessions = new Map();
    },
    async close() {
      await database.close();
    },
    errorCode: (error) => error.code,
    cancel: () => undefined,
  };
}

function labelled(error, sql) {
  const code = error.name === 'DbError' ? error.code : 'XX000';
  if (code.startsWith('XX') && crashFile !== undefined)
    appendFileSync(crashFile, `${JSON.stringify({ sql, stack: error.stack ?? error.message })}\n`);
  return Object.assign(new Error(`${code}: ${error.message}`, { cause: error }), { code });
}
