/** PostgreSQL 18's keywords that may not stand everywhere as a name; all others are unreserved. */
const NOT_UNRESERVED = new Set(
  // Reserved.
  (
    'all analyse analyze and any array as asc asymmetric both case cast check collate column constraint create ' +
    'current_catalog current_date current_role current_time current_timestamp current_user default deferrable desc ' +
    'distinct do else end except false fetch for foreign from grant group having in initially intersect into lateral ' +
    'leading limit localtime localtimestamp not null offset on only or order placing primary references returning ' +
    'select session_user some symmetric system_user table then to trailing true union unique user using variadic when ' +
    'where window with ' +
    // Names of functions and types only.
    'authorization binary collation concurrently cross current_schema freeze full ilike inner is isnull join left like ' +
    'natural notnull outer overlaps right similar tablesample verbose ' +
    // Names of columns only.
    'between bigint bit boolean char character coalesce dec decimal exists extract float greatest grouping inout int ' +
    'integer interval json json_array json_arrayagg json_exists json_object json_objectagg json_query json_scalar ' +
    'json_serialize json_table json_value least merge_action national nchar none normalize nullif numeric out overlay ' +
    'position precision real row setof smallint substring time timestamp treat trim values varchar xmlattributes ' +
    'xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable'
  ).split(' '),
);

/** Keywords that people mistype, the likeliest first where two are equally near. */
export const COMMON_KEYWORDS: readonly string[] = (
  'select from where group by order having limit offset join left right inner full outer cross on using as and or not ' +
  'in is null between like ilike case when then else end distinct union all intersect except with recursive values ' +
  'insert into update set delete create table view materialized index drop alter add column rename to primary key ' +
  'unique references foreign check default constraint if exists cast interval returning conflict do nothing begin ' +
  'commit rollback savepoint explain analyze truncate refresh show over partition rows range preceding following ' +
  'unbounded current row filter within asc desc nulls first last true false lateral natural schema grant revoke ' +
  'prepare execute transaction isolation level replace'
).split(' ');

/** A name as it stands in SQL: quoted where it must be, as PostgreSQL's quote_ident decides it. */
export function quoteName(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) && !NOT_UNRESERVED.has(name)
    ? name
    : `"${name.replaceAll('"', '""')}"`;
}

export function quoteText(value: string): string {
  return `'${value.replaceAll("'", "''")}'`;
}
