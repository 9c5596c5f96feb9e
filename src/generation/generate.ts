/** Generating text, one token after another. */

import { assertInteger } from "../base/assert.ts";
import { checkOptions, type OptionTypes } from "../base/check-options.ts";
import { TacetError } from "../base/errors.ts";
import type { CausalLm } from "../model/causal-lm.ts";
import type { KvCache } from "../model/kv-cache.ts";
import { type Logprobs, logProbabilities } from "./log-probabilities.ts";
import { checkPenaltyOptions, LogitPenalties, type PenaltyOptions } from "./logit-penalties.ts";
import { checkSampleOptions, type SampleOptions, sampleToken, seededUniform } from "./sample-token.ts";

/** How the next token is chosen. Defaults of a checkpoint and wishes of a user can be spread over one another. */
export interface SamplingOptions extends SampleOptions, PenaltyOptions {
  /** The same draws for the same seed: an integer of at most 53 bits. Default: a random one. */
  readonly seed?: number;
}

export interface GenerateOptions {
  readonly maxNewTokens: number;
  /** Ids that end the answer. */
  readonly eosIds?: readonly number[] | undefined;
  /** Default: the largest logit each time. */
  readonly sampling?: SamplingOptions | undefined;
  /** With each token its log-probability, and those of this many of the likeliest. Default: none. */
  readonly logprobs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /**
   * A cache to go on with: the prompt is read behind what it holds. It then holds all ids but the last one that
   * was generated. Default: a separate cache.
   */
  readonly cache?: KvCache | undefined;
  /** Ids that the given cache holds, where the repetition penalty is to know them, or an activated LoRA is invoked. */
  readonly cachedIds?: readonly number[] | undefined;
  /**
   * Of an activated LoRA: the token of the context from which on it acts. Default: the last invocation in `cachedIds`
   * and the prompt. For a prompt that ends with what was generated before, which never invokes it.
   */
  readonly adaptedFrom?: number | undefined;
}

export interface GeneratedToken {
  readonly id: number;
  /** 0 for the first new token. */
  readonly index: number;
  /** Where they were asked for: of the model itself, before temperature, penalties and cuts. */
  readonly logprobs?: Logprobs | undefined;
}

export interface GenerateEnd {
  readonly reason: "eos" | "length" | "aborted";
}

const SAMPLING: OptionTypes<SamplingOptions> = {
  temperature: "number",
  topP: "number",
  topK: "number",
  minP: "number",
  repetitionPenalty: "number",
  frequencyPenalty: "number",
  presencePenalty: "number",
  seed: "number",
};

const GENERATE: OptionTypes<GenerateOptions> = {
  maxNewTokens: "number",
  eosIds: "list",
  sampling: "object",
  logprobs: "number",
  signal: "object",
  cache: "object",
  cachedIds: "list",
  adaptedFrom: "number",
};

/** Where people look for what is in `sampling`, and names that other libraries have. */
export const GENERATION_NAMES: Readonly<Record<string, string>> = {
  ...Object.fromEntries(Object.keys(SAMPLING).map((name) => [name, `sampling.${name}`])),
  maxTokens: "maxNewTokens",
  maxOutputTokens: "maxNewTokens",
  maxCompletionTokens: "maxNewTokens",
  stopSequences: "stop",
  abortSignal: "signal",
};

/** @throws TacetError bad_argument for options that do not exist or are out of range */
export function checkSampling(sampling: SamplingOptions): void {
  checkOptions(sampling, SAMPLING, { of: "sampling" });
  checkSampleOptions(sampling);
  checkPenaltyOptions(sampling);
  if (sampling.seed !== undefined) seededUniform(sampling.seed);
}

/**
 * Yields each new token as soon as it is known, the end token included.
 *
 * @throws TacetError context_overflow if prompt and new tokens exceed the model's context; bad_argument for
 *   options that do not exist, sampling options out of range; whatever a DeltaSource fails with, the cache then holding all that was read
 */
export async function* generate(
  model: CausalLm,
  promptIds: readonly number[],
  options: GenerateOptions,
): AsyncGenerator<GeneratedToken, GenerateEnd, void> {
  checkOptions(options, GENERATE, {
    of: "generate",
    required: { maxNewTokens: "256" },
    known: GENERATION_NAMES,
  });
  const { maxNewTokens, eosIds = [], sampling = {}, logprobs, signal, cachedIds = [] } = options;
  assertInteger(maxNewTokens, "maxNewTokens", 0, Number.MAX_SAFE_INTEGER);
  if (logprobs !== undefined) assertInteger(logprobs, "logprobs", 0, model.config.vocabSize);
  checkSampling(sampling);
  const cache = options.cache ?? model.newCache();
  try {
    // The last new token is never read.
    cache.checkContext(cache.length + promptIds.length + Math.max(0, maxNewTokens - 1));
    const ids = [...cachedIds, ...promptIds];
    model.adaptFrom(options.adaptedFrom ?? model.adaptedFrom(ids), cache);
    const random = seededUniform(sampling.seed ?? randomSeed());
    const penalties = new LogitPenalties(sampling, ids);
    let next = promptIds;
    for (let index = 0; index < maxNewTokens; index++) {
      const logits = await model.forward(next, cache, signal ? { signal } : {});
      const id = sampleToken(penalties.apply(logits), sampling, random);
      penalties.push(id);
      yield {
        id,
        index,
        ...(logprobs === undefined ? {} : { logprobs: logProbabilities(logits, id, logprobs) }),
      };
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
