/**
 * Tacet's client for programs, in any runtime: `connect(platform, options)`. In Node the package's main entry is
 * index-node.ts, which brings the platform along. docs/library.md.
 * @module
 */
export { type ErrorCode, TacetError } from "./base/errors.ts";
export type { FileTree, Platform } from "./base/platform.ts";
export type { ConnectOptions, PrivateModel } from "./client/client.ts";
export { complete, connectClient as connect, type Prompt, TextClient } from "./client/text-client.ts";
export type { AnswerEnd, AnswerOptions, AnswerPiece } from "./generation/answer-stream.ts";
export type { ChatSession, ChatSessionOptions } from "./generation/chat-session.ts";
export type { ChatMessage, TemplateVariables } from "./text/chat-template.ts";
export type { GeneratedToken, SamplingOptions } from "./generation/generate.ts";
