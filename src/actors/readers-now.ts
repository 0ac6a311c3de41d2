import { typeName } from '../columns/types.ts';
import { idOf, type CatalogEntry, type CatalogView } from './catalog.ts';
import { columnDropped } from './database-state.ts';
import { DefinitionChanged } from './definition-changed.ts';
import type { Engine } from './engine.ts';
import type { Operation, TableDefinition, ViewDefinition } from './records.ts';

/**
 * What is dropped, replaced or changed may be read by a view that was made since that was decided: the view would keep what is no more, and the
 * journal could not make it again. And what a new view reads may have lost columns since it was bound, in `seen` if that is a transaction.
 * Gives the followed queries that go with it.
 */
export function readersNow(
  { state, liveQueries, views }: Engine,
  definitions: readonly Operation[],
  seen?: CatalogView,
): number[] {
  const { catalog } = state;
  const followed = new Set<number>();
  const dropped = new Set<number>();
  const replaced = new Set<number>();
  for (const operation of definitions) {
    if (operation.op === 'dropRelation') dropped.add(operation.relation);
    if (operation.op === 'createView') replaced.add(operation.view.id);
  }
  for (const operation of definitions)
    if ('view' in operation && !dropped.has(operation.view.id))
      assertAsRead(operation.view, catalog, seen);
  const note = (reader: CatalogEntry, id: number): void => {
    const its = idOf(reader);
    if (liveQueries.owns(its)) followed.add(its);
    // Plain views read what has taken the place of what they read.
    else if (reader.kind === 'view' && replaced.has(id)) replaced.add(its);
    else throw readMeanwhile(reader);
  };
  const visit = (id: number): void => {
    for (const reader of catalog.dependantsOf(id))
      if (!dropped.has(idOf(reader)) && !replaced.has(idOf(reader))) note(reader, id);
  };
  for (const id of dropped) visit(id);
  // Those that are added on the way are visited, too.
  for (const id of replaced) visit(id);
  for (const [relation, columns] of columnsChanged(definitions, catalog))
    for (const reader of catalog.dependantsOf(relation)) {
      if (dropped.has(idOf(reader)) || followed.has(idOf(reader))) continue;
      if (reader.kind !== 'view' && reader.kind !== 'materializedView') continue;
      if (columns.some((index) => views.usesColumn(reader, relation, index, catalog)))
        note(reader, relation);
    }
  return [...followed];
}

/** They go with what they read. */
export function dropsOf(relations: readonly number[]): Operation[] {
  return relations.map((relation) => ({ op: 'dropRelation', relation }));
}

/** Columns of tables that are there which `definitions` drop, or give another type: by their places now. */
function columnsChanged(
  definitions: readonly Operation[],
  catalog: CatalogView,
): ReadonlyMap<number, readonly number[]> {
  const changed = new Map<number, number[]>();
  const tables = new Map<number, { table: TableDefinition; places: readonly number[] }>();
  for (const operation of definitions) {
    if (operation.op !== 'alterTable') continue;
    const { table } = operation;
    const entry = catalog.byId(table.id);
    if (entry?.kind !== 'table') continue;
    const before = tables.get(table.id) ?? {
      table: entry.definition,
      places: entry.definition.columns.map((_, index) => index),
    };
    const dropped = columnDropped(before.table, table);
    const gone = changed.get(table.id) ?? [];
    const note = (place: number): void => {
      // One that was added on the way is nobody else's.
      if (before.places[place]! >= 0) gone.push(before.places[place]!);
    };
    if (dropped >= 0) note(dropped);
    const places = before.places.filter((_, place) => place !== dropped);
    if (dropped < 0)
      for (const [place, { type }] of before.table.columns.entries())
        if (typeName(type) !== typeName(table.columns[place]!.type)) note(place);
    if (gone.length > 0) changed.set(table.id, gone);
    tables.set(table.id, {
      table,
      places: table.columns.map((_, place) => places[place] ?? -1),
    });
  }
  return changed;
}

/** A view that was bound to columns which are not those there are: to be bound again. */
function assertAsRead(
  { name, reads }: ViewDefinition,
  catalog: CatalogView,
  seen: CatalogView | undefined,
): void {
  for (const { relation, columns } of reads) {
    const entry = catalog.byId(relation);
    // What the transaction has made, or changed, is its own: nobody else has.
    if (seen !== undefined && seen.byId(relation) !== entry) continue;
    // Relations of the system are always there.
    if (relation < 0) continue;
    const now = entry === undefined || entry.kind === 'sequence' ? [] : entry.info.columns;
    if (now.length !== columns.length || now.some((column, at) => column.name !== columns[at]))
      throw new DefinitionChanged(name, 'What it reads has other columns by now.');
  }
}

function readMeanwhile({ definition }: CatalogEntry): DefinitionChanged {
  return new DefinitionChanged(
    definition.name,
    'It reads by now what is dropped, replaced or changed.',
  );
}
