import { DbError } from '../base/errors.ts';
import { slabInts } from '../base/slab.ts';
import type { Batch } from '../columns/batch.ts';
import { datumAt } from '../columns/build.ts';
import type { Dictionary } from '../columns/dictionary.ts';
import { isTextType, type SqlType } from '../columns/types.ts';
import { Decimal, type Datum } from '../columns/values.ts';
import type { Vector } from '../columns/vector.ts';
import { ByteLike } from './byte-like.ts';
import { functionById } from './catalog.ts';
import { castOf } from './coercion.ts';
import type { Expression, InListExpression } from './expression.ts';
import { isImmutable, isSettled, partsOf, referencedColumns } from './fold.ts';
import type { EvaluationContext } from './function-def.ts';
import { compareWithItems, interpret, listedIn } from './interpret.ts';
import { fitToType } from './text-io.ts';

/**
 * One fused loop for an expression and a combination of input layouts. The loop's text holds its signature, so that V8
 * specialises it alone. `run` gives undefined when a value has left the lanes (an integer beyond ±2^53, an overflow): then the whole
 * batch is evaluated by `interpret`, which gives the exact value or throws the right error.
 */
export type Kernel = {
  run(batch: Batch, context: EvaluationContext): Vector | Int32Array | undefined;
};

/**
 * How a value travels inside the loop. `number`: a double that is the datum itself, or a numeric's coefficient at `scale`.
 * `boolean`: 0 or 1. `datum`: a JavaScript value.
 */
type Lane =
  | { readonly kind: 'number'; readonly scale: number }
  | { readonly kind: 'boolean' }
  | { readonly kind: 'datum' };

type Value = {
  readonly lane: Lane;
  /** A variable or literal. */
  readonly code: string;
  /** A variable that is true for NULL; 'false' where it never is. */
  readonly isNull: string;
};

const LOST = 'return undefined;';

export function generateKernel(
  expression: Expression,
  columns: readonly number[],
  sample: Batch,
  output: 'vector' | 'selection',
  signature: string,
): Kernel {
  return new Generator(columns, sample, output, signature).generate(expression);
}

class Generator {
  readonly #columns: readonly number[];
  readonly #sample: Batch;
  readonly #output: 'vector' | 'selection';
  readonly #signature: string;
  readonly #before: string[] = [];
  #lines: string[] = [];
  /** What the text refers to: constants, definitions, memos. */
  readonly #outside: unknown[] = [];
  readonly #refs = new Map<number, Value>();
  #names = 0;

  constructor(
    columns: readonly number[],
    sample: Batch,
    output: 'vector' | 'selection',
    signature: string,
  ) {
    this.#columns = columns;
    this.#sample = sample;
    this.#output = output;
    this.#signature = signature;
  }

  generate(expression: Expression): Kernel {
    for (const column of this.#columns) this.#openColumn(column);
    const truncation = this.#output === 'vector' ? this.#truncation(expression) : undefined;
    const value = truncation ?? this.#emit(expression);
    const body = this.#lines;
    const loop: string[] = [];
    const after: string[] = [];
    if (this.#output === 'selection') {
      const test = value.lane.kind === 'boolean' ? `${value.code} === 1` : `${value.code} === true`;
      loop.push(
        ...body,
        `if (${value.isNull === 'false' ? '' : `!${value.isNull} && `}${test}) { out[count] = r; count += 1; }`,
      );
      this.#before.push('const out = O.places(n); let count = 0;');
      after.push('return O.selection(out, count);');
    } else {
      loop.push(...body);
      const nullable = value.isNull !== 'false';
      if (value.lane.kind === 'datum') {
        this.#before.push('const out = new Array(n);');
        loop.push(
          nullable ? `out[i] = ${value.isNull} ? null : ${value.code};` : `out[i] = ${value.code};`,
        );
        after.push(`return O.objects(out);`);
      } else {
        this.#before.push(
          value.lane.kind === 'boolean'
            ? 'const out = new Uint8Array(n);'
            : `const out = new ${truncation === undefined ? 'Float64Array' : 'Int32Array'}(n);`,
        );
        if (nullable) {
          this.#before.push('const valid = new Uint8Array(n); let nulls = 0;');
          loop.push(
            `if (${value.isNull}) nulls += 1; else { out[i] = ${value.code}; valid[i] = 1; }`,
          );
        } else loop.push(`out[i] = ${value.code};`);
        const scale = value.lane.kind === 'number' ? value.lane.scale : 0;
        after.push(
          `return O.${value.lane.kind === 'boolean' ? 'booleans' : 'numbers'}(out, ${nullable ? 'nulls === 0 ? undefined : valid' : 'undefined'}, ${scale}, ${truncation === undefined ? 1 : TRUNCATION_MICROS});`,
        );
      }
    }
    const selected = this.#sample.selection !== undefined;
    const text = [
      `/* ${this.#signature} */`,
      'const n = batch.rowCount;',
      ...(selected ? ['const selection = batch.selection;'] : []),
      ...this.#before,
      'for (let i = 0; i < n; i += 1) {',
      selected ? 'const r = selection[i];' : 'const r = i;',
      ...loop,
      '}',
      ...after,
    ].join('\n');
    const run = functionOfText(text);
    const outside = this.#outside;
    const maker = vectorMaker(expression.type);
    return { run: (batch, context) => run(batch, context, outside, maker) };
  }

  #name(prefix: string): string {
    this.#names += 1;
    return `${prefix}${this.#names}`;
  }

  #reference(value: unknown): string {
    this.#outside.push(value);
    return `X[${this.#outside.length - 1}]`;
  }

  /** Binds a reference once before the loop. */
  #constant(value: unknown): string {
    const name = this.#name('k');
    this.#before.push(`const ${name} = ${this.#reference(value)};`);
    return name;
  }

  #line(text: string): void {
    this.#lines.push(text);
  }

  #openColumn(column: number): void {
    const vector = this.#sample.columns[column]!;
    const v = `v${column}`;
    this.#before.push(`const w${column} = batch.columns[${column}];`);
    if (vector.validity !== undefined)
      this.#before.push(`const valid${column} = w${column}.validity;`);
    switch (vector.rep) {
      case 'number':
        this.#before.push(`const ${v} = w${column}.values;`);
        if (vector.factor !== 1 || vector.base !== 0)
          this.#before.push(
            `const factor${column} = w${column}.factor, base${column} = w${column}.base;`,
          );
        break;
      case 'boolean':
      case 'bigint':
      case 'object':
        this.#before.push(`const ${v} = w${column}.values;`);
        break;
      case 'dictionary':
        this.#before.push(
          `const ${v} = w${column}.codes; const dictionary${column} = w${column}.dictionary;`,
        );
        break;
      case 'bytes':
        break;
    }
  }

  /** A column's value, read at most once a row on each path: reads are cheap, so each use reads anew. */
  #column(expression: Extract<Expression, { kind: 'column' }>): Value {
    const column = expression.index;
    const known = this.#refs.get(column);
    if (known !== undefined) return known;
    const vector = this.#sample.columns[column]!;
    const isNull = this.#isNullOf(column, vector);
    switch (vector.rep) {
      case 'number': {
        const encoded = vector.factor !== 1 || vector.base !== 0;
        const code = encoded
          ? `(v${column}[r] * factor${column} + base${column})`
          : `v${column}[r]`;
        return { lane: { kind: 'number', scale: vector.scale }, code, isNull };
      }
      case 'boolean':
        return { lane: { kind: 'boolean' }, code: `v${column}[r]`, isNull };
      case 'dictionary': {
        const read = isTextType(vector.type)
          ? `dictionary${column}.text(v${column}[r])`
          : `${this.#constant(datumAt)}(w${column}, r)`;
        return { lane: { kind: 'datum' }, code: read, isNull };
      }
      case 'object':
        return {
          lane: { kind: 'datum' },
          code: `v${column}[r]`,
          isNull: `(${`v${column}[r] === null`}${isNull === 'false' ? '' : ` || ${isNull}`})`,
        };
      case 'bigint':
      case 'bytes':
        return {
          lane: { kind: 'datum' },
          code: `${this.#constant(datumAt)}(w${column}, r)`,
          isNull,
        };
    }
  }

  #isNullOf(column: number, vector: Vector): string {
    return vector.validity === undefined ? 'false' : `(valid${column}[r] === 0)`;
  }

  #emit(expression: Expression): Value {
    const memo = this.#memo(expression) ?? this.#settled(expression);
    if (memo !== undefined) return memo;
    switch (expression.kind) {
      case 'column':
        return this.#column(expression);
      case 'constant':
        return this.#literal(expression.value, expression.type);
      case 'parameter': {
        const name = this.#name('p');
        this.#before.push(`const ${name} = context.parameters[${expression.index}] ?? null;`);
        return this.#asDatum(name, `(${name} === null)`, expression.type);
      }
      case 'call':
        return this.#call(expression);
      case 'and':
      case 'or':
        return this.#logic(expression);
      case 'not': {
        const arg = this.#toBoolean(this.#emit(expression.arg));
        return { lane: { kind: 'boolean' }, code: `(1 - ${arg.code})`, isNull: arg.isNull };
      }
      case 'isNull':
      case 'isNotNull': {
        const arg = this.#emit(expression.arg);
        const yes = expression.kind === 'isNull';
        if (arg.isNull === 'false')
          return { lane: { kind: 'boolean' }, code: yes ? '0' : '1', isNull: 'false' };
        return {
          lane: { kind: 'boolean' },
          code: `(${arg.isNull} ? ${yes ? 1 : 0} : ${yes ? 0 : 1})`,
          isNull: 'false',
        };
      }
      case 'case':
        return this.#case(expression);
      case 'coalesce':
        return this.#coalesce(expression);
      case 'inList':
        return this.#inList(expression);
      case 'anyArray': {
        const arg = this.#boxed(this.#emit(expression.arg), expression.arg.type);
        const result = this.#name('a');
        this.#line(
          `const ${result} = ${this.#constant(compareWithItems)}(${this.#constant(expression)}, ${arg}, context);`,
        );
        return {
          lane: { kind: 'boolean' },
          code: `(${result} === true ? 1 : 0)`,
          isNull: `(${result} === null)`,
        };
      }
      case 'cast':
        return this.#cast(expression);
      case 'outerColumn':
      case 'subquery':
        // `interpret` says what is wrong.
        this.#line(LOST);
        return { lane: { kind: 'datum' }, code: 'null', isNull: 'true' };
    }
  }

  #literal(value: Datum, type: SqlType): Value {
    if (value === null)
      return {
        lane: laneOfType(type) ?? { kind: 'datum' },
        code: laneOfType(type) === undefined ? 'null' : '0',
        isNull: 'true',
      };
    if (typeof value === 'boolean')
      return { lane: { kind: 'boolean' }, code: value ? '1' : '0', isNull: 'false' };
    if (typeof value === 'number') {
      const code = Object.is(value, -0)
        ? '-0'
        : Number.isFinite(value)
          ? String(value)
          : Number.isNaN(value)
            ? 'NaN'
            : value > 0
              ? 'Infinity'
              : '-Infinity';
      return {
        lane: { kind: 'number', scale: 0 },
        code: value < 0 || Object.is(value, -0) ? `(${code})` : code,
        isNull: 'false',
      };
    }
    if (value instanceof Decimal && value.special === undefined && isSafe(value.coefficient)) {
      return {
        lane: { kind: 'number', scale: value.scale },
        code: `(${value.coefficient})`,
        isNull: 'false',
      };
    }
    return { lane: { kind: 'datum' }, code: this.#constant(value), isNull: 'false' };
  }

  #call(expression: Extract<Expression, { kind: 'call' }>): Value {
    const def = functionById(expression.fn);
    const strict = def.strict !== false;
    const like = this.#byteLike(expression);
    if (like !== undefined) return like;
    const truncation = this.#truncation(expression);
    if (truncation !== undefined)
      return { ...truncation, code: `(${truncation.code} * ${TRUNCATION_MICROS})` };
    const args = expression.args.map((arg) => this.#emit(arg));
    const numeric = this.#numericCall(def.name, expression, args);
    if (numeric !== undefined) return numeric;
    const isNull = strict ? anyNull(args) : 'false';
    const inLane =
      def.inline !== undefined &&
      args.every(
        ({ lane }, index) =>
          (lane.kind === 'number' &&
            lane.scale === 0 &&
            expression.args[index]!.type.kind !== 'numeric') ||
          lane.kind === 'boolean',
      );
    if (inLane && expression.type.kind !== 'numeric') {
      const lane: Lane =
        expression.type.kind === 'boolean' ? { kind: 'boolean' } : { kind: 'number', scale: 0 };
      const code = def.inline!(...args.map((arg) => arg.code));
      if (def.guard === undefined)
        return {
          lane,
          code: lane.kind === 'boolean' ? `((${code}) ? 1 : 0)` : `(${code})`,
          isNull,
        };
      const result = this.#name('a');
      this.#line(`let ${result} = 0;`);
      this.#line(`${guardOpen(isNull)} ${result} = ${code}; ${guardTest(def.guard, result)} }`);
      return { lane, code: result, isNull };
    }
    const types = expression.args.map(({ type }) => type);
    const evaluate = this.#constant(def.prepare?.() ?? def.evaluate);
    const kinds = this.#constant(types);
    const data = args.map((arg, index) => this.#boxed(arg, types[index]!));
    const result = this.#name('a');
    this.#line(`let ${result} = null;`);
    const call = `${result} = ${evaluate}([${data.join(', ')}], context, ${kinds});`;
    this.#line(isNull === 'false' ? call : `if (!${isNull}) { ${call} }`);
    return this.#asDatum(result, `(${result} === null)`, expression.type);
  }

  /** LIKE on a column of raw bytes. */
  #byteLike(expression: Extract<Expression, { kind: 'call' }>): Value | undefined {
    const [value] = expression.args;
    if (value?.kind !== 'column') return undefined;
    const vector = this.#sample.columns[value.index]!;
    if (vector.rep !== 'bytes') return undefined;
    const like = ByteLike.of(expression);
    if (like === undefined) return undefined;
    const column = value.index;
    const matcher = this.#constant(like);
    const test = `${matcher}.test(w${column}.bytes, w${column}.offsets[r], w${column}.offsets[r + 1])`;
    return {
      lane: { kind: 'boolean' },
      code: `(${test} ? 1 : 0)`,
      isNull: this.#isNullOf(column, vector),
    };
  }

  /**
   * date_trunc to an hour or more is the same for all instants of a quarter of an hour, in every zone of our days: looked up by the
   * quarter. The value is in quarters of an hour too, so that groups by day or month index an array.
   */
  #truncation(expression: Expression): Value | undefined {
    if (expression.kind !== 'call' || expression.args.length > 3) return undefined;
    const [unit, instant, zone] = expression.args;
    const def = functionById(expression.fn);
    if (
      def.name !== 'date_trunc' ||
      unit?.kind !== 'constant' ||
      typeof unit.value !== 'string' ||
      !TRUNCATION_UNITS.test(unit.value) ||
      (zone !== undefined && (zone.kind !== 'constant' || zone.value === null))
    )
      return undefined;
    const value = this.#emit(instant!);
    if (value.lane.kind !== 'number' || value.lane.scale !== 0) return undefined;
    const memo = this.#name('t');
    this.#before.push(
      `const ${memo} = ${this.#reference(new TruncationMemo(expression))}.of(context), ${memo}k = ${memo}.keys, ${memo}v = ${memo}.values;`,
    );
    const quarter = this.#name('a');
    const slot = this.#name('a');
    const result = this.#name('a');
    this.#line(`let ${result} = 0;`);
    this.#line(
      `${guardOpen(value.isNull)} const ${quarter} = Math.floor(${value.code} / ${TRUNCATION_MICROS}), ${slot} = ${quarter} & ${TRUNCATION_SLOTS - 1}; if (${memo}k[${slot}] !== ${quarter} && !${memo}.fill(${quarter})) ${LOST} ${result} = ${memo}v[${slot}]; }`,
    );
    return { lane: { kind: 'number', scale: 0 }, code: result, isNull: value.isNull };
  }

  /** + − * and comparisons of numerics whose scale is known: scaled integers, exact while they are safe. */
  #numericCall(
    name: string,
    expression: Extract<Expression, { kind: 'call' }>,
    args: readonly Value[],
  ): Value | undefined {
    if (args.length !== 2 || !expression.args.every(({ type }) => type.kind === 'numeric'))
      return undefined;
    const [left, right] = args as [Value, Value];
    if (left.lane.kind !== 'number' || right.lane.kind !== 'number') return undefined;
    const isNull = anyNull(args);
    const product = name === '*';
    const compared = Object.hasOwn(COMPARISONS, name);
    if (!product && !compared && name !== '+' && name !== '-') return undefined;
    const scale = product
      ? left.lane.scale + right.lane.scale
      : Math.max(left.lane.scale, right.lane.scale);
    if (scale > 15) return undefined;
    const at = (value: Value): string => {
      const shift = scale - (value.lane as { scale: number }).scale;
      return product || shift === 0 ? value.code : `(${value.code} * ${10 ** shift})`;
    };
    const result = this.#name('a');
    if (compared) {
      const a = this.#name('a');
      const b = this.#name('a');
      this.#line(`let ${result} = 0;`);
      this.#line(
        `${guardOpen(isNull)} const ${a} = ${at(left)}, ${b} = ${at(right)}; ${guardTest('safe', a)} ${guardTest('safe', b)} ${result} = ${a} ${COMPARISONS[name]} ${b} ? 1 : 0; }`,
      );
      return { lane: { kind: 'boolean' }, code: result, isNull };
    }
    this.#line(`let ${result} = 0;`);
    // A product of zero and a negative number is −0, which no numeric is.
    const positive = product ? ' + 0' : '';
    this.#line(
      `${guardOpen(isNull)} ${result} = ${at(left)} ${name} ${at(right)}${positive}; ${guardTest('safe', result)} }`,
    );
    return { lane: { kind: 'number', scale }, code: result, isNull };
  }

  #logic(expression: Extract<Expression, { kind: 'and' | 'or' }>): Value {
    const and = expression.kind === 'and';
    const result = this.#name('l');
    const isNull = this.#name('m');
    this.#line(`let ${result} = ${and ? 1 : 0}, ${isNull} = false;`);
    const label = this.#name('end');
    this.#line(`${label}: {`);
    for (const [index, part] of expression.args.entries()) {
      // A decided AND or OR evaluates no more arguments. Left by a label: ten thousand of them nest no blocks.
      if (index > 0) this.#line(`if (${result} === ${and ? 0 : 1}) break ${label};`);
      const arg = this.#toBoolean(this.#emit(part));
      if (arg.isNull === 'false')
        this.#line(
          `${and ? `if (${arg.code} === 0) ${result} = 0;` : `if (${arg.code} === 1) ${result} = 1;`}`,
        );
      else
        this.#line(
          `if (${arg.isNull}) ${isNull} = true; else if (${arg.code} === ${and ? 0 : 1}) ${result} = ${and ? 0 : 1};`,
        );
    }
    this.#line('}');
    this.#line(`if (${result} === ${and ? 0 : 1}) ${isNull} = false;`);
    return { lane: { kind: 'boolean' }, code: result, isNull };
  }

  #case(expression: Extract<Expression, { kind: 'case' }>): Value {
    const results = [...expression.branches.map(({ then }) => then), expression.otherwise];
    return this.#branches(expression.type, results.length, (index, assign, leave) => {
      if (index < expression.branches.length) {
        const when = this.#toBoolean(this.#emit(expression.branches[index]!.when));
        this.#line(
          `if (${when.isNull === 'false' ? '' : `!${when.isNull} && `}${when.code} === 1) {`,
        );
        assign(this.#emit(results[index]!), results[index]!.type);
        this.#line(`${leave} }`);
      } else assign(this.#emit(results[index]!), results[index]!.type);
    });
  }

  #coalesce(expression: Extract<Expression, { kind: 'coalesce' }>): Value {
    return this.#branches(expression.type, expression.args.length, (index, assign, leave) => {
      const arg = this.#emit(expression.args[index]!);
      if (index === expression.args.length - 1) {
        assign(arg, expression.args[index]!.type);
        return;
      }
      this.#line(`if (!${arg.isNull}) {`);
      assign({ ...arg, isNull: 'false' }, expression.args[index]!.type);
      this.#line(`${leave} }`);
    });
  }

  /** One of several values in one variable; `leave` ends the choice. Numbers of one lane stay numbers; else data. */
  #branches(
    type: SqlType,
    count: number,
    branch: (index: number, assign: (value: Value, type: SqlType) => void, leave: string) => void,
  ): Value {
    const result = this.#name('c');
    const isNull = this.#name('m');
    const lane: Lane = laneOfType(type) ?? { kind: 'datum' };
    this.#line(`let ${result} = ${lane.kind === 'datum' ? 'null' : 0}, ${isNull} = false;`);
    const label = this.#name('end');
    this.#line(`${label}: {`);
    for (let index = 0; index < count; index += 1) {
      const assignTo = (value: Value, from: SqlType): void => {
        const fits =
          value.lane.kind === lane.kind &&
          (lane.kind !== 'number' || (value.lane as { scale: number }).scale === lane.scale);
        if (value.isNull === 'true') {
          this.#line(`${isNull} = true;`);
          return;
        }
        const assign = fits
          ? `${result} = ${value.code};`
          : lane.kind === 'datum'
            ? `${result} = ${this.#boxed({ ...value, isNull: 'false' }, from)};`
            : this.#narrow(result, value, lane);
        this.#line(
          value.isNull === 'false'
            ? assign
            : `if (${value.isNull}) ${isNull} = true; else { ${assign} }`,
        );
        if (lane.kind === 'datum') this.#line(`if (${result} === null) ${isNull} = true;`);
      };
      branch(index, assignTo, `break ${label};`);
    }
    this.#line('}');
    return { lane, code: result, isNull };
  }

  /** A datum into a typed lane; what does not fit leaves the kernel. */
  #narrow(result: string, value: Value, lane: Lane): string {
    if (lane.kind === 'boolean') return `${result} = ${value.code} === true ? 1 : 0;`;
    return `{ const x = ${value.code}; if (typeof x !== 'number') ${LOST} ${result} = x; }`;
  }

  #inList(expression: Extract<Expression, { kind: 'inList' }>): Value {
    const { args, values, others, array, negated } = expression;
    if (args.length > 1) {
      const list = this.#list(expression);
      const data = args.map((arg) => this.#boxed(this.#emit(arg), arg.type));
      const result = this.#name('a');
      this.#line(`const ${result} = ${list}.find([${data.join(', ')}]);`);
      return {
        lane: { kind: 'boolean' },
        code: negated ? `(${result} === true ? 0 : 1)` : `(${result} === true ? 1 : 0)`,
        isNull: `(${result} === null)`,
      };
    }
    const [{ type }] = args as [Expression];
    const arg = this.#emit(args[0]!);
    const plain = values.filter((value) => value !== null);
    const isNumber = arg.lane.kind === 'number' && type.kind !== 'numeric';
    const isShort =
      isNumber &&
      others.length === 0 &&
      array === undefined &&
      plain.length <= 4 &&
      plain.every((value) => typeof value === 'number' && !Number.isNaN(value));
    let test: string;
    let hasNull = String(values.includes(null));
    let noValue = arg.isNull;
    if (isShort) test = plain.map((value) => `x === ${String(value)}`).join(' || ') || 'false';
    else {
      const list = this.#list(expression);
      if (others.length > 0 || array !== undefined) {
        hasNull = `${list}n`;
        this.#before.push(`const ${hasNull} = ${list}.hasNull;`);
      }
      // Of nothing NULL is not one, and that is known.
      if (array !== undefined && arg.isNull !== 'false') {
        noValue = `(${list}e && ${arg.isNull})`;
        this.#before.push(`const ${list}e = !${list}.isEmpty;`);
      }
      const isText =
        arg.lane.kind === 'datum' &&
        (type.kind === 'text' || type.kind === 'varchar' || type.kind === 'uuid');
      const keys =
        isNumber || isText
          ? `${list}.keys`
          : arg.lane.kind === 'number'
            ? `${list}.coefficients(${arg.lane.scale})`
            : undefined;
      if (keys !== undefined) this.#before.push(`const ${list}k = ${keys};`);
      test = keys === undefined ? `${list}.has(x)` : `${list}k.has(x)`;
    }
    const found = this.#name('a');
    const x =
      arg.lane.kind === 'boolean' ? this.#boxed({ ...arg, isNull: 'false' }, type) : arg.code;
    this.#line(`let ${found} = false;`);
    this.#line(`${guardOpen(arg.isNull)} const x = ${x}; ${found} = ${test}; }`);
    const code = negated ? `(${found} ? 0 : 1)` : `(${found} ? 1 : 0)`;
    const unknown =
      hasNull === 'false'
        ? 'false'
        : hasNull === 'true'
          ? `!${found}`
          : `(${hasNull} && !${found})`;
    const isNull =
      noValue === 'false' ? unknown : unknown === 'false' ? noValue : `(${noValue} || ${unknown})`;
    return { lane: { kind: 'boolean' }, code, isNull };
  }

  /** What a list holds, in a variable. Where something in it has no value the rows tell, one by one. */
  #list(expression: InListExpression): string {
    const name = this.#name('s');
    this.#before.push(
      `const ${name} = ${this.#reference(listedIn)}(${this.#reference(expression)}, context); if (${name} === undefined) ${LOST}`,
    );
    return name;
  }

  #cast(expression: Extract<Expression, { kind: 'cast' }>): Value {
    const from = expression.arg.type;
    const { type } = expression;
    const arg = this.#emit(expression.arg);
    const cast =
      from.kind === type.kind
        ? undefined
        : castOf(from.kind === 'unknown' ? 'text' : from.kind, type.kind);
    if (
      cast?.inline !== undefined &&
      arg.lane.kind === 'number' &&
      arg.lane.scale === 0 &&
      from.kind !== 'numeric' &&
      type.kind !== 'numeric'
    ) {
      const code = cast.inline(arg.code);
      if (type.kind === 'boolean')
        return { lane: { kind: 'boolean' }, code: `(${code} ? 1 : 0)`, isNull: arg.isNull };
      if (cast.guard === undefined)
        return { lane: { kind: 'number', scale: 0 }, code: `(${code})`, isNull: arg.isNull };
      const result = this.#name('a');
      this.#line(`let ${result} = 0;`);
      this.#line(
        `${guardOpen(arg.isNull)} ${result} = ${code}; ${guardTest(cast.guard, result)} }`,
      );
      return { lane: { kind: 'number', scale: 0 }, code: result, isNull: arg.isNull };
    }
    if (
      arg.lane.kind === 'number' &&
      from.kind === 'numeric' &&
      type.kind === 'float8' &&
      arg.lane.scale <= 22
    ) {
      // Both are exact doubles, so the quotient is the double nearest to the numeric.
      return {
        lane: { kind: 'number', scale: 0 },
        code: arg.lane.scale === 0 ? arg.code : `(${arg.code} / ${10 ** arg.lane.scale})`,
        isNull: arg.isNull,
      };
    }
    if (
      arg.lane.kind === 'number' &&
      arg.lane.scale === 0 &&
      type.kind === 'numeric' &&
      type.precision === undefined &&
      (from.kind === 'int2' || from.kind === 'int4' || from.kind === 'int8')
    ) {
      return arg;
    }
    const { explicit } = expression;
    const convert = this.#constant(
      cast === undefined
        ? (value: Datum): Datum => fitToType(value, type, explicit)
        : (value: Exclude<Datum, null>, context: EvaluationContext): Datum =>
            cast.evaluate(value, type, explicit, context),
    );
    const result = this.#name('a');
    this.#line(`let ${result} = null;`);
    const call = `${result} = ${convert}(${this.#boxed({ ...arg, isNull: 'false' }, from)}, context);`;
    this.#line(arg.isNull === 'false' ? call : `if (!${arg.isNull}) { ${call} }`);
    return this.#asDatum(result, `(${result} === null)`, type);
  }

  /**
   * An expression that depends on one dictionary column alone, and on what an execution settles, is evaluated once per code, when it is first
   * met, and looked up from then on.
   */
  #memo(expression: Expression): Value | undefined {
    if (expression.kind === 'column' || partsOf(expression).length === 0) return undefined;
    const columns = [...referencedColumns(expression)];
    if (columns.length !== 1) return undefined;
    const column = columns[0]!;
    const vector = this.#sample.columns[column]!;
    if (vector.rep !== 'dictionary' || !isSettled(expression, 'but for columns')) return undefined;
    const memo = new DictionaryMemo(expression, vector.type);
    const table = this.#name('t');
    this.#before.push(
      `const ${table} = ${this.#reference(memo)}.of(dictionary${column}, context);`,
    );
    const code = this.#name('d');
    const isNull = this.#isNullOf(column, vector);
    if (isNull === 'false') this.#line(`const ${code} = v${column}[r];`);
    else this.#line(`const ${code} = ${isNull} ? ${table}.nullCode : v${column}[r];`);
    const result = this.#name('a');
    this.#line(`if (${table}.known[${code}] === 0) ${table}.fill(${code});`);
    if (expression.type.kind === 'boolean') {
      this.#line(`const ${result} = ${table}.known[${code}];`);
      return {
        lane: { kind: 'boolean' },
        code: `(${result} === 2 ? 1 : 0)`,
        isNull: `(${result} === 3)`,
      };
    }
    this.#line(`const ${result} = ${table}.values[${code}];`);
    return this.#asDatum(result, `(${result} === null)`, expression.type);
  }

  /**
   * An expression without columns, of parameters, the zone or the statement's instant: evaluated once a statement. If that fails, the row by
   * row lane tells whether any row gets there.
   */
  #settled(expression: Expression): Value | undefined {
    if (partsOf(expression).length === 0 || !isSettled(expression)) return undefined;
    const name = this.#name('p');
    this.#before.push(
      `const ${name} = ${this.#reference(new SettledValue(expression))}.in(context); if (${name} === undefined) ${LOST}`,
    );
    return this.#asDatum(name, `(${name} === null)`, expression.type);
  }

  /** A datum in a variable: numbers and booleans move to their lanes. */
  #asDatum(name: string, isNull: string, type: SqlType): Value {
    const lane = laneOfType(type);
    if (lane === undefined) return { lane: { kind: 'datum' }, code: name, isNull };
    if (lane.kind === 'boolean') return { lane, code: `(${name} === true ? 1 : 0)`, isNull };
    const number = this.#name('a');
    const target = name.startsWith('p') ? this.#before : this.#lines;
    target.push(
      `let ${number} = 0; if (!${isNull}) { if (typeof ${name} !== 'number') ${LOST} ${number} = ${name}; }`,
    );
    return { lane, code: number, isNull };
  }

  /** The value as a datum, null included. */
  #boxed(value: Value, type: SqlType): string {
    let code = value.code;
    if (value.lane.kind === 'boolean') code = `(${value.code} === 1)`;
    else if (value.lane.kind === 'number' && type.kind === 'numeric')
      code = `${this.#constant(decimalOf)}(${value.code}, ${value.lane.scale})`;
    return value.isNull === 'false' ? code : `(${value.isNull} ? null : ${code})`;
  }

  #toBoolean(value: Value): Value {
    if (value.lane.kind === 'boolean') return value;
    return {
      lane: { kind: 'boolean' },
      code: `(${value.code} === true ? 1 : 0)`,
      isNull: value.isNull,
    };
  }
}

const COMPARISONS: Readonly<Record<string, string>> = {
  '=': '===',
  '<>': '!==',
  '<': '<',
  '<=': '<=',
  '>': '>',
  '>=': '>=',
};

/** The lane of a type's computed values; undefined: data. (numeric: its scale differs from value to value.) */
function laneOfType(type: SqlType): Lane | undefined {
  switch (type.kind) {
    case 'boolean':
      return { kind: 'boolean' };
    case 'int2':
    case 'int4':
    case 'int8':
    case 'float4':
    case 'float8':
    case 'date':
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      return { kind: 'number', scale: 0 };
    default:
      return undefined;
  }
}

function anyNull(args: readonly Value[]): string {
  const parts = args.map(({ isNull }) => isNull).filter((isNull) => isNull !== 'false');
  if (parts.length === 0) return 'false';
  return parts.length === 1 ? parts[0]! : `(${parts.join(' || ')})`;
}

function guardOpen(isNull: string): string {
  return isNull === 'false' ? '{' : `if (!${isNull}) {`;
}

function guardTest(guard: 'int2' | 'int4' | 'safe' | 'finite', name: string): string {
  switch (guard) {
    case 'int2':
      return `if (${name} !== (${name} << 16 >> 16)) ${LOST}`;
    case 'int4':
      return `if (${name} !== (${name} | 0)) ${LOST}`;
    case 'safe':
      return `if (!(${name} >= -9007199254740991 && ${name} <= 9007199254740991)) ${LOST}`;
    case 'finite':
      return `if (!Number.isFinite(${name})) ${LOST}`;
  }
}

function isSafe(coefficient: bigint): boolean {
  return coefficient >= -9007199254740991n && coefficient <= 9007199254740991n;
}

function decimalOf(coefficient: number, scale: number): Decimal {
  return new Decimal(BigInt(coefficient), scale);
}

// ── Generated functions ────────────────────────────────────────────────────────────────────────────────────────

type VectorMaker = {
  objects(values: Datum[]): Vector;
  numbers(
    values: Float64Array | Int32Array,
    validity: Uint8Array | undefined,
    scale: number,
    factor: number,
  ): Vector;
  booleans(values: Uint8Array, validity: Uint8Array | undefined): Vector;
  /** Room for so many rows that are selected, good until the next call. */
  places(count: number): Int32Array;
  /** The first of them, to be kept. */
  selection(places: Int32Array, count: number): Int32Array;
};

type Generated = (
  batch: Batch,
  context: EvaluationContext,
  outside: readonly unknown[],
  maker: VectorMaker,
) => Vector | Int32Array | undefined;

/** Compiled texts, shared by all plans: the same loop is compiled once. Oldest out. */
const compiled = new Map<string, Generated>();
const COMPILED_COUNT_MAX = 4096;

function functionOfText(text: string): Generated {
  const known = compiled.get(text);
  if (known !== undefined) return known;
  // eslint-disable-next-line no-new-func -- The text is made of names and literals of our own; values travel in X.
  const made = new Function('batch', 'context', 'X', 'O', `'use strict';\n${text}`) as Generated;
  compiled.set(text, made);
  if (compiled.size > COMPILED_COUNT_MAX) compiled.delete(compiled.keys().next().value!);
  return made;
}

function vectorMaker(type: SqlType): VectorMaker {
  let scratch = NO_PLACES;
  return {
    places: (count) => {
      if (scratch.length < count) scratch = new Int32Array(count);
      return scratch;
    },
    selection: (places, count) => {
      const kept = slabInts(count);
      for (let at = 0; at < count; at += 1) kept[at] = places[at]!;
      return kept;
    },
    objects: (values) => ({ rep: 'object', type, values }),
    numbers: (values, validity, scale, factor) => ({
      rep: 'number',
      type,
      values,
      validity,
      factor,
      base: 0,
      scale,
    }),
    booleans: (values, validity) => ({ rep: 'boolean', type, values, validity }),
  };
}

const NO_PLACES = new Int32Array(0);

/** The value of an expression without columns; undefined where it has none. */
class SettledValue {
  readonly #expression: Expression;
  #context: EvaluationContext | undefined;
  #value: Datum | undefined;

  constructor(expression: Expression) {
    this.#expression = expression;
  }

  in(context: EvaluationContext): Datum | undefined {
    if (this.#context !== context) {
      this.#context = context;
      try {
        this.#value = interpret(this.#expression, () => null, context);
      } catch (cause) {
        if (!(cause instanceof DbError)) throw cause;
        this.#value = undefined;
      }
    }
    return this.#value;
  }
}

const TRUNCATION_UNITS = /^(hour|day|week|month|quarter|year)s?$/i;
/** A quarter of an hour: offsets and changes of zones are multiples of it since time is civil. */
const TRUNCATION_MICROS = 900_000_000;
/** Six weeks of quarters: a segment of a busy table spans less. */
const TRUNCATION_SLOTS = 4096;

/** date_trunc by quarter of an hour, direct-mapped. */
class TruncationMemo {
  readonly keys = new Float64Array(TRUNCATION_SLOTS).fill(Number.NaN);
  readonly values = new Int32Array(TRUNCATION_SLOTS);
  readonly #expression: Extract<Expression, { kind: 'call' }>;
  #context: EvaluationContext | undefined;

  constructor(expression: Extract<Expression, { kind: 'call' }>) {
    this.#expression = expression;
  }

  of(context: EvaluationContext): this {
    if (this.#context !== undefined && this.#context.zone !== context.zone)
      this.keys.fill(Number.NaN);
    this.#context = context;
    return this;
  }

  /** False where one answer does not hold for the whole quarter, or is no whole quarter: a time before zones, or infinity. */
  fill(quarter: number): boolean {
    const first = this.#at(quarter * TRUNCATION_MICROS);
    const last = this.#at((quarter + 1) * TRUNCATION_MICROS - 1);
    if (typeof first !== 'number' || first !== last || first % TRUNCATION_MICROS !== 0)
      return false;
    const slot = quarter & (TRUNCATION_SLOTS - 1);
    this.keys[slot] = quarter;
    this.values[slot] = first / TRUNCATION_MICROS;
    return true;
  }

  #at(instant: number): Datum {
    if (!Number.isSafeInteger(instant)) return null;
    return functionById(this.#expression.fn).evaluate(
      this.#expression.args.map((arg, index) =>
        index === 1 ? instant : (arg as Extract<Expression, { kind: 'constant' }>).value,
      ),
      this.#context!,
      this.#expression.args.map(({ type }) => type),
    );
  }
}

/** What an expression gives for each code of a dictionary, filled as codes are met. */
class DictionaryMemo {
  readonly #expression: Expression;
  readonly #type: SqlType;
  /** Good for any execution. */
  readonly #isLasting: boolean;
  #table: MemoTable | undefined;

  constructor(expression: Expression, type: SqlType) {
    this.#expression = expression;
    this.#type = type;
    this.#isLasting = isImmutable(expression);
  }

  of(dictionary: Dictionary, context: EvaluationContext): MemoTable {
    if (!this.#isLasting && this.#table?.context !== context) this.#table = undefined;
    if (this.#table?.dictionary !== dictionary || this.#table.known.length < dictionary.size + 1) {
      this.#table = new MemoTable(
        this.#expression,
        this.#type,
        dictionary,
        this.#table?.dictionary === dictionary ? this.#table : undefined,
      );
    }
    this.#table.context = context;
    return this.#table;
  }
}

class MemoTable {
  readonly dictionary: Dictionary;
  /** 0: not met; 1: false or a value; 2: true; 3: NULL. */
  readonly known: Uint8Array;
  readonly values: Datum[];
  /** Stands for a NULL of the column. */
  readonly nullCode: number;
  context: EvaluationContext | undefined;
  readonly #expression: Expression;
  readonly #type: SqlType;
  readonly #like: ByteLike | undefined;

  constructor(
    expression: Expression,
    type: SqlType,
    dictionary: Dictionary,
    before: MemoTable | undefined,
  ) {
    const size = Math.max(64, Math.ceil(dictionary.size * 1.5));
    this.#expression = expression;
    this.#type = type;
    this.#like = ByteLike.of(expression);
    this.dictionary = dictionary;
    this.nullCode = size;
    this.known = new Uint8Array(size + 1);
    this.values = [];
    if (before !== undefined) {
      this.known.set(before.known.subarray(0, before.nullCode));
      for (let code = 0; code < before.nullCode; code += 1)
        if (before.values[code] !== undefined) this.values[code] = before.values[code]!;
    }
  }

  fill(code: number): void {
    if (this.#like !== undefined && code !== this.nullCode) {
      const { dictionary } = this;
      const start = dictionary.byteStart(code);
      const end = start + dictionary.byteLength(code);
      this.known[code] = this.#like.test(dictionary.byteChunk(code), start, end) ? 2 : 1;
      return;
    }
    const datum =
      code === this.nullCode
        ? null
        : datumAt(
            {
              rep: 'dictionary',
              type: this.#type,
              codes: Int32Array.of(code),
              dictionary: this.dictionary,
            },
            0,
          );
    const value = interpret(this.#expression, () => datum, this.context!);
    this.values[code] = value;
    this.known[code] = value === null ? 3 : value === true ? 2 : 1;
  }
}
