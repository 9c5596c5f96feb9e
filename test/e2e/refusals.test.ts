/** What a provider or a client refuses at the start of a session, with the code and the hint a user needs. */
import { createHash } from "node:crypto";
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { TacetError } from "../../src/base/errors.ts";
import type { BundleCache } from "../../src/client/bundle-cache.ts";
import type { ConnectOptions } from "../../src/client/connect-options.ts";
import { openPrivateModel } from "../../src/client/private-model.ts";
import { nodeBundleCache, nodePlatform } from "../../src/platform/node.ts";
import { goldenModel, goldenOf, greedyIds, type TestModel, temporaryFolder } from "../support/models.ts";
import { type ProviderProcess, startProvider, stopProviders } from "../support/provider-process.ts";

const NAME = "llama-f32";
const TOKEN = "a-secret-token-of-this-test";
const want = goldenOf(NAME);
const folder = temporaryFolder();
const state = join(folder.path, "state");
const platform = nodePlatform();
let test: TestModel;
let other: TestModel;
let provider: ProviderProcess;
let guarded: ProviderProcess;
let digest: string;

beforeAll(async () => {
  test = await goldenModel(NAME);
  other = await goldenModel("llama-bf16-sharded");
  await test.writeState(state, { name: "first" });
  await test.writeState(join(folder.path, "second"), { name: "second" });
  digest = createHash("sha256")
    .update(readFileSync(join(state, "bundle.safetensors")))
    .digest("hex");
  provider = await startProvider(state, { args: ["--state", join(folder.path, "second")] });
  writeFileSync(join(folder.path, "tokens"), `other\n${TOKEN}\n`);
  guarded = await startProvider(state, { args: ["--token-file", join(folder.path, "tokens")] });
});
afterAll(async () => {
  await stopProviders();
  folder.remove();
});

const open = (options: Partial<ConnectOptions> = {}) =>
  openPrivateModel(platform, { base: test.checkpoint, provider: provider.url, reconnectMs: 0, ...options });

async function expectServed(options: Partial<ConnectOptions> = {}) {
  const model = await open(options);
  const ids = await greedyIds(model.model, want.input_ids, { maxNewTokens: 3, eosIds: [] });
  expect(ids).toEqual(want.greedy_ids_adapter.slice(0, 3));
  const traffic = { ...model.provider.traffic };
  const { adapter } = model.bundle.manifest;
  await model.close();
  return { traffic, adapter };
}

describe("the provider refuses", () => {
  it("another base model, and says which one it is for", async () => {
    await expect(open({ base: other.checkpoint })).rejects.toMatchObject({
      code: "wrong_base_model",
      hint: expect.stringMatching(/fingerprint [0-9a-f]{16}/),
    });
  });

  it("an adapter it does not have, and says which ones it has", async () => {
    await expect(open({ adapter: "third" })).rejects.toMatchObject({
      code: "unknown_adapter",
      hint: expect.stringContaining("first, second"),
    });
    const long = await open({ adapter: "x".repeat(100_000) }).catch((error: Error) => error);
    expect((long as Error).message.length).toBeLessThan(300);
  });

  it("a wrong token or none, and repeats no token", async () => {
    for (const token of [undefined, "wrong-token", TOKEN.slice(0, -1), `${TOKEN} `]) {
      const options = token === undefined ? {} : { token };
      const error = await open({ provider: guarded.url, ...options }).catch((cause: Error) => cause);
      expect(error).toMatchObject({ code: "unauthorized", hint: expect.stringContaining("token") });
      expect(JSON.stringify(error) + String(error)).not.toMatch(/wrong-token|a-secret/);
    }
    expect(guarded.log()).not.toMatch(/wrong-token|a-secret/);
  });

  it("and serves who is right", async () => {
    expect((await expectServed()).adapter).toBe("first");
    expect((await expectServed({ adapter: "second" })).adapter).toBe("second");
    await expectServed({ provider: guarded.url, token: TOKEN });
    await expectServed({ pinnedDigest: digest });
  });
});

describe("the client", () => {
  it("refuses a provider whose bundle is not the pinned one", async () => {
    const pinnedDigest = "00".repeat(32);
    const refused = await open({ pinnedDigest }).then(
      () => expect.fail("connected"),
      (error: TacetError) => error,
    );
    expect(refused.code).toBe("bundle_changed");
    for (const each of [pinnedDigest, digest]) expect(refused.message).toContain(each);
    // Who holds to a digest is never told to let go of it.
    expect(refused.hint).toMatch(/^keep the digest unless/);
    await expect(open({ adapter: "second", pinnedDigest: digest })).rejects.toMatchObject({
      code: "bundle_changed",
      message: expect.stringContaining(digest),
    });
  });

  it("refuses what is not a URL, and says when nobody listens", async () => {
    await expect(open({ provider: "http://127.0.0.1:1" })).rejects.toMatchObject({ code: "bad_argument" });
    await expect(open({ provider: "ws://127.0.0.1:1" })).rejects.toMatchObject({
      code: "connection_failed",
      hint: expect.stringContaining("tacet provider"),
    });
  });

  it("keeps the bundle: the second session fetches none of it", async () => {
    const cache = nodeBundleCache(join(folder.path, "cache"));
    const size = readFileSync(join(state, "bundle.safetensors")).length;
    const first = await expectServed({ cache });
    expect(first.traffic.bytesDown).toBeGreaterThan(size);
    expect(readdirSync(join(folder.path, "cache"))).toEqual([`${digest}.safetensors`]);
    const second = await expectServed({ cache });
    expect(first.traffic.bytesDown - second.traffic.bytesDown).toBeGreaterThan(0.9 * size);
  });

  it("ignores a cached bundle that is damaged, cut or another one, and mends the cache", async () => {
    const dir = join(folder.path, "damaged");
    const cache = nodeBundleCache(dir);
    await expectServed({ cache });
    const path = join(dir, `${digest}.safetensors`);
    const good = readFileSync(path);
    const flipped = Buffer.from(good);
    flipped[good.length - 100] ^= 1;
    for (const bad of [flipped, good.subarray(0, 1000), Buffer.alloc(0)]) {
      writeFileSync(path, bad);
      const { traffic } = await expectServed({ cache });
      expect(traffic.bytesDown).toBeGreaterThan(good.length);
      expect(readFileSync(path).equals(good)).toBe(true);
    }
    copyFileSync(join(folder.path, "second/bundle.safetensors"), path);
    expect((await expectServed({ cache })).adapter).toBe("first");
  });

  it("works without a cache that fails, and says so", async () => {
    const warnings: string[] = [];
    const broken: BundleCache = {
      get: () => Promise.reject(new Error("no disk")),
      put: () => Promise.reject(new Error("no disk")),
    };
    await expectServed({ cache: broken, onWarning: (text) => warnings.push(text) });
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain("no disk");
  });
});
