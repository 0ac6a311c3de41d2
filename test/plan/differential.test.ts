import { expect, test } from 'vitest';
import { DbError } from '../../src/base/errors.ts';
import { open } from '../../src/open.ts';
import { Model, ModelError } from '../../src/model/model.ts';
import { Dice, randomQuery, randomRows, SETUP } from './random-query.ts';

/** What both may refuse: the model to answer, the engine to run. */
const UNKNOWN = /^(0A000|42883)$/;

const firstSeed = Number(process.env['FUZZ_SEED'] ?? 1);
const seedCount = Number(process.env['FUZZ_COUNT'] ?? 12);
const QUERIES_A_SEED = 40;

type Answer = readonly string[] | `error ${string}`;

test('random queries have the answers of the naive interpreter', async () => {
  await Model.load();
  let compared = 0;
  for (let seed = firstSeed; seed < firstSeed + seedCount; seed += 1) {
    const dice = new Dice(seed);
    const setup = SETUP + randomRows(dice);
    const model = new Model();
    model.exec(setup);
    const db = await open();
    try {
      await db.exec(setup);
      for (let each = 0; each < QUERIES_A_SEED; each += 1) {
        const { sql, ordered } = randomQuery(dice);
        const expected = modelAnswer(model, sql, ordered);
        const actual = await db.query(sql, { format: 'text' }).then(
          ({ rows }) => texts(rows as unknown as readonly unknown[][], ordered),
          (cause: unknown): Answer => {
            if (!(cause instanceof DbError)) throw cause;
            return `error ${cause.code}`;
          },
        );
        if (isUnknown(expected) || isUnknown(actual)) continue;
        compared += 1;
        expect(
          actual,
          `replay: FUZZ_SEED=${seed} FUZZ_COUNT=1 npx vitest run test/plan/differential.test.ts\n${setup}\n${sql}`,
        ).toEqual(expected);
      }
    } finally {
      await db.close();
    }
  }
  // Most of what is made can be compared: the generator has not drifted away from the two.
  expect(compared).toBeGreaterThan(seedCount * QUERIES_A_SEED * 0.8);
});

function isUnknown(answer: Answer): boolean {
  return typeof answer === 'string' && UNKNOWN.test(answer.slice('error '.length));
}

function modelAnswer(model: Model, sql: string, ordered: boolean): Answer {
  try {
    return texts(model.query(sql).rows, ordered);
  } catch (cause) {
    if (cause instanceof ModelError) return `error ${cause.code}`;
    throw new Error(`the model broke on ${sql}`, { cause });
  }
}

function texts(rows: readonly (readonly unknown[])[], ordered: boolean): readonly string[] {
  const lines = rows.map((row) => JSON.stringify(row));
  return ordered ? lines : lines.toSorted();
}
