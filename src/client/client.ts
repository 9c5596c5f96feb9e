/**
 * The user's side: a base model that runs here, an adapter that stays at its provider.
 *
 * ```ts
 * const model = await connect(nodePlatform(), { base: nodeFileTree("models/lexicon/base"), provider: "ws://…" });
 * for await (const { id } of generate(model.model, [1, 120, 1336, 3, 2], { maxNewTokens: 40 })) console.log(id);
 * ```
 * @module
 */
import { TacetError } from "../base/errors.ts";
import type { FileCache, FileTree, Platform } from "../base/platform.ts";
import type { Bundle } from "../bundle/bundle.ts";
import { joinAdapterText } from "../model/adapter-text.ts";
import { CausalLm, inputGroupsOf } from "../model/causal-lm.ts";
import type { PrepareProgress } from "../model/quantized-weights.ts";
import type { WeightFormat } from "../model/weight-source.ts";
import { type Checkpoint, openCheckpoint } from "../weights/checkpoint.ts";
import { fingerprintCheckpoint } from "../weights/fingerprint.ts";
import { checkGroups } from "./check-groups.ts";
import { RemoteAdapter } from "./remote-adapter.ts";
import { RemoteProvider, type RemoteProviderOptions } from "./remote-provider.ts";

export interface ConnectOptions extends Omit<RemoteProviderOptions, "baseFingerprint" | "url"> {
  /** The base model's folder in the Hugging Face layout, or the opened checkpoint. */
  readonly base: FileTree | Checkpoint;
  /** URL of the provider, or of several replicas. */
  readonly provider: string | readonly string[];
  /** Threads that one operator of the base model may use. */
  readonly threads?: number;
  readonly contextLength?: number;
  /**
   * Ask adapted layers that follow each other together (default): fewer waits for each token, for as many activation
   * vectors of some groups as the adapter has ranks, once (model/look-ahead.ts). Where there is a budget they are asked
   * for only after four times as many decode steps.
   */
  readonly lookAhead?: boolean;
  readonly onLoadProgress?: (fraction: number) => void;
  /**
   * How the base model's weights are held (docs/models.md). The provider knows the model by the original weights,
   * whichever are chosen here. Default: "original".
   */
  readonly weights?: WeightFormat;
  /** Where quantized weights are kept. Default: the platform's. */
  readonly weightCache?: FileCache;
  /** Quantized weights are being made, or the ones that were kept are being checked. */
  readonly onPrepare?: (progress: PrepareProgress) => void;
}

/** A private model: {@link CausalLm} whose adapted layers ask a provider. */
export interface PrivateModel {
  readonly model: CausalLm;
  readonly adapter: RemoteAdapter;
  readonly provider: RemoteProvider;
  readonly bundle: Bundle;
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
 * @throws TacetError: wrong_base_model if the adapter belongs to another base; connection_failed; bad_bundle;
 *   bad_checkpoint; unsupported_model; unsupported_adapter
 */
export async function connect(platform: Platform, options: ConnectOptions): Promise<PrivateModel> {
  const checkpoint = "config" in options.base ? options.base : await openCheckpoint(options.base);
  const inputGroups = inputGroupsOf(checkpoint);
  const baseFingerprint = await fingerprintCheckpoint(checkpoint);
  const { provider, bundle } = await RemoteProvider.connect(platform, {
    ...options,
    url: options.provider,
    baseFingerprint,
  });
  let adapter: RemoteAdapter | undefined;
  try {
    checkGroups(bundle.manifest, baseFingerprint, inputGroups);
    const joinedCheckpoint = await joinAdapterText(checkpoint, bundle.manifest.text);
    adapter = new RemoteAdapter(bundle, provider, provider.welcome.limits);
    const { threads, contextLength, onLoadProgress, weights, onPrepare, onWarning, signal } = options;
    const weightCache = options.weightCache ?? platform.weightCache;
    const model = await CausalLm.load(checkpoint, platform.tensors, {
      deltas: adapter,
      lookAhead: options.lookAhead !== false && provider.welcome.limits.maxInFlight > 1,
      lookAheadAfter: provider.welcome.budget === undefined ? 0 : STEPS_FOR_A_RANK * adapter.largestRank,
      ...(threads === undefined ? {} : { threads }),
      ...(contextLength === undefined ? {} : { contextLength }),
      ...(onLoadProgress === undefined ? {} : { onProgress: onLoadProgress }),
      ...(weights === undefined ? {} : { weights }),
      ...(weightCache === undefined ? {} : { weightCache }),
      ...(onPrepare === undefined ? {} : { onPrepare }),
      ...(onWarning === undefined ? {} : { onWarning }),
      ...(signal === undefined ? {} : { signal }),
    });
    const joined = adapter;
    return {
      model,
      adapter,
      provider,
      bundle,
      checkpoint: joinedCheckpoint,
      async close() {
        provider.close();
        joined.dispose();
        await model.dispose();
      },
    };
  } catch (error) {
    provider.close();
    adapter?.dispose();
    if (error instanceof RangeError) {
      throw new TacetError("bad_bundle", `the bundle cannot be used: ${error.message}`, { cause: error });
    }
    throw error;
  }
}
