/**
 * The in-process adapter for sqllogictest runners: `open() → { name, run(sql, connection?), reset(), close(), errorCode(error) }`.
 * Values as PostgreSQL prints them, except booleans: true and false.
 */
const { open: openDatabase } = await import(
  process.env.ANALYTICDB_DIST ?? '../../dist/src/index.js'
);

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
      const result = await sessionOf(connection).query(sql, { format: 'text' });
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
