/** The bodies of answers, whole and in chunks, of both endpoints. */

import type { AnswerEnd } from "../generation/answer-stream.ts";
import { type ChosenEntry, chatLogprobs, completionLogprobs } from "./token-logprobs.ts";

/** What all bodies of one answer have in common. */
export interface AnswerHead {
  readonly id: string;
  /** Unix time in seconds. */
  readonly created: number;
  readonly model: string;
  readonly fingerprint: string | undefined;
}

export interface AnswerPart {
  readonly text: string;
  /** Where they were asked for. */
  readonly logprobs: readonly ChosenEntry[] | undefined;
  /** In the last part. */
  readonly end?: AnswerEnd;
}

/** How an endpoint writes its answers. */
export interface Dialect {
  readonly idPrefix: string;
  whole(head: AnswerHead, part: AnswerPart & { readonly end: AnswerEnd }): object;
  /** Of a stream; a part without text and end opens it. */
  chunk(head: AnswerHead, part: AnswerPart): object;
  /** Whether a stream has a chunk before its first text. */
  readonly opens: boolean;
  /** The chunk behind all others, for stream_options.include_usage. */
  usageChunk(head: AnswerHead, end: AnswerEnd): object;
}

export const CHAT: Dialect = {
  idPrefix: "chatcmpl-",
  opens: true,
  whole: (head, { text, logprobs, end }) => ({
    ...common(head, "chat.completion"),
    choices: [
      {
        index: 0,
        message: { role: "assistant", content: text, refusal: null },
        logprobs: logprobs === undefined ? null : chatLogprobs(logprobs),
        finish_reason: finishReason(end),
      },
    ],
    usage: usageOf(end),
  }),
  chunk: (head, { text, logprobs, end }) => ({
    ...common(head, "chat.completion.chunk"),
    choices: [
      {
        index: 0,
        delta: chatDelta(text, end),
        logprobs: logprobs === undefined || logprobs.length === 0 ? null : chatLogprobs(logprobs),
        finish_reason: end === undefined ? null : finishReason(end),
      },
    ],
  }),
  usageChunk: (head, end) => ({
    ...common(head, "chat.completion.chunk"),
    choices: [],
    usage: usageOf(end),
  }),
};

export const COMPLETION: Dialect = {
  idPrefix: "cmpl-",
  opens: false,
  whole: (head, part) => ({
    ...common(head, "text_completion"),
    choices: [completionChoice(part)],
    usage: usageOf(part.end),
  }),
  chunk: (head, part) => ({ ...common(head, "text_completion"), choices: [completionChoice(part)] }),
  usageChunk: (head, end) => ({ ...common(head, "text_completion"), choices: [], usage: usageOf(end) }),
};

/** `max_model_len` is vLLM's: most tokens of prompt and answer. */
export function modelObject(
  { id, ownedBy, contextLength }: { id: string; ownedBy: string; contextLength: number },
  created: number,
): object {
  return { id, object: "model", created, owned_by: ownedBy, max_model_len: contextLength };
}

function common({ id, created, model, fingerprint }: AnswerHead, object: string): object {
  return {
    id,
    object,
    created,
    model,
    system_fingerprint: fingerprint,
  };
}

function chatDelta(text: string, end: AnswerEnd | undefined): object {
  if (text !== "") return { content: text };
  return end === undefined ? { role: "assistant", content: "", refusal: null } : {};
}

function completionChoice({ text, logprobs, end }: AnswerPart): object {
  return {
    index: 0,
    text,
    logprobs: logprobs === undefined ? null : completionLogprobs(logprobs),
    finish_reason: end === undefined ? null : finishReason(end),
  };
}

function finishReason({ reason }: AnswerEnd): "stop" | "length" {
  return reason === "eos" || reason === "stop" ? "stop" : "length";
}

/**
 * completion_tokens counts what was generated: the end token and those of a stop string are in it, drafts that were wrong
 * are not.
 */
function usageOf({ promptTokens, cachedTokens, ids, drafts }: AnswerEnd): object {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: ids.length,
    total_tokens: promptTokens + ids.length,
    prompt_tokens_details: { cached_tokens: cachedTokens },
    ...(drafts && {
      completion_tokens_details: {
        accepted_prediction_tokens: drafts.accepted,
        rejected_prediction_tokens: drafts.drafted - drafts.accepted,
      },
    }),
  };
}
