/** Which model a command runs: the base alone, with a plaintext adapter, or with a provider's. */
import type { Device } from "../../base/device.ts";
import { TacetError } from "../../base/errors.ts";
import type { FileTree, Platform } from "../../base/platform.ts";
import { openLocalAdapter } from "../../client/local-adapter.ts";
import { openPrivateModel, type PrivateModel } from "../../client/private-model.ts";
import { CausalLm } from "../../model/causal-lm.ts";
import type { WeightFormat } from "../../model/weights/weight-source.ts";
import { collectLessOften } from "../../platform/node/heap.ts";
import {
  nodeBundleCache,
  nodeFileCache,
  nodeFileTree,
  nodeKeyCache,
  nodePlatform,
} from "../../platform/node.ts";
import { type Checkpoint, openCheckpoint } from "../../weights/checkpoint.ts";
import { EMBEDDED_BASE } from "./embedded.ts";
import { modelFolder } from "./model-folder.ts";
import { Progress } from "./progress.ts";
import { warn } from "./terminal.ts";
import { clientToken } from "./token.ts";
import { announceReconnects, warnOfClearToken } from "./link-notices.ts";
import { LoadProgress } from "./load-progress.ts";

export interface SourceOptions {
  readonly base?: string;
  readonly adapter?: string;
  readonly provider?: readonly string[];
  readonly adapterName?: string;
  readonly tokenFile?: string;
  readonly bundleDigest?: string;
  readonly providerKey?: string;
  readonly allowInvocation?: boolean;
  readonly draftAdapter?: string;
  readonly reconnectSeconds?: number;
  readonly pollMicros?: number;
  readonly threads?: number;
  readonly device?: Device | undefined;
  readonly cache?: boolean;
  readonly keyCache?: boolean;
  readonly weights?: WeightFormat;
  readonly weightsCache?: string;
  readonly contextLength?: number;
}

export type SourceKind = "base" | "plaintext-adapter" | "provider";

export interface OpenedModel {
  readonly kind: SourceKind;
  readonly model: CausalLm;
  /** With what the adapter changes about text. */
  readonly checkpoint: Checkpoint;
  /** With a provider. */
  readonly remote?: PrivateModel;
  close(): Promise<void>;
}

/** @throws TacetError bad_argument for options that do not go together */
export function checkSource(
  options: SourceOptions,
  both: "refuse-both" | "allow-both" = "refuse-both",
): void {
  const { adapter, provider, adapterName, tokenFile, bundleDigest, providerKey } = options;
  const { allowInvocation, draftAdapter } = options;
  if (both === "refuse-both" && adapter !== undefined && provider !== undefined) {
    throw new TacetError("bad_argument", "--provider and --adapter exclude each other", {
      hint: "--provider asks a provider, --adapter applies an adapter that you have here",
    });
  }
  if (provider !== undefined) return;
  const needing = { adapterName, tokenFile, bundleDigest, providerKey, allowInvocation, draftAdapter };
  const stray = Object.entries(needing).find(([, value]) => value !== undefined);
  if (stray === undefined) return;
  const option = stray[0].replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  throw new TacetError("bad_argument", `--${option} needs --provider`);
}

export async function openBase({ base }: SourceOptions, signal?: AbortSignal): Promise<Checkpoint> {
  return await openCheckpoint(
    nodeFileTree(base === undefined ? EMBEDDED_BASE : await modelFolder(base, "base", signal)),
  );
}

/** Opens what the options name, under a progress bar. Close it. */
export async function openModel(options: SourceOptions, signal: AbortSignal): Promise<OpenedModel> {
  checkSource(options);
  const checkpoint = await openBase(options, signal);
  if (options.provider !== undefined) return await openRemote(checkpoint, options, signal);
  return await openLocal(checkpoint, options, signal);
}

export async function openLocal(
  base: Checkpoint,
  options: SourceOptions,
  signal: AbortSignal,
): Promise<OpenedModel> {
  collectLessOften();
  const local =
    options.adapter === undefined
      ? undefined
      : await openLocalAdapter(await adapterFolder(options.adapter, signal), base);
  const { adapter, checkpoint = base } = local ?? {};
  const progress = new LoadProgress();
  try {
    const model = await CausalLm.load(checkpoint, nodePlatform(options).tensors, {
      ...modelOptions(options),
      signal,
      onWarning: warn,
      onPrepare: progress.prepare,
      onProgress: progress.load,
      adapter,
    });
    const kind = adapter === undefined ? "base" : "plaintext-adapter";
    return { kind, model, checkpoint, close: () => model.dispose() };
  } finally {
    progress.stop();
  }
}

/** What all models are opened with. */
export function modelOptions({ threads, weights, weightsCache, contextLength }: SourceOptions) {
  return {
    weightCache: nodeFileCache(weightsCache),
    threads,
    weights,
    contextLength,
  };
}

export async function adapterFolder(named: string, signal: AbortSignal): Promise<FileTree> {
  return nodeFileTree(await modelFolder(named, "adapter", signal));
}

/** The public adapter that drafts. */
export async function draftFolder(
  { draftAdapter }: SourceOptions,
  signal: AbortSignal,
): Promise<FileTree | undefined> {
  return draftAdapter === undefined ? undefined : await adapterFolder(draftAdapter, signal);
}

export const RECONNECT_SECONDS = 10;

export async function openRemote(
  checkpoint: Checkpoint,
  options: SourceOptions,
  signal: AbortSignal,
  runtime: Platform = nodePlatform(options),
): Promise<OpenedModel> {
  collectLessOften();
  const { adapterName, bundleDigest, providerKey, pollMicros, provider = [] } = options;
  const seconds = options.reconnectSeconds ?? RECONNECT_SECONDS;
  const token = await clientToken(options.tokenFile);
  warnOfClearToken(token, provider);
  const platform = announceReconnects(runtime, seconds);
  const fetching = new Progress("fetching the bundle");
  const loading = new LoadProgress();
  try {
    const remote = await openPrivateModel(platform, {
      base: checkpoint,
      provider,
      signal,
      reconnectMs: 1000 * seconds,
      onBundleProgress: fetching.update,
      onPrepare(progress) {
        fetching.stop();
        loading.prepare(progress);
      },
      onLoadProgress(fraction) {
        fetching.stop();
        loading.load(fraction);
      },
      onWarning: warn,
      adapter: adapterName,
      token,
      pinnedDigest: bundleDigest,
      providerKey,
      allowInvocation: options.allowInvocation,
      draftAdapter: await draftFolder(options, signal),
      pollMicros,
      ...modelOptions(options),
      ...(options.cache === false ? {} : { cache: nodeBundleCache() }),
      ...(options.cache === false || options.keyCache === false ? {} : { keyCache: nodeKeyCache() }),
    });
    platform.connected();
    const { model } = remote;
    return { kind: "provider", model, checkpoint: remote.checkpoint, remote, close: () => remote.close() };
  } finally {
    fetching.stop();
    loading.stop();
  }
}
