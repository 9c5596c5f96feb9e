/** What the entries for Node and for pages have in common. Not an entry itself. */
export { type ErrorCode, type ErrorKind, TacetError } from "../base/errors.ts";
export type { FileCache, FileTree, KeptKeyName } from "../base/platform.ts";
export type { BudgetLeft } from "../client/budget-left.ts";
export type { BundleCache } from "../client/bundle-cache.ts";
export type { Traffic } from "../client/connection/traffic.ts";
export type { KeyCache } from "../client/key-cache.ts";
export type { PrivateModel } from "../client/private-model.ts";
export { type TextGenerateOptions, type Prompt, TextClient } from "../client/text-client.ts";
export type { Answer, AnswerEnd, AnswerPiece } from "../generation/answer.ts";
export type { AnswerDefaults, AnswerOptions } from "../generation/answer-stream.ts";
export { ChatSession, type ChatSessionOptions } from "../generation/chat-session.ts";
export type { GeneratedToken, SamplingOptions } from "../generation/generate.ts";
export type { Logprobs, TokenLogprob } from "../generation/log-probabilities.ts";
export type { PrepareProgress } from "../model/weights/quantized-weights.ts";
export type { WeightFormat } from "../model/weights/weight-source.ts";
export type { ChatMessage, TemplateVariables } from "../text/chat-template.ts";
export type { Checkpoint } from "../weights/checkpoint.ts";
