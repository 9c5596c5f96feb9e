/** The worker: base model, tokenizer and all cryptography. Keys and plaintext never leave it for the network. */

import { openPrivateModels, type PrivateModel } from "../src/client/private-model.ts";
import { ChatSession, openCheckpoint } from "../src/entry/model.ts";
import { loadWebFolder, webBundleCache, webKeyCache } from "../src/platform/web.ts";
import { securityOf } from "../src/rlwe/parameter-security.ts";
import { BaseSide } from "./base-side.ts";
import { groupName } from "./group-names.ts";
import type { DraftLimits } from "../src/generation/drafts/drafting.ts";
import type { AskOptions, FromWorker, Ready, Settings, Side, ToWorker } from "./messages.ts";
import { endsLink, failureOf, ProviderLink } from "./provider-link.ts";
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

interface Joined {
  readonly remote: PrivateModel;
  readonly chat: ChatSession;
}

interface Opened {
  readonly drafts: DraftLimits;
  readonly base: BaseSide;
  readonly link: ProviderLink<Joined>;
}

let opened: Opened | undefined;
/** The private conversation, also when the connection that it was had over is gone. */
let privateChat: ChatSession | undefined;
let stop = new AbortController();
const tap = new Tap();

scope.onmessage = ({ data }) => {
  switch (data.type) {
    case "start":
      void start(data.settings, data.page).catch((error) =>
        say({ type: "fatal", failure: failureOf(error) }),
      );
      break;
    case "key":
      opened?.link.retry(data.token);
      break;
    case "retry":
      opened?.link.retry();
      break;
    case "stop":
      stop.abort();
      break;
    case "reset":
      opened?.base.reset();
      privateChat?.reset();
      break;
    case "ask":
      void ask(data).finally(() => say({ type: "idle" }));
  }
};

/** The base model first: it can be asked while the provider is being reached. */
async function start(settings: Settings, page: string): Promise<void> {
  const { model } = settings;
  const tree = await loadWebFolder(
    { ...model, url: new URL("model/", page).href },
    progress("Loading the model"),
  );
  const checkpoint = await openCheckpoint(tree);
  const base = await BaseSide.open(checkpoint, settings, page, progress);
  const link = new ProviderLink<Joined>(
    (token) => join(settings, page, token),
    (state) => say({ type: "link", link: state }),
  );
  opened = { base, link, drafts: settings.drafts ?? {} };
  say({ type: "base", runsOn: base.runsOn });
  void link.join();
}

async function join(settings: Settings, page: string, token: string): Promise<Joined> {
  const { provider, adapter, bundleDigest, providerKey, allowInvocation = false, draftAdapter } = settings;
  const { base } = opened!;
  const adapters = [
    {
      provider,
      allowInvocation,
      draftAdapter:
        draftAdapter && (await loadWebFolder({ ...draftAdapter, url: new URL("draft-adapter/", page).href })),
      cache: webBundleCache(),
      keyCache: webKeyCache(),
      onBundleProgress: progress("Fetching the adapter's public part"),
      adapter,
      pinnedDigest: bundleDigest,
      providerKey,
      ...(token === "" ? {} : { token }),
    },
  ];
  const shared = await base.replace(
    async (platform) =>
      await openPrivateModels(tap.wrap(platform), {
        base: base.checkpoint,
        adapters,
        withBase: true,
        weights: base.runsOn.weights,
        onLoadProgress: progress("Preparing the private model"),
      }),
  );
  const [remote] = shared.models;
  // What was said before, by the base model alone or over a connection that is gone, stays said.
  const messages = privateChat?.messages ?? (await base.chat()).messages;
  const chat = await ChatSession.open(remote.model, remote.checkpoint, { overflow: "drop-oldest", messages });
  privateChat = chat;
  tap.setGroups(remote.bundle.manifest.groups.map(groupName));
  say({ type: "link", link: { state: "ready", ready: factsOf(remote) } });
  say({ type: "budget", budget: remote.provider.budget });
  return { remote, chat };
}

function progress(stage: string): (fraction: number) => void {
  return (fraction) => say({ type: "progress", stage, fraction });
}

function factsOf({ bundle, model, provider, base }: PrivateModel): Ready {
  const { manifest, digest } = bundle;
  const { user, wornKey, keyDifference } = securityOf(manifest.parameters);
  return {
    adapter: manifest.adapter,
    bundleDigest: Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join(""),
    layers: new Set(manifest.groups.map(({ layer }) => layer)).size,
    groups: manifest.groups.length,
    contextLength: model.contextLength,
    baseStoredAs: base.storedAs,
    userBits: Math.floor(user.standardBits),
    keyBits: Math.floor(Math.min(wornKey.standardBits, keyDifference.standardBits)),
    tokensPerKey: provider.welcome.vectorsPerKey,
  };
}

/** The base model's answer first, then the private one, so that neither slows the other down. */
async function ask(question: Extract<ToWorker, { type: "ask" }>): Promise<void> {
  stop = new AbortController();
  if (!opened) return;
  const { base, link } = opened!;
  const asked = base.during(async () => {
    // One without a chat template answers when an adapter has brought one.
    if (!base.hasChat) await link.current(stop.signal);
    return await askSide(question, "base", () => base.chat());
  });
  if (await asked) {
    await askSide(question, "private", async () => {
      const { remote, chat } = await link.current(stop.signal);
      await remote.adapter.ready();
      return chat;
    });
  }
}

/** @returns whether the other side shall be asked too */
async function askSide(
  question: Extract<ToWorker, { type: "ask" }>,
  side: Side,
  chatOf: () => ChatSession | Promise<ChatSession>,
): Promise<boolean> {
  const { turn, text, again, options } = question;
  try {
    say({ type: "begin", turn, side });
    const chat = await chatOf();
    if (!options.keepConversation) chat.reset();
    await answer(turn, side, chat, text, again, options);
    return !stop.signal.aborted;
  } catch (error) {
    say({ type: "failed", turn, side, failure: failureOf(error) });
    if (side === "private" && endsLink(error)) await rejoin();
    return false;
  } finally {
    const joined = side === "private" ? await joinedNow() : undefined;
    if (joined) say({ type: "budget", budget: joined.remote.provider.budget });
  }
}

async function joinedNow(): Promise<Joined | undefined> {
  return await opened?.link.current(AbortSignal.abort()).catch(() => undefined);
}

/** A connection that was lost, or whose key is no longer good, is made again. */
async function rejoin(): Promise<void> {
  const joined = await joinedNow();
  if (joined === undefined) return; // it is being tried already
  void opened!.link.join();
  joined.chat.dispose();
  await joined.remote.close().catch(() => {});
}

async function answer(
  turn: number,
  side: Side,
  chat: ChatSession,
  text: string,
  again: boolean,
  { maxNewTokens, temperature }: AskOptions,
): Promise<void> {
  const { signal } = stop;
  const begun = performance.now();
  if (side === "private") tap.begin();
  let pictured = 0;
  const show = (): void => {
    if (side !== "private") return;
    pictured = performance.now();
    say({ type: "seen", seen: tap.seen });
    say({ type: "times", groups: tap.times });
  };
  const wishes = { ...opened!.drafts, maxNewTokens, signal, sampling: { temperature } };
  const joined = side === "private" ? await joinedNow() : undefined;
  const exchanges = () => joined?.remote.model.timings.exchanges ?? 0;
  const before = exchanges();
  const last = chat.messages.findLast(({ role }) => role === "user");
  // Where this side was not asked the last question, it is a new one to it.
  const answer = again && last?.content === text ? chat.retry(wishes) : chat.send(text, wishes);
  for await (const piece of answer) {
    if (piece.text !== "") say({ type: "text", turn, side, text: piece.text });
    if (performance.now() - pictured > PICTURE_MS) {
      show();
      // Lets a request to stop come in: between two tokens nothing else may.
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  }
  show();
  const milliseconds = performance.now() - begun;
  const { ids, reason, drafts } = await answer.end;
  const roundTrips = exchanges() - before;
  say({ type: "done", turn, side, ids, milliseconds, reason, drafts, roundTrips });
}
