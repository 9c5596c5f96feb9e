/** Keys and values of the tokens that a model has read: the memory of one conversation. */

import { assertInteger } from "../base/assert.ts";
import { TacetError } from "../base/errors.ts";
import type { Tensor } from "../base/platform.ts";
import {
  bytesOfToken,
  type CacheShape,
  type KeysAndValues,
  pastKeyName,
  pastValueName,
} from "./graph/pass-values.ts";

import { KeptRows } from "./kept-rows.ts";
import { LayerStates } from "./layer-states.ts";

type CacheTensor = Tensor & { readonly data: Float32Array };

/** The arrays of one layer. */
interface LayerRows extends KeysAndValues {
  readonly layer: number;
  readonly key: CacheTensor;
  readonly value: CacheTensor;
}

/**
 * The capacity after this one, in tokens. It grows by an eighth, and not to the double: the attention operator makes new
 * arrays of the whole capacity in each step, which one seldom used makes slower (a step of Qwen2.5-0.5B by a twelfth,
 * with 2048 tokens instead of 256), while what is copied to grow is 9 times a token's rows at most.
 */
function moreThan(capacity: number): number {
  return capacity === 0 ? 0 : capacity + Math.max(LEAST_STEP, Math.ceil(capacity / 8));
}

const LEAST_STEP = 64;

/**
 * Each layer has two arrays (kvHeads, capacity, headDim) of its sizes, of which the first `length` rows of each head are in use.
 * A forward pass reads them, stores the new rows behind, and commits them when it is through. On a device that keeps them
 * (CacheShape.isOnDevice) each pass makes new tensors with as many rows as there are tokens; here is one empty row to begin with.
 */
export class KvCache {
  readonly shape: CacheShape;
  #length = 0;
  #capacity = 0;
  #adaptedFrom: number;
  #disposed = false;
  #isLong = false;
  /** What was read, where it may have to be read again. */
  #ids: number[] = [];
  /** By layer; empty where a layer keeps nothing. */
  #rows: (LayerRows | undefined)[] = [];

  readonly #states: LayerStates;
  readonly #kept = new KeptRows();

  /**
   * @param capacity tokens to make room for now; the cache grows when it must
   * @param adaptedFrom default: an adapter acts on every token
   */
  constructor(shape: CacheShape, capacity: number, adaptedFrom = 0) {
    this.shape = shape;
    this.#adaptedFrom = adaptedFrom;
    this.#states = new LayerStates(shape);
    this.reserve(shape.isOnDevice ? Math.min(1, capacity) : capacity);
  }

  /** Tokens in the cache. */
  get length(): number {
    return this.#length;
  }

  /**
   * Tokens before this one are read by the base model alone, from it on with its adapter. Infinity: the base model
   * alone reads all.
   */
  get adaptedFrom(): number {
    return this.#adaptedFrom;
  }

  /**
   * Lets the adapter act from another token on.
   * @throws RangeError if the cache holds a token that was read otherwise: truncate it first
   */
  adaptFrom(token: number): void {
    if (token !== this.#adaptedFrom && this.#length > Math.min(token, this.#adaptedFrom)) {
      throw new RangeError("the cache holds tokens that were read otherwise");
    }
    this.#adaptedFrom = token;
  }

  /** Whether its tokens are turned as those of a long context (`CacheShape.longFrom`). */
  get isLong(): boolean {
    return this.#isLong;
  }

  /** Row of the rotary tables that position 0 has: the table for long contexts stands behind that for short ones. */
  get tableStart(): number {
    return this.#isLong ? (this.shape.longFrom ?? 0) : 0;
  }

  /** What it holds, where a context that becomes long is read again. */
  get ids(): readonly number[] {
    return this.#ids;
  }

  /**
   * Settles how tokens are turned from now on.
   * @throws RangeError if the cache holds tokens that were turned otherwise
   */
  turnAs({ isLong }: { readonly isLong: boolean }): void {
    if (isLong !== this.#isLong && this.#length > 0)
      throw new RangeError("the cache holds tokens that were turned otherwise");
    this.#isLong = isLong;
  }

  /** Takes what another cache of the same model holds, which is disposed. */
  takeOver(other: KvCache): void {
    this.#rows = other.#rows;
    this.#states.take(other.#states);
    this.#kept.take(other.#kept);
    this.#ids = other.#ids;
    [this.#length, this.#capacity, this.#isLong] = [other.#length, other.#capacity, other.#isLong];
    other.dispose();
  }

  /** Tokens there is memory for. */
  get capacity(): number {
    return this.#capacity;
  }

  /** Memory it takes: 2·kvHeads·headDim·4 of each layer, for each token of the capacity, and states. */
  get bytes(): number {
    return bytesOfToken(this.shape) * this.#capacity + this.#states.bytes;
  }

  /**
   * How many of the first `length` tokens can be kept by `truncate` and `fork`. All of them, unless a layer keeps a
   * state of all tokens together: then as many as had been read at the latest `mark` that is not behind them.
   */
  keepable(length: number): number {
    return this.#states.reachable(assertInteger(length, "length", 0, this.#length), this.#length);
  }

  /** Keeps the state of now to come back to; the latest ones are kept. */
  mark(): void {
    this.#states.mark(this.#length);
  }

  /**
   * Forgets all tokens from `length` on.
   * @throws RangeError for a length that is not keepable
   */
  truncate(length: number): void {
    this.#checkKeepable(length);
    this.#states.goBack(length, this.#length);
    this.#length = length;
    this.#ids.length = Math.min(length, this.#ids.length);
  }

  /**
   * A separate cache with the first `length` tokens of this one.
   * @throws RangeError for a length that is not keepable
   */
  fork(length: number): KvCache {
    this.#checkKeepable(length);
    const copy = new KvCache(this.shape, Math.max(1, length), this.#adaptedFrom);
    copy.#kept.share(this.#kept);
    for (const rows of this.shape.isOnDevice ? [] : this.#rows) {
      if (!rows) continue;
      const { layer, kvHeads, headDim, key, value } = rows;
      const to = copy.#rows[layer]!;
      for (let head = 0; head < kvHeads; head++) {
        const from = head * this.#capacity * headDim;
        const at = head * copy.#capacity * headDim;
        to.key.data.set(key.data.subarray(from, from + length * headDim), at);
        to.value.data.set(value.data.subarray(from, from + length * headDim), at);
      }
    }
    copy.#states.take(this.#states);
    copy.#states.goBack(length, this.#length);
    copy.#length = length;
    copy.#isLong = this.#isLong;
    copy.#ids = this.#ids.slice(0, length);
    return copy;
  }

  /** A layer's state of now, by the name of the graph's input. */
  stateOf(name: string): Tensor | undefined {
    return this.#states.current(name);
  }

  /** Frees the memory; the cache cannot be used any more. */
  dispose(): void {
    this.#disposed = true;
    this.#kept.dispose();
    this.#rows = [];
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
    const { maxTokens, isOnDevice } = this.shape;
    this.checkContext(tokens);
    if (tokens <= this.#capacity) return;
    const capacity = isOnDevice ? tokens : Math.min(maxTokens, Math.max(tokens, moreThan(this.#capacity)));
    if (!isOnDevice || this.#rows.length === 0) this.#makeRows(isOnDevice ? 1 : capacity);
    this.#capacity = capacity;
  }

  #makeRows(capacity: number): void {
    this.#rows = this.shape.layers.map((kept, layer) => {
      if (kept === null || "states" in kept) return undefined;
      const [key, value] = (["key", "value"] as const).map((name) =>
        this.#grown(this.#rows[layer]?.[name], kept, capacity),
      );
      return { ...kept, layer, key, value };
    });
  }

  /** The inputs of a pass, by name. */
  *tensors(): Iterable<[name: string, tensor: Tensor]> {
    for (const rows of this.#rows) {
      if (!rows) continue;
      for (const [name, tensor] of [
        [pastKeyName(rows.layer), rows.key],
        [pastValueName(rows.layer), rows.value],
      ] as const)
        yield [name, this.#kept.current(name) ?? tensor];
    }
    yield* this.#states.tensors();
  }

  /** What `keep` was given last, by name of the graph's input. */
  keptOf(name: string): Tensor | undefined {
    return this.#kept.current(name);
  }

  /** Takes keys or values with rows of a pass behind those of the cache, on the device. They count after `commit`. */
  keep(name: string, tensor: Tensor): void {
    this.#kept.store(name, tensor);
  }

  /** Writes rows of `newRowsName` of the tokens from `first` on, behind those of the cache. They count after `commit`. */
  store(layer: number, rows: Float32Array, first = this.#length): void {
    const { kvHeads, headDim, key, value } = this.#rows[layer]!;
    const size = rows.length / (2 * kvHeads);
    assertInteger(first, "first", this.#length, this.#capacity);
    assertInteger(first + size / headDim, "tokens", 0, this.#capacity);
    for (let head = 0; head < kvHeads; head++) {
      const at = (head * this.#capacity + first) * headDim;
      key.data.set(rows.subarray(head * size, (head + 1) * size), at);
      value.data.set(rows.subarray((kvHeads + head) * size, (kvHeads + head + 1) * size), at);
    }
  }

  /** Takes a state by the name of a pass's output. It counts after `commit`. */
  storeState(name: string, data: Float32Array): void {
    this.#states.store(name, data);
  }

  /** Counts what a pass has stored. */
  commit(ids: readonly number[]): void {
    this.#states.commit();
    this.#length = assertInteger(this.#length + ids.length, "length", 0, this.#capacity);
    if (this.shape.longFrom === undefined) return;
    for (const id of ids) this.#ids.push(id);
  }

  #checkKeepable(length: number): void {
    if (this.keepable(length) === length) return;
    throw new RangeError(`the cache can go back to ${this.keepable(length)} tokens, not to ${length}`);
  }

  #grown(old: CacheTensor | undefined, { kvHeads, headDim }: KeysAndValues, capacity: number): CacheTensor {
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
