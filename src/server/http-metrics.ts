import type { FastifyInstance } from 'fastify';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Clock } from '../base/ports.ts';

/** What the REST door and the process say of themselves; labels are routes, never what stands in an address. */
export class HttpMetrics {
  readonly #clock: Clock;
  readonly #registry = new Registry();
  readonly #requests: Counter<'method' | 'route' | 'status'>;
  readonly #durations: Histogram<'route'>;

  constructor(clock: Clock, streamCount: () => number) {
    this.#clock = clock;
    const registers = [this.#registry];
    this.#requests = new Counter({
      name: 'analyticdb_http_requests_total',
      help: 'Requests answered, by route and status.',
      labelNames: ['method', 'route', 'status'],
      registers,
    });
    this.#durations = new Histogram({
      name: 'analyticdb_http_request_duration_seconds',
      help: 'Time from a request to the end of its answer; streams count for as long as they last.',
      labelNames: ['route'],
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      registers,
    });
    for (const [name, help, value] of [
      ['analyticdb_http_streams', 'Live streams and long polls that are open.', streamCount],
      [
        'process_resident_memory_bytes',
        'Resident memory of the process.',
        () => process.memoryUsage.rss(),
      ],
      [
        'nodejs_heap_used_bytes',
        "Used bytes of the JavaScript heap; the database's arrays lie outside of it.",
        () => process.memoryUsage().heapUsed,
      ],
    ] as const) {
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(value());
        },
      });
    }
    new Counter({
      name: 'process_cpu_seconds_total',
      help: 'Processor time that the process has taken.',
      registers,
      collect() {
        const { user, system } = process.cpuUsage();
        this.reset();
        this.inc((user + system) / 1e6);
      },
    });
  }

  watch(app: FastifyInstance): void {
    app.addHook('onRequest', async (request, { raw }) => {
      const started = this.#clock.monotonicMs();
      raw.once('close', () => {
        const route = request.routeOptions.url ?? 'none';
        const method = KNOWN_METHODS.has(request.method) ? request.method : 'other';
        this.#requests.inc({ method, route, status: String(raw.statusCode) });
        this.#durations.observe({ route }, (this.#clock.monotonicMs() - started) / 1000);
      });
    });
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }
}

const KNOWN_METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']);
