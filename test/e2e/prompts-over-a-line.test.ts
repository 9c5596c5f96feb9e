/**
 * Long prompts over a line with a round trip and a rate: read in several parts at a time, as private and as exact as in
 * one; and what becomes of them when the line or the provider goes away in the middle.
 */
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { ConnectOptions } from "../../src/client/connect-options.ts";
import { openPrivateModel, type PrivateModel } from "../../src/client/private-model.ts";
import { changeKeys, readUsage } from "../../src/library/node-data-folder.ts";
import { nodePlatform } from "../../src/platform/node.ts";
import { createApiKey } from "../../src/provider/api-keys.ts";
import type { CausalLm } from "../../src/model/causal-lm.ts";
import { systemRandom } from "../../src/ring/random-source.ts";
import { type Link, startLink } from "../support/link/link.ts";
import {
  goldenModel,
  goldenNames,
  greedyIds,
  lexicon,
  type TestModel,
  temporaryFolder,
} from "../support/models.ts";
import { checkPrivateAnswers } from "../support/private-answers.ts";
import { type ProviderProcess, startProvider, stopProviders } from "../support/provider-process.ts";

const LINE = { roundTripMs: 20, upMbits: 100, downMbits: 200 };
/** Before its first prompt a client knows of the line how long it took to be welcomed: so long that parts save much of it. */
const FAR_LINE = { ...LINE, roundTripMs: 40 };
const folder = temporaryFolder();
const open: { close(): Promise<unknown> }[] = [];
/** Providers of a test's own. */
const own: ProviderProcess[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((each) => each.close()));
  await Promise.all(own.splice(0).map((provider) => provider.kill()));
});

/** The embedded model, what a provider serves of it, and what plaintext makes of a long prompt. */
let law: TestModel;
let plain: CausalLm;
const lawState = join(folder.path, "lexicon");
let ids: number[];
let want: Float32Array;
beforeAll(async () => {
  law = await lexicon();
  await law.writeState(lawState);
  plain = await law.plaintext();
  ids = prompt(96, plain.config.vocabSize);
  want = await plain.forward(ids, plain.newCache());
});
afterAll(async () => {
  await stopProviders();
  await plain.dispose();
  folder.remove();
});

const prompt = (length: number, vocab: number) =>
  Array.from({ length }, (_, i) => 5 + ((7 * i * i + 3 * i) % (vocab - 5)));

async function serve(...given: Parameters<typeof startProvider>): Promise<ProviderProcess> {
  const provider = await startProvider(...given);
  own.push(provider);
  return provider;
}

async function linkTo(url: string, line = LINE): Promise<Link> {
  const link = await startLink(url, line);
  open.push(link);
  return link;
}

async function connectTo(
  { checkpoint }: TestModel,
  provider: string | string[],
  options: Partial<ConnectOptions> = {},
): Promise<PrivateModel> {
  const model = await openPrivateModel(nodePlatform(), { base: checkpoint, provider, ...options });
  open.push(model);
  return model;
}

/** Passes through the segments that a call makes. */
async function partsOf({ model }: PrivateModel, call: () => Promise<unknown>): Promise<number> {
  const { forwards } = model.timings;
  await call();
  return model.timings.forwards - forwards;
}

/** Both come to the same but for the noise. */
function expectSame(got: Float32Array, want: Float32Array): void {
  const rms = Math.sqrt(got.reduce((sum, value, i) => sum + (value - want[i]) ** 2, 0) / got.length);
  expect(rms).toBeLessThan(0.1);
}

/** One provider serves them all: to start one takes as long as to ask it. */
let goldenUrl: string;
const stateOf = (name: string) => join(folder.path, name);
beforeAll(async () => {
  for (const name of goldenNames()) await (await goldenModel(name)).writeState(stateOf(name), { name });
  const [first, ...others] = goldenNames().map(stateOf);
  const args = others.flatMap((state) => ["--state", state]);
  goldenUrl = (await startProvider(first, { args })).url;
});

describe.each(goldenNames())("golden %s", (name) => {
  it("answers long prompts as plaintext does, but for what the predicted noise explains", async () => {
    const test = await goldenModel(name);
    const state = stateOf(name);
    const plain = await test.plaintext();
    open.push({ close: () => plain.dispose() });
    const link = await linkTo(goldenUrl, FAR_LINE);
    const joined = await connectTo(test, link.url, { adapter: name });
    const ids = prompt(56, plain.config.vocabSize);
    const options = { maxNewTokens: 6, eosIds: [] };
    // The first prompt asks one group after the other; the later ones know the line, and groups go together.
    expect(await partsOf(joined, () => joined.model.forward(ids, joined.model.newCache()))).toBeGreaterThan(
      1,
    );
    const answered = [ids, ids.slice(20)].map((each) => ({ prompt: each, answer: [] as number[] }));
    for (const each of answered) each.answer = await greedyIds(plain, each.prompt, options);
    await checkPrivateAnswers({
      label: name,
      test,
      state,
      plain,
      privately: joined.model,
      answered,
      options,
    });
  });
});

describe("a line or a provider that goes away in the middle of a prompt", () => {
  /** A provider that counts, a client with a budget, and a prompt that is half read when `meanwhile` is called. */
  async function interrupted(
    name: string,
    options: Partial<ConnectOptions>,
    meanwhile: (links: readonly Link[], provider: ProviderProcess) => Promise<unknown>,
  ) {
    const data = join(folder.path, `${name}-data`);
    const { key, record } = createApiKey(
      { budget: { vectors: 1000, windowSeconds: 0 } },
      Date.now(),
      systemRandom,
    );
    await changeKeys(data, () => [record]);
    const args = ["--data", data];
    const provider = await serve(lawState, { args });
    const links = [await linkTo(provider.url), await linkTo(provider.url)];
    const joined = await connectTo(
      law,
      links.map(({ url }) => url),
      { token: key, ...options },
    );
    const cache = joined.model.newCache();
    const { groups } = joined.adapter;
    const reading = joined.model.forward(ids, cache);
    reading.catch(() => {});
    while (joined.provider.traffic.vectors < (ids.length * groups.length) / 2)
      await new Promise((resolve) => setTimeout(resolve, 1));
    await meanwhile(links, provider);
    const restart = () => serve(lawState, { port: provider.port, args });
    // What comes behind the last layer's attention is asked for the last part alone.
    const charged = () => {
      const totals = readUsage(data).usage();
      expect(totals).toHaveLength(groups.length);
      expect(totals.filter(({ total }) => total === ids.length)).toHaveLength(groups.length - 3);
      return Math.max(...totals.map(({ total }) => total));
    };
    return { joined, reading, cache, restart, charged };
  }

  it("is asked again over another line, and charged once", async () => {
    const { reading, charged } = await interrupted("cut", { reconnectMs: 10_000 }, ([first]) =>
      first.close(),
    );
    expectSame(await reading, want);
    expect(charged()).toBe(ids.length);
  });

  it("and comes back in time, goes on, and has charged once", async () => {
    const { reading, restart, charged } = await interrupted(
      "killed",
      { reconnectMs: 30_000 },
      (_, provider) => provider.kill("SIGKILL"),
    );
    await restart();
    expectSame(await reading, want);
    expect(charged()).toBe(ids.length);
  });

  it("and stays away, is an error; the cache is as it was, and the same prompt can be read later", async () => {
    const { joined, reading, cache, restart } = await interrupted("gone", { reconnectMs: 0 }, (_, provider) =>
      provider.kill("SIGKILL"),
    );
    await expect(reading).rejects.toMatchObject({ code: "connection_lost" });
    expect(cache.length).toBe(0);
    await restart();
    expectSame(await joined.model.forward(ids, cache), want);
    expect(cache.length).toBe(ids.length);
  });
});

it.each(["1", "2"])("a provider that takes %s at a time is asked no more", async (most) => {
  const { url, log } = await serve(lawState, { args: ["--max-in-flight", most] });
  const joined = await connectTo(law, (await linkTo(url)).url);
  for (let i = 0; i < 2; i++) {
    const parts = await partsOf(joined, async () =>
      expectSame(await joined.model.forward(ids, joined.model.newCache()), want),
    );
    // Later ones follow from what was measured meanwhile.
    if (i === 0) expect(parts).toBeGreaterThan(1);
    await joined.model.forward([3], joined.model.newCache());
  }
  expect(log()).not.toMatch(/too_many_requests/);
});

it("a prompt that is stopped in the middle asks nothing more, and the next one is right", async () => {
  const link = await linkTo((await serve(lawState)).url);
  const { model, provider, adapter } = await connectTo(law, link.url);
  const cache = model.newCache();
  const controller = new AbortController();
  const reading = model.forward(ids, cache, { signal: controller.signal });
  const all = ids.length * adapter.groups.length;
  while (provider.traffic.vectors < all / 4) await new Promise((resolve) => setTimeout(resolve, 1));
  controller.abort();
  await expect(reading).rejects.toMatchObject({ code: "aborted" });
  expect(cache.length).toBe(0);
  await model.forward([3], cache);
  // Of each part one group may have been asked when it was stopped.
  expect(provider.traffic.vectors).toBeLessThan(all / 4 + 3 * ids.length);
  const [got, other] = [await model.forward(ids, cache), plain.newCache()];
  await plain.forward([3], other);
  const logits = await plain.forward(ids, other);
  expect(
    Math.sqrt(got.reduce((sum, value, i) => sum + (value - logits[i]) ** 2, 0) / got.length),
  ).toBeLessThan(0.1);
});
