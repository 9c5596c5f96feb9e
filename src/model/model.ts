/** Running a base model: checkpoints, caches, generation, tokenizer, chat template. @module */
export { openCheckpoint } from "../weights/checkpoint.ts";
export { openLoraAdapter } from "../weights/lora-adapter.ts";
export { groupAdaptedModules } from "./adapted-groups.ts";
export { type AnswerEnd, type AnswerOptions, type AnswerPiece, streamAnswer } from "./answer-stream.ts";
export { AnswerText } from "./answer-text.ts";
export { CachedContext } from "./cached-context.ts";
export { CausalLm, inputGroupsOf } from "./causal-lm.ts";
export { ChatSession, type ChatSessionOptions } from "./chat-session.ts";
export { type ChatMessage, loadChatTemplate, renderChat } from "./chat-template.ts";
export type { AdaptedGroup, DeltaSource, PendingDelta } from "./delta-source.ts";
export { fitAdapter } from "./fit-adapter.ts";
export { type GeneratedToken, type GenerateOptions, generate, type SamplingOptions } from "./generate.ts";
export { KvCache } from "./kv-cache.ts";
export { LocalLora } from "./local-lora.ts";
export type { PrepareProgress } from "./quantized-weights.ts";
export { StreamingDetokenizer } from "./streaming-detokenizer.ts";
export { loadTokenizer, type Tokenizer } from "./tokenizer.ts";
export type { WeightFormat } from "./weight-source.ts";
