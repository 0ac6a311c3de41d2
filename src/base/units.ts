/** Brands keep numbers of different meaning apart: mixing them does not compile. */
declare const brand: unique symbol;
type Branded<Base, Name extends string> = Base & { readonly [brand]: Name };

/** Counts commits in the journal; the database's time. A safe integer; 0 is the empty database. */
export type Position = Branded<number, 'Position'>;
/** Milliseconds since 1970 as the Clock tells them. */
export type InstantMs = Branded<number, 'InstantMs'>;
/** Work, counted in integers from logical events (law 3): never time. */
export type WorkUnits = Branded<number, 'WorkUnits'>;
/** A row's arrival ordinal in its table: given by apply, never reused. */
export type RowId = Branded<number, 'RowId'>;
export type TenantId = Branded<string, 'TenantId'>;
/** Identifies a table or a view for its whole life; survives renames. */
export type RelationId = Branded<number, 'RelationId'>;

export const position = (value: number): Position => value as Position;
export const instantMs = (value: number): InstantMs => value as InstantMs;
export const workUnits = (value: number): WorkUnits => value as WorkUnits;
export const rowId = (value: number): RowId => value as RowId;
export const tenantId = (value: string): TenantId => value as TenantId;
export const relationId = (value: number): RelationId => value as RelationId;
