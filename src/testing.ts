/**
 * `analyticdb/testing`: a clock that stands still, arbitraries for fast-check, and the naive interpreter to compare with
 * (docs/testing.md).
 */
export { manualClock, type ManualClock } from './testing/manual-clock.ts';
export {
  apply,
  changes,
  changeStream,
  rows,
  type RowOptions,
  type TableChange,
} from './testing/tables.ts';
export { queries, schemas, type QueryOptionsOf, type TableSchemaText } from './testing/queries.ts';
export { calendars } from './testing/calendars.ts';
export {
  DatabaseModel,
  DisagreementError,
  model,
  type ModelAnswer,
} from './testing/database-model.ts';
