/** ONNX Runtime for a device: each has a build. */
import webgpuMjs from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.mjs?url";
import webgpuWasm from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm?url";
import mjs from "onnxruntime-web/ort-wasm-simd-threaded.mjs?url";
import wasm from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";
import type * as Ort from "onnxruntime-web/wasm";
import type { Device } from "../src/base/device.ts";

/** More gain little, and a processor often counts each core twice. */
const MOST_THREADS = 8;

/** On a GPU also the build for the processor, which looks up rows of tables. */
export async function loadOrt(
  device: Device,
  page: string,
): Promise<{ readonly ort: typeof Ort; readonly hostOrt: typeof Ort }> {
  const urlOf = (path: string): string => new URL(path, page).href;
  const cores = navigator.hardwareConcurrency || 1;
  const threads = Math.min(MOST_THREADS, cores > 4 ? Math.ceil(cores / 2) : cores);
  const onProcessor: typeof Ort = await import("onnxruntime-web/wasm");
  // Threads begin with the file at `mjs`: with the worker's own they would begin with the worker.
  onProcessor.env.wasm.wasmPaths = { mjs: urlOf(mjs), wasm: urlOf(wasm) };
  onProcessor.env.wasm.numThreads = crossOriginIsolated && device === "cpu" ? threads : 1;
  if (device === "cpu") return { ort: onProcessor, hostOrt: onProcessor };
  const ort: typeof Ort = await import("onnxruntime-web/webgpu");
  ort.env.wasm.wasmPaths = { mjs: urlOf(webgpuMjs), wasm: urlOf(webgpuWasm) };
  ort.env.wasm.numThreads = 1;
  return { ort, hostOrt: onProcessor };
}
