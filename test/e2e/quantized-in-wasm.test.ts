/** Rounded weights in WebAssembly, where products are computed beside ONNX Runtime: every family as in Node. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as ort from "onnxruntime-web/wasm";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { TensorRuntime } from "../../src/base/platform.ts";
import { fitAdapter } from "../../src/model/adapter/fit-adapter.ts";
import { LocalLora } from "../../src/model/adapter/local-lora.ts";
import { CausalLm } from "../../src/model/causal-lm.ts";
import type { DeltaUse } from "../../src/model/load-options.ts";
import { nodeFileCache, nodeFileTree, nodePlatform } from "../../src/platform/node.ts";
import { webTensorRuntime } from "../../src/platform/web/tensors.ts";
import { openCheckpoint } from "../../src/weights/checkpoint.ts";
import { openLoraAdapter } from "../../src/weights/lora-adapter.ts";
import { goldenHfFolder, goldenHfNames, goldenHfOf } from "../support/golden-hf.ts";

const dir = mkdtempSync(join(tmpdir(), "tacet-wasm-"));
const weightCache = nodeFileCache(dir);
beforeAll(() => {
  // What a page without threads says of itself.
  vi.stubGlobal("crossOriginIsolated", false);
  ort.env.wasm.numThreads = 1;
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Of one pass, then another one. */
async function logitsOf(
  name: string,
  runtime: TensorRuntime,
  weights: "int8" | "int4",
  useOf: (lora: LocalLora) => DeltaUse,
): Promise<Float32Array[]> {
  const folder = goldenHfFolder(name);
  const { input_ids: ids } = goldenHfOf(name);
  const checkpoint = await openCheckpoint(nodeFileTree(folder));
  const adapter = await openLoraAdapter(nodeFileTree(join(folder, "adapter")));
  const use = useOf(new LocalLora(await fitAdapter(adapter, checkpoint)));
  const model = await CausalLm.load(checkpoint, runtime, { ...use, weights, weightCache });
  const cache = model.newCache();
  try {
    return [await model.forward(ids.slice(0, 6), cache), await model.forward(ids.slice(6), cache)];
  } finally {
    await model.dispose();
  }
}

function distance(got: Float32Array, want: Float32Array): number {
  const rms = (values: Float32Array) => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length);
  return rms(got.map((v, i) => v - want[i])) / rms(want);
}

describe.each(goldenHfNames().filter((name) => name.startsWith("tiny/")))("%s", (name) => {
  it.each([
    ["int8", "alone", () => ({})],
    ["int4", "alone", () => ({})],
    ["int4", "asked for an adapter's deltas", (deltas: LocalLora) => ({ deltas })],
  ] as const)("%s, %s: Node's logits", async (weights, _, useOf) => {
    const want = await logitsOf(name, nodePlatform().tensors, weights, useOf);
    const got = await logitsOf(name, webTensorRuntime(ort), weights, useOf);
    for (const [i, logits] of want.entries()) expect(distance(got[i], logits)).toBeLessThan(0.02);
  });
});
