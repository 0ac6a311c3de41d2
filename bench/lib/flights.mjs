import { fileURLToPath } from 'node:url';

/** 3,000,000 flights of the Bureau of Transportation Statistics, January to June 2001: a Parquet file of the package vega-datasets. */
export const FLIGHTS_FILE = fileURLToPath(
  new URL('../../node_modules/vega-datasets/data/flights-3m.parquet', import.meta.url),
);
export const FLIGHTS_COUNT = 3_000_000;
