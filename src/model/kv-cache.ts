/** Keys and values of the tokens that a model has read: the memory of one conversation. */

import { assertInteger } from "../base/assert.ts";
import { TacetError } from "../base/errors.ts";
import type { Tensor } from "../base/platform.ts";
import { type CacheShape, pastKeyName, pastValueName } from "./graph/pass-values.ts";

type CacheTensor = Tensor & { readonly data: Float32Array };

/**
 * Each layer has two arrays (kvHeads, capacity, headDim), of which the first `length` rows of each head are in use.
 * A forward pass reads them, stores the new rows behind, and commits them when it is through.
 */
export class KvCache {
  readonly shape: CacheShape;
  #length = 0;
  #capacity = 0;
  #disposed = false;
  #tensors: readonly { readonly key: CacheTensor; readonly value: CacheTensor }[] = [];

  /** @param capacity tokens to make room for now; the cache grows when it must */
  constructor(shape: CacheShape, capacity: number) {
    this.shape = shape;
    this.reserve(capacity);
  }

  /** Tokens in the cache. */
  get length(): number {
    return this.#length;
  }

  /** Tokens there is memory for. */
  get capacity(): number {
    return this.#capacity;
  }

  /** Memory it takes: 2·layers·kvHeads·headDim·4 for each token of the capacity. */
  get bytes(): number {
    const { layers, kvHeads, headDim } = this.shape;
    return 2 * layers * kvHeads * headDim * 4 * this.#capacity;
  }

  /** Forgets all tokens from `length` on. */
  truncate(length: number): void {
    this.#length = assertInteger(length, "length", 0, this.#length);
  }

  /** A separate cache with the first `length` tokens of this one. */
  fork(length: number): KvCache {
    assertInteger(length, "length", 0, this.#length);
    const copy = new KvCache(this.shape, Math.max(1, length));
    const { kvHeads, headDim } = this.shape;
    for (const [layer, { key, value }] of this.#tensors.entries()) {
      const to = copy.#tensors[layer];
      for (let head = 0; head < kvHeads; head++) {
        const from = head * this.#capacity * headDim;
        const at = head * copy.#capacity * headDim;
        to.key.data.set(key.data.subarray(from, from + length * headDim), at);
        to.value.data.set(value.data.subarray(from, from + length * headDim), at);
      }
    }
    copy.#length = length;
    return copy;
  }

  /** Frees the memory; the cache cannot be used any more. */
  dispose(): void {
    this.#disposed = true;
    this.#tensors = [];
    this.#length = 0;
    this.#capacity = 0;
  }

  /** @throws TacetError context_overflow if a context of this many tokens is above the limit of the model */
  checkContext(tokens: number): void {
    const { maxTokens } = this.shape;
    if (assertInteger(tokens, "tokens", 0, Number.MAX_SAFE_INTEGER) <= maxTokens) return;
    throw new TacetError("context_overflow", `${tokens} tokens do not fit into a context of ${maxTokens}`, {
      hint: "shorten the prompt, ask for fewer new tokens, or load the model with a larger contextLength",
    });
  }

  /**
   * Makes room for this many tokens, keeping those that are there.
   * @throws TacetError context_overflow above the limit of the model
   */
  reserve(tokens: number): void {
    if (this.#disposed) throw new TypeError("the cache has been disposed");
    const { layers, maxTokens } = this.shape;
    this.checkContext(tokens);
    if (tokens <= this.#capacity) return;
    const capacity = Math.min(maxTokens, Math.max(tokens, 2 * this.#capacity));
    this.#tensors = Array.from({ length: layers }, (_, layer) => ({
      key: this.#grown(this.#tensors[layer]?.key, capacity),
      value: this.#grown(this.#tensors[layer]?.value, capacity),
    }));
    this.#capacity = capacity;
  }

  /** The inputs of a pass, by name. */
  *tensors(): Iterable<[name: string, tensor: Tensor]> {
    for (const [layer, { key, value }] of this.#tensors.entries()) {
      yield [pastKeyName(layer), key];
      yield [pastValueName(layer), value];
    }
  }

  /** Writes rows of `newRowsName` of the tokens from `first` on, behind those of the cache. They count after `commit`. */
  store(layer: number, rows: Float32Array, first = this.#length): void {
    const { kvHeads, headDim } = this.shape;
    const { key, value } = this.#tensors[layer];
    const size = rows.length / (2 * kvHeads);
    assertInteger(first, "first", this.#length, this.#capacity);
    assertInteger(first + size / headDim, "tokens", 0, this.#capacity);
    for (let head = 0; head < kvHeads; head++) {
      const at = (head * this.#capacity + first) * headDim;
      key.data.set(rows.subarray(head * size, (head + 1) * size), at);
      value.data.set(rows.subarray((kvHeads + head) * size, (kvHeads + head + 1) * size), at);
    }
  }

  /** Counts rows that a pass has stored. */
  commit(tokens: number): void {
    this.#length = assertInteger(this.#length + tokens, "length", 0, this.#capacity);
  }

  #grown(old: CacheTensor | undefined, capacity: number): CacheTensor {
    const { kvHeads, headDim } = this.shape;
    const data = new Float32Array(kvHeads * capacity * headDim);
    if (old) {
      for (let head = 0; head < kvHeads; head++) {
        const from = head * this.#capacity * headDim;
        const rows = old.data.subarray(from, from + this.#length * headDim);
        data.set(rows, head * capacity * headDim);
      }
    }
    return { type: "float32", dims: [1, kvHeads, capacity, headDim], data };
  }
}
