/** Running a base model: checkpoints, caches, generation, tokenizer, chat template. @module */
export { openCheckpoint } from "../weights/checkpoint.ts";
export { openLoraAdapter } from "../weights/lora-adapter.ts";
export { groupAdaptedModules } from "./adapter/adapted-groups.ts";
export {
  type AnswerEnd,
  type AnswerOptions,
  type AnswerPiece,
  streamAnswer,
} from "../generation/answer-stream.ts";
export { AnswerText } from "../generation/answer-text.ts";
export { CachedContext } from "../generation/cached-context.ts";
export { CausalLm, inputGroupsOf } from "./causal-lm.ts";
export { ChatSession, type ChatSessionOptions } from "../generation/chat-session.ts";
export {
  type ChatMessage,
  loadChatTemplate,
  renderChat,
  type TemplateVariables,
} from "../text/chat-template.ts";
export type { AdaptedGroup, DeltaSource, PendingDelta } from "./delta-source.ts";
export { fitAdapter } from "./adapter/fit-adapter.ts";
export {
  type GeneratedToken,
  type GenerateOptions,
  generate,
  type SamplingOptions,
} from "../generation/generate.ts";
export { type GenerationDefaults, readGenerationDefaults } from "../generation/generation-defaults.ts";
export { KvCache } from "./kv-cache.ts";
export { LocalLora } from "./adapter/local-lora.ts";
export type { PrepareProgress } from "./weights/quantized-weights.ts";
export { StreamingDetokenizer } from "../text/streaming-detokenizer.ts";
export { loadTokenizer, type Tokenizer } from "../text/tokenizer.ts";
export type { WeightFormat } from "./weights/weight-source.ts";
