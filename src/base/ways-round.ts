/**
 * Of what is not supported, by the words it is refused with: what does the same, or why it can be left out. Whoever refuses something says the way
 * round himself where he knows more than these words.
 */
export function wayRound(what: string): string {
  return WAYS.find(([words]) => words.test(what))?.[1] ?? 'docs/sql.md tells what there is.';
}

const IN_A_WITH =
  'Return the columns from a WITH, and ask beside them: WITH changed AS (UPDATE … RETURNING …) SELECT … FROM changed.';

const ARRAYS =
  'Arrays are parameters and constants only, as in = ANY ($1): keep a row for each element, or use string_agg.';

const WAYS: readonly (readonly [RegExp, string])[] = [
  [/^a subquery in RETURNING/, IN_A_WITH],
  [
    /^a subquery in ON CONFLICT/,
    'Join what it asks for into the SELECT that INSERT takes its rows from, and use excluded.',
  ],
  [/^a subquery in (DEFAULT|CHECK|an index)/, 'Compute it where the row is written.'],
  [
    /^a subquery in an aggregate/,
    'Compute it for each row in a subquery in FROM, and aggregate that.',
  ],
  [/^a subquery in a row/, 'Compare the columns one by one, with AND.'],
  [/^a subquery in the ON of/, 'Put it into WHERE of a subquery in FROM, and join with that.'],
  [/^a subquery (in|of this form)/, 'Put it into FROM, and name its column here.'],
  [
    /^this expression of the outer query/,
    'Compute it in a subquery in FROM, and name that column in the inner one.',
  ],
  [/^ON CONFLICT … WHERE/, 'Leave WHERE out: every unique index is of all rows.'],
  [
    /^ON CONFLICT on anything/,
    'Name the columns of a unique index or primary key, or ON CONSTRAINT.',
  ],
  [/^ON COMMIT/, 'Leave it out, and TRUNCATE or DROP the table in the transaction.'],
  [/^(SET|INSERT into|INSERT) .*part of a column/, 'Write the whole value.'],
  [/^ORDER BY … USING/, 'Write ASC or DESC.'],
  [/ BY of this form/, 'Order by an expression with ASC or DESC, NULLS FIRST or LAST.'],
  [/^GROUPING\(\)/, 'Unite one query for each set of keys with UNION ALL.'],
  [/^VARIADIC/, 'Write the arguments one by one.'],
  [
    /whole row|composite|a row value|operator .* between rows|comparing a row/,
    'Name the columns one by one.',
  ],
  [
    /^(rank|dense_rank|percent_rank|cume_dist)\(\) as an aggregate/,
    'Count the rows that come before: count(*) FILTER (WHERE …).',
  ],
  [
    /as an aggregate/,
    'Sort in a subquery in FROM, and number or compare the rows where they are shown.',
  ],
  [/^ALTER SEQUENCE/, 'Set its value with setval(), or drop it and create it again.'],
  [/^set_config/, 'Use SET, or SET LOCAL.'],
  [
    /^(has_\w+_privilege|format_type|current_schemas)/,
    'information_schema and adb.tables tell what there is.',
  ],
  [/^type .*\[\]|array|ARRAY|unnest/, ARRAYS],
  [/^type /, 'docs/sql.md lists the types; what is none of them can be kept as text.'],
  [/TABLESAMPLE/, 'Use db.progressive for estimates.'],
  [/^SEARCH and CYCLE/, 'Carry the path, or the depth, as a column of the recursive query.'],
  [/^ROWS FROM/, 'Use one generate_series, and compute the other columns from its value.'],
  [/column definition list/, 'Only generate_series stands in FROM.'],
  [/XMLTABLE|JSON_TABLE|xml|XML/, 'Take the document apart before it is loaded.'],
  [/json/i, 'Keep the fields as columns; db.load makes columns of JSON.'],
  [/^SELECT INTO with/, 'Use CREATE TABLE … AS SELECT.'],
  [/^CREATE TABLE AS (EXECUTE|of a)/, 'Write the SELECT itself.'],
  [
    /TABLE ?SPACE|STORAGE|COMPRESSION|CLUSTER|LOGGED|STATISTICS/,
    'Leave it out: rows lie in memory, and the layout is found by itself.',
  ],
  [
    /^(VACUUM|ANALYZE|REINDEX)/,
    'Leave it out: tables tidy up, and count their values, by themselves.',
  ],
  [
    /^ALTER TABLE … OWNER|ROLE|ROW SECURITY|POLICY/i,
    'Whoever may ask is decided by tenant and GRANT: docs/decisions/0007-who-may-ask.md.',
  ],
  [/SET SCHEMA/, 'CREATE TABLE … AS SELECT in the other schema, and drop this one.'],
  [/IDENTITY/, 'Add a column GENERATED … AS IDENTITY, copy the values, and drop the old one.'],
  [
    /INHERIT|PARTITION|OF TYPE/i,
    'One table holds all rows: time is found by zone maps, and retention drops what is old.',
  ],
  [/NOT VALID|VALIDATE/, 'Add the constraint without it: the rows there are are tested at once.'],
  [
    /deferrable|DEFERR|CONSTRAINTS|ALTER CONSTRAINT/i,
    'Leave it out: a constraint is tested by each statement, when all of its rows are there.',
  ],
  [
    /exclusion constraint/,
    'Test for a conflicting row in the transaction that inserts: db.transaction is serializable.',
  ],
  [/USING INDEX/, 'Add the constraint by its columns.'],
  [/MATCH |foreign/i, 'Leave the constraint out; joins do not need it.'],
  [/NULLS NOT DISTINCT/, 'Use NOT NULL with a value that stands for none.'],
  [
    /COLLATE|collation|operator of another schema/i,
    'Leave it out: texts are ordered by their bytes.',
  ],
  [
    /TRIGGER|RULE|FUNCTION|PROCEDURE|^CALL|^DO\b|LANGUAGE|AGGREGATE/,
    'Write it in your program, around db.transaction; materialized views follow changes by themselves.',
  ],
  [/LISTEN|NOTIFY/, 'Use db.subscribe, or GET /v1/live.'],
  [/COPY/, 'Use db.load and db.export, or POST /v1/tables/{t}/rows.'],
  [/CURSOR|FETCH|MOVE/i, 'Use db.stream, which reads as fast as rows are taken.'],
  [/^LOCK/, 'Use SELECT … FOR UPDATE, or db.transaction, which is serializable.'],
  [/^MERGE/, 'Use INSERT … ON CONFLICT … DO UPDATE.'],
  [/two-phase|PREPARE TRANSACTION/, 'Commit here last, when the others have.'],
  [/TRANSACTION SNAPSHOT/, 'Read as of a position: { asOf }.'],
  [/FROM CURRENT/, 'Write the value.'],
  [/RETURNING WITH/, IN_A_WITH],
  [/DEFAULT in this place/, 'Write the value, or leave the column out.'],
  [/CHECK OPTION|^options of a view/, 'Leave it out: views are only read.'],
  [/RENAME COLUMN of a view/, 'CREATE OR REPLACE VIEW with the new name.'],
  [
    /^RENAME of|^ALTER (MATERIALIZED VIEW )?of this form|^ALTER/,
    'Make another with the name or form wanted, and drop this one.',
  ],
  [/WITH NO DATA/, 'Leave it out: a view is filled when it is made.'],
  [/GRANT on/, 'GRANT SELECT on a table or view, whole; a view can show some columns.'],
  [/^CREATE SCHEMA with/, 'Create the schema, then what is in it.'],
  [/DATABASE/, "A tenant begins with its first table: db.as({ tenant: '…' })."],
  [
    /EXTENSION|OPERATOR|CAST|DOMAIN|^CREATE TYPE|TYPE/,
    'Use the types and functions there are (docs/sql.md); a CHECK narrows a column.',
  ],
  [/intervalstyle|datestyle/i, 'Values look as in ISO always; to_char makes other texts.'],
  [/SUBSCRIBE/, 'Use db.subscribe, or GET /v1/live.'],
  [
    /of another database|another tenant/,
    'Ask in a session of that tenant; GRANT lets others read.',
  ],
  [/inside a transaction$/, 'Send it outside of the transaction.'],
  [/that changes data/, 'Run the change first, and ask then.'],
  [/taking rows back/, 'Use CREATE VIEW, which computes it when it is read.'],
  [/in a materialized view/, 'Use CREATE VIEW, which computes it when it is read.'],
];
