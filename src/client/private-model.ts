/**
 * The user's side: a base model that runs here, an adapter that stays at its provider.
 *
 * ```ts
 * const options = { base: nodeFileTree("models/lexicon/base"), provider: "ws://127.0.0.1:8787" };
 * const model = await openPrivateModel(nodePlatform(), options);
 * for await (const { id } of generate(model.model, [1, 120, 1336, 3, 2], { maxNewTokens: 40 })) console.log(id);
 * ```
 * @module
 */
import { checkOptions, type OptionHelp, type OptionTypes } from "../base/check-options.ts";
import { TacetError } from "../base/errors.ts";
import type { FileCache, FileTree, Platform } from "../base/platform.ts";
import type { Bundle } from "../bundle/bundle.ts";
import { type BaseIdentity, baseIdentity } from "../model/base-identity.ts";
import { CausalLm, type DeltaUse, inputGroupsOf, vocabSizeOf } from "../model/causal-lm.ts";
import type { PrepareProgress } from "../model/weights/quantized-weights.ts";
import type { WeightFormat } from "../model/weights/weight-source.ts";
import { joinAdapterText } from "../text/adapter-text.ts";
import { invocationInText } from "../text/invocation.ts";
import { type Checkpoint, openCheckpoint } from "../weights/checkpoint.ts";
import { openLoraAdapter } from "../weights/lora-adapter.ts";
import { quoteName } from "../weights/json-file.ts";
import { checkGroups } from "./check-groups.ts";
import { type LocalAdapter, openLocalAdapter } from "./local-adapter.ts";
import { RemoteAdapter } from "./remote-adapter.ts";
import { RemoteProvider, type RemoteProviderOptions } from "./remote-provider.ts";

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
   * Ask an activated LoRA whose invocation may stand in what is said. The provider then learns where its last place in
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

/** A model with an adapter that the user holds. */
export interface LocalModel {
  readonly model: CausalLm;
  /** The base model with what the adapter changes about text. */
  readonly checkpoint: Checkpoint;
}

/** Models on one base model in memory. */
export interface SharedModels {
  /** In the order of the adapters. */
  readonly models: readonly PrivateModel[];
  /** In the order of the local adapters. */
  readonly localModels: readonly LocalModel[];
  /** Where it was asked for. */
  readonly base?: CausalLm;
  readonly checkpoint: Checkpoint;
  close(): Promise<void>;
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
const ADAPTER_OPTIONS: OptionTypes<AdapterOptions> = {
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
const SHARED_OPTIONS: OptionTypes<SharedModelsOptions> = {
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
const CONNECT_NAMES: Readonly<Record<string, string>> = {
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

/** A private model: {@link CausalLm} whose adapted layers ask a provider. */
export interface PrivateModel {
  readonly model: CausalLm;
  readonly adapter: RemoteAdapter;
  readonly provider: RemoteProvider;
  readonly bundle: Bundle;
  /** What the base model was checked by: all its weights, or for a quantized copy what such copies keep. */
  readonly base: BaseIdentity;
  /** The base model with what the adapter changes about text: what tokenizer and chat template are loaded from. */
  readonly checkpoint: Checkpoint;
  /** Closes the connection, forgets all key material, frees the model. */
  close(): Promise<void>;
}

/** Of a session with a budget, before look-ahead takes a vector for each rank from it. */
const STEPS_FOR_A_RANK = 4;

/**
 * Opens the base model, connects to the provider and joins the two.
 *
 * @throws TacetError: bad_argument for options that do not exist; wrong_base_model if the adapter belongs to another
 *   base; connection_failed; bad_bundle; bad_checkpoint; unsupported_model; unsupported_adapter
 */
export async function openPrivateModel(platform: Platform, options: ConnectOptions): Promise<PrivateModel> {
  const required = { base: 'nodeFileTree("./model")' };
  checkConnectOptions(options, CONNECT_OPTIONS, { of: "openPrivateModel", required });
  const { models } = await openAll(platform, { ...options, adapters: [options] });
  return models[0];
}

/**
 * As {@link openPrivateModel} for several adapters, of one provider or several, or here, with one base model in memory.
 * @throws as openPrivateModel, and RangeError without an adapter
 */
export async function openPrivateModels(
  platform: Platform,
  options: SharedModelsOptions,
): Promise<SharedModels> {
  const required = { base: 'nodeFileTree("./model")', adapters: '[{ provider: "wss://provider.example" }]' };
  checkOptions(options, SHARED_OPTIONS, { of: "openPrivateModels", required, known: CONNECT_NAMES });
  for (const each of options.adapters)
    checkConnectOptions(each, ADAPTER_OPTIONS, { of: "an adapter of openPrivateModels" });
  return await openAll(platform, options);
}

async function openAll(platform: Platform, options: SharedModelsOptions): Promise<SharedModels> {
  const { adapters, localAdapters = [], base, withBase = false } = options;
  if (adapters.length + localAdapters.length === 0) throw new RangeError("there is no adapter");
  const checkpoint = "config" in base ? base : await openCheckpoint(base);
  const joined: JoinedAdapter[] = [];
  try {
    const local: LocalAdapter[] = [];
    for (const folder of localAdapters) local.push(await openLocalAdapter(folder, checkpoint));
    if (adapters.length > 0) {
      const inputGroups = inputGroupsOf(checkpoint);
      const identity = await baseIdentity(checkpoint);
      for (const each of adapters) {
        const facts = { checkpoint, inputGroups, identity };
        joined.push(await joinAdapter(platform, each, facts).catch(explainCopy(identity)));
      }
      if (identity.knownBy === "vectors") options.onWarning?.(copyNotice(identity));
    }
    const loaded = await loadShared(platform, checkpoint, options, [
      ...joined.map(({ use }) => use),
      ...local.map(({ adapter }) => ({ adapter })),
      ...(withBase ? [{}] : []),
    ]);
    const others = loaded.slice(joined.length);
    await Promise.all(joined.map(({ restored }) => restored));
    const models = joined.map((each, i): PrivateModel => {
      const { adapter, provider, bundle, base, checkpoint } = each;
      const model = loaded[i];
      const close = async (): Promise<void> => {
        each.close();
        await model.dispose();
      };
      return { model, adapter, provider, bundle, base, checkpoint, close };
    });
    return {
      models,
      localModels: local.map((each, i) => ({ model: others[i], checkpoint: each.checkpoint })),
      ...(withBase ? { base: others[local.length] } : {}),
      checkpoint,
      async close() {
        await Promise.all([
          ...models.map((model) => model.close()),
          ...others.map((model) => model.dispose()),
        ]);
      },
    };
  } catch (error) {
    for (const each of joined) each.close();
    throw asBundleError(error);
  }
}

/** A connection and the adapter behind it, before there is a model. */
interface JoinedAdapter {
  readonly provider: RemoteProvider;
  readonly bundle: Bundle;
  readonly adapter: RemoteAdapter;
  /** Keys that were kept are back, and one is on its way where there are few. */
  readonly restored: Promise<void>;
  readonly base: BaseIdentity;
  /** The base with the adapter's text. */
  readonly checkpoint: Checkpoint;
  readonly use: DeltaUse;
  close(): void;
}

interface BaseFacts {
  readonly checkpoint: Checkpoint;
  readonly inputGroups: readonly (readonly string[])[];
  readonly identity: BaseIdentity;
}

/** What a user should know of the weaker check. */
function copyNotice({ storedAs }: BaseIdentity): string {
  return (
    `the base model is a quantized copy (${storedAs}): it was checked by its norms, biases and sizes, which are those of ` +
    "the adapter's base model; how near it comes to the original, 'tacet inspect --base A --against B' measures"
  );
}

/** Why an adapter for the original may be refused to a copy. */
function explainCopy({ storedAs }: BaseIdentity): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof TacetError) || error.code !== "wrong_base_model" || storedAs === undefined)
      throw error;
    const why = storedAs.startsWith("AWQ")
      ? "AWQ divides norms by scales: ask the provider for a bundle of this copy (tacet bundle --trained-on), or take a GPTQ or GGUF copy"
      : "it must be a copy of that very model, and its provider must have made the bundle with this version of tacet";
    throw new TacetError(error.code, `${error.message} (this one is a copy: ${storedAs})`, {
      hint: why,
      cause: error,
    });
  };
}

async function joinAdapter(
  platform: Platform,
  options: AdapterOptions,
  { checkpoint, inputGroups, identity }: BaseFacts,
): Promise<JoinedAdapter> {
  const url = options.provider;
  const baseFingerprint = identity.fingerprint;
  const { provider, bundle } = await RemoteProvider.connect(platform, { ...options, url, baseFingerprint });
  try {
    checkGroups(bundle.manifest, identity, inputGroups);
    const joined = await joinAdapterText(checkpoint, bundle.manifest.text, vocabSizeOf(checkpoint));
    const { invocationTokens } = bundle.manifest;
    if (invocationTokens) await checkInvocation(joined, invocationTokens, options.allowInvocation === true);
    const { limits, budget } = provider.welcome;
    const { vectorsPerKey } = provider.welcome;
    const adapter = new RemoteAdapter(bundle, provider, provider.limits, vectorsPerKey, platform.encryption);
    const draftAdapter = options.draftAdapter && (await openLoraAdapter(options.draftAdapter));
    // While the model is loaded.
    const restored = adapter.restoreKeys();
    restored.catch(() => {}); // whoever awaits it is told
    return {
      provider,
      bundle,
      adapter,
      restored,
      base: identity,
      checkpoint: joined,
      use: {
        deltas: adapter,
        lookAhead: options.lookAhead !== false && limits.maxInFlight > 1,
        lookAheadAfter: budget === undefined ? 0 : STEPS_FOR_A_RANK * adapter.largestRank,
        draftAdapter,
      },
      close() {
        provider.close();
        adapter.dispose();
      },
    };
  } catch (error) {
    provider.close();
    throw asBundleError(error);
  }
}

/** @throws TacetError bad_bundle for ids outside the vocabulary, or where the invocation may stand in what is said */
async function checkInvocation(
  checkpoint: Checkpoint,
  invocation: readonly number[],
  isAllowed: boolean,
): Promise<void> {
  const vocabSize = vocabSizeOf(checkpoint);
  const strange = invocation.find((id) => id >= vocabSize);
  if (strange !== undefined) {
    throw new TacetError(
      "bad_bundle",
      `not a usable bundle: the adapter is invoked by the token id ${strange}, outside the base model's vocabulary of ${vocabSize}`,
      { hint: "the provider must make the bundle again for this base model" },
    );
  }
  if (isAllowed) return;
  const text = await invocationInText(checkpoint, invocation);
  if (text === undefined) return;
  throw new TacetError(
    "bad_bundle",
    `the adapter is invoked by ${quoteName(text)}, which may stand in what is said: its provider would learn where`,
    {
      hint: "if you trust it with that, allow it (--allow-invocation, or allowInvocation: true); or the provider trains the adapter to be invoked by control tokens",
    },
  );
}

async function loadShared(
  platform: Platform,
  checkpoint: Checkpoint,
  options: BaseModelOptions,
  uses: readonly DeltaUse[],
): Promise<CausalLm[]> {
  const { threads, parallel, contextLength, onLoadProgress, weights, onPrepare, onWarning, signal } = options;
  const weightCache = options.weightCache ?? platform.weightCache;
  return await CausalLm.loadShared(checkpoint, platform.tensors, uses, {
    threads,
    parallel,
    contextLength,
    onProgress: onLoadProgress,
    weights,
    weightCache,
    onPrepare,
    onWarning,
    signal,
  });
}

function asBundleError(error: unknown): unknown {
  if (!(error instanceof RangeError)) return error;
  return new TacetError("bad_bundle", `the bundle cannot be used: ${error.message}`, { cause: error });
}
