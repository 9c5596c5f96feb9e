/** `connect` for programs in Node. */
import type { OptionTypes } from "../base/check-options.ts";
import { TacetError } from "../base/errors.ts";
import type { FileTree } from "../base/platform.ts";
import {
  CONNECT_OPTIONS,
  type ConnectOptions,
  checkConnectOptions,
  openPrivateModel,
} from "../client/private-model.ts";
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

export interface NodeConnectOptions extends Omit<ConnectOptions, "base" | "cache" | "keyCache"> {
  /**
   * The base model: the path of a folder in the Hugging Face layout, or an id on the Hugging Face hub, "org/name" or
   * "org/name@revision", which is downloaded where the hub's cache does not have it. A folder that exists wins;
   * `{ hub }` is always an id. Or what it was opened as.
   */
  readonly base: string | { readonly hub: string } | FileTree | Checkpoint;
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
  const { base, cache = nodeBundleCache(), onDownloadProgress: _, ...others } = options;
  const { keyCache = cache === false ? false : nodeKeyCache(), ...rest } = others;
  return new TextClient(
    await openPrivateModel(nodePlatform(), {
      ...rest,
      base: await baseOf(base, options),
      ...(cache === false ? {} : { cache }),
      ...(keyCache === false ? {} : { keyCache }),
    }),
  );
}

async function baseOf(
  base: NodeConnectOptions["base"],
  options: NodeConnectOptions,
): Promise<FileTree | Checkpoint> {
  if (typeof base === "string") {
    const found = findModel(base);
    return nodeFileTree(typeof found === "string" ? found : await download(found, options));
  }
  if (typeof base !== "object" || base === null) {
    throw new TacetError(
      "bad_argument",
      "base of connect must be a path, an id on the hub or an opened folder",
    );
  }
  if (!("hub" in base)) return base;
  const id = parseHubId(base.hub);
  if (id === undefined) {
    throw new TacetError("bad_argument", "base.hub is not an id on the Hugging Face hub", {
      hint: 'it looks like "org/name" or "org/name@revision"',
    });
  }
  return nodeFileTree(await download(id, options));
}

async function download(
  id: HubId,
  { onDownloadProgress, onWarning, signal }: NodeConnectOptions,
): Promise<string> {
  return await downloadFromHub(id, "base", {
    onProgress: onDownloadProgress,
    onWarning,
    signal,
  });
}
