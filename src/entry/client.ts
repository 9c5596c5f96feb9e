/**
 * The user's side without text, for any runtime: a base model that runs here, an adapter that stays at its provider.
 * @module
 */
export { type ErrorCode, type ErrorKind, TacetError } from "../base/errors.ts";
export type {
  EncryptionPlatform,
  FileCache,
  FileCheck,
  FileCheckOptions,
  FileTree,
  FileWriter,
  KeptKeyName,
  MessageSocket,
  OnnxModel,
  Platform,
  SessionOptions,
  TensorRuntime,
  Thread,
} from "../base/platform.ts";
export type { Bundle } from "../bundle/bundle.ts";
export type { BundleManifest } from "../bundle/manifest.ts";
export type { BudgetLeft } from "../client/budget-left.ts";
export type { BundleCache } from "../client/bundle-cache.ts";
export type { QueryReply } from "../client/connection/client-connection.ts";
export type { Traffic } from "../client/connection/traffic.ts";
export type { WelcomeInfo } from "../client/connection/welcome.ts";
export type { KeyCache } from "../client/key-cache.ts";
export type { EncryptionStatus } from "../client/encryption/encryption-threads.ts";
export type { FetchedKey, KeyHolder, KeyLeft, KeySource } from "../client/keys.ts";
export type { LineEstimate } from "../client/line-estimate.ts";
export type {
  AdapterOptions,
  BaseModelOptions,
  ConnectOptions as PrivateModelOptions,
  SharedModelsOptions,
} from "../client/connect-options.ts";
export {
  type LocalModel,
  openPrivateModel,
  openPrivateModels,
  type PrivateModel,
  type SharedModels,
} from "../client/private-model.ts";
export type { QueryTransport } from "../client/query-transport.ts";
export type { PrivacyTimings, RemoteAdapter } from "../client/remote-adapter.ts";
export type { RemoteProvider } from "../client/remote-provider.ts";
export type { RemoteProviderOptions } from "../client/provider-options.ts";
export { type Prompt, TextClient } from "../client/text-client.ts";
export type { PrepareProgress } from "../model/weights/quantized-weights.ts";
export type { WeightFormat } from "../model/weights/weight-source.ts";
export type { EncryptedWeights } from "../pll/encrypted-weights.ts";
export type { Checkpoint } from "../weights/checkpoint.ts";
