/**
 * Node for `tacet/client`, `tacet/model` and `tacet/provider`: files, hub downloads, ONNX Runtime, sockets, and the
 * folder or server that keeps a provider's keys and counts.
 * @module
 */
export type { Device } from "../base/device.ts";
export type {
  FileCache,
  FileTree,
  KeptKeyName,
  MessageSocket,
  Platform,
  RedisLink,
} from "../base/platform.ts";
export {
  changeKeys,
  type DataFolderEvents,
  type OpenedData,
  openDataFolder,
  readKeys,
  readUsage,
} from "../library/node-data-folder.ts";
export { writeStateFolder } from "../library/node-state-folder.ts";
export type { RepoKind } from "../platform/node/hub/names.ts";
export type { RetryOptions } from "../platform/node/hub/request.ts";
export type { HubSettings } from "../platform/node/hub/settings.ts";
export type { Rejection } from "../platform/node/sockets/rejection.ts";
export {
  connectRedis,
  type DownloadOptions,
  downloadFromHub,
  type HubId,
  nodeAfterEvents,
  nodeBundleCache,
  nodeFileCache,
  nodeFileTree,
  nodeKeyCache,
  nodePlatform,
  type NodePlatformOptions,
  nodePublicKeyEd25519,
  nodeSha256,
  nodeSignEd25519,
  parseHubId,
  type RedisLinkOptions,
  type ServeOptions,
  type SocketServer,
  serveSockets,
  type TlsFiles,
} from "../platform/node.ts";
export type { EmbeddedStore, EmbeddedStoreOptions } from "../provider/embedded-store.ts";
export type { KeyRecord } from "../provider/store.ts";
export type { UsageLedger } from "../provider/usage-ledger.ts";
export type { FolderKind } from "../weights/model-files.ts";
