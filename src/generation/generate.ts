/** Generating text, one token after another. */

import { assertInteger } from "../base/assert.ts";
import { checkOptions, type OptionTypes } from "../base/check-options.ts";
import { TacetError } from "../base/errors.ts";
import type { CausalLm } from "../model/causal-lm.ts";
import type { KvCache } from "../model/kv-cache.ts";
import { type Logprobs, logProbabilities } from "./log-probabilities.ts";
import { type DraftCounts, type Drafting, type DraftLimits, noDrafting } from "./drafts/drafting.ts";
import { type AnswerParts, step } from "./drafts/step.ts";
import { MOST_DRAFTS, PlannedDrafts } from "./drafts/planned-drafts.ts";
import { checkPenaltyOptions } from "./logit-penalties.ts";
import { checkSampleOptions } from "./sample-token.ts";
import { type SamplingOptions, TokenChoice } from "./token-choice.ts";
import { checkSeed } from "./token-draw.ts";

export type { SamplingOptions };

export interface GenerateOptions extends DraftLimits {
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
  /** Is kept up to date with what is drafted. */
  readonly draftCounts?: DraftCounts | undefined;
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
  drafts: "number",
  draftBudget: "number",
  draftCounts: "object",
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
  if (sampling.seed !== undefined) checkSeed(sampling.seed);
}

/** @throws TacetError bad_argument for limits out of range */
export function checkDraftLimits({ drafts, draftBudget }: DraftLimits): void {
  if (drafts !== undefined && !(Number.isInteger(drafts) && drafts >= 0 && drafts <= MOST_DRAFTS))
    throw new TacetError("bad_argument", `drafts must be an integer from 0 to ${MOST_DRAFTS}`);
  if (draftBudget !== undefined && !(draftBudget >= 0))
    throw new TacetError("bad_argument", "draftBudget must be 0 or more");
}

/**
 * Yields each new token as soon as it is known, the end token included.
 *
 * @throws TacetError context_overflow if prompt and new tokens exceed the model's context; bad_argument for
 *   options that do not exist, sampling options out of range; whatever a DeltaSource fails with, the cache then holding all that was read
 */
export function generate(
  model: CausalLm,
  promptIds: readonly number[],
  options: GenerateOptions,
): AsyncGenerator<GeneratedToken, GenerateEnd, void> {
  return generateWith(model, promptIds, options, () => {
    if (options.drafts === 0 || !model.canDraft) return noDrafting;
    return new PlannedDrafts(model, options, options.draftCounts);
  });
}

/** As {@link generate}, with drafts that are made elsewhere. */
export async function* generateWith(
  model: CausalLm,
  promptIds: readonly number[],
  options: GenerateOptions,
  openDrafting: () => Drafting,
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
  checkDraftLimits(options);
  const cache = options.cache ?? model.newCache();
  let drafting = noDrafting;
  /** Ids that the cache shall hold when the answer is over: all but the last new one. */
  let read = Number.POSITIVE_INFINITY;
  try {
    // The last new token is never read.
    cache.checkContext(cache.length + promptIds.length + Math.max(0, maxNewTokens - 1));
    const ids = [...cachedIds, ...promptIds];
    model.adaptFrom(options.adaptedFrom ?? model.adaptedFrom(ids), cache);
    // The base model alone asks nobody: there is nothing to save.
    if (cache.adaptedFrom !== Number.POSITIVE_INFINITY) drafting = openDrafting();
    const position = cache.length + promptIds.length;
    const choice = new TokenChoice(sampling, position, ids);
    const parts: AnswerParts = { model, cache, choice, drafting, eosIds, signal };
    let next = promptIds;
    for (let index = 0; index < maxNewTokens; ) {
      const room = index === 0 ? 0 : maxNewTokens - index - 1;
      const { chosen, rows } = await step(parts, ids, next, room);
      for (const [i, id] of chosen.entries()) {
        // As before a pass.
        if (i > 0 && signal?.aborted) return { reason: "aborted" };
        choice.push(id);
        ids.push(id);
        read = position + index;
        yield {
          id,
          index: index++,
          ...(logprobs === undefined ? {} : { logprobs: logProbabilities(rows[i], id, logprobs) }),
        };
        if (eosIds.includes(id)) return { reason: "eos" };
      }
      next = [chosen[chosen.length - 1]];
    }
    return { reason: "length" };
  } catch (error) {
    if (error instanceof TacetError && error.code === "aborted" && signal?.aborted)
      return { reason: "aborted" };
    throw error;
  } finally {
    drafting.end();
    if (options.cache) cache.truncate(Math.min(cache.length, read));
    else cache.dispose();
  }
}
