/** GPTQ and AWQ checkpoints as base models: what they compute, and who serves them. */
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { bytesOf } from "../../src/base/bytes.ts";
import { type PrivateModel, openPrivateModel } from "../../src/client/private-model.ts";
import { compareBases } from "../../src/cli/inspect/compare-bases.ts";
import { baseIdentity, vectorsFingerprint } from "../../src/model/base-identity.ts";
import { CausalLm } from "../../src/model/causal-lm.ts";
import type { LoadOptions } from "../../src/model/load-options.ts";
import { nodeFileCache, nodeFileTree, nodePlatform } from "../../src/platform/node.ts";
import { openCheckpoint } from "../../src/weights/checkpoint.ts";
import { carryOver } from "../../src/model/adapter/carry-over.ts";
import { fitAdapter } from "../../src/model/adapter/fit-adapter.ts";
import { LocalLora } from "../../src/model/adapter/local-lora.ts";
import { toFloat16, widenF16 } from "../../src/base/float16.ts";
import { editSafetensors } from "../support/edit-safetensors.ts";
import {
  goldenFolder,
  goldenModel,
  goldenOf,
  LEXICON,
  temporaryFolder,
  type TestModel,
  testModel,
} from "../support/models.ts";
import { goldenHfFolder, goldenHfNames } from "../support/golden-hf.ts";
import { type PackingOptions, writePacked } from "../support/packed-folder.ts";
import { type ProviderProcess, startProvider, stopProviders } from "../support/provider-process.ts";

const folder = temporaryFolder();
afterAll(async () => {
  await stopProviders();
  folder.remove();
});
const models: CausalLm[] = [];
afterEach(async () => {
  await Promise.all(models.splice(0).map((model) => model.dispose()));
});

const weightCache = nodeFileCache(join(folder.path, "cache"));
const IDS = [1, 5, 9, 2, 30, 7, 11];
let count = 0;
const fresh = () => {
  const path = join(folder.path, String(count++));
  mkdirSync(path);
  return path;
};

async function load(base: string, options: LoadOptions = {}): Promise<CausalLm> {
  const checkpoint = await openCheckpoint(nodeFileTree(base));
  const model = await CausalLm.load(checkpoint, nodePlatform().tensors, { weightCache, ...options });
  models.push(model);
  return model;
}

async function logitsOf(base: string): Promise<Float32Array> {
  const model = await load(base);
  return await model.forward(IDS, model.newCache());
}

function distance(got: Float32Array, want: Float32Array): number {
  const rms = (values: Float32Array) => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length);
  return rms(got.map((v, i) => v - want[i])) / rms(want);
}

const CASES: readonly [string, PackingOptions][] = [
  ["GPTQ, groups of 32", { method: "gptq", groupSize: 32 }],
  [
    "GPTQ with zero points, second version",
    { method: "gptq", groupSize: 32, symmetric: false, version: "gptq_v2" },
  ],
  ["GPTQ, inputs in any order", { method: "gptq", groupSize: 32, symmetric: false, anyOrder: true }],
  ["GPTQ, one group a row", { method: "gptq", groupSize: -1 }],
  ["GPTQ, 8 bits, groups of 64", { method: "gptq", bits: 8, groupSize: 64 }],
  ["GPTQ, 8 bits with zero points", { method: "gptq", bits: 8, groupSize: 32, symmetric: false }],
  ["GPTQ with biases of zeros", { method: "gptq", groupSize: 64, zeroBiases: true }],
  [
    "GPTQ, other groups in a part of what is joined",
    { method: "gptq", groupSize: 64, symmetric: false, otherGroups: { of: /k_proj|up_proj/, groupSize: 32 } },
  ],
  [
    "GPTQ with a part of what is joined as it was",
    { method: "gptq", groupSize: 32, except: /v_proj|up_proj/ },
  ],
  ["AWQ, groups of 32", { method: "awq", groupSize: 32 }],
];

describe.each(CASES)("%s", (_, options) => {
  it.each(["llama-f32", "qwen2-f16", "chatglm2-f32"])(
    "%s computes with the numbers of the file",
    async (name) => {
      const { packed, numbers } = await writePacked(goldenFolder(name), fresh(), options);
      const got = await logitsOf(packed);
      // What is left is the rounding of activations to 8 bits, and where no blocks hold the file's groups that to 8 bits.
      expect(distance(got, await logitsOf(numbers))).toBeLessThan(0.05);
    },
  );
});

describe("a packed model of every family", () => {
  it.each(goldenHfNames().filter((name) => name.startsWith("tiny/")))("%s", async (name) => {
    const options = { method: "gptq", groupSize: -1 } as const;
    const base = goldenHfFolder(name);
    const { packed, numbers } = await writePacked(base, fresh(), options);
    expect(distance(await logitsOf(packed), await logitsOf(numbers))).toBeLessThan(0.05);
    const [copy, original] = await Promise.all(
      [packed, base].map((path) => openCheckpoint(nodeFileTree(path)).then(vectorsFingerprint)),
    );
    expect(copy).toEqual(original);
  });
});

describe("an adapter for the original", () => {
  const NAME = "llama-f32";
  let test: TestModel;
  let provider: ProviderProcess;
  beforeAll(async () => {
    test = await goldenModel(NAME);
    await test.writeState(join(folder.path, "state"));
    provider = await startProvider(join(folder.path, "state"));
  });

  async function connect(base: string): Promise<{ model: PrivateModel; notices: string[] }> {
    const notices: string[] = [];
    const model = await openPrivateModel(nodePlatform(), {
      base: nodeFileTree(base),
      provider: provider.url,
      weightCache,
      onWarning: (message) => void notices.push(message),
    });
    models.push(model.model);
    return { model, notices };
  }

  /** As smoothing does, but for the matrix behind it. */
  function halveNorms(base: string): void {
    const path = join(base, "model.safetensors");
    const edited = editSafetensors(readFileSync(path), ({ tensors }) => {
      const norm = tensors.find(({ name }) => name === "model.layers.0.input_layernorm.weight")!;
      const values = widenF16(new Uint16Array(new Uint8Array(norm.data).buffer));
      norm.data = bytesOf(toFloat16(values.map((w) => w / 2)));
    });
    writeFileSync(path, edited);
  }

  it.each(CASES)("is served to %s, as if it were applied here", async (_, options) => {
    const { packed } = await writePacked(goldenFolder(NAME), fresh(), options);
    const checkpoint = await openCheckpoint(nodeFileTree(packed));
    expect(await vectorsFingerprint(checkpoint)).toEqual(await vectorsFingerprint(test.checkpoint));
    const { model, notices } = await connect(packed);
    expect(model.base).toEqual(await baseIdentity(checkpoint));
    expect(model.base).toMatchObject({
      knownBy: "vectors",
      storedAs: expect.stringMatching(/^(GPTQ|AWQ), [48] bits/),
    });
    expect(notices).toEqual([
      expect.stringMatching(/^the base model is a quantized copy \((GPTQ|AWQ), .*norms, biases and sizes/),
    ]);
    const deltas = new LocalLora(await fitAdapter(test.adapter, checkpoint));
    const plain = await load(packed, { deltas });
    await expectAdapted(model.model, plain, packed);
    await model.close();
  });

  /** Private logits are the plaintext adapter's, and not the base's. */
  async function expectAdapted(model: CausalLm, plain: CausalLm, base: string): Promise<void> {
    const { input_ids } = goldenOf(NAME);
    const [got, want] = await Promise.all(
      [model, plain].map((each) => each.forward(input_ids, each.newCache())),
    );
    // Noise in the last bits goes another way where activations are rounded to 8 bits.
    expect(distance(got, want)).toBeLessThan(0.05);
    expect(distance(got, await logitsOf(base))).toBeGreaterThan(0.1);
  }

  it("is not served to a copy whose norms were divided by scales, as AWQ does", async () => {
    const { packed } = await writePacked(goldenFolder(NAME), fresh(), { method: "awq", groupSize: 32 });
    halveNorms(packed);
    await expect(connect(packed)).rejects.toMatchObject({
      code: "wrong_base_model",
      hint: expect.stringMatching(/AWQ divides norms/),
    });
  });

  it("that was trained on such an AWQ copy is served to it, and not to the original", async () => {
    const { packed } = await writePacked(goldenFolder(NAME), fresh(), { method: "awq", groupSize: 32 });
    halveNorms(packed);
    const own = testModel(await openCheckpoint(nodeFileTree(packed)), test.adapter);
    const state = join(packed, "state");
    await own.writeState(state);
    const served = await startProvider(state);
    const model = await openPrivateModel(nodePlatform(), {
      base: own.checkpoint,
      provider: served.url,
      weightCache,
    });
    expect(model.base.knownBy).toBe("vectors");
    await model.close();
    const original = { base: test.checkpoint, provider: served.url };
    await expect(openPrivateModel(nodePlatform(), original)).rejects.toMatchObject({
      code: "wrong_base_model",
    });
  });

  it("is served to a smoothed AWQ copy once it is carried over, and does there what it did", async () => {
    const options = { method: "awq", groupSize: 32, smoothed: true } as const;
    const { packed } = await writePacked(goldenFolder(NAME), fresh(), options);
    await expect(connect(packed)).rejects.toMatchObject({ code: "wrong_base_model" });
    const state = join(packed, "state");
    const base = ["--base", packed, "--trained-on", goldenFolder(NAME)];
    const bundle = ["bundle", ...base, "--adapter", join(goldenFolder(NAME), "adapter"), "--out", state];
    await promisify(execFile)(process.execPath, ["dist/cli/main.js", ...bundle]);
    const served = await startProvider(state);
    const checkpoint = await openCheckpoint(nodeFileTree(packed));
    const model = await openPrivateModel(nodePlatform(), {
      base: checkpoint,
      provider: served.url,
      weightCache,
    });
    const own = await fitAdapter(test.adapter, test.checkpoint);
    const carried = await carryOver(own, test.checkpoint, checkpoint);
    const plain = await load(packed, { deltas: new LocalLora(carried) });
    await expectAdapted(model.model, plain, packed);
    await model.close();
  });

  it("is not served to an original of which only a matrix is another: that is known by all its weights", async () => {
    const { numbers } = await writePacked(goldenFolder(NAME), fresh(), { method: "gptq", groupSize: 32 });
    const checkpoint = await openCheckpoint(nodeFileTree(numbers));
    expect(await vectorsFingerprint(checkpoint)).toEqual(await vectorsFingerprint(test.checkpoint));
    await expect(connect(numbers)).rejects.toMatchObject({ code: "wrong_base_model" });
  });
});

it("how near a copy comes to its original is said in figures", async () => {
  const base = join(LEXICON, "base");
  const { packed, numbers } = await writePacked(base, fresh(), { method: "gptq", groupSize: 64 });
  const weightsCache = join(folder.path, "cache");
  const compare = (against: string) =>
    compareBases({ base, against, weightsCache, tokens: 128 }, new AbortController().signal);
  const copy = await compare(packed);
  expect(copy).toMatchObject({
    against: { storedAs: "GPTQ, 4 bits, groups of 64", weights: "original" },
    relation: expect.stringContaining("adapters for the first are served to the second"),
    tokens: 128,
    positions: 127,
  });
  const plain = await compare(numbers);
  expect(plain.relation).toMatch(/other weights: adapters for the first are not served to the second/);
  // The same numbers: they differ by how activations are rounded.
  const [of, on] = [copy, plain].map((found) => found as { relativeRms: number; klNats: number });
  expect(Math.abs(of.relativeRms / on.relativeRms - 1)).toBeLessThan(0.15);
  expect(on.relativeRms).toBeGreaterThan(0.02);
  const [kept, original] = [copy.against, copy.base] as { fileBytes: number; memoryBytes: number }[];
  expect(kept.fileBytes).toBeLessThan(0.8 * original.fileBytes);
  expect(kept.memoryBytes).toBeLessThan(0.4 * original.memoryBytes);
});

it("a copy is made once for each way to read the same integers", async () => {
  const { packed } = await writePacked(goldenFolder("llama-f32"), fresh(), {
    method: "gptq",
    groupSize: 32,
    symmetric: false,
  });
  const first = await logitsOf(packed);
  const path = join(packed, "config.json");
  const config = JSON.parse(readFileSync(path, "utf8"));
  config.quantization_config.checkpoint_format = "gptq_v2";
  writeFileSync(path, JSON.stringify(config));
  expect(distance(await logitsOf(packed), first)).toBeGreaterThan(0.05);
});
