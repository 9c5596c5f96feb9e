/** An answer as text, piece by piece, with what ended it. */

import { TacetError } from "../base/errors.ts";
import { AnswerText } from "./answer-text.ts";
import type { CachedContext } from "./cached-context.ts";
import { checkSampling, type GeneratedToken, type SamplingOptions } from "./generate.ts";
import type { Tokenizer } from "./tokenizer.ts";

export interface AnswerOptions {
  /** Longest answer in tokens. Default: what the context has room for. */
  readonly maxNewTokens?: number;
  /** The answer ends before the first of these that turns up in its text, control tokens such as "<|end|>" included. */
  readonly stop?: readonly string[];
  /** Ids that end the answer. Default: the tokenizer's. */
  readonly eosIds?: readonly number[];
  /** Ids that end the answer besides those. */
  readonly stopTokenIds?: readonly number[];
  /** Default: the likeliest token each time. */
  readonly sampling?: SamplingOptions;
  /** With each token its log-probability, and those of this many of the likeliest. */
  readonly logprobs?: number;
  readonly signal?: AbortSignal;
}

export interface AnswerPiece {
  /** Text that is certain now, and behind all that came before; often "". */
  readonly text: string;
  /** The token that made it certain; absent from the piece that ends an answer with what was held back. */
  readonly token?: GeneratedToken;
}

export interface AnswerEnd {
  /** "length": maxNewTokens were generated; "context": the context is full. */
  readonly reason: "eos" | "stop" | "length" | "context" | "aborted";
  /** The stop string that ended it. */
  readonly stop?: string;
  /** All pieces together. */
  readonly text: string;
  /** The end token and the tokens of a stop string included. */
  readonly ids: readonly number[];
  readonly promptTokens: number;
  /** Tokens of the prompt that did not have to be read again. */
  readonly cachedTokens: number;
}

/**
 * Generates behind a prompt and gives the text out as it becomes certain: never half a character, nothing that may be
 * the begin of a stop string.
 *
 * @throws TacetError context_overflow if the prompt leaves no room for an answer; bad_argument for options out of
 *   range; whatever a DeltaSource fails with
 */
export async function* streamAnswer(
  context: CachedContext,
  tokenizer: Tokenizer,
  promptIds: readonly number[],
  options: AnswerOptions = {},
): AsyncGenerator<AnswerPiece, AnswerEnd, void> {
  const { maxNewTokens, stop, sampling = {}, logprobs, signal } = options;
  const eosIds = endIdsOf(options, tokenizer, context.model.config.vocabSize);
  checkSampling(sampling);
  const answer = new AnswerText(tokenizer, stop);
  const room = roomFor(promptIds.length, context.model.contextLength);
  const most = Math.min(maxNewTokens ?? room, room);
  const cut = maxNewTokens === undefined || maxNewTokens > room;
  const cachedTokens = context.reusable(promptIds);
  const ids: number[] = [];
  let text = "";
  let reason: AnswerEnd["reason"] | undefined;

  const tokens = context.generate(promptIds, {
    maxNewTokens: most,
    eosIds,
    sampling,
    ...(logprobs === undefined ? {} : { logprobs }),
    ...(signal === undefined ? {} : { signal }),
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
    ...(answer.stop === undefined ? {} : { stop: answer.stop }),
    text,
    ids,
    promptTokens: promptIds.length,
    cachedTokens,
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
