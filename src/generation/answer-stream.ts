/** An answer as text, piece by piece, with what ended it. */

import { checkOptions, type OptionTypes, withDefaults } from "../base/check-options.ts";
import { TacetError } from "../base/errors.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import {
  type Answer,
  type AnswerCounts,
  type AnswerEnd,
  type AnswerPiece,
  answerOf,
  endCounts,
} from "./answer.ts";
import { AnswerText } from "./answer-text.ts";
import type { CachedContext } from "./cached-context.ts";
import type { DraftLimits } from "./drafts/drafting.ts";
import { checkDraftLimits, checkSampling, GENERATION_NAMES, type SamplingOptions } from "./generate.ts";

export type { Answer, AnswerEnd, AnswerPiece } from "./answer.ts";

export interface AnswerOptions extends DraftLimits {
  /** Longest answer in tokens. Default: what the context has room for. */
  readonly maxNewTokens?: number | undefined;
  /** The answer ends before the first of these that turns up in its text, control tokens such as "<|end|>" included. */
  readonly stop?: readonly string[] | undefined;
  /** Ids that end the answer. Default: the tokenizer's. */
  readonly eosIds?: readonly number[] | undefined;
  /** Ids that end the answer besides those. */
  readonly stopTokenIds?: readonly number[] | undefined;
  /** Default: the likeliest token each time. */
  readonly sampling?: SamplingOptions | undefined;
  /** With each token its log-probability, and those of this many of the likeliest. */
  readonly logprobs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What a checkpoint says of its answers, or a caller of all of a conversation's. */
export type AnswerDefaults = Pick<AnswerOptions, "maxNewTokens" | "sampling">;

const ANSWER: OptionTypes<AnswerOptions> = {
  maxNewTokens: "number",
  stop: "list",
  eosIds: "list",
  stopTokenIds: "list",
  sampling: "object",
  logprobs: "number",
  drafts: "number",
  draftBudget: "number",
  signal: "object",
};

/** @throws TacetError bad_argument for options that do not exist or have another type */
export function checkAnswerOptions(options: AnswerOptions): void {
  checkOptions(options, ANSWER, { of: "an answer", known: GENERATION_NAMES });
}

/** Options over defaults, those of `sampling` one by one. */
export function answerOptions(defaults: AnswerDefaults, options: AnswerOptions): AnswerOptions {
  const sampling = withDefaults(defaults.sampling ?? {}, options.sampling ?? {});
  return { ...withDefaults(defaults, options), sampling };
}

/**
 * Generates behind a prompt and gives the text out as it becomes certain: never half a character, nothing that may be
 * the beginning of a stop string. The answer fails with
 *
 * - TacetError context_overflow if the prompt leaves no room for it; bad_argument for options that do not exist or are
 *   out of range; whatever a DeltaSource fails with
 * - TypeError while another answer uses the context
 */
export function streamAnswer(
  context: CachedContext,
  tokenizer: Tokenizer,
  promptIds: readonly number[],
  options: AnswerOptions = {},
): Answer {
  return answerOf((counts) => writeAnswer(context, tokenizer, promptIds, options, counts));
}

/** As {@link streamAnswer}, for what is an answer itself. */
export async function* writeAnswer(
  context: CachedContext,
  tokenizer: Tokenizer,
  promptIds: readonly number[],
  options: AnswerOptions,
  counts: AnswerCounts,
): AsyncGenerator<AnswerPiece, AnswerEnd, void> {
  checkAnswerOptions(options);
  const { maxNewTokens, stop, sampling = {}, logprobs, drafts, draftBudget, signal } = options;
  const eosIds = endIdsOf(options, tokenizer, context.model.config.vocabSize);
  checkSampling(sampling);
  checkDraftLimits(options);
  const answer = new AnswerText(tokenizer, stop);
  const room = roomFor(promptIds.length, context.model.contextLength);
  const most = Math.min(maxNewTokens ?? room, room);
  const cut = maxNewTokens === undefined || maxNewTokens > room;
  const cachedTokens = context.reusable(promptIds);
  Object.assign(counts, { promptTokens: promptIds.length, cachedTokens });
  const ids: number[] = [];
  let text = "";
  let reason: AnswerEnd["reason"] | undefined;

  const tokens = context.generate(promptIds, {
    maxNewTokens: most,
    eosIds,
    sampling,
    logprobs,
    drafts,
    draftBudget,
    draftCounts: counts.drafts,
    signal,
  });
  try {
    while (reason === undefined) {
      const next = await tokens.next();
      if (next.done) {
        reason = next.value.reason === "length" && cut ? "context" : next.value.reason;
        break;
      }
      const token = next.value;
      ids.push(token.id);
      const more = eosIds.includes(token.id) ? "" : answer.push(token.id);
      if (answer.stop !== undefined) reason = "stop";
      text += more;
      yield { text: more, token };
    }
  } finally {
    // Also when whoever reads the pieces stops before the end.
    await tokens.return({ reason: "aborted", cachedTokens });
  }
  const rest = answer.finish();
  if (answer.stop !== undefined) reason = "stop";
  text += rest;
  if (rest !== "") yield { text: rest };
  return {
    reason,
    stop: answer.stop,
    text,
    ids,
    ...endCounts(counts),
  };
}

/** @throws TacetError bad_argument for an id that the model does not have: it would never end anything */
function endIdsOf(
  { eosIds, stopTokenIds = [] }: AnswerOptions,
  tokenizer: Tokenizer,
  vocabSize: number,
): readonly number[] {
  checkStopTokenIds(stopTokenIds, vocabSize);
  return [...(eosIds ?? tokenizer.eosIds), ...stopTokenIds];
}

/** @throws TacetError bad_argument */
export function checkStopTokenIds(ids: readonly number[], vocabSize: number): void {
  if (ids.every((id) => Number.isInteger(id) && id >= 0 && id < vocabSize)) return;
  throw new TacetError("bad_argument", `a stop token id is not an integer from 0 to ${vocabSize - 1}`, {
    hint: "that is the size of the model's vocabulary",
  });
}

/** New tokens that fit behind a prompt: the last one is never read. */
export function roomFor(promptTokens: number, contextLength: number): number {
  if (promptTokens <= contextLength) return contextLength + 1 - promptTokens;
  throw new TacetError(
    "context_overflow",
    `the prompt has ${promptTokens} tokens, and the model's context ${contextLength}`,
    {
      hint: "shorten the conversation, or load the model with a larger context: contextLength, --context-length",
    },
  );
}
