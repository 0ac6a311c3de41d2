/** Functions of PostgreSQL that are not here yet: refused (0A000), and told apart from misspelt ones (42883). */
const NAMES = new Set(
  (
    'regexp_match regexp_matches regexp_split_to_array regexp_split_to_table string_to_array string_to_table ' +
    'array_to_string array_append array_prepend array_cat array_dims array_fill array_length array_lower array_ndims ' +
    'array_position array_positions array_remove array_replace array_upper array_sample array_shuffle cardinality ' +
    'trim_array unnest generate_subscripts width_bucket ' +
    'to_json to_jsonb row_to_json array_to_json json_agg jsonb_agg json_object_agg jsonb_object_agg json_build_array ' +
    'json_build_object jsonb_build_array jsonb_build_object json_object jsonb_object json_array_length ' +
    'jsonb_array_length json_each jsonb_each json_each_text jsonb_each_text json_extract_path json_extract_path_text ' +
    'jsonb_extract_path jsonb_extract_path_text json_object_keys jsonb_object_keys json_populate_record ' +
    'json_array_elements jsonb_array_elements json_array_elements_text jsonb_array_elements_text json_typeof ' +
    'jsonb_typeof json_strip_nulls jsonb_strip_nulls jsonb_set jsonb_insert jsonb_pretty jsonb_path_query ' +
    'jsonb_path_exists xmlagg xmlcomment to_tsvector to_tsquery plainto_tsquery ts_rank ts_headline ' +
    'rank dense_rank percent_rank cume_dist row_number ntile lag lead first_value last_value nth_value ' +
    'range_agg range_merge lower_inc upper_inc lower_inf upper_inf isempty ' +
    'set_config pg_get_viewdef pg_get_expr pg_get_constraintdef pg_get_indexdef pg_get_userbyid pg_get_function_arguments ' +
    'pg_table_is_visible pg_relation_size pg_total_relation_size pg_table_size pg_size_pretty pg_sleep pg_backend_pid ' +
    'pg_is_in_recovery pg_get_serial_sequence pg_input_is_valid pg_column_size pg_client_encoding pg_lsn ' +
    'format_type has_table_privilege has_schema_privilege has_column_privilege has_function_privilege obj_description ' +
    'col_description shobj_description to_regclass to_regtype txid_current txid_current_snapshot pg_current_xact_id ' +
    'current_schemas current_query inet_client_addr inet_client_port inet_server_addr inet_server_port ' +
    'pg_postmaster_start_time pg_conf_load_time pg_advisory_lock pg_advisory_xact_lock pg_try_advisory_lock ' +
    'setseed erf erfc random_normal parse_ident sha1 crypt gen_salt hmac digest normalize ' +
    'booland_statefunc boolor_statefunc int4larger int4smaller int4pl int4mi int8inc float8_accum ' +
    'host netmask network broadcast masklen text abbrev family hostmask area center diameter radius point box circle ' +
    'lseg path polygon line nextval_internal xid8 lo_create lo_import get_bit set_bit bit_count ' +
    'timeofday clock_timestamp_utc to_ascii'
  ).split(' '),
);

export function isKnownElsewhere(name: string): boolean {
  return NAMES.has(name);
}

export function hintOfAbsent(name: string): string | undefined {
  switch (name) {
    case 'regexp_match':
    case 'regexp_matches':
      return 'Arrays come later; use substring(text from pattern) or regexp_substr().';
    case 'regexp_split_to_array':
    case 'regexp_split_to_table':
    case 'string_to_array':
    case 'string_to_table':
      return 'Arrays come later; use split_part().';
    default:
      return undefined;
  }
}
