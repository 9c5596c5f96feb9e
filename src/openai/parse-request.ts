/** What a request asks for. Whatever would change the answer and is not supported is refused, never passed over. */

import type { AnswerOptions } from "../generation/answer-stream.ts";
import type { SamplingOptions } from "../generation/generate.ts";
import type { ChatMessage, TemplateVariables } from "../text/chat-template.ts";
import { badField } from "./api-error.ts";
import { Fields, isObject } from "./fields.ts";
import { parseMessages } from "./parse-messages.ts";

export type RequestPrompt =
  | { readonly messages: readonly ChatMessage[]; readonly templateVariables: TemplateVariables }
  | { readonly text: string }
  | { readonly ids: readonly number[] };

export interface GenerationRequest {
  readonly model: string;
  readonly prompt: RequestPrompt;
  readonly options: Omit<AnswerOptions, "signal">;
  readonly stream: boolean;
  /** A last chunk with the counts. */
  readonly includeUsage: boolean;
}

const MOST_STOPS = 4;
const MOST_STOP_IDS = 64;
const MOST_TOKENS = 1 << 24;
/** OpenAI's default for /v1/completions. */
const COMPLETION_TOKENS = 16;
/** top_p 0 is the likeliest token alone; the sampler takes shares above 0. */
const LEAST_TOP_P = 1e-9;

/** Of both endpoints. */
const COMMON = [
  "model",
  "stream",
  "stream_options",
  "max_tokens",
  "stop",
  "seed",
  "temperature",
  "top_p",
  "frequency_penalty",
  "presence_penalty",
  "n",
  "logprobs",
  // Not OpenAI's, but what other local servers take.
  "top_k",
  "min_p",
  "repetition_penalty",
  "stop_token_ids",
];
/** Without effect on an answer. */
const IGNORED = ["user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"];
const CHAT = [
  "messages",
  "max_completion_tokens",
  "top_logprobs",
  // Not OpenAI's either: what the chat template reads besides the conversation.
  "chat_template_kwargs",
];
const COMPLETION = ["prompt"];

/** Not supported: allowed only with the value that asks for nothing. */
const NEUTRAL: Readonly<Record<string, (value: unknown) => boolean>> = {
  tools: isEmpty,
  functions: isEmpty,
  tool_choice: (value) => value === "none" || value === "auto",
  function_call: (value) => value === "none" || value === "auto",
  parallel_tool_calls: (value) => typeof value === "boolean",
  response_format: (value) => isObject(value) && value.type === "text",
  modalities: (value) => Array.isArray(value) && value.length === 1 && value[0] === "text",
  logit_bias: (value) => isObject(value) && Object.keys(value).length === 0,
  best_of: (value) => value === 1,
  echo: (value) => value === false,
  suffix: (value) => value === "",
};

function isEmpty(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

/** @throws ApiError 400 */
export function parseChatRequest(body: unknown): GenerationRequest {
  const fields = open(body, CHAT);
  const logprobs = fields.boolean("logprobs");
  const top = fields.integer("top_logprobs", 0, 20);
  if (top !== undefined && !logprobs) throw badField("top_logprobs", "top_logprobs needs logprobs: true");
  const most = fields.integer("max_completion_tokens", 1, MOST_TOKENS);
  if (most !== undefined && fields.get("max_tokens") !== undefined) {
    throw badField("max_tokens", "max_tokens and max_completion_tokens exclude each other");
  }
  return parseRest(
    fields,
    {
      messages: parseMessages(fields.get("messages")),
      templateVariables: parseTemplateVariables(fields.get("chat_template_kwargs")),
    },
    most,
    logprobs ? (top ?? 0) : undefined,
  );
}

/** @throws ApiError 400 */
export function parseCompletionRequest(body: unknown): GenerationRequest {
  const fields = open(body, COMPLETION);
  const most = fields.get("max_tokens") === undefined ? COMPLETION_TOKENS : undefined;
  return parseRest(fields, parsePrompt(fields.get("prompt")), most, fields.integer("logprobs", 0, 5));
}

function open(body: unknown, own: readonly string[]): Fields {
  if (!isObject(body)) throw badField(null, "the body must be a JSON object");
  const fields = new Fields(body);
  for (const [name, isNeutral] of Object.entries(NEUTRAL)) {
    const value = fields.get(name);
    if (value === undefined || isNeutral(value)) continue;
    throw badField(name, `${name} is not supported here`, "unsupported_parameter");
  }
  fields.refuseOthers(COMMON, own, IGNORED, Object.keys(NEUTRAL));
  return fields;
}

function parseRest(
  fields: Fields,
  prompt: RequestPrompt,
  maxTokens: number | undefined,
  logprobs: number | undefined,
): GenerationRequest {
  const model = fields.get("model");
  if (typeof model !== "string") throw badField("model", "model must be the name of a model");
  if ((fields.integer("n", 1, 128) ?? 1) !== 1) {
    throw badField("n", "n must be 1: ask several times", "unsupported_value");
  }
  const maxNewTokens = maxTokens ?? fields.integer("max_tokens", 1, MOST_TOKENS);
  const stop = parseStop(fields.get("stop"));
  const stopTokenIds = parseStopIds(fields.get("stop_token_ids"));
  const stream = fields.boolean("stream");
  const streamOptions = fields.object("stream_options");
  if (streamOptions !== undefined && !stream) {
    throw badField("stream_options", "stream_options needs stream: true");
  }
  streamOptions?.refuseOthers(["include_usage", "include_obfuscation"]);
  return {
    model,
    prompt,
    stream,
    includeUsage: streamOptions?.boolean("include_usage") ?? false,
    options: {
      sampling: parseSampling(fields),
      maxNewTokens,
      ...(stop.length === 0 ? {} : { stop }),
      ...(stopTokenIds.length === 0 ? {} : { stopTokenIds }),
      logprobs,
    },
  };
}

/** What the client said, and nothing else: to be spread over the checkpoint's defaults. */
function parseSampling(fields: Fields): SamplingOptions {
  const topP = fields.number("top_p", 0, 1);
  // -1 is none, as vLLM has it.
  const topK = fields.integer("top_k", -1, MOST_TOKENS);
  const repetition = fields.number("repetition_penalty", 0, 100);
  if (repetition === 0) throw badField("repetition_penalty", "repetition_penalty must be over 0");
  const wishes: [keyof SamplingOptions, number | undefined][] = [
    ["temperature", fields.number("temperature", 0, 2)],
    ["topP", topP === undefined ? undefined : Math.max(topP, LEAST_TOP_P)],
    ["topK", topK === undefined ? undefined : Math.max(topK, 0)],
    ["minP", fields.number("min_p", 0, 1)],
    ["repetitionPenalty", repetition],
    ["frequencyPenalty", fields.number("frequency_penalty", -2, 2)],
    ["presencePenalty", fields.number("presence_penalty", -2, 2)],
    ["seed", fields.integer("seed", Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER)],
  ];
  return Object.fromEntries(wishes.filter(([, value]) => value !== undefined));
}

function parseTemplateVariables(value: unknown): TemplateVariables {
  if (value === undefined) return {};
  if (isObject(value)) return value;
  throw badField("chat_template_kwargs", "chat_template_kwargs must be an object");
}

function parseStop(value: unknown): readonly string[] {
  const stops = value === undefined ? [] : Array.isArray(value) ? value : [value];
  if (stops.length > MOST_STOPS || !stops.every((stop) => typeof stop === "string" && stop !== "")) {
    throw badField(
      "stop",
      `stop must be a text or a list of at most ${MOST_STOPS} texts, none of them empty`,
    );
  }
  return stops;
}

function parseStopIds(value: unknown): readonly number[] {
  if (value === undefined) return [];
  if (
    Array.isArray(value) &&
    value.length <= MOST_STOP_IDS &&
    value.every((id) => Number.isInteger(id) && id >= 0)
  )
    return value;
  throw badField("stop_token_ids", `stop_token_ids must be a list of at most ${MOST_STOP_IDS} token ids`);
}

function parsePrompt(value: unknown): RequestPrompt {
  // A list of one prompt is that prompt.
  const one = Array.isArray(value) && value.length === 1 && typeof value[0] !== "number" ? value[0] : value;
  if (typeof one === "string") return { text: one };
  if (Array.isArray(one)) {
    if (one.length > 0 && one.every((id) => Number.isInteger(id) && id >= 0)) return { ids: one };
    if (one.length > 1 && one.every((each) => typeof each === "string" || Array.isArray(each))) {
      throw badField(
        "prompt",
        "several prompts in one request are not supported: ask for each",
        "unsupported_value",
      );
    }
  }
  throw badField("prompt", "prompt must be a text or a list of token ids");
}
