/** `tacet web`: the browser app, for this machine. */
import { createHash } from "node:crypto";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { TacetError } from "../../base/errors.ts";
import { shownUrl } from "../../base/shown-url.ts";
import { nodeFileTree } from "../../platform/node.ts";
import type { WeightFormat } from "../../model/weights/weight-source.ts";
import { openCheckpoint } from "../../weights/checkpoint.ts";
import { openLoraAdapter } from "../../weights/lora-adapter.ts";
import { type DraftFlags, draftsOf } from "../shared/draft-options.ts";
import { EMBEDDED_BASE, EMBEDDED_EXAMPLES, isEmbeddedBase, PACKAGE_JSON } from "../shared/embedded.ts";
import { startEmbeddedProvider } from "../shared/embedded-provider.ts";
import { untilStopped } from "../shared/interrupt.ts";
import { isLoopback } from "../shared/loopback.ts";
import { print, warn } from "../shared/terminal.ts";
import { type Served, serveApp } from "./app-server.ts";
import { type FoundFile, filesUnder, modelFilesOf } from "./model-files.ts";

export interface WebOptions extends DraftFlags {
  readonly base?: string;
  readonly provider?: readonly string[];
  readonly adapterName?: string;
  readonly bundleDigest?: string;
  readonly providerKey?: string;
  readonly allowInvocation?: boolean;
  readonly draftAdapter?: string;
  readonly device?: "cpu" | "webgpu";
  readonly weights?: WeightFormat;
  readonly host: string;
  readonly port: number;
}

/** The built app, beside dist/cli. */
const APP = join(fileURLToPath(new URL(".", `file://${PACKAGE_JSON}`)), "dist/app");
export async function runWeb(options: WebOptions, signal: AbortSignal): Promise<void> {
  const { host, port, adapterName, bundleDigest, providerKey } = options;
  checkPins(options);
  const base = options.base ?? EMBEDDED_BASE;
  const app = await filesUnder(APP).catch(() => {
    throw new TacetError("io_failed", "the browser app has not been built", { hint: "npm run build" });
  });
  await openCheckpoint(nodeFileTree(base)); // says what is wrong with the folder, before a page does
  const model = await modelFilesOf(base);
  const drafting = options.draftAdapter === undefined ? [] : await draftFilesOf(options.draftAdapter);
  const own = options.provider === undefined ? await startEmbeddedProvider(signal) : undefined;
  try {
    const provider = options.provider ?? [own?.url ?? ""];
    const settings = {
      model: {
        name: isEmbeddedBase(options.base) ? "Lexicon, a small dictionary" : basename(resolve(base)),
        ...listOf(model),
      },
      provider,
      app: app.map(({ path }) => (path === "index.html" ? "" : path)),
      ...(isEmbeddedBase(options.base) ? { dictionary: { examples: EMBEDDED_EXAMPLES } } : {}),
      device: options.device,
      weights: options.weights,
      adapter: adapterName,
      bundleDigest,
      providerKey,
      allowInvocation: options.allowInvocation,
      draftAdapter: drafting.length > 0 ? listOf(drafting) : undefined,
      drafts: draftsOf(options),
    };
    const paths = new Map<string, Served>([
      ...app.map(({ path, ...file }) => [path === "index.html" ? "" : path, file] as const),
      ...model.map(({ path, ...file }) => [`model/${path}`, file] as const),
      ...drafting.map(({ path, ...file }) => [`draft-adapter/${path}`, file] as const),
      ["settings.json", { json: settings }],
    ]);
    const server = await serveApp({ host, port, paths, connectTo: provider.map(originOf) });
    if (!isLoopback(host)) {
      warn(`the page is open to everybody who reaches ${host}, without TLS`);
    }
    print(`open ${server.url}`);
    await untilStopped(signal);
    await server.close();
  } finally {
    await own?.stop();
  }
}

/** What is made here is new in each run, and nobody has signed it. @throws TacetError bad_argument */
function checkPins({ provider, bundleDigest, providerKey }: WebOptions): void {
  if (provider !== undefined || (bundleDigest === undefined && providerKey === undefined)) return;
  const flag = bundleDigest === undefined ? "--provider-key" : "--bundle-digest";
  throw new TacetError("bad_argument", `${flag} needs --provider`, {
    hint: "without it a provider is started here, with a bundle that is made for this run",
  });
}

/** As a page is told of a folder. */
function listOf(files: readonly FoundFile[]) {
  return { files: files.map(({ path, size }) => ({ path, size })), version: versionOf(files) };
}

/** @throws TacetError what is wrong with the folder, before a page says so */
async function draftFilesOf(folder: string): Promise<FoundFile[]> {
  const files = await modelFilesOf(folder, "adapter");
  await openLoraAdapter(nodeFileTree(folder));
  return files;
}

/** Changes when a file does. */
function versionOf(files: readonly FoundFile[]): string {
  const hash = createHash("sha256");
  for (const { path, size, changedMs } of files) hash.update(`${path}\0${size}\0${changedMs}\0`);
  return hash.digest("hex").slice(0, 32);
}

/** @throws TacetError bad_argument */
function originOf(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed?.protocol === "ws:" || parsed?.protocol === "wss:") return `${parsed.protocol}//${parsed.host}`;
  throw new TacetError("bad_argument", `${JSON.stringify(shownUrl(url))} is not a provider's URL`, {
    hint: "it looks like ws://host:port or wss://host",
  });
}
