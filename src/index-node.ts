/**
 * Tacet's client for programs in Node: `connect({ base, provider })`. docs/library.md.
 *
 * ```ts
 * const law = await connect({ base: "models/lexicon/base", provider: "ws://127.0.0.1:8787" });
 * for await (const { text } of law.generate("tender")) process.stdout.write(text);
 * await law.close();
 * ```
 * @module
 */
import { TacetError } from "./base/errors.ts";
import type { FileTree } from "./base/platform.ts";
import type { ConnectOptions } from "./client/client.ts";
import { connectClient, type TextClient } from "./client/text-client.ts";
import { downloadFromHub, nodeBundleCache, nodeFileTree, nodePlatform, parseHubId } from "./platform/node.ts";
import type { Checkpoint } from "./weights/checkpoint.ts";

export { type ErrorCode, TacetError } from "./base/errors.ts";
export type { PrivateModel } from "./client/client.ts";
export { complete, type GenerateOptions, type Prompt, TextClient } from "./client/text-client.ts";
export type { AnswerEnd, AnswerOptions, AnswerPiece } from "./generation/answer-stream.ts";
export type { ChatSession, ChatSessionOptions } from "./generation/chat-session.ts";
export type { ChatMessage, TemplateVariables } from "./text/chat-template.ts";
export type { GeneratedToken, SamplingOptions } from "./generation/generate.ts";

export interface NodeConnectOptions extends Omit<ConnectOptions, "base" | "cache"> {
  /**
   * The base model: the path of a folder in the Hugging Face layout; an id on the Hugging Face hub, as "org/name" or
   * "org/name@revision", which is downloaded where its cache does not have it; or what it was opened as.
   */
  readonly base: string | { readonly hub: string } | FileTree | Checkpoint;
  /** Bytes that are there and bytes in all, of what is downloaded from the hub. */
  readonly onDownloadProgress?: (done: number, total: number) => void;
  /** Where bundles are kept. Default: $XDG_CACHE_HOME/tacet/bundles; false: nowhere. */
  readonly cache?: ConnectOptions["cache"] | false;
}

/**
 * Opens the base model, connects to the provider and joins the two. Close what it gives.
 *
 * @throws TacetError io_failed, bad_checkpoint, unsupported_model for the base; wrong_base_model if the adapter
 *   belongs to another; connection_failed, unauthorized; bad_bundle, unsupported_adapter
 */
export async function connect(options: NodeConnectOptions): Promise<TextClient> {
  const { base, cache = nodeBundleCache(), onDownloadProgress: _, ...rest } = options;
  return await connectClient(nodePlatform(), {
    ...rest,
    base: typeof base === "object" && !("hub" in base) ? base : nodeFileTree(await folderOf(base, options)),
    ...(cache === false ? {} : { cache }),
  });
}

async function folderOf(
  base: string | { readonly hub: string },
  { onDownloadProgress, onWarning, signal }: NodeConnectOptions,
): Promise<string> {
  if (typeof base === "string") return base;
  const id = parseHubId(base.hub);
  if (id === undefined) {
    throw new TacetError("bad_argument", "base.hub is not an id on the Hugging Face hub", {
      hint: 'it looks like "org/name" or "org/name@revision"',
    });
  }
  return await downloadFromHub(id, "base", {
    ...(onDownloadProgress === undefined ? {} : { onProgress: onDownloadProgress }),
    ...(onWarning === undefined ? {} : { onWarning }),
    ...(signal === undefined ? {} : { signal }),
  });
}
