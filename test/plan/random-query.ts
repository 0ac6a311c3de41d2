/**
 * Random queries over two small tables, from a seed: every clause, joins of every kind, subqueries, WITH, set operations. They
 * are well typed and leave nothing open that SQL leaves open: with LIMIT all columns are sorted, nothing is divided, and numerics
 * have one scale.
 */
export type RandomQuery = {
  readonly sql: string;
  /** Rows in order; else any order. */ readonly ordered: boolean;
};

type Type = 'int' | 'text' | 'float' | 'numeric' | 'bool' | 'date';
type Column = { readonly name: string; readonly type: Type };

export const SETUP = `
  CREATE TABLE t (a int, b int, s text, x float8, n numeric(8, 2), d date);
  CREATE TABLE u (a int, c int, s text, m numeric(6, 2));
`;

/** mulberry32: a stream of numbers that a seed gives. */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  below(count: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % count;
  }

  one<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)]!;
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }
}

export function randomRows(dice: Dice): string {
  const orNull = (value: string): string => (dice.chance(20) ? 'NULL' : value);
  const t = Array.from(
    { length: 4 + dice.below(10) },
    () =>
      `(${orNull(String(dice.below(5)))}, ${orNull(String(dice.below(7) - 3))}, ${orNull(text(dice))}, ${orNull(dice.one(['0.1', '0.2', '-1.5', '1e6', '-1e6', '3']))}, ${orNull(dice.one(['1.00', '1.50', '-2.25', '100']))}, ${orNull(`DATE '2024-0${1 + dice.below(4)}-15'`)})`,
  );
  const u = Array.from(
    { length: 3 + dice.below(8) },
    () =>
      `(${orNull(String(dice.below(5)))}, ${orNull(String(dice.below(4)))}, ${orNull(text(dice))}, ${orNull(dice.one(['1.00', '2.50', '7.00']))})`,
  );
  return `INSERT INTO t VALUES ${t.join(', ')}; INSERT INTO u VALUES ${u.join(', ')};`;
}

function text(dice: Dice): string {
  return `'${dice.one(['', 'a', 'b', 'ab', 'Ab', 'ü', 'z%'])}'`;
}

const COLUMNS: Readonly<Record<'t' | 'u', readonly Column[]>> = {
  t: [
    { name: 'a', type: 'int' },
    { name: 'b', type: 'int' },
    { name: 's', type: 'text' },
    { name: 'x', type: 'float' },
    { name: 'n', type: 'numeric' },
    { name: 'd', type: 'date' },
  ],
  u: [
    { name: 'a', type: 'int' },
    { name: 'c', type: 'int' },
    { name: 's', type: 'text' },
    { name: 'm', type: 'numeric' },
  ],
};

export function randomQuery(dice: Dice): RandomQuery {
  const generator = new Generator(dice);
  if (dice.chance(15)) return generator.setOperation();
  return generator.select([], 2, true);
}

class Generator {
  readonly #dice: Dice;
  #aliases = 0;

  constructor(dice: Dice) {
    this.#dice = dice;
  }

  setOperation(): RandomQuery {
    const dice = this.#dice;
    const width = 1 + dice.below(3);
    const types = Array.from({ length: width }, () => dice.one(['int', 'text', 'int'] as const));
    const arm = (): string => {
      const { from, columns } = this.#from(1);
      const items = types.map((type) => this.#expression(type, columns, [], 1));
      return `SELECT ${items.join(', ')} FROM ${from}${this.#where(columns, [], 1)}`;
    };
    const operation = dice.one([
      'UNION',
      'UNION ALL',
      'INTERSECT',
      'INTERSECT ALL',
      'EXCEPT',
      'EXCEPT ALL',
    ]);
    const sort = dice.chance(50);
    const order = sort
      ? ` ORDER BY ${types.map((_, index) => `${index + 1}${this.#direction()}`).join(', ')}`
      : '';
    const limit = sort && dice.chance(40) ? ` LIMIT ${dice.below(6)} OFFSET ${dice.below(3)}` : '';
    return { sql: `${arm()} ${operation} ${arm()}${order}${limit}`, ordered: sort };
  }

  select(outer: readonly Column[], depth: number, top: boolean): RandomQuery {
    const dice = this.#dice;
    let prefix = '';
    let ctes: { name: string; columns: readonly Column[] }[] = [];
    if (top && dice.chance(20)) {
      const table = dice.one(['t', 'u'] as const);
      const columns = COLUMNS[table];
      prefix = `WITH w AS (SELECT * FROM ${table}${this.#where(columns, [], 1)}) `;
      ctes = [{ name: 'w', columns }];
    }
    const { from, columns } = this.#from(depth, ctes);
    const where = this.#where(columns, outer, depth);
    const grouped = dice.chance(40);
    let items: { text: string }[];
    let tail = '';
    if (grouped) {
      const keys = Array.from({ length: dice.below(3) }, () => {
        const column = dice.one(columns);
        return dice.chance(25) && column.type === 'int' ? `${column.name} + 1` : column.name;
      });
      const unique = [...new Set(keys)];
      items = [
        ...unique.map((key) => ({ text: key })),
        ...Array.from({ length: 1 + dice.below(3) }, () => ({
          text: this.#aggregate(columns, depth),
        })),
      ];
      if (unique.length > 0) tail = ` GROUP BY ${unique.join(', ')}`;
      if (dice.chance(30))
        tail += ` HAVING ${dice.one(['count(*) > 1', 'count(*) < 3', 'min(1) = 1'])}`;
    } else {
      items = Array.from({ length: 1 + dice.below(4) }, () => ({
        text: this.#expression(
          dice.one(['int', 'text', 'numeric', 'bool', 'float', 'date'] as const),
          columns,
          outer,
          depth,
        ),
      }));
    }
    const distinct = !grouped && dice.chance(20);
    const sort = dice.chance(50);
    const order = sort
      ? ` ORDER BY ${items.map((_, index) => `${index + 1}${this.#direction()}`).join(', ')}`
      : '';
    const limit =
      sort && dice.chance(40)
        ? ` LIMIT ${dice.below(6)}${dice.chance(50) ? ` OFFSET ${dice.below(3)}` : ''}`
        : '';
    const list = items.map(({ text: each }, index) => `${each} AS c${index}`).join(', ');
    return {
      sql: `${prefix}SELECT ${distinct ? 'DISTINCT ' : ''}${list} FROM ${from}${where}${tail}${order}${limit}`,
      ordered: sort,
    };
  }

  #direction(): string {
    return this.#dice.one(['', ' DESC', ' NULLS FIRST', ' DESC NULLS LAST']);
  }

  #alias(): string {
    this.#aliases += 1;
    return `q${this.#aliases}`;
  }

  #item(
    depth: number,
    ctes: readonly { name: string; columns: readonly Column[] }[],
  ): { text: string; columns: Column[] } {
    const dice = this.#dice;
    const alias = this.#alias();
    const named = (columns: readonly Column[]): Column[] =>
      columns.map(({ name, type }) => ({ name: `${alias}.${name}`, type }));
    if (depth > 1 && dice.chance(15)) {
      const inner = this.#from(depth - 1);
      const picked = [dice.one(inner.columns), dice.one(inner.columns)];
      const columns = picked.map(({ type }, index) => ({ name: `k${index}`, type }));
      const list = picked.map(({ name }, index) => `${name} AS k${index}`).join(', ');
      const where = this.#where(inner.columns, [], depth - 1);
      const distinct = dice.chance(30) ? 'DISTINCT ' : '';
      return {
        text: `(SELECT ${distinct}${list} FROM ${inner.from}${where}) AS ${alias}`,
        columns: named(columns),
      };
    }
    const cte = ctes.length > 0 && dice.chance(50) ? dice.one(ctes) : undefined;
    const table = dice.one(['t', 'u'] as const);
    return cte === undefined
      ? { text: `${table} AS ${alias}`, columns: named(COLUMNS[table]) }
      : { text: `${cte.name} AS ${alias}`, columns: named(cte.columns) };
  }

  #from(
    depth: number,
    ctes: readonly { name: string; columns: readonly Column[] }[] = [],
  ): { from: string; columns: Column[] } {
    const dice = this.#dice;
    let { text: from, columns } = this.#item(depth, ctes);
    const count = dice.one([0, 0, 1, 1, 2]);
    for (let each = 0; each < count; each += 1) {
      if (depth > 1 && dice.chance(10)) {
        const alias = this.#alias();
        const inner = this.#item(1, []);
        const picked = dice.one(inner.columns);
        const condition = this.#condition(inner.columns, columns, 1);
        const kind = dice.one(['CROSS JOIN LATERAL', 'LEFT JOIN LATERAL']);
        from = `${from} ${kind} (SELECT ${picked.name} AS k FROM ${inner.text} WHERE ${condition}) AS ${alias}${kind.startsWith('LEFT') ? ' ON true' : ''}`;
        columns = [...columns, { name: `${alias}.k`, type: picked.type }];
        continue;
      }
      const next = this.#item(depth, ctes);
      const both = [...columns, ...next.columns];
      const kind = dice.one(['JOIN', 'JOIN', 'LEFT JOIN', 'RIGHT JOIN', 'FULL JOIN', 'CROSS JOIN']);
      if (kind === 'CROSS JOIN') from = `${from} CROSS JOIN ${next.text}`;
      else {
        const left = dice.one(columns.filter(({ type }) => type === 'int' || type === 'text'));
        const fitting = next.columns.filter(({ type }) => type === left?.type);
        const equal =
          left === undefined || fitting.length === 0
            ? 'true'
            : `${left.name} = ${dice.one(fitting).name}`;
        const more =
          equal === 'true' || dice.chance(25)
            ? ` AND ${kind === 'FULL JOIN' ? 'true' : this.#comparison(both, [], 0)}`
            : '';
        from = `${from} ${kind} ${next.text} ON ${equal}${more}`;
      }
      columns = both;
    }
    return { from, columns };
  }

  #where(columns: readonly Column[], outer: readonly Column[], depth: number): string {
    return this.#dice.chance(60) ? ` WHERE ${this.#condition(columns, outer, depth)}` : '';
  }

  #condition(columns: readonly Column[], outer: readonly Column[], depth: number): string {
    const dice = this.#dice;
    switch (dice.below(8)) {
      case 0:
        return `(${this.#condition(columns, outer, depth)} AND ${this.#condition(columns, outer, depth)})`;
      case 1:
        return `(${this.#condition(columns, outer, depth)} OR ${this.#comparison(columns, outer, depth)})`;
      case 2:
        return `NOT (${this.#comparison(columns, outer, depth)})`;
      case 3:
        return depth > 0 ? this.#subquery(columns, depth) : this.#comparison(columns, outer, depth);
      default:
        return this.#comparison(columns, outer, depth);
    }
  }

  #subquery(columns: readonly Column[], depth: number): string {
    const dice = this.#dice;
    const inner = this.#from(depth - 1);
    const where = ` WHERE ${this.#condition(inner.columns, columns, depth - 1)}`;
    const not = dice.chance(40) ? 'NOT ' : '';
    if (dice.chance(50)) return `${not}EXISTS (SELECT 1 FROM ${inner.from}${where})`;
    const own = columns.filter(({ type }) => type === 'int');
    const theirs = inner.columns.filter(({ type }) => type === 'int');
    if (own.length === 0 || theirs.length === 0)
      return `${not}EXISTS (SELECT 1 FROM ${inner.from})`;
    const list = `(SELECT ${dice.one(theirs).name} FROM ${inner.from}${dice.chance(50) ? where : ''})`;
    return dice.chance(80)
      ? `${dice.one(own).name} ${not}IN ${list}`
      : `${dice.one(own).name} ${dice.one(['>', '<=', '<>'])} ${dice.one(['ANY', 'ALL'])} ${list}`;
  }

  #comparison(columns: readonly Column[], outer: readonly Column[], depth: number): string {
    const dice = this.#dice;
    const type = dice.one(['int', 'int', 'text', 'numeric', 'float', 'date'] as const);
    const left = this.#expression(type, columns, outer, Math.min(depth, 1));
    switch (dice.below(7)) {
      case 0:
        return `${left} IS ${dice.chance(50) ? 'NOT ' : ''}NULL`;
      case 1:
        return `${left} IS ${dice.chance(50) ? 'NOT ' : ''}DISTINCT FROM ${this.#expression(type, columns, outer, 0)}`;
      case 2:
        return type === 'int'
          ? `${left} ${dice.chance(30) ? 'NOT ' : ''}IN (${dice.below(4)}, ${dice.chance(20) ? 'NULL' : dice.below(4)})`
          : `${left} = ${this.#expression(type, columns, outer, 0)}`;
      case 3:
        return type === 'int'
          ? `${left} BETWEEN ${dice.below(3) - 1} AND ${dice.below(5)}`
          : `${left} <> ${this.#expression(type, columns, outer, 0)}`;
      case 4:
        return type === 'text'
          ? `${left} ${dice.chance(30) ? 'NOT ' : ''}LIKE ${dice.one(["'a%'", "'%b'", "'_'", "'%'"])}`
          : `${left} >= ${this.#expression(type, columns, outer, 0)}`;
      default:
        return `${left} ${dice.one(['=', '<', '>', '<=', '>=', '<>'])} ${this.#expression(type, columns, outer, 0)}`;
    }
  }

  #leaf(type: Type, columns: readonly Column[], outer: readonly Column[]): string {
    const dice = this.#dice;
    const fitting = [...columns, ...(outer.length > 0 && dice.chance(50) ? outer : [])].filter(
      (column) => column.type === type,
    );
    if (fitting.length > 0 && dice.chance(75)) return dice.one(fitting).name;
    switch (type) {
      case 'int':
        return dice.one(['0', '1', '2', '3', '(-1)']);
      case 'text':
        return text(dice);
      case 'float':
        return dice.one(['0.1::float8', "'-1.5'::float8", '2::float8']);
      case 'numeric':
        return `${dice.one(['1.00', '1.50', '2.00', '100.00'])}::numeric`;
      case 'bool':
        return dice.one(['true', 'false']);
      case 'date':
        return `DATE '2024-0${1 + dice.below(4)}-15'`;
    }
  }

  #expression(
    type: Type,
    columns: readonly Column[],
    outer: readonly Column[],
    depth: number,
  ): string {
    const dice = this.#dice;
    if (depth <= 0 || dice.chance(45)) return this.#leaf(type, columns, outer);
    const deeper = (of: Type): string => this.#expression(of, columns, outer, depth - 1);
    if (dice.chance(15))
      return `CASE WHEN ${this.#comparison(columns, outer, 0)} THEN ${deeper(type)} ELSE ${deeper(type)} END`;
    if (dice.chance(10)) return `coalesce(${deeper(type)}, ${deeper(type)})`;
    if (dice.chance(8)) return `nullif(${deeper(type)}, ${deeper(type)})`;
    switch (type) {
      case 'int':
        return dice.one([
          () => `(${deeper('int')} ${dice.one(['+', '-', '*'])} ${deeper('int')})`,
          () => `abs(${deeper('int')})`,
          () => `length(${deeper('text')})`,
          () => `extract(month FROM ${deeper('date')})::int`,
          () =>
            `(SELECT count(*)::int FROM u AS z WHERE z.a = ${this.#leaf('int', columns, outer)})`,
        ])();
      case 'text':
        return dice.one([
          () => `(${deeper('text')} || ${deeper('text')})`,
          () => `upper(${deeper('text')})`,
          () => `left(${deeper('text')}, 1)`,
          () => `${this.#leaf('int', columns, outer)}::text`,
        ])();
      case 'float':
        return `(${deeper('float')} ${dice.one(['+', '-'])} ${deeper('float')})`;
      case 'numeric':
        return `(${deeper('numeric')} ${dice.one(['+', '-'])} ${deeper('numeric')})`;
      case 'bool':
        return `(${this.#comparison(columns, outer, 0)})`;
      case 'date':
        return `(${deeper('date')} + ${dice.below(3)})`;
    }
  }

  #aggregate(columns: readonly Column[], depth: number): string {
    const dice = this.#dice;
    const filter = dice.chance(25) ? ` FILTER (WHERE ${this.#comparison(columns, [], 0)})` : '';
    const type = dice.one(['int', 'numeric', 'float', 'text', 'date'] as const);
    const arg = this.#expression(type, columns, [], Math.min(1, depth));
    const distinct = dice.chance(25) ? 'DISTINCT ' : '';
    if (type === 'text' || type === 'date')
      return dice.one([
        `count(${distinct}${arg})${filter}`,
        `min(${arg})${filter}`,
        `max(${arg})${filter}`,
      ]);
    return dice.one([
      `count(*)${filter}`,
      `count(${distinct}${arg})${filter}`,
      `sum(${distinct}${arg})${filter}`,
      `avg(${distinct}${arg})${filter}`,
      `min(${arg})${filter}`,
      `max(${arg})${filter}`,
    ]);
  }
}
