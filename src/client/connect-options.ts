/** What private models are opened with, and how it is checked. */
import { checkOptions, type OptionHelp, type OptionTypes } from "../base/check-options.ts";
import { TacetError } from "../base/errors.ts";
import type { FileCache, FileTree } from "../base/platform.ts";
import type { PrepareProgress } from "../model/weights/quantized-weights.ts";
import type { WeightFormat } from "../model/weights/weight-source.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import type { RemoteProviderOptions } from "./provider-options.ts";

/** How the base model is opened. */
export interface BaseModelOptions {
  /** The base model's folder in the Hugging Face layout, or the opened checkpoint. */
  readonly base: FileTree | Checkpoint;
  /** Threads that one operator of the base model may use. */
  readonly threads?: number | undefined;
  /**
   * Conversations that are expected at the same time. With more than one the base model's products are made for several
   * of them at once, which costs one by itself a little. Default: 1.
   */
  readonly parallel?: number | undefined;
  readonly contextLength?: number | undefined;
  readonly onLoadProgress?: ((fraction: number) => void) | undefined;
  /**
   * How the base model's weights are held (docs/models.md). The provider knows the model by the original weights,
   * whichever are chosen here. Default: "original".
   */
  readonly weights?: WeightFormat | undefined;
  /** Where quantized weights are kept. Default: the platform's. */
  readonly weightCache?: FileCache | undefined;
  /** Quantized weights are being made, or the ones that were kept are being checked. */
  readonly onPrepare?: ((progress: PrepareProgress) => void) | undefined;
  readonly onWarning?: ((message: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** An adapter, and the provider that has it. */
export interface AdapterOptions extends Omit<RemoteProviderOptions, "baseFingerprint" | "url"> {
  /** URL of the provider, or of several replicas. */
  readonly provider: string | readonly string[];
  /**
   * Ask adapted layers that follow each other together (default): fewer waits for each token, for as many activation
   * vectors of some groups as the adapter has ranks, once (model/run/look-ahead.ts). Where there is a budget they are asked
   * for only after four times as many decode steps.
   */
  readonly lookAhead?: boolean | undefined;
  /**
   * Ask an activated LoRA whose invocation may occur in what is said. The provider then learns where its last place in
   * a prompt is, counted from the end. Default: such an adapter is refused.
   */
  readonly allowInvocation?: boolean | undefined;
  /**
   * A public adapter, a folder in the PEFT format: the base model drafts with it (generation/drafts/drafting.ts), and is
   * right the more often the more it is like the provider's. Default: the base model drafts alone.
   */
  readonly draftAdapter?: FileTree | undefined;
}

export interface ConnectOptions extends BaseModelOptions, AdapterOptions {}

export interface SharedModelsOptions extends BaseModelOptions {
  /** Adapters that providers have. At least one, or one of `localAdapters`. */
  readonly adapters: readonly AdapterOptions[];
  /** Folders, in the PEFT layout, of adapters that the user holds: nobody is asked for these. */
  readonly localAdapters?: readonly FileTree[] | undefined;
  /** Also the base model alone. */
  readonly withBase?: boolean | undefined;
}

/** For every way to connect: what it takes besides. */
const BASE_OPTIONS: OptionTypes<BaseModelOptions> = {
  base: "any",
  threads: "number",
  parallel: "number",
  contextLength: "number",
  onLoadProgress: "function",
  weights: "string",
  weightCache: "object",
  onPrepare: "function",
  onWarning: "function",
  signal: "object",
};
export const ADAPTER_OPTIONS: OptionTypes<AdapterOptions> = {
  provider: "any",
  adapter: "string",
  token: "string",
  pinnedDigest: "string",
  providerKey: "string",
  cache: "object",
  keyCache: "object",
  handshakeMs: "number",
  silenceMs: "number",
  reconnectMs: "number",
  pollMicros: "number",
  lookAhead: "boolean",
  allowInvocation: "boolean",
  draftAdapter: "object",
  onBundleProgress: "function",
  onWarning: "function",
  signal: "object",
};
export const CONNECT_OPTIONS: OptionTypes<ConnectOptions> = { ...BASE_OPTIONS, ...ADAPTER_OPTIONS };
export const SHARED_OPTIONS: OptionTypes<SharedModelsOptions> = {
  ...BASE_OPTIONS,
  adapters: "list",
  localAdapters: "list",
  withBase: "boolean",
};

/** @throws TacetError bad_argument for options that do not exist, are missing or have another type */
export function checkConnectOptions<T extends { readonly provider: ConnectOptions["provider"] }>(
  options: T,
  types: OptionTypes<T>,
  { of, required = {} }: OptionHelp,
): void {
  checkOptions(options, types, {
    of,
    required: { ...required, provider: '"wss://provider.example"' },
    known: CONNECT_NAMES,
  });
  const { provider } = options;
  const urls: readonly unknown[] = Array.isArray(provider) ? provider : [provider];
  if (urls.length > 0 && urls.every((url) => typeof url === "string")) return;
  throw new TacetError("bad_argument", `provider of ${of} must be a URL, or a list of them`, {
    hint: "it looks like ws://host:port or wss://host",
  });
}

/** What people write who know another library, or expect an answer's options here. */
export const CONNECT_NAMES: Readonly<Record<string, string>> = {
  model: "base",
  baseModel: "base",
  url: "provider",
  baseURL: "provider",
  apiKey: "token",
  key: "token",
  adapterName: "adapter",
  bundleDigest: "pinnedDigest",
  temperature: "sampling.temperature of generate",
  maxNewTokens: "maxNewTokens of generate",
  maxTokens: "maxNewTokens of generate",
  drafts: "drafts of generate",
  draftBudget: "draftBudget of generate",
};
