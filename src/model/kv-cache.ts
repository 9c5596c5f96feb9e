/** Keys and values of the tokens that a model has read: the memory of one conversation. */

import { assertInteger } from "../base/assert.ts";
import { TacetError } from "../base/errors.ts";
import type { Tensor } from "../base/platform.ts";

type Part = "key" | "value";

/** Name of the graph input that reads a layer's cache, and of the output that it is written through. */
export const pastName = (part: Part, layer: number): string => `past_key_values.${layer}.${part}`;
export const presentName = (part: Part, layer: number): string => `present.${layer}.${part}`;

export interface CacheShape {
  readonly layers: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Tokens that a cache may grow to. */
  readonly maxTokens: number;
}

/**
 * Each layer has two arrays (kvHeads, capacity, headDim), of which the first `length` rows of each head are in use.
 * A run reads and writes them in place; what it wrote counts once `commit` is called.
 */
export class KvCache {
  readonly shape: CacheShape;
  #length = 0;
  #capacity = 0;
  #disposed = false;
  #tensors: readonly { readonly key: Tensor; readonly value: Tensor }[] = [];

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

  /** Forgets all tokens from `length` on. */
  truncate(length: number): void {
    this.#length = assertInteger(length, "length", 0, this.#length);
  }

  /** Frees the memory; the cache cannot be used any more. */
  dispose(): void {
    this.#disposed = true;
    this.#tensors = [];
    this.#length = 0;
    this.#capacity = 0;
  }

  /**
   * Makes room for this many tokens, keeping those that are there.
   * @throws TacetError bad_argument above the limit of the model
   */
  reserve(tokens: number): void {
    if (this.#disposed) throw new TypeError("the cache has been disposed");
    const { layers, maxTokens } = this.shape;
    assertInteger(tokens, "tokens", 0, Number.MAX_SAFE_INTEGER);
    if (tokens > maxTokens) {
      throw new TacetError("bad_argument", `${tokens} tokens do not fit into a context of ${maxTokens}`, {
        hint: "shorten the prompt, ask for fewer new tokens, or load the model with a larger contextLength",
      });
    }
    if (tokens <= this.#capacity) return;
    const capacity = Math.min(maxTokens, Math.max(tokens, 2 * this.#capacity));
    this.#tensors = Array.from({ length: layers }, (_, layer) => ({
      key: this.#grown(this.#tensors[layer]?.key, capacity),
      value: this.#grown(this.#tensors[layer]?.value, capacity),
    }));
    this.#capacity = capacity;
  }

  /** Inputs of a run, by name. */
  pastTensors(): Record<string, Tensor> {
    return this.#named(pastName);
  }

  /** Where a run shall write, by output name: the same memory. */
  presentTensors(): Record<string, Tensor> {
    return this.#named(presentName);
  }

  /** Counts tokens that a run has written behind the last one. */
  commit(tokens: number): void {
    this.#length = assertInteger(this.#length + tokens, "length", 0, this.#capacity);
  }

  #named(name: typeof pastName): Record<string, Tensor> {
    const named: Record<string, Tensor> = {};
    for (const [layer, { key, value }] of this.#tensors.entries()) {
      named[name("key", layer)] = key;
      named[name("value", layer)] = value;
    }
    return named;
  }

  #grown(old: Tensor | undefined, capacity: number): Tensor {
    const { kvHeads, headDim } = this.shape;
    const data = new Float32Array(kvHeads * capacity * headDim);
    if (old) {
      for (let head = 0; head < kvHeads; head++) {
        const from = head * this.#capacity * headDim;
        const rows = (old.data as Float32Array).subarray(from, from + this.#length * headDim);
        data.set(rows, head * capacity * headDim);
      }
    }
    return { type: "float32", dims: [1, kvHeads, capacity, headDim], data };
  }
}
