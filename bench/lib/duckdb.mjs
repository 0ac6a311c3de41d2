import {
  BIGINT,
  DECIMAL,
  DOUBLE,
  DuckDBDataChunk,
  DuckDBDecimalValue,
  DuckDBInstance,
  DuckDBTimestampValue,
  INTEGER,
  TIMESTAMP,
  VARCHAR,
} from '@duckdb/node-api';

/** As many rows as a chunk of DuckDB holds. */
const CHUNK_ROW_COUNT = 2048;

/** DuckDB in memory with one thread. */
export async function openDuckdb() {
  const instance = await DuckDBInstance.create(':memory:', { threads: '1' });
  const connection = await instance.connect();
  return {
    name: 'DuckDB',
    run: (text) => connection.run(text),
    async query(text) {
      const reader = await connection.runAndReadAll(text);
      return reader.getRowObjectsJS();
    },
    /** @param chunks what `orders()` yields */
    async loadOrders(chunks) {
      // A timestamp without zone: truncating one with a zone goes through ICU there, which would be unfair to it.
      await connection.run(`CREATE TABLE orders (id BIGINT NOT NULL, ts TIMESTAMP NOT NULL, region VARCHAR NOT NULL,
        customer INTEGER NOT NULL, note VARCHAR NOT NULL, amount DOUBLE NOT NULL, price DECIMAL(12,2) NOT NULL)`);
      const appender = await connection.createAppender('orders');
      const types = [BIGINT, TIMESTAMP, VARCHAR, INTEGER, VARCHAR, DOUBLE, DECIMAL(12, 2)];
      for (const chunk of chunks) {
        for (let from = 0; from < chunk.rowCount; from += CHUNK_ROW_COUNT) {
          const to = Math.min(chunk.rowCount, from + CHUNK_ROW_COUNT);
          const part = (values, of = (value) => value) => Array.from(values.slice(from, to), of);
          const data = DuckDBDataChunk.create(types);
          data.setColumns([
            part(Array.from(chunk.id), BigInt),
            part(Array.from(chunk.tsMs), (ms) => new DuckDBTimestampValue(BigInt(ms) * 1000n)),
            part(chunk.region),
            part(chunk.customer),
            part(chunk.note),
            part(chunk.amount),
            part(
              Array.from(chunk.priceCents),
              (cents) => new DuckDBDecimalValue(BigInt(cents), 12, 2),
            ),
          ]);
          appender.appendDataChunk(data);
        }
      }
      appender.closeSync();
    },
    close() {
      connection.closeSync();
      instance.closeSync();
    },
  };
}
