/**
 * Base models in a real browser: on threads of the processor and on WebGPU (Chromium's software adapter), as stored and
 * in 8 and 4 bits, held to transformers' logits.
 */
import webgpuMjs from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.mjs?url";
import webgpuWasm from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm?url";
import mjs from "onnxruntime-web/ort-wasm-simd-threaded.mjs?url";
import wasm from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";
import * as onProcessor from "onnxruntime-web/wasm";
import * as onGpu from "onnxruntime-web/webgpu";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { CausalLm, openCheckpoint } from "../../../../src/entry/model.ts";
import { loadWebFolder, webGpuAdapter, webPlatform } from "../../../../src/platform/web.ts";
import { goldenFolder } from "./golden-folder.ts";

const RUNTIMES = { cpu: onProcessor, webgpu: onGpu } as const;
const models: CausalLm[] = [];
beforeAll(() => {
  onProcessor.env.wasm.wasmPaths = { mjs, wasm };
  onGpu.env.wasm.wasmPaths = { mjs: webgpuMjs, wasm: webgpuWasm };
});
afterEach(async () => {
  await Promise.all(models.splice(0).map((model) => model.dispose()));
});

async function load(
  name: string,
  device: keyof typeof RUNTIMES,
  weights: "original" | "int8" | "int4" = "original",
  threads = 1,
) {
  const folder = await goldenFolder(name);
  const checkpoint = await openCheckpoint(await loadWebFolder(folder));
  const { tensors, weightCache } = webPlatform(RUNTIMES[device], { device, hostOrt: onProcessor });
  const steps: string[] = [];
  const model = await CausalLm.load(checkpoint, tensors, {
    weights,
    weightCache,
    threads,
    onPrepare: ({ step }) => steps.push(step),
  });
  models.push(model);
  return { model, golden: folder.golden, steps: [...new Set(steps)] };
}

async function logits({ model, golden }: Awaited<ReturnType<typeof load>>): Promise<Float32Array> {
  const cache = model.newCache();
  await model.forward(golden.input_ids.slice(0, 6), cache);
  return await model.forward(golden.input_ids.slice(6), cache);
}

/** Error over the size of the logits. */
function relative(got: Float32Array, want: readonly number[]): number {
  const error = want.reduce((sum, value, i) => sum + (got[i] - value) ** 2, 0);
  return Math.sqrt(error / want.reduce((sum, value) => sum + value ** 2, 0));
}

describe("in the browser", () => {
  it("has what these tests are about", async () => {
    expect(crossOriginIsolated).toBe(true);
    expect(await webGpuAdapter()).toBeDefined();
  });

  it("uses threads of the processor, with transformers' logits", async () => {
    const begun: string[] = [];
    const { Worker } = globalThis;
    globalThis.Worker = class extends Worker {
      constructor(url: string | URL, options?: WorkerOptions) {
        super(url, options);
        begun.push(options?.name ?? "");
      }
    };
    try {
      // The library has as many as its first session is given.
      const loaded = await load("qwen3", "cpu", "original", 2);
      expect(relative(await logits(loaded), loaded.golden.logits_last)).toBeLessThan(1e-5);
    } finally {
      globalThis.Worker = Worker;
    }
    expect(begun).toEqual(["em-pthread"]);
  });

  it.each(["qwen3", "gpt_oss"])("on WebGPU, %s: transformers' logits", async (name) => {
    const loaded = await load(name, "webgpu");
    expect(relative(await logits(loaded), loaded.golden.logits_last)).toBeLessThan(1e-5);
  });

  it("on WebGPU, two conversations at the same time: each its own logits", async () => {
    const loaded = await load("qwen3", "webgpu");
    const alone = await logits(loaded);
    const both = await Promise.all([logits(loaded), logits(loaded)]);
    for (const got of both) expect(relative(got, [...alone])).toBeLessThan(1e-6);
  });

  it.each([
    ["cpu", "int8", 0.05],
    ["cpu", "int4", 0.3],
    ["webgpu", "int8", 0.05],
    ["webgpu", "int4", 0.3],
  ] as const)("on %s in %s: near them, from a copy that is made once", async (device, weights, bound) => {
    const first = await load("qwen3", device, weights);
    const got = await logits(first);
    expect(relative(got, first.golden.logits_last)).toBeLessThan(bound);
    const again = await load("qwen3", device, weights);
    expect(again.steps).toEqual(["checking"]);
    expect(await logits(again)).toEqual(got);
  });

  it("refuses what WebGPU has no right operator for, by its name", async () => {
    await expect(load("gemma2", "webgpu")).rejects.toMatchObject({
      code: "unsupported_model",
      message: "webgpu can't run this model: it has no GroupQueryAttention with softcap",
    });
  });

  it("refuses devices that pages do not have", async () => {
    const { tensors } = webPlatform(onProcessor, { device: "cuda" });
    const model = { bytes: new Uint8Array(), externalFiles: [] };
    await expect(tensors.createSession(model)).rejects.toMatchObject({ code: "bad_argument" });
  });
});
