/** Tacet in a browser or worker: files over HTTP, ONNX Runtime in WebAssembly, WebSockets. @module */
import type * as Ort from "onnxruntime-web/wasm";
import type { Device } from "../base/device.ts";
import type { Platform } from "../base/platform.ts";
import { webSha256 } from "./web/sha256.ts";
import { connectSocket } from "./web/socket.ts";
import { webTensorRuntime } from "./web/tensors.ts";
import { webEncryption } from "./web/threads.ts";
import { webWeightCache } from "./web/weight-cache.ts";

export { webBundleCache } from "./web/bundle-cache.ts";
export { isWebFolderKept, loadWebFolder, type WebFile, type WebFolder } from "./web/files.ts";
export { type GpuAdapter, webGpuAdapter } from "./web/tensors.ts";
export { webKeyCache } from "./web/key-cache.ts";

/** What a platform is made with. */
export interface WebPlatformOptions {
  /** Where models run: "cpu" (default) or "webgpu", for which `ort` is the library's build `onnxruntime-web/webgpu`. */
  readonly device?: Device | undefined;
  /** With "webgpu" the build `onnxruntime-web/wasm` too: what stays with the processor runs on it. */
  readonly hostOrt?: typeof Ort | undefined;
}

/** @param ort the caller's onnxruntime-web, with its paths set */
export function webPlatform(ort: typeof Ort, { device, hostOrt }: WebPlatformOptions = {}): Platform {
  const sha256 = webSha256();
  return {
    tensors: webTensorRuntime(ort, device, hostOrt),
    encryption: webEncryption(),
    connect: connectSocket,
    weightCache: webWeightCache(),
    ...(sha256 && { sha256 }),
  };
}
