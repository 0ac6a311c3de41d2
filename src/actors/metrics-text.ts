import { Counter, Gauge, Registry, type Metric } from 'prom-client';
import type { ShownMetrics } from './metrics.ts';

/** Metrics in Prometheus's text format. */
export function metricsText({ counters, gauges, histogram }: ShownMetrics): Promise<string> {
  const registry = new Registry();
  const registers = [registry];
  registry.registerMetric(histogramOf(histogram));
  for (const [name, help, value] of counters) new Counter({ name, help, registers }).inc(value);
  for (const [name, help, value] of gauges) new Gauge({ name, help, registers }).set(value);
  return registry.metrics();
}

/** A histogram that was counted elsewhere: a registry asks a metric for its values and no more. */
function histogramOf({ name, help, bounds, series }: ShownMetrics['histogram']): Metric {
  const values = series.flatMap(({ labels, counts, sum }) => {
    let count = 0;
    const buckets = [...bounds, '+Inf'].map((bound, index) => {
      count += counts[index]!;
      return { metricName: `${name}_bucket`, labels: { ...labels, le: bound }, value: count };
    });
    return [
      ...buckets,
      { metricName: `${name}_sum`, labels, value: sum },
      { metricName: `${name}_count`, labels, value: count },
    ];
  });
  return {
    name,
    get: async () => ({ name, help, type: 'histogram', values }),
  } as unknown as Metric;
}
