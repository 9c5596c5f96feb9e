/** Text as its tokens arrive. */

import type { Tokenizer } from "./tokenizer.ts";

/**
 * What a decoder writes for bytes that are not UTF-8, and so for the beginning of a character: one U+FFFD for all its
 * bytes, or one for each. The beginning has at most three bytes, so what comes before these is certain.
 */
const UNCERTAIN = /\ufffd{1,3}$/;

/**
 * The texts of all `push` calls and of `finish` together are `tokenizer.detokenize` of all ids, and no text ends
 * within a character: the bytes of one may be in two or more tokens.
 */
export class StreamingDetokenizer {
  readonly #tokenizer: Tokenizer;
  readonly #options: { skipSpecialTokens?: boolean };
  /** The tokens behind the last text given out, and those since: a token's text depends on its neighbour. */
  #window: number[] = [];
  /** How much of the window's text has been given out. */
  #given = 0;
  /** Where in the window the tokens since begin. */
  #fresh = 0;

  constructor(tokenizer: Tokenizer, options: { skipSpecialTokens?: boolean } = {}) {
    this.#tokenizer = tokenizer;
    this.#options = options;
  }

  /** The text that is certain once this token is known; "" within a character. */
  push(id: number): string {
    this.#window.push(id);
    const text = this.#tokenizer.detokenize(this.#window, this.#options);
    const uncertain = UNCERTAIN.exec(text)?.[0].length ?? 0;
    const complete = uncertain === 0;
    const more = text.slice(this.#given, Math.max(this.#given, text.length - uncertain));
    this.#given += more.length;
    if (complete && more !== "") {
      // Older tokens can go: the text so far ends between two characters.
      this.#window = this.#window.slice(this.#fresh);
      this.#given = this.#tokenizer.detokenize(this.#window, this.#options).length;
      this.#fresh = this.#window.length;
    }
    return more;
  }

  /** What was held back; the object is then as new. */
  finish(): string {
    const rest = this.#tokenizer.detokenize(this.#window, this.#options).slice(this.#given);
    this.#window = [];
    this.#given = 0;
    this.#fresh = 0;
    return rest;
  }
}
