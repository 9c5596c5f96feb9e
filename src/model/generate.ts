/** Generating text, one token after another. */

import { assertInteger } from "../base/assert.ts";
import { TacetError } from "../base/errors.ts";
import type { CausalLm } from "./causal-lm.ts";
import type { KvCache } from "./kv-cache.ts";
import { type SampleOptions, sampleToken, seededUniform } from "./sample-token.ts";

export interface GenerateOptions {
  readonly maxNewTokens: number;
  /** Ids that end the answer. */
  readonly eosIds?: readonly number[];
  /** Default: the largest logit each time. Without a seed a random one is taken. */
  readonly sampling?: SampleOptions & { readonly seed?: number };
  readonly signal?: AbortSignal;
  /**
   * A cache to go on with: the prompt is read behind what it holds. It then holds all ids but the last one that
   * was generated. Default: a cache of its own.
   */
  readonly cache?: KvCache;
}

export interface GeneratedToken {
  readonly id: number;
  /** 0 for the first new token. */
  readonly index: number;
}

export interface GenerateEnd {
  readonly reason: "eos" | "length" | "aborted";
}

/**
 * Yields each new token as soon as it is known, the end token included.
 *
 * @throws TacetError bad_argument if prompt and new tokens exceed the model's context; whatever a DeltaSource
 *   fails with, the cache then holding all that was read
 */
export async function* generate(
  model: CausalLm,
  promptIds: readonly number[],
  options: GenerateOptions,
): AsyncGenerator<GeneratedToken, GenerateEnd, void> {
  const { maxNewTokens, eosIds = [], sampling = {}, signal } = options;
  assertInteger(maxNewTokens, "maxNewTokens", 0, Number.MAX_SAFE_INTEGER);
  const cache = options.cache ?? model.newCache();
  try {
    // The last new token is never read.
    cache.checkContext(cache.length + promptIds.length + Math.max(0, maxNewTokens - 1));
    const random = seededUniform(sampling.seed ?? randomSeed());
    let next = promptIds;
    for (let index = 0; index < maxNewTokens; index++) {
      const logits = await model.forward(next, cache, signal ? { signal } : {});
      const id = sampleToken(logits, sampling, random);
      yield { id, index };
      if (eosIds.includes(id)) return { reason: "eos" };
      next = [id];
    }
    return { reason: "length" };
  } catch (error) {
    if (error instanceof TacetError && error.code === "aborted" && signal?.aborted)
      return { reason: "aborted" };
    throw error;
  } finally {
    if (!options.cache) cache.dispose();
  }
}

function randomSeed(): number {
  const [high, low] = crypto.getRandomValues(new Uint32Array(2));
  return (high >>> 11) * 2 ** 32 + low;
}
