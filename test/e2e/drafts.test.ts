/**
 * Drafts through a real provider: the answer is the one without them, over a line, with budgets that end, and when the
 * provider is killed, or the answer broken off, while a pass with drafts is on its way.
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import type { ConnectOptions } from "../../src/client/connect-options.ts";
import { openPrivateModel, type PrivateModel } from "../../src/client/private-model.ts";
import { type GenerateOptions, generate } from "../../src/generation/generate.ts";
import { changeKeys } from "../../src/library/node-data-folder.ts";
import { nodeFileTree, nodePlatform } from "../../src/platform/node.ts";
import { createApiKey } from "../../src/provider/api-keys.ts";
import { startLink } from "../support/link/link.ts";
import { LEXICON, lexicon, lexiconEntries, type TestModel, temporaryFolder } from "../support/models.ts";
import { startProvider, stopProviders } from "../support/provider-process.ts";
import { MAIN, spawnTacet } from "../support/tacet-process.ts";

const folder = temporaryFolder();
const state = join(folder.path, "state");
const open: PrivateModel[] = [];
let test: TestModel;

beforeAll(async () => {
  test = await lexicon();
  await test.writeState(state);
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((model) => model.close()));
  await stopProviders();
});
afterAll(() => folder.remove());

interface Completion {
  readonly choices: readonly { readonly message: { readonly content: string } }[];
  readonly usage: {
    readonly completion_tokens: number;
    readonly completion_tokens_details: {
      readonly accepted_prediction_tokens: number;
      readonly rejected_prediction_tokens: number;
    };
  };
}

/** Long answers whose every choice is far from a tie: the noise of the private layers is fresh in each pass. */
const ENTRIES = lexiconEntries()
  .filter(({ adapter }) => adapter.ids.length >= 16)
  .sort((a, b) => b.adapter.min_gap - a.adapter.min_gap)
  .slice(0, 4);
const [{ prompt_ids: PROMPT, adapter: EXPECTED }] = ENTRIES;

async function connectTo(provider: string, options: Partial<ConnectOptions> = {}): Promise<PrivateModel> {
  const model = await openPrivateModel(nodePlatform(), { base: test.checkpoint, provider, ...options });
  open.push(model);
  return model;
}

/** A data folder with one key of this budget, and the key. */
async function dataWith(vectors: number): Promise<{ data: string; token: string }> {
  const data = join(folder.path, `data-${vectors}-${Math.random()}`);
  const { key, record } = createApiKey({ label: "test", budget: { vectors, windowSeconds: 0 } });
  await changeKeys(data, (records) => [...records, record]);
  return { data, token: key };
}

async function collect({ model }: PrivateModel, options: Partial<GenerateOptions> = {}, prompt = PROMPT) {
  const draftCounts = { drafted: 0, accepted: 0 };
  const ids: number[] = [];
  let failure: unknown;
  const all = { maxNewTokens: EXPECTED.ids.length, draftCounts, ...options };
  try {
    for await (const { id } of generate(model, prompt, all)) ids.push(id);
  } catch (error) {
    failure = error;
  }
  return { ids, failure, ...draftCounts };
}

const isPending = (promise: Promise<unknown>): Promise<boolean> =>
  Promise.race([
    promise.then(() => false),
    new Promise<boolean>((resolve) => setTimeout(() => resolve(true), 500)),
  ]);

it("are made where the provider is far, of fewer waits, and not where it is near", async () => {
  const { url } = await startProvider(state);
  const link = await startLink(url, { roundTripMs: 15, upMbits: 100, downMbits: 100 });
  const far = await connectTo(link.url);
  const near = await connectTo(url);
  const waits: number[] = [];
  for (const drafts of [0, undefined]) {
    const { exchanges } = far.model.timings;
    const got = await collect(far, { drafts });
    expect(got.ids).toEqual(EXPECTED.ids);
    waits.push(far.model.timings.exchanges - exchanges);
    if (drafts === 0) expect(got.drafted).toBe(0);
    else {
      console.log(`${got.accepted} of ${got.drafted} drafts accepted, ${waits} waits`);
      expect(got.drafted).toBeGreaterThan(0);
    }
  }
  expect(waits[1]).toBeLessThan(waits[0]);
  expect(await collect(near)).toMatchObject({ ids: EXPECTED.ids, drafted: 0 });
  await link.close();
});

it("with the provider's own adapter, public, nearly all are right", async () => {
  const { url } = await startProvider(state);
  const draftAdapter = nodeFileTree(join(LEXICON, "law-adapter"));
  const joined = await connectTo(url, { draftAdapter });
  const got = await collect(joined, { drafts: 4 });
  expect(got.ids).toEqual(EXPECTED.ids);
  expect(got.accepted / got.drafted).toBeGreaterThan(0.8);
  expect(got.drafted).toBeGreaterThan(EXPECTED.ids.length / 2);
  // Each vector is of a token, or of a draft that was wrong.
  const groups = joined.adapter.groups.length;
  const passed = PROMPT.length + EXPECTED.ids.length - 1 + got.drafted - got.accepted;
  expect(joined.provider.traffic.vectors).toBeGreaterThanOrEqual(groups * passed);
});

it("never keep an answer from what a budget has left, and cost no more of it than they may", async () => {
  const enough = EXPECTED.ids.length - 4;
  const { data, token } = await dataWith(PROMPT.length + enough);
  const { url } = await startProvider(state, { args: ["--data", data] });
  const joined = await connectTo(url, { token, lookAhead: false });
  const got = await collect(joined, { drafts: 5, draftBudget: 0.5 });
  expect(got.failure).toMatchObject({ code: "budget_exhausted" });
  expect(got.drafted).toBeGreaterThan(0);
  const wrong = got.drafted - got.accepted;
  expect(wrong).toBeLessThanOrEqual(0.5 * got.ids.length);
  // As without, one token for each vector, but for those that were wrong: nothing is left, nothing charged twice.
  expect(got.ids).toEqual(EXPECTED.ids.slice(0, 1 + enough - wrong));
  expect(joined.provider.budget?.left).toBe(0);
});

it("go on alone where another session has taken what a pass with drafts would need", async () => {
  const { data, token } = await dataWith(PROMPT.length + 9);
  const { url } = await startProvider(state, { args: ["--data", data] });
  const joined = await connectTo(url, { token, lookAhead: false });
  const other = await connectTo(url, { token, lookAhead: false });
  const draftCounts = { drafted: 0, accepted: 0 };
  const ids: number[] = [];
  const reading = async () => {
    for await (const { id } of generate(joined.model, PROMPT, {
      maxNewTokens: EXPECTED.ids.length,
      drafts: 5,
      draftBudget: 9,
      draftCounts,
    })) {
      ids.push(id);
      // What this session believes to be left is now too much.
      if (ids.length === 1) await other.model.forward(PROMPT.slice(0, 6), other.model.newCache());
    }
  };
  await expect(reading()).rejects.toMatchObject({ code: "budget_exhausted" });
  expect(ids).toEqual(EXPECTED.ids.slice(0, ids.length));
  expect(ids.length).toBeGreaterThan(1);
});

it("survive a provider that is killed while a pass is on its way, and nothing is charged twice", async () => {
  const { data, token } = await dataWith(1000);
  const args = ["--data", data];
  const provider = await startProvider(state, { args });
  const joined = await connectTo(provider.url, { token, reconnectMs: 20_000, lookAhead: false });
  const draftCounts = { drafted: 0, accepted: 0 };
  const options = { maxNewTokens: EXPECTED.ids.length, drafts: 4, draftCounts };
  const tokens = generate(joined.model, PROMPT, options);
  const ids: number[] = [];
  for (let stopped = false; ; ) {
    if (ids.length === 3) {
      await provider.kill("SIGSTOP");
      stopped = true;
    }
    const next = tokens.next();
    // Of a pass that is through tokens come at once; the one that does not come waits for the provider.
    if (stopped && (await isPending(next))) {
      stopped = false;
      await provider.kill("SIGKILL");
      await startProvider(state, { port: provider.port, args });
    }
    const { done, value } = await next;
    if (done) break;
    ids.push(value.id);
  }
  expect(ids).toEqual(EXPECTED.ids);
  const used = PROMPT.length + EXPECTED.ids.length - 1 + draftCounts.drafted - draftCounts.accepted;
  expect(joined.provider.budget?.left).toBe(1000 - used);
});

it("lose nothing with a provider that stays away: what was given out is right, and the rest can be asked for", async () => {
  const provider = await startProvider(state);
  const joined = await connectTo(provider.url, { reconnectMs: 300 });
  const ids: number[] = [];
  const reading = async () => {
    for await (const { id } of generate(joined.model, PROMPT, {
      maxNewTokens: EXPECTED.ids.length,
      drafts: 4,
    })) {
      ids.push(id);
      if (ids.length === 4) await provider.kill("SIGKILL");
    }
  };
  await expect(reading()).rejects.toMatchObject({ code: "connection_lost" });
  expect(ids).toEqual(EXPECTED.ids.slice(0, ids.length));
  expect(ids.length).toBeGreaterThanOrEqual(4);
  await startProvider(state, { port: provider.port });
  const rest = await collect(joined, { drafts: 4, maxNewTokens: EXPECTED.ids.length - ids.length }, [
    ...PROMPT,
    ...ids,
  ]);
  expect([...ids, ...rest.ids]).toEqual(EXPECTED.ids);
});

it("end with the signal while a pass is on its way, and the same cache goes on", async () => {
  const provider = await startProvider(state);
  const joined = await connectTo(provider.url);
  const controller = new AbortController();
  const cache = joined.model.newCache();
  const options = { maxNewTokens: EXPECTED.ids.length, drafts: 4, cache, signal: controller.signal };
  const tokens = generate(joined.model, PROMPT, options);
  const ids: number[] = [];
  let ended: unknown;
  while (ended === undefined) {
    if (ids.length === 4) {
      await provider.kill("SIGSTOP");
      setTimeout(() => controller.abort(), 200);
    }
    const next = await tokens.next();
    if (next.done) ended = next.value.reason;
    else ids.push(next.value.id);
  }
  await provider.kill("SIGCONT");
  expect(ended).toBe("aborted");
  expect(ids).toEqual(EXPECTED.ids.slice(0, ids.length));
  expect(cache.length).toBe(PROMPT.length + ids.length - 1);
  const more: number[] = [];
  const rest = { maxNewTokens: EXPECTED.ids.length - ids.length, drafts: 4, cache };
  for await (const { id } of generate(joined.model, [ids[ids.length - 1]], rest)) more.push(id);
  expect([...ids, ...more]).toEqual(EXPECTED.ids);
});

it("Ctrl-C in the middle of a pass ends 'tacet generate' with what there was", async () => {
  const { url } = await startProvider(state);
  const link = await startLink(url, { roundTripMs: 100 });
  const [entry] = ENTRIES;
  const args = ["generate", "--provider", link.url, "--no-cache", "--drafts", "4", entry.word];
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ["ignore", "pipe", "ignore"] });
  const exit = once(child, "exit");
  let text = "";
  for await (const piece of child.stdout) {
    // A pass takes more than a second over this line: the next one is on its way.
    if (text === "") child.kill("SIGINT");
    text += piece;
  }
  expect(await exit).toEqual([130, null]);
  expect(text.trim()).not.toBe("");
  expect(entry.adapter.text.startsWith(text.trimEnd())).toBe(true);
  expect(text.trimEnd().length).toBeLessThan(entry.adapter.text.length);
  await link.close();
});

it("are counted by 'tacet generate --json', which without them says the same", async () => {
  const { url } = await startProvider(state);
  const run = async (...args: string[]) => {
    const all = [MAIN, "generate", "--provider", url, "--json", "--no-cache", ...args, ENTRIES[0].word];
    return JSON.parse((await promisify(execFile)(process.execPath, all)).stdout);
  };
  const plain = await run("--drafts", "0");
  const drafted = await run("--drafts", "3");
  expect(drafted.ids).toEqual(plain.ids);
  expect(plain.drafts).toEqual({ drafted: 0, accepted: 0 });
  expect(drafted.drafts.drafted).toBeGreaterThan(0);
  expect(drafted.roundTripsPerToken).toBeLessThan(plain.roundTripsPerToken);
  expect(drafted.vectors).toBeGreaterThan(plain.vectors);
});

it("ends before a stop string, and goes on from where it was, as without", async () => {
  const { url } = await startProvider(state);
  const run = async (...args: string[]) => {
    const all = [MAIN, "generate", "--provider", url, "--json", "--no-cache", ...args];
    return JSON.parse((await promisify(execFile)(process.execPath, all)).stdout);
  };
  const { word, adapter } = ENTRIES[0];
  // In the middle of the answer, so that the pass that has it has more.
  const at = adapter.text.length >> 1;
  const stop = ["--stop", adapter.text.slice(at, at + 4)];
  const cut = join(folder.path, "cut.json");
  writeFileSync(cut, JSON.stringify(await run("--drafts", "0", "--max-new-tokens", "5", word)));
  for (const args of [
    [...stop, word],
    ["--resume", cut],
  ]) {
    const [plain, drafted] = [await run("--drafts", "0", ...args), await run("--drafts", "4", ...args)];
    const { text, ids, finishReason } = plain;
    expect(drafted).toMatchObject({ text, ids, finishReason });
    expect(drafted.drafts.drafted).toBeGreaterThan(0);
  }
  expect((await run("--drafts", "4", ...stop, word)).text).toBe(adapter.text.slice(0, at));
});

it("of several conversations at once 'tacet serve' gives what each is alone, and counts them as predictions", async () => {
  const { url } = await startProvider(state);
  const args = ["--provider", url, "--port", "0", "--drafts", "3", "--no-cache"];
  const served = await spawnTacet(["serve", ...args]);
  const answers = await Promise.all(
    ENTRIES.map(async ({ word }) => {
      const body = { model: "test", messages: [{ role: "user", content: word }], temperature: 0 };
      const response = await fetch(`${served.url}/chat/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      });
      return (await response.json()) as Completion;
    }),
  );
  expect(answers.map(({ choices }) => choices[0].message.content)).toEqual(
    ENTRIES.map(({ adapter }) => adapter.text),
  );
  for (const [i, { usage }] of answers.entries()) {
    const { accepted_prediction_tokens: accepted, rejected_prediction_tokens: rejected } =
      usage.completion_tokens_details;
    expect(usage.completion_tokens).toBe(ENTRIES[i].adapter.ids.length);
    expect(accepted + rejected).toBeGreaterThan(0);
    expect(accepted).toBeLessThan(usage.completion_tokens);
  }
  expect(served.log()).toMatch(/"drafted":\d+,"accepted":\d+/);
});
