/** Tacet in a browser or worker: files over HTTP, ONNX Runtime in WebAssembly, WebSockets. @module */
import type * as Ort from "onnxruntime-web/wasm";
import type { Platform } from "../base/platform.ts";
import { webSha256 } from "./web/sha256.ts";
import { connectSocket } from "./web/socket.ts";
import { webTensorRuntime } from "./web/tensors.ts";
import { webEncryption } from "./web/threads.ts";

export { webBundleCache } from "./web/bundle-cache.ts";
export { loadWebFolder, type WebFile, type WebFolder } from "./web/files.ts";
export { webKeyCache } from "./web/key-cache.ts";

/** @param ort the caller's onnxruntime-web, with its paths set */
export function webPlatform(ort: typeof Ort): Platform {
  const sha256 = webSha256();
  return {
    tensors: webTensorRuntime(ort),
    encryption: webEncryption(),
    connect: connectSocket,
    ...(sha256 && { sha256 }),
  };
}
