/** gpt-oss as it is published, in MXFP4: what it computes, how it is known, and who serves it. */
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { bytesOf } from "../../src/base/bytes.ts";
import { openPrivateModel } from "../../src/client/private-model.ts";
import { fitAdapter } from "../../src/model/adapter/fit-adapter.ts";
import { LocalLora } from "../../src/model/adapter/local-lora.ts";
import { vectorsFingerprint } from "../../src/model/base-identity.ts";
import { CausalLm } from "../../src/model/causal-lm.ts";
import type { LoadOptions } from "../../src/model/load-options.ts";
import { nodeFileCache, nodeFileTree, nodePlatform } from "../../src/platform/node.ts";
import { openCheckpoint } from "../../src/weights/checkpoint.ts";
import { encodeSafetensors, readTensorF32 } from "../../src/weights/safetensors.ts";
import type { GoldenHf } from "../support/golden-hf.ts";
import { greedyIds, openTestModel, readJson, temporaryFolder } from "../support/models.ts";
import { startProvider, stopProviders } from "../support/provider-process.ts";

const MXFP4 = fileURLToPath(new URL("../fixtures/mxfp4", import.meta.url));
const golden = readJson<GoldenHf>(join(MXFP4, "expected.json"));
const ADAPTER = join(MXFP4, "adapter");
const folder = temporaryFolder();
/** The same numbers as transformers writes them when it has unpacked them. */
const plain = join(folder.path, "plain");
const weightCache = nodeFileCache(join(folder.path, "cache"));

const models: CausalLm[] = [];
afterEach(async () => {
  await Promise.all(models.splice(0).map((model) => model.dispose()));
});
afterAll(async () => {
  await stopProviders();
  folder.remove();
});

beforeAll(async () => {
  mkdirSync(plain);
  const { tree, names, tensor, config } = await openCheckpoint(nodeFileTree(MXFP4));
  const tensors = [];
  for (const name of names) {
    const info = tensor(name);
    const data = bytesOf(await readTensorF32(tree, info));
    tensors.push({ name, dtype: "F32" as const, shape: info.shape, data });
  }
  writeFileSync(join(plain, "model.safetensors"), encodeSafetensors(tensors));
  writeFileSync(join(plain, "config.json"), JSON.stringify(config));
});

async function load(base: string, options: LoadOptions = {}): Promise<CausalLm> {
  const checkpoint = await openCheckpoint(nodeFileTree(base));
  const model = await CausalLm.load(checkpoint, nodePlatform().tensors, { weightCache, ...options });
  models.push(model);
  return model;
}

async function logitsOf(base: string, options: LoadOptions = {}): Promise<Float32Array> {
  const model = await load(base, options);
  return await model.forward(golden.input_ids, model.newCache());
}

function distance(got: Float32Array, want: ArrayLike<number>): number {
  const rms = (values: ArrayLike<number>) =>
    Math.sqrt(Array.from(values).reduce((sum, v) => sum + v * v, 0) / values.length);
  return rms(got.map((v, i) => v - want[i])) / rms(want);
}

it("its numbers give transformers' logits and ids", async () => {
  const model = await load(plain);
  const got = await model.forward(golden.input_ids, model.newCache());
  for (const [i, want] of golden.logits_last.entries())
    expect(Math.abs(got[i] - want)).toBeLessThan(2e-4 + 1e-4 * Math.abs(want));
  const maxNewTokens = golden.greedy_ids.length;
  expect(await greedyIds(model, golden.input_ids, { maxNewTokens, eosIds: [] })).toEqual(golden.greedy_ids);
});

it("it runs as it is stored: what differs is that activations are rounded to 8 bits", async () => {
  expect(distance(await logitsOf(MXFP4), golden.logits_last)).toBeLessThan(0.02);
});

it.each(["int8", "int4"] as const)("%s errs no more than it does on the numbers", async (weights) => {
  const errors = [MXFP4, plain].map(async (base) =>
    distance(await logitsOf(base, { weights }), golden.logits_last),
  );
  const [stored, numbers] = await Promise.all(errors);
  console.log(`${weights}: relative error ${stored.toFixed(3)}, on the numbers ${numbers.toFixed(3)}`);
  expect(stored).toBeLessThan(1.2 * numbers);
});

it("is known by the vectors that it has in common with a copy in float32", async () => {
  const [packed, numbers] = await Promise.all(
    [MXFP4, plain].map(async (base) => vectorsFingerprint(await openCheckpoint(nodeFileTree(base)))),
  );
  expect(packed).toEqual(numbers);
});

it.each(["an adapter for the copy in float32", "an adapter for itself"])("is served %s", async (which) => {
  const base = which.includes("float32") ? plain : MXFP4;
  const test = await openTestModel(base, ADAPTER);
  const state = join(folder.path, which.replaceAll(" ", "-"));
  await test.writeState(state);
  const { url: provider } = await startProvider(state);
  const checkpoint = await openCheckpoint(nodeFileTree(MXFP4));
  const served = await openPrivateModel(nodePlatform(), { base: checkpoint, provider, weightCache });
  expect(served.base).toMatchObject({ knownBy: "vectors", storedAs: "MXFP4" });
  const got = await served.model.forward(golden.input_ids, served.model.newCache());
  expect(distance(got, golden.logits_last_adapter)).toBeLessThan(0.03);
  expect(distance(got, golden.logits_last)).toBeGreaterThan(0.1);
  const local = await load(MXFP4, { deltas: new LocalLora(await fitAdapter(test.adapter, checkpoint)) });
  const want = await local.forward(golden.input_ids, local.newCache());
  expect(distance(got, want)).toBeLessThan(0.02);
  await served.close();
});

it("tacet inspect says how it is stored", async () => {
  const base = join(folder.path, "inspected");
  cpSync(MXFP4, base, { recursive: true });
  const { stdout } = await promisify(execFile)(process.execPath, [
    "dist/cli/main.js",
    ...["inspect", "--json", "--base", base, "--check-weights"],
  ]);
  const facts = JSON.parse(stdout);
  const bytes = readFileSync(join(MXFP4, "model.safetensors")).length;
  expect(facts).toMatchObject({ storedAs: "MXFP4", dtypes: ["BF16", "U8"], weightsFinite: true });
  // Two experts' tensors of each layer are four in the file.
  expect(facts.weightBytes).toBeLessThan(bytes);
  const experts = 2 * 4 * (64 * 64 + 32 * 64);
  expect(facts.parameters).toBeGreaterThan(experts);
});
