/** `connect` for pages and workers. */
import type { OptionTypes } from "../base/check-options.ts";
import { checkDevice, type Device } from "../base/device.ts";
import { TacetError } from "../base/errors.ts";
import type { FileTree } from "../base/platform.ts";
import { CONNECT_OPTIONS, type ConnectOptions, checkConnectOptions } from "../client/connect-options.ts";
import { openPrivateModel } from "../client/private-model.ts";
import { TextClient } from "../client/text-client.ts";
import { loadWebFolder, type WebFolder, webBundleCache, webKeyCache, webPlatform } from "../platform/web.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";

export interface WebConnectOptions
  extends Omit<ConnectOptions, "base" | "cache" | "keyCache" | "draftAdapter"> {
  /**
   * onnxruntime-web as the page imports it, `onnxruntime-web/wasm` or for WebGPU `onnxruntime-web/webgpu`, with `ort.env.wasm.wasmPaths` set: only the page
   * knows where its bundler has put the WebAssembly file.
   */
  readonly ort: Parameters<typeof webPlatform>[0];
  /**
   * Where the base model runs: "cpu" (default) or "webgpu". A browser without it, and a model whose operators it does not
   * have, are errors.
   */
  readonly device?: Device | undefined;
  /** With "webgpu" also `onnxruntime-web/wasm`: it looks up rows of tables, for which the other build has no operators. */
  readonly hostOrt?: Parameters<typeof webPlatform>[0] | undefined;
  /** The base model: a folder behind a web server, by its URL and files, or what it was opened as. */
  readonly base: WebFolder | FileTree | Checkpoint;
  /** A public adapter that the base model drafts with, in the PEFT format. Default: it drafts alone. */
  readonly draftAdapter?: WebFolder | FileTree | undefined;
  /** How much of the base model has been fetched, from 0 to 1. */
  readonly onDownloadProgress?: ((fraction: number) => void) | undefined;
  /** Where bundles are kept. Default: the browser's cache storage; false: nowhere, and keys neither. */
  readonly cache?: ConnectOptions["cache"] | false | undefined;
  /**
   * Where keys are kept: what is left of them serves the next visit, so that fewer are fetched. Default: the browser's
   * cache storage; false: nowhere. Without a token none are kept.
   */
  readonly keyCache?: ConnectOptions["keyCache"] | false | undefined;
}

const OPTIONS: OptionTypes<WebConnectOptions> = {
  ...CONNECT_OPTIONS,
  ort: "any",
  device: "string",
  hostOrt: "any",
  draftAdapter: "any",
  cache: "any",
  keyCache: "any",
  onDownloadProgress: "function",
};

/**
 * Fetches and opens the base model, connects to the provider and joins the two. Close what it gives. Generation takes
 * the thread that it runs in: call this in a worker.
 *
 * @throws TacetError bad_argument for options that do not exist, are missing or have another type; io_failed,
 *   bad_checkpoint, unsupported_model for the base; wrong_base_model if the adapter belongs to another;
 *   connection_failed, unauthorized; bad_bundle, unsupported_adapter
 */
export async function connect(options: WebConnectOptions): Promise<TextClient> {
  checkConnectOptions(options, OPTIONS, {
    of: "connect",
    required: { ort: "ort", base: '{ url: "/model/", files, version: "1" }' },
  });
  const {
    ort,
    device,
    hostOrt,
    base,
    draftAdapter,
    cache = webBundleCache(),
    onDownloadProgress,
    ...others
  } = options;
  const { keyCache = cache === false ? false : webKeyCache(), ...rest } = others;
  const folders = {
    base: await folderOf(base, "base", onDownloadProgress),
    draftAdapter: draftAdapter && (await folderOf(draftAdapter, "draftAdapter")),
  };
  return new TextClient(
    await openPrivateModel(webPlatform(ort, { device: device && checkDevice(device), hostOrt }), {
      ...rest,
      ...folders,
      ...(cache === false ? {} : { cache }),
      ...(keyCache === false ? {} : { keyCache }),
    }),
  );
}

async function folderOf<T extends object>(
  named: WebFolder | T,
  option: "base" | "draftAdapter",
  onProgress?: WebConnectOptions["onDownloadProgress"],
): Promise<FileTree | Exclude<T, WebFolder>> {
  if (typeof named !== "object" || named === null) {
    throw new TacetError(
      "bad_argument",
      `${option} of connect must be a folder with its files, or an opened one`,
      {
        hint: 'as in { url: "/model/", files: [{ path: "config.json", size: 612 }, …], version: "1" }',
      },
    );
  }
  if (!("files" in named && "url" in named)) return named as Exclude<T, WebFolder>;
  const folder = named as WebFolder;
  // Relative to the page, or to the worker's own file.
  const url = new URL(folder.url, (globalThis as { location?: { href: string } }).location?.href).href;
  return await loadWebFolder({ ...folder, url }, onProgress);
}
