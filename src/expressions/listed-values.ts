import { canonicalText, compareDatums, withoutTrailingBlanks } from '../columns/compare.ts';
import type { TypeKind } from '../columns/types.ts';
import { Decimal, type Datum } from '../columns/values.ts';

/**
 * What an IN list holds, found by value: equal data are one however they look (1.0 and 1.00, 0 and −0, NaN, 'a' and 'a ' of a char(n)).
 * A list of rows has several data a row.
 */
export class ListedValues {
  readonly hasNull: boolean;
  /** Nothing is in it, not even what is not known. */
  readonly isEmpty: boolean;
  readonly #kinds: readonly TypeKind[];
  readonly #data: readonly Datum[];
  #keys: ReadonlySet<Datum> | undefined;
  readonly #sorted: (readonly Datum[])[] = [];
  #coefficients: { readonly scale: number; readonly numbers: ReadonlySet<number> } | undefined;
  #rows: ListedRows | undefined;

  /** `data`: the rows one behind the other, each datum of its kind. */
  constructor(kinds: readonly TypeKind[], data: readonly Datum[]) {
    this.#kinds = kinds;
    this.#data = data;
    this.hasNull = data.includes(null);
    this.isEmpty = data.length === 0;
  }

  /** IN: whether the data equal a listed row; null: that is not known. */
  find(data: readonly Datum[]): boolean | null {
    if (this.#kinds.length > 1) {
      this.#rows ??= new ListedRows(this.#kinds, this.#data);
      return this.#rows.find(data);
    }
    const datum = data[0]!;
    if (datum === null) return this.isEmpty ? false : null;
    return this.has(datum) || (this.hasNull ? null : false);
  }

  /** Whether the one datum, which is not NULL, equals a listed one. */
  has(datum: Datum): boolean {
    return this.keys.has(keyOf(datum, this.#kinds[0]!));
  }

  /** Of single data: what stands for them. Texts, numbers, times and booleans are their own keys. */
  get keys(): ReadonlySet<Datum> {
    return (this.#keys ??= new Set(this.#present.map((datum) => keyOf(datum, this.#kinds[0]!))));
  }

  /** Of single numerics: those that have so many places at most, as coefficients that are safe integers. */
  coefficients(scale: number): ReadonlySet<number> {
    if (this.#coefficients?.scale !== scale)
      this.#coefficients = {
        scale,
        numbers: new Set(
          this.#present.flatMap((datum) => coefficientOf(datum as Decimal, scale) ?? []),
        ),
      };
    return this.#coefficients.numbers;
  }

  /** What stands at a place of the listed rows, in its order, each once, without NULL. */
  sorted(place: number): readonly Datum[] {
    const known = this.#sorted[place];
    if (known !== undefined) return known;
    const kind = this.#kinds[place]!;
    const width = this.#kinds.length;
    const present = this.#data.filter((datum, index) => datum !== null && index % width === place);
    // Numbers, NaN the greatest, are sorted faster without being asked.
    const inOrder = present.every((datum) => typeof datum === 'number')
      ? [...Float64Array.from(present).sort()]
      : present.sort((a, b) => compareDatums(a, b, kind));
    const sorted = inOrder.filter(
      (datum, index) => index === 0 || compareDatums(inOrder[index - 1]!, datum, kind) !== 0,
    );
    this.#sorted[place] = sorted;
    return sorted;
  }

  /** The listed rows without NULL, each once. */
  get rows(): Datum[][] {
    const width = this.#kinds.length;
    const found = new Map<string, Datum[]>();
    for (let start = 0; start < this.#data.length; start += width) {
      const row = this.#data.slice(start, start + width);
      if (!row.includes(null))
        found.set(row.map((datum, at) => canonicalText(datum, this.#kinds[at]!)).join(''), row);
    }
    return [...found.values()];
  }

  get #present(): Datum[] {
    return this.#data.filter((datum) => datum !== null);
  }
}

/** What a Set, which takes NaN for NaN and −0 for 0, finds equal data by. */
function keyOf(datum: Datum, kind: TypeKind): Datum {
  switch (kind) {
    case 'numeric':
    case 'interval':
    case 'bytea':
      return canonicalText(datum, kind);
    case 'bpchar':
      return withoutTrailingBlanks(datum as string);
    default:
      return datum;
  }
}

function coefficientOf(
  { coefficient, scale, special }: Decimal,
  wanted: number,
): number | undefined {
  if (special !== undefined) return undefined;
  const power = 10n ** BigInt(Math.abs(wanted - scale));
  if (wanted < scale && coefficient % power !== 0n) return undefined;
  const scaled = Number(wanted < scale ? coefficient / power : coefficient * power);
  return Number.isSafeInteger(scaled) ? scaled : undefined;
}

/**
 * (a, b) IN ((1, 2), …). A pair of which one is NULL is unknown, and a row is out where another pair differs. Rows with NULLs at the same
 * places are looked up together, by what is NULL neither there nor in the data.
 */
class ListedRows {
  readonly #kinds: readonly TypeKind[];
  readonly #byNulls = new Map<string, { readonly nulls: Nulls; readonly rows: Datum[][] }>();
  readonly #ofPresent: readonly LookUp[];
  /** By the places of the data that are NULL. */
  readonly #ofNulls = new Map<string, readonly LookUp[]>();

  constructor(kinds: readonly TypeKind[], data: readonly Datum[]) {
    this.#kinds = kinds;
    for (let start = 0; start < data.length; start += kinds.length) {
      const row = data.slice(start, start + kinds.length);
      const nulls = nullsOf(row);
      const name = nulls.join();
      const group = this.#byNulls.get(name);
      if (group === undefined) this.#byNulls.set(name, { nulls, rows: [row] });
      else group.rows.push(row);
    }
    this.#ofPresent = this.#lookUpsOf(kinds.map(() => false));
  }

  find(data: readonly Datum[]): boolean | null {
    let lookUps = this.#ofPresent;
    if (data.includes(null)) {
      const nulls = nullsOf(data);
      const name = nulls.join();
      lookUps = this.#ofNulls.get(name) ?? this.#lookUpsOf(nulls);
      this.#ofNulls.set(name, lookUps);
    }
    let isUnknown = false;
    for (const { places, tuples } of lookUps) {
      if (!this.#has(tuples, data, places)) continue;
      if (places.length === this.#kinds.length) return true;
      isUnknown = true;
    }
    return isUnknown ? null : false;
  }

  #lookUpsOf(own: Nulls): LookUp[] {
    return [...this.#byNulls.values()].map(({ nulls, rows }) => {
      const places = [...nulls.keys()].filter((place) => !own[place]! && !nulls[place]!);
      const tuples: Tuples = new Map();
      for (const row of rows) {
        let level = tuples;
        for (const place of places) {
          const key = keyOf(row[place]!, this.#kinds[place]!);
          let next = level.get(key);
          if (next === undefined) level.set(key, (next = new Map()));
          level = next;
        }
      }
      return { places, tuples };
    });
  }

  #has(tuples: Tuples, data: readonly Datum[], places: readonly number[]): boolean {
    let level = tuples;
    for (const place of places) {
      const next = level.get(keyOf(data[place]!, this.#kinds[place]!));
      if (next === undefined) return false;
      level = next;
    }
    return true;
  }
}

type Nulls = readonly boolean[];
/** By what stands at the first place, what stands at the others. */
type Tuples = Map<Datum, Tuples>;
type LookUp = { readonly places: readonly number[]; readonly tuples: Tuples };

function nullsOf(row: readonly Datum[]): Nulls {
  return row.map((datum) => datum === null);
}
