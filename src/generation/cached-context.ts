/** A KV cache that knows which ids it holds, so that a prompt that begins like the last one is read from there on. */

import type { CausalLm } from "../model/causal-lm.ts";
import type { KvCache } from "../model/kv-cache.ts";
import { type GeneratedToken, type GenerateEnd, type GenerateOptions, generate } from "./generate.ts";

export type CachedGenerateOptions = Omit<GenerateOptions, "cache" | "cachedIds">;

export interface CachedGenerateEnd extends GenerateEnd {
  /** Ids of the prompt that the cache held already. */
  readonly cachedTokens: number;
}

/**
 * What is generated after a prompt does not depend on what was read before: the cache is cut back to the longest
 * prefix that it has in common with the prompt and can be cut back to. After an abort or an error it holds all that was read until then.
 */
export class CachedContext {
  readonly model: CausalLm;
  readonly #cache: KvCache;
  /** What the cache holds. */
  #ids: number[];
  #busy = false;

  /** @param cache that is the context's own from now on, with the ids that it holds; default: an empty one */
  constructor(model: CausalLm, cache: KvCache = model.newCache(), ids: number[] = []) {
    this.model = model;
    this.#cache = cache;
    this.#ids = ids;
  }

  /** What the cache holds. */
  get ids(): readonly number[] {
    return this.#ids;
  }

  /**
   * How many ids of a prompt need not be read. Its last one always is: the first new token follows from it. So are
   * those that the cache cannot keep without what comes behind them (KvCache.keepable).
   */
  reusable(promptIds: readonly number[], adaptedFrom = this.model.adaptedFrom(promptIds)): number {
    let most = Math.min(this.#ids.length, promptIds.length - 1);
    // Between the two places the tokens were read with the adapter and are to be read without it, or otherwise.
    if (adaptedFrom !== this.#cache.adaptedFrom) most = Math.min(most, adaptedFrom, this.#cache.adaptedFrom);
    let common = 0;
    while (common < most && this.#ids[common] === promptIds[common]) common++;
    return this.#cache.keepable(common);
  }

  /**
   * Another context, with what this one has in common with a prompt; this one keeps all that it has.
   *
   * @param model another one on the same base has only those in common that the base model has read alone
   * @throws TypeError while an answer is generated
   */
  fork(promptIds: readonly number[], model = this.model): CachedContext {
    if (this.#busy) throw new TypeError("the context is in use by another answer");
    const length = this.reusableBy(model, promptIds);
    const cache = this.#cache.fork(length);
    if (model !== this.model) cache.adaptFrom(model.adaptedFrom(promptIds));
    return new CachedContext(model, cache, this.#ids.slice(0, length));
  }

  /** As {@link reusable}, for another model, on the same base or not. */
  reusableBy(model: CausalLm, promptIds: readonly number[]): number {
    const adaptedFrom = model.adaptedFrom(promptIds);
    if (!model.isOnBaseOf(this.model)) return 0;
    const common = this.reusable(promptIds, adaptedFrom);
    if (model === this.model) return common;
    return this.#cache.keepable(Math.min(common, adaptedFrom, this.#cache.adaptedFrom));
  }

  /**
   * Reads at most so many ids of a prompt, behind those that it has in common with the context, and not the last one:
   * a long prompt can be read in parts, and generate then reads what is left.
   *
   * @throws TypeError while an answer is generated; TacetError aborted; whatever a DeltaSource fails with
   */
  async read(promptIds: readonly number[], most: number, signal?: AbortSignal): Promise<void> {
    if (this.#busy) throw new TypeError("the context is in use by another answer");
    const adaptedFrom = this.model.adaptedFrom(promptIds);
    const held = this.reusable(promptIds, adaptedFrom);
    const part = promptIds.slice(held, Math.min(held + most, promptIds.length - 1));
    if (part.length === 0) return;
    this.#busy = true;
    this.#cache.truncate(held);
    this.#cache.adaptFrom(adaptedFrom);
    try {
      await this.model.forward(part, this.#cache, signal ? { signal } : {});
    } finally {
      this.#ids = promptIds.slice(0, this.#cache.length);
      this.#busy = false;
    }
  }

  /**
   * As {@link generate} with the whole prompt.
   *
   * @throws RangeError for an empty prompt, TypeError while another answer is generated; what generate throws
   */
  async *generate(
    promptIds: readonly number[],
    options: CachedGenerateOptions,
  ): AsyncGenerator<GeneratedToken, CachedGenerateEnd, void> {
    if (promptIds.length === 0) throw new RangeError("a prompt needs at least one id");
    if (this.#busy) throw new TypeError("the context is in use by another answer");
    this.#busy = true;
    const cache = this.#cache;
    const adaptedFrom = options.adaptedFrom ?? this.model.adaptedFrom(promptIds);
    const cachedTokens = this.reusable(promptIds, adaptedFrom);
    cache.truncate(cachedTokens);
    cache.adaptFrom(adaptedFrom);
    const ids = [...promptIds];
    const tokens = generate(this.model, ids.slice(cachedTokens), {
      ...options,
      cache,
      cachedIds: ids.slice(0, cachedTokens),
      adaptedFrom,
    });
    try {
      for (;;) {
        const next = await tokens.next();
        if (next.done) return { ...next.value, cachedTokens };
        ids.push(next.value.id);
        yield next.value;
      }
    } finally {
      // The last new token is not read, nor is anything of a pass that was broken off.
      this.#ids = ids.slice(0, cache.length);
      this.#busy = false;
    }
  }

  /** Forgets everything and frees the memory. */
  dispose(): void {
    this.#ids = [];
    this.#cache.dispose();
  }
}
