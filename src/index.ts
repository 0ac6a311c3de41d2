/** The embedded API (docs/api.md): `import { open, sql } from 'analyticdb'`. */
export { open, type OpenOptions } from './open.ts';
export { sql, SqlText } from './actors/sql-tag.ts';
export { DbError, InvariantError } from './base/errors.ts';
export type { Database, Handle, RelationDescription, SessionHandle } from './actors/database.ts';
export type {
  Change,
  ExecResult,
  Cancelable,
  CsvOptions,
  EstimatedValue,
  ExportOptions,
  ExportProgress,
  ExportResult,
  FileFormat,
  HandlerOptions,
  Identity,
  ListenOptions,
  LoadOptions,
  LoadProgress,
  LoadResult,
  LoadSource,
  Priority,
  ProgressiveEvent,
  ProgressiveOptions,
  ProgressiveRow,
  ProgressiveStop,
  QueryMeta,
  QueryModelInput,
  QueryOptions,
  QueryResult,
  RequestHandler,
  RowsInput,
  Server,
  Statement,
  StreamBatch,
  SubscribeOptions,
  Subscription,
  TextResult,
  TransactionOptions,
  Verbs,
  WideVerbs,
  WriteOptions,
  WriteResult,
} from './actors/api-types.ts';
export type { ProgressiveQuery } from './actors/progressive.ts';
export type { CalendarVerbs } from './actors/calendars.ts';
export type { PolicyVerbs, TablePolicy } from './actors/policies.ts';
export type { PolicySpec } from './windows/policy.ts';
export type { WindowExplanation } from './actors/explain-window.ts';
export type { Measure } from './actors/window-plan.ts';
export type {
  WindowMeta,
  WindowQuery,
  WindowResult,
  WindowResultRow,
} from './actors/window-query.ts';
export type { Alignment, CompareSpec, CompareTo } from './windows/compare.ts';
export type { FillMode, WindowSpec } from './windows/window-spec.ts';
export type { InputColumn, InputColumns, InputRow } from './actors/rows-in.ts';
export type { Queries, QueryInfo } from './actors/queries.ts';
export type { ResultColumn, ResultRow, ValueOptions } from './actors/rows-out.ts';
export type { DatabaseEventName, DatabaseEvents } from './actors/event-hub.ts';
export type { Clock, Disk, DiskFile, Network, Random, TimerHandle, Workers } from './base/ports.ts';
