/** Ends a text at the first stop string, while the text still comes. */

import { TacetError } from "../base/errors.ts";

/** More than anyone needs; OpenAI takes 4. */
const MOST_STOPS = 64;

/** One stop string, and how much of it the text's end has matched (Knuth, Morris and Pratt). */
interface Matcher {
  readonly stop: string;
  /** For each matched length, the longest shorter one that is matched too. */
  readonly shorter: readonly number[];
  matched: number;
}

/**
 * Text goes in in pieces, and comes out up to the stop string that is complete first; of several that end at the same
 * place, the longest counts. The stop string itself does not come out, nor does text that may be its begin until it
 * turns out not to be. What comes out does not depend on how the text is cut.
 *
 * Hidden text, that of control tokens, counts as text for the match and never comes out.
 */
export class StopStrings {
  readonly #matchers: readonly Matcher[];
  /** Text that may be the beginning of a stop string. */
  #held = "";
  /** Of each unit of it, whether it is hidden. */
  #hidden: readonly boolean[] = [];
  #found: string | undefined;

  /** @throws TacetError bad_argument for an empty stop string, or too many of them */
  constructor(stops: readonly string[]) {
    if (stops.some((stop) => stop === ""))
      throw new TacetError("bad_argument", "a stop string must not be empty");
    if (stops.length > MOST_STOPS)
      throw new TacetError("bad_argument", `there must be at most ${MOST_STOPS} stop strings`);
    this.#matchers = stops.map((stop) => ({ stop, shorter: shorterMatches(stop), matched: 0 }));
  }

  /** The stop string that was found. */
  get found(): string | undefined {
    return this.#found;
  }

  /** Whether anything is looked for. */
  get isEmpty(): boolean {
    return this.#matchers.length === 0;
  }

  /** The text that is certain to belong to the answer once this piece is known. */
  push(piece: string, isHidden = false): string {
    if (this.#found !== undefined) return "";
    if (this.#matchers.length === 0) return isHidden ? "" : piece;
    const text = this.#held + piece;
    const hidden = [...this.#hidden, ...Array.from({ length: piece.length }, () => isHidden)];
    for (let i = this.#held.length; i < text.length; i++) {
      const stop = this.#advance(text[i]);
      if (stop === undefined) continue;
      this.#found = stop;
      this.#hold("", []);
      return visible(text.slice(0, i + 1 - stop.length), hidden);
    }
    const certain = text.length - Math.max(...this.#matchers.map(({ matched }) => matched));
    this.#hold(text.slice(certain), hidden.slice(certain));
    return visible(text.slice(0, certain), hidden);
  }

  /** What was held back, when no more text comes. */
  finish(): string {
    const rest = visible(this.#held, this.#hidden);
    this.#hold("", []);
    return rest;
  }

  #hold(text: string, hidden: readonly boolean[]): void {
    this.#held = text;
    this.#hidden = hidden;
  }

  /** The longest stop string that this UTF-16 unit completes. */
  #advance(unit: string): string | undefined {
    let longest: string | undefined;
    for (const matcher of this.#matchers) {
      const { stop, shorter } = matcher;
      while (matcher.matched > 0 && stop[matcher.matched] !== unit)
        matcher.matched = shorter[matcher.matched];
      if (stop[matcher.matched] === unit) matcher.matched++;
      if (matcher.matched === stop.length && stop.length > (longest?.length ?? 0)) longest = stop;
    }
    return longest;
  }
}

function visible(text: string, hidden: readonly boolean[]): string {
  if (!hidden.includes(true)) return text;
  let shown = "";
  for (let i = 0; i < text.length; i++) if (!hidden[i]) shown += text[i];
  return shown;
}

/** By length of a prefix: the length of its longest proper suffix that is a prefix too. */
function shorterMatches(stop: string): number[] {
  const shorter = [0, 0];
  for (let length = 1; length < stop.length; length++) {
    let match = shorter[length];
    while (match > 0 && stop[match] !== stop[length]) match = shorter[match];
    shorter.push(stop[match] === stop[length] ? match + 1 : 0);
  }
  return shorter;
}
