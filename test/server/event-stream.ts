/** One event of a stream, as the wire has it. */
export type WireEvent = {
  readonly event: string;
  readonly id: string | undefined;
  readonly data: Record<string, unknown> & {
    readonly item?: string;
    readonly position?: number;
    readonly rows?: Record<string, unknown>[];
    readonly inserted?: Record<string, unknown>[];
    readonly deleted?: Record<string, unknown>[];
  };
};

/** Reads server-sent events as a browser does (WHATWG HTML, 9.2), but only when asked: what is not pulled stays in the socket. */
export class EventStream {
  readonly #abort = new AbortController();
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  #decoder = new TextDecoder();
  #text = '';
  /** What a browser would send as `Last-Event-ID`. */
  lastEventId: string | undefined;
  response: Response | undefined;

  static async open(url: string, init: RequestInit = {}): Promise<EventStream> {
    const stream = new EventStream();
    stream.response = await fetch(url, { ...init, signal: stream.#abort.signal });
    stream.#reader = stream.response.body!.getReader();
    return stream;
  }

  /** The next event; undefined when the server ended the stream. */
  async next(): Promise<WireEvent | undefined> {
    for (;;) {
      const end = this.#text.indexOf('\n\n');
      if (end < 0) {
        const { done, value } = await this.#reader!.read();
        if (done) return undefined;
        this.#text += this.#decoder.decode(value, { stream: true });
        continue;
      }
      const block = this.#text.slice(0, end);
      this.#text = this.#text.slice(end + 2);
      const fields = new Map(
        block.split('\n').map((line) => {
          const colon = line.indexOf(':');
          return [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, '')] as const;
        }),
      );
      const id = fields.get('id');
      if (id !== undefined) this.lastEventId = id;
      const data = fields.get('data');
      if (data === undefined) continue;
      return { event: fields.get('event') ?? 'message', id, data: JSON.parse(data) };
    }
  }

  /** Events up to and with the first one that fits. */
  async until(fits: (event: WireEvent) => boolean): Promise<WireEvent[]> {
    const events: WireEvent[] = [];
    for (;;) {
      const event = await this.next();
      if (event === undefined)
        throw new Error(`the stream ended after ${JSON.stringify(events.at(-1))}`);
      events.push(event);
      if (fits(event)) return events;
    }
  }

  close(): void {
    this.#abort.abort();
  }
}

/** What a client holds of each item: the fold of what it was told. Rows may repeat. */
export class Folded {
  readonly #items = new Map<string, Map<string, number>>();

  take({ event, data }: WireEvent): void {
    const rows = this.#items.get(data.item ?? '') ?? new Map<string, number>();
    if (event === 'reset') rows.clear();
    for (const row of data.rows ?? []) bump(rows, row, 1);
    for (const row of data.deleted ?? []) bump(rows, row, -1);
    for (const row of data.inserted ?? []) bump(rows, row, 1);
    this.#items.set(data.item ?? '', rows);
  }

  /** Sorted, with a row as often as it is there; a negative count shows as such. */
  rows(item: string): string[] {
    return [...(this.#items.get(item) ?? [])]
      .flatMap(([row, count]) =>
        count < 0 ? [`${count} × ${row}`] : Array.from({ length: count }, () => row),
      )
      .sort();
  }
}

function bump(rows: Map<string, number>, row: unknown, by: number): void {
  const text = JSON.stringify(row);
  const count = (rows.get(text) ?? 0) + by;
  if (count === 0) rows.delete(text);
  else rows.set(text, count);
}
