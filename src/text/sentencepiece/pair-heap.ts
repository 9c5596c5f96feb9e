/** The pairs of symbols that byte-pair encoding may join next. */

export interface SymbolPair {
  readonly left: number;
  readonly right: number;
  /** Of the joint text, when the pair was pushed. */
  readonly length: number;
  readonly score: number;
}

/** Gives the pair of the highest score first, the leftmost of equals. */
export class PairHeap {
  readonly #pairs: SymbolPair[] = [];

  push(pair: SymbolPair): void {
    const pairs = this.#pairs;
    let at = pairs.push(pair) - 1;
    for (let up = (at - 1) >> 1; at > 0 && isBefore(pair, pairs[up]); up = (at - 1) >> 1) {
      pairs[at] = pairs[up];
      at = up;
    }
    pairs[at] = pair;
  }

  pop(): SymbolPair | undefined {
    const pairs = this.#pairs;
    const first = pairs[0];
    const last = pairs.pop();
    if (last === undefined || pairs.length === 0) return first;
    let at = 0;
    for (let down = 1; down < pairs.length; down = 2 * at + 1) {
      if (down + 1 < pairs.length && isBefore(pairs[down + 1], pairs[down])) down++;
      if (!isBefore(pairs[down], last)) break;
      pairs[at] = pairs[down];
      at = down;
    }
    pairs[at] = last;
    return first;
  }
}

function isBefore(a: SymbolPair, b: SymbolPair): boolean {
  return a.score > b.score || (a.score === b.score && a.left < b.left);
}
