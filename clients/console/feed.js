/**
 * The line to the server: one stream of server-sent events feeds every chart. Each view is folded from its snapshot and
 * deltas; a new snapshot takes the place of the old rows only when it is whole, so nothing blanks on the way.
 */

/** A view as the server has it: rows by key. */
export class FoldedView {
  rows = new Map();
  position = 0;
  /** When what is shown was committed, by the server's clock. */
  committedMs = 0;
  /** Rows that arrived or left since the page was opened. */
  changes = 0;
  key = [];
  #incoming;

  #keyOf(row) {
    return this.key.length === 0
      ? JSON.stringify(row)
      : this.key.map((name) => row[name]).join('\u0000');
  }

  /** True where there is something new to draw. */
  take(kind, event) {
    this.position = event.position;
    switch (kind) {
      case 'snapshot':
        this.#incoming ??= new Map();
        for (const row of event.rows) this.#incoming.set(this.#keyOf(row), row);
        if (event.more) return false;
        this.rows = this.#incoming;
        this.#incoming = undefined;
        break;
      case 'reset':
        this.#incoming = new Map();
        return false;
      case 'delta':
        for (const row of event.deleted) this.rows.delete(this.#keyOf(row));
        for (const row of event.inserted) this.rows.set(this.#keyOf(row), row);
        this.changes += event.inserted.length + event.deleted.length;
        break;
      default:
        return false;
    }
    this.committedMs = event.committedMs ?? this.committedMs;
    return true;
  }
}

/** Follows views for as long as the page lives; tells `connection(state)` and `changed(name, kind, event)`. */
export function follow(views, { connection, changed }) {
  const names = [...views.keys()];
  const connect = () => {
    const source = new EventSource(`/v1/live?views=${names.join(',')}&maxRate=10`);
    source.addEventListener('open', () => connection('live'));
    source.addEventListener('error', () => {
      connection('lost');
      // A browser comes again by itself after a broken line, but not after a refusal: the server was starting, say.
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, 1000);
    });
    source.addEventListener('hello', (message) => {
      const { item, key } = JSON.parse(message.data);
      const view = views.get(item);
      if (view !== undefined) view.key = key ?? [];
    });
    for (const kind of ['snapshot', 'delta', 'progress', 'reset']) {
      source.addEventListener(kind, (message) => {
        const event = JSON.parse(message.data);
        const view = views.get(event.item);
        if (view?.take(kind, event)) changed(event.item, kind, event);
      });
    }
  };
  connect();
}

/** JSON of the server's own; undefined where there is none, with what it said. */
export async function getJson(path, options) {
  try {
    const answer = await fetch(path, options);
    const body = await answer.json();
    return answer.ok ? { body } : { problem: body, status: answer.status };
  } catch (cause) {
    return { problem: { message: 'the server does not answer', cause: String(cause) }, status: 0 };
  }
}
