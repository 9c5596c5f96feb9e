/** `connect` for programs in Node. */
import type { OptionTypes } from "../base/check-options.ts";
import { checkDevice, type Device } from "../base/device.ts";
import { TacetError } from "../base/errors.ts";
import type { FileTree } from "../base/platform.ts";
import { CONNECT_OPTIONS, type ConnectOptions, checkConnectOptions } from "../client/connect-options.ts";
import { openPrivateModel } from "../client/private-model.ts";
import { TextClient } from "../client/text-client.ts";
import {
  downloadFromHub,
  findModel,
  type HubId,
  nodeBundleCache,
  nodeFileTree,
  nodeKeyCache,
  nodePlatform,
  parseHubId,
} from "../platform/node.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";

export interface NodeConnectOptions
  extends Omit<ConnectOptions, "base" | "cache" | "keyCache" | "draftAdapter"> {
  /**
   * The base model: the path of a folder in the Hugging Face layout, or an id on the Hugging Face hub, "org/name" or
   * "org/name@revision", which is downloaded where the hub's cache does not have it. A folder that exists wins;
   * `{ hub }` is always an id. Or what it was opened as.
   */
  readonly base: string | { readonly hub: string } | FileTree | Checkpoint;
  /**
   * A public adapter that the base model drafts with: a folder in the PEFT format or an id on the hub, as for `base`.
   * Default: it drafts alone.
   */
  readonly draftAdapter?: string | { readonly hub: string } | FileTree | undefined;
  /**
   * Where the base model runs: "cpu" (default), "webgpu", "cuda", "coreml" or "dml". What this build of ONNX Runtime or
   * this machine does not have, and a model whose operators the device does not have, are errors.
   */
  readonly device?: Device | undefined;
  /** Bytes that are there and bytes in all, of what is downloaded from the hub. */
  readonly onDownloadProgress?: ((done: number, total: number) => void) | undefined;
  /** Where bundles are kept. Default: $XDG_CACHE_HOME/tacet/bundles; false: nowhere, and keys neither. */
  readonly cache?: ConnectOptions["cache"] | false | undefined;
  /**
   * Where keys are kept: what is left of them serves the next session, so that fewer are fetched. Default:
   * $XDG_CACHE_HOME/tacet/keys, readable by this user alone; false: nowhere. Without a token none are kept.
   */
  readonly keyCache?: ConnectOptions["keyCache"] | false | undefined;
}

const OPTIONS: OptionTypes<NodeConnectOptions> = {
  ...CONNECT_OPTIONS,
  draftAdapter: "any",
  device: "string",
  cache: "any",
  keyCache: "any",
  onDownloadProgress: "function",
};

/**
 * Opens the base model, connects to the provider and joins the two. Close what it gives.
 *
 * ```ts
 * const law = await connect({ base: "models/lexicon/base", provider: "ws://127.0.0.1:8787" });
 * for await (const { text } of law.generate("tender")) process.stdout.write(text);
 * await law.close();
 * ```
 *
 * @throws TacetError bad_argument for options that do not exist, are missing or have another type; io_failed,
 *   bad_checkpoint, unsupported_model for the base; wrong_base_model if the adapter belongs to another;
 *   connection_failed, unauthorized; bad_bundle, unsupported_adapter
 */
export async function connect(options: NodeConnectOptions): Promise<TextClient> {
  checkConnectOptions(options, OPTIONS, { of: "connect", required: { base: '"./model"' } });
  const { base, draftAdapter, device, cache = nodeBundleCache(), onDownloadProgress: _, ...others } = options;
  const { keyCache = cache === false ? false : nodeKeyCache(), ...rest } = others;
  return new TextClient(
    await openPrivateModel(nodePlatform({ device: device && checkDevice(device) }), {
      ...rest,
      base: await folderOf(base, "base", options),
      draftAdapter:
        draftAdapter === undefined ? undefined : await folderOf(draftAdapter, "draftAdapter", options),
      ...(cache === false ? {} : { cache }),
      ...(keyCache === false ? {} : { keyCache }),
    }),
  );
}

/** @param option whose value is named */
async function folderOf<T extends object>(
  named: string | { readonly hub: string } | T,
  option: "base" | "draftAdapter",
  options: NodeConnectOptions,
): Promise<FileTree | Exclude<T, { readonly hub: string }>> {
  const kind = option === "base" ? "base" : "adapter";
  if (typeof named === "string") {
    const found = findModel(named);
    return nodeFileTree(typeof found === "string" ? found : await download(found, kind, options));
  }
  if (typeof named !== "object" || named === null) {
    throw new TacetError(
      "bad_argument",
      `${option} of connect must be a path, an id on the hub or an opened folder`,
    );
  }
  if (!("hub" in named)) return named as Exclude<T, { readonly hub: string }>;
  const id = parseHubId(named.hub as string);
  if (id === undefined) {
    throw new TacetError("bad_argument", `${option}.hub is not an id on the Hugging Face hub`, {
      hint: 'it looks like "org/name" or "org/name@revision"',
    });
  }
  return nodeFileTree(await download(id, kind, options));
}

async function download(
  id: HubId,
  kind: "base" | "adapter",
  { onDownloadProgress, onWarning, signal }: NodeConnectOptions,
): Promise<string> {
  return await downloadFromHub(id, kind, {
    onProgress: onDownloadProgress,
    onWarning,
    signal,
  });
}
