/** ONNX Runtime for a device: each has a build. */
import webgpuMjs from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.mjs?url";
import webgpuWasm from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm?url";
import mjs from "onnxruntime-web/ort-wasm-simd-threaded.mjs?url";
import wasm from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";
import type * as Ort from "onnxruntime-web/wasm";
import type { Device } from "../src/base/device.ts";

/** More gain little, and a processor often counts each core twice. */
const MOST_THREADS = 8;

export async function loadOrt(
  device: Device,
  page: string,
): Promise<{ readonly ort: typeof Ort; readonly threads: number }> {
  const isGpu = device === "webgpu";
  const ort: typeof Ort = isGpu
    ? await import("onnxruntime-web/webgpu")
    : await import("onnxruntime-web/wasm");
  const urlOf = (path: string): string => new URL(path, page).href;
  // Threads begin with the file at `mjs`: with the worker's own they would begin with the worker.
  ort.env.wasm.wasmPaths = isGpu
    ? { mjs: urlOf(webgpuMjs), wasm: urlOf(webgpuWasm) }
    : { mjs: urlOf(mjs), wasm: urlOf(wasm) };
  const cores = navigator.hardwareConcurrency || 1;
  const threads = crossOriginIsolated ? Math.min(MOST_THREADS, cores > 4 ? Math.ceil(cores / 2) : cores) : 1;
  ort.env.wasm.numThreads = threads;
  return { ort, threads };
}
