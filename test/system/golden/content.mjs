/** What a database holds, as text that does not depend on how it is described elsewhere. Rows of tables in order, those of views as a bag. */
export async function contentOf(db) {
  const relations = {};
  for (const { schema, name, kind } of db.describe()) {
    const { columns, rows } = await db.query(`SELECT * FROM ${schema}."${name}"`, {
      format: 'text',
    });
    const texts = rows.map((row) => row.map((value) => value ?? '∅').join(' | '));
    relations[`${schema}.${name}`] = {
      kind,
      columns: columns.map((column) => `${column.name} ${column.type}`),
      rows: kind === 'table' ? texts : texts.sort(),
    };
  }
  return { position: db.position, relations };
}
