/** Running a base model: checkpoints, caches, generation, tokenizer, chat template. @module */
export { openCheckpoint } from "../weights/checkpoint.ts";
export { openLoraAdapter } from "../weights/lora-adapter.ts";
export { groupAdaptedModules } from "./adapted-groups.ts";
export { CausalLm, inputGroupsOf } from "./causal-lm.ts";
export { type ChatMessage, loadChatTemplate, renderChat } from "./chat-template.ts";
export type { AdaptedGroup, DeltaSource, PendingDelta } from "./delta-source.ts";
export { fitAdapter } from "./fit-adapter.ts";
export { type GeneratedToken, type GenerateOptions, generate } from "./generate.ts";
export { KvCache } from "./kv-cache.ts";
export { LocalLora } from "./local-lora.ts";
export { StreamingDetokenizer } from "./streaming-detokenizer.ts";
export { loadTokenizer, type Tokenizer } from "./tokenizer.ts";
