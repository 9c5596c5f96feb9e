/** Running a base model: checkpoints, caches, generation, tokenizer, chat template. @module */
export type {
  FileCache,
  FileCheck,
  FileCheckOptions,
  FileTree,
  FileWriter,
  ModelInParts,
  ModelStage,
  OnnxModel,
  RoundedProduct,
  RoundedShape,
  RoundedWeights,
  SessionOptions,
  TableLookup,
  Tensor,
  TensorData,
  TensorRuntime,
  TensorSession,
} from "../base/platform.ts";
export type { Answer, AnswerEnd, AnswerPiece } from "../generation/answer.ts";
export { type AnswerDefaults, type AnswerOptions, streamAnswer } from "../generation/answer-stream.ts";
export { AnswerText } from "../generation/answer-text.ts";
export {
  CachedContext,
  type CachedGenerateEnd,
  type CachedGenerateOptions,
} from "../generation/cached-context.ts";
export { ChatSession, type ChatSessionOptions, type ChatText } from "../generation/chat-session.ts";
export type { DraftCounts } from "../generation/drafts/drafting.ts";
export {
  type GeneratedToken,
  type GenerateEnd,
  type GenerateOptions,
  generate,
  type SamplingOptions,
} from "../generation/generate.ts";
export { type GenerationDefaults, readGenerationDefaults } from "../generation/generation-defaults.ts";
export type { Logprobs, TokenLogprob } from "../generation/log-probabilities.ts";
export type { PenaltyOptions } from "../generation/logit-penalties.ts";
export type { SampleOptions } from "../generation/sample-token.ts";
export { type AdaptedModule, groupAdaptedModules } from "../model/adapter/adapted-groups.ts";
export { type FittedAdapter, fitAdapter } from "../model/adapter/fit-adapter.ts";
export { type LocalAdapter, LocalLora } from "../model/adapter/local-lora.ts";
export { CausalLm, type DraftOptions, type ForwardOptions } from "../model/causal-lm.ts";
export { inputGroupsOf, vocabSizeOf } from "../model/config-facts.ts";
export type { BaseOptions, DeltaUse, LoadOptions } from "../model/load-options.ts";
export type {
  AdaptedGroup,
  DeltaSource,
  GroupInput,
  Line,
  LowRankSource,
  PendingDelta,
  RoutesTaken,
} from "../model/delta-source.ts";
export type { DecoderConfig } from "../model/graph/decoder.ts";
export type { CacheShape, KeysAndValues, LayerCache, States } from "../model/graph/pass-values.ts";
export { KvCache } from "../model/kv-cache.ts";
export type { ForwardTimings } from "../model/run/segment-runner.ts";
export type { PrepareProgress } from "../model/weights/quantized-weights.ts";
export type { WeightFormat } from "../model/weights/weight-source.ts";
export { type ReadAdapterText, readAdapterText } from "../text/read-adapter-text.ts";
export {
  type ChatMessage,
  type ChatTemplate,
  hasChatTemplate,
  loadChatTemplate,
  type RenderOptions,
  renderChat,
  type TemplateVariables,
} from "../text/chat-template.ts";
export { StreamingDetokenizer } from "../text/streaming-detokenizer.ts";
export { loadTokenizer, type Tokenizer } from "../text/tokenizer.ts";
export type { EncodeOptions } from "../text/tokenizer-type.ts";
export type { AdapterText, AddedControlToken } from "../weights/adapter-text.ts";
export type { BaseChanges, ChangedTensor, TokenRows } from "../weights/base-changes.ts";
export { type Checkpoint, openCheckpoint, withAdapterText } from "../weights/checkpoint.ts";
export { type BaseIdentity, baseIdentity, vectorsFingerprint } from "../model/base-identity.ts";
export { fingerprintCheckpoint } from "../weights/fingerprint.ts";
export type { JsonRecord } from "../weights/json-file.ts";
export type {
  BlockForm,
  BlockSize,
  QuantizedBits,
  QuantizedBlocks,
  RoundedMatrix,
} from "../weights/quantize-blocks.ts";
export {
  type AdapterParts,
  type LoraAdapter,
  type LoraModule,
  openLoraAdapter,
} from "../weights/lora-adapter.ts";
export type { Dtype, StoredTensor, TensorInfo } from "../weights/safetensors.ts";
