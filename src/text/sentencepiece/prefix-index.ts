/** Texts with an id, found by what a longer text holds at a place: a trie laid out as one sorted list. */
export class PrefixIndex {
  readonly #keys: readonly string[];
  readonly #ids: readonly number[];

  constructor(entries: Iterable<readonly [string, number]>) {
    const sorted = [...entries].sort(([a], [b]) => (a < b ? -1 : 1));
    this.#keys = sorted.map(([key]) => key);
    this.#ids = sorted.map(([, id]) => id);
  }

  /** Calls `visit` for every entry that occurs in `text` at `at`, the shortest first. */
  each(text: string, at: number, visit: (length: number, id: number) => void): void {
    let low = 0;
    let high = this.#keys.length;
    // All entries in [low, high) begin with the first `depth` code units of the text there.
    for (let depth = 0; low < high && at + depth < text.length; depth++) {
      const unit = text.charCodeAt(at + depth);
      low = this.#firstAtLeast(low, high, depth, unit);
      high = this.#firstAtLeast(low, high, depth, unit + 1);
      // The entry that ends here sorts before those that go on.
      if (low < high && this.#keys[low].length === depth + 1) visit(depth + 1, this.#ids[low]);
    }
  }

  /** Length of the longest entry that is there; 0: none is. */
  longest(text: string, at: number): number {
    let longest = 0;
    this.each(text, at, (length) => {
      longest = length;
    });
    return longest;
  }

  /** The first key in [low, high) whose code unit at `depth` is `unit` or more; a key that ends before is less. */
  #firstAtLeast(low: number, high: number, depth: number, unit: number): number {
    while (low < high) {
      const middle = (low + high) >>> 1;
      const key = this.#keys[middle];
      if (key.length > depth && key.charCodeAt(depth) >= unit) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
