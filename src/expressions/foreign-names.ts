/** Functions as other databases call them, and what is written here. */
const FUNCTIONS: ReadonlyMap<string, string> = new Map([
  ...['if', 'iif'].map((name) => [name, 'CASE WHEN … THEN … ELSE … END'] as const),
  ...['ifnull', 'nvl', 'isnull'].map((name) => [name, 'coalesce(a, b)'] as const),
  ...['getdate', 'sysdate', 'curdate', 'current_datetime'].map((name) => [name, 'now()'] as const),
  ...['year', 'quarter', 'month', 'week', 'day', 'hour', 'minute', 'second', 'dayofweek'].map(
    (name) => [name, `extract(${name === 'dayofweek' ? 'dow' : name} FROM …)`] as const,
  ),
  ...['date_add', 'dateadd', 'date_sub', 'adddate', 'subdate'].map(
    (name) => [name, "… + interval '1 day'"] as const,
  ),
  ...['datediff', 'date_diff', 'timestampdiff'].map(
    (name) => [name, 'b - a, or age(b, a)'] as const,
  ),
  ...['date_format', 'strftime', 'format_date'].map((name) => [name, 'to_char(…, …)'] as const),
  ...['str_to_date', 'strptime', 'parse_date'].map((name) => [name, 'to_date(…, …)'] as const),
  ...['group_concat', 'listagg'].map((name) => [name, "string_agg(…, ',')"] as const),
  ...['charindex', 'instr', 'locate'].map((name) => [name, 'strpos(text, part)'] as const),
  ...['rand', 'random_uniform'].map((name) => [name, 'random()'] as const),
  ...['newid', 'uuid', 'uuid_generate_v4', 'generate_uuid'].map(
    (name) => [name, 'gen_random_uuid()'] as const,
  ),
  ['len', 'length(…)'],
  ['ucase', 'upper(…)'],
  ['lcase', 'lower(…)'],
  ['mid', 'substr(…, …, …)'],
  ['truncate', 'trunc(…, …)'],
  ['unix_timestamp', 'extract(epoch FROM …)'],
  ['from_unixtime', 'to_timestamp(…)'],
  ['median', 'percentile_cont(0.5) WITHIN GROUP (ORDER BY …)'],
  ['countif', 'count(*) FILTER (WHERE …)'],
  ['sumif', 'sum(…) FILTER (WHERE …)'],
  ['any_value', 'min(…)'],
]);

/** Types as other databases call them. */
const TYPES: ReadonlyMap<string, string> = new Map([
  ['datetime', 'timestamptz'],
  ['datetime2', 'timestamptz'],
  ['smalldatetime', 'timestamptz'],
  ['double', 'double precision'],
  ['float64', 'double precision'],
  ['float32', 'real'],
  ['number', 'numeric'],
  ['bignumeric', 'numeric'],
  ['string', 'text'],
  ['clob', 'text'],
  ['longtext', 'text'],
  ['mediumtext', 'text'],
  ['tinytext', 'text'],
  ['ntext', 'text'],
  ['nvarchar', 'varchar'],
  ['varchar2', 'varchar'],
  ['tinyint', 'smallint'],
  ['int16', 'smallint'],
  ['mediumint', 'integer'],
  ['int32', 'integer'],
  ['int64', 'bigint'],
  ['hugeint', 'numeric'],
  ['blob', 'bytea'],
  ['binary', 'bytea'],
  ['varbinary', 'bytea'],
  ['bytes', 'bytea'],
  ['guid', 'uuid'],
  ['uniqueidentifier', 'uuid'],
]);

export function hintOfForeignFunction(name: string): string | undefined {
  const ours = FUNCTIONS.get(name);
  return ours === undefined ? undefined : `Write ${ours}.`;
}

export function hintOfForeignType(name: string): string | undefined {
  const ours = TYPES.get(name);
  return ours === undefined ? undefined : `Write ${ours}.`;
}
