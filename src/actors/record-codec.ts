import { Decimal, Interval } from '../columns/values.ts';
import { registeredType, type RegisteredType } from '../journal/value-codec.ts';

/** Classes that records hold beside plain data; the names are for ever. */
export const recordCodecEntries: readonly RegisteredType<never>[] = [
  registeredType<Decimal>({
    name: 'decimal',
    type: Decimal,
    toPlain: ({ coefficient, scale, special }) => [coefficient, scale, special],
    fromPlain: (plain) => {
      const [coefficient, scale, special] = plain as [bigint, number, Decimal['special']];
      return new Decimal(coefficient, scale, special);
    },
  }),
  registeredType<Interval>({
    name: 'interval',
    type: Interval,
    toPlain: ({ months, days, micros }) => [months, days, micros],
    fromPlain: (plain) => {
      const [months, days, micros] = plain as [number, number, number];
      return new Interval(months, days, micros);
    },
  }),
];
