import { jsonText } from './reply.ts';

/**
 * JSON of rows that many are told: each piece is rendered once, whoever asks first. A text lives as long as its rows, and of all texts the latest
 * are kept: who is told much later renders for himself.
 */
export class RowTexts {
  readonly #charactersMax: number;
  readonly #texts = new WeakMap<readonly unknown[], Map<number, RowText>>();
  /** The oldest one first. */
  readonly #kept = new Set<RowText>();
  #characters = 0;

  constructor(charactersMax: number) {
    this.#charactersMax = charactersMax;
  }

  /** Of `rowCount` rows at most from `start` on. Who asks for the same rows and start asks for as many. */
  of(rows: readonly unknown[], { start, rowCount }: { start: number; rowCount: number }): string {
    let texts = this.#texts.get(rows);
    if (texts === undefined) this.#texts.set(rows, (texts = new Map()));
    const known = texts.get(start);
    if (known?.text !== undefined) return known.text;
    const isWhole = start === 0 && rows.length <= rowCount;
    const text = jsonText(isWhole ? rows : rows.slice(start, start + rowCount));
    const made: RowText = { text, characters: text.length + ENTRY_CHARACTERS };
    texts.set(start, made);
    this.#kept.add(made);
    this.#characters += made.characters;
    for (const oldest of this.#kept) {
      if (this.#characters <= this.#charactersMax) break;
      this.#kept.delete(oldest);
      this.#characters -= oldest.characters;
      oldest.text = undefined;
    }
    return text;
  }
}

type RowText = { text: string | undefined; readonly characters: number };

/** About what keeping a text takes beside it. */
const ENTRY_CHARACTERS = 200;
