/** The endpoint's models: several adapters, one base model in memory. */
import { LoadProgress } from "../shared/load-progress.ts";
import { announceReconnects, warnOfClearToken } from "../shared/link-notices.ts";
import { toHex } from "../../base/bytes.ts";
import { TacetError } from "../../base/errors.ts";
import type { FileTree } from "../../base/platform.ts";
import type { AdapterOptions } from "../../client/connect-options.ts";
import { openPrivateModels, type SharedModels } from "../../client/private-model.ts";
import {
  ContextPool,
  type FairSemaphore,
  ServedModel,
  type ServedModelOptions,
} from "../../openai/endpoint.ts";
import { collectLessOften } from "../../platform/node/heap.ts";
import { nodeBundleCache, nodePlatform } from "../../platform/node.ts";
import { type DraftFlags, draftsOf } from "../shared/draft-options.ts";
import { Progress } from "../shared/progress.ts";
import {
  adapterFolder,
  draftFolder,
  modelOptions,
  openBase,
  RECONNECT_SECONDS,
  type SourceOptions,
} from "../shared/source.ts";
import { quoteName } from "../../weights/json-file.ts";
import type { TemplateFlags } from "../shared/template-options.ts";
import { warn } from "../shared/terminal.ts";
import { clientToken } from "../shared/token.ts";
import type { LocalSpec } from "./local-specs.ts";
import type { ModelSpec } from "./model-specs.ts";

/** What the base model alone is called. */
export const BASE_NAME = "base";

export interface OpenOptions extends SourceOptions, TemplateFlags, DraftFlags {
  readonly serveBase?: boolean;
  readonly contexts: number;
  /** Answers at the same time. */
  readonly parallel: number;
  readonly stopId?: readonly number[];
}

export interface OpenedModels {
  readonly served: readonly ServedModel[];
  close(): Promise<void>;
}

/** What is served. */
export interface ServedSpecs {
  readonly remote: readonly ModelSpec[];
  readonly local: readonly LocalSpec[];
}

/** @throws TacetError bad_argument for a name twice; as connect */
export async function openModels(
  specs: ServedSpecs,
  options: OpenOptions,
  answers: FairSemaphore,
  signal: AbortSignal,
): Promise<OpenedModels> {
  const shared = await connectAll(specs, options, signal);
  const served: ServedModel[] = [];
  const close = async (): Promise<void> => {
    for (const model of served) model.dispose();
    await shared.close();
  };
  try {
    const { stopId: stopTokenIds = [], templateArg: templateVariables } = options;
    // What the base model has read alone serves all models on it.
    const number = shared.models.length + shared.localModels.length + (shared.base ? 1 : 0);
    const contexts = new ContextPool(options.contexts * number);
    const common = { answers, contexts, stopTokenIds, templateVariables, drafts: draftsOf(options) };
    const serve = async (
      each: Pick<ServedModelOptions, "id" | "model" | "checkpoint" | "ownedBy" | "fingerprint">,
    ): Promise<void> => {
      if (served.some(({ id }) => id === each.id)) throw sameName(each.id);
      served.push(await ServedModel.open({ ...common, ...each }));
    };
    for (const [i, { model, bundle, checkpoint }] of shared.models.entries()) {
      const id = specs.remote[i].name ?? bundle.manifest.adapter;
      const fingerprint = `fp_${toHex(bundle.digest).slice(0, 12)}`;
      await serve({ id, model, checkpoint, fingerprint, ownedBy: "provider" });
    }
    for (const [i, { model, checkpoint }] of shared.localModels.entries())
      await serve({ id: specs.local[i].name, model, checkpoint, ownedBy: "local" });
    if (shared.base !== undefined) {
      const { base: model, checkpoint } = shared;
      await serve({ id: BASE_NAME, model, checkpoint, ownedBy: "local" });
    }
    return { served, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function sameName(name: string): TacetError {
  const what = name === BASE_NAME ? "--serve-base: an adapter itself is" : "two models are";
  return new TacetError("bad_argument", `${what} called ${quoteName(name)}`, {
    hint: "give each its own name: --model NAME=URL, --adapter NAME=DIR",
  });
}

async function connectAll(
  { remote, local }: ServedSpecs,
  options: OpenOptions,
  signal: AbortSignal,
): Promise<SharedModels> {
  collectLessOften();
  const seconds = options.reconnectSeconds ?? RECONNECT_SECONDS;
  const platform = announceReconnects(nodePlatform(options), seconds);
  const fetching = new Progress(remote.length === 1 ? "fetching the bundle" : "fetching the bundles");
  const loading = new LoadProgress();
  const cache = options.cache === false ? {} : { cache: nodeBundleCache() };
  try {
    const usual = await clientToken(options.tokenFile);
    if (usual !== undefined) refuseToSpread(remote);
    const draftAdapter = await draftFolder(options, signal);
    const adapters: AdapterOptions[] = [];
    for (const [i, spec] of remote.entries()) {
      const token = spec.tokenFile === undefined ? usual : await clientToken(spec.tokenFile);
      warnOfClearToken(token, spec.provider);
      adapters.push({
        ...cache,
        provider: spec.provider,
        signal,
        reconnectMs: 1000 * seconds,
        onBundleProgress: (fraction) => fetching.update((i + fraction) / remote.length),
        onWarning: warn,
        adapter: spec.adapter,
        allowInvocation: options.allowInvocation,
        draftAdapter,
        token,
        pinnedDigest: spec.bundleDigest,
        providerKey: spec.providerKey,
      });
    }
    const localAdapters: FileTree[] = [];
    for (const { folder } of local) localAdapters.push(await adapterFolder(folder, signal));
    const shared = await openPrivateModels(platform, {
      base: await openBase(options, signal),
      adapters,
      localAdapters,
      parallel: options.parallel,
      withBase: options.serveBase === true,
      signal,
      onWarning: warn,
      onPrepare(progress) {
        fetching.stop();
        loading.prepare(progress);
      },
      onLoadProgress(fraction) {
        fetching.stop();
        loading.load(fraction);
      },
      ...modelOptions(options),
    });
    platform.connected();
    return shared;
  } finally {
    fetching.stop();
    loading.stop();
  }
}

/** A token is one provider's: no other one is told it. @throws TacetError bad_argument */
function refuseToSpread(specs: readonly ModelSpec[]): void {
  const withUsual = specs.filter(({ tokenFile }) => tokenFile === undefined);
  const providers = new Set(withUsual.map(({ provider }) => provider.map(originOf).sort().join(" ")));
  if (providers.size <= 1) return;
  throw new TacetError("bad_argument", "one token would go to several providers", {
    hint: 'give each its own: --model \'{"name":"law","provider":"wss://…","tokenFile":"…"}\'',
  });
}

function originOf(url: string): string {
  if (!URL.canParse(url)) return url;
  const { protocol, host } = new URL(url);
  return `${protocol}//${host}`;
}
