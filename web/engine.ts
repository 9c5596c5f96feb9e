/** The worker: base model, tokenizer and all cryptography. Keys and plaintext never leave it for the network. */

import wasmUrl from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";
import * as ort from "onnxruntime-web/wasm";
import { TacetError } from "../src/base/errors.ts";
import { connect, type PrivateModel } from "../src/client/client.ts";
import { CausalLm, ChatSession, hasChatTemplate, openCheckpoint } from "../src/model/model.ts";
import { loadWebFolder, webBundleCache, webPlatform } from "../src/platform/web.ts";
import { securityOf } from "../src/rlwe/parameter-security.ts";
import type { AskOptions, FromWorker, Ready, Settings, Side, ToWorker } from "./messages.ts";
import { Tap } from "./tap.ts";

/** What a dedicated worker has; the DOM's own types are a page's. */
interface Scope {
  postMessage(message: FromWorker): void;
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
}
const scope = self as unknown as Scope;
const say = (message: FromWorker): void => scope.postMessage(message);

/** Milliseconds between two pictures of the wire. */
const PICTURE_MS = 100;

interface Opened {
  readonly base: CausalLm;
  readonly joined: PrivateModel;
  readonly chats: Readonly<Record<Side, ChatSession>>;
}

let opened: Opened | undefined;
let stop = new AbortController();
const tap = new Tap();

scope.onmessage = ({ data }) => {
  if (data.type === "start") void start(data.settings, data.token, data.page).catch(failed);
  else if (data.type === "stop") stop.abort();
  else if (data.type === "reset") for (const chat of Object.values(opened?.chats ?? {})) chat.reset();
  else void ask(data.turn, data.text, data.options).catch((error) => failed(error, data.turn));
};

async function start(settings: Settings, token: string, page: string): Promise<void> {
  ort.env.wasm.wasmPaths = { wasm: new URL(wasmUrl, page).href };
  ort.env.wasm.numThreads = 1;
  const progress = (stage: string) => (fraction: number) => say({ type: "progress", stage, fraction });
  const { model, provider, adapter, bundleDigest } = settings;
  const folder = { url: new URL("model/", page).href, files: model.files, version: model.version };
  const tree = await loadWebFolder(folder, progress("Loading the base model"));
  const checkpoint = await openCheckpoint(tree);
  const platform = webPlatform(ort);
  const joined = await connect(tap.wrap(platform), {
    base: checkpoint,
    provider,
    cache: webBundleCache(),
    onBundleProgress: progress("Fetching the bundle"),
    onLoadProgress: progress("Preparing the private model"),
    ...(adapter === undefined ? {} : { adapter }),
    ...(bundleDigest === undefined ? {} : { pinnedDigest: bundleDigest }),
    ...(token === "" ? {} : { token }),
  });
  const base = await CausalLm.load(checkpoint, platform.tensors, {
    onProgress: progress("Preparing the base model"),
  });
  const chats = {
    // A base that was not trained for chat is asked as the adapter is.
    base: await ChatSession.open(base, (await hasChatTemplate(checkpoint)) ? checkpoint : joined.checkpoint, {
      overflow: "drop-oldest",
    }),
    private: await ChatSession.open(joined.model, joined.checkpoint, { overflow: "drop-oldest" }),
  };
  opened = { base, joined, chats };
  say({ type: "ready", ready: factsOf(joined) });
}

function factsOf({ bundle, model }: PrivateModel): Ready {
  const { manifest, digest } = bundle;
  const { user, hint } = securityOf(manifest.parameters);
  return {
    adapter: manifest.adapter,
    bundleDigest: Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join(""),
    layers: new Set(manifest.groups.map(({ layer }) => layer)).size,
    groups: manifest.groups.length,
    contextLength: model.contextLength,
    userBits: Math.floor(user.standardBits),
    hintBits: Math.floor(hint.standardBits),
  };
}

/** The base model's answer first, then the private one, so that neither slows the other down. */
async function ask(turn: number, text: string, options: AskOptions): Promise<void> {
  if (!opened) throw new TacetError("not_ready", "the model is still loading");
  stop = new AbortController();
  const { chats, joined } = opened;
  if (!options.keepConversation) for (const chat of Object.values(chats)) chat.reset();
  for (const side of ["base", "private"] as const) {
    if (side === "private") await joined.adapter.ready();
    await answer(turn, side, chats[side], text, options);
  }
}

async function answer(
  turn: number,
  side: Side,
  chat: ChatSession,
  text: string,
  { maxNewTokens, temperature }: AskOptions,
): Promise<void> {
  const { signal } = stop;
  const begun = performance.now();
  if (side === "private") tap.begin(groupNames());
  let pictured = 0;
  const show = (): void => {
    if (side !== "private") return;
    pictured = performance.now();
    say({ type: "seen", seen: tap.seen });
    say({ type: "times", groups: tap.times });
  };
  const pieces = chat.send(text, { maxNewTokens, signal, sampling: { temperature } });
  for (;;) {
    const next = await pieces.next();
    if (next.done) {
      show();
      const milliseconds = performance.now() - begun;
      const { ids, reason } = next.value;
      say({ type: "done", turn, side, ids, milliseconds, reason });
      return;
    }
    if (next.value.text !== "") say({ type: "text", turn, side, text: next.value.text });
    if (performance.now() - pictured > PICTURE_MS) {
      show();
      // Lets a request to stop come in: between two tokens nothing else may.
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  }
}

/** "layer 3: q, k, v" */
function groupNames(): readonly string[] {
  return opened!.joined.bundle.manifest.groups.map(({ layer, modules }) => {
    const parts = modules.map(({ name }) =>
      name
        .split(".")
        .at(-1)!
        .replace(/_proj$/, ""),
    );
    return `layer ${layer + 1}: ${parts.join(", ")}`;
  });
}

function failed(error: unknown, turn?: number): void {
  const known = error instanceof TacetError ? error : new TacetError("internal", "the page failed");
  say({
    type: "failed",
    code: known.code,
    message: known.message,
    hint: known.hint ?? "",
    ...(turn === undefined ? {} : { turn }),
  });
}
