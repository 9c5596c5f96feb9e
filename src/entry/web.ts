/**
 * Tacet's client for pages and workers: `connect({ ort, base, provider })`. docs/library.md.
 * @module
 */
export type { Device } from "../base/device.ts";
export type { Platform, SocketOptions } from "../base/platform.ts";
export { connect, type WebConnectOptions as ConnectOptions } from "../library/web-connect.ts";
export {
  loadWebFolder,
  type WebFile,
  type WebFolder,
  webBundleCache,
  webKeyCache,
  webPlatform,
  type WebPlatformOptions,
} from "../platform/web.ts";
export * from "./text.ts";
