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
import { CausalLm, type KvCache, openCheckpoint } from "../../../../src/entry/model.ts";
import { loadWebFolder, webGpuAdapter, webPlatform } from "../../../../src/platform/web.ts";
import { goldenFolder } from "./golden-folder.ts";

/** Of WebGPU, which TypeScript's own types do not know of yet. */
interface Mapped {
  readonly size: number;
  mapAsync(...args: unknown[]): Promise<void>;
}
type Method = (this: unknown, ...args: unknown[]) => unknown;

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

  // gpt_oss has windows and sinks.
  it.each(["qwen3", "gpt_oss"])(
    "on WebGPU, %s: keys and values stay there, of long prompts, grown, cut back, and copied",
    async (name) => {
      const [device, processor] = [await load(name, "webgpu"), await load(name, "cpu")];
      const ids = Array.from({ length: 130 }, (_, i) => (i * 7) % 60);
      const want = async (count: number) => [
        ...(await processor.model.forward(ids.slice(0, count), processor.model.newCache())),
      ];
      const read = async (from: number, to: number, cache: KvCache) =>
        relative(await device.model.forward(ids.slice(from, to), cache), await want(to));
      const cache = device.model.newCache();
      expect(await read(0, 50, cache)).toBeLessThan(1e-5);
      expect(() => cache.keptOf("past.0.key")!.data).toThrow(/lies on the device/);
      expect(await read(50, 51, cache)).toBeLessThan(1e-5);
      const copy = cache.fork(40);
      cache.truncate(45);
      expect(await read(45, 130, cache)).toBeLessThan(1e-5);
      cache.dispose();
      const [copies, behind] = [await Promise.all([1, 2].map(async () => copy.fork(40))), [41, 90]];
      const errors = await Promise.all(copies.map((each, i) => read(40, behind[i], each)));
      expect(Math.max(...errors)).toBeLessThan(1e-5);
      expect(await read(40, 42, copy)).toBeLessThan(1e-5);
      for (const each of [copy, ...copies]) each.dispose();
    },
  );

  it("on WebGPU a token brings logits down, and of keys and values nothing", async () => {
    const { model } = await load("qwen3", "webgpu");
    const cache = model.newCache();
    await model.forward([1, 2, 3], cache);
    const { prototype } = (globalThis as unknown as { GPUBuffer: { prototype: Mapped } }).GPUBuffer;
    const { mapAsync } = prototype;
    const sizes: number[] = [];
    prototype.mapAsync = function (this: Mapped, ...args: unknown[]) {
      sizes.push(this.size);
      return mapAsync.apply(this, args);
    };
    try {
      await model.forward([4], cache);
    } finally {
      prototype.mapAsync = mapAsync;
    }
    expect(sizes).toHaveLength(1);
    expect(sizes[0]).toBeLessThan(4 * model.config.vocabSize + 16);
  });

  it("on WebGPU, what a conversation has there is given back when it is over", async () => {
    const { model } = await load("qwen3", "webgpu");
    const gpu = globalThis as unknown as Record<
      "GPUDevice" | "GPUBuffer",
      { prototype: Record<string, Method> }
    >;
    const [device, buffer] = [gpu.GPUDevice.prototype, gpu.GPUBuffer.prototype];
    const { createBuffer } = device;
    const { destroy } = buffer;
    let alive = 0;
    device.createBuffer = function (...args) {
      alive++;
      return createBuffer.apply(this, args);
    };
    buffer.destroy = function (...args) {
      alive--;
      return destroy.apply(this, args);
    };
    const conversation = async (): Promise<void> => {
      const cache = model.newCache();
      for (const ids of [[1, 2, 3, 4], [1]]) await model.forward(ids, cache);
      cache.dispose();
    };
    try {
      // The library keeps what is given back for whoever asks next.
      for (let i = 0; i < 2; i++) await conversation();
      const before = alive;
      for (let i = 0; i < 2; i++) await conversation();
      expect(alive).toBeLessThanOrEqual(before);
    } finally {
      device.createBuffer = createBuffer;
      buffer.destroy = destroy;
    }
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
