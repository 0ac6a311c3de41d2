import { instantText } from './civil.ts';

/** As many as the windows of a dashboard begin and end at; a prime, so that days in a row do not meet in a few places. */
const TEXTS = 1021;

/** Texts of whole seconds, remembered: windows begin and end at the same ones again and again, and writing one costs as much as adding up what lies in it. */
export class InstantTexts {
  readonly #ms = new Float64Array(TEXTS).fill(NaN);
  readonly #texts: string[] = [];

  of(instantMs: number): string {
    const seconds = instantMs / 1000;
    const place = Math.abs(seconds | 0) % TEXTS;
    if (this.#ms[place] === instantMs) return this.#texts[place]!;
    const text = instantText(instantMs);
    if (Math.floor(seconds) !== seconds) return text;
    this.#ms[place] = instantMs;
    this.#texts[place] = text;
    return text;
  }
}
