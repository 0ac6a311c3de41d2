import { DbError } from '../base/errors.ts';
import { position } from '../base/units.ts';
import type { SealedSegment } from '../columns/segment.ts';
import {
  plainSegment,
  TableRestore,
  type PlainSegment,
  type PlainTable,
  type TableReading,
} from '../columns/table-image.ts';
import type { TableData } from '../columns/table-contract.ts';
import { Table } from '../columns/table.ts';
import type { Disk } from '../base/ports.ts';
import { CheckedFileWriter, readChecked } from '../journal/checked-file.ts';
import { diskError } from '../journal/file-backend.ts';
import type { RuntimeVersions } from '../journal/snapshot-store.ts';
import { ValueCodec } from '../journal/value-codec.ts';
import type { KeptTiles } from '../windows/kept-tiles.ts';
import type { Calendars } from './calendars.ts';
import {
  isUnjournaled,
  newSequenceEntry,
  type CatalogEntry,
  type SequenceState,
} from './catalog.ts';
import type { JournalLog } from './commit-log.ts';
import { schemaOf, type DatabaseState } from './database-state.ts';
import type { Engine } from './engine.ts';
import type { KeyedWrite } from './idempotency.ts';
import { plainBatch, revivedBatch, type PlainBatch } from './plain-batch.ts';
import { plainKept, recordCodecEntries, revivedKept, type PlainKept } from './record-codec.ts';
import type {
  OnPoison,
  MaterializedViewDefinition,
  SequenceDefinition,
  TableDefinition,
  ViewDefinition,
} from './records.ts';

/**
 * Snapshots of the database in the directory of its journal, so that recovery need not read all that ever happened. A snapshot is a file
 * of its own with everything but sealed segments, which have a file each: they never change, so snapshots share them. It is written in
 * steps while commits go on: what it shows was fixed in one turn, when it was begun.
 *
 * Two are kept, and the journal from the older one on: if the newer is damaged, the older one and a longer tail give the same state.
 * Views and indexes are not in it: they are made anew of the rows, so no other version of anything that computes them matters.
 */
export class Snapshots {
  readonly #engine: Engine;
  readonly #log: JournalLog;
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #everyBytes: number;
  readonly #versions: RuntimeVersions;
  readonly #values = new ValueCodec(recordCodecEntries);
  /** Files of sealed segments: no segment is written twice. */
  readonly #files = new WeakMap<SealedSegment, SegmentRef>();
  /** Files that snapshots refer to, where that is known. */
  readonly #references = new Map<number, ReadonlySet<string>>();
  #running: Promise<number> | undefined;
  /** Tables that are being read of one. */
  readonly #readings = new Set<Promise<unknown>>();
  /** Bytes appended when the newest one was begun, and how much more calls for the next. */
  #begunAtBytes = 0;
  #nextAfterBytes: number;

  constructor(
    engine: Engine,
    log: JournalLog,
    options: {
      readonly disk: Disk;
      readonly directory: string;
      readonly everyBytes: number;
      readonly versions: RuntimeVersions;
    },
  ) {
    this.#engine = engine;
    this.#log = log;
    this.#disk = options.disk;
    this.#directory = options.directory;
    this.#everyBytes = options.everyBytes;
    this.#nextAfterBytes = options.everyBytes;
    this.#versions = options.versions;
  }

  /** After a recovery: what was read behind the snapshot counts towards the next one. */
  readBytes(bytes: number): void {
    this.#begunAtBytes = -bytes;
  }

  /** A commit was published. */
  published(): void {
    const since = this.#log.journal.appendedBytes - this.#begunAtBytes;
    if (since < this.#nextAfterBytes || this.#running !== undefined) return;
    // A table that is out of service is in no snapshot, and needs the journal before it.
    if (this.#engine.recovery.brokenCount > 0) return;
    // What waits to be sealed would be written row by row now, and as segments again next time.
    if (since < 2 * this.#nextAfterBytes && this.#upkeepWaits()) return;
    void this.take().catch((cause: unknown) => {
      this.#begunAtBytes = this.#log.journal.appendedBytes;
      this.#engine.events.emit('snapshot.failed', { cause });
    });
  }

  /** Takes one now, or waits for the one that is under way; its position. */
  take(): Promise<number> {
    this.#running ??= this.#take().finally(() => (this.#running = undefined));
    return this.#running;
  }

  /** Waits for the one that is under way, and for what is read of them: failures are told elsewhere. */
  async settled(): Promise<void> {
    await this.#running?.catch(() => undefined);
    await Promise.allSettled(this.#readings);
  }

  #upkeepWaits(): boolean {
    return this.#engine.state.catalog
      .all()
      .some((entry) => entry.kind === 'table' && entry.data.needsUpkeep);
  }

  async #take(): Promise<number> {
    // What the catalog shows must be what the journal has at the visible position.
    await this.#engine.untilNothingDefined();
    const begunAtBytes = this.#log.journal.appendedBytes;
    const { recovery } = this.#engine;
    const breakCount = recovery.breakCount;
    const image = this.#capture();
    let writer: CheckedFileWriter | undefined;
    const files = new Set<string>();
    try {
      const known = await this.positions();
      if (known.includes(image.head.position)) return image.head.position;
      writer = await CheckedFileWriter.create(
        this.#disk,
        `${this.#directory}/${fileName(image.head.position)}`,
      );
      await writer.chunk(this.#values.encodePieces(image.head));
      for (const part of image.parts) {
        if (part.kind === 'table') await this.#writeTable(writer, part, files);
        else await writer.chunk(this.#values.encodePieces(part));
        await this.#pause();
      }
      // A snapshot of what a power loss takes from the journal would be one of another world.
      await this.#log.journal.untilDurable(position(image.head.position));
      // Names of segments before the name of what refers to them.
      await this.#disk.syncDirectory(this.#directory);
      // What was captured of it is not to be trusted: nobody should go back to that, nor lose the journal before it.
      if (recovery.breakCount !== breakCount)
        throw new DbError('ADB_RECOVERING', 'a table broke while the snapshot was taken', {
          retryAfterMs: 100,
          hint: 'Try again when all tables serve: db.recovery.list() tells of those that do not.',
        });
      const { byteLength } = await writer.finish();
      writer = undefined;
      await this.#disk.syncDirectory(this.#directory);
      this.#begunAtBytes = begunAtBytes;
      this.#nextAfterBytes = Math.max(this.#everyBytes, byteLength);
    } catch (cause) {
      throw isDiskTrouble(cause)
        ? diskError(cause, 'the snapshot cannot be written', GOES_ON)
        : cause;
    } finally {
      image.release();
      await writer?.abandon();
    }
    this.#references.set(image.head.position, files);
    await this.#prune();
    this.#engine.events.emit('snapshot.taken', { position: image.head.position });
    return image.head.position;
  }

  /** Everything as it is at the visible position, fixed in this turn: rows are read later, and do not change for it. */
  #capture(): Captured {
    const { state, visiblePosition, visibleInstant } = this.#engine;
    const releases: (() => void)[] = [];
    const release = (): void => {
      for (const each of releases) each();
    };
    const partOf = (entry: CatalogEntry): CapturedPart => {
      switch (entry.kind) {
        case 'table': {
          const reading = entry.data.read();
          releases.push(() => reading.release());
          const kept = state.findKept(entry.definition.id)?.image(visiblePosition);
          if (kept !== undefined) releases.push(() => kept.release());
          return { kind: 'table', definition: entry.definition, reading, kept };
        }
        case 'sequence':
          return { kind: 'sequence', definition: entry.definition, state: { ...entry.state } };
        case 'view':
          return { kind: 'view', definition: entry.definition };
        case 'materializedView':
          return { kind: 'materializedView', definition: entry.definition };
      }
    };
    let parts: CapturedPart[];
    try {
      parts = state.catalog
        .all()
        .filter((entry) => !isUnjournaled(entry))
        .map(partOf);
    } catch (cause) {
      // A table is out of service: what was read of the others is theirs again.
      release();
      throw cause;
    }
    return {
      head: {
        format: FORMAT,
        position: visiblePosition,
        instantMs: visibleInstant,
        versions: this.#versions,
        nextId: state.catalog.nextId,
        schemas: state.catalog.schemas(),
        grants: state.grants.list(),
        keyedWrites: state.keyedWrites.entries(),
        skips: state.skips,
        onPoison: state.onPoison,
        calendars: state.calendars.all(),
        late: state.lateImages(),
      },
      parts,
      release,
    };
  }

  async #writeTable(
    writer: CheckedFileWriter,
    { definition, reading, kept }: Extract<CapturedPart, { kind: 'table' }>,
    files: Set<string>,
  ): Promise<void> {
    const segments: (SegmentRef | null)[] = [];
    for (const [index, state] of reading.table.segments.entries()) {
      if (state?.kind !== 'sealed') {
        segments.push(null);
        continue;
      }
      const ref = await this.#segmentFile(definition.id, reading.sealed(index));
      segments.push(ref);
      files.add(ref.name);
    }
    const { table } = reading;
    const head: PlainPart = { kind: 'table', definition, table, segments };
    await writer.chunk(this.#values.encodePieces(head));
    for (const [index, state] of table.segments.entries()) {
      if (state?.kind !== 'open') continue;
      for (const batch of reading.rows(index)) {
        const part: PlainPart = { kind: 'rows', index, rows: plainBatch(batch) };
        await writer.chunk(this.#values.encodePieces(part));
        await this.#pause();
      }
    }
    for (const change of kept?.pieces() ?? []) {
      const part: PlainPart = { kind: 'kept', relation: definition.id, change: plainKept(change) };
      await writer.chunk(this.#values.encodePieces(part));
      await this.#pause();
    }
  }

  async #segmentFile(relation: number, segment: SealedSegment): Promise<SegmentRef> {
    const known = this.#files.get(segment);
    if (known !== undefined) return known;
    const steps = plainSegment(segment);
    let step = steps.next();
    for (; step.done !== true; step = steps.next()) await this.#pause();
    const stem = `${this.#directory}/segment-${relation}-${segment.number}`;
    const writer = await CheckedFileWriter.create(this.#disk, stem);
    try {
      await writer.chunk(this.#values.encodePieces(step.value));
      // Named after its content: one that is there already is the same.
      const { path, hash } = await writer.finish(
        (bytes) => `${stem}-${Buffer.from(bytes.subarray(0, 8)).toString('hex')}.adb`,
      );
      const ref = { name: path.slice(this.#directory.length + 1), hash };
      this.#files.set(segment, ref);
      return ref;
    } catch (cause) {
      await writer.abandon();
      throw cause;
    }
  }

  /** Positions of the snapshots that are there, newest first. */
  async positions(): Promise<number[]> {
    const names = await this.#disk.list(this.#directory);
    return names
      .flatMap((name) => {
        const match = NAME.exec(name);
        return match === null ? [] : Number(match[1]);
      })
      .sort((a, b) => b - a);
  }

  async remove(at: number): Promise<void> {
    await this.#disk.remove(`${this.#directory}/${fileName(at)}`);
  }

  async #prune(): Promise<void> {
    const positions = await this.positions();
    for (const old of positions.slice(SNAPSHOTS_KEPT)) {
      await this.remove(old);
      this.#references.delete(old);
    }
    const kept = positions.slice(0, SNAPSHOTS_KEPT);
    // Before these, the journal is needed no more.
    if (kept.length === SNAPSHOTS_KEPT) this.#log.journal.cover(position(kept.at(-1)!));
    const referred = new Set<string>();
    for (const at of kept) {
      const files = this.#references.get(at);
      // One that was there before this process, and was not read: its files stay as long as it does.
      if (files === undefined) return;
      for (const name of files) referred.add(name);
    }
    for (const name of await this.#disk.list(this.#directory))
      if (name.startsWith('segment-') && name.endsWith('.adb') && !referred.has(name))
        await this.#disk.remove(`${this.#directory}/${name}`);
  }

  // ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Puts the state of a snapshot into an empty database, and returns the instant of its position; undefined, with the database as
   * empty as it was, where the snapshot or a file that it refers to is damaged.
   */
  async load(
    at: number,
    progress: (done: number, of: number) => void,
  ): Promise<number | undefined> {
    const chunks = await readChecked(this.#disk, `${this.#directory}/${fileName(at)}`);
    if (chunks === undefined) return undefined;
    const [first, ...rest] = chunks;
    const head = this.#values.decode(first!) as Head;
    if (head.format !== FORMAT)
      throw new DbError('0A000', 'a snapshot was written by a newer version of AnalyticDB', {
        hint: 'Open the directory with the newer version.',
      });
    const parts = rest.map((chunk) => () => this.#values.decode(chunk) as PlainPart);
    const restored = await this.#restoredParts(parts, progress, () => this.#pause());
    if (restored === undefined) return undefined;
    await this.#install(head, restored);
    this.#references.set(at, restored.files);
    return head.instantMs;
  }

  /**
   * One table as the newest snapshot that is whole has it, which is the caller's from now on, unless the caller went away meanwhile. The
   * journal has what came after: all, where there is no snapshot yet, or none that is whole and the journal goes back to its beginning.
   */
  tableOf(relation: number, isWanted: () => boolean): Promise<SnapshotTable | undefined> {
    const reading = this.#tableOf(relation, isWanted);
    this.#readings.add(reading);
    const done = (): unknown => this.#readings.delete(reading);
    reading.then(done, done);
    return reading;
  }

  async #tableOf(relation: number, isWanted: () => boolean): Promise<SnapshotTable | undefined> {
    const goOn = async (): Promise<void> => {
      await this.#pause();
      if (!isWanted()) throw new DbError('57014', 'nobody waits for the table any more');
    };
    for (const at of await this.positions()) {
      const chunks = await readChecked(this.#disk, `${this.#directory}/${fileName(at)}`);
      if (chunks === undefined) continue;
      const own: PlainPart[] = [];
      let isOwn = false;
      for (const chunk of chunks.slice(1)) {
        const part = this.#values.decode(chunk) as PlainPart;
        if (part.kind !== 'rows') isOwn = part.kind === 'table' && part.definition.id === relation;
        if (isOwn) own.push(part);
        await goOn();
      }
      const parts = own.map((part) => () => part);
      const restored = await this.#restoredParts(parts, () => undefined, goOn);
      if (restored === undefined) continue;
      const [entry] = restored.entries;
      // It was made later.
      if (entry?.kind !== 'table') return { position: at, table: undefined };
      const data = await this.#made(entry, at, goOn);
      return { position: at, table: { definition: entry.definition, data } };
    }
    return this.#log.first === 1 ? { position: 0, table: undefined } : undefined;
  }

  async #restoredParts(
    parts: readonly (() => PlainPart)[],
    progress: (done: number, of: number) => void,
    pause: () => Promise<void>,
  ): Promise<Restored | undefined> {
    const entries: RestoredEntry[] = [];
    const files = new Set<string>();
    const tables: TableRestore[] = [];
    let done = false;
    try {
      for (let index = 0; index < parts.length;) {
        const part = parts[index]!();
        index += 1;
        if (part.kind === 'rows') throw new DbError('XX000', 'rows follow their table');
        if (part.kind !== 'table') {
          entries.push(part);
          continue;
        }
        const restore = new TableRestore(
          { ...schemaOf(part.definition), indexes: [] },
          this.#engine.memory,
          part.table,
        );
        tables.push(restore);
        for (const [number, state] of part.table.segments.entries()) {
          if (state === null) restore.addNothing();
          else if (state.kind === 'open') {
            const rows: PlainBatch[] = [];
            for (; index < parts.length; index += 1) {
              const next = parts[index]!();
              if (next.kind !== 'rows' || next.index !== number) break;
              rows.push(next.rows);
            }
            restore.addOpen(rows.map(revivedBatch));
          } else {
            const ref = part.segments[number]!;
            const content = await readChecked(
              this.#disk,
              `${this.#directory}/${ref.name}`,
              ref.hash,
            );
            if (content === undefined) return undefined;
            const segment = restore.addSealed(this.#values.decode(content[0]!) as PlainSegment);
            this.#files.set(segment, ref);
            files.add(ref.name);
          }
          await pause();
        }
        entries.push({ kind: 'table', definition: part.definition, restore });
        progress(index, parts.length);
      }
      done = true;
      return { entries, files };
    } finally {
      if (!done) for (const table of tables) table.close();
    }
  }

  async #install(head: Head, { entries }: Restored): Promise<void> {
    const { state, turn } = this.#engine;
    const { catalog } = state;
    for (const { tenant, name } of head.schemas) catalog.addSchema(tenant, name);
    for (const entry of entries) {
      switch (entry.kind) {
        case 'table': {
          const made = state.tableEntry(
            entry.definition,
            await this.#made(entry, head.position, () => this.#pause()),
          );
          catalog.put(made);
          this.#engine.tree.relationMade(made);
          this.#engine.recovery.restored(made);
          break;
        }
        case 'kept': {
          const kept = state.keptOf(entry.relation);
          const steps = kept.apply(revivedKept(entry.change), false);
          let step = steps.next();
          for (; step.done !== true; step = steps.next()) await this.#pause();
          step.value.published(head.position);
          break;
        }
        case 'view':
          turn.replay(
            { kind: 'commit', operations: [{ op: 'createView', view: entry.definition }] },
            head.position,
          );
          break;
        case 'materializedView':
          turn.replay(
            {
              kind: 'commit',
              operations: [{ op: 'createMaterializedView', view: entry.definition }],
            },
            head.position,
          );
          break;
        case 'sequence': {
          const made = newSequenceEntry(entry.definition);
          Object.assign(made.state, entry.state);
          catalog.put(made);
          break;
        }
      }
      await this.#pause();
    }
    catalog.nextId = head.nextId;
    state.restoreDecisions(head.skips ?? [], head.onPoison ?? 'hold');
    for (const { relation, to } of head.grants) state.grants.set(relation, to, true);
    for (const { key, ...write } of head.keyedWrites) state.keyedWrites.set(key, write);
    state.restoreLate(head.late ?? []);
    for (const { tenant, name, spec } of head.calendars ?? [])
      state.calendars.set(tenant, name, spec);
  }

  async #made(
    { definition, restore }: RestoredTable,
    at: number,
    pause: () => Promise<void>,
  ): Promise<TableData> {
    const options = { memory: this.#engine.memory };
    const steps = Table.over(restore.finish(at), schemaOf(definition), options);
    try {
      let step = steps.next();
      for (; step.done !== true; step = steps.next()) await pause();
      return step.value;
    } finally {
      steps.return(undefined as never);
    }
  }

  #pause(): Promise<void> {
    return this.#engine.pause();
  }
}

export type SnapshotTable = {
  /** The journal has what came after. */
  readonly position: number;
  /** Undefined where the journal tells how it was made. */
  readonly table: { readonly definition: TableDefinition; readonly data: TableData } | undefined;
};

/** Nobody depends on a snapshot but the next start, which then reads more of the journal. */
const GOES_ON = {
  full: 'Reading and writing go on, and nothing is lost: make room, and take it again.',
  failed: 'Reading and writing go on, and nothing is lost: mend the disk, and take it again.',
};

/** An error of the operating system. */
function isDiskTrouble(cause: unknown): boolean {
  return cause instanceof Error && 'code' in cause;
}

const SNAPSHOTS_KEPT = 2;
const FORMAT = 1;
const NAME = /^snapshot-(\d{16})\.adb$/;

function fileName(at: number): string {
  return `snapshot-${String(at).padStart(16, '0')}.adb`;
}

type SegmentRef = { readonly name: string; readonly hash: Uint8Array };

type Head = {
  readonly format: number;
  readonly position: number;
  readonly instantMs: number;
  readonly versions: RuntimeVersions;
  readonly nextId: number;
  readonly schemas: readonly { readonly tenant: string; readonly name: string }[];
  readonly grants: readonly { readonly relation: number; readonly to?: string | undefined }[];
  readonly keyedWrites: readonly (KeyedWrite & { readonly key: string })[];
  /** Absent in the first snapshots. */
  readonly skips?: DatabaseState['skips'];
  readonly onPoison?: OnPoison;
  readonly calendars?: ReturnType<Calendars['all']>;
  readonly late?: ReturnType<DatabaseState['lateImages']>;
};

type PlainEntry =
  | { readonly kind: 'view'; readonly definition: ViewDefinition }
  | { readonly kind: 'materializedView'; readonly definition: MaterializedViewDefinition }
  | {
      readonly kind: 'sequence';
      readonly definition: SequenceDefinition;
      readonly state: SequenceState;
    };

/** What chunks hold after the head: entries of the catalog in order of id, a table's unsealed rows behind it. */
type PlainPart =
  | PlainEntry
  | {
      readonly kind: 'table';
      readonly definition: TableDefinition;
      readonly table: PlainTable;
      /** By segment; null where it is not sealed. */
      readonly segments: readonly (SegmentRef | null)[];
    }
  | { readonly kind: 'rows'; readonly index: number; readonly rows: PlainBatch }
  | KeptPart;

/** Demoted rows of a table, behind its rows. */
type KeptPart = { readonly kind: 'kept'; readonly relation: number; readonly change: PlainKept };

type CapturedPart =
  | PlainEntry
  | {
      readonly kind: 'table';
      readonly definition: TableDefinition;
      readonly reading: TableReading;
      readonly kept: ReturnType<KeptTiles['image']> | undefined;
    };
type Captured = {
  readonly head: Head;
  readonly parts: readonly CapturedPart[];
  release(): void;
};

type RestoredTable = {
  readonly kind: 'table';
  readonly definition: TableDefinition;
  readonly restore: TableRestore;
};
type RestoredEntry = PlainEntry | KeptPart | RestoredTable;
type Restored = { readonly entries: readonly RestoredEntry[]; readonly files: ReadonlySet<string> };
