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
import { checkOptions } from "../base/check-options.ts";
import type { Platform } from "../base/platform.ts";
import type { Bundle } from "../bundle/bundle.ts";
import { type BaseIdentity, baseIdentity } from "../model/base-identity.ts";
import { CausalLm } from "../model/causal-lm.ts";
import { inputGroupsOf } from "../model/config-facts.ts";
import type { DeltaUse } from "../model/load-options.ts";
import { type Checkpoint, openCheckpoint } from "../weights/checkpoint.ts";
import {
  ADAPTER_OPTIONS,
  type BaseModelOptions,
  CONNECT_NAMES,
  CONNECT_OPTIONS,
  type ConnectOptions,
  checkConnectOptions,
  SHARED_OPTIONS,
  type SharedModelsOptions,
} from "./connect-options.ts";
import { asBundleError, copyNotice, type JoinedAdapter, joinAdapter } from "./join-adapter.ts";
import { type OpenedLocalAdapter, openLocalAdapter } from "./local-adapter.ts";
import type { RemoteAdapter } from "./remote-adapter.ts";
import type { RemoteProvider } from "./remote-provider.ts";

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
  let loaded: readonly CausalLm[] = [];
  try {
    const local: OpenedLocalAdapter[] = [];
    for (const folder of localAdapters) local.push(await openLocalAdapter(folder, checkpoint));
    if (adapters.length > 0) {
      const inputGroups = inputGroupsOf(checkpoint);
      const identity = await baseIdentity(checkpoint);
      for (const each of adapters) {
        const facts = { checkpoint, inputGroups, identity };
        joined.push(await joinAdapter(platform, each, facts));
      }
      if (identity.knownBy === "vectors") options.onWarning?.(copyNotice(identity));
    }
    loaded = await loadShared(platform, checkpoint, options, [
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
    await Promise.all(loaded.map((model) => model.dispose()));
    throw asBundleError(error);
  }
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
