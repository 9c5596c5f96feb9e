/** Providers that die, come back, or are several: what the caller notices, and that the ids stay right. */
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { TacetError } from "../../src/base/errors.ts";
import type { Platform } from "../../src/base/platform.ts";
import type { ConnectOptions } from "../../src/client/connect-options.ts";
import { openPrivateModel, type PrivateModel } from "../../src/client/private-model.ts";
import { RemoteProvider } from "../../src/client/remote-provider.ts";
import type { CausalLm } from "../../src/model/causal-lm.ts";
import { nodePlatform } from "../../src/platform/node.ts";
import { packedBytes } from "../../src/ring/kernels.ts";
import { fingerprintCheckpoint } from "../../src/weights/fingerprint.ts";
import { decodeProviderFrame } from "../../src/wire/frames.ts";
import { goldenModel, goldenOf, greedyIds, type TestModel, temporaryFolder } from "../support/models.ts";
import { startProvider, stopProviders } from "../support/provider-process.ts";

const NAME = "llama-f32";
const want = goldenOf(NAME);
const OPTIONS = { maxNewTokens: 16, eosIds: [] };
const folder = temporaryFolder();
const state = join(folder.path, "state");
const platform = nodePlatform();
const open: PrivateModel[] = [];
let test: TestModel;

beforeAll(async () => {
  test = await goldenModel(NAME);
  await test.writeState(state);
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((model) => model.close()));
  await stopProviders();
});
afterAll(() => folder.remove());

async function connectTo(provider: string | string[], options: Partial<ConnectOptions> = {}) {
  const model = await openPrivateModel(platform, { base: test.checkpoint, provider, ...options });
  open.push(model);
  return model;
}

const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.fail("it did not fail"),
    (error: unknown) => error as TacetError,
  );

describe("a provider killed in mid-generation", () => {
  it("is a clear error within the time that the caller gave, and generation resumes from where it was", async () => {
    const provider = await startProvider(state);
    const { model } = await connectTo(provider.url, { reconnectMs: 300 });
    const cache = model.newCache();
    const ids: number[] = [];
    let next: readonly number[] = want.input_ids;
    const step = async () => {
      const logits = await model.forward(next, cache);
      const id = logits.indexOf(Math.max(...logits));
      ids.push(id);
      next = [id];
    };
    for (let i = 0; i < 6; i++) await step();

    await provider.kill("SIGKILL");
    const length = cache.length;
    const start = performance.now();
    const error = await failure(step());
    expect(error).toBeInstanceOf(TacetError);
    expect(error).toMatchObject({ code: "connection_lost" });
    expect(error.hint).toMatch(/provider is back/);
    expect(performance.now() - start).toBeLessThan(10_000);
    expect(cache.length).toBe(length);
    expect(ids).toHaveLength(6);
    // Still away: the same again, and nothing is spoilt by trying.
    expect(await failure(step())).toMatchObject({ code: "connection_lost" });

    await startProvider(state, { port: provider.port });
    while (ids.length < want.greedy_ids_adapter.length) await step();
    expect(ids).toEqual(want.greedy_ids_adapter);
  });

  it("with a query open: the query fails too, or is answered after the restart, always with the right delta", async () => {
    const provider = await startProvider(state);
    const { model } = await connectTo(provider.url, { reconnectMs: 15_000 });
    // Stopped, so that the query is surely open when the process is killed.
    await provider.kill("SIGSTOP");
    const forward = model.forward(want.input_ids, model.newCache());
    await new Promise((resolve) => setTimeout(resolve, 200));
    await provider.kill("SIGKILL");
    await startProvider(state, { port: provider.port });
    const logits = await forward;
    expect(logits.indexOf(Math.max(...logits))).toBe(want.greedy_ids_adapter[0]);
  });

  it("and restarted within the time is invisible to the caller", async () => {
    let provider = await startProvider(state);
    const { model } = await connectTo(provider.url, { reconnectMs: 20_000 });
    const ids: number[] = [];
    const restart = async () => {
      const { port } = provider;
      await provider.kill("SIGKILL");
      provider = await startProvider(state, { port });
    };
    let restarting: Promise<void> | undefined;
    for await (const id of idsOf(model)) {
      ids.push(id);
      if (ids.length === 5) restarting = restart();
    }
    await restarting;
    expect(ids).toEqual(want.greedy_ids_adapter);
  });

  it("told to stop (SIGTERM) says goodbye and ends by itself", async () => {
    const provider = await startProvider(state);
    const { model } = await connectTo(provider.url, { reconnectMs: 0 });
    await provider.kill("SIGTERM");
    expect(await failure(greedyIds(model, want.input_ids, OPTIONS))).toMatchObject({
      code: "connection_lost",
    });
    expect(provider.isRunning()).toBe(false);
  });
});

/** One id at a time, without a break for the event loop to be seen between. */
async function* idsOf(model: CausalLm): AsyncGenerator<number> {
  const cache = model.newCache();
  let next: readonly number[] = want.input_ids;
  for (let i = 0; i < 16; i++) {
    const logits = await model.forward(next, cache);
    next = [logits.indexOf(Math.max(...logits))];
    yield next[0];
  }
}

describe("two providers with one private state", () => {
  it("do not know each other's keys without a store: a key is its connection's", async () => {
    const [first, second] = [await startProvider(state), await startProvider(state)];
    const baseFingerprint = await fingerprintCheckpoint(test.checkpoint);
    const ends = await Promise.all(
      [first, second].map(({ url }) => RemoteProvider.connect(platform, { url, baseFingerprint })),
    );
    const { id } = await ends[0].provider.fetchKey();
    const { parameters } = ends[0].bundle.manifest;
    const query = new Uint8Array(packedBytes(parameters.keyLength, parameters.uploadBits)).fill(5);
    const ask = (end: number) => ends[end].provider.query(0, 1, query, id);
    const [one, again] = [await ask(0), await ask(0)];
    expect(one.words).toEqual(again.words);
    await expect(ask(1)).rejects.toMatchObject({ code: "unknown_key" });
    for (const { provider } of ends) provider.close();
  });

  it("one takes over when the other is killed while it sends a key", async () => {
    const [first, second] = [await startProvider(state), await startProvider(state)];
    let kills = 1;
    const watched: Platform = {
      ...platform,
      async connect(url, options) {
        const socket = await platform.connect(url, options);
        return new Proxy(socket, {
          set(target, name, value) {
            if (name !== "onMessage") return Reflect.set(target, name, value);
            let isDead = false;
            target.onMessage = (message: Uint8Array) => {
              if (isDead) return;
              value(message);
              if (decodeProviderFrame(message, message.length).case !== "keyMade" || kills-- <= 0) return;
              isDead = true;
              void first.kill("SIGKILL");
            };
            return true;
          },
          get(target, name) {
            const value = Reflect.get(target, name);
            return typeof value === "function" ? value.bind(target) : value;
          },
        });
      },
    };
    const provider = [first.url, second.url];
    const model = await openPrivateModel(watched, { base: test.checkpoint, provider, reconnectMs: 5000 });
    open.push(model);
    expect(await greedyIds(model.model, want.input_ids, OPTIONS)).toEqual(want.greedy_ids_adapter);
    expect(kills).toBeLessThanOrEqual(0);
    expect(first.isRunning()).toBe(false);
  });

  it("one takes over when the other is killed, in the middle of an answer", async () => {
    const [first, second] = [await startProvider(state), await startProvider(state)];
    const { model } = await connectTo([first.url, second.url], { reconnectMs: 5000 });
    const ids: number[] = [];
    for await (const id of idsOf(model)) {
      ids.push(id);
      if (ids.length === 4) await first.kill("SIGKILL");
    }
    expect(ids).toEqual(want.greedy_ids_adapter);
  });

  it("the second is used when the first is not there at all", async () => {
    const [gone, second] = [await startProvider(state), await startProvider(state)];
    await gone.kill("SIGKILL");
    const { model } = await connectTo([gone.url, second.url]);
    expect(await greedyIds(model, want.input_ids, OPTIONS)).toEqual(want.greedy_ids_adapter);
  });

  it("one that hangs is left for the other after the time of silence", async () => {
    const [first, second] = [await startProvider(state), await startProvider(state)];
    const { model } = await connectTo([first.url, second.url], { silenceMs: 1_500, handshakeMs: 5_000 });
    await first.kill("SIGSTOP");
    expect(await greedyIds(model, want.input_ids, OPTIONS)).toEqual(want.greedy_ids_adapter);
  });

  it("a hanging one alone is timed_out", async () => {
    const provider = await startProvider(state);
    const options = { silenceMs: 300, handshakeMs: 300, reconnectMs: 0 };
    const { model } = await connectTo(provider.url, options);
    await provider.kill("SIGSTOP");
    const error = await failure(model.forward(want.input_ids, model.newCache()));
    expect(["timed_out", "connection_lost"]).toContain(error.code);
  });
});
