import { DbError } from '../base/errors.ts';
import { valueText } from '../base/value-text.ts';
import { ArrowWriter } from './arrow-writer.ts';
import type { Format } from './contract.ts';
import { ParquetWriter } from './parquet-writer.ts';
import { CsvWriter, JsonWriter } from './text-writers.ts';
import type { FormatWriter, WriterColumn, WriterOptions } from './writer-contract.ts';

export function openWriter(
  format: Format,
  columns: readonly WriterColumn[],
  options: WriterOptions,
): FormatWriter {
  switch (format) {
    case 'csv':
      return new CsvWriter(columns, options);
    case 'ndjson':
    case 'json':
      return new JsonWriter(columns, format === 'json', options);
    case 'parquet':
      return new ParquetWriter(columns, options);
    case 'arrow':
      return new ArrowWriter(columns, options);
    default:
      throw new DbError('22023', `"${valueText(format)}" is not a format`, {
        field: 'format',
        hint: "Use 'csv', 'ndjson', 'json', 'parquet' or 'arrow'.",
      });
  }
}
